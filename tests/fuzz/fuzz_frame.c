/*
 * Any bytes as a message of the Transfer stream: parse, normalize and protobuf-c agree on what it is, what is
 * found lies inside it, and what is accepted can be written and read again.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kvi_frame_arena arena;

static void require(bool holds)
{
  if (!holds)
    abort();
}

static void require_equal(const struct kvi_frame_shape *a, const struct kvi_frame_shape *b)
{
  require(a->header_offset == b->header_offset && a->header_length == b->header_length);
  require(a->data_offset == b->data_offset && a->data_length == b->data_length);
}

/* Parses as a receiver does: from nothing, with as much as it is told to bring, in memory that ends there. */
static kvs_status parse_stepwise(const uint8_t *data, size_t size, struct kvi_frame_shape *shape)
{
  size_t have = 0;

  for (;;) {
    size_t need = 0;
    uint8_t *part = malloc(have ? have : 1);
    require(part != NULL);
    if (have)
      memcpy(part, data, have);
    kvs_status status = kvi_frame_parse(part, have, size, shape, &need);
    free(part);
    if (status != KVS_PENDING)
      return status;
    require(need > have && need <= size);
    have = need;
  }
}

/* protobuf-c's own view of the whole message. */
static void compare_with_protobuf_c(const uint8_t *data, size_t size, const struct kvi_frame_shape *shape)
{
  Kvasir__V1__Frame *frame = kvasir__v1__frame__unpack(NULL, size, data);
  Kvasir__V1__FrameHeader *header =
      kvasir__v1__frame_header__unpack(NULL, shape->header_length, data + shape->header_offset);

  require((frame != NULL) == (header != NULL)); /* we leave the inside of the header to it */
  if (frame) {
    require(frame->data.len == shape->data_length);
    require(!frame->data.len || !memcmp(frame->data.data, data + shape->data_offset, frame->data.len));
    if (frame->header)
      require(kvasir__v1__frame_header__get_packed_size(frame->header) ==
              kvasir__v1__frame_header__get_packed_size(header));
    kvasir__v1__frame__free_unpacked(frame, NULL);
    kvasir__v1__frame_header__free_unpacked(header, NULL);
  }
}

/*
 * Takes out what we do not know. protobuf-c keeps such fields and writes them again, but not always to what
 * it reads back: it takes a padded tag of field 0, writes it without the padding, and refuses that.
 */
static void drop_unknown(Kvasir__V1__FrameHeader *header)
{
  header->base.n_unknown_fields = 0;
  for (size_t i = 0; i < header->n_starts; i++)
    header->starts[i]->base.n_unknown_fields = header->starts[i]->keys->base.n_unknown_fields = 0;
  for (size_t i = 0; i < header->n_pieces; i++)
    header->pieces[i]->base.n_unknown_fields = 0;
  for (size_t i = 0; i < header->n_ends; i++)
    header->ends[i]->base.n_unknown_fields = 0;
}

static void round_trip(const Kvasir__V1__FrameHeader *header, const struct kvi_frame_shape *shape)
{
  size_t prefix = kvi_frame_prefix_size(header, shape->data_length), need;
  uint8_t *out = malloc(prefix);
  struct kvi_frame_shape again;
  Kvasir__V1__FrameHeader *same;

  require(out != NULL);
  require(kvi_frame_write_prefix(header, shape->data_length, out) == prefix);
  require(kvi_frame_parse(out, prefix, prefix + shape->data_length, &again, &need) == KVS_OK);
  require(again.data_offset == prefix && again.data_length == shape->data_length);
  struct kvi_frame_arena *second = malloc(sizeof *second);
  require(second != NULL);
  kvi_frame_arena_init(second);
  require(kvi_frame_unpack(second, out + again.header_offset, again.header_length, again.data_length,
                           &same) == KVS_OK);
  require(kvi_frame_prefix_size(same, again.data_length) == prefix);
  uint8_t *twice = malloc(prefix);
  require(twice != NULL && kvi_frame_write_prefix(same, again.data_length, twice) == prefix);
  require(memcmp(out, twice, prefix) == 0);
  kvi_frame_arena_reset(second);
  free(second);
  free(twice);
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct kvi_frame_shape parsed, normal;
  Kvasir__V1__FrameHeader *header;
  size_t need;

  if (!arena.allocator.alloc)
    kvi_frame_arena_init(&arena);
  kvs_status status = kvi_frame_parse(data, size, size, &parsed, &need);
  require(status != KVS_PENDING);
  require(parse_stepwise(data, size, &normal) == status);
  if (status == KVS_OK)
    require_equal(&parsed, &normal);

  kvs_status normal_status = kvi_frame_normalize(data, size, &normal);
  if (status == KVS_OK) {
    require(normal_status == KVS_OK);
    require_equal(&parsed, &normal);
  } else {
    require(status == KVS_ERR_UNSUPPORTED || normal_status != KVS_OK);
  }
  if (normal_status != KVS_OK)
    return 0;

  require(normal.header_offset <= size && normal.header_length <= size - normal.header_offset);
  require(normal.data_offset <= size && normal.data_length <= size - normal.data_offset);
  require(normal.header_length <= KVI_FRAME_HEADER_MAX && normal.data_length <= KVI_FRAME_BYTES_MAX);
  compare_with_protobuf_c(data, size, &normal);
  status = kvi_frame_unpack(&arena, data + normal.header_offset, normal.header_length, normal.data_length,
                            &header);
  if (status == KVS_OK) {
    drop_unknown(header);
    round_trip(header, &normal);
  } else {
    require(header == NULL);
  }
  kvi_frame_arena_reset(&arena);
  return 0;
}
