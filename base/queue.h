/*
 * base/queue.h: a bounded queue of pointers, many producers to one consumer, in order of arrival.
 *
 * push is for any thread, pop for one at a time (the consumer; several at once are safe, but then there is no
 * order between them). Each call takes one mutex; nothing is allocated after create. Items are the caller's:
 * the queue never looks at them.
 */
#ifndef KVI_BASE_QUEUE_H
#define KVI_BASE_QUEUE_H

#include <stddef.h>

#include <kvasir/status.h>

#include "base/clock.h"

#define KVI_QUEUE_CAPACITY_MAX (1u << 24)

typedef struct kvi_queue kvi_queue;

/* Errors: KVS_ERR_INVALID (capacity 0 or above KVI_QUEUE_CAPACITY_MAX), KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_queue_create(size_t capacity, kvi_queue **queue_p);

/* Does not wait. KVS_ERR_BUSY: full. KVS_ERR_CLOSED: closed. KVS_ERR_INVALID: item is NULL. */
kvs_status kvi_queue_try_push(kvi_queue *queue, void *item);

/* Waits for room. KVS_ERR_DEADLINE: still full then. KVS_ERR_CLOSED, KVS_ERR_INVALID as above. */
kvs_status kvi_queue_push(kvi_queue *queue, void *item, kvi_deadline deadline);

/* Does not wait. KVS_ERR_BUSY: empty and open. KVS_ERR_CLOSED: empty and closed. */
kvs_status kvi_queue_try_pop(kvi_queue *queue, void **item_p);

/* Waits for an item. KVS_ERR_DEADLINE: none came. KVS_ERR_CLOSED: closed, and every item has been taken. */
kvs_status kvi_queue_pop(kvi_queue *queue, kvi_deadline deadline, void **item_p);

/* From now on nothing is pushed; what is queued may still be popped. Wakes all waiters. May be called again.
 */
void kvi_queue_close(kvi_queue *queue);

size_t kvi_queue_length(kvi_queue *queue);

/* No other thread may be in a call. Items left are the caller's to pop before. NULL is allowed. */
void kvi_queue_destroy(kvi_queue *queue);

#endif
