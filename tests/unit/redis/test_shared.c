/* Two stores over one real Redis, through the service as a wire calls it. */
#include "tests/unit/tiers/shared_testing.h"

#include <pthread.h>

#include "tests/unit/redis/one_server.h"
#include "tiers/redis/medium.h"

static void open_node(struct node *node, uint32_t max_fetches, uint32_t get_ms)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_medium_config redis = {
      .redis = {.addresses = addresses, .n_addresses = 1, .retry_first_ms = 20, .retry_longest_ms = 100},
      .key_prefix = "kvasir:"};
  struct kvi_store_config store = {.dram_bytes = 48 << 20, .max_chunks = 8192};
  struct kvi_shared_config shared = {.max_fetches = max_fetches, .lookup_ms = get_ms, .get_ms = get_ms};

  assert_int_equal(kvi_redis_medium_create(&redis, NULL, 0, &shared.medium), KVS_OK);
  node_open_over(node, &store, &shared);
}

/* parent: the chunk before, of number n - 1. */
static void put_as(struct node *node, uint64_t n, uint32_t length, uint16_t quality)
{
  uint8_t key[KEY_BYTES], parent[KEY_BYTES];
  uint32_t lengths[2] = {length / 2, length - length / 2};
  struct kvi_put_request request = {.space = node->space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .parent = parent,
                                    .place = (uint32_t)(n % 100),
                                    .length = length,
                                    .n_segments = 2,
                                    .segment_lengths = lengths,
                                    .quality = quality};

  testing_key(n, key, KEY_BYTES);
  testing_key(n - 1, parent, KEY_BYTES);
  assert_int_equal(put_request(node, &request, n), KVS_OK);
}

static void put(struct node *node, uint64_t n, uint32_t length)
{
  put_as(node, n, length, 0);
}

static void await_writes(struct node *node, uint64_t n)
{
  AWAIT(shared_stats(node).writes >= n);
}

static kvs_status delete_all(struct node *node, uint64_t first, uint32_t n, uint32_t *deleted_p,
                             uint32_t *unconfirmed_p)
{
  static struct calling deleting;

  delete_start(node, first, n, &deleting);
  return delete_end(&deleting, deleted_p, unconfirmed_p);
}

/* What lies in Redis already is written by nobody, and no bytes are counted for it. */
static void bytes_are_counted_once(void **state)
{
  struct kvi_shared_stats stats[2];
  struct node one, two;

  (void)state;
  open_node(&one, 0, PATIENCE_MS);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t n = 650; n < 660; n++)
    put(&one, n, 5000);
  await_writes(&one, 10);
  for (uint64_t n = 655; n < 665; n++)
    put(&two, n, 5000);
  await_writes(&two, 10);
  stats[0] = shared_stats(&one);
  stats[1] = shared_stats(&two);
  assert_int_equal(stats[0].writes_found, 0);
  assert_int_equal(stats[0].write_bytes, 10 * 5000);
  assert_int_equal(stats[1].writes_found, 5);
  assert_int_equal(stats[1].write_bytes, 5 * 5000);
  node_close(&one);
  node_close(&two);
}

/* A delete tells what was there, in the store or in Redis, and when it cannot know that it is gone. */
static void deletes_say_what_is_true(void **state)
{
  uint32_t deleted, unconfirmed;
  struct node one, two;

  (void)state;
  open_node(&one, 0, 1000);
  open_node(&two, 0, 0);
  for (uint64_t n = 700; n < 750; n++)
    put(&one, n, 5000);
  await_writes(&one, 50);
  assert_int_equal(delete_all(&one, 700, 10, &deleted, &unconfirmed), KVS_OK);
  assert_int_equal(deleted, 10);
  assert_int_equal(delete_all(&two, 700, 20, &deleted, &unconfirmed),
                   KVS_OK); /* 10 are in Redis alone for it */
  assert_int_equal(deleted, 10);
  assert_int_equal(unconfirmed, 0);
  for (uint64_t n = 700; n < 720; n++)
    assert_int_equal(get(&two, n, NULL), KVS_MISS);
  assert_int_equal(get(&one, 710, NULL), KVS_OK); /* what another node has is its own */
  assert_int_equal(delete_all(&two, 700, 20, &deleted, &unconfirmed), KVS_MISS);
  server_freeze(&server, true);
  assert_int_equal(delete_all(&one, 710, 40, &deleted, &unconfirmed), KVS_ERR_IO);
  assert_int_equal(deleted, 40);
  assert_int_equal(unconfirmed, 40);
  server_freeze(&server, false);
  assert_int_equal(get(&one, 799, NULL), KVS_MISS);
  node_close(&one);
  node_close(&two);
}

