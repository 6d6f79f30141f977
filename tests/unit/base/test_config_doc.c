#include <string.h>

#include "testing.h"

#include "config_sample.h"

#define PAGE_MAX ((size_t)64 * 1024)

static void dump_can_be_loaded_again(void **state)
{
  static const char text[] =
      "dram: {size: 1.5GiB, pin_ttl: 90s}\nlisten: {on: ['a\"b', '\xc3\xa9']}\n"
      "redis: {password: hush}\nnode: {id: 'x: # y'}\nlog: {level: error}\ntrace: true\n";
  static char *const argv[] = {"sampled", "--threads=5", NULL};
  kvi_config *first = sample_config(), *second = sample_config();
  kvi_config_action action;
  kvi_strbuf dump, again;

  (void)state;
  kvi_strbuf_init(&dump, PAGE_MAX);
  kvi_strbuf_init(&again, PAGE_MAX);
  assert_int_equal(kvi_config_load_yaml(first, "f.yaml", text, strlen(text)), KVS_OK);
  assert_int_equal(kvi_config_load(first, 2, argv, NULL, &action), KVS_OK);
  kvi_config_dump_text(first, &dump);
  assert_int_equal(dump.status, KVS_OK);
  assert_non_null(strstr(dump.text, "\ndram.size: 1536MiB # f.yaml:1\n"));
  assert_non_null(strstr(dump.text, "\nthreads: 5 # command line\n"));
  assert_non_null(strstr(dump.text, "\nlisten.insecure: false # default\n"));
  assert_non_null(strstr(dump.text, "\n# redis.password: (secret) # f.yaml:3\n"));
  assert_null(strstr(dump.text, "hush"));
  assert_int_equal(kvi_config_load_yaml(second, "d", dump.text, dump.length), KVS_OK);
  const sample_settings *a = kvi_config_values(first), *b = kvi_config_values(second);
  assert_int_equal(b->dram_size, a->dram_size);
  assert_int_equal(b->dram_pin_ttl, 90000);
  assert_string_equal(b->node_id, "x: # y");
  assert_string_equal(b->listen.items[0], "a\"b");
  assert_string_equal(b->listen.items[1], "\xc3\xa9");
  assert_int_equal(b->log_level, 0);
  assert_true(b->trace);
  assert_string_equal(b->password, "");
  kvi_strbuf_free(&dump);
  kvi_strbuf_free(&again);
  kvi_config_free(first);
  kvi_config_free(second);
}

static void dump_json(void **state)
{
  static const char text[] = "redis: {password: hush}\nnode: {id: 'a\"b'}\n";
  kvi_config *config = sample_config();
  kvi_strbuf out;

  (void)state;
  kvi_strbuf_init(&out, PAGE_MAX);
  assert_int_equal(kvi_config_load_yaml(config, "f", text, strlen(text)), KVS_OK);
  kvi_config_print(config, KVI_CONFIG_DUMP_JSON, &out);
  assert_non_null(strstr(out.text, "\"dram.size\": {\"value\": 1073741824, \"source\": \"default\"},\n"));
  assert_non_null(
      strstr(out.text, "\"node.id\": {\"value\": \"a\\\"b\", \"source\": \"f\", \"line\": 2},\n"));
  assert_non_null(strstr(out.text, "\"redis.password\": {\"value\": null, \"secret\": true, "));
  assert_non_null(strstr(out.text, "\"log.level\": {\"value\": \"info\", \"source\": \"default\"}\n}\n"));
  assert_null(strstr(out.text, "hush"));
  kvi_strbuf_free(&out);
  kvi_config_free(config);
}

/* The page of an action, to be freed by the caller. */
static kvi_strbuf page(kvi_config_action action)
{
  kvi_config *config = sample_config();
  kvi_strbuf out;

  kvi_strbuf_init(&out, PAGE_MAX);
  kvi_config_print(config, action, &out);
  assert_int_equal(out.status, KVS_OK);
  kvi_config_free(config);
  return out;
}

static void help(void **state)
{
  kvi_strbuf out = page(KVI_CONFIG_HELP);

  (void)state;
  for (const char *line = out.text; *line != '\0'; line += strcspn(line, "\n") + 1)
    assert_true(strcspn(line, "\n") <= 80);
  assert_non_null(strstr(out.text, "sampled: a program for tests\n"));
  assert_non_null(strstr(out.text, "  --dram-size=SIZE\n      Bytes of memory for chunks."));
  assert_non_null(strstr(out.text, "      (size, 1MiB to 4TiB; default 1GiB)\n"));
  assert_non_null(strstr(out.text, "  --trace[=true|false]\n"));
  assert_non_null(
      strstr(out.text, "word: error, warn, info; default info; may change while the program runs"));
  assert_non_null(strstr(out.text, "--config=FILE"));
  kvi_strbuf_free(&out);
}

static void markdown(void **state)
{
  kvi_strbuf out = page(KVI_CONFIG_MARKDOWN);

  (void)state;
  assert_non_null(strstr(out.text, "# Settings of sampled\n"));
  assert_non_null(strstr(out.text, "\n## dram\n\n### `dram.size`\n"));
  assert_non_null(strstr(out.text, "\n## general\n\n### `trace`\n"));
  assert_non_null(
      strstr(out.text, "Command line `--dram-pin-ttl=DURATION`, environment `KVASIR_DRAM_PIN_TTL`.\n"));
  kvi_strbuf_free(&out);
}

static void man(void **state)
{
  kvi_strbuf out = page(KVI_CONFIG_MAN);

  (void)state;
  assert_non_null(strstr(out.text, ".SH OPTIONS\n"));
  assert_non_null(strstr(out.text, ".TP\n\\fB\\&\\-\\-dram\\-size=SIZE\\fR\n"));
  assert_null(strstr(out.text, "\n.not"));
  assert_null(strstr(out.text, "`"));
  kvi_strbuf_free(&out);
}

static void version_and_nothing(void **state)
{
  kvi_strbuf out = page(KVI_CONFIG_VERSION);

  (void)state;
  assert_string_equal(out.text, "sampled 1.2.3\n");
  kvi_strbuf_free(&out);
  out = page(KVI_CONFIG_RUN);
  assert_string_equal(kvi_strbuf_text(&out), "");
  kvi_strbuf_free(&out);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dump_can_be_loaded_again),
      cmocka_unit_test(dump_json),
      cmocka_unit_test(help),
      cmocka_unit_test(markdown),
      cmocka_unit_test(man),
      cmocka_unit_test(version_and_nothing),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
