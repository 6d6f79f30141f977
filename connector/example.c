/*
 * connector/example.c: the whole of what an engine does with Kvasir, for one prompt. "embedded:" needs no server; give
 * unix:/path or kvasir://host:port to share with other processes.
 */
#include <stdio.h>
#include <string.h>

#include <kvasir/connector.h>

/* An engine's paged cache: blocks of 64 tokens, K and V of each of 4 layers in an array of their own. */
enum {
  LAYERS = 4,
  BLOCKS = 64,
  BLOCK_BYTES = 64 * 128,
  BLOCKS_PER_CHUNK = 4,
  TOKENS = 1000,
  CHUNKS = TOKENS / 256
};
static unsigned char cache[LAYERS][2][BLOCKS][BLOCK_BYTES];

int main(int argc, char **argv)
{
  const kvs_options options = {.struct_size = sizeof(options),
                               .endpoint = argc > 1 ? argv[1] : "embedded:64MiB",
                               .wait_connected_ms = 1000};
  const kvs_space_desc desc = {.struct_size = sizeof(desc),
                               .model = "example",
                               .engine = "example/1",
                               .layout = KVS_LAYOUT_OPAQUE,
                               .tokens_per_chunk = 256,
                               .engine_block = 64,
                               .hash = KVS_HASH_NATIVE,
                               .key_length = KVS_HASH_SIZE,
                               .chunk_bytes = LAYERS * 2 * BLOCKS_PER_CHUNK * BLOCK_BYTES};
  kvs_region regions[LAYERS * 2];
  uint32_t tokens[TOKENS];
  uint8_t digest[KVS_DIGEST_SIZE], keys[CHUNKS * KVS_HASH_SIZE];
  size_t n_keys = CHUNKS;
  int64_t blocks[CHUNKS * BLOCKS_PER_CHUNK];
  kvs_connector *connector;
  kvs_space *space;
  kvs_memory *memory;
  kvs_completion done;
  kvs_op op;

  /* Once, at start: where the store is, what our bytes are, where they lie. */
  for (uint32_t i = 0; i < LAYERS * 2; i++)
    regions[i] = (kvs_region){.base = cache[i / 2][i % 2],
                              .size = BLOCK_BYTES,
                              .stride = BLOCK_BYTES,
                              .n_slots = BLOCKS,
                              .layer = i / 2};
  if (kvs_open(&options, &connector) != KVS_OK)
    return 1;
  if (kvs_space_open(connector, &desc, &space) != KVS_OK ||
      kvs_memory_register(connector, regions, LAYERS * 2, &memory) != KVS_OK)
    return 1;

  /* A prompt, its keys, and the blocks the engine gave it. */
  for (uint32_t i = 0; i < TOKENS; i++)
    tokens[i] = i * 7 % 32000;
  for (uint32_t i = 0; i < CHUNKS * BLOCKS_PER_CHUNK; i++)
    blocks[i] = (int64_t)(BLOCKS - 1 - i);
  kvs_space_get_digest(space, digest);
  kvs_keys_from_tokens(desc.hash, digest, NULL, tokens, TOKENS, desc.tokens_per_chunk, 0, NULL, 0, keys,
                       &n_keys);
  kvs_keys chain = {.struct_size = sizeof(chain), .n = (uint32_t)n_keys, .keys = keys};

  for (int run = 0; run < 2; run++) { /* the first computes and stores, the second loads */
    uint32_t found = 0;

    /* How much is there? If nothing is found, for whatever reason: compute. The lease holds it until it is loaded. */
    kvs_request ask = {.struct_size = sizeof(ask), .timeout_ms = 100, .lease_ms = 2000};
    if (kvs_lookup_tokens(space, tokens, TOKENS, &ask, &op) == KVS_OK &&
        kvs_wait(connector, op, 1000, &done) == KVS_OK)
      found = done.n_prefix;
    if (found > 0) {
      kvs_request get = {.struct_size = sizeof(get), .timeout_ms = 1000, .lease = done.lease};
      chain.n = found;
      found = 0;
      if (kvs_get(space, &chain, memory, blocks, BLOCKS_PER_CHUNK, &get, &op) == KVS_OK) {
        for (uint32_t layer = 0; layer < LAYERS && kvs_wait_layer(connector, op, layer, 1000) == KVS_OK;
             layer++)
          printf("layer %u can be used\n", layer);
        if (kvs_wait(connector, op, 2000, &done) == KVS_OK)
          found = done.n_prefix; /* the rest is computed */
      }
      kvs_release(connector, get.lease);
    }
    printf("run %d: %u of %d chunks loaded\n", run, found, CHUNKS);

    /* The engine computes the rest here, and stores what was not there. */
    if (found < n_keys) {
      memset(cache, 'k', sizeof(cache));
      chain.n = (uint32_t)n_keys;
      if (kvs_put(space, &chain, memory, blocks, BLOCKS_PER_CHUNK, NULL, &op) == KVS_OK)
        kvs_wait(connector, op, 6000,
                 &done); /* or take it later, from kvs_poll: the blocks must not change until then */
    }
  }
  kvs_close(connector);
  return done.status == KVS_OK && done.n_prefix == CHUNKS ? 0 : 1;
}
