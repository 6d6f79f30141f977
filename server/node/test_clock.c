#include "server/node/test_clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

struct kvi_test_clock {
  const _Atomic uint64_t *ahead_ns;
};

kvs_status kvi_test_clock_open(const char *path, struct kvi_test_clock **clock_p)
{
  struct kvi_test_clock *clock = calloc(1, sizeof(*clock));
  kvs_status status = KVS_ERR_SYSTEM;
  struct stat file;
  void *mapped = MAP_FAILED;
  int fd = -1;

  *clock_p = NULL;
  if (!clock)
    return KVS_ERR_NOMEM;
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, &file) == 0)
    status = file.st_size < (off_t)sizeof(uint64_t) ? KVS_ERR_INVALID : KVS_OK;
  if (status == KVS_OK)
    mapped = mmap(NULL, sizeof(uint64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0)
    close(fd);
  if (mapped == MAP_FAILED) {
    free(clock);
    return status == KVS_OK ? KVS_ERR_SYSTEM : status;
  }
  clock->ahead_ns = mapped;
  *clock_p = clock;
  return KVS_OK;
}

void kvi_test_clock_close(struct kvi_test_clock *clock)
{
  if (!clock)
    return;
  munmap((void *)(uintptr_t)clock->ahead_ns, sizeof(uint64_t));
  free(clock);
}

uint64_t kvi_test_clock_now(void *clock)
{
  return kvi_now_ns() +
         atomic_load_explicit(((const struct kvi_test_clock *)clock)->ahead_ns, memory_order_relaxed);
}
