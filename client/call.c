/* client/call.c: operations that are one small message and its answer: lookup, delete, ping, hint, release. */
#include <string.h>

#include "base/clock.h"
#include "client/client_internal.h"
#include "proto/limits.h"
#include "proto/service.h"

#define HINT_STRING_MAX 255u

/* How a call ended that brought no more than a status, as the caller sees it. With the mutex. */
static void end_unanswered(struct client_op *op, kvs_status status)
{
  if (status == KVS_ERR_DEADLINE)
    op->client->counters.deadline_exceeded++;
  if (op->kind == OP_LOOKUP && (status == KVS_MISS || kvi_client_node_is_out(status))) {
    if (op->present != NULL)
      memset(op->present, 0, (op->completion.n + 7) / 8);
    if (op->tiers != NULL)
      memset(op->tiers, 0, op->completion.n);
    op->completion.cause = status == KVS_MISS ? KVSC_CAUSE_SPACE : KVSC_CAUSE_NODE;
    status = KVS_MISS;
  }
  kvi_client_op_end(op, status);
}

/* Sends the request. On an error the slot is given back. */
static kvs_status send_call(struct client_op *op, enum kvi_method method, const ProtobufCMessage *request,
                            kvi_call_done_fn *done)
{
  kvsc_client *client = op->client;
  kvs_status status;

  op->on_wire = true;
  status = client->wire->ops->call(client->wire, method, request, op->deadline_ns, done, op);
  if (status == KVS_OK)
    return KVS_OK;
  op->on_wire = false;
  if (!kvi_client_node_is_out(status)) {
    kvi_client_op_abandon(op);
    return status;
  }
  pthread_mutex_lock(&client->mutex);
  end_unanswered(op, status);
  pthread_mutex_unlock(&client->mutex);
  return KVS_OK;
}

/* ---- lookup ---- */

static bool bit_is_set(const uint8_t *bits, uint32_t i)
{
  return (bits[i / 8] >> (i % 8) & 1) != 0;
}

/* Whether an answer that tells of each key fits the question. */
static bool lookup_reply_fits(const struct client_op *op, const Kvasir__V1__LookupReply *reply)
{
  uint32_t n = op->completion.n;

  if (reply->prefix > n || reply->present.len != (n + 7) / 8)
    return false;
  for (uint32_t i = 0; i < reply->prefix; i++) {
    if (!bit_is_set(reply->present.data, i))
      return false;
  }
  return op->tiers == NULL || reply->tiers.len == n;
}

/* OK or MISS, or why it is no answer. *tells_p: it has a bit for each key. */
static kvs_status lookup_answer(const struct client_op *op, const Kvasir__V1__LookupReply *reply,
                                bool *tells_p)
{
  kvs_status status = (kvs_status)reply->status;

  *tells_p = status == KVS_OK || (status == KVS_MISS && reply->present.len > 0);
  if (status > 0 && status != KVS_MISS)
    return KVS_ERR_PROTOCOL;
  return *tells_p && !lookup_reply_fits(op, reply) ? KVS_ERR_PROTOCOL : status;
}

/* With the mutex. The caller's arrays are written here, so that a cancelled lookup leaves them alone. */
static void end_lookup(struct client_op *op, const Kvasir__V1__LookupReply *reply)
{
  kvsc_completion *completion = &op->completion;
  kvs_status status;

  for (uint32_t i = 0; i < completion->n; i++)
    completion->n_ok += bit_is_set(reply->present.data, i);
  if (op->present != NULL)
    memcpy(op->present, reply->present.data, reply->present.len);
  if (op->tiers != NULL)
    memcpy(op->tiers, reply->tiers.data, reply->tiers.len);
  completion->n_prefix = reply->prefix;
  completion->lease = reply->lease;
  completion->lease_ms = reply->lease_ms;
  completion->fetch_us = reply->fetch_us;
  completion->n_worth = reply->prefix; /* an older node has no verdict */
  if (reply->compute_us > 0 && reply->worth <= reply->prefix) {
    completion->compute_us = reply->compute_us;
    completion->n_worth = reply->worth;
    completion->worth_us = reply->worth_us;
  }
  if (completion->n_ok == completion->n)
    status = KVS_OK;
  else
    status = completion->n_ok > 0 ? KVS_PARTIAL : KVS_MISS;
  kvi_client_op_end(op, status);
}

static void lookup_done(void *ctx, kvs_status status, const ProtobufCMessage *message)
{
  const Kvasir__V1__LookupReply *reply = (const Kvasir__V1__LookupReply *)message;
  struct client_op *op = ctx;
  kvsc_client *client = op->client;

  pthread_mutex_lock(&client->mutex);
  if (kvi_client_op_landed(op)) {
    bool tells = false;

    if (status == KVS_OK)
      status = lookup_answer(op, reply, &tells);
    if (status >= 0 && tells)
      end_lookup(op, reply);
    else
      end_unanswered(op, status);
  }
  pthread_mutex_unlock(&client->mutex);
}

