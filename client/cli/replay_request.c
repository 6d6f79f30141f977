/* client/cli/replay_request.c: one request of a trace at a node: look-up, get, put, and what is told when it is answered. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/rand.h"
#include "client/cli/replay.h"

#define KEYS_MOST       8192u  /* of one look-up, hint or delete: the node's bound */
#define LEASE_MS_MAX    60000u /* the longest that a node gives */
#define EXTENT_CHUNKS   64u
#define BUSY_PAUSE_NS   (20 * (long)KVI_NS_PER_MS)
#define OUTCOME_CLIPPED 2u /* and below: the hint was taken */

/* ---- keys and bytes ---- */

static void put_le64(uint8_t out[8], uint64_t value)
{
  for (size_t i = 0; i < 8; i++)
    out[i] = (uint8_t)(value >> (8 * i));
}

static void make_key(const uint8_t before[CLI_KEY_SIZE], uint64_t id, uint8_t key[CLI_KEY_SIZE])
{
  uint8_t text[CLI_KEY_SIZE + 8];

  memcpy(text, before, CLI_KEY_SIZE);
  put_le64(text + CLI_KEY_SIZE, id);
  kvi_sha256(text, sizeof text, key);
}

uint8_t (*replay_keys(const struct sim_trace *trace, uint64_t seed,
                      const uint8_t salt[CLI_KEY_SIZE]))[CLI_KEY_SIZE]
{
  uint8_t(*keys)[CLI_KEY_SIZE] = malloc(((size_t)trace->n_chunks + 1) * sizeof *keys);
  uint8_t root[CLI_KEY_SIZE];

  if (keys == NULL)
    return NULL;
  make_key(salt, seed, root);
  for (uint32_t i = 0; i < trace->n_chunks; i++) /* parents come first */
    make_key(trace->parent[i] == SIM_NONE ? root : keys[trace->parent[i]], trace->id[i], keys[i]);
  return keys;
}

static uint64_t seed_of(const uint8_t key[CLI_KEY_SIZE])
{
  uint64_t seed;

  memcpy(&seed, key, sizeof seed);
  return seed;
}

/* The bytes of a chunk follow from its key, and no layer can make them smaller. */
static void fill(const uint8_t key[CLI_KEY_SIZE], uint8_t *bytes, size_t length)
{
  uint64_t state = seed_of(key), word;
  size_t at = 0;

  for (; at + sizeof word <= length; at += sizeof word) {
    word = kvi_splitmix64(&state);
    memcpy(bytes + at, &word, sizeof word);
  }
  word = kvi_splitmix64(&state);
  memcpy(bytes + at, &word, length - at);
}

static bool is_right(const uint8_t key[CLI_KEY_SIZE], const uint8_t *bytes, size_t length)
{
  uint64_t state = seed_of(key), word, there;
  size_t at = 0;

  for (; at + sizeof word <= length; at += sizeof word) {
    word = kvi_splitmix64(&state);
    memcpy(&there, bytes + at, sizeof there);
    if (there != word)
      return false;
  }
  word = kvi_splitmix64(&state);
  return memcmp(bytes + at, &word, length - at) == 0;
}

/* ---- operations ---- */

/* What one request comes to. */
struct outcome {
  uint32_t n, found, hits;
  uint64_t stored, existed, declined, refused, wrong, unanswered;
  uint64_t lease;
  kvs_status refused_why; /* the first of them */
  kvs_status failed;      /* nothing more can be sent */
  bool cut;               /* an interrupt came before its end */
};

static kvsc_keys keys_from(const struct replay_worker *worker, uint32_t first, uint32_t n)
{
  return (kvsc_keys){.struct_size = sizeof(kvsc_keys),
                     .n = n,
                     .keys = worker->keys[first],
                     .first_place = first,
                     .parent = first > 0 ? worker->keys[first - 1] : NULL,
                     .extent_first = first % EXTENT_CHUNKS != 0
                                         ? worker->keys[first / EXTENT_CHUNKS * EXTENT_CHUNKS]
                                         : NULL};
}

