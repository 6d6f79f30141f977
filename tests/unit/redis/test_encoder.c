/* Nodes over one real Redis, of which one encodes what it writes: what lies there, and what the others get. */
#include "tests/unit/tiers/encoder_store.h"
#include "tests/unit/tiers/shared_testing.h"

#include "tests/unit/redis/one_server.h"
#include "tiers/redis/medium.h"

static void open_node(struct node *node, struct put_to *to, bool encoder)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_medium_config redis = {
      .redis = {.addresses = addresses, .n_addresses = 1, .retry_first_ms = 20, .retry_longest_ms = 100},
      .key_prefix = "kvasir:"};
  struct kvi_encoder_config codec = {.rules = {.tensors = true, .bytes = true}, .threads = 2};
  struct kvi_store_config store = {.dram_bytes = 8 << 20, .max_chunks = 1024};
  struct kvi_shared_config shared = {.lookup_ms = PATIENCE_MS, .get_ms = PATIENCE_MS, .put_ms = PATIENCE_MS};
  kvs_space_desc desc = tensors_space();

  assert_int_equal(kvi_redis_medium_create(&redis, NULL, 0, &shared.medium), KVS_OK);
  if (encoder)
    assert_int_equal(kvi_encoder_create(shared.medium, &codec, &shared.medium), KVS_OK);
  node_open_over(node, &store, &shared);
  testing_space_open(node->store, TENANT, &desc, node->space);
  *to = (struct put_to){.service = node->service, .peer = &peer, .space = node->space};
}

static kvs_status get_as(struct node *node, uint64_t number, const struct kvi_get_terms *terms, bool *coded_p)
{
  uint8_t key[KEY_BYTES];
  struct getting getting;
  struct kvi_source source;
  uint32_t cause;
  kvs_status status;

  testing_key(number, key, KEY_BYTES);
  getting_init(&getting, terms);
  status = node->service->ops->get_open(node->service->self, &peer, node->space, key, KEY_BYTES,
                                        &getting.wait, &source, &cause);
  status = getting_end(&getting, status, &source, &cause);
  if (status != KVS_OK)
    return status;
  *coded_p = kvi_quality_coding(source.table.quality) != KVI_CODING_NONE;
  source_check(&source, number, *coded_p);
  node->service->ops->get_close(node->service->self, &source);
  return KVS_OK;
}

#define N 20u

static void others_get_what_one_has_encoded(void **state)
{
  struct put_to to, to_reader, to_other;
  struct node writer, reader, other;
  struct kvi_medium_stats medium;
  struct kvi_shared_stats stats;
  bool coded;

  (void)state;
  open_node(&writer, &to, true);
  open_node(&reader, &to_reader, true);
  open_node(&other, &to_other, false);
  for (uint64_t i = 0; i < N; i++)
    assert_int_equal(store_put(&to, i), KVS_OK);
  AWAIT(shared_stats(&writer).writes == N);
  kvi_shared_stats(writer.shared, &stats, &medium);
  assert_int_equal(medium.encoded_chunks + medium.unencoded_larger, N);
  assert_int_equal(medium.encoded_chunks, N - N / 5);
  assert_int_equal(stats.write_bytes, medium.encoded_bytes + N / 5 * RAW);
  for (uint64_t i = 0; i < N; i++) {
    assert_int_equal(get_as(&reader, i, &any_form, &coded), KVS_OK);
    assert_int_equal(coded, content_of(i) == TENSORS);
    assert_int_equal(get_as(&other, i, &no_form, &coded), coded ? KVS_MISS : KVS_OK);
    assert_int_equal(get_as(&other, i, &any_form, &coded), KVS_OK);
  }
  assert_int_equal(space_info(reader.store, reader.space).bytes, stats.write_bytes);
  assert_int_equal(space_info(other.store, other.space).bytes, stats.write_bytes);
  store_check(reader.store, reader.space);
  store_check(other.store, other.space);
  assert_int_equal(shared_stats(&reader).fetch_bytes, stats.write_bytes);
  node_close(&writer);
  node_close(&reader);
  node_close(&other);
  assert_string_equal(server_do(&server, "FLUSHALL"), "OK");
}

/* After its answer nobody finds the chunk, wherever its write was. */
static void deletes_beside_the_encoder(void **state)
{
  struct put_to to, to_reader;
  struct node writer, reader;
  struct calling deleting;
  uint32_t deleted, unconfirmed;
  bool coded;

  (void)state;
  open_node(&writer, &to, true);
  open_node(&reader, &to_reader, false);
  for (uint64_t round = 0; round < 30; round++) {
    for (uint64_t i = 0; i < 4; i++)
      assert_int_equal(store_put(&to, 100 + i), KVS_OK);
    pause_ms((unsigned)round % 5);
    (void)delete_start(&writer, 100, 4, &deleting);
    assert_int_equal(delete_end(&deleting, &deleted, &unconfirmed), KVS_OK);
    assert_int_equal(deleted, 4);
    assert_int_equal(unconfirmed, 0);
    for (uint64_t i = 0; i < 4; i++)
      assert_int_equal(get_as(&reader, 100 + i, &any_form, &coded), KVS_MISS);
  }
  assert_int_equal(store_put(&to, 100), KVS_OK);
  AWAIT(get_as(&reader, 100, &any_form, &coded) == KVS_OK);
  node_close(&writer);
  node_close(&reader);
}

static void closed_with_writes_under_way(void **state)
{
  struct put_to to;
  struct node node;

  (void)state;
  for (int round = 0; round < 5; round++) {
    open_node(&node, &to, true);
    for (uint64_t i = 0; i < 40; i++)
      assert_int_equal(store_put(&to, 1000 + i), KVS_OK);
    node_close(&node);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(others_get_what_one_has_encoded),
      cmocka_unit_test(deletes_beside_the_encoder),
      cmocka_unit_test(closed_with_writes_under_way),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