/* The digests of the spaces, all of this client and of one key length. */
static kvs_status take_spaces(const kvsc_client *client, kvsc_space *const *spaces, uint32_t n_spaces,
                              ProtobufCBinaryData *digests)
{
  for (uint32_t i = 0; i < n_spaces; i++) {
    if (spaces[i] == NULL || spaces[i]->client != client ||
        spaces[i]->desc->key_length != spaces[0]->desc->key_length)
      return KVS_ERR_INVALID;
    digests[i] = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = spaces[i]->digest};
  }
  return KVS_OK;
}

kvs_status kvsc_lookup(kvsc_client *client, kvsc_space *const *spaces, uint32_t n_spaces,
                       const kvsc_keys *keys, const kvsc_call *call, kvsc_op *op_p)
{
  Kvasir__V1__LookupRequest request = KVASIR__V1__LOOKUP_REQUEST__INIT;
  ProtobufCBinaryData digests[KVI_LOOKUP_SPACES_MAX];
  Kvasir__V1__Keys message;
  kvsc_keys taken_keys;
  kvsc_call taken_call;
  struct client_op *op;
  kvs_status status;
  kvsc_op id;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (client == NULL || spaces == NULL || n_spaces == 0)
    return KVS_ERR_INVALID;
  if (n_spaces > KVI_LOOKUP_SPACES_MAX)
    return KVS_ERR_TOO_LARGE;
  status = take_spaces(client, spaces, n_spaces, digests);
  if (status == KVS_OK)
    status = kvi_client_keys_take(keys, KVI_LOOKUP_KEYS_MAX, &taken_keys);
  if (status == KVS_OK)
    status = kvi_client_op_begin(client, OP_LOOKUP, call, &taken_call, &op);
  if (status != KVS_OK)
    return status;
  kvi_client_keys_to_message(&taken_keys, spaces[0]->desc->key_length, &message);
  request.keys = &message;
  request.spaces = digests;
  request.n_spaces = n_spaces;
  request.lease_ms = taken_call.lease_ms;
  request.want_tiers = op->tiers != NULL;
  request.loss_max = taken_call.loss_max;
  op->completion.n = taken_keys.n;
  id = kvi_client_op_id(op);
  status = send_call(op, KVI_METHOD_LOOKUP, &request.base, lookup_done);
  if (status == KVS_OK)
    *op_p = id;
  return status;
}

/* ---- delete ---- */

static void delete_done(void *ctx, kvs_status status, const ProtobufCMessage *message)
{
  const Kvasir__V1__DeleteReply *reply = (const Kvasir__V1__DeleteReply *)message;
  struct client_op *op = ctx;
  kvsc_client *client = op->client;

  pthread_mutex_lock(&client->mutex);
  if (kvi_client_op_landed(op)) {
    if (status == KVS_OK && reply->deleted > op->completion.n)
      status = KVS_ERR_PROTOCOL;
    if (status == KVS_OK) {
      op->completion.n_ok = reply->deleted;
      status = (kvs_status)reply->status;
      if (status == KVS_ERR_SPACE_UNKNOWN)
        status = KVS_MISS; /* then nothing of it is there */
      if (status == KVS_OK && reply->deleted < op->completion.n)
        status = reply->deleted > 0 ? KVS_PARTIAL : KVS_MISS;
    }
    end_unanswered(op, status);
  }
  pthread_mutex_unlock(&client->mutex);
}

kvs_status kvsc_delete(kvsc_space *space, const kvsc_keys *keys, const kvsc_call *call, kvsc_op *op_p)
{
  Kvasir__V1__DeleteRequest request = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__Keys message;
  kvsc_keys taken_keys;
  kvsc_call taken_call;
  struct client_op *op;
  kvs_status status;
  kvsc_op id;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (space == NULL)
    return KVS_ERR_INVALID;
  status = kvi_client_keys_take(keys, KVI_LOOKUP_KEYS_MAX, &taken_keys);
  if (status == KVS_OK)
    status = kvi_client_op_begin(space->client, OP_DELETE, call, &taken_call, &op);
  if (status != KVS_OK)
    return status;
  kvi_client_keys_to_message(&taken_keys, space->desc->key_length, &message);
  request.keys = &message;
  request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = space->digest};
  op->completion.n = taken_keys.n;
  id = kvi_client_op_id(op);
  status = send_call(op, KVI_METHOD_DELETE, &request.base, delete_done);
  if (status == KVS_OK)
    *op_p = id;
  return status;
}

/* ---- ping ---- */

static void ping_done(void *ctx, kvs_status status, const ProtobufCMessage *message)
{
  struct client_op *op = ctx;
  kvsc_client *client = op->client;

  (void)message;
  pthread_mutex_lock(&client->mutex);
  if (kvi_client_op_landed(op))
    end_unanswered(op, status);
  pthread_mutex_unlock(&client->mutex);
}

