#include "tiers/policy/waits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/array.h"

#define LEFT_LEAST 1e-6 /* a smaller part of all is nobody: nothing is known of it */

/* ---- buckets ---- */

#define DECADE(first)                                                                                        \
  (first), (first)*1.2589254117941673, (first)*1.5848931924611136, (first)*1.9952623149688795,               \
      (first)*2.5118864315095801, (first)*3.1622776601683795, (first)*3.9810717055349722,                    \
      (first)*5.0118723362727229, (first)*6.3095734448019325, (first)*7.9432823472428150

/* Where bucket i begins. */
static const double edges[] = {0,
                               DECADE(KVI_WAIT_FIRST),
                               DECADE(KVI_WAIT_FIRST * 1e1),
                               DECADE(KVI_WAIT_FIRST * 1e2),
                               DECADE(KVI_WAIT_FIRST * 1e3),
                               DECADE(KVI_WAIT_FIRST * 1e4),
                               DECADE(KVI_WAIT_FIRST * 1e5),
                               DECADE(KVI_WAIT_FIRST * 1e6),
                               DECADE(KVI_WAIT_FIRST * 1e7)};
static_assert(KVI_ARRAY_SIZE(edges) == KVI_WAIT_BUCKETS + 1, "eight decades of ten");

static double edge(uint32_t i)
{
  return edges[i < KVI_WAIT_BUCKETS ? i : KVI_WAIT_BUCKETS];
}

/* The bucket of the power of two below, and on from there: at most four, where a logarithm would be a third of what a price costs. */
static uint32_t bucket_of(double time)
{
  uint32_t i = 0;
  uint64_t bits;
  int32_t place;

  if (!(time >= KVI_WAIT_FIRST))
    return 0;
  if (time >= edges[KVI_WAIT_BUCKETS])
    return KVI_WAIT_BUCKETS - 1;
  memcpy(&bits, &time, sizeof(bits));
  place = ((int32_t)(bits >> 52) - 1023) * 30102 + 130102; /* 10 log10(2^e / KVI_WAIT_FIRST), in 1/10,000 */
  if (place > 0)
    i = (uint32_t)place / 10000;
  while (time >= edges[i + 1])
    i++;
  return i;
}

/* Where a time lies within its bucket, 0 to 1; what is longer than all buckets is at the end of the last. */
static double within_bucket(double time, uint32_t bucket)
{
  double begin = edge(bucket), part = (time - begin) / (edge(bucket + 1) - begin);

  return part > 0 ? (part < 1 ? part : 1) : 0; /* also of no number */
}

/* ---- counting ---- */

void kvi_waits_back(struct kvi_waits *waits, double wait)
{
  waits->back[bucket_of(wait)] += 1;
}

void kvi_waits_away(struct kvi_waits *waits, double wait)
{
  waits->away[bucket_of(wait)] += 1;
}

void kvi_waits_fade(struct kvi_waits *waits, double factor)
{
  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++) {
    waits->back[i] *= factor;
    waits->away[i] *= factor;
  }
}

void kvi_waits_add(struct kvi_waits *waits, const struct kvi_waits *more)
{
  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++) {
    waits->back[i] += more->back[i];
    waits->away[i] += more->away[i];
  }
}

/* ---- curves ---- */

/* away is there; within a bucket it falls in a straight line. */
static void finish(struct kvi_wait_curve *curve)
{
  curve->waited[0] = 0;
  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++)
    curve->waited[i + 1] =
        curve->waited[i] + (edge(i + 1) - edge(i)) * (curve->away[i] + curve->away[i + 1]) / 2;
  for (uint32_t i = 0; i <= KVI_WAIT_BUCKETS; i++) {
    curve->rate[i] = 0;
    for (uint32_t stop = i + 1; stop <= KVI_WAIT_BUCKETS; stop++) {
      double rate = (curve->away[i] - curve->away[stop]) / (curve->waited[stop] - curve->waited[i]);

      if (curve->away[i] > LEFT_LEAST && rate > curve->rate[i])
        curve->rate[i] = rate;
    }
  }
}

