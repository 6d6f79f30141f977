/* tiers/verify.c: do a stored chunk's bytes still fit their checksums? */
#include <kvasir/keys.h>

#include "base/crc32c.h"
#include "tiers/store_private.h"

/* A position in the places of a chunk. */
struct position {
  const struct kvi_source *source;
  uint32_t place;
  size_t offset;
};

static uint32_t sum_next(struct position *at, uint64_t length)
{
  uint32_t crc = 0;

  while (length > 0) {
    const struct kvi_iov *place = &at->source->iov[at->place];
    size_t left = place->length - at->offset;
    size_t run = left < length ? left : (size_t)length;

    crc = kvi_crc32c_update(crc, (const uint8_t *)place->base + at->offset, run);
    at->offset += run;
    if (at->offset == place->length) {
      at->place++;
      at->offset = 0;
    }
    length -= run;
  }
  return crc;
}

static bool is_sound(const struct kvi_source *source)
{
  struct position at = {.source = source};

  for (uint32_t i = 0; i < source->table.n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(&source->table, i);

    if (sum_next(&at, segment.length) != segment.crc32c)
      return false;
  }
  return true;
}

kvs_status kvi_store_verify(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, uint64_t *length_p)
{
  struct kvi_source source;
  uint32_t cause; /* may be of one that went long ago */
  bool dropped;
  kvs_status status = kvi_source_open(store, tenant, space, key, key_length, NULL, &source, &cause, &dropped);

  *length_p = 0;
  if (status == KVS_PENDING) /* on a slower tier, which compares checksums whenever it reads */
    return KVS_OK;
  if (status != KVS_OK)
    return dropped ? KVS_ERR_CORRUPT : status;
  *length_p = source.table.length;
  if (!is_sound(&source)) {
    kvi_damages_note(&store->damages, space, key, key_length, KVI_TIER_DRAM, KVI_DAMAGE_BY_CHECK);
    kvi_source_drop_corrupt(store, tenant, space, key, key_length, &source);
    status = KVS_ERR_CORRUPT;
  }
  kvi_store_get_close(store, &source);
  return status;
}
