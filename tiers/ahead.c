/* tiers/ahead.c: see ahead.h. */
#include "tiers/ahead.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/dram/dram.h"
#include "tiers/store_private.h"

#define FLIGHT_MOST  4u          /* chunks that are being read */
#define FLIGHT_BYTES (16u << 20) /* of such chunks, but for one that is longer; */
#define FLIGHT_PART  4u          /* and of memory no more than such a part */
#define LOOKS_MOST   8u          /* calls of the policy, each of which looks at other waiters */
#define DEMOTED_MOST 16u         /* chunks in one hold of the lock */
#define PERIOD_MS    250u        /* between looks */

struct kvi_ahead {
  struct kvi_store *store;
  uint64_t low_bytes,
      room_bytes; /* of memory: beyond the first something else would have to leave it; so much may be taken */
  uint64_t flight_bytes;
  uint64_t head_bytes; /* that a chunk takes beside its payload, at most */
  kvi_thread thread;
  pthread_cond_t wake;
  /* guarded by store->lock */
  uint32_t flying;
  uint64_t flying_bytes;
  uint32_t refused[LOOKS_MOST], n_refused; /* tenants, in this look */
  double refused_bytes;                    /* and chunks so long */
  bool stop, look;
  bool
      vain; /* something found no room since the last look, or left memory unused: the next one is not at once */
};

static uint64_t taken_bytes(const struct kvi_ahead *ahead)
{
  struct kvi_tier_usage usage;

  ahead->store->dram->ops->usage(ahead->store->dram, &usage);
  return usage.used_bytes + ahead->flying_bytes + ahead->flying * ahead->head_bytes;
}

/* So many bytes of chunks are as many of memory. */
static bool fits(const struct kvi_ahead *ahead, uint64_t length, uint64_t bytes)
{
  return taken_bytes(ahead) + length + ahead->head_bytes <= bytes;
}

/* Something would have to leave memory for so many chunks, if they are as long as those that are there. */
static bool is_full(const struct kvi_ahead *ahead, uint32_t chunks)
{
  struct kvi_tier_usage usage;

  ahead->store->dram->ops->usage(ahead->store->dram, &usage);
  return usage.objects > 0 &&
         !fits(ahead, chunks * (usage.used_bytes / usage.objects + ahead->head_bytes), ahead->low_bytes);
}

/* Not for a tenant that has no room of its own left, nor what has found none in this look. */
static bool may_come(const void *ctx, uint32_t tenant, double bytes)
{
  const struct kvi_ahead *ahead = ctx;

  for (uint32_t i = 0; i < ahead->n_refused; i++)
    if (ahead->refused[i] == tenant)
      return false;
  return bytes < ahead->refused_bytes && kvi_account_may_locked(ahead->store, tenant, (uint64_t)bytes);
}

/* If chunks are as long as they are on average. */
static bool can_be_had(const struct kvi_ahead *ahead, uint64_t bytes)
{
  uint64_t n = kvi_clean_length_locked(ahead->store);
  struct kvi_tier_usage usage;

  ahead->store->dram->ops->usage(ahead->store->dram, &usage);
  n = n < DEMOTED_MOST ? n : DEMOTED_MOST;
  return usage.objects > 0 && bytes <= n * usage.used_bytes / usage.objects;
}

/* False: there is none, and it is not to be made. */
static bool room_make_locked(struct kvi_ahead *ahead, uint64_t length)
{
  uint64_t wanted = taken_bytes(ahead) + length + ahead->head_bytes;
  bool hidden;

  if (wanted > ahead->room_bytes && !can_be_had(ahead, wanted - ahead->room_bytes))
    return false;
  for (uint32_t i = 0; !fits(ahead, length, ahead->room_bytes); i++)
    if (i == DEMOTED_MOST || !kvi_store_demote_one_locked(ahead->store, &hidden))
      return false;
  return true;
}

