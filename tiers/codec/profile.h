/*
 * tiers/codec/profile.h: a model's profile, a KVP1 file (docs/formats/kvp1.md): how much coarser or finer each head's steps are to be.
 *
 * It acts in the encoder of level ladder alone. What it gives are objects as any other: decoding knows nothing of it. Reads and writes memory only,
 * allocates nothing, any thread, does not block.
 */
#ifndef KVI_CODEC_PROFILE_H
#define KVI_CODEC_PROFILE_H

#include "tiers/codec/codec.h"

#define KVI_PROFILE_VERSION     1u
#define KVI_PROFILE_HEADER_SIZE 40u
#define KVI_PROFILE_SIZE_MAX    (KVI_PROFILE_HEADER_SIZE + KVI_CODEC_LAYERS_MAX * KVI_CODEC_HEADS_MAX * 4u)
#define KVI_PROFILE_ID_SIZE     16u

/* Factors of steps, in 4096ths. */
#define KVI_PROFILE_ONE 4096u
#define KVI_PROFILE_MIN 1024u  /* a quarter of the step */
#define KVI_PROFILE_MAX 16384u /* four times the step */

struct kvi_codec_profile {
  uint32_t n_layers, n_heads, key_dim,
      value_dim;                   /* of the model: what it is encoded with has to have the same */
  uint32_t n_samples;              /* that it was made from; for people */
  uint64_t model_fingerprint;      /* 0: not said */
  uint8_t id[KVI_PROFILE_ID_SIZE]; /* the first bytes of the file's SHA-256 */
  const uint8_t *factors;          /* within the file's bytes: u16 [layer][keys, values][head] */
};

/* Bytes of a file, for 1 to KVI_CODEC_LAYERS_MAX layers and 1 to KVI_CODEC_HEADS_MAX heads. */
size_t kvi_codec_profile_size(uint32_t n_layers, uint32_t n_heads);

/*
 * Writes a file of kvi_codec_profile_size bytes to out. factors: [layer][keys, values][head], each from KVI_PROFILE_MIN to KVI_PROFILE_MAX.
 * id and factors of the profile are not read. KVS_ERR_INVALID: a field or factor is out of its bounds.
 */
kvs_status kvi_codec_profile_write(const struct kvi_codec_profile *profile, const uint16_t *factors,
                                   uint8_t *out);

/*
 * Opens a file's bytes, all of them, which have to stay while *profile_p is used. Errors: KVS_ERR_CORRUPT (not a profile, a length or checksum that does
 * not fit, a field or factor out of its bounds), KVS_ERR_UNSUPPORTED (another version).
 */
kvs_status kvi_codec_profile_open(const uint8_t *bytes, size_t size, struct kvi_codec_profile *profile_p);

/* In 4096ths; layer and head below the profile's. */
uint32_t kvi_codec_profile_factor(const struct kvi_codec_profile *profile, uint32_t layer, bool is_value,
                                  uint32_t head);

/* Whether it is one for such tensors, of this model if both tell theirs (0: not said). */
bool kvi_codec_profile_fits(const struct kvi_codec_profile *profile, const struct kvi_codec_shape *shape,
                            uint64_t model_fingerprint);

#endif
