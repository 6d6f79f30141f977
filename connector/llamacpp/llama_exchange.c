/* Chunks between the sequence and the store: saves go on in the background, loads are fetched one batch
 * ahead. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "connector/llamacpp/llama_private.h"

bool kvi_llama_wait(kvs_llama *handle, kvs_op op, kvs_completion *completion)
{
  *completion = (kvs_completion){.op = op, .status = KVS_MISS};
  kvs_status status = kvs_wait(handle->connector, op, handle->timeout_ms + KVI_LLAMA_GRACE_MS, completion);
  if (status == KVS_ERR_DEADLINE) {
    kvs_cancel(handle->connector, op);
    status = kvs_wait(handle->connector, op, KVI_LLAMA_GRACE_MS, completion);
  }
  /* Unknown: the embedder's own poll has taken the completion, so it has ended; the statuses tell how. */
  return status != KVS_ERR_DEADLINE;
}

static kvs_request request_of(const kvs_llama *handle, kvs_status *statuses)
{
  return (kvs_request){.struct_size = sizeof(kvs_request),
                       .timeout_ms = handle->timeout_ms,
                       .loss_max = handle->loss_max,
                       .loss_enough = handle->loss_enough,
                       .hurry_ms = handle->hurry_ms,
                       .statuses = statuses};
}

/* --- saves --- */

static void finish_save(kvs_llama *handle, kvi_llama_save *save)
{
  if (save->op == 0 || save->lost)
    return;
  kvs_completion completion;
  if (!kvi_llama_wait(handle, save->op, &completion)) {
    save->lost = true;
    kvi_log_error("a put did not end %u ms after its deadline: its buffer is given up", KVI_LLAMA_GRACE_MS);
  } else if (save->status == KVS_OK || save->status == KVS_EXISTS) {
    handle->saved_chunks++;
    handle->saved_bytes += save->buffer.length;
    save->op = 0;
    return;
  } else if (save->status == KVS_DECLINED) { /* the store has what is worth more */
    save->op = 0;
    return;
  }
  handle->failed_chunks++;
  handle->failed_since_flush = true;
  save->op = 0;
}

void kvi_llama_finish_saves(kvs_llama *handle)
{
  for (uint32_t i = 0; i < KVI_LLAMA_SAVES; i++)
    finish_save(handle, &handle->saves[(handle->next_save + i) % KVI_LLAMA_SAVES]);
}

/* The oldest buffer, free again. NULL: none could be had. */
static kvi_llama_save *next_free(kvs_llama *handle)
{
  for (uint32_t i = 0; i < KVI_LLAMA_SAVES; i++) {
    kvi_llama_save *save = &handle->saves[handle->next_save];
    handle->next_save = (handle->next_save + 1) % KVI_LLAMA_SAVES;
    finish_save(handle, save);
    if (save->lost)
      continue;
    if (save->memory == NULL)
      save->memory = malloc(handle->seq.chunk_room);
    return save->memory == NULL ? NULL : save;
  }
  return NULL;
}

kvs_status kvi_llama_save_chunk(kvs_llama *handle, const kvs_llama_prompt *prompt, const kvi_llama_keys *keys,
                                uint32_t chunk)
{
  kvi_llama_save *save = next_free(handle);
  if (save == NULL)
    return KVS_ERR_NOMEM;
  size_t length;
  kvs_status status = kvi_llama_sequence_cut(&handle->seq, prompt->sequence, chunk, save->memory, &length);
  if (status != KVS_OK)
    return status;
  save->buffer = (kvs_buffer){.base = save->memory,
                              .length = length,
                              .n_segments = handle->n_segments,
                              .segment_lengths = handle->segments};
  save->status = KVS_PENDING;
  const kvs_keys key = kvi_llama_keys_range(keys, chunk, 1);
  kvs_request request = request_of(handle, &save->status);
  request.chain_chunks = keys->n;
  if (kvs_put_buffers(handle->space, &key, &save->buffer, &request, &save->op) != KVS_OK) {
    /* The store's trouble is not the engine's: the chunk is just not saved. */
    save->op = 0;
    handle->failed_chunks++;
    handle->failed_since_flush = true;
  }
  return KVS_OK;
}

/* --- loads --- */

typedef struct fetch {
  kvs_op op;
  uint32_t first, n;
  kvs_buffer buffers[KVI_LLAMA_BATCH_MAX];
  kvs_status statuses[KVI_LLAMA_BATCH_MAX];
} fetch;

/*
 * Two fetches take turns: while one batch is written into the sequence the next is on its way. Where batches
 * cannot be appended (no splice) each has memory of its own and all go in at once at the end.
 */
typedef struct loader {
  kvs_llama *handle;
  const kvs_llama_prompt *prompt;
  const kvi_llama_keys *keys;
  uint64_t lease;
  uint32_t n, per_batch, n_ready; /* chunks wanted; of a batch; in place */
  uint64_t bytes;
  uint8_t *memory;
  const uint8_t **chunks; /* no splice: all of them */
  bool whole;             /* no splice */
  bool lost;
  fetch turns[2];
} loader;

static kvs_status open_loader(loader *l)
{
  const size_t room = l->handle->seq.chunk_room;
  const size_t fit = KVI_LLAMA_BATCH_BYTES / room;
  l->whole = !l->handle->seq.splice;
  l->per_batch = fit < 1 ? 1 : fit > KVI_LLAMA_BATCH_MAX ? KVI_LLAMA_BATCH_MAX : (uint32_t)fit;
  const size_t n = l->whole || l->n < 2 * (size_t)l->per_batch ? l->n : 2 * (size_t)l->per_batch;
  if (room > SIZE_MAX / n)
    return KVS_ERR_NOMEM;
  l->memory = malloc(n * room);
  l->chunks = malloc((l->whole ? l->n : KVI_LLAMA_BATCH_MAX) * sizeof(*l->chunks));
  if (l->memory != NULL && l->chunks != NULL)
    return KVS_OK;
  free(l->memory);
  free(l->chunks);
  return KVS_ERR_NOMEM;
}

