/*
 * tiers/codec/path.h: the hot loops, once in plain C and once for each instruction set, all with the same results.
 *
 * loops_body.h is compiled once for each path; what needs intrinsics is in files that are named after their instructions. Which path runs is decided at the first call: the
 * fastest that the processor has, by a measurement of a millisecond where gathers may be slow.
 */
#ifndef KVI_CODEC_PATH_H
#define KVI_CODEC_PATH_H

#include "tiers/codec/rans.h"

struct kvi_rans_encoder {
  _Alignas(32) uint32_t state[KVI_RANS_LANES];
  uint8_t *words;   /* the last word written: they are written from the end */
  uint8_t *escapes; /* likewise */
};

#define KVI_NUMBER_END                                                                                       \
  16000 /* fine numbers are clamped to it: twice as many half steps, and a mean, fit 16 bits */

/* The nearest integer to x / 3, for |x| <= KVI_NUMBER_END: one product, rounded and shifted, which vectors have an instruction for. */
static inline int16_t kvi_third_of(int16_t x)
{
  return (int16_t)((((int32_t)x * 10923 >> 14) + 1) >> 1);
}

/* What a number is predicted as by the one before it: a share of it, in 2^-15, rounded. Vectors have an instruction for it. */
static inline int16_t kvi_prediction(int16_t before, int16_t share)
{
  return (int16_t)((((int32_t)before * share >> 14) + 1) >> 1);
}

#define KVI_HIGH_COUNTS                                                                                      \
  15u /* how far below the greatest high part of a column others are counted: what one class covers */

/* How numbers become elements. */
struct kvi_codec_scale {
  _Alignas(64) int16_t mean[KVI_BLOCK_COLUMNS]; /* in fine half steps */
  _Alignas(64) float half[KVI_BLOCK_COLUMNS];   /* the fine half step */
  int16_t factor;                               /* a number's worth in fine half steps */
};

/* Numbers and what belongs to columns have room for KVI_BLOCK_COLUMNS, of which what is not a column may be read; elements and trits have not. */
struct kvi_codec_loops {
  const char *name;

  /*
   * Decodes pairs of rows into the decoder's tile, escapes left as KVI_RANS_ESCAPE; escaped[pair][group] tells which lanes have one. False: the
   * words end too early.
   */
  bool (*rans_pairs)(struct kvi_rans_decoder *decoder, uint32_t pairs);

  /* The same of two decoders that have as many groups. */
  bool (*rans_pairs_of_two)(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs);

  /* All rows, which are even, from the last to the first; states are set. */
  void (*rans_encode)(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                      struct kvi_rans_encoder *encoder);

  /*
   * Five rows of a tile to elements: for each of so many planes i = 3 i + digit, by a row of bytes of trits; then v = i * factor +
   * mean[column] and x = v * half[column], rounded to the dtype, to out[0] to out[4] (any alignment, each for columns elements).
   */
  void (*finish_rows)(enum kvi_codec_dtype dtype, int16_t (*rows)[KVI_BLOCK_COLUMNS],
                      const uint8_t *const *trits, uint32_t n_planes, const struct kvi_codec_scale *scale,
                      uint32_t columns, uint8_t *const *out);

  /*
   * Adds to each number of a tile's first rows what the row above predicts, share[column] of it; the row above the first is *last, which becomes the
   * last of these rows.
   */
  void (*add_predictions)(const int16_t *share, uint32_t columns, uint32_t n_rows, int16_t *last,
                          kvi_tile tile);

  /* A row kept apart: mean[column] * half[column] + numbers[column] * kept_half[column], rounded to the dtype. */
  void (*place_kept)(enum kvi_codec_dtype dtype, const int8_t *numbers, const float *kept_half,
                     const struct kvi_codec_scale *scale, uint32_t columns, uint8_t *out);

  /* bf16: from number + reference and low byte to elements. */
  void (*join_bf16)(const int16_t *row, const int16_t *reference, const uint8_t *low, uint32_t columns,
                    uint8_t *out);

  /* Encoder, bf16: exponents of a row of elements, to which the greatest so far are raised, and what is left of each: sign and fraction. */
  void (*exponents_bf16)(const uint8_t *row, uint32_t columns, uint8_t *out, uint8_t *greatest);
  void (*lows_bf16)(const uint8_t *row, uint32_t columns, uint8_t *out);

