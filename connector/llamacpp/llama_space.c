/* Which space a context's chunks belong to: everything the bytes depend on, and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connector/llamacpp/llama_private.h"
#include "proto/limits.h"

static kvs_dtype dtype_of(int32_t type)
{
  switch (type) {
  case GGML_TYPE_F32:
    return KVS_DTYPE_F32;
  case GGML_TYPE_F16:
    return KVS_DTYPE_F16;
  case GGML_TYPE_BF16:
    return KVS_DTYPE_BF16;
  case GGML_TYPE_Q8_0:
    return KVS_DTYPE_GGML_Q8_0;
  default:
    return KVS_DTYPE_OPAQUE;
  }
}

static uint32_t elements(int32_t type, uint64_t row)
{
  const enum ggml_type t = (enum ggml_type)type;
  return (uint32_t)(row / ggml_type_size(t) * (uint64_t)ggml_blck_size(t));
}

/* Tensors have one shape for all layers. Latent attention, heads that differ by layer and rarer types stay
 * opaque. */
static bool describe_tensors(const kvs_llama *handle, kvs_space_desc *desc)
{
  const kvi_llama_shape *shape = handle->seq.shape;
  if (shape == NULL || !shape->has_v)
    return false;
  const kvi_llama_layer *first = &shape->layers[0];
  for (uint32_t i = 1; i < shape->n_layer; i++) {
    const kvi_llama_layer *layer = &shape->layers[i];
    if (layer->k_type != first->k_type || layer->v_type != first->v_type || layer->k_row != first->k_row ||
        layer->v_row != first->v_row)
      return false;
  }
  const int32_t heads = llama_model_n_head_kv(handle->seq.model);
  if (heads <= 0)
    return false;
  const uint32_t k = elements(first->k_type, first->k_row), v = elements(first->v_type, first->v_row);
  desc->key_dtype = dtype_of(first->k_type);
  desc->value_dtype = dtype_of(first->v_type);
  if (desc->key_dtype == KVS_DTYPE_OPAQUE || desc->value_dtype == KVS_DTYPE_OPAQUE ||
      k % (uint32_t)heads != 0 || v % (uint32_t)heads != 0)
    return false;
  desc->layout = KVS_LAYOUT_TENSORS;
  desc->layers = shape->n_layer;
  desc->kv_heads = (uint32_t)heads;
  desc->key_dim = k / (uint32_t)heads;
  desc->value_dim = v / (uint32_t)heads;
  desc->engine = "";
  uint8_t digest[KVS_DIGEST_SIZE];
  return kvs_space_digest(desc, digest) == KVS_OK;
}

static void describe_opaque(kvs_space_desc *desc, const char *engine)
{
  desc->layout = KVS_LAYOUT_OPAQUE;
  desc->key_dtype = desc->value_dtype = KVS_DTYPE_OPAQUE;
  desc->layers = desc->kv_heads = desc->key_dim = desc->value_dim = 0;
  desc->engine = engine;
}

/* llama.cpp stores quantised K and V rotated by a Hadamard matrix unless this variable says no. */
static bool is_rotated(enum ggml_type type)
{
  const char *disabled = getenv("LLAMA_ATTN_ROT_DISABLE");
  return ggml_is_quantized(type) && (disabled == NULL || strtol(disabled, NULL, 10) == 0);
}

/*
 * What the context adds to the model: parameters that change K (positions' rotation), or the hidden states it
 * is made of (flash attention sums in another order), or the form of a state.
 */
