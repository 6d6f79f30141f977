/*
 * tiers/ssd/recover.c: what the log files hold is told to the store at start. Of a sealed file the footer is read; an unsealed one is read
 * through, and sealed; the newest of these is written on, since it may be the one that something was being moved to, with no other free. Files are told by age, so that of two records of one chunk the newer is told last and counts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rand.h"
#include "tiers/ssd/volume_private.h"

#define WINDOW (1u << 20) /* of an unsealed file that is searched at a time */

/* A used file while the directory is opened. */
struct used {
  uint32_t file;
  struct kvi_ssd_use use;
  struct kvi_ssd_trailer trailer;
  uint8_t *body; /* NULL: none, or of no use */
  bool unsealed;
  struct kvi_ssd_footer footer; /* of an unsealed one */
};

struct recovery {
  struct kvi_ssd_volume *volume;
  kvi_medium_found_fn *found;
  struct used *used;
  uint32_t n_used;
  struct kvi_ssd_deletion *deletions;
  size_t n_deletions, deletions_room;
  bool known_directory;
  uint8_t *window, *record;
};

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

static int io_wait(struct kvi_ssd_volume *volume, enum kvi_ssd_io_kind kind, uint32_t file, uint64_t at,
                   uint8_t *bytes, size_t length)
{
  struct waited waited = {0};
  struct kvi_ssd_io io = {.kind = kind,
                          .file = file,
                          .at = at,
                          .bytes = bytes,
                          .length = length,
                          .done = waited_done,
                          .user = &waited};

  kvi_ssd_submit(volume, &io);
  while (!waited.ended)
    volume->disk->ops->wait(volume->disk, kvi_now_ns() + KVI_NS_PER_S);
  kvi_ssd_device_said(volume, kind == KVI_SSD_READ ? "reading" : "writing", file, waited.error);
  if (kind == KVI_SSD_READ)
    volume->stats.recovery_read_bytes += length;
  return waited.error;
}

/* ---- headers ---- */

/* KVS_OK: in use, and added; KVS_MISS: free. */
static kvs_status header_look(struct recovery *recovery, uint32_t file)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_ssd_header header;
  kvs_status status;

  if (io_wait(volume, KVI_SSD_READ, file, 0, volume->header_block, KVI_SSD_BLOCK) != 0)
    return KVS_ERR_IO;
  status = kvi_ssd_header_read(volume->header_block, &header);
  if (status == KVS_ERR_VERSION) {
    kvi_log_error("%s: log file %u is of a format that this version does not know", volume->name, file);
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
      (struct used){.file = file, .use = {.sequence = header.sequence, .nonce = header.nonce}};
  return KVS_OK;
}

static int used_compare(const void *a, const void *b)
{
  const struct used *x = a, *y = b;

  return (x->use.sequence > y->use.sequence) - (x->use.sequence < y->use.sequence);
}

static kvs_status headers_read(struct recovery *recovery)
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

/* ---- one file's list of records ---- */

/* False: it has no footer, or not a whole one. */
static bool footer_load(struct recovery *recovery, struct used *used)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_ssd_footer_reader reader;
  size_t room;

  if (io_wait(volume, KVI_SSD_READ, used->file, volume->config.file_bytes - KVI_SSD_BLOCK,
              volume->header_block, KVI_SSD_BLOCK) != 0 ||
      kvi_ssd_trailer_read(volume->header_block, &used->use, volume->config.file_bytes, &used->trailer) !=
          KVS_OK)
    return false;
  room = kvi_ssd_round(used->trailer.body_bytes, KVI_SSD_BLOCK);
  used->body = kvi_ssd_blocks_alloc(room);
  if (used->body && room > 0 &&
      io_wait(volume, KVI_SSD_READ, used->file, used->trailer.body_at, used->body, room) == 0 &&
      kvi_ssd_footer_open(used->body, room, &used->trailer, &reader) == KVS_OK) {
    kvi_ssd_footer_close(&reader);
    return true;
  }
  free(used->body);
  used->body = NULL;
  return false;
}

/* The record at this place, if a whole one is there; its bytes are in recovery->record. */
static bool record_look(struct recovery *recovery, const struct used *used, uint64_t at, const uint8_t *head,
                        struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  if (kvi_ssd_record_read(head, &used->use, at, record) != KVS_OK ||
      record->bytes > volume->record_bytes_max || at + record->bytes > volume->config.file_bytes ||
      io_wait(volume, KVI_SSD_READ, used->file, at, recovery->record, record->bytes) != 0)
    return false;
  return kvi_ssd_record_read(recovery->record, &used->use, at, record) == KVS_OK &&
         kvi_ssd_record_check(recovery->record, record->bytes, record, true, NULL) == KVS_OK;
}

