/* tiers/hint.c: what the policy is told of programs: who comes for a chain, what of it is stored, who waits for what. */
#include "tiers/hint.h"

#include <math.h>
#include <string.h>

#include <xxhash.h>

#include "base/clock.h"
#include "tiers/policy/prefill.h"
#include "tiers/store_private.h"

#define ONE_USE_NS KVI_NS_PER_S
#define COST_TIMES                                                                                           \
  64.0f /* what was measured counts as no more than so many times what bytes say, and no less */
#define BYTES_LEAST 4096u
#define CODED_MOST  16.0f /* times smaller */
#define WHOLE_MOST  (1u << 20)
#define BYTES_A_TOKEN                                                                                        \
  327680.0f /* of the model of 70 billion parameters that costs are compared with: two bytes, 80 layers, 8 heads of 128, K and V */

/* ---- who uses what ---- */

uint32_t kvi_space_tokens(const struct kvi_space_entry *space)
{
  const kvs_space_desc *desc = atomic_load_explicit(&space->desc, memory_order_acquire);

  return desc && desc->tokens_per_chunk > 0 ? desc->tokens_per_chunk : (uint32_t)KVI_PREFILL_TOKENS;
}

static float factor(uint32_t ranks)
{
  return ranks > 0 ? (float)ranks : 1;
}

/*
 * Of computing the chunk at a place, as engines have measured it: all ranks work on it together, and each has a space and a part of the chunk. Prices are compared between tenants, and bytes cannot be
 * made up: so they bound what can be said.
 */
static float measured_cost(const struct kvi_space_entry *space, uint32_t place, float tokens, float by_bytes)
{
  const kvs_space_desc *desc = atomic_load_explicit(&space->desc, memory_order_relaxed);
  float ranks = desc ? factor(desc->tp_size) * factor(desc->pp_size) * factor(desc->cp_size) : 1;
  double from = place < KVI_NONE ? (double)place * (double)tokens : 0;
  float cost = (float)kvi_compute_cost(&space->compute, from, from + (double)tokens) / ranks;

  return fminf(fmaxf(cost, by_bytes / COST_TIMES), by_bytes * COST_TIMES);
}

/*
 * Of a chain up to an entry that is present. A larger model has more bytes a token, and computes longer. What a client can say at will is bounded by what it really stores: bytes count as what they take of memory, and no
 * chunk stands for more than some times its own. place: of the chunk of its chain whose cost is told.
 */
static struct kvi_policy_use use_at(const struct kvi_store *store, uint32_t number, uint32_t place)
{
  const struct kvi_entry *entry = &store->entries[number];
  const struct kvi_space_entry *space = &store->spaces[entry->space];
  float tokens = (float)kvi_space_tokens(space), cost;
  float takes = (float)(entry->length > BYTES_LEAST ? entry->length : BYTES_LEAST);
  float raw = (float)(space->chunk_bytes > 0 ? space->chunk_bytes : entry->length);

  raw = raw < takes * CODED_MOST ? raw : takes * CODED_MOST;
  cost = raw / tokens / BYTES_A_TOKEN;
  if (kvi_compute_is_known(&space->compute))
    cost = measured_cost(space, place, tokens, cost);
  return (struct kvi_policy_use){.last = number,
                                 .n_chunks = entry->place < KVI_NONE ? entry->place + 1 : KVI_NONE,
                                 .n_whole = entry->place < KVI_NONE ? entry->place + 1 : KVI_NONE,
                                 .chunk_tokens = tokens,
                                 .chunk_bytes = takes,
                                 .tenant = space->account,
                                 .space = entry->space,
                                 .cost = cost};
}

static struct kvi_policy_use use_of(const struct kvi_store *store, uint32_t number)
{
  return use_at(store, number, store->entries[number].place);
}

bool kvi_chunk_admits_locked(struct kvi_store *store, uint32_t number, uint32_t parent, uint32_t n_whole,
                             uint32_t victim)
{
  uint32_t place = store->entries[number].place, n = place < WHOLE_MOST ? place + 1 : WHOLE_MOST;
  struct kvi_policy_use use;

  n = n_whole < n ? n : n_whole < WHOLE_MOST ? n_whole : WHOLE_MOST;
  use = use_at(store, number, n - 1);
  use.last = parent;
  use.n_chunks = parent == KVI_NONE ? 0 : use.n_chunks - 1;
  use.n_whole = n;
  use.again_s = kvi_again_s_locked(store, number);
  kvi_account_share_told_locked(store, use.tenant);
  return store->policy_ops->admits(store->policy, victim, &use, n, kvi_policy_now(store));
}

