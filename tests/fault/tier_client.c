/*
 * tier_client: chains of chunks whose keys, sizes and bytes follow from their numbers, so that any process can tell what a node must have.
 *
 *     tier_client ENDPOINT put|get|delete|load FIRST N
 *
 * put     puts the chains FIRST to FIRST + N - 1, prints "stored CHAIN" for each that the node acknowledged
 * get     gets them; prints "chain CHAIN" and for each chunk 1 (right) or 0 (a miss)
 * delete  deletes them
 * load    puts as put does, meanwhile reads chains back at random, deletes each fourth one once the next is stored, and asks where chains are, until the node is gone;
 *         when all N are stored it goes on without putting. Prints "deleted CHAIN" for each deletion that the node acknowledged, and "safe CHAIN" and for each chunk 1 (the SSD tier alone
 *         has it, so it has acknowledged it) or 0 (elsewhere, or nowhere)
 *
 * Exit code 0; 1: wrong bytes, a chunk that came back after its deletion was acknowledged, or an operation that never ended; 2: usage or set-up.
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
#define TIER_SSD   2u /* as lookups tell it */

struct chain {
  uint8_t keys[CHAIN * KEY_LENGTH];
  uint32_t segment_lengths[CHAIN][3];
  kvsc_iov iov[CHAIN];
  kvsc_chunk chunks[CHAIN];
  kvs_status statuses[CHAIN];
  uint8_t tiers[CHAIN];
  uint64_t *memory;
};

static uint32_t length_of(uint64_t chain, uint32_t place)
{
  uint64_t seed = chain * CHAIN + place;

  return (uint32_t)(8192 + kvi_splitmix64(&seed) % (LENGTH_MAX - 8192)) / 8 * 8;
}

