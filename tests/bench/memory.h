/*
 * tests/bench/memory.h: memory that is touched before the clock starts, and bytes that can be told from wrong ones.
 *
 * The first touch of a page can cost ten times the copy into it (a virtual machine may have to ask its host), so
 * everything that is measured lies in a slab that was written once.
 */
#ifndef KVASIR_BENCH_MEMORY_H
#define KVASIR_BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Slabs are larger than any last level cache we have met: what is read in turn comes from memory. */
#define BENCH_CLIENT_BYTES (UINT64_C(64) << 20)
#define BENCH_SERVER_BYTES (UINT64_C(256) << 20)

struct bench_slab {
  uint8_t *base;
  size_t bytes;
};

/* Maps and touches. False when the memory cannot be had. */
bool bench_slab_open(struct bench_slab *slab, size_t bytes);
/* The same in huge pages if the kernel has them: the node's memory is like that, so that of its limits is too. */
bool bench_slab_open_huge(struct bench_slab *slab, size_t bytes);
void bench_slab_close(struct bench_slab *slab); /* a zeroed slab is fine */

/* Fills dst with bytes that only this seed gives. Any length. */
void bench_pattern_fill(void *dst, size_t length, uint64_t seed);
bool bench_pattern_check(const void *src, size_t length, uint64_t seed);

/* The seed of the chunk at place `index` of the working set of this chunk size: every way agrees on it. */
static inline uint64_t bench_seed(uint64_t size, uint64_t index)
{
  return size * UINT64_C(0x9E3779B97F4A7C15) + index;
}

/* What a get checks while the clock runs: the first and last eight bytes (the whole was compared before). */
bool bench_pattern_glance(const void *src, size_t length, uint64_t seed);

#endif
