/* node_tenants.c: the node's tenants: read at the start and on a reload, and what their shares promise. */
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "server/node/node_private.h"
#include "server/node/redis_tier.h"

/* What one tenant is sure of as long as all others keep to their bounds. Those who wait for a restart have none yet. */
static void promise_tell(const struct kvi_node *node, const struct kvi_node_tenants *tenants)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  const struct kvi_tenant_config *configs;
  char sum_text[KVI_FORMAT_MAX], size_text[KVI_FORMAT_MAX];
  uint64_t sum = 0, room = kvi_node_tenants_room(values->dram_size, values->ssd_paths.count > 0,
                                                 (uint32_t)values->dram_high_mark);
  uint32_t n, unbounded = 0;

  configs = kvi_node_tenants_configs(tenants, &n);
  for (uint32_t i = 0; i < n; i++) {
    if (node->store && kvi_store_tenant_find(node->store, configs[i].name) == 0)
      continue;
    sum += configs[i].dram_bytes;
    unbounded += configs[i].dram_bytes == 0;
  }
  (void)kvi_format_size(sum, sum_text);
  (void)kvi_format_size(room, size_text);
  if (unbounded > 0)
    kvi_log_warn("tenants: %u of %u have no bound in memory: they can push out what others have there",
                 unbounded, n);
  else if (sum > room)
    kvi_log_warn("tenants: their bounds in memory add up to %s, and dram.size%s is %s: they can push each "
                 "other out",
                 sum_text, room < values->dram_size ? " up to dram.high_mark" : "", size_text);
  else
    kvi_log_info("tenants: %u, with %s of %s of memory", n, sum_text, size_text);
}

kvs_status kvi_node_read_tenants(struct kvi_node *node, char *error, size_t error_size)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  char why[KVI_NODE_TENANTS_ERROR_MAX] = "";
  kvs_status status;

  if (values->tenants[0] == '\0')
    return KVS_OK;
  status = kvi_node_tenants_load(values->tenants, kvi_node_redis_is_for_ever(values), &node->tenants, why,
                                 sizeof(why));
  if (status != KVS_OK)
    snprintf(error, error_size, "tenants: %s", why[0] != '\0' ? why : kvs_status_text(status));
  else
    promise_tell(node, node->tenants);
  return status;
}

void kvi_node_reread_tenants(struct kvi_node *node)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  char why[KVI_NODE_TENANTS_ERROR_MAX] = "";
  struct kvi_node_tenants *fresh;
  kvs_status status;

  if (node->tenants == NULL)
    return;
  status =
      kvi_node_tenants_load(values->tenants, kvi_node_redis_is_for_ever(values), &fresh, why, sizeof(why));
  if (status != KVS_OK) {
    kvi_log_warn("tenants: not read again: %s", why[0] != '\0' ? why : kvs_status_text(status));
    return;
  }
  promise_tell(node, fresh);
  kvi_node_tenants_take_over(node->tenants, fresh, node->store);
}
