/* A table with a row of every type, for the tests of the config. */
#ifndef KVI_TESTS_UNIT_BASE_CONFIG_SAMPLE_H
#define KVI_TESTS_UNIT_BASE_CONFIG_SAMPLE_H

#include "base/array.h"
#include "base/config.h"

typedef struct sample_settings {
  bool trace;
  bool insecure;
  uint64_t dram_size;
  uint64_t dram_pin_ttl;
  int64_t threads;
  const char *node_id;
  const char *password;
  int log_level;
  kvi_config_list listen;
} sample_settings;

static const char *const sample_levels[] = {"error", "warn", "info", NULL};

static const kvi_config_row sample_rows[] = {
    {.name = "trace",
     KVI_CONFIG_BOOL_AT(sample_settings, trace),
     .standard = "false",
     .mutable = true,
     .doc = "Traces."},
    {.name = "listen.insecure",
     KVI_CONFIG_BOOL_AT(sample_settings, insecure),
     .standard = "false",
     .doc = "Allows addresses other than loopback without TLS."},
    {.name = "listen.on",
     KVI_CONFIG_LIST_AT(sample_settings, listen),
     .standard = "127.0.0.1:9400, unix:/run/kvasir.sock",
     .min = 1,
     .max = 4,
     .doc = "Addresses to listen on."},
    {.name = "dram.size",
     KVI_CONFIG_SIZE_AT(sample_settings, dram_size),
     .standard = "1GiB",
     .min = 1024 * 1024,
     .max = INT64_C(1) << 42,
     .doc = "Bytes of memory for chunks. It is taken at the start, so that a node that runs has it, and "
            "cannot change."},
    {.name = "dram.pin_ttl",
     KVI_CONFIG_DURATION_AT(sample_settings, dram_pin_ttl),
     .standard = "30s",
     .min = 10,
     .max = 3600000,
     .mutable = true,
     .doc = "Longest pin."},
    {.name = "threads",
     KVI_CONFIG_INT_AT(sample_settings, threads),
     .standard = "-1",
     .min = -1,
     .max = 64,
     .unit = "threads",
     .doc = "Threads that serve; `-1`: one for each core.\n.not a roff request"},
    {.name = "node.id",
     KVI_CONFIG_STRING_AT(sample_settings, node_id),
     .max = 16,
     .mutable = true,
     .doc = "Name."},
    {.name = "redis.password",
     KVI_CONFIG_STRING_AT(sample_settings, password),
     .secret = true,
     .doc = "Password for Redis."},
    {.name = "log.level",
     KVI_CONFIG_ENUM_AT(sample_settings, log_level),
     .standard = "info",
     .choices = sample_levels,
     .mutable = true,
     .doc = "Volume of the log."},
};

static const char *const sample_others[] = {"KVASIR_ELSEWHERE", "KVASIR_TLS_CA", NULL};

static const kvi_config_table sample_table = {
    .program = "sampled",
    .version = "1.2.3",
    .summary = "a program for tests",
    .parts = {KVI_CONFIG_ROWS(sample_rows)},
    .struct_size = sizeof(sample_settings),
    .others = sample_others,
};

static inline kvi_config *sample_config(void)
{
  kvi_config *config = NULL;

  assert_int_equal(kvi_config_create(&sample_table, &config), KVS_OK);
  assert_non_null(config);
  return config;
}

#endif
