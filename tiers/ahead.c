/* tiers/ahead.c: see ahead.h. */
#include "tiers/ahead.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/dram/dram.h"
#include "tiers/store_private.h"

#define FLIGHT_MOST  4u   /* chunks that are being read */
#define LOOKS_MOST   8u   /* calls of the policy, each of which looks at other waiters */
#define DEMOTED_MOST 16u  /* chunks in one hold of the lock */
#define PERIOD_MS    250u /* between looks */

struct kvi_ahead {
  struct kvi_store *store;
  uint64_t low_bytes,
      room_bytes; /* of memory: beyond the first something else would have to leave it; so much may be taken */
  uint64_t head_bytes; /* that a chunk takes beside its payload, at most */
  kvi_thread thread;
  pthread_cond_t wake;
  /* guarded by store->lock */
  uint32_t flying;
  uint64_t flying_bytes;
  bool stop, look;
};

static uint64_t taken_bytes(const struct kvi_ahead *ahead)
{
  struct kvi_tier_usage usage;

  ahead->store->dram->ops->usage(ahead->store->dram, &usage);
  return usage.used_bytes + ahead->flying_bytes;
}

/* Something would have to leave memory for so many chunks, if they are as long as those that are there. */
static bool is_full(const struct kvi_ahead *ahead, uint32_t chunks)
{
  struct kvi_tier_usage usage;

  ahead->store->dram->ops->usage(ahead->store->dram, &usage);
  return usage.objects > 0 && usage.used_bytes + ahead->flying_bytes +
                                      chunks * (usage.used_bytes / usage.objects + ahead->head_bytes) >
                                  ahead->low_bytes;
}

/* Chunks that the policy wants, of those that are below. */
static uint32_t wanted_locked(struct kvi_ahead *ahead, uint32_t *numbers)
{
  struct kvi_store *store = ahead->store;
  struct kvi_policy_ahead what = {.most = FLIGHT_MOST - ahead->flying, .one = store->below->clean_first};
  uint32_t n = 0;

  kvi_memory_tell_locked(store);
  what.full = is_full(ahead, what.most);
  for (uint32_t i = 0; i < LOOKS_MOST && n == 0; i++)
    n = store->policy_ops->promotion(store->policy, &what, numbers, kvi_policy_now(store));
  return n;
}

/* False: there is none, and it is not to be made. */
static bool room_make_locked(struct kvi_ahead *ahead, uint64_t length)
{
  bool hidden;

  for (uint32_t i = 0; taken_bytes(ahead) + length + ahead->head_bytes > ahead->room_bytes; i++)
    if (i == DEMOTED_MOST || !kvi_store_demote_one_locked(ahead->store, &hidden))
      return false;
  return true;
}

/* One hold's worth. */
static void start_some_locked(struct kvi_ahead *ahead)
{
  struct kvi_store *store = ahead->store;
  uint32_t numbers[FLIGHT_MOST], n;

  store->stats.prefetch_looks++;
  if (ahead->flying >= FLIGHT_MOST || store->below->n_fetches > ahead->flying)
    return;
  n = wanted_locked(ahead, numbers);
  for (uint32_t i = 0; i < n; i++) {
    const struct kvi_entry *entry = &store->entries[numbers[i]];
    uint32_t length = entry->length;

    if (entry->state != KVI_ENTRY_BELOW)
      continue;
    if (!room_make_locked(ahead, length) || kvi_fetch_ahead_locked(store, numbers[i], ahead) != KVS_PENDING)
      return;
    ahead->flying++;
    ahead->flying_bytes += length;
  }
}

static void run(void *arg)
{
  struct kvi_ahead *ahead = arg;
  struct kvi_store *store = ahead->store;

  pthread_mutex_lock(&store->lock);
  while (!ahead->stop) {
    kvi_deadline next = kvi_deadline_from_ms(PERIOD_MS);

    ahead->look = false;
    start_some_locked(ahead);
    while (!ahead->stop && !ahead->look && kvi_cond_wait(&ahead->wake, &store->lock, next) == KVS_OK)
      ;
  }
  pthread_mutex_unlock(&store->lock);
}

static uint64_t percent_of(const struct kvi_store *store, uint32_t percent)
{
  uint64_t capacity = store->dram_attr.capacity_bytes;

  return capacity / 100 * percent + capacity % 100 * percent / 100;
}

kvs_status kvi_ahead_create(struct kvi_store *store, struct kvi_ahead **ahead_p)
{
  const struct kvi_store_config *config = &store->config;
  uint32_t page = config->dram_page_bytes > 0 ? config->dram_page_bytes : KVI_DRAM_PAGE_BYTES_DEFAULT;
  bool has_marks = config->dram_high_mark > 0;
  struct kvi_ahead *ahead = calloc(1, sizeof(*ahead));
  kvs_status status;

  *ahead_p = NULL;
  if (!ahead)
    return KVS_ERR_NOMEM;
  ahead->store = store;
  ahead->low_bytes = percent_of(store, has_marks ? config->dram_low_mark : 100);
  ahead->room_bytes = percent_of(store, has_marks ? config->dram_high_mark : 100);
  ahead->head_bytes = 2 * (uint64_t)page;
  status = kvi_cond_init(&ahead->wake);
  if (status == KVS_OK) {
    status = kvi_thread_start(&ahead->thread, "kvi-ahead", run, ahead);
    if (status != KVS_OK)
      pthread_cond_destroy(&ahead->wake);
  }
  if (status != KVS_OK) {
    free(ahead);
    return status;
  }
  *ahead_p = ahead;
  return KVS_OK;
}

void kvi_ahead_stop(struct kvi_ahead *ahead)
{
  if (!ahead)
    return;
  pthread_mutex_lock(&ahead->store->lock);
  ahead->stop = true;
  pthread_cond_signal(&ahead->wake);
  pthread_mutex_unlock(&ahead->store->lock);
  kvi_thread_join(&ahead->thread);
}

void kvi_ahead_destroy(struct kvi_ahead *ahead)
{
  if (!ahead)
    return;
  pthread_cond_destroy(&ahead->wake);
  free(ahead);
}

/* What has not landed is not tried again at once. */
void kvi_ahead_ended_locked(struct kvi_ahead *ahead, uint64_t length, bool landed)
{
  ahead->flying--;
  ahead->flying_bytes -= length;
  ahead->look |= landed;
  pthread_cond_signal(&ahead->wake);
}

void kvi_ahead_left_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_entry *entry = &store->entries[number];

  if (entry->origin != KVI_ORIGIN_AHEAD)
    return;
  store->stats.prefetched_wasted++;
  entry->origin = 0;
}
