/* Policies against a model that is too simple to be wrong: an array, searched from end to end. Leaf-first LRU evicts what it does, and so do LFU and GDSF by their numbers; what the others evict is one that may go. */
#include <stdbool.h>

#include "testing.h"

#include "tiers/policy/policy.h"

#define N    64u
#define TICK 256u /* ns: times are kept no finer */

struct model {
  bool resident[N];
  bool gone[N];       /* removed before its children: not used again while they name it */
  uint32_t parent[N]; /* of a resident or promised one; perhaps one that is gone */
  uint32_t holds[N];
  uint64_t used[N];
  enum kvi_policy_group group[N];
  /* What lfu and gdsf go by. */
  double worth[N], number[N], aged;
  uint32_t uses[N];
};

enum rule { MAY_GO, LEAST_RECENT, LEAST_NUMBER };

static uint32_t model_children(const struct model *model, uint32_t handle)
{
  uint32_t children = 0;

  for (uint32_t i = 0; i < N; i++)
    children += model->resident[i] && model->parent[i] == handle;
  return children;
}

static uint32_t model_parent(const struct model *model, uint32_t handle)
{
  uint32_t parent = model->parent[handle];

  return parent != KVI_POLICY_NONE && model->gone[parent] ? KVI_POLICY_NONE : parent;
}

static bool model_may_go(const struct model *model, enum kvi_policy_group group, uint32_t handle)
{
  return model->resident[handle] && model->group[handle] == group && model->holds[handle] == 0 &&
         model_children(model, handle) == 0;
}

static bool goes_before(const struct model *model, uint32_t a, uint32_t b, enum rule rule)
{
  return rule == LEAST_NUMBER && model->number[a] != model->number[b] ? model->number[a] < model->number[b]
                                                                      : model->used[a] < model->used[b];
}

static uint32_t model_victim(const struct model *model, enum kvi_policy_group group, enum rule rule)
{
  uint32_t best = KVI_POLICY_NONE;

  for (uint32_t i = 0; i < N; i++)
    if (model_may_go(model, group, i) && (best == KVI_POLICY_NONE || goes_before(model, i, best, rule)))
      best = i;
  return best;
}

static void model_use(struct model *model, uint32_t handle, uint64_t now)
{
  model->used[handle] = now;
  model->number[handle] = model->aged + ++model->uses[handle] * model->worth[handle];
}

/* Any chunk; of lfu a use is worth 1, of gdsf its seconds for each byte. */
static struct kvi_policy_chunk some_chunk(kvi_rand *rand, uint32_t parent, const struct kvi_policy_ops *ops,
                                          double *worth_p)
{
  struct kvi_policy_chunk chunk = {.parent = parent,
                                   .place = (uint32_t)kvi_rand_below(rand, 1000),
                                   .name = kvi_rand_below(rand, N),
                                   .bytes = 1 + kvi_rand_below(rand, 3),
                                   .tokens = 128,
                                   .cost = 2};
  double from = 128.0 * chunk.place, to = from + 128;

  *worth_p = strcmp(ops->name, "gdsf") != 0
                 ? 1
                 : (float)(2 * (4.4e-5 * 128 + 4.1e-10 * (to * to - from * from)) / (double)chunk.bytes);
  return chunk;
}

/* Returns the parent if that was gone, and is kept by nothing any more. */
static uint32_t model_leave(struct model *model, uint32_t handle)
{
  uint32_t parent = model->parent[handle];

  model->parent[handle] = KVI_POLICY_NONE;
  if (parent == KVI_POLICY_NONE || !model->gone[parent] || model_children(model, parent) > 0)
    return KVI_POLICY_NONE;
  model->gone[parent] = false;
  return model->holds[parent] == 0 ? parent : KVI_POLICY_NONE;
}

static uint32_t model_remove(struct model *model, uint32_t handle)
{
  model->resident[handle] = false;
  model->gone[handle] = model_children(model, handle) > 0;
  return model_leave(model, handle);
}

/* Only later handles have earlier ones as parents, so that there is no circle. */
static uint32_t some_parent(const struct model *model, kvi_rand *rand, uint32_t handle)
{
  uint32_t parent =
      handle == 0 || kvi_rand_below(rand, 3) == 0 ? KVI_POLICY_NONE : (uint32_t)kvi_rand_below(rand, handle);

  return parent != KVI_POLICY_NONE && model->gone[parent] ? KVI_POLICY_NONE : parent;
}

