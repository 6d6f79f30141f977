/* Looking into objects: every byte of a sound one is told, and no bytes, however wrong, are read beyond their end. */
#include "tiers/codec/inspect.h"

#include "base/bytes.h"
#include "tests/unit/codec/layer_sample.h"

#define WIDE_COLUMN 100u

struct sample {
  struct kvi_codec_shape shape;
  uint8_t *raw, *bytes;
  size_t length;
  struct kvi_codec_object object;
};

static void encode_sample(struct sample *sample, const struct kvi_codec_options *options)
{
  size_t scratch_size = (kvi_codec_encode_scratch(&sample->shape, options) + 63) / 64 * 64;
  size_t room = (size_t)kvi_codec_bound(&sample->shape, options);
  void *scratch = aligned_alloc(64, scratch_size + 64);
  uint8_t *out = malloc(room);

  assert_non_null(scratch);
  assert_non_null(out);
  assert_int_equal(
      kvi_codec_encode(&sample->shape, options, sample->raw, scratch, out, room, &sample->length), KVS_OK);
  sample->bytes = malloc(sample->length);
  assert_non_null(sample->bytes);
  memcpy(sample->bytes, out, sample->length);
  free(out);
  free(scratch);
  assert_int_equal(kvi_codec_open(sample->bytes, sample->length, &sample->object), KVS_OK);
}

/* Makes one column of a layer's keys 16 times as wide, so that it needs deep digits. */
static void widen(const struct kvi_codec_shape *shape, uint8_t *rows, uint32_t column)
{
  for (uint32_t row = 0; row < shape->n_tokens; row++) {
    uint8_t *at = rows + ((size_t)row * shape->n_heads * shape->key_dim + column) * 2;

    kvi_store_le16(at, (uint16_t)(kvi_load_le16(at) + (4 << 7)));
  }
}

/* 2 layers of 3 heads of 96 and 40 dimensions; the last values are broken by a NaN and cannot be quantised. */
static struct sample make_sample(const struct kvi_codec_options *options)
{
  struct sample sample = {0};
  size_t at = 0;

  sample.shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 2, .n_tokens = 61, .n_heads = 3, .key_dim = 96, .value_dim = 40});
  sample.raw = malloc((size_t)sample.shape.raw_bytes);
  assert_non_null(sample.raw);
  for (uint32_t layer = 0; layer < 2; layer++) {
    uint8_t *rows = sample_layer(&sample.shape, layer, layer + 1, 1.0f);
    size_t bytes = (size_t)kvi_codec_layer_bytes(&sample.shape, layer);

    widen(&sample.shape, rows, WIDE_COLUMN);
    memcpy(sample.raw + at, rows, bytes);
    at += bytes;
    free(rows);
  }
  kvi_store_le16(sample.raw + at - 2, 0x7fc0);
  encode_sample(&sample, options);
  return sample;
}

static void free_sample(struct sample *sample)
{
  free(sample->raw);
  free(sample->bytes);
}

static const uint8_t *segment_of(const struct sample *sample, uint32_t quality, uint32_t layer)
{
  return sample->bytes + kvi_codec_segment_at(&sample->object, quality, layer).offset;
}

static uint32_t sum_of(const struct kvi_codec_block_parts *parts)
{
  return parts->head + parts->kept + parts->deep + parts->states + parts->words + parts->escapes +
         parts->verbatim;
}

struct totals {
  uint32_t blocks, modes[3], columns, kept, deep;
  uint64_t base, plane;
};

static struct totals walk(const struct sample *sample, uint32_t layer)
{
  uint32_t length = kvi_codec_segment_at(&sample->object, 0, layer).length;
  struct kvi_codec_inspection inspection;
  struct kvi_codec_block_info info;
  struct totals totals = {0};
  kvs_status status;

  assert_int_equal(
      kvi_codec_inspect_begin(&sample->object, layer, segment_of(sample, 0, layer), length, &inspection),
      KVS_OK);
  while ((status = kvi_codec_inspect_next(&inspection, &info)) == KVS_OK) {
    assert_int_equal(sum_of(&info.parts), info.base_bytes);
    assert_true(info.mode == KVI_BLOCK_LADDER || info.plane_bytes == 0);
    for (uint32_t column = 0; column < info.block.columns; column++) {
      assert_true(info.classes[column] < KVI_CODEC_CLASSES_MAX);
      assert_true(info.depths[column] < KVI_CODEC_DEPTHS);
      assert_true(info.shares[column] < 8);
      if (!info.block.is_value && info.block.first_column + column == WIDE_COLUMN)
        totals.deep += info.depths[column];
    }
    totals.blocks++;
    totals.modes[info.mode]++;
    totals.columns += info.block.columns;
    totals.kept += info.kept_fine + info.kept_raw;
    totals.base += info.base_bytes;
    totals.plane += info.plane_bytes;
  }
  assert_int_equal(status, KVS_MISS);
  assert_int_equal(totals.base, length);
  return totals;
}

static void tells_every_byte_of_a_ladder(void **state)
{
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 2};
  struct sample sample = make_sample(&options);

  (void)state;
  for (uint32_t layer = 0; layer < 2; layer++) {
    struct totals totals = walk(&sample, layer);

    assert_int_equal(totals.blocks, 4); /* keys: a head each; values: three heads in one */
    assert_int_equal(totals.columns, 3 * (96 + 40));
    assert_int_equal(totals.modes[KVI_BLOCK_LADDER], layer == 0 ? 4 : 3);
    assert_true(totals.kept > 0); /* the first tokens */
    assert_true(totals.deep > 0); /* of the wide column */
    for (uint32_t plane = 1; plane <= 2; plane++) {
      assert_int_equal(totals.plane, kvi_codec_segment_at(&sample.object, plane, layer).length);
      assert_true(kvi_codec_segment_sound(&sample.object, plane, layer, segment_of(&sample, plane, layer)));
    }
  }
  free_sample(&sample);
}

