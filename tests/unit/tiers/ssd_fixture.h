/*
 * ssd_fixture.h: the SSD tier on real files, 8 log files of 1 MiB. CHUNKS and medium_owner.h are the including file's.
 */
#ifndef KVI_TESTS_UNIT_TIERS_SSD_FIXTURE_H
#define KVI_TESTS_UNIT_TIERS_SSD_FIXTURE_H

#include "medium_owner.h"

#include "tiers/ssd/ssd.h"

#define MIB       (1u << 20)
#define CHUNK_MAX (200u << 10)

struct fixture {
  char folder[64];
  const char *paths[1];
  struct kvi_ssd_config config;
  struct owner owner;
};

static inline void fixture_open(struct fixture *f)
{
  memset(f->owner.handles, 0, sizeof(f->owner.handles));
  f->owner.n_found = 0;
  assert_int_equal(kvi_ssd_create(&f->config, &f->owner.medium), KVS_OK);
  assert_int_equal(owner_recover(&f->owner), KVS_OK);
}

static inline void fixture_close(struct fixture *f)
{
  f->owner.medium->ops->destroy(f->owner.medium);
  f->owner.medium = NULL;
}

static inline int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof(*f));

  test_folder_make(f->folder);
  f->paths[0] = f->folder;
  f->config = (struct kvi_ssd_config){.paths = f->paths,
                                      .n_paths = 1,
                                      .bytes = 8 * MIB,
                                      .file_bytes = MIB,
                                      .chunk_bytes_max = CHUNK_MAX,
                                      .durability = KVI_SSD_DURABLE_SEAL,
                                      .ring = true,
                                      .discard = true};
  pthread_mutex_init(&f->owner.mutex, NULL);
  *state = f;
  return 0;
}

static inline int teardown(void **state)
{
  struct fixture *f = *state;

  if (f->owner.medium)
    fixture_close(f);
  test_folder_remove(f->folder);
  free(f);
  return 0;
}

static inline uint32_t length_of(uint32_t number)
{
  return 1000 + number * 7919 % (CHUNK_MAX - 1000);
}

static inline kvs_status put_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, length_of(number), 1 + number % 40);
  status = owner_put(&f->owner, &chunk);
  test_chunk_free(&chunk);
  return status;
}

static inline kvs_status get_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, length_of(number), 1 + number % 40);
  status = owner_get(&f->owner, &chunk);
  test_chunk_free(&chunk);
  return status;
}

#endif
