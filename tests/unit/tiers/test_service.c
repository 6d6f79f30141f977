/* The service: every control method as a wire would call it, good and bad requests. (Deletes: test_service_delete.c.) */
#include <stdbool.h>
#include <stdio.h>

#include "service_testing.h"

#include "proto/limits.h"
#include "tiers/programs.h"
#include "tiers/service_private.h"
#include "tiers/store_private.h"
#include "tiers/why.h"

static void hello(void **state)
{
  Kvasir__V1__HelloRequest request = KVASIR__V1__HELLO_REQUEST__INIT;
  Kvasir__V1__HelloReply *reply;
  struct fixture f;

  (void)state;
  setup(&f);
  request.protocol_min = 1;
  request.protocol_max = 9;
  reply = ask(&f, KVI_METHOD_HELLO, &request);
  assert_int_equal(reply->status, KVS_OK);
  assert_int_equal(reply->incarnation, 77);
  assert_string_equal(reply->software, "kvasir test");
  assert_int_equal(reply->chunk_bytes_max, 64 * PAGE);
  assert_int_equal(reply->frame_bytes_max, KVI_FRAME_BYTES_MAX);
  assert_int_equal(reply->batch_chunks_max, KVI_BATCH_CHUNKS_MAX);
  assert_true(reply->message_bytes_max > KVI_FRAME_BYTES_MAX + KVI_FRAME_HEADER_MAX);
  done(reply);
  request.protocol_min = 7;
  request.software = "other 9.9";
  reply = ask(&f, KVI_METHOD_HELLO, &request);
  assert_int_equal(reply->status, KVS_ERR_VERSION);
  assert_non_null(strstr(reply->message, "kvasir test"));
  assert_non_null(strstr(reply->message, "other 9.9"));
  assert_non_null(strstr(reply->message, "7 to 9"));
  assert_non_null(strstr(reply->message, "1 to 1"));
  assert_int_equal(reply->protocol_max, KVI_PROTOCOL_MAX);
  done(reply);
  request.protocol_min = request.protocol_max = 0;
  reply = ask(&f, KVI_METHOD_HELLO, &request);
  assert_int_equal(reply->status, KVS_ERR_VERSION);
  done(reply);
  teardown(&f);
}

static void wrong_messages(void **state)
{
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  ProtobufCMessage *reply;
  struct fixture f;

  (void)state;
  setup(&f);
  done(ask(&f, KVI_METHOD_PING, &empty));
  assert_int_equal(f.service->ops->call(f.service->self, &peer, KVI_METHOD_LOOKUP, &empty.base, NULL, &reply),
                   KVS_ERR_UNSUPPORTED);
  assert_null(reply);
  assert_int_equal(f.service->ops->call(f.service->self, &peer, KVI_METHOD_COUNT, &empty.base, NULL, &reply),
                   KVS_ERR_UNSUPPORTED);
  assert_int_equal(f.service->ops->call(f.service->self, &peer, KVI_METHOD_PING, NULL, NULL, &reply),
                   KVS_ERR_UNSUPPORTED);
  teardown(&f);
}

static void spaces(void **state)
{
  kvs_space_desc desc = testing_space("other model", KEY_BYTES);
  Kvasir__V1__OpenSpaceRequest request = KVASIR__V1__OPEN_SPACE_REQUEST__INIT;
  Kvasir__V1__ListSpacesRequest list = KVASIR__V1__LIST_SPACES_REQUEST__INIT;
  Kvasir__V1__ListSpacesReply *listed;
  Kvasir__V1__SpaceDescriptor message;
  Kvasir__V1__OpenSpaceReply *reply;
  uint8_t digest[KVS_DIGEST_SIZE];
  struct fixture f;

  (void)state;
  setup(&f);
  listed = ask(&f, KVI_METHOD_LIST_SPACES, &list);
  assert_int_equal(listed->n_spaces, 0);
  done(listed);
  reply = ask(&f, KVI_METHOD_OPEN_SPACE, &request);
  assert_int_equal(reply->status, KVS_ERR_INVALID);
  done(reply);
  open_space(&f);
  kvi_space_to_message(&desc, &message);
  request.descriptor = &message;
  request.digest = bytes(f.digest, KVS_DIGEST_SIZE);
  reply = ask(&f, KVI_METHOD_OPEN_SPACE, &request);
  assert_int_equal(reply->status, KVS_ERR_SPACE_MISMATCH);
  assert_non_null(strstr(reply->message, "digest"));
  done(reply);
  assert_int_equal(kvs_space_digest(&desc, digest), KVS_OK);
  request.digest = bytes(digest, KVS_DIGEST_SIZE);
  reply = ask(&f, KVI_METHOD_OPEN_SPACE, &request);
  assert_int_equal(reply->status, KVS_OK);
  assert_true(reply->created);
  assert_non_null(strstr(reply->message, "model"));
  done(reply);
  reply = ask(&f, KVI_METHOD_OPEN_SPACE, &request);
  assert_int_equal(reply->status, KVS_OK);
  assert_false(reply->created);
  done(reply);
  message.layout = 99;
  reply = ask(&f, KVI_METHOD_OPEN_SPACE, &request);
  assert_true(reply->status < 0);
  done(reply);
  put_chain(&f);
  listed = ask(&f, KVI_METHOD_LIST_SPACES, &list);
  assert_int_equal(listed->n_spaces, 2);
  assert_int_equal(listed->spaces[0]->chunks, KEYS);
  assert_int_equal(listed->spaces[0]->bytes, KEYS * CHUNK);
  assert_string_equal(listed->spaces[1]->descriptor->model, "other model");
  done(listed);
  teardown(&f);
}

