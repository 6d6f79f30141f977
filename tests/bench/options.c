#include "tests/bench/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/stats.h"

#define SECONDS_MAX 60.0

/* False: it is no such number, or out of bounds. */
static bool take_rounds(const char *text, uint32_t *rounds_p)
{
  char *end;
  unsigned long rounds = strtoul(text, &end, 10);

  *rounds_p = (uint32_t)rounds;
  return *end == '\0' && rounds >= 1 && rounds <= BENCH_ROUNDS_MAX;
}

static bool take_seconds(const char *text, double *seconds_p)
{
  char *end;

  *seconds_p = strtod(text, &end);
  return end != text && *end == '\0' && *seconds_p > 0.0 && *seconds_p <= SECONDS_MAX;
}

static bool take(const struct bench_command_line *line, struct bench_options *options, int option,
                 const char *text)
{
  switch (option) {
  case BENCH_OPT_JSON:
    return options->json = true;
  case BENCH_OPT_MARKDOWN:
    return options->markdown = true;
  case BENCH_OPT_PIN:
    options->unpinned = false;
    return true;
  case BENCH_OPT_NO_PIN:
    options->pinned = false;
    return true;
  case BENCH_OPT_ROUNDS:
    return take_rounds(text, &options->rounds);
  case BENCH_OPT_SECONDS:
    return take_seconds(text, &options->seconds);
  case BENCH_OPT_ONLY:
    options->only = text;
    return true;
  case BENCH_OPT_LIST:
    return options->list = true;
  default:
    return line->take(line->own, option, text);
  }
}

int bench_options_parse(const struct bench_command_line *line, int argc, char **argv,
                        struct bench_options *options)
{
  int option, row = 0;

  while ((option = getopt_long(argc, argv, "", line->table, &row)) != -1) {
    if (option == BENCH_OPT_HELP) {
      fputs(line->usage, stdout);
      return 1;
    }
    if (option != '?' && take(line, options, option, optarg))
      continue;
    if (option != '?')
      fprintf(stderr, "kvasir-bench: --%s does not take %s\n", line->table[row].name, optarg);
    fputs(line->usage, stderr);
    return 3;
  }
  if (optind < argc || (!options->pinned && !options->unpinned)) {
    fputs(line->usage, stderr);
    return 3;
  }
  return 0;
}
