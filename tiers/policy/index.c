/*
 * tiers/policy/index.c: the chunk whose memory saves the least (docs/policy.md). A leaf is worth what it costs to compute it again, times the rate at which those who wait at it come back (classes.h),
 * over all branches that end there. When it goes, they end at the chunk before it.
 *
 * A leaf at which nobody waits was left behind: its program has gone on elsewhere, or ended. It goes first, but for a moment after its last use, when somebody may just be about to say that they
 * wait there.
 *
 * Rates change with time, each class by its own curve, so no order of leaves lasts. A victim is the least of a sample (as Redis and LHD take theirs): SAMPLE leaves at random, beside those that were
 * the cheapest when victims were sought before. Leaves that were left behind are known, and are looked at before any other.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/policy/branches.h"
#include "tiers/policy/forest.h"
#include "tiers/policy/shadow.h"

#define SAMPLE     4u
#define KEPT       6u  /* of the cheapest, from one victim to the next */
#define OF_PROGRAM 12u /* branches; of more the one not used for longest is given up */
#define LEFT                                                                                                 \
  256u /* chunks that were left behind; a ring, so the oldest is forgotten first, and found by the sample then */
#define LOOKED_MAX    32u /* of them for one victim */
#define BRANCHES_PART 8u  /* one branch for so many chunks */
#define BRANCHES_MIN  1024u
#define SUMMED_MAX    32u /* branches of a chunk that count for its price: with as many it stays anyway */
#define MOMENT_NS     (2 * KVI_NS_PER_S)
#define SAID_LEAST_S  0.05
#define SAID_MOST_S   1e6
#define TOKENS        256.0 /* of a chunk of which nobody said */

/* Seconds of prefill, linear and quadratic in tokens: those of a model of 70 billion parameters. Only their ratio matters for the order. */
#define ALPHA 4.4e-5
#define BETA  4.1e-10

struct left {
  uint32_t chunks[LEFT];
  uint32_t first, n;
};

struct index {
  struct kvi_policy forest; /* first */
  struct kvi_branches *branches;
  struct kvi_classes *classes;
  struct left left[2];
  uint32_t kept[2][KEPT], n_kept[2]; /* by group, of the order that is live */
  struct kvi_shadow shadow;
  enum kvi_shadow_order live;
  uint64_t n_resident;
  uint64_t random;
};

static struct index *index_of(struct kvi_policy *policy)
{
  return (struct index *)policy;
}

/* ---- prices ---- */

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
  return to_ns > from_ns ? (double)(to_ns - from_ns) / (double)KVI_NS_PER_S : 0;
}

/* Of the n'th chunk of a chain. */
static double prefill_s(double tokens, double n)
{
  return tokens * (ALPHA + BETA * tokens * (2 * n - 1));
}

/* Nobody waits there, or only programs that have ended. */
static bool is_left_behind(const struct index *index, uint32_t chunk)
{
  uint32_t branch = kvi_branches_at(index->branches, chunk);

  while (branch != KVI_BRANCH_NONE) {
    if (!kvi_branch(index->branches, branch)->closed)
      return false;
    branch = kvi_branches_next_at(index->branches, branch);
  }
  return true;
}

static double branch_price(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns)
{
  const struct index *index = ctx;

  return branch->closed ? 0
                        : prefill_s(branch->chunk_tokens, n) *
                              kvi_classes_rate(index->classes, &branch->wait,
                                               seconds_between(branch->begins_ns, now_ns));
}

static double branch_cost(const struct kvi_branch *branch, uint32_t n)
{
  return prefill_s(branch->chunk_tokens, n);
}

/* Seconds saved for each second of keeping it. */
static double price(const struct index *index, uint32_t chunk, uint64_t now_ns)
{
  struct kvi_policy_info info;
  uint32_t branch = kvi_branches_at(index->branches, chunk);
  double sum = 0;

  if (branch == KVI_BRANCH_NONE) {
    const struct kvi_class_wait unknown = {.class = KVI_WAIT_UNKNOWN};

    kvi_forest_info(&index->forest, chunk, &info);
    if (now_ns < info.last_use_ns + MOMENT_NS)
      return prefill_s(TOKENS, 1) * kvi_classes_rate(index->classes, &unknown, 0);
    return 0;
  }
  for (uint32_t open = 0; branch != KVI_BRANCH_NONE && open < SUMMED_MAX;) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);

    open += !own->closed;
    sum += branch_price(index, own, own->n_chunks, now_ns);
    branch = kvi_branches_next_at(index->branches, branch);
  }
  return sum;
}

