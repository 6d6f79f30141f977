/* client/cli/replay.c: kvasirctl replay: the requests of a trace, sent to a node as they came. */
#include "client/cli/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/text.h"
#include "base/utf8.h"
#include "client/traces/read.h"
#include "client/traces/runs.h"

#define CHUNK_BYTES_MAX  (128u << 20)
#define CHUNK_TOKENS_MAX (1u << 20)
#define PARALLEL         16u
#define SALT_SHOWN       4u
#define NOT_SAID         UINT64_MAX
#define SPACE_MAX        255u
#define NAME_SHOWN       80u

static const char *format = "auto", *speed_text = "1", *load_text = NULL, *half = NULL, *hints = "none";
static const char *space_name = NULL, *clock_path = NULL;
static uint64_t limit = UINT64_MAX, chunk_bytes = 60 << 10, chunk_tokens = 0, parallel = NOT_SAID, seed = 1;

static const struct cli_option options[] = {
    {'f', "format", "NAME", "mooncake, agentic or bailian; by the first line unless said", CLI_TEXT, &format},
    {'x', "speed", "FACTOR", "times as fast as the trace says (default 1); max: as fast as it goes", CLI_TEXT,
     &speed_text},
    {'n', "limit", "N", "requests (default all)", CLI_NUMBER, &limit},
    {'p', "parallel", "N", "requests at a time, at most 64 (default 16; 1 at --speed max)", CLI_NUMBER,
     &parallel},
    {0, "chunk-bytes", "SIZE",
     "payload of a chunk (default 60KiB: with its head four pages of a node's memory)", CLI_SIZE,
     &chunk_bytes},
    {0, "chunk", "TOKENS", "of a chunk, whole blocks of the trace (default the larger of 256 and a block)",
     CLI_NUMBER, &chunk_tokens},
    {0, "hints", "LEVEL", "what the node is told of runs: none, kind or full (default none)", CLI_TEXT,
     &hints},
    {0, "half", "HALF", "tune or report: only the runs of one half", CLI_TEXT, &half},
    {0, "load", "FACTOR", "how close runs start to each other; 1 (default) is 29 an hour", CLI_TEXT,
     &load_text},
    {0, "seed", "N", "of the starts of runs, of hints, and of the keys (default 1)", CLI_NUMBER, &seed},
    {'s', "space", "NAME",
     "keep the chunks, and find those of earlier replays by this name and seed (default: alone, and deleted)",
     CLI_TEXT, &space_name},
    {0, "test-clock", "FILE",
     "with --speed max: the node's store.test_clock, turned to when the trace's requests came", CLI_TEXT,
     &clock_path},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* Of the command line, as numbers. */
struct settings {
  enum sim_format format;
  enum sim_half half;
  enum sim_hint_level hints;
  double speed, load; /* speed 0: as fast as it goes */
};

/* ---- the command line ---- */

static bool take_number(const char *text, double least, double most, double *value_p)
{
  char *end;

  errno = 0;
  *value_p = strtod(text, &end);
  return end != text && *end == '\0' && errno == 0 && isfinite(*value_p) && *value_p >= least &&
         *value_p <= most;
}

/* How many bytes of a text are whole characters, at most so many. */
static size_t whole_characters(const char *text, size_t most)
{
  size_t length = strlen(text), at = 0;

  while (at < length) {
    size_t n = kvi_utf8_length(text + at, length - at);

    if (n == 0 || at + n > most)
      break;
    at += n;
  }
  return at;
}

static bool is_name(const char *text)
{
  return text[0] != '\0' && whole_characters(text, SPACE_MAX) == strlen(text);
}

static int take_settings(struct settings *settings)
{
  *settings = (struct settings){.load = 1};
  if (!sim_format_named(format, &settings->format))
    return cli_usage(&cli_replay, "there is no format '%s': mooncake, agentic, bailian", format);
  if (strcmp(speed_text, "max") != 0 && !take_number(speed_text, 0, 1e9, &settings->speed))
    return cli_usage(&cli_replay, "'%s' is no speed: a number, or max", speed_text);
  if (load_text != NULL && !take_number(load_text, 1e-6, 1e6, &settings->load))
    return cli_usage(&cli_replay, "'%s' is no load: a number above 0", load_text);
  if (half != NULL && strcmp(half, "tune") != 0 && strcmp(half, "report") != 0)
    return cli_usage(&cli_replay, "there is no half '%s': tune, report", half);
  settings->half = half == NULL ? SIM_WHOLE : strcmp(half, "tune") == 0 ? SIM_TUNE : SIM_REPORT;
  if (!sim_hint_level_named(hints, &settings->hints) || settings->hints > SIM_HINTS_FULL)
    return cli_usage(&cli_replay, "there is no level of hints '%s': none, kind, full", hints);
  if (parallel != NOT_SAID && (parallel == 0 || parallel > REPLAY_PARALLEL_MAX))
    return cli_usage(&cli_replay, "--parallel goes from 1 to %u", REPLAY_PARALLEL_MAX);
  if (limit == 0)
    return cli_usage(&cli_replay, "--limit goes from 1 on");
  if (space_name != NULL && !is_name(space_name))
    return cli_usage(&cli_replay, "--space takes 1 to %u bytes of UTF-8", SPACE_MAX);
  if (clock_path != NULL && settings->speed > 0)
    return cli_usage(&cli_replay, "--test-clock goes with --speed max");
  if (chunk_bytes == 0 || chunk_bytes > CHUNK_BYTES_MAX || chunk_tokens > CHUNK_TOKENS_MAX)
    return cli_usage(&cli_replay, "--chunk-bytes goes from 1 byte to 128MiB, --chunk up to %u tokens",
                     CHUNK_TOKENS_MAX);
  if (parallel == NOT_SAID)
    parallel = settings->speed > 0 ? PARALLEL : 1;
  return CLI_OK;
}

/* ---- a replay ---- */

/* A node's test clock, to be turned; MAP_FAILED: errno. To touch what is mapped of a file that is shorter would be the end. */
static void *map_clock(const char *path)
{
  int fd = open(path, O_RDWR | O_CLOEXEC), why;
  void *clock = MAP_FAILED;
  struct stat file;

  if (fd < 0)
    return MAP_FAILED;
  if (fstat(fd, &file) == 0 && file.st_size >= (off_t)sizeof(uint64_t))
    clock = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  else
    errno = EINVAL;
  why = errno;
  close(fd);
  errno = why;
  return clock;
}

/* What is said where chunks may be left; none where they are to stay. */
static char words[1024];

static void say_what_may_be_left(const struct cli *cli, const kvs_space_desc *desc)
{
  uint8_t digest[KVS_DIGEST_SIZE];
  char shown[2 * KVS_DIGEST_SIZE + 1];

  if (space_name != NULL || kvs_space_digest(desc, digest) != KVS_OK)
    return;
  (void)kvi_hex_encode(digest, sizeof digest, shown, sizeof shown);
  snprintf(words, sizeof words,
           "kvasirctl: chunks of this replay may be left on the node; 'kvasirctl --endpoint %.512s evict "
           "--all --space "
           "%s' drops those of all replays with chunks like these\n",
           cli->endpoint, shown);
}

/* Its keys, results and space. */
static kvs_status prepare(struct replay *replay)
{
  uint8_t salt[CLI_KEY_SIZE] = {0};
  const kvs_space_desc desc = {.struct_size = sizeof desc,
                               .model = space_name != NULL ? space_name : "kvasirctl-replay",
                               .engine = "kvasirctl",
                               .layout_detail = "replay",
                               .layout = KVS_LAYOUT_OPAQUE,
                               .tokens_per_chunk = replay->trace->chunk_tokens,
                               .hash = KVS_HASH_OPAQUE,
                               .key_length = CLI_KEY_SIZE,
                               .chunk_bytes = chunk_bytes};
  kvs_status status = space_name == NULL ? kvi_random_bytes(salt, sizeof salt) : KVS_OK;
  char shown[2 * SALT_SHOWN + 1];

  if (status != KVS_OK)
    return status;
  (void)kvi_hex_encode(salt, SALT_SHOWN, shown, sizeof shown);
  snprintf(replay->name, sizeof replay->name, "replay/%.*s/%" PRIu64,
           (int)whole_characters(space_name != NULL ? space_name : shown, NAME_SHOWN),
           space_name != NULL ? space_name : shown, seed);
  replay->keys = replay_keys(replay->trace, seed, salt);
  replay->may_be_there = calloc((size_t)replay->trace->n_chunks + 1, sizeof *replay->may_be_there);
  replay->is_named = calloc((size_t)replay->trace->n_runs + 1, sizeof *replay->is_named);
  for (int kind = 0; kind < REPLAY_KINDS; kind++) {
    replay->seconds[kind] = calloc((size_t)replay->schedule->n + 1, sizeof *replay->seconds[kind]);
    if (replay->seconds[kind] == NULL)
      status = KVS_ERR_NOMEM;
  }
  if (replay->keys == NULL || replay->may_be_there == NULL || replay->is_named == NULL || status != KVS_OK)
    return KVS_ERR_NOMEM;
  say_what_may_be_left(replay->cli, &desc);
  return kvsc_space_open(replay->cli->client, &desc, &replay->space);
}

static uint32_t batch_of(uint64_t bytes)
{
  uint64_t n = REPLAY_BATCH_BYTES / bytes;

  return n == 0 ? 1 : n < REPLAY_BATCH_CHUNKS ? (uint32_t)n : REPLAY_BATCH_CHUNKS;
}

static const char too_large[] = "a chunk with its head is to fit into the node's memory (dram.size) and its "
                                "limits ('kvasirctl config'): say less "
                                "--chunk-bytes";

static bool is_all_refused(const struct replay_sums *sums)
{
  return sums->refused > 0 && sums->stored == 0 && sums->existed == 0 && sums->declined == 0;
}

static void say_why_refused(const struct replay_sums *sums)
{
  const char *advice = cli_advice(sums->refused_why);

  if (sums->refused_why == KVS_ERR_TOO_LARGE)
    advice = too_large;
  else if (sums->refused_why == KVS_ERR_FULL)
    advice = "chunks that are in use leave no room, or there is none for one of them in the node's memory "
             "(dram.size): say less "
             "--parallel or --chunk-bytes";
  fprintf(stderr, "kvasirctl: %s refused, %" PRIu64 " chunks, the first since: %s%s%s\n",
          is_all_refused(sums) ? "nothing was stored: all that was put was" : "some of what was put was",
          sums->refused, kvs_status_text(sums->refused_why), advice != NULL ? "; " : "",
          advice != NULL ? advice : "");
}

static int code_of(const struct replay *replay, kvs_status status)
{
  if (status == KVS_ERR_NOMEM)
    fprintf(stderr,
            "kvasirctl: no memory for %" PRIu64
            " requests at a time, each with %zu bytes beside its keys: say less "
            "--parallel or --chunk-bytes\n",
            parallel, replay->batch * replay->chunk_bytes);
  if (status == KVS_ERR_NOMEM)
    return CLI_ERROR;
  if (status != KVS_OK)
    return cli_fail(replay->cli, "replay", status);
  if (replay->failed == KVS_ERR_TOO_LARGE) {
    fprintf(stderr, "kvasirctl: replay at %s: %s; %s\n", replay->cli->endpoint,
            kvs_status_text(replay->failed), too_large);
    return CLI_ERROR;
  }
  if (replay->failed != KVS_OK)
    return cli_fail(replay->cli, "replay", replay->failed);
  if (replay->sums.refused > 0)
    say_why_refused(&replay->sums);
  if (replay->sums.wrong > 0)
    fprintf(stderr, "kvasirctl: %" PRIu64 " chunks came with other bytes than were put\n",
            replay->sums.wrong);
  if (replay->sums.wrong > 0 || is_all_refused(&replay->sums))
    return CLI_ERROR;
  return CLI_OK;
}

/* The client is connected, and closed after it. */
static int replay_trace(struct replay *replay)
{
  struct replay_run run = {.requests_all = replay->schedule->n < limit ? replay->schedule->n : limit};
  struct replay_crew *crew = NULL;
  kvs_status status = prepare(replay);
  kvs_status left = KVS_OK;
  int code;

  pthread_mutex_init(&replay->lock, NULL);
  replay_signals_begin(words);
  if (status == KVS_OK) {
    crew = replay_crew_new(replay, (uint32_t)parallel, (uint32_t)run.requests_all);
    status = crew != NULL ? replay_crew_work(crew, &run) : KVS_ERR_NOMEM;
  }
  if (status == KVS_OK) {
    replay_report(replay, &run);
    fflush(stdout); /* before what may take its time, or be ended */
    if (space_name == NULL)
      left = replay_clean_up(replay);
  }
  replay_signals_end();
  code = code_of(replay, status);
  if (left != KVS_OK) {
    int other = cli_fail(replay->cli, "deleting what was put", left);

    fputs(words, stderr);
    code = code == CLI_OK ? other : code;
  }
  kvsc_close(replay->cli->client);
  replay->cli->client = NULL;
  replay_crew_free(crew);
  for (int kind = 0; kind < REPLAY_KINDS; kind++)
    free(replay->seconds[kind]);
  free(replay->may_be_there);
  free(replay->is_named);
  free(replay->keys);
  pthread_mutex_destroy(&replay->lock);
  return code;
}

/* Reads, chooses and orders. KVS_OK, or why not, in the error. */
static kvs_status read_all(struct sim_trace *trace, const struct settings *settings, int n, char **paths,
                           struct sim_schedule **schedule_p, struct sim_told **told_p,
                           struct sim_error *error)
{
  struct sim_runs_found found;

  for (int i = 0; i < n; i++)
    if (sim_read_path(trace, paths[i], settings->format, error) != KVS_OK)
      return error->status;
  if (sim_runs_check(trace, settings->half != SIM_WHOLE || load_text != NULL, error) != KVS_OK ||
      sim_hints_check(trace, settings->hints, error) != KVS_OK ||
      sim_runs_choose(trace, settings->half, &found, error) != KVS_OK ||
      sim_schedule_create(trace, seed, settings->load, schedule_p, error) != KVS_OK)
    return error->status;
  if (settings->hints == SIM_HINTS_NONE)
    return KVS_OK;
  *told_p = sim_hints_create(trace, *schedule_p, settings->hints, seed);
  return *told_p != NULL ? KVS_OK : sim_fail(error, KVS_ERR_NOMEM, "no memory for the hints");
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct sim_error error = {0};
  struct settings settings;
  struct sim_schedule *schedule = NULL;
  struct sim_trace *trace = NULL;
  struct sim_told *told = NULL;
  void *clock = MAP_FAILED;
  int code = take_settings(&settings);

  if (code != CLI_OK)
    return code;
  if (sim_trace_create((uint32_t)chunk_tokens, &trace) != KVS_OK)
    sim_fail(&error, KVS_ERR_NOMEM, "no memory for the trace");
  else
    read_all(trace, &settings, n, arguments, &schedule, &told, &error);
  if (error.status != KVS_OK || schedule == NULL) {
    fprintf(stderr, "kvasirctl: %s\n", error.text);
    code = CLI_ERROR;
  } else {
    code = cli_connect(cli);
  }
  if (code == CLI_OK && clock_path != NULL && (clock = map_clock(clock_path)) == MAP_FAILED) {
    fprintf(stderr, "kvasirctl: the clock %s cannot be turned: %s\n", clock_path, strerror(errno));
    code = CLI_ERROR;
  }
  if (code == CLI_OK) {
    struct replay replay = {.cli = cli,
                            .trace = trace,
                            .schedule = schedule,
                            .told = told,
                            .speed = settings.speed,
                            .clock = clock_path != NULL ? clock : NULL,
                            .chunk_bytes = (size_t)chunk_bytes,
                            .batch = batch_of(chunk_bytes)};

    code = replay_trace(&replay);
  }
  free(told);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
  return code;
}

const struct cli_command cli_replay = {
    .name = "replay",
    .arguments = "FILE...",
    .summary = "Send the requests of a trace to a node",
    .details =
        "Each request looks its prompt up, gets what is found, compares it, and puts the rest. FILE is a "
        "trace as\n"
        "kvasir-sim takes it (docs/simulator.md), or a folder or archive of them, each perhaps packed by "
        "zstd.\n"
        "The chunks take room from what the node holds. Ctrl-C ends it and prints what there is so far; a "
        "second "
        "one does not\n"
        "wait for what is left to be deleted.",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = INT_MAX,
    .run = run,
};
