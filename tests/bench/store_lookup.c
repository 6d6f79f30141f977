/*
 * bench_store_lookup: how many keys a second one core looks up inside the store, and how long the store's own part of a get takes. Run by
 * hand; prints a line for each case, the best and the median of the rounds.
 *
 *     bench_store_lookup [chunks, default 262144]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "tiers/store.h"

#define KEY_BYTES 32u
#define CHAIN     512u
#define ROUNDS    7u
#define CHUNK     2048u

static int compare_u64(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

static void report(const char *name, uint64_t *elapsed_ns, uint64_t operations)
{
  qsort(elapsed_ns, ROUNDS, sizeof(*elapsed_ns), compare_u64);
  printf("%-24s best %7.2f M/s  median %7.2f M/s  (%.0f ns each)\n", name,
         (double)operations * 1e3 / (double)elapsed_ns[0],
         (double)operations * 1e3 / (double)elapsed_ns[ROUNDS / 2],
         (double)elapsed_ns[ROUNDS / 2] / (double)operations);
}

static kvs_status fill(struct kvi_store *store, const uint8_t *space, const uint8_t *keys, uint32_t n)
{
  uint32_t length = CHUNK;

  for (uint32_t i = 0; i < n; i++) {
    uint32_t place = i % CHAIN;
    struct kvi_put_request request = {.space = space,
                                      .key = keys + (size_t)i * KEY_BYTES,
                                      .key_length = KEY_BYTES,
                                      .parent = place ? keys + (size_t)(i - 1) * KEY_BYTES : NULL,
                                      .place = place,
                                      .length = length,
                                      .n_segments = 1,
                                      .segment_lengths = &length};
    struct kvi_landing landing;
    kvs_status status = kvi_store_put_begin(store, "default", &request, NULL, NULL, &landing);

    if (status == KVS_OK)
      status = kvi_store_put_commit(store, &landing);
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

/* Chains in random order, n keys a call. */
static void lookups(struct kvi_store *store, const uint8_t *space, const uint8_t *keys, uint32_t chains,
                    uint32_t n, uint32_t lease_ms)
{
  uint64_t elapsed[ROUNDS], calls = (1u << 20) / n;
  uint8_t present[CHAIN / 8];
  kvi_rand rand;
  char name[64];

  kvi_rand_seed(&rand, 1);
  for (uint32_t round = 0; round < ROUNDS; round++) {
    uint64_t start = kvi_now_ns(), found = 0;

    for (uint64_t i = 0; i < calls; i++) {
      struct kvi_store_lookup query = {.tenant = "default",
                                       .owner = 1,
                                       .spaces = &space,
                                       .n_spaces = 1,
                                       .keys =
                                           keys + (size_t)kvi_rand_below(&rand, chains) * CHAIN * KEY_BYTES,
                                       .key_length = KEY_BYTES,
                                       .n_keys = n,
                                       .lease_ms = lease_ms};
      struct kvi_store_lookup_result result = {.present = present};

      if (kvi_store_lookup(store, &query, &result) == KVS_OK)
        found += result.prefix;
      if (result.lease)
        (void)kvi_store_release(store, 1, result.lease);
    }
    elapsed[round] = kvi_now_ns() - start;
    if (found != calls * n)
      printf("%llu of %llu keys found\n", (unsigned long long)found, (unsigned long long)(calls * n));
  }
  snprintf(name, sizeof(name), "lookup-%u%s keys", n, lease_ms ? "-lease" : "");
  report(name, elapsed, calls * n);
}

static void read_all(struct kvi_store *store, const uint8_t *space, const uint8_t *keys, uint32_t n_keys)
{
  uint64_t elapsed[ROUNDS], calls = 1u << 19;
  kvi_rand rand;

  kvi_rand_seed(&rand, 1);
  for (uint32_t round = 0; round < ROUNDS; round++) {
    uint64_t start = kvi_now_ns();

    for (uint64_t i = 0; i < calls; i++) {
      struct kvi_source source;
      uint32_t cause;

      if (kvi_store_get_open(store, "default", space, keys + kvi_rand_below(&rand, n_keys) * KEY_BYTES,
                             KEY_BYTES, &source, &cause) == KVS_OK)
        kvi_store_get_close(store, &source);
    }
    elapsed[round] = kvi_now_ns() - start;
  }
  report("get open and close", elapsed, calls);
}

int main(int argc, char **argv)
{
  uint32_t n = (argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1u << 18) / CHAIN * CHAIN;
  struct kvi_store_config config = {
      .dram_bytes = (uint64_t)n * 4096, .dram_page_bytes = 4096, .max_chunks = n, .huge_pages = true};
  kvs_space_desc desc = {.struct_size = sizeof(desc),
                         .model = "bench",
                         .engine = "bench",
                         .layout = KVS_LAYOUT_OPAQUE,
                         .tokens_per_chunk = 256,
                         .tp_size = 1,
                         .pp_size = 1,
                         .cp_size = 1,
                         .key_length = KEY_BYTES};
  uint8_t space[KVS_DIGEST_SIZE], *keys = malloc((size_t)n * KEY_BYTES);
  struct kvi_space_opened opened;
  struct kvi_store_stats stats;
  struct kvi_store *store = NULL;
  uint64_t seed = 1, start;

  if (n == 0 || !keys || kvi_store_open(&config, &store) != KVS_OK ||
      kvs_space_digest(&desc, space) != KVS_OK ||
      kvi_store_space_open(store, "default", space, &desc, &opened) != KVS_OK) {
    fprintf(stderr, "cannot make a store of %u chunks\n", n);
    return 1;
  }
  for (size_t i = 0; i < (size_t)n * KEY_BYTES; i += 8) {
    uint64_t word = kvi_splitmix64(&seed);

    memcpy(keys + i, &word, 8);
  }
  start = kvi_now_ns();
  if (fill(store, space, keys, n) != KVS_OK) {
    fprintf(stderr, "a put failed\n");
    return 1;
  }
  kvi_store_stats(store, &stats);
  printf("%u chunks, %llu bytes of index each, put without payload %.0f ns\n", n,
         (unsigned long long)stats.index_bytes_per_chunk, (double)(kvi_now_ns() - start) / n);
  lookups(store, space, keys, n / CHAIN, 1, 0);
  lookups(store, space, keys, n / CHAIN, 16, 0);
  lookups(store, space, keys, n / CHAIN, 512, 0);
  lookups(store, space, keys, n / CHAIN, 512, 1000);
  read_all(store, space, keys, n);
  kvi_store_close(store);
  free(keys);
  return 0;
}
