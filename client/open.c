/* client/open.c: a client over the network: the only file here that knows which wire an endpoint takes. */
#include <string.h>

#include "client/client_internal.h"
#include "proto/grpc/grpc_wire.h"

#ifndef KVI_SOFTWARE
#error "the build gives KVI_SOFTWARE"
#endif

static kvs_status open_grpc(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn,
                            void *state_ctx, struct kvi_wire **wire_p)
{
  const struct kvi_grpc_wire_options wire_options = {
      .endpoint = options->endpoint,
      .connect_timeout_ms = options->connect_timeout_ms > 0 ? options->connect_timeout_ms : 1000,
      .state_fn = state_fn,
      .state_ctx = state_ctx,
      .tls_ca_file = options->tls_ca_file,
      .tls_cert_file = options->tls_cert_file,
      .tls_key_file = options->tls_key_file,
      .tls_server_name = options->tls_server_name,
      .token_file = options->token_file,
      .plain_token = options->plain_token != 0,
      .hand_over = options->hand_over != 0,
      .software = KVI_SOFTWARE,
  };

  (void)ctx;
  return kvi_grpc_wire_open(&wire_options, wire_p);
}

/* A socket of this machine carries bytes faster than a core encodes them. */
static bool is_local(const char *endpoint)
{
  return strncmp(endpoint, "unix:", sizeof("unix:") - 1) == 0;
}

kvs_status kvsc_open(const kvsc_options *options, kvsc_client **client_p)
{
  kvsc_options taken;
  kvs_status status;

  if (client_p == NULL)
    return KVS_ERR_INVALID;
  *client_p = NULL;
  if (options == NULL || !kvi_client_take_struct(&taken, sizeof(taken), options) || taken.endpoint == NULL)
    return KVS_ERR_INVALID;
  status = kvi_grpc_endpoint_check(taken.endpoint);
  if (status != KVS_OK)
    return status;
  if (is_local(taken.endpoint) && taken.encode <= KVSC_ENCODE_CACHEGEN)
    taken.encode = KVSC_ENCODE_NONE;
  return kvi_client_open_telling(&taken, open_grpc, NULL, kvi_grpc_wire_state, client_p);
}
