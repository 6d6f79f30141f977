/*
 * tiers/remember_state.h: what a node remembers of programs over a restart, in memory and as the bytes of its file (docs/formats/waiters.md). Nothing here reads a file, a clock, or the store.
 */
#ifndef KVASIR_TIERS_REMEMBER_STATE_H
#define KVASIR_TIERS_REMEMBER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/space.h>
#include <kvasir/status.h>

#include "tiers/policy/policy.h"
#include "tiers/programs.h"
#include "tiers/store.h"

#define KVI_STATE_WAITERS_MAX  65536u
#define KVI_STATE_SPACES_MAX   65535u
#define KVI_STATE_LEARNED_MAX  1024u
#define KVI_STATE_PROGRAMS_MAX 65536u
#define KVI_STATE_BYTES_MAX    (UINT64_C(64) << 20) /* of a file */
/* What waits for longer, or has not been heard of for longer, counts as that: the longest wait that is told from others. */
#define KVI_STATE_AGE_MOST_NS (UINT64_C(4000000) * 1000000000)

/* Who did not come back and has not been used for longer is not written again. */
#define KVI_STATE_CARRIED_MOST_NS (UINT64_C(14 * 86400) * 1000000000)

/* When it was saved. Of one start of the machine boot_ns goes on evenly; the wall clock goes on over starts, and may be set. */
struct kvi_state_clock {
  uint8_t boot[16]; /* of the machine; zeros: not known */
  uint64_t boot_ns;
  uint64_t wall_ms; /* since 1970 */
};

struct kvi_state_space {
  char tenant[KVI_TENANT_MAX];
  uint8_t digest[KVS_DIGEST_SIZE];
  uint32_t key_length;
};

struct kvi_state_waiter {
  struct kvi_policy_kept
      kept; /* times are ages when it was saved; at: KVI_POLICY_NONE: there is none; space: an index of spaces */
  uint32_t tags[KVI_POLICY_KEPT_CHUNKS][3]; /* of the chunks' keys, by the secret */
};

struct kvi_state_learned {
  uint32_t length;
  uint8_t bytes[KVI_POLICY_LEARNED_MAX];
};

struct kvi_state {
  struct kvi_state_clock clock;
  char policy[16];
  uint64_t secret[KVI_STORE_SECRET_WORDS]; /* the store's, by which keys, programs and tools are hashed */
  struct kvi_state_space *spaces;
  struct kvi_state_waiter *waiters; /* the one not used for longest first */
  struct kvi_state_learned *learned;
  struct kvi_program_record *programs; /* the one not heard of for longest first */
  uint32_t n_spaces, n_waiters, n_learned, n_programs;
};

/* Others may know the secret: it is zero now, and what was named by it is not there any more: waiters, and what was learned of tools. */
void kvi_state_disclose(struct kvi_state *state);
/* Frees what it points to, and zeroes it. */
void kvi_state_clear(struct kvi_state *state);

/* *bytes_p is malloc'd. KVS_ERR_NOMEM; KVS_ERR_TOO_LARGE: more than the bounds above. */
kvs_status kvi_state_encode(const struct kvi_state *state, uint8_t **bytes_p, size_t *length_p);
/*
 * Any bytes. *state_p is cleared on an error: KVS_ERR_INVALID: they are something else; KVS_ERR_VERSION: of a later version, whole; KVS_ERR_CORRUPT: cut, or changed; KVS_ERR_NOMEM.
 */
kvs_status kvi_state_decode(const uint8_t *bytes, size_t length, struct kvi_state *state_p);

/*
 * How long ago it was saved: by boot_ns within one start of the machine, else by the wall clock. A wall clock that went back says 0, one that is far ahead a week.
 */
#define KVI_STATE_GAP_MOST_NS (UINT64_C(7 * 86400) * 1000000000)
uint64_t kvi_state_gap_ns(const struct kvi_state_clock *saved, const struct kvi_state_clock *now);

#endif
