#include "tests/bench/case.h"

#include "tests/unit/bench/testing.h"

#define MIB (UINT64_C(1) << 20)

static void assert_name(struct bench_row_id id, const char *expected)
{
  char name[BENCH_NAME_MAX];

  bench_row_name(&id, name);
  assert_string_equal(name, expected);
}

static void names(void **state)
{
  struct bench_case get = {.way = BENCH_GRPC_TCP, .op = BENCH_GET, .size = 2 * MIB};
  struct bench_case batch = {.way = BENCH_REDIS, .op = BENCH_PUT, .size = 64 << 10, .shape = BENCH_BATCH16};
  struct bench_case copy = {.way = BENCH_MEMCPY, .op = BENCH_COPY, .size = MIB};
  struct bench_case lookup = {.way = BENCH_GRPC_TCP, .op = BENCH_LOOKUP, .keys = 512};
  struct bench_case empty = {.way = BENCH_GRPC_TCP, .op = BENCH_EMPTY_CALL};

  (void)state;
  assert_name((struct bench_row_id){.what = get}, "grpc-tcp-get-2MiB-d1");
  assert_name((struct bench_row_id){.what = get, .pin = true, .kind = BENCH_CPU_CLIENT},
              "grpc-tcp-get-2MiB-d1-pin-cpu-client");
  assert_name((struct bench_row_id){.what = batch, .pin = true}, "redis-put-64KiB-batch16-pin");
  assert_name((struct bench_row_id){.what = copy}, "memcpy-copy-1MiB-d1");
  assert_name((struct bench_row_id){.what = lookup, .pin = true}, "lookup-512-pin");
  assert_name((struct bench_row_id){.what = empty}, "empty-call");
  empty.way = BENCH_RAW_TCP;
  assert_name((struct bench_row_id){.what = empty}, "raw-tcp-empty-call");
  get.defmalloc = true;
  assert_name((struct bench_row_id){.what = get, .pin = true}, "grpc-tcp-get-2MiB-d1-pin-defmalloc");
}

/* Is `expected` among the rows that the row is compared with? */
static bool refers_to(struct bench_row_id id, const char *expected)
{
  struct bench_row_id references[BENCH_RATIOS_MAX];
  size_t n = bench_row_references(&id, references, BENCH_RATIOS_MAX);
  char name[BENCH_NAME_MAX];

  for (size_t i = 0; i < n; i++) {
    bench_row_name(&references[i], name);
    if (strcmp(name, expected) == 0)
      return true;
  }
  return false;
}

static void every_way_refers_to_its_limit(void **state)
{
  struct bench_case what = {.way = BENCH_GRPC_TCP, .op = BENCH_GET, .size = 2 * MIB, .shape = BENCH_BATCH16};
  struct bench_row_id id = {.what = what, .pin = true};

  (void)state;
  assert_true(refers_to(id, "raw-tcp-get-2MiB-d1-pin"));
  assert_true(refers_to(id, "redis-get-2MiB-d1-pin"));
  assert_true(refers_to(id, "redis-get-2MiB-batch16-pin"));
  assert_true(refers_to(id, "grpc-tcp-get-2MiB-d1-pin"));
  assert_false(refers_to(id, "raw-tcp-get-2MiB-d1")); /* never another placement */
  id.what.way = BENCH_EMBEDDED;
  id.what.shape = BENCH_D1;
  assert_true(refers_to(id, "memcpy-copy-2MiB-d1-pin"));
  id.what.way = BENCH_GRPC_UNIX;
  assert_true(refers_to(id, "raw-unix-get-2MiB-d1-pin"));
  id.what.way = BENCH_RAW_TCP;
  assert_int_equal(bench_row_references(&id, (struct bench_row_id[BENCH_RATIOS_MAX]){0}, BENCH_RATIOS_MAX),
                   0);
}

