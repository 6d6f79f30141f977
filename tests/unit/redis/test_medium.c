/* Redis behind the interface of media, as the store uses it. */
#include "tests/unit/tiers/medium_testing.h"

#include "tests/unit/redis/one_server.h"
#include "tiers/redis/medium.h"

static struct kvi_medium *open_it(void)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_medium_config config = {
      .redis = {.addresses = addresses, .n_addresses = 1, .retry_first_ms = 20, .retry_longest_ms = 100},
      .key_prefix = "kvasir:",
      .ttl_ms = 600000};
  struct kvi_medium *medium;
  char error[256];

  assert_int_equal(kvi_redis_medium_create(&config, error, sizeof(error), &medium), KVS_OK);
  return medium;
}

static void lookup_done(struct kvi_medium_lookup *lookup, kvs_status status)
{
  test_wait_end(lookup->user, status);
}

/* Keys of chunks first to first + n - 1. */
static kvs_status lookup_with(struct kvi_medium *medium, uint64_t first, uint32_t n, const uint8_t *skip,
                              _Atomic uint32_t *end, uint8_t *present, uint32_t *n_asked_p)
{
  uint8_t *keys = malloc((size_t)n * KEY_BYTES), space[KVS_DIGEST_SIZE];
  struct test_wait wait;
  struct kvi_medium_lookup asked = {.tenant = TENANT,
                                    .space = space,
                                    .keys = keys,
                                    .key_length = KEY_BYTES,
                                    .n_keys = n,
                                    .present = present,
                                    .skip = skip,
                                    .end = end,
                                    .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                    .done = lookup_done,
                                    .user = &wait};
  kvs_status status;

  memset(space, 0x5a, sizeof(space));
  memset(present, 0, (n + 7) / 8);
  for (uint32_t i = 0; i < n; i++)
    testing_key(first + i, keys + (size_t)i * KEY_BYTES, KEY_BYTES);
  test_wait_init(&wait);
  status = medium->ops->lookup(medium, &asked);
  if (status == KVS_OK)
    status = test_wait_for(&wait);
  free(keys);
  *n_asked_p = asked.n_asked;
  return status;
}

static kvs_status lookup(struct kvi_medium *medium, uint64_t first, uint32_t n, uint8_t *present)
{
  uint32_t n_asked;

  return lookup_with(medium, first, n, NULL, NULL, present, &n_asked);
}

static void what_one_node_puts_another_gets(void **state)
{
  struct kvi_medium *one = open_it(), *two = open_it();
  struct kvi_medium_attr attr;
  struct kvi_medium_stats stats;
  kvi_medium_handle handle;

  (void)state;
  one->ops->attr(one, &attr);
  assert_string_equal(attr.name, "redis");
  assert_true(attr.shared && !attr.handles);
  assert_int_equal(attr.chunk_bytes_max, 128u << 20);
  for (uint64_t i = 1; i <= 30; i++) {
    struct test_chunk chunk;

    test_chunk_make(&chunk, i, (uint32_t)(i * 9973), (uint32_t)(i % 7 + 1));
    assert_int_equal(test_get(two, &chunk, 0), KVS_MISS);
    assert_int_equal(test_put(one, &chunk, &handle), KVS_OK);
    assert_int_equal(handle, 0);
    assert_int_equal(test_put(two, &chunk, &handle), KVS_EXISTS);
    assert_int_equal(test_get(two, &chunk, 0), KVS_OK);
    test_chunk_free(&chunk);
  }
  two->ops->stats(two, &stats);
  assert_int_equal(stats.gets, 60);
  assert_int_equal(stats.get_misses, 30);
  assert_int_equal(stats.put_bytes, 0);
  assert_int_equal(stats.put_errors, 0);
  one->ops->destroy(one);
  two->ops->destroy(two);
}

