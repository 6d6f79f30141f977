/* tiers/medium.c: what media have in common: refusals of ops they lack, and the way of a payload out of and into memory. */
#include "tiers/medium.h"

#include <string.h>

#include "base/crc32c.h"

static void refuse_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  (void)medium;
  memset(attr_p, 0, sizeof(*attr_p));
}

static void refuse_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  (void)medium;
  memset(stats_p, 0, sizeof(*stats_p));
}

static kvs_status nothing_to_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                                     kvi_medium_found_fn *found)
{
  (void)medium, (void)owner, (void)found;
  return KVS_OK;
}

static kvs_status refuse_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  (void)medium, (void)put;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  (void)medium, (void)get;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  (void)medium, (void)lookup;
  return KVS_ERR_UNSUPPORTED;
}

static kvs_status refuse_remove(struct kvi_medium *medium, struct kvi_medium_remove *remove)
{
  (void)medium, (void)remove;
  return KVS_ERR_UNSUPPORTED;
}

static void ignore_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                        kvi_medium_handle handle, bool for_good)
{
  (void)medium, (void)identity, (void)handle, (void)for_good;
}

static uint32_t no_drops_waiting(struct kvi_medium *medium)
{
  (void)medium;
  return 0;
}

static kvs_status nothing_to_settle(struct kvi_medium *medium, struct kvi_medium_settle *settle)
{
  (void)medium, (void)settle;
  return KVS_OK;
}

static void ignore_destroy(struct kvi_medium *medium)
{
  (void)medium;
}

void kvi_medium_ops_complete(struct kvi_medium_ops *ops)
{
#define COMPLETE(op, with)                                                                                   \
  if (!ops->op)                                                                                              \
  ops->op = (with)
  COMPLETE(attr, refuse_attr);
  COMPLETE(stats, refuse_stats);
  COMPLETE(recover, nothing_to_recover);
  COMPLETE(put, refuse_put);
  COMPLETE(get, refuse_get);
  COMPLETE(lookup, refuse_lookup);
  COMPLETE(remove, refuse_remove);
  COMPLETE(drop, ignore_drop);
  COMPLETE(drops_waiting, no_drops_waiting);
  COMPLETE(settle, nothing_to_settle);
  COMPLETE(destroy, ignore_destroy);
#undef COMPLETE
}

/* A position in a scatter list. */
struct cursor {
  const struct kvi_iov *iov;
  uint32_t n_iov, index;
  size_t offset; /* in iov[index] */
};

/*
 * Sums the next `length` bytes at the cursor, copied out of them or in to them (both NULL: neither). False: the places are too short.
 */
static bool transfer(struct cursor *cursor, uint8_t *out, const uint8_t *in, size_t length, uint32_t *crc_p)
{
  uint32_t crc = 0;

  while (length > 0) {
    const struct kvi_iov *place;
    uint8_t *bytes;
    size_t run;

    if (cursor->index == cursor->n_iov)
      return false;
    place = &cursor->iov[cursor->index];
    bytes = (uint8_t *)place->base + cursor->offset;
    run = place->length - cursor->offset < length ? place->length - cursor->offset : length;
    if (out) {
      crc = kvi_crc32c_copy(crc, out, bytes, run);
      out += run;
    } else if (in) {
      crc = kvi_crc32c_copy(crc, bytes, in, run);
      in += run;
    } else {
      crc = kvi_crc32c_update(crc, bytes, run);
    }
    length -= run;
    cursor->offset += run;
    if (cursor->offset == place->length) {
      cursor->index++;
      cursor->offset = 0;
    }
  }
  *crc_p = crc;
  return true;
}

bool kvi_medium_fits(const struct kvi_chunk_table *table, const struct kvi_iov *iov, uint32_t n_iov)
{
  struct cursor at = {.iov = iov, .n_iov = n_iov};

  for (uint32_t i = 0; i < table->n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(table, i);
    uint32_t crc;

    if (!transfer(&at, NULL, NULL, segment.length, &crc) || crc != segment.crc32c)
      return false;
  }
  return true;
}

kvs_status kvi_medium_landed(struct kvi_medium_get *get, const uint8_t *bytes, size_t size)
{
  struct kvi_chunk_table table;
  const struct kvi_iov *iov;
  uint32_t n_iov;
  kvs_status status;

  if (kvi_chunk_table_read(bytes, size, &table) != KVS_OK || table.length != get->length)
    return KVS_ERR_CORRUPT;
  status = get->land(get, &table, &iov, &n_iov);
  if (status == KVS_OK && !kvi_medium_fits(&table, iov, n_iov))
    status = KVS_ERR_CORRUPT;
  return status;
}

kvs_status kvi_medium_deliver(struct kvi_medium_get *get, const uint8_t *bytes, size_t size,
                              size_t payload_at)
{
  struct kvi_chunk_table table;
  struct cursor to = {0};
  kvs_status status;

  if (payload_at > size || kvi_chunk_table_read(bytes, payload_at, &table) != KVS_OK ||
      table.length > size - payload_at)
    return KVS_ERR_CORRUPT;
  status = get->land(get, &table, &to.iov, &to.n_iov);
  if (status != KVS_OK)
    return status;
  bytes += payload_at;
  for (uint32_t i = 0; i < table.n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(&table, i);
    uint32_t crc;

    if (!transfer(&to, NULL, bytes, segment.length, &crc))
      return KVS_ERR_BUFFER;
    if (crc != segment.crc32c)
      return KVS_ERR_CORRUPT;
    bytes += segment.length;
  }
  return KVS_OK;
}

bool kvi_medium_identity_equal(const struct kvi_medium_identity *a, const struct kvi_medium_identity *b)
{
  return a->key_length == b->key_length && memcmp(a->key, b->key, a->key_length) == 0 &&
         memcmp(a->space, b->space, KVS_DIGEST_SIZE) == 0 && strcmp(a->tenant, b->tenant) == 0;
}

kvs_status kvi_medium_gather(const struct kvi_medium_put *put, uint8_t *to)
{
  struct cursor from = {.iov = put->iov, .n_iov = put->n_iov};

  for (uint32_t i = 0; i < put->table.n_segments; i++) {
    struct kvi_segment segment = kvi_chunk_table_segment(&put->table, i);
    uint32_t crc;

    if (!transfer(&from, to, NULL, segment.length, &crc))
      return KVS_ERR_BUFFER;
    if (crc != segment.crc32c)
      return KVS_ERR_CORRUPT;
    to += segment.length;
  }
  return KVS_OK;
}
