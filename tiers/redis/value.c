/* tiers/redis/value.c: see value.h. */
#include "tiers/redis/value.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define VALUE_MAGIC   0x3152564Bu /* "KVR1" as it is read little-endian */
#define VERSION_RAW   1u
#define VERSION_CODED 2u
#define UNCHAINED     1u

enum offset {
  AT_MAGIC = 0,
  AT_VERSION = 4,
  AT_HEADER = 6,
  AT_CRC = 8,
  AT_PLACE = 12,
  AT_VALUE = 16,
  AT_PAYLOAD = 24,
  AT_SEGMENTS = 32,
  AT_FLAGS = 36,
  AT_PARENT_LENGTH = 37,
  AT_ZERO16 = 38,
  AT_CHECK = 40,
  AT_TTL = 56,
  AT_PARENT = KVI_REDIS_HEADER
};

static const char *const cause_names[KVI_REDIS_CAUSES] = {
    "none",      "absent",  "wrong_type", "foreign",  "version", "length", "misplaced", "checksum",
    "too_large", "no_room", "full",       "deadline", "down",    "denied", "refused",   "busy"};

const char *kvi_redis_cause_name(enum kvi_redis_cause cause)
{
  return (unsigned)cause < KVI_REDIS_CAUSES ? cause_names[cause] : "unknown";
}

/* Readers that know no coding know only the first version, and leave the others alone. */
static uint16_t version_of(uint16_t quality)
{
  return kvi_quality_coding(quality) == KVI_CODING_NONE ? VERSION_RAW : VERSION_CODED;
}

static bool is_known(uint16_t version)
{
  return version == VERSION_RAW || version == VERSION_CODED;
}

static uint32_t header_bytes(uint32_t parent_length)
{
  return KVI_REDIS_HEADER + ((parent_length + 7) & ~7u);
}

static uint32_t header_crc(const uint8_t *bytes, uint32_t length)
{
  static const uint8_t zero[4];
  uint32_t crc = kvi_crc32c_update(0, bytes, AT_CRC);

  crc = kvi_crc32c_update(crc, zero, sizeof(zero));
  return kvi_crc32c_update(crc, bytes + AT_PLACE, length - AT_PLACE);
}

kvs_status kvi_redis_value_write(const struct kvi_redis_key *key, const struct kvi_redis_chunk *chunk,
                                 uint8_t *out, size_t room, size_t *length_p, uint64_t *payload_p)
{
  uint32_t parent_length = chunk->parent ? chunk->parent_length : 0;
  uint32_t header = header_bytes(parent_length);
  uint64_t payload = 0;
  size_t length;

  *length_p = 0;
  *payload_p = 0;
  if (chunk->n_segments == 0 || chunk->n_segments > KVI_SEGMENTS_MAX || parent_length > KVS_KEY_MAX)
    return KVS_ERR_INVALID;
  length = header + kvi_chunk_table_size(chunk->n_segments);
  if (length > room)
    return KVS_ERR_BUFFER;
  for (uint32_t i = 0; i < chunk->n_segments; i++)
    payload += chunk->segments[i].length;
  if (payload == 0 || payload > KVI_CHUNK_BYTES_MAX || chunk->ttl_ms > UINT32_MAX)
    return KVS_ERR_INVALID;
  memset(out, 0, header);
  kvi_store_le32(out + AT_MAGIC, VALUE_MAGIC);
  kvi_store_le16(out + AT_VERSION, version_of(chunk->quality));
  kvi_store_le16(out + AT_HEADER, (uint16_t)header);
  kvi_store_le32(out + AT_PLACE, chunk->place);
  kvi_store_le64(out + AT_VALUE, length + payload);
  kvi_store_le64(out + AT_PAYLOAD, payload);
  kvi_store_le32(out + AT_SEGMENTS, chunk->n_segments);
  kvi_store_le64(out + AT_TTL, chunk->ttl_ms);
  out[AT_FLAGS] = chunk->unchained ? UNCHAINED : 0;
  out[AT_PARENT_LENGTH] = (uint8_t)parent_length;
  memcpy(out + AT_CHECK, key->check, KVI_REDIS_CHECK_BYTES);
  if (parent_length > 0)
    memcpy(out + AT_PARENT, chunk->parent, parent_length);
  kvi_store_le32(out + AT_CRC, header_crc(out, header));
  kvi_chunk_table_write(out + header, chunk->segments, chunk->n_segments, chunk->quality);
  *length_p = length;
  *payload_p = payload;
  return KVS_OK;
}

uint32_t kvi_redis_value_header_bytes(const uint8_t *bytes)
{
  uint32_t header = kvi_load_le16(bytes + AT_HEADER);

  if (kvi_load_le32(bytes + AT_MAGIC) != VALUE_MAGIC || !is_known(kvi_load_le16(bytes + AT_VERSION)) ||
      header < KVI_REDIS_HEADER || header > KVI_REDIS_HEADER_MAX)
    return KVI_REDIS_HEADER;
  return header;
}

