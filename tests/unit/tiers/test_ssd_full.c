/* The SSD tier when no log file is free: nothing that was safe is given up, by a crash while a file is freed or by deletions that have no room. */
#define CHUNKS 400u
#include "medium_owner.h"

#include "ssd_fault_fixture.h"
#include "tests/unit/proto/coded_sample.h"

/* Puts what fits when nothing may be let go. Returns the number of the first that does not. */
static uint32_t fill(struct fixture *f)
{
  uint32_t number = 0;
  kvs_status status;

  f->owner.frozen = true;
  while ((status = put_one(f, number)) == KVS_OK)
    assert_true(++number < CHUNKS);
  assert_int_equal(status, KVS_ERR_FULL);
  return number;
}

static void all_are_there(struct fixture *f, const bool *safe, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    if (safe[i] && f->make) /* how much they have lost is not looked at here */
      assert_int_not_equal(f->owner.handles[i], 0);
    else if (safe[i])
      assert_int_equal(get_number(f, i), KVS_OK);
  assert_int_equal(f->owner.n_given_up, 0);
}

/* Chunks may go again, by the policy, and make room for puts and deletions. */
static void goes_on(struct fixture *f, uint32_t first)
{
  bool full = true; /* until the first chunk goes */

  pthread_mutex_lock(&f->owner.mutex);
  f->owner.frozen = false;
  pthread_mutex_unlock(&f->owner.mutex);
  for (uint32_t i = 0; i < 100 && full; i++)
    full = put_one(f, CHUNKS - 1) != KVS_OK;
  for (uint32_t i = first; i < CHUNKS; i++) {
    assert_int_equal(put_one(f, i), KVS_OK);
    if (i % 4 == 0)
      assert_int_equal(owner_delete(&f->owner, i), KVS_OK);
  }
}

/* Lets go of what lies in a file, but for every third chunk: it is moved when enough went. */
static void file_thin(struct fixture *f, uint32_t file, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++) {
    bool there;

    pthread_mutex_lock(&f->owner.mutex);
    there = i % 3 != 0 && file_of(f, i) == file;
    pthread_mutex_unlock(&f->owner.mutex);
    if (there)
      owner_drop(&f->owner, i, false);
  }
}

static struct fault_image *cut_image;
static _Atomic uint32_t records_until_cut, newest; /* 0: never; the file whose use began last */
static atomic_bool cut_power;

static uint64_t header_sequence(const uint8_t *header)
{
  uint64_t sequence;

  memcpy(&sequence, header + 24, sizeof(sequence));
  return sequence;
}

/* The power goes with some record that is written to the newest file: when all is full, it was empty, and what is written is moved. */
static bool cuts_power(const struct kvi_ssd_io *io)
{
  if (io->kind == KVI_SSD_WRITE && io->at == 0 && header_sequence(io->bytes) != 0)
    newest = io->file;
  if (io->kind == KVI_SSD_WRITE && io->at != 0 && io->file == newest && records_until_cut > 0 &&
      --records_until_cut == 0) {
    cut_image->dead = true;
    cut_power = true;
  }
  return cut_power;
}

/* Files that are used as their headers say. No disk is open over it. */
static uint32_t used_files(const struct fault_image *image)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < FILES; i++)
    n += header_sequence(image->files[i].now) != 0;
  return n;
}

/*
 * The power goes again and again while one file after the other is moved to the last empty one, so that none is free at the start, and what was let go lives again in
 * all of them: nothing is given up, and there is a place to go on with.
 */
static void power_cuts_while_moved(struct fixture *f)
{
  bool safe[CHUNKS] = {false};
  uint32_t n;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  f->image.fails = cuts_power;
  cut_image = &f->image;
  f->owner.gone = &f->image.dead;
  records_until_cut = 0;
  cut_power = false;
  assert_int_equal(fixture_open(f), KVS_OK);
  n = fill(f);
  for (uint32_t round = 0; round < 12; round++) {
    records_until_cut = 1 + round % 5;
    file_thin(f, (newest + 1 + round % (FILES - 1)) % FILES, n);
    for (uint32_t i = 0; i < 60000 && !cut_power; i++)
      usleep(1000);
    assert_true(cut_power);
    pthread_mutex_lock(&f->owner.mutex);
    for (uint32_t i = 0; i < n; i++)
      safe[i] = f->owner.handles[i] != 0;
    pthread_mutex_unlock(&f->owner.mutex);
    fixture_close(f);
    fault_image_crash(&f->image);
    cut_power = false;
    assert_int_equal(used_files(&f->image), FILES);
    assert_int_equal(fixture_open(f), KVS_OK);
    all_are_there(f, safe, n);
    assert_int_not_equal(put_one(f, CHUNKS - 1), KVS_ERR_DEADLINE);
  }
  goes_on(f, n);
  assert_int_equal(f->owner.n_given_up, 0);
}

