#include "client/traces/runs.h"

#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

#define HALF_SEED 7u

/* What a run is compared by. */
struct sign {
  uint64_t *pairs; /* input and output lengths, sorted, each once */
  uint32_t n;
  uint64_t all; /* of lengths and times in their order */
};

static int by_value(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

static void sign_fill(const struct sim_trace *trace, const struct sim_run *run, struct sign *sign)
{
  uint32_t n = 0;

  for (uint64_t i = 0; i < run->n_requests; i++) {
    const struct sim_request *request = &trace->requests[run->first_request + i];
    uint64_t pair = (uint64_t)request->input_tokens << 32 | request->output_tokens;
    uint64_t state = sign->all ^ pair ^ (request->at_us * UINT64_C(0x9E3779B97F4A7C15));

    sign->pairs[i] = pair;
    sign->all = kvi_splitmix64(&state);
  }
  if (run->n_requests > 0)
    qsort(sign->pairs, run->n_requests, sizeof *sign->pairs, by_value);
  for (uint64_t i = 0; i < run->n_requests; i++)
    if (n == 0 || sign->pairs[i] != sign->pairs[n - 1])
      sign->pairs[n++] = sign->pairs[i];
  sign->n = n;
}

static bool is_near(const struct sign *a, const struct sign *b)
{
  uint32_t shorter = a->n < b->n ? a->n : b->n, same = 0;

  for (uint32_t i = 0, k = 0; i < a->n && k < b->n;) {
    same += a->pairs[i] == b->pairs[k];
    if (a->pairs[i] < b->pairs[k])
      i++;
    else if (a->pairs[i] > b->pairs[k])
      k++;
    else
      i++, k++;
  }
  return shorter > 0 && 2 * same >= shorter;
}

/* The group's first run; groups point there step by step. */
static uint32_t root_of(struct sim_run *runs, uint32_t run)
{
  while (runs[run].group != run)
    run = runs[run].group;
  return run;
}

static void join(struct sim_run *runs, uint32_t a, uint32_t b)
{
  uint32_t x = root_of(runs, a), y = root_of(runs, b);

  if (x < y)
    runs[y].group = x;
  else
    runs[x].group = y;
}

static void compare_all(struct sim_trace *trace, const struct sign *signs, struct sim_runs_found *found)
{
  for (uint32_t b = 0; b < trace->n_runs; b++)
    for (uint32_t a = 0; a < b && !trace->runs[b].left_out; a++) {
      if (trace->runs[a].left_out)
        continue;
      if (trace->runs[a].n_requests == trace->runs[b].n_requests && signs[a].all == signs[b].all) {
        trace->runs[b].left_out = true;
        found->duplicates++;
      }
      if (trace->runs[b].left_out || is_near(&signs[a], &signs[b]))
        join(trace->runs, a, b);
    }
  for (uint32_t i = 0; i < trace->n_runs; i++)
    trace->runs[i].group = root_of(trace->runs, i);
}

/* Groups are dealt out to the halves in turn, in a shuffled order, so that both get as many. */
static kvs_status split(struct sim_trace *trace, enum sim_half half, struct sim_runs_found *found,
                        struct sim_error *error)
{
  uint32_t *order = malloc((trace->n_runs + 1) * sizeof *order);
  bool *other = calloc(trace->n_runs + 1, sizeof *other);
  uint32_t n = 0;
  kvi_rand rand;

  if (order && other) {
    for (uint32_t i = 0; i < trace->n_runs; i++)
      if (trace->runs[i].group == i)
        order[n++] = i;
    found->groups = n;
    kvi_rand_seed(&rand, HALF_SEED);
    for (uint32_t i = n; i > 1; i--) {
      uint32_t k = (uint32_t)kvi_rand_below(&rand, i), kept = order[k];

      order[k] = order[i - 1];
      order[i - 1] = kept;
    }
    for (uint32_t i = 0; i < n; i++)
      other[order[i]] = half != SIM_WHOLE && (i % 2 == 0) != (half == SIM_TUNE);
    for (uint32_t i = 0; i < trace->n_runs; i++)
      trace->runs[i].left_out |= other[trace->runs[i].group];
  } else {
    sim_fail(error, KVS_ERR_NOMEM, "no memory to compare the runs");
  }
  free(order);
  free(other);
  return error->status;
}

kvs_status sim_runs_check(const struct sim_trace *trace, bool is_asked, struct sim_error *error)
{
  if (is_asked && !trace->spread)
    return sim_fail(
        error, KVS_ERR_INVALID,
        "the trace says when its requests came, so there is nothing to halve or to load: leave --half and "
        "--load away");
  return KVS_OK;
}

kvs_status sim_runs_choose(struct sim_trace *trace, enum sim_half half, struct sim_runs_found *found_p,
                           struct sim_error *error)
{
  struct sign *signs;
  uint64_t *pairs;

  *found_p = (struct sim_runs_found){.groups = trace->n_runs};
  if (!trace->spread)
    return KVS_OK;
  if (trace->n_runs > SIM_COMPARED_MAX)
    return sim_fail(error, KVS_ERR_TOO_LARGE, "more than %u runs", SIM_COMPARED_MAX);
  signs = calloc(trace->n_runs + 1, sizeof *signs);
  pairs = calloc(trace->n_requests + 1, sizeof *pairs);
  if (!signs || !pairs) {
    sim_fail(error, KVS_ERR_NOMEM, "no memory to compare the runs");
  } else {
    for (uint32_t i = 0; i < trace->n_runs; i++) {
      signs[i].pairs = pairs + trace->runs[i].first_request;
      sign_fill(trace, &trace->runs[i], &signs[i]);
    }
    compare_all(trace, signs, found_p);
    split(trace, half, found_p, error);
  }
  free(signs);
  free(pairs);
  return error->status;
}
