#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "connector/llamacpp/llama_private.h"
#include "proto/chunk.h"
#include "proto/limits.h"

/* What a caller of an older version does not have is zero. */
static bool take_options(const kvs_llama_options *from, kvs_llama_options *options)
{
  if (from == NULL || from->struct_size < sizeof(from->struct_size))
    return false;
  *options = (kvs_llama_options){0};
  memcpy(options, from, from->struct_size < sizeof(*options) ? from->struct_size : sizeof(*options));
  return true;
}

static kvs_status check_options(const kvs_llama_options *options)
{
  if (options->params == NULL)
    return KVS_ERR_INVALID;
  if (options->model_path == NULL && options->weights == NULL)
    return KVS_ERR_INVALID;
  return options->timeout_ms > KVI_TIMEOUT_MS_MAX || options->tokens_per_chunk > INT32_MAX ||
                 options->loss_max > KVI_LOSS_MAX || options->loss_enough > options->loss_max
             ? KVS_ERR_INVALID
             : KVS_OK;
}

kvs_status kvs_llama_open(kvs_connector *connector, struct llama_context *context,
                          const kvs_llama_options *options, char *error, size_t error_size,
                          kvs_llama **handle_p)
{
  kvs_llama_options taken;
  if (error_size > 0)
    error[0] = '\0';
  *handle_p = NULL;
  kvs_status status = connector == NULL || context == NULL || !take_options(options, &taken)
                          ? KVS_ERR_INVALID
                          : check_options(&taken);
  if (status != KVS_OK) {
    if (error_size > 0)
      snprintf(error, error_size, "an option is missing or out of bounds");
    return status;
  }
  options = &taken;
  kvs_llama *handle = calloc(1, sizeof(*handle));
  if (handle == NULL)
    return KVS_ERR_NOMEM;
  handle->connector = connector;
  handle->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : KVI_LLAMA_TIMEOUT_MS;
  handle->loss_max = options->loss_max;
  handle->loss_enough = options->loss_enough;
  handle->hurry_ms = options->hurry_ms;
  const uint32_t per_chunk =
      options->tokens_per_chunk != 0 ? options->tokens_per_chunk : KVI_LLAMA_TOKENS_PER_CHUNK;
  const llama_seq_id spare =
      options->spare_sequence != 0 ? options->spare_sequence : (llama_seq_id)llama_n_seq_max(context) - 1;
  status =
      kvi_llama_sequence_open(context, options->params, per_chunk, spare, error, error_size, &handle->seq);
  if (status != KVS_OK)
    goto free_handle;
  if (handle->seq.chunk_room > KVI_CHUNK_BYTES_MAX) {
    status = KVS_ERR_TOO_LARGE;
    if (error_size > 0)
      snprintf(error, error_size,
               "a chunk of %u tokens takes %zu bytes, more than %u: lower tokens_per_chunk", per_chunk,
               handle->seq.chunk_room, KVI_CHUNK_BYTES_MAX);
    goto close_sequence;
  }
  status = kvi_llama_space_open(handle, options, error, error_size);
  if (status != KVS_OK)
    goto free_segments;
  *handle_p = handle;
  return KVS_OK;

free_segments:
  free(handle->segments);
close_sequence:
  kvi_llama_sequence_close(&handle->seq);
free_handle:
  free(handle);
  return status;
}

void kvs_llama_close(kvs_llama *handle)
{
  if (handle == NULL)
    return;
  kvi_llama_finish_saves(handle);
  bool lost = false;
  for (uint32_t i = 0; i < KVI_LLAMA_SAVES; i++) {
    lost = lost || handle->saves[i].lost;
    if (!handle->saves[i].lost)
      free(handle->saves[i].memory);
  }
  kvi_llama_sequence_close(&handle->seq);
  if (lost)
    return; /* the connector still knows of buffers and statuses in the handle */
  free(handle->segments);
  free(handle);
}

