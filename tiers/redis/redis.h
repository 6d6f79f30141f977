/*
 * tiers/redis/redis.h: chunks in a Redis that several nodes share: one server, one watched by Sentinel, or a Cluster.
 *
 * One thread of its own holds all connections. Any thread submits operations; each ends in exactly one call of its done function, on
 * that thread, at the latest KVI_REDIS_SLACK_MS after its deadline, whatever Redis does. Nothing here blocks a caller.
 *
 * Several connections carry chunks, pipelined; one more carries what is small, so that a lookup does not wait behind megabytes.
 */
#ifndef KVASIR_TIERS_REDIS_REDIS_H
#define KVASIR_TIERS_REDIS_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "base/list.h"
#include "proto/wire.h"
#include "tiers/redis/key.h"
#include "tiers/redis/value.h"

#define KVI_REDIS_SLACK_MS        50u
#define KVI_REDIS_ADDRESSES_MAX   64u
#define KVI_REDIS_CONNECTIONS_MAX 16u
#define KVI_REDIS_PIPELINE_MAX    256u
#define KVI_REDIS_OPS_MAX         65536u

struct kvi_redis;

enum kvi_redis_mode { KVI_REDIS_SINGLE, KVI_REDIS_SENTINEL, KVI_REDIS_CLUSTER };

struct kvi_redis_config {
  enum kvi_redis_mode mode;
  const char *const *
      addresses; /* "host:port": the server; the sentinels; some nodes of the cluster. Copied, like all strings */
  size_t n_addresses;
  const char *username, *password; /* NULL or "": none; a user without a password is refused */
  const char *sentinel_master;     /* its name at the sentinels */
  const char *sentinel_username, *sentinel_password; /* those of the sentinels themselves */
  bool tls;                                          /* refused: hiredis 0.14 has none */
  uint32_t connections;                              /* for chunks, to each server; 0: 4 */
  uint32_t pipeline;                                 /* commands in flight on each; 0: 16 */
  uint32_t max_ops;                                  /* submitted and not done; 0: 4096 */
  uint32_t connect_timeout_ms;                       /* until a connection is ready for commands; 0: 1000 */
  uint32_t
      stall_timeout_ms; /* a connection that moves no byte for so long, while there are some to move, is closed; 0: 2000 */
  uint32_t
      breaker_failures; /* deadlines in a row, one after the other, in which a server said nothing at all; 0: 8 */
  uint32_t retry_first_ms, retry_longest_ms; /* 0: 100, 5000 */
  uint32_t topology_ms;     /* how often the sentinels or the cluster are asked; 0: 1000 and 10000 */
  uint64_t value_bytes_max; /* of a whole value; 0: what the largest chunk needs */
};

/*
 * Starts the thread; does not wait for Redis, which may be down. *error: NULL or room for a sentence about KVS_ERR_CONFIG. Errors: KVS_ERR_CONFIG,
 * KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
kvs_status kvi_redis_open(const struct kvi_redis_config *config, char *error, size_t error_size,
                          struct kvi_redis **redis_p);
/* Ends what is under way (DOWN), then the thread. Nobody may submit any more. A slow resolver delays it. NULL is fine. */
void kvi_redis_close(struct kvi_redis *redis);

/* ---- operations ---- */

enum kvi_redis_verb {
  KVI_REDIS_LOOK, /* is it there? reads the header alone */
  KVI_REDIS_GET,  /* the whole chunk */
  KVI_REDIS_PUT,  /* writes it, unless what is there does not give way to it (kvi_redis_value_gives_way) */
  KVI_REDIS_UNLINK, /* removes it; a put of the same key that was submitted before comes to nothing, or is removed too */
  KVI_REDIS_TURN /* nothing: done is called on the tier's thread; needs no key */
};

/* Where a get's payload goes. */
struct kvi_redis_landing {
  const struct kvi_iov *iov; /* value.payload_bytes in all; stays until done */
  uint32_t n_iov;
};

struct kvi_redis_op;
/*
 * Called once in a get that found a chunk, before its payload: op->value is its header, table the segments with their checksums (valid during
 * the call). Says where the payload goes. Anything but KVS_OK ends the get with cause NO_ROOM. Must not block.
 */
