/* The segment table: golden bytes, and every corruption refused. */
#include "tests/unit/proto/testing.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "proto/chunk.h"
#include "proto/limits.h"
#include "tests/unit/proto/vectors.h"

static const struct kvi_segment three[] = {{1, 0}, {70000, 0xFFFFFFFFu}, {4096, 1}};

static void golden_bytes(void **state)
{
  const struct kvi_segment one = {5, 0xDEADBEEFu};
  uint8_t bytes[64];

  (void)state;
  kvi_chunk_table_write(bytes, &one, 1, 0);
  assert_hex(bytes, kvi_chunk_table_size(1), vector_table_one);
  kvi_chunk_table_write(bytes, three, 3, 0x1234);
  assert_hex(bytes, kvi_chunk_table_size(3), vector_table_three);
}

static void what_is_written_is_read(void **state)
{
  uint8_t bytes[80];
  struct kvi_chunk_table table;

  (void)state;
  for (size_t shift = 0; shift < 4; shift++) { /* at any alignment, with a payload behind it or not */
    kvi_chunk_table_write(bytes + shift, three, 3, 0x1234);
    assert_int_equal(kvi_chunk_table_read(bytes + shift, kvi_chunk_table_size(3) + shift, &table), KVS_OK);
    assert_int_equal(table.n_segments, 3);
    assert_int_equal(table.quality, 0x1234);
    assert_int_equal(table.length, 1 + 70000 + 4096);
    for (uint32_t i = 0; i < 3; i++) {
      struct kvi_segment segment = kvi_chunk_table_segment(&table, i);
      assert_int_equal(segment.length, three[i].length);
      assert_int_equal(segment.crc32c, three[i].crc32c);
    }
  }
}

static void every_flipped_bit_is_refused(void **state)
{
  uint8_t bytes[48];
  struct kvi_chunk_table table;

  (void)state;
  kvi_chunk_table_write(bytes, three, 3, 7);
  for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(kvi_chunk_table_read(bytes, sizeof bytes, &table), KVS_ERR_CORRUPT);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  assert_int_equal(kvi_chunk_table_read(bytes, sizeof bytes, &table), KVS_OK);
}

static void the_first_bytes_say_the_quality(void **state)
{
  uint8_t bytes[48];
  uint16_t quality;

  (void)state;
  kvi_chunk_table_write(bytes, three, 3, 0x1234);
  assert_int_equal(kvi_chunk_table_quality(bytes, &quality), KVS_OK);
  assert_int_equal(quality, 0x1234);
  for (size_t i = 0; i < 6; i++) { /* magic and version */
    bytes[i] ^= 1;
    assert_int_equal(kvi_chunk_table_quality(bytes, &quality), KVS_ERR_CORRUPT);
    bytes[i] ^= 1;
  }
}

static void every_truncation_is_refused(void **state)
{
  uint8_t bytes[48];
  struct kvi_chunk_table table;

  (void)state;
  kvi_chunk_table_write(bytes, three, 3, 7);
  for (size_t size = 0; size < sizeof bytes; size++) {
    uint8_t *exact = malloc(size ? size : 1); /* ASan sees a step beyond it */
    memcpy(exact, bytes, size);
    assert_int_equal(kvi_chunk_table_read(exact, size, &table), KVS_ERR_CORRUPT);
    free(exact);
  }
}

/* Writes the checksum that fits whatever stands in the table: only the checks behind it can refuse. */
static void seal(uint8_t *bytes, uint32_t n_segments)
{
  kvi_store_le32(bytes + 12, 0);
  kvi_store_le32(bytes + 12, kvi_crc32c_update(0, bytes, kvi_chunk_table_size(n_segments)));
}

static void sealed_nonsense_is_refused(void **state)
{
  static const struct {
    size_t at;
    uint32_t value;
  } changes[] = {
      {0, 0x3254564Bu},          /* another magic */
      {4, 2},                    /* another version */
      {16, 74098},               /* length is not the sum */
      {20, 1},                   /* nor above 32 bits */
      {24, 0},                   /* an empty segment */
      {32, KVI_CHUNK_BYTES_MAX}, /* too long in all */
  };
  uint8_t bytes[48];
  struct kvi_chunk_table table;

  (void)state;
  for (size_t i = 0; i < COUNT(changes); i++) {
    kvi_chunk_table_write(bytes, three, 3, 0);
    kvi_store_le32(bytes + changes[i].at, changes[i].value);
    if (changes[i].at >= 24) { /* keep the sum right */
      uint64_t sum = 0;
      for (size_t s = 0; s < 3; s++)
        sum += kvi_load_le32(bytes + 24 + 8 * s);
      kvi_store_le64(bytes + 16, sum);
    }
    seal(bytes, 3);
    assert_int_equal(kvi_chunk_table_read(bytes, sizeof bytes, &table), KVS_ERR_CORRUPT);
  }
}

static void counts_have_bounds(void **state)
{
  size_t size = kvi_chunk_table_size(KVI_SEGMENTS_MAX + 1);
  uint8_t *bytes = calloc(1, size);
  struct kvi_segment *segments = calloc(KVI_SEGMENTS_MAX, sizeof *segments);
  struct kvi_chunk_table table;

  (void)state;
  for (uint32_t i = 0; i < KVI_SEGMENTS_MAX; i++)
    segments[i].length = KVI_CHUNK_BYTES_MAX / KVI_SEGMENTS_MAX;
  kvi_chunk_table_write(bytes, segments, KVI_SEGMENTS_MAX, 0);
  assert_int_equal(kvi_chunk_table_read(bytes, size, &table), KVS_OK);
  assert_int_equal(table.length, KVI_CHUNK_BYTES_MAX);

  kvi_store_le32(bytes + 8, KVI_SEGMENTS_MAX + 1);
  kvi_store_le32(bytes + size - 8, 1);
  kvi_store_le64(bytes + 16, KVI_CHUNK_BYTES_MAX + 1ull);
  seal(bytes, KVI_SEGMENTS_MAX + 1);
  assert_int_equal(kvi_chunk_table_read(bytes, size, &table), KVS_ERR_CORRUPT);

  kvi_store_le32(bytes + 8, 0);
  kvi_store_le64(bytes + 16, 0);
  seal(bytes, 0);
  assert_int_equal(kvi_chunk_table_read(bytes, size, &table), KVS_ERR_CORRUPT);

  kvi_store_le32(bytes + 8, UINT32_MAX); /* a size that would overflow 32 bits */
  assert_int_equal(kvi_chunk_table_read(bytes, size, &table), KVS_ERR_CORRUPT);
  free(segments);
  free(bytes);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_bytes),
      cmocka_unit_test(what_is_written_is_read),
      cmocka_unit_test(every_flipped_bit_is_refused),
      cmocka_unit_test(the_first_bytes_say_the_quality),
      cmocka_unit_test(every_truncation_is_refused),
      cmocka_unit_test(sealed_nonsense_is_refused),
      cmocka_unit_test(counts_have_bounds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
