#include "client/traces/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"

void sim_schedule_destroy(struct sim_schedule *schedule)
{
  if (!schedule)
    return;
  free(schedule->events);
  free(schedule->next);
  free(schedule->after);
  free(schedule);
}

static int by_time(const void *a, const void *b)
{
  const struct sim_event *x = a, *y = b;

  if (x->at_ns != y->at_ns)
    return x->at_ns < y->at_ns ? -1 : 1;
  return (x->request > y->request) - (x->request < y->request);
}

/* Each run draws a start, those that are left out too, so that leaving one out moves no other within its window. */
static void place_runs(const struct sim_trace *trace, uint64_t seed, double load, uint64_t *starts)
{
  double fraction, window_s;
  uint32_t n = 0;
  kvi_rand rand;

  for (uint32_t i = 0; i < trace->n_runs; i++)
    n += !trace->runs[i].left_out;
  window_s = n / (load * SIM_STARTS_PER_HOUR) * 3600;
  kvi_rand_seed(&rand, seed);
  for (uint32_t i = 0; i < trace->n_runs; i++) {
    fraction = (double)(kvi_rand_next(&rand) >> 11) * 0x1p-53;
    starts[i] = trace->spread ? (uint64_t)fmin(fraction * window_s * 1e6, (double)SIM_TIME_MAX_US + 1) : 0;
  }
}

static kvs_status place_requests(const struct sim_trace *trace, const uint64_t *starts,
                                 struct sim_schedule *schedule, struct sim_error *error)
{
  for (size_t i = 0; i < trace->n_requests; i++) {
    const struct sim_request *request = &trace->requests[i];

    if (trace->runs[request->run].left_out)
      continue;
    if (starts[request->run] + request->at_us > SIM_TIME_MAX_US)
      return sim_fail(error, KVS_ERR_INVALID, "at this load requests come after more than 142 years");
    schedule->events[schedule->n++] = (struct sim_event){
        .at_ns = (starts[request->run] + request->at_us) * KVI_NS_PER_US, .request = (uint32_t)i};
  }
  qsort(schedule->events, schedule->n, sizeof *schedule->events, by_time);
  return KVS_OK;
}

/* From the end: what was seen last of a chunk is its next use. last: room for each chunk. */
static void find_next(const struct sim_trace *trace, struct sim_schedule *schedule, uint32_t *last)
{
  memset(last, 0xff, trace->n_chunks * sizeof *last);
  for (uint32_t i = schedule->n; i-- > 0;) {
    const struct sim_request *request = &trace->requests[schedule->events[i].request];

    for (uint32_t k = 0; k < request->n_chunks; k++) {
      uint32_t chunk = trace->refs[request->first + k];

      schedule->next[request->first + k] = last[chunk];
      last[chunk] = i;
    }
  }
}

/* The same for runs. last: room for each. */
static void find_after(const struct sim_trace *trace, struct sim_schedule *schedule, uint32_t *last)
{
  memset(last, 0xff, trace->n_runs * sizeof *last);
  for (uint32_t i = schedule->n; i-- > 0;) {
    uint32_t run = trace->requests[schedule->events[i].request].run;

    schedule->after[i] = last[run];
    last[run] = i;
  }
}

/* A run is open from its first request to its last one. runs: room for the largest context and the requests left of each. */
static void find_open(const struct sim_trace *trace, struct sim_schedule *schedule, uint64_t *runs)
{
  uint64_t *largest = runs, *left = runs + trace->n_runs, open = 0;
  double sum = 0;

  memset(runs, 0, 2 * sizeof *runs * trace->n_runs);
  for (uint32_t i = 0; i < schedule->n; i++) {
    const struct sim_request *request = &trace->requests[schedule->events[i].request];

    left[request->run]++;
    if (largest[request->run] < request->input_tokens)
      largest[request->run] = request->input_tokens;
  }
  for (uint32_t i = 0; i < trace->n_runs; i++)
    left[i] |= UINT64_C(1) << 63; /* not begun */
  for (uint32_t i = 0; i < schedule->n; i++) {
    uint32_t run = trace->requests[schedule->events[i].request].run;

    if (left[run] >> 63)
      open += largest[run];
    left[run] = (left[run] & (UINT64_MAX >> 1)) - 1;
    sum += (double)open;
    if (left[run] == 0)
      open -= largest[run];
  }
  schedule->open_tokens = (uint64_t)(sum / schedule->n);
}

kvs_status sim_schedule_create(const struct sim_trace *trace, uint64_t seed, double load,
                               struct sim_schedule **schedule_p, struct sim_error *error)
{
  struct sim_schedule *schedule = calloc(1, sizeof *schedule);
  uint64_t *runs = calloc(2 * (size_t)trace->n_runs + 1, sizeof *runs);
  uint32_t *last = malloc(((size_t)trace->n_chunks + trace->n_runs + 1) * sizeof *last);

  *schedule_p = NULL;
  if (!schedule || !runs || !last) {
    sim_fail(error, KVS_ERR_NOMEM, "no memory for the order of the requests");
    goto out;
  }
  schedule->events = malloc((trace->n_requests + 1) * sizeof *schedule->events);
  schedule->next = malloc((trace->n_refs + 1) * sizeof *schedule->next);
  schedule->after = malloc((trace->n_requests + 1) * sizeof *schedule->after);
  if (!schedule->events || !schedule->next || !schedule->after) {
    sim_fail(error, KVS_ERR_NOMEM, "no memory for the order of the requests");
    goto out;
  }
  place_runs(trace, seed, load, runs);
  if (place_requests(trace, runs, schedule, error) != KVS_OK)
    goto out;
  if (schedule->n == 0) {
    sim_fail(error, KVS_ERR_INVALID, "there are no requests");
    goto out;
  }
  find_next(trace, schedule, last);
  find_after(trace, schedule, last + trace->n_chunks);
  find_open(trace, schedule, runs);
  *schedule_p = schedule;
  schedule = NULL;
out:
  sim_schedule_destroy(schedule);
  free(runs);
  free(last);
  return error->status;
}

/* Is the newer one a request of the same run that goes on from it? */
static bool goes_on(const struct sim_trace *trace, const struct sim_request *from,
                    const struct sim_request *newer)
{
  uint32_t whole = sim_trace_whole(trace, from);

  return newer->run == from->run && newer->agent == from->agent && newer->n_chunks >= whole &&
         (whole == 0 || trace->refs[newer->first + whole - 1] == trace->refs[from->first + whole - 1]);
}

uint32_t sim_schedule_answered(const struct sim_trace *trace, const struct sim_schedule *schedule,
                               uint32_t event, double *at_ns_p)
{
  const struct sim_request *request = &trace->requests[schedule->events[event].request];
  uint32_t first = event + 1, end = schedule->n;

  *at_ns_p = (double)schedule->events[event].at_ns;
  if (request->api_s > 0)
    *at_ns_p += request->api_s * (double)KVI_NS_PER_S;
  while (first < end) {
    uint32_t middle = first + (end - first) / 2;

    if ((double)schedule->events[middle].at_ns < *at_ns_p)
      first = middle + 1;
    else
      end = middle;
  }
  return first;
}

bool sim_schedule_is_overtaken(const struct sim_trace *trace, const struct sim_schedule *schedule,
                               uint32_t event, uint32_t end)
{
  const struct sim_request *request = &trace->requests[schedule->events[event].request];

  for (uint32_t i = schedule->after[event]; i < end; i = schedule->after[i])
    if (goes_on(trace, request, &trace->requests[schedule->events[i].request]))
      return true;
  return false;
}
