/*
 * The SSD tier and the Redis tier, through tiers/medium.h, as the store uses them: operations that end later, in a callback. Checksums are
 * compared by the tiers themselves, in both directions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "base/thread.h"
#include "tests/bench/held.h"
#include "tests/bench/medium.h"
#include "tests/bench/ring.h"
#include "tests/bench/way.h"

#define TENANT      "bench"
#define DEADLINE_NS (30 * KVI_NS_PER_S)
#define VOLUMES     3u /* sizes of an SSD way, each in a volume of its own */
#define TABLE_BYTES (KVI_CHUNK_TABLE_HEAD + sizeof(struct kvi_segment))
#define PLACES_MAX  (BENCH_RING_BYTES >> 16) /* of 64 KiB */
#define COMPARED    16u                      /* chunks whose every byte is compared before gets are timed */
#define NEVER       UINT64_MAX

struct medium_way;

/* An operation in flight. */
struct slot {
  struct kvi_medium_put put;
  struct kvi_medium_get get;
  uint8_t key[BENCH_KEY];
  struct kvi_iov iov;
  uint64_t number;
  uint32_t index, place;
  bool is_put;
  kvs_status status;
  struct medium_way *way;
};

/* A medium that is open, with what it holds. */
struct volume {
  struct kvi_medium *medium;
  struct bench_held held;
  uint64_t size;
  uint32_t connections;
};

struct medium_way {
  enum bench_way_id id;
  const struct bench_servers *servers;
  struct volume volumes[VOLUMES];
  struct volume *volume;  /* of the case at hand */
  uint64_t redis_touched; /* size of the chunks that touched its memory last; 0: none did */
  struct bench_ring ring;
  uint64_t payload; /* size of the chunks whose bytes and tables lie ready; 0: none do */
  uint32_t payload_depth;
  uint8_t *tables; /* PLACES_MAX times TABLE_BYTES */
  uint8_t space[KVS_DIGEST_SIZE];
  struct slot slots[BENCH_DEPTH_MAX];
  uint64_t cursor, last_put;
  kvi_rand random;

  pthread_mutex_t lock;
  pthread_cond_t ended;
  uint32_t ready[BENCH_DEPTH_MAX]; /* slots that have ended */
  uint32_t n_ready;
};

static bool is_write(const struct bench_case *what)
{
  return what->op == BENCH_WRITE || what->op == BENCH_PUT;
}

/* ---- one operation ---- */

static void end(struct slot *slot, kvs_status status)
{
  struct medium_way *way = slot->way;

  pthread_mutex_lock(&way->lock);
  slot->status = status;
  way->ready[way->n_ready++] = slot->index;
  pthread_cond_signal(&way->ended);
  pthread_mutex_unlock(&way->lock);
}

static void put_done(struct kvi_medium_put *put, kvs_status status)
{
  struct slot *slot = put->user;

  if (status == KVS_OK) /* media without handles: any but 0 */
    bench_held_end(&slot->way->volume->held, slot->number, put->handle != 0 ? put->handle : 1);
  end(slot, status);
}

static void get_done(struct kvi_medium_get *get, kvs_status status)
{
  end(get->user, status);
}

static kvs_status land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                       const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct slot *slot = get->user;

  if (table->length != slot->iov.length)
    return KVS_ERR_CORRUPT;
  *iov_p = &slot->iov;
  *n_iov_p = 1;
  return KVS_OK;
}

/* Memory of the bench is there for good, so nothing has to be kept for a device that is late. */
static void released(const struct kvi_medium_hold *hold)
{
  (void)hold;
}

static void put_keep(struct kvi_medium_put *put, struct kvi_medium_hold *hold_p)
{
  (void)put;
  *hold_p = (struct kvi_medium_hold){.release = released};
}

static void get_keep(struct kvi_medium_get *get, struct kvi_medium_hold *hold_p)
{
  (void)get;
  *hold_p = (struct kvi_medium_hold){.release = released};
}

static kvs_status room(struct kvi_medium_get *get, const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct slot *slot = get->user;

  *iov_p = &slot->iov;
  *n_iov_p = 1;
  return KVS_OK;
}

