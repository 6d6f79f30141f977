/* The client's side of the wire and nodes that are stopped, broken or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/thread.h"
#include "proto/grpc/grpc_private.h"
#include "proto/grpc/grpc_wire.h"
#include "proto/service.h"
#include "tests/unit/grpc/connected.h"
#include "tests/unit/grpc/fake_node.h"
#include "tests/unit/grpc/run.h"

#define BIG (16u << 20) /* more than sockets and windows hold */

struct pair {
  struct fake_node *node;
  struct kvi_wire *wire;
  struct kvi_grpc_wire_options options;
  char endpoint[128];
};

static void open_wire(struct pair *p)
{
  p->options.endpoint = p->endpoint;
  p->options.connect_timeout_ms = p->options.connect_timeout_ms ? p->options.connect_timeout_ms : 5000;
  p->wire = connected_open(&p->options);
}

static void start(struct pair *p, const struct fake_node_options *options)
{
  p->node = fake_node_start(options, p->endpoint);
  open_wire(p);
  connected_wait(p->wire);
}

static void stop(struct pair *p)
{
  p->wire->ops->destroy(p->wire);
  fake_node_stop(p->node);
}

static const struct fake_node_options reads_all = {.frames_read = UINT32_MAX};

/* ---- frames that are not allowed ---- */

static void submit_get(struct pair *p, struct run *r, struct kvi_iov *iov, uint32_t n)
{
  prepare(r, false, n, 1, 10000);
  for (uint32_t i = 0; i < n; i++)
    r->chunks[i] = (struct kvi_transfer_chunk){.iov = &iov[i], .n_iov = 1, .length = iov[i].length};
  assert_int_equal(p->wire->ops->submit(p->wire, &r->t), KVS_OK);
}

static void get_that_ends_like_a_put(kvs_status status)
{
  struct pair p = {0};
  start(&p, &reads_all);
  uint8_t room[100];
  struct kvi_iov iov = {room, sizeof room};
  struct run r;
  submit_get(&p, &r, &iov, 1);
  Kvasir__V1__ChunkEnd end = KVASIR__V1__CHUNK_END__INIT, *ends = &end;
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  end.id = fake_node_wait_start(p.node);
  end.status = status; /* an answer to a put: no byte has come */
  header.n_ends = 1;
  header.ends = &ends;
  fake_node_send(p.node, &header, NULL, 0);
  assert_int_equal(finish(&r), KVS_MISS);
  assert_int_equal(r.chunks[0].cause, KVI_MISS_NODE);
  stop(&p);
}

static void test_get_that_exists(void **state)
{
  (void)state;
  get_that_ends_like_a_put(KVS_EXISTS);
  get_that_ends_like_a_put(KVS_DECLINED);
}

static Kvasir__V1__Piece piece_of(uint64_t id, uint32_t chunk, const uint8_t *bytes, uint32_t length,
                                  uint32_t segment_length)
{
  Kvasir__V1__Piece piece = KVASIR__V1__PIECE__INIT;
  piece.id = id;
  piece.chunk = chunk;
  piece.length = length;
  piece.segment_length = segment_length;
  piece.crc32c = kvi_crc32c_update(0, bytes, length);
  piece.segments = 1;
  piece.first = true;
  piece.last = length == segment_length;
  return piece;
}

/* A verified segment is never written again: a node that goes back to an earlier chunk breaks the protocol. */
static void test_chunk_sent_again(void **state)
{
  (void)state;
  struct pair p = {0};
  start(&p, &reads_all);
  uint8_t room[2][100], data[200];
  struct kvi_iov iov[2] = {{room[0], 100}, {room[1], 100}};
  struct run r;
  submit_get(&p, &r, iov, 2);
  uint64_t id = fake_node_wait_start(p.node);
  memset(data, 'a', 100);
  memset(data + 100, 'x', 100);
  Kvasir__V1__Piece pieces[3] = {piece_of(id, 0, data, 100, 100), piece_of(id, 1, data, 50, 100),
                                 piece_of(id, 0, data + 100, 50, 100)};
  Kvasir__V1__Piece *list[3] = {&pieces[0], &pieces[1], &pieces[2]};
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  header.n_pieces = 3;
  header.pieces = list;
  fake_node_send(p.node, &header, data, 200);
  assert_int_equal(finish(&r), KVS_MISS);
  assert_memory_equal(room[0], data, 100);
  stop(&p);
}

