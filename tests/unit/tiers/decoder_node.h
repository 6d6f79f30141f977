/*
 * decoder_node.h: a service over a store whose chunks are encoded on their way to plain memory below, and perhaps to what nodes share, and decoded here for readers that do
 * not.
 */
#ifndef KVI_TESTS_UNIT_TIERS_DECODER_NODE_H
#define KVI_TESTS_UNIT_TIERS_DECODER_NODE_H

#include "decoder_testing.h"

#include "encoder_store.h"
#include "memory_medium.h"
#include "tiers/service.h"

static const struct kvi_peer peer = {.id = 5, .tenant = TENANT, .name = "test"};

struct decoding_config {
  uint32_t threads, waiting;  /* as of the service */
  bool shared;                /* there is a tier that nodes share */
  enum kvi_codec_level lossy; /* KVI_CODEC_RAW: none */
  uint32_t planes;
};

struct decoding_node {
  struct memory_medium *below, *lower; /* lower NULL: nothing is shared */
  struct kvi_store *store;
  struct kvi_shared *shared;
  struct kvi_store_service *owner;
  const struct kvi_service *service;
  uint8_t space[KVS_DIGEST_SIZE], bytes_space[KVS_DIGEST_SIZE]; /* of tensors; of bytes */
};

static inline struct kvi_medium *encoded(struct kvi_medium *inner, const struct decoding_config *how)
{
  struct kvi_encoder_config config = {
      .rules = {.tensors = true, .bytes = true, .lossy = how->lossy, .planes = how->planes}, .threads = 1};
  struct kvi_medium *medium;

  assert_int_equal(kvi_encoder_create(inner, &config, &medium), KVS_OK);
  return medium;
}

static inline void decoding_node_open(struct decoding_node *node, const struct decoding_config *how)
{
  struct kvi_store_config store = {.dram_bytes = 1 << 20, .dram_page_bytes = 4096};
  struct kvi_store_service_config service = {
      .incarnation = 1, .decode_threads = how->threads, .decode_waiting = how->waiting};
  struct kvi_shared_config shared = {.get_ms = PATIENCE_MS};
  kvs_space_desc desc = tensors_space();

  memset(node, 0, sizeof(*node));
  node->below = memory_medium_create(false);
  store.medium = encoded(&node->below->medium, how);
  assert_int_equal(kvi_store_open(&store, &node->store), KVS_OK);
  testing_space_open(node->store, TENANT, &desc, node->space);
  desc = testing_space("bytes", KEY_BYTES);
  testing_space_open(node->store, TENANT, &desc, node->bytes_space);
  if (how->shared) {
    node->lower = memory_medium_create(true);
    shared.medium = encoded(&node->lower->medium, how);
    shared.store = node->store;
    assert_int_equal(kvi_shared_create(&shared, &node->shared), KVS_OK);
  }
  service.store = node->store;
  service.shared = node->shared;
  assert_int_equal(kvi_store_service_create(&service, &node->owner), KVS_OK);
  node->service = kvi_store_service_get(node->owner);
}

static inline void decoding_node_close(struct decoding_node *node)
{
  kvi_store_service_destroy(node->owner);
  kvi_shared_destroy(node->shared);
  kvi_store_close(node->store);
}

/* A metric of the service. */
static inline uint64_t metric(struct decoding_node *node, const char *name, const char *labels)
{
  Kvasir__V1__StatsReply *reply;
  double value = -1;

  assert_int_equal(kvi_store_service_stats(node->owner, &reply), KVS_OK);
  for (size_t i = 0; i < reply->n_stats; i++)
    if (strcmp(reply->stats[i]->name, name) == 0 && strcmp(reply->stats[i]->labels, labels) == 0)
      value = reply->stats[i]->value;
  protobuf_c_message_free_unpacked(&reply->base, NULL);
  assert_true(value >= 0);
  return (uint64_t)value;
}

#define DECODES(node) metric(node, "kvasir_tier_decodes_total", "")
#define REFUSED(node) metric(node, "kvasir_tier_decode_refused_total", "cause=\"busy\"")
#define WAITING(node) metric(node, "kvasir_tier_decode_queued", "")
#define MEMORY(node)  metric(node, "kvasir_tier_decode_memory_bytes", "")

