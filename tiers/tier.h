/*
 * tiers/tier.h: a place that holds chunks' bytes: dram/ now; ssd/, redis/, gpu/ later. A tier knows nothing of keys, chains or
 * policy: the store (store.h) decides what lives where and remembers it; the tier keeps bytes.
 *
 * A tier's object is a table of segments (proto/chunk.h), its payload, and a label: a few bytes of the store's that lie with it. Its life:
 * reserve, fill, seal; then any number of open/close by readers; drop. Bytes of a sealed object never change, but for cut, which takes away the last ones. drop with readers inside is
 * legal: the object can no longer be opened and its room comes back when the last reader has left.
 *
 * Memory tiers work in place (places gives addresses, all ops synchronous, any thread). Tiers on a medium will complete
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
enum kvi_tier_kind {
  KVI_TIER_ABSENT = 0,
  KVI_TIER_DRAM = 1,
  KVI_TIER_SSD = 2,
  KVI_TIER_REDIS = 3,
  KVI_TIER_GPU = 4
};

#define KVI_TIER_LABEL_MAX 64u

struct kvi_tier_attr {
  enum kvi_tier_kind kind;
  bool in_place; /* places gives addresses */
  /*
   * In-place tiers: places begin at a multiple of it, all but the last are whole multiples, and what lies behind the payload up to the next
   * multiple is the object's too: zero once it is sealed. 0: nothing of the kind.
   */
  uint32_t block_bytes;
  uint64_t capacity_bytes; /* hard bound on room taken */
  uint64_t object_bytes_max;
  uint32_t objects_max;      /* in-place tiers: names of objects are below it */
  uint64_t read_bytes_per_s; /* measured or configured estimate, for predicted fetch times */
  uint32_t read_latency_us;
};

struct kvi_tier_usage {
  uint64_t used_bytes; /* room taken, rounding included */
  uint64_t free_bytes;
  uint64_t payload_bytes;  /* what users stored */
  uint64_t zombie_bytes;   /* room of what was dropped, but is still read; part of used_bytes */
  uint64_t metadata_bytes; /* the tier's own bookkeeping, beside capacity_bytes */
  uint64_t objects;
};

/* What is asked for by reserve. */
struct kvi_tier_request {
  uint64_t length;                 /* payload bytes, > 0 */
  uint32_t n_segments;             /* 1 to KVI_SEGMENTS_MAX; 0: told later, by segments */
  const uint32_t *segment_lengths; /* their sum is length; checked by seal. NULL with n_segments 0 */
  uint32_t table_bytes;            /* with n_segments 0: room that is kept for their table */
  const void *label;               /* copied; NULL with label_length 0 */
  uint32_t label_length;           /* at most KVI_TIER_LABEL_MAX */
};

/* Where an object lies, in a tier that works in place. Valid until drop, for a reader until close. */
struct kvi_tier_places {
  const struct kvi_iov *iov; /* the payload, in order */
  uint32_t n_iov;
  struct kvi_segment *
      segments; /* as many as were told, lengths filled; the writer fills crc32c before seal. Read-only after. NULL: none told yet */
};

struct kvi_tier;
typedef uint32_t kvi_tier_object; /* the tier's name for an object */

struct kvi_tier_ops {
  const char *name;

  void (*attr)(const struct kvi_tier *tier, struct kvi_tier_attr *attr_p);
  void (*usage)(struct kvi_tier *tier, struct kvi_tier_usage *usage_p);

  /*
   * Room for an object. It is not readable until sealed. Any thread, does not block.
   * Errors: KVS_ERR_FULL (make room and try again), KVS_ERR_TOO_LARGE, KVS_ERR_INVALID, KVS_ERR_NOMEM.
   */
  kvs_status (*reserve)(struct kvi_tier *tier, const struct kvi_tier_request *request,
                        kvi_tier_object *object_p);
  /*
   * The segments of an object that was reserved without, before seal. Once. Errors: KVS_ERR_INVALID (told before, or none), KVS_ERR_TOO_LARGE,
   * KVS_ERR_NOMEM, KVS_ERR_FULL.
   */
  kvs_status (*segments)(struct kvi_tier *tier, kvi_tier_object object, uint32_t n_segments,
                         const uint32_t *lengths);
  /* In-place tiers: where it lies. O(1). By whoever reserved it or has it open. */
  kvs_status (*places)(struct kvi_tier *tier, kvi_tier_object object, struct kvi_tier_places *places_p);
  /*
   * Completes the table from the segments that places gave (lengths and checksums); now it can be opened. Errors: KVS_ERR_INVALID (lengths
   * do not sum to the reserved one): it stays unsealed.
   */
  kvs_status (*seal)(struct kvi_tier *tier, kvi_tier_object object, uint16_t quality);

  /*
   * Takes a reader's reference. The caller (the store) guarantees that the object is sealed and not dropped; or has a reference already, and wants the memory to
   * stay for longer. Lock-free.
   */
  kvs_status (*open)(struct kvi_tier *tier, kvi_tier_object object);
  /* The sealed table, checked, valid while opened. KVS_ERR_CORRUPT. */
  kvs_status (*table)(struct kvi_tier *tier, kvi_tier_object object, struct kvi_chunk_table *table_p);
  /* Any thread. Takes the tier's lock only when it is the last one of a dropped object. */
  void (*close)(struct kvi_tier *tier, kvi_tier_object object);

  /*
   * A sealed object keeps its first `length` bytes, which are its first n_segments segments, and has this quality from now on; room behind them is free, *freed_p bytes of it.
   * The caller (the store) sees to it that nobody opens it meanwhile. KVS_ERR_BUSY: somebody has it open; it is the first thing looked at, so that n_segments 0 asks for that alone. KVS_EXISTS: no room would be free, so it stays as it is. KVS_ERR_INVALID: segments do not
   * end there.
   */
  kvs_status (*cut)(struct kvi_tier *tier, kvi_tier_object object, uint64_t length, uint32_t n_segments,
                    uint16_t quality, uint64_t *freed_p);

  /* The room that an object takes of capacity_bytes. By whoever reserved it, or keeps it from being dropped. */
  uint64_t (*room)(const struct kvi_tier *tier, kvi_tier_object object);

  /* The label, valid until drop. By whoever keeps it from being dropped. */
  kvs_status (*label)(struct kvi_tier *tier, kvi_tier_object object, const void **label_p,
                      uint32_t *length_p);

  /* The object is over: its room is free now, or when its last reader closes. Never waits. */
  void (*drop)(struct kvi_tier *tier, kvi_tier_object object);

  /* Nothing may be in use. NULL is fine. */
  void (*destroy)(struct kvi_tier *tier);
};

/* Each tier's struct begins with this. */
struct kvi_tier {
  const struct kvi_tier_ops *ops;
};

/* Fills missing ops with ones that refuse (or, where there is nothing to return, do nothing). */
void kvi_tier_ops_complete(struct kvi_tier_ops *ops);

#endif
