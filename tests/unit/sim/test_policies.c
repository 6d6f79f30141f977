/* The policies against models that share no code with them, request by request; and what holds for all of them. */
#include "tests/unit/traces/testing.h"

#include "made.h"
#include "tests/sim/replay.h"

#define TRACES 3000u

/* A last request with so many blocks of its own that the ghosts of all others find room, which is by all blocks of a trace. */
static void add_many(struct sim_trace *trace)
{
  uint64_t ids[1000];

  for (uint64_t i = 0; i < 1000; i++)
    ids[i] = 1000 + i;
  testing_add(trace, UINT64_C(1000000000000), ids, 1000);
}

/* told: by event; NULL: clients say nothing. */
static uint64_t replay_told(const struct sim_trace *trace, const struct sim_schedule *schedule,
                            const char *policy, int capacity, const struct sim_told *told, uint32_t *hits)
{
  struct sim_replay what = {.trace = trace,
                            .told = told,
                            .schedule = schedule,
                            .cost = SIM_COST_DEFAULT,
                            .capacity = (uint32_t)capacity,
                            .hits = hits};
  struct sim_result result;
  uint64_t sum = 0;

  assert_int_equal(sim_replay_run(&what, sim_policy_find(policy), &result), KVS_OK);
  for (uint32_t i = 0; i < schedule->n; i++)
    sum += hits[i];
  assert_int_equal(result.hits, sum);
  assert_int_equal(result.chunks, trace->n_refs);
  assert_true(result.inserted - result.evicted <= (uint64_t)capacity || strcmp(policy, "infinite") == 0);
  assert_true(result.inserted <= result.chunks - result.hits);
  assert_true(result.paid_s <= result.whole_s + 1e-9);
  return sum;
}

static uint64_t replay(const struct sim_trace *trace, const struct sim_schedule *schedule, const char *policy,
                       int capacity, uint32_t *hits)
{
  return replay_told(trace, schedule, policy, capacity, NULL, hits);
}

static void compare(const struct sim_trace *trace, const struct sim_schedule *schedule, const char *policy,
                    int capacity, const int *expected)
{
  uint32_t hits[MODEL_REQUESTS + 1];

  replay(trace, schedule, policy, capacity, hits);
  for (uint32_t i = 0; i < schedule->n; i++)
    if ((int)hits[i] != expected[i])
      fail_msg("%s, %d blocks: request %u has %u hits, the model %d", policy, capacity, i, hits[i],
               expected[i]);
}

static void like_the_models(void **state)
{
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 20);
  for (uint32_t round = 0; round < TRACES; round++) {
    struct sim_error error = {0};
    struct sim_schedule *schedule;
    struct model_trace model;
    struct sim_trace *trace;
    int capacity = 1 + (int)kvi_rand_below(&rand, round % 3 ? 20 : 60), expected[MODEL_REQUESTS + 1];

    made_chains(&model, &rand);
    trace = made_trace(&model, &rand);
    add_many(trace);
    expected[model.n] = 0;
    assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
    model_lru(&model, MODEL_BLOCKS, true, expected);
    compare(trace, schedule, "infinite", capacity, expected);
    model_lru(&model, capacity, true, expected);
    compare(trace, schedule, "lru", capacity, expected);
    model_lru(&model, capacity, false, expected);
    compare(trace, schedule, "lru-head", capacity, expected);
    model_s3fifo(&model, capacity, expected);
    compare(trace, schedule, "s3fifo", capacity, expected);
    model_belady(&model, capacity, expected);
    compare(trace, schedule, "belady", capacity, expected);
    sim_schedule_destroy(schedule);
    sim_trace_destroy(trace);
  }
}