/* Bytes of any length, in SEGMENTS segments, under a key of their own. */
static inline kvs_status node_put_bytes(struct decoding_node *node, const uint8_t *space, uint64_t number,
                                        const uint8_t *bytes, uint32_t length, uint16_t quality)
{
  uint8_t key[KEY_BYTES];
  uint32_t lengths[SEGMENTS];
  struct kvi_put_request request = {.space = space,
                                    .key = key,
                                    .key_length = KEY_BYTES,
                                    .unchained = true,
                                    .length = length,
                                    .n_segments = SEGMENTS,
                                    .segment_lengths = lengths,
                                    .quality = quality};
  const uint8_t *from = bytes;
  struct kvi_landing landing;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  for (uint32_t i = 0; i < SEGMENTS; i++)
    lengths[i] = i + 1 < SEGMENTS ? length / SEGMENTS : length - length / SEGMENTS * (SEGMENTS - 1);
  status = node->service->ops->put_begin(node->service->self, &peer, &request, NULL, NULL, &landing);
  if (status != KVS_OK)
    return status;
  for (uint32_t i = 0; i < landing.n_iov; from += landing.iov[i++].length)
    memcpy(landing.iov[i].base, from, landing.iov[i].length);
  for (uint32_t i = 0; i < SEGMENTS; bytes += lengths[i++])
    landing.segments[i].crc32c = kvi_crc32c_update(0, bytes, lengths[i]);
  return node->service->ops->put_commit(node->service->self, &landing);
}

/* Each is below before the next one comes; the first ones have left memory when there are many. */
static inline void node_put(struct decoding_node *node, uint64_t number, uint16_t quality)
{
  uint64_t copies = store_stats_of(node->store).medium_chunks,
           items = node->lower ? memory_items(node->lower) : 0;

  assert_int_equal(node_put_bytes(node, node->space, number, content_bytes(number), RAW, quality), KVS_OK);
  AWAIT(store_stats_of(node->store).medium_chunks == copies + 1);
  if (node->lower)
    AWAIT(memory_items(node->lower) == items + 1);
}

/* A get by a reader of such terms; to be ended by node_get_end. */
static inline kvs_status node_get_start(struct decoding_node *node, const uint8_t *space, uint64_t number,
                                        const struct kvi_get_terms *terms, struct getting *getting)
{
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  uint32_t cause = KVI_MISS_NONE;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  getting_init(getting, terms);
  status = node->service->ops->get_open(node->service->self, &peer, space, key, KEY_BYTES, &getting->wait,
                                        &source, &cause);
  if (status == KVS_PENDING) /* then it may have ended by now */
    return status;
  getting->cause = cause;
  getting->wait.source = source;
  return status;
}

static inline kvs_status node_get_end(kvs_status status, struct getting *getting)
{
  return status == KVS_PENDING ? test_wait_for(&getting->ended) : status;
}

static inline void node_get_close(struct decoding_node *node, struct getting *getting)
{
  node->service->ops->get_close(node->service->self, &getting->wait.source);
}

/* Of a chunk that node_put has put. Busy ones are tried again. */
static inline kvs_status node_get(struct decoding_node *node, uint64_t number,
                                  const struct kvi_get_terms *terms, bool *coded_p, uint32_t *cause_p)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);
  struct getting getting;
  kvs_status status;

  do
    status = node_get_end(node_get_start(node, node->space, number, terms, &getting), &getting);
  while (status == KVS_ERR_BUSY && !kvi_deadline_expired(patience));
  *cause_p = getting.cause;
  if (status != KVS_OK)
    return status;
  *coded_p = kvi_quality_coding(getting.wait.source.table.quality) != KVI_CODING_NONE;
  source_check(&getting.wait.source, number, *coded_p);
  node_get_close(node, &getting);
  return KVS_OK;
}

/* Nobody reads anything, and what was deleted is free. */
static inline void nothing_left(struct decoding_node *node, uint64_t first, uint64_t n)
{
  uint8_t key[KEY_BYTES];

  for (uint64_t i = first; i < first + n; i++) {
    testing_key(i, key, KEY_BYTES);
    (void)kvi_store_delete(node->store, TENANT, node->space, key, KEY_BYTES);
    (void)kvi_store_delete(node->store, TENANT, node->bytes_space, key, KEY_BYTES);
  }
  AWAIT(store_stats_of(node->store).dram.objects == 0 && store_stats_of(node->store).dram.used_bytes == 0);
  AWAIT(MEMORY(node) == 0);
  assert_int_equal(WAITING(node), 0);
}

#endif
