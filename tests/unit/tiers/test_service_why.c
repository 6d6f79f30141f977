/* WhyMiss as a wire asks it: how much of a chain is there, in the store and in the tier that nodes share, and what is told of the first key that is not. */
#include "tests/unit/tiers/service_shared_testing.h"

#include "proto/limits.h"
#include "proto/space.h"

static void up_to_the_first_that_misses(void **state)
{
  const uint64_t chain[KEYS] = {0, 1, SHARED, 2, SHARED + 1, 9, 3, 10};
  Kvasir__V1__WhyMissReply *reply;
  struct node node;

  (void)state;
  setup(&node, NULL);
  for (uint64_t n = 0; n < 4; n++)
    put(&node, n);
  put_shared(&node, SHARED);
  put_shared(&node, SHARED + 1);
  reply = why_ask(&node, chain, KEYS);
  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(reply->prefix, 5);
  assert_int_equal(reply->tiers.len, 5);
  assert_memory_equal(reply->tiers.data, ((uint8_t[]){1, 1, 3, 1, 3}), 5);
  assert_int_equal(reply->cause, KVI_MISS_NEVER);
  assert_true(reply->since_start);
  assert_null(reply->chunk);
  assert_null(reply->departure);
  assert_int_equal(reply->n_tiers_out, 0);
  why_done(reply);
  reply = why_ask(&node, chain, 5);
  assert_int_equal(reply->status, KVS_OK);
  assert_int_equal(reply->prefix, 5);
  assert_int_equal(reply->cause, KVI_MISS_NONE);
  why_done(reply);
  reply = why_ask(&node, chain, 1);
  assert_int_equal(reply->status, KVS_OK);
  assert_non_null(reply->chunk);
  assert_int_equal(reply->chunk->length, CHUNK);
  assert_int_equal(reply->chunk->tier, KVI_TIER_DRAM);
  assert_int_equal(reply->chunk->key.len, KEY_BYTES);
  why_done(reply);
  node_close(&node);
}

static void how_it_went(void **state)
{
  const uint64_t chain[2] = {0, 1};
  Kvasir__V1__WhyMissReply *reply;
  uint64_t chunks, bytes;
  struct node node;

  (void)state;
  setup(&node, NULL);
  put(&node, 0);
  kvi_store_evict(node.store, TENANT, NULL, UINT64_MAX, &chunks, &bytes);
  reply = why_ask(&node, chain, 2);
  assert_int_equal(reply->prefix, 0);
  assert_int_equal(reply->cause, KVI_MISS_EVICTED);
  assert_non_null(reply->departure);
  assert_int_equal(reply->departure->cause, KVI_MISS_EVICTED);
  assert_string_equal(reply->departure->rule, "asked");
  assert_int_equal(reply->departure->length, CHUNK);
  assert_false(reply->departure->priced);
  assert_false(reply->departure->below);
  why_done(reply);
  put_shared(&node,
             0); /* the other tier has it: it is no miss, and how it went from here is told all the same */
  reply = why_ask(&node, chain, 1);
  assert_int_equal(reply->status, KVS_OK);
  assert_non_null(reply->departure);
  why_done(reply);
  node_close(&node);
}

static void a_shared_tier_that_is_out(void **state)
{
  const uint64_t chain[2] = {0, 1};
  Kvasir__V1__WhyMissReply *reply;
  struct node node;

  (void)state;
  setup(&node, NULL);
  put(&node, 0);
  out = 1; /* others may have it */
  reply = why_ask(&node, chain, 2);
  assert_int_equal(reply->cause, KVI_MISS_NEVER);
  assert_int_equal(reply->n_tiers_out, 1);
  assert_int_equal(reply->tiers_out[0]->tier, KVI_TIER_REDIS);
  assert_int_equal(reply->tiers_out[0]->parts, 3);
  assert_int_equal(reply->tiers_out[0]->out, 1);
  why_done(reply);
  out = 3;
  reply = why_ask(&node, chain, 2);
  assert_int_equal(reply->prefix, 1);
  assert_int_equal(reply->cause, KVI_MISS_TIER);
  why_done(reply);
  reply = why_ask(&node, chain, 1);
  assert_int_equal(reply->status, KVS_OK);
  why_done(reply);
  node_close(&node);
}

/* What lies on an SSD tier that is out is not found, unless the shared one has it. */
static void an_ssd_tier_that_is_out(void **state)
{
  const uint64_t first = 0, last = 99;
  struct memory_medium *below = memory_medium_create(false);
  struct kvi_medium_ops below_ops = *below->medium.ops;
  Kvasir__V1__WhyMissReply *reply;
  struct node node;

  (void)state;
  below_ops.stats = stats_told;
  below->medium.ops = &below_ops;
  setup(&node, &below->medium);
  for (uint64_t n = 0; n < 100; n++) {
    put(&node, n);
    memory_settle(below);
  }
  reply = why_ask(&node, &first, 1);
  assert_int_equal(reply->status, KVS_OK);
  assert_int_equal(reply->tiers.data[0], KVI_TIER_SSD);
  why_done(reply);
  out = 3;
  reply = why_ask(&node, &first, 1);
  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(reply->cause, KVI_MISS_TIER);
  assert_non_null(reply->chunk);
  assert_int_equal(reply->n_tiers_out, 2);
  why_done(reply);
  reply = why_ask(&node, &last, 1);
  assert_int_equal(reply->status, KVS_OK);
  why_done(reply);
  put_shared(&node, first);
  reply = why_ask(&node, &first, 1);
  assert_int_equal(reply->status, KVS_OK);
  assert_int_equal(reply->tiers.data[0], KVI_TIER_REDIS);
  why_done(reply);
  node_close(&node);
}

