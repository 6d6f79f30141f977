/*
 * The connector from end to end, on an embedded store or, with KVASIR_TEST_ENDPOINT set, on a node: the cases are the
 * same, since an engine must not see the difference.
 */
#include "tests/unit/connector/fixture.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kvasir/client.h>

#include "base/clock.h"
#include "base/rand.h"

#define SLOTS 32u

struct world {
  kvs_connector *connector;
  struct test_memory memory;
  struct test_keys keys;
};

static int set_up(void **state)
{
  struct world *world = calloc(1, sizeof(*world));

  world->connector = test_open(NULL);
  test_memory_init(&world->memory, world->connector, 6, SLOTS, 24);
  test_keys_init(&world->keys, 8);
  *state = world;
  return 0;
}

static int tear_down(void **state)
{
  struct world *world = *state;
  kvs_counters counters = {.struct_size = sizeof(counters)};

  kvs_get_counters(world->connector, &counters);
  assert_int_equal(counters.in_flight, 0);
  test_memory_destroy(&world->memory); /* and so nothing uses it */
  kvs_close(world->connector);
  free(world);
  return 0;
}

/* ---- gets and puts on registered memory ---- */

/* Puts chunks from some slots, gets them into others with holes; every byte of the memory must be as the reference says. */
static void one_round_trip(struct world *world, kvi_rand *rand, kvs_space *space, uint32_t n_chunks,
                           uint32_t per_chunk)
{
  struct test_memory *memory = &world->memory;
  size_t chunk_bytes = test_chunk_bytes(memory, per_chunk);
  unsigned char *payload = malloc(chunk_bytes * n_chunks), *expected = malloc(memory->size);
  int64_t from[SLOTS], to[SLOTS];
  kvs_completion completion;

  test_keys_init(&world->keys, n_chunks);
  for (uint32_t i = 0; i < n_chunks * per_chunk; i++) {
    from[i] = (int64_t)kvi_rand_below(rand, SLOTS);
    to[i] = i; /* each slot once, then mixed */
  }
  for (uint32_t i = n_chunks * per_chunk - 1; i > 0; i--) {
    uint32_t j = (uint32_t)kvi_rand_below(rand, i + 1);
    int64_t swap = to[i];

    to[i] = to[j];
    to[j] = swap;
  }
  for (uint32_t i = 0; i < n_chunks * per_chunk; i++)
    if (kvi_rand_below(rand, 4) == 0)
      to[i] = -1;
  for (uint32_t i = 0; i < n_chunks; i++)
    reference_gather(memory, from + i * per_chunk, per_chunk, payload + i * chunk_bytes);
  test_put(space, world->connector, &world->keys.keys, memory, from, per_chunk);

  test_fill(memory->bytes, memory->size, kvi_rand_next(rand));
  memcpy(expected, memory->bytes, memory->size);
  for (uint32_t i = 0; i < n_chunks; i++)
    reference_scatter(memory, expected, to + i * per_chunk, per_chunk, payload + i * chunk_bytes);
  completion = test_get(space, world->connector, &world->keys.keys, memory, to, per_chunk);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.n, n_chunks);
  assert_int_equal(completion.n_ok, n_chunks);
  assert_int_equal(completion.n_prefix, n_chunks);
  assert_memory_equal(memory->bytes, expected, memory->size); /* holes and gaps untouched */
  free(payload);
  free(expected);
}

static void chunks_come_back_as_the_reference_says(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "any size", 0);
  kvi_rand rand;

  kvi_rand_seed(&rand, 7);
  for (int i = 0; i < 60; i++) {
    uint32_t per_chunk = 1 + (uint32_t)kvi_rand_below(&rand, 4);

    one_round_trip(world, &rand, space, 1 + (uint32_t)kvi_rand_below(&rand, 8), per_chunk);
  }
}

