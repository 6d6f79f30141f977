/* The two shadows against arrays that are searched from end to end; what a sample says of a cache that is much larger than it; and what is made of that. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "testing.h"

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/policy/shadow.h"

#define CHUNKS 12u
#define ROOM   3u /* with the one that comes, so few that the shadow looks at all of them */
#define FADE   (1 - 1.0 / 1024)

static double price_of(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns)
{
  (void)ctx, (void)now_ns;
  return (double)branch->weight * (n <= branch->n_weighed ? 4 : 1);
}

static double cost_of(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  double sum = 0;

  (void)ctx, (void)branch;
  for (uint32_t n = from + 1; n <= to; n++)
    sum += 1 + n / 100.0;
  return sum;
}

static double unknown_of(const void *ctx, uint64_t used_ns, uint64_t now_ns)
{
  (void)ctx;
  return 1e6 / (1 + (double)(now_ns - used_ns));
}

/* With so many branches, each of another worth. */
static void start(struct kvi_shadow *shadow, uint32_t branches, uint32_t handles, bool below)
{
  *shadow = (struct kvi_shadow){.below = below,
                                .worth = {.price = price_of, .cost = cost_of, .unknown = unknown_of}};
  assert_int_equal(kvi_branches_create(branches, (struct kvi_branches **)&shadow->branches), KVS_OK);
  assert_int_equal(kvi_shadow_start(shadow, handles), KVS_OK);
  for (uint32_t i = 0; i < branches; i++) {
    uint32_t branch = kvi_branches_add((struct kvi_branches *)shadow->branches, i + 1, KVI_POLICY_NONE);

    kvi_branch(shadow->branches, branch)->chunk_bytes = 1;
    kvi_branch(shadow->branches, branch)->weight = (float)branch + 1;
  }
}

static void end(struct kvi_shadow *shadow)
{
  kvi_shadow_end(shadow);
  kvi_branches_destroy((struct kvi_branches *)shadow->branches);
}

/* ---- like a model ---- */

struct model {
  struct model_chunk {
    bool here, ended, in[2]; /* by order */
    uint32_t n, user;        /* n 0: it was never used, or is forgotten */
    uint64_t used;
  } chunks[CHUNKS];
  struct model_request {
    bool seen;
    double more;
  } requests[CHUNKS]; /* by user */
  uint32_t n_here, n_came, room;
  double lost;
};

/* The first chunks of every third branch are said to be worth four times as much. */
static uint32_t range_of(uint32_t user)
{
  return user % 3 == 0 ? 1 + user / 2 : 0;
}

static double worth_of(const struct model_chunk *chunk)
{
  return chunk->ended ? 0 : (chunk->user + 1.0) * (chunk->n <= range_of(chunk->user) ? 4 : 1);
}

/* Of equal worth the deepest goes first. */
static bool goes_before(const struct model_chunk *one, const struct model_chunk *other,
                        enum kvi_shadow_order order)
{
  double worth = worth_of(one), others = worth_of(other);

  if (order == KVI_SHADOW_BY_USE)
    return one->used < other->used;
  return worth < others || (worth == others && one->n > other->n);
}

static uint32_t model_count(const struct model *model, enum kvi_shadow_order order)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < CHUNKS; i++)
    n += model->chunks[i].in[order];
  return n;
}

static void model_drop(struct model *model, enum kvi_shadow_order order)
{
  struct model_chunk *least = NULL;

  for (uint32_t i = 0; i < CHUNKS; i++)
    if (model->chunks[i].in[order] && (!least || goes_before(&model->chunks[i], least, order)))
      least = &model->chunks[i];
  least->in[order] = false;
}

static void model_settle(struct model *model)
{
  for (enum kvi_shadow_order order = KVI_SHADOW_BY_USE; order <= KVI_SHADOW_BY_PRICE; order++)
    while (model_count(model, order) > model->room)
      model_drop(model, order);
  for (uint32_t i = 0; i < CHUNKS; i++)
    if (!model->chunks[i].in[0] && !model->chunks[i].in[1] && !model->chunks[i].here)
      model->chunks[i] = (struct model_chunk){.n = 0};
}

static void forget_unless_kept(struct model_chunk *chunk)
{
  chunk->here = false;
  if (!chunk->in[0] && !chunk->in[1])
    *chunk = (struct model_chunk){.n = 0};
}

