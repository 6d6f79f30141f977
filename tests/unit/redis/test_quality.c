/* Which of two forms of a chunk stays in Redis: the one that has lost less; of those that have lost as much the shorter one. */
#include "tests/unit/tiers/medium_testing.h"

#include "tests/unit/redis/one_server.h"
#include "tiers/redis/medium.h"

#define NOTHING 99u

static struct kvi_medium *open_it(void)
{
  const char *addresses[] = {server.address};
  struct kvi_redis_medium_config config = {.redis = {.addresses = addresses,
                                                     .n_addresses = 1,
                                                     .retry_first_ms = 20,
                                                     .retry_longest_ms = 100,
                                                     .stall_timeout_ms = 60000},
                                           .key_prefix = "kvasir:",
                                           .ttl_ms = 600000};
  struct kvi_medium *medium;
  char error[256];

  assert_int_equal(kvi_redis_medium_create(&config, error, sizeof(error), &medium), KVS_OK);
  return medium;
}

/* ---- a form of a chunk, and its put ---- */

struct form {
  struct test_chunk chunk;
  struct kvi_medium_put put;
  struct test_wait wait;
};

static void form_make(struct form *form, uint64_t number, uint32_t length, uint16_t quality)
{
  struct kvi_chunk_table table;
  struct kvi_segment segment;

  test_chunk_make(&form->chunk, number, length, 1);
  assert_int_equal(kvi_chunk_table_read(form->chunk.table, kvi_chunk_table_size(1), &table), KVS_OK);
  segment = kvi_chunk_table_segment(&table, 0);
  kvi_chunk_table_write(form->chunk.table, &segment, 1, quality);
  test_wait_init(&form->wait);
  test_put_fill(&form->put, &form->chunk, &form->wait);
}

static kvs_status put_end(struct form *form)
{
  kvs_status status = test_wait_for(&form->wait);

  test_chunk_free(&form->chunk);
  return status;
}

static kvs_status put(struct kvi_medium *medium, uint64_t number, uint32_t length, uint16_t quality)
{
  struct form form;

  form_make(&form, number, length, quality);
  assert_int_equal(medium->ops->put(medium, &form.put), KVS_OK);
  return put_end(&form);
}

/* ---- what lies there ---- */

struct there {
  struct test_wait wait;
  uint32_t loss;
  uint32_t length;
};

static kvs_status there_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                             const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct there *there = (struct there *)get->user; /* the wait is first */

  there->loss = kvi_quality_loss(table->quality);
  there->length = (uint32_t)table->length;
  return test_land(get, table, iov_p, n_iov_p);
}

/* Into a space whose chunks have another length. */
static kvs_status misfit_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                              const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  (void)get, (void)table, (void)iov_p, (void)n_iov_p;
  return KVS_ERR_SPACE_MISMATCH;
}

static kvs_status get_to(struct kvi_medium *medium, uint64_t number, struct there *there,
                         kvs_status (*land)(struct kvi_medium_get *, const struct kvi_chunk_table *,
                                            const struct kvi_iov **, uint32_t *))
{
  struct test_chunk chunk;
  struct kvi_medium_get get = {.deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                               .land = land,
                               .done = test_get_done,
                               .user = there};
  kvs_status status;

  memset(there, 0, sizeof(*there));
  there->loss = NOTHING;
  test_chunk_make(&chunk, number, 1, 1);
  get.identity = test_identity(&chunk);
  test_wait_init(&there->wait);
  assert_int_equal(medium->ops->get(medium, &get), KVS_OK);
  status = test_wait_for(&there->wait);
  free(there->wait.landed);
  test_chunk_free(&chunk);
  return status;
}

static void assert_there(struct kvi_medium *medium, uint64_t number, uint32_t loss, uint32_t length)
{
  struct there there;

  assert_int_equal(get_to(medium, number, &there, there_land), KVS_OK);
  assert_int_equal(there.loss, loss);
  assert_int_equal(there.length, length);
}

/* ---- one after the other ---- */

