/* tiers/faulty/faulty_tier.c: see faulty_tier.h. Objects are the inner tier's own. */
#include "tiers/faulty/faulty_tier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/faulty/plan.h"

struct faulty_tier {
  struct kvi_tier tier; /* first */
  struct kvi_tier *inner;
  struct kvi_faulty_plan plan; /* its lock is a leaf */
};

static struct faulty_tier *of(struct kvi_tier *tier)
{
  return (struct faulty_tier *)tier;
}

static void tier_attr(const struct kvi_tier *tier, struct kvi_tier_attr *attr_p)
{
  const struct faulty_tier *faulty = (const struct faulty_tier *)tier;

  faulty->inner->ops->attr(faulty->inner, attr_p);
}

static void tier_usage(struct kvi_tier *tier, struct kvi_tier_usage *usage_p)
{
  of(tier)->inner->ops->usage(of(tier)->inner, usage_p);
}

static kvs_status tier_reserve(struct kvi_tier *tier, const struct kvi_tier_request *request,
                               kvi_tier_object *object_p)
{
  struct faulty_tier *faulty = of(tier);
  struct kvi_faulty_fate fate;

  (void)kvi_faulty_plan_decide(&faulty->plan, KVI_FAULTY_WRITE, &fate);
  if (fate.status != KVS_OK)
    return fate.status == KVS_ERR_FULL ? KVS_ERR_FULL : KVS_ERR_NOMEM;
  return faulty->inner->ops->reserve(faulty->inner, request, object_p);
}

static kvs_status tier_segments(struct kvi_tier *tier, kvi_tier_object object, uint32_t n_segments,
                                const uint32_t *lengths)
{
  return of(tier)->inner->ops->segments(of(tier)->inner, object, n_segments, lengths);
}

static kvs_status tier_places(struct kvi_tier *tier, kvi_tier_object object, struct kvi_tier_places *places_p)
{
  return of(tier)->inner->ops->places(of(tier)->inner, object, places_p);
}

static kvs_status tier_seal(struct kvi_tier *tier, kvi_tier_object object, uint16_t quality)
{
  struct faulty_tier *faulty = of(tier);
  struct kvi_faulty_fate fate;
  struct kvi_tier_places places;
  uint64_t length = 0;

  (void)kvi_faulty_plan_decide(&faulty->plan, KVI_FAULTY_SEAL, &fate);
  if (fate.corrupt && faulty->inner->ops->places(faulty->inner, object, &places) == KVS_OK) {
    for (uint32_t i = 0; i < places.n_iov; i++)
      length += places.iov[i].length;
    kvi_faulty_byte_flip(places.iov, places.n_iov, length > 0 ? fate.random % length : 0);
  }
  return faulty->inner->ops->seal(faulty->inner, object, quality);
}

static kvs_status tier_open(struct kvi_tier *tier, kvi_tier_object object)
{
  return of(tier)->inner->ops->open(of(tier)->inner, object);
}

static kvs_status tier_table(struct kvi_tier *tier, kvi_tier_object object, struct kvi_chunk_table *table_p)
{
  struct faulty_tier *faulty = of(tier);
  struct kvi_faulty_fate fate;

  (void)kvi_faulty_plan_decide(&faulty->plan, KVI_FAULTY_READ, &fate);
  if (fate.status != KVS_OK)
    return KVS_ERR_CORRUPT;
  return faulty->inner->ops->table(faulty->inner, object, table_p);
}

static void tier_close(struct kvi_tier *tier, kvi_tier_object object)
{
  of(tier)->inner->ops->close(of(tier)->inner, object);
}

static kvs_status tier_cut(struct kvi_tier *tier, kvi_tier_object object, uint64_t length,
                           uint32_t n_segments, uint16_t quality, uint64_t *freed_p)
{
  return of(tier)->inner->ops->cut(of(tier)->inner, object, length, n_segments, quality, freed_p);
}

static uint64_t tier_room(const struct kvi_tier *tier, kvi_tier_object object)
{
  const struct faulty_tier *faulty = (const struct faulty_tier *)tier;

  return faulty->inner->ops->room(faulty->inner, object);
}

