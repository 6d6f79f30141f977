/*
 * kvasir/llama.h: for programs that embed llama.cpp: prompts' KV out of Kvasir instead of computed, and into
 * it.
 *
 *   kvs_llama_open(connector, context, &options, &handle);
 *   kvs_llama_load(handle, &prompt, &n_past);       what the store has, at the front of the prompt
 *   kvs_llama_decode(handle, &prompt, n_past);      the rest; each whole chunk is saved as it is reached
 *   llama_get_logits_ith(context, -1)
 *
 * A chunk that is missing, late or damaged is computed; nothing here fails because a store does.
 *
 * Which models: plain attention in any setting. Sliding windows, hybrids, recurrent models and M-RoPE need a
 * context with kv_unified (recurrent ones not even that) and one sequence to spare (n_seq_max >= 2). Models
 * whose memory cannot be split are refused by kvs_llama_open, which says why.
 *
 * The same logits, bit for bit, need the same cuts: floating-point sums depend on how a prompt is cut into
 * batches. kvs_llama_decode ends a batch at every chunk boundary, so that a run with and a run without a
 * restored prefix cut alike.
 *
 * A handle belongs to its context: one thread at a time uses both. The headers and the library of llama.cpp
 * must be of one release. Link with libkvasir-llamacpp.a, libkvasir-connector and libllama.
 */
#ifndef KVASIR_LLAMA_H
#define KVASIR_LLAMA_H

#include <llama.h>

#include <kvasir/connector.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kvs_llama kvs_llama;

typedef struct kvs_llama_options {
  uint32_t struct_size;
  const char *model_path; /* the GGUF file (the first, if split) the model was loaded from */
  const uint8_t
      *weights; /* its kvs_llama_fingerprint if you have it, KVS_DIGEST_SIZE bytes; NULL: computed */
  const struct llama_context_params *params; /* those the context was made with; required */
  const char *model, *revision;              /* names in the space; NULL: the file's general.name, none */
  uint32_t tokens_per_chunk;                 /* 0: 256 */
  int32_t spare_sequence; /* the adapter's own, always empty; 0: the last one (n_seq_max - 1) */
  uint32_t timeout_ms;    /* of each exchange with the store; 0: 5000 */
  uint32_t reserved;      /* 0, or whatever a caller of an older version left there: not looked at */
  uint32_t
      loss_max; /* how far saved chunks may be degraded, and the most loss that is taken of loaded ones: 0 none, up to 15 (docs/formats/chunk.md) */
  uint32_t reserved_2; /* not looked at: a field that comes later begins behind it */
  uint32_t loss_enough,
      hurry_ms; /* of loads: as of kvs_request (kvasir/connector.h); hurry_ms of each exchange with the store */
} kvs_llama_options;

typedef struct kvs_llama_prompt {
  uint32_t struct_size;
  llama_seq_id sequence;
  const llama_token *tokens;
  size_t n_tokens;
  const void *
      salt; /* what else the KV depends on or must be kept apart by: LoRA adapters and their scales, a user */
  size_t salt_size;
  uint32_t load_only; /* 1: nothing of this prompt is saved */
  uint32_t reserved;  /* not looked at */
} kvs_llama_prompt;

typedef struct kvs_llama_info {
  uint32_t struct_size;
  kvs_layout layout;    /* tensors or opaque */
  uint32_t at_boundary; /* 1: a chunk can be saved only when its last token has just been decoded */
  uint32_t tokens_per_chunk;
  uint64_t chunk_bytes; /* opaque: at most */
  uint8_t space[KVS_DIGEST_SIZE];
  uint64_t loaded_chunks, loaded_bytes; /* since open */
  uint64_t saved_chunks, saved_bytes;   /* that the store took or had already */
  uint64_t
      failed_chunks; /* that it did not, for another reason than that it has what is worth more (KVS_DECLINED) */
} kvs_llama_info;

/*
 * SHA-256 over the names, types, shapes and samples of all tensors and the model's parameters in the file's
 * header. Takes some milliseconds; give it to several handles of one model. Blocks on the file system.
 * Errors: KVS_ERR_INVALID (NULL), KVS_ERR_IO (cannot be read), KVS_ERR_CORRUPT (not GGUF, or truncated),
 * KVS_ERR_NOMEM.
 */
KVS_API kvs_status kvs_llama_fingerprint(const char *model_path, uint8_t weights[KVS_DIGEST_SIZE]);

/*
 * The context must be empty: three tokens are decoded to learn how its state looks, and removed again. error
 * (may be NULL when error_size is 0) gets a sentence when this fails. Connector and context must outlive the
 * handle; options are copied. Model overrides (llama_model_params.kv_overrides) are not seen: give another
 * `revision` if you use them. Errors: KVS_ERR_INVALID, KVS_ERR_UNSUPPORTED (cannot be split),
 * KVS_ERR_TOO_LARGE (chunks above 128 MiB: lower tokens_per_chunk), those of kvs_llama_fingerprint and
 * kvs_space_open.
 */
KVS_API kvs_status kvs_llama_open(kvs_connector *connector, struct llama_context *context,
                                  const kvs_llama_options *options, char *error, size_t error_size,
                                  kvs_llama **handle_p);
/* Waits for saves under way, at most their timeout. NULL is fine. */
KVS_API void kvs_llama_close(kvs_llama *handle);

/*
 * Replaces the sequence by the longest prefix of the prompt that the store has: whole chunks, never the last
 * token. *n_past_p is the number of tokens restored, 0 on a miss; the sequence holds exactly these. Blocks,
 * at most about twice the timeout. Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM; the sequence is empty then.
 */
KVS_API kvs_status kvs_llama_load(kvs_llama *handle, const kvs_llama_prompt *prompt, size_t *n_past_p);

/*
 * Decodes tokens n_past .. n_tokens - 1 into the sequence, which holds the first n_past, and saves each whole
 * chunk that is completed. Logits are computed for the last token. Saving goes on behind; see
 * kvs_llama_flush. Errors: KVS_ERR_INVALID (arguments; the sequence holds something else), KVS_ERR_FULL (no
 * room in the context), KVS_ERR_CANCELED (by llama.cpp's abort callback), KVS_ERR_NOMEM, KVS_ERR_INTERNAL
 * (llama_decode failed).
 */
KVS_API kvs_status kvs_llama_decode(kvs_llama *handle, const kvs_llama_prompt *prompt, size_t n_past);

/*
 * For engines with a decode loop of their own: saves the whole chunks of the prompt that begin at token
 * `from` or later and are in the sequence, which must hold the prompt's tokens at their own positions, never
 * shifted. Where at_boundary is 1 this must be called with exactly a multiple of tokens_per_chunk tokens
 * decoded, and saves the last chunk; otherwise any time. Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM,
 * KVS_ERR_INTERNAL (llama.cpp did not give its state).
 */
KVS_API kvs_status kvs_llama_save(kvs_llama *handle, const kvs_llama_prompt *prompt, size_t from);

/* Waits until every save has its end. KVS_OK: all are stored since the last flush; KVS_PARTIAL: some are not.
 */
KVS_API kvs_status kvs_llama_flush(kvs_llama *handle);

/* The space of the chunks, for calls of the connector besides (hints, deletes). Lives until kvs_close. */
KVS_API kvs_space *kvs_llama_get_space(const kvs_llama *handle);

/* info->struct_size must be set. */
KVS_API void kvs_llama_get_info(const kvs_llama *handle, kvs_llama_info *info);

#ifdef __cplusplus
}
#endif
#endif