/* None beats Belady in hits, or the infinite cache at any request; with room for all none loses anything. */
static void none_is_better_than_the_bound(void **state)
{
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 4);
  for (uint32_t round = 0; round < TRACES / 4; round++) {
    struct sim_error error = {0};
    struct sim_schedule *schedule;
    struct model_trace model;
    struct sim_trace *trace;
    uint32_t all[MODEL_REQUESTS], hits[MODEL_REQUESTS];
    int capacity = 1 + (int)kvi_rand_below(&rand, 30);
    uint64_t best;

    made_chains(&model, &rand);
    trace = made_trace(&model, &rand);
    assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
    replay(trace, schedule, "infinite", capacity, all);
    best = replay(trace, schedule, "belady", capacity, hits);
    for (size_t p = 0; sim_policy_at(p) != NULL; p++) {
      const char *name = sim_policy_name(sim_policy_at(p));

      if (strcmp(name, "infinite") == 0)
        continue;
      assert_true(replay(trace, schedule, name, capacity, hits) <= best);
      for (uint32_t i = 0; i < schedule->n; i++)
        assert_true(hits[i] <= all[i]);
      replay(trace, schedule, name, (int)trace->n_chunks + 1, hits);
      assert_memory_equal(hits, all, schedule->n * sizeof *hits);
    }
    sim_schedule_destroy(schedule);
    sim_trace_destroy(trace);
  }
}

