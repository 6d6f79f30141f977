/* tiers/ssd/format.c: header, record head and trailer of a log file. docs/formats/ssd.md has the tables of these offsets. */
#include "tiers/ssd/format.h"

#include <assert.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/digest.h"
#include "proto/limits.h"

#define HEADER_MAGIC  0x4C54564Bu /* "KVTL" */
#define RECORD_MAGIC  0x5254564Bu /* "KVTR" */
#define TRAILER_MAGIC 0x4654564Bu /* "KVTF" */
#define AT_CRC        8u
#define UNCHAINED     1u
#define HAS_PARENT    2u
#define CODED         4u  /* readers that know no coding take it for no record */
#define TABLE_AT_CRC  12u /* of a table of segments: its checksum */

/* ---- what all heads share: magic, version, checksum ---- */

static uint32_t head_crc(const uint8_t head[KVI_SSD_HEAD])
{
  static const uint8_t zero[4];
  uint32_t crc = kvi_crc32c_update(0, head, AT_CRC);

  crc = kvi_crc32c_update(crc, zero, sizeof(zero));
  return kvi_crc32c_update(crc, head + AT_CRC + 4, KVI_SSD_HEAD - AT_CRC - 4);
}

static void head_begin(uint8_t head[KVI_SSD_HEAD], uint32_t magic)
{
  memset(head, 0, KVI_SSD_HEAD);
  kvi_store_le32(head, magic);
  kvi_store_le16(head + 4, KVI_SSD_VERSION);
}

static void head_end(uint8_t head[KVI_SSD_HEAD])
{
  kvi_store_le32(head + AT_CRC, head_crc(head));
}

static bool head_fits(const uint8_t head[KVI_SSD_HEAD], uint32_t magic)
{
  return kvi_load_le32(head) == magic && kvi_load_le32(head + AT_CRC) == head_crc(head);
}

/* ---- header ---- */

void kvi_ssd_header_write(uint8_t block[KVI_SSD_BLOCK], const struct kvi_ssd_header *header)
{
  memset(block, 0, KVI_SSD_BLOCK);
  head_begin(block, HEADER_MAGIC);
  kvi_store_le16(block + 6, 12);
  kvi_store_le32(block + 12, header->number);
  kvi_store_le64(block + 16, header->file_bytes);
  kvi_store_le64(block + 24, header->sequence);
  kvi_store_le64(block + 32, header->nonce);
  memcpy(block + 40, header->directory, KVI_SSD_ID_BYTES);
  head_end(block);
}

kvs_status kvi_ssd_header_read(const uint8_t block[KVI_SSD_BLOCK], struct kvi_ssd_header *header_p,
                               uint32_t *version_p)
{
  memset(header_p, 0, sizeof(*header_p));
  *version_p = 0;
  if (!head_fits(block, HEADER_MAGIC))
    return KVS_MISS;
  *version_p = kvi_load_le16(block + 4);
  if (kvi_load_le16(block + 4) != KVI_SSD_VERSION || kvi_load_le16(block + 6) != 12)
    return KVS_ERR_VERSION;
  header_p->number = kvi_load_le32(block + 12);
  header_p->file_bytes = kvi_load_le64(block + 16);
  header_p->sequence = kvi_load_le64(block + 24);
  header_p->nonce = kvi_load_le64(block + 32);
  memcpy(header_p->directory, block + 40, KVI_SSD_ID_BYTES);
  return KVS_OK;
}

/* ---- records ---- */

static void identity_write(uint8_t head[KVI_SSD_HEAD], const struct kvi_medium_identity *identity,
                           bool is_coded)
{
  size_t tenant = strlen(identity->tenant);

  assert(tenant < KVI_MEDIUM_TENANT_MAX && identity->key_length <= KVI_MEDIUM_KEY_MAX);
  kvi_store_le32(head + 12, (identity->unchained ? UNCHAINED : 0) | (identity->parent ? HAS_PARENT : 0) |
                                (is_coded ? CODED : 0));
  kvi_store_le32(head + 72, identity->place);
  kvi_store_le16(head + 80, (uint16_t)identity->key_length);
  kvi_store_le16(head + 82, (uint16_t)tenant);
  memcpy(head + 96, identity->space, KVS_DIGEST_SIZE);
  memcpy(head + 128, identity->key, identity->key_length);
  if (identity->parent)
    memcpy(head + 192, identity->parent, identity->key_length);
  memcpy(head + 256, identity->tenant, tenant);
}

