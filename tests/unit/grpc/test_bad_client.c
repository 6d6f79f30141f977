/* The node's side of the wire and clients that are broken or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "proto/limits.h"
#include "tests/unit/grpc/fake_client.h"
#include "tests/unit/grpc/fixture.h"

#define KEY        32
#define MAX_CHUNKS 64u

/* A start message of n chunks of one segment each. */
struct start {
  Kvasir__V1__TransferStart message, *list;
  Kvasir__V1__Keys keys;
  uint8_t space[KVS_DIGEST_SIZE], key_bytes[MAX_CHUNKS * KEY];
  uint64_t lengths[MAX_CHUNKS];
  uint32_t counts[MAX_CHUNKS], segments[MAX_CHUNKS];
};

static void make_start(struct start *s, uint64_t id, bool put, uint32_t n, uint32_t length)
{
  memset(s, 0, sizeof *s);
  kvasir__v1__transfer_start__init(&s->message);
  kvasir__v1__keys__init(&s->keys);
  for (uint32_t i = 0; i < n; i++) {
    s->key_bytes[i * KEY] = (uint8_t)(i + 1);
    s->lengths[i] = s->segments[i] = length;
    s->counts[i] = 1;
  }
  s->keys.keys = (ProtobufCBinaryData){n * KEY, s->key_bytes};
  s->keys.key_length = KEY;
  s->list = &s->message;
  s->message.id = id;
  s->message.put = put;
  s->message.space = (ProtobufCBinaryData){sizeof s->space, s->space};
  s->message.keys = &s->keys;
  s->message.timeout_ms = 60000;
  s->message.n_lengths = n;
  s->message.lengths = s->lengths;
  s->message.n_segment_counts = s->message.n_segment_lengths = put ? n : 0;
  s->message.segment_counts = s->counts;
  s->message.segment_lengths = s->segments;
}

static Kvasir__V1__Piece piece_of(uint64_t id, uint32_t chunk, uint32_t offset, const uint8_t *bytes,
                                  uint32_t length, bool last)
{
  Kvasir__V1__Piece piece = KVASIR__V1__PIECE__INIT;
  piece.id = id;
  piece.chunk = chunk;
  piece.offset = offset;
  piece.length = length;
  piece.crc32c = kvi_crc32c_update(0, bytes, length);
  piece.first = offset == 0;
  piece.last = last;
  return piece;
}

static void send_start(struct fake_client *c, struct start *s)
{
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  header.n_starts = 1;
  header.starts = &s->list;
  fake_client_send(c, &header, NULL, 0);
}

static void send_piece(struct fake_client *c, Kvasir__V1__Piece piece, const uint8_t *bytes)
{
  Kvasir__V1__Piece *list = &piece;
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  header.n_pieces = 1;
  header.pieces = &list;
  fake_client_send(c, &header, bytes, piece.length);
}

/* Everything the client had is let go of, and the node serves others. */
static void still_serves(struct fixture *f, uint32_t aborted)
{
  struct kvi_grpc_server_stats stats = {.transfers = 1};
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  while (stats.transfers > 0 && !kvi_deadline_expired(deadline))
    kvi_grpc_server_stats(f->server, &stats);
  assert_int_equal(stats.transfers, 0);
  assert_int_equal(fixture_landings_aborted(f), aborted);
  assert_true(f->wire->ops->connected(f->wire));
}

static void test_pieces_out_of_order(void **state)
{
  (void)state;
  static uint8_t bytes[100] = {1};
  const struct {
    uint32_t chunk, segment, offset;
  } wrong[] = {{0, 0, 50}, {0, 1, 0}, {5, 0, 0} /* chunk 0 is not whole yet */, {63, 0, 0}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct fixture f;
    struct start s;
    fixture_start(&f, false, 0);
    struct fake_client *c = fake_client_open(f.endpoint, false);
    make_start(&s, 9, true, 64, 100);
    send_start(c, &s);
    send_piece(c, piece_of(9, 0, 0, bytes, 10, false), bytes);
    Kvasir__V1__Piece piece = piece_of(9, wrong[i].chunk, wrong[i].offset, bytes, 10, false);
    piece.segment = wrong[i].segment;
    send_piece(c, piece, bytes);
    assert_int_equal(fake_client_status(c), GRPC_STATUS_INVALID_ARGUMENT);
    still_serves(&f, 16); /* the window, no more */
    fake_client_close(c);
    fixture_stop(&f);
  }
}

