/*
 * tiers/policy/index_memory.c: what it is worth that memory has what a medium has too. All of a chain is read when it is used, so each chunk of it saves as much, whatever its place: the time that it
 * takes from the medium, or to compute it where that is less; as often as its branch comes back. Whose chunk it is is kept by chunk, since it may be no branch's last.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/policy/index_private.h"

#define SAMPLE     4u
#define SUMMED_MAX 32u  /* branches of a chunk that count */
#define TRIES      16u  /* branches, of which less is in memory than was thought: each is found out once */
#define STEPS_MOST 256u /* chunks that are looked at, for one that leaves memory */
#define ALL        UINT32_MAX /* tenants */

double kvi_index_memory_value_s(const struct kvi_index *index, const struct kvi_branch *branch, uint32_t n)
{
  double computed = kvi_index_branch_cost(index, branch, n > 0 ? n - 1 : 0, n);

  return index->memory.byte_s > 0 ? fmin(computed, branch->chunk_bytes * index->memory.byte_s) : computed;
}

double kvi_index_memory_price(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns)
{
  return kvi_index_branch_rate(ctx, branch, n, now_ns) *
         kvi_index_memory_value_s(ctx, branch, n > branch->n_chunks ? n : branch->n_chunks) /
         branch->chunk_bytes;
}

double kvi_index_memory_cost(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  const struct kvi_index *index = ctx;
  double computed = kvi_index_branch_cost(index, branch, from, to);

  return index->memory.byte_s > 0
             ? fmin(computed, (double)(to - from) * branch->chunk_bytes * index->memory.byte_s)
             : computed;
}

/* ---- whose chunks are in memory ---- */

kvs_status kvi_index_memory_start(struct kvi_index *index, uint32_t branches)
{
  struct kvi_index_memory *memory = &index->memory;

  memory->branches = branches;
  memory->warm = calloc(branches, sizeof(*memory->warm));
  memory->ahead.branches = calloc(branches, sizeof(*memory->ahead.branches));
  memory->rings = calloc(branches, sizeof(*memory->rings));
  memory->own = calloc(KVI_POLICY_TENANTS_MAX, sizeof(*memory->own));
  for (uint32_t i = 0; memory->own && i < KVI_POLICY_TENANTS_MAX; i++)
    memory->own[i].at = KVI_BRANCH_NONE;
  memory->next = KVI_POLICY_NONE;
  return memory->warm && memory->rings && memory->own && memory->ahead.branches ? KVS_OK : KVS_ERR_NOMEM;
}

void kvi_index_memory_end(struct kvi_index *index)
{
  free(index->memory.warm);
  free(index->memory.ahead.branches);
  free(index->memory.rings);
  free(index->memory.own);
}

/* Behind all of its tenant's: it has the last turn. */
static void ring_enter(struct kvi_index *index, uint32_t branch)
{
  struct kvi_index_memory *memory = &index->memory;
  struct kvi_index_own *own = &memory->own[kvi_branch(index->branches, branch)->tenant];
  struct kvi_index_ring *ring = &memory->rings[branch];

  if (own->at == KVI_BRANCH_NONE)
    own->at = ring->next = ring->prev = branch;
  ring->next = own->at;
  ring->prev = memory->rings[own->at].prev;
  memory->rings[ring->prev].next = memory->rings[ring->next].prev = branch;
}

static void ring_leave(struct kvi_index *index, uint32_t branch)
{
  struct kvi_index_memory *memory = &index->memory;
  struct kvi_index_own *own = &memory->own[kvi_branch(index->branches, branch)->tenant];
  const struct kvi_index_ring *ring = &memory->rings[branch];

  memory->rings[ring->prev].next = ring->next;
  memory->rings[ring->next].prev = ring->prev;
  if (own->at == branch)
    own->at = ring->next != branch ? ring->next : KVI_BRANCH_NONE;
}

static void warm(struct kvi_index *index, uint32_t branch)
{
  struct kvi_index_memory *memory = &index->memory;
  struct kvi_branch *own = kvi_branch(index->branches, branch);

  if (own->warm != KVI_BRANCH_NONE)
    return;
  own->warm = memory->n_warm;
  memory->warm[memory->n_warm++] = branch;
  ring_enter(index, branch);
}

static void cool(struct kvi_index *index, uint32_t branch)
{
  struct kvi_index_memory *memory = &index->memory;
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t last;

  if (own->warm == KVI_BRANCH_NONE)
    return;
  ring_leave(index, branch);
  last = memory->warm[--memory->n_warm];
  memory->warm[own->warm] = last;
  kvi_branch(index->branches, last)->warm = own->warm;
  own->warm = KVI_BRANCH_NONE;
}

