/* client/cli/codec_compare.c: kvasirctl codec compare. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "client/cli/codec_error.h"
#include "client/cli/codec_plot.h"

static const char *queries_path, *plot_path, *profile_path;

static const struct cli_option options[] = {
    {0, "queries", "FILE", "queries like the keys, for the error of attention's output", CLI_TEXT,
     &queries_path},
    {0, "plot", "FILE", "draw rate over error: FILE.svg, or FILE.png if gnuplot is installed", CLI_TEXT,
     &plot_path},
    {0, "profile", "FILE", "the model's profile: how level ladder fares with it, too", CLI_TEXT,
     &profile_path},
    CLI_CODEC_INPUT_OPTIONS,
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

#define TIMES    5u
#define TIME_NS  (300 * KVI_NS_PER_MS) /* a level is not repeated beyond that */
#define ROWS_MAX 24u

static const struct kvi_codec_options tensor_levels[] = {
    {.level = KVI_CODEC_RAW},
    {.level = KVI_CODEC_LOSSLESS},
    {.level = KVI_CODEC_LADDER, .planes = 3},
    {.level = KVI_CODEC_LADDER, .planes = 2},
    {.level = KVI_CODEC_LADDER, .planes = 1},
    {.level = KVI_CODEC_LADDER, .planes = 0},
    {.level = KVI_CODEC_CACHEGEN, .step = 125},
    {.level = KVI_CODEC_CACHEGEN, .step = 250},
    {.level = KVI_CODEC_CACHEGEN, .step = 500},
    {.level = KVI_CODEC_CACHEGEN, .step = 1000},
    {.level = KVI_CODEC_CACHEGEN, .step = 2000},
    {.level = KVI_CODEC_ZSTD, .zstd_level = 3},
};
static const struct kvi_codec_options byte_levels[] = {
    {.level = KVI_CODEC_RAW},
    {.level = KVI_CODEC_ZSTD, .zstd_level = 1},
    {.level = KVI_CODEC_ZSTD, .zstd_level = 3},
    {.level = KVI_CODEC_ZSTD, .zstd_level = 19},
};

struct row {
  char name[40];
  struct kvi_codec_options options;
  kvs_status status;
  size_t bytes;
  double encode_rate, decode_rate; /* bytes of raw a second */
  struct cli_codec_error error;
};

struct comparison {
  struct cli_codec_chunk chunk;
  struct cli_codec_queries queries;
  float *truth; /* attention with what was; NULL: not asked for */
  struct cli_codec_profile profile;
  uint8_t *decoded;
  struct row rows[ROWS_MAX];
  size_t n_rows;
};

static void name_row(struct row *row)
{
  const char *level = cli_codec_level_name(row->options.level);

  if (row->options.level == KVI_CODEC_LADDER)
    snprintf(row->name, sizeof row->name, "%s, %" PRIu32 " plane%s%s", level, row->options.planes,
             row->options.planes == 1 ? "" : "s", row->options.profile != NULL ? ", profile" : "");
  else if (row->options.level == KVI_CODEC_CACHEGEN)
    snprintf(row->name, sizeof row->name, "%s, bins x %g", level, row->options.step / 1000.0);
  else if (row->options.level == KVI_CODEC_ZSTD)
    snprintf(row->name, sizeof row->name, "%s -%d", level, row->options.zstd_level);
  else
    snprintf(row->name, sizeof row->name, "%s", level);
}

/* ---- measuring ---- */

struct timing {
  uint64_t began_ns, total_ns, least_ns;
  unsigned times;
};

static bool again(const struct timing *timing)
{
  return timing->times == 0 || (timing->times < TIMES && timing->total_ns < TIME_NS);
}

static void note(struct timing *timing)
{
  uint64_t took = kvi_now_ns() - timing->began_ns;

  if (timing->times++ == 0 || took < timing->least_ns)
    timing->least_ns = took > 0 ? took : 1;
  timing->total_ns += took;
}

static kvs_status time_encode(struct cli_codec_coder *coder, const uint8_t *raw, double *rate_p)
{
  struct timing timing = {0};

  while (again(&timing)) {
    kvs_status status;

    timing.began_ns = kvi_now_ns();
    status = cli_codec_coder_encode(coder, raw);
    if (status != KVS_OK)
      return status;
    note(&timing);
  }
  *rate_p = (double)coder->shape.raw_bytes * 1e9 / (double)timing.least_ns;
  return KVS_OK;
}

