/*
 * Objects that are damaged while all their checksums fit, as a writer that means harm makes them: every path refuses the same ones, and what
 * is accepted decodes to the same bytes. Buffers are of the exact size, so a sanitizer sees what reaches beyond.
 */
#include "codec_testing.h"

#define TRIES      150
#define TRIES_LONG 60

/* One or a few bytes of the segments become others, mostly small numbers and near ones. */
static void damage(uint8_t *bytes, size_t length, kvi_rand *rand)
{
  uint32_t header = kvi_load_le32(bytes + 8);
  uint64_t times = 1 + kvi_rand_below(rand, 4);

  while (times-- > 0) {
    uint64_t how = kvi_rand_below(rand, 4), reach = length - header;
    uint8_t *at;

    /* The heads of segments and blocks decide more than the rest. */
    if (kvi_rand_below(rand, 3) == 0 && reach > 600)
      reach = 600;
    at = bytes + header + kvi_rand_below(rand, reach);
    switch (how) {
    case 0:
      *at = (uint8_t)kvi_rand_next(rand);
      break;
    case 1:
      *at = (uint8_t)(*at + 1);
      break;
    case 2:
      *at = (uint8_t)(*at ^ 1u << kvi_rand_below(rand, 8));
      break;
    default:
      *at = (uint8_t)(0 - kvi_rand_below(rand, 2));
      break;
    }
  }
}

static void damage_many(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                        enum sample_kind kind, uint64_t seed, uint32_t tries)
{
  uint8_t *raw = sample_raw(shape, kind, seed), *decoded;
  struct object_bytes object, other;
  uint32_t quality, refused = 0;
  kvi_rand rand;

  object = encode_alike(shape, options, raw);
  kvi_rand_seed(&rand, seed);
  for (uint32_t i = 0; i < tries; i++) {
    kvs_status status;

    other = copy_bytes(object.bytes, object.length);
    damage(other.bytes, other.length, &rand);
    seal_segments(other.bytes, other.length, kvi_load_le32(other.bytes + 8));
    seal_header(other.bytes, kvi_load_le32(other.bytes + 8));
    status = decode_alike(other.bytes, other.length, i % 4, shape->raw_bytes, &decoded, &quality);
    assert_true(status == KVS_OK || status == KVS_ERR_CORRUPT);
    refused += status == KVS_ERR_CORRUPT;
    /* A lossless block knows what it was made of. */
    if (status == KVS_OK && options->level == KVI_CODEC_LOSSLESS && kind != SAMPLE_NOISE)
      assert_memory_equal(decoded, raw, shape->raw_bytes);
    free(decoded);
    free(other.bytes);
  }
  assert_in_range(refused, tries / 50, tries);
  free(object.bytes);
  free(raw);
}

static void damaged_blocks(void **state)
{
  static const enum kvi_codec_dtype dtypes[] = {KVI_CODEC_BF16, KVI_CODEC_FP16, KVI_CODEC_E4M3,
                                                KVI_CODEC_E5M2, KVI_CODEC_INT8};
  static const enum sample_kind kinds[] = {SAMPLE_GAUSSIAN, SAMPLE_WILD_CHANNEL, SAMPLE_SINKS, SAMPLE_OUTLIER,
                                           SAMPLE_WAVES};

  (void)state;
  for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
      struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
          .dtype = dtypes[d], .n_layers = 1, .n_tokens = 43, .n_heads = 2, .key_dim = 24, .value_dim = 40});
      struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 2};

      damage_many(&shape, &options, kinds[k], d * 10 + k, TRIES);
      if (k == 0) {
        options.level = KVI_CODEC_LOSSLESS;
        damage_many(&shape, &options, kinds[k], d, TRIES);
      }
    }
}

/* Coded rows that are long: the vector loops are in their middle when the words end. */
static void damaged_long_blocks(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 1, .n_tokens = 256, .n_heads = 1, .key_dim = 128, .start = 9});
  const struct kvi_codec_options ladder = {.level = KVI_CODEC_LADDER, .planes = 1},
                                 lossless = {.level = KVI_CODEC_LOSSLESS};

  (void)state;
  damage_many(&shape, &ladder, SAMPLE_GAUSSIAN, 1, TRIES_LONG);
  damage_many(&shape, &ladder, SAMPLE_OUTLIER, 2, TRIES_LONG);
  damage_many(&shape, &ladder, SAMPLE_WAVES, 5, TRIES_LONG);
  damage_many(&shape, &lossless, SAMPLE_GAUSSIAN, 3, TRIES_LONG);
}

