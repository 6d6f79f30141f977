/*
 * tiers/policy/index.c: the chunk whose memory saves the least (docs/policy.md). A leaf is worth what it costs to compute it again, times the rate at which those who wait at it come back (classes.h),
 * over all branches that end there. When it goes, they end at the chunk before it.
 *
 * A leaf at which nobody waits was left behind: its program has gone on elsewhere, or ended. It goes first. One that was just stored has not been named by anybody yet, and is spared for a moment.
 *
 * Rates change with time, each class by its own curve, so no order of leaves lasts. A victim is the least of a sample (as Redis and LHD take theirs): SAMPLE leaves at random, beside those that were
 * the cheapest when victims were sought before. Leaves that were left behind are known, and are looked at before any other.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/policy/branches.h"
#include "tiers/policy/continued.h"
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
#define REPEATED_NS                                                                                          \
  KVI_NS_PER_S /* requests of a branch that are closer together are one, unless the first was answered */
#define SAID_LEAST_S 0.05
#define SAID_MOST_S  1e6
#define TOKENS       256.0f /* of a chunk of which nobody said */

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
  uint64_t entering_tick; /* what is_spared is to know of the chunk that is just inserted or moved; else 0 */
  uint64_t random;
};

static struct index *index_of(struct kvi_policy *policy)
{
  return (struct index *)policy;
}

static bool has_place(const struct index *index, uint32_t chunk)
{
  return index->forest.nodes[chunk].place_or_holds < KVI_FOREST_NO_PLACE;
}

/* ---- prices ---- */

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
  return to_ns > from_ns ? (double)(to_ns - from_ns) / (double)KVI_NS_PER_S : 0;
}

/* Of the chunks behind the first `from` of a chain, up to the to'th, of so many tokens each. */
static double prefill_s(double tokens, double from, double to)
{
  return tokens * (to - from) * (ALPHA + BETA * tokens * (to + from));
}

static bool is_left_behind(const struct index *index, uint32_t chunk)
{
  return kvi_branches_at(index->branches, chunk) == KVI_BRANCH_NONE;
}

static double branch_cost(const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  return prefill_s(branch->chunk_tokens, from, to);
}

static double branch_price(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns)
{
  const struct index *index = ctx;

  return branch_cost(branch, n > 0 ? n - 1 : 0, n) / branch->chunk_bytes *
         kvi_classes_rate(index->classes, &branch->wait, seconds_between(branch->begins_ns, now_ns));
}

/* The order's word of a leaf is when it was inserted, in ticks; 0 if a branch ended there since, something came after it, or held it. */
static bool is_spared(const struct index *index, uint32_t chunk, uint64_t now_ns)
{
  uint64_t tick = has_place(index, chunk) ? kvi_word48_get(&index->forest.nodes[chunk].word_or_children) : 0;

  return tick != 0 && now_ns < kvi_forest_time(&index->forest, tick) + MOMENT_NS;
}

/* Seconds saved for each second and byte of keeping it. */
static double price(const struct index *index, uint32_t chunk, uint64_t now_ns)
{
  uint32_t branch = kvi_branches_at(index->branches, chunk);
  double sum = 0;

  if (branch == KVI_BRANCH_NONE && is_spared(index, chunk, now_ns)) {
    const struct kvi_class_wait unknown = {.class = KVI_WAIT_UNKNOWN};

    return prefill_s(TOKENS, 0, 1) * kvi_classes_rate(index->classes, &unknown, 0);
  }
  for (uint32_t i = 0; i < SUMMED_MAX && branch != KVI_BRANCH_NONE; i++) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);

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
  struct index *index = index_of(forest);
  uint32_t group = forest->nodes[chunk].group;

  kvi_forest_place(forest, group, forest->n[group] - 1, chunk);
  kvi_word48_set(&forest->nodes[chunk].word_or_children, index->entering_tick);
  if (index->entering_tick == 0 && is_left_behind(index, chunk))
    left_add(index, chunk);
}

