/* Chunks that come coded: what libkvasir makes of them, sound and damaged. */
#include "tests/unit/client/coded_testing.h"

/* ---- what comes ---- */

static void a_coded_chunk_is_what_was_put(void **state)
{
  struct coded *c = *state;

  c->chunks[0].exact = 1;
  for (int i = 0; i < 3; i++) { /* the second time into a buffer that was used before */
    memset(c->out, 0xEE, c->raw);
    kvsc_completion completion = get_whole(c, (kvsc_call){0});
    assert_int_equal(completion.status, KVS_OK);
    assert_int_equal(completion.bytes, c->raw);
    assert_int_equal(completion.n_prefix, 1);
    assert_memory_equal(c->out, c->sample.raw, c->raw);
  }
  kvsc_counters counters = counters_of(c);
  assert_int_equal(counters.coded_chunks, 3);
  assert_int_equal(counters.coded_bytes, 3 * c->sample.length);
  assert_int_equal(counters.get_bytes, 3 * c->raw);
}

static void bytes_of_no_shape_come_too(void **state)
{
  struct coded *c = *state;

  coded_sample_free(&c->sample);
  coded_sample_make_bytes(&c->sample, 100003, 3);
  use_sample(c);
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
  assert_memory_equal(c->out, c->sample.raw, c->raw);
  kvsc_iov two[2] = {{c->out, 500}, {c->out + c->raw, c->raw - 500}};
  c->chunks[0] = (kvsc_chunk){.iov = two, .n_iov = 2};
  memset(c->out, 0, c->raw);
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
  assert_memory_equal(c->out, c->sample.raw, 500);
  assert_memory_equal(c->out + c->raw, c->sample.raw + 500, c->raw - 500);
}

/* Each layer is in place before a byte of the next one was sent, whatever segments it was put in. */
static void layers_are_handed_over_as_they_come(void **state)
{
  static const uint32_t cuts[] = {2 * N_LAYERS, N_LAYERS, 1};
  struct coded *c = *state;

  for (int k = 0; k < 3; k++) {
    remake(c, KVI_CODEC_LOSSLESS, 0, cuts[k]);
    uint64_t layer_bytes = c->raw / N_LAYERS;
    kvsc_op op = start(c, 1);
    uint32_t sent = 0, chunks, segments;

    assert_int_equal(begin(c, 0, c->sample.length), KVS_OK);
    for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
      uint32_t until = coded_sample_segments_of(&c->sample, layer);
      bool reached;

      land(c, 0, sent, until);
      sent = until;
      assert_int_equal(kvi_client_wait_bytes(c->client, op, (layer + 1) * layer_bytes, 10000, &reached),
                       KVS_OK);
      assert_true(reached);
      assert_memory_equal(c->out + layer * layer_bytes, c->sample.raw + layer * layer_bytes, layer_bytes);
      assert_int_equal(kvsc_progress(c->client, op, &chunks, &segments), KVS_OK);
      assert_int_equal(chunks, 0);
      assert_int_equal(segments, cuts[k] * (layer + 1) / N_LAYERS);
      if (layer + 1 < N_LAYERS) {
        assert_int_equal(c->out[(layer + 1) * layer_bytes], 0xEE);
        assert_int_equal(kvsc_wait_progress(c->client, op, 0, segments, 10000), KVS_OK);
      }
    }
    end_chunk(c, 0, KVS_OK);
    end_transfer(c, KVS_OK);
    assert_int_equal(wait_for(c->client, op).status, KVS_OK);
  }
}

/* With planes a layer is there with its last plane, which the other layers' bases come before. */
static void a_lossy_chunk_is_taken_by_who_allows_it(void **state)
{
  struct coded *c = *state;
  uint8_t *decoded;

  remake(c, KVI_CODEC_LADDER, 2, 1);
  decoded = coded_sample_decoded(&c->sample);
  assert_true(memcmp(decoded, c->sample.raw, c->raw) != 0);
  kvsc_op op = start_call(c, 1, (kvsc_call){.loss_max = 2});
  assert_int_equal(transfer_of(c)->loss_max, 2);
  give(c, 0);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, op).status, KVS_OK);
  assert_memory_equal(c->out, decoded, c->raw);
  free(decoded);

  op = start(c, 1);
  assert_int_equal(transfer_of(c)->loss_max, 0);
  transfer_of(c)->chunks[0].cause = KVI_MISS_QUALITY; /* as a node or a wire says that it is worse */
  end_chunk(c, 0, KVS_MISS);
  end_transfer(c, KVS_MISS);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_QUALITY);

  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 1, .keys = c->keys[0], .unchained = 1};
  const kvsc_call bad = {.struct_size = sizeof(bad), .loss_max = KVI_LOSS_MAX + 1};
  assert_int_equal(kvsc_get(c->space, &keys, c->chunks, &bad, &op), KVS_ERR_INVALID);
}

