#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

#include "base/log.h"
#include "config_sample.h"

typedef struct warnings {
  int count;
  char last[512];
} warnings;

static void catch_warning(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  warnings *seen = ctx;

  assert_int_equal(level, KVI_LOG_WARN);
  seen->count++;
  memcpy(seen->last, line, length < sizeof seen->last ? length + 1 : sizeof seen->last);
}

static void environment(void **state)
{
  static char *const variables[] = {"PATH=/bin",
                                    "KVASIR_DRAM_SIZE=2GiB",
                                    "KVASIR_DRAM_PIN_TTL=5s",
                                    "KVASIR_LISTEN_ON= a , b:1,c ",
                                    "KVASIR_TRACE=1",
                                    "KVASIR_CONFIG=/nowhere",
                                    "KVASIR_DRAM_SIEZ=1",
                                    "KVASIR_PORT_9400_TCP=tcp://10.0.0.1:9400",
                                    "KVASIR_",
                                    "KVASIR_=x",
                                    NULL};
  kvi_config *config = sample_config();
  const sample_settings *settings = kvi_config_values(config);
  warnings seen = {0};

  (void)state;
  kvi_log_set_sink(catch_warning, &seen);
  assert_int_equal(kvi_config_load_env(config, variables), KVS_OK);
  assert_int_equal(kvi_config_load_env(config, NULL), KVS_OK);
  kvi_log_set_sink(NULL, NULL);
  assert_int_equal(settings->dram_size, UINT64_C(2) << 30);
  assert_int_equal(settings->dram_pin_ttl, 5000);
  assert_true(settings->trace);
  assert_int_equal(settings->listen.count, 3);
  assert_string_equal(settings->listen.items[0], "a");
  assert_string_equal(settings->listen.items[1], "b:1");
  assert_string_equal(settings->listen.items[2], "c");
  assert_int_equal(kvi_config_source_of(config, "trace"), KVI_CONFIG_FROM_ENV);
  assert_int_equal(seen.count, 3);
  kvi_config_free(config);
}

/* What other programs read is passed over, the name as it is and whole. */
static void environment_of_others(void **state)
{
  static char *const variables[] = {"KVASIR_ELSEWHERE=here", "KVASIR_TLS_CA=", NULL};
  static char *const near[] = {"KVASIR_ELSEWHER=1", "KVASIR_ELSEWHERE2=1", "KVASIR_elsewhere=1", NULL};
  kvi_config *config = sample_config();
  warnings seen = {0};

  (void)state;
  kvi_log_set_sink(catch_warning, &seen);
  assert_int_equal(kvi_config_load_env(config, variables), KVS_OK);
  assert_int_equal(seen.count, 0);
  assert_int_equal(kvi_config_load_env(config, near), KVS_OK);
  assert_int_equal(seen.count, 3);
  kvi_log_set_sink(NULL, NULL);
  kvi_config_free(config);
}

static void environment_refused(void **state)
{
  static char *const variables[] = {"KVASIR_DRAM_SIZE=2 GiB", NULL};
  static char *const commas[] = {"KVASIR_LISTEN_ON=a,,b,c,d", NULL};
  kvi_config *config = sample_config();

  (void)state;
  assert_int_equal(kvi_config_load_env(config, variables), KVS_ERR_CONFIG);
  assert_string_equal(kvi_config_error(config),
                      "environment: dram.size: expected a size such as 64KiB or 2GiB, found \"2 GiB\"");
  assert_int_equal(kvi_config_load_env(config, commas), KVS_ERR_CONFIG);
  kvi_config_free(config);
}

static kvs_status load_args(kvi_config *config, char *const *argv, kvi_config_action *action_p,
                            const char **file_p)
{
  int argc = 0;

  while (argv[argc] != NULL)
    argc++;
  return kvi_config_load_args(config, argc, argv, action_p, file_p);
}

