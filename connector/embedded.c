/* connector/embedded.c: the store inside the engine's process. */
#include "connector/connector_private.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/rand.h"
#include "client/client_private.h"
#include "proto/local/local.h"
#include "tiers/service.h"
#include "tiers/store.h"

struct kvi_connector_embedded {
  struct kvi_store *store;
  struct kvi_store_service *service;
};

/* kvi_client_wire_factory: the client asks for its wire. */
static kvs_status make_wire(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn,
                            void *state_ctx, struct kvi_wire **wire_p)
{
  struct kvi_connector_embedded *embedded = ctx;

  (void)options;
  return kvi_local_wire_open(kvi_store_service_get(embedded->service), state_fn, state_ctx, wire_p);
}

static kvs_status open_store(struct kvi_connector_embedded *embedded, uint64_t bytes)
{
  struct kvi_store_config store = {.dram_bytes = bytes};
  struct kvi_store_service_config service = {.software = "kvasir embedded"};
  kvs_status status = kvi_random_id(&service.incarnation);

  if (status != KVS_OK)
    return status;
  status = kvi_store_open(&store, &embedded->store);
  if (status != KVS_OK) {
    kvi_log_error("embedded store of %llu bytes: %s", (unsigned long long)bytes, kvs_status_text(status));
    return status;
  }
  service.store = embedded->store;
  return kvi_store_service_create(&service, &embedded->service);
}

kvs_status kvi_connector_embedded_open(uint64_t bytes, const kvsc_options *options,
                                       struct kvi_connector_embedded **embedded_p, kvsc_client **client_p)
{
  struct kvi_connector_embedded *embedded = calloc(1, sizeof(*embedded));
  kvs_status status;

  *embedded_p = NULL;
  *client_p = NULL;
  if (embedded == NULL)
    return KVS_ERR_NOMEM;
  status = open_store(embedded, bytes);
  if (status == KVS_OK)
    status = kvi_client_open_over(options, make_wire, embedded, client_p);
  if (status != KVS_OK) {
    kvi_connector_embedded_close(embedded);
    return status;
  }
  *embedded_p = embedded;
  return KVS_OK;
}

void kvi_connector_embedded_close(struct kvi_connector_embedded *embedded)
{
  if (embedded == NULL)
    return;
  kvi_store_service_destroy(embedded->service);
  kvi_store_close(embedded->store);
  free(embedded);
}
