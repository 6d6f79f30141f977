/* client/cli/codec_input.c: files of tensors, in any order of their axes, as the codec takes them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "client/cli/codec.h"
#include "client/cli/tensor_file.h"
#include "tiers/codec/element.h"

#define FILE_BYTES_MAX ((size_t)64 << 30)
#define BYTES_ADVICE   "'--bytes --level zstd' encodes any file as it is"

struct cli_codec_input cli_codec_input;

enum axis { SEQUENCE, LAYER, TOKEN, HEAD, DIMENSION, AXES };
static const char axis_letters[AXES + 1] = "slthd";
static const char *const axis_names[AXES] = {"sequences", "layers", "tokens", "heads",
                                             "dimensions of a head"};

/* An open file whose axes are known. */
struct tensor {
  const char *path;
  struct kvi_tensor_file file;
  enum kvi_codec_dtype dtype;
  uint64_t size[AXES];
  size_t stride[AXES]; /* in elements */
};

static bool ends_in(const char *text, const char *end)
{
  size_t length = strlen(text), n = strlen(end);

  return length >= n && strcmp(text + length - n, end) == 0;
}

bool cli_codec_is_tensor(const char *path)
{
  return !cli_codec_input.bytes && (ends_in(path, ".npy") || ends_in(path, ".npy.zst"));
}

/* ---- axes ---- */

/* Each axis once, tokens and dimensions among them. */
static bool axes_ok(const char *axes)
{
  uint32_t seen = 0;

  for (const char *at = axes; *at != '\0'; at++) {
    const char *letter = strchr(axis_letters, *at);

    if (letter == NULL || (seen >> (letter - axis_letters) & 1) != 0)
      return false;
    seen |= 1u << (letter - axis_letters);
  }
  return (seen >> TOKEN & 1) != 0 && (seen >> DIMENSION & 1) != 0;
}

static int set_axes(const struct cli_command *command, struct tensor *tensor)
{
  static const char *const usual[] = {"td", "thd", "lthd", "slthd"};
  const char *axes = cli_codec_input.axes;
  uint32_t n = tensor->file.n_dims;
  size_t stride = 1;

  if (axes != NULL && !axes_ok(axes))
    return cli_usage(command, "--axes '%s': it takes each of s, l, t, h and d once, t and d always", axes);
  if (axes != NULL && strlen(axes) != n)
    return cli_usage(command, "--axes '%s' names %zu axes, %s has %" PRIu32, axes, strlen(axes), tensor->path,
                     n);
  if (axes == NULL && (n < 2 || n > 5))
    return cli_codec_fail(tensor->path,
                          "has %" PRIu32 " axes; it takes 4 (layer, token, head, dimension), or 5 with "
                          "sequences in front, or what --axes says",
                          n);
  if (axes == NULL)
    axes = usual[n - 2];
  for (uint32_t i = 0; i < AXES; i++)
    tensor->size[i] = 1;
  for (uint32_t i = n; i-- > 0;) {
    size_t axis = (size_t)(strchr(axis_letters, axes[i]) - axis_letters);

    tensor->size[axis] = tensor->file.dims[i];
    tensor->stride[axis] = stride;
    stride *= (size_t)tensor->file.dims[i]; /* the file has that many elements, so this fits */
  }
  return CLI_OK;
}

static int check_sequence(const struct cli_command *command, const struct tensor *tensor)
{
  if (cli_codec_input.sequence >= tensor->size[SEQUENCE])
    return cli_usage(command, "--sequence %" PRIu64 ": %s has sequences 0 to %" PRIu64,
                     cli_codec_input.sequence, tensor->path, tensor->size[SEQUENCE] - 1);
  return CLI_OK;
}

/* ---- dtypes ---- */

static const char *kind_name(const struct kvi_tensor_file *file)
{
  static const char *const names[3][3] = {{"u1", "u2", "u4"}, {"i1", "i2", "i4"}, {"f1", "f2", "f4"}};

  return names[file->kind][file->element_bits / 16];
}

