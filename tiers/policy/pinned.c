/*
 * tiers/policy/pinned.c: orders that pin a program's chain for a time after its answer: 2 s (fixed-ttl), or what Continuum's formula gives (continuum.h).
 *
 * A pinned chunk counts as used at the end of its pin, else the least recently used leaf goes. So what is pinned goes when nothing else is left, the pin that ends first before others; and one whose pin is over is as old as that, as in an engine that
 * gives a request's memory back then. Pins are soft: to hold memory for good is what leases are for.
 *
 * A program is back when its name comes with a request. Who gives it only with the answers is back when somebody without a name came for its chain since the last one: that counts at the next answer, since it was a program's own request only if that is answered.
 *
 * Nobody waits for admission here, so the formula's T is 0. Tools have times of their own as long as there is room for them; without a tool's name the kind of wait stands for it. Who says nothing is not pinned.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tiers/policy/branches.h"
#include "tiers/policy/continued.h"
#include "tiers/policy/continuum.h"
#include "tiers/policy/heap.h"
#include "tiers/policy/prefill.h"

#define FIXED_S       2.0
#define PROGRAMS_PART 8u /* one for so many chunks */
#define PROGRAMS_MIN  1024u
#define TIME_LAST     ((UINT64_C(1) << 48) - 2)
#define TOKENS_MOST   (1u << 21) /* of a chain: who claims more gains nothing by it */
#define DEPTH_MOST    8192u      /* chunks of a chain that are looked at */
/* Engines ask again until they have room: within it the first one counts. */
#define REPEATED_NS (60 * KVI_NS_PER_S)

static_assert(KVI_WAIT_KINDS < KVI_CONTINUUM_TOOLS, "a kind of wait stands for a tool");

struct pinned {
  struct kvi_heap heap; /* first */
  struct kvi_branches *programs;
  struct kvi_continuum *continuum;     /* NULL: fixed */
  uint64_t tools[KVI_CONTINUUM_TOOLS]; /* whose number it is; those of kinds of waits are 0 */
  uint32_t n_tools;
  struct kvi_word48 *until; /* by chunk, in ticks; 0: never pinned */
};

static struct pinned *pinned_of(struct kvi_policy *policy)
{
  return (struct pinned *)policy;
}

static struct kvi_heap_key pinned_key(const struct kvi_policy *policy, uint32_t chunk)
{
  uint64_t until = kvi_word48_get(&((const struct pinned *)policy)->until[chunk]),
           used = kvi_word48_get(&policy->nodes[chunk].last_use);

  return (struct kvi_heap_key){.time = used > until ? used : until};
}

/* ---- life ---- */

static void pinned_destroy(struct kvi_policy *policy)
{
  if (policy) {
    kvi_branches_destroy(pinned_of(policy)->programs);
    kvi_continuum_destroy(pinned_of(policy)->continuum);
    free(pinned_of(policy)->until);
  }
  kvi_heap_destroy(policy);
}

static kvs_status create(uint32_t capacity, bool is_fixed, struct kvi_policy **policy_p)
{
  uint32_t programs = capacity / PROGRAMS_PART > PROGRAMS_MIN ? capacity / PROGRAMS_PART : PROGRAMS_MIN;
  kvs_status status = kvi_heap_create(sizeof(struct pinned), capacity, false, pinned_key, policy_p);
  struct pinned *pinned;

  if (status != KVS_OK)
    return status;
  pinned = pinned_of(*policy_p);
  pinned->n_tools = KVI_WAIT_KINDS;
  pinned->until = calloc(capacity, sizeof(*pinned->until));
  status = pinned->until ? kvi_branches_create(programs, &pinned->programs) : KVS_ERR_NOMEM;
  if (status == KVS_OK && !is_fixed)
    status = kvi_continuum_create(&pinned->continuum);
  if (status == KVS_OK)
    return KVS_OK;
  pinned_destroy(*policy_p);
  *policy_p = NULL;
  return status;
}

static kvs_status fixed_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  return create(capacity, true, policy_p);
}

static kvs_status continuum_create(uint32_t capacity, struct kvi_policy **policy_p)
{
  return create(capacity, false, policy_p);
}

static uint64_t pinned_memory(const struct kvi_policy *policy)
{
  const struct pinned *pinned = (const struct pinned *)policy;

  return kvi_heap_memory(policy) + sizeof(*pinned) - sizeof(pinned->heap) +
         (uint64_t)policy->capacity * sizeof(*pinned->until) + kvi_branches_memory(pinned->programs) +
         (pinned->continuum ? kvi_continuum_memory() : 0);
}

/* ---- programs: one branch in each space, where it waits or waited last ---- */

static uint32_t program_find(const struct pinned *pinned, uint64_t program, uint32_t space)
{
  uint32_t branch = kvi_branches_of(pinned->programs, program);

  while (branch != KVI_BRANCH_NONE && kvi_branch(pinned->programs, branch)->space != space)
    branch = kvi_branches_next_of(pinned->programs, branch);
  return branch;
}

