/*
 * tiers/lookup.c: how much of a chain is there, in all of the spaces asked.
 *
 * The keys are walked in steps of 64 / n_spaces, each in one hold of the lock: all spaces are searched for the step's keys, what they have in common is
 * the answer for them, and while the prefix is unbroken it is held for the lease at once. So what is held is what the answer says.
 */
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "tiers/store_private.h"

struct walk {
  struct kvi_store *store;
  const struct kvi_store_lookup *lookup;
  struct kvi_store_lookup_result *result;
  uint32_t spaces[KVI_LOOKUP_SPACES_MAX];
  uint64_t now_ns, used_ns; /* for leases; for the policy, which has a clock of its own */
  uint32_t lease;           /* KVI_NONE */
  bool broken;              /* a key was missing: the prefix is over */
  uint32_t n_present;
  uint32_t n_found;                       /* keys up to the last one that is there */
  struct kvi_sampler_batch *samples;      /* NULL: it is not recorded */
  uint32_t tokens[KVI_LOOKUP_SPACES_MAX]; /* of a chunk, with samples */
  uint64_t prefix_bytes;                  /* in memory */
  uint64_t below_bytes;                   /* on the medium */
  uint64_t loads_memory, loads_below;     /* the same, of all keys, with loads */
  struct speed {
    double latency_us, bytes_per_us;
  } dram, below; /* below: known with a verdict or loads, or once something lies there */
};

static kvs_status arguments_check(const struct kvi_store_lookup *lookup)
{
  if (lookup->n_spaces == 0 || lookup->n_spaces > KVI_LOOKUP_SPACES_MAX || lookup->n_keys == 0 ||
      lookup->n_keys > KVI_LOOKUP_KEYS_MAX || !lookup->spaces || !lookup->keys)
    return KVS_ERR_INVALID;
  if (lookup->key_length < KVS_KEY_MIN || lookup->key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  return KVS_OK;
}

static void result_clear(const struct kvi_store_lookup *lookup, struct kvi_store_lookup_result *result)
{
  if (result->present)
    memset(result->present, 0, (lookup->n_keys + 7) / 8);
  if (result->tiers)
    memset(result->tiers, KVI_TIER_ABSENT, lookup->n_keys);
  for (uint32_t i = 0; result->loads && i < lookup->n_keys; i++)
    result->loads[i] = (struct kvi_key_load){.n_missing = lookup->n_spaces};
  result->prefix = 0;
  result->lease = 0;
  result->lease_ms = 0;
  result->lease_status = KVS_MISS;
  result->fetch_us = 0;
  kvi_verdict_begin(&result->verdict, NULL, 0, 0);
}

/* ---- predictions ---- */

/* What reading from the medium takes, as measured, behind what it has to read already; before the first read, as a common NVMe does. */
static void below_measure(struct walk *walk)
{
  struct kvi_medium_stats stats;
  double rate;

  walk->store->below->medium->ops->stats(walk->store->below->medium, &stats);
  rate = (double)(stats.read_bytes_per_s > 0 ? stats.read_bytes_per_s : KVI_BELOW_BYTES_PER_S);
  walk->below.bytes_per_us = rate / 1e6;
  walk->below.latency_us = (stats.read_latency_us > 0 ? (double)stats.read_latency_us : 100) +
                           (double)stats.queued_get_bytes / walk->below.bytes_per_us;
}

/* To read so much more from a tier of which `before` bytes are read already. */
static double loading_us(const struct speed *speed, uint64_t before, uint64_t bytes)
{
  if (bytes == 0)
    return 0;
  return (before == 0 ? speed->latency_us : 0) + (double)bytes / speed->bytes_per_us;
}

/* By the first of the spaces that has an estimate: all are of one model. */
static void verdict_begin_locked(struct walk *walk)
{
  const struct kvi_store_lookup *lookup = walk->lookup;

  for (uint32_t i = 0; i < lookup->n_spaces && !lookup->unchained; i++) {
    const struct kvi_space_entry *space = &walk->store->spaces[walk->spaces[i]];

    if (!kvi_compute_is_known(&space->compute))
      continue;
    kvi_verdict_begin(&walk->result->verdict, &space->compute, kvi_space_tokens(space), lookup->first_place);
    return;
  }
}

/* KVS_OK, KVS_MISS (one of them is unknown), KVS_ERR_KEY_LENGTH. */
static kvs_status spaces_find(struct walk *walk)
{
  struct kvi_store *store = walk->store;
  kvs_status status = KVS_OK;

  pthread_mutex_lock(&store->lock);
  for (uint32_t i = 0; i < walk->lookup->n_spaces && status == KVS_OK; i++) {
    walk->spaces[i] = kvi_space_find_locked(store, walk->lookup->tenant, walk->lookup->spaces[i]);
    if (walk->spaces[i] == KVI_NONE)
      status = KVS_MISS;
    else if (store->spaces[walk->spaces[i]].key_length != walk->lookup->key_length)
      status = KVS_ERR_KEY_LENGTH;
  }
  if (status == KVS_OK)
    verdict_begin_locked(walk);
  pthread_mutex_unlock(&store->lock);
  return status;
}

/* The entry of the key before the step's first one, to link that to it. */
static uint32_t previous_find_locked(const struct walk *walk, uint32_t space, uint32_t first)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  struct kvi_key_tag tag;

  if (first == 0)
    return KVI_NONE;
  kvi_key_tag(walk->store, lookup->keys + (size_t)(first - 1) * lookup->key_length, lookup->key_length, &tag);
  return kvi_index_find_locked(walk->store, kvi_key_hash(space, &tag), space, &tag);
}

