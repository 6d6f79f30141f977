/* Two stores over one real Redis, through the service as a wire calls it. */
#include "tests/unit/tiers/testing.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tests/unit/redis/server.h"
#include "tiers/redis/medium.h"
#include "tiers/service.h"

#define PATIENCE_MS 60000u

static const struct kvi_peer peer = {.id = 5, .tenant = TENANT, .name = "test"};
static struct redis_server server;

struct node {
  struct kvi_store *store;
  struct kvi_shared *shared;
  struct kvi_store_service *owner;
  const struct kvi_service *service;
  uint8_t space[KVS_DIGEST_SIZE];
};

static int start(void **state)
{
  (void)state;
  server_start(&server, NULL);
  return 0;
}

static int stop(void **state)
{
  (void)state;
  server_stop(&server);
  return 0;
}

static void open_node(struct node *node, uint32_t max_fetches, uint32_t get_ms)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_medium_config redis = {
      .redis = {.addresses = addresses, .n_addresses = 1, .retry_first_ms = 20, .retry_longest_ms = 100},
      .key_prefix = "kvasir:"};
  struct kvi_store_config store = {.dram_bytes = 16 << 20};
  struct kvi_shared_config shared = {
      .write = true, .max_fetches = max_fetches, .lookup_ms = get_ms, .get_ms = get_ms};
  struct kvi_store_service_config service = {.incarnation = 1};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);

  assert_int_equal(kvi_store_open(&store, &node->store), KVS_OK);
  testing_space_open(node->store, TENANT, &desc, node->space);
  assert_int_equal(kvi_redis_medium_create(&redis, NULL, 0, &shared.medium), KVS_OK);
  shared.store = node->store;
  assert_int_equal(kvi_shared_create(&shared, &node->shared), KVS_OK);
  service.store = node->store;
  service.shared = node->shared;
  assert_int_equal(kvi_store_service_create(&service, &node->owner), KVS_OK);
  node->service = kvi_store_service_get(node->owner);
}

static void close_node(struct node *node)
{
  kvi_store_service_destroy(node->owner);
  kvi_shared_destroy(node->shared);
  kvi_store_close(node->store);
}

static struct kvi_shared_stats stats_of(struct node *node)
{
  struct kvi_medium_stats medium;
  struct kvi_shared_stats stats;

  kvi_shared_stats(node->shared, &stats, &medium);
  return stats;
}

/* As a wire does it; parent: the chunk before, of number n - 1. */
static void put(struct node *node, uint64_t n, uint32_t length)
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
                                    .segment_lengths = lengths};
  struct kvi_landing landing;

  testing_key(n, key, KEY_BYTES);
  testing_key(n - 1, parent, KEY_BYTES);
  assert_int_equal(node->service->ops->put_begin(node->service->self, &peer, &request, NULL, NULL, &landing),
                   KVS_OK);
  testing_fill(&landing, n);
  assert_int_equal(node->service->ops->put_commit(node->service->self, &landing), KVS_OK);
}

static void await_writes(struct node *node, uint64_t n)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);

  while (stats_of(node).writes < n) {
    assert_false(kvi_deadline_expired(patience));
    pause_ms(2);
  }
}

struct getting {
  struct kvi_get_wait wait;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  uint32_t calls;
  kvs_status status;
  uint32_t cause;
};

static void got(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  struct getting *getting = wait->user;

  pthread_mutex_lock(&getting->mutex);
  getting->calls++;
  getting->status = status;
  getting->cause = cause;
  pthread_cond_signal(&getting->ended);
  pthread_mutex_unlock(&getting->mutex);
}

static kvs_status get_start(struct node *node, uint64_t n, struct getting *getting)
{
  uint8_t key[KEY_BYTES];

  memset(getting, 0, sizeof(*getting));
  pthread_mutex_init(&getting->mutex, NULL);
  assert_int_equal(kvi_cond_init(&getting->ended), KVS_OK);
  getting->wait.done = got;
  getting->wait.user = getting;
  testing_key(n, key, KEY_BYTES);
  return node->service->ops->get_open(node->service->self, &peer, node->space, key, KEY_BYTES, &getting->wait,
                                      &getting->wait.source, &getting->cause);
}

