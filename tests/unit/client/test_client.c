/* libkvasir over the local wire and a real store: what each operation gives. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "tests/unit/client/fixture.h"

#define MIB (1u << 20)

static int set_up(void **state)
{
  struct fixture *fixture = calloc(1, sizeof(*fixture));

  fixture_open(fixture, 64 * MIB, 0);
  *state = fixture;
  return 0;
}

static int tear_down(void **state)
{
  fixture_close(*state);
  free(*state);
  return 0;
}

static void a_chunk_comes_back_byte_for_byte(void **state)
{
  struct fixture *f = *state;
  uint8_t key[KEY], *in = malloc(3 * MIB + 5), *out = calloc(1, 3 * MIB + 5);
  kvsc_completion completion;

  test_key(1, 0, key);
  test_fill(in, 3 * MIB + 5, 1);
  assert_int_equal(get_one(f->space, f->client, key, out, 3 * MIB + 5, &completion), KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NEVER);
  assert_int_equal(put_one(f->space, f->client, key, in, 3 * MIB + 5), KVS_OK);
  assert_int_equal(put_one(f->space, f->client, key, in, 3 * MIB + 5), KVS_OK); /* EXISTS is no trouble */
  assert_int_equal(get_one(f->space, f->client, key, out, 3 * MIB + 5, &completion), KVS_OK);
  assert_int_equal(completion.n_ok, 1);
  assert_int_equal(completion.n_prefix, 1);
  assert_int_equal(completion.bytes, 3 * MIB + 5);
  assert_memory_equal(in, out, 3 * MIB + 5);
  assert_int_equal(get_one(f->space, f->client, key, out, 3 * MIB, &completion), KVS_ERR_BUFFER);
  free(in);
  free(out);
}

/* A chain of 40 chunks (more than a slot's room holds), each of 3 segments, scattered in odd pieces, with holes on the way back. */
static void a_batch_with_segments_and_holes(void **state)
{
  enum { N = 40, LENGTH = 3000 };
  struct fixture *f = *state;
  static const uint32_t segments[] = {1000, 500, 1500};
  uint8_t keys[N][KEY], *in = malloc(N * LENGTH), *out = malloc(N * LENGTH), expected[LENGTH];
  kvsc_iov put_iov[N][3], get_iov[N][3];
  kvsc_chunk put_chunks[N], get_chunks[N];
  kvs_status statuses[N];
  uint32_t chunks, segments_in_place;
  kvsc_op op;

  test_fill(in, N * LENGTH, 2);
  memset(out, 0xEE, N * LENGTH);
  for (uint32_t i = 0; i < N; i++) {
    uint8_t *from = in + i * LENGTH, *to = out + i * LENGTH;

    test_key(2, i, keys[i]);
    put_iov[i][0] = (kvsc_iov){from, 7};
    put_iov[i][1] = (kvsc_iov){from + 7, 1600};
    put_iov[i][2] = (kvsc_iov){from + 1607, LENGTH - 1607};
    /* the middle segment and a bit of the last are not wanted */
    get_iov[i][0] = (kvsc_iov){to, 1000};
    get_iov[i][1] = (kvsc_iov){NULL, 600};
    get_iov[i][2] = (kvsc_iov){to + 1600, 1400};
    put_chunks[i] = (kvsc_chunk){.iov = put_iov[i], .n_iov = 3, .n_segments = 3, .segment_lengths = segments};
    get_chunks[i] = (kvsc_chunk){.iov = get_iov[i], .n_iov = 3};
  }
  const kvsc_keys list = {.struct_size = sizeof(list), .n = N, .keys = keys[0]};
  const kvsc_call call = {.struct_size = sizeof(call), .user = 99, .statuses = statuses};
  assert_int_equal(kvsc_put(f->space, &list, put_chunks, &call, &op), KVS_OK);
  kvsc_completion completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.user, 99);
  assert_int_equal(completion.n_ok, N);
  assert_int_equal(statuses[N - 1], KVS_OK);

  assert_int_equal(kvsc_get(f->space, &list, get_chunks, &call, &op), KVS_OK);
  assert_int_equal(kvsc_progress(f->client, op, &chunks, &segments_in_place), KVS_OK);
  assert_int_equal(chunks, N); /* the local wire has done all before it returned */
  assert_int_equal(kvsc_wait_progress(f->client, op, N, 0, 1000), KVS_OK);
  completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_OK);
  for (uint32_t i = 0; i < N; i++) {
    memcpy(expected, in + i * LENGTH, LENGTH);
    memset(expected + 1000, 0xEE, 600);
    assert_memory_equal(out + i * LENGTH, expected, LENGTH);
  }
  assert_int_equal(kvsc_progress(f->client, op, &chunks, &segments_in_place), KVS_ERR_INVALID);
  free(in);
  free(out);
}

