/* tiers/ssd/requests.c: puts and gets of a volume: how they come in, wait, and end. */
#include <string.h>

#include "tiers/ssd/volume_private.h"

static kvi_list_node *put_link(struct kvi_medium_put *put)
{
  return (kvi_list_node *)put->medium_link;
}

static kvi_list_node *get_link(struct kvi_medium_get *get)
{
  return (kvi_list_node *)get->medium_link;
}
static_assert(sizeof(kvi_list_node) <= sizeof(((struct kvi_medium_put *)0)->medium_link),
              "the medium's own links");

#define PUT_OF(node) kvi_list_entry(node, struct kvi_medium_put, medium_link)
#define GET_OF(node) kvi_list_entry(node, struct kvi_medium_get, medium_link)

/* ---- requests come ---- */

/* One of the two, the other NULL. */
static kvs_status accept(struct kvi_ssd_volume *volume, kvi_list *list, kvi_list_node *node,
                         struct kvi_medium_put *put, const struct kvi_medium_get *get)
{
  kvs_status status = KVS_OK;
  bool wake = false;

  pthread_mutex_lock(&volume->lock);
  if (volume->closed)
    status = KVS_ERR_CLOSED;
  else if (put ? kvi_ssd_refuses_writes(volume) : atomic_load_explicit(&volume->failed, memory_order_relaxed))
    status = KVS_ERR_IO;
  else if (volume->queued >= KVI_SSD_QUEUE_MAX)
    status = KVS_ERR_BUSY;
  if (status == KVS_OK) {
    kvi_list_push_back(list, node);
    volume->queued++;
    volume->queued_put_bytes += put ? put->length : 0;
    volume->queued_get_bytes += get ? kvi_ssd_handle_bytes(get->handle) : 0;
    if (put) { /* a deletion from here on is of this one too, whenever it is written */
      kvi_ssd_put_generation_set(put, ++volume->generation);
      kvi_rate_begin(&volume->writing, kvi_now_ns());
    }
    wake = volume->asleep;
    volume->asleep = false;
  } else {
    volume->stats.busy += status == KVS_ERR_BUSY;
  }
  pthread_mutex_unlock(&volume->lock);
  if (wake)
    volume->disk->ops->wake(volume->disk);
  return status;
}

kvs_status kvi_ssd_volume_put(struct kvi_ssd_volume *volume, struct kvi_medium_put *put)
{
  if (kvi_ssd_record_bytes(put->length, put->table.n_segments) > volume->record_bytes_max)
    return KVS_ERR_TOO_LARGE;
  memset(put->medium_link, 0, sizeof(put->medium_link));
  put->handle = 0;
  return accept(volume, &volume->puts_new, put_link(put), put, NULL);
}

kvs_status kvi_ssd_volume_get(struct kvi_ssd_volume *volume, struct kvi_medium_get *get)
{
  memset(get->medium_link, 0, sizeof(get->medium_link));
  return accept(volume, &volume->gets_new, get_link(get), NULL, get);
}

static void list_move(kvi_list *from, kvi_list *to)
{
  kvi_list_node *node;

  while ((node = kvi_list_first(from)) != NULL) {
    kvi_list_remove(from, node);
    kvi_list_push_back(to, node);
  }
}

/* ---- requests end ---- */

void kvi_ssd_put_end(struct kvi_ssd_volume *volume, struct kvi_medium_put *put, kvs_status status)
{
  pthread_mutex_lock(&volume->lock);
  volume->queued--;
  volume->queued_put_bytes -= put->length;
  kvi_rate_end(&volume->writing, status == KVS_OK ? put->length : 0, kvi_now_ns());
  if (status == KVS_OK) {
    volume->stats.puts++;
    volume->stats.put_bytes += put->length;
  } else {
    volume->stats.put_full += status == KVS_ERR_FULL;
    volume->stats.put_errors += status == KVS_ERR_IO;
    volume->stats.corrupt += status == KVS_ERR_CORRUPT;
    volume->stats.deadlines += status == KVS_ERR_DEADLINE;
  }
  pthread_mutex_unlock(&volume->lock);
  put->done(put, status);
}

