/* Puts that a client encodes: what the wire gets of them, in which order, and what the node's answers come to. */
#include "tests/unit/client/encode_testing.h"

static void they_go_coded_and_in_order(void **state)
{
  struct encoding *e = *state;
  uint64_t raw = e->sample.shape.raw_bytes;
  kvsc_op op = put(e, 6, (kvsc_call){0});
  kvsc_completion completion;
  kvsc_counters counters;

  held_wait(&e->wire, 6); /* nobody waits for the first to be stored */
  for (uint32_t i = 0; i < 6; i++)
    check_coded(e, i, i, 0, 0);
  end_to(e, 0, 6);
  completion = wait_for(e->client, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.n_ok, 6);
  assert_int_equal(completion.bytes, 6 * raw);
  counters = counters_of(e);
  assert_int_equal(counters.put_bytes, 6 * raw);
  assert_int_equal(counters.encoded_chunks, 6);
  assert_int_equal(counters.encoded_raw_bytes, 6 * raw);
  assert_int_equal(counters.encoded_bytes, 6 * e->sample.length);
}

static void each_knows_its_place(void **state)
{
  struct encoding *e = *state;
  uint8_t parent[KEY], extent[KEY];
  const kvsc_keys list = {.struct_size = sizeof(list),
                          .n = N_CHUNKS,
                          .keys = e->keys[0],
                          .first_place = 60,
                          .parent = parent,
                          .extent_first = extent};
  const kvsc_call call = {.struct_size = sizeof(call), .ttl_ms = 77, .chain_chunks = 88};
  kvsc_op op;

  test_key(2, 59, parent);
  test_key(2, 0, extent);
  assert_int_equal(kvsc_put(e->space, &list, e->chunks, &call, &op), KVS_OK);
  held_wait(&e->wire, N_CHUNKS);
  for (uint32_t i = 0; i < N_CHUNKS; i++) {
    const struct kvi_transfer *transfer = e->wire.held[i];
    const uint8_t *first = 60 + i < 64 ? extent : e->keys[4];

    assert_memory_equal(transfer->keys, e->keys[i], KEY);
    assert_int_equal(transfer->ttl_ms, 77);
    assert_int_equal(transfer->chain_chunks, 88);
    assert_false(transfer->chain.unchained);
    assert_int_equal(transfer->chain.first_place, 60 + i);
    assert_memory_equal(transfer->chain.parent, i == 0 ? parent : e->keys[i - 1], KEY);
    if (60 + i == 64)
      assert_null(transfer->chain.extent_first);
    else
      assert_memory_equal(transfer->chain.extent_first, first, KEY);
  }
  end_to(e, 0, N_CHUNKS);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
}

static void what_stands_alone_has_no_place(void **state)
{
  struct encoding *e = *state;
  const kvsc_keys list = {.struct_size = sizeof(list), .n = 2, .keys = e->keys[0], .unchained = 1};
  kvsc_op op;

  assert_int_equal(kvsc_put(e->space, &list, e->chunks, NULL, &op), KVS_OK);
  held_wait(&e->wire, 2);
  for (uint32_t i = 0; i < 2; i++) {
    check_coded(e, i, i, 0, 0);
    assert_true(e->wire.held[i]->chain.unchained);
    assert_int_equal(e->wire.held[i]->chain.first_place, 0);
    assert_null(e->wire.held[i]->chain.parent);
  }
  end_to(e, 0, 2);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
}

static void the_owner_says_how_much_is_lost(void **state)
{
  static const struct {
    uint32_t level, planes, loss_max, loss;
  } cases[] = {
      {KVSC_ENCODE_LADDER, 0, 0, 0},   {KVSC_ENCODE_LADDER, 0, 1, 0},    {KVSC_ENCODE_LADDER, 0, 2, 2},
      {KVSC_ENCODE_LADDER, 3, 1, 1},   {KVSC_ENCODE_LADDER, 1, 15, 3},   {KVSC_ENCODE_CACHEGEN, 0, 4, 0},
      {KVSC_ENCODE_CACHEGEN, 0, 5, 5}, {KVSC_ENCODE_LOSSLESS, 0, 15, 0},
  };
  struct encoding *e = *state;

  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    kvsc_op op;

    reopen_client(e, (kvsc_options){.encode = cases[i].level, .encode_planes = cases[i].planes});
    op = put(e, 1, (kvsc_call){.loss_max = cases[i].loss_max});
    held_wait(&e->wire, 1);
    check_coded(e, 0, 0, cases[i].loss, cases[i].loss_max);
    held_end(&e->wire, 0, KVS_OK, KVS_OK);
    assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  }
}

