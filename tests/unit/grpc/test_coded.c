/* Coded chunks over a real connection: what a get takes and a put says, where they land, and libkvasir's way from there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvasir/client.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "tests/unit/grpc/fixture.h"
#include "tests/unit/grpc/run.h"
#include "tests/unit/proto/coded_sample.h"

#define N_LAYERS 6u

/* The sample's payload as chunk `key`. */
static void put_sample(struct fixture *f, const struct coded_sample *sample, uint8_t key, uint16_t quality)
{
  struct kvi_iov iov = {sample->payload, sample->length};
  uint32_t *lengths = calloc(sample->n_segments, sizeof *lengths);
  for (uint32_t i = 0; i < sample->n_segments; i++)
    lengths[i] = sample->segments[i].length;
  struct run r;
  prepare(&r, true, 1, key, 10000);
  r.chunks[0] = (struct kvi_transfer_chunk){.iov = &iov,
                                            .n_iov = 1,
                                            .n_segments = sample->n_segments,
                                            .segment_lengths = lengths,
                                            .length = sample->length,
                                            .quality = quality};
  assert_int_equal(f->wire->ops->submit(f->wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_OK);
  free(lengths);
}

/* ---- the wire alone ---- */

struct landing {
  uint8_t *bytes;
  struct kvi_iov iov[2];
  uint64_t length;
  uint32_t n_told, chunk;
  kvs_status answer;
};
static struct landing landing;

static kvs_status on_coded(struct kvi_transfer *t, uint32_t chunk, uint64_t length,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  assert_int_equal(kvi_quality_coding(t->chunks[chunk].quality), KVI_CODING_KVC1);
  landing.n_told++;
  landing.chunk = chunk;
  landing.length = length;
  landing.bytes = realloc(landing.bytes, length);
  landing.iov[0] = (struct kvi_iov){landing.bytes, length / 3};
  landing.iov[1] = (struct kvi_iov){landing.bytes + length / 3, length - length / 3};
  *iov_p = landing.iov;
  *n_iov_p = 2;
  return landing.answer;
}

static void prepare_get(struct run *r, struct kvi_iov *iov, uint32_t n_chunks, bool coded)
{
  prepare(r, false, n_chunks, 1, 10000);
  for (uint32_t i = 0; i < n_chunks; i++)
    r->chunks[i] = (struct kvi_transfer_chunk){.iov = iov, .n_iov = 1, .length = iov->length};
  r->t.on_coded = coded ? on_coded : NULL;
  landing.n_told = 0;
  landing.answer = KVS_OK;
}

static int set_up(void **state)
{
  static struct coded_sample sample;
  coded_sample_make(&sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 2 * N_LAYERS, 1);
  *state = &sample;
  return 0;
}

static int tear_down(void **state)
{
  coded_sample_free(*state);
  free(landing.bytes);
  landing.bytes = NULL;
  return 0;
}

/* In pieces of any size, one or several to a segment; small room is the reader's affair. */
static void test_lands_where_it_is_told(void **state)
{
  const struct coded_sample *sample = *state;
  uint8_t room[16];
  struct kvi_iov iov = {room, sizeof room};
  for (uint32_t piece = 0; piece < 2; piece++) {
    struct fixture f;
    fixture_start(&f, piece == 1, piece == 0 ? 0 : 1000);
    put_sample(&f, sample, 1, sample->quality);
    struct run r;
    prepare_get(&r, &iov, 1, true);
    assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
    assert_int_equal(finish(&r), KVS_OK);
    assert_int_equal(fixture_terms(&f).codings, 1u << KVI_CODING_KVC1);
    assert_int_equal(fixture_terms(&f).loss_max, 0);
    assert_int_equal(landing.n_told, 1);
    assert_int_equal(landing.length, sample->length);
    assert_memory_equal(landing.bytes, sample->payload, sample->length);
    assert_int_equal(r.chunks[0].quality, sample->quality);
    assert_int_equal(r.chunks[0].length, sample->length);
    assert_int_equal(r.chunks[0].verified, sample->length);
    assert_int_equal(r.last_segments, sample->n_segments);
    fixture_stop(&f);
  }
}

/* ---- abreast ---- */

#define CHUNKS 5u

static struct {
  uint8_t *bytes[CHUNKS];
  struct kvi_iov iov[CHUNKS];
  uint32_t n, chunk[CHUNKS * KVI_SEGMENTS_MAX];
} heard;

static kvs_status on_coded_abreast(struct kvi_transfer *t, uint32_t chunk, uint64_t length,
                                   const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  (void)t;
  heard.bytes[chunk] = malloc(length);
  heard.iov[chunk] = (struct kvi_iov){heard.bytes[chunk], length};
  *iov_p = &heard.iov[chunk];
  *n_iov_p = 1;
  return KVS_OK;
}

static void on_segments_abreast(struct kvi_transfer *t, uint32_t chunk, uint32_t n)
{
  (void)t, (void)n;
  heard.chunk[heard.n++] = chunk;
}

/* Groups of `together` chunks, each segment by segment. */
static void check_order(const struct coded_sample *sample, uint32_t together)
{
  uint32_t at = 0;
  assert_int_equal(heard.n, CHUNKS * sample->n_segments);
  for (uint32_t first = 0; first < CHUNKS; first += together)
    for (uint32_t segment = 0; segment < sample->n_segments; segment++)
      for (uint32_t i = first; i < first + together && i < CHUNKS; i++)
        assert_int_equal(heard.chunk[at++], i);
}

/* What is held open at a time is counted by what is sent, whatever room the client says that it has. */
static void test_abreast_as_much_as_may_be_held(void **state)
{
  const struct coded_sample *sample = *state;
  const struct {
    uint64_t bytes;
    uint32_t together;
  } cases[] = {{UINT64_MAX, CHUNKS},
               {5 * sample->length, CHUNKS},
               {3 * sample->length, 3},
               {3 * sample->length - 1, 3}, /* the one that goes over it is open */
               {sample->length + 100, 2},
               {sample->length, 1},
               {100, 1},
               {0, 1}};
  uint8_t room[1];
  struct kvi_iov iov = {room, sizeof room};
  for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
    struct fixture f;
    fixture_abreast_bytes(cases[k].bytes);
    fixture_start(&f, false, 0);
    for (uint32_t i = 0; i < CHUNKS; i++)
      put_sample(&f, sample, (uint8_t)(1 + i), sample->quality);
    for (uint32_t round = 0; round < 2; round++) { /* nothing is left in the count */
      struct run r;
      prepare_get(&r, &iov, CHUNKS, true);
      r.t.abreast = true;
      r.t.on_coded = on_coded_abreast;
      r.t.on_segments = on_segments_abreast;
      heard.n = 0;
      assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
      assert_int_equal(finish(&r), KVS_OK);
      check_order(sample, cases[k].together);
      for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(r.chunks[i].length, sample->length);
        assert_memory_equal(heard.bytes[i], sample->payload, sample->length);
        free(heard.bytes[i]);
      }
    }
    fixture_stop(&f);
  }
  fixture_abreast_bytes(UINT64_MAX);
}

