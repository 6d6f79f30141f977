#include "tests/sim/options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tests/sim/args.h"

enum {
  OPT_POLICY = 1,
  OPT_CAPACITY,
  OPT_FORMAT,
  OPT_CHUNK,
  OPT_HALF,
  OPT_HINTS,
  OPT_SEED,
  OPT_SEEDS,
  OPT_LOAD,
  OPT_WARM_UP,
  OPT_ALPHA,
  OPT_BETA,
  OPT_BYTES,
  OPT_TIERS,
  OPT_AHEAD,
  OPT_JSON,
  OPT_PLOT,
  OPT_VERSION,
  OPT_HELP
};

static const struct option table[] = {{"policy", required_argument, NULL, OPT_POLICY},
                                      {"capacity", required_argument, NULL, OPT_CAPACITY},
                                      {"format", required_argument, NULL, OPT_FORMAT},
                                      {"chunk", required_argument, NULL, OPT_CHUNK},
                                      {"half", required_argument, NULL, OPT_HALF},
                                      {"hints", required_argument, NULL, OPT_HINTS},
                                      {"seed", required_argument, NULL, OPT_SEED},
                                      {"seeds", required_argument, NULL, OPT_SEEDS},
                                      {"load", required_argument, NULL, OPT_LOAD},
                                      {"warm-up", required_argument, NULL, OPT_WARM_UP},
                                      {"alpha", required_argument, NULL, OPT_ALPHA},
                                      {"beta", required_argument, NULL, OPT_BETA},
                                      {"bytes-per-token", required_argument, NULL, OPT_BYTES},
                                      {"tiers", required_argument, NULL, OPT_TIERS},
                                      {"ahead", no_argument, NULL, OPT_AHEAD},
                                      {"json", no_argument, NULL, OPT_JSON},
                                      {"plot", required_argument, NULL, OPT_PLOT},
                                      {"version", no_argument, NULL, OPT_VERSION},
                                      {"help", no_argument, NULL, OPT_HELP},
                                      {NULL, 0, NULL, 0}};

static const char usage[] =
    "usage: kvasir-sim [OPTION]... TRACE...\n"
    "Replays traces of LLM requests through cache policies in virtual time. A TRACE is a file, a folder of "
    "runs, or a tar archive of one,\n"
    "each perhaps packed by zstd. `kvasir-sim queue` is another mode, how long programs take: kvasir-sim "
    "queue "
    "--help\n"
    "  --policy LIST        policies to compare, all unless said; below\n"
    "  --capacity LIST      of the cache, in tokens (500k, 3M) or times the open working set (0.5x); "
    "1M,2M,4M,8M,16M unless said\n"
    "  --format NAME        mooncake, agentic or bailian; by the first line unless said\n"
    "  --chunk TOKENS       of a chunk, whole blocks of the trace; the larger of 256 and a block unless "
    "said\n"
    "  --half tune|report   only the runs of one half; near-duplicates are in the same\n"
    "  --hints LEVEL        what clients tell: none, kind (program and what it waits for), full (its end, "
    "and mostly when it will be "
    "back, with noise), random or reversed (returns that are made up), continues (also of traces that tell "
    "no runs: whether it will go on, mostly right; of those it is the only one); none unless said\n"
    "  --seed N, --seeds N  of the starts of runs, 1 unless said; how many seeds to average over, from that "
    "one on, 1 unless said; not of traces that say when their requests came\n"
    "  --load FACTOR        how close runs start to each other; 1 is 29 an hour; 1 unless said\n"
    "  --warm-up FRACTION   of the requests that do not count, 0 unless said\n"
    "  --alpha S, --beta S  prefill seconds a token, and a token squared; 4.4e-5 and 4.1e-10 unless said\n"
    "  --bytes-per-token N  of KV, 327680 unless said\n"
    "  --tiers LIST         what the node has of memory=SHARE, ssd=SHARE@GB/s, redis=SHARE@GB/s: each as a "
    "share of the capacity, and how fast it is read (memory=0.25,ssd=1@5,redis=4@1.5); memory=1 unless said\n"
    "  --ahead              what the policy says is read back from ssd before it is asked for; --tiers has "
    "to name an ssd\n"
    "  --json               one JSON document\n"
    "  --plot FILE.svg      hit rate and prefill seconds over capacity as a picture\n"
    "  --version, --help\n"
    "Policies:\n";

