/* Keys and values: golden bytes of docs/formats/redis.md, and every damage told from the others. */
#include "tests/unit/redis/testing.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/text.h"

static const char golden_key[] = "6b76617369723a010764656661756c74"
                                 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                                 "08a0a1a2a3a4a5a6a7";
static const char golden_value[] = "4b565231010048000d231962030000006d000000000000000500000000000000"
                                   "0100000000080000446c55b4e32b91bbed1b7d068311ec820000000000000000"
                                   "90919293949596974b565431010000000100000040c69a1b0500000000000000"
                                   "050000004cbb719a68656c6c6f";

static const char golden_coded_value[] = "4b56523102004800404f3246030000006d000000000000000500000000000000"
                                         "0100000000080000446c55b4e32b91bbed1b7d068311ec820000000000000000"
                                         "90919293949596974b56543101005201010000008a8735f50500000000000000"
                                         "050000004cbb719a68656c6c6f";

#define CODED kvi_quality(2, 5, KVI_CODING_KVC1)

static void golden_make_as(uint16_t quality, struct kvi_redis_key *key, uint8_t *out, size_t room,
                           size_t *length_p)
{
  static const uint8_t own[] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7};
  static const uint8_t parent[] = {0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97};
  struct kvi_segment segment = {.length = 5, .crc32c = kvi_crc32c_update(0, "hello", 5)};
  struct kvi_redis_chunk chunk = {.place = 3,
                                  .parent = parent,
                                  .parent_length = 8,
                                  .quality = quality,
                                  .segments = &segment,
                                  .n_segments = 1};
  uint8_t space[KVS_DIGEST_SIZE];
  struct kvi_redis_identity identity = {.tenant = "default", .space = space, .key = own, .key_length = 8};
  uint64_t payload;

  for (size_t i = 0; i < sizeof(space); i++)
    space[i] = (uint8_t)i;
  assert_int_equal(kvi_redis_key_make("kvasir:", &identity, key), KVS_OK);
  assert_int_equal(kvi_redis_value_write(key, &chunk, out, room, length_p, &payload), KVS_OK);
  assert_int_equal(payload, 5);
  memcpy(out + *length_p, "hello", 5);
}

static void golden_make(struct kvi_redis_key *key, uint8_t *out, size_t room, size_t *length_p)
{
  golden_make_as(0, key, out, room, length_p);
}

static void assert_hex(const uint8_t *bytes, size_t length, const char *wanted)
{
  char hex[1024];

  assert_int_equal(kvi_hex_encode(bytes, length, hex, sizeof(hex)), KVS_OK);
  assert_string_equal(hex, wanted);
}

static void golden_bytes(void **state)
{
  struct kvi_redis_key key;
  uint8_t value[256];
  size_t prologue;

  (void)state;
  golden_make(&key, value, sizeof(value), &prologue);
  assert_hex(key.bytes, key.length, golden_key);
  assert_hex(value, prologue + 5, golden_value);
  golden_make_as(CODED, &key, value, sizeof(value), &prologue);
  assert_hex(value, prologue + 5, golden_coded_value);
}

/* What is coded is of a version that readers without codings do not read; what has only lost something is not. */
static void coded_values_have_a_version(void **state)
{
  struct kvi_redis_value value;
  struct kvi_chunk_table table;
  struct kvi_redis_key key;
  uint8_t bytes[256];
  size_t prologue;

  (void)state;
  for (uint32_t i = 0; i < 4; i++) {
    uint16_t quality = kvi_quality(i / 2 * 3, 15, i % 2 ? KVI_CODING_KVC1 : KVI_CODING_NONE);

    golden_make_as(quality, &key, bytes, sizeof(bytes), &prologue);
    assert_int_equal(kvi_load_le16(bytes + 4), 1 + i % 2);
    assert_int_equal(kvi_redis_value_header_bytes(bytes), 72);
    assert_int_equal(kvi_redis_value_read(&key, bytes, prologue, prologue + 5, &value), KVI_REDIS_NONE);
    assert_int_equal(kvi_redis_value_quality(&value, bytes, prologue), KVI_REDIS_NONE);
    assert_int_equal(kvi_redis_value_table(&value, bytes, &table), KVI_REDIS_NONE);
    assert_int_equal(value.quality, quality);
    bytes[4] = (uint8_t)(3 - bytes[4]); /* sealed, of the other version */
    kvi_store_le32(bytes + 8, 0);
    kvi_store_le32(bytes + 8, kvi_crc32c_update(0, bytes, 72));
    assert_int_equal(kvi_redis_value_read(&key, bytes, prologue, prologue + 5, &value), KVI_REDIS_NONE);
    assert_int_equal(kvi_redis_value_quality(&value, bytes, prologue), KVI_REDIS_CHECKSUM);
    assert_int_equal(kvi_redis_value_table(&value, bytes, &table), KVI_REDIS_CHECKSUM);
    bytes[4] = 3;
    assert_int_equal(kvi_redis_value_read(&key, bytes, prologue, prologue + 5, &value), KVI_REDIS_VERSION);
  }
}

