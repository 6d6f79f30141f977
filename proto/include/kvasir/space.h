/*
 * kvasir/space.h: who may share bytes with whom.
 *
 * A space is described by the fields below; its digest is SHA-256 over their canonical CBOR (docs/formats/space.md).
 * Two engines that give equal fields share chunks, any difference keeps them apart. LoRA adapters and a request's
 * cache salt enter through the keys, not here.
 */
#ifndef KVASIR_SPACE_H
#define KVASIR_SPACE_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVS_DIGEST_SIZE 32

/* What the bytes of a chunk are. */
typedef enum kvs_layout {
  KVS_LAYOUT_TENSORS = 1, /* canonical order layer, K|V, token, head, dim: two segments a layer */
  KVS_LAYOUT_OPAQUE = 2,  /* an engine's own pages or states, which only that engine reads */
} kvs_layout;

typedef enum kvs_dtype {
  KVS_DTYPE_OPAQUE = 0,
  KVS_DTYPE_F32 = 1,
  KVS_DTYPE_F16 = 2,
  KVS_DTYPE_BF16 = 3,
  KVS_DTYPE_F8_E4M3 = 4,
  KVS_DTYPE_F8_E5M2 = 5,
  KVS_DTYPE_I8 = 6,
  KVS_DTYPE_GGML_Q8_0 = 7, /* blocks of 32: one f16 scale, 32 int8 */
} kvs_dtype;

typedef enum kvs_hash {
  KVS_HASH_OPAQUE = 0,           /* keys come from the engine; Kvasir only compares them */
  KVS_HASH_NATIVE = 1,           /* SHA-256(parent || u32le tokens), first parent = the space's digest */
  KVS_HASH_SGLANG = 2,           /* SHA-256(parent || u32le tokens), no first parent */
  KVS_HASH_VLLM_SHA256_CBOR = 3, /* SHA-256(CBOR [parent, tokens, extra]) */
} kvs_hash;

/*
 * Strings may be NULL (= ""). At most KVS_SPACE_STRING_MAX bytes each, UTF-8. The caller keeps ownership of every
 * pointer; functions that take a descriptor copy it.
 */
#define KVS_SPACE_STRING_MAX 255

typedef struct kvs_space_desc {
  uint32_t struct_size; /* sizeof(kvs_space_desc) */

  const char *model;                /* name as people say it: "llama-3-8b" */
  const char *revision;             /* commit, tag or file version */
  uint8_t weights[KVS_DIGEST_SIZE]; /* fingerprint of the weights; all zero: not known */
  const char *engine;               /* empty for tensors; "llama.cpp/0.5.0" where pages are opaque */
  const char *isa;                  /* empty for tensors; instruction set where pages depend on it */

  kvs_layout layout;
  kvs_dtype key_dtype, value_dtype; /* KVS_DTYPE_OPAQUE for opaque layouts */
  uint32_t layers;                  /* of this rank; 0 for opaque */
  uint32_t kv_heads;                /* of this rank; 0 for opaque */
  uint32_t key_dim, value_dim;      /* per head; 0 for opaque */
  const char *layout_detail;        /* free text that must match too: "v_trans=0" */

  uint32_t tokens_per_chunk; /* 256 unless the engine needs another */
  uint32_t engine_block;     /* tokens of an engine's block; 0: same as the chunk */
  uint32_t kv_group;         /* vLLM's KV cache group; 0 */
  uint32_t tp_rank, tp_size; /* tensor parallel; size 0 is read as 1 */
  uint32_t pp_rank, pp_size; /* pipeline parallel */
  uint32_t cp_rank, cp_size; /* context parallel */

  kvs_hash hash;
  uint32_t key_length;  /* bytes, 8 to 64; all keys of a space have this length */
  uint64_t chunk_bytes; /* payload bytes of each chunk; 0: varies (opaque states) */
} kvs_space_desc;

/*
 * The digest of a descriptor. Errors: KVS_ERR_INVALID (a NULL pointer, a string too long or not UTF-8, a rank not
 * below its size, an unknown enum value, tensors whose dimensions do not give chunk_bytes), KVS_ERR_KEY_LENGTH.
 * Thread-safe, does not block.
 */
KVS_API kvs_status kvs_space_digest(const kvs_space_desc *desc, uint8_t digest[KVS_DIGEST_SIZE]);

#ifdef __cplusplus
}
#endif
#endif