/* Whether a file's elements can be what is said: bit patterns of its width, or f4, which is rounded. */
static bool kind_fits(const struct kvi_tensor_file *file, enum kvi_codec_dtype dtype)
{
  if (file->kind == KVI_TENSOR_FLOAT)
    return file->element_bits == 32 || dtype == KVI_CODEC_FP16;
  if (file->kind == KVI_TENSOR_SIGNED)
    return dtype == KVI_CODEC_INT8;
  return file->element_bits == 8 * kvi_codec_element_size(dtype);
}

/* What a file holds if nothing is said. False: that cannot be known. */
static bool usual_dtype(const struct kvi_tensor_file *file, enum kvi_codec_dtype *dtype_p)
{
  if (file->element_bits == 32 || (file->kind == KVI_TENSOR_UNSIGNED && file->element_bits == 8))
    return false;
  *dtype_p = file->kind == KVI_TENSOR_UNSIGNED ? KVI_CODEC_BF16 /* NumPy has none */
             : file->kind == KVI_TENSOR_FLOAT  ? KVI_CODEC_FP16
                                               : KVI_CODEC_INT8;
  return true;
}

static int set_dtype(const struct cli_command *command, struct tensor *tensor)
{
  const struct kvi_tensor_file *file = &tensor->file;
  const char *name = cli_codec_input.dtype;

  if (name == NULL && !usual_dtype(file, &tensor->dtype))
    return cli_usage(command, "%s holds %s: say with --dtype what that is (%s)", tensor->path,
                     kind_name(file),
                     file->element_bits == 8 ? "e4m3, e5m2 or int8" : "f4 is rounded, to bf16 for example");
  if (name != NULL && !cli_codec_dtype(name, &tensor->dtype))
    return cli_usage(command, "--dtype '%s': it takes bf16, fp16, e4m3, e5m2 or int8", name);
  if (!kind_fits(file, tensor->dtype))
    return cli_usage(command,
                     "%s holds %s, which cannot be %s: bf16 lies in u2, fp16 in f2 or u2, e4m3 and e5m2 in "
                     "u1, int8 in i1 or u1; f4 is rounded to any of them",
                     tensor->path, kind_name(file), cli_codec_dtype_name(tensor->dtype));
  return CLI_OK;
}

/* Queries need not be of the keys' dtype, which --dtype tells: theirs is the usual one where that does not fit. f4 stays. */
static int set_query_dtype(const struct cli_command *command, struct tensor *tensor)
{
  enum kvi_codec_dtype said;
  const char *name = cli_codec_input.dtype;

  if (tensor->file.element_bits == 32)
    return CLI_OK;
  if ((name == NULL || !cli_codec_dtype(name, &said) || !kind_fits(&tensor->file, said)) &&
      usual_dtype(&tensor->file, &tensor->dtype))
    return CLI_OK;
  return set_dtype(command, tensor);
}

/* ---- tensors ---- */

static int open_tensor(const struct cli_command *command, const char *path, bool queries,
                       struct tensor *tensor)
{
  char why[KVI_TENSOR_WHY_SIZE];
  int code;

  memset(tensor, 0, sizeof *tensor);
  tensor->path = path;
  if (kvi_tensor_file_open(path, FILE_BYTES_MAX, &tensor->file, why) != KVS_OK)
    return cli_codec_fail(path, "%s", why);
  code = queries ? set_query_dtype(command, tensor) : set_dtype(command, tensor);
  if (code == CLI_OK)
    code = set_axes(command, tensor);
  if (code != CLI_OK)
    kvi_tensor_file_close(&tensor->file);
  return code;
}

static size_t place_of(const struct tensor *tensor, uint64_t layer, uint64_t token, uint64_t head)
{
  return cli_codec_input.sequence * tensor->stride[SEQUENCE] + layer * tensor->stride[LAYER] +
         token * tensor->stride[TOKEN] + head * tensor->stride[HEAD];
}