/* Told once more that they were used, and linked, which mends the link of a chunk whose parent came after it. */
static void found_use_locked(struct walk *walk, uint32_t previous, const uint32_t *found, uint32_t n)
{
  struct kvi_store *store = walk->store;

  for (uint32_t i = 0; i < n; i++) {
    const struct kvi_entry *entry;

    if (found[i] == KVI_NONE) {
      previous = KVI_NONE;
      continue;
    }
    entry = &store->entries[found[i]];
    if (previous != KVI_NONE && !entry->unchained && !store->entries[previous].unchained &&
        entry->place == store->entries[previous].place + 1)
      kvi_entry_link_locked(store, found[i], previous);
    kvi_entry_touch_locked(store, found[i], walk->used_ns);
    previous = found[i];
  }
}

/* The slowest tier that a space has it in. */
static uint8_t step_tier_locked(const struct walk *walk, const uint32_t (*found)[KVI_BATCH_LOCKED],
                                uint32_t i)
{
  for (uint32_t s = 0; s < walk->lookup->n_spaces; s++)
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.ArraySubscript): each space was searched */
    if (walk->store->entries[found[s][i]].state != KVI_ENTRY_RESIDENT)
      return (uint8_t)walk->store->below->attr.kind;
  return KVI_TIER_DRAM;
}

/* ---- for the curve (docs/curve.md) ---- */

/* The i'th key of a step, in each space: its tokens are asked for once, and each space has a part of them. had: a get finds it, and all before it. found NULL: it was not looked for. */
static void key_sample(struct walk *walk, const struct kvi_key_tag *tag, bool had,
                       const uint32_t (*found)[KVI_BATCH_LOCKED], uint32_t i)
{
  const struct kvi_store *store = walk->store;
  uint32_t n = walk->lookup->n_spaces, flags = walk->lookup->unchained ? KVI_CURVE_ALONE : 0;

  if (had)
    flags |= KVI_CURVE_HIT | KVI_CURVE_MEMORY;
  for (uint32_t s = 0; s < n && had && found; s++) /* the slowest tier says where it is */
    if (found[s][i] == KVI_NONE || store->entries[found[s][i]].state != KVI_ENTRY_RESIDENT)
      flags &= ~(uint32_t)KVI_CURVE_MEMORY;
  for (uint32_t s = 0; s < n; s++) {
    const struct kvi_entry *entry = found && found[s][i] != KVI_NONE ? &store->entries[found[s][i]] : NULL;

    kvi_sampler_add(store->sampler, walk->samples, kvi_key_hash(walk->spaces[s], tag),
                    entry ? entry->length : 0, walk->tokens[s] / n + (s == 0 ? walk->tokens[s] % n : 0),
                    flags);
  }
}

