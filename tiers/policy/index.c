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

#define BRANCHES_PART 8u /* one branch for so many chunks */
#define BRANCHES_MIN  1024u
/* Requests for the very same chunks are one, since engines ask again until they have room. */
#define SAME_NS          (60 * KVI_NS_PER_S)
#define DEPTH_MOST       (1u << 16)
#define LEARNED_BRANCHES 512u /* at a request, */
#define BYTES_OVER       1024 /* chunks that count for their mean size */
#define VALUE_OVER       64   /* requests that count for the mean worth of a chunk */
#define LEARNED_CURVES   4u   /* and curves, */
#define LEARNED_CLIENTS  16u  /* and clients that have no record yet */

/* ---- branches ---- */

void kvi_index_observe(struct kvi_index *index, const struct kvi_branch *branch,
                       void (*add)(struct kvi_classes *classes, const struct kvi_class_wait *wait,
                                   double seconds),
                       uint64_t now_ns)
{
  const struct kvi_class_wait request = kvi_index_request(branch->program);

  add(index->classes, &branch->wait, kvi_index_seconds(branch->begins_ns, now_ns));
  if (branch->answered)
    add(index->classes, &request, kvi_index_seconds(branch->used_ns, now_ns));
}

void kvi_index_give_up(struct kvi_index *index, uint32_t branch, bool closed, uint64_t now_ns)
{
  const struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t last = own->last;

  if (!closed)
    kvi_index_observe(index, own, kvi_classes_away, now_ns);
  kvi_index_memory_left(index, branch, closed);
  kvi_branches_remove(index->branches, branch);
  kvi_index_left(index, last, closed);
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
      kvi_index_give_up(index, branch, false, now_ns);
    else
      kvi_branches_move(index->branches, branch, parent);
  }
}

/* A program that has enough branches in a space gives up the one there that it did not use for longest. */
static void make_room(struct kvi_index *index, uint64_t program, uint32_t space, uint64_t now_ns)
{
  uint32_t n = 0, oldest = KVI_BRANCH_NONE;

  for (uint32_t branch = kvi_branches_of(index->branches, program); branch != KVI_BRANCH_NONE;
       branch = kvi_branches_next_of(index->branches, branch)) {
    if (kvi_branch(index->branches, branch)->space != space)
      continue;
    oldest = branch;
    n++;
  }
  if (n >= KVI_INDEX_OF_PROGRAM)
    kvi_index_give_up(index, oldest, false, now_ns);
}

static uint32_t branch_new(struct kvi_index *index, const struct kvi_policy_use *use, uint64_t now_ns)
{
  uint32_t branch;

  make_room(index, use->program, use->space, now_ns);
  if (kvi_branches_is_full(index->branches))
    kvi_index_give_up(index, kvi_branches_oldest(index->branches), false, now_ns);
  branch = kvi_branches_add(index->branches, use->program, use->last);
  kvi_branch(index->branches, branch)->weight = 1;
  kvi_branch(index->branches, branch)->space = use->space;
  return branch;
}

/* Where it ends now, and what is known of its chunks. */
static void branch_set(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t before = own->last, tenant = use->tenant < KVI_POLICY_TENANTS_MAX ? use->tenant : 0;

  kvi_branches_move(index->branches, branch, use->last);
  if (use->last != KVI_POLICY_NONE)
    kvi_forest_mark(&index->forest, use->last, false);
  own->n_chunks = use->n_chunks;
  own->n_whole = use->n_whole;
  own->chunk_tokens = use->chunk_tokens > 0 ? use->chunk_tokens : KVI_INDEX_TOKENS;
  own->chunk_tokens = fminf(own->chunk_tokens, (float)KVI_INDEX_TOKENS_MOST / (float)(use->n_chunks + 1));
  if (own->tenant != tenant)
    kvi_index_memory_given(index, branch);
  own->tenant = (uint16_t)tenant;
  own->cost = use->cost > 0 ? use->cost : 1;
  own->chunk_bytes = use->chunk_bytes > 0 ? use->chunk_bytes : (float)index->chunk_bytes;
  if (before != use->last)
    kvi_index_left(index, before, false);
}

