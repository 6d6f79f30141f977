/* libkvasir over loopback TCP or a unix socket: one client, one connection, one node. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/client.h>

#include "base/clock.h"
#include "tests/bench/keys.h"
#include "tests/bench/ring.h"
#include "tests/bench/way.h"

#define CHUNKS_MAX   16u
#define SEGMENTS_MAX 16u
#define LOOKUP_MAX   512u
#define TIMEOUT_MS   10000u
#define SMALL_BYTES  (UINT64_C(64) << 10) /* of what read-your-write stores */

/* An operation in flight; its arrays live until it is over. */
struct call {
  kvsc_op op;
  uint64_t first; /* get: place of its first chunk in the working set */
  uint8_t *at;
  uint8_t keys[CHUNKS_MAX * BENCH_KEY];
  kvsc_iov iov[CHUNKS_MAX];
  kvsc_chunk chunks[CHUNKS_MAX];
};

struct way {
  kvsc_client *client;
  kvsc_space *space;
  struct bench_ring ring;
  struct bench_fresh fresh;
  struct call calls[BENCH_DEPTH_MAX];
  uint32_t segments[SEGMENTS_MAX];
  uint8_t lookup_keys[LOOKUP_MAX * BENCH_KEY];
  uint64_t verified; /* chunk size of the working set that this way has compared; 0: none */
};

static void client_close(void *any)
{
  struct way *way = any;

  if (way == NULL)
    return;
  kvsc_close(way->client);
  bench_ring_close(&way->ring);
  free(way);
}

static kvs_status client_open(const struct bench_way_config *config, void **way_p)
{
  bool tcp = config->way == BENCH_GRPC_TCP;
  kvsc_options options = {.struct_size = sizeof options,
                          .endpoint = tcp ? config->servers->node_tcp : config->servers->node_unix,
                          .timeout_ms = TIMEOUT_MS,
                          .wait_connected_ms = 5000};
  kvs_space_desc desc = bench_space();
  struct way *way = calloc(1, sizeof *way);
  kvs_status status = KVS_ERR_NOMEM;

  *way_p = NULL;
  if (way == NULL)
    return status;
  if (bench_ring_open(&way->ring))
    status = kvsc_open(&options, &way->client);
  if (status == KVS_OK)
    status = kvsc_state(way->client, NULL, 0);
  if (status == KVS_OK)
    status = kvsc_space_open(way->client, &desc, &way->space);
  if (status == KVS_OK)
    status = bench_fresh_open(&way->fresh);
  if (status != KVS_OK) {
    client_close(way);
    return status;
  }
  *way_p = way;
  return KVS_OK;
}

static kvs_status wait_op(struct way *way, kvsc_op op, kvsc_completion *completion_p)
{
  return kvsc_wait(way->client, op, 2 * TIMEOUT_MS, completion_p);
}

static kvsc_keys keys_of(const uint8_t *keys, uint32_t n)
{
  return (kvsc_keys){.struct_size = sizeof(kvsc_keys), .n = n, .keys = keys, .unchained = 1};
}

/* Lays the slot's n chunks of `size` bytes at `at`. */
static void lay(struct way *way, struct call *call, uint8_t *at, uint64_t size, uint32_t n, uint32_t segments)
{
  call->at = at;
  for (uint32_t i = 0; i < n; i++) {
    call->iov[i] = (kvsc_iov){at + i * size, size};
    call->chunks[i] = (kvsc_chunk){.iov = &call->iov[i], .n_iov = 1};
    if (segments > 1) {
      call->chunks[i].n_segments = segments;
      call->chunks[i].segment_lengths = way->segments;
    }
  }
}

/* One call of n chunks of the working set from place `first`, waited for. KVS_MISS when one is not there. */
static kvs_status exchange(struct way *way, const struct bench_case *what, bool put, uint64_t first,
                           uint32_t n)
{
  struct call *call = &way->calls[0];
  kvsc_keys keys = keys_of(call->keys, n);
  kvsc_completion completion;
  kvs_status status;

  lay(way, call, way->ring.scratch.base, what->size, n, bench_case_segments(what));
  for (uint32_t i = 0; i < n; i++) {
    bench_key_of_set(call->keys + i * BENCH_KEY, what->size, first + i);
    if (put)
      bench_pattern_fill(call->at + i * what->size, what->size, bench_seed(what->size, first + i));
  }
  status = put ? kvsc_put(way->space, &keys, call->chunks, NULL, &call->op)
               : kvsc_get(way->space, &keys, call->chunks, NULL, &call->op);
  if (status == KVS_OK)
    status = wait_op(way, call->op, &completion);
  if (status != KVS_OK)
    return status;
  if (completion.n_ok != n)
    return completion.status < 0 ? completion.status : KVS_MISS;
  for (uint32_t i = 0; i < n && !put; i++)
    if (!bench_pattern_check(call->at + i * what->size, what->size, bench_seed(what->size, first + i)))
      return KVS_ERR_CORRUPT;
  return KVS_OK;
}

