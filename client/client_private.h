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

/*
 * As kvsc_wait_progress, by bytes rather than by segments, which are those that the chunks were stored in: KVS_OK once the first `bytes` bytes
 * (1 or more) of every chunk are verified and in place (*reached_p), or the operation has ended without that (not).
 */
kvs_status kvi_client_wait_bytes(kvsc_client *client, kvsc_op op, uint64_t bytes, uint32_t timeout_ms,
                                 bool *reached_p);

#endif
