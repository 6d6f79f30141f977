/*
 * The connector as a whole, on an embedded store or, with KVASIR_TEST_ENDPOINT set, on a node: the cases are the same,
 * since an engine must not see the difference. What it does with chunks is in test_transfers.c, test_lookups.c and
 * test_operations.c.
 */
#include "tests/unit/connector/connector_testing.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kvasir/client.h>

/* ---- options and spaces ---- */

/* A gap at the end would be a part of what an older caller passes without setting it, and of what a later field lies in. */
static void structs_end_with_a_field(void **state)
{
#define ENDS(type, field)                                                                                    \
  {                                                                                                          \
#type, sizeof(type), offsetof(type, field) + sizeof(((type *)0)->field)                                  \
  }
  static const struct {
    const char *name;
    size_t size, end;
  } structs[] = {
      ENDS(kvs_space_desc, chunk_bytes),  ENDS(kvs_options, reserved_more),
      ENDS(kvs_keys, extent_first),       ENDS(kvs_request, reserved_3),
      ENDS(kvs_hint, reserved),           ENDS(kvs_counters, encoded_bytes),
      ENDS(kvsc_options, reserved_more),  ENDS(kvsc_keys, extent_first),
      ENDS(kvsc_call, reserved_2),        ENDS(kvsc_hint, reserved),
      ENDS(kvsc_counters, encoded_bytes),
  };

  (void)state;
  for (size_t i = 0; i < sizeof(structs) / sizeof(*structs); i++) {
    if (structs[i].size != structs[i].end)
      fail_msg("%s has %zu bytes, its last field ends at %zu", structs[i].name, structs[i].size,
               structs[i].end);
  }
}

/* One that knows nothing behind by_layer, and whose request ended with a gap of 4 bytes. */
static void an_older_caller_is_understood(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "older", 0);
  kvs_request request;
  kvs_op op;

  memset(&request, 0xAB, sizeof(request));
  request.struct_size = 56; /* its sizeof */
  request.timeout_ms = request.lease_ms = request.by_layer = 0;
  request.user = request.lease = 0;
  request.statuses = NULL;
  request.present = NULL;
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &world->keys.keys, &request, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_MISS);
}

static void options_are_checked(void **state)
{
  kvs_options small = {.struct_size = 8}, slow = {.struct_size = sizeof(slow), .timeout_ms = 600001},
              wide = {.struct_size = sizeof(wide), .max_operations = 65537},
              odd = {.struct_size = sizeof(odd), .endpoint = "tcp:7070"};
  kvs_connector *connector = (kvs_connector *)&small;

  (void)state;
  assert_int_equal(kvs_open(&small, &connector), KVS_ERR_INVALID);
  assert_null(connector);
  assert_int_equal(kvs_open(&slow, &connector), KVS_ERR_INVALID);
  assert_int_equal(kvs_open(&wide, &connector), KVS_ERR_INVALID);
  assert_int_equal(kvs_open(&odd, &connector), KVS_ERR_INVALID);
  assert_int_equal(kvs_open(&odd, NULL), KVS_ERR_INVALID);
  kvs_close(NULL);
  assert_int_equal(kvs_version(), 0x000100);
}

static void options_of_encoding_are_checked(void **state)
{
  static const kvs_options wrong[] = {{.encode = KVS_ENCODE_CACHEGEN + 1},
                                      {.encode_planes = 4},
                                      {.encode_threads = 65},
                                      {.encode_mib = 65537}};
  kvs_options options = {.encode = 99, .encode_planes = 99, .encode_threads = 99, .encode_mib = UINT32_MAX};
  kvs_connector *connector;

  (void)state;
  for (size_t i = 0; i < 2 * sizeof(wrong) / sizeof(wrong[0]); i++) {
    kvs_options odd = wrong[i / 2];

    odd.struct_size = sizeof(odd);
    odd.endpoint = i % 2 == 0 ? "embedded:1MiB" : "unix:/nonexistent/kvasir.sock";
    assert_int_equal(kvs_open(&odd, &connector), KVS_ERR_INVALID);
  }
  /* An engine that was built before there were these options. */
  options.struct_size = offsetof(kvs_options, encode);
  options.endpoint = "embedded:1MiB";
  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  kvs_close(connector);
  options =
      (kvs_options){.struct_size = sizeof(options), .endpoint = "embedded:1MiB", .encode = KVS_ENCODE_LADDER};
  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  kvs_close(connector);
}

