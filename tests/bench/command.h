/* tests/bench/command.h: what a command of kvasir-bench does: its rows are measured in each placement, and printed. */
#ifndef KVASIR_BENCH_COMMAND_H
#define KVASIR_BENCH_COMMAND_H

#include "tests/bench/options.h"
#include "tests/bench/pass.h"

/*
 * Lists the rows of the plan, or measures them and prints the results. *pass says what servers and tiers there are; the
 * rest of it is filled in here. Returns the exit status.
 */
int bench_command_run(const struct bench_options *options, const struct bench_plan *plan,
                      struct bench_pass_options *pass);

#endif
