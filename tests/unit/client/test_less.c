/* Gets that want less than there is: what libkvasir asks for, how fast it thinks that gets are, and what comes of a store in the same process. */
#include "client/client_internal.h"
#include "proto/limits.h"
#include "tests/unit/client/coded_testing.h"

#define PLANES 3u

/* Nothing is there. */
static void miss(struct coded *c, kvsc_op op)
{
  for (uint32_t i = 0; i < transfer_of(c)->n_chunks; i++)
    end_chunk(c, i, KVS_MISS);
  end_transfer(c, KVS_MISS);
  assert_int_equal(wait_for(c->client, op).status, KVS_MISS);
}

static void enough_is_asked_for(void **state)
{
  struct coded *c = *state;
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = c->keys[0], .unchained = 1};
  kvsc_call bad = {.struct_size = sizeof(bad), .loss_max = 3, .loss_enough = 4};
  kvsc_op op;

  op = start_call(c, 1, (kvsc_call){.loss_max = 4, .loss_enough = 3});
  assert_int_equal(transfer_of(c)->loss_max, 4);
  assert_int_equal(transfer_of(c)->loss_enough, 3);
  assert_int_equal(transfer_of(c)->bytes_enough, 0);
  miss(c, op);
  assert_int_equal(kvsc_get(c->space, &keys, c->chunks, &bad, &op), KVS_ERR_INVALID);
  bad.loss_max = 0;
  bad.loss_enough = 1;
  assert_int_equal(kvsc_get(c->space, &keys, c->chunks, &bad, &op), KVS_ERR_INVALID);
}

/* What a get of n chunks in such a hurry says that each may have. */
static uint64_t bytes_asked(struct coded *c, uint32_t n, kvsc_call call)
{
  kvsc_op op = start_call(c, n, call);
  uint64_t bytes = transfer_of(c)->bytes_enough;

  miss(c, op);
  return bytes;
}

static uint64_t hurried(struct coded *c, uint32_t n, uint32_t ms)
{
  return bytes_asked(c, n, (kvsc_call){.loss_max = 4, .hurry_ms = ms});
}

static void a_hurry_is_bytes_at_the_pace_of_gets(void **state)
{
  struct coded *c = *state;
  kvsc_completion completion;
  uint64_t bytes;
  kvsc_op op;

  assert_int_equal(hurried(c, 1, 1), 0); /* nothing is known */
  assert_true(c->sample.length < 64u << 10);
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
  assert_int_equal(hurried(c, 1, 1), 0); /* too little to tell */
  op = start(c, N_CHUNKS);
  for (uint32_t i = 0; i < N_CHUNKS; i++)
    give(c, i);
  end_transfer(c, KVS_OK);
  completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_OK);

  bytes = hurried(c, 1, 1000);
  /* what came in its time at least: it ended after its bytes had come */
  assert_true(bytes + bytes / 100 >=
              N_CHUNKS * c->sample.length * 1000 / (completion.elapsed_ns / 1000000 + 1));
  assert_int_equal(hurried(c, 1, 1000), bytes); /* misses tell nothing */
  assert_in_range(hurried(c, N_CHUNKS, 1000), bytes / N_CHUNKS - 1, bytes / N_CHUNKS);
  assert_in_range(hurried(c, 1, 2000), 2 * bytes, 2 * bytes + 1);
  assert_int_equal(hurried(c, 1, UINT32_MAX), hurried(c, 1, KVI_TIMEOUT_MS_MAX));
  assert_true(hurried(c, 1, 1) > 0);
  /* who is in no hurry, or takes no loss */
  assert_int_equal(bytes_asked(c, 1, (kvsc_call){.loss_max = 4}), 0);
  assert_int_equal(bytes_asked(c, 1, (kvsc_call){.hurry_ms = 1}), 0);
}

/* A get that brought so much in so long has ended. */
static void note(struct coded *c, uint64_t bytes, uint64_t ns)
{
  struct kvi_transfer_chunk chunk = {.verified = bytes};
  struct client_op op = {.client = c->client, .transfer = {.n_chunks = 1, .chunks = &chunk}, .started_ns = 5};

  kvi_pace_note(&op, 5 + ns);
}

static void small_gets_only_quicken(void **state)
{
  struct coded *c = *state;
  uint64_t second = 1000000000, slow, quick;

  note(c, 32u << 10, second / 1000);
  assert_int_equal(kvi_pace_bytes(c->client, 1000, 1), 0); /* not known by a small one */
  note(c, 1u << 20, second);
  slow = kvi_pace_bytes(c->client, 1000, 1);
  assert_in_range(slow, (1u << 20) - 10, 1u << 20);
  note(c, 32u << 10, second);
  note(c, 1, second / 1000);
  note(c, 0, 0);
  assert_int_equal(kvi_pace_bytes(c->client, 1000, 1), slow);
  /* the link is better by now, and all gets are shortened: 32 MiB a second */
  for (uint32_t i = 0; i < 50; i++)
    note(c, 32u << 10, second / 1024);
  quick = kvi_pace_bytes(c->client, 1000, 1);
  assert_in_range(quick, 30u << 20, 32u << 20);
  note(c, 1u << 20, second);
  assert_true(kvi_pace_bytes(c->client, 1000, 1) < quick); /* large ones do both */
}

