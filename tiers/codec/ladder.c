/* Decoding a ladder block, a tile of ten rows at a time: coded numbers, deep digits, planes, one product, one rounding. */
#include "tiers/codec/ladder.h"

#include <string.h>

#include "base/bytes.h"
#include "tiers/codec/element.h"
#include "tiers/codec/ladder_private.h"
#include "tiers/codec/path.h"

/* What is read in front of the coded rows. */
struct ladder_head {
  struct kvi_rans_columns columns;
  uint32_t n_deep; /* columns that have deep digits, and how many */
  uint8_t deep_column[KVI_BLOCK_COLUMNS], depth[KVI_BLOCK_COLUMNS];
  struct kvi_codec_scale scale;
  bool predicts; /* some share is not 0 */
  _Alignas(32) int16_t share[KVI_BLOCK_COLUMNS];
  const uint8_t *kept;   /* entries of rows kept apart */
  const uint8_t *digits; /* deep digits */
};

float kvi_ladder_half(const uint8_t *bytes)
{
  /* m * 2^e by the power's bits: -100 <= e <= 100 is checked before the number is used. */
  return (float)bytes[0] * kvi_float_from_bits((uint32_t)(127 + (int8_t)bytes[1]) << 23);
}

size_t kvi_ladder_channels(const uint8_t *bytes, size_t size, uint32_t n, struct kvi_ladder_channel *channels)
{
  size_t used = 2 * (size_t)n;

  if (size < used)
    return 0;
  for (uint32_t column = 0; column < n; column++) {
    uint8_t first = bytes[column], mean = bytes[n + column];

    channels[column].class_id = first & 15;
    channels[column].share = first >> 4 & 7;
    channels[column].depth = 0;
    channels[column].mean = (int16_t)((mean ^ 128) - 128); /* a signed byte */
    if ((first & KVI_LADDER_WIDE) == 0)
      continue;
    if (used == size)
      return 0;
    channels[column].depth = bytes[used] & 3;
    channels[column].mean = (int16_t)((((bytes[used] >> 2) ^ 32) - 32) * 256 + mean);
    used++;
  }
  return used;
}

static bool half_ok(const uint8_t *bytes)
{
  int exponent = (bytes[1] ^ 128) - 128; /* a signed byte */

  return bytes[0] >= 128 && exponent >= KVI_LADDER_EXPONENT_MIN && exponent <= KVI_LADDER_EXPONENT_MAX;
}

size_t kvi_ladder_kept_bytes(const struct kvi_block *block, uint16_t kind)
{
  if (kind == KVI_KEPT_FINE)
    return 4 + (size_t)kvi_block_units(block) * 2 + block->columns;
  return 4 + (size_t)block->columns * kvi_codec_element_size(block->dtype);
}

/* The entries of rows kept apart: rising rows, known kinds, sound steps. Returns their bytes, or 0. */
static size_t check_kept(const struct kvi_block *block, uint32_t kept, const uint8_t *bytes, size_t size)
{
  size_t used = 0;
  uint32_t least = 0;

  for (uint32_t i = 0; i < kept; i++) {
    uint16_t row, kind;
    size_t length;

    if (size - used < 4)
      return 0;
    row = kvi_load_le16(bytes + used);
    kind = kvi_load_le16(bytes + used + 2);
    if (row < least || row >= block->rows || kind > KVI_KEPT_RAW)
      return 0;
    length = kvi_ladder_kept_bytes(block, kind);
    if (size - used < length)
      return 0;
    for (uint32_t unit = 0; kind == KVI_KEPT_FINE && unit < kvi_block_units(block); unit++)
      if (!half_ok(bytes + used + 4 + unit * 2))
        return 0;
    used += length;
    least = row + 1u;
  }
  return used;
}

