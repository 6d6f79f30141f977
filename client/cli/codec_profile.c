/* client/cli/codec_profile.c: kvasirctl codec profile. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "client/cli/codec_sensitivity.h"

static const char *output, *values_list, *queries_list, *sequences;

/* As of encode, but that all sequences are samples. */
static const struct cli_option options[] = {
    {'o', "output", "FILE", "the profile to write", CLI_TEXT, &output},
    {0, "values", "FILE,...", "the values, a file for each SAMPLE", CLI_TEXT, &values_list},
    {0, "queries", "FILE,...", "queries like the keys, a file for each SAMPLE", CLI_TEXT, &queries_list},
    {0, "sequences", "A-B", "take these of each file's sequences, from 0 on (default all)", CLI_TEXT,
     &sequences},
    {0, "dtype", "TYPE", "as of encode", CLI_TEXT, &cli_codec_input.dtype},
    {0, "axes", "ORDER", "as of encode", CLI_TEXT, &cli_codec_input.axes},
    {0, "start", "N", "as of encode", CLI_NUMBER, &cli_codec_input.start},
    {0, "rotary", "N", "as of encode", CLI_NUMBER, &cli_codec_input.rotary},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

#define FILES_MAX   256u
#define SAMPLES_MAX 65536u
#define QUALITIES   (KVI_CODEC_PLANES_MAX + 1u)
/* Without a profile at two steps: what it takes to err as little as with one is between them, or near. */
#define STEP        800u
#define COARSE_STEP 1000u
enum { USUAL, COARSE, PROFILED, WAYS };

/* What one way of encoding costs and gives, summed over samples. */
struct outcome {
  double bits, keys, values, attention; /* errors are squares */
};

struct sample {
  const char *keys, *values, *queries;
  uint64_t sequence;
};

struct making {
  struct sample *samples;
  size_t n_samples;
  struct kvi_codec_shape
      shape;       /* of the first sample; the others have to have the same but for their tokens */
  double *squares; /* [sample][unit] */
  struct outcome outcomes[WAYS][QUALITIES];
  uint8_t *profile; /* a file's bytes */
  size_t profile_size;
  struct cli_progress progress;
  uint64_t done;
};

/* ---- the samples ---- */

/* Cuts a list at its commas, in place. False: not n of them. */
static bool cut_list(char *list, const char **files, size_t n)
{
  size_t found = 0;

  for (char *at = list, *end; at != NULL; at = end) {
    end = strchr(at, ',');
    if (end != NULL)
      *end++ = '\0';
    if (*at == '\0' || found == n)
      return false;
    files[found++] = at;
  }
  return found == n;
}

/* "3" or "0-3". */
static bool parse_sequences(uint64_t *first_p, uint64_t *last_p)
{
  const char *at = sequences;
  char *end;

  *first_p = 0;
  *last_p = UINT64_MAX;
  if (at == NULL)
    return true;
  if (*at < '0' || *at > '9')
    return false;
  errno = 0;
  *first_p = *last_p = strtoull(at, &end, 10);
  if (*end == '-' && end[1] >= '0' && end[1] <= '9')
    *last_p = strtoull(end + 1, &end, 10);
  return errno == 0 && *end == '\0' && *first_p <= *last_p;
}

static int add_samples(struct making *making, const char *keys, const char *values, const char *queries,
                       uint64_t first, uint64_t last)
{
  struct cli_codec_samples *files;
  struct sample *grown;
  int code = cli_codec_samples_open(&cli_codec_profile, keys, values, queries, &files);

  if (code == CLI_OK)
    code = cli_codec_samples_last(&cli_codec_profile, files, first, last, &last);
  cli_codec_samples_close(files);
  if (code != CLI_OK)
    return code;
  if (last - first >= SAMPLES_MAX - making->n_samples)
    return cli_usage(&cli_codec_profile, "takes at most %u samples", SAMPLES_MAX);
  grown = realloc(making->samples, (making->n_samples + (size_t)(last - first) + 1) * sizeof *grown);
  if (grown == NULL)
    return cli_codec_fail(keys, "there is no memory for it");
  making->samples = grown;
  for (uint64_t i = first; i <= last; i++)
    grown[making->n_samples++] = (struct sample){keys, values, queries, i};
  return CLI_OK;
}

/* Everything a sample is: keys, values and queries of one sequence, like those of the first sample. */
static int read_sample(struct making *making, const struct cli_codec_samples *files,
                       const struct sample *sample, struct cli_codec_chunk *chunk,
                       struct cli_codec_queries *queries)
{
  const struct kvi_codec_shape *shape = &chunk->shape, *first = &making->shape;
  int code = cli_codec_samples_read(&cli_codec_profile, files, sample->sequence, chunk, queries);

  if (code != CLI_OK)
    return code;
  if (first->n_layers == 0)
    making->shape = *shape;
  if (shape->dtype != first->dtype || shape->n_layers != first->n_layers ||
      shape->n_heads != first->n_heads || shape->key_dim != first->key_dim ||
      shape->value_dim != first->value_dim)
    return cli_codec_fail(sample->keys, "has another dtype, layers, heads or dimensions than %s",
                          making->samples[0].keys);
  return CLI_OK;
}

/* ---- what a profile gives ---- */

/* The factors of those samples of which index % modulo is rest, as a file. */
static kvs_status make_profile(struct making *making, size_t modulo, size_t rest)
{
  const struct kvi_codec_shape *shape = &making->shape;
  size_t units = cli_codec_units(shape), n = 0;
  struct kvi_codec_profile profile = {.n_layers = shape->n_layers,
                                      .n_heads = shape->n_heads,
                                      .key_dim = shape->key_dim,
                                      .value_dim = shape->value_dim};
  uint16_t *factors = malloc(units * sizeof *factors);
  double *sums = calloc(units, sizeof *sums);
  kvs_status status = KVS_ERR_NOMEM;

  for (size_t i = rest; sums != NULL && i < making->n_samples; i += modulo, n++)
    for (size_t unit = 0; unit < units; unit++)
      sums[unit] += making->squares[i * units + unit];
  profile.n_samples = (uint32_t)n;
  if (sums != NULL && factors != NULL) {
    cli_codec_factors(sums, units, factors);
    status = kvi_codec_profile_write(&profile, factors, making->profile);
  }
  free(factors);
  free(sums);
  return status;
}

/* One sample one way, at all qualities. */
static kvs_status try_way(struct making *making, int way, const struct cli_codec_chunk *chunk,
                          const struct cli_codec_queries *queries, const float *truth)
{
  struct kvi_codec_options coding = {
      .level = KVI_CODEC_LADDER, .planes = KVI_CODEC_PLANES_MAX, .step = way == COARSE ? COARSE_STEP : STEP};
  uint8_t *decoded = malloc((size_t)chunk->shape.raw_bytes);
  struct kvi_codec_profile profile;
  struct kvi_codec_object object;
  struct cli_codec_coder coder = {0};
  kvs_status status = decoded != NULL ? KVS_OK : KVS_ERR_NOMEM;

  if (status == KVS_OK && way == PROFILED) {
    coding.profile = &profile;
    status = kvi_codec_profile_open(making->profile, making->profile_size, &profile);
  }
  if (status == KVS_OK)
    status = cli_codec_coder_open(&chunk->shape, &coding, &coder);
  if (status == KVS_OK)
    status = cli_codec_coder_encode(&coder, chunk->raw);
  if (status == KVS_OK)
    status = kvi_codec_open(coder.out, coder.length, &object);
  for (uint32_t quality = 0; quality < QUALITIES && status == KVS_OK; quality++) {
    struct outcome *outcome = &making->outcomes[way][quality];
    struct cli_codec_error error = {0};
    uint32_t got;

    status =
        kvi_codec_decode(coder.out, coder.length, quality, decoded, (size_t)chunk->shape.raw_bytes, &got);
    if (status == KVS_OK)
      status = cli_codec_compare_raw(&chunk->shape, chunk->raw, decoded, queries, truth, &error);
    outcome->bits += (double)object.quality_end[quality] * 8 / (double)cli_codec_elements(&chunk->shape);
    outcome->keys += error.keys * error.keys;
    outcome->values += error.values * error.values;
    outcome->attention += error.attention * error.attention;
  }
  cli_codec_coder_close(&coder);
  free(decoded);
  return status;
}

/* One sample with a profile of the others: of every other sample, so that none is tried with what it said itself. A single one is. */
static kvs_status try_sample(struct making *making, size_t i, const struct cli_codec_chunk *chunk,
                             const struct cli_codec_queries *queries)
{
  float *truth = cli_codec_attend(&chunk->shape, chunk->raw, queries);
  kvs_status status = truth != NULL ? KVS_OK : KVS_ERR_NOMEM;

  if (status == KVS_OK)
    status = making->n_samples > 1 ? make_profile(making, 2, 1 - i % 2) : make_profile(making, 1, 0);
  for (int way = 0; way < WAYS && status == KVS_OK; way++)
    status = try_way(making, way, chunk, queries, truth);
  free(truth);
  return status;
}

static kvs_status measure_sample(struct making *making, size_t i, const struct cli_codec_chunk *chunk,
                                 const struct cli_codec_queries *queries)
{
  size_t units = cli_codec_units(&making->shape);

  if (making->squares == NULL) {
    making->profile_size = kvi_codec_profile_size(making->shape.n_layers, making->shape.n_heads);
    making->profile = malloc(making->profile_size);
    making->squares = calloc(making->n_samples, units * sizeof *making->squares);
  }
  if (making->squares == NULL || making->profile == NULL)
    return KVS_ERR_NOMEM;
  return cli_codec_measure(chunk, queries, making->squares + i * units);
}

typedef kvs_status (*sample_fn)(struct making *making, size_t i, const struct cli_codec_chunk *chunk,
                                const struct cli_codec_queries *queries);

static int take_sample(struct making *making, size_t i, const struct cli_codec_samples *files, sample_fn take)
{
  const struct sample *sample = &making->samples[i];
  struct cli_codec_queries queries;
  struct cli_codec_chunk chunk;
  int code = read_sample(making, files, sample, &chunk, &queries);

  if (code == CLI_OK) {
    kvs_status status = take(making, i, &chunk, &queries);

    if (status != KVS_OK)
      code =
          cli_codec_fail(sample->keys, "sequence %" PRIu64 ": %s", sample->sequence, kvs_status_text(status));
  }
  free(chunk.raw);
  free(queries.numbers);
  return code;
}

/* Reads every sample in turn. Its files stay in memory for those that follow it in them; of samples there is one. */
static int each_sample(struct making *making, sample_fn take)
{
  struct cli_codec_samples *files = NULL;
  int code = CLI_OK;

  for (size_t i = 0; i < making->n_samples && code == CLI_OK; i++) {
    const struct sample *sample = &making->samples[i];

    if (i == 0 || sample->keys != sample[-1].keys) { /* each file that was named is a text of its own */
      cli_codec_samples_close(files);
      code =
          cli_codec_samples_open(&cli_codec_profile, sample->keys, sample->values, sample->queries, &files);
    }
    if (code == CLI_OK)
      code = take_sample(making, i, files, take);
    cli_progress_at(&making->progress, ++making->done);
  }
  cli_codec_samples_close(files);
  return code;
}

/* ---- telling ---- */

#define CELL 24u

static double root(const struct making *making, double squares)
{
  return sqrt(squares / (double)making->n_samples);
}

/* Bits an element that a quality takes without a profile to err no more than with it, less what it takes with it. Not finite: that cannot be told. */
static double saved(const struct making *making, size_t quality, double *bits_p)
{
  const struct outcome *usual = &making->outcomes[USUAL][quality],
                       *coarse = &making->outcomes[COARSE][quality],
                       *profiled = &making->outcomes[PROFILED][quality];
  double n = (double)making->n_samples, slope = log(coarse->attention / usual->attention);

  *bits_p = usual->bits / n +
            (coarse->bits - usual->bits) / n * (log(profiled->attention / usual->attention) / slope);
  return *bits_p - profiled->bits / n;
}

static void print_gains(const struct making *making)
{
  const char *const headings[] = {"QUALITY",   "BITS", "ATTENTION", "WITH IT: BITS",
                                  "ATTENTION", "KEYS", "VALUES",    "SAVED"};
  const bool to_the_right[] = {true, true, true, true, true, true, true, true};
  struct cli_table *table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);

  for (size_t quality = 0; quality < QUALITIES; quality++) {
    const struct outcome *usual = &making->outcomes[USUAL][quality],
                         *profiled = &making->outcomes[PROFILED][quality];
    double n = (double)making->n_samples, equal, bits = saved(making, quality, &equal);
    char cells[8][CELL];

    snprintf(cells[0], CELL, "%zu", quality);
    snprintf(cells[1], CELL, "%.3f", usual->bits / n);
    snprintf(cells[2], CELL, "%.5f", root(making, usual->attention));
    snprintf(cells[3], CELL, "%.3f", profiled->bits / n);
    snprintf(cells[4], CELL, "%.5f", root(making, profiled->attention));
    snprintf(cells[5], CELL, "%.5f", root(making, profiled->keys));
    snprintf(cells[6], CELL, "%.5f", root(making, profiled->values));
    snprintf(cells[7], CELL, isfinite(bits) ? "%.1f %%" : "-", 100 * bits / equal);
    cli_table_row(table, (const char *const[]){cells[0], cells[1], cells[2], cells[3], cells[4], cells[5],
                                               cells[6], cells[7]});
  }
  cli_table_print(table, stdout);
  printf(
      "\nBits an element, all counted; errors are relative L2, of attention's output, and of keys and values "
      "around their channels' means.\n%s\nSaved: what the ladder takes without it at a step with which "
      "attention errs as with it, less what it takes with it.\n",
      making->n_samples > 1
          ? "Each sample was coded with a profile of half of the others, those that the file has "
            "between it and the next but one."
          : "There is only this sample, so that it was tried with what it said itself: others will gain "
            "less.");
}