static struct kvi_medium_identity identity_of(const struct slot *slot)
{
  return (struct kvi_medium_identity){.tenant = TENANT,
                                      .space = slot->way->space,
                                      .key = slot->key,
                                      .key_length = BENCH_KEY,
                                      .unchained = true};
}

static kvs_status put_issue(struct medium_way *way, struct slot *slot)
{
  const uint8_t *table;

  slot->iov.base = bench_ring_next(&way->ring, slot->index);
  slot->place = (uint32_t)((size_t)((uint8_t *)slot->iov.base - way->ring.slab.base) / slot->iov.length);
  slot->number = bench_held_begin(&way->volume->held, slot->place);
  slot->is_put = true;
  bench_held_key(slot->number, slot->key);
  slot->put = (struct kvi_medium_put){.identity = identity_of(slot),
                                      .iov = &slot->iov,
                                      .n_iov = 1,
                                      .length = slot->iov.length,
                                      .deadline_ns = kvi_now_ns() + DEADLINE_NS,
                                      .keep = put_keep,
                                      .done = put_done,
                                      .user = slot};
  table = way->tables + slot->place * TABLE_BYTES;
  if (kvi_chunk_table_read(table, TABLE_BYTES, &slot->put.table) != KVS_OK)
    return KVS_ERR_INTERNAL;
  way->last_put = slot->number;
  return way->volume->medium->ops->put(way->volume->medium, &slot->put);
}

static kvs_status get_issue(struct medium_way *way, struct slot *slot, uint64_t number, void *to)
{
  struct bench_held_chunk chunk;

  if (!bench_held_find(&way->volume->held, number, &chunk))
    return KVS_MISS;
  slot->iov.base = to;
  slot->place = chunk.place;
  slot->number = number;
  slot->is_put = false;
  bench_held_key(number, slot->key);
  slot->get = (struct kvi_medium_get){.identity = identity_of(slot),
                                      .handle = chunk.handle,
                                      .length = slot->iov.length,
                                      .deadline_ns = kvi_now_ns() + DEADLINE_NS,
                                      .room = room,
                                      .keep = get_keep,
                                      .land = land,
                                      .done = get_done,
                                      .user = slot};
  return way->volume->medium->ops->get(way->volume->medium, &slot->get);
}

static struct slot *wait_for_one(struct medium_way *way)
{
  uint32_t index;

  pthread_mutex_lock(&way->lock);
  while (way->n_ready == 0)
    pthread_cond_wait(&way->ended, &way->lock); /* a medium ends every operation by its deadline */
  index = way->ready[0];
  memmove(way->ready, way->ready + 1, --way->n_ready * sizeof way->ready[0]);
  pthread_mutex_unlock(&way->lock);
  return &way->slots[index];
}

/* Reads one chunk, with nothing else in flight, and compares every byte. */
static kvs_status compare(struct medium_way *way, uint64_t number, uint64_t size)
{
  struct slot *slot = &way->slots[0];
  kvs_status status;

  slot->iov.length = size;
  status = get_issue(way, slot, number, way->ring.scratch.base);
  if (status == KVS_OK)
    status = wait_for_one(way)->status;
  if (status == KVS_OK && !bench_pattern_check(slot->iov.base, size, ~bench_seed(size, slot->place)))
    status = KVS_ERR_CORRUPT;
  return status;
}

/* ---- what is put ---- */

/* The same bytes lie at the same place each time, so that a chunk is known by its place. */
static void payload_make(struct medium_way *way, const struct bench_case *what)
{
  struct bench_case puts = *what;

  puts.op = BENCH_PUT;
  if (way->payload == what->size && way->payload_depth == bench_case_depth(what))
    return;
  bench_ring_cut(&way->ring, &puts);
  for (uint64_t i = 0; i < way->ring.slab.bytes / what->size; i++) {
    struct kvi_segment segment = {.length = (uint32_t)what->size};

    segment.crc32c = kvi_crc32c_update(0, way->ring.slab.base + i * what->size, what->size);
    kvi_chunk_table_write(way->tables + i * TABLE_BYTES, &segment, 1, 0);
  }
  way->payload = what->size;
  way->payload_depth = bench_case_depth(what);
}