void kvi_index_branch_name(struct kvi_index *index, uint32_t branch, uint64_t program, uint64_t now_ns)
{
  if (program == 0 || kvi_branch(index->branches, branch)->program == program)
    return;
  make_room(index, program, kvi_branch(index->branches, branch)->space, now_ns);
  kvi_branches_name(index->branches, branch, program);
}

/* The same request again: at once, or for the same chunks with nothing stored since. */
static bool is_repeated(const struct kvi_branch *branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  if (branch->answered)
    return false;
  return now_ns < branch->seen_ns + KVI_INDEX_REPEATED_NS ||
         (now_ns < branch->seen_ns + SAME_NS && use->last == branch->last && use->n_whole == branch->n_whole);
}

/* Anything is heard of a request. Of one that was not stored when it came first it is known how often it comes, also where it is the same request for all others. */
static void heard(struct kvi_branch *branch, uint64_t now_ns)
{
  if (branch->again_s > 0 && now_ns >= branch->seen_ns + KVI_INDEX_REPEATED_NS)
    branch->again_s = (float)kvi_index_seconds(branch->seen_ns, now_ns);
}

/* Somebody of whom nothing has ended yet has not come when he said that he would: that is all that may ever be known of him. */
static bool is_overdue_of_new(const struct kvi_branch *branch, uint64_t now_ns)
{
  return kvi_classes_is_new_client(branch->wait.client) && branch->wait.announced_s > 0 &&
         kvi_index_seconds(branch->begins_ns, now_ns) > (double)branch->wait.announced_s;
}

/*
 * Curves are built anew when it is time, from those that wait now too. A bit at each request, since the store's lock is held: who comes back meanwhile counts as both.
 */
static void learn(struct kvi_index *index, uint64_t now_ns)
{
  uint32_t places = kvi_branches_places(index->branches), clients = LEARNED_CLIENTS;

  if (index->learning == KVI_BRANCH_NONE) {
    if (!kvi_classes_is_due(index->classes, kvi_branches_count(index->branches)))
      return;
    index->learning = 0;
  }
  for (uint32_t i = 0; i < LEARNED_BRANCHES && index->learning < places; i++, index->learning++) {
    if (!kvi_branches_is_used(index->branches, index->learning))
      continue;
    if (clients > 0 && is_overdue_of_new(kvi_branch(index->branches, index->learning), now_ns)) {
      struct kvi_class_wait *wait = &kvi_branch(index->branches, index->learning)->wait;

      wait->client = kvi_classes_overdue(index->classes, wait);
      clients--;
    }
    kvi_index_observe(index, kvi_branch(index->branches, index->learning), kvi_classes_lasting, now_ns);
  }
  if (index->learning >= places && kvi_classes_build(index->classes, LEARNED_CURVES))
    index->learning = KVI_BRANCH_NONE;
}

/* ---- the ops ---- */

static void index_destroy(struct kvi_policy *policy)
{
  if (!policy)
    return;
  kvi_index_uses_end(kvi_index_of(policy));
  kvi_index_memory_end(kvi_index_of(policy));
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
  if (status == KVS_OK)
    status = kvi_index_memory_start(kvi_index_of(policy), branches);
  if (status == KVS_OK)
    status = kvi_index_uses_start(kvi_index_of(policy), capacity);
  if (status != KVS_OK) {
    index_destroy(policy);
    return status;
  }
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
         kvi_branches_memory(index->branches) + kvi_index_uses_memory(index) +
         (uint64_t)index->memory.branches * (sizeof(*index->memory.warm) + sizeof(*index->memory.rings) +
                                             sizeof(*index->memory.ahead.branches)) +
         KVI_POLICY_TENANTS_MAX * sizeof(*index->memory.own);
}

static void index_insert(struct kvi_policy *policy, uint32_t handle, const struct kvi_policy_chunk *chunk,
                         uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  double over;

  index->n_resident++;
  over = index->n_resident < BYTES_OVER ? (double)index->n_resident : BYTES_OVER;
  index->chunk_bytes = fmax(index->chunk_bytes + ((double)chunk->bytes - index->chunk_bytes) / over, 1);
  kvi_forest_insert(policy, handle, chunk, now_ns);
  kvi_shadow_here(&index->shadow, handle, chunk->name);
}

