/*
 * tests/integration/connector/connector_coded.c: tensors put to, and got from, a node whose SSD tier has a codec. What it does is told by its
 * arguments: "put LOSS_MAX", "encode LOSS_MAX" (put by a connector that encodes them, if its endpoint is not of this machine), "get LOSS_MAX" (all of them are found and come, at least one of
 * them coded; exactly as they were put with LOSS_MAX 0, about so else), "quality LOSS_MAX" (they are there, but worse, and a look-up does not find them), "hurry LOSS_MAX" (by a slow link, of chunks with
 * two planes: in a hurry, and where less is enough, they come with fewer), "overlap LOSS_MAX" (they come once; then it says how many bytes that took, and waits for a line from whoever
 * holds the last ones back; then layer 0 is there and the rest is not, which it says, and all of it when they are let go).
 */
#include <stdio.h>

#include <kvasir/client.h>

#include "tests/unit/codec/codec_testing.h"
#include "tests/unit/connector/fixture.h"

#define LAYERS      8u
#define CHUNKS      24u
#define PER_CHUNK   4u /* slots */
#define REGIONS     (2 * LAYERS)
#define BLOCKS      (CHUNKS * PER_CHUNK)
#define TOKENS      64u
#define HEADS       2u
#define DIM         64u
#define SLOT_BYTES  (TOKENS / PER_CHUNK * HEADS * DIM * 2)
#define CHUNK_BYTES (REGIONS * PER_CHUNK * SLOT_BYTES)

static const char *command;
static uint32_t loss_max;

struct world {
  kvs_connector *connector;
  kvs_space *space;
  uint8_t *bytes, *out; /* what was put, and what came, chunk after chunk */
  uint8_t *cache;       /* the engine's memory */
  kvs_region regions[REGIONS];
  kvs_memory *memory;
  int64_t slots[BLOCKS];
  uint8_t key_bytes[CHUNKS][32];
  kvs_keys keys;
};

static bool encodes(void)
{
  return strcmp(command, "encode") == 0;
}

static kvs_connector *open_connector(void)
{
  const kvs_options options = {.struct_size = sizeof(options),
                               .endpoint = test_endpoint(),
                               .wait_connected_ms = 10000,
                               .encode = encodes() ? KVS_ENCODE_LADDER : KVS_ENCODE_NONE};
  kvs_connector *connector = NULL;

  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  assert_int_equal(kvs_state(connector, NULL, 0), KVS_OK);
  return connector;
}

static void open_space(struct world *world)
{
  const kvs_space_desc desc = {.struct_size = sizeof(desc),
                               .model = "tensors",
                               .engine = "test",
                               .layout = KVS_LAYOUT_TENSORS,
                               .key_dtype = KVS_DTYPE_BF16,
                               .value_dtype = KVS_DTYPE_BF16,
                               .layers = LAYERS,
                               .kv_heads = HEADS,
                               .key_dim = DIM,
                               .value_dim = DIM,
                               .tokens_per_chunk = TOKENS,
                               .hash = KVS_HASH_OPAQUE,
                               .key_length = 32,
                               .chunk_bytes = CHUNK_BYTES};

  world->connector = open_connector();
  assert_int_equal(kvs_space_open(world->connector, &desc, &world->space), KVS_OK);
}