static void lookup_and_release(void **state)
{
  Kvasir__V1__LookupRequest request = KVASIR__V1__LOOKUP_REQUEST__INIT;
  Kvasir__V1__ReleaseRequest release = KVASIR__V1__RELEASE_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  ProtobufCBinaryData space, many[KVI_LOOKUP_SPACES_MAX + 1];
  Kvasir__V1__ReleaseReply *released;
  Kvasir__V1__LookupReply *reply;
  struct kvi_store_stats stats;
  uint64_t lease;
  struct fixture f;

  (void)state;
  setup(&f);
  open_space(&f);
#define EXPECT(expected)                                                                                     \
  do {                                                                                                       \
    reply = ask(&f, KVI_METHOD_LOOKUP, &request);                                                            \
    assert_int_equal(reply->status, expected);                                                               \
    done(reply);                                                                                             \
  } while (0)
  EXPECT(KVS_ERR_INVALID); /* no space */
  space = bytes(f.digest, 5);
  request.n_spaces = 1;
  request.spaces = &space;
  EXPECT(KVS_ERR_INVALID);
  space.len = KVS_DIGEST_SIZE;
  EXPECT(KVS_ERR_INVALID); /* no keys */
  request.keys = &keys;
  keys.keys = bytes(f.keys, sizeof(f.keys));
  EXPECT(KVS_ERR_KEY_LENGTH);
  keys.key_length = 24;
  EXPECT(KVS_ERR_KEY_LENGTH);
  keys.key_length = KEY_BYTES;
  for (uint32_t i = 0; i <= KVI_LOOKUP_SPACES_MAX; i++)
    many[i] = space;
  request.spaces = many;
  request.n_spaces = KVI_LOOKUP_SPACES_MAX + 1;
  EXPECT(KVS_ERR_TOO_LARGE);
  request.n_spaces = 1;
  EXPECT(KVS_MISS);
#undef EXPECT
  put_chain(&f);
  request.want_tiers = true;
  request.lease_ms = 10000;
  reply = ask(&f, KVI_METHOD_LOOKUP, &request);
  assert_int_equal(reply->status, KVS_OK);
  assert_int_equal(reply->prefix, KEYS);
  assert_int_equal(reply->present.len, 1);
  assert_int_equal(reply->present.data[0], 0xff);
  assert_int_equal(reply->tiers.len, KEYS);
  assert_int_equal(reply->lease_status, KVS_OK);
  assert_int_equal(reply->lease_ms, 10000);
  lease = reply->lease;
  assert_true(lease != 0);
  done(reply);
  release.n_leases = 1;
  release.leases = &lease;
  for (uint32_t i = 0; i < 2; i++) {
    released = ask(&f, KVI_METHOD_RELEASE, &release);
    assert_int_equal(released->released, 1 - i);
    done(released);
  }
  done(ask(&f, KVI_METHOD_LOOKUP, &request));
  f.service->ops->peer_gone(f.service->self, &peer);
  kvi_store_stats(f.store, &stats);
  assert_int_equal(stats.leases, 0);
  teardown(&f);
}

