/* Profiles: docs/formats/kvp1.md. */
#include "tiers/codec/profile.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/digest.h"

static const char magic[4] = {'K', 'V', 'P', '1'};

#define AT_CRC 12u

static bool fields_ok(const struct kvi_codec_profile *profile)
{
  return profile->n_layers >= 1 && profile->n_layers <= KVI_CODEC_LAYERS_MAX && profile->n_heads >= 1 &&
         profile->n_heads <= KVI_CODEC_HEADS_MAX && kvi_codec_dim_ok(profile->key_dim) &&
         kvi_codec_dim_ok(profile->value_dim) && profile->key_dim + profile->value_dim > 0;
}

static size_t n_factors(uint32_t n_layers, uint32_t n_heads)
{
  return (size_t)n_layers * 2 * n_heads;
}

static bool factor_ok(uint32_t factor)
{
  return factor >= KVI_PROFILE_MIN && factor <= KVI_PROFILE_MAX;
}

size_t kvi_codec_profile_size(uint32_t n_layers, uint32_t n_heads)
{
  return KVI_PROFILE_HEADER_SIZE + n_factors(n_layers, n_heads) * 2;
}

/* Of the whole file, its own field taken as zero. */
static uint32_t checksum(const uint8_t *bytes, size_t size)
{
  static const uint8_t zero[4];
  uint32_t crc = kvi_crc32c_update(0, bytes, AT_CRC);

  crc = kvi_crc32c_update(crc, zero, sizeof zero);
  return kvi_crc32c_update(crc, bytes + AT_CRC + 4, size - AT_CRC - 4);
}

kvs_status kvi_codec_profile_write(const struct kvi_codec_profile *profile, const uint16_t *factors,
                                   uint8_t *out)
{
  size_t n, size;

  if (!fields_ok(profile))
    return KVS_ERR_INVALID;
  n = n_factors(profile->n_layers, profile->n_heads);
  size = kvi_codec_profile_size(profile->n_layers, profile->n_heads);
  for (size_t i = 0; i < n; i++)
    if (!factor_ok(factors[i]))
      return KVS_ERR_INVALID;
  memset(out, 0, KVI_PROFILE_HEADER_SIZE);
  memcpy(out, magic, sizeof magic);
  out[4] = KVI_PROFILE_VERSION;
  kvi_store_le32(out + 8, (uint32_t)size);
  kvi_store_le64(out + 16, profile->model_fingerprint);
  kvi_store_le16(out + 24, (uint16_t)profile->n_layers);
  kvi_store_le16(out + 26, (uint16_t)profile->n_heads);
  kvi_store_le16(out + 28, (uint16_t)profile->key_dim);
  kvi_store_le16(out + 30, (uint16_t)profile->value_dim);
  kvi_store_le32(out + 32, profile->n_samples);
  for (size_t i = 0; i < n; i++)
    kvi_store_le16(out + KVI_PROFILE_HEADER_SIZE + i * 2, factors[i]);
  kvi_store_le32(out + AT_CRC, checksum(out, size));
  return KVS_OK;
}

kvs_status kvi_codec_profile_open(const uint8_t *bytes, size_t size, struct kvi_codec_profile *profile_p)
{
  uint8_t digest[KVI_SHA256_BYTES];

  memset(profile_p, 0, sizeof *profile_p);
  if (size < KVI_PROFILE_HEADER_SIZE || memcmp(bytes, magic, sizeof magic) != 0)
    return KVS_ERR_CORRUPT;
  if (bytes[4] != KVI_PROFILE_VERSION)
    return KVS_ERR_UNSUPPORTED;
  profile_p->model_fingerprint = kvi_load_le64(bytes + 16);
  profile_p->n_layers = kvi_load_le16(bytes + 24);
  profile_p->n_heads = kvi_load_le16(bytes + 26);
  profile_p->key_dim = kvi_load_le16(bytes + 28);
  profile_p->value_dim = kvi_load_le16(bytes + 30);
  profile_p->n_samples = kvi_load_le32(bytes + 32);
  if (!fields_ok(profile_p) || size != kvi_codec_profile_size(profile_p->n_layers, profile_p->n_heads) ||
      kvi_load_le32(bytes + 8) != size || kvi_load_le32(bytes + AT_CRC) != checksum(bytes, size) ||
      (bytes[5] | bytes[6] | bytes[7]) != 0 || kvi_load_le32(bytes + 36) != 0)
    return KVS_ERR_CORRUPT;
  profile_p->factors = bytes + KVI_PROFILE_HEADER_SIZE;
  for (size_t i = 0; i < n_factors(profile_p->n_layers, profile_p->n_heads); i++)
    if (!factor_ok(kvi_load_le16(profile_p->factors + i * 2)))
      return KVS_ERR_CORRUPT;
  kvi_sha256(bytes, size, digest);
  memcpy(profile_p->id, digest, sizeof profile_p->id);
  return KVS_OK;
}

uint32_t kvi_codec_profile_factor(const struct kvi_codec_profile *profile, uint32_t layer, bool is_value,
                                  uint32_t head)
{
  size_t i = ((size_t)layer * 2 + is_value) * profile->n_heads + head;

  return kvi_load_le16(profile->factors + i * 2);
}

bool kvi_codec_profile_fits(const struct kvi_codec_profile *profile, const struct kvi_codec_shape *shape,
                            uint64_t model_fingerprint)
{
  return profile->n_layers == shape->n_layers && profile->n_heads == shape->n_heads &&
         profile->key_dim == shape->key_dim && profile->value_dim == shape->value_dim &&
         (profile->model_fingerprint == 0 || model_fingerprint == 0 ||
          profile->model_fingerprint == model_fingerprint);
}