static void print_usage(FILE *out)
{
  const struct sim_policy *policy;

  fputs(usage, out);
  for (size_t i = 0; (policy = sim_policy_at(i)) != NULL; i++)
    fprintf(out, "  %-12s %s\n", sim_policy_name(policy), sim_policy_about(policy));
}

bool sim_capacity_parse(const char *text, struct sim_capacity *capacity_p)
{
  static const struct {
    const char *unit;
    double tokens;
  } units[] = {{"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}};
  const char *rest;
  double value;

  *capacity_p = (struct sim_capacity){0};
  if (!sim_args_number(text, 0, 1e15, &value, &rest) || value <= 0)
    return false;
  if (strcmp(rest, "x") == 0) {
    capacity_p->open = value;
    return true;
  }
  for (size_t i = 0; i < KVI_ARRAY_SIZE(units); i++)
    if (strcmp(rest, units[i].unit) == 0)
      capacity_p->tokens = value * units[i].tokens < 1e15 ? (uint64_t)(value * units[i].tokens) : 0;
  return capacity_p->tokens > 0;
}

static bool take_policy(void *own, const char *name)
{
  struct sim_options *options = own;
  const struct sim_policy *policy = sim_policy_find(name);

  if (!policy || options->n_policies == SIM_POLICIES_MAX)
    return false;
  options->policies[options->n_policies++] = policy;
  return true;
}

static bool take_capacity(void *own, const char *text)
{
  struct sim_options *options = own;

  return options->n_capacities < SIM_CAPACITIES_MAX &&
         sim_capacity_parse(text, &options->capacities[options->n_capacities++]);
}

const char *const sim_tier_names[SIM_TIERS] = {"memory", "ssd", "redis"};

/* False, and says why. */
static bool refuse(struct sim_options *options, const char *why)
{
  options->why = why;
  return false;
}

/* "ssd=1@5"; each at most once. */
static bool take_tier(void *own, const char *text)
{
  struct sim_options *options = own;
  const char *share = strchr(text, '='), *rest;

  for (size_t t = 0; share && t < SIM_TIERS; t++) {
    struct sim_tier_size *tier = &options->tiers[t];

    if (strlen(sim_tier_names[t]) != (size_t)(share - text) ||
        strncmp(sim_tier_names[t], text, (size_t)(share - text)) != 0)
      continue;
    if (tier->share > 0)
      return refuse(options, "a tier is said once");
    if (!sim_args_number(share + 1, 1e-6, 1e6, &tier->share, &rest))
      return refuse(options, "a share is a number from 1e-6 to 1e6");
    if (t == SIM_MEMORY)
      return *rest == '\0' ||
             refuse(options, "nothing comes after the share of memory, which is read at once");
    if (*rest != '@' || !sim_args_plain(rest + 1, 1e-3, 1e6, &tier->bytes_per_s))
      return refuse(options, "ssd and redis need @GB/s behind their share, from 0.001 to 1e6");
    tier->bytes_per_s *= 1e9;
    return true;
  }
  return refuse(options, "tiers are memory=SHARE, ssd=SHARE@GB/s and redis=SHARE@GB/s");
}

static bool take_tiers(struct sim_options *options, const char *text)
{
  memset(options->tiers, 0, sizeof options->tiers);
  if (!sim_args_list(text, take_tier, options))
    return false;
  return options->tiers[SIM_MEMORY].share > 0 || refuse(options, "memory=SHARE is needed");
}

bool sim_half_named(const char *text, enum sim_half *half_p)
{
  *half_p = strcmp(text, "tune") == 0 ? SIM_TUNE : SIM_REPORT;
  return *half_p == SIM_TUNE || strcmp(text, "report") == 0;
}

const char *sim_half_name(enum sim_half half)
{
  static const char *const names[] = {[SIM_WHOLE] = "whole", [SIM_TUNE] = "tune", [SIM_REPORT] = "report"};

  return names[half];
}

static bool take(struct sim_options *options, int option, const char *text)
{
  uint64_t whole = 0;
  bool ok;

  switch (option) {
  case OPT_POLICY:
    options->n_policies = 0;
    return sim_args_list(text, take_policy, options);
  case OPT_CAPACITY:
    options->n_capacities = 0;
    return sim_args_list(text, take_capacity, options);
  case OPT_FORMAT:
    return sim_format_named(text, &options->source.format);
  case OPT_CHUNK:
    ok = sim_args_whole(text, 1, 1 << 20, &whole);
    options->source.chunk_tokens = (uint32_t)whole;
    return ok;
  case OPT_HALF:
    return sim_half_named(text, &options->source.half);
  case OPT_HINTS:
    return sim_hint_level_named(text, &options->source.hints);
  case OPT_SEED:
    return sim_args_whole(text, 0, 1e15, &options->seed);
  case OPT_SEEDS:
    options->source.is_seeds_said = true;
    ok = sim_args_whole(text, 1, SIM_SEEDS_MAX, &whole);
    options->source.seeds = (uint32_t)whole;
    return ok;
  case OPT_LOAD:
    options->source.is_load_said = true;
    return sim_args_plain(text, 1e-6, 1e6, &options->load);
  case OPT_WARM_UP:
    return sim_args_plain(text, 0, 0.99, &options->warm_up);
  case OPT_ALPHA:
    return sim_args_plain(text, 0, 1e3, &options->cost.alpha);
  case OPT_BETA:
    return sim_args_plain(text, 0, 1e3, &options->cost.beta);
  case OPT_BYTES:
    return sim_args_plain(text, 1, 1e9, &options->bytes_per_token);
  case OPT_TIERS:
    return take_tiers(options, text);
  case OPT_AHEAD:
    return options->ahead = true;
  case OPT_PLOT:
    options->plot = text;
    return sim_args_picture(text);
  default:
    return options->json = true;
  }
}

static void set_defaults(struct sim_options *options)
{
  *options = (struct sim_options){.seed = 1,
                                  .source.seeds = 1,
                                  .load = 1,
                                  .cost = SIM_COST_DEFAULT,
                                  .bytes_per_token = 327680, /* of Llama 3 70B in bf16 */
                                  .tiers[SIM_MEMORY].share = 1};
  for (size_t i = 0; sim_policy_at(i) != NULL; i++)
    options->policies[options->n_policies++] = sim_policy_at(i);
  for (uint64_t tokens = 1000000; tokens <= 16000000; tokens *= 2)
    options->capacities[options->n_capacities++].tokens = tokens;
}

/* What is said of tiers, together; NULL: it holds. */
static const char *tiers_mistake(const struct sim_options *options)
{
  const struct sim_tier_size *tiers = options->tiers;

  if (tiers[SIM_SSD].share > 0 && tiers[SIM_SSD].share < tiers[SIM_MEMORY].share)
    return "the ssd has all that memory has, so it cannot be smaller";
  if (options->ahead && tiers[SIM_SSD].share == 0)
    return "--ahead brings from an ssd: say one with --tiers";
  return NULL;
}

int sim_options_parse(int argc, char **argv, struct sim_options *options)
{
  const char *mistake;
  int option, row = 0;

  set_defaults(options);
  while ((option = getopt_long(argc, argv, "", table, &row)) != -1) {
    if (option == OPT_HELP) {
      print_usage(stdout);
      return 1;
    }
    if (option == OPT_VERSION) {
      printf("kvasir-sim %s\n", KVASIR_VERSION);
      return 1;
    }
    if (option != '?' && take(options, option, optarg))
      continue;
    if (option != '?')
      fprintf(stderr, "kvasir-sim: --%s does not take %s%s%s\n", table[row].name, optarg,
              options->why ? ": " : "", options->why ? options->why : "");
    print_usage(stderr);
    return 3;
  }
  options->source.paths = argv + optind;
  options->source.n_paths = argc - optind;
  if (options->source.n_paths == 0) {
    print_usage(stderr);
    return 3;
  }
  mistake = tiers_mistake(options);
  if (mistake != NULL)
    fprintf(stderr, "kvasir-sim: %s\n", mistake);
  return mistake != NULL ? 3 : 0;
}
