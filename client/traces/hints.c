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

static const char *const names[] = {"none", "kind", "full", "random", "reversed"};

bool sim_hint_level_named(const char *name, enum sim_hint_level *level_p)
{
  for (size_t i = 0; i < KVI_ARRAY_SIZE(names); i++)
    if (strcmp(name, names[i]) == 0) {
      *level_p = (enum sim_hint_level)i;
      return true;
    }
  return false;
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

struct sim_told *sim_hints_create(const struct sim_trace *trace, const struct sim_schedule *schedule,
                                  enum sim_hint_level level, uint64_t seed)
{
  struct sim_told *told = calloc(schedule->n, sizeof *told);
  uint64_t random = seed;

  if (!told)
    return NULL;
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