/* A fitting checksum says that the bytes are what was written, not that a sane program wrote them. */
static bool is_sane(const uint8_t *bytes, uint32_t header, const struct kvi_redis_value *value)
{
  if (header != header_bytes(value->parent_length) || bytes[AT_FLAGS] > UNCHAINED ||
      kvi_load_le16(bytes + AT_ZERO16) != 0 || kvi_load_le64(bytes + AT_TTL) > UINT32_MAX)
    return false;
  for (uint32_t i = AT_PARENT + value->parent_length; i < header; i++)
    if (bytes[i] != 0)
      return false;
  return value->n_segments > 0 && value->n_segments <= KVI_SEGMENTS_MAX && value->payload_bytes > 0 &&
         value->payload_bytes <= KVI_CHUNK_BYTES_MAX &&
         value->value_bytes == value->prologue_bytes + value->payload_bytes;
}

enum kvi_redis_cause kvi_redis_value_read(const struct kvi_redis_key *key, const uint8_t *bytes, size_t size,
                                          uint64_t value_bytes, struct kvi_redis_value *value_p)
{
  struct kvi_redis_value value = {0};
  uint32_t header;

  memset(value_p, 0, sizeof(*value_p));
  if (size < AT_HEADER)
    return size >= AT_VERSION && kvi_load_le32(bytes + AT_MAGIC) == VALUE_MAGIC ? KVI_REDIS_LENGTH
                                                                                : KVI_REDIS_FOREIGN;
  if (kvi_load_le32(bytes + AT_MAGIC) != VALUE_MAGIC)
    return KVI_REDIS_FOREIGN;
  value.version = kvi_load_le16(bytes + AT_VERSION);
  if (!is_known(value.version))
    return KVI_REDIS_VERSION;
  if (size < KVI_REDIS_HEADER)
    return KVI_REDIS_LENGTH;
  header = kvi_load_le16(bytes + AT_HEADER);
  if (header < KVI_REDIS_HEADER || header > KVI_REDIS_HEADER_MAX)
    return KVI_REDIS_CHECKSUM;
  if (size < header)
    return KVI_REDIS_LENGTH;
  if (kvi_load_le32(bytes + AT_CRC) != header_crc(bytes, header))
    return KVI_REDIS_CHECKSUM;
  value.header_bytes = header;
  value.value_bytes = kvi_load_le64(bytes + AT_VALUE);
  value.payload_bytes = kvi_load_le64(bytes + AT_PAYLOAD);
  value.n_segments = kvi_load_le32(bytes + AT_SEGMENTS);
  value.place = kvi_load_le32(bytes + AT_PLACE);
  value.unchained = bytes[AT_FLAGS] & UNCHAINED;
  value.parent_length = bytes[AT_PARENT_LENGTH];
  value.ttl_ms = kvi_load_le64(bytes + AT_TTL);
  value.prologue_bytes = header + (uint32_t)kvi_chunk_table_size(value.n_segments % (KVI_SEGMENTS_MAX + 1));
  if (!is_sane(bytes, header, &value))
    return KVI_REDIS_CHECKSUM;
  if (value_bytes != 0 && value_bytes != value.value_bytes)
    return KVI_REDIS_LENGTH;
  if (memcmp(bytes + AT_CHECK, key->check, KVI_REDIS_CHECK_BYTES) != 0)
    return KVI_REDIS_MISPLACED;
  memcpy(value.parent, bytes + AT_PARENT, value.parent_length);
  *value_p = value;
  return KVI_REDIS_NONE;
}

/* Another coding than ours is a later node's: left alone. */
static bool is_ours(uint16_t quality)
{
  return kvi_quality_coding(quality) <= KVI_CODING_KVC1;
}

enum kvi_redis_cause kvi_redis_value_quality(struct kvi_redis_value *value, const uint8_t *bytes, size_t size)
{
  if (size < value->header_bytes + KVI_CHUNK_TABLE_FIRST)
    return KVI_REDIS_LENGTH;
  if (kvi_chunk_table_quality(bytes + value->header_bytes, &value->quality) != KVS_OK ||
      version_of(value->quality) != value->version)
    return KVI_REDIS_CHECKSUM;
  return is_ours(value->quality) ? KVI_REDIS_NONE : KVI_REDIS_VERSION;
}

bool kvi_redis_value_gives_way(const struct kvi_redis_value *there, uint16_t quality, uint64_t payload_bytes)
{
  uint32_t loss = kvi_quality_loss(quality), loss_there = kvi_quality_loss(there->quality);

  return loss != loss_there ? loss < loss_there : payload_bytes < there->payload_bytes;
}

enum kvi_redis_cause kvi_redis_value_table(struct kvi_redis_value *value, const uint8_t *bytes,
                                           struct kvi_chunk_table *table_p)
{
  kvs_status status =
      kvi_chunk_table_read(bytes + value->header_bytes, value->prologue_bytes - value->header_bytes, table_p);

  if (status != KVS_OK || table_p->n_segments != value->n_segments ||
      table_p->length != value->payload_bytes || version_of(table_p->quality) != value->version)
    return KVI_REDIS_CHECKSUM;
  value->quality = table_p->quality;
  return is_ours(value->quality) ? KVI_REDIS_NONE : KVI_REDIS_VERSION;
}
