/* Duplicates, groups and halves of runs; their starts; the open working set. */
#include "testing.h"

#include "client/traces/runs.h"
#include "client/traces/schedule.h"

/* A run of n requests, whose lengths follow from `kind`; the last `own` of them are its own. */
static void add_run(struct sim_trace *trace, uint32_t kind, uint32_t n, uint32_t own)
{
  struct sim_error error = {0};
  struct sim_request request = {.api_s = -1, .think_s = -1};

  if (trace->n_requests > 0)
    assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
  assert_int_equal(sim_trace_scope(trace, "", 0, &error), KVS_OK);
  request.run = trace->n_runs - 1;
  for (uint32_t i = 0; i < n; i++) {
    const uint64_t ids[] = {1};

    request.at_us = i * UINT64_C(1000000);
    request.input_tokens = TESTING_BLOCK + kind * 1000 + i;
    request.output_tokens = i + own >= n ? 100000 + request.run : i;
    assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, ids, 1, &error), KVS_OK);
  }
}

static struct sim_trace *some_runs(void)
{
  struct sim_trace *trace = testing_trace();

  trace->spread = true;
  add_run(trace, 1, 10, 0);
  add_run(trace, 1, 10, 0); /* a duplicate */
  add_run(trace, 1, 10, 5); /* nearly */
  add_run(trace, 2, 10, 5);
  add_run(trace, 2, 10, 6); /* not half of it is the same */
  for (uint32_t kind = 3; kind < 9; kind++)
    add_run(trace, kind, 4, 0);
  return trace;
}

static void duplicates_and_groups(void **state)
{
  struct sim_trace *trace = some_runs();
  struct sim_runs_found found;
  struct sim_error error = {0};

  (void)state;
  assert_int_equal(sim_runs_choose(trace, SIM_WHOLE, &found, &error), KVS_OK);
  assert_int_equal(found.duplicates, 1);
  assert_int_equal(found.groups, 9);
  assert_true(trace->runs[1].left_out && !trace->runs[0].left_out);
  assert_int_equal(trace->runs[2].group, trace->runs[0].group);
  assert_int_not_equal(trace->runs[4].group, trace->runs[3].group);
  sim_trace_destroy(trace);
}

/* Each run is of exactly one half, groups as a whole. */
static void halves(void **state)
{
  struct sim_trace *halves[] = {some_runs(), some_runs()};
  struct sim_runs_found found;
  struct sim_error error = {0};
  uint32_t of_first = 0;

  (void)state;
  assert_int_equal(sim_runs_choose(halves[0], SIM_TUNE, &found, &error), KVS_OK);
  assert_int_equal(sim_runs_choose(halves[1], SIM_REPORT, &found, &error), KVS_OK);
  for (uint32_t i = 0; i < halves[0]->n_runs; i++) {
    if (i == 1)
      assert_true(halves[0]->runs[i].left_out && halves[1]->runs[i].left_out);
    else
      assert_int_not_equal(halves[0]->runs[i].left_out, halves[1]->runs[i].left_out);
    of_first += !halves[0]->runs[i].left_out;
  }
  assert_true(of_first >= 4 && of_first <= 6);
  assert_int_equal(halves[0]->runs[0].left_out, halves[0]->runs[2].left_out);
  sim_trace_destroy(halves[0]);
  sim_trace_destroy(halves[1]);
}

static void starts_follow_the_seed(void **state)
{
  struct sim_trace *trace = some_runs();
  struct sim_schedule *schedules[3];
  struct sim_error error = {0};
  bool differ = false;

  (void)state;
  for (uint64_t i = 0; i < 3; i++)
    assert_int_equal(sim_schedule_create(trace, i == 2 ? 1 : 0, 2, &schedules[i], &error), KVS_OK);
  assert_int_equal(schedules[0]->n, trace->n_requests);
  for (uint32_t i = 0; i < schedules[0]->n; i++) {
    assert_int_equal(schedules[0]->events[i].at_ns, schedules[1]->events[i].at_ns);
    assert_int_equal(schedules[0]->events[i].request, schedules[1]->events[i].request);
    differ |= schedules[0]->events[i].at_ns != schedules[2]->events[i].at_ns;
  }
  assert_true(differ);
  for (uint32_t i = 1; i < schedules[0]->n; i++)
    assert_true(schedules[0]->events[i - 1].at_ns <= schedules[0]->events[i].at_ns);
  for (int i = 0; i < 3; i++)
    sim_schedule_destroy(schedules[i]);
  sim_trace_destroy(trace);
}

