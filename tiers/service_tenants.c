/* tiers/service_tenants.c: what is told of tenants: the control method, and rows of the statistics. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/service_private.h"

#define TENANTS_PAGE  64u
#define TENANTS_STATS 32u /* with rows of their own, the first ones; the others are told together */

/* One more of a reply's tenants. Its array has room. */
static kvs_status tenant_add(Kvasir__V1__TenantsReply *answer, const struct kvi_tenant_info *info)
{
  Kvasir__V1__TenantInfo *row = malloc(sizeof(*row));

  if (!row)
    return KVS_ERR_NOMEM;
  kvasir__v1__tenant_info__init(row);
  answer->tenants[answer->n_tenants++] = row;
  row->weight = info->weight;
  row->dram_max = info->dram_max;
  row->ssd_max = info->medium_max;
  row->redis_max = info->shared_max;
  row->dram_bytes = info->dram_bytes;
  row->ssd_bytes = info->medium_bytes;
  row->redis_bytes = info->shared_bytes;
  row->chunks = info->chunks;
  row->spaces = info->spaces;
  row->own_evictions = info->own_evictions;
  row->own_demotions = info->own_demotions;
  row->puts_refused = info->puts_refused;
  row->writes_refused = info->writes_refused;
  row->redis_refused = info->shared_refused;
  row->rent_ns = info->rent_ns;
  return kvi_service_text_set(&row->name, info->name);
}

kvs_status kvi_service_tenants(struct kvi_store_service *service, const struct kvi_peer *peer,
                               const void *request, void *reply)
{
  const Kvasir__V1__TenantsRequest *ask = request;
  Kvasir__V1__TenantsReply *answer = reply;
  struct kvi_tenant_info infos[TENANTS_PAGE];
  uint64_t first = ask->cursor;
  size_t room = TENANTS_PAGE, n = 0;
  kvs_status status = KVS_OK;

  if (peer->limited) {
    first = kvi_store_tenant_find(service->config.store, peer->tenant);
    room = 1;
  }
  if (first <= KVI_TENANTS_MAX)
    n = kvi_store_tenants(service->config.store, (uint32_t)first, infos, room);
  answer->tenants = calloc(n + 1, sizeof(*answer->tenants));
  if (!answer->tenants)
    return KVS_ERR_NOMEM;
  for (size_t i = 0; i < n && status == KVS_OK; i++)
    status = tenant_add(answer, &infos[i]);
  answer->cursor = !peer->limited && n == room ? first + n : 0;
  return status;
}

/* ---- statistics ---- */

struct row {
  const char *name, *help;
  bool counter;
  size_t offset; /* of a uint64_t in struct kvi_tenant_info */
  double unit;   /* what one of it is */
};

#define INFO(field)    offsetof(struct kvi_tenant_info, field), 1
#define INFO_NS(field) offsetof(struct kvi_tenant_info, field), 1e-9

