/*
 * shared_testing.h: a node's store with a medium that nodes share, asked through the service as a wire asks it: gets
 * and calls that may be answered later, by another thread.
 */
#ifndef KVI_TESTS_UNIT_TIERS_SHARED_TESTING_H
#define KVI_TESTS_UNIT_TIERS_SHARED_TESTING_H

#include "tests/unit/tiers/store_waiting.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "tiers/service.h"

#define DELETE_MAX 64u /* chunks of a delete */

static const struct kvi_peer peer = {.id = 5, .tenant = TENANT, .name = "test"};

struct node {
  struct kvi_store *store;
  struct kvi_shared *shared;
  struct kvi_store_service *owner;
  const struct kvi_service *service;
  uint8_t space[KVS_DIGEST_SIZE];
};

/* shared: all but its store. */
static inline void node_open_over(struct node *node, const struct kvi_store_config *store,
                                  struct kvi_shared_config *shared)
{
  struct kvi_store_service_config service = {.incarnation = 1};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);

  assert_int_equal(kvi_store_open(store, &node->store), KVS_OK);
  testing_space_open(node->store, TENANT, &desc, node->space);
  shared->store = node->store;
  assert_int_equal(kvi_shared_create(shared, &node->shared), KVS_OK);
  service.store = node->store;
  service.shared = node->shared;
  assert_int_equal(kvi_store_service_create(&service, &node->owner), KVS_OK);
  node->service = kvi_store_service_get(node->owner);
}

static inline void node_close(struct node *node)
{
  kvi_store_service_destroy(node->owner);
  kvi_shared_destroy(node->shared);
  kvi_store_close(node->store);
}

static inline struct kvi_shared_stats shared_stats(struct node *node)
{
  struct kvi_medium_stats medium;
  struct kvi_shared_stats stats;

  kvi_shared_stats(node->shared, &stats, &medium);
  return stats;
}

/* Of bytes that follow from n, which get_end compares. */
static inline kvs_status put_request(struct node *node, const struct kvi_put_request *request, uint64_t n)
{
  struct kvi_landing landing;
  kvs_status status;

  status = node->service->ops->put_begin(node->service->self, &peer, request, NULL, NULL, &landing);
  if (status != KVS_OK)
    return status;
  testing_fill(&landing, n);
  return node->service->ops->put_commit(node->service->self, &landing);
}

/* ---- gets ---- */

static inline kvs_status get_start(struct node *node, uint64_t n, struct waiting *getting)
{
  uint8_t key[KEY_BYTES];
  uint32_t cause = KVI_MISS_NONE;
  kvs_status status;

  memset(getting, 0, sizeof(*getting));
  pthread_mutex_init(&getting->mutex, NULL);
  assert_int_equal(kvi_cond_init(&getting->ended), KVS_OK);
  getting->wait.done = waiting_done;
  getting->wait.user = getting;
  testing_key(n, key, KEY_BYTES);
  status = node->service->ops->get_open(node->service->self, &peer, node->space, key, KEY_BYTES,
                                        &getting->wait, &getting->wait.source, &cause);
  if (status != KVS_PENDING) /* else it may have ended by now, and told its own */
    getting->cause = cause;
  return status;
}

/* Its status; the bytes are compared. */
static inline kvs_status get_end(struct node *node, uint64_t n, kvs_status status, struct waiting *getting)
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

/* cause_p may be NULL. */
static inline kvs_status get(struct node *node, uint64_t n, uint32_t *cause_p)
{
  struct waiting getting;
  kvs_status status = get_end(node, n, get_start(node, n, &getting), &getting);

  if (cause_p)
    *cause_p = getting.cause;
  return status;
}

/* ---- calls ---- */

struct calling {
  struct kvi_call_wait wait;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  bool over;
  ProtobufCMessage *reply;
};

static inline void called(struct kvi_call_wait *wait, kvs_status status, ProtobufCMessage *reply)
{
  struct calling *calling = wait->user;

  pthread_mutex_lock(&calling->mutex);
  assert_int_equal(status, KVS_OK);
  calling->over = true;
  calling->reply = reply;
  pthread_cond_signal(&calling->ended);
  pthread_mutex_unlock(&calling->mutex);
}

/* KVS_OK or KVS_PENDING; call_end gives the reply of either. */
static inline kvs_status call_start(struct node *node, enum kvi_method method,
                                    const ProtobufCMessage *request, struct calling *calling)
{
  ProtobufCMessage *reply = NULL;
  kvs_status status;

  memset(calling, 0, sizeof(*calling));
  pthread_mutex_init(&calling->mutex, NULL);
  assert_int_equal(kvi_cond_init(&calling->ended), KVS_OK);
  calling->wait.done = called;
  calling->wait.user = calling;
  status = node->service->ops->call(node->service->self, &peer, method, request, &calling->wait, &reply);
  assert_true(status == KVS_OK || status == KVS_PENDING);
  if (status == KVS_OK) { /* else another thread has told, or will */
    calling->over = true;
    calling->reply = reply;
  }
  return status;
}

/* The reply, the caller's. */
static inline ProtobufCMessage *call_end(struct calling *calling)
{
  pthread_mutex_lock(&calling->mutex);
  while (!calling->over)
    assert_int_equal(kvi_cond_wait(&calling->ended, &calling->mutex, kvi_deadline_from_ms(PATIENCE_MS)),
                     KVS_OK);
  pthread_mutex_unlock(&calling->mutex);
  return calling->reply;
}

/* Of the n chunks from `first` on; as call_start. */
static inline kvs_status delete_start(struct node *node, uint64_t first, uint32_t n, struct calling *calling)
{
  Kvasir__V1__DeleteRequest request = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  uint8_t bytes[DELETE_MAX * KEY_BYTES];

  assert_in_range(n, 1, DELETE_MAX);
  for (uint32_t i = 0; i < n; i++)
    testing_key(first + i, bytes + (size_t)i * KEY_BYTES, KEY_BYTES);
  keys.keys = (ProtobufCBinaryData){.data = bytes, .len = (size_t)n * KEY_BYTES};
  keys.key_length = KEY_BYTES;
  request.space = (ProtobufCBinaryData){.data = node->space, .len = KVS_DIGEST_SIZE};
  request.keys = &keys;
  return call_start(node, KVI_METHOD_DELETE, &request.base, calling);
}

static inline kvs_status delete_end(struct calling *calling, uint32_t *deleted_p, uint32_t *unconfirmed_p)
{
  Kvasir__V1__DeleteReply *reply = (Kvasir__V1__DeleteReply *)call_end(calling);
  kvs_status status = (kvs_status)reply->status;

  *deleted_p = reply->deleted;
  *unconfirmed_p = reply->unconfirmed;
  protobuf_c_message_free_unpacked(&reply->base, NULL);
  return status;
}

#endif