/* Puts `bytes` of chunks, as many in flight as the case has. */
static kvs_status fill(struct medium_way *way, const struct bench_case *what, uint64_t bytes)
{
  uint64_t left = (bytes + what->size - 1) / what->size;
  uint32_t depth = bench_case_depth(what), in_flight = 0;
  kvs_status status = KVS_OK;

  payload_make(way, what);
  for (uint32_t i = 0; i < depth && left > 0 && status == KVS_OK; i++, left--) {
    way->slots[i].iov.length = what->size;
    status = put_issue(way, &way->slots[i]);
    in_flight += status == KVS_OK;
  }
  while (in_flight > 0) {
    struct slot *slot = wait_for_one(way);

    in_flight--;
    if (status == KVS_OK)
      status = slot->status;
    if (status == KVS_OK && left > 0) {
      left--;
      status = put_issue(way, slot);
      in_flight += status == KVS_OK;
    }
  }
  return status;
}

/* ---- volumes ---- */

static void volume_close(struct volume *volume)
{
  if (volume->medium != NULL)
    volume->medium->ops->destroy(volume->medium);
  bench_held_close(&volume->held);
  memset(volume, 0, sizeof *volume);
}

static kvs_status medium_make(const struct medium_way *way, const struct bench_case *what,
                              struct volume *volume)
{
  char name[BENCH_ENDPOINT_MAX + 64], size[KVI_FORMAT_MAX];

  if (way->id == BENCH_REDIS_TIER)
    return bench_redis_medium(way->servers->redis_port, bench_case_connections(what), &volume->medium);
  snprintf(name, sizeof name, "%s/%s-%s", way->servers->files, bench_way_name(way->id),
           kvi_format_size(what->size, size));
  return bench_ssd_medium(way->id, name, way->servers->volume_bytes, what->size, &volume->medium);
}

static kvs_status volume_open(struct medium_way *way, const struct bench_case *what, struct volume *volume)
{
  uint64_t bytes = way->id == BENCH_REDIS_TIER ? BENCH_REDIS_BYTES : way->servers->volume_bytes;
  kvs_status status = medium_make(way, what, volume);

  if (status != KVS_OK)
    return status;
  volume->size = what->size;
  volume->connections = bench_case_connections(what);
  way->volume = volume;
  if (!bench_held_open(&volume->held, volume->medium, what->size, bytes / what->size + BENCH_DEPTH_MAX))
    return KVS_ERR_NOMEM;
  if (way->id != BENCH_REDIS_TIER && way->id != BENCH_SSD_FULL)
    volume->held.most =
        bytes / 2 / what->size; /* log files are free of what is alive when it is their turn */
  status = bench_held_recover(&volume->held);
  if (status == KVS_OK && way->id == BENCH_REDIS_TIER)
    status = bench_redis_wait(volume->medium);
  if (way->id != BENCH_REDIS_TIER) /* every byte of the files is written once and more */
    return status == KVS_OK ? fill(way, what, bytes / 4 * 5) : status;
  return status;
}

static bool fits(const struct medium_way *way, const struct volume *volume, const struct bench_case *what)
{
  return volume->size == what->size &&
         (way->id != BENCH_REDIS_TIER || volume->connections == bench_case_connections(what));
}

/* The volume of the case, made if need be. Redis has one at a time: its connections belong to the case. */
static kvs_status volume_choose(struct medium_way *way, const struct bench_case *what)
{
  struct volume *free_one = &way->volumes[0];
  kvs_status status;

  for (size_t i = 0; i < VOLUMES; i++) {
    if (fits(way, &way->volumes[i], what)) {
      way->volume = &way->volumes[i];
      return KVS_OK;
    }
    if (way->volumes[i].size == 0)
      free_one = &way->volumes[i];
  }
  if (way->id == BENCH_REDIS_TIER)
    free_one = &way->volumes[0];
  volume_close(free_one);
  status = volume_open(way, what, free_one);
  if (status != KVS_OK)
    volume_close(free_one);
  return status;
}

/* Redis starts each run empty, but for what a get will read. */
static kvs_status redis_reset(struct medium_way *way, const struct bench_case *what)
{
  struct bench_held *held = &way->volume->held;
  bool touched = way->redis_touched == what->size;
  kvs_status status = touched ? bench_redis_flush(way->servers->redis_port)
                              : bench_redis_touch(way->servers->redis_port, what->size);

  way->redis_touched = status == KVS_OK ? what->size : 0;
  held->oldest = held->next;
  return status == KVS_OK && !is_write(what) ? fill(way, what, BENCH_SERVER_BYTES) : status;
}