/* Reads what precedes the coded rows; returns its bytes, or 0 if it is not sound. */
static size_t read_head(const struct kvi_block *block, uint32_t n_planes, uint32_t kept, const uint8_t *bytes,
                        size_t size, struct ladder_head *head)
{
  struct kvi_ladder_channel channels[KVI_BLOCK_COLUMNS];
  uint32_t units = kvi_block_units(block);
  size_t used = (size_t)units * 2, channel_bytes, kept_bytes, deep = 0;
  size_t digit_bytes = (block->rows - kept + 4) / 5;
  float half = 0;

  memset(head, 0, sizeof *head);
  head->columns.n_groups = kvi_rans_groups(block->columns);
  if (size < used)
    return 0;
  for (uint32_t unit = 0; unit < units; unit++)
    if (!half_ok(bytes + unit * 2))
      return 0;
  channel_bytes = kvi_ladder_channels(bytes + used, size - used, block->columns, channels);
  if (channel_bytes == 0)
    return 0;
  used += channel_bytes;
  for (uint32_t column = 0; column < block->columns; column++) {
    uint8_t depth = channels[column].depth;

    head->columns.classes[column] = channels[column].class_id;
    head->scale.mean[column] = (int16_t)(channels[column].mean * kvi_power_of_3[n_planes + depth]);
    head->share[column] = (int16_t)(channels[column].share << KVI_LADDER_SHARE_SHIFT);
    head->predicts = head->predicts || head->share[column] != 0;
    if (column % block->unit_columns == 0)
      half = kvi_ladder_half(bytes + column / block->unit_columns * 2);
    head->scale.half[column] = half;
    if (depth == 0)
      continue;
    head->deep_column[head->n_deep] = (uint8_t)column;
    head->depth[head->n_deep++] = depth;
    deep += depth;
  }
  head->kept = bytes + used;
  kept_bytes = check_kept(block, kept, bytes + used, size - used);
  if (kept > 0 && kept_bytes == 0)
    return 0;
  used += kept_bytes;
  if (size - used < deep * digit_bytes)
    return 0;
  head->digits = bytes + used;
  return used + deep * digit_bytes;
}

/* One column's digits of five rows at most. */
static void add_five_digits(uint8_t trits, uint32_t rows, int16_t *column)
{
  uint32_t left = trits;

  for (uint32_t row = 0; row < rows; row++, column += KVI_BLOCK_COLUMNS) {
    uint32_t digit = row == 4 ? left : left % 3;

    *column = (int16_t)(3 * *column + (int)digit - 1);
    left /= 3;
  }
}

/* The digits of deep columns for a tile whose first row is the so-manieth of the coded rows, a multiple of 5. */
static void add_deep_digits(const struct ladder_head *head, uint32_t n, uint32_t first, uint32_t rows,
                            kvi_tile tile)
{
  const uint8_t *digits = head->digits + first / 5;
  size_t digit_bytes = (n + 4) / 5;

  for (uint32_t i = 0; i < head->n_deep; i++)
    for (uint32_t digit = 0; digit < head->depth[i]; digit++, digits += digit_bytes)
      for (uint32_t five = 0; five < rows; five += 5)
        add_five_digits(digits[five / 5], rows - five < 5 ? rows - five : 5,
                        &tile[five][head->deep_column[i]]);
}

/* One row kept apart, finer than the others. */
static void place_kept_row(const struct kvi_block *block, const struct ladder_head *head,
                           const uint8_t *entry, uint8_t *out)
{
  const uint8_t *numbers = entry + 4 + (size_t)kvi_block_units(block) * 2;
  _Alignas(32) float kept_half[KVI_BLOCK_COLUMNS];

  if (kvi_load_le16(entry + 2) == KVI_KEPT_RAW) {
    memcpy(out, entry + 4, block->columns * kvi_codec_element_size(block->dtype));
    return;
  }
  for (uint32_t unit = 0; unit < kvi_block_units(block); unit++)
    for (uint32_t column = 0; column < block->unit_columns; column++)
      kept_half[unit * block->unit_columns + column] = kvi_ladder_half(entry + 4 + unit * 2);
  kvi_codec_loops()->place_kept(block->dtype, (const int8_t *)numbers, kept_half, &head->scale,
                                block->columns, out);
}

/* Which rows the coded ones are: all but those kept apart, which are placed on the way. */
struct row_walk {
  const struct kvi_block *block;
  const struct ladder_head *head;
  const uint8_t *kept;
  uint32_t kept_left;
  uint32_t row;
  uint8_t *place;
  size_t stride;
};

/* Places the kept rows in front of the next coded one, or all that are left. */
static void place_kept(struct row_walk *walk)
{
  while (walk->kept_left > 0 && kvi_load_le16(walk->kept) == walk->row) {
    place_kept_row(walk->block, walk->head, walk->kept, walk->place + (size_t)walk->row * walk->stride);
    walk->kept += kvi_ladder_kept_bytes(walk->block, kvi_load_le16(walk->kept + 2));
    walk->kept_left--;
    walk->row++;
  }
}

