/* The header of an object: each field that does not fit is refused, and segments lie where the page says. */
#include "codec_testing.h"

static const uint16_t first[] = {0, 3, 19};

static struct kvi_codec_shape windows(void)
{
  return layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                              .n_layers = 3,
                                              .n_tokens = 20,
                                              .n_heads = 2,
                                              .key_dim = 24,
                                              .value_dim = 16,
                                              .rotary_dim = 8,
                                              .start = 77,
                                              .first_token = first});
}

static struct object_bytes sound_object(void)
{
  struct kvi_codec_shape shape = windows();
  const struct kvi_codec_options options = {
      .level = KVI_CODEC_LADDER, .planes = 2, .model_fingerprint = 0x1122334455667788u};
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 3);
  struct object_bytes object = encode_alike(&shape, &options, raw);

  free(raw);
  return object;
}

static void a_header_says_what_was_encoded(void **state)
{
  struct object_bytes object = sound_object();
  struct kvi_codec_object opened;
  uint32_t length;

  (void)state;
  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  assert_int_equal(kvi_codec_header_length(object.bytes, &length), KVS_OK);
  assert_int_equal(length, 80 + 8 + 3 * 3 * 8);
  assert_int_equal(opened.header_length, length);
  assert_ptr_equal(opened.table, object.bytes + 88);
  assert_int_equal(opened.length, object.length);
  assert_int_equal(opened.level, KVI_CODEC_LADDER);
  assert_int_equal(opened.planes, 2);
  assert_true(opened.model_fingerprint == 0x1122334455667788u);
  assert_int_equal(opened.shape.dtype, KVI_CODEC_BF16);
  assert_int_equal(opened.shape.n_layers, 3);
  assert_int_equal(opened.shape.n_tokens, 20);
  assert_int_equal(opened.shape.n_heads, 2);
  assert_int_equal(opened.shape.key_dim, 24);
  assert_int_equal(opened.shape.value_dim, 16);
  assert_int_equal(opened.shape.rotary_dim, 8);
  assert_int_equal(opened.shape.start, 77);
  assert_int_equal(opened.shape.raw_bytes, (20 + 17 + 1) * 2 * 40 * 2);
  assert_memory_equal(opened.shape.first_token, first, sizeof first);
  assert_int_equal(kvi_codec_layer_rows(&opened.shape, 2), 1);
  assert_int_equal(kvi_codec_layer_key_bytes(&opened.shape, 1), 17 * 2 * 24 * 2);
  assert_int_equal(kvi_codec_layer_bytes(&opened.shape, 1), 17 * 2 * 40 * 2);
  assert_int_equal(kvi_codec_layer_bytes_max(&opened.shape), 20 * 2 * 40 * 2);
  assert_int_equal(kvi_codec_layer_offset(&opened.shape, 2), 37 * 2 * 40 * 2);
  free(object.bytes);
}

/* Segments follow each other from the header to the end, quality by quality. */
static void segments_fill_the_object(void **state)
{
  struct object_bytes object = sound_object();
  struct kvi_codec_object opened;
  uint64_t at;

  (void)state;
  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  at = opened.header_length;
  for (uint32_t quality = 0; quality <= 2; quality++) {
    for (uint32_t layer = 0; layer < 3; layer++) {
      struct kvi_codec_segment segment = kvi_codec_segment_at(&opened, quality, layer);

      assert_int_equal(segment.offset, at);
      assert_int_equal(segment.crc32c, kvi_crc32c_update(0, object.bytes + at, segment.length));
      at += segment.length;
    }
    assert_int_equal(opened.quality_end[quality], at);
    assert_int_equal(kvi_codec_quality_in(&opened, at), quality);
    assert_int_equal(kvi_codec_quality_in(&opened, at - 1), (int)quality - 1);
  }
  assert_int_equal(at, object.length);
  assert_int_equal(kvi_codec_quality_in(&opened, 0), -1);
  assert_int_equal(kvi_codec_quality_in(&opened, UINT64_MAX), 2);
  free(object.bytes);
}