static kvs_status check_prompt(const kvs_llama *handle, const kvs_llama_prompt *prompt)
{
  if (handle == NULL || prompt == NULL || prompt->struct_size < sizeof(*prompt) || prompt->tokens == NULL)
    return KVS_ERR_INVALID;
  if (prompt->sequence < 0 || prompt->sequence >= (llama_seq_id)llama_n_seq_max(handle->seq.context) ||
      prompt->sequence == handle->seq.spare)
    return KVS_ERR_INVALID;
  return prompt->n_tokens == 0 || prompt->n_tokens > INT32_MAX ? KVS_ERR_INVALID : KVS_OK;
}

kvs_status kvs_llama_load(kvs_llama *handle, const kvs_llama_prompt *prompt, size_t *n_past_p)
{
  *n_past_p = 0;
  kvs_status status = check_prompt(handle, prompt);
  if (status != KVS_OK)
    return status;
  struct llama_context *context = handle->seq.context;
  llama_memory_seq_rm(llama_get_memory(context), prompt->sequence, -1, -1);
  kvi_llama_keys keys;
  status = kvi_llama_keys_make(handle, prompt, &keys);
  if (status != KVS_OK)
    return status;
  /* The last token is always computed: its logits are what the engine wants. */
  uint32_t n = (uint32_t)((prompt->n_tokens - 1) / handle->seq.tokens_per_chunk);
  const uint32_t fit = llama_n_ctx_seq(context) / handle->seq.tokens_per_chunk;
  n = n < keys.n ? n : keys.n;
  n = n < fit ? n : fit;
  uint32_t n_loaded = 0;
  if (n > 0)
    status = kvi_llama_fetch(handle, prompt, &keys, n, &n_loaded);
  kvi_llama_keys_free(&keys);
  if (status == KVS_ERR_INTERNAL) {
    kvi_log_warn("llama.cpp did not take the stored prefix of a prompt: it is computed");
    status = KVS_OK;
  }
  if (status == KVS_OK)
    *n_past_p = (size_t)n_loaded * handle->seq.tokens_per_chunk;
  return status;
}

/* Chunks [first, end) that the sequence can give now. A store that fails costs only the saving. */
static kvs_status save_range(kvs_llama *handle, const kvs_llama_prompt *prompt, const kvi_llama_keys *keys,
                             uint32_t first, uint32_t end)
{
  uint32_t ready_first, ready_end;
  kvi_llama_sequence_ready(&handle->seq, prompt->sequence, &ready_first, &ready_end);
  first = first > ready_first ? first : ready_first;
  end = end < ready_end ? end : ready_end;
  end = end < keys->n ? end : keys->n;
  if (first >= end || prompt->load_only)
    return KVS_OK;
  kvs_status status = kvi_llama_sequence_begin(&handle->seq, prompt->sequence);
  for (uint32_t chunk = first; chunk < end && status == KVS_OK; chunk++) {
    status = kvi_llama_save_chunk(handle, prompt, keys, chunk);
    if (status == KVS_MISS)
      status = KVS_OK;
  }
  kvi_llama_sequence_end(&handle->seq);
  return status;
}

kvs_status kvs_llama_save(kvs_llama *handle, const kvs_llama_prompt *prompt, size_t from)
{
  kvs_status status = check_prompt(handle, prompt);
  if (status != KVS_OK || from >= prompt->n_tokens)
    return status;
  kvi_llama_keys keys;
  status = kvi_llama_keys_make(handle, prompt, &keys);
  if (status != KVS_OK)
    return status;
  const uint32_t per_chunk = handle->seq.tokens_per_chunk;
  status = save_range(handle, prompt, &keys, (uint32_t)((from + per_chunk - 1) / per_chunk), keys.n);
  kvi_llama_keys_free(&keys);
  return status;
}

static kvs_status decode_status(int result)
{
  switch (result) {
  case 0:
    return KVS_OK;
  case 1:
    return KVS_ERR_FULL;
  case 2:
    return KVS_ERR_CANCELED;
  default:
    return KVS_ERR_INTERNAL;
  }
}

