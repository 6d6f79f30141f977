/* client/cli/codec_inspect.c: kvasirctl codec inspect. */
#include <inttypes.h>
#include <string.h>

#include "base/array.h"
#include "client/cli/codec_survey.h"

#define CELL 24u

static const char *const class_sets[] = {"lossless", "ladder"};

/* What a report is made of. */
struct report {
  const char *path;
  const struct cli_codec_object *file;
  const struct kvi_codec_object *object;
  const struct kvi_codec_shape *shape;
  const struct cli_codec_survey *survey;
};

static double per_element(double bytes, double elements)
{
  return elements > 0 ? bytes * 8 / elements : 0;
}

static double layer_elements(const struct kvi_codec_shape *shape, uint32_t layer)
{
  return (double)kvi_codec_layer_bytes(shape, layer) / (double)kvi_codec_element_size(shape->dtype);
}

/* ---- for people ---- */

static void print_head(const struct report *report)
{
  const struct kvi_codec_object *object = report->object;
  char text[CLI_CODEC_SHAPE_TEXT], length[CLI_SIZE_TEXT], raw[CLI_SIZE_TEXT];
  bool profile = false;

  for (size_t i = 0; i < sizeof object->profile; i++)
    profile = profile || object->profile[i] != 0;
  printf("%s: KVC1 version %u, level %s", report->path, KVI_CODEC_VERSION,
         cli_codec_level_name(object->level));
  if (object->level == KVI_CODEC_LADDER)
    printf(", %" PRIu32 " planes", object->planes);
  printf("\n%s", cli_codec_shape_text(report->shape, text));
  if (report->shape->rotary_dim > 0)
    printf(", rotary the last %" PRIu32, report->shape->rotary_dim);
  if (report->shape->start > 0)
    printf(", from token %" PRIu32 " on", report->shape->start);
  if (report->shape->first_token != NULL)
    printf(", sliding windows");
  if (object->model_fingerprint != 0)
    printf(", model %016" PRIx64, object->model_fingerprint);
  printf("%s\n", profile ? ", needs a profile" : "");
  printf("%s raw, %s whole: %.3f bits an element, %.2f times smaller\n",
         cli_size_text((double)report->shape->raw_bytes, raw), cli_size_text((double)object->length, length),
         per_element((double)object->length, (double)cli_codec_elements(report->shape)),
         (double)report->shape->raw_bytes / (double)object->length);
}

static void print_state(const struct report *report)
{
  const struct cli_codec_survey *survey = report->survey;
  uint64_t length = report->object->length;

  if (report->file->size < length)
    printf("cut: %zu of %" PRIu64 " bytes are there, %s\n", report->file->size, length,
           report->file->quality < 0 ? "not all layers of the base"
                                     : "with the qualities that the table names");
  else if (report->file->size > length)
    printf("%" PRIu64 " bytes stand behind its end\n", (uint64_t)(report->file->size - length));
  if (survey->n_damaged + survey->n_damaged_layers > 0)
    printf("DAMAGED: %" PRIu32 " segments do not fit their checksums, %" PRIu32
           " layers do not decode or not wholly\n",
           survey->n_damaged, survey->n_damaged_layers);
  else if (survey->n_untried > 0)
    printf("the checksums of header and %" PRIu32 " segments fit; %" PRIu32
           " layers cannot be decoded here, so more is not known\n",
           survey->n_sound, survey->n_untried);
  else
    printf("sound: the checksums of header and %" PRIu32
           " segments fit, and every layer that is there decodes\n",
           survey->n_sound);
}

static void print_qualities(const struct report *report)
{
  const char *const headings[] = {"QUALITY", "CUT AT", "BITS/ELEMENT", "RATIO", "THERE"};
  const bool to_the_right[] = {true, true, true, true, false};
  struct cli_table *table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);
  double elements = (double)cli_codec_elements(report->shape);

  for (uint32_t quality = 0; quality <= report->object->planes; quality++) {
    uint64_t end = report->object->quality_end[quality];
    char name[CELL], at[CELL], bits[CELL], ratio[CELL];

    snprintf(name, sizeof name, "%" PRIu32, quality);
    snprintf(at, sizeof at, "%" PRIu64, end);
    snprintf(bits, sizeof bits, "%.3f", per_element((double)end, elements));
    snprintf(ratio, sizeof ratio, "%.2f", (double)report->shape->raw_bytes / (double)end);
    cli_table_row(table, (const char *const[]){name, at, bits, ratio,
                                               (int)quality <= report->file->quality ? "yes" : "no"});
  }
  putchar('\n');
  cli_table_print(table, stdout);
}

