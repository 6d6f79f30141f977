/* Descriptors: digest, copy, wire form, difference. */
#include "proto/space.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/digest.h"
#include "proto/cbor.h"
#include "proto/space_private.h"

/* The list is [name, version, fields...]; a version is another list, so another digest. */
#define LIST_NAME    "kvasir-space"
#define LIST_VERSION 1u

static kvs_status check(const kvs_space_desc *desc)
{
  kvs_status status = kvi_space_check(desc);

  if (status != KVS_OK)
    return status;
  if (desc->key_length < KVS_KEY_MIN || desc->key_length > KVS_KEY_MAX)
    return KVS_ERR_KEY_LENGTH;
  return KVS_OK;
}

static void sink_sha256(void *ctx, const void *bytes, size_t length)
{
  kvi_sha256_update(ctx, bytes, length);
}

kvs_status kvs_space_digest(const kvs_space_desc *desc, uint8_t digest[KVS_DIGEST_SIZE])
{
  if (!digest)
    return KVS_ERR_INVALID;
  kvs_status status = check(desc);
  if (status != KVS_OK)
    return status;

  kvi_sha256_ctx sha;
  const struct kvi_cbor cbor = {.sink = sink_sha256, .ctx = &sha};
  kvi_sha256_init(&sha);
  kvi_cbor_put_array(&cbor, 2 + KVI_SPACE_FIELDS);
  kvi_cbor_put_text(&cbor, LIST_NAME, strlen(LIST_NAME));
  kvi_cbor_put_uint(&cbor, LIST_VERSION);
  for (size_t i = 0; i < KVI_SPACE_FIELDS; i++) {
    const struct kvi_space_field *field = &kvi_space_fields[i];
    if (field->kind == KVI_SPACE_TEXT) {
      const char *text = kvi_space_text(desc, field);
      kvi_cbor_put_text(&cbor, text, strlen(text));
    } else if (field->kind == KVI_SPACE_WEIGHTS) {
      kvi_cbor_put_bytes(&cbor, desc->weights, sizeof desc->weights);
    } else {
      kvi_cbor_put_uint(&cbor, kvi_space_number(desc, field));
    }
  }
  kvi_sha256_final(&sha, digest);
  return KVS_OK;
}

/* A copy is one block: the descriptor, then its texts. */
struct space_copy {
  kvs_space_desc desc;
  char texts[];
};

static size_t texts_size(const kvs_space_desc *desc)
{
  size_t size = 0;

  for (size_t i = 0; i < KVI_SPACE_FIELDS; i++)
    if (kvi_space_fields[i].kind == KVI_SPACE_TEXT)
      size += strlen(kvi_space_text(desc, &kvi_space_fields[i])) + 1;
  return size;
}

/* Writes the numbers as they are hashed, so that equal digests have equal copies. */
static void set_number(kvs_space_desc *desc, const struct kvi_space_field *field, uint64_t value)
{
  uint32_t narrow = (uint32_t)value;

  if (field->kind == KVI_SPACE_BYTES)
    memcpy((char *)desc + field->offset, &value, sizeof value);
  else
    memcpy((char *)desc + field->offset, &narrow, sizeof narrow);
}

kvs_status kvi_space_copy(const kvs_space_desc *desc, kvs_space_desc **copy_p)
{
  *copy_p = NULL;
  kvs_status status = check(desc);
  if (status != KVS_OK)
    return status;

  struct space_copy *copy = malloc(sizeof *copy + texts_size(desc));
  if (!copy)
    return KVS_ERR_NOMEM;
  char *next = copy->texts;
  copy->desc = *desc;
  copy->desc.struct_size = sizeof copy->desc;
  for (size_t i = 0; i < KVI_SPACE_FIELDS; i++) {
    const struct kvi_space_field *field = &kvi_space_fields[i];
    if (field->kind == KVI_SPACE_TEXT) {
      const char *text = kvi_space_text(desc, field), *place = next;
      size_t size = strlen(text) + 1;
      memcpy(next, text, size);
      memcpy((char *)&copy->desc + field->offset, &place, sizeof place);
      next += size;
    } else if (field->kind != KVI_SPACE_WEIGHTS) {
      set_number(&copy->desc, field, kvi_space_number(desc, field));
    }
  }
  *copy_p = &copy->desc;
  return KVS_OK;
}

void kvi_space_free(kvs_space_desc *desc)
{
  free(desc); /* the first member of its space_copy */
}

/* protobuf-c's strings are not const, but pack only reads them. */
static char *message_text(const char *text)
{
  return (char *)(uintptr_t)(text ? text : "");
}

