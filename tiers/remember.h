/*
 * tiers/remember.h: what a store's policy knows of programs outlives the node: who waits for what, since when, and what was learned of waits are in a file (docs/formats/waiters.md), by the names of chunks, and come back once the chunks are there again.
 *
 * A thread writes it, not more often than each interval and only if the policy was told anything since; so it is never older than that when a node is killed. It takes the store's lock for a few waiters at a time, and no other
 * thread ever waits for the file. open, configure, restore, start and destroy are called in this order by one thread; all but configure block.
 */
#ifndef KVASIR_TIERS_REMEMBER_H
#define KVASIR_TIERS_REMEMBER_H

#include "tiers/programs.h"
#include "tiers/store.h"

struct kvi_remember;

/*
 * Reads the file, if there is one. What is damaged, or of a later version, is moved aside; what is something else is left alone, and then nothing is ever written there. A file that another process has open this way is left alone too (PATH.lock is locked as long as this lives). All that is said in the log, and no error. The folder may
 * come to be later. Of a policy that keeps nothing nothing is written. KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
kvs_status kvi_remember_open(const char *path, uint64_t interval_ms, struct kvi_remember **remember_p);
/* What the store has to be opened with so that it knows names again. Valid until restore. */
void kvi_remember_configure(const struct kvi_remember *remember, struct kvi_store_config *config);
/* The store is open, and has what it found in its tiers; nobody uses it yet. Its policy gets what was read; the log says how much of it. */
void kvi_remember_restore(struct kvi_remember *remember, struct kvi_store *store);
/* Programs get their names; from now on the file is written. KVS_ERR_SYSTEM. */
kvs_status kvi_remember_start(struct kvi_remember *remember, struct kvi_programs *programs);
/* From now on it is being written, if the policy was told anything since it was last; by the thread: this does not block. NULL is fine. */
void kvi_remember_save(struct kvi_remember *remember);
/*
 * The last time that store and programs are looked at. If the policy was told anything since, it is written once more, by the thread, which destroy waits for; so a start without its chunks leaves the file as it is. Blocks for a
 * copy in memory and not for the disk. By the thread that opened. NULL is fine.
 */
void kvi_remember_finish(struct kvi_remember *remember);
/* Also finishes: without finish before it, store and programs are still there. Waits until all is written. NULL is fine. */
void kvi_remember_destroy(struct kvi_remember *remember);

#endif
