/* Look-ups that the store and the tier that nodes share answer together: how long loading takes, by where each chunk is, and what is worth to load. */
#include "tests/unit/tiers/service_shared_testing.h"

#define FETCH_US   2000u   /* a chunk of the shared tier, before any was fetched */
#define LATENCY_US 400000u /* of the medium below */
#define PUT        100u    /* chunks, of which memory holds the last ones */

static void slow_told(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  (void)medium;
  memset(stats_p, 0, sizeof(*stats_p));
  stats_p->devices = 1;
  stats_p->read_latency_us = LATENCY_US;
  stats_p->read_bytes_per_s = CHUNK * UINT64_C(1000); /* a chunk in a millisecond */
}

/* What was put first is on a slow medium only, and the shared tier has one chunk. */
static void setup_slow(struct node *node)
{
  static struct kvi_medium_ops below_ops;
  struct memory_medium *below = memory_medium_create(false);

  below_ops = *below->medium.ops;
  below_ops.stats = slow_told;
  below->medium.ops = &below_ops;
  setup(node, &below->medium);
  for (uint64_t n = 0; n < PUT; n++) {
    put(node, n);
    memory_settle(below);
  }
  put_shared(node, SHARED);
}

/* An engine that computes a chunk in so long. */
static void engine(struct node *node, uint64_t chunk_us)
{
  const struct kvi_compute_measured measured = {.tokens = 256, .us = chunk_us};

  for (uint32_t i = 0; i < KVI_COMPUTE_KEPT; i++)
    assert_int_equal(kvi_store_computed(node->store, TENANT, node->space, &measured), KVI_HINT_ACCEPTED);
}

static bool unchained;

/* To be freed with done(). other: a second space; NULL: none. */
static Kvasir__V1__LookupReply *look(struct node *node, const uint8_t *other, const uint64_t *numbers,
                                     uint32_t n)
{
  Kvasir__V1__LookupRequest request = KVASIR__V1__LOOKUP_REQUEST__INIT;
  ProtobufCBinaryData spaces[2] = {{.data = node->space, .len = KVS_DIGEST_SIZE},
                                   {.data = (uint8_t *)(uintptr_t)other, .len = KVS_DIGEST_SIZE}};
  uint8_t bytes[KEYS * KEY_BYTES];
  Kvasir__V1__Keys keys = keys_of(bytes, numbers, n);
  struct calling calling;

  keys.unchained = unchained;
  request.keys = &keys;
  request.spaces = spaces;
  request.n_spaces = other ? 2 : 1;
  (void)call_start(node, KVI_METHOD_LOOKUP, &request.base, &calling);
  return (Kvasir__V1__LookupReply *)call_end(&calling);
}

static void done(Kvasir__V1__LookupReply *reply)
{
  assert_int_equal(reply->status, KVS_OK);
  protobuf_c_message_free_unpacked(&reply->base, NULL);
}

/* What lies below behind a chunk of the shared tier has to be read, from something slow: it is not worth it. */
static void behind_what_is_shared(void **state)
{
  const uint64_t chain[] = {PUT - 1, SHARED, 0, 1, PUT - 2, 1000, 2};
  Kvasir__V1__LookupReply *reply;
  struct node node;
  uint64_t here_us;

  (void)state;
  setup_slow(&node);
  engine(&node, 10000);
  reply = look(&node, NULL, chain, 1);
  here_us = reply->fetch_us;
  done(reply);
  reply = look(&node, NULL, chain, sizeof(chain) / sizeof(*chain));
  assert_int_equal(reply->prefix, 5);
  assert_in_range(reply->fetch_us, FETCH_US + LATENCY_US + 2000,
                  FETCH_US + LATENCY_US + 2000 + 2 * here_us + 2);
  assert_int_equal(reply->worth, 2);
  assert_in_range(reply->worth_us, FETCH_US + 3 * 10000, FETCH_US + 3 * 10000 * 103 / 100 + here_us + 1);
  done(reply);
  engine(&node, 500000); /* then all of it is */
  reply = look(&node, NULL, chain, sizeof(chain) / sizeof(*chain));
  assert_int_equal(reply->worth, 5);
  assert_in_range(reply->worth_us, reply->fetch_us, reply->fetch_us + 1);
  done(reply);
  node_close(&node);
}

/* Of keys that are asked for singly the store counts what it has of all of them, once. */
static void single_keys(void **state)
{
  const uint64_t chain[] = {SHARED, 0, 1, 1000};
  Kvasir__V1__LookupReply *reply;
  struct node node;

  (void)state;
  setup_slow(&node);
  unchained = true;
  reply = look(&node, NULL, chain, 4);
  unchained = false;
  assert_in_range(reply->fetch_us, FETCH_US + LATENCY_US + 2000, FETCH_US + LATENCY_US + 2002);
  done(reply);
  node_close(&node);
}

/* Of two spaces each fetches a chunk of its own, unless it has that here. */
static void of_several_spaces(void **state)
{
  const uint64_t chain[] = {0, SHARED, SHARED + 1, 1};
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);
  Kvasir__V1__LookupReply *reply;
  uint8_t key[KEY_BYTES], other[KVS_DIGEST_SIZE];
  struct node node;

  (void)state;
  setup(&node, NULL);
  desc.tp_size = 2;
  desc.tp_rank = 1;
  testing_space_open(node.store, TENANT, &desc, other);
  for (uint64_t n = 0; n < 2; n++) {
    put(&node, n);
    key_make(key, 0, n);
    assert_int_equal(testing_put(node.store, TENANT, other, key, KEY_BYTES, NULL, 0, CHUNK, n), KVS_OK);
  }
  for (uint64_t n = SHARED; n < SHARED + 2; n++) {
    put_shared(&node, n);
    put_shared_in(other, n);
  }
  put(&node, SHARED + 1);
  reply = look(&node, other, chain, 4);
  assert_int_equal(reply->prefix, 4);
  assert_in_range(reply->fetch_us, 3 * FETCH_US, 3 * FETCH_US + FETCH_US / 2);
  done(reply);
  node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(behind_what_is_shared), cmocka_unit_test(single_keys),
                                     cmocka_unit_test(of_several_spaces)};

  return cmocka_run_group_tests_name("tiers/service_shared", tests, NULL, NULL);
}
