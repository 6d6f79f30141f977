/* The connector's scatter lists against a simple reference; endpoints; growing structs; numbers of operations. */
#include "tests/unit/connector/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"
#include "connector/connector_private.h"

/* Registration needs a connector only for its list and lock. */
static kvs_connector *bare_connector(void)
{
  kvs_connector *connector = calloc(1, sizeof(*connector));

  assert_non_null(connector);
  connector->pid = getpid();
  pthread_mutex_init(&connector->mutex, NULL);
  kvi_list_init(&connector->memories);
  assert_int_equal(kvi_connector_op_table_create(4, &connector->table), KVS_OK);
  return connector;
}

static void free_bare_connector(kvs_connector *connector)
{
  kvi_connector_op_table_destroy(&connector->table);
  pthread_mutex_destroy(&connector->mutex);
  free(connector);
}

/* Reads a payload through a scatter list, as a wire does. */
static size_t walk(const kvsc_iov *iov, uint32_t n_iov, unsigned char *out)
{
  size_t total = 0;

  for (uint32_t i = 0; i < n_iov; i++) {
    if (iov[i].base != NULL)
      memcpy(out + total, iov[i].base, iov[i].length);
    else
      memset(out + total, 0, iov[i].length);
    total += iov[i].length;
  }
  return total;
}

static void one_random_case(kvs_connector *connector, kvi_rand *rand)
{
  uint32_t n_regions = 1 + (uint32_t)kvi_rand_below(rand, TEST_REGIONS_MAX);
  uint32_t n_slots = 1 + (uint32_t)kvi_rand_below(rand, 20);
  uint32_t per_chunk = 1 + (uint32_t)kvi_rand_below(rand, 6),
           n_chunks = 1 + (uint32_t)kvi_rand_below(rand, 4);
  int64_t slots[24];
  struct test_memory memory;
  struct kvi_connector_scatter scatter = {
      .slots = slots, .slots_per_chunk = per_chunk, .n_chunks = n_chunks, .holes = true};
  size_t bytes;
  unsigned char *expected, *got;

  test_memory_init(&memory, connector, n_regions, n_slots, (uint32_t)kvi_rand_below(rand, 2) * 8);
  for (uint32_t i = 0; i < per_chunk * n_chunks; i++) {
    /* Runs of neighbours often, so that places are joined. */
    bool follow = i > 0 && slots[i - 1] >= 0 && slots[i - 1] + 1 < n_slots && kvi_rand_below(rand, 2) == 0;

    slots[i] = follow ? slots[i - 1] + 1 : (int64_t)kvi_rand_below(rand, n_slots + 1) - 1;
  }
  scatter.memory = memory.registered;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_OK);
  bytes = test_chunk_bytes(&memory, per_chunk);
  assert_int_equal(kvi_connector_scatter_chunk_bytes(&scatter), bytes);
  expected = malloc(bytes);
  got = malloc(bytes);

  for (uint32_t c = 0; c < n_chunks; c++) {
    const int64_t *chunk = slots + c * per_chunk;
    uint32_t n_iov = kvi_connector_scatter_chunk(&scatter, c, NULL);
    kvsc_iov *iov = calloc(n_iov, sizeof(*iov));
    unsigned char *at = expected;

    /* The reference cannot gather holes: they are zeroes here. */
    for (uint32_t r = 0; r < n_regions; r++) {
      for (uint32_t s = 0; s < per_chunk; s++, at += memory.regions[r].size) {
        if (chunk[s] < 0)
          memset(at, 0, memory.regions[r].size);
        else
          memcpy(at, (char *)memory.regions[r].base + memory.regions[r].stride * (uint64_t)chunk[s],
                 memory.regions[r].size);
      }
    }
    assert_int_equal(kvi_connector_scatter_chunk(&scatter, c, iov), n_iov);
    assert_true(n_iov <= n_regions * per_chunk);
    assert_int_equal(walk(iov, n_iov, got), bytes);
    assert_memory_equal(got, expected, bytes);
    for (uint32_t i = 1; i < n_iov; i++) /* nothing is left to join */
      assert_false(iov[i].base ==
                   (iov[i - 1].base == NULL ? NULL : (char *)iov[i - 1].base + iov[i - 1].length));
    free(iov);
  }
  free(expected);
  free(got);
  test_memory_destroy(&memory);
}