static void what_is_written_is_read(void **state)
{
  struct kvi_redis_value value;
  struct kvi_chunk_table table;
  struct chunk chunk;

  (void)state;
  for (uint64_t number = 0; number < 16; number++) {
    chunk_make(&chunk, number, 1000 + number);
    assert_int_equal(kvi_redis_value_header_bytes(chunk.prologue), KVI_REDIS_HEADER + 32);
    assert_int_equal(kvi_redis_value_read(&chunk.key, chunk.prologue, chunk.prologue_length,
                                          chunk.prologue_length + chunk.length, &value),
                     KVI_REDIS_NONE);
    assert_int_equal(value.payload_bytes, chunk.length);
    assert_int_equal(value.prologue_bytes, chunk.prologue_length);
    assert_int_equal(value.place, number);
    assert_int_equal(value.ttl_ms, number % 3 ? 0 : 3600000 + number);
    assert_int_equal(value.parent_length, 32);
    assert_false(value.unchained);
    assert_int_equal(kvi_redis_value_table(&value, chunk.prologue, &table), KVI_REDIS_NONE);
    assert_int_equal(table.n_segments, chunk.n_segments);
    for (uint32_t i = 0; i < table.n_segments; i++)
      assert_int_equal(kvi_chunk_table_segment(&table, i).crc32c, chunk.segments[i].crc32c);
    chunk_free(&chunk);
  }
}

static enum kvi_redis_cause read_golden(const struct kvi_redis_key *key, const uint8_t *value, size_t size,
                                        uint64_t value_bytes)
{
  struct kvi_redis_value decoded;

  return kvi_redis_value_read(key, value, size, value_bytes, &decoded);
}

static void damages_have_their_names(void **state)
{
  struct kvi_redis_key key, other;
  uint8_t value[256], damaged[256];
  size_t prologue, whole;

  (void)state;
  golden_make(&key, value, sizeof(value), &prologue);
  whole = prologue + 5;
  other = key;
  other.check[3] ^= 1;
  assert_int_equal(read_golden(&key, value, whole, whole), KVI_REDIS_NONE);
  assert_int_equal(read_golden(&key, value, whole, 0), KVI_REDIS_NONE);
  assert_int_equal(read_golden(&other, value, whole, whole), KVI_REDIS_MISPLACED);
  assert_int_equal(read_golden(&key, value, whole, whole - 1), KVI_REDIS_LENGTH);
  assert_int_equal(read_golden(&key, value, whole, whole + 1), KVI_REDIS_LENGTH);
  for (size_t size = 0; size < 72; size++) /* cut anywhere in the header */
    assert_int_equal(read_golden(&key, value, size, size), size < 4 ? KVI_REDIS_FOREIGN : KVI_REDIS_LENGTH);
  for (size_t bit = 0; bit < 72 * 8; bit++) {
    enum kvi_redis_cause cause;

    memcpy(damaged, value, whole);
    damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
    cause = read_golden(&key, damaged, whole, whole);
    if (bit < 4 * 8)
      assert_int_equal(cause, KVI_REDIS_FOREIGN);
    else if (bit < 6 * 8)
      assert_int_equal(cause, KVI_REDIS_VERSION);
    else
      assert_true(cause == KVI_REDIS_CHECKSUM || cause == KVI_REDIS_LENGTH); /* a longer header may be cut */
  }
}