/* Beside a write of this node that is under way, wherever it is: after the answer nobody finds the chunk. */
static void deletes_beside_a_write(void **state)
{
  uint32_t deleted, unconfirmed;
  struct node one, two;

  (void)state;
  open_node(&one, 0, PATIENCE_MS);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t round = 0; round < 40; round++) {
    put(&one, 800 + round, 3000000);
    pause_ms((unsigned)round % 8);
    assert_int_equal(delete_all(&one, 800 + round, 1, &deleted, &unconfirmed), KVS_OK);
    assert_int_equal(deleted, 1);
    assert_int_equal(unconfirmed, 0);
    assert_int_equal(get(&two, 800 + round, NULL), KVS_MISS);
    assert_int_equal(get(&one, 800 + round, NULL), KVS_MISS);
  }
  put(&one, 800, 1000); /* put again it is there again */
  assert_int_equal(get(&one, 800, NULL), KVS_OK);
  AWAIT(get(&two, 800, NULL) == KVS_OK);
  node_close(&one);
  node_close(&two);
}

/* Beside a get of this node that is under way: it may still have come before the delete, but leaves nothing behind. */
static void deletes_beside_a_fetch(void **state)
{
  static struct waiting getting;
  static struct calling deleting;
  uint32_t deleted, unconfirmed;
  struct node one, two;
  kvs_status status;

  (void)state;
  open_node(&one, 0, PATIENCE_MS);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t round = 0; round < 20; round++) {
    put(&one, 900 + round, 1000000);
    await_writes(&one, round + 1);
    if (round % 2)
      server_freeze(&server, true);
    status = get_start(&two, 900 + round, &getting);
    assert_int_equal(status, KVS_PENDING);
    pause_ms((unsigned)round % 4);
    delete_start(&two, 900 + round, 1, &deleting);
    server_freeze(&server, false);
    status = get_end(&two, 900 + round, status, &getting);
    assert_true(status == KVS_OK || status == KVS_MISS);
    assert_int_equal(delete_end(&deleting, &deleted, &unconfirmed), KVS_OK);
    assert_int_equal(deleted, 1);
    assert_int_equal(get(&two, 900 + round, NULL), KVS_MISS);
  }
  node_close(&one);
  node_close(&two);
}

/* The prefix that a look-up of n keys from `first` on finds in all of the spaces, with no more loss than that. */
static uint32_t prefix_within(struct node *node, uint64_t first, uint32_t n, bool unchained,
                              uint32_t loss_max, uint32_t *present_p)
{
  static struct calling calling;
  uint8_t *bytes = malloc((size_t)n * KEY_BYTES);
  Kvasir__V1__LookupRequest request = KVASIR__V1__LOOKUP_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  ProtobufCBinaryData space = {.data = node->space, .len = KVS_DIGEST_SIZE};
  Kvasir__V1__LookupReply *reply;
  uint32_t prefix;

  for (uint32_t i = 0; i < n; i++)
    testing_key(first + i, bytes + (size_t)i * KEY_BYTES, KEY_BYTES);
  keys.keys = (ProtobufCBinaryData){.data = bytes, .len = (size_t)n * KEY_BYTES};
  keys.key_length = KEY_BYTES;
  keys.unchained = unchained;
  request.spaces = &space;
  request.n_spaces = 1;
  request.keys = &keys;
  request.want_tiers = true;
  request.loss_max = loss_max;
  call_start(node, KVI_METHOD_LOOKUP, &request.base, &calling);
  free(bytes);
  reply = (Kvasir__V1__LookupReply *)call_end(&calling);
  prefix = reply->prefix;
  *present_p = 0;
  for (uint32_t i = 0; i < n; i++)
    *present_p += reply->present.data[i / 8] >> i % 8 & 1;
  for (uint32_t i = 0; i < prefix; i++)
    assert_true(reply->tiers.data[i] == KVI_TIER_REDIS || reply->tiers.data[i] == KVI_TIER_DRAM);
  protobuf_c_message_free_unpacked(&reply->base, NULL);
  return prefix;
}

