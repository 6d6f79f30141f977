/* Coded chunks of a service in the same process: the local wire, and many threads that get through libkvasir at once. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proto/kvasir/v1/cache.pb-c.h"
#include "tests/unit/client/fixture.h"
#include "tests/unit/proto/coded_sample.h"

#define N_LAYERS 8u

/* A service whose every chunk is the sample. */
struct samples {
  struct kvi_service service;
  struct coded_sample sample;
  uint8_t *table_bytes;
  struct kvi_chunk_table table;
  struct kvi_iov iov[3];
  pthread_mutex_t mutex;
  struct kvi_get_terms terms; /* of the last get */
  uint16_t put_quality;       /* of the last put */
  int open;
  bool pending, ignores_terms;
  kvsc_client *client;
  kvsc_space *space;
};

static kvs_status call(void *self, const struct kvi_peer *peer, enum kvi_method method,
                       const ProtobufCMessage *request, struct kvi_call_wait *wait,
                       ProtobufCMessage **reply_p)
{
  const ProtobufCMessageDescriptor *descriptor = kvi_method_info(method)->reply;

  (void)self, (void)peer, (void)request, (void)wait;
  *reply_p = malloc(descriptor->sizeof_message);
  protobuf_c_message_init(descriptor, *reply_p);
  return KVS_OK;
}

static kvs_status put_begin(void *self, const struct kvi_peer *peer, const struct kvi_put_request *request,
                            kvi_put_wait_fn *wait_fn, void *wait_ctx, struct kvi_landing *landing_p)
{
  struct samples *samples = self;

  (void)peer, (void)wait_fn, (void)wait_ctx, (void)landing_p;
  samples->put_quality = request->quality;
  return KVS_EXISTS;
}

static kvs_status get_open(void *self, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                           uint32_t key_length, struct kvi_get_wait *wait, struct kvi_source *source_p,
                           uint32_t *cause_p)
{
  struct samples *samples = self;
  kvs_status status = KVS_OK;

  (void)peer, (void)space, (void)key, (void)key_length;
  pthread_mutex_lock(&samples->mutex);
  samples->terms = wait->terms;
  if (!samples->ignores_terms && (wait->terms.codings & 1u << KVI_CODING_KVC1) == 0) {
    *cause_p = KVI_MISS_QUALITY;
    status = KVS_MISS;
  } else {
    *source_p = (struct kvi_source){.iov = samples->iov, .n_iov = 3, .table = samples->table};
    samples->open++;
  }
  pthread_mutex_unlock(&samples->mutex);
  if (!samples->pending || status != KVS_OK)
    return status;
  wait->source = *source_p; /* it came while nobody looked */
  wait->done(wait, KVS_OK, KVI_MISS_NONE);
  return KVS_PENDING;
}

static bool get_unwait(void *self, struct kvi_get_wait *wait)
{
  (void)self, (void)wait;
  return false;
}

static void get_close(void *self, struct kvi_source *source)
{
  struct samples *samples = self;

  (void)source;
  pthread_mutex_lock(&samples->mutex);
  samples->open--;
  pthread_mutex_unlock(&samples->mutex);
}

static void peer_gone(void *self, const struct kvi_peer *peer)
{
  (void)self, (void)peer;
}

static const struct kvi_service_ops ops = {.call = call,
                                           .put_begin = put_begin,
                                           .get_open = get_open,
                                           .get_unwait = get_unwait,
                                           .get_close = get_close,
                                           .peer_gone = peer_gone};

static kvs_status factory(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn,
                          void *state_ctx, struct kvi_wire **wire_p)
{
  (void)options;
  return kvi_local_wire_open(ctx, state_fn, state_ctx, wire_p);
}

static void open_client(struct samples *samples, uint32_t threads, uint32_t mib)
{
  const kvsc_options options = {
      .struct_size = sizeof(options), .timeout_ms = 60000, .decode_threads = threads, .decode_mib = mib};
  kvs_space_desc desc = test_desc("samples");

  assert_int_equal(kvi_client_open_over(&options, factory, &samples->service, &samples->client), KVS_OK);
  assert_int_equal(kvsc_space_open(samples->client, &desc, &samples->space), KVS_OK);
}

static int set_up(void **state)
{
  struct samples *samples = calloc(1, sizeof(*samples));
  struct coded_sample *sample = &samples->sample;
  uint64_t third;

  coded_sample_make(sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, N_LAYERS, 5);
  samples->table_bytes = malloc(kvi_chunk_table_size(sample->n_segments));
  kvi_chunk_table_write(samples->table_bytes, sample->segments, sample->n_segments, sample->quality);
  assert_int_equal(
      kvi_chunk_table_read(samples->table_bytes, kvi_chunk_table_size(sample->n_segments), &samples->table),
      KVS_OK);
  third = sample->length / 3;
  for (uint32_t i = 0; i < 3; i++)
    samples->iov[i] =
        (struct kvi_iov){sample->payload + i * third, i < 2 ? third : sample->length - 2 * third};
  pthread_mutex_init(&samples->mutex, NULL);
  samples->service = (struct kvi_service){
      .ops = &ops,
      .self = samples,
      .limits = {.chunk_bytes_max = KVI_CHUNK_BYTES_MAX, .batch_chunks_max = KVI_BATCH_CHUNKS_MAX}};
  open_client(samples, 0, 0);
  *state = samples;
  return 0;
}

static int tear_down(void **state)
{
  struct samples *samples = *state;

  kvsc_close(samples->client);
  assert_int_equal(samples->open, 0);
  coded_sample_free(&samples->sample);
  pthread_mutex_destroy(&samples->mutex);
  free(samples->table_bytes);
  free(samples);
  return 0;
}

