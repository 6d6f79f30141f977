/*
 * tests/unit/client/coded_testing.h: a client over a wire in the test's hands, which gives the bytes of coded chunks as the test says.
 */
#ifndef KVI_TESTS_UNIT_CLIENT_CODED_TESTING_H
#define KVI_TESTS_UNIT_CLIENT_CODED_TESTING_H

#include <stdlib.h>
#include <string.h>

#include "tests/unit/client/fixture.h"
#include "tests/unit/proto/coded_sample.h"

#define N_LAYERS 4u
#define N_CHUNKS 5u

struct coded {
  struct held_wire wire;
  kvsc_client *client;
  kvsc_space *space;
  struct coded_sample sample;
  uint8_t keys[N_CHUNKS][KEY];
  uint8_t *out; /* room for N_CHUNKS chunks, at an odd address */
  uint8_t *out_memory;
  uint64_t raw;
  kvsc_iov iov[N_CHUNKS];
  kvsc_chunk chunks[N_CHUNKS];
  kvs_status statuses[N_CHUNKS];
  struct kvi_iov places[N_CHUNKS]; /* where each lands */
};

static inline void open_client(struct coded *c, uint32_t threads, uint32_t mib)
{
  const kvsc_options options = {.struct_size = sizeof(options),
                                .timeout_ms = 60000,
                                .max_operations = 8,
                                .decode_threads = threads,
                                .decode_mib = mib};
  kvs_space_desc desc = test_desc("coded");

  assert_int_equal(kvi_client_open_over(&options, held_factory, &c->wire, &c->client), KVS_OK);
  assert_int_equal(kvsc_space_open(c->client, &desc, &c->space), KVS_OK);
}

static inline void reopen_client(struct coded *c, uint32_t threads, uint32_t mib)
{
  kvsc_close(c->client);
  memset(&c->wire, 0, sizeof(c->wire));
  open_client(c, threads, mib);
}

static inline void use_sample(struct coded *c)
{
  c->raw = c->sample.shape.raw_bytes;
  free(c->out_memory);
  c->out_memory = malloc(N_CHUNKS * c->raw + 1);
  assert_non_null(c->out_memory);
  c->out = c->out_memory + 1;
  memset(c->out, 0xEE, N_CHUNKS * c->raw);
  for (uint32_t i = 0; i < N_CHUNKS; i++) {
    test_key(1, i, c->keys[i]);
    c->iov[i] = (kvsc_iov){c->out + i * c->raw, c->raw};
    c->chunks[i] = (kvsc_chunk){.iov = &c->iov[i], .n_iov = 1};
  }
}

static inline int set_up(void **state)
{
  struct coded *c = calloc(1, sizeof(*c));

  open_client(c, 0, 0);
  coded_sample_make(&c->sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 2 * N_LAYERS, 1);
  use_sample(c);
  *state = c;
  return 0;
}

static inline int tear_down(void **state)
{
  struct coded *c = *state;

  kvsc_close(c->client);
  coded_sample_free(&c->sample);
  free(c->out_memory);
  free(c);
  return 0;
}

/* Another sample in place of the first. */
static inline void remake(struct coded *c, enum kvi_codec_level level, uint32_t planes, uint32_t n_segments)
{
  coded_sample_free(&c->sample);
  coded_sample_make(&c->sample, level, planes, N_LAYERS, n_segments, 1);
  use_sample(c);
}

static inline kvsc_op start_call(struct coded *c, uint32_t n, kvsc_call call)
{
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = n, .keys = c->keys[0], .unchained = 1};
  kvsc_op op;

  call.struct_size = sizeof(call);
  call.statuses = c->statuses;
  assert_int_equal(kvsc_get(c->space, &keys, c->chunks, &call, &op), KVS_OK);
  return op;
}

static inline kvsc_op start(struct coded *c, uint32_t n)
{
  return start_call(c, n, (kvsc_call){0});
}

/* ---- the wire's part ---- */

/* The youngest transfer. */
static inline struct kvi_transfer *transfer_of(struct coded *c)
{
  return c->wire.held[c->wire.n_held - 1];
}

static inline kvs_status begin(struct coded *c, uint32_t chunk, uint64_t length)
{
  struct kvi_transfer *transfer = transfer_of(c);
  const struct kvi_iov *iov = NULL;
  uint32_t n_iov = 0;
  kvs_status status;

  assert_non_null(transfer->on_coded);
  transfer->chunks[chunk].quality = c->sample.quality;
  status = transfer->on_coded(transfer, chunk, length, &iov, &n_iov);
  if (status == KVS_OK) {
    assert_int_equal(n_iov, 1);
    assert_int_equal(iov->length, length);
    assert_int_equal((uintptr_t)iov->base % 8, 0);
    c->places[chunk] = *iov;
  }
  return status;
}

/* Segments [from, to) of the sample's. */
static inline void land(struct coded *c, uint32_t chunk, uint32_t from, uint32_t to)
{
  struct kvi_transfer *transfer = transfer_of(c);
  uint64_t at = 0;

  for (uint32_t i = 0; i < to; at += c->sample.segments[i++].length) {
    uint32_t length = c->sample.segments[i].length;

    if (i < from)
      continue;
    memcpy((uint8_t *)c->places[chunk].base + at, c->sample.payload + at, length);
    transfer->chunks[chunk].verified = at + length;
    if (i + 1 == c->sample.n_segments) {
      transfer->chunks[chunk].length = c->sample.length;
      transfer->chunks[chunk].n_segments = i + 1;
    }
    transfer->on_segments(transfer, chunk, i + 1);
  }
}

static inline void end_chunk(struct coded *c, uint32_t chunk, kvs_status status)
{
  struct kvi_transfer *transfer = transfer_of(c);

  transfer->chunks[chunk].status = status;
  transfer->on_chunk(transfer, chunk);
}

static inline void end_transfer(struct coded *c, kvs_status status)
{
  struct kvi_transfer *transfer = transfer_of(c);

  c->wire.held[c->wire.n_held - 1] = NULL;
  transfer->on_done(transfer, status);
}

static inline void give(struct coded *c, uint32_t chunk)
{
  assert_int_equal(begin(c, chunk, c->sample.length), KVS_OK);
  land(c, chunk, 0, c->sample.n_segments);
  end_chunk(c, chunk, KVS_OK);
}

/* The node does not answer what it was asked besides. */
static inline void answer_calls(struct coded *c)
{
  for (uint32_t i = 0; i < c->wire.n_calls; i++) {
    if (c->wire.call_done[i] != NULL)
      c->wire.call_done[i](c->wire.call_ctx[i], KVS_ERR_UNREACHABLE, NULL);
    c->wire.call_done[i] = NULL;
  }
}

/* The whole of one chunk; its completion. */
static inline kvsc_completion get_whole(struct coded *c, kvsc_call call)
{
  kvsc_op op = start_call(c, 1, call);

  give(c, 0);
  end_transfer(c, KVS_OK);
  return wait_for(c->client, op);
}

static inline kvsc_counters counters_of(struct coded *c)
{
  kvsc_counters counters = {.struct_size = sizeof(counters)};

  kvsc_get_counters(c->client, &counters);
  return counters;
}

#endif
