/* What is remembered of chunks that went: the last time of each, the newest of those that share a set, nothing of a key that it was never told of; in memory that does not grow. */
#include "testing.h"

#include <math.h>

#include "tiers/gone.h"
#include "tiers/store_private.h"

#define BEGUN UINT64_C(123456789000)
#define TICK  (UINT64_C(1) << 26) /* to which times are kept */
#define SPACE 7u
#define WAYS  8u

static struct kvi_gone *make(uint32_t max_chunks)
{
  struct kvi_gone *gone;

  assert_int_equal(kvi_gone_create(max_chunks, BEGUN, &gone), KVS_OK);
  return gone;
}

static struct kvi_key_tag tag_of(uint32_t n)
{
  return (struct kvi_key_tag){{n, 0, n * 7}};
}

/* Went at `tick`. All hashes of tags below are in one set: their upper halves are 0. */
static void note(struct kvi_gone *gone, uint32_t n, uint64_t tick, enum kvi_miss_cause cause)
{
  struct kvi_key_tag tag = tag_of(n);
  struct kvi_departure departure = {.cause = cause,
                                    .rule = n % 2 ? KVI_EVICT_ROOM : KVI_EVICT_RULES,
                                    .at_ns = BEGUN + tick * TICK,
                                    .idle_ns = 3 * TICK,
                                    .length = 1000 + n,
                                    .price = n % 2 ? 0.5 : (double)NAN,
                                    .by_price = n % 2,
                                    .below = n % 3 == 0,
                                    .timed = n % 2,
                                    .over_ns = n % 3 ? 5 * (int64_t)TICK : -5 * (int64_t)TICK};

  kvi_gone_note(gone, n, SPACE, &tag, &departure);
}

static bool find(const struct kvi_gone *gone, uint32_t n, uint32_t space, struct kvi_departure *departure_p,
                 uint64_t *since_p)
{
  struct kvi_key_tag tag = tag_of(n);

  return kvi_gone_find(gone, n, space, &tag, departure_p, since_p);
}

static void the_last_time_of_each(void **state)
{
  struct kvi_gone *gone = make(1000);
  struct kvi_departure departure;
  uint64_t since;

  (void)state;
  assert_false(find(gone, 0, SPACE, &departure, &since)); /* an empty record is nobody's */
  assert_int_equal(since, BEGUN);
  note(gone, 3, 10, KVI_MISS_EVICTED);
  assert_true(find(gone, 3, SPACE, &departure, &since));
  assert_int_equal(departure.cause, KVI_MISS_EVICTED);
  assert_int_equal(departure.rule, KVI_EVICT_ROOM);
  assert_int_equal(departure.at_ns, BEGUN + 10 * TICK);
  assert_int_equal(departure.idle_ns, 3 * TICK);
  assert_int_equal(departure.length, 1003);
  assert_true(departure.price > 0.49 && departure.price < 0.51);
  assert_true(departure.by_price);
  assert_true(departure.below);
  assert_true(departure.timed);
  assert_int_equal(departure.over_ns, -5 * (int64_t)TICK);
  note(gone, 3, 20, KVI_MISS_DELETED);
  assert_true(find(gone, 3, SPACE, &departure, &since));
  assert_int_equal(departure.cause, KVI_MISS_DELETED);
  assert_int_equal(departure.at_ns, BEGUN + 20 * TICK);
  note(gone, 4, 20, KVI_MISS_TIER);
  assert_true(find(gone, 4, SPACE, &departure, &since));
  assert_true(isnan(departure.price));
  assert_false(departure.by_price);
  assert_false(departure.below);
  assert_false(departure.timed);
  assert_int_equal(departure.rule, KVI_EVICT_RULES);
  assert_int_equal(since, BEGUN); /* the set is not full */
  kvi_gone_destroy(gone);
}

/* A time that has run out just now has run out, and one that is about to has not. */
static void times_are_over_or_not(void **state)
{
  static const int64_t over[][2] = {{0, 1},
                                    {1, 1},
                                    {-1, -1},
                                    {(int64_t)TICK * 3 + 1, 3},
                                    {-(int64_t)TICK * 7, -7},
                                    {INT64_MAX, INT32_MAX},
                                    {INT64_MIN, -(int64_t)INT32_MAX}};
  struct kvi_gone *gone = make(1000);
  struct kvi_key_tag tag = tag_of(1);
  uint64_t since;

  (void)state;
  for (uint32_t i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
    struct kvi_departure departure = {.cause = KVI_MISS_EXPIRED,
                                      .at_ns = BEGUN,
                                      .price = (double)NAN,
                                      .timed = true,
                                      .over_ns = over[i][0]};

    kvi_gone_note(gone, 1, SPACE, &tag, &departure);
    assert_true(kvi_gone_find(gone, 1, SPACE, &tag, &departure, &since));
    assert_true(departure.timed);
    assert_int_equal(departure.over_ns, over[i][1] * (int64_t)TICK);
  }
  kvi_gone_destroy(gone);
}

