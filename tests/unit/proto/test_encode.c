/* Whether and how one chunk is encoded. */
#include "proto/encode.h"
#include "tests/unit/proto/coded_sample.h"

#define N_LAYERS 3u

static kvs_space_desc desc_of(const struct kvi_codec_shape *shape)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .layout = KVS_LAYOUT_TENSORS,
                          .key_dtype = KVS_DTYPE_BF16,
                          .value_dtype = KVS_DTYPE_BF16,
                          .layers = shape->n_layers,
                          .kv_heads = shape->n_heads,
                          .key_dim = shape->key_dim,
                          .value_dim = shape->value_dim,
                          .tokens_per_chunk = shape->n_tokens,
                          .chunk_bytes = shape->raw_bytes};
}

static void the_owner_says_the_level(void **state)
{
  static const struct {
    struct kvi_encode_rules rules;
    uint32_t lost, loss_max;
    kvs_status status;
    enum kvi_codec_level level;
    uint32_t planes;
  } cases[] = {
      {{.tensors = true}, 0, 15, KVS_OK, KVI_CODEC_LOSSLESS, 0},
      {{.tensors = true, .lossy = KVI_CODEC_LADDER, .planes = 2}, 0, 0, KVS_OK, KVI_CODEC_LOSSLESS, 0},
      {{.tensors = true, .lossy = KVI_CODEC_LADDER, .planes = 2}, 0, 1, KVS_OK, KVI_CODEC_LOSSLESS, 0},
      {{.tensors = true, .lossy = KVI_CODEC_LADDER, .planes = 2}, 0, 2, KVS_OK, KVI_CODEC_LADDER, 2},
      {{.tensors = true, .lossy = KVI_CODEC_LADDER, .planes = 2}, 1, 15, KVS_OK, KVI_CODEC_LOSSLESS, 0},
      {{.tensors = true, .lossy = KVI_CODEC_CACHEGEN, .planes = 2}, 0, 4, KVS_OK, KVI_CODEC_LOSSLESS, 0},
      {{.tensors = true, .lossy = KVI_CODEC_CACHEGEN, .planes = 2}, 0, 5, KVS_OK, KVI_CODEC_CACHEGEN, 0},
      {{.lossy = KVI_CODEC_LADDER}, 0, 3, KVS_ERR_UNSUPPORTED, KVI_CODEC_RAW, 0},
      {{.lossy = KVI_CODEC_LADDER}, 0, 4, KVS_OK, KVI_CODEC_LADDER, 0},
      {{.bytes = true}, 0, 15, KVS_ERR_UNSUPPORTED, KVI_CODEC_RAW, 0},
  };
  struct coded_sample sample;
  kvs_space_desc desc;
  struct kvi_encode_plan plan;

  (void)state;
  coded_sample_make(&sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 1, 1);
  desc = desc_of(&sample.shape);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    uint16_t quality = kvi_quality(cases[i].lost, cases[i].loss_max, KVI_CODING_NONE);

    assert_int_equal(kvi_encode_plan_make(&cases[i].rules, &desc, desc.chunk_bytes, 2, false, quality, &plan),
                     cases[i].status);
    if (cases[i].status != KVS_OK)
      continue;
    assert_int_equal(plan.options.level, cases[i].level);
    assert_int_equal(plan.options.planes, cases[i].planes);
    assert_int_equal(plan.shape.start, 2 * desc.tokens_per_chunk);
  }
  assert_int_equal(kvi_encode_plan_make(&(struct kvi_encode_rules){.tensors = true}, &desc,
                                        desc.chunk_bytes - 2, 0, false, 0, &plan),
                   KVS_ERR_UNSUPPORTED); /* not a whole chunk: bytes */
  assert_int_equal(
      kvi_encode_plan_make(&(struct kvi_encode_rules){.bytes = true}, NULL, 100, 0, false, 0, &plan), KVS_OK);
  assert_int_equal(plan.options.level, KVI_CODEC_ZSTD);
  coded_sample_free(&sample);
}

static bool at_once(void *ctx)
{
  (void)ctx;
  return true;
}