static void a_put_says_how_far_it_may_be_degraded(void **state)
{
  struct coded *c = *state;
  const kvsc_keys keys = {.struct_size = sizeof(keys), .n = 2, .keys = c->keys[0], .unchained = 1};
  const kvsc_call call = {.struct_size = sizeof(call), .loss_max = 3};
  kvsc_op op;

  assert_int_equal(kvsc_put(c->space, &keys, c->chunks, &call, &op), KVS_OK);
  held_wait(&c->wire, 1);
  assert_int_equal(transfer_of(c)->chunks[0].quality, kvi_quality(0, 3, KVI_CODING_NONE));
  assert_int_equal(transfer_of(c)->chunks[1].quality, kvi_quality(0, 3, KVI_CODING_NONE));
  assert_null(transfer_of(c)->on_coded);
  held_end(&c->wire, 0, KVS_OK, KVS_OK);
  assert_int_equal(wait_for(c->client, op).status, KVS_OK);
}

/* ---- where it goes ---- */

/* Pieces of odd sizes with holes between them; K and V apart; and a layer that nobody wants. */
static void places_are_the_callers(void **state)
{
  struct coded *c = *state;
  uint64_t layer = c->raw / N_LAYERS, at = 0;
  uint8_t *expected = malloc(c->raw);
  kvsc_iov iov[64];
  uint32_t n = 0;

  memset(expected, 0xEE, c->raw);
  iov[n++] = (kvsc_iov){c->out, layer / 2}; /* layer 0: keys and values in two places */
  iov[n++] = (kvsc_iov){c->out + c->raw + 3, layer / 2};
  iov[n++] = (kvsc_iov){NULL, layer}; /* layer 1 is a hole */
  at = 2 * layer;
  for (uint64_t i = 0; at < 3 * layer; i++) { /* layer 2 in pieces, some of them holes */
    uint64_t length = 1000 + 7 * i;

    if (length > 3 * layer - at)
      length = 3 * layer - at;
    iov[n++] = (kvsc_iov){i % 3 == 1 ? NULL : c->out + at, length};
    if (i % 3 != 1)
      memcpy(expected + at, c->sample.raw + at, length);
    at += length;
  }
  iov[n++] = (kvsc_iov){c->out + at, 0};
  iov[n++] = (kvsc_iov){c->out + at, layer + 100}; /* layer 3, with room behind it */
  memcpy(expected, c->sample.raw, layer / 2);
  memcpy(expected + at, c->sample.raw + at, layer);
  c->chunks[0] = (kvsc_chunk){.iov = iov, .n_iov = n};
  for (uint32_t segments = 1; segments <= 2 * N_LAYERS; segments++) {
    coded_sample_seal(&c->sample, segments);
    coded_sample_encode(&c->sample);
    memset(c->out, 0xEE, 3 * c->raw);
    assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
    assert_memory_equal(c->out, expected, c->raw);
    assert_int_equal(c->out[c->raw], 0xEE); /* nothing behind the chunk */
    assert_memory_equal(c->out + c->raw + 3, c->sample.raw + layer / 2, layer / 2);
    assert_int_equal(c->out[c->raw + 3 + layer / 2], 0xEE);
  }
  free(expected);
}

