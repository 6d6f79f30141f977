#include <string.h>

#include "testing.h"

#include "base/log.h"
#include "config_sample.h"

static void drop_line(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  (void)level, (void)line, (void)length;
  ++*(int *)ctx;
}

static void defaults(void **state)
{
  kvi_config *config = sample_config();
  const sample_settings *settings = kvi_config_values(config);

  (void)state;
  assert_false(settings->trace);
  assert_int_equal(settings->dram_size, 1 << 30);
  assert_int_equal(settings->dram_pin_ttl, 30000);
  assert_int_equal(settings->threads, -1);
  assert_string_equal(settings->node_id, "");
  assert_int_equal(settings->log_level, 2);
  assert_int_equal(settings->listen.count, 2);
  assert_string_equal(settings->listen.items[0], "127.0.0.1:9400");
  assert_string_equal(settings->listen.items[1], "unix:/run/kvasir.sock");
  assert_string_equal(kvi_config_error(config), "");
  assert_int_equal(kvi_config_source_of(config, "dram.size"), KVI_CONFIG_FROM_DEFAULT);
  assert_int_equal(kvi_config_source_of(config, "no.such"), KVI_CONFIG_FROM_DEFAULT);
  kvi_config_free(config);
  kvi_config_free(NULL);
}

/* A table is a program's bug when it is wrong: refused at the start, by name. */
static void expect_bad(const kvi_config_row *rows, size_t count)
{
  const kvi_config_table table = {.program = "bad",
                                  .version = "0",
                                  .summary = "s",
                                  .parts = {&(const kvi_config_rows){.rows = rows, .count = count}},
                                  .struct_size = 8};
  kvi_config *config = (kvi_config *)&table;

  assert_int_equal(kvi_config_create(&table, &config), KVS_ERR_INVALID);
  assert_null(config);
}

static void bad_tables(void **state)
{
  static const char *const none[] = {NULL};
  int lines = 0;

  (void)state;
  kvi_log_set_sink(drop_line, &lines);
  expect_bad(NULL, 0);
  expect_bad((kvi_config_row[]){{.name = "Upper", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "a..b", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "a.", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "config", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "dump.config", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "no_way", .standard = "1", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "ok", .standard = "1"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "ok", .standard = "maybe", .doc = "d"}}, 1);
  expect_bad((kvi_config_row[]){{.name = "ok", .standard = "1", .doc = "d", .offset = 8}}, 1);
  expect_bad((kvi_config_row[]){{.name = "ok", .standard = "1", .doc = "d", .offset = SIZE_MAX}}, 1);
  expect_bad(
      (kvi_config_row[]){{.name = "ok", .type = KVI_CONFIG_INT, .standard = "5", .min = 6, .doc = "d"}}, 1);
  expect_bad(
      (kvi_config_row[]){
          {.name = "ok", .type = KVI_CONFIG_SIZE, .standard = "5", .min = -1, .max = 7, .doc = "d"}},
      1);
  expect_bad((kvi_config_row[]){{.name = "ok", .type = KVI_CONFIG_ENUM, .choices = none, .doc = "d"}}, 1);
  expect_bad(
      (kvi_config_row[]){
          {.name = "ok", .type = KVI_CONFIG_INT, .standard = "5", .min = 6, .max = 7, .doc = "d"}},
      1);
  expect_bad((kvi_config_row[]){{.name = "a.b_c", .standard = "1", .doc = "d"},
                                {.name = "a_b.c", .standard = "1", .doc = "d"}},
             2);
  kvi_log_set_sink(NULL, NULL);
  assert_true(lines >= 14); /* each said why */
}

