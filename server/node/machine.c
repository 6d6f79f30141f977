/* machine.c: what the machine and the process have. */
#include "server/node/machine.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Up to n whole numbers from the first line of a file; returns how many there were. */
static size_t read_numbers(const char *path, uint64_t *numbers, size_t n)
{
  FILE *file = fopen(path, "re");
  char line[256] = "", *at = line, *end;
  size_t count = 0;

  if (file == NULL)
    return 0;
  if (fgets(line, sizeof(line), file) == NULL)
    line[0] = '\0';
  fclose(file);
  for (; count < n; at = end) {
    errno = 0;
    numbers[count] = strtoull(at, &end, 10);
    if (end == at || errno != 0)
      break;
    count++;
  }
  return count;
}

uint64_t kvi_machine_memory_bytes(void)
{
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  uint64_t memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
  uint64_t limit; /* the file holds the word "max" when there is none */

  if (read_numbers("/sys/fs/cgroup/memory.max", &limit, 1) == 1 && (memory == 0 || limit < memory))
    memory = limit;
  return memory;
}

uint64_t kvi_machine_raise_open_files(void)
{
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
      limit = raised;
  }
  return (uint64_t)limit.rlim_cur;
}

static void read_memory(struct kvi_process_stats *stats)
{
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  uint64_t pages[2]; /* in all, resident */

  if (read_numbers("/proc/self/statm", pages, 2) != 2)
    return;
  stats->virtual_bytes = pages[0] * page;
  stats->resident_bytes = pages[1] * page;
}

static uint64_t count_entries(const char *path)
{
  DIR *dir = opendir(path);
  uint64_t count = 0;

  if (dir == NULL)
    return 0;
  for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
    if (entry->d_name[0] != '.')
      count++;
  closedir(dir);
  return count;
}

static double seconds(struct timeval time)
{
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void kvi_process_stats(struct kvi_process_stats *stats_p)
{
  struct rusage usage;
  struct rlimit limit;
  uint64_t files;

  memset(stats_p, 0, sizeof(*stats_p));
  read_memory(stats_p);
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    stats_p->cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    stats_p->page_faults = (uint64_t)(usage.ru_minflt + usage.ru_majflt);
  }
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    stats_p->open_files_limit = (uint64_t)limit.rlim_cur;
  files = count_entries("/proc/self/fd");
  stats_p->open_files = files > 0 ? files - 1 : 0; /* without the one that counted */
  stats_p->threads = count_entries("/proc/self/task");
}
