#include "tests/sim/queue_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "tests/sim/args.h"
#include "tests/sim/options.h"

enum {
  OPT_POLICY = 1,
  OPT_LOWER,
  OPT_TAILS,
  OPT_LOAD,
  OPT_PROGRAMS,
  OPT_SEED,
  OPT_SEEDS,
  OPT_POOL,
  OPT_LOWER_ROOM,
  OPT_LOAD_WEIGHED,
  OPT_LINK_WEIGHT,
  OPT_GIVE_WAY,
  OPT_CHUNK,
  OPT_STEP_MS,
  OPT_STEP_TOKENS,
  OPT_ALPHA,
  OPT_BETA,
  OPT_BYTES,
  OPT_FORMAT,
  OPT_HALF,
  OPT_HINTS,
  OPT_JSON,
  OPT_PLOT,
  OPT_VERSION,
  OPT_HELP
};

static const struct option table[] = {{"policy", required_argument, NULL, OPT_POLICY},
                                      {"lower", required_argument, NULL, OPT_LOWER},
                                      {"tails", required_argument, NULL, OPT_TAILS},
                                      {"load", required_argument, NULL, OPT_LOAD},
                                      {"programs", required_argument, NULL, OPT_PROGRAMS},
                                      {"seed", required_argument, NULL, OPT_SEED},
                                      {"seeds", required_argument, NULL, OPT_SEEDS},
                                      {"pool", required_argument, NULL, OPT_POOL},
                                      {"lower-capacity", required_argument, NULL, OPT_LOWER_ROOM},
                                      {"reload-cheaper", no_argument, NULL, OPT_LOAD_WEIGHED},
                                      {"link-weight", required_argument, NULL, OPT_LINK_WEIGHT},
                                      {"give-way", required_argument, NULL, OPT_GIVE_WAY},
                                      {"chunk", required_argument, NULL, OPT_CHUNK},
                                      {"step-ms", required_argument, NULL, OPT_STEP_MS},
                                      {"step-tokens", required_argument, NULL, OPT_STEP_TOKENS},
                                      {"alpha", required_argument, NULL, OPT_ALPHA},
                                      {"beta", required_argument, NULL, OPT_BETA},
                                      {"bytes-per-token", required_argument, NULL, OPT_BYTES},
                                      {"format", required_argument, NULL, OPT_FORMAT},
                                      {"half", required_argument, NULL, OPT_HALF},
                                      {"hints", required_argument, NULL, OPT_HINTS},
                                      {"json", no_argument, NULL, OPT_JSON},
                                      {"plot", required_argument, NULL, OPT_PLOT},
                                      {"version", no_argument, NULL, OPT_VERSION},
                                      {"help", no_argument, NULL, OPT_HELP},
                                      {NULL, 0, NULL, 0}};

static const char usage[] =
    "usage: kvasir-sim queue [OPTION]... [TRACE]...\n"
    "Serves programs (turns of an agent, with tools between them) on a modelled engine, with each "
    "policy, and prints how long programs take. They are made up, or the runs of a TRACE, as kvasir-sim "
    "takes them.\n"
    "  --policy LIST          who keeps its context while it waits, all unless said; below\n"
    "  --lower LIST           GB/s of the link to the tier below, or none; none,1.5,5,25 unless said\n"
    "  --tails LIST           how tools' times are distributed: light, heavy; both unless said\n"
    "  --load LIST            how close programs arrive; 1 is 0.1 a second with light tails, 0.06 with "
    "heavy; 0.4,0.8,1 unless said. Of a trace without times 1 is 29 an hour; 1 unless said\n"
    "  --programs N           of one run, 200 unless said; of a trace the first ones, all unless said\n"
    "  --seed N, --seeds N    1 unless said; how many seeds, from that one on, 5 unless said\n"
    "  --pool TOKENS          of the engine, 400k unless said\n"
    "  --lower-capacity TOKENS  of the tier below, 1.6M unless said\n"
    "  --reload-cheaper       bring from below only what takes longer to compute\n"
    "  --link-weight X        what index counts a second of the link as, in seconds of the engine; 3 unless "
    "said\n"
    "  --give-way S           at a door later programs give way to earlier ones if the link brings what they "
    "lose within so many seconds; 1 unless said, 0: never\n"
    "  --chunk TOKENS         256 unless said; of a trace whole blocks, the larger of 256 and a block unless "
    "said\n"
    "  --step-ms MS, --step-tokens N  of a step of the engine, and of prompts in it; 6 and 2048 unless said\n"
    "  --alpha S, --beta S    prefill seconds a token, and a token squared; 3.2e-5 and 5.2e-10 unless said\n"
    "  --bytes-per-token N    of KV, 131072 unless said\n"
    "  --format NAME, --half tune|report, --hints LEVEL  of a trace, as without queue\n"
    "  --json                 one JSON document\n"
    "  --plot FILE.svg        times and bytes by tier and load as a picture\n"
    "  --version, --help\n"
    "Policies:\n";

