/*
 * base/rand.h: random numbers. kvi_random_* are the kernel's, for identities; kvi_rand is a fast generator
 * that a seed repeats, for back-off, sampling and tests: never for anything an outsider must not guess.
 */
#ifndef KVI_BASE_RAND_H
#define KVI_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

/* Fills buf from getrandom(2). KVS_ERR_SYSTEM: the kernel gave none. Thread-safe. */
kvs_status kvi_random_bytes(void *buf, size_t length);

/* An incarnation, lease or connection id: 64 random bits, never 0. */
kvs_status kvi_random_id(uint64_t *id_p);

/* xorshift128+; one thread at a time. */
typedef struct kvi_rand {
  uint64_t state[2];
} kvi_rand;

static inline uint64_t kvi_splitmix64(uint64_t *state)
{
  uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

/* The same of the same: spreads names and numbers over the bits, for tables and samples. A client who chooses names can choose what comes of them. */
static inline uint64_t kvi_mix64(uint64_t name)
{
  name ^= name >> 31;
  name *= UINT64_C(0x9E3779B97F4A7C15);
  return name ^ name >> 29;
}

static inline void kvi_rand_seed(kvi_rand *rand, uint64_t seed)
{
  rand->state[0] = kvi_splitmix64(&seed);
  rand->state[1] = kvi_splitmix64(&seed); /* two outputs of one splitmix sequence are never both 0 */
}

static inline uint64_t kvi_rand_next(kvi_rand *rand)
{
  uint64_t x = rand->state[0];
  uint64_t y = rand->state[1];

  rand->state[0] = y;
  x ^= x << 23;
  rand->state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
  return rand->state[1] + y;
}

/* 0 to bound-1, without bias; 0 if bound is 0. */
static inline uint64_t kvi_rand_below(kvi_rand *rand, uint64_t bound)
{
  if (bound == 0)
    return 0;
  uint64_t limit = UINT64_MAX - UINT64_MAX % bound; /* a multiple of bound */
  uint64_t value;

  do {
    value = kvi_rand_next(rand);
  } while (value >= limit);
  return value % bound;
}

#endif