void kvi_wait_curve_lognormal(struct kvi_wait_curve *curve, double median, double sigma, double returns)
{
  curve->away[0] = 1;
  for (uint32_t i = 1; i <= KVI_WAIT_BUCKETS; i++)
    curve->away[i] = 1 - returns * erfc(-log(edge(i) / median) / (sigma * sqrt(2))) / 2;
  finish(curve);
}

/* Of whom is away when the bucket begins, the part that is back at its end. */
static double chance_in(const struct kvi_wait_curve *curve, uint32_t bucket)
{
  double before = curve->away[bucket];

  return before > LEFT_LEAST ? 1 - curve->away[bucket + 1] / before : 0;
}

/* Who was given up within a bucket counts for half of it, as actuaries do. */
void kvi_wait_curve_build(struct kvi_wait_curve *curve, const struct kvi_waits *waits,
                          const struct kvi_wait_curve *larger, double weight)
{
  double left = 0; /* observations whose wait was as long */

  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++)
    left += waits->back[i] + waits->away[i];
  curve->away[0] = 1;
  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++) {
    double lean = larger ? weight * larger->away[i] : 0;
    double back = waits->back[i] + lean * (larger ? chance_in(larger, i) : 0);
    double of = left - waits->away[i] / 2 + lean;
    double chance = of > LEFT_LEAST ? back / of : 0;

    curve->away[i + 1] = curve->away[i] * (chance < 1 ? 1 - chance : 0);
    left -= waits->back[i] + waits->away[i];
  }
  finish(curve);
}

/* ---- asking ---- */

static double away_at(const struct kvi_wait_curve *curve, double time)
{
  uint32_t i = bucket_of(time);

  return curve->away[i] + within_bucket(time, i) * (curve->away[i + 1] - curve->away[i]);
}

double kvi_wait_curve_rate(const struct kvi_wait_curve *curve, double age)
{
  uint32_t i = bucket_of(age);

  return curve->rate[i] + within_bucket(age, i) * (curve->rate[i + 1] - curve->rate[i]);
}

double kvi_wait_curve_worth_until(const struct kvi_wait_curve *curve, double rate)
{
  uint32_t i = KVI_WAIT_BUCKETS;
  double above, below;

  if (curve->rate[i] >= rate)
    return INFINITY;
  while (i > 0 && curve->rate[i - 1] < rate)
    i--;
  if (i == 0)
    return 0;
  above = curve->rate[i - 1];
  below = curve->rate[i];
  return edge(i - 1) + (edge(i) - edge(i - 1)) * (above - rate) / (above - below);
}

double kvi_wait_curve_density(const struct kvi_wait_curve *curve, double time)
{
  uint32_t i = bucket_of(time);

  return (curve->away[i] - curve->away[i + 1]) / (edge(i + 1) - edge(i));
}

double kvi_wait_curve_back_within(const struct kvi_wait_curve *curve, double age, double within)
{
  double now = away_at(curve, age);

  return now > LEFT_LEAST ? 1 - away_at(curve, age + within) / now : 0;
}

double kvi_wait_curve_rest(const struct kvi_wait_curve *curve, double age, double p)
{
  double wanted = away_at(curve, age) * (1 - p), before, after;
  uint32_t i = bucket_of(age);

  while (i < KVI_WAIT_BUCKETS && curve->away[i + 1] > wanted)
    i++;
  if (i == KVI_WAIT_BUCKETS || wanted <= LEFT_LEAST)
    return INFINITY;
  before = curve->away[i];
  after = curve->away[i + 1];
  return fmax(edge(i) + (edge(i + 1) - edge(i)) * (before - wanted) / (before - after) - age, 0);
}

double kvi_wait_curve_gain(const struct kvi_wait_curve *curve, double age, double price, double within)
{
  double from = age > 0 ? age : 0, now = away_at(curve, from), before = now, at = from, waited = 0, gain = 0;

  if (now <= LEFT_LEAST)
    return 0;
  for (uint32_t i = bucket_of(from); i < KVI_WAIT_BUCKETS && at < from + within; i++) {
    double end = fmin(edge(i + 1), from + within), left = away_at(curve, end);

    if (end <= at)
      continue;
    waited += (before + left) / 2 * (end - at);
    gain = fmax(gain, (now - left - price * waited) / now);
    before = left;
    at = end;
  }
  return gain;
}
