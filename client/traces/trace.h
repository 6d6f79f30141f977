/*
 * client/traces/trace.h: a workload in memory: requests in runs, each with the chain of chunks of its prompt.
 *
 * A chunk is the KV of `chunk_tokens` tokens behind a certain prefix. Chunks have numbers from 0 on; a parent has a lower number than its
 * children. Everything lies in flat arrays, which grow while a trace is read and are only read after that: any number of threads then.
 */
#ifndef KVASIR_CLIENT_TRACES_TRACE_H
#define KVASIR_CLIENT_TRACES_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/traces/error.h"

#define SIM_NONE         UINT32_MAX
#define SIM_CHUNKS_MAX   (1u << 30)
#define SIM_REQUESTS_MAX (1u << 26)
#define SIM_RUNS_MAX     (1u << 24)
#define SIM_CHUNK_TOKENS 256u /* of a chunk, unless the trace's blocks are larger or it is said */
#define SIM_TOKENS_MAX   (1u << 28)
#define SIM_TIME_MAX_US  (UINT64_C(1) << 52) /* 142 years */

/* What a run waits for after a request, as its trace tells it. */
enum sim_wait { SIM_WAIT_UNKNOWN = 0, SIM_WAIT_TOOL, SIM_WAIT_HUMAN, SIM_WAIT_END };

struct sim_request {
  uint64_t at_us; /* since its run's start */
  uint64_t first; /* of its chunks in refs */
  uint32_t n_chunks;
  uint32_t input_tokens, output_tokens;
  uint32_t run;
  uint32_t agent; /* 0: the run's own; else a sub-agent's number */
  enum sim_wait wait;
  double api_s, think_s; /* the answer took; the client waited before the request. Negative: not told */
};

/* What was one program: an agent's run, or a conversation. */
struct sim_run {
  uint64_t first_request, n_requests;
  uint32_t group;   /* runs that are near-duplicates of each other have the same; else its own number */
  bool left_out;    /* a duplicate, or of the other half */
  uint64_t span_us; /* from its start to its last request */
};

struct sim_trace {
  uint32_t chunk_tokens; /* 0 until the first request, unless it was given */
  bool spread;           /* its runs have no time of their own: sim_schedule_create gives each a start */
  bool
      tells_runs; /* each file says which requests are of one run; else one run stands for all of such a file */
  struct sim_request *requests;
  size_t n_requests;
  uint32_t *refs; /* chunks of the requests, each from its first chunk on */
  size_t n_refs;
  uint32_t *parent; /* by chunk; SIM_NONE: it begins a prompt */
  uint32_t *depth;  /* by chunk; 0: it begins a prompt */
  uint64_t *
      id; /* by chunk: made of its blocks' ids, and of its scope's content where it begins a prompt: with those of all chunks before it, it says which chunk it is, in any trace */
  uint32_t n_chunks;
  struct sim_run *runs;
  uint32_t n_runs;

  /* What only trace.c uses: the capacities, the table from (parent, block ids) to chunks, and the texts of the scopes, hashed. */
  size_t room_requests, room_refs, room_chunks, room_runs, room_map, room_contents;
  struct sim_map_slot *map;
  uint64_t *contents;
  size_t n_contents;
  uint64_t root; /* what begins a prompt is mixed with it */
  uint32_t scope;
};

/* chunk_tokens: 0 to 2^20; 0: what is the larger of SIM_CHUNK_TOKENS and the trace's block. KVS_ERR_NOMEM, KVS_ERR_INVALID. */
kvs_status sim_trace_create(uint32_t chunk_tokens, struct sim_trace **trace_p);
void sim_trace_destroy(struct sim_trace *trace);

/*
 * From here on block ids mean other blocks than before: ids of two files have nothing to do with each other. text: the file, unpacked; by it the ids of its chunks are the
 * same wherever it is read, and others than those of another file. One that is read twice into a trace has other ids the second time. KVS_ERR_TOO_LARGE, KVS_ERR_NOMEM.
 */
kvs_status sim_trace_scope(struct sim_trace *trace, const void *text, size_t length, struct sim_error *error);

/* A new run; the requests that are added belong to it unless they say another. KVS_ERR_NOMEM, KVS_ERR_TOO_LARGE. */
kvs_status sim_trace_run(struct sim_trace *trace, struct sim_error *error);

/*
 * A request with its blocks of `block_tokens` each. Of *request all is given but `first` and `n_chunks`; it is of the run number `run`. A chunk is
 * made of chunk_tokens / block_tokens blocks; the blocks at the end that make no whole chunk are left out (they are computed each time). Where a chunk is one
 * block, a last one that is not full counts, as the trace has it.
 * KVS_ERR_INVALID: the blocks do not divide a chunk, or hold more tokens than the input, or a number is out of bounds. KVS_ERR_TOO_LARGE, KVS_ERR_NOMEM. Nothing is
 * added then.
 */
kvs_status sim_trace_add(struct sim_trace *trace, const struct sim_request *request, uint32_t block_tokens,
                         const uint64_t *ids, size_t n, struct sim_error *error);

/* Tokens of the first `chunks` chunks of a request. */
static inline uint32_t sim_trace_tokens(const struct sim_trace *trace, const struct sim_request *request,
                                        uint32_t chunks)
{
  uint64_t tokens = (uint64_t)chunks * trace->chunk_tokens;

  return tokens < request->input_tokens ? (uint32_t)tokens : request->input_tokens;
}

/* The chunks of a request that go on as they are in a later one: a last one that is not full is another when it is. */
static inline uint32_t sim_trace_whole(const struct sim_trace *trace, const struct sim_request *request)
{
  uint32_t full = request->input_tokens / trace->chunk_tokens;

  return full < request->n_chunks ? full : request->n_chunks;
}

#endif
