#include "connector/llamacpp/state_blob.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
  HEADER_BYTES = 8,
  CELL_BYTES = 12,
  CELL_EXT_BYTES = 12,
  LAYER_HEADER_BYTES = 12,
};
static const uint32_t MAGIC = 0xaf143cd8u;

/* --- reading: a cursor that never passes the end --- */

typedef struct cursor {
  const uint8_t *data;
  uint64_t size, at;
} cursor;

static uint64_t left(const cursor *c)
{
  return c->size - c->at;
}

static bool skip(cursor *c, uint64_t n)
{
  if (n > left(c))
    return false;
  c->at += n;
  return true;
}

static uint32_t load_u32(const uint8_t *p)
{
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool take_u32(cursor *c, uint32_t *value)
{
  if (left(c) < 4)
    return false;
  *value = load_u32(c->data + c->at);
  c->at += 4;
  return true;
}

static bool take_i32(cursor *c, int32_t *value)
{
  uint32_t raw;
  if (!take_u32(c, &raw))
    return false;
  memcpy(value, &raw, sizeof(raw));
  return true;
}

static bool take_u64(cursor *c, uint64_t *value)
{
  uint32_t low, high;
  if (!take_u32(c, &low) || !take_u32(c, &high))
    return false;
  *value = (uint64_t)high << 32 | low;
  return true;
}

/* Skips rows of `row` bytes for each of n_cell cells. Written as a division so that nothing can overflow. */
static bool skip_rows(cursor *c, uint64_t row, uint64_t n_cell)
{
  if (row != 0 && n_cell > left(c) / row)
    return false;
  return skip(c, row * n_cell);
}

/* --- one cache --- */

static kvs_status check_cells(cursor *c, uint32_t n_cell, uint32_t ext)
{
  const uint64_t stride = CELL_BYTES + ext;
  if (n_cell > left(c) / stride)
    return KVS_ERR_CORRUPT;
  for (uint32_t i = 0; i < n_cell; i++) {
    if (load_u32(c->data + c->at + i * stride + 4) != 1)
      return KVS_ERR_UNSUPPORTED;
  }
  c->at += n_cell * stride;
  return KVS_OK;
}

static kvs_status read_k(cursor *c, uint32_t n_cell, kvi_llama_layer *layer)
{
  if (!take_i32(c, &layer->k_type) || !take_u64(c, &layer->k_row))
    return KVS_ERR_CORRUPT;
  layer->k_offset = c->at;
  if (layer->k_row == 0)
    return KVS_ERR_UNSUPPORTED;
  return skip_rows(c, layer->k_row, n_cell) ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status read_v(cursor *c, uint32_t n_cell, kvi_llama_layer *layer)
{
  if (!take_i32(c, &layer->v_type) || !take_u64(c, &layer->v_row))
    return KVS_ERR_CORRUPT;
  layer->v_offset = c->at;
  if (layer->v_row == 0)
    return KVS_ERR_UNSUPPORTED;
  return skip_rows(c, layer->v_row, n_cell) ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status read_v_transposed(cursor *c, uint32_t n_cell, kvi_llama_layer *layer)
{
  uint32_t n_el;
  if (!take_i32(c, &layer->v_type) || !take_u32(c, &layer->v_el) || !take_u32(c, &n_el))
    return KVS_ERR_CORRUPT;
  layer->v_offset = c->at;
  /* f16, bf16 and f32; llama.cpp keeps quantised V only untransposed. */
  if ((layer->v_el != 2 && layer->v_el != 4) || n_el == 0)
    return KVS_ERR_UNSUPPORTED;
  layer->v_row = (uint64_t)layer->v_el * n_el;
  return skip_rows(c, layer->v_row, n_cell) ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status read_layers(cursor *c, uint32_t n_cell, kvi_llama_shape *shape)
{
  uint32_t v_trans;
  if (!take_u32(c, &v_trans) || !take_u32(c, &shape->n_layer))
    return KVS_ERR_CORRUPT;
  if (v_trans > 1 || shape->n_layer == 0 || shape->n_layer > KVI_LLAMA_MAX_LAYERS)
    return KVS_ERR_UNSUPPORTED;
  if (shape->n_layer > left(c) / LAYER_HEADER_BYTES)
    return KVS_ERR_CORRUPT;
  shape->v_trans = v_trans == 1;
  shape->layers = calloc(shape->n_layer, sizeof(*shape->layers));
  if (shape->layers == NULL)
    return KVS_ERR_NOMEM;

  for (uint32_t i = 0; i < shape->n_layer; i++) {
    kvs_status status = read_k(c, n_cell, &shape->layers[i]);
    if (status != KVS_OK)
      return status;
  }
  /* A cache of latent attention keeps no V, and its blob (or its part of one) just ends here. */
  shape->has_v = left(c) != 0;
  for (uint32_t i = 0; shape->has_v && i < shape->n_layer; i++) {
    kvs_status status = shape->v_trans ? read_v_transposed(c, n_cell, &shape->layers[i])
                                       : read_v(c, n_cell, &shape->layers[i]);
    if (status != KVS_OK)
      return status;
  }
  for (uint32_t i = 0; i < shape->n_layer; i++) {
    /* Each row was found to fit the blob, so the sum stays far below 2^64. */
    shape->token_bytes += shape->layers[i].k_row + shape->layers[i].v_row;
  }
  return KVS_OK;
}

typedef struct cache {
  uint32_t stream, n_cell;
  uint64_t cells_at;
  kvi_llama_shape shape;
} cache;

/* Reads one cache of which at most one stream holds cells. out->n_cell is 0 when none does. */
static kvs_status read_cache(cursor *c, uint32_t ext, cache *out)
{
  if (!take_u32(c, &out->shape.n_stream))
    return KVS_ERR_CORRUPT;
  if (out->shape.n_stream == 0 || out->shape.n_stream > KVI_LLAMA_MAX_STREAMS)
    return KVS_ERR_UNSUPPORTED;
  for (uint32_t stream = 0; stream < out->shape.n_stream; stream++) {
    uint32_t n_cell;
    if (!take_u32(c, &n_cell))
      return KVS_ERR_CORRUPT;
    if (n_cell == 0)
      continue;
    if (out->n_cell != 0)
      return KVS_ERR_UNSUPPORTED;
    out->stream = stream;
    out->n_cell = n_cell;
    out->cells_at = c->at;
    kvs_status status = check_cells(c, n_cell, ext);
    if (status != KVS_OK)
      return status;
    /* Streams behind this one are n_cell == 0 words; without V they cannot be told from a layer, so hide
     * them. */
    const uint64_t tail = 4 * (uint64_t)(out->shape.n_stream - 1 - stream);
    if (tail > left(c))
      return KVS_ERR_CORRUPT;
    c->size -= tail;
    status = read_layers(c, n_cell, &out->shape);
    c->size += tail;
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

static void drop_cache(cache *c)
{
  free(c->shape.layers);
  *c = (cache){0};
}

/* Fills first_pos and cell_of; positions must be consecutive, each there once. */
static kvs_status order_cells(kvi_llama_blob *blob, uint64_t cells_at)
{
  const uint32_t n = blob->n_cell;
  bool ordered = true;
  int32_t lowest = INT32_MAX;

  for (uint32_t i = 0; i < n; i++) {
    const int32_t pos = (int32_t)load_u32(blob->data + cells_at + (uint64_t)i * CELL_BYTES);
    const int32_t first = (int32_t)load_u32(blob->data + cells_at);
    ordered = ordered && (int64_t)pos == (int64_t)first + i;
    lowest = pos < lowest ? pos : lowest;
  }
  if (lowest < 0)
    return KVS_ERR_UNSUPPORTED;
  blob->first_pos = lowest;
  if (ordered)
    return KVS_OK;

  uint32_t *cell_of = malloc((size_t)n * sizeof(*cell_of));
  if (cell_of == NULL)
    return KVS_ERR_NOMEM;
  memset(cell_of, 0xff, (size_t)n * sizeof(*cell_of));
  for (uint32_t i = 0; i < n; i++) {
    const int32_t pos = (int32_t)load_u32(blob->data + cells_at + (uint64_t)i * CELL_BYTES);
    const int64_t at = (int64_t)pos - lowest;
    if (at >= n || cell_of[at] != UINT32_MAX) {
      free(cell_of);
      return KVS_ERR_UNSUPPORTED;
    }
    cell_of[at] = i;
  }
  blob->cell_of = cell_of;
  return KVS_OK;
}

/* One try at the whole blob with cells of CELL_BYTES + ext. KVS_OK only if it ends where the blob does. */
static kvs_status read_as(kvi_llama_blob *blob, uint32_t ext)
{
  cursor c = {.data = blob->data, .size = blob->size, .at = HEADER_BYTES};
  cache base = {0}, window = {0};
  kvs_status status = read_cache(&c, ext, &base);
  if (status != KVS_OK)
    goto out;
  if (left(&c) != 0) {
    status = read_cache(&c, ext, &window);
    if (status == KVS_OK && (left(&c) != 0 || window.shape.n_stream != base.shape.n_stream))
      status = KVS_ERR_UNSUPPORTED;
    if (status != KVS_OK)
      goto out;
    blob->kind = KVI_LLAMA_BLOB_ISWA;
    goto out;
  }
  if (base.n_cell == 0 || ext != 0) {
    blob->kind = base.n_cell == 0 ? KVI_LLAMA_BLOB_EMPTY : KVI_LLAMA_BLOB_MROPE;
    goto out;
  }
  blob->kind = KVI_LLAMA_BLOB_PLAIN;
  blob->n_cell = base.n_cell;
  blob->stream = base.stream;
  status = order_cells(blob, base.cells_at);
  if (status != KVS_OK)
    goto out;
  blob->shape = base.shape;
  base.shape.layers = NULL;
out:
  drop_cache(&base);
  drop_cache(&window);
  return status;
}

kvs_status kvi_llama_blob_read(const uint8_t *data, size_t size, kvi_llama_blob **blob_p)
{
  *blob_p = NULL;
  if (data == NULL)
    return KVS_ERR_INVALID;
  if (size < HEADER_BYTES)
    return KVS_ERR_CORRUPT;
  if (load_u32(data) != MAGIC)
    return KVS_ERR_UNSUPPORTED;

  kvi_llama_blob *blob = calloc(1, sizeof(*blob));
  if (blob == NULL)
    return KVS_ERR_NOMEM;
  blob->data = data;
  blob->size = size;

  kvs_status status = read_as(blob, 0);
  if (status != KVS_OK && status != KVS_ERR_NOMEM) {
    /* Cells with M-RoPE positions are longer; nothing in the blob says so but that it fits no other way. */
    if (read_as(blob, CELL_EXT_BYTES) == KVS_OK)
      status = KVS_OK;
  }
  if (status != KVS_OK) {
    kvi_llama_blob_free(blob);
    return status;
  }
  *blob_p = blob;
  return KVS_OK;
}

void kvi_llama_blob_free(kvi_llama_blob *blob)
{
  if (blob == NULL)
    return;
  free(blob->cell_of);
  free(blob->shape.layers);
  free(blob);
}

/* --- rows --- */

static void cut_rows(const kvi_llama_blob *blob, uint32_t first, uint32_t n, uint64_t offset, uint64_t row,
                     uint8_t *dst)
{
  if (blob->cell_of == NULL) {
    memcpy(dst, blob->data + offset + first * row, (size_t)(n * row));
    return;
  }
  for (uint32_t i = 0; i < n; i++)
    memcpy(dst + i * row, blob->data + offset + blob->cell_of[first + i] * row, (size_t)row);
}

/*
 * Transposed values: element j of all tokens, then element j + 1 of all. Both directions walk the token-major
 * side in the inner loop's stride; tokens are few (a chunk) so that its rows stay in cache while j runs.
 */
static void copy_element(uint8_t *dst, const uint8_t *src, uint32_t el)
{
  if (el == 2)
    memcpy(dst, src, 2);
  else
    memcpy(dst, src, 4);
}

static void cut_transposed(const kvi_llama_blob *blob, uint32_t first, uint32_t n,
                           const kvi_llama_layer *layer, uint8_t *dst)
{
  const uint32_t el = layer->v_el;
  const uint64_t n_el = layer->v_row / el;
  for (uint64_t j = 0; j < n_el; j++) {
    const uint8_t *column = blob->data + layer->v_offset + j * blob->n_cell * el;
    for (uint32_t i = 0; i < n; i++) {
      const uint64_t cell = blob->cell_of == NULL ? first + i : blob->cell_of[first + i];
      copy_element(dst + i * layer->v_row + j * el, column + cell * el, el);
    }
  }
}

kvs_status kvi_llama_blob_cut(const kvi_llama_blob *blob, int32_t first_pos, uint32_t n_tokens, uint8_t *dst,
                              size_t dst_size)
{
  if (blob->kind != KVI_LLAMA_BLOB_PLAIN)
    return KVS_ERR_UNSUPPORTED;
  const int64_t first = (int64_t)first_pos - blob->first_pos;
  if (first < 0 || first + (int64_t)n_tokens > (int64_t)blob->n_cell)
    return KVS_MISS;
  /* The range is part of the blob, so the product fits. */
  if (dst_size != n_tokens * blob->shape.token_bytes)
    return KVS_ERR_BUFFER;
  for (uint32_t i = 0; i < blob->shape.n_layer; i++) {
    const kvi_llama_layer *layer = &blob->shape.layers[i];
    cut_rows(blob, (uint32_t)first, n_tokens, layer->k_offset, layer->k_row, dst);
    dst += n_tokens * layer->k_row;
    if (blob->shape.v_trans && blob->shape.has_v)
      cut_transposed(blob, (uint32_t)first, n_tokens, layer, dst);
    else if (blob->shape.has_v)
      cut_rows(blob, (uint32_t)first, n_tokens, layer->v_offset, layer->v_row, dst);
    dst += n_tokens * layer->v_row;
  }
  return KVS_OK;
}

/* --- writing --- */

typedef struct writer {
  uint8_t *at;
} writer;

static void put_u32(writer *w, uint32_t value)
{
  for (int i = 0; i < 4; i++)
    *w->at++ = (uint8_t)(value >> (8 * i));
}

static void put_u64(writer *w, uint64_t value)
{
  put_u32(w, (uint32_t)value);
  put_u32(w, (uint32_t)(value >> 32));
}

kvs_status kvi_llama_compose_size(const kvi_llama_shape *shape, uint32_t n_tokens, size_t *size_p)
{
  *size_p = 0;
  if (n_tokens == 0)
    return KVS_ERR_INVALID;
  const uint64_t headers = shape->has_v ? 2 : 1;
  const uint64_t fixed =
      HEADER_BYTES + 4 + 4 * (uint64_t)shape->n_stream + 8 + headers * LAYER_HEADER_BYTES * shape->n_layer;
  uint64_t size;
  if (__builtin_mul_overflow(shape->token_bytes + CELL_BYTES, (uint64_t)n_tokens, &size) ||
      __builtin_add_overflow(size, fixed, &size) || size > SIZE_MAX / 2)
    return KVS_ERR_TOO_LARGE;
  *size_p = (size_t)size;
  return KVS_OK;
}

typedef struct source {
  const uint8_t *const *chunks;
  uint32_t n_chunks, tokens;
} source;

static void put_rows(writer *w, const source *src, uint64_t offset, uint64_t row)
{
  for (uint32_t i = 0; i < src->n_chunks; i++) {
    memcpy(w->at, src->chunks[i] + offset, (size_t)(src->tokens * row));
    w->at += src->tokens * row;
  }
}

static void put_transposed(writer *w, const source *src, uint64_t offset, const kvi_llama_layer *layer)
{
  const uint32_t el = layer->v_el;
  const uint64_t n_el = layer->v_row / el;
  const uint64_t column = (uint64_t)src->n_chunks * src->tokens * el;
  for (uint32_t i = 0; i < src->n_chunks; i++) {
    const uint8_t *rows = src->chunks[i] + offset;
    for (uint64_t j = 0; j < n_el; j++) {
      uint8_t *out = w->at + j * column + (uint64_t)i * src->tokens * el;
      for (uint32_t t = 0; t < src->tokens; t++)
        copy_element(out + (uint64_t)t * el, rows + t * layer->v_row + j * el, el);
    }
  }
  w->at += n_el * column;
}

static void put_values(writer *w, const kvi_llama_shape *shape, const source *src)
{
  uint64_t offset = 0;
  for (uint32_t i = 0; i < shape->n_layer; i++) {
    const kvi_llama_layer *layer = &shape->layers[i];
    offset += src->tokens * layer->k_row;
    put_u32(w, (uint32_t)layer->v_type);
    if (shape->v_trans) {
      put_u32(w, layer->v_el);
      put_u32(w, (uint32_t)(layer->v_row / layer->v_el));
      put_transposed(w, src, offset, layer);
    } else {
      put_u64(w, layer->v_row);
      put_rows(w, src, offset, layer->v_row);
    }
    offset += src->tokens * layer->v_row;
  }
}

kvs_status kvi_llama_compose(const kvi_llama_shape *shape, uint32_t stream, int32_t sequence,
                             int32_t first_pos, const uint8_t *const *chunks, uint32_t n_chunks,
                             uint32_t tokens_per_chunk, uint8_t *dst, size_t dst_size)
{
  const uint64_t n_tokens = (uint64_t)n_chunks * tokens_per_chunk;
  if (n_tokens == 0 || stream >= shape->n_stream || first_pos < 0 ||
      n_tokens > INT32_MAX - (uint64_t)first_pos)
    return KVS_ERR_INVALID;
  size_t size;
  kvs_status status = kvi_llama_compose_size(shape, (uint32_t)n_tokens, &size);
  if (status != KVS_OK)
    return status;
  if (dst_size != size)
    return KVS_ERR_BUFFER;

  writer w = {dst};
  const source src = {chunks, n_chunks, tokens_per_chunk};
  put_u32(&w, MAGIC);
  put_u32(&w, (uint32_t)sequence);
  put_u32(&w, shape->n_stream);
  for (uint32_t s = 0; s < stream; s++)
    put_u32(&w, 0);
  put_u32(&w, (uint32_t)n_tokens);
  for (uint32_t t = 0; t < n_tokens; t++) {
    put_u32(&w, (uint32_t)first_pos + t);
    put_u32(&w, 1);
    put_u32(&w, (uint32_t)sequence);
  }
  put_u32(&w, shape->v_trans ? 1 : 0);
  put_u32(&w, shape->n_layer);
  uint64_t offset = 0;
  for (uint32_t i = 0; i < shape->n_layer; i++) {
    put_u32(&w, (uint32_t)shape->layers[i].k_type);
    put_u64(&w, shape->layers[i].k_row);
    put_rows(&w, &src, offset, shape->layers[i].k_row);
    offset += tokens_per_chunk * (shape->layers[i].k_row + shape->layers[i].v_row);
  }
  if (shape->has_v)
    put_values(&w, shape, &src);
  for (uint32_t s = stream + 1; s < shape->n_stream; s++)
    put_u32(&w, 0);
  assert(w.at == dst + size);
  return KVS_OK;
}

/* --- shapes --- */

kvs_status kvi_llama_shape_copy(const kvi_llama_shape *shape, kvi_llama_shape **copy_p)
{
  *copy_p = NULL;
  kvi_llama_shape *copy = malloc(sizeof(*copy));
  if (copy == NULL)
    return KVS_ERR_NOMEM;
  *copy = *shape;
  copy->layers = calloc(shape->n_layer, sizeof(*copy->layers));
  if (copy->layers == NULL) {
    free(copy);
    return KVS_ERR_NOMEM;
  }
  for (uint32_t i = 0; i < shape->n_layer; i++) {
    copy->layers[i] = shape->layers[i];
    copy->layers[i].k_offset = copy->layers[i].v_offset = 0;
  }
  *copy_p = copy;
  return KVS_OK;
}

void kvi_llama_shape_free(kvi_llama_shape *shape)
{
  if (shape == NULL)
    return;
  free(shape->layers);
  free(shape);
}

bool kvi_llama_shape_fits(const kvi_llama_shape *a, const kvi_llama_shape *b)
{
  if (a->n_layer != b->n_layer || a->v_trans != b->v_trans || a->has_v != b->has_v)
    return false;
  for (uint32_t i = 0; i < a->n_layer; i++) {
    const kvi_llama_layer *x = &a->layers[i], *y = &b->layers[i];
    if (x->k_type != y->k_type || x->v_type != y->v_type || x->k_row != y->k_row || x->v_row != y->v_row ||
        x->v_el != y->v_el)
      return false;
  }
  return true;
}