/* ---- the ops ---- */

static void medium_close(void *any)
{
  struct medium_way *way = any;

  if (way == NULL)
    return;
  for (size_t i = 0; i < VOLUMES; i++)
    volume_close(&way->volumes[i]);
  bench_ring_close(&way->ring);
  pthread_cond_destroy(&way->ended);
  pthread_mutex_destroy(&way->lock);
  free(way->tables);
  free(way);
}

static kvs_status medium_open(const struct bench_way_config *config, void **way_p)
{
  struct medium_way *way = calloc(1, sizeof *way);

  *way_p = NULL;
  if (way == NULL)
    return KVS_ERR_NOMEM;
  way->id = config->way;
  way->servers = config->servers;
  pthread_mutex_init(&way->lock, NULL);
  kvi_cond_init(&way->ended);
  kvi_rand_seed(&way->random, 1);
  memset(way->space, 0x5a, sizeof way->space);
  for (uint32_t i = 0; i < BENCH_DEPTH_MAX; i++)
    way->slots[i] = (struct slot){.index = i, .way = way};
  way->tables = calloc(PLACES_MAX, TABLE_BYTES);
  if (way->tables == NULL || !bench_ring_open(&way->ring)) {
    medium_close(way);
    return KVS_ERR_NOMEM;
  }
  *way_p = way;
  return KVS_OK;
}

static kvs_status medium_prepare(void *any, const struct bench_case *what)
{
  struct medium_way *way = any;
  const struct bench_held *held;
  kvs_status status = what->size > 0 ? volume_choose(way, what) : KVS_ERR_INVALID;

  if (status == KVS_OK && way->id == BENCH_REDIS_TIER)
    status = redis_reset(way, what);
  if (status != KVS_OK || way->volume == NULL)
    return status;
  held = &way->volume->held;
  way->n_ready = 0;
  way->last_put = NEVER;
  if (is_write(what)) {
    payload_make(way, what);
    return KVS_OK;
  }
  for (uint32_t i = 0; i < COMPARED && status == KVS_OK; i++)
    status = compare(way, held->oldest + kvi_rand_below(&way->random, held->next - held->oldest), what->size);
  bench_ring_cut(&way->ring, what); /* the payload makes place for what is read */
  way->payload = 0;
  /* Somewhere in the older half: fio starts there too, so that both read what has the same age. */
  way->cursor = held->oldest + kvi_rand_below(&way->random, (held->next - held->oldest) / 2 + 1);
  return status;
}

static uint64_t number_to_read(struct medium_way *way, const struct bench_case *what)
{
  const struct bench_held *held = &way->volume->held;

  if (what->op == BENCH_RANDOM_READ)
    return held->oldest + kvi_rand_below(&way->random, held->next - held->oldest);
  if (way->cursor >= held->next)
    way->cursor = held->oldest;
  return way->cursor++;
}

static kvs_status medium_issue(void *any, const struct bench_case *what, uint32_t index, uint64_t sequence)
{
  struct medium_way *way = any;
  struct slot *slot = &way->slots[index];

  (void)sequence;
  slot->iov.length = what->size;
  return is_write(what) ? put_issue(way, slot)
                        : get_issue(way, slot, number_to_read(way, what), bench_ring_next(&way->ring, index));
}

static kvs_status medium_reap(void *any, const struct bench_case *what, struct bench_done *done_p)
{
  const struct slot *slot = wait_for_one(any);

  done_p->slot = slot->index;
  done_p->bytes = what->size;
  if (slot->status == KVS_OK && !slot->is_put &&
      !bench_pattern_glance(slot->iov.base, what->size, ~bench_seed(what->size, slot->place)))
    return KVS_ERR_CORRUPT;
  return slot->status;
}

static kvs_status medium_verify(void *any, const struct bench_case *what)
{
  struct medium_way *way = any;

  return is_write(what) && way->last_put != NEVER ? compare(way, way->last_put, what->size) : KVS_OK;
}

const struct bench_way_ops bench_way_medium = {
    .open = medium_open,
    .prepare = medium_prepare,
    .issue = medium_issue,
    .reap = medium_reap,
    .verify = medium_verify,
    .close = medium_close,
};