static void scatter_matches_reference(void **state)
{
  kvs_connector *connector = bare_connector();
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 42);
  for (int i = 0; i < 500; i++)
    one_random_case(connector, &rand);
  free_bare_connector(connector);
}

static void touching_slots_are_one_place(void **state)
{
  kvs_connector *connector = bare_connector();
  int64_t slots[] = {2, 3, 4, -1, -1, 5};
  struct test_memory memory;
  struct kvi_connector_scatter scatter = {.slots = slots, .slots_per_chunk = 6, .n_chunks = 1, .holes = true};
  kvsc_iov iov[6];

  (void)state;
  test_memory_init(&memory, connector, 1, 8, 0);
  scatter.memory = memory.registered;
  assert_int_equal(kvi_connector_scatter_chunk(&scatter, 0, iov), 3);
  assert_ptr_equal(iov[0].base, memory.bytes + 2 * 96);
  assert_int_equal(iov[0].length, 3 * 96);
  assert_null(iov[1].base);
  assert_int_equal(iov[1].length, 2 * 96);
  assert_int_equal(iov[2].length, 96);
  test_memory_destroy(&memory);
  free_bare_connector(connector);
}

static void scatter_refuses(void **state)
{
  kvs_connector *connector = bare_connector();
  int64_t good[] = {0, 7}, high[] = {0, 8}, low[] = {-2, 0}, hole[] = {0, -1};
  struct test_memory memory;
  struct kvi_connector_scatter scatter = {.slots = good, .slots_per_chunk = 2, .n_chunks = 1};

  (void)state;
  test_memory_init(&memory, connector, 2, 8, 8);
  scatter.memory = memory.registered;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_OK);
  scatter.slots = high;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_ERR_INVALID);
  scatter.slots = low;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_ERR_INVALID);
  scatter.slots = hole;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_ERR_INVALID);
  scatter.holes = true;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_OK);
  scatter.slots = NULL;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_ERR_INVALID);
  scatter.slots = good;
  scatter.slots_per_chunk = 0;
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_ERR_INVALID);
  scatter.slots_per_chunk = UINT32_MAX; /* the bound is found before a slot is read */
  assert_int_equal(kvi_connector_scatter_check(&scatter), KVS_ERR_TOO_LARGE);
  test_memory_destroy(&memory);
  free_bare_connector(connector);
}

