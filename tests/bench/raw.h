/*
 * tests/bench/raw.h: the least a store's wire could be: a fixed header, the payload, nothing else. What both ends of
 * the raw ways agree on; both run on one machine, so the words are in its byte order.
 *
 *   put  -> raw_request, payload      <- raw_reply
 *   get  -> raw_request               <- raw_reply, payload
 *   call -> raw_request               <- raw_reply
 */
#ifndef KVASIR_BENCH_RAW_H
#define KVASIR_BENCH_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/memory.h"

enum bench_raw_op { BENCH_RAW_PUT = 1, BENCH_RAW_GET = 2, BENCH_RAW_CALL = 3 };

struct bench_raw_request {
  uint64_t op, sequence;
  uint64_t offset, length; /* of the payload in the server's slab */
  uint64_t unused[4];      /* as long as a store's small header */
};

struct bench_raw_reply {
  uint64_t sequence, length;
};

/* The server's slab: gets read the first half, puts go round in the second. */
#define BENCH_RAW_SLAB (2 * BENCH_SERVER_BYTES)

/* Whole messages over a stream socket; false when the peer is gone. */
bool bench_send_all(int fd, const void *data, size_t length);
bool bench_receive_all(int fd, void *data, size_t length);
/* A header and a payload in one system call if the socket takes them. */
bool bench_send_both(int fd, const void *head, size_t head_length, const void *data, size_t length);

/* Small messages leave at once. */
void bench_no_delay(int fd);

/*
 * kvasir-bench serve-raw SOCKET-PATH: serves loopback TCP and the unix socket, prints "ready PORT", serves until it is
 * ended. Returns the exit status.
 */
int bench_serve_raw(const char *socket_path);

#endif
