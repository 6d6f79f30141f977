/*
 * The DRAM tier alone, through tiers/tier.h, by four threads with chunks of mixed sizes, and beside it four threads that copy the same sizes
 * between the same amounts of memory. And how much of the tier's memory payload cannot have after sizes were mixed for long.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/bench/drive.h"
#include "tests/bench/memory.h"
#include "tests/bench/sizes.h"
#include "tiers/dram/dram.h"

#define THREADS     4u
#define TIER_MOST   (4 * BENCH_SERVER_BYTES)
#define OBJECTS_MAX ((uint32_t)(TIER_MOST / THREADS >> 15)) /* of a thread */
#define TURNOVER    10u
#define LOOK_EVERY  8u /* operations between two looks at the clock */

struct dram;

/* A thread of the bench, with chunks of its own. */
struct hand {
  struct dram *dram;
  pthread_t thread;
  kvi_rand random;
  struct bench_slab client; /* what is put, where gets land */
  struct bench_slab server; /* memcpy: in place of the tier's */
  uint64_t held, quota;     /* payload bytes that it has, and may have: no hand starves another */
  uint32_t *sizes;
  kvi_tier_object *objects; /* the oldest first, by number % OBJECTS_MAX */
  uint64_t oldest, next;
  uint64_t client_at, server_at;
  uint64_t bytes, operations;
  kvs_status status;
};

struct dram {
  enum bench_way_id id;
  uint64_t tier_bytes; /* as those of a volume, up to TIER_MOST */
  const struct bench_case *what;
  uint64_t stop_ns;
  struct kvi_tier *tier;
  struct hand hands[THREADS];
};

/* The next so many bytes of a slab, round and round. */
static uint8_t *next_place(const struct bench_slab *slab, uint64_t *at, uint64_t size)
{
  uint8_t *place;

  if (*at + size > slab->bytes)
    *at = 0;
  place = slab->base + *at;
  *at += (size + 63) & ~UINT64_C(63);
  return place;
}

/* ---- operations ---- */

static void drop_oldest(struct hand *hand)
{
  struct kvi_tier *tier = hand->dram->tier;

  hand->held -= hand->sizes[hand->oldest % OBJECTS_MAX];
  tier->ops->drop(tier, hand->objects[hand->oldest++ % OBJECTS_MAX]);
}

/* Makes room by letting its own oldest chunks go. */
static kvs_status reserve(struct hand *hand, uint32_t size, kvi_tier_object *object_p)
{
  struct kvi_tier *tier = hand->dram->tier;
  struct kvi_tier_request request = {.length = size, .n_segments = 1, .segment_lengths = &size};
  kvs_status status;

  while ((status = tier->ops->reserve(tier, &request, object_p)) == KVS_ERR_FULL && hand->oldest < hand->next)
    drop_oldest(hand);
  return status;
}

static kvs_status put(struct hand *hand, uint32_t size)
{
  struct kvi_tier *tier = hand->dram->tier;
  const uint8_t *from = next_place(&hand->client, &hand->client_at, size);
  struct kvi_tier_places places;
  kvi_tier_object object;
  kvs_status status;

  while (hand->oldest < hand->next &&
         (hand->next - hand->oldest == OBJECTS_MAX || hand->held + size > hand->quota))
    drop_oldest(hand);
  status = reserve(hand, size, &object);
  if (status == KVS_OK)
    status = tier->ops->places(tier, object, &places);
  if (status != KVS_OK)
    return status;
  for (uint32_t i = 0; i < places.n_iov; i++) {
    memcpy(places.iov[i].base, from, places.iov[i].length);
    from += places.iov[i].length;
  }
  places.segments[0].crc32c = size; /* nobody compares it here */
  status = tier->ops->seal(tier, object, 0);
  if (status != KVS_OK)
    return status;
  hand->held += size;
  hand->sizes[hand->next % OBJECTS_MAX] = size;
  hand->objects[hand->next++ % OBJECTS_MAX] = object;
  return KVS_OK;
}

static kvs_status get(struct hand *hand, uint32_t *size_p)
{
  struct kvi_tier *tier = hand->dram->tier;
  uint64_t number = hand->oldest + kvi_rand_below(&hand->random, hand->next - hand->oldest);
  kvi_tier_object object = hand->objects[number % OBJECTS_MAX];
  struct kvi_tier_places places;
  struct kvi_chunk_table table;
  kvs_status status = tier->ops->open(tier, object);
  uint8_t *to;

  if (status != KVS_OK)
    return status;
  status = tier->ops->table(tier, object, &table);
  if (status == KVS_OK)
    status = tier->ops->places(tier, object, &places);
  if (status == KVS_OK) {
    *size_p = (uint32_t)table.length;
    to = next_place(&hand->client, &hand->client_at, table.length);
    for (uint32_t i = 0; i < places.n_iov; i++) {
      memcpy(to, places.iov[i].base, places.iov[i].length);
      to += places.iov[i].length;
    }
  }
  tier->ops->close(tier, object);
  return status;
}

static kvs_status one(struct hand *hand)
{
  uint32_t size = bench_mixed_size(&hand->random);
  kvs_status status = KVS_OK;

  if (hand->dram->id == BENCH_MEMCPY_THREADS)
    memcpy(next_place(&hand->server, &hand->server_at, size),
           next_place(&hand->client, &hand->client_at, size), size);
  else if (hand->dram->what->op == BENCH_PUT)
    status = put(hand, size);
  else
    status = get(hand, &size);
  hand->bytes += size;
  hand->operations++;
  return status;
}

static void *work(void *arg)
{
  struct hand *hand = arg;

  do {
    for (uint32_t i = 0; i < LOOK_EVERY && hand->status == KVS_OK; i++)
      hand->status = one(hand);
  } while (hand->status == KVS_OK && kvi_now_ns() < hand->dram->stop_ns);
  return NULL;
}

