/*
 * Opening a volume that holds many chunks: the volume alone, and with a store and its index over it. The log files are written once, by
 * the tier itself; chunks are small, since an opening reads footers and not payload.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/thread.h"
#include "tests/bench/drive.h"
#include "tests/bench/keys.h"
#include "tiers/ssd/ssd.h"
#include "tiers/store.h"

#define TENANT      "bench"
#define LENGTH      1024u /* a block, behind one with its head and table */
#define RECORD      8192u
#define CHAIN       16u /* chunks of each prefix chain */
#define CHUNK_MAX   (64u << 10)
#define FILES       16u
#define FILE_UNIT   (1u << 20)
#define DRAM_BYTES  (64u << 20)
#define IN_FLIGHT   64u
#define DEADLINE_NS (60 * KVI_NS_PER_S)
#define TABLE_BYTES (KVI_CHUNK_TABLE_HEAD + sizeof(struct kvi_segment))

struct opening {
  enum bench_way_id id;
  const struct bench_servers *servers;
  char path[BENCH_ENDPOINT_MAX + 16];
};

static void open_close(void *way)
{
  free(way);
}

static kvs_status open_open(const struct bench_way_config *config, void **way_p)
{
  struct opening *opening = calloc(1, sizeof *opening);

  *way_p = opening;
  if (opening == NULL)
    return KVS_ERR_NOMEM;
  opening->id = config->way;
  opening->servers = config->servers;
  snprintf(opening->path, sizeof opening->path, "%s/open", config->servers->files);
  return KVS_OK;
}

/* Room for all chunks, their footers and the files that are not written to. Log files as large as a node's, or smaller for few chunks. */
static kvs_status volume_create(const struct opening *opening, const char *path, struct kvi_medium **medium_p)
{
  uint64_t bytes = (uint64_t)opening->servers->open_chunks * (RECORD + 256);
  uint64_t file = (bytes / (FILES - KVI_SSD_FILES_MIN) / FILE_UNIT + 1) * FILE_UNIT;
  struct kvi_ssd_config config = {.paths = &path,
                                  .n_paths = 1,
                                  .chunk_bytes_max = CHUNK_MAX,
                                  .durability = KVI_SSD_DURABLE_SEAL,
                                  .depth = IN_FLIGHT,
                                  .ring = true};

  config.file_bytes = file < KVI_SSD_FILE_BYTES_DEFAULT ? file : KVI_SSD_FILE_BYTES_DEFAULT;
  config.bytes = (bytes / config.file_bytes + 1 + KVI_SSD_FILES_MIN) * config.file_bytes;
  return kvi_ssd_create(&config, medium_p);
}

/* ---- making it ---- */

struct making {
  struct kvi_medium *medium;
  pthread_mutex_t lock;
  pthread_cond_t ended;
  uint32_t free_puts[IN_FLIGHT], n_free;
  kvs_status status;
  struct kvi_medium_put puts[IN_FLIGHT];
  uint8_t keys[IN_FLIGHT][2 * BENCH_KEY];
  uint8_t payload[LENGTH], table[TABLE_BYTES], space[KVS_DIGEST_SIZE];
  struct kvi_iov iov;
};

static void put_done(struct kvi_medium_put *put, kvs_status status)
{
  struct making *making = put->user;

  pthread_mutex_lock(&making->lock);
  if (status != KVS_OK)
    making->status = status;
  making->free_puts[making->n_free++] = (uint32_t)(put - making->puts);
  pthread_cond_signal(&making->ended);
  pthread_mutex_unlock(&making->lock);
}

/* A put that is not in flight; IN_FLIGHT when one has failed. */
static uint32_t put_take(struct making *making)
{
  uint32_t index = IN_FLIGHT;

  pthread_mutex_lock(&making->lock);
  while (making->n_free == 0)
    pthread_cond_wait(&making->ended, &making->lock);
  if (making->status == KVS_OK)
    index = making->free_puts[--making->n_free];
  pthread_mutex_unlock(&making->lock);
  return index;
}

static kvs_status put_one(struct making *making, uint64_t number)
{
  uint32_t index = put_take(making);
  struct kvi_medium_put *put;

  if (index == IN_FLIGHT)
    return making->status;
  put = &making->puts[index];
  *put =
      (struct kvi_medium_put){.identity = {.tenant = TENANT,
                                           .space = making->space,
                                           .key = making->keys[index],
                                           .key_length = BENCH_KEY,
                                           .parent = number % CHAIN ? making->keys[index] + BENCH_KEY : NULL,
                                           .place = (uint32_t)(number % CHAIN)},
                              .iov = &making->iov,
                              .n_iov = 1,
                              .length = LENGTH,
                              .deadline_ns = kvi_now_ns() + DEADLINE_NS,
                              .done = put_done,
                              .user = making};
  bench_key_of_set(making->keys[index], LENGTH, number);
  bench_key_of_set(making->keys[index] + BENCH_KEY, LENGTH, number - 1);
  if (kvi_chunk_table_read(making->table, sizeof making->table, &put->table) != KVS_OK)
    return KVS_ERR_INTERNAL;
  return making->medium->ops->put(making->medium, put);
}

/* All that is put stays. */
static bool holds(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  (void)ctx, (void)identity, (void)handle;
  return true;
}

static bool moved(void *ctx, kvi_medium_handle from, const struct kvi_medium_found *to)
{
  (void)ctx, (void)from, (void)to;
  return true;
}

static uint64_t make_room(void *ctx, uint64_t bytes)
{
  (void)ctx, (void)bytes;
  return 0;
}

