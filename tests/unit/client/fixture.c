#include "tests/unit/client/fixture.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "proto/kvasir/v1/cache.pb-c.h"

static kvs_status local_factory(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn,
                                void *state_ctx, struct kvi_wire **wire_p)
{
  (void)options;
  return kvi_local_wire_open(kvi_store_service_get(ctx), state_fn, state_ctx, wire_p);
}

kvs_space_desc test_desc(const char *model)
{
  return (kvs_space_desc){.struct_size = sizeof(kvs_space_desc),
                          .model = model,
                          .engine = "test",
                          .layout = KVS_LAYOUT_OPAQUE,
                          .tokens_per_chunk = 256,
                          .hash = KVS_HASH_OPAQUE,
                          .key_length = KEY};
}

void fixture_open(struct fixture *fixture, uint64_t dram_bytes, uint32_t max_operations)
{
  const struct kvi_store_config store_config = {.dram_bytes = dram_bytes};
  const kvsc_options options = {.struct_size = sizeof(options), .max_operations = max_operations};
  kvs_space_desc desc = test_desc("fixture");

  memset(fixture, 0, sizeof(*fixture));
  assert_int_equal(kvi_store_open(&store_config, &fixture->store), KVS_OK);
  const struct kvi_store_service_config service_config = {
      .store = fixture->store, .software = "kvasir test", .incarnation = 42};
  assert_int_equal(kvi_store_service_create(&service_config, &fixture->service), KVS_OK);
  assert_int_equal(kvi_client_open_over(&options, local_factory, fixture->service, &fixture->client), KVS_OK);
  assert_int_equal(kvsc_space_open(fixture->client, &desc, &fixture->space), KVS_OK);
}

void fixture_close(struct fixture *fixture)
{
  kvsc_close(fixture->client);
  kvi_store_service_destroy(fixture->service);
  kvi_store_close(fixture->store);
}

void test_key(uint32_t family, uint32_t i, uint8_t key[KEY])
{
  memset(key, 0, KEY);
  memcpy(key, &family, sizeof(family));
  memcpy(key + 4, &i, sizeof(i));
}

void test_fill(uint8_t *bytes, size_t length, uint32_t seed)
{
  uint32_t x = seed * 2654435761u + 1;

  for (size_t i = 0; i < length; i++) {
    x = x * 1664525u + 1013904223u;
    bytes[i] = (uint8_t)(x >> 24);
  }
}

kvsc_completion wait_for(kvsc_client *client, kvsc_op op)
{
  kvsc_completion completion;

  assert_int_equal(kvsc_wait(client, op, 60000, &completion), KVS_OK);
  assert_true(completion.op == op);
  return completion;
}

kvs_status put_one(kvsc_space *space, kvsc_client *client, const uint8_t *key, void *bytes, size_t length)
{
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
  const kvsc_iov iov = {.base = bytes, .length = length};
  const kvsc_chunk chunk = {.iov = &iov, .n_iov = 1};
  kvsc_op op;
  kvs_status status = kvsc_put(space, &keys, &chunk, NULL, &op);

  return status != KVS_OK ? status : wait_for(client, op).status;
}

kvs_status get_one(kvsc_space *space, kvsc_client *client, const uint8_t *key, void *bytes, size_t room,
                   kvsc_completion *completion)
{
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = key, .unchained = 1};
  const kvsc_iov iov = {.base = bytes, .length = room};
  const kvsc_chunk chunk = {.iov = &iov, .n_iov = 1};
  kvsc_completion ignored;
  kvsc_op op;
  kvs_status status = kvsc_get(space, &keys, &chunk, NULL, &op);

  if (completion == NULL)
    completion = &ignored;
  if (status != KVS_OK)
    return status;
  *completion = wait_for(client, op);
  return completion->status;
}

/* ---- the held wire ---- */

static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;

static kvs_status held_call(struct kvi_wire *base, enum kvi_method method, const ProtobufCMessage *request,
                            uint64_t deadline_ns, kvi_call_done_fn *done, void *ctx)
{
  struct held_wire *wire = (struct held_wire *)base;

  (void)deadline_ns;
  if (method == KVI_METHOD_DELETE)
    wire->only_corrupt = ((const Kvasir__V1__DeleteRequest *)request)->only_corrupt;
  if (method == KVI_METHOD_DELETE && wire->on_delete != NULL)
    wire->on_delete(wire->on_delete_ctx);
  if (method == KVI_METHOD_OPEN_SPACE) {
    Kvasir__V1__OpenSpaceReply reply = KVASIR__V1__OPEN_SPACE_REPLY__INIT;

    pthread_mutex_lock(&held_mutex);
    wire->n_open_space++;
    reply.status = wire->open_space_status;
    pthread_mutex_unlock(&held_mutex);
    done(ctx, KVS_OK, &reply.base);
    return KVS_OK;
  }
  if (wire->submit_status != KVS_OK)
    return wire->submit_status;
  pthread_mutex_lock(&held_mutex);
  wire->call_done[wire->n_calls] = done;
  wire->call_ctx[wire->n_calls++] = ctx;
  pthread_mutex_unlock(&held_mutex);
  return KVS_OK;
}

