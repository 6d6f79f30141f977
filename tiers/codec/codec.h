/*
 * tiers/codec/codec.h: the KV codec: keys and values of one chunk, or any bytes, to a KVC1 object and back.
 *
 * docs/formats/kvc1.md is the format, docs/codec.md says how it works and how good it is. After CacheGen
 * (Liu et al., SIGCOMM 2024), whose own scheme is level "cachegen".
 *
 * The library does no I/O, holds no state between calls and allocates nothing: a caller brings the memory. Level "zstd" alone lets libzstd
 * allocate for the time of a call, up to 100 MiB to encode at its highest levels, at most 9 MiB to decode (KVS_ERR_NOMEM). Every function
 * may be called by any thread, and none blocks. Decoding gives the same bits on every machine and by every path (docs/formats/kvc1.md);
 * what is not a sound object is refused, whatever its bytes are. Encoding and decoding bring their own floating-point environment: how the
 * calling thread rounds, or flushes subnormals, does not matter, and is as it was afterwards.
 *
 * Tensors lie as layout "tensors" of a space has them: layer, K or V, token, head, dimension; all layers one after another.
 */
#ifndef KVI_CODEC_CODEC_H
#define KVI_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_CODEC_LAYERS_MAX  1024u
#define KVI_CODEC_HEADS_MAX   1024u
#define KVI_CODEC_PLANES_MAX  3u
#define KVI_CODEC_STEP_MIN    20u
#define KVI_CODEC_STEP_MAX    4000u
#define KVI_CODEC_HEADER_SIZE 80u
#define KVI_CODEC_BYTES_MAX   (1u << 30) /* of one layer, and of an object of dtype BYTES */

enum kvi_codec_dtype {
  KVI_CODEC_BYTES = 0,
  KVI_CODEC_BF16,
  KVI_CODEC_FP16,
  KVI_CODEC_E4M3,
  KVI_CODEC_E5M2,
  KVI_CODEC_INT8
};

#define KVI_CODEC_VERSION 2u /* of the format: what is written, and the only one that is read */

enum kvi_codec_level {
  KVI_CODEC_RAW = 0,
  KVI_CODEC_LOSSLESS,
  KVI_CODEC_LADDER,
  KVI_CODEC_CACHEGEN,
  KVI_CODEC_ZSTD
};

/* What is encoded. All zero but dtype BYTES, n_layers 1 and raw_bytes: bytes of no known shape. */
struct kvi_codec_shape {
  enum kvi_codec_dtype dtype;
  uint32_t n_layers;   /* 1 to KVI_CODEC_LAYERS_MAX */
  uint32_t n_tokens;   /* 1 to 65535 */
  uint32_t n_heads;    /* KV heads, 1 to 1024 */
  uint32_t key_dim;    /* of a head, 0 or a multiple of 8 up to 8192 */
  uint32_t value_dim;  /* likewise; 0 for MLA, whose one row is the key */
  uint32_t rotary_dim; /* of key_dim the last so many are rotary and kept finer (MLA: 64 of 576), else 0 */
  uint32_t start;      /* the first token's place in its sequence: places 0 to 3 are attention sinks */
  uint64_t raw_bytes;  /* of it all; kvi_codec_shape_check compares it with the rest */
  /* For each layer the first token it has (sliding windows), borrowed; NULL: each has all. */
  const uint16_t *first_token;
};

/* Whether a head may have so many dimensions. */
bool kvi_codec_dim_ok(uint32_t dim);

/* KVS_ERR_INVALID if a field is out of its bounds or raw_bytes does not fit. Sizes are added in 64 bits and cannot overflow. */
kvs_status kvi_codec_shape_check(const struct kvi_codec_shape *shape);

/* Bytes of one element; 1 for BYTES. */
size_t kvi_codec_element_size(enum kvi_codec_dtype dtype);

/* What raw_bytes has to be, for a shape of tensors. */
uint64_t kvi_codec_raw_bytes(const struct kvi_codec_shape *shape);

/* Tokens that a layer has, bytes of its keys and of its keys and values, and where it begins in the raw bytes.
 * The last adds up all layers before it. */
uint32_t kvi_codec_layer_rows(const struct kvi_codec_shape *shape, uint32_t layer);
uint64_t kvi_codec_layer_key_bytes(const struct kvi_codec_shape *shape, uint32_t layer);
uint64_t kvi_codec_layer_bytes(const struct kvi_codec_shape *shape, uint32_t layer);
uint64_t kvi_codec_layer_bytes_max(const struct kvi_codec_shape *shape); /* of a layer that has all tokens */
uint64_t kvi_codec_layer_offset(const struct kvi_codec_shape *shape, uint32_t layer);

struct kvi_codec_profile; /* tiers/codec/profile.h */

struct kvi_codec_options {
  enum kvi_codec_level level;
  uint32_t planes; /* ladder: refinements behind the base, 0 to 3; 2 is the FP8 grade */
  /*
   * Ladder: the base step in thousandths of the standard deviation of a head around its channels' means; 0 = 800, with which
   * 2 planes give a centred relative L2 error of about 0.0257, 1 plane 0.077. Each plane divides the error by 3. KVI_CODEC_STEP_MIN to KVI_CODEC_STEP_MAX.
   * cachegen: the bins in thousandths of the paper's; 0 = 1000.
   */
  uint32_t step;
  int zstd_level;             /* zstd: 1 to 19; 0 = 3 */
  uint64_t model_fingerprint; /* told in the header */
  /*
   * Ladder: by how much each head's step is coarser or finer, borrowed; NULL: of a layer's keys chosen by their deviations, of values all alike. It has to fit the
   * shape and the model (kvi_codec_profile_fits), else KVS_ERR_INVALID. Decoding does not need it.
   */
  const struct kvi_codec_profile *profile;
  /* Asked after each layer: true ends encoding with KVS_ERR_CANCELED. NULL: it goes on to its end. */
  bool (*stop)(void *ctx);
  void *stop_ctx;
};

