/* Coded rows: opening, escapes, closing, and the scalar coders that say what is right. */
#include "tiers/codec/rans.h"

#include <string.h>

#include "base/bytes.h"
#include "tiers/codec/path.h"

#define WORDS_SLACK 16u /* vector stores write so much in front of the words */

kvs_status kvi_rans_open(struct kvi_rans_decoder *decoder, const struct kvi_rans_columns *columns,
                         uint32_t n_rows, const uint8_t *bytes, size_t size, size_t *used_p)
{
  uint64_t words, escapes;

  *used_p = 0;
  if (size < KVI_RANS_HEAD)
    return KVS_ERR_CORRUPT;
  words = kvi_load_le32(bytes + KVI_RANS_LANES * 4);
  escapes = kvi_load_le32(bytes + KVI_RANS_LANES * 4 + 4);
  if (KVI_RANS_HEAD + words * 2 + escapes > size)
    return KVS_ERR_CORRUPT;
  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++) {
    decoder->state[lane] = kvi_load_le32(bytes + lane * 4);
    if (decoder->state[lane] < KVI_RANS_LOW)
      return KVS_ERR_CORRUPT;
  }
  for (uint32_t column = 0; column < KVI_BLOCK_COLUMNS; column++)
    decoder->table[column] = columns->classes[column] * KVI_RANS_SLOTS;
  memset(decoder->tile, 0, sizeof decoder->tile);
  decoder->tile_rows = 0;
  decoder->rows_left = n_rows;
  decoder->n_groups = columns->n_groups;
  decoder->words = bytes + KVI_RANS_HEAD;
  decoder->words_end = decoder->escapes = decoder->words + words * 2;
  decoder->escapes_end = decoder->escapes + escapes;
  decoder->in_tail = false;
  *used_p = (size_t)(KVI_RANS_HEAD + words * 2 + escapes);
  return KVS_OK;
}

/* One pair of rows of 32 columns. False: the words end too early. */
static bool decode_step(struct kvi_rans_decoder *decoder, const uint32_t *table, int16_t *first,
                        int16_t *second, uint32_t *escapes_p)
{
  uint32_t escapes = 0;

  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++) {
    uint32_t state = decoder->state[lane];
    uint32_t slot = kvi_rans_slots[table[lane] + (state & (KVI_RANS_SLOTS - 1))];

    state = (slot >> 8 & 0xfff) * (state >> KVI_RANS_SLOT_BITS) + (slot >> 20);
    if (state < KVI_RANS_LOW) {
      if (decoder->words == decoder->words_end)
        return false;
      state = state << 16 | kvi_load_le16(decoder->words);
      decoder->words += 2;
    }
    decoder->state[lane] = state;
    first[lane] = (int16_t)(((slot & 15) ^ 8) - 8);
    second[lane] = (int16_t)(((slot >> 4 & 15) ^ 8) - 8);
    escapes |= (uint32_t)((slot & 0xff) == KVI_RANS_ESCAPE_PAIR) << lane;
  }
  *escapes_p = escapes;
  return true;
}

bool kvi_rans_pairs_scalar(struct kvi_rans_decoder *decoder, uint32_t pairs)
{
  for (uint32_t pair = 0; pair < pairs; pair++)
    for (uint32_t group = 0; group < decoder->n_groups; group++) {
      uint32_t at = group * KVI_RANS_LANES;

      if (!decode_step(decoder, decoder->table + at, decoder->tile[2 * pair] + at,
                       decoder->tile[2 * pair + 1] + at, &decoder->escaped[pair][group]))
        return false;
    }
  return true;
}

bool kvi_rans_pairs_of_two_scalar(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs)
{
  return kvi_rans_pairs_scalar(a, pairs) && kvi_rans_pairs_scalar(b, pairs);
}

/* One number of an escaped pair. */
static bool escaped(struct kvi_rans_decoder *decoder, int16_t *number_p)
{
  size_t left = (size_t)(decoder->escapes_end - decoder->escapes);

  if (left < 1)
    return false;
  if (decoder->escapes[0] != 0x80) {
    *number_p = (int16_t)((*decoder->escapes++ ^ 0x80) - 0x80);
    return true;
  }
  if (left < 3)
    return false;
  *number_p = (int16_t)kvi_load_le16(decoder->escapes + 1);
  decoder->escapes += 3;
  return true;
}

/* The escapes of 32 lanes, which both rows have alike. */
static bool resolve_escapes(struct kvi_rans_decoder *decoder, uint32_t mask, int16_t *first, int16_t *second)
{
  for (; mask != 0; mask &= mask - 1) {
    uint32_t lane = (uint32_t)__builtin_ctz(mask);

    if (!escaped(decoder, &first[lane]) || !escaped(decoder, &second[lane]))
      return false;
  }
  return true;
}

static bool resolve_tile(struct kvi_rans_decoder *decoder)
{
  for (uint32_t pair = 0; 2 * pair < decoder->tile_rows; pair++)
    for (uint32_t group = 0; group < decoder->n_groups; group++) {
      uint32_t at = group * KVI_RANS_LANES;

      if (!resolve_escapes(decoder, decoder->escaped[pair][group], decoder->tile[2 * pair] + at,
                           decoder->tile[2 * pair + 1] + at))
        return false;
    }
  return true;
}

