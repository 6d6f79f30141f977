/* tiers/ssd/recover_private.h: what the files recover*.c share while a directory is opened. */
#ifndef KVASIR_TIERS_SSD_RECOVER_PRIVATE_H
#define KVASIR_TIERS_SSD_RECOVER_PRIVATE_H

#include "tiers/ssd/volume_private.h"

/* A used file while the directory is opened. */
struct kvi_ssd_used {
  uint32_t file;
  struct kvi_ssd_use use;
  struct kvi_ssd_trailer trailer;
  uint8_t *body; /* NULL: none, or of no use */
  bool headless; /* its header was damaged, and is to be written again */
  bool unsealed;
  /* it may have a footer that is good at another start, and would hide what was written behind it: it gets a new one */
  bool perhaps_sealed;
  bool uncertain;               /* not all of it could be read */
  struct kvi_ssd_footer footer; /* of an unsealed one */
};

/* A deletion, and where it was found. */
struct kvi_ssd_deleted {
  struct kvi_ssd_deletion deletion;
  uint32_t file;
};

struct kvi_ssd_recovery {
  struct kvi_ssd_volume *volume;
  kvi_medium_found_fn *found;
  struct kvi_ssd_used *used;
  uint32_t n_used;
  struct kvi_ssd_deleted *deletions; /* by name, the newest of each first */
  size_t n_deletions, deletions_room;
  uint64_t all_deleted; /* up to this generation everything is */
  bool known_directory;
  bool uncertain; /* a read has failed: what is there may be found at another start */
  uint8_t *window, *record;
  const uint8_t *hung; /* memory that a device which does not answer still has; NULL */
};

/* ---- recover_io.c ---- */

/* One operation, waited for, and tried again after an error. Returns its errno. */
int kvi_ssd_recover_io(struct kvi_ssd_recovery *recovery, enum kvi_ssd_io_kind kind, uint32_t file,
                       uint64_t at, uint8_t *bytes, size_t length);

/* Frees blocks that operations read to or wrote from, unless the device still has them. */
void kvi_ssd_recover_free(const struct kvi_ssd_recovery *recovery, uint8_t *blocks);

/* ---- recover_headers.c ---- */

/* Something of the file cannot be read: it is neither freed nor written until the next start, which may find it. Logged. */
void kvi_ssd_recover_bad(struct kvi_ssd_recovery *recovery, uint32_t file);
/* Fills recovery->used, oldest first, and makes bad what cannot be told. KVS_ERR_VERSION, KVS_ERR_IO, KVS_ERR_SYSTEM. */
kvs_status kvi_ssd_recover_headers(struct kvi_ssd_recovery *recovery);

/* ---- recover.c ---- */

/* Calls on_record for each of a file's list. It ends at its end, or when that does not say KVS_OK. Returns KVS_OK or KVS_ERR_NOMEM. */
typedef kvs_status kvi_ssd_recover_fn(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                      const struct kvi_ssd_record *record, void *ctx);
kvs_status kvi_ssd_recover_each(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                kvi_ssd_recover_fn *on_record, void *ctx);
/* A chunk that is to be told. All deletions are known. */
bool kvi_ssd_recover_counts(const struct kvi_ssd_recovery *recovery, const struct kvi_ssd_record *record);
void kvi_ssd_recover_generation(struct kvi_ssd_volume *volume, uint64_t generation);

/* ---- recover_deletions.c ---- */

/* Reads those of a record. KVS_ERR_NOMEM. */
kvs_status kvi_ssd_recover_deletions(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                     const struct kvi_ssd_record *listed);
/* Then, to ask: */
void kvi_ssd_recover_deletions_sort(struct kvi_ssd_recovery *recovery);
bool kvi_ssd_recover_is_deleted(const struct kvi_ssd_recovery *recovery, const struct kvi_ssd_record *record);
/* Whatever the file says of deletions others say too. Not after unify. */
bool kvi_ssd_recover_deletions_elsewhere(const struct kvi_ssd_recovery *recovery, uint32_t file);
/* The newest of each name is kept. */
void kvi_ssd_recover_deletions_unify(struct kvi_ssd_recovery *recovery);

/* ---- recover_target.c ---- */

/*
 * If no file is free, the newest is what another was being moved to (reclaim.c): all that is in it lies elsewhere too. It is freed, if that is so. Before
 * chunks are told. KVS_ERR_NOMEM.
 */
kvs_status kvi_ssd_recover_target(struct kvi_ssd_recovery *recovery);

/* ---- recover_scan.c ---- */

/* Reads the list of a file: its footer, or, if it has none, all its records. used->body NULL then: it holds nothing. KVS_ERR_NOMEM. */
kvs_status kvi_ssd_recover_list(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used);
/* The newest unsealed file is written on; the others are sealed. KVS_ERR_NOMEM. */
kvs_status kvi_ssd_recover_unsealed(struct kvi_ssd_recovery *recovery);

#endif
