/*
 * Any bytes as a segment of the levels cachegen and zstd: refused or decoded, nothing outside of the place touched. cachegen's decoder and
 * the reference, written apart from it, agree on which, and on every bit. The first 5 bytes say level, dtype and shape.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/codec/cachegen_reference.h"
#include "tiers/codec/layer_coder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

static struct kvi_codec_shape shape_of(const uint8_t *data)
{
  struct kvi_codec_shape shape = {.dtype = (enum kvi_codec_dtype)(1 + data[0] / 2 % 5),
                                  .n_layers = 1,
                                  .n_tokens = 1u + data[1] % 64,
                                  .n_heads = 1u + data[2] % 4,
                                  .key_dim = 8u * (data[3] % 4u),
                                  .value_dim = 8u * (data[4] % 4u)};

  if (shape.key_dim + shape.value_dim == 0)
    shape.key_dim = 8;
  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  return shape;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct kvi_codec_shape shape;
  struct kvi_codec_place place;
  size_t keys, values, rows, element;
  uint8_t *dense;
  kvs_status status;

  if (size < 5)
    return 0;
  shape = shape_of(data);
  rows = shape.n_tokens;
  element = kvi_codec_element_size(shape.dtype);
  keys = shape.n_heads * shape.key_dim * element;
  values = shape.n_heads * shape.value_dim * element;
  dense = calloc(rows, keys + values);
  require(dense != NULL);
  /* Keys dense; values, where there are any, with gaps in memory of their own. */
  place = (struct kvi_codec_place){.keys = dense, .key_stride = keys, .value_stride = values + 8};
  place.values = malloc(rows * (values + 8));
  require(place.values != NULL);
  if ((data[0] & 1) != 0) {
    status = kvi_codec_zstd.decode(&shape, 0, data + 5, size - 5, &place);
    require(status == KVS_OK || status == KVS_ERR_CORRUPT);
  } else {
    uint8_t *reference = calloc(rows, keys + values);

    require(reference != NULL);
    status = kvi_codec_cachegen.decode(&shape, 0, data + 5, size - 5, &place);
    require(status == KVS_OK || status == KVS_ERR_CORRUPT);
    require((status == KVS_OK) == cachegen_reference_decode(&shape, 0, data + 5, size - 5, reference));
    for (size_t row = 0; row < rows && status == KVS_OK; row++)
      memcpy(dense + rows * keys + row * values, (uint8_t *)place.values + row * place.value_stride, values);
    require(status != KVS_OK || memcmp(dense, reference, rows * (keys + values)) == 0);
    free(reference);
  }
  free(place.values);
  free(dense);
  return 0;
}