void kvi_index_memory_given(struct kvi_index *index, uint32_t branch)
{
  cool(index, branch);
}

void kvi_index_memory_used(struct kvi_index *index, uint32_t branch)
{
  if (index->memory.chunks == 0)
    return;
  kvi_branch(index->branches, branch)->warm_last = KVI_POLICY_NONE;
  warm(index, branch);
}

/* What it ends with is this one's from now on. */
static void inherit(struct kvi_index *index, uint32_t branch)
{
  uint32_t tag = kvi_branches_tag(index->branches, branch);

  for (uint32_t chunk = kvi_branch(index->branches, branch)->last; chunk != KVI_POLICY_NONE;
       chunk = kvi_forest_parent(&index->forest, chunk))
    index->users[chunk] = tag;
  kvi_index_memory_used(index, branch);
}

/* Do others need it than those who end there? */
static bool is_shared(const struct kvi_index *index, uint32_t chunk, bool is_last)
{
  struct kvi_policy_info info;

  kvi_forest_info(&index->forest, chunk, &info);
  return info.children > (is_last ? 0 : 1) ||
         (!is_last && kvi_branches_at(index->branches, chunk) != KVI_BRANCH_NONE);
}

static void ended_add(struct kvi_index_memory *memory, uint32_t tenant, uint32_t chunk)
{
  if (memory->n_ended == KVI_INDEX_ENDED_MAX) {
    memory->first_ended = (memory->first_ended + 1) % KVI_INDEX_ENDED_MAX;
    memory->n_ended--;
  }
  memory->ended[(memory->first_ended + memory->n_ended) % KVI_INDEX_ENDED_MAX].chunk = chunk;
  memory->ended[(memory->first_ended + memory->n_ended++) % KVI_INDEX_ENDED_MAX].tenant = tenant;
}

/* Another that ends at the same chunk; KVI_BRANCH_NONE. */
static uint32_t another_at(const struct kvi_index *index, uint32_t branch)
{
  uint32_t last = kvi_branch(index->branches, branch)->last,
           other = last == KVI_POLICY_NONE ? KVI_BRANCH_NONE : kvi_branches_at(index->branches, last);

  return other == branch ? kvi_branches_next_at(index->branches, other) : other;
}

void kvi_index_memory_left(struct kvi_index *index, uint32_t branch, bool closed)
{
  uint32_t tag = kvi_branches_tag(index->branches, branch), last = kvi_branch(index->branches, branch)->last,
           other = another_at(index, branch);

  cool(index, branch);
  kvi_index_ahead_not(index, branch);
  if (other != KVI_BRANCH_NONE) { /* it is the other's now */
    inherit(index, other);
    return;
  }
  for (uint32_t chunk = last; closed && chunk != KVI_POLICY_NONE && index->users[chunk] == tag &&
                              !is_shared(index, chunk, chunk == last);
       chunk = kvi_forest_parent(&index->forest, chunk)) {
    index->users[chunk] = KVI_INDEX_ENDED;
    kvi_shadow_ended(&index->shadow, chunk);
    kvi_shadow_ended(&index->memory.shadow, chunk);
  }
  if (last != KVI_POLICY_NONE && index->users[last] == KVI_INDEX_ENDED)
    ended_add(&index->memory, kvi_branch(index->branches, branch)->tenant, last);
}

void kvi_index_memory_gone(struct kvi_index *index, uint32_t chunk)
{
  uint32_t branch = kvi_branches_of_tag(index->branches, index->users[chunk]);

  if (index->memory.next == chunk)
    index->memory.next = KVI_POLICY_NONE;
  if (branch != KVI_BRANCH_NONE && kvi_branch(index->branches, branch)->warm_last == chunk)
    kvi_branch(index->branches, branch)->warm_last = KVI_POLICY_NONE;
}

/* It leaves memory. If it was not said to (for a tenant's own bound, or at its put), no order of the node's memory is to blame when it is missed. */
static void pay(struct kvi_index *index, uint32_t chunk)
{
  if (index->memory.next != chunk) {
    kvi_shadow_gone(&index->memory.shadow, chunk);
    return;
  }
  index->memory.next = KVI_POLICY_NONE;
  kvi_shadow_lost_below(&index->memory.shadow, chunk);
  if (index->memory.next_price >= 0)
    kvi_index_tier_paid(&index->memory.tier, index->memory.next_price, kvi_index_factor(index, chunk),
                        index->forest.latest_ns);
}