/* A fitting checksum does not make sense of nonsense. */
static void sealed_nonsense_is_refused(void **state)
{
  static const struct {
    size_t at;
    uint8_t value;
  } lies[] = {{16, 200}, {24, 4}, {24, 0}, {32, 0}, {32, 2}, {33, 0x20},
              {36, 2},   {37, 9}, {37, 0}, {38, 1}, {60, 1}, {63, 1}};
  struct kvi_redis_key key;
  uint8_t value[256], lie[256];
  size_t prologue;

  (void)state;
  golden_make(&key, value, sizeof(value), &prologue);
  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    memcpy(lie, value, sizeof(lie));
    lie[lies[i].at] = lies[i].value;
    kvi_store_le32(lie + 8, 0);
    kvi_store_le32(lie + 8, kvi_crc32c_update(0, lie, 72));
    assert_int_equal(read_golden(&key, lie, prologue + 5, 0), KVI_REDIS_CHECKSUM);
  }
}

static void table_must_be_the_headers(void **state)
{
  struct kvi_redis_value value;
  struct kvi_chunk_table table;
  struct kvi_redis_key key;
  struct kvi_segment segment = {.length = 6, .crc32c = 0};
  uint8_t bytes[256];
  size_t prologue;

  (void)state;
  golden_make(&key, bytes, sizeof(bytes), &prologue);
  assert_int_equal(kvi_redis_value_read(&key, bytes, prologue, 0, &value), KVI_REDIS_NONE);
  assert_int_equal(kvi_redis_value_table(&value, bytes, &table), KVI_REDIS_NONE);
  kvi_chunk_table_write(bytes + value.header_bytes, &segment, 1, 0); /* sound, of another chunk */
  assert_int_equal(kvi_redis_value_table(&value, bytes, &table), KVI_REDIS_CHECKSUM);
}

/* A look reads so much that it sees the quality of any value, also under the longest parent. */
static void looks_see_the_quality(void **state)
{
  static const uint8_t parent[KVS_KEY_MAX] = {1};
  struct kvi_segment segment = {.length = 5, .crc32c = kvi_crc32c_update(0, "hello", 5)};
  struct kvi_redis_chunk chunk = {.quality = kvi_quality(5, 6, KVI_CODING_NONE),
                                  .parent = parent,
                                  .parent_length = sizeof(parent),
                                  .segments = &segment,
                                  .n_segments = 1};
  struct kvi_redis_key key = {.length = 1};
  struct kvi_redis_value value;
  uint8_t bytes[256];
  uint64_t payload;
  size_t length;

  (void)state;
  assert_int_equal(kvi_redis_value_write(&key, &chunk, bytes, sizeof(bytes), &length, &payload), KVS_OK);
  assert_int_equal(kvi_redis_value_read(&key, bytes, KVI_REDIS_LOOK_BYTES, 0, &value), KVI_REDIS_NONE);
  assert_int_equal(kvi_redis_value_quality(&value, bytes, KVI_REDIS_LOOK_BYTES), KVI_REDIS_NONE);
  assert_int_equal(value.quality, chunk.quality);
  assert_int_equal(kvi_redis_value_quality(&value, bytes, KVI_REDIS_LOOK_BYTES - 1), KVI_REDIS_LENGTH);
  bytes[KVI_REDIS_HEADER_MAX] ^= 1;
  assert_int_equal(kvi_redis_value_quality(&value, bytes, KVI_REDIS_LOOK_BYTES), KVI_REDIS_CHECKSUM);
}

/* Of two different forms one gives way to the other; no form gives way to itself. */
static void one_of_two_gives_way(void **state)
{
  (void)state;
  for (uint32_t i = 0; i < 4 * 3 * 4 * 3; i++) {
    uint32_t loss[2] = {i % 4, i / 12 % 4};
    uint64_t length[2] = {1 + i / 4 % 3, 1 + i / 48};
    struct kvi_redis_value value[2];
    uint16_t quality[2];
    bool equal = loss[0] == loss[1] && length[0] == length[1];

    for (int k = 0; k < 2; k++) {
      quality[k] = kvi_quality(loss[k], i % 16, i % 5 ? KVI_CODING_NONE : KVI_CODING_KVC1);
      value[k] = (struct kvi_redis_value){.quality = quality[k], .payload_bytes = length[k]};
    }
    assert_int_equal(kvi_redis_value_gives_way(&value[0], quality[1], length[1]) +
                         kvi_redis_value_gives_way(&value[1], quality[0], length[0]),
                     equal ? 0 : 1);
    if (loss[0] < loss[1])
      assert_true(kvi_redis_value_gives_way(&value[1], quality[0], length[0]));
  }
}