static void model_step(const struct kvi_policy_ops *ops, struct kvi_policy *policy, struct model *model,
                       kvi_rand *rand, uint64_t now)
{
  uint32_t handle = (uint32_t)kvi_rand_below(rand, N);
  uint32_t parent = some_parent(model, rand, handle);
  enum kvi_policy_group group = kvi_rand_below(rand, 3) == 0 ? KVI_POLICY_MEMORY : KVI_POLICY_MEDIUM;

  switch (kvi_rand_below(rand, 9)) {
  case 0:
  case 1:
    if (!model->resident[handle] && !model->gone[handle]) {
      struct kvi_policy_chunk chunk = some_chunk(rand, parent, ops, &model->worth[handle]);

      ops->insert(policy, handle, &chunk, now);
      model->resident[handle] = true;
      model->parent[handle] = parent;
      model->uses[handle] = 0;
      model_use(model, handle, now);
      model->group[handle] = KVI_POLICY_MEMORY;
    }
    break;
  case 7:
    ops->move(policy, handle, group);
    model->group[handle] = group;
    break;
  case 2:
    ops->touch(policy, handle, now);
    if (model->resident[handle])
      model_use(model, handle, now);
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
  case 6: /* resident, or only promised; held or not */
    if (!model->gone[handle])
      assert_int_equal(ops->remove(policy, handle), model_remove(model, handle));
    break;
  default:
    if (model->resident[handle] && model_parent(model, handle) == KVI_POLICY_NONE &&
        parent != KVI_POLICY_NONE) {
      assert_int_equal(ops->link(policy, handle, parent), model_leave(model, handle));
      model->parent[handle] = parent;
    } else {
      assert_int_equal(ops->link(policy, handle, parent), KVI_POLICY_NONE);
    }
    break;
  }
}

/* Programs come to chunks, go on, wait there, and end. */
static void program_step(const struct kvi_policy_ops *ops, struct kvi_policy *policy,
                         const struct model *model, kvi_rand *rand, uint64_t now)
{
  uint32_t handle = (uint32_t)kvi_rand_below(rand, N), n = 0;
  struct kvi_policy_use use = {.program = kvi_rand_below(rand, 8), .last = KVI_POLICY_NONE};
  struct kvi_policy_wait wait = {.program = 1 + kvi_rand_below(rand, 7),
                                 .last = handle,
                                 .kind = (enum kvi_wait_kind)kvi_rand_below(rand, KVI_WAIT_KINDS),
                                 .tool = kvi_rand_below(rand, 4),
                                 .source = (uint32_t)kvi_rand_below(rand, 3),
                                 .announced_s = (double)kvi_rand_below(rand, 3) / 1e6};

  for (uint32_t at = handle; model->resident[handle] && at != KVI_POLICY_NONE; at = model_parent(model, at))
    n++;
  if (n > 0)
    use.last = handle;
  else
    wait.last = KVI_POLICY_NONE;
  use.n_chunks = wait.n_chunks = n;
  use.n_whole = n + (uint32_t)kvi_rand_below(rand, 3);
  switch (kvi_rand_below(rand, 8)) {
  case 0:
    ops->close(policy, wait.program, now);
    break;
  case 1:
  case 2:
    (void)ops->wait(policy, &wait, now);
    break;
  case 3:
  case 4:
    ops->extend(policy, &use, now);
    break;
  default:
    ops->arrive(policy, &use, now);
    break;
  }
}

static void like_the_model(const struct kvi_policy_ops *ops, enum rule rule)
{
  struct kvi_policy *policy;
  kvi_rand rand;

  for (uint64_t seed = 0; seed < 40; seed++) {
    struct model model = {0};

    memset(model.parent, 0xff, sizeof(model.parent));
    kvi_rand_seed(&rand, seed);
    assert_int_equal(ops->create(N, &policy), KVS_OK);
    for (uint64_t step = 1; step < 3000; step++) {
      enum kvi_policy_group group = step % 2 ? KVI_POLICY_MEDIUM : KVI_POLICY_MEMORY;
      uint64_t now = 1 + step * TICK; /* the first one told is a whole number of ticks before */
      uint32_t victim;

      model_step(ops, policy, &model, &rand, now);
      if (ops->wait)
        program_step(ops, policy, &model, &rand, now);
      victim = ops->victim(policy, group, now);
      if (rule != MAY_GO || victim == KVI_POLICY_NONE)
        assert_int_equal(victim, model_victim(&model, group, rule));
      else
        assert_true(victim < N && model_may_go(&model, group, victim));
      if (victim != KVI_POLICY_NONE && model.aged < model.number[victim])
        model.aged = model.number[victim];
      if (victim != KVI_POLICY_NONE && kvi_rand_below(&rand, 4) == 0) {
        assert_int_equal(ops->remove(policy, victim), model_remove(&model, victim));
      }
      for (uint32_t i = 0; i < N; i++) {
        struct kvi_policy_info info;

        ops->info(policy, i, &info);
        assert_int_equal(info.holds, model.holds[i]);
        assert_int_equal(info.children, model_children(&model, i));
        assert_int_equal(info.parent, model_parent(&model, i));
        assert_int_equal(info.last_use_ns, model.resident[i] ? model.used[i] : 0);
      }
    }
    ops->destroy(policy);
  }
}