void kvi_index_memory_moved(struct kvi_index *index, uint32_t chunk)
{
  uint32_t branch = kvi_branches_of_tag(index->branches, index->users[chunk]);

  if (index->forest.nodes[chunk].group == KVI_POLICY_MEDIUM) {
    pay(index, chunk);
    kvi_index_ahead_may(index, branch);
  }
  if (branch == KVI_BRANCH_NONE || index->forest.nodes[chunk].group != KVI_POLICY_BOTH)
    return;
  kvi_branch(index->branches, branch)->warm_last = KVI_POLICY_NONE;
  warm(index, branch);
}

/* ---- what leaves memory ---- */

/* The lower, the sooner it goes, by last use: a tenant with more than its share has its chunks seem older. */
static double use_rank(uint64_t used_ns, double share, uint64_t now_ns)
{
  return -kvi_index_seconds(used_ns, now_ns) / share;
}

static double branch_rank(const struct kvi_index *index, const struct kvi_branch *branch, uint32_t n,
                          uint64_t now_ns)
{
  return index->memory.shadow.live == KVI_SHADOW_BY_PRICE
             ? kvi_index_memory_price(index, branch, n, now_ns)
             : use_rank(branch->used_ns, (double)index->shares[branch->tenant], now_ns);
}

/* Of its n'th chunk: all who wait at its end need that. */
static double end_rank(const struct kvi_index *index, uint32_t branch, uint32_t n, uint64_t now_ns)
{
  bool by_price = index->memory.shadow.live == KVI_SHADOW_BY_PRICE;
  uint32_t last = kvi_branch(index->branches, branch)->last,
           at = last == KVI_POLICY_NONE ? KVI_BRANCH_NONE : kvi_branches_at(index->branches, last);
  double rank = by_price ? 0 : -INFINITY;

  for (uint32_t i = 0; i < SUMMED_MAX && at != KVI_BRANCH_NONE; i++) {
    double own = branch_rank(index, kvi_branch(index->branches, at), n, now_ns);

    rank = by_price ? rank + own : fmax(rank, own);
    at = kvi_branches_next_at(index->branches, at);
  }
  return rank;
}

/* Of the last of its chunks that memory has, as far as that is known. */
static struct kvi_least_one warm_rank(const struct kvi_index *index, uint32_t branch, uint64_t now_ns)
{
  const struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t n = own->warm_last == KVI_POLICY_NONE ? own->n_chunks : own->n_warm;

  return (struct kvi_least_one){
      .number = branch, .rank = end_rank(index, branch, n, now_ns), .tie = own->used_ns};
}

/* Its place, where it matters: something was said of a beginning. In very long ranges those behind it count as in it. */
static uint32_t place_of(const struct kvi_index *index, const struct kvi_branch *branch, uint32_t chunk)
{
  return branch->n_weighed == 0 && branch->n_timed == 0 ? branch->n_chunks
                                                        : kvi_forest_depth(&index->forest, chunk, STEPS_MOST);
}

/*
 * Of a chunk by itself: its last user's, if that is known, and at least what one of whom nothing is known is worth as long after. Others may need it too, who used it before; what is one branch's alone goes with
 * that.
 */
static double chunk_rank(const struct kvi_index *index, uint32_t chunk, uint64_t now_ns)
{
  bool by_price = index->memory.shadow.live == KVI_SHADOW_BY_PRICE;
  uint32_t tag = index->users[chunk], branch = kvi_branches_of_tag(index->branches, tag);
  uint64_t used_ns = kvi_forest_used_ns(&index->forest, chunk);
  double value =
      index->memory.byte_s > 0 ? fmin(index->first_value, index->memory.byte_s) : index->first_value;
  double rank =
      by_price ? value * kvi_index_unknown_rate(index, used_ns, now_ns) : use_rank(used_ns, 1, now_ns);

  if (tag == KVI_INDEX_ENDED)
    return by_price ? 0 : -INFINITY;
  if (branch == KVI_BRANCH_NONE)
    return rank;
  return fmax(rank,
              end_rank(index, branch, place_of(index, kvi_branch(index->branches, branch), chunk), now_ns));
}