/* Keys and values of layer 1 in one place: what is read back is not what was decoded, but the node's chunk is as good as before. */
static void what_others_write_to_its_places_is_not_the_nodes_fault(void **state)
{
  static const uint32_t cuts[] = {2 * N_LAYERS, N_LAYERS, 1};
  struct coded *c = *state;

  for (uint32_t k = 0; k < 3; k++) {
    remake(c, KVI_CODEC_LOSSLESS, 0, cuts[k]);
    uint64_t layer = c->raw / N_LAYERS;
    const kvsc_iov iov[] = {{c->out, layer},
                            {c->out + layer, layer / 2},
                            {c->out + layer, layer / 2},
                            {c->out + 2 * layer, 2 * layer}};
    c->chunks[0] = (kvsc_chunk){.iov = iov, .n_iov = 4};
    kvsc_completion completion = get_whole(c, (kvsc_call){0});
    assert_int_equal(completion.status, KVS_MISS);
    assert_int_equal(completion.cause, KVSC_CAUSE_CORRUPT);
    assert_int_equal(c->wire.n_calls, 0); /* no Delete */
    assert_int_equal(counters_of(c).checksum_errors, k + 1);
  }
}

static void room_is_that_of_the_decoded_bytes(void **state)
{
  struct coded *c = *state;

  c->iov[0].length = c->raw - 1;
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_ERR_BUFFER);
  c->iov[0].length = c->raw + 1;
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
  c->chunks[0].exact = 1;
  memset(c->out, 0xEE, c->raw);
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_ERR_SPACE_MISMATCH);
  assert_int_equal(c->out[0], 0xEE);
  assert_int_equal(c->statuses[0], KVS_ERR_SPACE_MISMATCH);
}

static void several_chunks_come_one_after_another(void **state)
{
  struct coded *c = *state;
  uint32_t chunks, segments;
  kvsc_op op = start(c, N_CHUNKS);

  give(c, 0);
  assert_int_equal(kvsc_wait_progress(c->client, op, 1, 0, 10000), KVS_OK);
  for (uint32_t i = 1; i < N_CHUNKS; i++) {
    if (i == 3)
      transfer_of(c)->chunks[i].cause = KVI_MISS_EVICTED;
    if (i == 3)
      end_chunk(c, i, KVS_MISS);
    else
      give(c, i);
  }
  end_transfer(c, KVS_PARTIAL);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_PARTIAL);
  assert_int_equal(completion.n_ok, N_CHUNKS - 1);
  assert_int_equal(completion.n_prefix, 3);
  assert_int_equal(completion.cause, KVSC_CAUSE_EVICTED);
  assert_int_equal(completion.bytes, (N_CHUNKS - 1) * c->raw);
  assert_int_equal(kvsc_progress(c->client, op, &chunks, &segments), KVS_ERR_INVALID);
  for (uint32_t i = 0; i < N_CHUNKS; i++)
    if (i != 3)
      assert_memory_equal(c->out + i * c->raw, c->sample.raw, c->raw);
  assert_int_equal(c->statuses[2], KVS_OK);
  assert_int_equal(c->statuses[3], KVS_MISS);
}

/* Chunks as they were put among coded ones, and all abreast: a layer of every chunk before the next one. */
static void coded_and_raw_chunks_come_abreast(void **state)
{
  struct coded *c = *state;
  uint64_t layer_bytes = c->raw / N_LAYERS;
  kvsc_op op = start_call(c, N_CHUNKS, (kvsc_call){.abreast = 1});
  struct kvi_transfer *transfer = transfer_of(c);
  uint32_t sent = 0;

  assert_true(transfer->abreast);
  for (uint32_t i = 0; i + 1 < N_CHUNKS; i++)
    assert_int_equal(begin(c, i, c->sample.length), KVS_OK);
  for (uint32_t layer = 0; layer < N_LAYERS; layer++) {
    uint32_t until = coded_sample_segments_of(&c->sample, layer), last = N_CHUNKS - 1;
    bool reached;

    for (uint32_t i = 0; i < last; i++)
      land(c, i, sent, until);
    sent = until;
    memcpy((uint8_t *)transfer->chunks[last].iov->base + layer * layer_bytes,
           c->sample.raw + layer * layer_bytes, layer_bytes);
    transfer->chunks[last].verified = (layer + 1) * layer_bytes;
    transfer->on_segments(transfer, last, layer + 1);
    assert_int_equal(kvi_client_wait_bytes(c->client, op, (layer + 1) * layer_bytes, 10000, &reached),
                     KVS_OK);
    assert_true(reached);
  }
  for (uint32_t i = 0; i < N_CHUNKS; i++)
    end_chunk(c, i, KVS_OK);
  end_transfer(c, KVS_OK);
  assert_int_equal(wait_for(c->client, op).n_ok, N_CHUNKS);
  for (uint32_t i = 0; i < N_CHUNKS; i++)
    assert_memory_equal(c->out + i * c->raw, c->sample.raw, c->raw);
}

