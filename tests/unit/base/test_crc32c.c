#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/crc32c.h"
#include "base/rand.h"

/* One bit at a time, straight from the polynomial. */
static uint32_t reference(uint32_t crc, const unsigned char *buf, size_t length)
{
  crc = ~crc;
  for (size_t i = 0; i < length; i++) {
    crc ^= buf[i];
    for (int bit = 0; bit < 8; bit++)
      crc = (crc & 1) ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
  }
  return ~crc;
}

static void known_vectors(void **state)
{
  unsigned char buf[48];

  (void)state;
  assert_int_equal(kvi_crc32c_update(0, NULL, 0), 0);
  assert_int_equal(kvi_crc32c_update(0, "123456789", 9), 0xE3069283u);
  /* RFC 3720, B.4 */
  memset(buf, 0, 32);
  assert_int_equal(kvi_crc32c_update(0, buf, 32), 0x8A9136AAu);
  memset(buf, 0xFF, 32);
  assert_int_equal(kvi_crc32c_update(0, buf, 32), 0x62A8AB43u);
  for (unsigned i = 0; i < 32; i++)
    buf[i] = (unsigned char)i;
  assert_int_equal(kvi_crc32c_update(0, buf, 32), 0x46DD794Eu);
  for (unsigned i = 0; i < 32; i++)
    buf[i] = (unsigned char)(31 - i);
  assert_int_equal(kvi_crc32c_update(0, buf, 32), 0x113FDB5Cu);
  static const unsigned char scsi_read[48] = {
      0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
      0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,    0};
  assert_int_equal(kvi_crc32c_update(0, scsi_read, 48), 0xD9963A56u);
}

#define SIZE (200 * 1024)

static void against_the_reference(void **state)
{
  unsigned char *src = malloc(SIZE), *dst = malloc(SIZE + 1);
  kvi_rand rand;

  (void)state;
  assert_non_null(src);
  assert_non_null(dst);
  kvi_rand_seed(&rand, 7);
  for (size_t i = 0; i < SIZE; i++)
    src[i] = (unsigned char)kvi_rand_next(&rand);
  for (int round = 0; round < 300; round++) {
    size_t bound = round < 250 ? 600 : SIZE;
    size_t length = round == 299 ? SIZE : (size_t)kvi_rand_below(&rand, bound);
    size_t start = (size_t)kvi_rand_below(&rand, SIZE - length + 1);
    size_t cut = (size_t)kvi_rand_below(&rand, length + 1);
    const unsigned char *at = src + start;
    uint32_t want = reference(0, at, length);
    uint32_t head = kvi_crc32c_update(0, at, cut);

    assert_int_equal(kvi_crc32c_update(0, at, length), want);
    assert_int_equal(kvi_crc32c_update(head, at + cut, length - cut), want);
    assert_int_equal(kvi_crc32c_combine(head, kvi_crc32c_update(0, at + cut, length - cut), length - cut),
                     want);
    memset(dst, 0xA5, SIZE + 1);
    assert_int_equal(kvi_crc32c_copy(0, dst, at, length), want);
    assert_memory_equal(dst, at, length);
    assert_int_equal(dst[length], 0xA5);
    assert_int_equal(kvi_crc32c_copy(head, dst, at + cut, length - cut), want);
  }
  free(src);
  free(dst);
}

/* Every alignment of source and destination, around the lengths at which the way of copying changes. */
static void copies_of_any_alignment(void **state)
{
  enum { ROOM = 16 * 1024 };
  static const size_t lengths[] = {0, 1, 15, 3071, 3072, 6143, 6144, 6145, 6160, 9216, 9300, 12288, 12303};
  unsigned char *src = malloc(ROOM), *dst = malloc(ROOM);

  (void)state;
  assert_non_null(src);
  assert_non_null(dst);
  for (size_t i = 0; i < ROOM; i++)
    src[i] = (unsigned char)(i * 31 + i / 251);
  for (size_t n = 0; n < sizeof(lengths) / sizeof(*lengths); n++)
    for (size_t from = 0; from < 16; from += 5)
      for (size_t to = 1; to <= 17; to++) {
        size_t length = lengths[n];

        memset(dst, 0xA5, ROOM);
        assert_int_equal(kvi_crc32c_copy(7, dst + to, src + from, length), reference(7, src + from, length));
        assert_memory_equal(dst + to, src + from, length);
        assert_int_equal(dst[to - 1], 0xA5);
        assert_int_equal(dst[to + length], 0xA5);
      }
  free(src);
  free(dst);
}

static void combine_edges(void **state)
{
  uint32_t a = kvi_crc32c_update(0, "abc", 3);

  (void)state;
  assert_int_equal(kvi_crc32c_combine(a, 0, 0), a);
  assert_int_equal(kvi_crc32c_combine(0, a, 3), a);
  /* twice 2^40 zero bytes and one combine of 2^41 are the same */
  uint32_t z40 = 0x12345678u;
  uint32_t twice = kvi_crc32c_combine(kvi_crc32c_combine(a, z40, UINT64_C(1) << 40), z40, UINT64_C(1) << 40);
  uint32_t once = kvi_crc32c_combine(a, kvi_crc32c_combine(z40, z40, UINT64_C(1) << 40), UINT64_C(1) << 41);
  assert_int_equal(twice, once);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_vectors),
      cmocka_unit_test(against_the_reference),
      cmocka_unit_test(copies_of_any_alignment),
      cmocka_unit_test(combine_edges),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
