#include "connector/llamacpp/sequence.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_TOKENS = 3 };

/* Says why, and passes the status on. */
__attribute__((format(printf, 4, 5))) static kvs_status refuse(char *error, size_t error_size,
                                                               kvs_status status, const char *format, ...)
{
  if (error_size > 0) {
    va_list args;
    va_start(args, format);
    vsnprintf(error, error_size, format, args);
    va_end(args);
  }
  return status;
}

/* --- which models --- */

/*
 * Families whose memory is neither plain attention, a sliding window nor a recurrent state. A partial copy of
 * some of them aborts the process (GGML_ABORT), so this is decided by name, before any call that could.
 */
static const char *const refused_families[] = {
    "deepseek4",  "deepseek32", "glm-dsa",  "dots3note",        "hy_v4",
    "minimax-m3", "dflash",     "qwen4exp", "gemma4-assistant", "eagle3",
};

static kvs_status check_model(const struct llama_model *model, const struct llama_context_params *params,
                              char *error, size_t error_size)
{
  char family[64] = "";
  llama_model_meta_val_str(model, "general.architecture", family, sizeof(family));
  for (size_t i = 0; i < sizeof(refused_families) / sizeof(refused_families[0]); i++) {
    if (strcmp(family, refused_families[i]) == 0)
      return refuse(error, error_size, KVS_ERR_UNSUPPORTED,
                    "the memory of %s models cannot be split into chunks", family);
  }
  if (llama_model_has_encoder(model) || llama_model_is_diffusion(model))
    return refuse(error, error_size, KVS_ERR_UNSUPPORTED,
                  "%s models do not build a prefix cache token by token", family);
  if (params->ctx_type != LLAMA_CONTEXT_TYPE_DEFAULT || params->ctx_other != NULL)
    return refuse(error, error_size, KVS_ERR_UNSUPPORTED, "draft contexts share another context's memory");
  if (params->n_rs_seq != 0 && (llama_model_is_recurrent(model) || llama_model_is_hybrid(model)))
    return refuse(error, error_size, KVS_ERR_UNSUPPORTED,
                  "recurrent snapshots for rollback (n_rs_seq) change the state's form: set n_rs_seq to 0");
  return KVS_OK;
}

static bool is_plain_attention(const struct llama_model *model)
{
  return !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model) && llama_model_n_swa(model) == 0;
}

/* Separate caches (not unified) divide the context; libllama has no other way to ask. */
static bool is_unified(const struct llama_context *context)
{
  return llama_n_seq_max(context) > 1 && llama_n_ctx_seq(context) == llama_n_ctx(context);
}

/* --- states as bytes --- */

static kvs_status grow(kvi_llama_sequence *seq, size_t size)
{
  if (size <= seq->blob_room)
    return KVS_OK;
  free(seq->blob);
  seq->blob_room = 0;
  seq->blob = malloc(size);
  if (seq->blob == NULL)
    return KVS_ERR_NOMEM;
  seq->blob_room = size;
  return KVS_OK;
}

/* The state of a sequence into seq->blob. */
static kvs_status take_state(kvi_llama_sequence *seq, llama_seq_id id, size_t *size_p)
{
  const size_t size = llama_state_seq_get_size(seq->context, id);
  if (size == 0)
    return KVS_ERR_INTERNAL;
  kvs_status status = grow(seq, size);
  if (status != KVS_OK)
    return status;
  *size_p = llama_state_seq_get_data(seq->context, seq->blob, seq->blob_room, id);
  return *size_p == size ? KVS_OK : KVS_ERR_INTERNAL;
}

static void forget(kvi_llama_sequence *seq, llama_seq_id id)
{
  llama_memory_seq_rm(llama_get_memory(seq->context), id, -1, -1);
}

/* The range [first, end) of a sequence alone, as the state of the spare one. */
static kvs_status take_range(kvi_llama_sequence *seq, llama_seq_id id, llama_pos first, llama_pos end,
                             size_t *size_p)
{
  forget(seq, seq->spare);
  llama_memory_seq_cp(llama_get_memory(seq->context), id, seq->spare, first, end);
  kvs_status status = take_state(seq, seq->spare, size_p);
  forget(seq, seq->spare);
  return status;
}

/* --- the probe: how states look in this context --- */

static kvs_status decode_one(struct llama_context *context, llama_pos pos)
{
  struct llama_batch batch = llama_batch_init(1, 0, 1);
  batch.n_tokens = 1;
  batch.token[0] = 0;
  batch.pos[0] = pos;
  batch.n_seq_id[0] = 1;
  batch.seq_id[0][0] = 0;
  batch.logits[0] = 1;
  const int result = llama_decode(context, batch);
  llama_batch_free(batch);
  return result == 0 ? KVS_OK : KVS_ERR_INTERNAL;
}

