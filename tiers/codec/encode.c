/* Encoding an object: layer by layer, block by block; planes wait in scratch memory until the base is whole. */
#include <fenv.h>
#include <string.h>

#include "base/bytes.h"
#include "tiers/codec/block.h"
#include "tiers/codec/container.h"
#include "tiers/codec/ladder.h"
#include "tiers/codec/layer_coder.h"
#include "tiers/codec/lossless.h"
#include "tiers/codec/path.h"
#include "tiers/codec/profile.h"

#define DEFAULT_STEP 800u

struct encoding {
  const struct kvi_codec_shape *shape;
  const struct kvi_codec_options *options;
  const struct kvi_codec_layer_coder *coder; /* of levels that code a layer by themselves */
  uint8_t *coder_scratch;                    /* for one block */
  uint8_t *block_out; /* a coded block where out has no room for its bound; NULL: not coded in blocks */
  uint8_t *planes[KVI_CODEC_PLANES_MAX]; /* of all layers so far */
  size_t plane_length[KVI_CODEC_PLANES_MAX];
  uint32_t layer;
  bool weighs_heads; /* ladder, without a profile: the layer's keys have steps by these factors */
  float factors[KVI_CODEC_HEADS_MAX];
};

static const struct kvi_codec_layer_coder *layer_coder(enum kvi_codec_level level)
{
  return level == KVI_CODEC_CACHEGEN ? &kvi_codec_cachegen : level == KVI_CODEC_ZSTD ? &kvi_codec_zstd : NULL;
}

static uint32_t planes_of(const struct kvi_codec_options *options)
{
  return options->level == KVI_CODEC_LADDER ? options->planes : 0;
}

static bool options_ok(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options)
{
  if (options->level > KVI_CODEC_ZSTD || options->planes > KVI_CODEC_PLANES_MAX)
    return false;
  if (options->step != 0 && (options->step < KVI_CODEC_STEP_MIN || options->step > KVI_CODEC_STEP_MAX))
    return false;
  if (options->zstd_level < 0 || options->zstd_level > 19)
    return false;
  if (options->profile != NULL && options->level == KVI_CODEC_LADDER &&
      !kvi_codec_profile_fits(options->profile, shape, options->model_fingerprint))
    return false;
  return shape->dtype != KVI_CODEC_BYTES || options->level == KVI_CODEC_RAW ||
         options->level == KVI_CODEC_ZSTD;
}

static size_t align(size_t size)
{
  return (size + 63) / 64 * 64;
}

/* Of the widest block that a shape can have. */
static struct kvi_block widest_block(const struct kvi_codec_shape *shape)
{
  return (struct kvi_block){.dtype = shape->dtype,
                            .rows = shape->n_tokens,
                            .columns = KVI_BLOCK_COLUMNS,
                            .unit_columns = KVI_BLOCK_COLUMNS};
}

static size_t block_scratch(const struct kvi_codec_shape *shape)
{
  size_t ladder = kvi_ladder_scratch(shape->n_tokens), lossless = kvi_lossless_scratch(shape->n_tokens);

  return align(ladder > lossless ? ladder : lossless);
}

static size_t block_bound(const struct kvi_codec_shape *shape)
{
  struct kvi_block block = widest_block(shape);
  size_t ladder = kvi_ladder_bound(&block), lossless = kvi_lossless_bound(&block);

  return align(ladder > lossless ? ladder : lossless);
}

static size_t plane_bound(const struct kvi_codec_shape *shape)
{
  size_t columns = (size_t)shape->n_heads * (shape->key_dim + shape->value_dim);

  return align((size_t)(shape->n_tokens + 4) / 5 * columns * shape->n_layers);
}

size_t kvi_codec_encode_scratch(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options)
{
  const struct kvi_codec_layer_coder *coder = layer_coder(options->level);

  if (coder != NULL)
    return coder->scratch(shape, options);
  if (options->level == KVI_CODEC_RAW)
    return 0;
  return block_scratch(shape) + block_bound(shape) + planes_of(options) * plane_bound(shape);
}

static uint64_t blocks_bound(const struct kvi_codec_shape *shape, uint32_t layer)
{
  uint64_t bound = kvi_codec_layer_bytes(shape, layer);
  struct kvi_block_walk walk;
  struct kvi_block block;

  kvi_block_walk_begin(&walk, shape, layer);
  while (kvi_block_next(&walk, &block))
    bound += KVI_BLOCK_HEADER;
  return bound;
}

