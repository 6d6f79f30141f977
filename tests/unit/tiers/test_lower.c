/*
 * A store over a medium of its own and one that nodes share, both in plain memory: what one cannot give the other does, and what is deleted is
 * gone from all of them.
 */
#include "tests/unit/tiers/testing.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tests/unit/tiers/memory_medium.h"
#include "tiers/service.h"

#define PATIENCE_MS 60000u
#define CHUNK       100000u

static const struct kvi_peer peer = {.id = 5, .tenant = TENANT, .name = "test"};

struct node {
  struct memory_medium *below, *lower;
  struct kvi_store *store;
  struct kvi_shared *shared;
  struct kvi_store_service *owner;
  const struct kvi_service *service;
  uint8_t space[KVS_DIGEST_SIZE];
};

static void node_open_with(struct node *node, enum kvi_policy_admission write)
{
  struct kvi_store_config store = {.dram_bytes = 4 << 20, .write = write};
  struct kvi_shared_config shared = {.write = write, .get_ms = PATIENCE_MS};
  struct kvi_store_service_config service = {.incarnation = 1};
  kvs_space_desc desc = testing_space("lower", KEY_BYTES);

  node->below = memory_medium_create(false);
  node->lower = memory_medium_create(true);
  store.medium = &node->below->medium;
  assert_int_equal(kvi_store_open(&store, &node->store), KVS_OK);
  testing_space_open(node->store, TENANT, &desc, node->space);
  shared.store = node->store;
  shared.medium = &node->lower->medium;
  assert_int_equal(kvi_shared_create(&shared, &node->shared), KVS_OK);
  service.store = node->store;
  service.shared = node->shared;
  assert_int_equal(kvi_store_service_create(&service, &node->owner), KVS_OK);
  node->service = kvi_store_service_get(node->owner);
}

static void node_open(struct node *node)
{
  node_open_with(node, KVI_ADMIT_ALL);
}

static void node_close(struct node *node)
{
  kvi_store_service_destroy(node->owner);
  kvi_shared_destroy(node->shared);
  kvi_store_close(node->store);
}

static struct kvi_shared_stats shared_stats(struct node *node)
{
  struct kvi_medium_stats medium;
  struct kvi_shared_stats stats;

  kvi_shared_stats(node->shared, &stats, &medium);
  return stats;
}

static struct kvi_store_stats store_stats(struct node *node)
{
  struct kvi_store_stats stats;

  kvi_store_stats(node->store, &stats);
  return stats;
}

#define AWAIT(condition)                                                                                     \
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); !(condition); usleep(500))                 \
  assert_false(kvi_deadline_expired(patience))

/* Each key stands alone. */
static kvs_status put_with(struct node *node, uint64_t n, uint32_t ttl_ms)
{
  uint8_t key[KEY_BYTES];
  uint32_t lengths[2] = {CHUNK / 2, CHUNK - CHUNK / 2};
  struct kvi_put_request request = {.space = node->space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = CHUNK,
                                    .n_segments = 2,
                                    .segment_lengths = lengths,
                                    .ttl_ms = ttl_ms};
  struct kvi_landing landing;
  kvs_status status;

  testing_key(n, key, KEY_BYTES);
  status = node->service->ops->put_begin(node->service->self, &peer, &request, NULL, NULL, &landing);
  if (status != KVS_OK)
    return status;
  testing_fill(&landing, n);
  return node->service->ops->put_commit(node->service->self, &landing);
}

static kvs_status put(struct node *node, uint64_t n)
{
  return put_with(node, n, 0);
}

/* As the lower tier was told; UINT32_MAX: it has not the chunk. */
static uint32_t ttl_of(struct node *node, uint64_t n)
{
  uint8_t key[KEY_BYTES];
  struct kvi_medium_identity identity = {
      .tenant = TENANT, .space = node->space, .key = key, .key_length = KEY_BYTES};

  testing_key(n, key, KEY_BYTES);
  return memory_ttl(node->lower, &identity);
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
  uint32_t cause = KVI_MISS_NONE;
  kvs_status status;

  memset(getting, 0, sizeof(*getting));
  pthread_mutex_init(&getting->mutex, NULL);
  assert_int_equal(kvi_cond_init(&getting->ended), KVS_OK);
  getting->wait.done = got;
  getting->wait.user = getting;
  testing_key(n, key, KEY_BYTES);
  status = node->service->ops->get_open(node->service->self, &peer, node->space, key, KEY_BYTES,
                                        &getting->wait, &getting->wait.source, &cause);
  if (status != KVS_PENDING) /* else it may have ended by now, and told its own */
    getting->cause = cause;
  return status;
}

