/* tiers/compute.c: a line through what engines have measured, by medians (Theil, Sen), and what to load of a prefix. */
#include "tiers/compute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/policy/prefill.h"

#define CONTEXT_APART 2048.0 /* tokens: two measurements nearer to each other say nothing of the slope */
#define PAIRS         (KVI_COMPUTE_KEPT * (KVI_COMPUTE_KEPT - 1) / 2)
#define US_PER_S      1e6

static int compare(const void *one, const void *other)
{
  double a = *(const double *)one, b = *(const double *)other;

  return (a > b) - (a < b);
}

static double median(double *values, uint32_t n)
{
  qsort(values, n, sizeof(*values), compare);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Slopes between those that are well apart. */
static uint32_t slopes_of(const struct kvi_compute *compute, uint32_t n, double *slopes)
{
  uint32_t n_slopes = 0;

  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < i; j++) {
      const struct kvi_compute_kept *one = &compute->kept[i], *other = &compute->kept[j];
      double apart = (double)one->context - (double)other->context;

      if (fabs(apart) >= fmax(CONTEXT_APART, fmaxf(one->context, other->context) / 2))
        slopes[n_slopes++] = ((double)one->token_s - (double)other->token_s) / apart;
    }
  return n_slopes;
}

/* The line token_s + token2_s * context. With too few that are apart its slope is that of the known model. */
static void estimate(struct kvi_compute *compute)
{
  uint32_t n = compute->n < KVI_COMPUTE_KEPT ? compute->n : KVI_COMPUTE_KEPT;
  double values[PAIRS], slope, ratio = KVI_PREFILL_BETA / KVI_PREFILL_ALPHA;
  uint32_t n_slopes = slopes_of(compute, n, values);

  if (n_slopes < n) {
    for (uint32_t i = 0; i < n; i++)
      values[i] = (double)compute->kept[i].token_s / (1 + ratio * (double)compute->kept[i].context);
    compute->token_s = (float)median(values, n);
    compute->token2_s = (float)(ratio * (double)compute->token_s);
    return;
  }
  slope = fmax(median(values, n_slopes), 0);
  for (uint32_t i = 0; i < n; i++)
    values[i] = (double)compute->kept[i].token_s - slope * (double)compute->kept[i].context;
  compute->token_s = (float)fmax(median(values, n), 0);
  if (compute->token_s <= 0) { /* all of it is attention, as far as these say */
    for (uint32_t i = 0; i < n; i++)
      values[i] = (double)(compute->kept[i].token_s / compute->kept[i].context);
    slope = median(values, n);
  }
  compute->token2_s = (float)slope;
}

static double token_s_of(const struct kvi_compute_measured *measured)
{
  return (double)measured->us / US_PER_S / measured->tokens;
}

enum kvi_hint_outcome kvi_compute_check(const struct kvi_compute_measured *measured)
{
  double token_s;

  if (measured->tokens == 0 || measured->us == 0 || measured->tokens > KVI_COMPUTE_TOKENS_MOST ||
      measured->from > KVI_COMPUTE_TOKENS_MOST)
    return KVI_HINT_REJECTED;
  if (measured->tokens < KVI_COMPUTE_TOKENS_LEAST)
    return KVI_HINT_DEFERRED;
  token_s = token_s_of(measured);
  return token_s < KVI_COMPUTE_TOKEN_S_LEAST || token_s > KVI_COMPUTE_TOKEN_S_MOST ? KVI_HINT_CLIPPED
                                                                                   : KVI_HINT_ACCEPTED;
}

enum kvi_hint_outcome kvi_compute_tell(struct kvi_compute *compute,
                                       const struct kvi_compute_measured *measured)
{
  enum kvi_hint_outcome outcome = kvi_compute_check(measured);
  double token_s;

  if (outcome != KVI_HINT_ACCEPTED && outcome != KVI_HINT_CLIPPED)
    return outcome;
  token_s = fmin(fmax(token_s_of(measured), KVI_COMPUTE_TOKEN_S_LEAST), KVI_COMPUTE_TOKEN_S_MOST);
  compute->kept[compute->n % KVI_COMPUTE_KEPT] = (struct kvi_compute_kept){
      .context = (float)(2.0 * measured->from + measured->tokens), .token_s = (float)token_s};
  if (++compute->n == 2 * KVI_COMPUTE_KEPT) /* of the ring only the place counts */
    compute->n = KVI_COMPUTE_KEPT;
  if (compute->n >= KVI_COMPUTE_LEAST)
    estimate(compute);
  return outcome;
}

double kvi_compute_s(const struct kvi_compute *compute, double from, double to)
{
  return (to - from) * ((double)compute->token_s + (double)compute->token2_s * (to + from));
}

double kvi_compute_cost(const struct kvi_compute *compute, double from, double to)
{
  return kvi_compute_s(compute, from, to) / kvi_prefill_s(1, from, to);
}

/* ---- load or compute ---- */

void kvi_verdict_begin(struct kvi_verdict *verdict, const struct kvi_compute *compute, uint32_t chunk_tokens,
                       uint32_t first)
{
  memset(verdict, 0, sizeof(*verdict));
  if (compute)
    verdict->compute = *compute;
  verdict->chunk_tokens = chunk_tokens;
  verdict->first = first;
}

/* Seconds to compute the first n of those that were told. */
static double computing_us(const struct kvi_verdict *verdict, uint32_t n)
{
  double first = (double)verdict->first * verdict->chunk_tokens;

  return US_PER_S * kvi_compute_s(&verdict->compute, first, first + (double)n * verdict->chunk_tokens);
}

/* Loading n chunks and computing the others takes what computing all takes, less what computing these n takes, and what loading them takes: the best n is where the two differ most. */
void kvi_verdict_next(struct kvi_verdict *verdict, double load_us)
{
  double saved_us;

  verdict->n++;
  verdict->load_us += load_us;
  if (!kvi_compute_is_known(&verdict->compute)) {
    verdict->worth = verdict->n;
    return;
  }
  saved_us = computing_us(verdict, verdict->n) - verdict->load_us;
  if (saved_us < verdict->saved_us)
    return;
  verdict->saved_us = saved_us;
  verdict->worth = verdict->n;
}

static uint64_t whole_us(const struct kvi_verdict *verdict, double us)
{
  if (verdict->n == 0 || !kvi_compute_is_known(&verdict->compute))
    return 0;
  return us < 1 ? 1 : us < 1e18 ? (uint64_t)us : (uint64_t)1e18;
}

uint64_t kvi_verdict_compute_us(const struct kvi_verdict *verdict)
{
  return whole_us(verdict, computing_us(verdict, verdict->n));
}

uint64_t kvi_verdict_worth_us(const struct kvi_verdict *verdict)
{
  return whole_us(verdict, computing_us(verdict, verdict->n) - verdict->saved_us);
}
