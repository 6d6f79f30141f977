/*
 * tiers/decoder.h: a pool of threads that decode coded chunks (proto/coded.h) at the node, for readers that do not. A chunk's bytes come from an open source, and go to memory of
 * the decoder's own, which is given back when whoever reads them is through.
 *
 * Bounds: so many wait for a thread, and beyond that one is refused; the payloads that are decoded, or being read, are at most memory_bytes together. For memory
 * a chunk waits, in the order in which they came, until readers give some back; so whoever holds decoded chunks while it waits for another must hold
 * chunk_bytes_max less than memory_bytes, with all others of its kind.
 *
 * Threads: any, "kvi-decoder" its own; nothing blocks but destroy. Its lock is a leaf. Each thread keeps room for the largest coded chunk in several pieces that it has seen.
 */
#ifndef KVASIR_TIERS_DECODER_H
#define KVASIR_TIERS_DECODER_H

#include <stdatomic.h>

#include "base/list.h"
#include "proto/service.h"

#define KVI_DECODER_THREADS_MAX 64u

struct kvi_decoder;

struct kvi_decoder_config {
  uint32_t threads;         /* 1 to KVI_DECODER_THREADS_MAX */
  uint32_t waiting_max;     /* chunks that wait for a thread; 0: 256 */
  uint64_t chunk_bytes_max; /* a chunk that is longer decoded is not */
  uint64_t memory_bytes;    /* payload bytes of decoded chunks; at least chunk_bytes_max */
};

/* Starts the threads. Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_decoder_create(const struct kvi_decoder_config *config, struct kvi_decoder **decoder_p);
/* What waits ends with KVS_ERR_CLOSED, what is being decoded is finished, or ends so at its next layer; each is told. Decoded chunks were closed before. NULL is fine. */
void kvi_decoder_destroy(struct kvi_decoder *decoder);

/* One chunk. The caller's, zeroed, from start on the decoder's until done is called or cancel says true. */
struct kvi_decode {
  const struct kvi_source *coded; /* stays open meanwhile */
  /*
   * Once, on a thread of the decoder or in destroy, without a lock. KVS_OK: decoded is the caller's, for kvi_decoder_close. KVS_ERR_CORRUPT: it is not what its table says; KVS_ERR_UNSUPPORTED: a
   * version of the codec that is not known; KVS_ERR_TOO_LARGE, KVS_ERR_NOMEM, KVS_ERR_CANCELED (cancel said false), KVS_ERR_CLOSED.
   */
  void (*done)(struct kvi_decode *decode, kvs_status status);
  /* Its table has the segments as they were put, and the chunk's quality but for the coding. handle is NULL, decoded is not. */
  struct kvi_source decoded;

  kvi_list_node link; /* the decoder's */
  atomic_bool canceled;
};

/* KVS_OK: done will be called, perhaps before this returns. KVS_ERR_BUSY: too many wait; KVS_ERR_CLOSED. */
kvs_status kvi_decoder_start(struct kvi_decoder *decoder, struct kvi_decode *decode);
/* It was started, and done has not returned. True: it waited, and done will not be called. False: done will be called soon, or just is. */
bool kvi_decoder_cancel(struct kvi_decoder *decoder, struct kvi_decode *decode);
/* Frees a decoded source. Nothing if it is none. */
void kvi_decoder_close(struct kvi_decoder *decoder, struct kvi_source *source);

struct kvi_decoder_stats {
  uint64_t chunks, coded_bytes, raw_bytes; /* decoded: before and after */
  uint64_t refused, corrupt, failed;       /* failed: unknown version, too large, no memory */
  uint64_t decode_ns;                      /* of the threads */
  uint64_t turns;                          /* chunks that have asked for memory */
  uint64_t waiting, memory_bytes;          /* now: for a thread; of decoded chunks */
};
void kvi_decoder_stats(struct kvi_decoder *decoder, struct kvi_decoder_stats *stats_p);

#endif
