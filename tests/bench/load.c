#include "tests/bench/load.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

double bench_process_cpu(pid_t pid)
{
  clockid_t clock;
  struct timespec used;

  if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
    return 0.0;
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Ticks of a process, if it is a thread of the kernel: a child of the second process. */
static unsigned long long kernel_ticks(const char *pid)
{
  unsigned long long user = 0, system = 0;
  char path[64], line[512] = "";
  const char *rest;
  long parent = 0;
  FILE *stat;

  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  stat = fopen(path, "re");
  if (stat == NULL)
    return 0;
  rest = fgets(line, sizeof line, stat) != NULL ? strrchr(line, ')') : NULL; /* names hold anything */
  fclose(stat);
  if (rest == NULL)
    return 0;
  /* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers there */
  if (sscanf(rest, ") %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &parent, &user, &system) != 3)
    return 0;
  return parent == 2 ? user + system : 0;
}

double bench_kernel_cpu(void)
{
  DIR *processes = opendir("/proc");
  const struct dirent *entry;
  unsigned long long ticks = 0;

  if (processes == NULL)
    return 0.0;
  while ((entry = readdir(processes)) != NULL)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
      ticks += kernel_ticks(entry->d_name);
  closedir(processes);
  return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

bool bench_load_read(struct bench_load *load)
{
  unsigned long long user, nice, system, idle, iowait, irq, softirq;
  FILE *stat = fopen("/proc/stat", "re");
  int fields;

  if (stat == NULL)
    return false;
  /* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers there */
  fields = fscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq,
                  &softirq);
  fclose(stat);
  if (fields != 7)
    return false;
  load->at_ns = kvi_now_ns();
  /*
   * Interrupts count as idle: kernels that account for them apart leave them out of processes' clocks too, and on a
   * loopback they are our own.
   */
  load->idle = (double)(idle + iowait + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
  return true;
}

double bench_load_of_others(const struct bench_load *from, const struct bench_load *to, double ours)
{
  double seconds = (double)(to->at_ns - from->at_ns) / 1e9;
  double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
  double others = seconds * cores - (to->idle - from->idle) - ours;

  return seconds > 0.0 && others > 0.0 ? others / seconds : 0.0;
}