kvs_status kvsc_ping(kvsc_client *client, const kvsc_call *call, kvsc_op *op_p)
{
  Kvasir__V1__Empty request = KVASIR__V1__EMPTY__INIT;
  kvsc_call taken_call;
  struct client_op *op;
  kvs_status status;
  kvsc_op id;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (client == NULL)
    return KVS_ERR_INVALID;
  status = kvi_client_op_begin(client, OP_PING, call, &taken_call, &op);
  if (status != KVS_OK)
    return status;
  id = kvi_client_op_id(op);
  status = send_call(op, KVI_METHOD_PING, &request.base, ping_done);
  if (status == KVS_OK)
    *op_p = id;
  return status;
}

/* ---- hint ---- */

static void hint_done(void *ctx, kvs_status status, const ProtobufCMessage *message)
{
  const Kvasir__V1__HintReply *reply = (const Kvasir__V1__HintReply *)message;
  struct client_op *op = ctx;
  kvsc_client *client = op->client;

  pthread_mutex_lock(&client->mutex);
  if (kvi_client_op_landed(op)) {
    if (status == KVS_OK) {
      op->completion.n_ok = reply->outcome;
      status = (kvs_status)reply->status;
    }
    end_unanswered(op, status);
  }
  pthread_mutex_unlock(&client->mutex);
}

/* NULL is "". False: too long. */
static bool take_string(const char *text, char **text_p)
{
  *text_p = (char *)(text != NULL ? text : "");
  return strnlen(*text_p, HINT_STRING_MAX + 1) <= HINT_STRING_MAX;
}

kvs_status kvi_client_hint_take(const kvsc_hint *hint, Kvasir__V1__HintRequest *request)
{
  kvsc_hint taken;

  if (hint == NULL || !kvi_client_take_struct(&taken, sizeof(taken), hint))
    return KVS_ERR_INVALID;
  if (!take_string(taken.program, &request->program) ||
      !take_string(taken.parent_program, &request->parent_program) ||
      !take_string(taken.tool, &request->tool))
    return KVS_ERR_INVALID;
  request->turn = taken.turn;
  request->wait_kind = taken.wait_kind;
  request->return_p50_ms = taken.return_p50_ms;
  request->return_p90_ms = taken.return_p90_ms;
  request->close = taken.close != 0;
  request->priority = taken.priority;
  if (taken.priority > 0 || taken.has_priority == 1)
    request->priority_said_case = KVASIR__V1__HINT_REQUEST__PRIORITY_SAID_PRIORITY;
  request->ttl_ms = taken.ttl_ms;
  request->prefill_tokens = taken.prefill_tokens;
  request->prefill_from = taken.prefill_from;
  request->prefill_us = taken.prefill_us;
  request->range_tokens = taken.range_tokens;
  return KVS_OK;
}

kvs_status kvsc_send_hint(kvsc_client *client, const kvsc_hint *hint, kvsc_space *space,
                          const kvsc_keys *keys, const kvsc_call *call, kvsc_op *op_p)
{
  Kvasir__V1__HintRequest request = KVASIR__V1__HINT_REQUEST__INIT;
  Kvasir__V1__Keys message;
  kvsc_keys taken_keys;
  kvsc_call taken_call;
  struct client_op *op;
  kvs_status status;
  kvsc_op id;

  if (op_p == NULL)
    return KVS_ERR_INVALID;
  *op_p = 0;
  if (client == NULL || (space != NULL && space->client != client) || (keys != NULL && space == NULL))
    return KVS_ERR_INVALID;
  status = kvi_client_hint_take(hint, &request);
  if (status == KVS_OK && keys != NULL)
    status = kvi_client_keys_take(keys, KVI_LOOKUP_KEYS_MAX, &taken_keys);
  if (status == KVS_OK)
    status = kvi_client_op_begin(client, OP_HINT, call, &taken_call, &op);
  if (status != KVS_OK)
    return status;
  if (space != NULL)
    request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = space->digest};
  if (keys != NULL) {
    kvi_client_keys_to_message(&taken_keys, space->desc->key_length, &message);
    request.keys = &message;
    op->completion.n = taken_keys.n;
  }
  id = kvi_client_op_id(op);
  status = send_call(op, KVI_METHOD_HINT, &request.base, hint_done);
  if (status == KVS_OK)
    *op_p = id;
  return status;
}

/* ---- release ---- */

kvs_status kvsc_release(kvsc_client *client, uint64_t lease)
{
  Kvasir__V1__ReleaseRequest request = KVASIR__V1__RELEASE_REQUEST__INIT;

  if (client == NULL || lease == 0)
    return KVS_ERR_INVALID;
  if (kvi_forked(client->pid))
    return KVS_ERR_FORKED;
  request.leases = &lease;
  request.n_leases = 1;
  return client->wire->ops->call(client->wire, KVI_METHOD_RELEASE, &request.base,
                                 kvi_now_ns() + client->timeout_ms * KVI_NS_PER_MS, kvi_client_nobody_waits,
                                 NULL);
}
