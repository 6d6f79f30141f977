#include "tests/unit/grpc/fixture.h"
#include "tests/unit/grpc/connected.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "proto/kvasir/v1/cache.pb-c.h"
#include "proto/limits.h"

#define KEY 32

struct chunk {
  uint8_t key[KEY];
  bool used, sealed, corrupt;
  uint8_t *payload;
  uint64_t length;
  struct kvi_segment *segments;
  uint32_t n_segments;
  uint16_t quality;
  struct kvi_iov iov[3]; /* the payload in three places, so that every copy crosses borders */
  uint32_t n_iov;
};

struct fixture_memory {
  pthread_mutex_t lock;
  struct chunk chunks[FIXTURE_CHUNKS];
  uint8_t held[KEY], declined[KEY];
  bool hold, decline;
  uint32_t chain_chunks, n_behind; /* of the put that was declined */
  uint8_t behind[KEY];             /* the first of them */
  kvi_put_wait_fn *wait_fn;
  void *wait_ctx;
  uint32_t aborted, open, gone;
  pthread_cond_t unblocked;
  bool block, blocked;
  char thread[16]; /* of the last Ping */
  struct kvi_get_terms terms;
  bool ignores_terms;
};

static uint64_t abreast_bytes = UINT64_MAX;
static bool hand_over;

static struct chunk *find(struct fixture_memory *m, const uint8_t *key)
{
  for (size_t i = 0; i < FIXTURE_CHUNKS; i++)
    if (m->chunks[i].used && memcmp(m->chunks[i].key, key, KEY) == 0)
      return &m->chunks[i];
  return NULL;
}

/* Answers a call a little later, from a thread of its own. */
struct later {
  struct kvi_call_wait *wait;
  ProtobufCMessage *reply;
};

static void *answer_later(void *ctx)
{
  struct later *later = ctx;
  struct timespec pause = {.tv_nsec = 20000000};
  nanosleep(&pause, NULL);
  later->wait->done(later->wait, KVS_OK, later->reply);
  free(later);
  return NULL;
}

static kvs_status call_later(struct kvi_call_wait *wait, ProtobufCMessage *reply)
{
  struct later *later = malloc(sizeof *later);
  pthread_t thread;
  *later = (struct later){.wait = wait, .reply = reply};
  if (pthread_create(&thread, NULL, answer_later, later) != 0)
    abort();
  pthread_detach(thread);
  return KVS_PENDING;
}

static void answer_ping(struct fixture_memory *m)
{
  pthread_mutex_lock(&m->lock);
  (void)pthread_getname_np(pthread_self(), m->thread, sizeof m->thread);
  pthread_mutex_unlock(&m->lock);
}

static kvs_status call(void *self, const struct kvi_peer *peer, enum kvi_method method,
                       const ProtobufCMessage *request, struct kvi_call_wait *wait,
                       ProtobufCMessage **reply_p)
{
  (void)peer;
  (void)request;
  if (method == KVI_METHOD_PING)
    answer_ping(self);
  const ProtobufCMessageDescriptor *d = kvi_method_info(method)->reply;
  if (method == KVI_METHOD_EVICT)
    return KVS_ERR_UNSUPPORTED;
  ProtobufCMessage *reply = malloc(d->sizeof_message);
  protobuf_c_message_init(d, reply);
  if (method == KVI_METHOD_HELLO) {
    Kvasir__V1__HelloReply *hello = (Kvasir__V1__HelloReply *)reply;
    hello->protocol_min = KVI_PROTOCOL_MIN;
    hello->protocol_max = KVI_PROTOCOL_MAX;
    hello->incarnation = 7;
    hello->chunk_bytes_max = KVI_CHUNK_BYTES_MAX;
    hello->frame_bytes_max = KVI_FRAME_BYTES_MAX;
    hello->batch_chunks_max = KVI_BATCH_CHUNKS_MAX;
  }
  if (method == KVI_METHOD_LIST_SPACES)
    return call_later(wait, reply);
  *reply_p = reply;
  return KVS_OK;
}

