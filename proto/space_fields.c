/* The fields of a space, and what values they may have. */
#include "proto/space_private.h"

#include <string.h>

#include "proto/cbor.h"

#define FIELD(kind, name)                                                                                    \
  {                                                                                                          \
#name, KVI_SPACE_##kind, offsetof(kvs_space_desc, name)                                                  \
  }

/* The order is part of the digest and is the order of the numbers in cache.proto: append, never move. */
const struct kvi_space_field kvi_space_fields[KVI_SPACE_FIELDS] = {
    FIELD(TEXT, model),         FIELD(TEXT, revision),
    FIELD(WEIGHTS, weights),    FIELD(TEXT, engine),
    FIELD(TEXT, isa),           FIELD(LAYOUT, layout),
    FIELD(DTYPE, key_dtype),    FIELD(DTYPE, value_dtype),
    FIELD(COUNT, layers),       FIELD(COUNT, kv_heads),
    FIELD(COUNT, key_dim),      FIELD(COUNT, value_dim),
    FIELD(TEXT, layout_detail), FIELD(COUNT, tokens_per_chunk),
    FIELD(BLOCK, engine_block), FIELD(COUNT, kv_group),
    FIELD(COUNT, tp_rank),      FIELD(SIZE, tp_size),
    FIELD(COUNT, pp_rank),      FIELD(SIZE, pp_size),
    FIELD(COUNT, cp_rank),      FIELD(SIZE, cp_size),
    FIELD(HASH, hash),          FIELD(COUNT, key_length),
    FIELD(BYTES, chunk_bytes),
};

_Static_assert(sizeof(kvs_layout) == 4 && sizeof(kvs_dtype) == 4 && sizeof(kvs_hash) == 4,
               "enum fields are read as 32-bit numbers");

const char *kvi_space_text(const kvs_space_desc *desc, const struct kvi_space_field *field)
{
  const char *text;

  memcpy(&text, (const char *)desc + field->offset, sizeof text);
  return text ? text : "";
}

uint64_t kvi_space_number(const kvs_space_desc *desc, const struct kvi_space_field *field)
{
  const char *place = (const char *)desc + field->offset;
  uint64_t wide;
  uint32_t value;

  if (field->kind == KVI_SPACE_BYTES) {
    memcpy(&wide, place, sizeof wide);
    return wide;
  }
  memcpy(&value, place, sizeof value);
  if (value == 0 && field->kind == KVI_SPACE_SIZE)
    return 1;
  if (value == 0 && field->kind == KVI_SPACE_BLOCK)
    return desc->tokens_per_chunk;
  return value;
}

const char *kvi_space_value_name(enum kvi_space_kind kind, uint64_t value)
{
  static const char *const layouts[] = {NULL, "tensors", "opaque"};
  static const char *const dtypes[] = {"opaque", "f32", "f16", "bf16", "f8_e4m3", "f8_e5m2", "i8", "q8_0"};
  static const char *const hashes[] = {"opaque", "native", "sglang", "vllm_sha256_cbor"};

  switch (kind) {
  case KVI_SPACE_LAYOUT:
    return value < sizeof layouts / sizeof *layouts ? layouts[value] : NULL;
  case KVI_SPACE_DTYPE:
    return value < sizeof dtypes / sizeof *dtypes ? dtypes[value] : NULL;
  case KVI_SPACE_HASH:
    return value < sizeof hashes / sizeof *hashes ? hashes[value] : NULL;
  default:
    return NULL;
  }
}

/*
 * A descriptor of a newer program may be longer. What we do not know we cannot hash, so it must be unset: two
 * spaces that differ there would share a digest.
 */
static bool size_is_ours(const kvs_space_desc *desc)
{
  const uint8_t *bytes = (const uint8_t *)desc;

  if (desc->struct_size < sizeof *desc || desc->struct_size > 16 * sizeof *desc)
    return false;
  for (size_t i = sizeof *desc; i < desc->struct_size; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

static bool field_is_valid(const kvs_space_desc *desc, const struct kvi_space_field *field)
{
  switch (field->kind) {
  case KVI_SPACE_TEXT: {
    const char *text = kvi_space_text(desc, field);
    size_t length = strnlen(text, KVS_SPACE_STRING_MAX + 1);
    return length <= KVS_SPACE_STRING_MAX && kvi_cbor_is_text(text, length);
  }
  case KVI_SPACE_LAYOUT:
  case KVI_SPACE_DTYPE:
  case KVI_SPACE_HASH:
    return kvi_space_value_name(field->kind, kvi_space_number(desc, field)) != NULL;
  default:
    return true;
  }
}

static bool rank_is_below(uint32_t rank, uint32_t size)
{
  return rank < (size ? size : 1);
}

/* a * b, or 0 if it does not fit: no real product here is 0. */
static uint64_t multiply(uint64_t a, uint64_t b)
{
  return b && a > UINT64_MAX / b ? 0 : a * b;
}

/* Bytes of one token's row of all heads, 0 if the dtype cannot hold it. */
static uint64_t row_bytes(kvs_dtype dtype, uint32_t heads, uint32_t dim)
{
  uint64_t elements = (uint64_t)heads * dim;

  switch (dtype) {
  case KVS_DTYPE_F32:
    return multiply(elements, 4);
  case KVS_DTYPE_F16:
  case KVS_DTYPE_BF16:
    return multiply(elements, 2);
  case KVS_DTYPE_F8_E4M3:
  case KVS_DTYPE_F8_E5M2:
  case KVS_DTYPE_I8:
    return elements;
  case KVS_DTYPE_GGML_Q8_0:
    return elements % 32 ? 0 : multiply(elements / 32, 34);
  case KVS_DTYPE_OPAQUE:
    break;
  }
  return 0;
}

static bool tensors_fit(const kvs_space_desc *desc)
{
  uint64_t key_row = row_bytes(desc->key_dtype, desc->kv_heads, desc->key_dim);
  uint64_t value_row = row_bytes(desc->value_dtype, desc->kv_heads, desc->value_dim);

  if (key_row == 0 || value_row == 0 || desc->layers == 0 || key_row > UINT64_MAX - value_row)
    return false;
  uint64_t bytes = multiply(multiply(key_row + value_row, desc->layers), desc->tokens_per_chunk);
  return bytes != 0 && bytes == desc->chunk_bytes;
}

kvs_status kvi_space_check(const kvs_space_desc *desc)
{
  if (!desc || !size_is_ours(desc))
    return KVS_ERR_INVALID;
  for (size_t i = 0; i < KVI_SPACE_FIELDS; i++)
    if (!field_is_valid(desc, &kvi_space_fields[i]))
      return KVS_ERR_INVALID;
  if (desc->tokens_per_chunk == 0 || (desc->engine_block && desc->tokens_per_chunk % desc->engine_block))
    return KVS_ERR_INVALID;
  if (!rank_is_below(desc->tp_rank, desc->tp_size) || !rank_is_below(desc->pp_rank, desc->pp_size) ||
      !rank_is_below(desc->cp_rank, desc->cp_size))
    return KVS_ERR_INVALID;
  if (desc->layout == KVS_LAYOUT_TENSORS && !tensors_fit(desc))
    return KVS_ERR_INVALID;
  return KVS_OK;
}
