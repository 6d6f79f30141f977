/* The tier against one real redis-server: what is put is got, and every trouble is a miss with its cause. */
#include "tests/unit/redis/testing.h"

#include "base/clock.h"
#include "tests/unit/redis/one_server.h"

static void raw(const char *verb, const struct chunk *chunk, const void *value, size_t length)
{
  const char *words[] = {verb, (const char *)chunk->key.bytes, value};
  size_t lengths[] = {strlen(verb), chunk->key.length, length};

  (void)server_do_argv(&server, value ? 3 : 2, words, lengths);
}

/* The chunk's value as it should be, changed by the caller. */
static uint8_t *value_of(const struct chunk *chunk, size_t *length_p)
{
  uint8_t *value = malloc(chunk->prologue_length + chunk->length + 16);

  assert_non_null(value);
  memcpy(value, chunk->prologue, chunk->prologue_length);
  memcpy(value + chunk->prologue_length, chunk->payload, chunk->length);
  *length_p = chunk->prologue_length + chunk->length;
  return value;
}

static void put_look_get_unlink(void **state)
{
  static const size_t lengths[] = {1, 5, 63, 64, 1000, 65536, 3000001};
  struct kvi_redis *redis = tier_open_single(&server);
  enum kvi_redis_cause cause;

  (void)state;
  for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
    struct asked asked;
    struct chunk chunk;

    chunk_make(&chunk, 100 + i, lengths[i]);
    assert_int_equal(look(redis, &chunk, &cause), KVS_MISS);
    assert_int_equal(cause, KVI_REDIS_ABSENT);
    assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
    assert_int_equal(cause, KVI_REDIS_ABSENT);
    assert_int_equal(put(redis, &chunk), KVS_OK);
    assert_int_equal(put(redis, &chunk), KVS_EXISTS);
    assert_int_equal(look(redis, &chunk, &cause), KVS_OK);
    assert_int_equal(get(redis, &chunk, &cause), KVS_OK);
    asked_unlink(&asked, &chunk, PATIENCE_MS);
    run_all(redis, &asked, 1);
    assert_int_equal(asked.op.status, KVS_OK);
    assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
    chunk_free(&chunk);
  }
  assert_int_equal(stats_of(redis).ops, 0);
  kvi_redis_close(redis);
}

static void many_at_once(void **state)
{
  enum { N = 300 };
  struct kvi_redis *redis = tier_open_single(&server);
  struct asked *asked = calloc(N, sizeof(*asked));
  struct chunk *chunks = calloc(N, sizeof(*chunks));

  (void)state;
  assert_true(asked && chunks);
  for (size_t i = 0; i < N; i++) {
    chunk_make(&chunks[i], 1000 + i, 1 + (i * 7919) % 200000);
    asked_put(&asked[i], &chunks[i], PATIENCE_MS);
  }
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(asked[i].op.status, KVS_OK);
    if (i % 3 == 0)
      asked_look(&asked[i], &chunks[i], PATIENCE_MS);
    else
      asked_get(&asked[i], &chunks[i], PATIENCE_MS);
  }
  run_all(redis, asked, N);
  for (size_t i = 0; i < N; i++) {
    assert_int_equal(asked[i].op.status, KVS_OK);
    if (i % 3 != 0) {
      assert_int_equal(asked[i].landed_length, chunks[i].length);
      assert_memory_equal(asked[i].landed, chunks[i].payload, chunks[i].length);
    }
    asked_free(&asked[i]);
    chunk_free(&chunks[i]);
  }
  kvi_redis_close(redis);
  free(asked);
  free(chunks);
}

static void ttl_is_set_and_renewed(void **state)
{
  struct kvi_redis *redis = tier_open_single(&server);
  struct chunk chunk;
  long left;

  (void)state;
  chunk_make(&chunk, 2000, 5000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  const char *words[] = {"PEXPIRE", (const char *)chunk.key.bytes, "30000"}, *pttl[] = {"PTTL", words[1]};
  size_t lengths[] = {7, chunk.key.length, 5}, pttl_lengths[] = {4, chunk.key.length};
  left = strtol(server_do_argv(&server, 2, pttl, pttl_lengths), NULL, 10);
  assert_true(left > 0 && left <= 600000);
  assert_string_equal(server_do_argv(&server, 3, words, lengths), "1");
  assert_int_equal(get(redis, &chunk, NULL), KVS_OK);
  assert_int_equal(look(redis, &chunk, NULL), KVS_OK);
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); left <= 30000;
       pause_ms(10)) { /* it goes out behind the get */
    left = strtol(server_do_argv(&server, 2, pttl, pttl_lengths), NULL, 10);
    assert_false(kvi_deadline_expired(patience));
    if (left > 30000)
      break;
    left = 0;
  }
  chunk_free(&chunk);
  kvi_redis_close(redis);
}

