/* settings.c: loading of kvasird's settings, checks over several of them, reload. */
#include "server/node/settings.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "server/node/address.h"
#include "server/node/machine.h"
#include "server/node/redis_tier.h"
#include "tiers/faulty/faulty_tier.h"

#define TEXT_MAX              (1u << 20)
#define INDEX_BYTES_PER_CHUNK 96u /* at most, and with an SSD tier 20 more; docs/store.md has the sum */

struct kvi_settings {
  kvi_config *config;
  int argc;
  char *const *argv;
  char *const *environment;
  pthread_mutex_t mutex; /* guards the mutable values of config against a reload */
};

/* ---- checks over several settings ---- */

static bool parse_mode(const char *text, uint32_t *mode_p)
{
  uint32_t mode = 0;

  for (const char *at = text; *at != '\0'; at++) {
    if (*at < '0' || *at > '7')
      return false;
    mode = mode * 8 + (uint32_t)(*at - '0');
  }
  if (mode > 0777)
    return false;
  *mode_p = mode;
  return true;
}

uint32_t kvi_settings_unix_mode(const struct kvi_node_settings *values)
{
  uint32_t mode = 0;

  parse_mode(values->unix_mode, &mode);
  return mode;
}

/* An address that strangers can reach needs TLS, or the word that it is meant so. */
static kvs_status check_address(kvi_config *config, const char *name, const char *address, bool protected)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  struct kvi_node_address parsed;
  char error[KVI_ADDRESS_ERROR_MAX];

  if (kvi_node_address_parse(address, &parsed, error, sizeof(error)) != KVS_OK)
    return kvi_config_refuse(config, name, "%s", error);
  bool loopback = parsed.loopback;
  kvi_node_address_clear(&parsed);
  if (loopback || protected || values->insecure)
    return KVS_OK;
  if (strcmp(name, "listen") == 0)
    return kvi_config_refuse(
        config, name,
        "%s is not a loopback address and there is no TLS: set tls.cert_file and tls.key_file, or "
        "insecure: true if every host that can reach it is trusted",
        address);
  return kvi_config_refuse(
      config, name,
      "%s is not a loopback address and this port has no TLS: set insecure: true if every host that "
      "can reach it is trusted",
      address);
}

static kvs_status check_readable(kvi_config *config, const char *name, const char *path)
{
  FILE *file;

  if (path[0] == '\0')
    return KVS_OK;
  file = fopen(path, "re");
  /* Opening a directory for reading succeeds; reading it does not. */
  if (file == NULL || (fgetc(file) == EOF && ferror(file))) {
    int error = errno;

    if (file != NULL)
      fclose(file);
    return kvi_config_refuse(config, name, "cannot read %s: %s", path, strerror(error));
  }
  fclose(file);
  return KVS_OK;
}

static kvs_status check_tls(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  bool cert = values->tls_cert_file[0] != '\0', key = values->tls_key_file[0] != '\0';
  kvs_status status;

  if (cert && !key)
    return kvi_config_refuse(config, "tls.cert_file", "is set, but tls.key_file is not");
  if (key && !cert)
    return kvi_config_refuse(config, "tls.key_file", "is set, but tls.cert_file is not");
  if (values->tls_client_ca_file[0] != '\0' && !cert)
    return kvi_config_refuse(config, "tls.client_ca_file",
                             "is set, but tls.cert_file and tls.key_file are not");
  status = check_readable(config, "tls.cert_file", values->tls_cert_file);
  if (status == KVS_OK)
    status = check_readable(config, "tls.key_file", values->tls_key_file);
  if (status == KVS_OK)
    status = check_readable(config, "tls.client_ca_file", values->tls_client_ca_file);
  return status;
}

static kvs_status check_listeners(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  bool tls = values->tls_cert_file[0] != '\0';
  uint32_t mode;
  kvs_status status;

  if (values->listen.count == 0 && values->unix_socket[0] == '\0')
    return kvi_config_refuse(config, "listen", "is empty and so is unix_socket: nobody could reach the node");
  for (size_t i = 0; i < values->listen.count; i++) {
    status = check_address(config, "listen", values->listen.items[i], tls);
    if (status != KVS_OK)
      return status;
  }
  if (values->unix_socket[0] != '\0' && values->unix_socket[0] != '/')
    return kvi_config_refuse(config, "unix_socket", "%s is not an absolute path", values->unix_socket);
  if (!parse_mode(values->unix_mode, &mode))
    return kvi_config_refuse(config, "unix_mode", "%s is not three or four octal digits up to 0777",
                             values->unix_mode);
  if (values->admin_listen[0] != '\0')
    return check_address(config, "admin.listen", values->admin_listen, false);
  return KVS_OK;
}