static cJSON *outcome_json(const struct making *making, const struct outcome *outcome)
{
  cJSON *object = cJSON_CreateObject();

  cJSON_AddNumberToObject(object, "bits_per_element", outcome->bits / (double)making->n_samples);
  cJSON_AddNumberToObject(object, "keys", root(making, outcome->keys));
  cJSON_AddNumberToObject(object, "values", root(making, outcome->values));
  cJSON_AddNumberToObject(object, "attention", root(making, outcome->attention));
  return object;
}

static void print_gains_json(const struct making *making, const struct kvi_codec_profile *profile)
{
  cJSON *document = cli_codec_profile_json(profile);
  cJSON *rows = cJSON_AddArrayToObject(document, "qualities");
  char *json;

  cJSON_AddBoolToObject(document, "tried_on_others", making->n_samples > 1);
  for (size_t quality = 0; quality < QUALITIES; quality++) {
    cJSON *row = cJSON_CreateObject();
    double equal, bits = saved(making, quality, &equal);

    cJSON_AddItemToObject(row, "without", outcome_json(making, &making->outcomes[USUAL][quality]));
    cJSON_AddItemToObject(row, "with", outcome_json(making, &making->outcomes[PROFILED][quality]));
    if (isfinite(bits))
      cJSON_AddNumberToObject(row, "saved", bits / equal);
    else
      cJSON_AddNullToObject(row, "saved");
    cJSON_AddItemToArray(rows, row);
  }
  json = cJSON_PrintUnformatted(document);
  cli_print_json(json != NULL ? json : "{}");
  cJSON_free(json);
  cJSON_Delete(document);
}

