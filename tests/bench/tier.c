#include "tests/bench/tier.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "tests/bench/affinity.h"
#include "tests/bench/capture.h"
#include "tests/bench/medium.h"
#include "tests/bench/options.h"
#include "tests/bench/pass.h"
#include "tests/bench/servers.h"

#define VOLUME_MIN ((uint64_t)64 << 20)
#define VOLUME_MAX ((uint64_t)1 << 40)
#define CHUNKS_MAX 16777216ul

static const char usage[] =
    "usage: kvasir-bench tier [OPTION]...\n"
    "  --json            print one JSON document\n"
    "  --markdown        print the tables as Markdown\n"
    "  --directory DIR   on the device to measure (default: /var/tmp); a folder is made there and removed\n"
    "  --volume SIZE     of each volume of the SSD tier, and of fio's files (default 2GiB, at least 64MiB)\n"
    "  --chunks N        in the volume that is opened (default 1000000)\n"
    "  --lmcache PYTHON  the Python of an environment with LMCache, to measure its Redis adapter too\n"
    "  --pin             only with the client on one core and Redis on another\n"
    "  --no-pin          only with the placement left to the kernel; without either: both\n"
    "  --rounds N        rounds (default 5, at most 64); medians are over rounds, ratios within them\n"
    "  --seconds S       length of one run of one case (default 1)\n"
    "  --only REGEX      only rows whose name matches, and those that their ratios need\n"
    "  --list            print the names of the rows and end\n"
    "fio, redis-server and redis-benchmark are found in PATH; rows whose program is not there are left out.\n"
    "Rows, and how to read them: docs/benchmarks.md.\n";

struct options {
  bool json, markdown, list;
  bool pinned, unpinned;
  uint32_t rounds;
  double seconds;
  const char *only;
  struct bench_tier_options tiers;
};

enum {
  OPT_JSON = 1,
  OPT_MARKDOWN,
  OPT_DIRECTORY,
  OPT_VOLUME,
  OPT_CHUNKS,
  OPT_LMCACHE,
  OPT_PIN,
  OPT_NO_PIN,
  OPT_ROUNDS,
  OPT_SECONDS,
  OPT_ONLY,
  OPT_LIST,
  OPT_HELP
};

static const struct option long_options[] = {{"json", no_argument, NULL, OPT_JSON},
                                             {"markdown", no_argument, NULL, OPT_MARKDOWN},
                                             {"directory", required_argument, NULL, OPT_DIRECTORY},
                                             {"volume", required_argument, NULL, OPT_VOLUME},
                                             {"chunks", required_argument, NULL, OPT_CHUNKS},
                                             {"lmcache", required_argument, NULL, OPT_LMCACHE},
                                             {"pin", no_argument, NULL, OPT_PIN},
                                             {"no-pin", no_argument, NULL, OPT_NO_PIN},
                                             {"rounds", required_argument, NULL, OPT_ROUNDS},
                                             {"seconds", required_argument, NULL, OPT_SECONDS},
                                             {"only", required_argument, NULL, OPT_ONLY},
                                             {"list", no_argument, NULL, OPT_LIST},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {NULL, 0, NULL, 0}};

/* Log files are whole MiB. */
static bool take_volume(struct options *options, const char *text)
{
  uint64_t bytes;

  if (kvi_parse_size(text, &bytes) != KVS_OK || bytes < VOLUME_MIN || bytes > VOLUME_MAX)
    return false;
  options->tiers.volume_bytes = bytes / (BENCH_SSD_FILES << 20) * (BENCH_SSD_FILES << 20);
  return true;
}

static bool take_chunks(struct options *options, const char *text)
{
  char *end;
  unsigned long chunks = strtoul(text, &end, 10);

  options->tiers.open_chunks = (uint32_t)chunks;
  return *end == '\0' && chunks >= 1 && chunks <= CHUNKS_MAX;
}

static bool take(struct options *options, int option, const char *text)
{
  switch (option) {
  case OPT_JSON:
    return options->json = true;
  case OPT_MARKDOWN:
    return options->markdown = true;
  case OPT_DIRECTORY:
    options->tiers.directory = text;
    return access(text, W_OK) == 0;
  case OPT_VOLUME:
    return take_volume(options, text);
  case OPT_CHUNKS:
    return take_chunks(options, text);
  case OPT_LMCACHE:
    options->tiers.lmcache = text;
    return bench_program_there(text);
  case OPT_PIN:
    options->unpinned = false;
    return true;
  case OPT_NO_PIN:
    options->pinned = false;
    return true;
  case OPT_ROUNDS:
    return bench_take_rounds(text, &options->rounds);
  case OPT_SECONDS:
    return bench_take_seconds(text, &options->seconds);
  case OPT_ONLY:
    options->only = text;
    return true;
  default:
    return options->list = true;
  }
}