/* Bytes, and bits an element, of one segment. */
static void segment_cells(const struct report *report, uint32_t layer, uint32_t quality, char bytes[CELL],
                          char bits[CELL])
{
  static const char *const states[] = {"", "cut off", "DAMAGED", ""};
  const struct cli_codec_layer *row = &report->survey->layers[layer];

  snprintf(bytes, CELL, "%" PRIu32, row->bytes[quality]);
  if (row->state[quality] == CLI_SEGMENT_SOUND)
    snprintf(bits, CELL, "%.3f", per_element(row->bytes[quality], layer_elements(report->shape, layer)));
  else
    snprintf(bits, CELL, "%s", states[row->state[quality]]);
}

#define LAYER_COLUMNS (2u + 2u * CLI_CODEC_QUALITIES + 4u)

static void add_layer(struct cli_table *table, const struct report *report, uint32_t layer)
{
  const struct cli_codec_layer *row = &report->survey->layers[layer];
  char cells[LAYER_COLUMNS][CELL];
  const char *texts[LAYER_COLUMNS];
  size_t n = 2;

  snprintf(cells[0], CELL, "%" PRIu32, layer);
  snprintf(cells[1], CELL, "%" PRIu32,
           report->shape->dtype == KVI_CODEC_BYTES ? 0 : kvi_codec_layer_rows(report->shape, layer));
  for (uint32_t quality = 0; quality <= report->object->planes; quality++, n += 2)
    segment_cells(report, layer, quality, cells[n], cells[n + 1]);
  for (size_t mode = 0; report->survey->has_blocks && mode < KVI_ARRAY_SIZE(row->blocks); mode++)
    snprintf(cells[n++], CELL, "%" PRIu32, row->blocks[mode]);
  if (report->survey->has_blocks)
    snprintf(cells[n++], CELL, "%" PRIu32, row->kept_fine + row->kept_raw);
  for (size_t i = 0; i < n; i++)
    texts[i] = cells[i];
  cli_table_row(table, texts);
}

static void print_layers(const struct report *report)
{
  static const char *const planes[] = {"BASE", "PLANE 1", "PLANE 2", "PLANE 3"};
  const char *headings[LAYER_COLUMNS] = {"LAYER", "TOKENS"};
  bool to_the_right[LAYER_COLUMNS];
  struct cli_table *table;
  size_t n = 2;

  memset(to_the_right, true, sizeof to_the_right);
  for (uint32_t quality = 0; quality <= report->object->planes; quality++) {
    headings[n++] = planes[quality];
    headings[n++] = "BITS";
  }
  if (report->survey->has_blocks) {
    headings[n++] = "RAW";
    headings[n++] = "LOSSLESS";
    headings[n++] = "LADDER";
    headings[n++] = "KEPT";
  }
  table = cli_table_new(n, headings, to_the_right);
  for (uint32_t layer = 0; layer < report->shape->n_layers; layer++)
    add_layer(table, report, layer);
  putchar('\n');
  cli_table_print(table, stdout);
  if (report->survey->has_blocks)
    puts(
        "Bytes and bits an element of each segment; blocks by mode; rows kept apart, finer than the others.");
}

struct part {
  const char *name, *json;
  uint64_t bytes;
};

#define PARTS 7u

static void list_parts(const struct cli_codec_survey *survey, struct part parts[PARTS])
{
  const struct part list[PARTS] = {{"heads, classes, means", "head", survey->head},
                                   {"rows kept apart", "kept", survey->kept},
                                   {"deep digits", "deep", survey->deep},
                                   {"coders' states", "states", survey->states},
                                   {"entropy-coded", "words", survey->words},
                                   {"escapes", "escapes", survey->escapes},
                                   {"bits as they were", "verbatim", survey->verbatim}};

  memcpy(parts, list, sizeof list);
}

static void print_parts(const struct report *report)
{
  const char *const headings[] = {"BASE", "BYTES", "BITS/ELEMENT"};
  const bool to_the_right[] = {false, true, true};
  struct cli_table *table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);
  double elements = (double)cli_codec_elements(report->shape);
  struct part parts[PARTS];

  list_parts(report->survey, parts);
  for (size_t i = 0; i < PARTS; i++) {
    char bytes[CELL], bits[CELL];

    if (parts[i].bytes == 0)
      continue;
    snprintf(bytes, sizeof bytes, "%" PRIu64, parts[i].bytes);
    snprintf(bits, sizeof bits, "%.3f", per_element((double)parts[i].bytes, elements));
    cli_table_row(table, (const char *const[]){parts[i].name, bytes, bits});
  }
  putchar('\n');
  cli_table_print(table, stdout);
}

