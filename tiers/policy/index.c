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
#define REPEATED_NS                                                                                          \
  KVI_NS_PER_S /* requests of a branch that are closer together are one, unless the first was answered; */
#define SAME_NS                                                                                              \
  (60 *                                                                                                      \
   KVI_NS_PER_S) /* and so are those for the very same chunks, since engines ask again until they have room */
#define DEPTH_MOST       (1u << 16)
#define LEARNED_BRANCHES 512u /* at a request, */
#define BYTES_OVER       1024 /* chunks that count for their mean size */
#define VALUE_OVER       64   /* requests that count for the mean worth of a chunk */
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
      give_up(index, branch, false, now_ns);
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
    give_up(index, oldest, false, now_ns);
}

static uint32_t branch_new(struct kvi_index *index, const struct kvi_policy_use *use, uint64_t now_ns)
{
  uint32_t branch;

  make_room(index, use->program, use->space, now_ns);
  if (kvi_branches_is_full(index->branches))
    give_up(index, kvi_branches_oldest(index->branches), false, now_ns);
  branch = kvi_branches_add(index->branches, use->program, use->last);
  kvi_branch(index->branches, branch)->weight = 1;
  kvi_branch(index->branches, branch)->space = use->space;
  kvi_branch(index->branches, branch)->again_s = 0;
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

/* Its program was not known when it came, and is now. */
static void branch_name(struct kvi_index *index, uint32_t branch, uint64_t program, uint64_t now_ns)
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
  return now_ns < branch->seen_ns + REPEATED_NS ||
         (now_ns < branch->seen_ns + SAME_NS && use->last == branch->last && use->n_whole == branch->n_whole);
}

/* Anything is heard of a request. Of one that was not stored when it came first it is known how often it comes, also where it is the same request for all others. */
static void heard(struct kvi_branch *branch, uint64_t now_ns)
{
  if (branch->again_s > 0 && now_ns >= branch->seen_ns + REPEATED_NS)
    branch->again_s = (float)kvi_index_seconds(branch->seen_ns, now_ns);
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
  kvi_shadow_end(&kvi_index_of(policy)->memory.shadow);
  kvi_shadow_end(&kvi_index_of(policy)->shadow);
  kvi_index_memory_end(kvi_index_of(policy));
  kvi_branches_destroy(kvi_index_of(policy)->branches);
  kvi_classes_destroy(kvi_index_of(policy)->classes);
  kvi_forest_destroy(policy);
}

/* What is lost counts for a tenant as far as what it keeps does. */
static double shadow_cost(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  const struct kvi_index *index = ctx;

  return (double)index->shares[branch->tenant] * kvi_index_branch_cost(index, branch, from, to);
}

static double shadow_memory_cost(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  const struct kvi_index *index = ctx;

  return (double)index->shares[branch->tenant] * kvi_index_memory_cost(index, branch, from, to);
}

static double unknown_rate(const void *ctx, uint64_t used_ns, uint64_t now_ns)
{
  return kvi_index_unknown_rate(ctx, used_ns, now_ns);
}