/* What lies in a hole of its destination comes in no time. */
static void no_pace_is_beyond_reckoning(void **state)
{
  struct coded *c = *state;
  uint64_t last = 0;

  for (uint32_t i = 0; i < 50; i++)
    note(c, UINT64_C(1) << 40, 0);
  for (uint32_t ms = 1; ms <= KVI_TIMEOUT_MS_MAX; ms += ms < 1000 ? 1 : 1000) {
    uint64_t bytes = kvi_pace_bytes(c->client, ms, 1);

    assert_true(bytes > last);
    last = bytes;
  }
  assert_int_equal(kvi_pace_bytes(c->client, 1000, 1), UINT64_C(1) << 40);
}

/* Bytes that are decoded at the node are as many with fewer planes. */
static void what_is_decoded_at_the_node_has_no_bound(void **state)
{
  struct coded *c = *state;
  const kvsc_iov large = {c->out, 2u << 20};
  kvsc_op op;

  reopen_client(c, 1, 1);
  op = start(c, N_CHUNKS);
  for (uint32_t i = 0; i < N_CHUNKS; i++)
    give(c, i);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, op).status, KVS_OK);
  assert_true(hurried(c, 1, 1) > 0);
  c->chunks[0].iov = &large;
  op = start_call(c, 1, (kvsc_call){.loss_max = 4, .loss_enough = 2, .hurry_ms = 1});
  assert_null(transfer_of(c)->on_coded);
  assert_int_equal(transfer_of(c)->bytes_enough, 0);
  assert_int_equal(transfer_of(c)->loss_enough, 2);
  miss(c, op);
}

/* ---- a store in the same process ---- */

static void put_sample(struct fixture *fixture, const struct coded_sample *sample, const uint8_t *key)
{
  const struct kvi_service *service = kvi_store_service_get(fixture->service);
  const struct kvi_peer peer = {.id = 99, .tenant = "default", .name = "test"};
  uint32_t *lengths = calloc(sample->n_segments, sizeof(*lengths));
  uint8_t space[KVS_DIGEST_SIZE];
  const uint8_t *from = sample->payload;
  struct kvi_landing landing;
  struct kvi_put_request request = {.space = space,
                                    .key = key,
                                    .key_length = KEY,
                                    .unchained = true,
                                    .length = sample->length,
                                    .n_segments = sample->n_segments,
                                    .segment_lengths = lengths,
                                    .quality = sample->quality};

  assert_non_null(lengths);
  kvsc_space_get_digest(fixture->space, space);
  for (uint32_t i = 0; i < sample->n_segments; i++)
    lengths[i] = sample->segments[i].length;
  assert_int_equal(service->ops->put_begin(service->self, &peer, &request, NULL, NULL, &landing), KVS_OK);
  for (uint32_t i = 0; i < landing.n_iov; from += landing.iov[i++].length)
    memcpy(landing.iov[i].base, from, landing.iov[i].length);
  for (uint32_t i = 0; i < sample->n_segments; i++)
    landing.segments[i].crc32c = sample->segments[i].crc32c;
  assert_int_equal(service->ops->put_commit(service->self, &landing), KVS_OK);
  free(lengths);
}

static void planes_stay_where_they_are(void **state)
{
  struct fixture fixture;
  struct coded_sample sample;
  struct kvi_coded whole;
  uint8_t key[KEY] = {1};
  uint64_t coded_bytes = 0;

  (void)state;
  fixture_open(&fixture, 64u << 20, 0);
  coded_sample_make(&sample, KVI_CODEC_LADDER, PLANES, N_LAYERS, 1, 7);
  put_sample(&fixture, &sample, key);
  assert_int_equal(kvi_coded_open(sample.payload, sample.length, sample.length, &whole), KVS_OK);
  for (uint32_t enough = 0; enough <= 5; enough++) {
    struct coded_sample cut = sample;
    uint32_t planes = enough <= 1 ? PLANES : enough >= 4 ? 0 : 4 - enough;
    uint8_t *out = calloc(1, sample.shape.raw_bytes), *decoded;
    const kvsc_iov iov = {out, sample.shape.raw_bytes};
    const kvsc_chunk chunk = {.iov = &iov, .n_iov = 1, .exact = 1};
    const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
    const kvsc_call call = {.struct_size = sizeof(call), .loss_max = 5, .loss_enough = enough};
    kvsc_counters counters = {.struct_size = sizeof(counters)};
    kvsc_op op;

    cut.length = whole.object_at + whole.object.quality_end[planes];
    decoded = coded_sample_decoded(&cut);
    assert_int_equal(kvsc_get(fixture.space, &keys, &chunk, &call, &op), KVS_OK);
    assert_int_equal(wait_for(fixture.client, op).status, KVS_OK);
    assert_memory_equal(out, decoded, sample.shape.raw_bytes);
    kvsc_get_counters(fixture.client, &counters);
    assert_int_equal(counters.coded_bytes - coded_bytes, cut.length);
    coded_bytes = counters.coded_bytes;
    free(decoded);
    free(out);
  }
  coded_sample_free(&sample);
  fixture_close(&fixture);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(enough_is_asked_for),
      TEST(a_hurry_is_bytes_at_the_pace_of_gets),
      TEST(small_gets_only_quicken),
      TEST(no_pace_is_beyond_reckoning),
      TEST(what_is_decoded_at_the_node_has_no_bound),
      cmocka_unit_test(planes_stay_where_they_are),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
