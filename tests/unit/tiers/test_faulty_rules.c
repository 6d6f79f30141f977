/* Rules of test faults: what is refused, when each comes true, and that a seed repeats. */
#include "testing.h"

#include "tiers/dram/dram.h"
#include "tiers/faulty/faulty_tier.h"

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

/* ---- around memory ---- */

static void test_rules_of_memory(void **state)
{
  static const char *const refused_there[] = {"delay:write:1s",  "error:lookup",     "corrupt:read",
                                              "error:read:miss", "error:write:busy", "nonsense"};
  char error[128];

  (void)state;
  assert_int_equal(kvi_faulty_tier_check("", NULL, 0), KVS_OK);
  assert_int_equal(kvi_faulty_tier_check("error:all:0.5,corrupt:write:0.1,error:write:full", NULL, 0),
                   KVS_OK);
  for (size_t i = 0; i < sizeof(refused_there) / sizeof(refused_there[0]); i++) {
    error[0] = '\0';
    assert_int_equal(kvi_faulty_tier_check(refused_there[i], error, sizeof(error)), KVS_ERR_CONFIG);
    assert_true(error[0] != '\0');
    assert_int_equal(kvi_faulty_tier_check(refused_there[i], NULL, 0), KVS_ERR_CONFIG);
  }
}

static kvs_status store_one(struct kvi_tier *tier, kvi_tier_object *object_p)
{
  uint32_t length = 5000;
  struct kvi_tier_request request = {.length = length, .n_segments = 1, .segment_lengths = &length};
  struct kvi_tier_places places;
  uint32_t crc = 0;
  kvs_status status = tier->ops->reserve(tier, &request, object_p);

  if (status != KVS_OK)
    return status;
  assert_int_equal(tier->ops->places(tier, *object_p, &places), KVS_OK);
  for (uint32_t i = 0; i < places.n_iov; i++) {
    memset(places.iov[i].base, 7, places.iov[i].length);
    crc = kvi_crc32c_update(crc, places.iov[i].base, places.iov[i].length);
  }
  places.segments[0].crc32c = crc;
  return tier->ops->seal(tier, *object_p, 0);
}

/* Bytes of the object that are not as they were written. */
static uint32_t changed(struct kvi_tier *tier, kvi_tier_object object)
{
  struct kvi_tier_places places;
  uint32_t n = 0;

  assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
  for (uint32_t i = 0; i < places.n_iov; i++)
    for (size_t j = 0; j < places.iov[i].length; j++)
      n += ((const uint8_t *)places.iov[i].base)[j] != 7;
  return n;
}

static void test_faults_of_memory(void **state)
{
  struct kvi_dram_config config = {.bytes = 1 << 20, .page_bytes = 4096, .object_bytes_max = 1 << 16};
  struct kvi_chunk_table table;
  struct kvi_faulty_stats stats;
  kvi_tier_object object;
  struct kvi_tier *tier;

  (void)state;
  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  assert_int_equal(
      kvi_faulty_tier_create(
          tier, "error:write:at=1,error:write:full:at=2,corrupt:write:at=2,error:read:at=2", &tier),
      KVS_OK);
  assert_int_equal(store_one(tier, &object), KVS_ERR_NOMEM);
  assert_int_equal(store_one(tier, &object), KVS_ERR_FULL);
  assert_int_equal(store_one(tier, &object), KVS_OK);
  assert_int_equal(changed(tier, object), 0);
  assert_int_equal(tier->ops->open(tier, object), KVS_OK);
  assert_int_equal(tier->ops->table(tier, object, &table), KVS_OK);
  assert_int_equal(tier->ops->table(tier, object, &table), KVS_ERR_CORRUPT);
  assert_int_equal(tier->ops->table(tier, object, &table), KVS_OK);
  tier->ops->close(tier, object);
  tier->ops->drop(tier, object);
  assert_int_equal(store_one(tier, &object), KVS_OK);
  assert_int_equal(changed(tier, object), 1);
  tier->ops->drop(tier, object);
  assert_int_equal(kvi_faulty_tier_set(tier, "delay:write:1s"), KVS_ERR_CONFIG);
  assert_int_equal(kvi_faulty_tier_set(tier, "off"), KVS_OK);
  assert_int_equal(store_one(tier, &object), KVS_OK);
  assert_int_equal(changed(tier, object), 0);
  tier->ops->drop(tier, object);
  kvi_faulty_tier_stats(tier, &stats);
  assert_int_equal(stats.done[KVI_FAULTY_ERROR], 3);
  assert_int_equal(stats.done[KVI_FAULTY_CORRUPT], 1);
  assert_int_equal(stats.changes, 2);
  tier->ops->destroy(tier);
}

static void test_wrong_rules_take_the_memory_too(void **state)
{
  struct kvi_dram_config config = {.bytes = 1 << 20, .page_bytes = 4096, .object_bytes_max = 1 << 16};
  struct kvi_tier *tier;

  (void)state;
  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  assert_int_equal(kvi_faulty_tier_create(tier, "nonsense", &tier), KVS_ERR_CONFIG);
  assert_null(tier); /* a leak would be told by the address sanitizer */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rules_are_refused),
      cmocka_unit_test(test_when_a_rule_comes_true),
      cmocka_unit_test(test_a_seed_repeats),
      cmocka_unit_test(test_rules_add_up),
      cmocka_unit_test(test_rules_of_memory),
      cmocka_unit_test(test_faults_of_memory),
      cmocka_unit_test(test_wrong_rules_take_the_memory_too),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
