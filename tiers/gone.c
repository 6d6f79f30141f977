/* tiers/gone.c: what is remembered of chunks that went. */
#include "tiers/gone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/store_private.h"

#define WAYS           8u
#define CHUNKS_PER_SET 768u /* of the index: 96 for each record, three eighths of a byte for a chunk */
#define SETS_MIN       8u
#define SETS_MAX       (1u << 17)
#define NO_TIME        INT32_MIN
#define TICK_SHIFT     26u /* of nanoseconds: 67 ms, so that 32 bits are nine years */

struct record {
  struct kvi_key_tag tag;
  uint16_t space;
  uint8_t cause : 4; /* enum kvi_miss_cause; KVI_MISS_NONE: free */
  uint8_t rule : 4;  /* enum kvi_evict_rule */
  uint8_t below : 1;
  uint8_t by_price : 1;
  uint32_t at, idle; /* ticks since the table was made; of the last use before that */
  uint32_t length;
  float price;  /* NAN: there was none */
  int32_t over; /* ticks; NO_TIME */
};
static_assert(sizeof(struct record) == 36, "docs/store.md has the sum");
static_assert((int)KVI_MISS_COUNT <= 16 && (int)KVI_EVICT_RULES < 16, "cause and rule have 4 bits each");

struct kvi_gone {
  uint64_t begun_ns;
  uint32_t n_sets;
  struct record records[]; /* WAYS for each set */
};

kvs_status kvi_gone_create(uint32_t max_chunks, uint64_t now_ns, struct kvi_gone **gone_p)
{
  uint32_t n_sets = max_chunks / CHUNKS_PER_SET;

  n_sets = n_sets < SETS_MIN ? SETS_MIN : n_sets > SETS_MAX ? SETS_MAX : n_sets;
  *gone_p = calloc(1, sizeof(**gone_p) + (size_t)n_sets * WAYS * sizeof(struct record));
  if (!*gone_p)
    return KVS_ERR_NOMEM;
  (*gone_p)->begun_ns = now_ns;
  (*gone_p)->n_sets = n_sets;
  return KVS_OK;
}

void kvi_gone_destroy(struct kvi_gone *gone)
{
  free(gone);
}

uint64_t kvi_gone_memory(const struct kvi_gone *gone)
{
  return sizeof(*gone) + (uint64_t)gone->n_sets * WAYS * sizeof(struct record);
}

uint64_t kvi_gone_begun_ns(const struct kvi_gone *gone)
{
  return gone->begun_ns;
}

static const struct record *set_of(const struct kvi_gone *gone, uint64_t hash)
{
  return &gone->records[(((hash >> 32) * gone->n_sets) >> 32) * WAYS];
}

static bool record_is(const struct record *record, uint32_t space, const struct kvi_key_tag *tag)
{
  return record->cause != KVI_MISS_NONE && record->space == space &&
         memcmp(&record->tag, tag, sizeof(*tag)) == 0;
}

static uint32_t ticks(uint64_t ns)
{
  return ns >> TICK_SHIFT < UINT32_MAX ? (uint32_t)(ns >> TICK_SHIFT) : UINT32_MAX;
}

/* Never 0: a time that has just run out has run out, by a tick. */
static int32_t over_ticks(int64_t over_ns)
{
  uint32_t n = ticks(over_ns < 0 ? 0 - (uint64_t)over_ns : (uint64_t)over_ns);

  n = n == 0 ? 1 : n < INT32_MAX ? n : INT32_MAX;
  return over_ns < 0 ? -(int32_t)n : (int32_t)n;
}

void kvi_gone_note(struct kvi_gone *gone, uint64_t hash, uint32_t space, const struct kvi_key_tag *tag,
                   const struct kvi_departure *departure)
{
  struct record *set = (struct record *)set_of(gone, hash);
  struct record *place = set;

  for (uint32_t i = 0; i < WAYS; i++) {
    if (record_is(&set[i], space, tag)) {
      place = &set[i];
      break;
    }
    if (place->cause != KVI_MISS_NONE && (set[i].cause == KVI_MISS_NONE || set[i].at < place->at))
      place = &set[i];
  }
  *place = (struct record){.tag = *tag,
                           .space = (uint16_t)space,
                           .cause = (uint8_t)departure->cause & 15u,
                           .rule = (uint8_t)departure->rule & 15u,
                           .below = departure->below,
                           .by_price = departure->by_price,
                           .at = ticks(departure->at_ns - gone->begun_ns),
                           .idle = ticks(departure->idle_ns),
                           .length = (uint32_t)departure->length,
                           .price = (float)departure->price,
                           .over = departure->timed ? over_ticks(departure->over_ns) : NO_TIME};
}

static void record_tell(const struct kvi_gone *gone, const struct record *record,
                        struct kvi_departure *departure_p)
{
  *departure_p = (struct kvi_departure){.cause = (enum kvi_miss_cause)record->cause,
                                        .rule = (enum kvi_evict_rule)record->rule,
                                        .at_ns = gone->begun_ns + ((uint64_t)record->at << TICK_SHIFT),
                                        .idle_ns = (uint64_t)record->idle << TICK_SHIFT,
                                        .length = record->length,
                                        .price = record->price,
                                        .by_price = record->by_price,
                                        .below = record->below,
                                        .timed = record->over != NO_TIME};
  if (departure_p->timed)
    departure_p->over_ns = (int64_t)record->over * (INT64_C(1) << TICK_SHIFT);
}

bool kvi_gone_find(const struct kvi_gone *gone, uint64_t hash, uint32_t space, const struct kvi_key_tag *tag,
                   struct kvi_departure *departure_p, uint64_t *since_ns_p)
{
  const struct record *set = set_of(gone, hash);
  uint32_t oldest = UINT32_MAX;
  bool full = true, found = false;

  for (uint32_t i = 0; i < WAYS; i++) {
    full = full && set[i].cause != KVI_MISS_NONE;
    oldest = set[i].at < oldest ? set[i].at : oldest;
    if (record_is(&set[i], space, tag)) {
      record_tell(gone, &set[i], departure_p);
      found = true;
    }
  }
  /* of those that went in the oldest one's tick some may be forgotten */
  *since_ns_p = gone->begun_ns + (full ? ((uint64_t)oldest + 1) << TICK_SHIFT : 0);
  return found;
}