void kvi_chunk_insert_locked(struct kvi_store *store, uint32_t number, uint32_t parent)
{
  const struct kvi_entry *entry = &store->entries[number];
  const struct kvi_policy_use use = use_of(store, number);
  const struct kvi_policy_chunk chunk = {.parent = parent,
                                         .place = entry->place < KVI_NONE ? entry->place : 0,
                                         .name = kvi_key_hash(entry->space, &entry->tag),
                                         .bytes = entry->length,
                                         .tokens = use.chunk_tokens,
                                         .cost = use.cost};

  store->policy_ops->insert(store->policy, number, &chunk, kvi_policy_now(store));
}

/*
 * One request looks its chunks up, perhaps again until its engine has room, and then gets them: each would be a use, and to count them would say how clients ask, not how often a chunk was needed. So what comes within a second of the use
 * that counted is that one, and the time of that stays: else what is used all the time would never count again. An insert counts too, since what it was put for is a use.
 */
void kvi_entry_touch_locked(struct kvi_store *store, uint32_t number, uint64_t now_ns)
{
  struct kvi_policy_info info;

  if (store->policy_ops->counts) {
    store->policy_ops->info(store->policy, number, &info);
    if (info.last_use_ns > 0 && now_ns < info.last_use_ns + ONE_USE_NS)
      return;
  }
  store->policy_ops->touch(store->policy, number, now_ns);
}

void kvi_arrive_locked(struct kvi_store *store, uint32_t number, uint32_t n_more)
{
  struct kvi_policy_use use;

  if (!store->policy_ops->arrive || store->entries[number].unchained)
    return;
  store->told++;
  use = use_of(store, number);
  use.n_whole = use.n_whole < WHOLE_MOST ? use.n_whole + n_more : WHOLE_MOST;
  store->policy_ops->arrive(store->policy, &use, kvi_policy_now(store));
}

void kvi_stored_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_use use;

  if (!store->policy_ops->extend || store->entries[number].unchained)
    return;
  store->told++;
  use = use_of(store, number);
  use.again_s = kvi_again_s_locked(store, number);
  kvi_account_share_told_locked(store, use.tenant);
  store->policy_ops->extend(store->policy, &use, kvi_policy_now(store));
}

/* ---- hints ---- */

enum kvi_hint_outcome kvi_store_computed(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                         const struct kvi_compute_measured *measured)
{
  enum kvi_hint_outcome outcome = KVI_HINT_MISSING;
  uint32_t number;

  if (kvi_compute_check(measured) == KVI_HINT_REJECTED)
    return KVI_HINT_REJECTED;
  pthread_mutex_lock(&store->lock);
  number = kvi_space_find_locked(store, tenant, space);
  if (number != KVI_NONE)
    outcome = kvi_compute_tell(&store->spaces[number].compute, measured);
  pthread_mutex_unlock(&store->lock);
  return outcome;
}

static uint64_t hash_of(const struct kvi_store *store, const char *tenant, const char *text)
{
  uint64_t seed =
      XXH3_64bits_withSecret(tenant, strlen(tenant), store->hash_secret, sizeof(store->hash_secret));
  uint64_t hash = XXH3_64bits_withSecret(text, strlen(text), store->hash_secret, sizeof(store->hash_secret)) ^
                  (seed << 1 | seed >> 63);

  if (text[0] == '\0')
    return 0;
  return hash != 0 ? hash : 1;
}

uint64_t kvi_store_program_hash(const struct kvi_store *store, const char *tenant, const char *program)
{
  return hash_of(store, tenant, program);
}

static double seconds_of(uint32_t ms, bool *clipped)
{
  *clipped |= ms > KVI_HINT_MS_MOST;
  return (double)(ms > KVI_HINT_MS_MOST ? KVI_HINT_MS_MOST : ms) / 1e3;
}

/* With as many returns before it as after; else what is said of nine in ten: a source's own curve has it in parts of what it announces, whatever that is. */
static double announced_s(const struct kvi_program_hint *hint, bool *clipped)
{
  double p50 = seconds_of(hint->return_p50_ms, clipped), p90 = seconds_of(hint->return_p90_ms, clipped);

  return hint->return_p50_ms > 0 ? p50 : p90;
}