static void lookups_of_many_keys(void **state)
{
  enum { N = 1000 };
  struct kvi_medium *medium = open_it();
  kvi_medium_handle handle;
  uint8_t present[(N + 7) / 8];

  (void)state;
  for (uint64_t i = 5000; i < 5000 + N; i += 3) {
    struct test_chunk chunk;

    test_chunk_make(&chunk, i, 100, 1);
    assert_int_equal(test_put(medium, &chunk, &handle), KVS_OK);
    test_chunk_free(&chunk);
  }
  assert_int_equal(lookup(medium, 5000, N, present), KVS_OK);
  for (uint32_t i = 0; i < N; i++)
    assert_int_equal(present[i / 8] >> i % 8 & 1, i % 3 == 0);
  assert_int_equal(lookup(medium, 5000, 1, present), KVS_OK);
  assert_int_equal(present[0], 1);
  assert_int_equal(lookup(medium, 5000, 0, present), KVS_ERR_INVALID);
  medium->ops->destroy(medium);
}

/* A chain longer than any window: what it has is found up to its hole, and what lies far behind the hole is not asked for. */
static void chains_end_at_their_hole(void **state)
{
  enum { N = 6000, HOLE = 1500, WINDOW = 64 };
  struct kvi_medium *medium = open_it();
  static uint8_t present[(N + 7) / 8], skip[(N + 7) / 8];
  kvi_medium_handle handle;
  _Atomic uint32_t end = N;
  uint32_t n_asked;

  (void)state;
  for (uint64_t i = 20000; i < 20000 + HOLE; i++) {
    struct test_chunk chunk;

    test_chunk_make(&chunk, i, 100, 1);
    assert_int_equal(test_put(medium, &chunk, &handle), KVS_OK);
    test_chunk_free(&chunk);
  }
  assert_int_equal(lookup_with(medium, 20000, N, NULL, &end, present, &n_asked), KVS_OK);
  for (uint32_t i = 0; i < N; i++)
    assert_int_equal(present[i / 8] >> i % 8 & 1, i < HOLE);
  assert_int_equal(end, HOLE);
  assert_true(n_asked > HOLE && n_asked <= HOLE + WINDOW);
  end = 10; /* somebody else has found a hole there */
  assert_int_equal(lookup_with(medium, 20000, N, NULL, &end, present, &n_asked), KVS_OK);
  assert_int_equal(n_asked, 10);
  memset(skip, 0xff, HOLE / 8);
  end = N;
  assert_int_equal(lookup_with(medium, 20000, N, skip, &end, present, &n_asked), KVS_OK);
  assert_int_equal(present[0], 0);
  assert_true(n_asked <= 8 + WINDOW);
  assert_int_equal(end, HOLE);
  memset(skip, 0xff, sizeof(skip));
  assert_int_equal(lookup_with(medium, 20000, N, skip, NULL, present, &n_asked), KVS_OK);
  assert_int_equal(n_asked, 0);
  medium->ops->destroy(medium);
}

static void remove_done(struct kvi_medium_remove *remove, kvs_status status)
{
  test_wait_end(remove->user, status);
}

static kvs_status remove_it(struct kvi_medium *medium, const struct test_chunk *chunk)
{
  struct test_wait wait;
  struct kvi_medium_remove asked = {.identity = test_identity(chunk),
                                    .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                    .done = remove_done,
                                    .user = &wait};

  test_wait_init(&wait);
  assert_int_equal(medium->ops->remove(medium, &asked), KVS_OK);
  return test_wait_for(&wait);
}