static void a_missing_chunk_is_a_miss_of_its_own(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "partial", 0);
  int64_t slots[] = {0, 1, 2};
  kvs_status statuses[3] = {KVS_ERR_INTERNAL, KVS_ERR_INTERNAL, KVS_ERR_INTERNAL};
  kvs_request request = {.struct_size = sizeof(request), .statuses = statuses, .user = 4711};
  kvs_keys two = world->keys.keys, three = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  three.n = 3;
  test_put(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(kvs_get(space, &three, world->memory.registered, slots, 1, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.user, 4711);
  assert_int_equal(completion.n_ok, 2);
  assert_int_equal(completion.n_prefix, 2);
  assert_int_equal(completion.cause, KVSC_CAUSE_NEVER);
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_OK);
  assert_int_equal(statuses[2], KVS_MISS);

  test_keys_init(&world->keys, 3);
  completion = test_get(space, world->connector, &world->keys.keys, &world->memory, slots, 1);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.n_ok, 0);
}

static void a_second_put_of_a_key_changes_nothing(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "twice", 0);
  int64_t first[] = {1}, second[] = {2};
  unsigned char *payload = malloc(test_chunk_bytes(&world->memory, 1));
  unsigned char *got = malloc(test_chunk_bytes(&world->memory, 1));

  world->keys.keys.n = 1;
  reference_gather(&world->memory, first, 1, payload);
  test_put(space, world->connector, &world->keys.keys, &world->memory, first, 1);
  test_put(space, world->connector, &world->keys.keys, &world->memory, second, 1);
  assert_int_equal(test_get(space, world->connector, &world->keys.keys, &world->memory, second, 1).status,
                   KVS_OK);
  reference_gather(&world->memory, second, 1, got);
  assert_memory_equal(got, payload, test_chunk_bytes(&world->memory, 1));
  free(payload);
  free(got);
}

static void a_deleted_chunk_is_gone(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "deleted", 0);
  int64_t slots[] = {0, 1};
  kvs_keys two = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  test_put(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(kvs_delete(space, &two, NULL, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.n_ok, 2);
  completion = test_get(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(completion.status, KVS_MISS);
}

/* ---- layers ---- */

static void layers_of_one_chunk_come_in_order(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "layers", 0);
  int64_t from[] = {0, 1, 2}, to[] = {8, 9, 10};
  kvs_keys one = world->keys.keys;
  size_t chunk_bytes = test_chunk_bytes(&world->memory, 3);
  unsigned char *payload = malloc(chunk_bytes), *got = malloc(chunk_bytes);
  size_t layer_end = 0;
  kvs_op op;

  one.n = 1;
  reference_gather(&world->memory, from, 3, payload);
  test_put(space, world->connector, &one, &world->memory, from, 3);
  assert_int_equal(kvs_get(space, &one, world->memory.registered, to, 3, NULL, &op), KVS_OK);
  for (uint32_t layer = 0; layer < 3; layer++) {
    assert_int_equal(kvs_wait_layer(world->connector, op, layer, WAIT_MS), KVS_OK);
    reference_gather(&world->memory, to, 3, got);
    layer_end += 3 * (world->memory.regions[2 * layer].size + world->memory.regions[2 * layer + 1].size);
    assert_memory_equal(got, payload, layer_end);
  }
  assert_int_equal(layer_end, chunk_bytes);
  assert_int_equal(kvs_wait_layer(world->connector, op, 3, WAIT_MS), KVS_ERR_INVALID); /* no such layer */
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, WAIT_MS), KVS_ERR_INVALID); /* taken */
  free(payload);
  free(got);
}