static kvs_status check_memory(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char size[KVI_FORMAT_MAX], bound[KVI_FORMAT_MAX];
  uint64_t memory = kvi_machine_memory_bytes();

  if ((values->dram_page_size & (values->dram_page_size - 1)) != 0)
    return kvi_config_refuse(config, "dram.page_size", "%s is not a power of two",
                             kvi_format_size(values->dram_page_size, size));
  if (values->dram_low_mark > values->dram_high_mark)
    return kvi_config_refuse(config, "dram.low_mark", "%lld %% is above dram.high_mark (%lld %%)",
                             (long long)values->dram_low_mark, (long long)values->dram_high_mark);
  if (memory != 0 && values->dram_size > memory)
    return kvi_config_refuse(config, "dram.size", "%s is more than the memory there is (%s)",
                             kvi_format_size(values->dram_size, size), kvi_format_size(memory, bound));
  if (memory != 0 &&
      (uint64_t)values->store_max_chunks > (memory - values->dram_size) / INDEX_BYTES_PER_CHUNK)
    return kvi_config_refuse(
        config, "store.max_chunks", "an index of %lld chunks takes %s, and beside dram.size there is %s",
        (long long)values->store_max_chunks,
        kvi_format_size((uint64_t)values->store_max_chunks * INDEX_BYTES_PER_CHUNK, size),
        kvi_format_size(memory - values->dram_size, bound));
  return KVS_OK;
}

/* The default of 128 MiB is for machines that have it; only a bound that somebody asked for is refused. */
static kvs_status check_chunk(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char size[KVI_FORMAT_MAX], bound[KVI_FORMAT_MAX];

  if (values->chunk_max_size <= values->dram_size ||
      kvi_config_source_of(config, "chunk.max_size") == KVI_CONFIG_FROM_DEFAULT)
    return KVS_OK;
  return kvi_config_refuse(config, "chunk.max_size", "%s does not fit dram.size (%s)",
                           kvi_format_size(values->chunk_max_size, size),
                           kvi_format_size(values->dram_size, bound));
}

/* What the tier itself would refuse, said before the memory is touched. */
static kvs_status check_redis(kvi_config *config)
{
  char error[256];
  const char *name = kvi_node_redis_check(kvi_config_values(config), error, sizeof(error));

  return name == NULL ? KVS_OK : kvi_config_refuse(config, name, "%s", error);
}

static kvs_status check_faults(kvi_config *config, const char *name, const char *rules)
{
  struct kvi_faulty_rules parsed;
  char error[256];

  return kvi_faulty_rules_parse(rules, &parsed, error, sizeof(error)) == KVS_OK
             ? KVS_OK
             : kvi_config_refuse(config, name, "%s", error);
}

static kvs_status check_test_faults(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char error[256];
  kvs_status status;

  if (kvi_faulty_tier_check(values->dram_test_fault, error, sizeof(error)) != KVS_OK)
    return kvi_config_refuse(config, "dram.test_fault", "%s", error);
  status = check_faults(config, "ssd.test_fault", values->ssd_test_fault);
  if (status == KVS_OK)
    status = check_faults(config, "redis.test_fault", values->redis_test_fault);
  return status;
}

static kvs_status check_all(kvi_config *config)
{
  kvs_status status = check_tls(config);

  if (status == KVS_OK)
    status = check_listeners(config);
  if (status == KVS_OK)
    status = check_redis(config);
  if (status == KVS_OK)
    status = check_memory(config);
  if (status == KVS_OK)
    status = check_chunk(config);
  if (status == KVS_OK)
    status = kvi_settings_check_ssd(config);
  if (status == KVS_OK)
    status = check_test_faults(config);
  return status;
}

/* ---- life ---- */

kvs_status kvi_settings_load(int argc, char *const *argv, char *const *environment,
                             kvi_config_action *action_p, struct kvi_settings **settings_p)
{
  struct kvi_settings *settings;
  kvs_status status;

  *settings_p = NULL;
  *action_p = KVI_CONFIG_RUN;
  settings = calloc(1, sizeof(*settings));
  if (settings == NULL)
    return KVS_ERR_NOMEM;
  status = kvi_config_create(&kvi_settings_table, &settings->config);
  if (status != KVS_OK) {
    free(settings);
    return status;
  }
  pthread_mutex_init(&settings->mutex, NULL);
  settings->argc = argc;
  settings->argv = argv;
  settings->environment = environment;
  *settings_p = settings;

  status = kvi_config_load(settings->config, argc, argv, environment, action_p);
  if (status == KVS_OK && (*action_p == KVI_CONFIG_RUN || *action_p == KVI_CONFIG_CHECK))
    status = check_all(settings->config);
  return status;
}

void kvi_settings_free(struct kvi_settings *settings)
{
  if (settings == NULL)
    return;
  pthread_mutex_destroy(&settings->mutex);
  kvi_config_free(settings->config);
  free(settings);
}

const char *kvi_settings_error(const struct kvi_settings *settings)
{
  return kvi_config_error(settings->config);
}

const struct kvi_node_settings *kvi_settings_get(const struct kvi_settings *settings)
{
  return kvi_config_values(settings->config);
}