struct change {
  size_t at, size;
  uint64_t value;
  kvs_status status;
};

static void put(uint8_t *at, size_t size, uint64_t value)
{
  for (size_t i = 0; i < size; i++)
    at[i] = (uint8_t)(value >> 8 * i);
}

/* Each with the header's checksum made to fit. */
static void each_field_is_checked(void **state)
{
  static const struct change changes[] = {
      {0, 4, 0, KVS_ERR_CORRUPT},
      {4, 1, 0, KVS_ERR_UNSUPPORTED},
      {4, 1, 1, KVS_ERR_UNSUPPORTED}, /* of before the first release */
      {4, 1, 3, KVS_ERR_UNSUPPORTED},
      {5, 1, 5, KVS_ERR_UNSUPPORTED},
      {5, 1, 255, KVS_ERR_UNSUPPORTED},
      {5, 1, KVI_CODEC_LOSSLESS, KVS_ERR_CORRUPT}, /* has no planes */
      {6, 1, 6, KVS_ERR_UNSUPPORTED},
      {6, 1, 0, KVS_ERR_CORRUPT}, /* bytes have no shape */
      {6, 1, KVI_CODEC_INT8, KVS_ERR_CORRUPT},
      {7, 1, 1, KVS_ERR_CORRUPT},
      {7, 1, 3, KVS_ERR_CORRUPT},
      {7, 1, 4, KVS_ERR_CORRUPT},
      {8, 4, 80, KVS_ERR_CORRUPT},
      {8, 4, 80 + 8 + 72 - 8, KVS_ERR_CORRUPT},
      {8, 4, UINT32_MAX, KVS_ERR_CORRUPT},
      {16, 8, 0, KVS_ERR_CORRUPT},
      {16, 8, UINT64_MAX, KVS_ERR_CORRUPT},
      {48, 2, 0, KVS_ERR_CORRUPT},
      {48, 2, 2, KVS_ERR_CORRUPT},
      {48, 2, 1025, KVS_ERR_CORRUPT},
      {50, 2, 0, KVS_ERR_CORRUPT},
      {50, 2, 19, KVS_ERR_CORRUPT},
      {50, 2, 21, KVS_ERR_CORRUPT},
      {52, 2, 0, KVS_ERR_CORRUPT},
      {52, 2, 1025, KVS_ERR_CORRUPT},
      {54, 2, 23, KVS_ERR_CORRUPT},
      {54, 2, 8200, KVS_ERR_CORRUPT},
      {54, 2, 0, KVS_ERR_CORRUPT}, /* rotary dimensions of none */
      {56, 2, 12, KVS_ERR_CORRUPT},
      {56, 2, 24, KVS_ERR_CORRUPT},
      {58, 2, 4, KVS_ERR_CORRUPT},
      {58, 2, 32, KVS_ERR_CORRUPT},
      {64, 8, 0, KVS_ERR_CORRUPT},
      {64, 8, UINT64_MAX, KVS_ERR_CORRUPT},
      {72, 2, 0, KVS_ERR_CORRUPT},
      {72, 2, 2, KVS_ERR_CORRUPT},
      {74, 2, 1, KVS_ERR_CORRUPT},
      {76, 4, 1, KVS_ERR_CORRUPT},
      {80, 2, 1, KVS_ERR_CORRUPT},  /* the raw bytes do not fit */
      {80, 2, 20, KVS_ERR_CORRUPT}, /* a layer of nothing */
      {84, 2, UINT16_MAX, KVS_ERR_CORRUPT},
      {86, 2, 1, KVS_ERR_CORRUPT}, /* behind the table of first tokens */
      {88, 4, 0, KVS_ERR_CORRUPT},
      {88, 4, UINT32_MAX, KVS_ERR_CORRUPT},
  };
  struct object_bytes object = sound_object();
  struct kvi_codec_object opened;

  (void)state;
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct object_bytes other = copy_bytes(object.bytes, object.length);
    uint32_t quality;
    uint8_t *decoded;

    put(other.bytes + changes[i].at, changes[i].size, changes[i].value);
    if (kvi_load_le32(other.bytes + 8) <= other.length)
      seal_header(other.bytes, kvi_load_le32(other.bytes + 8));
    if (kvi_codec_open(other.bytes, other.length, &opened) != changes[i].status)
      fail_msg("field at %zu with %llu: not refused as it ought to be", changes[i].at,
               (unsigned long long)changes[i].value);
    assert_int_equal(decode_alike(other.bytes, other.length, 3, 1, &decoded, &quality), changes[i].status);
    free(other.bytes);
  }
  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  free(object.bytes);
}

