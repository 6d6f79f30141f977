/* What each tenant has in the tier that nodes share: what a node has written counts until its time there is over, a bound is not passed, and nobody's bytes are another's. */
#include "tenants_testing.h"

#include "base/rand.h"
#include "tiers/shared_quota.h"

#define TTL_MS 62000u /* a step is a second */
#define BOUND  1000u

static uint64_t now_ns;

static uint64_t clock_now(const void *ctx)
{
  (void)ctx;
  return now_ns;
}

static void begin(struct fixture *f)
{
  struct kvi_tenant_config bounded = {.name = A, .shared_bytes = BOUND};

  *f = (struct fixture){0};
  fixture_open(f, (struct kvi_store_config){.dram_bytes = 16 * ROOM}, 0, 0);
  now_ns = 5000 * KVI_NS_PER_S;
  kvi_shared_quota_begin(f->store, TTL_MS, clock_now, NULL);
  kvi_store_tenant_set(f->store, &bounded);
}

static void end(struct fixture *f)
{
  kvi_shared_quota_end(f->store);
  kvi_store_close(f->store);
}

/* Written now, and there for so many seconds. Returns until when. */
static uint64_t write_for(struct fixture *f, const char *tenant, uint64_t bytes, uint64_t seconds)
{
  uint64_t until = now_ns + seconds * KVI_NS_PER_S;

  assert_true(kvi_shared_quota_take(f->store, tenant, f->space, bytes));
  kvi_shared_quota_give(f->store, tenant, f->space, bytes);
  kvi_shared_quota_move(f->store, tenant, f->space, bytes, 0, until);
  return until;
}

static void a_bound_is_not_passed(void **state)
{
  struct fixture f;

  (void)state;
  begin(&f);
  (void)write_for(&f, A, 600, 10);
  assert_true(kvi_shared_quota_take(f.store, A, f.space, 400)); /* on its way: it counts */
  assert_false(kvi_shared_quota_take(f.store, A, f.space, 1));
  assert_int_equal(info_of(&f, A).shared_bytes, BOUND);
  kvi_shared_quota_give(f.store, A, f.space, 400); /* it came to nothing */
  (void)write_for(&f, A, 400, 20);
  assert_false(kvi_shared_quota_take(f.store, A, f.space, 1));
  assert_true(kvi_shared_quota_take(f.store, A, f.space, 0)); /* in the place of what is there */
  kvi_shared_quota_give(f.store, A, f.space, 0);
  assert_int_equal(info_of(&f, A).shared_refused, 2);
  assert_int_equal(info_of(&f, A).shared_max, BOUND);
  (void)write_for(&f, B, 100 * BOUND, 20); /* it has none */
  assert_int_equal(info_of(&f, B).shared_bytes, 100 * BOUND);
  assert_int_equal(info_of(&f, B).shared_refused, 0);
  kvi_store_tenant_remove(f.store, B);
  assert_false(kvi_shared_quota_take(f.store, B, f.space, 2));
  end(&f);
}

/* Not before its time is over, and within a step of it. */
static void time_gives_room(void **state)
{
  struct fixture f;

  (void)state;
  begin(&f);
  (void)write_for(&f, A, 600, 10);
  (void)write_for(&f, A, 400, 62);
  now_ns += 9 * KVI_NS_PER_S;
  assert_int_equal(info_of(&f, A).shared_bytes, BOUND);
  assert_false(kvi_shared_quota_take(f.store, A, f.space, 1));
  now_ns += 2 * KVI_NS_PER_S + KVI_NS_PER_S / 100;
  assert_int_equal(info_of(&f, A).shared_bytes, 400);
  now_ns += 50 * KVI_NS_PER_S;
  assert_int_equal(info_of(&f, A).shared_bytes, 400);
  now_ns += 2 * KVI_NS_PER_S;
  assert_int_equal(info_of(&f, A).shared_bytes, 0);
  (void)write_for(&f, A, BOUND, 62);
  now_ns += 100000 * KVI_NS_PER_S; /* the ring goes round many times */
  assert_int_equal(info_of(&f, A).shared_bytes, 0);
  end(&f);
}

