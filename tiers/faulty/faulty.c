/* tiers/faulty/faulty.c: see faulty.h. An operation that nothing happens to goes to the inner medium as it is; the others are held.c's. */
#include <stdlib.h>

#include "tiers/faulty/faulty_private.h"

static struct kvi_faulty *of(struct kvi_medium *medium)
{
  return (struct kvi_faulty *)medium;
}

/* ---- the ops ---- */

static kvs_status faulty_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  struct kvi_faulty *faulty = of(medium);
  struct kvi_faulty_fate fate;
  struct kvi_faulty_held *held;
  kvs_status status;

  if (!kvi_faulty_plan_decide(&faulty->plan, KVI_FAULTY_WRITE, &fate))
    return faulty->inner->ops->put(faulty->inner, put);
  put->handle = 0;
  held = kvi_faulty_held_make(faulty, KVI_FAULTY_WRITE, &fate, &status);
  if (!held)
    return status;
  held->asked.put = put;
  return kvi_faulty_hold(faulty, held, &fate, put->deadline_ns);
}

static void read_delay_count(struct kvi_faulty *faulty, uint64_t us)
{
  pthread_mutex_lock(&faulty->plan.lock);
  if (faulty->read_delay_us == 0)
    faulty->read_delay_us = us;
  else
    faulty->read_delay_us += us / 8 - faulty->read_delay_us / 8;
  pthread_mutex_unlock(&faulty->plan.lock);
}

static kvs_status faulty_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  struct kvi_faulty *faulty = of(medium);
  struct kvi_faulty_fate fate;
  struct kvi_faulty_held *held;
  kvs_status status;

  if (!kvi_faulty_plan_decide(&faulty->plan, KVI_FAULTY_READ, &fate)) {
    read_delay_count(faulty, 0);
    return faulty->inner->ops->get(faulty->inner, get);
  }
  read_delay_count(faulty, fate.delay_ms * 1000);
  held = kvi_faulty_held_make(faulty, KVI_FAULTY_READ, &fate, &status);
  if (!held)
    return status;
  held->asked.get = get;
  return kvi_faulty_hold(faulty, held, &fate, get->deadline_ns);
}

static kvs_status faulty_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  struct kvi_faulty *faulty = of(medium);
  struct kvi_faulty_fate fate;
  struct kvi_faulty_held *held;
  kvs_status status;

  if (!kvi_faulty_plan_decide(&faulty->plan, KVI_FAULTY_LOOKUP, &fate))
    return faulty->inner->ops->lookup(faulty->inner, lookup);
  held = kvi_faulty_held_make(faulty, KVI_FAULTY_LOOKUP, &fate, &status);
  if (!held)
    return status;
  held->asked.lookup = lookup;
  return kvi_faulty_hold(faulty, held, &fate, lookup->deadline_ns);
}

static void faulty_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  const struct kvi_faulty *faulty = (const struct kvi_faulty *)medium;

  faulty->inner->ops->attr(faulty->inner, attr_p);
}

static void faulty_medium_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  struct kvi_faulty *faulty = of(medium);
  const struct kvi_medium_stats *ended = &faulty->ended;

  faulty->inner->ops->stats(faulty->inner, stats_p);
  pthread_mutex_lock(&faulty->plan.lock);
  stats_p->put_full += ended->put_full;
  stats_p->put_errors += ended->put_errors;
  stats_p->get_misses += ended->get_misses;
  stats_p->get_errors += ended->get_errors;
  stats_p->corrupt += ended->corrupt;
  stats_p->deadlines += ended->deadlines;
  stats_p->busy += ended->busy;
  stats_p->queued += faulty->waiting.length;
  stats_p->read_latency_us += faulty->read_delay_us;
  pthread_mutex_unlock(&faulty->plan.lock);
}

static kvs_status faulty_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                                 kvi_medium_found_fn *found)
{
  struct kvi_faulty *faulty = of(medium);

  return faulty->inner->ops->recover(faulty->inner, owner, found);
}

static kvs_status faulty_remove(struct kvi_medium *medium, struct kvi_medium_remove *remove)
{
  struct kvi_faulty *faulty = of(medium);

  kvi_faulty_puts_cancel(faulty, &remove->identity);
  return faulty->inner->ops->remove(faulty->inner, remove);
}

