/* tiers/dram/dram_private.h: pages of the reservation, and objects made of them. dram.h draws the layout. */
#ifndef KVASIR_TIERS_DRAM_DRAM_PRIVATE_H
#define KVASIR_TIERS_DRAM_DRAM_PRIVATE_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "tiers/dram/dram.h"
#include "tiers/dram/memory.h"

#define KVI_DRAM_PAGE_NONE UINT32_MAX

/* At the start of an object's first page. */
struct dram_head {
  _Atomic uint32_t references; /* the store's one until drop, and one a reader */
  uint32_t n_pages, last_page;
  uint32_t n_iov, n_segments;
  uint32_t label_length;
  uint64_t length;
  struct kvi_iov *iov;
  uint8_t *table;       /* NULL: not known yet */
  uint32_t spill_bytes; /* of iov and table where they do not fit in front of the payload: from malloc then */
  bool sealed;
  bool dropped;
  uint8_t label[KVI_TIER_LABEL_MAX];
};
static_assert(sizeof(struct dram_head) % sizeof(void *) == 0, "places follow it");

struct dram {
  struct kvi_tier tier;
  struct kvi_dram_memory memory;
  uint32_t page_bytes, n_pages;
  uint32_t align; /* of payloads: a device's block; where that is a whole page, a cache line */
  uint64_t object_bytes_max;
  uint64_t read_bytes_per_s;
  uint64_t spill_max;
  uint32_t *next; /* of each page; KVI_DRAM_PAGE_NONE: the end */
  void (*low)(void *ctx);
  void *low_ctx;
  uint32_t low_pages; /* fewer free ones are low */
  void (*freed)(void *ctx, kvi_tier_object object);
  void *freed_ctx;

  pthread_mutex_t lock; /* guards all below, and next[] of free pages */
  uint32_t free_first, free_count;
  uint64_t objects, payload_bytes, zombie_pages, spill_bytes;
  kvi_list spills; /* what was allocated for objects, so that it goes with the tier */
};

static inline struct dram *kvi_dram_of(const struct kvi_tier *tier)
{
  return (struct dram *)(uintptr_t)tier;
}

static inline uint8_t *kvi_dram_page(const struct dram *dram, uint32_t page)
{
  return dram->memory.base + (size_t)page * dram->page_bytes;
}

static inline struct dram_head *kvi_dram_head_of(const struct dram *dram, kvi_tier_object object)
{
  assert(object < dram->n_pages);
  return (struct dram_head *)(void *)kvi_dram_page(dram, object);
}

static inline uint64_t kvi_dram_align(uint64_t value, uint64_t unit)
{
  return (value + unit - 1) / unit * unit;
}

/* ---- pages.c: chains of them ---- */

/* Cuts n pages off the free list. KVS_ERR_FULL. Tells that they are low when these were the first to make them so: without a lock. */
kvs_status kvi_dram_pages_take(struct dram *dram, uint32_t n, uint32_t *first_p, uint32_t *last_p);
/* The chain goes back in front, in its order. Call with the lock held. */
void kvi_dram_pages_give(struct dram *dram, uint32_t first, uint32_t last, uint32_t n);
/* For AddressSanitizer: nobody is to touch them. */
void kvi_dram_pages_poison(struct dram *dram, uint32_t first, bool poison);
/* Runs of adjacent pages in a chain. */
uint32_t kvi_dram_runs(const struct dram *dram, uint32_t first);

/* ---- object.c: how an object lies in its pages; four of the tier's ops ---- */

kvs_status kvi_dram_reserve(struct kvi_tier *tier, const struct kvi_tier_request *request,
                            kvi_tier_object *object_p);
kvs_status kvi_dram_segments(struct kvi_tier *tier, kvi_tier_object object, uint32_t n_segments,
                             const uint32_t *lengths);
kvs_status kvi_dram_places(struct kvi_tier *tier, kvi_tier_object object, struct kvi_tier_places *places_p);
kvs_status kvi_dram_cut(struct kvi_tier *tier, kvi_tier_object object, uint64_t length, uint32_t n_segments,
                        uint16_t quality, uint64_t *freed_p);
/* The last reference is gone. */
void kvi_dram_object_free(struct dram *dram, kvi_tier_object object);

#endif
