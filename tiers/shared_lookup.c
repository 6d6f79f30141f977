/*
 * tiers/shared_lookup.c: keys that the store has not are asked of the shared medium, for all spaces at once. Of a chain no key is asked for behind
 * one that some space is known not to have: the lookups of all spaces share where that is.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/shared_private.h"

struct looking {
  struct kvi_shared *shared;
  void (*done)(void *ctx, const uint8_t *present, bool failed, uint64_t chunk_us);
  void *ctx;
  uint32_t n_keys, n_bytes,
      pending;      /* pending: guarded by the shared lock; the asking thread counts as one */
  size_t own_bytes; /* of keys, as counted in looking_bytes */
  _Atomic uint32_t end;
  atomic_bool failed;
  uint8_t *present;    /* of all spaces */
  const uint8_t *skip; /* as asked */
  struct one {
    struct kvi_medium_lookup lookup;
    struct looking *all;
    uint8_t space[KVS_DIGEST_SIZE];
    uint8_t *present;
  } * ones;
  char tenant[KVI_TENANT_MAX];
  uint8_t *keys;
};

static uint32_t bits(const uint8_t *present, uint32_t n_bytes)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < n_bytes; i++)
    for (uint8_t byte = present[i]; byte; byte &= (uint8_t)(byte - 1))
      n++;
  return n;
}

/* That the chain ends where it does may follow from an answer that has not come. */
static bool is_in_doubt(const struct looking *looking)
{
  uint32_t hole = 0;

  /* relaxed: read under the lock by the last part */
  if (!atomic_load_explicit(&looking->failed, memory_order_relaxed))
    return false;
  while (hole < looking->n_keys && (looking->present[hole / 8] | looking->skip[hole / 8]) >> hole % 8 & 1)
    hole++;
  return hole != atomic_load_explicit(&looking->end, memory_order_relaxed);
}

/* One part (NULL: the asking itself) has ended; with the last one, the whole. */
static void part_end(struct looking *looking, const struct one *one)
{
  struct kvi_shared *shared = looking->shared;
  uint64_t chunk_us;
  bool last, failed;

  pthread_mutex_lock(&shared->lock);
  for (uint32_t i = 0; one && i < looking->n_bytes; i++)
    looking->present[i] &= one->present[i];
  shared->stats.lookup_keys += one ? one->lookup.n_asked : 0;
  last = --looking->pending == 0;
  chunk_us = shared->stats.chunk_us;
  failed = last && is_in_doubt(looking);
  if (last) {
    shared->looking--;
    shared->looking_bytes -= looking->own_bytes;
    shared->stats.lookup_hit_keys += bits(looking->present, looking->n_bytes);
    shared->stats.lookups_failed += atomic_load_explicit(&looking->failed, memory_order_relaxed);
  }
  pthread_mutex_unlock(&shared->lock);
  if (!last)
    return;
  looking->done(looking->ctx, looking->present, failed, chunk_us);
  free(looking);
}

static void looked(struct kvi_medium_lookup *lookup, kvs_status status)
{
  const struct one *one = lookup->user;

  if (status != KVS_OK)
    atomic_store_explicit(&one->all->failed, true,
                          memory_order_relaxed); /* read under the lock by the last one */
  part_end(one->all, one);
}

/* One block of memory: the struct, parts, bitmaps (of the answer, of each space, of what is skipped), keys. */
static struct looking *make(struct kvi_shared *shared, const struct kvi_shared_lookup *asked)
{
  uint32_t n_keys = asked->n_keys;
  uint32_t n_bytes = (n_keys + 7) / 8;
  size_t keys_bytes = (size_t)n_keys * asked->key_length;
  struct looking *looking = calloc(1, sizeof(*looking) + asked->n_spaces * sizeof(struct one) +
                                          (asked->n_spaces + (size_t)2) * n_bytes + keys_bytes);
  uint8_t *skip;

  if (!looking)
    return NULL;
  looking->shared = shared;
  looking->done = asked->done;
  looking->ctx = asked->ctx;
  looking->n_keys = n_keys;
  looking->n_bytes = n_bytes;
  looking->ones = (struct one *)(looking + 1);
  looking->present = (uint8_t *)(looking->ones + asked->n_spaces);
  looking->own_bytes = keys_bytes;
  atomic_init(&looking->end, n_keys);
  skip = looking->present + (asked->n_spaces + (size_t)1) * n_bytes;
  if (asked->skip)
    memcpy(skip, asked->skip, n_bytes);
  looking->skip = skip;
  looking->keys = skip + n_bytes;
  memset(looking->present, 0xff, n_bytes);
  if (n_keys % 8)
    looking->present[n_bytes - 1] = (uint8_t)((1u << n_keys % 8) - 1);
  memcpy(looking->keys, asked->keys, keys_bytes);
  memcpy(looking->tenant, asked->tenant, strlen(asked->tenant) + 1); /* its length was checked */
  for (uint32_t i = 0; i < asked->n_spaces; i++) {
    struct one *one = &looking->ones[i];

    one->all = looking;
    one->present = looking->present + (i + (size_t)1) * n_bytes;
    memcpy(one->space, asked->spaces[i], KVS_DIGEST_SIZE);
    one->lookup =
        (struct kvi_medium_lookup){.tenant = looking->tenant,
                                   .space = one->space,
                                   .keys = looking->keys,
                                   .key_length = asked->key_length,
                                   .n_keys = n_keys,
                                   .loss_max = asked->loss_max,
                                   .present = one->present,
                                   .skip = skip,
                                   .end = asked->unchained ? NULL : &looking->end,
                                   .deadline_ns = kvi_deadline_from_ms(shared->config.lookup_ms).at_ns,
                                   .done = looked,
                                   .user = one};
  }
  return looking;
}

kvs_status kvi_shared_ask(struct kvi_shared *shared, const struct kvi_shared_lookup *asked)
{
  size_t keys_bytes = (size_t)asked->n_keys * asked->key_length;
  struct looking *looking;
  bool refused;

  if (asked->n_keys == 0 || asked->n_spaces == 0 || strlen(asked->tenant) >= KVI_TENANT_MAX)
    return KVS_ERR_INVALID;
  pthread_mutex_lock(&shared->lock);
  refused = shared->closing || shared->looking >= shared->config.max_lookups ||
            shared->looking_bytes + keys_bytes > KVI_SHARED_LOOKUP_BYTES;
  shared->looking += !refused;
  shared->looking_bytes += refused ? 0 : keys_bytes;
  shared->stats.lookups_refused += refused;
  pthread_mutex_unlock(&shared->lock);
  if (refused)
    return KVS_ERR_BUSY;
  looking = make(shared, asked);
  if (!looking) {
    pthread_mutex_lock(&shared->lock);
    shared->looking--;
    shared->looking_bytes -= keys_bytes;
    pthread_mutex_unlock(&shared->lock);
    return KVS_ERR_NOMEM;
  }
  looking->pending = asked->n_spaces + 1;
  pthread_mutex_lock(&shared->lock);
  shared->stats.lookups++;
  pthread_mutex_unlock(&shared->lock);
  for (uint32_t i = 0; i < asked->n_spaces; i++)
    if (shared->config.medium->ops->lookup(shared->config.medium, &looking->ones[i].lookup) !=
        KVS_OK) /* n_asked is 0 */
      looked(&looking->ones[i].lookup, KVS_ERR_BUSY);
  part_end(looking, NULL);
  return KVS_OK;
}