/* What lfu and gdsf keep: of two chunks the one used more often, until that is long ago. */
static void use_counts_and_ages(void **state)
{
  const uint64_t often[] = {1}, other[] = {2}, third[] = {3};
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  uint32_t hits[100], n = 0;

  (void)state;
  for (; n < 5; n++)
    testing_add(trace, n, often, 1);
  testing_add(trace, n++, other, 1);
  testing_add(trace, n++, third, 1); /* other goes, used once */
  testing_add(trace, n++, often, 1);
  for (; n < 90; n++)
    testing_add(trace, n, n % 2 ? other : third, 1); /* each ages the cache, until often goes */
  testing_add(trace, n++, often, 1);
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  for (int i = 0; i < 2; i++) {
    replay(trace, schedule, i ? "gdsf" : "lfu", 2, hits);
    assert_int_equal(hits[4], 1);
    assert_int_equal(hits[7], 1);
    assert_int_equal(hits[n - 1], 0);
  }
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

/* 1 is answered after 10 s and pinned until 12; 2 at once, until 3. At 11 s 2 goes for 3, though 1 was used before; at 30 s no pin holds, and 3 was used before 1. */
static void pins_go_before_last_use(void **state)
{
  const uint64_t ids[] = {1, 2, 3, 4};
  const struct {
    uint64_t at_s;
    int id;
    uint32_t hits;
  } steps[] = {{0, 0, 0}, {1, 1, 0}, {11, 2, 0}, {12, 0, 1}, {30, 3, 0}, {31, 0, 1}};
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  struct sim_told told[6] = {0};
  uint32_t hits[6];

  (void)state;
  for (int i = 0; i < 6; i++) {
    told[i].program = (uint64_t)i + 1;
    testing_add(trace, steps[i].at_s * 1000000, &ids[steps[i].id], 1);
    trace->requests[i].api_s = i == 0 ? 10 : 0;
  }
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  replay_told(trace, schedule, "fixed-ttl", 2, told, hits);
  for (int i = 0; i < 6; i++)
    assert_int_equal(hits[i], steps[i].hits);
  replay(trace, schedule, "lru", 2, hits);
  assert_int_equal(hits[3], 0);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

/* The hand passes what was used, once; the next time it goes. */
static void sieve_spares_what_was_used(void **state)
{
  const uint64_t ids[] = {1, 2, 3, 4};
  const int order[] = {0, 1, 0, 2,
                       0, 3, 0, 1}; /* 0 is used; 1 goes for 2; 0 again; 2 goes for 3; 3 goes for 1 */
  const uint32_t expected[] = {0, 0, 1, 0, 1, 0, 1, 0};
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  uint32_t hits[8];

  (void)state;
  for (uint32_t i = 0; i < 8; i++)
    testing_add(trace, i, &ids[order[i]], 1);
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  replay(trace, schedule, "sieve", 2, hits);
  assert_memory_equal(hits, expected, sizeof expected);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

/* The oracle lets go what is cheap to compute: a first chunk before one behind a long prompt, though that is needed later. */
static void the_oracle_weighs(void **state)
{
  const uint64_t cheap[] = {100};
  uint64_t deep[200];
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  uint32_t hits[4];

  (void)state;
  for (uint64_t i = 0; i < 200; i++)
    deep[i] = i;
  testing_add(trace, 0, deep, 200);
  testing_add(trace, 1, cheap, 1);
  testing_add(trace, 2, cheap, 1);
  testing_add(trace, 3, deep, 200);
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  replay(trace, schedule, "belady", 200, hits);
  assert_int_equal(hits[2], 1);
  assert_int_equal(hits[3], 199);
  {
    struct sim_replay what = {
        .trace = trace, .schedule = schedule, .cost = {1e-6, 1e-6}, .capacity = 200, .hits = hits};
    struct sim_result result;

    assert_int_equal(sim_replay_run(&what, sim_policy_find("cost-oracle"), &result), KVS_OK);
  }
  assert_int_equal(hits[2], 0);
  assert_int_equal(hits[3], 200);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

/* Only requests behind the warm-up count, and the cost is that of the tokens that were not found. */
static void what_counts(void **state)
{
  const uint64_t ids[] = {1, 2, 3};
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  struct sim_replay what = {.trace = trace, .cost = {2, 0.5}, .capacity = 10, .warm_up = 1};
  struct sim_result result;

  (void)state;
  testing_add(trace, 0, ids, 2);
  testing_add(trace, 5, ids, 3);
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  what.schedule = schedule;
  assert_int_equal(sim_replay_run(&what, sim_policy_find("lru"), &result), KVS_OK);
  assert_int_equal(result.requests, 1);
  assert_int_equal(result.hits, 2);
  assert_int_equal(result.hit_tokens, 32);
  assert_int_equal(result.inserted, 1);
  assert_float_equal(result.paid_s, 2.0 * 16 + 0.5 * (48.0 * 48 - 32.0 * 32), 1e-6);
  assert_float_equal(result.whole_s, 2.0 * 48 + 0.5 * 48 * 48, 1e-6);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

static void add_at(struct sim_trace *trace, uint64_t at_s, double api_s, const char *chain)
{
  struct sim_error error = {0};
  struct sim_request request = {.at_us = at_s * 1000000,
                                .input_tokens = (uint32_t)strlen(chain) * TESTING_BLOCK,
                                .run = trace->n_runs - 1,
                                .api_s = api_s,
                                .think_s = -1};
  uint64_t ids[MODEL_LENGTH];

  for (size_t i = 0; chain[i]; i++)
    ids[i] = (uint64_t)chain[i];
  assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, ids, strlen(chain), &error), KVS_OK);
}

/*
 * The first run's answer is given at 10 s, and pins for 2 s, but the run has gone on at 5 s and waits for another answer. So at 11 s, with room for three, both of its chunks go, and what was used at 7 s stays. If it has
 * not gone on, the pin holds.
 */
static void answers_that_are_overtaken(void **state)
{
  (void)state;
  for (int goes_on = 0; goes_on < 2; goes_on++) {
    struct sim_trace *trace = testing_trace();
    struct sim_schedule *schedule;
    struct sim_error error = {0};
    struct sim_told told[5] = {0};
    uint32_t hits[5];

    add_at(trace, 0, 10, "a");
    if (!goes_on)
      assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    add_at(trace, 5, 100, "ab");
    assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    add_at(trace, 7, -1, "c");
    add_at(trace, 20, -1, "c");
    assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    add_at(trace, 11, -1, "de");
    assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
    assert_int_equal(schedule->n, 5);
    for (uint32_t i = 0; i < 5; i++)
      told[i].program = trace->requests[schedule->events[i].request].run + 1;
    replay_told(trace, schedule, "fixed-ttl", 3, told, hits);
    assert_int_equal(hits[1], 1);
    assert_int_equal(hits[4], goes_on);
    sim_schedule_destroy(schedule);
    sim_trace_destroy(trace);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_models),
                                     cmocka_unit_test(none_is_better_than_the_bound),
                                     cmocka_unit_test(use_counts_and_ages),
                                     cmocka_unit_test(sieve_spares_what_was_used),
                                     cmocka_unit_test(pins_go_before_last_use),
                                     cmocka_unit_test(the_oracle_weighs),
                                     cmocka_unit_test(what_counts),
                                     cmocka_unit_test(answers_that_are_overtaken)};

  return cmocka_run_group_tests_name("sim/policies", tests, NULL, NULL);
}
