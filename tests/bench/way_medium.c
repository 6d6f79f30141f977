/*
 * The SSD tier and the Redis tier, through tiers/medium.h, as the store uses them: operations that end later, in a callback. Checksums are
 * compared by the tiers themselves, in both directions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "base/text.h"
#include "tests/bench/medium.h"
#include "tests/bench/medium_io.h"

#define VOLUMES  3u  /* sizes of an SSD way, each in a volume of its own */
#define COMPARED 16u /* chunks whose every byte is compared before gets are timed */
#define NEVER    UINT64_MAX

struct medium_way {
  enum bench_way_id id;
  const struct bench_servers *servers;
  struct medium_volume volumes[VOLUMES];
  uint64_t redis_touched; /* size of the chunks that touched its memory last; 0: none did */
  struct medium_io io;
  uint64_t cursor;
  kvi_rand random;
};

static bool is_write(const struct bench_case *what)
{
  return what->op == BENCH_WRITE || what->op == BENCH_PUT;
}

/* ---- volumes ---- */

static void volume_close(struct medium_volume *volume)
{
  if (volume->medium != NULL)
    volume->medium->ops->destroy(volume->medium);
  bench_held_close(&volume->held);
  memset(volume, 0, sizeof *volume);
}

static kvs_status medium_make(const struct medium_way *way, const struct bench_case *what,
                              struct medium_volume *volume)
{
  char name[BENCH_ENDPOINT_MAX + 64], size[KVI_FORMAT_MAX];

  if (way->id == BENCH_REDIS_TIER)
    return bench_redis_medium(way->servers->redis_port, bench_case_connections(what), &volume->medium);
  snprintf(name, sizeof name, "%s/%s-%s", way->servers->files, bench_way_name(way->id),
           kvi_format_size(what->size, size));
  return bench_ssd_medium(way->id, name, way->servers->volume_bytes, what->size, &volume->medium);
}

static kvs_status volume_open(struct medium_way *way, const struct bench_case *what,
                              struct medium_volume *volume)
{
  uint64_t bytes = way->id == BENCH_REDIS_TIER ? BENCH_REDIS_BYTES : way->servers->volume_bytes;
  kvs_status status = medium_make(way, what, volume);

  if (status != KVS_OK)
    return status;
  volume->size = what->size;
  volume->connections = bench_case_connections(what);
  way->io.volume = volume;
  if (!bench_held_open(&volume->held, volume->medium, what->size, bytes / what->size + BENCH_DEPTH_MAX))
    return KVS_ERR_NOMEM;
  if (way->id != BENCH_REDIS_TIER && way->id != BENCH_SSD_FULL)
    volume->held.most =
        bytes / 2 / what->size; /* log files are free of what is alive when it is their turn */
  status = bench_held_recover(&volume->held);
  if (status == KVS_OK && way->id == BENCH_REDIS_TIER)
    status = bench_redis_wait(volume->medium);
  if (way->id != BENCH_REDIS_TIER) /* every byte of the files is written once and more */
    return status == KVS_OK ? medium_io_fill(&way->io, what, bytes / 4 * 5) : status;
  return status;
}

static bool fits(const struct medium_way *way, const struct medium_volume *volume,
                 const struct bench_case *what)
{
  return volume->size == what->size &&
         (way->id != BENCH_REDIS_TIER || volume->connections == bench_case_connections(what));
}

/* The volume of the case, made if need be. Redis has one at a time: its connections belong to the case. */
static kvs_status volume_choose(struct medium_way *way, const struct bench_case *what)
{
  struct medium_volume *free_one = &way->volumes[0];
  kvs_status status;

  for (size_t i = 0; i < VOLUMES; i++) {
    if (fits(way, &way->volumes[i], what)) {
      way->io.volume = &way->volumes[i];
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
  struct bench_held *held = &way->io.volume->held;
  bool touched = way->redis_touched == what->size;
  kvs_status status = touched ? bench_redis_flush(way->servers->redis_port)
                              : bench_redis_touch(way->servers->redis_port, what->size);

  way->redis_touched = status == KVS_OK ? what->size : 0;
  held->oldest = held->next;
  return status == KVS_OK && !is_write(what) ? medium_io_fill(&way->io, what, BENCH_SERVER_BYTES) : status;
}

/* ---- the ops ---- */

static void medium_close(void *any)
{
  struct medium_way *way = any;

  if (way == NULL)
    return;
  for (size_t i = 0; i < VOLUMES; i++)
    volume_close(&way->volumes[i]);
  medium_io_close(&way->io);
  free(way);
}

static kvs_status medium_open(const struct bench_way_config *config, void **way_p)
{
  struct medium_way *way = calloc(1, sizeof *way);
  kvs_status status;

  *way_p = NULL;
  if (way == NULL)
    return KVS_ERR_NOMEM;
  way->id = config->way;
  way->servers = config->servers;
  kvi_rand_seed(&way->random, 1);
  status = medium_io_open(&way->io);
  if (status == KVS_OK)
    *way_p = way;
  else
    free(way);
  return status;
}

static kvs_status medium_prepare(void *any, const struct bench_case *what)
{
  struct medium_way *way = any;
  const struct bench_held *held;
  kvs_status status = what->size > 0 ? volume_choose(way, what) : KVS_ERR_INVALID;

  if (status == KVS_OK && way->id == BENCH_REDIS_TIER)
    status = redis_reset(way, what);
  if (status != KVS_OK || way->io.volume == NULL)
    return status;
  held = &way->io.volume->held;
  way->io.n_ready = 0;
  way->io.last_put = NEVER;
  if (is_write(what)) {
    medium_io_payload(&way->io, what);
    return KVS_OK;
  }
  for (uint32_t i = 0; i < COMPARED && status == KVS_OK; i++)
    status = medium_io_compare(
        &way->io, held->oldest + kvi_rand_below(&way->random, held->next - held->oldest), what->size);
  bench_ring_cut(&way->io.ring, what); /* the payload makes place for what is read */
  way->io.payload = 0;
  /* Somewhere in the older half: fio starts there too, so that both read what has the same age. */
  way->cursor = held->oldest + kvi_rand_below(&way->random, (held->next - held->oldest) / 2 + 1);
  return status;
}

static uint64_t number_to_read(struct medium_way *way, const struct bench_case *what)
{
  const struct bench_held *held = &way->io.volume->held;

  if (what->op == BENCH_RANDOM_READ)
    return held->oldest + kvi_rand_below(&way->random, held->next - held->oldest);
  if (way->cursor >= held->next)
    way->cursor = held->oldest;
  return way->cursor++;
}

static kvs_status medium_issue(void *any, const struct bench_case *what, uint32_t index, uint64_t sequence)
{
  struct medium_way *way = any;
  struct medium_slot *slot = &way->io.slots[index];

  (void)sequence;
  slot->iov.length = what->size;
  return is_write(what) ? medium_io_put(&way->io, slot)
                        : medium_io_get(&way->io, slot, number_to_read(way, what),
                                        bench_ring_next(&way->io.ring, index));
}

static kvs_status medium_reap(void *any, const struct bench_case *what, struct bench_done *done_p)
{
  struct medium_way *way = any;
  const struct medium_slot *slot = medium_io_wait(&way->io);

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

  return is_write(what) && way->io.last_put != NEVER
             ? medium_io_compare(&way->io, way->io.last_put, what->size)
             : KVS_OK;
}

const struct bench_way_ops bench_way_medium = {
    .open = medium_open,
    .prepare = medium_prepare,
    .issue = medium_issue,
    .reap = medium_reap,
    .verify = medium_verify,
    .close = medium_close,
};