/* ---- what is wrong with it ---- */

static void expect_corrupt(struct coded *c, bool only_corrupt)
{
  uint32_t n_calls = c->wire.n_calls;
  kvsc_completion completion = get_whole(c, (kvsc_call){0});

  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_CORRUPT);
  assert_int_equal(c->statuses[0], KVS_MISS);
  assert_int_equal(c->wire.n_calls, n_calls + 1); /* the node is asked to drop it */
  assert_int_equal(c->wire.only_corrupt, only_corrupt);
  answer_calls(c);
}

/* Any byte of the head may be wrong, and the wire would not know: the node's checksums fit what the node has. */
static void damaged_heads_are_refused(void **state)
{
  struct coded *c = *state;
  uint32_t head = c->sample.segments[0].length;
  uint64_t n = 0;

  for (uint32_t at = 0; at < head; at += 5, n++) {
    c->wire.n_held = c->wire.n_calls = 0;
    c->sample.payload[at] ^= 0x10;
    kvsc_completion completion = get_whole(c, (kvsc_call){0});
    assert_int_equal(completion.status, KVS_MISS);
    assert_true(completion.cause == KVSC_CAUSE_CORRUPT || completion.cause == KVSC_CAUSE_QUALITY);
    c->sample.payload[at] ^= 0x10;
    answer_calls(c);
  }
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
  assert_int_equal(counters_of(c).coded_chunks, 1);
}

static void damaged_layers_are_refused(void **state)
{
  struct coded *c = *state;

  c->sample.payload[c->sample.length - 1] ^= 1;
  expect_corrupt(c, false);
  c->sample.payload[c->sample.length - 1] ^= 1;
  assert_int_equal(get_whole(c, (kvsc_call){0}).status, KVS_OK);
  assert_int_equal(counters_of(c).checksum_errors, 1);
}

/* The object is sound, but of other bytes than those that were put; in segments of any size, at places in one piece and in several. */
static void other_bytes_are_refused(void **state)
{
  static const uint32_t cuts[] = {2 * N_LAYERS, N_LAYERS, 3, 1};
  struct coded *c = *state;

  for (uint32_t k = 0; k < 4; k++) {
    struct coded_sample other;

    remake(c, KVI_CODEC_LOSSLESS, 0, cuts[k]);
    coded_sample_make(&other, KVI_CODEC_LOSSLESS, 0, N_LAYERS, cuts[k], 2);
    memcpy(c->sample.payload, other.payload, kvi_chunk_table_size(cuts[k]));
    coded_sample_cut(&c->sample);
    coded_sample_free(&other);
    expect_corrupt(c, false);
    const kvsc_iov iov[] = {{c->out, 3}, {c->out + 4, 2 * c->raw / 3}, {c->out + c->raw, c->raw / 3}};
    c->chunks[0] = (kvsc_chunk){.iov = iov, .n_iov = 3};
    expect_corrupt(c, false);
    c->sample.quality = kvi_quality(1, 1, KVI_CODING_KVC1); /* with loss nobody can compare them */
    assert_int_equal(get_whole(c, (kvsc_call){.loss_max = 1}).status, KVS_OK);
  }
}

static kvsc_completion get_said(struct coded *c, uint32_t said)
{
  c->wire.n_held = c->wire.n_calls = 0;
  c->sample.quality = kvi_quality(said, KVI_LOSS_MAX, KVI_CODING_KVC1);
  kvsc_completion completion = get_whole(c, (kvsc_call){.loss_max = said});
  answer_calls(c);
  return completion;
}

