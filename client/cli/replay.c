/* client/cli/replay.c: kvasirctl replay: the requests of a trace, sent to a node as they came. */
#include "client/cli/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "base/text.h"
#include "client/traces/read.h"
#include "client/traces/runs.h"

#define CHUNK_BYTES_MAX  (128u << 20)
#define CHUNK_TOKENS_MAX (1u << 20)
#define PARALLEL         16u
#define SALT_SHOWN       4u
#define LOOK_MS          100u /* how often the bar and the terminal are looked at */

static const char *format = "auto", *speed_text = "1", *load_text = "1", *half = NULL, *hints = "none";
static const char *space_name = NULL;
static uint64_t limit = UINT64_MAX, chunk_bytes = 60 << 10, chunk_tokens = 0, parallel = 0, seed = 1;

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
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* Of the command line, as numbers. */
struct settings {
  enum sim_format format;
  enum sim_half half;
  enum sim_hint_level hints;
  double speed, load; /* speed 0: as fast as it goes */
};

/* Who works on what. */
struct crew {
  struct replay *replay;
  const struct replay_action *actions;
  size_t n_actions;
  uint64_t start_ns;

  pthread_mutex_t lock;
  pthread_cond_t changed; /* something was done, or all is to end */
  pthread_cond_t ended;   /* the last worker has ended */
  size_t next;            /* action that nobody has */
  bool stop;
  uint32_t working; /* workers that have not ended */
  struct member {
    struct crew *crew;
    kvi_thread thread;
    struct replay_worker *worker;
    size_t action;
    bool busy; /* with `action` */
  } members[REPLAY_PARALLEL_MAX];
  uint32_t n_members;
};

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number)
{
  (void)number;
  is_interrupted = 1;
}

/* ---- the command line ---- */

static bool take_number(const char *text, double least, double most, double *value_p)
{
  char *end;

  errno = 0;
  *value_p = strtod(text, &end);
  return end != text && *end == '\0' && errno == 0 && isfinite(*value_p) && *value_p >= least &&
         *value_p <= most;
}

static int take_settings(struct settings *settings)
{
  *settings = (struct settings){.speed = 0};
  if (!sim_format_named(format, &settings->format))
    return cli_usage(&cli_replay, "there is no format '%s': mooncake, agentic, bailian", format);
  if (strcmp(speed_text, "max") != 0 && !take_number(speed_text, 0, 1e9, &settings->speed))
    return cli_usage(&cli_replay, "'%s' is no speed: a number, or max", speed_text);
  if (!take_number(load_text, 1e-6, 1e6, &settings->load))
    return cli_usage(&cli_replay, "'%s' is no load: a number above 0", load_text);
  if (half != NULL && strcmp(half, "tune") != 0 && strcmp(half, "report") != 0)
    return cli_usage(&cli_replay, "there is no half '%s': tune, report", half);
  settings->half = half == NULL ? SIM_WHOLE : strcmp(half, "tune") == 0 ? SIM_TUNE : SIM_REPORT;
  if (!sim_hint_level_named(hints, &settings->hints) || settings->hints > SIM_HINTS_FULL)
    return cli_usage(&cli_replay, "there is no level of hints '%s': none, kind, full", hints);
  if (parallel > REPLAY_PARALLEL_MAX || limit == 0)
    return cli_usage(&cli_replay, "--parallel goes from 1 to %u, --limit from 1 on", REPLAY_PARALLEL_MAX);
  if (chunk_bytes == 0 || chunk_bytes > CHUNK_BYTES_MAX || chunk_tokens > CHUNK_TOKENS_MAX)
    return cli_usage(&cli_replay, "--chunk-bytes goes up to 128MiB, --chunk up to %u tokens",
                     CHUNK_TOKENS_MAX);
  if (parallel == 0)
    parallel = settings->speed > 0 ? PARALLEL : 1;
  return CLI_OK;
}

/* ---- what is sent ---- */

/* The first `limit` requests and, with hints, their answers, in the order of their times; a request stands before what is told at the same time. */
static int by_time(const void *a, const void *b)
{
  const struct replay_action *x = a, *y = b;

  if (x->at_ns != y->at_ns)
    return x->at_ns < y->at_ns ? -1 : 1;
  if (x->answer != y->answer)
    return x->answer ? 1 : -1;
  return (x->event > y->event) - (x->event < y->event);
}

