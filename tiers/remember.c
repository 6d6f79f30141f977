#include "tiers/remember.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "tiers/remember_file.h"
#include "tiers/remember_private.h"

#define FORGETS         "a restart forgets what happens from now on"
#define BYTES_PER_MS    1000u
#define PROGRAMS_LOCKED 64u /* copied at a time */

struct kvi_remember {
  char *path;
  uint64_t interval_ms;
  bool off; /* the file is somebody else's */
  int lock; /* of the file, as long as this lives; -1: not yet */
  uint8_t boot[16];
  struct kvi_state state; /* what was read; from start on only who is not back yet, and their spaces */
  uint64_t gap_ns;        /* of when that was saved, at restore */
  uint64_t restored_ns;
  bool renew; /* it is to be written in any case */
  bool found; /* anything was */
  struct kvi_store *store;
  struct kvi_programs *programs;
  pthread_mutex_t collecting; /* guards told and finished; before the store's lock */
  uint64_t told;              /* by the store, when it was collected last */
  bool finished;              /* store and programs are not looked at any more */
  _Atomic bool failed;        /* the last write */
  kvi_thread thread;
  bool started;
  size_t written;        /* the thread's: bytes that it wrote last */
  pthread_mutex_t mutex; /* guards what follows */
  pthread_cond_t wake;
  bool stop, asked;
  uint8_t *last; /* NULL: nothing is to be written at the end */
  size_t last_length;
};

/* ---- time ---- */

/* The kernel's name for this start of the machine, a UUID; zeros: it says none. */
static void boot_read(uint8_t boot[16])
{
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  char text[37] = "", hex[33];
  size_t n = 0, length;
  ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

  if (fd >= 0)
    close(fd);
  memset(boot, 0, 16);
  for (ssize_t i = 0; i < got && n < sizeof(hex) - 1; i++)
    if (text[i] != '-')
      hex[n++] = text[i];
  hex[n] = '\0';
  if (n != 32 || kvi_hex_decode(hex, boot, 16, &length) != KVS_OK)
    memset(boot, 0, 16);
}

/* Ages are told over a restart, and the wall clock is all that there is over one of the machine: kvi_state_gap_ns bounds what it can say. */
static void clock_read(const struct kvi_remember *remember, struct kvi_state_clock *clock_p)
{
  struct timespec boot, wall;

  clock_gettime(CLOCK_BOOTTIME, &boot);
  clock_gettime(CLOCK_REALTIME, &wall);
  memcpy(clock_p->boot, remember->boot, sizeof(clock_p->boot));
  clock_p->boot_ns = (uint64_t)boot.tv_sec * KVI_NS_PER_S + (uint64_t)boot.tv_nsec;
  clock_p->wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / KVI_NS_PER_MS;
}

/* ---- reading ---- */

static void aside(struct kvi_remember *remember, const char *why)
{
  if (kvi_remember_file_aside(remember->path) == KVS_OK) {
    kvi_log_warn("waiters: %s %s: moved aside to %s.aside, nobody is remembered", remember->path, why,
                 remember->path);
    return;
  }
  kvi_log_warn("waiters: %s %s and cannot be moved aside (%m): left alone, nobody is remembered",
               remember->path, why);
  remember->off = true;
}

static void leave(struct kvi_remember *remember, const char *why)
{
  kvi_log_warn("waiters: %s %s: left alone, nobody is remembered", remember->path, why);
  remember->off = true;
}

