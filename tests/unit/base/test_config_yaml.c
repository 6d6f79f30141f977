#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

#include "config_sample.h"

static void everything_at_once(void **state)
{
  static const char text[] = "# a comment\n"
                             "trace: yes\n"
                             "listen:\n"
                             "  insecure: true\n"
                             "  on:\n"
                             "    - 0.0.0.0:9400\n"
                             "    - \"unix:/tmp/a, b\"\n"
                             "dram: {size: 1.5GiB, pin_ttl: 250ms}\n"
                             "threads: 8\n"
                             "node.id: 'n1'\n"
                             "redis:\n"
                             "  password: \"\"\n"
                             "log: {level: warn}\n";
  kvi_config *config = sample_config();
  const sample_settings *settings = kvi_config_values(config);

  (void)state;
  assert_int_equal(kvi_config_load_yaml(config, "f", text, strlen(text)), KVS_OK);
  assert_true(settings->trace);
  assert_true(settings->insecure);
  assert_int_equal(settings->listen.count, 2);
  assert_string_equal(settings->listen.items[1], "unix:/tmp/a, b");
  assert_int_equal(settings->dram_size, UINT64_C(3) << 29);
  assert_int_equal(settings->dram_pin_ttl, 250);
  assert_int_equal(settings->threads, 8);
  assert_string_equal(settings->node_id, "n1");
  assert_string_equal(settings->password, "");
  assert_int_equal(settings->log_level, 1);
  assert_int_equal(kvi_config_source_of(config, "dram.size"), KVI_CONFIG_FROM_FILE);
  kvi_config_free(config);
}

static void empty_files(void **state)
{
  static const char *const texts[] = {"", "\n\n", "# nothing\n", "---\n", "---\n...\n", "{}"};

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(texts); i++) {
    kvi_config *config = sample_config();

    assert_int_equal(kvi_config_load_yaml(config, "f", texts[i], strlen(texts[i])), KVS_OK);
    kvi_config_free(config);
  }
}

typedef struct refusal {
  const char *text;
  const char *message; /* the whole, or its beginning if it ends in '*' */
} refusal;

static const refusal refusals[] = {
    {"dram:\n  siez: 1GiB\n", "f:2: dram.siez: unknown key (did you mean dram.size?)"},
    {"size: 1GiB\n", "f:1: size: unknown key (did you mean dram.size?)"},
    {"wholly_other: 1\n", "f:1: wholly_other: unknown key"},
    {"\"\": 1\n", "f:1: unknown key"},
    {"drma:\n  size: 1GiB\n", "f:1: drma: unknown section (did you mean dram?)"},
    {"\n\ndram: 1GiB\n", "f:3: dram: is a section: it holds settings, not a value"},
    {"threads: {a: 1}\n", "f:1: threads: expected a value, found a map"},
    {"threads: [1]\n", "f:1: threads: expected a number, found a list"},
    {"threads: 8\nthreads: 8\n", "f:2: threads: duplicate key"},
    {"dram: {size: 1GiB}\ndram.size: 1GiB\n", "f:2: dram.size: duplicate key"},
    {"dram: {size: 1GiB}\ndram: {pin_ttl: 1s}\n", "f:2: dram: duplicate key"},
    {"threads: many\n", "f:1: threads: expected a whole number, found \"many\""},
    {"threads: 65\n", "f:1: threads: is above the most allowed, 64"},
    {"threads: -2\n", "f:1: threads: is below the least allowed, -1"},
    {"threads: 99999999999999999999\n",
     "f:1: threads: expected a whole number, found \"99999999999999999999\""},
    {"threads:\n", "f:1: threads: has no value"},
    {"threads: ~\n", "f:1: threads: has no value"},
    {"dram.size: 1KiB\n", "f:1: dram.size: is below the least allowed, 1MiB"},
    {"dram.size: big\n", "f:1: dram.size: expected a size such as 64KiB or 2GiB, found \"big\""},
    {"dram.pin_ttl: 10\n", "f:1: dram.pin_ttl: expected a duration such as 250ms or 10s, found \"10\""},
    {"dram.pin_ttl: 2h\n", "f:1: dram.pin_ttl: is above the most allowed, 1h"},
    {"trace: maybe\n", "f:1: trace: expected true or false, found \"maybe\""},
    {"log.level: loud\n", "f:1: log.level: expected one of error, warn, info, found \"loud\""},
    {"listen.on: a\n", "f:1: listen.on: expected a list such as [a, b]"},
    {"listen.on: []\n", "f:1: listen.on: its number of items is below the least allowed, 1"},
    {"listen.on: [a,b,c,d,e]\n", "f:1: listen.on: its number of items is above the most allowed, 4"},
    {"listen.on: [a, [b]]\n", "f:1: listen.on: an item of the list is not plain text"},
    {"node.id: \"a\\0b\"\n", "f:1: node.id: holds a NUL character"},
    {"node.id: \"a\\nb\"\n", "f:1: node.id: holds a control character or is not UTF-8"},
    {"node.id: &x a\n", "f:1: node.id: anchors and tags are not supported"},
    {"node.id: !!str a\n", "f:1: node.id: anchors and tags are not supported"},
    {"node.id: *x\n", "f:1: node.id: anchors and aliases are not supported"},
    {"dram: &x {size: 1GiB}\n", "f:1: dram: anchors and tags are not supported"},
    {"? [a]\n: 1\n", "f:1: a key is not plain text"},
    {"[a, b]\n", "f:1: expected a map of settings"},
    {"text\n", "f:1: expected a map of settings"},
    {"threads: 1\n---\nthreads: 2\n", "f:2: there is a second document"},
    {"threads: [1\n", "f:1: threads: expected a number, found a list"},
    {"trace: true\n  threads: 1\n", "f:1: trace: expected true or false, found \"true threads\""},
    {"trace: \"open\n", "f:*"},
    {"trace: true\n threads: 1\n", "f:1: trace: *"},
    {"trace: true\n- a\n", "f:2: not valid YAML: *"},
    {"trace: true\n\tthreads: 1\n", "f:2: not valid YAML: *"},
    {"node.id: \xff\xfe\n", "f:*"},
    {"\xff\xfe\n", "f:*"},
};