static void less_loss_then_less_bytes(void **state)
{
  static const struct {
    uint32_t loss, length;             /* of the first */
    uint32_t other_loss, other_length; /* of the second */
    bool second_stays;
  } cases[] = {
      {4, 40000, 0, 40000, true},  {4, 40000, 0, 50000, true},  {5, 40000, 4, 60, true},
      {0, 40000, 5, 30000, false}, {0, 40000, 4, 40000, false}, {1, 40000, 2, 60, false},
      {0, 40000, 0, 30000, true},  {0, 30000, 0, 40000, false}, {0, 40000, 0, 40000, false},
      {3, 40000, 3, 30000, true},  {3, 30000, 3, 40000, false}, {4, 2, 0, 1, true},
      {0, 1, 4, 2, false},
  };
  struct kvi_medium *medium = open_it();

  (void)state;
  for (uint64_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    bool second = cases[i].second_stays;

    put(medium, 100 + i, cases[i].length, kvi_quality(cases[i].loss, 15, KVI_CODING_NONE));
    put(medium, 100 + i, cases[i].other_length, kvi_quality(cases[i].other_loss, 15, KVI_CODING_NONE));
    assert_there(medium, 100 + i, second ? cases[i].other_loss : cases[i].loss,
                 second ? cases[i].other_length : cases[i].length);
  }
  medium->ops->destroy(medium);
}

/* Somebody wrote a chunk that does not fit its space, shorter than the right one: a reader removes it, so that it stands in nobody's way. */
static void what_fits_no_space_is_removed(void **state)
{
  struct kvi_medium *medium = open_it();
  kvi_deadline patience = kvi_deadline_from_ms(WAIT_SECONDS * 1000);
  struct there there;

  (void)state;
  put(medium, 300, 1, kvi_quality(0, 0, KVI_CODING_NONE));
  assert_int_equal(get_to(medium, 300, &there, misfit_land), KVS_ERR_CORRUPT);
  do { /* the removal may come behind the first put's look */
    assert_false(kvi_deadline_expired(patience));
    put(medium, 300, 40000, kvi_quality(0, 0, KVI_CODING_NONE));
  } while (get_to(medium, 300, &there, there_land) != KVS_OK || there.length != 40000);
  medium->ops->destroy(medium);
}

/* A node that was in a hurry writes the chunk as it is, another one encoded: however often they do, it is written twice at most. */
static void forms_do_not_take_turns(void **state)
{
  struct kvi_medium *one = open_it(), *two = open_it();
  struct kvi_medium_stats first, second;

  (void)state;
  for (int round = 0; round < 5; round++) {
    put(one, 200, 40000, kvi_quality(0, 0, KVI_CODING_NONE));
    put(two, 200, 30000, kvi_quality(0, 0, KVI_CODING_KVC1));
    assert_there(one, 200, 0, 30000);
  }
  one->ops->stats(one, &first);
  two->ops->stats(two, &second);
  assert_int_equal(first.put_bytes, 40000);
  assert_int_equal(second.put_bytes, 30000);
  one->ops->destroy(one);
  two->ops->destroy(two);
}

/* A put that finds its chunk there tells of that, not of its own. */
static void puts_tell_what_lies_there(void **state)
{
  uint16_t raw = kvi_quality(0, 3, KVI_CODING_NONE), coded = kvi_quality(0, 5, KVI_CODING_KVC1);
  struct kvi_medium *medium = open_it();
  struct form form;

  (void)state;
  form_make(&form, 250, 30000, coded);
  form.put.stored = 30000;
  form.put.stored_quality = coded;
  assert_int_equal(medium->ops->put(medium, &form.put), KVS_OK);
  assert_int_equal(put_end(&form), KVS_OK);
  assert_int_equal(form.put.stored, 30000);
  form_make(&form, 250, 40000, raw);
  form.put.stored = 40000;
  form.put.stored_quality = raw;
  assert_int_equal(medium->ops->put(medium, &form.put), KVS_OK);
  assert_int_equal(put_end(&form), KVS_EXISTS);
  assert_int_equal(form.put.stored, 30000);
  assert_int_equal(form.put.stored_quality, coded);
  medium->ops->destroy(medium);
}

/* ---- at the same time ---- */

