#include "tests/bench/codec/codec.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/codec/rate.h"
#include "tests/bench/codec/report.h"
#include "tests/bench/codec/speed.h"
#include "tests/bench/codec/synthetic.h"
#include "tests/bench/options.h"

#define TEXT_MAX     (16u << 20)
#define TOKENS       256u
#define LAYERS_MAX   128u
#define SPEED_LAYERS 32u /* with 8 heads of 128 a chunk of 33.5 MB */
#define MODES_MAX    16u

static const char usage[] =
    "usage: kvasir-bench codec [OPTION]...\n"
    "  --json            print one JSON document\n"
    "  --markdown        print the tables as Markdown\n"
    "  --data DIR        also keys, values and queries from files: NAME-k.npy, NAME-v.npy, NAME-q.npy, each "
    "with or\n"
    "                    without .zst; bf16 as u2, [sequence, layer, token, head, dim], a sequence is a "
    "chunk\n"
    "  --synthetic LIST  which generated sets: of head128, head64, head32, qwen2, or none (default: all)\n"
    "  --layers N        of the generated sets (default 8), and at most so many of the chunk whose coding is "
    "timed\n"
    "                    (default 32)\n"
    "  --no-speed        rates and errors alone\n"
    "  --rounds N        rounds of the speed rows (default 5, at most 64)\n"
    "  --seconds S       length of one run of one speed row (default 0.5)\n"
    "  --only REGEX      only rows whose name matches: SET-METHOD, encode-LEVEL-PATH, decode-LEVEL-PATH\n"
    "  --list            print the names of sets and methods and end\n"
    "Rows, and how to read them: docs/benchmarks.md.\n";

struct options {
  struct bench_options both;
  const char *data;
  bool modes[MODES_MAX]; /* of codec_synthetic_modes */
  uint32_t layers;       /* 0: not said */
  bool no_speed;
};

enum { OPT_DATA = BENCH_OPT_OWN, OPT_SYNTHETIC, OPT_LAYERS, OPT_NO_SPEED };

static const struct option long_options[] = {{"json", no_argument, NULL, BENCH_OPT_JSON},
                                             {"markdown", no_argument, NULL, BENCH_OPT_MARKDOWN},
                                             {"data", required_argument, NULL, OPT_DATA},
                                             {"synthetic", required_argument, NULL, OPT_SYNTHETIC},
                                             {"layers", required_argument, NULL, OPT_LAYERS},
                                             {"no-speed", no_argument, NULL, OPT_NO_SPEED},
                                             {"rounds", required_argument, NULL, BENCH_OPT_ROUNDS},
                                             {"seconds", required_argument, NULL, BENCH_OPT_SECONDS},
                                             {"only", required_argument, NULL, BENCH_OPT_ONLY},
                                             {"list", no_argument, NULL, BENCH_OPT_LIST},
                                             {"help", no_argument, NULL, BENCH_OPT_HELP},
                                             {NULL, 0, NULL, 0}};

/* ---- options ---- */

static bool choose_mode(struct options *options, const char *name, size_t length)
{
  for (size_t i = 0; codec_synthetic_modes[i] != NULL && i < MODES_MAX; i++) {
    if (strlen(codec_synthetic_modes[i]) != length || memcmp(codec_synthetic_modes[i], name, length) != 0)
      continue;
    options->modes[i] = true;
    return true;
  }
  return length == 4 && memcmp(name, "none", 4) == 0;
}

static bool take_modes(struct options *options, const char *text)
{
  memset(options->modes, 0, sizeof options->modes);
  for (;;) {
    size_t length = strcspn(text, ",");

    if (!choose_mode(options, text, length))
      return false;
    if (text[length] == '\0')
      return true;
    text += length + 1;
  }
}

static bool take(void *own, int option, const char *text)
{
  struct options *options = own;
  char *end;
  unsigned long layers;

  switch (option) {
  case OPT_DATA:
    options->data = text;
    return access(text, R_OK | X_OK) == 0;
  case OPT_SYNTHETIC:
    return take_modes(options, text);
  case OPT_LAYERS:
    layers = strtoul(text, &end, 10);
    options->layers = (uint32_t)layers;
    return *end == '\0' && layers >= 1 && layers <= LAYERS_MAX;
  default:
    return options->no_speed = true;
  }
}

/* ---- the run ---- */