/* Those of the tenant that have their turn, and those that were the least before. */
static uint32_t least_branch_of(struct kvi_index *index, uint32_t tenant, uint64_t now_ns)
{
  struct kvi_index_memory *memory = &index->memory;
  struct kvi_index_own *own = &memory->own[tenant];
  struct kvi_least least = {.n = 0};

  for (uint32_t i = 0; i < own->kept.n; i++) {
    uint32_t number = own->kept.numbers[i];
    const struct kvi_branch *branch = kvi_branch(index->branches, number);

    if (kvi_branches_is_used(index->branches, number) && branch->warm != KVI_BRANCH_NONE &&
        branch->tenant == tenant)
      kvi_least_add(&least, warm_rank(index, number, now_ns));
  }
  for (uint32_t i = 0; i < SAMPLE && own->at != KVI_BRANCH_NONE; i++) {
    kvi_least_add(&least, warm_rank(index, own->at, now_ns));
    own->at = memory->rings[own->at].next;
  }
  kvi_least_keep(&least, &own->kept);
  return least.n > 0 ? least.ones[0].number : KVI_BRANCH_NONE;
}

/* The branch of which memory should have the least; KVI_BRANCH_NONE. */
static uint32_t least_branch(struct kvi_index *index, uint32_t tenant, uint64_t now_ns)
{
  struct kvi_index_memory *memory = &index->memory;
  struct kvi_least least = {.n = 0};

  if (tenant != ALL)
    return least_branch_of(index, tenant, now_ns);
  for (uint32_t i = 0; i < memory->kept.n; i++)
    if (kvi_branches_is_used(index->branches, memory->kept.numbers[i]) &&
        kvi_branch(index->branches, memory->kept.numbers[i])->warm != KVI_BRANCH_NONE)
      kvi_least_add(&least, warm_rank(index, memory->kept.numbers[i], now_ns));
  for (uint32_t i = 0; i < (memory->n_warm < SAMPLE ? memory->n_warm : SAMPLE); i++) {
    uint32_t at = memory->n_warm <= SAMPLE ? i : (uint32_t)(kvi_splitmix64(&index->random) % memory->n_warm);

    kvi_least_add(&least, warm_rank(index, memory->warm[at], now_ns));
  }
  kvi_least_keep(&least, &memory->kept);
  return least.n > 0 ? least.ones[0].number : KVI_BRANCH_NONE;
}

/* The last of its own chunks that both have. KVI_POLICY_NONE: it has none, and is cold; or so many were looked at that it has to wait. */
static uint32_t last_in_both(struct kvi_index *index, uint32_t branch, uint32_t *steps)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t tag = kvi_branches_tag(index->branches, branch), last = own->last,
           chunk = own->warm_last == KVI_POLICY_NONE ? last : own->warm_last,
           n = own->warm_last == KVI_POLICY_NONE ? own->n_chunks : own->n_warm;

  for (; chunk != KVI_POLICY_NONE && index->users[chunk] == tag && !is_shared(index, chunk, chunk == last);
       chunk = kvi_forest_parent(&index->forest, chunk), n -= n > 0) {
    own->warm_last = chunk;
    own->n_warm = n;
    if (index->forest.nodes[chunk].group == KVI_POLICY_BOTH)
      return chunk;
    if (*steps == 0)
      return KVI_POLICY_NONE;
    (*steps)--;
  }
  cool(index, branch);
  return KVI_POLICY_NONE;
}

/* Of what has ended there, the last chunk that both have; KVI_POLICY_NONE: none, and *chunk too, unless there were too many to look at. */
static uint32_t ended_chunk(const struct kvi_index *index, uint32_t *chunk, uint32_t *steps)
{
  for (; *steps > 0; (*steps)--) {
    if (*chunk == KVI_POLICY_NONE || index->users[*chunk] != KVI_INDEX_ENDED) {
      *chunk = KVI_POLICY_NONE;
      return KVI_POLICY_NONE;
    }
    if (index->forest.nodes[*chunk].group == KVI_POLICY_BOTH)
      return *chunk;
    *chunk = kvi_forest_parent(&index->forest, *chunk);
  }
  return KVI_POLICY_NONE;
}

/* The last chunk that both have of what has ended, the first to end first. */
static uint32_t ended_in_both(struct kvi_index *index, uint32_t tenant, uint32_t *steps)
{
  struct kvi_index_memory *memory = &index->memory;

  for (uint32_t i = 0; i < memory->n_ended; i++) {
    uint32_t at = (memory->first_ended + i) % KVI_INDEX_ENDED_MAX, chunk;

    if (*steps == 0)
      break;
    if (tenant != ALL && memory->ended[at].tenant != tenant)
      continue;
    chunk = ended_chunk(index, &memory->ended[at].chunk, steps);
    if (chunk != KVI_POLICY_NONE)
      return chunk;
  }
  for (; memory->n_ended > 0 && memory->ended[memory->first_ended].chunk == KVI_POLICY_NONE;
       memory->n_ended--)
    memory->first_ended = (memory->first_ended + 1) % KVI_INDEX_ENDED_MAX;
  return KVI_POLICY_NONE;
}