static void leaf_leave(struct kvi_policy *forest, uint32_t chunk)
{
  uint32_t group = forest->nodes[chunk].group, place = forest->nodes[chunk].place_or_holds;
  uint32_t last = *kvi_forest_slot(forest, group, forest->n[group]);

  if (last != chunk)
    kvi_forest_place(forest, group, place, last);
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

static struct kvi_class_wait request_wait(uint64_t program)
{
  return (struct kvi_class_wait){.class = program != 0 ? KVI_CLASS_REQUEST : KVI_WAIT_UNKNOWN};
}

/* A wait as it is now, for its class; and if it was answered, from the request on for the class that a request has before. */
static void observe(struct index *index, const struct kvi_branch *branch,
                    void (*add)(struct kvi_classes *classes, const struct kvi_class_wait *wait,
                                double seconds),
                    uint64_t now_ns)
{
  const struct kvi_class_wait request = request_wait(branch->program);

  add(index->classes, &branch->wait, seconds_between(branch->begins_ns, now_ns));
  if (branch->answered)
    add(index->classes, &request, seconds_between(branch->used_ns, now_ns));
}

/* A branch ends. Who was not told to have ended is away for good, as far as anybody can tell. */
static void give_up(struct index *index, uint32_t branch, bool closed, uint64_t now_ns)
{
  const struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t last = own->last;

  if (!closed)
    observe(index, own, kvi_classes_away, now_ns);
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
      give_up(index, branch, false, now_ns);
    else
      kvi_branches_move(index->branches, branch, parent);
  }
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
    give_up(index, oldest, false, now_ns);
}

static uint32_t branch_new(struct index *index, const struct kvi_policy_use *use, uint64_t now_ns)
{
  make_room(index, use->program, now_ns);
  if (kvi_branches_is_full(index->branches))
    give_up(index, kvi_branches_oldest(index->branches), false, now_ns);
  return kvi_branches_add(index->branches, use->program, use->last);
}

/* Where it ends now, and what is known of its chunks. */
static void branch_set(struct index *index, uint32_t branch, const struct kvi_policy_use *use)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t before = own->last;

  kvi_branches_move(index->branches, branch, use->last);
  if (use->last != KVI_POLICY_NONE && has_place(index, use->last))
    kvi_word48_set(&index->forest.nodes[use->last].word_or_children, 0);
  own->n_chunks = use->n_chunks;
  own->n_whole = use->n_whole;
  own->chunk_tokens = use->chunk_tokens > 0 ? use->chunk_tokens : TOKENS;
  own->chunk_bytes = use->chunk_bytes > 0 ? use->chunk_bytes : 1;
  if (before != use->last)
    chunk_left(index, before);
}

/* Its program was not known when it came, and is now. */
static void branch_name(struct index *index, uint32_t branch, uint64_t program, uint64_t now_ns)
{
  if (program == 0 || kvi_branch(index->branches, branch)->program == program)
    return;
  make_room(index, program, now_ns);
  kvi_branches_name(index->branches, branch, program);
}

/* It is back: what it waited for is over. */
static void branch_back(struct index *index, uint32_t branch, const struct kvi_policy_use *use,
                        uint64_t now_ns)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);

  kvi_shadow_back(&index->shadow, branch, kvi_continued_common(&index->forest, own, use));
  index->live = kvi_shadow_better(&index->shadow, index->live);
  observe(index, own, kvi_classes_back, now_ns);
}

static bool is_repeated(const struct kvi_branch *branch, uint64_t now_ns)
{
  return !branch->answered && now_ns < branch->used_ns + REPEATED_NS;
}

/* Curves are built anew when it is time, from those that wait now too. */
static void learn(struct index *index, uint64_t now_ns)
{
  if (!kvi_classes_is_due(index->classes, kvi_branches_count(index->branches)))
    return;
  for (uint32_t branch = kvi_branches_oldest(index->branches); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_newer(index->branches, branch))
    observe(index, kvi_branch(index->branches, branch), kvi_classes_lasting, now_ns);
  kvi_classes_build(index->classes);
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
  struct index *index = index_of(policy);

  index->n_resident++;
  index->entering_tick = kvi_forest_tick(policy, now_ns);
  kvi_forest_insert(policy, chunk, parent, bytes, now_ns);
  index->entering_tick = 0;
}

static void index_move(struct kvi_policy *policy, uint32_t chunk, enum kvi_policy_group group)
{
  struct index *index = index_of(policy);

  if (has_place(index, chunk))
    index->entering_tick = kvi_word48_get(&policy->nodes[chunk].word_or_children);
  kvi_forest_move(policy, chunk, group);
  index->entering_tick = 0;
  if (has_place(index, chunk) && is_left_behind(index, chunk)) /* known in the other group, not in this one */
    left_add(index, chunk);
}

