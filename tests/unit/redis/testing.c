/* testing.c: see testing.h. */
#include "tests/unit/redis/testing.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/rand.h"
#include "base/thread.h"

/* ---- chunks ---- */

void chunk_make(struct chunk *chunk, uint64_t number, size_t length)
{
  uint8_t space[KVS_DIGEST_SIZE], key[32], parent[32];
  struct kvi_redis_identity identity = {.tenant = "default", .space = space, .key = key, .key_length = 32};
  struct kvi_redis_chunk described = {.parent = parent, .parent_length = 32, .segments = chunk->segments};
  uint64_t payload, seed = number;
  size_t left = length;
  kvi_rand rand;

  memset(space, 7, sizeof(space));
  memset(parent, 9, sizeof(parent));
  for (size_t i = 0; i < sizeof(key); i += 8) {
    uint64_t word = kvi_splitmix64(&seed);

    memcpy(key + i, &word, 8);
  }
  assert_int_equal(kvi_redis_key_make(PREFIX, &identity, &chunk->key), KVS_OK);
  chunk->length = length;
  chunk->payload = malloc(length);
  assert_non_null(chunk->payload);
  kvi_rand_seed(&rand, number + 1);
  for (size_t i = 0; i < length; i++)
    chunk->payload[i] = (uint8_t)(kvi_rand_next(&rand) >> 20);
  chunk->n_segments = length >= 8 ? 1 + (uint32_t)(number % 8) : 1;
  for (uint32_t i = 0; i < chunk->n_segments; i++) {
    size_t n = i + 1 < chunk->n_segments ? length / chunk->n_segments : left;

    chunk->segments[i].length = (uint32_t)n;
    chunk->segments[i].crc32c = kvi_crc32c_update(0, chunk->payload + (length - left), n);
    left -= n;
  }
  described.n_segments = chunk->n_segments;
  described.place = (uint32_t)number;
  described.ttl_ms = number % 3 ? 0 : 3600000 + number;
  assert_int_equal(kvi_redis_value_write(&chunk->key, &described, chunk->prologue, sizeof(chunk->prologue),
                                         &chunk->prologue_length, &payload),
                   KVS_OK);
  assert_int_equal(payload, length);
}

void chunk_free(struct chunk *chunk)
{
  free(chunk->payload);
  chunk->payload = NULL;
}

/* ---- operations ---- */

struct latch {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  size_t ends;
  uint64_t last_deadline_ns;
};

static struct latch latch_of_test;

static void ended(struct kvi_redis_op *op)
{
  struct asked *asked = op->ctx;

  pthread_mutex_lock(&asked->latch->mutex);
  asked->latch->ends++;
  pthread_cond_broadcast(&asked->latch->cond);
  pthread_mutex_unlock(&asked->latch->mutex);
}

static kvs_status land(struct kvi_redis_op *op, const struct kvi_chunk_table *table,
                       struct kvi_redis_landing *landing_p)
{
  struct asked *asked = op->ctx;
  size_t third = (size_t)table->length / 3;

  if (asked->refuse_landing || asked->landed)
    return KVS_ERR_FULL; /* asked for twice would be a bug: the test then misses its chunk */
  asked->landed_length = (size_t)table->length;
  asked->landed = malloc(asked->landed_length);
  if (!asked->landed)
    return KVS_ERR_NOMEM;
  asked->iov[0] = (struct kvi_iov){asked->landed, third};
  asked->iov[1] = (struct kvi_iov){asked->landed + third, third};
  asked->iov[2] = (struct kvi_iov){asked->landed + 2 * third, asked->landed_length - 2 * third};
  *landing_p = (struct kvi_redis_landing){.iov = asked->iov, .n_iov = 3};
  return KVS_OK;
}

static void asked_init(struct asked *asked, enum kvi_redis_verb verb, const struct chunk *chunk,
                       uint64_t timeout_ms)
{
  memset(asked, 0, sizeof(*asked));
  asked->op.verb = verb;
  asked->op.key = chunk->key;
  asked->op.deadline_ns = kvi_deadline_from_ms(timeout_ms).at_ns;
  asked->op.done = ended;
  asked->op.ctx = asked;
  asked->op.ttl_ms = asked->op.renew_ms = 600000;
}

void asked_look(struct asked *asked, const struct chunk *chunk, uint64_t timeout_ms)
{
  asked_init(asked, KVI_REDIS_LOOK, chunk, timeout_ms);
}

void asked_unlink(struct asked *asked, const struct chunk *chunk, uint64_t timeout_ms)
{
  asked_init(asked, KVI_REDIS_UNLINK, chunk, timeout_ms);
}

void asked_get(struct asked *asked, const struct chunk *chunk, uint64_t timeout_ms)
{
  asked_init(asked, KVI_REDIS_GET, chunk, timeout_ms);
  asked->op.land = land;
}

