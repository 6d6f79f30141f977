/* node.c: puts a node together and takes it apart. */
#include "server/node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/text.h"
#include "proto/grpc/grpc_server.h"
#include "server/node/address.h"
#include "server/node/expirer.h"
#include "server/node/node_private.h"
#include "server/node/redis_tier.h"
#include "server/node/settings.h"
#include "server/node/test_clock.h"
#include "tiers/remember.h"
#include "tiers/service.h"

#define FILES_APART    128u /* descriptors that are not clients': logs, queues, timers, pages of /proc */
#define POLLERS_MAX    4u
#define CORES_A_POLLER 4

/* ---- the parts ---- */

static char *config_json(void *ctx)
{
  return kvi_settings_json(ctx);
}

static kvs_status create_service(struct kvi_node *node, char *error, size_t error_size)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  struct kvi_store_service_config config = {
      .store = node->store,
      .shared = node->shared,
      .software = "kvasir " KVASIR_VERSION,
      .frame_bytes_max = (uint32_t)values->frame_max_size,
      .batch_chunks_max = (uint32_t)values->batch_max_chunks,
      .decode_threads = (uint32_t)values->codec_threads,
      .config_json = config_json,
      .config_ctx = node->settings,
  };
  kvs_status status = kvi_random_id(&config.incarnation);

  if (status == KVS_OK)
    status = kvi_store_service_create(&config, &node->service);
  if (status != KVS_OK)
    snprintf(error, error_size, "the service did not start: %s", kvs_status_text(status));
  return status;
}

static uint32_t poller_count(const struct kvi_node_settings *values)
{
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  long pollers = cores / CORES_A_POLLER;

  if (values->grpc_pollers > 0)
    return (uint32_t)values->grpc_pollers;
  if (pollers < 1)
    return 1;
  return pollers > (long)POLLERS_MAX ? POLLERS_MAX : (uint32_t)pollers;
}

/* Each connection takes two descriptors: the socket and the acceptor's duplicate, by which it shuts down a
 * stalled one. */
static uint32_t connection_bound(const struct kvi_node_settings *values, uint64_t open_files)
{
  uint64_t apart = FILES_APART + (uint64_t)values->admin_max_connections;
  uint64_t bound = open_files > apart + 2 ? (open_files - apart) / 2 : 1;

  if (open_files == 0 || bound >= (uint64_t)values->grpc_max_connections)
    return (uint32_t)values->grpc_max_connections;
  kvi_log_warn("grpc.max_connections lowered from %lld to %llu: the limit on open files is %llu",
               (long long)values->grpc_max_connections, (unsigned long long)bound,
               (unsigned long long)open_files);
  return (uint32_t)bound;
}

static const char *path_or_null(const char *path)
{
  return path[0] == '\0' ? NULL : path;
}

static kvs_status start_grpc(struct kvi_node *node, uint64_t open_files, char *error, size_t error_size)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  char why[KVI_ADDRESS_ERROR_MAX] = "";
  struct kvi_grpc_server_options options = {
      .service = kvi_store_service_get(node->service),
      .listen = values->listen.items,
      .n_listen = values->listen.count,
      .unix_socket = path_or_null(values->unix_socket),
      .unix_mode = kvi_settings_unix_mode(values),
      .pollers = poller_count(values),
      .max_connections = connection_bound(values, open_files),
      .stall_timeout_ms = (uint32_t)values->grpc_stall_timeout,
      .memory_quota_bytes = values->grpc_memory_quota,
      .max_streams = (uint32_t)values->grpc_max_streams,
      .tls_cert_file = path_or_null(values->tls_cert_file),
      .tls_key_file = path_or_null(values->tls_key_file),
      .tls_client_ca_file = path_or_null(values->tls_client_ca_file),
      .identify = node->tenants != NULL ? kvi_node_tenants_identify : NULL,
      .identify_ctx = node->tenants,
      .error = why,
      .error_size = sizeof(why),
  };
  kvs_status status = kvi_grpc_server_start(&options, &node->grpc);

  if (status != KVS_OK)
    snprintf(error, error_size, "grpc: %s", why[0] != '\0' ? why : kvs_status_text(status));
  return status;
}

static kvs_status start_admin(struct kvi_node *node, char *error, size_t error_size)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  struct kvi_admin_options options = {
      .listen = values->admin_listen,
      .max_connections = (uint32_t)values->admin_max_connections,
      .source = kvi_node_pages(node),
      .version = KVASIR_VERSION,
      .error = error,
      .error_size = error_size,
  };

  if (values->admin_listen[0] == '\0')
    return KVS_OK;
  return kvi_admin_start(&options, &node->admin);
}

/* What can be known to fail is found out before the memory is touched, which may take minutes. */
static kvs_status try_places(const struct kvi_node_settings *values, char *error, size_t error_size)
{
  for (size_t i = 0; i < values->listen.count; i++) {
    kvs_status status = kvi_node_address_try(values->listen.items[i], error, error_size);

    if (status != KVS_OK)
      return status;
  }
  if (values->unix_socket[0] == '\0')
    return KVS_OK;
  return kvi_unix_path_prepare(values->unix_socket, error, error_size);
}

/* ---- life ---- */