static int set_up(void **state)
{
  struct world *world = calloc(1, sizeof(*world));
  struct kvi_codec_shape shape = layer_shape((struct kvi_codec_shape){.dtype = KVI_CODEC_BF16,
                                                                      .n_layers = LAYERS,
                                                                      .n_tokens = TOKENS,
                                                                      .n_heads = HEADS,
                                                                      .key_dim = DIM,
                                                                      .value_dim = DIM});

  assert_int_equal(shape.raw_bytes, CHUNK_BYTES);
  open_space(world);
  world->bytes = malloc(CHUNKS * CHUNK_BYTES);
  world->out = malloc(CHUNKS * CHUNK_BYTES);
  world->cache = malloc(CHUNKS * CHUNK_BYTES);
  for (uint32_t i = 0; i < CHUNKS; i++) {
    uint8_t *raw = sample_raw(&shape, SAMPLE_GAUSSIAN, 100 + i);

    memcpy(world->bytes + i * CHUNK_BYTES, raw, CHUNK_BYTES);
    free(raw);
    memset(world->key_bytes[i], 0x40 + (int)i, 32);
  }
  for (uint32_t i = 0; i < REGIONS; i++)
    world->regions[i] = (kvs_region){.base = world->cache + (size_t)i * BLOCKS * SLOT_BYTES,
                                     .size = SLOT_BYTES,
                                     .stride = SLOT_BYTES,
                                     .n_slots = BLOCKS,
                                     .layer = i / 2};
  for (uint32_t i = 0; i < BLOCKS; i++)
    world->slots[i] = (int64_t)(BLOCKS - 1 - i);
  assert_int_equal(kvs_memory_register(world->connector, world->regions, REGIONS, &world->memory), KVS_OK);
  world->keys = (kvs_keys){.struct_size = sizeof(kvs_keys), .n = CHUNKS, .keys = world->key_bytes[0]};
  *state = world;
  return 0;
}

static int tear_down(void **state)
{
  struct world *world = *state;

  kvs_close(world->connector);
  free(world->bytes);
  free(world->out);
  free(world->cache);
  free(world);
  return 0;
}

/* Between chunks and the engine's memory: region by region, slot by slot. Up to a layer. */
static void copy_chunks(struct world *world, uint8_t *chunks, bool to_memory, uint32_t regions)
{
  for (uint32_t i = 0; i < CHUNKS; i++) {
    for (uint32_t k = 0; k < regions * PER_CHUNK; k++) {
      uint8_t *in_chunk = chunks + i * CHUNK_BYTES + k * SLOT_BYTES;
      uint8_t *in_memory = (uint8_t *)world->regions[k / PER_CHUNK].base +
                           (uint64_t)world->slots[i * PER_CHUNK + k % PER_CHUNK] * SLOT_BYTES;

      memcpy(to_memory ? in_memory : in_chunk, to_memory ? in_chunk : in_memory, SLOT_BYTES);
    }
  }
}

static float number_at(const uint8_t *bytes, size_t i)
{
  uint32_t bits = (uint32_t)kvi_load_le16(bytes + 2 * i) << 16;
  float number;

  memcpy(&number, &bits, sizeof(number));
  return number;
}

/* Of what came against what was put: squared, relative. */
static double error_of(const struct world *world)
{
  double error = 0, all = 0;

  for (size_t i = 0; i < CHUNKS * CHUNK_BYTES / 2; i++) {
    double was = (double)number_at(world->bytes, i), is = (double)number_at(world->out, i);

    error += (was - is) * (was - is);
    all += was * was;
  }
  return error / all;
}

/* The error of lossy chunks is a few hundredths of their numbers; that of others is none. */
static void check_chunks(const struct world *world)
{
  if (loss_max == 0) {
    assert_memory_equal(world->out, world->bytes, CHUNKS * CHUNK_BYTES);
    return;
  }
  assert_true(error_of(world) > 0);
  assert_true(error_of(world) < 0.01);
}

static kvs_op get_as(struct world *world, kvs_request request)
{
  kvs_op op;

  request.struct_size = sizeof(request);
  request.loss_max = loss_max;
  request.timeout_ms = 60000;

  memset(world->cache, 0xEE, CHUNKS * CHUNK_BYTES);
  memset(world->out, 0xEE, CHUNKS * CHUNK_BYTES);
  assert_int_equal(kvs_get(world->space, &world->keys, world->memory, world->slots, PER_CHUNK, &request, &op),
                   KVS_OK);
  return op;
}

static kvs_op get(struct world *world, uint32_t by_layer)
{
  return get_as(world, (kvs_request){.by_layer = by_layer});
}

