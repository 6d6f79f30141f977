/* A policy is given what another one knew. */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "tiers/policy/index_private.h"

#define SECOND KVI_NS_PER_S

static const struct kvi_policy_ops *const ops = &kvi_policy_index;

/* Three chains of 10: chunks 0 to 9, and so on. */
static struct kvi_policy *policy_make(uint64_t now)
{
  struct kvi_policy *policy;

  assert_int_equal(ops->create(1024, &policy), KVS_OK);
  for (uint32_t i = 0; i < 30; i++)
    ops->insert(policy, i, TESTING_CHUNK(i % 10 ? i - 1 : KVI_POLICY_NONE), now);
  return policy;
}

static void policy_use(struct kvi_policy *policy, uint32_t chain, enum kvi_wait_kind kind, uint64_t tool,
                       uint64_t now)
{
  const struct kvi_policy_use use = {
      .program = 1 + chain, .last = 10 * chain + 9, .n_chunks = 10, .n_whole = 10};
  const struct kvi_policy_wait wait = {
      .program = 1 + chain, .last = use.last, .n_chunks = 10, .kind = kind, .tool = tool};

  ops->arrive(policy, &use, now);
  assert_true(ops->wait(policy, &wait, now));
}

static void policy_copy(const struct kvi_policy *from, struct kvi_policy *to, uint64_t now)
{
  uint8_t bytes[KVI_POLICY_LEARNED_MAX];
  struct kvi_policy_kept kept;
  bool more = true;

  for (uint32_t part = 0; more; part++) {
    uint32_t length = ops->learned(from, part, bytes, &more);

    assert_true(length == 0 || ops->learn(to, bytes, length));
    assert_false(length > 0 && ops->learn(to, bytes, length - 1));
  }
  for (uint32_t i = 0; i < ops->waiters(from); i++)
    if (ops->keep(from, i, &kept))
      assert_true(ops->restore(to, &kept, now));
  ops->relearn(to, now);
}

/* Prices are the same to a hair, and so is who goes, to the last chunk. */
static void same_prices(void **state)
{
  static const enum kvi_wait_kind kinds[] = {KVI_WAIT_TOOL, KVI_WAIT_HUMAN, KVI_WAIT_TOOL};
  static const uint32_t seconds[] = {2, 600, 30};
  uint64_t now = 1000 * SECOND;
  struct kvi_policy *first = policy_make(now), *second = policy_make(now), *third = policy_make(now);
  struct kvi_policy_waiter one, other;
  const struct kvi_policy_wait ranged = {.program = 2,
                                         .last = 19,
                                         .n_chunks = 10,
                                         .kind = KVI_WAIT_HUMAN,
                                         .tool = 1,
                                         .priority = 100,
                                         .range_tokens = 5 * 256};

  (void)state;
  for (uint32_t i = 0; i < 600; i++) { /* each has come back from its own two hundred times */
    policy_use(first, i % 3, kinds[i % 3], i % 3, now);
    now += seconds[i % 3] * SECOND;
  }
  for (uint32_t chain = 0; chain < 3; chain++)
    policy_use(first, chain, kinds[chain], chain, now);
  assert_true(ops->wait(first, &ranged, now));
  now += SECOND;
  ops->relearn(first, now); /* else its curves are those of a while ago */
  policy_copy(first, second, now);
  policy_copy(second, third, now); /* nothing is lost on the way, however often */
  assert_int_equal(ops->waiters(second), 3);
  for (uint32_t i = 0; i < 3; i++) {
    assert_true(ops->waiter(first, i, &one, now) && ops->waiter(third, i, &other, now));
    assert_true(one.program == other.program && one.price > 0);
    assert_true(one.n_ranged == other.n_ranged && one.n_ranged == (one.program == 2 ? 5 : 0));
    assert_true(one.price > other.price * 0.9999 && one.price < other.price * 1.0001);
  }
  for (uint32_t i = 0; i < 30; i++) {
    uint32_t a = ops->victim(first, KVI_POLICY_MEMORY, now), b = ops->victim(third, KVI_POLICY_MEMORY, now);

    assert_int_equal(a / 10, b / 10);
    (void)ops->remove(first, a);
    (void)ops->remove(third, b);
  }
  ops->destroy(first);
  ops->destroy(second);
  ops->destroy(third);
}

