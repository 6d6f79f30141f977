/* tiers/ssd/scrub.c: reads what is kept, slowly, file after file, so that decay is found before somebody asks for the chunk. */
#include <stdlib.h>

#include "tiers/ssd/volume_private.h"

static bool record_wanted(struct kvi_ssd_walk *walk, const struct kvi_ssd_record *record)
{
  struct kvi_ssd_volume *volume = walk->volume;

  return record->kind == KVI_SSD_CHUNK &&
         volume->owner.holds(volume->owner.ctx, &record->identity,
                             kvi_ssd_handle_of(volume, walk->file, record->at, record->bytes));
}

static void record_came(struct kvi_ssd_walk *walk, struct kvi_ssd_op *op, int error)
{
  struct kvi_ssd_volume *volume = walk->volume;
  struct kvi_ssd_record record;
  /* an error of the device is counted elsewhere, and says nothing of the bytes */
  bool sound =
      error != 0 || (kvi_ssd_record_read(op->buffer.bytes, &volume->files[walk->file].use, walk->record.at,
                                         &record) == KVS_OK &&
                     record.bytes == walk->record.bytes && record.kind == walk->record.kind &&
                     kvi_ssd_record_check(op->buffer.bytes, record.bytes, &record, true, NULL) == KVS_OK);

  pthread_mutex_lock(&volume->lock);
  volume->stats.scrubbed_bytes += walk->record.bytes;
  volume->stats.corrupt += !sound;
  pthread_mutex_unlock(&volume->lock);
  kvi_ssd_op_free(op);
  if (!sound)
    volume->owner.corrupt(volume->owner.ctx, &walk->record.identity,
                          kvi_ssd_handle_of(volume, walk->file, walk->record.at, walk->record.bytes));
  volume->scrub_next_ns = kvi_now_ns() + walk->record.bytes * KVI_NS_PER_S / volume->config.scrub_bytes_per_s;
  walk->paused = true;
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
    walk->paused = false;
    kvi_ssd_walk_next(walk);
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