static void judge(struct kvi_remember *remember, kvs_status status)
{
  switch (status) {
  case KVS_OK:
    remember->found = true;
    break;
  case KVS_MISS:
    kvi_log_info("waiters: nobody is remembered in %s yet", remember->path);
    break;
  case KVS_ERR_CORRUPT:
    aside(remember, "is damaged");
    break;
  case KVS_ERR_TOO_LARGE:
    leave(remember, "is too large for what it should be");
    break;
  case KVS_ERR_VERSION:
    aside(remember, "was written by a later version");
    break;
  case KVS_ERR_DENIED:
    leave(remember, "is another user's");
    break;
  case KVS_ERR_BUSY:
    leave(remember, "is in use by another process (store.state_file is for one node)");
    break;
  case KVS_ERR_INVALID:
    leave(remember, errno == ELOOP    ? "is a symbolic link (name the file itself)"
                    : errno == EISDIR ? "is a folder (name a file in it)"
                                      : "is something else");
    break;
  case KVS_ERR_IO:
    kvi_log_warn("waiters: %s cannot be read (%m): left alone, nobody is remembered", remember->path);
    remember->off = true;
    break;
  default:
    break;
  }
}

static void disclosed(struct kvi_remember *remember)
{
  kvi_log_warn("waiters: others could read or write %s: its secret is replaced, so who waited is not known; "
               "names and what was "
               "learned of kinds of waits are",
               remember->path);
  kvi_state_disclose(&remember->state);
  remember->renew = true;
}

/* The folder may come to be later, and may not be ours to write to: then the file is only read. */
static kvs_status lock_take(struct kvi_remember *remember)
{
  if (remember->lock >= 0)
    return KVS_OK;
  return kvi_remember_file_lock(remember->path, &remember->lock);
}

kvs_status kvi_remember_open(const char *path, uint64_t interval_ms, struct kvi_remember **remember_p)
{
  struct kvi_remember *remember = calloc(1, sizeof(*remember));
  kvs_status status;
  uint8_t *bytes;
  size_t length;
  bool open = false;

  *remember_p = NULL;
  if (!remember)
    return KVS_ERR_NOMEM;
  pthread_mutex_init(&remember->mutex, NULL);
  pthread_mutex_init(&remember->collecting, NULL);
  status = kvi_cond_init(&remember->wake);
  if (status != KVS_OK) {
    pthread_mutex_destroy(&remember->mutex);
    pthread_mutex_destroy(&remember->collecting);
    free(remember);
    return status;
  }
  remember->interval_ms = interval_ms;
  boot_read(remember->boot);
  remember->lock = -1;
  remember->path = strdup(path);
  status = remember->path ? lock_take(remember) : KVS_ERR_NOMEM;
  if (status == KVS_OK || status == KVS_ERR_IO)
    status = kvi_remember_file_read(path, (size_t)KVI_STATE_BYTES_MAX, &bytes, &length, &open);
  if (status == KVS_OK) {
    status = length > 0 ? kvi_state_decode(bytes, length, &remember->state) : KVS_MISS;
    free(bytes);
    errno = 0;
  }
  if (status == KVS_OK && open)
    disclosed(remember);
  if (status == KVS_ERR_NOMEM) {
    kvi_remember_destroy(remember);
    return status;
  }
  judge(remember, status);
  *remember_p = remember;
  return KVS_OK;
}

void kvi_remember_configure(const struct kvi_remember *remember, struct kvi_store_config *config)
{
  config->policy_ahead_ns = KVI_STATE_AGE_MOST_NS;
  config->hash_secret = remember->found && !remember->renew ? remember->state.secret : NULL;
}

void kvi_remember_restore(struct kvi_remember *remember, struct kvi_store *store)
{
  struct kvi_remember_back back;
  struct kvi_state_clock now;
  uint32_t n = remember->state.n_waiters;

  remember->store = store;
  if (remember->found) {
    clock_read(remember, &now);
    remember->restored_ns = now.boot_ns;
    remember->gap_ns = kvi_state_gap_ns(&remember->state.clock, &now);
    kvi_remember_give(store, &remember->state, remember->gap_ns, &back);
    kvi_log_info("waiters: of %u in %s, saved %llu s ago, %u are back; %u more with less of their chunks; "
                 "not %u whose chunks are gone, and %u that policy %s does not take",
                 n, remember->path, (unsigned long long)(remember->gap_ns / KVI_NS_PER_S), back.back,
                 back.less, back.gone, back.other, remember->state.policy);
    if (back.room > 0)
      kvi_log_warn(
          "waiters: no room for the %u of them that were used longest ago: store.max_chunks is too small",
          back.room);
  }
  remember->off |= !kvi_remember_keeps(store);
}

