/*
 * server/node/tenants.h: who may use a node, from the file that the setting `tenants` names (docs/tenants.md): names, shares, and the credentials that they are known by.
 *
 * One thread loads and reloads; kvi_node_tenants_identify may be called from any thread meanwhile.
 */
#ifndef KVI_NODE_TENANTS_H
#define KVI_NODE_TENANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "proto/grpc/grpc_server.h"
#include "tiers/store.h"

#define KVI_NODE_TENANTS_ERROR_MAX 512u
#define KVI_NODE_TENANTS_FILE_MAX  (256u << 10)

struct kvi_node_tenants;

/* KVS_ERR_CONFIG with a sentence in error: the file cannot be read, others may change or read it, or it is wrong. KVS_ERR_NOMEM, KVS_ERR_SYSTEM (no random ids). Blocks for the file. redis_for_ever: there is a Redis, and nothing there goes by time: bounds of what is there are refused. */
kvs_status kvi_node_tenants_load(const char *path, bool redis_for_ever, struct kvi_node_tenants **tenants_p,
                                 char *error, size_t error_size);
/* The same for a text; name stands for the file's in error. */
kvs_status kvi_node_tenants_parse(const char *name, const char *text, size_t length,
                                  struct kvi_node_tenants **tenants_p, char *error, size_t error_size);
/* Nobody identifies any more. NULL is fine. */
void kvi_node_tenants_free(struct kvi_node_tenants *tenants);

/* For the store. As long as tenants. */
const struct kvi_tenant_config *kvi_node_tenants_configs(const struct kvi_node_tenants *tenants,
                                                         uint32_t *n_p);

/* What bounds in memory may add up to, so that no tenant makes another's chunks leave it: above the high mark (percent) chunks that are on SSD too do, whosever they are. */
uint64_t kvi_node_tenants_room(uint64_t dram_bytes, bool ssd, uint32_t high_mark);

/* As kvi_grpc_identify_fn; ctx is the tenants. */
kvs_status kvi_node_tenants_identify(void *ctx, const struct kvi_grpc_credential *credential,
                                     struct kvi_peer *peer);

/*
 * Credentials, shares and rights become those of `fresh`, which is freed; the store is told of the shares. A name that was not there at the start waits for a restart, and is named in the log; one
 * that is not there any more has no credentials and no share.
 */
void kvi_node_tenants_take_over(struct kvi_node_tenants *tenants, struct kvi_node_tenants *fresh,
                                struct kvi_store *store);

#endif
