/* medium_testing.h: puts and gets of a medium that wait for their end, chunks of known bytes, and a folder that goes away. */
#ifndef KVI_TESTS_UNIT_TIERS_MEDIUM_TESTING_H
#define KVI_TESTS_UNIT_TIERS_MEDIUM_TESTING_H

#include "testing.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/medium.h"

#define WAIT_SECONDS 60u

/*
 * A chunk's bytes follow from its number; its identity too. Those of odd numbers that are long enough are put and got directly: a device may read and write their
 * memory.
 */
struct test_chunk {
  uint64_t number;
  uint32_t length, n_segments;
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES], parent[KEY_BYTES];
  uint8_t *bytes;
  uint8_t *table;
  bool direct;
  struct kvi_iov iov[2];
};

/* Memory as devices want it. */
static inline uint8_t *test_blocks(uint32_t length)
{
  size_t bytes = (length + KVI_MEDIUM_BLOCK - 1) / KVI_MEDIUM_BLOCK * KVI_MEDIUM_BLOCK;
  uint8_t *blocks = aligned_alloc(KVI_MEDIUM_BLOCK, bytes);

  memset(blocks, 0, bytes);
  return blocks;
}

/* Two places, the first of whole blocks if need be. */
static inline void test_places(uint8_t *bytes, uint32_t length, bool direct, struct kvi_iov iov[2])
{
  uint32_t first = direct ? length / 3 / KVI_MEDIUM_BLOCK * KVI_MEDIUM_BLOCK : length / 3;

  iov[0] = (struct kvi_iov){.base = bytes, .length = first};
  iov[1] = (struct kvi_iov){.base = bytes + first, .length = length - first};
}

static inline void test_bytes(uint64_t number, uint8_t *bytes, size_t length)
{
  uint64_t seed = number * 77 + 5;

  for (size_t i = 0; i < length; i += 8) {
    uint64_t word = kvi_splitmix64(&seed);

    memcpy(bytes + i, &word, length - i < 8 ? length - i : 8);
  }
}

static inline void test_chunk_make(struct test_chunk *chunk, uint64_t number, uint32_t length,
                                   uint32_t n_segments)
{
  struct kvi_segment *segments = calloc(n_segments, sizeof(*segments));
  uint32_t at = 0;

  memset(chunk, 0, sizeof(*chunk));
  chunk->number = number;
  chunk->length = length;
  chunk->n_segments = n_segments;
  memset(chunk->space, 0x5a, sizeof(chunk->space));
  testing_key(number, chunk->key, KEY_BYTES);
  testing_key(number - 1, chunk->parent, KEY_BYTES);
  chunk->direct = number % 2 == 1 && length >= 3 * KVI_MEDIUM_BLOCK;
  chunk->bytes = test_blocks(length);
  chunk->table = malloc(kvi_chunk_table_size(n_segments));
  test_bytes(number, chunk->bytes, length);
  for (uint32_t i = 0; i < n_segments; i++) {
    segments[i].length = i + 1 == n_segments ? length - at : length / n_segments;
    segments[i].crc32c = kvi_crc32c_update(0, chunk->bytes + at, segments[i].length);
    at += segments[i].length;
  }
  kvi_chunk_table_write(chunk->table, segments, n_segments, 0);
  free(segments);
  test_places(chunk->bytes, length, chunk->direct, chunk->iov);
}

static inline void test_chunk_free(struct test_chunk *chunk)
{
  free(chunk->bytes);
  free(chunk->table);
}

static inline struct kvi_medium_identity test_identity(const struct test_chunk *chunk)
{
  return (struct kvi_medium_identity){.tenant = TENANT,
                                      .space = chunk->space,
                                      .key = chunk->key,
                                      .key_length = KEY_BYTES,
                                      .parent = chunk->number % 10 ? chunk->parent : NULL,
                                      .place = (uint32_t)(chunk->number % 10)};
}

struct test_wait {
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  uint32_t calls;
  kvs_status status;
  uint8_t *landed;
  uint64_t length;
  struct kvi_iov iov[2];
  struct kvi_medium_hold hold; /* given out, and not released yet; its ctx is the wait */
};

static inline void test_wait_init(struct test_wait *wait)
{
  memset(wait, 0, sizeof(*wait));
  pthread_mutex_init(&wait->mutex, NULL);
  assert_int_equal(kvi_cond_init(&wait->ended), KVS_OK);
}

static inline void test_wait_end(struct test_wait *wait, kvs_status status)
{
  pthread_mutex_lock(&wait->mutex);
  wait->calls++;
  wait->status = status;
  pthread_cond_signal(&wait->ended);
  pthread_mutex_unlock(&wait->mutex);
}

static inline kvs_status test_wait_for(struct test_wait *wait)
{
  kvi_deadline deadline = kvi_deadline_from_ms(WAIT_SECONDS * 1000);

  pthread_mutex_lock(&wait->mutex);
  while (wait->calls == 0)
    assert_int_equal(kvi_cond_wait(&wait->ended, &wait->mutex, deadline), KVS_OK);
  assert_int_equal(wait->calls, 1);
  pthread_mutex_unlock(&wait->mutex);
  return wait->status;
}

static inline void test_put_done(struct kvi_medium_put *put, kvs_status status)
{
  test_wait_end(put->user, status);
}

static inline void test_get_done(struct kvi_medium_get *get, kvs_status status)
{
  test_wait_end(get->user, status);
}

static inline kvs_status test_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                                   const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct test_wait *wait = get->user;

  wait->length = table->length;
  if (!wait->landed) { /* not after room */
    wait->landed = malloc(table->length);
    test_places(wait->landed, (uint32_t)table->length, false, wait->iov);
  }
  *iov_p = wait->iov;
  *n_iov_p = 2;
  return KVS_OK;
}

