/* tiers/tier.c: what a tier that lacks an op answers. */
#include "tiers/tier.h"

#include <string.h>

static void refuse_attr(const struct kvi_tier *tier, struct kvi_tier_attr *attr_p)
{
  (void)tier;
  memset(attr_p, 0, sizeof(*attr_p));
}

static void refuse_usage(struct kvi_tier *tier, struct kvi_tier_usage *usage_p)
{
  (void)tier;
  memset(usage_p, 0, sizeof(*usage_p));
}

static kvs_status refuse_reserve(struct kvi_tier *tier, const struct kvi_tier_request *request,
                                 kvi_tier_object *object_p)
{
  (void)tier, (void)request, (void)object_p;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_places(struct kvi_tier *tier, kvi_tier_object object,
                                struct kvi_tier_places *places_p)
{
  (void)tier, (void)object, (void)places_p;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_segments(struct kvi_tier *tier, kvi_tier_object object, uint32_t n_segments,
                                  const uint32_t *lengths)
{
  (void)tier, (void)object, (void)n_segments, (void)lengths;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_seal(struct kvi_tier *tier, kvi_tier_object object, uint16_t quality)
{
  (void)tier, (void)object, (void)quality;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_open(struct kvi_tier *tier, kvi_tier_object object)
{
  (void)tier, (void)object;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_table(struct kvi_tier *tier, kvi_tier_object object, struct kvi_chunk_table *table_p)
{
  (void)tier, (void)object, (void)table_p;
  return KVS_ERR_UNSUPPORTED;
}

static uint64_t refuse_room(const struct kvi_tier *tier, kvi_tier_object object)
{
  (void)tier, (void)object;
  return 0;
}

static kvs_status refuse_cut(struct kvi_tier *tier, kvi_tier_object object, uint64_t length,
                             uint32_t n_segments, uint16_t quality, uint64_t *freed_p)
{
  (void)tier, (void)object, (void)length, (void)n_segments, (void)quality, (void)freed_p;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_label(struct kvi_tier *tier, kvi_tier_object object, const void **label_p,
                               uint32_t *length_p)
{
  (void)tier, (void)object, (void)label_p, (void)length_p;
  return KVS_ERR_UNSUPPORTED;
}

static void ignore_object(struct kvi_tier *tier, kvi_tier_object object)
{
  (void)tier, (void)object;
}

static void ignore_tier(struct kvi_tier *tier)
{
  (void)tier;
}

void kvi_tier_ops_complete(struct kvi_tier_ops *ops)
{
#define COMPLETE(op, with)                                                                                   \
  if (!ops->op)                                                                                              \
  ops->op = (with)
  COMPLETE(name, "unnamed");
  COMPLETE(attr, refuse_attr);
  COMPLETE(usage, refuse_usage);
  COMPLETE(reserve, refuse_reserve);
  COMPLETE(segments, refuse_segments);
  COMPLETE(places, refuse_places);
  COMPLETE(seal, refuse_seal);
  COMPLETE(open, refuse_open);
  COMPLETE(table, refuse_table);
  COMPLETE(close, ignore_object);
  COMPLETE(cut, refuse_cut);
  COMPLETE(room, refuse_room);
  COMPLETE(label, refuse_label);
  COMPLETE(drop, ignore_object);
  COMPLETE(destroy, ignore_tier);
#undef COMPLETE
}