static kvs_status get_end(struct node *node, uint64_t n, kvs_status status, struct getting *getting)
{
  if (status == KVS_PENDING) {
    pthread_mutex_lock(&getting->mutex);
    while (getting->calls == 0)
      assert_int_equal(kvi_cond_wait(&getting->ended, &getting->mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                       KVS_OK);
    assert_int_equal(getting->calls, 1);
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

  *cause_p = getting.cause;
  return status;
}

/* Chunks first to first + n - 1 are written everywhere; so many that the first ones are on the medium only. */
static void fill(struct node *node, uint64_t first, uint64_t n)
{
  uint64_t medium_chunks = store_stats(node).medium_chunks, writes = shared_stats(node).writes;

  for (uint64_t i = 0; i < n; i++) {
    assert_int_equal(put(node, first + i), KVS_OK);
    AWAIT(store_stats(node).medium_chunks == medium_chunks + i + 1);
    AWAIT(shared_stats(node).writes == writes + i + 1);
  }
  assert_true(store_stats(node).medium_only > 10);
}

/* Whatever is wrong with the copy on the medium: the chunk comes from the tier that nodes share. */
static void what_the_medium_cannot_give(void **state)
{
  static const kvs_status wrong[] = {KVS_ERR_IO, KVS_ERR_CORRUPT, KVS_MISS, KVS_ERR_DEADLINE};
  struct node node;
  uint32_t cause;

  (void)state;
  node_open(&node);
  fill(&node, 0, 60);
  for (uint32_t i = 0; i < 4; i++) {
    struct kvi_shared_stats before = shared_stats(&node);
    struct kvi_store_stats store = store_stats(&node);

    memory_fail(node.below, wrong[i], KVS_OK);
    assert_int_equal(get(&node, i, &cause), KVS_OK);
    assert_int_equal(shared_stats(&node).fetch_hits, before.fetch_hits + 1);
    memory_fail(node.below, KVS_OK, KVS_OK);
    assert_int_equal(get(&node, i, &cause), KVS_OK); /* it is in memory now */
    assert_int_equal(shared_stats(&node).fetch_hits, before.fetch_hits + 1);
    assert_int_equal(store_stats(&node).chunks, store.chunks);
    /* A copy that failed is not trusted: there is a new one. One that was late is as good as before. */
    AWAIT(store_stats(&node).medium_chunks == store.medium_chunks);
    assert_int_equal(store_stats(&node).get_hits, store.get_hits + 2);
    assert_int_equal(store_stats(&node).gets, store.gets + 2);
  }
  node_close(&node);
}

/* What the device cannot read is not there any more: no look-up promises it, and it may be stored again. */
static void what_cannot_be_read_is_not_promised(void **state)
{
  struct kvi_store_stats before;
  struct node node;
  uint32_t cause;

  (void)state;
  node_open(&node);
  fill(&node, 0, 60);
  before = store_stats(&node);
  memory_fail(node.below, KVS_ERR_IO, KVS_OK);
  memory_fail(node.lower, KVS_ERR_IO, KVS_OK);
  assert_int_equal(get(&node, 5, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_TIER);
  assert_int_equal(store_stats(&node).chunks, before.chunks - 1);
  assert_int_equal(store_stats(&node).medium_lost, before.medium_lost + 1);
  memory_fail(node.below, KVS_OK, KVS_OK);
  memory_fail(node.lower, KVS_MISS, KVS_OK);
  assert_int_equal(get(&node, 5, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_TIER);
  memory_fail(node.lower, KVS_OK, KVS_OK);
  assert_int_equal(get(&node, 5, &cause), KVS_OK); /* from the tier that nodes share */
  node_close(&node);
}

/* Several gets of one chunk, some of which give up at whatever moment: each is told, or was forgotten. */
static void waits_are_handed_over_once(void **state)
{
  enum { GETS = 6, ROUNDS = 120 };
  static struct getting gettings[GETS];
  kvs_status statuses[GETS];
  struct node node;

  (void)state;
  node_open(&node);
  fill(&node, 0, 60);
  for (uint64_t round = 0; round < ROUNDS; round++) {
    uint64_t n = round % 40;

    memory_fail(node.below, round % 3 ? KVS_ERR_IO : KVS_ERR_DEADLINE, KVS_OK);
    memory_hold(node.lower, round % 5 == 0);
    memory_hold(node.below, round % 7 == 0);
    for (int i = 0; i < GETS; i++)
      statuses[i] = get_start(&node, n, &gettings[i]);
    memory_hold(node.below, false);
    for (int i = 0; i < GETS; i++) {
      bool forgotten = false;

      if (statuses[i] == KVS_PENDING && i % 2 == 0)
        forgotten = node.service->ops->get_unwait(node.service->self, &gettings[i].wait);
      if (forgotten) {
        assert_int_equal(gettings[i].calls, 0);
        statuses[i] = KVS_ERR_CANCELED;
      }
    }
    memory_hold(node.lower, false);
    for (int i = 0; i < GETS; i++) {
      kvs_status status = get_end(&node, n, statuses[i], &gettings[i]);

      assert_true(status == statuses[i] || status == KVS_OK || status == KVS_MISS || status == KVS_ERR_BUSY);
    }
  }
  node_close(&node);
  for (int i = 0; i < GETS; i++)
    assert_true(gettings[i].calls <= 1);
}

/* ---- deletes ---- */

struct deleting {
  struct kvi_call_wait wait;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  Kvasir__V1__DeleteReply *reply;
};

static void deleted(struct kvi_call_wait *wait, kvs_status status, ProtobufCMessage *reply)
{
  struct deleting *deleting = wait->user;

  assert_int_equal(status, KVS_OK);
  pthread_mutex_lock(&deleting->mutex);
  deleting->reply = (Kvasir__V1__DeleteReply *)reply;
  pthread_cond_signal(&deleting->ended);
  pthread_mutex_unlock(&deleting->mutex);
}

static void delete_start(struct node *node, uint64_t n, struct deleting *deleting)
{
  Kvasir__V1__DeleteRequest request = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  ProtobufCMessage *reply = NULL;
  uint8_t key[KEY_BYTES];

  memset(deleting, 0, sizeof(*deleting));
  pthread_mutex_init(&deleting->mutex, NULL);
  assert_int_equal(kvi_cond_init(&deleting->ended), KVS_OK);
  deleting->wait.done = deleted;
  deleting->wait.user = deleting;
  testing_key(n, key, KEY_BYTES);
  keys.keys = (ProtobufCBinaryData){.data = key, .len = KEY_BYTES};
  keys.key_length = KEY_BYTES;
  request.space = (ProtobufCBinaryData){.data = node->space, .len = KVS_DIGEST_SIZE};
  request.keys = &keys;
  assert_int_equal(node->service->ops->call(node->service->self, &peer, KVI_METHOD_DELETE, &request.base,
                                            &deleting->wait, &reply),
                   KVS_PENDING);
}

static kvs_status delete_end(struct deleting *deleting, uint32_t *deleted_p)
{
  kvs_status status;

  pthread_mutex_lock(&deleting->mutex);
  while (!deleting->reply)
    assert_int_equal(kvi_cond_wait(&deleting->ended, &deleting->mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                     KVS_OK);
  pthread_mutex_unlock(&deleting->mutex);
  status = (kvs_status)deleting->reply->status;
  *deleted_p = deleting->reply->deleted;
  protobuf_c_message_free_unpacked(&deleting->reply->base, NULL);
  return status;
}

/* A fetch is under way: what it brings is not kept, and who waits for it misses. */
static void deleted_beside_a_fetch(void **state)
{
  static struct getting getting;
  struct deleting deleting;
  struct node node;
  uint32_t n_deleted, cause;

  (void)state;
  node_open(&node);
  assert_int_equal(put(&node, 1), KVS_OK);
  AWAIT(shared_stats(&node).writes == 1);
  uint64_t chunks, bytes;
  kvi_store_evict(node.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  memory_hold(node.lower, true);
  assert_int_equal(get_start(&node, 1, &getting), KVS_PENDING);
  delete_start(&node, 1, &deleting);
  {
    static struct getting late;

    assert_int_equal(get_start(&node, 1, &late), KVS_PENDING); /* the same fetch */
    memory_hold(node.lower, false);
    assert_int_equal(get_end(&node, 1, KVS_PENDING, &late), KVS_MISS);
  }
  assert_int_equal(get_end(&node, 1, KVS_PENDING, &getting), KVS_MISS);
  assert_int_equal(getting.cause, KVI_MISS_DELETED);
  assert_int_equal(delete_end(&deleting, &n_deleted), KVS_OK);
  assert_int_equal(n_deleted, 1);
  assert_int_equal(memory_items(node.lower), 0);
  assert_int_equal(get(&node, 1, &cause), KVS_MISS);
  node_close(&node);
}

/* A write is under way, another one waits, and the chunk is put again before the delete is over: that one stays. */
static void deleted_beside_writes(void **state)
{
  struct deleting deleting;
  struct node node;
  uint32_t n_deleted, cause;

  (void)state;
  node_open(&node);
  memory_hold(node.lower, true);
  assert_int_equal(put(&node, 1), KVS_OK);
  delete_start(&node, 1, &deleting);
  assert_int_equal(get(&node, 1, &cause), KVS_MISS); /* and nothing is fetched meanwhile */
  assert_int_equal(shared_stats(&node).fetches, 0);
  memory_hold(node.lower, false);
  assert_int_equal(delete_end(&deleting, &n_deleted), KVS_OK);
  assert_int_equal(n_deleted, 1);
  assert_int_equal(memory_items(node.lower), 0);
  memory_hold(node.lower, true);
  assert_int_equal(put(&node, 2), KVS_OK);
  delete_start(&node, 2, &deleting);
  assert_int_equal(put(&node, 2), KVS_OK); /* again */
  memory_hold(node.lower, false);
  assert_int_equal(delete_end(&deleting, &n_deleted), KVS_OK);
  AWAIT(memory_items(node.lower) == 1);
  assert_int_equal(get(&node, 2, &cause), KVS_OK);
  node_close(&node);
}

/* What a put asks for goes with the chunk, also when it is written later. */
static void times_to_live(void **state)
{
  struct node node;
  uint32_t cause;

  (void)state;
  node_open(&node);
  assert_int_equal(put_with(&node, 1, 5000), KVS_OK);
  assert_int_equal(put(&node, 2), KVS_OK);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(ttl_of(&node, 1), 5000);
  assert_int_equal(ttl_of(&node, 2), 0);
  node_close(&node);
  node_open_with(&node, KVI_ADMIT_REUSED);
  assert_int_equal(put_with(&node, 1, 7000), KVS_OK);
  assert_int_equal(put(&node, 2), KVS_OK);
  assert_int_equal(get(&node, 1, &cause), KVS_OK);
  assert_int_equal(get(&node, 2, &cause), KVS_OK);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(ttl_of(&node, 1), 7000);
  assert_int_equal(ttl_of(&node, 2), 0);
  node_close(&node);
}

/* A chunk that nobody comes back for is written nowhere; the first get, or an equal put, writes it, and the next ones do not again. */
static void reused_ones_are_written(void **state)
{
  struct node node;
  uint32_t cause;

  (void)state;
  node_open_with(&node, KVI_ADMIT_REUSED);
  for (uint64_t n = 0; n < 10; n++)
    assert_int_equal(put(&node, n), KVS_OK);
  assert_int_equal(store_stats(&node).writes_put_off, 10);
  assert_int_equal(shared_stats(&node).puts_off, 10);
  assert_int_equal(memory_items(node.below), 0);
  assert_int_equal(memory_items(node.lower), 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(get(&node, 3, &cause), KVS_OK);
    assert_int_equal(put(&node, 4), KVS_EXISTS);
  }
  AWAIT(store_stats(&node).medium_chunks == 2);
  AWAIT(shared_stats(&node).writes == 2);
  assert_int_equal(ttl_of(&node, 3), 0);
  assert_int_equal(ttl_of(&node, 4), 0);
  assert_int_equal(get(&node, 3, &cause), KVS_OK);
  for (uint64_t n = 100; n < 160; n++) /* memory is full: what was not used is gone, what was is below */
    assert_int_equal(put(&node, n), KVS_OK);
  assert_int_equal(get(&node, 0, &cause), KVS_MISS);
  assert_int_equal(get(&node, 3, &cause), KVS_OK);
  assert_int_equal(get(&node, 4, &cause), KVS_OK);
  assert_int_equal(shared_stats(&node).offers, 70);
  assert_int_equal(node.below->puts, 2);
  assert_int_equal(node.lower->puts, 2);
  node_close(&node);
  node_open_with(&node, KVI_ADMIT_NONE);
  assert_int_equal(put(&node, 1), KVS_OK);
  assert_int_equal(get(&node, 1, &cause), KVS_OK);
  assert_int_equal(store_stats(&node).writes_put_off, 0);
  assert_int_equal(shared_stats(&node).offers, 0);
  assert_int_equal(memory_items(node.below) + memory_items(node.lower), 0);
  node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_the_medium_cannot_give), cmocka_unit_test(what_cannot_be_read_is_not_promised),
      cmocka_unit_test(waits_are_handed_over_once),  cmocka_unit_test(deleted_beside_a_fetch),
      cmocka_unit_test(deleted_beside_writes),       cmocka_unit_test(times_to_live),
      cmocka_unit_test(reused_ones_are_written),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
