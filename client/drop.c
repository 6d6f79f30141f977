/* client/drop.c: has the node drop chunks that came with wrong bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/service.h"

/* What came as the node has it, by its checksums, but does not give what was put. */
static bool is_wrong_there(const struct op_chunk *chunk)
{
  return chunk->coded && chunk->decoded == KVS_ERR_CORRUPT;
}

/* Of a get's corrupt chunks those that are known to be wrong at the node too, or those of which the node has to find out. */
static void drop_some(struct client_op *op, bool wrong_there)
{
  const struct kvi_transfer *transfer = &op->transfer;
  kvsc_keys keys = {.unchained = 1};
  Kvasir__V1__DeleteRequest request = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__Keys message;
  uint8_t *blob = malloc((size_t)transfer->n_chunks * transfer->key_length);

  if (blob == NULL)
    return;
  for (uint32_t i = 0; i < transfer->n_chunks; i++) {
    if (transfer->chunks[i].status == KVS_MISS && transfer->chunks[i].cause == KVI_MISS_CORRUPT &&
        !op->chunks[i].overwritten && is_wrong_there(&op->chunks[i]) == wrong_there)
      memcpy(blob + (size_t)keys.n++ * transfer->key_length,
             transfer->keys + (size_t)i * transfer->key_length, transfer->key_length);
  }
  if (keys.n == 0)
    goto free_blob;
  keys.keys = blob;
  kvi_client_keys_to_message(&keys, transfer->key_length, &message);
  request.keys = &message;
  request.only_corrupt = !wrong_there;
  request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = op->space->digest};
  (void)op->client->wire->ops->call(op->client->wire, KVI_METHOD_DELETE, &request.base,
                                    kvi_now_ns() + op->client->timeout_ms * KVI_NS_PER_MS,
                                    kvi_client_nobody_waits, NULL);
free_blob:
  free(blob);
}

void kvi_client_drop_corrupt(struct client_op *op)
{
  drop_some(op, false);
  drop_some(op, true);
}
