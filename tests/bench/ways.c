#include "tests/bench/way.h"

#include <stddef.h>

const struct bench_way_ops *bench_way_get(enum bench_way_id way)
{
  switch (way) {
  case BENCH_RAW_TCP:
  case BENCH_RAW_UNIX:
    return &bench_way_raw;
  case BENCH_MEMCPY:
    return &bench_way_memcpy;
#ifdef KVASIR_BENCH_REDIS
  case BENCH_REDIS:
    return &bench_way_redis;
  case BENCH_REDIS_BENCHMARK:
    return &bench_way_redis_benchmark;
  case BENCH_REDIS_TIER:
    return &bench_way_medium;
  case BENCH_LMCACHE_RESP:
    return &bench_way_lmcache;
#endif
  case BENCH_GRPC_TCP:
  case BENCH_GRPC_UNIX:
    return &bench_way_client;
  case BENCH_EMBEDDED:
    return &bench_way_embedded;
  case BENCH_STORE:
    return &bench_way_store;
  case BENCH_FIO:
    return &bench_way_fio;
  case BENCH_SSD_NONE:
  case BENCH_SSD:
  case BENCH_SSD_PUT:
  case BENCH_SSD_DISCARD:
  case BENCH_SSD_FULL:
    return &bench_way_medium;
  case BENCH_MEMCPY_THREADS:
  case BENCH_DRAM:
    return &bench_way_dram;
  case BENCH_OPEN_SSD:
  case BENCH_OPEN_STORE:
    return &bench_way_open;
  default:
    return NULL;
  }
}
