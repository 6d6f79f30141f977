/* settings_ssd.c: whether the settings of the SSD tier fit each other. */
#include <string.h>

#include "base/text.h"
#include "server/node/settings.h"

#define LOG_FILES_MIN 4u
#define MIB           (UINT64_C(1) << 20)

static kvs_status check_paths(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);

  for (size_t i = 0; i < values->ssd_paths.count; i++) {
    if (values->ssd_paths.items[i][0] != '/')
      return kvi_config_refuse(config, "ssd.paths", "%s is not an absolute path", values->ssd_paths.items[i]);
    for (size_t j = 0; j < i; j++)
      if (strcmp(values->ssd_paths.items[i], values->ssd_paths.items[j]) == 0)
        return kvi_config_refuse(config, "ssd.paths", "%s is there twice", values->ssd_paths.items[i]);
  }
  return KVS_OK;
}

kvs_status kvi_settings_check_ssd(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char size[KVI_FORMAT_MAX], bound[KVI_FORMAT_MAX];
  uint64_t chunk = values->chunk_max_size < values->dram_size ? values->chunk_max_size : values->dram_size;
  uint64_t file = values->ssd_log_file_size;

  if (values->ssd_paths.count == 0)
    return values->ssd_size == 0
               ? KVS_OK
               : kvi_config_refuse(config, "ssd.size", "is set, but ssd.paths names no directory");
  if (check_paths(config) != KVS_OK)
    return KVS_ERR_CONFIG;
  if (file % MIB != 0)
    return kvi_config_refuse(config, "ssd.log_file_size", "%s are not whole MiB",
                             kvi_format_size(file, size));
  if (file < 2 * chunk)
    return kvi_config_refuse(config, "ssd.log_file_size",
                             "%s are less than two chunks of the largest size (%s)",
                             kvi_format_size(file, size), kvi_format_size(chunk, bound));
  if (values->ssd_size / values->ssd_paths.count / file < LOG_FILES_MIN)
    return kvi_config_refuse(config, "ssd.size", "%s are less than %u log files of %s for each directory",
                             kvi_format_size(values->ssd_size, size), LOG_FILES_MIN,
                             kvi_format_size(file, bound));
  return KVS_OK;
}
