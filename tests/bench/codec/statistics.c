#include "tests/bench/codec/statistics.h"

#include <math.h>
#include <string.h>

#include "tests/bench/codec/number.h"
#include "tests/bench/stats.h"

static double entropy(const uint64_t *count, size_t n)
{
  double all = 0;
  double bits = 0;

  for (size_t i = 0; i < n; i++)
    all += (double)count[i];
  for (size_t i = 0; i < n; i++)
    if (count[i] > 0)
      bits += (double)count[i] * log2(all / (double)count[i]);
  return all > 0 ? bits / all : 0;
}

/* Codes are -127 to 127 with the block's largest |x| at 127. */
static void count_q8(const uint16_t *from, uint64_t count[256])
{
  float most = 0;

  for (int i = 0; i < 32; i++)
    most = fmaxf(most, fabsf(codec_from_bf16(from[i])));
  for (int i = 0; i < 32; i++)
    count[(int)(most > 0 ? rintf(codec_from_bf16(from[i]) * (127.0f / most)) : 0) + 128]++;
}

/* Of all keys (first 0), or all values (1). */
static double q8_entropy(const struct codec_set *set, uint32_t first)
{
  uint64_t count[256] = {0};
  size_t plane = codec_set_plane(set);

  for (uint32_t p = first; p < 2 * set->n_layers * set->n_chunks; p += 2)
    for (size_t i = 0; i + 32 <= plane; i += 32)
      count_q8(set->kv + p * plane + i, count);
  return entropy(count, 256);
}

static double exponent_entropy(const struct codec_set *set)
{
  size_t plane = codec_set_plane(set);
  uint32_t n_planes = 2 * set->n_layers;
  double sum = 0;

  for (uint32_t p = 0; p < n_planes; p++) {
    uint64_t count[256] = {0};

    for (uint32_t chunk = 0; chunk < set->n_chunks; chunk++) {
      const uint16_t *from = codec_set_raw(set, chunk) + p * plane;

      for (size_t i = 0; i < plane; i++)
        count[from[i] >> 7 & 0xFF]++;
    }
    sum += entropy(count, 256);
  }
  return sum / n_planes;
}

/* Of one head's keys: products of neighbours over squares, around the channels' means. */
static double correlation_of(const struct codec_set *set, const uint16_t *head)
{
  double products = 0;
  double squares = 0;

  for (uint32_t c = 0; c < set->dim; c++) {
    const uint16_t *channel = head + c;
    double mean = 0;

    for (uint32_t t = 0; t < set->n_tokens; t++)
      mean += codec_from_bf16(channel[t * codec_set_columns(set)]);
    mean /= set->n_tokens;
    for (uint32_t t = 0; t + 1 < set->n_tokens; t++) {
      double a = codec_from_bf16(channel[t * codec_set_columns(set)]) - mean;
      double b = codec_from_bf16(channel[(t + 1) * codec_set_columns(set)]) - mean;

      products += a * b;
      squares += a * a;
    }
  }
  return squares > 0 ? products / squares : 0;
}

static double correlation(const struct codec_set *set)
{
  double values[BENCH_ROUNDS_MAX];
  size_t n = 0;

  for (uint32_t layer = 0; layer < set->n_layers; layer++)
    for (uint32_t h = 0; h < set->n_heads && n < BENCH_ROUNDS_MAX; h++)
      values[n++] = correlation_of(set, set->kv + 2 * layer * codec_set_plane(set) + (size_t)h * set->dim);
  return bench_summarise(values, n).median;
}

void codec_statistics_of(const struct codec_set *set, struct codec_statistics *statistics_p)
{
  statistics_p->q8_keys = q8_entropy(set, 0);
  statistics_p->q8_values = q8_entropy(set, 1);
  statistics_p->exponent_entropy = exponent_entropy(set);
  statistics_p->correlation = correlation(set);
}
