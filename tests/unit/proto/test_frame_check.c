/* Headers unpacked into the arena, and every count and length that is refused. */
#include "tests/unit/proto/testing.h"

#include <stdbool.h>

#include "proto/chunk.h"
#include "proto/frame.h"
#include "proto/limits.h"

static struct kvi_frame_arena arena;
static uint8_t key_bytes[(KVI_BATCH_CHUNKS_MAX + 1) * 64];

static int setup(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof key_bytes; i++)
    key_bytes[i] = (uint8_t)i;
  kvi_frame_arena_init(&arena);
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  kvi_frame_arena_reset(&arena);
  return 0;
}

/* Packs and unpacks; the arena is left for the caller to look at and is reset at the next call. */
static kvs_status unpack(const Kvasir__V1__FrameHeader *header, uint64_t data_length,
                         Kvasir__V1__FrameHeader **out_p)
{
  size_t size = kvasir__v1__frame_header__get_packed_size(header);
  uint8_t *packed = malloc(size ? size : 1);

  kvi_frame_arena_reset(&arena);
  kvasir__v1__frame_header__pack(header, packed);
  kvs_status status = kvi_frame_unpack(&arena, packed, size, data_length, out_p);
  if (status != KVS_OK)
    assert_null(*out_p);
  free(packed); /* what was unpacked owns its bytes */
  return status;
}

/* A put of two chunks of 100 and 30 bytes in three segments, which tests then break. */
struct put {
  Kvasir__V1__FrameHeader header;
  Kvasir__V1__TransferStart start, *starts[1];
  Kvasir__V1__Keys keys;
  uint64_t lengths[KVI_BATCH_CHUNKS_MAX + 1];
  uint32_t counts[KVI_BATCH_CHUNKS_MAX + 1], segments[4];
};

static void good_put(struct put *put)
{
  kvasir__v1__frame_header__init(&put->header);
  kvasir__v1__transfer_start__init(&put->start);
  kvasir__v1__keys__init(&put->keys);
  put->header.n_starts = 1;
  put->header.starts = put->starts;
  put->starts[0] = &put->start;
  put->start.id = 1;
  put->start.put = true;
  put->start.space = (ProtobufCBinaryData){.len = 32, .data = key_bytes};
  put->start.keys = &put->keys;
  put->start.timeout_ms = 1000;
  put->keys.key_length = 32;
  put->keys.keys = (ProtobufCBinaryData){.len = 64, .data = key_bytes};
  put->lengths[0] = 100;
  put->lengths[1] = 30;
  put->start.n_lengths = 2;
  put->start.lengths = put->lengths;
  put->counts[0] = 2;
  put->counts[1] = 1;
  put->start.n_segment_counts = 2;
  put->start.segment_counts = put->counts;
  put->segments[0] = 99;
  put->segments[1] = 1;
  put->segments[2] = 30;
  put->start.n_segment_lengths = 3;
  put->start.segment_lengths = put->segments;
}

static void a_put_start_comes_back(void **state)
{
  struct put put;
  Kvasir__V1__FrameHeader *header;

  (void)state;
  good_put(&put);
  assert_int_equal(unpack(&put.header, 0, &header), KVS_OK);
  assert_int_equal(header->n_starts, 1);
  assert_int_equal(header->starts[0]->n_segment_lengths, 3);
  assert_int_equal(header->starts[0]->segment_lengths[1], 1);
  assert_int_equal(header->starts[0]->lengths[0], 100);
  assert_int_equal(header->starts[0]->keys->keys.len, 64);
  assert_memory_equal(header->starts[0]->keys->keys.data, key_bytes, 64);
  assert_null(arena.spilled); /* all of it in the arena */
}

