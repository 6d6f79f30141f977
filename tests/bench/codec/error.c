#include "tests/bench/codec/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/attention.h"
#include "tests/bench/codec/number.h"

#define NEEDLES 16u /* tokens of each head that are looked for */

/*
 * Of each chunk, layer, KV head: its queries (those of the query heads that share it, then the needles), with their weights, and for the
 * real ones their outputs.
 */
struct codec_truth {
  const struct codec_set *set;
  uint32_t group, real; /* query heads a KV head; queries of a KV head without the needles */
  float *queries;       /* [unit][real + NEEDLES][dim] */
  float *weights;       /* [unit][real + NEEDLES][token] */
  float *outputs;       /* [unit][real][dim] */
};

struct sums {
  double squares, worst; /* of relative errors */
  uint64_t n;
};

struct codec_tally {
  const struct codec_truth *truth;
  struct codec_head head;
  float *weights, *output;
  struct sums keys, values, attention;
  double divergence;
  uint64_t n_queries, n_top, n_needles, n_found;
  bool exact;
};

static size_t unit_of(const struct codec_set *set, uint32_t chunk, uint32_t layer, uint32_t head)
{
  return ((size_t)chunk * set->n_layers + layer) * set->n_heads + head;
}

static float *query_at(const struct codec_truth *truth, size_t unit, uint32_t q)
{
  return truth->queries + (unit * (truth->real + NEEDLES) + q) * truth->set->dim;
}

static float *weights_at(const struct codec_truth *truth, size_t unit, uint32_t q)
{
  return truth->weights + (unit * (truth->real + NEEDLES) + q) * truth->set->n_tokens;
}

static float *output_at(const struct codec_truth *truth, size_t unit, uint32_t q)
{
  return truth->outputs + (unit * truth->real + q) * truth->set->dim;
}

/* ---- the truth ---- */

static void load_queries(const struct codec_truth *truth, uint32_t chunk, uint32_t layer, uint32_t head)
{
  const struct codec_set *set = truth->set;
  size_t unit = unit_of(set, chunk, layer, head);

  for (uint32_t q = 0; q < truth->real; q++) {
    const uint16_t *from =
        codec_set_queries(set, chunk, layer) +
        ((size_t)(q % set->n_queries) * set->query_heads + head * truth->group + q / set->n_queries) *
            set->dim;
    float *to = query_at(truth, unit, q);

    for (uint32_t c = 0; c < set->dim; c++)
      to[c] = codec_from_bf16(from[c]);
  }
}

/* A needle is a token's key less the channels' means: its own token is what it should find. */
static void make_needles(const struct codec_truth *truth, size_t unit, const struct codec_head *head)
{
  for (uint32_t c = 0; c < head->dim; c++) {
    const float *channel = head->keys + (size_t)c * head->n_tokens;
    double mean = 0;

    for (uint32_t t = 0; t < head->n_tokens; t++)
      mean += channel[t];
    mean /= head->n_tokens;
    for (uint32_t i = 0; i < NEEDLES; i++) {
      uint32_t t = (uint32_t)((uint64_t)(2 * i + 1) * head->n_tokens / (2 * NEEDLES));

      query_at(truth, unit, truth->real + i)[c] = channel[t] - (float)mean;
    }
  }
}

static void compute_truth(const struct codec_truth *truth, struct codec_head *head)
{
  const struct codec_set *set = truth->set;

  for (uint32_t chunk = 0; chunk < set->n_chunks; chunk++)
    for (uint32_t layer = 0; layer < set->n_layers; layer++)
      for (uint32_t h = 0; h < set->n_heads; h++) {
        size_t unit = unit_of(set, chunk, layer, h);

        codec_head_load(head, set, codec_set_raw(set, chunk), layer, h);
        load_queries(truth, chunk, layer, h);
        make_needles(truth, unit, head);
        for (uint32_t q = 0; q < truth->real + NEEDLES; q++)
          codec_head_weights(head, query_at(truth, unit, q), weights_at(truth, unit, q));
        for (uint32_t q = 0; q < truth->real; q++)
          codec_head_output(head, weights_at(truth, unit, q), output_at(truth, unit, q));
      }
}

