/* store_waiting.h: gets that wait for a medium, to their end, however long that takes. */
#ifndef KVI_TESTS_UNIT_TIERS_STORE_WAITING_H
#define KVI_TESTS_UNIT_TIERS_STORE_WAITING_H

#include "tests/unit/tiers/testing.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

#define PATIENCE_MS 60000u /* for what must happen, on a loaded machine */

/* Polls until something holds that other threads are about to make true. */
#define AWAIT(condition)                                                                                     \
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); !(condition); usleep(500))                 \
  assert_false(kvi_deadline_expired(patience))

struct waiting {
  struct kvi_get_wait wait;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  uint32_t calls, cause;
  kvs_status status;
};

static inline void waiting_done(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  struct waiting *waiting = wait->user;

  pthread_mutex_lock(&waiting->mutex);
  waiting->calls++;
  waiting->status = status;
  waiting->cause = cause;
  pthread_cond_signal(&waiting->ended);
  pthread_mutex_unlock(&waiting->mutex);
}

/* As kvi_store_get_open, but for KVS_PENDING, which it waits for; KVS_ERR_DEADLINE: for longer than PATIENCE_MS. */
static inline kvs_status waiting_open(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                      const uint8_t *key, struct kvi_source *source_p, uint32_t *cause_p)
{
  struct waiting waiting = {.wait = {.done = waiting_done, .user = &waiting}};
  kvi_deadline deadline = kvi_deadline_from_ms(PATIENCE_MS);
  kvs_status status, waited = KVS_OK;

  pthread_mutex_init(&waiting.mutex, NULL);
  if (kvi_cond_init(&waiting.ended) != KVS_OK)
    abort();
  status = kvi_store_get_open(store, tenant, space, key, KEY_BYTES, &waiting.wait, source_p, cause_p);
  if (status == KVS_PENDING) {
    pthread_mutex_lock(&waiting.mutex);
    while (waiting.calls == 0 && waited == KVS_OK)
      waited = kvi_cond_wait(&waiting.ended, &waiting.mutex, deadline);
    status = waited == KVS_OK ? waiting.status : waited;
    *cause_p = waiting.cause;
    *source_p = waiting.wait.source;
    pthread_mutex_unlock(&waiting.mutex);
  }
  pthread_cond_destroy(&waiting.ended);
  pthread_mutex_destroy(&waiting.mutex);
  return status;
}

/* As testing_get. */
static inline kvs_status waiting_get(struct kvi_store *store, const char *tenant, const uint8_t *space,
                                     const uint8_t *key, uint64_t seed, uint32_t *cause_p)
{
  struct kvi_source source;
  kvs_status status = waiting_open(store, tenant, space, key, &source, cause_p);

  return testing_compare(store, status, &source, seed);
}

#endif
