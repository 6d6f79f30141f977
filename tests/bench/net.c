#include "tests/bench/net.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/affinity.h"
#include "tests/bench/options.h"
#include "tests/bench/pass.h"
#include "tests/bench/servers.h"

static const char usage[] =
    "usage: kvasir-bench net [OPTION]...\n"
    "  --json            print one JSON document\n"
    "  --markdown        print the tables as Markdown\n"
    "  --pin             only with the client on one core and the servers on another\n"
    "  --no-pin          only with the placement left to the kernel; without either: both\n"
    "  --rounds N        rounds (default 5, at most 64); medians are over rounds, ratios within them\n"
    "  --seconds S       length of one run of one case (default 0.5)\n"
    "  --only REGEX      only rows whose name matches, and those that their ratios need\n"
    "  --peer redis      beside a redis-server, which is started for the run\n"
    "  --endpoint E      a node that runs already (kvasir://host:port or unix:/path); its CPU time is not "
    "known\n"
    "  --kvasird PATH    the kvasird to start (default: beside this program, then in PATH)\n"
    "  --list            print the names of the rows and end\n"
    "Rows, and how to read them: docs/benchmarks.md.\n";

struct options {
  bool json, markdown, list;
  bool pinned, unpinned;
  uint32_t rounds;
  double seconds;
  const char *only, *endpoint;
  bool redis;
  char kvasird[4096];
};

enum {
  OPT_JSON = 1,
  OPT_MARKDOWN,
  OPT_PIN,
  OPT_NO_PIN,
  OPT_ROUNDS,
  OPT_SECONDS,
  OPT_ONLY,
  OPT_PEER,
  OPT_ENDPOINT,
  OPT_KVASIRD,
  OPT_LIST,
  OPT_HELP
};

static const struct option long_options[] = {{"json", no_argument, NULL, OPT_JSON},
                                             {"markdown", no_argument, NULL, OPT_MARKDOWN},
                                             {"pin", no_argument, NULL, OPT_PIN},
                                             {"no-pin", no_argument, NULL, OPT_NO_PIN},
                                             {"rounds", required_argument, NULL, OPT_ROUNDS},
                                             {"seconds", required_argument, NULL, OPT_SECONDS},
                                             {"only", required_argument, NULL, OPT_ONLY},
                                             {"peer", required_argument, NULL, OPT_PEER},
                                             {"endpoint", required_argument, NULL, OPT_ENDPOINT},
                                             {"kvasird", required_argument, NULL, OPT_KVASIRD},
                                             {"list", no_argument, NULL, OPT_LIST},
                                             {"help", no_argument, NULL, OPT_HELP},
                                             {NULL, 0, NULL, 0}};

static bool take_peer(struct options *options, const char *text)
{
  options->redis = strcmp(text, "redis") == 0;
  if (options->redis && bench_way_get(BENCH_REDIS) == NULL) {
    fprintf(stderr, "kvasir-bench: built without hiredis, so without --peer redis\n");
    return false;
  }
  return options->redis;
}

static bool take_endpoint(struct options *options, const char *text)
{
  options->endpoint = text;
  return strncmp(text, "kvasir://", 9) == 0 || strncmp(text, "unix:", 5) == 0;
}

static bool take(struct options *options, int option, const char *text)
{
  switch (option) {
  case OPT_JSON:
    return options->json = true;
  case OPT_MARKDOWN:
    return options->markdown = true;
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
  case OPT_PEER:
    return take_peer(options, text);
  case OPT_ENDPOINT:
    return take_endpoint(options, text);
  case OPT_KVASIRD:
    return (size_t)snprintf(options->kvasird, sizeof options->kvasird, "%s", text) < sizeof options->kvasird;
  default:
    return options->list = true;
  }
}

/* 0: go on; else end with that status less one. */
static int parse(int argc, char **argv, struct options *options)
{
  int option;

  *options = (struct options){.pinned = true, .unpinned = true, .rounds = 5, .seconds = 0.5};
  bench_find_kvasird(options->kvasird, sizeof options->kvasird);
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

static void find_available(const struct options *options, bool available[BENCH_WAYS])
{
  for (int way = 0; way < BENCH_WAYS; way++)
    available[way] = bench_way_get((enum bench_way_id)way) != NULL;
  available[BENCH_REDIS] = available[BENCH_REDIS] && options->redis;
  if (options->endpoint != NULL) {
    bool is_unix = strncmp(options->endpoint, "unix:", 5) == 0;

    available[BENCH_GRPC_TCP] = available[BENCH_GRPC_TCP] && !is_unix;
    available[BENCH_GRPC_UNIX] = available[BENCH_GRPC_UNIX] && is_unix;
  }
}

/* Both placements, one after the other. Returns the exit status. */
static int measure(const struct options *options, const struct bench_plan *plan,
                   struct bench_document *document)
{
  struct bench_pass_options pass = {.plan = plan,
                                    .kvasird = options->kvasird,
                                    .endpoint = options->endpoint,
                                    .progress = isatty(STDERR_FILENO) == 1,
                                    .rounds = options->rounds,
                                    .seconds = options->seconds};
  int status = EXIT_SUCCESS;

  for (int pin = 1; pin >= 0; pin--) {
    pass.pin = pin == 1;
    if (pass.pin ? !options->pinned : !options->unpinned)
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

int bench_net(int argc, char **argv)
{
  static struct options options; /* long paths */
  static struct bench_plan plan;
  bool available[BENCH_WAYS];
  struct bench_document document = {0};
  int status = parse(argc, argv, &options);

  if (status != 0)
    return status - 1;
  find_available(&options, available);
  if (!bench_plan_make(&plan, available, options.only) || plan.n == 0) {
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
