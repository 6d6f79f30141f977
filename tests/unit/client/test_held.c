/* What libkvasir makes of a wire's answers: waiting, cancelling, retrying, closing, and a node that is out. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/kvasir/v1/cache.pb-c.h"
#include "tests/unit/client/fixture.h"

struct held {
  struct held_wire wire;
  kvsc_client *client;
  kvsc_space *space;
  uint8_t key[KEY], bytes[16];
  kvsc_iov iov;
  kvsc_chunk chunk;
  kvsc_keys keys;
};

static int set_up(void **state)
{
  struct held *held = calloc(1, sizeof(*held));

  held_open(&held->wire, &held->client, &held->space);
  held->iov = (kvsc_iov){held->bytes, sizeof(held->bytes)};
  held->chunk = (kvsc_chunk){.iov = &held->iov, .n_iov = 1};
  held->keys = (kvsc_keys){.struct_size = sizeof(held->keys), .n = 1, .keys = held->key, .unchained = 1};
  *state = held;
  return 0;
}

static int tear_down(void **state)
{
  struct held *held = *state;

  kvsc_close(held->client);
  free(held);
  return 0;
}

static kvsc_op start(struct held *held, bool put)
{
  kvsc_op op;

  if (put)
    assert_int_equal(kvsc_put(held->space, &held->keys, &held->chunk, NULL, &op), KVS_OK);
  else
    assert_int_equal(kvsc_get(held->space, &held->keys, &held->chunk, NULL, &op), KVS_OK);
  return op;
}

static void waiting_gives_up_and_goes_on(void **state)
{
  struct held *held = *state;
  kvsc_completion completion;
  kvsc_op op = start(held, false);

  assert_int_equal(kvsc_wait(held->client, op, 0, &completion), KVS_ERR_DEADLINE);
  assert_int_equal(kvsc_wait(held->client, op, 5, &completion), KVS_ERR_DEADLINE);
  held_end(&held->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(held->client, op).status, KVS_OK);
  assert_int_equal(kvsc_wait(held->client, op, 0, &completion), KVS_ERR_INVALID);
}

static void an_id_is_not_used_again(void **state)
{
  struct held *held = *state;
  kvsc_op first = start(held, false), second;

  held_end(&held->wire, 0, KVS_OK, KVS_OK);
  wait_for(held->client, first);
  second = start(held, false);
  assert_true(first != second);
  assert_int_equal(kvsc_wait(held->client, first, 0, NULL), KVS_ERR_INVALID);
  assert_int_equal(kvsc_cancel(held->client, first), KVS_ERR_INVALID);
  assert_int_equal(held->wire.n_canceled, 0);
}

static void at_the_bound_work_is_refused(void **state)
{
  struct held *held = *state;
  kvsc_counters counters = {.struct_size = sizeof(counters)};
  kvsc_op ops[8], op;

  for (int i = 0; i < 8; i++)
    ops[i] = start(held, false);
  assert_int_equal(kvsc_get(held->space, &held->keys, &held->chunk, NULL, &op), KVS_ERR_BUSY);
  held_end(&held->wire, 3, KVS_OK, KVS_OK);
  /* ended, but not taken: still there */
  assert_int_equal(kvsc_ping(held->client, NULL, &op), KVS_ERR_BUSY);
  wait_for(held->client, ops[3]);
  op = start(held, false);
  kvsc_get_counters(held->client, &counters);
  assert_int_equal(counters.busy, 2);
  assert_int_equal(counters.in_flight, 8);
}

static void progress_is_told(void **state)
{
  struct held *held = *state;
  kvsc_chunk chunks[3] = {held->chunk, held->chunk, held->chunk};
  uint8_t keys[3][KEY] = {{1}, {2}, {3}};
  const kvsc_keys list = {.struct_size = sizeof(list), .n = 3, .keys = keys[0]};
  uint32_t n, segments;
  kvsc_op op;

  assert_int_equal(kvsc_get(held->space, &list, chunks, NULL, &op), KVS_OK);
  struct kvi_transfer *transfer = held->wire.held[0];
  transfer->on_segments(transfer, 1, 2); /* of a later chunk: does not count yet */
  assert_int_equal(kvsc_progress(held->client, op, &n, &segments), KVS_OK);
  assert_int_equal(n, 0);
  assert_int_equal(segments, 0);
  transfer->on_segments(transfer, 0, 4);
  assert_int_equal(kvsc_wait_progress(held->client, op, 0, 4, 1000), KVS_OK);
  assert_int_equal(kvsc_wait_progress(held->client, op, 0, 5, 1), KVS_ERR_DEADLINE);
  transfer->chunks[1].status = KVS_OK;
  transfer->on_chunk(transfer, 1); /* out of order */
  kvsc_progress(held->client, op, &n, &segments);
  assert_int_equal(n, 0);
  transfer->chunks[0].status = KVS_OK;
  transfer->on_chunk(transfer, 0);
  kvsc_progress(held->client, op, &n, &segments);
  assert_int_equal(n, 2);
  assert_int_equal(segments, 0);
  transfer->chunks[2].status = KVS_MISS;
  transfer->chunks[2].cause = KVI_MISS_EVICTED;
  transfer->on_chunk(transfer, 2);
  transfer->on_done(transfer, KVS_PARTIAL);
  held->wire.held[0] = NULL;
  assert_int_equal(kvsc_wait_progress(held->client, op, 3, 0, 1000), KVS_OK); /* it is over */
  kvsc_completion completion = wait_for(held->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_prefix, 2);
  assert_int_equal(completion.cause, KVSC_CAUSE_EVICTED);
}

