/* tiers/redis/address.h: where a Redis is, as text. */
#ifndef KVASIR_TIERS_REDIS_ADDRESS_H
#define KVASIR_TIERS_REDIS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_REDIS_HOST_MAX    256u /* with the NUL */
#define KVI_REDIS_ADDRESS_MAX (KVI_REDIS_HOST_MAX + 8u)

struct kvi_redis_address {
  char host[KVI_REDIS_HOST_MAX]; /* a name, or an IP address without brackets */
  uint16_t port;
};

/* "host:port", "[::1]:port"; standard_port when there is none (0: then it must be there). KVS_ERR_INVALID. */
kvs_status kvi_redis_address_parse(const char *text, uint16_t standard_port,
                                   struct kvi_redis_address *address_p);
/*
 * The same of Redis' own replies, `length` bytes: "127.0.0.1:7000", "::1:7000" (the last colon counts), "host:7000@17000". An empty host
 * means the one that was asked: `asked`. KVS_ERR_INVALID.
 */
kvs_status kvi_redis_address_told(const char *text, size_t length, const struct kvi_redis_address *asked,
                                  struct kvi_redis_address *address_p);
bool kvi_redis_address_equal(const struct kvi_redis_address *a, const struct kvi_redis_address *b);
/* For people: "host:port", with brackets where there are colons. dst is returned. */
char *kvi_redis_address_format(const struct kvi_redis_address *address, char dst[KVI_REDIS_ADDRESS_MAX]);

#endif
