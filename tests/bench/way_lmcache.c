/*
 * LMCache's adapter for Redis in C++ (`resp`), measured by its own program, `lmcache bench l2`, on the Redis of the run. Each round of that submits a
 * number of puts or gets and waits for all; its adapter has eight connections.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/capture.h"
#include "tests/bench/drive.h"
#include "tests/bench/medium.h"

#define OUTPUT_MAX (1u << 20)
#define TIMEOUT_MS 120000u
#define IN_FLIGHT  "64" /* so that the wait at the end of a round matters little */
#define ROUNDS     "5"  /* of these bytes none is pushed out of Redis */

struct lmcache {
  const struct bench_servers *servers;
  char output[OUTPUT_MAX];
};

static void lmcache_close(void *way)
{
  free(way);
}

static kvs_status lmcache_open(const struct bench_way_config *config, void **way_p)
{
  struct lmcache *lmcache = calloc(1, sizeof *lmcache);

  *way_p = lmcache;
  if (lmcache == NULL)
    return KVS_ERR_NOMEM;
  lmcache->servers = config->servers;
  /* It tells its makers about its use unless asked not to. */
  setenv("LMCACHE_TRACK_USAGE", "false", 1);
  setenv("DO_NOT_TRACK", "1", 1);
  return KVS_OK;
}

static kvs_status lmcache_prepare(void *way, const struct bench_case *what)
{
  const struct lmcache *lmcache = way;

  (void)what;
  return bench_redis_flush(lmcache->servers->redis_port);
}

static double number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsNumber(item) ? item->valuedouble : 0.0;
}

static kvs_status read_result(const cJSON *document, const struct bench_case *what,
                              struct bench_sample *sample)
{
  const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(document, "metrics");
  const char *wanted = what->op == BENCH_PUT ? "Store" : "Load";
  const cJSON *metric;

  cJSON_ArrayForEach(metric, metrics)
  {
    const cJSON *operation = cJSON_GetObjectItemCaseSensitive(metric, "operation");
    double seconds = number(metric, "duration_avg_ms") * number(metric, "rounds") / 1e3;

    if (!cJSON_IsString(operation) || strcmp(operation->valuestring, wanted) != 0 || seconds <= 0.0)
      continue;
    sample->operations = (uint64_t)number(metric, "total_success");
    sample->value = (double)sample->operations * (double)what->size / 1e9 / seconds;
    sample->p50_us = number(metric, "duration_p50_ms") * 1e3;
    sample->p99_us = number(metric, "duration_p99_ms") * 1e3;
    return sample->operations > 0 ? KVS_OK : KVS_ERR_IO;
  }
  return KVS_ERR_PROTOCOL;
}

/* Its document stands between lines that other parts of it print. */
static cJSON *find_document(char *output)
{
  char *json = strstr(output, "{\n  \"title\"");
  char *end = json != NULL ? strrchr(json, '}') : NULL;

  if (end == NULL)
    return NULL;
  end[1] = '\0';
  return cJSON_Parse(json);
}

static kvs_status lmcache_run(void *way, const struct bench_case *what, double seconds,
                              struct bench_sample *sample)
{
  struct lmcache *lmcache = way;
  char adapter[128], kib[24];
  const char *argv[] = {lmcache->servers->lmcache,
                        "bench",
                        "l2",
                        "--l2-adapter",
                        adapter,
                        "--num-keys",
                        "1",
                        "--in-flight",
                        IN_FLIGHT,
                        "--data-size-kb",
                        kib,
                        "--l1-align-bytes",
                        "4096",
                        "--rounds",
                        ROUNDS,
                        "--format",
                        "json",
                        NULL};
  cJSON *document;
  kvs_status status;

  (void)seconds;
  snprintf(adapter, sizeof adapter, "{\"type\":\"resp\",\"host\":\"127.0.0.1\",\"port\":%u}",
           lmcache->servers->redis_port);
  snprintf(kib, sizeof kib, "%llu", (unsigned long long)(what->size / 1024));
  status = bench_capture(argv, lmcache->output, sizeof lmcache->output, TIMEOUT_MS, &sample->cpu_children);
  if (status != KVS_OK)
    return status;
  document = find_document(lmcache->output);
  status = read_result(document, what, sample);
  cJSON_Delete(document);
  /* What its program costs besides is not its adapter's, so no cost is told. */
  return status;
}

const struct bench_way_ops bench_way_lmcache = {
    .open = lmcache_open, .prepare = lmcache_prepare, .run = lmcache_run, .close = lmcache_close};
