/* tests/unit/grpc/run.h: one transfer and how it ended, waited for with a deadline. */
#ifndef KVASIR_TESTS_UNIT_GRPC_RUN_H
#define KVASIR_TESTS_UNIT_GRPC_RUN_H

#include <pthread.h>

#include "proto/wire.h"

#define KEY 32

struct run {
  struct kvi_transfer t;
  struct kvi_transfer_chunk chunks[8];
  uint8_t keys[8 * KEY];
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool done;
  kvs_status status;
  uint32_t n_chunk_calls, last_segments;
};

/* A transfer of n_chunks keys that begin with first_key, first_key + 1, ...; its chunks are the caller's to fill. */
void prepare(struct run *r, bool put, uint32_t n_chunks, uint8_t first_key, uint64_t timeout_ms);
/* Its status. Fails the test if it does not end. */
kvs_status finish(struct run *r);

#endif