/* Fields that any value may have. */
static void what_is_free_is_accepted(void **state)
{
  struct object_bytes object = sound_object();
  struct kvi_codec_object opened;
  uint8_t *decoded;
  uint32_t quality;

  (void)state;
  put(object.bytes + 24, 8, UINT64_MAX);
  put(object.bytes + 60, 4, UINT32_MAX);
  seal_header(object.bytes, kvi_load_le32(object.bytes + 8));
  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  assert_int_equal(opened.shape.start, UINT32_MAX);
  assert_int_equal(decode_alike(object.bytes, object.length, 3, opened.shape.raw_bytes, &decoded, &quality),
                   KVS_OK);
  free(decoded);
  /* A profile is told, but this library has none. */
  object.bytes[47] = 1;
  seal_header(object.bytes, kvi_load_le32(object.bytes + 8));
  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  assert_int_equal(opened.profile[15], 1);
  assert_int_equal(decode_alike(object.bytes, object.length, 3, opened.shape.raw_bytes, &decoded, &quality),
                   KVS_ERR_UNSUPPORTED);
  free(object.bytes);
}

static void only_the_header_is_needed_to_open(void **state)
{
  struct object_bytes object = sound_object(), cut;
  struct kvi_codec_object opened;
  uint32_t length;

  (void)state;
  assert_int_equal(kvi_codec_header_length(object.bytes, &length), KVS_OK);
  for (size_t size = 0; size <= length; size++) {
    cut = copy_bytes(object.bytes, size);
    assert_int_equal(kvi_codec_open(cut.bytes, size, &opened), size < length ? KVS_ERR_CORRUPT : KVS_OK);
    free(cut.bytes);
  }
  free(object.bytes);
}

/* Numbers of two bytes are read where they lie. */
static void an_odd_address_is_told(void **state)
{
  struct object_bytes object = sound_object();
  uint8_t *odd = malloc(object.length + 1);
  struct kvi_codec_object opened;

  (void)state;
  assert_non_null(odd);
  memcpy(odd + 1, object.bytes, object.length);
  assert_int_equal(kvi_codec_open(odd + 1, object.length, &opened), KVS_ERR_INVALID);
  free(odd);
  free(object.bytes);
}

