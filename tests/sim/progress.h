/* tests/sim/progress.h: a bar on standard error, if that is a terminal. One thread. */
#ifndef KVASIR_SIM_PROGRESS_H
#define KVASIR_SIM_PROGRESS_H

#include <stdbool.h>

struct sim_progress {
  bool is_shown;
  int permille; /* drawn last */
};

void sim_progress_start(struct sim_progress *progress);
/* part: of all that is to be done, 0 to 1. */
void sim_progress_draw(struct sim_progress *progress, double part);
void sim_progress_wipe(const struct sim_progress *progress);

#endif
