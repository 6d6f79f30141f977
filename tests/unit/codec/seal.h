/* tests/unit/codec/seal.h: checksums of a damaged object made to fit, so that tests and fuzzers get past them. */
#ifndef KVI_TESTS_UNIT_CODEC_SEAL_H
#define KVI_TESTS_UNIT_CODEC_SEAL_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/crc32c.h"

/* Of the segments that are there whole, in a table that ends where the header does. size is at least the header's. */
static inline void seal_segments(uint8_t *bytes, size_t size, uint32_t header)
{
  uint32_t entries = (bytes[7] + 1u) * kvi_load_le16(bytes + 48);
  size_t at = header;

  for (uint32_t i = 0; i < entries; i++) {
    uint8_t *entry = bytes + header - (size_t)(entries - i) * 8;
    uint32_t length = kvi_load_le32(entry);

    if (length > size - at)
      return;
    kvi_store_le32(entry + 4, kvi_crc32c_update(0, bytes + at, length));
    at += length;
  }
}

/* Of the header with its tables. */
static inline void seal_header(uint8_t *bytes, uint32_t header)
{
  kvi_store_le32(bytes + 12, 0);
  kvi_store_le32(bytes + 12, kvi_crc32c_update(0, bytes, header));
}

#endif