static void command_line(void **state)
{
  static char *const argv[] = {"sampled",
                               "--dram-size=2GiB",
                               "--dram.pin_ttl",
                               "5s",
                               "--threads=-1",
                               "--trace",
                               "--no-trace",
                               "--trace",
                               "--listen-on=a,b",
                               "--config",
                               "/etc/sampled.yaml",
                               "--node-id=a=b",
                               "--redis-password=",
                               "--threads=4",
                               NULL};
  kvi_config *config = sample_config();
  const sample_settings *settings = kvi_config_values(config);
  kvi_config_action action = KVI_CONFIG_HELP;
  const char *file = NULL;

  (void)state;
  assert_int_equal(load_args(config, argv, &action, &file), KVS_OK);
  assert_int_equal(action, KVI_CONFIG_RUN);
  assert_string_equal(file, "/etc/sampled.yaml");
  assert_int_equal(settings->dram_size, UINT64_C(2) << 30);
  assert_int_equal(settings->dram_pin_ttl, 5000);
  assert_int_equal(settings->threads, 4);
  assert_true(settings->trace);
  assert_string_equal(settings->node_id, "a=b");
  assert_int_equal(settings->listen.count, 2);
  kvi_config_free(config);
}

typedef struct refusal {
  char *argument;
  const char *message;
} refusal;

static void command_line_refused(void **state)
{
  static const refusal refusals[] = {
      {"--dram-siez=1", "command line: dram-siez: unknown option (did you mean dram.size?)"},
      {"--dram-size", "command line: --dram-size: has no value"},
      {"--dram-size=", "command line: dram.size: expected a size such as 64KiB or 2GiB, found \"\""},
      {"--config", "command line: --config: has no value"},
      {"--help=me", "command line: --help=me: takes no value"},
      {"--no-trace=1", "command line: --no-trace=1: takes no value"},
      {"--no-threads", "command line: no-threads: unknown option*"},
      {"--dump-config=xml", "command line: --dump-config: expected text or json"},
      {"--print-docs=html", "command line: --print-docs: expected markdown or man"},
      {"--print-docs", "command line: --print-docs: has no value"},
      {"start", "command line: unexpected argument \"start\""},
      {"-x", "command line: unexpected argument \"-x\""},
      {"--", "command line: unexpected argument \"--\""},
      {"", "command line: unexpected argument \"\""},
      {"--=", "command line: unknown option"},
  };

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(refusals); i++) {
    char *const argv[] = {"sampled", refusals[i].argument, NULL};
    kvi_config *config = sample_config();
    kvi_config_action action;
    const char *file;
    size_t length = strlen(refusals[i].message);

    assert_int_equal(load_args(config, argv, &action, &file), KVS_ERR_CONFIG);
    if (refusals[i].message[length - 1] == '*')
      assert_memory_equal(kvi_config_error(config), refusals[i].message, length - 1);
    else if (strcmp(refusals[i].argument, "--=") != 0)
      assert_string_equal(kvi_config_error(config), refusals[i].message);
    kvi_config_free(config);
  }
}

static void actions(void **state)
{
  static const struct {
    char *argument;
    kvi_config_action action;
  } samples[] = {
      {"--help", KVI_CONFIG_HELP},
      {"-h", KVI_CONFIG_HELP},
      {"--version", KVI_CONFIG_VERSION},
      {"--check-config", KVI_CONFIG_CHECK},
      {"--dump-config", KVI_CONFIG_DUMP},
      {"--dump-config=text", KVI_CONFIG_DUMP},
      {"--dump-config=json", KVI_CONFIG_DUMP_JSON},
      {"--print-docs=markdown", KVI_CONFIG_MARKDOWN},
      {"--print-docs=man", KVI_CONFIG_MAN},
  };

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(samples); i++) {
    char *const argv[] = {"sampled", samples[i].argument, NULL};
    kvi_config *config = sample_config();
    kvi_config_action action = KVI_CONFIG_RUN;

    assert_int_equal(kvi_config_load(config, 2, argv, NULL, &action), KVS_OK);
    assert_int_equal(action, samples[i].action);
    kvi_config_free(config);
  }
}

