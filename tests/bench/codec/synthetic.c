#include "tests/bench/codec/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "tests/bench/codec/number.h"

#define DIM_MAX        128u
#define RANK_SHARE     0.45 /* of the dimensions stand above the noise */
#define LOGIT_SPREAD   2.0
#define ROPE_THETA     500000.0
#define OUTLIER_SPREAD 0.20 /* deviation of an outlier channel, of a usual one */
#define QUERIES        32u
#define GROUP          2u /* query heads for each KV head */
#define TWO_PI         6.28318530717958647692

static const struct mode {
  const char *name;
  uint32_t n_heads, dim;
  bool large_bias;
} modes[] = {
    {"head128", 8, 128, false}, {"head64", 8, 64, false}, {"head32", 12, 32, false}, {"qwen2", 4, 128, true}};

const char *const codec_synthetic_modes[] = {"head128", "head64", "head32", "qwen2", NULL};

/* ---- random numbers ---- */

static double uniform(kvi_rand *random)
{
  return ((double)(kvi_rand_next(random) >> 11) + 0.5) / 9007199254740992.0; /* 2^53; never 0 or 1 */
}

static double between(kvi_rand *random, double from, double to)
{
  return from + (to - from) * uniform(random);
}

/* Box-Muller; the second number is thrown away, so that a seed's sequence has no hidden state. */
static double gauss(kvi_rand *random)
{
  double radius = sqrt(-2.0 * log(uniform(random)));

  return radius * cos(TWO_PI * uniform(random));
}

/* Deviation 1. */
static double laplace(kvi_rand *random)
{
  double u = uniform(random) - 0.5;

  return (u < 0 ? 1.0 : -1.0) * log(1.0 - 2.0 * fabs(u)) * 0.70710678118654752440;
}

/* Student's t with 4 degrees of freedom, deviation 1. */
static double student4(kvi_rand *random)
{
  double squares = 0;

  for (int i = 0; i < 4; i++) {
    double x = gauss(random);

    squares += x * x;
  }
  return gauss(random) / sqrt(squares / 4.0) * 0.70710678118654752440;
}

static double innovation(kvi_rand *random)
{
  double which = uniform(random);

  if (which < 0.01)
    return 2.0 * student4(random);
  return which < 0.70 ? gauss(random) : laplace(random);
}

/* ---- a head ---- */

/* How one plane of one head is distributed, before the rotation. */
struct model {
  uint32_t dim, rank;
  float mean[DIM_MAX], deviation[DIM_MAX];
  float mixing[DIM_MAX][DIM_MAX]; /* [factor][channel] */
  float noise;                    /* share of the deviation that is of no factor */
  double correlation;             /* of a token with the next one */
  float sink[4][DIM_MAX];
};

/* Factors with a spectrum that decays as k^-1.2, then each channel's variance made 1. */
static void mix(struct model *model, kvi_rand *random)
{
  model->rank = (uint32_t)(RANK_SHARE * model->dim);
  model->noise = 0.45f;
  for (uint32_t k = 0; k < model->rank; k++)
    for (uint32_t c = 0; c < model->dim; c++)
      model->mixing[k][c] = (float)(gauss(random) * pow(1.0 + k, -0.6));
  for (uint32_t c = 0; c < model->dim; c++) {
    float sum = 0;
    float scale;

    for (uint32_t k = 0; k < model->rank; k++)
      sum += model->mixing[k][c] * model->mixing[k][c];
    scale = sqrtf((1.0f - model->noise * model->noise) / sum);
    for (uint32_t k = 0; k < model->rank; k++)
      model->mixing[k][c] *= scale;
  }
}

static void make_keys(struct model *model, uint32_t dim, const uint32_t *outliers, uint32_t n_outliers,
                      double bias, kvi_rand *random)
{
  double level = exp(0.3 * gauss(random));

  memset(model, 0, sizeof *model);
  model->dim = dim;
  mix(model, random);
  model->correlation = between(random, 0.2, 0.5);
  for (uint32_t c = 0; c < dim; c++) {
    model->deviation[c] = (float)(level * exp(0.30 * gauss(random)));
    model->mean[c] = (float)(model->deviation[c] * 0.8 * gauss(random));
  }
  for (uint32_t i = 0; i < n_outliers; i++) {
    uint32_t c = outliers[i];
    double size = bias * exp(between(random, log(5.0), log(30.0)));

    model->deviation[c] = (float)(level * OUTLIER_SPREAD);
    model->mean[c] = (float)(model->deviation[c] * (uniform(random) < 0.5 ? -size : size));
  }
  for (uint32_t s = 0; s < 4; s++)
    for (uint32_t c = 0; c < dim; c++)
      model->sink[s][c] = (float)(0.3 * model->mean[c] + 1.5 * model->deviation[c] * gauss(random));
}

