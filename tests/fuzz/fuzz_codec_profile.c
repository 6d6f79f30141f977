/*
 * Any bytes as a profile, as they are and with length and checksum made to fit: what is accepted has factors within their bounds, and a chunk of
 * its shape that is encoded with it decodes, by every path to the same.
 */
#include "codec_fuzz.h"
#include "tests/unit/codec/profile_sample.h"

#define TOKENS       6u
#define ELEMENTS_MAX 20000u /* of a chunk that is tried */

static void check_factors(const struct kvi_codec_profile *profile)
{
  for (uint32_t layer = 0; layer < profile->n_layers; layer++)
    for (uint32_t head = 0; head < profile->n_heads; head++)
      for (int plane = 0; plane < 2; plane++) {
        uint32_t factor = kvi_codec_profile_factor(profile, layer, plane != 0, head);

        require(factor >= KVI_PROFILE_MIN && factor <= KVI_PROFILE_MAX);
      }
}

static void decode_alike(const uint8_t *bytes, size_t length, size_t raw_bytes)
{
  uint8_t *first = NULL;

  for (int path = 0; path < FUZZ_PATHS; path++) {
    uint8_t *decoded;
    uint32_t quality;

    if (!take_path(path))
      continue;
    decoded = malloc(raw_bytes);
    require(decoded != NULL);
    require(kvi_codec_decode(bytes, length, 1, decoded, raw_bytes, &quality) == KVS_OK);
    if (first == NULL) {
      first = decoded;
      continue;
    }
    require(memcmp(first, decoded, raw_bytes) == 0);
    free(decoded);
  }
  free(first);
}

static void encode_with(const struct kvi_codec_profile *profile)
{
  struct kvi_codec_shape shape = {.dtype = KVI_CODEC_BF16,
                                  .n_layers = profile->n_layers,
                                  .n_tokens = TOKENS,
                                  .n_heads = profile->n_heads,
                                  .key_dim = profile->key_dim,
                                  .value_dim = profile->value_dim,
                                  .start = 3};
  const struct kvi_codec_options options = {.level = KVI_CODEC_LADDER, .planes = 1, .profile = profile};
  uint8_t *raw, *scratch, *out;
  size_t room, length;

  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  if (shape.raw_bytes > ELEMENTS_MAX * 2)
    return;
  room = (size_t)kvi_codec_bound(&shape, &options);
  raw = malloc((size_t)shape.raw_bytes);
  scratch = aligned_alloc(64, (kvi_codec_encode_scratch(&shape, &options) + 63) / 64 * 64);
  out = malloc(room);
  require(raw != NULL && scratch != NULL && out != NULL);
  for (size_t i = 0; i < shape.raw_bytes / 2; i++)
    kvi_store_le16(raw + i * 2, (uint16_t)(0x3f80 + i * i * 2654435761u % 300 + (i % 3 == 0 ? 0x8000 : 0)));
  require(kvi_codec_encode(&shape, &options, raw, scratch, out, room, &length) == KVS_OK);
  decode_alike(out, length, (size_t)shape.raw_bytes);
  free(raw);
  free(scratch);
  free(out);
}

static void try_bytes(const uint8_t *bytes, size_t size)
{
  struct kvi_codec_profile profile;
  kvs_status status = kvi_codec_profile_open(bytes, size, &profile);

  require(status == KVS_OK || status == KVS_ERR_CORRUPT || status == KVS_ERR_UNSUPPORTED);
  if (status != KVS_OK)
    return;
  require(size == kvi_codec_profile_size(profile.n_layers, profile.n_heads));
  check_factors(&profile);
  encode_with(&profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *bytes = fuzz_copy(data, size);

  try_bytes(bytes, size);
  if (size >= KVI_PROFILE_HEADER_SIZE) {
    seal_profile(bytes, size);
    try_bytes(bytes, size);
  }
  free(bytes);
  return 0;
}
