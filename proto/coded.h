/*
 * proto/coded.h: a chunk's payload as a KVC1 object (tiers/codec), and back. docs/formats/chunk.md, "A coded payload", is the format.
 *
 * A coded payload is the table of the chunk as it was put, then the object. It is what tiers hold and wires carry; whoever reads the chunk decodes it.
 * No I/O and no state; nothing is allocated but by level zstd (tiers/codec/codec.h). Any thread.
 */
#ifndef KVASIR_PROTO_CODED_H
#define KVASIR_PROTO_CODED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/space.h>

#include "proto/chunk.h"
#include "tiers/codec/codec.h"

/* ---- encoding ---- */

/*
 * What a chunk of `length` bytes at this place of its sequence is, as the codec sees it: tensors, if the descriptor says so, they have one element type, and the length
 * is a whole chunk's; else bytes. KVS_ERR_UNSUPPORTED: more than the codec takes.
 */
kvs_status kvi_coded_shape(const kvs_space_desc *desc, uint64_t length, uint32_t place, bool unchained,
                           struct kvi_codec_shape *shape_p);

/* What encoding a level with so many planes loses (kvi_quality_loss). */
uint32_t kvi_coded_loss(enum kvi_codec_level level, uint32_t planes);

/* The most bytes that encoding can give, for a chunk of so many segments. */
uint64_t kvi_coded_bound(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                         uint32_t n_segments);

/*
 * Longer than this is no payload of a chunk of raw_length bytes that anybody would keep: encoding adds two tables, and at worst a header to each block.
 */
static inline uint64_t kvi_coded_longest(uint64_t raw_length)
{
  return raw_length + raw_length / 8 + (128u << 10);
}

/*
 * Encodes raw, the payload of raw_table, in one piece. scratch: kvi_codec_encode_scratch bytes, aligned to 64. out: room for kvi_coded_bound, aligned
 * to 8. Errors: KVS_ERR_CORRUPT (the bytes do not fit raw_table's checksums: they have changed), KVS_ERR_UNSUPPORTED (raw_table is of a coded chunk, or there would be more than
 * KVI_SEGMENTS_MAX segments), and those of kvi_codec_encode.
 */
kvs_status kvi_coded_encode(const struct kvi_chunk_table *raw_table, const struct kvi_codec_shape *shape,
                            const struct kvi_codec_options *options, const uint8_t *raw, void *scratch,
                            uint8_t *out, uint64_t room, uint64_t *length_p);

/* ---- reading ---- */

/* An opened payload. Points into it. */
struct kvi_coded {
  struct kvi_chunk_table raw;     /* the chunk as it was put */
  struct kvi_codec_object object; /* its table lies in the payload */
  uint32_t object_at;             /* where the object begins in the payload */
  uint32_t head_length;           /* of segment 0 */
  uint32_t planes;                /* that this payload has, the object's or fewer if it was cut */
};

/*
 * Opens a payload of `length` bytes, of which at least segment 0, `size` bytes, is there. bytes is aligned to 8. Errors: KVS_ERR_CORRUPT, KVS_ERR_UNSUPPORTED (a version
 * of the codec that this one does not know).
 */
kvs_status kvi_coded_open(const uint8_t *bytes, uint64_t size, uint64_t length, struct kvi_coded *coded_p);

/* Segments of the chunk's table, at most room of them. Returns their number, which is above room if they do not fit. */
uint32_t kvi_coded_segments(const struct kvi_coded *coded, const uint8_t *bytes, struct kvi_segment *segments,
                            uint32_t room);

/*
 * What is left of a chunk of this quality without its payload's last plane: so many leading bytes and segments of its table, under this quality. False: it has no plane to spare (one
 * with nothing in it saves nothing), or what is left would lose more than loss_max: what its owner allows (kvi_quality_loss_max), where it is to be kept so; what its reader takes, where it is sent so.
 * A chunk that had lost more than its planes tell, before it was encoded, may be cut without telling more. Whoever keeps the rest looks at that, for it has lost more all the same.
 */
struct kvi_coded_rest {
  uint64_t length;
  uint32_t n_segments;
  uint16_t quality;
};
bool kvi_coded_cut(const struct kvi_coded *coded, const uint8_t *bytes, uint16_t quality, uint32_t loss_max,
                   struct kvi_coded_rest *rest_p);
/* What the rest would tell, of a payload that has a plane at least; nothing else is looked at. */
uint32_t kvi_coded_cut_loss(const struct kvi_coded *coded, uint16_t quality);
/* Whether the chunk's table has a segment that ends where what is left does: whoever put it may have cut it into other segments than the object's. */
bool kvi_coded_rest_fits(const struct kvi_chunk_table *table, const struct kvi_coded_rest *rest);

/* How many leading bytes of the payload a layer needs, with all planes that there are. */
uint64_t kvi_coded_layer_end(const struct kvi_coded *coded, uint32_t layer);

/*
 * Decodes a layer, kvi_codec_layer_bytes of it, to `to`. Checksums of segments are compared. bytes: the payload, as far as kvi_coded_layer_end. Errors: KVS_ERR_CORRUPT, KVS_ERR_INVALID,
 * KVS_ERR_UNSUPPORTED, KVS_ERR_NOMEM (zstd).
 */
kvs_status kvi_coded_layer(const struct kvi_coded *coded, uint32_t layer, const uint8_t *bytes, uint8_t *to);
/* The same to a place whose keys and values, or rows, do not lie in one piece. */
kvs_status kvi_coded_layer_to(const struct kvi_coded *coded, uint32_t layer, const uint8_t *bytes,
                              const struct kvi_codec_place *place);

#endif
