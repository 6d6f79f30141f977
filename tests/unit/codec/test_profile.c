/*
 * Profiles: a file of an earlier day is read, what is not sound is refused, and the factors do what they say to the steps and to nothing else.
 */
#include <math.h>

#include "codec_testing.h"
#include "golden_kvp1.h"
#include "profile_sample.h"

#define GOLDEN_SIZE sizeof golden_kvp1

static struct kvi_codec_profile golden_fields(void)
{
  return (struct kvi_codec_profile){.n_layers = 2,
                                    .n_heads = 3,
                                    .key_dim = 64,
                                    .value_dim = 32,
                                    .n_samples = 5,
                                    .model_fingerprint = 0x1122334455667788u};
}

/* In memory of exactly its size. */
static kvs_status open_copy(const uint8_t *bytes, size_t size)
{
  struct object_bytes copy = copy_bytes(bytes, size);
  struct kvi_codec_profile profile;
  kvs_status status = kvi_codec_profile_open(copy.bytes, size, &profile);

  free(copy.bytes);
  return status;
}

static void what_was_written_is_read(void **state)
{
  struct kvi_codec_profile profile;

  (void)state;
  assert_int_equal(kvi_codec_profile_open(golden_kvp1, GOLDEN_SIZE, &profile), KVS_OK);
  assert_int_equal(profile.n_layers, 2);
  assert_int_equal(profile.n_heads, 3);
  assert_int_equal(profile.key_dim, 64);
  assert_int_equal(profile.value_dim, 32);
  assert_int_equal(profile.n_samples, 5);
  assert_true(profile.model_fingerprint == 0x1122334455667788u);
  assert_memory_equal(profile.id, golden_kvp1_id, sizeof golden_kvp1_id);
  for (uint32_t layer = 0; layer < 2; layer++)
    for (uint32_t plane = 0; plane < 2; plane++)
      for (uint32_t head = 0; head < 3; head++)
        assert_int_equal(kvi_codec_profile_factor(&profile, layer, plane != 0, head),
                         golden_kvp1_factors[layer][plane][head]);
}

static void what_is_written_has_the_same_bytes(void **state)
{
  const struct kvi_codec_profile fields = golden_fields();
  uint8_t bytes[GOLDEN_SIZE];

  (void)state;
  assert_int_equal(kvi_codec_profile_size(2, 3), GOLDEN_SIZE);
  assert_int_equal(kvi_codec_profile_write(&fields, golden_kvp1_factors[0][0], bytes), KVS_OK);
  assert_memory_equal(bytes, golden_kvp1, GOLDEN_SIZE);
}

static void what_is_out_of_bounds_is_not_written(void **state)
{
  uint16_t factors[2][2][3];
  uint8_t bytes[GOLDEN_SIZE];
  struct kvi_codec_profile fields = golden_fields();

  (void)state;
  memcpy(factors, golden_kvp1_factors, sizeof factors);
  factors[1][1][2] = KVI_PROFILE_MIN - 1;
  assert_int_equal(kvi_codec_profile_write(&fields, factors[0][0], bytes), KVS_ERR_INVALID);
  factors[1][1][2] = KVI_PROFILE_MAX + 1;
  assert_int_equal(kvi_codec_profile_write(&fields, factors[0][0], bytes), KVS_ERR_INVALID);
  fields.n_layers = 0;
  assert_int_equal(kvi_codec_profile_write(&fields, golden_kvp1_factors[0][0], bytes), KVS_ERR_INVALID);
  fields.n_layers = KVI_CODEC_LAYERS_MAX + 1;
  assert_int_equal(kvi_codec_profile_write(&fields, golden_kvp1_factors[0][0], bytes), KVS_ERR_INVALID);
  fields = golden_fields();
  fields.key_dim = 12;
  assert_int_equal(kvi_codec_profile_write(&fields, golden_kvp1_factors[0][0], bytes), KVS_ERR_INVALID);
}

static void a_changed_bit_is_seen(void **state)
{
  uint8_t bytes[GOLDEN_SIZE];

  (void)state;
  for (size_t bit = 0; bit < GOLDEN_SIZE * 8; bit++) {
    kvs_status status;

    memcpy(bytes, golden_kvp1, GOLDEN_SIZE);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    status = open_copy(bytes, GOLDEN_SIZE);
    assert_int_equal(status, bit / 8 == 4 ? KVS_ERR_UNSUPPORTED : KVS_ERR_CORRUPT);
  }
}

static void other_lengths_are_refused(void **state)
{
  uint8_t bytes[GOLDEN_SIZE + 4] = {0};

  (void)state;
  for (size_t size = 0; size <= sizeof bytes; size++) {
    memcpy(bytes, golden_kvp1, size < GOLDEN_SIZE ? size : GOLDEN_SIZE);
    if (size == GOLDEN_SIZE)
      continue;
    assert_int_equal(open_copy(bytes, size), KVS_ERR_CORRUPT);
    if (size >= KVI_PROFILE_HEADER_SIZE)
      seal_profile(bytes, size);
    assert_int_equal(open_copy(bytes, size), KVS_ERR_CORRUPT);
  }
}

