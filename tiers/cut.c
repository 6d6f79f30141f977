/*
 * tiers/cut.c: memory under pressure takes the last plane off a coded chunk before it evicts one, if the chunk's owner allows the loss (kvi_coded_cut). Only memory that is to hold chunks coded
 * does (config.codec_threads).
 *
 * Chunks that may have one to spare stand in a queue, the one first that was not used for longest (an approximation: what was used since it came there goes to the back). In it are those alone that could be cut
 * but for leases and readers: what is below leaves memory as it is, and what is about to be written there is to come there whole.
 */
#include <stdlib.h>

#include "proto/coded.h"
#include "tiers/store_private.h"

#define STAMP_SHIFT 24u /* about 17 ms */
#define STAMP_MASK  0x7fffffffu

/* Of an object; the neighbours are entries. */
struct place {
  uint32_t next, prev;
  uint32_t stamp : 31; /* last use when it was queued, cut */
  uint32_t queued : 1;
};

struct kvi_cut {
  uint32_t first, last, length;
  struct place places[]; /* by object */
};
static_assert(sizeof(struct place) == 12, "for each object that memory may hold; docs/store.md has the sum");

static uint64_t bytes_of(const struct kvi_store *store)
{
  return sizeof(*store->cut) + (uint64_t)store->dram_attr.objects_max * sizeof(struct place);
}

kvs_status kvi_cut_create(struct kvi_store *store)
{
  store->cut = calloc(1, bytes_of(store));
  if (!store->cut)
    return KVS_ERR_NOMEM;
  store->cut->first = store->cut->last = KVI_NONE;
  return KVS_OK;
}

void kvi_cut_destroy(struct kvi_store *store)
{
  free(store->cut);
}

uint64_t kvi_cut_memory(const struct kvi_store *store)
{
  return store->cut ? bytes_of(store) : 0;
}

uint32_t kvi_cut_length_locked(const struct kvi_store *store)
{
  return store->cut ? store->cut->length : 0;
}

/* ---- the queue ---- */

static struct place *place_of(const struct kvi_store *store, uint32_t number)
{
  return &store->cut->places[store->entries[number].object];
}

static uint32_t stamp_of(const struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_info info;

  store->policy_ops->info(store->policy, number, &info);
  return (uint32_t)(info.last_use_ns >> STAMP_SHIFT) & STAMP_MASK;
}

static void push_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_cut *cut = store->cut;

  *place_of(store, number) = (struct place){
      .next = KVI_NONE, .prev = cut->last, .stamp = stamp_of(store, number) & STAMP_MASK, .queued = 1};
  if (cut->last != KVI_NONE)
    place_of(store, cut->last)->next = number;
  else
    cut->first = number;
  cut->last = number;
  cut->length++;
}

void kvi_cut_remove_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_cut *cut = store->cut;
  struct place *place;

  if (!cut || !place_of(store, number)->queued)
    return;
  place = place_of(store, number);
  place->queued = 0;
  if (place->prev != KVI_NONE)
    place_of(store, place->prev)->next = place->next;
  else
    cut->first = place->next;
  if (place->next != KVI_NONE)
    place_of(store, place->next)->prev = place->prev;
  else
    cut->last = place->prev;
  cut->length--;
}

void kvi_cut_offer_locked(struct kvi_store *store, uint32_t number, uint16_t quality)
{
  const struct kvi_entry *entry = &store->entries[number];

  if (store->cut && kvi_quality_coding(quality) == KVI_CODING_KVC1 &&
      kvi_quality_loss(quality) < kvi_quality_loss_max(quality) && !entry->queued && !entry->writing &&
      !kvi_below_has(store, number) && !place_of(store, number)->queued)
    push_locked(store, number);
}

void kvi_cut_offer_again_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_chunk_table table;

  if (store->cut && store->dram->ops->table(store->dram, store->entries[number].object, &table) == KVS_OK)
    kvi_cut_offer_locked(store, number, table.quality);
}