/* To make room: what price would have kept, and last use, they still have. */
static void lose(struct kvi_shadow *shadow, struct model *model, uint32_t i)
{
  if (!model->chunks[i].here)
    return;
  kvi_shadow_lost(shadow, i);
  model->room = model->n_came;
  model->n_here--;
  forget_unless_kept(&model->chunks[i]);
}

static void leave(struct kvi_shadow *shadow, struct model *model, uint32_t i)
{
  if (!model->chunks[i].here)
    return;
  kvi_shadow_gone(shadow, i);
  model->n_here--;
  model->chunks[i] = (struct model_chunk){.n = 0};
}

static void come(struct kvi_shadow *shadow, struct model *model, uint32_t i, kvi_rand *rand)
{
  while (model->n_here == ROOM)
    lose(shadow, model, (uint32_t)kvi_rand_below(rand, CHUNKS));
  kvi_shadow_here(shadow, i, 1000 + i);
  model->n_came = ++model->n_here;
}

static void model_request(struct model *model, uint32_t user)
{
  struct model_request *request = &model->requests[user];

  if (request->seen)
    model->lost = model->lost * FADE + request->more;
  *request = (struct model_request){.seen = false};
}

static void model_use(struct model *model, uint32_t i, uint32_t user, uint64_t now,
                      enum kvi_shadow_order live)
{
  struct model_chunk *chunk = &model->chunks[i];
  bool lost = live == KVI_SHADOW_BY_PRICE ? !chunk->here : !chunk->in[KVI_SHADOW_BY_PRICE];

  if (chunk->n > 0) {
    model->requests[user].seen = true;
    model->requests[user].more += (lost - !chunk->in[KVI_SHADOW_BY_USE]) * cost_of(NULL, NULL, i, i + 1);
  }
  *chunk = (struct model_chunk){.here = true, .in = {true, true}, .n = i + 1, .user = user, .used = now};
  model_settle(model);
}

/* What the real cache loses is thrown by dice. */
static void one_step(struct kvi_shadow *shadow, struct model *model, kvi_rand *rand, uint32_t losses,
                     uint64_t now)
{
  uint32_t i = (uint32_t)kvi_rand_below(rand, CHUNKS), user = (uint32_t)kvi_rand_below(rand, CHUNKS);
  uint32_t what = (uint32_t)kvi_rand_below(rand, 12 + losses);

  if (what >= 12) {
    lose(shadow, model, i);
  } else if (what == 0) {
    kvi_shadow_ended(shadow, i);
    model->chunks[i].ended = model->chunks[i].ended || model->chunks[i].here;
  } else if (what == 1) {
    leave(shadow, model, i);
  } else if (what == 2) {
    kvi_shadow_request(shadow, user, now);
    model_request(model, user);
  } else {
    bool here = model->chunks[i].here;
    struct kvi_shadow_use use = {.branch = user, .handle = i, .n = i + 1};

    if (!here)
      come(shadow, model, i, rand);
    kvi_shadow_used(shadow, &use, now);
    model_use(model, i, user, now, shadow->live);
  }
}

static void like_the_model(void **state)
{
  bool both[2] = {false, false};

  (void)state;
  for (uint64_t seed = 1; seed < 40; seed++) {
    struct kvi_shadow shadow;
    struct model model = {.room = UINT32_MAX};
    kvi_rand rand;

    kvi_rand_seed(&rand, seed);
    start(&shadow, CHUNKS, 64, false);
    for (uint32_t i = 0; i < CHUNKS; i++) {
      kvi_branch(shadow.branches, i)->n_whole = CHUNKS;
      kvi_branch(shadow.branches, i)->n_weighed = range_of(i);
    }
    for (uint64_t now = 1; now < 5000; now++) {
      one_step(&shadow, &model, &rand, seed % 2 == 0 ? 1 : 30, now);
      assert_int_equal(shadow.n_used, model_count(&model, KVI_SHADOW_BY_USE));
      assert_int_equal(shadow.n_priced, model_count(&model, KVI_SHADOW_BY_PRICE));
      assert_true(fabs(model.lost - shadow.lost) < 1e-9 * (1 + fabs(model.lost)));
      both[shadow.live] = true;
    }
    end(&shadow);
  }
  assert_true(both[0] && both[1]);
}

/* ---- a sample ---- */

#define MANY      20000u
#define MANY_ROOM 6000u

struct real {
  bool here[MANY];
  uint32_t handles[MANY]; /* what is here */
  uint32_t n;
  uint64_t last_use[MANY]; /* of an LRU of the same size */
  bool by_use[MANY];
  uint32_t n_by_use;
};