/* A chunk whose bytes went bad in the store is a miss, and makes way for the good bytes. */
static void a_chunk_of_another_length_is_told(void **state)
{
  struct fixture *f = *state;
  uint8_t keys[2][KEY], in[100] = {1}, out[2][100];
  const kvsc_keys list = {.struct_size = sizeof(list), .n = 2, .keys = keys[0], .unchained = 1};
  const kvsc_iov iov[2] = {{out[0], 100}, {out[1], 100}};
  kvsc_chunk chunks[2] = {{.iov = &iov[0], .n_iov = 1, .exact = 1}, {.iov = &iov[1], .n_iov = 1, .exact = 1}};
  kvs_status statuses[2];
  const kvsc_call call = {.struct_size = sizeof(call), .statuses = statuses};
  kvsc_completion completion;
  kvsc_op op;

  for (uint32_t i = 0; i < 2; i++) {
    test_key(3, i, keys[i]);
    assert_int_equal(put_one(f->space, f->client, keys[i], in, 100 - i), KVS_OK);
  }
  assert_int_equal(kvsc_get(f->space, &list, chunks, &call, &op), KVS_OK);
  completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_prefix, 1);
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_ERR_SPACE_MISMATCH);
  chunks[1].exact = 0; /* room is enough */
  assert_int_equal(kvsc_get(f->space, &list, chunks, &call, &op), KVS_OK);
  assert_int_equal(wait_for(f->client, op).status, KVS_OK);
}

static void a_corrupt_chunk_is_dropped(void **state)
{
  struct fixture *f = *state;
  const struct kvi_service *service = kvi_store_service_get(f->service);
  const struct kvi_peer peer = {.id = 9, .tenant = "default", .name = "test"};
  uint8_t keys[2][KEY], digest[KVS_DIGEST_SIZE], in[500], out[2][500];
  kvsc_counters counters = {.struct_size = sizeof(counters)};
  struct kvi_source source;
  kvsc_iov iov[2] = {{out[0], 500}, {out[1], 500}};
  kvsc_chunk chunks[2] = {{.iov = &iov[0], .n_iov = 1}, {.iov = &iov[1], .n_iov = 1}};
  kvs_status statuses[2];
  uint32_t cause;
  kvsc_op op;

  test_fill(in, sizeof(in), 7);
  for (uint32_t i = 0; i < 2; i++) {
    test_key(7, i, keys[i]);
    assert_int_equal(put_one(f->space, f->client, keys[i], in, sizeof(in)), KVS_OK);
  }
  kvsc_space_get_digest(f->space, digest);
  assert_int_equal(service->ops->get_open(service->self, &peer, digest, keys[1], KEY, NULL, &source, &cause),
                   KVS_OK);
  ((uint8_t *)source.iov[0].base)[499] ^= 0x10;
  service->ops->get_close(service->self, &source);

  const kvsc_keys list = {.struct_size = sizeof(list), .n = 2, .keys = keys[0]};
  const kvsc_call call = {.struct_size = sizeof(call), .statuses = statuses};
  assert_int_equal(kvsc_get(f->space, &list, chunks, &call, &op), KVS_OK);
  kvsc_completion completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_prefix, 1);
  assert_int_equal(completion.cause, KVSC_CAUSE_CORRUPT);
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_MISS);
  kvsc_get_counters(f->client, &counters);
  assert_int_equal(counters.checksum_errors, 1);

  assert_int_equal(kvsc_put(f->space, &list,
                            (kvsc_chunk[]){{.iov = &(kvsc_iov){in, 500}, .n_iov = 1},
                                           {.iov = &(kvsc_iov){in, 500}, .n_iov = 1}},
                            &call, &op),
                   KVS_OK);
  assert_int_equal(wait_for(f->client, op).status, KVS_OK);
  assert_int_equal(statuses[0], KVS_EXISTS);
  assert_int_equal(statuses[1], KVS_OK); /* it was gone */
  assert_int_equal(get_one(f->space, f->client, keys[1], out[1], 500, NULL), KVS_OK);
  assert_memory_equal(out[1], in, 500);
}