static kvs_status over_set(struct way *way, const struct bench_case *what, bool put)
{
  uint64_t n = BENCH_SERVER_BYTES / what->size;
  uint32_t most = (uint32_t)(way->ring.scratch.bytes / what->size);
  kvs_status status = KVS_OK;

  if (most > CHUNKS_MAX)
    most = CHUNKS_MAX;
  for (uint64_t i = 0; i < n && status == KVS_OK; i += most)
    status = exchange(way, what, put, i, (uint32_t)(n - i < most ? n - i : most));
  return status;
}

/* How much of the working set the node still has; the lookup is a use, so that puts evict other chunks first. */
static kvs_status set_is_there(struct way *way, uint64_t size, uint32_t n, bool *there_p)
{
  uint8_t *blob = way->ring.slab.base; /* large enough for any set's keys, and filled anew afterwards */
  kvsc_keys keys = keys_of(blob, n);
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status;

  for (uint32_t i = 0; i < n; i++)
    bench_key_of_set(blob + (size_t)i * BENCH_KEY, size, i);
  status = kvsc_lookup(way->client, &way->space, 1, &keys, NULL, &op);
  if (status == KVS_OK)
    status = wait_op(way, op, &completion);
  if (status == KVS_OK)
    *there_p = completion.n_ok == n;
  return status;
}

static kvs_status prepare_get(struct way *way, const struct bench_case *what)
{
  bool there = false;
  kvs_status status = set_is_there(way, what->size, (uint32_t)(BENCH_SERVER_BYTES / what->size), &there);

  if (status != KVS_OK || (there && way->verified == what->size))
    return status;
  way->verified = 0;
  if (!there)
    status = over_set(way, what, true);
  if (status == KVS_OK)
    status = over_set(way, what, false);
  if (status == KVS_OK)
    way->verified = what->size;
  return status;
}

/* Lookups ask for chunks of 64 KiB that are there. */
static kvs_status prepare_lookup(struct way *way, const struct bench_case *what)
{
  struct bench_case set = {.way = what->way, .op = BENCH_GET, .size = SMALL_BYTES};

  for (uint32_t i = 0; i < what->keys; i++)
    bench_key_of_set(way->lookup_keys + i * BENCH_KEY, SMALL_BYTES, i);
  bench_ring_cut(&way->ring, &set);
  return prepare_get(way, &set);
}

static kvs_status client_prepare(void *any, const struct bench_case *what)
{
  struct way *way = any;
  struct bench_case small = *what;
  kvs_status status = KVS_OK;

  for (uint32_t i = 0; i < SEGMENTS_MAX; i++)
    way->segments[i] = (uint32_t)(what->size / bench_case_segments(what));
  switch (what->op) {
  case BENCH_LOOKUP:
    return prepare_lookup(way, what);
  case BENCH_GET:
    status = prepare_get(way, what);
    bench_ring_cut(&way->ring, what);
    return status;
  case BENCH_READ_YOUR_WRITE:
    small.size = SMALL_BYTES;
    small.op = BENCH_PUT;
    bench_ring_cut(&way->ring, &small);
    return KVS_OK;
  case BENCH_PUT:
    bench_ring_cut(&way->ring, what);
    return KVS_OK;
  default:
    return KVS_OK;
  }
}

static kvs_status issue_transfer(struct way *way, const struct bench_case *what, uint32_t slot,
                                 uint64_t sequence)
{
  struct call *call = &way->calls[slot];
  uint32_t n = bench_case_chunks(what);
  uint64_t set = BENCH_SERVER_BYTES / what->size;
  kvsc_keys keys = keys_of(call->keys, n);
  kvsc_call options = {.struct_size = sizeof options, .user = slot};

  lay(way, call, bench_ring_next(&way->ring, slot), what->size, n, bench_case_segments(what));
  if (what->op == BENCH_PUT) {
    bench_fresh_keys(&way->fresh, call->keys, n);
    return kvsc_put(way->space, &keys, call->chunks, &options, &call->op);
  }
  call->first = sequence * n % set;
  for (uint32_t i = 0; i < n; i++)
    bench_key_of_set(call->keys + i * BENCH_KEY, what->size, (call->first + i) % set);
  return kvsc_get(way->space, &keys, call->chunks, &options, &call->op);
}

static kvs_status client_issue(void *any, const struct bench_case *what, uint32_t slot, uint64_t sequence)
{
  struct way *way = any;
  struct call *call = &way->calls[slot];
  struct bench_case small = *what;
  kvsc_keys keys = keys_of(way->lookup_keys, what->keys);

  switch (what->op) {
  case BENCH_EMPTY_CALL:
    return kvsc_ping(way->client, NULL, &call->op);
  case BENCH_LOOKUP:
    return kvsc_lookup(way->client, &way->space, 1, &keys, NULL, &call->op);
  case BENCH_READ_YOUR_WRITE:
    small.op = BENCH_PUT;
    small.size = SMALL_BYTES;
    return issue_transfer(way, &small, slot, sequence);
  default:
    return issue_transfer(way, what, slot, sequence);
  }
}

