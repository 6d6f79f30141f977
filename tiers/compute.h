/*
 * tiers/compute.h: how long an engine computes tokens, from what it has measured, and whether loading chunks is faster. No I/O, no clock, no lock: the caller guards what it gives.
 *
 * Computing `n` tokens behind `from` others takes token_s * n + token2_s * ((from + n)^2 - from^2) seconds: every token looks at all before it.
 */
#ifndef KVASIR_TIERS_COMPUTE_H
#define KVASIR_TIERS_COMPUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "tiers/programs.h"

#define KVI_COMPUTE_KEPT          16u /* of a space's last measurements, of which the estimate is made */
#define KVI_COMPUTE_LEAST         3u /* before them there is none: the first prefill of an engine takes longer */
#define KVI_COMPUTE_TOKENS_LEAST  64u /* of one; fewer tell what a step takes, not what tokens take */
#define KVI_COMPUTE_TOKENS_MOST   (1u << 22)
#define KVI_COMPUTE_TOKEN_S_LEAST 1e-7 /* bounds of what is believed, for each token */
#define KVI_COMPUTE_TOKEN_S_MOST  1.0

/* All 0 to begin with. */
struct kvi_compute {
  float token_s, token2_s; /* the estimate; both 0: not known */
  uint32_t n;              /* measured so far */
  struct kvi_compute_kept {
    float context, token_s; /* 2 * from + n; seconds over n: the second is linear in the first */
  } kept[KVI_COMPUTE_KEPT]; /* a ring */
};

struct kvi_compute_measured {
  uint32_t tokens, from; /* that were computed; that were there before them */
  uint64_t us;
};

/*
 * ACCEPTED; CLIPPED: a time for each token out of bounds, which counts as the bound; DEFERRED: too few tokens, nothing is learned; REJECTED: no tokens, too many, or no time.
 * The estimate is that of the medians: up to a quarter of the kept measurements may be wrong without moving it beyond what the others say.
 */
enum kvi_hint_outcome kvi_compute_check(const struct kvi_compute_measured *measured);
enum kvi_hint_outcome kvi_compute_tell(struct kvi_compute *compute,
                                       const struct kvi_compute_measured *measured);

static inline bool kvi_compute_is_known(const struct kvi_compute *compute)
{
  return compute->token_s > 0 || compute->token2_s > 0;
}

/* Seconds for the tokens behind `from` others up to `to`. */
double kvi_compute_s(const struct kvi_compute *compute, double from, double to);
/* The same in parts of what it takes with the model of policy/prefill.h. */
double kvi_compute_cost(const struct kvi_compute *compute, double from, double to);

/* ---- load or compute ---- */

/* Of a prefix whose chunks are told one after another. What is loaded is a beginning: what comes behind is computed when that is there. */
struct kvi_verdict {
  struct kvi_compute compute;
  uint32_t chunk_tokens, first; /* chunks before the first that is told */
  uint32_t n, worth;            /* told; of these to load, so that all of it is there soonest */
  double load_us, saved_us;     /* loading all that was told; what loading `worth` saves over computing all */
};

/* compute NULL or not known: no verdict. */
void kvi_verdict_begin(struct kvi_verdict *verdict, const struct kvi_compute *compute, uint32_t chunk_tokens,
                       uint32_t first);
/* The next chunk, and what loading it adds. */
void kvi_verdict_next(struct kvi_verdict *verdict, double load_us);
/* Predicted time to compute all that was told; 0: not known, or nothing was told. */
uint64_t kvi_verdict_compute_us(const struct kvi_verdict *verdict);
/* The same with `worth` chunks loaded, and the rest computed. */
uint64_t kvi_verdict_worth_us(const struct kvi_verdict *verdict);

#endif