kvs_status kvi_rans_next(struct kvi_rans_decoder *const *decoders, uint32_t n)
{
  const struct kvi_codec_loops *loops = kvi_codec_loops();
  bool ok = true;

  for (uint32_t i = 0; i < n; i++) {
    struct kvi_rans_decoder *decoder = decoders[i];

    decoder->tile_rows = decoder->rows_left < KVI_TILE_ROWS ? decoder->rows_left : KVI_TILE_ROWS;
    decoder->rows_left -= decoder->tile_rows;
  }
  if (n == 2 && decoders[0]->tile_rows == decoders[1]->tile_rows &&
      decoders[0]->n_groups == decoders[1]->n_groups)
    ok = loops->rans_pairs_of_two(decoders[0], decoders[1], (decoders[0]->tile_rows + 1) / 2);
  else
    for (uint32_t i = 0; i < n; i++)
      ok = ok && loops->rans_pairs(decoders[i], (decoders[i]->tile_rows + 1) / 2);
  for (uint32_t i = 0; i < n; i++)
    ok = ok && resolve_tile(decoders[i]);
  return ok ? KVS_OK : KVS_ERR_CORRUPT;
}

kvs_status kvi_rans_close(const struct kvi_rans_decoder *decoder)
{
  bool ok = decoder->words == decoder->words_end && decoder->escapes == decoder->escapes_end;

  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++)
    ok = ok && decoder->state[lane] == KVI_RANS_LOW;
  return ok ? KVS_OK : KVS_ERR_CORRUPT;
}

/* A number to the list of escapes, which is written backwards. */
static uint8_t *put_escaped(uint8_t *end, int16_t number)
{
  if (number > -128 && number < 128) {
    *--end = (uint8_t)number;
    return end;
  }
  end -= 3;
  end[0] = 0x80;
  kvi_store_le16(end + 1, (uint16_t)number);
  return end;
}

void kvi_rans_put_escaped(struct kvi_rans_encoder *encoder, int16_t first, int16_t second)
{
  encoder->escapes = put_escaped(encoder->escapes, second);
  encoder->escapes = put_escaped(encoder->escapes, first);
}

static bool codes(int16_t number)
{
  return number >= -7 && number <= 7;
}

uint32_t kvi_rans_symbol(uint32_t class_id, int16_t first, int16_t second)
{
  uint32_t symbol = ((uint32_t)first & 15) | ((uint32_t)second & 15) << 4;

  if (!codes(first) || !codes(second) || kvi_rans_symbols[class_id * 256 + symbol] >> 16 == 0)
    return KVI_RANS_ESCAPE_PAIR;
  return symbol;
}

/* One pair of rows of one group, backwards: the last lane first. */
static void encode_step(const uint8_t *classes, const int16_t *first, const int16_t *second,
                        struct kvi_rans_encoder *encoder)
{
  for (uint32_t lane = KVI_RANS_LANES; lane-- > 0;) {
    uint32_t symbol, entry, frequency, state = encoder->state[lane];

    symbol = kvi_rans_symbol(classes[lane], first[lane], second[lane]);
    if (symbol == KVI_RANS_ESCAPE_PAIR)
      kvi_rans_put_escaped(encoder, first[lane], second[lane]);
    entry = kvi_rans_symbols[classes[lane] * 256 + symbol];
    frequency = entry >> 16;
    if (state >> (32 - KVI_RANS_SLOT_BITS) >= frequency) {
      encoder->words -= 2;
      kvi_store_le16(encoder->words, (uint16_t)state);
      state >>= 16;
    }
    encoder->state[lane] = ((state / frequency) << KVI_RANS_SLOT_BITS) + state % frequency + (entry & 0xffff);
  }
}

void kvi_rans_encode_scalar(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                            struct kvi_rans_encoder *encoder)
{
  for (uint32_t row = rows; row > 0; row -= 2)
    for (uint32_t group = columns->n_groups; group-- > 0;)
      encode_step(columns->classes + group * KVI_RANS_LANES,
                  numbers + (size_t)(row - 2) * KVI_BLOCK_COLUMNS + group * KVI_RANS_LANES,
                  numbers + (size_t)(row - 1) * KVI_BLOCK_COLUMNS + group * KVI_RANS_LANES, encoder);
}

size_t kvi_rans_encode(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                       uint8_t *out, uint8_t *backwards)
{
  size_t pairs = (size_t)rows / 2 * columns->n_groups * KVI_RANS_LANES;
  struct kvi_rans_encoder encoder = {
      .words = backwards + WORDS_SLACK + pairs * 2,
      .escapes = backwards + WORDS_SLACK + pairs * 8,
  };
  size_t words, escapes;

  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++)
    encoder.state[lane] = KVI_RANS_LOW;
  kvi_codec_loops()->rans_encode(columns, numbers, rows, &encoder);
  words = (size_t)(backwards + WORDS_SLACK + pairs * 2 - encoder.words);
  escapes = (size_t)(backwards + WORDS_SLACK + pairs * 8 - encoder.escapes);
  for (uint32_t lane = 0; lane < KVI_RANS_LANES; lane++)
    kvi_store_le32(out + lane * 4, encoder.state[lane]);
  kvi_store_le32(out + KVI_RANS_LANES * 4, (uint32_t)(words / 2));
  kvi_store_le32(out + KVI_RANS_LANES * 4 + 4, (uint32_t)escapes);
  memcpy(out + KVI_RANS_HEAD, encoder.words, words);
  memcpy(out + KVI_RANS_HEAD + words, encoder.escapes, escapes);
  return KVI_RANS_HEAD + words + escapes;
}