static kvs_status held_submit(struct kvi_wire *base, struct kvi_transfer *transfer)
{
  struct held_wire *wire = (struct held_wire *)base;

  if (wire->submit_status != KVS_OK)
    return wire->submit_status;
  pthread_mutex_lock(&held_mutex);
  wire->held[wire->n_held++] = transfer;
  pthread_mutex_unlock(&held_mutex);
  return KVS_OK;
}

static void held_cancel(struct kvi_wire *base, struct kvi_transfer *transfer)
{
  struct held_wire *wire = (struct held_wire *)base;

  (void)transfer;
  pthread_mutex_lock(&held_mutex);
  wire->n_canceled++;
  pthread_mutex_unlock(&held_mutex);
}

static bool held_connected(struct kvi_wire *base)
{
  (void)base;
  return true;
}

static void held_destroy(struct kvi_wire *base)
{
  struct held_wire *wire = (struct held_wire *)base;

  for (uint32_t i = 0; i < wire->n_held; i++)
    if (wire->held[i] != NULL)
      held_end(wire, i, KVS_ERR_CLOSED, KVS_ERR_CLOSED);
  for (uint32_t i = 0; i < wire->n_calls; i++)
    if (wire->call_done[i] != NULL)
      wire->call_done[i](wire->call_ctx[i], KVS_ERR_CLOSED, NULL);
}

static const struct kvi_wire_ops held_ops = {.name = "held",
                                             .call = held_call,
                                             .submit = held_submit,
                                             .cancel = held_cancel,
                                             .connected = held_connected,
                                             .destroy = held_destroy};

kvs_status held_factory(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn, void *state_ctx,
                        struct kvi_wire **wire_p)
{
  struct held_wire *wire = ctx;

  (void)options;
  wire->wire.ops = &held_ops;
  wire->state_fn = state_fn;
  wire->state_ctx = state_ctx;
  *wire_p = &wire->wire;
  state_fn(state_ctx, true, 7);
  return KVS_OK;
}

void held_open(struct held_wire *wire, kvsc_client **client_p, kvsc_space **space_p)
{
  const kvsc_options options = {.struct_size = sizeof(options), .max_operations = 8};
  kvs_space_desc desc = test_desc("held");

  assert_int_equal(kvi_client_open_over(&options, held_factory, wire, client_p), KVS_OK);
  assert_int_equal(kvsc_space_open(*client_p, &desc, space_p), KVS_OK);
}

void held_end(struct held_wire *wire, uint32_t i, kvs_status chunk, kvs_status whole)
{
  struct kvi_transfer *transfer;

  pthread_mutex_lock(&held_mutex);
  transfer = wire->held[i];
  wire->held[i] = NULL;
  pthread_mutex_unlock(&held_mutex);
  assert_non_null(transfer);
  for (uint32_t k = 0; k < transfer->n_chunks; k++) {
    transfer->chunks[k].status = chunk;
    if (transfer->on_chunk != NULL)
      transfer->on_chunk(transfer, k);
  }
  transfer->on_done(transfer, whole);
}

uint32_t held_count(struct held_wire *wire)
{
  uint32_t n;

  pthread_mutex_lock(&held_mutex);
  n = wire->n_held;
  pthread_mutex_unlock(&held_mutex);
  return n;
}

uint32_t held_cancels(struct held_wire *wire)
{
  uint32_t n;

  pthread_mutex_lock(&held_mutex);
  n = wire->n_canceled;
  pthread_mutex_unlock(&held_mutex);
  return n;
}

void held_wait(struct held_wire *wire, uint32_t n)
{
  const struct timespec pause = {.tv_nsec = 1000000};
  kvi_deadline deadline = kvi_deadline_from_ms(60000);
  uint32_t have;

  do {
    pthread_mutex_lock(&held_mutex);
    have = wire->n_held;
    pthread_mutex_unlock(&held_mutex);
    if (have < n)
      nanosleep(&pause, NULL);
  } while (have < n && !kvi_deadline_expired(deadline));
  assert_true(have >= n);
}