/* Its status; the bytes are compared. */
static kvs_status get_end(struct node *node, uint64_t n, kvs_status status, struct getting *getting)
{
  if (status == KVS_PENDING) {
    pthread_mutex_lock(&getting->mutex);
    while (getting->calls == 0)
      assert_int_equal(kvi_cond_wait(&getting->ended, &getting->mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                       KVS_OK);
    status = getting->status;
    pthread_mutex_unlock(&getting->mutex);
  }
  if (status != KVS_OK)
    return status;
  assert_true(testing_matches(&getting->wait.source, n));
  node->service->ops->get_close(node->service->self, &getting->wait.source);
  return KVS_OK;
}

static kvs_status get(struct node *node, uint64_t n, uint32_t *cause_p)
{
  struct getting getting;
  kvs_status status = get_end(node, n, get_start(node, n, &getting), &getting);

  if (cause_p)
    *cause_p = getting.cause;
  return status;
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
  assert_int_equal(stats_of(&two).fetch_hits, 20);
  for (uint64_t n = 100; n < 120; n++) /* they are in the store now */
    assert_int_equal(get(&two, n, &cause), KVS_OK);
  assert_int_equal(stats_of(&two).fetches, 21);
  close_node(&one);
  close_node(&two);
}

static void many_wait_for_one_fetch(void **state)
{
  enum { N = 20 };
  static struct getting gettings[N]; /* static: a failed assertion leaves this frame, and what waits stays */
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
  assert_int_equal(stats_of(&two).fetches, 2);
  assert_int_equal(stats_of(&two).fetch_joins, N - 1);
  assert_false(two.service->ops->get_unwait(two.service->self, &gettings[1].wait)); /* it has ended */
  close_node(&one);
  close_node(&two);
}

static void bounds_and_deadlines(void **state)
{
  static struct getting gettings[3];
  struct node node;
  uint64_t failed;
  uint32_t cause;

  (void)state;
  open_node(&node, 2, 1000);
  assert_int_equal(get(&node, 300, NULL), KVS_MISS);
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); stats_of(&node).fetching > 0; pause_ms(1))
    assert_false(kvi_deadline_expired(patience)); /* its fetch is freed after the call that ended the get */
  failed = stats_of(&node).fetch_failed;          /* the first one had to connect, and may have been late */
  server_freeze(&server, true);
  assert_int_equal(get_start(&node, 301, &gettings[0]), KVS_PENDING);
  assert_int_equal(get_start(&node, 302, &gettings[1]), KVS_PENDING);
  assert_int_equal(get_start(&node, 303, &gettings[2]), KVS_MISS); /* too many */
  for (int i = 0; i < 2; i++) {
    assert_int_equal(get_end(&node, 301 + (uint64_t)i, KVS_PENDING, &gettings[i]), KVS_MISS);
    assert_int_equal(gettings[i].cause, KVI_MISS_TIER);
  }
  assert_int_equal(stats_of(&node).fetch_refused, 1);
  assert_int_equal(stats_of(&node).fetch_failed - failed, 2);
  put(&node, 304, 1000);
  assert_int_equal(get(&node, 304, &cause), KVS_OK); /* what the node has needs no Redis */
  server_freeze(&server, false);
  close_node(&node);
}

/* Closed while gets wait: each is told. */
static void closed_under_way(void **state)
{
  static struct getting gettings[8];
  struct node node;

  (void)state;
  open_node(&node, 0, PATIENCE_MS);
  assert_int_equal(get(&node, 400, NULL), KVS_MISS);
  server_freeze(&server, true);
  for (uint64_t i = 0; i < 8; i++)
    assert_int_equal(get_start(&node, 401 + i / 2, &gettings[i]), KVS_PENDING);
  put(&node, 410, 100000);
  close_node(&node);
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
  struct kvi_shared_config config = {.write = true, .write_queue = 4};
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
  assert_true(stats_of(&two).fetch_hits >= 60);
  close_node(&one);
  close_node(&two);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_puts_another_gets),       cmocka_unit_test(many_wait_for_one_fetch),
      cmocka_unit_test(bounds_and_deadlines),        cmocka_unit_test(closed_under_way),
      cmocka_unit_test(full_queue_sheds_the_oldest), cmocka_unit_test(threads),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
