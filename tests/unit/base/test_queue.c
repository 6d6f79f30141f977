#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "testing.h"

#include "base/queue.h"

static int things[8];

static void in_order_and_bounded(void **state)
{
  kvi_queue *queue = NULL;
  void *item = NULL;

  (void)state;
  assert_int_equal(kvi_queue_create(3, &queue), KVS_OK);
  assert_int_equal(kvi_queue_try_pop(queue, &item), KVS_ERR_BUSY);
  assert_int_equal(kvi_queue_try_push(queue, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvi_queue_push(queue, NULL, kvi_deadline_from_ms(0)), KVS_ERR_INVALID);
  for (size_t round = 0; round < 5; round++) { /* so that the ring wraps */
    for (size_t i = 0; i < 3; i++)
      assert_int_equal(kvi_queue_try_push(queue, &things[i]), KVS_OK);
    assert_int_equal(kvi_queue_try_push(queue, &things[3]), KVS_ERR_BUSY);
    assert_int_equal(kvi_queue_push(queue, &things[3], kvi_deadline_from_ms(1)), KVS_ERR_DEADLINE);
    assert_int_equal(kvi_queue_length(queue), 3);
    for (size_t i = 0; i < 2; i++) {
      assert_int_equal(kvi_queue_try_pop(queue, &item), KVS_OK);
      assert_ptr_equal(item, &things[i]);
    }
    assert_int_equal(kvi_queue_pop(queue, kvi_deadline_from_ms(0), &item), KVS_OK);
    assert_ptr_equal(item, &things[2]);
    assert_int_equal(kvi_queue_pop(queue, kvi_deadline_from_ms(1), &item), KVS_ERR_DEADLINE);
    assert_null(item);
  }
  kvi_queue_destroy(queue);
  kvi_queue_destroy(NULL);
}

static void wrong_arguments(void **state)
{
  kvi_queue *queue = (kvi_queue *)state;

  assert_int_equal(kvi_queue_create(0, &queue), KVS_ERR_INVALID);
  assert_null(queue);
  assert_int_equal(kvi_queue_create((size_t)KVI_QUEUE_CAPACITY_MAX + 1, &queue), KVS_ERR_INVALID);
}

static void closed_is_drained_first(void **state)
{
  kvi_queue *queue = NULL;
  void *item = NULL;

  (void)state;
  assert_int_equal(kvi_queue_create(2, &queue), KVS_OK);
  assert_int_equal(kvi_queue_try_push(queue, &things[0]), KVS_OK);
  kvi_queue_close(queue);
  kvi_queue_close(queue);
  assert_int_equal(kvi_queue_try_push(queue, &things[1]), KVS_ERR_CLOSED);
  assert_int_equal(kvi_queue_push(queue, &things[1], kvi_deadline_from_ms(WAIT_MS)), KVS_ERR_CLOSED);
  assert_int_equal(kvi_queue_pop(queue, kvi_deadline_from_ms(WAIT_MS), &item), KVS_OK);
  assert_ptr_equal(item, &things[0]);
  assert_int_equal(kvi_queue_pop(queue, kvi_deadline_from_ms(WAIT_MS), &item), KVS_ERR_CLOSED);
  assert_int_equal(kvi_queue_try_pop(queue, &item), KVS_ERR_CLOSED);
  kvi_queue_destroy(queue);
}

#define PRODUCERS 4
#define EACH      2000

typedef struct producer {
  kvi_queue *queue;
  uintptr_t number;
  kvs_status status;
} producer;

static void *produce(void *arg)
{
  producer *self = arg;

  for (uintptr_t i = 0; i < EACH && self->status == KVS_OK; i++)
    self->status =
        kvi_queue_push(self->queue, (void *)(self->number << 32 | (i + 1)), kvi_deadline_from_ms(WAIT_MS));
  return NULL;
}

static void many_producers(void **state)
{
  producer producers[PRODUCERS];
  pthread_t threads[PRODUCERS];
  uintptr_t last[PRODUCERS] = {0};
  kvi_queue *queue = NULL;
  void *item = NULL;

  (void)state;
  assert_int_equal(kvi_queue_create(7, &queue), KVS_OK);
  for (size_t i = 0; i < PRODUCERS; i++) {
    producers[i] = (producer){queue, i, KVS_OK};
    assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
  }
  for (size_t i = 0; i < (size_t)PRODUCERS * EACH; i++) {
    assert_int_equal(kvi_queue_pop(queue, kvi_deadline_from_ms(WAIT_MS), &item), KVS_OK);
    uintptr_t from = (uintptr_t)item >> 32, number = (uintptr_t)item & UINT32_MAX;
    assert_int_equal(number, last[from] + 1); /* each producer's items in its order, none lost, none twice */
    last[from] = number;
  }
  for (size_t i = 0; i < PRODUCERS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(producers[i].status, KVS_OK);
  }
  assert_int_equal(kvi_queue_length(queue), 0);
  kvi_queue_destroy(queue);
}

static void *wait_for_item(void *arg)
{
  producer *self = arg;
  void *item = NULL;

  self->status = kvi_queue_pop(self->queue, kvi_deadline_from_ms(WAIT_MS), &item);
  return NULL;
}

static void close_wakes_waiters(void **state)
{
  producer waiter = {0};
  pthread_t thread;

  (void)state;
  assert_int_equal(kvi_queue_create(1, &waiter.queue), KVS_OK);
  assert_int_equal(pthread_create(&thread, NULL, wait_for_item, &waiter), 0);
  kvi_queue_close(waiter.queue);
  pthread_join(thread, NULL);
  assert_int_equal(waiter.status, KVS_ERR_CLOSED);
  kvi_queue_destroy(waiter.queue);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(in_order_and_bounded),    cmocka_unit_test(wrong_arguments),
      cmocka_unit_test(closed_is_drained_first), cmocka_unit_test(many_producers),
      cmocka_unit_test(close_wakes_waiters),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
