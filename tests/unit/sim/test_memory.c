/* Memory over a medium: what is in it is what was used last, if the policy does not mind; else what the policy leaves there. */
#include "tests/unit/traces/testing.h"

#include "base/clock.h"
#include "base/rand.h"
#include "tests/sim/memory.h"

#define CHUNKS 200u
#define ROOM   30u

static void open_order(const struct kvi_policy_ops *ops, const struct sim_trace *trace,
                       struct sim_order *order, struct sim_memory *memory)
{
  assert_int_equal(sim_order_create(trace, ops, order), KVS_OK);
  assert_int_equal(sim_memory_create(CHUNKS, ROOM, memory), KVS_OK);
  sim_order_memory(order, ROOM, 0.01);
}

static void close_order(struct sim_order *order, struct sim_memory *memory)
{
  sim_memory_destroy(memory);
  sim_order_destroy(order);
}

/* How many chunks were used since this one. */
static uint32_t used_since(const uint64_t *used, uint32_t chunk)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < CHUNKS; i++)
    n += used[i] > used[chunk];
  return n;
}

static void like_a_stack(void **state)
{
  const struct sim_trace trace = {.n_chunks = CHUNKS};
  uint64_t used[CHUNKS] = {0}, loaded = 0;
  struct sim_memory memory;
  struct sim_order order;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 3);
  open_order(&kvi_policy_lru, &trace, &order, &memory);
  for (uint64_t step = 1; step < 20000; step++) {
    uint32_t chunk = (uint32_t)kvi_rand_below(&rand, 1 + kvi_rand_below(&rand, CHUNKS));

    if (used[chunk] > 0 && used_since(used, chunk) >= ROOM)
      loaded++;
    sim_memory_use(&memory, &order, chunk, used[chunk] == 0);
    sim_memory_fit(&memory, &order, step);
    used[chunk] = step;
    assert_int_equal(memory.loaded, loaded);
    assert_true(memory.list.n <= ROOM);
  }
  close_order(&order, &memory);
}

/* What is nowhere any more takes no room, and is not brought from below. */
static void what_is_dropped(void **state)
{
  const struct sim_trace trace = {.n_chunks = CHUNKS};
  struct sim_memory memory;
  struct sim_order order;

  (void)state;
  open_order(&kvi_policy_lru, &trace, &order, &memory);
  for (uint32_t i = 0; i < ROOM; i++)
    sim_memory_use(&memory, &order, i, true);
  for (uint32_t i = 0; i < ROOM; i += 2)
    sim_memory_drop(&memory, i, 1);
  sim_memory_drop(&memory, 0, 1);
  sim_memory_drop(&memory, CHUNKS - 1, 1);
  assert_int_equal(memory.list.n, ROOM / 2);
  for (uint32_t i = 0; i < ROOM; i += 2)
    sim_memory_use(&memory, &order, i, true);
  sim_memory_fit(&memory, &order, 1);
  assert_int_equal(memory.list.n, ROOM);
  assert_int_equal(memory.loaded, 0);
  close_order(&order, &memory);
}

/* As lru, but who says what to bring. */
static uint32_t wanted[] = {0, 1, 2, 3}, n_wanted;

static uint32_t promotion(struct kvi_policy *policy, const struct kvi_policy_ahead *ahead, uint32_t *handles,
                          uint64_t now_ns)
{
  uint32_t n = n_wanted < ahead->most ? n_wanted : ahead->most;

  (void)policy, (void)now_ns;
  for (uint32_t i = 0; i < n; i++)
    handles[i] = wanted[--n_wanted];
  return n;
}

/* What is brought before somebody asks takes the place of others, is no load when it is asked for, and counts once. */
static void ahead_of_its_use(void **state)
{
  const struct sim_trace trace = {.n_chunks = CHUNKS};
  struct kvi_policy_ops ops = kvi_policy_lru;
  struct sim_waste waste;
  struct sim_memory memory;
  struct sim_order order;
  uint64_t came;

  (void)state;
  ops.promotion = promotion;
  assert_int_equal(sim_waste_create(CHUNKS, &waste), KVS_OK);
  open_order(&ops, &trace, &order, &memory);
  for (uint32_t i = 0; i < ROOM + 4; i++) {
    sim_memory_use(&memory, &order, i, true);
    sim_memory_fit(&memory, &order, i + 1);
  }
  n_wanted = 4;
  for (uint32_t i = 0; i < CHUNKS; i++)
    sim_waste_used(&waste, i, true, 0); /* somebody needs each, and was answered at 0 */
  memory.waste = &waste;
  came = memory.came;
  sim_memory_ahead(&memory, &order, 3, 5 * KVI_NS_PER_S); /* no more than the link brings */
  assert_int_equal(memory.came, came + 3);
  testing_near(waste.chunk_s, 3 * 5); /* of those that left for them */
  assert_int_equal(n_wanted, 1);
  assert_int_equal(memory.ahead, 3);
  assert_int_equal(memory.list.n, ROOM);
  for (uint32_t i = 0; i < 2; i++)
    sim_memory_use(&memory, &order, 3, false);
  assert_int_equal(memory.loaded, 0);
  assert_int_equal(memory.ahead_used, 1);
  sim_memory_drop(&memory, 2, 7 * KVI_NS_PER_S);
  testing_near(waste.chunk_s, 3 * 5 + 2); /* it was kept since it was brought */
  memory.waste = NULL;
  sim_memory_use(&memory, &order, 2, false); /* it has left before */
  sim_memory_use(&memory, &order, 0, false); /* it was not brought */
  assert_int_equal(memory.loaded, 2);
  assert_int_equal(memory.ahead_used, 1);
  assert_true(memory.is_ahead[1]);
  sim_memory_forget(&memory);
  sim_memory_use(&memory, &order, 1, false); /* it was brought before what counts */
  assert_int_equal(memory.ahead + memory.ahead_used + memory.loaded, 0);
  sim_waste_destroy(&waste);
  close_order(&order, &memory);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(like_a_stack), cmocka_unit_test(what_is_dropped),
                                     cmocka_unit_test(ahead_of_its_use)};

  return cmocka_run_group_tests_name("sim/memory", tests, NULL, NULL);
}
