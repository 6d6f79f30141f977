/* The tier of test faults: what it does to a medium: each operation ends once, late, failed or damaged as it was told. */
#define CHUNKS 200u
#include "medium_owner.h"

#include <stdatomic.h>

#include "tiers/faulty/faulty.h"
#include "tiers/ssd/ssd.h"

#define MIB       (1u << 20)
#define CHUNK_MAX (100u << 10)
#define LENGTH    5000u

/* ---- around the SSD tier ---- */

struct fixture {
  char folder[64];
  struct owner owner; /* its medium is the outer one */
};

static int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof(*f));
  struct kvi_medium *ssd;

  test_folder_make(f->folder);
  const char *paths[] = {f->folder};
  struct kvi_ssd_config config = {.paths = paths,
                                  .n_paths = 1,
                                  .bytes = 8 * MIB,
                                  .file_bytes = MIB,
                                  .chunk_bytes_max = CHUNK_MAX,
                                  .ring = true};
  pthread_mutex_init(&f->owner.mutex, NULL);
  assert_int_equal(kvi_ssd_create(&config, &ssd), KVS_OK);
  assert_int_equal(kvi_faulty_create(ssd, "off", &f->owner.medium), KVS_OK);
  assert_int_equal(owner_recover(&f->owner), KVS_OK);
  *state = f;
  return 0;
}

static int teardown(void **state)
{
  struct fixture *f = *state;

  if (f->owner.medium)
    f->owner.medium->ops->destroy(f->owner.medium);
  test_folder_remove(f->folder);
  free(f);
  return 0;
}

static kvs_status put_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, LENGTH, 3);
  status = test_put(f->owner.medium, &chunk, &f->owner.handles[number]);
  test_chunk_free(&chunk);
  return status;
}

static kvs_status get_number(struct fixture *f, uint32_t number)
{
  struct test_chunk chunk;
  kvs_status status;

  test_chunk_make(&chunk, number, LENGTH, 3);
  status = test_get(f->owner.medium, &chunk, f->owner.handles[number]);
  test_chunk_free(&chunk);
  return status;
}

static void rules(struct fixture *f, const char *text)
{
  assert_int_equal(kvi_faulty_set(f->owner.medium, text), KVS_OK);
}

static struct kvi_faulty_stats counted(struct fixture *f)
{
  struct kvi_faulty_stats stats;

  kvi_faulty_stats(f->owner.medium, &stats);
  return stats;
}

static void test_off_changes_nothing(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_attr attr;

  f->owner.medium->ops->attr(f->owner.medium, &attr);
  assert_string_equal(attr.name, "ssd");
  assert_true(attr.handles);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(put_number(f, i), KVS_OK);
  for (uint32_t i = 0; i < 10; i++)
    assert_int_equal(get_number(f, i), KVS_OK);
  assert_int_equal(counted(f).done[KVI_FAULTY_ERROR] + counted(f).done[KVI_FAULTY_DELAY], 0);
  assert_int_equal(kvi_faulty_set(f->owner.medium, "nonsense"), KVS_ERR_CONFIG);
  assert_int_equal(counted(f).changes, 1);
}

static void test_errors(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "error:read:first=2,error:write:full:first=1,error:write:first=2");
  assert_int_equal(get_number(f, 1), KVS_ERR_IO);
  assert_int_equal(get_number(f, 1), KVS_ERR_IO);
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_int_equal(put_number(f, 2), KVS_ERR_FULL);
  assert_int_equal(put_number(f, 2), KVS_ERR_IO);
  assert_int_equal(put_number(f, 2), KVS_OK);
  assert_int_equal(counted(f).done[KVI_FAULTY_ERROR], 4);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.get_errors, 2);
  assert_int_equal(stats.put_full, 1);
  assert_int_equal(stats.put_errors, 1);
}

static void test_other_errors(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "error:read:miss:at=1,error:read:busy:at=2,error:write:busy:first=1,delay:write:1ms:at=2,error:"
           "write:busy:at=2");
  assert_int_equal(get_number(f, 1), KVS_MISS);
  assert_int_equal(get_number(f, 1), KVS_ERR_BUSY); /* refused at once */
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_int_equal(put_number(f, 2), KVS_ERR_BUSY);
  assert_int_equal(put_number(f, 2), KVS_ERR_BUSY); /* later */
  assert_int_equal(put_number(f, 2), KVS_OK);
  assert_int_equal(counted(f).held, 0);
}

