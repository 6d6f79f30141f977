/*
 * tiers/codec/inspect.h: looks into an object without decoding it: how each block of a layer is coded, and where its bytes go.
 *
 * For people and tests; decoding does not use it. Reads only, holds no state between calls, allocates nothing, any thread, does not block. The
 * bytes need not be sane: lengths and counts are compared with what is there. That a block can be looked at does not mean that its numbers decode:
 * kvi_codec_decode_layer tells that.
 */
#ifndef KVI_CODEC_INSPECT_H
#define KVI_CODEC_INSPECT_H

#include "tiers/codec/block.h"

#define KVI_CODEC_DEPTHS      4u  /* deep digits of a column: 0 to 3 */
#define KVI_CODEC_CLASSES_MAX 32u /* of either set */

/* Where the bytes of a block's base go; together they are its length. */
struct kvi_codec_block_parts {
  uint32_t head;     /* mode, length, checksum, steps, and the channels' classes and means */
  uint32_t kept;     /* rows kept apart */
  uint32_t deep;     /* digits of deep columns */
  uint32_t states;   /* of the coders, and counts */
  uint32_t words;    /* entropy-coded */
  uint32_t escapes;  /* numbers beyond the alphabet */
  uint32_t verbatim; /* bits as they were: a raw block, low parts of a lossless one */
};

struct kvi_codec_block_info {
  struct kvi_block block; /* which columns, of keys or values */
  enum kvi_block_mode mode;
  uint32_t kept_fine, kept_raw; /* rows kept apart: finer than the others, as they were */
  uint32_t base_bytes;          /* in the base segment */
  uint32_t plane_bytes;         /* in each plane's segment */
  struct kvi_codec_block_parts parts;
  uint8_t classes[KVI_BLOCK_COLUMNS]; /* of each column, of the mode's own set; 0 in a raw block */
  uint8_t depths[KVI_BLOCK_COLUMNS];
  uint8_t shares[KVI_BLOCK_COLUMNS]; /* of the number before, in eighths: what a number is predicted as */
};

/* A walk through the blocks of a layer. Its fields are the walk's own. */
struct kvi_codec_inspection {
  struct kvi_block_walk walk;
  enum kvi_codec_level level;
  const uint8_t *at;
  size_t left;
};

/*
 * Whether the segment's bytes fit its checksum. bytes holds what kvi_codec_segment_at says; quality and layer as there.
 */
bool kvi_codec_segment_sound(const struct kvi_codec_object *object, uint32_t quality, uint32_t layer,
                             const uint8_t *bytes);

/*
 * Begins with a layer whose base segment is length bytes at base; object and base have to stay. Errors: KVS_ERR_INVALID (layer out of range, a length that
 * is not the table's), KVS_ERR_UNSUPPORTED (a level without blocks: only lossless and ladder have them).
 */
kvs_status kvi_codec_inspect_begin(const struct kvi_codec_object *object, uint32_t layer, const uint8_t *base,
                                   size_t length, struct kvi_codec_inspection *inspection_p);

/*
 * The next block. KVS_MISS after the last one. KVS_ERR_CORRUPT: lengths or counts that do not fit, or bytes behind the last block; then the walk is over.
 */
kvs_status kvi_codec_inspect_next(struct kvi_codec_inspection *inspection,
                                  struct kvi_codec_block_info *info_p);

#endif