/* Cuts the probe's tokens one by one, composes them again, and compares with libllama's own bytes. */
static kvs_status check_rows(kvi_llama_sequence *seq, const kvi_llama_blob *whole, uint8_t *work,
                             size_t work_size)
{
  const uint64_t row = whole->shape.token_bytes;
  const uint8_t *tokens[PROBE_TOKENS];
  for (int i = 0; i < PROBE_TOKENS; i++) {
    tokens[i] = work + (uint64_t)i * row;
    if (kvi_llama_blob_cut(whole, i, 1, work + (uint64_t)i * row, row) != KVS_OK)
      return KVS_ERR_UNSUPPORTED;
  }
  uint8_t *composed = work + PROBE_TOKENS * row;
  size_t size;
  kvs_status status = kvi_llama_compose_size(&whole->shape, PROBE_TOKENS, &size);
  if (status != KVS_OK || size != whole->size || work_size < size + PROBE_TOKENS * row)
    return KVS_ERR_UNSUPPORTED;
  status = kvi_llama_compose(&whole->shape, whole->stream, 0, 0, tokens, PROBE_TOKENS, 1, composed, size);
  if (status != KVS_OK || memcmp(composed, whole->data, size) != 0)
    return KVS_ERR_UNSUPPORTED;

  if (seq->splice) { /* a range in the middle, against the bytes llama.cpp gives for it */
    status = kvi_llama_compose_size(&whole->shape, 1, &size);
    if (status == KVS_OK)
      status = kvi_llama_compose(&whole->shape, 0, seq->spare, 1, &tokens[1], 1, 1, composed, size);
    size_t own_size = 0;
    if (status == KVS_OK)
      status = take_range(seq, 0, 1, 2, &own_size); /* whole->data is gone from here on */
    if (status != KVS_OK || own_size != size || memcmp(seq->blob, composed, size) != 0)
      return KVS_ERR_UNSUPPORTED;
  }
  /* And back: what was composed must be what the sequence holds after a restore. */
  status = kvi_llama_compose_size(seq->shape, PROBE_TOKENS, &size);
  if (status == KVS_OK)
    status = kvi_llama_compose(seq->shape, 0, 0, 0, tokens, PROBE_TOKENS, 1, composed, size);
  if (status != KVS_OK || llama_state_seq_set_data(seq->context, composed, size, 0) != size)
    return KVS_ERR_UNSUPPORTED;
  size_t again = 0;
  status = take_state(seq, 0, &again);
  return status == KVS_OK && again == size && memcmp(seq->blob, composed, size) == 0 ? KVS_OK
                                                                                     : KVS_ERR_UNSUPPORTED;
}

static kvs_status try_rows(kvi_llama_sequence *seq)
{
  size_t size;
  kvs_status status = take_state(seq, 0, &size);
  if (status != KVS_OK)
    return status;
  kvi_llama_blob *blob = NULL;
  status = kvi_llama_blob_read(seq->blob, size, &blob);
  if (status != KVS_OK)
    return status;
  uint8_t *work = NULL;
  status = KVS_ERR_UNSUPPORTED;
  if (blob->kind != KVI_LLAMA_BLOB_PLAIN || blob->n_cell != PROBE_TOKENS)
    goto out;
  status = kvi_llama_shape_copy(&blob->shape, &seq->shape);
  if (status != KVS_OK)
    goto out;
  work = malloc(2 * size);
  status = work == NULL ? KVS_ERR_NOMEM : check_rows(seq, blob, work, 2 * size);
  if (status != KVS_OK) {
    kvi_llama_shape_free(seq->shape);
    seq->shape = NULL;
  }
out:
  free(work);
  kvi_llama_blob_free(blob);
  return status;
}

/* How much a token adds to a state, from the first two: the most a chunk can take. */
static kvs_status probe(kvi_llama_sequence *seq, bool plain)
{
  size_t sizes[PROBE_TOKENS];
  for (int i = 0; i < PROBE_TOKENS; i++) {
    kvs_status status = decode_one(seq->context, i);
    if (status != KVS_OK)
      return status;
    sizes[i] = llama_state_seq_get_size(seq->context, 0);
    if (sizes[i] == 0)
      return KVS_ERR_INTERNAL;
  }
  kvs_status status = plain ? try_rows(seq) : KVS_ERR_UNSUPPORTED;
  if (status == KVS_OK) {
    seq->way = KVI_LLAMA_ROWS;
    seq->chunk_room = (size_t)(seq->shape->token_bytes * seq->tokens_per_chunk);
    return KVS_OK;
  }
  if (status != KVS_ERR_UNSUPPORTED && status != KVS_ERR_CORRUPT)
    return status;
  if (!seq->splice)
    return KVS_ERR_UNSUPPORTED;
  seq->way = KVI_LLAMA_STATES;
  seq->chunk_room = sizes[0] + (seq->tokens_per_chunk - 1) * (sizes[1] > sizes[0] ? sizes[1] - sizes[0] : 0);
  return KVS_OK;
}

