/* proto/local/copy.c: walking two scatter lists at once. */
#include "proto/local/copy.h"

#include "base/crc32c.h"

struct local_cursor kvi_local_cursor(const struct kvi_iov *iov, uint32_t n_iov)
{
  return (struct local_cursor){.iov = iov, .n_iov = n_iov};
}

/* Bytes left in the current entry, which is made one that is not used up. */
static size_t cursor_room(struct local_cursor *cursor)
{
  while (cursor->index < cursor->n_iov && cursor->offset == cursor->iov[cursor->index].length) {
    cursor->index++;
    cursor->offset = 0;
  }
  return cursor->index < cursor->n_iov ? cursor->iov[cursor->index].length - cursor->offset : 0;
}

/* Where the cursor stands; NULL in a hole. */
static uint8_t *cursor_place(const struct local_cursor *cursor)
{
  uint8_t *base = cursor->iov[cursor->index].base;

  return base == NULL ? NULL : base + cursor->offset;
}

bool kvi_local_cursor_in_hole(const struct local_cursor *cursor, size_t length)
{
  struct local_cursor at = *cursor;

  while (length > 0) {
    size_t room = cursor_room(&at);

    if (room == 0 || cursor_place(&at) != NULL)
      return false;
    if (room > length)
      room = length;
    at.offset += room;
    length -= room;
  }
  return true;
}

void kvi_local_cursor_skip(struct local_cursor *cursor, size_t length)
{
  while (length > 0) {
    size_t room = cursor_room(cursor);

    if (room == 0)
      return;
    if (room > length)
      room = length;
    cursor->offset += room;
    length -= room;
  }
}

uint32_t kvi_local_copy(struct local_cursor *to, struct local_cursor *from, size_t length)
{
  uint32_t crc = 0;

  while (length > 0) {
    size_t n = cursor_room(to);
    size_t available = cursor_room(from);
    uint8_t *place;

    if (n > available)
      n = available;
    if (n > length)
      n = length;
    if (n == 0)
      break;
    place = cursor_place(to);
    crc = place == NULL ? kvi_crc32c_update(crc, cursor_place(from), n)
                        : kvi_crc32c_copy(crc, place, cursor_place(from), n);
    to->offset += n;
    from->offset += n;
    length -= n;
  }
  return crc;
}

uint64_t kvi_local_iov_length(const struct kvi_iov *iov, uint32_t n_iov)
{
  uint64_t sum = 0;

  for (uint32_t i = 0; i < n_iov; i++) {
    if (sum + iov[i].length < sum)
      return UINT64_MAX;
    sum += iov[i].length;
  }
  return sum;
}
