/*
 * connector/layer.c: handing a get over layer by layer.
 *
 * The client tells how far a get is as (whole leading chunks, leading segments of the next one). Each region is a segment,
 * so a layer of every chunk is there when all chunks but the last are whole and the last one has the segments up to it.
 */
#include "connector/connector_private.h"

#include "base/thread.h"

/* What the completion of a held operation said, if another thread has taken it meanwhile. */
static kvs_status taken_result(kvs_connector *connector, const struct kvi_connector_op *op)
{
  kvs_status status = KVS_ERR_INVALID;

  pthread_mutex_lock(&connector->mutex);
  if (op->taken)
    status = op->n_prefix == op->n_chunks ? KVS_OK : KVS_MISS;
  pthread_mutex_unlock(&connector->mutex);
  return status;
}

static kvs_status wait_segments(kvs_connector *connector, const struct kvi_connector_op *op, kvsc_op client,
                                uint32_t segments, uint32_t timeout_ms)
{
  uint32_t last = op->n_chunks - 1;
  uint32_t chunks = 0, segments_there = 0;
  kvs_status status = kvsc_wait_progress(connector->client, client, last, segments, timeout_ms);

  if (status == KVS_ERR_INVALID)
    return taken_result(connector, op);
  if (status != KVS_OK)
    return status;
  /* The wait also ends with the operation: look at what there is. */
  status = kvsc_progress(connector->client, client, &chunks, &segments_there);
  if (status == KVS_ERR_INVALID)
    return taken_result(connector, op);
  if (status != KVS_OK)
    return status;
  return chunks > last || (chunks == last && segments_there >= segments) ? KVS_OK : KVS_MISS;
}

kvs_status kvs_wait_layer(kvs_connector *connector, kvs_op id, uint32_t layer, uint32_t timeout_ms)
{
  struct kvi_connector_op *op;
  kvsc_op client = 0;
  uint32_t segments = 0;
  kvs_status status;

  if (connector == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;

  pthread_mutex_lock(&connector->mutex);
  op = kvi_connector_op_hold(connector, id);
  if (op != NULL) {
    client = op->client;
    if (op->memory != NULL && !op->put)
      segments = kvi_connector_memory_segments_of_layer(op->memory, layer);
  }
  pthread_mutex_unlock(&connector->mutex);
  if (op == NULL)
    return KVS_ERR_INVALID;

  status = client != 0 && segments > 0 ? wait_segments(connector, op, client, segments, timeout_ms)
                                       : KVS_ERR_INVALID;
  kvi_connector_op_release(connector, op);
  return status;
}
