/* client/cli/replay_signals.c: signals that end a replay: the first in order, the second at once. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "client/cli/replay.h"

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

static struct sigaction before[KVI_ARRAY_SIZE(numbers)];
static atomic_int n_signals;
static const char *last_words; /* set before the handlers, and not changed while they are there */
static size_t last_words_length;

static void interrupt(int number)
{
  (void)number;
  if (atomic_fetch_add(&n_signals, 1) == 0)
    return;
  (void)!write(STDERR_FILENO, last_words, last_words_length);
  _exit(CLI_ERROR);
}

bool replay_is_interrupted(void)
{
  return atomic_load(&n_signals) > 0;
}

void replay_signals_begin(const char *words)
{
  struct sigaction action = {.sa_handler = interrupt};

  last_words = words;
  last_words_length = strlen(words);
  for (size_t i = 0; i < KVI_ARRAY_SIZE(numbers); i++) {
    sigaction(numbers[i], NULL, &before[i]);
    if (before[i].sa_handler != SIG_IGN) /* as nohup and a shell's background have it */
      sigaction(numbers[i], &action, NULL);
  }
}

void replay_signals_end(void)
{
  for (size_t i = 0; i < KVI_ARRAY_SIZE(numbers); i++)
    sigaction(numbers[i], &before[i], NULL);
}
