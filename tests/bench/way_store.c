/* Lookups in the index itself, with no wire and no connector: how many keys a second one core can look up. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "tests/bench/keys.h"
#include "tests/bench/way.h"
#include "tiers/store.h"

#define CHUNKS      8192u /* more metadata than the nearer caches hold */
#define CHUNK_BYTES 4096u
#define PAGE_BYTES  16384u
#define DRAM_BYTES  (2 * (uint64_t)CHUNKS * PAGE_BYTES)
#define TENANT      "default"

struct index {
  struct kvi_store *store;
  uint8_t digest[KVS_DIGEST_SIZE];
  uint8_t keys[CHUNKS * BENCH_KEY];
  uint64_t sequence;
};

static void index_close(void *way)
{
  struct index *index = way;

  if (index == NULL)
    return;
  kvi_store_close(index->store);
  free(index);
}

/* Calls that find nobody ahead of them never wait. */
static void never_waits(void *ctx, kvs_status status)
{
  (void)ctx;
  (void)status;
}

static kvs_status put(struct index *index, const uint8_t *key)
{
  uint32_t length = CHUNK_BYTES;
  struct kvi_put_request request = {.space = index->digest,
                                    .key = key,
                                    .key_length = BENCH_KEY,
                                    .unchained = true,
                                    .length = CHUNK_BYTES,
                                    .n_segments = 1,
                                    .segment_lengths = &length};
  struct kvi_landing landing;
  uint32_t crc = 0;
  kvs_status status = kvi_store_put_begin(index->store, TENANT, &request, never_waits, index, &landing);

  if (status != KVS_OK)
    return status;
  for (uint32_t i = 0; i < landing.n_iov; i++) {
    memset(landing.iov[i].base, 1, landing.iov[i].length);
    crc = kvi_crc32c_update(crc, landing.iov[i].base, landing.iov[i].length);
  }
  landing.segments[0].crc32c = crc;
  return kvi_store_put_commit(index->store, &landing);
}

static kvs_status fill(struct index *index)
{
  kvs_space_desc desc = bench_space();
  struct kvi_space_opened opened;
  kvs_status status = kvs_space_digest(&desc, index->digest);

  if (status == KVS_OK)
    status = kvi_store_space_open(index->store, TENANT, index->digest, &desc, &opened);
  for (uint32_t i = 0; i < CHUNKS && status == KVS_OK; i++) {
    bench_key_of_set(index->keys + (size_t)i * BENCH_KEY, CHUNK_BYTES, i);
    status = put(index, index->keys + (size_t)i * BENCH_KEY);
  }
  return status;
}

static kvs_status index_open(const struct bench_way_config *config, void **way_p)
{
  struct kvi_store_config options = {
      .dram_bytes = DRAM_BYTES, .dram_page_bytes = PAGE_BYTES, .max_chunks = CHUNKS};
  struct index *index = calloc(1, sizeof *index);
  kvs_status status;

  (void)config;
  *way_p = NULL;
  if (index == NULL)
    return KVS_ERR_NOMEM;
  status = kvi_store_open(&options, &index->store);
  if (status == KVS_OK)
    status = fill(index);
  if (status != KVS_OK) {
    index_close(index);
    return status;
  }
  *way_p = index;
  return KVS_OK;
}

static kvs_status index_prepare(void *way, const struct bench_case *what)
{
  (void)way;
  return what->op == BENCH_LOOKUP && CHUNKS % what->keys == 0 ? KVS_OK : KVS_ERR_UNSUPPORTED;
}

static kvs_status index_issue(void *way, const struct bench_case *what, uint32_t slot, uint64_t sequence)
{
  struct index *index = way;

  (void)what;
  (void)slot;
  index->sequence = sequence;
  return KVS_OK;
}

static kvs_status index_reap(void *way, const struct bench_case *what, struct bench_done *done_p)
{
  struct index *index = way;
  const uint8_t *space = index->digest;
  uint64_t first = index->sequence % (CHUNKS / what->keys) * what->keys;
  uint8_t present[CHUNKS / 8];
  struct kvi_store_lookup lookup = {.tenant = TENANT,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = index->keys + first * BENCH_KEY,
                                    .key_length = BENCH_KEY,
                                    .n_keys = what->keys};
  struct kvi_store_lookup_result result = {.present = present};
  kvs_status status = kvi_store_lookup(index->store, &lookup, &result);

  done_p->n = what->keys;
  done_p->hits = result.prefix;
  return status == KVS_OK && result.prefix != what->keys ? KVS_MISS : status;
}

static kvs_status index_verify(void *way, const struct bench_case *what)
{
  (void)way;
  (void)what;
  return KVS_OK; /* every lookup was checked as it came */
}

const struct bench_way_ops bench_way_store = {
    .open = index_open,
    .prepare = index_prepare,
    .issue = index_issue,
    .reap = index_reap,
    .verify = index_verify,
    .close = index_close,
};