static kvs_status shadows_start(struct kvi_index *index, uint32_t capacity)
{
  kvs_status status;

  index->shadow.branches = index->memory.shadow.branches = index->branches;
  index->shadow.worth = (struct kvi_shadow_worth){
      .price = kvi_index_branch_price, .cost = shadow_cost, .unknown = unknown_rate, .ctx = index};
  index->memory.shadow.worth = (struct kvi_shadow_worth){
      .price = kvi_index_memory_price, .cost = shadow_memory_cost, .unknown = unknown_rate, .ctx = index};
  index->memory.shadow.below = true;
  status = kvi_shadow_start(&index->shadow, capacity);
  return status == KVS_OK ? kvi_shadow_start(&index->memory.shadow, capacity) : status;
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
    status = kvi_index_memory_start(kvi_index_of(policy), capacity, branches);
  if (status == KVS_OK)
    status = shadows_start(kvi_index_of(policy), capacity);
  if (status != KVS_OK) {
    index_destroy(policy);
    return status;
  }
  kvi_index_of(policy)->learning = KVI_BRANCH_NONE;
  kvi_index_of(policy)->victims[0] = kvi_index_of(policy)->victims[1] = KVI_POLICY_NONE;
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
         kvi_branches_memory(index->branches) + (uint64_t)policy->capacity * sizeof(*index->memory.users) +
         (uint64_t)index->memory.branches * (sizeof(*index->memory.warm) + sizeof(*index->memory.rings) +
                                             sizeof(*index->memory.ahead.branches)) +
         KVI_POLICY_TENANTS_MAX * sizeof(*index->memory.own) + kvi_shadow_memory(&index->shadow) +
         kvi_shadow_memory(&index->memory.shadow);
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
  if (index->memory.users[chunk] == KVI_INDEX_ENDED)
    index->memory.users[chunk] = 0;
}

/* What was left goes from its end on: the chunk before it is left too, if nobody waits there. */
static uint32_t index_remove(struct kvi_policy *policy, uint32_t chunk)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t parent = kvi_forest_parent(policy, chunk), freed;
  bool left = kvi_forest_is_marked(policy, chunk), ended = kvi_forest_is_ended(policy, chunk);

  index->n_resident -= kvi_forest_is_resident(policy, chunk);
  if (chunk == index->victims[KVI_POLICY_MEMORY] || chunk == index->victims[KVI_POLICY_MEDIUM])
    kvi_shadow_lost(&index->shadow, chunk);
  else
    kvi_shadow_gone(&index->shadow, chunk);
  kvi_shadow_gone(&index->memory.shadow, chunk);
  kvi_index_memory_gone(index, chunk);
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

static void shadows_used(struct kvi_index *index, const struct kvi_shadow_use *below, uint64_t now_ns)
{
  struct kvi_shadow_use use = *below;

  if (index->memory.chunks > 0)
    kvi_shadow_used(&index->memory.shadow, below, now_ns);
  use.known = use.missed = false; /* it knows that by its names */
  kvi_shadow_used(&index->shadow, &use, now_ns);
}

/* It uses all its chunks; or, if it is the same request still, those that are new to it. */
static void chunks_used(struct kvi_index *index, uint32_t branch, bool all, uint64_t now_ns)
{
  uint32_t *users = index->memory.users, tag = kvi_branches_tag(index->branches, branch);
  uint32_t n = kvi_branch(index->branches, branch)->n_chunks;

  if (all) {
    kvi_shadow_request(&index->shadow, branch, now_ns);
    kvi_shadow_request(&index->memory.shadow, branch, now_ns);
  }
  for (uint32_t chunk = kvi_branch(index->branches, branch)->last;
       n > 0 && chunk != KVI_POLICY_NONE && (all || users[chunk] != tag);
       chunk = kvi_forest_parent(&index->forest, chunk), n--) {
    const struct kvi_shadow_use use = {.branch = branch,
                                       .handle = chunk,
                                       .n = n,
                                       .known = users[chunk] != 0,
                                       .missed = index->forest.nodes[chunk].group == KVI_POLICY_MEDIUM};

    users[chunk] = tag;
    shadows_used(index, &use, now_ns);
  }
  kvi_index_memory_used(index, branch);
}

/* A wait begins, for what is not known. */
static void begin(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_branch *own;

  branch_set(index, branch, use);
  kvi_branches_use(index->branches, branch);
  own = kvi_branch(index->branches, branch);
  own->used_ns = own->seen_ns = own->begins_ns = now_ns;
  chunks_used(index, branch, true, now_ns);
  own->wait = kvi_index_request(own->program);
  own->answered = false;
  own->weight = 1;
  own->ttl_s = 0;
  value_learn(index, own);
  learn(index, now_ns);
}

