/* tiers/dram/dram.c: objects as chains of pages in one reservation. dram.h draws the layout. */
#include "tiers/dram/dram.h"

#include <assert.h>
#include <pthread.h>
#include <sanitizer/asan_interface.h> /* its macros are empty without AddressSanitizer */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "tiers/dram/memory.h"

#define PAGE_NONE     UINT32_MAX
#define BLOCK         4096u /* of devices */
#define LINE          64u   /* of the processor's cache */
#define PLACES_INLINE 4u    /* room for so many is always planned for */
#define RATE_PROBE    ((size_t)4 << 20)
#define RATE_DEFAULT  4000000000u

/* At the start of an object's first page. */
struct dram_head {
  _Atomic uint32_t references; /* the store's one until drop, and one a reader */
  uint32_t n_pages, last_page;
  uint32_t n_iov, n_segments;
  uint32_t label_length;
  uint64_t length;
  struct kvi_iov *iov;
  uint8_t *table; /* NULL: not known yet */
  uint32_t
      spill_bytes; /* of iov and table, if they do not fit in front of the payload: they are from malloc then */
  bool sealed;
  bool dropped;
  uint8_t label[KVI_TIER_LABEL_MAX];
};
static_assert(sizeof(struct dram_head) % sizeof(void *) == 0, "places follow it");

struct dram {
  struct kvi_tier tier;
  struct kvi_dram_memory memory;
  uint32_t page_bytes, n_pages;
  uint32_t
      align; /* of payloads: a block, so that devices can read and write them as they lie; a line if that were a whole page */
  uint64_t object_bytes_max;
  uint64_t read_bytes_per_s;
  uint64_t spill_max;
  uint32_t *next; /* of each page; PAGE_NONE: the end */

  pthread_mutex_t lock; /* guards all below, and next[] of free pages */
  uint32_t free_first, free_count;
  uint64_t objects, payload_bytes, zombie_pages, spill_bytes;
};

static struct dram *dram_of(const struct kvi_tier *tier)
{
  return (struct dram *)(uintptr_t)tier;
}

static uint8_t *page_at(const struct dram *dram, uint32_t page)
{
  return dram->memory.base + (size_t)page * dram->page_bytes;
}

static struct dram_head *head_of(const struct dram *dram, kvi_tier_object object)
{
  assert(object < dram->n_pages);
  return (struct dram_head *)(void *)page_at(dram, object);
}

static uint64_t align_up(uint64_t value, uint64_t unit)
{
  return (value + unit - 1) / unit * unit;
}

/* ---- chains of pages ---- */

/* Cuts n pages off the free list. KVS_ERR_FULL. */
static kvs_status pages_take(struct dram *dram, uint32_t n, uint32_t *first_p, uint32_t *last_p)
{
  kvs_status status = KVS_ERR_FULL;

  pthread_mutex_lock(&dram->lock);
  if (n <= dram->free_count) {
    uint32_t last = dram->free_first;

    for (uint32_t i = 1; i < n; i++)
      last = dram->next[last];
    *first_p = dram->free_first;
    *last_p = last;
    dram->free_first = dram->next[last];
    dram->free_count -= n;
    dram->next[last] = PAGE_NONE;
    status = KVS_OK;
  }
  pthread_mutex_unlock(&dram->lock);
  return status;
}

static void pages_poison(struct dram *dram, uint32_t first, bool poison)
{
#if defined(__SANITIZE_ADDRESS__)
  for (uint32_t page = first; page != PAGE_NONE; page = dram->next[page]) {
    if (poison)
      ASAN_POISON_MEMORY_REGION(page_at(dram, page), dram->page_bytes);
    else
      ASAN_UNPOISON_MEMORY_REGION(page_at(dram, page), dram->page_bytes);
  }
#else
  (void)dram, (void)first, (void)poison;
#endif
}

/* The chain goes back in front, in its order. Call with the lock held. */
static void pages_give(struct dram *dram, uint32_t first, uint32_t last, uint32_t n)
{
  pages_poison(dram, first, true);
  dram->next[last] = dram->free_first;
  dram->free_first = first;
  dram->free_count += n;
}

static uint32_t runs_count(const struct dram *dram, uint32_t first)
{
  uint32_t runs = 1;

  for (uint32_t page = first; dram->next[page] != PAGE_NONE; page = dram->next[page])
    if (dram->next[page] != page + 1)
      runs++;
  return runs;
}