static float *numbers(size_t a, size_t b, size_t c)
{
  return calloc(a * b * c + 1, sizeof(float));
}

kvs_status codec_truth_make(const struct codec_set *set, struct codec_truth **truth_p)
{
  struct codec_truth *truth = calloc(1, sizeof *truth);
  size_t units = (size_t)set->n_chunks * set->n_layers * set->n_heads;
  struct codec_head head = {0};

  *truth_p = NULL;
  if (truth == NULL)
    return KVS_ERR_NOMEM;
  truth->set = set;
  truth->group = set->query_heads / set->n_heads;
  truth->real = truth->group * set->n_queries;
  truth->queries = numbers(units, truth->real + NEEDLES, set->dim);
  truth->weights = numbers(units, truth->real + NEEDLES, set->n_tokens);
  truth->outputs = numbers(units, truth->real, set->dim);
  if (truth->queries == NULL || truth->weights == NULL || truth->outputs == NULL ||
      !codec_head_allocate(&head, set->n_tokens, set->dim)) {
    codec_truth_free(truth);
    return KVS_ERR_NOMEM;
  }
  compute_truth(truth, &head);
  codec_head_free(&head);
  *truth_p = truth;
  return KVS_OK;
}

void codec_truth_free(struct codec_truth *truth)
{
  if (truth == NULL)
    return;
  free(truth->queries);
  free(truth->weights);
  free(truth->outputs);
  free(truth);
}

/* ---- the tally ---- */

kvs_status codec_tally_make(const struct codec_truth *truth, struct codec_tally **tally_p)
{
  struct codec_tally *tally = calloc(1, sizeof *tally);

  *tally_p = NULL;
  if (tally == NULL)
    return KVS_ERR_NOMEM;
  tally->truth = truth;
  tally->exact = true;
  tally->weights = numbers(1, 1, truth->set->n_tokens);
  tally->output = numbers(1, 1, truth->set->dim);
  if (tally->weights == NULL || tally->output == NULL ||
      !codec_head_allocate(&tally->head, truth->set->n_tokens, truth->set->dim)) {
    codec_tally_free(tally);
    return KVS_ERR_NOMEM;
  }
  *tally_p = tally;
  return KVS_OK;
}

void codec_tally_free(struct codec_tally *tally)
{
  if (tally == NULL)
    return;
  codec_head_free(&tally->head);
  free(tally->weights);
  free(tally->output);
  free(tally);
}

/* An error of nothing is none, and one against nothing is a whole. */
static void add_ratio(struct sums *sums, double error, double size)
{
  double squares = size > 0 ? error / size : error != 0 ? 1.0 : 0.0;

  if (!isfinite(squares) || !isfinite(error))
    squares = INFINITY;
  sums->squares += squares;
  sums->worst = fmax(sums->worst, squares);
  sums->n++;
}

/* Of one head of one plane. */
static void compare_elements(const struct codec_set *set, const uint16_t *was, const uint16_t *is,
                             struct sums *sums)
{
  double error = 0;
  double size = 0;

  for (uint32_t c = 0; c < set->dim; c++) {
    double mean = 0;

    for (uint32_t t = 0; t < set->n_tokens; t++)
      mean += codec_from_bf16(was[t * codec_set_columns(set) + c]);
    mean /= set->n_tokens;
    for (uint32_t t = 0; t < set->n_tokens; t++) {
      double x = codec_from_bf16(was[t * codec_set_columns(set) + c]);
      double y = codec_from_bf16(is[t * codec_set_columns(set) + c]);

      error += (x - y) * (x - y);
      size += (x - mean) * (x - mean);
    }
  }
  add_ratio(sums, error, size);
}