static void a_layer_is_ready_when_all_chunks_have_it(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "layers", 0);
  int64_t slots[] = {0, 1, 2, 3};
  kvs_keys three = world->keys.keys, four = world->keys.keys;
  kvs_op op;

  three.n = 3;
  four.n = 4;
  test_put(space, world->connector, &three, &world->memory, slots, 1);
  assert_int_equal(kvs_get(space, &three, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, WAIT_MS), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 2, WAIT_MS), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);

  /* One chunk is missing: no layer is there for all. */
  assert_int_equal(kvs_get(space, &four, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, WAIT_MS), KVS_MISS);
  assert_int_equal(kvs_wait_layer(world->connector, op, 2, WAIT_MS), KVS_MISS);
  assert_int_equal(test_wait(world->connector, op).status, KVS_PARTIAL);
}

static void only_gets_have_layers(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "layers", 0);
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_op op;

  one.n = 1;
  assert_int_equal(kvs_put(space, &one, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 0), KVS_ERR_INVALID);
  test_wait(world->connector, op);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &one, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 0), KVS_ERR_INVALID);
  test_wait(world->connector, op);
  assert_int_equal(kvs_wait_layer(world->connector, 12345, 0, 0), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait_layer(NULL, op, 0, 0), KVS_ERR_INVALID);
}

/* ---- buffers ---- */

static void buffers_carry_blobs(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "blobs", 0);
  static unsigned char put[2][5000], got[2][6000];
  uint32_t cuts[] = {1, 999, 4000};
  kvs_buffer buffers[2] = {{.base = put[0], .length = 5000, .n_segments = 3, .segment_lengths = cuts},
                           {.base = put[1], .length = 1234}};
  kvs_keys two = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  test_fill(put, sizeof(put), 3);
  assert_int_equal(kvs_put_buffers(space, &two, buffers, NULL, &op), KVS_OK);
  cuts[0] = 77; /* copied at the start */
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);

  memset(got, 0xee, sizeof(got));
  buffers[0] = (kvs_buffer){.base = got[0], .length = sizeof(got[0])};
  buffers[1] = (kvs_buffer){.base = got[1], .length = sizeof(got[1])};
  assert_int_equal(kvs_get_buffers(space, &two, buffers, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 0), KVS_ERR_INVALID);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.bytes, 6234);
  assert_memory_equal(got[0], put[0], 5000);
  assert_memory_equal(got[1], put[1], 1234);
  assert_int_equal(got[0][5000], 0xee);
  assert_int_equal(got[1][1234], 0xee);
}