uint64_t kvi_codec_bound(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options)
{
  const struct kvi_codec_layer_coder *coder = layer_coder(options->level);
  uint64_t bound = kvi_container_header_length(shape, planes_of(options));

  for (uint32_t layer = 0; layer < shape->n_layers; layer++)
    bound += coder != NULL                     ? coder->bound(shape, layer)
             : options->level == KVI_CODEC_RAW ? kvi_codec_layer_bytes(shape, layer)
                                               : blocks_bound(shape, layer);
  return bound;
}

/* The header of a block whose bytes are at coded: behind the header already, or to be copied there. Returns the block's end. */
static uint8_t *put_block(uint8_t *out, enum kvi_block_mode mode, uint32_t kept, const uint8_t *coded,
                          size_t length)
{
  out[0] = (uint8_t)mode;
  out[1] = 0;
  kvi_store_le16(out + 2, (uint16_t)kept);
  kvi_store_le32(out + 4, (uint32_t)(KVI_BLOCK_HEADER + length));
  if (coded != out + KVI_BLOCK_HEADER)
    memcpy(out + KVI_BLOCK_HEADER, coded, length);
  return out + KVI_BLOCK_HEADER + length;
}

static uint8_t *put_raw_block(uint8_t *out, const struct kvi_block *block, const uint8_t *raw, size_t stride)
{
  size_t row_bytes = block->columns * kvi_codec_element_size(block->dtype);

  for (uint32_t row = 0; row < block->rows; row++)
    memcpy(out + KVI_BLOCK_HEADER + row * row_bytes, raw + row * stride, row_bytes);
  return put_block(out, KVI_BLOCK_RAW, 0, out + KVI_BLOCK_HEADER, block->rows * row_bytes);
}

/* What the profile says of a block's units. A head that is cut into parts has one factor for all of them. */
static void profile_factors(const struct encoding *encoding, const struct kvi_block *block, float *factors)
{
  uint32_t dim = block->is_value ? encoding->shape->value_dim : encoding->shape->key_dim;
  uint32_t head = block->first_column / dim;

  for (uint32_t unit = 0; unit < kvi_block_units(block); unit++)
    factors[unit] = (float)kvi_codec_profile_factor(encoding->options->profile, encoding->layer,
                                                    block->is_value, head + unit) /
                    (float)KVI_PROFILE_ONE;
}

/* A ladder block, coded at `coded`, if that is smaller than the elements. NULL: it is not, or cannot be. */
static uint8_t *put_ladder_block(struct encoding *encoding, const struct kvi_block *block, const uint8_t *raw,
                                 size_t stride, uint8_t *out, uint8_t *coded)
{
  uint32_t n_planes = encoding->options->planes, kept, step = encoding->options->step;
  const float *factors = encoding->weighs_heads && !block->is_value
                             ? encoding->factors + block->first_column / block->unit_columns
                             : NULL;
  float of_profile[KVI_BLOCK_UNITS];
  uint8_t *planes[KVI_CODEC_PLANES_MAX];
  size_t length, plane_bytes;

  if (encoding->options->profile != NULL) {
    profile_factors(encoding, block, of_profile);
    factors = of_profile;
  }
  for (uint32_t plane = 0; plane < n_planes; plane++)
    planes[plane] = encoding->planes[plane] + encoding->plane_length[plane];
  length = kvi_ladder_encode(block, n_planes, step != 0 ? step : DEFAULT_STEP, factors, raw, stride,
                             encoding->coder_scratch, coded, planes, &kept);
  if (length == 0)
    return NULL;
  plane_bytes = kvi_ladder_plane_bytes(block, block->rows - kept);
  if (length + n_planes * plane_bytes >= kvi_block_raw_bytes(block))
    return NULL;
  for (uint32_t plane = 0; plane < n_planes; plane++)
    encoding->plane_length[plane] += plane_bytes;
  return put_block(out, KVI_BLOCK_LADDER, kept, coded, length);
}

/* room: what there is behind out. The last blocks of an object may need more before they are known to be smaller than raw ones. */
static uint8_t *encode_block(struct encoding *encoding, const struct kvi_block *block, const uint8_t *raw,
                             size_t stride, uint8_t *out, size_t room)
{
  uint8_t *coded =
      room >= KVI_BLOCK_HEADER + block_bound(encoding->shape) ? out + KVI_BLOCK_HEADER : encoding->block_out;
  size_t length;

  if (encoding->options->level == KVI_CODEC_LADDER) {
    uint8_t *end = put_ladder_block(encoding, block, raw, stride, out, coded);

    if (end != NULL)
      return end;
  }
  length = kvi_lossless_encode(block, raw, stride, encoding->coder_scratch, coded);
  if (length >= kvi_block_raw_bytes(block))
    return put_raw_block(out, block, raw, stride);
  return put_block(out, KVI_BLOCK_LOSSLESS, 0, coded, length);
}

