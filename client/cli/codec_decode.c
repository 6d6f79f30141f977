/* client/cli/codec_decode.c: kvasirctl codec decode. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/codec.h"

static const char *output, *values_output;
static uint64_t quality = UINT64_MAX;

static const struct cli_option options[] = {
    {'o', "output", "FILE",
     "where it goes: FILE.npy has the keys, any other name all bytes as they lie in a chunk", CLI_TEXT,
     &output},
    {0, "values", "FILE", "where the values go, if the keys go to a .npy", CLI_TEXT, &values_output},
    {'q', "quality", "N", "planes behind the base (default: all that are there)", CLI_NUMBER, &quality},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

static bool is_npy(const char *path)
{
  size_t length = strlen(path);

  return length >= 4 && strcmp(path + length - 4, ".npy") == 0;
}

/* One file for all, or one each for keys and values; what a layer gives goes through memory for one. */
struct writing {
  const struct kvi_codec_shape *shape;
  bool npy;
  struct cli_output keys, values;
  uint8_t *key_rows, *value_rows;
  size_t key_row, value_row; /* bytes of a token */
};

/* NumPy's header, version 1, padded to 64 bytes. */
static int write_npy_header(struct cli_output *file, const struct kvi_codec_shape *shape, uint32_t dim)
{
  static const char *const descriptions[] = {
      [KVI_CODEC_BF16] = "<u2", [KVI_CODEC_FP16] = "<f2", [KVI_CODEC_E4M3] = "|u1",
      [KVI_CODEC_E5M2] = "|u1", [KVI_CODEC_INT8] = "|i1",
  };
  uint8_t header[192];
  char text[160];
  int length = snprintf(text, sizeof text,
                        "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu32 ", %" PRIu32 ", %" PRIu32
                        ", %" PRIu32 "), }",
                        descriptions[shape->dtype], shape->n_layers, shape->n_tokens, shape->n_heads, dim);
  size_t total = ((size_t)length + 11 + 63) / 64 * 64;

  memset(header, ' ', total);
  memcpy(header, "\x93NUMPY\x01", 8);
  header[8] = (uint8_t)(total - 10);
  header[9] = (uint8_t)((total - 10) >> 8);
  memcpy(header + 10, text, (size_t)length);
  header[total - 1] = '\n';
  return cli_output_write(file, header, total);
}

static bool allocate(struct writing *writing)
{
  const struct kvi_codec_shape *shape = writing->shape;
  size_t row = (size_t)shape->n_heads * kvi_codec_element_size(shape->dtype);
  size_t rows = shape->n_tokens;

  writing->key_row = row * shape->key_dim;
  writing->value_row = row * shape->value_dim;
  if (shape->dtype == KVI_CODEC_BYTES) {
    rows = 1;
    writing->key_row = (size_t)shape->raw_bytes;
  }
  writing->key_rows = malloc(rows * writing->key_row + 1);
  writing->value_rows = malloc(rows * writing->value_row + 1);
  return writing->key_rows != NULL && writing->value_rows != NULL;
}

static int begin(struct writing *writing)
{
  int code = cli_output_begin(&writing->keys, output);

  if (code == CLI_OK && values_output != NULL)
    code = cli_output_begin(&writing->values, values_output);
  if (code == CLI_OK && writing->npy)
    code = write_npy_header(&writing->keys, writing->shape, writing->shape->key_dim);
  if (code == CLI_OK && writing->npy && values_output != NULL)
    code = write_npy_header(&writing->values, writing->shape, writing->shape->value_dim);
  if (code == CLI_OK && !allocate(writing))
    code = cli_codec_fail(output, "there is no memory for a layer");
  return code;
}

/* Tensors as NumPy has them are whole; in raw bytes a layer has only the tokens it has. */
static int write_layer(struct writing *writing, uint32_t layer)
{
  const struct kvi_codec_shape *shape = writing->shape;
  bool bytes = shape->dtype == KVI_CODEC_BYTES;
  size_t rows = bytes ? 1 : shape->n_tokens;
  size_t first = writing->npy || bytes ? 0 : rows - kvi_codec_layer_rows(shape, layer);
  int code = cli_output_write(&writing->keys, writing->key_rows + first * writing->key_row,
                              (rows - first) * writing->key_row);

  if (code == CLI_OK && shape->value_dim > 0)
    code = cli_output_write(writing->npy ? &writing->values : &writing->keys,
                            writing->value_rows + first * writing->value_row,
                            (rows - first) * writing->value_row);
  return code;
}

static kvs_status decode_layer(const struct cli_codec_object *object, uint32_t layer, uint32_t at_quality,
                               const struct writing *writing)
{
  const struct kvi_codec_shape *shape = writing->shape;
  size_t first = shape->dtype == KVI_CODEC_BYTES ? 0 : shape->n_tokens - kvi_codec_layer_rows(shape, layer);
  const struct kvi_codec_place place = {
      .keys = writing->key_rows + first * writing->key_row,
      .values = writing->value_rows + first * writing->value_row,
      .key_stride = writing->key_row,
      .value_stride = writing->value_row,
  };
  const uint8_t *segments[KVI_CODEC_PLANES_MAX + 1];

  /* What a layer does not have of the first tokens is zeros, not what the layer before had. */
  memset(writing->key_rows, 0, first * writing->key_row);
  memset(writing->value_rows, 0, first * writing->value_row);
  for (uint32_t i = 0; i <= at_quality; i++)
    segments[i] = object->bytes + kvi_codec_segment_at(&object->object, i, layer).offset;
  return kvi_codec_decode_layer(&object->object, layer, at_quality, segments, &place);
}