/* 0: go on; else end with that status less one. */
static int parse(int argc, char **argv, struct options *options)
{
  int option;

  *options = (struct options){
      .pinned = true,
      .unpinned = true,
      .rounds = 5,
      .seconds = 1.0,
      .tiers = {.directory = "/var/tmp", .volume_bytes = (uint64_t)2 << 30, .open_chunks = 1000000}};
  while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
    if (option == OPT_HELP) {
      fputs(usage, stdout);
      return 1;
    }
    if (option != '?' && take(options, option, optarg))
      continue;
    if (option != '?')
      fprintf(stderr, "kvasir-bench: --%s does not take %s\n", long_options[option - 1].name, optarg);
    fputs(usage, stderr);
    return 3;
  }
  if (optind < argc || (!options->pinned && !options->unpinned)) {
    fputs(usage, stderr);
    return 3;
  }
  return 0;
}

static bool is_there(const char *program)
{
  bool there = bench_program_there(program);

  if (!there)
    fprintf(stderr, "kvasir-bench: there is no %s: rows that need it are left out\n", program);
  return there;
}

static void find_available(const struct options *options, bool available[BENCH_WAYS])
{
  bool redis = bench_way_get(BENCH_REDIS_TIER) != NULL && is_there("redis-server");

  for (int way = 0; way < BENCH_WAYS; way++)
    available[way] = bench_way_get((enum bench_way_id)way) != NULL;
  available[BENCH_FIO] = is_there("fio");
  available[BENCH_REDIS_TIER] = redis;
  available[BENCH_REDIS_BENCHMARK] = redis && is_there("redis-benchmark");
  available[BENCH_LMCACHE_RESP] = redis && options->tiers.lmcache != NULL;
}

/* The cases of one placement: with one side alone there is nothing to place. */
static void choose(struct bench_plan *to, const struct bench_plan *from, bool pin)
{
  to->n = 0;
  for (size_t i = 0; i < from->n; i++)
    if (!pin || bench_way_has_server(from->cases[i].way))
      to->cases[to->n++] = from->cases[i];
}

static int measure(const struct options *options, const struct bench_plan *all,
                   struct bench_document *document)
{
  static struct bench_plan plan;
  struct bench_pass_options pass = {.plan = &plan,
                                    .tiers = &options->tiers,
                                    .progress = isatty(STDERR_FILENO) == 1,
                                    .rounds = options->rounds,
                                    .seconds = options->seconds};
  int status = EXIT_SUCCESS;

  for (int pin = 1; pin >= 0; pin--) {
    pass.pin = pin == 1;
    choose(&plan, all, pass.pin);
    if (plan.n == 0 || (pass.pin ? !options->pinned : !options->unpinned))
      continue;
    if (pass.pin && bench_cores() < 2) {
      fprintf(stderr, "kvasir-bench: one core only: no pinned rows\n");
      status = EXIT_FAILURE;
    } else if (bench_pass_run(&pass, document) != 0) {
      status = EXIT_FAILURE;
    }
  }
  return status;
}

int bench_tier(int argc, char **argv)
{
  static struct options options;
  static struct bench_plan plan;
  bool available[BENCH_WAYS];
  struct bench_document document = {0};
  int status = parse(argc, argv, &options);

  if (status != 0)
    return status - 1;
  kvi_log_configure(KVI_LOG_WARN, KVI_LOG_TEXT);
  find_available(&options, available);
  if (!bench_plan_make_tier(&plan, available, options.only) || plan.n == 0) {
    fprintf(stderr, "kvasir-bench: no row matches --only\n");
    return 2;
  }
  if (options.list) {
    bench_list_rows(&plan, options.pinned, options.unpinned);
    return EXIT_SUCCESS;
  }
  document.machine.rounds = options.rounds;
  document.machine.seconds = options.seconds;
  status = measure(&options, &plan, &document);
  bench_document_settle(&document);
  if (bench_print(&document, options.json, options.markdown) != EXIT_SUCCESS)
    status = EXIT_FAILURE;
  bench_document_free(&document);
  return status;
}