static void test_delays(void **state)
{
  struct fixture *f = *state;
  uint64_t began;

  rules(f, "delay:all:50ms");
  began = kvi_now_ns();
  assert_int_equal(put_number(f, 1), KVS_OK);
  assert_true(kvi_now_ns() - began >= 50 * KVI_NS_PER_MS);
  began = kvi_now_ns();
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_true(kvi_now_ns() - began >= 50 * KVI_NS_PER_MS);
  assert_int_equal(counted(f).done[KVI_FAULTY_DELAY], 2);
}

static void test_a_deadline_comes_before_the_delay_ends(void **state)
{
  struct fixture *f = *state;
  struct test_chunk chunk;
  struct test_wait put_wait, get_wait;
  struct kvi_medium_put put;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "delay:all:1h");
  test_chunk_make(&chunk, 1, LENGTH, 3);
  struct kvi_medium_get get = {.identity = test_identity(&chunk),
                               .handle = f->owner.handles[1],
                               .deadline_ns = kvi_now_ns() + 30 * KVI_NS_PER_MS,
                               .land = test_land,
                               .done = test_get_done,
                               .user = &get_wait};
  test_wait_init(&get_wait);
  test_wait_init(&put_wait);
  test_put_fill(&put, &chunk, &put_wait);
  put.deadline_ns = kvi_now_ns() + 20 * KVI_NS_PER_MS;
  assert_int_equal(f->owner.medium->ops->get(f->owner.medium, &get), KVS_OK);
  assert_int_equal(f->owner.medium->ops->put(f->owner.medium, &put), KVS_OK);
  assert_int_equal(test_wait_for(&put_wait), KVS_ERR_DEADLINE);
  assert_int_equal(test_wait_for(&get_wait), KVS_ERR_DEADLINE);
  assert_null(get_wait.landed);
  assert_int_equal(put.handle, 0);
  test_chunk_free(&chunk);
}

static void test_a_chunk_dropped_for_good_is_not_written_later(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium = f->owner.medium;
  struct test_chunk chunks[3];
  struct test_wait waits[3];
  struct kvi_medium_put puts[3];
  struct kvi_medium_identity identity;

  rules(f, "delay:write:1h:at=1,delay:write:1h:at=2,delay:write:300ms:at=3");
  for (uint32_t i = 0; i < 3; i++) {
    test_chunk_make(&chunks[i], i, LENGTH, 3);
    test_wait_init(&waits[i]);
    test_put_fill(&puts[i], &chunks[i], &waits[i]);
    puts[i].deadline_ns = kvi_now_ns() + 7200 * KVI_NS_PER_S;
    assert_int_equal(medium->ops->put(medium, &puts[i]), KVS_OK);
  }
  identity = test_identity(&chunks[1]);
  medium->ops->drop(medium, &identity, 0, false); /* others keep it: nothing happens */
  assert_int_equal(counted(f).held, 3);
  medium->ops->drop(medium, &identity, 0, true);
  assert_int_equal(test_wait_for(&waits[1]), KVS_ERR_CANCELED);
  assert_int_equal(puts[1].handle, 0);
  assert_int_equal(test_wait_for(&waits[2]), KVS_OK); /* another chunk's goes its way */
  assert_int_equal(counted(f).held, 1);
  identity = test_identity(&chunks[0]);
  medium->ops->drop(medium, &identity, 0, true);
  assert_int_equal(test_wait_for(&waits[0]), KVS_ERR_CANCELED);
  for (uint32_t i = 0; i < 3; i++)
    test_chunk_free(&chunks[i]);
}