struct damage {
  void (*make)(struct chunk *chunk);
  enum kvi_redis_cause look, get;
  bool removed; /* by the get */
};

static void make_list(struct chunk *chunk)
{
  raw("DEL", chunk, NULL, 0);
  raw("RPUSH", chunk, "x", 1);
}

static void make_cut(struct chunk *chunk)
{
  size_t length;
  uint8_t *value = value_of(chunk, &length);

  raw("SET", chunk, value, length - 1000);
  free(value);
}

static void make_cut_short(struct chunk *chunk)
{
  raw("SET", chunk, chunk->prologue, 40);
}

static void make_longer(struct chunk *chunk)
{
  raw("APPEND", chunk, "more", 4);
}

static void make_foreign(struct chunk *chunk)
{
  raw("SET", chunk,
      "somebody else's, and long enough to be looked at by those who read no more than the first bytes of a "
      "value and a half",
      100);
}

static void make_empty_prologue(struct chunk *chunk)
{
  raw("SET", chunk, "x", 1);
}

static void make_newer(struct chunk *chunk)
{
  size_t length;
  uint8_t *value = value_of(chunk, &length);

  value[4] = 3;
  raw("SET", chunk, value, length);
  free(value);
}

static void make_bit(struct chunk *chunk)
{
  size_t length;
  uint8_t *value = value_of(chunk, &length);

  value[length - 7] ^= 0x10;
  raw("SET", chunk, value, length);
  free(value);
}

static void make_table_bit(struct chunk *chunk)
{
  size_t length;
  uint8_t *value = value_of(chunk, &length);

  value[chunk->prologue_length - 3] ^= 0x10;
  raw("SET", chunk, value, length);
  free(value);
}

static void make_other(struct chunk *chunk)
{
  struct chunk other;
  size_t length;
  uint8_t *value;

  chunk_make(&other, 2999, chunk->length);
  value = value_of(&other, &length);
  raw("SET", chunk, value, length);
  free(value);
  chunk_free(&other);
}

static void damages(void **state)
{
  static const struct damage cases[] = {
      {make_list, KVI_REDIS_WRONG_TYPE, KVI_REDIS_WRONG_TYPE, false},
      {make_cut, KVI_REDIS_NONE, KVI_REDIS_LENGTH, true}, /* the header of a value cut behind it is sound */
      {make_cut_short, KVI_REDIS_LENGTH, KVI_REDIS_LENGTH, true},
      {make_longer, KVI_REDIS_NONE, KVI_REDIS_LENGTH, true},
      {make_foreign, KVI_REDIS_FOREIGN, KVI_REDIS_FOREIGN, false},
      {make_empty_prologue, KVI_REDIS_FOREIGN, KVI_REDIS_FOREIGN, false},
      {make_newer, KVI_REDIS_VERSION, KVI_REDIS_VERSION, false},
      {make_bit, KVI_REDIS_NONE, KVI_REDIS_CHECKSUM, true},
      {make_table_bit, KVI_REDIS_NONE, KVI_REDIS_CHECKSUM, true},
      {make_other, KVI_REDIS_MISPLACED, KVI_REDIS_MISPLACED, true},
  };
  struct kvi_redis *redis = tier_open_single(&server);

  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    enum kvi_redis_cause cause;
    struct chunk chunk, sound;

    chunk_make(&chunk, 2100 + i, 100000);
    chunk_make(&sound, 2200 + i, 10000);
    assert_int_equal(put(redis, &chunk), KVS_OK);
    assert_int_equal(put(redis, &sound), KVS_OK);
    cases[i].make(&chunk);
    assert_int_equal(look(redis, &chunk, &cause), cases[i].look ? KVS_MISS : KVS_OK);
    assert_int_equal(cause, cases[i].look);
    assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
    assert_int_equal(cause, cases[i].get);
    assert_int_equal(get(redis, &sound, &cause), KVS_OK); /* the connections are as sound as before */
    if (cases[i].removed) /* it was sent before anything else could be asked on this connection */
      assert_int_equal(get(redis, &chunk, &cause), KVS_MISS);
    put_until_ok(redis, &chunk); /* whatever was there is replaced, but for what a newer node may use */
    assert_int_equal(get(redis, &chunk, &cause), cases[i].make == make_newer ? KVS_MISS : KVS_OK);
    chunk_free(&chunk);
    chunk_free(&sound);
  }
  assert_int_equal(stats_of(redis).disconnects, 0);
  kvi_redis_close(redis);
}