static const struct sim_queue_policy_ops *const policies[] = {
    &sim_queue_lru_fcfs,   &sim_queue_lru,       &sim_queue_lru_door,
    &sim_queue_fixed_ttl,  &sim_queue_continuum, &sim_queue_continuum_fcfs,
    &sim_queue_index_open, &sim_queue_index};

static void print_usage(FILE *out)
{
  fputs(usage, out);
  for (size_t i = 0; i < KVI_ARRAY_SIZE(policies); i++)
    fprintf(out, "  %-14s %s\n", policies[i]->name, policies[i]->about);
}

static bool take_policy(void *own, const char *text)
{
  struct sim_queue_options *options = own;

  for (size_t i = 0; i < KVI_ARRAY_SIZE(policies) && options->n_policies < SIM_QUEUE_POLICIES_MAX; i++)
    if (strcmp(policies[i]->name, text) == 0) {
      options->policies[options->n_policies++] = policies[i];
      return true;
    }
  return false;
}

static bool take_lower(void *own, const char *text)
{
  struct sim_queue_options *options = own;
  double rate = 0;

  if (options->n_lowers == SIM_QUEUE_LIST_MAX ||
      (strcmp(text, "none") != 0 && !sim_args_plain(text, 1e-3, 1e6, &rate)))
    return false;
  options->lowers[options->n_lowers++] = rate * 1e9;
  return true;
}

static bool take_tails(void *own, const char *text)
{
  struct sim_queue_options *options = own;
  size_t number;

  if (options->n_tails == SIM_QUEUE_TAILS ||
      !sim_args_name(text, sim_queue_tails_names, SIM_QUEUE_TAILS, &number))
    return false;
  options->tails[options->n_tails++] = (enum sim_queue_tails)number;
  return true;
}

static bool take_load(void *own, const char *text)
{
  struct sim_queue_options *options = own;

  return options->n_loads < SIM_QUEUE_LIST_MAX &&
         sim_args_plain(text, 1e-3, 1e3, &options->loads[options->n_loads++]);
}

static bool take_uint32(const char *text, double least, double most, uint32_t *value_p)
{
  uint64_t whole = 0;
  bool ok = sim_args_whole(text, least, most, &whole);

  *value_p = (uint32_t)whole;
  return ok;
}

static bool take_tokens(const char *text, uint32_t *tokens_p)
{
  struct sim_capacity capacity;

  if (!sim_capacity_parse(text, &capacity) || capacity.tokens == 0 || capacity.tokens > UINT32_MAX)
    return false;
  *tokens_p = (uint32_t)capacity.tokens;
  return true;
}

static bool take_machine(struct sim_queue_machine *machine, int option, const char *text)
{
  double ms = 0;
  bool ok;

  switch (option) {
  case OPT_POOL:
    return take_tokens(text, &machine->pool_tokens);
  case OPT_LOWER_ROOM:
    return take_tokens(text, &machine->lower_tokens);
  case OPT_STEP_MS:
    ok = sim_args_plain(text, 1e-3, 1e6, &ms);
    machine->step_ns = (uint64_t)(ms * KVI_NS_PER_MS);
    return ok;
  case OPT_STEP_TOKENS:
    return take_uint32(text, 1, 1 << 20, &machine->step_tokens);
  case OPT_ALPHA:
    return sim_args_plain(text, 0, 1e3, &machine->cost.alpha);
  case OPT_BETA:
    return sim_args_plain(text, 0, 1e3, &machine->cost.beta);
  case OPT_BYTES:
    return sim_args_plain(text, 1, 1e9, &machine->bytes_per_token);
  case OPT_LINK_WEIGHT:
    return sim_args_plain(text, 0, 1e6, &machine->link_weight);
  case OPT_GIVE_WAY:
    return sim_args_plain(text, 0, 1e6, &machine->give_way_s);
  default:
    return machine->is_load_weighed = true;
  }
}

