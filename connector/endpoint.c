/* connector/endpoint.c: what an endpoint's text asks for. */
#include "connector/connector_private.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"

#define ENDPOINT_FORMS "say embedded:, embedded:4GiB, unix:/path or kvasir://host:port"

static bool begins_with(const char *text, const char *prefix)
{
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

static kvs_status refuse(const char *endpoint, const char *reason)
{
  kvi_log_error("endpoint '%s': %s: " ENDPOINT_FORMS, endpoint, reason);
  return KVS_ERR_INVALID;
}

kvs_status kvi_connector_endpoint_parse(const char *endpoint, enum kvi_connector_endpoint *kind_p,
                                        uint64_t *bytes_p)
{
  static const char embedded[] = "embedded:";

  *bytes_p = 0;
  *kind_p = KVI_CONNECTOR_EMBEDDED;
  if (endpoint == NULL || endpoint[0] == '\0')
    return KVS_OK;

  if (begins_with(endpoint, embedded)) {
    const char *size = endpoint + sizeof(embedded) - 1;

    if (size[0] == '\0')
      return KVS_OK;
    if (kvi_parse_size(size, bytes_p) != KVS_OK || *bytes_p == 0)
      return refuse(endpoint, "no size");
    return KVS_OK;
  }

  /* The rest of an address is the client's to check: it knows what it can connect to. */
  *kind_p = KVI_CONNECTOR_NODE;
  if (begins_with(endpoint, "unix:"))
    return endpoint[sizeof("unix:") - 1] == '/' ? KVS_OK : refuse(endpoint, "not an absolute path");
  if (begins_with(endpoint, "kvasir://"))
    return endpoint[sizeof("kvasir://") - 1] != '\0' ? KVS_OK : refuse(endpoint, "no host");
  return refuse(endpoint, "unknown kind");
}
