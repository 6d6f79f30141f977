/*
 * tiers/ssd/recover.c: what the log files hold is told to the store at start. Of a sealed file the footer is read; an unsealed one is read
 * through, and sealed; the newest of these is written on. Files are told by age, so that of two records of one chunk the newer is told last and counts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rand.h"
#include "tiers/ssd/recover_private.h"

#define TRIES            3            /* of an operation */
#define GENERATIONS_LOST (1ull << 32) /* more than what cannot be read may have taken */

uint8_t *kvi_ssd_blocks_alloc(size_t bytes)
{
  void *blocks = NULL;

  return posix_memalign(&blocks, KVI_SSD_BLOCK, kvi_ssd_round(bytes ? bytes : 1, KVI_SSD_BLOCK)) == 0 ? blocks
                                                                                                      : NULL;
}

/* ---- one operation at a time ---- */

struct waited {
  bool ended;
  int error;
};

static void waited_done(struct kvi_ssd_io *io, int error)
{
  struct waited *waited = io->user;

  waited->ended = true;
  waited->error = error;
}

static int io_once(struct kvi_ssd_volume *volume, struct kvi_ssd_io *io)
{
  struct waited waited = {0};

  io->user = &waited;
  kvi_ssd_submit(volume, io);
  while (!waited.ended)
    volume->disk->ops->wait(volume->disk, kvi_now_ns() + KVI_NS_PER_S);
  kvi_ssd_device_said(volume, io->kind == KVI_SSD_READ ? "reading" : "writing", io->file, waited.error);
  return waited.error;
}

int kvi_ssd_recover_io(struct kvi_ssd_recovery *recovery, enum kvi_ssd_io_kind kind, uint32_t file,
                       uint64_t at, uint8_t *bytes, size_t length)
{
  struct kvi_ssd_io io = {
      .kind = kind, .file = file, .at = at, .bytes = bytes, .length = length, .done = waited_done};
  struct kvi_ssd_volume *volume = recovery->volume;
  int error = EIO;

  /* a passing error must not make a deletion unseen, or a file */
  for (int try = 0; try < TRIES && error != 0 && !atomic_load(&volume->failed); try++)
    error = io_once(volume, &io);
  if (kind == KVI_SSD_READ)
    volume->stats.recovery_read_bytes += length;
  if (error != 0)
    recovery->uncertain = true;
  return error;
}

/* ---- headers ---- */

/* KVS_OK: in use, and added; KVS_MISS: free; KVS_ERR_IO: it cannot be told, so that it is freed before it is used. */
static kvs_status header_look(struct kvi_ssd_recovery *recovery, uint32_t file)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_ssd_header header;
  kvs_status status;
  uint32_t version;

  if (kvi_ssd_recover_io(recovery, KVI_SSD_READ, file, 0, volume->header_block, KVI_SSD_BLOCK) != 0) {
    volume->files[file].oldest = 0;
    kvi_ssd_file_free(volume, file);
    return KVS_ERR_IO;
  }
  status = kvi_ssd_header_read(volume->header_block, &header, &version);
  if (status == KVS_ERR_VERSION) {
    kvi_log_error("%s: log file %u is of format %u, this program reads %u: remove the log files, or use the "
                  "program that wrote them",
                  volume->name, file, version, KVI_SSD_VERSION);
    return status;
  }
  if (status != KVS_OK || header.sequence == 0)
    return KVS_MISS;
  if (header.number != file || header.file_bytes != volume->config.file_bytes ||
      (recovery->known_directory && memcmp(header.directory, volume->directory, KVI_SSD_ID_BYTES) != 0)) {
    kvi_log_error("%s: log file %u belongs to another directory or place", volume->name, file);
    return KVS_ERR_VERSION;
  }
  memcpy(volume->directory, header.directory, KVI_SSD_ID_BYTES);
  recovery->known_directory = true;
  recovery->used[recovery->n_used++] =
      (struct kvi_ssd_used){.file = file, .use = {.sequence = header.sequence, .nonce = header.nonce}};
  return KVS_OK;
}

static int used_compare(const void *a, const void *b)
{
  const struct kvi_ssd_used *x = a, *y = b;

  return (x->use.sequence > y->use.sequence) - (x->use.sequence < y->use.sequence);
}

static kvs_status headers_read(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  for (uint32_t i = 0; i < volume->n_files; i++) {
    kvs_status status = header_look(recovery, i);

    if (status == KVS_ERR_VERSION || atomic_load(&volume->failed))
      return status;
  }
  if (!recovery->known_directory && kvi_random_bytes(volume->directory, KVI_SSD_ID_BYTES) != KVS_OK)
    return KVS_ERR_SYSTEM;
  if (recovery->n_used > 0)
    qsort(recovery->used, recovery->n_used, sizeof(*recovery->used), used_compare);
  if (recovery->n_used > 0)
    volume->sequence = recovery->used[recovery->n_used - 1].use.sequence;
  return KVS_OK;
}

/* ---- lists ---- */

