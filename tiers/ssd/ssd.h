/*
 * tiers/ssd/ssd.h: the SSD tier: log files in one or several directories, behind tiers/medium.h. docs/tiers.md is the picture,
 * docs/formats/ssd.md the bytes.
 */
#ifndef KVASIR_TIERS_SSD_SSD_H
#define KVASIR_TIERS_SSD_SSD_H

#include "base/clock.h"
#include "tiers/medium.h"
#include "tiers/ssd/disk.h"

#define KVI_SSD_FILE_BYTES_DEFAULT (256u << 20)
#define KVI_SSD_DISCARD_AFTER_MS   30000u /* of a node */
#define KVI_SSD_DIRECTORIES_MAX    16u
#define KVI_SSD_OPEN_WAIT_NS       (30 * KVI_NS_PER_S)
#define KVI_SSD_FILES_MIN                                                                                    \
  4u /* of a directory: one open, one ready, one free for what is moved, one to be freed */

enum kvi_ssd_durability {
  KVI_SSD_DURABLE_NONE = 0, /* never synced */
  KVI_SSD_DURABLE_SEAL = 1, /* a log file when it is full */
  KVI_SSD_DURABLE_PUT = 2,  /* every chunk before it counts as safe */
};

struct kvi_ssd_config {
  const char *const *paths; /* directories */
  size_t n_paths;
  uint64_t bytes;           /* of all directories together, shared evenly; a hard bound */
  uint64_t file_bytes;      /* 0: the default; a multiple of 1 MiB, at least twice chunk_bytes_max */
  uint64_t chunk_bytes_max; /* payload */
  enum kvi_ssd_durability durability;
  uint32_t depth;             /* reads and writes under way in a directory; 0: 16 */
  uint32_t copy_percent;      /* most that is copied of log files that are freed: docs/tiers.md; 0: 25 */
  bool ring;                  /* io_uring where it is to be had */
  bool discard;               /* tell the device what is not needed */
  uint32_t discard_after_ms;  /* when a log file has been free for so long */
  uint64_t scrub_bytes_per_s; /* of each directory; 0: none */
  uint32_t deletions_max;     /* that wait to be written, in each directory; 0: 65,536; at least 1024 */
  uint64_t
      open_wait_ns; /* for each operation of recover, after which the directory is out; 0: KVI_SSD_OPEN_WAIT_NS */
};

/*
 * Opens the directories. One that cannot be used, as when its device is gone, is logged and left out, and counts as a failed device; even if none is left:
 * then the tier refuses everything. What a person has to put right is an error: KVS_ERR_BUSY: another process has a directory. KVS_ERR_INVALID, logged: sizes
 * that do not fit each other, or a path that is no directory. KVS_ERR_VERSION, logged, here or by recover: a directory has log files of another
 * format, or of another directory.
 */
kvs_status kvi_ssd_create(const struct kvi_ssd_config *config, struct kvi_medium **medium_p);

/* The same over disks that the caller made (tests: with faults). They are destroyed with it, or on error. */
kvs_status kvi_ssd_create_over(const struct kvi_ssd_config *config, struct kvi_ssd_disk *const *disks,
                               struct kvi_medium **medium_p);

#endif
