/*
 * Lossless blocks. Of a number's bits only the exponent is alike along a channel: it is coded by a class that knows its distribution
 * around a reference of the channel. Sign and fraction are noise and lie as they are.
 */
#include "tiers/codec/lossless.h"

#include <string.h>

#include "base/array.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/codec/path.h"

#define SAMPLE_ROWS 128u /* so many rows, or up to twice as many, tell the distribution of high parts */

/* How an element of a dtype is taken apart: high part << shift, between the sign above it and the fraction below. */
struct parts {
  uint8_t fraction_bits; /* below the high part */
  uint8_t high_bits;
  uint8_t low_bits; /* fraction, and the sign if there is one */
};

static const struct parts dtype_parts[] = {
    [KVI_CODEC_BF16] = {7, 8, 8}, [KVI_CODEC_FP16] = {10, 5, 11}, [KVI_CODEC_E4M3] = {3, 4, 4},
    [KVI_CODEC_E5M2] = {2, 5, 3}, [KVI_CODEC_INT8] = {4, 4, 4},
};

static uint32_t load_element(enum kvi_codec_dtype dtype, const uint8_t *row, uint32_t column)
{
  if (kvi_codec_element_size(dtype) == 2)
    return kvi_load_le16(row + 2 * (size_t)column);
  return dtype == KVI_CODEC_INT8 ? row[column] ^ 0x80u : row[column];
}

static void store_element(enum kvi_codec_dtype dtype, uint8_t *row, uint32_t column, uint32_t element)
{
  if (kvi_codec_element_size(dtype) == 2)
    kvi_store_le16(row + 2 * (size_t)column, (uint16_t)element);
  else
    row[column] = (uint8_t)(dtype == KVI_CODEC_INT8 ? element ^ 0x80u : element);
}

static uint32_t high_of(struct parts parts, uint32_t element)
{
  return element >> parts.fraction_bits & ((1u << parts.high_bits) - 1);
}

/* The fraction, with what is above the high part behind it. */
static uint32_t low_of(struct parts parts, uint32_t element)
{
  uint32_t fraction = element & ((1u << parts.fraction_bits) - 1);

  return fraction | element >> (parts.fraction_bits + parts.high_bits) << parts.fraction_bits;
}

static uint32_t element_of(struct parts parts, uint32_t high, uint32_t low)
{
  uint32_t fraction = low & ((1u << parts.fraction_bits) - 1);

  high &= (1u << parts.high_bits) - 1;
  return fraction | high << parts.fraction_bits |
         low >> parts.fraction_bits << (parts.fraction_bits + parts.high_bits);
}

/* Bytes of the low parts of a row: whole bytes first, then single bits, each for all columns. */
static size_t low_row_bytes(struct parts parts, uint32_t columns)
{
  uint32_t bits = parts.low_bits % 8;

  return (parts.low_bits >= 8 ? columns : 0) + (size_t)bits * (columns / 8);
}

static void store_low_row(struct parts parts, const uint16_t *low, uint32_t columns, uint8_t *out)
{
  uint32_t bit = 0;

  if (parts.low_bits >= 8) {
    for (uint32_t column = 0; column < columns; column++)
      out[column] = (uint8_t)low[column];
    out += columns;
    bit = 8;
  }
  for (; bit < parts.low_bits; bit++, out += columns / 8) {
    memset(out, 0, columns / 8);
    for (uint32_t column = 0; column < columns; column++)
      out[column / 8] |= (uint8_t)((low[column] >> bit & 1) << column % 8);
  }
}

static void load_low_row(struct parts parts, const uint8_t *bytes, uint32_t columns, uint16_t *low)
{
  uint32_t bit = 0;

  memset(low, 0, columns * sizeof low[0]);
  if (parts.low_bits >= 8) {
    for (uint32_t column = 0; column < columns; column++)
      low[column] = bytes[column];
    bytes += columns;
    bit = 8;
  }
  for (; bit < parts.low_bits; bit++, bytes += columns / 8)
    for (uint32_t column = 0; column < columns; column++)
      low[column] |= (uint16_t)((bytes[column / 8] >> column % 8 & 1) << bit);
}

