/* connector/request.c: starts operations. */
#include "connector/connector_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "proto/limits.h"

kvs_status kvi_connector_struct_copy(void *to, size_t size, const void *from)
{
  static const size_t size_min = 40;   /* of any struct in the first version: kvs_keys */
  static const size_t size_max = 4096; /* a larger one is not a struct of ours of any version */
  const unsigned char *bytes = from;
  uint32_t from_size;

  memset(to, 0, size);
  if (from == NULL)
    return KVS_OK;
  memcpy(&from_size, from, sizeof(from_size));
  if (from_size < size_min || from_size > size_max)
    return KVS_ERR_INVALID;
  for (size_t i = size; i < from_size; i++) {
    if (bytes[i] != 0)
      return KVS_ERR_INVALID;
  }
  memcpy(to, from, from_size < size ? from_size : size);
  return KVS_OK;
}

kvs_status kvi_connector_keys_convert(const kvs_keys *keys, uint32_t n_max, kvsc_keys *to)
{
  kvs_keys copy;
  kvs_status status;

  if (keys == NULL)
    return KVS_ERR_INVALID;
  status = kvi_connector_struct_copy(&copy, sizeof(copy), keys);
  if (status != KVS_OK)
    return status;
  if (copy.keys == NULL || copy.n == 0)
    return KVS_ERR_INVALID;
  if (copy.n > n_max)
    return KVS_ERR_TOO_LARGE;
  *to = (kvsc_keys){.struct_size = sizeof(*to),
                    .n = copy.n,
                    .keys = copy.keys,
                    .first_place = copy.first_place,
                    .unchained = copy.unchained,
                    .parent = copy.parent,
                    .extent_first = copy.extent_first};
  return KVS_OK;
}

void kvi_connector_request_convert(const kvs_request *request, const struct kvi_connector_op *op,
                                   kvsc_call *to)
{
  /* Leads from the completion to the operation; the engine's value is in it. begin() has set op. */
  const uint64_t id = op->id; /* NOLINT(clang-analyzer-core.NullDereference) */

  *to = (kvsc_call){.struct_size = sizeof(*to),
                    .timeout_ms = request->timeout_ms,
                    .user = id,
                    .lease = request->lease,
                    .lease_ms = request->lease_ms,
                    .abreast = request->by_layer,
                    .loss_max = request->loss_max,
                    .loss_enough = request->loss_enough,
                    .hurry_ms = request->hurry_ms,
                    .chain_chunks = request->chain_chunks,
                    .statuses = request->statuses,
                    .present = request->present};
}

/* An operation being started: what every starter needs. */
struct start {
  kvs_connector *connector;
  kvs_request request;
  kvsc_keys keys;
  struct kvi_connector_op *op;
  kvsc_call call;
};

static kvs_status check_start(struct start *start, kvs_connector *connector, const kvs_keys *keys,
                              uint32_t n_max, const kvs_request *request)
{
  kvs_status status;

  start->connector = connector;
  start->op = NULL;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  status = kvi_connector_struct_copy(&start->request, sizeof(start->request), request);
  return status == KVS_OK ? kvi_connector_keys_convert(keys, n_max, &start->keys) : status;
}

static kvs_status begin(struct start *start, kvs_memory *memory)
{
  kvs_status status = kvi_connector_op_begin(start->connector, &start->request, memory, &start->op);

  if (status == KVS_OK)
    kvi_connector_request_convert(&start->request, start->op, &start->call);
  return status;
}

/* The client's answer decides: the operation is under way, or it never was. */
static kvs_status end(struct start *start, kvs_status status, kvsc_op client, kvs_op *op_p)
{
  if (status == KVS_OK)
    *op_p = kvi_connector_op_started(start->connector, start->op, client);
  else
    kvi_connector_op_refused(start->connector, start->op);
  return status;
}

/* ---- lookups ---- */

static kvs_status convert_spaces(const kvs_connector *connector, kvs_space *const *spaces, uint32_t n_spaces,
                                 kvsc_space *to[KVI_LOOKUP_SPACES_MAX])
{
  if (spaces == NULL || n_spaces == 0)
    return KVS_ERR_INVALID;
  if (n_spaces > KVI_LOOKUP_SPACES_MAX)
    return KVS_ERR_TOO_LARGE;
  for (uint32_t i = 0; i < n_spaces; i++) {
    if (spaces[i] == NULL || spaces[i]->connector != connector ||
        spaces[i]->key_length != spaces[0]->key_length)
      return KVS_ERR_INVALID;
    to[i] = spaces[i]->client;
  }
  return KVS_OK;
}