bool kvi_ssd_recover_counts(const struct kvi_ssd_recovery *recovery, const struct kvi_ssd_record *record)
{
  const struct kvi_ssd_volume *volume = recovery->volume;

  return record->kind == KVI_SSD_CHUNK && record->at % KVI_SSD_BLOCK == 0 && record->at >= KVI_SSD_BLOCK &&
         record->bytes % KVI_SSD_BLOCK == 0 && record->bytes <= volume->record_bytes_max &&
         record->bytes <= volume->config.file_bytes &&
         record->at <= volume->config.file_bytes - record->bytes && record->length > 0 &&
         record->length <= record->bytes && !kvi_ssd_recover_is_deleted(recovery, record);
}

kvs_status kvi_ssd_recover_each(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                                kvi_ssd_recover_fn *on_record, void *ctx)
{
  struct kvi_ssd_footer_reader reader;
  char tenant[KVI_MEDIUM_TENANT_MAX];
  struct kvi_ssd_record record;
  kvs_status status;

  if (!used->body ||
      kvi_ssd_footer_open(used->body, used->trailer.body_bytes, &used->trailer, &reader) != KVS_OK)
    return KVS_OK;
  do {
    status = kvi_ssd_footer_next(&reader, &record, tenant);
    if (status == KVS_OK)
      status = on_record(recovery, used, &record, ctx);
  } while (status == KVS_OK);
  kvi_ssd_footer_close(&reader);
  return status == KVS_ERR_NOMEM ? status : KVS_OK;
}

void kvi_ssd_recover_generation(struct kvi_ssd_volume *volume, uint64_t generation)
{
  if (generation > volume->generation)
    volume->generation = generation;
}

/* For deletions and generations. */
static kvs_status record_note(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                              const struct kvi_ssd_record *record, void *ctx)
{
  (void)ctx;
  kvi_ssd_contents_note(recovery->volume, used->file, record);
  kvi_ssd_recover_generation(recovery->volume, record->generation);
  return record->kind == KVI_SSD_DELETIONS ? kvi_ssd_recover_deletions(recovery, used, record) : KVS_OK;
}

static kvs_status chunk_tell(struct kvi_ssd_recovery *recovery, const struct kvi_ssd_used *used,
                             const struct kvi_ssd_record *record, void *ctx)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_medium_found found = {.identity = record->identity, .length = record->length};

  (void)ctx;
  if (!kvi_ssd_recover_counts(recovery, record))
    return KVS_OK;
  found.handle = kvi_ssd_handle_of(volume, used->file, record->at, record->bytes);
  /* counted first: the store may drop it at once */
  kvi_ssd_live_add(volume, used->file, record->bytes);
  if (!recovery->found(volume->owner.ctx, &found)) {
    kvi_ssd_volume_drop(volume, found.handle);
    return KVS_OK;
  }
  volume->stats.recovered_chunks++;
  volume->stats.recovered_bytes += record->length;
  return KVS_OK;
}

static kvs_status lists_tell(struct kvi_ssd_recovery *recovery)
{
  kvs_status status = KVS_OK;

  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++)
    status = kvi_ssd_recover_each(recovery, &recovery->used[i], record_note, NULL);
  kvi_ssd_recover_deletions_sort(recovery);
  if (status == KVS_OK)
    status = kvi_ssd_recover_target(recovery);
  kvi_ssd_recover_deletions_unify(recovery);
  if (recovery->uncertain)
    recovery->volume->generation += GENERATIONS_LOST;
  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++)
    status = kvi_ssd_recover_each(recovery, &recovery->used[i], chunk_tell, NULL);
  return status;
}

static kvs_status files_load(struct kvi_ssd_recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  kvs_status status = headers_read(recovery);

  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++) {
    const struct kvi_ssd_used *used = &recovery->used[i];
    struct kvi_ssd_file *file = &volume->files[used->file];

    status = kvi_ssd_recover_list(recovery, &recovery->used[i]);
    if (used->uncertain)
      file->oldest = 0;
    if (used->body) {
      file->use = used->use;
      file->state = KVI_SSD_SEALED;
    } else {
      kvi_ssd_file_free(
          volume, used->file); /* nothing was found in it; its header says that there may be something */
    }
  }
  if (status == KVS_OK)
    status = kvi_ssd_recover_unsealed(recovery);
  for (uint32_t i = 0; i < volume->n_files; i++)
    volume->n_free += volume->files[i].state == KVI_SSD_FREE;
  return status;
}

kvs_status kvi_ssd_recover(struct kvi_ssd_volume *volume, kvi_medium_found_fn *found)
{
  struct kvi_ssd_recovery recovery = {.volume = volume, .found = found};
  kvs_status status;

  recovery.used = calloc(volume->n_files, sizeof(*recovery.used));
  if (!recovery.used)
    return KVS_ERR_NOMEM;
  status = files_load(&recovery);
  if (status == KVS_OK && atomic_load(&volume->failed))
    status = KVS_ERR_IO;
  if (status == KVS_OK)
    status = lists_tell(&recovery);
  for (uint32_t i = 0; i < recovery.n_used; i++) {
    kvi_ssd_footer_clear(&recovery.used[i].footer);
    free(recovery.used[i].body);
  }
  free(recovery.used);
  free(recovery.deletions);
  free(recovery.window);
  free(recovery.record);
  return status;
}