size_t kvi_lossless_bound(const struct kvi_block *block)
{
  return 4 + 2 * (size_t)block->columns + kvi_rans_bound(block->rows, kvi_rans_groups(block->columns)) +
         block->rows * low_row_bytes(dtype_parts[block->dtype], block->columns);
}

static size_t even(uint32_t rows)
{
  return rows + (rows & 1);
}

size_t kvi_lossless_scratch(uint32_t rows)
{
  return even(rows) * KVI_BLOCK_COLUMNS * sizeof(int16_t) +
         kvi_rans_bound(rows, KVI_BLOCK_COLUMNS / KVI_RANS_LANES);
}

/* A block's high parts, and the greatest of each column. Lanes without a column are zeros. */
struct highs {
  uint8_t (*rows)[KVI_BLOCK_COLUMNS];
  uint8_t greatest[KVI_BLOCK_COLUMNS];
};

/* What is known of one channel's high parts, of total rows. */
struct high_counts {
  uint32_t greatest, total;
  int16_t below[KVI_HIGH_COUNTS]; /* how often each is the greatest less so many */
};

/* The window of 15 numbers from 7 down, and the escapes, when the greatest high part is number 7 - up. */
static void window_of(const struct high_counts *counts, uint32_t up, int16_t window[16])
{
  int32_t outside = (int32_t)counts->total;

  memset(window, 0, up * sizeof window[0]);
  memcpy(window + up, counts->below, (KVI_HIGH_COUNTS - up) * sizeof window[0]);
  for (uint32_t i = 0; i < KVI_HIGH_COUNTS; i++)
    outside -= window[i];
  window[KVI_HIGH_COUNTS] = (int16_t)outside;
}

/*
 * The class and reference by which a channel costs least. The classes have the greatest at 7 or 6, those of channels that hardly vary
 * at 1 or 0: no other references are tried.
 */
static uint16_t choose_channel(const struct high_counts *counts)
{
  static const uint8_t ups[] = {0, 1, 6, 7};
  bool hardly_varies = (uint32_t)(counts->below[0] + counts->below[1]) > counts->total / 8 * 7;
  uint32_t least = UINT32_MAX;
  uint16_t choice = 1;

  for (uint32_t i = 0; i < (hardly_varies ? KVI_ARRAY_SIZE(ups) : 2); i++) {
    _Alignas(32) int16_t window[16];
    uint32_t up, class_id, cost;

    up = counts->greatest + ups[i] < 7 ? 7u - counts->greatest : ups[i]; /* references are not negative */
    window_of(counts, up, window);
    cost = kvi_codec_loops()->cheapest_class(window, &class_id);
    if (cost >= least)
      continue;
    least = cost;
    choice = (uint16_t)(class_id | (counts->greatest + up - 7) << 8);
  }
  return choice;
}

static void load_highs(const struct kvi_block *block, const uint8_t *raw, size_t stride, struct highs *highs)
{
  struct parts parts = dtype_parts[block->dtype];

  memset(highs->greatest, 0, sizeof highs->greatest);
  for (uint32_t row = 0; row < block->rows; row++) {
    const uint8_t *elements = raw + row * stride;
    uint8_t *out = highs->rows[row];

    kvi_block_prefetch(block, elements + KVI_BLOCK_PREFETCH_ROWS * stride);
    memset(out + block->columns, 0, KVI_BLOCK_COLUMNS - block->columns);
    if (block->dtype == KVI_CODEC_BF16) {
      kvi_codec_loops()->exponents_bf16(elements, block->columns, out, highs->greatest);
      continue;
    }
    for (uint32_t column = 0; column < block->columns; column++) {
      out[column] = (uint8_t)high_of(parts, load_element(block->dtype, elements, column));
      highs->greatest[column] = out[column] > highs->greatest[column] ? out[column] : highs->greatest[column];
    }
  }
}

/* Class and reference of each column, written to out. */
static void choose_channels(const struct kvi_block *block, const struct highs *highs,
                            struct kvi_rans_columns *columns, uint8_t *references, uint8_t *out)
{
  uint32_t step = block->rows >= 2 * SAMPLE_ROWS ? block->rows / SAMPLE_ROWS : 1;
  uint8_t below[KVI_HIGH_COUNTS][KVI_BLOCK_COLUMNS];