/* ---- the ops ---- */

static void dram_close(void *way)
{
  struct dram *dram = way;

  if (dram == NULL)
    return;
  if (dram->tier != NULL)
    dram->tier->ops->destroy(dram->tier);
  for (uint32_t i = 0; i < THREADS; i++) {
    bench_slab_close(&dram->hands[i].client);
    bench_slab_close(&dram->hands[i].server);
    free(dram->hands[i].objects);
    free(dram->hands[i].sizes);
  }
  free(dram);
}

static kvs_status hand_open(struct dram *dram, uint32_t index)
{
  struct hand *hand = &dram->hands[index];

  hand->dram = dram;
  kvi_rand_seed(&hand->random, index);
  if (!bench_slab_open(&hand->client, BENCH_CLIENT_BYTES))
    return KVS_ERR_NOMEM;
  if (dram->id == BENCH_MEMCPY_THREADS)
    return bench_slab_open_huge(&hand->server, dram->tier_bytes / THREADS) ? KVS_OK : KVS_ERR_NOMEM;
  hand->objects = calloc(OBJECTS_MAX, sizeof *hand->objects);
  hand->sizes = calloc(OBJECTS_MAX, sizeof *hand->sizes);
  hand->quota = dram->tier_bytes / THREADS / 16 * 15; /* the rest is heads and rounding */
  return hand->objects != NULL && hand->sizes != NULL ? KVS_OK : KVS_ERR_NOMEM;
}

static kvs_status dram_open(const struct bench_way_config *config, void **way_p)
{
  uint64_t volume = config->servers->volume_bytes;
  struct kvi_dram_config tier = {.bytes = volume < TIER_MOST ? volume : TIER_MOST,
                                 .object_bytes_max = BENCH_MIXED_MAX};
  struct dram *dram = calloc(1, sizeof *dram);
  kvs_status status = dram != NULL ? KVS_OK : KVS_ERR_NOMEM;

  *way_p = NULL;
  if (status == KVS_OK) {
    dram->id = config->way;
    dram->tier_bytes = tier.bytes;
    for (uint32_t i = 0; i < THREADS && status == KVS_OK; i++)
      status = hand_open(dram, i);
    if (status == KVS_OK && dram->id == BENCH_DRAM)
      status = kvi_dram_create(&tier, &dram->tier);
  }
  if (status == KVS_OK)
    *way_p = dram;
  else
    dram_close(dram);
  return status;
}

/* The tier is as full as the quotas let it be, of chunks of all threads in turn. */
static kvs_status dram_prepare(void *way, const struct bench_case *what)
{
  struct dram *dram = way;
  kvs_status status = KVS_OK;

  (void)what;
  if (dram->tier == NULL)
    return KVS_OK;
  for (bool more = true; more && status == KVS_OK;) {
    more = false;
    for (uint32_t i = 0; i < THREADS && status == KVS_OK; i++) {
      struct hand *hand = &dram->hands[i];

      if (hand->held + BENCH_MIXED_MAX > hand->quota)
        continue;
      status = put(hand, bench_mixed_size(&hand->random));
      more = true;
    }
  }
  return status;
}

/* One hand has all of the tier and writes it so many times over; then what payload does not have is counted, although the tier is full. */
static kvs_status fragmentation(struct dram *dram, struct bench_sample *sample)
{
  struct hand *hand = &dram->hands[0];
  uint64_t quota = hand->quota, written = 0;
  struct kvi_tier_attr attr;
  struct kvi_tier_usage usage;
  kvs_status status = KVS_OK;

  for (uint32_t i = 1; i < THREADS; i++)
    while (dram->hands[i].oldest < dram->hands[i].next)
      drop_oldest(&dram->hands[i]);
  dram->tier->ops->attr(dram->tier, &attr);
  hand->quota = attr.capacity_bytes;
  while (status == KVS_OK && written < TURNOVER * attr.capacity_bytes) {
    uint32_t size = bench_mixed_size(&hand->random);

    status = put(hand, size);
    written += size;
  }
  dram->tier->ops->usage(dram->tier, &usage);
  sample->value = 100.0 * (double)(attr.capacity_bytes - usage.payload_bytes) / (double)attr.capacity_bytes;
  hand->quota = quota; /* what is above it goes with its next put */
  while (hand->held > quota)
    drop_oldest(hand);
  return status;
}

static kvs_status dram_run(void *way, const struct bench_case *what, double seconds,
                           struct bench_sample *sample)
{
  struct dram *dram = way;
  uint64_t begin;
  uint32_t started = 0;
  kvs_status status = KVS_OK;

  dram->what = what;
  if (what->op == BENCH_FRAGMENTATION)
    return fragmentation(dram, sample);
  begin = kvi_now_ns();
  dram->stop_ns = begin + (uint64_t)(seconds * 1e9);
  for (; started < THREADS; started++) {
    struct hand *hand = &dram->hands[started];

    hand->bytes = hand->operations = 0;
    hand->status = KVS_OK;
    if (pthread_create(&hand->thread, NULL, work, hand) != 0)
      break;
  }
  for (uint32_t i = 0; i < started; i++) {
    pthread_join(dram->hands[i].thread, NULL);
    sample->bytes += dram->hands[i].bytes;
    sample->operations += dram->hands[i].operations;
    if (dram->hands[i].status != KVS_OK)
      status = dram->hands[i].status;
  }
  sample->value = (double)sample->bytes / (double)(kvi_now_ns() - begin);
  return started == THREADS ? status : KVS_ERR_SYSTEM;
}

const struct bench_way_ops bench_way_dram = {
    .open = dram_open, .prepare = dram_prepare, .run = dram_run, .close = dram_close};
