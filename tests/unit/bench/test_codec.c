/* kvasir-bench codec: what its numbers rest on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/curve.h"
#include "tests/bench/codec/document.h"
#include "tests/bench/codec/error.h"
#include "tests/bench/codec/method.h"
#include "tests/bench/codec/number.h"
#include "tests/bench/codec/statistics.h"
#include "tests/bench/codec/synthetic.h"
#include "tests/unit/bench/testing.h"

static void numbers_are_rounded_to_nearest(void **state)
{
  (void)state;
  assert_int_equal(codec_to_bf16(1.0f), 0x3F80);
  assert_int_equal(codec_to_bf16(1.00390625f), 0x3F80); /* a tie goes to even */
  assert_int_equal(codec_to_bf16(1.01171875f), 0x3F82); /* so does this one */
  assert_int_equal(codec_to_bf16(nextafterf(1.00390625f, 2)), 0x3F81);
  assert_true(codec_from_bf16(0xC000) == -2.0f);
  assert_true(codec_round_fp16(1.0f) == 1.0f);
  assert_true(codec_round_fp16(2049.0f) == 2048.0f);
  assert_true(codec_round_fp16(2051.0f) == 2052.0f);
  assert_true(codec_round_fp16(1e9f) == 65504.0f);
  assert_true(codec_round_fp16(-3.0e-8f) == -5.9604644775390625e-8f); /* the least there is */
  assert_true(codec_round_fp16(0.0f) == 0.0f);
}

static void curves_are_what_one_would_choose_from(void **state)
{
  struct codec_curve curve = {.n = 0};
  double bits;

  (void)state;
  codec_curve_add(&curve, 0.1, 4);
  codec_curve_add(&curve, 0.01, 8);
  codec_curve_add(&curve, 0.05, 9); /* beaten in both */
  codec_curve_add(&curve, 0, 1);
  codec_curve_add(&curve, NAN, 1);
  codec_curve_settle(&curve);
  assert_int_equal(curve.n, 2);
  assert_true(codec_curve_at(&curve, 0.01, &bits));
  assert_close(bits, 8);
  assert_true(codec_curve_at(&curve, sqrt(0.001), &bits)); /* halfway, by the logarithm */
  assert_close(bits, 6);
  assert_false(codec_curve_at(&curve, 0.2, &bits));
  assert_false(codec_curve_at(&curve, 0.005, &bits));
}

static void a_full_curve_takes_no_more(void **state)
{
  struct codec_curve curve = {.n = 0};

  (void)state;
  for (int i = 0; i < 200; i++)
    codec_curve_add(&curve, 1.0 / (i + 1), i + 1);
  assert_int_equal(curve.n, CODEC_CURVE_MAX);
  codec_curve_settle(&curve);
  assert_int_equal(curve.n, CODEC_CURVE_MAX);
}

static struct codec_set make(const char *mode, uint32_t layers)
{
  struct codec_set set;

  assert_int_equal(codec_synthetic_make(mode, layers, 64, 1, &set), KVS_OK);
  return set;
}

static void a_seed_gives_the_same_tensors(void **state)
{
  (void)state;
  for (size_t i = 0; codec_synthetic_modes[i] != NULL; i++) {
    struct codec_set a = make(codec_synthetic_modes[i], 2);
    struct codec_set b = make(codec_synthetic_modes[i], 2);
    struct codec_set c;
    size_t bytes = codec_set_chunk(&a) * sizeof *a.kv;

    assert_memory_equal(a.kv, b.kv, bytes);
    assert_int_equal(codec_synthetic_make(codec_synthetic_modes[i], 2, 64, 2, &c), KVS_OK);
    assert_int_not_equal(memcmp(a.kv, c.kv, bytes), 0);
    for (size_t k = 0; k < codec_set_chunk(&a); k++)
      assert_true(isfinite(codec_from_bf16(a.kv[k])));
    codec_set_free(&a);
    codec_set_free(&b);
    codec_set_free(&c);
  }
}

static void unknown_modes_are_refused(void **state)
{
  struct codec_set set;

  (void)state;
  assert_int_equal(codec_synthetic_make("head7", 1, 64, 1, &set), KVS_ERR_INVALID);
  assert_null(set.kv);
  codec_set_free(&set);
}

/* What design data says of real tensors, with room for the luck of a small set. */
static void synthetic_tensors_look_like_real_ones(void **state)
{
  struct codec_statistics statistics;
  struct codec_set set;

  (void)state;
  assert_int_equal(codec_synthetic_make("head128", 4, 256, 1, &set), KVS_OK);
  codec_statistics_of(&set, &statistics);
  assert_true(statistics.exponent_entropy > 2.5 && statistics.exponent_entropy < 3.0);
  assert_true((statistics.q8_keys + statistics.q8_values) / 2 > 7.5);
  assert_true((statistics.q8_keys + statistics.q8_values) / 2 < 7.7);
  assert_true(statistics.correlation > 0.2 && statistics.correlation < 0.6);
  codec_set_free(&set);
}

/* Runs a method of the list on a set. */
static struct codec_line measure(const struct codec_set *set, const char *name)
{
  struct codec_method *methods = calloc(CODEC_METHODS_MAX, sizeof *methods);
  uint16_t *decoded = malloc(codec_set_chunk(set) * sizeof *decoded);
  size_t n = codec_methods(methods, CODEC_METHODS_MAX);
  struct codec_line line = {.bits = 0};
  struct codec_truth *truth;
  struct codec_tally *tally;
  struct codec_size size;