static void progress_is_told_by_bytes(void **state)
{
  struct held *held = *state;
  kvsc_op op = start(held, false);
  struct kvi_transfer *transfer = held->wire.held[0];
  bool reached;

  transfer->chunks[0].verified = 10;
  transfer->on_segments(transfer, 0, 3);
  assert_int_equal(kvi_client_wait_bytes(held->client, op, 10, 1000, &reached), KVS_OK);
  assert_true(reached);
  assert_int_equal(kvi_client_wait_bytes(held->client, op, 11, 1, &reached), KVS_ERR_DEADLINE);
  assert_false(reached);
  held_end(&held->wire, 0, KVS_MISS, KVS_MISS);
  assert_int_equal(kvi_client_wait_bytes(held->client, op, 11, 1000, &reached), KVS_OK);
  assert_false(reached); /* over, without them */
  wait_for(held->client, op);
  assert_int_equal(kvi_client_wait_bytes(held->client, op, 1, 1000, &reached), KVS_ERR_INVALID);
}

static void a_get_is_cancelled_on_the_wire_and_a_call_at_once(void **state)
{
  struct held *held = *state;
  kvsc_op get = start(held, false), ping;

  assert_int_equal(kvsc_cancel(held->client, get), KVS_OK);
  assert_int_equal(held->wire.n_canceled, 1);
  assert_int_equal(kvsc_wait(held->client, get, 0, NULL),
                   KVS_ERR_DEADLINE); /* its memory is in use until it ends */
  held_end(&held->wire, 0, KVS_ERR_CANCELED, KVS_ERR_CANCELED);
  assert_int_equal(wait_for(held->client, get).status, KVS_ERR_CANCELED);

  assert_int_equal(kvsc_ping(held->client, NULL, &ping), KVS_OK);
  assert_int_equal(kvsc_cancel(held->client, ping), KVS_OK);
  assert_int_equal(wait_for(held->client, ping).status, KVS_ERR_CANCELED);
  /* The answer comes late: the slot was kept for it, and is free after it. */
  kvsc_counters counters = {.struct_size = sizeof(counters)};
  kvsc_get_counters(held->client, &counters);
  assert_int_equal(counters.in_flight, 1);
  held->wire.call_done[0](held->wire.call_ctx[0], KVS_OK, NULL);
  held->wire.call_done[0] = NULL;
  kvsc_get_counters(held->client, &counters);
  assert_int_equal(counters.in_flight, 0);
  assert_int_equal(counters.canceled, 2);
}

static void a_node_that_is_out_is_a_miss(void **state)
{
  static const kvs_status troubles[] = {KVS_ERR_UNREACHABLE, KVS_ERR_DEADLINE, KVS_ERR_DRAINING,
                                        KVS_ERR_PROTOCOL};
  struct held *held = *state;
  uint8_t present = 0xFF;
  const kvsc_call call = {.struct_size = sizeof(call), .present = &present};
  kvsc_op op;

  for (uint32_t i = 0; i < 4; i++) {
    op = start(held, false);
    held_end(&held->wire, i, troubles[i], troubles[i]);
    kvsc_completion completion = wait_for(held->client, op);
    assert_int_equal(completion.status, KVS_MISS);
    assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
  }
  held->wire.submit_status = KVS_ERR_UNREACHABLE;
  op = start(held, false);
  assert_int_equal(wait_for(held->client, op).cause, KVSC_CAUSE_NODE);
  op = start(held, true);
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_UNREACHABLE);
  assert_int_equal(kvsc_lookup(held->client, &held->space, 1, &held->keys, &call, &op), KVS_OK);
  kvsc_completion completion = wait_for(held->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
  assert_int_equal(present, 0);
  assert_int_equal(kvsc_ping(held->client, NULL, &op), KVS_OK);
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_UNREACHABLE);
  held->wire.submit_status = KVS_ERR_BUSY; /* an error of the starter: nothing was started */
  assert_int_equal(kvsc_get(held->space, &held->keys, &held->chunk, NULL, &op), KVS_ERR_BUSY);
  assert_int_equal(op, 0);
}

