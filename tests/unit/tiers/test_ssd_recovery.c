/* The SSD tier's start over a disk with faults: what cannot be read now is there at the next start, and nothing is destroyed. */
#define CHUNKS 400u
#include "medium_owner.h"

#include <errno.h>

#include "ssd_fault_fixture.h"

#define TRIES 3u /* so many errors in a row are an operation that fails */

/* ---- what is on the disk, to begin with it again ---- */

struct snapshot {
  uint8_t *files[FILES];
};

static void snapshot_take(struct fixture *f, struct snapshot *snapshot)
{
  for (uint32_t i = 0; i < FILES; i++) {
    snapshot->files[i] = malloc(MIB);
    memcpy(snapshot->files[i], f->image.files[i].durable, MIB);
  }
}

static void snapshot_restore(struct fixture *f, const struct snapshot *snapshot)
{
  fault_image_crash(&f->image); /* nothing is under way */
  for (uint32_t i = 0; i < FILES; i++) {
    memcpy(f->image.files[i].now, snapshot->files[i], MIB);
    memcpy(f->image.files[i].durable, snapshot->files[i], MIB);
  }
}

static void snapshot_free(struct snapshot *snapshot)
{
  for (uint32_t i = 0; i < FILES; i++)
    free(snapshot->files[i]);
}

/* ---- errors ---- */

#define GONE 5u /* in log file 0, deleted in file 1 */

/* Two sealed files and an open one when the power goes. Returns how many chunks were put, from number 1 on. */
static uint32_t fill_and_crash(struct fixture *f)
{
  uint32_t first, last;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  f->owner.frozen = true;
  assert_int_equal(fixture_open(f), KVS_OK);
  first = put_until_file(f, 1, 1);
  assert_int_equal(owner_delete(&f->owner, GONE), KVS_OK);
  last = put_until_file(f, first + 1, 2);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(put_one(f, ++last), KVS_OK);
  f->image.dead = true;
  fixture_close(f);
  fault_image_crash(&f->image);
  return last;
}

static void all_there(struct fixture *f, uint32_t last, uint64_t nth)
{
  for (uint32_t i = 1; i <= last; i++) {
    kvs_status status = get_number(f, i);

    if (status != (i == GONE ? KVS_MISS : KVS_OK))
      fail_msg("error at operation %llu of a start (0: none): chunk %u is %s", (unsigned long long)nth, i,
               kvs_status_name(status));
  }
}

/* A start with errors, and what a node does then; after it another one. False: the start has less operations. */
static bool start_with_error(struct fixture *f, uint32_t last, uint64_t nth)
{
  bool hit;

  f->image.error = EIO;
  f->image.n_errors = TRIES;
  f->image.error_in = nth;
  (void)fixture_open(f);
  hit = f->image.n_errors == 0;
  f->image.error_in = 0;
  for (uint32_t i = 1; i <= last;
       i++) /* what was told is there, also in a file that was not read to its end */
    if (f->owner.handles[i] != 0)
      assert_int_equal(get_number(f, i), KVS_OK);
  for (uint32_t i = last + 1; i < last + 20; i++) /* a file of them */
    (void)put_one(f, i);
  for (uint32_t i = 1; i <= last; i++) {
    kvs_status status = get_number(f, i);

    assert_true(status == KVS_OK || status == KVS_MISS);
  }
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  all_there(f, last, nth);
  fixture_close(f);
  return hit;
}

/* At each operation of a start, an error that does not pass: the next start has everything. */
static void test_errors_at_a_start(void **state)
{
  struct fixture *f = *state;
  struct snapshot snapshot;
  uint32_t last = fill_and_crash(f);
  uint64_t nth = 1;

  snapshot_take(f, &snapshot);
  while (start_with_error(f, last, nth)) {
    snapshot_restore(f, &snapshot);
    nth++;
  }
  assert_true(nth > 20);
  snapshot_free(&snapshot);
}

/* ---- damaged headers ---- */

static void rot(struct fixture *f, uint32_t file, uint64_t at)
{
  f->image.files[file].now[at] ^= 0x10;
  f->image.files[file].durable[at] ^= 0x10;
}

/* The header of a sealed file is damaged: its footer says what it said, what is in the file counts, and the header is mended. */
static void test_damaged_header(void **state)
{
  struct fixture *f = *state;
  uint32_t last = fill_and_crash(f);

  for (uint32_t file = 0; file < 2; file++) {
    rot(f, file, 100);
    assert_int_equal(fixture_open(f), KVS_OK);
    all_there(f, last, 0);
    fixture_close(f);
    rot(f, file, MIB - 4096); /* the trailer: what was mended does without it */
    assert_int_equal(fixture_open(f), KVS_OK);
    all_there(f, last, 0);
    fixture_close(f);
  }
}

