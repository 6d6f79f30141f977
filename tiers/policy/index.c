/*
 * tiers/policy/index.c: the chunk whose memory saves the least (docs/policy.md). A leaf is worth what it costs to compute it again, times the rate at which those who wait at it come back (classes.h),
 * over all branches that end there. When it goes, they end at the chunk before it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tiers/policy/continued.h"
#include "tiers/policy/index_private.h"

#define OF_PROGRAM    12u /* branches; of more the one not used for longest is given up */
#define BRANCHES_PART 8u  /* one branch for so many chunks */
#define BRANCHES_MIN  1024u
#define REPEATED_NS                                                                                          \
  KVI_NS_PER_S /* requests of a branch that are closer together are one, unless the first was answered */
#define LEARNED_BRANCHES 512u /* at a request, */
#define BYTES_OVER       1024 /* chunks that count for their mean size */
#define LEARNED_CURVES   4u   /* and curves */
#define PRIORITY_MOST    100u
#define SAID_LEAST_S     0.05
#define SAID_MOST_S      1e6

/* ---- branches ---- */

/* A wait as it is now, for its class; and if it was answered, from the request on for the class that a request has before. */
static void observe(struct kvi_index *index, const struct kvi_branch *branch,
                    void (*add)(struct kvi_classes *classes, const struct kvi_class_wait *wait,
                                double seconds),
                    uint64_t now_ns)
{
  const struct kvi_class_wait request = kvi_index_request(branch->program);

  add(index->classes, &branch->wait, kvi_index_seconds(branch->begins_ns, now_ns));
  if (branch->answered)
    add(index->classes, &request, kvi_index_seconds(branch->used_ns, now_ns));
}

/* A branch ends. Who was not told to have ended is away for good, as far as anybody can tell. */
static void give_up(struct kvi_index *index, uint32_t branch, bool closed, uint64_t now_ns)
{
  const struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t last = own->last;

  if (!closed)
    observe(index, own, kvi_classes_away, now_ns);
  kvi_shadow_left(&index->shadow, branch);
  kvi_branches_remove(index->branches, branch);
  kvi_index_left(index, last);
}

/*
 * The chunk goes, and whoever waits there waits at the one before. A program that is not known is known by its chain: with less than half of that it would not be known when it comes
 * back, and to count it as away for ever would say that nobody returns after long.
 */
static void shorten(struct kvi_index *index, uint32_t chunk, uint64_t now_ns)
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
static void make_room(struct kvi_index *index, uint64_t program, uint64_t now_ns)
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

static uint32_t branch_new(struct kvi_index *index, const struct kvi_policy_use *use, uint64_t now_ns)
{
  uint32_t branch;

  make_room(index, use->program, now_ns);
  if (kvi_branches_is_full(index->branches))
    give_up(index, kvi_branches_oldest(index->branches), false, now_ns);
  branch = kvi_branches_add(index->branches, use->program, use->last);
  kvi_branch(index->branches, branch)->weight = 1;
  return branch;
}

/* Where it ends now, and what is known of its chunks. */
static void branch_set(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t before = own->last;

  kvi_branches_move(index->branches, branch, use->last);
  if (use->last != KVI_POLICY_NONE && kvi_index_has_place(index, use->last))
    kvi_word48_set(&index->forest.nodes[use->last].word_or_children, 0);
  own->n_chunks = use->n_chunks;
  own->n_whole = use->n_whole;
  own->chunk_tokens = use->chunk_tokens > 0 ? use->chunk_tokens : KVI_INDEX_TOKENS;
  own->tenant = use->tenant < KVI_POLICY_TENANTS_MAX ? (uint16_t)use->tenant : 0;
  own->cost = use->cost > 0 ? use->cost : 1;
  own->chunk_bytes = use->chunk_bytes > 0 ? use->chunk_bytes : (float)index->chunk_bytes;
  if (before != use->last)
    kvi_index_left(index, before);
}

/* Its program was not known when it came, and is now. */
static void branch_name(struct kvi_index *index, uint32_t branch, uint64_t program, uint64_t now_ns)
{
  if (program == 0 || kvi_branch(index->branches, branch)->program == program)
    return;
  make_room(index, program, now_ns);
  kvi_branches_name(index->branches, branch, program);
}

