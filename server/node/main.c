/*
 * kvasird: a cache node.
 *
 * Reads its settings, starts the node, waits for signals, drains and ends. Exit codes: 0 ended as asked, 1
 * could not start, 2 the configuration or command line was refused, 3 the drain was cut short.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/program.h"
#include "server/node/guard.h"
#include "server/node/machine.h"
#include "server/node/node.h"
#include "server/node/notify.h"
#include "server/node/settings.h"

enum { EXIT_GOOD = 0, EXIT_START = 1, EXIT_CONFIG = 2, EXIT_FORCED = 3 };

#define DRAIN_GRACE_MS 800u /* after drain_timeout, for taking everything apart; the promise is a second */

/* Before the first thread: all threads inherit it, and the signals are taken by sigwait and the guard alone.
 */
static void prepare_process(const struct kvi_node_settings *values, sigset_t *signals)
{
  sigset_t blocked;

  sigemptyset(signals);
  sigaddset(signals, SIGTERM);
  sigaddset(signals, SIGINT);
  sigaddset(signals, SIGHUP);
  blocked = *signals;
  sigaddset(&blocked, SIGUSR1); /* the guard's */
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  signal(SIGPIPE, SIG_IGN);
  kvi_log_configure((kvi_log_level)values->log_level, (kvi_log_format)values->log_format);
  if (!kvi_program_tune_malloc())
    kvi_log_debug("malloc does not take our settings");
}

/* Until it is time to end. */
static void serve(struct kvi_settings *settings, struct kvi_node *node, const sigset_t *signals)
{
  int number;

  kvi_notify("READY=1");
  for (;;) {
    if (sigwait(signals, &number) != 0)
      continue;
    if (number != SIGHUP)
      break;
    if (kvi_settings_reload(settings))
      kvi_node_reloaded(node);
  }
  kvi_log_info("SIG%s: draining", sigabbrev_np(number));
  kvi_notify("STOPPING=1");
}

static int run(struct kvi_settings *settings)
{
  struct kvi_node *node = NULL;
  struct kvi_guard guard;
  sigset_t signals;
  char error[512] = "";
  uint64_t drain_ms;

  prepare_process(kvi_settings_get(settings), &signals);
  kvi_guard_start(&guard, "start", KVI_GUARD_NO_LIMIT, EXIT_GOOD);
  kvs_status status = kvi_node_start(settings, kvi_machine_raise_open_files(), error, sizeof(error), &node);
  kvi_guard_stop(&guard);
  if (status != KVS_OK) {
    fprintf(stderr, "kvasird: %s\n", error);
    return EXIT_START;
  }
  serve(settings, node, &signals);

  drain_ms = kvi_settings_drain_timeout_ms(settings);
  kvi_guard_start(&guard, "drain", drain_ms + DRAIN_GRACE_MS, EXIT_FORCED);
  kvi_node_drain(node, drain_ms);
  kvi_node_destroy(node);
  kvi_guard_stop(&guard);
  kvi_log_info("ended");
  return EXIT_GOOD;
}

int main(int argc, char **argv)
{
  struct kvi_settings *settings;
  kvi_config_action action;
  kvs_status status = kvi_settings_load(argc, argv, environ, &action, &settings);
  int code = EXIT_GOOD;

  if (status != KVS_OK) {
    fprintf(stderr, "kvasird: %s\n",
            settings != NULL ? kvi_settings_error(settings) : kvs_status_text(status));
    code = EXIT_CONFIG;
  } else if (action == KVI_CONFIG_RUN) {
    code = run(settings);
  } else if (action == KVI_CONFIG_CHECK) {
    puts("the configuration is good");
  } else if (kvi_settings_print(settings, action) != KVS_OK) {
    code = EXIT_START;
  }
  kvi_settings_free(settings);
  return code;
}
