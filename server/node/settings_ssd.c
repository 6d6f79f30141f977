/* settings_ssd.c: the SSD tier, and whether its settings fit each other. */
#include <string.h>

#include "base/text.h"
#include "server/node/settings_rows.h"

#define LOG_FILES_MIN 4u

static const char *const durabilities[] = {"none", "seal", "put", NULL}; /* enum kvi_ssd_durability */

static const kvi_config_row rows[] = {
    {.name = "ssd.paths",
     AT(LIST, ssd_paths),
     .standard = "",
     .min = 0,
     .max = 16,
     .doc = "Directories of the SSD tier, best each on a device of its own; empty for none. Each is made if "
            "it is missing and its parent is there, filled with log files of its share of `ssd.size` at "
            "once, and used by one node alone. What is found there at start is served again."},
    {.name = "ssd.size",
     AT(SIZE, ssd_size),
     .standard = "0",
     .min = 0,
     .max = 16 * TIB,
     .doc = "Disk space of the SSD tier, all directories together, in whole log files. The tier never takes "
            "more. Each directory needs at least four log files."},
    {.name = "ssd.log_file_size",
     AT(SIZE, ssd_log_file_size),
     .standard = "256MiB",
     .min = 1 * MIB,
     .max = 16 * GIB,
     .doc = "Size of a log file, in whole MiB, at least twice `chunk.max_size`. Space is freed by whole log "
            "files. Another value than the directory has empties it."},
    {.name = "ssd.durability",
     AT(ENUM, ssd_durability),
     .standard = "seal",
     .choices = durabilities,
     .doc = "What a power cut leaves. `none`: what the device has. `seal`: all full log files. `put`: every "
            "chunk that counts as safe on SSD, at the price of a sync for each batch of them. A crash of the "
            "node alone loses nothing that was written, with each of them."},
    {.name = "ssd.write",
     AT(ENUM, ssd_write),
     .standard = "all",
     .choices = kvi_settings_admissions,
     .doc = "Which chunks are written to SSD. `all`; `reused`: once a chunk was got, or put a second time, "
            "which spares the device what nobody comes back for, and loses it when memory is needed; `none`: "
            "what is there is read, and nothing is added."},
    {.name = "ssd.codec",
     AT(ENUM, ssd_codec),
     .standard = "lossless",
     .choices = kvi_settings_codecs,
     .doc = "How chunks are made smaller on their way to SSD. `lossless`: tensors by what is known of keys "
            "and values (bf16 becomes about 1.5 times smaller), anything else by zstd if that gains "
            "something; not a bit changes. `ladder`: tensors whose owner allows the loss are quantised, with "
            "`codec.planes` (2: as exact as FP8, and about 2.8 times smaller); the others as with "
            "`lossless`. `cachegen`: the same as CacheGen's paper does it. `none`: as they were put. What is "
            "there already stays as it is, and is read with each of them."},
    {.name = "ssd.queue",
     AT(INT, ssd_queue),
     .standard = "4096",
     .min = 1,
     .max = 1000000,
     .unit = "chunks",
     .doc =
         "Most chunks that wait to be written to SSD. Beyond it the one that waits longest is not written."},
    {.name = "ssd.depth",
     AT(INT, ssd_depth),
     .standard = "16",
     .min = 1,
     .max = 256,
     .unit = "operations",
     .doc = "Most reads and writes of chunks under way in one directory."},
    {.name = "ssd.copy_limit",
     AT(INT, ssd_copy_limit),
     .standard = "25",
     .min = 1,
     .max = 75,
     .unit = "percent",
     .doc = "How much of the log files that are freed, over time, may be of use still and is written again: "
            "25 % is a third of a byte for each new one. More keeps what is used longer, and writes more. "
            "When leases let nothing go, more is written (docs/tiers.md)."},
    {.name = "ssd.write_budget",
     AT(SIZE, ssd_write_budget),
     .standard = "0",
     .min = 0,
     .max = 1024 * TIB,
     .doc = "Most bytes of new chunks that are written to SSD in a day, to spare it; 0 for no bound. They "
            "come in evenly; an hour's worth may be written at once, and again after each start. Chunks "
            "beyond it stay in memory only."},
    {.name = "ssd.scrub_rate",
     AT(SIZE, ssd_scrub_rate),
     .standard = "8MiB",
     .min = 0,
     .max = 1 * GIB,
     .doc = "Bytes a second of each directory that are read in the background to find damage before a client "
            "does; 0 for none."},
    {.name = "ssd.io_uring",
     AT(BOOL, ssd_io_uring),
     .standard = "true",
     .doc = "Use io_uring where the kernel gives it; else, and without it, plain reads and writes one after "
            "the other. The log says which."},
    {.name = "ssd.discard",
     AT(BOOL, ssd_discard),
     .standard = "true",
     .doc = "Tell the device which log files have been free for half a minute (holes are punched), which "
            "helps most SSDs."},
    {.name = "ssd.test_fault",
     AT(STRING, ssd_test_fault),
     .min = 0,
     .max = 1023,
     .mutable = true,
     .doc = "For tests only: makes operations of this tier fail, late or wrong on purpose, by rules such as "
            "`error:read:0.1,delay:write:200ms,corrupt:read:0.01` (docs/test-faults.md). `off`: no rule yet, "
            "a reload may bring some. Empty, as it should be: there is nothing that could."},
};

const kvi_config_rows kvi_settings_ssd = {.rows = rows, .count = KVI_ARRAY_SIZE(rows)};

static kvs_status check_paths(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);

  for (size_t i = 0; i < values->ssd_paths.count; i++) {
    if (values->ssd_paths.items[i][0] != '/')
      return kvi_config_refuse(config, "ssd.paths", "%s is not an absolute path", values->ssd_paths.items[i]);
    for (size_t j = 0; j < i; j++)
      if (strcmp(values->ssd_paths.items[i], values->ssd_paths.items[j]) == 0)
        return kvi_config_refuse(config, "ssd.paths", "%s is there twice", values->ssd_paths.items[i]);
  }
  return KVS_OK;
}

kvs_status kvi_settings_check_ssd(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char size[KVI_FORMAT_MAX], bound[KVI_FORMAT_MAX];
  uint64_t chunk = values->chunk_max_size < values->dram_size ? values->chunk_max_size : values->dram_size;
  uint64_t file = values->ssd_log_file_size;

  if (values->ssd_paths.count == 0)
    return values->ssd_size == 0
               ? KVS_OK
               : kvi_config_refuse(config, "ssd.size", "is set, but ssd.paths names no directory");
  if (check_paths(config) != KVS_OK)
    return KVS_ERR_CONFIG;
  if (file % MIB != 0)
    return kvi_config_refuse(config, "ssd.log_file_size", "%s are not whole MiB",
                             kvi_format_size(file, size));
  if (file < 2 * chunk)
    return kvi_config_refuse(config, "ssd.log_file_size",
                             "%s are less than two chunks of the largest size (%s)",
                             kvi_format_size(file, size), kvi_format_size(chunk, bound));
  if (values->ssd_size / values->ssd_paths.count / file < LOG_FILES_MIN)
    return kvi_config_refuse(config, "ssd.size", "%s are less than %u log files of %s for each directory",
                             kvi_format_size(values->ssd_size, size), LOG_FILES_MIN,
                             kvi_format_size(file, bound));
  return KVS_OK;
}
