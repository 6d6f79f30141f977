/*
 * Objects written by an earlier day (golden_kvc1.h) decode to what they did then, at each quality and by every path.
 *
 * Encoders may choose otherwise from version to version, decoders may not: the header is printed once for a version of the format,
 * by "print". "corpus FOLDER" writes the objects and their parts as seeds of the fuzzers.
 */
#include <stdio.h>

#include "base/text.h"
#include "codec_testing.h"
#include "golden_kvc1.h"

#define N_GOLDEN (sizeof golden_objects / sizeof golden_objects[0])

static struct object_bytes object_of(const struct golden_object *golden)
{
  size_t length = strlen(golden->hex) / 2;
  struct object_bytes object = {malloc(length), length};

  assert_non_null(object.bytes);
  assert_int_equal(kvi_hex_decode(golden->hex, object.bytes, length, &length), KVS_OK);
  assert_int_equal(length, object.length);
  return object;
}

static void what_was_written_is_read(void **state)
{
  (void)state;
  for (size_t i = 0; i < N_GOLDEN; i++) {
    struct object_bytes object = object_of(&golden_objects[i]);
    struct kvi_codec_object opened;

    assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
    for (uint32_t max = 0; max <= opened.planes; max++) {
      uint32_t quality;
      uint8_t *raw;

      assert_int_equal(decode_alike(object.bytes, object.length, max, opened.shape.raw_bytes, &raw, &quality),
                       KVS_OK);
      assert_int_equal(quality, max);
      if (kvi_crc32c_update(0, raw, opened.shape.raw_bytes) != golden_objects[i].crc[max])
        fail_msg("%s decodes to something else at quality %u", golden_objects[i].name, max);
      free(raw);
    }
    free(object.bytes);
  }
}

/* ---- writing it ---- */

static const uint16_t windows[] = {0, 8, 29};

#define FEW_ROWS .n_layers = 1, .n_tokens = 5, .n_heads = 1, .key_dim = 24, .value_dim = 8
#define ODD_ROWS .n_layers = 1, .n_tokens = 57, .n_heads = 1, .key_dim = 40, .start = 3
#define ONE_HEAD .n_layers = 1, .n_tokens = 48, .n_heads = 1, .key_dim = 24, .value_dim = 8
#define WINDOWS                                                                                              \
  .n_layers = 3, .n_tokens = 30, .n_heads = 2, .key_dim = 24, .value_dim = 8, .first_token = windows
#define LATENT .n_layers = 1, .n_tokens = 9, .n_heads = 1, .key_dim = 200, .rotary_dim = 64