static size_t encode_blocks(struct encoding *encoding, uint32_t layer, const uint8_t *raw, uint8_t *out,
                            size_t room)
{
  struct kvi_block_walk walk;
  struct kvi_block block;
  uint8_t *at = out;

  encoding->layer = layer;
  encoding->weighs_heads = encoding->options->level == KVI_CODEC_LADDER &&
                           encoding->options->profile == NULL &&
                           kvi_ladder_weigh_heads(encoding->shape, layer, raw, encoding->factors);
  kvi_block_walk_begin(&walk, encoding->shape, layer);
  while (kvi_block_next(&walk, &block)) {
    size_t stride;
    const uint8_t *block_raw = kvi_block_raw(encoding->shape, &block, raw, &stride);

    at = encode_block(encoding, &block, block_raw, stride, at, room - (size_t)(at - out));
  }
  return (size_t)(at - out);
}

static kvs_status encode_layer(struct encoding *encoding, uint32_t layer, const uint8_t *raw, uint8_t *out,
                               size_t room, size_t *length_p)
{
  if (encoding->coder != NULL)
    return encoding->coder->encode(encoding->shape, encoding->options, layer, raw, encoding->coder_scratch,
                                   out, room, length_p);
  if (encoding->block_out != NULL) {
    *length_p = encode_blocks(encoding, layer, raw, out, room);
  } else {
    *length_p = (size_t)kvi_codec_layer_bytes(encoding->shape, layer);
    memcpy(out, raw, *length_p);
  }
  return KVS_OK;
}

/* One layer's segments: the base goes to out, what its planes have got longer is told in lengths. */
static void note_planes(const struct encoding *encoding, uint8_t *header, uint32_t layer,
                        const size_t *before)
{
  for (uint32_t plane = 0; plane < planes_of(encoding->options); plane++)
    kvi_container_set_segment(header, encoding->shape, plane + 1, layer,
                              encoding->planes[plane] + before[plane],
                              (uint32_t)(encoding->plane_length[plane] - before[plane]));
}

/* The bases of all layers to at, and their entries and the planes' to the header out. */
static kvs_status encode_layers(struct encoding *encoding, const uint8_t *raw, uint8_t *out, size_t room,
                                uint8_t **at_p)
{
  const struct kvi_codec_shape *shape = encoding->shape;

  for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
    size_t before[KVI_CODEC_PLANES_MAX], length = 0;
    kvs_status status;

    memcpy(before, encoding->plane_length, sizeof before);
    status = encode_layer(encoding, layer, raw, *at_p, room - (size_t)(*at_p - out), &length);
    if (status != KVS_OK)
      return status;
    if (encoding->options->stop != NULL && encoding->options->stop(encoding->options->stop_ctx))
      return KVS_ERR_CANCELED;
    kvi_container_set_segment(out, shape, 0, layer, *at_p, (uint32_t)length);
    note_planes(encoding, out, layer, before);
    *at_p += length;
    raw += kvi_codec_layer_bytes(shape, layer);
  }
  return KVS_OK;
}

kvs_status kvi_codec_encode(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                            const void *raw, void *scratch, uint8_t *out, size_t room, size_t *length_p)
{
  struct encoding encoding = {
      .shape = shape, .options = options, .coder = layer_coder(options->level), .coder_scratch = scratch};
  fenv_t callers;
  kvs_status status;
  uint8_t *at;

  *length_p = 0;
  if (kvi_codec_shape_check(shape) != KVS_OK || !options_ok(shape, options))
    return KVS_ERR_INVALID;
  if (room < kvi_codec_bound(shape, options))
    return KVS_ERR_BUFFER;
  if (encoding.coder == NULL && options->level != KVI_CODEC_RAW) {
    kvi_codec_init();
    encoding.block_out = encoding.coder_scratch + block_scratch(shape);
    for (uint32_t plane = 0; plane < planes_of(options); plane++)
      encoding.planes[plane] = encoding.block_out + block_bound(shape) + plane * plane_bound(shape);
  }
  at = out + kvi_container_header_length(shape, planes_of(options));
  /* Whatever the thread has chosen for its own numbers: rounding, subnormals flushed, traps. */
  fegetenv(&callers);
  fesetenv(FE_DFL_ENV);
  status = encode_layers(&encoding, raw, out, room, &at);
  fesetenv(&callers);
  if (status != KVS_OK)
    return status;
  for (uint32_t plane = 0; plane < KVI_CODEC_PLANES_MAX && encoding.planes[plane] != NULL; plane++) {
    memcpy(at, encoding.planes[plane], encoding.plane_length[plane]);
    at += encoding.plane_length[plane];
  }
  *length_p = (size_t)(at - out);
  kvi_container_write(out, shape, options, *length_p);
  return KVS_OK;
}
