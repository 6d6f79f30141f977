/* A store over an SSD tier is closed and opened again: who waited waits, as far as the chunks are there. */
#include "remember_node.h"

static void comes_back(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter before[3], after;
  struct kvi_program_named named;

  node_open(node);
  three_wait(node);
  for (uint32_t i = 0; i < 3; i++)
    assert_true(waiter_of(node, 1 + i, &before[i]));
  for (uint32_t round = 0; round < 3; round++) { /* also what was restored, and nobody has used since */
    node_close(node);
    node_open(node);
    assert_int_equal(n_waiters(node), 3);
    for (uint32_t i = 0; i < 3; i++) {
      assert_true(waiter_of(node, 1 + i, &after));
      assert_waits_as_before(&before[i], &after);
      assert_true(after.last != KVI_POLICY_NONE);
    }
    assert_true(kvi_programs_find_hash(node->programs, TENANT, before[1].program, &named));
    assert_string_equal(named.name, "agent 2");
    assert_string_equal(named.tool, "build");
  }
  assert_int_equal(prompt(&node->world, 2, 6), 6); /* it is back, and it is the same one */
  assert_true(waiter_of(node, 2, &after));
  assert_false(after.answered);
  assert_true(after.waits_s < before[1].waits_s + A_WHILE_S);
  assert_int_equal(n_waiters(node), 3);
}

/* What waits were like is known, though nobody waits. */
static void what_was_learned(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter quick, slow;

  node_open(node);
  for (uint32_t i = 0; i < 200; i++) {
    waits(node, 1, 1, i % 2 ? "grep" : "build", 0, 0);
    node->ahead += (i % 2 ? 20 : 2000) * SECOND;
  }
  node_close(node);
  node_open(node);
  waits(node, 4, 5, "grep", 0, 0);
  waits(node, 5, 5, "build", 0, 0);
  assert_true(waiter_of(node, 4, &quick) && waiter_of(node, 5, &slow));
  assert_true(quick.price > 10 * slow.price);
}

/* The end of a chain was in memory only. */
static void less_is_there(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter waiter;

  node_open(node);
  waits(node, 1, 5, "grep", 0, 0);
  node_close(node);
  node->write = KVI_ADMIT_NONE;
  node_open(node);
  waits(node, 1, 7, "grep", 0, 0);
  waits(node, 2, 3, "grep", 0, 0); /* and of this one all is */
  node_close(node);
  node_open(node);
  assert_int_equal(n_waiters(node), 1);
  assert_true(waiter_of(node, 1, &waiter));
  assert_int_equal(waiter.n_chunks, 4); /* looked for 0, 1 and 3 before the end */
  assert_int_equal(waiter.n_whole, 7);
  assert_int_equal(prompt(&node->world, 1, 7), 5);
  assert_int_equal(n_waiters(node), 1);
}

/* The file of another directory's chunks. */
static void nothing_is_there(void **state)
{
  struct node *node = *state;
  void *other;

  node_open(node);
  three_wait(node);
  node_close(node);
  assert_int_equal(setup(&other), 0);
  snprintf(node->file, sizeof(node->file), "%s/waiters", ((struct fixture *)other)->folder);
  {
    char from[128];

    snprintf(from, sizeof(from), "%s/waiters", node->f->folder);
    assert_int_equal(rename(from, node->file), 0);
  }
  {
    void *own = node->f;

    node->f = other;
    teardown(&own);
  }
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  assert_int_equal(prompt(&node->world, 1, 5), 0);
}

/* The file as the next start finds it. */
static void file_change(const struct node *node, void (*change)(struct kvi_state *state))
{
  struct kvi_state state;
  uint8_t *bytes;
  size_t length;
  bool open;

  assert_int_equal(kvi_remember_file_read(node->file, 1 << 24, &bytes, &length, &open), KVS_OK);
  assert_int_equal(kvi_state_decode(bytes, length, &state), KVS_OK);
  free(bytes);
  change(&state);
  assert_int_equal(kvi_state_encode(&state, &bytes, &length), KVS_OK);
  assert_int_equal(kvi_remember_file_write(node->file, bytes, length), KVS_OK);
  kvi_state_clear(&state);
  free(bytes);
}

/* The same directory again after a start with another one, at which nothing was told; and after one at which somebody was. */
static void chunks_come_later(void **state)
{
  struct node *node = *state;
  void *own = node->f, *other;
  struct stat before, after;

  node_open(node);
  three_wait(node);
  node_close(node);
  assert_int_equal(stat(node->file, &before), 0);
  assert_int_equal(setup(&other), 0);
  for (uint32_t round = 0; round < 2; round++) {
    node->f = other;
    node_open(node);
    assert_int_equal(n_waiters(node), 0);
    if (round == 1) { /* agent 1 is there too, and waits for something else */
      waits(node, 1, 2, "other", 0, 0);
      waits(node, 4, 2, "grep", 0, 0);
    }
    node_close(node);
    assert_int_equal(stat(node->file, &after), 0);
    assert_int_equal(before.st_ino == after.st_ino, round == 0);
    node->f = own;
    if (round == 0) {
      node_open(node);
      assert_int_equal(n_waiters(node), 3);
      node_close(node);
    }
  }
  node_open(
      node); /* agents 2 and 3 were carried over; of 1 the later is known, and its second chunk is here too */
  assert_int_equal(n_waiters(node), 3);
  node_close(node);
  node->f = other;
  node_open(node); /* and so was agent 4 */
  assert_int_equal(n_waiters(node), 2);
  node_close(node);
  node->f = own;
  teardown(&other);
}