/* It is back: what it waited for is over. */
static void branch_back(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use,
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

/*
 * Curves are built anew when it is time, from those that wait now too. A bit at each request, since the store's lock is held: who comes back meanwhile counts as both.
 */
static void learn(struct kvi_index *index, uint64_t now_ns)
{
  uint32_t places = kvi_branches_places(index->branches);

  if (index->learning == KVI_BRANCH_NONE) {
    if (!kvi_classes_is_due(index->classes, kvi_branches_count(index->branches)))
      return;
    index->learning = 0;
  }
  for (uint32_t i = 0; i < LEARNED_BRANCHES && index->learning < places; i++, index->learning++)
    if (kvi_branches_is_used(index->branches, index->learning))
      observe(index, kvi_branch(index->branches, index->learning), kvi_classes_lasting, now_ns);
  if (index->learning >= places && kvi_classes_build(index->classes, LEARNED_CURVES))
    index->learning = KVI_BRANCH_NONE;
}

/* ---- the ops ---- */

static void index_destroy(struct kvi_policy *policy)
{
  if (!policy)
    return;
  kvi_branches_destroy(kvi_index_of(policy)->branches);
  kvi_classes_destroy(kvi_index_of(policy)->classes);
  kvi_forest_destroy(policy);
}

static kvs_status index_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  uint32_t branches = capacity / BRANCHES_PART > BRANCHES_MIN ? capacity / BRANCHES_PART : BRANCHES_MIN;
  struct kvi_policy *policy;
  kvs_status status;

  *policy_p = NULL;
  status = kvi_forest_create(sizeof(struct kvi_index), capacity, kvi_index_leaf_enter, kvi_index_leaf_leave,
                             &policy);
  if (status != KVS_OK)
    return status;
  status = kvi_branches_create(branches, &kvi_index_of(policy)->branches);
  if (status == KVS_OK)
    status = kvi_classes_create(&kvi_index_of(policy)->classes);
  if (status != KVS_OK) {
    index_destroy(policy);
    return status;
  }
  kvi_index_of(policy)->shadow = (struct kvi_shadow){.branches = kvi_index_of(policy)->branches,
                                                     .price = kvi_index_branch_price,
                                                     .cost = kvi_index_branch_cost,
                                                     .ctx = policy};
  kvi_shadow_start(&kvi_index_of(policy)->shadow);
  kvi_index_of(policy)->live = KVI_SHADOW_BY_PRICE;
  kvi_index_of(policy)->learning = KVI_BRANCH_NONE;
  kvi_index_of(policy)->chunk_bytes = 1;
  for (uint32_t i = 0; i < KVI_POLICY_TENANTS_MAX; i++)
    kvi_index_of(policy)->shares[i] = 1;
  *policy_p = policy;
  return KVS_OK;
}

static uint64_t index_memory(const struct kvi_policy *policy)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;

  return kvi_forest_memory(policy) + sizeof(*index) - sizeof(*policy) + kvi_classes_memory() +
         kvi_branches_memory(index->branches);
}

static void index_insert(struct kvi_policy *policy, uint32_t chunk, uint32_t parent, uint64_t bytes,
                         uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);

  index->n_resident++;
  index->chunk_bytes += ((double)bytes - index->chunk_bytes) /
                        (index->n_resident < BYTES_OVER ? (double)index->n_resident : BYTES_OVER);
  index->entering_tick = kvi_forest_tick(policy, now_ns);
  kvi_forest_insert(policy, chunk, parent, bytes, now_ns);
  index->entering_tick = 0;
}

/* What is known to be left behind is so by group. */
static void index_move(struct kvi_policy *policy, uint32_t chunk, enum kvi_policy_group group)
{
  struct kvi_index *index = kvi_index_of(policy);

  if (kvi_index_has_place(index, chunk))
    index->entering_tick = kvi_word48_get(&policy->nodes[chunk].word_or_children);
  kvi_forest_move(policy, chunk, group);
  index->entering_tick = 0;
}

static uint32_t index_remove(struct kvi_policy *policy, uint32_t chunk)
{
  kvi_index_of(policy)->n_resident -= kvi_forest_is_resident(policy, chunk);
  kvi_index_leaf_gone(kvi_index_of(policy), chunk);
  shorten(kvi_index_of(policy), chunk, policy->latest_ns);
  return kvi_forest_remove(policy, chunk);
}

