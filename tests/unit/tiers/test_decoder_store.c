/*
 * A store whose chunks are coded below, and a service that decodes them: readers that do not decode get what was put, whatever the coding and wherever it lies; and what is damaged,
 * or was never what it says, is dropped, and comes from elsewhere if it can.
 */
#include "decoder_node.h"

#define N 40u /* chunks; memory has room for half of them */

static const struct decoding_config plain = {.threads = 2};

static void fill(struct decoding_node *node, uint16_t quality)
{
  for (uint64_t i = 0; i < N; i++)
    node_put(node, i, quality);
  assert_true(store_stats_of(node->store).medium_only > 10);
}

/* Without loss: from below, and from memory when it has the coded form; and whoever decodes is left to it. */
static void plain_readers_get_what_was_put(void **state)
{
  struct decoding_node node;
  struct kvi_store_stats stats;
  uint32_t cause, n_coded = 0;
  uint64_t decodes;
  bool coded = false;

  (void)state;
  decoding_node_open(&node, &plain);
  fill(&node, 0);
  for (int round = 0; round < 2; round++)
    for (uint64_t i = 0; i < N; i++) {
      assert_int_equal(node_get(&node, i, &no_form, &coded, &cause), KVS_OK);
      assert_false(coded);
    }
  decodes = DECODES(&node);
  assert_true(decodes > N / 2);
  assert_int_equal(metric(&node, "kvasir_tier_decoded_raw_bytes_total", ""), decodes * RAW);
  assert_true(metric(&node, "kvasir_tier_decoded_bytes_total", "") < decodes * RAW);
  assert_int_equal(MEMORY(&node), 0);
  for (uint64_t i = 0; i < N; i++) {
    assert_int_equal(node_get(&node, i, &any_form, &coded, &cause), KVS_OK);
    n_coded += coded;
  }
  assert_true(n_coded > N / 2);
  assert_int_equal(DECODES(&node), decodes);
  stats = store_stats_of(node.store);
  assert_int_equal(stats.gets, 3 * N);
  assert_int_equal(stats.get_hits, 3 * N);
  store_check(node.store, node.space);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* What lies there is coded by zstd, since it is of no known shape. */
static void bytes_too(void **state)
{
  enum { LENGTH = 50001 };
  struct decoding_node node;
  struct getting getting;

  (void)state;
  decoding_node_open(&node, &plain);
  for (uint64_t i = 0; i < N; i++) {
    uint8_t *bytes = content_make(TEXT, i, LENGTH);
    uint64_t copies = store_stats_of(node.store).medium_chunks;

    assert_int_equal(node_put_bytes(&node, node.bytes_space, i, bytes, LENGTH, 0), KVS_OK);
    AWAIT(store_stats_of(node.store).medium_chunks == copies + 1);
    free(bytes);
  }
  for (uint64_t i = 0; i < 10; i++) {
    uint8_t *bytes = content_make(TEXT, i, LENGTH);
    kvs_status status = node_get_start(&node, node.bytes_space, i, &no_form, &getting);

    assert_int_equal(node_get_end(status, &getting), KVS_OK);
    assert_int_equal(getting.wait.source.table.n_segments, SEGMENTS);
    assert_int_equal(getting.wait.source.table.length, LENGTH);
    assert_memory_equal(getting.wait.source.iov[0].base, bytes, LENGTH);
    node_get_close(&node, &getting);
    free(bytes);
  }
  assert_true(DECODES(&node) >= 10);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* Whoever takes the loss gets what the coded chunk decodes to; who does not misses it, and nothing is decoded in vain. */
static void with_loss(void **state)
{
  struct decoding_config how = {.threads = 1, .lossy = KVI_CODEC_LADDER, .planes = 2};
  struct kvi_get_terms loss = {.loss_max = KVI_LOSS_MAX}, all = any_form;
  uint64_t decodes;
  struct decoding_node node;

  (void)state;
  all.loss_max = KVI_LOSS_MAX;
  decoding_node_open(&node, &how);
  fill(&node, kvi_quality(0, KVI_LOSS_MAX, KVI_CODING_NONE));
  for (uint64_t i = 0; i < 4; i++) {
    struct getting as_coded, as_plain;
    kvs_status status = node_get_start(&node, node.space, i, &all, &as_coded);
    const struct kvi_source *coded = &as_coded.wait.source, *decoded = &as_plain.wait.source;
    uint8_t *payload, *at;

    assert_int_equal(node_get_end(status, &as_coded), KVS_OK);
    assert_int_equal(kvi_quality_loss(coded->table.quality), kvi_coded_loss(KVI_CODEC_LADDER, 2));
    status = node_get_start(&node, node.space, i, &loss, &as_plain);
    assert_int_equal(node_get_end(status, &as_plain), KVS_OK);
    assert_int_equal(decoded->table.quality,
                     kvi_quality(kvi_quality_loss(coded->table.quality), KVI_LOSS_MAX, KVI_CODING_NONE));
    assert_true(kvi_medium_fits(&decoded->table, decoded->iov, decoded->n_iov));
    payload = at = malloc(coded->table.length);
    for (uint32_t k = 0; k < coded->n_iov; at += coded->iov[k++].length)
      memcpy(at, coded->iov[k].base, coded->iov[k].length);
    assert_true(decodes_to(payload, coded->table.length, decoded->iov[0].base, RAW, NULL));
    free(payload);
    node_get_close(&node, &as_coded);
    node_get_close(&node, &as_plain);
  }
  decodes = DECODES(&node);
  assert_int_equal(decodes, 4);
  for (uint64_t i = 0; i < 10; i++) {
    struct getting getting;
    kvs_status status = node_get_start(&node, node.space, i, &no_form, &getting);

    assert_int_equal(node_get_end(status, &getting), content_of(i) == TENSORS ? KVS_MISS : KVS_OK);
    if (content_of(i) == TENSORS)
      assert_int_equal(getting.cause, KVI_MISS_QUALITY);
    else
      node_get_close(&node, &getting);
  }
  assert_int_equal(DECODES(&node), decodes);
  store_check(node.store, node.space);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* Nobody who can be told later: as without a decoder. And what is read ahead is not decoded. */
static void who_does_not_wait(void **state)
{
  uint8_t key[KEY_BYTES];
  struct decoding_node node;
  struct kvi_source source;
  uint32_t cause;

  (void)state;
  decoding_node_open(&node, &plain);
  fill(&node, 0);
  testing_key(0, key, KEY_BYTES);
  assert_int_equal(node.service->ops->get_open(node.service->self, &peer, node.space, key, KEY_BYTES, NULL,
                                               &source, &cause),
                   KVS_PENDING);
  assert_true(node.service->ops->get_ahead(node.service->self, &peer, node.space, key, KEY_BYTES, 1));
  AWAIT(store_stats_of(node.store).promotions == 1);
  assert_int_equal(node.service->ops->get_open(node.service->self, &peer, node.space, key, KEY_BYTES, NULL,
                                               &source, &cause),
                   KVS_MISS);
  assert_int_equal(cause, KVI_MISS_QUALITY);
  assert_int_equal(DECODES(&node), 0);
  store_check(node.store, node.space);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* One is decoded, one waits, and one is told to come again: it counts as neither hit nor miss. */
static void too_many(void **state)
{
  struct decoding_config how = {.threads = 1, .waiting = 1};
  struct kvi_store_stats before, after;
  struct getting gettings[3];
  struct decoding_node node;
  bool coded = false;
  uint32_t cause;

  (void)state;
  decoding_node_open(&node, &how);
  fill(&node, 0);
  for (uint64_t i = 0; i < 3; i++) /* to memory */
    assert_int_equal(node_get(&node, i, &any_form, &coded, &cause), KVS_OK);
  before = store_stats_of(node.store);
  gate_set(&decode_gate, true);
  assert_int_equal(node_get_start(&node, node.space, 0, &no_form, &gettings[0]), KVS_PENDING);
  gate_await(&decode_gate, 1);
  assert_int_equal(node_get_start(&node, node.space, 1, &no_form, &gettings[1]), KVS_PENDING);
  assert_int_equal(node_get_start(&node, node.space, 2, &no_form, &gettings[2]), KVS_ERR_BUSY);
  assert_int_equal(node_get_start(&node, node.space, 5, &no_form, &gettings[2]),
                   KVS_PENDING); /* from below */
  assert_int_equal(node_get_end(KVS_PENDING, &gettings[2]), KVS_ERR_BUSY);
  assert_int_equal(REFUSED(&node), 2);
  gate_set(&decode_gate, false);
  for (uint64_t i = 0; i < 2; i++) {
    assert_int_equal(node_get_end(KVS_PENDING, &gettings[i]), KVS_OK);
    source_check(&gettings[i].wait.source, i, false);
    node_get_close(&node, &gettings[i]);
  }
  after = store_stats_of(node.store);
  assert_int_equal(after.gets, before.gets + 4);
  assert_int_equal(after.get_hits, before.get_hits + 2);
  for (uint32_t i = 0; i < KVI_MISS_COUNT; i++)
    assert_int_equal(after.get_misses[i], before.get_misses[i]);
  store_check(node.store, node.space);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* ---- damage ---- */

/* A bit of what is in memory of it. */
static void damage(struct decoding_node *node, uint64_t number)
{
  struct kvi_source source;
  uint8_t key[KEY_BYTES];

  testing_key(number, key, KEY_BYTES);
  assert_int_equal(kvi_store_peek_open(node->store, TENANT, node->space, key, KEY_BYTES, &source), KVS_OK);
  assert_int_equal(kvi_quality_coding(source.table.quality), KVI_CODING_KVC1);
  ((uint8_t *)source.iov[source.n_iov - 1].base)[100] ^= 4;
  kvi_store_get_close(node->store, &source);
}

static void damaged_in_memory(struct decoding_node *node, bool elsewhere)
{
  struct kvi_store_stats before, after;
  struct kvi_damage damages[KVI_DAMAGES_MAX];
  uint8_t key[KEY_BYTES];
  uint32_t cause;
  bool coded = false;

  fill(node, 0);
  if (elsewhere)
    AWAIT(memory_items(node->lower) == N);
  assert_int_equal(node_get(node, 2, &any_form, &coded, &cause), KVS_OK);
  assert_true(coded);
  damage(node, 2);
  before = store_stats_of(node->store);
  assert_int_equal(node_get(node, 2, &no_form, &coded, &cause), elsewhere ? KVS_OK : KVS_MISS);
  if (!elsewhere)
    assert_int_equal(cause, KVI_MISS_CORRUPT);
  after = store_stats_of(node->store);
  assert_int_equal(after.corrupt, before.corrupt + 1);
  assert_int_equal(after.gets, before.gets + 1);
  assert_int_equal(after.get_hits, before.get_hits + elsewhere);
  assert_int_equal(after.get_misses[KVI_MISS_CORRUPT], before.get_misses[KVI_MISS_CORRUPT] + !elsewhere);
  assert_int_equal(metric(node, "kvasir_tier_decode_refused_total", "cause=\"corrupt\""), 1);
  assert_int_equal(kvi_damages_list(kvi_store_damages(node->store), damages), 1);
  testing_key(2, key, KEY_BYTES);
  assert_memory_equal(damages[0].key, key, KEY_BYTES);
  assert_int_equal(damages[0].tier, KVI_TIER_DRAM);
  if (elsewhere) /* its copy there is as good as before */
    assert_int_equal(memory_items(node->lower), N);
  store_check(node->store, node->space);
  nothing_left(node, 0, N);
}

static void damaged_and_nowhere_else(void **state)
{
  struct decoding_node node;

  (void)state;
  decoding_node_open(&node, &plain);
  damaged_in_memory(&node, false);
  decoding_node_close(&node);
}

static void damaged_and_elsewhere(void **state)
{
  struct decoding_config how = {.threads = 2, .shared = true};
  struct decoding_node node;

  (void)state;
  decoding_node_open(&node, &how);
  damaged_in_memory(&node, true);
  decoding_node_close(&node);
}

/* A client has put what is no coded chunk, and said it were one: it fits its checksums wherever it lies. */
static void never_what_it_says(void **state)
{
  struct decoding_config how = {.threads = 1, .shared = true};
  const uint16_t quality = kvi_quality(0, 0, KVI_CODING_KVC1);
  struct decoding_node node;
  struct getting getting;

  (void)state;
  decoding_node_open(&node, &how);
  for (uint32_t round = 0; round < 2; round++) { /* while it is in memory; and when another node has put it */
    assert_int_equal(node_put_bytes(&node, node.space, 1, content_bytes(1), RAW, quality), KVS_OK);
    AWAIT(memory_items(node.lower) == 1);
    if (round == 1) {
      uint8_t key[KEY_BYTES];

      testing_key(1, key, KEY_BYTES);
      assert_int_equal(kvi_store_delete(node.store, TENANT, node.space, key, KEY_BYTES), KVS_OK);
    }
    assert_int_equal(node_get_end(node_get_start(&node, node.space, 1, &no_form, &getting), &getting),
                     KVS_MISS);
    assert_int_equal(getting.cause, KVI_MISS_CORRUPT);
    assert_int_equal(store_stats_of(node.store).chunks, 0);
    AWAIT(memory_items(node.lower) == 0);
    memory_settle(node.lower);
  }
  store_check(node.store, node.space);
  nothing_left(&node, 0, 2);
  decoding_node_close(&node);
}

static void forgotten(void *ctx, const uint8_t *there, uint32_t unconfirmed)
{
  (void)ctx, (void)there, (void)unconfirmed;
}

/* As a client deletes it: here, and where nodes share it. */
static void everywhere_delete(struct decoding_node *node, uint64_t number)
{
  uint32_t items = memory_items(node->lower);
  uint8_t key[KEY_BYTES];
  struct kvi_shared_forget forget = {.tenant = TENANT,
                                     .space = node->space,
                                     .keys = key,
                                     .key_length = KEY_BYTES,
                                     .n_keys = 1,
                                     .done = forgotten};

  testing_key(number, key, KEY_BYTES);
  assert_int_equal(kvi_store_delete(node->store, TENANT, node->space, key, KEY_BYTES), KVS_OK);
  assert_int_equal(kvi_shared_forget(node->shared, &forget), KVS_OK);
  AWAIT(memory_items(node->lower) == items - 1);
}

/* The same, but until it is found out the chunk has been deleted, and put as it should be: that one stays, here and where nodes share it. */
static void put_right_meanwhile(void **state)
{
  enum { NUMBER = 100 };
  struct decoding_config how = {.threads = 1, .shared = true};
  struct getting first, getting;
  struct decoding_node node;
  kvs_status status;
  uint32_t cause;
  bool coded = false;

  (void)state;
  decoding_node_open(&node, &how);
  fill(&node, 0);
  AWAIT(memory_items(node.lower) == N);
  gate_set(&decode_gate, true);
  status = node_get_start(&node, node.space, 0, &no_form, &first); /* has the only thread */
  assert_int_equal(status, KVS_PENDING);
  gate_await(&decode_gate, 1);
  assert_int_equal(
      node_put_bytes(&node, node.space, NUMBER, content_bytes(1), RAW, kvi_quality(0, 0, KVI_CODING_KVC1)),
      KVS_OK);
  assert_int_equal(node_get_start(&node, node.space, NUMBER, &no_form, &getting), KVS_PENDING);
  AWAIT(memory_items(node.lower) == N + 1);
  everywhere_delete(&node, NUMBER);
  node_put(&node, NUMBER, 0);
  gate_set(&decode_gate, false);
  assert_int_equal(node_get_end(status, &first), KVS_OK);
  node_get_close(&node, &first);
  assert_int_equal(node_get_end(KVS_PENDING, &getting), KVS_MISS);
  assert_int_equal(getting.cause, KVI_MISS_CORRUPT);
  memory_settle(node.lower);
  assert_int_equal(memory_items(node.lower), N + 1);
  assert_int_equal(store_stats_of(node.store).corrupt, 0);
  assert_int_equal(node_get(&node, NUMBER, &no_form, &coded, &cause), KVS_OK);
  store_check(node.store, node.space);
  everywhere_delete(&node, NUMBER);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* What the node gets from others comes coded, and is decoded just the same. */
static void from_what_nodes_share(void **state)
{
  struct decoding_config how = {.threads = 2, .shared = true};
  struct decoding_node node;
  uint32_t cause;
  bool coded = false;

  (void)state;
  decoding_node_open(&node, &how);
  fill(&node, 0);
  AWAIT(memory_items(node.lower) == N);
  memory_fail(node.below, KVS_ERR_DEADLINE, KVS_OK);
  for (uint64_t i = 0; i < 4; i++)
    assert_int_equal(node_get(&node, i, &no_form, &coded, &cause), KVS_OK);
  assert_int_equal(DECODES(&node), 4);
  memory_fail(node.below, KVS_OK, KVS_OK);
  nothing_left(&node, 0, N); /* of the node's own */
  for (uint64_t i = 10; i < 14; i++)
    assert_int_equal(node_get(&node, i, &no_form, &coded, &cause), KVS_OK);
  assert_int_equal(DECODES(&node), 8);
  store_check(node.store, node.space);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_readers_get_what_was_put),
      cmocka_unit_test(bytes_too),
      cmocka_unit_test(with_loss),
      cmocka_unit_test(who_does_not_wait),
      cmocka_unit_test(too_many),
      cmocka_unit_test(damaged_and_nowhere_else),
      cmocka_unit_test(damaged_and_elsewhere),
      cmocka_unit_test(never_what_it_says),
      cmocka_unit_test(put_right_meanwhile),
      cmocka_unit_test(from_what_nodes_share),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
