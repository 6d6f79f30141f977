/* encoder_node.h: stores over a medium that encodes, on the fixture's volume or in plain memory. */
#ifndef KVI_TESTS_UNIT_TIERS_ENCODER_NODE_H
#define KVI_TESTS_UNIT_TIERS_ENCODER_NODE_H

#define CHUNKS 8u

#include "encoder_store.h"
#include "memory_medium.h"
#include "ssd_fixture.h"

struct node {
  struct kvi_store *store;
  struct put_to to;
  uint8_t space[KVS_DIGEST_SIZE];
};

static inline struct kvi_store_config config_of(void)
{
  return (struct kvi_store_config){
      .dram_bytes = 1 << 20, .dram_page_bytes = 4096, .chunk_bytes_max = CHUNK_MAX, .max_chunks = 1024};
}

/* What is put raw is encoded in memory. */
static inline struct kvi_store_config config_coded(void)
{
  struct kvi_store_config config = config_of();

  config.codec = (struct kvi_encode_rules){.tensors = true, .bytes = true};
  config.codec_threads = 2;
  return config;
}

static inline struct kvi_medium *encoded(struct kvi_medium *inner)
{
  struct kvi_encoder_config config = {.rules = {.tensors = true, .bytes = true}, .threads = 2};
  struct kvi_medium *medium;

  assert_int_equal(kvi_encoder_create(inner, &config, &medium), KVS_OK);
  return medium;
}

/* Over config's medium, with the space of tensors. */
static inline void node_start(struct node *node, const struct kvi_store_config *config)
{
  kvs_space_desc desc = tensors_space();

  memset(node, 0, sizeof(*node));
  assert_int_equal(kvi_store_open(config, &node->store), KVS_OK);
  testing_space_open(node->store, TENANT, &desc, node->space);
  node->to = (struct put_to){.store = node->store, .space = node->space};
}

/* Over the fixture's volume. */
static inline void node_on_volume_as(struct node *node, struct fixture *f, struct kvi_store_config config,
                                     bool encoder)
{
  assert_int_equal(kvi_ssd_create(&f->config, &config.medium), KVS_OK);
  if (encoder)
    config.medium = encoded(config.medium);
  node_start(node, &config);
}

static inline void node_on_volume(struct node *node, struct fixture *f)
{
  node_on_volume_as(node, f, config_of(), true);
}

static inline struct kvi_store_stats stats_of_store(const struct node *node)
{
  return store_stats_of(node->store);
}

/* It is on the medium before the next one comes, so that none is lost. */
static inline void node_put(struct node *node, uint64_t number)
{
  uint64_t before = stats_of_store(node).medium_chunks;

  assert_int_equal(store_put(&node->to, number), KVS_OK);
  AWAIT(stats_of_store(node).medium_chunks == before + 1);
}

static inline bool is_quiet(const struct node *node)
{
  struct kvi_store_stats stats = stats_of_store(node);

  return stats.coding == 0 && stats.medium.queued == 0 && stats.writes_queued == 0;
}

/* Nothing is under way any more. */
static inline void quiet(const struct node *node)
{
  AWAIT(is_quiet(node));
}

#endif