/* A wait begins, for what is not known. */
static void begin(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_branch *own;

  branch_set(index, branch, use);
  kvi_shadow_renew(&index->shadow, branch);
  kvi_branches_use(index->branches, branch);
  own = kvi_branch(index->branches, branch);
  own->used_ns = own->begins_ns = now_ns;
  own->wait = kvi_index_request(own->program);
  own->answered = false;
  own->weight = 1;
  own->ttl_s = 0;
  kvi_shadow_used(&index->shadow, branch, now_ns);
  learn(index, now_ns);
}

static void go_on(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
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
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t branch = kvi_continued(policy, index->branches, use);

  if (branch == KVI_BRANCH_NONE && use->program == 0 && use->last == KVI_POLICY_NONE)
    return; /* nothing to know it by */
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
  struct kvi_index *index = kvi_index_of(policy);
  bool is_whole;
  uint32_t branch = kvi_extended(policy, index->branches, use, &is_whole);

  if (branch != KVI_BRANCH_NONE)
    go_on(index, branch, use, now_ns);
  else if (is_whole)
    begin(index, branch_new(index, use, now_ns), use, now_ns);
}

/* What is no time, or one that no curve tells from now or never, counts as not said. */
static struct kvi_class_wait class_wait(struct kvi_index *index, const struct kvi_policy_wait *wait)
{
  bool is_said = wait->announced_s >= SAID_LEAST_S && wait->announced_s <= SAID_MOST_S;

  return (struct kvi_class_wait){.class = kvi_classes_of(index->classes, wait->kind, wait->tool),
                                 .source = wait->source,
                                 .announced_s = is_said ? wait->announced_s : 0};
}

/*
 * The branch that the program's hint is of. If its request came without a name, and was not known to be the program's, since little was left of that: it was back when the request came.
 */
static uint32_t branch_of_hint(struct kvi_index *index, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  const struct kvi_policy_use use = {
      .program = wait->program, .last = wait->last, .n_chunks = wait->n_chunks, .n_whole = wait->n_chunks};
  uint32_t branch, unnamed;

  if (wait->last == KVI_POLICY_NONE)
    return kvi_branches_of(index->branches, wait->program);
  branch = kvi_continued(&index->forest, index->branches, &use);
  unnamed = kvi_continued_unnamed(index->branches, wait->last);
  if (unnamed == KVI_BRANCH_NONE || unnamed == branch)
    return branch;
  if (branch != KVI_BRANCH_NONE && kvi_branch(index->branches, branch)->last == wait->last)
    return branch; /* the other one is somebody else's */
  if (branch != KVI_BRANCH_NONE) {
    branch_back(index, branch, &use, kvi_branch(index->branches, unnamed)->used_ns);
    give_up(index, branch, true, now_ns);
  }
  return unnamed;
}

static bool index_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t branch = branch_of_hint(index, wait, now_ns);
  struct kvi_branch *own;

  if (branch == KVI_BRANCH_NONE)
    return false;
  branch_name(index, branch, wait->program, now_ns);
  own = kvi_branch(index->branches, branch);
  own->begins_ns = now_ns;
  own->wait = class_wait(index, wait);
  own->answered = true;
  if (wait->priority > 0 && wait->priority <= PRIORITY_MOST)
    own->weight = exp2f(((float)wait->priority - 50) / 25);
  if (wait->ttl_s > 0 && wait->ttl_s <= SAID_MOST_S)
    own->ttl_s = (float)wait->ttl_s;
  return true;
}

static void index_share(struct kvi_policy *policy, uint32_t tenant, double factor)
{
  if (tenant < KVI_POLICY_TENANTS_MAX && factor > 0 && factor <= 1)
    kvi_index_of(policy)->shares[tenant] = (float)factor;
}

static void index_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t branch;

  while ((branch = kvi_branches_of(index->branches, program)) != KVI_BRANCH_NONE)
    give_up(index, branch, true, now_ns);
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
    .victim = kvi_index_victim,
    .info = kvi_index_info,
    .arrive = index_arrive,
    .extend = index_extend,
    .wait = index_wait,
    .admits = kvi_index_admits,
    .share = index_share,
    .close = index_close,
    .waiters = kvi_index_waiters,
    .waiter = kvi_index_waiter,
    .tier_price = kvi_index_tier_price,
    .goes_by_price = kvi_index_goes_by_price,
};