static void log_ready(const struct kvi_node *node)
{
  const struct kvi_node_settings *values = kvi_settings_get(node->settings);
  char size[KVI_FORMAT_MAX];

  for (size_t i = 0; i < values->listen.count; i++) {
    const char *address = values->listen.items[i];

    kvi_log_info("grpc on %.*s:%u", (int)(strrchr(address, ':') - address), address,
                 (unsigned)kvi_grpc_server_port(node->grpc, i));
  }
  if (values->unix_socket[0] != '\0')
    kvi_log_info("grpc on unix:%s", values->unix_socket);
  kvi_log_info("ready: kvasird %s, pid %ld, dram %s", KVASIR_VERSION, (long)getpid(),
               kvi_format_size(values->dram_size, size));
}

static void log_admin(const struct kvi_node *node)
{
  const char *address = kvi_settings_get(node->settings)->admin_listen;

  if (node->admin != NULL)
    kvi_log_info("admin on %.*s:%u", (int)(strrchr(address, ':') - address), address,
                 (unsigned)kvi_admin_port(node->admin));
}

kvs_status kvi_node_start(struct kvi_settings *settings, uint64_t open_files, char *error, size_t error_size,
                          struct kvi_node **node_p)
{
  const struct kvi_node_settings *values = kvi_settings_get(settings);
  struct kvi_node *node;
  kvs_status status;

  *node_p = NULL;
  node = calloc(1, sizeof(*node));
  if (node == NULL) {
    snprintf(error, error_size, "%s", kvs_status_text(KVS_ERR_NOMEM));
    return KVS_ERR_NOMEM;
  }
  node->settings = settings;
  node->started_ns = kvi_now_ns();
  atomic_init(&node->state, KVI_NODE_STARTING);

  status = try_places(values, error, error_size);
  if (status != KVS_OK)
    goto free_node;
  status = kvi_node_read_tenants(node, error, error_size);
  if (status != KVS_OK)
    goto free_node;
  status = start_admin(node, error, error_size);
  if (status != KVS_OK)
    goto free_tenants;
  log_admin(node);
  status = kvi_node_open_store(node, error, error_size);
  if (status != KVS_OK)
    goto destroy_admin;
  status = kvi_node_redis_open(values, node->store, error, error_size, &node->shared, &node->shared_medium,
                               &node->redis_faults);
  if (status != KVS_OK)
    goto close_store;
  status = create_service(node, error, error_size);
  if (status != KVS_OK)
    goto destroy_shared;
  status = kvi_expirer_start(node->store, &node->expirer);
  if (status == KVS_OK && node->remember != NULL)
    status = kvi_remember_start(node->remember, kvi_store_service_programs(node->service));
  if (status != KVS_OK) {
    snprintf(error, error_size, "a thread of the node did not start: %s", kvs_status_text(status));
    goto destroy_expirer;
  }
  status = start_grpc(node, open_files, error, error_size);
  if (status != KVS_OK)
    goto destroy_expirer;

  if (values->unix_socket[0] != '\0')
    node->unix_id = kvi_unix_path_identify(values->unix_socket);
  atomic_store_explicit(&node->state, KVI_NODE_SERVING, memory_order_release);
  kvi_grpc_server_set_serving(node->grpc, true);
  log_ready(node);
  *node_p = node;
  return KVS_OK;

destroy_expirer:
  kvi_expirer_destroy(node->expirer);
  kvi_remember_destroy(node->remember);
  node->remember = NULL;
  kvi_store_service_destroy(node->service);
destroy_shared:
  kvi_shared_destroy(node->shared);
close_store:
  kvi_store_close(node->store);
destroy_admin:
  kvi_remember_destroy(node->remember);   /* also of a store that did not open */
  kvi_test_clock_close(node->test_clock); /* also of a store that did not open */
  kvi_admin_destroy(node->admin);
free_tenants:
  kvi_node_tenants_free(node->tenants);
free_node:
  free(node);
  return status;
}

void kvi_node_drain(struct kvi_node *node, uint64_t timeout_ms)
{
  atomic_store_explicit(&node->state, KVI_NODE_DRAINING, memory_order_release);
  kvi_grpc_server_set_serving(node->grpc, false);
  kvi_remember_save(node->remember); /* beside the drain: a slow disk has all of its time */
  kvi_store_service_drain(node->service);
  kvi_grpc_server_drain(node->grpc, (uint32_t)timeout_ms);
}

/* From the parts that others can reach to those that nobody can. */
void kvi_node_destroy(struct kvi_node *node)
{
  if (node == NULL)
    return;
  kvi_admin_destroy(node->admin);
  kvi_grpc_server_destroy(node->grpc);
  kvi_unix_path_remove(kvi_settings_get(node->settings)->unix_socket, node->unix_id);
  kvi_expirer_destroy(node->expirer);
  kvi_remember_finish(node->remember);
  kvi_store_service_destroy(node->service);
  kvi_shared_destroy(node->shared);
  kvi_store_close(node->store); /* chunks first: without them nobody waits */
  kvi_remember_destroy(node->remember);
  kvi_test_clock_close(node->test_clock);
  kvi_node_tenants_free(node->tenants);
  free(node);
}
