/*
 * tiers/redis/reply.h: replies of Redis out of a stream of bytes, parsed by hiredis with bounds.
 *
 * hiredis' own connection reads through a buffer that grows with the largest reply, and copies a bulk string twice more. So the bytes
 * of chunks never come here (in.c takes them where they belong), and everything else comes piece by piece: every reply ends in
 * CRLF, so a reader that is fed up to each CRLF in turn never swallows a byte of the next reply.
 *
 * One thread.
 */
#ifndef KVASIR_TIERS_REDIS_REPLY_H
#define KVASIR_TIERS_REDIS_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include <kvasir/status.h>

#define KVI_REDIS_REPLY_BYTES_MAX                                                                            \
  (4u << 20) /* of one reply; CLUSTER SLOTS of a large cluster has some 100 KiB */
#define KVI_REDIS_REPLY_ELEMENTS_MAX 16384u /* of one array */

struct kvi_redis_reader {
  redisReader *hiredis;
  redisReplyObjectFunctions standard, functions; /* hiredis' own, and ours with bounds */
  size_t fed;                                    /* bytes of the reply under way */
};

/* The struct must not move afterwards. KVS_ERR_NOMEM. */
kvs_status kvi_redis_reader_create(struct kvi_redis_reader *reader);
/* Zeroed is fine. */
void kvi_redis_reader_destroy(struct kvi_redis_reader *reader);

/*
 * Takes bytes up to the end of one reply. *used_p: how many. KVS_OK: *reply_p is a reply, to be freed with freeReplyObject. KVS_PENDING: all bytes
 * were used, more is needed. Errors: KVS_ERR_PROTOCOL (not Redis' protocol, or above the bounds), KVS_ERR_NOMEM: the reader is of no more use.
 */
kvs_status kvi_redis_reader_feed(struct kvi_redis_reader *reader, const char *bytes, size_t length,
                                 size_t *used_p, redisReply **reply_p);

#endif
