/*
 * tiers/policy/curve.c: what a cache of another size would have had: an estimate of all requests by a sample of them, and how far it may be off.
 */
#include <math.h>
#include <string.h>

#include "tiers/policy/curve_private.h"

const double kvi_curve_factors[KVI_CURVE_POINTS] = {0.125, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 4};

static double part(uint64_t tokens, double asked)
{
  return (double)tokens / asked;
}

static double within(double value)
{
  return fmin(fmax(value, 0), 1);
}

/* What a sample says, before what all requests show is taken into account; parts of the tokens. */
struct said {
  double lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
  double off; /* what the cache there is really had, less what the sample says it had */
};

/*
 * The sample has the hot chunks or has them not, which is most of its error, and two things that all requests show tell how much. It asked for more, or fewer, tokens than its share: those are taken for uses of
 * hot chunks, which hit in any cache (SHARDS-adj). And with that the cache there is would have had more, or less, than it really had: `off`, of which corrected() makes what it is worth.
 */
static void said_take(const struct kvi_curve_input *input, const struct kvi_curve_answer *answer, double rate,
                      struct said *said)
{
  bool whole = input->asked == 0 || rate >= 1;
  double asked = whole ? (double)answer->asked : (double)input->asked * rate;
  double more = whole ? 0 : (asked - (double)answer->asked) / asked;

  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
    said->lru[p] = part(answer->lru[p], asked) + more;
    said->belady[p] = part(answer->belady[p], asked) + more;
  }
  said->off = whole ? 0 : part(input->memory, (double)input->asked) - part(answer->memory, asked) - more;
}

static void own_rates(const struct kvi_curve_input *input, const struct kvi_curve_answer *answer,
                      struct kvi_curve *curve)
{
  bool whole = input->asked == 0 || input->rate >= 1;
  double asked = whole ? (double)answer->asked : (double)input->asked;

  curve->hit = part(whole ? answer->hit : input->hit, asked);
  curve->memory = part(whole ? answer->memory : input->memory, asked);
  curve->before = part(answer->before, (double)answer->asked);
}

/* A value of each group, and how far what the group says of the node is off. */
struct spread {
  double values[KVI_CURVE_GROUPS], offs[KVI_CURVE_GROUPS];
  uint32_t n;
};

static void spread_add(struct spread *spread, double value, double off)
{
  spread->values[spread->n] = value;
  spread->offs[spread->n++] = off;
}

static double mean_of(const double *values, uint32_t n)
{
  double sum = 0;

  for (uint32_t i = 0; i < n; i++)
    sum += values[i];
  return n > 0 ? sum / n : 0;
}

/*
 * How much of `off` a value wants (a control variate): with so much of it the groups differ least. All of it where the node goes by last use and its hits are in memory. None where what it had has nothing to do with what
 * an LRU has: its hits are on another tier, and taking it off would only add its error.
 */
static double spread_weight(const struct spread *spread)
{
  double value = mean_of(spread->values, spread->n), off = mean_of(spread->offs, spread->n), both = 0,
         square = 0;

  for (uint32_t i = 0; i < spread->n; i++) {
    both += (spread->values[i] - value) * (spread->offs[i] - off);
    square += (spread->offs[i] - off) * (spread->offs[i] - off);
  }
  return square > 0 ? within(-both / square) : 0;
}

/* Of the mean of the groups, with so much of `off`: a standard error. */
static double spread_error(const struct spread *spread, double weight)
{
  double mean = mean_of(spread->values, spread->n) + weight * mean_of(spread->offs, spread->n), sum = 0;

  for (uint32_t i = 0; i < spread->n; i++) {
    double value = spread->values[i] + weight * spread->offs[i] - mean;

    sum += value * value;
  }
  return spread->n > 1 ? sqrt(sum / spread->n / (spread->n - 1)) : NAN;
}

struct spreads {
  struct spread lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
};

static void groups_follow(struct kvi_curve_work *work, const struct kvi_curve_input *input,
                          struct spreads *spreads)
{
  for (uint32_t g = 0; g < KVI_CURVE_GROUPS; g++) {
    uint32_t n = 0, from = 0;
    struct kvi_curve_answer answer;
    struct said said;

    for (uint32_t i = 0; i < input->n; i++) {
      if (kvi_curve_group(input->samples[i].chunk) != g)
        continue;
      work->samples[n++] = input->samples[i];
      from += i < input->from;
    }
    kvi_curve_follow(work, work->samples, n, from, input->rate / KVI_CURVE_GROUPS, input->capacity, &answer);
    if (answer.asked == 0)
      continue;
    said_take(input, &answer, input->rate / KVI_CURVE_GROUPS, &said);
    for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
      spread_add(&spreads->lru[p], said.lru[p], said.off);
      spread_add(&spreads->belady[p], said.belady[p], said.off);
    }
  }
}