kvs_status kvi_llama_sequence_open(struct llama_context *context, const struct llama_context_params *params,
                                   uint32_t tokens_per_chunk, llama_seq_id spare, char *error,
                                   size_t error_size, kvi_llama_sequence *out)
{
  *out = (kvi_llama_sequence){.context = context,
                              .model = llama_get_model(context),
                              .tokens_per_chunk = tokens_per_chunk,
                              .spare = spare};
  kvs_status status = check_model(out->model, params, error, error_size);
  if (status != KVS_OK)
    return status;
  llama_memory_t memory = llama_get_memory(context);
  if (memory == NULL)
    return refuse(error, error_size, KVS_ERR_UNSUPPORTED, "this model keeps no memory of its prompt");
  const llama_seq_id n_seq = (llama_seq_id)llama_n_seq_max(context);
  for (llama_seq_id id = 0; id < n_seq; id++) {
    if (llama_memory_seq_pos_max(memory, id) >= 0)
      return refuse(error, error_size, KVS_ERR_INVALID,
                    "sequence %d is not empty: open before the first decode", id);
  }
  if (spare >= n_seq || spare < 1)
    out->spare = -1;
  /* A recurrent memory alone has no streams: its sequences can be copied in any setting. */
  out->splice = out->spare > 0 && (is_unified(context) || llama_model_is_recurrent(out->model));

  if (!out->splice)
    out->spare = -1;
  status = probe(out, is_plain_attention(out->model));
  llama_memory_clear(memory, true);
  if (status != KVS_OK) {
    kvi_llama_sequence_close(out);
    if (status == KVS_ERR_UNSUPPORTED)
      return refuse(
          error, error_size, status,
          "this model's state can only be split with kv_unified and a spare sequence (n_seq_max >= 2)");
    return refuse(error, error_size, status, "the probe of the context failed: %s", kvs_status_text(status));
  }
  return KVS_OK;
}

void kvi_llama_sequence_close(kvi_llama_sequence *seq)
{
  kvi_llama_shape_free(seq->shape);
  free(seq->blob);
  *seq = (kvi_llama_sequence){.spare = -1};
}

/* --- out --- */

void kvi_llama_sequence_ready(const kvi_llama_sequence *seq, llama_seq_id id, uint32_t *first_p,
                              uint32_t *end_p)
{
  llama_memory_t memory = llama_get_memory(seq->context);
  const llama_pos n = llama_memory_seq_pos_max(memory, id) + 1;
  *end_p = (uint32_t)n / seq->tokens_per_chunk;
  *first_p = 0;
  if (seq->way == KVI_LLAMA_ROWS) {
    if (llama_memory_seq_pos_min(memory, id) > 0)
      *first_p = *end_p; /* the front was shifted out: positions no longer tell tokens */
    return;
  }
  const bool at_boundary = n > 0 && (uint32_t)n % seq->tokens_per_chunk == 0;
  *first_p = at_boundary ? *end_p - 1 : *end_p;
}

/* Reads the bytes in seq->blob. */
static kvs_status read_rows(kvi_llama_sequence *seq, size_t size, kvi_llama_blob **blob_p)
{
  kvs_status status = kvi_llama_blob_read(seq->blob, size, blob_p);
  if (status != KVS_OK)
    return status == KVS_ERR_NOMEM ? status : KVS_ERR_INTERNAL;
  const kvi_llama_blob *blob = *blob_p;
  if (blob->kind == KVI_LLAMA_BLOB_EMPTY ||
      (blob->kind == KVI_LLAMA_BLOB_PLAIN && kvi_llama_shape_fits(&blob->shape, seq->shape)))
    return KVS_OK;
  kvi_llama_blob_free(*blob_p);
  *blob_p = NULL;
  return KVS_ERR_INTERNAL;
}

kvs_status kvi_llama_sequence_begin(kvi_llama_sequence *seq, llama_seq_id id)
{
  if (seq->splice || seq->way != KVI_LLAMA_ROWS)
    return KVS_OK;
  size_t size;
  const kvs_status status = take_state(seq, id, &size);
  return status == KVS_OK ? read_rows(seq, size, &seq->held) : status;
}

void kvi_llama_sequence_end(kvi_llama_sequence *seq)
{
  kvi_llama_blob_free(seq->held);
  seq->held = NULL;
}

