/* Puts that are encoded come to an end: cancelled, late, closed, cut off; and what they hold has bounds. */
#include "client/client_internal.h"
#include "tests/unit/client/encode_testing.h"

#define MIB (1u << 20)

static void use_one_thread(struct encoding *e)
{
  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_threads = 1});
}

static void check_all(const struct encoding *e, uint32_t from, uint32_t to, kvs_status status)
{
  for (uint32_t i = from; i < to; i++)
    assert_int_equal(e->statuses[i], status);
}

/* ---- cancel ---- */

static void canceled_while_it_is_encoded(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(ALL, false);
  op = put(e, 3, (kvsc_call){0});
  AWAIT(gate_inside() == 1);
  assert_int_equal(kvsc_cancel(e->client, op), KVS_OK);
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_CANCELED);
  check_all(e, 0, 3, KVS_ERR_CANCELED);
  assert_int_equal(gate_inside(), 0);
  assert_int_equal(n_held(e), 0);
  assert_int_equal(counters_of(e).canceled, 1);
}

/* The memory is in use until the thread has looked up from it. */
static void canceled_it_is_not_over_before_its_memory_is_free(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(ALL, true);
  op = put(e, 3, (kvsc_call){0});
  AWAIT(gate_inside() == 1);
  assert_int_equal(kvsc_cancel(e->client, op), KVS_OK);
  assert_int_equal(kvsc_wait(e->client, op, 0, NULL), KVS_ERR_DEADLINE);
  gate_open();
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_CANCELED);
  assert_int_equal(n_held(e), 0);
}

static void canceled_while_it_waits(void **state)
{
  struct encoding *e = *state;
  kvsc_op first, second;

  use_one_thread(e);
  gate_close(ALL, true);
  first = put(e, 1, (kvsc_call){0});
  AWAIT(gate_inside() == 1);
  second = put_from(e, 1, 2, (kvsc_call){0});
  assert_int_equal(kvsc_cancel(e->client, second), KVS_OK);
  assert_int_equal(wait_for(e->client, second).status, KVS_ERR_CANCELED); /* at once */
  assert_int_equal(gate_inside(), 1);
  gate_open();
  held_wait(&e->wire, 1);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, first).status, KVS_OK);
}

static void canceled_while_it_is_sent(void **state)
{
  struct encoding *e = *state;
  kvsc_completion completion;
  kvsc_op op;

  use_one_thread(e);
  gate_close(2, false);
  op = put(e, 4, (kvsc_call){0});
  held_wait(&e->wire, 2);
  AWAIT(gate_inside() == 1);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(kvsc_cancel(e->client, op), KVS_OK);
  AWAIT(gate_inside() == 0);
  assert_int_equal(held_cancels(&e->wire), 1);
  assert_int_equal(kvsc_wait(e->client, op, 0, NULL), KVS_ERR_DEADLINE); /* the wire still has one */
  held_end(&e->wire, 1, KVS_ERR_CANCELED, KVS_ERR_CANCELED);
  completion = wait_for(e->client, op);
  assert_int_equal(completion.status, KVS_ERR_CANCELED);
  assert_int_equal(completion.n_ok, 1);
  assert_int_equal(e->statuses[0], KVS_OK);
  check_all(e, 1, 4, KVS_ERR_CANCELED);
  assert_int_equal(n_held(e), 2);
}

/* What was asked for too late changes nothing. */
static void canceled_when_all_is_stored_it_is_stored(void **state)
{
  struct encoding *e = *state;
  kvsc_op op = put(e, 2, (kvsc_call){0});

  held_wait(&e->wire, 2);
  assert_int_equal(kvsc_cancel(e->client, op), KVS_OK);
  AWAIT(held_cancels(&e->wire) == 2);
  end_to(e, 0, 2);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
}

/* ---- deadlines ---- */

static void late_while_it_is_encoded(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(ALL, false);
  op = put(e, 3, (kvsc_call){.timeout_ms = 50});
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_DEADLINE);
  check_all(e, 0, 3, KVS_ERR_DEADLINE);
  assert_int_equal(n_held(e), 0);
  assert_int_equal(counters_of(e).deadline_exceeded, 1);
}

