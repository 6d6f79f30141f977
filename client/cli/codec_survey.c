#include "client/cli/codec_survey.h"

#include <stdlib.h>
#include <string.h>

/* Memory that a layer decodes to. */
struct landing {
  struct kvi_codec_place place;
  uint8_t *keys, *values;
};

static bool make_landing(const struct kvi_codec_shape *shape, struct landing *landing)
{
  size_t row = (size_t)shape->n_heads * kvi_codec_element_size(shape->dtype), rows = shape->n_tokens;
  size_t key_row = row * shape->key_dim, value_row = row * shape->value_dim;

  if (shape->dtype == KVI_CODEC_BYTES) {
    rows = 1;
    key_row = (size_t)shape->raw_bytes;
  }
  landing->keys = malloc(rows * key_row + 1);
  landing->values = malloc(rows * value_row + 1);
  landing->place = (struct kvi_codec_place){landing->keys, landing->values, key_row, value_row};
  return landing->keys != NULL && landing->values != NULL;
}

static void survey_segments(const struct cli_codec_object *object, uint32_t index,
                            struct cli_codec_survey *survey)
{
  struct cli_codec_layer *layer = &survey->layers[index];

  for (uint32_t quality = 0; quality <= object->object.planes; quality++) {
    struct kvi_codec_segment segment = kvi_codec_segment_at(&object->object, quality, index);

    layer->bytes[quality] = segment.length;
    if (segment.offset > object->size || object->size - segment.offset < segment.length) {
      layer->state[quality] = CLI_SEGMENT_CUT;
      survey->n_cut++;
    } else if (kvi_codec_segment_sound(&object->object, quality, index, object->bytes + segment.offset)) {
      layer->state[quality] = CLI_SEGMENT_SOUND;
      survey->n_sound++;
    } else {
      layer->state[quality] = CLI_SEGMENT_DAMAGED;
      layer->damaged = true;
      survey->n_damaged++;
    }
  }
}

static void add_block(const struct kvi_codec_block_info *info, struct cli_codec_layer *layer,
                      struct cli_codec_survey *survey)
{
  layer->blocks[info->mode]++;
  layer->kept_fine += info->kept_fine;
  layer->kept_raw += info->kept_raw;
  survey->head += info->parts.head;
  survey->kept += info->parts.kept;
  survey->deep += info->parts.deep;
  survey->states += info->parts.states;
  survey->words += info->parts.words;
  survey->escapes += info->parts.escapes;
  survey->verbatim += info->parts.verbatim;
  for (uint32_t column = 0; info->mode != KVI_BLOCK_RAW && column < info->block.columns; column++) {
    survey->classes[info->mode == KVI_BLOCK_LADDER][info->block.is_value][info->classes[column]]++;
    if (info->mode == KVI_BLOCK_LADDER) {
      survey->depths[info->depths[column]]++;
      survey->predicted += info->shares[column] > 0;
    }
  }
}

static void survey_blocks(const struct cli_codec_object *object, uint32_t index,
                          struct cli_codec_survey *survey)
{
  struct kvi_codec_segment base = kvi_codec_segment_at(&object->object, 0, index);
  struct kvi_codec_inspection inspection;
  struct kvi_codec_block_info info;
  kvs_status status =
      kvi_codec_inspect_begin(&object->object, index, object->bytes + base.offset, base.length, &inspection);

  survey->has_blocks = status == KVS_OK;
  while (status == KVS_OK && (status = kvi_codec_inspect_next(&inspection, &info)) == KVS_OK)
    add_block(&info, &survey->layers[index], survey);
  if (status == KVS_ERR_CORRUPT)
    survey->layers[index].damaged = true;
}

/* Decodes with all planes that are there without a gap. */
static void try_decoding(const struct cli_codec_object *object, uint32_t index, const struct landing *landing,
                         struct cli_codec_survey *survey)
{
  struct cli_codec_layer *layer = &survey->layers[index];
  const uint8_t *segments[CLI_CODEC_QUALITIES];
  kvs_status status = KVS_OK;
  uint32_t n = 0;

  for (; n <= object->object.planes && layer->state[n] == CLI_SEGMENT_SOUND; n++)
    segments[n] = object->bytes + kvi_codec_segment_at(&object->object, n, index).offset;
  if (n > 0)
    status = kvi_codec_decode_layer(&object->object, index, n - 1, segments, &landing->place);
  if (status == KVS_ERR_CORRUPT)
    layer->damaged = true;
  else if (status != KVS_OK)
    survey->n_untried++;
}

bool cli_codec_survey(const struct cli_codec_object *object, struct cli_codec_survey *survey_p)
{
  uint32_t n_layers = object->object.shape.n_layers;
  struct landing landing = {0};
  struct cli_progress progress;
  bool made;

  memset(survey_p, 0, sizeof *survey_p);
  survey_p->layers = calloc(n_layers, sizeof *survey_p->layers);
  made = make_landing(&object->object.shape, &landing) && survey_p->layers != NULL;
  cli_progress_start(&progress, "checking", object->object.shape.raw_bytes);
  for (uint32_t index = 0; made && index < n_layers; index++) {
    survey_segments(object, index, survey_p);
    if (survey_p->layers[index].state[0] == CLI_SEGMENT_SOUND) {
      survey_blocks(object, index, survey_p);
      try_decoding(object, index, &landing, survey_p);
    }
    survey_p->n_damaged_layers += survey_p->layers[index].damaged;
    cli_progress_at(&progress, object->object.shape.raw_bytes / n_layers * (index + 1));
  }
  cli_progress_end(&progress);
  free(landing.keys);
  free(landing.values);
  if (!made)
    cli_codec_survey_free(survey_p);
  return made;
}

void cli_codec_survey_free(struct cli_codec_survey *survey)
{
  free(survey->layers);
  memset(survey, 0, sizeof *survey);
}
