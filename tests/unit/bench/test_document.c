#include <cjson/cJSON.h>

#include "tests/bench/document.h"
#include "tests/bench/report.h"
#include "tests/bench/targets.h"
#include "tests/unit/bench/testing.h"

#define TEXT_MAX (1u << 20)

static const struct bench_case raw = {.way = BENCH_RAW_TCP, .op = BENCH_GET, .size = 2 << 20};
static const struct bench_case grpc = {.way = BENCH_GRPC_TCP, .op = BENCH_GET, .size = 2 << 20};

static void add(struct bench_document *document, const struct bench_case *what, size_t round, double value,
                double p50)
{
  struct bench_sample sample = {
      .value = value, .p50_us = p50, .p99_us = 1.5 * p50, .cpu_client = 0.1, .cpu_server = 0.2};

  assert_int_equal(bench_document_add(document, what, true, round, &sample, true), KVS_OK);
}

static struct bench_document three_rounds(double ratio)
{
  struct bench_document document = {.machine = {.rounds = 3, .seconds = 1}};

  for (size_t round = 0; round < 3; round++) {
    double speed = (double)(round + 1);

    add(&document, &raw, round, speed, 100);
    add(&document, &grpc, round, speed * ratio, 100 / ratio);
  }
  bench_document_settle(&document);
  return document;
}

static const cJSON *row_named(const cJSON *rows, const char *name)
{
  const cJSON *row;

  cJSON_ArrayForEach(row, rows)
  {
    if (strcmp(cJSON_GetObjectItem(row, "name")->valuestring, name) == 0)
      return row;
  }
  return NULL;
}

static void json_has_rows_and_ratios(void **state)
{
  struct bench_document document = three_rounds(0.95);
  kvi_strbuf out;
  cJSON *json;
  const cJSON *row, *ratio;

  (void)state;
  kvi_strbuf_init(&out, TEXT_MAX);
  bench_document_json(&document, &out);
  json = cJSON_Parse(kvi_strbuf_text(&out));
  assert_non_null(json);
  assert_true(cJSON_IsObject(cJSON_GetObjectItem(json, "machine")));
  row = row_named(cJSON_GetObjectItem(json, "rows"), "grpc-tcp-get-2MiB-d1-pin");
  assert_non_null(row);
  assert_close(cJSON_GetObjectItem(row, "median")->valuedouble, 1.9);
  assert_close(cJSON_GetObjectItem(row, "runs")->valuedouble, 3);
  ratio = cJSON_GetArrayItem(cJSON_GetObjectItem(row, "ratios"), 0);
  assert_string_equal(cJSON_GetObjectItem(ratio, "to")->valuestring, "raw-tcp-get-2MiB-d1-pin");
  assert_close(cJSON_GetObjectItem(ratio, "median")->valuedouble, 0.95);
  row = row_named(cJSON_GetObjectItem(json, "rows"), "grpc-tcp-get-2MiB-d1-pin-cpu-both");
  assert_close(cJSON_GetObjectItem(row, "median")->valuedouble, 0.3);
  assert_true(cJSON_IsNull(cJSON_GetObjectItem(row, "p50_us")));
  cJSON_Delete(json);
  kvi_strbuf_free(&out);
  bench_document_free(&document);
}

static void targets_pass_and_miss(void **state)
{
  struct bench_document good = three_rounds(0.95);
  struct bench_document bad = three_rounds(0.5);

  (void)state;
  assert_int_equal(bench_targets_of(&good, "grpc-tcp-get-2MiB-d1-pin"), BENCH_PASS);
  assert_int_equal(bench_targets_of(&bad, "grpc-tcp-get-2MiB-d1-pin"), BENCH_MISS);
  assert_int_equal(bench_targets_of(&good, "raw-tcp-get-2MiB-d1-pin"), BENCH_UNKNOWN);
  bench_document_free(&good);
  bench_document_free(&bad);
}

static void unknown_server_time_gives_no_row(void **state)
{
  struct bench_document document = {0};
  struct bench_sample sample = {.value = 1, .cpu_server = -1};

  (void)state;
  assert_int_equal(bench_document_add(&document, &grpc, false, 0, &sample, true), KVS_OK);
  assert_non_null(bench_document_find(&document, "grpc-tcp-get-2MiB-d1-cpu-client"));
  assert_null(bench_document_find(&document, "grpc-tcp-get-2MiB-d1-cpu-server"));
  assert_null(bench_document_find(&document, "grpc-tcp-get-2MiB-d1-cpu-both"));
  bench_document_free(&document);
}

static void report_has_both_tables(void **state)
{
  struct bench_document document = three_rounds(0.95);
  kvi_strbuf out;

  (void)state;
  kvi_strbuf_init(&out, TEXT_MAX);
  bench_report(&document, true, &out);
  assert_int_equal(out.status, KVS_OK);
  assert_non_null(strstr(kvi_strbuf_text(&out), "| grpc-tcp-get-2MiB-d1-pin |"));
  assert_non_null(strstr(kvi_strbuf_text(&out), "| >= 0.9 |"));
  assert_non_null(strstr(kvi_strbuf_text(&out), "| pass |"));
  kvi_strbuf_free(&out);
  bench_document_free(&document);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_has_rows_and_ratios),
      cmocka_unit_test(targets_pass_and_miss),
      cmocka_unit_test(unknown_server_time_gives_no_row),
      cmocka_unit_test(report_has_both_tables),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