static void make_values(struct model *model, uint32_t dim, kvi_rand *random)
{
  double level = 0.2 * exp(0.3 * gauss(random));

  memset(model, 0, sizeof *model);
  model->dim = dim;
  mix(model, random);
  model->correlation = between(random, 0.1, 0.35);
  for (uint32_t c = 0; c < dim; c++) {
    model->deviation[c] = (float)(level * exp(0.24 * gauss(random)));
    model->mean[c] = (float)(model->deviation[c] * 0.45 * gauss(random));
  }
  for (uint32_t s = 0; s < 4; s++)
    for (uint32_t c = 0; c < dim; c++)
      model->sink[s][c] = (float)(0.1 * model->deviation[c] * gauss(random));
}

/* The state of the correlated factors from token to token. */
struct walk {
  double factor[DIM_MAX], rest[DIM_MAX];
  bool started;
};

/* The next token's deviation from the mean. */
static void step(const struct model *model, struct walk *walk, kvi_rand *random, float *x)
{
  double keep = walk->started ? model->correlation : 0.0;
  double add = sqrt(1.0 - keep * keep);

  walk->started = true;
  for (uint32_t k = 0; k < model->rank; k++)
    walk->factor[k] = keep * walk->factor[k] + add * innovation(random);
  for (uint32_t c = 0; c < model->dim; c++) {
    walk->rest[c] = keep * walk->rest[c] + add * innovation(random);
    x[c] = model->noise * (float)walk->rest[c];
  }
  for (uint32_t k = 0; k < model->rank; k++) {
    float factor = (float)walk->factor[k];

    for (uint32_t c = 0; c < model->dim; c++)
      x[c] += factor * model->mixing[k][c];
  }
  for (uint32_t c = 0; c < model->dim; c++)
    x[c] *= model->deviation[c];
}

/* In halves: dimension i turns with i + dim / 2. */
static void rotate(float *x, uint32_t dim, uint32_t place)
{
  for (uint32_t i = 0; i < dim / 2; i++) {
    double angle = place * pow(ROPE_THETA, -2.0 * i / dim);
    float c = (float)cos(angle);
    float s = (float)sin(angle);
    float a = x[i];
    float b = x[i + dim / 2];

    x[i] = a * c - b * s;
    x[i + dim / 2] = a * s + b * c;
  }
}

/* Which sink a token is, or -1: the first four, and about one in a hundred after them. */
static int sink_of(uint32_t token, uint64_t seed)
{
  uint64_t state = seed + token;

  if (token < 4)
    return (int)token;
  return kvi_splitmix64(&state) % 100 == 0 ? (int)(token & 3) : -1;
}

/* Where an element of a token lies in its plane. */
static uint16_t *at(const struct codec_set *set, uint32_t layer, bool value, uint32_t token, uint32_t head)
{
  return set->kv + (2 * layer + (value ? 1u : 0u)) * codec_set_plane(set) + token * codec_set_columns(set) +
         (size_t)head * set->dim;
}

static void store(uint16_t *to, const float *x, uint32_t dim)
{
  for (uint32_t c = 0; c < dim; c++)
    to[c] = codec_to_bf16(x[c]);
}

static void fill_head(const struct codec_set *set, const struct model *model, uint32_t layer, bool value,
                      uint32_t head, uint64_t seed, kvi_rand *random)
{
  struct walk walk = {.started = false};
  float x[DIM_MAX] = {0};

  for (uint32_t t = 0; t < set->n_tokens; t++) {
    int sink = sink_of(t, seed);

    step(model, &walk, random, x);
    for (uint32_t c = 0; c < set->dim; c++)
      x[c] = sink < 0 ? x[c] + model->mean[c] : 0.1f * x[c] + model->sink[sink][c];
    if (!value)
      rotate(x, set->dim, t);
    store(at(set, layer, value, t, head), x, set->dim);
  }
}

/* ---- queries ---- */