static void spaces_are_checked_and_shared(void **state)
{
  struct world *world = *state;
  kvs_space_desc desc = test_desc("one", 0);
  kvs_space *first, *again, *other;
  uint8_t a[KVS_DIGEST_SIZE], b[KVS_DIGEST_SIZE];

  assert_int_equal(kvs_space_open(world->connector, &desc, &first), KVS_OK);
  assert_int_equal(kvs_space_open(world->connector, &desc, &again), KVS_OK);
  assert_ptr_equal(first, again);
  desc.model = "two";
  assert_int_equal(kvs_space_open(world->connector, &desc, &other), KVS_OK);
  assert_ptr_not_equal(first, other);
  kvs_space_get_digest(first, a);
  kvs_space_get_digest(other, b);
  assert_memory_not_equal(a, b, sizeof(a));

  desc.key_length = 4;
  other = first;
  assert_int_equal(kvs_space_open(world->connector, &desc, &other), KVS_ERR_KEY_LENGTH);
  assert_null(other);
  desc = test_desc("one", 0);
  desc.tp_rank = 5;
  assert_int_equal(kvs_space_open(world->connector, &desc, &other), KVS_ERR_INVALID);
  assert_int_equal(kvs_space_open(world->connector, NULL, &other), KVS_ERR_INVALID);
  assert_int_equal(kvs_space_open(NULL, &desc, &other), KVS_ERR_INVALID);
  for (uint32_t i = 0; i < 64; i++) {
    desc = test_desc("many", 0);
    desc.kv_group = i;
    assert_int_equal(kvs_space_open(world->connector, &desc, &other), i < 62 ? KVS_OK : KVS_ERR_BUSY);
  }
}

static void two_spaces_share_nothing(void **state)
{
  struct world *world = *state;
  kvs_space *first = test_space(world->connector, "weights a", 0),
            *other = test_space(world->connector, "weights b", 0);
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};

  test_put(first, world->connector, &world->keys.keys, &world->memory, slots, 1);
  assert_int_equal(test_get(other, world->connector, &world->keys.keys, &world->memory, slots, 1).status,
                   KVS_MISS);
}

/* ---- hints, counters, state ---- */