/* Behind a chunk that takes long: whoever encodes that looks after the queue. */
static void late_while_it_waits(void **state)
{
  struct encoding *e = *state;
  kvsc_op first, second;

  use_one_thread(e);
  gate_close(0, false);
  first = put(e, 1, (kvsc_call){0});
  AWAIT(gate_inside() == 1);
  second = put_from(e, 1, 2, (kvsc_call){.timeout_ms = 20});
  assert_int_equal(wait_for(e->client, second).status, KVS_ERR_DEADLINE);
  assert_int_equal(gate_inside(), 1);
  gate_open();
  held_wait(&e->wire, 1);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, first).status, KVS_OK);
  assert_int_equal(gate_runs(), 1);
}

/* Behind a wire that takes nothing more: the encoders wait with a clock. */
static void late_while_there_is_no_room(void **state)
{
  struct encoding *e = *state;
  kvsc_op first, second;
  uint32_t n;

  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_mib = 1});
  first = put(e, N_CHUNKS, (kvsc_call){0});
  n = (uint32_t)((MIB - e->sample.shape.raw_bytes) / e->sample.length) + 1;
  held_wait(&e->wire, n);
  second = put(e, 2, (kvsc_call){.timeout_ms = 20});
  assert_int_equal(wait_for(e->client, second).status, KVS_ERR_DEADLINE);
  assert_int_equal(n_held(e), n);
  end_to(e, 0, N_CHUNKS);
  assert_int_equal(wait_for(e->client, first).status, KVS_OK);
}

static void late_at_the_wire(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(1, false);
  op = put(e, 3, (kvsc_call){0});
  held_wait(&e->wire, 1);
  AWAIT(gate_inside() == 1);
  held_end(&e->wire, 0, KVS_ERR_DEADLINE, KVS_ERR_DEADLINE);
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_DEADLINE);
  check_all(e, 0, 3, KVS_ERR_DEADLINE);
  assert_int_equal(n_held(e), 1);
}

/* ---- close ---- */

struct waiter {
  struct encoding *e;
  kvsc_op op;
  kvs_status status;
  kvsc_completion completion;
  pthread_t thread;
};

static void *wait_through_close(void *arg)
{
  struct waiter *waiter = arg;

  waiter->status = kvsc_wait(waiter->e->client, waiter->op, 60000, &waiter->completion);
  return NULL;
}

static bool somebody_waits(kvsc_client *client)
{
  bool waits;

  pthread_mutex_lock(&client->mutex);
  waits = client->blocked > 0;
  pthread_mutex_unlock(&client->mutex);
  return waits;
}

static void check_closed(struct encoding *e, kvsc_op op)
{
  struct waiter waiter = {.e = e, .op = op};

  assert_int_equal(pthread_create(&waiter.thread, NULL, wait_through_close, &waiter), 0);
  AWAIT(somebody_waits(e->client));
  kvsc_close(e->client);
  pthread_join(waiter.thread, NULL);
  assert_int_equal(waiter.status, KVS_OK);
  assert_int_equal(waiter.completion.status, KVS_ERR_CLOSED);
  open_client(e, (kvsc_options){0});
}

static void closed_while_it_is_encoded(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(ALL, false);
  op = put(e, 3, (kvsc_call){.timeout_ms = 600000});
  AWAIT(gate_inside() == 1);
  check_closed(e, op);
  check_all(e, 0, 3, KVS_ERR_CLOSED);
}

/* One on the wire, one that is encoded, and some that wait. */
static void closed_at_every_stage(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(1, false);
  op = put(e, 3, (kvsc_call){.timeout_ms = 600000});
  held_wait(&e->wire, 1);
  AWAIT(gate_inside() == 1);
  (void)put(e, 2, (kvsc_call){.timeout_ms = 600000});
  check_closed(e, op);
}

static void closed_while_there_is_no_room(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_mib = 1});
  op = put(e, N_CHUNKS, (kvsc_call){.timeout_ms = 600000});
  held_wait(&e->wire, (uint32_t)((MIB - e->sample.shape.raw_bytes) / e->sample.length) + 1);
  check_closed(e, op);
}

/* ---- the node goes ---- */

static void a_lost_connection_ends_it(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  gate_close(1, false);
  op = put(e, 3, (kvsc_call){0});
  held_wait(&e->wire, 1);
  AWAIT(gate_inside() == 1);
  e->wire.state_fn(e->wire.state_ctx, false, 0);
  held_end(&e->wire, 0, KVS_ERR_UNREACHABLE, KVS_ERR_UNREACHABLE);
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_UNREACHABLE);
  check_all(e, 0, 3, KVS_ERR_UNREACHABLE);
  op = put(e, 1, (kvsc_call){0}); /* the wire's to refuse */
  held_wait(&e->wire, 2);
  held_end(&e->wire, 1, KVS_ERR_UNREACHABLE, KVS_ERR_UNREACHABLE);
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_UNREACHABLE);
}