static void test_power_cut_while_moved(void **state)
{
  power_cuts_while_moved(*state);
}

static struct coded_sample sample;

static void coded_make(struct test_chunk *chunk, uint64_t number)
{
  test_chunk_make(chunk, number, (uint32_t)sample.length, sample.n_segments);
  memcpy(chunk->bytes, sample.payload, sample.length);
  kvi_chunk_table_write(chunk->table, sample.segments, sample.n_segments, kvi_quality(1, 4, KVI_CODING_KVC1));
}

/* The same with chunks that lose a plane when they are moved: the shorter copy is known for one of what it was cut from. */
static void test_power_cut_while_cut(void **state)
{
  struct fixture *f = *state;

  coded_sample_make(&sample, KVI_CODEC_LADDER, 3, 3, 2, 1);
  f->make = coded_make;
  power_cuts_while_moved(f);
  assert_true(f->owner.n_cut > 0);
  coded_sample_free(&sample);
}

/* Deletes what nobody has. KVS_ERR_DEADLINE: that is not safe soon. */
static kvs_status delete_unknown(struct fixture *f, uint32_t number)
{
  struct test_wait wait;
  struct kvi_medium_settle settle = {
      .deadline_ns = kvi_now_ns() + 200 * KVI_NS_PER_MS, .done = test_settle_done, .user = &wait};
  kvs_status status;

  drop_unknown(f, number, 1);
  test_wait_init(&wait);
  status = f->owner.medium->ops->settle(f->owner.medium, &settle);
  return status == KVS_PENDING ? test_wait_for(&wait) : status;
}

/* A full tier of which nothing may be let go takes deletions as long as there is room that nobody needs; then they wait, and nothing is given up for them. */
static void test_deletions_in_a_full_tier(void **state)
{
  struct fixture *f = *state;
  bool safe[CHUNKS] = {false};
  uint32_t n, deleted = 0;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  assert_int_equal(fixture_open(f), KVS_OK);
  n = fill(f);
  assert_int_equal(owner_delete(&f->owner, 5), KVS_OK);
  while (delete_unknown(f, deleted++) == KVS_OK)
    assert_true(deleted < 2 * MIB / 4096);
  for (uint32_t i = 0; i < n; i++)
    safe[i] = i != 5;
  all_are_there(f, safe, n);
  goes_on(f, n);
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  assert_int_equal(f->owner.n_given_up, 0);
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_true(f->owner.handles[5] == 0);
}

/* The empty file is taken away: chunks go until there is another, and what was deleted stays so. */
static void test_the_empty_file_is_taken_away(void **state)
{
  struct fixture *f = *state;
  bool safe[CHUNKS] = {false};
  uint32_t n;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  assert_int_equal(fixture_open(f), KVS_OK);
  n = fill(f);
  assert_int_equal(owner_delete(&f->owner, 5), KVS_OK);
  for (uint32_t i = 0; i < n; i++)
    safe[i] = i != 5;
  fixture_close(f);
  assert_int_equal(used_files(&f->image), FILES - 1);
  assert_int_equal(header_sequence(f->image.files[FILES - 1].now), 0);
  f->config.bytes = (FILES - 1) * MIB;
  assert_int_equal(fixture_open(f), KVS_OK);
  all_are_there(f, safe, n);
  assert_int_equal(put_one(f, CHUNKS - 1), KVS_ERR_FULL);
  assert_int_equal(delete_unknown(f, 0), KVS_ERR_DEADLINE);
  all_are_there(f, safe, n);
  goes_on(f, n);
  assert_int_equal(f->owner.n_given_up, 0);
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_true(f->owner.handles[5] == 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_power_cut_while_moved),
      CASE(test_power_cut_while_cut),
      CASE(test_deletions_in_a_full_tier),
      CASE(test_the_empty_file_is_taken_away),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