static uint32_t prefix_of(struct node *node, uint64_t first, uint32_t n, bool unchained, uint32_t *present_p)
{
  return prefix_within(node, first, n, unchained, 0, present_p);
}

/* What a look-up finds a get gets: chunks in Redis that have lost more than the client takes are not there. */
static void lookups_mind_the_loss(void **state)
{
  enum { FIRST = 20000, LENGTH = 30, LOSSY = 12, LOSS = 4 };
  struct node one, two;
  uint32_t present, cause;

  (void)state;
  open_node(&one, 0, PATIENCE_MS);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t n = FIRST; n < FIRST + LENGTH; n++)
    put_as(&one, n, 500, n % LENGTH == (FIRST + LOSSY) % LENGTH ? kvi_quality(LOSS, 15, KVI_CODING_NONE) : 0);
  await_writes(&one, LENGTH);
  for (uint32_t loss_max = 0; loss_max < LOSS; loss_max++) {
    assert_int_equal(prefix_within(&two, FIRST, LENGTH, false, loss_max, &present), LOSSY);
    assert_int_equal(prefix_within(&two, FIRST, LENGTH, true, loss_max, &present), LOSSY);
    assert_int_equal(present, LENGTH - 1);
    assert_int_equal(prefix_within(&two, FIRST + LOSSY, 1, false, loss_max, &present), 0);
  }
  for (uint32_t loss_max = LOSS; loss_max <= KVI_LOSS_MAX; loss_max++)
    assert_int_equal(prefix_within(&two, FIRST, LENGTH, false, loss_max, &present), LENGTH);
  for (uint64_t n = FIRST; n < FIRST + LENGTH; n++)
    assert_int_equal(get(&two, n, &cause), n == FIRST + LOSSY ? KVS_MISS : KVS_OK);
  node_close(&one);
  node_close(&two);
}

static void long_prefixes(void **state)
{
  enum { FIRST = 10000, LENGTH = 1700, ASKED = 6000, WINDOW = 64 };
  struct node one, two;
  uint64_t before;
  uint32_t present;

  (void)state;
  open_node(&one, 0, PATIENCE_MS);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t n = FIRST; n < FIRST + LENGTH; n++)
    put(&one, n, 500);
  await_writes(&one, LENGTH);
  assert_int_equal(prefix_of(&two, FIRST, ASKED, false, &present), LENGTH);
  assert_int_equal(present, LENGTH);
  assert_in_range(shared_stats(&two).lookup_keys, LENGTH + 1, LENGTH + WINDOW);
  /* What the node has itself is not asked for, in the middle neither. */
  for (uint64_t n = FIRST; n < FIRST + 100; n++)
    assert_int_equal(get(&two, n, NULL), KVS_OK);
  for (uint64_t n = FIRST + 201; n < FIRST + 300; n++)
    assert_int_equal(get(&two, n, NULL), KVS_OK);
  before = shared_stats(&two).lookup_keys;
  assert_int_equal(prefix_of(&two, FIRST, ASKED, false, &present), LENGTH);
  assert_in_range(shared_stats(&two).lookup_keys - before, LENGTH - 199 + 1, LENGTH - 199 + WINDOW);
  /* Without a chain every key counts. */
  before = shared_stats(&two).lookup_keys;
  assert_int_equal(prefix_of(&two, FIRST - 10, LENGTH + 20, true, &present), 0);
  assert_int_equal(present, LENGTH);
  assert_int_equal(shared_stats(&two).lookup_keys - before, LENGTH + 20 - 199);
  node_close(&one);
  node_close(&two);
}

