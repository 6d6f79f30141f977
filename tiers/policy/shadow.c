#include "tiers/policy/shadow.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"

#define NONE            UINT32_MAX
#define CHUNKS_MAX      4096u /* of the sample: powers of two */
#define CHUNKS_MIN      256u
#define HANDLES_A_CHUNK 16u
#define SAMPLE          4u                 /* of the cache by price, for each victim */
#define JUDGED          64u                /* requests before anything is said */
#define STEPS_MAX       8u                 /* of each cache, for one chunk that is used */
#define BACK            0.1                /* of what chance would make: so little against price is nothing */
#define OVER_NS         (2 * KVI_NS_PER_S) /* a request that has used nothing for so long is over */
#define STORING_NS      (60 * KVI_NS_PER_S) /* from a request on its chunks may still come */
#define FADE            (1 - 1.0 / 1024)    /* for each request */

struct kvi_shadow_chunk {
  uint64_t name, used_ns;                /* name 0: it is free */
  uint32_t next_of_name, next_of_handle; /* in chains; of a free one the next free one */
  uint32_t handle;                       /* NONE: the real cache does not have it */
  uint32_t user;                         /* a tag of the branch that used it last (branches.h) */
  float value;                           /* what it cost then, for each byte */
  uint32_t newer, older;                 /* in the cache by last use */
  uint32_t place;                        /* in the cache by price; NONE: it is not there */
  uint32_t n;                            /* in its chain; 0: it was never used */
  bool by_use;                           /* it is in the cache by last use */
  bool missed;                           /* it was lost, and is back */
  bool ended;
};

/* ---- the sample ---- */

static uint32_t chunks_for(uint32_t handles)
{
  uint32_t n = CHUNKS_MIN;

  while (n < CHUNKS_MAX && n < handles / HANDLES_A_CHUNK)
    n *= 2;
  return n;
}

static size_t words_for(uint32_t handles)
{
  return (size_t)handles / 64 + 1;
}

kvs_status kvi_shadow_start(struct kvi_shadow *shadow, uint32_t handles)
{
  uint32_t n = chunks_for(handles);

  shadow->n_max = n;
  shadow->handles = handles;
  shadow->chunks = calloc(n, sizeof(*shadow->chunks));
  shadow->by_name = calloc(n, sizeof(*shadow->by_name));
  shadow->by_handle = calloc(n, sizeof(*shadow->by_handle));
  shadow->priced = calloc(n, sizeof(*shadow->priced));
  shadow->has = calloc(words_for(handles), sizeof(*shadow->has));
  if (!shadow->chunks || !shadow->by_name || !shadow->by_handle || !shadow->priced || !shadow->has)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < n; i++) {
    shadow->by_name[i] = shadow->by_handle[i] = NONE;
    shadow->chunks[i].next_of_name = i + 1 < n ? i + 1 : NONE;
  }
  shadow->newest = shadow->oldest = NONE;
  shadow->room = UINT64_MAX;
  shadow->live = KVI_SHADOW_BY_PRICE;
  return KVS_OK;
}

void kvi_shadow_end(struct kvi_shadow *shadow)
{
  free(shadow->chunks);
  free(shadow->by_name);
  free(shadow->by_handle);
  free(shadow->priced);
  free(shadow->has);
}

uint64_t kvi_shadow_memory(const struct kvi_shadow *shadow)
{
  return (uint64_t)shadow->n_max * (sizeof(*shadow->chunks) + sizeof(*shadow->by_name) +
                                    sizeof(*shadow->by_handle) + sizeof(*shadow->priced)) +
         words_for(shadow->handles) * sizeof(*shadow->has);
}

static bool is_sampled(const struct kvi_shadow *shadow, uint64_t name)
{
  return (kvi_mix64(name) >> 40 & ((UINT64_C(1) << shadow->shift) - 1)) == 0;
}

static uint32_t *head_of_name(const struct kvi_shadow *shadow, uint64_t name)
{
  return &shadow->by_name[kvi_mix64(name) & (shadow->n_max - 1)];
}

static uint32_t *head_of_handle(const struct kvi_shadow *shadow, uint32_t handle)
{
  return &shadow->by_handle[kvi_mix64(handle) & (shadow->n_max - 1)];
}

static uint32_t find(const struct kvi_shadow *shadow, uint64_t name)
{
  uint32_t one = *head_of_name(shadow, name);

  while (one != NONE && shadow->chunks[one].name != name)
    one = shadow->chunks[one].next_of_name;
  return one;
}

