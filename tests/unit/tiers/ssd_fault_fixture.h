/*
 * ssd_fault_fixture.h: the SSD tier over a disk with faults, 8 log files of 1 MiB, and chunks by number. CHUNKS and medium_owner.h are the including file's.
 */
#ifndef KVI_TESTS_UNIT_TIERS_SSD_FAULT_FIXTURE_H
#define KVI_TESTS_UNIT_TIERS_SSD_FAULT_FIXTURE_H

#include "medium_owner.h"

#include "fault_disk.h"
#include "tiers/ssd/ssd.h"

#define MIB       (1u << 20)
#define CHUNK_MAX (100u << 10)
#define FILES     8u

struct fixture {
  struct fault_image image;
  struct kvi_ssd_config config;
  struct owner owner;
  struct kvi_medium_stats stats;                           /* a place for them */
  void (*make)(struct test_chunk *chunk, uint64_t number); /* NULL: bytes that follow from the number */
};

static inline uint32_t length_of(uint32_t number)
{
  return 1000 + number * 7919 % (CHUNK_MAX - 1000);
}

static inline kvs_status fixture_open(struct fixture *f)
{
  static const char *const paths[] = {"fault"};
  struct kvi_ssd_disk *disks[] = {fault_disk_open(&f->image)};

  f->config.paths = paths;
  f->config.n_paths = 1;
  f->config.file_bytes = MIB;
  f->config.chunk_bytes_max = CHUNK_MAX;
  f->image.file_bytes = MIB;
  memset(f->owner.handles, 0, sizeof(f->owner.handles));
  f->owner.n_found = 0;
  assert_int_equal(kvi_ssd_create_over(&f->config, disks, &f->owner.medium), KVS_OK);
  return owner_recover(&f->owner);
}

static inline void fixture_close(struct fixture *f)
{
  f->owner.medium->ops->destroy(f->owner.medium);
  f->owner.medium = NULL;
}

static inline int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof(*f));

  pthread_mutex_init(&f->owner.mutex, NULL);
  kvi_rand_seed(&f->image.rand, 1);
  f->config.discard = true;
  f->config.bytes = FILES * MIB;
  *state = f;
  return 0;
}

static inline int teardown(void **state)
{
  struct fixture *f = *state;

  if (f->owner.medium)
    fixture_close(f);
  fault_image_free(&f->image);
  free(f);
  return 0;
}

static inline kvs_status get_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, length_of(number), 1 + number % 20);
  status = owner_get(&f->owner, &chunk);
  test_chunk_free(&chunk);
  return status;
}

static inline kvs_status put_one(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  if (f->make)
    f->make(&chunk, number);
  else
    test_chunk_make(&chunk, number, length_of(number), 1 + number % 20);
  status = owner_put(&f->owner, &chunk);
  test_chunk_free(&chunk);
  return status;
}

static inline uint32_t file_of(struct fixture *f, uint32_t number)
{
  return (uint32_t)(f->owner.handles[number] >> 32) / (MIB / 4096);
}

/* Puts from number `first` on until one lies in this log file. Returns its number. */
static inline uint32_t put_until_file(struct fixture *f, uint32_t first, uint32_t file)
{
  for (uint32_t number = first;; number++) {
    assert_int_equal(put_one(f, number), KVS_OK);
    if (file_of(f, number) == file)
      return number;
  }
}

/* Drops so many chunks for good that were never put, each of another number. */
static inline void drop_unknown(struct fixture *f, uint32_t first, uint32_t n)
{
  struct kvi_medium_identity identity;
  struct test_chunk chunk;
  uint8_t key[KEY_BYTES];

  test_chunk_make(&chunk, 0, 8, 1);
  identity = test_identity(&chunk);
  identity.key = key;
  for (uint32_t i = first; i < first + n; i++) {
    testing_key(CHUNKS + i, key, KEY_BYTES);
    f->owner.medium->ops->drop(f->owner.medium, &identity, 0, true);
  }
  test_chunk_free(&chunk);
}

#endif
