/* tiers/dram/dram.c: the tier: references, and its life. object.c lays objects out, pages.c finds room for them. */
#include "tiers/dram/dram.h"

#include <assert.h>
#include <sanitizer/asan_interface.h> /* its macros are empty without AddressSanitizer */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "tiers/dram/dram_private.h"

#define BLOCK        4096u /* of devices */
#define LINE         64u   /* of the processor's cache */
#define RATE_PROBE   ((size_t)4 << 20)
#define RATE_DEFAULT 4000000000u

static void dram_attr(const struct kvi_tier *tier, struct kvi_tier_attr *attr_p)
{
  const struct dram *dram = kvi_dram_of(tier);

  *attr_p = (struct kvi_tier_attr){.kind = KVI_TIER_DRAM,
                                   .objects_max = dram->n_pages,
                                   .in_place = true,
                                   .block_bytes = dram->align,
                                   .capacity_bytes = (uint64_t)dram->n_pages * dram->page_bytes,
                                   .object_bytes_max = dram->object_bytes_max,
                                   .read_bytes_per_s = dram->read_bytes_per_s,
                                   .read_latency_us = 1};
}

static void dram_usage(struct kvi_tier *tier, struct kvi_tier_usage *usage_p)
{
  struct dram *dram = kvi_dram_of(tier);

  pthread_mutex_lock(&dram->lock);
  usage_p->free_bytes = (uint64_t)dram->free_count * dram->page_bytes;
  usage_p->used_bytes = (uint64_t)(dram->n_pages - dram->free_count) * dram->page_bytes;
  usage_p->payload_bytes = dram->payload_bytes;
  usage_p->zombie_bytes = dram->zombie_pages * dram->page_bytes;
  usage_p->metadata_bytes = sizeof(*dram) + dram->n_pages * sizeof(*dram->next) + dram->spill_bytes;
  usage_p->objects = dram->objects;
  pthread_mutex_unlock(&dram->lock);
}

static kvs_status dram_seal(struct kvi_tier *tier, kvi_tier_object object, uint16_t quality)
{
  const struct dram *dram = kvi_dram_of(tier);
  struct dram_head *head = kvi_dram_head_of(dram, object);
  const struct kvi_iov *last = &head->iov[head->n_iov - 1];
  const struct kvi_segment *segments;
  uint64_t sum = 0;

  if (!head->table)
    return KVS_ERR_INVALID;
  segments = (const struct kvi_segment *)(void *)(head->table + KVI_CHUNK_TABLE_HEAD);
  for (uint32_t i = 0; i < head->n_segments; i++) {
    if (segments[i].length == 0)
      return KVS_ERR_INVALID;
    sum += segments[i].length;
  }
  if (sum != head->length)
    return KVS_ERR_INVALID;
  kvi_chunk_table_write(head->table, segments, head->n_segments, quality);
  memset((uint8_t *)last->base + last->length, 0, -last->length % dram->align); /* of another chunk, else */
  head->sealed = true;
  return KVS_OK;
}

static kvs_status dram_open(struct kvi_tier *tier, kvi_tier_object object)
{
  struct dram_head *head = kvi_dram_head_of(kvi_dram_of(tier), object);

  assert(atomic_load_explicit(&head->references, memory_order_relaxed) > 0);
  /* relaxed: the store's lock, under which the object is found, orders it after seal and before drop */
  atomic_fetch_add_explicit(&head->references, 1, memory_order_relaxed);
  return KVS_OK;
}

static kvs_status dram_table(struct kvi_tier *tier, kvi_tier_object object, struct kvi_chunk_table *table_p)
{
  const struct dram_head *head = kvi_dram_head_of(kvi_dram_of(tier), object);
  kvs_status status = kvi_chunk_table_read(head->table, kvi_chunk_table_size(head->n_segments), table_p);

  if (status == KVS_OK && (table_p->n_segments != head->n_segments || table_p->length != head->length))
    status = KVS_ERR_CORRUPT;
  return status;
}

static void reference_drop(struct dram *dram, kvi_tier_object object)
{
  struct dram_head *head = kvi_dram_head_of(dram, object);

  /* acq_rel: what each holder did with the bytes comes before they are used again */
  if (atomic_fetch_sub_explicit(&head->references, 1, memory_order_acq_rel) == 1)
    kvi_dram_object_free(dram, object);
}

static void dram_close(struct kvi_tier *tier, kvi_tier_object object)
{
  reference_drop(kvi_dram_of(tier), object);
}

static kvs_status dram_label(struct kvi_tier *tier, kvi_tier_object object, const void **label_p,
                             uint32_t *length_p)
{
  const struct dram_head *head = kvi_dram_head_of(kvi_dram_of(tier), object);

  *label_p = head->label;
  *length_p = head->label_length;
  return KVS_OK;
}

