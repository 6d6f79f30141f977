#include "base/queue.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/thread.h"

struct kvi_queue {
  pthread_mutex_t lock; /* guards all below; a leaf: nothing is locked under it */
  pthread_cond_t not_empty;
  pthread_cond_t not_full;
  size_t capacity;
  size_t head; /* place of the oldest item */
  size_t length;
  bool closed;
  void *ring[]; /* capacity places */
};

kvs_status kvi_queue_create(size_t capacity, kvi_queue **queue_p)
{
  kvi_queue *queue;

  *queue_p = NULL;
  if (capacity == 0 || capacity > KVI_QUEUE_CAPACITY_MAX)
    return KVS_ERR_INVALID;
  queue = calloc(1, sizeof *queue + capacity * sizeof queue->ring[0]);
  if (queue == NULL)
    return KVS_ERR_NOMEM;
  queue->capacity = capacity;
  if (kvi_cond_init(&queue->not_empty) != KVS_OK)
    goto free_queue;
  if (kvi_cond_init(&queue->not_full) != KVS_OK)
    goto destroy_not_empty;
  pthread_mutex_init(&queue->lock, NULL);
  *queue_p = queue;
  return KVS_OK;

destroy_not_empty:
  pthread_cond_destroy(&queue->not_empty);
free_queue:
  free(queue);
  return KVS_ERR_SYSTEM;
}

/* Both with the lock held. */

static void append(kvi_queue *queue, void *item)
{
  queue->ring[(queue->head + queue->length) % queue->capacity] = item;
  queue->length++;
  pthread_cond_signal(&queue->not_empty);
}

static void *take(kvi_queue *queue)
{
  void *item = queue->ring[queue->head];

  queue->head = (queue->head + 1) % queue->capacity;
  queue->length--;
  pthread_cond_signal(&queue->not_full);
  return item;
}

kvs_status kvi_queue_try_push(kvi_queue *queue, void *item)
{
  kvs_status status = KVS_OK;

  if (item == NULL)
    return KVS_ERR_INVALID;
  pthread_mutex_lock(&queue->lock);
  if (queue->closed)
    status = KVS_ERR_CLOSED;
  else if (queue->length == queue->capacity)
    status = KVS_ERR_BUSY;
  else
    append(queue, item);
  pthread_mutex_unlock(&queue->lock);
  return status;
}

kvs_status kvi_queue_push(kvi_queue *queue, void *item, kvi_deadline deadline)
{
  kvs_status status = KVS_OK;

  if (item == NULL)
    return KVS_ERR_INVALID;
  pthread_mutex_lock(&queue->lock);
  while (!queue->closed && queue->length == queue->capacity && status == KVS_OK)
    status = kvi_cond_wait(&queue->not_full, &queue->lock, deadline);
  if (queue->closed) {
    status = KVS_ERR_CLOSED;
  } else if (queue->length < queue->capacity) {
    append(queue, item); /* also when room came at the very deadline */
    status = KVS_OK;
  }
  pthread_mutex_unlock(&queue->lock);
  return status;
}

kvs_status kvi_queue_try_pop(kvi_queue *queue, void **item_p)
{
  kvs_status status = KVS_OK;

  *item_p = NULL;
  pthread_mutex_lock(&queue->lock);
  if (queue->length > 0)
    *item_p = take(queue);
  else
    status = queue->closed ? KVS_ERR_CLOSED : KVS_ERR_BUSY;
  pthread_mutex_unlock(&queue->lock);
  return status;
}

kvs_status kvi_queue_pop(kvi_queue *queue, kvi_deadline deadline, void **item_p)
{
  kvs_status status = KVS_OK;

  *item_p = NULL;
  pthread_mutex_lock(&queue->lock);
  while (queue->length == 0 && !queue->closed && status == KVS_OK)
    status = kvi_cond_wait(&queue->not_empty, &queue->lock, deadline);
  if (queue->length > 0) {
    *item_p = take(queue);
    status = KVS_OK;
  } else if (queue->closed) {
    status = KVS_ERR_CLOSED;
  }
  pthread_mutex_unlock(&queue->lock);
  return status;
}

void kvi_queue_close(kvi_queue *queue)
{
  pthread_mutex_lock(&queue->lock);
  queue->closed = true;
  pthread_cond_broadcast(&queue->not_empty);
  pthread_cond_broadcast(&queue->not_full);
  pthread_mutex_unlock(&queue->lock);
}

size_t kvi_queue_length(kvi_queue *queue)
{
  pthread_mutex_lock(&queue->lock);
  size_t length = queue->length;
  pthread_mutex_unlock(&queue->lock);
  return length;
}

void kvi_queue_destroy(kvi_queue *queue)
{
  if (queue == NULL)
    return;
  pthread_cond_destroy(&queue->not_full);
  pthread_cond_destroy(&queue->not_empty);
  pthread_mutex_destroy(&queue->lock);
  free(queue);
}