static uint8_t *place(const loader *l, uint32_t chunk)
{
  const uint32_t slot = l->whole ? chunk : chunk % (2 * l->per_batch);
  return l->memory + (size_t)slot * l->handle->seq.chunk_room;
}

static fetch *turn(loader *l, uint32_t first)
{
  return &l->turns[first / l->per_batch % 2];
}

static void start_fetch(loader *l, uint32_t first)
{
  fetch *f = turn(l, first);
  const uint32_t left = l->n - first;
  *f = (fetch){.first = first, .n = left < l->per_batch ? left : l->per_batch};
  for (uint32_t i = 0; i < f->n; i++) {
    f->buffers[i] = (kvs_buffer){.base = place(l, first + i), .length = l->handle->seq.chunk_room};
    f->statuses[i] = KVS_PENDING;
  }
  const kvs_keys keys = kvi_llama_keys_range(l->keys, first, f->n);
  kvs_request request = request_of(l->handle, f->statuses);
  request.lease = l->lease;
  if (kvs_get_buffers(l->handle->space, &keys, f->buffers, &request, &f->op) != KVS_OK)
    f->op = 0;
}

/* Leading chunks of the batch that are there. */
static uint32_t end_fetch(loader *l, fetch *f)
{
  if (f->op == 0)
    return 0;
  kvs_completion completion;
  const bool ended = kvi_llama_wait(l->handle, f->op, &completion);
  f->op = 0;
  if (!ended) {
    l->lost = true;
    return 0;
  }
  l->bytes += completion.bytes;
  uint32_t n = 0;
  while (n < f->n && f->statuses[n] == KVS_OK)
    n++;
  return n;
}

static kvs_status take_batch(loader *l, const fetch *f, uint32_t n)
{
  size_t lengths[KVI_LLAMA_BATCH_MAX];
  const uint8_t **chunks = l->chunks + (l->whole ? f->first : 0);
  for (uint32_t i = 0; i < n; i++) {
    chunks[i] = place(l, f->first + i);
    lengths[i] = l->handle->seq.chunk_room; /* a state says itself where it ends */
  }
  if (l->whole || n == 0)
    return KVS_OK;
  return kvi_llama_sequence_append(&l->handle->seq, l->prompt->sequence, f->first, chunks, lengths, n);
}

/* Sets n_ready to what is in the sequence (splice) or in memory (whole). */
static kvs_status run_batches(loader *l)
{
  start_fetch(l, 0);
  for (uint32_t first = 0; first < l->n; first += l->per_batch) {
    const uint32_t next = first + l->per_batch;
    if (next < l->n)
      start_fetch(l, next);
    fetch *f = turn(l, first);
    const uint32_t n = end_fetch(l, f);
    const kvs_status status = l->lost ? KVS_OK : take_batch(l, f, n);
    if (status == KVS_OK)
      l->n_ready += n;
    if (status == KVS_OK && n == f->n)
      continue;
    if (next < l->n && turn(l, next)->op != 0) {
      kvs_cancel(l->handle->connector, turn(l, next)->op);
      end_fetch(l, turn(l, next));
    }
    return status;
  }
  return KVS_OK;
}

/* How many leading chunks the store has, held by a lease while they are fetched. */
static uint32_t look_up(loader *l, uint32_t n)
{
  const kvs_keys keys = kvi_llama_keys_range(l->keys, 0, n);
  kvs_request request = request_of(l->handle, NULL);
  request.lease_ms = l->handle->timeout_ms;
  kvs_op op;
  kvs_completion completion;
  if (kvs_lookup(l->handle->connector, &l->handle->space, 1, &keys, &request, &op) != KVS_OK)
    return 0;
  if (!kvi_llama_wait(l->handle, op, &completion) || completion.status < 0)
    return 0;
  l->lease = completion.lease;
  return completion.n_prefix < n ? completion.n_prefix : n;
}

kvs_status kvi_llama_fetch(kvs_llama *handle, const kvs_llama_prompt *prompt, const kvi_llama_keys *keys,
                           uint32_t n, uint32_t *n_loaded_p)
{
  *n_loaded_p = 0;
  loader *l = calloc(1, sizeof(*l));
  if (l == NULL)
    return KVS_ERR_NOMEM;
  l->handle = handle;
  l->prompt = prompt;
  l->keys = keys;
  l->n = look_up(l, n);
  kvs_status status = KVS_OK;
  if (l->n == 0)
    goto out;
  status = open_loader(l);
  if (status != KVS_OK)
    goto out;
  status = run_batches(l);
  if (status == KVS_OK && l->whole && l->n_ready > 0)
    status = kvi_llama_sequence_append(&handle->seq, prompt->sequence, 0, l->chunks, NULL, l->n_ready);
  if (status == KVS_OK) {
    *n_loaded_p = l->n_ready;
    handle->loaded_chunks += l->n_ready;
    handle->loaded_bytes += l->bytes;
  }
  if (l->lost) {
    /* The connector may still write there: memory, and the arrays it was told of, are left to it. */
    kvi_log_error("a get did not end %u ms after its deadline: its buffers are given up", KVI_LLAMA_GRACE_MS);
    kvs_release(handle->connector, l->lease);
    return status;
  }
  free(l->memory);
  free(l->chunks);
out:
  if (l->lease != 0)
    kvs_release(handle->connector, l->lease);
  free(l);
  return status;
}