static const char *reason_of(kvs_status status)
{
  if (status == KVS_ERR_CORRUPT)
    return "is damaged: 'kvasirctl codec inspect' tells more";
  if (status == KVS_ERR_UNSUPPORTED)
    return "needs a profile or a level that this kvasirctl does not have";
  return kvs_status_text(status);
}

static int decode_all(const char *path, const struct cli_codec_object *object, uint32_t at_quality,
                      struct writing *writing)
{
  uint32_t n_layers = writing->shape->n_layers;
  struct cli_progress progress;
  int code = CLI_OK;

  cli_progress_start(&progress, path, writing->shape->raw_bytes);
  for (uint32_t layer = 0; layer < n_layers && code == CLI_OK; layer++) {
    kvs_status status = decode_layer(object, layer, at_quality, writing);

    if (status != KVS_OK)
      code = cli_codec_fail(path, "layer %" PRIu32 " %s", layer, reason_of(status));
    else
      code = write_layer(writing, layer);
    cli_progress_at(&progress, writing->shape->raw_bytes / n_layers * (layer + 1));
  }
  cli_progress_end(&progress);
  return code;
}

/* Which quality to decode, and whether it is there. */
static int choose_quality(const char *path, const struct cli_codec_object *object, uint32_t *quality_p)
{
  *quality_p = object->quality < 0 ? 0 : (uint32_t)object->quality;
  if (object->quality < 0) {
    cli_codec_fail(path,
                   "is cut within its base: %zu bytes are there, the base ends at %" PRIu64
                   "; there is no quality that all layers have",
                   object->size, object->object.quality_end[0]);
    return CLI_MISS;
  }
  if (quality == UINT64_MAX)
    return CLI_OK;
  if (quality > *quality_p) {
    cli_codec_fail(path,
                   "has no quality %" PRIu64 ": it was written with %" PRIu32 " planes, and %d are there",
                   quality, object->object.planes, object->quality);
    return CLI_MISS;
  }
  *quality_p = (uint32_t)quality;
  return CLI_OK;
}

static int check_outputs(const struct kvi_codec_shape *shape, bool npy)
{
  if (npy && shape->value_dim > 0 && values_output == NULL)
    return cli_usage(&cli_codec_decode,
                     "the object has keys and values: --values says where the values go, or "
                     "--output without .npy takes all of it as bytes");
  if (values_output != NULL && (!npy || shape->value_dim == 0))
    return cli_usage(&cli_codec_decode, npy ? "the object has no values"
                                            : "--values goes with tensors and an --output that ends in .npy");
  if (values_output != NULL && strcmp(values_output, output) == 0)
    return cli_usage(&cli_codec_decode, "keys and values cannot go to one .npy");
  return CLI_OK;
}

static void report(const struct cli *cli, const struct kvi_codec_object *object, uint32_t at_quality)
{
  char text[CLI_CODEC_SHAPE_TEXT];

  if (cli->json)
    printf("{\"quality\":%" PRIu32 ",\"bytes\":%" PRIu64 "}\n", at_quality, object->shape.raw_bytes);
  else if (object->level == KVI_CODEC_LADDER)
    printf("%s: %s, quality %" PRIu32 " of %" PRIu32 "\n", output, cli_codec_shape_text(&object->shape, text),
           at_quality, object->planes);
  else
    printf("%s: %s, of level %s\n", output, cli_codec_shape_text(&object->shape, text),
           cli_codec_level_name(object->level));
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct writing writing = {0};
  struct cli_codec_object object;
  uint32_t at_quality = 0;
  int code;

  (void)n;
  if (output == NULL)
    return cli_usage(&cli_codec_decode, "say with --output where it goes");
  code = cli_codec_object_open(arguments[0], &object);
  if (code != CLI_OK)
    return code;
  writing.shape = &object.object.shape;
  writing.npy = is_npy(output) && writing.shape->dtype != KVI_CODEC_BYTES && writing.shape->key_dim > 0;
  code = check_outputs(writing.shape, writing.npy);
  if (code == CLI_OK)
    code = choose_quality(arguments[0], &object, &at_quality);
  if (code == CLI_OK) {
    code = begin(&writing);
    if (code == CLI_OK)
      code = decode_all(arguments[0], &object, at_quality, &writing);
    code = cli_output_end(&writing.values, code);
    code = cli_output_end(&writing.keys, code);
  }
  if (code == CLI_OK)
    report(cli, &object.object, at_quality);
  free(writing.key_rows);
  free(writing.value_rows);
  cli_codec_object_close(&object);
  return code;
}

const struct cli_command cli_codec_decode = {
    .name = "codec decode",
    .arguments = "FILE",
    .summary = "Decode an object to NumPy files or bytes",
    .details = "FILE is an object (KVC1), whole or cut behind one of its qualities. NumPy files have the "
               "axes layer, token,\n"
               "head, dimension; bf16 lies in u2 as bit patterns, e4m3 and e5m2 in u1. Tokens that a layer "
               "with a sliding\n"
               "window does not have are zeros. Files are written whole or not at all.\n"
               "\n"
               "  kvasirctl codec decode chunk.kvc -o k.npy --values v.npy\n"
               "  kvasirctl codec decode chunk.kvc -o k.npy --values v.npy --quality 1\n"
               "  kvasirctl codec decode state.kvc -o state.bin",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .local = true,
    .run = run,
};
