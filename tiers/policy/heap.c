#include "tiers/policy/heap.h"

#include <stdlib.h>
#include <string.h>

static double *numbers_of(const struct kvi_policy *policy)
{
  return ((const struct kvi_heap *)policy)->numbers;
}

static struct kvi_heap_key key_of(const struct kvi_policy *policy, uint32_t chunk)
{
  return ((const struct kvi_heap *)policy)->key(policy, chunk);
}

static struct kvi_heap_key recorded(const struct kvi_policy *policy, uint32_t chunk)
{
  const double *numbers = numbers_of(policy);

  return (struct kvi_heap_key){.number = numbers ? numbers[chunk] : 0,
                               .time = kvi_word48_get(&policy->nodes[chunk].word_or_children)};
}

static struct kvi_heap_key recorded_at(const struct kvi_policy *policy, uint32_t group, uint32_t place)
{
  return recorded(policy, *kvi_forest_slot(policy, group, place));
}

static struct kvi_heap_key record(struct kvi_policy *policy, uint32_t chunk)
{
  struct kvi_heap_key key = key_of(policy, chunk);

  if (numbers_of(policy))
    numbers_of(policy)[chunk] = key.number;
  kvi_word48_set(&policy->nodes[chunk].word_or_children, key.time);
  return key;
}

static bool is_before(struct kvi_heap_key a, struct kvi_heap_key b)
{
  return a.number != b.number ? a.number < b.number : a.time < b.time;
}

/* From a place that is free, to where its recorded key belongs. */
static void rise(struct kvi_policy *policy, uint32_t group, uint32_t place, uint32_t chunk)
{
  struct kvi_heap_key key = recorded(policy, chunk);

  while (place > 0 && is_before(key, recorded_at(policy, group, (place - 1) / 2))) {
    kvi_forest_place(policy, group, place, *kvi_forest_slot(policy, group, (place - 1) / 2));
    place = (place - 1) / 2;
  }
  kvi_forest_place(policy, group, place, chunk);
}

static void sink(struct kvi_policy *policy, uint32_t group, uint32_t place, uint32_t chunk)
{
  struct kvi_heap_key key = recorded(policy, chunk);
  uint32_t size = policy->n[group];

  for (;;) {
    uint64_t below = 2 * (uint64_t)place + 1;

    if (below >= size)
      break;
    if (below + 1 < size && is_before(recorded_at(policy, group, (uint32_t)below + 1),
                                      recorded_at(policy, group, (uint32_t)below)))
      below++;
    if (!is_before(recorded_at(policy, group, (uint32_t)below), key))
      break;
    kvi_forest_place(policy, group, place, *kvi_forest_slot(policy, group, (uint32_t)below));
    place = (uint32_t)below;
  }
  kvi_forest_place(policy, group, place, chunk);
}

static void enter(struct kvi_policy *policy, uint32_t chunk)
{
  uint32_t group = policy->nodes[chunk].group;

  (void)record(policy, chunk);
  rise(policy, group, policy->n[group] - 1, chunk);
}

static void leave(struct kvi_policy *policy, uint32_t chunk)
{
  uint32_t place = policy->nodes[chunk].place_or_holds, group = policy->nodes[chunk].group;
  uint32_t end = policy->n[group], last = *kvi_forest_slot(policy, group, end);

  if (place == end)
    return;
  if (place > 0 && is_before(recorded(policy, last), recorded_at(policy, group, (place - 1) / 2)))
    rise(policy, group, place, last);
  else
    sink(policy, group, place, last);
}

kvs_status kvi_heap_create(size_t size, uint32_t capacity, bool numbered,
                           struct kvi_heap_key (*key)(const struct kvi_policy *policy, uint32_t chunk),
                           struct kvi_policy **policy_p)
{
  kvs_status status = kvi_forest_create(size, capacity, enter, leave, policy_p);
  struct kvi_heap *heap;

  if (status != KVS_OK)
    return status;
  heap = (struct kvi_heap *)*policy_p;
  heap->key = key;
  heap->numbers = numbered ? calloc(capacity, sizeof(*heap->numbers)) : NULL;
  if (!numbered || heap->numbers)
    return KVS_OK;
  kvi_heap_destroy(*policy_p);
  *policy_p = NULL;
  return KVS_ERR_NOMEM;
}

void kvi_heap_destroy(struct kvi_policy *policy)
{
  if (!policy)
    return;
  free(numbers_of(policy));
  kvi_forest_destroy(policy);
}

uint64_t kvi_heap_memory(const struct kvi_policy *policy)
{
  return kvi_forest_memory(policy) + sizeof(struct kvi_heap) - sizeof(struct kvi_policy) +
         (numbers_of(policy) ? (uint64_t)policy->capacity * sizeof(double) : 0);
}

uint32_t kvi_heap_victim(struct kvi_policy *policy, enum kvi_policy_group group, uint64_t now_ns)
{
  (void)now_ns;
  while (policy->n[group] > 0) {
    uint32_t chunk = *kvi_forest_slot(policy, group, 0);
    struct kvi_heap_key before = recorded(policy, chunk), now = record(policy, chunk);

    if (!is_before(before, now))
      return chunk;
    sink(policy, group, 0, chunk);
  }
  return KVI_POLICY_NONE;
}

void kvi_heap_info(const struct kvi_policy *policy, uint32_t chunk, struct kvi_policy_info *info_p)
{
  struct kvi_heap_key key = key_of(policy, chunk);

  kvi_forest_info(policy, chunk, info_p);
  if (!kvi_forest_is_resident(policy, chunk))
    return;
  if (numbers_of(policy))
    memcpy(&info_p->rank, &key.number,
           sizeof(info_p->rank)); /* numbers that are not negative are in the order of their bits */
  else
    info_p->rank = kvi_forest_time(policy, key.time);
}