/* Is the branch that used it last still to lose chunks behind it? */
static bool is_before_others(const struct kvi_index *index, uint32_t chunk)
{
  uint32_t branch = kvi_branches_of_tag(index->branches, index->users[chunk]);

  return branch != KVI_BRANCH_NONE && kvi_branch(index->branches, branch)->warm != KVI_BRANCH_NONE;
}

/* Of the branches that are worth least; KVI_POLICY_NONE. What memory has left of one may be worth more than was thought: then the next is looked at too. */
static uint32_t least_end(struct kvi_index *index, uint32_t tenant, uint32_t *steps, double *rank_p,
                          uint64_t now_ns)
{
  uint32_t least = KVI_POLICY_NONE;

  *rank_p = INFINITY;
  for (uint32_t i = 0; i < TRIES; i++) {
    uint32_t branch = least_branch(index, tenant, now_ns), chunk;
    double thought, rank;

    if (branch == KVI_BRANCH_NONE || *steps == 0)
      break;
    thought = warm_rank(index, branch, now_ns).rank;
    chunk = last_in_both(index, branch, steps);
    if (chunk == KVI_POLICY_NONE)
      continue;
    rank = warm_rank(index, branch, now_ns).rank;
    if (least == KVI_POLICY_NONE || rank < *rank_p) {
      least = chunk;
      *rank_p = rank;
    }
    if (rank <= thought)
      break;
  }
  return least;
}

/* Of all, or of a tenant's; *rank_p: its own, among branches and chunks. */
static uint32_t least_chunk(struct kvi_index *index, uint32_t tenant, uint32_t one, double *rank_p,
                            uint64_t now_ns)
{
  uint32_t steps = STEPS_MOST, chunk = ended_in_both(index, tenant, &steps);
  double rank_one;

  *rank_p = 0;
  if (chunk != KVI_POLICY_NONE)
    return chunk;
  chunk = least_end(index, tenant, &steps, rank_p, now_ns);
  if (one == KVI_POLICY_NONE)
    return chunk;
  rank_one = chunk_rank(index, one, now_ns);
  if (chunk != KVI_POLICY_NONE && (*rank_p <= rank_one || is_before_others(index, one)))
    return chunk;
  *rank_p = rank_one;
  return one;
}

/* The next of a tenant's, or of all. */
static uint32_t next_of(struct kvi_index *index, uint32_t tenant, uint32_t one, double *price_p,
                        uint64_t now_ns)
{
  uint32_t chunk;
  double rank;

  (void)kvi_forest_tick(&index->forest, now_ns); /* what info says is of now */
  chunk = least_chunk(index, tenant, one, &rank, now_ns);
  *price_p = index->memory.shadow.live == KVI_SHADOW_BY_PRICE ? rank : -1;
  return chunk;
}

uint32_t kvi_index_demotion(struct kvi_policy *policy, uint32_t one, double *price_p, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t chunk;

  kvi_shadow_room(&index->memory.shadow, index->memory.chunks);
  chunk = next_of(index, ALL, one, price_p, now_ns);
  index->memory.next = chunk;
  index->memory.next_price = *price_p;
  return chunk;
}

double kvi_index_memory_least(struct kvi_index *index, uint32_t one, uint64_t now_ns)
{
  double rank;

  (void)least_chunk(index, ALL, one, &rank, now_ns);
  return rank;
}

/* What it is worth is no price of the node's memory, which may have room. */
uint32_t kvi_index_own_demotion(struct kvi_policy *policy, uint32_t tenant, uint32_t one, double *price_p,
                                uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t chunk = next_of(index, tenant < KVI_POLICY_TENANTS_MAX ? tenant : 0, one, price_p, now_ns);

  if (chunk == index->memory.next)
    index->memory.next = KVI_POLICY_NONE;
  return chunk;
}

void kvi_index_memory_told(struct kvi_policy *policy, uint64_t chunks, double byte_s)
{
  struct kvi_index *index = kvi_index_of(policy);

  index->memory.chunks = chunks;
  index->memory.byte_s = byte_s;
}
