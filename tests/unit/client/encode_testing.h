/*
 * tests/unit/client/encode_testing.h: a client that encodes what it puts, over a wire in the test's hands, and a gate in front of the encoder.
 */
#ifndef KVI_TESTS_UNIT_CLIENT_ENCODE_TESTING_H
#define KVI_TESTS_UNIT_CLIENT_ENCODE_TESTING_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "client/encode.h"
#include "tests/unit/client/fixture.h"
#include "tests/unit/proto/coded_sample.h"
#include "tests/unit/tiers/store_waiting.h"

#define N_LAYERS 4u
#define N_CHUNKS 40u
#define TOKENS   64u /* of coded_sample_make */

/* ---- the gate: chunks wait before they are encoded ---- */

#define ALL UINT32_MAX

static struct {
  pthread_mutex_t mutex;
  pthread_cond_t opened; /* made by set_up */
  bool closed;
  bool deaf;       /* what waits does not look whether it is to stop */
  uint32_t held;   /* the place of the chunk that has to wait, or ALL */
  uint32_t inside; /* that wait now */
  uint32_t runs;   /* chunks that came */
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void gate_close(uint32_t held, bool deaf)
{
  pthread_mutex_lock(&gate.mutex);
  gate.closed = true;
  gate.held = held;
  gate.deaf = deaf;
  pthread_mutex_unlock(&gate.mutex);
}

static inline void gate_open(void)
{
  pthread_mutex_lock(&gate.mutex);
  gate.closed = false;
  pthread_cond_broadcast(&gate.opened);
  pthread_mutex_unlock(&gate.mutex);
}

static inline uint32_t gate_inside(void)
{
  uint32_t inside;

  pthread_mutex_lock(&gate.mutex);
  inside = gate.inside;
  pthread_mutex_unlock(&gate.mutex);
  return inside;
}

static inline uint32_t gate_runs(void)
{
  uint32_t runs;

  pthread_mutex_lock(&gate.mutex);
  runs = gate.runs;
  pthread_mutex_unlock(&gate.mutex);
  return runs;
}

kvs_status __real_kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                                 const uint8_t *raw, struct kvi_encode_room *room,
                                 struct kvi_encoded *encoded_p);
kvs_status __wrap_kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                                 const uint8_t *raw, struct kvi_encode_room *room,
                                 struct kvi_encoded *encoded_p);

kvs_status __wrap_kvi_encode_run(const struct kvi_encode_plan *plan, const struct kvi_chunk_table *table,
                                 const uint8_t *raw, struct kvi_encode_room *room,
                                 struct kvi_encoded *encoded_p)
{
  bool stops = false;

  pthread_mutex_lock(&gate.mutex);
  gate.runs++;
  gate.inside++;
  while (gate.closed && !stops && (gate.held == ALL || gate.held == plan->shape.start / TOKENS)) {
    bool deaf = gate.deaf;

    pthread_mutex_unlock(&gate.mutex);
    stops = !deaf && plan->options.stop(plan->options.stop_ctx);
    pthread_mutex_lock(&gate.mutex);
    if (gate.closed &&
        !stops) /* it is asked again after a while, as the codec does after a layer: nobody tells */
      (void)kvi_cond_wait(&gate.opened, &gate.mutex, kvi_deadline_from_ms(1));
  }
  gate.inside--;
  pthread_mutex_unlock(&gate.mutex);
  return stops ? KVS_ERR_CANCELED : __real_kvi_encode_run(plan, table, raw, room, encoded_p);
}

/* ---- the client ---- */

struct encoding {
  struct held_wire wire;
  kvsc_client *client;
  kvsc_space *space;
  struct coded_sample sample; /* its raw bytes are what is put; every chunk is the same */
  uint8_t keys[N_CHUNKS][KEY];
  kvsc_iov iov[N_CHUNKS];
  kvsc_chunk chunks[N_CHUNKS];
  kvs_status statuses[N_CHUNKS];
  uint8_t parent[KEY], extent_first[KEY];
  uint8_t *noise;
};

static inline kvs_space_desc tensors_desc(const struct kvi_codec_shape *shape)
{
  kvs_space_desc desc = test_desc("encoding");

  desc.layout = KVS_LAYOUT_TENSORS;
  desc.key_dtype = desc.value_dtype = KVS_DTYPE_BF16;
  desc.layers = shape->n_layers;
  desc.kv_heads = shape->n_heads;
  desc.key_dim = shape->key_dim;
  desc.value_dim = shape->value_dim;
  desc.tokens_per_chunk = shape->n_tokens;
  desc.chunk_bytes = shape->raw_bytes;
  return desc;
}

static inline void use_sample(struct encoding *e)
{
  for (uint32_t i = 0; i < N_CHUNKS; i++) {
    test_key(1, i, e->keys[i]);
    e->iov[i] = (kvsc_iov){e->sample.raw, e->sample.shape.raw_bytes};
    e->chunks[i] = (kvsc_chunk){.iov = &e->iov[i], .n_iov = 1};
  }
  free(e->noise);
  e->noise = sample_raw(&e->sample.shape, SAMPLE_NOISE, 3);
}

