/* kvasir-bench: measures Kvasir beside the limits of the machine and its peers. docs/benchmarks.md. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/codec/codec.h"
#include "tests/bench/net.h"
#include "tests/bench/plot.h"
#include "tests/bench/raw.h"
#include "tests/bench/tier.h"

static const char usage[] =
    "usage: kvasir-bench COMMAND [OPTION]...\n"
    "  net               get, put and lookup over each way; net --help lists its options\n"
    "  tier              the SSD tier beside fio, the Redis tier beside redis-benchmark, DRAM beside memcpy, "
    "and how long\n"
    "                    a volume takes to open; tier --help lists its options\n"
    "  codec             rate, error and speed of the codec's levels beside the alternatives; codec --help "
    "lists its "
    "options\n"
    "  plot FILE.json    the ratios, or curves, of a JSON document as an SVG picture, to standard output\n"
    "  --version, --help\n";

int main(int argc, char **argv)
{
  const char *command = argc > 1 ? argv[1] : "";

  signal(SIGPIPE, SIG_IGN);
  if (strcmp(command, "net") == 0)
    return bench_net(argc - 1, argv + 1);
  if (strcmp(command, "tier") == 0)
    return bench_tier(argc - 1, argv + 1);
  if (strcmp(command, "codec") == 0)
    return bench_codec(argc - 1, argv + 1);
  if (strcmp(command, "plot") == 0 && argc == 3)
    return bench_plot(argv[2]);
  if (strcmp(command, "serve-raw") == 0 && argc == 3) /* our own child: raw.h */
    return bench_serve_raw(argv[2]);
  if (strcmp(command, "--version") == 0) {
    printf("kvasir-bench %s\n", KVASIR_VERSION);
    return 0;
  }
  fputs(usage, strcmp(command, "--help") == 0 ? stdout : stderr);
  return strcmp(command, "--help") == 0 ? 0 : 2;
}