static uint32_t index_remove(struct kvi_policy *policy, uint32_t chunk)
{
  index_of(policy)->n_resident -= kvi_forest_is_resident(policy, chunk);
  kept_move(index_of(policy), chunk);
  shorten(index_of(policy), chunk, policy->latest_ns);
  return kvi_forest_remove(policy, chunk);
}

/* A wait begins, for what is not known. */
static void begin(struct index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_branch *own;

  branch_set(index, branch, use);
  kvi_shadow_renew(&index->shadow, branch);
  kvi_branches_use(index->branches, branch);
  own = kvi_branch(index->branches, branch);
  own->used_ns = own->begins_ns = now_ns;
  own->wait = request_wait(own->program);
  own->answered = false;
  kvi_shadow_used(&index->shadow, branch, now_ns);
  learn(index, now_ns);
}

static void go_on(struct index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_policy_use more = *use;
  uint32_t whole = kvi_branch(index->branches, branch)->n_whole;

  more.n_whole = use->n_whole > whole ? use->n_whole : whole;
  branch_set(index, branch, &more);
  if (more.n_whole == whole)
    return;
  kvi_shadow_renew(&index->shadow, branch);
  kvi_branches_use(index->branches, branch);
  kvi_shadow_used(&index->shadow, branch, now_ns);
}

static void index_arrive(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  uint32_t branch = kvi_continued(policy, index->branches, use);

  if (branch == KVI_BRANCH_NONE) {
    begin(index, branch_new(index, use, now_ns), use, now_ns);
  } else if (is_repeated(kvi_branch(index->branches, branch), now_ns)) {
    branch_name(index, branch, use->program, now_ns);
    go_on(index, branch, use, now_ns);
  } else {
    branch_back(index, branch, use, now_ns);
    branch_name(index, branch, use->program, now_ns);
    begin(index, branch, use, now_ns);
  }
}

static void index_extend(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  bool is_whole;
  uint32_t branch = kvi_extended(policy, index->branches, use, &is_whole);

  if (branch != KVI_BRANCH_NONE)
    go_on(index, branch, use, now_ns);
  else if (is_whole)
    begin(index, branch_new(index, use, now_ns), use, now_ns);
}

/* What is no time, or one that no curve tells from now or never, counts as not said. */
static struct kvi_class_wait class_wait(struct index *index, const struct kvi_policy_wait *wait)
{
  bool is_said = wait->announced_s >= SAID_LEAST_S && wait->announced_s <= SAID_MOST_S;

  return (struct kvi_class_wait){.class = kvi_classes_of(index->classes, wait->kind, wait->tool),
                                 .source = wait->source,
                                 .announced_s = is_said ? wait->announced_s : 0};
}

static bool index_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  const struct kvi_policy_use use = {
      .program = wait->program, .last = wait->last, .n_chunks = wait->n_chunks, .n_whole = wait->n_chunks};
  uint32_t branch = wait->last == KVI_POLICY_NONE ? kvi_branches_of(index->branches, wait->program)
                                                  : kvi_continued(policy, index->branches, &use);
  struct kvi_branch *own;

  if (branch == KVI_BRANCH_NONE)
    return false;
  branch_name(index, branch, wait->program, now_ns);
  own = kvi_branch(index->branches, branch);
  own->begins_ns = now_ns;
  own->wait = class_wait(index, wait);
  own->answered = true;
  return true;
}

static void index_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  uint32_t branch;

  while ((branch = kvi_branches_of(index->branches, program)) != KVI_BRANCH_NONE)
    give_up(index, branch, true, now_ns);
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
                         const struct kvi_policy_use *use, uint32_t n, uint64_t now_ns)
{
  struct index *index = index_of(policy);
  const struct kvi_class_wait wait = request_wait(use->program);
  uint32_t victim = index_victim(policy, group, now_ns);
  double tokens = use->chunk_tokens > 0 ? use->chunk_tokens : TOKENS,
         bytes = use->chunk_bytes > 0 ? use->chunk_bytes : 1,
         worth = prefill_s(tokens, n - 1.0, n) / bytes * kvi_classes_rate(index->classes, &wait, 0);

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
    .move = index_move,
    .victim = index_victim,
    .info = index_info,
    .arrive = index_arrive,
    .extend = index_extend,
    .wait = index_wait,
    .admits = index_admits,
    .close = index_close,
};
