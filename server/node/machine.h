/* server/node/machine.h: what the machine and the process have: memory, open files, CPU time. Any thread;
 * reads /proc. */
#ifndef KVI_NODE_MACHINE_H
#define KVI_NODE_MACHINE_H

#include <stdint.h>

/* Memory this process may use: the machine's, or its control group's limit if that is lower. 0: not known. */
uint64_t kvi_machine_memory_bytes(void);

/* Raises the limit on open files to the most that is allowed and returns what is in force then. */
uint64_t kvi_machine_raise_open_files(void);

struct kvi_process_stats {
  uint64_t resident_bytes; /* 0: not known */
  uint64_t virtual_bytes;  /* 0: not known */
  double cpu_seconds;      /* user and system */
  uint64_t page_faults;    /* minor and major */
  uint64_t open_files;     /* 0: not known, as when the process has no descriptor left to count them */
  uint64_t open_files_limit;
  uint64_t threads; /* 0: not known */
};
void kvi_process_stats(struct kvi_process_stats *stats_p);

#endif
