#include "client/traces/trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/digest.h"
#include "base/rand.h"

#define CHUNK_TOKENS_MAX (1u << 20)
#define MAP_MIN          1024u
#define SCOPE_FIRST      (SIM_NONE - 1) /* scopes count down from here: they stand where a parent does */

struct sim_map_slot {
  uint64_t id;     /* of a block, or of all blocks of a chunk mixed to one */
  uint32_t parent; /* a chunk, or a scope */
  uint32_t chunk;  /* SIM_NONE: free */
};

kvs_status sim_trace_create(uint32_t chunk_tokens, struct sim_trace **trace_p)
{
  struct sim_trace *trace;

  *trace_p = NULL;
  if (chunk_tokens > CHUNK_TOKENS_MAX)
    return KVS_ERR_INVALID;
  trace = calloc(1, sizeof *trace);
  if (!trace)
    return KVS_ERR_NOMEM;
  trace->chunk_tokens = chunk_tokens;
  trace->scope = SCOPE_FIRST;
  trace->tells_runs = true;
  *trace_p = trace;
  return KVS_OK;
}

void sim_trace_destroy(struct sim_trace *trace)
{
  if (!trace)
    return;
  free(trace->requests);
  free(trace->refs);
  free(trace->parent);
  free(trace->depth);
  free(trace->id);
  free(trace->runs);
  free(trace->map);
  free(trace->contents);
  free(trace);
}

/* Room for `more` behind the `used` items, and some in any case, so that nothing is NULL. False: no memory, or more than `most`. */
static bool grow(void **items_p, size_t size, size_t used, size_t more, size_t *room_p, size_t most)
{
  size_t want, room = *room_p ? *room_p : 1024;
  void *items;

  if (!kvi_size_add(used, more, &want) || want > most)
    return false;
  if (want <= *room_p && *room_p > 0)
    return true;
  while (room < want)
    room *= 2;
  items = realloc(*items_p, room * size);
  if (!items)
    return false;
  *items_p = items;
  *room_p = room;
  return true;
}

kvs_status sim_trace_run(struct sim_trace *trace, struct sim_error *error)
{
  if (!grow((void **)&trace->runs, sizeof *trace->runs, trace->n_runs, 1, &trace->room_runs, SIM_RUNS_MAX))
    return sim_fail(error, KVS_ERR_TOO_LARGE, "too many runs, or no memory for them");
  trace->runs[trace->n_runs] = (struct sim_run){.first_request = trace->n_requests, .group = trace->n_runs};
  trace->n_runs++;
  return KVS_OK;
}

/* ---- scopes ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
  uint64_t state = a ^ (b * UINT64_C(0x9E3779B97F4A7C15));

  return kvi_splitmix64(&state);
}

kvs_status sim_trace_scope(struct sim_trace *trace, const void *text, size_t length, struct sim_error *error)
{
  uint8_t digest[KVI_SHA256_BYTES];
  uint64_t content, copies = 0;

  if (!grow((void **)&trace->contents, sizeof *trace->contents, trace->n_contents, 1, &trace->room_contents,
            SIM_RUNS_MAX))
    return sim_fail(error, KVS_ERR_TOO_LARGE, "too many files, or no memory for them");
  kvi_sha256(text, length, digest);
  memcpy(&content, digest, sizeof content);
  for (size_t i = 0; i < trace->n_contents; i++)
    copies += trace->contents[i] == content;
  trace->contents[trace->n_contents++] = content;
  trace->root = mix(content, copies);
  if (trace->scope > SIM_CHUNKS_MAX)
    trace->scope--;
  return KVS_OK;
}

/* ---- chunks by their parent and blocks ---- */

static struct sim_map_slot *slot_of(struct sim_map_slot *map, size_t room, uint32_t parent, uint64_t id)
{
  size_t at = (size_t)mix(parent, id) & (room - 1);

  while (map[at].chunk != SIM_NONE && (map[at].parent != parent || map[at].id != id))
    at = (at + 1) & (room - 1);
  return &map[at];
}

/* The table is kept at most half full. */
static bool map_grow(struct sim_trace *trace, size_t more)
{
  size_t room = trace->room_map ? trace->room_map : MAP_MIN;
  struct sim_map_slot *map;

  while (room < 2 * (trace->n_chunks + more))
    room *= 2;
  if (room == trace->room_map)
    return true;
  map = malloc(room * sizeof *map);
  if (!map)
    return false;
  memset(map, 0xff, room * sizeof *map);
  for (size_t i = 0; i < trace->room_map; i++)
    if (trace->map[i].chunk != SIM_NONE)
      *slot_of(map, room, trace->map[i].parent, trace->map[i].id) = trace->map[i];
  free(trace->map);
  trace->map = map;
  trace->room_map = room;
  return true;
}

