/* faults.c: the test faults around the node's tiers (dram.test_fault, ssd.test_fault, redis.test_fault): put there, changed by a reload, counted. */
#include <string.h>

#include "base/log.h"
#include "server/node/node.h"
#include "server/node/node_private.h"
#include "server/node/settings.h"
#include "tiers/faulty/faulty_tier.h"
#include "tiers/store.h"

kvs_status kvi_node_faults_add(const char *rules, struct kvi_medium **medium, struct kvi_medium **faults_p)
{
  kvs_status status;

  *faults_p = NULL;
  if (rules[0] == '\0')
    return KVS_OK;
  status = kvi_faulty_create(*medium, rules, medium);
  if (status == KVS_OK)
    *faults_p = *medium;
  return status;
}

static void needs_restart(const char *name, const char *rules)
{
  if (rules[0] != '\0' && strcmp(rules, "off") != 0)
    kvi_log_warn("config: %s was empty at the start, which needs a restart", name);
}

void kvi_node_reloaded(struct kvi_node *node)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);

  struct kvi_tier *dram = kvi_store_dram_faults(node->store);

  kvi_node_reread_tenants(node);
  /* the reload has checked the rules: none of these can fail */
  if (dram != NULL)
    (void)kvi_faulty_tier_set(dram, values->dram_test_fault);
  else
    needs_restart("dram.test_fault", values->dram_test_fault);
  if (node->ssd_faults != NULL)
    (void)kvi_faulty_set(node->ssd_faults, values->ssd_test_fault);
  else
    needs_restart("ssd.test_fault", values->ssd_test_fault);
  if (node->redis_faults != NULL)
    (void)kvi_faulty_set(node->redis_faults, values->redis_test_fault);
  else
    needs_restart("redis.test_fault", values->redis_test_fault);
}

static void add(struct kvi_metrics *metrics, const struct kvi_faulty_stats *stats, const char *const labels[])
{
  for (int i = 0; i < KVI_FAULTY_KINDS; i++)
    kvi_metrics_add(metrics, true, "kvasir_test_faults_total", labels[i], (double)stats->done[i],
                    "Operations of a tier that a test made fail, late or wrong.");
  kvi_metrics_add(metrics, false, "kvasir_test_fault_rules", labels[KVI_FAULTY_KINDS], (double)stats->rules,
                  "Rules of test faults that hold now.");
  kvi_metrics_add(metrics, true, "kvasir_test_fault_changes_total", labels[KVI_FAULTY_KINDS],
                  (double)stats->changes, "Times they were set.");
  kvi_metrics_add(metrics, false, "kvasir_test_fault_operations", labels[KVI_FAULTY_KINDS],
                  (double)stats->held, "Operations that they keep now.");
}

#define LABELS(tier)                                                                                         \
  {                                                                                                          \
    "tier=\"" tier "\",kind=\"error\"", "tier=\"" tier "\",kind=\"delay\"",                                  \
        "tier=\"" tier "\",kind=\"corrupt\"", "tier=\"" tier "\""                                            \
  }

void kvi_node_faults_metrics(struct kvi_node *node, struct kvi_metrics *metrics)
{
  static const char *const dram[] = LABELS("dram"), *const ssd[] = LABELS("ssd"),
                           *const redis[] = LABELS("redis");
  struct kvi_tier *memory = kvi_store_dram_faults(node->store);
  struct kvi_faulty_stats stats;

  if (memory != NULL) {
    kvi_faulty_tier_stats(memory, &stats);
    add(metrics, &stats, dram);
  }
  if (node->ssd_faults != NULL) {
    kvi_faulty_stats(node->ssd_faults, &stats);
    add(metrics, &stats, ssd);
  }
  if (node->redis_faults != NULL) {
    kvi_faulty_stats(node->redis_faults, &stats);
    add(metrics, &stats, redis);
  }
}
