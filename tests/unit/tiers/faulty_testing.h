/* faulty_testing.h: the tier of test faults around the SSD tier, on real files. */
#ifndef KVI_TESTS_UNIT_TIERS_FAULTY_TESTING_H
#define KVI_TESTS_UNIT_TIERS_FAULTY_TESTING_H

#define CHUNKS 200u
#include "medium_owner.h"

#include "tiers/faulty/faulty.h"
#include "tiers/ssd/ssd.h"

#define MIB       (1u << 20)
#define CHUNK_MAX (100u << 10)
#define LENGTH    5000u

struct fixture {
  char folder[64];
  struct owner owner; /* its medium is the outer one */
};

static inline struct kvi_medium *ssd_in(const char *folder, bool ring)
{
  const char *paths[] = {folder};
  struct kvi_ssd_config config = {.paths = paths,
                                  .n_paths = 1,
                                  .bytes = 8 * MIB,
                                  .file_bytes = MIB,
                                  .chunk_bytes_max = CHUNK_MAX,
                                  .ring = ring};
  struct kvi_medium *ssd;

  assert_int_equal(kvi_ssd_create(&config, &ssd), KVS_OK);
  return ssd;
}

static inline int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof(*f));

  test_folder_make(f->folder);
  pthread_mutex_init(&f->owner.mutex, NULL);
  assert_int_equal(kvi_faulty_create(ssd_in(f->folder, true), "off", &f->owner.medium), KVS_OK);
  assert_int_equal(owner_recover(&f->owner), KVS_OK);
  *state = f;
  return 0;
}

static inline int teardown(void **state)
{
  struct fixture *f = *state;

  if (f->owner.medium)
    f->owner.medium->ops->destroy(f->owner.medium);
  test_folder_remove(f->folder);
  free(f);
  return 0;
}

static inline kvs_status put_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, LENGTH, 3);
  status = test_put(f->owner.medium, &chunk, &f->owner.handles[number]);
  test_chunk_free(&chunk);
  return status;
}

static inline kvs_status get_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, LENGTH, 3);
  status = test_get(f->owner.medium, &chunk, f->owner.handles[number]);
  test_chunk_free(&chunk);
  return status;
}

static inline void rules(struct fixture *f, const char *text)
{
  assert_int_equal(kvi_faulty_set(f->owner.medium, text), KVS_OK);
}

static inline struct kvi_faulty_stats counted(struct fixture *f)
{
  struct kvi_faulty_stats stats;

  kvi_faulty_stats(f->owner.medium, &stats);
  return stats;
}

#endif