static void tells_every_byte_of_lossless(void **state)
{
  const struct kvi_codec_options options = {.level = KVI_CODEC_LOSSLESS};
  struct sample sample = make_sample(&options);

  (void)state;
  for (uint32_t layer = 0; layer < 2; layer++) {
    struct totals totals = walk(&sample, layer);

    assert_int_equal(totals.blocks, 4);
    assert_int_equal(totals.modes[KVI_BLOCK_LOSSLESS], 4);
    assert_int_equal(totals.plane, 0);
  }
  free_sample(&sample);
}

static void refuses_what_has_no_blocks(void **state)
{
  const struct kvi_codec_options raw = {.level = KVI_CODEC_RAW}, lossless = {.level = KVI_CODEC_LOSSLESS};
  struct sample sample = make_sample(&raw);
  struct kvi_codec_inspection inspection;
  uint32_t length = kvi_codec_segment_at(&sample.object, 0, 0).length;

  (void)state;
  assert_int_equal(kvi_codec_inspect_begin(&sample.object, 0, sample.bytes, length, &inspection),
                   KVS_ERR_UNSUPPORTED);
  free_sample(&sample);
  sample = make_sample(&lossless);
  length = kvi_codec_segment_at(&sample.object, 0, 0).length;
  assert_int_equal(kvi_codec_inspect_begin(&sample.object, 2, sample.bytes, length, &inspection),
                   KVS_ERR_INVALID);
  assert_int_equal(kvi_codec_inspect_begin(&sample.object, 0, sample.bytes, length - 1, &inspection),
                   KVS_ERR_INVALID);
  free_sample(&sample);
}

static void finds_a_wrong_checksum(void **state)
{
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 1};
  struct sample sample = make_sample(&options);

  (void)state;
  for (uint32_t quality = 0; quality <= 1; quality++) {
    struct kvi_codec_segment segment = kvi_codec_segment_at(&sample.object, quality, 1);

    assert_true(kvi_codec_segment_sound(&sample.object, quality, 1, sample.bytes + segment.offset));
    sample.bytes[segment.offset + segment.length / 2] ^= 1;
    assert_false(kvi_codec_segment_sound(&sample.object, quality, 1, sample.bytes + segment.offset));
  }
  free_sample(&sample);
}

/* Goes through a copy of a layer's base of exactly its length, so that a sanitizer sees a read behind it. */
static kvs_status walk_bytes(const struct sample *sample, const uint8_t *bytes, uint32_t length)
{
  struct kvi_codec_inspection inspection;
  struct kvi_codec_block_info info;
  kvs_status status = kvi_codec_inspect_begin(&sample->object, 0, bytes, length, &inspection);

  while (status == KVS_OK) {
    status = kvi_codec_inspect_next(&inspection, &info);
    if (status == KVS_OK)
      assert_int_equal(sum_of(&info.parts), info.base_bytes);
  }
  return status;
}

static void survives_any_byte(void **state)
{
  static const enum kvi_codec_level levels[] = {KVI_CODEC_LOSSLESS, KVI_CODEC_LADDER};

  (void)state;
  for (size_t i = 0; i < 2; i++) {
    const struct kvi_codec_options options = {.level = levels[i], .planes = 0};
    struct sample sample = make_sample(&options);
    uint32_t length = kvi_codec_segment_at(&sample.object, 0, 0).length, refused = 0;
    uint8_t *copy = malloc(length);
    kvi_rand rand;

    assert_non_null(copy);
    kvi_rand_seed(&rand, 7);
    for (uint32_t round = 0; round < 4000; round++) {
      /* The first half in front, where the lengths and counts lie. */
      uint32_t at = (uint32_t)(kvi_rand_next(&rand) % (round % 2 == 0 ? 700 : length));
      kvs_status status;

      memcpy(copy, segment_of(&sample, 0, 0), length);
      copy[at] = (uint8_t)kvi_rand_next(&rand);
      status = walk_bytes(&sample, copy, length);
      assert_true(status == KVS_MISS || status == KVS_ERR_CORRUPT);
      refused += status == KVS_ERR_CORRUPT;
    }
    assert_true(refused > 0);
    free(copy);
    free_sample(&sample);
  }
}

/* Says that the base of layer 0 is shorter than it is, as a forger would. */
static void survives_any_length(void **state)
{
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 0};
  struct sample sample = make_sample(&options);
  uint32_t length = kvi_codec_segment_at(&sample.object, 0, 0).length;

  (void)state;
  for (uint32_t cut = 0; cut < length; cut += 1 + cut / 64) {
    uint8_t *copy = malloc(cut + (cut == 0));

    assert_non_null(copy);
    memcpy(copy, segment_of(&sample, 0, 0), cut);
    kvi_store_le32((uint8_t *)sample.object.table, cut);
    assert_int_equal(walk_bytes(&sample, copy, cut), KVS_ERR_CORRUPT);
    kvi_store_le32((uint8_t *)sample.object.table, length);
    free(copy);
  }
  free_sample(&sample);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tells_every_byte_of_a_ladder),
      cmocka_unit_test(tells_every_byte_of_lossless),
      cmocka_unit_test(refuses_what_has_no_blocks),
      cmocka_unit_test(finds_a_wrong_checksum),
      cmocka_unit_test(survives_any_byte),
      cmocka_unit_test(survives_any_length),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