static void removals_say_what_was_there(void **state)
{
  struct kvi_medium *medium = open_it();
  struct test_chunk chunk;
  struct test_wait wait;
  struct kvi_medium_put put;
  kvi_medium_handle handle;
  kvs_status status;

  (void)state;
  test_chunk_make(&chunk, 7100, 6000000, 2);
  assert_int_equal(remove_it(medium, &chunk), KVS_MISS);
  assert_int_equal(test_put(medium, &chunk, &handle), KVS_OK);
  assert_int_equal(remove_it(medium, &chunk), KVS_OK);
  assert_int_equal(test_get(medium, &chunk, 0), KVS_MISS);
  for (unsigned round = 0; round < 20; round++) { /* beside a put of it */
    test_wait_init(&wait);
    test_put_fill(&put, &chunk, &wait);
    assert_int_equal(medium->ops->put(medium, &put), KVS_OK);
    pause_ms(round % 10);
    status = remove_it(medium, &chunk);
    assert_true(status == KVS_OK || status == KVS_MISS);
    status = test_wait_for(&wait);
    assert_true(status == KVS_OK || status == KVS_ERR_CANCELED);
    assert_int_equal(test_get(medium, &chunk, 0), KVS_MISS);
  }
  server_kill(&server);
  assert_int_equal(remove_it(medium, &chunk), KVS_ERR_IO);
  server_restart(&server);
  medium->ops->destroy(medium);
  test_chunk_free(&chunk);
}

static void drop_for_good_alone_removes(void **state)
{
  struct kvi_medium *medium = open_it();
  struct kvi_medium_identity identity;
  struct test_chunk chunk;
  kvi_medium_handle handle;

  (void)state;
  test_chunk_make(&chunk, 7000, 1000, 2);
  identity = test_identity(&chunk);
  assert_int_equal(test_put(medium, &chunk, &handle), KVS_OK);
  medium->ops->drop(medium, &identity, 0, false);
  assert_int_equal(test_get(medium, &chunk, 0), KVS_OK);
  medium->ops->drop(medium, &identity, 0, true);
  for (kvi_deadline patience = kvi_deadline_from_ms(WAIT_SECONDS * 1000);
       test_get(medium, &chunk, 0) != KVS_MISS; pause_ms(5))
    assert_false(kvi_deadline_expired(patience));
  medium->ops->destroy(medium);
  test_chunk_free(&chunk);
}

static kvs_status no_place(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  (void)get, (void)table, (void)iov_p, (void)n_iov_p;
  return KVS_ERR_QUOTA;
}

/* A put may ask for less than the tier's, which bounds it; a get renews what the chunk has, also that of another node with a longer one. */
static void times_to_live(void **state)
{
  static const struct {
    uint64_t own_ms, most_ms;
  } cases[] = {{0, 600000}, {60000, 60000}, {900000, 600000}};
  struct kvi_medium *medium = open_it();

  (void)state;
  for (uint64_t i = 0; i < 3; i++) {
    struct kvi_redis_identity identity = {.tenant = TENANT, .key_length = KEY_BYTES};
    const char *words[] = {"PTTL", NULL}, *shorten[] = {"PEXPIRE", NULL, "30000"};
    size_t lengths[] = {4, 0}, shorten_lengths[] = {7, 0, 5};
    struct kvi_redis_key key;
    struct test_chunk chunk;
    struct test_wait wait;
    struct kvi_medium_put put;

    test_chunk_make(&chunk, 7200 + i, 1000, 2);
    identity.space = chunk.space;
    identity.key = chunk.key;
    assert_int_equal(kvi_redis_key_make("kvasir:", &identity, &key), KVS_OK);
    words[1] = shorten[1] = (const char *)key.bytes;
    lengths[1] = shorten_lengths[1] = key.length;
    test_wait_init(&wait);
    test_put_fill(&put, &chunk, &wait);
    put.ttl_ms = (uint32_t)cases[i].own_ms;
    assert_int_equal(medium->ops->put(medium, &put), KVS_OK);
    assert_int_equal(test_wait_for(&wait), KVS_OK);
    for (int get = 0; get < 2; get++) {
      long ttl_ms = strtol(server_do_argv(&server, 2, words, lengths), NULL, 10);

      /* 30000: as was set below; a machine that takes half a minute for it is none */
      assert_true(ttl_ms > 30000 && (uint64_t)ttl_ms <= cases[i].most_ms);
      assert_string_equal(server_do_argv(&server, 3, shorten, shorten_lengths), "1");
      assert_int_equal(test_get(medium, &chunk, 0), KVS_OK);
      assert_int_equal(lookup(medium, 7200 + i, 1, (uint8_t[1]){0}), KVS_OK);
      for (kvi_deadline patience = kvi_deadline_from_ms(WAIT_SECONDS * 1000);
           strtol(server_do_argv(&server, 2, words, lengths), NULL, 10) <= 30000; pause_ms(2))
        assert_false(kvi_deadline_expired(patience)); /* renewed behind the get */
    }
    test_chunk_free(&chunk);
  }
  medium->ops->destroy(medium);
}

