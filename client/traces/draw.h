/* client/traces/draw.h: numbers at random, from a splitmix state that a seed begins. */
#ifndef KVASIR_CLIENT_TRACES_DRAW_H
#define KVASIR_CLIENT_TRACES_DRAW_H

#include <math.h>

#include "base/rand.h"

/* Above 0, below 1. */
static inline double sim_draw_uniform(uint64_t *random)
{
  return ((double)(kvi_splitmix64(random) >> 11) + 0.5) / 9007199254740992.0;
}

/* Mean 0, deviation 1. Box and Muller 1958. */
static inline double sim_draw_normal(uint64_t *random)
{
  double radius = sqrt(-2 * log(sim_draw_uniform(random)));

  return radius * cos(2 * M_PI * sim_draw_uniform(random));
}

static inline double sim_draw_lognormal(uint64_t *random, double median, double sigma)
{
  return median * exp(sigma * sim_draw_normal(random));
}

static inline double sim_draw_exponential(uint64_t *random, double mean)
{
  return -mean * log(sim_draw_uniform(random));
}

#endif