/* What is compressed to nearly nothing may be far above any limit once it is not. */
static void test_compressed_message(void **state)
{
  (void)state;
  enum { BOMB = 64 << 20 };
  struct fixture f;
  fixture_start(&f, false, 0);
  struct fake_client *c = fake_client_open(f.endpoint, true);
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  uint8_t *zeros = calloc(1, BOMB);
  fake_client_send(c, &header, zeros, BOMB);
  /* Not RESOURCE_EXHAUSTED, gRPC's answer after it has unpacked all: the node sees a frame that is none. */
  assert_int_equal(fake_client_status(c), GRPC_STATUS_INVALID_ARGUMENT);
  free(zeros);
  fake_client_close(c);
  fixture_stop(&f);
}

/* A header full of cancels, with the stream's table of transfers full: no work that grows with both. */
static void test_many_transfers_and_cancels(void **state)
{
  (void)state;
  enum { STARTS = 1000, CANCELS = 120000 };
  struct fixture f;
  struct start s;
  fixture_start(&f, false, 0);
  struct fake_client *c = fake_client_open(f.endpoint, false);
  uint8_t key[KEY] = {1};
  fixture_hold(&f, key);
  for (uint64_t i = 0; i < STARTS; i++) {
    make_start(&s, (i + 1) << 10, true, 1, 100);
    send_start(c, &s);
  }
  uint64_t *cancels = calloc(CANCELS, sizeof *cancels);
  for (uint64_t i = 0; i < CANCELS; i++)
    cancels[i] = 1 + i % 100; /* of nothing */
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  header.n_cancels = CANCELS;
  header.cancels = cancels;
  fake_client_send(c, &header, NULL, 0);
  for (uint64_t i = 0; i < STARTS; i++)
    cancels[i] = (i + 1) << 10;
  header.n_cancels = STARTS;
  fake_client_send(c, &header, NULL, 0);
  still_serves(&f, 0);
  free(cancels);
  fake_client_close(c);
  fixture_stop(&f);
}

static void wait_streams(const struct fixture *f, uint64_t n)
{
  struct kvi_grpc_server_stats stats = {.streams = n + 1};
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  while (stats.streams != n && !kvi_deadline_expired(deadline))
    kvi_grpc_server_stats(f->server, &stats);
  assert_int_equal(stats.streams, n);
}

/* gRPC shares one connection among equal channels, so these are streams of one connection beside the wire's own. */
static void test_too_many_streams(void **state)
{
  (void)state;
  enum { MOST = 3, MORE = 4 };
  struct kvi_grpc_server_stats stats;
  struct fake_client *taken[MOST - 1], *refused[MORE];
  struct fixture f;
  fixture_start_bounded(&f, MOST);
  wait_streams(&f, 1);
  for (int i = 0; i < MOST - 1; i++)
    taken[i] = fake_client_open(f.endpoint, false);
  wait_streams(&f, MOST);
  for (int i = 0; i < MORE; i++) {
    refused[i] = fake_client_open(f.endpoint, false);
    assert_int_equal(fake_client_status(refused[i]), GRPC_STATUS_RESOURCE_EXHAUSTED);
  }
  kvi_grpc_server_stats(f.server, &stats);
  assert_int_equal(stats.streams, MOST);
  assert_int_equal(stats.refused_streams_total, MORE);
  assert_int_equal(fixture_peers_gone(&f), 0);
  for (int i = 0; i < MORE; i++)
    fake_client_close(refused[i]);

  fake_client_close(taken[0]); /* one ends: there is room for another */
  wait_streams(&f, MOST - 1);
  taken[0] = fake_client_open(f.endpoint, false);
  wait_streams(&f, MOST);
  kvi_grpc_server_stats(f.server, &stats);
  assert_int_equal(stats.refused_streams_total, MORE);
  still_serves(&f, 0);
  for (int i = 0; i < MOST - 1; i++)
    fake_client_close(taken[i]);
  fixture_stop(&f);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pieces_out_of_order),
      cmocka_unit_test(test_compressed_message),
      cmocka_unit_test(test_many_transfers_and_cancels),
      cmocka_unit_test(test_too_many_streams),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