  kvi_codec_loops()->count_highs((const uint8_t(*)[KVI_BLOCK_COLUMNS])highs->rows, block->rows, step,
                                 highs->greatest, block->columns, below);
  for (uint32_t column = 0; column < block->columns; column++, out += 2) {
    struct high_counts counts = {highs->greatest[column], (block->rows + step - 1) / step, {0}};
    uint16_t channel;

    for (uint32_t i = 0; i < KVI_HIGH_COUNTS; i++)
      counts.below[i] = below[i][column];
    channel = choose_channel(&counts);
    kvi_store_le16(out, channel);
    columns->classes[column] = (uint8_t)(KVI_CLASSES_LADDER_COUNT + (channel & 31));
    references[column] = (uint8_t)(channel >> 8);
  }
}

/* The numbers that are left to code. Lanes of class none, and the row that an odd last one is paired with, are zeros. */
static void make_numbers(const struct kvi_block *block, const struct highs *highs, const uint8_t *references,
                         int16_t (*numbers)[KVI_BLOCK_COLUMNS])
{
  for (uint32_t row = 0; row < block->rows; row++) {
    memset(numbers[row] + block->columns, 0, (KVI_BLOCK_COLUMNS - block->columns) * sizeof numbers[row][0]);
    kvi_codec_loops()->less_reference(highs->rows[row], references, block->columns, numbers[row]);
  }
  if (block->rows % 2 != 0)
    memset(numbers[block->rows], 0, sizeof numbers[0]);
}

static uint8_t *store_lows(const struct kvi_block *block, const uint8_t *raw, size_t stride, uint8_t *out)
{
  struct parts parts = dtype_parts[block->dtype];
  size_t low_bytes = low_row_bytes(parts, block->columns);

  for (uint32_t row = 0; row < block->rows; row++, out += low_bytes) {
    uint16_t low[KVI_BLOCK_COLUMNS];

    if (block->dtype == KVI_CODEC_BF16) {
      kvi_codec_loops()->lows_bf16(raw + row * stride, block->columns, out);
      continue;
    }
    for (uint32_t column = 0; column < block->columns; column++)
      low[column] = (uint16_t)low_of(parts, load_element(block->dtype, raw + row * stride, column));
    store_low_row(parts, low, block->columns, out);
  }
  return out;
}

/* Rows come to lie one behind the other first: the checksum of 256 bytes takes half as long as that of ten times as many. */
static uint32_t checksum_of(const struct kvi_block *block, const uint8_t *raw, size_t stride)
{
  size_t row_bytes = block->columns * kvi_codec_element_size(block->dtype), used = 0;
  uint8_t together[KVI_TILE_ROWS * KVI_BLOCK_COLUMNS * 2];
  uint32_t crc = 0;

  for (uint32_t row = 0; row < block->rows; row++, used += row_bytes) {
    if (used + row_bytes > sizeof together) {
      crc = kvi_crc32c_update(crc, together, used);
      used = 0;
    }
    memcpy(together + used, raw + row * stride, row_bytes);
  }
  return kvi_crc32c_update(crc, together, used);
}

size_t kvi_lossless_encode(const struct kvi_block *block, const uint8_t *raw, size_t stride, void *scratch,
                           uint8_t *out)
{
  int16_t(*numbers)[KVI_BLOCK_COLUMNS] = scratch;
  uint8_t *backwards = (uint8_t *)numbers[even(block->rows)];
  struct highs highs = {.rows = (uint8_t(*)[KVI_BLOCK_COLUMNS])backwards}; /* gone before that is used */
  struct kvi_rans_columns columns = {.n_groups = kvi_rans_groups(block->columns)};
  uint8_t *at = out + 4 + 2 * (size_t)block->columns, references[KVI_BLOCK_COLUMNS];

  load_highs(block, raw, stride, &highs);
  kvi_store_le32(out, checksum_of(block, raw, stride));
  choose_channels(block, &highs, &columns, references, out + 4);
  make_numbers(block, &highs, references, numbers);
  at += kvi_rans_encode(&columns, numbers[0], (uint32_t)even(block->rows), at, backwards);
  return (size_t)(store_lows(block, raw, stride, at) - out);
}