/* The most bytes that encoding a shape can give, for any content. Here and below: a shape that kvi_codec_shape_check takes. */
uint64_t kvi_codec_bound(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options);

/* Scratch memory that encoding needs, 64-byte aligned by the caller. For decoding see kvi_codec_decode_layer: none. */
size_t kvi_codec_encode_scratch(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options);

/*
 * Encodes raw (shape->raw_bytes bytes, any alignment) to out. Deterministic for one version of the library. On success *length_p bytes
 * of out hold the object. Errors: KVS_ERR_INVALID (shape, options, a level that the dtype does not have: BYTES has raw and zstd),
 * KVS_ERR_BUFFER (room below kvi_codec_bound), KVS_ERR_UNSUPPORTED (a level this build lacks), KVS_ERR_NOMEM (zstd), KVS_ERR_CANCELED (options->stop).
 */
kvs_status kvi_codec_encode(const struct kvi_codec_shape *shape, const struct kvi_codec_options *options,
                            const void *raw, void *scratch, uint8_t *out, size_t room, size_t *length_p);

/* An object's header, read and checked. first_token of the shape and the table point into the object's bytes. */
struct kvi_codec_object {
  struct kvi_codec_shape shape;
  enum kvi_codec_level level;
  uint32_t planes;        /* that it was written with */
  uint32_t header_length; /* where the first segment begins */
  uint64_t length;        /* uncut */
  uint64_t model_fingerprint;
  uint8_t profile[16];
  const uint8_t *table; /* (planes + 1) x layers x {u32 length, u32 crc32c}, little-endian */
  uint64_t quality_end[KVI_CODEC_PLANES_MAX +
                       1]; /* where the object may be cut to keep qualities up to this one */
};

/* What kvi_codec_open has to see before it can read on: the length of the header with its tables. bytes holds
 * KVI_CODEC_HEADER_SIZE. Errors as kvi_codec_open. */
kvs_status kvi_codec_header_length(const uint8_t *bytes, uint32_t *length_p);

/*
 * Opens an object of which the first size bytes are there, at least the header with its tables; they have to stay while *object_p is used.
 * Errors: KVS_ERR_CORRUPT (not an object, cut within the header, a checksum, a field out of bounds), KVS_ERR_UNSUPPORTED (another
 * version, an unknown level or dtype), KVS_ERR_INVALID (bytes at an odd address: first_token is read where it lies).
 */
kvs_status kvi_codec_open(const uint8_t *bytes, size_t size, struct kvi_codec_object *object_p);

/* A segment's place in the object and its checksum. quality is at most object->planes, layer below the shape's. */
struct kvi_codec_segment {
  uint64_t offset;
  uint32_t length;
  uint32_t crc32c;
};
struct kvi_codec_segment kvi_codec_segment_at(const struct kvi_codec_object *object, uint32_t quality,
                                              uint32_t layer);

/* The best quality that the first size bytes of an object hold of all layers: 0 to planes, or -1 if not even the base. */
int kvi_codec_quality_in(const struct kvi_codec_object *object, uint64_t size);

/* Where a layer's keys and values go: row r of the keys to keys + r * key_stride. NULL if there are none. Rows do not overlap. */
struct kvi_codec_place {
  void *keys, *values;
  size_t key_stride, value_stride; /* bytes, at least the row's */
};

/* The places of a layer whose bytes, kvi_codec_layer_bytes of them, lie in one piece at layer_raw. */
struct kvi_codec_place kvi_codec_place_in(const struct kvi_codec_shape *shape, uint32_t layer,
                                          void *layer_raw);

/*
 * Decodes one layer at a quality. segments[0..quality] are its bytes as the object has them, whose checksums are compared first. Needs no memory
 * but some 20 KiB of stack. On an error what the place holds is undefined, and nothing outside of it was touched.
 * Errors: KVS_ERR_CORRUPT, KVS_ERR_INVALID (quality or layer out of range), KVS_ERR_UNSUPPORTED (a profile is needed), KVS_ERR_NOMEM (zstd).
 */
kvs_status kvi_codec_decode_layer(const struct kvi_codec_object *object, uint32_t layer, uint32_t quality,
                                  const uint8_t *const *segments, const struct kvi_codec_place *place);

/*
 * Decodes a whole object of which size bytes are there, at the best quality that they hold but not above max_quality, to raw
 * (shape.raw_bytes bytes). Errors: those of kvi_codec_open and kvi_codec_decode_layer; KVS_ERR_BUFFER if room is below raw_bytes.
 */
kvs_status kvi_codec_decode(const uint8_t *bytes, size_t size, uint32_t max_quality, void *raw, size_t room,
                            uint32_t *quality_p);

/* By what the hot loops run: "scalar", "avx2", "avx2-no-gather". Chosen at the first call that needs it. */
const char *kvi_codec_path(void);

/* For tests and benchmarks: makes this thread use one path; NULL: the chosen one again. KVS_ERR_UNSUPPORTED if this machine lacks it. */
kvs_status kvi_codec_use_path(const char *name);

#endif
