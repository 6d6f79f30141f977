/* tiers/spaces.c: the spaces a store knows. They are never forgotten, so a pointer to one stays good without the lock. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "proto/space.h"
#include "tiers/store_private.h"

kvs_status kvi_spaces_create(struct kvi_store *store)
{
  store->n_space_buckets = 16;
  while (store->n_space_buckets < store->config.max_spaces)
    store->n_space_buckets *= 2;
  store->spaces = calloc(store->config.max_spaces, sizeof(*store->spaces));
  store->space_buckets = malloc(store->n_space_buckets * sizeof(*store->space_buckets));
  if (!store->spaces || !store->space_buckets)
    return KVS_ERR_NOMEM;
  memset(store->space_buckets, 0xff, store->n_space_buckets * sizeof(*store->space_buckets)); /* KVI_NONE */
  return KVS_OK;
}

void kvi_spaces_destroy(struct kvi_store *store)
{
  for (uint32_t i = 0; store->spaces && i < store->n_spaces; i++)
    kvi_space_free(store->spaces[i].desc);
  free(store->spaces);
  free(store->space_buckets);
}

static uint32_t *bucket_of(const struct kvi_store *store, const char *tenant, const uint8_t *digest)
{
  uint64_t hash =
      XXH3_64bits_withSecret(digest, KVS_DIGEST_SIZE, store->hash_secret, sizeof(store->hash_secret));

  hash ^= XXH3_64bits_withSecret(tenant, strlen(tenant), store->hash_secret, sizeof(store->hash_secret));
  return &store->space_buckets[hash & (store->n_space_buckets - 1)];
}

uint32_t kvi_space_find_locked(const struct kvi_store *store, const char *tenant, const uint8_t *digest)
{
  uint32_t number = *bucket_of(store, tenant, digest);

  while (number != KVI_NONE) {
    const struct kvi_space_entry *space = &store->spaces[number];

    if (memcmp(space->digest, digest, KVS_DIGEST_SIZE) == 0 && strcmp(space->tenant, tenant) == 0)
      break;
    number = space->next;
  }
  return number;
}

/* The known space of this tenant that differs in the fewest fields. The first `n` spaces do not change any more: no lock. */
static void nearest_find(const struct kvi_store *store, uint32_t n, const char *tenant,
                         const kvs_space_desc *desc, struct kvi_space_opened *opened)
{
  char text[sizeof(opened->nearest)];

  for (uint32_t i = 0; i < n; i++) {
    const kvs_space_desc *known = atomic_load_explicit(&store->spaces[i].desc, memory_order_acquire);
    size_t differences;

    if (!known || strcmp(store->spaces[i].tenant, tenant) != 0)
      continue;
    differences = kvi_space_diff(known, desc, text, sizeof(text));
    if (differences > 0 && (opened->nearest_differences == 0 || differences < opened->nearest_differences)) {
      opened->nearest_differences = differences;
      memcpy(opened->nearest, text, sizeof(text));
    }
  }
}

/* A new one, without its description. KVI_NONE: there are too many. */
static uint32_t space_create_locked(struct kvi_store *store, const char *tenant, const uint8_t *digest,
                                    uint32_t key_length)
{
  uint32_t *bucket = bucket_of(store, tenant, digest), account = kvi_store_tenant_find(store, tenant);
  struct kvi_space_entry *space;

  if (store->n_spaces == store->config.max_spaces ||
      !kvi_account_share_locked(store, account, KVI_SHARED_SPACES, 1))
    return KVI_NONE;
  space = &store->spaces[store->n_spaces];
  memcpy(space->digest, digest, KVS_DIGEST_SIZE);
  memcpy(space->tenant, tenant, strlen(tenant) + 1);
  space->account = account;
  space->key_length = key_length;
  space->next = *bucket;
  *bucket = store->n_spaces++;
  store->stats.spaces++;
  return *bucket;
}

/* Adds it unless somebody else just did; takes the copy over on KVS_OK with created. */
static kvs_status space_add_locked(struct kvi_store *store, const char *tenant, const uint8_t *digest,
                                   kvs_space_desc *copy, bool *created_p)
{
  uint32_t number = kvi_space_find_locked(store, tenant, digest);
  struct kvi_space_entry *space;

  if (number == KVI_NONE)
    number = space_create_locked(store, tenant, digest, copy->key_length);
  if (number == KVI_NONE)
    return KVS_ERR_BUSY;
  space = &store->spaces[number];
  if (atomic_load_explicit(&space->desc, memory_order_relaxed))
    return KVS_OK;
  if (space->key_length != copy->key_length) /* what was found of it is not of this space */
    return KVS_ERR_SPACE_MISMATCH;
  space->chunk_bytes = copy->chunk_bytes;
  atomic_store_explicit(&space->desc, copy, memory_order_release);
  *created_p = true;
  return KVS_OK;
}

uint32_t kvi_space_recover(struct kvi_store *store, const char *tenant, const uint8_t *digest,
                           uint32_t key_length)
{
  uint32_t number;

  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, digest);
  if (number == KVI_NONE)
    number = space_create_locked(store, tenant, digest, key_length);
  else if (store->spaces[number].key_length != key_length)
    number = KVI_NONE;
  pthread_mutex_unlock(&store->lock);
  return number;
}

kvs_status kvi_store_space_open(struct kvi_store *store, const char *tenant,
                                const uint8_t digest[KVS_DIGEST_SIZE], const kvs_space_desc *desc,
                                struct kvi_space_opened *opened_p)
{
  uint8_t own[KVS_DIGEST_SIZE];
  kvs_space_desc *copy = NULL;
  uint32_t known, n_spaces;
  kvs_status status;

  memset(opened_p, 0, sizeof(*opened_p));
  if (!tenant || strlen(tenant) >= KVI_TENANT_MAX)
    return KVS_ERR_INVALID;
  status = kvs_space_digest(desc, own);
  if (status != KVS_OK)
    return status;
  if (memcmp(own, digest, KVS_DIGEST_SIZE) != 0)
    return KVS_ERR_SPACE_MISMATCH;
  pthread_mutex_lock(&store->lock);
  known = kvi_space_find_locked(store, tenant, digest);
  if (known != KVI_NONE && !store->spaces[known].desc)
    known = KVI_NONE;
  n_spaces = store->n_spaces;
  pthread_mutex_unlock(&store->lock);
  if (known != KVI_NONE)
    return KVS_OK;
  status = kvi_space_copy(desc, &copy);
  if (status != KVS_OK)
    return status;
  nearest_find(store, n_spaces, tenant, copy, opened_p);
  pthread_mutex_lock(&store->lock);
  status = space_add_locked(store, tenant, digest, copy, &opened_p->created);
  pthread_mutex_unlock(&store->lock);
  if (!opened_p->created)
    kvi_space_free(copy);
  return status;
}

const kvs_space_desc *kvi_store_space_desc(struct kvi_store *store, const char *tenant, const uint8_t *space)
{
  const kvs_space_desc *desc = NULL;
  uint32_t number;

  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, space);
  if (number != KVI_NONE)
    desc = atomic_load_explicit(&store->spaces[number].desc, memory_order_acquire);
  pthread_mutex_unlock(&store->lock);
  return desc;
}