/* A coded chunk that is longer than anything that decodes to the client's room is not sent. */
static void test_too_long_for_the_room(void **state)
{
  (void)state;
  enum { LENGTH = 400000 };
  uint8_t *bytes = calloc(1, LENGTH);
  struct kvi_segment segment = {.length = LENGTH};
  const struct coded_sample sample = {
      .payload = bytes, .length = LENGTH, .segments = &segment, .n_segments = 1};
  struct fixture f;
  fixture_start(&f, false, 0);
  put_sample(&f, &sample, 1, kvi_quality(0, 0, KVI_CODING_KVC1));
  for (uint64_t room = 1; room <= LENGTH; room += LENGTH - 1) {
    struct kvi_iov iov = {bytes, room};
    struct run r;
    prepare_get(&r, &iov, 1, true);
    assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
    assert_int_equal(finish(&r), room == 1 ? KVS_ERR_BUFFER : KVS_OK);
    assert_int_equal(r.chunks[0].status, room == 1 ? KVS_ERR_BUFFER : KVS_OK);
    assert_int_equal(landing.n_told, room == 1 ? 0 : 1);
  }
  fixture_stop(&f);
  free(bytes);
}

static void test_who_does_not_ask_gets_none(void **state)
{
  const struct coded_sample *sample = *state;
  uint8_t *room = calloc(1, sample->shape.raw_bytes);
  struct kvi_iov iov = {room, sample->shape.raw_bytes};
  struct fixture f;
  fixture_start(&f, false, 0);
  put_sample(&f, sample, 1, sample->quality);
  for (int i = 0; i < 2;
       i++) { /* the second time from a service that gives what it has: the server does not */
    struct run r;
    prepare_get(&r, &iov, 1, false);
    assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
    assert_int_equal(finish(&r), KVS_MISS);
    assert_int_equal(r.chunks[0].cause, KVI_MISS_QUALITY);
    assert_int_equal(fixture_terms(&f).codings, 0);
    fixture_ignore_terms(&f);
  }
  assert_int_equal(room[0], 0);
  assert_int_equal(fixture_sources_open(&f), 0);
  fixture_stop(&f);
  free(room);
}