/* Header and trailer are damaged: what was in the file is lost, and nothing else. */
static void test_damaged_header_and_trailer(void **state)
{
  struct fixture *f = *state;
  uint32_t last = fill_and_crash(f), n_lost = 0;
  bool was_there[CHUNKS];

  assert_int_equal(fixture_open(f), KVS_OK);
  for (uint32_t i = 1; i <= last; i++)
    was_there[i] = i != GONE && file_of(f, i) != 0;
  fixture_close(f);
  rot(f, 0, 100);
  rot(f, 0, MIB - 4096);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(fixture_open(f), KVS_OK);
    for (uint32_t j = 1; j <= last; j++) {
      assert_int_equal(get_number(f, j), was_there[j] ? KVS_OK : KVS_MISS);
      n_lost += !was_there[j];
    }
    assert_int_equal(put_one(f, last + 1 + (uint32_t)i), KVS_OK);
    fixture_close(f);
  }
  assert_true(n_lost > 10);
}

/* A file that was freed has no footer by which a damaged header could be mended: what was let go in it stays away. */
static void test_damaged_header_of_a_freed_file(void **state)
{
  struct fixture *f = *state;
  uint32_t first, last;

  f->config.discard = false;
  f->config.durability = KVI_SSD_DURABLE_PUT;
  assert_int_equal(fixture_open(f), KVS_OK);
  f->owner.frozen = true;
  first = put_until_file(f, 1, 1);
  for (uint32_t i = 1; i < first; i++)
    owner_drop(&f->owner, i, false); /* nothing alive in file 0, and no deletion that says so */
  last = first;
  while (f->owner.medium->ops->stats(f->owner.medium, &f->stats), f->stats.reclaims == 0)
    assert_int_equal(put_one(f, ++last), KVS_OK);
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  fixture_close(f);
  memset(f->image.files[0].now, 0xa5, 512);
  assert_int_equal(fixture_open(f), KVS_OK);
  for (uint32_t i = 1; i < first; i++)
    assert_int_equal(get_number(f, i), KVS_MISS);
  for (uint32_t i = first; i <= last; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
}

/* ---- a device that hangs ---- */

static struct kvi_ssd_disk *hung_disks[8]; /* and through them what such devices keep, which is never freed */

/* At one operation of a start after the other, the device does not answer any more: the start ends, the tier refuses everything, and the next start has all. */
static void test_hangs_at_a_start(void **state)
{
  struct fixture *f = *state;
  uint32_t last = fill_and_crash(f), n_hung = 0;

  f->config.open_wait_ns = 20 * KVI_NS_PER_MS;
  for (uint64_t nth = 2; nth <= 20; nth += 3) {
    f->image.hang_in = nth;
    assert_int_equal(fixture_open(f), KVS_OK);
    assert_non_null(f->image.hung);
    hung_disks[n_hung++] = f->image.hung;
    f->owner.medium->ops->stats(f->owner.medium, &f->stats);
    assert_int_equal(f->stats.devices_failed, 1);
    assert_int_equal(put_one(f, last + 1), KVS_ERR_IO);
    fixture_close(f);
    f->image.hang_in = 0;
    f->image.hung = NULL;
  }
  f->config.open_wait_ns = 0;
  assert_int_equal(fixture_open(f), KVS_OK);
  all_there(f, last, 0);
}

/* ---- the scrubber ---- */

static _Atomic uint64_t bad_from, bad_to; /* in log file 0 */

static bool reads_what_is_bad(const struct kvi_ssd_io *io)
{
  return io->kind == KVI_SSD_READ && io->file == 0 && io->at >= bad_from && io->at < bad_to;
}

static uint64_t at_of(struct fixture *f, uint32_t number)
{
  return (f->owner.handles[number] >> 32) % (MIB / 4096) * 4096;
}

/* Chunks that cannot be read, while all others can: they are given up, each one, and the device is not. */
static void test_the_scrubber_gives_up(void **state)
{
  struct fixture *f = *state;
  uint64_t until = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S;
  uint32_t last, lost = 0;

  f->config.scrub_bytes_per_s = 1u << 30;
  f->owner.frozen = true;
  assert_int_equal(fixture_open(f), KVS_OK);
  for (last = 1; last <= 9; last++)
    assert_int_equal(put_one(f, last), KVS_OK);
  bad_from = at_of(f, 5);
  bad_to = at_of(f, 9);
  assert_true(bad_from < bad_to);
  f->image.fails = reads_what_is_bad;
  last = put_until_file(f, last, 1);
  while (lost < 4 && kvi_now_ns() < until) {
    usleep(1000);
    pthread_mutex_lock(&f->owner.mutex);
    lost = f->owner.n_lost;
    pthread_mutex_unlock(&f->owner.mutex);
  }
  assert_int_equal(lost, 4);
  f->image.fails = NULL;
  for (uint32_t i = 1; i <= last; i++)
    assert_int_equal(get_number(f, i), i >= 5 && i < 9 ? KVS_MISS : KVS_OK);
  f->owner.medium->ops->stats(f->owner.medium, &f->stats);
  assert_int_equal(f->stats.devices_failed, 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_errors_at_a_start),          CASE(test_damaged_header),
      CASE(test_damaged_header_and_trailer), CASE(test_damaged_header_of_a_freed_file),
      CASE(test_hangs_at_a_start),           CASE(test_the_scrubber_gives_up),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
