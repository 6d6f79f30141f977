/* tiers/dram/memory.h: one big reservation from the kernel. */
#ifndef KVASIR_TIERS_DRAM_MEMORY_H
#define KVASIR_TIERS_DRAM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

struct kvi_dram_memory {
  uint8_t *base; /* aligned to 2 MiB */
  size_t bytes;  /* as asked for */
  void *mapping; /* what was mapped, for munmap */
  size_t mapped;
};

/* Maps, perhaps locks, and touches. Blocks for about 0.3 s a GiB. Errors: KVS_ERR_NOMEM (logged). */
kvs_status kvi_dram_memory_map(size_t bytes, bool huge_pages, bool lock_memory,
                               struct kvi_dram_memory *memory_p);
void kvi_dram_memory_unmap(struct kvi_dram_memory *memory); /* nothing mapped is fine */

#endif
