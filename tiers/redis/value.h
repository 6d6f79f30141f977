/*
 * tiers/redis/value.h: a chunk as the value of a Redis string (docs/formats/redis.md): header, parent's key, segment table, payload.
 *
 * The prologue is all that stands before the payload. Nothing here allocates; what comes from Redis is never trusted.
 */
#ifndef KVASIR_TIERS_REDIS_VALUE_H
#define KVASIR_TIERS_REDIS_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/keys.h>

#include "proto/chunk.h"
#include "proto/limits.h"
#include "tiers/redis/key.h"

#define KVI_REDIS_HEADER     64u
#define KVI_REDIS_HEADER_MAX (KVI_REDIS_HEADER + KVS_KEY_MAX)
#define KVI_REDIS_LOOK_BYTES                                                                                 \
  (KVI_REDIS_HEADER_MAX + KVI_CHUNK_TABLE_FIRST) /* with the table's first bytes, which say the quality */
#define KVI_REDIS_PROLOGUE_MAX                                                                               \
  (KVI_REDIS_HEADER_MAX + KVI_CHUNK_TABLE_HEAD + KVI_SEGMENTS_MAX * (uint32_t)sizeof(struct kvi_segment))

/* Why there is no chunk, or none was written. The order is that of the counters' names in causes.c. */
enum kvi_redis_cause {
  KVI_REDIS_NONE = 0,
  KVI_REDIS_ABSENT,     /* Redis has no such key */
  KVI_REDIS_WRONG_TYPE, /* it is no string */
  KVI_REDIS_FOREIGN,    /* not ours: magic */
  KVI_REDIS_VERSION,    /* a version we do not know */
  KVI_REDIS_LENGTH,     /* cut short, or something was appended */
  KVI_REDIS_MISPLACED,  /* a chunk with another identity */
  KVI_REDIS_CHECKSUM,
  KVI_REDIS_TOO_LARGE, /* above redis.max_value */
  KVI_REDIS_NO_ROOM,   /* there was no memory to land it in */
  KVI_REDIS_FULL,      /* maxmemory */
  KVI_REDIS_DEADLINE,  /* no answer in time */
  KVI_REDIS_DOWN,      /* no connection, or it was lost, or the breaker is open */
  KVI_REDIS_DENIED,    /* password, user or permission */
  KVI_REDIS_REFUSED,   /* any other error of Redis */
  KVI_REDIS_BUSY,      /* our own bounds */
  KVI_REDIS_CAUSES
};

/* A value's header, decoded, and the quality from its table. */
struct kvi_redis_value {
  uint64_t value_bytes, payload_bytes;
  uint32_t prologue_bytes, header_bytes;
  uint16_t version; /* 2 if the payload is coded */
  uint32_t n_segments;
  uint32_t place;
  bool unchained;
  uint32_t parent_length;
  uint8_t parent[KVS_KEY_MAX];
  uint64_t ttl_ms;  /* of its own, after each use; 0: none */
  uint16_t quality; /* set by kvi_redis_value_quality and kvi_redis_value_table */
};

/* What a writer says of a chunk. */
struct kvi_redis_chunk {
  uint32_t place;
  bool unchained;
  const uint8_t *parent; /* NULL: none */
  uint32_t parent_length;
  uint16_t quality;
  const struct kvi_segment *segments; /* lengths and checksums */
  uint32_t n_segments;
  uint64_t ttl_ms; /* at most UINT32_MAX; 0: none of its own */
};

/*
 * Writes header and table to out. *length_p gets their bytes, *payload_p the sum of the segments. Errors: KVS_ERR_BUFFER (room is too
 * small; KVI_REDIS_PROLOGUE_MAX always does), KVS_ERR_INVALID (segments, parent or ttl_ms out of bounds).
 */
kvs_status kvi_redis_value_write(const struct kvi_redis_key *key, const struct kvi_redis_chunk *chunk,
                                 uint8_t *out, size_t room, size_t *length_p, uint64_t *payload_p);

/*
 * Reads a header from the first `size` bytes of a value, of which at least the header must be there: KVI_REDIS_HEADER_MAX always do, and
 * a value that is shorter as a whole is passed as it is. value_bytes: what Redis says of the value's length; 0: not known. KVI_REDIS_NONE, or why it is no
 * chunk with this key.
 */
enum kvi_redis_cause kvi_redis_value_read(const struct kvi_redis_key *key, const uint8_t *bytes, size_t size,
                                          uint64_t value_bytes, struct kvi_redis_value *value_p);

/* Bytes of the header whose first KVI_REDIS_HEADER bytes are given; KVI_REDIS_HEADER when they are no header of ours. */
uint32_t kvi_redis_value_header_bytes(const uint8_t *bytes);

/*
 * The quality of a value whose header was read, from its first `size` bytes: KVI_REDIS_LOOK_BYTES always do. The table's checksum is not compared, since
 * it is of all the table: so it is good for looks, not for readers. KVI_REDIS_NONE, KVI_REDIS_LENGTH, KVI_REDIS_CHECKSUM (no table of such a value begins there).
 */
enum kvi_redis_cause kvi_redis_value_quality(struct kvi_redis_value *value, const uint8_t *bytes,
                                             size_t size);

/*
 * Does what lies there, whose quality is known, give way to a chunk of this quality and so many bytes of payload? To one that has lost less; to one that has lost as much only if it is shorter.
 * To none that has lost more.
 */
bool kvi_redis_value_gives_way(const struct kvi_redis_value *there, uint16_t quality, uint64_t payload_bytes);

/* The table of a prologue whose header was read; `bytes` are value->prologue_bytes. *table_p points into them. */
enum kvi_redis_cause kvi_redis_value_table(struct kvi_redis_value *value, const uint8_t *bytes,
                                           struct kvi_chunk_table *table_p);

/* "absent", "wrong_type", ...: static, for counters and logs. */
const char *kvi_redis_cause_name(enum kvi_redis_cause cause);

#endif
