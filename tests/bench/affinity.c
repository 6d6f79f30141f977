#include "tests/bench/affinity.h"

#include <sched.h>

int bench_cores(void)
{
  cpu_set_t allowed;

  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return 1;
  return CPU_COUNT(&allowed);
}

bool bench_run_on(int core)
{
  cpu_set_t allowed;
  cpu_set_t one;
  int seen = 0;

  if (core == BENCH_CORE_ANY)
    return true;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return false;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || seen++ != core)
      continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0;
  }
  return false;
}
