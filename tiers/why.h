/*
 * tiers/why.h: why a get of a chunk misses: what an operator asks. All of it is of the asking tenant. An answer depends on others in this alone: records of what went are of a fixed number for all, and spaces beyond the newest are not looked at.
 *
 * Threads: any. Takes the store's lock for bounded work, in steps.
 */
#ifndef KVASIR_TIERS_WHY_H
#define KVASIR_TIERS_WHY_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/space.h>

#include "proto/service.h"
#include "tiers/damage.h"
#include "tiers/store.h"

/* How a chunk went. */
struct kvi_departure {
  enum kvi_miss_cause cause;
  enum kvi_evict_rule rule; /* KVI_EVICT_RULES: it was not evicted by the store */
  uint64_t at_ns;           /* by the departure clock; rounded down a little */
  uint64_t idle_ns;         /* since its last use, when it went */
  bool timed;               /* it was kept for a time that somebody told, or that the policy pins for */
  int64_t over_ns; /* so long ago that had run out when it went; negative: it still had so long to run */
  uint64_t length; /* payload */
  double
      price; /* that the policy gave it: seconds saved for each second and byte of keeping it; NAN: the policy has none */
  bool by_price; /* that is what the policy went by just then; else the last use */
  bool below;    /* it had a copy in the tier below memory, which went too */
};

/* Another space of the tenant. */
struct kvi_why_space {
  uint8_t digest[KVS_DIGEST_SIZE];
  size_t
      n_differences; /* fields that differ from the asked one; 0: one of the two has not been told by a client */
  char differences[512];
};

struct kvi_why {
  /* Why a get misses now; KVI_MISS_NONE: it does not, as far as this store knows. */
  enum kvi_miss_cause cause;
  bool landing; /* a put of it is under way */
  bool
      here; /* there is something of it: `chunk`. With a cause: not what was asked for (KVI_MISS_QUALITY), or out of reach (KVI_MISS_TIER) */
  struct kvi_chunk_info chunk;
  bool went; /* it was here once, and went: `departure`, the last time. Also of one that came again */
  struct kvi_departure departure;
  uint64_t now_ns;   /* of the departure clock */
  uint64_t since_ns; /* what went later than that is remembered, by the same */
  bool since_open;   /* that is when the store was opened */
  bool damaged;      /* it is one of the last chunks that were dropped because of a checksum: `damage` */
  struct kvi_damage damage;
  uint32_t
      n_others; /* other spaces of the tenant that have this key; of those with a description `other` is the nearest */
  struct kvi_why_space other;
};

#define KVI_WHY_SPACES 4096u /* of all tenants, that are looked at for the key; the newest */

/*
 * loss_max: as of a get. desc: of the space, for `other`, if the store has none; NULL: none. No use of the chunk, and not counted. Errors: KVS_ERR_KEY_LENGTH (keys of this space have
 * another length). A space that is not known is KVI_MISS_SPACE.
 */
kvs_status kvi_store_why(struct kvi_store *store, const char *tenant, const uint8_t *space,
                         const kvs_space_desc *desc, const uint8_t *key, uint32_t key_length,
                         uint32_t loss_max, struct kvi_why *why_p);
/*
 * When it went from here the last time, by the departure clock; if that is forgotten, or it never did, since when it would be remembered: it went no later than that.
 */
uint64_t kvi_store_went_ns(struct kvi_store *store, const char *tenant, const uint8_t *space,
                           const uint8_t *key, uint32_t key_length);
/* The known space of the tenant that differs in the fewest fields from this description. False: there is none that differs. */
bool kvi_store_space_nearest(struct kvi_store *store, const char *tenant, const kvs_space_desc *desc,
                             struct kvi_why_space *nearest_p);

/* A get in any other space misses, whatever other tiers have of it. */
bool kvi_store_knows_space(struct kvi_store *store, const char *tenant, const uint8_t *space);

/* There is a tier below memory, and no part of it works. */
bool kvi_store_medium_is_out(struct kvi_store *store);

/* "room", "index", "asked", "quota", "closed"; "" of KVI_EVICT_RULES. */
const char *kvi_evict_rule_name(enum kvi_evict_rule rule);

#endif