/* The deviation of a query's logits over the keys, the keys' mean left out. */
static double logit_spread(const struct codec_set *set, uint32_t layer, uint32_t head, const float *query)
{
  double sum = 0;
  double squares = 0;
  double variance;

  for (uint32_t t = 0; t < set->n_tokens; t++) {
    const uint16_t *key = at(set, layer, false, t, head);
    double logit = 0;

    for (uint32_t c = 0; c < set->dim; c++)
      logit += (double)query[c] * codec_from_bf16(key[c]);
    logit /= sqrt(set->dim);
    sum += logit;
    squares += logit * logit;
  }
  variance = squares / set->n_tokens - sum / set->n_tokens * (sum / set->n_tokens);
  return variance > 0 ? sqrt(variance) : 1.0;
}

/* Each query is a draw of the keys' noise, at the places after them. */
static void fill_queries(const struct codec_set *set, const struct model *model, uint32_t layer,
                         uint32_t head, kvi_rand *random)
{
  uint16_t *first = set->queries + (size_t)layer * set->n_queries * set->query_heads * set->dim;

  for (uint32_t q = 0; q < set->n_queries; q++) {
    for (uint32_t g = 0; g < GROUP; g++) {
      struct walk walk = {.started = false};
      float x[DIM_MAX] = {0};
      float scale;

      step(model, &walk, random, x);
      rotate(x, set->dim, set->n_tokens + q);
      scale = (float)(LOGIT_SPREAD / logit_spread(set, layer, head, x));
      for (uint32_t c = 0; c < set->dim; c++)
        x[c] *= scale;
      store(first + ((size_t)q * set->query_heads + head * GROUP + g) * set->dim, x, set->dim);
    }
  }
}

/* ---- a set ---- */

/* Outliers: among the slow quarter of the pairs, in one of the two dimensions, the same in all heads of a layer. */
static uint32_t choose_outliers(uint32_t dim, uint32_t *outliers, kvi_rand *random)
{
  uint32_t n = 1 + (uint32_t)kvi_rand_below(random, dim / 32 + 1);
  uint32_t half = uniform(random) < 0.5 ? 0 : dim / 2;

  for (uint32_t i = 0; i < n; i++)
    outliers[i] = half + dim / 8 * 3 + (uint32_t)kvi_rand_below(random, dim / 8);
  return n;
}

static void fill_layer(const struct codec_set *set, const struct mode *mode, uint32_t layer, uint64_t seed,
                       kvi_rand *random, struct model *model)
{
  bool edge = layer == 0 || layer + 1 == set->n_layers;
  uint32_t outliers[8];
  uint32_t n = choose_outliers(set->dim, outliers, random);

  for (uint32_t head = 0; head < set->n_heads; head++) {
    double bias = mode->large_bias && edge ? between(random, 30.0, 40.0) : 1.0;

    make_keys(model, set->dim, outliers, n, bias, random);
    fill_head(set, model, layer, false, head, seed, random);
    fill_queries(set, model, layer, head, random);
    make_values(model, set->dim, random);
    fill_head(set, model, layer, true, head, seed, random);
  }
}

kvs_status codec_synthetic_make(const char *mode_name, uint32_t n_layers, uint32_t n_tokens, uint64_t seed,
                                struct codec_set *set_p)
{
  const struct mode *mode = NULL;
  struct model *model = malloc(sizeof *model);
  kvi_rand random;

  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
    if (strcmp(modes[i].name, mode_name) == 0)
      mode = &modes[i];
  memset(set_p, 0, sizeof *set_p);
  if (mode == NULL || model == NULL) {
    free(model);
    return mode == NULL ? KVS_ERR_INVALID : KVS_ERR_NOMEM;
  }
  snprintf(set_p->name, sizeof set_p->name, "synthetic-%s", mode->name);
  set_p->n_chunks = 1;
  set_p->n_layers = n_layers;
  set_p->n_tokens = n_tokens;
  set_p->n_heads = mode->n_heads;
  set_p->dim = mode->dim;
  set_p->n_queries = QUERIES;
  set_p->query_heads = GROUP * mode->n_heads;
  if (!codec_set_allocate(set_p)) {
    free(model);
    return KVS_ERR_NOMEM;
  }
  kvi_rand_seed(&random, seed);
  for (uint32_t layer = 0; layer < n_layers; layer++)
    fill_layer(set_p, mode, layer, seed, &random, model);
  free(model);
  return KVS_OK;
}
