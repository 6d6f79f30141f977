/*
 * proto/local/local.h: the wire over a service of this process. No copy but the one between the store's memory and the
 * caller's, no thread but one that ends what has to wait.
 *
 * Calls and transfers run to their end on the caller's thread: every callback is made before call or submit returns. The
 * exception are puts of a chunk that somebody else is putting at this moment: such a transfer goes on when that put has
 * ended, and its remaining callbacks come from the wire's own thread, at the latest at its deadline. Callbacks of one
 * transfer never run at the same time.
 *
 * Every get checks each segment against the chunk's table while it is copied, in one pass; a segment that lies wholly in a
 * hole is neither read nor checked. Deadline, cancel and destroy are looked at once a segment. A transfer allocates
 * nothing, save one block when it has to wait for an equal put.
 */
#ifndef KVI_PROTO_LOCAL_LOCAL_H
#define KVI_PROTO_LOCAL_LOCAL_H

#include "proto/service.h"
#include "proto/wire.h"

/*
 * Opens the wire: says Hello to the service, then tells state_fn (may be NULL), on this thread, that it is connected.
 * service and what is behind it must outlive the wire. Errors: KVS_ERR_INVALID, KVS_ERR_VERSION (logged with both
 * ranges), KVS_ERR_NOMEM, KVS_ERR_SYSTEM, and those of the service's Hello.
 */
kvs_status kvi_local_wire_open(const struct kvi_service *service, kvi_wire_state_fn *state_fn,
                               void *state_ctx, struct kvi_wire **wire_p);

#endif