void kvi_ssd_get_end(struct kvi_ssd_volume *volume, struct kvi_medium_get *get, kvs_status status)
{
  pthread_mutex_lock(&volume->lock);
  volume->queued--;
  volume->queued_get_bytes -= kvi_ssd_handle_bytes(get->handle);
  volume->stats.gets += status == KVS_OK;
  volume->stats.get_misses += status == KVS_MISS;
  volume->stats.get_errors += status == KVS_ERR_IO;
  volume->stats.corrupt += status == KVS_ERR_CORRUPT;
  volume->stats.deadlines += status == KVS_ERR_DEADLINE;
  pthread_mutex_unlock(&volume->lock);
  get->done(get, status);
}

void kvi_ssd_waiting_puts_end(struct kvi_ssd_volume *volume, kvs_status status)
{
  kvi_list_node *node;

  while ((node = kvi_list_first(&volume->puts)) != NULL) {
    kvi_list_remove(&volume->puts, node);
    kvi_ssd_put_end(volume, PUT_OF(node), status);
  }
}

void kvi_ssd_waiting_end(struct kvi_ssd_volume *volume, kvs_status status)
{
  kvi_list_node *node;

  while ((node = kvi_list_first(&volume->gets)) != NULL) {
    kvi_list_remove(&volume->gets, node);
    kvi_ssd_get_end(volume, GET_OF(node), status);
  }
  kvi_ssd_waiting_puts_end(volume, status);
}

/*
 * The requests of these operations end, and the operations go on without them; the memory that the disk still reads or writes (under_way) stays until it has
 * answered.
 */
static void ops_expire(struct kvi_ssd_volume *volume, kvi_list *ops, uint64_t now, kvs_status status,
                       bool all, bool under_way)
{
  kvi_list_for_each(ops, node)
  {
    struct kvi_ssd_op *op = kvi_list_entry(node, struct kvi_ssd_op, link);
    struct kvi_medium_put *put = op->put;
    struct kvi_medium_get *get = op->get;

    if (get && (all || now >= get->deadline_ns)) {
      op->get = NULL;
      if (under_way && op->n_places > 0)
        get->keep(get, &op->hold);
      kvi_ssd_get_end(volume, get, status);
    } else if (put && (all || now >= put->deadline_ns)) {
      op->put = NULL;
      if (under_way && op->n_places > 0)
        put->keep(put, &op->hold);
      kvi_ssd_put_end(volume, put, status);
    }
  }
}

void kvi_ssd_expire(struct kvi_ssd_volume *volume, uint64_t now, kvs_status status, bool all)
{
  kvi_list_for_each_safe(&volume->gets, node)
  {
    if (!all && now < GET_OF(node)->deadline_ns)
      continue;
    kvi_list_remove(&volume->gets, node);
    kvi_ssd_get_end(volume, GET_OF(node), status);
  }
  kvi_list_for_each_safe(&volume->puts, node)
  {
    if (!all && now < PUT_OF(node)->deadline_ns)
      continue;
    kvi_list_remove(&volume->puts, node);
    kvi_ssd_put_end(volume, PUT_OF(node), status);
  }
  ops_expire(volume, &volume->running, now, status, all, true);
  ops_expire(volume, &volume->unsynced, now, status, all, false);
}

/* Takes what came. */
void kvi_ssd_requests_take(struct kvi_ssd_volume *volume)
{
  pthread_mutex_lock(&volume->lock);
  list_move(&volume->puts_new, &volume->puts);
  list_move(&volume->gets_new, &volume->gets);
  volume->asleep = false;
  pthread_mutex_unlock(&volume->lock);
}
