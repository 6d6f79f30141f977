/*
 * Nodes that encode what they write to a medium that they share, and nodes that do not, over one medium in plain memory: each reads what any wrote. And a chunk that one
 * tier has encoded and the other has not.
 */
#include "encoder_store.h"
#include "memory_medium.h"
#include "shared_testing.h"

/* ---- a medium of several nodes ---- */

/* The nodes' way to it, which they may destroy. */
struct borrowed {
  struct kvi_medium medium; /* first */
  struct memory_medium *memory;
};

static struct kvi_medium *lender(const struct kvi_medium *medium)
{
  return &((const struct borrowed *)medium)->memory->medium;
}

static void borrowed_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  lender(medium)->ops->attr(lender(medium), attr_p);
}

static kvs_status borrowed_recover(struct kvi_medium *medium, const struct kvi_medium_owner *owner,
                                   kvi_medium_found_fn *found)
{
  return lender(medium)->ops->recover(lender(medium), owner, found);
}

static kvs_status borrowed_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  return lender(medium)->ops->put(lender(medium), put);
}

static kvs_status borrowed_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  return lender(medium)->ops->get(lender(medium), get);
}

static kvs_status borrowed_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  return lender(medium)->ops->lookup(lender(medium), lookup);
}

static kvs_status borrowed_remove(struct kvi_medium *medium, struct kvi_medium_remove *remove)
{
  return lender(medium)->ops->remove(lender(medium), remove);
}

static void borrowed_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                          kvi_medium_handle handle, bool for_good)
{
  lender(medium)->ops->drop(lender(medium), identity, handle, for_good);
}

static void borrowed_destroy(struct kvi_medium *medium)
{
  memory_settle(((struct borrowed *)medium)->memory); /* nothing of ours is in it any more */
  free(medium);
}

static struct kvi_medium *borrow(struct memory_medium *memory)
{
  static struct kvi_medium_ops ops = {.attr = borrowed_attr,
                                      .recover = borrowed_recover,
                                      .put = borrowed_put,
                                      .get = borrowed_get,
                                      .lookup = borrowed_lookup,
                                      .remove = borrowed_remove,
                                      .drop = borrowed_drop,
                                      .destroy = borrowed_destroy};
  struct borrowed *borrowed = calloc(1, sizeof(*borrowed));

  assert_non_null(borrowed);
  kvi_medium_ops_complete(&ops);
  borrowed->medium.ops = &ops;
  borrowed->memory = memory;
  return &borrowed->medium;
}

/* ---- nodes ---- */

enum below { NO_BELOW, BELOW, BELOW_ENCODED, BELOW_LOSSY };

static struct kvi_medium *encoded(struct kvi_medium *inner, bool encoder, bool lossy)
{
  struct kvi_encoder_config config = {.rules = {.tensors = true,
                                                .bytes = true,
                                                .lossy = lossy ? KVI_CODEC_LADDER : KVI_CODEC_RAW,
                                                .planes = 1},
                                      .threads = 1};
  struct kvi_medium *medium = inner;

  if (encoder)
    assert_int_equal(kvi_encoder_create(inner, &config, &medium), KVS_OK);
  return medium;
}

struct coding_node {
  struct node node; /* first; its space is that of tensors */
  struct memory_medium *below;
  struct put_to to;
};

static void coding_node_open(struct coding_node *coding, struct memory_medium *lower, bool encoder,
                             enum below below)
{
  struct kvi_store_config store = {.dram_bytes = 1 << 20, .dram_page_bytes = 4096};
  struct kvi_shared_config shared = {.get_ms = PATIENCE_MS};
  kvs_space_desc desc = tensors_space();

  memset(coding, 0, sizeof(*coding));
  if (below != NO_BELOW) {
    coding->below = memory_medium_create(false);
    store.medium = encoded(&coding->below->medium, below >= BELOW_ENCODED, below == BELOW_LOSSY);
  }
  shared.medium = encoded(borrow(lower), encoder, false);
  node_open_over(&coding->node, &store, &shared);
  testing_space_open(coding->node.store, TENANT, &desc, coding->node.space);
  coding->to = (struct put_to){.service = coding->node.service, .peer = &peer, .space = coding->node.space};
}

