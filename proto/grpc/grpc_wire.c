/* The client's side of the wire: its thread and its ops. */
#include "proto/grpc/grpc_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <grpc/grpc_security.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "proto/grpc/client_private.h"
#include "proto/grpc/endpoint.h"

#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 5000u
#define STEADY_MS      1000u /* a connection that held so long: the next one is tried soon */
#define TICK_MS        50u   /* granularity of deadlines while something is in flight */
#define LINGER_TICK_MS 10u
#define BUSY_MS        200u /* after the last activity the poller still ticks: no wake for steady work */
#define IDLE_MS        10000u
#define DESTROY_MS     900u

/* ---- users ---- */

bool kvi_gw_enter(struct wire *w, kvs_status *why_p)
{
  if (kvi_forked(w->pid)) {
    *why_p = KVS_ERR_FORKED;
    return false;
  }
  pthread_mutex_lock(&w->lock);
  bool ready = w->state == READY;
  if (ready)
    w->users++;
  else
    *why_p = w->state == STOPPED ? KVS_ERR_CLOSED : KVS_ERR_UNREACHABLE;
  pthread_mutex_unlock(&w->lock);
  return ready;
}

void kvi_gw_leave(struct wire *w)
{
  pthread_mutex_lock(&w->lock);
  if (--w->users == 0 && w->state != READY)
    pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

bool kvi_gw_stopping(struct wire *w)
{
  pthread_mutex_lock(&w->lock);
  bool stop = w->stop;
  pthread_mutex_unlock(&w->lock);
  return stop;
}

/* ---- the poller ---- */

static void set_ready(struct wire *w)
{
  pthread_mutex_lock(&w->lock);
  w->state = READY;
  w->sending = false;
  w->n_cancels = 0;
  w->reason_status = KVS_OK;
  w->reason[0] = '\0';
  pthread_mutex_unlock(&w->lock);
}

static void set_down(struct wire *w, bool stop)
{
  pthread_mutex_lock(&w->lock);
  w->state = stop ? STOPPED : DOWN;
  w->reason_status = stop ? KVS_ERR_CLOSED : KVS_ERR_UNREACHABLE;
  snprintf(w->reason, sizeof w->reason, "%s: the connection was lost", w->endpoint);
  while (w->users > 0) /* each is inside one non-blocking call */
    pthread_cond_wait(&w->changed, &w->lock);
  pthread_mutex_unlock(&w->lock);
}

static void end_transfers(struct wire *w, kvs_status status)
{
  for (;;) {
    pthread_mutex_lock(&w->lock);
    kvi_list_node *node = kvi_list_first(&w->live);
    pthread_mutex_unlock(&w->lock);
    if (!node)
      return;
    kvi_gw_end_all(kvi_list_entry(node, struct transfer, live_link), status);
  }
}

static uint64_t next_wake(struct wire *w, uint64_t now)
{
  pthread_mutex_lock(&w->lock);
  bool busy = !kvi_list_is_empty(&w->live) || !kvi_list_is_empty(&w->calls) || w->linger_at_ns != 0;
  bool quiet = !busy && now - w->last_activity_ns > BUSY_MS * KVI_NS_PER_MS;
  w->idle = quiet;
  pthread_mutex_unlock(&w->lock);
  bool soon = w->linger_at_ns != 0 && now + TICK_MS * KVI_NS_PER_MS >= w->linger_at_ns;
  uint64_t ms = soon || w->shutdown_at_ns ? LINGER_TICK_MS : quiet ? IDLE_MS : TICK_MS;
  return now + ms * KVI_NS_PER_MS;
}

static void serve(struct wire *w)
{
  uint64_t checked = 0;
  while (!w->broken) {
    uint64_t now = kvi_now_ns();
    if (now - checked >= LINGER_TICK_MS * KVI_NS_PER_MS) {
      kvi_gw_check_deadlines(w, now);
      checked = now;
      w->broken = w->broken || kvi_gw_stopping(w);
      if (w->broken)
        return;
    }
    kvi_grpc_next(w->cq, next_wake(w, now));
    w->broken = w->broken || kvi_gw_stopping(w);
    if (w->shutdown_at_ns && kvi_now_ns() >= w->shutdown_at_ns) {
      if (w->fd >= 0)
        shutdown(w->fd, SHUT_RDWR);
      w->broken = true;
    }
  }
}

static void announce(struct wire *w, bool connected)
{
  if (w->options.state_fn)
    w->options.state_fn(w->options.state_ctx, connected, connected ? w->incarnation : 0);
}

/* A wait before the next attempt, with jitter so that the clients of a node that restarts do not come at once. */
static bool back_off(struct wire *w, uint32_t *backoff_ms, kvi_rand *random)
{
  uint64_t ms = *backoff_ms / 2 + kvi_rand_below(random, *backoff_ms / 2 + 1);
  *backoff_ms = *backoff_ms * 2 < BACKOFF_MAX_MS ? *backoff_ms * 2 : BACKOFF_MAX_MS;
  kvi_deadline deadline = kvi_deadline_from_ms(ms);
  pthread_mutex_lock(&w->lock);
  while (!w->stop && !kvi_deadline_expired(deadline))
    (void)kvi_cond_wait(&w->changed, &w->lock, deadline);
  bool stop = w->stop;
  pthread_mutex_unlock(&w->lock);
  return !stop;
}

static void serve_connection(struct wire *w)
{
  set_ready(w);
  kvi_log_debug("connected to %s", w->endpoint);
  announce(w, true);
  serve(w);
  bool stop = kvi_gw_stopping(w);
  set_down(w, stop);
  end_transfers(w, stop ? KVS_ERR_CLOSED : KVS_ERR_UNREACHABLE);
  kvi_gw_disconnect(w);
  announce(w, false);
  if (!stop)
    kvi_log_warn("connection to %s lost", w->endpoint);
}

static void run(void *ctx)
{
  struct wire *w = ctx;
  uint32_t backoff_ms = BACKOFF_MIN_MS;
  kvi_rand random;
  kvi_rand_seed(&random, kvi_now_ns());
  do {
    kvi_deadline deadline = kvi_deadline_from_ms(w->options.connect_timeout_ms);
    if (kvi_gw_connect(w, deadline.at_ns) == KVS_OK) {
      uint64_t begin = kvi_now_ms();
      serve_connection(w);
      if (kvi_now_ms() - begin >= STEADY_MS)
        backoff_ms = BACKOFF_MIN_MS;
    }
  } while (back_off(w, &backoff_ms, &random));
  pthread_mutex_lock(&w->lock);
  w->state = STOPPED;
  pthread_mutex_unlock(&w->lock);
}

/* ---- ops ---- */

static bool connected(struct kvi_wire *wire)
{
  struct wire *w = (struct wire *)wire;
  if (kvi_forked(w->pid))
    return false; /* the lock may have been held when the process forked */
  pthread_mutex_lock(&w->lock);
  bool ready = w->state == READY;
  pthread_mutex_unlock(&w->lock);
  return ready;
}

static void free_wire(struct wire *w)
{
  kvi_frame_in_destroy(&w->in);
  if (w->tls)
    grpc_channel_credentials_release(w->tls);
  kvi_grpc_end();
  pthread_mutex_destroy(&w->lock);
  pthread_mutex_destroy(&w->slot_lock);
  pthread_cond_destroy(&w->changed);
  pthread_cond_destroy(&w->finished);
  pthread_cond_destroy(&w->handed);
  free(w->slots);
  free(w->endpoint);
  free(w->ca);
  free(w->cert);
  free(w->key);
  free(w->server_name);
  free(w->token_file);
  free(w->software);
  free(w);
}

static void destroy(struct kvi_wire *wire)
{
  struct wire *w = (struct wire *)wire;
  if (!w)
    return;
  if (kvi_forked(w->pid))
    return; /* the thread, the socket and gRPC are the parent's: nothing here can be freed safely */
  pthread_mutex_lock(&w->lock);
  w->stop = true;
  bool ready = w->state == READY;
  w->users += ready;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  if (ready) {
    kvi_grpc_waker_wake(&w->waker);
    kvi_gw_leave(w);
  }
  kvi_thread_join(&w->thread);
  if (w->options.hand_over)
    kvi_gw_stop_sender(w);

  kvi_deadline deadline = kvi_deadline_from_ms(DESTROY_MS);
  pthread_mutex_lock(&w->slot_lock);
  while (w->unfinished > 0 && kvi_cond_wait(&w->finished, &w->slot_lock, deadline) == KVS_OK)
    ;
  uint32_t unfinished = w->unfinished;
  pthread_mutex_unlock(&w->slot_lock);
  if (unfinished > 0) {
    kvi_log_error("%u operations to %s did not end: their memory is leaked, not reused", unfinished,
                  w->endpoint);
    return;
  }
  free_wire(w);
}

static const struct kvi_wire_ops grpc_wire_ops = {
    .name = "grpc",
    .call = kvi_gw_call,
    .submit = kvi_gw_submit,
    .cancel = kvi_gw_cancel,
    .connected = connected,
    .destroy = destroy,
};

kvs_status kvi_grpc_wire_state(struct kvi_wire *wire, char *text, size_t size)
{
  struct wire *w = (struct wire *)wire;
  pthread_mutex_lock(&w->lock);
  kvs_status status = w->state == READY ? KVS_OK : w->reason_status;
  if (text && size > 0)
    snprintf(text, size, "%s", w->state == READY ? "connected" : w->reason);
  pthread_mutex_unlock(&w->lock);
  return status;
}

kvs_status kvi_grpc_endpoint_check(const char *endpoint)
{
  struct kvi_endpoint e;
  return kvi_endpoint_parse(endpoint, &e);
}

/* ---- open ---- */

static kvs_status dup_string(const char *text, char **copy_p)
{
  *copy_p = text ? strdup(text) : NULL;
  return text && !*copy_p ? KVS_ERR_NOMEM : KVS_OK;
}

static kvs_status copy_strings(struct wire *w, const struct kvi_grpc_wire_options *options)
{
  const struct {
    const char *from;
    char **to;
  } strings[] = {
      {options->endpoint, &w->endpoint},
      {options->tls_ca_file, &w->ca},
      {options->tls_cert_file, &w->cert},
      {options->tls_key_file, &w->key},
      {options->tls_server_name, &w->server_name},
      {options->token_file, &w->token_file},
      {options->software ? options->software : "kvasir", &w->software},
  };
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    if (dup_string(strings[i].from, strings[i].to) != KVS_OK)
      return KVS_ERR_NOMEM;
  return KVS_OK;
}

static kvs_status make_credentials(struct wire *w)
{
  if (!w->ca)
    return w->cert || w->key ? KVS_ERR_INVALID : KVS_OK;
  if (!w->cert != !w->key)
    return KVS_ERR_INVALID;
  kvs_status status = KVS_ERR_INVALID;
  char *ca = kvi_grpc_read_file(w->ca);
  char *cert = w->cert ? kvi_grpc_read_file(w->cert) : NULL;
  char *key = w->key ? kvi_grpc_read_file(w->key) : NULL;
  if (!ca || (w->cert && (!cert || !key))) {
    kvi_log_warn("a TLS file cannot be read: %s", !ca ? w->ca : !cert ? w->cert : w->key);
    goto out;
  }
  grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = cert};
  w->tls = grpc_ssl_credentials_create(ca, cert ? &pair : NULL, NULL, NULL);
  status = w->tls ? KVS_OK : KVS_ERR_INVALID;
out:
  free(ca);
  free(cert);
  free(key);
  return status;
}

