/*
 * base/thread.h: named threads, owner checks, detection of fork.
 */
#ifndef KVI_BASE_THREAD_H
#define KVI_BASE_THREAD_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include <kvasir/status.h>

#include "base/clock.h"

#define KVI_THREAD_NAME_MAX 16u /* the kernel's limit, with its NUL; longer names are cut */

typedef void (*kvi_thread_fn)(void *arg);

/* Lies in its owner's struct; zeroed: not started. Used by one thread at a time. */
typedef struct kvi_thread {
  pthread_t handle;
  bool started;
  struct kvi_thread_shared *shared; /* with the thread itself; lives up to the join */
} kvi_thread;

/*
 * Runs fn(arg) in a new thread with all signals blocked, so that those of the host process are never
 * delivered to a thread of ours. Errors: KVS_ERR_INVALID (already started), KVS_ERR_NOMEM, KVS_ERR_SYSTEM
 * (logged).
 */
kvs_status kvi_thread_start(kvi_thread *thread, const char *name, kvi_thread_fn fn, void *arg);

/* Waits for its end, which the caller has asked for. Does nothing if it was not started. */
void kvi_thread_join(kvi_thread *thread);

/* The same, but gives up: KVS_ERR_DEADLINE, and the thread is still running and still to be joined. */
kvs_status kvi_thread_join_until(kvi_thread *thread, kvi_deadline deadline);

/* A small number that no two threads of the process ever share; never 0. */
uint64_t kvi_thread_id(void);

/*
 * Data has one owning thread. A kvi_owner lies beside the data and says which; kvi_owner_assert() stands at
 * the entry of every function that touches it, and is compiled out with NDEBUG.
 */
typedef struct kvi_owner {
  _Atomic uint64_t thread_id; /* 0: nobody's */
} kvi_owner;

/* The calling thread takes it. It must be nobody's. */
void kvi_owner_bind(kvi_owner *owner);
/* Gives it up; the next thread may bind it. */
void kvi_owner_release(kvi_owner *owner);
bool kvi_owner_is_self(const kvi_owner *owner);

#define kvi_owner_assert(owner) assert(kvi_owner_is_self(owner))

/* True in a child of the process whose getpid() was remembered in "pid": threads, sockets and locks are not
 * ours there. */
static inline bool kvi_forked(pid_t pid)
{
  return getpid() != pid;
}

/* A condition variable whose timed waits use CLOCK_MONOTONIC. KVS_ERR_SYSTEM if it cannot be made. */
kvs_status kvi_cond_init(pthread_cond_t *cond);

/* Waits with "mutex" held. KVS_OK: woken (perhaps for nothing: look at the condition again),
 * KVS_ERR_DEADLINE. */
kvs_status kvi_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, kvi_deadline deadline);

#endif
