#include "tests/bench/drive.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/bench/load.h"
#include "tests/bench/stats.h"

#define LATENCIES_MAX (UINT32_C(1) << 21)

struct run {
  const struct bench_way_ops *ops;
  void *way;
  const struct bench_case *what;
  struct bench_latencies *latencies;
  uint64_t begin_ns, stop_ns, end_ns;
  uint64_t started_ns[BENCH_DEPTH_MAX];
  uint32_t free_slots[BENCH_DEPTH_MAX];
  uint32_t n_free;
  uint64_t operations, bytes, keys, hits;
};

kvs_status bench_latencies_open(struct bench_latencies *latencies)
{
  memset(latencies, 0, sizeof *latencies);
  latencies->room = LATENCIES_MAX;
  latencies->all = malloc(LATENCIES_MAX * sizeof *latencies->all);
  latencies->first = malloc(LATENCIES_MAX * sizeof *latencies->first);
  if (latencies->all == NULL || latencies->first == NULL) {
    bench_latencies_close(latencies);
    return KVS_ERR_NOMEM;
  }
  memset(latencies->all, 1, LATENCIES_MAX * sizeof *latencies->all); /* touched, as all that is measured */
  memset(latencies->first, 1, LATENCIES_MAX * sizeof *latencies->first);
  return KVS_OK;
}

void bench_latencies_close(struct bench_latencies *latencies)
{
  free(latencies->all);
  free(latencies->first);
  latencies->all = NULL;
  latencies->first = NULL;
}

static uint32_t span_ns(uint64_t from, uint64_t to)
{
  uint64_t span = to > from ? to - from : 0;

  return span < UINT32_MAX ? (uint32_t)span : UINT32_MAX;
}

static void note(struct run *run, const struct bench_done *done)
{
  struct bench_latencies *latencies = run->latencies;
  uint64_t started = run->started_ns[done->slot];

  run->end_ns = kvi_now_ns();
  if (latencies->n_all < latencies->room)
    latencies->all[latencies->n_all++] = span_ns(started, run->end_ns);
  if (done->first_ns != 0 && latencies->n_first < latencies->room)
    latencies->first[latencies->n_first++] = span_ns(started, done->first_ns);
  run->operations++;
  run->bytes += done->bytes;
  run->keys += done->n;
  run->hits += done->hits;
}

static kvs_status loop(struct run *run)
{
  struct bench_done done;
  uint32_t depth = run->n_free;
  uint64_t sequence = 0;
  uint64_t now = run->begin_ns;
  kvs_status status;

  for (;;) {
    while (run->n_free > 0 && (now < run->stop_ns || sequence == 0)) {
      uint32_t slot = run->free_slots[--run->n_free];

      run->started_ns[slot] = now = kvi_now_ns();
      status = run->ops->issue(run->way, run->what, slot, sequence++);
      if (status != KVS_OK)
        return status;
    }
    if (run->n_free == depth)
      return KVS_OK;
    memset(&done, 0, sizeof done);
    status = run->ops->reap(run->way, run->what, &done);
    if (status != KVS_OK)
      return status;
    note(run, &done);
    now = run->end_ns;
    run->free_slots[run->n_free++] = done.slot;
  }
}

static double value_of(const struct run *run, double seconds, double p50_us)
{
  switch (run->what->op) {
  case BENCH_EMPTY_CALL:
    return p50_us;
  case BENCH_LOOKUP:
    return run->what->way == BENCH_STORE ? (double)run->keys / seconds : p50_us;
  case BENCH_READ_YOUR_WRITE:
    return run->keys > 0 ? 100.0 * (double)run->hits / (double)run->keys : 0.0;
  default:
    return (double)run->bytes / 1e9 / seconds;
  }
}

static void fill_sample(struct run *run, double client, double server, struct bench_sample *sample)
{
  struct bench_latencies *latencies = run->latencies;
  double seconds = (double)(run->end_ns - run->begin_ns) / 1e9;
  double gigabytes = (double)run->bytes / 1e9;

  bench_sort_u32(latencies->all, latencies->n_all);
  bench_sort_u32(latencies->first, latencies->n_first);
  memset(sample, 0, sizeof *sample);
  sample->p50_us = bench_percentile(latencies->all, latencies->n_all, 50.0) / 1e3;
  sample->p99_us = bench_percentile(latencies->all, latencies->n_all, 99.0) / 1e3;
  sample->first_us = bench_percentile(latencies->first, latencies->n_first, 50.0) / 1e3;
  sample->operations = run->operations;
  sample->bytes = run->bytes;
  sample->cpu_seconds = client;
  sample->cpu_client = gigabytes > 0.0 ? client / gigabytes : 0.0;
  sample->cpu_server = gigabytes > 0.0 && server >= 0.0 ? server / gigabytes : -1.0;
  sample->value = value_of(run, seconds, sample->p50_us);
}

kvs_status bench_drive(const struct bench_way_ops *ops, void *way, const struct bench_case *what,
                       double seconds, pid_t server_pid, struct bench_latencies *latencies,
                       struct bench_sample *sample_p)
{
  struct run run = {.ops = ops, .way = way, .what = what, .latencies = latencies};
  pid_t self = getpid();
  double client, server;
  kvs_status status;

  run.n_free = bench_case_depth(what);
  for (uint32_t i = 0; i < run.n_free; i++)
    run.free_slots[i] = run.n_free - 1 - i;
  latencies->n_all = 0;
  latencies->n_first = 0;
  client = bench_process_cpu(self);
  server = bench_process_cpu(server_pid);
  run.begin_ns = kvi_now_ns();
  run.stop_ns = run.begin_ns + (uint64_t)(seconds * 1e9);
  status = loop(&run);
  if (status != KVS_OK)
    return status;
  client = bench_process_cpu(self) - client;
  server = server_pid > 0 ? bench_process_cpu(server_pid) - server : -1.0;
  fill_sample(&run, client, server, sample_p);
  return KVS_OK;
}

kvs_status bench_run(const struct bench_way_ops *ops, void *way, const struct bench_case *what,
                     double seconds, pid_t server_pid, struct bench_sample *sample_p)
{
  struct bench_sample sample = {0};
  double client = bench_process_cpu(getpid());
  double server = bench_process_cpu(server_pid);
  double gigabytes;
  kvs_status status = ops->run(way, what, seconds, &sample);

  if (status != KVS_OK)
    return status;
  gigabytes = (double)sample.bytes / 1e9;
  if (sample.cpu_seconds == 0.0) /* else the way knows better */
    sample.cpu_seconds = bench_process_cpu(getpid()) - client;
  sample.cpu_client = gigabytes > 0.0 ? sample.cpu_seconds / gigabytes : 0.0;
  sample.cpu_server =
      gigabytes > 0.0 && server_pid > 0 ? (bench_process_cpu(server_pid) - server) / gigabytes : -1.0;
  *sample_p = sample;
  return KVS_OK;
}