static void broken_starts_are_refused(void **state)
{
  struct put put;
  Kvasir__V1__FrameHeader *header;

  (void)state;
#define REFUSED(status, ...)                                                                                 \
  good_put(&put);                                                                                            \
  __VA_ARGS__;                                                                                               \
  assert_int_equal(unpack(&put.header, 0, &header), status)

  REFUSED(KVS_ERR_PROTOCOL, put.start.keys = NULL);
  REFUSED(KVS_ERR_PROTOCOL, put.start.space.len = 31);
  REFUSED(KVS_ERR_PROTOCOL, put.start.space.len = 0);
  REFUSED(KVS_ERR_PROTOCOL, put.start.space.len = 33);
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.key_length = 0);
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.key_length = 4);
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.key_length = 65);
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.keys.len = 63);
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.keys.len = 65);
  REFUSED(KVS_ERR_PROTOCOL, put.keys.keys.len = 0);
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.parent = (ProtobufCBinaryData){.len = 31, .data = key_bytes});
  REFUSED(KVS_ERR_KEY_LENGTH, put.keys.extent_first = (ProtobufCBinaryData){.len = 64, .data = key_bytes});
  REFUSED(KVS_ERR_PROTOCOL, put.keys.first_place = UINT32_MAX); /* the second key's place does not fit */
  REFUSED(KVS_ERR_TOO_LARGE, put.start.timeout_ms = KVI_TIMEOUT_MS_MAX + 1);
  REFUSED(KVS_ERR_PROTOCOL, put.start.n_lengths = 1);
  REFUSED(KVS_ERR_PROTOCOL, put.start.n_lengths = 3; put.lengths[2] = 1);
  REFUSED(KVS_ERR_TOO_LARGE, put.lengths[1] = KVI_CHUNK_BYTES_MAX + 1ull);
  REFUSED(KVS_ERR_TOO_LARGE, put.lengths[1] = UINT64_MAX);
  REFUSED(KVS_ERR_PROTOCOL, put.start.n_segment_counts = 1);
  REFUSED(KVS_ERR_PROTOCOL, put.counts[0] = 3);
  REFUSED(KVS_ERR_PROTOCOL, put.counts[1] = 0);
  REFUSED(KVS_ERR_PROTOCOL, put.counts[1] = 2);
  REFUSED(KVS_ERR_TOO_LARGE, put.counts[0] = KVI_SEGMENTS_MAX + 1);
  REFUSED(KVS_ERR_PROTOCOL, put.segments[1] = 0);
  REFUSED(KVS_ERR_PROTOCOL, put.segments[2] = 31);
  REFUSED(KVS_ERR_PROTOCOL, put.segments[3] = 1; put.start.n_segment_lengths = 4); /* one that is nobody's */
  REFUSED(KVS_ERR_PROTOCOL, put.start.put = false);                                /* a get has none */
  REFUSED(KVS_OK, put.start.put = false; put.start.n_segment_counts = put.start.n_segment_lengths = 0);
  REFUSED(KVS_OK, put.keys.parent = (ProtobufCBinaryData){.len = 32, .data = key_bytes};
          put.keys.first_place = 7);
#undef REFUSED
}

static void qualities_are_checked(void **state)
{
  static uint32_t qualities[2];
  struct put put;
  Kvasir__V1__FrameHeader *header;

  (void)state;
#define PUT(status, first, second, ...)                                                                      \
  good_put(&put);                                                                                            \
  qualities[0] = first;                                                                                      \
  qualities[1] = second;                                                                                     \
  put.start.qualities = qualities;                                                                           \
  put.start.n_qualities = 2;                                                                                 \
  __VA_ARGS__;                                                                                               \
  assert_int_equal(unpack(&put.header, 0, &header), status)

  PUT(KVS_OK, 0, 0, (void)0);
  PUT(KVS_OK, 0x1FF, 0xF0, (void)0);
  assert_int_equal(header->starts[0]->qualities[0], 0x1FF);
  PUT(KVS_ERR_PROTOCOL, 0, 0x200, (void)0); /* a coding that there is not */
  PUT(KVS_ERR_PROTOCOL, 0xFFFF, 0, (void)0);
  PUT(KVS_ERR_PROTOCOL, 0x10000, 0, (void)0);
  PUT(KVS_ERR_PROTOCOL, 0, 0, put.start.n_qualities = 1);
  PUT(KVS_ERR_PROTOCOL, 0, 0, put.start.codings = 2);
  PUT(KVS_ERR_PROTOCOL, 0, 0, put.start.loss_max = 1);
  PUT(KVS_ERR_PROTOCOL, 0, 0, put.start.loss_enough = 1);
  PUT(KVS_ERR_PROTOCOL, 0, 0, put.start.bytes_enough = 1);
#define GET(status, ...)                                                                                     \
  PUT(status, 0, 0, put.start.put = false; put.start.n_segment_counts = put.start.n_segment_lengths = 0;     \
      put.start.n_qualities = 0; __VA_ARGS__)

  GET(KVS_OK, put.start.loss_max = KVI_LOSS_MAX; put.start.codings = UINT32_MAX); /* codings of tomorrow */
  GET(KVS_ERR_PROTOCOL, put.start.loss_max = KVI_LOSS_MAX + 1);
  GET(KVS_OK, put.start.loss_enough = KVI_LOSS_MAX; put.start.bytes_enough = UINT64_MAX);
  GET(KVS_ERR_PROTOCOL, put.start.loss_enough = KVI_LOSS_MAX + 1);
  GET(KVS_ERR_PROTOCOL, put.start.n_qualities = 2);
#undef GET
#undef PUT
}

