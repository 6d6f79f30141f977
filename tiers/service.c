/* tiers/service.c: the store as wires see it: its life, and puts. Gets are in service_get.c, the control calls in service_calls.c. */
#include "tiers/service_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/limits.h"

#define ABREAST_PART     8u /* of the memory, held open for one get */
#define GET_AHEAD_CHUNKS 8u /* keep a fast SSD busy with chunks of 2 MiB */

bool kvi_service_is_draining(const struct kvi_store_service *service)
{
  /* relaxed: a put more or less around the start of draining is of no matter */
  return atomic_load_explicit(&service->draining, memory_order_relaxed);
}

static kvs_status service_put_begin(void *self, const struct kvi_peer *peer,
                                    const struct kvi_put_request *request, kvi_put_wait_fn *wait_fn,
                                    void *wait_ctx, struct kvi_landing *landing_p)
{
  struct kvi_store_service *service = self;
  kvs_status status;

  if (kvi_service_is_draining(service))
    return KVS_ERR_DRAINING;
  status = kvi_store_put_begin(service->config.store, peer->tenant, request, wait_fn, wait_ctx, landing_p);
  if (status == KVS_OK && service->config.shared)
    landing_p->note = kvi_shared_note_make(service->config.shared, peer->tenant, request);
  return status;
}

static kvs_status service_put_commit(void *self, struct kvi_landing *landing)
{
  struct kvi_store_service *service = self;
  struct kvi_shared_note *note = landing->note;
  kvs_status status = kvi_store_put_commit(service->config.store, landing);

  if (status == KVS_OK && note)
    kvi_shared_offer(service->config.shared, note);
  else
    kvi_shared_note_free(note);
  return status;
}

static void service_put_abort(void *self, struct kvi_landing *landing)
{
  struct kvi_store_service *service = self;

  kvi_shared_note_free(landing->note);
  kvi_store_put_abort(service->config.store, landing);
}

static void service_put_unwait(void *self, void *wait_ctx)
{
  struct kvi_store_service *service = self;

  kvi_store_put_unwait(service->config.store, wait_ctx);
}

static void service_peer_gone(void *self, const struct kvi_peer *peer)
{
  struct kvi_store_service *service = self;

  kvi_store_release_owner(service->config.store, peer->id);
}

static const struct kvi_service_ops service_ops = {
    .call = kvi_service_call,
    .put_begin = service_put_begin,
    .put_commit = service_put_commit,
    .put_abort = service_put_abort,
    .put_unwait = service_put_unwait,
    .get_open = kvi_service_get_open,
    .get_unwait = kvi_service_get_unwait,
    .get_ahead = kvi_service_get_ahead,
    .get_close = kvi_service_get_close,
    .peer_gone = service_peer_gone,
};

kvs_status kvi_store_service_create(const struct kvi_store_service_config *config,
                                    struct kvi_store_service **service_p)
{
  struct kvi_store_service *service;
  kvs_status status;

  *service_p = NULL;
  if (!config->store || config->incarnation == 0 || config->frame_bytes_max > KVI_FRAME_BYTES_MAX ||
      config->batch_chunks_max > KVI_BATCH_CHUNKS_MAX)
    return KVS_ERR_INVALID;
  service = calloc(1, sizeof(*service));
  if (!service)
    return KVS_ERR_NOMEM;
  service->config = *config;
  service->started_ns = kvi_now_ns();
  service->software = strdup(config->software ? config->software : "kvasir");
  service->service.ops = &service_ops;
  service->service.self = service;
  service->service.limits = (struct kvi_service_limits){
      .chunk_bytes_max = kvi_store_chunk_bytes_max(config->store),
      .frame_bytes_max = config->frame_bytes_max ? config->frame_bytes_max : KVI_FRAME_BYTES_MAX,
      .batch_chunks_max = config->batch_chunks_max ? config->batch_chunks_max : KVI_BATCH_CHUNKS_MAX,
      .abreast_bytes = kvi_store_dram_bytes(config->store) / ABREAST_PART,
      .get_ahead_chunks = kvi_store_has_medium(config->store) || config->shared ? GET_AHEAD_CHUNKS : 0};
  status = service->software ? kvi_programs_create(KVI_PROGRAMS_DEFAULT, &service->programs) : KVS_ERR_NOMEM;
  if (status == KVS_OK && config->decode_threads > 0)
    status = kvi_service_decoding_create(service);
  if (status != KVS_OK) {
    kvi_store_service_destroy(service);
    return status;
  }
  *service_p = service;
  return KVS_OK;
}

void kvi_store_service_destroy(struct kvi_store_service *service)
{
  if (!service)
    return;
  kvi_service_decoding_destroy(service);
  kvi_programs_destroy(service->programs);
  free(service->software);
  free(service);
}

const struct kvi_service *kvi_store_service_get(struct kvi_store_service *service)
{
  return &service->service;
}

struct kvi_programs *kvi_store_service_programs(struct kvi_store_service *service)
{
  return service->programs;
}

void kvi_store_service_drain(struct kvi_store_service *service)
{
  if (!atomic_exchange_explicit(&service->draining, true, memory_order_relaxed))
    kvi_log_info("draining: puts and gets are refused from now on");
}
