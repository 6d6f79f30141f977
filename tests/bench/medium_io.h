/*
 * tests/bench/medium_io.h: inside the ways over tiers/medium.h: operations of a medium in slots, which end later, in a
 * callback. One thread issues and waits.
 */
#ifndef KVASIR_BENCH_MEDIUM_IO_H
#define KVASIR_BENCH_MEDIUM_IO_H

#include <pthread.h>

#include "tests/bench/held.h"
#include "tests/bench/ring.h"
#include "tests/bench/way.h"
#include "tiers/medium.h"

struct medium_io;

/* An operation in flight. */
struct medium_slot {
  struct kvi_medium_put put;
  struct kvi_medium_get get;
  uint8_t key[BENCH_KEY];
  struct kvi_iov iov;
  uint64_t number;
  uint32_t index, place;
  bool is_put;
  kvs_status status;
  struct medium_io *io;
};

/* A medium that is open, with what it holds. */
struct medium_volume {
  struct kvi_medium *medium;
  struct bench_held held;
  uint64_t size;
  uint32_t connections;
};

struct medium_io {
  struct medium_volume *volume; /* of the case at hand; the caller's */
  struct bench_ring ring;
  uint64_t payload; /* size of the chunks whose bytes and tables lie ready; 0: none do */
  uint32_t payload_depth;
  uint8_t *tables; /* of the places of the ring, one after the other */
  uint8_t space[KVS_DIGEST_SIZE];
  struct medium_slot slots[BENCH_DEPTH_MAX];
  uint64_t last_put; /* its number */

  pthread_mutex_t lock;
  pthread_cond_t ended;
  uint32_t ready[BENCH_DEPTH_MAX]; /* slots that have ended */
  uint32_t n_ready;
};

/* KVS_ERR_NOMEM: closed again. */
kvs_status medium_io_open(struct medium_io *io);
void medium_io_close(struct medium_io *io);

/*
 * The bytes and tables of what is put, as the case cuts the ring. The same bytes lie at the same place each time, so
 * that a chunk is known by its place.
 */
void medium_io_payload(struct medium_io *io, const struct bench_case *what);

/* Of the slot's length, which is the caller's to set; what KVS_OK has started, medium_io_wait gives back. */
kvs_status medium_io_put(struct medium_io *io, struct medium_slot *slot);
kvs_status medium_io_get(struct medium_io *io, struct medium_slot *slot, uint64_t number, void *to);
/* One that has ended. */
struct medium_slot *medium_io_wait(struct medium_io *io);

/* Reads one chunk, with nothing else in flight, and compares every byte. */
kvs_status medium_io_compare(struct medium_io *io, uint64_t number, uint64_t size);
/* Puts `bytes` of chunks, as many in flight as the case has. */
kvs_status medium_io_fill(struct medium_io *io, const struct bench_case *what, uint64_t bytes);

#endif