static bool is_out(kvs_status status)
{
  return status == KVS_ERR_UNREACHABLE || status == KVS_ERR_DRAINING || status == KVS_ERR_DEADLINE ||
         status == KVS_ERR_CLOSED;
}

/* An operation that the node did not answer: one more, or the end if the node is gone. */
static void note_unanswered(struct replay_worker *worker, struct outcome *outcome)
{
  kvs_status state = kvsc_state(worker->replay->cli->client, NULL, 0);

  outcome->unanswered++;
  if (state != KVS_OK)
    outcome->failed = state;
}

/* An operation that was started. One that did not end in its time has our memory still, so nothing may follow it. */
static kvs_status wait_for(struct replay_worker *worker, kvsc_op op, struct outcome *outcome,
                           kvsc_completion *completion)
{
  kvs_status status = cli_wait(worker->replay->cli, op, completion);

  if (completion->op == 0)
    outcome->failed = status;
  else if (is_out(status) ||
           ((status == KVS_MISS || status == KVS_PARTIAL) && completion->cause == KVSC_CAUSE_NODE))
    note_unanswered(worker, outcome);
  return status;
}

/* Is there to be another operation? */
static bool goes_on(struct outcome *outcome)
{
  outcome->cut |= replay_is_interrupted();
  return outcome->failed == KVS_OK && !outcome->cut;
}

/* From the prompt's beginning on. What the first look-up finds, up to KEYS_MOST chunks, is leased for two calls' time, LEASE_MS_MAX at most: a longer request may lose it. */
static void look_up(struct replay_worker *worker, struct outcome *outcome)
{
  struct replay *replay = worker->replay;
  uint64_t lease_ms = 2 * replay->cli->timeout_ms;
  const kvsc_call call = {.struct_size = sizeof call,
                          .lease_ms = (uint32_t)(lease_ms < LEASE_MS_MAX ? lease_ms : LEASE_MS_MAX)};

  while (outcome->found < outcome->n && goes_on(outcome)) {
    uint32_t first = outcome->found, left = outcome->n - first, n = left < KEYS_MOST ? left : KEYS_MOST;
    const kvsc_keys keys = keys_from(worker, first, n);
    kvsc_completion completion = {0};
    kvsc_op op;

    outcome->failed =
        kvsc_lookup(replay->cli->client, &replay->space, 1, &keys, first == 0 ? &call : NULL, &op);
    if (outcome->failed != KVS_OK)
      return;
    (void)wait_for(worker, op, outcome, &completion);
    outcome->found += completion.n_prefix;
    if (first == 0)
      outcome->lease = completion.lease;
    if (completion.n_prefix < n)
      return;
  }
}

/* Gets or puts a batch. The status of each chunk is in worker->statuses. */
static void move(struct replay_worker *worker, struct outcome *outcome, bool put, uint32_t first, uint32_t n)
{
  struct replay *replay = worker->replay;
  const kvsc_keys keys = keys_from(worker, first, n);
  const kvsc_call call = {.struct_size = sizeof call,
                          .statuses = worker->statuses,
                          .lease = put ? 0 : outcome->lease,
                          .chain_chunks = put ? outcome->n : 0};
  kvsc_completion completion = {0};
  kvsc_op op;

  for (uint32_t i = 0; i < n; i++) {
    worker->iov[i] =
        (kvsc_iov){.base = worker->bytes + i * replay->chunk_bytes, .length = replay->chunk_bytes};
    worker->chunks[i] = (kvsc_chunk){.iov = &worker->iov[i], .n_iov = 1, .exact = !put};
    worker->statuses[i] = KVS_ERR_CANCELED;
  }
  outcome->failed = put ? kvsc_put(replay->space, &keys, worker->chunks, &call, &op)
                        : kvsc_get(replay->space, &keys, worker->chunks, &call, &op);
  if (outcome->failed == KVS_OK) {
    (void)wait_for(worker, op, outcome, &completion);
    return;
  }
  for (uint32_t i = 0; i < n; i++)
    worker->statuses[i] = outcome->failed;
}

