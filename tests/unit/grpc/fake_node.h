/*
 * tests/unit/grpc/fake_node.h: a node that does what it is told, and nothing that it is not: it answers Hello and Ping, takes one
 * transfer stream, sends the frames a test gives it, and stops reading when told. For a client's behaviour with nodes that are
 * stopped, broken or hostile.
 */
#ifndef KVASIR_TESTS_UNIT_GRPC_FAKE_NODE_H
#define KVASIR_TESTS_UNIT_GRPC_FAKE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "proto/kvasir/v1/cache.pb-c.h"

struct fake_node;

struct fake_node_options {
  uint32_t frames_read;   /* how many frames of the stream are read; the rest is left to flow control */
  bool silent;            /* Hello is never answered */
  const char *cert, *key; /* PEM, for TLS; NULL: plain */
  uint32_t protocol_min, protocol_max; /* what Hello says that it speaks; 0: what this side does */
  kvs_status hello_status;             /* Hello's answer */
};

/* Listens on a unix socket, whose small buffer makes a client's writes block soon. endpoint has 128 bytes. */
struct fake_node *fake_node_start(const struct fake_node_options *options, char *endpoint);
void fake_node_stop(struct fake_node *node);
/* As SIGSTOP would: no byte is read or written until stop. */
void fake_node_freeze(struct fake_node *node);
/* Waits for a frame with a start; the id of the youngest transfer. */
uint64_t fake_node_wait_start(struct fake_node *node);
/* Sends one frame, and waits until it was taken. */
void fake_node_send(struct fake_node *node, const Kvasir__V1__FrameHeader *header, const void *data,
                    uint32_t length);

#endif