/* All whole records of an unsealed file; *end_p: behind the last one. */
static kvs_status scan(struct recovery *recovery, const struct used *used, struct kvi_ssd_footer *footer,
                       uint64_t *end_p)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  uint64_t last = volume->config.file_bytes - KVI_SSD_BLOCK, window = UINT64_MAX;
  struct kvi_ssd_record record;
  size_t mark;

  *end_p = KVI_SSD_BLOCK;
  for (uint64_t at = KVI_SSD_BLOCK; at < last;) {
    if (at / WINDOW != window) {
      uint64_t first = at / WINDOW * WINDOW;

      window = at / WINDOW;
      if (io_wait(volume, KVI_SSD_READ, used->file, first, recovery->window, WINDOW) != 0)
        memset(recovery->window, 0, WINDOW); /* what is there cannot be had */
    }
    if (!record_look(recovery, used, at, recovery->window + at % WINDOW, &record)) {
      at += KVI_SSD_BLOCK;
      continue;
    }
    if (kvi_ssd_footer_add(footer, &record, &mark) != KVS_OK)
      return KVS_ERR_NOMEM;
    at += record.bytes;
    *end_p = at;
  }
  return KVS_OK;
}

/* Gives a file that was scanned its footer on disk. */
static void seal(struct recovery *recovery, struct used *used)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  uint64_t end = used->trailer.body_at;
  size_t room = kvi_ssd_round(used->trailer.body_bytes, KVI_SSD_BLOCK);

  if (end + room + KVI_SSD_BLOCK > volume->config.file_bytes)
    return; /* writers leave room; should it lack, the file is scanned again next time */
  kvi_ssd_trailer_write(volume->header_block, &used->trailer);
  if (io_wait(volume, KVI_SSD_SYNC, used->file, 0, NULL, 0) == 0 &&
      io_wait(volume, KVI_SSD_WRITE, used->file, end, used->body, room) == 0 &&
      io_wait(volume, KVI_SSD_WRITE, used->file, volume->config.file_bytes - KVI_SSD_BLOCK,
              volume->header_block, KVI_SSD_BLOCK) == 0)
    (void)io_wait(volume, KVI_SSD_SYNC, used->file, 0, NULL, 0);
}

/* The newest unsealed file is written on; the others are sealed. */
static kvs_status unsealed_end(struct recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;

  for (uint32_t i = recovery->n_used; i > 0; i--) {
    struct used *used = &recovery->used[i - 1];

    if (!used->unsealed || !used->body)
      continue;
    if (volume->writer) {
      seal(recovery, used);
      continue;
    }
    volume->writer = calloc(1, sizeof(*volume->writer));
    if (!volume->writer)
      return KVS_ERR_NOMEM;
    volume->writer->volume = volume;
    volume->writer->file = used->file;
    volume->writer->next = used->trailer.body_at;
    volume->writer->footer = used->footer;
    memset(&used->footer, 0, sizeof(used->footer));
    volume->files[used->file].state = KVI_SSD_OPEN;
  }
  return KVS_OK;
}

static kvs_status unsealed_load(struct recovery *recovery, struct used *used)
{
  struct kvi_ssd_footer *footer = &used->footer;
  uint64_t end;
  size_t room;
  kvs_status status;

  if (!recovery->window)
    recovery->window = kvi_ssd_blocks_alloc(WINDOW);
  if (!recovery->record)
    recovery->record = kvi_ssd_blocks_alloc(recovery->volume->record_bytes_max);
  if (!recovery->window || !recovery->record)
    return KVS_ERR_NOMEM;
  status = scan(recovery, used, footer, &end);
  kvi_log_info("%s: log file %u was not sealed, %u records found in it", recovery->volume->name, used->file,
               footer->n_records);
  if (status != KVS_OK || footer->n_records == 0)
    return status;
  room = kvi_ssd_round(kvi_ssd_footer_bytes(footer), KVI_SSD_BLOCK);
  used->unsealed = true;
  used->trailer = (struct kvi_ssd_trailer){.use = used->use, .body_at = end};
  used->body = kvi_ssd_blocks_alloc(room);
  if (!used->body)
    return KVS_ERR_NOMEM;
  memset(used->body, 0, room);
  kvi_ssd_footer_write(footer, used->body, &used->trailer);
  return KVS_OK;
}

/* ---- deletions ---- */

static int deletion_compare(const void *a, const void *b)
{
  const struct kvi_ssd_deletion *x = a, *y = b;

  if (x->sequence != y->sequence)
    return x->sequence < y->sequence ? -1 : 1;
  return (x->at > y->at) - (x->at < y->at);
}