static void faulty_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                        kvi_medium_handle handle, bool for_good)
{
  struct kvi_faulty *faulty = of(medium);

  if (for_good && identity)
    kvi_faulty_puts_cancel(faulty, identity);
  faulty->inner->ops->drop(faulty->inner, identity, handle, for_good);
}

static uint32_t faulty_drops_waiting(struct kvi_medium *medium)
{
  struct kvi_faulty *faulty = of(medium);

  return faulty->inner->ops->drops_waiting(faulty->inner);
}

static kvs_status faulty_settle(struct kvi_medium *medium, struct kvi_medium_settle *settle)
{
  struct kvi_faulty *faulty = of(medium);

  return faulty->inner->ops->settle(faulty->inner, settle);
}

static void faulty_free(struct kvi_faulty *faulty)
{
  pthread_cond_destroy(&faulty->changed);
  pthread_mutex_destroy(&faulty->plan.lock);
  free(faulty);
}

static void faulty_destroy(struct kvi_medium *medium)
{
  struct kvi_faulty *faulty = of(medium);

  if (!medium)
    return;
  pthread_mutex_lock(&faulty->plan.lock);
  faulty->closed = true;
  pthread_cond_signal(&faulty->changed);
  pthread_mutex_unlock(&faulty->plan.lock);
  kvi_thread_join(&faulty->thread);
  faulty->inner->ops->destroy(faulty->inner); /* ends those of ours that are in it */
  faulty_free(faulty);
}

static struct kvi_medium_ops faulty_ops = {.attr = faulty_attr,
                                           .stats = faulty_medium_stats,
                                           .recover = faulty_recover,
                                           .put = faulty_put,
                                           .get = faulty_get,
                                           .lookup = faulty_lookup,
                                           .remove = faulty_remove,
                                           .drop = faulty_drop,
                                           .drops_waiting = faulty_drops_waiting,
                                           .settle = faulty_settle,
                                           .destroy = faulty_destroy};

/* ---- life ---- */

static pthread_once_t completed = PTHREAD_ONCE_INIT;

static void complete(void)
{
  kvi_medium_ops_complete(&faulty_ops);
}

kvs_status kvi_faulty_set(struct kvi_medium *medium, const char *text)
{
  struct kvi_faulty *faulty = of(medium);
  struct kvi_faulty_rules rules;
  kvs_status status = kvi_faulty_rules_parse(text, &rules, NULL, 0);

  if (status == KVS_OK)
    kvi_faulty_plan_set(&faulty->plan, &rules, faulty->name, text);
  return status;
}

void kvi_faulty_stats(struct kvi_medium *medium, struct kvi_faulty_stats *stats_p)
{
  kvi_faulty_plan_stats(&of(medium)->plan, stats_p);
}

kvs_status kvi_faulty_create(struct kvi_medium *inner, const char *rules, struct kvi_medium **medium_p)
{
  struct kvi_faulty *faulty = calloc(1, sizeof(*faulty));
  struct kvi_medium_attr attr;
  kvs_status status = KVS_ERR_NOMEM;

  *medium_p = NULL;
  if (!faulty)
    goto destroy_inner;
  pthread_once(&completed, complete);
  inner->ops->attr(inner, &attr);
  faulty->medium.ops = &faulty_ops;
  faulty->inner = inner;
  faulty->name = attr.name ? attr.name : "without a name";
  kvi_list_init(&faulty->waiting);
  pthread_mutex_init(&faulty->plan.lock, NULL);
  status = kvi_cond_init(&faulty->changed);
  if (status != KVS_OK)
    goto free_faulty;
  status = kvi_faulty_set(&faulty->medium, rules);
  if (status == KVS_OK)
    status = kvi_thread_start(&faulty->thread, "kvi-faulty", kvi_faulty_run, faulty);
  if (status != KVS_OK)
    goto destroy_cond;
  *medium_p = &faulty->medium;
  return KVS_OK;

destroy_cond:
  pthread_cond_destroy(&faulty->changed);
free_faulty:
  pthread_mutex_destroy(&faulty->plan.lock);
  free(faulty);
destroy_inner:
  inner->ops->destroy(inner);
  return status;
}
