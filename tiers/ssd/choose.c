/* tiers/ssd/choose.c: which log file is to be freed. */
#include "tiers/ssd/volume_private.h"

/* The sealed file with the least alive; of equals, the oldest. KVI_SSD_NONE: there is none. */
static uint32_t candidate_find(struct kvi_ssd_volume *volume, uint64_t *live_p)
{
  uint32_t best = KVI_SSD_NONE;

  for (uint32_t i = 0; i < volume->n_files; i++) {
    const struct kvi_ssd_file *file = &volume->files[i];
    uint64_t live;

    if (file->state != KVI_SSD_SEALED || file->unsynced > 0 || (volume->scrub && volume->scrub->file == i))
      continue;
    live = kvi_ssd_live_bytes(volume, i);
    if (best == KVI_SSD_NONE || live < *live_p ||
        (live == *live_p && file->use.sequence < volume->files[best].use.sequence)) {
      best = i;
      *live_p = live;
    }
  }
  return best;
}

/*
 * The file to free; chunks are let go until one has no more alive than the budget allows. But when a file's worth of them did not do, since what has to stay is
 * everywhere, moving more than the budget is better than emptying the tier, or than no room at all: as long as there is a whole file to move it to.
 */
uint32_t kvi_ssd_choose(struct kvi_ssd_volume *volume)
{
  uint64_t file_bytes = volume->config.file_bytes, live = 0, gone = 0;
  uint64_t budget = file_bytes / 100 * volume->config.copy_percent;

  for (;;) {
    uint32_t file = candidate_find(volume, &live);
    bool bearable = live <= file_bytes / 4 * 3 && volume->ready != KVI_SSD_NONE;
    uint64_t more;

    if (file == KVI_SSD_NONE && volume->n_bad > 0)
      atomic_store_explicit(&volume->no_room, volume->n_free == 0, memory_order_relaxed);
    if (file == KVI_SSD_NONE || live <= budget || (bearable && gone >= file_bytes))
      return file;
    more = volume->owner.make_room(volume->owner.ctx, live - budget);
    gone += more;
    if (more > 0)
      continue;
    if (bearable)
      return file;
    /* with one file left for what is moved, waiting costs nobody anything */
    atomic_store_explicit(&volume->no_room, volume->n_free == 0 && volume->n_freeing == 0,
                          memory_order_relaxed);
    return KVI_SSD_NONE;
  }
}

/* The file whose old chunks have too many deletions kept: moved, they are young. KVI_SSD_NONE: not now. */
uint32_t kvi_ssd_choose_crowding(struct kvi_ssd_volume *volume)
{
  uint32_t file = kvi_ssd_deletions_crowd(volume);
  const struct kvi_ssd_file *in;

  if (file == KVI_SSD_NONE)
    return KVI_SSD_NONE;
  in = &volume->files[file];
  if (in->state != KVI_SSD_SEALED || in->unsynced > 0 || (volume->scrub && volume->scrub->file == file) ||
      volume->n_free == 0)
    return KVI_SSD_NONE;
  return file;
}

/*
 * Nothing can be written any more, and only a file that is given up makes room: one without deletions if there is one, of these the one with the oldest
 * chunks, which is what most deletions are kept for.
 */
uint32_t kvi_ssd_choose_last_resort(const struct kvi_ssd_volume *volume)
{
  uint32_t best = KVI_SSD_NONE;

  for (uint32_t i = 0; i < volume->n_files; i++) {
    const struct kvi_ssd_file *file = &volume->files[i], *other;

    if (file->state != KVI_SSD_SEALED || file->unsynced > 0 || (volume->scrub && volume->scrub->file == i) ||
        file->reading > 0) /* what is being read would look damaged */
      continue;
    other = best == KVI_SSD_NONE ? NULL : &volume->files[best];
    if (!other || (file->deletions == 0 && other->deletions > 0) ||
        ((file->deletions == 0) == (other->deletions == 0) && file->oldest < other->oldest))
      best = i;
  }
  return best;
}
