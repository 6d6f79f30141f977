/* tiers/policy/index_waiters.c: who waits, for how long that is worth it, and what memory costs: for people. */
#include <math.h>

#include "base/clock.h"
#include "tiers/policy/index_private.h"

#define SOUGHT_NS (60 * KVI_NS_PER_S) /* a tier of which nothing had to go for so long has room */

uint32_t kvi_index_waiters(const struct kvi_policy *policy)
{
  return kvi_branches_places(((const struct kvi_index *)policy)->branches);
}

static bool is_sought(const struct kvi_index_tier *tier, uint64_t now_ns)
{
  return tier->sought_ns > 0 && now_ns < tier->sought_ns + SOUGHT_NS;
}

static double price_of(const struct kvi_index_tier *tier, uint64_t now_ns)
{
  return is_sought(tier, now_ns) ? tier->price : 0;
}

static const struct kvi_index_tier *tier_of(const struct kvi_policy *policy, enum kvi_policy_group group)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;

  if (group == KVI_POLICY_MEDIUM)
    return &index->tiers[1];
  /* Over a medium what has a copy there leaves memory. */
  return index->memory.chunks > 0 ? &index->memory.tier : &index->tiers[0];
}

double kvi_index_tier_price(const struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  return price_of(tier_of(policy, group), now_ns);
}

double kvi_index_tier_worth(const struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  const struct kvi_index_tier *tier = tier_of(policy, group);

  return is_sought(tier, now_ns) ? tier->worth : 0;
}

double kvi_index_own_price(const struct kvi_policy *policy, uint32_t tenant, enum kvi_policy_group group,
                           uint64_t now_ns)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;

  return tenant < KVI_POLICY_TENANTS_MAX
             ? price_of(&index->memory.own[tenant].tiers[group == KVI_POLICY_MEDIUM], now_ns)
             : 0;
}

void kvi_index_own_paid(struct kvi_policy *policy, uint32_t tenant, enum kvi_policy_group group, double price,
                        uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);

  if (tenant < KVI_POLICY_TENANTS_MAX && price >= 0)
    kvi_index_tier_paid(&index->memory.own[tenant].tiers[group == KVI_POLICY_MEDIUM], price, 1, now_ns);
}

bool kvi_index_goes_by_price(const struct kvi_policy *policy)
{
  return ((const struct kvi_index *)policy)->shadow.live == KVI_SHADOW_BY_PRICE;
}

/* The price at which its chunk is worth no more than what it takes room from is reached when its rate has fallen to this. */
static double ttl_s(const struct kvi_index *index, const struct kvi_branch *branch, double value_s,
                    double age, double tier_price)
{
  double counts = index->shares[branch->tenant] * kvi_index_branch_weight(branch, branch->n_chunks) *
                  value_s / branch->chunk_bytes,
         until;

  if (branch->last == KVI_POLICY_NONE)
    return 0;
  until = kvi_classes_worth_until(index->classes, &branch->wait, tier_price / counts);
  if (branch->ttl_s > 0 && kvi_branch_is_within(branch->n_chunks, branch->n_timed) &&
      counts / branch->ttl_s > tier_price)
    until = fmax(until, kvi_index_seconds(branch->begins_ns, branch->seen_ns) + branch->ttl_s);
  return fmax(until - age, 0);
}

/* Its last chunk's; NONE counts as memory. */
static enum kvi_policy_group group_of(const struct kvi_policy *policy, const struct kvi_branch *branch)
{
  return branch->last == KVI_POLICY_NONE ? KVI_POLICY_MEMORY
                                         : (enum kvi_policy_group)policy->nodes[branch->last].group;
}

/* What it takes to have its last chunk again, if it leaves where it is; that of a chunk in both is memory. */
static double value_s(const struct kvi_index *index, const struct kvi_branch *branch,
                      enum kvi_policy_group group)
{
  if (branch->n_chunks == 0)
    return 0;
  return group == KVI_POLICY_BOTH
             ? kvi_index_memory_value_s(index, branch, branch->n_chunks)
             : kvi_index_branch_cost(index, branch, branch->n_chunks - 1, branch->n_chunks);
}

/* All that its priority and its time to live are said of; 0: one of them of all, or neither is. */
static uint32_t n_ranged(const struct kvi_branch *branch)
{
  bool is_weighed = branch->n_weighed > 0 || branch->weight < 1 || branch->weight > 1,
       is_timed = branch->ttl_s > 0;

  if (is_weighed && is_timed && branch->n_weighed > 0 && branch->n_timed > 0)
    return branch->n_weighed > branch->n_timed ? branch->n_weighed : branch->n_timed;
  if (is_weighed && is_timed)
    return 0;
  return is_weighed ? branch->n_weighed : is_timed ? branch->n_timed : 0;
}

bool kvi_index_waiter(const struct kvi_policy *policy, uint32_t number, struct kvi_policy_waiter *waiter_p,
                      uint64_t now_ns)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;
  const struct kvi_branch *branch;
  double age, value, tier_price;

  if (number >= kvi_branches_places(index->branches) || !kvi_branches_is_used(index->branches, number))
    return false;
  branch = kvi_branch(index->branches, number);
  age = kvi_index_seconds(branch->begins_ns, now_ns);
  value = value_s(index, branch, group_of(policy, branch));
  tier_price = fmax(kvi_index_tier_price(policy, group_of(policy, branch), now_ns),
                    kvi_index_own_price(policy, branch->tenant, group_of(policy, branch), now_ns));
  *waiter_p = (struct kvi_policy_waiter){
      .program = branch->program,
      .last = branch->last,
      .n_chunks = branch->n_chunks,
      .n_whole = branch->n_whole,
      .n_ranged = n_ranged(branch),
      .kind = kvi_classes_kind(index->classes, branch->wait.class),
      .answered = branch->answered,
      .waits_s = age,
      .announced_s = (double)branch->wait.announced_s,
      .value_s = value,
      .price = kvi_index_branch_rate(index, branch, branch->n_chunks, now_ns) * value / branch->chunk_bytes,
      .tier_price = tier_price,
      .ttl_s = ttl_s(index, branch, value, age, tier_price)};
  return true;
}