/* Up to the first chunk that does not come. Returns ns without what comparing took. */
static uint64_t get_found(struct replay_worker *worker, struct outcome *outcome)
{
  struct replay *replay = worker->replay;
  uint64_t took_ns = 0;

  while (outcome->hits < outcome->found && goes_on(outcome)) {
    uint32_t left = outcome->found - outcome->hits, first = outcome->hits;
    uint32_t n = left < replay->batch ? left : replay->batch;
    uint64_t before = kvi_now_ns();

    move(worker, outcome, false, first, n);
    took_ns += kvi_now_ns() - before;
    for (uint32_t i = 0; i < n && worker->statuses[i] == KVS_OK; i++) {
      if (!is_right(worker->keys[first + i], worker->iov[i].base, replay->chunk_bytes)) {
        outcome->wrong++;
        break;
      }
      outcome->hits++;
    }
    if (outcome->hits < first + n)
      break;
  }
  return took_ns;
}

static bool is_answer(kvs_status status)
{
  return status == KVS_OK || status == KVS_EXISTS || status == KVS_DECLINED;
}

/* From the first chunk on that did not come. What follows a chunk that is refused or declined is of no use, and not sent. */
static uint64_t put_rest(struct replay_worker *worker, struct outcome *outcome, const uint32_t *refs)
{
  struct replay *replay = worker->replay;
  uint64_t took_ns = 0;

  for (uint32_t first = outcome->hits; first < outcome->n && goes_on(outcome);) {
    uint32_t left = outcome->n - first, n = left < replay->batch ? left : replay->batch;
    uint64_t before;

    for (uint32_t i = 0; i < n; i++) {
      atomic_store_explicit(&replay->may_be_there[refs[first + i]], true, memory_order_relaxed);
      fill(worker->keys[first + i], worker->bytes + i * replay->chunk_bytes, replay->chunk_bytes);
    }
    before = kvi_now_ns();
    move(worker, outcome, true, first, n);
    took_ns += kvi_now_ns() - before;
    for (uint32_t i = 0; i < n; i++) {
      outcome->stored += worker->statuses[i] == KVS_OK;
      outcome->existed += worker->statuses[i] == KVS_EXISTS;
      outcome->declined += worker->statuses[i] == KVS_DECLINED;
      if (!is_answer(worker->statuses[i]) && outcome->refused++ == 0)
        outcome->refused_why = worker->statuses[i];
    }
    first += n;
    if (outcome->declined > 0 && outcome->refused == 0) {
      outcome->declined += outcome->n - first;
      break;
    }
    if (outcome->refused > 0) {
      outcome->refused += outcome->n - first;
      break;
    }
  }
  return took_ns;
}

/* ---- a request ---- */

static void add_up(struct replay *replay, const struct sim_request *request, const struct outcome *outcome,
                   uint64_t late_ns)
{
  const struct sim_cost cost = SIM_COST_DEFAULT;
  uint32_t hit_tokens = sim_trace_tokens(replay->trace, request, outcome->hits);
  struct replay_sums *sums = &replay->sums;

  pthread_mutex_lock(&replay->lock);
  sums->stored += outcome->stored;
  sums->existed += outcome->existed;
  sums->declined += outcome->declined;
  if (sums->refused == 0)
    sums->refused_why = outcome->refused_why;
  sums->refused += outcome->refused;
  sums->wrong += outcome->wrong;
  sums->read_bytes += outcome->hits * (uint64_t)replay->chunk_bytes;
  sums->written_bytes += outcome->stored * (uint64_t)replay->chunk_bytes;
  sums->unanswered += outcome->unanswered;
  if (!outcome->cut) {
    sums->requests++;
    sums->input_tokens += request->input_tokens;
    sums->hit_tokens += hit_tokens;
    sums->chunks += outcome->n;
    sums->found += outcome->found;
    sums->hits += outcome->hits;
    sums->late += late_ns > REPLAY_LATE_NS;
    if (sums->latest_ns < late_ns)
      sums->latest_ns = late_ns;
    sums->paid_s += sim_cost_of(&cost, hit_tokens, request->input_tokens);
    sums->whole_s += sim_cost_of(&cost, 0, request->input_tokens);
  }
  pthread_mutex_unlock(&replay->lock);
}

