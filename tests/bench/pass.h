/*
 * tests/bench/pass.h: one pass: all rounds of a plan with the processes placed in one way. Placements are never mixed:
 * a pass has its own servers and clients.
 */
#ifndef KVASIR_BENCH_PASS_H
#define KVASIR_BENCH_PASS_H

#include "tests/bench/document.h"
#include "tests/bench/plan.h"

struct bench_pass_options {
  const struct bench_plan *plan;
  const char *kvasird, *endpoint; /* servers.h */
  const struct bench_tier_options *tiers;
  bool pin;
  bool progress; /* on stderr */
  uint32_t rounds;
  double seconds; /* of one run of one case */
};

/* Adds its samples to the document. Returns how many cases failed, with the reasons on stderr; -1: nothing could start. */
int bench_pass_run(const struct bench_pass_options *options, struct bench_document *document);

#endif