static inline void open_client(struct encoding *e, kvsc_options options)
{
  kvs_space_desc desc = tensors_desc(&e->sample.shape);

  memset(&e->wire, 0, sizeof(e->wire));
  options.struct_size = sizeof(options);
  if (options.max_operations == 0)
    options.max_operations = 80;
  assert_int_equal(kvi_client_open_over(&options, held_factory, &e->wire, &e->client), KVS_OK);
  assert_int_equal(kvsc_space_open(e->client, &desc, &e->space), KVS_OK);
}

static inline void reopen_client(struct encoding *e, kvsc_options options)
{
  kvsc_close(e->client);
  open_client(e, options);
}

static inline int set_up(void **state)
{
  struct encoding *e = calloc(1, sizeof(*e));

  assert_int_equal(kvi_cond_init(&gate.opened), KVS_OK);
  coded_sample_make(&e->sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 1, 1);
  use_sample(e);
  open_client(e, (kvsc_options){.encode = KVSC_ENCODE_LADDER});
  gate.runs = 0;
  *state = e;
  return 0;
}

static inline int tear_down(void **state)
{
  struct encoding *e = *state;

  gate_open();
  kvsc_close(e->client);
  pthread_cond_destroy(&gate.opened);
  coded_sample_free(&e->sample);
  free(e->noise);
  free(e);
  return 0;
}

/* Chunks from `first` on, at these places of their chain. */
static inline kvsc_op put_from(struct encoding *e, uint32_t first, uint32_t n, kvsc_call call)
{
  const kvsc_keys keys = {.struct_size = sizeof(keys),
                          .n = n,
                          .keys = e->keys[first],
                          .first_place = first,
                          .parent = first > 0 ? e->keys[first - 1] : NULL,
                          .extent_first = first > 0 ? e->keys[0] : NULL};
  kvsc_op op;

  call.struct_size = sizeof(call);
  call.statuses = e->statuses;
  if (call.timeout_ms == 0)
    call.timeout_ms = 60000; /* what does not ask for a deadline is not to meet one on a loaded machine */
  assert_int_equal(kvsc_put(e->space, &keys, e->chunks + first, &call, &op), KVS_OK);
  return op;
}

static inline kvsc_op put(struct encoding *e, uint32_t n, kvsc_call call)
{
  return put_from(e, 0, n, call);
}

static inline uint32_t n_held(struct encoding *e)
{
  return held_count(&e->wire);
}

static inline kvsc_counters counters_of(struct encoding *e)
{
  kvsc_counters counters = {.struct_size = sizeof(counters)};

  kvsc_get_counters(e->client, &counters);
  return counters;
}

/* Whether the wire's i-th transfer is this chunk, coded with that loss, and decodes to what was put if there is none. */
static inline void check_coded(struct encoding *e, uint32_t i, uint32_t index, uint32_t loss,
                               uint32_t loss_max)
{
  const struct kvi_transfer *transfer = e->wire.held[i];
  const struct kvi_transfer_chunk *chunk = &transfer->chunks[0];
  uint64_t raw_bytes = e->sample.shape.raw_bytes, sum = 0;
  struct coded_sample read = {
      .payload = chunk->iov[0].base, .length = chunk->length, .shape = e->sample.shape};
  struct kvi_coded coded;
  uint8_t *decoded;

  assert_true(transfer->put);
  assert_int_equal(transfer->n_chunks, 1);
  assert_memory_equal(transfer->keys, e->keys[index], KEY);
  assert_int_equal(chunk->quality, kvi_quality(loss, loss_max, KVI_CODING_KVC1));
  assert_int_equal(chunk->n_iov, 1);
  assert_true(chunk->length <= raw_bytes - raw_bytes / 16);
  for (uint32_t k = 0; k < chunk->n_segments; k++)
    sum += chunk->segment_lengths[k];
  assert_int_equal(sum, chunk->length);
  assert_int_equal(kvi_coded_open(read.payload, read.length, read.length, &coded), KVS_OK);
  assert_int_equal(coded.raw.length, raw_bytes);
  assert_int_equal(kvi_quality_loss_max(coded.raw.quality), loss_max);
  decoded = coded_sample_decoded(&read);
  assert_int_equal(memcmp(decoded, e->sample.raw, raw_bytes) == 0, loss == 0);
  free(decoded);
}

/* Whether it is this chunk as it was put. */
static inline void check_raw(struct encoding *e, uint32_t i, uint32_t index)
{
  const struct kvi_transfer *transfer = e->wire.held[i];

  assert_int_equal(transfer->n_chunks, 1);
  assert_memory_equal(transfer->keys, e->keys[index], KEY);
  assert_ptr_equal(transfer->chunks[0].iov, e->chunks[index].iov);
  assert_int_equal(kvi_quality_coding(transfer->chunks[0].quality), KVI_CODING_NONE);
}

/* Ends the wire's transfers from `from` to the n-th, as they come. */
static inline void end_to(struct encoding *e, uint32_t from, uint32_t n)
{
  for (uint32_t i = from; i < n; i++) {
    held_wait(&e->wire, i + 1);
    held_end(&e->wire, i, KVS_OK, KVS_OK);
  }
}

#endif