static void registration_refuses(void **state)
{
  kvs_connector *connector = bare_connector();
  char bytes[64];
  const kvs_region good = {.base = bytes, .size = 8, .stride = 8, .n_slots = 8, .layer = 3};
  kvs_region bad[5] = {good, good, good, good, good};
  kvs_region order[2] = {good, good};
  kvs_region wrap = good;
  kvs_memory *memory = NULL;

  (void)state;
  bad[0].base = NULL;
  bad[1].size = 0;
  bad[2].stride = 7;
  bad[3].n_slots = 0;
  bad[4].stride = UINT64_MAX / 4;
  for (size_t i = 0; i < 5; i++) {
    memory = (kvs_memory *)bytes;
    assert_int_equal(kvs_memory_register(connector, &bad[i], 1, &memory), KVS_ERR_INVALID);
    assert_null(memory);
  }
  order[1].layer = 2;
  assert_int_equal(kvs_memory_register(connector, order, 2, &memory), KVS_ERR_INVALID);
  wrap.base = (void *)(UINTPTR_MAX - 8);
  assert_int_equal(kvs_memory_register(connector, &wrap, 1, &memory), KVS_ERR_INVALID);
  assert_int_equal(kvs_memory_register(connector, &good, 0, &memory), KVS_ERR_INVALID);
  assert_int_equal(kvs_memory_register(connector, NULL, 1, &memory), KVS_ERR_INVALID);
  assert_int_equal(kvs_memory_register(connector, &good, KVI_CONNECTOR_REGIONS_MAX + 1, &memory),
                   KVS_ERR_INVALID);
  assert_int_equal(kvs_memory_register(NULL, &good, 1, &memory), KVS_ERR_INVALID);
  assert_int_equal(kvs_memory_register(connector, &good, 1, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvs_memory_unregister(NULL), KVS_OK);
  free_bare_connector(connector);
}

static void layers_count_their_bytes(void **state)
{
  kvs_connector *connector = bare_connector();
  char bytes[64];
  kvs_region regions[5];
  static const uint32_t layers[5] = {1, 1, 2, 5, 5};
  kvs_memory *memory;

  (void)state;
  for (size_t i = 0; i < 5; i++)
    regions[i] = (kvs_region){.base = bytes, .size = 8, .stride = 8, .n_slots = 8, .layer = layers[i]};
  assert_int_equal(kvs_memory_register(connector, regions, 5, &memory), KVS_OK);
  assert_int_equal(kvi_connector_memory_bytes_of_layer(memory, 0), 0);
  assert_int_equal(kvi_connector_memory_bytes_of_layer(memory, 1), 16);
  assert_int_equal(kvi_connector_memory_bytes_of_layer(memory, 2), 24);
  assert_int_equal(kvi_connector_memory_bytes_of_layer(memory, 3), 0);
  assert_int_equal(kvi_connector_memory_bytes_of_layer(memory, 5), 40);
  assert_int_equal(kvi_connector_memory_bytes_of_layer(memory, 6), 0);
  assert_int_equal(kvs_memory_unregister(memory), KVS_OK);
  free_bare_connector(connector);
}

/* ---- endpoints ---- */

static char last_line[4096];
static void keep_line(void *ctx, kvi_log_level level, const char *line, size_t length)
{
  (void)ctx;
  (void)level;
  (void)length;
  snprintf(last_line, sizeof(last_line), "%s", line);
}

static void endpoints(void **state)
{
  static const struct {
    const char *text;
    kvs_status status;
    enum kvi_connector_endpoint kind;
    uint64_t bytes;
  } cases[] = {
      {NULL, KVS_OK, KVI_CONNECTOR_EMBEDDED, 0},
      {"", KVS_OK, KVI_CONNECTOR_EMBEDDED, 0},
      {"embedded:", KVS_OK, KVI_CONNECTOR_EMBEDDED, 0},
      {"embedded:4GiB", KVS_OK, KVI_CONNECTOR_EMBEDDED, UINT64_C(4) << 30},
      {"embedded:65536", KVS_OK, KVI_CONNECTOR_EMBEDDED, 65536},
      {"embedded:0", KVS_ERR_INVALID, 0, 0},
      {"embedded:much", KVS_ERR_INVALID, 0, 0},
      {"embedded:-1", KVS_ERR_INVALID, 0, 0},
      {"embedded", KVS_ERR_INVALID, 0, 0},
      {"unix:/run/kvasir.sock", KVS_OK, KVI_CONNECTOR_NODE, 0},
      {"unix:kvasir.sock", KVS_ERR_INVALID, 0, 0},
      {"unix:", KVS_ERR_INVALID, 0, 0},
      {"kvasir://node:7070", KVS_OK, KVI_CONNECTOR_NODE, 0},
      {"kvasir://", KVS_ERR_INVALID, 0, 0},
      {"redis://node:6379", KVS_ERR_INVALID, 0, 0},
      {"node:7070", KVS_ERR_INVALID, 0, 0},
  };

  (void)state;
  kvi_log_set_sink(keep_line, NULL);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    enum kvi_connector_endpoint kind;
    uint64_t bytes;

    last_line[0] = '\0';
    assert_int_equal(kvi_connector_endpoint_parse(cases[i].text, &kind, &bytes), cases[i].status);
    if (cases[i].status != KVS_OK) {
      assert_non_null(strstr(last_line, "kvasir://host:port")); /* says what is right */
      continue;
    }
    assert_int_equal(kind, cases[i].kind);
    assert_int_equal(bytes, cases[i].bytes);
    assert_string_equal(last_line, "");
  }
  kvi_log_set_sink(NULL, NULL);
}

/* ---- structs that grow ---- */