/* In many pieces, and cut as a connector does. */
static void scattered_chunks_are_gathered(void **state)
{
  struct encoding *e = *state;
  uint64_t raw = e->sample.shape.raw_bytes;
  const uint32_t segments[3] = {1000, 24, (uint32_t)raw - 1024};
  kvsc_iov iov[7];
  struct kvi_coded coded;
  kvsc_op op;

  for (uint32_t i = 0; i < 7; i++)
    iov[i] = (kvsc_iov){e->sample.raw + raw * i / 7, raw * (i + 1) / 7 - raw * i / 7};
  e->chunks[0] = (kvsc_chunk){.iov = iov, .n_iov = 7, .n_segments = 3, .segment_lengths = segments};
  op = put(e, 1, (kvsc_call){0});
  held_wait(&e->wire, 1);
  check_coded(e, 0, 0, 0, 0);
  assert_int_equal(kvi_coded_open(e->wire.held[0]->chunks[0].iov[0].base, e->wire.held[0]->chunks[0].length,
                                  e->wire.held[0]->chunks[0].length, &coded),
                   KVS_OK);
  assert_int_equal(coded.raw.n_segments, 3);
  assert_int_equal(kvi_chunk_table_segment(&coded.raw, 1).length, 24);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
}

/* Noise, a part of a chunk, and a chunk beside them: each in its turn. */
static void what_would_not_be_smaller_goes_as_it_is(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  e->iov[1].base = e->noise;
  e->iov[2].length -= 2;
  op = put(e, 4, (kvsc_call){.loss_max = 1});
  held_wait(&e->wire, 4);
  check_coded(e, 0, 0, 0, 1);
  check_raw(e, 1, 1);
  check_raw(e, 2, 2);
  assert_int_equal(e->wire.held[2]->chunks[0].length, e->sample.shape.raw_bytes - 2);
  assert_int_equal(e->wire.held[2]->chunks[0].quality, kvi_quality(0, 1, KVI_CODING_NONE));
  check_coded(e, 3, 3, 0, 1);
  end_to(e, 0, 4);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(gate_runs(), 3);
  assert_int_equal(counters_of(e).encoded_chunks, 2);
}

/* One transfer of all chunks, as from a client that does not encode. */
static void check_as_ever(struct encoding *e, kvsc_space *space)
{
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 3, .keys = e->keys[0]};
  kvsc_op op;

  assert_int_equal(kvsc_put(space, &keys, e->chunks, NULL, &op), KVS_OK);
  held_wait(&e->wire, 1);
  assert_int_equal(e->wire.held[0]->n_chunks, 3);
  assert_int_equal(e->wire.held[0]->chunks[2].quality, 0);
  assert_ptr_equal(e->wire.held[0]->chunks[2].iov, e->chunks[2].iov);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(gate_runs(), 0);
  assert_int_equal(counters_of(e).encoded_chunks, 0);
}

static void what_is_not_tensors_goes_as_ever(void **state)
{
  struct encoding *e = *state;
  kvs_space_desc desc = test_desc("opaque");
  kvsc_space *space;

  assert_int_equal(kvsc_space_open(e->client, &desc, &space), KVS_OK);
  check_as_ever(e, space);
}

static void who_does_not_ask_gets_none(void **state)
{
  struct encoding *e = *state;

  reopen_client(e, (kvsc_options){0});
  check_as_ever(e, e->space);
}

/* A caller that was built before there were these options. */
static void older_structs_ask_for_none(void **state)
{
  struct encoding *e = *state;
  kvsc_options options = {.max_operations = 8, .encode = 99, .encode_planes = 99, .encode_threads = 99};
  kvs_space_desc desc = tensors_desc(&e->sample.shape);

  kvsc_close(e->client);
  memset(&e->wire, 0, sizeof(e->wire));
  options.struct_size = offsetof(kvsc_options, encode);
  assert_int_equal(kvi_client_open_over(&options, held_factory, &e->wire, &e->client), KVS_OK);
  assert_int_equal(kvsc_space_open(e->client, &desc, &e->space), KVS_OK);
  check_as_ever(e, e->space);
}

