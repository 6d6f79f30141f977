/* Whose a call or stream is: what its client shows of itself, for the node to judge. */
#include <string.h>

#include <grpc/grpc_security.h>

#include "base/log.h"
#include "proto/grpc/server_private.h"

#define SCHEME       "Bearer "
#define SCHEME_BYTES (sizeof SCHEME - 1)

/* The token of the one authorization header. False: there are several, or another scheme. */
static bool token_find(const grpc_metadata_array *metadata, struct kvi_grpc_credential *credential)
{
  bool seen = false;
  for (size_t i = 0; i < metadata->count; i++) {
    const grpc_slice *value = &metadata->metadata[i].value;
    if (grpc_slice_str_cmp(metadata->metadata[i].key, "authorization") != 0)
      continue;
    if (seen || GRPC_SLICE_LENGTH(*value) <= SCHEME_BYTES ||
        memcmp(GRPC_SLICE_START_PTR(*value), SCHEME, SCHEME_BYTES) != 0)
      return false;
    seen = true;
    credential->token = (const char *)GRPC_SLICE_START_PTR(*value) + SCHEME_BYTES;
    credential->token_length = GRPC_SLICE_LENGTH(*value) - SCHEME_BYTES;
  }
  return true;
}

/* The property's only value; NULL: none, several, or one with a NUL inside. */
static const char *property(const grpc_auth_context *context, const char *name)
{
  grpc_auth_property_iterator all = grpc_auth_context_find_properties_by_name(context, name);
  const grpc_auth_property *one = grpc_auth_property_iterator_next(&all);
  if (!one || grpc_auth_property_iterator_next(&all) || strlen(one->value) != one->value_length)
    return NULL;
  return one->value;
}

static kvs_status ask(struct kvi_grpc_server *server, grpc_call *call, const grpc_metadata_array *metadata,
                      struct kvi_peer *peer)
{
  struct kvi_grpc_credential credential = {0};
  grpc_auth_context *context = NULL;
  if (!token_find(metadata, &credential))
    return KVS_ERR_DENIED;
  if (server->credentials && server->options.tls_client_ca_file) {
    context = grpc_call_auth_context(call);
    credential.common_name = property(context, GRPC_X509_CN_PROPERTY_NAME);
    credential.spiffe_id = property(context, GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
  }
  kvs_status status = server->options.identify(server->options.identify_ctx, &credential, peer);
  if (context)
    grpc_auth_context_release(context);
  return status;
}

kvs_status kvi_server_identify(struct kvi_grpc_server *server, grpc_call *call,
                               const grpc_metadata_array *metadata, struct kvi_peer *peer)
{
  peer->tenant = "default";
  peer->limited = false;
  if (!server->options.identify)
    return KVS_OK;
  kvs_status status = ask(server, call, metadata, peer);
  if (status != KVS_OK) {
    atomic_fetch_add_explicit(&server->counters.refused_credentials, 1, memory_order_relaxed);
    kvi_log_limited(KVI_LOG_WARN, "peer %s refused: it has no credential, or one that nobody knows",
                    peer->name);
  }
  return status;
}
