/* tiers/dram/object.c: head, places, table and payload of an object in its chain of pages. */
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "tiers/dram/dram_private.h"

#define PLACES_INLINE 4u /* room for so many is always planned for */

/* Fills the head's places: `length` bytes of payload from `offset` in the first page. */
static void places_write(const struct dram *dram, uint32_t first, uint32_t offset, struct dram_head *head)
{
  uint64_t left = head->length;
  uint32_t page = first;

  head->n_iov = 0;
  while (left > 0) {
    uint8_t *base = kvi_dram_page(dram, page) + offset;
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

/* How an object is laid out; decided in two steps, since the number of places is known only when the pages are. */
struct layout {
  uint32_t table_bytes; /* rounded up to 8; 0: not known yet */
  bool table_spilled, places_spilled;
  uint32_t n_pages, n_runs;
  uint32_t payload_offset;
};

static uint32_t table_bytes(uint32_t n_segments)
{
  return n_segments == 0 ? 0 : (uint32_t)kvi_dram_align(kvi_chunk_table_size(n_segments), 8);
}

/* KVS_ERR_TOO_LARGE when it would not fit in the empty tier. */
static kvs_status layout_plan(const struct dram *dram, const struct kvi_tier_request *request,
                              struct layout *layout)
{
  uint64_t head = sizeof(struct dram_head) + PLACES_INLINE * sizeof(struct kvi_iov), n_pages;

  memset(layout, 0, sizeof(*layout));
  layout->table_bytes = request->n_segments > 0 ? table_bytes(request->n_segments)
                                                : (uint32_t)kvi_dram_align(request->table_bytes, 8);
  layout->table_spilled = kvi_dram_align(head + layout->table_bytes, dram->align) >= dram->page_bytes;
  if (!layout->table_spilled)
    head += layout->table_bytes;
  layout->payload_offset = (uint32_t)kvi_dram_align(head, dram->align);
  n_pages = kvi_dram_align(layout->payload_offset + request->length, dram->page_bytes) / dram->page_bytes;
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

/* In front of the memory that it is. */
struct spill {
  kvi_list_node link; /* in dram->spills */
};

/* Memory for what does not fit in front of a payload: rare, and bounded. 0 bytes: none. KVS_ERR_NOMEM, KVS_ERR_FULL. */
static kvs_status spill_take(struct dram *dram, uint32_t bytes, void **spill_p)
{
  struct spill *spill;
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
  spill = malloc(sizeof(*spill) + bytes);
  pthread_mutex_lock(&dram->lock);
  if (spill)
    kvi_list_push_back(&dram->spills, &spill->link);
  else
    dram->spill_bytes -= bytes;
  pthread_mutex_unlock(&dram->lock);
  if (!spill)
    return KVS_ERR_NOMEM;
  *spill_p = spill + 1;
  return KVS_OK;
}

/* What is to be freed; memory NULL: nothing. */
static struct spill *spill_detach_locked(struct dram *dram, void *memory)
{
  struct spill *spill = memory ? (struct spill *)memory - 1 : NULL;

  if (spill)
    kvi_list_remove(&dram->spills, &spill->link);
  return spill;
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
  struct dram_head *head = kvi_dram_head_of(dram, first);
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

static kvs_status request_check(const struct dram *dram, const struct kvi_tier_request *request)
{
  if (request->length == 0 || (request->n_segments == 0) != (request->segment_lengths == NULL) ||
      request->label_length > KVI_TIER_LABEL_MAX)
    return KVS_ERR_INVALID;
  if (request->length > dram->object_bytes_max || request->n_segments > KVI_SEGMENTS_MAX)
    return KVS_ERR_TOO_LARGE;
  return KVS_OK;
}

kvs_status kvi_dram_reserve(struct kvi_tier *tier, const struct kvi_tier_request *request,
                            kvi_tier_object *object_p)
{
  struct dram *dram = kvi_dram_of(tier);
  struct layout layout;
  uint32_t first = KVI_DRAM_PAGE_NONE, last = KVI_DRAM_PAGE_NONE;
  void *spill[2] = {NULL, NULL};
  kvs_status status = request_check(dram, request);

  if (status == KVS_OK)
    status = layout_plan(dram, request, &layout);
  if (status != KVS_OK)
    return status;
  status = kvi_dram_pages_take(dram, layout.n_pages, &first, &last);
  if (status != KVS_OK)
    return status;
  kvi_dram_pages_poison(dram, first, false);
  layout_finish(kvi_dram_runs(dram, first), &layout);
  if (layout.places_spilled)
    status = spill_take(dram, layout.n_runs * (uint32_t)sizeof(struct kvi_iov), &spill[0]);
  if (status == KVS_OK && layout.table_spilled && request->n_segments > 0)
    status = spill_take(dram, layout.table_bytes, &spill[1]);
  pthread_mutex_lock(&dram->lock);
  if (status == KVS_OK) {
    dram->objects++;
    dram->payload_bytes += request->length;
  } else {
    kvi_dram_pages_give(dram, first, last, layout.n_pages);
    dram->spill_bytes -= spill[0] ? layout.n_runs * sizeof(struct kvi_iov) : 0;
    spill[0] = spill_detach_locked(dram, spill[0]);
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

kvs_status kvi_dram_segments(struct kvi_tier *tier, kvi_tier_object object, uint32_t n_segments,
                             const uint32_t *lengths)
{
  struct dram *dram = kvi_dram_of(tier);
  struct dram_head *head = kvi_dram_head_of(dram, object);
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

kvs_status kvi_dram_places(struct kvi_tier *tier, kvi_tier_object object, struct kvi_tier_places *places_p)
{
  struct dram_head *head = kvi_dram_head_of(kvi_dram_of(tier), object);

  places_p->iov = head->iov;
  places_p->n_iov = head->n_iov;
  places_p->segments =
      head->table ? (struct kvi_segment *)(void *)(head->table + KVI_CHUNK_TABLE_HEAD) : NULL;
  return KVS_OK;
}

/* Pages behind the first n of an object go back. */
static void pages_cut(struct dram *dram, kvi_tier_object object, uint32_t n)
{
  struct dram_head *head = kvi_dram_head_of(dram, object);
  uint32_t last = object, first;

  for (uint32_t i = 1; i < n; i++)
    last = dram->next[last];
  first = dram->next[last];
  dram->next[last] = KVI_DRAM_PAGE_NONE;
  pthread_mutex_lock(&dram->lock);
  kvi_dram_pages_give(dram, first, head->last_page, head->n_pages - n);
  pthread_mutex_unlock(&dram->lock);
  head->last_page = last;
  head->n_pages = n;
}

kvs_status kvi_dram_cut(struct kvi_tier *tier, kvi_tier_object object, uint64_t length, uint32_t n_segments,
                        uint16_t quality, uint64_t *freed_p)
{
  struct dram *dram = kvi_dram_of(tier);
  struct dram_head *head = kvi_dram_head_of(dram, object);
  uint32_t offset = (uint32_t)((uint8_t *)head->iov->base - (uint8_t *)head);
  uint32_t n_pages = (uint32_t)(kvi_dram_align(offset + length, dram->page_bytes) / dram->page_bytes);
  const struct kvi_segment *segments =
      (const struct kvi_segment *)(const void *)(head->table + KVI_CHUNK_TABLE_HEAD);
  const struct kvi_iov *last;
  uint64_t sum = 0;

  *freed_p = 0;
  /* acquire: what readers did with the bytes behind comes before they are free */
  if (atomic_load_explicit(&head->references, memory_order_acquire) != 1)
    return KVS_ERR_BUSY;
  for (uint32_t i = 0; i < n_segments && i < head->n_segments; i++)
    sum += segments[i].length;
  if (n_segments == 0 || n_segments > head->n_segments || sum != length)
    return KVS_ERR_INVALID;
  if (n_pages >= head->n_pages)
    return KVS_EXISTS;
  *freed_p = (uint64_t)(head->n_pages - n_pages) * dram->page_bytes;
  pthread_mutex_lock(&dram->lock);
  dram->payload_bytes -= head->length - length;
  pthread_mutex_unlock(&dram->lock);
  pages_cut(dram, object, n_pages);
  head->length = length;
  head->n_segments = n_segments;
  places_write(dram, object, offset, head);
  kvi_chunk_table_write(head->table, segments, n_segments, quality);
  last = &head->iov[head->n_iov - 1];
  memset((uint8_t *)last->base + last->length, 0, -last->length % dram->align);
  return KVS_OK;
}

/* The last reference is gone. */
void kvi_dram_object_free(struct dram *dram, kvi_tier_object object)
{
  struct dram_head *head = kvi_dram_head_of(dram, object);
  uint32_t n_pages = head->n_pages;
  void *places = is_spilled(dram, head, head->iov) ? head->iov : NULL;
  void *table = head->table && is_spilled(dram, head, head->table) ? head->table : NULL;

  if (dram->freed)
    dram->freed(dram->freed_ctx, object);
  pthread_mutex_lock(&dram->lock);
  places = spill_detach_locked(dram, places);
  table = spill_detach_locked(dram, table);
  dram->objects--;
  dram->payload_bytes -= head->length;
  dram->spill_bytes -= head->spill_bytes;
  if (head->dropped)
    dram->zombie_pages -= n_pages;
  kvi_dram_pages_give(dram, object, head->last_page, n_pages);
  pthread_mutex_unlock(&dram->lock);
  free(places);
  free(table);
}