static void statuses(void **state)
{
  struct kvi_medium *medium = open_it();
  struct test_chunk chunk;
  struct test_wait wait;
  struct kvi_medium_get get = {.deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                               .land = no_place,
                               .done = test_get_done,
                               .user = &wait};
  struct kvi_medium_put put;
  kvi_medium_handle handle;
  uint8_t present[2];

  (void)state;
  test_chunk_make(&chunk, 8000, 100000, 3);
  get.identity = test_identity(&chunk);
  assert_int_equal(test_put(medium, &chunk, &handle), KVS_OK);
  test_wait_init(&wait);
  assert_int_equal(medium->ops->get(medium, &get), KVS_OK);
  assert_int_equal(test_wait_for(&wait), KVS_ERR_QUOTA); /* what land said */
  test_wait_init(&wait);
  test_put_fill(&put, &chunk, &wait);
  put.length++;
  assert_int_equal(medium->ops->put(medium, &put), KVS_ERR_INVALID);
  assert_string_equal(server_do(&server, "FLUSHALL"), "OK");
  assert_int_equal(test_get(medium, &chunk, 0), KVS_MISS);
  server_kill(&server);
  assert_int_equal(test_get(medium, &chunk, 0), KVS_ERR_IO);
  assert_int_equal(test_put(medium, &chunk, &handle), KVS_ERR_IO);
  assert_int_equal(lookup(medium, 8000, 9, present), KVS_ERR_IO);
  server_restart(&server);
  medium->ops->destroy(medium);
  test_chunk_free(&chunk);
}

/* Closed with a lookup and transfers under way: each ends once. */
static void closed_under_way(void **state)
{
  struct kvi_medium *medium = open_it();
  struct test_chunk chunk;
  struct test_wait waits[2];
  struct kvi_medium_put put;
  uint8_t keys[100 * KEY_BYTES] = {0}, present[13] = {0};
  struct kvi_medium_lookup asked = {.tenant = TENANT,
                                    .keys = keys,
                                    .key_length = KEY_BYTES,
                                    .n_keys = 100,
                                    .present = present,
                                    .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                    .done = lookup_done,
                                    .user = &waits[0]};

  (void)state;
  test_chunk_make(&chunk, 8100, 3000000, 3);
  asked.space = chunk.space;
  server_freeze(&server, true);
  test_wait_init(&waits[0]);
  test_wait_init(&waits[1]);
  test_put_fill(&put, &chunk, &waits[1]);
  assert_int_equal(medium->ops->lookup(medium, &asked), KVS_OK);
  assert_int_equal(medium->ops->put(medium, &put), KVS_OK);
  medium->ops->destroy(medium);
  assert_int_equal(test_wait_for(&waits[0]), KVS_ERR_CLOSED);
  assert_int_equal(test_wait_for(&waits[1]), KVS_ERR_CLOSED);
  server_freeze(&server, false);
  test_chunk_free(&chunk);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_one_node_puts_another_gets),
      cmocka_unit_test(lookups_of_many_keys),
      cmocka_unit_test(chains_end_at_their_hole),
      cmocka_unit_test(removals_say_what_was_there),
      cmocka_unit_test(drop_for_good_alone_removes),
      cmocka_unit_test(times_to_live),
      cmocka_unit_test(statuses),
      cmocka_unit_test(closed_under_way),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
