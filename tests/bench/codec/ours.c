/* The levels of tiers/codec, through its public header. An object is cut before it is decoded, so that its length is what a tier would keep. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/method.h"
#include "tests/bench/codec/shape.h"

#define ALIGNMENT 64u

struct codec_room codec_room_of(const struct codec_set *set, const struct kvi_codec_options *options)
{
  struct codec_room room = {.options = *options};

  room.shape.dtype = KVI_CODEC_BF16;
  room.shape.n_layers = set->n_layers;
  room.shape.n_tokens = set->n_tokens;
  room.shape.n_heads = set->n_heads;
  room.shape.key_dim = set->dim;
  room.shape.value_dim = set->dim;
  room.shape.raw_bytes = codec_set_chunk(set) * sizeof *set->kv;
  room.object_bytes = kvi_codec_bound(&room.shape, options);
  room.scratch_bytes = kvi_codec_encode_scratch(&room.shape, options);
  return room;
}

void *codec_aligned(size_t bytes)
{
  return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT);
}

kvs_status codec_cut_length(const uint8_t *object, size_t length, uint32_t quality, size_t *length_p)
{
  struct kvi_codec_object opened;
  kvs_status status = kvi_codec_open(object, length, &opened);

  *length_p = length;
  if (status == KVS_OK && quality < opened.planes)
    *length_p = opened.quality_end[quality];
  return status;
}

kvs_status codec_ours(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                      uint16_t *decoded, struct codec_size *size_p)
{
  struct kvi_codec_options options = {.level = (enum kvi_codec_level)method->a, .planes = method->b};
  struct codec_room room;
  uint8_t *object, *scratch;
  size_t length = 0, kept = 0;
  uint32_t quality = 0;
  kvs_status status;

  if (options.level == KVI_CODEC_ZSTD)
    options.zstd_level = (int)method->d;
  else
    options.step = method->d;
  room = codec_room_of(set, &options);
  object = codec_aligned(room.object_bytes);
  scratch = codec_aligned(room.scratch_bytes);
  status = object != NULL && scratch != NULL ? KVS_OK : KVS_ERR_NOMEM;
  if (status == KVS_OK)
    status = kvi_codec_encode(&room.shape, &options, codec_set_raw(set, chunk), scratch, object,
                              room.object_bytes, &length);
  if (status == KVS_OK)
    status = codec_cut_length(object, length, method->c, &kept);
  if (status == KVS_OK)
    status = kvi_codec_decode(object, kept, method->c, decoded, room.shape.raw_bytes, &quality);
  free(object);
  free(scratch);
  size_p->bits = 8.0 * (double)kept;
  size_p->payload = 0;
  return status;
}