typedef kvs_status kvi_redis_land_fn(struct kvi_redis_op *op, const struct kvi_chunk_table *table,
                                     struct kvi_redis_landing *landing_p);
/* The end. The op may be used again, submitted again (not from the close), or freed. Must not block. */
typedef void kvi_redis_done_fn(struct kvi_redis_op *op);

/* The caller's memory, from submit to done the tier's. */
struct kvi_redis_op {
  enum kvi_redis_verb verb;
  struct kvi_redis_key key;
  uint64_t deadline_ns; /* kvi_now_ns() clock */
  uint64_t ttl_ms;      /* put: how long Redis keeps it; 0: for ever */
  uint64_t
      renew_ms; /* get, and put that finds it: renewed to that, or to the value's own if that is shorter; 0: for ever */
  kvi_redis_done_fn *done;
  kvi_redis_land_fn *land; /* get */
  void *ctx;
  /* put: what kvi_redis_value_write wrote, and the payload. Left alone until done. */
  const uint8_t *prologue;
  size_t prologue_length;
  const struct kvi_iov *iov;
  uint32_t n_iov;
  uint64_t payload_bytes;
  uint16_t quality; /* of the table in the prologue */

  /*
   * Results. status: KVS_OK; KVS_EXISTS (put: what is there does not give way to it, or is a newer node's); KVS_MISS with a cause (look, get, unlink: whatever went wrong); put:
   * KVS_ERR_CANCELED (an unlink of its key came before it was written), KVS_ERR_FULL, KVS_ERR_DEADLINE, KVS_ERR_UNREACHABLE, KVS_ERR_DENIED, KVS_ERR_TOO_LARGE, KVS_ERR_IO (refused), each with its cause.
   */
  kvs_status status;
  enum kvi_redis_cause cause;
  bool unsure; /* put: a SET was sent whole, and its reply did not come */
  struct kvi_redis_value
      value; /* look and get that found a chunk, and put that ends with KVS_EXISTS; of a newer node's value all is 0 */

  /* The tier's own. */
  struct {
    kvi_list_node all, waiting;
    kvi_list *queue;             /* it waits in, or NULL */
    struct kvi_redis_conn *conn; /* it was given to, or NULL */
    uint32_t command;            /* its number on that connection */
    uint64_t began_ns, sent_ns;  /* sent_ns: given to conn */
    uint8_t redirects, attempts;
    bool asking, write; /* write: the put's look is done */
    bool absent, late;  /* absent: it found nothing, and writes only if that is still so; late: it was not */
    bool landing;
    bool forgotten; /* a put whose chunk is being removed: its SET is on its way, and not tried again */
    uint16_t slot;
  } own;
};

/* KVS_OK: done will be called. Errors: KVS_ERR_BUSY (max_ops; for looks three quarters of them), KVS_ERR_CLOSED, KVS_ERR_TOO_LARGE (put above value_bytes_max), KVS_ERR_INVALID. */
kvs_status kvi_redis_submit(struct kvi_redis *redis, struct kvi_redis_op *op);

/* ---- what it counts ---- */

struct kvi_redis_stats {
  uint64_t looks, look_hits, gets, get_hits, puts, put_writes, put_exists, put_canceled, unlinks;
  uint64_t bytes_in, bytes_out;      /* payload */
  uint64_t causes[KVI_REDIS_CAUSES]; /* operations that ended with each */
  uint64_t busy;                     /* refused by submit */
  uint64_t connects, connect_failures, disconnects, stalls, breaker_opened, redirects, failovers, retries;
  uint64_t ops, connections, servers, servers_down; /* now */
  uint64_t read_bytes_per_s;                        /* measured over the last gets; 0: none yet */
  uint64_t round_trip_us;                           /* of looks; 0: none yet */
};
/* Of a whole value, as configured. */
uint64_t kvi_redis_value_bytes_max(const struct kvi_redis *redis);
/* Any thread. */
void kvi_redis_stats(struct kvi_redis *redis, struct kvi_redis_stats *stats_p);
/* Whether an operation submitted now has a chance: some server is thought to be up. Any thread; a glance, no promise. */
bool kvi_redis_is_up(const struct kvi_redis *redis);

#endif
