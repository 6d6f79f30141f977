/*
 * tiers/codec/rans.h: pairs of small numbers through 32 interleaved rANS coders (docs/formats/kvc1.md, "Coded rows").
 *
 * After Duda's rANS (arXiv 1311.2540) and Giesen's interleaved coders (arXiv 1402.3392). A tile is what is decoded at a time: KVI_TILE_ROWS rows of a block's
 * columns as 16-bit numbers, small enough to stay in the first-level cache until it is turned into elements.
 */
#ifndef KVI_CODEC_RANS_H
#define KVI_CODEC_RANS_H

#include "tiers/codec/block.h"

#define KVI_RANS_LANES       32u
#define KVI_RANS_SLOT_BITS   10u
#define KVI_RANS_SLOTS       (1u << KVI_RANS_SLOT_BITS)
#define KVI_RANS_LOW         (1u << 16)
#define KVI_RANS_ESCAPE      (-8)
#define KVI_RANS_ESCAPE_PAIR 0x88u
#define KVI_RANS_HEAD        (KVI_RANS_LANES * 4u + 8u) /* states and counts, in front of the words */

#define KVI_RANS_PAIR_BYTES (KVI_BLOCK_COLUMNS * 2u) /* the most words that a pair of rows takes */

#define KVI_TILE_ROWS 10u /* pairs of rows, and fives of rows */

/* Classes of both levels, those of the ladder first; the first of each set is "none". */
#define KVI_CLASSES_LADDER_COUNT   16u
#define KVI_CLASSES_LOSSLESS_COUNT 32u
#define KVI_CLASSES                (KVI_CLASSES_LADDER_COUNT + KVI_CLASSES_LOSSLESS_COUNT)

/* A slot: symbol | frequency << 8 | (slot - start) << 20. */
extern const uint32_t *kvi_rans_slots; /* KVI_CLASSES x KVI_RANS_SLOTS; after kvi_codec_init */
extern const uint32_t
    *kvi_rans_symbols; /* KVI_CLASSES x 256: start | frequency << 16; frequency 0: an escape is needed */

/* Makes the tables. path.c calls it, once. */
void kvi_rans_make_tables(void);

/* What the coder needs of a block's columns: for each column its class, counted through both sets; missing ones are class 0 (none). */
struct kvi_rans_columns {
  uint32_t n_groups;                  /* of 32 columns */
  uint8_t classes[KVI_BLOCK_COLUMNS]; /* ladder: 0 to 15, lossless: 16 to 47 */
};

static inline uint32_t kvi_rans_groups(uint32_t columns)
{
  return (columns + KVI_RANS_LANES - 1) / KVI_RANS_LANES;
}

typedef int16_t kvi_tile[KVI_TILE_ROWS][KVI_BLOCK_COLUMNS];

struct kvi_rans_decoder {
  _Alignas(64) uint32_t state[KVI_RANS_LANES];
  _Alignas(64) uint32_t table[KVI_BLOCK_COLUMNS]; /* where each column's class begins in kvi_rans_slots */
  _Alignas(64) kvi_tile tile;                     /* the rows decoded last */
  uint32_t tile_rows;                             /* so many; 0: there are no more */
  uint32_t rows_left;                             /* behind them */
  uint32_t escaped[KVI_TILE_ROWS / 2][KVI_BLOCK_COLUMNS / KVI_RANS_LANES]; /* lanes of each pair and group */
  uint32_t n_groups;
  const uint8_t *words, *words_end;
  const uint8_t *escapes, *escapes_end;
  /* The last words are read from here, so that vectors may read on behind them. */
  bool in_tail;
  uint8_t tail[2 * KVI_RANS_PAIR_BYTES];
};

/*
 * Opens so many coded rows, which begin at bytes; *used_p is how many bytes they take. Errors: KVS_ERR_CORRUPT (they end too early, a state
 * below KVI_RANS_LOW).
 */
kvs_status kvi_rans_open(struct kvi_rans_decoder *decoder, const struct kvi_rans_columns *columns,
                         uint32_t n_rows, const uint8_t *bytes, size_t size, size_t *used_p);

/*
 * The next tile of each of n decoders, escapes resolved. Two at once take little longer than one: a coder mostly waits for its own last step.
 * KVS_ERR_CORRUPT: words or escapes end too early.
 */
kvs_status kvi_rans_next(struct kvi_rans_decoder *const *decoders, uint32_t n);

/* After the last row: all is read and the states are what an encoder begins with. Else KVS_ERR_CORRUPT. */
kvs_status kvi_rans_close(const struct kvi_rans_decoder *decoder);

/*
 * Encoding. numbers is rows x KVI_BLOCK_COLUMNS, row after row, of which the groups' columns are read; rows is even (a missing
 * last row is zeros). Writes the coded rows to out, which has kvi_rans_bound(rows, n_groups), and returns their length. backwards is scratch of the same size.
 */
size_t kvi_rans_encode(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                       uint8_t *out, uint8_t *backwards);

static inline size_t kvi_rans_bound(uint32_t rows, uint32_t n_groups)
{
  /* A pair costs at most a word of 16 bits (frequency 1 of 1024 is 10 bits) and 6 bytes of escapes. */
  return KVI_RANS_HEAD + (size_t)(rows + 1) / 2 * n_groups * KVI_RANS_LANES * 8;
}

/* What one number costs by a class in 1/256 bits, by number & 15 (8: an escape, its bytes included), for the encoder's choices. */
extern const uint16_t (*kvi_rans_costs)[16]; /* KVI_CLASSES of them; after kvi_codec_init */

/* The mean square of the numbers that each class is made for, likewise. */
extern float kvi_rans_squares[KVI_CLASSES];

/*
 * The same of the lossless classes as 16-bit numbers for products of pairs: by two numbers that follow each other (7 and 6, 5 and 4,
 * ..., -7 and an escape), class, first or second of the two. Class none costs more than any other.
 */
extern const int16_t (*kvi_rans_pair_costs)[KVI_CLASSES_LOSSLESS_COUNT][2]; /* 8 of them */

#endif