/* ---- the command ---- */

static int list_samples(struct making *making, size_t n, char **keys, char *values, char *queries)
{
  const char *value_files[FILES_MAX], *query_files[FILES_MAX];
  uint64_t first, last;
  int code = CLI_OK;

  if (!parse_sequences(&first, &last))
    return cli_usage(&cli_codec_profile, "--sequences takes a number or two, as 0-3, not '%s'", sequences);
  if (n > FILES_MAX)
    return cli_usage(&cli_codec_profile, "takes at most %u files", FILES_MAX);
  if (!cut_list(values, value_files, n) || !cut_list(queries, query_files, n))
    return cli_usage(&cli_codec_profile,
                     "--values and --queries take %zu file%s, one for each SAMPLE, with commas between them",
                     n, n == 1 ? "" : "s");
  for (size_t i = 0; i < n && code == CLI_OK; i++)
    code = cli_codec_is_tensor(keys[i])
               ? add_samples(making, keys[i], value_files[i], query_files[i], first, last)
               : cli_codec_fail(keys[i], "is no .npy or .npy.zst");
  return code;
}

static int measure_and_try(struct making *making)
{
  int code;

  cli_progress_start(&making->progress, "samples, twice", 2 * (uint64_t)making->n_samples);
  code = each_sample(making, measure_sample);
  if (code == CLI_OK)
    code = each_sample(making, try_sample);
  cli_progress_end(&making->progress);
  if (code == CLI_OK && make_profile(making, 1, 0) != KVS_OK)
    code = cli_codec_fail(output, "there is no memory for it");
  return code;
}