static void go_on(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct kvi_policy_use more = *use;
  uint32_t whole = kvi_branch(index->branches, branch)->n_whole;

  more.n_whole = use->n_whole > whole ? use->n_whole : whole;
  branch_set(index, branch, &more);
  chunks_used(index, branch, false, now_ns);
  kvi_branch(index->branches, branch)->seen_ns = now_ns;
  if (more.n_whole == whole)
    return;
  kvi_branches_use(index->branches, branch);
}

static void come_back(struct kvi_index *index, uint32_t branch, const struct kvi_policy_use *use,
                      uint64_t now_ns)
{
  observe(index, kvi_branch(index->branches, branch), kvi_classes_back, now_ns);
  heard(kvi_branch(index->branches, branch), now_ns);
  branch_name(index, branch, use->program, now_ns);
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
    branch_name(index, branch, use.program, now_ns);
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
  if (branch != KVI_BRANCH_NONE && use->again_s > 0)
    kvi_branch(index->branches, branch)->again_s = use->again_s;
}

/* What is no time, or one that no curve tells from now or never, counts as not said. */
static struct kvi_class_wait class_wait(struct kvi_index *index, const struct kvi_policy_wait *wait)
{
  bool is_said = wait->announced_s >= SAID_LEAST_S && wait->announced_s <= SAID_MOST_S;

  return (struct kvi_class_wait){.class = kvi_classes_of(index->classes, wait->kind, wait->tool),
                                 .source = wait->source,
                                 .announced_s = is_said ? wait->announced_s : 0};
}

/* A branch of the program is the same as one whose request came at that time without its name: it was back then. */
static void join(struct kvi_index *index, uint32_t branch, uint64_t came_ns)
{
  observe(index, kvi_branch(index->branches, branch), kvi_classes_back, came_ns);
  give_up(index, branch, true, came_ns);
}

/* One of the program in this space of which nothing is left, no longer than this one. */
static uint32_t evicted_of(const struct kvi_index *index, const struct kvi_policy_use *use)
{
  uint32_t branch = kvi_branches_of(index->branches, use->program);

  while (branch != KVI_BRANCH_NONE) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);

    if (own->last == KVI_POLICY_NONE && own->space == use->space && own->n_whole <= use->n_whole)
      return branch;
    branch = kvi_branches_next_of(index->branches, branch);
  }
  return KVI_BRANCH_NONE;
}

/*
 * The branch at this chunk that is the program's. If its request came without a name, and was not known to be the program's, since little or nothing was left of that, it is one with what was left.
 */
static uint32_t branch_claim(struct kvi_index *index, const struct kvi_policy_use *use, uint64_t now_ns)
{
  uint32_t branch = kvi_continued(&index->forest, index->branches, use),
           unnamed = kvi_continued_unnamed(index->branches, use->last), evicted;

  if (unnamed == KVI_BRANCH_NONE || unnamed == branch || branch == KVI_BRANCH_NONE ||
      kvi_branch(index->branches, branch)->last == use->last)
    unnamed = branch == KVI_BRANCH_NONE ? unnamed : branch;
  else
    join(index, branch, kvi_branch(index->branches, unnamed)->used_ns);
  if (unnamed == KVI_BRANCH_NONE)
    return KVI_BRANCH_NONE;
  evicted = kvi_branch(index->branches, unnamed)->program == 0 ? evicted_of(index, use) : KVI_BRANCH_NONE;
  if (evicted != KVI_BRANCH_NONE && evicted != unnamed)
    join(index, evicted, kvi_branch(index->branches, unnamed)->used_ns);
  branch_name(index, unnamed, use->program, now_ns);
  return unnamed;
}

