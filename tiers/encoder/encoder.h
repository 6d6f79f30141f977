/*
 * tiers/encoder/encoder.h: a medium (medium.h) around another one that encodes chunks on their way to it (proto/coded.h). What a get brings is as it is kept:
 * whoever reads the chunk decodes it. Everything but puts is the inner medium's.
 *
 * A put of a chunk that is not encoded yet waits for a worker, which encodes it and gives it to the inner medium under a table of its own; put.stored then tells
 * the length that is kept. A chunk goes as it was put when
 *
 *   - too many wait for a worker, or the put says that it is in a hurry,
 *   - it would not be at least a 16th smaller; of what is not tensors 64 KiB are tried first,
 *   - encoding fails; but if its bytes do not fit their checksums, it ends with KVS_ERR_CORRUPT, since not every inner medium would find out.
 *
 * A put that waits, or is being encoded, while its chunk is removed or dropped for good never reaches the inner medium: KVS_ERR_CANCELED. One may end late by the
 * time that encoding one chunk takes. One that the inner medium refuses (KVS_ERR_BUSY) when it is encoded waits until another from here has ended there; if there is none,
 * it ends so.
 *
 * Threads: as medium.h says; `threads` of its own, "kvi-encoder". The lock of its queue comes before those of the inner medium. Memory: each worker keeps room for the
 * largest chunk that it has encoded, up to about three times its size, and each chunk that the inner medium has from it is allocated until its put ends.
 */
#ifndef KVASIR_TIERS_ENCODER_ENCODER_H
#define KVASIR_TIERS_ENCODER_ENCODER_H

#include "proto/encode.h"
#include "tiers/medium.h"

#define KVI_ENCODER_THREADS_MAX 64u

struct kvi_encoder_config {
  struct kvi_encode_rules rules;
  uint32_t threads;     /* 1 to KVI_ENCODER_THREADS_MAX */
  uint32_t waiting_max; /* puts that wait for a worker, or for the inner medium; 0: 64 */
};

/* Takes the inner medium, also when it fails (then it is destroyed). Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_encoder_create(struct kvi_medium *inner, const struct kvi_encoder_config *config,
                              struct kvi_medium **medium_p);

#endif