static void a_batch_in_part(void **state)
{
  struct fixture *f = *state;
  uint8_t keys[4][KEY], bytes[4][100];
  kvsc_iov iov[4];
  kvsc_chunk chunks[4];
  kvs_status statuses[4];
  kvsc_op op;

  for (uint32_t i = 0; i < 4; i++) {
    test_key(3, i, keys[i]);
    test_fill(bytes[i], 100, i);
    iov[i] = (kvsc_iov){bytes[i], 100};
    chunks[i] = (kvsc_chunk){.iov = &iov[i], .n_iov = 1};
    if (i != 2)
      assert_int_equal(put_one(f->space, f->client, keys[i], bytes[i], 100), KVS_OK);
  }
  const kvsc_keys list = {.struct_size = sizeof(list), .n = 4, .keys = keys[0], .unchained = 1};
  const kvsc_call call = {.struct_size = sizeof(call), .statuses = statuses};
  assert_int_equal(kvsc_get(f->space, &list, chunks, &call, &op), KVS_OK);
  kvsc_completion completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_ok, 3);
  assert_int_equal(completion.n_prefix, 2);
  assert_int_equal(completion.cause, KVSC_CAUSE_NEVER);
  assert_int_equal(statuses[2], KVS_MISS);
  assert_int_equal(statuses[3], KVS_OK);
}

static void lookup_lease_release_delete(void **state)
{
  enum { N = 10 };
  struct fixture *f = *state;
  uint8_t keys[N][KEY], bytes[100], present[2], tiers[N];
  kvsc_op op;

  test_fill(bytes, sizeof(bytes), 4);
  for (uint32_t i = 0; i < N; i++) {
    test_key(4, i, keys[i]);
    if (i < 5 || i == 8)
      assert_int_equal(put_one(f->space, f->client, keys[i], bytes, sizeof(bytes)), KVS_OK);
  }
  const kvsc_keys list = {.struct_size = sizeof(list), .n = N, .keys = keys[0]};
  const kvsc_call call = {.struct_size = sizeof(call), .lease_ms = 1000, .present = present, .tiers = tiers};
  assert_int_equal(kvsc_lookup(f->client, &f->space, 1, &list, &call, &op), KVS_OK);
  kvsc_completion completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_prefix, 5);
  assert_int_equal(completion.n_ok, 6);
  assert_int_equal(present[0], 0x1F);
  assert_int_equal(present[1], 0x01);
  assert_int_equal(tiers[0], 1);
  assert_int_equal(tiers[9], 0);
  assert_true(completion.lease != 0);
  assert_true(completion.lease_ms > 0 && completion.lease_ms <= 1000);
  assert_int_equal(kvsc_release(f->client, completion.lease), KVS_OK);
  struct kvi_store_stats stats;
  kvi_store_stats(f->store, &stats);
  assert_int_equal(stats.leases, 0);

  assert_int_equal(kvsc_delete(f->space, &list, NULL, &op), KVS_OK);
  completion = wait_for(f->client, op);
  assert_int_equal(completion.n_ok, 6);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(kvsc_lookup(f->client, &f->space, 1, &list, &call, &op), KVS_OK);
  completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.lease, 0);
  assert_int_equal(present[0], 0);
}