static void another_key_is_unknown(void **state)
{
  struct kvi_gone *gone = make(1000);
  struct kvi_departure departure;
  struct kvi_key_tag tag = tag_of(3);
  uint64_t since;

  (void)state;
  note(gone, 3, 10, KVI_MISS_EVICTED);
  assert_false(find(gone, 3, SPACE + 1, &departure, &since));
  for (uint32_t word = 0; word < 3; word++) { /* the same hash, in the same set */
    tag = tag_of(3);
    tag.word[word] ^= 1u << 31;
    assert_false(kvi_gone_find(gone, 3, SPACE, &tag, &departure, &since));
  }
  kvi_gone_destroy(gone);
}

static void the_oldest_of_a_set_is_forgotten(void **state)
{
  struct kvi_gone *gone = make(1000);
  struct kvi_departure departure;
  uint64_t since;

  (void)state;
  for (uint32_t n = 0; n < WAYS; n++)
    note(gone, n, 100 + n * 10, KVI_MISS_EVICTED);
  note(gone, 0, 500, KVI_MISS_EVICTED); /* again: it is the newest now, and nobody is pushed out */
  for (uint32_t n = 0; n < WAYS; n++)
    assert_true(find(gone, n, SPACE, &departure, &since));
  assert_int_equal(since, BEGUN + 111 * TICK); /* full: what went before the oldest may be gone */
  note(gone, 100, 510, KVI_MISS_EVICTED);
  assert_false(find(gone, 1, SPACE, &departure, &since));
  assert_int_equal(since, BEGUN + 121 * TICK);
  assert_true(find(gone, 0, SPACE, &departure, &since));
  assert_true(find(gone, 2, SPACE, &departure, &since));
  assert_true(find(gone, 100, SPACE, &departure, &since));
  kvi_gone_destroy(gone);
}

/* Of many keys at random the newest are known, none has another's record, and what is said to be remembered is. */
static void many(void **state)
{
  enum { MAX_CHUNKS = 96000, N = 20000 };
  struct kvi_gone *gone = make(MAX_CHUNKS);
  uint64_t memory = kvi_gone_memory(gone);
  struct kvi_departure departure;
  uint32_t known = 0;
  uint64_t since;

  (void)state;
  assert_in_range(memory, 1, MAX_CHUNKS / 2);
  for (uint32_t n = 0; n < N; n++) {
    uint64_t seed = n;
    struct kvi_key_tag tag = tag_of(n);

    departure = (struct kvi_departure){
        .cause = KVI_MISS_EVICTED, .at_ns = BEGUN + n * TICK, .length = n, .price = (double)NAN};
    kvi_gone_note(gone, kvi_splitmix64(&seed), SPACE, &tag, &departure);
  }
  for (uint32_t n = 0; n < N; n++) {
    uint64_t seed = n;
    struct kvi_key_tag tag = tag_of(n);
    bool found = kvi_gone_find(gone, kvi_splitmix64(&seed), SPACE, &tag, &departure, &since);

    if (found)
      assert_int_equal(departure.length, n);
    else
      assert_true(BEGUN + n * TICK < since);
    known += found;
  }
  assert_int_equal(known, MAX_CHUNKS / 768 * WAYS); /* each place has one */
  assert_int_equal(kvi_gone_memory(gone), memory);
  kvi_gone_destroy(gone);
}

static void bounds(void **state)
{
  struct kvi_departure departure = {.cause = KVI_MISS_EVICTED,
                                    .at_ns = UINT64_MAX,
                                    .idle_ns = UINT64_MAX,
                                    .length = KVI_CHUNK_BYTES_MAX,
                                    .price = 1e300};
  struct kvi_gone *gone = make(1);
  struct kvi_key_tag tag = tag_of(1);
  uint64_t since;

  (void)state;
  assert_in_range(kvi_gone_memory(gone), 64 * 36, 64 * 36 + 64);
  kvi_gone_note(gone, UINT64_MAX, SPACE, &tag, &departure); /* the last set; times that no 32 bits hold */
  assert_true(kvi_gone_find(gone, UINT64_MAX, SPACE, &tag, &departure, &since));
  assert_int_equal(departure.length, KVI_CHUNK_BYTES_MAX);
  assert_int_equal(departure.idle_ns, (uint64_t)UINT32_MAX << 26);
  kvi_gone_destroy(gone);
  gone = make(1u << 30);
  assert_in_range(kvi_gone_memory(gone), 36u << 20, (36u << 20) + 64);
  kvi_gone_destroy(gone);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_last_time_of_each),
      cmocka_unit_test(times_are_over_or_not),
      cmocka_unit_test(another_key_is_unknown),
      cmocka_unit_test(the_oldest_of_a_set_is_forgotten),
      cmocka_unit_test(many),
      cmocka_unit_test(bounds),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
