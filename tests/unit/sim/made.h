/* made.h: random traces of chains for model.h, and the same for the simulator. */
#ifndef KVI_TESTS_UNIT_SIM_MADE_H
#define KVI_TESTS_UNIT_SIM_MADE_H

#include "tests/unit/traces/testing.h"

#include "base/rand.h"
#include "model.h"

/* Chains that begin like earlier ones, cut anywhere, and go on by letters of their own. */
static inline void made_chains(struct model_trace *trace, kvi_rand *rand)
{
  uint64_t letters = 1 + kvi_rand_below(rand, 4);

  memset(trace, 0, sizeof *trace);
  trace->n = 2 + (int)kvi_rand_below(rand, MODEL_REQUESTS - 2);
  for (int i = 0; i < trace->n; i++) {
    int length = (int)kvi_rand_below(rand, MODEL_LENGTH + 1), kept = 0;

    if (i > 0 && kvi_rand_below(rand, 4) > 0) {
      const char *from = trace->chain[kvi_rand_below(rand, (uint64_t)i)];

      kept = (int)kvi_rand_below(rand, strlen(from) + 1);
      memcpy(trace->chain[i], from, (size_t)kept);
    }
    for (int k = kept; k < length; k++)
      trace->chain[i][k] = (char)('a' + kvi_rand_below(rand, letters));
  }
}

/* The same for the simulator. Times are those of requests that come together, or hours apart. */
static inline struct sim_trace *made_trace(const struct model_trace *trace, kvi_rand *rand)
{
  struct sim_trace *made = testing_trace();
  uint64_t at_us = 0;

  for (int i = 0; i < trace->n; i++) {
    uint64_t ids[MODEL_LENGTH];
    size_t n = strlen(trace->chain[i]);

    for (size_t k = 0; k < n; k++)
      ids[k] = (uint64_t)trace->chain[i][k];
    testing_add(made, at_us, ids, n);
    at_us += kvi_rand_below(rand, 3) == 0 ? kvi_rand_below(rand, 10000000000) : 0;
  }
  return made;
}

#endif
