/*
 * tiers/ssd/volume.h: one directory of log files and the thread that owns it. ssd.c makes a medium of several.
 */
#ifndef KVASIR_TIERS_SSD_VOLUME_H
#define KVASIR_TIERS_SSD_VOLUME_H

#include "tiers/ssd/ssd.h"

struct kvi_ssd_volume;

/* Takes over one that has ended in this directory. */
typedef void kvi_ssd_settled_fn(void *ctx, struct kvi_medium_settle *settle, kvs_status status);

/*
 * Opens the log files on the disk, which it takes over (also on error). first_block: the places of its handles begin there, *blocks_p of them are its own.
 * bytes: of this directory. Blocks. Errors as kvi_ssd_create.
 */
kvs_status kvi_ssd_volume_open(const struct kvi_ssd_config *config, struct kvi_ssd_disk *disk, uint32_t index,
                               const char *name, uint64_t bytes, uint32_t first_block,
                               kvi_ssd_settled_fn *settled, void *settled_ctx, uint32_t *blocks_p,
                               struct kvi_ssd_volume **volume_p);
/* As kvi_medium_ops.recover, and starts the thread. Only once. On an error it has failed: it refuses everything. */
kvs_status kvi_ssd_volume_recover(struct kvi_ssd_volume *volume, const struct kvi_medium_owner *owner,
                                  kvi_medium_found_fn *found);
kvs_status kvi_ssd_volume_put(struct kvi_ssd_volume *volume, struct kvi_medium_put *put);
kvs_status kvi_ssd_volume_get(struct kvi_ssd_volume *volume, struct kvi_medium_get *get);
void kvi_ssd_volume_drop(struct kvi_ssd_volume *volume, kvi_medium_handle handle);
/* What was put of a chunk until now is not to come back; its name as in a deletion. */
void kvi_ssd_volume_forget(struct kvi_ssd_volume *volume, const uint8_t *name);
/* Percent of those that can wait to be written. 0: it has failed, and nothing will be. */
uint32_t kvi_ssd_volume_deletions(struct kvi_ssd_volume *volume);
/* As kvi_medium_ops.settle, of this directory; `settled` of kvi_ssd_volume_open in place of done. */
kvs_status kvi_ssd_volume_settle(struct kvi_ssd_volume *volume, struct kvi_medium_settle *settle);
/* Bytes of puts that wait, for choosing the least busy one; UINT64_MAX: it takes none. */
uint64_t kvi_ssd_volume_load(struct kvi_ssd_volume *volume);
/* Adds its counters and gauges. */
void kvi_ssd_volume_stats(struct kvi_ssd_volume *volume, struct kvi_medium_stats *stats);
/* Ends its thread: it calls nobody any more. Operations are refused. NULL and again are fine. */
void kvi_ssd_volume_stop(struct kvi_ssd_volume *volume);
void kvi_ssd_volume_destroy(struct kvi_ssd_volume *volume); /* NULL is fine */

#endif
