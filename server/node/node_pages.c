/* node_pages.c: what the admin port says of the node. Runs on the admin thread. */
#include "server/node/node_private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/grpc_server.h"
#include "server/node/expirer.h"
#include "server/node/machine.h"
#include "server/node/metrics.h"
#include "server/node/redis_tier.h"
#include "tiers/service.h"

#define STUCK_MS 30000u /* the timer beats four times a second */

static enum kvi_node_state state_of(struct kvi_node *node)
{
  return (enum kvi_node_state)atomic_load_explicit(&node->state, memory_order_acquire);
}

static bool healthy(void *ctx, kvi_strbuf *out)
{
  struct kvi_node *node = ctx;
  uint64_t age = state_of(node) == KVI_NODE_STARTING ? 0 : kvi_expirer_age_ms(node->expirer);

  if (age > STUCK_MS) {
    kvi_strbuf_addf(out, "the store has not answered for %llu s\n", (unsigned long long)(age / 1000));
    return false;
  }
  kvi_strbuf_add(out, "ok\n");
  return true;
}

static bool ready(void *ctx, kvi_strbuf *out)
{
  static const char *const words[] = {"starting\n", "ready\n", "draining\n"};
  enum kvi_node_state state = state_of(ctx);

  kvi_strbuf_add(out, words[state]);
  return state == KVI_NODE_SERVING;
}

static void add_process(struct kvi_metrics *metrics)
{
  struct kvi_process_stats stats;

  kvi_process_stats(&stats);
  kvi_metrics_counter(metrics, "process_cpu_seconds_total", stats.cpu_seconds,
                      "CPU time used, user and system, in seconds.");
  kvi_metrics_counter(metrics, "process_page_faults_total", stats.page_faults,
                      "Page faults, minor and major.");
  kvi_metrics_gauge(metrics, "process_max_fds", stats.open_files_limit, "Most files that may be open.");
  if (stats.open_files > 0)
    kvi_metrics_gauge(metrics, "process_open_fds", stats.open_files, "Open files, sockets included.");
  if (stats.threads > 0)
    kvi_metrics_gauge(metrics, "process_threads", stats.threads, "Threads.");
  if (stats.resident_bytes > 0) {
    kvi_metrics_gauge(metrics, "process_resident_memory_bytes", stats.resident_bytes,
                      "Resident memory in bytes.");
    kvi_metrics_gauge(metrics, "process_virtual_memory_bytes", stats.virtual_bytes,
                      "Virtual memory in bytes.");
  }
}

static void add_node(struct kvi_node *node, struct kvi_metrics *metrics)
{
  kvi_metrics_add(metrics, false, "kvasir_build_info", "version=\"" KVASIR_VERSION "\"", 1,
                  "Always 1; the version is the label.");
  kvi_metrics_gauge(metrics, "kvasir_node_uptime_seconds", (double)(kvi_now_ns() - node->started_ns) / 1e9,
                    "Seconds since the process started.");
  kvi_metrics_gauge(metrics, "kvasir_node_ready", state_of(node) == KVI_NODE_SERVING,
                    "1 while the node takes work, else 0.");
  kvi_metrics_counter(metrics, "kvasir_log_lines_lost_total", kvi_log_lost(),
                      "Log lines that could not be written.");
}

static void add_grpc(struct kvi_node *node, struct kvi_metrics *metrics)
{
  struct kvi_grpc_server_stats stats;

  kvi_grpc_server_stats(node->grpc, &stats);
  kvi_metrics_gauge(metrics, "kvasir_grpc_connections", stats.connections, "Client connections now.");
  kvi_metrics_counter(metrics, "kvasir_grpc_connections_total", stats.connections_total,
                      "Client connections taken since the start.");
  kvi_metrics_counter(metrics, "kvasir_grpc_connections_refused_total", stats.refused_connections_total,
                      "Client connections closed at once because of a bound or the unix socket's mode.");
  kvi_metrics_gauge(metrics, "kvasir_grpc_streams", stats.streams, "Transfer streams now.");
  kvi_metrics_counter(metrics, "kvasir_grpc_streams_refused_total", stats.refused_streams_total,
                      "Transfer streams ended at once because of a bound.");
  kvi_metrics_counter(metrics, "kvasir_grpc_credentials_refused_total", stats.refused_credentials_total,
                      "Calls and streams refused because no tenant has their credential.");
  kvi_metrics_gauge(metrics, "kvasir_grpc_transfers", stats.transfers,
                    "Gets and puts of batches in flight now.");
  kvi_metrics_counter(metrics, "kvasir_grpc_calls_total", stats.calls_total, "Calls taken since the start.");
  kvi_metrics_counter(metrics, "kvasir_grpc_unknown_calls_total", stats.unknown_calls_total,
                      "Calls of methods that this node does not have.");
  kvi_metrics_add(metrics, true, "kvasir_grpc_frames_total", "direction=\"in\"",
                  (double)stats.frames_in_total, "Frames of transfer streams.");
  kvi_metrics_add(metrics, true, "kvasir_grpc_frames_total", "direction=\"out\"",
                  (double)stats.frames_out_total, "Frames of transfer streams.");
  kvi_metrics_add(metrics, true, "kvasir_grpc_bytes_total", "direction=\"in\"", (double)stats.bytes_in_total,
                  "Bytes of messages.");
  kvi_metrics_add(metrics, true, "kvasir_grpc_bytes_total", "direction=\"out\"",
                  (double)stats.bytes_out_total, "Bytes of messages.");
  kvi_metrics_counter(metrics, "kvasir_grpc_protocol_errors_total", stats.protocol_errors_total,
                      "Messages that the protocol does not allow; each ends its stream.");
  kvi_metrics_counter(metrics, "kvasir_grpc_stalled_connections_total", stats.stalled_connections_total,
                      "Connections closed because their peer had stopped reading.");
}

static void add_store(const Kvasir__V1__StatsReply *reply, struct kvi_metrics *metrics)
{
  for (size_t i = 0; i < reply->n_stats; i++) {
    const Kvasir__V1__Stat *stat = reply->stats[i];

    kvi_metrics_add(metrics, stat->kind == 1, stat->name, stat->labels, stat->value, stat->help);
  }
}

static void metrics_page(void *ctx, kvi_strbuf *out)
{
  struct kvi_node *node = ctx;
  struct kvi_metrics *metrics = calloc(1, sizeof(*metrics));
  Kvasir__V1__StatsReply *reply = NULL;

  if (metrics == NULL) {
    out->status = KVS_ERR_NOMEM;
    return;
  }
  add_node(node, metrics);
  add_process(metrics);
  if (state_of(node) != KVI_NODE_STARTING) {
    add_grpc(node, metrics);
    kvi_node_redis_metrics(node->shared_medium, metrics);
    kvi_node_faults_metrics(node, metrics);
    if (kvi_store_service_stats(node->service, &reply) == KVS_OK)
      add_store(reply, metrics);
  }
  kvi_metrics_write(metrics, out);
  if (metrics->dropped > 0)
    kvi_log_limited(KVI_LOG_WARN, "metrics: %zu samples left out", metrics->dropped);
  if (reply != NULL)
    protobuf_c_message_free_unpacked(&reply->base, NULL);
  free(metrics);
}

struct kvi_admin_source kvi_node_pages(struct kvi_node *node)
{
  struct kvi_admin_source source = {.healthy = healthy, .ready = ready, .metrics = metrics_page, .ctx = node};

  return source;
}
