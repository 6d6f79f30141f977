/*
 * tiers/budget.h: so many bytes a day, which come in evenly and exactly, however often it is asked. An hour's worth may be taken at once, or one chunk if
 * that is more.
 */
#ifndef KVASIR_TIERS_BUDGET_H
#define KVASIR_TIERS_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define KVI_BUDGET_DAY_MS UINT64_C(86400000)

/* The caller guards it. */
struct kvi_budget {
  uint64_t day_bytes; /* 0: no bound; at most 2^62 */
  uint64_t most;      /* at once */
  uint64_t bytes;     /* to be had now */
  uint64_t rest;      /* what has come in beside them, in bytes / KVI_BUDGET_DAY_MS: less than one byte */
  uint64_t at_ns;     /* up to when it has come in: whole milliseconds from the beginning */
};

/* An hour's worth is there at once. */
static inline void kvi_budget_init(struct kvi_budget *budget, uint64_t day_bytes, uint64_t chunk_bytes_max,
                                   uint64_t now_ns)
{
  uint64_t hour = day_bytes / 24;

  *budget = (struct kvi_budget){.day_bytes = day_bytes,
                                .most = hour > chunk_bytes_max ? hour : chunk_bytes_max,
                                .bytes = hour,
                                .at_ns = now_ns};
}

static inline void kvi_budget_refill(struct kvi_budget *budget, uint64_t now_ns)
{
  uint64_t passed = (now_ns - budget->at_ns) / KVI_NS_PER_MS;
  uint64_t days = passed / KVI_BUDGET_DAY_MS, ms = passed % KVI_BUDGET_DAY_MS;
  uint64_t rest = budget->day_bytes % KVI_BUDGET_DAY_MS * ms + budget->rest; /* below 2^54 */

  budget->at_ns += passed * KVI_NS_PER_MS;
  budget->bytes += budget->day_bytes / KVI_BUDGET_DAY_MS * ms + rest / KVI_BUDGET_DAY_MS;
  budget->rest = rest % KVI_BUDGET_DAY_MS;
  if (days > budget->most / budget->day_bytes) /* that long idle: and the product fits, if not */
    budget->bytes = budget->most;
  else
    budget->bytes += days * budget->day_bytes;
  if (budget->bytes > budget->most)
    budget->bytes = budget->most;
}

/* False: not now, and nothing is taken. */
static inline bool kvi_budget_take(struct kvi_budget *budget, uint64_t bytes, uint64_t now_ns)
{
  if (budget->day_bytes == 0)
    return true;
  if (now_ns > budget->at_ns)
    kvi_budget_refill(budget, now_ns);
  if (budget->bytes < bytes)
    return false;
  budget->bytes -= bytes;
  return true;
}

/* So much of what was taken was not needed. */
static inline void kvi_budget_give(struct kvi_budget *budget, uint64_t bytes)
{
  uint64_t room = budget->most - budget->bytes;

  if (budget->day_bytes > 0)
    budget->bytes += bytes < room ? bytes : room;
}

#endif
