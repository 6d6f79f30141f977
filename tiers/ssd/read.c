/* tiers/ssd/read.c: gets: one read of the whole record, then everything about it is checked while it is copied. */
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

/* The record as it was read is checked and handed over. */
static kvs_status deliver(struct kvi_ssd_op *op, struct kvi_medium_get *get)
{
  const struct kvi_ssd_use *use = &op->volume->files[op->io.file].use;
  const uint8_t *bytes = op->buffer.bytes;
  struct kvi_ssd_record record;

  if (kvi_ssd_record_read(bytes, use, op->io.at, &record) != KVS_OK || record.kind != KVI_SSD_CHUNK ||
      record.bytes != op->io.length || !identity_is(&record.identity, &get->identity) ||
      kvi_ssd_record_check(bytes, record.bytes, &record, false, NULL) != KVS_OK)
    return KVS_ERR_CORRUPT;
  return kvi_medium_deliver(get, bytes + KVI_SSD_HEAD, record.bytes - KVI_SSD_HEAD,
                            kvi_ssd_payload_at(record.n_segments) - KVI_SSD_HEAD);
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

/* False: not now. */
static bool get_start(struct kvi_ssd_volume *volume, struct kvi_medium_get *get, kvi_list_node *node)
{
  uint64_t at, bytes = kvi_ssd_handle_bytes(get->handle);
  struct kvi_ssd_op *op;
  uint32_t file;

  if (!kvi_ssd_handle_find(volume, get->handle, &file, &at) || bytes == 0 ||
      at + bytes > volume->config.file_bytes || volume->files[file].state < KVI_SSD_OPEN ||
      volume->files[file].state > KVI_SSD_SEALED) {
    kvi_list_remove(&volume->gets, node);
    kvi_ssd_get_end(volume, get, KVS_MISS);
    return true;
  }
  op = kvi_ssd_op_take(volume, bytes, false);
  if (!op)
    return false;
  kvi_list_remove(&volume->gets, node);
  op->get = get;
  op->io = (struct kvi_ssd_io){.kind = KVI_SSD_READ,
                               .file = file,
                               .at = at,
                               .bytes = op->buffer.bytes,
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
