/* tiers/policy/curve_private.h: what curve.c, which makes an estimate of it, and curve_follow.c, which follows samples through caches, share. */
#ifndef KVASIR_TIERS_POLICY_CURVE_PRIVATE_H
#define KVASIR_TIERS_POLICY_CURVE_PRIVATE_H

#include <assert.h>
#include <stdbool.h>

#include "tiers/policy/curve.h"

#define KVI_CURVE_GROUPS 8u /* parts of the sample that are followed alone, to see how much they differ */

/* A set of numbers below 2^18: bits, and two levels of bits that say which words below are not 0. */
struct kvi_curve_set {
  uint64_t bits[KVI_CURVE_SAMPLES_MAX / 64], words[KVI_CURVE_SAMPLES_MAX / 4096], top;
};
static_assert(KVI_CURVE_SAMPLES_MAX <= 64 * 4096, "the top is one word");

/* What the passes work on. */
struct kvi_curve_work {
  struct kvi_curve_sample *samples; /* of a group */
  uint32_t *table;                  /* by hash: a sample's chunk + 1; 0: free */
  uint32_t table_mask;
  uint32_t *chunk_of; /* by sample */
  uint32_t *next;     /* by sample: the next use of its chunk; NONE */
  uint32_t *place;    /* by chunk: of its last use; NONE: never stored so far */
  uint64_t *bytes;    /* by chunk */
  uint64_t *name;     /* by chunk */
  bool *
      stored; /* by chunk: it was put or found, so it can be kept. What is asked for and never stored takes no room */
  uint64_t *tree; /* Fenwick's */
  struct kvi_curve_set set;
};

/* Tokens of the chunks of a group, in caches that all share. */
struct kvi_curve_share {
  uint64_t asked, memory, lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
};

/* What one group of samples says. */
struct kvi_curve_answer {
  uint64_t asked, hit, memory, before;
  uint64_t lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
  uint32_t requests, uses, chunks;
  uint64_t distinct_bytes;
  struct kvi_curve_share shares[KVI_CURVE_GROUPS];
};

/* For so many samples. NULL: no memory. */
struct kvi_curve_work *kvi_curve_work_create(uint32_t n);
void kvi_curve_work_destroy(struct kvi_curve_work *work); /* NULL is fine */

/* Which group a chunk is in. */
uint32_t kvi_curve_group(uint64_t chunk);
/* What caches of each size would have had of the samples from `from` on, which are of a part `rate` of all chunks. */
void kvi_curve_follow(struct kvi_curve_work *work, const struct kvi_curve_sample *samples, uint32_t n,
                      uint32_t from, double rate, uint64_t capacity, struct kvi_curve_answer *answer);

#endif
