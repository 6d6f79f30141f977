#include "tests/bench/tier.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "tests/bench/capture.h"
#include "tests/bench/command.h"
#include "tests/bench/medium.h"
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
  struct bench_options both;
  struct bench_tier_options tiers;
};

enum { OPT_DIRECTORY = BENCH_OPT_OWN, OPT_VOLUME, OPT_CHUNKS, OPT_LMCACHE };

static const struct option long_options[] = {{"json", no_argument, NULL, BENCH_OPT_JSON},
                                             {"markdown", no_argument, NULL, BENCH_OPT_MARKDOWN},
                                             {"directory", required_argument, NULL, OPT_DIRECTORY},
                                             {"volume", required_argument, NULL, OPT_VOLUME},
                                             {"chunks", required_argument, NULL, OPT_CHUNKS},
                                             {"lmcache", required_argument, NULL, OPT_LMCACHE},
                                             {"pin", no_argument, NULL, BENCH_OPT_PIN},
                                             {"no-pin", no_argument, NULL, BENCH_OPT_NO_PIN},
                                             {"rounds", required_argument, NULL, BENCH_OPT_ROUNDS},
                                             {"seconds", required_argument, NULL, BENCH_OPT_SECONDS},
                                             {"only", required_argument, NULL, BENCH_OPT_ONLY},
                                             {"list", no_argument, NULL, BENCH_OPT_LIST},
                                             {"help", no_argument, NULL, BENCH_OPT_HELP},
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

static bool take(void *own, int option, const char *text)
{
  struct options *options = own;

  switch (option) {
  case OPT_DIRECTORY:
    options->tiers.directory = text;
    return access(text, W_OK) == 0;
  case OPT_VOLUME:
    return take_volume(options, text);
  case OPT_CHUNKS:
    return take_chunks(options, text);
  default:
    options->tiers.lmcache = text;
    return bench_program_there(text);
  }
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

int bench_tier(int argc, char **argv)
{
  static struct bench_plan plan;
  struct options options = {
      .both = {.pinned = true, .unpinned = true, .rounds = 5, .seconds = 1.0},
      .tiers = {.directory = "/var/tmp", .volume_bytes = (uint64_t)2 << 30, .open_chunks = 1000000}};
  const struct bench_command_line line = {
      .usage = usage, .table = long_options, .take = take, .own = &options};
  struct bench_pass_options pass = {.tiers = &options.tiers};
  bool available[BENCH_WAYS];
  int status = bench_options_parse(&line, argc, argv, &options.both);

  if (status != 0)
    return status - 1;
  kvi_log_configure(KVI_LOG_WARN, KVI_LOG_TEXT);
  find_available(&options, available);
  if (!bench_plan_make_tier(&plan, available, options.both.only) || plan.n == 0) {
    fprintf(stderr, "kvasir-bench: no row matches --only\n");
    return 2;
  }
  return bench_command_run(&options.both, &plan, &pass);
}
