/* fio on a file beside the log files: of the same size, written as often, read and written with O_DIRECT and io_uring as they are. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/rand.h"
#include "base/text.h"
#include "tests/bench/capture.h"
#include "tests/bench/drive.h"

#define OUTPUT_MAX (1u << 20)
#define FILL_MS    240000u
#define SLACK_MS   30000u /* to start and to end */
#define SIZES      3u     /* of blocks, with a file each */

struct fio {
  const struct bench_servers *servers;
  uint64_t filled[SIZES]; /* block sizes whose file is there */
  kvi_rand random;
  char output[OUTPUT_MAX];
};

static void fio_close(void *way)
{
  free(way);
}

static kvs_status fio_open(const struct bench_way_config *config, void **way_p)
{
  struct fio *fio = calloc(1, sizeof *fio);

  *way_p = fio;
  if (fio == NULL)
    return KVS_ERR_NOMEM;
  fio->servers = config->servers;
  kvi_rand_seed(&fio->random, 2);
  return KVS_OK;
}

struct job {
  const char *rw;
  uint64_t size, offset, length; /* of a block; of the part of the file that is used */
  uint32_t depth;
  double seconds; /* 0: the part once */
};

static kvs_status run_job(struct fio *fio, const struct job *job, double *cpu_p)
{
  char file[BENCH_ENDPOINT_MAX + 64], size[KVI_FORMAT_MAX], block[32], offset[40], length[40], depth[32],
      runtime[40], rw[32];
  const char *argv[24] = {"fio",
                          "--name=kvasir-bench",
                          "--ioengine=io_uring",
                          "--direct=1",
                          "--thread=1",
                          "--overwrite=1",
                          "--output-format=json",
                          "--norandommap=1",
                          file,
                          block,
                          offset,
                          length,
                          depth,
                          rw,
                          "--allow_mounted_write=0"};
  size_t n = 15;

  snprintf(file, sizeof file, "--filename=%s/fio-%s", fio->servers->files, kvi_format_size(job->size, size));
  snprintf(block, sizeof block, "--bs=%llu", (unsigned long long)job->size);
  snprintf(offset, sizeof offset, "--offset=%llu", (unsigned long long)job->offset);
  snprintf(length, sizeof length, "--size=%llu", (unsigned long long)job->length);
  snprintf(depth, sizeof depth, "--iodepth=%u", job->depth);
  snprintf(rw, sizeof rw, "--rw=%s", job->rw);
  if (job->seconds > 0.0) {
    snprintf(runtime, sizeof runtime, "--runtime=%.0fms", job->seconds * 1e3);
    argv[n++] = "--time_based=1";
    argv[n++] = runtime;
  }
  return bench_capture(argv, fio->output, sizeof fio->output,
                       job->seconds > 0.0 ? SLACK_MS + (uint32_t)(job->seconds * 1e3) : FILL_MS, cpu_p);
}

/* The file is there as the log files are: reserved, and every byte of it written more than once. */
static kvs_status fio_prepare(void *way, const struct bench_case *what)
{
  struct fio *fio = way;
  struct job job = {.rw = "write", .size = what->size, .length = fio->servers->volume_bytes, .depth = 8};
  double cpu = 0.0;
  uint64_t *filled = NULL;
  kvs_status status;

  for (size_t i = 0; i < SIZES; i++) {
    if (fio->filled[i] == what->size)
      return KVS_OK;
    if (fio->filled[i] == 0 && filled == NULL)
      filled = &fio->filled[i];
  }
  status = run_job(fio, &job, &cpu);
  if (status == KVS_OK)
    status = run_job(fio, &job, &cpu);
  if (status == KVS_OK && filled != NULL)
    *filled = what->size;
  return status;
}

static double number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsNumber(item) ? item->valuedouble : 0.0;
}

static kvs_status read_result(const cJSON *document, const char *direction, struct bench_sample *sample)
{
  const cJSON *job = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(document, "jobs"), 0);
  const cJSON *result = cJSON_GetObjectItemCaseSensitive(job, direction);
  const cJSON *latency = cJSON_GetObjectItemCaseSensitive(result, "clat_ns");
  const cJSON *percentile = cJSON_GetObjectItemCaseSensitive(latency, "percentile");
  double seconds = number(result, "runtime") / 1e3;

  if (seconds <= 0.0 || number(result, "io_bytes") <= 0.0 || number(job, "error") != 0.0)
    return KVS_ERR_IO;
  sample->bytes = (uint64_t)number(result, "io_bytes");
  sample->operations = (uint64_t)number(result, "total_ios");
  sample->value = (double)sample->bytes / 1e9 / seconds;
  sample->p50_us = number(percentile, "50.000000") / 1e3;
  sample->p99_us = number(percentile, "99.000000") / 1e3;
  /* Of the thread that reads and writes: to start a fio costs more than a short run. */
  sample->cpu_seconds =
      (number(job, "usr_cpu") + number(job, "sys_cpu")) / 100.0 * number(job, "job_runtime") / 1e3;
  return KVS_OK;
}

static kvs_status fio_run(void *way, const struct bench_case *what, double seconds,
                          struct bench_sample *sample)
{
  static const char *const kinds[] = {
      [BENCH_WRITE] = "write", [BENCH_READ] = "read", [BENCH_RANDOM_READ] = "randread"};
  struct fio *fio = way;
  uint64_t bytes = fio->servers->volume_bytes;
  struct job job = {.rw = kinds[what->op],
                    .size = what->size,
                    .length = bytes,
                    .depth = bench_case_depth(what),
                    .seconds = seconds};
  cJSON *document;
  const char *json;
  kvs_status status;

  /* Somewhere in the first half: what a write run has just written is not what a read run reads. */
  if (what->op != BENCH_RANDOM_READ)
    job.offset = kvi_rand_below(&fio->random, bytes / 2 / what->size) * what->size;
  job.length -= job.offset;
  status = run_job(fio, &job, &sample->cpu_children);
  if (status != KVS_OK)
    return status;
  json = strchr(fio->output, '{'); /* warnings may stand before it */
  document = json != NULL ? cJSON_Parse(json) : NULL;
  status = read_result(document, what->op == BENCH_WRITE ? "write" : "read", sample);
  cJSON_Delete(document);
  return status;
}

const struct bench_way_ops bench_way_fio = {
    .open = fio_open, .prepare = fio_prepare, .run = fio_run, .close = fio_close};
