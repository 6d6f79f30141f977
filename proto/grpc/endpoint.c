#include "proto/grpc/endpoint.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static bool copy(char *out, size_t room, const char *text, size_t length)
{
  if (length == 0 || length >= room)
    return false;
  memcpy(out, text, length);
  out[length] = '\0';
  return true;
}

static bool port_is_valid(const char *port)
{
  size_t length = strlen(port);
  return length > 0 && length <= 5 && strspn(port, "0123456789") == length &&
         strtoul(port, NULL, 10) <= 65535;
}

kvs_status kvi_address_parse(const char *text, struct kvi_endpoint *endpoint_p)
{
  struct kvi_endpoint e = {0};
  const char *colon = strrchr(text, ':');
  if (!colon || !port_is_valid(colon + 1))
    return KVS_ERR_INVALID;
  const char *host = text, *end = colon;
  if (*host == '[') {
    if (end == host || end[-1] != ']')
      return KVS_ERR_INVALID;
    host++;
    end--;
  } else if (memchr(host, ':', (size_t)(end - host))) {
    return KVS_ERR_INVALID; /* an IPv6 address without brackets */
  }
  if (!copy(e.host, sizeof e.host, host, (size_t)(end - host)))
    return KVS_ERR_INVALID;
  memcpy(e.port, colon + 1, strlen(colon + 1) + 1);
  *endpoint_p = e;
  return KVS_OK;
}

kvs_status kvi_endpoint_parse(const char *text, struct kvi_endpoint *endpoint_p)
{
  if (!text)
    return KVS_ERR_INVALID;
  if (strncmp(text, "unix:", 5) == 0) {
    struct kvi_endpoint e = {0};
    if (text[5] != '/' || !copy(e.unix_path, sizeof e.unix_path, text + 5, strlen(text + 5)))
      return KVS_ERR_INVALID;
    *endpoint_p = e;
    return KVS_OK;
  }
  if (strncmp(text, "kvasir://", 9) != 0)
    return KVS_ERR_INVALID;
  kvs_status status = kvi_address_parse(text + 9, endpoint_p);
  return status == KVS_OK && strcmp(endpoint_p->port, "0") == 0 ? KVS_ERR_INVALID : status;
}

bool kvi_endpoint_is_local(const struct kvi_endpoint *endpoint)
{
  struct in_addr v4;
  struct in6_addr v6;
  if (endpoint->unix_path[0] || strcmp(endpoint->host, "localhost") == 0)
    return true;
  if (inet_pton(AF_INET, endpoint->host, &v4) == 1)
    return ntohl(v4.s_addr) >> 24 == 127;
  return inet_pton(AF_INET6, endpoint->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
