/*
 * tiers/codec/range_coder.h: a range coder, one symbol at a time, as level "cachegen" has it (docs/formats/kvc1.md).
 *
 * 32-bit range, frequencies that sum up to 2^16, a byte at a time, the carry carried into the bytes before. Neither side goes beyond its
 * memory: the encoder notes that it was full, the decoder that its bytes ended, and both go on harmlessly.
 */
#ifndef KVI_CODEC_RANGE_CODER_H
#define KVI_CODEC_RANGE_CODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVI_RANGE_TOTAL_BITS 16u
#define KVI_RANGE_LEAST      (1u << 24) /* below it another byte moves out, or in */

struct kvi_range_encoder {
  uint64_t low;
  uint64_t held; /* bytes that a carry can still change: one, and those of 0xff behind it */
  uint32_t range;
  uint8_t first_held;
  bool begun; /* the very first byte is always 0 and is not written */
  bool full;
  uint8_t *at, *end;
};

void kvi_range_encoder_begin(struct kvi_range_encoder *encoder, uint8_t *out, uint8_t *end);

/* frequency >= 1, start + frequency <= 2^16 */
void kvi_range_encode(struct kvi_range_encoder *encoder, uint32_t start, uint32_t frequency);

/* Where the bytes end; NULL if they had no room. */
uint8_t *kvi_range_encoder_end(struct kvi_range_encoder *encoder);

struct kvi_range_decoder {
  uint32_t range, code, unit;
  bool ended; /* more bytes were wanted than there are */
  const uint8_t *at, *end;
};

static inline uint32_t kvi_range_next_byte(struct kvi_range_decoder *decoder)
{
  if (decoder->at == decoder->end) {
    decoder->ended = true;
    return 0;
  }
  return *decoder->at++;
}

static inline void kvi_range_decoder_begin(struct kvi_range_decoder *decoder, const uint8_t *bytes,
                                           const uint8_t *end)
{
  *decoder = (struct kvi_range_decoder){.range = UINT32_MAX, .at = bytes, .end = end};
  for (int i = 0; i < 4; i++)
    decoder->code = decoder->code << 8 | kvi_range_next_byte(decoder);
}

/* The slot of the next symbol, 0 to 2^16 - 1; more if no encoder wrote this. Call kvi_range_advance then, but not if it is more. */
static inline uint32_t kvi_range_slot(struct kvi_range_decoder *decoder)
{
  decoder->unit = decoder->range >> KVI_RANGE_TOTAL_BITS;
  return decoder->code / decoder->unit;
}

/* The symbol that has this start and frequency was that slot's. */
static inline void kvi_range_advance(struct kvi_range_decoder *decoder, uint32_t start, uint32_t frequency)
{
  decoder->code -= start * decoder->unit;
  decoder->range = frequency * decoder->unit;
  while (decoder->range < KVI_RANGE_LEAST) {
    decoder->range <<= 8;
    decoder->code = decoder->code << 8 | kvi_range_next_byte(decoder);
  }
}

/* Whether this is where an encoder ended: no byte missing, none left. */
static inline bool kvi_range_decoder_at_end(const struct kvi_range_decoder *decoder)
{
  return !decoder->ended && decoder->at == decoder->end && decoder->code == 0;
}

#endif
