/*
 * client/cli/replay.h: what the files of kvasirctl replay share: a trace, the order of what is sent, and what came of it.
 *
 * Workers take actions in their order, each when it is due. Of struct replay they write the sums, under its lock; the times of their own events; and flags that are atomic. `failed` is the crew's,
 * under the crew's lock. The rest is only read while they run.
 */
#ifndef KVI_CLIENT_CLI_REPLAY_H
#define KVI_CLIENT_CLI_REPLAY_H

#include <pthread.h>

#include "base/thread.h"
#include "client/cli/cli.h"
#include "client/traces/cost.h"
#include "client/traces/hints.h"

#define REPLAY_PARALLEL_MAX 64u
#define REPLAY_BATCH_BYTES  (16u << 20) /* of one get or put; a chunk that is larger goes alone */
#define REPLAY_BATCH_CHUNKS 512u
#define REPLAY_LATE_NS      (100 * KVI_NS_PER_MS) /* a request that begins so much later than it should is late */

/* Sums over the requests that were sent. */
struct replay_sums {
  uint64_t requests;
  uint64_t input_tokens, hit_tokens;
  uint64_t chunks, found; /* of the prompts; of them those that a look-up promised */
  uint64_t hits;          /* and those that came: chunks of the leading part that did */
  uint64_t stored, existed, declined, refused;
  kvs_status refused_why; /* the first of them */
  uint64_t wrong;         /* chunks whose bytes are not what was put */
  uint64_t read_bytes, written_bytes;
  uint64_t hints, hints_refused; /* rejected, or not answered */
  uint64_t unanswered;           /* look-ups, gets and puts that the node did not answer in time */
  uint64_t late, latest_ns;
  double paid_s, whole_s; /* prefill seconds with what came, and without any */
};

enum replay_kind { REPLAY_LOOKUP, REPLAY_GET, REPLAY_PUT, REPLAY_KINDS };

struct replay {
  struct cli *cli;
  kvsc_space *space;
  const struct sim_trace *trace;
  const struct sim_schedule *schedule;
  const struct sim_told *told; /* by event; NULL: no hints */
  double speed;                /* 0: as fast as it goes */
  _Atomic uint64_t *clock;     /* a node's store.test_clock, mapped; NULL: none is turned */
  size_t chunk_bytes;
  uint32_t batch;                /* chunks of one get or put */
  uint8_t (*keys)[CLI_KEY_SIZE]; /* by chunk */
  char name[128];                /* what its programs' names begin with */

  /* By event and kind: how long it took; 0: there was none. */
  float *seconds[REPLAY_KINDS];
  _Atomic bool *may_be_there; /* by chunk: this replay sent it, and it may be stored, or be stored yet */
  _Atomic bool *is_named;     /* by run: the node was told of it, and not that it has ended */

  pthread_mutex_t lock;
  struct replay_sums sums;
  kvs_status failed; /* why it was given up; KVS_OK: it was not */
};

/* What a worker has for itself: room for the longest prompt's keys, and for a batch. */
struct replay_worker {
  struct replay *replay;
  uint8_t (*keys)[CLI_KEY_SIZE]; /* of the request's prompt */
  uint8_t *bytes;                /* batch * chunk_bytes */
  kvsc_iov iov[REPLAY_BATCH_CHUNKS];
  kvsc_chunk chunks[REPLAY_BATCH_CHUNKS];
  kvs_status statuses[REPLAY_BATCH_CHUNKS];
};

/* ---- replay_request.c ---- */

/*
 * The keys of all chunks, by the ids of the trace's blocks: SHA-256 of the key before and the id, from a root that is made of the seed and the salt. malloc'd; NULL: no memory.
 */
uint8_t (*replay_keys(const struct sim_trace *trace, uint64_t seed,
                      const uint8_t salt[CLI_KEY_SIZE]))[CLI_KEY_SIZE];

/*
 * Looks the event's prompt up, gets what is found and compares it, puts the rest. Adds to the sums; one that an interrupt cut short is no request there. late_ns: how much later it began than it should.
 * KVS_OK, also where the node refused a chunk or was too slow; else why nothing more can be sent.
 */
kvs_status replay_request(struct replay_worker *worker, uint32_t event, uint64_t late_ns);

/* Tells that the event's request is answered, and what its run waits for or that it has ended. */
void replay_answer(struct replay_worker *worker, uint32_t event);

/*
 * Closes the programs that this replay named, and deletes what it put, while no worker works. Again for as long as a call may take where the node is busy. KVS_OK; else why some of it may
 * be there still: KVS_ERR_BUSY, KVS_ERR_IO, KVS_ERR_NOMEM, or the node is out.
 */
kvs_status replay_clean_up(struct replay *replay);

/* ---- replay_signals.c ---- */

/*
 * From here on SIGINT, SIGTERM and SIGHUP only make replay_is_interrupted() true, the first time; the second writes the words to stderr and ends the process with CLI_ERROR. Those that
 * are ignored stay so. The words are kept, not copied. Once.
 */
void replay_signals_begin(const char *words);
void replay_signals_end(void);
/* From any thread. */
bool replay_is_interrupted(void);

/* ---- replay_crew.c ---- */

struct replay_run {
  uint64_t requests_all; /* that were to be sent */
  double elapsed_s;
  bool interrupted;
};

/* As many workers as go in parallel, for the first `requests` of the schedule. The replay's fields must be set. NULL: no memory. */
struct replay_crew;
struct replay_crew *replay_crew_new(struct replay *replay, uint32_t parallel, uint32_t requests);
/*
 * Sends everything, with a bar; an interrupt (replay_is_interrupted) ends it early, and so does what fails, see replay->failed. Sets the run's time and whether it was interrupted. Once.
 * KVS_ERR_SYSTEM, KVS_ERR_NOMEM: threads did not start.
 */
kvs_status replay_crew_work(struct replay_crew *crew, struct replay_run *run);
/* When the client is closed: until then it may have the workers' memory. NULL is fine. */
void replay_crew_free(struct replay_crew *crew);

/* ---- replay_report.c ---- */

/* Tables or, with --json, a document. */
void replay_report(struct replay *replay, const struct replay_run *run);

#endif
