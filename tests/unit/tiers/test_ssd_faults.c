/* The SSD tier over a disk that loses power, or fails: what was safe is there, and nothing is ever wrong. */
#define CHUNKS 400u
#include "medium_owner.h"

#include <errno.h>

#include "ssd_fault_puts.h"

/* What the test knows of a chunk. */
struct truth {
  bool safe[CHUNKS]; /* the tier said so, and has it */
  bool gone[CHUNKS]; /* it was deleted, that was acknowledged, and it was not put since */
};

/* Puts some, and deletes some of those that were put at any time. */
static void load(struct fixture *f, struct truth *truth, uint32_t *next, kvi_rand *chaos)
{
  for (uint32_t i = 0; i < 12; i++, *next = (*next + AT_ONCE) % (CHUNKS - AT_ONCE)) {
    uint32_t number = (uint32_t)kvi_rand_below(chaos, CHUNKS);

    for (uint32_t j = 0; j < AT_ONCE; j++)
      if (truth->gone[*next + j] && kvi_rand_below(chaos, 4) != 0) /* some stay away for long */
        *next = (*next + j + 1) % (CHUNKS - AT_ONCE), j = UINT32_MAX;
    for (uint32_t j = 0; j < AT_ONCE; j++)
      truth->gone[*next + j] = false;
    put_some(f, *next);
    if (kvi_rand_below(chaos, 2) == 0)
      owner_drop(&f->owner, number, false);
    else if (owner_delete(&f->owner, number) == KVS_OK)
      truth->gone[number] = true;
  }
}

/* What is there after a power cut. Returns how many chunks. */
static uint32_t compare(struct fixture *f, const struct truth *truth, uint64_t seed, uint32_t round)
{
  bool sound = !f->image.misdirects; /* a write that went elsewhere may have hit anything */
  bool synced = f->config.durability == KVI_SSD_DURABLE_PUT && sound;
  uint32_t found = 0;

  for (uint32_t i = 0; i < CHUNKS; i++) {
    kvs_status status = get_number(f, i);

    if ((synced && truth->safe[i] && status != KVS_OK) || status == KVS_ERR_INTERNAL ||
        (status == KVS_ERR_CORRUPT && sound && f->config.durability != KVI_SSD_DURABLE_NONE))
      fail_msg("seed %llu, round %u: chunk %u was %s, and is %s", (unsigned long long)seed, round, i,
               truth->safe[i] ? "safe" : "not safe", kvs_status_name(status));
    if (synced && truth->gone[i] && status != KVS_MISS)
      fail_msg("seed %llu, round %u: chunk %u was deleted, and is there", (unsigned long long)seed, round, i);
    found += status == KVS_OK;
  }
  return found;
}

/* Load, a power cut at some operation, and what is there then. */
static void crash_rounds(struct fixture *f, uint32_t rounds, uint64_t seed)
{
  struct truth *truth = calloc(1, sizeof(*truth));
  uint32_t found = 0, next = 0;
  kvi_rand chaos;

  kvi_rand_seed(&chaos, seed + 1);
  kvi_rand_seed(&f->image.rand, seed);
  f->owner.gone = &f->image.dead;
  f->config.discard = seed % 2 == 0;
  assert_int_equal(fixture_open(f), KVS_OK);
  for (uint32_t round = 0; round < rounds; round++) {
    f->image.die_in = 1 + kvi_rand_below(&chaos, 600);
    load(f, truth, &next, &chaos);
    f->image.dead = true; /* it may have had less to do */
    pthread_mutex_lock(&f->owner.mutex);
    for (uint32_t i = 0; i < CHUNKS; i++)
      truth->safe[i] = f->owner.handles[i] != 0;
    pthread_mutex_unlock(&f->owner.mutex);
    fixture_close(f);
    if (f->owner.n_given_up > 0 && !f->image.misdirects)
      fail_msg("seed %llu, round %u: %u chunks were given up", (unsigned long long)seed, round,
               f->owner.n_given_up);
    fault_image_crash(&f->image);
    f->owner.frozen = true; /* evictions from here on are not the crash's */
    if (kvi_rand_below(&chaos, 2) ==
        0) { /* another power cut comes while the tier is started, or right after */
      f->image.die_in = 1 + kvi_rand_below(&chaos, 100);
      (void)fixture_open(f);
      f->image.dead = true;
      fixture_close(f);
      fault_image_crash(&f->image);
    }
    assert_int_equal(fixture_open(f), KVS_OK);
    found += compare(f, truth, seed, round);
    pthread_mutex_lock(&f->owner.mutex);
    f->owner.frozen = false;
    pthread_mutex_unlock(&f->owner.mutex);
  }
  assert_true(found > rounds);
  free(truth);
}

static _Atomic uint32_t n_syncs;

static bool some_syncs(const struct kvi_ssd_io *io)
{
  return io->kind == KVI_SSD_SYNC && n_syncs++ % 5 == 4;
}