/* A node that answers what no node should say is taken for one that did not answer. */
static void an_answer_that_does_not_fit_is_a_miss(void **state)
{
  struct held *held = *state;
  Kvasir__V1__LookupReply reply = KVASIR__V1__LOOKUP_REPLY__INIT;
  kvsc_completion completion;
  uint8_t present = 0;
  kvsc_op op;

  reply.status = KVS_MISS;
  reply.present = (ProtobufCBinaryData){.len = 1, .data = &present};
  reply.prefix = 1000; /* of one key */
  for (uint32_t i = 0; i < 2; i++) {
    assert_int_equal(kvsc_lookup(held->client, &held->space, 1, &held->keys, NULL, &op), KVS_OK);
    held->wire.call_done[i](held->wire.call_ctx[i], KVS_OK, &reply.base);
    held->wire.call_done[i] = NULL;
    completion = wait_for(held->client, op);
    assert_int_equal(completion.status, KVS_MISS);
    assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
    assert_int_equal(completion.n_prefix, 0);
    reply.status = KVS_PARTIAL; /* no lookup is answered so */
    reply.prefix = 0;
  }
  op = start(held, false);
  held_end(&held->wire, 0, KVS_EXISTS, KVS_OK); /* no get is: nothing has come */
  completion = wait_for(held->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
  assert_int_equal(completion.n_ok, 0);
}

static void an_unknown_space_is_told_once_more(void **state)
{
  struct held *held = *state;
  kvsc_op op = start(held, true);

  assert_int_equal(held->wire.n_open_space, 1);
  held_wait(&held->wire, 1);
  held_end(&held->wire, 0, KVS_ERR_SPACE_UNKNOWN, KVS_ERR_SPACE_UNKNOWN);
  held_wait(&held->wire, 2); /* told again, put again */
  assert_int_equal(held->wire.n_open_space, 2);
  held_end(&held->wire, 1, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(held->client, op).status, KVS_OK);

  op = start(held, true);
  held_end(&held->wire, 2, KVS_ERR_SPACE_UNKNOWN, KVS_ERR_SPACE_UNKNOWN);
  held_wait(&held->wire, 4);
  held_end(&held->wire, 3, KVS_ERR_SPACE_UNKNOWN, KVS_ERR_SPACE_UNKNOWN); /* once, not for ever */
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_SPACE_UNKNOWN);
}

/* Ends a held put of two chunks, each its own way. */
static void end_two(struct held *held, uint32_t i, kvs_status first, kvs_status second)
{
  struct kvi_transfer *transfer = held->wire.held[i];

  assert_non_null(transfer);
  held->wire.held[i] = NULL;
  transfer->chunks[0].status = first;
  transfer->chunks[1].status = second;
  transfer->on_done(transfer, KVS_PARTIAL);
}

static kvsc_op start_two(struct held *held, kvs_status statuses[2], uint32_t timeout_ms)
{
  const uint8_t keys[2][KEY] = {{1}, {2}};
  const kvsc_keys list = {.struct_size = sizeof(list), .n = 2, .keys = keys[0]};
  const kvsc_chunk chunks[2] = {held->chunk, held->chunk};
  const kvsc_call call = {.struct_size = sizeof(call), .timeout_ms = timeout_ms, .statuses = statuses};
  kvsc_op op;

  assert_int_equal(kvsc_put(held->space, &list, chunks, &call, &op), KVS_OK);
  return op;
}

/* What was declined is no failure, whichever comes first; what failed beside it is. */
static void a_failure_says_more_than_a_decline(void **state)
{
  struct held *held = *state;
  kvs_status statuses[2] = {KVS_PENDING, KVS_PENDING};
  kvsc_op op = start_two(held, statuses, 1000);

  held_wait(&held->wire, 1);
  end_two(held, 0, KVS_DECLINED, KVS_ERR_FULL);
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_FULL);
  op = start_two(held, statuses, 1000);
  end_two(held, 1, KVS_ERR_FULL, KVS_DECLINED);
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_FULL);
  op = start_two(held, statuses, 1000);
  end_two(held, 2, KVS_DECLINED, KVS_DECLINED);
  assert_int_equal(wait_for(held->client, op).status, KVS_DECLINED);
}