/* Slots that the chunk does not fill hold the engine's old bytes: that is no hit. */
static void a_chunk_shorter_than_its_slots_is_no_hit(void **state)
{
  static unsigned char bytes[16];
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "short", 0);
  const kvs_buffer buffer = {.base = bytes, .length = sizeof(bytes)};
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_status status = KVS_OK;
  const kvs_request request = {.struct_size = sizeof(request), .statuses = &status};
  kvs_completion completion;
  kvs_op op;

  one.n = 1;
  assert_int_equal(kvs_put_buffers(space, &one, &buffer, NULL, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  assert_int_equal(kvs_get(space, &one, world->memory.registered, slots, 1, &request, &op), KVS_OK);
  assert_int_equal(kvs_wait_layer(world->connector, op, 2, WAIT_MS), KVS_MISS);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(completion.n_ok, 0);
  assert_int_equal(completion.n_prefix, 0);
  assert_int_equal(status, KVS_ERR_SPACE_MISMATCH);
}

static void bad_buffers_are_refused(void **state)
{
  struct world *world = *state;
  kvs_space *any = test_space(world->connector, "blobs", 0),
            *fixed = test_space(world->connector, "blobs", 100);
  unsigned char bytes[200] = {0};
  uint32_t cuts[] = {100, 0, 100}, short_cuts[] = {100, 99};
  kvs_buffer null = {.length = 200}, empty = {.base = bytes}, zero = {bytes, 200, 3, cuts},
             sum = {bytes, 200, 2, short_cuts}, many = {bytes, 200, 4097, cuts},
             no_cuts = {bytes, 200, 2, NULL}, big = {.base = bytes, .length = UINT64_C(1) << 40},
             whole = {.base = bytes, .length = 200}, less = {.base = bytes, .length = 99};
  kvs_keys one = world->keys.keys;
  kvs_op op = 5;

  one.n = 1;
  assert_int_equal(kvs_put_buffers(any, &one, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(op, 0);
  assert_int_equal(kvs_put_buffers(any, &one, &null, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get_buffers(any, &one, &null, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &empty, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &zero, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &sum, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &many, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &no_cuts, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &big, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_put_buffers(fixed, &one, &whole, NULL, &op), KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_get_buffers(fixed, &one, &less, NULL, &op), KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_put_buffers(NULL, &one, &whole, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put_buffers(any, &one, &whole, NULL, NULL), KVS_ERR_INVALID);
}

/* ---- lookups ---- */

static void a_lookup_covers_all_ranks(void **state)
{
  struct world *world = *state;
  kvs_space *ranks[3];
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  static const uint32_t stored[3] = {8, 3, 5};
  uint8_t present = 0xff;
  kvs_request request = {.struct_size = sizeof(request), .present = &present, .lease_ms = 5000};
  kvs_completion completion;
  kvs_op op;

  for (uint32_t i = 0; i < 3; i++) {
    kvs_space_desc desc = test_desc("ranks", 0);
    kvs_keys some = world->keys.keys;

    desc.tp_size = 3;
    desc.tp_rank = i;
    some.n = stored[i];
    assert_int_equal(kvs_space_open(world->connector, &desc, &ranks[i]), KVS_OK);
    test_put(ranks[i], world->connector, &some, &world->memory, slots, 1);
  }
  assert_int_equal(kvs_lookup(world->connector, ranks, 3, &world->keys.keys, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n, 8);
  assert_int_equal(completion.n_prefix, 3);
  assert_int_equal(present, 0x07);
  assert_int_not_equal(completion.lease, 0);
  assert_true(completion.lease_ms > 0);
  assert_int_equal(kvs_release(world->connector, completion.lease), KVS_OK);

  assert_int_equal(kvs_lookup(world->connector, ranks, 1, &world->keys.keys, NULL, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.n_prefix, 8);
  assert_int_equal(completion.lease, 0); /* not asked for */

  test_keys_init(&world->keys, 8);
  assert_int_equal(kvs_lookup(world->connector, ranks, 3, &world->keys.keys, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.n_prefix, 0);
  assert_int_equal(completion.lease, 0);
}

static void a_get_reads_under_its_lease(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "leases", 0);
  int64_t slots[2] = {0, 1};
  kvs_request request = {.struct_size = sizeof(request), .lease_ms = 5000};
  kvs_keys two = world->keys.keys;
  kvs_completion completion;
  kvs_op op;

  two.n = 2;
  test_put(space, world->connector, &two, &world->memory, slots, 1);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &two, &request, &op), KVS_OK);
  completion = test_wait(world->connector, op);
  assert_int_not_equal(completion.lease, 0);
  request = (kvs_request){.struct_size = sizeof(request), .lease = completion.lease};
  assert_int_equal(kvs_get(space, &two, world->memory.registered, slots, 1, &request, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
  assert_int_equal(kvs_release(world->connector, completion.lease), KVS_OK);
}

static void a_lookup_by_tokens_leaves_the_last_one(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "tokens", 0);
  uint32_t tokens[16 * 4];
  uint8_t digest[KVS_DIGEST_SIZE], keys[4 * KVS_HASH_SIZE];
  size_t n_keys = 4;
  int64_t slots[] = {0, 1, 2, 3};
  kvs_keys chain = {.struct_size = sizeof(chain), .n = 4, .keys = keys};
  kvs_space_desc foreign = test_desc("foreign keys", 0);
  kvs_op op;

  test_fill(tokens, sizeof(tokens), kvi_now_ns());
  kvs_space_get_digest(space, digest);
  assert_int_equal(
      kvs_keys_from_tokens(KVS_HASH_NATIVE, digest, NULL, tokens, 64, 16, 0, NULL, 0, keys, &n_keys), KVS_OK);
  assert_int_equal(n_keys, 4);
  test_put(space, world->connector, &chain, &world->memory, slots, 1);

  static const struct {
    size_t n_tokens;
    uint32_t chunks;
  } cases[] = {{17, 1}, {32, 1}, {33, 2}, {63, 3}, {64, 3}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    kvs_completion completion;

    assert_int_equal(kvs_lookup_tokens(space, tokens, cases[i].n_tokens, NULL, &op), KVS_OK);
    completion = test_wait(world->connector, op);
    assert_int_equal(completion.status, KVS_OK);
    assert_int_equal(completion.n, cases[i].chunks);
    assert_int_equal(completion.n_prefix, cases[i].chunks);
  }
  tokens[40] ^= 1; /* in the third chunk */
  assert_int_equal(kvs_lookup_tokens(space, tokens, 64, NULL, &op), KVS_OK);
  assert_int_equal(test_wait(world->connector, op).n_prefix, 2);

  for (size_t n = 0; n <= 16; n++) {
    op = 5;
    assert_int_equal(kvs_lookup_tokens(space, tokens, n, NULL, &op), KVS_MISS);
    assert_int_equal(op, 0);
  }
  assert_int_equal(kvs_lookup_tokens(space, NULL, 64, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup_tokens(space, tokens, (size_t)16 * 8193 + 1, NULL, &op), KVS_ERR_TOO_LARGE);
  foreign.hash = KVS_HASH_OPAQUE;
  assert_int_equal(kvs_space_open(world->connector, &foreign, &space), KVS_OK);
  assert_int_equal(kvs_lookup_tokens(space, tokens, 64, NULL, &op), KVS_ERR_UNSUPPORTED);
}

/* ---- what is refused ---- */

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

static void wrong_sizes_are_typed_errors(void **state)
{
  struct world *world = *state;
  size_t bytes = test_chunk_bytes(&world->memory, 2);
  kvs_space *right = test_space(world->connector, "sized", bytes),
            *wrong = test_space(world->connector, "sized", bytes + 1);
  int64_t slots[2] = {0, 1};
  kvs_keys one = world->keys.keys;
  kvs_op op = 5;

  one.n = 1;
  assert_int_equal(kvs_put(wrong, &one, world->memory.registered, slots, 2, NULL, &op),
                   KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(op, 0);
  assert_int_equal(kvs_get(wrong, &one, world->memory.registered, slots, 2, NULL, &op),
                   KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(kvs_put(right, &one, world->memory.registered, slots, 1, NULL, &op),
                   KVS_ERR_SPACE_MISMATCH);
  test_put(right, world->connector, &one, &world->memory, slots, 2);
}

static void wrong_arguments_start_nothing(void **state)
{
  struct world *world = *state;
  kvs_connector *connector = world->connector;
  kvs_memory *memory = world->memory.registered;
  kvs_space *space = test_space(connector, "arguments", 0);
  int64_t slots[1] = {0}, hole[1] = {-1}, high[1] = {SLOTS};
  kvs_keys one = world->keys.keys, none = world->keys.keys, null = world->keys.keys, small = world->keys.keys,
           many = world->keys.keys;
  kvs_request bad = {.struct_size = 3};
  kvs_completion completion;
  kvs_counters before = {.struct_size = sizeof(before)}, after = {.struct_size = sizeof(after)};
  kvs_op op = 5;

  one.n = 1;
  none.n = 0;
  null.keys = NULL;
  small.struct_size = 0;
  many.n = 513;
  kvs_get_counters(connector, &before);
  assert_int_equal(kvs_get(space, NULL, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(op, 0);
  assert_int_equal(kvs_get(space, &none, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &null, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &small, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &many, memory, slots, 1, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_get(space, &one, NULL, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, NULL, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 0, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, high, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 1, &bad, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 1, NULL, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(NULL, &one, memory, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_put(space, &one, memory, hole, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_get(space, &one, memory, slots, 200000, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_lookup(connector, &space, 0, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup(connector, &space, 65, &one, NULL, &op), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvs_lookup(connector, NULL, 1, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup(NULL, &space, 1, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_delete(NULL, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_delete(space, NULL, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_release(NULL, 1), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait(connector, 1234, 0, &completion), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait(connector, 0, 0, &completion), KVS_ERR_INVALID);
  assert_int_equal(kvs_wait(connector, 0, 0, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvs_poll(NULL, &completion, 1), 0);
  assert_int_equal(kvs_poll(connector, &completion, 1), 0);
  assert_int_equal(kvs_fd(NULL), -1);
  assert_int_equal(kvs_state(NULL, NULL, 0), KVS_ERR_INVALID);
  kvs_get_counters(connector, &after);
  assert_int_equal(before.get_chunks, after.get_chunks);
  assert_int_equal(after.in_flight, 0);
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

/* ---- life of operations and memory ---- */

static void memory_in_use_stays_registered(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "busy", 0);
  struct test_memory memory;
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_op op;

  one.n = 1;
  test_memory_init(&memory, world->connector, 2, 4, 8);
  assert_int_equal(kvs_put(space, &one, memory.registered, slots, 1, NULL, &op), KVS_OK);
  assert_int_equal(kvs_memory_unregister(memory.registered),
                   KVS_ERR_BUSY); /* until the completion is taken */
  test_wait(world->connector, op);
  assert_int_equal(kvs_get(space, &one, memory.registered, slots, 0, NULL, &op),
                   KVS_ERR_INVALID); /* holds nothing */
  test_memory_destroy(&memory);
}

static void memory_of_another_connector_is_refused(void **state)
{
  struct world *world = *state;
  kvs_connector *other = test_open("embedded:64MiB");
  kvs_space *space = test_space(other, "other", 0);
  int64_t slots[] = {0};
  kvs_keys one = world->keys.keys;
  kvs_hint hint = {.struct_size = sizeof(hint), .program = "p"};
  kvs_op op;

  one.n = 1;
  assert_int_equal(kvs_put(space, &one, world->memory.registered, slots, 1, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_lookup(world->connector, &space, 1, &one, NULL, &op), KVS_ERR_INVALID);
  assert_int_equal(kvs_send_hint(world->connector, &hint, space, &one, NULL, &op), KVS_ERR_INVALID);
  kvs_close(other);
}

static void cancelled_operations_complete_once(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "cancel", 0);
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  kvs_completion completion;
  kvs_op op;

  assert_int_equal(kvs_put(space, &world->keys.keys, world->memory.registered, slots, 1, NULL, &op), KVS_OK);
  kvs_cancel(world->connector, op); /* too late, or not: both are fine */
  completion = test_wait(world->connector, op);
  assert_true(completion.status == KVS_OK || completion.status == KVS_ERR_CANCELED ||
              completion.status == KVS_PARTIAL);
  assert_int_equal(kvs_wait(world->connector, op, 0, &completion), KVS_ERR_INVALID);
  assert_int_equal(kvs_cancel(world->connector, op), KVS_ERR_INVALID);
  assert_int_equal(kvs_cancel(world->connector, 0), KVS_ERR_INVALID);
  assert_int_equal(kvs_cancel(NULL, op), KVS_ERR_INVALID);
}

static void completions_come_through_the_descriptor(void **state)
{
  struct world *world = *state;
  kvs_space *space = test_space(world->connector, "queue", 0);
  struct pollfd ready = {.fd = kvs_fd(world->connector), .events = POLLIN};
  kvs_op ops[100];
  bool seen[100] = {false};
  uint32_t taken = 0;

  for (uint32_t i = 0; i < 100; i++) {
    kvs_request request = {.struct_size = sizeof(request), .user = 1000 + i};

    assert_int_equal(kvs_lookup(world->connector, &space, 1, &world->keys.keys, &request, &ops[i]), KVS_OK);
  }
  while (taken < 100) {
    kvs_completion completions[40];
    size_t n;

    assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
    n = kvs_poll(world->connector, completions, 40);
    for (size_t i = 0; i < n; i++, taken++) {
      uint64_t index = completions[i].user - 1000;

      assert_true(index < 100);
      assert_false(seen[index]);
      seen[index] = true;
      assert_int_equal(completions[i].op, ops[index]);
      assert_int_equal(completions[i].status, KVS_MISS);
    }
  }
  assert_int_equal(poll(&ready, 1, 0), 0); /* and silent again */
}

static void the_number_of_operations_is_bounded(void **state)
{
  struct world *world = *state;
  kvs_options options = {.struct_size = sizeof(options),
                         .endpoint = test_endpoint(),
                         .max_operations = 3,
                         .wait_connected_ms = WAIT_MS};
  kvs_counters counters = {.struct_size = sizeof(counters)};
  kvs_connector *connector;
  kvs_space *space;
  kvs_op ops[3], op = 5;

  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  space = test_space(connector, "bounded", 0);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &ops[i]), KVS_OK);
  assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &op), KVS_ERR_BUSY);
  assert_int_equal(op, 0);
  test_wait(connector, ops[1]);
  assert_int_equal(kvs_lookup(connector, &space, 1, &world->keys.keys, NULL, &op), KVS_OK);
  test_wait(connector, op);
  kvs_get_counters(connector, &counters);
  assert_int_equal(counters.busy, 1);
  kvs_close(connector); /* with two completions that nobody took */
}

static void closing_ends_what_is_open(void **state)
{
  struct world *world = *state;
  kvs_connector *connector = test_open(NULL);
  kvs_space *space = test_space(connector, "closing", 0);
  struct test_memory memory;
  int64_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  kvs_op op;

  test_memory_init(&memory, connector, 8, 8, 8);
  for (int i = 0; i < 10; i++)
    assert_int_equal(kvs_put(space, &world->keys.keys, memory.registered, slots, 1, NULL, &op), KVS_OK);
  kvs_close(connector);
  free(memory.bytes); /* nobody touches it any more */
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(chunks_come_back_as_the_reference_says),
      CASE(a_missing_chunk_is_a_miss_of_its_own),
      CASE(a_second_put_of_a_key_changes_nothing),
      CASE(a_deleted_chunk_is_gone),
      CASE(layers_of_one_chunk_come_in_order),
      CASE(a_layer_is_ready_when_all_chunks_have_it),
      CASE(only_gets_have_layers),
      CASE(buffers_carry_blobs),
      CASE(a_chunk_shorter_than_its_slots_is_no_hit),
      CASE(bad_buffers_are_refused),
      CASE(a_lookup_covers_all_ranks),
      CASE(a_get_reads_under_its_lease),
      CASE(a_lookup_by_tokens_leaves_the_last_one),
      CASE(spaces_are_checked_and_shared),
      CASE(two_spaces_share_nothing),
      CASE(wrong_sizes_are_typed_errors),
      CASE(wrong_arguments_start_nothing),
      cmocka_unit_test(options_are_checked),
      CASE(memory_in_use_stays_registered),
      CASE(memory_of_another_connector_is_refused),
      CASE(cancelled_operations_complete_once),
      CASE(completions_come_through_the_descriptor),
      CASE(the_number_of_operations_is_bounded),
      CASE(closing_ends_what_is_open),
      CASE(hints_are_answered),
      CASE(counters_count),
      CASE(a_dead_node_is_a_fast_miss),
      CASE(a_child_is_told_that_it_forked),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
