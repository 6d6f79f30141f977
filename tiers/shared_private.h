/* tiers/shared_private.h: what shared.c (life, counters), shared_write.c, shared_fetch.c, shared_lookup.c, shared_forget.c and shared_expiry.c share. */
#ifndef KVASIR_TIERS_SHARED_PRIVATE_H
#define KVASIR_TIERS_SHARED_PRIVATE_H

#include <pthread.h>

#include <kvasir/keys.h>

#include "tiers/expiries.h"
#include "tiers/rate.h"
#include "tiers/shared.h"

#define KVI_SHARED_WRITES          16u /* given to the medium at a time */
#define KVI_SHARED_WAITS_PER_FETCH 4u
#define KVI_SHARED_LOOKUP_BYTES    (16u << 20) /* of keys in lookups, together */
#define KVI_SHARED_FORGETS         64u         /* deletes at a time */

/* What a chunk is called. */
struct kvi_shared_name {
  char tenant[KVI_TENANT_MAX];
  uint8_t space[KVS_DIGEST_SIZE];
  uint8_t key[KVS_KEY_MAX];
  uint32_t key_length;
};

struct kvi_shared_note {
  struct kvi_shared_name name;
  uint8_t parent[KVS_KEY_MAX];
  bool has_parent, unchained;
  uint32_t place, ttl_ms;
};

/* What a chunk that waits for its first use said of its time to live. Advice: a newer one in its place takes it over. */
#define KVI_SHARED_TTLS 4096u
struct kvi_shared_ttl {
  uint64_t tag; /* of the name */
  uint32_t ttl_ms;
};

struct kvi_shared_fetch {
  struct kvi_medium_get get;
  struct kvi_shared *shared;
  struct kvi_shared_name name;
  uint64_t began_ns;
  uint64_t asked_ns; /* the same by the clock of expiries */
  struct kvi_landing landing;
  bool landed; /* a landing of the store is open */
  bool refill; /* it is one of kvi_store_refill_begin */
  uint64_t length;
  struct kvi_get_wait *waiters;
  struct kvi_get_wait *calling; /* its done is running, on `thread` */
  pthread_t thread;
  bool ending;                   /* nobody joins any more */
  bool forgotten;                /* its chunk was deleted since it began */
  uint64_t until_ns;             /* it is not there, and since then its time is over; 0: it is not */
  struct kvi_shared_fetch *next; /* free, or under way */
};

struct kvi_shared {
  struct kvi_shared_config config; /* defaults filled in */
  struct kvi_medium_attr attr;
  struct kvi_store_lower lower; /* what the store asks */

  pthread_mutex_t
      lock; /* guards the rest; held for bounded work, also over calls of the store and the medium */
  pthread_cond_t called;
  struct kvi_shared_note **queue; /* a ring of config.write_queue */
  struct kvi_shared_ttl *ttls;    /* KVI_SHARED_TTLS; NULL unless chunks wait for their first use */
  struct kvi_expiries *expiries;  /* until when chunks are there */
  uint64_t expiries_seed;
  uint32_t queue_first, queue_length, writing;
  struct kvi_shared_fetch *fetches, *fetch_free, *fetch_busy;
  uint32_t n_waits, looking;
  uint64_t looking_bytes;
  struct kvi_shared_forgetting *forgettings;
  uint32_t n_forgettings;
  bool closing;
  struct kvi_rate rate; /* of writes */
  struct kvi_shared_stats stats;
};

/* KVS_ERR_INVALID, KVS_ERR_KEY_LENGTH: it has no such name. */
kvs_status kvi_shared_name_make(const char *tenant, const uint8_t *space, const uint8_t *key,
                                uint32_t key_length, struct kvi_shared_name *name_p);
struct kvi_medium_identity kvi_shared_identity(const struct kvi_shared_name *name);
bool kvi_shared_name_equal(const struct kvi_shared_name *a, const struct kvi_shared_name *b);
/* It is being deleted just now. */
bool kvi_shared_is_forgotten_locked(const struct kvi_shared *shared, const struct kvi_shared_name *name);
/* shared_fetch.c: fetches of it come to nothing. */
void kvi_shared_fetch_forget_locked(struct kvi_shared *shared, const struct kvi_shared_name *name);
/* shared_write.c: as kvi_store_lower.used. */
void kvi_shared_used(void *shared, const struct kvi_medium_identity *identity);
/* The same as kvi_store_lower.coded. */
void kvi_shared_coded(void *shared);
/* shared_expiry.c: this node has written so many bytes of it / it was used there; at from_ns, from when on it lives for ttl_ms; 0: for ever. */
void kvi_shared_expiry_written_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                      uint64_t from_ns, uint64_t ttl_ms, uint64_t bytes);
void kvi_shared_expiry_used_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                   uint64_t from_ns, uint64_t ttl_ms);
/* A put has found it there at from_ns, so that was a use. It lives for as long as is known of it, else for the longest time. */
void kvi_shared_expiry_found_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                    uint64_t from_ns);
/* Bytes of it that this node has written, and that are there still. */
uint64_t kvi_shared_expiry_bytes_locked(const struct kvi_shared *shared, const struct kvi_shared_name *name);
/* It was asked for at from_ns, and was not there. Since when its time is over; 0: it is not. */
uint64_t kvi_shared_expiry_missed_locked(struct kvi_shared *shared, const struct kvi_shared_name *name,
                                         uint64_t from_ns);
/* It has come to the store again: what is over says nothing of this life of it. */
void kvi_shared_expiry_put_locked(struct kvi_shared *shared, const struct kvi_shared_name *name);
/* It was removed. */
void kvi_shared_expiry_end_locked(struct kvi_shared *shared, const struct kvi_shared_name *name);
/* shared_write.c: what waits to be written goes on. */
void kvi_shared_pump_locked(struct kvi_shared *shared);
void kvi_shared_count(struct kvi_shared *shared, uint64_t *counter, uint64_t n);

#endif