static void hints_are_answered(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "hints", 0);
  char long_text[257];
  kvs_hint hint = {.struct_size = sizeof(hint),
                   .program = "agent-7",
                   .wait = KVS_WAIT_TOOL,
                   .tool = "web_search",
                   .return_p50_ms = 1500,
                   .return_p90_ms = 9000,
                   .priority = 50,
                   .ttl_ms = 60000};
  kvs_hint bad;
  kvs_completion completion;
  kvs_op op;

  assert_int_equal(kvs_send_hint(world->connector, &hint, NULL, NULL, NULL, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_true(completion.n_ok >= KVS_HINT_ACCEPTED && completion.n_ok <= KVS_HINT_MISSING);
  assert_int_equal(kvs_send_hint(world->connector, &hint, space, &world->keys.keys, NULL, &op), KVS_OK);
  test_wait(world->connector, op);

  memset(long_text, 'x', sizeof(long_text) - 1);
  long_text[sizeof(long_text) - 1] = '\0';
  bad = hint;
  bad.program = long_text;
  assert_int_equal(kvs_send_hint(world->connector, &bad, NULL, NULL, NULL, &op), KVS_ERR_INVALID);
  bad = hint;
  bad.priority = 101;
  assert_int_equal(kvs_send_hint(world->connector, &bad, NULL, NULL, NULL, &op), KVS_ERR_INVALID);
  bad = hint;
  bad.wait = (kvs_wait_kind)6;
  assert_int_equal(kvs_send_hint(world->connector, &bad, NULL, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_send_hint(world->connector, NULL, NULL, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_send_hint(world->connector, &hint, NULL, &world->keys.keys, NULL, &op),
                   KVS_ERR_INVALID);
}

/* Once an engine has told how long it computes, a look-up says whether loading is worth it; before, that all is. */
static void a_verdict_comes(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "verdict", 0);
  kvs_hint hint = {.struct_size = sizeof(hint), .prefill_tokens = 1000, .prefill_from = 500, .prefill_us = 1};
  int64_t slots[5] = {0, 1, 2, 3, 4};
  kvs_keys five = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  five.n = 5;
  test_put(space, world->connector, &five, &world->memory, slots, 1);
  for (uint32_t i = 0; i < 4; i++) {
    assert_int_equal(kvs_lookup(world->connector, &space, 1, &world->keys.keys, NULL, &op), KVS_OK);
    completion = test_wait(world->connector, op);
    assert_int_equal(completion.n_prefix, 5);
    if (i < 3) {
      assert_int_equal(completion.n_worth, 5);
      assert_int_equal(completion.compute_us, 0);
      assert_int_equal(completion.worth_us, 0);
    }
    assert_int_equal(kvs_send_hint(world->connector, &hint, space, NULL, NULL, &op), KVS_OK);
    assert_int_equal(test_wait(world->connector, op).n_ok, KVS_HINT_CLIPPED); /* so fast is nobody */
  }
  assert_true(completion.compute_us > 0);
  assert_true(completion.n_worth == 0 || completion.n_worth == 5); /* either may be faster, on any machine */
  assert_in_range(completion.worth_us, 1, completion.compute_us);
  hint.struct_size = 64; /* of an older caller, who says nothing of it */
  hint.program = "p";
  assert_int_equal(kvs_send_hint(world->connector, &hint, NULL, NULL, NULL, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).n_ok, KVS_HINT_ACCEPTED);
}

static void counters_count(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "counted", 0);
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  kvs_counters counters = {.struct_size = sizeof(counters)};
  struct {
    uint32_t struct_size;
    uint64_t lookups, after;
  } old = {.struct_size = offsetof(kvs_counters, lookup_keys), .after = 77};
  kvs_keys five = world->keys.keys;
  kvs_op op;

  five.n = 5;
  test_put(space, world->connector, &five, &world->memory, slots, 1);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &world->keys.keys, NULL, &op), KVS_OK);
  test_wait(world->connector, op);
  assert_int_equal(test_get(space, world->connector, &world->keys.keys, &world->memory, slots, 1).n_ok, 5);
  kvs_get_counters(world->connector, &counters);
  assert_int_equal(counters.lookups, 1);
  assert_int_equal(counters.lookup_keys, 8);
  assert_int_equal(counters.lookup_hit_keys, 5);
  assert_int_equal(counters.put_chunks, 5);
  assert_int_equal(counters.put_stored, 5);
  assert_int_equal(counters.put_bytes, 5 * test_chunk_bytes(&world->memory, 1));
  assert_int_equal(counters.get_chunks, 8);
  assert_int_equal(counters.get_hits, 5);
  assert_int_equal(counters.get_bytes, 5 * test_chunk_bytes(&world->memory, 1));
  assert_int_equal(counters.checksum_errors, 0);
  kvs_get_counters(world->connector, (kvs_counters *)(void *)&old); /* an engine built with an older header */
  assert_int_equal(old.lookups, 1);
  assert_int_equal(old.after, 77);
}

