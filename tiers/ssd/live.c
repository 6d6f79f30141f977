/* tiers/ssd/live.c: what the store has in each log file, by handles and by bytes. */
#include "tiers/ssd/volume_private.h"

void kvi_ssd_live_add(struct kvi_ssd_volume *volume, uint32_t file, uint64_t bytes)
{
  pthread_mutex_lock(&volume->lock);
  volume->files[file].live_bytes += bytes;
  volume->files[file].live++;
  volume->stats.live_bytes += bytes;
  volume->stats.objects++;
  pthread_mutex_unlock(&volume->lock);
}

bool kvi_ssd_handle_find(const struct kvi_ssd_volume *volume, kvi_medium_handle handle, uint32_t *file_p,
                         uint64_t *at_p)
{
  uint32_t place = kvi_ssd_handle_place(handle) - volume->first_block;
  uint32_t file = place / volume->file_blocks;

  if (kvi_ssd_handle_place(handle) < volume->first_block || file >= volume->n_files ||
      (volume->files[file].use.sequence & 0xffff) != (handle & 0xffff))
    return false;
  *file_p = file;
  *at_p = (uint64_t)(place % volume->file_blocks) * KVI_SSD_BLOCK;
  return true;
}

uint64_t kvi_ssd_live_bytes(struct kvi_ssd_volume *volume, uint32_t file)
{
  uint64_t bytes;

  pthread_mutex_lock(&volume->lock);
  bytes = volume->files[file].live_bytes;
  pthread_mutex_unlock(&volume->lock);
  return bytes;
}

void kvi_ssd_live_clear(struct kvi_ssd_volume *volume, uint32_t file)
{
  pthread_mutex_lock(&volume->lock);
  volume->stats.live_bytes -= volume->files[file].live_bytes;
  volume->stats.objects -= volume->files[file].live;
  volume->files[file].live_bytes = volume->files[file].live = 0;
  volume->files[file].use = (struct kvi_ssd_use){0};
  pthread_mutex_unlock(&volume->lock);
}

void kvi_ssd_volume_drop(struct kvi_ssd_volume *volume, kvi_medium_handle handle)
{
  uint64_t at, bytes = kvi_ssd_handle_bytes(handle);
  bool wake = false;
  uint32_t file;

  pthread_mutex_lock(&volume->lock);
  if (kvi_ssd_handle_find(volume, handle, &file, &at) && volume->files[file].live > 0) {
    volume->files[file].live--;
    volume->files[file].live_bytes -= bytes;
    volume->stats.live_bytes -= bytes;
    volume->stats.objects--;
    /* relaxed, here and where it is read: a put more or less that is refused is of no matter */
    wake = volume->asleep && atomic_load_explicit(&volume->no_room, memory_order_relaxed);
    atomic_store_explicit(&volume->no_room, false, memory_order_relaxed);
    volume->asleep &= !wake;
  }
  pthread_mutex_unlock(&volume->lock);
  if (wake)
    volume->disk->ops->wake(volume->disk);
}

uint64_t kvi_ssd_generation_next(struct kvi_ssd_volume *volume)
{
  uint64_t generation;

  pthread_mutex_lock(&volume->lock);
  generation = ++volume->generation;
  pthread_mutex_unlock(&volume->lock);
  return generation;
}

void kvi_ssd_contents_note(struct kvi_ssd_volume *volume, uint32_t file, const struct kvi_ssd_record *record)
{
  struct kvi_ssd_file *in = &volume->files[file];
  uint32_t n = (uint32_t)(record->length / KVI_SSD_DELETION);

  if (record->kind == KVI_SSD_CHUNK) {
    if (record->generation < in->oldest)
      in->oldest = record->generation;
    return;
  }
  if (record->generation > in->newest_deleted)
    in->newest_deleted = record->generation;
  in->deletions += n;
  volume->deletions_kept += n;
}
