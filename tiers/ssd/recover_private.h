/* tiers/ssd/recover_private.h: what recover.c and recover_scan.c share while a directory is opened. */
#ifndef KVASIR_TIERS_SSD_RECOVER_PRIVATE_H
#define KVASIR_TIERS_SSD_RECOVER_PRIVATE_H

#include "tiers/ssd/volume_private.h"

/* A used file while the directory is opened. */
struct kvi_ssd_used {
  uint32_t file;
  struct kvi_ssd_use use;
  struct kvi_ssd_trailer trailer;
  uint8_t *body; /* NULL: none, or of no use */
  bool unsealed;
  bool uncertain;               /* not all of it could be read */
  struct kvi_ssd_footer footer; /* of an unsealed one */
};

struct kvi_ssd_recovery {
  struct kvi_ssd_volume *volume;
  kvi_medium_found_fn *found;
  struct kvi_ssd_used *used;
  uint32_t n_used;
  struct kvi_ssd_deletion *deletions; /* by name, the newest of each first */
  size_t n_deletions, deletions_room;
  uint64_t all_deleted; /* up to this generation everything is */
  bool known_directory;
  bool uncertain; /* a read has failed: what is there may be found at another start */
  uint8_t *window, *record;
};

/* One operation, waited for. Returns its errno. */
int kvi_ssd_recover_io(struct kvi_ssd_recovery *recovery, enum kvi_ssd_io_kind kind, uint32_t file,
                       uint64_t at, uint8_t *bytes, size_t length);

/* ---- recover_scan.c ---- */

/* Reads the list of a file: its footer, or, if it has none, all its records. used->body NULL then: it holds nothing. KVS_ERR_NOMEM. */
kvs_status kvi_ssd_recover_list(struct kvi_ssd_recovery *recovery, struct kvi_ssd_used *used);
/* The newest unsealed file is written on; the others are sealed. KVS_ERR_NOMEM. */
kvs_status kvi_ssd_recover_unsealed(struct kvi_ssd_recovery *recovery);

#endif