/* Those who may be brought back to memory are waiters, each of them once. Returns how many. */
static uint32_t check_ahead(struct kvi_policy *policy)
{
  const struct kvi_index *index = kvi_index_of(policy);

  for (uint32_t i = 0; i < index->memory.ahead.n; i++) {
    assert_true(kvi_branches_is_used(index->branches, index->memory.ahead.branches[i]));
    assert_int_equal(kvi_branch(index->branches, index->memory.ahead.branches[i])->ahead, i);
  }
  return index->memory.ahead.n;
}

/* Of more chains of one program than it may have the last ones are taken, and what was known of the others is forgotten. */
static void a_program_of_many(void **state)
{
  uint64_t now = 1000 * SECOND;
  struct kvi_policy *policy = policy_make(now);
  struct kvi_policy_waiter waiter;
  bool newest = false;
  uint32_t n = 0;

  (void)state;
  ops->memory_told(policy, 1024, 1e-4);
  for (uint32_t i = 0; i < 30; i++)
    ops->move(policy, i, KVI_POLICY_MEDIUM);
  for (uint32_t i = 0; i < 30; i++) {
    struct kvi_policy_kept kept = {.program = 7,
                                   .used_ns = now - 30 + i,
                                   .seen_ns = now - 30 + i,
                                   .begins_ns = now - 30 + i,
                                   .kind = KVI_WAIT_APPROVAL,
                                   .source = 1,
                                   .announced_s = 300,
                                   .answered = true,
                                   .at = {i},
                                   .n_chunks = 1,
                                   .n_whole = 1,
                                   .weight = 1,
                                   .chunk_tokens = 1,
                                   .chunk_bytes = 1,
                                   .cost = 1};

    assert_true(ops->restore(policy, &kept, now));
  }
  for (uint32_t i = 0; i < ops->waiters(policy); i++)
    if (ops->waiter(policy, i, &waiter, now)) {
      n++;
      newest |= waiter.last == 29;
    }
  assert_true(n < 30 && n > 0 && newest);
  assert_int_equal(check_ahead(policy), n);
  ops->destroy(policy);
}

/* No bytes and no numbers do harm. */
static void anything(void **state)
{
  uint64_t now = 1000 * SECOND, seed = 1;
  struct kvi_policy *policy = policy_make(now);
  struct kvi_policy_info info;

  (void)state;
  for (uint32_t i = 0; i < 20000; i++) {
    uint8_t bytes[KVI_POLICY_LEARNED_MAX];
    struct kvi_policy_kept kept;

    for (size_t at = 0; at < sizeof(bytes); at++)
      bytes[at] = (uint8_t)kvi_splitmix64(&seed);
    memcpy(&kept, bytes, sizeof(kept));
    kept.answered = bytes[0] & 1;
    kept.at[0] = bytes[1] % 40;
    if (i % 2) {
      kept.used_ns %= now;
      kept.seen_ns %= now;
      kept.begins_ns %= now;
      kept.n_whole = kept.n_chunks = 1 + kept.n_chunks % 16;
      kept.kind = (enum kvi_wait_kind)(bytes[2] % KVI_WAIT_KINDS);
      kept.weight = kept.chunk_tokens = kept.chunk_bytes = kept.cost = 1;
      kept.ttl_s = kept.announced_s = (float)(bytes[3] % 3);
      kept.program %= 8;
    }
    (void)ops->restore(policy, &kept, now);
    bytes[0] = 1 + bytes[0] % 2;
    bytes[1] %= 5;
    kvi_store_le16(bytes + 2, 80);
    (void)ops->learn(policy, bytes, bytes[0] == 1 ? 32 : 672);
  }
  ops->relearn(policy, now);
  for (uint32_t i = 0; i < 30; i++) {
    uint32_t victim = ops->victim(policy, KVI_POLICY_MEMORY, now);

    ops->info(policy, victim, &info);
    assert_true(info.price >= 0);
    (void)ops->remove(policy, victim);
  }
  ops->destroy(policy);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_prices), cmocka_unit_test(a_program_of_many),
                                     cmocka_unit_test(anything)};

  kvi_log_configure(KVI_LOG_ERROR, KVI_LOG_TEXT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