static uint32_t find_handle(const struct kvi_shadow *shadow, uint32_t handle)
{
  uint32_t one;

  if (!(shadow->has[handle / 64] >> handle % 64 & 1))
    return NONE;
  one = *head_of_handle(shadow, handle);
  while (one != NONE && shadow->chunks[one].handle != handle)
    one = shadow->chunks[one].next_of_handle;
  return one;
}

static void handle_set(struct kvi_shadow *shadow, uint32_t one, uint32_t handle)
{
  uint32_t *head = head_of_handle(shadow, handle);

  shadow->n_here++;
  shadow->chunks[one].handle = handle;
  shadow->chunks[one].next_of_handle = *head;
  *head = one;
  shadow->has[handle / 64] |= UINT64_C(1) << handle % 64;
}

static void handle_clear(struct kvi_shadow *shadow, uint32_t one)
{
  uint32_t handle = shadow->chunks[one].handle, *at;

  if (handle == NONE)
    return;
  at = head_of_handle(shadow, handle);
  while (*at != one)
    at = &shadow->chunks[*at].next_of_handle;
  *at = shadow->chunks[one].next_of_handle;
  shadow->n_here--;
  shadow->chunks[one].handle = NONE;
  shadow->has[handle / 64] &= ~(UINT64_C(1) << handle % 64);
}

/* ---- the two caches ---- */

static void use_out(struct kvi_shadow *shadow, uint32_t one)
{
  struct kvi_shadow_chunk *own = &shadow->chunks[one];

  if (!own->by_use)
    return;
  *(own->newer == NONE ? &shadow->newest : &shadow->chunks[own->newer].older) = own->older;
  *(own->older == NONE ? &shadow->oldest : &shadow->chunks[own->older].newer) = own->newer;
  own->by_use = false;
  shadow->n_used--;
}

static void use_in(struct kvi_shadow *shadow, uint32_t one)
{
  struct kvi_shadow_chunk *own = &shadow->chunks[one];

  use_out(shadow, one);
  own->newer = NONE;
  own->older = shadow->newest;
  *(own->older == NONE ? &shadow->oldest : &shadow->chunks[own->older].newer) = one;
  shadow->newest = one;
  own->by_use = true;
  shadow->n_used++;
}

static void price_out(struct kvi_shadow *shadow, uint32_t one)
{
  uint32_t place = shadow->chunks[one].place, last;

  if (place == NONE)
    return;
  last = shadow->priced[--shadow->n_priced];
  shadow->priced[place] = last;
  shadow->chunks[last].place = place;
  shadow->chunks[one].place = NONE;
}

static void price_in(struct kvi_shadow *shadow, uint32_t one)
{
  if (shadow->chunks[one].place != NONE)
    return;
  shadow->chunks[one].place = shadow->n_priced;
  shadow->priced[shadow->n_priced++] = one;
}

/* ---- who is in the sample ---- */

static void forget(struct kvi_shadow *shadow, uint32_t one)
{
  struct kvi_shadow_chunk *own = &shadow->chunks[one];
  uint32_t *at = head_of_name(shadow, own->name);

  handle_clear(shadow, one);
  use_out(shadow, one);
  price_out(shadow, one);
  while (*at != one)
    at = &shadow->chunks[*at].next_of_name;
  *at = own->next_of_name;
  own->name = 0;
  own->next_of_name = shadow->free_one;
  shadow->free_one = one;
}

/* Neither cache has it, nor the real one; of what is below a medium has far more than memory. */
static void forget_lost(struct kvi_shadow *shadow, uint32_t one)
{
  const struct kvi_shadow_chunk *own = &shadow->chunks[one];

  if (!own->by_use && own->place == NONE && (own->handle == NONE || shadow->below))
    forget(shadow, one);
}

static void sample_less(struct kvi_shadow *shadow)
{
  shadow->shift++;
  shadow->room = shadow->room == UINT64_MAX ? UINT64_MAX : shadow->room / 2;
  for (uint32_t i = 0; i < shadow->n_max; i++)
    if (shadow->chunks[i].name != 0 && !is_sampled(shadow, shadow->chunks[i].name))
      forget(shadow, i);
  shadow->n_came = shadow->n_here;
}

/* NONE: it is not of the sample, now that this has room. */
static uint32_t add(struct kvi_shadow *shadow, uint64_t name)
{
  uint32_t *head = head_of_name(shadow, name), one;

  while (shadow->free_one == NONE)
    sample_less(shadow);
  if (!is_sampled(shadow, name))
    return NONE;
  one = shadow->free_one;
  shadow->free_one = shadow->chunks[one].next_of_name;
  shadow->chunks[one] =
      (struct kvi_shadow_chunk){.name = name, .next_of_name = *head, .handle = NONE, .place = NONE};
  *head = one;
  return one;
}