/* ---- leaves ---- */

static void left_add(struct index *index, uint32_t chunk)
{
  struct left *left = &index->left[index->forest.nodes[chunk].group];

  if (left->n == LEFT) {
    left->first = (left->first + 1) % LEFT;
    left->n--;
  }
  left->chunks[(left->first + left->n++) % LEFT] = chunk;
}

static void leaf_enter(struct kvi_policy *forest, uint32_t chunk)
{
  uint32_t group = forest->nodes[chunk].group;

  kvi_forest_place(forest, group, forest->n[group] - 1, chunk);
  if (is_left_behind(index_of(forest), chunk))
    left_add(index_of(forest), chunk);
}

static void leaf_leave(struct kvi_policy *forest, uint32_t chunk)
{
  uint32_t group = forest->nodes[chunk].group, place = forest->nodes[chunk].place_or_holds;
  uint32_t last = *kvi_forest_slot(forest, group, forest->n[group]);

  if (last != chunk)
    kvi_forest_place(forest, group, place, last);
}

static bool has_place(const struct index *index, uint32_t chunk)
{
  return index->forest.nodes[chunk].place_or_holds < KVI_FOREST_NO_PLACE;
}

static bool is_leaf_of(const struct index *index, uint32_t chunk, enum kvi_policy_group group)
{
  return has_place(index, chunk) && index->forest.nodes[chunk].group == (uint32_t)group;
}

/* ---- branches ---- */

/* Nobody waits there any more, perhaps. */
static void chunk_left(struct index *index, uint32_t chunk)
{
  if (chunk != KVI_POLICY_NONE && has_place(index, chunk) && is_left_behind(index, chunk))
    left_add(index, chunk);
}

static void give_up(struct index *index, uint32_t branch, uint64_t now_ns)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t last = own->last;

  if (!own->closed)
    kvi_classes_away(index->classes, &own->wait, seconds_between(own->begins_ns, now_ns));
  kvi_shadow_left(&index->shadow, branch);
  kvi_branches_remove(index->branches, branch);
  chunk_left(index, last);
}

/*
 * The chunk goes, and whoever waits there waits at the one before. A program that is not known is known by its chain: with less than half of that it would not be known when it comes
 * back, and to count it as away for ever would say that nobody returns after long.
 */
static void shorten(struct index *index, uint32_t chunk, uint64_t now_ns)
{
  uint32_t parent = kvi_forest_parent(&index->forest, chunk), branch;

  while ((branch = kvi_branches_at(index->branches, chunk)) != KVI_BRANCH_NONE) {
    struct kvi_branch *own = kvi_branch(index->branches, branch);

    own->n_chunks = parent == KVI_POLICY_NONE ? 0 : own->n_chunks - (own->n_chunks > 0);
    if (own->program == 0 && 2 * (uint64_t)own->n_chunks < own->n_whole)
      give_up(index, branch, now_ns);
    else
      kvi_branches_move(index->branches, branch, parent);
  }
}

/* How many chunks two chains have in common, of which only the last ones and their lengths are known. */
static uint32_t common(const struct index *index, uint32_t a, uint32_t n_a, uint32_t b, uint32_t n_b)
{
  while (a != b && a != KVI_POLICY_NONE && b != KVI_POLICY_NONE) {
    uint32_t *further = n_a >= n_b ? &a : &b, *n = n_a >= n_b ? &n_a : &n_b;

    *further = kvi_forest_parent(&index->forest, *further);
    *n -= *n > 0;
  }
  return a == b && a != KVI_POLICY_NONE ? n_a : 0;
}

static bool is_half(uint32_t n, const struct kvi_branch *branch, const struct kvi_policy_wait *wait)
{
  uint32_t shorter = branch->n_whole < wait->n_chunks ? branch->n_whole : wait->n_chunks;

  return n > 0 && 2 * (uint64_t)n >= shorter;
}

