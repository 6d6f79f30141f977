/* tiers/redis/resolve.c: see resolve.h. */
#include "tiers/redis/resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"
#include "base/thread.h"

#define QUESTIONS_MAX 64u

struct kvi_redis_resolver {
  kvi_queue *questions, *answers;
  void (*woken)(void *ctx);
  void *ctx;
  kvi_thread thread;
};

static bool look_up(const struct kvi_redis_address *address, int flags, struct sockaddr_storage *at_p,
                    socklen_t *at_length_p)
{
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
  struct addrinfo *found = NULL;
  char port[8];

  snprintf(port, sizeof(port), "%u", (unsigned)address->port);
  if (getaddrinfo(address->host, port, &hints, &found) != 0 || !found)
    return false;
  memcpy(at_p, found->ai_addr, found->ai_addrlen);
  *at_length_p = found->ai_addrlen;
  freeaddrinfo(found);
  return true;
}

bool kvi_redis_resolve_number(const struct kvi_redis_address *address, struct sockaddr_storage *at_p,
                              socklen_t *at_length_p)
{
  return look_up(address, AI_NUMERICHOST | AI_NUMERICSERV, at_p, at_length_p);
}

static void run(void *arg)
{
  struct kvi_redis_resolver *resolver = arg;
  void *item;

  for (;;) {
    kvs_status status = kvi_queue_pop(resolver->questions, kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS), &item);
    struct kvi_redis_resolve *resolve;

    if (status == KVS_ERR_CLOSED)
      return;
    if (status != KVS_OK)
      continue;
    resolve = item;
    if (atomic_load(&resolve->asker))
      resolve->found =
          look_up(&resolve->address, AI_NUMERICSERV | AI_ADDRCONFIG, &resolve->at, &resolve->at_length);
    if (kvi_queue_push(resolver->answers, resolve, kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS)) != KVS_OK)
      free(resolve); /* closing: nobody asks for it */
    else
      resolver->woken(resolver->ctx);
  }
}

kvs_status kvi_redis_resolver_create(void (*woken)(void *ctx), void *ctx,
                                     struct kvi_redis_resolver **resolver_p)
{
  struct kvi_redis_resolver *resolver = calloc(1, sizeof(*resolver));
  kvs_status status;

  *resolver_p = NULL;
  if (!resolver)
    return KVS_ERR_NOMEM;
  resolver->woken = woken;
  resolver->ctx = ctx;
  status = kvi_queue_create(QUESTIONS_MAX, &resolver->questions);
  if (status == KVS_OK)
    status = kvi_queue_create(QUESTIONS_MAX, &resolver->answers);
  if (status == KVS_OK)
    status = kvi_thread_start(&resolver->thread, "kvasir-resolve", run, resolver);
  if (status != KVS_OK) {
    kvi_redis_resolver_destroy(resolver);
    return status;
  }
  *resolver_p = resolver;
  return KVS_OK;
}

static void queue_end(kvi_queue *queue)
{
  void *item;

  while (queue && kvi_queue_try_pop(queue, &item) == KVS_OK)
    free(item);
}

void kvi_redis_resolver_destroy(struct kvi_redis_resolver *resolver)
{
  if (!resolver)
    return;
  if (resolver->questions) {
    queue_end(resolver->questions);
    kvi_queue_close(resolver->questions);
  }
  if (resolver->answers)
    kvi_queue_close(resolver->answers);
  kvi_thread_join(&resolver->thread);
  queue_end(resolver->questions);
  queue_end(resolver->answers);
  kvi_queue_destroy(resolver->questions);
  kvi_queue_destroy(resolver->answers);
  free(resolver);
}

kvs_status kvi_redis_resolver_ask(struct kvi_redis_resolver *resolver,
                                  const struct kvi_redis_address *address, void *asker,
                                  struct kvi_redis_resolve **resolve_p)
{
  struct kvi_redis_resolve *resolve = calloc(1, sizeof(*resolve));
  kvs_status status;

  *resolve_p = NULL;
  if (!resolve)
    return KVS_ERR_NOMEM;
  resolve->address = *address;
  resolve->asker = asker;
  status = kvi_queue_try_push(resolver->questions, resolve);
  if (status != KVS_OK) {
    free(resolve);
    return status;
  }
  *resolve_p = resolve;
  return KVS_OK;
}

struct kvi_redis_resolve *kvi_redis_resolver_answer(struct kvi_redis_resolver *resolver)
{
  void *item;

  return kvi_queue_try_pop(resolver->answers, &item) == KVS_OK ? item : NULL;
}