/* ---- nodes that stop ---- */

struct big_put {
  struct run r;
  struct kvi_iov iov;
  uint32_t segment;
};

static void submit_big_put(struct pair *p, struct big_put *b, uint64_t timeout_ms)
{
  prepare(&b->r, true, 1, 1, timeout_ms);
  b->iov = (struct kvi_iov){calloc(1, BIG), BIG};
  b->segment = BIG;
  b->r.chunks[0] = (struct kvi_transfer_chunk){
      .iov = &b->iov, .n_iov = 1, .n_segments = 1, .segment_lengths = &b->segment, .length = BIG};
  assert_int_equal(p->wire->ops->submit(p->wire, &b->r.t), KVS_OK);
}

static bool is_done(struct run *r)
{
  pthread_mutex_lock(&r->lock);
  bool done = r->done;
  pthread_mutex_unlock(&r->lock);
  return done;
}

/* The memory is freed at once: sanitizers see whether anybody reads it after the end. */
static void end_big_put(struct pair *p, struct big_put *b, kvs_status expected)
{
  assert_int_equal(finish(&b->r), expected);
  free(b->iov.base);
  stop(p);
}

static void test_frozen_in_a_put(void **state)
{
  (void)state;
  struct pair p = {0};
  struct big_put b;
  start(&p, &reads_all);
  fake_node_freeze(p.node);
  submit_big_put(&p, &b, 500);
  end_big_put(&p, &b, KVS_ERR_DEADLINE);
}

/* The node says what became of the chunk and never reads the rest of it: the deadline holds for the memory too. */
static void test_ended_but_not_read(void **state)
{
  (void)state;
  const struct fake_node_options reads_one = {.frames_read = 1};
  struct pair p = {0};
  struct big_put b;
  start(&p, &reads_one);
  submit_big_put(&p, &b, 3000); /* long enough for the end to come first */
  Kvasir__V1__ChunkEnd end = KVASIR__V1__CHUNK_END__INIT, *ends = &end;
  Kvasir__V1__FrameHeader header = KVASIR__V1__FRAME_HEADER__INIT;
  end.id = fake_node_wait_start(p.node);
  end.status = KVS_EXISTS;
  header.n_ends = 1;
  header.ends = &ends;
  usleep(300000); /* until flow control has stopped the client; were it longer, the test would see less */
  fake_node_send(p.node, &header, NULL, 0);
  end_big_put(&p, &b, KVS_OK);
}

struct called {
  struct run *put;
  atomic_bool done, put_was_done;
  kvs_status status;
};

static void on_called(void *ctx, kvs_status status, const ProtobufCMessage *reply)
{
  (void)reply;
  struct called *c = ctx;
  c->status = status;
  atomic_store(&c->put_was_done, is_done(c->put));
  atomic_store(&c->done, true);
}

/* A call's deadline holds although the socket is blocked by a put that may take much longer. */
static void test_call_behind_a_blocked_put(void **state)
{
  (void)state;
  struct pair p = {0};
  struct big_put b;
  start(&p, &reads_all);
  fake_node_freeze(p.node);
  submit_big_put(&p, &b, 8000);
  usleep(200000); /* until the socket is full */
  struct called c = {.put = &b.r};
  Kvasir__V1__Empty empty = KVASIR__V1__EMPTY__INIT;
  assert_int_equal(
      p.wire->ops->call(p.wire, KVI_METHOD_PING, &empty.base, kvi_deadline_from_ms(300).at_ns, on_called, &c),
      KVS_OK);
  kvi_deadline deadline = kvi_deadline_from_ms(15000);
  while (!atomic_load(&c.done) && !kvi_deadline_expired(deadline))
    usleep(1000);
  assert_true(c.done);
  assert_false(c.put_was_done);
  assert_int_equal(c.status, KVS_ERR_DEADLINE);
  p.wire->ops->cancel(p.wire, &b.r.t);
  assert_true(finish(&b.r) < 0);
  free(b.iov.base);
  stop(&p);
}