static void shapes_out_of_bounds(void **state)
{
  const struct kvi_codec_shape sound = windows();
  const struct kvi_codec_options options = {.level = KVI_CODEC_RAW};
  const struct kvi_codec_shape bytes = {.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = 5};
  struct kvi_codec_shape shapes[22];
  uint8_t out[1000];
  size_t length, n = 0;

  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
    shapes[i] = i < 16 ? sound : bytes;
  shapes[n++].dtype = (enum kvi_codec_dtype)6;
  shapes[n++].n_layers = 0;
  shapes[n++].n_layers = KVI_CODEC_LAYERS_MAX + 1;
  shapes[n++].n_tokens = 0;
  shapes[n++].n_tokens = 65536;
  shapes[n++].n_tokens = 19; /* the last layer has none */
  shapes[n++].n_heads = 0;
  shapes[n++].n_heads = 1025;
  shapes[n++].key_dim = 25;
  shapes[n++].key_dim = 8200;
  shapes[n++].value_dim = 4;
  shapes[n++].value_dim = 8200;
  shapes[n++].rotary_dim = 7;
  shapes[n++].rotary_dim = 32;
  shapes[n++].raw_bytes++;
  shapes[n].key_dim = shapes[n].value_dim = shapes[n].rotary_dim = 0;
  shapes[n++].raw_bytes = 0;
  shapes[n++].raw_bytes = 0;
  shapes[n++].raw_bytes = (uint64_t)KVI_CODEC_BYTES_MAX + 1;
  shapes[n++].n_layers = 2;
  shapes[n++].n_tokens = 1;
  shapes[n++].key_dim = 8;
  shapes[n++].first_token = first;
  assert_int_equal(n, sizeof shapes / sizeof shapes[0]);
  assert_int_equal(kvi_codec_shape_check(&sound), KVS_OK);
  assert_int_equal(kvi_codec_shape_check(&bytes), KVS_OK);
  for (size_t i = 0; i < n; i++) {
    if (kvi_codec_shape_check(&shapes[i]) != KVS_ERR_INVALID)
      fail_msg("shape %zu is accepted", i);
    assert_int_equal(kvi_codec_encode(&shapes[i], &options, out, NULL, out, sizeof out, &length),
                     KVS_ERR_INVALID);
    assert_int_equal(length, 0);
  }
}

/* A layer that is too large is refused though nothing overflows. */
static void large_shapes(void **state)
{
  struct kvi_codec_shape shape = {.dtype = KVI_CODEC_BF16,
                                  .n_layers = KVI_CODEC_LAYERS_MAX,
                                  .n_tokens = 65535,
                                  .n_heads = 1024,
                                  .key_dim = 8192,
                                  .value_dim = 8192};

  (void)state;
  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  assert_true(shape.raw_bytes == 1024ull * 65535 * 1024 * 16384 * 2);
  assert_int_equal(kvi_codec_shape_check(&shape), KVS_ERR_INVALID);
  shape.n_heads = 1;
  shape.key_dim = 4096;
  shape.value_dim = 4096 - 8;
  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  assert_int_equal(kvi_codec_shape_check(&shape), KVS_OK);
  shape.value_dim = 4104;
  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  assert_int_equal(kvi_codec_shape_check(&shape), KVS_ERR_INVALID);
}

static void options_out_of_bounds(void **state)
{
  const struct kvi_codec_shape sound = windows(),
                               bytes = {.dtype = KVI_CODEC_BYTES, .n_layers = 1, .raw_bytes = 5};
  const struct kvi_codec_options options[] = {
      {.level = (enum kvi_codec_level)5},
      {.level = KVI_CODEC_LADDER, .planes = 4},
      {.level = KVI_CODEC_LADDER, .step = KVI_CODEC_STEP_MIN - 1},
      {.level = KVI_CODEC_LADDER, .step = KVI_CODEC_STEP_MAX + 1},
      {.level = KVI_CODEC_ZSTD, .zstd_level = -1},
      {.level = KVI_CODEC_ZSTD, .zstd_level = 20},
  };
  static const enum kvi_codec_level not_for_bytes[] = {KVI_CODEC_LOSSLESS, KVI_CODEC_LADDER,
                                                       KVI_CODEC_CACHEGEN};
  static uint8_t out[1 << 16], raw[1 << 14];
  size_t length;

  (void)state;
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    assert_int_equal(kvi_codec_encode(&sound, &options[i], raw, NULL, out, sizeof out, &length),
                     KVS_ERR_INVALID);
  for (size_t i = 0; i < sizeof not_for_bytes / sizeof not_for_bytes[0]; i++) {
    const struct kvi_codec_options one = {.level = not_for_bytes[i]};

    assert_int_equal(kvi_codec_encode(&bytes, &one, raw, NULL, out, sizeof out, &length), KVS_ERR_INVALID);
  }
}

