/*
 * medium_owner.h: what stands for the store in tests of a medium: handles by the number of the test's chunk. CHUNKS, the number of
 * numbers, is the including file's.
 */
#ifndef KVI_TESTS_UNIT_TIERS_MEDIUM_OWNER_H
#define KVI_TESTS_UNIT_TIERS_MEDIUM_OWNER_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "medium_testing.h"

/* An owner that remembers handles by the chunk's number, as the store does by its index. */
struct owner {
  pthread_mutex_t mutex;
  struct kvi_medium *medium;
  uint32_t n_found, n_lost, n_corrupt, n_moved;
  uint32_t oldest; /* next to be let go */
  uint32_t
      stride; /* to the one after it. 0: as they were put; prime to CHUNKS: as if they were used in any order */
  bool frozen;             /* lets nothing go */
  const atomic_bool *gone; /* NULL, or: the device is. What is lost then stays, to compare later */
  uint32_t n_given_up;     /* lost, and the device was there */
  kvi_medium_handle handles[CHUNKS];
  uint32_t lengths[CHUNKS];
  uint8_t losses[CHUNKS]; /* kvi_quality_loss */
  uint32_t n_cut;         /* of those that were moved, those that lost a plane */
  uint32_t n_refused;     /* that were not to lose anything when the medium asked */
  uint32_t n_odd;         /* that lost more at a time, or all the same, or grew */
};

static inline uint32_t number_of(const struct kvi_medium_identity *identity)
{
  uint8_t key[KEY_BYTES];

  for (uint32_t i = 0; i < CHUNKS; i++) {
    testing_key(i, key, KEY_BYTES);
    if (memcmp(key, identity->key, KEY_BYTES) == 0)
      return i;
  }
  fail_msg("a chunk that was never put");
  return 0;
}

static inline bool owner_holds(void *ctx, const struct kvi_medium_identity *identity,
                               kvi_medium_handle handle)
{
  struct owner *owner = ctx;
  bool holds;

  pthread_mutex_lock(&owner->mutex);
  holds = owner->handles[number_of(identity)] == handle;
  pthread_mutex_unlock(&owner->mutex);
  return holds;
}

/* These are not to lose anything: somebody has been promised them as they are. */
static inline bool is_promised(uint32_t number)
{
  return number % 8 == 7;
}

static inline bool owner_may_lose(void *ctx, const struct kvi_medium_identity *identity,
                                  kvi_medium_handle handle, uint32_t loss)
{
  struct owner *owner = ctx;
  uint32_t number = number_of(identity);
  bool may;

  pthread_mutex_lock(&owner->mutex);
  may = owner->handles[number] == handle && !is_promised(number);
  owner->n_refused += is_promised(number);
  owner->n_odd += loss != owner->losses[number] + 1u;
  pthread_mutex_unlock(&owner->mutex);
  return may;
}

static inline bool owner_moved(void *ctx, kvi_medium_handle from, const struct kvi_medium_found *to)
{
  struct owner *owner = ctx;
  uint32_t number = number_of(&to->identity);
  bool was;

  pthread_mutex_lock(&owner->mutex);
  was = owner->handles[number] == from;
  if (was) {
    owner->n_cut += to->loss != owner->losses[number];
    owner->n_odd += to->loss != owner->losses[number] && is_promised(number);
    owner->n_odd += to->loss != owner->losses[number] &&
                    (to->loss != owner->losses[number] + 1u || to->length >= owner->lengths[number]);
    owner->n_odd += to->loss == owner->losses[number] && to->length != owner->lengths[number];
    owner->handles[number] = to->handle;
    owner->lengths[number] = (uint32_t)to->length;
    owner->losses[number] = (uint8_t)to->loss;
  }
  owner->n_moved += was;
  pthread_mutex_unlock(&owner->mutex);
  return was;
}

static inline uint64_t owner_make_room(void *ctx, uint64_t bytes)
{
  struct owner *owner = ctx;
  uint64_t freed = 0;

  pthread_mutex_lock(&owner->mutex);
  for (uint32_t i = 0; i < CHUNKS && freed < bytes && !owner->frozen; i++) {
    uint32_t number = (uint32_t)((uint64_t)owner->oldest++ * (owner->stride ? owner->stride : 1) % CHUNKS);

    if (owner->handles[number] == 0 || number % 100 == 0) /* some are never let go: they have to be moved */
      continue;
    freed += owner->lengths[number];
    owner->medium->ops->drop(owner->medium, NULL, owner->handles[number], false);
    owner->handles[number] = 0;
  }
  pthread_mutex_unlock(&owner->mutex);
  return freed;
}

