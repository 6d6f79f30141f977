/* Finding header and data in messages: the shape we write, other legal orders, and everything that lies. */
#include "tests/unit/proto/testing.h"

#include "proto/frame.h"
#include "proto/limits.h"

static const struct kvi_frame_shape untouched = {111, 222, 333, 444};

/* A copy that ends where its allocation ends, so that ASan sees every step beyond it. */
static uint8_t *exact(const void *bytes, size_t size)
{
  uint8_t *copy = malloc(size ? size : 1);

  assert_non_null(copy);
  memcpy(copy, bytes, size);
  return copy;
}

static kvs_status parse(const void *bytes, size_t have, size_t total, struct kvi_frame_shape *shape,
                        size_t *need)
{
  uint8_t *copy = exact(bytes, have);
  kvs_status status = kvi_frame_parse(copy, have, total, shape, need);

  free(copy);
  return status;
}

static void assert_shape(const struct kvi_frame_shape *shape, size_t header_offset, size_t header_length,
                         size_t data_offset, size_t data_length)
{
  assert_int_equal(shape->header_offset, header_offset);
  assert_int_equal(shape->header_length, header_length);
  assert_int_equal(shape->data_offset, data_offset);
  assert_int_equal(shape->data_length, data_length);
}

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void assert_parse(const uint8_t *bytes, size_t size, kvs_status expected)
{
  struct kvi_frame_shape shape = untouched;
  size_t need;

  assert_int_equal(parse(bytes, size, size, &shape, &need), expected);
  if (expected != KVS_OK)
    assert_memory_equal(&shape, &untouched, sizeof shape);
}

static kvs_status normalize(const uint8_t *bytes, size_t size, struct kvi_frame_shape *shape)
{
  uint8_t *copy = exact(bytes, size);
  kvs_status status = kvi_frame_normalize(copy, size, shape);

  free(copy);
  return status;
}

static void assert_normalize(const uint8_t *bytes, size_t size, kvs_status expected)
{
  struct kvi_frame_shape shape = untouched;

  assert_int_equal(normalize(bytes, size, &shape), expected);
  if (expected != KVS_OK)
    assert_memory_equal(&shape, &untouched, sizeof shape);
}

/* Byte identity: prefix and data are what protobuf-c packs of the whole message. */
static void prefix_and_data_are_the_packed_frame(void **state)
{
  static const size_t lengths[] = {0, 1, 127, 128, 16383, 16384, 70000, KVI_FRAME_BYTES_MAX};
  uint8_t *data = malloc(KVI_FRAME_BYTES_MAX);

  (void)state;
  memset(data, 0x5A, KVI_FRAME_BYTES_MAX);
  for (size_t n_pieces = 0; n_pieces < 600;
       n_pieces = n_pieces * 3 + 1) /* headers of 0 to some thousand bytes */
    for (size_t i = 0; i < COUNT(lengths); i++) {
      Kvasir__V1__Piece piece = KVASIR__V1__PIECE__INIT, *pieces[600];
      Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
      Kvasir__V1__Frame frame = KVASIR__V1__FRAME__INIT;

      piece.id = 1ull << 60;
      piece.length = (uint32_t)lengths[i];
      piece.crc32c = 0xFFFFFFFFu;
      for (size_t p = 0; p < n_pieces; p++)
        pieces[p] = &piece;
      header.n_pieces = n_pieces;
      header.pieces = pieces;
      frame.header = &header;
      frame.data = (ProtobufCBinaryData){.len = lengths[i], .data = data};

      size_t prefix = kvi_frame_prefix_size(&header, lengths[i]),
             size = kvasir__v1__frame__get_packed_size(&frame);
      uint8_t *whole = malloc(size), *ours = malloc(size + 1);
      struct kvi_frame_shape shape;
      size_t need;
      assert_int_equal(prefix + lengths[i], size);
      kvasir__v1__frame__pack(&frame, whole);
      ours[prefix] = 0xEE;
      assert_int_equal(kvi_frame_write_prefix(&header, lengths[i], ours), prefix);
      assert_int_equal(ours[prefix], 0xEE);
      memcpy(ours + prefix, data, lengths[i]);
      assert_memory_equal(ours, whole, size);
      assert_int_equal(kvi_frame_parse(whole, prefix, size, &shape, &need), KVS_OK);
      assert_int_equal(shape.data_offset, prefix);
      assert_int_equal(shape.data_length, lengths[i]);
      free(ours);
      free(whole);
    }
  free(data);
}

static void headers_may_straddle_what_is_there(void **state)
{
  uint8_t message[600] = {0x0A, 0xAC, 0x02}; /* header of 300, then data of 291 */
  const size_t total = sizeof message, data_tag = 3 + 300;
  struct kvi_frame_shape shape = untouched;

  (void)state;
  message[data_tag] = 0x7A;
  message[data_tag + 1] = 0xA6; /* 294 */
  message[data_tag + 2] = 0x02;
  for (size_t have = 0; have <= total; have++) {
    size_t need = 0;
    kvs_status status = parse(message, have, total, &shape, &need);
    if (have < data_tag + 3) {
      assert_int_equal(status, KVS_PENDING);
      assert_true(need > have && need <= total);
      assert_memory_equal(&shape, &untouched, sizeof shape);
    } else {
      assert_int_equal(status, KVS_OK);
      assert_shape(&shape, 3, 300, data_tag + 3, total - data_tag - 3);
      shape = untouched;
    }
  }
  /* Following need_p gets there in a few steps. */
  size_t have = 0, need = 0, steps = 0;
  while (parse(message, have, total, &shape, &need) == KVS_PENDING) {
    have = need;
    assert_true(++steps <= 4);
  }
  assert_shape(&shape, 3, 300, data_tag + 3, total - data_tag - 3);
}

