/* client/decode_layer.c: one layer of a coded chunk, from its staging buffer to the caller's places. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "client/decode.h"

/* ---- the caller's places ---- */

/* The rest of the entry that the cursor stands in, an entry that is not used up; length 0 at the end. */
static struct kvi_iov run_at(struct decode_cursor *cursor)
{
  const struct kvi_iov *iov;

  while (cursor->index < cursor->n_iov && cursor->offset == cursor->iov[cursor->index].length) {
    cursor->index++;
    cursor->offset = 0;
  }
  if (cursor->index == cursor->n_iov)
    return (struct kvi_iov){0};
  iov = &cursor->iov[cursor->index];
  return (struct kvi_iov){iov->base == NULL ? NULL : (uint8_t *)iov->base + cursor->offset,
                          iov->length - cursor->offset};
}

/* Over length bytes: copies them from `from`, if it is not NULL. */
static void go_on(struct decode_cursor *cursor, const uint8_t *from, uint64_t length)
{
  while (length > 0) {
    struct kvi_iov run = run_at(cursor);
    size_t n = run.length < length ? run.length : (size_t)length;

    if (n == 0)
      return;
    if (from != NULL && run.base != NULL)
      memcpy(run.base, from, n);
    from = from == NULL ? NULL : from + n;
    cursor->offset += n;
    length -= n;
  }
}

static bool is_hole(struct decode_cursor at, uint64_t length)
{
  while (length > 0) {
    struct kvi_iov run = run_at(&at);
    size_t n = run.length < length ? run.length : (size_t)length;

    if (n == 0 || run.base != NULL)
      return false;
    at.offset += n;
    length -= n;
  }
  return true;
}

static uint64_t iov_length(const struct decode_cursor *cursor)
{
  uint64_t sum = 0;

  for (uint32_t i = 0; i < cursor->n_iov; i++)
    sum += cursor->iov[i].length; /* kvsc_get has seen that this does not overflow */
  return sum;
}

/* ---- checksums of what was put ---- */

/* Takes the next decoded bytes; NULL: bytes that nobody has seen. False: a segment does not fit its checksum. */
static bool take_bytes(struct decode *decode, const uint8_t *bytes, uint64_t length)
{
  while (length > 0 && decode->segment < decode->coded.raw.n_segments) {
    struct kvi_segment segment = kvi_chunk_table_segment(&decode->coded.raw, decode->segment);
    uint64_t n = segment.length - decode->segment_at;

    if (n > length)
      n = length;
    if (bytes == NULL) {
      decode->segment_seen = false;
    } else {
      if (decode->compares && decode->segment_seen)
        decode->crc = kvi_crc32c_update(decode->crc, bytes, (size_t)n);
      bytes += n;
    }
    decode->raw += n;
    decode->segment_at += (uint32_t)n;
    length -= n;
    if (decode->segment_at < segment.length)
      break;
    if (decode->compares && decode->segment_seen && decode->crc != segment.crc32c)
      return false;
    decode->segment++;
    decode->segment_at = decode->crc = 0;
    decode->segment_seen = true;
  }
  return true;
}

/* ---- steps ---- */

/* Its table tells the loss, and whoever put it may have written anything there. */
static bool lost_more(const struct decode *decode)
{
  const struct kvi_coded *coded = &decode->coded;

  return kvi_coded_loss(coded->object.level, coded->planes) > decode->loss ||
         kvi_quality_loss(coded->raw.quality) > decode->loss;
}

static kvs_status open_object(struct decode *decode)
{
  kvs_status status = kvi_coded_open(decode->bytes, decode->head, decode->length, &decode->coded);

  if (status != KVS_OK)
    return status;
  if (lost_more(decode))
    return KVS_ERR_CORRUPT;
  if (decode->coded.raw.length > iov_length(&decode->cursor))
    return KVS_ERR_BUFFER;
  if (decode->exact != 0 && decode->coded.raw.length != decode->exact)
    return KVS_ERR_SPACE_MISMATCH;
  decode->opened = decode->segment_seen = true;
  return KVS_OK;
}

/* Where a layer can be decoded to without a detour: its bytes are in one piece, or its keys are and its values are. */
static bool find_place(const struct decode *decode, uint64_t keys, uint64_t length,
                       struct kvi_codec_place *place_p)
{
  struct decode_cursor at = decode->cursor;
  struct kvi_iov run = run_at(&at);

  if (run.base == NULL)
    return false;
  *place_p = kvi_codec_place_in(&decode->coded.object.shape, decode->layer, run.base);
  if (run.length >= length)
    return true;
  if (decode->coded.object.shape.dtype == KVI_CODEC_BYTES || run.length < keys || keys == 0)
    return false;
  at.offset += (size_t)keys;
  run = run_at(&at);
  place_p->values = run.base;
  return run.base != NULL && run.length >= length - keys;
}