static uint32_t program_new(struct pinned *pinned, uint64_t program, uint32_t space)
{
  uint32_t branch;

  if (kvi_branches_is_full(pinned->programs))
    kvi_branches_remove(pinned->programs, kvi_branches_oldest(pinned->programs));
  branch = kvi_branches_add(pinned->programs, program, KVI_POLICY_NONE);
  kvi_branch(pinned->programs, branch)->space = space;
  return branch;
}

static void program_set(struct pinned *pinned, uint32_t branch, const struct kvi_policy_use *use)
{
  struct kvi_branch *own = kvi_branch(pinned->programs, branch);

  kvi_branches_move(pinned->programs, branch, use->last);
  own->n_chunks = use->last == KVI_POLICY_NONE ? 0 : use->n_chunks;
  own->n_whole = use->n_whole;
  own->chunk_tokens = use->chunk_tokens;
  own->cost = use->cost;
}

/* Whoever waits there waits at the chunk before. */
static void shorten(struct pinned *pinned, uint32_t chunk)
{
  uint32_t parent = kvi_forest_parent(&pinned->heap.forest, chunk), branch;

  while ((branch = kvi_branches_at(pinned->programs, chunk)) != KVI_BRANCH_NONE) {
    struct kvi_branch *own = kvi_branch(pinned->programs, branch);

    own->n_chunks = parent == KVI_POLICY_NONE ? 0 : own->n_chunks - (own->n_chunks > 0);
    kvi_branches_move(pinned->programs, branch, parent);
  }
}

/* KVI_CONTINUUM_TOOLS: there is no room for its times. */
static uint32_t tool_of(struct pinned *pinned, const struct kvi_policy_wait *wait)
{
  uint32_t tool = KVI_WAIT_KINDS;

  if (wait->tool == 0)
    return wait->kind < KVI_WAIT_KINDS ? wait->kind : KVI_WAIT_UNKNOWN;
  while (tool < pinned->n_tools && pinned->tools[tool] != wait->tool)
    tool++;
  if (tool == pinned->n_tools && tool < KVI_CONTINUUM_TOOLS)
    pinned->tools[pinned->n_tools++] = wait->tool;
  return tool;
}

/* ---- pins ---- */

static uint64_t tick_of(const struct kvi_policy *policy, uint64_t at_ns)
{
  uint64_t tick = at_ns > policy->epoch_ns ? ((at_ns - policy->epoch_ns) >> KVI_FOREST_TICK_SHIFT) + 1 : 1;

  return tick < TIME_LAST ? tick : TIME_LAST;
}

static double ttl_s(const struct pinned *pinned, const struct kvi_branch *branch)
{
  double tokens = branch->chunk_tokens > 0 ? branch->chunk_tokens : KVI_PREFILL_TOKENS,
         whole = tokens * branch->n_chunks < TOKENS_MOST ? tokens * branch->n_chunks : TOKENS_MOST;

  if (!pinned->continuum)
    return FIXED_S;
  return kvi_continuum_ttl(pinned->continuum, branch->wait.class,
                           (branch->cost > 0 ? branch->cost : 1) * kvi_prefill_s(1, 0, whole));
}

static void pin(struct pinned *pinned, const struct kvi_branch *branch, uint64_t now_ns)
{
  struct kvi_policy *policy = &pinned->heap.forest;
  uint64_t until = tick_of(policy, now_ns + (uint64_t)(ttl_s(pinned, branch) * (double)KVI_NS_PER_S));
  uint32_t chunk = branch->last;

  for (uint32_t i = 0; i < branch->n_chunks && chunk != KVI_POLICY_NONE; i++) {
    if (kvi_word48_get(&pinned->until[chunk]) < until)
      kvi_word48_set(&pinned->until[chunk], until);
    chunk = kvi_forest_parent(policy, chunk);
  }
}

/* If it waited: how long it was away. */
static void returned(struct pinned *pinned, const struct kvi_branch *own, uint64_t at_ns)
{
  if (pinned->continuum && own->answered && at_ns > own->begins_ns)
    kvi_continuum_returned(pinned->continuum, own->wait.class,
                           (double)(at_ns - own->begins_ns) / (double)KVI_NS_PER_S);
}

static void answer(struct pinned *pinned, uint32_t branch, const struct kvi_policy_wait *wait,
                   uint64_t now_ns)
{
  struct kvi_branch *own = kvi_branch(pinned->programs, branch);

  returned(pinned, own, own->used_ns);
  own->answered = true;
  own->begins_ns = now_ns;
  own->wait.class = tool_of(pinned, wait);
  pin(pinned, own, now_ns);
}

/* ---- the ops ---- */

static void pinned_insert(struct kvi_policy *policy, uint32_t handle, const struct kvi_policy_chunk *chunk,
                          uint64_t now_ns)
{
  kvi_word48_set(&pinned_of(policy)->until[handle], 0);
  kvi_forest_insert(policy, handle, chunk, now_ns);
}

static uint32_t pinned_remove(struct kvi_policy *policy, uint32_t chunk)
{
  shorten(pinned_of(policy), chunk);
  return kvi_forest_remove(policy, chunk);
}