/* default < file < environment < command line, whatever the order of the loads */
static void precedence(void **state)
{
  static const char text[] = "threads: 1\ndram: {size: 2MiB, pin_ttl: 1s}\n";
  static char *const variables[] = {"KVASIR_DRAM_SIZE=3MiB", "KVASIR_DRAM_PIN_TTL=2s", NULL};
  static char *const argv[] = {"sampled", "--dram-size=4MiB", NULL};

  (void)state;
  for (int order = 0; order < 2; order++) {
    kvi_config *config = sample_config();
    const sample_settings *settings = kvi_config_values(config);
    kvi_config_action action;
    const char *file;

    if (order == 0)
      assert_int_equal(load_args(config, argv, &action, &file), KVS_OK);
    assert_int_equal(kvi_config_load_env(config, variables), KVS_OK);
    assert_int_equal(kvi_config_load_yaml(config, "f", text, strlen(text)), KVS_OK);
    if (order == 1)
      assert_int_equal(load_args(config, argv, &action, &file), KVS_OK);
    assert_int_equal(settings->threads, 1);
    assert_int_equal(settings->dram_pin_ttl, 2000);
    assert_int_equal(settings->dram_size, 4 << 20);
    assert_int_equal(kvi_config_source_of(config, "threads"), KVI_CONFIG_FROM_FILE);
    assert_int_equal(kvi_config_source_of(config, "dram.pin_ttl"), KVI_CONFIG_FROM_ENV);
    assert_int_equal(kvi_config_source_of(config, "dram.size"), KVI_CONFIG_FROM_ARGS);
    kvi_config_free(config);
  }
}

static void overruled_but_wrong(void **state)
{
  static char *const variables[] = {"KVASIR_DRAM_SIZE=junk", NULL};
  static char *const argv[] = {"sampled", "--dram-size=4MiB", NULL};
  kvi_config *config = sample_config();
  kvi_config_action action;

  (void)state;
  assert_int_equal(kvi_config_load(config, 2, argv, variables, &action), KVS_ERR_CONFIG);
  kvi_config_free(config);
}

static void file_by_environment_or_option(void **state)
{
  char path[] = "/tmp/kvasir-test-XXXXXX";
  char variable[64] = "KVASIR_CONFIG=";
  int fd = mkstemp(path);
  kvi_config_action action;

  (void)state;
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "threads: 3\n", 11), 11);
  close(fd);
  strcat(variable, path);
  char *const named[] = {variable, NULL};
  char *const wrong[] = {"KVASIR_CONFIG=/nowhere", NULL};
  char *const plain[] = {"sampled", NULL};
  char *const option[] = {"sampled", "--config", path, NULL};

  kvi_config *config = sample_config();
  assert_int_equal(kvi_config_load(config, 1, plain, named, &action), KVS_OK);
  assert_int_equal(((const sample_settings *)kvi_config_values(config))->threads, 3);
  kvi_config_free(config);
  config = sample_config();
  assert_int_equal(kvi_config_load(config, 3, option, wrong, &action), KVS_OK);
  assert_int_equal(((const sample_settings *)kvi_config_values(config))->threads, 3);
  assert_int_equal(kvi_config_load(config, 1, plain, wrong, &action), KVS_ERR_CONFIG);
  kvi_config_free(config);
  unlink(path);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(environment),
      cmocka_unit_test(environment_of_others),
      cmocka_unit_test(environment_refused),
      cmocka_unit_test(command_line),
      cmocka_unit_test(command_line_refused),
      cmocka_unit_test(actions),
      cmocka_unit_test(precedence),
      cmocka_unit_test(overruled_but_wrong),
      cmocka_unit_test(file_by_environment_or_option),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
