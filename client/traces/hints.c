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

/* The next event whose prompt has all of this one's: it goes on then. SIM_NONE: there is none. */
static uint32_t continuation(const struct sim_trace *trace, const struct sim_schedule *schedule,
                             uint32_t event)
{
  const struct sim_request *request = &trace->requests[schedule->events[event].request];
  uint32_t whole = sim_trace_whole(trace, request);

  return whole > 0 ? schedule->next[request->first + whole - 1] : SIM_NONE;
}

static void tell_bits(const struct sim_trace *trace, const struct sim_schedule *schedule, uint64_t random,
                      struct sim_told *told)
{
  for (uint32_t i = 0; i < schedule->n; i++) {
    bool wrong = sim_draw_uniform(&random) < WRONG_BIT;
    uint32_t next = continuation(trace, schedule, i);

    if (told[i].program == 0)
      told[i].program = (uint64_t)i + 1;
    told[i].wait = (next == SIM_NONE) != wrong ? SIM_WAIT_END : SIM_WAIT_HUMAN;
    if (next != SIM_NONE)
      told[next].program = told[i].program;
  }
}

kvs_status sim_hints_check(const struct sim_trace *trace, enum sim_hint_level level, struct sim_error *error)
{
  if (trace->tells_runs || level == SIM_HINTS_NONE || level == SIM_HINTS_CONTINUES)
    return KVS_OK;
  return sim_fail(error, KVS_ERR_INVALID,
                  "the trace does not tell its runs, so there is nothing to hint: leave --hints away "
                  "(kvasir-sim takes continues)");
}

struct sim_told *sim_hints_create(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                  enum sim_hint_level level, uint64_t seed)
{
  struct sim_told *told = calloc(schedule->n, sizeof *told);
  uint64_t random = seed;

  if (!told)
    return NULL;
  if (level == SIM_HINTS_CONTINUES) {
    tell_bits(trace, schedule, random, told);
    return told;
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
