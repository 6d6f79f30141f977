/* The SSD tier over a disk that takes its time, or takes nothing any more: gets go on, or end when their time is over. */
#define CHUNKS 400u
#include "medium_owner.h"

#include "base/array.h"
#include "base/log.h"
#include "ssd_fault_puts.h"

/* ---- a file system that becomes read-only ---- */

static _Atomic uint32_t n_read_only_said;

static void count_read_only(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  (void)ctx, (void)length;
  n_read_only_said += level == KVI_LOG_ERROR && strstr(line, "its file system is read-only") != NULL;
}

/* Every chunk that the owner has can be read, and no other. */
static void all_are_read(struct fixture *f)
{
  for (uint32_t i = 0; i < CHUNKS; i++)
    assert_int_equal(get_number(f, i), owner_handle(&f->owner, i) != 0 ? KVS_OK : KVS_MISS);
}

/* Nothing can be written, which is said and counted, and all is read that was there. */
static void check_read_only(struct fixture *f)
{
  uint32_t number = 0;

  while (owner_handle(&f->owner, number) == 0)
    number++;
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(put_one(f, CHUNKS - 1), KVS_ERR_IO);
  assert_int_equal(f->owner.n_lost, 0);
  all_are_read(f);
  f->owner.medium->ops->stats(f->owner.medium, &f->stats);
  assert_int_equal(f->stats.devices_read_only, 1);
  assert_int_equal(f->stats.devices_failed, 0);
  assert_int_equal(f->stats.capacity_bytes, FILES * MIB);
  assert_true(f->stats.put_errors >= 10);
  assert_true(f->stats.device_errors > 0);
  assert_int_equal(f->stats.get_errors, 0);
  assert_int_equal(f->stats.corrupt, 0);
  assert_int_equal(n_read_only_said, 1);
  assert_int_equal(owner_delete(&f->owner, number), KVS_ERR_IO); /* and it may come back */
  assert_int_equal(get_number(f, number), KVS_MISS);
  assert_int_equal(f->owner.medium->ops->drops_waiting(f->owner.medium), 0);
  all_are_read(f);
  assert_int_equal(f->owner.n_lost, 0);
}

/* After a restart that can write. */
static void check_writable_again(struct fixture *f)
{
  fixture_close(f);
  f->image.read_only = false;
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_true(f->owner.n_found > 0);
  all_are_read(f);
  assert_int_equal(put_one(f, CHUNKS - 1), KVS_OK);
  all_are_read(f);
}

/* Files hold chunks, one is open, and then puts are under way. */
static void test_read_only(void **state)
{
  static const enum kvi_ssd_durability durabilities[] = {KVI_SSD_DURABLE_NONE, KVI_SSD_DURABLE_SEAL,
                                                         KVI_SSD_DURABLE_PUT};

  kvi_log_set_sink(count_read_only, NULL);
  for (size_t i = 0; i < KVI_ARRAY_SIZE(durabilities); i++) {
    struct fixture *f = *state;

    n_read_only_said = 0;
    f->config.durability = durabilities[i];
    assert_int_equal(fixture_open(f), KVS_OK);
    (void)put_until_file(f, 0, 2);
    f->image.read_only = true;
    put_some(f, CHUNKS - 1 - AT_ONCE);
    check_read_only(f);
    check_writable_again(f);
    teardown(state);
    setup(state);
  }
  kvi_log_set_sink(NULL, NULL);
}

/* At any operation of a tier that frees files. */
static void test_read_only_at_any_time(void **state)
{
  kvi_log_set_sink(count_read_only, NULL);
  for (uint64_t nth = 1; nth < 120; nth += 7) {
    struct fixture *f = *state;
    uint32_t number = 0;

    n_read_only_said = 0;
    kvi_rand_seed(&f->image.rand, nth);
    f->config.durability = nth % 2 ? KVI_SSD_DURABLE_PUT : KVI_SSD_DURABLE_SEAL;
    assert_int_equal(fixture_open(f), KVS_OK);
    do {
      put_some(f, number);
      number = (number + AT_ONCE) % (CHUNKS - 2 * AT_ONCE);
      f->owner.medium->ops->stats(f->owner.medium, &f->stats);
    } while (f->stats.reclaims == 0);
    f->image.read_only_in = nth;
    do {
      put_some(f, number);
      number = (number + AT_ONCE) % (CHUNKS - 2 * AT_ONCE);
      f->owner.medium->ops->stats(f->owner.medium, &f->stats);
    } while (f->stats.devices_read_only == 0);
    check_read_only(f);
    check_writable_again(f);
    teardown(state);
    setup(state);
  }
  kvi_log_set_sink(NULL, NULL);
}

/* ---- a slow device ---- */