static void of_weeks_ago(struct kvi_state *state)
{
  state->waiters[0].kept.used_ns = KVI_STATE_CARRIED_MOST_NS;
}

/* Who did not come back for two weeks is not written again. */
static void carried_for_a_while(void **state)
{
  struct node *node = *state;
  void *own = node->f, *other;

  node_open(node);
  three_wait(node);
  node_close(node);
  file_change(node, of_weeks_ago);
  assert_int_equal(setup(&other), 0);
  node->f = other;
  node_open(node);
  waits(node, 4, 2, "grep", 0, 0);
  node_close(node);
  node->f = own;
  node_open(node);
  assert_int_equal(n_waiters(node), 2);
  node_close(node);
  teardown(&other);
}

static void clock_back(struct kvi_state *state)
{
  memset(state->clock.boot, 1, sizeof(state->clock.boot)); /* the machine was started anew */
  state->clock.wall_ms += UINT64_C(1000) * 86400 * 365;
}

static void clock_ahead(struct kvi_state *state)
{
  memset(state->clock.boot, 1, sizeof(state->clock.boot));
  state->clock.wall_ms = 0;
}

static void clocks_that_are_wrong(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter before, after;

  node_open(node);
  three_wait(node);
  assert_true(waiter_of(node, 1, &before));
  node_close(node);
  file_change(node, clock_back);
  node_open(node);
  assert_true(waiter_of(node, 1, &after));
  assert_waits_as_before(&before, &after);
  node_close(node);
  file_change(node, clock_ahead);
  node_open(node);
  assert_int_equal(n_waiters(node), 3);
  assert_true(waiter_of(node, 1, &after));
  assert_true(after.waits_s >= before.waits_s + WEEK_S &&
              after.waits_s < before.waits_s + WEEK_S + A_WHILE_S);
}

static void another_policy(struct kvi_state *state)
{
  snprintf(state->policy, sizeof(state->policy), "another");
}

static void bad_numbers(struct kvi_state *state)
{
  state->waiters[0].kept.weight = -1;
  state->waiters[1].kept.chunk_bytes = 0;
  state->waiters[1].kept.cost = 1e30f;
  state->waiters[2].kept.n_chunks = UINT32_MAX; /* no more than there are */
  state->waiters[2].kept.n_whole = UINT32_MAX;
  for (uint32_t i = 0; i < state->n_learned; i++)
    memset(state->learned[i].bytes + 8, 0xff, state->learned[i].length - 8); /* no numbers */
}

static void not_taken(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter waiter;

  node_open(node);
  three_wait(node);
  node_close(node);
  file_change(node, bad_numbers);
  node_open(node);
  assert_int_equal(n_waiters(node), 1);
  assert_true(waiter_of(node, 3, &waiter));
  assert_int_equal(waiter.n_chunks, 7);
  assert_true(waiter.price >= 0);
  node_close(node);
  file_change(node, another_policy);
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
}

/* A policy that keeps nothing leaves the file to the next one that does. */
static void nothing_to_keep(void **state)
{
  struct node *node = *state;

  node_open(node);
  three_wait(node);
  node_close(node);
  node->policy = "lru";
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  waits(node, 4, 2, "grep", 0, 0);
  node_close(node);
  node->policy = "index";
  node_open(node);
  assert_int_equal(n_waiters(node), 3);
}

/* Written while the node runs, when something was told, by a thread. */
static void within_the_interval(void **state)
{
  struct node *node = *state;
  struct stat before, after;

  node->interval_ms = 1;
  node_open(node);
  three_wait(node);
  AWAIT(stat(node->file, &before) == 0);
  waits(node, 4, 2, "grep", 0, 0);
  AWAIT(stat(node->file, &after) == 0 && after.st_size > before.st_size);
}

/* Asked to, it is written while other things go on; what happens then is written too, and neither the store nor its programs wait for the disk, or are looked at after. */
static void beside_the_drain(void **state)
{
  struct node *node = *state;
  uint32_t before = flushes;

  node_open(node);
  three_wait(node);
  held = true;
  kvi_remember_save(node->remember);
  AWAIT(flushes == before + 1);
  waits(node, 4, 2, "grep", 0, 0);
  {
    struct kvi_store_stats stats;

    AWAIT((kvi_store_stats(node->world.store, &stats), stats.writes_queued == 0 && stats.medium.queued == 0));
  }
  kvi_remember_finish(node->remember);
  kvi_programs_destroy(node->programs);
  kvi_store_close(node->world.store);
  node->world.store = NULL;
  assert_int_equal(flushes, before + 1);
  held = false;
  kvi_remember_destroy(node->remember);
  assert_int_equal(flushes, before + 2);
  node_open(node);
  assert_int_equal(n_waiters(node), 4);
  kvi_remember_save(node->remember); /* nothing to write */
  node_close(node);
  assert_int_equal(flushes, before + 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(comes_back),        CASE(what_was_learned),    CASE(less_is_there),         CASE(nothing_is_there),
      CASE(chunks_come_later), CASE(carried_for_a_while), CASE(clocks_that_are_wrong), CASE(not_taken),
      CASE(nothing_to_keep),   CASE(within_the_interval), CASE(beside_the_drain)};

  kvi_log_configure(KVI_LOG_ERROR, KVI_LOG_TEXT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
