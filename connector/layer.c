/*
 * connector/layer.c: handing a get over layer by layer.
 *
 * A layer of a get is there when every chunk has the bytes up to its end. Bytes and not segments: a chunk may have been stored by an engine
 * that cuts it otherwise.
 */
#include "connector/connector_private.h"

#include "base/thread.h"
#include "client/client_private.h"

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

static kvs_status wait_bytes(kvs_connector *connector, const struct kvi_connector_op *op, kvsc_op client,
                             uint64_t bytes, uint32_t timeout_ms)
{
  bool reached;
  kvs_status status = kvi_client_wait_bytes(connector->client, client, bytes, timeout_ms, &reached);

  if (status == KVS_ERR_INVALID)
    return taken_result(connector, op);
  if (status != KVS_OK)
    return status;
  return reached ? KVS_OK : KVS_MISS; /* the wait also ends with the operation */
}

kvs_status kvs_wait_layer(kvs_connector *connector, kvs_op id, uint32_t layer, uint32_t timeout_ms)
{
  struct kvi_connector_op *op;
  kvsc_op client = 0;
  uint64_t bytes = 0;
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
      bytes = kvi_connector_memory_bytes_of_layer(op->memory, layer) * op->slots_per_chunk;
  }
  pthread_mutex_unlock(&connector->mutex);
  if (op == NULL)
    return KVS_ERR_INVALID;

  status = client != 0 && bytes > 0 ? wait_bytes(connector, op, client, bytes, timeout_ms) : KVS_ERR_INVALID;
  kvi_connector_op_release(connector, op);
  return status;
}