/* Whose program is not known: who waits at a chunk of the chain, the last such. */
static uint32_t continued_on_chain(const struct index *index, const struct kvi_policy_wait *wait)
{
  uint32_t chunk = wait->last;

  for (uint32_t n = wait->n_chunks; n > 0 && chunk != KVI_POLICY_NONE; n--) {
    for (uint32_t branch = kvi_branches_at(index->branches, chunk); branch != KVI_BRANCH_NONE;
         branch = kvi_branches_next_at(index->branches, branch)) {
      const struct kvi_branch *own = kvi_branch(index->branches, branch);

      if (own->program == 0)
        return is_half(n, own, wait) ? branch : KVI_BRANCH_NONE;
    }
    chunk = kvi_forest_parent(&index->forest, chunk);
  }
  return KVI_BRANCH_NONE;
}

/* The branch of the program that has the most chunks in common with the chain; else one of which nothing is left. */
static uint32_t continued_of_program(const struct index *index, const struct kvi_policy_wait *wait)
{
  uint32_t best = KVI_BRANCH_NONE, most = 0, evicted = KVI_BRANCH_NONE;

  for (uint32_t branch = kvi_branches_of(index->branches, wait->program); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_next_of(index->branches, branch)) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);
    uint32_t n = common(index, own->last, own->n_chunks, wait->last, wait->n_chunks);

    if (own->last == KVI_POLICY_NONE && evicted == KVI_BRANCH_NONE)
      evicted = branch;
    if (n > most && is_half(n, own, wait)) {
      most = n;
      best = branch;
    }
  }
  return best != KVI_BRANCH_NONE ? best : evicted;
}

/* A program that has enough branches gives up the one it did not use for longest. */
static void make_room(struct index *index, uint64_t program, uint64_t now_ns)
{
  uint32_t n = 0, oldest = KVI_BRANCH_NONE;

  for (uint32_t branch = kvi_branches_of(index->branches, program); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_next_of(index->branches, branch)) {
    oldest = branch;
    n++;
  }
  if (n >= OF_PROGRAM)
    give_up(index, oldest, now_ns);
}

/* Of a branch and what it is now. What is not resident any more cannot be compared, and is taken for the same if the rest is. */
static uint32_t in_common(const struct index *index, const struct kvi_branch *branch,
                          const struct kvi_policy_wait *wait)
{
  uint32_t n = common(index, branch->last, branch->n_chunks, wait->last, wait->n_chunks);

  if (n < branch->n_chunks)
    return n;
  return branch->n_whole < wait->n_chunks ? branch->n_whole : wait->n_chunks;
}

static uint32_t branch_of(struct index *index, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  uint32_t branch = wait->program == 0 ? continued_on_chain(index, wait) : continued_of_program(index, wait);
  struct kvi_branch *own;
  uint32_t before;

  if (branch == KVI_BRANCH_NONE) {
    make_room(index, wait->program, now_ns);
    if (kvi_branches_is_full(index->branches))
      give_up(index, kvi_branches_oldest(index->branches), now_ns);
    return kvi_branches_add(index->branches, wait->program, wait->last);
  }
  own = kvi_branch(index->branches, branch);
  before = own->last;
  kvi_shadow_back(&index->shadow, branch, in_common(index, own, wait));
  index->live = kvi_shadow_better(&index->shadow, index->live);
  if (!own->closed)
    kvi_classes_back(index->classes, &own->wait, seconds_between(own->begins_ns, wait->used_ns));
  kvi_branches_use(index->branches, branch);
  kvi_branches_move(index->branches, branch, wait->last);
  chunk_left(index, before);
  return branch;
}

/* ---- the ops ---- */

static void index_destroy(struct kvi_policy *policy)
{
  if (!policy)
    return;
  kvi_branches_destroy(index_of(policy)->branches);
  kvi_classes_destroy(index_of(policy)->classes);
  kvi_forest_destroy(policy);
}