/* The equal put that a chunk waited for came to nothing: the put is made once more, and only the caller's end is told. */
static void a_busy_put_is_tried_again(void **state)
{
  struct held *held = *state;
  kvs_status statuses[2] = {KVS_PENDING, KVS_PENDING};
  kvsc_op op = start_two(held, statuses, 0);

  held_wait(&held->wire, 1);
  end_two(held, 0, KVS_OK, KVS_ERR_BUSY);
  assert_int_equal(kvsc_wait(held->client, op, 0, NULL), KVS_ERR_DEADLINE);
  held_wait(&held->wire, 2);
  assert_int_equal(held->wire.held[1]->chunks[0].status, KVS_PENDING);
  assert_int_equal(held->wire.held[1]->chunks[1].status, KVS_PENDING);
  end_two(held, 1, KVS_EXISTS, KVS_OK);
  kvsc_completion completion = wait_for(held->client, op);
  assert_int_equal(completion.status, KVS_OK);
  assert_int_equal(completion.n_ok, 2);
  assert_int_equal(completion.bytes,
                   2 * sizeof(held->bytes)); /* the first try's chunk counts as stored by us */
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_OK);
  assert_int_equal(held->wire.n_open_space, 1); /* nothing was wrong with the space */
}

static void a_put_that_stays_busy_ends(void **state)
{
  struct held *held = *state;
  kvs_status statuses[2];
  kvsc_op op = start_two(held, statuses, 0);

  for (uint32_t i = 0; i < 4; i++) {
    held_wait(&held->wire, i + 1);
    end_two(held, i, i == 0 ? KVS_EXISTS : KVS_ERR_FULL, KVS_ERR_BUSY);
  }
  kvsc_completion completion = wait_for(held->client, op);
  assert_int_equal(held->wire.n_held, 4);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_prefix, 1);
  assert_int_equal(completion.bytes, 0);
  assert_int_equal(statuses[0], KVS_EXISTS); /* as the first try found it */
  assert_int_equal(statuses[1], KVS_ERR_BUSY);
}

static void a_busy_put_does_not_outlive_its_deadline(void **state)
{
  struct held *held = *state;
  kvs_status statuses[2];
  kvsc_op op = start_two(held, statuses, 5); /* less than the first pause */

  held_wait(&held->wire, 1);
  end_two(held, 0, KVS_OK, KVS_ERR_BUSY);
  assert_int_equal(wait_for(held->client, op).status, KVS_PARTIAL);
  assert_int_equal(held->wire.n_held, 1);
}

/* While it waits for its next try a put may be cancelled, and may find the node gone; what was stored stays so. */
static void a_busy_put_is_cancelled_in_its_pause(void **state)
{
  struct held *held = *state;
  kvs_status statuses[2];
  kvsc_op op = start_two(held, statuses, 0);

  held_wait(&held->wire, 1);
  end_two(held, 0, KVS_OK, KVS_ERR_BUSY);
  assert_int_equal(kvsc_cancel(held->client, op), KVS_OK);
  if (kvsc_wait(held->client, op, 50, NULL) == KVS_ERR_DEADLINE) { /* the pause was over already */
    held_wait(&held->wire, 2);
    end_two(held, 1, KVS_ERR_CANCELED, KVS_ERR_CANCELED);
    (void)wait_for(held->client, op);
  }
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_ERR_CANCELED);

  uint32_t n = held->wire.n_held;
  op = start_two(held, statuses, 0);
  held->wire.state_fn(held->wire.state_ctx, false, 0);
  end_two(held, n, KVS_OK, KVS_ERR_BUSY);
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_UNREACHABLE);
  assert_int_equal(statuses[0], KVS_OK);
  assert_int_equal(statuses[1], KVS_ERR_UNREACHABLE);
}

static void a_reconnect_tells_spaces_again(void **state)
{
  struct held *held = *state;
  kvsc_op op;

  held->wire.state_fn(held->wire.state_ctx, false, 0);
  held->wire.state_fn(held->wire.state_ctx, true, 8);
  op = start(held, true);
  held_wait(&held->wire, 1);
  assert_int_equal(held->wire.n_open_space, 2);
  held_end(&held->wire, 0, KVS_EXISTS, KVS_OK);
  assert_int_equal(wait_for(held->client, op).status, KVS_OK);
}