/* Fills the head's places: `length` bytes of payload from `offset` in the first page. */
static void places_write(const struct dram *dram, uint32_t first, uint32_t offset, struct dram_head *head)
{
  uint64_t left = head->length;
  uint32_t page = first;

  head->n_iov = 0;
  while (left > 0) {
    uint8_t *base = page_at(dram, page) + offset;
    uint64_t length = dram->page_bytes - offset;

    while (dram->next[page] == page + 1) {
      page++;
      length += dram->page_bytes;
    }
    length = length < left ? length : left;
    head->iov[head->n_iov++] = (struct kvi_iov){.base = base, .length = (size_t)length};
    left -= length;
    offset = 0;
    page = dram->next[page];
  }
}

/* ---- the layout of one object ---- */

/* How an object is laid out; decided in two steps, since the number of places is known only when the pages are. */
struct layout {
  uint32_t table_bytes; /* rounded up to 8; 0: not known yet */
  bool table_spilled, places_spilled;
  uint32_t n_pages, n_runs;
  uint32_t payload_offset;
};

static uint32_t table_bytes(uint32_t n_segments)
{
  return n_segments == 0 ? 0 : (uint32_t)align_up(kvi_chunk_table_size(n_segments), 8);
}

/* KVS_ERR_TOO_LARGE when it would not fit in the empty tier. */
static kvs_status layout_plan(const struct dram *dram, const struct kvi_tier_request *request,
                              struct layout *layout)
{
  uint64_t head = sizeof(struct dram_head) + PLACES_INLINE * sizeof(struct kvi_iov), n_pages;

  memset(layout, 0, sizeof(*layout));
  layout->table_bytes = table_bytes(request->n_segments);
  layout->table_spilled = align_up(head + layout->table_bytes, dram->align) >= dram->page_bytes;
  if (!layout->table_spilled)
    head += layout->table_bytes;
  layout->payload_offset = (uint32_t)align_up(head, dram->align);
  n_pages = align_up(layout->payload_offset + request->length, dram->page_bytes) / dram->page_bytes;
  if (n_pages > dram->n_pages)
    return KVS_ERR_TOO_LARGE;
  layout->n_pages = (uint32_t)n_pages;
  return KVS_OK;
}

/* What is left in front of the payload often has room for more places than were planned for. */
static void layout_finish(uint32_t n_runs, struct layout *layout)
{
  uint64_t head = sizeof(struct dram_head) + (uint64_t)n_runs * sizeof(struct kvi_iov);

  layout->n_runs = n_runs;
  layout->places_spilled = head + (layout->table_spilled ? 0 : layout->table_bytes) > layout->payload_offset;
}

/* Memory for what does not fit in front of a payload: rare, and bounded. 0 bytes: none. KVS_ERR_NOMEM, KVS_ERR_FULL. */
static kvs_status spill_take(struct dram *dram, uint32_t bytes, void **spill_p)
{
  bool full;

  *spill_p = NULL;
  if (bytes == 0)
    return KVS_OK;
  pthread_mutex_lock(&dram->lock);
  full = dram->spill_bytes + bytes > dram->spill_max;
  if (!full)
    dram->spill_bytes += bytes;
  pthread_mutex_unlock(&dram->lock);
  if (full)
    return KVS_ERR_FULL;
  *spill_p = malloc(bytes);
  if (*spill_p)
    return KVS_OK;
  pthread_mutex_lock(&dram->lock);
  dram->spill_bytes -= bytes;
  pthread_mutex_unlock(&dram->lock);
  return KVS_ERR_NOMEM;
}

static bool is_spilled(const struct dram *dram, const struct dram_head *head, const void *part)
{
  return (const uint8_t *)part < (const uint8_t *)head ||
         (const uint8_t *)part >= (const uint8_t *)head + dram->page_bytes;
}

static void segments_write(struct dram_head *head, uint32_t n_segments, const uint32_t *lengths)
{
  struct kvi_segment *segments = (struct kvi_segment *)(void *)(head->table + KVI_CHUNK_TABLE_HEAD);

  head->n_segments = n_segments;
  for (uint32_t i = 0; i < n_segments; i++)
    segments[i] = (struct kvi_segment){.length = lengths[i]};
}

/* spill: the places' and the table's memory, each NULL if it is in front of the payload. */
static void head_write(struct dram *dram, const struct kvi_tier_request *request, const struct layout *layout,
                       uint32_t first, uint32_t last, void *const spill[2])
{
  struct dram_head *head = head_of(dram, first);
  uint8_t *at = (uint8_t *)head + sizeof(*head);

  memset(head, 0, sizeof(*head));
  atomic_init(&head->references, 1);
  head->n_pages = layout->n_pages;
  head->last_page = last;
  head->length = request->length;
  head->label_length = request->label_length;
  if (request->label_length > 0)
    memcpy(head->label, request->label, request->label_length);
  head->iov = (struct kvi_iov *)(void *)(spill[0] ? spill[0] : at);
  if (spill[0])
    head->spill_bytes += layout->n_runs * (uint32_t)sizeof(struct kvi_iov);
  else
    at += layout->n_runs * sizeof(struct kvi_iov);
  if (request->n_segments > 0) {
    head->table = spill[1] ? spill[1] : at;
    head->spill_bytes += spill[1] ? layout->table_bytes : 0;
    segments_write(head, request->n_segments, request->segment_lengths);
  }
  places_write(dram, first, layout->payload_offset, head);
}

