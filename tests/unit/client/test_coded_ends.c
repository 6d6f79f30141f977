/* Gets of coded chunks that end in the middle, and the bound of what is held until it is decoded. */
#include <time.h>

#include "base/clock.h"
#include "tests/unit/client/coded_testing.h"
#include "tests/unit/tiers/store_waiting.h"

/* ---- ends in the middle ---- */

static void a_get_is_cancelled_while_it_is_decoded(void **state)
{
  struct coded *c = *state;
  kvsc_op op = start(c, 2);

  give(c, 0);
  assert_int_equal(begin(c, 1, c->sample.length), KVS_OK);
  land(c, 1, 0, 2);
  assert_int_equal(kvsc_cancel(c->client, op), KVS_OK);
  assert_int_equal(c->wire.n_canceled, 1);
  end_chunk(c, 1, KVS_ERR_CANCELED);
  end_transfer(c, KVS_ERR_CANCELED);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_ERR_CANCELED);
  memset(c->out, 0xEE, N_CHUNKS * c->raw); /* nobody writes any more */
  assert_int_equal(c->statuses[1], KVS_ERR_CANCELED);
  for (uint32_t after_close = 0; after_close < 2; after_close++) {
    for (uint64_t i = 0; i < N_CHUNKS * c->raw; i++)
      assert_int_equal(c->out[i], 0xEE);
    reopen_client(c, 0, 0); /* whose decoders have ended then */
  }
}

/* What the wire ends well, since it has given everything, but a decoder has given up before. */
static void a_cancel_that_a_decoder_sees_first_is_not_lost(void **state)
{
  struct coded *c = *state;
  kvsc_op op = start(c, 2);

  give(c, 0);
  assert_int_equal(kvsc_wait_progress(c->client, op, 1, 0, 10000), KVS_OK);
  assert_int_equal(begin(c, 1, c->sample.length), KVS_OK);
  land(c, 1, 0, 2);
  assert_int_equal(kvsc_cancel(c->client, op), KVS_OK);
  land(c, 1, 2, c->sample.n_segments);
  AWAIT(counters_of(c).coded_bytes == 2 * c->sample.length); /* its buffer was given back */
  end_chunk(c, 1, KVS_OK);
  end_transfer(c, KVS_OK);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_ERR_CANCELED);
  assert_int_equal(completion.n_ok, 1);
  assert_int_equal(c->statuses[1], KVS_ERR_CANCELED);
  assert_int_equal(counters_of(c).canceled, 1);
}

/* The same of a get that was whole before it was cancelled. */
static void a_cancel_that_comes_too_late_changes_nothing(void **state)
{
  struct coded *c = *state;
  kvsc_op op = start(c, 1);

  assert_int_equal(begin(c, 0, c->sample.length), KVS_OK);
  land(c, 0, 0, c->sample.n_segments);
  AWAIT(counters_of(c).coded_bytes == c->sample.length);
  assert_int_equal(kvsc_cancel(c->client, op), KVS_OK);
  end_chunk(c, 0, KVS_OK);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, op).status, KVS_OK);
  assert_memory_equal(c->out, c->sample.raw, c->raw);
  assert_int_equal(counters_of(c).canceled, 0);
}

/* Whether the wire is done before the decoder sees it or after. */
static void a_deadline_counts_whoever_sees_it(void **state)
{
  struct coded *c = *state;
  const struct timespec pause = {.tv_nsec = 1000000};

  for (uint32_t i = 0; i < 2; i++) {
    kvsc_op op = start_call(c, 1, (kvsc_call){.timeout_ms = 1});
    struct kvi_transfer *transfer = transfer_of(c);

    while (kvi_now_ns() < transfer->deadline_ns)
      nanosleep(&pause, NULL);
    give(c, 0);
    if (i == 0)
      AWAIT(counters_of(c).coded_bytes == c->sample.length);
    end_transfer(c, KVS_OK);
    assert_int_equal(wait_for(c->client, op).status, KVS_MISS);
    assert_int_equal(counters_of(c).deadline_exceeded, i + 1);
  }
}

/* The wire has given everything; the deadline was over when it did. */
static void a_deadline_ends_decoding(void **state)
{
  struct coded *c = *state;
  const struct timespec pause = {.tv_nsec = 1000000};
  kvsc_op op = start_call(c, 1, (kvsc_call){.timeout_ms = 1});
  struct kvi_transfer *transfer = transfer_of(c);

  while (kvi_now_ns() < transfer->deadline_ns)
    nanosleep(&pause, NULL);
  give(c, 0);
  end_transfer(c, KVS_OK);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
  assert_int_equal(c->out[0], 0xEE);
}

struct victim {
  kvsc_client *client;
  kvsc_op op;
  kvs_status status; /* what cancelling it said */
};

static void cancel_once(void *ctx)
{
  struct victim *victim = ctx;
  if (victim->op != 0)
    victim->status = kvsc_cancel(victim->client, victim->op);
  victim->op = 0;
}

/* Its bytes are decided by then; it ends once all the same. The chunk is long: it is decoded for longer than the wire takes to end. */
static void a_get_is_cancelled_while_its_chunk_is_dropped(void **state)
{
  struct coded *c = *state;

  coded_sample_free(&c->sample);
  coded_sample_make(&c->sample, KVI_CODEC_LOSSLESS, 0, 200, 200, 1);
  use_sample(c);
  c->sample.payload[c->sample.length - 1] ^= 1;
  kvsc_op behind = start(c, 1);
  struct victim victim = {.client = c->client, .op = start(c, 1), .status = KVS_PENDING};
  kvsc_op op = victim.op;
  c->wire.on_delete = cancel_once;
  c->wire.on_delete_ctx = &victim;
  give(c, 0);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, op).status, KVS_MISS);
  assert_int_equal(victim.status, KVS_OK);

  c->wire.n_held--; /* one that the client's thread comes to after what it may have been given twice */
  give(c, 0);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, behind).status, KVS_MISS);
  kvsc_counters counters = counters_of(c);
  assert_int_equal(counters.operations, 2);
  assert_int_equal(counters.completions, 2);
  assert_int_equal(counters.in_flight, 0);
  assert_int_equal(c->wire.n_calls, 2);
}