static void lru_use(struct real *real, uint32_t i, uint64_t now)
{
  uint32_t oldest = i;

  real->n_by_use += !real->by_use[i];
  real->by_use[i] = true;
  real->last_use[i] = now;
  if (real->n_by_use <= MANY_ROOM)
    return;
  for (uint32_t k = 0; k < MANY; k++)
    if (real->by_use[k] && real->last_use[k] < real->last_use[oldest])
      oldest = k;
  real->by_use[oldest] = false;
  real->n_by_use--;
}

/* Of some that are here, the one that is used most. */
static uint32_t hottest_place(const struct real *real, kvi_rand *rand)
{
  uint32_t place = (uint32_t)kvi_rand_below(rand, real->n);

  for (uint32_t i = 0; i < 8; i++) {
    uint32_t other = (uint32_t)kvi_rand_below(rand, real->n);

    place = real->handles[other] < real->handles[place] ? other : place;
  }
  return place;
}

/* Few chunks have most of the uses, and the real cache loses just those. One in eight or so is looked at, and what last use would have saved is known well enough. */
static void a_sample_is_enough(void **state)
{
  struct real *real = calloc(1, sizeof(*real));
  struct kvi_shadow shadow;
  double more = 0;
  uint32_t n_max;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 5);
  start(&shadow, 2, MANY, false);
  n_max = shadow.n_max;
  assert_true(n_max < MANY_ROOM / 2);
  for (uint64_t now = 1; now <= 60000; now++) {
    uint64_t drawn = kvi_rand_below(&rand, MANY);
    uint32_t i = (uint32_t)(drawn * drawn / MANY);
    const struct kvi_shadow_use use = {.branch = (uint32_t)(now % 2), .handle = i, .n = 1};
    bool was = real->last_use[i] > 0;

    if (was && now > 30000)
      more += ((double)!real->here[i] - (double)!real->by_use[i]) * cost_of(NULL, NULL, 0, 1);
    if (now == 30000)
      shadow.lost = 0;
    if (!real->here[i] && real->n == MANY_ROOM) {
      uint32_t place = hottest_place(real, &rand), other = real->handles[place];

      kvi_shadow_lost(&shadow, other);
      real->here[other] = false;
      real->handles[place] = real->handles[--real->n];
    }
    if (!real->here[i]) {
      kvi_shadow_here(&shadow, i, i + 1);
      real->here[i] = true;
      real->handles[real->n++] = i;
    }
    shadow.live = KVI_SHADOW_BY_PRICE; /* whatever it would say */
    kvi_shadow_request(&shadow, use.branch, now);
    kvi_shadow_used(&shadow, &use, now);
    lru_use(real, i, now);
    assert_true(shadow.n_used <= n_max && shadow.n_priced <= n_max);
    assert_true(shadow.shift == 0 || shadow.n_used << shadow.shift < 2 * MANY_ROOM + (n_max << shadow.shift));
  }
  assert_true(shadow.shift >= 3);
  more *= (1 << shadow.shift) / (1 - FADE) / 30000; /* of each request that is seen, faded */
  assert_true(more > 0 && shadow.lost > more / 1.5 && shadow.lost < more * 1.5);
  end(&shadow);
  free(real);
}

/* A medium that has far more chunks than memory does not take the sample from memory's. */
static void below(void **state)
{
  struct kvi_shadow shadow;

  (void)state;
  start(&shadow, 2, 1 << 20, true);
  kvi_shadow_room(&shadow, 1000);
  for (uint32_t i = 0; i < 1 << 20; i++)
    kvi_shadow_used(&shadow, &(struct kvi_shadow_use){.branch = i % 2, .handle = i, .n = 1}, i + 1);
  assert_true(shadow.shift <= 1 && shadow.n_used >= 400 && shadow.n_priced >= 400);
  end(&shadow);
}

/* What is below, and was not brought to memory at its last use, is missed by any order; what the order took from memory is its doing. */
static void below_by_whom(void **state)
{
  struct kvi_shadow shadow;
  struct kvi_shadow_use use = {.branch = 0, .handle = 5, .n = 1, .known = true, .missed = true};

  (void)state;
  start(&shadow, 2, 64, true);
  kvi_shadow_room(&shadow, 8);
  for (uint64_t now = 1; now < 4; now++) {
    kvi_shadow_used(&shadow, &use, now);
    kvi_shadow_request(&shadow, 0, now);
    assert_true(shadow.lost == 0);
  }
  kvi_shadow_lost_below(&shadow, 5);
  kvi_shadow_used(&shadow, &use, 5);
  kvi_shadow_request(&shadow, 0, 5);
  assert_true(shadow.lost > 0);
  end(&shadow);
}

