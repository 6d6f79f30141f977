/* Writing a frame's prefix, and finding header and data in a message without unpacking it. */
#include "proto/frame.h"

#include <stdbool.h>

#include "proto/limits.h"

#define TAG_HEADER 0x0Au /* field 1, length-delimited */
#define TAG_DATA   0x7Au /* field 15, length-delimited */

enum field { FIELD_HEADER = 1, FIELD_DATA = 15 };
enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

/* Tags and lengths are 32 bits in protobuf, so five bytes; a varint value may take ten. */
#define SHORT_VARINT_BYTES 5u
#define LONG_VARINT_BYTES  10u

static size_t varint_size(uint64_t value)
{
  size_t size = 1;

  for (; value >= 0x80; value >>= 7)
    size++;
  return size;
}

static uint8_t *varint_write(uint8_t *out, uint64_t value)
{
  for (; value >= 0x80; value >>= 7)
    *out++ = (uint8_t)(value | 0x80);
  *out++ = (uint8_t)value;
  return out;
}

size_t kvi_frame_prefix_size(const Kvasir__V1__FrameHeader *header, uint64_t data_length)
{
  size_t header_length = kvasir__v1__frame_header__get_packed_size(header);
  size_t size = 1 + varint_size(header_length) + header_length;

  if (data_length > 0)
    size += 1 + varint_size(data_length);
  return size;
}

size_t kvi_frame_write_prefix(const Kvasir__V1__FrameHeader *header, uint64_t data_length, uint8_t *out)
{
  size_t header_length = kvasir__v1__frame_header__get_packed_size(header);
  uint8_t *p = out;

  *p++ = TAG_HEADER;
  p = varint_write(p, header_length);
  p += kvasir__v1__frame_header__pack(header, p);
  if (data_length > 0) { /* proto3 leaves empty bytes out */
    *p++ = TAG_DATA;
    p = varint_write(p, data_length);
  }
  return (size_t)(p - out);
}

/* The first bytes of a message, walked from the front. */
struct cursor {
  const uint8_t *bytes;
  size_t position, have, total;
};

/*
 * A varint of at most 32 bits at the cursor. KVS_PENDING: it goes on beyond have. KVS_ERR_PROTOCOL: it goes
 * on beyond the message, or has more than 32 bits. Padded forms (85 00) are legal protobuf and are taken.
 */
static kvs_status read_varint32(struct cursor *cursor, uint32_t *value_p)
{
  uint64_t value = 0;

  for (size_t i = 0; i < SHORT_VARINT_BYTES; i++) {
    size_t at = cursor->position + i;
    if (at >= cursor->total)
      return KVS_ERR_PROTOCOL;
    if (at >= cursor->have)
      return KVS_PENDING;
    value |= (uint64_t)(cursor->bytes[at] & 0x7Fu) << (7 * i);
    if (!(cursor->bytes[at] & 0x80u)) {
      if (value > UINT32_MAX)
        return KVS_ERR_PROTOCOL;
      cursor->position = at + 1;
      *value_p = (uint32_t)value;
      return KVS_OK;
    }
  }
  return KVS_ERR_PROTOCOL;
}

/* The length of a length-delimited field, checked against what is left of the message and against max. */
static kvs_status read_length(struct cursor *cursor, size_t max, size_t *length_p)
{
  uint32_t length;
  kvs_status status = read_varint32(cursor, &length);

  if (status != KVS_OK)
    return status;
  if (length > cursor->total - cursor->position)
    return KVS_ERR_PROTOCOL;
  if (length > max)
    return KVS_ERR_TOO_LARGE;
  *length_p = length;
  return KVS_OK;
}

/* What a tag byte that is not the expected one means: another legal order, or no Frame at all. */
static kvs_status judge_tag(uint8_t tag)
{
  unsigned field = (tag & 0x7Fu) >> 3, wire = tag & 7u;

  if (wire == 3 || wire == 4 || wire > WIRE_FIXED32)
    return KVS_ERR_PROTOCOL;
  if (tag & 0x80u)
    return KVS_ERR_UNSUPPORTED; /* a field above 15, or a padded tag: normalize looks closer */
  if (field == 0 || ((field == FIELD_HEADER || field == FIELD_DATA) && wire != WIRE_LENGTH))
    return KVS_ERR_PROTOCOL;
  return KVS_ERR_UNSUPPORTED;
}