/* What was left and is used again is not left any more. */
static void index_touch(struct kvi_policy *policy, uint32_t chunk, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);

  kvi_forest_touch(policy, chunk, now_ns);
  kvi_forest_mark(policy, chunk, false);
  if (index->users[chunk] == KVI_INDEX_ENDED)
    index->users[chunk] = 0;
}

/* What was left goes from its end on: the chunk before it is left too, if nobody waits there. */
static uint32_t index_remove(struct kvi_policy *policy, uint32_t chunk)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t parent = kvi_forest_parent(policy, chunk), freed;
  bool left = kvi_forest_is_marked(policy, chunk), ended = kvi_forest_is_ended(policy, chunk);

  index->n_resident -= kvi_forest_is_resident(policy, chunk);
  kvi_index_memory_gone(index, chunk); /* it asks whose it was */
  kvi_index_uses_gone(index, chunk);
  kvi_index_leaf_gone(index, chunk);
  shorten(index, chunk, policy->latest_ns);
  freed = kvi_forest_remove(policy, chunk);
  if (left)
    kvi_index_left(index, parent, false);
  if (ended)
    kvi_index_closed(index, parent);
  return freed;
}

static void index_move(struct kvi_policy *policy, uint32_t chunk, enum kvi_policy_group group)
{
  kvi_forest_move(policy, chunk, group);
  kvi_index_memory_moved(kvi_index_of(policy), chunk);
}

/* What chunks are worth of which nobody has said anything. */
static void value_learn(struct kvi_index *index, const struct kvi_branch *branch)
{
  double value = kvi_index_branch_cost(NULL, branch, 0, 1) / branch->chunk_bytes;

  index->first_value += (value - index->first_value) / (index->first_value == 0 ? 1 : VALUE_OVER);
}

/* A wait begins, for what is not known. */
static void begin(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_branch *own;

  branch_set(index, branch, use);
  kvi_branches_use(index->branches, branch);
  own = kvi_branch(index->branches, branch);
  own->used_ns = own->seen_ns = own->begins_ns = now_ns;
  own->wait = kvi_index_request(own->program);
  own->answered = own->grown = false;
  own->weight = 1;
  own->ttl_s = own->until_s = 0;
  own->n_weighed = own->n_timed = 0;
  kvi_index_used(index, branch, true, now_ns);
  value_learn(index, own);
  learn(index, now_ns);
}

static void go_on(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_policy_use more = *use;
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  uint32_t whole = own->n_whole;

  more.n_whole = use->n_whole > whole ? use->n_whole : whole;
  branch_set(index, branch, &more);
  kvi_index_used(index, branch, false, now_ns);
  own->grown |= own->answered && now_ns >= own->seen_ns + KVI_INDEX_REPEATED_NS;
  own->seen_ns = now_ns;
  if (more.n_whole == whole)
    return;
  kvi_branches_use(index->branches, branch);
}

static void come_back(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use,
                      uint64_t now_ns)
{
  kvi_index_observe(index, kvi_branch(index->branches, branch), kvi_classes_back, now_ns);
  heard(kvi_branch(index->branches, branch), now_ns);
  kvi_index_branch_name(index, branch, use->program, now_ns);
  begin(index, branch, use, now_ns);
}

static void index_arrive(struct kvi_policy *policy, const struct kvi_policy_use *told, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  struct kvi_policy_use use = *told;
  uint32_t branch, depth;

  if (use.last != KVI_POLICY_NONE) { /* behind a hole it is shorter than it says */
    depth = kvi_forest_depth(policy, use.last, DEPTH_MOST);
    use.n_chunks = depth < use.n_chunks ? depth : use.n_chunks;
  }
  branch = kvi_continued(policy, index->branches, &use);
  if (branch == KVI_BRANCH_NONE && use.program == 0 && use.last == KVI_POLICY_NONE)
    return; /* nothing to know it by */
  if (branch == KVI_BRANCH_NONE) {
    begin(index, branch_new(index, &use, now_ns), &use, now_ns);
  } else if (is_repeated(kvi_branch(index->branches, branch), &use, now_ns)) {
    heard(kvi_branch(index->branches, branch), now_ns);
    kvi_index_branch_name(index, branch, use.program, now_ns);
    go_on(index, branch, &use, now_ns);
  } else {
    come_back(index, branch, &use, now_ns);
  }
}

