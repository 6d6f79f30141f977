/* connector/complete.c: completions pass through the client's queue; here they get the engine's numbers back. */
#include "connector/connector_private.h"

#include "base/thread.h"

#define POLL_STEP 32u /* completions taken at once, on the stack */

int kvs_fd(kvs_connector *connector)
{
  return connector == NULL ? -1 : kvsc_fd(connector->client);
}

size_t kvs_poll(kvs_connector *connector, kvs_completion *completions, size_t max)
{
  kvsc_completion taken[POLL_STEP];
  size_t done = 0;

  if (connector == NULL || completions == NULL || kvi_forked(connector->pid))
    return 0;
  while (done < max) {
    size_t room = max - done < POLL_STEP ? max - done : POLL_STEP;
    size_t n = kvsc_poll(connector->client, taken, room);

    for (size_t i = 0; i < n; i++)
      kvi_connector_op_complete(connector, &taken[i], &completions[done++]);
    if (n < room)
      break;
  }
  return done;
}

kvs_status kvs_wait(kvs_connector *connector, kvs_op op, uint32_t timeout_ms, kvs_completion *completion_p)
{
  kvsc_completion taken;
  kvsc_op client;
  kvs_status status;

  if (connector == NULL || completion_p == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  client = kvi_connector_op_client(connector, op);
  if (client == 0)
    return KVS_ERR_INVALID;
  status = kvsc_wait(connector->client, client, timeout_ms, &taken);
  if (status == KVS_OK)
    kvi_connector_op_complete(connector, &taken, completion_p);
  return status;
}

kvs_status kvs_cancel(kvs_connector *connector, kvs_op op)
{
  kvsc_op client;

  if (connector == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  client = kvi_connector_op_client(connector, op);
  return client == 0 ? KVS_ERR_INVALID : kvsc_cancel(connector->client, client);
}
