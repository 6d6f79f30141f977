/* Until when chunks are in the tier that nodes share, as a node reckons: what is missed after that has expired, and what a tenant has there counts until then. */
#include "tests/unit/tiers/service_shared_testing.h"
#include "tiers/shared_private.h"

static uint64_t now_ns;

static uint64_t clock_now(void *ctx)
{
  (void)ctx;
  return now_ns;
}

#define HOUR_MS 3600000u

/* With its key, a table of one segment, and its tenant's name; the medium adds nothing. */
#define ROOM  (CHUNK + KEY_BYTES + KVI_CHUNK_TABLE_HEAD + sizeof(struct kvi_segment) + sizeof(TENANT) - 1)
#define BOUND (3 * ROOM)

static const struct kvi_tenant_config bounded[] = {{.name = TENANT, .shared_bytes = BOUND}};
static uint32_t max_lookups;     /* of the next node; 0: as many as usual */
static kvs_status lookup_status; /* what the shared tier says to a look-up that it does not answer */

static kvs_status lookup_told(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  if (lookup_status == KVS_OK)
    return memory_lookup(medium, lookup);
  lookup->done(lookup, lookup_status);
  return KVS_OK;
}

/* A node that writes what is put to the shared tier, where it stays for an hour, by a clock that the test turns. */
static void setup_tenant(struct node *node, bool has_bound)
{
  struct kvi_store_config store = {.departure_clock = clock_now,
                                   .dram_bytes = 64 * PAGE,
                                   .dram_page_bytes = PAGE,
                                   .tenants = bounded,
                                   .n_tenants = has_bound ? 1 : 0};
  struct kvi_shared_config shared = {.get_ms = PATIENCE_MS,
                                     .lookup_ms = PATIENCE_MS,
                                     .put_ms = PATIENCE_MS,
                                     .clock = clock_now,
                                     .max_lookups = max_lookups};

  parts = out = 0;
  now_ns = 1000 * KVI_NS_PER_S;
  lower = memory_medium_create(true);
  lower->ttl_ms = HOUR_MS;
  lower_ops = *lower->medium.ops;
  lower_ops.stats = stats_told;
  lower_ops.lookup = lookup_told;
  lower->medium.ops = &lower_ops;
  shared.medium = &lower->medium;
  node_open_over(node, &store, &shared);
}

static void setup_hour(struct node *node)
{
  setup_tenant(node, false);
}

/* The same for a tenant that has a bound there, of three chunks. */
static void setup_bounded(struct node *node)
{
  setup_tenant(node, true);
}

static uint64_t offered(struct node *node)
{
  struct kvi_shared_stats stats = shared_stats(node);

  return stats.writes + stats.writes_over + stats.writes_failed;
}

static void put_begun(struct node *node, uint64_t n, uint32_t ttl_ms)
{
  uint8_t key[KEY_BYTES];
  uint32_t length = CHUNK;
  struct kvi_put_request request = {.space = node->space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = CHUNK,
                                    .n_segments = 1,
                                    .segment_lengths = &length,
                                    .ttl_ms = ttl_ms};

  key_make(key, 0, n);
  assert_int_equal(put_request(node, &request, n), KVS_OK);
}

/* Until it is written, or is not. */
static void put_for(struct node *node, uint64_t n, uint32_t ttl_ms)
{
  uint64_t before = offered(node);

  put_begun(node, n, ttl_ms);
  AWAIT(offered(node) == before + 1);
}