/* Loss beyond what was asked for is a miss, whether the node or the client finds it. */
static void test_loss_has_a_bound(void **state)
{
  const struct coded_sample *sample = *state;
  uint8_t room[16];
  struct kvi_iov iov = {room, sizeof room};
  struct fixture f;
  fixture_start(&f, false, 0);
  put_sample(&f, sample, 1, kvi_quality(3, 7, KVI_CODING_KVC1));
  for (int i = 0; i < 2; i++) {
    for (uint32_t loss_max = 2; loss_max <= 3; loss_max++) {
      struct run r;
      prepare_get(&r, &iov, 1, true);
      r.t.loss_max = loss_max;
      r.t.loss_enough = loss_max - 1;
      r.t.bytes_enough = UINT64_C(5000000000) + loss_max;
      assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
      assert_int_equal(finish(&r), loss_max == 3 ? KVS_OK : KVS_MISS);
      assert_int_equal(r.chunks[0].cause, loss_max == 3 ? KVI_MISS_NONE : KVI_MISS_QUALITY);
      assert_int_equal(landing.n_told, loss_max == 3);
      assert_int_equal(fixture_terms(&f).loss_max, loss_max);
      assert_int_equal(fixture_terms(&f).loss_enough, loss_max - 1);
      assert_int_equal(fixture_terms(&f).bytes_enough, UINT64_C(5000000000) + loss_max);
    }
    fixture_ignore_terms(&f);
  }
  struct run r;
  prepare_get(&r, &iov, 1, true);
  r.t.loss_max = KVI_LOSS_MAX + 1;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID);
  prepare_get(&r, &iov, 1, true);
  r.t.loss_enough = KVI_LOSS_MAX + 1;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID);
  fixture_stop(&f);
}

static void test_refused_by_its_reader(void **state)
{
  const struct coded_sample *sample = *state;
  uint8_t room[16];
  struct kvi_iov iov = {room, sizeof room};
  struct fixture f;
  fixture_start(&f, false, 4096);
  put_sample(&f, sample, 1, sample->quality);
  put_sample(&f, sample, 2, sample->quality);
  struct run r;
  prepare_get(&r, &iov, 2, true);
  landing.answer = KVS_ERR_BUSY;
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_ERR_BUSY);
  assert_int_equal(landing.n_told, 2);
  assert_int_equal(r.chunks[0].status, KVS_ERR_BUSY);
  assert_int_equal(r.chunks[1].status, KVS_ERR_BUSY);
  prepare_get(&r, &iov, 1, true); /* the connection is as good as before */
  assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
  assert_int_equal(finish(&r), KVS_OK);
  fixture_stop(&f);
}

static void test_puts_tell_quality(void **state)
{
  (void)state;
  enum { N = 8 };
  static uint8_t bytes[100];
  static const uint32_t segment = sizeof bytes;
  struct kvi_iov iov = {bytes, sizeof bytes};
  struct fixture f;
  fixture_start(&f, false, 0);
  for (int many = 0; many < 2; many++) {
    struct run r;
    prepare(&r, true, N, (uint8_t)(10 * many + 1), 10000);
    for (uint32_t i = 0; i < N; i++)
      r.chunks[i] = (struct kvi_transfer_chunk){.iov = &iov,
                                                .n_iov = 1,
                                                .n_segments = 1,
                                                .segment_lengths = &segment,
                                                .length = sizeof bytes,
                                                .quality = (uint16_t)(many ? i << 4 : 0)};
    assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_OK);
    assert_int_equal(finish(&r), KVS_OK);
    for (uint32_t i = 0; i < N; i++)
      assert_int_equal(fixture_quality(&f, r.keys + i * KEY), many ? i << 4 : 0);
    r.chunks[0].quality = 0x200; /* the node would close the stream: refused here */
    assert_int_equal(f.wire->ops->submit(f.wire, &r.t), KVS_ERR_INVALID);
  }
  fixture_stop(&f);
}