void asked_put(struct asked *asked, struct chunk *chunk, uint64_t timeout_ms)
{
  size_t half = chunk->length / 2;

  asked_init(asked, KVI_REDIS_PUT, chunk, timeout_ms);
  asked->iov[0] = (struct kvi_iov){chunk->payload, half};
  asked->iov[1] = (struct kvi_iov){chunk->payload + half, chunk->length - half};
  asked->op.iov = asked->iov;
  asked->op.n_iov = 2;
  asked->op.payload_bytes = chunk->length;
  asked->op.prologue = chunk->prologue;
  asked->op.prologue_length = chunk->prologue_length;
}

void asked_free(struct asked *asked)
{
  free(asked->landed);
  asked->landed = NULL;
}

void start_one_of(struct kvi_redis *redis, struct asked *asked, size_t n, size_t i)
{
  assert_true(i < n);
  if (i == 0) {
    pthread_mutex_init(&latch_of_test.mutex, NULL);
    assert_int_equal(kvi_cond_init(&latch_of_test.cond), KVS_OK);
    latch_of_test.ends = 0;
  }
  asked[i].latch = &latch_of_test;
  assert_int_equal(kvi_redis_submit(redis, &asked[i].op), KVS_OK);
}

void start_all(struct kvi_redis *redis, struct asked *asked, size_t n)
{
  for (size_t i = 0; i < n; i++)
    start_one_of(redis, asked, n, i);
}

void await_all(struct asked *asked, size_t n)
{
  kvi_deadline patience = kvi_deadline_from_ms(2 * PATIENCE_MS);

  (void)asked;
  pthread_mutex_lock(&latch_of_test.mutex);
  while (latch_of_test.ends < n)
    if (kvi_cond_wait(&latch_of_test.cond, &latch_of_test.mutex, patience) != KVS_OK)
      fail_msg("%zu of %zu operations have not ended", n - latch_of_test.ends, n);
  assert_int_equal(latch_of_test.ends, n);
  pthread_mutex_unlock(&latch_of_test.mutex);
  pthread_mutex_destroy(&latch_of_test.mutex);
  pthread_cond_destroy(&latch_of_test.cond);
}

void run_all(struct kvi_redis *redis, struct asked *asked, size_t n)
{
  start_all(redis, asked, n);
  await_all(asked, n);
}

kvs_status put(struct kvi_redis *redis, struct chunk *chunk)
{
  struct asked asked;

  asked_put(&asked, chunk, PATIENCE_MS);
  run_all(redis, &asked, 1);
  return asked.op.status;
}

kvs_status look(struct kvi_redis *redis, const struct chunk *chunk, enum kvi_redis_cause *cause_p)
{
  struct asked asked;

  asked_look(&asked, chunk, PATIENCE_MS);
  run_all(redis, &asked, 1);
  if (cause_p)
    *cause_p = asked.op.cause;
  if (asked.op.status == KVS_OK)
    assert_int_equal(asked.op.value.payload_bytes, chunk->length);
  return asked.op.status;
}

kvs_status get(struct kvi_redis *redis, const struct chunk *chunk, enum kvi_redis_cause *cause_p)
{
  struct asked asked;
  kvs_status status;

  asked_get(&asked, chunk, PATIENCE_MS);
  run_all(redis, &asked, 1);
  status = asked.op.status;
  if (cause_p)
    *cause_p = asked.op.cause;
  if (status == KVS_OK &&
      (asked.landed_length != chunk->length || memcmp(asked.landed, chunk->payload, chunk->length) != 0))
    status = KVS_ERR_CORRUPT;
  asked_free(&asked);
  return status;
}

void put_until_ok(struct kvi_redis *redis, struct chunk *chunk)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  kvs_status status;

  while ((status = put(redis, chunk)) != KVS_OK && status != KVS_EXISTS) {
    assert_false(kvi_deadline_expired(patience));
    pause_ms(20);
  }
}

void get_until_ok(struct kvi_redis *redis, const struct chunk *chunk)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  kvs_status status;

  while ((status = get(redis, chunk, NULL)) != KVS_OK) {
    assert_int_equal(status, KVS_MISS);
    assert_false(kvi_deadline_expired(patience));
    pause_ms(20);
  }
}

struct kvi_redis *tier_open(const struct kvi_redis_config *config)
{
  struct kvi_redis *redis;
  char error[256];

  if (kvi_redis_open(config, error, sizeof(error), &redis) != KVS_OK)
    fail_msg("the tier did not open: %s", error);
  return redis;
}

struct kvi_redis *tier_open_single(const struct redis_server *server)
{
  const char *addresses[] = {server->address};
  struct kvi_redis_config config = {
      .addresses = addresses, .n_addresses = 1, .retry_first_ms = 20, .retry_longest_ms = 200};

  return tier_open(&config);
}

struct kvi_redis_stats stats_of(struct kvi_redis *redis)
{
  struct kvi_redis_stats stats;

  kvi_redis_stats(redis, &stats);
  return stats;
}
