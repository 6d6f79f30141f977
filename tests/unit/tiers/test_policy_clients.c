/* Of a source's clients, who have records of their own, the one is heeded that is right, whatever another says; and nobody's record is pushed out by those who come and go. */
#include "testing.h"

#include <math.h>

#include "base/rand.h"
#include "tiers/policy/classes.h"

#define SOURCE 5u
#define OTHER  6u
#define HONEST 1000u
#define LIAR   2000u
#define FRESH  3000u

static kvi_rand rand_of;

static int setup(void **state)
{
  struct kvi_classes *classes;

  kvi_rand_seed(&rand_of, 3);
  assert_int_equal(kvi_classes_create(&classes), KVS_OK);
  *state = classes;
  return 0;
}

static int teardown(void **state)
{
  kvi_classes_destroy(*state);
  return 0;
}

static struct kvi_class_wait wait_of(uint32_t source, uint32_t client, double announced_s)
{
  return (struct kvi_class_wait){
      .class = KVI_WAIT_TOOL, .source = source, .client = client, .announced_s = (float)announced_s};
}

static double any(void)
{
  return 1 + (double)kvi_rand_below(&rand_of, 2000);
}

/* So many waits of this client, for which it announces what is true, or anything. */
static void say(struct kvi_classes *classes, uint32_t source, uint64_t name, bool is_true, uint32_t times)
{
  for (uint32_t i = 0; i < times; i++) {
    double seconds = any();
    struct kvi_class_wait wait =
        wait_of(source, kvi_classes_client(classes, source, name), is_true ? seconds : any());

    kvi_classes_back(classes, &wait, seconds);
    if (kvi_classes_is_due(classes, 0))
      kvi_classes_rebuild(classes);
  }
}

/* What is said does not count: it is worth what it would be without. */
static bool is_heeded(struct kvi_classes *classes, uint32_t source, uint32_t client)
{
  struct kvi_class_wait said = wait_of(source, client, 500), silent = wait_of(source, client, 0);
  double with = kvi_classes_rate(classes, &said, 480), without = kvi_classes_rate(classes, &silent, 480);

  assert_true(with == without || with > 2 * without); /* if it is heeded, it is about to be back */
  return with != without;
}

static void one_of_them_lies(void **state)
{
  struct kvi_classes *classes = *state;

  for (uint32_t round = 0; round < 40; round++) {
    say(classes, SOURCE, HONEST, true, 5);
    say(classes, SOURCE, LIAR, false, 50);
  }
  kvi_classes_rebuild(classes);
  assert_false(is_heeded(classes, SOURCE, 0)); /* the source as a whole */
  assert_true(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, HONEST)));
  assert_false(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, LIAR)));
  /* and its word counts for nothing under another's name */
  assert_false(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, FRESH)));
}

/* Also one who is about right, beside a liar who is back at once from something else, and has announced an age, twenty times for each time. */
static void one_of_them_lies_much(void **state)
{
  struct kvi_classes *classes = *state;
  struct kvi_class_wait said, silent;

  for (uint32_t round = 0; round < 400; round++) {
    double seconds = 100 * exp2(any() / 600), about = seconds * exp2(any() / 1000);
    struct kvi_class_wait wait = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, HONEST), about);

    kvi_classes_back(classes, &wait, seconds);
    for (uint32_t i = 0; i < 20; i++) {
      struct kvi_class_wait lie = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, LIAR), 1e6);

      lie.class = KVI_WAIT_HUMAN;
      kvi_classes_back(classes, &lie, 0.5);
    }
    if (kvi_classes_is_due(classes, 0))
      kvi_classes_rebuild(classes);
  }
  kvi_classes_rebuild(classes);
  said = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, HONEST), 500);
  silent = wait_of(SOURCE, said.client, 0);
  assert_true(kvi_classes_rate(classes, &said, 10) != kvi_classes_rate(classes, &silent, 10));
}

/* Whoever only announces takes nobody's record, however many names he has: a wait has to be over before there is one. */
static void many_announce(void **state)
{
  struct kvi_classes *classes = *state;
  uint32_t honest;

  for (uint32_t round = 0; round < 100; round++) {
    double seconds = any();
    struct kvi_class_wait wait = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, HONEST), seconds);

    for (uint64_t i = 0; i < KVI_CLASSES_CLIENTS; i++)
      (void)kvi_classes_client(classes, SOURCE, FRESH + round * KVI_CLASSES_CLIENTS + i);
    kvi_classes_back(classes, &wait, seconds);
  }
  say(classes, SOURCE, LIAR, false, 2000);
  kvi_classes_rebuild(classes);
  honest = kvi_classes_client(classes, SOURCE, HONEST);
  assert_int_equal(kvi_classes_client(classes, SOURCE, HONEST), honest);
  assert_true(is_heeded(classes, SOURCE, honest));
}