static bool take(struct sim_queue_options *options, int option, const char *text)
{
  switch (option) {
  case OPT_POLICY:
    options->n_policies = 0;
    return sim_args_list(text, take_policy, options);
  case OPT_LOWER:
    options->n_lowers = 0;
    return sim_args_list(text, take_lower, options);
  case OPT_TAILS:
    options->n_tails = 0;
    return sim_args_list(text, take_tails, options);
  case OPT_LOAD:
    options->n_loads = 0;
    options->source.is_load_said = true;
    return sim_args_list(text, take_load, options);
  case OPT_PROGRAMS:
    return take_uint32(text, 1, UINT32_MAX, &options->programs);
  case OPT_SEED:
    return sim_args_whole(text, 0, 1e15, &options->seed);
  case OPT_SEEDS:
    options->source.is_seeds_said = true;
    return take_uint32(text, 1, SIM_QUEUE_SEEDS_MAX, &options->source.seeds);
  case OPT_CHUNK:
    return take_uint32(text, 1, 1 << 20, &options->source.chunk_tokens);
  case OPT_FORMAT:
    return sim_format_named(text, &options->source.format);
  case OPT_HALF:
    return sim_half_named(text, &options->source.half);
  case OPT_HINTS:
    return sim_hint_level_named(text, &options->source.hints);
  case OPT_JSON:
    return options->json = true;
  case OPT_PLOT:
    options->plot = text;
    return sim_args_picture(text);
  case OPT_LOWER_ROOM:
  case OPT_LOAD_WEIGHED:
  case OPT_LINK_WEIGHT:
  case OPT_GIVE_WAY:
    options->is_below_said = true;
    return take_machine(&options->machine, option, text);
  default:
    return take_machine(&options->machine, option, text);
  }
}

static void set_defaults(struct sim_queue_options *options)
{
  *options = (struct sim_queue_options){.seed = 1, .source.seeds = 5, .machine = SIM_QUEUE_MACHINE_DEFAULT};
  for (size_t i = 0; i < KVI_ARRAY_SIZE(policies); i++)
    options->policies[options->n_policies++] = policies[i];
  sim_args_list("none,1.5,5,25", take_lower, options);
}

/* What is said together; NULL: it holds. */
static const char *mistake_of(const struct sim_queue_options *options, bool is_below)
{
  const struct sim_source *source = &options->source;
  bool is_trace = source->n_paths > 0;

  if (is_trace ? options->n_tails > 0
               : source->format != SIM_AUTO || source->half != SIM_WHOLE || source->hints != SIM_HINTS_NONE)
    return "--tails is of programs that are made up; --format, --half and --hints are of a trace";
  if (!is_trace && options->programs > SIM_QUEUE_PROGRAMS_MAX)
    return "no more than 100000 programs are made up";
  if (!is_below && options->is_below_said)
    return "--lower-capacity, --reload-cheaper, --link-weight and --give-way are of a tier below, and "
           "--lower "
           "names none";
  return NULL;
}

/* What was not said, by what is served. */
static void complete(struct sim_queue_options *options, bool is_below)
{
  bool is_trace = options->source.n_paths > 0;

  if (!is_below)
    options->machine.lower_tokens = 0;
  if (is_trace)
    options->n_tails = 1;
  else if (options->n_tails == 0)
    sim_args_list("light,heavy", take_tails, options);
  if (options->n_loads == 0)
    sim_args_list(is_trace ? "1" : "0.4,0.8,1", take_load, options);
  if (options->programs == 0)
    options->programs = is_trace ? UINT32_MAX : 200;
  if (options->source.chunk_tokens == 0 && !is_trace)
    options->source.chunk_tokens = SIM_CHUNK_TOKENS;
}

const char *sim_queue_tails_name(const struct sim_queue_options *options, size_t tails)
{
  return options->source.n_paths > 0 ? "trace" : sim_queue_tails_names[options->tails[tails]];
}

int sim_queue_options_parse(int argc, char **argv, struct sim_queue_options *options)
{
  const char *mistake;
  bool is_below = false;
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
      fprintf(stderr, "kvasir-sim: --%s does not take %s\n", table[row].name, optarg);
    print_usage(stderr);
    return 3;
  }
  options->source.paths = argv + optind;
  options->source.n_paths = argc - optind;
  for (size_t i = 0; i < options->n_lowers; i++)
    is_below |= options->lowers[i] > 0;
  mistake = mistake_of(options, is_below);
  if (mistake != NULL) {
    fprintf(stderr, "kvasir-sim: %s\n", mistake);
    return 3;
  }
  complete(options, is_below);
  return 0;
}