/* Rows of several files are numbered through, and no name is in two of them. */
static void several_parts(void **state)
{
  static const kvi_config_row first[] = {{.name = "a", .standard = "true", .doc = "d"},
                                         {.name = "b", .standard = "true", .doc = "d", .offset = 1}};
  static const kvi_config_row second[] = {{.name = "c", .standard = "true", .doc = "d", .offset = 2}};
  const kvi_config_rows none = {.rows = NULL, .count = 0};
  kvi_config_table table = {.program = "p",
                            .version = "0",
                            .summary = "s",
                            .parts = {KVI_CONFIG_ROWS(first), &none, KVI_CONFIG_ROWS(second)},
                            .struct_size = 3};
  kvi_config *config = NULL;
  int lines = 0;

  (void)state;
  assert_ptr_equal(kvi_config_row_at(&table, 1), &first[1]);
  assert_ptr_equal(kvi_config_row_at(&table, 2), &second[0]);
  assert_null(kvi_config_row_at(&table, 3));
  assert_int_equal(kvi_config_create(&table, &config), KVS_OK);
  assert_int_equal(kvi_config_load_yaml(config, "f", "{b: false, c: false}", 20), KVS_OK);
  assert_memory_equal(kvi_config_values(config), ((const bool[]){true, false, false}), 3);
  assert_int_equal(kvi_config_source_of(config, "c"), KVI_CONFIG_FROM_FILE);
  kvi_config_free(config);

  table.parts[3] = table.parts[2];
  kvi_log_set_sink(drop_line, &lines);
  assert_int_equal(kvi_config_create(&table, &config), KVS_ERR_INVALID);
  kvi_log_set_sink(NULL, NULL);
  assert_int_equal(lines, 1);
}

static void set_while_running(void **state)
{
  kvi_config *config = sample_config();
  const sample_settings *settings = kvi_config_values(config);
  const char *before = settings->node_id;

  (void)state;
  assert_int_equal(kvi_config_set(config, "node.id", "seven"), KVS_OK);
  assert_string_equal(settings->node_id, "seven");
  assert_string_equal(before, "");
  assert_int_equal(kvi_config_source_of(config, "node.id"), KVI_CONFIG_FROM_RUNTIME);
  assert_int_equal(kvi_config_set(config, "dram.size", "2GiB"), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config),
                      "run time: dram.size: cannot be changed while the program runs");
  assert_int_equal(settings->dram_size, 1 << 30);
  assert_int_equal(kvi_config_set(config, "node.ip", "x"), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "run time: node.ip: unknown setting (did you mean node.id?)");
  assert_int_equal(kvi_config_set(config, "node.id", "seventeen letters"), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config),
                      "run time: node.id: its length is above the most allowed, 16");
  assert_int_equal(kvi_config_set(config, "node.id", "two\nlines"), KVS_ERR_CONFIG);
  assert_int_equal(kvi_config_set(config, "node.id", "\xff"), KVS_ERR_CONFIG);
  assert_string_equal(settings->node_id, "seven");
  kvi_config_free(config);
}

/* What kvi_config_set keeps is bounded. */
static void set_for_ever(void **state)
{
  kvi_config *config = sample_config();
  kvs_status status = KVS_OK;
  size_t calls = 0;

  (void)state;
  while (status == KVS_OK && calls < KVI_CONFIG_TEXT_MAX) {
    status = kvi_config_set(config, "node.id", "0123456789abcdef");
    calls++;
  }
  assert_int_equal(status, KVS_ERR_NOMEM);
  assert_string_equal(((const sample_settings *)kvi_config_values(config))->node_id, "0123456789abcdef");
  kvi_config_free(config);
}

static void programs_own_checks(void **state)
{
  kvi_config *config = sample_config();
  const char *text = "dram:\n  size: 2GiB\n";

  (void)state;
  assert_int_equal(kvi_config_load_yaml(config, "f.yaml", text, strlen(text)), KVS_OK);
  assert_int_equal(kvi_config_refuse(config, "dram.size", "more than %d%% of memory", 90), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "f.yaml:2: dram.size: more than 90% of memory");
  assert_int_equal(kvi_config_refuse(config, "threads", "too many"), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "default: threads: too many");
  assert_int_equal(kvi_config_refuse(config, "tls", "missing"), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "configuration: tls: missing");
  kvi_config_free(config);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),      cmocka_unit_test(bad_tables),
      cmocka_unit_test(several_parts), cmocka_unit_test(set_while_running),
      cmocka_unit_test(set_for_ever),  cmocka_unit_test(programs_own_checks),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