/* ---- writing ---- */

static int earlier_first(const void *a, const void *b)
{
  uint64_t first = ((const struct kvi_program_record *)a)->heard,
           second = ((const struct kvi_program_record *)b)->heard;

  return (first > second) - (first < second);
}

static kvs_status programs_collect(struct kvi_programs *programs, struct kvi_state *state)
{
  struct kvi_programs_stats stats;
  uint32_t cursor = 0, room;

  kvi_programs_stats(programs, &stats);
  room = (uint32_t)stats.programs + PROGRAMS_LOCKED;
  room = room < KVI_STATE_PROGRAMS_MAX ? room : KVI_STATE_PROGRAMS_MAX;
  state->programs = calloc(room, sizeof(*state->programs));
  if (!state->programs)
    return KVS_ERR_NOMEM;
  do {
    uint32_t left = room - state->n_programs;

    state->n_programs += kvi_programs_records(programs, &cursor, &state->programs[state->n_programs],
                                              left < PROGRAMS_LOCKED ? left : PROGRAMS_LOCKED);
  } while (cursor != 0 && state->n_programs < room);
  qsort(state->programs, state->n_programs, sizeof(*state->programs), earlier_first);
  return KVS_OK;
}

uint64_t kvi_remember_pause_ms(uint64_t interval_ms, size_t length)
{
  uint64_t least_ms = length / BYTES_PER_MS;

  return interval_ms > least_ms ? interval_ms : least_ms;
}

/* By store and programs: names are written too. */
static uint64_t told_of(const struct kvi_remember *remember)
{
  struct kvi_programs_stats stats;

  kvi_programs_stats(remember->programs, &stats);
  return kvi_remember_told(remember->store) + stats.heard;
}

/* What is to be written. KVS_MISS: nothing was told since it was done last. Under collecting. */
static kvs_status collect_locked(struct kvi_remember *remember, uint8_t **bytes_p, size_t *length_p)
{
  uint64_t told = told_of(remember);
  struct kvi_state state;
  kvs_status status;

  if (told == remember->told && !remember->failed)
    return KVS_MISS;
  status = kvi_remember_collect(remember->store, &state);
  if (status == KVS_OK)
    status = programs_collect(remember->programs, &state);
  clock_read(remember, &state.clock);
  if (status == KVS_OK)
    status = kvi_remember_carry(&remember->state,
                                remember->gap_ns + state.clock.boot_ns - remember->restored_ns, &state);
  if (status == KVS_OK)
    status = kvi_state_encode(&state, bytes_p, length_p);
  kvi_state_clear(&state);
  if (status == KVS_OK)
    remember->told = told;
  return status;
}

/* status: of collecting the bytes, which are freed. */
static void write_bytes(struct kvi_remember *remember, kvs_status status, uint8_t *bytes, size_t length)
{
  bool failed = remember->failed;

  if (status == KVS_OK)
    status = lock_take(remember);
  if (status == KVS_OK)
    status = kvi_remember_file_write(remember->path, bytes, length);
  remember->written = length;
  if (status == KVS_OK && failed)
    kvi_log_info("waiters: %s is written again", remember->path);
  else if (status == KVS_ERR_IO && !failed)
    kvi_log_warn("waiters: %s.new cannot be written, or take its name (%m): " FORGETS, remember->path);
  else if (status != KVS_OK && !failed)
    kvi_log_warn("waiters: %s cannot be written (%s): " FORGETS, remember->path, kvs_status_text(status));
  remember->failed = status != KVS_OK;
  free(bytes);
}

static void write_state(struct kvi_remember *remember)
{
  uint8_t *bytes = NULL;
  size_t length = 0;
  kvs_status status = KVS_MISS;

  pthread_mutex_lock(&remember->collecting);
  if (!remember->finished)
    status = collect_locked(remember, &bytes, &length);
  pthread_mutex_unlock(&remember->collecting);
  if (status != KVS_MISS)
    write_bytes(remember, status, bytes, length);
}