/* ---- libkvasir ---- */

static kvsc_client *open_client(const struct fixture *f)
{
  const kvsc_options options = {.struct_size = sizeof options,
                                .endpoint = f->endpoint,
                                .timeout_ms = 60000,
                                .wait_connected_ms = 10000};
  kvsc_client *client;
  assert_int_equal(kvsc_open(&options, &client), KVS_OK);
  assert_int_equal(kvsc_state(client, NULL, 0), KVS_OK);
  return client;
}

static kvsc_space *open_space(kvsc_client *client)
{
  const kvs_space_desc desc = coded_sample_space();
  kvsc_space *space;
  assert_int_equal(kvsc_space_open(client, &desc, &space), KVS_OK);
  return space;
}

/* Chunks coded and as they were put, in one batch, one after another and abreast. */
static void test_libkvasir_decodes(void **state)
{
  enum { N = 6 };
  const struct coded_sample *sample = *state;
  uint64_t raw = sample->shape.raw_bytes;
  struct coded_sample plain = *sample; /* put as it is */
  plain.payload = sample->raw;
  plain.length = raw;
  plain.segments = calloc(1, sizeof *plain.segments);
  plain.segments[0].length = (uint32_t)raw;
  plain.n_segments = 1;
  struct fixture f;
  fixture_start(&f, false, 3000);
  uint8_t keys[N][KEY] = {{0}};
  for (int i = 0; i < N; i++) {
    put_sample(&f, i == 2 ? &plain : sample, (uint8_t)(i + 1), i == 2 ? 0 : sample->quality);
    keys[i][0] = (uint8_t)(i + 1);
  }
  kvsc_client *client = open_client(&f);
  kvsc_space *space = open_space(client);
  uint8_t *out = malloc(N * raw);
  for (uint32_t abreast = 0; abreast < 4; abreast++) {
    kvsc_iov iov[N];
    kvsc_chunk chunks[N];
    for (uint32_t i = 0; i < N; i++) {
      iov[i] = (kvsc_iov){out + i * raw, raw};
      chunks[i] = (kvsc_chunk){.iov = &iov[i], .n_iov = 1, .exact = 1};
    }
    memset(out, 0xEE, N * raw);
    const kvsc_keys list = {.struct_size = sizeof list, .n = N, .keys = keys[0], .unchained = 1};
    const kvsc_call call = {.struct_size = sizeof call, .abreast = abreast % 2};
    kvsc_op op;
    kvsc_completion completion;
    assert_int_equal(kvsc_get(space, &list, chunks, &call, &op), KVS_OK);
    assert_int_equal(kvsc_wait(client, op, 20000, &completion), KVS_OK);
    assert_int_equal(completion.status, KVS_OK);
    assert_int_equal(completion.bytes, N * raw);
    for (uint32_t i = 0; i < N; i++)
      assert_memory_equal(out + i * raw, sample->raw, raw);
  }
  kvsc_counters counters = {.struct_size = sizeof counters};
  kvsc_get_counters(client, &counters);
  assert_int_equal(counters.coded_chunks, 4 * (N - 1));
  assert_int_equal(counters.coded_bytes, 4 * (N - 1) * sample->length);
  kvsc_close(client);
  fixture_stop(&f);
  free(out);
  free(plain.segments);
}

static void test_libkvasir_sees_damage(void **state)
{
  const struct coded_sample *sample = *state;
  uint64_t raw = sample->shape.raw_bytes;
  uint8_t key[KEY] = {1}, *out = malloc(raw);
  struct fixture f;
  fixture_start(&f, false, 0);
  put_sample(&f, sample, 1, sample->quality);
  fixture_corrupt(&f, key);
  kvsc_client *client = open_client(&f);
  kvsc_space *space = open_space(client);
  const kvsc_iov iov = {out, raw};
  const kvsc_chunk chunk = {.iov = &iov, .n_iov = 1};
  const kvsc_keys list = {.struct_size = sizeof list, .n = 1, .keys = key, .unchained = 1};
  kvsc_op op;
  kvsc_completion completion;
  assert_int_equal(kvsc_get(space, &list, &chunk, NULL, &op), KVS_OK);
  assert_int_equal(kvsc_wait(client, op, 20000, &completion), KVS_OK);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_CORRUPT);
  kvsc_close(client);
  fixture_stop(&f);
  free(out);
}

