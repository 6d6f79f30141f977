/*
 * tests/unit/grpc/fixture.h: a service of a few chunks in plain memory behind a real gRPC server, for tests of the wire alone. What a store
 * does seldom it does on demand: keep an equal put waiting, hand out a table that does not fit its bytes.
 */
#ifndef KVASIR_TESTS_UNIT_GRPC_FIXTURE_H
#define KVASIR_TESTS_UNIT_GRPC_FIXTURE_H

#include "proto/grpc/grpc_server.h"
#include "proto/grpc/grpc_wire.h"

#define FIXTURE_CHUNKS 64

struct fixture {
  struct kvi_service service;
  struct kvi_grpc_server *server;
  struct kvi_wire *wire;
  char endpoint[128];
  struct fixture_memory *memory;
};

/* A server on a free loopback port (unix: on a socket in a temporary folder), and a wire that is connected to it. */
void fixture_start(struct fixture *f, bool unix_socket, uint32_t piece_bytes);
/* As fixture_start, with a server of so many connections. */
void fixture_start_bounded(struct fixture *f, uint32_t max_connections);
/* As fixture_start, with a server of so many threads. */
void fixture_start_pollers(struct fixture *f, uint32_t pollers);
/* Another wire to it. */
struct kvi_wire *fixture_connect(const struct fixture *f, uint32_t piece_bytes);
void fixture_stop(struct fixture *f);
/* The same without a drain; the wire is destroyed already. */
void fixture_destroy(struct fixture *f);
/* From now on a peer that goes holds its poller, until it is not so any more. */
void fixture_block(struct fixture *f, bool block);
bool fixture_is_blocked(struct fixture *f);
/* On which thread the last Ping was. */
void fixture_ping_thread(struct fixture *f, char name[16]);
/* Wires made from here on send by a thread of their own, or (at first) their callers do. */
void fixture_hand_over(bool yes);

/* How much of a get abreast servers made from here on hold open. */
void fixture_abreast_bytes(uint64_t bytes);

/* The next get of this chunk is answered with a checksum that is wrong. */
void fixture_corrupt(struct fixture *f, const uint8_t key[32]);
/* What the last get that was opened takes. */
struct kvi_get_terms fixture_terms(const struct fixture *f);
/* From now on chunks are handed out whatever a get takes, as by a service that does not know of terms. */
void fixture_ignore_terms(struct fixture *f);
/* The quality that a chunk was put with. */
uint16_t fixture_quality(const struct fixture *f, const uint8_t key[32]);
/* Puts of this key are declined. */
void fixture_decline(struct fixture *f, const uint8_t key[32]);
/* Of the last of them: what it said of its prompt, and of the keys behind it: how many, and the first. */
uint32_t fixture_declined(struct fixture *f, uint32_t *n_behind_p, uint8_t behind[32]);
/* Puts of this key answer PENDING until fixture_resolve. */
void fixture_hold(struct fixture *f, const uint8_t key[32]);
void fixture_resolve(struct fixture *f, kvs_status status);
uint32_t fixture_landings_aborted(const struct fixture *f);
uint32_t fixture_sources_open(const struct fixture *f);
uint32_t fixture_peers_gone(const struct fixture *f);

#endif