void kvi_shadow_here(struct kvi_shadow *shadow, uint32_t handle, uint64_t name)
{
  uint32_t one;

  if (name == 0 || !is_sampled(shadow, name))
    return;
  one = find(shadow, name);
  if (one != NONE && shadow->chunks[one].handle == NONE)
    shadow->chunks[one].missed = true;
  if (one == NONE)
    one = add(shadow, name);
  if (one == NONE)
    return;
  handle_clear(shadow, one);
  handle_set(shadow, one, handle);
  shadow->n_came = shadow->n_here;
}

void kvi_shadow_gone(struct kvi_shadow *shadow, uint32_t handle)
{
  uint32_t one = find_handle(shadow, handle);

  if (one != NONE)
    forget(shadow, one);
}

void kvi_shadow_ended(struct kvi_shadow *shadow, uint32_t handle)
{
  uint32_t one = find_handle(shadow, handle);

  if (one != NONE)
    shadow->chunks[one].ended = true;
}

/* ---- room ---- */

static void drop_oldest(struct kvi_shadow *shadow)
{
  uint32_t one = shadow->oldest;

  use_out(shadow, one);
  forget_lost(shadow, one);
}

/* What it is worth; nothing, if its branch has ended, or has gone on elsewhere: what it has to store anew takes a while. */
static double price_of(const struct kvi_shadow *shadow, const struct kvi_shadow_chunk *own, uint64_t now_ns)
{
  uint32_t branch = kvi_branches_of_tag(shadow->branches, own->user);
  const struct kvi_branch *user;
  double price = 0;

  if (own->ended)
    return 0;
  if (branch == KVI_BRANCH_NONE)
    return (double)own->value * shadow->worth.unknown(shadow->worth.ctx, own->used_ns, now_ns);
  user = kvi_branch(shadow->branches, branch);
  if (own->used_ns < user->used_ns && now_ns > user->seen_ns + STORING_NS)
    return 0;
  for (uint32_t part = own->n > 0 ? own->n - 1 : 0, end = 0; end < user->n_whole; part = end) {
    end = kvi_branch_part_end(user, part + 1, user->n_whole);
    price = fmax(price, shadow->worth.price(shadow->worth.ctx, user, end, now_ns));
  }
  return price;
}

static void look_at(const struct kvi_shadow *shadow, struct kvi_least *least, uint32_t one, uint64_t now_ns)
{
  const struct kvi_shadow_chunk *own = &shadow->chunks[one];

  kvi_least_add(least, (struct kvi_least_one){
                           .number = one, .rank = price_of(shadow, own, now_ns), .tie = UINT32_MAX - own->n});
}

static void drop_cheapest(struct kvi_shadow *shadow, uint64_t now_ns)
{
  struct kvi_least least = {.n = 0};
  uint32_t n = shadow->n_priced;

  if (n == 0)
    return;
  for (uint32_t i = 0; i < shadow->kept.n; i++)
    if (shadow->chunks[shadow->kept.numbers[i]].name != 0 &&
        shadow->chunks[shadow->kept.numbers[i]].place != NONE)
      look_at(shadow, &least, shadow->kept.numbers[i], now_ns);
  for (uint32_t i = 0; i < (n < SAMPLE ? n : SAMPLE); i++)
    look_at(shadow, &least,
            shadow->priced[n <= SAMPLE ? i : (uint32_t)((kvi_splitmix64(&shadow->random) >> 32) * n >> 32)],
            now_ns);
  kvi_least_keep(&least, &shadow->kept);
  price_out(shadow, least.ones[0].number);
  forget_lost(shadow, least.ones[0].number);
}

/* What is over by more, since the real one was not full before, goes bit by bit. */
static void make_room(struct kvi_shadow *shadow, uint64_t now_ns)
{
  for (uint32_t i = 0; i < STEPS_MAX && shadow->n_used > shadow->room; i++)
    drop_oldest(shadow);
  for (uint32_t i = 0; i < STEPS_MAX && shadow->n_priced > shadow->room; i++)
    drop_cheapest(shadow, now_ns);
}

/* ---- the verdict ---- */

