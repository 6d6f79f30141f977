/* Nodes that send coded chunks: slowly, so that a reader has layers before the rest was sent; and wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvasir/connector.h>

#include "base/clock.h"
#include "proto/grpc/grpc_wire.h"
#include "proto/service.h"
#include "tests/unit/grpc/connected.h"
#include "tests/unit/grpc/fake_node.h"
#include "tests/unit/grpc/run.h"
#include "tests/unit/proto/coded_sample.h"

#define N_LAYERS 5u

static const struct fake_node_options reads_all = {.frames_read = UINT32_MAX};

/* Piece of the sample's segment i, whole. */
static Kvasir__V1__Piece piece_of(const struct coded_sample *sample, uint64_t id, uint32_t i)
{
  Kvasir__V1__Piece piece = KVASIR__V1__PIECE__INIT;
  piece.id = id;
  piece.segment = i;
  piece.length = piece.segment_length = sample->segments[i].length;
  piece.crc32c = sample->segments[i].crc32c;
  piece.first = piece.last = true;
  if (i == 0) {
    piece.segments = sample->n_segments;
    piece.quality = sample->quality;
    piece.chunk_length = (uint32_t)sample->length;
  }
  return piece;
}

static void send_piece(struct fake_node *node, Kvasir__V1__Piece piece, const uint8_t *bytes)
{
  Kvasir__V1__Piece *pieces = &piece;
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  header.n_pieces = 1;
  header.pieces = &pieces;
  fake_node_send(node, &header, bytes, piece.length);
}

static uint64_t offset_of(const struct coded_sample *sample, uint32_t segment)
{
  uint64_t at = 0;
  for (uint32_t i = 0; i < segment; i++)
    at += sample->segments[i].length;
  return at;
}

static void send_segment(struct fake_node *node, const struct coded_sample *sample, uint64_t id, uint32_t i)
{
  send_piece(node, piece_of(sample, id, i), sample->payload + offset_of(sample, i));
}

static void send_end(struct fake_node *node, uint64_t id)
{
  Kvasir__V1__ChunkEnd end = KVASIR__V1__CHUNK_END__INIT, *ends = &end;
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  end.id = id;
  header.n_ends = 1;
  header.ends = &ends;
  fake_node_send(node, &header, NULL, 0);
}

/* ---- a slow one ---- */

static kvs_connector *connect_to(const char *endpoint)
{
  const kvs_options options = {
      .struct_size = sizeof options, .endpoint = endpoint, .timeout_ms = 60000, .wait_connected_ms = 10000};
  kvs_connector *connector;
  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  assert_int_equal(kvs_state(connector, NULL, 0), KVS_OK);
  return connector;
}

static kvs_space *open_space(kvs_connector *connector)
{
  const kvs_space_desc desc = coded_sample_space();
  kvs_space *space;
  assert_int_equal(kvs_space_open(connector, &desc, &space), KVS_OK);
  return space;
}

/*
 * The memory of an engine: a region for a layer's keys and one for its values, in slots of 16 tokens. Each layer is waited for, and compared, before the
 * node sends the first byte of the next one.
 */
