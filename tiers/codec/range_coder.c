/* The encoding half of the range coder. */
#include "tiers/codec/range_coder.h"

void kvi_range_encoder_begin(struct kvi_range_encoder *encoder, uint8_t *out, uint8_t *end)
{
  *encoder = (struct kvi_range_encoder){.range = UINT32_MAX, .held = 1, .at = out, .end = end};
}

static void put(struct kvi_range_encoder *encoder, uint8_t byte)
{
  if (!encoder->begun)
    encoder->begun = true;
  else if (encoder->at == encoder->end)
    encoder->full = true;
  else
    *encoder->at++ = byte;
}

/* Moves the top byte of low out, or holds it while it is 0xff and a carry could still go through it. */
static void shift_low(struct kvi_range_encoder *encoder)
{
  uint8_t carry = (uint8_t)(encoder->low >> 32);

  if (carry != 0 || (uint32_t)encoder->low < 0xff000000u) {
    put(encoder, (uint8_t)(encoder->first_held + carry));
    for (; encoder->held > 1; encoder->held--)
      put(encoder, (uint8_t)(0xff + carry));
    encoder->held = 0;
    encoder->first_held = (uint8_t)(encoder->low >> 24);
  }
  encoder->held++;
  encoder->low = (encoder->low & 0x00ffffffu) << 8;
}

void kvi_range_encode(struct kvi_range_encoder *encoder, uint32_t start, uint32_t frequency)
{
  uint32_t unit = encoder->range >> KVI_RANGE_TOTAL_BITS;

  encoder->low += (uint64_t)start * unit;
  encoder->range = frequency * unit;
  while (encoder->range < KVI_RANGE_LEAST) {
    encoder->range <<= 8;
    shift_low(encoder);
  }
}

uint8_t *kvi_range_encoder_end(struct kvi_range_encoder *encoder)
{
  for (int i = 0; i < 5; i++)
    shift_low(encoder);
  return encoder->full ? NULL : encoder->at;
}