static void fill(struct chunk *c, const struct kvi_put_request *r)
{
  memset(c, 0, sizeof *c);
  memcpy(c->key, r->key, KEY);
  c->used = true;
  c->length = r->length;
  c->quality = r->quality;
  c->payload = malloc(r->length);
  c->n_segments = r->n_segments;
  c->segments = calloc(r->n_segments, sizeof *c->segments);
  for (uint32_t i = 0; i < r->n_segments; i++)
    c->segments[i].length = r->segment_lengths[i];
  uint64_t third = r->length / 3;
  const uint64_t lengths[3] = {third, third, r->length - 2 * third};
  uint64_t at = 0;
  for (int i = 0; i < 3; i++)
    if (lengths[i] > 0) {
      c->iov[c->n_iov++] = (struct kvi_iov){c->payload + at, lengths[i]};
      at += lengths[i];
    }
}

static kvs_status put_begin(void *self, const struct kvi_peer *peer, const struct kvi_put_request *r,
                            kvi_put_wait_fn *wait_fn, void *wait_ctx, struct kvi_landing *landing_p)
{
  (void)peer;
  struct fixture_memory *m = self;
  kvs_status status = KVS_ERR_FULL;
  pthread_mutex_lock(&m->lock);
  if (m->hold && memcmp(m->held, r->key, KEY) == 0) {
    m->wait_fn = wait_fn;
    m->wait_ctx = wait_ctx;
    status = KVS_PENDING;
  } else if (find(m, r->key)) {
    status = KVS_EXISTS;
  } else if (m->decline && memcmp(m->declined, r->key, KEY) == 0) {
    m->chain_chunks = r->chain_chunks;
    m->n_behind = r->n_behind;
    if (r->n_behind > 0)
      memcpy(m->behind, r->behind, KEY);
    status = KVS_DECLINED;
  } else {
    for (size_t i = 0; i < FIXTURE_CHUNKS && status == KVS_ERR_FULL; i++)
      if (!m->chunks[i].used) {
        struct chunk *c = &m->chunks[i];
        fill(c, r);
        *landing_p = (struct kvi_landing){.handle = c,
                                          .iov = c->iov,
                                          .n_iov = c->n_iov,
                                          .segments = c->segments,
                                          .n_segments = c->n_segments};
        status = KVS_OK;
      }
  }
  pthread_mutex_unlock(&m->lock);
  return status;
}

static kvs_status put_commit(void *self, struct kvi_landing *landing)
{
  struct fixture_memory *m = self;
  pthread_mutex_lock(&m->lock);
  ((struct chunk *)landing->handle)->sealed = true;
  pthread_mutex_unlock(&m->lock);
  return KVS_OK;
}

static void free_chunk(struct chunk *c)
{
  free(c->payload);
  free(c->segments);
  memset(c, 0, sizeof *c);
}

static void put_abort(void *self, struct kvi_landing *landing)
{
  struct fixture_memory *m = self;
  pthread_mutex_lock(&m->lock);
  free_chunk(landing->handle);
  m->aborted++;
  pthread_mutex_unlock(&m->lock);
}

static void put_unwait(void *self, void *wait_ctx)
{
  struct fixture_memory *m = self;
  pthread_mutex_lock(&m->lock);
  if (m->wait_ctx == wait_ctx)
    m->wait_fn = NULL;
  pthread_mutex_unlock(&m->lock);
}

/* Whether a chunk may be handed out. */
static bool suits(struct fixture_memory *m, const struct chunk *c, const struct kvi_get_wait *wait)
{
  m->terms = wait ? wait->terms : (struct kvi_get_terms){0};
  if (m->ignores_terms)
    return true;
  return kvi_quality_loss(c->quality) <= m->terms.loss_max &&
         (kvi_quality_coding(c->quality) == KVI_CODING_NONE ||
          m->terms.codings >> kvi_quality_coding(c->quality) & 1);
}

static kvs_status get_open(void *self, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                           uint32_t key_length, struct kvi_get_wait *wait, struct kvi_source *source_p,
                           uint32_t *cause_p)
{
  (void)peer;
  (void)space;
  (void)key_length;
  struct fixture_memory *m = self;
  kvs_status status = KVS_MISS;
  *cause_p = KVI_MISS_EVICTED;
  pthread_mutex_lock(&m->lock);
  struct chunk *c = find(m, key);
  if (c && c->sealed && !suits(m, c, wait)) {
    *cause_p = KVI_MISS_QUALITY;
  } else if (c && c->sealed) {
    uint8_t *table = malloc(kvi_chunk_table_size(c->n_segments));
    struct kvi_segment *segments = malloc(c->n_segments * sizeof *segments);
    memcpy(segments, c->segments, c->n_segments * sizeof *segments);
    if (c->corrupt)
      segments[c->n_segments - 1].crc32c ^= 1;
    kvi_chunk_table_write(table, segments, c->n_segments, c->quality);
    free(segments);
    *source_p = (struct kvi_source){.handle = table, .iov = c->iov, .n_iov = c->n_iov};
    status = kvi_chunk_table_read(table, kvi_chunk_table_size(c->n_segments), &source_p->table);
    m->open++;
  }
  pthread_mutex_unlock(&m->lock);
  return status;
}