/* Tokens [from, to) as one batch; logits for the prompt's last token only. */
static kvs_status decode_piece(kvs_llama *handle, const kvs_llama_prompt *prompt, struct llama_batch *batch,
                               size_t from, size_t to)
{
  batch->n_tokens = (int32_t)(to - from);
  for (size_t i = from; i < to; i++) {
    batch->token[i - from] = prompt->tokens[i];
    batch->pos[i - from] = (llama_pos)i;
    batch->n_seq_id[i - from] = 1;
    batch->seq_id[i - from][0] = prompt->sequence;
    batch->logits[i - from] = i + 1 == prompt->n_tokens;
  }
  return decode_status(llama_decode(handle->seq.context, *batch));
}

static kvs_status decode_from(kvs_llama *handle, const kvs_llama_prompt *prompt, const kvi_llama_keys *keys,
                              struct llama_batch *batch, size_t piece, size_t from)
{
  const size_t per_chunk = handle->seq.tokens_per_chunk;
  /* Where taking one chunk costs as much as taking all, all are taken at the end. */
  const bool at_once = handle->seq.way == KVI_LLAMA_ROWS && !handle->seq.splice;
  uint32_t unsaved = (uint32_t)(from / per_chunk);
  while (from < prompt->n_tokens) {
    size_t to = (from / per_chunk + 1) * per_chunk;
    to = to < from + piece ? to : from + piece;
    to = to < prompt->n_tokens ? to : prompt->n_tokens;
    kvs_status status = decode_piece(handle, prompt, batch, from, to);
    if (status != KVS_OK)
      return status;
    if (at_once ? to == prompt->n_tokens : to % per_chunk == 0) {
      status = save_range(handle, prompt, keys, unsaved, (uint32_t)(to / per_chunk));
      unsaved = (uint32_t)(to / per_chunk);
      if (status != KVS_OK) /* not worth failing a prompt whose tokens are computed */
        kvi_log_limited(KVI_LOG_WARN, "a chunk cannot be saved: %s", kvs_status_text(status));
    }
    from = to;
  }
  return KVS_OK;
}

kvs_status kvs_llama_decode(kvs_llama *handle, const kvs_llama_prompt *prompt, size_t n_past)
{
  kvs_status status = check_prompt(handle, prompt);
  if (status != KVS_OK)
    return status;
  struct llama_context *context = handle->seq.context;
  if (n_past >= prompt->n_tokens ||
      llama_memory_seq_pos_max(llama_get_memory(context), prompt->sequence) != (llama_pos)n_past - 1)
    return KVS_ERR_INVALID;
  kvi_llama_keys keys;
  status = kvi_llama_keys_make(handle, prompt, &keys);
  if (status != KVS_OK)
    return status;
  const size_t piece = llama_n_batch(context) < handle->seq.tokens_per_chunk ? llama_n_batch(context)
                                                                             : handle->seq.tokens_per_chunk;
  struct llama_batch batch = llama_batch_init((int32_t)piece, 0, 1);
  status = decode_from(handle, prompt, &keys, &batch, piece, n_past);
  llama_batch_free(batch);
  kvi_llama_keys_free(&keys);
  return status;
}

kvs_status kvs_llama_flush(kvs_llama *handle)
{
  kvi_llama_finish_saves(handle);
  const bool failed = handle->failed_since_flush;
  handle->failed_since_flush = false;
  return failed ? KVS_PARTIAL : KVS_OK;
}

kvs_space *kvs_llama_get_space(const kvs_llama *handle)
{
  return handle->space;
}

void kvs_llama_get_info(const kvs_llama *handle, kvs_llama_info *info)
{
  if (info->struct_size < sizeof(*info))
    return;
  info->layout = handle->layout;
  info->at_boundary = handle->seq.way == KVI_LLAMA_STATES;
  info->tokens_per_chunk = handle->seq.tokens_per_chunk;
  info->chunk_bytes = handle->seq.chunk_room;
  memcpy(info->space, handle->digest, KVS_DIGEST_SIZE);
  info->loaded_chunks = handle->loaded_chunks;
  info->loaded_bytes = handle->loaded_bytes;
  info->saved_chunks = handle->saved_chunks;
  info->saved_bytes = handle->saved_bytes;
  info->failed_chunks = handle->failed_chunks;
}