/* ---- the ops ---- */

static void dram_attr(const struct kvi_tier *tier, struct kvi_tier_attr *attr_p)
{
  const struct dram *dram = dram_of(tier);

  *attr_p = (struct kvi_tier_attr){.kind = KVI_TIER_DRAM,
                                   .in_place = true,
                                   .block_bytes = dram->align,
                                   .capacity_bytes = (uint64_t)dram->n_pages * dram->page_bytes,
                                   .object_bytes_max = dram->object_bytes_max,
                                   .read_bytes_per_s = dram->read_bytes_per_s,
                                   .read_latency_us = 1};
}

static void dram_usage(struct kvi_tier *tier, struct kvi_tier_usage *usage_p)
{
  struct dram *dram = dram_of(tier);

  pthread_mutex_lock(&dram->lock);
  usage_p->free_bytes = (uint64_t)dram->free_count * dram->page_bytes;
  usage_p->used_bytes = (uint64_t)(dram->n_pages - dram->free_count) * dram->page_bytes;
  usage_p->payload_bytes = dram->payload_bytes;
  usage_p->zombie_bytes = dram->zombie_pages * dram->page_bytes;
  usage_p->metadata_bytes = sizeof(*dram) + dram->n_pages * sizeof(*dram->next) + dram->spill_bytes;
  usage_p->objects = dram->objects;
  pthread_mutex_unlock(&dram->lock);
}

static kvs_status dram_request_check(const struct dram *dram, const struct kvi_tier_request *request)
{
  if (request->length == 0 || (request->n_segments == 0) != (request->segment_lengths == NULL) ||
      request->label_length > KVI_TIER_LABEL_MAX)
    return KVS_ERR_INVALID;
  if (request->length > dram->object_bytes_max || request->n_segments > KVI_SEGMENTS_MAX)
    return KVS_ERR_TOO_LARGE;
  return KVS_OK;
}

static kvs_status dram_reserve(struct kvi_tier *tier, const struct kvi_tier_request *request,
                               kvi_tier_object *object_p)
{
  struct dram *dram = dram_of(tier);
  struct layout layout;
  uint32_t first = PAGE_NONE, last = PAGE_NONE;
  void *spill[2] = {NULL, NULL};
  kvs_status status = dram_request_check(dram, request);

  if (status == KVS_OK)
    status = layout_plan(dram, request, &layout);
  if (status != KVS_OK)
    return status;
  status = pages_take(dram, layout.n_pages, &first, &last);
  if (status != KVS_OK)
    return status;
  pages_poison(dram, first, false);
  layout_finish(runs_count(dram, first), &layout);
  if (layout.places_spilled)
    status = spill_take(dram, layout.n_runs * (uint32_t)sizeof(struct kvi_iov), &spill[0]);
  if (status == KVS_OK && layout.table_spilled)
    status = spill_take(dram, layout.table_bytes, &spill[1]);
  pthread_mutex_lock(&dram->lock);
  if (status == KVS_OK) {
    dram->objects++;
    dram->payload_bytes += request->length;
  } else {
    pages_give(dram, first, last, layout.n_pages);
    dram->spill_bytes -= spill[0] ? layout.n_runs * sizeof(struct kvi_iov) : 0;
  }
  pthread_mutex_unlock(&dram->lock);
  if (status != KVS_OK) {
    free(spill[0]);
    return status;
  }
  head_write(dram, request, &layout, first, last, spill);
  *object_p = first;
  return KVS_OK;
}

static kvs_status dram_segments(struct kvi_tier *tier, kvi_tier_object object, uint32_t n_segments,
                                const uint32_t *lengths)
{
  struct dram *dram = dram_of(tier);
  struct dram_head *head = head_of(dram, object);
  uint8_t *at = (uint8_t *)head + sizeof(*head);
  void *spill = NULL;
  kvs_status status = KVS_OK;

  if (n_segments == 0 || head->table)
    return KVS_ERR_INVALID;
  if (n_segments > KVI_SEGMENTS_MAX)
    return KVS_ERR_TOO_LARGE;
  if (!is_spilled(dram, head, head->iov))
    at += head->n_iov * sizeof(struct kvi_iov);
  if (at + table_bytes(n_segments) > (uint8_t *)head->iov->base) {
    status = spill_take(dram, table_bytes(n_segments), &spill);
    if (status != KVS_OK)
      return status;
    head->spill_bytes += table_bytes(n_segments);
  }
  head->table = spill ? spill : at;
  segments_write(head, n_segments, lengths);
  return KVS_OK;
}