static kvs_status time_decode(const struct cli_codec_coder *coder, uint8_t *decoded, double *rate_p)
{
  struct timing timing = {0};

  while (again(&timing)) {
    uint32_t quality;
    kvs_status status;

    timing.began_ns = kvi_now_ns();
    status = kvi_codec_decode(coder->out, coder->length, KVI_CODEC_PLANES_MAX, decoded,
                              (size_t)coder->shape.raw_bytes, &quality);
    if (status != KVS_OK)
      return status;
    note(&timing);
  }
  *rate_p = (double)coder->shape.raw_bytes * 1e9 / (double)timing.least_ns;
  return KVS_OK;
}

static kvs_status measure(struct comparison *comparison, struct row *row)
{
  const struct cli_codec_chunk *chunk = &comparison->chunk;
  struct cli_codec_coder coder;
  kvs_status status = cli_codec_coder_open(&chunk->shape, &row->options, &coder);

  if (status == KVS_OK)
    status = time_encode(&coder, chunk->raw, &row->encode_rate);
  if (status == KVS_OK)
    status = time_decode(&coder, comparison->decoded, &row->decode_rate);
  row->bytes = coder.length;
  cli_codec_coder_close(&coder);
  if (status == KVS_OK)
    status = cli_codec_compare_raw(&chunk->shape, chunk->raw, comparison->decoded, &comparison->queries,
                                   comparison->truth, &row->error);
  return status;
}

static void add_level(struct comparison *comparison, const struct kvi_codec_options *level,
                      const struct kvi_codec_profile *profile)
{
  struct row *row = &comparison->rows[comparison->n_rows++];

  row->options = *level;
  row->options.profile = profile;
  name_row(row);
}

/* The ladder's levels with the profile, if there is one, come behind those without. */
static void list_levels(struct comparison *comparison)
{
  bool bytes = comparison->chunk.shape.dtype == KVI_CODEC_BYTES;
  const struct kvi_codec_options *levels = bytes ? byte_levels : tensor_levels;
  size_t n = bytes ? KVI_ARRAY_SIZE(byte_levels) : KVI_ARRAY_SIZE(tensor_levels);

  for (size_t i = 0; i < n; i++)
    add_level(comparison, &levels[i], NULL);
  for (size_t i = 0; i < n && profile_path != NULL; i++)
    if (levels[i].level == KVI_CODEC_LADDER)
      add_level(comparison, &levels[i], &comparison->profile.profile);
}

/* A level that a build lacks has a row that says so; all else that fails is a failure. */
static int measure_all(const char *path, struct comparison *comparison)
{
  struct cli_progress progress;
  int code = CLI_OK;
  size_t n;

  list_levels(comparison);
  n = comparison->n_rows;
  cli_progress_start(&progress, path, n * comparison->chunk.shape.raw_bytes);
  for (size_t i = 0; i < n && code == CLI_OK; i++) {
    struct row *row = &comparison->rows[i];

    row->status = measure(comparison, row);
    if (row->status != KVS_OK && row->status != KVS_ERR_UNSUPPORTED) {
      cli_progress_end(&progress);
      code = cli_codec_fail(path, "%s: %s", row->name, kvs_status_text(row->status));
    }
    cli_progress_at(&progress, (i + 1) * comparison->chunk.shape.raw_bytes);
  }
  cli_progress_end(&progress);
  return code;
}

/* ---- telling ---- */

static double bits_of(const struct comparison *comparison, const struct row *row)
{
  return (double)row->bytes * 8 / (double)cli_codec_elements(&comparison->chunk.shape);
}

static double ratio_of(const struct comparison *comparison, const struct row *row)
{
  return (double)comparison->chunk.shape.raw_bytes / (double)row->bytes;
}

#define CELL 24u

/* "-" for what was not measured, "0" for what is exact. */
static const char *error_text(char text[CELL], bool measured, const struct row *row, double error)
{
  if (!measured)
    return "-";
  if (row->error.exact)
    return "0";
  snprintf(text, CELL, "%.5f", error);
  return text;
}

static void add_row(struct cli_table *table, const struct comparison *comparison, const struct row *row)
{
  const struct kvi_codec_shape *shape = &comparison->chunk.shape;
  char bits[CELL], ratio[CELL], keys[CELL], values[CELL], attention[CELL], encode[CELL], decode[CELL];

  if (row->status != KVS_OK) {
    cli_table_row(table, (const char *const[]){row->name, "not in this build", "", "", "", "", "", ""});
    return;
  }
  snprintf(bits, sizeof bits, "%.3f", bits_of(comparison, row));
  snprintf(ratio, sizeof ratio, "%.2f", ratio_of(comparison, row));
  snprintf(encode, sizeof encode, "%.0f", row->encode_rate / 1e6);
  snprintf(decode, sizeof decode, "%.0f", row->decode_rate / 1e6);
  cli_table_row(table, (const char *const[]){
                           row->name, bits, ratio, error_text(keys, shape->key_dim > 0, row, row->error.keys),
                           error_text(values, shape->value_dim > 0, row, row->error.values),
                           error_text(attention, comparison->truth != NULL, row, row->error.attention),
                           encode, decode});
}