static bool get_unwait(void *self, struct kvi_get_wait *wait)
{
  (void)self, (void)wait;
  return false;
}

static bool get_ahead(void *self, const struct kvi_peer *peer, const uint8_t *space, const uint8_t *key,
                      uint32_t key_length, uint32_t distance)
{
  (void)self, (void)peer, (void)space, (void)key, (void)key_length, (void)distance;
  return true;
}

static void get_close(void *self, struct kvi_source *source)
{
  struct fixture_memory *m = self;
  pthread_mutex_lock(&m->lock);
  m->open--;
  free(source->handle);
  pthread_mutex_unlock(&m->lock);
}

static void peer_gone(void *self, const struct kvi_peer *peer)
{
  (void)peer;
  struct fixture_memory *m = self;
  pthread_mutex_lock(&m->lock);
  m->gone++;
  m->blocked = m->block;
  while (m->block)
    pthread_cond_wait(&m->unblocked, &m->lock);
  pthread_mutex_unlock(&m->lock);
}

static const struct kvi_service_ops ops = {call,     put_begin,  put_commit, put_abort, put_unwait,
                                           get_open, get_unwait, get_ahead,  get_close, peer_gone};

struct kvi_wire *fixture_connect(const struct fixture *f, uint32_t piece_bytes)
{
  struct kvi_grpc_wire_options options = {.endpoint = f->endpoint,
                                          .piece_bytes = piece_bytes,
                                          .connect_timeout_ms = 5000,
                                          .hand_over = hand_over};
  struct kvi_wire *wire = connected_open(&options);
  connected_wait(wire);
  return wire;
}

static void start(struct fixture *f, bool unix_socket, uint32_t piece_bytes, uint32_t max_connections,
                  uint32_t pollers)
{
  memset(f, 0, sizeof *f);
  f->memory = calloc(1, sizeof *f->memory);
  pthread_mutex_init(&f->memory->lock, NULL);
  pthread_cond_init(&f->memory->unblocked, NULL);
  f->service = (struct kvi_service){
      &ops, f->memory, {KVI_CHUNK_BYTES_MAX, KVI_FRAME_BYTES_MAX, KVI_BATCH_CHUNKS_MAX, abreast_bytes, 0, 0}};
  static const char *const listen[] = {"127.0.0.1:0"};
  char path[100], error[256] = "";
  snprintf(path, sizeof path, "/tmp/kvasir-test-%d.sock", (int)getpid());
  struct kvi_grpc_server_options options = {
      .service = &f->service,
      .listen = listen,
      .n_listen = unix_socket ? 0 : 1,
      .unix_socket = unix_socket ? path : NULL,
      .piece_bytes = piece_bytes,
      .max_connections = max_connections,
      .pollers = pollers,
      .error = error,
      .error_size = sizeof error,
  };
  if (kvi_grpc_server_start(&options, &f->server) != KVS_OK)
    fail_msg("server: %s", error);
  if (unix_socket)
    snprintf(f->endpoint, sizeof f->endpoint, "unix:%s", path);
  else
    snprintf(f->endpoint, sizeof f->endpoint, "kvasir://127.0.0.1:%u", kvi_grpc_server_port(f->server, 0));
  f->wire = fixture_connect(f, piece_bytes);
}

void fixture_hand_over(bool yes)
{
  hand_over = yes;
}

void fixture_abreast_bytes(uint64_t bytes)
{
  abreast_bytes = bytes;
}

void fixture_start(struct fixture *f, bool unix_socket, uint32_t piece_bytes)
{
  start(f, unix_socket, piece_bytes, 0, 0);
}

void fixture_start_bounded(struct fixture *f, uint32_t max_connections)
{
  start(f, false, 0, max_connections, 0);
}

void fixture_start_pollers(struct fixture *f, uint32_t pollers)
{
  start(f, false, 0, 0, pollers);
}

