/* tests/bench/plan.h: which cases a run has, in the order in which a round goes through them. */
#ifndef KVASIR_BENCH_PLAN_H
#define KVASIR_BENCH_PLAN_H

#include "tests/bench/case.h"

#define BENCH_CASES_MAX 128u

struct bench_plan {
  struct bench_case cases[BENCH_CASES_MAX];
  size_t n;
};

/*
 * Every case whose rows match `only` (an extended regular expression over row names; NULL: all), and those that their
 * ratios refer to. Cases of one size and operation follow each other, the raw way first, so that what is compared
 * was measured within seconds. Ways that are not `available` are left out. False: only is not an expression.
 */
bool bench_plan_make(struct bench_plan *plan, const bool available[BENCH_WAYS], const char *only);

/* The same of the rows of `kvasir-bench tier`: what a tier is compared with comes just before it. */
bool bench_plan_make_tier(struct bench_plan *plan, const bool available[BENCH_WAYS], const char *only);

/* Place of the case in the plan, or -1. */
int bench_plan_find(const struct bench_plan *plan, const struct bench_case *what);

#endif