static void join_row(const struct kvi_block *block, const int16_t *numbers, const int16_t *references,
                     const uint8_t *bytes, uint8_t *out)
{
  struct parts parts = dtype_parts[block->dtype];
  uint16_t low[KVI_BLOCK_COLUMNS];

  if (block->dtype == KVI_CODEC_BF16) {
    kvi_codec_loops()->join_bf16(numbers, references, bytes, block->columns, out);
    return;
  }
  load_low_row(parts, bytes, block->columns, low);
  for (uint32_t column = 0; column < block->columns; column++)
    store_element(block->dtype, out, column,
                  element_of(parts, (uint32_t)(numbers[column] + references[column]), low[column]));
}

/* A block that is being decoded. */
struct reading {
  const struct kvi_coded_block *of;
  struct kvi_rans_decoder decoder;
  int16_t references[KVI_BLOCK_COLUMNS];
  const uint8_t *low; /* of the next row */
  uint32_t row, crc;
};

static bool begin(struct reading *reading, const struct kvi_coded_block *of)
{
  const struct kvi_block *block = &of->block;
  struct kvi_rans_columns columns = {.n_groups = kvi_rans_groups(block->columns)};
  size_t head = 4 + 2 * (size_t)block->columns, used;

  reading->of = of;
  reading->row = reading->crc = 0;
  if (of->size < head)
    return false;
  for (uint32_t column = 0; column < block->columns; column++) {
    uint16_t channel = kvi_load_le16(of->bytes + 4 + 2 * (size_t)column);

    columns.classes[column] = (uint8_t)(KVI_CLASSES_LADDER_COUNT + (channel & 31));
    reading->references[column] = (int16_t)(channel >> 8);
  }
  if (kvi_rans_open(&reading->decoder, &columns, block->rows, of->bytes + head, of->size - head, &used) !=
      KVS_OK)
    return false;
  reading->low = of->bytes + head + used;
  return of->size - head - used == block->rows * low_row_bytes(dtype_parts[block->dtype], block->columns);
}

/* The rows come to lie together first, for their checksum. */
static void place_tile(struct reading *reading)
{
  _Alignas(64) uint8_t joined[KVI_TILE_ROWS * KVI_BLOCK_COLUMNS * 2];
  const struct kvi_block *block = &reading->of->block;
  size_t row_bytes = block->columns * kvi_codec_element_size(block->dtype);
  size_t low_bytes = low_row_bytes(dtype_parts[block->dtype], block->columns);
  size_t stride = reading->of->stride;
  uint8_t *out = reading->of->place + reading->row * stride, *at = joined;

  for (uint32_t row = 0; row < reading->decoder.tile_rows; row++) {
    kvi_block_prefetch_place(block, out + KVI_BLOCK_PREFETCH_ROWS * stride);
    join_row(block, reading->decoder.tile[row], reading->references, reading->low, at);
    memcpy(out, at, row_bytes);
    reading->low += low_bytes;
    at += row_bytes;
    out += stride;
  }
  reading->crc = kvi_crc32c_update(reading->crc, joined, (size_t)(at - joined));
  reading->row += reading->decoder.tile_rows;
}

static bool end(const struct reading *reading)
{
  return kvi_rans_close(&reading->decoder) == KVS_OK && reading->crc == kvi_load_le32(reading->of->bytes);
}

kvs_status kvi_lossless_decode(const struct kvi_coded_block *blocks, uint32_t n)
{
  struct reading readings[KVI_BLOCKS_AT_ONCE];
  struct kvi_rans_decoder *decoders[KVI_BLOCKS_AT_ONCE];
  uint32_t most_rows = 0;
  bool ok = true;

  for (uint32_t i = 0; i < n; i++) {
    if (!begin(&readings[i], &blocks[i]))
      return KVS_ERR_CORRUPT;
    decoders[i] = &readings[i].decoder;
    most_rows = blocks[i].block.rows > most_rows ? blocks[i].block.rows : most_rows;
  }
  for (uint32_t row = 0; row < most_rows; row += KVI_TILE_ROWS) {
    if (kvi_rans_next(decoders, n) != KVS_OK)
      return KVS_ERR_CORRUPT;
    for (uint32_t i = 0; i < n; i++)
      place_tile(&readings[i]);
  }
  for (uint32_t i = 0; i < n; i++)
    ok = ok && end(&readings[i]);
  return ok ? KVS_OK : KVS_ERR_CORRUPT;
}
