#include "tests/bench/memory.h"

#include <string.h>
#include <sys/mman.h>

#include "base/rand.h"

static bool open_slab(struct bench_slab *slab, size_t bytes, bool huge)
{
  void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (base == MAP_FAILED)
    return false;
  if (huge)
    madvise(base, bytes, MADV_HUGEPAGE); /* advice: a kernel without them gives small ones */
  memset(base, 1, bytes);
  slab->base = base;
  slab->bytes = bytes;
  return true;
}

bool bench_slab_open(struct bench_slab *slab, size_t bytes)
{
  return open_slab(slab, bytes, false);
}

bool bench_slab_open_huge(struct bench_slab *slab, size_t bytes)
{
  return open_slab(slab, bytes, true);
}

void bench_slab_close(struct bench_slab *slab)
{
  if (slab->base != NULL)
    munmap(slab->base, slab->bytes);
  slab->base = NULL;
  slab->bytes = 0;
}

/* The word at place i stands for itself, so that the ends can be told without making the whole. */
static uint64_t pattern_word(uint64_t seed, uint64_t i)
{
  uint64_t state = seed ^ (i * UINT64_C(0xD1342543DE82EF95));

  return kvi_splitmix64(&state);
}

void bench_pattern_fill(void *dst, size_t length, uint64_t seed)
{
  uint8_t *out = dst;
  size_t words = length / sizeof(uint64_t);
  uint64_t word;

  for (size_t i = 0; i < words; i++) {
    word = pattern_word(seed, i);
    memcpy(out + i * sizeof word, &word, sizeof word);
  }
  word = pattern_word(seed, words);
  memcpy(out + words * sizeof word, &word, length % sizeof word);
}

static bool word_is(const uint8_t *src, uint64_t seed, uint64_t i, size_t bytes)
{
  uint64_t word = pattern_word(seed, i);

  return memcmp(src + i * sizeof word, &word, bytes) == 0;
}

bool bench_pattern_check(const void *src, size_t length, uint64_t seed)
{
  size_t words = length / sizeof(uint64_t);

  for (size_t i = 0; i < words; i++)
    if (!word_is(src, seed, i, sizeof(uint64_t)))
      return false;
  return word_is(src, seed, words, length % sizeof(uint64_t));
}

bool bench_pattern_glance(const void *src, size_t length, uint64_t seed)
{
  size_t words = length / sizeof(uint64_t);

  if (words == 0)
    return bench_pattern_check(src, length, seed);
  return word_is(src, seed, 0, sizeof(uint64_t)) && word_is(src, seed, words - 1, sizeof(uint64_t));
}