static void lru_like_the_model(void **state)
{
  (void)state;
  like_the_model(&kvi_policy_lru, LEAST_RECENT);
}

static void counted_like_the_model(void **state)
{
  (void)state;
  like_the_model(&kvi_policy_lfu, LEAST_NUMBER);
  like_the_model(&kvi_policy_gdsf, LEAST_NUMBER);
}

static void all_like_the_model(void **state)
{
  (void)state;
  for (size_t i = 0; kvi_policy_at(i); i++)
    like_the_model(kvi_policy_at(i), MAY_GO);
}

static void a_chain_goes_from_its_end(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_lru;
  struct kvi_policy *policy;

  (void)state;
  assert_int_equal(ops->create(4, &policy), KVS_OK);
  for (uint32_t i = 0; i < 4; i++)
    ops->insert(policy, i, TESTING_CHUNK(i ? i - 1 : KVI_POLICY_NONE),
                (10 - i) * TICK); /* the end is the oldest and the newest wins nothing */
  for (uint32_t i = 4; i > 0; i--) {
    assert_int_equal(ops->victim(policy, KVI_POLICY_MEMORY, 100), i - 1);
    ops->remove(policy, i - 1);
  }
  assert_int_equal(ops->victim(policy, KVI_POLICY_MEMORY, 100), KVI_POLICY_NONE);
  ops->destroy(policy);
}

/* A parent that was removed stays until its last child has left it, by going or by being linked to another. */
static void removed_first(const struct kvi_policy_ops *ops)
{
  struct kvi_policy_info info;
  struct kvi_policy *policy;

  assert_int_equal(ops->create(4, &policy), KVS_OK);
  ops->insert(policy, 0, TESTING_CHUNK(KVI_POLICY_NONE), TICK);
  ops->insert(policy, 1, TESTING_CHUNK(0), 2 * TICK);
  ops->insert(policy, 2, TESTING_CHUNK(0), 3 * TICK);
  ops->insert(policy, 3, TESTING_CHUNK(KVI_POLICY_NONE), 4 * TICK);
  assert_int_equal(ops->remove(policy, 0), KVI_POLICY_NONE);
  ops->info(policy, 0, &info);
  assert_int_equal(info.children, 2);
  assert_int_equal(info.last_use_ns, 0);
  ops->info(policy, 1, &info);
  assert_int_equal(info.parent, KVI_POLICY_NONE);
  ops->touch(policy, 0, 9 * TICK);
  ops->move(policy, 0, KVI_POLICY_MEDIUM);
  assert_int_equal(ops->victim(policy, KVI_POLICY_MEDIUM, 9 * TICK), KVI_POLICY_NONE);
  assert_int_equal(ops->link(policy, 2, 3), KVI_POLICY_NONE); /* the other one is left */
  ops->info(policy, 2, &info);
  assert_int_equal(info.parent, 3);
  ops->hold(policy, 0);
  assert_int_equal(ops->remove(policy, 1), KVI_POLICY_NONE); /* held */
  assert_int_equal(ops->unhold(policy, 0), 0);
  ops->info(policy, 0, &info);
  assert_int_equal(info.children, 0);
  ops->insert(policy, 0, TESTING_CHUNK(KVI_POLICY_NONE), 10 * TICK); /* another chunk */
  ops->insert(policy, 1, TESTING_CHUNK(0), 11 * TICK);
  assert_int_equal(ops->remove(policy, 0), KVI_POLICY_NONE);
  assert_int_equal(ops->remove(policy, 1), 0);
  ops->destroy(policy);
}

static void removed_before_its_children(void **state)
{
  (void)state;
  for (size_t i = 0; kvi_policy_at(i); i++)
    removed_first(kvi_policy_at(i));
}

