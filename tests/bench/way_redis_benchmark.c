/* redis-benchmark, which comes with Redis, on the Redis of the run: the same values, and as many connections. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/capture.h"
#include "tests/bench/drive.h"
#include "tests/bench/medium.h"
#include "tests/bench/memory.h"

#define OUTPUT_MAX 65536u
#define TIMEOUT_MS 60000u
#define NEW_KEYS   2000000000u /* of so many one that is chosen by chance was not there before */
#define FIRST_RATE 500.0       /* operations a second; the next runs know better */

struct redis_benchmark {
  uint16_t port;
  uint64_t touched; /* size of the values that touched Redis' memory last */
  double rate;      /* operations a second of the last run of this size and operation */
  uint64_t rate_size;
  enum bench_op rate_op;
  char output[OUTPUT_MAX];
};

static void benchmark_close(void *way)
{
  free(way);
}

static kvs_status benchmark_open(const struct bench_way_config *config, void **way_p)
{
  struct redis_benchmark *benchmark = calloc(1, sizeof *benchmark);

  *way_p = benchmark;
  if (benchmark == NULL)
    return KVS_ERR_NOMEM;
  benchmark->port = config->servers->redis_port;
  return KVS_OK;
}

static uint64_t keys_of(const struct bench_case *what)
{
  return BENCH_SERVER_BYTES / what->size;
}

/* Every key that it will ask for is there: a GET of one that is not would be fast. */
static kvs_status fill(const struct redis_benchmark *benchmark, const struct bench_case *what)
{
  redisContext *redis = redisConnect("127.0.0.1", benchmark->port);
  char *value = malloc(what->size);
  kvs_status status = redis != NULL && redis->err == 0 && value != NULL ? KVS_OK : KVS_ERR_UNREACHABLE;

  if (status == KVS_OK)
    bench_pattern_fill(value, what->size, 1);
  for (uint64_t i = 0; i < keys_of(what) && status == KVS_OK; i++) {
    redisReply *reply =
        redisCommand(redis, "SET key:%012llu %b", (unsigned long long)i, value, (size_t)what->size);

    if (reply == NULL || reply->type != REDIS_REPLY_STATUS)
      status = KVS_ERR_UNREACHABLE;
    freeReplyObject(reply);
  }
  free(value);
  if (redis != NULL)
    redisFree(redis);
  return status;
}

static kvs_status benchmark_prepare(void *way, const struct bench_case *what)
{
  struct redis_benchmark *benchmark = way;
  kvs_status status = benchmark->touched == what->size ? bench_redis_flush(benchmark->port)
                                                       : bench_redis_touch(benchmark->port, what->size);

  benchmark->touched = status == KVS_OK ? what->size : 0;
  return status == KVS_OK && what->op == BENCH_GET ? fill(benchmark, what) : status;
}

/* "test","rps","avg_latency_ms","min","p50","p95","p99","max", all quoted; below it the values. */
static bool read_csv(const char *text, double *rate_p, double *p50_ms_p, double *p99_ms_p)
{
  const char *line = strstr(text, "\"test\",\"rps\"");
  double average, least, p95;

  line = line != NULL ? strchr(line, '\n') : NULL;
  if (line == NULL)
    return false;
  /* NOLINTNEXTLINE(cert-err34-c): a program's own numbers, and all have to be there */
  return sscanf(line + 1, "\"%*[^\"]\",\"%lf\",\"%lf\",\"%lf\",\"%lf\",\"%lf\",\"%lf\"", rate_p, &average,
                &least, p50_ms_p, &p95, p99_ms_p) == 6;
}

static kvs_status benchmark_run(void *way, const struct bench_case *what, double seconds,
                                struct bench_sample *sample)
{
  struct redis_benchmark *benchmark = way;
  bool same = benchmark->rate_size == what->size && benchmark->rate_op == what->op;
  double wanted = (same ? benchmark->rate : FIRST_RATE) * seconds;
  unsigned long long requests = wanted > 32.0 ? (unsigned long long)wanted : 32;
  char port[16], connections[16], size[24], count[24], keys[24];
  const char *argv[] = {"redis-benchmark",
                        "-p",
                        port,
                        "-c",
                        connections,
                        "-d",
                        size,
                        "-n",
                        count,
                        "-r",
                        keys,
                        "-t",
                        what->op == BENCH_PUT ? "set" : "get",
                        "--csv",
                        NULL};
  double rate, p50_ms, p99_ms;
  kvs_status status;

  snprintf(port, sizeof port, "%u", benchmark->port);
  snprintf(connections, sizeof connections, "%u", bench_case_depth(what));
  snprintf(size, sizeof size, "%llu", (unsigned long long)what->size);
  snprintf(count, sizeof count, "%llu", requests);
  /* A put is one of a new key, as a chunk's is: Redis has to find memory for it. */
  snprintf(keys, sizeof keys, "%llu",
           what->op == BENCH_PUT ? (unsigned long long)NEW_KEYS : (unsigned long long)keys_of(what));
  status =
      bench_capture(argv, benchmark->output, sizeof benchmark->output, TIMEOUT_MS, &sample->cpu_children);
  if (status != KVS_OK)
    return status;
  if (!read_csv(benchmark->output, &rate, &p50_ms, &p99_ms))
    return KVS_ERR_PROTOCOL;
  benchmark->rate = rate;
  benchmark->rate_size = what->size;
  benchmark->rate_op = what->op;
  sample->operations = requests;
  sample->bytes = requests * what->size;
  sample->value = rate * (double)what->size / 1e9;
  sample->p50_us = p50_ms * 1e3;
  sample->p99_us = p99_ms * 1e3;
  sample->cpu_seconds = sample->cpu_children;
  return KVS_OK;
}

const struct bench_way_ops bench_way_redis_benchmark = {
    .open = benchmark_open, .prepare = benchmark_prepare, .run = benchmark_run, .close = benchmark_close};
