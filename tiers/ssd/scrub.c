/*
 * tiers/ssd/scrub.c: reads the chunks of sealed files, slowly, file after file, so that what decays, or cannot be read, is found before somebody asks for it.
 * Not the open file, whose turn comes, and not deletions, of which there is nothing to mend them from.
 */
#include <stdlib.h>

#include "base/log.h"
#include "tiers/ssd/volume_private.h"

#define TRIES    3u                    /* to read a record */
#define AGAIN_NS (200 * KVI_NS_PER_MS) /* after an error, and no sooner than the rate lets it */

static bool record_wanted(struct kvi_ssd_walk *walk, const struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = walk->volume;

  return record->kind == KVI_SSD_CHUNK &&
         volume->owner.holds(volume->owner.ctx, &record->identity,
                             kvi_ssd_handle_of(volume, walk->file, record->at, record->bytes));
}

static bool is_sound(const struct kvi_ssd_walk *walk, const uint8_t *bytes)
{
  const struct kvi_ssd_use *use = &walk->volume->files[walk->file].use;
  struct kvi_ssd_record record;

  return kvi_ssd_record_read(bytes, use, walk->record.at, &record) == KVS_OK &&
         record.bytes == walk->record.bytes && record.kind == walk->record.kind &&
         kvi_ssd_record_check(bytes, record.bytes, &record, true, NULL) == KVS_OK;
}

/* What an error says of the device is counted elsewhere. The record is tried again; in the end the store is to promise it no more. */
static void record_unreadable(struct kvi_ssd_walk *walk, kvi_medium_handle handle)
{
  struct kvi_ssd_volume *volume = walk->volume;

  if (++walk->tries < TRIES) {
    walk->again = true;
    return;
  }
  walk->tries = 0;
  kvi_log_limited(KVI_LOG_WARN, "%s: a chunk of log file %u cannot be read: it is given up", volume->name,
                  walk->file);
  volume->owner.lost(volume->owner.ctx, handle, handle);
}

static void record_came(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_volume *volume = walk->volume;
  kvi_medium_handle handle = kvi_ssd_handle_of(volume, walk->file, walk->record.at, walk->record.bytes);
  uint64_t pause = walk->record.bytes * KVI_NS_PER_S / volume->config.scrub_bytes_per_s;
  bool sound = error == 0 && is_sound(walk, op->buffer.bytes);

  pthread_mutex_lock(&volume->lock);
  volume->stats.scrubbed_bytes += walk->record.bytes;
  volume->stats.corrupt += error == 0 && !sound;
  pthread_mutex_unlock(&volume->lock);
  kvi_ssd_op_free(op);
  if (error != 0) {
    record_unreadable(walk, handle);
    pause = pause > AGAIN_NS ? pause : AGAIN_NS;
  } else {
    walk->tries = 0;
    if (!sound)
      volume->owner.corrupt(volume->owner.ctx, &walk->record.identity, handle);
  }
  volume->scrub_next_ns = kvi_now_ns() + pause;
  walk->paused = true;
}

static void go_on(struct kvi_ssd_walk *walk)
{
  struct kvi_ssd_volume *volume = walk->volume;

  walk->paused = false;
  if (!walk->again || !record_wanted(walk, &walk->record)) {
    walk->again = false;
    walk->tries = 0;
    kvi_ssd_walk_next(walk);
    return;
  }
  walk->again = false;
  if (volume->errors_in_row > 0)
    volume->errors_in_row--; /* the same record once more says nothing new of the device */
  kvi_ssd_walk_again(walk);
}

static void walk_over(struct kvi_ssd_walk *walk, kvs_status status)
{
  (void)status; /* a footer that cannot be read is reclaim's to deal with */
  walk->volume->scrub = NULL;
  kvi_ssd_walk_free(walk);
}

static void begin(struct kvi_ssd_volume *volume, uint32_t file)
{
  struct kvi_ssd_walk *walk = calloc(1, sizeof(*walk));

  if (!walk)
    return;
  walk->volume = volume;
  walk->file = file;
  walk->on_record = record_wanted;
  walk->on_bytes = record_came;
  walk->on_end = walk_over;
  volume->scrub = walk;
  if (kvi_ssd_walk_start(walk) == KVS_OK)
    return;
  volume->scrub = NULL;
  kvi_ssd_walk_free(walk);
}

void kvi_ssd_scrub_step(struct kvi_ssd_volume *volume)
{
  struct kvi_ssd_walk *walk = volume->scrub;
  uint64_t now = kvi_now_ns();

  if (volume->config.scrub_bytes_per_s == 0 || now < volume->scrub_next_ns)
    return;
  if (walk && walk->paused) {
    go_on(walk);
    return;
  }
  if (walk) {
    kvi_ssd_walk_step(walk);
    return;
  }
  for (uint32_t i = 0; i < volume->n_files; i++) {
    uint32_t file = (volume->scrub_file + 1 + i) % volume->n_files;

    if (volume->files[file].state != KVI_SSD_SEALED || (volume->reclaim && volume->reclaim->file == file))
      continue;
    volume->scrub_file = file;
    begin(volume, file);
    break;
  }
  volume->scrub_next_ns = now + KVI_NS_PER_S; /* between files; each record says when the next is due */
}
