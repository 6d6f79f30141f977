/*
 * wall_clock: a library for LD_PRELOAD. Whenever the program itself asks for the time of day it gets another day, years back or ahead;
 * the monotonic clock, and libraries, are left alone. What rests on the wall clock breaks. RTLD_NEXT and dladdr are GNU's.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define DAY_S (24L * 60L * 60L)

/* Whether `from` lies in the program and not in a library. */
static int is_program(const void *from)
{
  Dl_info info;

  return dladdr(from, &info) != 0 && info.dli_fname && strstr(info.dli_fname, ".so") == NULL;
}

static time_t jump(void)
{
  static atomic_uint calls;

  return ((long)(atomic_fetch_add(&calls, 1) * 7919u % 6000u) - 3000L) * DAY_S;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *now)
{
  static int (*next)(clockid_t, struct timespec *);
  int result;

  if (!next)
    *(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
  result = next(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) &&
      is_program(__builtin_return_address(0)))
    now->tv_sec += jump();
  return result;
}

__attribute__((visibility("default"))) time_t time(time_t *now_p)
{
  struct timespec now;

  clock_gettime(CLOCK_REALTIME, &now);
  if (is_program(__builtin_return_address(0)))
    now.tv_sec += jump();
  if (now_p)
    *now_p = now.tv_sec;
  return now.tv_sec;
}