/* Back to price as soon as there is hardly anything against it; where both orders lose the same, what there was fades until then. */
static void choose(struct kvi_shadow *shadow)
{
  double chance = sqrt(shadow->lost_squares);

  if (shadow->judged < JUDGED)
    return;
  if (shadow->lost > chance)
    shadow->live = KVI_SHADOW_BY_USE;
  else if (shadow->lost <= BACK * chance)
    shadow->live = KVI_SHADOW_BY_PRICE;
}

/* The request that was seen is over. */
static void judge(struct kvi_shadow *shadow, struct kvi_shadow_request *request)
{
  if (request->seen) {
    shadow->judged++;
    shadow->lost = shadow->lost * FADE + request->paid_more;
    shadow->lost_squares = shadow->lost_squares * FADE + request->paid_more * request->paid_more;
    choose(shadow);
  }
  *request = (struct kvi_shadow_request){.branch = 0};
}

static struct kvi_shadow_request *request_of(struct kvi_shadow *shadow, uint32_t branch)
{
  struct kvi_shadow_request *request = &shadow->requests[branch % KVI_SHADOW_REQUESTS];
  uint32_t tag = kvi_branches_tag(shadow->branches, branch);

  if (request->branch != tag)
    judge(shadow, request);
  request->branch = tag;
  return request;
}

void kvi_shadow_request(struct kvi_shadow *shadow, uint32_t branch, uint64_t now_ns)
{
  for (uint32_t i = 0; i < KVI_SHADOW_REQUESTS; i++)
    if (now_ns > shadow->requests[i].used_ns + OVER_NS)
      judge(shadow, &shadow->requests[i]);
  judge(shadow, request_of(shadow, branch));
}

/* ---- what the real cache does ---- */

void kvi_shadow_lost(struct kvi_shadow *shadow, uint32_t handle)
{
  uint32_t one = find_handle(shadow, handle);

  shadow->room = shadow->n_came;
  if (one == NONE)
    return;
  handle_clear(shadow, one);
  forget_lost(shadow, one);
}

/* Of what is below: its name, as far as it has one. */
static uint64_t name_below(uint32_t handle)
{
  return (uint64_t)handle + 1;
}

void kvi_shadow_room(struct kvi_shadow *shadow, uint64_t chunks)
{
  shadow->room = chunks >> shadow->shift;
}

void kvi_shadow_lost_below(struct kvi_shadow *shadow, uint32_t handle)
{
  uint32_t one = find_handle(shadow, handle);

  if (one != NONE)
    shadow->chunks[one].missed = true;
}

/* While price is live the real cache shows what it pays, with all that the shadow does not know: who is let in, and which chunks are held. */
static double paid_more(const struct kvi_shadow *shadow, const struct kvi_shadow_chunk *own, double cost)
{
  bool lost = shadow->live == KVI_SHADOW_BY_PRICE ? own->missed : own->place == NONE;

  return ((double)lost - (double)!own->by_use) * cost * (double)(UINT64_C(1) << shadow->shift);
}

/* What neither cache has is not kept in the sample, if it is below: it is of it again. NONE: it is not. */
static uint32_t find_below(struct kvi_shadow *shadow, const struct kvi_shadow_use *use)
{
  uint32_t one = find_handle(shadow, use->handle);

  if (one != NONE || !is_sampled(shadow, name_below(use->handle)))
    return one;
  one = add(shadow, name_below(use->handle));
  if (one == NONE)
    return NONE;
  handle_set(shadow, one, use->handle);
  shadow->chunks[one].n = use->known ? use->n : 0;
  shadow->chunks[one].missed = use->missed;
  return one;
}

void kvi_shadow_used(struct kvi_shadow *shadow, const struct kvi_shadow_use *use, uint64_t now_ns)
{
  const struct kvi_branch *user = kvi_branch(shadow->branches, use->branch);
  uint32_t one = shadow->below ? find_below(shadow, use) : find_handle(shadow, use->handle);
  struct kvi_shadow_request *request = request_of(shadow, use->branch);
  struct kvi_shadow_chunk *own;
  double cost;

  if (one == NONE)
    return;
  own = &shadow->chunks[one];
  cost = shadow->worth.cost(shadow->worth.ctx, user, use->n - 1, use->n);
  request->used_ns = now_ns;
  if (own->n > 0) {
    request->seen = true;
    request->paid_more += paid_more(shadow, own, cost);
  }
  own->n = use->n;
  own->used_ns = now_ns;
  own->user = kvi_branches_tag(shadow->branches, use->branch);
  own->value = (float)(cost / (double)user->chunk_bytes);
  own->ended = own->missed = false;
  use_in(shadow, one);
  price_in(shadow, one);
  make_room(shadow, now_ns);
}
