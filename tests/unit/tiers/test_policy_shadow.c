/* The two shadows against arrays that are searched from end to end, and what is said of which did better. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "testing.h"

#include "base/rand.h"
#include "tiers/policy/shadow.h"

#define N    12u /* branches: so few that the shadow's sample is all of them */
#define ROOM 100u
#define FADE (1 - 1.0 / 1024)

struct model {
  uint32_t n[2]; /* chunks, by order */
  uint32_t branch;
  uint64_t used;
};

static double price_of(const void *ctx, const struct kvi_branch *branch, uint32_t n, uint64_t now_ns)
{
  (void)ctx, (void)now_ns;
  return (double)branch->program + n / 1000.0;
}

static double cost_of(const void *ctx, const struct kvi_branch *branch, uint32_t from, uint32_t to)
{
  double sum = 0;

  (void)ctx;
  (void)branch;
  for (uint32_t n = from + 1; n <= to; n++)
    sum += 1 + n / 100.0;
  return sum;
}

static uint64_t sum(const struct model *models, enum kvi_shadow_order order)
{
  uint64_t n = 0;

  for (uint32_t i = 0; i < N; i++)
    n += models[i].n[order];
  return n;
}

static void model_shorten(struct model *models, enum kvi_shadow_order order)
{
  struct model *least = NULL;

  for (uint32_t i = 0; i < N; i++) {
    double one = order == KVI_SHADOW_BY_USE ? (double)models[i].used : i + 1 + models[i].n[order] / 1000.0;
    double other = !least                       ? INFINITY
                   : order == KVI_SHADOW_BY_USE ? (double)least->used
                                                : (double)(least - models) + 1 + least->n[order] / 1000.0;

    if (models[i].n[order] > 0 && one < other)
      least = &models[i];
  }
  least->n[order]--;
}

static void like_the_model(void **state)
{
  (void)state;
  for (uint64_t seed = 1; seed < 30; seed++) {
    struct kvi_shadow shadow = {.price = price_of, .cost = cost_of};
    struct model models[N] = {0};
    double lost = 0, lost_squares = 0;
    kvi_rand rand;

    kvi_rand_seed(&rand, seed);
    assert_int_equal(kvi_branches_create(N, &shadow.branches), KVS_OK);
    kvi_shadow_start(&shadow);
    kvi_shadow_full(&shadow, ROOM);
    for (uint32_t i = 0; i < N; i++)
      models[i].branch = kvi_branches_add(shadow.branches, i + 1, KVI_POLICY_NONE);
    for (uint32_t step = 1; step < 2000; step++) {
      struct model *model = &models[kvi_rand_below(&rand, N)];
      double paid[2];
      uint32_t common = (uint32_t)kvi_rand_below(&rand, 30), n = common + (uint32_t)kvi_rand_below(&rand, 10);

      if (kvi_rand_below(&rand, 20) == 0) { /* given up, and another in its place */
        kvi_shadow_left(&shadow, model->branch);
        model->n[0] = model->n[1] = 0;
        continue;
      }
      kvi_shadow_back(&shadow, model->branch, common);
      kvi_shadow_renew(&shadow, model->branch);
      kvi_branches_use(shadow.branches, model->branch);
      kvi_branch(shadow.branches, model->branch)->n_whole = n;
      kvi_shadow_used(&shadow, model->branch, step);
      model->used = step;
      paid[0] = paid[1] = 0;
      for (enum kvi_shadow_order order = KVI_SHADOW_BY_USE; order <= KVI_SHADOW_BY_PRICE; order++) {
        for (uint32_t k = model->n[order]; k < common; k++)
          paid[order] += 1 + (k + 1) / 100.0;
        model->n[order] = n;
        while (sum(models, order) > ROOM)
          model_shorten(models, order);
        assert_int_equal(shadow.taken[order], sum(models, order));
        for (uint32_t i = 0; i < N; i++)
          assert_int_equal(kvi_branch(shadow.branches, models[i].branch)->shadow[order], models[i].n[order]);
      }
      lost = lost * FADE + paid[KVI_SHADOW_BY_PRICE] - paid[KVI_SHADOW_BY_USE];
      lost_squares = lost_squares * FADE + pow(paid[KVI_SHADOW_BY_PRICE] - paid[KVI_SHADOW_BY_USE], 2);
      assert_true(fabs(lost - shadow.lost) < 1e-6 * (1 + fabs(lost)));
      assert_true(fabs(lost_squares - shadow.lost_squares) < 1e-6 * (1 + lost_squares));
    }
    kvi_branches_destroy(shadow.branches);
  }
}

/* Nothing is said before enough was seen, nor by what may be chance; then the cheaper one, and back when it has made up for what it lost. */
static void better(void **state)
{
  struct kvi_shadow shadow = {.judged = 10, .lost = 100, .lost_squares = 100};

  (void)state;
  assert_int_equal(kvi_shadow_better(&shadow, KVI_SHADOW_BY_PRICE), KVI_SHADOW_BY_PRICE);
  shadow.judged = 1000;
  assert_int_equal(kvi_shadow_better(&shadow, KVI_SHADOW_BY_PRICE), KVI_SHADOW_BY_USE);
  shadow.lost_squares = 100 * 100;
  assert_int_equal(kvi_shadow_better(&shadow, KVI_SHADOW_BY_PRICE), KVI_SHADOW_BY_PRICE);
  assert_int_equal(kvi_shadow_better(&shadow, KVI_SHADOW_BY_USE), KVI_SHADOW_BY_USE);
  shadow.lost = -1;
  assert_int_equal(kvi_shadow_better(&shadow, KVI_SHADOW_BY_USE), KVI_SHADOW_BY_PRICE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_model), cmocka_unit_test(better)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