/* parent: the chunk before it, or SIM_NONE. There is room for one more. */
static uint32_t chunk_of(struct sim_trace *trace, uint32_t parent, uint64_t id)
{
  uint32_t below = parent == SIM_NONE ? trace->scope : parent;
  struct sim_map_slot *slot = slot_of(trace->map, trace->room_map, below, id);

  if (slot->chunk == SIM_NONE) {
    *slot = (struct sim_map_slot){.id = id, .parent = below, .chunk = trace->n_chunks};
    trace->parent[trace->n_chunks] = parent;
    trace->id[trace->n_chunks] = parent == SIM_NONE ? mix(trace->root, id) : id;
    trace->depth[trace->n_chunks] = parent == SIM_NONE ? 0 : trace->depth[parent] + 1;
    trace->n_chunks++;
  }
  return slot->chunk;
}

/* ---- requests ---- */

static bool make_room(struct sim_trace *trace, size_t chunks)
{
  size_t room = trace->room_chunks, same = room;

  if (!grow((void **)&trace->requests, sizeof *trace->requests, trace->n_requests, 1, &trace->room_requests,
            SIM_REQUESTS_MAX) ||
      !grow((void **)&trace->refs, sizeof *trace->refs, trace->n_refs, chunks, &trace->room_refs,
            SIZE_MAX / 8) ||
      !grow((void **)&trace->parent, sizeof *trace->parent, trace->n_chunks, chunks, &room, SIM_CHUNKS_MAX) ||
      !grow((void **)&trace->id, sizeof *trace->id, trace->n_chunks, chunks, &same, SIM_CHUNKS_MAX))
    return false;
  return grow((void **)&trace->depth, sizeof *trace->depth, trace->n_chunks, chunks, &trace->room_chunks,
              SIM_CHUNKS_MAX) &&
         map_grow(trace, chunks);
}

/* Of what is added; *each_p: blocks of a chunk. */
static kvs_status check(const struct sim_trace *trace, const struct sim_request *request,
                        uint32_t block_tokens, size_t n, uint32_t *each_p, struct sim_error *error)
{
  uint32_t chunk_tokens = trace->chunk_tokens, each;

  if (block_tokens == 0 || block_tokens > CHUNK_TOKENS_MAX)
    return sim_fail(error, KVS_ERR_INVALID, "blocks of %u tokens", block_tokens);
  if (chunk_tokens == 0)
    chunk_tokens =
        block_tokens > SIM_CHUNK_TOKENS ? block_tokens : SIM_CHUNK_TOKENS / block_tokens * block_tokens;
  each = chunk_tokens / block_tokens;
  if (each == 0 || each * block_tokens != chunk_tokens)
    return sim_fail(error, KVS_ERR_INVALID, "a chunk of %u tokens is not made of whole blocks of %u",
                    chunk_tokens, block_tokens);
  if (request->input_tokens > SIM_TOKENS_MAX || request->at_us > SIM_TIME_MAX_US ||
      request->run >= trace->n_runs)
    return sim_fail(error, KVS_ERR_INVALID, "a length or a time is out of bounds");
  if (n > ((uint64_t)request->input_tokens + block_tokens - 1) / block_tokens)
    return sim_fail(error, KVS_ERR_INVALID, "%zu blocks of %u tokens, but an input of %u", n, block_tokens,
                    request->input_tokens);
  *each_p = each;
  return KVS_OK;
}

kvs_status sim_trace_add(struct sim_trace *trace, const struct sim_request *request, uint32_t block_tokens,
                         const uint64_t *ids, size_t n, struct sim_error *error)
{
  struct sim_request *added;
  struct sim_run *run;
  uint32_t parent = SIM_NONE, each = 1;
  kvs_status status = check(trace, request, block_tokens, n, &each, error);
  size_t chunks;

  if (status != KVS_OK)
    return status;
  chunks = n / each;
  if (!make_room(trace, chunks))
    return sim_fail(error, KVS_ERR_NOMEM, "too many requests or chunks, or no memory for them");
  trace->chunk_tokens = each * block_tokens;
  added = &trace->requests[trace->n_requests++];
  *added = *request;
  added->first = trace->n_refs;
  added->n_chunks = (uint32_t)chunks;
  for (size_t i = 0; i < chunks; i++) {
    uint64_t id = ids[i * each];

    for (size_t k = 1; k < each; k++)
      id = mix(id, ids[i * each + k]);
    parent = chunk_of(trace, parent, id);
    trace->refs[trace->n_refs++] = parent;
  }
  run = &trace->runs[request->run];
  run->n_requests++;
  if (run->span_us < request->at_us)
    run->span_us = request->at_us;
  return KVS_OK;
}