static const struct recipe {
  const char *name;
  struct kvi_codec_shape shape;
  struct kvi_codec_options options;
  enum sample_kind kind;
} recipes[] = {
    {"raw bf16", {.dtype = KVI_CODEC_BF16, FEW_ROWS}, {.level = KVI_CODEC_RAW}, SAMPLE_NOISE},
    {"zstd bf16", {.dtype = KVI_CODEC_BF16, FEW_ROWS}, {.level = KVI_CODEC_ZSTD}, SAMPLE_ZEROS},
    {"cachegen bf16", {.dtype = KVI_CODEC_BF16, FEW_ROWS}, {.level = KVI_CODEC_CACHEGEN}, SAMPLE_GAUSSIAN},
    {"lossless bf16", {.dtype = KVI_CODEC_BF16, ONE_HEAD}, {.level = KVI_CODEC_LOSSLESS}, SAMPLE_TAILS},
    {"lossless fp16", {.dtype = KVI_CODEC_FP16, ONE_HEAD}, {.level = KVI_CODEC_LOSSLESS}, SAMPLE_GAUSSIAN},
    {"lossless e4m3", {.dtype = KVI_CODEC_E4M3, ONE_HEAD}, {.level = KVI_CODEC_LOSSLESS}, SAMPLE_GAUSSIAN},
    {"lossless e5m2", {.dtype = KVI_CODEC_E5M2, ONE_HEAD}, {.level = KVI_CODEC_LOSSLESS}, SAMPLE_GAUSSIAN},
    {"lossless int8", {.dtype = KVI_CODEC_INT8, ONE_HEAD}, {.level = KVI_CODEC_LOSSLESS}, SAMPLE_GAUSSIAN},
    {"ladder bf16",
     {.dtype = KVI_CODEC_BF16, ONE_HEAD},
     {.level = KVI_CODEC_LADDER, .planes = 3},
     SAMPLE_SINKS},
    {"ladder fp16",
     {.dtype = KVI_CODEC_FP16, ONE_HEAD},
     {.level = KVI_CODEC_LADDER, .planes = 2},
     SAMPLE_WILD_CHANNEL},
    {"ladder e4m3",
     {.dtype = KVI_CODEC_E4M3, ONE_HEAD},
     {.level = KVI_CODEC_LADDER, .planes = 1},
     SAMPLE_SINKS},
    {"ladder e5m2",
     {.dtype = KVI_CODEC_E5M2, ONE_HEAD},
     {.level = KVI_CODEC_LADDER, .planes = 1},
     SAMPLE_GAUSSIAN},
    {"ladder int8",
     {.dtype = KVI_CODEC_INT8, ONE_HEAD},
     {.level = KVI_CODEC_LADDER, .planes = 1},
     SAMPLE_GAUSSIAN},
    {"lossless windows", {.dtype = KVI_CODEC_BF16, WINDOWS}, {.level = KVI_CODEC_LOSSLESS}, SAMPLE_GAUSSIAN},
    {"ladder windows",
     {.dtype = KVI_CODEC_BF16, WINDOWS, .start = 2},
     {.level = KVI_CODEC_LADDER, .planes = 1},
     SAMPLE_LARGE_MEANS},
    {"ladder latent",
     {.dtype = KVI_CODEC_BF16, LATENT},
     {.level = KVI_CODEC_LADDER, .planes = 2},
     SAMPLE_SINKS},
    {"ladder tails",
     {.dtype = KVI_CODEC_FP16, ODD_ROWS},
     {.level = KVI_CODEC_LADDER, .planes = 1},
     SAMPLE_TAILS},
    {"ladder of nothing but sinks",
     {.dtype = KVI_CODEC_BF16, FEW_ROWS},
     {.level = KVI_CODEC_LADDER, .planes = 1},
     SAMPLE_SINKS},
    {"ladder waves",
     {.dtype = KVI_CODEC_BF16, ODD_ROWS},
     {.level = KVI_CODEC_LADDER, .planes = 2},
     SAMPLE_WAVES},
    {"ladder extremes",
     {.dtype = KVI_CODEC_BF16, ONE_HEAD},
     {.level = KVI_CODEC_LADDER, .planes = 2},
     SAMPLE_OUTLIER},
};

static struct object_bytes cook(const struct recipe *recipe)
{
  struct kvi_codec_shape shape = layer_shape(recipe->shape);
  uint8_t *raw = sample_raw(&shape, recipe->kind, 1);
  struct object_bytes object;

  /* A sink of no number is kept as it is. */
  if (recipe->kind == SAMPLE_OUTLIER)
    kvi_store_le16(raw, 0x7fc1);
  object = encode_alike(&shape, &recipe->options, raw);
  free(raw);
  return object;
}

static void print_object(const struct recipe *recipe)
{
  struct object_bytes object = cook(recipe);
  struct kvi_codec_object opened;

  assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
  printf("    {\"%s\",\n     {", recipe->name);
  for (uint32_t max = 0; max <= opened.planes; max++) {
    uint32_t quality;
    uint8_t *raw;

    assert_int_equal(decode_alike(object.bytes, object.length, max, opened.shape.raw_bytes, &raw, &quality),
                     KVS_OK);
    printf("%s0x%08x", max == 0 ? "" : ", ", kvi_crc32c_update(0, raw, opened.shape.raw_bytes));
    free(raw);
  }
  printf("},");
  for (size_t at = 0; at < object.length; at++) {
    if (at % 48 == 0)
      printf("%s\n     \"", at == 0 ? "" : "\"");
    printf("%02x", object.bytes[at]);
  }
  printf("\"},\n");
  free(object.bytes);
}