static void one_puts_another_gets(void **state)
{
  struct node one, two;
  uint32_t cause;

  (void)state;
  open_node(&one, 0, 0);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t n = 100; n < 120; n++)
    put(&one, n, 20000);
  await_writes(&one, 20);
  for (uint64_t n = 100; n < 120; n++)
    assert_int_equal(get(&two, n, &cause), KVS_OK);
  assert_int_equal(get(&two, 120, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_NEVER);
  assert_int_equal(shared_stats(&two).fetch_hits, 20);
  for (uint64_t n = 100; n < 120; n++) /* they are in the store now */
    assert_int_equal(get(&two, n, &cause), KVS_OK);
  assert_int_equal(shared_stats(&two).fetches, 21);
  node_close(&one);
  node_close(&two);
}

static void many_wait_for_one_fetch(void **state)
{
  enum { N = 20 };
  static struct waiting gettings[N]; /* static: a failed assertion leaves this frame, and what waits stays */
  kvs_status statuses[N];
  struct node one, two;

  (void)state;
  open_node(&one, 0, 0);
  open_node(&two, 0, PATIENCE_MS);
  put(&one, 200, 500000);
  await_writes(&one, 1);
  assert_int_equal(get(&two, 299, NULL), KVS_MISS); /* connected */
  server_freeze(&server, true);
  for (int i = 0; i < N; i++)
    assert_int_equal(statuses[i] = get_start(&two, 200, &gettings[i]), KVS_PENDING);
  for (int i = 0; i < N; i += 2) /* half of them give up */
    assert_true(two.service->ops->get_unwait(two.service->self, &gettings[i].wait));
  server_freeze(&server, false);
  for (int i = 1; i < N; i += 2)
    assert_int_equal(get_end(&two, 200, statuses[i], &gettings[i]), KVS_OK);
  for (int i = 0; i < N; i += 2)
    assert_int_equal(gettings[i].calls, 0);
  assert_int_equal(shared_stats(&two).fetches, 2);
  assert_int_equal(shared_stats(&two).fetch_joins, N - 1);
  assert_false(two.service->ops->get_unwait(two.service->self, &gettings[1].wait)); /* it has ended */
  node_close(&one);
  node_close(&two);
}

static void bounds_and_deadlines(void **state)
{
  static struct waiting gettings[3];
  struct node node;
  uint64_t failed;
  uint32_t cause;

  (void)state;
  open_node(&node, 2, 1000);
  assert_int_equal(get(&node, 300, NULL), KVS_MISS);
  AWAIT(shared_stats(&node).fetching == 0);  /* its fetch is freed after the call that ended the get */
  failed = shared_stats(&node).fetch_failed; /* the first one had to connect, and may have been late */
  server_freeze(&server, true);
  assert_int_equal(get_start(&node, 301, &gettings[0]), KVS_PENDING);
  assert_int_equal(get_start(&node, 302, &gettings[1]), KVS_PENDING);
  assert_int_equal(get_start(&node, 303, &gettings[2]), KVS_MISS); /* too many */
  for (int i = 0; i < 2; i++) {
    assert_int_equal(get_end(&node, 301 + (uint64_t)i, KVS_PENDING, &gettings[i]), KVS_MISS);
    assert_int_equal(gettings[i].cause, KVI_MISS_TIER);
  }
  assert_int_equal(shared_stats(&node).fetch_refused, 1);
  assert_int_equal(shared_stats(&node).fetch_failed - failed, 2);
  put(&node, 304, 1000);
  assert_int_equal(get(&node, 304, &cause), KVS_OK); /* what the node has needs no Redis */
  server_freeze(&server, false);
  node_close(&node);
}