/* ---- the verdict ---- */

static void request(struct kvi_shadow *shadow, uint32_t branch, uint32_t first, uint32_t n, uint64_t now)
{
  kvi_shadow_request(shadow, branch, now);
  for (uint32_t i = n; i-- > 0;)
    kvi_shadow_used(shadow, &(struct kvi_shadow_use){.branch = branch, .handle = first + i, .n = i + 1}, now);
}

static void put(struct kvi_shadow *shadow, uint32_t first, uint32_t n)
{
  for (uint32_t i = first; i < first + n; i++)
    kvi_shadow_here(shadow, i, 1000 + i);
}

/* What was deleted and comes back is nobody's fault. */
static void nobody_to_blame(void **state)
{
  struct kvi_shadow shadow;

  (void)state;
  start(&shadow, 4, 64, false);
  for (uint64_t now = 1; now < 400; now++) {
    put(&shadow, 0, 4);
    request(&shadow, 0, 0, 4, now * KVI_NS_PER_S);
    for (uint32_t i = 0; i < 4; i++)
      kvi_shadow_gone(&shadow, i);
  }
  assert_true(shadow.lost == 0);
  assert_int_equal(shadow.live, KVI_SHADOW_BY_PRICE);
  end(&shadow);
}

/* Price has lost for long; then both orders lose the same, and it is no worse any more. */
static void back_by_time(void **state)
{
  struct kvi_shadow shadow;
  uint64_t now = 0;

  (void)state;
  start(&shadow, 4, 64, false);
  put(&shadow, 0, 4);
  for (uint32_t i = 0; i < 200; i++) {
    request(&shadow, 0, 0, 4, ++now * KVI_NS_PER_S);
    for (uint32_t k = 0; k < 4; k++)
      kvi_shadow_lost(&shadow, k);
    put(&shadow, 0, 4);
  }
  assert_int_equal(shadow.live, KVI_SHADOW_BY_USE);
  for (uint32_t i = 0; i < 20000; i++)
    request(&shadow, 0, 0, 4, ++now * KVI_NS_PER_S);
  assert_int_equal(shadow.live, KVI_SHADOW_BY_PRICE);
  end(&shadow);
}

/* One prompt was lost, and is put chunk by chunk, while another is: that is one loss, not as many as it has chunks. */
static void side_by_side(void **state)
{
  struct kvi_shadow shadow;
  uint64_t now = 0;

  (void)state;
  start(&shadow, 4, 256, false);
  put(&shadow, 0, 64);
  put(&shadow, 64, 4);
  request(&shadow, 0, 0, 64, ++now * KVI_NS_PER_S);
  for (uint32_t i = 0; i < 100; i++)
    request(&shadow, 2, 64, 4, ++now * KVI_NS_PER_S);
  for (uint32_t i = 0; i < 64; i++)
    kvi_shadow_lost(&shadow, i);
  kvi_shadow_request(&shadow, 0, now);
  kvi_shadow_request(&shadow, 1, now);
  for (uint32_t i = 0; i < 64; i++) {
    put(&shadow, i, 1);
    kvi_shadow_used(&shadow, &(struct kvi_shadow_use){.branch = 0, .handle = i, .n = i + 1},
                    ++now * KVI_NS_PER_S);
    put(&shadow, 128 + i, 1);
    kvi_shadow_used(&shadow, &(struct kvi_shadow_use){.branch = 1, .handle = 128 + i, .n = i + 1},
                    now * KVI_NS_PER_S);
  }
  request(&shadow, 2, 64, 4, (now += 10) * KVI_NS_PER_S);
  assert_true(shadow.lost > 0 && shadow.lost <= sqrt(shadow.lost_squares));
  assert_int_equal(shadow.live, KVI_SHADOW_BY_PRICE);
  end(&shadow);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_model),  cmocka_unit_test(a_sample_is_enough),
                                     cmocka_unit_test(below),           cmocka_unit_test(below_by_whom),
                                     cmocka_unit_test(nobody_to_blame), cmocka_unit_test(back_by_time),
                                     cmocka_unit_test(side_by_side)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