static void many_spaces_come_by_pages(void **state)
{
  static char text[KVS_SPACE_STRING_MAX + 1];
  Kvasir__V1__ListSpacesRequest list = KVASIR__V1__LIST_SPACES_REQUEST__INIT;
  kvs_space_desc desc = testing_space("m", KEY_BYTES);
  uint8_t digest[KVS_DIGEST_SIZE];
  uint32_t n = 0, pages = 0;
  struct fixture f;

  (void)state;
  setup(&f);
  memset(text, 'x', KVS_SPACE_STRING_MAX);
  desc.model = desc.revision = desc.isa = desc.layout_detail = text;
  for (uint32_t i = 0; i < 1000; i++) {
    desc.kv_group = i;
    testing_space_open(f.store, TENANT, &desc, digest);
  }
  do {
    Kvasir__V1__ListSpacesReply *listed = ask(&f, KVI_METHOD_LIST_SPACES, &list);

    assert_true(kvasir__v1__list_spaces_reply__get_packed_size(listed) < KVI_FRAME_BYTES_MAX / 2);
    for (size_t i = 0; i < listed->n_spaces; i++)
      assert_int_equal(listed->spaces[i]->descriptor->kv_group, n++);
    list.cursor = listed->cursor;
    pages++;
    done(listed);
  } while (list.cursor != 0);
  assert_int_equal(n, 1000);
  assert_true(pages > 1);
  list.cursor = UINT64_MAX;
  Kvasir__V1__ListSpacesReply *listed = ask(&f, KVI_METHOD_LIST_SPACES, &list);
  assert_int_equal(listed->n_spaces, 0);
  assert_int_equal(listed->cursor, 0);
  done(listed);
  teardown(&f);
}

static void expect_hint(struct fixture *f, const Kvasir__V1__HintRequest *request, uint32_t outcome)
{
  Kvasir__V1__HintReply *reply = ask(f, KVI_METHOD_HINT, request);

  assert_int_equal(reply->outcome, outcome);
  assert_int_equal(reply->text[0] == '\0', outcome == KVI_HINT_ACCEPTED); /* else it says why */
  done(reply);
}

static void hints(void **state)
{
  Kvasir__V1__HintRequest request = KVASIR__V1__HINT_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  char longest[300];
  struct fixture f;

  (void)state;
  setup(&f);
  open_space(&f);
  expect_hint(&f, &request, KVI_HINT_REJECTED); /* no program */
  memset(longest, 'p', sizeof(longest) - 1);
  longest[sizeof(longest) - 1] = '\0';
  request.program = longest;
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.program = "agent";
  request.priority_said_case = KVASIR__V1__HINT_REQUEST__PRIORITY_SAID_PRIORITY;
  request.priority = 101;
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.priority = 100;
  request.wait_kind = 6;
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.wait_kind = 1;
  request.return_p50_ms = 10;
  request.return_p90_ms = 9;
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.return_p90_ms = 20;
  request.tool = "grep";
  expect_hint(&f, &request, KVI_HINT_ACCEPTED);
  request.space = bytes(f.digest, KVS_DIGEST_SIZE);
  expect_hint(&f, &request, KVI_HINT_REJECTED); /* a space without keys */
  request.keys = &keys;
  keys.keys = bytes(f.keys, sizeof(f.keys));
  keys.key_length = KEY_BYTES;
  expect_hint(&f, &request, KVI_HINT_MISSING);
  put_chain(&f);
  expect_hint(&f, &request, KVI_HINT_ACCEPTED);
  request.close = true;
  expect_hint(&f, &request, KVI_HINT_ACCEPTED);
  expect_hint(&f, &request, KVI_HINT_MISSING);
  teardown(&f);
}

static Kvasir__V1__LookupReply *look(struct fixture *f)
{
  Kvasir__V1__LookupRequest request = KVASIR__V1__LOOKUP_REQUEST__INIT;
  Kvasir__V1__Keys keys = KVASIR__V1__KEYS__INIT;
  ProtobufCBinaryData space = bytes(f->digest, KVS_DIGEST_SIZE);

  request.spaces = &space;
  request.n_spaces = 1;
  request.keys = &keys;
  keys.keys = bytes(f->keys, sizeof(f->keys));
  keys.key_length = KEY_BYTES;
  return ask(f, KVI_METHOD_LOOKUP, &request);
}

