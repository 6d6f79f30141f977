#include "base/crc32c.h"
#include "proto/grpc/grpc_private.h"

struct kvi_iov kvi_iov_cursor_next(struct kvi_iov_cursor *cursor, size_t max)
{
  while (cursor->index < cursor->n_iov && cursor->offset == cursor->iov[cursor->index].length) {
    cursor->index++;
    cursor->offset = 0;
  }
  if (cursor->index == cursor->n_iov)
    return (struct kvi_iov){NULL, 0};

  const struct kvi_iov *place = &cursor->iov[cursor->index];
  size_t left = place->length - cursor->offset;
  struct kvi_iov run = {place->base ? (uint8_t *)place->base + cursor->offset : NULL,
                        left < max ? left : max};
  cursor->offset += run.length;
  return run;
}

bool kvi_iov_cursor_land(struct kvi_iov_cursor *cursor, const uint8_t *bytes, size_t length, uint32_t *crc)
{
  while (length > 0) {
    struct kvi_iov run = kvi_iov_cursor_next(cursor, length);
    if (run.length == 0)
      return false;
    *crc = run.base ? kvi_crc32c_copy(*crc, run.base, bytes, run.length)
                    : kvi_crc32c_update(*crc, bytes, run.length);
    bytes += run.length;
    length -= run.length;
  }
  return true;
}

uint64_t kvi_iov_total(const struct kvi_iov *iov, uint32_t n_iov)
{
  uint64_t total = 0;
  for (uint32_t i = 0; i < n_iov; i++)
    total += iov[i].length;
  return total;
}
