/*
 * client/space.c: spaces at the client, and the client's one thread.
 *
 * The node is told of a space when it is opened here and after each reconnect. Lookups and gets do not wait for that: a
 * space the node does not know has no chunks, which is the right answer. A put waits, and so it is the client's thread
 * that starts it; so it does once more when the node answers that it does not know the space after all, and, after a
 * pause, when the node was too busy for some of the put's chunks.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "client/client_internal.h"
#include "proto/space.h"

/* The answer to OpenSpace. */
static void space_told(void *ctx, kvs_status status, const ProtobufCMessage *message)
{
  kvsc_space *space = ctx;
  kvsc_client *client = space->client;

  if (status == KVS_OK) {
    const Kvasir__V1__OpenSpaceReply *reply = (const Kvasir__V1__OpenSpaceReply *)message;

    status = (kvs_status)reply->status;
    if (status != KVS_OK)
      kvi_log_limited(KVI_LOG_WARN, "the node refuses space '%s': %s: %s", space->desc->model,
                      kvs_status_text(status), reply->message);
  }
  pthread_mutex_lock(&client->mutex);
  space->opening = false;
  space->refused = status;
  if (status == KVS_OK)
    space->told_epoch = space->asked_epoch;
  pthread_cond_signal(&client->work);
  pthread_mutex_unlock(&client->mutex);
}

/* With the mutex. */
static bool is_due(const kvsc_space *space)
{
  const kvsc_client *client = space->client;

  return client->connected && !space->opening && space->asked_epoch != client->epoch;
}

void kvi_client_space_tell(kvsc_space *space)
{
  kvsc_client *client = space->client;
  Kvasir__V1__OpenSpaceRequest request = KVASIR__V1__OPEN_SPACE_REQUEST__INIT;
  Kvasir__V1__SpaceDescriptor descriptor;
  kvs_status status;
  bool due;

  pthread_mutex_lock(&client->mutex);
  due = is_due(space) && !client->closing;
  if (due) {
    space->opening = true;
    space->asked_epoch = client->epoch;
  }
  pthread_mutex_unlock(&client->mutex);
  if (!due)
    return;
  kvi_space_to_message(space->desc, &descriptor);
  request.descriptor = &descriptor;
  request.digest = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = space->digest};
  status = client->wire->ops->call(client->wire, KVI_METHOD_OPEN_SPACE, &request.base,
                                   kvi_now_ns() + client->timeout_ms * KVI_NS_PER_MS, space_told, space);
  if (status != KVS_OK)
    space_told(space, status, NULL);
}

static kvs_status new_space(kvsc_client *client, const kvs_space_desc *desc, kvsc_space **space_p)
{
  kvsc_space *space = calloc(1, sizeof(*space));
  kvs_status status;

  if (space == NULL)
    return KVS_ERR_NOMEM;
  space->client = client;
  status = kvi_space_copy(desc, &space->desc);
  if (status == KVS_OK)
    status = kvs_space_digest(space->desc, space->digest);
  if (status != KVS_OK) {
    kvi_space_free(space->desc);
    free(space);
    return status;
  }
  *space_p = space;
  return KVS_OK;
}

/* The space of this digest, or the new one put beside the others, or NULL: too many. With the mutex. */
static kvsc_space *add_space(kvsc_client *client, kvsc_space *fresh)
{
  for (uint32_t i = 0; i < client->n_spaces; i++) {
    if (memcmp(client->spaces[i]->digest, fresh->digest, KVS_DIGEST_SIZE) == 0)
      return client->spaces[i];
  }
  if (client->n_spaces == CLIENT_SPACES_MAX)
    return NULL;
  client->spaces[client->n_spaces++] = fresh;
  return fresh;
}

kvs_status kvsc_space_open(kvsc_client *client, const kvs_space_desc *desc, kvsc_space **space_p)
{
  kvsc_space *fresh, *space;
  kvs_status status;

  if (space_p == NULL)
    return KVS_ERR_INVALID;
  *space_p = NULL;
  if (client == NULL || desc == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(client->pid))
    return KVS_ERR_FORKED;
  status = new_space(client, desc, &fresh);
  if (status != KVS_OK)
    return status;
  pthread_mutex_lock(&client->mutex);
  space = add_space(client, fresh);
  pthread_mutex_unlock(&client->mutex);
  if (space != fresh) {
    kvi_space_free(fresh->desc);
    free(fresh);
  }
  if (space == NULL)
    return KVS_ERR_BUSY;
  kvi_client_space_tell(space);
  *space_p = space;
  return KVS_OK;
}