static void test_damage(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_stats stats;

  assert_int_equal(put_number(f, 1), KVS_OK);
  rules(f, "corrupt:read:first=1");
  assert_int_equal(get_number(f, 1), KVS_ERR_CORRUPT);
  assert_int_equal(get_number(f, 1), KVS_OK);
  f->owner.medium->ops->stats(f->owner.medium, &stats);
  assert_int_equal(stats.corrupt, 1);
  rules(f, "corrupt:read:silent:first=1");
  assert_int_equal(get_number(f, 1), KVS_ERR_INTERNAL); /* wrong bytes, and no word of it */
  assert_int_equal(get_number(f, 1), KVS_OK);
  rules(f, "corrupt:write:first=1");
  assert_int_equal(put_number(f, 2), KVS_ERR_CORRUPT); /* this tier compares */
  assert_int_equal(put_number(f, 2), KVS_OK);
  assert_int_equal(get_number(f, 2), KVS_OK);
  assert_int_equal(counted(f).done[KVI_FAULTY_CORRUPT], 3);
}

static void test_one_around_another(void **state)
{
  struct fixture *f = *state;

  assert_int_equal(kvi_faulty_create(f->owner.medium, "delay:all:5ms,error:read:at=2", &f->owner.medium),
                   KVS_OK);
  assert_int_equal(put_number(f, 1), KVS_OK);
  assert_int_equal(get_number(f, 1), KVS_OK);
  assert_int_equal(get_number(f, 1), KVS_ERR_IO);
  assert_int_equal(get_number(f, 1), KVS_OK);
}

/* ---- many at a time, and the end ---- */

#define MANY (KVI_FAULTY_HELD_MAX + 100u)

struct many {
  _Atomic uint32_t ended[MANY];
  _Atomic uint32_t n, statuses[3]; /* OK, CLOSED, else */
};

struct one {
  struct kvi_medium_get get;
  struct many *many;
  uint8_t bytes[LENGTH];
  struct kvi_iov iov;
};

static kvs_status one_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct one *one = get->user;

  one->iov = (struct kvi_iov){.base = one->bytes, .length = table->length};
  *iov_p = &one->iov;
  *n_iov_p = 1;
  return KVS_OK;
}

static struct one *ones;

static void one_done(struct kvi_medium_get *get, kvs_status status)
{
  struct one *one = get->user;

  atomic_fetch_add(&one->many->ended[one - ones], 1);
  atomic_fetch_add(&one->many->statuses[status == KVS_OK ? 0 : status == KVS_ERR_CLOSED ? 1 : 2], 1);
  atomic_fetch_add(&one->many->n, 1);
}

static void test_each_ends_once_and_the_bound_holds(void **state)
{
  struct fixture *f = *state;
  struct many *many = calloc(1, sizeof(*many));
  struct test_chunk chunk;
  uint32_t accepted = 0;

  assert_int_equal(put_number(f, 1), KVS_OK);
  test_chunk_make(&chunk, 1, LENGTH, 3);
  ones = calloc(MANY, sizeof(*ones));
  rules(f, "delay:read:1h:every=2,delay:read:10m,corrupt:read:0.1");
  for (uint32_t i = 0; i < MANY; i++) {
    kvs_status status;

    ones[i].many = many;
    ones[i].get = (struct kvi_medium_get){.identity = test_identity(&chunk),
                                          .handle = f->owner.handles[1],
                                          .deadline_ns = kvi_now_ns() + 3600 * KVI_NS_PER_S,
                                          .land = one_land,
                                          .done = one_done,
                                          .user = &ones[i]};
    status = f->owner.medium->ops->get(f->owner.medium, &ones[i].get);
    accepted += status == KVS_OK;
    assert_int_equal(status, i < KVI_FAULTY_HELD_MAX ? KVS_OK : KVS_ERR_BUSY);
  }
  assert_int_equal(accepted, KVI_FAULTY_HELD_MAX);
  assert_int_equal(counted(f).held, KVI_FAULTY_HELD_MAX);
  f->owner.medium->ops->destroy(f->owner.medium);
  f->owner.medium = NULL;
  assert_int_equal(atomic_load(&many->n), accepted);
  assert_int_equal(atomic_load(&many->statuses[1]), accepted);
  for (uint32_t i = 0; i < MANY; i++)
    assert_int_equal(atomic_load(&many->ended[i]), i < accepted);
  test_chunk_free(&chunk);
  free(ones);
  free(many);
}