static void a_wire_that_refuses_ends_it(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  use_one_thread(e);
  op = put(e, 1, (kvsc_call){0}); /* so that the space is known */
  end_to(e, 0, 1);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  e->wire.submit_status = KVS_ERR_UNREACHABLE;
  op = put(e, 3, (kvsc_call){0});
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_UNREACHABLE);
  check_all(e, 0, 3, KVS_ERR_UNREACHABLE);
  assert_true(gate_runs() <= 3);
  e->wire.submit_status = KVS_ERR_TOO_LARGE; /* of each chunk */
  op = put(e, 3, (kvsc_call){0});
  assert_int_equal(wait_for(e->client, op).status, KVS_ERR_TOO_LARGE);
  check_all(e, 0, 3, KVS_ERR_TOO_LARGE);
}

/* ---- bounds ---- */

/* A chunk reserves its own length first, then keeps its coded one. */
static void staging_is_bounded(void **state)
{
  struct encoding *e = *state;
  uint64_t raw = e->sample.shape.raw_bytes;
  uint32_t n = (uint32_t)((MIB - raw) / e->sample.length) + 1;
  kvsc_op op;

  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_mib = 1});
  assert_true(n + 5 < N_CHUNKS);
  op = put(e, N_CHUNKS, (kvsc_call){0});
  held_wait(&e->wire, n);
  AWAIT(gate_inside() == 0);
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(n_held(e), n + i);
    assert_int_equal(gate_runs(), n + i);
    held_end(&e->wire, i, KVS_OK, KVS_OK);
    held_wait(&e->wire, n + i + 1);
  }
  end_to(e, 5, N_CHUNKS);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(counters_of(e).encoded_chunks, N_CHUNKS);
}

static void what_is_larger_than_all_of_it_goes_as_it_is(void **state)
{
  struct encoding *e = *state;
  kvsc_op op;

  coded_sample_free(&e->sample);
  coded_sample_make(&e->sample, KVI_CODEC_LOSSLESS, 0, 72, 1, 1);
  assert_true(e->sample.shape.raw_bytes > MIB);
  use_sample(e);
  reopen_client(e, (kvsc_options){.encode = KVSC_ENCODE_LOSSLESS, .encode_mib = 1});
  op = put(e, 2, (kvsc_call){0});
  held_wait(&e->wire, 2);
  check_raw(e, 0, 0);
  check_raw(e, 1, 1);
  end_to(e, 0, 2);
  assert_int_equal(wait_for(e->client, op).status, KVS_OK);
  assert_int_equal(gate_runs(), 0);
}

static void what_comes_when_many_wait_goes_as_it_is(void **state)
{
  struct encoding *e = *state;
  kvsc_op ops[ENCODE_WAITING_MAX + 1], late;

  use_one_thread(e);
  gate_close(ALL, false);
  for (uint32_t i = 0; i <= ENCODE_WAITING_MAX; i++) {
    ops[i] = put(e, 1, (kvsc_call){.timeout_ms = 600000});
    AWAIT(gate_inside() == 1); /* the first waits no more */
  }
  late = put(e, 1, (kvsc_call){0});
  held_wait(&e->wire, 1);
  check_raw(e, 0, 0);
  held_end(&e->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(e->client, late).status, KVS_OK);
  for (uint32_t i = 0; i <= ENCODE_WAITING_MAX; i++)
    assert_int_equal(kvsc_cancel(e->client, ops[i]), KVS_OK);
  for (uint32_t i = 0; i <= ENCODE_WAITING_MAX; i++)
    assert_int_equal(wait_for(e->client, ops[i]).status, KVS_ERR_CANCELED);
}

/* ---- many at once ---- */

struct putter {
  struct encoding *e;
  uint32_t number, n_ok, n_wrong;
};

#define N_PUTS 15u
#define N_EACH 6u

static kvs_status local_factory(void *ctx, const kvsc_options *options, kvi_wire_state_fn *state_fn,
                                void *state_ctx, struct kvi_wire **wire_p)
{
  (void)options;
  return kvi_local_wire_open(kvi_store_service_get(ctx), state_fn, state_ctx, wire_p);
}