/* Where, and what a u16 there may not be though the checksum fits. */
static void hostile_fields_are_refused(void **state)
{
  static const struct {
    size_t at;
    uint16_t value;
  } wrong[] = {
      {6, 1},   {5, 0x0100}, {24, 0},  {24, 1}, {24, 3}, {24, 65535}, {26, 0},    {26, 2},     {26, 65535},
      {28, 12}, {28, 8200},  {30, 33}, {36, 1}, {38, 1}, {40, 0},     {40, 1023}, {62, 16385}, {62, 65535},
  };
  uint8_t bytes[GOLDEN_SIZE];

  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    memcpy(bytes, golden_kvp1, GOLDEN_SIZE);
    kvi_store_le16(bytes + wrong[i].at, wrong[i].value);
    seal_profile(bytes, GOLDEN_SIZE);
    assert_int_equal(open_copy(bytes, GOLDEN_SIZE), KVS_ERR_CORRUPT);
  }
  memcpy(bytes, golden_kvp1, GOLDEN_SIZE);
  memset(bytes + 28, 0, 4); /* neither keys nor values */
  seal_profile(bytes, GOLDEN_SIZE);
  assert_int_equal(open_copy(bytes, GOLDEN_SIZE), KVS_ERR_CORRUPT);
  memcpy(bytes, golden_kvp1, GOLDEN_SIZE);
  seal_profile(bytes, GOLDEN_SIZE);
  assert_int_equal(open_copy(bytes, GOLDEN_SIZE), KVS_OK);
}

/* ---- what it does to objects ---- */

/* Every third unit half a step, every third twice. */
static uint16_t factor_of(size_t unit)
{
  static const uint16_t factors[] = {KVI_PROFILE_ONE, KVI_PROFILE_ONE / 2, KVI_PROFILE_ONE * 2};

  return factors[unit % 3];
}

/* A profile for a shape; even: all factors 1. Free the bytes. */
static uint8_t *profile_for(const struct kvi_codec_shape *shape, bool even, uint64_t model,
                            struct kvi_codec_profile *profile_p)
{
  const struct kvi_codec_profile fields = {.n_layers = shape->n_layers,
                                           .n_heads = shape->n_heads,
                                           .key_dim = shape->key_dim,
                                           .value_dim = shape->value_dim,
                                           .model_fingerprint = model};
  size_t units = (size_t)shape->n_layers * 2 * shape->n_heads;
  size_t size = kvi_codec_profile_size(shape->n_layers, shape->n_heads);
  uint16_t *factors = malloc(units * sizeof *factors);
  uint8_t *bytes = malloc(size);

  assert_non_null(factors);
  assert_non_null(bytes);
  for (size_t i = 0; i < units; i++)
    factors[i] = even ? KVI_PROFILE_ONE : factor_of(i);
  assert_int_equal(kvi_codec_profile_write(&fields, factors, bytes), KVS_OK);
  assert_int_equal(kvi_codec_profile_open(bytes, size, profile_p), KVS_OK);
  free(factors);
  return bytes;
}

/* Encoded and decoded with a profile by every path alike. Free it. */
static uint8_t *through(const struct kvi_codec_shape *shape, const struct kvi_codec_profile *profile,
                        const uint8_t *raw)
{
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 2, .profile = profile};
  static const uint8_t no_profile[16];
  struct object_bytes object = encode_alike(shape, &options, raw);
  struct kvi_codec_object opened;
  uint32_t quality;
  uint8_t *decoded;

  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  assert_memory_equal(opened.profile, no_profile, sizeof no_profile);
  assert_int_equal(decode_alike(object.bytes, object.length, 2, shape->raw_bytes, &decoded, &quality),
                   KVS_OK);
  free(object.bytes);
  return decoded;
}

/* Root mean square error of one head's keys or values of a layer. */
static double error_of(const struct kvi_codec_shape *shape, const uint8_t *was, const uint8_t *is,
                       uint32_t layer, uint32_t plane, uint32_t head)
{
  uint32_t dim = plane == 0 ? shape->key_dim : shape->value_dim, rows = kvi_codec_layer_rows(shape, layer);
  size_t at = (size_t)(kvi_codec_layer_offset(shape, layer) +
                       (plane == 0 ? 0 : kvi_codec_layer_key_bytes(shape, layer)));
  double sum = 0;

  for (uint32_t row = 0; row < rows; row++)
    for (uint32_t d = 0; d < dim; d++) {
      size_t element = at + (((size_t)row * shape->n_heads + head) * dim + d) * 2;
      double x = (double)kvi_bf16_to_float(kvi_load_le16(was + element)),
             y = (double)kvi_bf16_to_float(kvi_load_le16(is + element));

      sum += (x - y) * (x - y);
    }
  return sqrt(sum / (double)((size_t)rows * dim));
}

