#include "tiers/policy/continuum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WAITED 100u

struct calls {
  double *sorted, *latest; /* the same: by length, and a ring in which they came */
  uint32_t n, room;
  uint32_t next; /* in the ring */
};

struct kvi_continuum {
  struct calls all, tools[KVI_CONTINUUM_TOOLS];
  double waited[WAITED], waited_sum;
  uint32_t n_waited;
  double n, k, left, kk, ll,
      kl; /* sums over the turns of programs that have ended: of turns done, and left */
  double seconds[2 * (KVI_CONTINUUM_OF_ALL + KVI_CONTINUUM_TOOLS * KVI_CONTINUUM_OF_TOOL)];
};

/* Returns what is behind its memory. */
static double *calls_start(struct calls *calls, double *memory, uint32_t room)
{
  *calls = (struct calls){.sorted = memory, .latest = memory + room, .room = room};
  return memory + 2 * (size_t)room;
}

kvs_status kvi_continuum_create(struct kvi_continuum **continuum_p)
{
  struct kvi_continuum *continuum = calloc(1, sizeof(*continuum));
  double *memory;

  *continuum_p = continuum;
  if (!continuum)
    return KVS_ERR_NOMEM;
  memory = calls_start(&continuum->all, continuum->seconds, KVI_CONTINUUM_OF_ALL);
  for (uint32_t i = 0; i < KVI_CONTINUUM_TOOLS; i++)
    memory = calls_start(&continuum->tools[i], memory, KVI_CONTINUUM_OF_TOOL);
  return KVS_OK;
}

void kvi_continuum_destroy(struct kvi_continuum *continuum)
{
  free(continuum);
}

uint64_t kvi_continuum_memory(void)
{
  return sizeof(struct kvi_continuum);
}

/* The first that is no shorter. */
static uint32_t place_of(const struct calls *calls, double seconds)
{
  uint32_t low = 0, high = calls->n;

  while (low < high) {
    uint32_t middle = low + (high - low) / 2;

    if (calls->sorted[middle] < seconds)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void add(struct calls *calls, double seconds)
{
  uint32_t at;

  if (calls->n == calls->room) {
    at = place_of(calls, calls->latest[calls->next]);
    memmove(calls->sorted + at, calls->sorted + at + 1, (--calls->n - at) * sizeof *calls->sorted);
  }
  calls->latest[calls->next] = seconds;
  calls->next = (calls->next + 1) % calls->room;
  at = place_of(calls, seconds);
  memmove(calls->sorted + at + 1, calls->sorted + at, (calls->n++ - at) * sizeof *calls->sorted);
  calls->sorted[at] = seconds;
}

void kvi_continuum_returned(struct kvi_continuum *continuum, uint32_t tool, double seconds)
{
  add(&continuum->all, seconds);
  if (tool < KVI_CONTINUUM_TOOLS)
    add(&continuum->tools[tool], seconds);
}

void kvi_continuum_waited(struct kvi_continuum *continuum, double seconds)
{
  double *oldest = &continuum->waited[continuum->n_waited++ % WAITED];

  continuum->waited_sum += seconds - *oldest;
  *oldest = seconds;
}

/* Each of its turns is a sample: k = 1 to n done, n - k left. */
void kvi_continuum_ended(struct kvi_continuum *continuum, uint32_t turns)
{
  double n = turns, ones = n * (n + 1) / 2, squares = n * (n + 1) * (2 * n + 1) / 6;

  continuum->n += n;
  continuum->k += ones;
  continuum->left += n * n - ones;
  continuum->kk += squares;
  continuum->ll += n * n * n - 2 * n * ones + squares;
  continuum->kl += n * ones - squares;
}

double kvi_continuum_eta(const struct kvi_continuum *continuum)
{
  double n = continuum->n;
  double both = n * continuum->kl - continuum->k * continuum->left;
  double of_k = n * continuum->kk - continuum->k * continuum->k;
  double of_left = n * continuum->ll - continuum->left * continuum->left;

  return of_k > 0 && of_left > 0 ? -both / sqrt(of_k * of_left) : 1;
}

double kvi_continuum_ttl(const struct kvi_continuum *continuum, uint32_t tool, double reload_s)
{
  const struct calls *calls = &continuum->all;
  uint32_t n_waited = continuum->n_waited < WAITED ? continuum->n_waited : WAITED;
  double waited_s = n_waited > 0 ? continuum->waited_sum / n_waited : 0;
  double benefit = waited_s * kvi_continuum_eta(continuum) + reload_s, best = 0, best_s = 0;

  if (continuum->all.n <= KVI_CONTINUUM_COLD) {
    benefit = waited_s + reload_s;
    return benefit > 1 ? log(benefit) : 0;
  }
  if (tool < KVI_CONTINUUM_TOOLS && continuum->tools[tool].n > KVI_CONTINUUM_COLD)
    calls = &continuum->tools[tool];
  for (uint32_t i = 0; i < calls->n; i++) {
    double gain = (i + 1.0) / calls->n * benefit - calls->sorted[i];

    if (gain > best) {
      best = gain;
      best_s = calls->sorted[i];
    }
  }
  return best_s;
}