static kvs_status start_lookup(struct start *start, kvsc_space *const *spaces, uint32_t n_spaces,
                               kvs_op *op_p)
{
  kvs_connector *connector = start->connector;
  kvsc_op client = 0;
  kvs_status status;

  start->op->lookup = true;
  status = kvsc_lookup(connector->client, spaces, n_spaces, &start->keys, &start->call, &client);
  if (status == KVS_OK)
    atomic_fetch_add_explicit(&connector->lookup_keys, start->keys.n, memory_order_relaxed);
  return end(start, status, client, op_p);
}

kvs_status kvs_lookup(kvs_connector *connector, kvs_space *const *spaces, uint32_t n_spaces,
                      const kvs_keys *keys, const kvs_request *request, kvs_op *op_p)
{
  kvsc_space *client_spaces[KVI_LOOKUP_SPACES_MAX];
  struct start start;
  kvs_status status;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (connector == NULL)
    return KVS_ERR_INVALID;
  status = check_start(&start, connector, keys, KVI_LOOKUP_KEYS_MAX, request);
  if (status == KVS_OK)
    status = convert_spaces(connector, spaces, n_spaces, client_spaces);
  if (status == KVS_OK)
    status = begin(&start, NULL);
  return status == KVS_OK ? start_lookup(&start, client_spaces, n_spaces, op_p) : status;
}

/* Writes the keys of a prompt's n_chunks whole chunks into memory of the operation. */
static kvs_status hash_tokens(const kvs_space *space, const uint32_t *tokens, size_t n_chunks,
                              struct start *start)
{
  uint8_t *keys = kvi_connector_op_alloc(start->op, n_chunks * KVS_HASH_SIZE);

  if (keys == NULL)
    return KVS_ERR_NOMEM;
  start->keys = (kvsc_keys){.struct_size = sizeof(start->keys), .n = (uint32_t)n_chunks, .keys = keys};
  return kvs_keys_from_tokens(space->hash, space->digest, NULL, tokens, n_chunks * space->tokens_per_chunk,
                              space->tokens_per_chunk, 0, NULL, 0, keys, &n_chunks);
}

kvs_status kvs_lookup_tokens(kvs_space *space, const uint32_t *tokens, size_t n_tokens,
                             const kvs_request *request, kvs_op *op_p)
{
  struct start start;
  size_t n_chunks;
  kvs_status status;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (space == NULL || (tokens == NULL && n_tokens > 0))
    return KVS_ERR_INVALID;
  if (space->hash != KVS_HASH_NATIVE || space->key_length != KVS_HASH_SIZE)
    return KVS_ERR_UNSUPPORTED;
  if (kvi_forked(space->connector->pid))
    return KVS_ERR_FORKED;
  start.connector = space->connector;
  status = kvi_connector_struct_copy(&start.request, sizeof(start.request), request);
  if (status != KVS_OK)
    return status;
  n_chunks = n_tokens == 0 ? 0 : (n_tokens - 1) / space->tokens_per_chunk; /* never the last token */
  if (n_chunks == 0)
    return KVS_MISS;
  if (n_chunks > KVI_LOOKUP_KEYS_MAX)
    return KVS_ERR_TOO_LARGE;

  status = begin(&start, NULL);
  if (status != KVS_OK)
    return status;
  status = hash_tokens(space, tokens, n_chunks, &start);
  return status == KVS_OK ? start_lookup(&start, &space->client, 1, op_p) : end(&start, status, 0, op_p);
}

/* ---- gets and puts on registered memory ---- */

/* Chunks, scatter lists and segment lengths of a request lie in one block of the operation's memory. */
struct plan {
  kvsc_chunk *chunks;
  kvsc_iov *iov;
  uint32_t *segments;
};

static bool allocate_plan(struct kvi_connector_op *op, uint32_t n_chunks, size_t n_iov, size_t n_segments,
                          struct plan *plan)
{
  /* Sizes are bounded by the checks before: 512 chunks, 2^20 places, 512 * 4096 segments. */
  size_t chunk_bytes = n_chunks * sizeof(*plan->chunks);
  size_t iov_bytes = n_iov * sizeof(*plan->iov);
  char *block = kvi_connector_op_alloc(op, chunk_bytes + iov_bytes + n_segments * sizeof(*plan->segments));

  if (block == NULL)
    return false;
  plan->chunks = (kvsc_chunk *)(void *)block;
  plan->iov = (kvsc_iov *)(void *)(block + chunk_bytes);
  plan->segments = (uint32_t *)(void *)(block + chunk_bytes + iov_bytes);
  return true;
}