/* Every other chunk is one that an encoder on the way to a tier makes smaller. */
static uint64_t word_at(uint64_t chain, uint32_t place, size_t at)
{
  uint64_t word =
      (chain * CHAIN + place + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (at * UINT64_C(0xBF58476D1CE4E5B9));

  return place % 2 ? word & UINT64_C(0x000000FF0000FFFF) : word;
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

/* Runs one operation over the chain to its end: put, get, delete or lookup. The completion's status; KVS_ERR_INTERNAL when it never came; KVS_ERR_UNREACHABLE when the node was gone. */
static kvs_status run(kvsc_client *client, kvsc_space *space, struct chain *chain, char what)
{
  kvsc_call call = {.struct_size = sizeof(call), .timeout_ms = TIMEOUT_MS, .statuses = chain->statuses};
  kvsc_keys keys = {.struct_size = sizeof(keys), .n = CHAIN, .keys = chain->keys};
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status;

  for (uint32_t i = 0; i < CHAIN; i++)
    chain->statuses[i] = KVS_MISS;
  memset(chain->tiers, 0, sizeof(chain->tiers));
  if (what == 'd' || what == 'l')
    call.statuses = NULL;
  if (what == 'l')
    call.tiers = chain->tiers;
  status = what == 'p'   ? kvsc_put(space, &keys, chain->chunks, &call, &op)
           : what == 'g' ? kvsc_get(space, &keys, chain->chunks, &call, &op)
           : what == 'd' ? kvsc_delete(space, &keys, &call, &op)
                         : kvsc_lookup(client, &space, 1, &keys, &call, &op);
  if (status != KVS_OK)
    return status;
  if (kvsc_wait(client, op, TIMEOUT_MS * 2, &completion) != KVS_OK) {
    printf("an operation never ended\n");
    return KVS_ERR_INTERNAL;
  }
  return completion.cause == KVSC_CAUSE_NODE ? KVS_ERR_UNREACHABLE : completion.status;
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

static int put(kvsc_client *client, kvsc_space *space, struct chain *chain, uint64_t first, uint64_t n)
{
  for (uint64_t i = first; i < first + n; i++) {
    kvs_status status;

    chain_fill(chain, i, true);
    status = run(client, space, chain, 'p');
    if (status == KVS_OK)
      printf("stored %" PRIu64 "\n", i);
    else
      printf("not stored %" PRIu64 ": %s\n", i, kvs_status_name(status));
  }
  return 0;
}

/* ---- load ---- */

enum fate { UNKNOWN = 0, STORED, DELETED };

struct load {
  kvsc_client *client;
  kvsc_space *space;
  struct chain *chain;
  uint64_t first, n, n_stored;
  uint8_t *fates; /* of each chain, as acknowledged */
  kvi_rand rand;
  bool gone;  /* the node */
  bool wrong; /* what was found cannot be */
};

static void load_put(struct load *load)
{
  uint64_t number = load->first + load->n_stored;
  kvs_status status;

  chain_fill(load->chain, number, true);
  status = run(load->client, load->space, load->chain, 'p');
  load->wrong = status == KVS_ERR_INTERNAL;
  load->gone = status != KVS_OK;
  if (load->gone)
    return;
  printf("stored %" PRIu64 "\n", number);
  load->fates[load->n_stored++] = STORED;
}

static void load_delete(struct load *load, uint64_t at)
{
  kvs_status status;

  chain_fill(load->chain, load->first + at, false);
  status = run(load->client, load->space, load->chain, 'd');
  load->wrong = status == KVS_ERR_INTERNAL;
  load->fates[at] = UNKNOWN;
  if (status != KVS_OK && status != KVS_PARTIAL && status != KVS_MISS)
    return;
  printf("deleted %" PRIu64 "\n", load->first + at);
  load->fates[at] = DELETED;
}

static void load_get(struct load *load)
{
  uint64_t at = kvi_rand_below(&load->rand, load->n_stored), number = load->first + at;
  kvs_status status;

  chain_fill(load->chain, number, false);
  status = run(load->client, load->space, load->chain, 'g');
  load->gone |= status == KVS_ERR_UNREACHABLE;
  load->wrong |= status == KVS_ERR_INTERNAL || !chain_check(load->chain, number, false);
  for (uint32_t i = 0; i < CHAIN && load->fates[at] == DELETED; i++)
    if (load->chain->statuses[i] == KVS_OK) {
      printf("chunk %u of chain %" PRIu64 " came back after it was deleted\n", i, number);
      load->wrong = true;
    }
}

/* Of a chain that is not to be deleted. */
static void load_look(struct load *load)
{
  uint64_t at = kvi_rand_below(&load->rand, load->n_stored), number = load->first + at;

  if (at % 4 == 0)
    return;
  chain_fill(load->chain, number, false);
  if (run(load->client, load->space, load->chain, 'l') == KVS_ERR_UNREACHABLE)
    return;
  printf("safe %" PRIu64 " ", number);
  for (uint32_t i = 0; i < CHAIN; i++)
    putchar(load->chain->tiers[i] == TIER_SSD ? '1' : '0');
  putchar('\n');
}

static int load(kvsc_client *client, kvsc_space *space, struct chain *chain, uint64_t first, uint64_t n)
{
  struct load load = {
      .client = client, .space = space, .chain = chain, .first = first, .n = n, .fates = calloc(n, 1)};

  if (!load.fates)
    return 2;
  kvi_rand_seed(&load.rand, first);
  while (!load.gone && !load.wrong) {
    if (load.n_stored < n) {
      load_put(&load);
      if (!load.gone && load.n_stored % 4 == 2)
        load_delete(&load, load.n_stored - 2);
    }
    for (uint32_t k = 0; k < 2 && load.n_stored > 0 && !load.gone && !load.wrong; k++)
      load_get(&load);
    if (load.n_stored > 0 && !load.gone && !load.wrong)
      load_look(&load);
  }
  free(load.fates);
  return load.wrong;
}

static int go(kvsc_client *client, kvsc_space *space, const char *what, uint64_t first, uint64_t n)
{
  struct chain chain = {.memory = malloc((size_t)CHAIN * LENGTH_MAX)};
  int result = 0;

  if (!chain.memory)
    return 2;
  if (what[0] == 'p') {
    result = put(client, space, &chain, first, n);
  } else if (what[0] == 'l') {
    result = load(client, space, &chain, first, n);
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
