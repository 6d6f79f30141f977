/* The service: what is deleted, listed and evicted on demand. */
#include <stdbool.h>

#include "service_testing.h"

/* A medium that takes nothing, and has as many deletes waiting as the test says. */
static uint32_t crowded_waiting, crowded_dropped;

static void crowded_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  (void)medium;
  *attr_p = (struct kvi_medium_attr){
      .name = "crowded", .kind = KVI_TIER_SSD, .handles = true, .chunk_bytes_max = CHUNK};
}

static void crowded_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  (void)medium;
  *stats_p = (struct kvi_medium_stats){0};
}

static void crowded_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                         kvi_medium_handle handle, bool for_good)
{
  (void)medium, (void)identity, (void)handle;
  crowded_waiting += for_good; /* each a percent */
  crowded_dropped += for_good;
}

static uint32_t crowded_drops_waiting(struct kvi_medium *medium)
{
  (void)medium;
  return crowded_waiting;
}

/* More deletes than the tier below can note are refused, whether or not their chunks are there; those before them are carried out. */
static void deletes_that_have_to_wait(void **state)
{
  static struct kvi_medium_ops ops = {.attr = crowded_attr,
                                      .stats = crowded_stats,
                                      .drop = crowded_drop,
                                      .drops_waiting = crowded_drops_waiting};
  struct kvi_medium medium = {.ops = &ops};
  Kvasir__V1__DeleteRequest delete = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  Kvasir__V1__DeleteReply *reply;
  struct fixture f;

  (void)state;
  kvi_medium_ops_complete(&ops);
  setup_over(&f, &medium);
  open_space(&f);
  delete.space = bytes(f.digest, KVS_DIGEST_SIZE);
  delete.keys = &keys;
  keys.keys = bytes(f.keys, KEYS * KEY_BYTES);
  keys.key_length = KEY_BYTES;
  crowded_waiting = KVI_STORE_DELETES_MANY - 2;
  crowded_dropped = 0;
  reply = ask(&f, KVI_METHOD_DELETE, &delete);
  assert_int_equal(reply->status, KVS_ERR_BUSY);
  assert_int_equal(reply->deleted, 0);
  assert_int_equal(reply->unconfirmed, KEYS);
  assert_int_equal(crowded_dropped, 3);
  done(reply);
  reply = ask(&f, KVI_METHOD_DELETE, &delete);
  assert_int_equal(reply->status, KVS_ERR_BUSY);
  assert_int_equal(crowded_dropped, 3);
  done(reply);
  crowded_waiting = 0;
  reply = ask(&f, KVI_METHOD_DELETE, &delete);
  assert_int_equal(reply->status, KVS_MISS);
  assert_int_equal(crowded_dropped, 3 + KEYS);
  done(reply);
  teardown(&f);
}

static void delete_list_evict(void **state)
{
  Kvasir__V1__DeleteRequest delete = KVASIR__V1__DELETE_REQUEST__INIT;
  Kvasir__V1__ListChunksRequest list = KVASIR__V1__LIST_CHUNKS_REQUEST__INIT;
  Kvasir__V1__EvictRequest evict = KVASIR__V1__EVICT_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  Kvasir__V1__DeleteReply *deleted;
  Kvasir__V1__ListChunksReply *listed;
  Kvasir__V1__EvictReply *evicted;
  struct fixture f;

  (void)state;
  setup(&f);
  open_space(&f);
  put_chain(&f);
  deleted = ask(&f, KVI_METHOD_DELETE, &delete);
  assert_int_equal(deleted->status, KVS_ERR_INVALID);
  done(deleted);
  delete.space = bytes(f.digest, KVS_DIGEST_SIZE);
  delete.keys = &keys;
  keys.keys = bytes(f.keys + 6 * KEY_BYTES, 2 * KEY_BYTES);
  keys.key_length = KEY_BYTES;
  delete.only_corrupt = true;
  deleted = ask(&f, KVI_METHOD_DELETE, &delete);
  assert_int_equal(deleted->status, KVS_MISS);
  assert_int_equal(deleted->deleted, 0);
  done(deleted);
  delete.only_corrupt = false;
  deleted = ask(&f, KVI_METHOD_DELETE, &delete); /* so both were still there */
  assert_int_equal(deleted->status, KVS_OK);
  assert_int_equal(deleted->deleted, 2);
  done(deleted);
  deleted = ask(&f, KVI_METHOD_DELETE, &delete);
  assert_int_equal(deleted->status, KVS_MISS);
  done(deleted);

  listed = ask(&f, KVI_METHOD_LIST_CHUNKS, &list);
  assert_int_equal(listed->status, KVS_ERR_INVALID);
  done(listed);
  list.space = bytes(f.digest, KVS_DIGEST_SIZE);
  list.limit = 4;
  listed = ask(&f, KVI_METHOD_LIST_CHUNKS, &list);
  assert_int_equal(listed->n_chunks, 4);
  assert_int_equal(listed->chunks[0]->key.len, KEY_BYTES);
  assert_int_equal(listed->chunks[0]->length, CHUNK);
  list.cursor = listed->cursor;
  done(listed);
  listed = ask(&f, KVI_METHOD_LIST_CHUNKS, &list);
  assert_int_equal(listed->n_chunks, 2);
  assert_int_equal(listed->cursor, 0);
  done(listed);

  evict.space = bytes(f.digest, 3);
  evicted = ask(&f, KVI_METHOD_EVICT, &evict);
  assert_int_equal(evicted->status, KVS_ERR_INVALID);
  done(evicted);
  evict.space.len = KVS_DIGEST_SIZE;
  evict.bytes = 1;
  evicted = ask(&f, KVI_METHOD_EVICT, &evict);
  assert_int_equal(evicted->chunks, 1);
  done(evicted);
  evict.space.len = 0;
  evict.all = true;
  evicted = ask(&f, KVI_METHOD_EVICT, &evict);
  assert_int_equal(evicted->chunks, 5);
  assert_int_equal(evicted->bytes, 5 * CHUNK);
  done(evicted);
  teardown(&f);
}

/* As many as a node may know, with the longest texts: no reply is too large for a connection. */
int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(deletes_that_have_to_wait),
      cmocka_unit_test(delete_list_evict),
  };

  return cmocka_run_group_tests_name("tiers/service_delete", tests, NULL, NULL);
}
