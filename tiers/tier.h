/*
 * tiers/tier.h: a place that holds chunks' bytes: dram/ now; ssd/, redis/, gpu/ later. A tier knows nothing of keys, chains or
 * policy: the store (store.h) decides what lives where and remembers it; the tier keeps bytes.
 *
 * A tier's object is a table of segments (proto/chunk.h) and its payload. Its life: reserve, fill, seal; then any number of
 * open/close by readers; drop. Bytes of a sealed object never change. drop with readers inside is legal: the object can no longer be
 * opened and its room comes back when the last reader has left.
 *
 * Memory tiers work in place (reserve and open give addresses, all ops synchronous, any thread). Tiers on a medium will complete
 * asynchronously through `done` functions; capabilities tell which a tier is, and missing ops are filled at registration with ones that return
 * KVS_ERR_UNSUPPORTED, so no caller tests for NULL.
 */
#ifndef KVASIR_TIERS_TIER_H
#define KVASIR_TIERS_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/chunk.h"
#include "proto/wire.h"

/* As told on the wire in LookupReply.tiers. */
enum kvi_tier_kind { KVI_TIER_ABSENT = 0, KVI_TIER_DRAM = 1, KVI_TIER_SSD = 2, KVI_TIER_REDIS = 3, KVI_TIER_GPU = 4 };

struct kvi_tier_attr {
  enum kvi_tier_kind kind;
  bool in_place;           /* reserve and open give addresses */
  uint64_t capacity_bytes; /* hard bound on room taken */
  uint64_t object_bytes_max;
  uint64_t read_bytes_per_s; /* measured or configured estimate, for predicted fetch times */
  uint32_t read_latency_us;
};

struct kvi_tier_usage {
  uint64_t used_bytes;     /* room taken, rounding included */
  uint64_t free_bytes;
  uint64_t payload_bytes;  /* what users stored */
  uint64_t zombie_bytes;   /* dropped, but still read */
  uint64_t metadata_bytes; /* the tier's own bookkeeping */
  uint64_t objects;
};

struct kvi_tier;
typedef uint32_t kvi_tier_object; /* the tier's name for an object */

struct kvi_tier_ops {
  const char *name;

  void (*attr)(const struct kvi_tier *tier, struct kvi_tier_attr *attr_p);
  void (*usage)(const struct kvi_tier *tier, struct kvi_tier_usage *usage_p);

  /*
   * Room for a payload of `length` bytes in n_segments segments. The object is not readable until sealed. Any thread, does not block.
   * Errors: KVS_ERR_FULL (make room and try again), KVS_ERR_TOO_LARGE.
   */
  kvs_status (*reserve)(struct kvi_tier *tier, uint64_t length, uint32_t n_segments, kvi_tier_object *object_p);
  /*
   * In-place tiers: the places of the payload, in order. At most *n_iov_p entries are written; the number there are is returned in
   * *n_iov_p. KVS_ERR_BUFFER when that is more than fit (nothing is lost: come again with room). Valid until drop, or close for readers.
   */
  kvs_status (*places)(struct kvi_tier *tier, kvi_tier_object object, struct kvi_iov *iov, uint32_t *n_iov_p);
  /* Writes the table in front of the payload; now it can be opened. Errors: KVS_ERR_INVALID (lengths do not sum to the reserved one). */
  kvs_status (*seal)(struct kvi_tier *tier, kvi_tier_object object, const struct kvi_segment *segments, uint32_t n_segments,
                     uint16_t quality);

  /* Takes a reader's reference. The caller (the store) guarantees that the object was not dropped before. Lock-free. */
  void (*open)(struct kvi_tier *tier, kvi_tier_object object);
  /* The sealed table, valid while opened. KVS_ERR_CORRUPT. */
  kvs_status (*table)(struct kvi_tier *tier, kvi_tier_object object, struct kvi_chunk_table *table_p);
  void (*close)(struct kvi_tier *tier, kvi_tier_object object);

  /* The object is over: its room is free now, or when its last reader closes. Never waits. */
  void (*drop)(struct kvi_tier *tier, kvi_tier_object object);

  /* Nothing may be in use. NULL is fine. */
  void (*destroy)(struct kvi_tier *tier);
};

struct kvi_tier {
  const struct kvi_tier_ops *ops;
};

/* Fills missing ops with ones that refuse. */
void kvi_tier_ops_complete(struct kvi_tier_ops *ops);

#endif