static void growing_structs(void **state)
{
  struct {
    kvs_request known;
    uint64_t unknown;
  } newer = {.known = {.struct_size = sizeof(newer), .timeout_ms = 7}};
  kvs_request copy;

  (void)state;
  assert_int_equal(kvi_connector_struct_copy(&copy, sizeof(copy), NULL), KVS_OK);
  assert_int_equal(copy.timeout_ms, 0);
  assert_int_equal(kvi_connector_struct_copy(&copy, sizeof(copy), &newer), KVS_OK);
  assert_int_equal(copy.timeout_ms, 7);
  newer.unknown = 1; /* asks for something that this version cannot do */
  assert_int_equal(kvi_connector_struct_copy(&copy, sizeof(copy), &newer), KVS_ERR_INVALID);
  newer.known.struct_size =
      offsetof(kvs_request, by_layer); /* of a program that was built before there was such a field */
  newer.known.by_layer = 9;
  assert_int_equal(kvi_connector_struct_copy(&copy, sizeof(copy), &newer), KVS_OK);
  assert_int_equal(copy.timeout_ms, 7);
  assert_int_equal(copy.by_layer, 0);
  newer.known.struct_size = sizeof(uint32_t);
  assert_int_equal(kvi_connector_struct_copy(&copy, sizeof(copy), &newer), KVS_ERR_INVALID);
  newer.known.struct_size = UINT32_MAX;
  assert_int_equal(kvi_connector_struct_copy(&copy, sizeof(copy), &newer), KVS_ERR_INVALID);
}

/* ---- the table of operations ---- */

static void operations_are_bounded_and_never_reused(void **state)
{
  kvs_connector *connector = bare_connector();
  kvs_request request = {.user = 99};
  kvs_op ids[4], first;
  struct kvi_connector_op *op;
  kvs_completion completion;
  kvsc_completion taken = {.status = KVS_OK};

  (void)state;
  for (uint32_t i = 0; i < 4; i++) {
    assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &op), KVS_OK);
    ids[i] = kvi_connector_op_started(connector, op, 100 + i);
    for (uint32_t j = 0; j < i; j++)
      assert_int_not_equal(ids[i], ids[j]);
  }
  assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &op), KVS_ERR_BUSY);
  assert_null(op);
  assert_int_equal(kvi_connector_op_client(connector, ids[2]), 102);

  first = ids[2];
  taken.user = first;
  kvi_connector_op_complete(connector, &taken, &completion);
  assert_int_equal(completion.op, first);
  assert_int_equal(completion.user, 99);
  assert_int_equal(kvi_connector_op_client(connector, first), 0);
  assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &op), KVS_OK);
  ids[2] = kvi_connector_op_started(connector, op, 200);
  assert_int_not_equal(ids[2], first); /* the same place, another number */
  assert_int_equal(kvi_connector_op_client(connector, first), 0);
  assert_int_equal(kvi_connector_op_client(connector, 0), 0);
  assert_int_equal(kvi_connector_op_client(connector, UINT64_MAX), 0);
  free_bare_connector(connector);
}

static void a_completion_may_come_before_the_start_returns(void **state)
{
  kvs_connector *connector = bare_connector();
  kvs_request request = {.user = 1};
  struct kvi_connector_op *op, *other;
  kvs_completion completion;
  kvsc_completion taken = {.status = KVS_OK};
  kvs_op id;

  (void)state;
  assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &op), KVS_OK);
  assert_non_null(kvi_connector_op_alloc(op, 100000)); /* freed with the last reference */
  taken.user = id = op->id;
  kvi_connector_op_complete(connector, &taken, &completion);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &other), KVS_OK);
    assert_ptr_not_equal(other, op); /* its place is held until the start has returned */
  }
  assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &other), KVS_ERR_BUSY);
  assert_int_equal(kvi_connector_op_started(connector, op, 5), id);
  assert_int_equal(kvi_connector_op_begin(connector, &request, NULL, &other), KVS_OK);
  assert_ptr_equal(other, op);
  free_bare_connector(connector);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scatter_matches_reference),
      cmocka_unit_test(touching_slots_are_one_place),
      cmocka_unit_test(scatter_refuses),
      cmocka_unit_test(registration_refuses),
      cmocka_unit_test(layers_count_their_bytes),
      cmocka_unit_test(endpoints),
      cmocka_unit_test(growing_structs),
      cmocka_unit_test(operations_are_bounded_and_never_reused),
      cmocka_unit_test(a_completion_may_come_before_the_start_returns),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