/* A word, an escape or a low part less or more than there ought to be, with all counts but one made to fit. */
static void one_count_too_many_or_few(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 1, .n_tokens = 20, .n_heads = 1, .key_dim = 32, .start = 9});
  static const enum kvi_codec_level levels[] = {KVI_CODEC_LADDER, KVI_CODEC_LOSSLESS};
  static const int32_t changes[] = {-1, 1, -1000, 1000, INT32_MIN, INT32_MAX};

  (void)state;
  for (int level = 0; level < 2; level++) {
    const struct kvi_codec_options options = {.level = levels[level]};
    uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 4), *decoded;
    struct object_bytes object = encode_alike(&shape, &options, raw);
    uint32_t header = kvi_load_le32(object.bytes + 8), quality;
    /* Behind the block's header: the ladder's steps and channels, or the checksum and the channels. */
    size_t states = header + 8 + (level == 0 ? 2 : 4) + 2 * 32;

    assert_int_equal(object.bytes[header], level == 0 ? 2 : 1); /* coded, and not as it is */
    for (size_t column = 0, third = states; level == 0 && column < 32; column++)
      if ((object.bytes[header + 10 + column] & 128) != 0)
        states += 1 + (object.bytes[third++] & 3u) * 4; /* a third byte, and deep digits */

    for (size_t count = 0; count < 2; count++)
      for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint8_t *at = object.bytes + states + 128 + count * 4;
        uint32_t was = kvi_load_le32(at);

        kvi_store_le32(at, was + (uint32_t)changes[i]);
        seal_segments(object.bytes, object.length, kvi_load_le32(object.bytes + 8));
        seal_header(object.bytes, kvi_load_le32(object.bytes + 8));
        assert_int_equal(decode_alike(object.bytes, object.length, 0, shape.raw_bytes, &decoded, &quality),
                         KVS_ERR_CORRUPT);
        kvi_store_le32(at, was);
      }
    for (size_t lane = 0; lane < 32; lane++) {
      uint8_t *at = object.bytes + states + lane * 4;
      uint32_t was = kvi_load_le32(at);

      /* Another sound state may well be another sound block: only a lossless one knows. */
      kvi_store_le32(at, lane % 2 == 0 || level == 0 ? 0xffff : was ^ 1);
      seal_segments(object.bytes, object.length, kvi_load_le32(object.bytes + 8));
      seal_header(object.bytes, kvi_load_le32(object.bytes + 8));
      assert_int_equal(decode_alike(object.bytes, object.length, 0, shape.raw_bytes, &decoded, &quality),
                       KVS_ERR_CORRUPT);
      kvi_store_le32(at, was);
    }
    seal_segments(object.bytes, object.length, kvi_load_le32(object.bytes + 8));
    seal_header(object.bytes, kvi_load_le32(object.bytes + 8));
    assert_int_equal(decode_alike(object.bytes, object.length, 0, shape.raw_bytes, &decoded, &quality),
                     KVS_OK);
    free(decoded);
    free(object.bytes);
    free(raw);
  }
}

/* Every byte of a small object in turn without the checksums made to fit: all are refused. */
static void checksums_see_every_byte(void **state)
{
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_E4M3, .n_layers = 2, .n_tokens = 12, .n_heads = 1, .key_dim = 16, .value_dim = 8});

  (void)state;
  for (int level = KVI_CODEC_RAW; level <= KVI_CODEC_ZSTD; level++) {
    const struct kvi_codec_options options = {.level = (enum kvi_codec_level)level, .planes = 1};
    uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 4);
    struct object_bytes object = encode_alike(&shape, &options, raw);

    for (size_t at = 0; at < object.length; at++) {
      uint32_t quality;
      uint8_t *decoded;
      kvs_status status;

      object.bytes[at] = (uint8_t)(object.bytes[at] ^ 1u << at % 8);
      status = decode_object(object.bytes, object.length, 3, shape.raw_bytes, &decoded, &quality);
      assert_true(status == KVS_ERR_CORRUPT || (status == KVS_ERR_UNSUPPORTED && at >= 4 && at <= 6));
      object.bytes[at] = (uint8_t)(object.bytes[at] ^ 1u << at % 8);
      free(decoded);
    }
    for (size_t length = 0; length < object.length; length++) {
      struct object_bytes cut = copy_bytes(object.bytes, length);
      struct kvi_codec_object opened;
      uint32_t quality;
      uint8_t *decoded;
      kvs_status status = decode_object(cut.bytes, length, 3, shape.raw_bytes, &decoded, &quality);

      assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
      assert_int_equal(status, length < opened.quality_end[0] ? KVS_ERR_CORRUPT : KVS_OK);
      free(decoded);
      free(cut.bytes);
    }
    free(object.bytes);
    free(raw);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damaged_blocks),
      cmocka_unit_test(damaged_long_blocks),
      cmocka_unit_test(one_count_too_many_or_few),
      cmocka_unit_test(checksums_see_every_byte),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
