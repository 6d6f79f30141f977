/*
 * tiers/policy/curve.h: what a cache of another size would have had of a stream of requests: by last use, and by somebody who knew the future (docs/curve.md).
 *
 * The stream is a sample: chunks are taken by a hash of their key, each at all of its uses or at none, and a cache of C bytes is followed as one of C times the rate (SHARDS: Waldspurger et al., FAST
 * 2015). Prefix chains need no more than that. Whoever uses a chunk uses all before it, so by last use (of one request, the tail the oldest) and by next use a chunk never stays
 * longer than the ones before it, whichever of them are in the sample.
 *
 * Pure: no clock, no lock; any thread.
 */
#ifndef KVASIR_TIERS_POLICY_CURVE_H
#define KVASIR_TIERS_POLICY_CURVE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_CURVE_SAMPLES_MAX 65536u
#define KVI_CURVE_POINTS      9u
#define KVI_CURVE_OWN         4u /* the point of the capacity as it is */
#define KVI_CURVE_MORE        5u /* of a quarter more */

/* Capacities, as parts of the one there is. */
extern const double kvi_curve_factors[KVI_CURVE_POINTS];

enum kvi_curve_flag {
  KVI_CURVE_PUT = 1,    /* stored just now, and not asked for: no use */
  KVI_CURVE_HIT = 2,    /* asked for, and the cache there is had it, in some tier */
  KVI_CURVE_MEMORY = 4, /* the same, in memory */
  KVI_CURVE_ALONE = 8   /* of use whether or not those before it are there */
};

struct kvi_curve_sample {
  uint64_t chunk; /* who it is: a hash */
  uint32_t
      request; /* samples of one request lie behind each other and have one number, in the order of its chain; each put has one of its own */
  uint32_t bytes; /* 0: not known here; what another sample of the chunk says, or else the mean */
  uint32_t tokens;
  uint32_t flags;
};

struct kvi_curve_input {
  const struct kvi_curve_sample *samples;
  uint32_t n;        /* at most KVI_CURVE_SAMPLES_MAX */
  double rate;       /* above 0, at most 1: of all chunks so many are in the sample */
  uint32_t from;     /* samples before it fill the caches and are not counted; where a request begins */
  uint64_t capacity; /* bytes */
  /* Tokens of all requests from there on, sampled or not: asked for, and as with the flags. asked 0: not known. */
  uint64_t asked, hit, memory;
};

/* Parts of the tokens that were asked for. */
struct kvi_curve_point {
  double lru, belady;
  double lru_error, belady_error; /* standard errors of the sampling; 0 with rate 1 */
};

struct kvi_curve {
  struct kvi_curve_point points[KVI_CURVE_POINTS];
  double hit, memory; /* of the cache there is: in any tier, in memory */
  double before;      /* of those: last used before the first sample, so that the model cannot know them */
  double gain_error,
      gap_error;  /* standard errors of lru at the points MORE less OWN, and of belady less lru at OWN */
  uint64_t asked; /* tokens, all requests */
  uint32_t requests, uses,
      chunks; /* of the sample, counted: requests, uses of chunks; different chunks in all */
  double
      distinct_bytes; /* that all requests and puts since the first sample took, if nothing had ever gone */
};

/* Takes some ms with as many samples as there may be, and 5 MiB. All NAN and 0 without a use that counts. KVS_ERR_INVALID, KVS_ERR_NOMEM. */
kvs_status kvi_curve_estimate(const struct kvi_curve_input *input, struct kvi_curve *curve_p);

#endif