/* ---- cutting ---- */

/*
 * What would be left with a plane less. False: it has none to spare. What is left tells that it has lost more, or nobody could know: what had lost more than its planes tell, before it
 * was encoded, stays as it is.
 */
static bool rest_of(const struct kvi_chunk_table *table, const struct kvi_coded *coded, const uint8_t *bytes,
                    struct kvi_coded_rest *rest_p)
{
  return kvi_coded_cut(coded, bytes, table->quality, kvi_quality_loss_max(table->quality), rest_p) &&
         kvi_quality_loss(rest_p->quality) > kvi_quality_loss(table->quality) &&
         kvi_coded_rest_fits(table, rest_p);
}

/* Takes off as few planes as free something. KVS_MISS: it has none to spare. Its head lies in one piece, or it is left alone. KVS_ERR_BUSY: somebody reads it. */
static kvs_status object_cut(struct kvi_store *store, kvi_tier_object object, struct kvi_coded_rest *rest_p,
                             uint64_t *freed_p)
{
  struct kvi_tier *dram = store->dram;
  kvs_status status = dram->ops->cut(dram, object, 0, 0, 0, freed_p);
  struct kvi_tier_places places;
  struct kvi_chunk_table table;
  struct kvi_coded coded;

  if (status == KVS_ERR_BUSY) /* before the work */
    return status;
  (void)dram->ops->places(dram, object, &places); /* in place: cannot fail */
  if (dram->ops->table(dram, object, &table) != KVS_OK ||
      kvi_coded_open(places.iov[0].base, places.iov[0].length, table.length, &coded) != KVS_OK)
    return KVS_MISS;
  do {
    if (!rest_of(&table, &coded, places.iov[0].base, rest_p))
      return KVS_MISS;
    status = dram->ops->cut(dram, object, rest_p->length, rest_p->n_segments, rest_p->quality, freed_p);
    coded.planes--;
  } while (status == KVS_EXISTS);
  return status;
}

/* Returns the room that this gave; 0 and *later_p: not now, but perhaps later. */
static uint64_t cut_one_locked(struct kvi_store *store, uint32_t number, bool *later_p)
{
  struct kvi_entry *entry = &store->entries[number];
  struct kvi_policy_info info;
  struct kvi_coded_rest rest;
  uint64_t freed;
  kvs_status status;

  store->policy_ops->info(store->policy, number, &info);
  *later_p = info.holds > 0; /* a lease holds what its look-up found */
  if (info.holds > 0)
    return 0;
  status = object_cut(store, entry->object, &rest, &freed);
  *later_p = status == KVS_OK || status == KVS_ERR_BUSY;
  if (status != KVS_OK)
    return 0;
  kvi_account_cut_locked(store, entry->object);
  store->stats.cut_chunks++;
  store->stats.cut_bytes += entry->length - rest.length;
  kvi_entry_resize_locked(store, number, (uint32_t)rest.length);
  entry->loss = kvi_quality_loss(rest.quality) & KVI_LOSS_MAX;
  return freed;
}

uint64_t kvi_cut_make_room_locked(struct kvi_store *store, uint32_t *looks, uint64_t *passed_p)
{
  struct kvi_cut *cut = store->cut;
  uint64_t freed = 0;

  while (cut && *looks > 0 && freed == 0 && *passed_p < 2 * (uint64_t)cut->length) {
    uint32_t number = cut->first;
    bool used = stamp_of(store, number) != place_of(store, number)->stamp, later = true;

    (*looks)--;
    if (!used)
      freed = cut_one_locked(store, number, &later);
    kvi_cut_remove_locked(store, number);
    if (later)
      push_locked(store, number);
    *passed_p += !later ? 0 : used ? 1 : 2; /* what was used has its turn once more */
  }
  if (freed > 0)
    *passed_p = 0;
  return freed;
}