/* Five coded rows, or what is left of them, to where they belong; rows that are not there go nowhere. */
static void place_five(struct row_walk *walk, int16_t (*numbers)[KVI_BLOCK_COLUMNS], uint32_t rows,
                       const uint8_t *const *trits, uint32_t n_planes)
{
  uint8_t nowhere[KVI_BLOCK_COLUMNS * 2], *out[5];

  for (uint32_t row = 0; row < 5; row++) {
    out[row] = nowhere;
    if (row >= rows)
      continue;
    place_kept(walk);
    out[row] = walk->place + (size_t)walk->row++ * walk->stride;
    kvi_block_prefetch_place(walk->block, out[row] + KVI_BLOCK_PREFETCH_ROWS * walk->stride);
  }
  kvi_codec_loops()->finish_rows(walk->block->dtype, numbers, trits, n_planes, &walk->head->scale,
                                 walk->block->columns, out);
}

/* A block that is being decoded. */
struct reading {
  const struct kvi_coded_block *of;
  struct ladder_head head;
  struct kvi_rans_decoder decoder;
  struct row_walk walk;
  uint32_t rows; /* coded ones */
  uint32_t row;  /* the next one of them */
  _Alignas(64) int16_t last[KVI_BLOCK_COLUMNS];
};

static bool begin(struct reading *reading, const struct kvi_coded_block *of, uint32_t n_planes,
                  uint32_t quality)
{
  size_t used, coded;

  if (of->kept > of->block.rows)
    return false;
  reading->of = of;
  reading->rows = of->block.rows - of->kept;
  reading->row = 0;
  used = read_head(&of->block, n_planes, of->kept, of->bytes, of->size, &reading->head);
  if (used == 0 || kvi_rans_open(&reading->decoder, &reading->head.columns, reading->rows, of->bytes + used,
                                 of->size - used, &coded) != KVS_OK)
    return false;
  reading->head.scale.factor = (int16_t)(2 * kvi_power_of_3[n_planes - quality]);
  reading->walk =
      (struct row_walk){&of->block, &reading->head, reading->head.kept, of->kept, 0, of->place, of->stride};
  memset(reading->last, 0, sizeof reading->last);
  return used + coded == of->size;
}

static void place_tile(struct reading *reading, uint32_t quality)
{
  uint32_t columns = reading->of->block.columns, rows = reading->decoder.tile_rows, first = reading->row;
  int16_t(*tile)[KVI_BLOCK_COLUMNS] = reading->decoder.tile;

  if (rows > 0 && reading->head.predicts)
    kvi_codec_loops()->add_predictions(reading->head.share, columns, rows, reading->last, tile);
  add_deep_digits(&reading->head, reading->rows, first, rows, tile);
  for (uint32_t five = 0; five < rows; five += 5) {
    const uint8_t *trits[KVI_CODEC_PLANES_MAX];

    for (uint32_t plane = 0; plane < quality; plane++)
      trits[plane] = reading->of->planes[plane] + (size_t)((first + five) / 5) * columns;
    place_five(&reading->walk, tile + five, rows - five < 5 ? rows - five : 5, trits, quality);
  }
  reading->row += rows;
}

static bool end(struct reading *reading)
{
  place_kept(&reading->walk);
  return kvi_rans_close(&reading->decoder) == KVS_OK;
}

kvs_status kvi_ladder_decode(const struct kvi_coded_block *blocks, uint32_t n, uint32_t n_planes,
                             uint32_t quality)
{
  struct reading readings[KVI_BLOCKS_AT_ONCE];
  struct kvi_rans_decoder *decoders[KVI_BLOCKS_AT_ONCE];
  uint32_t most_rows = 0;
  bool ok = true;

  for (uint32_t i = 0; i < n; i++) {
    if (!begin(&readings[i], &blocks[i], n_planes, quality))
      return KVS_ERR_CORRUPT;
    decoders[i] = &readings[i].decoder;
    most_rows = readings[i].rows > most_rows ? readings[i].rows : most_rows;
  }
  for (uint32_t row = 0; row < most_rows; row += KVI_TILE_ROWS) {
    if (kvi_rans_next(decoders, n) != KVS_OK)
      return KVS_ERR_CORRUPT;
    for (uint32_t i = 0; i < n; i++)
      place_tile(&readings[i], quality);
  }
  for (uint32_t i = 0; i < n; i++)
    ok = end(&readings[i]) && ok;
  return ok ? KVS_OK : KVS_ERR_CORRUPT;
}