static void print_table(const struct comparison *comparison)
{
  const char *const headings[] = {"LEVEL",  "BITS/ELEMENT", "RATIO",  "KEYS",
                                  "VALUES", "ATTENTION",    "ENCODE", "DECODE"};
  const bool to_the_right[] = {false, true, true, true, true, true, true, true};
  struct cli_table *table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);
  char text[CLI_CODEC_SHAPE_TEXT];

  printf("%s\n\n", cli_codec_shape_text(&comparison->chunk.shape, text));
  for (size_t i = 0; i < comparison->n_rows; i++)
    add_row(table, comparison, &comparison->rows[i]);
  cli_table_print(table, stdout);
  printf("\nBits count every byte of the object. Errors are relative L2, of keys and values around their "
         "channels' means.\n"
         "Speed is MB/s of raw bytes on one core, the best of some runs by path %s; it depends on the "
         "machine and on what "
         "else\nruns there.\n",
         kvi_codec_path());
}

/* JSON knows no infinity: null. */
static void add_number(cJSON *object, const char *name, double number)
{
  if (isfinite(number))
    cJSON_AddNumberToObject(object, name, number);
  else
    cJSON_AddNullToObject(object, name);
}

static cJSON *row_json(const struct comparison *comparison, const struct row *row)
{
  const struct kvi_codec_shape *shape = &comparison->chunk.shape;
  cJSON *object = cJSON_CreateObject();

  cJSON_AddStringToObject(object, "name", row->name);
  cJSON_AddStringToObject(object, "level", cli_codec_level_name(row->options.level));
  cJSON_AddNumberToObject(object, "planes", row->options.planes);
  cJSON_AddNumberToObject(object, "step", row->options.step);
  cJSON_AddBoolToObject(object, "profile", row->options.profile != NULL);
  cJSON_AddBoolToObject(object, "supported", row->status == KVS_OK);
  if (row->status != KVS_OK)
    return object;
  cJSON_AddNumberToObject(object, "bytes", (double)row->bytes);
  cJSON_AddNumberToObject(object, "bits_per_element", bits_of(comparison, row));
  cJSON_AddNumberToObject(object, "ratio", ratio_of(comparison, row));
  cJSON_AddBoolToObject(object, "exact", row->error.exact);
  if (shape->key_dim > 0)
    add_number(object, "keys", row->error.keys);
  if (shape->value_dim > 0)
    add_number(object, "values", row->error.values);
  if (comparison->truth != NULL)
    add_number(object, "attention", row->error.attention);
  cJSON_AddNumberToObject(object, "encode_bytes_per_second", row->encode_rate);
  cJSON_AddNumberToObject(object, "decode_bytes_per_second", row->decode_rate);
  return object;
}

static void print_json(const struct comparison *comparison)
{
  cJSON *document = cJSON_CreateObject(), *rows;
  char *json;

  cli_codec_shape_json(&comparison->chunk.shape, document);
  cJSON_AddStringToObject(document, "path", kvi_codec_path());
  rows = cJSON_AddArrayToObject(document, "rows");
  for (size_t i = 0; i < comparison->n_rows; i++)
    cJSON_AddItemToArray(rows, row_json(comparison, &comparison->rows[i]));
  json = cJSON_PrintUnformatted(document);
  cli_print_json(json != NULL ? json : "{}");
  cJSON_free(json);
  cJSON_Delete(document);
}

/* Of attention's output if there are queries, else of keys and values together. */
static double drawn_error(const struct comparison *comparison, const struct cli_codec_error *error)
{
  const struct kvi_codec_shape *shape = &comparison->chunk.shape;
  int planes = (shape->key_dim > 0) + (shape->value_dim > 0);

  if (comparison->truth != NULL)
    return error->attention;
  return planes > 0 ? sqrt((error->keys * error->keys + error->values * error->values) / planes) : 0;
}

