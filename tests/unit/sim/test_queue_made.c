/* Made-up programs on the engine of the queueing mode: nothing is lost or twice, whoever keeps what; seeds; and what the programs are like. */
#include <math.h>

#include "tests/unit/traces/testing.h"

#include "tests/sim/queue_engine.h"

static const struct sim_queue_policy_ops *const policies[] = {
    &sim_queue_lru_fcfs,   &sim_queue_lru,       &sim_queue_lru_door,
    &sim_queue_fixed_ttl,  &sim_queue_continuum, &sim_queue_continuum_fcfs,
    &sim_queue_index_open, &sim_queue_index};
#define POLICIES (sizeof policies / sizeof policies[0])

/* Whatever they keep: every token of every prompt is found, loaded or computed once, every answer is given, and nobody is faster than alone; twice the same. */
static void made_programs(void **state)
{
  (void)state;
  for (int tails = 0; tails < SIM_QUEUE_TAILS; tails++)
    for (size_t i = 0; i < 2 * POLICIES; i++) {
      struct sim_queue_machine machine = SIM_QUEUE_MACHINE_DEFAULT;
      struct sim_queue_result results[2];
      struct sim_queue_work *work;
      uint64_t asked = 0, answered = 0;

      machine.bandwidth = i < POLICIES ? 0 : 5e9;
      machine.pool_tokens = 250000;
      assert_int_equal(sim_queue_work_make((enum sim_queue_tails)tails, 1.5, 40, 7, 256, &work), KVS_OK);
      for (uint32_t k = 0; k < work->n_turns; k++) {
        asked += work->turns[k].input;
        answered += work->turns[k].output;
      }
      for (int k = 0; k < 2; k++)
        assert_int_equal(sim_queue_run(work, &machine, policies[i % POLICIES], &results[k]), KVS_OK);
      assert_int_equal(results[0].asked_tokens, asked);
      assert_int_equal(results[0].answered_tokens, answered);
      assert_int_equal(results[0].turns, work->n_turns);
      assert_int_equal(asked, results[0].hit_tokens + results[0].loaded_tokens + results[0].computed_tokens);
      assert_true(results[0].computed_s >= results[0].first_s);
      assert_true(results[0].busy_s <= results[0].end_s + 1e-6);
      assert_true(i >= POLICIES || results[0].loaded_tokens + results[0].stored_tokens == 0);
      for (uint32_t k = 0; k < work->n_programs; k++) {
        const struct sim_queue_program *program = &work->programs[k];
        double alone_s = 0;

        for (uint32_t t = program->first_turn; t < program->first_turn + program->n_turns; t++)
          alone_s +=
              (double)work->turns[t].output * 0.006 +
              (t + 1 < program->first_turn + program->n_turns ? (double)work->turns[t].wait_ns / 1e9 : 0);
        assert_true(results[0].jct_s[k] >= alone_s);
        assert_true(results[0].jct_s[k] == results[1].jct_s[k]);
      }
      sim_queue_result_free(&results[0]);
      sim_queue_result_free(&results[1]);
      sim_queue_work_destroy(work);
    }
}

static double mean_jct_s(const struct sim_queue_work *work, const struct sim_queue_policy_ops *policy)
{
  struct sim_queue_machine machine = SIM_QUEUE_MACHINE_DEFAULT;
  struct sim_queue_result result;
  double sum = 0;

  assert_int_equal(sim_queue_run(work, &machine, policy, &result), KVS_OK);
  for (uint32_t i = 0; i < result.programs; i++)
    sum += result.jct_s[i] / result.programs;
  sim_queue_result_free(&result);
  return sum;
}

/* Too much load, and nothing below: without a door all lose their contexts to each other. It is one also as long as the node's policy goes by last use. */
static void a_door_is_worth_something(void **state)
{
  struct sim_queue_work *work;

  (void)state;
  assert_int_equal(sim_queue_work_make(SIM_QUEUE_LIGHT, 1, 200, 1, 256, &work), KVS_OK);
  assert_true(mean_jct_s(work, &sim_queue_lru_door) < 0.5 * mean_jct_s(work, &sim_queue_lru));
  assert_true(mean_jct_s(work, &sim_queue_index) < 0.5 * mean_jct_s(work, &sim_queue_index_open));
  sim_queue_work_destroy(work);
}

