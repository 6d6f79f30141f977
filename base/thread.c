#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* What the thread and its starter share. */
struct kvi_thread_shared {
  kvi_thread_fn fn;
  void *arg;
  char name[KVI_THREAD_NAME_MAX];
  pthread_mutex_t lock; /* guards done; a leaf: nothing is locked under it */
  pthread_cond_t ended;
  bool done;
};

static struct kvi_thread_shared *new_shared(const char *name, kvi_thread_fn fn, void *arg)
{
  struct kvi_thread_shared *shared = calloc(1, sizeof *shared);

  if (shared == NULL)
    return NULL;
  if (kvi_cond_init(&shared->ended) != KVS_OK) {
    free(shared);
    return NULL;
  }
  pthread_mutex_init(&shared->lock, NULL);
  shared->fn = fn;
  shared->arg = arg;
  strncpy(shared->name, name, sizeof shared->name - 1);
  return shared;
}

static void free_shared(struct kvi_thread_shared *shared)
{
  pthread_mutex_destroy(&shared->lock);
  pthread_cond_destroy(&shared->ended);
  free(shared);
}

static void *run(void *ctx)
{
  struct kvi_thread_shared *shared = ctx;

  pthread_setname_np(pthread_self(), shared->name);
  shared->fn(shared->arg);
  pthread_mutex_lock(&shared->lock);
  shared->done = true;
  pthread_cond_signal(&shared->ended);
  pthread_mutex_unlock(&shared->lock);
  return NULL;
}

kvs_status kvi_thread_start(kvi_thread *thread, const char *name, kvi_thread_fn fn, void *arg)
{
  struct kvi_thread_shared *shared;
  sigset_t all, before;
  int error;

  if (thread->started || name == NULL || fn == NULL)
    return KVS_ERR_INVALID;
  shared = new_shared(name, fn, arg);
  if (shared == NULL)
    return KVS_ERR_NOMEM;

  sigfillset(&all); /* a thread inherits the mask of its creator: there is no instant at which a signal could
                       reach it */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&thread->handle, NULL, run, shared);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    free_shared(shared);
    errno = error;
    kvi_log_error("thread %s could not be started: %m", name);
    return KVS_ERR_SYSTEM;
  }
  thread->shared = shared;
  thread->started = true;
  return KVS_OK;
}

void kvi_thread_join(kvi_thread *thread)
{
  if (!thread->started)
    return;
  pthread_join(thread->handle, NULL);
  free_shared(thread->shared);
  thread->shared = NULL;
  thread->started = false;
}

kvs_status kvi_thread_join_until(kvi_thread *thread, kvi_deadline deadline)
{
  struct kvi_thread_shared *shared = thread->shared;
  kvs_status status = KVS_OK;

  if (!thread->started)
    return KVS_OK;
  /* not pthread_clockjoin_np(), which ThreadSanitizer does not know */
  pthread_mutex_lock(&shared->lock);
  while (!shared->done && status == KVS_OK)
    status = kvi_cond_wait(&shared->ended, &shared->lock, deadline);
  bool done = shared->done;
  pthread_mutex_unlock(&shared->lock);
  if (!done)
    return KVS_ERR_DEADLINE;
  kvi_thread_join(thread); /* it is past its last line */
  return KVS_OK;
}

uint64_t kvi_thread_id(void)
{
  static _Atomic uint64_t last_id;
  static _Thread_local uint64_t id;

  if (id == 0)
    id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) +
         1; /* relaxed: only uniqueness counts */
  return id;
}

void kvi_owner_bind(kvi_owner *owner)
{
  /* acquire: what the owner before wrote is seen, if it went through kvi_owner_release() */
  uint64_t holder = atomic_load_explicit(&owner->thread_id, memory_order_acquire);

  assert(holder == 0);
  (void)holder;
  atomic_store_explicit(&owner->thread_id, kvi_thread_id(), memory_order_relaxed);
}

void kvi_owner_release(kvi_owner *owner)
{
  assert(kvi_owner_is_self(owner));
  atomic_store_explicit(&owner->thread_id, 0, memory_order_release);
}

bool kvi_owner_is_self(const kvi_owner *owner)
{
  /* relaxed: a thread always sees its own last store, and no other value equals its id */
  return atomic_load_explicit(&owner->thread_id, memory_order_relaxed) == kvi_thread_id();
}

kvs_status kvi_cond_init(pthread_cond_t *cond)
{
  pthread_condattr_t attributes;
  int error = pthread_condattr_init(&attributes);

  if (error != 0)
    return KVS_ERR_SYSTEM;
  error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  if (error == 0)
    error = pthread_cond_init(cond, &attributes);
  pthread_condattr_destroy(&attributes);
  return error == 0 ? KVS_OK : KVS_ERR_SYSTEM;
}

kvs_status kvi_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, kvi_deadline deadline)
{
  struct timespec at = kvi_deadline_timespec(deadline);

  return pthread_cond_timedwait(cond, mutex, &at) == ETIMEDOUT ? KVS_ERR_DEADLINE : KVS_OK;
}
