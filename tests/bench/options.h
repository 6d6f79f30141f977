/* tests/bench/options.h: the options that the commands of kvasir-bench have in common, and how a command line is read. */
#ifndef KVASIR_BENCH_OPTIONS_H
#define KVASIR_BENCH_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

struct bench_options {
  bool json, markdown, list;
  bool pinned, unpinned;
  uint32_t rounds;
  double seconds;
  const char *only;
};

/* What a row of a command's table of options gives; its own begin at BENCH_OPT_OWN. */
enum {
  BENCH_OPT_JSON = 1,
  BENCH_OPT_MARKDOWN,
  BENCH_OPT_PIN,
  BENCH_OPT_NO_PIN,
  BENCH_OPT_ROUNDS,
  BENCH_OPT_SECONDS,
  BENCH_OPT_ONLY,
  BENCH_OPT_LIST,
  BENCH_OPT_HELP,
  BENCH_OPT_OWN
};

struct bench_command_line {
  const char *usage;
  const struct option *table;
  /* An option of the command's own; false: it does not take this text. */
  bool (*take)(void *own, int option, const char *text);
  void *own;
};

/* *options has the defaults. 0: go on; else end with that status less one. */
int bench_options_parse(const struct bench_command_line *line, int argc, char **argv,
                        struct bench_options *options);

#endif