static void check_factors(struct kvi_codec_shape shape)
{
  uint8_t *raw, *even_bytes, *bytes, *even, *weighed;
  struct kvi_codec_profile even_profile, profile;
  size_t unit = 0;

  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 7);
  even_bytes = profile_for(&shape, true, 0, &even_profile);
  bytes = profile_for(&shape, false, 0, &profile);
  even = through(&shape, &even_profile, raw);
  weighed = through(&shape, &profile, raw);
  for (uint32_t layer = 0; layer < shape.n_layers; layer++)
    for (uint32_t plane = 0; plane < 2; plane++)
      for (uint32_t head = 0; head < shape.n_heads; head++, unit++) {
        double factor = (double)factor_of(unit) / KVI_PROFILE_ONE;

        if ((plane == 0 ? shape.key_dim : shape.value_dim) == 0)
          continue;
        /* A step has 8 bits, the error of so many numbers is what it is on average, and rounding to bf16 adds a little. */
        assert_true(fabs(error_of(&shape, raw, weighed, layer, plane, head) /
                             (factor * error_of(&shape, raw, even, layer, plane, head)) -
                         1) < 0.1);
      }
  free(raw);
  free(even_bytes);
  free(bytes);
  free(even);
  free(weighed);
}

static void factors_make_steps_coarser_and_finer(void **state)
{
  (void)state;
  check_factors((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                         .n_layers = 2,
                                         .n_tokens = 150,
                                         .n_heads = 5,
                                         .key_dim = 64,
                                         .value_dim = 32,
                                         .start = 4});
}

/* Heads that are cut into parts: each part has its head's factor. */
static void wide_heads_too(void **state)
{
  (void)state;
  check_factors((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                         .n_layers = 2,
                                         .n_tokens = 60,
                                         .n_heads = 2,
                                         .key_dim = 192,
                                         .value_dim = 136,
                                         .start = 4});
  check_factors((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                         .n_layers = 3,
                                         .n_tokens = 60,
                                         .n_heads = 1,
                                         .key_dim = 144,
                                         .rotary_dim = 16,
                                         .start = 4});
}

static kvs_status encode_with(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                              const uint8_t *raw)
{
  size_t room = (size_t)kvi_codec_bound(shape, options), length;
  uint8_t *scratch = aligned_alloc(64, (kvi_codec_encode_scratch(shape, options) + 127) / 64 * 64),
          *out = malloc(room);
  kvs_status status;

  assert_non_null(scratch);
  assert_non_null(out);
  status = kvi_codec_encode(shape, options, raw, scratch, out, room, &length);
  free(scratch);
  free(out);
  return status;
}

static void a_profile_of_others_is_refused(void **state)
{
  const struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
      .dtype = KVI_CODEC_BF16, .n_layers = 2, .n_tokens = 20, .n_heads = 3, .key_dim = 64, .value_dim = 32});
  uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 1);
  struct kvi_codec_profile profile, other;
  struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 1, .profile = &profile};

  (void)state;
  assert_int_equal(kvi_codec_profile_open(golden_kvp1, GOLDEN_SIZE, &profile), KVS_OK);
  assert_int_equal(encode_with(&shape, &options, raw), KVS_OK);
  options.model_fingerprint = profile.model_fingerprint;
  assert_int_equal(encode_with(&shape, &options, raw), KVS_OK);
  options.model_fingerprint = 5;
  assert_int_equal(encode_with(&shape, &options, raw), KVS_ERR_INVALID);
  options.model_fingerprint = 0;
  options.profile = &other;
  for (int field = 0; field < 4; field++) {
    other = profile;
    *(uint32_t *[]){&other.n_layers, &other.n_heads, &other.key_dim, &other.value_dim}[field] += 8;
    assert_int_equal(encode_with(&shape, &options, raw), KVS_ERR_INVALID);
  }
  /* Nothing to other levels. */
  options.level = KVI_CODEC_LOSSLESS;
  assert_int_equal(encode_with(&shape, &options, raw), KVS_OK);
  free(raw);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_written_is_read),
      cmocka_unit_test(what_is_written_has_the_same_bytes),
      cmocka_unit_test(what_is_out_of_bounds_is_not_written),
      cmocka_unit_test(a_changed_bit_is_seen),
      cmocka_unit_test(other_lengths_are_refused),
      cmocka_unit_test(hostile_fields_are_refused),
      cmocka_unit_test(factors_make_steps_coarser_and_finer),
      cmocka_unit_test(wide_heads_too),
      cmocka_unit_test(a_profile_of_others_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
