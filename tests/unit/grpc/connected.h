/* tests/unit/grpc/connected.h: a wire that is connected, without polling for it. */
#ifndef KVASIR_TESTS_UNIT_GRPC_CONNECTED_H
#define KVASIR_TESTS_UNIT_GRPC_CONNECTED_H

#include "proto/grpc/grpc_wire.h"

/* Opens a wire whose state is told to connected_wait; options->state_fn is taken for it. */
struct kvi_wire *connected_open(struct kvi_grpc_wire_options *options);
/* Returns when a wire of connected_open is connected. Fails the test if it is not within 20 s. */
void connected_wait(struct kvi_wire *wire);

#endif