static void bounds_of_writing(void **state)
{
  struct kvi_segment segment = {.length = KVI_CHUNK_BYTES_MAX, .crc32c = 0};
  struct kvi_segment two[2] = {{.length = KVI_CHUNK_BYTES_MAX}, {.length = 1}};
  uint8_t out[256], parent[65] = {0};
  struct kvi_redis_chunk chunk = {.segments = &segment, .n_segments = 1};
  struct kvi_redis_key key = {.length = 1};
  uint64_t payload;
  size_t length;

  (void)state;
  assert_int_equal(kvi_redis_value_write(&key, &chunk, out, sizeof(out), &length, &payload), KVS_OK);
  assert_int_equal(kvi_redis_value_write(&key, &chunk, out, length - 1, &length, &payload), KVS_ERR_BUFFER);
  chunk.n_segments = 0;
  assert_int_equal(kvi_redis_value_write(&key, &chunk, out, sizeof(out), &length, &payload), KVS_ERR_INVALID);
  chunk.n_segments = 2;
  chunk.segments = two;
  assert_int_equal(kvi_redis_value_write(&key, &chunk, out, sizeof(out), &length, &payload), KVS_ERR_INVALID);
  chunk.n_segments = 1;
  chunk.parent = parent;
  chunk.parent_length = 65;
  assert_int_equal(kvi_redis_value_write(&key, &chunk, out, sizeof(out), &length, &payload), KVS_ERR_INVALID);
}

static void keys_differ_and_have_bounds(void **state)
{
  uint8_t space[KVS_DIGEST_SIZE] = {1}, key[64] = {2};
  char tenant[70];
  struct kvi_redis_identity identity = {.tenant = "ab", .space = space, .key = key, .key_length = 64};
  struct kvi_redis_key a, b;

  (void)state;
  assert_int_equal(kvi_redis_key_make("p", &identity, &a), KVS_OK);
  identity.tenant = "a";
  assert_int_equal(kvi_redis_key_make("p", &identity, &b), KVS_OK);
  assert_true(a.length != b.length);
  assert_memory_not_equal(a.check, b.check, sizeof(a.check));
  assert_int_equal(kvi_redis_key_make("other prefix", &identity, &a), KVS_OK);
  assert_memory_equal(a.check, b.check, sizeof(a.check)); /* the identity is without it */
  memset(tenant, 't', sizeof(tenant));
  tenant[63] = '\0';
  identity.tenant = tenant;
  assert_int_equal(kvi_redis_key_make("12345678901234567890123456789012", &identity, &a), KVS_OK);
  assert_int_equal(a.length, KVI_REDIS_KEY_MAX);
  assert_int_equal(kvi_redis_key_make("123456789012345678901234567890123", &identity, &a), KVS_ERR_INVALID);
  tenant[63] = 't';
  tenant[64] = '\0';
  assert_int_equal(kvi_redis_key_make("", &identity, &a), KVS_ERR_INVALID);
  identity.tenant = "";
  assert_int_equal(kvi_redis_key_make("", &identity, &a), KVS_ERR_INVALID);
  identity.tenant = "a";
  identity.key_length = 65;
  assert_int_equal(kvi_redis_key_make("", &identity, &a), KVS_ERR_KEY_LENGTH);
  identity.key_length = 7;
  assert_int_equal(kvi_redis_key_make("", &identity, &a), KVS_ERR_KEY_LENGTH);
}

static void slots_as_redis_counts_them(void **state)
{
  (void)state;
  assert_int_equal(kvi_redis_slot("123456789", 9), 0x31C3); /* of the cluster specification */
  assert_int_equal(kvi_redis_slot("foo", 3), 12182);
  assert_int_equal(kvi_redis_slot("{user1000}.following", 20), kvi_redis_slot("user1000", 8));
  assert_int_equal(kvi_redis_slot("foo{}{bar}", 10), 8363);
  assert_int_equal(kvi_redis_slot("foo{{bar}}zap", 13), kvi_redis_slot("{bar", 4));
  assert_int_equal(kvi_redis_slot("", 0), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_bytes),
      cmocka_unit_test(coded_values_have_a_version),
      cmocka_unit_test(what_is_written_is_read),
      cmocka_unit_test(damages_have_their_names),
      cmocka_unit_test(sealed_nonsense_is_refused),
      cmocka_unit_test(table_must_be_the_headers),
      cmocka_unit_test(looks_see_the_quality),
      cmocka_unit_test(one_of_two_gives_way),
      cmocka_unit_test(bounds_of_writing),
      cmocka_unit_test(keys_differ_and_have_bounds),
      cmocka_unit_test(slots_as_redis_counts_them),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
