/*
 * tiers/codec/layer_coder.h: what a level brings that codes a layer as one segment by itself (cachegen, zstd).
 *
 * The container (encode.c, decode.c) checks shapes, sizes and checksums before it calls, and keeps the segment table.
 */
#ifndef KVI_CODEC_LAYER_CODER_H
#define KVI_CODEC_LAYER_CODER_H

#include "tiers/codec/codec.h"

struct kvi_codec_layer_coder {
  const char *name;

  /* The most bytes that a layer's segment can have, for any content. */
  uint64_t (*bound)(const struct kvi_codec_shape *shape, uint32_t layer);

  /* Scratch that encoding any one layer needs, 64-byte aligned; 0 if none. */
  size_t (*scratch)(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options);

  /*
   * Encodes raw, the layer's kvi_codec_layer_bytes at any alignment, to out. Cannot fail for want of room: KVS_ERR_INVALID if room is below
   * bound, or bound above what a segment's u32 length can say. KVS_ERR_UNSUPPORTED if this build lacks the level, KVS_ERR_NOMEM if a library
   * it rests on had no memory. On success *length_p bytes of out are the segment; else *length_p is 0.
   */
  kvs_status (*encode)(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                       uint32_t layer, const uint8_t *raw, void *scratch, uint8_t *out, size_t room,
                       size_t *length_p);

  /*
   * Decodes a segment whose checksum was compared, but whose writer need not be sane: KVS_ERR_CORRUPT, never a read or write out of bounds,
   * and no more work than the place's rows and the segment's bytes are worth. KVS_ERR_NOMEM as above. Bytes of no shape (dtype BYTES) go
   * to place->keys, one after another. What the place holds after an error is undefined.
   */
  kvs_status (*decode)(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *segment,
                       size_t length, const struct kvi_codec_place *place);
};

extern const struct kvi_codec_layer_coder kvi_codec_cachegen; /* cachegen.c */
extern const struct kvi_codec_layer_coder kvi_codec_zstd;     /* zstd.c */

#endif