static void shapes_without_data(void **state)
{
  struct kvi_frame_shape shape;
  size_t need;

  (void)state;
  assert_int_equal(kvi_frame_parse(NULL, 0, 0, &shape, &need), KVS_OK);
  assert_shape(&shape, 0, 0, 0, 0);
  assert_int_equal(kvi_frame_normalize(NULL, 0, &shape), KVS_OK);
  assert_shape(&shape, 0, 0, 0, 0);
  assert_int_equal(parse(BYTES(0x0A, 0), 2, &shape, &need), KVS_OK);
  assert_shape(&shape, 2, 0, 2, 0);
  assert_int_equal(parse(BYTES(0x0A, 2, 9, 9), 4, &shape, &need), KVS_OK);
  assert_shape(&shape, 2, 2, 4, 0);
  assert_int_equal(parse(BYTES(0x0A, 0, 0x7A, 0), 4, &shape, &need), KVS_OK); /* empty data, said */
  assert_shape(&shape, 2, 0, 4, 0);
  assert_int_equal(parse(BYTES(0x0A, 0x82, 0x80, 0x00, 9, 9, 0x7A, 0x81, 0x00, 7), 10, &shape, &need),
                   KVS_OK);
  assert_shape(&shape, 4, 2, 9, 1); /* padded lengths */
}

static void have_beyond_total_is_not_read(void **state)
{
  struct kvi_frame_shape shape;
  size_t need;

  (void)state;
  assert_int_equal(parse(BYTES(0x0A, 1, 9, 0x7A, 1, 7), 3, &shape, &need), KVS_OK);
  assert_shape(&shape, 2, 1, 3, 0);
}

static void lengths_that_lie_are_refused(void **state)
{
  (void)state;
  assert_parse(BYTES(0x0A), KVS_ERR_PROTOCOL);
  assert_parse(BYTES(0x0A, 1), KVS_ERR_PROTOCOL);
  assert_parse(BYTES(0x0A, 0x80), KVS_ERR_PROTOCOL);
  assert_parse(BYTES(0x0A, 0, 0x7A), KVS_ERR_PROTOCOL);
  assert_parse(BYTES(0x0A, 0, 0x7A, 1), KVS_ERR_PROTOCOL);
  assert_parse(BYTES(0x0A, 0, 0x7A, 2, 7), KVS_ERR_PROTOCOL);
  assert_parse(BYTES(0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F), KVS_ERR_PROTOCOL);          /* 2^32 - 1 */
  assert_parse(BYTES(0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F, 0, 0), KVS_ERR_PROTOCOL);    /* above 32 bits */
  assert_parse(BYTES(0x0A, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 9), KVS_ERR_PROTOCOL); /* six bytes */
  assert_parse(BYTES(0x0A, 0, 0x7A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F), KVS_ERR_PROTOCOL);
  assert_normalize(BYTES(0x7A, 2, 7), KVS_ERR_PROTOCOL);
  assert_normalize(BYTES(0x7A), KVS_ERR_PROTOCOL);
  assert_normalize(BYTES(0x12, 5, 7), KVS_ERR_PROTOCOL);
  assert_normalize(BYTES(0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1), KVS_ERR_PROTOCOL);
}

static void oversized_parts_are_refused(void **state)
{
  const size_t total = (size_t)KVI_FRAME_BYTES_MAX + 4096;
  uint8_t *message = calloc(1, total);
  struct kvi_frame_shape shape;
  size_t need;

  (void)state;
  memcpy(message, (const uint8_t[]){0x0A, 0x81, 0x80, 0x10}, 4); /* KVI_FRAME_HEADER_MAX + 1 */
  assert_int_equal(kvi_frame_parse(message, 4, total, &shape, &need), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvi_frame_normalize(message, total, &shape), KVS_ERR_TOO_LARGE);
  memcpy(message, (const uint8_t[]){0x0A, 0x80, 0x80, 0x10}, 4); /* the largest */
  assert_int_equal(kvi_frame_parse(message, 4, total, &shape, &need), KVS_PENDING);

  memcpy(message, (const uint8_t[]){0x0A, 0x00, 0x7A, 0x81, 0x80, 0x80, 0x01},
         7); /* KVI_FRAME_BYTES_MAX + 1 */
  assert_int_equal(kvi_frame_parse(message, 7, total, &shape, &need), KVS_ERR_TOO_LARGE);
  assert_int_equal(kvi_frame_normalize(message, total, &shape), KVS_ERR_TOO_LARGE);
  memcpy(message, (const uint8_t[]){0x0A, 0x00, 0x7A, 0x80, 0x80, 0x80, 0x01}, 7); /* the largest */
  assert_int_equal(kvi_frame_parse(message, 7, KVI_FRAME_BYTES_MAX + 7u, &shape, &need), KVS_OK);
  assert_shape(&shape, 2, 0, 7, KVI_FRAME_BYTES_MAX);
  free(message);
}

