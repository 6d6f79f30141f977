/* tiers/codec/container.h: the header of an object, written and read (docs/formats/kvc1.md, "Object"). */
#ifndef KVI_CODEC_CONTAINER_H
#define KVI_CODEC_CONTAINER_H

#include "tiers/codec/codec.h"

uint32_t kvi_container_header_length(const struct kvi_codec_shape *shape, uint32_t planes);

/* Entry of the segment table in a header that is being written. */
void kvi_container_set_segment(uint8_t *header, const struct kvi_codec_shape *shape, uint32_t quality,
                               uint32_t layer, const uint8_t *segment, uint32_t length);

/* Writes all but the segment table, which is there, and the checksum last. */
void kvi_container_write(uint8_t *header, const struct kvi_codec_shape *shape,
                         const struct kvi_codec_options *options, uint64_t length);

#endif