static void a_dead_node_is_a_fast_miss(void **state)
{
  struct world *world = *state;
  kvs_options options = {.struct_size = sizeof(options), .endpoint = "unix:/nonexistent/kvasir.sock"};
  kvs_connector *connector;
  kvs_space *space;
  struct test_memory memory;
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  char text[200];
  kvs_completion completion;
  kvs_op op;

  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  assert_int_equal(kvs_state(connector, text, sizeof(text)), KVS_ERR_UNREACHABLE);
  assert_true(strlen(text) > 0);
  space = test_space(connector, "dead", 0);
  test_memory_init(&memory, connector, 2, 8, 8);
  assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &op), KVS_OK);
  completion = test_wait(connector, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
  assert_int_equal(kvs_get(space, &world->keys.keys, memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(connector, op, 0, WAIT_MS), KVS_MISS);
  completion = test_wait(connector, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
  assert_int_equal(kvs_put(space, &world->keys.keys, memory.registered, slots, 1, NULL, &op), KVS_OK);
  completion = test_wait(connector, op);
  assert_true(completion.status != KVS_OK);
  assert_int_equal(completion.n_ok, 0);
  test_memory_destroy(&memory);
  kvs_close(connector);
}

/* ---- fork ---- */

static int in_child(struct world *world, kvs_space *space)
{
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  kvs_hint hint = {.struct_size = sizeof(hint), .program = "p"};
  kvs_space_desc desc = test_desc("child", 0);
  kvs_completion completion;
  kvs_memory *memory;
  kvs_space *other;
  char text[100] = "";
  kvs_op op = 5;

  if (kvs_get(space, &world->keys.keys, world->memory.registered, slots, 1, NULL, &op) != KVS_ERR_FORKED ||
      op != 0)
    return 1;
  if (kvs_lookup(world->connector, &space, 1, &world->keys.keys, NULL, &op) != KVS_ERR_FORKED)
    return 2;
  if (kvs_state(world->connector, text, sizeof(text)) != KVS_ERR_FORKED || text[0] == '\0')
    return 3;
  if (kvs_poll(world->connector, &completion, 1) != 0 ||
      kvs_wait(world->connector, 1, 0, &completion) != KVS_ERR_FORKED)
    return 4;
  if (kvs_memory_unregister(world->memory.registered) != KVS_ERR_FORKED ||
      kvs_memory_register(world->connector, world->memory.regions, 1, &memory) != KVS_ERR_FORKED)
    return 5;
  if (kvs_space_open(world->connector, &desc, &other) != KVS_ERR_FORKED)
    return 6;
  if (kvs_cancel(world->connector, 1) != KVS_ERR_FORKED ||
      kvs_release(world->connector, 1) != KVS_ERR_FORKED ||
      kvs_wait_layer(world->connector, 1, 0, 0) != KVS_ERR_FORKED ||
      kvs_send_hint(world->connector, &hint, NULL, NULL, NULL, &op) != KVS_ERR_FORKED)
    return 7;
  kvs_close(world->connector);
  return 0;
}

static void a_child_is_told_that_it_forked(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "fork", 0);
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  int wstatus = 0;
  pid_t child = fork();

  if (child == 0)
    _exit(in_child(world, space));
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &wstatus, 0), child);
  assert_true(WIFEXITED(wstatus));
  assert_int_equal(WEXITSTATUS(wstatus), 0);
  test_put(space, world->connector, &world->keys.keys, &world->memory, slots, 1); /* the parent goes on */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(structs_end_with_a_field),
      CASE(an_older_caller_is_understood),
      cmocka_unit_test(options_are_checked),
      cmocka_unit_test(options_of_encoding_are_checked),
      CASE(spaces_are_checked_and_shared),
      CASE(two_spaces_share_nothing),
      CASE(hints_are_answered),
      CASE(a_verdict_comes),
      CASE(counters_count),
      CASE(a_dead_node_is_a_fast_miss),
      CASE(a_child_is_told_that_it_forked),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