static int plot(const char *path, const struct comparison *comparison)
{
  static struct kvi_chart_curve curves[] = {{.name = "ladder", .colour = "#2b6cb0", .line = 1},
                                            {.name = "cachegen", .colour = "#c53030", .line = 1},
                                            {.name = "ladder, profile", .colour = "#2f855a", .line = 1}};
  const char *slash = strrchr(path, '/');
  const struct kvi_chart chart = {
      .title = slash != NULL ? slash + 1 : path,
      .x_title = "bits an element, all counted",
      .y_title = comparison->truth != NULL ? "relative error of the attention output"
                                           : "centred relative L2 of keys and values",
      .curves = curves,
      .n_curves = KVI_ARRAY_SIZE(curves) - (profile_path == NULL),
  };

  for (size_t i = 0; i < comparison->n_rows; i++) {
    const struct row *row = &comparison->rows[i];

    if (row->status == KVS_OK && row->options.level == KVI_CODEC_LADDER)
      kvi_chart_add(&curves[row->options.profile != NULL ? 2 : 0], bits_of(comparison, row),
                    drawn_error(comparison, &row->error));
    else if (row->status == KVS_OK && row->options.level == KVI_CODEC_CACHEGEN)
      kvi_chart_add(&curves[1], bits_of(comparison, row), drawn_error(comparison, &row->error));
  }
  return cli_codec_plot(plot_path, &chart);
}

/* ---- the command ---- */

static int check_options(const struct kvi_codec_shape *shape)
{
  if (queries_path != NULL && (shape->key_dim == 0 || shape->value_dim == 0))
    return cli_usage(&cli_codec_compare,
                     "--queries needs keys and, with --values, values: attention's output is what "
                     "is compared");
  if (profile_path != NULL && shape->dtype == KVI_CODEC_BYTES)
    return cli_usage(&cli_codec_compare, "--profile needs tensors");
  if (plot_path != NULL && shape->dtype == KVI_CODEC_BYTES)
    return cli_usage(&cli_codec_compare, "--plot needs tensors: bytes have no error to draw");
  return CLI_OK;
}

static int prepare(const char *path, struct comparison *comparison)
{
  const struct kvi_codec_shape *shape = &comparison->chunk.shape;
  int code = check_options(shape);

  if (code == CLI_OK && queries_path != NULL)
    code = cli_codec_read_queries(&cli_codec_compare, queries_path, shape, &comparison->queries);
  if (code == CLI_OK && profile_path != NULL)
    code = cli_codec_profile_open(profile_path, &comparison->profile);
  if (code == CLI_OK && profile_path != NULL)
    code = cli_codec_profile_check(profile_path, &comparison->profile.profile, shape);
  if (code != CLI_OK)
    return code;
  comparison->decoded = malloc((size_t)shape->raw_bytes);
  if (queries_path != NULL)
    comparison->truth = cli_codec_attend(shape, comparison->chunk.raw, &comparison->queries);
  if (comparison->decoded == NULL || (queries_path != NULL && comparison->truth == NULL))
    return cli_codec_fail(path, "there is no memory for it");
  return CLI_OK;
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct comparison *comparison;
  int code;

  (void)n;
  if (plot_path != NULL && !cli_codec_can_plot(plot_path))
    return cli_usage(&cli_codec_compare, "--plot takes a name that ends in .svg or .png, not '%s'",
                     plot_path);
  comparison = calloc(1, sizeof *comparison);
  if (comparison == NULL)
    return cli_codec_fail(arguments[0], "there is no memory for it");
  code = cli_codec_read(&cli_codec_compare, arguments[0], &comparison->chunk);
  if (code == CLI_OK)
    code = prepare(arguments[0], comparison);
  if (code == CLI_OK)
    code = measure_all(arguments[0], comparison);
  if (code == CLI_OK && cli->json)
    print_json(comparison);
  else if (code == CLI_OK)
    print_table(comparison);
  if (code == CLI_OK && plot_path != NULL)
    code = plot(arguments[0], comparison);
  free(comparison->chunk.raw);
  free(comparison->queries.numbers);
  free(comparison->truth);
  free(comparison->decoded);
  cli_codec_profile_close(&comparison->profile);
  free(comparison);
  return code;
}

const struct cli_command cli_codec_compare = {
    .name = "codec compare",
    .arguments = "FILE",
    .summary = "What each level costs and gives on a tensor file",
    .details = "FILE is a NumPy file with the keys, as for encode; of any other file raw and zstd are "
               "compared. Queries have\n"
               "the same axes, with as many heads as the keys or a multiple.\n"
               "\n"
               "  kvasirctl codec compare k.npy --values v.npy\n"
               "  kvasirctl codec compare k.npy --values v.npy --queries q.npy --plot curve.svg\n"
               "  kvasirctl codec compare k.npy --values v.npy --queries q.npy --profile model.kvp\n"
               "  kvasirctl codec compare k.npy --values v.npy --json",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .local = true,
    .run = run,
};