static kvs_status dram_places(struct kvi_tier *tier, kvi_tier_object object, struct kvi_tier_places *places_p)
{
  struct dram_head *head = head_of(dram_of(tier), object);

  places_p->iov = head->iov;
  places_p->n_iov = head->n_iov;
  places_p->segments =
      head->table ? (struct kvi_segment *)(void *)(head->table + KVI_CHUNK_TABLE_HEAD) : NULL;
  return KVS_OK;
}

static kvs_status dram_seal(struct kvi_tier *tier, kvi_tier_object object, uint16_t quality)
{
  const struct dram *dram = dram_of(tier);
  struct dram_head *head = head_of(dram, object);
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
  struct dram_head *head = head_of(dram_of(tier), object);

  assert(!head->dropped);
  /* relaxed: the store's lock, under which the object is found, orders it after seal and before drop */
  atomic_fetch_add_explicit(&head->references, 1, memory_order_relaxed);
  return KVS_OK;
}

static kvs_status dram_table(struct kvi_tier *tier, kvi_tier_object object, struct kvi_chunk_table *table_p)
{
  const struct dram_head *head = head_of(dram_of(tier), object);
  kvs_status status = kvi_chunk_table_read(head->table, kvi_chunk_table_size(head->n_segments), table_p);

  if (status == KVS_OK && (table_p->n_segments != head->n_segments || table_p->length != head->length))
    status = KVS_ERR_CORRUPT;
  return status;
}

/* The last reference is gone. */
static void object_free(struct dram *dram, kvi_tier_object object)
{
  struct dram_head *head = head_of(dram, object);
  uint32_t n_pages = head->n_pages;
  void *places = is_spilled(dram, head, head->iov) ? head->iov : NULL;
  void *table = head->table && is_spilled(dram, head, head->table) ? head->table : NULL;

  pthread_mutex_lock(&dram->lock);
  dram->objects--;
  dram->payload_bytes -= head->length;
  dram->spill_bytes -= head->spill_bytes;
  if (head->dropped)
    dram->zombie_pages -= n_pages;
  pages_give(dram, object, head->last_page, n_pages);
  pthread_mutex_unlock(&dram->lock);
  free(places);
  free(table);
}

static void reference_drop(struct dram *dram, kvi_tier_object object)
{
  struct dram_head *head = head_of(dram, object);

  /* acq_rel: what each holder did with the bytes comes before they are used again */
  if (atomic_fetch_sub_explicit(&head->references, 1, memory_order_acq_rel) == 1)
    object_free(dram, object);
}

static void dram_close(struct kvi_tier *tier, kvi_tier_object object)
{
  reference_drop(dram_of(tier), object);
}

static kvs_status dram_label(struct kvi_tier *tier, kvi_tier_object object, const void **label_p,
                             uint32_t *length_p)
{
  const struct dram_head *head = head_of(dram_of(tier), object);

  *label_p = head->label;
  *length_p = head->label_length;
  return KVS_OK;
}

static void dram_drop(struct kvi_tier *tier, kvi_tier_object object)
{
  struct dram *dram = dram_of(tier);
  struct dram_head *head = head_of(dram, object);

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
  struct dram *dram = dram_of(tier);

  if (!dram)
    return;
  if (dram->memory.base)
    ASAN_UNPOISON_MEMORY_REGION(dram->memory.base, dram->memory.bytes);
  kvi_dram_memory_unmap(&dram->memory);
  pthread_mutex_destroy(&dram->lock);
  free(dram->next);
  free(dram);
}

static const struct kvi_tier_ops dram_ops = {
    .name = "dram",
    .attr = dram_attr,
    .usage = dram_usage,
    .reserve = dram_reserve,
    .segments = dram_segments,
    .places = dram_places,
    .seal = dram_seal,
    .open = dram_open,
    .table = dram_table,
    .close = dram_close,
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
  if (config->bytes / page_bytes == 0 || config->bytes / page_bytes >= PAGE_NONE ||
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
  dram->page_bytes = page_bytes;
  dram->align = page_bytes > BLOCK ? BLOCK : LINE;
  dram->n_pages = (uint32_t)(config->bytes / page_bytes);
  dram->object_bytes_max = config->object_bytes_max ? config->object_bytes_max : KVI_CHUNK_BYTES_MAX;
  dram->spill_max = config->bytes / 64 + (1u << 20);
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
    dram->next[i] = i + 1 < dram->n_pages ? i + 1 : PAGE_NONE;
  dram->free_count = dram->n_pages;
  ASAN_POISON_MEMORY_REGION(dram->memory.base, dram->memory.bytes);
  *tier_p = &dram->tier;
  return KVS_OK;
}
