/* proto/local/worker.c: the wire's one thread: goes on with puts that had to wait for an equal one. */
#include <stdlib.h>

#include "base/clock.h"
#include "proto/local/local_private.h"

void kvi_local_wait_answer(void *ctx, kvs_status status)
{
  struct local_wait *wait = ctx;
  struct local_wire *wire = wait->run->wire;

  /* The service may hold its lock: note the answer and leave. Signalled under the mutex, since afterwards wait is gone. */
  pthread_mutex_lock(&wire->mutex);
  wait->state = LOCAL_WAIT_ANSWERED;
  wait->answer = status;
  pthread_cond_broadcast(&wire->changed);
  pthread_mutex_unlock(&wire->mutex);
}

/* Takes an answered wait of the run, or NULL. Called with the mutex. */
static struct local_wait *take_answered(struct local_run *run)
{
  for (uint32_t i = 0; i < run->transfer->n_chunks; i++) {
    if (run->waits[i].state == LOCAL_WAIT_ANSWERED) {
      run->waits[i].state = LOCAL_WAIT_NONE;
      return &run->waits[i];
    }
  }
  return NULL;
}

/* One chunk whose equal put has ended. */
static void go_on(struct local_run *run, struct local_wait *wait)
{
  kvs_status status = KVS_EXISTS;

  if (wait->answer != KVS_OK) {
    wait->state = LOCAL_WAIT_ASKED; /* before put_begin: the answer may come before it returns */
    status = kvi_local_put_chunk(run, wait->chunk, wait);
    if (status == KVS_PENDING)
      return;
    wait->state = LOCAL_WAIT_NONE;
  }
  run->n_waits--;
  kvi_local_chunk_end(run, wait->chunk, status);
}

/* Ends all that still waits, then the transfer. */
static void finish(struct local_run *run, kvs_status stopped)
{
  const struct kvi_service *service = run->wire->service;
  struct kvi_transfer *transfer = run->transfer;

  for (uint32_t i = 0; i < transfer->n_chunks && run->n_waits > 0; i++) {
    struct local_wait *wait = &run->waits[i];
    kvs_status answer = stopped;
    bool asked, answered;

    pthread_mutex_lock(&run->wire->mutex);
    asked = wait->state != LOCAL_WAIT_NONE;
    pthread_mutex_unlock(&run->wire->mutex);
    if (!asked)
      continue;
    service->ops->put_unwait(service->self, wait); /* takes the service's lock: not under ours */
    pthread_mutex_lock(&run->wire->mutex);
    answered = wait->state == LOCAL_WAIT_ANSWERED;
    wait->state = LOCAL_WAIT_NONE;
    pthread_mutex_unlock(&run->wire->mutex);
    if (answered && wait->answer == KVS_OK)
      answer = KVS_EXISTS; /* it came in the last moment, and it is true */
    run->n_waits--;
    kvi_local_chunk_end(run, i, answer);
  }
  free(run->waits);
  free(run);
  kvi_local_run_done(transfer, stopped);
}

/* A run with something to do, taken off the list; or NULL and when to look again. Called with the mutex. */
static struct local_run *next_run(struct local_wire *wire, struct local_wait **wait_p, kvs_status *stopped_p,
                                  kvi_deadline *wake_p)
{
  kvi_deadline wake = kvi_deadline_from_ms(KVI_DEADLINE_MAX_MS);

  *wait_p = NULL;
  kvi_list_for_each(&wire->waiting, node)
  {
    struct local_run *run = kvi_list_entry(node, struct local_run, node);

    *stopped_p = kvi_local_run_stopped(run);
    *wait_p = *stopped_p == KVS_OK ? take_answered(run) : NULL;
    if (*stopped_p != KVS_OK || *wait_p != NULL) {
      kvi_list_remove(&wire->waiting, node);
      return run;
    }
    wake = kvi_deadline_earlier(wake, (kvi_deadline){run->transfer->deadline_ns});
  }
  *wake_p = wake;
  return NULL;
}

/* The run is in no list here, so cancel does not find it: it is put into `running` while its callbacks run. */
static void work(struct local_wire *wire, struct local_run *run, struct local_wait *wait, kvs_status stopped)
{
  kvi_list_push_back(&wire->running, &run->node);
  pthread_mutex_unlock(&wire->mutex);
  if (stopped == KVS_OK) {
    go_on(run, wait);
    if (run->n_waits == 0)
      stopped = kvi_local_run_stopped(run); /* what cut the last chunk short is the end of the whole */
  }
  pthread_mutex_lock(&wire->mutex);
  kvi_list_remove(&wire->running, &run->node);
  if (stopped == KVS_OK && run->n_waits > 0) {
    kvi_list_push_back(&wire->waiting, &run->node);
    return;
  }
  pthread_mutex_unlock(&wire->mutex);
  finish(run, stopped);
  pthread_mutex_lock(&wire->mutex);
  pthread_cond_broadcast(&wire->changed); /* for destroy, which waits for empty lists */
}

void kvi_local_worker(void *arg)
{
  struct local_wire *wire = arg;

  pthread_mutex_lock(&wire->mutex);
  for (;;) {
    kvs_status stopped = KVS_OK;
    kvi_deadline wake;
    struct local_wait *wait;
    struct local_run *run = next_run(wire, &wait, &stopped, &wake);

    if (run != NULL)
      work(wire, run, wait, stopped);
    else if (wire->closing && kvi_list_is_empty(&wire->running))
      break; /* nobody can hand over any more */
    else
      (void)kvi_cond_wait(&wire->changed, &wire->mutex, wake);
  }
  pthread_mutex_unlock(&wire->mutex);
}