/* What a client encodes arrives so, over TCP; over a socket of this machine it goes as it is. */
static void test_libkvasir_encodes(void **state)
{
  enum { N = 12 };
  const struct coded_sample *sample = *state;
  uint64_t raw = sample->shape.raw_bytes;
  uint8_t keys[N][KEY] = {{0}}, *out = malloc(N * raw);
  for (uint32_t i = 0; i < 6; i++) {
    bool unix_socket = i % 2 == 1, lossy = i / 2 == 1, hand_over = i / 2 == 2;
    struct fixture f;
    fixture_start(&f, unix_socket, i == 0 ? 3000 : 0);
    const kvsc_options options = {.struct_size = sizeof options,
                                  .endpoint = f.endpoint,
                                  .wait_connected_ms = 10000,
                                  .hand_over = hand_over,
                                  .encode = KVSC_ENCODE_LADDER};
    const kvs_space_desc desc = {.struct_size = sizeof desc,
                                 .model = "coded",
                                 .engine = "test",
                                 .layout = KVS_LAYOUT_TENSORS,
                                 .key_dtype = KVS_DTYPE_BF16,
                                 .value_dtype = KVS_DTYPE_BF16,
                                 .layers = sample->shape.n_layers,
                                 .kv_heads = sample->shape.n_heads,
                                 .key_dim = sample->shape.key_dim,
                                 .value_dim = sample->shape.value_dim,
                                 .tokens_per_chunk = sample->shape.n_tokens,
                                 .hash = KVS_HASH_OPAQUE,
                                 .key_length = KEY,
                                 .chunk_bytes = raw};
    const kvsc_call call = {.struct_size = sizeof call, .loss_max = lossy ? 4 : 0};
    const kvsc_keys list = {.struct_size = sizeof list, .n = N, .keys = keys[0], .unchained = 1};
    kvsc_iov from = {sample->raw, raw}, to[N];
    kvsc_chunk chunks[N];
    kvsc_client *client;
    kvsc_space *space;
    kvsc_op op;
    kvsc_completion completion;
    assert_int_equal(kvsc_open(&options, &client), KVS_OK);
    assert_int_equal(kvsc_space_open(client, &desc, &space), KVS_OK);
    for (uint32_t k = 0; k < N; k++) {
      keys[k][0] = (uint8_t)(k + 1);
      chunks[k] = (kvsc_chunk){.iov = &from, .n_iov = 1};
    }
    assert_int_equal(kvsc_put(space, &list, chunks, &call, &op), KVS_OK);
    assert_int_equal(kvsc_wait(client, op, 20000, &completion), KVS_OK);
    assert_int_equal(completion.status, KVS_OK);
    assert_int_equal(completion.bytes, N * raw);
    for (uint32_t k = 0; k < N; k++) {
      assert_int_equal(fixture_quality(&f, keys[k]),
                       kvi_quality(lossy && !unix_socket ? 2 : 0, call.loss_max,
                                   unix_socket ? KVI_CODING_NONE : KVI_CODING_KVC1));
      to[k] = (kvsc_iov){out + k * raw, raw};
      chunks[k] = (kvsc_chunk){.iov = &to[k], .n_iov = 1, .exact = 1};
    }
    memset(out, 0xEE, N * raw);
    assert_int_equal(kvsc_get(space, &list, chunks, &call, &op), KVS_OK);
    assert_int_equal(kvsc_wait(client, op, 20000, &completion), KVS_OK);
    assert_int_equal(completion.status, KVS_OK);
    for (uint32_t k = 0; k < N; k++)
      assert_int_equal(memcmp(out + k * raw, sample->raw, raw) != 0, lossy && !unix_socket);
    kvsc_counters counters = {.struct_size = sizeof counters};
    kvsc_get_counters(client, &counters);
    assert_int_equal(counters.encoded_chunks, unix_socket ? 0 : N);
    assert_int_equal(counters.coded_chunks, unix_socket ? 0 : N);
    kvsc_close(client);
    fixture_stop(&f);
  }
  free(out);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(test_lands_where_it_is_told), TEST(test_abreast_as_much_as_may_be_held),
      TEST(test_too_long_for_the_room),  TEST(test_who_does_not_ask_gets_none),
      TEST(test_loss_has_a_bound),       TEST(test_refused_by_its_reader),
      TEST(test_puts_tell_quality),      TEST(test_libkvasir_decodes),
      TEST(test_libkvasir_sees_damage),  TEST(test_libkvasir_encodes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