struct run {
  const struct options *options;
  const regex_t *only;
  bool progress;
  struct codec_document document;
};

/* Goes through the sets, one in memory at a time. Returns false when one of them failed. */
static bool for_each_set(struct run *run, bool (*use)(struct run *, struct codec_set *))
{
  static char names[CODEC_SETS_MAX / 2][CODEC_NAME_MAX];
  int n = run->options->data != NULL ? codec_set_names(run->options->data, names, CODEC_SETS_MAX / 2) : 0;
  uint32_t layers = run->options->layers > 0 ? run->options->layers : 8;
  bool ok = n >= 0;
  struct codec_set set;

  for (int i = 0; i < n; i++) {
    ok = codec_set_read(run->options->data, names[i], &set) == KVS_OK && use(run, &set) && ok;
    codec_set_free(&set);
  }
  for (size_t i = 0; codec_synthetic_modes[i] != NULL; i++) {
    if (!run->options->modes[i])
      continue;
    ok = codec_synthetic_make(codec_synthetic_modes[i], layers, TOKENS, 1, &set) == KVS_OK &&
         use(run, &set) && ok;
    codec_set_free(&set);
  }
  return ok;
}

static bool measure_set(struct run *run, struct codec_set *set)
{
  return codec_rate_run(set, run->only, run->progress, &run->document) == KVS_OK;
}

static bool list_set(struct run *run, struct codec_set *set)
{
  struct codec_method *methods = calloc(CODEC_METHODS_MAX, sizeof *methods);
  size_t n = methods != NULL ? codec_methods(methods, CODEC_METHODS_MAX) : 0;

  (void)run;
  for (size_t i = 0; i < n; i++)
    printf("%s-%s\n", set->name, methods[i].name);
  free(methods);
  return n > 0;
}

static bool measure_speed(struct run *run)
{
  struct codec_speed_options options = {.seconds = run->options->both.seconds,
                                        .rounds = run->options->both.rounds,
                                        .n_layers = SPEED_LAYERS,
                                        .only = run->only,
                                        .progress = run->progress};
  bool ok;

  if (run->options->no_speed)
    return true;
  if (run->options->layers > 0 && run->options->layers < SPEED_LAYERS)
    options.n_layers = run->options->layers;
  run->document.machine.rounds = options.rounds;
  run->document.machine.seconds = options.seconds;
  ok = codec_speed_run(&options, &run->document) == KVS_OK;
  codec_document_settle(&run->document);
  codec_speed_derive(&run->document);
  return ok;
}

static bool print(struct run *run)
{
  kvi_strbuf out;
  bool ok;

  kvi_strbuf_init(&out, TEXT_MAX);
  if (run->options->both.json)
    codec_document_json(&run->document, &out);
  else
    codec_report(&run->document, run->options->both.markdown, &out);
  ok = out.status == KVS_OK && fputs(kvi_strbuf_text(&out), stdout) >= 0 && fflush(stdout) == 0;
  kvi_strbuf_free(&out);
  return ok && !run->document.failed;
}

static int measure_all(struct run *run)
{
  bool ok = for_each_set(run, measure_set);

  codec_rate_compare(&run->document);
  ok = measure_speed(run) && ok;
  ok = print(run) && ok;
  codec_document_free(&run->document);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int bench_codec(int argc, char **argv)
{
  struct options options = {.both = {.pinned = true, .unpinned = true, .rounds = 5, .seconds = 0.5}};
  const struct bench_command_line line = {
      .usage = usage, .table = long_options, .take = take, .own = &options};
  struct run run = {.options = &options, .progress = isatty(STDERR_FILENO) == 1};
  regex_t only;
  int status;

  memset(options.modes, true, sizeof options.modes);
  status = bench_options_parse(&line, argc, argv, &options.both);
  if (status != 0)
    return status - 1;
  if (options.both.only != NULL) {
    if (regcomp(&only, options.both.only, REG_EXTENDED | REG_NOSUB) != 0) {
      fprintf(stderr, "kvasir-bench: --only does not take %s\n", options.both.only);
      return 2;
    }
    run.only = &only;
  }
  if (options.both.list)
    status = for_each_set(&run, list_set) ? EXIT_SUCCESS : EXIT_FAILURE;
  else
    status = measure_all(&run);
  if (run.only != NULL)
    regfree(&only);
  return status;
}