static void closing_ends_decoding(void **state)
{
  struct coded *c = *state;

  for (int i = 0; i < 4; i++) {
    (void)start(c, N_CHUNKS);
    give(c, 0);
    give(c, 1);
    assert_int_equal(begin(c, 2, c->sample.length), KVS_OK);
    land(c, 2, 0, 2);
    if (i % 2 == 0) { /* the wire is done with it, or close finds it under way */
      give(c, 3);
      for (uint32_t k = 2; k < N_CHUNKS; k++)
        if (k != 3)
          end_chunk(c, k, KVS_MISS);
      end_transfer(c, KVS_PARTIAL);
    }
  }
  kvsc_close(c->client);
  memset(c->out, 0, N_CHUNKS * c->raw);
  memset(&c->wire, 0, sizeof(c->wire));
  open_client(c, 0, 0);
}

/* ---- staging ---- */

/* One MiB of buffers: what has come whole is decoded to make room; beyond that a chunk is refused. */
static void staging_has_a_bound(void **state)
{
  struct coded *c = *state;
  uint64_t n;

  coded_sample_free(&c->sample);
  coded_sample_make(&c->sample, KVI_CODEC_LOSSLESS, 0, 20, 20, 3); /* 320 KiB, or about 200 */
  use_sample(c);
  n = (1u << 20) / ((c->sample.length + 65535) / 65536 * 65536);
  assert_in_range(n, 2, N_CHUNKS - 1);
  reopen_client(c, 1, 1);
  kvsc_op op = start(c, N_CHUNKS);
  for (uint32_t i = 0; i < N_CHUNKS; i++)
    give(c, i);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, op).n_ok, N_CHUNKS);

  op = start(c, N_CHUNKS);
  for (uint32_t i = 0; i < N_CHUNKS; i++) {
    assert_int_equal(begin(c, i, c->sample.length), i < n ? KVS_OK : KVS_ERR_BUSY);
    if (i >= n)
      end_chunk(c, i, KVS_ERR_BUSY);
  }
  for (uint32_t i = 0; i < n; i++) {
    land(c, i, 0, c->sample.n_segments);
    end_chunk(c, i, KVS_OK);
  }
  end_transfer(c, KVS_PARTIAL);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_ok, n);
  assert_int_equal(c->statuses[N_CHUNKS - 1], KVS_ERR_BUSY);

  /* abreast all of them would need a buffer at once: the node has to decode */
  op = start_call(c, N_CHUNKS, (kvsc_call){.abreast = 1});
  assert_null(transfer_of(c)->on_coded);
  held_end(&c->wire, c->wire.n_held - 1, KVS_MISS, KVS_MISS);
  (void)wait_for(c->client, op);
  /* so it has where a single chunk's room is more than all of it; and buffers are larger than what they hold */
  for (uint32_t i = 0; i < 6; i++) {
    uint32_t abreast = i / 2 > 0, n_chunks = i / 2 == 2 ? 3 : 1;

    for (uint32_t k = 0; k < n_chunks; k++)
      c->iov[k].length = (n_chunks == 1 ? 1u << 20 : c->raw) + i % 2;
    op = start_call(c, n_chunks, (kvsc_call){.abreast = abreast});
    assert_int_equal(transfer_of(c)->on_coded != NULL, i % 2 == 0);
    held_end(&c->wire, c->wire.n_held - 1, KVS_MISS, KVS_MISS);
    (void)wait_for(c->client, op);
  }
  c->iov[0].length = c->raw;

  op = start(c, 1);
  assert_int_equal(begin(c, 0, (1u << 20) + 1),
                   KVS_ERR_BUSY); /* a node that sends more than there was room for */
  end_chunk(c, 0, KVS_ERR_BUSY);
  end_transfer(c, KVS_ERR_BUSY);
  assert_int_equal(wait_for(c->client, op).status, KVS_ERR_BUSY);
}

static void options_are_bounded(void **state)
{
  struct coded *c = *state;
  kvsc_options options = {.struct_size = sizeof(options), .decode_threads = 65};
  struct held_wire wire = {0};
  kvsc_client *client;

  (void)c;
  assert_int_equal(kvi_client_open_over(&options, held_factory, &wire, &client), KVS_ERR_INVALID);
  options.decode_threads = 64;
  options.decode_mib = 65537;
  assert_int_equal(kvi_client_open_over(&options, held_factory, &wire, &client), KVS_ERR_INVALID);

  /* a caller that knows nothing behind hand_over, and whose options had 72 bytes with a gap at their end */
  options = (kvsc_options){.struct_size = 72};
  memset((char *)&options + offsetof(kvsc_options, hand_over) + sizeof(options.hand_over), 0xAB, 4);
  assert_int_equal(kvi_client_open_over(&options, held_factory, &wire, &client), KVS_OK);
  kvsc_close(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_get_is_cancelled_while_it_is_decoded),
      TEST(a_cancel_that_a_decoder_sees_first_is_not_lost),
      TEST(a_cancel_that_comes_too_late_changes_nothing),
      TEST(a_deadline_counts_whoever_sees_it),
      TEST(a_deadline_ends_decoding),
      TEST(a_get_is_cancelled_while_its_chunk_is_dropped),
      TEST(closing_ends_decoding),
      TEST(staging_has_a_bound),
      TEST(options_are_bounded),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
