/* server/node/node_private.h: shared by node.c (life), node_store.c (its tiers) and node_pages.c (what the admin port says). */
#ifndef KVI_NODE_NODE_PRIVATE_H
#define KVI_NODE_NODE_PRIVATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "proto/encode.h"
#include "server/node/admin.h"
#include "server/node/metrics.h"
#include "server/node/settings.h"
#include "server/node/tenants.h"
#include "server/node/unix_path.h"

enum kvi_node_state {
  KVI_NODE_STARTING, /* the admin port is up; the parts below are being made */
  KVI_NODE_SERVING,  /* all parts are there */
  KVI_NODE_DRAINING, /* all parts are still there */
};

struct kvi_node {
  struct kvi_settings *settings;
  /* Released by the starter after the parts are set, acquired by the admin thread before it reads them. */
  _Atomic int state;
  uint64_t started_ns;

  struct kvi_admin *admin;
  struct kvi_test_clock *test_clock; /* NULL: none; the store's as long as it is open */
  struct kvi_node_tenants *tenants;  /* NULL: everybody is "default" */
  struct kvi_store *store;
  struct kvi_remember *remember;    /* NULL: nothing outlives the node but chunks */
  struct kvi_shared *shared;        /* NULL: there is none */
  struct kvi_medium *shared_medium; /* its own */
  struct kvi_medium *ssd_faults,
      *redis_faults; /* the test faults around a tier; NULL: none. The tier's owner's. */
  struct kvi_store_service *service;
  struct kvi_expirer *expirer;
  struct kvi_grpc_server *grpc;
  struct kvi_unix_path_id unix_id;
};

/* faults.c: puts the test faults around a medium, if rules are not "". *faults_p is NULL without. As kvi_faulty_create. */
kvs_status kvi_node_faults_add(const char *rules, struct kvi_medium **medium, struct kvi_medium **faults_p);
/* encoders.c: what a codec's setting (enum kvi_node_codec) has encoded, and how. */
struct kvi_encode_rules kvi_node_encode_rules(const struct kvi_node_settings *values, int codec);
/* encoders.c: puts an encoder around a medium (enum kvi_node_codec). As kvi_encoder_create. */
kvs_status kvi_node_encoder_add(const struct kvi_node_settings *values, int codec,
                                struct kvi_medium **medium);
void kvi_node_faults_metrics(struct kvi_node *node, struct kvi_metrics *metrics);

struct kvi_admin_source kvi_node_pages(struct kvi_node *node);

/* node_tenants.c: the file of tenants, if there is one; again, on a reload. error as kvi_node_start. */
kvs_status kvi_node_read_tenants(struct kvi_node *node, char *error, size_t error_size);
void kvi_node_reread_tenants(struct kvi_node *node);

/* node_store.c: the store over its tiers, and what is remembered of its programs, as the settings say. Blocks while memory is touched and the SSD tier is read. On an error node->remember may be there. */
kvs_status kvi_node_open_store(struct kvi_node *node, char *error, size_t error_size);

#endif
