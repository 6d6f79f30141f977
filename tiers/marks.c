/*
 * tiers/marks.c: see marks.h. The thread sleeps on a condition of the store's lock: between the marks nothing runs and nothing is looked at.
 *
 *     used   ..... high mark: woken .......... low mark: done, asleep
 *                     |  nothing it may take: stuck, asleep until a chunk becomes clean or another thread evicts one
 */
#include "tiers/marks.h"

#include <stdlib.h>

#include "base/thread.h"
#include "tiers/store_private.h"

#define STEPS_LOCKED 16u /* chunks in one hold of the lock */

struct kvi_marks {
  struct kvi_store *store;
  uint64_t low_bytes;
  kvi_thread thread;
  pthread_cond_t wake;
  /* guarded by store->lock */
  uint64_t hidden; /* so many clean chunks in a row have to stay for a lease */
  bool wanted, stuck, stop;
};

/* What is taken and stays taken: readers of chunks that are gone give their room back by themselves. */
static uint64_t used_bytes(const struct kvi_store *store)
{
  struct kvi_tier_usage usage;

  store->dram->ops->usage(store->dram, &usage);
  return usage.used_bytes - usage.zombie_bytes;
}

/* One hold's worth. False: that was all. */
static bool demote_some_locked(struct kvi_marks *marks)
{
  bool hidden;

  for (uint32_t i = 0; i < STEPS_LOCKED; i++) {
    if (used_bytes(marks->store) <= marks->low_bytes)
      return false;
    if (kvi_store_demote_one_locked(marks->store, &hidden)) {
      marks->hidden = 0;
      continue;
    }
    marks->hidden += KVI_BATCH_LOCKED;
    marks->stuck = !hidden || marks->hidden >= kvi_clean_length_locked(marks->store);
    return !marks->stuck;
  }
  return true;
}

static void run(void *arg)
{
  struct kvi_marks *marks = arg;
  struct kvi_store *store = marks->store;

  pthread_mutex_lock(&store->lock);
  while (!marks->stop) {
    if (!marks->wanted) {
      pthread_cond_wait(&marks->wake, &store->lock);
      continue;
    }
    marks->stuck = false;
    marks->wanted = demote_some_locked(marks);
    pthread_mutex_unlock(&store->lock); /* others have their turn */
    pthread_mutex_lock(&store->lock);
  }
  pthread_mutex_unlock(&store->lock);
}

static void want_locked(struct kvi_marks *marks)
{
  marks->wanted = true;
  marks->hidden = 0;
  pthread_cond_signal(&marks->wake);
}

void kvi_marks_crossed(void *ctx)
{
  struct kvi_store *store = ctx;

  pthread_mutex_lock(&store->lock);
  if (store->marks)
    want_locked(store->marks);
  pthread_mutex_unlock(&store->lock);
}

void kvi_marks_again_locked(struct kvi_store *store)
{
  struct kvi_marks *marks = store->marks;

  if (marks && marks->stuck && !marks->wanted && kvi_store_next_is_demotion_locked(store))
    want_locked(marks);
}

kvs_status kvi_marks_create(struct kvi_store *store, struct kvi_marks **marks_p)
{
  uint64_t capacity = store->dram_attr.capacity_bytes;
  struct kvi_marks *marks = calloc(1, sizeof(*marks));
  kvs_status status;

  *marks_p = NULL;
  if (!marks)
    return KVS_ERR_NOMEM;
  marks->store = store;
  marks->low_bytes =
      capacity / 100 * store->config.dram_low_mark + capacity % 100 * store->config.dram_low_mark / 100;
  pthread_cond_init(&marks->wake, NULL);
  status = kvi_thread_start(&marks->thread, "kvi-marks", run, marks);
  if (status != KVS_OK) {
    pthread_cond_destroy(&marks->wake);
    free(marks);
    return status;
  }
  *marks_p = marks;
  return KVS_OK;
}

void kvi_marks_destroy(struct kvi_marks *marks)
{
  if (!marks)
    return;
  pthread_mutex_lock(&marks->store->lock);
  marks->stop = true;
  pthread_cond_signal(&marks->wake);
  pthread_mutex_unlock(&marks->store->lock);
  kvi_thread_join(&marks->thread);
  pthread_cond_destroy(&marks->wake);
  free(marks);
}