static void coding_put(struct coding_node *coding, uint64_t number)
{
  uint64_t writes = shared_stats(&coding->node).writes;
  uint64_t copies = store_stats_of(coding->node.store).medium_chunks;

  assert_int_equal(store_put(&coding->to, number), KVS_OK);
  AWAIT(shared_stats(&coding->node).writes == writes + 1);
  if (coding->below)
    AWAIT(store_stats_of(coding->node.store).medium_chunks == copies + 1);
}

static kvs_status coding_get(struct coding_node *coding, uint64_t number, const struct kvi_get_terms *terms,
                             bool *coded_p, uint32_t *cause_p)
{
  const struct kvi_service *service = coding->node.service;
  uint8_t key[KEY_BYTES];
  struct getting getting;
  struct kvi_source source;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  getting_init(&getting, terms);
  status = service->ops->get_open(service->self, &peer, coding->node.space, key, KEY_BYTES, &getting.wait,
                                  &source, cause_p);
  if (status == KVS_OK)
    getting.wait.source = source;
  status = getting_end(&getting, status, &source, cause_p);
  if (status != KVS_OK)
    return status;
  *coded_p = kvi_quality_coding(source.table.quality) != KVI_CODING_NONE;
  source_check(&source, number, *coded_p);
  service->ops->get_close(service->self, &source);
  return KVS_OK;
}

/* ---- tests ---- */

#define N 10u

/* Coded chunks come into a space whose chunks have one length, and are as long as they are there. */
static void one_encodes_and_all_read(void **state)
{
  struct memory_medium *lower = memory_medium_create(true);
  struct coding_node writer, readers[3];
  struct kvi_medium_stats medium;
  struct kvi_shared_stats stats;
  uint32_t cause;
  bool coded;

  (void)state;
  coding_node_open(&writer, lower, true, NO_BELOW);
  coding_node_open(&readers[0], lower, true, NO_BELOW);
  coding_node_open(&readers[1], lower, false, BELOW);
  coding_node_open(&readers[2], lower, false, BELOW_ENCODED);
  for (uint64_t i = 0; i < N; i++)
    coding_put(&writer, i);
  kvi_shared_stats(writer.node.shared, &stats, &medium);
  assert_int_equal(medium.encoded_chunks, N - N / 5);
  assert_int_equal(stats.write_bytes, medium.encoded_bytes + N / 5 * RAW);
  for (uint32_t r = 0; r < 3; r++) {
    struct kvi_store *store = readers[r].node.store;
    struct kvi_store_stats before;
    uint64_t fetches;

    for (uint64_t i = 0; i < N; i++) {
      assert_int_equal(coding_get(&readers[r], i, &any_form, &coded, &cause), KVS_OK);
      assert_int_equal(coded, content_of(i) == TENSORS);
      assert_int_equal(store_put(&readers[r].to, i), KVS_EXISTS);
    }
    assert_int_equal(shared_stats(&readers[r].node).fetch_bytes, stats.write_bytes);
    assert_int_equal(space_info(store, readers[r].node.space).bytes, stats.write_bytes);
    store_check(store, readers[r].node.space);
    if (readers[r].below) {
      AWAIT(store_stats_of(store).medium_chunks == N);
      assert_int_equal(store_stats_of(store).medium.encoded_chunks, 0); /* they are already */
    }
    /* What is here in a form that is not read is not asked for elsewhere: it could not come in. */
    fetches = shared_stats(&readers[r].node).fetches;
    for (uint64_t i = 0; i < N; i++) {
      kvs_status status;

      before = store_stats_of(store);
      status = coding_get(&readers[r], i, &no_form, &coded, &cause);
      assert_int_equal(status, content_of(i) == TENSORS ? KVS_MISS : KVS_OK);
      if (status == KVS_MISS) {
        assert_int_equal(cause, KVI_MISS_QUALITY);
        assert_int_equal(store_stats_of(store).get_misses[KVI_MISS_QUALITY],
                         before.get_misses[KVI_MISS_QUALITY] + 1);
      }
      assert_int_equal(store_stats_of(store).gets, before.gets + 1);
    }
    assert_int_equal(shared_stats(&readers[r].node).fetches, fetches);
  }
  for (uint32_t r = 0; r < 3; r++)
    node_close(&readers[r].node);
  node_close(&writer.node);
  lower->medium.ops->destroy(&lower->medium);
}

