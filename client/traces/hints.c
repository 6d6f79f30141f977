#include "client/traces/hints.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "client/traces/draw.h"

#define NOISE_SIGMA   0.7 /* of the logarithm of what is announced */
#define ABSENT        0.3
#define WRONG_BY_TEN  0.1
#define GAP_LEAST_S   0.05
#define RANDOM_MEDIAN 10.0
#define RANDOM_SIGMA  2.5
#define REVERSED      100.0 /* announced is this over the gap */
#define WRONG_BIT     0.1

static const char *const names[] = {"none", "kind", "full", "random", "reversed", "continues"};

bool sim_hint_level_named(const char *name, enum sim_hint_level *level_p)
{
  for (size_t i = 0; i < KVI_ARRAY_SIZE(names); i++)
    if (strcmp(name, names[i]) == 0) {
      *level_p = (enum sim_hint_level)i;
      return true;
    }
  return false;
}

const char *sim_hint_level_name(enum sim_hint_level level)
{
  return names[level];
}

/* gap_s: until the run's next request, after the answer. */
static double announce(enum sim_hint_level level, double gap_s, uint64_t *random)
{
  double noise = sim_draw_normal(random), absent = sim_draw_uniform(random), wrong = sim_draw_uniform(random),
         said;

  if (gap_s < GAP_LEAST_S)
    gap_s = GAP_LEAST_S;
  if (level == SIM_HINTS_RANDOM)
    return RANDOM_MEDIAN * exp(RANDOM_SIGMA * noise);
  if (level == SIM_HINTS_REVERSED)
    return REVERSED / gap_s;
  if (level != SIM_HINTS_FULL || absent < ABSENT)
    return 0;
  said = gap_s * exp(NOISE_SIGMA * noise);
  return wrong >= WRONG_BY_TEN ? said : wrong < WRONG_BY_TEN / 2 ? said * 10 : said / 10;
}

/* ---- the bit ---- */

/* The last chunk of a request that goes on as it is in a later one; SIM_NONE: it has none. */
static uint32_t last_whole(const struct sim_trace *trace, const struct sim_request *request)
{
  uint32_t n = sim_trace_whole(trace, request);

  return n > 0 ? trace->refs[request->first + n - 1] : SIM_NONE;
}

/*
 * By event, the next one whose prompt has all of this one's, SIM_NONE if there is none: it goes on then. next: by chunk, room for it.
 */
static void continuations(const struct sim_trace *trace, const struct sim_schedule *schedule, uint32_t *next,
                          uint32_t *after)
{
  memset(next, 0xff, trace->n_chunks * sizeof *next);
  for (uint32_t i = schedule->n; i-- > 0;) {
    const struct sim_request *request = &trace->requests[schedule->events[i].request];
    uint32_t last = last_whole(trace, request);

    after[i] = last == SIM_NONE ? SIM_NONE : next[last];
    for (uint32_t k = 0; k < request->n_chunks; k++)
      next[trace->refs[request->first + k]] = i;
  }
}

/* False: no memory. */
static bool tell_bits(const struct sim_trace *trace, const struct sim_schedule *schedule, uint64_t random,
                      struct sim_told *told)
{
  uint32_t *next = malloc(((size_t)trace->n_chunks + 1) * sizeof *next),
           *after = malloc(((size_t)schedule->n + 1) * sizeof *after);

  if (next && after) {
    continuations(trace, schedule, next, after);
    for (uint32_t i = 0; i < schedule->n; i++) {
      bool wrong = sim_draw_uniform(&random) < WRONG_BIT;

      if (told[i].program == 0)
        told[i].program = (uint64_t)i + 1;
      told[i].wait = (after[i] == SIM_NONE) != wrong ? SIM_WAIT_END : SIM_WAIT_HUMAN;
      if (after[i] != SIM_NONE)
        told[after[i]].program = told[i].program;
    }
  }
  free(next);
  free(after);
  return next && after;
}

struct sim_told *sim_hints_create(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                  enum sim_hint_level level, uint64_t seed)
{
  struct sim_told *told = calloc(schedule->n, sizeof *told);
  uint64_t random = seed;

  if (!told)
    return NULL;
  if (level == SIM_HINTS_CONTINUES) {
    if (tell_bits(trace, schedule, random, told))
      return told;
    free(told);
    return NULL;
  }
  for (uint32_t i = schedule->n; i-- > 0;) {
    const struct sim_request *request = &trace->requests[schedule->events[i].request];
    uint32_t after = schedule->after[i];
    double answer_s = request->api_s > 0 ? request->api_s : 0;

    if (level == SIM_HINTS_NONE)
      continue;
    told[i].program = (uint64_t)request->run + 1;
    told[i].wait = request->wait;
    if (level == SIM_HINTS_KIND)
      continue;
    if (after != SIM_NONE)
      told[i].announced_s = announce(
          level,
          (double)(schedule->events[after].at_ns - schedule->events[i].at_ns) / KVI_NS_PER_S - answer_s,
          &random);
    else
      told[i].ended = level == SIM_HINTS_FULL;
  }
  return told;
}