/* Reads "tag, length" at the cursor. */
static kvs_status read_field(struct cursor *cursor, uint8_t tag, size_t max, size_t *length_p)
{
  if (cursor->position >= cursor->have)
    return KVS_PENDING;
  if (cursor->bytes[cursor->position] != tag)
    return judge_tag(cursor->bytes[cursor->position]);
  cursor->position++;
  return read_length(cursor, max, length_p);
}

/* Enough to read a tag and the length of a field that begins at `start`; more than what was there, within
 * total. */
static size_t bytes_needed(const struct cursor *cursor, size_t start)
{
  size_t need = start + 1 + SHORT_VARINT_BYTES;

  return need < cursor->total ? need : cursor->total;
}

kvs_status kvi_frame_parse(const uint8_t *bytes, size_t have, size_t total, struct kvi_frame_shape *shape_p,
                           size_t *need_p)
{
  struct cursor cursor = {.bytes = bytes, .have = have < total ? have : total, .total = total};
  struct kvi_frame_shape shape = {.data_offset = total};
  size_t field_start = 0;
  kvs_status status;

  if (total == 0)
    goto ok; /* a Frame with nothing in it */
  status = read_field(&cursor, TAG_HEADER, KVI_FRAME_HEADER_MAX, &shape.header_length);
  if (status != KVS_OK)
    goto stop;
  shape.header_offset = cursor.position;
  cursor.position += shape.header_length;
  if (cursor.position == total)
    goto ok;

  field_start = cursor.position;
  status = read_field(&cursor, TAG_DATA, KVI_FRAME_BYTES_MAX, &shape.data_length);
  if (status != KVS_OK)
    goto stop;
  if (shape.data_length != total - cursor.position) /* something follows */
    return KVS_ERR_UNSUPPORTED;
  shape.data_offset = cursor.position;
ok:
  *shape_p = shape;
  return KVS_OK;
stop:
  if (status == KVS_PENDING)
    *need_p = bytes_needed(&cursor, field_start);
  return status;
}

/* Steps over a field that this version does not know. */
static kvs_status skip_field(struct cursor *cursor, uint32_t wire)
{
  size_t left = cursor->total - cursor->position;
  size_t length = 0;
  kvs_status status;

  switch (wire) {
  case WIRE_VARINT:
    while (length < left && length < LONG_VARINT_BYTES && (cursor->bytes[cursor->position + length] & 0x80u))
      length++;
    if (length == LONG_VARINT_BYTES)
      return KVS_ERR_PROTOCOL;
    length++;
    break;
  case WIRE_FIXED64:
    length = 8;
    break;
  case WIRE_FIXED32:
    length = 4;
    break;
  case WIRE_LENGTH:
    status = read_length(cursor, SIZE_MAX, &length);
    if (status != KVS_OK)
      return status;
    left = cursor->total - cursor->position;
    break;
  default: /* groups, which proto3 does not have */
    return KVS_ERR_PROTOCOL;
  }
  if (length > left)
    return KVS_ERR_PROTOCOL;
  cursor->position += length;
  return KVS_OK;
}

kvs_status kvi_frame_normalize(const uint8_t *bytes, size_t total, struct kvi_frame_shape *shape_p)
{
  struct cursor cursor = {.bytes = bytes, .have = total, .total = total};
  struct kvi_frame_shape shape = {.data_offset = total};
  int headers = 0;

  while (cursor.position < total) {
    uint32_t tag;
    kvs_status status = read_varint32(&cursor, &tag);
    if (status != KVS_OK)
      return status;

    uint32_t field = tag >> 3, wire = tag & 7u;
    bool ours = field == FIELD_HEADER || field == FIELD_DATA;
    if (field == 0 || (ours && wire != WIRE_LENGTH))
      return KVS_ERR_PROTOCOL;
    if (!ours) {
      status = skip_field(&cursor, wire);
      if (status != KVS_OK)
        return status;
      continue;
    }

    size_t length;
    status =
        read_length(&cursor, field == FIELD_HEADER ? KVI_FRAME_HEADER_MAX : KVI_FRAME_BYTES_MAX, &length);
    if (status != KVS_OK)
      return status;
    if (field == FIELD_DATA) {
      shape.data_offset = cursor.position;
      shape.data_length = length;
    } else {
      if (headers++ > 0)
        return KVS_ERR_PROTOCOL;
      shape.header_offset = cursor.position;
      shape.header_length = length;
    }
    cursor.position += length;
  }
  *shape_p = shape;
  return KVS_OK;
}