static void options_have_bounds(void **state)
{
  static const kvsc_options wrong[] = {
      {.encode = KVSC_ENCODE_CACHEGEN + 1},
      {.encode_planes = 4},
      {.encode_threads = 65},
      {.encode_mib = 65537},
  };
  struct held_wire wire = {0};
  kvsc_client *client;

  (void)state;
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    kvsc_options options = wrong[i];

    options.struct_size = sizeof(options);
    assert_int_equal(kvi_client_open_over(&options, held_factory, &wire, &client), KVS_ERR_INVALID);
    assert_null(client);
  }
}

/* A put whose segments do not add up is refused where it is started, by the wire. */
static void what_is_malformed_is_the_wires_to_refuse(void **state)
{
  struct encoding *e = *state;
  const uint32_t segments[2] = {1, 2}, none[2] = {0, (uint32_t)e->sample.shape.raw_bytes};
  kvsc_op op;

  e->chunks[0].n_segments = 2;
  e->chunks[0].segment_lengths = segments;
  op = put(e, 1, (kvsc_call){0});
  held_wait(&e->wire, 1);
  assert_int_equal(e->wire.held[0]->chunks[0].n_segments, 2);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  e->chunks[0].segment_lengths = none;
  op = put(e, 1, (kvsc_call){0});
  held_wait(&e->wire, 2);
  held_end(&e->wire, 1, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(gate_runs(), 0);
}

/* The second chunk is done first, and waits. */
static void none_overtakes_another(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_threads = 2});
  gate_close(0, false);
  op = put(e, 4, (kvsc_call){0});
  AWAIT(counters_of(e).encoded_chunks == 3);
  assert_int_equal(n_held(e), 0);
  gate_open();
  held_wait(&e->wire, 4);
  for (uint32_t i = 0; i < 4; i++)
    check_coded(e, i, i, 0, 0);
  end_to(e, 0, 4);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
}

/* While the wire has the first chunk the second is encoded. */
static void encoding_overlaps_sending(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_threads = 1});
  gate_close(1, false);
  op = put(e, 2, (kvsc_call){0});
  held_wait(&e->wire, 1);
  AWAIT(gate_inside() == 1);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(kvsc_wait(e->client, op, 0, NULL), KVS_ERR_DEADLINE);
  gate_open();
  held_wait(&e->wire, 2);
  held_end(&e->wire, 1, KVS_EXISTS, KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(e->statuses[0], KVS_OK);
  assert_int_equal(e->statuses[1], KVS_EXISTS);
}

/* ---- what the node answers ---- */

static void one_that_fails_leaves_the_others(void **state)
{
  struct encoding *e = *state;
  kvsc_op op = put(e, 3, (kvsc_call){0});
  kvsc_completion completion;

  held_wait(&e->wire, 3);
  held_end(&e->wire, 1, KVS_ERR_FULL, KVS_ERR_FULL);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  held_end(&e->wire, 2, KVS_OK, KVS_OK);
  completion = wait_for(e->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_ok, 2);
  assert_int_equal(completion.n_prefix, 1);
  assert_int_equal(completion.bytes, 2 * e->sample.shape.raw_bytes);
  assert_int_equal(e->statuses[1], KVS_ERR_FULL);
  op = put(e, 1, (kvsc_call){0});
  held_wait(&e->wire, 4);
  held_end(&e->wire, 3, KVS_ERR_FULL, KVS_ERR_FULL);
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_FULL);
}

/* After a pause, and only those: the others are stored. */
static void what_the_node_was_too_busy_for_goes_again(void **state)
{
  struct encoding *e = *state;
  kvsc_op op = put(e, 3, (kvsc_call){0});

  held_wait(&e->wire, 3);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  held_end(&e->wire, 1, KVS_ERR_BUSY, KVS_ERR_BUSY);
  held_end(&e->wire, 2, KVS_EXISTS, KVS_OK);
  held_wait(&e->wire, 4);
  check_coded(e, 3, 1, 0, 0);
  held_end(&e->wire, 3, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(e->statuses[0], KVS_OK);
  assert_int_equal(e->statuses[1], KVS_OK);
  assert_int_equal(e->statuses[2], KVS_EXISTS);
  assert_int_equal(n_held(e), 4);
}

/* A node that was restarted. */
static void an_unknown_space_is_told_once_more(void **state)
{
  struct encoding *e = *state;
  uint32_t told;
  kvsc_op op;

  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_threads = 1});
  gate_close(1, false);
  op = put(e, 3, (kvsc_call){0});
  held_wait(&e->wire, 1);
  told = e->wire.n_open_space;
  AWAIT(gate_inside() == 1);
  held_end(&e->wire, 0, KVS_ERR_SPACE_UNKNOWN, KVS_ERR_SPACE_UNKNOWN);
  gate_open();
  held_wait(&e->wire, 4); /* none of the others was sent in vain */
  assert_int_equal(e->wire.n_open_space, told + 1);
  for (uint32_t i = 0; i < 3; i++)
    check_coded(e, 1 + i, i, 0, 0);
  end_to(e, 1, 4);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
}