/* A chunk's quality is what whoever put it said: its bytes may have lost more, and then they are not what was asked for. */
static void what_lost_more_than_it_says_is_refused(void **state)
{
  struct coded *c = *state;

  for (uint32_t planes = 0; planes <= 3; planes++) {
    uint32_t loss = kvi_coded_loss(KVI_CODEC_LADDER, planes);

    remake(c, KVI_CODEC_LADDER, planes, 1);
    for (uint32_t said = 0; said <= KVI_LOSS_MAX; said++) {
      memset(c->out, 0xEE, c->raw);
      kvsc_completion completion = get_said(c, said);
      assert_int_equal(completion.status, said < loss ? KVS_MISS : KVS_OK);
      assert_true(said >= loss || completion.cause == KVSC_CAUSE_CORRUPT);
      assert_true(said == 0 || said >= loss || c->out[0] == 0xEE);
    }
  }
  remake(c, KVI_CODEC_LOSSLESS, 0, 1); /* lost before it was encoded */
  struct kvi_segment segment = kvi_chunk_table_segment(&c->sample.raw_table, 0);
  kvi_chunk_table_write(c->sample.raw_table_bytes, &segment, 1, kvi_quality(2, 3, KVI_CODING_NONE));
  assert_int_equal(
      kvi_chunk_table_read(c->sample.raw_table_bytes, kvi_chunk_table_size(1), &c->sample.raw_table), KVS_OK);
  coded_sample_encode(&c->sample);
  for (uint32_t said = 0; said <= 3; said++)
    assert_int_equal(get_said(c, said).status, said < 2 ? KVS_MISS : KVS_OK);
}

static void cut_payloads_are_refused(void **state)
{
  struct coded *c = *state;
  uint64_t whole = c->sample.length;
  uint32_t last = c->sample.n_segments - 1;

  /* its last segment is missing, or cut */
  c->sample.length -= c->sample.segments[last].length;
  c->sample.n_segments--;
  expect_corrupt(c, false);
  c->sample.length = whole - 1;
  c->sample.n_segments++;
  c->sample.segments[last].length--;
  expect_corrupt(c, false);
  /* shorter than a table */
  c->sample.n_segments = 1;
  for (uint32_t length = 1; length < 200; length += 37) {
    c->sample.segments[0].length = length;
    c->sample.length = length;
    expect_corrupt(c, false);
  }
}

/* The head comes in two segments, as no node cuts it. */
static void a_head_in_pieces_is_refused(void **state)
{
  struct coded *c = *state;

  c->sample.segments[0].length -= 8;
  c->sample.segments[1].length += 8;
  expect_corrupt(c, false);
}

/* What the wire's checksums find is the node's to look at; what only decoding finds is wrong there. */
static void a_wire_that_ends_the_chunk_is_believed(void **state)
{
  struct coded *c = *state;
  kvsc_op op = start(c, 1);

  assert_int_equal(begin(c, 0, c->sample.length), KVS_OK);
  land(c, 0, 0, 2);
  transfer_of(c)->chunks[0].cause = KVI_MISS_CORRUPT;
  end_chunk(c, 0, KVS_MISS);
  end_transfer(c, KVS_MISS);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_CORRUPT);
  assert_true(c->wire.only_corrupt);
}

static void lengths_have_a_bound(void **state)
{
  struct coded *c = *state;
  kvsc_op op = start(c, 1);

  assert_int_equal(begin(c, 0, 0), KVS_ERR_PROTOCOL);
  assert_int_equal(begin(c, 0, KVI_CHUNK_BYTES_MAX + 1ull), KVS_ERR_PROTOCOL);
  assert_int_equal(begin(c, 0, UINT64_MAX), KVS_ERR_PROTOCOL);
  end_chunk(c, 0, KVS_ERR_PROTOCOL);
  end_transfer(c, KVS_ERR_PROTOCOL);
  kvsc_completion completion = wait_for(c->client, op);
  assert_int_equal(completion.status, KVS_MISS);
  assert_int_equal(completion.cause, KVSC_CAUSE_NODE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_coded_chunk_is_what_was_put),
      TEST(bytes_of_no_shape_come_too),
      TEST(layers_are_handed_over_as_they_come),
      TEST(a_lossy_chunk_is_taken_by_who_allows_it),
      TEST(a_put_says_how_far_it_may_be_degraded),
      TEST(places_are_the_callers),
      TEST(what_others_write_to_its_places_is_not_the_nodes_fault),
      TEST(room_is_that_of_the_decoded_bytes),
      TEST(several_chunks_come_one_after_another),
      TEST(coded_and_raw_chunks_come_abreast),
      TEST(damaged_heads_are_refused),
      TEST(damaged_layers_are_refused),
      TEST(other_bytes_are_refused),
      TEST(what_lost_more_than_it_says_is_refused),
      TEST(cut_payloads_are_refused),
      TEST(a_head_in_pieces_is_refused),
      TEST(a_wire_that_ends_the_chunk_is_believed),
      TEST(lengths_have_a_bound),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