static kvs_status index_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  uint32_t branches = capacity / BRANCHES_PART > BRANCHES_MIN ? capacity / BRANCHES_PART : BRANCHES_MIN;
  struct kvi_policy *policy;
  kvs_status status;

  *policy_p = NULL;
  status = kvi_forest_create(sizeof(struct index), capacity, leaf_enter, leaf_leave, &policy);
  if (status != KVS_OK)
    return status;
  status = kvi_branches_create(branches, &index_of(policy)->branches);
  if (status == KVS_OK)
    status = kvi_classes_create(&index_of(policy)->classes);
  if (status != KVS_OK) {
    index_destroy(policy);
    return status;
  }
  index_of(policy)->shadow = (struct kvi_shadow){
      .branches = index_of(policy)->branches, .price = branch_price, .cost = branch_cost, .ctx = policy};
  kvi_shadow_start(&index_of(policy)->shadow);
  index_of(policy)->live = KVI_SHADOW_BY_PRICE;
  *policy_p = policy;
  return KVS_OK;
}

static uint64_t index_memory(const struct kvi_policy *policy)
{
  const struct index *index = (const struct index *)policy;

  return kvi_forest_memory(policy) + sizeof(*index) - sizeof(*policy) + kvi_classes_memory() +
         kvi_branches_memory(index->branches);
}

/* What was cheap, and went, is followed by the chunk before it, which costs a little less to compute. */
static void kept_move(struct index *index, uint32_t chunk)
{
  uint32_t group = index->forest.nodes[chunk].group, parent = kvi_forest_parent(&index->forest, chunk);

  for (uint32_t i = 0; i < index->n_kept[group]; i++)
    if (index->kept[group][i] == chunk && parent != KVI_POLICY_NONE)
      index->kept[group][i] = parent;
}

static void index_insert(struct kvi_policy *policy, uint32_t chunk, uint32_t parent, uint64_t bytes,
                         uint64_t now_ns)
{
  index_of(policy)->n_resident++;
  kvi_forest_insert(policy, chunk, parent, bytes, now_ns);
}

static uint32_t index_remove(struct kvi_policy *policy, uint32_t chunk)
{
  index_of(policy)->n_resident -= kvi_forest_is_resident(policy, chunk);
  kept_move(index_of(policy), chunk);
  shorten(index_of(policy), chunk, policy->latest_ns);
  return kvi_forest_remove(policy, chunk);
}

/* What is no time, or one that no curve tells from now or never, counts as not said. */
static struct kvi_class_wait class_wait(struct index *index, const struct kvi_policy_wait *wait)
{
  bool is_said = wait->announced_s >= SAID_LEAST_S && wait->announced_s <= SAID_MOST_S;

  return (struct kvi_class_wait){.class = kvi_classes_of(index->classes, wait->kind, wait->tool),
                                 .source = wait->source,
                                 .announced_s = is_said ? wait->announced_s : 0};
}

static float tokens_of(const struct kvi_policy_wait *wait)
{
  return wait->n_chunks > 0 ? (float)wait->n_tokens / (float)wait->n_chunks : 0;
}

static void index_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  uint32_t branch = branch_of(index, wait, now_ns), n;
  struct kvi_branch *own = kvi_branch(index->branches, branch);

  own->begins_ns = wait->begins_ns;
  own->wait = class_wait(index, wait);
  own->n_chunks = own->n_whole = wait->n_chunks;
  own->chunk_tokens = tokens_of(wait);
  own->closed = false;
  kvi_shadow_used(&index->shadow, branch, now_ns);
  n = kvi_branches_count(index->branches);
  if (!kvi_classes_is_due(index->classes, n))
    return;
  for (branch = kvi_branches_oldest(index->branches); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_newer(index->branches, branch)) {
    own = kvi_branch(index->branches, branch);
    if (!own->closed && own->begins_ns < now_ns)
      kvi_classes_lasting(index->classes, &own->wait, seconds_between(own->begins_ns, now_ns));
  }
  kvi_classes_build(index->classes);
}

static void index_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns)
{
  struct index *index = index_of(policy);

  (void)now_ns;
  for (uint32_t branch = kvi_branches_of(index->branches, program); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_next_of(index->branches, branch)) {
    struct kvi_branch *own = kvi_branch(index->branches, branch);

    own->closed = true;
    chunk_left(index, own->last);
  }
}

/* ---- victims ---- */

struct candidate {
  uint32_t chunk;
  double price;
};