static void no_room_to_land(void **state)
{
  struct kvi_redis *redis = tier_open_single(&server);
  struct asked asked;
  struct chunk chunk;

  (void)state;
  chunk_make(&chunk, 2300, 500000);
  assert_int_equal(put(redis, &chunk), KVS_OK);
  asked_get(&asked, &chunk, PATIENCE_MS);
  asked.refuse_landing = true;
  run_all(redis, &asked, 1);
  assert_int_equal(asked.op.status, KVS_MISS);
  assert_int_equal(asked.op.cause, KVI_REDIS_NO_ROOM);
  assert_int_equal(get(redis, &chunk, NULL), KVS_OK);
  chunk_free(&chunk);
  kvi_redis_close(redis);
}

static void values_above_the_bound(void **state)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_config config = {.addresses = addresses, .n_addresses = 1, .value_bytes_max = 100000};
  struct kvi_redis *wide = tier_open_single(&server), *narrow = tier_open(&config);
  enum kvi_redis_cause cause;
  struct asked asked;
  struct chunk chunk, small;

  (void)state;
  chunk_make(&chunk, 2400, 200000);
  chunk_make(&small, 2401, 2000);
  assert_int_equal(put(wide, &chunk), KVS_OK);
  asked_put(&asked, &chunk, PATIENCE_MS);
  assert_int_equal(kvi_redis_submit(narrow, &asked.op), KVS_ERR_TOO_LARGE);
  assert_int_equal(get(narrow, &chunk, &cause), KVS_MISS);
  assert_int_equal(cause, KVI_REDIS_TOO_LARGE);
  assert_int_equal(put(narrow, &small), KVS_OK);
  assert_int_equal(get(narrow, &small, &cause), KVS_OK);
  kvi_redis_close(narrow);
  kvi_redis_close(wide);
  chunk_free(&chunk);
  chunk_free(&small);
}

static void bound_of_operations(void **state)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_config config = {.addresses = addresses, .n_addresses = 1, .max_ops = 4};
  struct kvi_redis *redis = tier_open(&config);
  struct asked asked[5];
  struct chunk chunk;

  (void)state;
  chunk_make(&chunk, 2500, 10);
  assert_int_equal(look(redis, &chunk, NULL), KVS_MISS);
  server_freeze(&server, true);
  for (size_t i = 0; i < 3; i++)
    asked_look(&asked[i], &chunk, PATIENCE_MS);
  asked_unlink(&asked[3], &chunk, PATIENCE_MS); /* looks leave room for others */
  start_all(redis, asked, 4);
  asked_look(&asked[4], &chunk, PATIENCE_MS);
  assert_int_equal(kvi_redis_submit(redis, &asked[4].op), KVS_ERR_BUSY);
  asked_unlink(&asked[4], &chunk, PATIENCE_MS);
  assert_int_equal(kvi_redis_submit(redis, &asked[4].op), KVS_ERR_BUSY);
  server_freeze(&server, false);
  await_all(asked, 4);
  assert_int_equal(stats_of(redis).busy, 2);
  server_freeze(&server, true);
  for (size_t i = 0; i < 4; i++)
    asked_look(&asked[i], &chunk, PATIENCE_MS);
  start_all(redis, asked, 3);
  assert_int_equal(kvi_redis_submit(redis, &asked[3].op), KVS_ERR_BUSY);
  server_freeze(&server, false);
  await_all(asked, 3);
  kvi_redis_close(redis);
  chunk_free(&chunk);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(put_look_get_unlink),    cmocka_unit_test(many_at_once),
      cmocka_unit_test(ttl_is_set_and_renewed), cmocka_unit_test(damages),
      cmocka_unit_test(no_room_to_land),        cmocka_unit_test(values_above_the_bound),
      cmocka_unit_test(bound_of_operations),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