static const struct row rows[] = {
    {"kvasir_tenant_dram_bytes", "Room in memory of a tenant's chunks, those under way included.", false,
     INFO(dram_bytes)},
    {"kvasir_tenant_dram_quota_bytes", "Its bound; 0: none.", false, INFO(dram_max)},
    {"kvasir_tenant_ssd_bytes", "Payload of the copies of a tenant's chunks on SSD.", false,
     INFO(medium_bytes)},
    {"kvasir_tenant_ssd_quota_bytes", "Its bound; 0: none.", false, INFO(medium_max)},
    {"kvasir_tenant_redis_bytes",
     "What a tenant's chunks take in Redis that this node has written there, and whose time is not over as "
     "it reckons.",
     false, INFO(shared_bytes)},
    {"kvasir_tenant_redis_quota_bytes", "Its bound; 0: none.", false, INFO(shared_max)},
    {"kvasir_tenant_chunks", "Chunks of a tenant.", false, INFO(chunks)},
    {"kvasir_tenant_own_evictions_total",
     "Chunks of a tenant that were evicted for others of the same tenant, because of its bounds.", true,
     INFO(own_evictions)},
    {"kvasir_tenant_own_demotions_total", "The same of chunks that left memory, and stayed on SSD.", true,
     INFO(own_demotions)},
    {"kvasir_tenant_puts_refused_total",
     "Puts refused because a tenant's share was used up, by what leases held.", true, INFO(puts_refused)},
    {"kvasir_tenant_writes_refused_total", "Chunks that were not written to SSD for the same reason.", true,
     INFO(writes_refused)},
    {"kvasir_tenant_redis_writes_refused_total",
     "Chunks that were not written to Redis because of the bound.", true, INFO(shared_refused)},
    {"kvasir_tenant_rent_seconds_total",
     "Rent of a tenant's room in memory: seconds of waiting that it could have saved others.", true,
     INFO_NS(rent_ns)},
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static uint64_t *value_of(struct kvi_tenant_info *info, const struct row *row)
{
  return (uint64_t *)(void *)((char *)info + row->offset);
}

/* The rest of the tenants as one, in infos[n]. */
static void others_sum(struct kvi_store *store, uint32_t first, struct kvi_tenant_info *others)
{
  struct kvi_tenant_info infos[TENANTS_PAGE];

  for (size_t n; (n = kvi_store_tenants(store, first, infos, TENANTS_PAGE)) > 0; first += (uint32_t)n)
    for (size_t i = 0; i < n; i++)
      for (size_t r = 0; r < N_ROWS; r++)
        *value_of(others, &rows[r]) += *value_of(&infos[i], &rows[r]);
}

static Kvasir__V1__Stat *stat_make(struct kvi_tenant_info *info, const struct row *row)
{
  Kvasir__V1__Stat *stat = malloc(sizeof(*stat));
  char labels[KVI_TENANT_MAX + 16];

  if (!stat)
    return NULL;
  kvasir__v1__stat__init(stat);
  (void)snprintf(labels, sizeof(labels), "tenant=\"%.*s\"", (int)KVI_TENANT_MAX - 1, info->name);
  stat->kind = row->counter;
  stat->value = (double)*value_of(info, row) * row->unit;
  if (kvi_service_text_set(&stat->name, row->name) == KVS_OK &&
      kvi_service_text_set(&stat->help, row->help) == KVS_OK &&
      kvi_service_text_set(&stat->labels, labels) == KVS_OK)
    return stat;
  protobuf_c_message_free_unpacked(&stat->base, NULL);
  return NULL;
}

static bool rows_add(Kvasir__V1__StatsReply *reply, struct kvi_tenant_info *infos, size_t n)
{
  Kvasir__V1__Stat **stats =
      realloc(reply->stats, (reply->n_stats + n * N_ROWS) * sizeof(Kvasir__V1__Stat *));

  if (!stats)
    return false;
  reply->stats = stats;
  for (size_t r = 0; r < N_ROWS; r++)
    for (size_t i = 0; i < n; i++) {
      stats[reply->n_stats] = stat_make(&infos[i], &rows[r]);
      if (!stats[reply->n_stats])
        return false;
      reply->n_stats++;
    }
  return true;
}

bool kvi_service_tenants_stats(struct kvi_store_service *service, const char *tenant,
                               Kvasir__V1__StatsReply *reply)
{
  struct kvi_store *store = service->config.store;
  struct kvi_tenant_info infos[TENANTS_STATS + 1];
  size_t n = tenant ? kvi_store_tenants(store, kvi_store_tenant_find(store, tenant), infos, 1)
                    : kvi_store_tenants(store, 0, infos, TENANTS_STATS + 1);

  if (n == 0)
    return true;
  if (!tenant)
    others_sum(store, TENANTS_STATS + 1, &infos[0]); /* to those who are not configured */
  return rows_add(reply, infos, n);
}