static void dram_drop(struct kvi_tier *tier, kvi_tier_object object)
{
  struct dram *dram = kvi_dram_of(tier);
  struct dram_head *head = kvi_dram_head_of(dram, object);

  /* With the store's reference alone there are no readers and can be no new ones: nobody is left to see a zombie. */
  if (atomic_load_explicit(&head->references, memory_order_acquire) != 1) {
    head->dropped = true;
    pthread_mutex_lock(&dram->lock);
    dram->zombie_pages += head->n_pages;
    pthread_mutex_unlock(&dram->lock);
  }
  reference_drop(dram, object);
}

static void dram_destroy(struct kvi_tier *tier)
{
  struct dram *dram = kvi_dram_of(tier);

  if (!dram)
    return;
  if (dram->memory.base)
    ASAN_UNPOISON_MEMORY_REGION(dram->memory.base, dram->memory.bytes);
  kvi_dram_memory_unmap(&dram->memory);
  while (!kvi_list_is_empty(&dram->spills)) /* of objects that were there to the end */
    free(kvi_list_pop_front(&dram->spills));
  pthread_mutex_destroy(&dram->lock);
  free(dram->next);
  free(dram);
}

static uint64_t dram_room(const struct kvi_tier *tier, kvi_tier_object object)
{
  const struct dram *dram = kvi_dram_of(tier);

  return (uint64_t)kvi_dram_head_of(dram, object)->n_pages * dram->page_bytes;
}

static const struct kvi_tier_ops dram_ops = {
    .name = "dram",
    .attr = dram_attr,
    .usage = dram_usage,
    .reserve = kvi_dram_reserve,
    .segments = kvi_dram_segments,
    .places = kvi_dram_places,
    .seal = dram_seal,
    .open = dram_open,
    .table = dram_table,
    .close = dram_close,
    .cut = kvi_dram_cut,
    .room = dram_room,
    .label = dram_label,
    .drop = dram_drop,
    .destroy = dram_destroy,
};

/* ---- making it ---- */

/* How fast this machine copies memory, for predicted fetch times: a few milliseconds once. */
static uint64_t rate_measure(const struct kvi_dram_memory *memory)
{
  uint64_t start, elapsed;

  if (memory->bytes < 2 * RATE_PROBE)
    return RATE_DEFAULT;
  start = kvi_now_ns();
  memcpy(memory->base, memory->base + RATE_PROBE, RATE_PROBE);
  elapsed = kvi_now_ns() - start;
  return elapsed > 0 ? RATE_PROBE * KVI_NS_PER_S / elapsed : RATE_DEFAULT;
}

static kvs_status config_check(const struct kvi_dram_config *config, uint32_t page_bytes)
{
  if (page_bytes < KVI_DRAM_PAGE_BYTES_MIN || page_bytes > KVI_DRAM_PAGE_BYTES_MAX ||
      (page_bytes & (page_bytes - 1)) != 0)
    return KVS_ERR_INVALID;
  if (config->bytes / page_bytes == 0 || config->bytes / page_bytes >= KVI_DRAM_PAGE_NONE ||
      config->bytes > SIZE_MAX / 2)
    return KVS_ERR_INVALID;
  return KVS_OK;
}

kvs_status kvi_dram_create(const struct kvi_dram_config *config, struct kvi_tier **tier_p)
{
  uint32_t page_bytes = config->page_bytes ? config->page_bytes : KVI_DRAM_PAGE_BYTES_DEFAULT;
  kvs_status status = config_check(config, page_bytes);
  struct dram *dram;

  *tier_p = NULL;
  if (status != KVS_OK)
    return status;
  dram = calloc(1, sizeof(*dram));
  if (!dram)
    return KVS_ERR_NOMEM;
  dram->tier.ops = &dram_ops;
  pthread_mutex_init(&dram->lock, NULL);
  kvi_list_init(&dram->spills);
  dram->page_bytes = page_bytes;
  dram->align = page_bytes > BLOCK ? BLOCK : LINE;
  dram->n_pages = (uint32_t)(config->bytes / page_bytes);
  dram->object_bytes_max = config->object_bytes_max ? config->object_bytes_max : KVI_CHUNK_BYTES_MAX;
  dram->spill_max = config->bytes / 64 + (1u << 20);
  dram->low = config->low;
  dram->low_ctx = config->low_ctx;
  dram->freed = config->freed;
  dram->freed_ctx = config->freed_ctx;
  if (config->low)
    dram->low_pages = (uint32_t)((uint64_t)dram->n_pages * config->low_percent / 100);
  dram->next = malloc(dram->n_pages * sizeof(*dram->next));
  status = dram->next ? kvi_dram_memory_map((size_t)dram->n_pages * page_bytes, config->huge_pages,
                                            config->lock_memory, &dram->memory)
                      : KVS_ERR_NOMEM;
  if (status != KVS_OK) {
    dram_destroy(&dram->tier);
    return status;
  }
  dram->read_bytes_per_s = rate_measure(&dram->memory);
  for (uint32_t i = 0; i < dram->n_pages; i++)
    dram->next[i] = i + 1 < dram->n_pages ? i + 1 : KVI_DRAM_PAGE_NONE;
  dram->free_count = dram->n_pages;
  ASAN_POISON_MEMORY_REGION(dram->memory.base, dram->memory.bytes);
  *tier_p = &dram->tier;
  return KVS_OK;
}