void fixture_block(struct fixture *f, bool block)
{
  pthread_mutex_lock(&f->memory->lock);
  f->memory->block = block;
  f->memory->blocked = false;
  pthread_cond_broadcast(&f->memory->unblocked);
  pthread_mutex_unlock(&f->memory->lock);
}

bool fixture_is_blocked(struct fixture *f)
{
  pthread_mutex_lock(&f->memory->lock);
  bool blocked = f->memory->blocked;
  pthread_mutex_unlock(&f->memory->lock);
  return blocked;
}

void fixture_ping_thread(struct fixture *f, char name[16])
{
  pthread_mutex_lock(&f->memory->lock);
  memcpy(name, f->memory->thread, sizeof f->memory->thread);
  pthread_mutex_unlock(&f->memory->lock);
}

void fixture_stop(struct fixture *f)
{
  if (f->wire)
    f->wire->ops->destroy(f->wire);
  kvi_grpc_server_drain(f->server, 1000);
  fixture_destroy(f);
}

void fixture_destroy(struct fixture *f)
{
  kvi_grpc_server_destroy(f->server);
  assert_int_equal(f->memory->open, 0);
  for (size_t i = 0; i < FIXTURE_CHUNKS; i++)
    free_chunk(&f->memory->chunks[i]);
  pthread_mutex_destroy(&f->memory->lock);
  pthread_cond_destroy(&f->memory->unblocked);
  free(f->memory);
}

void fixture_corrupt(struct fixture *f, const uint8_t key[32])
{
  pthread_mutex_lock(&f->memory->lock);
  find(f->memory, key)->corrupt = true;
  pthread_mutex_unlock(&f->memory->lock);
}

struct kvi_get_terms fixture_terms(const struct fixture *f)
{
  pthread_mutex_lock(&f->memory->lock);
  struct kvi_get_terms terms = f->memory->terms;
  pthread_mutex_unlock(&f->memory->lock);
  return terms;
}

void fixture_ignore_terms(struct fixture *f)
{
  pthread_mutex_lock(&f->memory->lock);
  f->memory->ignores_terms = true;
  pthread_mutex_unlock(&f->memory->lock);
}

uint16_t fixture_quality(const struct fixture *f, const uint8_t key[32])
{
  pthread_mutex_lock(&f->memory->lock);
  uint16_t quality = find(f->memory, key)->quality;
  pthread_mutex_unlock(&f->memory->lock);
  return quality;
}

void fixture_decline(struct fixture *f, const uint8_t key[32])
{
  pthread_mutex_lock(&f->memory->lock);
  memcpy(f->memory->declined, key, KEY);
  f->memory->decline = true;
  pthread_mutex_unlock(&f->memory->lock);
}

uint32_t fixture_declined(struct fixture *f, uint32_t *n_behind_p, uint8_t behind[32])
{
  uint32_t chain_chunks;

  pthread_mutex_lock(&f->memory->lock);
  chain_chunks = f->memory->chain_chunks;
  *n_behind_p = f->memory->n_behind;
  memcpy(behind, f->memory->behind, KEY);
  pthread_mutex_unlock(&f->memory->lock);
  return chain_chunks;
}

void fixture_hold(struct fixture *f, const uint8_t key[32])
{
  pthread_mutex_lock(&f->memory->lock);
  memcpy(f->memory->held, key, KEY);
  f->memory->hold = true;
  pthread_mutex_unlock(&f->memory->lock);
}

void fixture_resolve(struct fixture *f, kvs_status status)
{
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  kvi_put_wait_fn *fn = NULL;
  while (!fn && !kvi_deadline_expired(deadline)) {
    pthread_mutex_lock(&f->memory->lock);
    fn = f->memory->wait_fn;
    f->memory->wait_fn = NULL;
    f->memory->hold = f->memory->hold && !fn;
    pthread_mutex_unlock(&f->memory->lock);
    usleep(100);
  }
  assert_non_null(fn);
  fn(f->memory->wait_ctx, status);
}

static uint32_t locked(const struct fixture *f, const uint32_t *value)
{
  pthread_mutex_lock(&f->memory->lock);
  uint32_t v = *value;
  pthread_mutex_unlock(&f->memory->lock);
  return v;
}

uint32_t fixture_landings_aborted(const struct fixture *f)
{
  return locked(f, &f->memory->aborted);
}

uint32_t fixture_sources_open(const struct fixture *f)
{
  return locked(f, &f->memory->open);
}

uint32_t fixture_peers_gone(const struct fixture *f)
{
  return locked(f, &f->memory->gone);
}