static int write_profile(const struct making *making)
{
  struct cli_output file;
  int code = cli_output_begin(&file, output);

  if (code == CLI_OK)
    code = cli_output_write(&file, making->profile, making->profile_size);
  return cli_output_end(&file, code);
}

static int make(struct cli *cli, struct making *making)
{
  struct kvi_codec_profile profile;
  int code = measure_and_try(making);

  if (code == CLI_OK)
    code = write_profile(making);
  if (code != CLI_OK || kvi_codec_profile_open(making->profile, making->profile_size, &profile) != KVS_OK)
    return code;
  if (cli->json) {
    print_gains_json(making, &profile);
  } else {
    cli_codec_profile_print(output, &profile);
    putchar('\n');
    print_gains(making);
  }
  return CLI_OK;
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct making making = {0};
  char *values, *queries;
  int code;

  if (output == NULL)
    return cli_usage(&cli_codec_profile, "say with --output where the profile goes");
  if (values_list == NULL || queries_list == NULL)
    return cli_usage(&cli_codec_profile,
                     "needs --values and --queries: what matters to attention is what they say");
  values = strdup(values_list);
  queries = strdup(queries_list);
  code = values != NULL && queries != NULL ? list_samples(&making, (size_t)n, arguments, values, queries)
                                           : cli_codec_fail(output, "there is no memory for it");
  if (code == CLI_OK)
    code = make(cli, &making);
  free(making.samples);
  free(making.squares);
  free(making.profile);
  free(values);
  free(queries);
  return code;
}

const struct cli_command cli_codec_profile = {
    .name = "codec profile",
    .arguments = "SAMPLE...",
    .summary = "Learn from samples which heads of a model may be coarser",
    .details =
        "SAMPLE is a NumPy file with keys, as for encode; --values and --queries name as many files, with "
        "commas between\n"
        "them. Every sequence is a sample. What is learnt is how much an error of each head's keys and "
        "values "
        "changes what\n"
        "attention gives for the queries. With the profile, level ladder is finer where that is much and "
        "coarser where it is\n"
        "little; decoding does not need it. A table says what that gains.\n"
        "\n"
        "  kvasirctl codec profile k.npy --values v.npy --queries q.npy -o model.kvp\n"
        "  kvasirctl codec profile k1.npy k2.npy --values v1.npy,v2.npy --queries q1.npy,q2.npy -o "
        "model.kvp\n"
        "  kvasirctl codec encode k.npy --values v.npy --level ladder --profile model.kvp -o chunk.kvc",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = FILES_MAX,
    .local = true,
    .run = run,
};