static kvs_status decode_in_place(struct decode *decode, uint64_t keys, uint64_t length,
                                  const struct kvi_codec_place *place)
{
  kvs_status status = kvi_coded_layer_to(&decode->coded, decode->layer, decode->bytes, place);

  if (status != KVS_OK)
    return status;
  go_on(&decode->cursor, NULL, length);
  if (keys == length) /* nothing behind them, or bytes of no known shape */
    return take_bytes(decode, place->keys, length) ? KVS_OK : KVS_ERR_CORRUPT;
  return take_bytes(decode, place->keys, keys) && take_bytes(decode, place->values, length - keys)
             ? KVS_OK
             : KVS_ERR_CORRUPT;
}

/* Any layer, to the start of scratch. */
static kvs_status decode_to_scratch(const struct decode *decode, uint32_t layer,
                                    struct decode_scratch *scratch)
{
  uint64_t length = kvi_codec_layer_bytes(&decode->coded.object.shape, layer);

  if (scratch->room < length) {
    free(scratch->bytes);
    scratch->bytes = malloc((size_t)length);
    scratch->room = scratch->bytes == NULL ? 0 : (size_t)length;
    if (scratch->bytes == NULL)
      return KVS_ERR_NOMEM;
  }
  return kvi_coded_layer(&decode->coded, layer, decode->bytes, scratch->bytes);
}

static kvs_status decode_by_scratch(struct decode *decode, uint64_t length, struct decode_scratch *scratch)
{
  kvs_status status = decode_to_scratch(decode, decode->layer, scratch);

  if (status != KVS_OK)
    return status;
  if (!take_bytes(decode, scratch->bytes, length))
    return KVS_ERR_CORRUPT;
  go_on(&decode->cursor, scratch->bytes, length);
  return KVS_OK;
}

/*
 * A layer that does not fit was read back from the caller's places, or layers before it in its segment were, and others may write there. Decoded once more to memory
 * of ours it tells whether the chunk is wrong (KVS_ERR_CORRUPT) or only what became of it there (KVS_ERR_CHECKSUM).
 */
static kvs_status judge(const struct decode *decode, struct decode_scratch *scratch)
{
  struct kvi_segment segment = {0};
  uint64_t begin = decode->raw, at = 0;
  uint32_t crc = 0;

  if (decode->segment < decode->coded.raw.n_segments)
    segment = kvi_chunk_table_segment(&decode->coded.raw, decode->segment);
  if (segment.length > 0 && decode->segment_at == segment.length) /* else it is the object's own checksum */
    begin -= segment.length;
  for (uint32_t layer = 0; layer <= decode->layer; layer++) {
    uint64_t length = kvi_codec_layer_bytes(&decode->coded.object.shape, layer);
    uint64_t from = begin > at ? begin - at : 0;
    uint64_t to = decode->raw < at + length ? decode->raw - at : length;
    kvs_status status;

    at += length;
    if (at <= begin)
      continue;
    status = decode_to_scratch(decode, layer, scratch);
    if (status != KVS_OK)
      return status;
    if (from < to)
      crc = kvi_crc32c_update(crc, scratch->bytes + from, (size_t)(to - from));
  }
  return begin < decode->raw && crc != segment.crc32c ? KVS_ERR_CORRUPT : KVS_ERR_CHECKSUM;
}

static kvs_status decode_layer(struct decode *decode, struct decode_scratch *scratch)
{
  const struct kvi_codec_shape *shape = &decode->coded.object.shape;
  uint64_t length = kvi_codec_layer_bytes(shape, decode->layer);
  uint64_t keys = shape->dtype == KVI_CODEC_BYTES ? length : kvi_codec_layer_key_bytes(shape, decode->layer);
  struct kvi_codec_place place;
  kvs_status status;

  if (is_hole(decode->cursor, length)) { /* a layer without tokens too */
    go_on(&decode->cursor, NULL, length);
    status = take_bytes(decode, NULL, length) ? KVS_OK : KVS_ERR_CORRUPT;
  } else if (find_place(decode, keys, length, &place)) {
    status = decode_in_place(decode, keys, length, &place);
  } else {
    status = decode_by_scratch(decode, length, scratch);
  }
  if (status == KVS_ERR_CORRUPT)
    status = judge(decode, scratch);
  decode->layer++;
  return status;
}

kvs_status kvi_decode_step(struct decode *decode, uint64_t *need_p, struct decode_scratch *scratch)
{
  kvs_status status = decode->opened ? decode_layer(decode, scratch) : open_object(decode);

  if (status != KVS_OK || kvi_decode_is_done(decode))
    return status;
  *need_p = kvi_coded_layer_end(&decode->coded, decode->layer);
  return KVS_OK;
}
