/* tests/unit/codec/profile_sample.h: profiles that are made by rule, and their checksums made to fit. */
#ifndef KVI_TESTS_UNIT_CODEC_PROFILE_SAMPLE_H
#define KVI_TESTS_UNIT_CODEC_PROFILE_SAMPLE_H

#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/codec/profile.h"

/* Of a whole file of size bytes, at least a header: its length and checksum. */
static inline void seal_profile(uint8_t *bytes, size_t size)
{
  kvi_store_le32(bytes + 8, (uint32_t)size);
  kvi_store_le32(bytes + 12, 0);
  kvi_store_le32(bytes + 12, kvi_crc32c_update(0, bytes, size));
}

#endif