static struct replay_action *make_actions(const struct replay *replay, uint32_t requests, size_t *n_p)
{
  const struct sim_schedule *schedule = replay->schedule;
  struct replay_action *actions = malloc((2 * (size_t)requests + 1) * sizeof *actions);
  size_t n = 0;

  if (actions == NULL)
    return NULL;
  for (uint32_t i = 0; i < requests; i++) {
    const struct sim_request *request = &replay->trace->requests[schedule->events[i].request];
    uint64_t at_ns = schedule->events[i].at_ns, answered_ns = at_ns;
    uint32_t end = i + 1;

    actions[n++] = (struct replay_action){.at_ns = at_ns, .event = i};
    if (replay->told == NULL)
      continue;
    if (request->api_s > 0)
      answered_ns += (uint64_t)(request->api_s * (double)KVI_NS_PER_S);
    while (end < requests && schedule->events[end].at_ns < answered_ns)
      end++;
    if (!sim_schedule_is_overtaken(replay->trace, schedule, i, end))
      actions[n++] = (struct replay_action){.at_ns = answered_ns, .event = i, .answer = true};
  }
  qsort(actions, n, sizeof *actions, by_time);
  *n_p = n;
  return actions;
}

/* ---- workers ---- */

static uint64_t due_ns(const struct crew *crew, size_t action)
{
  double after_ns;

  if (!(crew->replay->speed > 0))
    return 0;
  after_ns = (double)(crew->actions[action].at_ns - crew->actions[0].at_ns) / crew->replay->speed;
  return crew->start_ns + (after_ns < 1e18 ? (uint64_t)after_ns : UINT64_C(1000000000000000000));
}

static const struct sim_request *request_of(const struct crew *crew, size_t action)
{
  const struct replay *replay = crew->replay;

  return &replay->trace->requests[replay->schedule->events[crew->actions[action].event].request];
}

/* One agent does one thing after the other. Where a trace does not tell its runs, nobody waits for another. */
static bool is_behind_another(const struct crew *crew, size_t action)
{
  const struct sim_request *request = request_of(crew, action);

  if (!crew->replay->trace->spread && crew->replay->trace->n_runs == 1)
    return false;
  for (uint32_t i = 0; i < crew->n_members; i++) {
    const struct member *other = &crew->members[i];

    if (other->busy && other->action < action && request_of(crew, other->action)->run == request->run &&
        request_of(crew, other->action)->agent == request->agent)
      return true;
  }
  return false;
}

/* With the lock: until the action is due and may begin. False: all is to end. */
static bool wait_for_turn(struct crew *crew, size_t action)
{
  uint64_t due = due_ns(crew, action);

  while (!crew->stop && (kvi_now_ns() < due || is_behind_another(crew, action))) {
    uint64_t now = kvi_now_ns();
    kvi_deadline deadline = now < due ? (kvi_deadline){due} : kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);

    (void)kvi_cond_wait(&crew->changed, &crew->lock, deadline);
  }
  return !crew->stop;
}

static kvs_status act(struct crew *crew, struct member *member)
{
  const struct replay_action *action = &crew->actions[member->action];
  uint64_t due = due_ns(crew, member->action), now = kvi_now_ns();

  if (!action->answer)
    return replay_request(member->worker, action->event, due > 0 && now > due ? now - due : 0);
  replay_answer(member->worker, action->event);
  return KVS_OK;
}

static void work(void *own)
{
  struct member *member = own;
  struct crew *crew = member->crew;

  pthread_mutex_lock(&crew->lock);
  while (!crew->stop && crew->next < crew->n_actions) {
    kvs_status status = KVS_OK;

    member->action = crew->next++;
    member->busy = true;
    if (wait_for_turn(crew, member->action)) {
      pthread_mutex_unlock(&crew->lock);
      status = act(crew, member);
      pthread_mutex_lock(&crew->lock);
    }
    member->busy = false;
    if (status != KVS_OK) {
      crew->replay->failed = status;
      crew->stop = true;
    }
    pthread_cond_broadcast(&crew->changed);
  }
  if (--crew->working == 0)
    pthread_cond_signal(&crew->ended);
  pthread_mutex_unlock(&crew->lock);
}

static uint64_t requests_done(struct replay *replay)
{
  uint64_t n;

  pthread_mutex_lock(&replay->lock);
  n = replay->sums.requests;
  pthread_mutex_unlock(&replay->lock);
  return n;
}

