/* tiers/redis/medium.c: see medium.h. Each put and get of the medium carries one operation of the tier. */
#include "tiers/redis/medium_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiers/policy/policy.h"

struct kvi_redis *kvi_redis_of_medium(struct kvi_medium *medium)
{
  return kvi_redis_medium_of(medium)->redis;
}

kvs_status kvi_redis_medium_key(const struct kvi_redis_medium *own,
                                const struct kvi_medium_identity *identity, struct kvi_redis_key *key_p)
{
  struct kvi_redis_identity asked = {.tenant = identity->tenant,
                                     .space = identity->space,
                                     .key = identity->key,
                                     .key_length = identity->key_length};

  return kvi_redis_key_make(own->prefix, &asked, key_p);
}

kvs_status kvi_redis_medium_outcome(struct kvi_redis_medium *own, const struct kvi_redis_op *op)
{
  if (op->status == KVS_OK || op->status == KVS_EXISTS || op->status == KVS_ERR_CANCELED)
    return op->status; /* canceled: a put that a removal came before */
  switch (op->cause) {
  case KVI_REDIS_ABSENT:
  case KVI_REDIS_VERSION: /* a newer node's: not there for us, and no damage */
    return KVS_MISS;
  case KVI_REDIS_TOO_LARGE:
    return op->verb == KVI_REDIS_PUT ? KVS_ERR_TOO_LARGE : KVS_MISS;
  case KVI_REDIS_WRONG_TYPE:
  case KVI_REDIS_FOREIGN:
  case KVI_REDIS_LENGTH:
  case KVI_REDIS_MISPLACED:
  case KVI_REDIS_CHECKSUM:
    return KVS_ERR_CORRUPT;
  case KVI_REDIS_FULL:
    return KVS_ERR_FULL;
  case KVI_REDIS_DEADLINE:
    return KVS_ERR_DEADLINE;
  case KVI_REDIS_BUSY:
    return KVS_ERR_BUSY;
  default:
    return atomic_load(&own->closing) ? KVS_ERR_CLOSED : KVS_ERR_IO;
  }
}

/* ---- put ---- */

struct put {
  struct kvi_redis_op op;
  struct kvi_redis_medium *own;
  struct kvi_medium_put *asked;
  uint8_t prologue[];
};

static void put_done(struct kvi_redis_op *op)
{
  struct put *put = op->ctx;
  struct kvi_medium_put *asked = put->asked;
  kvs_status status = kvi_redis_medium_outcome(put->own, op);

  if (status == KVS_EXISTS) {
    asked->stored = op->value.payload_bytes;
    asked->stored_quality = op->value.quality;
  }
  asked->unsure = op->unsure;
  asked->handle = 0;
  free(put);
  asked->done(asked, status);
}

static kvs_status prologue_write(struct put *put, const struct kvi_medium_put *asked, size_t room)
{
  uint32_t n = asked->table.n_segments;
  struct kvi_segment *segments = calloc(n, sizeof(*segments));
  struct kvi_redis_chunk chunk = {.place = asked->identity.place,
                                  .unchained = asked->identity.unchained,
                                  .parent = asked->identity.parent,
                                  .parent_length = asked->identity.key_length,
                                  .quality = asked->table.quality,
                                  .ttl_ms = asked->ttl_ms,
                                  .segments = segments,
                                  .n_segments = n};
  kvs_status status;

  if (!segments)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < n; i++)
    segments[i] = kvi_chunk_table_segment(&asked->table, i);
  status = kvi_redis_value_write(&put->op.key, &chunk, put->prologue, room, &put->op.prologue_length,
                                 &put->op.payload_bytes);
  free(segments);
  return status == KVS_OK && put->op.payload_bytes != asked->length ? KVS_ERR_INVALID : status;
}

static kvs_status medium_put(struct kvi_medium *medium, struct kvi_medium_put *asked)
{
  struct kvi_redis_medium *own = kvi_redis_medium_of(medium);
  size_t room = KVI_REDIS_HEADER_MAX + kvi_chunk_table_size(asked->table.n_segments);
  struct put *put;
  kvs_status status;

  if (asked->table.n_segments == 0 || asked->table.n_segments > KVI_SEGMENTS_MAX)
    return KVS_ERR_INVALID;
  put = calloc(1, sizeof(*put) + room);
  if (!put)
    return KVS_ERR_NOMEM;
  put->own = own;
  put->asked = asked;
  put->op = (struct kvi_redis_op){.verb = KVI_REDIS_PUT,
                                  .deadline_ns = asked->deadline_ns,
                                  .ttl_ms = kvi_policy_ttl_ms(asked->ttl_ms, own->ttl_ms),
                                  .renew_ms = own->ttl_ms,
                                  .done = put_done,
                                  .ctx = put,
                                  .quality = asked->table.quality,
                                  .prologue = put->prologue,
                                  .iov = asked->iov,
                                  .n_iov = asked->n_iov};
  status = kvi_redis_medium_key(own, &asked->identity, &put->op.key);
  if (status == KVS_OK)
    status = prologue_write(put, asked, room);
  if (status == KVS_OK)
    status = kvi_redis_submit(own->redis, &put->op);
  if (status != KVS_OK)
    free(put);
  return status;
}

/* ---- get ---- */

struct get {
  struct kvi_redis_op op;
  struct kvi_redis_medium *own;
  struct kvi_medium_get *asked;
  kvs_status landed; /* what land said */
};

static kvs_status get_land(struct kvi_redis_op *op, const struct kvi_chunk_table *table,
                           struct kvi_redis_landing *landing_p)
{
  struct get *get = op->ctx;

