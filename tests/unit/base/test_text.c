#include <string.h>

#include "testing.h"

#include "base/array.h"
#include "base/rand.h"
#include "base/text.h"

static void hex(void **state)
{
  uint8_t bytes[4] = {0};
  char text[9];
  size_t length = 9;

  (void)state;
  assert_int_equal(kvi_hex_encode("\x00\xfe\x7f", 3, text, sizeof text), KVS_OK);
  assert_string_equal(text, "00fe7f");
  assert_int_equal(kvi_hex_encode("\x01\x02\x03\x04", 4, text, 9), KVS_OK);
  assert_int_equal(kvi_hex_encode("\x01\x02\x03\x04", 4, text, 8), KVS_ERR_BUFFER);
  assert_int_equal(kvi_hex_encode("", 0, text, 0), KVS_ERR_BUFFER);
  assert_int_equal(kvi_hex_encode(text, SIZE_MAX / 2 + 1, text, sizeof text), KVS_ERR_BUFFER);
  assert_int_equal(kvi_hex_decode("00fE7F", bytes, sizeof bytes, &length), KVS_OK);
  assert_int_equal(length, 3);
  assert_memory_equal(bytes, "\x00\xfe\x7f", 3);
  assert_int_equal(kvi_hex_decode("", bytes, 0, &length), KVS_OK);
  assert_int_equal(length, 0);
  assert_int_equal(kvi_hex_decode("123", bytes, sizeof bytes, &length), KVS_ERR_INVALID);
  assert_int_equal(kvi_hex_decode("1g", bytes, sizeof bytes, &length), KVS_ERR_INVALID);
  assert_int_equal(kvi_hex_decode("0102030405", bytes, sizeof bytes, &length), KVS_ERR_BUFFER);
}

static void integers(void **state)
{
  static const char *const wrong[] = {"",    "-",  "+1", " 1", "1 ", "1.0", "0x10", "9223372036854775808",
                                      "1e3", "--1"};
  int64_t value = 1;

  (void)state;
  assert_int_equal(kvi_parse_int("0", &value), KVS_OK);
  assert_true(value == 0);
  assert_int_equal(kvi_parse_int("-42", &value), KVS_OK);
  assert_true(value == -42);
  assert_int_equal(kvi_parse_int("9223372036854775807", &value), KVS_OK);
  assert_true(value == INT64_MAX);
  for (size_t i = 0; i < KVI_ARRAY_SIZE(wrong); i++)
    assert_int_equal(kvi_parse_int(wrong[i], &value), KVS_ERR_INVALID);
}

typedef struct sample {
  const char *text;
  uint64_t value;
} sample;

static void sizes(void **state)
{
  static const sample right[] = {
      {"0", 0},
      {"1", 1},
      {"17B", 17},
      {"64KiB", 65536},
      {"64Ki", 65536},
      {"64K", 65536},
      {"64kB", 64000},
      {"2GiB", UINT64_C(2) << 30},
      {"1.5GiB", UINT64_C(3) << 29},
      {"0.1MB", 100000},
      {"0.1KiB", 102},
      {"1.0000000000000001KiB", 1024},
      {"0.999999999TiB", 1099511626676},
      {"8388607TiB", UINT64_C(8388607) << 40},
      {"9223372036854775807", INT64_MAX},
  };
  static const char *const wrong[] = {
      "",     "GiB",      "-1",  "1 GiB", "1gib", "1.GiB", ".5GiB",
      "1,5M", "8388608T", "1e9", "1KiBs", "0x10", "1..2",  "9223372036854775808"};
  uint64_t value = 1;

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(right); i++) {
    assert_int_equal(kvi_parse_size(right[i].text, &value), KVS_OK);
    assert_true(value == right[i].value);
  }
  for (size_t i = 0; i < KVI_ARRAY_SIZE(wrong); i++)
    assert_int_equal(kvi_parse_size(wrong[i], &value), KVS_ERR_INVALID);
}

static void durations(void **state)
{
  static const sample right[] = {{"0", 0},       {"250ms", 250},   {"10s", 10000},   {"1.5s", 1500},
                                 {"2m", 120000}, {"1h", 3600000},  {"1d", 86400000}, {"0.0009s", 0},
                                 {"0s", 0},      {"0.5h", 1800000}};
  static const char *const wrong[] = {"", "10", "0.0", "s", "-1s", "1 s", "1us", "1min", "106751991168d"};
  uint64_t value = 1;

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(right); i++) {
    assert_int_equal(kvi_parse_duration(right[i].text, &value), KVS_OK);
    assert_true(value == right[i].value);
  }
  for (size_t i = 0; i < KVI_ARRAY_SIZE(wrong); i++)
    assert_int_equal(kvi_parse_duration(wrong[i], &value), KVS_ERR_INVALID);
}

static void formats_parse_back(void **state)
{
  char text[KVI_FORMAT_MAX];
  uint64_t value = 0;
  kvi_rand rand;

  (void)state;
  assert_string_equal(kvi_format_size(0, text), "0");
  assert_string_equal(kvi_format_size(65536, text), "64KiB");
  assert_string_equal(kvi_format_size(65537, text), "65537");
  assert_string_equal(kvi_format_duration(0, text), "0ms");
  assert_string_equal(kvi_format_duration(1500, text), "1500ms");
  assert_string_equal(kvi_format_duration(7200000, text), "2h");
  kvi_rand_seed(&rand, 3);
  for (int i = 0; i < 2000; i++) {
    uint64_t wanted = (kvi_rand_next(&rand) >> 1) >> kvi_rand_below(&rand, 63) << kvi_rand_below(&rand, 30);

    wanted &= INT64_MAX;
    assert_int_equal(kvi_parse_size(kvi_format_size(wanted, text), &value), KVS_OK);
    assert_true(value == wanted);
    assert_int_equal(kvi_parse_duration(kvi_format_duration(wanted, text), &value), KVS_OK);
    assert_true(value == wanted);
  }
}

static void checked_sizes(void **state)
{
  size_t result = 7;

  (void)state;
  assert_false(kvi_size_add(SIZE_MAX, 1, &result));
  assert_false(kvi_size_mul(SIZE_MAX / 2, 3, &result));
  assert_int_equal(result, 7);
  assert_true(kvi_size_add(SIZE_MAX - 1, 1, &result));
  assert_true(result == SIZE_MAX);
  assert_true(kvi_size_mul(3, 5, &result));
  assert_int_equal(result, 15);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hex),       cmocka_unit_test(integers),           cmocka_unit_test(sizes),
      cmocka_unit_test(durations), cmocka_unit_test(formats_parse_back), cmocka_unit_test(checked_sizes),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