/* Until the device holds so many bytes. */
static void held_await(const struct fixture *f, uint64_t bytes)
{
  kvi_deadline deadline = kvi_deadline_from_ms(WAIT_SECONDS * 1000);

  while (f->image.held_bytes < bytes) {
    assert_false(kvi_deadline_expired(deadline));
    usleep(1000);
  }
}

static bool has_ended(struct test_wait *wait)
{
  bool ended;

  pthread_mutex_lock(&wait->mutex);
  ended = wait->calls > 0;
  pthread_mutex_unlock(&wait->mutex);
  return ended;
}

/* A request whose time is over ends while the device still holds a write, and not before. */
static void ends_at_its_deadline(struct test_wait *wait, uint64_t deadline_ns, struct test_wait *held)
{
  assert_int_equal(test_wait_for(wait), KVS_ERR_DEADLINE);
  assert_true(kvi_now_ns() >= deadline_ns);
  assert_false(has_ended(held));
}

/* A write takes as long as the device likes: gets pass it; if they cannot, they end at their deadline, as puts do, whose memory is not touched after. */
static void test_slow(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium;
  struct test_chunk chunk, late, there;
  struct kvi_medium_put put, late_put;
  struct kvi_medium_get get;
  struct test_wait putting, late_putting, getting;

  assert_int_equal(fixture_open(f), KVS_OK);
  medium = f->owner.medium;
  put_some(f, 0);
  test_chunk_make(&chunk, 20, length_of(20), 3);
  test_chunk_make(&late, 22, length_of(22), 3);
  test_chunk_make(&there, 0, length_of(0), 1);
  test_wait_init(&putting);
  test_wait_init(&late_putting);
  test_wait_init(&getting);

  f->image.holds_writes = true;
  test_put_fill(&put, &chunk, &putting);
  assert_int_equal(medium->ops->put(medium, &put), KVS_OK);
  held_await(f, chunk.length);
  for (uint32_t i = 0; i < AT_ONCE; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
  assert_false(has_ended(&putting));

  f->image.holds_reads = true;
  test_put_fill(&late_put, &late, &late_putting);
  get = test_get_of(&there, owner_handle(&f->owner, 0), &getting);
  late_put.deadline_ns = get.deadline_ns = kvi_now_ns() + 30 * KVI_NS_PER_MS;
  assert_int_equal(medium->ops->put(medium, &late_put), KVS_OK);
  assert_int_equal(medium->ops->get(medium, &get), KVS_OK);
  ends_at_its_deadline(&getting, get.deadline_ns, &putting);
  ends_at_its_deadline(&late_putting, late_put.deadline_ns, &putting);
  test_chunk_free(&late);

  fault_image_release(&f->image);
  assert_int_equal(test_wait_for(&putting), KVS_OK);
  assert_int_equal(test_get(medium, &chunk, put.handle), KVS_OK);
  assert_int_equal(get_number(f, 0), KVS_OK);
  medium->ops->stats(medium, &f->stats);
  assert_int_equal(f->stats.deadlines, 2);
  test_chunk_free(&there);
  test_chunk_free(&chunk);
}

/* What a slow device reads and writes directly is kept for it, after the request has ended at its deadline. */
static void test_slow_direct(void **state)
{
  struct fixture *f = *state;
  struct test_chunk chunk;
  struct kvi_medium_put put;
  struct kvi_medium_get get;
  struct test_wait putting, getting;
  kvi_medium_handle handle;

  assert_int_equal(fixture_open(f), KVS_OK);
  test_chunk_make(&chunk, 21, 5 * KVI_MEDIUM_BLOCK + 77, 3);
  assert_true(chunk.direct);
  assert_int_equal(test_put(f->owner.medium, &chunk, &handle), KVS_OK);
  assert_int_equal(test_get(f->owner.medium, &chunk, handle), KVS_OK);
  f->image.holds_reads = f->image.holds_writes = true;
  test_wait_init(&putting);
  test_wait_init(&getting);
  test_put_fill(&put, &chunk, &putting);
  get = test_get_of(&chunk, handle, &getting);
  put.deadline_ns = get.deadline_ns = kvi_now_ns() + 30 * KVI_NS_PER_MS;
  assert_int_equal(f->owner.medium->ops->get(f->owner.medium, &get), KVS_OK);
  assert_int_equal(f->owner.medium->ops->put(f->owner.medium, &put), KVS_OK);
  assert_int_equal(test_wait_for(&getting), KVS_ERR_DEADLINE);
  assert_int_equal(test_wait_for(&putting), KVS_ERR_DEADLINE);
  fault_image_release(&f->image);
  test_wait_released(&getting); /* else what follows is memory that the disk still uses */
  test_wait_released(&putting);
  free(getting.landed);
  assert_int_equal(test_get(f->owner.medium, &chunk, handle), KVS_OK);
  test_chunk_free(&chunk);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_read_only),
      CASE(test_read_only_at_any_time),
      CASE(test_slow),
      CASE(test_slow_direct),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
