/*
 * proto/encode.h: whether and how one chunk is encoded (proto/coded.h), by rules: the node's on the way to a tier, a client's on the way to a node. First a plan,
 * which costs nothing, then the work, in memory that its thread keeps.
 *
 * No I/O; any thread, a room at one thread at a time.
 */
#ifndef KVASIR_PROTO_ENCODE_H
#define KVASIR_PROTO_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/coded.h"

struct kvi_encode_rules {
  bool tensors; /* without loss */
  bool bytes;   /* with zstd: what is not tensors */
  /*
   * Tensors whose owner allows that much loss (kvi_coded_loss): this level instead, with so many planes. KVI_CODEC_RAW: none; else KVI_CODEC_LADDER or
   * KVI_CODEC_CACHEGEN.
   */
  enum kvi_codec_level lossy;
  uint32_t planes;
};

/* A thread's memory, which grows and is kept. Zeroed at first. */
struct kvi_encode_room {
  uint8_t *raw, *scratch, *out;
  size_t raw_size, scratch_size, out_size;
};
void kvi_encode_room_free(struct kvi_encode_room *room);
/* Bytes that it holds. */
static inline uint64_t kvi_encode_room_bytes(const struct kvi_encode_room *room)
{
  return (uint64_t)room->raw_size + room->scratch_size + room->out_size;
}
/* Room for a payload in one piece, for the caller to copy to. NULL: no memory. */
uint8_t *kvi_encode_room_raw(struct kvi_encode_room *room, uint64_t length);

struct kvi_encode_plan {
  struct kvi_codec_shape shape;
  struct kvi_codec_options options;
};

/*
 * How the rules have a chunk of `length` bytes at this place of its sequence encoded, put with this quality. KVS_ERR_UNSUPPORTED: not at all, it is of no kind that is to be encoded.
 */
kvs_status kvi_encode_plan_make(const struct kvi_encode_rules *rules, const kvs_space_desc *desc,
                                uint64_t length, uint32_t place, bool unchained, uint16_t quality,
                                struct kvi_encode_plan *plan_p);

/* What encoding came to. */
struct kvi_encoded {
  const uint8_t *payload; /* in the room, until it is used again */
  uint64_t length;
  struct kvi_coded coded; /* the same, opened */
  uint32_t n_segments;    /* kvi_coded_segments has them */
  uint16_t quality;       /* of the coded chunk's table */
};

/*
 * Encodes raw, in one piece, whose table is given. KVS_EXISTS: it would not be at least a 16th smaller; of what is not tensors 64 KiB are tried first. KVS_ERR_CORRUPT: it does not fit its
 * checksums. KVS_ERR_CANCELED: plan->options.stop said so. KVS_ERR_UNSUPPORTED (more segments than a chunk has), KVS_ERR_NOMEM, KVS_ERR_INTERNAL (what came out is no coded chunk).
 */
kvs_status kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                          const uint8_t *raw, struct kvi_encode_room *room, struct kvi_encoded *encoded_p);

#endif