static void run(void *arg)
{
  struct kvi_remember *remember = arg;

  pthread_mutex_lock(&remember->mutex);
  while (!remember->stop) {
    kvi_deadline next = kvi_deadline_from_ms(kvi_remember_pause_ms(remember->interval_ms, remember->written));

    while (!remember->stop && !remember->asked && !kvi_deadline_expired(next))
      kvi_cond_wait(&remember->wake, &remember->mutex, next);
    remember->asked = false;
    if (remember->stop)
      break;
    pthread_mutex_unlock(&remember->mutex);
    write_state(remember);
    pthread_mutex_lock(&remember->mutex);
  }
  pthread_mutex_unlock(&remember->mutex);
  if (remember->last)
    write_bytes(remember, KVS_OK, remember->last, remember->last_length);
}

/* ---- life ---- */

static void names_give(const struct kvi_remember *remember)
{
  for (uint32_t i = 0; i < remember->state.n_programs; i++) {
    const struct kvi_program_record *record = &remember->state.programs[i];
    const struct kvi_program_hint hint = {
        .tenant = record->tenant,
        .program = record->name,
        .parent = record->parent,
        .tool = record->tool,
        .turn = record->turn,
        .wait_kind = record->wait_kind,
        .return_p50_ms = record->return_p50_ms,
        .return_p90_ms = record->return_p90_ms,
        .priority = record->priority,
        .ttl_ms = record->ttl_ms,
        .range_tokens = record->range_tokens,
        .hash = kvi_store_program_hash(remember->store, record->tenant, record->name)};

    (void)kvi_programs_hint(remember->programs, &hint); /* it looks at what it is told */
  }
}

kvs_status kvi_remember_start(struct kvi_remember *remember, struct kvi_programs *programs)
{
  kvs_status status;

  remember->programs = programs;
  names_give(remember);
  remember->told = told_of(remember) - remember->renew;
  remember->state.n_programs = remember->state.n_learned = 0;
  free(remember->state.programs);
  free(remember->state.learned);
  remember->state.programs = NULL;
  remember->state.learned = NULL;
  if (remember->off)
    return KVS_OK;
  status = kvi_thread_start(&remember->thread, "kvi-waiters", run, remember);
  remember->started = status == KVS_OK;
  return status;
}

void kvi_remember_save(struct kvi_remember *remember)
{
  if (!remember || !remember->started)
    return;
  pthread_mutex_lock(&remember->mutex);
  remember->asked = true;
  pthread_cond_signal(&remember->wake);
  pthread_mutex_unlock(&remember->mutex);
}

void kvi_remember_finish(struct kvi_remember *remember)
{
  uint8_t *bytes = NULL;
  size_t length = 0;
  kvs_status status;

  if (!remember || !remember->started || remember->finished)
    return;
  pthread_mutex_lock(&remember->collecting);
  status = collect_locked(remember, &bytes, &length);
  remember->finished = true;
  pthread_mutex_unlock(&remember->collecting);
  if (status != KVS_OK && status != KVS_MISS)
    kvi_log_warn("waiters: %s cannot be written (%s): what happened last is forgotten", remember->path,
                 kvs_status_text(status));
  pthread_mutex_lock(&remember->mutex);
  remember->last = bytes;
  remember->last_length = length;
  remember->stop = true;
  pthread_cond_signal(&remember->wake);
  pthread_mutex_unlock(&remember->mutex);
}

void kvi_remember_destroy(struct kvi_remember *remember)
{
  if (!remember)
    return;
  kvi_remember_finish(remember);
  if (remember->started)
    kvi_thread_join(&remember->thread);
  kvi_state_clear(&remember->state);
  pthread_cond_destroy(&remember->wake);
  pthread_mutex_destroy(&remember->mutex);
  pthread_mutex_destroy(&remember->collecting);
  if (remember->lock >= 0)
    close(remember->lock);
  free(remember->path);
  free(remember);
}