/* Perhaps one who waits on that chain is back. */
static void nameless_arrive(struct pinned *pinned, const struct kvi_policy_use *told, uint64_t now_ns)
{
  struct kvi_policy_use use = *told;
  struct kvi_branch *own;
  uint32_t branch;

  if (use.last == KVI_POLICY_NONE)
    return;
  use.n_chunks =
      kvi_forest_depth(&pinned->heap.forest, use.last, use.n_chunks < DEPTH_MOST ? use.n_chunks : DEPTH_MOST);
  branch = kvi_continued(&pinned->heap.forest, pinned->programs, &use);
  if (branch == KVI_BRANCH_NONE)
    return;
  own = kvi_branch(pinned->programs, branch);
  if (own->used_ns <= own->begins_ns || now_ns >= own->used_ns + REPEATED_NS)
    own->used_ns = now_ns;
}

/* Whoever gives a name is back. */
static void pinned_arrive(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct pinned *pinned = pinned_of(policy);
  struct kvi_branch *own;
  uint32_t branch;

  if (use->program == 0) {
    nameless_arrive(pinned, use, now_ns);
    return;
  }
  branch = program_find(pinned, use->program, use->space);
  if (branch == KVI_BRANCH_NONE)
    branch = program_new(pinned, use->program, use->space);
  own = kvi_branch(pinned->programs, branch);
  returned(pinned, own, now_ns);
  own->answered = false;
  program_set(pinned, branch, use);
  kvi_branches_use(pinned->programs, branch);
}

static void pinned_extend(struct kvi_policy *policy, const struct kvi_policy_use *use, uint64_t now_ns)
{
  struct pinned *pinned = pinned_of(policy);
  bool is_whole;
  uint32_t branch = kvi_extended(policy, pinned->programs, use, &is_whole);

  (void)now_ns;
  if (branch != KVI_BRANCH_NONE)
    program_set(pinned, branch, use);
}

/* Only those who give their names are known. */
static bool pinned_claim(struct kvi_policy *policy, uint64_t program, uint32_t handle, uint32_t n,
                         uint32_t space)
{
  (void)policy;
  (void)program;
  (void)handle;
  (void)n;
  (void)space;
  return false;
}

static bool pinned_wait(struct kvi_policy *policy, const struct kvi_policy_wait *wait, uint64_t now_ns)
{
  struct pinned *pinned = pinned_of(policy);
  uint32_t branch;

  if (wait->last == KVI_POLICY_NONE) {
    branch = kvi_branches_of(pinned->programs, wait->program);
    if (branch == KVI_BRANCH_NONE)
      return false;
    for (; branch != KVI_BRANCH_NONE; branch = kvi_branches_next_of(pinned->programs, branch))
      answer(pinned, branch, wait, now_ns);
    return true;
  }
  branch = program_find(pinned, wait->program, wait->space);
  if (branch == KVI_BRANCH_NONE)
    branch = program_new(pinned, wait->program, wait->space);
  kvi_branches_move(pinned->programs, branch, wait->last);
  kvi_branch(pinned->programs, branch)->n_chunks = wait->n_chunks;
  kvi_branch(pinned->programs, branch)->n_whole = wait->n_chunks;
  answer(pinned, branch, wait, now_ns);
  return true;
}

/* Who was used after his pin is as old as that, as if there had been none. */
static void pinned_info(const struct kvi_policy *policy, uint32_t chunk, struct kvi_policy_info *info_p)
{
  uint64_t until = kvi_word48_get(&((const struct pinned *)policy)->until[chunk]);

  kvi_heap_info(policy, chunk, info_p);
  if (info_p->last_use_ns > 0 && until > 0 && kvi_forest_time(policy, until) > info_p->last_use_ns)
    info_p->until_ns = kvi_forest_time(policy, until);
}

/* It is not pinned again; what it has runs out. */
static bool pinned_close(struct kvi_policy *policy, uint64_t program, uint64_t now_ns)
{
  struct pinned *pinned = pinned_of(policy);
  uint32_t branch = kvi_branches_of(pinned->programs, program);
  bool known = branch != KVI_BRANCH_NONE;

  (void)now_ns;
  for (; branch != KVI_BRANCH_NONE; branch = kvi_branches_of(pinned->programs, program))
    kvi_branches_remove(pinned->programs, branch);
  return known;
}

#define PINNED_OPS                                                                                           \
  .destroy = pinned_destroy, .memory = pinned_memory, .insert = pinned_insert, .link = kvi_forest_link,      \
  .touch = kvi_forest_touch, .hold = kvi_forest_hold, .unhold = kvi_forest_unhold, .remove = pinned_remove,  \
  .move = kvi_forest_move, .victim = kvi_heap_victim, .info = pinned_info, .arrive = pinned_arrive,          \
  .extend = pinned_extend, .claim = pinned_claim, .wait = pinned_wait, .close = pinned_close

const struct kvi_policy_ops kvi_policy_fixed_ttl = {.name = "fixed-ttl", .create = fixed_create, PINNED_OPS};
const struct kvi_policy_ops kvi_policy_continuum = {
    .name = "continuum", .create = continuum_create, PINNED_OPS};