static void they_are_put(struct world *world)
{
  const kvs_request request = {.struct_size = sizeof(request), .loss_max = loss_max, .timeout_ms = 60000};
  kvs_op op;

  copy_chunks(world, world->bytes, true, REGIONS);
  assert_int_equal(kvs_put(world->space, &world->keys, world->memory, world->slots, PER_CHUNK, &request, &op),
                   KVS_OK);
  assert_int_equal(test_wait(world->connector, op).status, KVS_OK);
}

/* As much as a look-up finds that takes this loss. */
static uint32_t n_found(struct world *world)
{
  const kvs_request request = {.struct_size = sizeof(request), .loss_max = loss_max, .timeout_ms = 60000};
  kvs_op op;

  assert_int_equal(kvs_lookup(world->connector, &world->space, 1, &world->keys, &request, &op), KVS_OK);
  return test_wait(world->connector, op).n_prefix;
}

/* Without loss, tensors like these are 1.4 times smaller and more; with two planes, nearly 3 times. */
static void they_were_encoded(struct world *world)
{
  const uint64_t all = (uint64_t)CHUNKS * CHUNK_BYTES;
  kvs_counters counters = {.struct_size = sizeof(counters)};

  kvs_get_counters(world->connector, &counters);
  assert_int_equal(counters.put_bytes, all);
  if (strncmp(test_endpoint(), "unix:", 5) == 0) {
    assert_int_equal(counters.encoded_chunks, 0);
    return;
  }
  assert_int_equal(counters.encoded_chunks, CHUNKS);
  assert_int_equal(counters.encoded_raw_bytes, all);
  assert_true(counters.encoded_bytes > all / 4);
  assert_true(counters.encoded_bytes < (loss_max < 2 ? all * 3 / 4 : all / 2));
}

static void they_come(struct world *world)
{
  kvs_counters counters = {.struct_size = sizeof(counters)};

  assert_int_equal(n_found(world), CHUNKS);
  for (uint32_t i = 0; i < 4; i++) {
    kvs_op op = get(world, i % 2);
    kvs_completion completion;

    for (uint32_t layer = 0; layer < LAYERS; layer++) {
      assert_int_equal(kvs_wait_layer(world->connector, op, layer, 60000), KVS_OK);
      copy_chunks(world, world->out, false, 2 * (layer + 1));
      if (loss_max == 0)
        for (uint32_t k = 0; k < CHUNKS; k++)
          assert_memory_equal(world->out + k * CHUNK_BYTES, world->bytes + k * CHUNK_BYTES,
                              2 * (layer + 1) * PER_CHUNK * SLOT_BYTES);
    }
    completion = test_wait(world->connector, op);
    assert_int_equal(completion.status, KVS_OK);
    assert_int_equal(completion.bytes, CHUNKS * CHUNK_BYTES);
    check_chunks(world);
  }
  kvs_get_counters(world->connector, &counters);
  printf("coded %llu of %llu\n", (unsigned long long)counters.coded_chunks,
         (unsigned long long)counters.get_hits);
  assert_true(counters.coded_chunks > 0);
  assert_true(counters.coded_bytes < counters.coded_chunks * CHUNK_BYTES * 3 / 4);
}

/* The bytes that came for a get that wants no more than that, and the error of what was decoded, against what was put. */
static uint64_t bytes_of(struct world *world, kvs_request request, double *error_p)
{
  kvs_counters before = {.struct_size = sizeof(before)}, after = {.struct_size = sizeof(after)};
  kvs_completion completion;

  kvs_get_counters(world->connector, &before);
  completion = test_wait(world->connector, get_as(world, request));
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.bytes, CHUNKS * CHUNK_BYTES);
  kvs_get_counters(world->connector, &after);
  assert_int_equal(after.coded_chunks - before.coded_chunks, CHUNKS);
  copy_chunks(world, world->out, false, REGIONS);
  *error_p = error_of(world);
  return after.coded_bytes - before.coded_bytes;
}

