/* The config's life and its messages. The table is in config_table.c, the values in config_value.c, the feeds in
 * config_yaml.c and config_feed.c, the pages in config_doc.c. */
#include "base/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/config_private.h"
#include "base/log.h"

/* --- messages --- */

static void format_error(kvi_config *config, const kvi_config_place *place, const char *name,
                         const char *format, va_list args)
{
  char reason[768];

  vsnprintf(reason, sizeof reason, format, args);
  if (name != NULL && name[0] == '\0')
    name = NULL;
  if (place->line > 0)
    snprintf(config->error, sizeof config->error, "%s:%zu: %s%s%s", place->label, place->line,
             name != NULL ? name : "", name != NULL ? ": " : "", reason);
  else
    snprintf(config->error, sizeof config->error, "%s: %s%s%s", place->label, name != NULL ? name : "",
             name != NULL ? ": " : "", reason);
}

kvs_status kvi_config_fail(kvi_config *config, const kvi_config_place *place, const char *name,
                           const char *format, ...)
{
  va_list args;

  va_start(args, format);
  format_error(config, place, name, format, args);
  va_end(args);
  return KVS_ERR_CONFIG;
}

kvs_status kvi_config_fail_unknown(kvi_config *config, const kvi_config_place *place, const char *name,
                                   const char *what)
{
  char near[KVI_CONFIG_NAME_MAX];

  if (kvi_config_suggest(config->table, name, near))
    return kvi_config_fail(config, place, name, "unknown %s (did you mean %s?)", what, near);
  return kvi_config_fail(config, place, name, "unknown %s", what);
}

kvs_status kvi_config_refuse(kvi_config *config, const char *name, const char *format, ...)
{
  static const kvi_config_place nowhere = {.label = "configuration"};
  size_t row = kvi_config_find(config->table, name);
  va_list args;

  va_start(args, format);
  format_error(config, row < kvi_config_row_count(config->table) ? &config->places[row] : &nowhere, name,
               format, args);
  va_end(args);
  return KVS_ERR_CONFIG;
}

/* --- life --- */

static kvs_status apply_defaults(kvi_config *config)
{
  const kvi_config_place place = {.source = KVI_CONFIG_FROM_DEFAULT, .label = "default"};
  const kvi_config_row *row;

  for (size_t i = 0; (row = kvi_config_row_at(config->table, i)) != NULL; i++) {
    const char *standard = row->standard != NULL ? row->standard : "";
    kvs_status status = kvi_config_assign_text(config, i, standard, &place);

    if (status == KVS_ERR_CONFIG) {
      kvi_log_error("config table of %s: %s", config->table->program, config->error);
      return KVS_ERR_INVALID;
    }
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

kvs_status kvi_config_create(const kvi_config_table *table, kvi_config **config_p)
{
  kvi_config *config;
  kvs_status status;

  *config_p = NULL;
  status = kvi_config_table_check(table);
  if (status != KVS_OK)
    return status;
  config = calloc(1, sizeof *config);
  if (config == NULL)
    return KVS_ERR_NOMEM;
  config->table = table;
  config->values = calloc(1, table->struct_size);
  config->places = calloc(kvi_config_row_count(table), sizeof *config->places);
  status = config->values != NULL && config->places != NULL ? apply_defaults(config) : KVS_ERR_NOMEM;
  if (status != KVS_OK) {
    kvi_config_free(config);
    return status;
  }
  *config_p = config;
  return KVS_OK;
}

void kvi_config_free(kvi_config *config)
{
  if (config == NULL)
    return;
  while (config->kept != NULL) {
    kvi_config_kept *next = config->kept->next;

    free(config->kept);
    config->kept = next;
  }
  free(config->places);
  free(config->values);
  free(config);
}

const void *kvi_config_values(const kvi_config *config)
{
  return config->values;
}

const char *kvi_config_error(const kvi_config *config)
{
  return config->error;
}

kvi_config_source kvi_config_source_of(const kvi_config *config, const char *name)
{
  size_t row = kvi_config_find(config->table, name);

  return row < kvi_config_row_count(config->table) ? config->places[row].source : KVI_CONFIG_FROM_DEFAULT;
}

kvs_status kvi_config_set(kvi_config *config, const char *name, const char *text)
{
  const kvi_config_place place = {.source = KVI_CONFIG_FROM_RUNTIME, .label = "run time"};
  size_t index = kvi_config_find(config->table, name);
  const kvi_config_row *row = kvi_config_row_at(config->table, index);

  if (row == NULL)
    return kvi_config_fail_unknown(config, &place, name, "setting");
  if (!row->mutable)
    return kvi_config_fail(config, &place, name, "cannot be changed while the program runs");
  return kvi_config_assign_text(config, index, text, &place);
}
