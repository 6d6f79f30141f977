/* tiers/expiries.c: until when chunks live in a tier that forgets by itself. */
#include "tiers/expiries.h"

#include <stdlib.h>

#define WAYS 8u

struct record {
  uint32_t tag;   /* 0: free */
  uint32_t until; /* ticks since the table was made */
  uint32_t bytes, ttl_ms;
};

struct kvi_expiries {
  uint64_t begun_ns;
  uint32_t n_sets;
  struct record records[]; /* WAYS for each set */
};

kvs_status kvi_expiries_create(uint32_t chunks, uint64_t now_ns, struct kvi_expiries **expiries_p)
{
  uint32_t n_sets = chunks / WAYS > 0 ? chunks / WAYS : 1;

  *expiries_p = calloc(1, sizeof(**expiries_p) + (size_t)n_sets * WAYS * sizeof(struct record));
  if (!*expiries_p)
    return KVS_ERR_NOMEM;
  (*expiries_p)->begun_ns = now_ns;
  (*expiries_p)->n_sets = n_sets;
  return KVS_OK;
}

void kvi_expiries_destroy(struct kvi_expiries *expiries)
{
  free(expiries);
}

uint64_t kvi_expiries_memory(const struct kvi_expiries *expiries)
{
  return sizeof(*expiries) + (uint64_t)expiries->n_sets * WAYS * sizeof(struct record);
}

static const struct record *set_of(const struct kvi_expiries *expiries, uint64_t hash)
{
  return &expiries->records[(((hash >> 32) * expiries->n_sets) >> 32) * WAYS];
}

static uint32_t tag_of(uint64_t hash)
{
  return (uint32_t)hash != 0 ? (uint32_t)hash : 1;
}

static uint32_t ticks(const struct kvi_expiries *expiries, uint64_t at_ns)
{
  uint64_t n = at_ns > expiries->begun_ns ? (at_ns - expiries->begun_ns) >> KVI_EXPIRY_TICK_SHIFT : 0;

  return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static struct record *find(const struct kvi_expiries *expiries, uint64_t hash)
{
  struct record *set = (struct record *)set_of(expiries, hash);

  for (uint32_t i = 0; i < WAYS; i++)
    if (set[i].tag == tag_of(hash))
      return &set[i];
  return NULL;
}

void kvi_expiries_note(struct kvi_expiries *expiries, uint64_t hash, const struct kvi_expiry *expiry)
{
  struct record *set = (struct record *)set_of(expiries, hash), *place = find(expiries, hash);

  for (uint32_t i = 0; !place && i < WAYS; i++)
    place = set[i].tag == 0 ? &set[i] : NULL;
  if (!place) {
    place = set;
    for (uint32_t i = 1; i < WAYS; i++)
      place = set[i].until < place->until ? &set[i] : place;
  }
  *place = (struct record){.tag = tag_of(hash),
                           .until = ticks(expiries, expiry->until_ns),
                           .bytes = expiry->bytes,
                           .ttl_ms = expiry->ttl_ms};
}

bool kvi_expiries_find(const struct kvi_expiries *expiries, uint64_t hash, struct kvi_expiry *expiry_p)
{
  const struct record *record = find(expiries, hash);

  if (!record)
    return false;
  *expiry_p =
      (struct kvi_expiry){.until_ns = expiries->begun_ns + ((uint64_t)record->until << KVI_EXPIRY_TICK_SHIFT),
                          .bytes = record->bytes,
                          .ttl_ms = record->ttl_ms};
  return true;
}

void kvi_expiries_forget(struct kvi_expiries *expiries, uint64_t hash)
{
  struct record *record = find(expiries, hash);

  if (record)
    record->tag = 0;
}
