#include "tests/bench/pass.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/affinity.h"
#include "tests/bench/load.h"
#include "tests/bench/servers.h"
#include "tests/bench/worker.h"

#define TRIES       3u /* of a run that others disturb */
#define WORKERS_MAX (2u * BENCH_WAYS)

struct pass {
  const struct bench_pass_options *options;
  struct bench_document *document;
  struct bench_server_set servers;
  struct bench_worker workers[WORKERS_MAX]; /* way, and way with a default allocator */
  bool failed[BENCH_CASES_MAX];
  double others[BENCH_ROUNDS_MAX]; /* cores taken by others, mean of the round's cases */
};

/* Set by the first SIGINT or SIGTERM: rounds end, servers and their files are cleaned away, what there is gets printed. */
static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
  (void)signal_number;
  stopped = 1;
}

static void watch_signals(void)
{
  struct sigaction action = {.sa_handler = stop,
                             .sa_flags = (int)SA_RESETHAND}; /* the second one ends us at once */

  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

static int client_core(const struct pass *pass)
{
  return pass->options->pin ? BENCH_CORE_CLIENT : BENCH_CORE_ANY;
}

static struct bench_worker *worker_of(struct pass *pass, const struct bench_case *what)
{
  return &pass->workers[2 * (unsigned)what->way + (what->defmalloc ? 1 : 0)];
}

static bool start_worker(struct pass *pass, const struct bench_case *what)
{
  struct bench_worker *worker = worker_of(pass, what);

  return worker->pid > 0 ||
         bench_worker_start(what->way, what->defmalloc, &pass->servers.addresses, client_core(pass), worker);
}

static double our_cpu(const struct pass *pass)
{
  double seconds = bench_process_cpu(getpid()) + bench_servers_cpu(&pass->servers);

  if (pass->options->tiers != NULL)
    seconds += bench_kernel_cpu();
  for (size_t i = 0; i < WORKERS_MAX; i++)
    seconds += bench_process_cpu(pass->workers[i].pid);
  return seconds;
}

/* One try, and how many cores others took meanwhile. */
static kvs_status try_once(struct pass *pass, const struct bench_case *what, struct bench_sample *sample_p,
                           double *others_p)
{
  struct bench_worker *worker = worker_of(pass, what);
  struct bench_load from, to;
  bool known = bench_load_read(&from);
  double ours = our_cpu(pass);
  kvs_status status = bench_worker_run(worker, what, pass->options->seconds, sample_p);

  ours = our_cpu(pass) - ours;
  if (status == KVS_OK)
    ours += sample_p->cpu_children;
  known = bench_load_read(&to) && known;
  *others_p = known ? bench_load_of_others(&from, &to, ours) : 0.0;
  return status;
}

/* Repeats a disturbed run, a bounded number of times; the least disturbed one counts. */
static kvs_status measure(struct pass *pass, const struct bench_case *what, struct bench_sample *best,
                          double *others_p)
{
  struct bench_sample sample;
  double others;
  kvs_status status = bench_worker_prepare(worker_of(pass, what), what);

  *others_p = -1.0;
  for (uint32_t i = 0; i < TRIES && status == KVS_OK; i++) {
    status = try_once(pass, what, &sample, &others);
    if (status != KVS_OK)
      break;
    if (*others_p < 0.0 || others < *others_p) {
      *best = sample;
      *others_p = others;
    }
    if (others <= BENCH_DISTURBED)
      break;
    pass->document->machine.repeated += i + 1 < TRIES;
    if ((what->op == BENCH_GET || bench_way_is_tier(what->way)) && i + 1 < TRIES)
      status = bench_worker_prepare(worker_of(pass, what), what);
  }
  return status;
}

static void show_progress(const struct pass *pass, uint32_t round, size_t done, const struct bench_case *what)
{
  struct bench_row_id id = {.what = *what, .pin = pass->options->pin};
  char name[BENCH_NAME_MAX];

  if (!pass->options->progress)
    return;
  bench_row_name(&id, name);
  fprintf(stderr, "\r\033[Kround %u of %u, %zu of %zu: %s", round + 1, pass->options->rounds, done + 1,
          pass->options->plan->n, name);
}

static void clear_progress(const struct pass *pass)
{
  if (pass->options->progress)
    fprintf(stderr, "\r\033[K");
}

/* What is in flight in a client that failed is not known, so it starts anew. */
static void give_up(struct pass *pass, size_t place, kvs_status status)
{
  const struct bench_case *what = &pass->options->plan->cases[place];
  struct bench_row_id id = {.what = *what, .pin = pass->options->pin};
  char name[BENCH_NAME_MAX];

  bench_row_name(&id, name);
  clear_progress(pass);
  fprintf(stderr, "kvasir-bench: %s: %s\n", name, kvs_status_text(status));
  pass->failed[place] = true;
  bench_worker_stop(worker_of(pass, what));
}

static kvs_status one_case(struct pass *pass, uint32_t round, size_t place)
{
  const struct bench_case *what = &pass->options->plan->cases[place];
  struct bench_sample sample;
  double others;
  kvs_status status = start_worker(pass, what) ? KVS_OK : KVS_ERR_UNREACHABLE;

  if (status == KVS_OK)
    status = measure(pass, what, &sample, &others);
  if (status != KVS_OK)
    return status;
  pass->others[round] += others / (double)pass->options->plan->n;
  return bench_document_add(pass->document, what, pass->options->pin, round, &sample,
                            others <= BENCH_DISTURBED);
}

/* A B C, C B A, ...: what drifts, drifts for all. */
static void one_round(struct pass *pass, uint32_t round)
{
  size_t n = pass->options->plan->n;

  for (size_t i = 0; i < n; i++) {
    size_t place = round % 2 == 0 ? i : n - 1 - i;
    kvs_status status;

    if (stopped)
      return;
    if (pass->failed[place])
      continue;
    show_progress(pass, round, i, &pass->options->plan->cases[place]);
    status = one_case(pass, round, place);
    if (status != KVS_OK && !stopped)
      give_up(pass, place, status);
  }
}

static bool start(struct pass *pass)
{
  const struct bench_plan *plan = pass->options->plan;
  struct bench_server_options servers = {.kvasird = pass->options->kvasird,
                                         .endpoint = pass->options->endpoint,
                                         .tiers = pass->options->tiers,
                                         .core = pass->options->pin ? BENCH_CORE_SERVER : BENCH_CORE_ANY};

  for (size_t i = 0; i < plan->n; i++)
    servers.wanted[plan->cases[i].way] = true;
  if (!bench_servers_start(&servers, &pass->servers))
    return false;
  for (size_t i = 0; i < plan->n; i++)
    if (!start_worker(pass, &plan->cases[i]))
      return false;
  return true;
}

int bench_pass_run(const struct bench_pass_options *options, struct bench_document *document)
{
  struct pass *pass = calloc(1, sizeof *pass);
  int failures = -1;

  if (pass == NULL)
    return -1;
  pass->options = options;
  pass->document = document;
  watch_signals();
  if (!stopped && start(pass)) {
    for (uint32_t round = 0; round < options->rounds; round++)
      one_round(pass, round);
    failures = stopped != 0; /* not all that was asked for */
    for (size_t i = 0; i < options->plan->n; i++)
      failures += pass->failed[i];
    document->machine.others_median = bench_summarise(pass->others, options->rounds).median;
  }
  clear_progress(pass);
  for (size_t i = 0; i < WORKERS_MAX; i++)
    bench_worker_stop(&pass->workers[i]);
  bench_servers_stop(&pass->servers);
  free(pass);
  return failures;
}