static void they_come_in_a_hurry(struct world *world)
{
  double errors[5];
  /* how fast gets are nobody knows yet, so all planes come; and then, with as much time as anybody has */
  uint64_t first = bytes_of(world, (kvs_request){.hurry_ms = 1}, &errors[0]);
  uint64_t patient = bytes_of(world, (kvs_request){.hurry_ms = 600000}, &errors[1]);
  uint64_t hurried = bytes_of(world, (kvs_request){.hurry_ms = 1}, &errors[2]);
  uint64_t enough = bytes_of(world, (kvs_request){.loss_enough = 3}, &errors[3]);
  uint64_t after = bytes_of(world, (kvs_request){.loss_enough = 2}, &errors[4]);

  printf("first %llu, patient %llu, hurried %llu, enough %llu, after %llu\n", (unsigned long long)first,
         (unsigned long long)patient, (unsigned long long)hurried, (unsigned long long)enough,
         (unsigned long long)after);
  assert_int_equal(patient, first);
  assert_int_equal(after, first);
  assert_true(hurried < first * 6 / 10);
  assert_true(hurried < enough && enough < first);
  assert_true(errors[1] == errors[0] && errors[4] == errors[0] && errors[0] < 0.001);
  assert_true(errors[3] > 4 * errors[0] && errors[2] > 4 * errors[3] && errors[2] < 0.1);
}

/* One line, then one of whoever has started this program. */
static void say_and_wait(const char *line)
{
  char answer[16];

  puts(line);
  fflush(stdout);
  assert_non_null(fgets(answer, sizeof(answer), stdin));
}

/* Layer 0 is the engine's while bytes of every chunk are still on their way, and is then what it is in the end. */
static void layer_0_comes_before_the_last_bytes(struct world *world)
{
  const size_t layer_bytes = 2 * PER_CHUNK * SLOT_BYTES;
  uint8_t *whole = malloc(CHUNKS * CHUNK_BYTES);
  kvs_completion completion;
  char line[64];
  double error;
  uint64_t coded = bytes_of(world, (kvs_request){.by_layer = 1}, &error);
  kvs_op op;

  memcpy(whole, world->out, CHUNKS * CHUNK_BYTES);
  snprintf(line, sizeof(line), "ready %llu", (unsigned long long)coded);
  say_and_wait(line);
  op = get(world, 1);
  assert_int_equal(kvs_wait_layer(world->connector, op, 0, 60000), KVS_OK);
  copy_chunks(world, world->out, false, 2);
  for (uint32_t i = 0; i < CHUNKS; i++)
    assert_memory_equal(world->out + i * CHUNK_BYTES, whole + i * CHUNK_BYTES, layer_bytes);
  assert_int_equal(kvs_wait_layer(world->connector, op, LAYERS - 1, 0), KVS_ERR_DEADLINE);
  assert_int_equal(kvs_wait(world->connector, op, 0, &completion), KVS_ERR_DEADLINE);
  say_and_wait("layer 0");
  completion = test_wait(world->connector, op);
  assert_int_equal(completion.status, KVS_OK);
  copy_chunks(world, world->out, false, REGIONS);
  assert_memory_equal(world->out, whole, CHUNKS * CHUNK_BYTES);
  check_chunks(world);
  free(whole);
}

static void they_are_worse(struct world *world)
{
  assert_int_equal(n_found(world), 0);
  kvs_completion completion = test_wait(world->connector, get(world, 0));

  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_QUALITY);
}

static void the_command(void **state)
{
  if (strcmp(command, "put") == 0)
    they_are_put(*state);
  else if (encodes()) {
    they_are_put(*state);
    they_were_encoded(*state);
  } else if (strcmp(command, "get") == 0)
    they_come(*state);
  else if (strcmp(command, "hurry") == 0)
    they_come_in_a_hurry(*state);
  else if (strcmp(command, "overlap") == 0)
    layer_0_comes_before_the_last_bytes(*state);
  else
    they_are_worse(*state);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(the_command, set_up, tear_down)};

  if (argc != 3)
    return 2;
  command = argv[1];
  loss_max = (uint32_t)strtoul(argv[2], NULL, 10);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
