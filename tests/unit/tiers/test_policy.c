/* Leaf-first LRU against a model that is too simple to be wrong: an array, searched from end to end. */
#include <stdbool.h>

#include "testing.h"

#include "tiers/policy/policy.h"

#define N 64u

struct model {
  bool resident[N];
  uint32_t parent[N]; /* of a resident or promised one */
  uint32_t holds[N];
  uint64_t used[N];
  enum kvi_policy_group group[N];
};

static uint32_t model_children(const struct model *model, uint32_t handle)
{
  uint32_t children = 0;

  for (uint32_t i = 0; i < N; i++)
    children += model->resident[i] && model->parent[i] == handle;
  return children;
}

static uint32_t model_victim(const struct model *model, enum kvi_policy_group group)
{
  uint32_t best = KVI_POLICY_NONE;

  for (uint32_t i = 0; i < N; i++)
    if (model->resident[i] && model->group[i] == group && model->holds[i] == 0 &&
        model_children(model, i) == 0 && (best == KVI_POLICY_NONE || model->used[i] < model->used[best]))
      best = i;
  return best;
}

static void model_remove(struct model *model, uint32_t handle)
{
  model->resident[handle] = false;
  model->parent[handle] = KVI_POLICY_NONE;
  for (uint32_t i = 0; i < N; i++)
    if (model->parent[i] == handle)
      model->parent[i] = KVI_POLICY_NONE;
}

/* Only later handles have earlier ones as parents, so that there is no circle. */
static uint32_t some_parent(kvi_rand *rand, uint32_t handle)
{
  return handle == 0 || kvi_rand_below(rand, 3) == 0 ? KVI_POLICY_NONE
                                                     : (uint32_t)kvi_rand_below(rand, handle);
}

static void model_step(const struct kvi_policy_ops *ops, struct kvi_policy *policy, struct model *model,
                       kvi_rand *rand, uint64_t now)
{
  uint32_t handle = (uint32_t)kvi_rand_below(rand, N);
  uint32_t parent = some_parent(rand, handle);

  switch (kvi_rand_below(rand, 9)) {
  case 0:
  case 1:
    if (!model->resident[handle]) {
      ops->insert(policy, handle, parent, 1, now);
      model->resident[handle] = true;
      model->parent[handle] = parent;
      model->used[handle] = now;
      model->group[handle] = KVI_POLICY_MEMORY;
    }
    break;
  case 7:
    ops->move(policy, handle, now % 3 == 0 ? KVI_POLICY_MEMORY : KVI_POLICY_MEDIUM);
    model->group[handle] = now % 3 == 0 ? KVI_POLICY_MEMORY : KVI_POLICY_MEDIUM;
    break;
  case 2:
    ops->touch(policy, handle, now);
    if (model->resident[handle])
      model->used[handle] = now;
    break;
  case 3:
    ops->hold(policy, handle);
    model->holds[handle]++;
    break;
  case 4:
  case 5:
    if (model->holds[handle] > 0)
      assert_int_equal(ops->unhold(policy, handle), --model->holds[handle]);
    break;
  case 6:
    ops->remove(policy, handle); /* resident, or only promised; held or not */
    model_remove(model, handle);
    break;
  default:
    ops->link(policy, handle, parent);
    if (model->resident[handle] && model->parent[handle] == KVI_POLICY_NONE)
      model->parent[handle] = parent;
    break;
  }
}

