/* server/node/address.h: "host:port" for listening. Blocks while a name is resolved; numeric addresses do
 * not. */
#ifndef KVI_NODE_ADDRESS_H
#define KVI_NODE_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>

#include <kvasir/status.h>

#define KVI_ADDRESS_ERROR_MAX 400u

struct kvi_node_address {
  struct addrinfo *list; /* what the host stands for, at least one */
  bool loopback;         /* every one of them is */
};

/* KVS_ERR_INVALID with one line in error: no port, a port out of range, a host that is not known. */
kvs_status kvi_node_address_parse(const char *text, struct kvi_node_address *address_p, char *error,
                                  size_t error_size);
void kvi_node_address_clear(struct kvi_node_address *address);

/*
 * Tries to bind the address and lets go of it again, so that a port in use is told at once and not after the
 * memory was touched. KVS_ERR_SYSTEM with one line in error.
 */
kvs_status kvi_node_address_try(const char *text, char *error, size_t error_size);

#endif