  assert_true(n < CODEC_METHODS_MAX);
  for (size_t i = 0; i < n; i++)
    if (strcmp(methods[i].name, name) == 0)
      line.method = methods[i];
  assert_non_null(line.method.code);
  assert_int_equal(codec_truth_make(set, &truth), KVS_OK);
  assert_int_equal(codec_tally_make(truth, &tally), KVS_OK);
  assert_int_equal(line.method.code(&line.method, set, 0, decoded, &size), KVS_OK);
  codec_tally_add(tally, 0, decoded);
  codec_tally_result(tally, &line.error);
  line.bits = size.bits / (double)codec_set_chunk(set);
  line.payload = size.payload / (double)codec_set_chunk(set);
  codec_tally_free(tally);
  codec_truth_free(truth);
  free(decoded);
  free(methods);
  return line;
}

static void what_is_exact_has_no_error(void **state)
{
  struct codec_set set = make("head32", 2);
  struct codec_line line = measure(&set, "zstd-1");

  (void)state;
  assert_true(line.error.exact);
  assert_close(line.error.keys, 0);
  assert_close(line.error.values_worst, 0);
  assert_close(line.error.attention, 0);
  assert_close(line.error.divergence, 0);
  assert_close(line.error.top, 1);
  assert_close(line.error.needles, 1);
  codec_set_free(&set);
}

/* Rates of fixed-rate peers follow from their rules; errors shrink by about 4 a bit. */
static void fixed_rates_are_what_they_should_be(void **state)
{
  struct codec_set set = make("head64", 2);
  struct codec_line eight = measure(&set, "int8-g32");
  struct codec_line four = measure(&set, "int4-g32");

  (void)state;
  assert_close(eight.bits, 9);
  assert_close(four.bits, 5);
  assert_close(measure(&set, "q8_0").bits, 8.5);
  assert_false(four.error.exact);
  assert_true(four.error.keys > 10 * eight.error.keys && four.error.keys < 30 * eight.error.keys);
  assert_true(four.error.keys_worst >= four.error.keys);
  assert_true(four.error.divergence > eight.error.divergence && four.error.top <= 1);
  codec_set_free(&set);
}

/* 64 tokens: 33 numbers of 16 bits for each channel's table, 32 bits of length, 16 bits for each token's scale. */
static void lmcache_pays_for_its_tables(void **state)
{
  struct codec_set set = make("head128", 2);
  struct codec_line line = measure(&set, "lmcache-32-16");
  double columns = (double)codec_set_columns(&set);

  (void)state;
  assert_close(line.bits - line.payload, (33 * 16 + 32) / 64.0 + 16 / columns);
  assert_true(line.payload > 2 && line.payload < 4);
  codec_set_free(&set);
}

/* All zero, where a quantiser that divides by the largest value would give NaN. */
static void nothing_is_lost_of_nothing(void **state)
{
  static const char *const names[] = {"lmcache-32-16", "int4-g32", "q8_0", "ideal-curve-800"};
  struct codec_set set = make("head32", 1);

  (void)state;
  memset(set.kv, 0, codec_set_chunk(&set) * sizeof *set.kv);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    struct codec_line line = measure(&set, names[i]);

    assert_close(line.error.keys, 0);
    assert_close(line.error.values, 0);
    assert_close(line.error.attention, 0);
    assert_true(isfinite(line.bits));
  }
  codec_set_free(&set);
}

static void noise_is_told(void **state)
{
  struct codec_set set = make("head32", 1);
  struct codec_truth *truth;
  struct codec_tally *tally;
  struct codec_error error;
  uint16_t *decoded = calloc(codec_set_chunk(&set), sizeof *decoded);

  (void)state;
  assert_int_equal(codec_truth_make(&set, &truth), KVS_OK);
  assert_int_equal(codec_tally_make(truth, &tally), KVS_OK);
  decoded[0] = 0x7FC0; /* NaN among zeros */
  codec_tally_add(tally, 0, decoded);
  codec_tally_result(tally, &error);
  assert_false(error.exact);
  assert_true(isinf(error.keys_worst));
  assert_true(error.values > 0.9 && error.values < 1.5); /* zeros for all: about as large as the values */
  assert_true(error.needles < 0.5);
  codec_tally_free(tally);
  codec_truth_free(truth);
  free(decoded);
  codec_set_free(&set);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_are_rounded_to_nearest),
      cmocka_unit_test(curves_are_what_one_would_choose_from),
      cmocka_unit_test(a_full_curve_takes_no_more),
      cmocka_unit_test(a_seed_gives_the_same_tensors),
      cmocka_unit_test(unknown_modes_are_refused),
      cmocka_unit_test(synthetic_tensors_look_like_real_ones),
      cmocka_unit_test(what_is_exact_has_no_error),
      cmocka_unit_test(fixed_rates_are_what_they_should_be),
      cmocka_unit_test(lmcache_pays_for_its_tables),
      cmocka_unit_test(nothing_is_lost_of_nothing),
      cmocka_unit_test(noise_is_told),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
