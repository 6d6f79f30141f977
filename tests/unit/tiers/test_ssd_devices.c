/* The SSD tier over two directories of which one fails, and over a device with less room than is configured. */
#define CHUNKS 400u
#include "medium_owner.h"

#include "ssd_fault_fixture.h"

/* ---- two directories ---- */

struct two {
  struct fixture f; /* its image: the first directory's */
  struct fault_image other;
};

static kvs_status two_open(struct two *two, bool first_is_there)
{
  static const char *const paths[] = {"first", "second"};
  struct kvi_ssd_disk *disks[] = {first_is_there ? fault_disk_open(&two->f.image) : NULL,
                                  fault_disk_open(&two->other)};
  struct fixture *f = &two->f;

  f->config.paths = paths;
  f->config.n_paths = 2;
  f->config.file_bytes = MIB;
  f->config.chunk_bytes_max = CHUNK_MAX;
  f->config.bytes = 2 * FILES * MIB;
  f->image.file_bytes = two->other.file_bytes = MIB;
  memset(f->owner.handles, 0, sizeof(f->owner.handles));
  f->owner.n_found = 0;
  assert_int_equal(kvi_ssd_create_over(&f->config, disks, &f->owner.medium), KVS_OK);
  return owner_recover(&f->owner);
}

static int two_setup(void **state)
{
  struct two *two = calloc(1, sizeof(*two));

  pthread_mutex_init(&two->f.owner.mutex, NULL);
  kvi_rand_seed(&two->f.image.rand, 1);
  kvi_rand_seed(&two->other.rand, 2);
  *state = two;
  return 0;
}

static int two_teardown(void **state)
{
  struct two *two = *state;

  if (two->f.owner.medium)
    fixture_close(&two->f);
  fault_image_free(&two->other);
  return teardown(state);
}

static bool in_first(const struct fixture *f, uint32_t number)
{
  return f->owner.handles[number] >> 32 < (uint64_t)FILES * (MIB / 4096);
}

static void devices_are(struct fixture *f, uint64_t devices, uint64_t failed)
{
  f->owner.medium->ops->stats(f->owner.medium, &f->stats);
  assert_int_equal(f->stats.devices, devices);
  assert_int_equal(f->stats.devices_failed, failed);
}

/* Puts until both directories have some. Returns how many, from number 0 on. */
static uint32_t both_fill(struct fixture *f)
{
  uint32_t n = 0, in[2] = {0};

  while (n < 20 || in[0] < 5 || in[1] < 5) {
    assert_int_equal(put_one(f, n), KVS_OK);
    in[in_first(f, n++)]++;
    assert_true(n < CHUNKS / 2);
  }
  return n;
}

/* One device dies: what it holds is given up, the other one serves, and takes what is new. After it came back all is there. */
static void test_one_of_two_dies(void **state)
{
  struct two *two = *state;
  struct fixture *f = &two->f;
  uint64_t until = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S;
  bool was_first[CHUNKS] = {false};
  uint32_t n, number;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  assert_int_equal(two_open(two, true), KVS_OK);
  f->owner.frozen = true;
  n = number = both_fill(f);
  for (uint32_t i = 0; i < n; i++)
    was_first[i] = in_first(f, i);
  f->image.dead = true;
  for (f->stats.devices_failed = 0; f->stats.devices_failed == 0 && kvi_now_ns() < until;) {
    (void)put_one(f, number); /* some fail, until the directory is out */
    number = number + 1 < CHUNKS - 10 ? number + 1 : n;
    f->owner.medium->ops->stats(f->owner.medium, &f->stats);
  }
  devices_are(f, 2, 1);
  for (uint32_t i = CHUNKS - 10; i < CHUNKS; i++) {
    assert_int_equal(put_one(f, i), KVS_OK);
    assert_int_equal(get_number(f, i), KVS_OK);
  }
  for (uint32_t i = 0; i < n; i++) {
    kvs_status status = get_number(f, i);

    assert_true(status == KVS_OK || (was_first[i] && (status == KVS_MISS || status == KVS_ERR_IO)));
  }
  assert_int_equal(owner_delete(&f->owner, CHUNKS - 1), KVS_ERR_IO); /* the other one may have it too */
  fixture_close(f);
  fault_image_crash(&f->image);
  assert_int_equal(two_open(two, true), KVS_OK);
  devices_are(f, 2, 0);
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
}

/* One is not there at the start. */
static void test_one_of_two_is_not_there(void **state)
{
  struct two *two = *state;
  struct fixture *f = &two->f;

  assert_int_equal(two_open(two, false), KVS_OK);
  devices_are(f, 2, 1);
  for (uint32_t i = 0; i < 10; i++) {
    assert_int_equal(put_one(f, i), KVS_OK);
    assert_int_equal(get_number(f, i), KVS_OK);
  }
  assert_int_equal(owner_delete(&f->owner, 1), KVS_ERR_IO);
}

/* ---- less room than is configured ---- */

static void test_few_files(void **state)
{
  struct fixture *f = *state;

  f->image.files_max = 5;
  assert_int_equal(fixture_open(f), KVS_OK);
  devices_are(f, 1, 0);
  assert_int_equal(f->stats.capacity_bytes, 5 * MIB);
  for (uint32_t i = 0; i < 150; i++)
    assert_int_equal(put_one(f, i), KVS_OK);
  assert_int_equal(get_number(f, 149), KVS_OK);
}

/* Too few to work with: the directory is out, and the tier refuses. */
static void test_too_few_files(void **state)
{
  struct fixture *f = *state;

  f->image.files_max = KVI_SSD_FILES_MIN - 1;
  assert_int_equal(fixture_open(f), KVS_OK);
  devices_are(f, 1, 1);
  assert_int_equal(put_one(f, 0), KVS_ERR_IO);
  assert_int_equal(f->owner.n_found, 0);
}

int main(void)
{
#define CASE(test)     cmocka_unit_test_setup_teardown(test, setup, teardown)
#define TWO_CASE(test) cmocka_unit_test_setup_teardown(test, two_setup, two_teardown)
  const struct CMUnitTest tests[] = {
      TWO_CASE(test_one_of_two_dies),
      TWO_CASE(test_one_of_two_is_not_there),
      CASE(test_few_files),
      CASE(test_too_few_files),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
