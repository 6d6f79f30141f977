/* Rules of test faults: what is refused, when each comes true, and that a seed repeats. */
#include "testing.h"

#include "tiers/faulty/rules.h"

static void refused(const char *text, const char *says)
{
  struct kvi_faulty_rules rules = {.n = 7};
  char error[128] = "";

  assert_int_equal(kvi_faulty_rules_parse(text, &rules, error, sizeof(error)), KVS_ERR_CONFIG);
  assert_int_equal(rules.n, 7);
  if (!strstr(error, says))
    fail_msg("%s: %s", text, error);
  assert_int_equal(kvi_faulty_rules_parse(text, &rules, NULL, 0), KVS_ERR_CONFIG);
}

static void test_rules_are_refused(void **state)
{
  static char lots[KVI_FAULTY_TEXT_MAX + 1];

  (void)state;
  refused("bang:read", "bang: is not error");
  refused("error", "is not read");
  refused("error:", "is not read");
  refused("error:reads", "reads: is not read");
  refused(":read", "is not error");
  refused("error:read,", "is not error");
  refused("error:read:0", "0: means nothing");
  refused("error:read:1.5", "1.5: means nothing");
  refused("error:read:-0.5", "-0.5: means nothing");
  refused("error:read:nan", "nan: means nothing");
  refused("error:read:0.5x", "means nothing");
  refused("error:read:every=0", "means nothing");
  refused("error:read:every=", "means nothing");
  refused("error:read:at=99999999999999999999", "means nothing");
  refused("error:read:full", "full: means nothing");
  refused("error:write:miss", "miss: means nothing");
  refused("error:all:full", "means nothing");
  refused("error:read:200ms", "means nothing");
  refused("delay:read", "needs a duration");
  refused("delay:read:0ms", "means nothing");
  refused("delay:read:2h", "means nothing");
  refused("delay:read:1s:1s", "means nothing");
  refused("corrupt:lookup", "cannot be corrupted");
  refused("corrupt:write:silent", "silent: means nothing");
  refused("seed=x", "whole number");
  refused("off,error:read", "off: is not error");
  memset(lots, 'x', sizeof(lots) - 1);
  refused(lots, "longer");
  lots[0] = '\0';
  for (int i = 0; i < 17; i++)
    strcat(lots, i == 0 ? "error:read" : ",error:read");
  refused(lots, "16 rules");
}

/* Which of the next n operations a rule hits, as a text of 1 and 0. */
static void pattern(const char *text, enum kvi_faulty_op op, const char *wanted)
{
  struct kvi_faulty_rules rules;
  struct kvi_faulty_fate fate;
  char got[64] = "";

  assert_int_equal(kvi_faulty_rules_parse(text, &rules, NULL, 0), KVS_OK);
  for (size_t i = 0; i < strlen(wanted); i++)
    strcat(got, kvi_faulty_rules_decide(&rules, op, &fate) ? "1" : "0");
  assert_string_equal(got, wanted);
}

static void test_when_a_rule_comes_true(void **state)
{
  (void)state;
  pattern("", KVI_FAULTY_READ, "0000");
  pattern("off", KVI_FAULTY_READ, "0000");
  pattern("seed=9", KVI_FAULTY_READ, "0000");
  pattern("error:read", KVI_FAULTY_READ, "1111");
  pattern("error:read", KVI_FAULTY_WRITE, "0000");
  pattern("error:all:1", KVI_FAULTY_LOOKUP, "1111");
  pattern("corrupt:all", KVI_FAULTY_LOOKUP, "0000");
  pattern("error:read:every=3", KVI_FAULTY_READ, "0010010");
  pattern("error:read:at=2", KVI_FAULTY_READ, "010000");
  pattern("error:read:first=2", KVI_FAULTY_READ, "110000");
  pattern("error:read:at=1, delay:read:1ms:at=3", KVI_FAULTY_READ, "1010");
}

static void test_a_seed_repeats(void **state)
{
  struct kvi_faulty_rules one, two, other;
  struct kvi_faulty_fate fate;
  uint32_t hits = 0, differ = 0;

  (void)state;
  assert_int_equal(kvi_faulty_rules_parse("error:read:0.25,seed=3", &one, NULL, 0), KVS_OK);
  assert_int_equal(kvi_faulty_rules_parse("seed=3,error:read:0.25", &two, NULL, 0), KVS_OK);
  assert_int_equal(kvi_faulty_rules_parse("error:read:0.25,seed=4", &other, NULL, 0), KVS_OK);
  for (int i = 0; i < 4000; i++) {
    bool hit = kvi_faulty_rules_decide(&one, KVI_FAULTY_READ, &fate);

    assert_int_equal(kvi_faulty_rules_decide(&two, KVI_FAULTY_READ, &fate), hit);
    differ += kvi_faulty_rules_decide(&other, KVI_FAULTY_READ, &fate) != hit;
    hits += hit;
  }
  assert_in_range(hits, 800, 1200); /* the seed is fixed: this is one number */
  assert_true(differ > 0);
}

static void test_rules_add_up(void **state)
{
  struct kvi_faulty_rules rules;
  struct kvi_faulty_fate fate;

  (void)state;
  assert_int_equal(
      kvi_faulty_rules_parse("delay:write:20ms,delay:all:5ms,error:write:full,error:write:io,corrupt:write",
                             &rules, NULL, 0),
      KVS_OK);
  assert_true(kvi_faulty_rules_decide(&rules, KVI_FAULTY_WRITE, &fate));
  assert_int_equal(fate.delay_ms, 25);
  assert_int_equal(fate.status, KVS_ERR_FULL);
  assert_true(fate.corrupt && !fate.silent);
  assert_true(kvi_faulty_rules_decide(&rules, KVI_FAULTY_LOOKUP, &fate));
  assert_int_equal(fate.delay_ms, 5);
  assert_int_equal(fate.status, KVS_OK);
  assert_false(fate.corrupt);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rules_are_refused),
      cmocka_unit_test(test_when_a_rule_comes_true),
      cmocka_unit_test(test_a_seed_repeats),
      cmocka_unit_test(test_rules_add_up),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
