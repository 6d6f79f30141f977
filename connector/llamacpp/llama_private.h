/* llama_private.h: the inside of kvs_llama, shared by the files of the adapter. */
#ifndef KVI_CONNECTOR_LLAMACPP_LLAMA_PRIVATE_H
#define KVI_CONNECTOR_LLAMACPP_LLAMA_PRIVATE_H

#include <kvasir/llama.h>

#include "connector/llamacpp/sequence.h"

enum {
  KVI_LLAMA_SAVES = 4,         /* puts under way at once, each with a buffer of one chunk */
  KVI_LLAMA_BATCH_MAX = 32,    /* chunks of one get */
  KVI_LLAMA_TIMEOUT_MS = 5000, /* when the options name none */
  KVI_LLAMA_GRACE_MS = 1000,   /* beyond the deadline; the connector promises 250 ms */
  KVI_LLAMA_TOKENS_PER_CHUNK = 256,
};
/* Bytes of one get: enough to keep a wire busy, little beside the model. Two are under way. */
#define KVI_LLAMA_BATCH_BYTES ((size_t)64 << 20)

/* One put. The buffer is the connector's from start to completion. */
typedef struct kvi_llama_save {
  kvs_op op; /* 0: free */
  uint8_t *memory;
  kvs_buffer buffer;
  kvs_status status;
  bool lost; /* the connector did not end the put in time: the memory may still be read and is never used
                again */
} kvi_llama_save;

struct kvs_llama {
  kvs_connector *connector;
  kvs_space *space;
  kvi_llama_sequence seq;
  uint8_t digest[KVS_DIGEST_SIZE];
  kvs_layout layout;
  uint32_t timeout_ms, loss_max, loss_enough, hurry_ms;
  uint32_t *segments; /* rows: bytes of each segment, K and V of each layer; NULL: one segment */
  uint32_t n_segments;
  kvi_llama_save saves[KVI_LLAMA_SAVES];
  uint32_t next_save; /* the oldest: saves are used in turn */
  bool failed_since_flush;
  uint64_t loaded_chunks, loaded_bytes, saved_chunks, saved_bytes, failed_chunks;
};

/* Keys of a prompt's whole chunks. */
typedef struct kvi_llama_keys {
  uint8_t *bytes; /* n * KVS_HASH_SIZE */
  uint32_t n;
} kvi_llama_keys;

/* llama_space.c: fills digest, layout, segments, space. */
kvs_status kvi_llama_space_open(kvs_llama *handle, const kvs_llama_options *options, char *error,
                                size_t error_size);

/* llama_keys.c */
kvs_status kvi_llama_keys_make(const kvs_llama *handle, const kvs_llama_prompt *prompt, kvi_llama_keys *keys);
void kvi_llama_keys_free(kvi_llama_keys *keys);
/* Keys first .. first + n - 1 with their place in the chain; points into keys. */
kvs_keys kvi_llama_keys_range(const kvi_llama_keys *keys, uint32_t first, uint32_t n);

/* llama_exchange.c: what goes to and comes from the store. */

/* Waits for op to end. false: it did not, within its timeout and the grace after a cancel: its memory is
 * lost. */
bool kvi_llama_wait(kvs_llama *handle, kvs_op op, kvs_completion *completion);
/* Saves one chunk in the background; waits only when all buffers are in use. KVS_MISS: the sequence cannot
 * give it. */
kvs_status kvi_llama_save_chunk(kvs_llama *handle, const kvs_llama_prompt *prompt, const kvi_llama_keys *keys,
                                uint32_t chunk);
void kvi_llama_finish_saves(kvs_llama *handle);
/* Loads the longest stored prefix of at most n chunks into the sequence. */
kvs_status kvi_llama_fetch(kvs_llama *handle, const kvs_llama_prompt *prompt, const kvi_llama_keys *keys,
                           uint32_t n, uint32_t *n_loaded_p);

#endif
