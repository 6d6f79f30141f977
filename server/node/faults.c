/* faults.c: the test faults around the node's tiers (ssd.test_fault, redis.test_fault): put there, changed by a reload, counted. */
#include "base/log.h"
#include "server/node/node.h"
#include "server/node/node_private.h"
#include "server/node/settings.h"
#include "tiers/faulty/faulty.h"

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

static void change(struct kvi_medium *faults, const char *name, const char *rules)
{
  if (faults != NULL)
    (void)kvi_faulty_set(faults, rules); /* the reload has checked them */
  else if (rules[0] != '\0')
    kvi_log_warn("config: %s was empty at the start, which needs a restart", name);
}

void kvi_node_reloaded(struct kvi_node *node)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);

  change(node->ssd_faults, "ssd.test_fault", values->ssd_test_fault);
  change(node->redis_faults, "redis.test_fault", values->redis_test_fault);
}

static void add(struct kvi_metrics *metrics, struct kvi_medium *faults, const char *const labels[])
{
  struct kvi_faulty_stats stats;

  if (faults == NULL)
    return;
  kvi_faulty_stats(faults, &stats);
  for (int i = 0; i < KVI_FAULTY_KINDS; i++)
    kvi_metrics_add(metrics, true, "kvasir_test_faults_total", labels[i], (double)stats.done[i],
                    "Operations of a tier that a test made fail, late or wrong.");
  kvi_metrics_add(metrics, false, "kvasir_test_fault_rules", labels[KVI_FAULTY_KINDS], (double)stats.rules,
                  "Rules of test faults that hold now.");
  kvi_metrics_add(metrics, true, "kvasir_test_fault_changes_total", labels[KVI_FAULTY_KINDS],
                  (double)stats.changes, "Times they were set.");
  kvi_metrics_add(metrics, false, "kvasir_test_fault_operations", labels[KVI_FAULTY_KINDS],
                  (double)stats.held, "Operations that they keep now.");
}

void kvi_node_faults_metrics(struct kvi_node *node, struct kvi_metrics *metrics)
{
  static const char *const ssd[] = {"tier=\"ssd\",kind=\"error\"", "tier=\"ssd\",kind=\"delay\"",
                                    "tier=\"ssd\",kind=\"corrupt\"", "tier=\"ssd\""};
  static const char *const redis[] = {"tier=\"redis\",kind=\"error\"", "tier=\"redis\",kind=\"delay\"",
                                      "tier=\"redis\",kind=\"corrupt\"", "tier=\"redis\""};

  add(metrics, node->ssd_faults, ssd);
  add(metrics, node->redis_faults, redis);
}
