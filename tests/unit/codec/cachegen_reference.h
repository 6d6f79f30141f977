/*
 * tests/unit/codec/cachegen_reference.h: a decoder of cachegen's segments, written from docs/formats/kvc1.md alone and not for speed.
 */
#ifndef KVI_TESTS_UNIT_CODEC_CACHEGEN_REFERENCE_H
#define KVI_TESTS_UNIT_CODEC_CACHEGEN_REFERENCE_H

#include "tiers/codec/codec.h"

/* Decodes a layer's segment to out, dense. False: not a sound segment. */
bool cachegen_reference_decode(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *segment,
                               size_t length, uint8_t *out);

/* The frequency of a number from -127 to 127, or of an escape (128), in a class. */
uint32_t cachegen_reference_frequency(unsigned class_id, int number);

#endif