void kvsc_space_get_digest(const kvsc_space *space, uint8_t digest[KVS_DIGEST_SIZE])
{
  if (space != NULL && digest != NULL)
    memcpy(digest, space->digest, KVS_DIGEST_SIZE);
}

/* A space that is to be told, or NULL. With the mutex. */
static kvsc_space *next_due_space(kvsc_client *client)
{
  for (uint32_t i = 0; i < client->n_spaces; i++) {
    if (is_due(client->spaces[i]))
      return client->spaces[i];
  }
  return NULL;
}

/* KVS_PENDING: it waits on. KVS_OK: it may start. Else what it ends with. With the mutex. */
static kvs_status look_at_put(const struct client_op *op)
{
  const kvsc_client *client = op->client;
  const kvsc_space *space = op->space;
  uint64_t now_ns = kvi_now_ns();

  if (op->kind == OP_GET)
    return KVS_OK; /* its bytes are decided; what is left to do waits for nothing */
  if (now_ns >= op->deadline_ns)
    return KVS_ERR_DEADLINE;
  if (!client->connected)
    return KVS_ERR_UNREACHABLE;
  if (now_ns < op->not_before_ns)
    return KVS_PENDING;
  if (space->told_epoch == client->epoch)
    return KVS_OK;
  if (!space->opening && space->asked_epoch == client->epoch)
    return space->refused;
  return KVS_PENDING;
}

/* When a put that waits is to be looked at again, if nothing happens before. With the mutex. */
static kvi_deadline next_look(const struct client_op *op)
{
  return (kvi_deadline){kvi_now_ns() < op->not_before_ns ? op->not_before_ns : op->deadline_ns};
}

/* A put that does not wait any longer, or NULL and when to look again. With the mutex. */
static struct client_op *next_put(kvsc_client *client, kvs_status *status_p, kvi_deadline *wake_p)
{
  *wake_p = kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);
  kvi_list_for_each(&client->waiting, node)
  {
    struct client_op *op = kvi_list_entry(node, struct client_op, node);

    *status_p = look_at_put(op);
    if (*status_p != KVS_PENDING) {
      kvi_list_remove(&client->waiting, node);
      return op;
    }
    *wake_p = kvi_deadline_earlier(*wake_p, next_look(op));
  }
  return NULL;
}

static void end_waiting(kvsc_client *client)
{
  kvi_list_node *node;

  while ((node = kvi_list_pop_front(&client->waiting)) != NULL)
    kvi_client_transfer_fail(kvi_list_entry(node, struct client_op, node), KVS_ERR_CLOSED);
}

/* One put. With the mutex, which is released meanwhile. */
static void start_or_fail(struct client_op *op, kvs_status status)
{
  kvsc_client *client = op->client;

  if (status != KVS_OK) {
    kvi_client_transfer_fail(op, status);
    return;
  }
  op->state = OP_RUNNING;
  pthread_mutex_unlock(&client->mutex);
  kvi_client_transfer_resume(op);
  pthread_mutex_lock(&client->mutex);
}

void kvi_client_worker(void *arg)
{
  kvsc_client *client = arg;

  pthread_mutex_lock(&client->mutex);
  while (!client->closing) {
    kvsc_space *space = next_due_space(client);
    kvs_status status = KVS_OK;
    struct client_op *op;
    kvi_deadline wake;

    if (space != NULL) {
      pthread_mutex_unlock(&client->mutex);
      kvi_client_space_tell(space);
      pthread_mutex_lock(&client->mutex);
      continue;
    }
    op = next_put(client, &status, &wake);
    if (op != NULL)
      start_or_fail(op, status);
    else
      (void)kvi_cond_wait(&client->work, &client->mutex, wake);
  }
  end_waiting(client);
  pthread_mutex_unlock(&client->mutex);
}