static void crashes(void **state, enum kvi_ssd_durability durability, bool misdirects,
                    bool (*fails)(const struct kvi_ssd_io *io))
{
  const char *more = getenv("KVASIR_CRASH_SEEDS");
  uint64_t seeds = more ? strtoull(more, NULL, 10) : 6;

  for (uint64_t seed = 1; seed <= seeds; seed++) {
    struct fixture *f = *state;

    f->config.durability = durability;
    f->image.misdirects = misdirects;
    f->image.fails = fails;
    crash_rounds(f, 10, seed * 1000 + (uint64_t)durability);
    teardown(state);
    setup(state);
  }
}

static void test_power_cut_synced_puts(void **state)
{
  crashes(state, KVI_SSD_DURABLE_PUT, false, NULL);
}

static void test_power_cut_syncs_fail(void **state)
{
  crashes(state, KVI_SSD_DURABLE_PUT, false, some_syncs);
}

static void test_power_cut_synced_files(void **state)
{
  crashes(state, KVI_SSD_DURABLE_SEAL, false, NULL);
}

static void test_power_cut_never_synced(void **state)
{
  crashes(state, KVI_SSD_DURABLE_NONE, false, NULL);
}

static void test_power_cut_misdirected(void **state)
{
  crashes(state, KVI_SSD_DURABLE_PUT, true, NULL);
}

/* One operation after the other fails: the tier goes on, and what it said holds. */
static void errors(void **state, int error)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  for (uint64_t nth = 1; nth < 60; nth += 3) {
    assert_int_equal(fixture_open(f), KVS_OK);
    f->image.error_in = nth;
    f->image.n_errors = 1 + (uint32_t)(nth % 3);
    f->image.error = error;
    put_some(f, (uint32_t)nth);
    put_some(f, (uint32_t)nth + 100);
    f->image.error_in = 0;
    for (uint32_t i = 0; i < CHUNKS; i++) {
      kvs_status status = get_number(f, i);

      assert_true(status == KVS_OK || status == KVS_MISS);
    }
    put_some(f, (uint32_t)nth + 200);
    f->owner.medium->ops->stats(f->owner.medium, &stats);
    assert_int_equal(stats.devices_failed, 0);
    assert_true(stats.puts >= AT_ONCE); /* the tier goes on */
    fixture_close(f);
  }
}

static void test_io_errors(void **state)
{
  errors(state, EIO);
}

static void test_no_space(void **state)
{
  errors(state, ENOSPC);
}

/* Unplugged in the middle: its chunks are given up, requests are refused, nothing hangs. */
static void test_unplugged(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  assert_int_equal(fixture_open(f), KVS_OK);
  put_some(f, 0);
  f->image.dead = true;
  for (uint32_t i = 0; i < 10; i++)
    put_some(f, 50);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.devices_failed, 1);
  assert_int_equal(stats.capacity_bytes, 0);
  for (uint32_t i = 0; i < 10000; i++) {
    pthread_mutex_lock(&f->owner.mutex);
    bool lost = f->owner.n_lost > 0;
    pthread_mutex_unlock(&f->owner.mutex);
    if (lost)
      break;
    usleep(1000);
  }
  assert_int_equal(f->owner.n_lost, AT_ONCE);
}

/* A log file that is used again soon is not punched before. */
static void test_discards(void **state)
{
  struct fixture *f = *state;

  for (int at_once = 0; at_once < 2; at_once++) {
    struct kvi_medium_stats stats;

    f->config.discard_after_ms = at_once ? 0 : 3600000;
    assert_int_equal(fixture_open(f), KVS_OK);
    for (uint32_t i = 0; i < CHUNKS; i++)
      assert_int_equal(put_one(f, i), KVS_OK);
    f->owner.medium->ops->stats(f->owner.medium, &stats);
    assert_true(stats.reclaims > 0);
    fixture_close(f);
    assert_int_equal(f->image.n_discards > 0, at_once);
  }
}

/* ---- deletions, one by one ---- */

static uint64_t reclaims(struct fixture *f)
{
  struct kvi_medium_stats stats;

  f->owner.medium->ops->stats(f->owner.medium, &stats);
  return stats.reclaims;
}

/* Of the file that is freed, after trailer and footer: its deletions, since nothing else of it is wanted. */
static _Atomic uint32_t reads_of_file_1;

static bool third_read_of_file_1(const struct kvi_ssd_io *io)
{
  return io->kind == KVI_SSD_READ && io->file == 1 && ++reads_of_file_1 == 3;
}

/* One read error when a file is freed that says what was deleted, and has nothing else that is needed: it is not freed without its deletions. */
static void test_deletions_not_read_once(void **state)
{
  struct fixture *f = *state;
  uint32_t first, number;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  assert_int_equal(fixture_open(f), KVS_OK);
  f->owner.frozen = true;
  first = put_until_file(f, 1, 1);
  assert_int_equal(file_of(f, 5), 0);
  assert_int_equal(owner_delete(&f->owner, 5), KVS_OK);          /* in file 1, of a chunk in file 0 */
  assert_int_equal(owner_delete(&f->owner, CHUNKS - 1), KVS_OK); /* in the next block, which is read well */
  number = put_until_file(f, first + 1, 2);
  for (uint32_t i = first; i < number; i++)
    owner_drop(&f->owner, i, false);
  reads_of_file_1 = 0;
  f->image.fails = third_read_of_file_1;
  while (reclaims(f) == 0 && number < CHUNKS - 2)
    assert_int_equal(put_one(f, ++number), KVS_OK);
  f->image.fails = NULL;
  assert_true(reads_of_file_1 > 3);
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_true(f->owner.handles[5] == 0);
  assert_true(f->owner.handles[6] != 0);
}

