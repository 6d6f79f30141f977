/*
 * tiers/policy/index_leaves.c: what a leaf is worth, and which goes.
 *
 * A leaf that was left by who waited there is worth nothing, and goes first. One of which nobody has said anything (just stored, found at a start, unchained) is worth what an unknown wait is that began when it was used last.
 *
 * Rates change with time, each class by its own curve, so no order of leaves lasts. A victim is the least of a sample (as Redis and LHD take theirs): SAMPLE leaves at random, beside those that were
 * the cheapest when victims were sought before. Leaves that were left behind are known, and are looked at before any other.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/policy/index_private.h"
#include "tiers/policy/prefill.h"

#define SAMPLE     4u
#define LOOKED_MAX 32u /* of those left behind, for one victim */
#define SUMMED_MAX 32u /* branches of a chunk that count for its price: with as many it stays anyway */

/* ---- prices ---- */

static bool is_waited_at(const struct kvi_index *index, uint32_t chunk)
{
  return kvi_branches_at(index->branches, chunk) != KVI_BRANCH_NONE;
}

double kvi_index_branch_cost(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  (void)ctx;
  return branch->cost * kvi_prefill_s(branch->chunk_tokens, from, to);
}

/* What is behind its range is of no use without that, so it is worth no more. */
float kvi_index_branch_weight(const struct kvi_branch *branch, uint32_t n)
{
  return kvi_branch_is_within(n, branch->n_weighed) ? branch->weight : fminf(branch->weight, 1);
}

double kvi_index_branch_rate(const struct kvi_index *index, const struct kvi_branch *branch, uint32_t n,
                             uint64_t now_ns)
{
  double age = kvi_index_seconds(branch->begins_ns, now_ns),
         told = kvi_index_seconds(branch->seen_ns, now_ns),
         rate = kvi_classes_rate(index->classes, &branch->wait, age);

  if (told < branch->ttl_s && kvi_branch_is_within(n, branch->n_timed))
    rate = fmax(rate, 1 / branch->ttl_s);
  if (told < branch->again_s)
    rate = fmax(rate, 1 / branch->again_s);
  return index->shares[branch->tenant] * kvi_index_branch_weight(branch, n) * rate;
}

double kvi_index_branch_price(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns)
{
  return kvi_index_branch_rate(ctx, branch, n, now_ns) *
         kvi_index_branch_cost(ctx, branch, n > 0 ? n - 1 : 0, n) / branch->chunk_bytes;
}

double kvi_index_unknown_rate(const struct kvi_index *index, uint64_t used_ns, uint64_t now_ns)
{
  const struct kvi_class_wait unknown = {.class = KVI_WAIT_UNKNOWN};
  double age = used_ns > 0 ? kvi_index_seconds(used_ns, now_ns) : 0;

  return (double)index->shares[index->greediest] * kvi_classes_rate(index->classes, &unknown, age);
}

static double unknown_price(const struct kvi_index *index, uint32_t chunk, uint64_t now_ns)
{
  return index->first_value *
         kvi_index_unknown_rate(index, kvi_forest_used_ns(&index->forest, chunk), now_ns);
}

double kvi_index_factor(const struct kvi_index *index, uint32_t chunk)
{
  uint32_t number = kvi_branches_at(index->branches, chunk);
  const struct kvi_branch *branch;

  if (number == KVI_BRANCH_NONE)
    number = kvi_branches_of_tag(index->branches, index->users[chunk]);
  if (number == KVI_BRANCH_NONE)
    return (double)index->shares[index->greediest]; /* as unknown waits are priced */
  branch = kvi_branch(index->branches, number);
  return (double)index->shares[branch->tenant] * (double)kvi_index_branch_weight(branch, branch->n_chunks);
}

/* Seconds saved for each second and byte of keeping it. 0 of one that is no leaf, since who waits behind it pays for it. */
static double price(const struct kvi_index *index, uint32_t chunk, uint64_t now_ns)
{
  uint32_t branch = kvi_branches_at(index->branches, chunk);
  double sum = 0;

  if (branch == KVI_BRANCH_NONE)
    return kvi_index_has_place(index, chunk) && !kvi_forest_is_marked(&index->forest, chunk)
               ? unknown_price(index, chunk, now_ns)
               : 0;
  for (uint32_t i = 0; i < SUMMED_MAX && branch != KVI_BRANCH_NONE; i++) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);

    sum += kvi_index_branch_price(index, own, own->n_chunks, now_ns);
    branch = kvi_branches_next_at(index->branches, branch);
  }
  return sum;
}

/* ---- leaves ---- */

static void left_add(struct kvi_index *index, uint32_t chunk)
{
  struct kvi_index_left *left = &index->left[kvi_forest_side(&index->forest, chunk)];

  if (left->n == KVI_INDEX_LEFT) {
    left->first = (left->first + 1) % KVI_INDEX_LEFT;
    left->n--;
  }
  left->chunks[(left->first + left->n++) % KVI_INDEX_LEFT] = chunk;
}