/* Draws the bar until all workers have ended, and ends them when somebody interrupts. */
static void watch(struct crew *crew, uint64_t requests)
{
  struct cli_progress progress;

  cli_progress_start(&progress, "replaying", requests);
  progress.unit = "requests";
  pthread_mutex_lock(&crew->lock);
  while (crew->working > 0) {
    (void)kvi_cond_wait(&crew->ended, &crew->lock, kvi_deadline_from_ms(LOOK_MS));
    if (is_interrupted && !crew->stop) {
      crew->stop = true;
      pthread_cond_broadcast(&crew->changed);
    }
    pthread_mutex_unlock(&crew->lock);
    cli_progress_at(&progress, requests_done(crew->replay));
    pthread_mutex_lock(&crew->lock);
  }
  pthread_mutex_unlock(&crew->lock);
  cli_progress_end(&progress);
}

static void worker_free(struct replay_worker *worker)
{
  if (worker == NULL)
    return;
  free(worker->keys);
  free(worker->bytes);
  free(worker);
}

static struct replay_worker *worker_new(struct replay *replay, uint32_t most_chunks)
{
  struct replay_worker *worker = calloc(1, sizeof *worker);

  if (worker == NULL)
    return NULL;
  worker->replay = replay;
  worker->keys = malloc(((size_t)most_chunks + 1) * sizeof *worker->keys);
  worker->bytes = malloc(replay->batch * replay->chunk_bytes);
  if (worker->keys != NULL && worker->bytes != NULL)
    return worker;
  worker_free(worker);
  return NULL;
}

static uint32_t most_chunks(const struct sim_trace *trace)
{
  uint32_t most = 0;

  for (size_t i = 0; i < trace->n_requests; i++)
    if (most < trace->requests[i].n_chunks)
      most = trace->requests[i].n_chunks;
  return most;
}

/* Starts as many as were asked for, of which all or none work. */
static kvs_status start_crew(struct crew *crew)
{
  uint32_t most = most_chunks(crew->replay->trace);
  kvs_status status = KVS_OK;

  for (uint32_t i = 0; i < parallel && status == KVS_OK; i++) {
    struct member *member = &crew->members[i];

    member->crew = crew;
    member->worker = worker_new(crew->replay, most);
    crew->n_members++;
    if (member->worker == NULL)
      status = KVS_ERR_NOMEM;
  }
  pthread_mutex_lock(&crew->lock);
  crew->start_ns = kvi_now_ns();
  for (uint32_t i = 0; i < crew->n_members && status == KVS_OK; i++) {
    status = kvi_thread_start(&crew->members[i].thread, "replay", work, &crew->members[i]);
    crew->working += status == KVS_OK;
  }
  crew->stop = status != KVS_OK;
  pthread_mutex_unlock(&crew->lock);
  return status;
}

/* Sends everything. The workers' memory is freed once the client is closed, which may have it until then. */
static kvs_status send_all(struct crew *crew, struct replay_run *run)
{
  struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND}, before;
  kvs_status status;

  sigaction(SIGINT, &action, &before);
  status = start_crew(crew);
  watch(crew, run->requests_all);
  for (uint32_t i = 0; i < crew->n_members; i++)
    kvi_thread_join(&crew->members[i].thread);
  run->elapsed_s = (double)(kvi_now_ns() - crew->start_ns) / 1e9;
  run->interrupted = is_interrupted;
  sigaction(SIGINT, &before, NULL);
  return status;
}

static struct crew *crew_new(struct replay *replay)
{
  struct crew *crew = calloc(1, sizeof *crew);

  if (crew == NULL)
    return NULL;
  crew->replay = replay;
  if (kvi_cond_init(&crew->changed) != KVS_OK) {
    free(crew);
    return NULL;
  }
  if (kvi_cond_init(&crew->ended) != KVS_OK) {
    pthread_cond_destroy(&crew->changed);
    free(crew);
    return NULL;
  }
  pthread_mutex_init(&crew->lock, NULL);
  return crew;
}

static void crew_free(struct crew *crew)
{
  if (crew == NULL)
    return;
  for (uint32_t i = 0; i < crew->n_members; i++)
    worker_free(crew->members[i].worker);
  pthread_cond_destroy(&crew->changed);
  pthread_cond_destroy(&crew->ended);
  pthread_mutex_destroy(&crew->lock);
  free(crew);
}

