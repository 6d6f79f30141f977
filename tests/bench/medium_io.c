#include "tests/bench/medium_io.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/thread.h"

#define TENANT      "bench"
#define DEADLINE_NS (30 * KVI_NS_PER_S)
#define TABLE_BYTES (KVI_CHUNK_TABLE_HEAD + sizeof(struct kvi_segment))
#define PLACES_MAX  (BENCH_RING_BYTES >> 16) /* of 64 KiB */

void medium_io_close(struct medium_io *io)
{
  bench_ring_close(&io->ring);
  pthread_cond_destroy(&io->ended);
  pthread_mutex_destroy(&io->lock);
  free(io->tables);
}

kvs_status medium_io_open(struct medium_io *io)
{
  memset(io, 0, sizeof *io);
  pthread_mutex_init(&io->lock, NULL);
  kvi_cond_init(&io->ended);
  memset(io->space, 0x5a, sizeof io->space);
  for (uint32_t i = 0; i < BENCH_DEPTH_MAX; i++)
    io->slots[i] = (struct medium_slot){.index = i, .io = io};
  io->tables = calloc(PLACES_MAX, TABLE_BYTES);
  if (io->tables == NULL || !bench_ring_open(&io->ring)) {
    medium_io_close(io);
    return KVS_ERR_NOMEM;
  }
  return KVS_OK;
}

static void end(struct medium_slot *slot, kvs_status status)
{
  struct medium_io *io = slot->io;

  pthread_mutex_lock(&io->lock);
  slot->status = status;
  io->ready[io->n_ready++] = slot->index;
  pthread_cond_signal(&io->ended);
  pthread_mutex_unlock(&io->lock);
}

static void put_done(struct kvi_medium_put *put, kvs_status status)
{
  struct medium_slot *slot = put->user;

  if (status == KVS_EXISTS) /* of an earlier run, in a medium that is shared */
    status = KVS_OK;
  if (status == KVS_OK) /* media without handles: any but 0 */
    bench_held_end(&slot->io->volume->held, slot->number, put->handle != 0 ? put->handle : 1);
  end(slot, status);
}

static void get_done(struct kvi_medium_get *get, kvs_status status)
{
  end(get->user, status);
}

static kvs_status land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                       const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct medium_slot *slot = get->user;

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
  struct medium_slot *slot = get->user;

  *iov_p = &slot->iov;
  *n_iov_p = 1;
  return KVS_OK;
}

static struct kvi_medium_identity identity_of(const struct medium_slot *slot)
{
  return (struct kvi_medium_identity){.tenant = TENANT,
                                      .space = slot->io->space,
                                      .key = slot->key,
                                      .key_length = BENCH_KEY,
                                      .unchained = true};
}

kvs_status medium_io_put(struct medium_io *io, struct medium_slot *slot)
{
  const uint8_t *table;

  slot->iov.base = bench_ring_next(&io->ring, slot->index);
  slot->place = (uint32_t)((size_t)((uint8_t *)slot->iov.base - io->ring.slab.base) / slot->iov.length);
  slot->number = bench_held_begin(&io->volume->held, slot->place);
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
  table = io->tables + slot->place * TABLE_BYTES;
  if (kvi_chunk_table_read(table, TABLE_BYTES, &slot->put.table) != KVS_OK)
    return KVS_ERR_INTERNAL;
  io->last_put = slot->number;
  return io->volume->medium->ops->put(io->volume->medium, &slot->put);
}

kvs_status medium_io_get(struct medium_io *io, struct medium_slot *slot, uint64_t number, void *to)
{
  struct bench_held_chunk chunk;

  if (!bench_held_find(&io->volume->held, number, &chunk))
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
  return io->volume->medium->ops->get(io->volume->medium, &slot->get);
}

struct medium_slot *medium_io_wait(struct medium_io *io)
{
  uint32_t index;

  pthread_mutex_lock(&io->lock);
  while (io->n_ready == 0)
    pthread_cond_wait(&io->ended, &io->lock); /* a medium ends every operation by its deadline */
  index = io->ready[0];
  memmove(io->ready, io->ready + 1, --io->n_ready * sizeof io->ready[0]);
  pthread_mutex_unlock(&io->lock);
  return &io->slots[index];
}

kvs_status medium_io_compare(struct medium_io *io, uint64_t number, uint64_t size)
{
  struct medium_slot *slot = &io->slots[0];
  kvs_status status;

  slot->iov.length = size;
  status = medium_io_get(io, slot, number, io->ring.scratch.base);
  if (status == KVS_OK)
    status = medium_io_wait(io)->status;
  if (status == KVS_OK && !bench_pattern_check(slot->iov.base, size, ~bench_seed(size, slot->place)))
    status = KVS_ERR_CORRUPT;
  return status;
}

void medium_io_payload(struct medium_io *io, const struct bench_case *what)
{
  struct bench_case puts = *what;

  puts.op = BENCH_PUT;
  if (io->payload == what->size && io->payload_depth == bench_case_depth(what))
    return;
  bench_ring_cut(&io->ring, &puts);
  for (uint64_t i = 0; i < io->ring.slab.bytes / what->size; i++) {
    struct kvi_segment segment = {.length = (uint32_t)what->size};

    segment.crc32c = kvi_crc32c_update(0, io->ring.slab.base + i * what->size, what->size);
    kvi_chunk_table_write(io->tables + i * TABLE_BYTES, &segment, 1, 0);
  }
  io->payload = what->size;
  io->payload_depth = bench_case_depth(what);
}

kvs_status medium_io_fill(struct medium_io *io, const struct bench_case *what, uint64_t bytes)
{
  uint64_t left = (bytes + what->size - 1) / what->size;
  uint32_t depth = bench_case_depth(what), in_flight = 0;
  kvs_status status = KVS_OK;

  medium_io_payload(io, what);
  for (uint32_t i = 0; i < depth && left > 0 && status == KVS_OK; i++, left--) {
    io->slots[i].iov.length = what->size;
    status = medium_io_put(io, &io->slots[i]);
    in_flight += status == KVS_OK;
  }
  while (in_flight > 0) {
    struct medium_slot *slot = medium_io_wait(io);

    in_flight--;
    if (status == KVS_OK)
      status = slot->status;
    if (status == KVS_OK && left > 0) {
      left--;
      status = medium_io_put(io, slot);
      in_flight += status == KVS_OK;
    }
  }
  return status;
}