/* A reader of plain chunks alone, on a node that has nothing yet: the chunk comes, and is no use to it. */
static void a_fetch_that_does_not_suit(void **state)
{
  struct memory_medium *lower = memory_medium_create(true);
  struct coding_node writer, reader;
  struct kvi_store_stats stats;
  uint32_t cause;
  bool coded;

  (void)state;
  coding_node_open(&writer, lower, true, NO_BELOW);
  coding_node_open(&reader, lower, true, BELOW_ENCODED);
  for (uint64_t i = 0; i < N; i++)
    coding_put(&writer, i);
  for (uint64_t i = 0; i < N; i++) {
    kvs_status status = coding_get(&reader, i, &no_form, &coded, &cause);

    assert_int_equal(status, content_of(i) == TENSORS ? KVS_MISS : KVS_OK);
    if (status == KVS_MISS)
      assert_int_equal(cause, KVI_MISS_QUALITY);
  }
  AWAIT(store_stats_of(reader.node.store).gets ==
        N); /* the store's misses are taken back beside the fetches */
  stats = store_stats_of(reader.node.store);
  assert_int_equal(stats.get_hits, N / 5);
  assert_int_equal(stats.get_misses[KVI_MISS_QUALITY], N - N / 5);
  for (uint64_t i = 0; i < N; i++)
    assert_int_equal(coding_get(&reader, i, &any_form, &coded, &cause), KVS_OK);
  store_check(reader.node.store, reader.node.space);
  node_close(&reader.node);
  node_close(&writer.node);
  lower->medium.ops->destroy(&lower->medium);
}

/* One tier has a chunk encoded, the other as it was put: when the one below cannot be read, the other form comes into its entry, and leaves it again. */
static void refilled_with_another_form(void **state)
{
  enum { FILL = 40 };

  (void)state;
  for (uint32_t way = 0; way < 2; way++) {
    struct memory_medium *lower = memory_medium_create(true);
    struct coding_node node;
    struct kvi_store *store;
    uint32_t cause, refilled = 0;
    bool coded, below_coded = way == 0;

    coding_node_open(&node, lower, !below_coded, below_coded ? BELOW_ENCODED : BELOW);
    store = node.node.store;
    for (uint64_t i = 0; i < FILL; i++)
      coding_put(&node, i);
    assert_true(store_stats_of(store).medium_only > 10);
    memory_fail(node.below, KVS_ERR_DEADLINE, KVS_OK);
    for (uint64_t i = 0; i < 4; i++) {
      assert_int_equal(coding_get(&node, i, &any_form, &coded, &cause), KVS_OK);
      assert_int_equal(coded, !below_coded);
      refilled++;
      store_check(store, node.node.space);
    }
    assert_int_equal(shared_stats(&node.node).fetch_hits, refilled);
    memory_fail(node.below, KVS_OK, KVS_OK);
    for (uint64_t i = FILL; i < 2 * FILL; i++) /* they leave memory, and are what the tier below has */
      coding_put(&node, i);
    store_check(store, node.node.space);
    for (uint64_t i = 0; i < 4; i++) {
      assert_int_equal(coding_get(&node, i, &any_form, &coded, &cause), KVS_OK);
      assert_int_equal(coded, below_coded);
      store_check(store, node.node.space);
    }
    assert_int_equal(shared_stats(&node.node).fetch_hits, refilled);
    for (uint64_t i = 0; i < 2 * FILL; i++) {
      uint8_t key[KEY_BYTES];

      testing_key(i, key, KEY_BYTES);
      assert_int_equal(kvi_store_delete(store, TENANT, node.node.space, key, KEY_BYTES), KVS_OK);
    }
    assert_int_equal(space_info(store, node.node.space).bytes, 0);
    node_close(&node.node);
    lower->medium.ops->destroy(&lower->medium);
  }
}

