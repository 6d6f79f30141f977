/*
 * tiers/service.h: the store behind the ops that wires call (proto/service.h): used by a server's wires and by the embedded
 * store alike.
 */
#ifndef KVASIR_TIERS_SERVICE_H
#define KVASIR_TIERS_SERVICE_H

#include "proto/kvasir/v1/cache.pb-c.h"
#include "proto/service.h"
#include "tiers/programs.h"
#include "tiers/shared.h"
#include "tiers/store.h"

struct kvi_store_service;

struct kvi_store_service_config {
  struct kvi_store *store;   /* not owned */
  struct kvi_shared *shared; /* what nodes share, over the same store; NULL: nothing. Not owned. */
  const char *software;      /* "kvasir 0.1.0"; copied */
  uint64_t incarnation;      /* new at every start, never 0 */
  uint32_t frame_bytes_max;  /* 0: KVI_FRAME_BYTES_MAX */
  uint32_t batch_chunks_max; /* 0: KVI_BATCH_CHUNKS_MAX */
  /*
   * Threads that decode coded chunks for gets whose terms do not have their coding, up to KVI_DECODER_THREADS_MAX; their memory is a share of the store's (service_get.c). 0: such
   * gets miss them.
   */
  uint32_t decode_threads;
  uint32_t decode_waiting; /* chunks that wait for one of them; 0: 256 */
  /* The effective configuration as JSON for the Config call; NULL: "{}". Returns a malloc'd string or NULL. */
  char *(*config_json)(void *ctx);
  void *config_ctx;
};

/* Errors: KVS_ERR_INVALID, KVS_ERR_NOMEM, KVS_ERR_SYSTEM. */
kvs_status kvi_store_service_create(const struct kvi_store_service_config *config,
                                    struct kvi_store_service **service_p);
/* No get waits, and no source is open. NULL is fine. */
void kvi_store_service_destroy(struct kvi_store_service *service);

/* The ops for wires. Valid until destroy. */
const struct kvi_service *kvi_store_service_get(struct kvi_store_service *service);

/* What hints have told of programs; the service's. */
struct kvi_programs *kvi_store_service_programs(struct kvi_store_service *service);

/* From now on puts and gets answer KVS_ERR_DRAINING; what is in flight goes on. */
void kvi_store_service_drain(struct kvi_store_service *service);

/* The store's statistics as Prometheus-named rows, an allocated protobuf-c message: free with protobuf_c_message_free_unpacked. */
kvs_status kvi_store_service_stats(struct kvi_store_service *service, Kvasir__V1__StatsReply **reply_p);

#endif