static void print_header(void **state)
{
  (void)state;
  printf("static const struct golden_object {\n  const char *name;\n"
         "  uint32_t crc[4]; /* CRC-32C of what it decodes to, at each quality */\n  const char *hex;\n"
         "} golden_objects[] = {\n");
  for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
    print_object(&recipes[i]);
  printf("};\n");
}

/* ---- seeds of the fuzzers ---- */

static const char *corpus; /* the folder that holds a folder for each fuzzer */

static void write_seed(const char *fuzzer, const char *name, const uint8_t *head, size_t head_size,
                       const uint8_t *bytes, size_t size)
{
  char path[512];
  FILE *file;

  snprintf(path, sizeof path, "%s/%s/%s", corpus, fuzzer, name);
  for (char *at = path + strlen(path) - strlen(name); *at != 0; at++)
    *at = *at == ' ' ? '_' : *at;
  file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(head, 1, head_size, file), head_size);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

/* The first block of the base, with what fuzz_codec_block.c wants to know in front of it. */
static void write_block(const char *name, const struct kvi_codec_object *object, const uint8_t *bytes)
{
  const struct kvi_codec_shape *shape = &object->shape;
  const uint8_t *block = bytes + object->header_length;
  uint32_t columns = shape->key_dim > 128 ? 128 : shape->n_heads * shape->key_dim;
  uint8_t head[8] = {(uint8_t)(shape->dtype - KVI_CODEC_BF16),
                     (uint8_t)(kvi_codec_layer_rows(shape, 0) - 1),
                     (uint8_t)(columns / 8 - 1),
                     0,
                     (uint8_t)((block[0] == 2) | object->planes << 1),
                     block[2],
                     block[3],
                     0};

  if (block[0] > 0)
    write_seed("codec_block", name, head, sizeof head, block + 8, kvi_load_le32(block + 4) - 8);
}

static void write_corpus(void **state)
{
  (void)state;
  for (size_t i = 0; i < N_GOLDEN; i++) {
    struct object_bytes object = object_of(&golden_objects[i]);
    struct kvi_codec_object opened;

    assert_int_equal(kvi_codec_open(object.bytes, object.length, &opened), KVS_OK);
    write_seed("codec_object", golden_objects[i].name, NULL, 0, object.bytes, object.length);
    if (opened.shape.n_layers > 1 || opened.level != KVI_CODEC_LOSSLESS)
      write_seed("codec_header", golden_objects[i].name, NULL, 0, object.bytes, opened.header_length);
    if (opened.level == KVI_CODEC_LOSSLESS || opened.level == KVI_CODEC_LADDER)
      write_block(golden_objects[i].name, &opened, object.bytes);
    if (opened.planes > 0) {
      const uint8_t head[2] = {(uint8_t)(opened.shape.dtype - KVI_CODEC_BF16),
                               (uint8_t)(i % 2 == 0 ? 0 : 250)};

      write_seed("codec_planes", golden_objects[i].name, head, 2, object.bytes + opened.quality_end[0], 40);
    }
    free(object.bytes);
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_written_is_read)};
  const struct CMUnitTest print[] = {cmocka_unit_test(print_header)};
  const struct CMUnitTest seeds[] = {cmocka_unit_test(write_corpus)};

  if (argc > 1 && strcmp(argv[1], "print") == 0)
    return cmocka_run_group_tests(print, NULL, NULL);
  if (argc > 2 && strcmp(argv[1], "corpus") == 0) {
    corpus = argv[2];
    return cmocka_run_group_tests(seeds, NULL, NULL);
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