static void what_comes_out_is_a_coded_chunk(void **state)
{
  const struct kvi_encode_rules rules = {.tensors = true, .lossy = KVI_CODEC_LADDER, .planes = 1};
  struct kvi_encode_room room = {0};
  struct coded_sample sample;

  (void)state;
  for (uint32_t loss_max = 0; loss_max <= 3; loss_max += 3) {
    struct kvi_encode_plan plan;
    struct kvi_encoded encoded;
    kvs_space_desc desc;

    coded_sample_make(&sample, loss_max == 0 ? KVI_CODEC_LOSSLESS : KVI_CODEC_LADDER, loss_max == 0 ? 0 : 1,
                      N_LAYERS, 4, 1);
    desc = desc_of(&sample.shape);
    sample.raw_table.quality = kvi_quality(0, loss_max, KVI_CODING_NONE);
    assert_int_equal(
        kvi_encode_plan_make(&rules, &desc, desc.chunk_bytes, 64, false, sample.raw_table.quality, &plan),
        KVS_OK);
    assert_int_equal(kvi_encode_run(&plan, &sample.raw_table, sample.raw, &room, &encoded), KVS_OK);
    assert_int_equal(encoded.coded.object.model_fingerprint, 0); /* its space does not tell */
    assert_int_equal(encoded.length, sample.length);
    assert_memory_equal(encoded.payload, sample.payload, sample.length);
    assert_int_equal(encoded.n_segments, sample.n_segments);
    assert_int_equal(encoded.quality, kvi_quality(loss_max, loss_max, KVI_CODING_KVC1));
    assert_true(kvi_encode_room_bytes(&room) >= sample.length);
    plan.options.stop = at_once;
    assert_int_equal(kvi_encode_run(&plan, &sample.raw_table, sample.raw, &room, &encoded), KVS_ERR_CANCELED);
    plan.options.stop = NULL;
    sample.raw[7] ^= 1;
    assert_int_equal(kvi_encode_run(&plan, &sample.raw_table, sample.raw, &room, &encoded), KVS_ERR_CORRUPT);
    coded_sample_free(&sample);
  }
  kvi_encode_room_free(&room);
  assert_int_equal(kvi_encode_room_bytes(&room), 0);
}

/* An object by itself says of which model it is. */
static void the_model_is_told(void **state)
{
  struct kvi_encode_room room = {0};
  struct coded_sample sample;
  struct kvi_encode_plan plan;
  struct kvi_encoded encoded;
  kvs_space_desc desc;

  (void)state;
  coded_sample_make(&sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 4, 1);
  desc = desc_of(&sample.shape);
  for (uint8_t i = 0; i < KVS_DIGEST_SIZE; i++)
    desc.weights[i] = (uint8_t)(i + 1);
  assert_int_equal(kvi_encode_plan_make(&(struct kvi_encode_rules){.tensors = true}, &desc, desc.chunk_bytes,
                                        64, false, 0, &plan),
                   KVS_OK);
  assert_int_equal(kvi_encode_run(&plan, &sample.raw_table, sample.raw, &room, &encoded), KVS_OK);
  assert_true(encoded.coded.object.model_fingerprint == UINT64_C(0x0807060504030201));
  kvi_encode_room_free(&room);
  coded_sample_free(&sample);
}

static void what_would_hardly_be_smaller_is_left(void **state)
{
  struct kvi_encode_room room = {0};
  struct coded_sample sample;
  struct kvi_encode_plan plan;
  struct kvi_encoded encoded;
  kvs_space_desc desc;

  (void)state;
  coded_sample_make(&sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 4, 1);
  desc = desc_of(&sample.shape);
  free(sample.raw);
  sample.raw = sample_raw(&sample.shape, SAMPLE_NOISE, 1);
  coded_sample_seal(&sample, 4);
  assert_int_equal(kvi_encode_plan_make(&(struct kvi_encode_rules){.tensors = true}, &desc, desc.chunk_bytes,
                                        0, false, 0, &plan),
                   KVS_OK);
  assert_int_equal(kvi_encode_run(&plan, &sample.raw_table, sample.raw, &room, &encoded), KVS_EXISTS);
  kvi_encode_room_free(&room);
  coded_sample_free(&sample);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_owner_says_the_level),
      cmocka_unit_test(what_comes_out_is_a_coded_chunk),
      cmocka_unit_test(the_model_is_told),
      cmocka_unit_test(what_would_hardly_be_smaller_is_left),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