static void like_the_model(void **state)
{
  const struct kvi_policy_ops *ops = kvi_policy_find("leaf-lru");
  struct kvi_policy *policy;
  kvi_rand rand;

  (void)state;
  for (uint64_t seed = 0; seed < 40; seed++) {
    struct model model = {0};

    memset(model.parent, 0xff, sizeof(model.parent));
    kvi_rand_seed(&rand, seed);
    assert_int_equal(ops->create(N, &policy), KVS_OK);
    for (uint64_t now = 1; now < 3000; now++) {
      enum kvi_policy_group group = now % 2 ? KVI_POLICY_MEDIUM : KVI_POLICY_MEMORY;
      uint32_t victim;

      model_step(ops, policy, &model, &rand, now);
      victim = ops->victim(policy, group, now);
      assert_int_equal(victim, model_victim(&model, group));
      if (victim != KVI_POLICY_NONE && kvi_rand_below(&rand, 4) == 0) {
        ops->remove(policy, victim);
        model_remove(&model, victim);
      }
      for (uint32_t i = 0; i < N; i++) {
        struct kvi_policy_info info;

        ops->info(policy, i, &info);
        assert_int_equal(info.holds, model.holds[i]);
        assert_int_equal(info.children, model_children(&model, i));
        assert_int_equal(info.parent, model.parent[i]);
        assert_int_equal(info.last_use_ns, model.resident[i] ? model.used[i] : 0);
      }
    }
    ops->destroy(policy);
  }
}

static void a_chain_goes_from_its_end(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_leaf_lru;
  struct kvi_policy *policy;

  (void)state;
  assert_int_equal(ops->create(4, &policy), KVS_OK);
  for (uint32_t i = 0; i < 4; i++)
    ops->insert(policy, i, i ? i - 1 : KVI_POLICY_NONE, 1,
                10 - i); /* the end is the oldest and the newest wins nothing */
  for (uint32_t i = 4; i > 0; i--) {
    assert_int_equal(ops->victim(policy, KVI_POLICY_MEMORY, 100), i - 1);
    ops->remove(policy, i - 1);
  }
  assert_int_equal(ops->victim(policy, KVI_POLICY_MEMORY, 100), KVI_POLICY_NONE);
  ops->destroy(policy);
}

static void bounds(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_leaf_lru;
  struct kvi_policy *policy;

  (void)state;
  assert_int_equal(ops->create(0, &policy), KVS_ERR_INVALID);
  assert_null(policy);
  assert_int_equal(ops->create(UINT32_MAX, &policy), KVS_ERR_INVALID);
  assert_null(policy);
  ops->destroy(NULL);
  assert_null(kvi_policy_find("no-such"));
  assert_null(kvi_policy_find(NULL));
  assert_ptr_equal(kvi_policy_find("leaf-lru"), &kvi_policy_leaf_lru);
  assert_int_equal(ops->create(1000, &policy), KVS_OK);
  assert_true(ops->memory(policy) >= 40 * 1000 && ops->memory(policy) < 41 * 1000);
  ops->destroy(policy);
}

static void admission(void **state)
{
  struct kvi_policy_candidate fresh = {0}, used = {.uses = 1};

  (void)state;
  assert_true(kvi_policy_admits(KVI_ADMIT_ALL, &fresh));
  assert_true(kvi_policy_admits(KVI_ADMIT_ALL, &used));
  assert_false(kvi_policy_admits(KVI_ADMIT_REUSED, &fresh));
  assert_true(kvi_policy_admits(KVI_ADMIT_REUSED, &used));
  assert_false(kvi_policy_admits(KVI_ADMIT_NONE, &fresh));
  assert_false(kvi_policy_admits(KVI_ADMIT_NONE, &used));
}

static void times_to_live(void **state)
{
  (void)state;
  assert_int_equal(kvi_policy_ttl_ms(0, 0), 0);
  assert_int_equal(kvi_policy_ttl_ms(0, 1000), 1000);
  assert_int_equal(kvi_policy_ttl_ms(500, 1000), 500);
  assert_int_equal(kvi_policy_ttl_ms(5000, 1000), 1000); /* the tier's is the longest */
  assert_int_equal(kvi_policy_ttl_ms(500, 0), 500);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(admission), cmocka_unit_test(times_to_live),
                                     cmocka_unit_test(like_the_model),
                                     cmocka_unit_test(a_chain_goes_from_its_end), cmocka_unit_test(bounds)};

  return cmocka_run_group_tests_name("tiers/policy", tests, NULL, NULL);
}