/* Closed while operations are kept back, on their way to the inner medium, and in it. */
static void test_closed_in_the_middle(void **state)
{
  struct fixture *f = *state;
  struct many *many = calloc(1, sizeof(*many));
  struct test_chunk chunk;
  uint32_t accepted = 0;

  assert_int_equal(put_number(f, 1), KVS_OK);
  test_chunk_make(&chunk, 1, LENGTH, 3);
  ones = calloc(MANY, sizeof(*ones));
  rules(f, "delay:read:1ms:0.3,delay:read:3ms:0.3,corrupt:read:silent:0.1,error:read:0.1");
  for (uint32_t i = 0; i < 500; i++) {
    ones[i].many = many;
    ones[i].get = (struct kvi_medium_get){.identity = test_identity(&chunk),
                                          .handle = f->owner.handles[1],
                                          .deadline_ns = kvi_now_ns() + 60 * KVI_NS_PER_S,
                                          .land = one_land,
                                          .done = one_done,
                                          .user = &ones[i]};
    accepted += f->owner.medium->ops->get(f->owner.medium, &ones[i].get) == KVS_OK;
  }
  f->owner.medium->ops->destroy(f->owner.medium);
  f->owner.medium = NULL;
  assert_int_equal(atomic_load(&many->n), accepted);
  for (uint32_t i = 0; i < 500; i++)
    assert_true(atomic_load(&many->ended[i]) <= 1);
  test_chunk_free(&chunk);
  free(ones);
  free(many);
}

static void test_wrong_rules_take_the_inner_medium_too(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium *medium = f->owner.medium;

  assert_int_equal(kvi_faulty_create(medium, "nonsense", &f->owner.medium), KVS_ERR_CONFIG);
  assert_null(f->owner.medium); /* a leak would be told by the address sanitizer */
}

/* ---- a store over it: two tenants have the same keys, and tiers that fail and damage do not mix them up ---- */

static void filled(struct kvi_get_wait *wait, kvs_status status, uint32_t cause)
{
  (void)cause;
  test_wait_end(wait->user, status);
}

/* As testing_get, through the tier below. */
static kvs_status get_through(struct kvi_store *store, const char *tenant, const uint8_t *space,
                              const uint8_t *key, uint64_t seed)
{
  struct kvi_source source;
  struct test_wait ended;
  struct kvi_get_wait wait = {.done = filled, .user = &ended};
  uint32_t cause;
  kvs_status status;

  test_wait_init(&ended);
  status = kvi_store_get_open(store, tenant, space, key, KEY_BYTES, &wait, &source, &cause);
  if (status == KVS_PENDING) {
    status = test_wait_for(&ended);
    source = wait.source;
  }
  if (status != KVS_OK)
    return status;
  status = testing_matches(&source, seed) ? KVS_OK : KVS_ERR_CHECKSUM;
  kvi_store_get_close(store, &source);
  return status;
}