static void test_layers_before_the_rest(void **state)
{
  (void)state;
  enum { SLOTS = 4 };
  struct coded_sample sample;
  coded_sample_make(&sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 2 * N_LAYERS, 1);
  uint64_t raw = sample.shape.raw_bytes, region_bytes = raw / (2 * N_LAYERS),
           slot_bytes = region_bytes / SLOTS;
  char endpoint[128];
  struct fake_node *node = fake_node_start(&reads_all, endpoint);
  kvs_connector *connector = connect_to(endpoint);
  kvs_space *space = open_space(connector);
  uint8_t *memory = malloc(2 * raw); /* of 8 slots, of which every other is used */
  kvs_region regions[2 * N_LAYERS];
  for (uint32_t i = 0; i < 2 * N_LAYERS; i++)
    regions[i] = (kvs_region){.base = memory + 2 * i * region_bytes,
                              .size = slot_bytes,
                              .stride = slot_bytes,
                              .n_slots = 2 * SLOTS,
                              .layer = i / 2};
  kvs_memory *registered;
  assert_int_equal(kvs_memory_register(connector, regions, 2 * N_LAYERS, &registered), KVS_OK);
  const int64_t slots[SLOTS] = {6, 0, 2, 4};
  const uint8_t key[KEY] = {1};
  const kvs_keys keys = {.struct_size = sizeof keys, .n = 1, .keys = key, .unchained = 1};
  kvs_op op;
  assert_int_equal(kvs_get(space, &keys, registered, slots, SLOTS, NULL, &op), KVS_OK);
  uint64_t id = fake_node_wait_start(node);
  uint32_t sent = 0;
  for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
    uint32_t until = coded_sample_segments_of(&sample, layer);
    while (sent < until)
      send_segment(node, &sample, id, sent++);
    assert_int_equal(kvs_wait_layer(connector, op, layer, 20000), KVS_OK);
    for (uint32_t i = 2 * layer; i < 2 * layer + 2; i++)
      for (uint32_t slot = 0; slot < SLOTS; slot++)
        assert_memory_equal((uint8_t *)regions[i].base + (uint64_t)slots[slot] * slot_bytes,
                            sample.raw + i * region_bytes + slot * slot_bytes, slot_bytes);
    assert_int_equal(sent < sample.n_segments, layer + 1 < N_LAYERS);
  }
  send_end(node, id);
  kvs_completion completion;
  assert_int_equal(kvs_wait(connector, op, 20000, &completion), KVS_OK);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.bytes, raw);
  kvs_close(connector);
  fake_node_stop(node);
  coded_sample_free(&sample);
  free(memory);
}

/* The node stops in the middle and never goes on: the layers that have come are there, and the get ends when it is told to. */
static void test_node_that_stops(void **state)
{
  (void)state;
  struct coded_sample sample;
  coded_sample_make(&sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 1, 1);
  uint64_t raw = sample.shape.raw_bytes, layer_bytes = raw / N_LAYERS;
  char endpoint[128];
  struct fake_node *node = fake_node_start(&reads_all, endpoint);
  kvs_connector *connector = connect_to(endpoint);
  kvs_space *space = open_space(connector);
  uint8_t *out = malloc(raw);
  memset(out, 0xEE, raw);
  kvs_region regions[N_LAYERS];
  for (uint32_t i = 0; i < N_LAYERS; i++)
    regions[i] = (kvs_region){
        .base = out + i * layer_bytes, .size = layer_bytes, .stride = layer_bytes, .n_slots = 1, .layer = i};
  kvs_memory *registered;
  assert_int_equal(kvs_memory_register(connector, regions, N_LAYERS, &registered), KVS_OK);
  const int64_t slot = 0;
  const uint8_t key[KEY] = {1};
  const kvs_keys keys = {.struct_size = sizeof keys, .n = 1, .keys = key, .unchained = 1};
  kvs_op op;
  assert_int_equal(kvs_get(space, &keys, registered, &slot, 1, NULL, &op), KVS_OK);
  uint64_t id = fake_node_wait_start(node);
  for (uint32_t i = 0; i < coded_sample_segments_of(&sample, 1); i++)
    send_segment(node, &sample, id, i);
  assert_int_equal(kvs_wait_layer(connector, op, 0, 20000), KVS_OK);
  assert_memory_equal(out, sample.raw, layer_bytes);
  assert_int_equal(kvs_wait_layer(connector, op, 1, 20000), KVS_OK);
  assert_memory_equal(out, sample.raw, 2 * layer_bytes);
  assert_int_equal(kvs_wait_layer(connector, op, 2, 1), KVS_ERR_DEADLINE);
  assert_int_equal(kvs_cancel(connector, op), KVS_OK);
  kvs_completion completion;
  assert_int_equal(kvs_wait(connector, op, 20000, &completion), KVS_OK);
  assert_int_equal(completion.status, KVS_ERR_CANCELED);
  assert_int_equal(completion.n_ok, 0);
  assert_int_equal(out[2 * layer_bytes], 0xEE);
  kvs_close(connector);
  fake_node_stop(node);
  coded_sample_free(&sample);
  free(out);
}

/* ---- wrong ones ---- */