static const struct sim_request *take_keys(struct replay_worker *worker, uint32_t event)
{
  const struct replay *replay = worker->replay;
  const struct sim_request *request = &replay->trace->requests[replay->schedule->events[event].request];

  for (uint32_t i = 0; i < request->n_chunks; i++)
    memcpy(worker->keys[i], replay->keys[replay->trace->refs[request->first + i]], CLI_KEY_SIZE);
  return request;
}

kvs_status replay_request(struct replay_worker *worker, uint32_t event, uint64_t late_ns)
{
  struct replay *replay = worker->replay;
  const struct sim_request *request = take_keys(worker, event);
  struct outcome outcome = {.n = request->n_chunks};
  uint64_t before = kvi_now_ns(), took_ns;

  if (outcome.n > 0) {
    look_up(worker, &outcome);
    replay->seconds[REPLAY_LOOKUP][event] = (float)(kvi_now_ns() - before) / 1e9f;
    took_ns = get_found(worker, &outcome);
    replay->seconds[REPLAY_GET][event] = (float)took_ns / 1e9f;
    took_ns = put_rest(worker, &outcome, replay->trace->refs + request->first);
    replay->seconds[REPLAY_PUT][event] = (float)took_ns / 1e9f;
    if (outcome.lease != 0)
      (void)kvsc_release(replay->cli->client, outcome.lease);
  }
  for (int kind = 0; kind < REPLAY_KINDS && outcome.cut; kind++)
    replay->seconds[kind][event] = 0;
  add_up(replay, request, &outcome, late_ns);
  return outcome.failed;
}

/* ---- hints ---- */

static uint32_t wait_kind_of(enum sim_wait wait)
{
  return wait == SIM_WAIT_TOOL ? 1 : wait == SIM_WAIT_HUMAN ? 2 : 0;
}

/* Announced for the trace's time, told in that of the replay; where that has none, nothing is announced. */
static uint32_t announced_ms(const struct replay *replay, double announced_s)
{
  double ms = replay->speed > 0 ? announced_s * 1e3 / replay->speed : 0;

  if (!(ms > 0))
    return 0;
  return ms < 1 ? 1 : ms < 1e9 ? (uint32_t)ms : 1000000000u;
}

static kvs_status send_hint(struct replay *replay, const kvsc_hint *hint, const kvsc_keys *keys)
{
  kvsc_completion completion = {0};
  kvsc_op op;
  kvs_status status =
      kvsc_send_hint(replay->cli->client, hint, keys != NULL ? replay->space : NULL, keys, NULL, &op);
  bool taken;

  if (status == KVS_OK)
    status = cli_wait(replay->cli, op, &completion);
  taken = status == KVS_OK && completion.n_ok > 0 && completion.n_ok <= OUTCOME_CLIPPED;
  pthread_mutex_lock(&replay->lock);
  replay->sums.hints++;
  replay->sums.hints_refused += !taken;
  pthread_mutex_unlock(&replay->lock);
  return status;
}

#define PROGRAM_SIZE (sizeof((struct replay){0}).name + 24)