static kvs_status tier_label(struct kvi_tier *tier, kvi_tier_object object, const void **label_p,
                             uint32_t *length_p)
{
  return of(tier)->inner->ops->label(of(tier)->inner, object, label_p, length_p);
}

static void tier_drop(struct kvi_tier *tier, kvi_tier_object object)
{
  of(tier)->inner->ops->drop(of(tier)->inner, object);
}

static void tier_destroy(struct kvi_tier *tier)
{
  struct faulty_tier *faulty = of(tier);

  if (!tier)
    return;
  faulty->inner->ops->destroy(faulty->inner);
  pthread_mutex_destroy(&faulty->plan.lock);
  free(faulty);
}

static const struct kvi_tier_ops tier_ops = {.name = "faulty",
                                             .attr = tier_attr,
                                             .usage = tier_usage,
                                             .reserve = tier_reserve,
                                             .segments = tier_segments,
                                             .places = tier_places,
                                             .seal = tier_seal,
                                             .open = tier_open,
                                             .table = tier_table,
                                             .close = tier_close,
                                             .cut = tier_cut,
                                             .room = tier_room,
                                             .label = tier_label,
                                             .drop = tier_drop,
                                             .destroy = tier_destroy};

/* ---- rules ---- */

static kvs_status rules_parse(const char *text, struct kvi_faulty_rules *rules_p, char *error,
                              size_t error_size)
{
  struct kvi_faulty_rules rules;
  kvs_status status = kvi_faulty_rules_parse(text, &rules, error, error_size);
  const char *says = NULL;

  for (uint32_t i = 0; status == KVS_OK && i < rules.n; i++) {
    struct kvi_faulty_rule *rule = &rules.rules[i];

    if (rule->kind == KVI_FAULTY_DELAY)
      says = "delay: memory is never late";
    else if (rule->ops == KVI_FAULTY_LOOKUP)
      says = "lookup: nobody asks memory whether a chunk is there";
    else if (rule->kind == KVI_FAULTY_CORRUPT && !(rule->ops & KVI_FAULTY_WRITE))
      says = "corrupt: bytes in memory change when they are written";
    else if (rule->kind == KVI_FAULTY_ERROR && rule->status != KVS_ERR_IO && rule->status != KVS_ERR_FULL)
      says = "error: memory is never busy, and misses nothing";
    if (rule->kind == KVI_FAULTY_CORRUPT)
      rule->ops = KVI_FAULTY_SEAL; /* so that reserve and seal are not counted as two writes */
  }
  if (says) {
    if (error)
      snprintf(error, error_size, "%s", says);
    status = KVS_ERR_CONFIG;
  }
  if (status == KVS_OK)
    *rules_p = rules;
  return status;
}

kvs_status kvi_faulty_tier_check(const char *rules, char *error, size_t error_size)
{
  struct kvi_faulty_rules parsed;

  return rules_parse(rules, &parsed, error, error_size);
}

kvs_status kvi_faulty_tier_set(struct kvi_tier *tier, const char *text)
{
  struct kvi_faulty_rules rules;
  kvs_status status = rules_parse(text, &rules, NULL, 0);

  if (status == KVS_OK)
    kvi_faulty_plan_set(&of(tier)->plan, &rules, "dram", text);
  return status;
}

void kvi_faulty_tier_stats(struct kvi_tier *tier, struct kvi_faulty_stats *stats_p)
{
  kvi_faulty_plan_stats(&of(tier)->plan, stats_p);
}

kvs_status kvi_faulty_tier_create(struct kvi_tier *inner, const char *rules, struct kvi_tier **tier_p)
{
  struct faulty_tier *faulty = calloc(1, sizeof(*faulty));
  kvs_status status = KVS_ERR_NOMEM;

  *tier_p = NULL;
  if (!faulty)
    goto destroy_inner;
  faulty->tier.ops = &tier_ops;
  faulty->inner = inner;
  pthread_mutex_init(&faulty->plan.lock, NULL);
  status = kvi_faulty_tier_set(&faulty->tier, rules);
  if (status != KVS_OK)
    goto free_faulty;
  *tier_p = &faulty->tier;
  return KVS_OK;

free_faulty:
  pthread_mutex_destroy(&faulty->plan.lock);
  free(faulty);
destroy_inner:
  inner->ops->destroy(inner);
  return status;
}