static kvs_status plan_memory(const struct kvi_connector_scatter *scatter, struct kvi_connector_op *op,
                              bool put, struct plan *plan)
{
  const kvs_memory *memory = scatter->memory;
  size_t n_iov = 0;
  kvsc_iov *iov;

  for (uint32_t i = 0; i < scatter->n_chunks; i++)
    n_iov += kvi_connector_scatter_chunk(scatter, i, NULL);
  if (!allocate_plan(op, scatter->n_chunks, n_iov, put ? memory->n_regions : 0, plan))
    return KVS_ERR_NOMEM;

  for (uint32_t r = 0; put && r < memory->n_regions; r++)
    plan->segments[r] = (uint32_t)(memory->regions[r].size * scatter->slots_per_chunk);
  iov = plan->iov;
  for (uint32_t i = 0; i < scatter->n_chunks; i++) {
    kvsc_chunk *chunk = &plan->chunks[i];

    *chunk = (kvsc_chunk){.iov = iov, .n_iov = kvi_connector_scatter_chunk(scatter, i, iov), .exact = !put};
    iov += chunk->n_iov;
    if (put) {
      chunk->n_segments = memory->n_regions;
      chunk->segment_lengths = plan->segments; /* all chunks of a request are cut alike */
    }
  }
  return KVS_OK;
}

static kvs_status start_transfer(struct start *start, kvs_space *space, bool put, const kvsc_chunk *chunks,
                                 kvs_op *op_p)
{
  kvsc_op client = 0;
  kvs_status status;

  start->op->put = put;
  start->op->n_chunks = start->keys.n;
  if (put)
    status = kvsc_put(space->client, &start->keys, chunks, &start->call, &client);
  else
    status = kvsc_get(space->client, &start->keys, chunks, &start->call, &client);
  return end(start, status, client, op_p);
}

static kvs_status transfer_memory(kvs_space *space, const kvs_keys *keys, kvs_memory *memory,
                                  const int64_t *slots, uint32_t slots_per_chunk, const kvs_request *request,
                                  bool put, kvs_op *op_p)
{
  struct kvi_connector_scatter scatter = {
      .memory = memory, .slots = slots, .slots_per_chunk = slots_per_chunk, .holes = !put};
  struct start start;
  struct plan plan;
  kvs_status status;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (space == NULL || memory == NULL || memory->connector != space->connector)
    return KVS_ERR_INVALID;
  status = check_start(&start, space->connector, keys, KVI_BATCH_CHUNKS_MAX, request);
  if (status != KVS_OK)
    return status;
  scatter.n_chunks = start.keys.n;
  status = kvi_connector_scatter_check(&scatter);
  if (status != KVS_OK)
    return status;
  if (space->chunk_bytes != 0 && kvi_connector_scatter_chunk_bytes(&scatter) != space->chunk_bytes)
    return KVS_ERR_SPACE_MISMATCH;

  status = begin(&start, memory);
  if (status != KVS_OK)
    return status;
  start.op->slots_per_chunk = slots_per_chunk;
  status = plan_memory(&scatter, start.op, put, &plan);
  if (status != KVS_OK)
    return end(&start, status, 0, op_p);
  return start_transfer(&start, space, put, plan.chunks, op_p);
}

kvs_status kvs_get(kvs_space *space, const kvs_keys *keys, kvs_memory *memory, const int64_t *slots,
                   uint32_t slots_per_chunk, const kvs_request *request, kvs_op *op_p)
{
  return transfer_memory(space, keys, memory, slots, slots_per_chunk, request, false, op_p);
}

kvs_status kvs_put(kvs_space *space, const kvs_keys *keys, kvs_memory *memory, const int64_t *slots,
                   uint32_t slots_per_chunk, const kvs_request *request, kvs_op *op_p)
{
  return transfer_memory(space, keys, memory, slots, slots_per_chunk, request, true, op_p);
}

/* ---- gets and puts of buffers ---- */

static kvs_status check_segments(const kvs_buffer *buffer)
{
  uint64_t sum = 0;

  if (buffer->n_segments == 0)
    return KVS_OK;
  if (buffer->n_segments > KVI_SEGMENTS_MAX || buffer->segment_lengths == NULL)
    return KVS_ERR_INVALID;
  for (uint32_t i = 0; i < buffer->n_segments; i++) {
    if (buffer->segment_lengths[i] == 0)
      return KVS_ERR_INVALID;
    sum += buffer->segment_lengths[i]; /* 4096 * 2^32 at most */
  }
  return sum == buffer->length ? KVS_OK : KVS_ERR_INVALID;
}

