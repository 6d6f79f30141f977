/*
 * tiers/shared_expiry.c: until when chunks are in the shared medium, by what this node has written and read there. A time is counted from before the medium was asked, and rounded down: it is over here before it is over there, by up to as long as the
 * put or get took and 67 ms. In between a chunk does not count any more and is there; somebody else's use makes that longer.
 */
#include <string.h>

#include <xxhash.h>

#include "base/clock.h"
#include "tiers/shared_private.h"
#include "tiers/shared_quota.h"

uint64_t kvi_shared_now(const struct kvi_shared *shared)
{
  return shared->config.clock ? shared->config.clock(shared->config.clock_ctx) : kvi_now_ns();
}

/* Keys are clients' to choose: nobody is to choose whose record his takes. */
static uint64_t hash_of(const struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  uint64_t seed = XXH3_64bits_withSeed(name->tenant, strlen(name->tenant), shared->expiries_seed);

  seed = XXH3_64bits_withSeed(name->space, sizeof(name->space), seed);
  return XXH3_64bits_withSeed(name->key, name->key_length, seed);
}

static void move(struct kvi_shared *shared, const struct kvi_shared_name *name, uint64_t bytes,
                 uint64_t from_ns, uint64_t to_ns)
{
  kvi_shared_quota_move(shared->config.store, name->tenant, name->space, bytes, from_ns, to_ns);
}

/* before: what was known of it, which is none of it any more. */
static void end_locked(struct kvi_shared *shared, const struct kvi_shared_name *name, uint64_t hash,
                       const struct kvi_expiry *before)
{
  kvi_expiries_forget(shared->expiries, hash);
  move(shared, name, before->bytes, before->until_ns, 0);
}

static void expiry_locked(struct kvi_shared *shared, const struct kvi_shared_name *name, uint64_t hash,
                          uint64_t from_ns, uint64_t ttl_ms, const uint64_t *written)
{
  struct kvi_expiry before = {0}, expiry;

  (void)kvi_expiries_find(shared->expiries, hash, &before);
  end_locked(shared, name, hash, &before);
  if (ttl_ms == 0)
    return;
  expiry = (struct kvi_expiry){.until_ns = from_ns + ttl_ms * KVI_NS_PER_MS,
                               .bytes = before.bytes,
                               .ttl_ms = ttl_ms < UINT32_MAX ? (uint32_t)ttl_ms : UINT32_MAX};
  if (written)
    expiry.bytes = (uint32_t)*written;
  else if (before.until_ns <= from_ns)
    expiry.bytes = 0; /* what this node has written was over: it is another's */
  kvi_expiries_note(shared->expiries, hash, &expiry);
  (void)kvi_expiries_find(shared->expiries, hash, &expiry); /* as it is rounded */
  move(shared, name, expiry.bytes, 0, expiry.until_ns);
}

void kvi_shared_expiry_written_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                      uint64_t from_ns, uint64_t ttl_ms, uint64_t bytes)
{
  expiry_locked(shared, name, hash_of(shared, name), from_ns, ttl_ms, &bytes);
}

void kvi_shared_expiry_used_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                   uint64_t from_ns, uint64_t ttl_ms)
{
  expiry_locked(shared, name, hash_of(shared, name), from_ns, ttl_ms, NULL);
}

void kvi_shared_expiry_found_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                    uint64_t from_ns)
{
  uint64_t hash = hash_of(shared, name);
  struct kvi_expiry before;
  bool known = kvi_expiries_find(shared->expiries, hash, &before) && before.until_ns > from_ns;

  /* Of its own it may have a shorter one, which the medium does not tell. */
  expiry_locked(shared, name, hash, from_ns, known ? before.ttl_ms : shared->attr.ttl_ms, NULL);
}

uint64_t kvi_shared_expiry_bytes_locked(const struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  struct kvi_expiry expiry;

  return kvi_expiries_find(shared->expiries, hash_of(shared, name), &expiry) &&
                 expiry.until_ns > kvi_shared_now(shared)
             ? expiry.bytes
             : 0;
}

uint64_t kvi_shared_expiry_missed_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                         uint64_t from_ns)
{
  uint64_t hash = hash_of(shared, name);
  struct kvi_expiry expiry;

  if (!kvi_expiries_find(shared->expiries, hash, &expiry))
    return 0;
  if (expiry.until_ns <= kvi_shared_now(shared))
    return expiry.until_ns;
  /* The medium let go of it sooner, or somebody has removed it; unless the question may have come before its write, which takes so long at most. */
  if (expiry.until_ns + shared->config.put_ms * KVI_NS_PER_MS + KVI_EXPIRY_TICK_NS <=
      from_ns + expiry.ttl_ms * KVI_NS_PER_MS)
    end_locked(shared, name, hash, &expiry);
  return 0;
}

void kvi_shared_expiry_put_locked(struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  uint64_t hash = hash_of(shared, name);
  struct kvi_expiry expiry;

  if (kvi_expiries_find(shared->expiries, hash, &expiry) && expiry.until_ns <= kvi_shared_now(shared))
    kvi_expiries_forget(shared->expiries, hash);
}

void kvi_shared_expiry_end_locked(struct kvi_shared *shared, const struct kvi_shared_name *name)
{
  uint64_t hash = hash_of(shared, name);
  struct kvi_expiry expiry;

  if (kvi_expiries_find(shared->expiries, hash, &expiry))
    end_locked(shared, name, hash, &expiry);
}

bool kvi_shared_expired(struct kvi_shared *shared, const char *tenant, const uint8_t *space,
                        const uint8_t *key, uint32_t key_length, uint64_t *at_ns_p)
{
  struct kvi_shared_name name;
  struct kvi_expiry expiry;
  bool over;

  if (kvi_shared_name_make(tenant, space, key, key_length, &name) != KVS_OK)
    return false;
  pthread_mutex_lock(&shared->lock);
  over = kvi_expiries_find(shared->expiries, hash_of(shared, &name), &expiry) &&
         expiry.until_ns <= kvi_shared_now(shared);
  pthread_mutex_unlock(&shared->lock);
  *at_ns_p = over ? expiry.until_ns : 0;
  return over;
}
