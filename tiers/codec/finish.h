/* tiers/codec/finish.h: what the files finish_*.c share. */
#ifndef KVI_CODEC_FINISH_H
#define KVI_CODEC_FINISH_H

#include "tiers/codec/path.h"

/* Calls a function with the number of planes as a constant, named planes, so that it is compiled for each. */
#define KVI_FINISH_PLANES(n_planes, call)                                                                    \
  do {                                                                                                       \
    if ((n_planes) == 0) {                                                                                   \
      const uint32_t planes = 0;                                                                             \
      call;                                                                                                  \
    } else if ((n_planes) == 1) {                                                                            \
      const uint32_t planes = 1;                                                                             \
      call;                                                                                                  \
    } else if ((n_planes) == 2) {                                                                            \
      const uint32_t planes = 2;                                                                             \
      call;                                                                                                  \
    } else {                                                                                                 \
      const uint32_t planes = 3;                                                                             \
      call;                                                                                                  \
    }                                                                                                        \
  } while (0)

#endif