/* ---- a store behind it ---- */

static kvs_status local_factory(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn,
                                void *state_ctx, struct kvi_wire **wire_p)
{
  (void)options;
  return kvi_local_wire_open(kvi_store_service_get(ctx), state_fn, state_ctx, wire_p);
}

static void get_back(struct encoding *e, uint32_t n, uint32_t loss_max, bool same)
{
  uint64_t raw = e->sample.shape.raw_bytes;
  uint8_t *out = calloc(n, raw);
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = n, .keys = e->keys[0]};
  const kvsc_call call = {.struct_size = sizeof(call), .loss_max = loss_max, .timeout_ms = 60000};
  kvsc_iov iov[N_CHUNKS];
  kvsc_chunk chunks[N_CHUNKS];
  kvsc_op op;

  for (uint32_t i = 0; i < n; i++) {
    iov[i] = (kvsc_iov){out + i * raw, raw};
    chunks[i] = (kvsc_chunk){.iov = &iov[i], .n_iov = 1, .exact = 1};
  }
  assert_int_equal(kvsc_get(e->space, &keys, chunks, &call, &op), KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal(memcmp(out + i * raw, e->chunks[i].iov->base, raw) == 0, same);
  free(out);
}

static void a_store_gives_back_what_was_put(void **state)
{
  struct encoding *e = *state;
  const struct kvi_store_config store_config = {.dram_bytes = 64u << 20};
  struct kvi_store_service_config service_config = {.software = "kvasir test", .incarnation = 42};
  struct kvi_store_service *service;
  kvs_space_desc desc = tensors_desc(&e->sample.shape);

  kvsc_close(e->client);
  for (uint32_t loss_max = 0; loss_max <= 2; loss_max += 2) {
    const kvsc_options options = {.struct_size = sizeof(options), .encode = KVSC_ENCODE_LADDER};

    e->iov[3].base = loss_max == 0 ? e->noise : e->sample.raw;
    assert_int_equal(kvi_store_open(&store_config, &service_config.store), KVS_OK);
    assert_int_equal(kvi_store_service_create(&service_config, &service), KVS_OK);
    assert_int_equal(kvi_client_open_over(&options, local_factory, service, &e->client), KVS_OK);
    assert_int_equal(kvsc_space_open(e->client, &desc, &e->space), KVS_OK);
    for (uint32_t i = 0; i < 2; i++) /* the second time all are there */
      assert_int_equal(wait_for(e->client, put(e, N_CHUNKS, (kvsc_call){.loss_max = loss_max})).status,
                       KVS_OK);
    get_back(e, N_CHUNKS, loss_max, loss_max == 0);
    assert_int_equal(counters_of(e).coded_chunks, loss_max == 0 ? N_CHUNKS - 1 : N_CHUNKS);
    kvsc_close(e->client);
    kvi_store_service_destroy(service);
    kvi_store_close(service_config.store);
  }
  open_client(e, (kvsc_options){0});
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(they_go_coded_and_in_order),
      TEST(each_knows_its_place),
      TEST(what_stands_alone_has_no_place),
      TEST(the_owner_says_how_much_is_lost),
      TEST(scattered_chunks_are_gathered),
      TEST(what_would_not_be_smaller_goes_as_it_is),
      TEST(what_is_not_tensors_goes_as_ever),
      TEST(who_does_not_ask_gets_none),
      TEST(older_structs_ask_for_none),
      TEST(options_have_bounds),
      TEST(what_is_malformed_is_the_wires_to_refuse),
      TEST(none_overtakes_another),
      TEST(encoding_overlaps_sending),
      TEST(one_that_fails_leaves_the_others),
      TEST(what_the_node_was_too_busy_for_goes_again),
      TEST(an_unknown_space_is_told_once_more),
      TEST(a_store_gives_back_what_was_put),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
