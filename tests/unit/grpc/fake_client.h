/* tests/unit/grpc/fake_client.h: a client that sends what a test gives it on one transfer stream. One thread, the caller's. */
#ifndef KVASIR_TESTS_UNIT_GRPC_FAKE_CLIENT_H
#define KVASIR_TESTS_UNIT_GRPC_FAKE_CLIENT_H

#include <grpc/status.h>

#include "proto/kvasir/v1/cache.pb-c.h"

struct fake_client;

/* endpoint as a wire's, of a TCP address. gzip: messages are compressed. */
struct fake_client *fake_client_open(const char *endpoint, bool gzip);
void fake_client_close(struct fake_client *client);
void fake_client_send(struct fake_client *client, const Kvasir__V1__FrameHeader *header, const void *data,
                      size_t length);
/* The stream's status, once the node has ended it. Fails the test if it does not. */
grpc_status_code fake_client_status(struct fake_client *client);

#endif
