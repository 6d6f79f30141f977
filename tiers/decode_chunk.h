/* tiers/decode_chunk.h: one coded chunk (proto/coded.h), decoded by a thread of the decoder. No locks; any thread. */
#ifndef KVASIR_TIERS_DECODE_CHUNK_H
#define KVASIR_TIERS_DECODE_CHUNK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "proto/coded.h"
#include "proto/service.h"

/* A thread's memory for payloads that lie in several pieces, which grows and is kept. Zeroed at first. */
struct kvi_decode_room {
  uint8_t *bytes;
  size_t size;
};
void kvi_decode_room_free(struct kvi_decode_room *room);

/* A coded chunk, opened. Points into the source's bytes, or the room's. */
struct kvi_decode_opened {
  struct kvi_coded coded;
  const uint8_t *bytes;
  uint16_t quality; /* of the decoded chunk */
};

/* What becomes of it: a table with the segments as they were put, and their bytes. */
struct kvi_decoded_chunk {
  uint8_t *table_bytes; /* malloc'd, as the payload */
  uint8_t *payload;
  struct kvi_iov iov; /* the payload */
  struct kvi_chunk_table table;
};
void kvi_decoded_chunk_free(struct kvi_decoded_chunk *chunk);

/*
 * Opens the payload of a source. Errors: KVS_ERR_CORRUPT (it is none, or has lost more than its chunk's table says), KVS_ERR_UNSUPPORTED (another coding, or a version of the codec that is not known),
 * KVS_ERR_NOMEM.
 */
kvs_status kvi_decode_open(const struct kvi_source *source, struct kvi_decode_room *room,
                           struct kvi_decode_opened *opened_p);

/*
 * Decodes all of it. What has lost nothing is compared with the checksums of what was put; of what has, they are made anew. canceled, not NULL, is looked at before each
 * layer. Errors: KVS_ERR_CORRUPT, KVS_ERR_UNSUPPORTED, KVS_ERR_NOMEM, KVS_ERR_CANCELED.
 */
kvs_status kvi_decode_chunk(const struct kvi_decode_opened *opened, const atomic_bool *canceled,
                            struct kvi_decoded_chunk *chunk_p);

#endif
