/* settings_checks.c: whether kvasird's settings fit each other and the machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "server/node/address.h"
#include "server/node/machine.h"
#include "server/node/redis_tier.h"
#include "server/node/settings.h"
#include "server/node/tenants.h"
#include "tiers/faulty/faulty_tier.h"
#include "tiers/sampler.h"

#define INDEX_BYTES_PER_CHUNK 64u /* at most; docs/store.md has the sum */

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

static kvs_status check_curve(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);

  if (values->store_curve_samples == 0 || values->store_curve_samples >= KVI_SAMPLES_LEAST)
    return KVS_OK;
  return kvi_config_refuse(config, "store.curve_samples",
                           "%lld are too few to say anything: 0, or at least %u",
                           (long long)values->store_curve_samples, KVI_SAMPLES_LEAST);
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

/* Read for its faults alone; whoever starts reads it anew. */
static kvs_status check_tenants(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char error[KVI_NODE_TENANTS_ERROR_MAX] = "";
  struct kvi_node_tenants *tenants;
  kvs_status status;

  if (values->tenants[0] == '\0')
    return KVS_OK;
  status = kvi_node_tenants_load(values->tenants, kvi_node_redis_is_for_ever(values), &tenants, error,
                                 sizeof(error));
  kvi_node_tenants_free(tenants);
  if (status == KVS_OK)
    return KVS_OK;
  return kvi_config_refuse(config, "tenants", "%s", error[0] != '\0' ? error : kvs_status_text(status));
}

static kvs_status check_state_file(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  const char *path = values->store_state_file;
  size_t length = strlen(path);

  if (length == 0 || strcmp(path, "none") == 0)
    return KVS_OK;
  if (path[0] != '/' || path[length - 1] == '/')
    return kvi_config_refuse(config, "store.state_file", "%s is not the absolute path of a file", path);
  return KVS_OK;
}

kvs_status kvi_settings_check(kvi_config *config)
{
  kvs_status status = check_tls(config);

  if (status == KVS_OK)
    status = check_tenants(config);
  if (status == KVS_OK)
    status = check_listeners(config);
  if (status == KVS_OK)
    status = check_redis(config);
  if (status == KVS_OK)
    status = check_memory(config);
  if (status == KVS_OK)
    status = check_chunk(config);
  if (status == KVS_OK)
    status = check_curve(config);
  if (status == KVS_OK)
    status = kvi_settings_check_ssd(config);
  if (status == KVS_OK)
    status = check_state_file(config);
  if (status == KVS_OK)
    status = check_test_faults(config);
  return status;
}