/* Nor does whoever announces and does not come, as long as that lasts: but for records that are free. */
static void many_are_overdue(void **state)
{
  struct kvi_classes *classes = *state;
  uint32_t honest, first = 0, late = 0;
  struct kvi_class_wait wait;

  say(classes, SOURCE, HONEST, true, 100);
  honest = kvi_classes_client(classes, SOURCE, HONEST);
  for (uint64_t i = 0; i < 10 * KVI_CLASSES_CLIENTS; i++) {
    wait = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, FRESH + i), 5);
    late = kvi_classes_overdue(classes, &wait);
    assert_true(kvi_classes_is_new_client(wait.client) && !kvi_classes_is_new_client(late));
    assert_true(kvi_classes_is_same_client(classes, wait.client, late));
    assert_int_equal(kvi_classes_client(classes, SOURCE, FRESH + i), late);
    first = i == 0 ? late : first;
  }
  assert_int_equal(kvi_classes_client(classes, SOURCE, HONEST), honest);
  assert_false(kvi_classes_is_same_client(classes, honest, late));
  /* once they all are known for something, there is no room */
  for (uint64_t i = 0; i < KVI_CLASSES_CLIENTS; i++)
    say(classes, SOURCE, FRESH + i, true, 2);
  assert_int_not_equal(kvi_classes_client(classes, SOURCE, FRESH), first);
  wait = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, LIAR), 5);
  assert_int_equal(kvi_classes_overdue(classes, &wait), wait.client);
  kvi_classes_unkept(classes, &wait, 10);
  assert_false(kvi_classes_is_new_client(kvi_classes_client(classes, SOURCE, LIAR)));
}

/* Whoever is never back, and is given up each time, late, is known for that although nothing of its is ever over. */
static void never_back(void **state)
{
  struct kvi_classes *classes = *state;

  say(classes, SOURCE, HONEST, true, 400);
  for (uint32_t i = 0; i < 100; i++) {
    struct kvi_class_wait wait = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, LIAR), 5);

    kvi_classes_away(classes, &wait, 600);
  }
  kvi_classes_rebuild(classes);
  assert_false(kvi_classes_is_new_client(kvi_classes_client(classes, SOURCE, LIAR)));
  assert_false(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, LIAR)));
  assert_true(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, HONEST)));
}

/* When a wait is given up is up to who announces it: nobody is the better for that, be it as late as was announced. */
static void given_up_is_no_skill(void **state)
{
  struct kvi_classes *classes = *state;

  say(classes, SOURCE, LIAR, false, 400);
  kvi_classes_rebuild(classes);
  assert_false(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, LIAR)));
  for (uint32_t i = 0; i < 2000; i++) {
    double announced_s = 10 * any();
    struct kvi_class_wait wait = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, LIAR), announced_s);

    if (i % 2 == 0)
      kvi_classes_away(classes, &wait, i % 4 == 0 ? announced_s * 0.9 : announced_s * 1.01);
    else
      kvi_classes_unkept(classes, &wait, announced_s * 1.01);
    if (i % 64 == 0)
      kvi_classes_rebuild(classes);
    assert_false(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, LIAR)));
  }
}

/* And the other way round: what is right on the whole is so for who is new, until he lies. */
static void one_among_honest_ones(void **state)
{
  struct kvi_classes *classes = *state;

  say(classes, SOURCE, HONEST, true, 400);
  kvi_classes_rebuild(classes);
  assert_true(is_heeded(classes, SOURCE, 0));
  assert_true(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, LIAR)));
  say(classes, SOURCE, LIAR, false, 60);
  kvi_classes_rebuild(classes);
  assert_false(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, LIAR)));
  assert_true(is_heeded(classes, SOURCE, kvi_classes_client(classes, SOURCE, HONEST)));
}

/* Until something is known of a client it is what its source is, to the last bit. */
static void who_is_new_leans(void **state)
{
  struct kvi_classes *classes = *state;
  struct kvi_class_wait new, none;

  say(classes, SOURCE, HONEST, true, 300);
  kvi_classes_rebuild(classes);
  new = wait_of(SOURCE, kvi_classes_client(classes, SOURCE, FRESH), 100);
  none = wait_of(SOURCE, 0, 100);
  for (uint32_t i = 0; i < 10; i++) {
    double s = (double)(1u << i);

    assert_true(kvi_classes_rate(classes, &new, s) == kvi_classes_rate(classes, &none, s));
    assert_true(kvi_classes_worth_until(classes, &new, 1 / s) ==
                kvi_classes_worth_until(classes, &none, 1 / s));
  }
}