/* One head of one token. */
static void copy_head(const struct tensor *tensor, size_t from, uint8_t *to)
{
  size_t element = kvi_codec_element_size(tensor->dtype), stride = tensor->stride[DIMENSION];
  const uint8_t *data = tensor->file.data;

  if (tensor->file.element_bits == 32) {
    const float *numbers = tensor->file.data;

    for (uint64_t d = 0; d < tensor->size[DIMENSION]; d++)
      kvi_codec_from_float(tensor->dtype, numbers[from + d * stride], to + d * element);
  } else if (stride == 1) {
    memcpy(to, data + from * element, tensor->size[DIMENSION] * element);
  } else {
    for (uint64_t d = 0; d < tensor->size[DIMENSION]; d++)
      memcpy(to + d * element, data + (from + d * stride) * element, element);
  }
}

/* A layer in the codec's order; returns what follows it. */
static uint8_t *copy_layer(const struct tensor *tensor, uint64_t layer, uint8_t *to)
{
  size_t head_bytes = tensor->size[DIMENSION] * kvi_codec_element_size(tensor->dtype);

  for (uint64_t token = 0; token < tensor->size[TOKEN]; token++)
    for (uint64_t head = 0; head < tensor->size[HEAD]; head++, to += head_bytes)
      copy_head(tensor, place_of(tensor, layer, token, head), to);
  return to;
}

/* What the codec cannot take, said by the axis that is to blame. */
static int check_sizes(const struct tensor *tensor)
{
  static const uint64_t most[AXES] = {UINT64_MAX, KVI_CODEC_LAYERS_MAX, UINT16_MAX, 1024, 8192};

  for (int axis = LAYER; axis < AXES; axis++)
    if (tensor->size[axis] > most[axis])
      return cli_codec_fail(tensor->path,
                            "has %" PRIu64 " %s, the codec takes at most %" PRIu64
                            "; if that is another axis, --axes tells",
                            tensor->size[axis], axis_names[axis], most[axis]);
  if (tensor->size[DIMENSION] % 8 != 0)
    return cli_codec_fail(tensor->path,
                          "has heads of %" PRIu64 " dimensions, the codec takes multiples of 8; if that is "
                          "another axis, --axes tells. " BYTES_ADVICE,
                          tensor->size[DIMENSION]);
  return CLI_OK;
}

static int check_pair(const struct tensor *keys, const struct tensor *values)
{
  for (int axis = LAYER; axis < DIMENSION; axis++)
    if (keys->size[axis] != values->size[axis])
      return cli_codec_fail(values->path, "has %" PRIu64 " %s, the keys in %s have %" PRIu64,
                            values->size[axis], axis_names[axis], keys->path, keys->size[axis]);
  if (keys->dtype != values->dtype)
    return cli_codec_fail(values->path, "holds %s, the keys in %s are %s",
                          cli_codec_dtype_name(values->dtype), keys->path, cli_codec_dtype_name(keys->dtype));
  return CLI_OK;
}

static int set_shape(const struct cli_command *command, const struct tensor *keys,
                     const struct tensor *values, struct kvi_codec_shape *shape)
{
  *shape = (struct kvi_codec_shape){
      .dtype = keys->dtype,
      .n_layers = (uint32_t)keys->size[LAYER],
      .n_tokens = (uint32_t)keys->size[TOKEN],
      .n_heads = (uint32_t)keys->size[HEAD],
      .key_dim = (uint32_t)keys->size[DIMENSION],
      .value_dim = values != NULL ? (uint32_t)values->size[DIMENSION] : 0,
      .rotary_dim = (uint32_t)cli_codec_input.rotary,
      .start = (uint32_t)cli_codec_input.start,
  };
  if (cli_codec_input.rotary % 8 != 0 || cli_codec_input.rotary > shape->key_dim)
    return cli_usage(command, "--rotary takes a multiple of 8 up to the %" PRIu32 " dimensions of a key",
                     shape->key_dim);
  if (cli_codec_input.start > UINT32_MAX)
    return cli_usage(command, "--start goes up to %u", UINT32_MAX);
  shape->raw_bytes = kvi_codec_raw_bytes(shape);
  if (kvi_codec_shape_check(shape) != KVS_OK)
    return cli_codec_fail(keys->path,
                          "has %" PRIu64 " bytes in a layer, the codec takes at most %u: cut it into chunks "
                          "of fewer tokens",
                          kvi_codec_layer_bytes_max(shape), KVI_CODEC_BYTES_MAX);
  return CLI_OK;
}

