/*
 * tiers/dram/dram.h: the DRAM tier. All memory is reserved and touched when it is made and never given back while it lives.
 *
 *     +--------+--------+--------+--------+--------+--------+--
 *     | page 0 | page 1 | page 2 | page 3 | page 4 | page 5 |        pages of 16 KiB
 *     +--------+--------+--------+--------+--------+--------+--
 *       next[0]  next[1]  next[2]  ...                               4 bytes a page: chain of an object, or of the free list
 *
 * An object is a chain of pages and is named by its first one. Any free pages will do, so there is no fragmentation ever, only the
 * rounding of an object to pages. Adjacent pages are told as one place. A freed chain goes back in front of the free list in its own
 * order, so that chunks of equal size take over each other's runs.
 *
 * The first page begins with the object's head: references, label, places and the table of segments; the payload follows at a multiple of 4096,
 * so that devices can read and write it as it lies (of 64 where a page has no more than 4096):
 *
 *     | head | places | table of segments | pad | payload ... |
 *
 * Where the places (a torn free list) or the table (thousands of segments) do not fit in front of it, they lie in blocks of their own
 * from malloc. All such blocks together are bounded by 1/64 of the capacity plus 1 MiB (KVS_ERR_FULL beyond).
 *
 * Locks: a small mutex of its own guards the free list (the store holds its own outside it or not at all). It is held while a chain is cut, one
 * step a page, or put back, one step. References are atomic: open and close of a live object take no lock.
 */
#ifndef KVASIR_TIERS_DRAM_DRAM_H
#define KVASIR_TIERS_DRAM_DRAM_H

#include "tiers/tier.h"

#define KVI_DRAM_PAGE_BYTES_DEFAULT 16384u
#define KVI_DRAM_PAGE_BYTES_MIN     4096u
#define KVI_DRAM_PAGE_BYTES_MAX     (2u << 20)

struct kvi_dram_config {
  uint64_t bytes;            /* rounded down to whole pages; at least one */
  uint32_t page_bytes;       /* power of two; 0: the default */
  uint64_t object_bytes_max; /* payload; 0: KVI_CHUNK_BYTES_MAX */
  bool huge_pages;           /* MAP_HUGETLB, else transparent ones; the log says which it got */
  bool lock_memory;          /* mlock; a warning in the log when refused */
  /*
   * Called when a reserve leaves fewer pages free than low_percent of all, and the one before did not: once for each time that mark is crossed. On the
   * thread that reserves, without a lock of the tier. NULL: nobody is told.
   */
  void (*low)(void *ctx);
  void *low_ctx;
  uint32_t low_percent; /* at most 100 */
  /*
   * Called when an object's last reference has gone, before its room can be another's: on the thread that drops or closes it, without a lock of the tier, perhaps with the owner's. NULL: nobody is
   * told.
   */
  void (*freed)(void *ctx, kvi_tier_object object);
  void *freed_ctx;
};

/* Blocks while it touches the memory. Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM. */
kvs_status kvi_dram_create(const struct kvi_dram_config *config, struct kvi_tier **tier_p);

#endif
