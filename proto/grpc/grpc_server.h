/*
 * proto/grpc/grpc_server.h: the node's side of the gRPC wire: takes calls and transfers and asks a kvi_service.
 *
 * Plain sockets are accepted by a thread of ours, which bounds connections, checks credentials of unix peers, survives
 * exhausted file descriptors, and shuts down connections that stopped reading; with TLS gRPC's own listener accepts.
 */
#ifndef KVASIR_PROTO_GRPC_GRPC_SERVER_H
#define KVASIR_PROTO_GRPC_GRPC_SERVER_H

#include "proto/service.h"

struct kvi_grpc_server;

/* What a client shows of itself. NULL: nothing. Valid during the call. */
struct kvi_grpc_credential {
  const char *token; /* token_length bytes of `authorization: Bearer ...`, which may be anything */
  size_t token_length;
  const char *common_name, *spiffe_id; /* of a client certificate that the TLS handshake has verified */
};
/*
 * Who is that? Called for each call and each stream, on any poller; must not block. KVS_OK: peer's tenant, which lives as long as the server, and limited are set; its id may be changed, so that no
 * tenant can name another's: the same for all calls and streams of one session. KVS_ERR_DENIED.
 */
typedef kvs_status kvi_grpc_identify_fn(void *ctx, const struct kvi_grpc_credential *credential,
                                        struct kvi_peer *peer);

/* Strings and the service must live until destroy. Zeros mean the defaults named. */
struct kvi_grpc_server_options {
  const struct kvi_service *service;
  const char *const *listen; /* "host:port"; port 0 takes any */
  size_t n_listen;           /* at most 8 */
  const char *unix_socket;   /* absolute path, or NULL */
  uint32_t
      unix_mode;    /* permission bits of the socket; 0: 0660. Peers are checked against them by credential */
  uint32_t pollers; /* 0: cores / 4, 1 to 4 */
  uint32_t
      max_connections; /* 0: 1024; beyond, a connection is closed at once and counted; so many transfer streams
                               too, of which a client needs one: beyond, a stream ends with RESOURCE_EXHAUSTED */
  uint32_t max_streams; /* calls at a time of one connection; 0: 128 */
  uint32_t
      stall_timeout_ms; /* a connection whose send queue does not move for so long is shut down; 0: 10000 */
  uint32_t piece_bytes; /* bulk bytes put into one message; 0: KVI_PIECE_BYTES */
  uint64_t memory_quota_bytes; /* what gRPC may buffer; 0: 256 MiB */
  const char *tls_cert_file,
      *tls_key_file; /* both or none: then every listen address speaks TLS, the unix socket does not */
  const char *tls_client_ca_file; /* demand client certificates signed by this; NULL: none demanded */
  kvi_grpc_identify_fn *identify; /* NULL: everybody is of the tenant "default" */
  void *identify_ctx;
  char *error; /* a sentence when start fails; may be NULL */
  size_t error_size;
};

struct kvi_grpc_server_stats {
  uint64_t connections, connections_total, refused_connections_total, stalled_connections_total;
  uint64_t refused_streams_total, refused_credentials_total;
  uint64_t streams, transfers, calls_total, unknown_calls_total, protocol_errors_total;
  uint64_t frames_in_total, frames_out_total, bytes_in_total, bytes_out_total;
};

/* Listens and serves when it returns. Errors: KVS_ERR_CONFIG (address, port in use, rights, certificates: see error), KVS_ERR_SYSTEM, KVS_ERR_NOMEM. */
kvs_status kvi_grpc_server_start(const struct kvi_grpc_server_options *options,
                                 struct kvi_grpc_server **server_p);
/* The port of listen[index]. */
uint16_t kvi_grpc_server_port(const struct kvi_grpc_server *server, size_t index);
/* What grpc.health.v1 answers. Serving from the start. */
void kvi_grpc_server_set_serving(struct kvi_grpc_server *server, bool serving);
/*
 * Takes no new connection or call, lets transfers in flight end for up to timeout_ms, then cancels them. Blocks so long plus at most 1 s. Once.
 */
void kvi_grpc_server_drain(struct kvi_grpc_server *server, uint32_t timeout_ms);
/* Drains with 0 ms if that was not done, frees. NULL is fine. */
void kvi_grpc_server_destroy(struct kvi_grpc_server *server);
void kvi_grpc_server_stats(const struct kvi_grpc_server *server, struct kvi_grpc_server_stats *stats_p);

#endif