static int32_t status_of(struct node *node, Kvasir__V1__WhyMissRequest *request)
{
  struct calling calling;
  Kvasir__V1__WhyMissReply *reply;
  int32_t status;

  (void)call_start(node, KVI_METHOD_WHY_MISS, &request->base, &calling);
  reply = (Kvasir__V1__WhyMissReply *)call_end(&calling);
  status = reply->status;
  why_done(reply);
  return status;
}

static void what_is_no_question(void **state)
{
  Kvasir__V1__WhyMissRequest request = KVASIR__V1__WHY_MISS_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  uint8_t *bytes = calloc(KVI_LOOKUP_KEYS_MAX + 1, KEY_BYTES);
  struct node node;

  (void)state;
  setup(&node, NULL);
  assert_int_equal(status_of(&node, &request), KVS_ERR_INVALID);
  request.space = (ProtobufCBinaryData){.data = node.space, .len = KVS_DIGEST_SIZE};
  assert_int_equal(status_of(&node, &request), KVS_ERR_INVALID);
  request.keys = &keys;
  assert_int_equal(status_of(&node, &request), KVS_ERR_INVALID);
  keys.keys = (ProtobufCBinaryData){.data = bytes, .len = 2 * KEY_BYTES};
  assert_int_equal(status_of(&node, &request), KVS_ERR_KEY_LENGTH);
  keys.key_length = KEY_BYTES;
  assert_int_equal(status_of(&node, &request), KVS_MISS);
  keys.unchained = true; /* each alone: it is asked of one */
  assert_int_equal(status_of(&node, &request), KVS_ERR_INVALID);
  keys.unchained = false;
  keys.key_length = KEY_BYTES / 2; /* not this space's */
  assert_int_equal(status_of(&node, &request), KVS_ERR_KEY_LENGTH);
  keys.key_length = KEY_BYTES;
  keys.keys.len = (size_t)KVI_LOOKUP_KEYS_MAX * KEY_BYTES;
  assert_int_equal(status_of(&node, &request), KVS_MISS);
  keys.keys.len += KEY_BYTES;
  assert_int_equal(status_of(&node, &request), KVS_ERR_TOO_LARGE);
  node_close(&node);
  free(bytes);
}

/* With its fields the nearest space is told, and those in which it differs; a description that is none is no fault. */
static void a_space_that_is_not_known(void **state)
{
  Kvasir__V1__WhyMissRequest request = KVASIR__V1__WHY_MISS_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  kvs_space_desc desc = testing_space("shared", KEY_BYTES);
  Kvasir__V1__SpaceDescriptor descriptor;
  uint8_t key[KEY_BYTES] = {0}, digest[KVS_DIGEST_SIZE];
  Kvasir__V1__WhyMissReply *reply;
  struct calling calling;
  struct node node;

  (void)state;
  setup(&node, NULL);
  desc.revision = "newer";
  assert_int_equal(kvs_space_digest(&desc, digest), KVS_OK);
  kvi_space_to_message(&desc, &descriptor);
  request.space = (ProtobufCBinaryData){.data = digest, .len = KVS_DIGEST_SIZE};
  request.keys = &keys;
  request.descriptor = &descriptor;
  keys.keys = (ProtobufCBinaryData){.data = key, .len = KEY_BYTES};
  keys.key_length = KEY_BYTES;
  (void)call_start(&node, KVI_METHOD_WHY_MISS, &request.base, &calling);
  reply = (Kvasir__V1__WhyMissReply *)call_end(&calling);
  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(reply->cause, KVI_MISS_SPACE);
  assert_int_equal(reply->others, 0);
  assert_non_null(reply->other);
  assert_memory_equal(reply->other->space.data, node.space, KVS_DIGEST_SIZE);
  assert_int_equal(reply->other->differences, 1);
  assert_non_null(strstr(reply->other->fields, "revision 'newer' / ''"));
  why_done(reply);
  put_shared_in(digest, SHARED); /* a get would not look there */
  testing_key(SHARED, key, KEY_BYTES);
  assert_int_equal(status_of(&node, &request), KVS_MISS);
  descriptor.layout = 77;
  assert_int_equal(status_of(&node, &request), KVS_MISS);
  node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(up_to_the_first_that_misses), cmocka_unit_test(how_it_went),
      cmocka_unit_test(a_shared_tier_that_is_out),   cmocka_unit_test(an_ssd_tier_that_is_out),
      cmocka_unit_test(what_is_no_question),         cmocka_unit_test(a_space_that_is_not_known),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
