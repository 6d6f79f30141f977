/* tiers/encoder/encode_chunk.h: one chunk, encoded by a worker (proto/encode.h). */
#ifndef KVASIR_TIERS_ENCODER_ENCODE_CHUNK_H
#define KVASIR_TIERS_ENCODER_ENCODE_CHUNK_H

#include "proto/encode.h"
#include "tiers/encoder/encoder.h"

/* What becomes of a chunk. */
struct kvi_encoded_chunk {
  uint8_t *table_bytes; /* malloc'd, as the payload */
  uint8_t *payload;
  uint64_t length;
  struct kvi_chunk_table table;
};
void kvi_encoded_chunk_free(struct kvi_encoded_chunk *chunk);

/*
 * Encodes a put's payload. KVS_EXISTS: it would hardly be smaller. KVS_ERR_CORRUPT: it does not fit its checksums. KVS_ERR_UNSUPPORTED: it is of no kind that is to
 * be encoded. KVS_ERR_NOMEM, KVS_ERR_INTERNAL (what came out is no coded chunk).
 */
kvs_status kvi_encode_chunk(const struct kvi_encode_rules *rules, const struct kvi_medium_put *put,
                            struct kvi_encode_room *room, struct kvi_encoded_chunk *chunk_p);

#endif
