/* tiers/shared_quota.c: what each tenant has in the tier that nodes share. */
#include "tiers/shared_quota.h"

#include "base/clock.h"
#include "tiers/store_private.h"
#include "tiers/tenants_private.h"

static struct kvi_tenant *tenant_of_locked(struct kvi_store *store, const char *tenant, const uint8_t *space)
{
  uint32_t number = kvi_space_find_locked(store, tenant, space);

  return &store->tenants->tenants[number == KVI_NONE ? 0 : store->spaces[number].account];
}

static uint64_t *step_of(struct kvi_shared_quota *quota, uint64_t step)
{
  return &quota->bytes[step % KVI_SHARED_QUOTA_STEPS];
}

void kvi_shared_quota_pass_locked(struct kvi_store *store, struct kvi_tenant *tenant)
{
  const struct kvi_tenants *all = store->tenants;
  struct kvi_shared_quota *quota = &tenant->in_shared;
  uint64_t now = all->shared_clock ? all->shared_clock(all->shared_ctx) / all->shared_step_ns : 0;
  uint64_t end = now < quota->first + KVI_SHARED_QUOTA_STEPS ? now : quota->first + KVI_SHARED_QUOTA_STEPS;

  for (uint64_t step = quota->first; step < end; step++) {
    tenant->info.shared_bytes -= *step_of(quota, step);
    *step_of(quota, step) = 0;
  }
  if (now > quota->first)
    quota->first = now;
}

void kvi_shared_quota_begin(struct kvi_store *store, uint64_t ttl_ms, uint64_t (*clock)(const void *ctx),
                            const void *ctx)
{
  uint64_t ns = ttl_ms * KVI_NS_PER_MS;

  if (!store->tenants || ttl_ms == 0)
    return;
  pthread_mutex_lock(&store->lock);
  store->tenants->shared_step_ns =
      ns / (KVI_SHARED_QUOTA_STEPS - 2) + 1; /* so many fit into the longest time, and two are begun */
  store->tenants->shared_clock = clock;
  store->tenants->shared_ctx = ctx;
  pthread_mutex_unlock(&store->lock);
}

void kvi_shared_quota_end(struct kvi_store *store)
{
  if (!store->tenants)
    return;
  pthread_mutex_lock(&store->lock);
  store->tenants->shared_clock = NULL;
  pthread_mutex_unlock(&store->lock);
}

static bool is_counted(const struct kvi_store *store)
{
  return store->tenants &&
         store->tenants->shared_clock; /* set and taken back while nobody else writes there */
}

bool kvi_shared_quota_take(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes)
{
  struct kvi_tenant *whose;
  bool may;

  if (!is_counted(store))
    return true;
  pthread_mutex_lock(&store->lock);
  whose = tenant_of_locked(store, tenant, space);
  kvi_shared_quota_pass_locked(store, whose);
  may = whose->info.shared_max == 0 || whose->info.shared_bytes + bytes <= whose->info.shared_max;
  if (may)
    whose->info.shared_bytes += bytes;
  else
    whose->info.shared_refused++;
  pthread_mutex_unlock(&store->lock);
  return may;
}

void kvi_shared_quota_give(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes)
{
  if (!is_counted(store))
    return;
  pthread_mutex_lock(&store->lock);
  tenant_of_locked(store, tenant, space)->info.shared_bytes -= bytes;
  pthread_mutex_unlock(&store->lock);
}

void kvi_shared_quota_move(struct kvi_store *store, const char *tenant, const uint8_t *space, uint64_t bytes,
                           uint64_t from_ns, uint64_t to_ns)
{
  uint64_t step_ns, from, to, gone;
  struct kvi_tenant *whose;

  if (!is_counted(store) || bytes == 0)
    return;
  pthread_mutex_lock(&store->lock);
  whose = tenant_of_locked(store, tenant, space);
  kvi_shared_quota_pass_locked(store, whose);
  step_ns = store->tenants->shared_step_ns;
  from = from_ns / step_ns;
  to = to_ns / step_ns;
  if (from_ns > 0 && from >= whose->in_shared.first &&
      from < whose->in_shared.first + KVI_SHARED_QUOTA_STEPS) {
    gone = *step_of(&whose->in_shared, from);
    gone = gone < bytes ? gone : bytes; /* they may have been another's, once in a long time (expiries.h) */
    *step_of(&whose->in_shared, from) -= gone;
    whose->info.shared_bytes -= gone;
  }
  if (to_ns > 0 && to >= whose->in_shared.first && to < whose->in_shared.first + KVI_SHARED_QUOTA_STEPS) {
    *step_of(&whose->in_shared, to) += bytes;
    whose->info.shared_bytes += bytes;
  }
  pthread_mutex_unlock(&store->lock);
}