static kvs_status get_sample(struct samples *samples, kvsc_completion *completion)
{
  uint64_t raw = samples->sample.shape.raw_bytes;
  uint8_t key[KEY] = {1}, *out = calloc(1, raw);
  kvs_status status = get_one(samples->space, samples->client, key, out, raw, completion);

  if (status == KVS_OK)
    assert_memory_equal(out, samples->sample.raw, raw);
  free(out);
  return status;
}

static void it_is_decoded(void **state)
{
  struct samples *samples = *state;
  kvsc_completion completion;

  assert_int_equal(get_sample(samples, &completion), KVS_OK);
  assert_int_equal(completion.bytes, samples->sample.shape.raw_bytes);
  assert_int_equal(samples->terms.codings, 1u << KVI_CODING_KVC1);
  assert_int_equal(samples->terms.loss_max, 0);
}

static void what_does_not_suit_is_a_miss(void **state)
{
  struct samples *samples = *state;
  kvsc_completion completion;

  samples->table.quality = kvi_quality(1, 1, KVI_CODING_KVC1);
  samples->ignores_terms = true;
  assert_int_equal(get_sample(samples, &completion), KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_QUALITY);
  samples->table.quality = 2u << 8; /* a coding of tomorrow */
  assert_int_equal(get_sample(samples, &completion), KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_QUALITY);
}

/* The embedded store never lets a get wait; one that does all the same leaves nothing open. */
static void a_get_that_would_wait_is_refused(void **state)
{
  struct samples *samples = *state;

  samples->pending = true;
  assert_int_equal(get_sample(samples, NULL), KVS_ERR_UNSUPPORTED);
  assert_int_equal(samples->open, 0);
}

static void puts_tell_quality(void **state)
{
  struct samples *samples = *state;
  const uint8_t key[KEY] = {1};
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
  const kvsc_call options = {.struct_size = sizeof(options), .loss_max = 4};
  uint8_t bytes[10] = {0};
  const kvsc_iov iov = {bytes, sizeof(bytes)};
  const kvsc_chunk chunk = {.iov = &iov, .n_iov = 1};
  kvsc_op op;

  assert_int_equal(kvsc_put(samples->space, &keys, &chunk, &options, &op), KVS_OK);
  assert_int_equal(wait_for(samples->client, op).status, KVS_OK);
  assert_int_equal(samples->put_quality, kvi_quality(0, 4, KVI_CODING_NONE));
}

/* ---- many at once ---- */

struct getter {
  struct samples *samples;
  uint32_t number;
  uint32_t n_ok, n_wrong;
};

#define N_GETS   20u
#define N_CHUNKS 4u

static void *get_often(void *arg)
{
  struct getter *getter = arg;
  struct samples *samples = getter->samples;
  uint64_t raw = samples->sample.shape.raw_bytes;
  uint8_t keys[N_CHUNKS][KEY] = {{0}}, *out = malloc(N_CHUNKS * raw);
  const kvsc_keys list = {.struct_size = sizeof(list), .n = N_CHUNKS, .keys = keys[0], .unchained = 1};
  kvsc_iov iov[N_CHUNKS];
  kvsc_chunk chunks[N_CHUNKS];
  kvs_status statuses[N_CHUNKS];

  for (uint32_t i = 0; i < N_CHUNKS; i++) {
    iov[i] = (kvsc_iov){out + i * raw, raw};
    chunks[i] = (kvsc_chunk){.iov = &iov[i], .n_iov = 1, .exact = 1};
  }
  for (uint32_t i = 0; i < N_GETS; i++) {
    const kvsc_call options = {
        .struct_size = sizeof(options), .statuses = statuses, .timeout_ms = i % 7 == 6 ? 1 : 0};
    kvsc_op op;

    memset(out, 0xEE, N_CHUNKS * raw);
    if (kvsc_get(samples->space, &list, chunks, &options, &op) != KVS_OK)
      abort();
    if (i % 5 == getter->number)
      (void)kvsc_cancel(samples->client, op);
    kvsc_completion completion = wait_for(samples->client, op);
    for (uint32_t k = 0; k < N_CHUNKS; k++) {
      if (statuses[k] == KVS_OK)
        getter->n_wrong += memcmp(out + k * raw, samples->sample.raw, raw) != 0;
      else
        getter->n_wrong += statuses[k] != KVS_ERR_CANCELED && statuses[k] != KVS_MISS;
    }
    getter->n_ok += completion.status == KVS_OK;
  }
  free(out);
  return NULL;
}

static void many_threads_get_at_once(void **state)
{
  static const uint32_t options[][2] = {{0, 0}, {1, 1}, {4, 1}};
  struct samples *samples = *state;
  kvsc_counters counters = {.struct_size = sizeof(counters)};

  for (size_t k = 0; k < sizeof(options) / sizeof(*options); k++) {
    struct getter getters[4];
    pthread_t threads[4];

    kvsc_close(samples->client);
    open_client(samples, options[k][0], options[k][1]);
    for (uint32_t i = 0; i < 4; i++) {
      getters[i] = (struct getter){.samples = samples, .number = i};
      assert_int_equal(pthread_create(&threads[i], NULL, get_often, &getters[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
      pthread_join(threads[i], NULL);
      assert_true(getters[i].n_ok > 0);
      assert_int_equal(getters[i].n_wrong, 0);
    }
  }
  kvsc_get_counters(samples->client, &counters);
  assert_int_equal(counters.in_flight, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(it_is_decoded),     TEST(what_does_not_suit_is_a_miss), TEST(a_get_that_would_wait_is_refused),
      TEST(puts_tell_quality), TEST(many_threads_get_at_once),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