/* Clients that are new each time take each other's records, and no known one's: neither of their own source's nor of another's that has its share. */
static void who_comes_and_goes(void **state)
{
  struct kvi_classes *classes = *state;
  uint32_t honest, other[8];

  say(classes, SOURCE, HONEST, true, 64);
  for (uint32_t i = 0; i < 8; i++)
    say(classes, OTHER, HONEST + i, true, 40);
  honest = kvi_classes_client(classes, SOURCE, HONEST);
  for (uint32_t i = 0; i < 8; i++)
    other[i] = kvi_classes_client(classes, OTHER, HONEST + i);
  for (uint64_t i = 0; i < 1000; i++)
    say(classes, SOURCE, FRESH + i, false, 1);
  assert_int_equal(kvi_classes_client(classes, SOURCE, HONEST), honest);
  for (uint32_t i = 0; i < 8; i++)
    assert_int_equal(kvi_classes_client(classes, OTHER, HONEST + i), other[i]);
  kvi_classes_rebuild(classes);
  assert_true(is_heeded(classes, SOURCE, honest));
  assert_true(is_heeded(classes, OTHER, other[0]));
}

/* Who has none takes one of the source that has the most, and what was known by that is not his. */
static void room_is_made_where_most_is(void **state)
{
  struct kvi_classes *classes = *state;
  uint32_t numbers[KVI_CLASSES_CLIENTS], honest;

  for (uint32_t i = 0; i < KVI_CLASSES_CLIENTS; i++) {
    say(classes, SOURCE, FRESH + i, false, i == 7 ? 20 : 30);
    numbers[i] = kvi_classes_client(classes, SOURCE, FRESH + i);
  }
  say(classes, OTHER, HONEST, true, 200);
  kvi_classes_rebuild(classes);
  honest = kvi_classes_client(classes, OTHER, HONEST);
  assert_true(is_heeded(classes, OTHER, honest));
  assert_int_not_equal(honest, numbers[7]);
  assert_int_equal(honest & 255, numbers[7] & 255); /* the one that was observed least */
  assert_false(is_heeded(classes, SOURCE, numbers[7]));
  for (uint32_t i = 0; i < KVI_CLASSES_CLIENTS; i++)
    assert_int_equal(kvi_classes_client(classes, SOURCE, FRESH + i) == numbers[i], i != 7);
}

/* A record that another has got says nothing of the first any more: it is as if nothing were known. */
static void whose_record_is_anothers(void **state)
{
  struct kvi_classes *classes = *state;
  uint32_t honest;

  say(classes, SOURCE, HONEST, true, 100);
  say(classes, SOURCE, LIAR, false, 1000);
  kvi_classes_rebuild(classes);
  honest = kvi_classes_client(classes, SOURCE, HONEST);
  assert_true(is_heeded(classes, SOURCE, honest));
  /* it is silent for long, and others are not */
  for (uint64_t round = 0; kvi_classes_client(classes, SOURCE, HONEST) == honest; round++) {
    assert_true(round < 100);
    for (uint64_t i = 0; i < KVI_CLASSES_CLIENTS; i++)
      say(classes, SOURCE, FRESH + i, false, 40);
  }
  kvi_classes_rebuild(classes);
  assert_false(is_heeded(classes, SOURCE, honest));
  assert_false(is_heeded(classes, SOURCE, 0x12345678));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(one_of_them_lies, setup, teardown),
      cmocka_unit_test_setup_teardown(one_of_them_lies_much, setup, teardown),
      cmocka_unit_test_setup_teardown(many_announce, setup, teardown),
      cmocka_unit_test_setup_teardown(many_are_overdue, setup, teardown),
      cmocka_unit_test_setup_teardown(never_back, setup, teardown),
      cmocka_unit_test_setup_teardown(given_up_is_no_skill, setup, teardown),
      cmocka_unit_test_setup_teardown(one_among_honest_ones, setup, teardown),
      cmocka_unit_test_setup_teardown(who_is_new_leans, setup, teardown),
      cmocka_unit_test_setup_teardown(who_comes_and_goes, setup, teardown),
      cmocka_unit_test_setup_teardown(room_is_made_where_most_is, setup, teardown),
      cmocka_unit_test_setup_teardown(whose_record_is_anothers, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
