/*
 * state_blob.h: llama.cpp's sequence state as bytes, cut into token ranges and put together again.
 *
 * llama_state_seq_get_data() gives one blob for a sequence. For plain attention this module takes a token
 * range out of it in Kvasir's canonical order and composes a blob for llama_state_seq_set_data() from such
 * ranges. It works on bytes alone, includes nothing of llama.cpp and trusts no number it reads: every length
 * is checked before use, so that a damaged or foreign blob is KVS_ERR_UNSUPPORTED or KVS_ERR_CORRUPT and
 * never a wild read.
 *
 * The blob (LLAMA_STATE_SEQ_VERSION 3, little-endian):
 *
 *   u32 magic | i32 sequence
 *   u32 n_stream                                 1 when the cache is unified, else the context's n_seq_max
 *   per stream: u32 n_cell                       0: nothing more of this stream
 *     n_cell times: i32 pos | u32 n_seq (1) | [12 bytes of M-RoPE position] | i32 sequence
 *     u32 v_trans | u32 n_layer
 *     per layer: i32 type | u64 row | n_cell * row                                        the keys
 *     v_trans 0, per layer: i32 type | u64 row | n_cell * row                             the values
 *     v_trans 1, per layer: i32 type | u32 el | u32 n_el | n_el times (n_cell * el)       the values,
 * transposed
 *
 * Models with a sliding window follow with a second cache of the same form, recurrent and hybrid ones with a
 * state of their own: these are recognised as such (kind) and cannot be cut here.
 *
 * A range in canonical order ("chunk"): for each layer, n_tokens rows of K, then n_tokens rows of V; a row
 * holds all heads of one token in the cache's own type, so that q8_0 rows are cut between tokens and never
 * within a block.
 *
 * Nothing here blocks, logs or has global state. A blob or shape may be read by several threads at once.
 */
#ifndef KVI_CONNECTOR_LLAMACPP_STATE_BLOB_H
#define KVI_CONNECTOR_LLAMACPP_STATE_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

/* Above what any model has; bounds the table of layers and every product of counts. */
enum { KVI_LLAMA_MAX_LAYERS = 4096, KVI_LLAMA_MAX_STREAMS = 4096 };

typedef enum kvi_llama_blob_kind {
  KVI_LLAMA_BLOB_EMPTY, /* a sequence without tokens */
  KVI_LLAMA_BLOB_PLAIN, /* one cache of plain attention: can be cut */
  KVI_LLAMA_BLOB_MROPE, /* one cache whose cells carry M-RoPE positions: opaque */
  KVI_LLAMA_BLOB_ISWA,  /* two caches, the second one of the sliding-window layers: opaque */
} kvi_llama_blob_kind;

/* One layer's rows. Types are ggml's numbers and only ever compared. */
typedef struct kvi_llama_layer {
  int32_t k_type, v_type;
  uint64_t k_row, v_row;       /* bytes of one token; v_row is 0 when the cache keeps no V (MLA) */
  uint32_t v_el;               /* v_trans 1: bytes of one element, 2 or 4; else 0 */
  uint64_t k_offset, v_offset; /* where the layer's rows begin in the blob they were read from */
} kvi_llama_layer;

/* What two blobs must have in common for ranges of one to fit the other. */
typedef struct kvi_llama_shape {
  uint32_t n_stream;
  uint32_t n_layer;
  bool v_trans;
  bool has_v;
  uint64_t token_bytes; /* of one token over all layers, K and V */
  kvi_llama_layer *layers;
} kvi_llama_shape;

typedef struct kvi_llama_blob {
  kvi_llama_blob_kind kind;
  uint32_t stream;     /* which of the streams holds the cells */
  uint32_t n_cell;     /* tokens in it */
  int32_t first_pos;   /* the cells' positions are first_pos .. first_pos + n_cell - 1, each once */
  uint32_t *cell_of;   /* cell of position first_pos + i, or NULL when cells are in the order of positions */
  const uint8_t *data; /* the caller's bytes */
  uint64_t size;
  kvi_llama_shape shape;
} kvi_llama_blob;

/*
 * Reads a blob. data stays the caller's and must outlive *blob_p; it need not be aligned.
 * KVS_OK: *blob_p says of which kind it is; cells and shape are set for PLAIN only.
 * KVS_ERR_UNSUPPORTED: not a form known here (recurrent, hybrid, a later version, cells of which two share a
 * position, positions with holes): treat it as opaque. KVS_ERR_CORRUPT: it ends before its own counts do.
 * KVS_ERR_NOMEM.
 */
kvs_status kvi_llama_blob_read(const uint8_t *data, size_t size, kvi_llama_blob **blob_p);

/* NULL is allowed. */
void kvi_llama_blob_free(kvi_llama_blob *blob);

/*
 * Copies the tokens at positions first_pos .. first_pos + n_tokens - 1 to dst in canonical order.
 * KVS_ERR_UNSUPPORTED: the blob is not PLAIN. KVS_MISS: it does not hold all of these positions.
 * KVS_ERR_BUFFER: dst_size is not exactly n_tokens * token_bytes.
 */
kvs_status kvi_llama_blob_cut(const kvi_llama_blob *blob, int32_t first_pos, uint32_t n_tokens, uint8_t *dst,
                              size_t dst_size);

/* The bytes a blob of n_tokens of this shape takes. KVS_ERR_TOO_LARGE when that does not fit a size_t. */
kvs_status kvi_llama_compose_size(const kvi_llama_shape *shape, uint32_t n_tokens, size_t *size_p);

/*
 * Writes the blob that llama.cpp would give for n_chunks chunks of tokens_per_chunk tokens, the first at
 * position first_pos, as sequence `sequence` in stream `stream`. chunks[i] is a chunk in canonical order of
 * exactly tokens_per_chunk * token_bytes bytes. KVS_ERR_INVALID: no chunks, a stream the shape has not,
 * positions above INT32_MAX. KVS_ERR_TOO_LARGE as above. KVS_ERR_BUFFER: dst_size is not what
 * kvi_llama_compose_size() said.
 */
kvs_status kvi_llama_compose(const kvi_llama_shape *shape, uint32_t stream, int32_t sequence,
                             int32_t first_pos, const uint8_t *const *chunks, uint32_t n_chunks,
                             uint32_t tokens_per_chunk, uint8_t *dst, size_t dst_size);

/* A copy that lives on its own, without offsets. KVS_ERR_NOMEM. Free with kvi_llama_shape_free(), which takes
 * NULL. */
kvs_status kvi_llama_shape_copy(const kvi_llama_shape *shape, kvi_llama_shape **copy_p);
void kvi_llama_shape_free(kvi_llama_shape *shape);

/* Whether ranges cut from one fit the other: types, rows and orientation; the number of streams may differ.
 */
bool kvi_llama_shape_fits(const kvi_llama_shape *a, const kvi_llama_shape *b);

#endif
