/* guard.c: a thread that waits for signals while the main thread is busy. */
#include "server/node/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int wait_signal(const sigset_t *set, uint64_t limit_ms)
{
  kvi_deadline deadline = kvi_deadline_from_ms(limit_ms);
  int number;

  do {
    uint64_t left = kvi_deadline_remaining_ns(deadline);
    struct timespec time = {.tv_sec = (time_t)(left / KVI_NS_PER_S), .tv_nsec = (long)(left % KVI_NS_PER_S)};

    number = limit_ms == KVI_GUARD_NO_LIMIT ? sigwaitinfo(set, NULL) : sigtimedwait(set, NULL, &time);
  } while (number < 0 && errno == EINTR);
  return number;
}

static void run(void *arg)
{
  struct kvi_guard *guard = arg;
  sigset_t set;
  int number;

  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);
  number = wait_signal(&set, guard->limit_ms);
  if (number == SIGUSR1)
    return;
  if (number > 0)
    kvi_log_warn("SIG%s during %s: ended at once", sigabbrev_np(number), guard->phase);
  else
    kvi_log_error("%s took longer than %llu ms: ended by force", guard->phase,
                  (unsigned long long)guard->limit_ms);
  _exit(guard->exit_code);
}

kvs_status kvi_guard_start(struct kvi_guard *guard, const char *phase, uint64_t limit_ms, int exit_code)
{
  *guard = (struct kvi_guard){.limit_ms = limit_ms, .exit_code = exit_code, .phase = phase};
  return kvi_thread_start(&guard->thread, "kvi-guard", run, guard);
}

void kvi_guard_stop(struct kvi_guard *guard)
{
  if (!guard->thread.started)
    return;
  pthread_kill(guard->thread.handle, SIGUSR1);
  kvi_thread_join(&guard->thread);
}
