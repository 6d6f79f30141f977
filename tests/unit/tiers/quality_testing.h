/* quality_testing.h: a store over plain memory, and one chunk that is put, looked up and got with so much loss. */
#ifndef KVI_TESTS_UNIT_TIERS_QUALITY_TESTING_H
#define KVI_TESTS_UNIT_TIERS_QUALITY_TESTING_H

#include "testing.h"

#include "memory_medium.h"
#include "store_waiting.h"

#define CHUNK  40000u
#define BETTER 50000u /* bytes of a better copy */

struct fixture {
  struct memory_medium *medium;
  struct kvi_store *store;
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  uint32_t pushed; /* the next of those that push it out of memory */
};

static inline int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof(*f));
  struct kvi_store_config config = {.dram_bytes = 1 << 20};
  kvs_space_desc desc = testing_space("quality", KEY_BYTES);

  f->medium = memory_medium_create(false);
  config.medium = &f->medium->medium;
  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  testing_space_open(f->store, TENANT, &desc, f->space);
  testing_key(7, f->key, KEY_BYTES);
  f->pushed = 100;
  *state = f;
  return 0;
}

static inline int teardown(void **state)
{
  struct fixture *f = *state;

  kvi_store_close(f->store);
  free(f);
  return 0;
}

static inline kvs_status put_begin(struct fixture *f, uint32_t loss, uint32_t length,
                                   struct kvi_landing *landing_p)
{
  struct kvi_put_request request = {.space = f->space,
                                    .key = f->key,
                                    .key_length = KEY_BYTES,
                                    .length = length,
                                    .n_segments = 1,
                                    .segment_lengths = &length,
                                    .quality = kvi_quality(loss, KVI_LOSS_MAX, KVI_CODING_NONE)};

  return kvi_store_put_begin(f->store, TENANT, &request, NULL, NULL, landing_p);
}

/* The bytes follow from the loss. */
static inline kvs_status put(struct fixture *f, uint32_t loss, uint32_t length)
{
  struct kvi_landing landing;
  kvs_status status = put_begin(f, loss, length, &landing);

  if (status != KVS_OK)
    return status;
  testing_fill(&landing, loss);
  return kvi_store_put_commit(f->store, &landing);
}

/* The loss of what a reader who takes so much gets; -1 - cause: a miss. */
static inline int get(struct fixture *f, uint32_t loss_max)
{
  struct waiting waiting = {
      .wait = {.terms = {.loss_max = loss_max}, .done = waiting_done, .user = &waiting}};
  struct kvi_source source;
  uint32_t cause = 0, loss;
  kvs_status status;

  pthread_mutex_init(&waiting.mutex, NULL);
  assert_int_equal(kvi_cond_init(&waiting.ended), KVS_OK);
  status = kvi_store_get_open(f->store, TENANT, f->space, f->key, KEY_BYTES, &waiting.wait, &source, &cause);
  if (status == KVS_PENDING) {
    pthread_mutex_lock(&waiting.mutex);
    while (waiting.calls == 0)
      assert_int_equal(kvi_cond_wait(&waiting.ended, &waiting.mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                       KVS_OK);
    status = waiting.status;
    cause = waiting.cause;
    source = waiting.wait.source;
    pthread_mutex_unlock(&waiting.mutex);
  }
  pthread_cond_destroy(&waiting.ended);
  pthread_mutex_destroy(&waiting.mutex);
  if (status == KVS_MISS)
    return -1 - (int)cause;
  assert_int_equal(status, KVS_OK);
  loss = kvi_quality_loss(source.table.quality);
  assert_int_equal(testing_compare(f->store, KVS_OK, &source, loss), KVS_OK);
  return (int)loss;
}

/* Without a lease it is no use of the chunk. */
static inline struct kvi_store_lookup_result look(struct fixture *f, uint32_t loss_max, uint32_t lease_ms,
                                                  uint8_t *tier_p)
{
  const uint8_t *space = f->space;
  struct kvi_store_lookup_result result = {.tiers = tier_p};
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = f->key,
                                   .key_length = KEY_BYTES,
                                   .n_keys = 1,
                                   .loss_max = loss_max,
                                   .lease_ms = lease_ms,
                                   .peek = lease_ms == 0};

  assert_int_equal(kvi_store_lookup(f->store, &query, &result), KVS_OK);
  return result;
}

static inline uint32_t lookup(struct fixture *f, uint32_t loss_max, uint32_t lease_ms, uint64_t *lease_p)
{
  struct kvi_store_lookup_result result = look(f, loss_max, lease_ms, NULL);

  if (lease_p)
    *lease_p = result.lease;
  return result.prefix;
}

static inline struct kvi_store_stats stats_of(struct fixture *f)
{
  struct kvi_store_stats stats;

  kvi_store_stats(f->store, &stats);
  return stats;
}

static inline uint64_t space_bytes(struct fixture *f)
{
  struct kvi_space_info info;
  uint64_t cursor = 0;

  assert_int_equal(kvi_store_spaces(f->store, TENANT, &cursor, &info, 1), 1);
  return info.bytes;
}

/* The chunk is on the medium alone. */
static inline bool is_below(struct fixture *f)
{
  uint8_t tier = KVI_TIER_ABSENT;

  (void)look(f, KVI_LOSS_MAX, 0, &tier);
  return tier == KVI_TIER_SSD;
}

static inline void demote(struct fixture *f)
{
  uint8_t key[KEY_BYTES];

  memory_settle(f->medium);
  for (uint32_t i = 0; !is_below(f) && i < 100; i++) { /* others push it out */
    testing_key(f->pushed, key, KEY_BYTES);
    assert_int_equal(testing_put(f->store, TENANT, f->space, key, KEY_BYTES, NULL, 0, CHUNK, f->pushed),
                     KVS_OK);
    f->pushed++;
    memory_settle(f->medium);
  }
  assert_true(is_below(f));
}

#endif
