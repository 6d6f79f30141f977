/* tiers/ssd/choose.c: which log file is to be freed. */
#include "tiers/ssd/volume_private.h"

/* What has to be written elsewhere before a file may go. */
struct load {
  uint64_t live,
      bytes; /* of the chunks that the store has in it; cramped: with the deletions that are needed */
  uint32_t records;
};

static struct load load_of(struct kvi_ssd_volume *volume, uint32_t file, bool cramped)
{
  const struct kvi_ssd_file *in = &volume->files[file];
  uint64_t deletions = 0;
  struct load load;

  if (cramped && in->deletions > 0 && in->newest_deleted >= kvi_ssd_deletions_needed_from(volume, file))
    deletions = kvi_ssd_deletions_bytes(in->deletions);
  pthread_mutex_lock(&volume->lock);
  load.live = in->live_bytes;
  load.records = in->live + (uint32_t)(deletions / KVI_SSD_BLOCK);
  pthread_mutex_unlock(&volume->lock);
  load.bytes = load.live + deletions;
  return load;
}

/* The sealed file with the least alive, or, cramped, with the least to be moved; of equals, the oldest. KVI_SSD_NONE: there is none. */
static uint32_t candidate_find(struct kvi_ssd_volume *volume, bool cramped, struct load *load_p)
{
  uint32_t best = KVI_SSD_NONE;

  for (uint32_t i = 0; i < volume->n_files; i++) {
    const struct kvi_ssd_file *file = &volume->files[i];
    struct load load;
    if (file->state != KVI_SSD_SEALED || file->unsynced > 0 || (volume->scrub && volume->scrub->file == i))
      continue;
    load = load_of(volume, i, cramped);
    if (best == KVI_SSD_NONE || load.bytes < load_p->bytes ||
        (load.bytes == load_p->bytes && file->use.sequence < volume->files[best].use.sequence)) {
      best = i;
      *load_p = load;
    }
  }
  return best;
}

/* In the open file, of which `more` bytes are written before. */
static bool fits(const struct kvi_ssd_volume *volume, const struct load *load, uint64_t more)
{
  return load->bytes == 0 ||
         load->bytes + more <= kvi_ssd_writer_room(volume, load->records + (more > 0 ? 1 : 0));
}

bool kvi_ssd_moving_fits(struct kvi_ssd_volume *volume, uint32_t file)
{
  struct load load;

  if (!kvi_ssd_cramped(volume))
    return true;
  load = load_of(volume, file, true);
  return fits(volume, &load, 0);
}

bool kvi_ssd_moving_leaves(struct kvi_ssd_volume *volume, uint64_t bytes)
{
  struct load load = {0};

  return !kvi_ssd_cramped(volume) || candidate_find(volume, true, &load) == KVI_SSD_NONE ||
         fits(volume, &load, bytes);
}

static void no_room_set(struct kvi_ssd_volume *volume, bool none)
{
  atomic_store_explicit(&volume->no_room, none, memory_order_relaxed);
}

/* Chunks are let go until what is needed of a file fits the open one. A file that does not fit: nothing else may go, and it holds deletions alone. */
static uint32_t choose_cramped(struct kvi_ssd_volume *volume)
{
  struct load load = {0};
  uint32_t file;

  while ((file = candidate_find(volume, true, &load)) != KVI_SSD_NONE && !fits(volume, &load, 0)) {
    uint64_t room = kvi_ssd_writer_room(volume, load.records);

    if (volume->owner.make_room(volume->owner.ctx, load.bytes > room ? load.bytes - room : 1) > 0)
      continue;
    no_room_set(volume, true);
    return load.live == 0 ? file : KVI_SSD_NONE;
  }
  if (file == KVI_SSD_NONE && volume->n_bad > 0)
    no_room_set(volume, true);
  return file;
}

/*
 * What has to be let go before a file with more alive than the budget is freed all the same: a file's worth, and more when the credit runs low, so that the tier is not emptied at
 * a stroke where what is used lies everywhere. Without credit nothing will do.
 */
static uint64_t let_go_first(const struct kvi_ssd_volume *volume, uint64_t live)
{
  int64_t over =
      (int64_t)(live - kvi_ssd_copy_budget(volume)); /* the file earns its budget when it is freed */

  if (volume->copy_credit < over)
    return UINT64_MAX;
  return volume->config.file_bytes * (volume->copy_credit < kvi_ssd_copy_credit_max(volume) / 2 ? 4 : 1);
}

/*
 * The file to free; chunks are let go until one has no more alive than the budget allows. But when some files' worth of them did not do, since what has to stay is
 * everywhere, moving more than the budget is better than emptying the tier: as long as there is credit, which is what was not copied of files before, and a
 * whole file to move it to. And when no more may go, it is better than no room at all.
 */
uint32_t kvi_ssd_choose(struct kvi_ssd_volume *volume)
{
  uint64_t file_bytes = volume->config.file_bytes, budget = kvi_ssd_copy_budget(volume), gone = 0;
  struct load load = {0};

  if (kvi_ssd_cramped(volume))
    return choose_cramped(volume);
  if (volume->ready == KVI_SSD_NONE) /* it comes in a moment, and chunks would be let go for want of it */
    return KVI_SSD_NONE;
  for (;;) {
    uint32_t file = candidate_find(volume, false, &load);
    bool bearable = load.live <= file_bytes / 4 * 3;
    uint64_t more;

    if (file == KVI_SSD_NONE && volume->n_bad > 0)
      no_room_set(volume, volume->n_free == 0);
    if (file == KVI_SSD_NONE || load.live <= budget || (bearable && gone >= let_go_first(volume, load.live)))
      return file;
    more = volume->owner.make_room(volume->owner.ctx, load.live - budget);
    gone += more;
    if (more > 0)
      continue;
    if (bearable)
      return file;
    /* with one file left for what is moved, waiting costs nobody anything */
    no_room_set(volume, volume->n_free == 0 && volume->n_freeing == 0);
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