static void name_program(const struct replay *replay, uint64_t number, char name[PROGRAM_SIZE])
{
  snprintf(name, PROGRAM_SIZE, "%s/%" PRIu64, replay->name, number);
}

static kvs_status close_program(struct replay *replay, const char *name)
{
  const kvsc_hint hint = {.struct_size = sizeof hint, .program = name, .close = 1};

  return send_hint(replay, &hint, NULL);
}

void replay_answer(struct replay_worker *worker, uint32_t event)
{
  struct replay *replay = worker->replay;
  const struct sim_told *told = &replay->told[event];
  const struct sim_request *request = take_keys(worker, event);
  uint32_t n = request->n_chunks < KEYS_MOST ? request->n_chunks : KEYS_MOST;
  const kvsc_keys keys = keys_from(worker, request->n_chunks - n, n);
  char program[PROGRAM_SIZE];
  const kvsc_hint hint = {.struct_size = sizeof hint,
                          .program = program,
                          .wait_kind = wait_kind_of(told->wait),
                          .return_p50_ms = announced_ms(replay, told->announced_s)};

  name_program(replay, told->program, program);
  atomic_store_explicit(&replay->is_named[request->run], true, memory_order_relaxed);
  (void)send_hint(replay, &hint, n > 0 ? &keys : NULL);
  if (!told->ended)
    return;
  if (close_program(replay, program) == KVS_OK)
    atomic_store_explicit(&replay->is_named[request->run], false, memory_order_relaxed);
}

/* ---- the end ---- */

static kvs_status close_programs(struct replay *replay)
{
  kvs_status status = KVS_OK;
  char program[PROGRAM_SIZE];

  for (uint32_t i = 0; i < replay->trace->n_runs && !is_out(status); i++) {
    if (!atomic_load_explicit(&replay->is_named[i], memory_order_relaxed))
      continue;
    name_program(replay, (uint64_t)i + 1, program);
    status = close_program(replay, program);
  }
  return is_out(status) ? status : KVS_OK; /* a node that heeds no hints has nothing to close */
}

/* Those that are not there are as good as deleted. */
static kvs_status delete_some(struct replay *replay, const kvsc_keys *keys)
{
  const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
  uint64_t end_ns = kvi_now_ns() + replay->cli->timeout_ms * KVI_NS_PER_MS;
  kvsc_completion completion = {0};
  kvs_status status;
  kvsc_op op;

  for (;;) {
    status = kvsc_delete(replay->space, keys, NULL, &op);
    if (status == KVS_OK)
      status = cli_wait(replay->cli, op, &completion);
    if (status != KVS_ERR_BUSY || kvi_now_ns() > end_ns)
      break;
    (void)nanosleep(&pause, NULL);
  }
  if ((status == KVS_MISS || status == KVS_PARTIAL) && completion.cause == KVSC_CAUSE_NODE)
    return KVS_ERR_UNREACHABLE;
  return status > 0 ? KVS_OK : status;
}

kvs_status replay_clean_up(struct replay *replay)
{
  uint8_t(*keys)[CLI_KEY_SIZE] = malloc(KEYS_MOST * sizeof *keys);
  kvs_status status = close_programs(replay), first = status;
  uint32_t n = 0;

  if (keys == NULL)
    return KVS_ERR_NOMEM;
  for (uint32_t i = replay->trace->n_chunks;
       i-- > 0 && !is_out(status);) { /* what follows goes before what it follows */
    if (atomic_load_explicit(&replay->may_be_there[i], memory_order_relaxed))
      memcpy(keys[n++], replay->keys[i], CLI_KEY_SIZE);
    if (n > 0 && (n == KEYS_MOST || i == 0)) {
      const kvsc_keys some = {.struct_size = sizeof some, .n = n, .keys = keys[0], .unchained = 1};

      status = delete_some(replay, &some);
      if (first == KVS_OK)
        first = status;
      n = 0;
    }
  }
  free(keys);
  return first;
}