uint64_t kvi_settings_drain_timeout_ms(struct kvi_settings *settings)
{
  uint64_t timeout;

  pthread_mutex_lock(&settings->mutex);
  timeout = kvi_settings_get(settings)->drain_timeout;
  pthread_mutex_unlock(&settings->mutex);
  return timeout;
}

kvs_status kvi_settings_print(const struct kvi_settings *settings, kvi_config_action action)
{
  kvi_strbuf out;
  kvs_status status;

  kvi_strbuf_init(&out, TEXT_MAX);
  kvi_config_print(settings->config, action, &out);
  status = out.status;
  if (status == KVS_OK && (fputs(kvi_strbuf_text(&out), stdout) == EOF || fflush(stdout) != 0))
    status = KVS_ERR_SYSTEM;
  kvi_strbuf_free(&out);
  return status;
}

char *kvi_settings_json(struct kvi_settings *settings)
{
  kvi_strbuf out;
  char *json = NULL;

  kvi_strbuf_init(&out, TEXT_MAX);
  pthread_mutex_lock(&settings->mutex);
  kvi_config_dump_json(settings->config, &out);
  pthread_mutex_unlock(&settings->mutex);
  if (out.status == KVS_OK)
    json = strdup(kvi_strbuf_text(&out));
  kvi_strbuf_free(&out);
  return json;
}

/* ---- reload ---- */

static bool lists_equal(const kvi_config_list *a, const kvi_config_list *b)
{
  if (a->count != b->count)
    return false;
  for (size_t i = 0; i < a->count; i++)
    if (strcmp(a->items[i], b->items[i]) != 0)
      return false;
  return true;
}

static bool values_equal(const kvi_config_row *row, const void *a, const void *b)
{
  const char *left = (const char *)a + row->offset, *right = (const char *)b + row->offset;

  switch (row->type) {
  case KVI_CONFIG_BOOL:
    return *(const bool *)left == *(const bool *)right;
  case KVI_CONFIG_ENUM:
    return *(const int *)left == *(const int *)right;
  case KVI_CONFIG_INT:
  case KVI_CONFIG_SIZE:
  case KVI_CONFIG_DURATION:
    return memcmp(left, right, sizeof(uint64_t)) == 0;
  case KVI_CONFIG_STRING:
    return strcmp(*(const char *const *)left, *(const char *const *)right) == 0;
  case KVI_CONFIG_LIST:
    return lists_equal((const kvi_config_list *)left, (const kvi_config_list *)right);
  }
  return true;
}

/* The value as kvi_config_set takes it. Mutable rows are words, strings and durations. */
static const char *value_text(const kvi_config_row *row, const void *values, char text[KVI_FORMAT_MAX])
{
  const char *field = (const char *)values + row->offset;

  if (row->type == KVI_CONFIG_ENUM)
    return row->choices[*(const int *)field];
  if (row->type == KVI_CONFIG_STRING)
    return *(const char *const *)field;
  return kvi_format_duration(*(const uint64_t *)field, text);
}

static void take_over(struct kvi_settings *settings, const kvi_config *fresh)
{
  char text[KVI_FORMAT_MAX];

  for (size_t i = 0; i < kvi_settings_table.row_count; i++) {
    const kvi_config_row *row = &kvi_settings_table.rows[i];
    const void *ours = kvi_config_values(settings->config), *theirs = kvi_config_values(fresh);

    if (values_equal(row, ours, theirs))
      continue;
    if (!row->mutable) {
      kvi_log_warn("config: %s changed, which needs a restart", row->name);
      continue;
    }
    const char *value = value_text(row, theirs, text);
    pthread_mutex_lock(&settings->mutex);
    kvs_status status = kvi_config_set(settings->config, row->name, value);
    pthread_mutex_unlock(&settings->mutex);
    if (status == KVS_OK)
      kvi_log_info("config: %s is now %s", row->name, value);
    else
      kvi_log_warn("config: %s stays: %s", row->name, kvi_config_error(settings->config));
  }
}

bool kvi_settings_reload(struct kvi_settings *settings)
{
  const struct kvi_node_settings *values;
  kvi_config *fresh = NULL;
  kvi_config_action action;
  bool taken = false;

  if (kvi_config_create(&kvi_settings_table, &fresh) != KVS_OK) {
    kvi_log_warn("config: not read again: no memory");
    return false;
  }
  if (kvi_config_load(fresh, settings->argc, settings->argv, settings->environment, &action) != KVS_OK ||
      check_all(fresh) != KVS_OK) {
    kvi_log_warn("config: not read again: %s", kvi_config_error(fresh));
  } else {
    take_over(settings, fresh);
    values = kvi_settings_get(settings);
    kvi_log_configure((kvi_log_level)values->log_level, (kvi_log_format)values->log_format);
    kvi_log_info("config: read again");
    taken = true;
  }
  kvi_config_free(fresh);
  return taken;
}
