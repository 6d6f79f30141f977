#include "tests/sim/progress.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH 30

void sim_progress_start(struct sim_progress *progress)
{
  *progress = (struct sim_progress){.is_shown = isatty(STDERR_FILENO) == 1, .permille = -1};
}

void sim_progress_draw(struct sim_progress *progress, double part)
{
  int permille = (int)(1000 * part), filled = permille * BAR_WIDTH / 1000;

  if (!progress->is_shown || permille == progress->permille)
    return;
  progress->permille = permille;
  fprintf(stderr, "\rreplaying [%.*s%*s] %3d %%", filled, "##############################",
          BAR_WIDTH - filled, "", permille / 10);
  fflush(stderr);
}

void sim_progress_wipe(const struct sim_progress *progress)
{
  if (progress->is_shown)
    fprintf(stderr, "\r%*s\r", BAR_WIDTH + 24, "");
}