/* Closed while gets wait: each is told. */
static void closed_under_way(void **state)
{
  static struct waiting gettings[8];
  struct node node;

  (void)state;
  open_node(&node, 0, PATIENCE_MS);
  assert_int_equal(get(&node, 400, NULL), KVS_MISS);
  server_freeze(&server, true);
  for (uint64_t i = 0; i < 8; i++)
    assert_int_equal(get_start(&node, 401 + i / 2, &gettings[i]), KVS_PENDING);
  put(&node, 410, 100000);
  node_close(&node);
  for (int i = 0; i < 8; i++) {
    assert_int_equal(gettings[i].calls, 1);
    assert_int_equal(gettings[i].status, KVS_MISS);
  }
  server_freeze(&server, false);
}

static void full_queue_sheds_the_oldest(void **state)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_medium_config redis = {.redis = {.addresses = addresses, .n_addresses = 1},
                                          .key_prefix = "shed:"};
  struct kvi_store_config store_config = {.dram_bytes = 16 << 20};
  struct kvi_shared_config config = {.write_queue = 4};
  uint8_t space[KVS_DIGEST_SIZE] = {1}, key[KEY_BYTES];
  struct kvi_put_request request = {.space = space, .key = key, .key_length = KEY_BYTES, .length = 1000};
  struct kvi_medium_stats medium;
  struct kvi_shared_stats stats;
  struct kvi_shared *shared;

  (void)state;
  assert_int_equal(kvi_store_open(&store_config, &config.store), KVS_OK);
  assert_int_equal(kvi_redis_medium_create(&redis, NULL, 0, &config.medium), KVS_OK);
  assert_int_equal(kvi_shared_create(&config, &shared), KVS_OK);
  for (uint64_t n = 0; n < 100; n++) { /* none of them is in the store: lost when its turn comes */
    testing_key(n, key, KEY_BYTES);
    kvi_shared_offer(shared, kvi_shared_note_make(shared, TENANT, &request));
  }
  kvi_shared_stats(shared, &stats, &medium);
  assert_int_equal(stats.offers, 100);
  assert_int_equal(stats.writes_lost + stats.writes_shed + stats.writes_queued, 100);
  assert_true(stats.writes_queued <= 4);
  request.length = UINT64_C(1) << 40;
  assert_null(kvi_shared_note_make(shared, TENANT, &request)); /* larger than it takes */
  kvi_shared_destroy(shared);
  kvi_store_close(config.store);
}

static void *getter(void *ctx)
{
  struct node *node = ctx;

  for (uint64_t n = 500; n < 560; n++)
    assert_int_equal(get(node, n, NULL), KVS_OK);
  return NULL;
}

static void threads(void **state)
{
  struct node one, two;
  pthread_t all[4];

  (void)state;
  open_node(&one, 0, 0);
  open_node(&two, 0, PATIENCE_MS);
  for (uint64_t n = 500; n < 560; n++)
    put(&one, n, 30000);
  await_writes(&one, 60);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&all[i], NULL, getter, &two), 0);
  for (int i = 0; i < 4; i++)
    pthread_join(all[i], NULL);
  assert_true(shared_stats(&two).fetch_hits >= 60);
  node_close(&one);
  node_close(&two);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_puts_another_gets),       cmocka_unit_test(many_wait_for_one_fetch),
      cmocka_unit_test(bounds_and_deadlines),        cmocka_unit_test(closed_under_way),
      cmocka_unit_test(full_queue_sheds_the_oldest), cmocka_unit_test(threads),
      cmocka_unit_test(deletes_say_what_is_true),    cmocka_unit_test(deletes_beside_a_write),
      cmocka_unit_test(deletes_beside_a_fetch),      cmocka_unit_test(long_prefixes),
      cmocka_unit_test(bytes_are_counted_once),      cmocka_unit_test(lookups_mind_the_loss),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
