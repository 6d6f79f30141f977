/*
 * sequence.h: chunks of a sequence of a llama.cpp context, out of it and back into it. Knows libllama and no
 * store.
 *
 * Two ways, chosen at open:
 *
 *   rows    plain attention. The state blob is taken apart into rows of tokens and put together again
 * (state_blob.h). A chunk is the same whenever it is cut, and works for unified and separate caches. states
 * everything else that can be split: sliding windows, hybrids, recurrent models, M-RoPE. A chunk is what
 *           llama.cpp itself gives for the token range, copied to a spare sequence. It holds the recurrent
 * state and the window as they were when its last token was decoded, so it must be cut right then.
 *
 * A context is used by one thread at a time, and so is all of this.
 */
#ifndef KVI_CONNECTOR_LLAMACPP_SEQUENCE_H
#define KVI_CONNECTOR_LLAMACPP_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llama.h>

#include "connector/llamacpp/state_blob.h"

typedef enum kvi_llama_way { KVI_LLAMA_ROWS, KVI_LLAMA_STATES } kvi_llama_way;

typedef struct kvi_llama_sequence {
  struct llama_context *context;
  const struct llama_model *model;
  uint32_t tokens_per_chunk;
  llama_seq_id spare; /* -1: none */
  bool splice;        /* ranges can be copied between the spare sequence and another */
  kvi_llama_way way;
  kvi_llama_shape *shape; /* rows: the cache's; else NULL */
  size_t chunk_room;      /* rows: bytes of a chunk; states: at most so many */
  uint8_t *blob;          /* grows to the largest blob seen */
  size_t blob_room;
  kvi_llama_blob *held; /* between begin and end, rows without splice: the whole sequence, read */
} kvi_llama_sequence;

/*
 * Looks at model and context, decodes three tokens to learn and to check how states look, and clears the
 * context again. The context must be empty. error (may be NULL when error_size is 0) gets a sentence when
 * this fails. KVS_ERR_UNSUPPORTED: the model or the way the context is set up cannot be split.
 * KVS_ERR_INVALID: context not empty.
 */
kvs_status kvi_llama_sequence_open(struct llama_context *context, const struct llama_context_params *params,
                                   uint32_t tokens_per_chunk, llama_seq_id spare, char *error,
                                   size_t error_size, kvi_llama_sequence *out);
void kvi_llama_sequence_close(kvi_llama_sequence *seq);

/* Whole chunks that may be cut from seq now: [*first_p, *end_p) of those wholly in it, by chunk number. */
void kvi_llama_sequence_ready(const kvi_llama_sequence *seq, llama_seq_id id, uint32_t *first_p,
                              uint32_t *end_p);

/*
 * Around the cuts of one sequence, with no other call in between: where a range cannot be had alone, the
 * state of the whole sequence is taken once here and not for each chunk. end is called even when begin
 * failed. KVS_ERR_NOMEM, KVS_ERR_INTERNAL.
 */
kvs_status kvi_llama_sequence_begin(kvi_llama_sequence *seq, llama_seq_id id);
void kvi_llama_sequence_end(kvi_llama_sequence *seq);

/*
 * Copies chunk number `chunk` of sequence `id` to dst, which has chunk_room bytes.
 * KVS_MISS: the chunk is not there, or no longer (states). KVS_ERR_NOMEM, KVS_ERR_INTERNAL (libllama
 * refused).
 */
kvs_status kvi_llama_sequence_cut(kvi_llama_sequence *seq, llama_seq_id id, uint32_t chunk, uint8_t *dst,
                                  size_t *length_p);

/*
 * Appends chunks first .. first + n - 1 to sequence `id`, which must hold exactly the chunks before. Without
 * splice only first == 0 is possible. The lengths are looked at for states only. When it fails the sequence
 * is empty.
 */
kvs_status kvi_llama_sequence_append(kvi_llama_sequence *seq, llama_seq_id id, uint32_t first,
                                     const uint8_t *const *chunks, const size_t *lengths, uint32_t n);

#endif