static int read_tensors(const struct cli_command *command, const struct tensor *keys,
                        const struct tensor *values, struct cli_codec_chunk *chunk)
{
  int code = check_sequence(command, keys);
  uint8_t *at;

  if (code == CLI_OK && values != NULL)
    code = check_sequence(command, values);
  if (code == CLI_OK)
    code = check_sizes(keys);
  if (code == CLI_OK && values != NULL)
    code = check_sizes(values);
  if (code == CLI_OK && values != NULL)
    code = check_pair(keys, values);
  if (code == CLI_OK)
    code = set_shape(command, keys, values, &chunk->shape);
  if (code != CLI_OK)
    return code;
  at = chunk->raw = malloc((size_t)chunk->shape.raw_bytes + 1);
  if (at == NULL)
    return cli_codec_fail(keys->path, "there is no memory for it");
  for (uint32_t layer = 0; layer < chunk->shape.n_layers; layer++) {
    at = copy_layer(keys, layer, at);
    if (values != NULL)
      at = copy_layer(values, layer, at);
  }
  return CLI_OK;
}

static int read_bytes(const struct cli_command *command, const char *path, struct cli_codec_chunk *chunk)
{
  size_t size;
  int code;

  if (cli_codec_input.values != NULL)
    return cli_usage(command, "--values goes with keys in a .npy, and %s is taken as bytes", path);
  code = cli_codec_file(path, KVI_CODEC_BYTES_MAX, &chunk->raw, &size);
  chunk->shape = (struct kvi_codec_shape){.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = size};
  return code;
}

int cli_codec_read(const struct cli_command *command, const char *path, struct cli_codec_chunk *chunk_p)
{
  struct tensor keys, values = {0};
  int code;

  memset(chunk_p, 0, sizeof *chunk_p);
  if (!cli_codec_is_tensor(path))
    return read_bytes(command, path, chunk_p);
  code = open_tensor(command, path, false, &keys);
  if (code != CLI_OK)
    return code;
  if (cli_codec_input.values != NULL)
    code = open_tensor(command, cli_codec_input.values, false, &values);
  if (code == CLI_OK)
    code = read_tensors(command, &keys, cli_codec_input.values != NULL ? &values : NULL, chunk_p);
  kvi_tensor_file_close(&keys.file);
  kvi_tensor_file_close(&values.file);
  return code;
}

/* ---- queries ---- */

static int check_queries(const struct tensor *tensor, const struct kvi_codec_shape *shape)
{
  if (tensor->size[LAYER] != shape->n_layers || tensor->size[DIMENSION] != shape->key_dim)
    return cli_codec_fail(tensor->path,
                          "has %" PRIu64 " layers and queries of %" PRIu64
                          " dimensions, the keys have %" PRIu32 " and %" PRIu32,
                          tensor->size[LAYER], tensor->size[DIMENSION], shape->n_layers, shape->key_dim);
  if (tensor->size[HEAD] % shape->n_heads != 0 || tensor->size[HEAD] > UINT16_MAX)
    return cli_codec_fail(tensor->path,
                          "has %" PRIu64 " query heads, which the %" PRIu32 " heads of the keys cannot share",
                          tensor->size[HEAD], shape->n_heads);
  if (tensor->size[TOKEN] > UINT32_MAX)
    return cli_codec_fail(tensor->path, "has more queries than can be counted");
  return CLI_OK;
}

static void load_queries(const struct tensor *tensor, float *to)
{
  size_t element = kvi_codec_element_size(tensor->dtype);
  uint8_t one[2];

  for (uint64_t layer = 0; layer < tensor->size[LAYER]; layer++)
    for (uint64_t head = 0; head < tensor->size[HEAD]; head++)
      for (uint64_t query = 0; query < tensor->size[TOKEN]; query++) {
        size_t from = place_of(tensor, layer, query, head);

        for (uint64_t d = 0; d < tensor->size[DIMENSION]; d++, from += tensor->stride[DIMENSION]) {
          if (tensor->file.element_bits == 32) {
            *to++ = ((const float *)tensor->file.data)[from];
            continue;
          }
          memcpy(one, (const uint8_t *)tensor->file.data + from * element, element);
          *to++ = kvi_codec_to_float(tensor->dtype, one);
        }
      }
}

