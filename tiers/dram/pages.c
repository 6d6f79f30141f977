/* tiers/dram/pages.c: the free list, and chains that are cut off it and come back. */
#include <sanitizer/asan_interface.h> /* its macros are empty without AddressSanitizer */

#include "tiers/dram/dram_private.h"

/* Cuts n pages off the free list. KVS_ERR_FULL. */
kvs_status kvi_dram_pages_take(struct dram *dram, uint32_t n, uint32_t *first_p, uint32_t *last_p)
{
  kvs_status status = KVS_ERR_FULL;

  pthread_mutex_lock(&dram->lock);
  if (n <= dram->free_count) {
    uint32_t last = dram->free_first;

    for (uint32_t i = 1; i < n; i++)
      last = dram->next[last];
    *first_p = dram->free_first;
    *last_p = last;
    dram->free_first = dram->next[last];
    dram->free_count -= n;
    dram->next[last] = KVI_DRAM_PAGE_NONE;
    status = KVS_OK;
  }
  pthread_mutex_unlock(&dram->lock);
  return status;
}

void kvi_dram_pages_poison(struct dram *dram, uint32_t first, bool poison)
{
#if defined(__SANITIZE_ADDRESS__)
  for (uint32_t page = first; page != KVI_DRAM_PAGE_NONE; page = dram->next[page]) {
    if (poison)
      ASAN_POISON_MEMORY_REGION(kvi_dram_page(dram, page), dram->page_bytes);
    else
      ASAN_UNPOISON_MEMORY_REGION(kvi_dram_page(dram, page), dram->page_bytes);
  }
#else
  (void)dram, (void)first, (void)poison;
#endif
}

/* The chain goes back in front, in its order. Call with the lock held. */
void kvi_dram_pages_give(struct dram *dram, uint32_t first, uint32_t last, uint32_t n)
{
  kvi_dram_pages_poison(dram, first, true);
  dram->next[last] = dram->free_first;
  dram->free_first = first;
  dram->free_count += n;
}

uint32_t kvi_dram_runs(const struct dram *dram, uint32_t first)
{
  uint32_t runs = 1;

  for (uint32_t page = first; dram->next[page] != KVI_DRAM_PAGE_NONE; page = dram->next[page])
    if (dram->next[page] != page + 1)
      runs++;
  return runs;
}
