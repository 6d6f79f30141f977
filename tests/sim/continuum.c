#include "tests/sim/continuum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WAITED 100u

struct calls {
  double *seconds; /* sorted */
  uint32_t n, room;
};

struct sim_continuum {
  struct calls all, tools[SIM_CONTINUUM_TOOLS];
  double waited[WAITED], waited_sum;
  uint32_t n_waited;
  double n, k, left, kk, ll,
      kl; /* sums over the turns of programs that have ended: of turns done, and left */
};

kvs_status sim_continuum_create(struct sim_continuum **continuum_p)
{
  *continuum_p = calloc(1, sizeof **continuum_p);
  return *continuum_p ? KVS_OK : KVS_ERR_NOMEM;
}

void sim_continuum_destroy(struct sim_continuum *continuum)
{
  if (!continuum)
    return;
  for (uint32_t i = 0; i < SIM_CONTINUUM_TOOLS; i++)
    free(continuum->tools[i].seconds);
  free(continuum->all.seconds);
  free(continuum);
}

static void add(struct calls *calls, double seconds)
{
  uint32_t low = 0, high = calls->n;

  if (calls->n == calls->room) {
    uint32_t room = calls->room > 0 ? 2 * calls->room : 64;
    double *grown = realloc(calls->seconds, room * sizeof *grown);

    if (!grown)
      return;
    calls->seconds = grown;
    calls->room = room;
  }
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;

    if (calls->seconds[middle] < seconds)
      low = middle + 1;
    else
      high = middle;
  }
  memmove(calls->seconds + low + 1, calls->seconds + low, (calls->n++ - low) * sizeof *calls->seconds);
  calls->seconds[low] = seconds;
}

void sim_continuum_returned(struct sim_continuum *continuum, uint32_t tool, double seconds)
{
  add(&continuum->all, seconds);
  if (tool < SIM_CONTINUUM_TOOLS)
    add(&continuum->tools[tool], seconds);
}

void sim_continuum_waited(struct sim_continuum *continuum, double seconds)
{
  double *oldest = &continuum->waited[continuum->n_waited++ % WAITED];

  continuum->waited_sum += seconds - *oldest;
  *oldest = seconds;
}

/* Each of its turns is a sample: k = 1 to n done, n - k left. */
void sim_continuum_ended(struct sim_continuum *continuum, uint32_t turns)
{
  double n = turns, ones = n * (n + 1) / 2, squares = n * (n + 1) * (2 * n + 1) / 6;

  continuum->n += n;
  continuum->k += ones;
  continuum->left += n * n - ones;
  continuum->kk += squares;
  continuum->ll += n * n * n - 2 * n * ones + squares;
  continuum->kl += n * ones - squares;
}

double sim_continuum_eta(const struct sim_continuum *continuum)
{
  double n = continuum->n;
  double both = n * continuum->kl - continuum->k * continuum->left;
  double of_k = n * continuum->kk - continuum->k * continuum->k;
  double of_left = n * continuum->ll - continuum->left * continuum->left;

  return of_k > 0 && of_left > 0 ? -both / sqrt(of_k * of_left) : 1;
}

double sim_continuum_ttl(const struct sim_continuum *continuum, uint32_t tool, double reload_s)
{
  const struct calls *calls = &continuum->all;
  uint32_t n_waited = continuum->n_waited < WAITED ? continuum->n_waited : WAITED;
  double waited_s = n_waited > 0 ? continuum->waited_sum / n_waited : 0;
  double benefit = waited_s * sim_continuum_eta(continuum) + reload_s, best = 0, best_s = 0;

  if (continuum->all.n <= SIM_CONTINUUM_COLD) {
    benefit = waited_s + reload_s;
    return benefit > 1 ? log(benefit) : 0;
  }
  if (tool < SIM_CONTINUUM_TOOLS && continuum->tools[tool].n > SIM_CONTINUUM_COLD)
    calls = &continuum->tools[tool];
  for (uint32_t i = 0; i < calls->n; i++) {
    double gain = (i + 1.0) / calls->n * benefit - calls->seconds[i];

    if (gain > best) {
      best = gain;
      best_s = calls->seconds[i];
    }
  }
  return best_s;
}
