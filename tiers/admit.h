/*
 * tiers/admit.h: puts that are declined, since they are not worth what would have to go for them (docs/policy.md). Without kvi_store.declined nothing is. Functions that end in _locked are called with the store's lock held.
 */
#ifndef KVASIR_TIERS_ADMIT_H
#define KVASIR_TIERS_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

struct kvi_key_tag;
struct kvi_put_request;
struct kvi_store;

/* A put whose landing is open. */
struct kvi_admission {
  uint32_t entry, parent; /* parent: KVI_NONE */
  const struct kvi_put_request *request;
};

/* A chunk that was declined for what it is worth; those that only follow one are not kept. In sets of KVI_DECLINED_WAYS; in a full one the oldest gives way. */
struct kvi_declined {
  uint64_t hash;  /* of its key */
  uint64_t at_ns; /* by the policy's clock; 0: none */
};
#define KVI_DECLINED_MAX  4096u
#define KVI_DECLINED_WAYS 8u

/* Whether it may be declined at all. */
bool kvi_may_decline(const struct kvi_store *store, const struct kvi_put_request *request);
/* Is it worth more than the victim, which would be lost? */
bool kvi_admits_locked(struct kvi_store *store, const struct kvi_admission *admission, uint32_t victim);
/*
 * The chunk before it was declined a moment ago, or follows one that was, and is not there: it could not be used. When that one was, by the monotonic clock; 0: it does not.
 */
uint64_t kvi_follows_declined_locked(struct kvi_store *store, uint32_t space,
                                     const struct kvi_put_request *request);
/* How long ago the entry's chunk was declined, if that was no retry; 0: it was not, as far as is known. */
float kvi_again_s_locked(const struct kvi_store *store, uint32_t entry);
/*
 * It was: counted, and remembered as why it is not there. Before its entry is forgotten, if it has one. followed_ns: as of kvi_follows_declined_locked.
 */
void kvi_declined_locked(struct kvi_store *store, uint32_t space, const struct kvi_key_tag *tag,
                         uint64_t length, uint64_t followed_ns);

#endif