/* Of the whole sample, by groups of its chunks. They share caches, unlike groups that are followed alone, whose caches hold few chunks: so they differ by what is in them. */
static void shares_spread(const struct kvi_curve_input *input, const struct kvi_curve_answer *answer,
                          struct spreads *spreads)
{
  for (uint32_t g = 0; g < KVI_CURVE_GROUPS; g++) {
    const struct kvi_curve_share *share = &answer->shares[g];
    struct kvi_curve_answer own = {.asked = share->asked, .memory = share->memory};
    struct said said;

    memcpy(own.lru, share->lru, sizeof(own.lru));
    memcpy(own.belady, share->belady, sizeof(own.belady));
    if (own.asked == 0)
      continue;
    said_take(input, &own, input->rate / KVI_CURVE_GROUPS, &said);
    for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
      spread_add(&spreads->lru[p], said.lru[p], said.off);
      spread_add(&spreads->belady[p], said.belady[p], said.off);
    }
  }
}

/* Of one value less another one, each with its weight. */
static double difference_error(const struct spread *value, double value_weight, const struct spread *less,
                               double less_weight)
{
  struct spread spread = {.n = 0};

  for (uint32_t i = 0; i < value->n; i++)
    spread_add(
        &spread,
        value->values[i] + value_weight * value->offs[i] - less->values[i] - less_weight * less->offs[i], 0);
  return spread_error(&spread, 0);
}

/* Never more than twice what the sample may be off without it: if a hot chunk is missing that has its hits elsewhere, no group shows that it has nothing to do with an LRU, but `off` is large. */
static double weight(const struct spread *shares, double off)
{
  double most = 2 * spread_error(shares, 0), weight = spread_weight(shares);

  return weight * fabs(off) > most ? most / fabs(off) : weight;
}

static void corrected(const struct spreads *shares, const struct spreads *groups, const struct said *said,
                      struct kvi_curve *curve)
{
  double lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];

  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
    lru[p] = weight(&shares->lru[p], said->off);
    belady[p] = weight(&shares->belady[p], said->off);
    curve->points[p].lru = within(said->lru[p] + lru[p] * said->off);
    curve->points[p].belady = within(said->belady[p] + belady[p] * said->off);
    curve->points[p].lru_error = spread_error(&groups->lru[p], lru[p]);
    curve->points[p].belady_error = spread_error(&groups->belady[p], belady[p]);
  }
  curve->gain_error = difference_error(&groups->lru[KVI_CURVE_MORE], lru[KVI_CURVE_MORE],
                                       &groups->lru[KVI_CURVE_OWN], lru[KVI_CURVE_OWN]);
  curve->gap_error = difference_error(&groups->belady[KVI_CURVE_OWN], belady[KVI_CURVE_OWN],
                                      &groups->lru[KVI_CURVE_OWN], lru[KVI_CURVE_OWN]);
}

static void as_said(const struct said *said, struct kvi_curve *curve)
{
  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++)
    curve->points[p] = (struct kvi_curve_point){within(said->lru[p]), within(said->belady[p]), 0, 0};
  curve->gain_error = curve->gap_error = 0;
}

static void curve_clear(struct kvi_curve *curve)
{
  memset(curve, 0, sizeof(*curve));
  curve->hit = curve->memory = curve->before = curve->gain_error = curve->gap_error = NAN;
  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++)
    curve->points[p] = (struct kvi_curve_point){NAN, NAN, NAN, NAN};
}

kvs_status kvi_curve_estimate(const struct kvi_curve_input *input, struct kvi_curve *curve_p)
{
  struct kvi_curve_answer answer;
  struct said said;
  struct kvi_curve_work *work;

  curve_clear(curve_p);
  if (input->n > KVI_CURVE_SAMPLES_MAX || !(input->rate > 0 && input->rate <= 1) || input->from > input->n ||
      input->capacity == 0)
    return KVS_ERR_INVALID;
  work = kvi_curve_work_create(input->n);
  if (!work)
    return KVS_ERR_NOMEM;
  kvi_curve_follow(work, input->samples, input->n, input->from, input->rate, input->capacity, &answer);
  curve_p->requests = answer.requests;
  curve_p->uses = answer.uses;
  curve_p->chunks = answer.chunks;
  curve_p->distinct_bytes = (double)answer.distinct_bytes / input->rate;
  if (answer.asked > 0) {
    curve_p->asked = input->asked > 0 ? input->asked : answer.asked;
    own_rates(input, &answer, curve_p);
    said_take(input, &answer, input->rate, &said);
    if (input->rate < 1) {
      struct spreads shares = {.lru = {{.n = 0}}}, groups = shares;

      shares_spread(input, &answer, &shares);
      groups_follow(work, input, &groups);
      corrected(&shares, &groups, &said, curve_p);
    } else
      as_said(&said, curve_p);
  }
  kvi_curve_work_destroy(work);
  return KVS_OK;
}
