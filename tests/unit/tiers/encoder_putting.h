/* encoder_putting.h: an encoder around a medium in plain memory or around the SSD tier on real files, and puts under way in it. */
#ifndef KVI_TESTS_UNIT_TIERS_ENCODER_PUTTING_H
#define KVI_TESTS_UNIT_TIERS_ENCODER_PUTTING_H

#define CHUNKS 64u

#include "encoder_testing.h"
#include "memory_medium.h"
#include "ssd_fixture.h"

#include "tests/unit/tiers/store_waiting.h"

static inline struct kvi_medium *encoder_around(struct kvi_medium *inner, uint32_t threads,
                                                uint32_t waiting_max)
{
  struct kvi_encoder_config config = {
      .rules = {.tensors = true, .bytes = true}, .threads = threads, .waiting_max = waiting_max};
  struct kvi_medium *medium;

  assert_int_equal(kvi_encoder_create(inner, &config, &medium), KVS_OK);
  return medium;
}

/* A put under way. */
struct putting {
  struct test_chunk chunk;
  struct kvi_medium_put put;
  struct test_wait wait;
  kvs_space_desc desc;
};

static inline void putting_make(struct putting *putting, uint64_t number, enum content content,
                                uint32_t length)
{
  chunk_make(&putting->chunk, number, content, length);
  test_wait_init(&putting->wait);
  test_put_fill(&putting->put, &putting->chunk, &putting->wait);
  putting->desc = tensors_space();
  putting->put.desc = content == TENSORS || content == TENSOR_NOISE ? &putting->desc : NULL;
}

static inline void putting_start(struct putting *putting, struct kvi_medium *medium, uint64_t number)
{
  putting_make(putting, number, TENSORS, RAW);
  assert_int_equal(medium->ops->put(medium, &putting->put), KVS_OK);
}

static inline kvs_status putting_end(struct putting *putting)
{
  kvs_status status = test_wait_for(&putting->wait);

  test_wait_released(&putting->wait);
  return status;
}

static inline uint32_t putting_calls(struct putting *putting)
{
  uint32_t calls;

  pthread_mutex_lock(&putting->wait.mutex);
  calls = putting->wait.calls;
  pthread_mutex_unlock(&putting->wait.mutex);
  return calls;
}

static inline void putting_free(struct putting *putting)
{
  test_chunk_free(&putting->chunk);
}

/* The fixture's tier with an encoder around it. */
static inline void volume_open(struct fixture *f)
{
  struct kvi_medium *ssd;

  memset(f->owner.handles, 0, sizeof(f->owner.handles));
  f->owner.n_found = 0;
  assert_int_equal(kvi_ssd_create(&f->config, &ssd), KVS_OK);
  f->owner.medium = encoder_around(ssd, 2, 0);
  assert_int_equal(owner_recover(&f->owner), KVS_OK);
}

static inline void drop_for_good(struct kvi_medium *medium, const struct test_chunk *chunk)
{
  struct kvi_medium_identity identity = test_identity(chunk);

  medium->ops->drop(medium, &identity, 0, true);
}

#endif