/* What comes after the prefix, and was not looked for: none of it is of use. */
static void rest_sample(struct walk *walk, uint32_t first)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  struct kvi_key_tag tag;

  for (uint32_t i = first; i < lookup->n_keys; i++) {
    kvi_sampler_flush(walk->store->sampler, walk->samples, walk->used_ns);
    kvi_key_tag(walk->store, lookup->keys + (size_t)i * lookup->key_length, lookup->key_length, &tag);
    key_sample(walk, &tag, false, NULL, 0);
  }
}

/* Of all keys; of a chain the last one says what is before it. */
static uint64_t keys_hash(const struct walk *walk)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  uint64_t hash = lookup->n_keys;

  for (uint32_t i = lookup->unchained ? 0 : lookup->n_keys - 1; i < lookup->n_keys; i++) {
    struct kvi_key_tag tag;

    kvi_key_tag(walk->store, lookup->keys + (size_t)i * lookup->key_length, lookup->key_length, &tag);
    hash = (hash << 7 | hash >> 57) * UINT64_C(0x9E3779B97F4A7C15) ^ kvi_key_hash(walk->spaces[0], &tag);
  }
  return hash;
}

/* Not of one who only looks, nor of one who tells of single keys in use: that asks for nothing, so it holds nothing (the tier of vLLM). */
static void samples_begin(struct walk *walk, struct kvi_sampler_batch *batch)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  const struct kvi_store *store = walk->store;
  uint64_t hash;

  if (!store->sampler || lookup->peek || (lookup->unchained && lookup->lease_ms == 0))
    return;
  hash = keys_hash(walk);
  kvi_sampler_begin(store->sampler, batch, hash, walk->used_ns);
  for (uint32_t s = 0; s < lookup->n_spaces; s++)
    walk->tokens[s] = kvi_space_tokens(&store->spaces[walk->spaces[s]]);
  walk->samples = batch;
}

/* Of the key, the i'th of its step, whether all spaces have it or not: a shared tier may have the rest, and what comes behind is of use then. */
static void load_tell_locked(struct walk *walk, struct kvi_key_load *load,
                             const uint32_t (*found)[KVI_BATCH_LOCKED], uint32_t i)
{
  const struct kvi_store *store = walk->store;
  uint64_t memory = walk->loads_memory, below = walk->loads_below;

  for (uint32_t s = 0; s < walk->lookup->n_spaces; s++) {
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): each space was searched */
    uint32_t number = found[s][i];

    if (number == KVI_NONE)
      continue;
    load->n_missing--;
    if (store->entries[number].state == KVI_ENTRY_RESIDENT)
      walk->loads_memory += store->entries[number].length;
    else
      walk->loads_below += store->entries[number].length;
  }
  load->us = (float)(loading_us(&walk->dram, memory, walk->loads_memory - memory) +
                     loading_us(&walk->below, below, walk->loads_below - below));
}

