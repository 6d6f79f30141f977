/*
 * tiers/cut.c: memory under pressure takes the last plane off a coded chunk before it evicts one, if the chunk's owner allows the loss (kvi_coded_cut). Chunks that may have one to spare
 * wait in a ring, the one first that was not used for longest (an approximation: what was used since it came there goes to the back); one that has gone leaves its place behind, which is found
 * when its turn comes. What has a copy below is not cut: it can leave memory as it is, and the copy may be a better one.
 */
#include <stdlib.h>

#include "proto/coded.h"
#include "tiers/store_private.h"

#define STAMP_SHIFT 24u /* about 17 ms */
#define ROOM_MIN    64u
#define ROOM_MAX    (1u << 20)

struct place {
  uint32_t entry, stamp; /* stamp: last use, cut */
  kvi_tier_object object;
};

struct kvi_cut {
  uint32_t room, first, length;
  struct place ring[];
};

kvs_status kvi_cut_create(struct kvi_store *store)
{
  uint32_t room = store->dram_attr.objects_max / 2;

  room = room < ROOM_MIN ? ROOM_MIN : room;
  room = room > ROOM_MAX ? ROOM_MAX : room;
  store->cut = calloc(1, sizeof(*store->cut) + room * sizeof(struct place));
  if (!store->cut)
    return KVS_ERR_NOMEM;
  store->cut->room = room;
  return KVS_OK;
}

void kvi_cut_destroy(struct kvi_store *store)
{
  free(store->cut);
}

uint64_t kvi_cut_memory(const struct kvi_store *store)
{
  return sizeof(*store->cut) + store->cut->room * sizeof(struct place);
}

static uint32_t stamp_of(const struct kvi_store *store, uint32_t number)
{
  struct kvi_policy_info info;

  store->policy_ops->info(store->policy, number, &info);
  return (uint32_t)(info.last_use_ns >> STAMP_SHIFT);
}

static struct place pop(struct kvi_cut *cut)
{
  struct place place = cut->ring[cut->first];

  cut->first = (cut->first + 1) % cut->room;
  cut->length--;
  return place;
}

/* When the ring is full the one that is first is not cut. */
static void push_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_cut *cut = store->cut;

  if (cut->length == cut->room)
    (void)pop(cut);
  cut->ring[(cut->first + cut->length++) % cut->room] = (struct place){
      .entry = number, .stamp = stamp_of(store, number), .object = store->entries[number].object};
}

void kvi_cut_offer_locked(struct kvi_store *store, uint32_t number, uint16_t quality)
{
  if (kvi_quality_coding(quality) == KVI_CODING_KVC1 &&
      kvi_quality_loss(quality) < kvi_quality_loss_max(quality))
    push_locked(store, number);
}

/* What would be left of it. False: it has no plane to spare. Its head lies in one piece, or it is left alone. */
static bool rest_of(struct kvi_store *store, kvi_tier_object object, struct kvi_coded_rest *rest_p)
{
  struct kvi_tier_places places;
  struct kvi_chunk_table table;
  struct kvi_coded coded;

  (void)store->dram->ops->places(store->dram, object, &places); /* in place: cannot fail */
  return store->dram->ops->table(store->dram, object, &table) == KVS_OK &&
         kvi_coded_open(places.iov[0].base, places.iov[0].length, table.length, &coded) == KVS_OK &&
         kvi_coded_cut(&coded, places.iov[0].base, table.quality, kvi_quality_loss_max(table.quality),
                       rest_p);
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
  if (info.holds > 0 || !rest_of(store, entry->object, &rest))
    return 0;
  status =
      store->dram->ops->cut(store->dram, entry->object, rest.length, rest.n_segments, rest.quality, &freed);
  *later_p = status == KVS_OK || status == KVS_ERR_BUSY;
  if (status != KVS_OK)
    return 0;
  store->stats.cut_chunks++;
  store->stats.cut_bytes += entry->length - rest.length;
  kvi_entry_resize_locked(store, number, (uint32_t)rest.length);
  entry->loss = kvi_quality_loss(rest.quality) & KVI_LOSS_MAX;
  return freed;
}

uint64_t kvi_cut_make_room_locked(struct kvi_store *store)
{
  struct kvi_cut *cut = store->cut;
  uint64_t freed = 0;

  for (uint32_t i = 0; i < KVI_BATCH_LOCKED && freed == 0 && cut->length > 0; i++) {
    struct place place = pop(cut);
    const struct kvi_entry *entry = &store->entries[place.entry];
    bool later = true;

    if (entry->state != KVI_ENTRY_RESIDENT || entry->object != place.object ||
        kvi_below_has(store, place.entry))
      continue;
    if (stamp_of(store, place.entry) == place.stamp)
      freed = cut_one_locked(store, place.entry, &later);
    if (later)
      push_locked(store, place.entry);
  }
  return freed;
}
