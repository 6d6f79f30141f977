/* proto/local/copy.h: walking two scatter lists at once. */
#ifndef KVI_PROTO_LOCAL_COPY_H
#define KVI_PROTO_LOCAL_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

/* A place in a scatter list. Zero-length entries are stepped over. */
struct local_cursor {
  const struct kvi_iov *iov;
  uint32_t n_iov, index;
  size_t offset; /* in iov[index] */
};

struct local_cursor kvi_local_cursor(const struct kvi_iov *iov, uint32_t n_iov);

/* True if the next `length` bytes are nothing but holes. */
bool kvi_local_cursor_in_hole(const struct local_cursor *cursor, size_t length);

/* Steps over `length` bytes. The list must hold them. */
void kvi_local_cursor_skip(struct local_cursor *cursor, size_t length);

/*
 * Moves `length` bytes from one list to the other and returns their CRC-32C. A hole of `to` takes no bytes but counts for
 * the checksum. Both lists must hold that many bytes; `from` has no holes.
 */
uint32_t kvi_local_copy(struct local_cursor *to, struct local_cursor *from, size_t length);

/* The sum of a list's lengths; UINT64_MAX on overflow. */
uint64_t kvi_local_iov_length(const struct kvi_iov *iov, uint32_t n_iov);

#endif
