/*
 * server/node/admin.h: the HTTP port for those who watch a node: / /metrics /healthz /readyz. Read only.
 *
 * One thread of libmicrohttpd's; the callbacks below run on it. Connections are bounded, end when idle for a few seconds, and
 * the oldest ends when the last place is taken, so that nobody can hold them.
 */
#ifndef KVI_NODE_ADMIN_H
#define KVI_NODE_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "base/strbuf.h"

/* What the pages say. May lock for a short time, must not wait. Text appended to out is the page's body. */
struct kvi_admin_source {
  bool (*healthy)(void *ctx, kvi_strbuf *out); /* false: 503 */
  bool (*ready)(void *ctx, kvi_strbuf *out);   /* false: 503 */
  void (*metrics)(void *ctx, kvi_strbuf *out);
  void *ctx;
};

struct kvi_admin_options {
  const char *listen; /* "host:port", port 0: any */
  uint32_t max_connections;
  struct kvi_admin_source source;
  const char *version;
  char *error; /* one line why the start failed */
  size_t error_size;
};

struct kvi_admin;

kvs_status kvi_admin_start(const struct kvi_admin_options *options, struct kvi_admin **admin_p);
uint16_t kvi_admin_port(const struct kvi_admin *admin);
/* Ends every connection and the thread. NULL is fine. */
void kvi_admin_destroy(struct kvi_admin *admin);

#endif