static kvs_status deletions_add(struct recovery *recovery, const struct used *used,
                                const struct kvi_ssd_record *listed)
{
  uint8_t *block = recovery->volume->header_block;
  struct kvi_ssd_record record;

  if (listed->at % KVI_SSD_BLOCK != 0 || listed->at > recovery->volume->config.file_bytes - KVI_SSD_BLOCK ||
      io_wait(recovery->volume, KVI_SSD_READ, used->file, listed->at, block, KVI_SSD_BLOCK) != 0 ||
      kvi_ssd_record_read(block, &used->use, listed->at, &record) != KVS_OK ||
      record.kind != KVI_SSD_DELETIONS || record.bytes != KVI_SSD_BLOCK ||
      kvi_ssd_record_check(block, KVI_SSD_BLOCK, &record, true, NULL) != KVS_OK)
    return KVS_OK; /* counted as nothing: chunks may come back */
  for (uint64_t i = 0; i < record.length; i += KVI_SSD_DELETION) {
    if (recovery->n_deletions == recovery->deletions_room) {
      size_t room = recovery->deletions_room ? recovery->deletions_room * 2 : 1024;
      struct kvi_ssd_deletion *grown = realloc(recovery->deletions, room * sizeof(*grown));

      if (!grown)
        return KVS_ERR_NOMEM;
      recovery->deletions = grown;
      recovery->deletions_room = room;
    }
    recovery->deletions[recovery->n_deletions++] = kvi_ssd_deletion_read(block + KVI_SSD_HEAD + i);
  }
  return KVS_OK;
}

static bool is_deleted(const struct recovery *recovery, uint64_t sequence, uint64_t at)
{
  struct kvi_ssd_deletion wanted = {.sequence = sequence, .at = at};

  return recovery->n_deletions > 0 && bsearch(&wanted, recovery->deletions, recovery->n_deletions,
                                              sizeof(wanted), deletion_compare) != NULL;
}

/* ---- telling ---- */

static void chunk_tell(struct recovery *recovery, const struct used *used,
                       const struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  struct kvi_medium_found found = {.identity = record->identity, .length = record->length};

  if (record->at % KVI_SSD_BLOCK != 0 || record->at < KVI_SSD_BLOCK || record->bytes % KVI_SSD_BLOCK != 0 ||
      record->bytes > volume->record_bytes_max || record->bytes > volume->config.file_bytes ||
      record->at > volume->config.file_bytes - record->bytes || record->length == 0 ||
      record->length > record->bytes || is_deleted(recovery, used->use.sequence, record->at))
    return;
  if (record->generation > volume->generation)
    volume->generation = record->generation;
  found.handle = kvi_ssd_handle_of(volume, used->file, record->at, record->bytes);
  /* counted first: the store may drop it at once */
  kvi_ssd_live_add(volume, used->file, record->bytes);
  if (!recovery->found(volume->owner.ctx, &found)) {
    kvi_ssd_volume_drop(volume, found.handle, false);
    return;
  }
  volume->stats.recovered_chunks++;
  volume->stats.recovered_bytes += record->length;
}

/* Goes through a file's list: for its deletions, or to tell its chunks. */
static kvs_status list_read(struct recovery *recovery, const struct used *used, bool tell)
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
    if (status != KVS_OK)
      break;
    if (tell && record.kind == KVI_SSD_CHUNK)
      chunk_tell(recovery, used, &record);
    else if (!tell && record.kind == KVI_SSD_DELETIONS)
      status = deletions_add(recovery, used, &record);
  } while (status == KVS_OK);
  kvi_ssd_footer_close(&reader);
  return status == KVS_ERR_NOMEM ? status : KVS_OK;
}

static kvs_status lists_tell(struct recovery *recovery)
{
  kvs_status status = KVS_OK;

  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++)
    status = list_read(recovery, &recovery->used[i], false);
  if (recovery->n_deletions > 0)
    qsort(recovery->deletions, recovery->n_deletions, sizeof(*recovery->deletions), deletion_compare);
  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++)
    status = list_read(recovery, &recovery->used[i], true);
  return status;
}

static kvs_status files_load(struct recovery *recovery)
{
  struct kvi_ssd_volume *volume = recovery->volume;
  kvs_status status = headers_read(recovery);

  for (uint32_t i = 0; i < recovery->n_used && status == KVS_OK; i++) {
    struct used *used = &recovery->used[i];

    if (!footer_load(recovery, used))
      status = unsealed_load(recovery, used);
    if (used->body) {
      volume->files[used->file].use = used->use;
      volume->files[used->file].state = KVI_SSD_SEALED;
    }
  }
  if (status == KVS_OK)
    status = unsealed_end(recovery);
  for (uint32_t i = 0; i < volume->n_files; i++)
    volume->n_free += volume->files[i].state == KVI_SSD_FREE;
  return status;
}

kvs_status kvi_ssd_recover(struct kvi_ssd_volume *volume, kvi_medium_found_fn *found)
{
  struct recovery recovery = {.volume = volume, .found = found};
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