static void refused_with_place_and_reason(void **state)
{
  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(refusals); i++) {
    const refusal *r = &refusals[i];
    kvi_config *config = sample_config();
    size_t length = strlen(r->message);

    assert_int_equal(kvi_config_load_yaml(config, "f", r->text, strlen(r->text)), KVS_ERR_CONFIG);
    if (r->message[length - 1] == '*')
      assert_memory_equal(kvi_config_error(config), r->message, length - 1);
    else
      assert_string_equal(kvi_config_error(config), r->message);
    kvi_config_free(config);
  }
}

/* A secret of the wrong kind does not reach the log by way of the message. */
static void secrets_are_not_told(void **state)
{
  static const char text[] = "redis.password: \"hush\\u0007\"\n";
  kvi_config *config = sample_config();

  (void)state;
  assert_int_equal(kvi_config_load_yaml(config, "f", text, strlen(text)), KVS_ERR_CONFIG);
  assert_null(strstr(kvi_config_error(config), "hush"));
  kvi_config_free(config);
}

/* "a: {a: {a: ..." in a table that has such names, so that only the depth stops it. */
static void too_deep(void **state)
{
  static const kvi_config_row rows[] = {{.name = "a.a.a.a.a.a.a.a.a.a", .standard = "1", .doc = "d"}};
  const kvi_config_table table = {"p", "0", "s", {KVI_CONFIG_ROWS(rows)}, sizeof(bool), NULL};
  static const char deep[] = "{a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}";
  static const char flat[] = "a.a.a: {a.a.a.a.a: {a.a: 0}}";
  kvi_config *config = NULL;

  (void)state;
  assert_int_equal(kvi_config_create(&table, &config), KVS_OK);
  assert_int_equal(kvi_config_load_yaml(config, "f", deep, strlen(deep)), KVS_ERR_CONFIG);
  assert_non_null(strstr(kvi_config_error(config), "nested too deep"));
  assert_int_equal(kvi_config_load_yaml(config, "f", flat, strlen(flat)), KVS_OK);
  assert_false(*(const bool *)kvi_config_values(config));
  kvi_config_free(config);
}

static void too_large(void **state)
{
  kvi_config *config = sample_config();
  size_t size = KVI_CONFIG_FILE_MAX + 1;
  char *text = malloc(size);

  (void)state;
  assert_non_null(text);
  memset(text, '#', size);
  assert_int_equal(kvi_config_load_yaml(config, "f", text, size), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "f: larger than 1048576 bytes");
  assert_int_equal(kvi_config_load_yaml(config, "f", text, size - 1), KVS_OK);
  memcpy(text, "node.id: ", 9);
  assert_int_equal(kvi_config_load_yaml(config, "f", text, 9 + KVI_CONFIG_VALUE_MAX + 1), KVS_ERR_CONFIG);
  memset(text, '[', size);
  assert_int_equal(kvi_config_load_yaml(config, "f", text, size - 1), KVS_ERR_CONFIG);
  memset(text, 'k', size);
  assert_int_equal(kvi_config_load_yaml(config, "f", text, size - 1), KVS_ERR_CONFIG);
  memcpy(text + 300, ": 1\n", 4);
  assert_int_equal(kvi_config_load_yaml(config, "f", text, 304), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "f:1: a key is too long");
  free(text);
  kvi_config_free(config);
}

static void files(void **state)
{
  char path[] = "/tmp/kvasir-test-XXXXXX";
  char message[256];
  kvi_config *config = sample_config();
  int fd = mkstemp(path);

  (void)state;
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "threads: 3\n", 11), 11);
  assert_int_equal(kvi_config_load_file(config, path), KVS_OK);
  assert_int_equal(((const sample_settings *)kvi_config_values(config))->threads, 3);
  assert_int_equal(ftruncate(fd, KVI_CONFIG_FILE_MAX + 1), 0);
  assert_int_equal(kvi_config_load_file(config, path), KVS_ERR_CONFIG);
  assert_non_null(strstr(kvi_config_error(config), "larger than"));
  close(fd);
  unlink(path);
  assert_int_equal(kvi_config_load_file(config, path), KVS_ERR_CONFIG);
  snprintf(message, sizeof message, "%s: cannot be opened: No such file or directory", path);
  assert_string_equal(kvi_config_error(config), message);
  assert_int_equal(kvi_config_load_file(config, "/tmp"), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config), "/tmp: cannot be read: Is a directory");
  kvi_config_free(config);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(everything_at_once),
      cmocka_unit_test(empty_files),
      cmocka_unit_test(refused_with_place_and_reason),
      cmocka_unit_test(secrets_are_not_told),
      cmocka_unit_test(too_deep),
      cmocka_unit_test(too_large),
      cmocka_unit_test(files),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
