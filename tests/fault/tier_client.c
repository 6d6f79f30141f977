/*
 * tier_client: chains of chunks whose keys, sizes and bytes follow from their numbers, so that any process can tell what a node must have.
 *
 *     tier_client ENDPOINT put|get|delete|load FIRST N
 *
 * put     puts the chains FIRST to FIRST + N - 1, prints "stored CHAIN" for each that the node acknowledged
 * get     gets them; prints "chain CHAIN" and for each chunk 1 (right) or 0 (a miss)
 * delete  deletes them
 * load    puts as put does and reads chains back at random meanwhile, until the node is gone
 *
 * Exit code 0; 1: wrong bytes, or an operation that never ended; 2: usage or set-up.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/client.h>

#include "base/rand.h"

#define CHAIN      10u
#define KEY_LENGTH 32u
#define LENGTH_MAX (256u << 10)
#define TIMEOUT_MS 20000u

struct chain {
  uint8_t keys[CHAIN * KEY_LENGTH];
  uint32_t segment_lengths[CHAIN][3];
  kvsc_iov iov[CHAIN];
  kvsc_chunk chunks[CHAIN];
  kvs_status statuses[CHAIN];
  uint64_t *memory;
};

static uint32_t length_of(uint64_t chain, uint32_t place)
{
  uint64_t seed = chain * CHAIN + place;

  return (uint32_t)(8192 + kvi_splitmix64(&seed) % (LENGTH_MAX - 8192)) / 8 * 8;
}

static uint64_t word_at(uint64_t chain, uint32_t place, size_t at)
{
  return (chain * CHAIN + place + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (at * UINT64_C(0xBF58476D1CE4E5B9));
}

static uint64_t *place_memory(const struct chain *chain, uint32_t place)
{
  return chain->memory + (size_t)place * LENGTH_MAX / sizeof(uint64_t);
}

static void chain_fill(struct chain *chain, uint64_t number, bool put)
{
  for (uint32_t i = 0; i < CHAIN; i++) {
    uint32_t length = length_of(number, i);
    uint64_t seed = number * CHAIN + i + 1;

    for (uint32_t j = 0; j < KEY_LENGTH; j += 8) {
      uint64_t word = kvi_splitmix64(&seed);

      memcpy(chain->keys + i * KEY_LENGTH + j, &word, 8);
    }
    for (size_t at = 0; at < length / 8; at++)
      place_memory(chain, i)[at] = put ? word_at(number, i, at) : 0;
    chain->iov[i] = (kvsc_iov){.base = place_memory(chain, i), .length = length};
    chain->chunks[i] = (kvsc_chunk){.iov = &chain->iov[i], .n_iov = 1};
    if (put) {
      chain->segment_lengths[i][0] = length / 4;
      chain->segment_lengths[i][1] = length / 2;
      chain->segment_lengths[i][2] = length - length / 4 - length / 2;
      chain->chunks[i].n_segments = 3;
      chain->chunks[i].segment_lengths = chain->segment_lengths[i];
    }
  }
}

/* Runs one operation over the chain to its end. The completion's status; KVS_ERR_INTERNAL when it never came. */
static kvs_status run(kvsc_client *client, kvsc_space *space, struct chain *chain, char what)
{
  kvsc_call call = {.struct_size = sizeof(call), .timeout_ms = TIMEOUT_MS, .statuses = chain->statuses};
  kvsc_keys keys = {.struct_size = sizeof(keys), .n = CHAIN, .keys = chain->keys};
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status;

  for (uint32_t i = 0; i < CHAIN; i++)
    chain->statuses[i] = KVS_MISS;
  if (what == 'd')
    call.statuses = NULL;
  status = what == 'p'   ? kvsc_put(space, &keys, chain->chunks, &call, &op)
           : what == 'g' ? kvsc_get(space, &keys, chain->chunks, &call, &op)
                         : kvsc_delete(space, &keys, &call, &op);
  if (status != KVS_OK)
    return status;
  if (kvsc_wait(client, op, TIMEOUT_MS * 2, &completion) != KVS_OK) {
    printf("an operation never ended\n");
    return KVS_ERR_INTERNAL;
  }
  return completion.status;
}

/* False: wrong bytes. */
static bool chain_check(const struct chain *chain, uint64_t number, bool print)
{
  if (print)
    printf("chain %" PRIu64 " ", number);
  for (uint32_t i = 0; i < CHAIN; i++) {
    bool here = chain->statuses[i] == KVS_OK;

    for (size_t at = 0; here && at < length_of(number, i) / 8; at++)
      if (place_memory(chain, i)[at] != word_at(number, i, at)) {
        printf("\nwrong bytes in chunk %u of chain %" PRIu64 "\n", i, number);
        return false;
      }
    if (print)
      putchar(here ? '1' : '0');
  }
  if (print)
    putchar('\n');
  return true;
}

static int put_and_read(kvsc_client *client, kvsc_space *space, struct chain *chain, uint64_t first,
                        uint64_t n, bool load)
{
  kvi_rand rand;

  kvi_rand_seed(&rand, first);
  for (uint64_t i = first; i < first + n; i++) {
    kvs_status status;

    chain_fill(chain, i, true);
    status = run(client, space, chain, 'p');
    if (status == KVS_OK)
      printf("stored %" PRIu64 "\n", i);
    else if (load)
      return status == KVS_ERR_INTERNAL;
    else
      printf("not stored %" PRIu64 ": %s\n", i, kvs_status_name(status));
    if (!load)
      continue;
    for (uint32_t k = 0; k < 2; k++) {
      uint64_t number = first + kvi_rand_below(&rand, i - first + 1);

      chain_fill(chain, number, false);
      if (run(client, space, chain, 'g') == KVS_ERR_INTERNAL || !chain_check(chain, number, false))
        return 1;
    }
  }
  return 0;
}

static int go(kvsc_client *client, kvsc_space *space, const char *what, uint64_t first, uint64_t n)
{
  struct chain chain = {.memory = malloc((size_t)CHAIN * LENGTH_MAX)};
  int result = 0;

  if (!chain.memory)
    return 2;
  if (what[0] == 'p' || what[0] == 'l') {
    result = put_and_read(client, space, &chain, first, n, what[0] == 'l');
  } else {
    for (uint64_t i = first; i < first + n && result == 0; i++) {
      chain_fill(&chain, i, false);
      result = run(client, space, &chain, what[0]) == KVS_ERR_INTERNAL;
      if (what[0] == 'g' && !chain_check(&chain, i, true))
        result = 1;
    }
  }
  free(chain.memory);
  return result;
}

int main(int argc, char **argv)
{
  kvsc_options options = {.struct_size = sizeof(options), .wait_connected_ms = TIMEOUT_MS};
  kvs_space_desc desc = {.struct_size = sizeof(desc),
                         .model = "tiers",
                         .engine = "tier_client",
                         .layout = KVS_LAYOUT_OPAQUE,
                         .tokens_per_chunk = 256,
                         .key_length = KEY_LENGTH};
  kvsc_client *client;
  kvsc_space *space;
  kvs_status status;
  int result;

  if (argc != 5) {
    fprintf(stderr, "usage: tier_client ENDPOINT put|get|delete|load FIRST N\n");
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  options.endpoint = argv[1];
  status = kvsc_open(&options, &client);
  if (status == KVS_OK)
    status = kvsc_space_open(client, &desc, &space);
  if (status != KVS_OK) {
    printf("no client: %s\n", kvs_status_text(status));
    return 2;
  }
  result = go(client, space, argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
  kvsc_close(client);
  return result;
}
