/*
 * server/node/node.h: a node: store, service, gRPC server, admin port and timer, put together in the order
 * that makes each visible only when what it needs is there. docs/threads-and-memory.md lists the threads.
 *
 * start, drain and destroy are for one thread; no signal may be delivered to the threads they make, so the
 * caller has blocked all it cares about.
 */
#ifndef KVI_NODE_NODE_H
#define KVI_NODE_NODE_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

struct kvi_settings;
struct kvi_node;

/*
 * Starts a node; when it returns KVS_OK the node serves. Blocks while memory is touched (about 0.3 s a GiB).
 * settings must outlive the node. open_files is the limit in force, which bounds the connections. On an error
 * nothing is left behind and error says why in one line.
 */
kvs_status kvi_node_start(struct kvi_settings *settings, uint64_t open_files, char *error, size_t error_size,
                          struct kvi_node **node_p);

/* The settings were read again: takes over what the node's parts keep of them (the test faults of tiers). */
void kvi_node_reloaded(struct kvi_node *node);

/* Takes no new work, waits for what is in flight, at most timeout_ms, then cancels it. */
void kvi_node_drain(struct kvi_node *node, uint64_t timeout_ms);

/* Ends and frees everything. NULL is fine. */
void kvi_node_destroy(struct kvi_node *node);

#endif
