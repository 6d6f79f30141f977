#include "tiers/policy/shadow.h"

#include <math.h>

#include "base/rand.h"

#define SAMPLE 4u
#define TRIES  16u /* places of the table that are looked at for them */
#define STEPS_MORE                                                                                           \
  64u /* beside two for each chunk that came: what is over by more, since the cache was not full before, goes bit by bit */
#define STEPS_MOST 256u
#define STEPS_PART 64u   /* of what is over goes in one step, at least a chunk */
#define SILENT     1024u /* victims, with hardly any return: then nothing is known of prices, either */
#define FADE       (1 - 1.0 / 1024) /* for each return */
#define JUDGED     64u              /* returns before anything is said */

static uint32_t *length_of(const struct kvi_shadow *shadow, struct kvi_branch *branch,
                           enum kvi_shadow_order order)
{
  return &branch->shadow[2 * shadow->tier + order];
}

static uint32_t length(const struct kvi_shadow *shadow, uint32_t branch, enum kvi_shadow_order order)
{
  return *length_of(shadow, kvi_branch(shadow->branches, branch), order);
}

void kvi_shadow_start(struct kvi_shadow *shadow)
{
  shadow->oldest = KVI_BRANCH_NONE;
}

void kvi_shadow_full(struct kvi_shadow *shadow, uint64_t chunks)
{
  shadow->room = chunks;
  shadow->victims++;
}

static void take(struct kvi_shadow *shadow, enum kvi_shadow_order order, struct kvi_branch *branch,
                 uint32_t n)
{
  uint32_t *own = length_of(shadow, branch, order);

  shadow->taken[order] -= *own;
  *own = n;
  shadow->taken[order] += n;
}

/* The first from here on that has something left. */
static void oldest_from(struct kvi_shadow *shadow, uint32_t branch)
{
  while (branch != KVI_BRANCH_NONE && length(shadow, branch, KVI_SHADOW_BY_USE) == 0)
    branch = kvi_branches_newer(shadow->branches, branch);
  shadow->oldest = branch;
}

void kvi_shadow_left(struct kvi_shadow *shadow, uint32_t branch)
{
  struct kvi_branch *own = kvi_branch(shadow->branches, branch);

  if (branch == shadow->oldest)
    oldest_from(shadow, kvi_branches_newer(shadow->branches, branch));
  take(shadow, KVI_SHADOW_BY_USE, own, 0);
  take(shadow, KVI_SHADOW_BY_PRICE, own, 0);
}

void kvi_shadow_back(struct kvi_shadow *shadow, uint32_t branch, uint32_t common)
{
  struct kvi_branch *own = kvi_branch(shadow->branches, branch);
  double paid[2], more;

  for (uint32_t order = 0; order < 2; order++) {
    uint32_t n = length(shadow, branch, order);

    paid[order] = n < common ? shadow->cost(shadow->ctx, own, n, common) : 0;
  }
  more = paid[KVI_SHADOW_BY_PRICE] - paid[KVI_SHADOW_BY_USE];
  shadow->judged++;
  shadow->victims = 0;
  shadow->lost = shadow->lost * FADE + more;
  shadow->lost_squares = shadow->lost_squares * FADE + more * more;
}

void kvi_shadow_renew(struct kvi_shadow *shadow, uint32_t branch)
{
  if (branch == shadow->oldest)
    oldest_from(shadow, kvi_branches_newer(shadow->branches, branch));
}

/* ---- room ---- */

static void shorten_oldest(struct kvi_shadow *shadow)
{
  struct kvi_branch *own = kvi_branch(shadow->branches, shadow->oldest);
  uint64_t over = shadow->taken[KVI_SHADOW_BY_USE] - shadow->room;
  uint32_t n = length(shadow, shadow->oldest, KVI_SHADOW_BY_USE);

  take(shadow, KVI_SHADOW_BY_USE, own, over < n ? n - (uint32_t)over : 0);
  if (length(shadow, shadow->oldest, KVI_SHADOW_BY_USE) == 0)
    oldest_from(shadow, shadow->oldest);
}

static void look_at(const struct kvi_shadow *shadow, struct kvi_least *least, uint32_t branch,
                    uint64_t now_ns)
{
  uint32_t n = length(shadow, branch, KVI_SHADOW_BY_PRICE);

  if (n > 0)
    kvi_least_add(least,
                  (struct kvi_least_one){
                      .number = branch,
                      .rank = shadow->price(shadow->ctx, kvi_branch(shadow->branches, branch), n, now_ns)});
}

/* False: none was found that has anything. */
static bool shorten_cheapest(struct kvi_shadow *shadow, uint64_t now_ns)
{
  struct kvi_least least = {.n = 0};
  uint32_t places = kvi_branches_places(shadow->branches), found = 0;
  struct kvi_branch *own;
  uint64_t over;
  uint32_t left;

  for (uint32_t i = 0; i < shadow->kept.n; i++)
    look_at(shadow, &least, shadow->kept.numbers[i], now_ns);
  for (uint32_t i = 0; i < TRIES && found < SAMPLE; i++) {
    uint32_t branch = places <= TRIES ? i % places : (uint32_t)(kvi_splitmix64(&shadow->random) % places);

    found += length(shadow, branch, KVI_SHADOW_BY_PRICE) > 0;
    look_at(shadow, &least, branch, now_ns);
  }
  kvi_least_keep(&least, &shadow->kept);
  if (least.n == 0)
    return false;
  own = kvi_branch(shadow->branches, least.ones[0].number);
  over = (shadow->taken[KVI_SHADOW_BY_PRICE] - shadow->room) / STEPS_PART + 1;
  left = length(shadow, least.ones[0].number, KVI_SHADOW_BY_PRICE);
  take(shadow, KVI_SHADOW_BY_PRICE, own, over < left ? left - (uint32_t)over : 0);
  return true;
}

void kvi_shadow_used(struct kvi_shadow *shadow, uint32_t branch, uint64_t now_ns)
{
  struct kvi_branch *own = kvi_branch(shadow->branches, branch);
  uint32_t steps, steps_max = own->n_whole < STEPS_MOST / 2 ? 2 * own->n_whole + STEPS_MORE : STEPS_MOST;

  take(shadow, KVI_SHADOW_BY_USE, own, own->n_whole);
  take(shadow, KVI_SHADOW_BY_PRICE, own, own->n_whole);
  if (shadow->oldest == KVI_BRANCH_NONE)
    oldest_from(shadow, branch);
  if (shadow->room == 0)
    return;
  for (steps = 0; steps < steps_max && shadow->taken[KVI_SHADOW_BY_USE] > shadow->room; steps++)
    shorten_oldest(shadow);
  for (steps = 0; steps < steps_max && shadow->taken[KVI_SHADOW_BY_PRICE] > shadow->room; steps++)
    if (!shorten_cheapest(shadow, now_ns))
      break;
}

/* A few dear returns decide nothing: what was lost has to be more than chance would make of as many, which is about the root of its squares. */
enum kvi_shadow_order kvi_shadow_better(const struct kvi_shadow *shadow, enum kvi_shadow_order now)
{
  if (shadow->judged < JUDGED || shadow->victims > SILENT * (uint64_t)JUDGED)
    return shadow->victims > SILENT ? KVI_SHADOW_BY_USE : KVI_SHADOW_BY_PRICE;
  if (shadow->lost > sqrt(shadow->lost_squares))
    return KVI_SHADOW_BY_USE;
  return shadow->lost < 0 ? KVI_SHADOW_BY_PRICE : now;
}
