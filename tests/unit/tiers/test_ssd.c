/* The SSD tier by itself: what was put comes back, over restarts too; space is freed; what is damaged is told. */
#define CHUNKS 1000u
#include "medium_owner.h"

#include <fcntl.h>

#include "ssd_fixture.h"

static void put_and_get(struct fixture *f)
{
  fixture_open(f);
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
}

static void test_what_was_put_comes_back(void **state)
{
  put_and_get(*state);
}

static void test_without_io_uring(void **state)
{
  struct fixture *f = *state;

  f->config.ring = false;
  put_and_get(f);
}

static void test_synced_for_each_put(void **state)
{
  struct fixture *f = *state;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  put_and_get(f);
}

static void test_over_a_restart(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  put_and_get(f);
  for (int i = 0; i < 3; i++) {
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(f->owner.n_found, 30);
    f->owner.medium->ops->stats(f->owner.medium, &stats);
    assert_int_equal(stats.recovered_chunks, 30);
    assert_true(stats.recovery_read_bytes < MIB); /* footers, not data */
    for (uint32_t j = 0; j < 30; j++)
      assert_int_equal(get_number(f, j), KVS_OK);
  }
}

/* Far more than it holds: log files are freed, and what is not let go is moved. */
static void test_turnover(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;
  uint32_t there = 0;

  f->config.bytes = 16 * MIB;
  fixture_open(f);
  for (uint32_t i = 0; i < CHUNKS; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    kvs_status status = get_number(f, i);

    assert_true(status == KVS_OK || (status == KVS_MISS && i % 100 != 0));
    there += status == KVS_OK;
  }
  assert_true(there > 15);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_true(stats.reclaims > 20);
  assert_true(stats.copied_chunks > 0);
  assert_true(stats.live_bytes <= f->config.bytes);
  fixture_close(f);
  fixture_open(f);
  for (uint32_t i = 0; i < CHUNKS; i += 100)
    assert_int_equal(get_number(f, i), KVS_OK);
}

static void test_a_stale_handle_is_a_miss(void **state)
{
  struct fixture *f = *state;
  kvi_medium_handle handle;

  put_and_get(f);
  handle = f->owner.handles[3];
  f->owner.handles[3] = handle ^ 1; /* of another use of that file */
  assert_int_equal(get_number(f, 3), KVS_MISS);
  f->owner.handles[3] = f->owner.handles[4]; /* another chunk's */
  assert_int_equal(get_number(f, 3), KVS_ERR_CORRUPT);
}

static void flip_bytes(const char *folder, const char *name, off_t from, off_t to)
{
  char path[128];
  uint8_t byte;
  int fd;

  snprintf(path, sizeof(path), "%s/%s", folder, name);
  fd = open(path, O_RDWR);
  assert_true(fd >= 0);
  for (off_t at = from; at < to; at += 1021) {
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  }
  close(fd);
}

static void test_damage_is_found(void **state)
{
  struct fixture *f = *state;
  uint32_t corrupt = 0, good = 0;

  put_and_get(f);
  fixture_close(f);
  flip_bytes(f->folder, "log-00000.kvl", 300000, 600000);
  fixture_open(f);
  for (uint32_t i = 0; i < 30; i++) {
    kvs_status status = get_number(f, i);

    assert_true(status == KVS_OK || status == KVS_ERR_CORRUPT);
    corrupt += status == KVS_ERR_CORRUPT;
    good += status == KVS_OK;
  }
  assert_true(corrupt > 0 && good > 10);
}

/* A footer that does not fit: the file is read through, and only what is whole counts. */
static void test_damaged_footer(void **state)
{
  struct fixture *f = *state;

  put_and_get(f);
  fixture_close(f);
  flip_bytes(f->folder, "log-00000.kvl", MIB - 4096, MIB);
  fixture_open(f);
  assert_int_equal(f->owner.n_found, 30);
  for (uint32_t i = 0; i < 30; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
}

static void test_the_scrubber_finds_damage(void **state)
{
  struct fixture *f = *state;
  uint64_t until = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S;
  uint32_t found = 0;

  put_and_get(f);
  fixture_close(f);
  flip_bytes(f->folder, "log-00000.kvl", 300000, 600000);
  f->config.scrub_bytes_per_s = 1u << 30;
  fixture_open(f);
  while (found == 0 && kvi_now_ns() < until) {
    usleep(1000);
    pthread_mutex_lock(&f->owner.mutex);
    found = f->owner.n_corrupt;
    pthread_mutex_unlock(&f->owner.mutex);
  }
  assert_true(found > 0);
}

static void test_one_process_a_directory(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *other;

  fixture_open(f);
  assert_int_equal(kvi_ssd_create(&f->config, &other), KVS_ERR_BUSY);
}

static void test_sizes_are_checked(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium;

  f->config.bytes = 3 * MIB;
  assert_int_equal(kvi_ssd_create(&f->config, &medium), KVS_ERR_INVALID);
  f->config.bytes = 8 * MIB;
  f->config.chunk_bytes_max = MIB / 2 + 1;
  assert_int_equal(kvi_ssd_create(&f->config, &medium), KVS_ERR_INVALID);
}

/* A smaller configuration: nothing is left of the files beyond it. */
static void test_no_leftovers(void **state)
{
  struct fixture *f = *state;
  char path[128];

  fixture_open(f);
  fixture_close(f);
  snprintf(path, sizeof(path), "%s/log-00007.kvl", f->folder);
  assert_int_equal(access(path, F_OK), 0);
  f->config.bytes = 5 * MIB;
  fixture_open(f);
  assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_what_was_put_comes_back), CASE(test_without_io_uring),  CASE(test_synced_for_each_put),
      CASE(test_over_a_restart),          CASE(test_turnover),          CASE(test_a_stale_handle_is_a_miss),
      CASE(test_damage_is_found),         CASE(test_damaged_footer),    CASE(test_the_scrubber_finds_damage),
      CASE(test_one_process_a_directory), CASE(test_sizes_are_checked), CASE(test_no_leftovers),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