void kvi_index_leaf_enter(struct kvi_policy *forest, uint32_t chunk)
{
  struct kvi_index *index = kvi_index_of(forest);
  uint32_t group = kvi_forest_side(forest, chunk);

  kvi_forest_place(forest, group, forest->n[group] - 1, chunk);
  if (kvi_forest_is_marked(forest, chunk) && !is_waited_at(index, chunk))
    left_add(index, chunk);
}

void kvi_index_leaf_leave(struct kvi_policy *forest, uint32_t chunk)
{
  uint32_t group = kvi_forest_side(forest, chunk), place = forest->nodes[chunk].place_or_holds;
  uint32_t last = *kvi_forest_slot(forest, group, forest->n[group]);

  if (last != chunk)
    kvi_forest_place(forest, group, place, last);
}

static bool is_leaf_of(const struct kvi_index *index, uint32_t chunk, enum kvi_policy_group group)
{
  return kvi_index_has_place(index, chunk) && kvi_forest_side(&index->forest, chunk) == (uint32_t)group;
}

void kvi_index_left(struct kvi_index *index, uint32_t chunk, bool ended)
{
  bool is_leaf = chunk != KVI_POLICY_NONE && kvi_index_has_place(index, chunk);

  if (chunk == KVI_POLICY_NONE || (!is_leaf && !ended) || is_waited_at(index, chunk))
    return;
  kvi_forest_mark(&index->forest, chunk, true);
  if (is_leaf)
    left_add(index, chunk);
}

void kvi_index_closed(struct kvi_index *index, uint32_t chunk)
{
  if (chunk != KVI_POLICY_NONE && kvi_forest_is_marked(&index->forest, chunk) && !is_waited_at(index, chunk))
    kvi_forest_mark_ended(&index->forest, chunk);
}

/* What was cheap, and went, is followed by the chunk before it, which costs a little less to compute. */
void kvi_index_leaf_gone(struct kvi_index *index, uint32_t chunk)
{
  uint32_t group = kvi_forest_side(&index->forest, chunk), parent = kvi_forest_parent(&index->forest, chunk);

  for (uint32_t i = 0; i < index->kept[group].n; i++)
    if (index->kept[group].numbers[i] == chunk && parent != KVI_POLICY_NONE)
      index->kept[group].numbers[i] = parent;
}

/* ---- victims ---- */

/* The lower, the sooner it goes, by the order that is live. A tenant with more than its share has its chunks seem older. */
static double rank(const struct kvi_index *index, uint32_t chunk, uint64_t now_ns)
{
  uint32_t branch = kvi_branches_at(index->branches, chunk);
  double share = branch == KVI_BRANCH_NONE ? 1 : index->shares[kvi_branch(index->branches, branch)->tenant];

  if (index->shadow.live == KVI_SHADOW_BY_PRICE)
    return price(index, chunk, now_ns);
  return -((double)index->forest.latest_tick - (double)kvi_word48_get(&index->forest.nodes[chunk].last_use)) /
         share;
}

static void look_at(const struct kvi_index *index, struct kvi_least *least, uint32_t chunk, uint64_t now_ns)
{
  kvi_least_add(least, (struct kvi_least_one){.number = chunk,
                                              .rank = rank(index, chunk, now_ns),
                                              .tie = kvi_word48_get(&index->forest.nodes[chunk].last_use)});
}

/* One that was left; those that are none any more are forgotten. KVI_POLICY_NONE: there is none. */
static uint32_t left_behind(struct kvi_index *index, enum kvi_policy_group group)
{
  struct kvi_index_left *left = &index->left[group];

  for (uint32_t looked = 0; looked < LOOKED_MAX && left->n > 0; looked++) {
    uint32_t chunk = left->chunks[left->first];

    if (is_leaf_of(index, chunk, group) && kvi_forest_is_marked(&index->forest, chunk) &&
        !is_waited_at(index, chunk))
      return chunk;
    left->first = (left->first + 1) % KVI_INDEX_LEFT;
    left->n--;
  }
  return KVI_POLICY_NONE;
}

static uint32_t cheapest(struct kvi_index *index, enum kvi_policy_group group, uint64_t now_ns)
{
  struct kvi_least_kept *kept = &index->kept[group];
  struct kvi_least least = {.n = 0};
  uint32_t leaves = index->forest.n[group];

  if (leaves == 0)
    return KVI_POLICY_NONE;
  for (uint32_t i = 0; i < kept->n; i++)
    if (is_leaf_of(index, kept->numbers[i], group))
      look_at(index, &least, kept->numbers[i], now_ns);
  for (uint32_t i = 0; i < (leaves < SAMPLE ? leaves : SAMPLE); i++) {
    uint32_t place = leaves <= SAMPLE ? i : (uint32_t)(kvi_splitmix64(&index->random) % leaves);

    look_at(index, &least, *kvi_forest_slot(&index->forest, group, place), now_ns);
  }
  kvi_least_keep(&least, kept);
  return least.ones[0].number;
}