/* It leaves the node alone, or the shared tier alone. */
static void leave_node(struct node *node)
{
  uint64_t chunks, bytes;

  kvi_store_evict(node->store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
}

static void leave_shared(struct node *node, uint64_t n)
{
  uint8_t key[KEY_BYTES];
  struct kvi_medium_remove remove = {
      .identity = {.tenant = TENANT, .space = node->space, .key = key, .key_length = KEY_BYTES}};

  key_make(key, 0, n);
  assert_int_equal(memory_remove_now(lower, &remove), KVS_OK);
}

static void read_shared(struct node *node, uint64_t n)
{
  uint8_t key[KEY_BYTES];
  uint64_t hits = shared_stats(node).fetch_hits;

  key_make(key, 0, n);
  kvi_shared_ahead(node->shared, TENANT, node->space, key, KEY_BYTES);
  AWAIT(shared_stats(node).fetch_hits == hits + 1);
}

/* What is asked and what a get says is the same, and is counted. lapsed_ms UINT64_MAX: nothing is said of that. */
static void expect_miss(struct node *node, uint64_t n, enum kvi_miss_cause cause, uint64_t lapsed_ms)
{
  Kvasir__V1__WhyMissReply *reply = why_ask(node, &n, 1);
  struct kvi_store_stats before, after;
  uint32_t said;

  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(reply->cause, cause);
  assert_int_equal(reply->lapsed, lapsed_ms != UINT64_MAX);
  if (reply->lapsed)
    assert_in_range(reply->lapsed_ms, lapsed_ms, lapsed_ms + 67);
  why_done(reply);
  kvi_store_stats(node->store, &before);
  assert_int_equal(get(node, n, &said), KVS_MISS);
  assert_int_equal(said, cause);
  kvi_store_stats(node->store, &after);
  for (uint32_t i = 0; i < KVI_MISS_COUNT; i++)
    assert_int_equal(after.get_misses[i] - before.get_misses[i], i == cause);
}

/* What is not in the shared tier any more, and could not be by what the node knows, has expired there, whatever has become of it here. */
static void a_time_that_is_over(void **state)
{
  uint32_t deleted, unconfirmed;
  struct calling deleting;
  struct node node;

  (void)state;
  setup_hour(&node);
  for (uint64_t n = 0; n < 5; n++)
    put_for(&node, n, n == 1 ? HOUR_MS / 2 : 0);
  put_shared(&node, SHARED);
  leave_node(&node);
  now_ns += (uint64_t)HOUR_MS * 3 / 4 * KVI_NS_PER_MS;
  for (uint64_t n = 0; n < 3; n++)
    leave_shared(&node, n);
  expect_miss(&node, 0, KVI_MISS_EVICTED, UINT64_MAX); /* it had time left: somebody has made it go */
  expect_miss(&node, 1, KVI_MISS_EXPIRED, HOUR_MS / 4);
  assert_int_equal(get(&node, 3, NULL), KVS_OK); /* a use: it has an hour again */
  read_shared(&node, SHARED);                    /* of what another has written, too */
  leave_node(&node);
  (void)delete_start(&node, 4, 1, &deleting);
  assert_int_equal(delete_end(&deleting, &deleted, &unconfirmed), KVS_OK);
  now_ns += (uint64_t)HOUR_MS * 3 / 4 * KVI_NS_PER_MS;
  expect_miss(&node, 0, KVI_MISS_EVICTED, UINT64_MAX); /* of that it had none to be over */
  expect_miss(&node, 2, KVI_MISS_EXPIRED, HOUR_MS / 2);
  leave_shared(&node, 3);
  expect_miss(&node, 3, KVI_MISS_EVICTED, UINT64_MAX);
  expect_miss(&node, 4, KVI_MISS_EVICTED, UINT64_MAX); /* it was deleted there before its time was over */
  now_ns += (uint64_t)HOUR_MS / 2 * KVI_NS_PER_MS;
  leave_shared(&node, SHARED);
  expect_miss(&node, SHARED, KVI_MISS_EXPIRED, HOUR_MS / 4);
  expect_miss(&node, 99, KVI_MISS_NEVER, UINT64_MAX);
  put_for(&node, 2, 0); /* it comes again */
  leave_node(&node);
  leave_shared(&node, 2);
  expect_miss(&node, 2, KVI_MISS_EVICTED, UINT64_MAX);
  node_close(&node);
}

/* What went from here after its time there was over, or came again after that, has not expired by that. */
static void what_went_later(void **state)
{
  struct node node;

  (void)state;
  setup_hour(&node);
  put_for(&node, 0, 0);
  put_for(&node, 1, 0);
  now_ns += (uint64_t)HOUR_MS * 2 * KVI_NS_PER_MS;
  leave_shared(&node, 0);
  leave_shared(&node, 1);
  leave_node(&node);
  expect_miss(&node, 0, KVI_MISS_EVICTED, HOUR_MS);
  now_ns += (uint64_t)HOUR_MS * KVI_NS_PER_MS;
  expect_miss(&node, 0, KVI_MISS_EVICTED, 2 * HOUR_MS);
  memory_fail(lower, KVS_OK, KVS_ERR_IO);
  put_for(&node, 1, 0);
  memory_fail(lower, KVS_OK, KVS_OK);
  leave_node(&node);
  expect_miss(&node, 1, KVI_MISS_EVICTED, UINT64_MAX);
  node_close(&node);
}

/* What the shared tier was not asked for, or did not answer, may lie there. */
static void what_was_not_asked(void **state)
{
  Kvasir__V1__WhyMissRequest request = KVASIR__V1__WHY_MISS_REQUEST__INIT;
  const uint64_t other = 77;
  uint8_t bytes[KEY_BYTES];
  Kvasir__V1__Keys keys = keys_of(bytes, &other, 1);
  Kvasir__V1__WhyMissReply *reply;
  struct calling calling;
  struct node node;

  (void)state;
  max_lookups = 1;
  setup_hour(&node);
  max_lookups = 0;
  put_for(&node, 0, 0);
  leave_node(&node);
  now_ns += (uint64_t)HOUR_MS * 2 * KVI_NS_PER_MS; /* another node has used it since: it lies there */
  memory_hold(lower, true);
  request.space = (ProtobufCBinaryData){.data = node.space, .len = KVS_DIGEST_SIZE};
  request.keys = &keys;
  assert_int_equal(call_start(&node, KVI_METHOD_WHY_MISS, &request.base, &calling), KVS_PENDING);
  reply = why_ask(&node, (uint64_t[]){0}, 1); /* too many are under way */
  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(reply->cause, KVI_MISS_TIER);
  assert_false(reply->lapsed);
  assert_non_null(reply->departure);
  why_done(reply);
  memory_hold(lower, false);
  why_done((Kvasir__V1__WhyMissReply *)call_end(&calling));
  reply = why_ask(&node, (uint64_t[]){0}, 1);
  assert_int_equal(reply->status, KVS_OK);
  why_done(reply);
  lookup_status = KVS_ERR_DEADLINE;
  reply = why_ask(&node, (uint64_t[]){0}, 1);
  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(reply->cause, KVI_MISS_TIER);
  assert_false(reply->lapsed);
  why_done(reply);
  lookup_status = KVS_OK;
  node_close(&node);
}

static uint64_t has(struct node *node)
{
  struct kvi_tenant_info info;

  assert_int_equal(kvi_store_tenants(node->store, 1, &info, 1), 1);
  assert_int_equal(info.shared_max, BOUND);
  assert_int_equal(info.shared_refused, shared_stats(node).writes_over);
  return info.shared_bytes;
}

/* What a tenant has written to the shared tier counts until its time there is over or it is removed, uses lengthen that, and what would take it past its bound is not written, and is in memory all the same. */
static void a_bound_there(void **state)
{
  uint32_t deleted, unconfirmed;
  struct calling deleting;
  struct node node;

  (void)state;
  setup_bounded(&node);
  for (uint64_t n = 0; n < 3; n++)
    put_for(&node, n, n == 1 ? HOUR_MS / 2 : 0);
  assert_int_equal(has(&node), BOUND);
  put_for(&node, 3, 0);
  assert_int_equal(shared_stats(&node).writes_over, 1);
  assert_int_equal(shared_stats(&node).writes, 3);
  assert_int_equal(get(&node, 3, NULL), KVS_OK);
  now_ns += (uint64_t)HOUR_MS * 3 / 4 * KVI_NS_PER_MS;
  assert_int_equal(has(&node), 2 * ROOM);
  put_for(&node, 4, 0);
  assert_int_equal(has(&node), BOUND);
  put_for(&node, 5, 0);
  assert_int_equal(shared_stats(&node).writes_over, 2);
  leave_node(&node);
  assert_int_equal(get(&node, 0, NULL), KVS_OK); /* it stays for an hour from now */
  put_shared(&node, SHARED);
  read_shared(&node, SHARED); /* another node's is not this one's to count */
  assert_int_equal(has(&node), BOUND);
  now_ns += (uint64_t)HOUR_MS / 2 * KVI_NS_PER_MS;
  assert_int_equal(has(&node), 2 * ROOM); /* 0 and 4 */
  (void)delete_start(&node, 4, 1, &deleting);
  assert_int_equal(delete_end(&deleting, &deleted, &unconfirmed), KVS_OK);
  assert_int_equal(has(&node), ROOM);
  leave_node(&node);
  leave_shared(&node, 0);
  assert_int_equal(get(&node, 0, NULL), KVS_MISS); /* so it is known that it is not there */
  assert_int_equal(has(&node), 0);
  node_close(&node);
}

/* A write that comes to nothing takes nothing, and one of a chunk that this node has written before takes its place. */
static void only_what_is_there(void **state)
{
  struct node node;

  (void)state;
  setup_bounded(&node);
  put_for(&node, 0, 0);
  put_for(&node, 1, 0);
  lower->put_status = KVS_ERR_IO;
  put_for(&node, 2, 0);
  assert_int_equal(shared_stats(&node).writes_failed, 1);
  assert_int_equal(has(&node), 2 * ROOM);
  lower->put_status = KVS_EXISTS; /* another has written it */
  put_for(&node, 3, 0);
  assert_int_equal(has(&node), 2 * ROOM);
  lower->put_status = KVS_OK;
  put_for(&node, 4, 0); /* it is at its bound */
  leave_node(&node);
  for (uint32_t i = 0; i < 5; i++) {
    put_for(&node, 1, 0);
    leave_node(&node);
  }
  assert_int_equal(shared_stats(&node).writes_over, 0);
  assert_int_equal(has(&node), BOUND);
  put_for(&node, 5, 0);
  assert_int_equal(shared_stats(&node).writes_over, 1);
  node_close(&node);
}

/* When the time of what this node has written is over, what lies there is another node's. */
static void another_nodes_bytes(void **state)
{
  struct node node;

  (void)state;
  setup_bounded(&node);
  for (uint64_t n = 0; n < 3; n++)
    put_for(&node, n, 0);
  leave_node(&node);
  now_ns += (uint64_t)HOUR_MS * 2 * KVI_NS_PER_MS;
  assert_int_equal(has(&node), 0);
  for (uint64_t n = 0; n < 3; n++) {
    leave_shared(&node, n);
    put_shared(&node, n);
    read_shared(&node, n);
  }
  assert_int_equal(has(&node), 0);
  node_close(&node);
}

/* What is found there as this node has written it lives as long as that said, not for the longest time. */
static void a_short_time_of_ones_own(void **state)
{
  struct node node;

  (void)state;
  setup_bounded(&node);
  put_for(&node, 0, HOUR_MS / 60);
  leave_node(&node);
  now_ns += (uint64_t)HOUR_MS / 120 * KVI_NS_PER_MS;
  memory_fail(lower, KVS_OK, KVS_EXISTS);
  put_for(&node, 0, 0);
  assert_int_equal(has(&node), ROOM);
  leave_node(&node);
  now_ns += (uint64_t)HOUR_MS / 20 * KVI_NS_PER_MS;
  leave_shared(&node, 0);
  assert_int_equal(has(&node), 0);
  expect_miss(&node, 0, KVI_MISS_EXPIRED, HOUR_MS / 30);
  put_for(&node, 1, HOUR_MS / 60); /* another's: nothing is known of its time */
  leave_node(&node);
  now_ns += (uint64_t)HOUR_MS / 2 * KVI_NS_PER_MS;
  expect_miss(&node, 1, KVI_MISS_EVICTED, UINT64_MAX);
  node_close(&node);
}

/* At its bound a tenant writes its own chunks again, however many at a time. */
static void own_ones_again(void **state)
{
  struct node node;

  (void)state;
  setup_bounded(&node);
  for (uint64_t n = 0; n < 3; n++)
    put_for(&node, n, 0);
  leave_node(&node);
  memory_hold(lower, true);
  for (uint64_t n = 0; n < 3; n++)
    put_begun(&node, n, 0);
  put_begun(&node, 3, 0); /* that is not */
  assert_int_equal(has(&node), BOUND);
  assert_int_equal(shared_stats(&node).writing, 3);
  assert_int_equal(shared_stats(&node).writes_over, 1);
  memory_hold(lower, false);
  AWAIT(shared_stats(&node).writes == 6);
  assert_int_equal(has(&node), BOUND);
  node_close(&node);
}

/* What does not fit its checksum is removed there, and counts no more. */
static void a_corrupt_one(void **state)
{
  struct node node;
  uint32_t cause;

  (void)state;
  setup_bounded(&node);
  put_for(&node, 0, 0);
  leave_node(&node);
  memory_fail(lower, KVS_ERR_CORRUPT, KVS_OK);
  assert_int_equal(get(&node, 0, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_CORRUPT);
  assert_int_equal(has(&node), 0);
  node_close(&node);
}

static void (*asked_done)(struct kvi_medium_put *, kvs_status);

static void answered_late(struct kvi_medium_put *put, kvs_status status)
{
  put->unsure = status == KVS_OK;
  asked_done(put, status == KVS_OK ? KVS_ERR_DEADLINE : status);
}

static kvs_status put_late(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  asked_done = put->done;
  put->done = answered_late;
  return memory_put(medium, put);
}

/* What may lie there counts, though nobody has said that it does: else a medium that is slow to answer had no bound. */
static void written_without_an_answer(void **state)
{
  struct node node;

  (void)state;
  setup_bounded(&node);
  lower_ops.put = put_late;
  for (uint64_t n = 0; n < 5; n++)
    put_for(&node, n, 0);
  assert_int_equal(shared_stats(&node).writes_failed, 3);
  assert_int_equal(shared_stats(&node).writes_over, 2);
  assert_int_equal(has(&node), BOUND);
  lower_ops.put = memory_put;
  now_ns += (uint64_t)HOUR_MS * 2 * KVI_NS_PER_MS;
  assert_int_equal(has(&node), 0);
  node_close(&node);
}

static struct kvi_medium_get *held_get;

static kvs_status get_held(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  (void)medium;
  held_get = get;
  return KVS_OK;
}

/* A get was sent before the write, and its answer comes after that. */
static void a_miss_from_before(void **state)
{
  struct waiting waiting;
  struct node node;
  kvs_status status;

  (void)state;
  setup_bounded(&node);
  memory_hold(lower, true);
  put_begun(&node, 0, 0);
  leave_node(&node);
  lower_ops.get = get_held;
  status = get_start(&node, 0, &waiting);
  lower_ops.get = memory_get;
  now_ns += KVI_NS_PER_S;
  put_begun(&node, 1, 0);
  memory_hold(lower, false);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(has(&node), 2 * ROOM);
  held_get->done(held_get, KVS_MISS);
  (void)get_end(&node, 0, status, &waiting);
  assert_int_equal(has(&node), 2 * ROOM);
  node_close(&node);
}

/* So many are deleted at once that nobody waits for the answer to one more: it goes all the same. */
static void a_delete_that_nobody_waits_for(void **state)
{
  struct calling deleting[KVI_SHARED_FORGETS + 1];
  uint32_t deleted, unconfirmed;
  struct node node;

  (void)state;
  setup_bounded(&node);
  put_for(&node, 0, 0);
  memory_hold(lower, true);
  for (uint32_t i = 0; i < KVI_SHARED_FORGETS; i++)
    (void)delete_start(&node, 1000 + i, 1, &deleting[i]);
  (void)delete_start(&node, 0, 1, &deleting[KVI_SHARED_FORGETS]);
  assert_int_equal(has(&node), 0);
  memory_hold(lower, false);
  for (uint32_t i = 0; i <= KVI_SHARED_FORGETS; i++)
    (void)delete_end(&deleting[i], &deleted, &unconfirmed);
  node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_time_that_is_over),
                                     cmocka_unit_test(what_went_later),
                                     cmocka_unit_test(what_was_not_asked),
                                     cmocka_unit_test(a_bound_there),
                                     cmocka_unit_test(only_what_is_there),
                                     cmocka_unit_test(another_nodes_bytes),
                                     cmocka_unit_test(a_short_time_of_ones_own),
                                     cmocka_unit_test(own_ones_again),
                                     cmocka_unit_test(a_corrupt_one),
                                     cmocka_unit_test(written_without_an_answer),
                                     cmocka_unit_test(a_miss_from_before),
                                     cmocka_unit_test(a_delete_that_nobody_waits_for)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