/* With a space and no keys, with a program or without; then look-ups have a verdict. */
static void hints_of_computing(void **state)
{
  Kvasir__V1__HintRequest request = KVASIR__V1__HINT_REQUEST__INIT;
  Kvasir__V1__LookupReply *reply;
  uint8_t unknown[KVS_DIGEST_SIZE] = {1};
  struct fixture f;

  (void)state;
  setup(&f);
  open_space(&f);
  put_chain(&f);
  request.prefill_tokens = 256;
  request.prefill_us = 25600;
  expect_hint(&f, &request, KVI_HINT_REJECTED); /* of which space? */
  request.space = bytes(f.digest, 7);
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.space = bytes(unknown, KVS_DIGEST_SIZE);
  expect_hint(&f, &request, KVI_HINT_MISSING);
  request.space = bytes(f.digest, KVS_DIGEST_SIZE);
  request.prefill_us = 0;
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.prefill_us = 25600;
  request.prefill_tokens = 0;
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.prefill_tokens = 10;
  expect_hint(&f, &request, KVI_HINT_DEFERRED);
  request.prefill_tokens = 256;
  expect_hint(&f, &request, KVI_HINT_ACCEPTED);
  request.program = "agent";
  expect_hint(&f, &request, KVI_HINT_ACCEPTED);
  reply = look(&f);
  assert_int_equal(reply->prefix, KEYS);
  assert_int_equal(reply->compute_us, 0);
  assert_int_equal(reply->worth, 0);
  assert_int_equal(reply->worth_us, 0);
  done(reply);
  request.priority_said_case = KVASIR__V1__HINT_REQUEST__PRIORITY_SAID_PRIORITY;
  request.priority = 101; /* what is wrong with it is wrong with all of it */
  expect_hint(&f, &request, KVI_HINT_REJECTED);
  request.priority = 0;
  request.prefill_us = UINT64_MAX;
  expect_hint(&f, &request, KVI_HINT_CLIPPED);
  reply = look(&f);
  assert_in_range(reply->compute_us, KEYS * 25600,
                  KEYS * 25600 * 103 / 100); /* of three, that in the middle */
  assert_int_equal(reply->worth, KEYS);
  assert_in_range(reply->worth_us, reply->fetch_us, reply->fetch_us + 1);
  done(reply);
  teardown(&f);
}

/* The row of a counter that has this value, which no other has. */
static const char *labels_of(const Kvasir__V1__StatsReply *reply, const char *name, uint64_t value)
{
  const char *labels = NULL;

  for (size_t i = 0; i < reply->n_stats; i++) {
    if (strcmp(reply->stats[i]->name, name) != 0 || (uint64_t)reply->stats[i]->value != value)
      continue;
    assert_null(labels);
    labels = reply->stats[i]->labels;
  }
  assert_non_null(labels);
  return labels;
}

/* Each cause of a miss, each answer to a hint and each rule of an eviction is counted under a name of its own. */
static void each_has_its_row(void **state)
{
  Kvasir__V1__StatsReply *reply;
  char expected[64];
  struct fixture f;

  (void)state;
  setup(&f);
  for (uint32_t i = 0; i < KVI_MISS_COUNT; i++)
    f.store->stats.get_misses[i] = 1000 + i;
  for (uint32_t i = 0; i < KVI_HINT_OUTCOMES; i++)
    atomic_store(&f.owner->hints[i], 2000 + i);
  for (uint32_t i = 0; i < 2 * KVI_EVICT_RULES; i++)
    f.store->stats.evictions_by[i / KVI_EVICT_RULES][i % KVI_EVICT_RULES] = 3000 + i;
  assert_int_equal(kvi_store_service_stats(f.owner, &reply), KVS_OK);
  for (uint32_t i = KVI_MISS_NEVER; i < KVI_MISS_COUNT; i++)
    if (i != KVI_MISS_NODE) /* clients count that */
      assert_non_null(strstr(labels_of(reply, "kvasir_get_misses_total", 1000 + i), "cause="));
  for (uint32_t i = KVI_HINT_ACCEPTED; i < KVI_HINT_OUTCOMES; i++)
    assert_non_null(strstr(labels_of(reply, "kvasir_hints_total", 2000 + i), "outcome="));
  for (uint32_t i = 0; i < 2 * KVI_EVICT_RULES; i++) {
    snprintf(expected, sizeof(expected), "tier=\"%s\",rule=\"%s\"", i < KVI_EVICT_RULES ? "dram" : "ssd",
             kvi_evict_rule_name((enum kvi_evict_rule)(i % KVI_EVICT_RULES)));
    assert_string_equal(labels_of(reply, "kvasir_tier_evictions_total", 3000 + i), expected);
  }
  done(reply);
  teardown(&f);
}