static void room_and_bounds(void **state)
{
  struct kvi_codec_shape shape = windows();
  uint8_t *raw = sample_raw(&shape, SAMPLE_NOISE, 8);

  (void)state;
  for (int level = KVI_CODEC_RAW; level <= KVI_CODEC_ZSTD; level++) {
    const struct kvi_codec_options options = {.level = (enum kvi_codec_level)level, .planes = 3};
    size_t room = (size_t)kvi_codec_bound(&shape, &options), length;
    uint8_t *scratch = aligned_alloc(64, (kvi_codec_encode_scratch(&shape, &options) + 127) / 64 * 64);
    uint8_t *out = malloc(room), *decoded = malloc(shape.raw_bytes);
    uint32_t quality;

    assert_non_null(scratch);
    assert_non_null(out);
    assert_non_null(decoded);
    assert_int_equal(kvi_codec_encode(&shape, &options, raw, scratch, out, room - 1, &length),
                     KVS_ERR_BUFFER);
    assert_int_equal(length, 0);
    assert_int_equal(kvi_codec_encode(&shape, &options, raw, scratch, out, room, &length), KVS_OK);
    assert_int_equal(kvi_codec_decode(out, length, 3, decoded, (size_t)shape.raw_bytes - 1, &quality),
                     KVS_ERR_BUFFER);
    assert_int_equal(kvi_codec_decode(out, length, 3, decoded, (size_t)shape.raw_bytes, &quality), KVS_OK);
    free(decoded);
    free(out);
    free(scratch);
  }
  free(raw);
}

static void layers_and_places_out_of_bounds(void **state)
{
  struct object_bytes object = sound_object();
  struct kvi_codec_object opened;
  static uint8_t keys[20 * 96], values[20 * 64];
  struct kvi_codec_place place = {keys, values, 96, 64};
  const uint8_t *segments[4];

  (void)state;
  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  for (uint32_t i = 0; i <= 2; i++)
    segments[i] = object.bytes + kvi_codec_segment_at(&opened, i, 0).offset;
  assert_int_equal(kvi_codec_decode_layer(&opened, 0, 2, segments, &place), KVS_OK);
  assert_int_equal(kvi_codec_decode_layer(&opened, 3, 2, segments, &place), KVS_ERR_INVALID);
  assert_int_equal(kvi_codec_decode_layer(&opened, 0, 3, segments, &place), KVS_ERR_INVALID);
  place.values = NULL;
  assert_int_equal(kvi_codec_decode_layer(&opened, 0, 2, segments, &place), KVS_ERR_INVALID);
  place.values = values;
  place.keys = NULL;
  assert_int_equal(kvi_codec_decode_layer(&opened, 0, 2, segments, &place), KVS_ERR_INVALID);
  place.keys = keys;
  /* Another layer's bytes have another checksum. */
  segments[1] = object.bytes + kvi_codec_segment_at(&opened, 2, 0).offset;
  assert_int_equal(kvi_codec_decode_layer(&opened, 0, 2, segments, &place), KVS_ERR_CORRUPT);
  free(object.bytes);
}

static void unknown_paths(void **state)
{
  (void)state;
  assert_int_equal(kvi_codec_use_path("scalar"), KVS_OK);
  assert_string_equal(kvi_codec_path(), "scalar");
  assert_int_equal(kvi_codec_use_path("abacus"), KVS_ERR_UNSUPPORTED);
  assert_int_equal(kvi_codec_use_path(NULL), KVS_OK);
  assert_non_null(kvi_codec_path());
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_header_says_what_was_encoded),
      cmocka_unit_test(segments_fill_the_object),
      cmocka_unit_test(each_field_is_checked),
      cmocka_unit_test(what_is_free_is_accepted),
      cmocka_unit_test(only_the_header_is_needed_to_open),
      cmocka_unit_test(an_odd_address_is_told),
      cmocka_unit_test(shapes_out_of_bounds),
      cmocka_unit_test(large_shapes),
      cmocka_unit_test(options_out_of_bounds),
      cmocka_unit_test(room_and_bounds),
      cmocka_unit_test(layers_and_places_out_of_bounds),
      cmocka_unit_test(unknown_paths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