static void test_tenants_are_apart(void **state)
{
  static const char *const tenants[] = {"one", "two"};
  struct fixture *f = *state;
  kvs_space_desc desc = testing_space("tenants", KEY_BYTES);
  struct kvi_medium *medium = f->owner.medium;
  uint8_t space[KVS_DIGEST_SIZE], key[KEY_BYTES];
  uint32_t hits = 0, wrong = 0;
  struct kvi_store *store;

  medium->ops->destroy(medium); /* the store recovers it itself */
  f->owner.medium = NULL;
  const char *paths[] = {f->folder};
  struct kvi_ssd_config ssd = {
      .paths = paths, .n_paths = 1, .bytes = 8 * MIB, .file_bytes = MIB, .chunk_bytes_max = CHUNK_MAX};
  struct kvi_store_config config = {.dram_bytes = 1 << 20, .chunk_bytes_max = CHUNK_MAX};
  assert_int_equal(kvi_ssd_create(&ssd, &medium), KVS_OK);
  assert_int_equal(kvi_faulty_create(medium, "error:all:0.1,delay:all:1ms:0.1,error:read:miss:0.05", &medium),
                   KVS_OK);
  config.medium = medium;
  assert_int_equal(kvi_store_open(&config, &store), KVS_OK);
  for (int t = 0; t < 2; t++)
    testing_space_open(store, tenants[t], &desc, space);
  for (uint32_t round = 0; round < 4; round++) {
    if (round == 3)
      assert_int_equal(kvi_faulty_set(medium, "corrupt:read:silent:0.5"), KVS_OK);
    for (uint32_t i = 0; i < 120; i++) /* 2.4 MB: memory holds a part */
      for (int t = 0; t < 2; t++) {
        testing_key(i, key, KEY_BYTES);
        (void)testing_put(store, tenants[t], space, key, KEY_BYTES, NULL, 0, 10000, 2 * i + (uint64_t)t);
      }
    for (uint32_t i = 0; i < 120; i++)
      for (int t = 0; t < 2; t++) {
        testing_key(i, key, KEY_BYTES);
        kvs_status status = get_through(store, tenants[t], space, key, 2 * i + (uint64_t)t);

        if (status == KVS_ERR_CHECKSUM) /* damaged, but not the other's */
          assert_int_not_equal(get_through(store, tenants[t], space, key, 2 * i + (uint64_t)(1 - t)), KVS_OK);
        hits += status == KVS_OK;
        wrong += status == KVS_ERR_CHECKSUM;
        if (round < 3)
          assert_int_not_equal(status, KVS_ERR_CHECKSUM);
      }
  }
  assert_true(hits > 100);
  assert_true(wrong > 0); /* silent damage is for the reader's own checksum to find */
  kvi_store_close(store);
}

/* ---- look-ups: an inner medium that says yes to everything ---- */

static kvs_status yes_lookup(struct kvi_medium *medium, struct kvi_medium_lookup *lookup)
{
  (void)medium;
  memset(lookup->present, 0xff, (lookup->n_keys + 7) / 8);
  lookup->done(lookup, KVS_OK);
  return KVS_OK;
}

static void look_done(struct kvi_medium_lookup *lookup, kvs_status status)
{
  test_wait_end(lookup->user, status);
}

static void test_lookups(void **state)
{
  static struct kvi_medium_ops ops = {.lookup = yes_lookup};
  static const kvs_status wanted[] = {KVS_ERR_IO, KVS_OK, KVS_ERR_DEADLINE, KVS_OK};
  struct kvi_medium yes = {.ops = &ops}, *medium;

  (void)state;
  kvi_medium_ops_complete(&ops);
  assert_int_equal(
      kvi_faulty_create(&yes, "error:lookup:at=1,delay:lookup:5ms:at=2,delay:lookup:1h:at=3", &medium),
      KVS_OK);
  for (size_t i = 0; i < 4; i++) {
    uint8_t present = 0;
    struct test_wait wait;
    struct kvi_medium_lookup lookup = {.n_keys = 3,
                                       .present = &present,
                                       .deadline_ns = kvi_now_ns() + (i == 2 ? 1 : 60000) * KVI_NS_PER_MS,
                                       .done = look_done,
                                       .user = &wait};

    test_wait_init(&wait);
    assert_int_equal(medium->ops->lookup(medium, &lookup), KVS_OK);
    assert_int_equal(test_wait_for(&wait), wanted[i]);
    assert_int_equal(present, wanted[i] == KVS_OK ? 0xff : 0);
  }
  medium->ops->destroy(medium);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_off_changes_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_other_errors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_delays, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_deadline_comes_before_the_delay_ends, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_chunk_dropped_for_good_is_not_written_later, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
      cmocka_unit_test_setup_teardown(test_one_around_another, setup, teardown),
      cmocka_unit_test_setup_teardown(test_each_ends_once_and_the_bound_holds, setup, teardown),
      cmocka_unit_test_setup_teardown(test_closed_in_the_middle, setup, teardown),
      cmocka_unit_test_setup_teardown(test_wrong_rules_take_the_inner_medium_too, setup, teardown),
      cmocka_unit_test_setup_teardown(test_tenants_are_apart, setup, teardown),
      cmocka_unit_test(test_lookups),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
