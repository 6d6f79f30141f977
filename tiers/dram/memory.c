/* tiers/dram/memory.c: the reservation behind the DRAM tier: huge pages when there are any, touched before it is used. */
#include "tiers/dram/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define MIB       ((size_t)1 << 20)

static size_t round_up(size_t bytes, size_t unit)
{
  return (bytes + unit - 1) / unit * unit;
}

static bool map_huge(size_t bytes, struct kvi_dram_memory *memory)
{
  size_t mapped = round_up(bytes, HUGE_PAGE);
  void *at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

  if (at == MAP_FAILED)
    return false;
  *memory = (struct kvi_dram_memory){.base = at, .bytes = bytes, .mapping = at, .mapped = mapped};
  return true;
}

/* Ordinary pages, with room in front so that base can be aligned for transparent huge ones. */
static bool map_small(size_t bytes, struct kvi_dram_memory *memory)
{
  size_t mapped = round_up(bytes, HUGE_PAGE) + HUGE_PAGE;
  void *at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  if (at == MAP_FAILED)
    return false;
  *memory = (struct kvi_dram_memory){
      .base = (uint8_t *)round_up((uintptr_t)at, HUGE_PAGE), .bytes = bytes, .mapping = at, .mapped = mapped};
  return true;
}

/* Writes to each page, so that no put pays for a page fault later and a lack of memory shows now. */
static bool touch(uint8_t *base, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
  if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0)
    return true; /* Linux 5.14 and later: one call, no page fault each */
  if (errno != EINVAL)
    return false;
#endif
  for (size_t i = 0; i < bytes; i += 4096)
    ((volatile uint8_t *)base)[i] = 0;
  return true;
}

kvs_status kvi_dram_memory_map(size_t bytes, bool huge_pages, bool lock_memory,
                               struct kvi_dram_memory *memory_p)
{
  const char *pages = "ordinary pages";

  memset(memory_p, 0, sizeof(*memory_p));
  if (huge_pages && map_huge(bytes, memory_p)) {
    pages = "huge pages";
  } else {
    if (!map_small(bytes, memory_p)) {
      kvi_log_error("tier dram: cannot reserve %zu MiB: %m", bytes / MIB);
      return KVS_ERR_NOMEM;
    }
    if (huge_pages) {
      bool advised = madvise(memory_p->base, round_up(bytes, HUGE_PAGE), MADV_HUGEPAGE) == 0;

      pages = advised ? "transparent huge pages" : "ordinary pages";
      kvi_log_info("tier dram: no reserved huge pages for %zu MiB, takes %s", bytes / MIB, pages);
    }
  }
  /* A cache is of no use in a core file, and a child of the host process must not double it by copy on write. */
  (void)madvise(memory_p->mapping, memory_p->mapped, MADV_DONTDUMP);
  (void)madvise(memory_p->mapping, memory_p->mapped, MADV_DONTFORK);
  if (!touch(memory_p->base, bytes)) {
    kvi_log_error("tier dram: cannot fill %zu MiB of %s: %m", bytes / MIB, pages);
    kvi_dram_memory_unmap(memory_p);
    return KVS_ERR_NOMEM;
  }
  if (lock_memory && mlock(memory_p->base, bytes) != 0)
    kvi_log_warn("tier dram: cannot lock %zu MiB in memory: %m", bytes / MIB);
  kvi_log_info("tier dram: %zu MiB of %s reserved", bytes / MIB, pages);
  return KVS_OK;
}

void kvi_dram_memory_unmap(struct kvi_dram_memory *memory)
{
  if (memory->mapping)
    (void)munmap(memory->mapping, memory->mapped);
  memset(memory, 0, sizeof(*memory));
}
