/* client/decode_staging.c: the pool of buffers that coded chunks land in: bounded, and reused rather than freed. */
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"
#include "proto/limits.h"

static void remove_idle(struct kvi_decoders *decoders, struct decode *decode)
{
  kvi_list_remove(&decoders->idle, &decode->node);
  decoders->idle_bytes -= decode->room;
}

/* An idle buffer that holds length and is not much larger, or NULL. */
static struct decode *find_idle(struct kvi_decoders *decoders, uint64_t length)
{
  kvi_list_for_each(&decoders->idle, node)
  {
    struct decode *decode = kvi_list_entry(node, struct decode, node);

    if (decode->room >= length && decode->room / 2 <= length + DECODE_ROOM_STEP) {
      remove_idle(decoders, decode);
      return decode;
    }
  }
  return NULL;
}

/* Moves the buffers that have been idle longest from the pool to `freed` until at most idle_max and bytes_max bytes are there. */
static void trim(struct kvi_decoders *decoders, uint64_t idle_max, uint64_t bytes_max, kvi_list *freed)
{
  kvi_list_init(freed);
  while ((decoders->idle_bytes > idle_max || decoders->bytes > bytes_max) &&
         !kvi_list_is_empty(&decoders->idle)) {
    struct decode *decode = kvi_list_entry(kvi_list_last(&decoders->idle), struct decode, node);

    remove_idle(decoders, decode);
    decoders->bytes -= decode->room;
    kvi_list_push_back(freed, &decode->node);
  }
}

static void free_all(kvi_list *freed)
{
  while (!kvi_list_is_empty(freed))
    free(kvi_list_entry(kvi_list_pop_front(freed), struct decode, node));
}

/* Without the mutex, since the system is asked for such sizes. */
static struct decode *allocate(kvsc_client *client, kvi_list *freed, size_t room)
{
  struct decode *decode;

  pthread_mutex_unlock(&client->mutex);
  free_all(freed);
  decode = aligned_alloc(_Alignof(struct decode), sizeof(*decode) + room);
  pthread_mutex_lock(&client->mutex);
  if (decode == NULL)
    client->decoders.bytes -= room;
  else
    decode->room = room;
  return decode;
}

struct decode *kvi_decode_take(kvsc_client *client, uint64_t length)
{
  struct kvi_decoders *decoders = &client->decoders;
  struct decode *decode = find_idle(decoders, length);
  kvi_list freed;

  if (decode == NULL) {
    size_t room = (size_t)kvi_decode_room(length);

    if (room > decoders->bytes_max || decoders->bytes - decoders->idle_bytes > decoders->bytes_max - room)
      return NULL;
    decoders->bytes += room;
    trim(decoders, UINT64_MAX, decoders->bytes_max, &freed);
    decode = allocate(client, &freed, room);
  }
  if (decode != NULL) {
    size_t room = decode->room;

    memset(decode, 0, offsetof(struct decode, bytes));
    decode->room = room;
  }
  return decode;
}

void kvi_decode_give(kvsc_client *client, struct decode *decode)
{
  struct kvi_decoders *decoders = &client->decoders;
  kvi_list freed;

  decode->op = NULL;
  kvi_list_push_front(&decoders->idle, &decode->node);
  decoders->idle_bytes += decode->room;
  trim(decoders, kvi_decode_keep_max(decoders), UINT64_MAX, &freed);
  if (kvi_list_is_empty(&freed))
    return;
  pthread_mutex_unlock(&client->mutex);
  free_all(&freed);
  pthread_mutex_lock(&client->mutex);
}

void kvi_decode_free_idle(struct kvi_decoders *decoders)
{
  kvi_list freed;

  trim(decoders, 0, UINT64_MAX, &freed);
  free_all(&freed);
}
