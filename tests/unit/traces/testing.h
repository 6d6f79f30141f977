/* testing.h: cmocka with its prerequisites, and traces made of small numbers. */
#ifndef KVI_TESTS_UNIT_TRACES_TESTING_H
#define KVI_TESTS_UNIT_TRACES_TESTING_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/traces/trace.h"

#define TESTING_BLOCK 16u

/* But for rounding, to nanoseconds as well. */
static inline void testing_near(double value, double expected)
{
  if (!(fabs(value - expected) <= 1e-6 * (1 + fabs(expected))))
    fail_msg("%.9f is not %.9f", value, expected);
}

/* A trace whose chunks are its blocks of TESTING_BLOCK tokens, with one run that has begun. */
static inline struct sim_trace *testing_trace(void)
{
  struct sim_error error = {0};
  struct sim_trace *trace;

  assert_int_equal(sim_trace_create(TESTING_BLOCK, &trace), KVS_OK);
  assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
  return trace;
}

/* A request of the last run, n full blocks, at a time in us. */
static inline void testing_add(struct sim_trace *trace, uint64_t at_us, const uint64_t *ids, size_t n)
{
  struct sim_error error = {0};
  struct sim_request request = {.at_us = at_us,
                                .input_tokens = (uint32_t)n * TESTING_BLOCK,
                                .run = trace->n_runs - 1,
                                .api_s = -1,
                                .think_s = -1};

  assert_int_equal(sim_trace_add(trace, &request, TESTING_BLOCK, ids, n, &error), KVS_OK);
}

#endif