static void other_orders_are_told_and_normalized(void **state)
{
  struct kvi_frame_shape shape;

  (void)state;
#define OTHER(ho, hl, d, dl, ...)                                                                            \
  assert_parse(BYTES(__VA_ARGS__), KVS_ERR_UNSUPPORTED);                                                     \
  assert_int_equal(normalize(BYTES(__VA_ARGS__), &shape), KVS_OK);                                           \
  assert_shape(&shape, ho, hl, d, dl)

  OTHER(5, 2, 2, 1, 0x7A, 1, 7, 0x0A, 2, 8, 9);                /* data first */
  OTHER(0, 0, 2, 1, 0x7A, 1, 7);                               /* no header */
  OTHER(2, 1, 8, 2, 0x0A, 1, 9, 0x7A, 1, 7, 0x7A, 2, 6, 5);    /* data twice: the last wins */
  OTHER(2, 1, 8, 0, 0x0A, 1, 9, 0x7A, 1, 7, 0x7A, 0);          /* and is empty */
  OTHER(4, 1, 7, 1, 0x10, 5, 0x0A, 1, 9, 0x7A, 1, 7);          /* unknown varint in front */
  OTHER(2, 1, 9, 1, 0x0A, 1, 9, 0x12, 2, 1, 2, 0x7A, 1, 7);    /* unknown bytes between */
  OTHER(2, 1, 5, 1, 0x0A, 1, 9, 0x7A, 1, 7, 0x15, 1, 2, 3, 4); /* unknown fixed32 behind */
  OTHER(2, 1, 5, 1, 0x0A, 1, 9, 0x7A, 1, 7, 0x11, 1, 2, 3, 4, 5, 6, 7, 8);
  OTHER(2, 1, 8, 0, 0x0A, 1, 9, 0x92, 0x7D, 2, 1, 2); /* field 2002 */
  OTHER(3, 1, 4, 0, 0x8A, 0x00, 1, 9);                /* a padded tag */
  OTHER(2, 1, 14, 0, 0x0A, 1, 9, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01);
#undef OTHER
}

static void what_is_no_frame_is_refused(void **state)
{
  (void)state;
#define NEITHER(...)                                                                                         \
  assert_parse(BYTES(__VA_ARGS__), KVS_ERR_PROTOCOL);                                                        \
  assert_normalize(BYTES(__VA_ARGS__), KVS_ERR_PROTOCOL)

  NEITHER(0x08, 1);          /* header as a varint */
  NEITHER(0x0D, 1, 2, 3, 4); /* as a fixed32 */
  NEITHER(0x78, 1);          /* data as a varint */
  NEITHER(0x0A, 0, 0x79, 1, 2, 3, 4, 5, 6, 7, 8);
  NEITHER(0x00, 1); /* field 0 */
  NEITHER(0x02, 1, 7);
  NEITHER(0x13, 0x14); /* a group */
  NEITHER(0x0B, 0x0C);
  NEITHER(0x0A, 0, 0x16); /* wire type 6 */
  NEITHER(0x0A, 0, 0x17);
#undef NEITHER
  assert_normalize(BYTES(0x0A, 1, 9, 0x0A, 1, 9), KVS_ERR_PROTOCOL); /* two headers */
  assert_normalize(BYTES(0x10), KVS_ERR_PROTOCOL);                   /* cut varint */
  assert_normalize(BYTES(0x10, 0x80), KVS_ERR_PROTOCOL);
  assert_normalize(BYTES(0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
                   KVS_ERR_PROTOCOL);
  assert_normalize(BYTES(0x11, 1, 2, 3), KVS_ERR_PROTOCOL);                   /* cut fixed64 */
  assert_normalize(BYTES(0x15, 1, 2, 3), KVS_ERR_PROTOCOL);                   /* cut fixed32 */
  assert_normalize(BYTES(0x8A), KVS_ERR_PROTOCOL);                            /* cut tag */
  assert_normalize(BYTES(0xFA, 0xFF, 0xFF, 0xFF, 0x1F, 0), KVS_ERR_PROTOCOL); /* a tag above 32 bits */
  assert_normalize(BYTES(0x80, 0x00, 1), KVS_ERR_PROTOCOL);                   /* field 0, padded */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prefix_and_data_are_the_packed_frame),
      cmocka_unit_test(headers_may_straddle_what_is_there),
      cmocka_unit_test(shapes_without_data),
      cmocka_unit_test(have_beyond_total_is_not_read),
      cmocka_unit_test(lengths_that_lie_are_refused),
      cmocka_unit_test(oversized_parts_are_refused),
      cmocka_unit_test(other_orders_are_told_and_normalized),
      cmocka_unit_test(what_is_no_frame_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
