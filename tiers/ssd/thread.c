/* tiers/ssd/thread.c: a directory's thread: what it does in its turn, how it sleeps, how it ends. */
#include "base/log.h"
#include "tiers/ssd/volume_private.h"

#define IDLE_NS (1 * KVI_NS_PER_S)
#define STOP_NS (5 * KVI_NS_PER_S) /* how long a device may take for its last operations */

/* False: there is something to do. *busy_p: requests are under way. */
static bool sleep_announce(struct kvi_ssd_volume *volume, bool *busy_p)
{
  bool quiet;

  pthread_mutex_lock(&volume->lock);
  quiet = kvi_list_is_empty(&volume->puts_new) && kvi_list_is_empty(&volume->gets_new) &&
          volume->deletions_come == volume->deletions_seen &&
          !atomic_load_explicit(&volume->stop, memory_order_relaxed);
  volume->asleep = quiet;
  *busy_p = volume->queued > 0 || !kvi_list_is_empty(&volume->settles);
  pthread_mutex_unlock(&volume->lock);
  return quiet;
}

void kvi_ssd_all_lost_tell(struct kvi_ssd_volume *volume)
{
  uint32_t blocks = volume->n_files * volume->file_blocks;

  if (volume->owner.lost)
    volume->owner.lost(volume->owner.ctx, (kvi_medium_handle)volume->first_block << 32,
                       ((kvi_medium_handle)(volume->first_block + blocks) << 32) - 1);
}

/* More deletions came than can wait: all that was put before is gone. */
static void emptied_tell(struct kvi_ssd_volume *volume)
{
  bool emptied;

  pthread_mutex_lock(&volume->lock);
  emptied = volume->emptied;
  volume->emptied = false;
  pthread_mutex_unlock(&volume->lock);
  if (!emptied)
    return;
  kvi_log_error("%s: more than %u deletions wait to be written: all its chunks are given up", volume->name,
                volume->config.deletions_max);
  kvi_ssd_all_lost_tell(volume);
}

/* The device is out. */
static void failed_step(struct kvi_ssd_volume *volume, bool *told)
{
  kvi_ssd_waiting_end(volume, KVS_ERR_IO);
  kvi_ssd_settles_end(volume, KVS_ERR_IO);
  if (!*told)
    kvi_ssd_all_lost_tell(volume);
  *told = true;
  pthread_mutex_lock(&volume->lock); /* what comes is nobody's: it must not keep this thread awake */
  volume->deletions_seen = volume->deletions_come;
  pthread_mutex_unlock(&volume->lock);
}

/* It is read, and looked through for damage; whoever wants something written or deleted is told that it cannot be. */
static void read_only_step(struct kvi_ssd_volume *volume, uint64_t now)
{
  kvi_ssd_waiting_puts_end(volume, KVS_ERR_IO);
  kvi_ssd_settles_step(volume, now); /* some may be safe */
  kvi_ssd_settles_end(volume, KVS_ERR_IO);
  pthread_mutex_lock(&volume->lock); /* deletions have no place to go: they must not keep this thread awake */
  volume->deletions_seen = volume->deletions_come;
  pthread_mutex_unlock(&volume->lock);
  kvi_ssd_read_step(volume);
  kvi_ssd_scrub_step(volume);
}

static void step(struct kvi_ssd_volume *volume, bool *told)
{
  uint64_t now = kvi_now_ns();

  kvi_ssd_requests_take(volume);
  if (atomic_load_explicit(&volume->failed, memory_order_relaxed)) {
    failed_step(volume, told);
  } else if (atomic_load_explicit(&volume->read_only, memory_order_relaxed)) {
    read_only_step(volume, now);
  } else {
    emptied_tell(volume);
    kvi_ssd_discard_step(volume, now); /* before one of them is used again */
    kvi_ssd_deletions_step(volume);
    kvi_ssd_read_step(volume);
    kvi_ssd_write_step(volume);
    kvi_ssd_reclaim_step(volume);
    kvi_ssd_free_step(volume); /* what was freed just now too */
    kvi_ssd_scrub_step(volume);
  }
  kvi_ssd_settles_step(volume, now);
  if (now >= volume->expire_next_ns) {
    kvi_ssd_expire(volume, now, KVS_ERR_DEADLINE, false);
    volume->expire_next_ns = now + KVI_SSD_EXPIRE_NS;
  }
}

static void stop_waits(struct kvi_ssd_volume *volume, uint64_t until)
{
  while (volume->in_flight > 0 && kvi_now_ns() < until)
    volume->disk->ops->wait(volume->disk, until);
}

/* What was deleted is written, so that it stays deleted, and the open file sealed, so that the next start reads no data. */
static void leave_in_order(struct kvi_ssd_volume *volume, uint64_t until)
{
  uint64_t come;

  if (volume->in_flight > 0)
    return;
  kvi_ssd_reclaim_leave(
      volume); /* what it waits for does not come any more, and it has the last file to itself */
  do {
    if (kvi_ssd_refuses_writes(volume))
      return;
    kvi_ssd_free_step(volume);
    kvi_ssd_ready_step(volume);
    kvi_ssd_deletions_step(volume);
    stop_waits(volume, until);
    pthread_mutex_lock(&volume->lock);
    come = volume->deletions_come;
    pthread_mutex_unlock(&volume->lock);
  } while (!kvi_ssd_deletions_are_safe(volume, come) && !kvi_ssd_deletions_are_stuck(volume) &&
           kvi_now_ns() < until);
  if (volume->in_flight > 0)
    return;
  if (volume->n_free > 0 || volume->ready != KVI_SSD_NONE)
    kvi_ssd_seal(
        volume); /* else it is what something is being moved to, and is written on at the next start */
  kvi_ssd_ready_cancel(volume);
}

void kvi_ssd_run(void *arg)
{
  struct kvi_ssd_volume *volume = arg;
  uint64_t until;
  bool told = false, busy;

  while (!atomic_load_explicit(&volume->stop, memory_order_relaxed)) {
    step(volume, &told);
    if (!sleep_announce(volume, &busy))
      continue;
    until = busy ? volume->expire_next_ns : kvi_now_ns() + IDLE_NS;
    /* a scrub that reads is woken by what it reads, and one of a device that is out never goes on */
    if (volume->config.scrub_bytes_per_s > 0 && !told && (!volume->scrub || volume->scrub->paused) &&
        volume->scrub_next_ns < until)
      until = volume->scrub_next_ns;
    volume->disk->ops->wait(volume->disk, until);
  }
  kvi_ssd_requests_take(volume);
  kvi_ssd_waiting_end(volume, KVS_ERR_CLOSED);
  until = kvi_now_ns() + STOP_NS;
  stop_waits(volume, until);
  leave_in_order(volume, until);
  stop_waits(volume, until);
  kvi_ssd_settles_step(volume, 0);
  kvi_ssd_settles_end(volume, KVS_ERR_CLOSED);
  kvi_ssd_expire(volume, 0, KVS_ERR_CLOSED, true);
}
