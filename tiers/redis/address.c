/* tiers/redis/address.c: see address.h. */
#include "tiers/redis/address.h"

#include <stdio.h>
#include <string.h>

static bool parse_port(const char *text, size_t length, uint16_t *port_p)
{
  uint32_t port = 0;

  if (length == 0 || length > 5)
    return false;
  for (size_t i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9')
      return false;
    port = port * 10 + (uint32_t)(text[i] - '0');
  }
  if (port == 0 || port > UINT16_MAX)
    return false;
  *port_p = (uint16_t)port;
  return true;
}

static bool take_host(const char *text, size_t length, struct kvi_redis_address *address)
{
  if (length == 0 || length >= sizeof(address->host) || memchr(text, '\0', length))
    return false;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
      return false; /* no host looks so, and it will be printed */
  memcpy(address->host, text, length);
  address->host[length] = '\0';
  return true;
}

kvs_status kvi_redis_address_parse(const char *text, uint16_t standard_port,
                                   struct kvi_redis_address *address_p)
{
  struct kvi_redis_address address = {.port = standard_port};
  const char *host = text, *end, *colon;
  size_t host_length;

  memset(address_p, 0, sizeof(*address_p));
  if (text[0] == '[') {
    end = strchr(text, ']');
    if (!end || (end[1] != '\0' && end[1] != ':'))
      return KVS_ERR_INVALID;
    host = text + 1;
    host_length = (size_t)(end - host);
    colon = end[1] == ':' ? end + 1 : NULL;
  } else {
    colon = strrchr(text, ':');
    if (colon && strchr(text, ':') != colon)
      return KVS_ERR_INVALID; /* IPv6 without brackets */
    host_length = colon ? (size_t)(colon - text) : strlen(text);
  }
  if (!take_host(host, host_length, &address))
    return KVS_ERR_INVALID;
  if (colon && !parse_port(colon + 1, strlen(colon + 1), &address.port))
    return KVS_ERR_INVALID;
  if (address.port == 0)
    return KVS_ERR_INVALID;
  *address_p = address;
  return KVS_OK;
}

kvs_status kvi_redis_address_told(const char *text, size_t length, const struct kvi_redis_address *asked,
                                  struct kvi_redis_address *address_p)
{
  struct kvi_redis_address address = {0};
  const char *bus = length > 0 ? memchr(text, '@', length) : NULL;
  size_t colon;

  memset(address_p, 0, sizeof(*address_p));
  if (bus)
    length = (size_t)(bus - text);
  for (colon = length; colon > 0 && text[colon - 1] != ':'; colon--)
    ;
  if (colon == 0 || !parse_port(text + colon, length - colon, &address.port))
    return KVS_ERR_INVALID;
  if (colon == 1)
    memcpy(address.host, asked->host, sizeof(address.host));
  else if (!take_host(text, colon - 1, &address))
    return KVS_ERR_INVALID;
  *address_p = address;
  return KVS_OK;
}

bool kvi_redis_address_equal(const struct kvi_redis_address *a, const struct kvi_redis_address *b)
{
  return a->port == b->port && strcmp(a->host, b->host) == 0;
}

char *kvi_redis_address_format(const struct kvi_redis_address *address, char dst[KVI_REDIS_ADDRESS_MAX])
{
  const char *form = strchr(address->host, ':') ? "[%s]:%u" : "%s:%u";

  /* NOLINTNEXTLINE: one of two literals */
  snprintf(dst, KVI_REDIS_ADDRESS_MAX, form, address->host, (unsigned)address->port);
  return dst;
}