void kvi_ssd_record_write(uint8_t out[KVI_SSD_HEAD], const struct kvi_ssd_record *record)
{
  uint8_t head[KVI_SSD_HEAD]; /* the identity may point into out */

  head_begin(head, RECORD_MAGIC);
  kvi_store_le16(head + 6, (uint16_t)record->kind);
  kvi_store_le64(head + 16, record->use.sequence);
  kvi_store_le64(head + 24, record->use.nonce);
  kvi_store_le64(head + 32, record->at);
  kvi_store_le64(head + 40, record->bytes);
  kvi_store_le64(head + 48, record->generation);
  kvi_store_le64(head + 56, record->length);
  kvi_store_le32(head + 64, record->n_segments);
  kvi_store_le32(head + 68, record->table_crc);
  kvi_store_le16(head + 76, record->quality);
  kvi_store_le16(head + 78, record->coding);
  if (record->kind == KVI_SSD_CHUNK)
    identity_write(head, &record->identity, record->coding != 0);
  head_end(head);
  memcpy(out, head, KVI_SSD_HEAD);
}

/* False: not what a writer of this version writes. */
static bool identity_read(const uint8_t *head, struct kvi_medium_identity *identity, bool is_coded)
{
  uint32_t flags = kvi_load_le32(head + 12);
  uint32_t tenant = kvi_load_le16(head + 82);

  identity->key_length = kvi_load_le16(head + 80);
  if (flags & ~(UNCHAINED | HAS_PARENT | CODED) || !(flags & CODED) == is_coded ||
      identity->key_length < KVS_KEY_MIN || identity->key_length > KVS_KEY_MAX || tenant == 0 ||
      tenant >= KVI_MEDIUM_TENANT_MAX || memchr(head + 256, 0, KVI_SSD_TENANT_FIELD) != head + 256 + tenant)
    return false;
  identity->tenant = (const char *)head + 256;
  identity->space = head + 96;
  identity->key = head + 128;
  identity->parent = flags & HAS_PARENT ? head + 192 : NULL;
  identity->place = kvi_load_le32(head + 72);
  identity->unchained = flags & UNCHAINED;
  return true;
}

static bool lengths_fit(const struct kvi_ssd_record *record)
{
  if (record->length == 0 || record->length > KVI_CHUNK_BYTES_MAX)
    return false;
  if (record->kind == KVI_SSD_DELETIONS)
    return record->n_segments == 0 && record->length % KVI_SSD_DELETION == 0 &&
           record->bytes == kvi_ssd_round(KVI_SSD_HEAD + record->length, KVI_SSD_BLOCK);
  return record->n_segments > 0 && record->n_segments <= KVI_SEGMENTS_MAX &&
         record->bytes == kvi_ssd_record_bytes(record->length, record->n_segments);
}

kvs_status kvi_ssd_record_read(const uint8_t head[KVI_SSD_HEAD], const struct kvi_ssd_use *use, uint64_t at,
                               struct kvi_ssd_record *record_p)
{
  struct kvi_ssd_record record = {.kind = kvi_load_le16(head + 6)};

  if (kvi_load_le64(head + 16) != use->sequence || kvi_load_le64(head + 24) != use->nonce ||
      kvi_load_le64(head + 32) != at || !head_fits(head, RECORD_MAGIC) ||
      kvi_load_le16(head + 4) != KVI_SSD_VERSION)
    return KVS_MISS;
  record.use = *use;
  record.at = at;
  record.bytes = kvi_load_le64(head + 40);
  record.generation = kvi_load_le64(head + 48);
  record.length = kvi_load_le64(head + 56);
  record.n_segments = kvi_load_le32(head + 64);
  record.table_crc = kvi_load_le32(head + 68);
  record.quality = kvi_load_le16(head + 76);
  record.coding = kvi_load_le16(head + 78);
  if (record.kind != KVI_SSD_CHUNK && record.kind != KVI_SSD_DELETIONS)
    return KVS_MISS;
  if (!lengths_fit(&record) ||
      (record.kind == KVI_SSD_CHUNK && (record.coding != kvi_quality_coding(record.quality) ||
                                        !identity_read(head, &record.identity, record.coding != 0))))
    return KVS_MISS;
  *record_p = record;
  return KVS_OK;
}

