/* client/client.c: a client's life: opened over a wire, told of its state, closed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/client_internal.h"
#include "proto/limits.h"
#include "proto/space.h"

#define DEFAULT_TIMEOUT_MS 5000u
#define DEFAULT_OPERATIONS 4096u

bool kvi_client_take_struct(void *dst, size_t dst_size, const void *src)
{
  uint32_t size;

  memcpy(&size, src, sizeof(size));
  if (size < sizeof(size))
    return false;
  memset(dst, 0, dst_size);
  memcpy(dst, src, size < dst_size ? size : dst_size);
  return true;
}

kvs_status kvi_client_block(kvsc_client *client)
{
  if (kvi_forked(client->pid))
    return KVS_ERR_FORKED;
  pthread_mutex_lock(&client->mutex);
  if (client->closing) {
    pthread_mutex_unlock(&client->mutex);
    return KVS_ERR_CLOSED;
  }
  client->blocked++;
  return KVS_OK;
}

void kvi_client_unblock(kvsc_client *client)
{
  client->blocked--;
  if (client->closing)
    pthread_cond_broadcast(&client->unblocked);
  pthread_mutex_unlock(&client->mutex);
}

/* From the wire. */
static void state_changed(void *ctx, bool connected, uint64_t incarnation)
{
  kvsc_client *client = ctx;

  (void)incarnation; /* a new connection is enough to tell all spaces again */
  pthread_mutex_lock(&client->mutex);
  client->connected = connected;
  if (connected) {
    client->epoch++;
    if (client->epoch > 1)
      client->counters.reconnects++;
  }
  pthread_cond_broadcast(&client->state_changed);
  pthread_cond_signal(&client->work);
  pthread_mutex_unlock(&client->mutex);
}

static kvs_status take_options(const kvsc_options *options, kvsc_options *options_p)
{
  if (options == NULL || !kvi_client_take_struct(options_p, sizeof(*options_p), options))
    return KVS_ERR_INVALID;
  if (options_p->timeout_ms == 0)
    options_p->timeout_ms = DEFAULT_TIMEOUT_MS;
  if (options_p->max_operations == 0)
    options_p->max_operations = DEFAULT_OPERATIONS;
  if (options_p->timeout_ms > KVI_TIMEOUT_MS_MAX || options_p->max_operations > CLIENT_OPERATIONS_MAX ||
      options_p->decode_threads > DECODE_THREADS_MAX || options_p->decode_mib > DECODE_MIB_MAX ||
      options_p->encode > KVSC_ENCODE_CACHEGEN || options_p->encode_planes > KVI_CODEC_PLANES_MAX ||
      options_p->encode_threads > ENCODE_THREADS_MAX || options_p->encode_mib > ENCODE_MIB_MAX)
    return KVS_ERR_INVALID;
  return KVS_OK;
}

static kvs_status make_slots(kvsc_client *client, uint32_t n)
{
  client->slots = calloc(n, sizeof(*client->slots));
  client->free_slots = malloc(n * sizeof(*client->free_slots));
  if (client->slots == NULL || client->free_slots == NULL)
    return KVS_ERR_NOMEM;
  client->n_slots = client->n_free = n;
  for (uint32_t i = 0; i < n; i++)
    client->free_slots[i] = n - 1 - i; /* slot 0 on top */
  return KVS_OK;
}

/* Frees what is there; nothing runs any more. */
static void free_client(kvsc_client *client)
{
  for (uint32_t i = 0; i < client->n_slots; i++) {
    if (client->slots[i].has_cond)
      pthread_cond_destroy(&client->slots[i].changed);
    free(client->slots[i].big);
  }
  for (uint32_t i = 0; i < client->n_spaces; i++) {
    kvi_space_free(client->spaces[i]->desc);
    free(client->spaces[i]);
  }
  if (client->event_fd >= 0)
    close(client->event_fd);
  kvi_decoders_destroy(&client->decoders);
  kvi_encoders_destroy(&client->encoders);
  free(client->free_slots);
  free(client->slots);
  pthread_cond_destroy(&client->work);
  pthread_cond_destroy(&client->state_changed);
  pthread_cond_destroy(&client->unblocked);
  pthread_mutex_destroy(&client->mutex);
  free(client);
}

static kvsc_client *new_client(const kvsc_options *options)
{
  kvsc_client *client = calloc(1, sizeof(*client));

  if (client == NULL)
    return NULL;
  client->event_fd = -1;
  client->pid = getpid();
  kvi_list_init(&client->completed);
  kvi_list_init(&client->waiting);
  pthread_mutex_init(&client->mutex, NULL);
  if (kvi_cond_init(&client->unblocked) != KVS_OK)
    goto destroy_mutex;
  if (kvi_cond_init(&client->state_changed) != KVS_OK)
    goto destroy_unblocked;
  if (kvi_cond_init(&client->work) != KVS_OK)
    goto destroy_state_changed;
  if (kvi_decoders_init(&client->decoders, options) != KVS_OK)
    goto destroy_work;
  if (kvi_encoders_init(&client->encoders, options) != KVS_OK)
    goto destroy_decoders;
  return client;

destroy_decoders:
  kvi_decoders_destroy(&client->decoders);
destroy_work:
  pthread_cond_destroy(&client->work);
destroy_state_changed:
  pthread_cond_destroy(&client->state_changed);
destroy_unblocked:
  pthread_cond_destroy(&client->unblocked);
destroy_mutex:
  pthread_mutex_destroy(&client->mutex);
  free(client);
  return NULL;
}