/* The next completion of several operations in flight. */
static kvs_status next_completion(struct way *way, kvsc_completion *completion)
{
  struct pollfd ready = {.fd = kvsc_fd(way->client), .events = POLLIN};

  while (kvsc_poll(way->client, completion, 1) == 0)
    if (poll(&ready, 1, (int)(2 * TIMEOUT_MS)) <= 0)
      return KVS_ERR_DEADLINE;
  return KVS_OK;
}

/* A put that stored nothing is no put; a get's bytes are those of its keys. */
static kvs_status check_transfer(struct way *way, const struct bench_case *what,
                                 const kvsc_completion *completion, uint32_t slot)
{
  const struct call *call = &way->calls[slot];
  uint32_t n = bench_case_chunks(what);
  uint64_t set = BENCH_SERVER_BYTES / what->size;

  if (completion->status != KVS_OK || completion->n_ok != n)
    return completion->status < 0 ? completion->status : KVS_MISS;
  if (completion->bytes != n * what->size)
    return KVS_ERR_INTERNAL;
  for (uint32_t i = 0; i < n && what->op == BENCH_GET; i++)
    if (!bench_pattern_glance(call->at + i * what->size, what->size,
                              bench_seed(what->size, (call->first + i) % set)))
      return KVS_ERR_CORRUPT;
  return KVS_OK;
}

static kvs_status reap_one(struct way *way, const struct bench_case *what, struct bench_done *done_p,
                           kvsc_completion *completion)
{
  kvsc_op op = way->calls[0].op;
  kvs_status status;

  if (bench_case_depth(what) > 1)
    return next_completion(way, completion);
  if (bench_case_has(what, BENCH_FIRST_SEGMENT)) {
    status = kvsc_wait_progress(way->client, op, 0, 1, 2 * TIMEOUT_MS);
    if (status != KVS_OK)
      return status;
    done_p->first_ns = kvi_now_ns();
  }
  return wait_op(way, op, completion);
}

/* The put was acknowledged: ask for it at once. */
static kvs_status look_up_again(struct way *way, struct bench_done *done_p)
{
  kvsc_keys keys = keys_of(way->calls[0].keys, 1);
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status = kvsc_lookup(way->client, &way->space, 1, &keys, NULL, &op);

  if (status == KVS_OK)
    status = wait_op(way, op, &completion);
  if (status != KVS_OK)
    return status;
  done_p->n = 1;
  done_p->hits = completion.n_ok;
  return KVS_OK;
}

static kvs_status client_reap(void *any, const struct bench_case *what, struct bench_done *done_p)
{
  struct way *way = any;
  kvsc_completion completion;
  kvs_status status = reap_one(way, what, done_p, &completion);

  if (status != KVS_OK)
    return status;
  done_p->slot = bench_case_depth(what) > 1 ? (uint32_t)completion.user : 0;
  switch (what->op) {
  case BENCH_EMPTY_CALL:
    return completion.status;
  case BENCH_LOOKUP:
    return completion.status == KVS_OK && completion.n_ok != what->keys ? KVS_MISS : completion.status;
  case BENCH_READ_YOUR_WRITE:
    return completion.status == KVS_OK ? look_up_again(way, done_p) : completion.status;
  default:
    done_p->bytes = what->size * bench_case_chunks(what);
    return check_transfer(way, what, &completion, done_p->slot);
  }
}

static kvs_status read_back(struct way *way, const struct bench_case *what, struct call *call)
{
  uint32_t n = bench_case_chunks(what);
  kvsc_keys keys = keys_of(call->keys, n);
  const uint8_t *put = call->at;
  kvsc_completion completion;
  kvs_status status;

  lay(way, call, way->ring.scratch.base, what->size, n, 1);
  status = kvsc_get(way->space, &keys, call->chunks, NULL, &call->op);
  if (status == KVS_OK)
    status = wait_op(way, call->op, &completion);
  if (status != KVS_OK)
    return status;
  if (completion.n_ok != n)
    return completion.status < 0 ? completion.status : KVS_MISS;
  return memcmp(put, call->at, n * what->size) == 0 ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status client_verify(void *any, const struct bench_case *what)
{
  struct way *way = any;
  kvs_status status = KVS_OK;

  if (what->op != BENCH_PUT)
    return KVS_OK;
  for (uint32_t slot = 0; slot < bench_case_depth(what) && status == KVS_OK; slot++)
    if (way->ring.last[slot] != NULL)
      status = read_back(way, what, &way->calls[slot]);
  return status;
}

const struct bench_way_ops bench_way_client = {
    .open = client_open,
    .prepare = client_prepare,
    .issue = client_issue,
    .reap = client_reap,
    .verify = client_verify,
    .close = client_close,
};
