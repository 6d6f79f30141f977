/* The bytes of a log file: what version 3 wrote is written, and read, for ever; what is not known is refused. */
#include "testing.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/text.h"
#include "tiers/ssd/format.h"

/* SHA-256 of the parts below as version 3 writes them. */
#define GOLDEN_HEADER   "37574b09e2ae08e2e82389644e4942baa69bce986cdd061faf0f81499e665fc6"
#define GOLDEN_RECORD   "9f02eb700045422f7f5b1fecb7451503c6685ea585558cb1f5dc7b8e4ea1dffa"
#define GOLDEN_CODED    "a0041ab021f836c378b080d5626f890290fab9c221d4f4841f1dfe6a9fbf4b7e"
#define GOLDEN_FOOTER   "a7f5d0d3a3f47c18eb1f301d473154705bc642d3551b15cfe09214b55a6cb12d"
#define GOLDEN_DELETION "6651347a3a38d86655e01611fd9282de229047b05d7f1fd40684a86726a2c73d"
#define GOLDEN_TRAILER  "dac51c0fabd75c78d19a9acff476072dde4f87b4f83b63f10f5a32e256390c3a"

static void assert_golden(const void *bytes, size_t size, const char *golden)
{
  uint8_t digest[KVI_SHA256_BYTES];
  char hex[2 * KVI_SHA256_BYTES + 1];

  kvi_sha256(bytes, size, digest);
  assert_int_equal(kvi_hex_encode(digest, sizeof(digest), hex, sizeof(hex)), KVS_OK);
  assert_string_equal(hex, golden);
}

static const struct kvi_ssd_use use = {.sequence = 0x1122334455667788, .nonce = 0x99aabbccddeeff00};
static uint8_t space[KVS_DIGEST_SIZE], key[40], parent[40];

static void header_of(uint8_t block[KVI_SSD_BLOCK])
{
  struct kvi_ssd_header header = {
      .number = 7, .file_bytes = 256u << 20, .sequence = use.sequence, .nonce = use.nonce};

  memcpy(header.directory, "0123456789abcdef", sizeof(header.directory));
  kvi_ssd_header_write(block, &header);
}

static struct kvi_ssd_record record_of(void)
{
  memset(space, 0x5a, sizeof(space));
  testing_key(1, key, sizeof(key));
  testing_key(0, parent, sizeof(parent));
  return (struct kvi_ssd_record){.kind = KVI_SSD_CHUNK,
                                 .use = use,
                                 .at = 8192,
                                 .bytes = 8192,
                                 .generation = 42,
                                 .length = 2000,
                                 .n_segments = 2,
                                 .table_crc = 0xdeadbeef,
                                 .quality = 3,
                                 .identity = {.tenant = "default",
                                              .space = space,
                                              .key = key,
                                              .key_length = sizeof(key),
                                              .parent = parent,
                                              .place = 9}};
}

static void test_golden(void **state)
{
  uint8_t block[KVI_SSD_BLOCK], head[KVI_SSD_HEAD], *body;
  struct kvi_ssd_record record = record_of();
  struct kvi_ssd_record deletions = {
      .kind = KVI_SSD_DELETIONS, .use = use, .at = 12288, .bytes = 4096, .length = 24};
  struct kvi_ssd_footer footer = {0};
  struct kvi_ssd_trailer trailer = {.use = use, .body_at = 16384};
  size_t mark;

  (void)state;
  header_of(block);
  assert_golden(block, sizeof(block), GOLDEN_HEADER);
  kvi_ssd_record_write(head, &record);
  assert_golden(head, sizeof(head), GOLDEN_RECORD);
  record.quality = kvi_quality(3, 4, KVI_CODING_KVC1);
  record.coding = KVI_CODING_KVC1;
  kvi_ssd_record_write(head, &record);
  assert_golden(head, sizeof(head), GOLDEN_CODED);
  record.coding = 0;
  record.quality = 0; /* golden since before there was any */
  assert_int_equal(kvi_ssd_footer_add(&footer, &record, &mark), KVS_OK);
  assert_int_equal(kvi_ssd_footer_add(&footer, &deletions, &mark), KVS_OK);
  body = malloc(kvi_ssd_footer_bytes(&footer));
  kvi_ssd_footer_write(&footer, body, &trailer);
  assert_golden(body, kvi_ssd_footer_bytes(&footer), GOLDEN_FOOTER);
  kvi_ssd_trailer_write(block, &trailer);
  assert_golden(block, sizeof(block), GOLDEN_TRAILER);
  free(body);
  kvi_ssd_footer_clear(&footer);
}

static void test_golden_deletion(void **state)
{
  struct kvi_ssd_deletion deletion = {.generation = 0x1122334455667788}, read;
  struct kvi_ssd_record record = record_of();
  uint8_t bytes[KVI_SSD_DELETION];

  (void)state;
  kvi_ssd_name(&record.identity, deletion.name);
  kvi_ssd_deletion_write(bytes, &deletion);
  assert_golden(bytes, sizeof(bytes), GOLDEN_DELETION);
  read = kvi_ssd_deletion_read(bytes);
  assert_int_equal(read.generation, deletion.generation);
  assert_memory_equal(read.name, deletion.name, KVI_SSD_NAME);
}

