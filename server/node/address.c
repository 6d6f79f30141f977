/* address.c: parsing and trying of "host:port". */
#include "server/node/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

#define HOST_MAX 256u

static bool is_loopback(const struct addrinfo *info)
{
  if (info->ai_family == AF_INET) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)info->ai_addr;

    return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  if (info->ai_family == AF_INET6) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)info->ai_addr;

    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
  }
  return false;
}

/* "127.0.0.1:7070", "[::1]:7070", "localhost:7070". *port_p points into text. */
static bool split(const char *text, char host[HOST_MAX], const char **port_p)
{
  const char *colon = strrchr(text, ':');
  size_t length;

  if (colon == NULL || colon == text)
    return false;
  length = (size_t)(colon - text);
  if (text[0] == '[') {
    if (text[length - 1] != ']')
      return false;
    text++;
    length -= 2;
  } else if (memchr(text, ':', length) != NULL) {
    return false; /* IPv6 needs brackets, or nobody knows which colon is the port's */
  }
  if (length == 0 || length >= HOST_MAX)
    return false;
  memcpy(host, text, length);
  host[length] = '\0';
  *port_p = colon + 1;
  return true;
}

kvs_status kvi_node_address_parse(const char *text, struct kvi_node_address *address_p, char *error,
                                  size_t error_size)
{
  struct addrinfo hints = {
      .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  char host[HOST_MAX];
  const char *port;
  int64_t number;
  int rc;

  memset(address_p, 0, sizeof(*address_p));
  if (!split(text, host, &port)) {
    snprintf(error, error_size, "%.200s is not of the form host:port or [IPv6]:port", text);
    return KVS_ERR_INVALID;
  }
  if (kvi_parse_int(port, &number) != KVS_OK || number < 0 || number > 65535) {
    snprintf(error, error_size, "%.200s: the port is not a number from 0 to 65535", text);
    return KVS_ERR_INVALID;
  }
  rc = getaddrinfo(host, port, &hints, &address_p->list);
  if (rc != 0) {
    snprintf(error, error_size, "%.200s: %s", text, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    return KVS_ERR_INVALID;
  }
  address_p->loopback = true;
  for (const struct addrinfo *info = address_p->list; info != NULL; info = info->ai_next)
    address_p->loopback = address_p->loopback && is_loopback(info);
  return KVS_OK;
}

void kvi_node_address_clear(struct kvi_node_address *address)
{
  if (address->list != NULL)
    freeaddrinfo(address->list);
  address->list = NULL;
}

static int try_bind(const struct addrinfo *info)
{
  int on = 1, result = 0;
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return errno;
  /* As servers do: a connection of a former process in TIME_WAIT is no obstacle. */
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (info->ai_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(fd, info->ai_addr, info->ai_addrlen) != 0)
    result = errno;
  close(fd);
  return result;
}

kvs_status kvi_node_address_try(const char *text, char *error, size_t error_size)
{
  struct kvi_node_address address;
  kvs_status status = kvi_node_address_parse(text, &address, error, error_size);
  int failure = 0;

  if (status != KVS_OK)
    return status;
  /* A name may stand for an IPv4 and an IPv6 address, of which the machine has one. */
  for (const struct addrinfo *info = address.list; info != NULL; info = info->ai_next) {
    failure = try_bind(info);
    if (failure == 0 || failure == EADDRINUSE || failure == EACCES)
      break;
  }
  kvi_node_address_clear(&address);
  if (failure == 0)
    return KVS_OK;
  snprintf(error, error_size, "cannot listen on %.200s: %s", text,
           failure == EADDRINUSE ? "the port is in use by another process" : strerror(failure));
  return KVS_ERR_SYSTEM;
}