/* ---- a replay ---- */

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
  snprintf(replay->name, sizeof replay->name, "replay/%.80s/%" PRIu64,
           space_name != NULL ? space_name : shown, seed);
  replay->keys = replay_keys(replay->trace, seed, salt);
  replay->is_stored = calloc((size_t)replay->trace->n_chunks + 1, sizeof *replay->is_stored);
  for (int kind = 0; kind < REPLAY_KINDS; kind++) {
    replay->seconds[kind] = calloc((size_t)replay->schedule->n + 1, sizeof *replay->seconds[kind]);
    if (replay->seconds[kind] == NULL)
      status = KVS_ERR_NOMEM;
  }
  if (replay->keys == NULL || replay->is_stored == NULL || status != KVS_OK)
    return KVS_ERR_NOMEM;
  return kvsc_space_open(replay->cli->client, &desc, &replay->space);
}

static int code_of(const struct replay *replay, kvs_status status)
{
  if (status != KVS_OK)
    return cli_fail(replay->cli, "replay", status);
  if (replay->failed != KVS_OK)
    return cli_fail(replay->cli, "replay", replay->failed);
  if (replay->sums.wrong == 0)
    return CLI_OK;
  fprintf(stderr, "kvasirctl: %" PRIu64 " chunks came with other bytes than were put\n", replay->sums.wrong);
  return CLI_ERROR;
}

/* The client is connected. */
static int replay_trace(struct replay *replay)
{
  struct replay_run run = {.requests_all = replay->schedule->n < limit ? replay->schedule->n : limit};
  struct crew *crew = crew_new(replay);
  struct replay_action *actions = NULL;
  kvs_status status = KVS_ERR_NOMEM;
  int code;

  pthread_mutex_init(&replay->lock, NULL);
  if (crew != NULL)
    status = prepare(replay);
  if (status == KVS_OK) {
    actions = make_actions(replay, (uint32_t)run.requests_all, &crew->n_actions);
    crew->actions = actions;
    status = actions != NULL ? send_all(crew, &run) : KVS_ERR_NOMEM;
  }
  if (status == KVS_OK) {
    replay_report(replay, &run);
    if (space_name == NULL && replay->failed == KVS_OK)
      replay_clean_up(replay);
  }
  code = code_of(replay, status);
  kvsc_close(replay->cli->client);
  replay->cli->client = NULL;
  crew_free(crew);
  for (int kind = 0; kind < REPLAY_KINDS; kind++)
    free(replay->seconds[kind]);
  free(replay->is_stored);
  free(replay->keys);
  free(actions);
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
  if (sim_runs_choose(trace, settings->half, &found, error) != KVS_OK ||
      sim_schedule_create(trace, seed, settings->load, schedule_p, error) != KVS_OK)
    return error->status;
  if (settings->hints == SIM_HINTS_NONE)
    return KVS_OK;
  if (!trace->spread && trace->n_runs == 1)
    return sim_fail(error, KVS_ERR_INVALID,
                    "the trace does not tell its runs, so there is nothing to hint: leave --hints away");
  *told_p = sim_hints_create(trace, *schedule_p, settings->hints, seed);
  return *told_p != NULL ? KVS_OK : sim_fail(error, KVS_ERR_NOMEM, "no memory for the hints");
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct sim_schedule *schedule = NULL;
  struct sim_trace *trace = NULL;
  struct sim_error error = {0};
  struct sim_told *told = NULL;
  struct settings settings;
  int code = take_settings(&settings);

  if (code != CLI_OK)
    return code;
  if (sim_trace_create((uint32_t)chunk_tokens, &trace) != KVS_OK)
    sim_fail(&error, KVS_ERR_NOMEM, "no memory for the trace");
  else
    read_all(trace, &settings, n, arguments, &schedule, &told, &error);
  if (error.status == KVS_OK) {
    code = cli_connect(cli);
    if (code == CLI_OK) {
      uint64_t batch = REPLAY_BATCH_BYTES / chunk_bytes;
      struct replay replay = {.cli = cli,
                              .trace = trace,
                              .schedule = schedule,
                              .told = told,
                              .speed = settings.speed,
                              .chunk_bytes = (size_t)chunk_bytes,
                              .batch = batch == 0                    ? 1
                                       : batch < REPLAY_BATCH_CHUNKS ? (uint32_t)batch
                                                                     : REPLAY_BATCH_CHUNKS};

      code = replay_trace(&replay);
    }
  } else {
    fprintf(stderr, "kvasirctl: %s\n", error.text);
    code = CLI_ERROR;
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
        "The chunks take room from what the node holds. Ctrl-C ends it and prints what there is so far.",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = INT_MAX,
    .run = run,
};
