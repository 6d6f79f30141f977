/* tiers/policy/prefill.h: what computing chunks again costs. */
#ifndef KVASIR_TIERS_POLICY_PREFILL_H
#define KVASIR_TIERS_POLICY_PREFILL_H

#define KVI_PREFILL_TOKENS 256.0f /* of a chunk of which nobody said */

/* Seconds of prefill, linear and quadratic in tokens: those of a model of 70 billion parameters. */
#define KVI_PREFILL_ALPHA 4.4e-5
#define KVI_PREFILL_BETA  4.1e-10

/* Of the chunks behind the first `from` of a chain, up to the to'th, of so many tokens each. */
static inline double kvi_prefill_s(double tokens, double from, double to)
{
  return tokens * (to - from) * (KVI_PREFILL_ALPHA + KVI_PREFILL_BETA * tokens * (to + from));
}

#endif
