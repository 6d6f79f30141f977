/* settings.c: loading of kvasird's settings, and their reload. */
#include "server/node/settings.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

#define TEXT_MAX (1u << 20)

struct kvi_settings {
  kvi_config *config;
  int argc;
  char *const *argv;
  char *const *environment;
  pthread_mutex_t mutex; /* guards the mutable values of config against a reload */
};

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
    status = kvi_settings_check(settings->config);
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
  const kvi_config_row *row;

  for (size_t i = 0; (row = kvi_config_row_at(&kvi_settings_table, i)) != NULL; i++) {
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
      kvi_settings_check(fresh) != KVS_OK) {
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
