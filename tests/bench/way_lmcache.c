/*
 * LMCache's adapter for Redis in C++ (`resp`) on the Redis of the run: as many connections, operations in flight and values as the tier's rows have. The
 * adapter is Python's to use, so that a program of ours (lmcache_resp.py) drives it, one process for all runs; it takes the times.
 */
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/affinity.h"
#include "tests/bench/child.h"
#include "tests/bench/drive.h"
#include "tests/bench/lmcache_resp.h"

#define LINE_MAX_BYTES 2048u
#define START_MS       240000u /* LMCache's import takes seconds, and minutes from a cold disk */
#define PREPARE_MS     120000u
#define RUN_MS         60000u /* besides the run itself */

struct lmcache {
  struct bench_child program;
  char log[BENCH_ENDPOINT_MAX + 32];
};

static void lmcache_close(void *way)
{
  struct lmcache *lmcache = way;

  if (lmcache == NULL)
    return;
  bench_child_stop(&lmcache->program);
  free(lmcache);
}

/* Its answer, to be deleted; NULL, with the reason on stderr, if that is not a good one. */
static cJSON *answer(struct lmcache *lmcache, uint32_t timeout_ms)
{
  char line[LINE_MAX_BYTES];
  cJSON *document;
  const cJSON *why;

  if (!bench_child_read_line(&lmcache->program, line, sizeof line, timeout_ms)) {
    fprintf(stderr, "kvasir-bench: LMCache's adapter: no answer\n");
    bench_child_show_log(lmcache->log);
    return NULL;
  }
  document = cJSON_Parse(line);
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(document, "ok")))
    return document;
  why = cJSON_GetObjectItemCaseSensitive(document, "why");
  fprintf(stderr, "kvasir-bench: LMCache's adapter: %s\n", cJSON_IsString(why) ? why->valuestring : line);
  cJSON_Delete(document);
  return NULL;
}

static kvs_status lmcache_open(const struct bench_way_config *config, void **way_p)
{
  struct lmcache *lmcache = calloc(1, sizeof *lmcache);
  char port[8];
  const char *argv[] = {config->servers->lmcache, "-c", bench_lmcache_resp, port, NULL};
  /* It tells its makers about its use unless asked not to. */
  const char *environment[] = {"LMCACHE_TRACK_USAGE=false", "DO_NOT_TRACK=1", NULL};
  struct bench_child_spec spec = {
      .argv = argv, .environ_ = environment, .core = BENCH_CORE_ANY, .want_output = true, .want_input = true};
  cJSON *ready;

  *way_p = NULL;
  if (lmcache == NULL)
    return KVS_ERR_NOMEM;
  signal(SIGPIPE, SIG_IGN); /* a program that has ended is an answer that does not come */
  snprintf(port, sizeof port, "%u", config->servers->redis_port);
  snprintf(lmcache->log, sizeof lmcache->log, "%s/lmcache.log", config->servers->files);
  spec.log_path = lmcache->log;
  if (!bench_child_start(&spec, &lmcache->program)) {
    free(lmcache);
    return KVS_ERR_SYSTEM;
  }
  ready = answer(lmcache, START_MS);
  cJSON_Delete(ready);
  if (ready == NULL) {
    lmcache_close(lmcache);
    return KVS_ERR_UNREACHABLE;
  }
  *way_p = lmcache;
  return KVS_OK;
}

/* As above. */
static cJSON *ask(struct lmcache *lmcache, const char *order, uint32_t timeout_ms)
{
  /* If it has ended, the answer that does not come says so. */
  (void)bench_child_write_line(&lmcache->program, order);
  return answer(lmcache, timeout_ms);
}

static kvs_status lmcache_prepare(void *way, const struct bench_case *what)
{
  char order[LINE_MAX_BYTES];
  cJSON *done;

  snprintf(order, sizeof order,
           "{\"order\":\"prepare\",\"op\":\"%s\",\"bytes\":%llu,\"connections\":%u,\"in_flight\":%u}",
           what->op == BENCH_PUT ? "put" : "get", (unsigned long long)what->size,
           bench_case_connections(what), bench_case_depth(what));
  done = ask(way, order, PREPARE_MS);
  cJSON_Delete(done);
  return done != NULL ? KVS_OK : KVS_ERR_IO;
}

static double number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsNumber(item) ? item->valuedouble : 0.0;
}

static kvs_status lmcache_run(void *way, const struct bench_case *what, double seconds,
                              struct bench_sample *sample)
{
  char order[LINE_MAX_BYTES];
  cJSON *result;
  double took;

  snprintf(order, sizeof order, "{\"order\":\"run\",\"seconds\":%.6f}", seconds);
  result = ask(way, order, RUN_MS + (uint32_t)(seconds * 1e3));
  if (result == NULL)
    return KVS_ERR_IO;
  took = number(result, "seconds");
  sample->operations = (uint64_t)number(result, "operations");
  sample->bytes = sample->operations * what->size;
  sample->value = took > 0.0 ? (double)sample->bytes / 1e9 / took : 0.0;
  sample->p50_us = number(result, "p50_us");
  sample->p99_us = number(result, "p99_us");
  sample->cpu_seconds = number(result, "cpu_seconds");
  sample->cpu_children = number(result, "cpu_all_seconds");
  cJSON_Delete(result);
  return sample->value > 0.0 ? KVS_OK : KVS_ERR_PROTOCOL;
}

const struct bench_way_ops bench_way_lmcache = {
    .open = lmcache_open, .prepare = lmcache_prepare, .run = lmcache_run, .close = lmcache_close};