  get->asked->place = op->value.place;
  get->asked->unchained = op->value.unchained;
  get->asked->ttl_ms = kvi_policy_ttl_ms(op->value.ttl_ms, op->renew_ms);
  get->asked->parent_length = op->value.parent_length;
  memcpy(get->asked->parent, op->value.parent, op->value.parent_length);
  get->landed = get->asked->land(get->asked, table, &landing_p->iov, &landing_p->n_iov);
  return get->landed;
}

static void get_done(struct kvi_redis_op *op)
{
  struct get *get = op->ctx;
  struct kvi_medium_get *asked = get->asked;
  kvs_status status = op->cause == KVI_REDIS_NO_ROOM ? get->landed : kvi_redis_medium_outcome(get->own, op);

  free(get);
  asked->done(asked, status);
}

static kvs_status medium_get(struct kvi_medium *medium, struct kvi_medium_get *asked)
{
  struct kvi_redis_medium *own = kvi_redis_medium_of(medium);
  struct get *get = calloc(1, sizeof(*get));
  kvs_status status;

  if (!get)
    return KVS_ERR_NOMEM;
  get->own = own;
  get->asked = asked;
  get->op = (struct kvi_redis_op){.verb = KVI_REDIS_GET,
                                  .deadline_ns = asked->deadline_ns,
                                  .renew_ms = own->ttl_ms,
                                  .done = get_done,
                                  .land = get_land,
                                  .ctx = get};
  status = kvi_redis_medium_key(own, &asked->identity, &get->op.key);
  if (status == KVS_OK)
    status = kvi_redis_submit(own->redis, &get->op);
  if (status != KVS_OK)
    free(get);
  return status;
}

/* ---- the rest ---- */

/* What Redis needs for a key that goes by time: entries of two tables, the object, the heads of two strings; without what its allocator rounds up. */
#define REDIS_OWN 128u

static void medium_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  const struct kvi_redis_medium *own = (const struct kvi_redis_medium *)medium;

  *attr_p = (struct kvi_medium_attr){
      .name = "redis",
      .kind = KVI_TIER_REDIS,
      .shared = true,
      .ttl_ms = own->ttl_ms,
      .chunk_bytes = (uint32_t)strlen(own->prefix) + KVI_REDIS_KEY_FIXED + KVI_REDIS_HEADER + REDIS_OWN,
      .chunk_bytes_max = kvi_redis_value_bytes_max(own->redis) - KVI_REDIS_PROLOGUE_MAX};
}

static void medium_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  struct kvi_redis_stats stats;
  const uint64_t *causes = stats.causes;

  kvi_redis_stats(kvi_redis_medium_of(medium)->redis, &stats);
  *stats_p = (struct kvi_medium_stats){
      .puts = stats.puts,
      .put_bytes = stats.bytes_out,
      .put_full = causes[KVI_REDIS_FULL],
      .put_errors =
          stats.puts - stats.put_writes - stats.put_exists - stats.put_canceled - causes[KVI_REDIS_FULL],
      .gets = stats.gets,
      .get_bytes = stats.bytes_in,
      .get_misses = stats.gets - stats.get_hits,
      .corrupt = causes[KVI_REDIS_CHECKSUM] + causes[KVI_REDIS_LENGTH] + causes[KVI_REDIS_MISPLACED] +
                 causes[KVI_REDIS_FOREIGN] + causes[KVI_REDIS_WRONG_TYPE],
      .deadlines = causes[KVI_REDIS_DEADLINE],
      .busy = stats.busy,
      .device_errors = stats.connect_failures + stats.disconnects,
      .queued = stats.ops,
      .devices = stats.servers,
      .devices_failed = stats.servers_down,
      .read_bytes_per_s = stats.read_bytes_per_s,
      .read_latency_us = stats.round_trip_us,
  };
}

static void medium_destroy(struct kvi_medium *medium)
{
  struct kvi_redis_medium *own = kvi_redis_medium_of(medium);

  if (!medium)
    return;
  atomic_store(&own->closing, true);
  kvi_redis_close(own->redis);
  free(own);
}

static struct kvi_medium_ops medium_ops = {.attr = medium_attr,
                                           .stats = medium_stats,
                                           .put = medium_put,
                                           .get = medium_get,
                                           .lookup = kvi_redis_medium_lookup,
                                           .remove = kvi_redis_medium_remove,
                                           .drop = kvi_redis_medium_drop,
                                           .destroy = medium_destroy};
static pthread_once_t completed = PTHREAD_ONCE_INIT;

static void complete(void)
{
  kvi_medium_ops_complete(&medium_ops);
}

kvs_status kvi_redis_medium_create(const struct kvi_redis_medium_config *config, char *error,
                                   size_t error_size, struct kvi_medium **medium_p)
{
  struct kvi_redis_medium *own;
  kvs_status status;

  *medium_p = NULL;
  if (strlen(config->key_prefix) > KVI_REDIS_PREFIX_MAX) {
    snprintf(error, error_size, "the prefix of keys is longer than %u bytes", KVI_REDIS_PREFIX_MAX);
    return KVS_ERR_CONFIG;
  }
  own = calloc(1, sizeof(*own));
  if (!own)
    return KVS_ERR_NOMEM;
  pthread_once(&completed, complete);
  own->medium.ops = &medium_ops;
  own->ttl_ms = config->ttl_ms;
  snprintf(own->prefix, sizeof(own->prefix), "%s", config->key_prefix);
  status = kvi_redis_open(&config->redis, error, error_size, &own->redis);
  if (status != KVS_OK) {
    free(own);
    return status;
  }
  *medium_p = &own->medium;
  return KVS_OK;
}