static void test_destroy_with_a_blocked_put(void **state)
{
  (void)state;
  struct pair p = {0};
  struct big_put b;
  start(&p, &reads_all);
  fake_node_freeze(p.node);
  submit_big_put(&p, &b, 60000);
  usleep(200000);
  p.wire->ops->destroy(p.wire);
  assert_true(is_done(&b.r));
  assert_int_equal(b.r.status, KVS_ERR_CLOSED);
  free(b.iov.base);
  fake_node_stop(p.node);
}

/* Nobody answers Hello: destroy does not wait for the attempt's end. */
static void test_destroy_while_connecting(void **state)
{
  (void)state;
  const struct fake_node_options silent = {.silent = true};
  struct pair p = {.options = {.connect_timeout_ms = 20000}};
  p.node = fake_node_start(&silent, p.endpoint);
  open_wire(&p);
  usleep(200000);
  kvi_deadline attempt = kvi_deadline_from_ms(15000);
  p.wire->ops->destroy(p.wire);
  assert_false(kvi_deadline_expired(attempt));
  fake_node_stop(p.node);
}

/* ---- TLS ---- */

static bool make_certificate(char *folder)
{
  char command[512];
  if (!mkdtemp(folder))
    return false;
  snprintf(
      command, sizeof command,
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
      " -addext subjectAltName=DNS:localhost -keyout %s/key.pem -out %s/cert.pem >/dev/null 2>&1",
      folder, folder);
  /* NOLINTNEXTLINE(cert-env33-c): a command of this file's own */
  return system(command) == 0;
}

static void remove_certificate(const char *folder)
{
  char path[64];
  snprintf(path, sizeof path, "%s/key.pem", folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/cert.pem", folder);
  unlink(path);
  rmdir(folder);
}

/* With TLS the socket is gRPC's and cannot be shut down by us: the promises hold all the same. */
static void test_tls_frozen(void **state)
{
  (void)state;
  char folder[] = "/tmp/kvasir-tls-XXXXXX", cert[64], key[64];
  if (!make_certificate(folder))
    skip();
  snprintf(cert, sizeof cert, "%s/cert.pem", folder);
  snprintf(key, sizeof key, "%s/key.pem", folder);
  char *cert_text = kvi_grpc_read_file(cert), *key_text = kvi_grpc_read_file(key);
  const struct fake_node_options options = {.frames_read = UINT32_MAX, .cert = cert_text, .key = key_text};
  struct pair p = {.options = {.tls_ca_file = cert, .tls_server_name = "localhost"}};
  struct big_put b;
  start(&p, &options);
  fake_node_freeze(p.node);
  submit_big_put(&p, &b, 500);
  assert_int_equal(finish(&b.r), KVS_ERR_DEADLINE);
  free(b.iov.base);
  kvi_deadline bound = kvi_deadline_from_ms(10000);
  p.wire->ops->destroy(p.wire);
  assert_false(kvi_deadline_expired(bound));
  fake_node_stop(p.node);
  free(cert_text);
  free(key_text);
  remove_certificate(folder);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_get_that_exists),           cmocka_unit_test(test_chunk_sent_again),
      cmocka_unit_test(test_frozen_in_a_put),           cmocka_unit_test(test_ended_but_not_read),
      cmocka_unit_test(test_call_behind_a_blocked_put), cmocka_unit_test(test_destroy_with_a_blocked_put),
      cmocka_unit_test(test_destroy_while_connecting),  cmocka_unit_test(test_tls_frozen),
  };
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