uint32_t kvi_index_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  struct kvi_index *index = kvi_index_of(policy);
  uint32_t chunk = left_behind(index, group);

  (void)kvi_forest_tick(policy, now_ns); /* what info says is of now */
  if (chunk == KVI_POLICY_NONE)
    chunk = cheapest(index, group, now_ns);
  if (chunk != KVI_POLICY_NONE)
    kvi_index_tier_paid(&index->tiers[group], price(index, chunk, now_ns), kvi_index_factor(index, chunk),
                        now_ns);
  return chunk;
}

/* As kvi_index_branch_price has it, to the last bit: of equals the one stays that is there. */
static double stored_price(const struct kvi_index *index, const struct kvi_policy_use *use, double rate,
                           uint32_t n)
{
  double tokens = use->chunk_tokens > 0 ? use->chunk_tokens : KVI_INDEX_TOKENS,
         bytes = use->chunk_bytes > 0 ? use->chunk_bytes : index->chunk_bytes,
         cost = use->cost > 0 ? use->cost : 1;

  tokens = fmin(tokens, KVI_INDEX_TOKENS_MOST / (n + 1.0));
  return rate * (cost * kvi_prefill_s(tokens, n - 1.0, n)) / bytes;
}

/* At the end of its branch: by its request, and by how often it is put. */
static double stored_rate(const struct kvi_index *index, const struct kvi_branch *own, double again,
                          uint32_t n, uint64_t now_ns)
{
  return fmax(kvi_index_branch_rate(index, own, n, now_ns),
              index->shares[own->tenant] * kvi_index_branch_weight(own, n) * again);
}

/* What a chunk that is put would be worth at the end of its branch, its n'th, or of the part that it is in: by its request, if that is known, and by how long ago it was put before. */
static double stored_worth(const struct kvi_index *index, const struct kvi_policy_use *use, uint32_t n,
                           uint64_t now_ns)
{
  const struct kvi_class_wait wait = kvi_index_request(use->program);
  uint32_t branch = kvi_index_storing(index, use, now_ns),
           tenant = use->tenant < KVI_POLICY_TENANTS_MAX ? use->tenant : 0;
  double again = use->again_s > 0 ? 1 / use->again_s : 0, worth = 0;
  const struct kvi_branch *own;

  if (branch == KVI_BRANCH_NONE)
    return stored_price(index, use,
                        index->shares[tenant] * fmax(kvi_classes_rate(index->classes, &wait, 0), again), n);
  own = kvi_branch(index->branches, branch);
  for (uint32_t part = use->n_chunks, end = 0; end < n; part = end) {
    end = kvi_branch_part_end(own, part + 1, n);
    worth = fmax(worth, stored_price(index, use, stored_rate(index, own, again, end, now_ns), end));
  }
  return worth;
}

bool kvi_index_admits(struct kvi_policy *policy, uint32_t victim, const struct kvi_policy_use *use,
                      uint32_t n, uint64_t now_ns)
{
  const struct kvi_index *index = kvi_index_of(policy);

  return index->shadow.live == KVI_SHADOW_BY_USE ||
         price(index, victim, now_ns) < stored_worth(index, use, n, now_ns);
}

/* The latest of those who wait there; 0: of one no time was told, or somebody has used it since. */
static uint64_t until_ns(const struct kvi_index *index, uint32_t chunk)
{
  uint32_t branch = kvi_branches_at(index->branches, chunk);
  uint64_t latest = 0, used = kvi_forest_used_ns(&index->forest, chunk);

  for (uint32_t i = 0; i < SUMMED_MAX && branch != KVI_BRANCH_NONE; i++) {
    const struct kvi_branch *own = kvi_branch(index->branches, branch);
    double kept_s = kvi_branch_is_within(own->n_chunks, own->n_timed) ? (double)own->ttl_s : 0,
           told_s = fmax(kept_s, (double)own->until_s);
    uint64_t until = own->seen_ns + (uint64_t)(told_s * (double)KVI_NS_PER_S);

    if (told_s <= 0)
      return 0;
    if (until > latest)
      latest = until;
    used = own->begins_ns > used ? own->begins_ns : used;
    branch = kvi_branches_next_at(index->branches, branch);
  }
  return used > latest ? 0 : latest;
}

void kvi_index_info(const struct kvi_policy *policy, uint32_t chunk, struct kvi_policy_info *info_p)
{
  const struct kvi_index *index = (const struct kvi_index *)policy;
  double worth;

  kvi_forest_info(policy, chunk, info_p);
  worth = price(index, chunk, policy->latest_ns);
  info_p->price = worth;
  info_p->by_price = index->shadow.live == KVI_SHADOW_BY_PRICE;
  info_p->ended = kvi_forest_is_ended(policy, chunk) && !is_waited_at(index, chunk);
  info_p->until_ns = until_ns(index, chunk);
  if (info_p->by_price) /* else the last use, as the forest says */
    memcpy(&info_p->rank, &worth,
           sizeof(info_p->rank)); /* numbers that are not negative are in the order of their bits */
}
