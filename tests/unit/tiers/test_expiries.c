/* Until when chunks live in a tier that forgets by itself: the last that was told of each, in memory that does not grow; of those that share a set the one goes whose time is over first. */
#include "testing.h"

#include "base/rand.h"
#include "tiers/expiries.h"

#define BEGUN UINT64_C(123456789000)
#define TICK  (UINT64_C(1) << 26) /* to which times are kept */
#define WAYS  8u

static struct kvi_expiries *make(uint32_t chunks)
{
  struct kvi_expiries *expiries;

  assert_int_equal(kvi_expiries_create(chunks, BEGUN, &expiries), KVS_OK);
  return expiries;
}

/* All hashes below 2^32 are in the first set. */
static void note(struct kvi_expiries *expiries, uint64_t hash, uint64_t tick, uint32_t bytes)
{
  struct kvi_expiry expiry = {.until_ns = BEGUN + tick * TICK + 5, .bytes = bytes};

  kvi_expiries_note(expiries, hash, &expiry);
}

/* bytes 0: it is not known. */
static void expect(const struct kvi_expiries *expiries, uint64_t hash, uint64_t tick, uint32_t bytes)
{
  struct kvi_expiry expiry;

  assert_int_equal(kvi_expiries_find(expiries, hash, &expiry), bytes > 0);
  if (bytes == 0)
    return;
  assert_int_equal(expiry.until_ns, BEGUN + tick * TICK);
  assert_int_equal(expiry.bytes, bytes);
}

static void the_last_that_was_told(void **state)
{
  struct kvi_expiries *expiries = make(100);

  (void)state;
  expect(expiries, 0, 0, 0); /* an empty record is nobody's */
  expect(expiries, 1, 0, 0);
  note(expiries, 0, 7, 100);
  expect(expiries, 0, 7, 100);
  note(expiries, 3, 10, 200);
  note(expiries, 3, 5, 300);
  expect(expiries, 3, 5, 300);
  note(expiries, 3 + (UINT64_C(1) << 63), 9, 400); /* another set */
  expect(expiries, 3, 5, 300);
  kvi_expiries_forget(expiries, 3);
  expect(expiries, 3, 0, 0);
  kvi_expiries_forget(expiries, 3);
  kvi_expiries_forget(expiries, 12345);
  expect(expiries, 3 + (UINT64_C(1) << 63), 9, 400);
  kvi_expiries_destroy(expiries);
  kvi_expiries_destroy(NULL);
}

static void the_first_to_end_is_forgotten(void **state)
{
  struct kvi_expiries *expiries = make(WAYS);

  (void)state;
  for (uint32_t n = 0; n < WAYS; n++)
    note(expiries, 10 + n, 100 - n, 1 + n);
  note(expiries, 10, 50, 77); /* again: nobody is pushed out */
  for (uint32_t n = 1; n < WAYS; n++)
    expect(expiries, 10 + n, 100 - n, 1 + n);
  expect(expiries, 10, 50, 77);
  note(expiries, 99, 60, 5);
  expect(expiries, 10, 0, 0);
  note(expiries, 98, 200, 6); /* 99 was the next */
  expect(expiries, 99, 0, 0);
  expect(expiries, 98, 200, 6);
  for (uint32_t n = 1; n < WAYS; n++)
    expect(expiries, 10 + n, 100 - n, 1 + n);
  kvi_expiries_destroy(expiries);
}

/* As many as there is room for, or nearly, and no more; and none has another's. */
static void many(void **state)
{
  enum { ROOM = 8000, N = 100000 };
  struct kvi_expiries *expiries = make(ROOM);
  uint64_t memory = kvi_expiries_memory(expiries), seed = 1;
  uint32_t known = 0;

  (void)state;
  assert_in_range(memory, 16 * ROOM, 16 * ROOM + 64);
  for (uint32_t n = 0; n < N; n++)
    note(expiries, kvi_splitmix64(&seed), n, n + 1);
  seed = 1;
  for (uint32_t n = 0; n < N; n++) {
    struct kvi_expiry expiry;
    bool found = kvi_expiries_find(expiries, kvi_splitmix64(&seed), &expiry);

    if (found)
      assert_int_equal(expiry.bytes, n + 1);
    known += found;
  }
  assert_int_equal(known, ROOM);
  assert_int_equal(kvi_expiries_memory(expiries), memory);
  kvi_expiries_destroy(expiries);
}

static void bounds(void **state)
{
  struct kvi_expiries *expiries = make(0);
  struct kvi_expiry expiry = {.until_ns = UINT64_MAX, .bytes = UINT32_MAX};

  (void)state;
  kvi_expiries_note(expiries, UINT64_MAX, &expiry);
  assert_true(kvi_expiries_find(expiries, UINT64_MAX, &expiry));
  assert_int_equal(expiry.until_ns, BEGUN + ((uint64_t)UINT32_MAX << 26));
  assert_int_equal(expiry.bytes, UINT32_MAX);
  expiry.until_ns = 0; /* before it was made */
  kvi_expiries_note(expiries, 5, &expiry);
  assert_true(kvi_expiries_find(expiries, 5, &expiry));
  assert_int_equal(expiry.until_ns, BEGUN);
  kvi_expiries_destroy(expiries);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_that_was_told),
                                     cmocka_unit_test(the_first_to_end_is_forgotten), cmocka_unit_test(many),
                                     cmocka_unit_test(bounds)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
