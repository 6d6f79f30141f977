/*
 * tiers/redis/resolve.h: names to addresses on a thread of its own, since getaddrinfo waits for as long as the resolver likes.
 */
#ifndef KVASIR_TIERS_REDIS_RESOLVE_H
#define KVASIR_TIERS_REDIS_RESOLVE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "tiers/redis/address.h"

struct kvi_redis_resolver;

/* A question. The asker's from its answer on. */
struct kvi_redis_resolve {
  struct kvi_redis_address address;
  void *_Atomic asker; /* NULL: nobody waits any more, and it is not looked up */
  bool found;
  struct sockaddr_storage at; /* with the port */
  socklen_t at_length;
};

/* woken(ctx): there is an answer; called on the resolver's thread. Errors: KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_redis_resolver_create(void (*woken)(void *ctx), void *ctx,
                                     struct kvi_redis_resolver **resolver_p);
/* Waits for the question under way. NULL is fine. */
void kvi_redis_resolver_destroy(struct kvi_redis_resolver *resolver);

/* An IP address is answered at once, without the thread: false when the host is a name. */
bool kvi_redis_resolve_number(const struct kvi_redis_address *address, struct sockaddr_storage *at_p,
                              socklen_t *at_length_p);
/* KVS_ERR_NOMEM, KVS_ERR_BUSY (64 questions wait). */
kvs_status kvi_redis_resolver_ask(struct kvi_redis_resolver *resolver,
                                  const struct kvi_redis_address *address, void *asker,
                                  struct kvi_redis_resolve **resolve_p);
/* The next answer, to be freed; or NULL. One thread. */
struct kvi_redis_resolve *kvi_redis_resolver_answer(struct kvi_redis_resolver *resolver);

#endif
