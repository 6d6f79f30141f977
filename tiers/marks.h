/*
 * tiers/marks.h: the marks of the memory tier. When a reserve crosses the high mark a thread of the store's is woken; it takes clean chunks out of memory, which
 * is a change of metadata, until the low mark is reached, so that puts and landings find room without making it. docs/tiers.md says what it leaves alone.
 *
 * A reserve that finds room pays one comparison of a number that it has just computed; the one in many that crosses the mark takes the store's lock and
 * wakes the thread. Functions that end in _locked are called with store->lock held; all others without it.
 */
#ifndef KVASIR_TIERS_MARKS_H
#define KVASIR_TIERS_MARKS_H

#include <kvasir/status.h>

struct kvi_store;
struct kvi_marks;

/* Starts the thread; the store has its memory and a tier below. KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_marks_create(struct kvi_store *store, struct kvi_marks **marks_p);
/* Waits for the thread, at most the work of one hold of the lock. NULL is fine. */
void kvi_marks_destroy(struct kvi_marks *marks);

/* As kvi_dram_config.low: ctx is the store. */
void kvi_marks_crossed(void *ctx);
/*
 * What kept the thread from reaching the low mark may have gone: a chunk became clean, or one that was in memory only went. Wakes it if it waits
 * for that and has something to do now.
 */
void kvi_marks_again_locked(struct kvi_store *store);

#endif
