/* Tests of kvasird's settings: the table, the checks over several settings, reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/array.h"
#include "base/log.h"
#include "server/node/machine.h"
#include "server/node/settings.h"
#include "tiers/policy/policy.h"

#define ARGS_MAX 16

static char *no_environment[] = {NULL};
static char path[64];

static struct kvi_settings *load(kvs_status want, ...) /* options up to NULL */
{
  static char *argv[ARGS_MAX + 1];
  int argc = 0;
  struct kvi_settings *settings;
  kvi_config_action action;
  va_list args;

  argv[argc++] = (char *)(uintptr_t) "kvasird";
  va_start(args, want);
  for (char *next = va_arg(args, char *); next != NULL && argc < ARGS_MAX; next = va_arg(args, char *))
    argv[argc++] = next;
  va_end(args);
  argv[argc] = NULL;
  kvs_status status = kvi_settings_load(argc, argv, no_environment, &action, &settings);
  assert_non_null(settings);
  if (status != want)
    print_message("%s\n", kvi_settings_error(settings));
  assert_int_equal(status, want);
  return settings;
}

static void expect_refused(const char *reason, const char *first, const char *second)
{
  struct kvi_settings *settings = load(KVS_ERR_CONFIG, first, second, NULL);
  const char *error = kvi_settings_error(settings);

  if (strstr(error, reason) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", error, reason);
  kvi_settings_free(settings);
}

static void write_file(const char *text)
{
  FILE *file = fopen(path, "w");

  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void test_defaults(void **state)
{
  struct kvi_settings *settings = load(KVS_OK, NULL);
  const struct kvi_node_settings *values = kvi_settings_get(settings);

  (void)state;
  assert_int_equal(values->listen.count, 1);
  assert_string_equal(values->listen.items[0], "127.0.0.1:7070");
  assert_string_equal(values->unix_socket, "/run/kvasir/kvasird.sock");
  assert_int_equal(kvi_settings_unix_mode(values), 0660);
  assert_false(values->insecure);
  assert_string_equal(values->tls_cert_file, "");
  assert_int_equal(values->dram_size, 1u << 30);
  assert_string_equal(kvi_settings_policies[values->store_policy], "index");
  assert_string_equal(values->admin_listen, "127.0.0.1:7071");
  assert_int_equal(kvi_settings_drain_timeout_ms(settings), 10000);
  assert_int_equal(values->log_level, KVI_LOG_INFO);
  assert_int_equal(values->log_format, KVI_LOG_TEXT);
  kvi_settings_free(settings);
}

/* What may be configured is what there is. */
static void test_policies(void **state)
{
  size_t n = 0;

  (void)state;
  for (; kvi_settings_policies[n]; n++)
    assert_string_equal(kvi_settings_policies[n], kvi_policy_at(n)->name);
  assert_null(kvi_policy_at(n));
}

static void test_strangers_need_tls_or_a_word(void **state)
{
  struct kvi_settings *settings;

  (void)state;
  expect_refused("insecure: true", "--listen=0.0.0.0:7070", NULL);
  expect_refused("insecure: true", "--listen=127.0.0.1:1,[::]:2", NULL);
  expect_refused("insecure: true", "--admin.listen=0.0.0.0:7071", NULL);
  settings = load(KVS_OK, "--listen=0.0.0.0:7070", "--insecure=true", NULL);
  kvi_settings_free(settings);
  settings = load(KVS_OK, "--admin.listen=0.0.0.0:7070", "--insecure=true", NULL);
  kvi_settings_free(settings);
}

static void test_tls_files(void **state)
{
  struct kvi_settings *settings;
  char cert[80], key[80];

  (void)state;
  write_file("x");
  snprintf(cert, sizeof(cert), "--tls.cert_file=%s", path);
  snprintf(key, sizeof(key), "--tls.key_file=%s", path);
  expect_refused("tls.key_file is not", cert, NULL);
  expect_refused("tls.cert_file is not", key, NULL);
  expect_refused("tls.client_ca_file", "--tls.client_ca_file=/etc/hostname", NULL);
  expect_refused("No such file", cert, "--tls.key_file=/nonexistent/key.pem");
  expect_refused("Is a directory", cert, "--tls.key_file=/tmp");
  settings = load(KVS_OK, cert, key, "--listen=0.0.0.0:7070", NULL); /* what is in them is gRPC's to judge */
  kvi_settings_free(settings);
  settings = load(KVS_ERR_CONFIG, cert, key, "--admin.listen=0.0.0.0:7071", NULL); /* this port has no TLS */
  kvi_settings_free(settings);
}

static void test_listeners(void **state)
{
  (void)state;
  expect_refused("nobody could reach", "--listen=", "--unix-socket=");
  expect_refused("host:port", "--listen=7070", NULL);
  expect_refused("0 to 65535", "--listen=127.0.0.1:70700", NULL);
  expect_refused("absolute", "--unix-socket=kvasird.sock", NULL);
  expect_refused("octal", "--unix-mode=0888", NULL);
  expect_refused("octal", "--unix-mode=4777", NULL);
}

static void test_memory(void **state)
{
  uint64_t chunks = kvi_machine_memory_bytes() / 60;
  struct kvi_settings *settings;
  char option[64];

  (void)state;
  expect_refused("power of two", "--dram.page-size=5000", NULL);
  expect_refused("more than the memory", "--dram.size=60TiB", NULL);
  expect_refused("90 % is above dram.high_mark (80 %)", "--dram.high-mark=80", NULL);
  expect_refused("does not fit dram.size", "--dram.size=16MiB", "--chunk.max-size=32MiB");
  /* What the store would refuse is refused here, before the memory is touched. */
  expect_refused("65535", "--store.max-spaces=65536", NULL);
  expect_refused("1073741824", "--store.max-chunks=1073741825", NULL);
  if (chunks <= 1u << 30) { /* else this machine has room for the largest index there is */
    snprintf(option, sizeof(option), "--store.max-chunks=%llu", (unsigned long long)chunks);
    expect_refused("an index of", option, NULL);
  }
  settings = load(KVS_OK, "--dram.size=16MiB", NULL); /* the default of 128 MiB gives way */
  kvi_settings_free(settings);
}

static void test_file_names_the_line(void **state)
{
  char option[80];

  (void)state;
  snprintf(option, sizeof(option), "--config=%s", path);
  write_file("log:\n  level: debug\ndram:\n  siez: 1GiB\n");
  expect_refused(":4:", option, NULL);
  expect_refused("dram.siez", option, NULL);
  write_file("listen: [127.0.0.1:7070, 0.0.0.0:7070]\n");
  expect_refused(":1:", option, NULL);
}

static void test_json(void **state)
{
  struct kvi_settings *settings = load(KVS_OK, "--dram.size=8MiB", NULL);
  char *json = kvi_settings_json(settings);

  (void)state;
  assert_non_null(json);
  assert_int_equal(json[0], '{');
  assert_non_null(strstr(json, "dram.size"));
  free(json);
  kvi_settings_free(settings);
}

static void test_reload(void **state)
{
  char option[80];

  (void)state;
  snprintf(option, sizeof(option), "--config=%s", path);
  write_file("drain_timeout: 2s\nlog: {level: error}\n");
  struct kvi_settings *settings = load(KVS_OK, option, NULL);
  assert_int_equal(kvi_settings_drain_timeout_ms(settings), 2000);

  write_file("drain_timeout: 3500ms\nlog: {level: error}\ndram: {size: 32MiB}\n");
  assert_true(kvi_settings_reload(settings));
  assert_int_equal(kvi_settings_drain_timeout_ms(settings), 3500);
  assert_int_equal(kvi_settings_get(settings)->dram_size, 1u << 30); /* needs a restart */

  write_file("drain_timeout: 3500ms\nlog: {level: error}\nssd: {test_fault: \"error:read:0.1\"}\n");
  assert_true(kvi_settings_reload(settings));
  assert_string_equal(kvi_settings_get(settings)->ssd_test_fault, "error:read:0.1");
  write_file("drain_timeout: 3500ms\nlog: {level: error}\nssd: {test_fault: \"error:reading\"}\n");
  assert_false(kvi_settings_reload(settings));
  assert_string_equal(kvi_settings_get(settings)->ssd_test_fault, "error:read:0.1");

  write_file("drain_timeout: 9s\nnonsense: 1\n"); /* refused as a whole */
  assert_false(kvi_settings_reload(settings));
  assert_int_equal(kvi_settings_drain_timeout_ms(settings), 3500);
  kvi_settings_free(settings);
}

/* What a reload may change it must be able to write as text; see value_text in settings.c. */
static void test_mutable_rows_are_words_strings_or_durations(void **state)
{
  const kvi_config_row *row;

  (void)state;
  for (size_t i = 0; (row = kvi_config_row_at(&kvi_settings_table, i)) != NULL; i++)
    assert_true(!row->mutable || row->type == KVI_CONFIG_ENUM || row->type == KVI_CONFIG_STRING ||
                row->type == KVI_CONFIG_DURATION);
}

static int make_file(void **state)
{
  int fd;

  (void)state;
  kvi_log_configure(KVI_LOG_ERROR, KVI_LOG_TEXT);
  strcpy(path, "/tmp/kvasir-test-XXXXXX");
  fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
  (void)state;
  return unlink(path);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_policies),
      cmocka_unit_test(test_strangers_need_tls_or_a_word),
      cmocka_unit_test(test_tls_files),
      cmocka_unit_test(test_listeners),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_file_names_the_line),
      cmocka_unit_test(test_json),
      cmocka_unit_test(test_reload),
      cmocka_unit_test(test_mutable_rows_are_words_strings_or_durations),
  };

  return cmocka_run_group_tests(tests, make_file, remove_file);
}