/* A branch that grows long after anything was heard of it, and had stored all of its prompt: its client does not look up, and is back. */
static bool is_back_by_growing(const struct kvi_branch *branch, uint64_t now_ns)
{
  bool is_storing = !branch->answered && branch->n_chunks < branch->n_whole;

  return !is_storing && now_ns >= branch->seen_ns + SAME_NS;
}

uint32_t kvi_index_storing(const struct kvi_index *index, const struct kvi_policy_use *use, uint64_t now_ns)
{
  bool is_whole;
  uint32_t branch = use->last == KVI_POLICY_NONE
                        ? KVI_BRANCH_NONE
                        : kvi_extended(&index->forest, index->branches, use, &is_whole);

  if (branch == KVI_BRANCH_NONE || is_back_by_growing(kvi_branch(index->branches, branch), now_ns))
    return KVI_BRANCH_NONE;
  return branch;
}

static void index_extend(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  bool is_whole;
  uint32_t branch = kvi_extended(policy, index->branches, use, &is_whole);

  if (branch != KVI_BRANCH_NONE && is_back_by_growing(kvi_branch(index->branches, branch), now_ns))
    come_back(index, branch, use, now_ns);
  else if (branch != KVI_BRANCH_NONE)
    go_on(index, branch, use, now_ns);
  else if (is_whole && use->last != KVI_POLICY_NONE &&
           !kvi_forest_has_children(policy,
                                    use->last)) /* else what is behind it came before, and has a branch */
    begin(index, branch = branch_new(index, use, now_ns), use, now_ns);
  if (branch != KVI_BRANCH_NONE && use->again_s > 0 && !kvi_branch(index->branches, branch)->answered)
    kvi_branch(index->branches, branch)->again_s = use->again_s;
}

static void index_share(struct kvi_policy *policy, uint32_t tenant, double factor)
{
  struct kvi_index *index = kvi_index_of(policy);

  if (tenant >= KVI_POLICY_TENANTS_MAX || !(factor > 0 && factor <= 1))
    return;
  index->shares[tenant] = (float)factor;
  if (index->shares[tenant] < index->shares[index->greediest])
    index->greediest = tenant;
  if (index->greediest != tenant)
    return;
  for (uint32_t i = 0; i < KVI_POLICY_TENANTS_MAX; i++)
    if (index->shares[i] < index->shares[index->greediest])
      index->greediest = i;
}

const struct kvi_policy_ops kvi_policy_index = {
    .name = "index",
    .create = index_create,
    .destroy = index_destroy,
    .memory = index_memory,
    .insert = index_insert,
    .link = kvi_forest_link,
    .touch = index_touch,
    .hold = kvi_forest_hold,
    .unhold = kvi_forest_unhold,
    .remove = index_remove,
    .evicted = kvi_index_evicted,
    .move = index_move,
    .victim = kvi_index_victim,
    .info = kvi_index_info,
    .arrive = index_arrive,
    .extend = index_extend,
    .claim = kvi_index_claim,
    .wait = kvi_index_wait,
    .admits = kvi_index_admits,
    .share = index_share,
    .close = kvi_index_close,
    .waiters = kvi_index_waiters,
    .waiter = kvi_index_waiter,
    .demotion = kvi_index_demotion,
    .promotion = kvi_index_promotion,
    .own_demotion = kvi_index_own_demotion,
    .own_paid = kvi_index_own_paid,
    .own_price = kvi_index_own_price,
    .memory_told = kvi_index_memory_told,
    .tier_price = kvi_index_tier_price,
    .tier_worth = kvi_index_tier_worth,
    .goes_by_price = kvi_index_goes_by_price,
    .keep = kvi_index_keep,
    .learned = kvi_index_learned,
    .learn = kvi_index_learn,
    .restore = kvi_index_restore,
    .room = kvi_index_room,
    .relearn = kvi_index_relearn,
};
