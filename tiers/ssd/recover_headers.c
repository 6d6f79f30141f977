/* tiers/ssd/recover_headers.c: which log files are in use at a start, by their headers. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rand.h"
#include "tiers/ssd/recover_private.h"

#define SEQUENCES_LOST (1ull << 32) /* more uses than a file that cannot be read may have come after */

static void used_add(struct kvi_ssd_recovery *recovery, uint32_t file, struct kvi_ssd_use use, bool headless)
{
  recovery->used[recovery->n_used++] = (struct kvi_ssd_used){.file = file, .use = use, .headless = headless};
}

static bool is_zero(const uint8_t block[KVI_SSD_BLOCK])
{
  return block[0] == 0 && memcmp(block, block + 1, KVI_SSD_BLOCK - 1) == 0;
}

/* What is in the header's place is none. Its trailer says what the header said; a file that was freed has none. As header_look. */
static kvs_status trailer_look(struct kvi_ssd_recovery *recovery, uint32_t file)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  uint64_t at = volume->config.file_bytes - KVI_SSD_BLOCK;
  struct kvi_ssd_trailer trailer;

  if (is_zero(volume->header_block))
    return KVS_MISS; /* made just now, or punched */
  if (kvi_ssd_recover_io(recovery, KVI_SSD_READ, file, at, volume->header_block, KVI_SSD_BLOCK) != 0) {
    kvi_ssd_recover_bad(recovery, file);
    return KVS_ERR_IO;
  }
  if (kvi_ssd_trailer_read(volume->header_block, NULL, volume->config.file_bytes, &trailer) != KVS_OK ||
      trailer.use.sequence == 0) {
    kvi_log_error(
        "%s: the header of log file %u is damaged, and it has no footer: if it was in use its chunks "
        "are lost, and chunks that it says are deleted may come back",
        volume->name, file);
    kvi_ssd_file_free(volume, file);
    return KVS_MISS;
  }
  kvi_log_error("%s: the header of log file %u is damaged, and is mended by its footer", volume->name, file);
  used_add(recovery, file, trailer.use, true);
  return KVS_OK;
}

/* KVS_OK: in use, and added; KVS_MISS: free; KVS_ERR_IO: it cannot be told now. */
static kvs_status header_look(struct kvi_ssd_recovery *recovery, uint32_t file)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_ssd_header header;
  kvs_status status;
  uint32_t version;

  if (kvi_ssd_recover_io(recovery, KVI_SSD_READ, file, 0, volume->header_block, KVI_SSD_BLOCK) != 0) {
    kvi_ssd_recover_bad(recovery, file);
    return KVS_ERR_IO;
  }
  status = kvi_ssd_header_read(volume->header_block, &header, &version);
  if (status == KVS_ERR_VERSION) {
    kvi_log_error(KVI_SSD_VERSION_TEXT, volume->name, file, version, KVI_SSD_VERSION);
    return status;
  }
  if (status != KVS_OK)
    return trailer_look(recovery, file);
  if (header.sequence == 0)
    return KVS_MISS;
  if (header.number != file || header.file_bytes != volume->config.file_bytes ||
      (recovery->known_directory && memcmp(header.directory, volume->directory, KVI_SSD_ID_BYTES) != 0)) {
    kvi_log_error("%s: log file %u belongs to another directory or place", volume->name, file);
    return KVS_ERR_VERSION;
  }
  memcpy(volume->directory, header.directory, KVI_SSD_ID_BYTES);
  recovery->known_directory = true;
  used_add(recovery, file, (struct kvi_ssd_use){.sequence = header.sequence, .nonce = header.nonce}, false);
  return KVS_OK;
}

static int used_compare(const void *a, const void *b)
{
  const struct kvi_ssd_used *x = a, *y = b;

  return (x->use.sequence > y->use.sequence) - (x->use.sequence < y->use.sequence);
}

void kvi_ssd_recover_bad(struct kvi_ssd_recovery *recovery, uint32_t file)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  kvi_log_error("%s: chunks of log file %u cannot be read now: it is left as it is until the next start",
                volume->name, file);
  volume->files[file].oldest = 0; /* whatever it holds, all deletions are kept */
  volume->files[file].state = KVI_SSD_BAD;
  volume->n_bad++;
}

/* The directory's id: as in the files that are used, else a new one. */
static kvs_status directory_know(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  if (recovery->known_directory)
    return KVS_OK;
  if (volume->n_bad > 0) { /* a new one would shut out what they hold for good */
    kvi_log_error("%s: no header of a used log file can be read now: its log files are out", volume->name);
    return KVS_ERR_IO;
  }
  return kvi_random_bytes(volume->directory, KVI_SSD_ID_BYTES) == KVS_OK ? KVS_OK : KVS_ERR_SYSTEM;
}

/* Where that fails, the next start does as this one. */
static void headers_mend(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  for (uint32_t i = 0; i < recovery->n_used; i++) {
    const struct kvi_ssd_used *used = &recovery->used[i];
    struct kvi_ssd_header header = {.number = used->file,
                                    .file_bytes = volume->config.file_bytes,
                                    .sequence = used->use.sequence,
                                    .nonce = used->use.nonce};

    if (!used->headless)
      continue;
    memcpy(header.directory, volume->directory, KVI_SSD_ID_BYTES);
    kvi_ssd_header_write(volume->header_block, &header);
    if (kvi_ssd_recover_io(recovery, KVI_SSD_WRITE, used->file, 0, volume->header_block, KVI_SSD_BLOCK) == 0)
      (void)kvi_ssd_recover_io(recovery, KVI_SSD_SYNC, used->file, 0, NULL, 0);
  }
}

kvs_status kvi_ssd_recover_headers(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  kvs_status status;

  for (uint32_t i = 0; i < volume->n_files; i++) {
    status = header_look(recovery, i);
    if (status == KVS_ERR_VERSION)
      return status;
    if (atomic_load(&volume->failed))
      return KVS_ERR_IO;
  }
  status = directory_know(recovery);
  if (status != KVS_OK)
    return status;
  if (recovery->n_used > 0)
    qsort(recovery->used, recovery->n_used, sizeof(*recovery->used), used_compare);
  if (recovery->n_used > 0)
    volume->sequence = recovery->used[recovery->n_used - 1].use.sequence;
  if (volume->n_bad > 0)
    volume->sequence += SEQUENCES_LOST;
  headers_mend(recovery);
  return KVS_OK;
}
