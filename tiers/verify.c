/* tiers/verify.c: do a stored chunk's bytes still fit their checksums? */
#include <kvasir/keys.h>

#include "tiers/medium.h"
#include "tiers/store_private.h"

kvs_status kvi_store_verify(struct kvi_store *store, const char *tenant, const uint8_t *space,
                            const uint8_t *key, uint32_t key_length, uint64_t *length_p)
{
  static const struct kvi_get_terms any = {.codings = UINT32_MAX, .loss_max = KVI_LOSS_MAX};
  struct kvi_source source;
  uint32_t cause; /* may be of one that went long ago */
  bool dropped;
  kvs_status status =
      kvi_source_open(store, tenant, space, key, key_length, &any, NULL, &source, &cause, &dropped);

  *length_p = 0;
  if (status == KVS_PENDING) /* on a slower tier, which compares checksums whenever it reads */
    return KVS_OK;
  if (status != KVS_OK)
    return dropped ? KVS_ERR_CORRUPT : status;
  *length_p = source.table.length;
  if (!kvi_medium_fits(&source.table, source.iov, source.n_iov)) {
    (void)kvi_source_drop_corrupt(store, tenant, space, key, key_length, &source, KVI_DAMAGE_BY_CHECK);
    status = KVS_ERR_CORRUPT;
  }
  kvi_store_get_close(store, &source);
  return status;
}
