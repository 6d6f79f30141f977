/* Unpacking a frame's header, and everything that can be checked without knowing the stream it came on. */
#include "proto/frame.h"

#include <stdbool.h>

#include <kvasir/keys.h>

#include "proto/chunk.h"
#include "proto/limits.h"

static kvs_status check_keys(const Kvasir__V1__Keys *keys, size_t *n_keys_p)
{
  if (!keys)
    return KVS_ERR_PROTOCOL;
  if (keys->key_length < KVS_KEY_MIN || keys->key_length > KVS_KEY_MAX || keys->keys.len % keys->key_length)
    return KVS_ERR_KEY_LENGTH;
  if ((keys->parent.len && keys->parent.len != keys->key_length) ||
      (keys->extent_first.len && keys->extent_first.len != keys->key_length))
    return KVS_ERR_KEY_LENGTH;

  size_t n_keys = keys->keys.len / keys->key_length;
  if (n_keys == 0)
    return KVS_ERR_PROTOCOL;
  if (n_keys > KVI_BATCH_CHUNKS_MAX)
    return KVS_ERR_TOO_LARGE;
  if (n_keys - 1 > UINT32_MAX - keys->first_place)
    return KVS_ERR_PROTOCOL;
  *n_keys_p = n_keys;
  return KVS_OK;
}

/* A put's segments: as many as segment_counts says, none empty, each chunk's sum is its length. */
static kvs_status check_put_segments(const Kvasir__V1__TransferStart *start, size_t n_chunks)
{
  size_t next = 0;

  if (start->n_segment_counts != n_chunks)
    return KVS_ERR_PROTOCOL;
  for (size_t chunk = 0; chunk < n_chunks; chunk++) {
    uint32_t count = start->segment_counts[chunk];
    uint64_t sum = 0;

    if (count > KVI_SEGMENTS_MAX)
      return KVS_ERR_TOO_LARGE;
    if (count == 0 || count > start->n_segment_lengths - next)
      return KVS_ERR_PROTOCOL;
    for (size_t end = next + count; next < end; next++) {
      if (start->segment_lengths[next] == 0)
        return KVS_ERR_PROTOCOL;
      sum += start->segment_lengths[next];
    }
    if (sum != start->lengths[chunk])
      return KVS_ERR_PROTOCOL;
  }
  return next == start->n_segment_lengths ? KVS_OK : KVS_ERR_PROTOCOL;
}

static bool is_known_quality(uint32_t quality)
{
  return quality <= UINT16_MAX && kvi_quality_coding((uint16_t)quality) <= KVI_CODING_KVC1;
}

/* What a put says of its chunks, or what a get takes. Bits of codings that nobody knows yet are no harm: they are not used. */
static kvs_status check_quality(const Kvasir__V1__TransferStart *start, size_t n_chunks)
{
  if (!start->put)
    return start->n_qualities || start->loss_max > KVI_LOSS_MAX || start->loss_enough > KVI_LOSS_MAX
               ? KVS_ERR_PROTOCOL
               : KVS_OK;
  if (start->codings || start->loss_max || start->loss_enough || start->bytes_enough ||
      (start->n_qualities && start->n_qualities != n_chunks))
    return KVS_ERR_PROTOCOL;
  for (size_t i = 0; i < start->n_qualities; i++)
    if (!is_known_quality(start->qualities[i]))
      return KVS_ERR_PROTOCOL;
  return KVS_OK;
}

static kvs_status check_start(const Kvasir__V1__TransferStart *start)
{
  size_t n_chunks;
  kvs_status status = check_keys(start->keys, &n_chunks);

  if (status != KVS_OK)
    return status;
  if (start->space.len != KVS_DIGEST_SIZE || start->n_lengths != n_chunks)
    return KVS_ERR_PROTOCOL;
  if (start->timeout_ms > KVI_TIMEOUT_MS_MAX)
    return KVS_ERR_TOO_LARGE;
  for (size_t i = 0; i < n_chunks; i++)
    if (start->lengths[i] > KVI_CHUNK_BYTES_MAX)
      return KVS_ERR_TOO_LARGE;
  status = check_quality(start, n_chunks);
  if (status != KVS_OK)
    return status;
  if (start->put)
    return check_put_segments(start, n_chunks);
  return start->n_segment_counts || start->n_segment_lengths ? KVS_ERR_PROTOCOL : KVS_OK;
}