/* Looks are answered, and writes wait at the server, in order, until it goes on. */
static void writes_stop(void)
{
  assert_string_equal(server_do(&server, "CLIENT PAUSE 100000 WRITE"), "OK");
}

static void writes_go_on(void)
{
  assert_string_equal(server_do(&server, "CLIENT UNPAUSE"), "OK");
}

/* Of the connections whose writes wait; n_behind_p: of these, that have sent something more behind it. */
static uint32_t writes_that_wait(uint32_t *n_behind_p)
{
  uint32_t n = 0;

  *n_behind_p = 0;
  for (const char *at = server_do(&server, "CLIENT LIST"); (at = strstr(at, " flags=b ")) != NULL; at++) {
    const char *bytes = strstr(at, " qbuf=");

    n++;
    *n_behind_p += bytes && bytes[6] != '0';
  }
  return n;
}

static void await_writes(uint32_t n, uint32_t n_behind)
{
  kvi_deadline patience = kvi_deadline_from_ms(WAIT_SECONDS * 1000);
  uint32_t behind;

  while (writes_that_wait(&behind) < n || behind < n_behind) {
    assert_false(kvi_deadline_expired(patience));
    pause_ms(1);
  }
}

/* Two nodes look when nothing is there, and write then, in either order. */
static void two_that_found_nothing(void **state)
{
  struct kvi_medium *one = open_it(), *two = open_it();
  struct form worse, better;

  (void)state;
  for (uint64_t round = 0; round < 10; round++) {
    bool better_first = round % 2 == 0;

    form_make(&worse, 310 + round, 5000, kvi_quality(4, 15, KVI_CODING_NONE));
    form_make(&better, 310 + round, 6000, kvi_quality(0, 15, KVI_CODING_NONE));
    writes_stop();
    assert_int_equal(one->ops->put(one, better_first ? &better.put : &worse.put), KVS_OK);
    await_writes(1, 0);
    assert_int_equal(two->ops->put(two, better_first ? &worse.put : &better.put), KVS_OK);
    await_writes(2, 0);
    writes_go_on();
    put_end(&worse);
    put_end(&better);
    assert_there(one, 310 + round, 0, 6000);
  }
  one->ops->destroy(one);
  two->ops->destroy(two);
}

static void remove_done(struct kvi_medium_remove *remove, kvs_status status)
{
  test_wait_end(remove->user, status);
}

/* A node removes what it is just writing, and another node has written it before: it is not written once more. */
static void removed_behind_another_ones(void **state)
{
  struct kvi_medium *one = open_it(), *two = open_it();
  struct test_wait wait;
  struct kvi_medium_remove removal = {
      .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S, .done = remove_done, .user = &wait};
  struct form other, own;
  struct test_chunk chunk;

  (void)state;
  test_chunk_make(&chunk, 400, 1, 1);
  removal.identity = test_identity(&chunk);
  form_make(&other, 400, 5000, kvi_quality(4, 15, KVI_CODING_NONE));
  form_make(&own, 400, 5000, 0);
  writes_stop();
  assert_int_equal(two->ops->put(two, &other.put), KVS_OK);
  await_writes(1, 0);
  assert_int_equal(one->ops->put(one, &own.put), KVS_OK);
  await_writes(2, 0);
  test_wait_init(&wait);
  assert_int_equal(one->ops->remove(one, &removal), KVS_OK);
  await_writes(2, 1);
  writes_go_on();
  assert_int_equal(put_end(&other), KVS_OK);
  assert_int_equal(test_wait_for(&wait), KVS_OK);
  assert_int_equal(put_end(&own), KVS_ERR_CANCELED);
  assert_int_equal(test_get(two, &chunk, 0), KVS_MISS);
  test_chunk_free(&chunk);
  one->ops->destroy(one);
  two->ops->destroy(two);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(less_loss_then_less_bytes), cmocka_unit_test(what_fits_no_space_is_removed),
      cmocka_unit_test(forms_do_not_take_turns),   cmocka_unit_test(puts_tell_what_lies_there),
      cmocka_unit_test(two_that_found_nothing),    cmocka_unit_test(removed_behind_another_ones),
  };

  return cmocka_run_group_tests(tests, start, stop);
}