static inline void owner_corrupt(void *ctx, const struct kvi_medium_identity *identity,
                                 kvi_medium_handle handle)
{
  struct owner *owner = ctx;
  uint32_t number = number_of(identity);

  pthread_mutex_lock(&owner->mutex);
  if (owner->handles[number] == handle) {
    owner->handles[number] = 0;
    owner->medium->ops->drop(owner->medium, identity, handle, false);
  }
  owner->n_corrupt++;
  pthread_mutex_unlock(&owner->mutex);
}

static inline void owner_lost(void *ctx, kvi_medium_handle first, kvi_medium_handle last)
{
  struct owner *owner = ctx;
  bool gone = owner->gone && *owner->gone;

  pthread_mutex_lock(&owner->mutex);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    if (owner->handles[i] < first || owner->handles[i] > last || owner->handles[i] == 0)
      continue;
    owner->n_lost++;
    if (gone)
      continue;
    owner->n_given_up++;
    owner->handles[i] = 0;
  }
  pthread_mutex_unlock(&owner->mutex);
}

static inline bool owner_found(void *ctx, const struct kvi_medium_found *found)
{
  struct owner *owner = ctx;
  uint32_t number = number_of(&found->identity);

  owner->n_found++;
  assert_string_equal(found->identity.tenant, TENANT);
  assert_int_equal(found->identity.place, number % 10);
  assert_int_equal(found->identity.parent != NULL, number % 10 != 0);
  if (owner->handles[number] != 0 && found->loss > owner->losses[number])
    return false;
  if (owner->handles[number] != 0)
    owner->medium->ops->drop(owner->medium, &found->identity, owner->handles[number], false);
  owner->handles[number] = found->handle;
  owner->lengths[number] = (uint32_t)found->length;
  owner->losses[number] = (uint8_t)found->loss;
  return true;
}

/* Lets go of a chunk, for good or not, whether or not the owner knows where it is. */
static inline void owner_drop(struct owner *owner, uint32_t number, bool for_good)
{
  struct test_chunk chunk;
  struct kvi_medium_identity identity;

  test_chunk_make(&chunk, number, 8, 1);
  identity = test_identity(&chunk);
  pthread_mutex_lock(&owner->mutex);
  owner->medium->ops->drop(owner->medium, &identity, owner->handles[number], for_good);
  owner->handles[number] = 0;
  pthread_mutex_unlock(&owner->mutex);
  test_chunk_free(&chunk);
}

/* Deletes a chunk. KVS_OK: that is acknowledged. */
static inline kvs_status owner_delete(struct owner *owner, uint32_t number)
{
  owner_drop(owner, number, true);
  return test_settle(owner->medium);
}

/* Has the owner's medium tell what it holds. */
static inline kvs_status owner_recover(struct owner *owner)
{
  struct kvi_medium_owner ops = {.ctx = owner,
                                 .holds = owner_holds,
                                 .may_lose = owner_may_lose,
                                 .moved = owner_moved,
                                 .make_room = owner_make_room,
                                 .corrupt = owner_corrupt,
                                 .lost = owner_lost};

  return owner->medium->ops->recover(owner->medium, &ops, owner_found);
}

/* Puts a chunk, and remembers where it is. */
static inline kvs_status owner_put(struct owner *owner, const struct test_chunk *chunk)
{
  kvi_medium_handle handle;
  kvs_status status = test_put(owner->medium, chunk, &handle);

  pthread_mutex_lock(&owner->mutex);
  owner->handles[chunk->number] = handle;
  owner->lengths[chunk->number] = chunk->length;
  owner->losses[chunk->number] = (uint8_t)kvi_quality_loss(kvi_load_le16(chunk->table + 6));
  pthread_mutex_unlock(&owner->mutex);
  return status;
}

static inline kvi_medium_handle owner_handle(struct owner *owner, uint64_t number)
{
  kvi_medium_handle handle;

  pthread_mutex_lock(&owner->mutex);
  handle = owner->handles[number];
  pthread_mutex_unlock(&owner->mutex);
  return handle;
}

/* Gets a chunk; once more if it was moved meanwhile, as the store does. */
static inline kvs_status owner_get(struct owner *owner, const struct test_chunk *chunk)
{
  kvi_medium_handle at, now = owner_handle(owner, chunk->number);
  kvs_status status = KVS_MISS;

  do {
    at = now;
    if (at == 0)
      return KVS_MISS;
    status = test_get(owner->medium, chunk, at);
    now = owner_handle(owner, chunk->number);
  } while (status == KVS_MISS && now != at);
  return status;
}

#endif
