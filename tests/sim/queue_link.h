/* tests/sim/queue_link.h: a link to a lower tier: one transfer after the other, in the order in which they were asked for. */
#ifndef KVASIR_SIM_QUEUE_LINK_H
#define KVASIR_SIM_QUEUE_LINK_H

#include <stdint.h>

#include "base/clock.h"

struct sim_queue_link {
  double bytes_per_s; /* above 0 */
  uint64_t free_ns;   /* when all that was asked for is over */
  uint64_t busy_ns;   /* of all transfers so far */
};

/* Seconds until so many bytes would be there, were they asked for now. */
static inline double sim_queue_link_would_take_s(const struct sim_queue_link *link, double bytes,
                                                 uint64_t now_ns)
{
  double queue_s = link->free_ns > now_ns ? (double)(link->free_ns - now_ns) / (double)KVI_NS_PER_S : 0;

  return queue_s + bytes / link->bytes_per_s;
}

/* Asks for them. Returns when they are there. */
static inline uint64_t sim_queue_link_take(struct sim_queue_link *link, double bytes, uint64_t now_ns)
{
  uint64_t takes_ns = (uint64_t)(bytes / link->bytes_per_s * (double)KVI_NS_PER_S);

  link->free_ns = (link->free_ns > now_ns ? link->free_ns : now_ns) + takes_ns;
  link->busy_ns += takes_ns;
  return link->free_ns;
}

#endif
