/* What clients would tell: nothing of the future but a noisy guess, as often absent and as often wrong as is said, and the same for the same seed. */
#include <math.h>
#include <stdlib.h>

#include "testing.h"

#include "base/clock.h"
#include "client/traces/hints.h"

#define RUNS     50u
#define REQUESTS 400u
#define GAP_S    100

/* Requests of a run follow each other in GAP_S, of which 10 s are the answer. */
static struct sim_trace *some_runs(void)
{
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};

  trace->spread = true;
  for (uint32_t i = 0; i < RUNS; i++) {
    if (i > 0)
      assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    assert_int_equal(sim_trace_scope(trace, "", 0, &error), KVS_OK);
    for (uint32_t k = 0; k < REQUESTS; k++) {
      const uint64_t ids[] = {1};
      struct sim_request request = {.run = trace->n_runs - 1,
                                    .at_us = k * UINT64_C(1000000) * GAP_S,
                                    .input_tokens = TESTING_BLOCK,
                                    .wait = k % 2 ? SIM_WAIT_TOOL : SIM_WAIT_HUMAN,
                                    .api_s = 10,
                                    .think_s = -1};

      assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, ids, 1, &error), KVS_OK);
    }
  }
  return trace;
}

/* Of a trace that tells no runs nobody can say whose a request is. */
static void what_may_be_told(void **state)
{
  struct sim_trace *trace = some_runs();

  (void)state;
  for (enum sim_hint_level level = SIM_HINTS_NONE; level <= SIM_HINTS_CONTINUES; level++)
    for (int tells_runs = 0; tells_runs < 2; tells_runs++) {
      bool is_fine = tells_runs || level == SIM_HINTS_NONE || level == SIM_HINTS_CONTINUES;
      struct sim_error error = {0};

      trace->tells_runs = tells_runs;
      assert_int_equal(sim_hints_check(trace, level, &error), is_fine ? KVS_OK : KVS_ERR_INVALID);
    }
  sim_trace_destroy(trace);
}

static void levels(void **state)
{
  struct sim_trace *trace = some_runs();
  struct sim_schedule *schedule;
  struct sim_error error = {0};

  (void)state;
  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  for (enum sim_hint_level level = SIM_HINTS_NONE; level <= SIM_HINTS_REVERSED; level++) {
    struct sim_told *told = sim_hints_create(trace, schedule, level, 5),
                    *again = sim_hints_create(trace, schedule, level, 5);
    uint32_t ended = 0, said = 0, near = 0, far = 0;

    for (uint32_t i = 0; i < schedule->n; i++) {
      const struct sim_request *request = &trace->requests[schedule->events[i].request];
      double part = told[i].announced_s / (GAP_S - 10);

      assert_true(told[i].announced_s == again[i].announced_s && told[i].ended == again[i].ended);
      assert_int_equal(told[i].program, level == SIM_HINTS_NONE ? 0 : request->run + 1);
      assert_int_equal(told[i].wait, level == SIM_HINTS_NONE ? SIM_WAIT_UNKNOWN : request->wait);
      ended += told[i].ended;
      said += told[i].announced_s > 0;
      near += part > 0.5 && part < 2;
      far += part > 5 || (part > 0 && part < 0.2);
    }
    assert_int_equal(ended, level == SIM_HINTS_FULL ? RUNS : 0);
    if (level < SIM_HINTS_FULL)
      assert_int_equal(said, 0);
    /* of lognormal noise with sigma 0.7 two thirds are within a factor of two, and 2 % beyond five */
    if (level == SIM_HINTS_FULL) {
      assert_true(fabs(said / (double)schedule->n - 0.7) < 0.02);
      assert_true(fabs(near / (double)said - 0.62) < 0.03);
      assert_true(fabs(far / (double)said - 0.11) < 0.02);
    }
    if (level > SIM_HINTS_FULL)
      assert_int_equal(said, schedule->n - RUNS);
    free(told);
    free(again);
  }
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
}

static void by_name(void **state)
{
  enum sim_hint_level level;

  (void)state;
  assert_true(sim_hint_level_named("full", &level) && level == SIM_HINTS_FULL);
  assert_true(sim_hint_level_named("none", &level) && level == SIM_HINTS_NONE);
  assert_false(sim_hint_level_named("fully", &level));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_may_be_told), cmocka_unit_test(levels),
                                     cmocka_unit_test(by_name)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
