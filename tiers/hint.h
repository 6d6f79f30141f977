/*
 * tiers/hint.h: what a client says of a program, for the policy. Programs and tools are known to it by their hashes, with the tenant's name.
 */
#ifndef KVASIR_TIERS_HINT_H
#define KVASIR_TIERS_HINT_H

#include "tiers/programs.h"
#include "tiers/store.h"

#define KVI_HINT_MS_MOST                                                                                     \
  UINT32_C(1000000000) /* of an announcement or a time to live: eleven days, the policy's own bound */

/* The keys of a hint, or none: n_keys 0. Places are known from the chunks that are here. */
struct kvi_hint_keys {
  const uint8_t *space;
  const uint8_t *keys;
  uint32_t key_length, n_keys;
};

/*
 * With a wait kind: the program's request is answered, and it waits. With keys and no kind: it uses them now. With close: it has ended. Keys name the chain by any part of it: the last of them that is
 * here is where the program is.
 *
 * ACCEPTED, also if the policy does not mind programs; CLIPPED: an announced return (p50, or if that is not said p90) or the time to live is beyond what the policy heeds; DEFERRED: nothing of the program is known; MISSING: none of the keys is here, or the policy knows nothing of what ends.
 * `hint` has been checked (programs.h).
 */
enum kvi_hint_outcome kvi_store_hint(struct kvi_store *store, const struct kvi_program_hint *hint,
                                     const struct kvi_hint_keys *keys);

#endif
