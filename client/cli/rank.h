/* client/cli/rank.h: which of sorted numbers is a percentile of them. */
#ifndef KVI_CLIENT_CLI_RANK_H
#define KVI_CLIENT_CLI_RANK_H

#include <stddef.h>

/* By nearest rank: the first of n, from 0 on, that so many percent (1 to 100) of them are not above. n: 1 to 2^56. */
static inline size_t cli_rank(size_t n, unsigned percent)
{
  return (n * percent + 99) / 100 - 1;
}

#endif