void kvi_space_to_message(const kvs_space_desc *desc, Kvasir__V1__SpaceDescriptor *message)
{
  kvasir__v1__space_descriptor__init(message);
  message->model = message_text(desc->model);
  message->revision = message_text(desc->revision);
  message->weights =
      (ProtobufCBinaryData){.len = sizeof desc->weights, .data = (uint8_t *)(uintptr_t)desc->weights};
  message->engine = message_text(desc->engine);
  message->isa = message_text(desc->isa);
  message->layout = desc->layout;
  message->key_dtype = desc->key_dtype;
  message->value_dtype = desc->value_dtype;
  message->layers = desc->layers;
  message->kv_heads = desc->kv_heads;
  message->key_dim = desc->key_dim;
  message->value_dim = desc->value_dim;
  message->layout_detail = message_text(desc->layout_detail);
  message->tokens_per_chunk = desc->tokens_per_chunk;
  message->engine_block = desc->engine_block;
  message->kv_group = desc->kv_group;
  message->tp_rank = desc->tp_rank;
  message->tp_size = desc->tp_size;
  message->pp_rank = desc->pp_rank;
  message->pp_size = desc->pp_size;
  message->cp_rank = desc->cp_rank;
  message->cp_size = desc->cp_size;
  message->hash = desc->hash;
  message->key_length = desc->key_length;
  message->chunk_bytes = desc->chunk_bytes;
}

kvs_status kvi_space_from_message(const Kvasir__V1__SpaceDescriptor *message, kvs_space_desc **copy_p)
{
  *copy_p = NULL;
  if (!message || (message->weights.len != 0 && message->weights.len != KVS_DIGEST_SIZE))
    return KVS_ERR_INVALID;

  kvs_space_desc desc = {
      .struct_size = sizeof desc,
      .model = message->model,
      .revision = message->revision,
      .engine = message->engine,
      .isa = message->isa,
      .layout = (kvs_layout)message->layout,
      .key_dtype = (kvs_dtype)message->key_dtype,
      .value_dtype = (kvs_dtype)message->value_dtype,
      .layers = message->layers,
      .kv_heads = message->kv_heads,
      .key_dim = message->key_dim,
      .value_dim = message->value_dim,
      .layout_detail = message->layout_detail,
      .tokens_per_chunk = message->tokens_per_chunk,
      .engine_block = message->engine_block,
      .kv_group = message->kv_group,
      .tp_rank = message->tp_rank,
      .tp_size = message->tp_size,
      .pp_rank = message->pp_rank,
      .pp_size = message->pp_size,
      .cp_rank = message->cp_rank,
      .cp_size = message->cp_size,
      .hash = (kvs_hash)message->hash,
      .key_length = message->key_length,
      .chunk_bytes = message->chunk_bytes,
  };
  if (message->weights.len)
    memcpy(desc.weights, message->weights.data, sizeof desc.weights);
  return kvi_space_copy(&desc, copy_p);
}

/* Text that is cut at its end with "..." . */
struct cut_text {
  char *text;
  size_t size, used;
  bool cut;
};

static void add(struct cut_text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct cut_text *out, const char *format, ...)
{
  va_list args;

  if (out->cut || out->size == 0)
    return;
  va_start(args, format);
  int length = vsnprintf(out->text + out->used, out->size - out->used, format, args);
  va_end(args);
  if (length < 0 || (size_t)length >= out->size - out->used) {
    static const char mark[] = "...";
    out->cut = true;
    if (out->size >= sizeof mark)
      memcpy(out->text + out->size - sizeof mark, mark, sizeof mark);
    return;
  }
  out->used += (size_t)length;
}

static void add_number(struct cut_text *out, enum kvi_space_kind kind, uint64_t value)
{
  const char *name = kvi_space_value_name(kind, value);

  if (name)
    add(out, "%s", name);
  else
    add(out, "%llu", (unsigned long long)value);
}

static bool field_differs(const kvs_space_desc *a, const kvs_space_desc *b,
                          const struct kvi_space_field *field)
{
  if (field->kind == KVI_SPACE_TEXT)
    return strcmp(kvi_space_text(a, field), kvi_space_text(b, field)) != 0;
  if (field->kind == KVI_SPACE_WEIGHTS)
    return memcmp(a->weights, b->weights, sizeof a->weights) != 0;
  return kvi_space_number(a, field) != kvi_space_number(b, field);
}

size_t kvi_space_diff(const kvs_space_desc *a, const kvs_space_desc *b, char *text, size_t size)
{
  struct cut_text out = {.text = text, .size = size};
  size_t n_different = 0;

  if (size > 0)
    text[0] = '\0';
  for (size_t i = 0; i < KVI_SPACE_FIELDS; i++) {
    const struct kvi_space_field *field = &kvi_space_fields[i];
    if (!field_differs(a, b, field))
      continue;
    add(&out, "%s%s ", n_different++ ? ", " : "", field->name);
    if (field->kind == KVI_SPACE_TEXT) {
      add(&out, "'%s' / '%s'", kvi_space_text(a, field), kvi_space_text(b, field));
    } else if (field->kind == KVI_SPACE_WEIGHTS) {
      /* The first bytes tell fingerprints apart; nobody reads 64 digits. */
      add(&out, "%02x%02x%02x%02x.. / %02x%02x%02x%02x..", a->weights[0], a->weights[1], a->weights[2],
          a->weights[3], b->weights[0], b->weights[1], b->weights[2], b->weights[3]);
    } else {
      add_number(&out, field->kind, kvi_space_number(a, field));
      add(&out, " / ");
      add_number(&out, field->kind, kvi_space_number(b, field));
    }
  }
  return n_different;
}
