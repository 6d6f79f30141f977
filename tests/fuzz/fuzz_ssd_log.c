/*
 * Any bytes as parts of a log file of the SSD tier, as they are and with checksums made to fit: header, record, trailer and footer. What is accepted
 * lies inside the bytes, and heads are written again to the same meaning.
 *
 * The first byte says which part; a footer's next two are its numbers of spaces and records.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/ssd/format.h"

#define FILE_BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

/* The checksum of a head is made to fit, so that what is behind it is reached. */
static void head_seal(uint8_t *head)
{
  kvi_store_le32(head + 8, 0);
  kvi_store_le32(head + 8, kvi_crc32c_update(0, head, KVI_SSD_HEAD));
}

static void try_header(const uint8_t *block)
{
  struct kvi_ssd_header header, again;
  uint8_t written[KVI_SSD_BLOCK];
  uint32_t version;

  if (kvi_ssd_header_read(block, &header, &version) != KVS_OK)
    return;
  kvi_ssd_header_write(written, &header);
  require(kvi_ssd_header_read(written, &again, &version) == KVS_OK &&
          memcmp(&header, &again, sizeof(header)) == 0);
}

static void try_record(const uint8_t *bytes, size_t size)
{
  struct kvi_ssd_use use = {.sequence = kvi_load_le64(bytes + 16), .nonce = kvi_load_le64(bytes + 24)};
  struct kvi_ssd_record record, again;
  struct kvi_chunk_table table;
  uint8_t written[KVI_SSD_HEAD];

  if (kvi_ssd_record_read(bytes, &use, kvi_load_le64(bytes + 32), &record) != KVS_OK)
    return;
  kvi_ssd_record_write(written, &record);
  require(kvi_ssd_record_read(written, &use, record.at, &again) == KVS_OK && again.length == record.length &&
          again.bytes == record.bytes && again.kind == record.kind);
  if (record.kind == KVI_SSD_CHUNK && kvi_ssd_record_check(bytes, size, &record, true, &table) == KVS_OK)
    require(table.length == record.length && kvi_ssd_payload_at(table.n_segments) + table.length <= size);
}

static void try_trailer(const uint8_t *block)
{
  struct kvi_ssd_use use = {.sequence = kvi_load_le64(block + 16), .nonce = kvi_load_le64(block + 24)};
  struct kvi_ssd_trailer trailer;

  if (kvi_ssd_trailer_read(block, &use, FILE_BYTES, &trailer) == KVS_OK)
    require(trailer.body_at + trailer.body_bytes <= FILE_BYTES - KVI_SSD_BLOCK);
}

static void try_footer(const uint8_t *body, size_t size, uint32_t n_spaces, uint32_t n_records)
{
  struct kvi_ssd_trailer trailer = {.body_bytes = size,
                                    .body_crc = kvi_crc32c_update(0, body, size),
                                    .n_spaces = n_spaces,
                                    .n_records = n_records};
  struct kvi_ssd_footer_reader reader;
  struct kvi_ssd_record record;
  char tenant[KVI_MEDIUM_TENANT_MAX];
  uint32_t n = 0;

  if (kvi_ssd_footer_open(body, size, &trailer, &reader) != KVS_OK)
    return;
  while (kvi_ssd_footer_next(&reader, &record, tenant) == KVS_OK) {
    require(++n <= n_records);
    if (record.kind == KVI_SSD_CHUNK)
      require(record.identity.key >= body &&
              record.identity.key + 2 * (size_t)record.identity.key_length <= body + size &&
              strlen(record.identity.tenant) < KVI_MEDIUM_TENANT_MAX);
  }
  kvi_ssd_footer_close(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  size_t room = size < 2 * KVI_SSD_BLOCK ? 2 * KVI_SSD_BLOCK : size;
  uint8_t *bytes;

  if (size < 3)
    return 0;
  bytes = calloc(1, room);
  require(bytes != NULL);
  memcpy(bytes, data + 1, size - 1);
  for (int sealed = 0; sealed < 2; sealed++) {
    if (data[0] % 4 == 0)
      try_header(bytes);
    else if (data[0] % 4 == 1)
      try_record(bytes, room);
    else if (data[0] % 4 == 2)
      try_trailer(bytes);
    head_seal(bytes);
  }
  if (data[0] % 4 == 3)
    try_footer(data + 3, size - 3, data[1], data[2]);
  free(bytes);
  return 0;
}
