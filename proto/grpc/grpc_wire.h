/*
 * proto/grpc/grpc_wire.h: the client's side of the gRPC wire (proto/wire.h says what a wire promises).
 *
 * One wire is one connection: a socket of ours, handed to gRPC, one completion queue, one thread. Two wires to the
 * same node are two connections. docs/threads-and-memory.md says who owns what.
 */
#ifndef KVASIR_PROTO_GRPC_GRPC_WIRE_H
#define KVASIR_PROTO_GRPC_GRPC_WIRE_H

#include "proto/wire.h"

/* All strings are copied. Zeros mean the defaults named. */
struct kvi_grpc_wire_options {
  const char *endpoint;        /* "kvasir://host:port" or "unix:/path" */
  uint32_t connect_timeout_ms; /* of one attempt, Hello included; 0: 1000 */
  uint32_t
      piece_bytes; /* bulk bytes put into one message; 0: KVI_PIECE_BYTES; at most the node's frame limit */
  kvi_wire_state_fn *state_fn; /* may be NULL */
  void *state_ctx;
  const char *tls_ca_file; /* NULL: no TLS */
  const char *tls_cert_file, *tls_key_file, *tls_server_name;
  /*
   * Holds the token to show to the node, read anew for each connection; NULL: none. Refused unless the bytes stay on this machine (a unix socket, a loopback address) or go by TLS, or plain_token says
   * that they may be read on their way.
   */
  const char *token_file;
  bool plain_token;
  bool
      hand_over; /* calls and transfers are sent by a thread of the wire: less time for the caller, a wake-up more */
  const char *software; /* told in Hello, for the node's log; NULL: "kvasir" */
};

/* KVS_OK if the endpoint is well formed, else KVS_ERR_INVALID. Resolves nothing. */
kvs_status kvi_grpc_endpoint_check(const char *endpoint);

/*
 * Starts the thread that connects and reconnects (backoff 100 ms to 5 s with jitter); does not wait for it. Errors:
 * KVS_ERR_INVALID (endpoint, TLS files missing, a token that would go in the clear), KVS_ERR_NOMEM, KVS_ERR_SYSTEM.
 */
kvs_status kvi_grpc_wire_open(const struct kvi_grpc_wire_options *options, struct kvi_wire **wire_p);

/* KVS_OK when connected, else why not, with a sentence in text (may be NULL). */
kvs_status kvi_grpc_wire_state(struct kvi_wire *wire, char *text, size_t size);

#endif
