/* client/cli/codec.c: kvasirctl codec: names, and the group of its commands. */
#include "client/cli/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/array.h"

static const char *const levels[] = {"raw", "lossless", "ladder", "cachegen", "zstd"};
static const char *const dtypes[] = {"bytes", "bf16", "fp16", "e4m3", "e5m2", "int8"};

const char *cli_codec_level_name(enum kvi_codec_level level)
{
  return levels[level];
}

const char *cli_codec_dtype_name(enum kvi_codec_dtype dtype)
{
  return dtypes[dtype];
}

bool cli_codec_level(const char *name, enum kvi_codec_level *level_p)
{
  for (size_t i = 0; i < KVI_ARRAY_SIZE(levels); i++) {
    if (strcmp(name, levels[i]) == 0) {
      *level_p = (enum kvi_codec_level)i;
      return true;
    }
  }
  return false;
}

bool cli_codec_dtype(const char *name, enum kvi_codec_dtype *dtype_p)
{
  for (size_t i = KVI_CODEC_BF16; i < KVI_ARRAY_SIZE(dtypes); i++) {
    if (strcmp(name, dtypes[i]) == 0) {
      *dtype_p = (enum kvi_codec_dtype)i;
      return true;
    }
  }
  return false;
}

int cli_codec_fail(const char *path, const char *format, ...)
{
  va_list arguments;

  fprintf(stderr, "kvasirctl: %s: ", path);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  return CLI_ERROR;
}

uint64_t cli_codec_elements(const struct kvi_codec_shape *shape)
{
  return shape->raw_bytes / kvi_codec_element_size(shape->dtype);
}

char *cli_codec_shape_text(const struct kvi_codec_shape *shape, char text[CLI_CODEC_SHAPE_TEXT])
{
  if (shape->dtype == KVI_CODEC_BYTES)
    snprintf(text, CLI_CODEC_SHAPE_TEXT, "%" PRIu64 " bytes of no known shape", shape->raw_bytes);
  else
    snprintf(text, CLI_CODEC_SHAPE_TEXT,
             "%s, %" PRIu32 " layers, %" PRIu32 " tokens, %" PRIu32 " heads, keys of %" PRIu32
             " and values of %" PRIu32,
             cli_codec_dtype_name(shape->dtype), shape->n_layers, shape->n_tokens, shape->n_heads,
             shape->key_dim, shape->value_dim);
  return text;
}

void cli_codec_shape_json(const struct kvi_codec_shape *shape, cJSON *object)
{
  cJSON_AddStringToObject(object, "dtype", cli_codec_dtype_name(shape->dtype));
  cJSON_AddNumberToObject(object, "layers", shape->n_layers);
  cJSON_AddNumberToObject(object, "tokens", shape->n_tokens);
  cJSON_AddNumberToObject(object, "heads", shape->n_heads);
  cJSON_AddNumberToObject(object, "key_dim", shape->key_dim);
  cJSON_AddNumberToObject(object, "value_dim", shape->value_dim);
  cJSON_AddNumberToObject(object, "rotary_dim", shape->rotary_dim);
  cJSON_AddNumberToObject(object, "start", shape->start);
  cJSON_AddNumberToObject(object, "raw_bytes", (double)shape->raw_bytes);
}

static const struct cli_command *const commands[] = {
    &cli_codec_inspect, &cli_codec_encode, &cli_codec_decode, &cli_codec_compare, &cli_codec_profile, NULL,
};

const struct cli_command cli_codec = {
    .name = "codec",
    .arguments = "COMMAND ...",
    .summary = "Encode, decode, inspect and compare KV tensors in files",
    .details = "Works on files and needs no node. An object (KVC1) is what tiers and wires hold of a chunk: "
               "keys and\n"
               "values of some tokens, coded without loss, or at several qualities of which the finer ones "
               "can be cut off.",
    .local = true,
    .commands = commands,
};