/* A chunk is called another if anything of it differs. */
static void test_names(void **state)
{
  struct kvi_ssd_record record = record_of();
  uint8_t name[KVI_SSD_NAME], other[KVI_SSD_NAME];

  (void)state;
  kvi_ssd_name(&record.identity, name);
  record.identity.key_length--;
  kvi_ssd_name(&record.identity, other);
  assert_memory_not_equal(name, other, KVI_SSD_NAME);
  record = record_of();
  record.identity.tenant = "other";
  kvi_ssd_name(&record.identity, other);
  assert_memory_not_equal(name, other, KVI_SSD_NAME);
  record = record_of();
  space[0] ^= 1;
  kvi_ssd_name(&record.identity, other);
  assert_memory_not_equal(name, other, KVI_SSD_NAME);
}

static void test_a_record_comes_back(void **state)
{
  struct kvi_ssd_record record = record_of(), read;
  uint8_t head[KVI_SSD_HEAD];

  (void)state;
  kvi_ssd_record_write(head, &record);
  assert_int_equal(kvi_ssd_record_read(head, &use, 8192, &read), KVS_OK);
  assert_int_equal(read.generation, 42);
  assert_int_equal(read.identity.place, 9);
  assert_string_equal(read.identity.tenant, "default");
  assert_memory_equal(read.identity.parent, parent, sizeof(parent));
  assert_int_equal(kvi_ssd_record_read(head, &use, 4096, &read), KVS_MISS); /* misdirected */
  for (uint32_t bit = 0; bit < 8 * KVI_SSD_HEAD; bit++) {
    head[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(kvi_ssd_record_read(head, &use, 8192, &read), KVS_MISS);
    head[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
}

/* A reader from before there were codings knows two flags, and takes what has others for no record. */
static void test_a_coded_record_has_a_flag(void **state)
{
  struct kvi_ssd_record record = record_of(), read;
  uint8_t head[KVI_SSD_HEAD];
  uint32_t crc;

  (void)state;
  for (uint32_t i = 0; i < 4; i++) {
    record.coding = i % 2 ? KVI_CODING_KVC1 : KVI_CODING_NONE;
    record.quality = kvi_quality(i / 2 * 3, 15, record.coding);
    kvi_ssd_record_write(head, &record);
    assert_int_equal(kvi_load_le32(head + 12), 2 | (i % 2 ? 4 : 0));
    assert_int_equal(kvi_ssd_record_read(head, &use, 8192, &read), KVS_OK);
    assert_int_equal(read.quality, record.quality);
    assert_int_equal(read.coding, record.coding);
    head[12] ^= 4; /* sealed, but flag and coding do not fit */
    kvi_store_le32(head + 8, 0);
    crc = kvi_crc32c_update(0, head, KVI_SSD_HEAD);
    kvi_store_le32(head + 8, crc);
    assert_int_equal(kvi_ssd_record_read(head, &use, 8192, &read), KVS_MISS);
  }
}

static void test_an_unknown_version_is_refused(void **state)
{
  struct kvi_ssd_header header;
  uint8_t block[KVI_SSD_BLOCK];
  uint32_t version;

  (void)state;
  header_of(block);
  assert_int_equal(kvi_ssd_header_read(block, &header, &version), KVS_OK);
  assert_int_equal(header.number, 7);
  block[4] = KVI_SSD_VERSION + 1;
  assert_int_equal(kvi_ssd_header_read(block, &header, &version),
                   KVS_MISS); /* torn, as far as one can tell */
  memset(block + 8, 0, 4);
  uint32_t crc = kvi_crc32c_update(0, block, KVI_SSD_HEAD);
  memcpy(block + 8, &crc, 4);
  assert_int_equal(kvi_ssd_header_read(block, &header, &version), KVS_ERR_VERSION);
  assert_int_equal(version, KVI_SSD_VERSION + 1);
}

static void test_a_canceled_record_is_passed_over(void **state)
{
  struct kvi_ssd_record record = record_of(), read;
  struct kvi_ssd_footer footer = {0};
  struct kvi_ssd_trailer trailer = {.use = use, .body_at = 16384};
  struct kvi_ssd_footer_reader reader;
  char tenant[KVI_MEDIUM_TENANT_MAX];
  size_t first, second;
  uint8_t *body;

  (void)state;
  assert_int_equal(kvi_ssd_footer_add(&footer, &record, &first), KVS_OK);
  record.at += 4096;
  assert_int_equal(kvi_ssd_footer_add(&footer, &record, &second), KVS_OK);
  kvi_ssd_footer_cancel(&footer, first);
  body = malloc(kvi_ssd_footer_bytes(&footer));
  kvi_ssd_footer_write(&footer, body, &trailer);
  assert_int_equal(kvi_ssd_footer_open(body, trailer.body_bytes, &trailer, &reader), KVS_OK);
  assert_int_equal(kvi_ssd_footer_next(&reader, &read, tenant), KVS_OK);
  assert_int_equal(read.at, record.at);
  assert_int_equal(read.quality, kvi_quality_loss(record.quality));
  assert_int_equal(kvi_ssd_footer_next(&reader, &read, tenant), KVS_MISS);
  kvi_ssd_footer_close(&reader);
  body[0] ^= 1;
  assert_int_equal(kvi_ssd_footer_open(body, trailer.body_bytes, &trailer, &reader), KVS_ERR_CORRUPT);
  free(body);
  kvi_ssd_footer_clear(&footer);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),
      cmocka_unit_test(test_golden_deletion),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_a_record_comes_back),
      cmocka_unit_test(test_a_coded_record_has_a_flag),
      cmocka_unit_test(test_an_unknown_version_is_refused),
      cmocka_unit_test(test_a_canceled_record_is_passed_over),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