/* number: where it is; KVI_NONE: not said. */
static enum kvi_hint_outcome wait_locked(struct kvi_store *store, const struct kvi_program_hint *hint,
                                         uint64_t program, uint32_t number)
{
  bool clipped = false;
  struct kvi_policy_wait wait = {.program = program,
                                 .last = KVI_POLICY_NONE,
                                 .kind = (enum kvi_wait_kind)hint->wait_kind,
                                 .tool = hash_of(store, hint->tenant, hint->tool),
                                 .source = (uint32_t)hash_of(store, hint->tenant, hint->tenant),
                                 .client = hint->client,
                                 .announced_s = announced_s(hint, &clipped),
                                 .priority = hint->priority,
                                 .has_priority = hint->has_priority,
                                 .most_s = seconds_of(hint->return_p90_ms, &clipped),
                                 .ttl_s = seconds_of(hint->ttl_ms, &clipped),
                                 .range_tokens = hint->range_tokens};

  if (number != KVI_NONE) {
    wait.last = number;
    wait.space = store->entries[number].space;
    wait.n_chunks = store->entries[number].place + 1;
  }
  if (!store->policy_ops->wait(store->policy, &wait, kvi_policy_now(store)))
    return KVI_HINT_DEFERRED;
  return clipped ? KVI_HINT_CLIPPED : KVI_HINT_ACCEPTED;
}

static bool says_wait(const struct kvi_program_hint *hint)
{
  return hint->wait_kind != KVI_WAIT_UNKNOWN || hint->return_p50_ms > 0 || hint->return_p90_ms > 0 ||
         hint->priority > 0 || hint->has_priority || hint->ttl_ms > 0;
}

/* number: where it is; KVI_NONE: not said. */
static enum kvi_hint_outcome hint_locked(struct kvi_store *store, const struct kvi_program_hint *hint,
                                         uint32_t number)
{
  uint64_t program = hash_of(store, hint->tenant, hint->program);

  store->told++;
  if (!store->policy_ops->wait)
    return hint->close ? KVI_HINT_MISSING : KVI_HINT_ACCEPTED;
  if (hint->close)
    return store->policy_ops->close(store->policy, program, kvi_policy_now(store)) ? KVI_HINT_ACCEPTED
                                                                                   : KVI_HINT_MISSING;
  if (hint->wait_kind == KVI_WAIT_UNKNOWN && number != KVI_NONE &&
      !store->policy_ops->claim(store->policy, program, number, store->entries[number].place + 1,
                                store->entries[number].space)) {
    struct kvi_policy_use use = use_of(store, number);

    use.program = program;
    store->policy_ops->arrive(store->policy, &use, kvi_policy_now(store));
  }
  return says_wait(hint) ? wait_locked(store, hint, program, number) : KVI_HINT_ACCEPTED;
}

/* n <= KVI_BATCH_LOCKED. The last of them that is here; KVI_NONE. */
static uint32_t last_present_locked(const struct kvi_store *store, uint32_t space,
                                    const struct kvi_key_tag *tags, uint32_t n)
{
  uint32_t found[KVI_BATCH_LOCKED];

  kvi_index_find_batch_locked(store, space, tags, n, found);
  while (n-- > 0)
    if (found[n] != KVI_NONE && !store->entries[found[n]].unchained)
      return found[n];
  return KVI_NONE;
}

/* MISSING: none of these keys is here. */
static enum kvi_hint_outcome hint_batch(struct kvi_store *store, const struct kvi_program_hint *hint,
                                        const struct kvi_hint_keys *keys, uint32_t first, uint32_t n)
{
  enum kvi_hint_outcome outcome = KVI_HINT_MISSING;
  struct kvi_key_tag tags[KVI_BATCH_LOCKED];
  uint32_t space, number = KVI_NONE;

  for (uint32_t i = 0; i < n; i++)
    kvi_key_tag(store, keys->keys + (size_t)(first + i) * keys->key_length, keys->key_length, &tags[i]);
  pthread_mutex_lock(&store->lock);
  space = kvi_space_find_locked(store, hint->tenant, keys->space);
  if (space != KVI_NONE && store->spaces[space].key_length == keys->key_length)
    number = last_present_locked(store, space, tags, n);
  if (number != KVI_NONE)
    outcome = hint_locked(store, hint, number);
  pthread_mutex_unlock(&store->lock);
  return outcome;
}

enum kvi_hint_outcome kvi_store_hint(struct kvi_store *store, const struct kvi_program_hint *hint,
                                     const struct kvi_hint_keys *keys)
{
  enum kvi_hint_outcome outcome = KVI_HINT_MISSING;

  if (keys->n_keys == 0 || hint->close) {
    pthread_mutex_lock(&store->lock);
    outcome = hint_locked(store, hint, KVI_NONE);
    pthread_mutex_unlock(&store->lock);
    return outcome;
  }
  for (uint32_t left = keys->n_keys; left > 0 && outcome == KVI_HINT_MISSING;) {
    uint32_t n = left < KVI_BATCH_LOCKED ? left : KVI_BATCH_LOCKED;

    left -= n;
    outcome = hint_batch(store, hint, keys, left, n);
  }
  return outcome;
}
