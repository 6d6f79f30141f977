/* client/cli/bench.c: kvasirctl bench: a quick look at a node in use; kvasir-bench is the thorough one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "client/cli/cli.h"
#include "client/cli/rank.h"

static uint64_t size = 2 << 20;
static uint64_t count = 64;
static uint64_t rounds = 3;

static const struct cli_option options[] = {
    {'s', "size", "SIZE", "bytes of a chunk (default 2MiB)", CLI_SIZE, &size},
    {'n', "count", "N", "chunks (default 64)", CLI_NUMBER, &count},
    {'r', "rounds", "N", "how often each is read (default 3)", CLI_NUMBER, &rounds},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

#define KEY_SIZE  32u
#define COUNT_MAX 4096u

struct bench {
  struct cli *cli;
  kvsc_space *space;
  uint8_t *keys; /* count of them */
  uint8_t *payload, *landing;
  double *seconds; /* of each operation of a row */
};

/* One row of the result. */
struct row {
  const char *name;
  size_t n;
  uint64_t bytes;
  double p50, p99, per_second;
};

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

static struct row make_row(const char *name, double *seconds, size_t n, uint64_t bytes)
{
  struct row row = {.name = name, .n = n, .bytes = bytes};
  double sum = 0;

  for (size_t i = 0; i < n; i++)
    sum += seconds[i];
  qsort(seconds, n, sizeof(*seconds), compare);
  row.p50 = seconds[cli_rank(n, 50)];
  row.p99 = seconds[cli_rank(n, 99)];
  row.per_second = (double)n / sum;
  return row;
}

/* The payload of chunk i differs from its neighbours', so that no layer is fooled by equal bytes. */
static void stamp(uint8_t *payload, uint64_t i)
{
  memcpy(payload, &i, sizeof(i));
}

/* Puts or gets chunk i; a get is compared with what was put. */
static kvs_status move_one(struct bench *bench, bool put, uint64_t i)
{
  const kvsc_keys keys = {
      .struct_size = sizeof(keys), .n = 1, .keys = bench->keys + i * KEY_SIZE, .unchained = 1};
  const kvsc_iov iov = {.base = put ? bench->payload : bench->landing, .length = (size_t)size};
  const kvsc_chunk chunk = {.iov = &iov, .n_iov = 1};
  kvsc_completion completion;
  kvs_status status;
  kvsc_op op;

  stamp(bench->payload, i);
  status = put ? kvsc_put(bench->space, &keys, &chunk, NULL, &op)
               : kvsc_get(bench->space, &keys, &chunk, NULL, &op);
  if (status == KVS_OK)
    status = cli_wait(bench->cli, op, &completion);
  return status;
}

static kvs_status run_moves(struct bench *bench, bool put, struct row *row_p)
{
  uint64_t n = put ? count : count * rounds;

  for (uint64_t i = 0; i < n; i++) {
    uint64_t before = kvi_now_ns();
    kvs_status status = move_one(bench, put, i % count);

    if (status != KVS_OK)
      return status;
    bench->seconds[i] = (double)(kvi_now_ns() - before) / 1e9;
    if (!put && memcmp(bench->landing, bench->payload, (size_t)size) != 0)
      return KVS_ERR_CORRUPT;
  }
  *row_p = make_row(put ? "put" : "get", bench->seconds, (size_t)n, size);
  return KVS_OK;
}

static kvs_status run_lookups(struct bench *bench, struct row *row_p)
{
  const kvsc_keys keys = {
      .struct_size = sizeof(keys), .n = (uint32_t)count, .keys = bench->keys, .unchained = 1};
  uint64_t n = 16 * rounds;

  for (uint64_t i = 0; i < n; i++) {
    uint64_t before = kvi_now_ns();
    kvsc_completion completion;
    kvsc_op op;
    kvs_status status = kvsc_lookup(bench->cli->client, &bench->space, 1, &keys, NULL, &op);

    if (status == KVS_OK)
      status = cli_wait(bench->cli, op, &completion);
    if (status != KVS_OK)
      return status;
    bench->seconds[i] = (double)(kvi_now_ns() - before) / 1e9;
  }
  *row_p = make_row("lookup", bench->seconds, (size_t)n, 0);
  return KVS_OK;
}

/* Takes away what the bench put; best effort. */
static void clean_up(struct bench *bench)
{
  const kvsc_keys keys = {
      .struct_size = sizeof(keys), .n = (uint32_t)count, .keys = bench->keys, .unchained = 1};
  kvsc_completion completion;
  kvsc_op op;

  if (bench->space != NULL && kvsc_delete(bench->space, &keys, NULL, &op) == KVS_OK)
    (void)cli_wait(bench->cli, op, &completion);
}