/* With room for all nobody ever goes, and it is the same for all who let in by the same rule. */
static void with_room_all_are_alike(void **state)
{
  struct sim_queue_machine machine = SIM_QUEUE_MACHINE_DEFAULT;
  struct sim_queue_work *work;
  double first_s = 0;

  (void)state;
  machine.pool_tokens = 100000000;
  assert_int_equal(sim_queue_work_make(SIM_QUEUE_LIGHT, 1, 50, 3, 256, &work), KVS_OK);
  for (size_t i = 0; i < POLICIES; i++) {
    struct sim_queue_result result;

    assert_int_equal(sim_queue_run(work, &machine, policies[i], &result), KVS_OK);
    testing_near(result.wasted_byte_s, 0);
    if (i == 0)
      first_s = result.computed_s;
    testing_near(result.computed_s, first_s);
    assert_true(result.computed_s < 1.05 * result.first_s); /* beginnings of chunks are computed again */
    sim_queue_result_free(&result);
  }
  sim_queue_work_destroy(work);
}

/* Of n programs. */
static void moments(const struct sim_queue_work *work, double *mean_p, double *deviation_p, double *most_p)
{
  double sum = 0, squares = 0;

  *most_p = 0;
  for (uint32_t i = 0; i < work->n_programs; i++) {
    const struct sim_queue_program *program = &work->programs[i];
    const struct sim_queue_turn *turns = work->turns + program->first_turn;
    double tokens = turns[program->n_turns - 1].input + turns[program->n_turns - 1].output;

    for (uint32_t k = 0; k < program->n_turns; k++) {
      assert_true(turns[k].output >= 1);
      assert_true(turns[k].input >= 64 + (k > 0 ? turns[k - 1].input + turns[k - 1].output : 0));
    }
    sum += tokens;
    squares += tokens * tokens;
    *most_p = tokens > *most_p ? tokens : *most_p;
  }
  *mean_p = sum / work->n_programs;
  *deviation_p = sqrt(squares / work->n_programs - *mean_p * *mean_p);
}

/* The published moments, and none above the bound; another seed is another work; another load is the same one, closer. */
static void made_programs_are_like_published_ones(void **state)
{
  const double waits_s[SIM_QUEUE_TAILS][2] = {{0.8, 1.15}, {9, 30}},
               tokens[SIM_QUEUE_TAILS][2] = {{69e3, 71.5e3}, {86e3, 91e3}},
               deviations[SIM_QUEUE_TAILS][2] = {{19e3, 20.5e3}, {49e3, 54e3}},
               most_tokens[SIM_QUEUE_TAILS] = {180e3, 200e3};
  const double turns[SIM_QUEUE_TAILS][2] = {{10.5, 11.3}, {19, 26}};
  enum { N = 5000 };

  (void)state;
  for (int tails = 0; tails < SIM_QUEUE_TAILS; tails++) {
    struct sim_queue_work *work[3];
    double wait_s = 0, mean, deviation, most;

    for (uint64_t i = 0; i < 3; i++)
      assert_int_equal(
          sim_queue_work_make((enum sim_queue_tails)tails, i == 1 ? 2 : 1, N, i == 2 ? 14 : 1, 256, &work[i]),
          KVS_OK);
    for (uint32_t i = 0; i < work[0]->n_turns; i++)
      wait_s += (double)work[0]->turns[i].wait_ns / 1e9 / work[0]->n_turns;
    for (uint32_t i = 0; i < N; i++)
      testing_near((double)work[1]->programs[i].arrives_ns, (double)work[0]->programs[i].arrives_ns / 2);
    assert_memory_equal(work[0]->turns, work[1]->turns, work[0]->n_turns * sizeof *work[0]->turns);
    assert_memory_not_equal(work[0]->turns, work[2]->turns, sizeof *work[0]->turns);
    assert_true(wait_s > waits_s[tails][0] && wait_s < waits_s[tails][1]);
    for (int i = 0; i < 3; i += 2) {
      moments(work[i], &mean, &deviation, &most);
      assert_true(mean > tokens[tails][0] && mean < tokens[tails][1]);
      assert_true(deviation > deviations[tails][0] && deviation < deviations[tails][1]);
      assert_true(most <= most_tokens[tails]);
    }
    assert_true(work[0]->n_turns > turns[tails][0] * N && work[0]->n_turns < turns[tails][1] * N);
    for (int i = 0; i < 3; i++)
      sim_queue_work_destroy(work[i]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(made_programs), cmocka_unit_test(a_door_is_worth_something),
      cmocka_unit_test(with_room_all_are_alike), cmocka_unit_test(made_programs_are_like_published_ones)};

  return cmocka_run_group_tests_name("sim/queue_made", tests, NULL, NULL);
}