static void batches_have_a_bound(void **state)
{
  static struct put put;
  Kvasir__V1__FrameHeader *header;

  (void)state;
  for (unsigned n = KVI_BATCH_CHUNKS_MAX; n <= KVI_BATCH_CHUNKS_MAX + 1; n++) {
    good_put(&put);
    put.start.put = false;
    put.start.n_segment_counts = put.start.n_segment_lengths = 0;
    put.keys.key_length = 64;
    put.keys.keys.len = (size_t)n * 64;
    put.start.n_lengths = n;
    for (unsigned i = 0; i < n; i++)
      put.lengths[i] = KVI_CHUNK_BYTES_MAX;
    assert_int_equal(unpack(&put.header, 0, &header), n > KVI_BATCH_CHUNKS_MAX ? KVS_ERR_TOO_LARGE : KVS_OK);
  }
}

static Kvasir__V1__Piece good_piece(void)
{
  Kvasir__V1__Piece piece = KVASIR__V1__PIECE__INIT;

  piece.id = 1;
  piece.segment = 1;
  piece.length = 10;
  piece.first = true;
  return piece;
}

static kvs_status unpack_piece(Kvasir__V1__Piece piece, uint64_t data_length)
{
  Kvasir__V1__Piece *pieces[] = {&piece};
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT, *out;

  header.n_pieces = 1;
  header.pieces = pieces;
  return unpack(&header, data_length, &out);
}