static void ping_hint_and_counters(void **state)
{
  struct fixture *f = *state;
  const kvsc_hint hint = {.struct_size = sizeof(hint), .program = "agent-1", .tool = "bash", .wait_kind = 1};
  char text[64], long_name[300];
  kvsc_counters counters = {.struct_size = sizeof(counters)};
  kvsc_op op;

  assert_int_equal(kvsc_ping(f->client, NULL, &op), KVS_OK);
  assert_int_equal(wait_for(f->client, op).status, KVS_OK);
  assert_int_equal(kvsc_send_hint(f->client, &hint, NULL, NULL, NULL, &op), KVS_OK);
  kvsc_completion completion = wait_for(f->client, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_in_range(completion.n_ok, 1, 5);
  memset(long_name, 'x', sizeof(long_name) - 1);
  long_name[sizeof(long_name) - 1] = '\0';
  const kvsc_hint bad = {.struct_size = sizeof(bad), .program = long_name};
  assert_int_equal(kvsc_send_hint(f->client, &bad, NULL, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvsc_state(f->client, text, sizeof(text)), KVS_OK);
  assert_string_equal(text, "connected");
  kvsc_get_counters(f->client, &counters);
  assert_int_equal(counters.operations, 2);
  assert_int_equal(counters.completions, 2);
  assert_int_equal(counters.in_flight, 0);
}

static void wrong_arguments_start_nothing(void **state)
{
  struct fixture *f = *state;
  uint8_t keys[2][KEY] = {{0}}, byte = 0;
  const uint32_t wrong_sum[] = {3};
  kvsc_iov iov = {&byte, 1}, hole = {NULL, 1};
  kvsc_chunk chunk = {.iov = &iov, .n_iov = 1}, holed = {.iov = &hole, .n_iov = 1};
  kvsc_chunk cut = {.iov = &iov, .n_iov = 1, .n_segments = 1, .segment_lengths = wrong_sum};
  kvsc_keys list = {.struct_size = sizeof(list), .n = 1, .keys = keys[0]};
  kvsc_counters counters = {.struct_size = sizeof(counters)};
  kvsc_op op = 1;

  assert_int_equal(kvsc_get(NULL, &list, &chunk, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(op, 0);
  assert_int_equal(kvsc_get(f->space, NULL, &chunk, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvsc_put(f->space, &list, &holed, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvsc_put(f->space, &list, &cut, NULL, &op), KVS_ERR_INVALID);
  list.n = 0;
  assert_int_equal(kvsc_get(f->space, &list, &chunk, NULL, &op), KVS_ERR_INVALID);
  list.n = KVI_BATCH_CHUNKS_MAX + 1;
  assert_int_equal(kvsc_get(f->space, &list, &chunk, NULL, &op), KVS_ERR_TOO_LARGE);
  list.n = 1;
  list.first_place = 1; /* without a parent */
  assert_int_equal(kvsc_get(f->space, &list, &chunk, NULL, &op), KVS_ERR_INVALID);
  list.parent = keys[1]; /* without its extent's first key */
  assert_int_equal(kvsc_get(f->space, &list, &chunk, NULL, &op), KVS_ERR_INVALID);
  list.first_place = 64;
  assert_int_equal(kvsc_get(f->space, &list, &chunk, NULL, &op), KVS_OK);
  assert_int_equal(wait_for(f->client, op).status, KVS_MISS);
  const kvsc_call late = {.struct_size = sizeof(late), .timeout_ms = KVI_TIMEOUT_MS_MAX + 1};
  assert_int_equal(kvsc_ping(f->client, &late, &op), KVS_ERR_INVALID);
  assert_int_equal(kvsc_wait(f->client, 12345, 0, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvsc_cancel(f->client, 12345), KVS_ERR_INVALID);
  kvsc_get_counters(f->client, &counters);
  assert_int_equal(counters.operations, 1);
  assert_int_equal(counters.in_flight, 0);
}

static void spaces_are_kept_apart(void **state)
{
  struct fixture *f = *state;
  kvs_space_desc desc = test_desc("another");
  kvsc_space *other, *again, *both[2];
  uint8_t key[KEY], bytes[10] = {1}, digest[KVS_DIGEST_SIZE], digest_again[KVS_DIGEST_SIZE];
  kvsc_op op;

  test_key(5, 0, key);
  assert_int_equal(kvsc_space_open(f->client, &desc, &other), KVS_OK);
  assert_int_equal(kvsc_space_open(f->client, &desc, &again), KVS_OK);
  assert_ptr_equal(other, again);
  kvsc_space_get_digest(other, digest);
  assert_int_equal(kvs_space_digest(&desc, digest_again), KVS_OK);
  assert_memory_equal(digest, digest_again, KVS_DIGEST_SIZE);
  assert_int_equal(put_one(f->space, f->client, key, bytes, sizeof(bytes)), KVS_OK);
  assert_int_equal(get_one(other, f->client, key, bytes, sizeof(bytes), NULL), KVS_MISS);
  both[0] = f->space;
  both[1] = other;
  const kvsc_keys list = {.struct_size = sizeof(list), .n = 1, .keys = key};
  assert_int_equal(kvsc_lookup(f->client, both, 2, &list, NULL, &op), KVS_OK);
  assert_int_equal(wait_for(f->client, op).status, KVS_MISS);
  assert_int_equal(put_one(other, f->client, key, bytes, sizeof(bytes)), KVS_OK);
  assert_int_equal(kvsc_lookup(f->client, both, 2, &list, NULL, &op), KVS_OK);
  assert_int_equal(wait_for(f->client, op).status, KVS_OK);
  desc.key_length = 7;
  assert_int_equal(kvsc_space_open(f->client, &desc, &again), KVS_ERR_KEY_LENGTH);
  assert_null(again);
}

static void too_many_spaces_are_refused(void **state)
{
  struct fixture *f = *state;
  char name[16];
  kvsc_space *space;

  for (int i = 1; i < 64; i++) {
    snprintf(name, sizeof(name), "s%d", i);
    kvs_space_desc desc = test_desc(name);
    assert_int_equal(kvsc_space_open(f->client, &desc, &space), KVS_OK);
  }
  kvs_space_desc desc = test_desc("one more");
  assert_int_equal(kvsc_space_open(f->client, &desc, &space), KVS_ERR_BUSY);
}

static bool readable(int fd)
{
  struct pollfd entry = {.fd = fd, .events = POLLIN};

  return poll(&entry, 1, 0) == 1;
}

static void the_eventfd_is_readable_while_completions_wait(void **state)
{
  struct fixture *f = *state;
  kvsc_completion completions[4];
  kvsc_op a, b;
  int fd;

  assert_int_equal(kvsc_ping(f->client, NULL, &a), KVS_OK);
  fd = kvsc_fd(f->client); /* it is asked for late, and yet tells */
  assert_true(readable(fd));
  assert_int_equal(kvsc_ping(f->client, NULL, &b), KVS_OK);
  assert_int_equal(wait_for(f->client, a).status, KVS_OK);
  assert_true(readable(fd));
  assert_int_equal(kvsc_poll(f->client, completions, 4), 1);
  assert_true(completions[0].op == b);
  assert_false(readable(fd));
  assert_int_equal(kvsc_poll(f->client, completions, 4), 0);
  assert_int_equal(kvsc_ping(f->client, NULL, &a), KVS_OK);
  assert_int_equal(kvsc_ping(f->client, NULL, &b), KVS_OK);
  assert_true(readable(fd));
  assert_int_equal(kvsc_poll(f->client, completions, 1), 1);
  assert_true(completions[0].op == a); /* the oldest first */
  assert_true(readable(fd));
  assert_int_equal(kvsc_poll(f->client, completions, 1), 1);
  assert_false(readable(fd));
  assert_int_equal(kvsc_wait(f->client, b, 0, NULL), KVS_ERR_INVALID); /* taken */
}

static void administration_gives_documents(void **state)
{
  struct fixture *f = *state;
  uint8_t digest[KVS_DIGEST_SIZE], key[KEY], bytes[1000] = {0};
  uint64_t cursor = 0, chunks, freed;
  char *json;

  for (uint32_t i = 0; i < 10; i++) {
    test_key(6, i, key);
    assert_int_equal(put_one(f->space, f->client, key, bytes, sizeof(bytes)), KVS_OK);
  }
  kvsc_space_get_digest(f->space, digest);
  assert_int_equal(kvsc_stats_json(f->client, 0, &json), KVS_OK);
  assert_non_null(strstr(json, "\"software\":\"kvasir test\""));
  assert_non_null(strstr(json, "\"incarnation\":\"000000000000002a\""));
  free(json);
  assert_int_equal(kvsc_spaces_json(f->client, 0, &json), KVS_OK);
  assert_non_null(strstr(json, "\"model\":\"fixture\""));
  assert_non_null(strstr(json, "\"chunks\":10"));
  free(json);
  assert_int_equal(kvsc_chunks_json(f->client, digest, &cursor, 4, 0, &json), KVS_OK);
  assert_non_null(strstr(json, "\"tier\":\"dram\""));
  assert_true(cursor != 0);
  free(json);
  assert_int_equal(kvsc_config_json(f->client, 0, &json), KVS_OK);
  assert_string_equal(json, "{}");
  free(json);
  assert_int_equal(kvsc_evict(f->client, digest, UINT64_MAX, 0, &chunks, &freed), KVS_OK);
  assert_int_equal(chunks, 10);
  assert_true(freed >= 10 * sizeof(bytes));
  kvsc_completion completion;
  assert_int_equal(get_one(f->space, f->client, key, bytes, sizeof(bytes), &completion), KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_EVICTED);
}

/* More spaces than one answer of the node holds. */
static void all_spaces_are_listed(void **state)
{
  struct fixture *f = *state;
  kvs_space_desc desc = test_desc("many");
  struct kvi_space_opened opened;
  uint8_t digest[KVS_DIGEST_SIZE];
  uint32_t n = 0;
  char *json;

  for (uint32_t i = 0; i < 600; i++) {
    desc.kv_group = i;
    assert_int_equal(kvs_space_digest(&desc, digest), KVS_OK);
    assert_int_equal(kvi_store_space_open(f->store, "default", digest, &desc, &opened), KVS_OK);
  }
  assert_int_equal(kvsc_spaces_json(f->client, 0, &json), KVS_OK);
  for (const char *at = strstr(json, "{\"digest\":"); at != NULL; at = strstr(at + 1, "{\"digest\":")) {
    assert_true(at[-1] == (n == 0 ? '[' : ','));
    n++;
  }
  assert_int_equal(n, 601);
  assert_string_equal(json + strlen(json) - 3, "}]}");
  free(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(all_spaces_are_listed),           TEST(a_chunk_comes_back_byte_for_byte),
      TEST(a_batch_with_segments_and_holes), TEST(a_chunk_of_another_length_is_told),
      TEST(a_corrupt_chunk_is_dropped),      TEST(a_batch_in_part),
      TEST(lookup_lease_release_delete),     TEST(ping_hint_and_counters),
      TEST(wrong_arguments_start_nothing),   TEST(spaces_are_kept_apart),
      TEST(too_many_spaces_are_refused),     TEST(the_eventfd_is_readable_while_completions_wait),
      TEST(administration_gives_documents),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