static void *put_often(void *arg)
{
  struct putter *putter = arg;
  struct encoding *e = putter->e;
  uint64_t raw = e->sample.shape.raw_bytes;
  uint8_t *out = malloc(raw);

  for (uint32_t i = 0; i < N_PUTS; i++) {
    uint8_t keys[N_EACH][KEY];
    const kvsc_keys list = {.struct_size = sizeof(list), .n = N_EACH, .keys = keys[0], .unchained = 1};
    kvs_status statuses[N_EACH];
    const kvsc_call call = {
        .struct_size = sizeof(call), .statuses = statuses, .timeout_ms = i % 7 == 6 ? 1 : 60000};
    kvsc_completion completion;
    kvsc_op op;

    for (uint32_t k = 0; k < N_EACH; k++) /* each is put by two threads */
      test_key(putter->number / 2, i * N_EACH + k, keys[k]);
    if (kvsc_put(e->space, &list, e->chunks, &call, &op) != KVS_OK)
      abort();
    if (i % 5 == putter->number)
      (void)kvsc_cancel(e->client, op);
    completion = wait_for(e->client, op);
    putter->n_ok += completion.status == KVS_OK;
    for (uint32_t k = 0; k < N_EACH; k++) {
      bool stored = statuses[k] == KVS_OK || statuses[k] == KVS_EXISTS;

      putter->n_wrong += !stored && statuses[k] != KVS_ERR_CANCELED && statuses[k] != KVS_ERR_DEADLINE &&
                         statuses[k] != KVS_ERR_BUSY;
      if (stored && k == i % N_EACH)
        putter->n_wrong += get_one(e->space, e->client, keys[k], out, raw, NULL) != KVS_OK ||
                           memcmp(out, e->iov[k].base, raw) != 0;
    }
  }
  free(out);
  return NULL;
}

static void many_threads_put_at_once(void **state)
{
  static const uint32_t choices[][2] = {{1, 1}, {2, 0}, {4, 1}};
  struct encoding *e = *state;
  const struct kvi_store_config store_config = {.dram_bytes = 128u << 20};
  kvs_space_desc desc = tensors_desc(&e->sample.shape);

  kvsc_close(e->client);
  e->iov[2].base = e->noise;
  for (size_t k = 0; k < sizeof(choices) / sizeof(choices[0]); k++) {
    const kvsc_options options = {.struct_size = sizeof(options),
                                  .encode = KVSC_ENCODE_LOSSLESS,
                                  .encode_threads = choices[k][0],
                                  .encode_mib = choices[k][1]};
    struct kvi_store_service_config service_config = {.software = "kvasir test", .incarnation = 42};
    struct kvi_store_service *service;
    struct putter putters[4];
    pthread_t threads[4];

    assert_int_equal(kvi_store_open(&store_config, &service_config.store), KVS_OK);
    assert_int_equal(kvi_store_service_create(&service_config, &service), KVS_OK);
    assert_int_equal(kvi_client_open_over(&options, local_factory, service, &e->client), KVS_OK);
    assert_int_equal(kvsc_space_open(e->client, &desc, &e->space), KVS_OK);
    for (uint32_t i = 0; i < 4; i++) {
      putters[i] = (struct putter){.e = e, .number = i};
      assert_int_equal(pthread_create(&threads[i], NULL, put_often, &putters[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
      pthread_join(threads[i], NULL);
      assert_true(putters[i].n_ok > 0);
      assert_int_equal(putters[i].n_wrong, 0);
    }
    assert_int_equal(counters_of(e).in_flight, 0);
    assert_true(counters_of(e).encoded_chunks > 0);
    kvsc_close(e->client);
    kvi_store_service_destroy(service);
    kvi_store_close(service_config.store);
  }
  open_client(e, (kvsc_options){0});
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(canceled_while_it_is_encoded),
      TEST(canceled_it_is_not_over_before_its_memory_is_free),
      TEST(canceled_while_it_waits),
      TEST(canceled_while_it_is_sent),
      TEST(canceled_when_all_is_stored_it_is_stored),
      TEST(late_while_it_is_encoded),
      TEST(late_while_it_waits),
      TEST(late_while_there_is_no_room),
      TEST(late_at_the_wire),
      TEST(closed_while_it_is_encoded),
      TEST(closed_at_every_stage),
      TEST(closed_while_there_is_no_room),
      TEST(a_lost_connection_ends_it),
      TEST(a_wire_that_refuses_ends_it),
      TEST(staging_is_bounded),
      TEST(what_is_larger_than_all_of_it_goes_as_it_is),
      TEST(what_comes_when_many_wait_goes_as_it_is),
      TEST(many_threads_put_at_once),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