static int read_queries(const struct cli_command *command, const struct tensor *tensor,
                        const struct kvi_codec_shape *shape, struct cli_codec_queries *queries)
{
  size_t bytes = sizeof(float);
  bool fits = true;
  int code = check_sequence(command, tensor);

  if (code == CLI_OK)
    code = check_queries(tensor, shape);
  if (code != CLI_OK)
    return code;
  for (int axis = LAYER; axis < AXES; axis++)
    fits = fits && kvi_size_mul(bytes, tensor->size[axis], &bytes);
  queries->n_queries = (uint32_t)tensor->size[TOKEN];
  queries->n_heads = (uint32_t)tensor->size[HEAD];
  queries->numbers = fits && bytes > 0 ? malloc(bytes) : NULL;
  if (queries->numbers == NULL)
    return cli_codec_fail(tensor->path, "there is no memory for it");
  load_queries(tensor, queries->numbers);
  return CLI_OK;
}

int cli_codec_read_queries(const struct cli_command *command, const char *path,
                           const struct kvi_codec_shape *shape, struct cli_codec_queries *queries_p)
{
  struct tensor tensor;
  int code;

  memset(queries_p, 0, sizeof *queries_p);
  code = open_tensor(command, path, true, &tensor);
  if (code != CLI_OK)
    return code;
  code = read_queries(command, &tensor, shape, queries_p);
  kvi_tensor_file_close(&tensor.file);
  return code;
}

/* ---- samples ---- */

struct cli_codec_samples {
  struct tensor keys, values, queries;
};

int cli_codec_samples_open(const struct cli_command *command, const char *keys, const char *values,
                           const char *queries, struct cli_codec_samples **samples_p)
{
  struct cli_codec_samples *samples = *samples_p = calloc(1, sizeof *samples);
  int code;

  if (samples == NULL)
    return cli_codec_fail(keys, "there is no memory for it");
  code = open_tensor(command, keys, false, &samples->keys);
  if (code == CLI_OK)
    code = open_tensor(command, values, false, &samples->values);
  if (code == CLI_OK)
    code = open_tensor(command, queries, true, &samples->queries);
  if (code != CLI_OK) {
    cli_codec_samples_close(samples);
    *samples_p = NULL;
  }
  return code;
}

int cli_codec_samples_last(const struct cli_command *command, const struct cli_codec_samples *samples,
                           uint64_t first, uint64_t last, uint64_t *last_p)
{
  const struct tensor *others[] = {&samples->values, &samples->queries};
  uint64_t n = samples->keys.size[SEQUENCE];

  *last_p = last < n ? last : n - 1;
  if (first >= n || (last != UINT64_MAX && last >= n))
    return cli_usage(command, "--sequences: %s has sequences 0 to %" PRIu64, samples->keys.path, n - 1);
  for (size_t i = 0; i < KVI_ARRAY_SIZE(others); i++)
    if (*last_p >= others[i]->size[SEQUENCE])
      return cli_codec_fail(others[i]->path,
                            "has sequences 0 to %" PRIu64 ", and those taken of %s go up to %" PRIu64,
                            others[i]->size[SEQUENCE] - 1, samples->keys.path, *last_p);
  return CLI_OK;
}

int cli_codec_samples_read(const struct cli_command *command, const struct cli_codec_samples *samples,
                           uint64_t sequence, struct cli_codec_chunk *chunk_p,
                           struct cli_codec_queries *queries_p)
{
  int code;

  memset(chunk_p, 0, sizeof *chunk_p);
  memset(queries_p, 0, sizeof *queries_p);
  cli_codec_input.sequence = sequence;
  code = read_tensors(command, &samples->keys, &samples->values, chunk_p);
  return code == CLI_OK ? read_queries(command, &samples->queries, &chunk_p->shape, queries_p) : code;
}

void cli_codec_samples_close(struct cli_codec_samples *samples)
{
  if (samples == NULL)
    return;
  kvi_tensor_file_close(&samples->keys.file);
  kvi_tensor_file_close(&samples->values.file);
  kvi_tensor_file_close(&samples->queries.file);
  free(samples);
}