/* Nobody reads the token on its way, unless somebody has said that this is no matter. */
static kvs_status check_token(const struct wire *w)
{
  struct kvi_endpoint endpoint;
  if (!w->token_file || w->tls || w->options.plain_token)
    return KVS_OK;
  if (kvi_endpoint_parse(w->endpoint, &endpoint) == KVS_OK && kvi_endpoint_is_local(&endpoint))
    return KVS_OK;
  kvi_log_warn("%s: a token is not sent there without TLS: everybody on the way could read it", w->endpoint);
  return KVS_ERR_INVALID;
}

static kvs_status make_tables(struct wire *w)
{
  w->slots = calloc(MAX_TRANSFERS, sizeof *w->slots);
  if (!w->slots || kvi_frame_in_init(&w->in) != KVS_OK)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < MAX_TRANSFERS; i++)
    w->free_slots[i] = (uint16_t)(MAX_TRANSFERS - 1 - i);
  w->n_free = MAX_TRANSFERS;
  return KVS_OK;
}

kvs_status kvi_grpc_wire_open(const struct kvi_grpc_wire_options *options, struct kvi_wire **wire_p)
{
  *wire_p = NULL;
  if (!options->endpoint || kvi_grpc_endpoint_check(options->endpoint) != KVS_OK)
    return KVS_ERR_INVALID;
  struct wire *w = calloc(1, sizeof *w);
  if (!w)
    return KVS_ERR_NOMEM;
  grpc_init();
  w->base.ops = &grpc_wire_ops;
  w->pid = getpid();
  w->fd = -1;
  w->options = *options;
  if (w->options.connect_timeout_ms == 0)
    w->options.connect_timeout_ms = 1000;
  pthread_mutex_init(&w->lock, NULL);
  pthread_mutex_init(&w->slot_lock, NULL);
  kvi_cond_init(&w->changed);
  kvi_cond_init(&w->finished);
  kvi_cond_init(&w->handed);
  kvi_list_init(&w->live);
  kvi_list_init(&w->to_send);
  kvi_list_init(&w->calls);
  kvi_list_init(&w->to_start);
  w->reason_status = KVS_ERR_UNREACHABLE;

  kvs_status status = copy_strings(w, options);
  if (status == KVS_OK)
    status = make_tables(w);
  if (status == KVS_OK)
    status = make_credentials(w);
  if (status == KVS_OK)
    status = check_token(w);
  if (status != KVS_OK)
    goto free_w;
  snprintf(w->reason, sizeof w->reason, "%s: not connected yet", w->endpoint);
  if (options->hand_over)
    status = kvi_gw_start_sender(w);
  if (status != KVS_OK)
    goto free_w;
  status = kvi_thread_start(&w->thread, "kvasir-wire", run, w);
  if (status != KVS_OK)
    goto stop_sender;
  *wire_p = &w->base;
  return KVS_OK;

stop_sender:
  if (options->hand_over)
    kvi_gw_stop_sender(w);
free_w:
  free_wire(w);
  return status;
}
