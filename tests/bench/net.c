#include "tests/bench/net.h"

#include <stdio.h>
#include <string.h>

#include "tests/bench/command.h"
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
  struct bench_options both;
  const char *endpoint;
  bool redis;
  char kvasird[4096];
};

enum { OPT_PEER = BENCH_OPT_OWN, OPT_ENDPOINT, OPT_KVASIRD };

static const struct option long_options[] = {{"json", no_argument, NULL, BENCH_OPT_JSON},
                                             {"markdown", no_argument, NULL, BENCH_OPT_MARKDOWN},
                                             {"pin", no_argument, NULL, BENCH_OPT_PIN},
                                             {"no-pin", no_argument, NULL, BENCH_OPT_NO_PIN},
                                             {"rounds", required_argument, NULL, BENCH_OPT_ROUNDS},
                                             {"seconds", required_argument, NULL, BENCH_OPT_SECONDS},
                                             {"only", required_argument, NULL, BENCH_OPT_ONLY},
                                             {"peer", required_argument, NULL, OPT_PEER},
                                             {"endpoint", required_argument, NULL, OPT_ENDPOINT},
                                             {"kvasird", required_argument, NULL, OPT_KVASIRD},
                                             {"list", no_argument, NULL, BENCH_OPT_LIST},
                                             {"help", no_argument, NULL, BENCH_OPT_HELP},
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

static bool take(void *own, int option, const char *text)
{
  struct options *options = own;

  switch (option) {
  case OPT_PEER:
    return take_peer(options, text);
  case OPT_ENDPOINT:
    return take_endpoint(options, text);
  default:
    return (size_t)snprintf(options->kvasird, sizeof options->kvasird, "%s", text) < sizeof options->kvasird;
  }
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

int bench_net(int argc, char **argv)
{
  static struct options options; /* long paths */
  static struct bench_plan plan;
  const struct bench_command_line line = {
      .usage = usage, .table = long_options, .take = take, .own = &options};
  struct bench_pass_options pass = {.kvasird = options.kvasird};
  bool available[BENCH_WAYS];
  int status;

  options.both = (struct bench_options){.pinned = true, .unpinned = true, .rounds = 5, .seconds = 0.5};
  bench_find_kvasird(options.kvasird, sizeof options.kvasird);
  status = bench_options_parse(&line, argc, argv, &options.both);
  if (status != 0)
    return status - 1;
  find_available(&options, available);
  if (!bench_plan_make(&plan, available, options.both.only) || plan.n == 0) {
    fprintf(stderr, "kvasir-bench: no row matches --only\n");
    return 2;
  }
  pass.endpoint = options.endpoint;
  return bench_command_run(&options.both, &plan, &pass);
}
