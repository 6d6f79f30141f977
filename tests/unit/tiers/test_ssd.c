/* The SSD tier by itself: what was put comes back, over restarts too; space is freed; what is damaged is told. */
#define CHUNKS 1000u
#include "medium_owner.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "ssd_fixture.h"
#include "tiers/ssd/disk.h"
#include "tiers/ssd/format.h"

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

/* ---- other sizes of log files ---- */

static struct fixture *measured;
static uint64_t most_bytes;
static const struct kvi_ssd_disk_ops *file_ops;

static uint64_t log_bytes(const struct fixture *f)
{
  uint64_t sum = 0;

  for (unsigned i = 0; i < 64; i++) {
    char path[128];
    struct stat stat_of;

    snprintf(path, sizeof(path), "%s/log-%05u.kvl", f->folder, i);
    sum += stat(path, &stat_of) == 0 ? (uint64_t)stat_of.st_size : 0;
  }
  return sum;
}

static kvs_status open_and_measure(struct kvi_ssd_disk *disk, uint32_t number, uint64_t bytes, bool *fresh_p)
{
  kvs_status status = file_ops->open(disk, number, bytes, fresh_p);
  uint64_t now = log_bytes(measured);

  most_bytes = now > most_bytes ? now : most_bytes;
  return status;
}

/* Opens it, and looks at how many bytes there are meanwhile. */
static void open_measured(struct fixture *f, uint64_t file_bytes)
{
  static struct kvi_ssd_disk_ops ops;
  struct kvi_ssd_disk *disk;

  f->config.file_bytes = file_bytes;
  assert_int_equal(kvi_ssd_file_disk_open(f->folder, 32, false, &disk), KVS_OK);
  file_ops = disk->ops;
  ops = *file_ops;
  ops.open = open_and_measure;
  disk->ops = &ops;
  measured = f;
  most_bytes = 0;
  assert_int_equal(kvi_ssd_create_over(&f->config, &disk, &f->owner.medium), KVS_OK);
  assert_int_equal(owner_recover(&f->owner), KVS_OK);
}

/* Never is there more than the configured size, not even while log files of another size are made. */
static void test_another_size_of_log_files(void **state)
{
  static const uint64_t sizes[] = {1, 4, 2, 1};
  struct fixture *f = *state;

  f->config.bytes = 16 * MIB;
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    open_measured(f, sizes[i] * MIB);
    assert_int_equal(most_bytes, 16 * MIB);
    assert_int_equal(log_bytes(f), 16 * MIB);
    assert_int_equal(put_number(f, (uint32_t)i), KVS_OK);
    fixture_close(f);
  }
}

/* Writes a header of the next version to a log file. */
static void version_change(const struct fixture *f, uint32_t number)
{
  struct kvi_ssd_header header = {.number = number, .file_bytes = MIB, .sequence = 1};
  uint8_t block[KVI_SSD_BLOCK];
  char path[128];
  int fd;

  kvi_ssd_header_write(block, &header);
  kvi_store_le16(block + 4, KVI_SSD_VERSION + 1);
  kvi_store_le32(block + 8, 0);
  kvi_store_le32(block + 8, kvi_crc32c_update(0, block, KVI_SSD_HEAD));
  snprintf(path, sizeof(path), "%s/log-%05u.kvl", f->folder, number);
  fd = open(path, O_RDWR);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, block, sizeof(block), 0), sizeof(block));
  close(fd);
}

/* Log files of another version: the directory is refused, and they are left as they are, whatever sizes are configured now. */
static void test_another_version_is_left_alone(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium;

  fixture_open(f);
  fixture_close(f);
  version_change(f, 6);
  f->config.bytes = 5 * MIB; /* it would be removed */
  assert_int_equal(kvi_ssd_create(&f->config, &medium), KVS_ERR_VERSION);
  f->config.bytes = 16 * MIB;
  f->config.file_bytes = 2 * MIB; /* it would be made anew */
  assert_int_equal(kvi_ssd_create(&f->config, &medium), KVS_ERR_VERSION);
  assert_int_equal(log_bytes(f), 8 * MIB);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_what_was_put_comes_back),
      CASE(test_without_io_uring),
      CASE(test_synced_for_each_put),
      CASE(test_over_a_restart),
      CASE(test_turnover),
      CASE(test_a_stale_handle_is_a_miss),
      CASE(test_damage_is_found),
      CASE(test_damaged_footer),
      CASE(test_the_scrubber_finds_damage),
      CASE(test_one_process_a_directory),
      CASE(test_sizes_are_checked),
      CASE(test_no_leftovers),
      CASE(test_another_size_of_log_files),
      CASE(test_another_version_is_left_alone),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
