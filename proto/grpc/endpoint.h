/* proto/grpc/endpoint.h: "kvasir://host:port" and "unix:/path" taken apart. */
#ifndef KVASIR_PROTO_GRPC_ENDPOINT_H
#define KVASIR_PROTO_GRPC_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_ENDPOINT_TEXT 272u

struct kvi_endpoint {
  char unix_path[108]; /* "" when it is TCP */
  char host[256], port[6];
};

/* KVS_ERR_INVALID: not of one of the two forms, a path that is not absolute or longer than 107 bytes, a port above 65535. */
kvs_status kvi_endpoint_parse(const char *text, struct kvi_endpoint *endpoint_p);
/* Whether what is sent there stays on this machine: a unix socket, "localhost", an address of the loopback device. */
bool kvi_endpoint_is_local(const struct kvi_endpoint *endpoint);
/* "host:port" or "[v6]:port" without a scheme; port 0 is fine. */
kvs_status kvi_address_parse(const char *text, struct kvi_endpoint *endpoint_p);

#endif
