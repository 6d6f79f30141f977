/* Reads the outer parts of blocks: what they are made of, not what they decode to. */
#include "tiers/codec/inspect.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "tiers/codec/ladder_private.h"

_Static_assert(KVI_CLASSES_LOSSLESS_COUNT <= KVI_CODEC_CLASSES_MAX &&
                   KVI_CLASSES_LADDER_COUNT <= KVI_CODEC_CLASSES_MAX,
               "a class is told as what it is");

bool kvi_codec_segment_sound(const struct kvi_codec_object *object, uint32_t quality, uint32_t layer,
                             const uint8_t *bytes)
{
  struct kvi_codec_segment segment = kvi_codec_segment_at(object, quality, layer);

  return kvi_crc32c_update(0, bytes, segment.length) == segment.crc32c;
}

kvs_status kvi_codec_inspect_begin(const struct kvi_codec_object *object, uint32_t layer, const uint8_t *base,
                                   size_t length, struct kvi_codec_inspection *inspection_p)
{
  memset(inspection_p, 0, sizeof *inspection_p);
  if (layer >= object->shape.n_layers || length != kvi_codec_segment_at(object, 0, layer).length)
    return KVS_ERR_INVALID;
  if (object->level != KVI_CODEC_LOSSLESS && object->level != KVI_CODEC_LADDER)
    return KVS_ERR_UNSUPPORTED;
  kvi_block_walk_begin(&inspection_p->walk, &object->shape, layer);
  inspection_p->level = object->level;
  inspection_p->at = base;
  inspection_p->left = length;
  return KVS_OK;
}

/* What is left of a block while its parts are taken from the front. */
struct rest {
  const uint8_t *at;
  size_t left;
};

/* Takes bytes that belong to one part. False: they are not there. */
static bool take(struct rest *rest, size_t bytes, uint32_t *part)
{
  if (bytes > rest->left)
    return false;
  rest->at += bytes;
  rest->left -= bytes;
  *part += (uint32_t)bytes;
  return true;
}

static bool take_coded(struct rest *rest, struct kvi_codec_block_parts *parts)
{
  uint32_t words, escapes;

  if (!take(rest, KVI_RANS_HEAD, &parts->states))
    return false;
  words = kvi_load_le32(rest->at - 8);
  escapes = kvi_load_le32(rest->at - 4);
  return take(rest, (size_t)words * 2, &parts->words) && take(rest, escapes, &parts->escapes);
}

static bool inspect_lossless(struct rest *rest, struct kvi_codec_block_info *info)
{
  size_t channel_bytes = 2 * (size_t)info->block.columns;
  const uint8_t *channels;

  if (!take(rest, 4 + channel_bytes, &info->parts.head))
    return false;
  channels = rest->at - channel_bytes;
  for (uint32_t column = 0; column < info->block.columns; column++)
    info->classes[column] = channels[2 * (size_t)column] & (KVI_CLASSES_LOSSLESS_COUNT - 1);
  return take_coded(rest, &info->parts) && take(rest, rest->left, &info->parts.verbatim);
}

/* The entries of rows kept apart, as many as the header says. */
static bool take_kept(struct rest *rest, uint32_t kept, struct kvi_codec_block_info *info)
{
  for (uint32_t i = 0; i < kept; i++) {
    uint16_t kind;

    if (rest->left < 4)
      return false;
    kind = kvi_load_le16(rest->at + 2);
    if (kind > KVI_KEPT_RAW || !take(rest, kvi_ladder_kept_bytes(&info->block, kind), &info->parts.kept))
      return false;
    *(kind == KVI_KEPT_FINE ? &info->kept_fine : &info->kept_raw) += 1;
  }
  return true;
}

static bool inspect_ladder(struct rest *rest, uint32_t kept, struct kvi_codec_block_info *info)
{
  const struct kvi_block *block = &info->block;
  struct kvi_ladder_channel channels[KVI_BLOCK_COLUMNS];
  size_t channel_bytes, deep = 0;

  if (kept > block->rows || !take(rest, (size_t)kvi_block_units(block) * 2, &info->parts.head))
    return false;
  channel_bytes = kvi_ladder_channels(rest->at, rest->left, block->columns, channels);
  if (channel_bytes == 0 || !take(rest, channel_bytes, &info->parts.head))
    return false;
  for (uint32_t column = 0; column < block->columns; column++) {
    info->classes[column] = channels[column].class_id;
    info->shares[column] = channels[column].share;
    info->depths[column] = channels[column].depth;
    deep += info->depths[column];
  }
  info->plane_bytes = (uint32_t)kvi_ladder_plane_bytes(block, block->rows - kept);
  return take_kept(rest, kept, info) &&
         take(rest, deep * ((block->rows - kept + 4) / 5), &info->parts.deep) &&
         take_coded(rest, &info->parts) && rest->left == 0;
}

static bool inspect_block(enum kvi_codec_level level, struct rest rest, uint32_t kept,
                          struct kvi_codec_block_info *info)
{
  switch (info->mode) {
  case KVI_BLOCK_RAW:
    return kept == 0 && rest.left == kvi_block_raw_bytes(&info->block) &&
           take(&rest, rest.left, &info->parts.verbatim);
  case KVI_BLOCK_LOSSLESS:
    return kept == 0 && inspect_lossless(&rest, info);
  case KVI_BLOCK_LADDER:
    return level == KVI_CODEC_LADDER && inspect_ladder(&rest, kept, info);
  }
  return false;
}

kvs_status kvi_codec_inspect_next(struct kvi_codec_inspection *inspection,
                                  struct kvi_codec_block_info *info_p)
{
  const uint8_t *at = inspection->at;
  struct rest rest;
  uint32_t length;

  memset(info_p, 0, sizeof *info_p);
  if (!kvi_block_next(&inspection->walk, &info_p->block))
    return inspection->left == 0 ? KVS_MISS : KVS_ERR_CORRUPT;
  if (inspection->left < KVI_BLOCK_HEADER)
    return KVS_ERR_CORRUPT;
  length = kvi_load_le32(at + 4);
  if (length < KVI_BLOCK_HEADER || length > inspection->left || at[0] > KVI_BLOCK_LADDER || at[1] != 0)
    return KVS_ERR_CORRUPT;
  info_p->mode = at[0];
  info_p->base_bytes = length;
  info_p->parts.head = KVI_BLOCK_HEADER;
  rest = (struct rest){at + KVI_BLOCK_HEADER, length - KVI_BLOCK_HEADER};
  if (!inspect_block(inspection->level, rest, kvi_load_le16(at + 2), info_p))
    return KVS_ERR_CORRUPT;
  inspection->at += length;
  inspection->left -= length;
  return KVS_OK;
}
