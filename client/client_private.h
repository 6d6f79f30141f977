/* client/client_private.h: what the connector needs of the client beyond its public face: the same client over any wire. */
#ifndef KVASIR_CLIENT_CLIENT_PRIVATE_H
#define KVASIR_CLIENT_CLIENT_PRIVATE_H

#include "proto/wire.h"
#include <kvasir/client.h>

/*
 * Makes the wire once the client can be told of its state: called once from the open functions. state_fn may be called from then on.
 */
typedef kvs_status kvi_client_wire_factory(void *factory_ctx, const kvsc_options *options,
                                           kvi_wire_state_fn *state_fn, void *state_ctx,
                                           struct kvi_wire **wire_p);

/* kvsc_open with a wire of the caller's making (embedded: the local wire). options->endpoint is not looked at. */
kvs_status kvi_client_open_over(const kvsc_options *options, kvi_client_wire_factory *factory,
                                void *factory_ctx, kvsc_client **client_p);

#endif