static kvs_status check_buffers(const kvs_space *space, const kvs_buffer *buffers, uint32_t n, bool put,
                                size_t *n_segments_p)
{
  *n_segments_p = 0;
  if (buffers == NULL)
    return KVS_ERR_INVALID;
  for (uint32_t i = 0; i < n; i++) {
    const kvs_buffer *buffer = &buffers[i];
    kvs_status status = KVS_OK;

    if (buffer->base == NULL || buffer->length == 0)
      return KVS_ERR_INVALID;
    /* Room may be larger than any chunk; what is put may not. */
    if (put ? buffer->length > KVI_CHUNK_BYTES_MAX : buffer->length > SIZE_MAX)
      return KVS_ERR_TOO_LARGE;
    if (space->chunk_bytes != 0 &&
        (put ? buffer->length != space->chunk_bytes : buffer->length < space->chunk_bytes))
      return KVS_ERR_SPACE_MISMATCH;
    if (put)
      status = check_segments(buffer);
    if (status != KVS_OK)
      return status;
    *n_segments_p += put ? buffer->n_segments : 0;
  }
  return KVS_OK;
}

static kvs_status plan_buffers(const kvs_buffer *buffers, uint32_t n, size_t n_segments,
                               struct kvi_connector_op *op, bool put, struct plan *plan)
{
  uint32_t *segments;

  if (!allocate_plan(op, n, n, n_segments, plan))
    return KVS_ERR_NOMEM;
  segments = plan->segments;
  for (uint32_t i = 0; i < n; i++) {
    plan->iov[i] = (kvsc_iov){.base = buffers[i].base, .length = (size_t)buffers[i].length};
    plan->chunks[i] = (kvsc_chunk){.iov = &plan->iov[i], .n_iov = 1};
    if (!put || buffers[i].n_segments == 0)
      continue;
    memcpy(segments, buffers[i].segment_lengths, buffers[i].n_segments * sizeof(*segments));
    plan->chunks[i].n_segments = buffers[i].n_segments;
    plan->chunks[i].segment_lengths = segments;
    segments += buffers[i].n_segments;
  }
  return KVS_OK;
}

static kvs_status transfer_buffers(kvs_space *space, const kvs_keys *keys, const kvs_buffer *buffers,
                                   const kvs_request *request, bool put, kvs_op *op_p)
{
  struct start start;
  struct plan plan;
  size_t n_segments;
  kvs_status status;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (space == NULL)
    return KVS_ERR_INVALID;
  status = check_start(&start, space->connector, keys, KVI_BATCH_CHUNKS_MAX, request);
  if (status == KVS_OK)
    status = check_buffers(space, buffers, start.keys.n, put, &n_segments);
  if (status == KVS_OK)
    status = begin(&start, NULL);
  if (status != KVS_OK)
    return status;
  status = plan_buffers(buffers, start.keys.n, n_segments, start.op, put, &plan);
  if (status != KVS_OK)
    return end(&start, status, 0, op_p);
  return start_transfer(&start, space, put, plan.chunks, op_p);
}

kvs_status kvs_get_buffers(kvs_space *space, const kvs_keys *keys, const kvs_buffer *buffers,
                           const kvs_request *request, kvs_op *op_p)
{
  return transfer_buffers(space, keys, buffers, request, false, op_p);
}

kvs_status kvs_put_buffers(kvs_space *space, const kvs_keys *keys, const kvs_buffer *buffers,
                           const kvs_request *request, kvs_op *op_p)
{
  return transfer_buffers(space, keys, buffers, request, true, op_p);
}

/* ---- the small ones ---- */

kvs_status kvs_delete(kvs_space *space, const kvs_keys *keys, const kvs_request *request, kvs_op *op_p)
{
  struct start start;
  kvsc_op client = 0;
  kvs_status status;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (space == NULL)
    return KVS_ERR_INVALID;
  status = check_start(&start, space->connector, keys, KVI_LOOKUP_KEYS_MAX, request);
  if (status == KVS_OK)
    status = begin(&start, NULL);
  if (status != KVS_OK)
    return status;
  status = kvsc_delete(space->client, &start.keys, &start.call, &client);
  return end(&start, status, client, op_p);
}

kvs_status kvs_release(kvs_connector *connector, uint64_t lease)
{
  if (connector == NULL)
    return KVS_ERR_INVALID;
  return kvi_forked(connector->pid) ? KVS_ERR_FORKED : kvsc_release(connector->client, lease);
}