/* What the spaces have in common, and its use: `mask` has a bit for each key of the step. */
static void step_answer_locked(struct walk *walk, uint32_t first, uint32_t n, uint64_t mask,
                               const struct kvi_key_tag *tags, const uint32_t (*found)[KVI_BATCH_LOCKED])
{
  struct kvi_store *store = walk->store;
  struct kvi_store_lookup_result *result = walk->result;

  for (uint32_t i = 0; i < n; i++) {
    uint64_t prefix_bytes = walk->prefix_bytes, below_bytes = walk->below_bytes;
    bool present = (mask >> i) & 1;

    walk->broken |= !present;
    if (result->loads)
      load_tell_locked(walk, &result->loads[first + i], found, i);
    if (walk->samples)
      key_sample(walk, &tags[i], present && (!walk->broken || walk->lookup->unchained), found, i);
    if (!present)
      continue;
    walk->n_present++;
    walk->n_found = first + i + 1;
    if (result->present)
      result->present[(first + i) / 8] |= (uint8_t)(1u << (first + i) % 8);
    if (result->tiers)
      result->tiers[first + i] = step_tier_locked(walk, found, i);
    if (!walk->broken)
      result->prefix++;
    if (walk->broken && !walk->lookup->unchained)
      continue;
    for (uint32_t s = 0; s < walk->lookup->n_spaces; s++) {
      /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.ArraySubscript): each space was searched */
      if (store->entries[found[s][i]].state == KVI_ENTRY_RESIDENT)
        walk->prefix_bytes += store->entries[found[s][i]].length;
      else
        walk->below_bytes += store->entries[found[s][i]].length;
      if (walk->lease != KVI_NONE)
        kvi_lease_hold_locked(store, walk->lease, found[s][i]);
    }
    if (!walk->broken && kvi_compute_is_known(&result->verdict.compute))
      kvi_verdict_next(&result->verdict,
                       loading_us(&walk->dram, prefix_bytes, walk->prefix_bytes - prefix_bytes) +
                           loading_us(&walk->below, below_bytes, walk->below_bytes - below_bytes));
  }
}

static void step(struct walk *walk, uint32_t first, uint32_t n)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  struct kvi_key_tag tags[KVI_BATCH_LOCKED];
  /* n_spaces * n <= 64, so only a corner of it is touched */
  uint32_t found[KVI_LOOKUP_SPACES_MAX][KVI_BATCH_LOCKED];
  uint64_t mask = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;

  for (uint32_t i = 0; i < n; i++)
    kvi_key_tag(walk->store, lookup->keys + (size_t)(first + i) * lookup->key_length, lookup->key_length,
                &tags[i]);
  if (walk->samples)
    kvi_sampler_flush(walk->store->sampler, walk->samples, walk->used_ns);
  pthread_mutex_lock(&walk->store->lock);
  for (uint32_t s = 0; s < lookup->n_spaces; s++) {
    uint64_t have = 0;

    kvi_index_find_batch_locked(walk->store, walk->spaces[s], tags, n, found[s]);
    for (uint32_t i = 0; i < n; i++)
      if (found[s][i] != KVI_NONE && walk->store->entries[found[s][i]].loss > lookup->loss_max)
        found[s][i] = KVI_NONE;
    if (!lookup->peek)
      found_use_locked(walk,
                       lookup->unchained ? KVI_NONE : previous_find_locked(walk, walk->spaces[s], first),
                       found[s], n);
    for (uint32_t i = 0; i < n; i++)
      have |= (uint64_t)(found[s][i] != KVI_NONE) << i;
    mask &= have;
  }
  step_answer_locked(walk, first, n, mask, tags, (const uint32_t(*)[KVI_BATCH_LOCKED])found);
  pthread_mutex_unlock(&walk->store->lock);
}

static void lease_begin(struct walk *walk)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  uint32_t account = 0;

  walk->lease = KVI_NONE;
  if (lookup->lease_ms == 0 || lookup->peek)
    return;
  kvi_store_expire(walk->store);
  for (uint32_t s = 0; s < lookup->n_spaces && account == 0; s++)
    account = walk->spaces[s] == KVI_NONE ? 0 : walk->store->spaces[walk->spaces[s]].account;
  walk->result->lease_status =
      kvi_lease_prepare(walk->store, account, lookup->owner, lookup->n_keys * lookup->n_spaces, &walk->lease);
}