static void latencies_refer_to_latencies(void **state)
{
  struct bench_row_id id = {.what = {.way = BENCH_GRPC_TCP, .op = BENCH_GET, .size = 32 * MIB}};

  (void)state;
  assert_true(refers_to(id, "grpc-tcp-get-2MiB-batch16"));
  id.kind = BENCH_FIRST_SEGMENT;
  assert_true(refers_to(id, "grpc-tcp-get-32MiB-d1-p50"));
  id.kind = BENCH_P99;
  assert_true(refers_to(id, "grpc-tcp-get-32MiB-d1-p50"));
  id.kind = BENCH_P50;
  assert_true(refers_to(id, "raw-tcp-get-32MiB-d1-p50"));
  id = (struct bench_row_id){.what = {.way = BENCH_GRPC_TCP, .op = BENCH_LOOKUP, .keys = 16}};
  assert_true(refers_to(id, "empty-call"));
}

static void what_moves_nothing_has_no_cost(void **state)
{
  struct bench_case empty = {.way = BENCH_GRPC_TCP, .op = BENCH_EMPTY_CALL};
  struct bench_case embedded = {.way = BENCH_EMBEDDED, .op = BENCH_GET, .size = MIB};

  (void)state;
  assert_false(bench_case_has(&empty, BENCH_CPU_CLIENT));
  assert_true(bench_case_has(&embedded, BENCH_CPU_CLIENT));
  assert_false(bench_case_has(&embedded, BENCH_CPU_SERVER)); /* there is none */
}

static void shapes(void **state)
{
  struct bench_case what = {.size = 32 * MIB, .shape = BENCH_CALL16};

  (void)state;
  assert_int_equal(bench_case_segments(&what), 16);
  assert_int_equal(bench_case_depth(&what), 1);
  assert_int_equal(bench_case_chunks(&what), 16);
  what.shape = BENCH_BATCH16;
  assert_int_equal(bench_case_depth(&what), 16);
  assert_int_equal(bench_case_chunks(&what), 1);
}

static void tiers(void **state)
{
  struct bench_row_id id = {
      .what = {.way = BENCH_SSD, .op = BENCH_RANDOM_READ, .size = 64 << 10, .shape = BENCH_D16}};

  (void)state;
  assert_name(id, "ssd-randread-64KiB-d16");
  assert_true(refers_to(id, "fio-randread-64KiB-d16"));
  id.kind = BENCH_CPU_CLIENT;
  assert_true(refers_to(id, "fio-randread-64KiB-d16-cpu-client"));
  id = (struct bench_row_id){
      .what = {.way = BENCH_REDIS_TIER, .op = BENCH_PUT, .size = 2 * MIB, .shape = BENCH_C8}, .pin = true};
  assert_name(id, "redis-tier-put-2MiB-c8-pin");
  assert_true(refers_to(id, "redis-benchmark-put-2MiB-c8-pin"));
  assert_true(refers_to(id, "lmcache-resp-put-2MiB-c8-pin"));
  assert_true(bench_case_has(&id.what, BENCH_CPU_BOTH));
  id = (struct bench_row_id){.what = {.way = BENCH_DRAM, .op = BENCH_GET, .shape = BENCH_T4}};
  assert_name(id, "dram-get-mixed-t4");
  assert_true(refers_to(id, "memcpy-copy-mixed-t4"));
  assert_false(bench_case_has(&id.what, BENCH_CPU_SERVER));
  id.what = (struct bench_case){.way = BENCH_DRAM, .op = BENCH_FRAGMENTATION};
  assert_name(id, "dram-fragmentation");
  assert_string_equal(bench_row_unit(&id), "%");
  id = (struct bench_row_id){.what = {.way = BENCH_OPEN_STORE, .op = BENCH_OPEN}, .kind = BENCH_INDEX_BYTES};
  assert_name(id, "store-open-index");
  assert_string_equal(bench_row_unit(&id), "bytes/chunk");
  assert_false(bench_case_has(&id.what, BENCH_P99));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names),
      cmocka_unit_test(every_way_refers_to_its_limit),
      cmocka_unit_test(latencies_refer_to_latencies),
      cmocka_unit_test(what_moves_nothing_has_no_cost),
      cmocka_unit_test(shapes),
      cmocka_unit_test(tiers),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
