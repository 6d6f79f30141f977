/* testing.h: cmocka with its prerequisites, and what the tests of the Redis tier share: chunks of known bytes, operations that are waited for. */
#ifndef KVI_TESTS_UNIT_REDIS_TESTING_H
#define KVI_TESTS_UNIT_REDIS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>

#include "tests/unit/redis/server.h"
#include "tiers/redis/redis.h"

#define PREFIX      "kvasir:"
#define PATIENCE_MS 60000u /* for what must happen, on a loaded machine */

/* A chunk in memory: its number gives its key, its bytes and how it is cut. */
struct chunk {
  struct kvi_redis_key key;
  uint8_t *payload;
  size_t length;
  struct kvi_segment segments[8];
  uint32_t n_segments;
  uint8_t prologue[512];
  size_t prologue_length;
};
void chunk_make(struct chunk *chunk, uint64_t number, size_t length);
void chunk_free(struct chunk *chunk);

/* An operation and its end. */
struct asked {
  struct kvi_redis_op op;
  struct kvi_iov iov[3]; /* put: the payload in pieces; get: where it lands */
  uint8_t *landed;
  size_t landed_length;
  bool refuse_landing;
  struct latch *latch;
};
void asked_look(struct asked *asked, const struct chunk *chunk, uint64_t timeout_ms);
void asked_put(struct asked *asked, struct chunk *chunk, uint64_t timeout_ms);
void asked_get(struct asked *asked, const struct chunk *chunk, uint64_t timeout_ms);
void asked_unlink(struct asked *asked, const struct chunk *chunk, uint64_t timeout_ms);
void asked_free(struct asked *asked);

/* Submits n, and waits for the end of all: that they end by their deadlines is asserted. */
void run_all(struct kvi_redis *redis, struct asked *asked, size_t n);
/* Submits; await_all waits. */
void start_all(struct kvi_redis *redis, struct asked *asked, size_t n);
/* Submits one of n that await_all will wait for; number 0 first. */
void start_one_of(struct kvi_redis *redis, struct asked *asked, size_t n, size_t i);
void await_all(struct asked *asked, size_t n);

/* One operation, made, run and freed. */
kvs_status put(struct kvi_redis *redis, struct chunk *chunk);
kvs_status look(struct kvi_redis *redis, const struct chunk *chunk, enum kvi_redis_cause *cause_p);
/* KVS_ERR_CORRUPT: a hit with other bytes than the chunk's, which must not be. */
kvs_status get(struct kvi_redis *redis, const struct chunk *chunk, enum kvi_redis_cause *cause_p);
/* Tries until it is so; fails the test when it never is. */
void put_until_ok(struct kvi_redis *redis, struct chunk *chunk);
void get_until_ok(struct kvi_redis *redis, const struct chunk *chunk);

struct kvi_redis *tier_open(const struct kvi_redis_config *config);
/* One server, short times. */
struct kvi_redis *tier_open_single(const struct redis_server *server);
struct kvi_redis_stats stats_of(struct kvi_redis *redis);

#endif