kvs_status kvi_ssd_record_check(const uint8_t *bytes, size_t size, const struct kvi_ssd_record *record,
                                bool payload_too, struct kvi_chunk_table *table_p)
{
  uint64_t payload_at = kvi_ssd_payload_at(record->n_segments);
  const uint8_t *payload = bytes + payload_at;
  struct kvi_chunk_table table;

  if (record->kind == KVI_SSD_DELETIONS)
    return size >= record->bytes &&
                   kvi_crc32c_update(0, bytes + KVI_SSD_HEAD, record->length) == record->table_crc
               ? KVS_OK
               : KVS_ERR_CORRUPT;
  if (size < payload_at ||
      kvi_chunk_table_read(bytes + KVI_SSD_HEAD, payload_at - KVI_SSD_HEAD, &table) != KVS_OK ||
      table.n_segments != record->n_segments || table.length != record->length ||
      kvi_load_le32(bytes + KVI_SSD_HEAD + TABLE_AT_CRC) != record->table_crc)
    return KVS_ERR_CORRUPT;
  if (table_p)
    *table_p = table;
  if (!payload_too)
    return KVS_OK;
  if (size < record->bytes)
    return KVS_ERR_CORRUPT;
  for (uint32_t i = 0; i < table.n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(&table, i);

    if (kvi_crc32c_update(0, payload, segment.length) != segment.crc32c)
      return KVS_ERR_CORRUPT;
    payload += segment.length;
  }
  return KVS_OK;
}

/* ---- deletions ---- */

void kvi_ssd_name(const struct kvi_medium_identity *identity, uint8_t name[KVI_SSD_NAME])
{
  uint8_t digest[KVI_SHA256_BYTES], key[KVI_SHA256_BYTES] = {0}, length = (uint8_t)identity->key_length;
  kvi_sha256_ctx sha;

  if (identity->key_length <= sizeof(key))
    memcpy(key, identity->key, identity->key_length);
  else
    kvi_sha256(identity->key, identity->key_length, key);
  kvi_sha256_init(&sha);
  kvi_sha256_update(&sha, identity->tenant, strlen(identity->tenant) + 1);
  kvi_sha256_update(&sha, identity->space, KVS_DIGEST_SIZE);
  kvi_sha256_update(&sha, &length, 1);
  kvi_sha256_update(&sha, key, sizeof(key));
  kvi_sha256_final(&sha, digest);
  memcpy(name, digest, KVI_SSD_NAME);
}

void kvi_ssd_deletion_write(uint8_t out[KVI_SSD_DELETION], const struct kvi_ssd_deletion *deletion)
{
  kvi_store_le64(out, deletion->generation);
  memcpy(out + 8, deletion->name, KVI_SSD_NAME);
}

struct kvi_ssd_deletion kvi_ssd_deletion_read(const uint8_t in[KVI_SSD_DELETION])
{
  struct kvi_ssd_deletion deletion = {.generation = kvi_load_le64(in)};

  memcpy(deletion.name, in + 8, KVI_SSD_NAME);
  return deletion;
}

/* ---- trailer ---- */

void kvi_ssd_trailer_write(uint8_t block[KVI_SSD_BLOCK], const struct kvi_ssd_trailer *trailer)
{
  memset(block, 0, KVI_SSD_BLOCK);
  head_begin(block, TRAILER_MAGIC);
  kvi_store_le32(block + 12, trailer->body_crc);
  kvi_store_le64(block + 16, trailer->use.sequence);
  kvi_store_le64(block + 24, trailer->use.nonce);
  kvi_store_le64(block + 32, trailer->body_at);
  kvi_store_le64(block + 40, trailer->body_bytes);
  kvi_store_le32(block + 48, trailer->n_spaces);
  kvi_store_le32(block + 52, trailer->n_records);
  head_end(block);
}

kvs_status kvi_ssd_trailer_read(const uint8_t block[KVI_SSD_BLOCK], const struct kvi_ssd_use *use,
                                uint64_t file_bytes, struct kvi_ssd_trailer *trailer_p)
{
  struct kvi_ssd_trailer trailer = {
      .use = {.sequence = kvi_load_le64(block + 16), .nonce = kvi_load_le64(block + 24)}};

  memset(trailer_p, 0, sizeof(*trailer_p));
  if (!head_fits(block, TRAILER_MAGIC) || kvi_load_le16(block + 4) != KVI_SSD_VERSION ||
      (use && (trailer.use.sequence != use->sequence || trailer.use.nonce != use->nonce)))
    return KVS_MISS;
  trailer.body_crc = kvi_load_le32(block + 12);
  trailer.body_at = kvi_load_le64(block + 32);
  trailer.body_bytes = kvi_load_le64(block + 40);
  trailer.n_spaces = kvi_load_le32(block + 48);
  trailer.n_records = kvi_load_le32(block + 52);
  if (trailer.body_at % KVI_SSD_BLOCK != 0 || trailer.body_at < KVI_SSD_BLOCK ||
      trailer.body_at > file_bytes - KVI_SSD_BLOCK ||
      trailer.body_bytes > file_bytes - KVI_SSD_BLOCK - trailer.body_at || trailer.n_spaces > UINT16_MAX)
    return KVS_MISS;
  *trailer_p = trailer;
  return KVS_OK;
}
