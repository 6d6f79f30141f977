/*
 * Any bytes as a lossless or ladder block of a small shape, without container and checksums: every path of the loops refuses it, or all
 * decode it to the same rows and write nothing beside them.
 *
 * The first 8 bytes say what it is: dtype, rows, columns / 8, heads or one unit, mode and planes and quality, rows kept apart (2), 0. The block follows, then
 * its part of each plane.
 */
#include "codec_fuzz.h"
#include "tiers/codec/ladder.h"
#include "tiers/codec/lossless.h"

#define HEAD 8u

struct input {
  struct kvi_block block;
  bool is_ladder;
  uint32_t n_planes, quality, kept;
  uint8_t *bytes; /* of exactly size */
  size_t size;
  uint8_t *planes[KVI_CODEC_PLANES_MAX];
};

/* False: too short for the planes it wants. */
static bool read_input(const uint8_t *data, size_t size, struct input *input)
{
  size_t plane_bytes;

  *input = (struct input){.block = {.dtype = (enum kvi_codec_dtype)(KVI_CODEC_BF16 + data[0] % 5),
                                    .rows = data[1] + 1u,
                                    .columns = (data[2] % 16 + 1u) * 8},
                          .is_ladder = data[4] & 1,
                          .n_planes = data[4] >> 1 & 3,
                          .quality = data[4] >> 3 & 3,
                          .kept = kvi_load_le16(data + 5)};
  input->block.unit_columns = data[3] % 2 == 0 ? input->block.columns : 8;
  if (input->quality > input->n_planes)
    input->quality = input->n_planes;
  if (input->kept > input->block.rows)
    input->kept %= input->block.rows + 1;
  data += HEAD;
  size -= HEAD;
  if (!input->is_ladder)
    input->quality = 0;
  plane_bytes = kvi_ladder_plane_bytes(&input->block, input->block.rows - input->kept);
  if (size < input->quality * plane_bytes)
    return false;
  input->size = size - input->quality * plane_bytes;
  input->bytes = fuzz_copy(data, input->size);
  for (uint32_t plane = 0; plane < input->quality; plane++)
    input->planes[plane] = fuzz_copy(data + input->size + plane * plane_bytes, plane_bytes);
  return true;
}

/*
 * The block once, or beside itself as it is by pairs: then both come out alike. A ladder block has no checksum of its own, a lossless one has: it is
 * made to fit if that is what is wrong.
 */
static kvs_status decode(const struct input *input, uint32_t n, struct fuzz_plane *out)
{
  struct fuzz_plane planes[KVI_BLOCKS_AT_ONCE];
  struct kvi_coded_block blocks[KVI_BLOCKS_AT_ONCE];
  kvs_status status;

  for (uint32_t i = 0; i < n; i++) {
    planes[i] =
        fuzz_plane_make(input->block.rows, input->block.columns * kvi_codec_element_size(input->block.dtype));
    blocks[i] = (struct kvi_coded_block){
        .block = input->block,
        .mode = input->is_ladder ? KVI_BLOCK_LADDER : KVI_BLOCK_LOSSLESS,
        .kept = input->kept,
        .bytes = input->bytes,
        .size = input->size,
        .place = fuzz_plane_start(&planes[i]),
        .stride = planes[i].stride,
    };
    for (uint32_t plane = 0; plane < input->quality; plane++)
      blocks[i].planes[plane] = input->planes[plane];
  }
  status = input->is_ladder ? kvi_ladder_decode(blocks, n, input->n_planes, input->quality)
                            : kvi_lossless_decode(blocks, n);
  require(status == KVS_OK || status == KVS_ERR_CORRUPT);
  for (uint32_t i = 0; i < n; i++)
    fuzz_plane_check(&planes[i]);
  for (uint32_t i = 1; i < n; i++) {
    require(status != KVS_OK || fuzz_planes_equal(&planes[0], &planes[i]));
    free(planes[i].memory);
  }
  *out = planes[0];
  return status;
}

/* The checksum of the rows as they came out, which are all there if nothing else was wrong. */
static void seal_lossless(const struct input *input, const struct fuzz_plane *out)
{
  uint32_t crc = 0;

  for (size_t row = 0; row < out->rows; row++)
    crc = kvi_crc32c_update(crc, fuzz_plane_start(out) + row * out->stride, out->row_bytes);
  kvi_store_le32(input->bytes, crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input input;
  struct fuzz_plane scalar, other;
  kvs_status status;

  if (size < HEAD || !read_input(data, size, &input))
    return 0;
  require(take_path(0));
  status = decode(&input, 1, &scalar);
  if (status != KVS_OK && !input.is_ladder && input.size >= 4) {
    seal_lossless(&input, &scalar);
    free(scalar.memory);
    status = decode(&input, 1, &scalar);
  }
  for (int path = 1; path < FUZZ_PATHS; path++) {
    if (!take_path(path))
      continue;
    for (uint32_t n = 1; n <= KVI_BLOCKS_AT_ONCE; n++) {
      require(decode(&input, n, &other) == status);
      require(status != KVS_OK || fuzz_planes_equal(&scalar, &other));
      free(other.memory);
    }
  }
  free(scalar.memory);
  for (uint32_t plane = 0; plane < input.quality; plane++)
    free(input.planes[plane]);
  free(input.bytes);
  return 0;
}