/*
 * Waits for the first connection. The wire says when it has one, but not when it was refused for its version or credential: that
 * is looked at now and then. KVS_ERR_VERSION; everything else is no reason not to open.
 */
static kvs_status wait_connected(kvsc_client *client, uint32_t wait_ms)
{
  const uint64_t look_ms = 20;
  kvi_deadline deadline = kvi_deadline_from_ms(wait_ms);
  kvs_status status = KVS_OK;

  pthread_mutex_lock(&client->mutex);
  while (!client->connected && !kvi_deadline_expired(deadline) && status != KVS_ERR_VERSION &&
         status != KVS_ERR_DENIED) {
    (void)kvi_cond_wait(&client->state_changed, &client->mutex,
                        kvi_deadline_earlier(deadline, kvi_deadline_from_ms(look_ms)));
    pthread_mutex_unlock(&client->mutex);
    status = kvsc_state(client, NULL, 0);
    pthread_mutex_lock(&client->mutex);
  }
  pthread_mutex_unlock(&client->mutex);
  return status == KVS_ERR_VERSION ? status : KVS_OK;
}

kvs_status kvi_client_open_over(const kvsc_options *options, kvi_client_wire_factory *factory,
                                void *factory_ctx, kvsc_client **client_p)
{
  return kvi_client_open_telling(options, factory, factory_ctx, NULL, client_p);
}

kvs_status kvi_client_open_telling(const kvsc_options *options, kvi_client_wire_factory *factory,
                                   void *factory_ctx, kvi_client_wire_text *wire_text, kvsc_client **client_p)
{
  kvsc_options taken;
  kvsc_client *client;
  kvs_status status;

  *client_p = NULL;
  status = take_options(options, &taken);
  if (status != KVS_OK)
    return status;
  client = new_client(&taken);
  if (client == NULL)
    return KVS_ERR_NOMEM;
  client->timeout_ms = taken.timeout_ms;
  status = make_slots(client, taken.max_operations);
  if (status != KVS_OK)
    goto free_all;
  client->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (client->event_fd < 0) {
    kvi_log_error("cannot make an eventfd: %m");
    status = KVS_ERR_SYSTEM;
    goto free_all;
  }
  client->wire_text = wire_text;
  status = factory(factory_ctx, &taken, state_changed, client, &client->wire);
  if (status != KVS_OK)
    goto free_all;
  status = kvi_thread_start(&client->worker, "kvasir-client", kvi_client_worker, client);
  if (status != KVS_OK)
    goto destroy_wire;
  kvi_encoders_start(client);
  status = taken.wait_connected_ms == 0 ? KVS_OK : wait_connected(client, taken.wait_connected_ms);
  if (status != KVS_OK) {
    kvsc_close(client);
    return status;
  }
  *client_p = client;
  return KVS_OK;

destroy_wire:
  client->wire->ops->destroy(client->wire);
free_all:
  free_client(client);
  return status;
}

void kvsc_close(kvsc_client *client)
{
  if (client == NULL || kvi_forked(client->pid))
    return; /* in a child nothing of it is usable, not even to be freed */
  pthread_mutex_lock(&client->mutex);
  client->closing = true;
  pthread_cond_broadcast(&client->work);
  pthread_cond_broadcast(&client->state_changed);
  pthread_mutex_unlock(&client->mutex);
  kvi_thread_join(&client->worker);         /* it ends the puts that still waited */
  kvi_encoders_stop(client);                /* nobody gives the wire anything from here on */
  client->wire->ops->destroy(client->wire); /* ends all others, */
  kvi_decoders_stop(client);                /* save those that are being decoded */
  pthread_mutex_lock(&client->mutex);
  while (client->blocked > 0) /* all they wait for has ended: they are on their way out */
    (void)kvi_cond_wait(&client->unblocked, &client->mutex, kvi_deadline_from_ms(1000));
  pthread_mutex_unlock(&client->mutex);
  free_client(client);
}

kvs_status kvsc_state(kvsc_client *client, char *text, size_t size)
{
  kvs_status status;
  const char *words;

  if (text != NULL && size > 0)
    text[0] = '\0';
  if (client == NULL)
    return KVS_ERR_INVALID;
  if (!kvi_forked(client->pid) && client->wire_text != NULL)
    return client->wire_text(client->wire, text, size);
  if (kvi_forked(client->pid))
    status = KVS_ERR_FORKED;
  else
    status = client->wire->ops->connected(client->wire) ? KVS_OK : KVS_ERR_UNREACHABLE;
  words = status == KVS_OK ? "connected" : kvs_status_text(status);
  if (text != NULL && size > 0) {
    size_t length = strlen(words) < size ? strlen(words) : size - 1;

    memcpy(text, words, length);
    text[length] = '\0';
  }
  return status;
}

void kvsc_get_counters(kvsc_client *client, kvsc_counters *counters)
{
  kvsc_counters now;
  uint32_t size;

  if (client == NULL || counters == NULL || kvi_forked(client->pid))
    return;
  pthread_mutex_lock(&client->mutex);
  now = client->counters;
  now.in_flight = client->n_slots - client->n_free;
  pthread_mutex_unlock(&client->mutex);
  size = counters->struct_size < sizeof(now) ? counters->struct_size : (uint32_t)sizeof(now);
  now.struct_size = size;
  memcpy(counters, &now, size);
}