/* The tier below has it with loss, the one that nodes share without: who takes no loss gets it from there, and it takes the place of the other. */
static void less_loss_comes_from_below(void **state)
{
  enum { FILL = 40 };
  struct memory_medium *lower = memory_medium_create(true);
  struct kvi_get_terms lossy = any_form;
  struct coding_node node;
  struct kvi_store *store;
  uint64_t fetches, copies;
  uint32_t cause;
  bool coded;

  (void)state;
  coding_node_open(&node, lower, false, BELOW_LOSSY);
  store = node.node.store;
  node.to.quality = kvi_quality(0, KVI_LOSS_MAX, KVI_CODING_NONE);
  for (uint64_t i = 0; i < FILL; i++)
    coding_put(&node, i);
  assert_true(store_stats_of(store).medium_only > 10);
  copies = store_stats_of(store).medium_chunks;
  for (uint64_t i = 0; i < 3; i++) {
    fetches = shared_stats(&node.node).fetches;
    assert_int_equal(coding_get(&node, i, &any_form, &coded, &cause), KVS_OK);
    assert_false(coded);
    assert_int_equal(shared_stats(&node.node).fetches, fetches + 1);
    assert_int_equal(coding_get(&node, i, &any_form, &coded, &cause), KVS_OK); /* from memory now */
    assert_int_equal(shared_stats(&node.node).fetches, fetches + 1);
    AWAIT(store_stats_of(store).medium_chunks == copies); /* written anew */
    assert_true(lengths_fit(store, node.node.space));
  }
  /* A reader that takes the loss, but no coding, has nothing to hope for elsewhere. */
  lossy.codings = 0;
  lossy.loss_max = KVI_LOSS_MAX;
  fetches = shared_stats(&node.node).fetches;
  assert_int_equal(coding_get(&node, 5, &lossy, &coded, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_MISS_QUALITY);
  assert_int_equal(shared_stats(&node.node).fetches, fetches);
  store_check(store, node.node.space);
  node_close(&node.node);
  lower->medium.ops->destroy(&lower->medium);
}

/* Through the service: a chunk whose write is with the encoder is deleted from all tiers. */
static void deleted_on_the_way_to_all(void **state)
{
  struct memory_medium *lower = memory_medium_create(true);
  struct coding_node node;
  struct calling deleting;
  uint32_t deleted, unconfirmed, cause;
  bool coded;

  (void)state;
  coding_node_open(&node, lower, true, BELOW_ENCODED);
  gate_set(&gate, true);
  for (uint64_t i = 0; i < 3; i++)
    assert_int_equal(store_put(&node.to, i), KVS_OK);
  gate_await(&gate, 2); /* one worker of each tier */
  (void)delete_start(&node.node, 0, 3, &deleting);
  gate_set(&gate, false);
  assert_int_equal(delete_end(&deleting, &deleted, &unconfirmed), KVS_OK);
  assert_int_equal(deleted, 3);
  assert_int_equal(unconfirmed, 0);
  AWAIT(store_stats_of(node.node.store).dram.objects == 0);
  assert_int_equal(memory_items(lower), 0);
  assert_int_equal(memory_items(node.below), 0);
  for (uint64_t i = 0; i < 3; i++)
    assert_int_equal(coding_get(&node, i, &any_form, &coded, &cause), KVS_MISS);
  node_close(&node.node);
  lower->medium.ops->destroy(&lower->medium);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_encodes_and_all_read),   cmocka_unit_test(a_fetch_that_does_not_suit),
      cmocka_unit_test(refilled_with_another_form), cmocka_unit_test(less_loss_comes_from_below),
      cmocka_unit_test(deleted_on_the_way_to_all),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
