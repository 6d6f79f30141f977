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
#endif
  case BENCH_GRPC_TCP:
  case BENCH_GRPC_UNIX:
    return &bench_way_client;
  case BENCH_EMBEDDED:
    return &bench_way_embedded;
  case BENCH_STORE:
    return &bench_way_store;
  default:
    return NULL;
  }
}