/* Two runs of 100 and 300 tokens at most; the second lies within the first. */
static void open_working_set(void **state)
{
  const struct {
    uint64_t at_us;
    uint32_t run, tokens;
  } requests[] = {{0, 0, 40}, {10, 1, 300}, {20, 1, 200}, {30, 0, 100}};
  struct sim_trace *trace = testing_trace();
  struct sim_schedule *schedule;
  struct sim_error error = {0};

  (void)state;
  assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
  for (size_t i = 0; i < 4; i++) {
    struct sim_request request = {
        .at_us = requests[i].at_us, .run = requests[i].run, .input_tokens = requests[i].tokens};

    assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, NULL, 0, &error), KVS_OK);
  }
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  assert_int_equal(schedule->open_tokens, (100 + 400 + 400 + 100) / 4);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

static void nothing_to_replay(void **state)
{
  struct sim_trace *trace = testing_trace();
  struct sim_schedule *schedule;
  struct sim_error error = {0};

  (void)state;
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_ERR_INVALID);
  assert_null(schedule);
  sim_trace_destroy(trace);
}

/* Only the same agent of the same run overtakes, with what goes on from the prompt, and before the end that is asked for. */
static void who_is_overtaken(void **state)
{
  static const struct {
    uint64_t at_us;
    uint32_t run, agent;
    uint64_t ids[3];
    size_t n;
  } requests[] = {{0, 0, 0, {1, 2}, 2},
                  {1, 1, 0, {1, 2}, 2},
                  {2, 0, 1, {1, 2}, 2},
                  {3, 0, 0, {1, 3, 4}, 3},
                  {4, 0, 0, {1, 2, 4}, 3}};
  struct sim_trace *trace = testing_trace();
  struct sim_schedule *schedule;
  struct sim_error error = {0};

  (void)state;
  assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    const struct sim_request request = {.at_us = requests[i].at_us,
                                        .run = requests[i].run,
                                        .agent = requests[i].agent,
                                        .input_tokens = (uint32_t)requests[i].n * TESTING_BLOCK};

    assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, requests[i].ids, requests[i].n, &error),
                     KVS_OK);
  }
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  for (uint32_t end = 1; end <= 4; end++)
    assert_false(sim_schedule_is_overtaken(trace, schedule, 0, end));
  assert_true(sim_schedule_is_overtaken(trace, schedule, 0, 5));
  assert_false(sim_schedule_is_overtaken(trace, schedule, 1, 5));
  assert_false(sim_schedule_is_overtaken(trace, schedule, 2, 5));
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

/* What is told at the time of a request is told before it; what comes last, or beyond the schedule, behind all. */
static void who_is_told_before_whom(void **state)
{
  static const struct {
    uint64_t at_us;
    double api_s;
    uint32_t before;
  } requests[] = {{0, 2, 2}, {1000000, -1, 2}, {2000000, 0.5, 4}, {2000000, 0, 4}, {3000000, 1e6, 5}};
  struct sim_trace *trace = testing_trace();
  struct sim_schedule *schedule;
  struct sim_error error = {0};
  double at_ns;

  (void)state;
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    const struct sim_request request = {.at_us = requests[i].at_us, .api_s = requests[i].api_s};

    assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, NULL, 0, &error), KVS_OK);
  }
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  for (uint32_t i = 0; i < schedule->n; i++)
    assert_int_equal(sim_schedule_answered(trace, schedule, i, &at_ns), requests[i].before);
  assert_true(at_ns > 1e15);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(duplicates_and_groups),  cmocka_unit_test(halves),
      cmocka_unit_test(starts_follow_the_seed), cmocka_unit_test(open_working_set),
      cmocka_unit_test(nothing_to_replay),      cmocka_unit_test(who_is_overtaken),
      cmocka_unit_test(who_is_told_before_whom)};

  return cmocka_run_group_tests_name("traces/runs", tests, NULL, NULL);
}