static uint64_t largest(const uint64_t classes[2][KVI_CODEC_CLASSES_MAX])
{
  uint64_t most = 0;

  for (size_t i = 0; i < KVI_CODEC_CLASSES_MAX; i++)
    if (classes[0][i] + classes[1][i] > most)
      most = classes[0][i] + classes[1][i];
  return most;
}

/* Columns by class: a higher class is a wider distribution. */
static void print_classes(const struct report *report, size_t set)
{
  enum { WIDTH = 40 };
  const char *const headings[] = {"CLASS", "KEYS", "VALUES", ""};
  const bool to_the_right[] = {true, true, true, false};
  const uint64_t(*classes)[KVI_CODEC_CLASSES_MAX] = report->survey->classes[set];
  uint64_t most = largest(classes);
  struct cli_table *table;

  if (most == 0)
    return;
  table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);
  for (size_t i = 0; i < KVI_CODEC_CLASSES_MAX; i++) {
    uint64_t both = classes[0][i] + classes[1][i];
    size_t length = (size_t)((both * WIDTH + most - 1) / most);
    char name[CELL], keys[CELL], values[CELL], bar[WIDTH + 1];

    if (both == 0)
      continue;
    snprintf(name, sizeof name, "%zu", i);
    snprintf(keys, sizeof keys, "%" PRIu64, classes[0][i]);
    snprintf(values, sizeof values, "%" PRIu64, classes[1][i]);
    memset(bar, '#', length);
    bar[length] = '\0';
    cli_table_row(table, (const char *const[]){name, keys, values, bar});
  }
  printf("\nChannels of %s blocks by class:\n", class_sets[set]);
  cli_table_print(table, stdout);
}

static void print_all(const struct report *report)
{
  const uint64_t *depths = report->survey->depths;

  print_head(report);
  print_state(report);
  print_qualities(report);
  print_layers(report);
  if (!report->survey->has_blocks)
    return;
  print_parts(report);
  for (size_t set = 0; set < KVI_ARRAY_SIZE(class_sets); set++)
    print_classes(report, set);
  if (report->object->level == KVI_CODEC_LADDER)
    printf("Of them with deep digits: %" PRIu64 " with 1, %" PRIu64 " with 2, %" PRIu64
           " with 3. Predicted by the token before: %" PRIu64 ".\n",
           depths[1], depths[2], depths[3], report->survey->predicted);
}

/* ---- for programs ---- */

static void add_qualities(const struct report *report, cJSON *document)
{
  cJSON *rows = cJSON_AddArrayToObject(document, "qualities");

  for (uint32_t quality = 0; quality <= report->object->planes; quality++) {
    cJSON *row = cJSON_CreateObject();
    double end = (double)report->object->quality_end[quality];

    cJSON_AddNumberToObject(row, "quality", quality);
    cJSON_AddNumberToObject(row, "cut_at", end);
    cJSON_AddNumberToObject(row, "bits_per_element",
                            per_element(end, (double)cli_codec_elements(report->shape)));
    cJSON_AddBoolToObject(row, "there", (int)quality <= report->file->quality);
    cJSON_AddItemToArray(rows, row);
  }
}

static cJSON *layer_json(const struct report *report, uint32_t layer)
{
  static const char *const states[] = {"none", "cut", "damaged", "sound"};
  const struct cli_codec_layer *row = &report->survey->layers[layer];
  cJSON *object = cJSON_CreateObject(), *segments, *blocks;

  cJSON_AddNumberToObject(object, "layer", layer);
  cJSON_AddBoolToObject(object, "damaged", row->damaged);
  segments = cJSON_AddArrayToObject(object, "segments");
  for (uint32_t quality = 0; quality <= report->object->planes; quality++) {
    cJSON *segment = cJSON_CreateObject();

    cJSON_AddNumberToObject(segment, "bytes", row->bytes[quality]);
    cJSON_AddNumberToObject(segment, "bits_per_element",
                            per_element(row->bytes[quality], layer_elements(report->shape, layer)));
    cJSON_AddStringToObject(segment, "state", states[row->state[quality]]);
    cJSON_AddItemToArray(segments, segment);
  }
  if (!report->survey->has_blocks)
    return object;
  blocks = cJSON_AddObjectToObject(object, "blocks");
  cJSON_AddNumberToObject(blocks, "raw", row->blocks[KVI_BLOCK_RAW]);
  cJSON_AddNumberToObject(blocks, "lossless", row->blocks[KVI_BLOCK_LOSSLESS]);
  cJSON_AddNumberToObject(blocks, "ladder", row->blocks[KVI_BLOCK_LADDER]);
  cJSON_AddNumberToObject(object, "kept_fine", row->kept_fine);
  cJSON_AddNumberToObject(object, "kept_raw", row->kept_raw);
  return object;
}

