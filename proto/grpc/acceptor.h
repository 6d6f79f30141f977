/* proto/grpc/acceptor.h: the thread that accepts plain connections and can end them. */
#ifndef KVASIR_PROTO_GRPC_ACCEPTOR_H
#define KVASIR_PROTO_GRPC_ACCEPTOR_H

#include "proto/grpc/server_private.h"

/* Binds and listens, then starts the thread. KVS_ERR_CONFIG with server->options.error filled, KVS_ERR_SYSTEM, KVS_ERR_NOMEM. */
kvs_status kvi_acceptor_start(struct kvi_grpc_server *server, struct acceptor *_Atomic *acceptor_p);
/*
 * Closes the listening sockets; connections live on. Waits for the thread, which never waits itself: afterwards no connection is given to the gRPC server, which may be shut
 * down then.
 */
void kvi_acceptor_stop_listening(struct acceptor *acceptor);
/*
 * The connection behind gRPC's name of a peer ("fd:12"): its serial number, and who it is. 0: not one of ours (TLS); name is
 * left alone. Any thread.
 */
uint64_t kvi_acceptor_name(struct acceptor *acceptor, const char *grpc_peer, char *name, size_t size);
/* Shuts a connection down, so that whatever gRPC still writes to it fails; serial 0: all. Any thread. */
void kvi_acceptor_shutdown(struct acceptor *acceptor, uint64_t serial);
/* After the gRPC server is gone. NULL is fine. */
void kvi_acceptor_destroy(struct acceptor *acceptor);

#endif