static _Atomic uint32_t walks_of_file_1;

/* None fails; when a file is freed its trailer is read first. */
static bool counts_walks_of_file_1(const struct kvi_ssd_io *io)
{
  walks_of_file_1 += io->kind == KVI_SSD_READ && io->file == 1 && io->at == MIB - 4096;
  return false;
}

/* A file with more deletions that are needed than can wait: it is freed at once, and nothing is given up. */
static void test_more_deletions_than_wait(void **state)
{
  struct fixture *f = *state;
  uint32_t first, number;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  f->config.deletions_max = 1024;
  assert_int_equal(fixture_open(f), KVS_OK);
  f->owner.frozen = true;
  first = put_until_file(f, 1, 1);
  assert_int_equal(owner_delete(&f->owner, 5), KVS_OK);
  for (uint32_t i = 0; i < 8; i++) {
    drop_unknown(f, 500 * i, 500);
    assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  }
  number = put_until_file(f, first + 1, 2);
  for (uint32_t i = first; i < number; i++)
    owner_drop(&f->owner, i, false);
  walks_of_file_1 = 0;
  f->image.fails = counts_walks_of_file_1;
  f->image.slow_syncs = true;
  while (reclaims(f) == 0 && number < CHUNKS - 1)
    assert_int_equal(put_one(f, ++number), KVS_OK);
  f->image.fails = NULL;
  assert_int_equal(walks_of_file_1, 1);
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  assert_int_equal(f->owner.n_lost, 0);
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_true(f->owner.handles[5] == 0);
  assert_true(f->owner.handles[6] != 0);
}

/* A client deletes what nobody has, as fast as it may, from a device that is slow: nothing is given up. */
static void test_flood_of_deletions(void **state)
{
  struct fixture *f = *state;
  uint32_t most = 0;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  f->config.deletions_max = 1024;
  assert_int_equal(fixture_open(f), KVS_OK);
  f->owner.frozen = true;
  put_some(f, 0);
  f->image.delay_ns = KVI_NS_PER_MS;
  for (uint32_t i = 0; i < 10000;) {
    uint32_t waiting = f->owner.medium->ops->drops_waiting(f->owner.medium);

    most = waiting > most ? waiting : most;
    if (waiting > 50)
      assert_int_equal(test_settle(f->owner.medium), KVS_OK);
    else
      drop_unknown(f, i++, 1);
  }
  f->image.delay_ns = 0;
  assert_true(most < 60);
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  assert_int_equal(f->owner.medium->ops->drops_waiting(f->owner.medium), 0);
  assert_int_equal(f->owner.n_lost, 0);
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  for (uint32_t i = 0; i < AT_ONCE; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
}

/* Closed, the device hangs. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static bool passes_the_gate(const struct kvi_ssd_io *io)
{
  (void)io;
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  return false;
}

/* A device that hangs, and deletions that nobody holds back: the directory is emptied, here and after a restart. */
static void test_more_deletions_than_have_room(void **state)
{
  struct fixture *f = *state;
  uint32_t waiting;

  f->config.deletions_max = 1024;
  assert_int_equal(fixture_open(f), KVS_OK);
  put_some(f, 0);
  f->image.fails = passes_the_gate;
  pthread_mutex_lock(&gate);
  drop_unknown(f, 0, 1100);
  waiting = f->owner.medium->ops->drops_waiting(f->owner.medium);
  pthread_mutex_unlock(&gate);
  assert_true(waiting < 50); /* one stands for all before it, but for those that were being written */
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  assert_int_equal(put_one(f, 20), KVS_OK);
  assert_int_equal(f->owner.n_lost, AT_ONCE);
  fixture_close(f);
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_int_equal(f->owner.n_found, 1);
  assert_int_equal(get_number(f, 0), KVS_MISS);
  assert_int_equal(get_number(f, 20), KVS_OK);
}

/* An argument: only tests of this name. */
int main(int argc, char **argv)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      CASE(test_power_cut_synced_puts),
      CASE(test_power_cut_syncs_fail),
      CASE(test_power_cut_synced_files),
      CASE(test_power_cut_never_synced),
      CASE(test_power_cut_misdirected),
      CASE(test_io_errors),
      CASE(test_no_space),
      CASE(test_unplugged),
      CASE(test_discards),
      CASE(test_deletions_not_read_once),
      CASE(test_more_deletions_than_wait),
      CASE(test_flood_of_deletions),
      CASE(test_more_deletions_than_have_room),
  };

  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
