/* expirer.c: the node's timer thread. */
#include "server/node/expirer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/store.h"

#define PERIOD_MS 250u

struct kvi_expirer {
  struct kvi_store *store;
  kvi_thread thread;
  pthread_mutex_t mutex; /* guards stop; not held while in the store */
  pthread_cond_t wake;
  bool stop;
  _Atomic uint64_t beat_ms;
};

static void run(void *arg)
{
  struct kvi_expirer *expirer = arg;

  pthread_mutex_lock(&expirer->mutex);
  while (!expirer->stop) {
    pthread_mutex_unlock(&expirer->mutex);
    kvi_store_expire(expirer->store);
    kvi_store_rent(expirer->store);
    /* relaxed: a number to look at, nothing is ordered by it */
    atomic_store_explicit(&expirer->beat_ms, kvi_now_ms(), memory_order_relaxed);
    pthread_mutex_lock(&expirer->mutex);
    kvi_deadline next = kvi_deadline_from_ms(PERIOD_MS);
    while (!expirer->stop && !kvi_deadline_expired(next))
      kvi_cond_wait(&expirer->wake, &expirer->mutex, next);
  }
  pthread_mutex_unlock(&expirer->mutex);
}

kvs_status kvi_expirer_start(struct kvi_store *store, struct kvi_expirer **expirer_p)
{
  struct kvi_expirer *expirer;
  kvs_status status;

  *expirer_p = NULL;
  expirer = calloc(1, sizeof(*expirer));
  if (expirer == NULL)
    return KVS_ERR_NOMEM;
  expirer->store = store;
  atomic_init(&expirer->beat_ms, kvi_now_ms());
  pthread_mutex_init(&expirer->mutex, NULL);
  status = kvi_cond_init(&expirer->wake);
  if (status != KVS_OK)
    goto destroy_mutex;
  status = kvi_thread_start(&expirer->thread, "kvi-timer", run, expirer);
  if (status != KVS_OK)
    goto destroy_cond;
  *expirer_p = expirer;
  return KVS_OK;

destroy_cond:
  pthread_cond_destroy(&expirer->wake);
destroy_mutex:
  pthread_mutex_destroy(&expirer->mutex);
  free(expirer);
  return status;
}

uint64_t kvi_expirer_age_ms(const struct kvi_expirer *expirer)
{
  uint64_t beat = atomic_load_explicit(&expirer->beat_ms, memory_order_relaxed), now = kvi_now_ms();

  return now > beat ? now - beat : 0;
}

void kvi_expirer_destroy(struct kvi_expirer *expirer)
{
  if (expirer == NULL)
    return;
  pthread_mutex_lock(&expirer->mutex);
  expirer->stop = true;
  pthread_cond_signal(&expirer->wake);
  pthread_mutex_unlock(&expirer->mutex);
  kvi_thread_join(&expirer->thread);
  pthread_cond_destroy(&expirer->wake);
  pthread_mutex_destroy(&expirer->mutex);
  free(expirer);
}