static void pieces_are_checked(void **state)
{
  Kvasir__V1__Piece piece;

  (void)state;
#define PIECE(status, ...)                                                                                   \
  piece = good_piece();                                                                                      \
  __VA_ARGS__;                                                                                               \
  assert_int_equal(unpack_piece(piece, 10), status)

  PIECE(KVS_OK, (void)0);
  assert_int_equal(unpack_piece(good_piece(), 9), KVS_ERR_PROTOCOL); /* more or less data than pieces */
  assert_int_equal(unpack_piece(good_piece(), 11), KVS_ERR_PROTOCOL);
  assert_int_equal(unpack_piece(good_piece(), 0), KVS_ERR_PROTOCOL);
  PIECE(KVS_ERR_PROTOCOL, piece.length = 0);
  PIECE(KVS_ERR_PROTOCOL, piece.first = false);
  PIECE(KVS_ERR_PROTOCOL, piece.offset = 1);
  PIECE(KVS_OK, piece.offset = 1; piece.first = false);
  PIECE(KVS_ERR_TOO_LARGE, piece.chunk = KVI_BATCH_CHUNKS_MAX);
  PIECE(KVS_ERR_TOO_LARGE, piece.segment = KVI_SEGMENTS_MAX);
  PIECE(KVS_ERR_TOO_LARGE, piece.segments = KVI_SEGMENTS_MAX + 1);
  PIECE(KVS_ERR_TOO_LARGE, piece.segment_length = KVI_CHUNK_BYTES_MAX + 1);
  PIECE(KVS_ERR_TOO_LARGE, piece.offset = KVI_CHUNK_BYTES_MAX; piece.first = false);
  PIECE(KVS_ERR_TOO_LARGE, piece.offset = UINT32_MAX; piece.first = false); /* no wrap */
  PIECE(KVS_ERR_PROTOCOL, piece.segments = 1);
  PIECE(KVS_OK, piece.segments = 2);
  PIECE(KVS_ERR_PROTOCOL, piece.segment_length = 10);
  PIECE(KVS_OK, piece.segment_length = 10; piece.last = true);
  PIECE(KVS_ERR_PROTOCOL, piece.segment_length = 11; piece.last = true);
  PIECE(KVS_OK, piece.segment_length = 11);
  PIECE(KVS_ERR_PROTOCOL, piece.segment_length = 9);
  PIECE(KVS_ERR_TOO_LARGE, piece.length = UINT32_MAX - 5; piece.segment_length = 5);
  PIECE(KVS_OK, piece.segments = 2; piece.quality = 0xF5);
  PIECE(KVS_ERR_PROTOCOL, piece.quality = 0xF5); /* of no first piece */
  PIECE(KVS_ERR_PROTOCOL, piece.segments = 2; piece.quality = 0x100);
  PIECE(KVS_OK, piece.segments = 2; piece.quality = 0x100; piece.chunk_length = 10);
  PIECE(KVS_ERR_PROTOCOL, piece.segments = 2; piece.quality = 0x100; piece.chunk_length = 9);
  PIECE(KVS_ERR_PROTOCOL, piece.segments = 2; piece.quality = 0x10000; piece.chunk_length = 10);
  PIECE(KVS_ERR_PROTOCOL, piece.chunk_length = 10);
  PIECE(KVS_OK, piece.segments = 2; piece.chunk_length = KVI_CHUNK_BYTES_MAX);
  PIECE(KVS_ERR_TOO_LARGE, piece.segments = 2; piece.chunk_length = KVI_CHUNK_BYTES_MAX + 1);
  PIECE(KVS_ERR_PROTOCOL, piece.segments = 2; piece.chunk_length = 10; piece.segment_length = 11);
#undef PIECE
}

static void many_pieces_sum_up(void **state)
{
  static Kvasir__V1__Piece *pieces[KVI_FRAME_PIECES_MAX + 1];
  Kvasir__V1__Piece piece = good_piece();
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT, *out;

  (void)state;
  for (size_t i = 0; i < COUNT(pieces); i++)
    pieces[i] = &piece;
  header.pieces = pieces;
  header.n_pieces = KVI_FRAME_PIECES_MAX;
  assert_int_equal(unpack(&header, 10ull * KVI_FRAME_PIECES_MAX, &out), KVS_OK);
  assert_int_equal(out->n_pieces, KVI_FRAME_PIECES_MAX);
  assert_non_null(arena.spilled); /* far more than the arena holds */
  kvi_frame_arena_reset(&arena);
  assert_null(arena.spilled);
  assert_int_equal(arena.used, 0);
  header.n_pieces++;
  assert_int_equal(unpack(&header, 10ull * (KVI_FRAME_PIECES_MAX + 1), &out), KVS_ERR_TOO_LARGE);
}

static void ends_and_cancels_come_back(void **state)
{
  Kvasir__V1__ChunkEnd end = KVASIR__V1__CHUNK_END__INIT, *ends[] = {&end};
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT, *out;
  uint64_t cancels[] = {UINT64_MAX, 5};

  (void)state;
  end.chunk = KVI_BATCH_CHUNKS_MAX - 1;
  end.status = KVS_ERR_CORRUPT;
  header.n_ends = 1;
  header.ends = ends;
  header.n_cancels = 2;
  header.cancels = cancels;
  assert_int_equal(unpack(&header, 0, &out), KVS_OK);
  assert_int_equal(out->ends[0]->status, KVS_ERR_CORRUPT);
  assert_true(out->cancels[0] == UINT64_MAX);
  end.chunk++;
  assert_int_equal(unpack(&header, 0, &out), KVS_ERR_TOO_LARGE);
}