/* A use gives it time, a removal takes it; what is over already is no more over by that. */
static void times_change(void **state)
{
  struct fixture f;
  uint64_t first, second, later;

  (void)state;
  begin(&f);
  first = write_for(&f, A, 600, 10);
  second = write_for(&f, A, 300, 10);
  now_ns += 5 * KVI_NS_PER_S;
  later = now_ns + 60 * KVI_NS_PER_S;
  kvi_shared_quota_move(f.store, A, f.space, 600, first, later);
  assert_int_equal(info_of(&f, A).shared_bytes, 900);
  now_ns += 10 * KVI_NS_PER_S;
  assert_int_equal(info_of(&f, A).shared_bytes, 600);
  kvi_shared_quota_move(f.store, A, f.space, 300, second, 0);
  assert_int_equal(info_of(&f, A).shared_bytes, 600);
  kvi_shared_quota_move(f.store, A, f.space, 700, later,
                        0); /* more than there is: what a mistaken record would say */
  assert_int_equal(info_of(&f, A).shared_bytes, 0);
  kvi_shared_quota_move(f.store, A, f.space, 5, 0, 1); /* its time is over as it is told */
  assert_int_equal(info_of(&f, A).shared_bytes, 0);
  end(&f);
}

/* Whatever happens, the sum is that of what is there, as a list says, but for one step. */
static void as_a_list_says(void **state)
{
  enum { N = 200 };
  struct {
    uint64_t bytes, until;
  } there[N] = {{0, 0}};
  uint64_t seed = 11;
  struct fixture f;

  (void)state;
  begin(&f);
  for (uint32_t round = 0; round < 20000; round++) {
    uint64_t random = kvi_splitmix64(&seed), least = 0, most = 0, has;
    uint32_t i = (uint32_t)(random % N);

    now_ns += random % 3 * (KVI_NS_PER_S / 7);
    kvi_shared_quota_move(f.store, B, f.space, there[i].bytes, there[i].until, 0);
    there[i].bytes = random >> 20 & 1023;
    there[i].until = random >> 40 & 1 ? now_ns + (random >> 41) % TTL_MS * KVI_NS_PER_MS : 0;
    kvi_shared_quota_move(f.store, B, f.space, there[i].bytes, 0, there[i].until);
    for (uint32_t n = 0; n < N; n++) {
      least += there[n].until > now_ns ? there[n].bytes : 0;
      most += there[n].until + KVI_NS_PER_S + KVI_NS_PER_MS > now_ns ? there[n].bytes : 0;
    }
    has = info_of(&f, B).shared_bytes;
    assert_in_range(has, least, most);
  }
  end(&f);
}

/* Without a time nothing is counted, and without tenants there is nobody. */
static void nothing_without_a_time(void **state)
{
  struct fixture f = {0};
  uint8_t space[KVS_DIGEST_SIZE] = {0};
  struct kvi_store_config plain = {.dram_bytes = 16 * ROOM};

  (void)state;
  fixture_open(&f, (struct kvi_store_config){.dram_bytes = 16 * ROOM}, 0, 0);
  kvi_store_tenant_remove(f.store, A);
  assert_true(kvi_shared_quota_take(f.store, A, f.space, 100));
  kvi_shared_quota_begin(f.store, 0, clock_now, NULL);
  assert_true(kvi_shared_quota_take(f.store, A, f.space, 100));
  assert_int_equal(info_of(&f, A).shared_bytes, 0);
  end(&f);
  assert_int_equal(kvi_store_open(&plain, &f.store), KVS_OK);
  kvi_shared_quota_begin(f.store, TTL_MS, clock_now, NULL);
  assert_true(kvi_shared_quota_take(f.store, A, space, 100));
  kvi_shared_quota_give(f.store, A, space, 100);
  kvi_shared_quota_move(f.store, A, space, 100, 0, UINT64_MAX);
  end(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_bound_is_not_passed),
                                     cmocka_unit_test(time_gives_room), cmocka_unit_test(times_change),
                                     cmocka_unit_test(as_a_list_says),
                                     cmocka_unit_test(nothing_without_a_time)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