/* What only a chunk's first piece tells: its quality, and its length if it is coded. */
static kvs_status check_first_of_chunk(const Kvasir__V1__Piece *piece)
{
  if (piece->chunk_length > KVI_CHUNK_BYTES_MAX)
    return KVS_ERR_TOO_LARGE;
  if (piece->segments == 0 && (piece->quality || piece->chunk_length))
    return KVS_ERR_PROTOCOL;
  if (piece->quality > UINT16_MAX)
    return KVS_ERR_PROTOCOL;
  if (kvi_quality_coding((uint16_t)piece->quality) != KVI_CODING_NONE && piece->chunk_length == 0)
    return KVS_ERR_PROTOCOL;
  if (piece->chunk_length && ((uint64_t)piece->offset + piece->length > piece->chunk_length ||
                              piece->segment_length > piece->chunk_length))
    return KVS_ERR_PROTOCOL;
  return KVS_OK;
}

static kvs_status check_piece(const Kvasir__V1__Piece *piece)
{
  uint64_t end = (uint64_t)piece->offset + piece->length;

  if (piece->length == 0 || piece->first != (piece->offset == 0))
    return KVS_ERR_PROTOCOL;
  if (piece->chunk >= KVI_BATCH_CHUNKS_MAX || piece->segment >= KVI_SEGMENTS_MAX ||
      piece->segments > KVI_SEGMENTS_MAX || end > KVI_CHUNK_BYTES_MAX ||
      piece->segment_length > KVI_CHUNK_BYTES_MAX)
    return KVS_ERR_TOO_LARGE;
  if (piece->segments && piece->segment >= piece->segments)
    return KVS_ERR_PROTOCOL;
  /* Where the segment's length is told, the piece ends there if it is the last one and before if it is not.
   */
  if (piece->segment_length && (piece->last ? end != piece->segment_length : end >= piece->segment_length))
    return KVS_ERR_PROTOCOL;
  return check_first_of_chunk(piece);
}

static kvs_status check_header(const Kvasir__V1__FrameHeader *header, uint64_t data_length)
{
  kvs_status status;
  uint64_t sum = 0;

  if (header->n_pieces > KVI_FRAME_PIECES_MAX)
    return KVS_ERR_TOO_LARGE;
  for (size_t i = 0; i < header->n_pieces; i++) {
    status = check_piece(header->pieces[i]);
    if (status != KVS_OK)
      return status;
    sum += header->pieces[i]->length;
  }
  if (sum != data_length)
    return KVS_ERR_PROTOCOL;
  for (size_t i = 0; i < header->n_starts; i++) {
    status = check_start(header->starts[i]);
    if (status != KVS_OK)
      return status;
  }
  for (size_t i = 0; i < header->n_ends; i++)
    if (header->ends[i]->chunk >= KVI_BATCH_CHUNKS_MAX)
      return KVS_ERR_TOO_LARGE;
  return KVS_OK;
}

kvs_status kvi_frame_unpack(struct kvi_frame_arena *arena, const uint8_t *header, size_t header_length,
                            uint64_t data_length, Kvasir__V1__FrameHeader **header_p)
{
  *header_p = NULL;
  if (header_length > KVI_FRAME_HEADER_MAX || data_length > KVI_FRAME_BYTES_MAX)
    return KVS_ERR_TOO_LARGE;

  Kvasir__V1__FrameHeader *unpacked =
      kvasir__v1__frame_header__unpack(&arena->allocator, header_length, header);
  if (!unpacked)
    return arena->failure != KVS_OK ? arena->failure : KVS_ERR_PROTOCOL;
  kvs_status status = check_header(unpacked, data_length);
  if (status != KVS_OK)
    return status;
  *header_p = unpacked;
  return KVS_OK;
}