static void programs_are_bounded(void **state)
{
  struct kvi_programs *programs;
  struct kvi_programs_stats stats;
  struct kvi_program_hint hint = {.tenant = TENANT, .parent = "", .tool = "t"}, found;
  char name[16];

  (void)state;
  assert_int_equal(kvi_programs_create(0, &programs), KVS_ERR_INVALID);
  assert_int_equal(kvi_programs_create(3, &programs), KVS_OK);
  for (uint32_t i = 0; i < 10; i++) {
    snprintf(name, sizeof(name), "p%u", i);
    hint.program = name;
    hint.turn = i;
    assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
    hint.program = "p0"; /* heard of again and again: stays */
    assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  }
  kvi_programs_stats(programs, &stats);
  assert_int_equal(stats.programs, 3);
  assert_int_equal(stats.forgotten, 7);
  assert_true(kvi_programs_find(programs, TENANT, "p0", &found));
  assert_int_equal(found.turn, 9);
  assert_string_equal(found.tool, "t");
  assert_false(kvi_programs_find(programs, "other", "p0", &found));
  assert_false(kvi_programs_find(programs, TENANT, "p1", &found));
  hint.close = true;
  assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  assert_false(kvi_programs_find(programs, TENANT, "p0", &found));
  kvi_programs_destroy(programs);
  kvi_programs_destroy(NULL);
}

/* Whose child it is, and its turn, stay as they were said last; what it waits for is what the last hint says. */
static void parents_and_turns_stay(void **state)
{
  struct kvi_program_hint hint = {
      .tenant = TENANT, .program = "child", .parent = "chief", .tool = "grep", .turn = 7, .wait_kind = 1};
  struct kvi_programs *programs;
  struct kvi_program_hint found;

  (void)state;
  assert_int_equal(kvi_programs_create(3, &programs), KVS_OK);
  assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  hint.parent = hint.tool = "";
  hint.turn = 0;
  hint.wait_kind = 2;
  assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  assert_true(kvi_programs_find(programs, TENANT, "child", &found));
  assert_string_equal(found.parent, "chief");
  assert_int_equal(found.turn, 7);
  assert_int_equal(found.wait_kind, 2);
  assert_string_equal(found.tool, "");
  hint.parent = "other";
  hint.turn = 3;
  assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  assert_true(kvi_programs_find(programs, TENANT, "child", &found));
  assert_string_equal(found.parent, "other");
  assert_int_equal(found.turn, 3);
  hint.program = "other";
  hint.parent = "";
  assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  hint.close = true; /* which says nothing of those that work for it */
  assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  assert_true(kvi_programs_find(programs, TENANT, "child", &found));
  assert_string_equal(found.parent, "other");
  kvi_programs_destroy(programs);
}

static void programs_are_found_by_their_hash(void **state)
{
  const char *const tenants[] = {TENANT, "other"};
  struct kvi_programs *programs;
  struct kvi_program_named named;
  char name[16];

  (void)state;
  assert_int_equal(kvi_programs_create(64, &programs), KVS_OK);
  for (uint32_t i = 0; i < 200; i++) { /* two of each hash, of one tenant each; 64 stay */
    struct kvi_program_hint hint = {
        .tenant = tenants[i % 2], .parent = "", .tool = "", .program = name, .turn = i, .hash = 1 + i / 2};

    snprintf(name, sizeof(name), "p%u", i);
    assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
  }
  for (uint32_t i = 0; i < 200; i++) {
    assert_int_equal(kvi_programs_find_hash(programs, tenants[i % 2], 1 + i / 2, &named), i >= 136);
    if (i >= 136)
      assert_int_equal(named.turn, i);
  }
  {
    struct kvi_program_hint hint = {
        .tenant = TENANT, .parent = "", .tool = "", .program = "p198", .hash = UINT64_C(1) << 40};

    assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
    assert_false(kvi_programs_find_hash(programs, TENANT, 100, &named));
    assert_true(kvi_programs_find_hash(programs, TENANT, UINT64_C(1) << 40, &named));
    hint.hash = 0;
    assert_int_equal(kvi_programs_hint(programs, &hint), KVI_HINT_ACCEPTED);
    assert_false(kvi_programs_find_hash(programs, TENANT, UINT64_C(1) << 40, &named));
    assert_false(kvi_programs_find_hash(programs, TENANT, 0, &named));
  }
  kvi_programs_destroy(programs);
}