static double divergence(const float *p, const float *q, uint32_t n)
{
  double sum = 0;

  for (uint32_t t = 0; t < n; t++)
    if (p[t] > 0)
      sum += (double)(p[t] * logf(p[t] / (q[t] > 1e-30f ? q[t] : 1e-30f)));
  return isfinite(sum) ? fmax(sum, 0.0) : INFINITY;
}

/* The query heads that share one KV head; the outputs of each are one vector. */
static void compare_attention(struct codec_tally *tally, size_t unit)
{
  const struct codec_truth *truth = tally->truth;
  const struct codec_set *set = truth->set;

  for (uint32_t g = 0; g < truth->group; g++) {
    double error = 0;
    double size = 0;

    for (uint32_t i = 0; i < set->n_queries; i++) {
      uint32_t q = g * set->n_queries + i;
      const float *weights = weights_at(truth, unit, q);
      const float *output = output_at(truth, unit, q);

      codec_head_weights(&tally->head, query_at(truth, unit, q), tally->weights);
      codec_head_output(&tally->head, tally->weights, tally->output);
      for (uint32_t c = 0; c < set->dim; c++) {
        double difference = (double)output[c] - tally->output[c];

        error += difference * difference;
        size += (double)output[c] * output[c];
      }
      tally->divergence += divergence(weights, tally->weights, set->n_tokens);
      tally->n_top += codec_head_top(weights, set->n_tokens) == codec_head_top(tally->weights, set->n_tokens);
      tally->n_queries++;
    }
    if (set->n_queries > 0)
      add_ratio(&tally->attention, error, size);
  }
}

static void compare_needles(struct codec_tally *tally, size_t unit)
{
  const struct codec_truth *truth = tally->truth;
  uint32_t n = truth->set->n_tokens;

  for (uint32_t q = truth->real; q < truth->real + NEEDLES; q++) {
    codec_head_weights(&tally->head, query_at(truth, unit, q), tally->weights);
    tally->n_found += codec_head_top(weights_at(truth, unit, q), n) == codec_head_top(tally->weights, n);
    tally->n_needles++;
  }
}

void codec_tally_add(struct codec_tally *tally, uint32_t chunk, const uint16_t *decoded)
{
  const struct codec_set *set = tally->truth->set;
  const uint16_t *raw = codec_set_raw(set, chunk);

  if (memcmp(raw, decoded, codec_set_chunk(set) * sizeof *raw) != 0)
    tally->exact = false;
  for (uint32_t layer = 0; layer < set->n_layers; layer++)
    for (uint32_t head = 0; head < set->n_heads; head++) {
      size_t unit = unit_of(set, chunk, layer, head);
      size_t keys = 2 * layer * codec_set_plane(set) + (size_t)head * set->dim;
      size_t values = keys + codec_set_plane(set);

      compare_elements(set, raw + keys, decoded + keys, &tally->keys);
      compare_elements(set, raw + values, decoded + values, &tally->values);
      codec_head_load(&tally->head, set, decoded, layer, head);
      compare_attention(tally, unit);
      compare_needles(tally, unit);
    }
}

static double mean_of(const struct sums *sums)
{
  return sums->n > 0 ? sqrt(sums->squares / (double)sums->n) : 0;
}

static double share(uint64_t part, uint64_t all)
{
  return all > 0 ? (double)part / (double)all : 0;
}

void codec_tally_result(const struct codec_tally *tally, struct codec_error *error_p)
{
  error_p->keys = mean_of(&tally->keys);
  error_p->values = mean_of(&tally->values);
  error_p->keys_worst = sqrt(tally->keys.worst);
  error_p->values_worst = sqrt(tally->values.worst);
  error_p->attention = mean_of(&tally->attention);
  error_p->divergence = tally->n_queries > 0 ? tally->divergence / (double)tally->n_queries : 0;
  error_p->top = share(tally->n_top, tally->n_queries);
  error_p->needles = share(tally->n_found, tally->n_needles);
  error_p->exact = tally->exact;
}