/* Its room is taken before it is read: on the account of its tenant, of which nothing leaves memory for it, and in memory. KVS_PENDING; KVS_ERR_QUOTA, KVS_ERR_FULL: there is none; KVS_ERR_BUSY, KVS_MISS. */
static kvs_status start_locked(struct kvi_ahead *ahead, uint32_t number)
{
  struct kvi_store *store = ahead->store;
  uint32_t length = store->entries[number].length,
           account = store->spaces[store->entries[number].space].account;
  kvs_status status = KVS_ERR_FULL;
  uint64_t taken;

  if (!kvi_account_try_locked(store, account, length, &taken)) {
    ahead->refused[ahead->n_refused++] = account;
    return KVS_ERR_QUOTA;
  }
  if (room_make_locked(ahead, length))
    status = kvi_fetch_ahead_locked(store, number, taken, ahead);
  else
    ahead->refused_bytes = (double)length;
  if (status != KVS_PENDING) {
    kvi_account_give_locked(store, account, taken);
    ahead->vain = true;
    return status;
  }
  ahead->flying++;
  ahead->flying_bytes += length;
  return KVS_PENDING;
}

/*
 * Of these chunks, which the policy wants. True: none was begun, and others are to be looked at. *full_p: something has to leave memory for them, so that the policy has to say whether they are worth that: if
 * it has not, they wait until it has.
 */
static bool start_some_locked(struct kvi_ahead *ahead, const uint32_t *numbers, uint32_t n, bool *full_p)
{
  const struct kvi_store *store = ahead->store;
  uint32_t before = ahead->flying;

  for (uint32_t i = 0; i < n && ahead->flying < FLIGHT_MOST; i++) {
    const struct kvi_entry *entry = &store->entries[numbers[i]];
    kvs_status status;

    if (entry->state != KVI_ENTRY_BELOW)
      continue;
    if (ahead->flying > 0 && ahead->flying_bytes + entry->length > ahead->flight_bytes)
      return false;
    if (!*full_p && !fits(ahead, entry->length, ahead->low_bytes)) {
      *full_p = true;
      break;
    }
    status = start_locked(ahead, numbers[i]);
    if (status == KVS_ERR_QUOTA || status == KVS_ERR_FULL)
      break;
    if (status != KVS_PENDING)
      return false;
  }
  return ahead->flying == before;
}

static void look_locked(struct kvi_ahead *ahead)
{
  struct kvi_store *store = ahead->store;
  struct kvi_policy_ahead what = {
      .most = FLIGHT_MOST, .one = store->below->clean_first, .may = may_come, .ctx = ahead};
  uint32_t numbers[FLIGHT_MOST];

  store->stats.prefetch_looks++;
  if (ahead->flying >= FLIGHT_MOST || store->below->n_fetches > ahead->flying)
    return;
  kvi_memory_tell_locked(store);
  what.full = is_full(ahead, FLIGHT_MOST - ahead->flying);
  ahead->n_refused = 0;
  ahead->refused_bytes = INFINITY;
  for (uint32_t i = 0; i < LOOKS_MOST; i++) {
    uint32_t n = store->policy_ops->promotion(store->policy, &what, numbers, kvi_policy_now(store));

    if (!start_some_locked(ahead, numbers, n, &what.full))
      return;
  }
}

static void run(void *arg)
{
  struct kvi_ahead *ahead = arg;
  struct kvi_store *store = ahead->store;

  pthread_mutex_lock(&store->lock);
  while (!ahead->stop) {
    kvi_deadline next = kvi_deadline_from_ms(PERIOD_MS);

    ahead->look = ahead->vain = false;
    look_locked(ahead);
    while (!ahead->stop && (!ahead->look || ahead->vain) &&
           kvi_cond_wait(&ahead->wake, &store->lock, next) == KVS_OK)
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
  ahead->flight_bytes = store->dram_attr.capacity_bytes / FLIGHT_PART;
  if (ahead->flight_bytes > FLIGHT_BYTES)
    ahead->flight_bytes = FLIGHT_BYTES;
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

void kvi_ahead_ended_locked(struct kvi_ahead *ahead, uint64_t length, bool landed)
{
  ahead->flying--;
  ahead->flying_bytes -= length;
  ahead->look |= landed;
  ahead->vain |= !landed;
  pthread_cond_signal(&ahead->wake);
}

void kvi_ahead_left_locked(struct kvi_store *store, uint32_t number)
{
  struct kvi_entry *entry = &store->entries[number];

  if (entry->origin != KVI_ORIGIN_AHEAD)
    return;
  store->stats.prefetched_wasted++;
  if (store->ahead)
    store->ahead->vain = true;
  entry->origin = 0;
}