/* Though times are kept in coarse steps, what was used a nanosecond later is evicted later. */
static void no_two_instants_are_one(void **state)
{
  const struct kvi_policy_ops *ops = &kvi_policy_lru;
  struct kvi_policy *policy;
  uint64_t now = 1000;

  (void)state;
  assert_int_equal(ops->create(8, &policy), KVS_OK);
  for (uint32_t i = 0; i < 8; i++)
    ops->insert(policy, i, TESTING_CHUNK(KVI_POLICY_NONE), now++);
  for (uint32_t i = 0; i < 8; i += 2)
    ops->touch(policy, i, now++);
  for (uint32_t i = 0; i < 8; i++) {
    uint32_t expected = i < 4 ? 2 * i + 1 : 2 * (i - 4);

    assert_int_equal(ops->victim(policy, KVI_POLICY_MEMORY, now), expected);
    assert_int_equal(ops->remove(policy, expected), KVI_POLICY_NONE);
  }
  ops->destroy(policy);
}

/* Times that 48 bits of ticks do not hold are the last one: an order is lost, nothing else. */
static void at_the_end(const struct kvi_policy_ops *ops)
{
  struct kvi_policy_info info;
  struct kvi_policy *policy;

  assert_int_equal(ops->create(3, &policy), KVS_OK);
  ops->insert(policy, 0, TESTING_CHUNK(KVI_POLICY_NONE), TICK);
  ops->insert(policy, 1, TESTING_CHUNK(KVI_POLICY_NONE), UINT64_C(1) << 60);
  ops->insert(policy, 2, TESTING_CHUNK(KVI_POLICY_NONE), UINT64_MAX);
  ops->touch(policy, 0, UINT64_MAX);
  for (uint32_t i = 0; i < 3; i++) {
    ops->info(policy, i, &info);
    assert_true(info.last_use_ns > UINT64_C(1) << 55);
  }
  for (uint32_t left = 3; left > 0; left--) {
    uint32_t victim = ops->victim(policy, KVI_POLICY_MEMORY, UINT64_MAX);

    assert_true(victim < 3);
    assert_int_equal(ops->remove(policy, victim), KVI_POLICY_NONE);
  }
  assert_int_equal(ops->victim(policy, KVI_POLICY_MEMORY, UINT64_MAX), KVI_POLICY_NONE);
  ops->destroy(policy);
}

static void at_the_end_of_time(void **state)
{
  (void)state;
  for (size_t i = 0; kvi_policy_at(i); i++)
    at_the_end(kvi_policy_at(i));
}

static void bounds_of(const struct kvi_policy_ops *ops)
{
  struct kvi_policy *policy;

  assert_int_equal(ops->create(0, &policy), KVS_ERR_INVALID);
  assert_null(policy);
  assert_int_equal(ops->create(UINT32_MAX, &policy), KVS_ERR_INVALID);
  assert_null(policy);
  ops->destroy(NULL);
  assert_ptr_equal(kvi_policy_find(ops->name), ops);
  assert_int_equal(ops->create(1000, &policy), KVS_OK);
  assert_true(ops->memory(policy) >= 24 * 1000);
  ops->destroy(policy);
}

static void bounds(void **state)
{
  struct kvi_policy *policy;

  (void)state;
  for (size_t i = 0; kvi_policy_at(i); i++)
    bounds_of(kvi_policy_at(i));
  assert_null(kvi_policy_find("no-such"));
  assert_null(kvi_policy_find(NULL));
  assert_int_equal(kvi_policy_lru.create(1000, &policy), KVS_OK);
  assert_true(kvi_policy_lru.memory(policy) < 25 * 1000);
  kvi_policy_lru.destroy(policy);
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
  const struct CMUnitTest tests[] = {cmocka_unit_test(admission),
                                     cmocka_unit_test(times_to_live),
                                     cmocka_unit_test(lru_like_the_model),
                                     cmocka_unit_test(counted_like_the_model),
                                     cmocka_unit_test(all_like_the_model),
                                     cmocka_unit_test(a_chain_goes_from_its_end),
                                     cmocka_unit_test(removed_before_its_children),
                                     cmocka_unit_test(at_the_end_of_time),
                                     cmocka_unit_test(no_two_instants_are_one),
                                     cmocka_unit_test(bounds)};

  return cmocka_run_group_tests_name("tiers/policy", tests, NULL, NULL);
}
