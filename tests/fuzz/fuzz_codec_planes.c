/*
 * A sound base with any bytes behind it as its planes: all of them decode, by every path to the same bytes, as long as there are just as many
 * as the base asks for; the base alone decodes as it did.
 */
#include "codec_fuzz.h"

#define TOKENS    23u
#define KEY_DIM   40u
#define VALUE_DIM 24u
#define RAW_MAX   (TOKENS * (KEY_DIM + VALUE_DIM) * 2)
#define HEADER    (KVI_CODEC_HEADER_SIZE + (KVI_CODEC_PLANES_MAX + 1) * 8)

/* An object of each dtype with three planes, of a row that stands out and channels of different width. */
static struct base {
  uint8_t *object;
  struct kvi_codec_object opened;
  uint8_t raw[RAW_MAX]; /* what the base alone decodes to */
} bases[5];

static void make_base(struct base *base, enum kvi_codec_dtype dtype)
{
  struct kvi_codec_shape shape = {.dtype = dtype,
                                  .n_layers = 1,
                                  .n_tokens = TOKENS,
                                  .n_heads = 1,
                                  .key_dim = KEY_DIM,
                                  .value_dim = VALUE_DIM,
                                  .start = 2};
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = KVI_CODEC_PLANES_MAX};
  static uint8_t raw[RAW_MAX];
  size_t room, length;
  uint32_t seed = 1, quality;
  uint8_t *scratch;

  /* Patterns of near exponents: finite in every dtype, and around one. */
  for (size_t i = 0; i < sizeof raw; i++) {
    seed = seed * 1664525u + 1013904223u;
    raw[i] = dtype == KVI_CODEC_BF16   ? (uint8_t)(i % 2 == 0 ? seed >> 24 : 0x3f | (seed >> 24 & 0x80))
             : dtype == KVI_CODEC_INT8 ? (uint8_t)((seed >> 26) - 32)
                                       : (uint8_t)(0x30 | (seed >> 24 & 0x8f));
  }
  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  room = (size_t)kvi_codec_bound(&shape, &options);
  base->object = malloc(room);
  scratch = aligned_alloc(64, (kvi_codec_encode_scratch(&shape, &options) + 63) / 64 * 64);
  require(base->object != NULL && scratch != NULL);
  require(kvi_codec_encode(&shape, &options, raw, scratch, base->object, room, &length) == KVS_OK);
  require(kvi_codec_open(base->object, length, &base->opened) == KVS_OK);
  require(kvi_codec_decode(base->object, length, 0, base->raw, sizeof base->raw, &quality) == KVS_OK);
  free(scratch);
}

/* The base with these bytes as its planes, in lengths that the first byte shifts. */
static uint8_t *with_planes(const struct base *base, const uint8_t *data, size_t size, int off,
                            size_t *size_p)
{
  size_t end = (size_t)base->opened.quality_end[0];
  uint8_t *object;
  size_t at = end;

  *size_p = (size_t)base->opened.length + (size_t)off;
  object = malloc(*size_p);
  require(object != NULL);
  memcpy(object, base->object, end);
  for (uint32_t plane = 1; plane <= KVI_CODEC_PLANES_MAX; plane++) {
    uint32_t length = kvi_codec_segment_at(&base->opened, plane, 0).length;

    length += plane == KVI_CODEC_PLANES_MAX ? (uint32_t)off : 0;
    for (uint32_t i = 0; i < length; i++)
      object[at + i] = size > 0 ? data[(at - end + i) % size] : 0;
    kvi_store_le32(object + HEADER - (KVI_CODEC_PLANES_MAX + 1 - plane) * 8, length);
    at += length;
  }
  kvi_store_le64(object + 16, *size_p);
  fuzz_seal(object, *size_p, HEADER);
  return object;
}

static void try_quality(const struct base *base, const uint8_t *object, size_t size, uint32_t quality,
                        kvs_status expected)
{
  static uint8_t raw[FUZZ_PATHS][RAW_MAX];
  size_t raw_bytes = (size_t)base->opened.shape.raw_bytes;

  for (int path = 0; path < FUZZ_PATHS; path++) {
    uint32_t got;

    if (!take_path(path))
      continue;
    require(kvi_codec_decode(object, size, quality, raw[path], raw_bytes, &got) == expected);
    require(expected != KVS_OK || got == quality);
    require(expected != KVS_OK || memcmp(raw[path], raw[0], raw_bytes) == 0);
  }
  if (quality == 0)
    require(memcmp(raw[0], base->raw, raw_bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const struct base *base;
  uint8_t *object;
  int off;

  if (size < 2)
    return 0;
  base = &bases[data[0] % 5];
  if (base->object == NULL)
    make_base(&bases[data[0] % 5], (enum kvi_codec_dtype)(KVI_CODEC_BF16 + data[0] % 5));
  /* An 8-bit dtype may be stored as it is: then no byte of a plane is wanted. */
  off = data[1] < 250 ? 0 : data[1] - 249;
  object = with_planes(base, data + 2, size - 2, off, &size);
  for (uint32_t quality = 0; quality <= KVI_CODEC_PLANES_MAX; quality++)
    try_quality(base, object, size, quality,
                quality == KVI_CODEC_PLANES_MAX && off != 0 ? KVS_ERR_CORRUPT : KVS_OK);
  free(object);
  return 0;
}