static void stats_and_config(void **state)
{
  Kvasir__V1__StatsRequest request = KVASIR__V1__STATS_REQUEST__INIT;
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  Kvasir__V1__ConfigReply *config;
  Kvasir__V1__StatsReply *reply;
  bool found = false;
  struct fixture f;

  (void)state;
  setup(&f);
  open_space(&f);
  put_chain(&f);
  reply = ask(&f, KVI_METHOD_STATS, &request);
  assert_int_equal(reply->incarnation, 77);
  for (size_t i = 0; i < reply->n_stats; i++) {
    const Kvasir__V1__Stat *stat = reply->stats[i];
    size_t length = strlen(stat->name);
    bool total = length > 6 && strcmp(stat->name + length - 6, "_total") == 0;

    assert_int_equal(strncmp(stat->name, "kvasir_", 7), 0);
    assert_int_equal(total, stat->kind == 1); /* counters, and only they, end so */
    assert_true(strlen(stat->help) > 5);
    if (strcmp(stat->name, "kvasir_put_commits_total") == 0) {
      assert_true(stat->value == KEYS);
      found = true;
    }
    for (size_t j = 0; j < i; j++)
      assert_false(strcmp(reply->stats[j]->name, stat->name) == 0 &&
                   strcmp(reply->stats[j]->labels, stat->labels) == 0);
  }
  assert_true(found);
  done(reply);
  config = ask(&f, KVI_METHOD_CONFIG, &empty);
  assert_string_equal(config->json, "{\"a\":1}");
  done(config);
  teardown(&f);
}

static void draining(void **state)
{
  Kvasir__V1__LookupRequest request = KVASIR__V1__LOOKUP_REQUEST__INIT;
  uint32_t length = CHUNK, cause;
  struct kvi_put_request put = {
      .key_length = KEY_BYTES, .length = CHUNK, .n_segments = 1, .segment_lengths = &length};
  struct kvi_landing landing, other;
  Kvasir__V1__LookupReply *reply;
  struct kvi_source source;
  struct fixture f;

  (void)state;
  setup(&f);
  open_space(&f);
  put.space = f.digest;
  put.key = f.keys;
  assert_int_equal(f.service->ops->put_begin(f.service->self, &peer, &put, NULL, NULL, &landing), KVS_OK);
  kvi_store_service_drain(f.owner);
  kvi_store_service_drain(f.owner);
  assert_int_equal(f.service->ops->put_begin(f.service->self, &peer, &put, NULL, NULL, &other),
                   KVS_ERR_DRAINING);
  assert_int_equal(
      f.service->ops->get_open(f.service->self, &peer, f.digest, f.keys, KEY_BYTES, NULL, &source, &cause),
      KVS_ERR_DRAINING);
  reply = ask(&f, KVI_METHOD_LOOKUP, &request);
  assert_int_equal(reply->status, KVS_ERR_DRAINING);
  done(reply);
  testing_fill(&landing, 0);
  assert_int_equal(f.service->ops->put_commit(f.service->self, &landing), KVS_OK); /* in flight: goes on */
  teardown(&f);
}

static void create_errors(void **state)
{
  struct kvi_store_service_config config = {.incarnation = 1};
  struct kvi_store_service *service;

  (void)state;
  assert_int_equal(kvi_store_service_create(&config, &service), KVS_ERR_INVALID);
  assert_null(service);
  kvi_store_service_destroy(NULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hello),
      cmocka_unit_test(wrong_messages),
      cmocka_unit_test(spaces),
      cmocka_unit_test(many_spaces_come_by_pages),
      cmocka_unit_test(hints),
      cmocka_unit_test(hints_of_computing),
      cmocka_unit_test(lookup_and_release),
      cmocka_unit_test(draining),
      cmocka_unit_test(each_has_its_row),
      cmocka_unit_test(programs_are_bounded),
      cmocka_unit_test(parents_and_turns_stay),
      cmocka_unit_test(programs_are_found_by_their_hash),
      cmocka_unit_test(stats_and_config),
      cmocka_unit_test(create_errors),
  };

  return cmocka_run_group_tests_name("tiers/service", tests, NULL, NULL);
}