static kvs_status cut_rows(kvi_llama_sequence *seq, llama_seq_id id, llama_pos first, uint8_t *dst)
{
  kvi_llama_blob *blob = seq->held;
  if (!seq->splice && blob == NULL)
    return KVS_ERR_INVALID;
  if (seq->splice) {
    size_t size;
    kvs_status status = take_range(seq, id, first, first + (llama_pos)seq->tokens_per_chunk, &size);
    if (status == KVS_OK)
      status = read_rows(seq, size, &blob);
    if (status != KVS_OK)
      return status;
  }
  const kvs_status status =
      blob->kind == KVI_LLAMA_BLOB_EMPTY
          ? KVS_MISS
          : kvi_llama_blob_cut(blob, first, seq->tokens_per_chunk, dst, seq->chunk_room);
  if (blob != seq->held)
    kvi_llama_blob_free(blob);
  return status;
}

kvs_status kvi_llama_sequence_cut(kvi_llama_sequence *seq, llama_seq_id id, uint32_t chunk, uint8_t *dst,
                                  size_t *length_p)
{
  *length_p = 0;
  uint32_t first, end;
  kvi_llama_sequence_ready(seq, id, &first, &end);
  if (chunk < first || chunk >= end)
    return KVS_MISS;
  const llama_pos pos = (llama_pos)(chunk * seq->tokens_per_chunk);
  if (seq->way == KVI_LLAMA_ROWS) {
    kvs_status status = cut_rows(seq, id, pos, dst);
    if (status == KVS_OK)
      *length_p = seq->chunk_room;
    return status;
  }
  size_t size;
  kvs_status status = take_range(seq, id, pos, pos + (llama_pos)seq->tokens_per_chunk, &size);
  if (status != KVS_OK)
    return status;
  if (size > seq->chunk_room)
    return KVS_ERR_INTERNAL;
  memcpy(dst, seq->blob, size);
  *length_p = size;
  return KVS_OK;
}

/* --- in --- */

static bool holds(const kvi_llama_sequence *seq, llama_seq_id id, uint32_t chunks)
{
  return llama_memory_seq_pos_max(llama_get_memory(seq->context), id) ==
         (llama_pos)(chunks * seq->tokens_per_chunk) - 1;
}

/* A state whose first position is not 0 goes through the spare sequence and is added to `id`. */
static kvs_status set_state(kvi_llama_sequence *seq, llama_seq_id id, uint32_t first, const uint8_t *data,
                            size_t size)
{
  llama_memory_t memory = llama_get_memory(seq->context);
  if (first == 0 && seq->way == KVI_LLAMA_ROWS)
    return llama_state_seq_set_data(seq->context, data, size, id) != 0 ? KVS_OK : KVS_ERR_INTERNAL;
  forget(seq, seq->spare);
  const bool taken = llama_state_seq_set_data(seq->context, data, size, seq->spare) != 0;
  if (taken)
    llama_memory_seq_cp(memory, seq->spare, id, -1, -1);
  forget(seq, seq->spare);
  return taken ? KVS_OK : KVS_ERR_INTERNAL;
}

static kvs_status append_rows(kvi_llama_sequence *seq, llama_seq_id id, uint32_t first,
                              const uint8_t *const *chunks, uint32_t n)
{
  size_t size;
  kvs_status status = kvi_llama_compose_size(seq->shape, n * seq->tokens_per_chunk, &size);
  if (status == KVS_OK)
    status = grow(seq, size);
  if (status != KVS_OK)
    return status;
  const llama_seq_id to = first == 0 ? id : seq->spare;
  /* Every stream of a blob but one is empty, and llama.cpp reads that one into the stream of the sequence it
   * restores. */
  const uint32_t stream = seq->shape->n_stream > 1 ? (uint32_t)to : 0;
  status = kvi_llama_compose(seq->shape, stream, to, (int32_t)(first * seq->tokens_per_chunk), chunks, n,
                             seq->tokens_per_chunk, seq->blob, size);
  return status == KVS_OK ? set_state(seq, id, first, seq->blob, size) : status;
}

kvs_status kvi_llama_sequence_append(kvi_llama_sequence *seq, llama_seq_id id, uint32_t first,
                                     const uint8_t *const *chunks, const size_t *lengths, uint32_t n)
{
  if (first > 0 && (!seq->splice || !holds(seq, id, first)))
    return KVS_ERR_INVALID;
  if (first == 0)
    forget(seq, id);
  kvs_status status = KVS_OK;
  if (seq->way == KVI_LLAMA_ROWS) {
    status = append_rows(seq, id, first, chunks, n);
  } else {
    for (uint32_t i = 0; i < n && status == KVS_OK; i++)
      status = set_state(seq, id, first + i, chunks[i], lengths[i]);
  }
  if (status == KVS_OK && !holds(seq, id, first + n))
    status = KVS_ERR_INTERNAL;
  if (status != KVS_OK)
    forget(seq, id); /* which of a state's parts were taken is not known: nothing is safer than some */
  return status;
}