static void add_classes(const struct report *report, cJSON *document)
{
  static const char *const planes[] = {"keys", "values"};
  cJSON *classes = cJSON_AddObjectToObject(document, "classes");

  for (size_t set = 0; set < KVI_ARRAY_SIZE(class_sets); set++) {
    cJSON *object = cJSON_AddObjectToObject(classes, class_sets[set]);

    for (size_t plane = 0; plane < KVI_ARRAY_SIZE(planes); plane++) {
      cJSON *counts = cJSON_AddArrayToObject(object, planes[plane]);

      for (size_t i = 0; i < KVI_CODEC_CLASSES_MAX; i++)
        cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)report->survey->classes[set][plane][i]));
    }
  }
}

static void add_parts(const struct report *report, cJSON *document)
{
  cJSON *object = cJSON_AddObjectToObject(document, "base_parts");
  struct part parts[PARTS];

  list_parts(report->survey, parts);
  for (size_t i = 0; i < PARTS; i++)
    cJSON_AddNumberToObject(object, parts[i].json, (double)parts[i].bytes);
}

static void print_json(const struct report *report)
{
  cJSON *document = cJSON_CreateObject(), *layers;
  char text[CELL], *json;

  cJSON_AddNumberToObject(document, "version", 1);
  cJSON_AddStringToObject(document, "level", cli_codec_level_name(report->object->level));
  cJSON_AddNumberToObject(document, "planes", report->object->planes);
  cli_codec_shape_json(report->shape, document);
  cJSON_AddNumberToObject(document, "bytes", (double)report->object->length);
  cJSON_AddNumberToObject(document, "bytes_there", (double)report->file->size);
  cJSON_AddNumberToObject(document, "quality", report->file->quality);
  snprintf(text, sizeof text, "%016" PRIx64, report->object->model_fingerprint);
  cJSON_AddStringToObject(document, "model_fingerprint", text);
  cJSON_AddBoolToObject(document, "sound", report->survey->n_damaged + report->survey->n_damaged_layers == 0);
  add_qualities(report, document);
  layers = cJSON_AddArrayToObject(document, "per_layer");
  for (uint32_t layer = 0; layer < report->shape->n_layers; layer++)
    cJSON_AddItemToArray(layers, layer_json(report, layer));
  if (report->survey->has_blocks) {
    add_parts(report, document);
    add_classes(report, document);
  }
  json = cJSON_PrintUnformatted(document);
  cli_print_json(json != NULL ? json : "{}");
  cJSON_free(json);
  cJSON_Delete(document);
}

/* ---- the command ---- */

static int run(struct cli *cli, int n, char **arguments)
{
  struct cli_codec_object object;
  struct cli_codec_survey survey;
  struct report report = {.path = arguments[0],
                          .file = &object,
                          .object = &object.object,
                          .shape = &object.object.shape,
                          .survey = &survey};
  int code;

  (void)n;
  if (cli_codec_is_profile(arguments[0]))
    return cli_codec_profile_inspect(cli, arguments[0]);
  code = cli_codec_object_open(arguments[0], &object);
  if (code != CLI_OK)
    return code;
  if (cli_codec_survey(&object, &survey)) {
    if (cli->json)
      print_json(&report);
    else
      print_all(&report);
    if (survey.n_damaged + survey.n_damaged_layers > 0)
      code = cli_codec_fail(arguments[0], "is damaged");
    cli_codec_survey_free(&survey);
  } else {
    code = cli_codec_fail(arguments[0], "there is no memory to check it");
  }
  cli_codec_object_close(&object);
  return code;
}

const struct cli_command cli_codec_inspect = {
    .name = "codec inspect",
    .arguments = "FILE",
    .summary = "What an object holds, and whether it is sound",
    .details = "FILE is an object (KVC1), whole or cut. Shows its header, where it can be cut, bytes and "
               "bits an element of\n"
               "each layer's base and planes, how its blocks are coded and by which classes. Compares every "
               "checksum and\n"
               "decodes every layer; what is damaged ends with exit status 4. Of a profile (KVP1) it shows "
               "by how much "
               "each\n"
               "layer's steps are coarser or finer.\n"
               "\n"
               "  kvasirctl codec inspect chunk.kvc\n"
               "  kvasirctl codec inspect chunk.kvc --json",
    .words = "@file",
    .min_arguments = 1,
    .max_arguments = 1,
    .local = true,
    .run = run,
};