static void a_refused_space_fails_the_put(void **state)
{
  struct held *held = *state;
  kvs_status chunk_status = KVS_OK;
  const kvsc_call call = {.struct_size = sizeof(call), .statuses = &chunk_status};
  kvsc_op op;

  held->wire.open_space_status = KVS_ERR_BUSY;
  held->wire.state_fn(held->wire.state_ctx, true, 8);
  assert_int_equal(kvsc_put(held->space, &held->keys, &held->chunk, &call, &op), KVS_OK);
  assert_int_equal(wait_for(held->client, op).status, KVS_ERR_BUSY);
  assert_int_equal(chunk_status, KVS_ERR_BUSY);
}

struct waiter {
  kvsc_client *client;
  kvsc_op op;
  kvs_status status;
  atomic_int thread; /* its number once it is about to wait */
};

static void *wait_in_thread(void *arg)
{
  struct waiter *waiter = arg;
  kvsc_completion completion;

  atomic_store(&waiter->thread, gettid());
  waiter->status = kvsc_wait(waiter->client, waiter->op, 10000, &completion);
  return NULL;
}

/* Sleeping is told as the letter behind the thread's name, which is in brackets. */
static bool is_asleep(int thread)
{
  char path[64], text[256] = "";
  const char *name_end;
  FILE *file;

  snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
  file = fopen(path, "r");
  if (file == NULL)
    return false;
  text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
  fclose(file);
  name_end = strrchr(text, ')');
  return name_end != NULL && strncmp(name_end, ") S", 3) == 0;
}

/* A call that came after the close would use a client that is gone, which is not allowed. */
static void until_it_waits(struct waiter *waiter)
{
  const struct timespec pause = {.tv_nsec = 1000000};
  kvi_deadline deadline = kvi_deadline_from_ms(10000);
  int thread;

  while ((thread = atomic_load(&waiter->thread)) == 0 || !is_asleep(thread)) {
    assert_false(kvi_deadline_expired(deadline));
    nanosleep(&pause, NULL);
  }
}

/* A thread that waits while the client is closed gets the operation's end, not a client that is gone. */
static void closing_ends_everything(void **state)
{
  struct held *held = *state;
  struct waiter waiter = {.client = held->client, .op = start(held, false)};
  pthread_t thread;
  kvsc_op ping;

  (void)start(held, true);
  assert_int_equal(kvsc_ping(held->client, NULL, &ping), KVS_OK);
  assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &waiter), 0);
  until_it_waits(&waiter);
  kvsc_close(held->client);
  held->client = NULL;
  pthread_join(thread, NULL);
  assert_int_equal(waiter.status, KVS_OK);
}

static void a_child_is_told(void **state)
{
  struct held *held = *state;
  kvsc_op op = start(held, false);
  int how;
  pid_t child = fork();

  assert_true(child >= 0);
  if (child == 0) {
    kvsc_op other;
    bool told = kvsc_get(held->space, &held->keys, &held->chunk, NULL, &other) == KVS_ERR_FORKED &&
                kvsc_ping(held->client, NULL, &other) == KVS_ERR_FORKED &&
                kvsc_wait(held->client, op, 1, NULL) == KVS_ERR_FORKED &&
                kvsc_state(held->client, NULL, 0) == KVS_ERR_FORKED && kvsc_poll(held->client, NULL, 1) == 0;

    kvsc_close(held->client); /* harmless */
    _exit(told ? 0 : 1);
  }
  assert_true(waitpid(child, &how, 0) == child);
  assert_true(WIFEXITED(how));
  assert_int_equal(WEXITSTATUS(how), 0);
  held_end(&held->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(held->client, op).status, KVS_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(waiting_gives_up_and_goes_on),
      TEST(an_id_is_not_used_again),
      TEST(at_the_bound_work_is_refused),
      TEST(progress_is_told),
      TEST(progress_is_told_by_bytes),
      TEST(a_get_is_cancelled_on_the_wire_and_a_call_at_once),
      TEST(a_node_that_is_out_is_a_miss),
      TEST(an_answer_that_does_not_fit_is_a_miss),
      TEST(an_unknown_space_is_told_once_more),
      TEST(a_failure_says_more_than_a_decline),
      TEST(a_busy_put_is_tried_again),
      TEST(a_put_that_stays_busy_ends),
      TEST(a_busy_put_does_not_outlive_its_deadline),
      TEST(a_busy_put_is_cancelled_in_its_pause),
      TEST(a_reconnect_tells_spaces_again),
      TEST(a_refused_space_fails_the_put),
      TEST(closing_ends_everything),
      TEST(a_child_is_told),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