static void print_rows(const struct cli *cli, const struct row *rows, size_t n)
{
  const char *const headings[] = {"OPERATION", "TIMES", "P50", "P99", "A SECOND", "THROUGHPUT"};
  const bool to_the_right[] = {false, true, true, true, true, true};
  struct cli_table *table = cli->json ? NULL : cli_table_new(6, headings, to_the_right);

  for (size_t i = 0; i < n; i++) {
    char name[48], times[24], p50[CLI_SIZE_TEXT], p99[CLI_SIZE_TEXT], rate[32], speed[40] = "",
                                                                                text[CLI_SIZE_TEXT];

    if (cli->json) {
      printf("%s{\"name\":\"%s\",\"n\":%zu,\"bytes\":%" PRIu64
             ",\"p50_us\":%.1f,\"p99_us\":%.1f,\"per_second\":%.1f}",
             i == 0 ? "{\"rows\":[" : ",", rows[i].name, rows[i].n, rows[i].bytes, rows[i].p50 * 1e6,
             rows[i].p99 * 1e6, rows[i].per_second);
      continue;
    }
    if (rows[i].bytes > 0)
      snprintf(name, sizeof(name), "%s %s", rows[i].name, cli_size_text((double)rows[i].bytes, text));
    else
      snprintf(name, sizeof(name), "%s of %" PRIu64 " keys", rows[i].name, count);
    snprintf(times, sizeof(times), "%zu", rows[i].n);
    snprintf(rate, sizeof(rate), "%.0f", rows[i].per_second);
    if (rows[i].bytes > 0)
      snprintf(speed, sizeof(speed), "%s/s", cli_size_text(rows[i].per_second * (double)rows[i].bytes, text));
    cli_table_row(table, (const char *const[]){name, times, cli_time_text(rows[i].p50, p50),
                                               cli_time_text(rows[i].p99, p99), rate, speed});
  }
  if (cli->json)
    puts("]}");
  cli_table_print(table, stdout);
}

static kvs_status run_all(struct bench *bench, struct row *rows)
{
  const kvs_space_desc desc = {.struct_size = sizeof(desc),
                               .model = "kvasirctl-bench",
                               .engine = "kvasirctl",
                               .layout = KVS_LAYOUT_OPAQUE,
                               .tokens_per_chunk = 1,
                               .hash = KVS_HASH_OPAQUE,
                               .key_length = KEY_SIZE};
  kvs_status status = kvsc_space_open(bench->cli->client, &desc, &bench->space);

  if (status == KVS_OK)
    status = run_moves(bench, true, &rows[0]);
  if (status == KVS_OK)
    status = run_moves(bench, false, &rows[1]);
  if (status == KVS_OK)
    status = run_lookups(bench, &rows[2]);
  clean_up(bench);
  return status;
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct bench bench = {.cli = cli};
  struct row rows[3] = {0};
  kvs_status status = KVS_ERR_NOMEM;
  int code;

  (void)n;
  (void)arguments;
  if (size < sizeof(uint64_t) || size > (128u << 20) || count == 0 || count > COUNT_MAX || rounds == 0 ||
      rounds > 1000)
    return cli_usage(&cli_bench,
                     "--size goes from 8 bytes to 128MiB, --count from 1 to %u, --rounds from 1 to 1000",
                     COUNT_MAX);
  code = cli_connect(cli);
  if (code != CLI_OK)
    return code;
  bench.keys = malloc((size_t)count * KEY_SIZE);
  bench.payload = malloc((size_t)size);
  bench.landing = malloc((size_t)size);
  bench.seconds = malloc(((size_t)count + 16) * (size_t)rounds * sizeof(double));
  if (bench.keys != NULL && bench.payload != NULL && bench.landing != NULL && bench.seconds != NULL) {
    for (size_t i = 0; i < size; i++) /* no run that a layer could compress or skip */
      bench.payload[i] = (uint8_t)(i * 2654435761u >> 13);
    memset(bench.landing, 0, (size_t)size);
    for (uint64_t i = 0; i < count; i++)
      (void)!getrandom(bench.keys + i * KEY_SIZE, KEY_SIZE,
                       0); /* 32 bytes: never cut short, never fails once booted */
    status = run_all(&bench, rows);
  }
  if (status == KVS_OK)
    print_rows(cli, rows, 3);
  free(bench.keys);
  free(bench.payload);
  free(bench.landing);
  free(bench.seconds);
  return status == KVS_OK ? CLI_OK : cli_fail(cli, "bench", status);
}

const struct cli_command cli_bench = {
    .name = "bench",
    .arguments = "",
    .summary = "A short measurement of a node in use",
    .details = "Puts chunks under random keys, reads them back and compares, looks them up, and deletes "
               "them. They take room\n"
               "from what the node holds. kvasir-bench is the thorough one.",
    .options = options,
    .run = run,
};