static void lease_end(struct walk *walk)
{
  struct kvi_store_lookup_result *result = walk->result;
  uint32_t ms = walk->lookup->lease_ms < KVI_LEASE_MS_MAX ? walk->lookup->lease_ms : KVI_LEASE_MS_MAX;

  if (walk->lease == KVI_NONE)
    return;
  result->lease = kvi_lease_grant(walk->store, walk->lease, walk->now_ns + ms * KVI_NS_PER_MS);
  result->lease_ms = result->lease ? ms : 0;
  result->lease_status = result->lease ? KVS_OK : KVS_MISS;
}

static void count(struct walk *walk)
{
  struct kvi_store *store = walk->store;

  if (walk->lookup->peek)
    return;
  pthread_mutex_lock(&store->lock);
  store->stats.lookups++;
  store->stats.lookup_keys += walk->lookup->n_keys;
  store->stats.lookup_hit_keys += walk->n_present;
  pthread_mutex_unlock(&store->lock);
}

/* Told to the policy: the last chunk that was found, of the prefix, or of single keys of a chain that were asked for; if it is still there. */
static void arrive(struct walk *walk)
{
  const struct kvi_store_lookup *lookup = walk->lookup;
  uint32_t n = lookup->unchained ? walk->n_found : walk->result->prefix;
  struct kvi_key_tag tag;

  if (lookup->peek || n == 0)
    return;
  kvi_key_tag(walk->store, lookup->keys + (size_t)(n - 1) * lookup->key_length, lookup->key_length, &tag);
  pthread_mutex_lock(&walk->store->lock);
  if (walk->below.bytes_per_us > 0)
    walk->store->below->read_bytes_per_s = (uint64_t)(walk->below.bytes_per_us * 1e6) + 1;
  for (uint32_t s = 0; s < lookup->n_spaces; s++) {
    uint32_t space = walk->spaces[s],
             number = kvi_index_find_locked(walk->store, kvi_key_hash(space, &tag), space, &tag);

    if (number != KVI_NONE && kvi_entry_is_present(&walk->store->entries[number]))
      kvi_arrive_locked(walk->store, number, lookup->n_keys - n);
  }
  pthread_mutex_unlock(&walk->store->lock);
}

kvs_status kvi_store_lookup(struct kvi_store *store, const struct kvi_store_lookup *lookup,
                            struct kvi_store_lookup_result *result)
{
  struct walk walk = {.store = store, .lookup = lookup, .result = result, .lease = KVI_NONE};
  struct kvi_sampler_batch batch;
  kvs_status status = arguments_check(lookup);

  if (status != KVS_OK)
    return status;
  result_clear(lookup, result);
  walk.dram = (struct speed){.latency_us = (double)store->dram_attr.read_latency_us,
                             .bytes_per_us = (double)(store->dram_attr.read_bytes_per_s + 1) / 1e6};
  walk.now_ns = kvi_now_ns();
  walk.used_ns = kvi_policy_now(store);
  status = spaces_find(&walk);
  if (status == KVS_OK) {
    uint32_t step_keys = KVI_BATCH_LOCKED / lookup->n_spaces, i;
    bool all = result->present || result->tiers || result->loads ||
               lookup->unchained; /* else nobody asks what comes after the prefix */

    if (store->below && (result->loads || kvi_compute_is_known(&result->verdict.compute)))
      below_measure(&walk);
    lease_begin(&walk);
    samples_begin(&walk, &batch);
    for (i = 0; i < lookup->n_keys && (all || !walk.broken); i += step_keys)
      step(&walk, i, lookup->n_keys - i < step_keys ? lookup->n_keys - i : step_keys);
    lease_end(&walk);
    if (walk.samples) {
      rest_sample(&walk, i);
      kvi_sampler_end(store->sampler, &batch, walk.used_ns);
    }
    if (walk.below_bytes > 0 && walk.below.bytes_per_us <= 0)
      below_measure(&walk);
    arrive(&walk);
    result->fetch_us = (uint64_t)(loading_us(&walk.dram, 0, walk.prefix_bytes) +
                                  loading_us(&walk.below, 0, walk.below_bytes));
  }
  if (status >= 0)
    count(&walk);
  return status < 0 ? status : KVS_OK;
}
