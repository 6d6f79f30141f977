/*
 * tiers/faulty/faulty.h: a medium (medium.h) around another one that makes some of its operations late, wrong, or failing, by rules
 * (rules.h). For tests alone: a node has it only where its configuration asks for it, and says so loudly.
 *
 *   delay    the operation is kept back; then it goes to the inner medium. One whose deadline comes first ends with KVS_ERR_DEADLINE.
 *   error    it never reaches the inner medium
 *   corrupt  a read: the inner medium delivers, a byte is changed, and the get ends with KVS_ERR_CORRUPT, as that of a medium that compares
 *            checksums; silent: it ends well, as if the bytes had changed after that. A write: a byte is changed on the way to the inner
 *            medium, which refuses it if it compares checksums, and else keeps what its readers must refuse.
 *
 * All else is the inner medium's: attributes, recovery, drops, removals, its owner. One around another one works. A write that is kept
 * back while its chunk is removed, or dropped for good, never reaches the inner medium: it ends with KVS_ERR_CANCELED.
 *
 * Threads: as medium.h says; one of its own, "kvi-faulty". Locks: its own comes before those of the inner
 * medium's queues, and is held for a few instructions. An operation that is
 * touched allocates, a corrupted write its payload too.
 */
#ifndef KVASIR_TIERS_FAULTY_FAULTY_H
#define KVASIR_TIERS_FAULTY_FAULTY_H

#include "tiers/faulty/rules.h"
#include "tiers/medium.h"

#define KVI_FAULTY_HELD_MAX                                                                                  \
  4096u /* operations that something happens to, at a time; beyond it KVS_ERR_BUSY */

struct kvi_faulty_stats {
  uint64_t done[KVI_FAULTY_KINDS]; /* operations that it happened to, by kind */
  uint64_t changes;                /* calls of set that were followed, the one of create included */
  uint64_t rules, held;            /* now */
};

/*
 * Takes the inner medium, also when it fails (then it is destroyed). Errors: KVS_ERR_CONFIG (the rules), KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
kvs_status kvi_faulty_create(struct kvi_medium *inner, const char *rules, struct kvi_medium **medium_p);

/* The following need a medium that create has made. */

/* Other rules from now on, counted from their beginning. What is kept back already stays so. KVS_ERR_CONFIG: nothing has changed. */
kvs_status kvi_faulty_set(struct kvi_medium *medium, const char *rules);
void kvi_faulty_stats(struct kvi_medium *medium, struct kvi_faulty_stats *stats_p);

#endif