static void describe_context(const kvs_llama *handle, const struct llama_context_params *p, char *text,
                             size_t size)
{
  const kvi_llama_shape *shape = handle->seq.shape;
  const int flash = shape != NULL ? !shape->v_trans : (int)p->flash_attn_type;
  int n = snprintf(text, size, "flash=%d rope=%d,%.9g,%.9g yarn=%.9g,%.9g,%.9g,%.9g,%u attn=%d rot=%d%d",
                   flash, (int)p->rope_scaling_type, (double)p->rope_freq_base, (double)p->rope_freq_scale,
                   (double)p->yarn_ext_factor, (double)p->yarn_attn_factor, (double)p->yarn_beta_fast,
                   (double)p->yarn_beta_slow, p->yarn_orig_ctx, (int)p->attention_type, is_rotated(p->type_k),
                   is_rotated(p->type_v));
  if (shape == NULL && n > 0 && (size_t)n < size)
    snprintf(text + n, size - (size_t)n, " states k=%d v=%d swa_full=%d", (int)p->type_k, (int)p->type_v,
             p->swa_full);
  else if (n > 0 && (size_t)n < size)
    snprintf(text + n, size - (size_t)n, " rows");
}

static kvs_status make_segments(kvs_llama *handle)
{
  const kvi_llama_shape *shape = handle->seq.shape;
  if (shape == NULL)
    return KVS_OK;
  const uint32_t per_layer = shape->has_v ? 2 : 1, n = shape->n_layer * per_layer;
  if (n > KVI_SEGMENTS_MAX)
    return KVS_OK; /* one segment then */
  handle->segments = calloc(n, sizeof(*handle->segments));
  if (handle->segments == NULL)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < shape->n_layer; i++) {
    /* At most a chunk, which was found to be below 128 MiB. */
    handle->segments[i * per_layer] = (uint32_t)(shape->layers[i].k_row * handle->seq.tokens_per_chunk);
    if (shape->has_v)
      handle->segments[i * per_layer + 1] = (uint32_t)(shape->layers[i].v_row * handle->seq.tokens_per_chunk);
  }
  handle->n_segments = n;
  return KVS_OK;
}

static kvs_status find_weights(const kvs_llama_options *options, uint8_t weights[KVS_DIGEST_SIZE],
                               char *error, size_t error_size)
{
  kvs_status status = KVS_OK;
  if (options->weights != NULL)
    memcpy(weights, options->weights, KVS_DIGEST_SIZE);
  else
    status = kvs_llama_fingerprint(options->model_path, weights);
  if (status != KVS_OK && error_size > 0)
    snprintf(error, error_size, "the fingerprint of %s cannot be made: %s",
             options->model_path == NULL ? "a model without a path" : options->model_path,
             kvs_status_text(status));
  return status;
}

kvs_status kvi_llama_space_open(kvs_llama *handle, const kvs_llama_options *options, char *error,
                                size_t error_size)
{
  char name[KVS_SPACE_STRING_MAX + 1] = "", engine[64], detail[KVS_SPACE_STRING_MAX + 1];
  if (options->model == NULL)
    llama_model_meta_val_str(handle->seq.model, "general.name", name, sizeof(name));
  snprintf(engine, sizeof(engine), "llama.cpp/%s", llama_version());
  describe_context(handle, options->params, detail, sizeof(detail));

  kvs_space_desc desc = {.struct_size = sizeof(desc),
                         .model = options->model != NULL ? options->model : name,
                         .revision = options->revision,
                         .layout_detail = detail,
                         .tokens_per_chunk = handle->seq.tokens_per_chunk,
                         .hash = KVS_HASH_NATIVE,
                         .key_length = KVS_HASH_SIZE,
                         .chunk_bytes = handle->seq.way == KVI_LLAMA_ROWS ? handle->seq.chunk_room : 0};
  kvs_status status = find_weights(options, desc.weights, error, error_size);
  if (status != KVS_OK)
    return status;
  if (!describe_tensors(handle, &desc))
    describe_opaque(&desc, engine);
  handle->layout = desc.layout;
  status = make_segments(handle);
  if (status != KVS_OK)
    return status;
  status = kvs_space_open(handle->connector, &desc, &handle->space);
  if (status == KVS_OK)
    kvs_space_get_digest(handle->space, handle->digest);
  else if (error_size > 0)
    snprintf(error, error_size, "the space cannot be opened: %s", kvs_status_text(status));
  return status;
}
