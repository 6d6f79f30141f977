/* connector/hint.c: what an engine or agent framework knows of its programs. */
#include "connector/connector_private.h"

#include <string.h>

#include "base/thread.h"
#include "proto/limits.h"

#define PRIORITY_MAX 100u

static bool text_fits(const char *text)
{
  return text == NULL || strnlen(text, KVI_CONNECTOR_TEXT_MAX + 1) <= KVI_CONNECTOR_TEXT_MAX;
}

static kvs_status convert_hint(const kvs_hint *hint, kvsc_hint *to)
{
  kvs_hint copy;
  kvs_status status;

  if (hint == NULL)
    return KVS_ERR_INVALID;
  status = kvi_connector_struct_copy(&copy, sizeof(copy), hint);
  if (status != KVS_OK)
    return status;
  if (!text_fits(copy.program) || !text_fits(copy.parent_program) || !text_fits(copy.tool) ||
      copy.priority > PRIORITY_MAX || (uint32_t)copy.wait > KVS_WAIT_END)
    return KVS_ERR_INVALID;
  *to = (kvsc_hint){.struct_size = sizeof(*to),
                    .program = copy.program,
                    .parent_program = copy.parent_program,
                    .tool = copy.tool,
                    .turn = copy.turn,
                    .wait_kind = (uint32_t)copy.wait,
                    .return_p50_ms = copy.return_p50_ms,
                    .return_p90_ms = copy.return_p90_ms,
                    .close = copy.close,
                    .priority = copy.priority,
                    .has_priority = copy.has_priority,
                    .ttl_ms = copy.ttl_ms,
                    .prefill_tokens = copy.prefill_tokens,
                    .prefill_from = copy.prefill_from,
                    .prefill_us = copy.prefill_us,
                    .range_tokens = copy.range_tokens};
  return KVS_OK;
}

kvs_status kvs_send_hint(kvs_connector *connector, const kvs_hint *hint, kvs_space *space,
                         const kvs_keys *keys, const kvs_request *request, kvs_op *op_p)
{
  kvsc_hint client_hint;
  kvsc_keys client_keys;
  kvs_request options;
  kvsc_call call;
  kvsc_op client = 0;
  struct kvi_connector_op *op;
  kvs_status status;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (connector == NULL || (keys != NULL && space == NULL) ||
      (space != NULL && space->connector != connector))
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  status = kvi_connector_struct_copy(&options, sizeof(options), request);
  if (status == KVS_OK)
    status = convert_hint(hint, &client_hint);
  if (status == KVS_OK && keys != NULL)
    status = kvi_connector_keys_convert(keys, KVI_LOOKUP_KEYS_MAX, &client_keys);
  if (status == KVS_OK)
    status = kvi_connector_op_begin(connector, &options, NULL, &op);
  if (status != KVS_OK)
    return status;

  kvi_connector_request_convert(&options, op, &call);
  status = kvsc_send_hint(connector->client, &client_hint, space != NULL ? space->client : NULL,
                          keys != NULL ? &client_keys : NULL, &call, &client);
  if (status != KVS_OK) {
    kvi_connector_op_refused(connector, op);
    return status;
  }
  atomic_fetch_add_explicit(&connector->hints, 1, memory_order_relaxed);
  *op_p = kvi_connector_op_started(connector, op, client);
  return KVS_OK;
}
