/*
 * What a thread has chosen for its own numbers changes no object and no decoded bit, and is as it was afterwards: rounding, and on x86
 * subnormals taken for zero, as every library that was built with -ffast-math sets it for the process that loads it.
 */
#include <fenv.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "codec_testing.h"

#define FLUSH_AND_DENORMALS_ARE_ZERO 0x8040u

static const struct environment {
  int rounding;
  bool flush;
} environments[] = {
    {FE_TONEAREST, true},
    {FE_DOWNWARD, false},
    {FE_UPWARD, true},
    {FE_TOWARDZERO, false},
};
#define N_ENVIRONMENTS (sizeof environments / sizeof environments[0])

static void enter(const struct environment *environment)
{
  assert_int_equal(fesetround(environment->rounding), 0);
#if defined(__x86_64__)
  if (environment->flush)
    _mm_setcsr(_mm_getcsr() | FLUSH_AND_DENORMALS_ARE_ZERO);
#endif
}

/* Back to the defaults; what was chosen is still there. */
static void leave(const struct environment *environment)
{
  int rounding = fegetround();
#if defined(__x86_64__)
  unsigned flush = _mm_getcsr() & FLUSH_AND_DENORMALS_ARE_ZERO;
#endif

  assert_int_equal(fesetenv(FE_DFL_ENV), 0);
  assert_int_equal(rounding, environment->rounding);
#if defined(__x86_64__)
  assert_int_equal(flush, environment->flush ? FLUSH_AND_DENORMALS_ARE_ZERO : 0);
#endif
}

static void check_environments(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                               enum sample_kind kind)
{
  uint8_t *raw = sample_raw(shape, kind, 1), *decoded;
  struct object_bytes object = encode_alike(shape, options, raw);
  uint32_t quality;

  assert_int_equal(decode_alike(object.bytes, object.length, 3, shape->raw_bytes, &decoded, &quality),
                   KVS_OK);
  for (size_t i = 0; i < N_ENVIRONMENTS; i++) {
    struct object_bytes other;
    uint8_t *again;

    enter(&environments[i]);
    other = encode_alike(shape, options, raw);
    leave(&environments[i]);
    assert_int_equal(other.length, object.length);
    assert_memory_equal(other.bytes, object.bytes, object.length);
    free(other.bytes);
    enter(&environments[i]);
    assert_int_equal(decode_alike(object.bytes, object.length, 3, shape->raw_bytes, &again, &quality),
                     KVS_OK);
    leave(&environments[i]);
    assert_memory_equal(again, decoded, shape->raw_bytes);
    free(again);
  }
  free(decoded);
  free(object.bytes);
  free(raw);
}

static void no_environment_changes_a_bit(void **state)
{
  static const struct kvi_codec_options levels[] = {
      {.level = KVI_CODEC_LOSSLESS},
      {.level = KVI_CODEC_LADDER},
      {.level = KVI_CODEC_LADDER, .planes = 2},
      {.level = KVI_CODEC_CACHEGEN},
  };

  (void)state;
  for (enum kvi_codec_dtype dtype = KVI_CODEC_BF16; dtype <= KVI_CODEC_INT8; dtype++)
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++)
      for (enum sample_kind kind = SAMPLE_GAUSSIAN; kind < SAMPLE_KINDS; kind++) {
        struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){
            .dtype = dtype, .n_layers = 1, .n_tokens = 61, .n_heads = 2, .key_dim = 64, .value_dim = 24});

        check_environments(&shape, &levels[level], kind);
      }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_environment_changes_a_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