  /* Encoder: how often, in every step-th of the rows, at most 255 in all, a column has its greatest less 0, less 1 and so on. */
  void (*count_highs)(const uint8_t (*highs)[KVI_BLOCK_COLUMNS], uint32_t rows, uint32_t step,
                      const uint8_t *greatest, uint32_t columns, uint8_t (*counts)[KVI_BLOCK_COLUMNS]);

  /* Encoder: the lossless class by which numbers so often there (7 to -7, then escapes; 255 in all) cost least, and the cost in 1/256 bits. */
  uint32_t (*cheapest_class)(const int16_t counts[16], uint32_t *class_p);

  /* Encoder: high - reference[column] of a row. */
  void (*less_reference)(const uint8_t *highs, const uint8_t *reference, uint32_t columns, int16_t *out);

  /* Encoder: adds x - shift[column] and its square of n rows of elements, one after another. */
  void (*add_sums)(enum kvi_codec_dtype dtype, const uint8_t *rows, size_t stride, uint32_t n,
                   const float *shift, uint32_t columns, float *sum, float *square);

  /* Encoder: round((x - mean[column]) * scale[column]) of a row of elements, within +-KVI_NUMBER_END. Returns the largest magnitude. */
  int16_t (*quantise)(enum kvi_codec_dtype dtype, const uint8_t *row, const float *mean, const float *scale,
                      uint32_t columns, int16_t *out);

  /* Encoder: of the rows of numbers the sum of their squares, and of their products with the row before; that before the first is zeros. */
  void (*sum_products)(const int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t n_rows, uint32_t columns,
                       float *square, float *product);

  /* Encoder: takes from each row of numbers what the row before, as it was, predicts; square is the sum of the squares of what is left. */
  void (*take_predictions)(const int16_t *share, uint32_t columns, uint32_t n_rows,
                           int16_t (*rows)[KVI_BLOCK_COLUMNS], float *square);

  /*
   * Encoder: takes a digit for each of so many planes, the finest and last one first, from the numbers of five rows, which are divided by 3
   * and rounded each time, to a row of bytes of trits for each.
   */
  void (*split_digits)(int16_t (*rows)[KVI_BLOCK_COLUMNS], uint32_t columns, uint32_t n_planes,
                       uint8_t *const *trits);
};

/* Makes the tables and chooses the path, once in a process; thread-safe, allocates nothing, cannot fail. Before everything below. */
void kvi_codec_init(void);

/* The loops of this thread. */
const struct kvi_codec_loops *kvi_codec_loops(void);

extern const struct kvi_codec_loops kvi_codec_loops_scalar;
#if defined(__x86_64__)
extern const struct kvi_codec_loops kvi_codec_loops_avx2;           /* hardware gathers */
extern const struct kvi_codec_loops kvi_codec_loops_avx2_no_gather; /* loads one by one */

/* The same with AVX-512, of which F, BW, DQ, VL, VBMI and VBMI2 are there; after kvi_codec_init. */
extern struct kvi_codec_loops kvi_codec_loops_avx512, kvi_codec_loops_avx512_no_gather;

/* Makes the two. path.c calls it, once. */
void kvi_codec_loops_avx512_init(void);

/* finish_avx2.c, finish_avx512.c: finish_rows for bf16. */
void kvi_finish_bf16_avx2(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits,
                          uint32_t n_planes, const struct kvi_codec_scale *scale, uint32_t columns,
                          uint8_t *const *out);
void kvi_finish_bf16_avx512(const int16_t (*rows)[KVI_BLOCK_COLUMNS], const uint8_t *const *trits,
                            uint32_t n_planes, const struct kvi_codec_scale *scale, uint32_t columns,
                            uint8_t *const *out);
#endif

/* rans.c: what the loops are made of, and what they are compared with. */
bool kvi_rans_pairs_scalar(struct kvi_rans_decoder *decoder, uint32_t pairs);
bool kvi_rans_pairs_of_two_scalar(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs);
void kvi_rans_encode_scalar(const struct kvi_rans_columns *columns, const int16_t *numbers, uint32_t rows,
                            struct kvi_rans_encoder *encoder);
/* The two numbers of an escaped pair, in front of those that are there. */
void kvi_rans_put_escaped(struct kvi_rans_encoder *encoder, int16_t first, int16_t second);
uint32_t kvi_rans_symbol(uint32_t class_id, int16_t first,
                         int16_t second); /* KVI_RANS_ESCAPE_PAIR: an escape */

#endif