static kvs_status unpack_bytes(const uint8_t *bytes, size_t size)
{
  Kvasir__V1__FrameHeader *out;

  kvi_frame_arena_reset(&arena);
  return kvi_frame_unpack(&arena, bytes, size, 0, &out);
}

static void what_is_no_header_is_refused(void **state)
{
  static const uint8_t cut[] = {0x0A, 5, 1}, wire[] = {0x08, 1}, unknown[] = {0xF8, 0x01, 1};

  (void)state;
  assert_int_equal(unpack_bytes(cut, sizeof cut), KVS_ERR_PROTOCOL);
  assert_int_equal(unpack_bytes(wire, sizeof wire), KVS_ERR_PROTOCOL);
  assert_int_equal(unpack_bytes(unknown, sizeof unknown), KVS_OK);
  assert_int_equal(unpack_bytes(NULL, 0), KVS_OK);
}

static void huge_lengths_are_refused_unread(void **state)
{
  Kvasir__V1__FrameHeader *out;

  (void)state;
  kvi_frame_arena_reset(&arena);
  assert_int_equal(kvi_frame_unpack(&arena, NULL, KVI_FRAME_HEADER_MAX + 1, 0, &out), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvi_frame_unpack(&arena, NULL, 0, KVI_FRAME_BYTES_MAX + 1, &out), KVS_ERR_TOO_LARGE);
}

/* Two bytes each that ask for a whole Piece: the spill's bound ends it. */
static void hostile_amplification_is_bounded(void **state)
{
  uint8_t *bytes = malloc(KVI_FRAME_HEADER_MAX);

  (void)state;
  for (size_t i = 0; i < KVI_FRAME_HEADER_MAX; i += 2) {
    bytes[i] = 0x12;
    bytes[i + 1] = 0;
  }
  assert_int_equal(unpack_bytes(bytes, KVI_FRAME_HEADER_MAX), KVS_ERR_TOO_LARGE);
  assert_true(arena.spilled_bytes <= KVI_FRAME_SPILL_MAX);
  kvi_frame_arena_reset(&arena);
  assert_int_equal(arena.spilled_bytes, 0);
  assert_int_equal(unpack_bytes(bytes, 0), KVS_OK); /* and is as good as new */
  free(bytes);
}

static void the_arena_hands_out_aligned_memory(void **state)
{
  (void)state;
  kvi_frame_arena_reset(&arena);
  for (size_t size = 1; size < 3000; size += 37) {
    void *place = arena.allocator.alloc(arena.allocator.allocator_data, size);
    assert_non_null(place);
    assert_int_equal((uintptr_t)place % 16, 0);
    memset(place, 0xAB, size);
    arena.allocator.free(arena.allocator.allocator_data, place);
  }
  assert_non_null(arena.spilled);
  assert_null(arena.allocator.alloc(arena.allocator.allocator_data, SIZE_MAX));
  assert_null(arena.allocator.alloc(arena.allocator.allocator_data, SIZE_MAX - 15));
  assert_null(arena.allocator.alloc(arena.allocator.allocator_data, KVI_FRAME_SPILL_MAX));
  assert_int_equal(arena.failure, KVS_ERR_TOO_LARGE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_put_start_comes_back),
      cmocka_unit_test(broken_starts_are_refused),
      cmocka_unit_test(qualities_are_checked),
      cmocka_unit_test(batches_have_a_bound),
      cmocka_unit_test(pieces_are_checked),
      cmocka_unit_test(many_pieces_sum_up),
      cmocka_unit_test(ends_and_cancels_come_back),
      cmocka_unit_test(what_is_no_header_is_refused),
      cmocka_unit_test(huge_lengths_are_refused_unread),
      cmocka_unit_test(hostile_amplification_is_bounded),
      cmocka_unit_test(the_arena_hands_out_aligned_memory),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