static inline kvs_status test_room(struct kvi_medium_get *get, const struct kvi_iov **iov_p,
                                   uint32_t *n_iov_p)
{
  struct test_wait *wait = get->user;

  wait->landed = test_blocks((uint32_t)get->length);
  test_places(wait->landed, (uint32_t)get->length, true, wait->iov);
  *iov_p = wait->iov;
  *n_iov_p = 2;
  return KVS_OK;
}

static inline void test_hold_released(const struct kvi_medium_hold *hold)
{
  struct test_wait *wait = hold->ctx;

  pthread_mutex_lock(&wait->mutex);
  wait->hold.release = NULL;
  pthread_cond_signal(&wait->ended);
  pthread_mutex_unlock(&wait->mutex);
}

static inline void test_hold(struct test_wait *wait, struct kvi_medium_hold *hold_p)
{
  pthread_mutex_lock(&wait->mutex);
  assert_int_equal(wait->calls, 0); /* kept before done */
  wait->hold = (struct kvi_medium_hold){.release = test_hold_released, .ctx = wait};
  *hold_p = wait->hold;
  pthread_mutex_unlock(&wait->mutex);
}

static inline void test_put_keep(struct kvi_medium_put *put, struct kvi_medium_hold *hold_p)
{
  test_hold(put->user, hold_p);
}

static inline void test_get_keep(struct kvi_medium_get *get, struct kvi_medium_hold *hold_p)
{
  test_hold(get->user, hold_p);
}

/* Until the device has answered, and memory that was kept for it is free. */
static inline void test_wait_released(struct test_wait *wait)
{
  kvi_deadline deadline = kvi_deadline_from_ms(WAIT_SECONDS * 1000);

  pthread_mutex_lock(&wait->mutex);
  while (wait->hold.release)
    assert_int_equal(kvi_cond_wait(&wait->ended, &wait->mutex, deadline), KVS_OK);
  pthread_mutex_unlock(&wait->mutex);
}

static inline void test_put_fill(struct kvi_medium_put *put, const struct test_chunk *chunk,
                                 struct test_wait *wait)
{
  *put = (struct kvi_medium_put){.identity = test_identity(chunk),
                                 .iov = chunk->iov,
                                 .n_iov = 2,
                                 .length = chunk->length,
                                 .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                 .keep = chunk->direct ? test_put_keep : NULL,
                                 .done = test_put_done,
                                 .user = wait};
  assert_int_equal(kvi_chunk_table_read(chunk->table, kvi_chunk_table_size(chunk->n_segments), &put->table),
                   KVS_OK);
}

/* Puts it and waits. *handle_p: 0 unless KVS_OK. */
static inline kvs_status test_put(struct kvi_medium *medium, const struct test_chunk *chunk,
                                  kvi_medium_handle *handle_p)
{
  struct kvi_medium_put put;
  struct test_wait wait;
  kvs_status status;

  test_wait_init(&wait);
  test_put_fill(&put, chunk, &wait);
  status = medium->ops->put(medium, &put);
  if (status == KVS_OK)
    status = test_wait_for(&wait);
  test_wait_released(&wait);
  *handle_p = status == KVS_OK ? put.handle : 0;
  return status;
}

static inline struct kvi_medium_get test_get_of(const struct test_chunk *chunk, kvi_medium_handle handle,
                                                struct test_wait *wait)
{
  return (struct kvi_medium_get){.identity = test_identity(chunk),
                                 .handle = handle,
                                 .length = chunk->length,
                                 .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                 .room = chunk->direct ? test_room : NULL,
                                 .keep = test_get_keep,
                                 .land = test_land,
                                 .done = test_get_done,
                                 .user = wait};
}

/* Gets it and waits; KVS_ERR_INTERNAL when wrong bytes came with KVS_OK. */
static inline kvs_status test_get(struct kvi_medium *medium, const struct test_chunk *chunk,
                                  kvi_medium_handle handle)
{
  struct test_wait wait;
  struct kvi_medium_get get = test_get_of(chunk, handle, &wait);
  kvs_status status;

  test_wait_init(&wait);
  status = medium->ops->get(medium, &get);
  if (status == KVS_OK)
    status = test_wait_for(&wait);
  test_wait_released(&wait);
  if (status == KVS_OK &&
      (wait.length != chunk->length || memcmp(wait.landed, chunk->bytes, chunk->length) != 0))
    status = KVS_ERR_INTERNAL;
  free(wait.landed);
  return status;
}

static inline void test_settle_done(struct kvi_medium_settle *settle, kvs_status status)
{
  test_wait_end(settle->user, status);
}

/* Waits until what was dropped for good is safe. */
static inline kvs_status test_settle(struct kvi_medium *medium)
{
  struct test_wait wait;
  struct kvi_medium_settle settle = {
      .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S, .done = test_settle_done, .user = &wait};
  kvs_status status;

  test_wait_init(&wait);
  status = medium->ops->settle(medium, &settle);
  return status == KVS_PENDING ? test_wait_for(&wait) : status;
}

/* A folder of the test's own. */
static inline void test_folder_make(char path[64])
{
  snprintf(path, 64, "/tmp/kvasir-test-XXXXXX");
  assert_non_null(mkdtemp(path));
}

static inline void test_folder_remove(const char *path)
{
  DIR *listing = opendir(path);
  const struct dirent *entry;
  char file[512];

  while (listing && (entry = readdir(listing)) != NULL) {
    snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
    if (entry->d_name[0] != '.')
      unlink(file);
  }
  if (listing)
    closedir(listing);
  rmdir(path);
}

#endif
