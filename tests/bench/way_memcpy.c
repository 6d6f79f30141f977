/* One core copying memory that is not in its caches: the limit of a store in the same process. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/ring.h"
#include "tests/bench/way.h"

struct copier {
  struct bench_slab source;
  struct bench_ring ring;
  uint64_t sequence;
};

static void copier_close(void *way)
{
  struct copier *copier = way;

  if (copier == NULL)
    return;
  bench_slab_close(&copier->source);
  bench_ring_close(&copier->ring);
  free(copier);
}

static kvs_status copier_open(const struct bench_way_config *config, void **way_p)
{
  struct copier *copier = calloc(1, sizeof *copier);

  (void)config;
  *way_p = NULL;
  if (copier == NULL)
    return KVS_ERR_NOMEM;
  if (!bench_slab_open_huge(&copier->source, BENCH_SERVER_BYTES) || !bench_ring_open(&copier->ring)) {
    copier_close(copier);
    return KVS_ERR_NOMEM;
  }
  *way_p = copier;
  return KVS_OK;
}

static kvs_status copier_prepare(void *way, const struct bench_case *what)
{
  struct copier *copier = way;

  bench_ring_cut(&copier->ring, what);
  for (uint64_t i = 0; i < BENCH_SERVER_BYTES / what->size; i++)
    bench_pattern_fill(copier->source.base + i * what->size, what->size, bench_seed(what->size, i));
  return KVS_OK;
}

static uint64_t place_of(uint64_t sequence, uint64_t size)
{
  return sequence % (BENCH_SERVER_BYTES / size);
}

static kvs_status copier_issue(void *way, const struct bench_case *what, uint32_t slot, uint64_t sequence)
{
  struct copier *copier = way;

  (void)what;
  (void)slot;
  copier->sequence = sequence;
  return KVS_OK;
}

static kvs_status copier_reap(void *way, const struct bench_case *what, struct bench_done *done_p)
{
  struct copier *copier = way;
  uint64_t place = place_of(copier->sequence, what->size);
  uint8_t *to = bench_ring_next(&copier->ring, 0);

  memcpy(to, copier->source.base + place * what->size, what->size);
  done_p->bytes = what->size;
  return bench_pattern_glance(to, what->size, bench_seed(what->size, place)) ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status copier_verify(void *way, const struct bench_case *what)
{
  struct copier *copier = way;
  uint64_t seed = bench_seed(what->size, place_of(copier->sequence, what->size));

  return bench_pattern_check(copier->ring.last[0], what->size, seed) ? KVS_OK : KVS_ERR_CORRUPT;
}

const struct bench_way_ops bench_way_memcpy = {
    .open = copier_open,
    .prepare = copier_prepare,
    .issue = copier_issue,
    .reap = copier_reap,
    .verify = copier_verify,
    .close = copier_close,
};
