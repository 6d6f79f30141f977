/*
 * server/node/expirer.h: the node's timer: ends leases that ran out, a few times a second, and so tells that
 * the store still answers: its beat is what /healthz looks at.
 */
#ifndef KVI_NODE_EXPIRER_H
#define KVI_NODE_EXPIRER_H

#include <stdint.h>

#include <kvasir/status.h>

struct kvi_store;
struct kvi_expirer;

/* KVS_ERR_NOMEM, KVS_ERR_SYSTEM (logged). */
kvs_status kvi_expirer_start(struct kvi_store *store, struct kvi_expirer **expirer_p);
/* Milliseconds since it last got through the store. Any thread. */
uint64_t kvi_expirer_age_ms(const struct kvi_expirer *expirer);
/* Ends the thread; the store may be closed after. NULL is fine. */
void kvi_expirer_destroy(struct kvi_expirer *expirer);

#endif
