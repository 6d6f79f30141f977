/*
 * tiers/policy/index_told.c: what is told of programs: that a chain is theirs, what they wait for and for how long, how much it matters, and that they have ended.
 */
#include <math.h>

#include "base/clock.h"
#include "tiers/policy/continued.h"
#include "tiers/policy/index_private.h"

#define PRIORITY_MOST 100u
#define SAID_LEAST_S  0.05
#define SAID_MOST_S   1e6
#define LATER_MOST    1.25 /* of what was announced: said again that late it is the same still */

/* What is no time, or one that no curve tells from now or never, counts as not said. */
static struct kvi_class_wait class_wait(struct kvi_index *index, const struct kvi_policy_wait *wait)
{
  bool is_said = wait->announced_s >= SAID_LEAST_S && wait->announced_s <= SAID_MOST_S;

  return (struct kvi_class_wait){
      .class = kvi_classes_of(index->classes, wait->kind, wait->tool),
      .source = wait->source,
      .client =
          is_said && wait->client != 0 ? kvi_classes_client(index->classes, wait->source, wait->client) : 0,
      .announced_s = is_said ? (float)wait->announced_s : 0};
}

/* A branch of the program is the same as one whose request came at that time without its name: it was back then. */
static void join(struct kvi_index *index, uint32_t branch, uint64_t came_ns)
{
  kvi_index_observe(index, kvi_branch(index->branches, branch), kvi_classes_back, came_ns);
  kvi_index_give_up(index, branch, true, came_ns);
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
  kvi_index_branch_name(index, unnamed, use->program, now_ns);
  return unnamed;
}

bool kvi_index_claim(struct kvi_policy *policy, uint64_t program, uint32_t handle, uint32_t n, uint32_t space)
{
  struct kvi_index *index = kvi_index_of(policy);
  const struct kvi_policy_use use = {
      .program = program, .last = handle, .n_chunks = n, .n_whole = n, .space = space};
  uint32_t branch = branch_claim(index, &use, policy->latest_ns);

  return branch != KVI_BRANCH_NONE && kvi_branch(index->branches, branch)->last == handle;
}

/* Chunks of so many tokens, the last one whole: what is in it is of use with all of it only. 0: all. */
static uint32_t chunks_of(const struct kvi_branch *branch, uint32_t tokens)
{
  double n = ceil((double)tokens / (double)branch->chunk_tokens);

  return n < (double)UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void wait_keeps(struct kvi_branch *own, const struct kvi_policy_wait *wait)
{
  uint32_t range = chunks_of(own, wait->range_tokens);

  if ((wait->priority > 0 || wait->has_priority) && wait->priority <= PRIORITY_MOST) {
    own->weight = exp2f(((float)wait->priority - 50) / 25);
    own->n_weighed = range;
  }
  if (wait->ttl_s > 0 && wait->ttl_s <= SAID_MOST_S) {
    own->ttl_s = (float)wait->ttl_s;
    own->n_timed = range;
  }
}

/*
 * A hint again, and no request since: it is still away. What was announced stands, or is sooner; if it is over, or would be later than it was by more than a little, it was not kept. (Else whoever says the same again, in time, would be about to be back for ever.) Another client's word takes its place, at the cost
 * of the source alone: else one could spoil the other's record, or unsay for nothing what it has said. Does it stand?
 */
static bool promise_stands(struct kvi_index *index, const struct kvi_branch *own, struct kvi_class_wait *said,
                           double age_s)
{
  struct kvi_class_wait promised = own->wait;
  double announced_s = (double)promised.announced_s;
  bool is_over = age_s > announced_s,
       is_another = said->announced_s > 0 && promised.client != 0 &&
                    !kvi_classes_is_same_client(index->classes, said->client, promised.client);

  if (announced_s <= 0)
    return false;
  if (is_over || is_another || age_s + (double)said->announced_s > LATER_MOST * announced_s) {
    promised.client = is_over || !is_another ? promised.client : 0;
    kvi_classes_unkept(index->classes, &promised, fmax(age_s, announced_s));
    return false;
  }
  said->source = promised.source;
  said->client = promised.client;
  said->announced_s = said->announced_s > 0 ? fminf(promised.announced_s, said->announced_s + (float)age_s)
                                            : promised.announced_s;
  return true;
}

/* A hint of one that waits already: does it wait on? Within a second it is the same hint, said better. If something was stored since, it was back, and nobody has said so; and if it is for something else now that is another wait. */
static bool waits_on(struct kvi_index *index, struct kvi_branch *own, struct kvi_class_wait *said,
                     uint64_t now_ns)
{
  struct kvi_class_wait silent = own->wait;
  double age_s = kvi_index_seconds(own->begins_ns, now_ns);

  if (own->grown) {
    kvi_index_observe(index, own, kvi_classes_back, own->seen_ns);
    return false;
  }
  if (now_ns < own->begins_ns + KVI_INDEX_REPEATED_NS &&
      (silent.announced_s <= 0 || (said->announced_s > 0 && age_s <= (double)silent.announced_s)))
    return true;
  if (promise_stands(index, own, said, age_s))
    return true;
  if (said->class == own->wait.class) {
    if (said->announced_s > 0)
      said->announced_s = (float)fmin((double)said->announced_s + age_s, SAID_MOST_S);
    return true;
  }
  silent.announced_s = 0;
  kvi_classes_away(index->classes, &silent, age_s);
  return false;
}

static void wait_begin(struct kvi_index *index, uint32_t branch, const struct kvi_policy_wait *wait,
                       uint64_t now_ns)
{
  struct kvi_branch *own = kvi_branch(index->branches, branch);
  struct kvi_class_wait said = class_wait(index, wait);

  if (!own->answered || !waits_on(index, own, &said, now_ns))
    own->begins_ns = now_ns;
  own->seen_ns = now_ns;
  own->wait = said;
  own->answered = true;
  own->grown = false;
  own->again_s = 0; /* this says more */
  wait_keeps(own, wait);
  own->until_s = wait->most_s > 0 && wait->most_s <= SAID_MOST_S ? (float)wait->most_s : 0;
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

    if (own->used_ns + KVI_INDEX_REPEATED_NS > used_ns && !(spaces & space))
      wait_begin(index, branch, wait, now_ns);
    spaces |= space;
  }
  return true;
}

bool kvi_index_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns)
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

/* It is told that it has ended, so how long it waited says nothing of others; but one that has announced less was not back. */
static void ends(struct kvi_index *index, const struct kvi_branch *own, uint64_t now_ns)
{
  double age_s = kvi_index_seconds(own->begins_ns, now_ns);

  if (own->wait.announced_s > 0 && age_s > (double)own->wait.announced_s && !own->grown)
    kvi_classes_unkept(index->classes, &own->wait, age_s);
}

bool kvi_index_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t branch = kvi_branches_of(index->branches, program);
  bool known = branch != KVI_BRANCH_NONE;

  for (; branch != KVI_BRANCH_NONE; branch = kvi_branches_of(index->branches, program)) {
    uint32_t last = kvi_branch(index->branches, branch)->last;

    ends(index, kvi_branch(index->branches, branch), now_ns);
    kvi_index_give_up(index, branch, true, now_ns);
    kvi_index_closed(index, last);
  }
  return known;
}
