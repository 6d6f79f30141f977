/* tiers/ssd/operations.c: what a volume gives its disk to do, and what it makes of the answers. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "tiers/ssd/volume_private.h"

void kvi_ssd_submit(struct kvi_ssd_volume *volume, struct kvi_ssd_io *io)
{
  volume->in_flight++;
  volume->disk->ops->submit(volume->disk, io);
}

struct kvi_ssd_op *kvi_ssd_op_take(struct kvi_ssd_volume *volume, size_t bytes, bool own)
{
  kvi_list_node *node = kvi_list_first(&volume->ops_free);
  struct kvi_ssd_op *op;

  if (!node || (!own && volume->ops_free.length <= KVI_SSD_OPS_OWN))
    return NULL;
  op = kvi_list_entry(node, struct kvi_ssd_op, link);
  memset(op, 0, offsetof(struct kvi_ssd_op, link));
  op->volume = volume;
  op->buffer = kvi_ssd_buffer_take(&volume->buffers, bytes);
  if (!op->buffer.bytes)
    return NULL;
  kvi_list_remove(&volume->ops_free, node);
  kvi_list_push_back(&volume->running, node);
  op->started_ns = kvi_now_ns();
  return op;
}

bool kvi_ssd_op_places(struct kvi_ssd_op *op, size_t head, const struct kvi_iov *iov, uint32_t n_iov)
{
  uint32_t n = n_iov + 1;

  if (n > op->places_room) {
    struct iovec *grown = realloc(op->places, n * sizeof(*grown));

    if (!grown)
      return false;
    op->places = grown;
    op->places_room = n;
  }
  op->places[0] = (struct iovec){.iov_base = op->buffer.bytes, .iov_len = head};
  for (uint32_t i = 0; i < n_iov; i++)
    op->places[i + 1] = (struct iovec){.iov_base = iov[i].base, .iov_len = iov[i].length};
  op->places[n_iov].iov_len = kvi_ssd_round(op->places[n_iov].iov_len, KVI_SSD_BLOCK);
  op->n_places = n;
  return true;
}

void kvi_ssd_op_free(struct kvi_ssd_op *op)
{
  struct kvi_ssd_volume *volume = op->volume;

  if (op->hold.release)
    op->hold.release(&op->hold);
  kvi_ssd_buffer_give(&volume->buffers, op->buffer);
  kvi_list_remove(&volume->running, &op->link);
  kvi_list_push_back(&volume->ops_free, &op->link);
}

/* As when a journal could not be written: what is there can still be read, and is worth as much as before. */
static void read_only_set(struct kvi_ssd_volume *volume)
{
  if (!atomic_exchange_explicit(&volume->read_only, true, memory_order_relaxed))
    kvi_log_error("%s: its file system is read-only: what is there is read, nothing is written any more",
                  volume->name);
}

void kvi_ssd_device_said(struct kvi_ssd_volume *volume, const char *what, uint32_t file, int error)
{
  volume->in_flight--;
  if (error == 0) {
    volume->errors_in_row = 0;
    return;
  }
  kvi_log_limited(KVI_LOG_WARN, "%s: %s log file %u failed: %s", volume->name, what, file, strerror(error));
  pthread_mutex_lock(&volume->lock);
  volume->stats.device_errors++;
  pthread_mutex_unlock(&volume->lock);
  if (error == EROFS) {
    read_only_set(volume);
    return;
  }
  if (++volume->errors_in_row < KVI_SSD_ERRORS_MAX ||
      atomic_load_explicit(&volume->failed, memory_order_relaxed))
    return;
  kvi_log_error("%s: %u operations in a row failed: its log files are out, the node goes on without them",
                volume->name, KVI_SSD_ERRORS_MAX);
  atomic_store_explicit(&volume->failed, true, memory_order_relaxed);
}