struct wrong {
  struct fake_node *node;
  struct kvi_wire *wire;
  struct coded_sample sample;
  struct run run;
  uint8_t *bytes, *room;
  struct kvi_iov iov, own;
  uint64_t id;
};

static struct wrong *current;

static kvs_status on_coded(struct kvi_transfer *t, uint32_t chunk, uint64_t length,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  (void)t;
  (void)chunk;
  current->bytes = realloc(current->bytes, length);
  current->iov = (struct kvi_iov){current->bytes, length};
  *iov_p = &current->iov;
  *n_iov_p = 1;
  return KVS_OK;
}

static void open_wrong(struct wrong *w, bool asks)
{
  char endpoint[128];
  memset(w, 0, sizeof *w);
  current = w;
  coded_sample_make(&w->sample, KVI_CODEC_LOSSLESS, 0, N_LAYERS, 1, 1);
  w->node = fake_node_start(&reads_all, endpoint);
  struct kvi_grpc_wire_options options = {.endpoint = endpoint, .connect_timeout_ms = 5000};
  w->wire = connected_open(&options);
  connected_wait(w->wire);
  w->room = malloc(w->sample.shape.raw_bytes);
  memset(w->room, 0xEE, w->sample.shape.raw_bytes);
  w->own = (struct kvi_iov){w->room, w->sample.shape.raw_bytes};
  prepare(&w->run, false, 1, 1, 10000);
  w->run.chunks[0] = (struct kvi_transfer_chunk){.iov = &w->own, .n_iov = 1, .length = w->own.length};
  w->run.t.on_coded = asks ? on_coded : NULL;
  assert_int_equal(w->wire->ops->submit(w->wire, &w->run.t), KVS_OK);
  w->id = fake_node_wait_start(w->node);
}

/* The client gives the connection up: a miss like that of any node that is gone. Coded bytes never land in a reader's own room. */
static void close_wrong(struct wrong *w)
{
  assert_int_equal(finish(&w->run), KVS_MISS);
  assert_int_equal(w->run.chunks[0].cause, KVI_MISS_NODE);
  for (uint64_t i = 0; i < w->own.length; i++)
    assert_int_equal(w->room[i], 0xEE);
  w->wire->ops->destroy(w->wire);
  fake_node_stop(w->node);
  coded_sample_free(&w->sample);
  free(w->bytes);
  free(w->room);
}

static void test_coded_without_being_asked(void **state)
{
  (void)state;
  struct wrong w;
  open_wrong(&w, false);
  send_segment(w.node, &w.sample, w.id, 0);
  close_wrong(&w);
}

static void test_codings_of_tomorrow(void **state)
{
  (void)state;
  struct wrong w;
  open_wrong(&w, true);
  Kvasir__V1__Piece piece = piece_of(&w.sample, w.id, 0);
  piece.quality = 2u << 8;
  send_piece(w.node, piece, w.sample.payload);
  close_wrong(&w);
}

static void test_length_is_missing_or_too_large(void **state)
{
  (void)state;
  static const uint32_t lengths[] = {0, KVI_CHUNK_BYTES_MAX + 1, UINT32_MAX, 1};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    struct wrong w;
    open_wrong(&w, true);
    Kvasir__V1__Piece piece = piece_of(&w.sample, w.id, 0);
    piece.chunk_length = lengths[i];
    send_piece(w.node, piece, w.sample.payload);
    close_wrong(&w);
  }
}

/* All segments come, but are more or less than the first piece said. */
static void test_length_does_not_fit(void **state)
{
  (void)state;
  for (int off = -1; off <= 1; off += 2) {
    struct wrong w;
    open_wrong(&w, true);
    w.sample.length = (uint64_t)((int64_t)w.sample.length + off);
    for (uint32_t i = 0; i < w.sample.n_segments; i++)
      send_segment(w.node, &w.sample, w.id, i);
    close_wrong(&w);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_layers_before_the_rest),         cmocka_unit_test(test_node_that_stops),
      cmocka_unit_test(test_coded_without_being_asked),      cmocka_unit_test(test_codings_of_tomorrow),
      cmocka_unit_test(test_length_is_missing_or_too_large), cmocka_unit_test(test_length_does_not_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