static void corrupt(void *ctx, const struct kvi_medium_identity *identity, kvi_medium_handle handle)
{
  (void)ctx, (void)identity, (void)handle;
}

static void lost(void *ctx, kvi_medium_handle first, kvi_medium_handle last)
{
  (void)ctx, (void)first, (void)last;
}

static bool count(void *ctx, const struct kvi_medium_found *found)
{
  (void)found;
  ++*(uint64_t *)ctx;
  return true;
}

static struct kvi_medium_owner owner_of(uint64_t *found)
{
  return (struct kvi_medium_owner){
      .ctx = found, .holds = holds, .moved = moved, .make_room = make_room, .corrupt = corrupt, .lost = lost};
}

static kvs_status put_all(struct making *making, uint32_t chunks)
{
  kvs_status status = KVS_OK;

  for (uint64_t i = 0; i < chunks && status == KVS_OK; i++)
    status = put_one(making, i);
  pthread_mutex_lock(&making->lock);
  while (making->n_free < IN_FLIGHT) /* each ends by its deadline */
    pthread_cond_wait(&making->ended, &making->lock);
  if (status == KVS_OK)
    status = making->status;
  pthread_mutex_unlock(&making->lock);
  return status;
}

static kvs_status make(const struct opening *opening, const char *path)
{
  struct making *making = calloc(1, sizeof *making);
  struct kvi_segment segment = {.length = LENGTH};
  uint64_t found = 0;
  struct kvi_medium_owner owner = owner_of(&found);
  kvs_status status;

  if (making == NULL)
    return KVS_ERR_NOMEM;
  pthread_mutex_init(&making->lock, NULL);
  kvi_cond_init(&making->ended);
  memset(making->space, 0x5a, sizeof making->space);
  segment.crc32c = kvi_crc32c_update(0, making->payload, LENGTH);
  kvi_chunk_table_write(making->table, &segment, 1, 0);
  making->iov = (struct kvi_iov){.base = making->payload, .length = LENGTH};
  for (uint32_t i = 0; i < IN_FLIGHT; i++)
    making->free_puts[making->n_free++] = i;
  status = volume_create(opening, path, &making->medium);
  if (status == KVS_OK) {
    status = making->medium->ops->recover(making->medium, &owner, count);
    if (status == KVS_OK)
      status = put_all(making, opening->servers->open_chunks);
    making->medium->ops->destroy(making->medium);
  }
  pthread_cond_destroy(&making->ended);
  pthread_mutex_destroy(&making->lock);
  free(making);
  return status;
}

/* ---- opening it ---- */

static kvs_status open_prepare(void *way, const struct bench_case *what)
{
  const struct opening *opening = way;
  char unfinished[BENCH_ENDPOINT_MAX + 32];
  kvs_status status;

  (void)what;
  if (access(opening->path, F_OK) == 0) /* made for this row or the other one: they are opened in turn */
    return KVS_OK;
  snprintf(unfinished, sizeof unfinished, "%s.new", opening->path);
  status = make(opening, unfinished);
  if (status == KVS_OK && rename(unfinished, opening->path) != 0)
    status = KVS_ERR_SYSTEM;
  return status;
}

static void fill_sample(const struct opening *opening, uint64_t began, const struct kvi_medium_stats *stats,
                        struct bench_sample *sample)
{
  double chunks = (double)opening->servers->open_chunks;

  sample->value = (double)(kvi_now_ns() - began) / 1e9 * 1e6 / chunks;
  sample->read_bytes = (double)stats->recovery_read_bytes / chunks;
}

static kvs_status run_volume(const struct opening *opening, struct bench_sample *sample)
{
  uint64_t began = kvi_now_ns(), found = 0;
  struct kvi_medium_owner owner = owner_of(&found);
  struct kvi_medium_stats stats;
  struct kvi_medium *medium;
  kvs_status status = volume_create(opening, opening->path, &medium);

  if (status != KVS_OK)
    return status;
  status = medium->ops->recover(medium, &owner, count);
  memset(&stats, 0, sizeof stats);
  medium->ops->stats(medium, &stats);
  fill_sample(opening, began, &stats, sample);
  medium->ops->destroy(medium);
  return status != KVS_OK || found == opening->servers->open_chunks ? status : KVS_ERR_CORRUPT;
}

static kvs_status run_store(const struct opening *opening, struct bench_sample *sample)
{
  struct kvi_store_config config = {
      .dram_bytes = DRAM_BYTES, .chunk_bytes_max = CHUNK_MAX, .max_chunks = opening->servers->open_chunks};
  uint64_t began = kvi_now_ns();
  struct kvi_store_stats stats;
  struct kvi_store *store;
  kvs_status status = volume_create(opening, opening->path, &config.medium);

  if (status == KVS_OK)
    status = kvi_store_open(&config, &store);
  if (status != KVS_OK)
    return status;
  memset(&stats, 0, sizeof stats);
  kvi_store_stats(store, &stats);
  fill_sample(opening, began, &stats.medium, sample);
  sample->index_bytes = (double)stats.index_bytes / (double)opening->servers->open_chunks;
  status = stats.medium_chunks == opening->servers->open_chunks ? KVS_OK : KVS_ERR_CORRUPT;
  kvi_store_close(store);
  return status;
}

static kvs_status open_run(void *way, const struct bench_case *what, double seconds,
                           struct bench_sample *sample)
{
  const struct opening *opening = way;

  (void)what, (void)seconds;
  return opening->id == BENCH_OPEN_STORE ? run_store(opening, sample) : run_volume(opening, sample);
}

const struct bench_way_ops bench_way_open = {
    .open = open_open, .prepare = open_prepare, .run = open_run, .close = open_close};
