/* Look-ups through the connector, embedded or with KVASIR_TEST_ENDPOINT set on a node. */
#include "tests/unit/connector/connector_testing.h"

#include "base/clock.h"

static void a_lookup_covers_all_ranks(void **state)
{
  struct world *world = *state;
  kvs_space *ranks[3];
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  static const uint32_t stored[3] = {8, 3, 5};
  uint8_t present = 0xff;
  kvs_request request = {.struct_size = sizeof(request), .present = &present, .lease_ms = 5000};
  kvs_completion completion;
  kvs_op op;

  for (uint32_t i = 0; i < 3; i++) {
    kvs_space_desc desc = test_desc("ranks", 0);
    kvs_keys some = world->keys.keys;

    desc.tp_size = 3;
    desc.tp_rank = i;
    some.n = stored[i];
    assert_int_equal(kvs_space_open(world->connector, &desc, &ranks[i]), KVS_OK);
    test_put(ranks[i], world->connector, &some, &world->memory, slots, 1);
  }
  assert_int_equal(kvs_lookup(world->connector, ranks, 3, &world->keys.keys, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n, 8);
  assert_int_equal(completion.n_prefix, 3);
  assert_int_equal(present, 0x07);
  assert_int_not_equal(completion.lease, 0);
  assert_true(completion.lease_ms > 0);
  assert_int_equal(kvs_release(world->connector, completion.lease), KVS_OK);

  assert_int_equal(kvs_lookup(world->connector, ranks, 1, &world->keys.keys, NULL, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.n_prefix, 8);
  assert_int_equal(completion.lease, 0); /* not asked for */

  test_keys_init(&world->keys, 8);
  assert_int_equal(kvs_lookup(world->connector, ranks, 3, &world->keys.keys, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.n_prefix, 0);
  assert_int_equal(completion.lease, 0);
}

static void a_get_reads_under_its_lease(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "leases", 0);
  int64_t slots[2] = {0, 1};
  kvs_request request = {.struct_size = sizeof(request), .lease_ms = 5000};
  kvs_keys two = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  test_put(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &two, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_not_equal(completion.lease, 0);
  request = (kvs_request){.struct_size = sizeof(request), .lease = completion.lease};
  assert_int_equal(kvs_get(space, &two, world->memory.registered, slots, 1, &request, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  assert_int_equal(kvs_release(world->connector, completion.lease), KVS_OK);
}

static void a_lookup_by_tokens_leaves_the_last_one(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "tokens", 0);
  uint32_t tokens[16 * 4];
  uint8_t digest[KVS_DIGEST_SIZE], keys[4 * KVS_HASH_SIZE];
  size_t n_keys = 4;
  int64_t slots[] = {0, 1, 2, 3};
  kvs_keys chain = {.struct_size = sizeof(chain), .n = 4, .keys = keys};
  kvs_space_desc foreign = test_desc("foreign keys", 0);
  kvs_op op;

  test_fill(tokens, sizeof(tokens), kvi_now_ns());
  kvs_space_get_digest(space, digest);
  assert_int_equal(
      kvs_keys_from_tokens(KVS_HASH_NATIVE, digest, NULL, tokens, 64, 16, 0, NULL, 0, keys, &n_keys), KVS_OK);
  assert_int_equal(n_keys, 4);
  test_put(space, world->connector, &chain, &world->memory, slots, 1);

  static const struct {
    size_t n_tokens;
    uint32_t chunks;
  } cases[] = {{17, 1}, {32, 1}, {33, 2}, {63, 3}, {64, 3}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    kvs_completion completion;

    assert_int_equal(kvs_lookup_tokens(space, tokens, cases[i].n_tokens, NULL, &op), KVS_OK);
    completion = test_wait(world->connector, op);
    assert_int_equal(completion.status, KVS_OK);
    assert_int_equal(completion.n, cases[i].chunks);
    assert_int_equal(completion.n_prefix, cases[i].chunks);
  }
  tokens[40] ^= 1; /* in the third chunk */
  assert_int_equal(kvs_lookup_tokens(space, tokens, 64, NULL, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).n_prefix, 2);

  for (size_t n = 0; n <= 16; n++) {
    op = 5;
    assert_int_equal(kvs_lookup_tokens(space, tokens, n, NULL, &op), KVS_MISS);
    assert_int_equal(op, 0);
  }
  assert_int_equal(kvs_lookup_tokens(space, NULL, 64, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup_tokens(space, tokens, (size_t)16 * 8193 + 1, NULL, &op), KVS_ERR_TOO_LARGE);
  foreign.hash = KVS_HASH_OPAQUE;
  assert_int_equal(kvs_space_open(world->connector, &foreign, &space), KVS_OK);
  assert_int_equal(kvs_lookup_tokens(space, tokens, 64, NULL, &op), KVS_ERR_UNSUPPORTED);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(a_lookup_covers_all_ranks),
      CASE(a_get_reads_under_its_lease),
      CASE(a_lookup_by_tokens_leaves_the_last_one),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