/* The cheapest KEPT so far, cheapest first. Once each. */
static void candidate_add(struct candidate *candidates, uint32_t *n_p, uint32_t chunk, double price)
{
  uint32_t at = *n_p;

  for (uint32_t i = 0; i < *n_p; i++)
    if (candidates[i].chunk == chunk)
      return;
  if (at == KEPT && price >= candidates[--at].price)
    return;
  for (; at > 0 && candidates[at - 1].price > price; at--)
    candidates[at] = candidates[at - 1];
  candidates[at] = (struct candidate){.chunk = chunk, .price = price};
  *n_p += *n_p < KEPT;
}

/* One that is worth nothing; those that are none any more are forgotten. KVI_POLICY_NONE: there is none. */
static uint32_t left_behind(struct index *index, enum kvi_policy_group group, uint64_t now_ns)
{
  struct left *left = &index->left[group];

  for (uint32_t looked = 0, n = left->n < LOOKED_MAX ? left->n : LOOKED_MAX; looked < n; looked++) {
    uint32_t chunk = left->chunks[left->first];

    if (is_leaf_of(index, chunk, group)) {
      double worth = price(index, chunk, now_ns);

      if (worth == 0)
        return chunk;
      if (is_left_behind(index, chunk))
        left->chunks[(left->first + left->n++) % LEFT] = chunk; /* in a moment */
    }
    left->first = (left->first + 1) % LEFT;
    left->n--;
  }
  return KVI_POLICY_NONE;
}

/* The lower, the sooner it goes, by the order that is live. */
static double rank(struct index *index, uint32_t chunk, uint64_t now_ns)
{
  return index->live == KVI_SHADOW_BY_PRICE ? price(index, chunk, now_ns)
                                            : (double)kvi_word48_get(&index->forest.nodes[chunk].last_use);
}

static uint32_t index_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  struct candidate candidates[KEPT];
  uint32_t n = 0, leaves = policy->n[group], chunk = left_behind(index, group, now_ns);

  kvi_shadow_full(&index->shadow, index->n_resident);
  if (chunk != KVI_POLICY_NONE || leaves == 0)
    return chunk;
  for (uint32_t i = 0; i < index->n_kept[group]; i++)
    if (is_leaf_of(index, index->kept[group][i], group))
      candidate_add(candidates, &n, index->kept[group][i], rank(index, index->kept[group][i], now_ns));
  for (uint32_t i = 0; i < (leaves < SAMPLE ? leaves : SAMPLE); i++) {
    uint32_t place = leaves <= SAMPLE ? i : (uint32_t)(kvi_splitmix64(&index->random) % leaves);

    chunk = *kvi_forest_slot(policy, group, place);
    candidate_add(candidates, &n, chunk, rank(index, chunk, now_ns));
  }
  for (uint32_t i = 0; i < n; i++)
    index->kept[group][i] = candidates[i].chunk;
  index->n_kept[group] = n;
  return candidates[0].chunk;
}

static bool index_admits(struct kvi_policy *policy, enum kvi_policy_group group,
                         const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  const struct kvi_class_wait as_class = class_wait(index, wait);
  uint32_t victim = index_victim(policy, group, now_ns);
  double worth = prefill_s(tokens_of(wait), wait->n_chunks) *
                 kvi_classes_rate(index->classes, &as_class, seconds_between(wait->begins_ns, now_ns));

  return victim != KVI_POLICY_NONE &&
         (index->live == KVI_SHADOW_BY_USE || price(index, victim, now_ns) < worth);
}

static void index_info(const struct kvi_policy *policy, uint32_t chunk, struct kvi_policy_info *info_p)
{
  double worth;

  kvi_forest_info(policy, chunk, info_p);
  worth = price((const struct index *)policy, chunk, policy->latest_ns);
  memcpy(&info_p->rank, &worth,
         sizeof(info_p->rank)); /* numbers that are not negative are in the order of their bits */
}

const struct kvi_policy_ops kvi_policy_index = {
    .name = "index",
    .create = index_create,
    .destroy = index_destroy,
    .memory = index_memory,
    .insert = index_insert,
    .link = kvi_forest_link,
    .touch = kvi_forest_touch,
    .hold = kvi_forest_hold,
    .unhold = kvi_forest_unhold,
    .remove = index_remove,
    .move = kvi_forest_move,
    .victim = index_victim,
    .info = index_info,
    .wait = index_wait,
    .admits = index_admits,
    .close = index_close,
};
