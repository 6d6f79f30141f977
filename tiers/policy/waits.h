/*
 * tiers/policy/waits.h: how long it takes until somebody comes back, learned from those who have and from those who have not yet.
 *
 * Waits are counted by length in buckets, ten for each power of ten. Whoever still waits counts as well (is censored): it has not come back so far, and a count without it would
 * say that everybody returns. From the counts a curve is built: the share that still waits after each time (Kaplan and Meier 1958), a bucket with few
 * observations leaning on a curve of a larger group (a class of waits on that of all, all on one that is given).
 *
 * What a cache asks of a curve is its rate: of whom is away for `age` already, the most returns for each unit of time that one can get by waiting on, until the best moment to stop
 *
 *     rate(age) = max over t of  P(back by age + t | away at age) / E(time waited until then)
 *
 * which is Gittins' index of "it comes back" (Gittins and Jones 1974; for caches the "hit density" of LHD, Beckmann et al. 2018). It is the price in bytes and seconds at which keeping what
 * it comes back for is just worth while: docs/policy.md.
 *
 * Time has any unit: seconds, or parts of what somebody has announced. Nothing here allocates, reads a clock or locks.
 */
#ifndef KVASIR_TIERS_POLICY_WAITS_H
#define KVASIR_TIERS_POLICY_WAITS_H

#include <stdint.h>

/* Bucket 0 ends at KVI_WAIT_FIRST, each further one 10^0.1 times later: the last, if they are seconds, after 46 days. */
#define KVI_WAIT_BUCKETS 80u
#define KVI_WAIT_FIRST   0.05

/* Counts of one class, all 0 to begin with. */
struct kvi_waits {
  double back[KVI_WAIT_BUCKETS]; /* by how long it took */
  double away[KVI_WAIT_BUCKETS]; /* that have not come back after so long, and are not looked at any more */
};

/* wait: at least 0. Longer than the last bucket ends: counted there. */
void kvi_waits_back(struct kvi_waits *waits, double wait);
void kvi_waits_away(struct kvi_waits *waits, double wait);
/* Multiplies all that was counted: what is long ago counts less. 0 to 1. */
void kvi_waits_fade(struct kvi_waits *waits, double factor);
/* Adds the counts of `more`. */
void kvi_waits_add(struct kvi_waits *waits, const struct kvi_waits *more);

/* At the ends of buckets: [0] is time 0, [i + 1] the end of bucket i. */
struct kvi_wait_curve {
  double away[KVI_WAIT_BUCKETS + 1];   /* the share that is not back: 1 at time 0, never grows */
  double waited[KVI_WAIT_BUCKETS + 1]; /* the mean time spent waiting until then: the integral of away */
  double rate[KVI_WAIT_BUCKETS + 1];   /* Gittins' index of whom is away then */
};

/* Waits that are lognormal, of a part of all (the rest never returns). median, sigma (of the natural logarithm) above 0, returns 0 to 1. */
void kvi_wait_curve_lognormal(struct kvi_wait_curve *curve, double median, double sigma, double returns);
/*
 * From counts, and from larger, which counts as `weight` observations more. larger NULL: counts alone; where there are none, nobody returns. About
 * 80^2 / 2 multiplications.
 */
void kvi_wait_curve_build(struct kvi_wait_curve *curve, const struct kvi_waits *waits,
                          const struct kvi_wait_curve *larger, double weight);

/* In returns for each unit of time; 0: nobody returns any more. Between the ends of buckets it is interpolated. age: at least 0. */
double kvi_wait_curve_rate(const struct kvi_wait_curve *curve, double age);
/* The first age from which on the rate is below `rate`, and stays so; INFINITY: it never is. This is a time to live, if `rate` is the price. */
double kvi_wait_curve_worth_until(const struct kvi_wait_curve *curve, double rate);
/* How likely a wait of this length is, for each unit of time about it. */
double kvi_wait_curve_density(const struct kvi_wait_curve *curve, double time);
/* The chance that who is away at age is back by age + within. 0 when nobody is left. */
double kvi_wait_curve_back_within(const struct kvi_wait_curve *curve, double age, double within);
/*
 * The most, over all times to stop, of P(back by then | away at age) - price * E(time waited until then): what waiting on is worth in parts of what a return is, if each unit of time costs `price` of them; 0: it is not. Times up to
 * `within` from age on.
 */
double kvi_wait_curve_gain(const struct kvi_wait_curve *curve, double age, double price, double within);
/* When a part of those who are away at age is back, counted from age on: the p-quantile of the rest of the wait. INFINITY: so many never are. p: above 0, below 1. */
double kvi_wait_curve_rest(const struct kvi_wait_curve *curve, double age, double p);

#endif