static bool index_claim(struct kvi_policy *policy, uint64_t program, uint32_t handle, uint32_t n,
                        uint32_t space)
{
  struct kvi_index *index = kvi_index_of(policy);
  const struct kvi_policy_use use = {
      .program = program, .last = handle, .n_chunks = n, .n_whole = n, .space = space};
  uint32_t branch = branch_claim(index, &use, policy->latest_ns);

  return branch != KVI_BRANCH_NONE && kvi_branch(index->branches, branch)->last == handle;
}

static void wait_begin(struct kvi_index *index, uint32_t branch, const struct kvi_policy_wait *wait,
                       uint64_t now_ns)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);

  if (own->answered && now_ns >= own->begins_ns + REPEATED_NS) /* it was back, and nobody has said so */
    observe(index, own, kvi_classes_back, now_ns);
  own->begins_ns = own->seen_ns = now_ns;
  own->wait = class_wait(index, wait);
  own->answered = true;
  own->again_s = 0; /* this says more */
  if ((wait->priority > 0 || wait->has_priority) && wait->priority <= PRIORITY_MOST)
    own->weight = exp2f(((float)wait->priority - 50) / 25);
  if (wait->ttl_s > 0 && wait->ttl_s <= SAID_MOST_S)
    own->ttl_s = (float)wait->ttl_s;
  kvi_index_ahead_may(index, branch);
}

/* A request looks up all its spaces at once: in each, what it used last. (Of two spaces whose numbers are alike below 64 one may be passed over.) */
static bool wait_of_last_request(struct kvi_index *index, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  uint32_t branch = kvi_branches_of(index->branches, wait->program);
  uint64_t used_ns, spaces = 0;

  if (branch == KVI_BRANCH_NONE)
    return false;
  used_ns = kvi_branch(index->branches, branch)->used_ns;
  for (; branch != KVI_BRANCH_NONE; branch = kvi_branches_next_of(index->branches, branch)) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);
    uint64_t space = UINT64_C(1) << own->space % 64;

    if (own->used_ns + REPEATED_NS > used_ns && !(spaces & space))
      wait_begin(index, branch, wait, now_ns);
    spaces |= space;
  }
  return true;
}

static bool index_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  const struct kvi_policy_use use = {.program = wait->program,
                                     .last = wait->last,
                                     .n_chunks = wait->n_chunks,
                                     .n_whole = wait->n_chunks,
                                     .space = wait->space};
  uint32_t branch;

  if (wait->last == KVI_POLICY_NONE)
    return wait_of_last_request(index, wait, now_ns);
  branch = branch_claim(index, &use, now_ns);
  if (branch == KVI_BRANCH_NONE)
    return false;
  wait_begin(index, branch, wait, now_ns);
  return true;
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

static bool index_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t branch = kvi_branches_of(index->branches, program);
  bool known = branch != KVI_BRANCH_NONE;

  for (; branch != KVI_BRANCH_NONE; branch = kvi_branches_of(index->branches, program)) {
    uint32_t last = kvi_branch(index->branches, branch)->last;

    give_up(index, branch, true, now_ns);
    kvi_index_closed(index, last);
  }
  return known;
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
    .move = index_move,
    .victim = kvi_index_victim,
    .info = kvi_index_info,
    .arrive = index_arrive,
    .extend = index_extend,
    .claim = index_claim,
    .wait = index_wait,
    .admits = kvi_index_admits,
    .share = index_share,
    .close = index_close,
    .waiters = kvi_index_waiters,
    .waiter = kvi_index_waiter,
    .demotion = kvi_index_demotion,
    .promotion = kvi_index_promotion,
    .own_demotion = kvi_index_own_demotion,
    .own_paid = kvi_index_own_paid,
    .own_price = kvi_index_own_price,
    .memory_told = kvi_index_memory_told,
    .tier_price = kvi_index_tier_price,
    .goes_by_price = kvi_index_goes_by_price,
    .keep = kvi_index_keep,
    .learned = kvi_index_learned,
    .learn = kvi_index_learn,
    .restore = kvi_index_restore,
    .room = kvi_index_room,
    .relearn = kvi_index_relearn,
};
