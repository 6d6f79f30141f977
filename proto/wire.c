/* proto/wire.c: what all wires decide alike. */
#include "proto/wire.h"

#include "proto/chunk.h"
#include "proto/service.h"

kvs_status kvi_transfer_place(struct kvi_transfer *transfer, uint32_t index, uint16_t quality,
                              uint64_t length, const struct kvi_iov **iov_p, uint32_t *n_iov_p,
                              uint32_t *cause_p)
{
  struct kvi_transfer_chunk *chunk = &transfer->chunks[index];
  uint32_t coding = kvi_quality_coding(quality);

  chunk->quality = quality;
  *cause_p = KVI_MISS_NONE;
  *iov_p = chunk->iov;
  *n_iov_p = chunk->n_iov;
  if (kvi_quality_loss(quality) > transfer->loss_max || coding > KVI_CODING_KVC1 ||
      (coding == KVI_CODING_KVC1 && transfer->on_coded == NULL)) {
    *cause_p = KVI_MISS_QUALITY;
    return KVS_MISS;
  }
  return coding == KVI_CODING_NONE ? KVS_OK : transfer->on_coded(transfer, index, length, iov_p, n_iov_p);
}
