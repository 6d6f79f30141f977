/* tiers/ssd/read.c: gets: one read of the whole record, its payload to where it is wanted if that can be; then everything about it is checked. */
#include <string.h>

#include "tiers/ssd/volume_private.h"

#define RATE_WINDOW_NS (50 * KVI_NS_PER_MS)

static bool identity_is(const struct kvi_medium_identity *a, const struct kvi_medium_identity *b)
{
  return a->key_length == b->key_length && memcmp(a->key, b->key, a->key_length) == 0 &&
         memcmp(a->space, b->space, KVS_DIGEST_SIZE) == 0 && strcmp(a->tenant, b->tenant) == 0;
}

static uint64_t average(uint64_t old, uint64_t sample)
{
  return old == 0 ? sample : old - old / 8 + sample / 8;
}

/* Bytes over the time in which any read was under way, so that the depth is in the figure; and how long one took. */
static void rate_note(struct kvi_ssd_volume *volume, const struct kvi_ssd_op *op)
{
  uint64_t now = kvi_now_ns();

  volume->reads_bytes += op->io.length;
  volume->reads--;
  pthread_mutex_lock(&volume->lock);
  volume->stats.get_bytes += op->io.length;
  volume->stats.read_latency_us = average(volume->stats.read_latency_us, (now - op->started_ns) / 1000);
  if (volume->reads == 0 || now - volume->reads_since_ns > RATE_WINDOW_NS) {
    uint64_t us = (now - volume->reads_since_ns) / 1000 + 1;

    volume->stats.read_bytes_per_s =
        average(volume->stats.read_bytes_per_s, volume->reads_bytes * 1000 / us * 1000);
    volume->reads_since_ns = now;
    volume->reads_bytes = 0;
  }
  pthread_mutex_unlock(&volume->lock);
}

/* Is that what was asked for? */
static kvs_status identity_check(struct kvi_medium_get *get, const struct kvi_medium_identity *identity)
{
  if (get->known)
    return get->known(get, identity);
  return identity_is(identity, &get->identity) ? KVS_OK : KVS_ERR_CORRUPT;
}

/* The record as it was read is checked and handed over. */
static kvs_status deliver(struct kvi_ssd_op *op, struct kvi_medium_get *get)
{
  const struct kvi_ssd_use *use = &op->volume->files[op->io.file].use;
  const uint8_t *bytes = op->buffer.bytes;
  struct kvi_ssd_record record;
  uint64_t payload_at;
  kvs_status status;

  if (kvi_ssd_record_read(bytes, use, op->io.at, &record) != KVS_OK || record.kind != KVI_SSD_CHUNK ||
      record.bytes != op->io.length)
    return KVS_ERR_CORRUPT;
  status = identity_check(get, &record.identity);
  if (status != KVS_OK)
    return status;
  payload_at = kvi_ssd_payload_at(record.n_segments);
  if (op->n_places > 0 && payload_at != op->head)
    return KVS_ERR_CORRUPT;
  if (kvi_ssd_record_check(bytes, op->n_places > 0 ? op->head : record.bytes, &record, false, NULL) != KVS_OK)
    return KVS_ERR_CORRUPT;
  if (op->n_places > 0)
    return kvi_medium_landed(get, bytes + KVI_SSD_HEAD, payload_at - KVI_SSD_HEAD);
  return kvi_medium_deliver(get, bytes + KVI_SSD_HEAD, record.bytes - KVI_SSD_HEAD,
                            payload_at - KVI_SSD_HEAD);
}

static void record_read(struct kvi_ssd_io *io, int error)
{
  struct kvi_ssd_op *op = io->user;
  struct kvi_ssd_volume *volume = op->volume;
  struct kvi_medium_get *get = op->get;
  kvs_status status = error == 0 ? KVS_OK : KVS_ERR_IO;

  kvi_ssd_device_said(volume, "reading", io->file, error);
  rate_note(volume, op);
  if (get && error == 0)
    status = deliver(op, get);
  volume->files[io->file].reading--;
  kvi_ssd_op_free(op);
  if (get)
    kvi_ssd_get_end(volume, get, status);
}

static bool is_readable(const struct kvi_ssd_file *file)
{
  return (file->state >= KVI_SSD_OPEN && file->state <= KVI_SSD_SEALED) || file->state == KVI_SSD_BAD;
}

/* The get is over before anything was read. */
static bool get_refuse(struct kvi_ssd_volume *volume, struct kvi_medium_get *get, kvs_status status)
{
  kvi_ssd_get_end(volume, get, status);
  return true;
}

/*
 * Bytes of a record of so many that come before its payload, if that is to be read to where the caller wants it; else all of them, and the payload is copied
 * from there.
 */
static uint64_t head_bytes(const struct kvi_medium_get *get, uint64_t bytes)
{
  uint64_t payload = kvi_ssd_round(get->length, KVI_SSD_BLOCK);

  return get->room && payload > 0 && payload < bytes ? bytes - payload : bytes;
}

static kvs_status places_ask(struct kvi_ssd_op *op, struct kvi_medium_get *get)
{
  const struct kvi_iov *iov;
  uint32_t n_iov;
  kvs_status status;

  get->table_bytes = (uint32_t)(op->head - KVI_SSD_HEAD);
  status = get->room(get, &iov, &n_iov);
  if (status == KVS_OK && !kvi_ssd_op_places(op, op->head, iov, n_iov))
    status = KVS_ERR_NOMEM;
  return status;
}

/* False: not now. */
static bool get_start(struct kvi_ssd_volume *volume, struct kvi_medium_get *get, kvi_list_node *node)
{
  uint64_t at, bytes = kvi_ssd_handle_bytes(get->handle), head = head_bytes(get, bytes);
  struct kvi_ssd_op *op;
  uint32_t file;
  kvs_status status = KVS_OK;

  if (!kvi_ssd_handle_find(volume, get->handle, &file, &at) || bytes == 0 ||
      at + bytes > volume->config.file_bytes || !is_readable(&volume->files[file])) {
    kvi_list_remove(&volume->gets, node);
    return get_refuse(volume, get, KVS_MISS);
  }
  op = kvi_ssd_op_take(volume, head, false);
  if (!op)
    return false;
  kvi_list_remove(&volume->gets, node);
  op->head = head;
  if (head < bytes)
    status = places_ask(op, get);
  if (status != KVS_OK) {
    kvi_ssd_op_free(op);
    if (status == KVS_ERR_FULL && volume->reads > 0) { /* those under way hold room, which they give back */
      kvi_list_push_front(&volume->gets, node);
      return false;
    }
    return get_refuse(volume, get, status);
  }
  op->get = get;
  op->io = (struct kvi_ssd_io){.kind = KVI_SSD_READ,
                               .file = file,
                               .at = at,
                               .bytes = op->n_places > 0 ? NULL : op->buffer.bytes,
                               .places = op->places,
                               .n_places = op->n_places,
                               .length = bytes,
                               .done = record_read,
                               .user = op};
  volume->files[file].reading++;
  if (volume->reads++ == 0) {
    volume->reads_since_ns = op->started_ns;
    volume->reads_bytes = 0;
  }
  kvi_ssd_submit(volume, &op->io);
  return true;
}

void kvi_ssd_read_step(struct kvi_ssd_volume *volume)
{
  kvi_list_node *node;

  while ((node = kvi_list_first(&volume->gets)) != NULL)
    if (!get_start(volume, kvi_list_entry(node, struct kvi_medium_get, medium_link), node))
      return;
}
