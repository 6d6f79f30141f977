/*
 * kvasir/keys.h: keys of chunks from tokens, the same on every process, language and machine.
 *
 * Sources: SGLang's HiCache hashes a page as SHA-256(previous digest || tokens as u32 little-endian), the first page
 * without a previous digest. vLLM's sha256_cbor hashes a block as SHA-256 over the canonical CBOR of
 * [parent bytes, [tokens...], extra], the first parent being SHA-256 of the CBOR of PYTHONHASHSEED's text. Where the
 * hash block is smaller than the chunk, a chunk's key is the hash of its last block. docs/formats/keys.md has vectors.
 */
#ifndef KVASIR_KEYS_H
#define KVASIR_KEYS_H

#include <kvasir/space.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVS_KEY_MIN   8
#define KVS_KEY_MAX   64
#define KVS_HASH_SIZE 32 /* what every helper here produces */

/*
 * Keys of the whole chunks of tokens[0..n_tokens): floor(n_tokens / tokens_per_chunk) keys of KVS_HASH_SIZE bytes.
 *
 * parent        the key before tokens[0] (KVS_HASH_SIZE bytes), or NULL at the start of a chain, when
 *               native takes seed = the space's digest, vllm takes seed = NONE_HASH, sglang needs none
 * hash_block    tokens a hash step covers; divides tokens_per_chunk; 0 = tokens_per_chunk
 * extra, extra_length   vllm only: one canonical CBOR item that stands in the step of the first hash block of this
 *               call, in place of null. vLLM puts a request's cache salt into block 0 of the chain: give it with
 *               parent NULL, and NULL when the chain goes on. What vLLM puts into every block (LoRA) or into some
 *               (images) is given by calling once for each block.
 * out           room for *n_keys_p keys on entry; on success the number written. May be NULL with room 0, to ask
 *
 * Errors: KVS_ERR_INVALID (a NULL pointer, tokens_per_chunk 0, hash_block does not divide it, no seed where one is
 * needed, an extra with another hash than vLLM's or of no bytes, KVS_HASH_OPAQUE), KVS_ERR_BUFFER (out too small;
 * *n_keys_p tells the need, nothing is written). Thread-safe, does not block, does not allocate.
 */
KVS_API kvs_status kvs_keys_from_tokens(kvs_hash hash, const uint8_t seed[KVS_HASH_SIZE],
                                        const uint8_t *parent, const uint32_t *tokens, size_t n_tokens,
                                        uint32_t tokens_per_chunk, uint32_t hash_block, const uint8_t *extra,
                                        size_t extra_length, uint8_t *out, size_t *n_keys_p);

/*
 * vLLM's NONE_HASH for a PYTHONHASHSEED ("0"); where the variable is not set, recent vLLM hashes "vllm-none-hash".
 * Errors: KVS_ERR_INVALID (NULL, longer than 255 bytes, not UTF-8). Thread-safe.
 */
KVS_API kvs_status kvs_vllm_none_hash(const char *python_hash_seed, uint8_t out[KVS_HASH_SIZE]);

#ifdef __cplusplus
}
#endif
#endif
