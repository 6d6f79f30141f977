/*
 * The decoder alone: what was encoded comes out as it was put, from memory in any pieces; what is no such chunk does not; and its bounds: of what waits, of its memory, and
 * of the time that anybody waits for it at the end.
 */
#include "decoder_testing.h"

#define CHUNK_MAX (1u << 20)

static struct kvi_decoder *decoder_make(uint32_t threads, uint32_t waiting, uint64_t memory)
{
  struct kvi_decoder_config config = {
      .threads = threads, .waiting_max = waiting, .chunk_bytes_max = CHUNK_MAX, .memory_bytes = memory};
  struct kvi_decoder *decoder;

  assert_int_equal(kvi_decoder_create(&config, &decoder), KVS_OK);
  return decoder;
}

static kvs_status decode(struct kvi_decoder *decoder, struct coded_chunk *coded, struct decoding *decoding)
{
  assert_int_equal(decoding_start(decoder, coded, decoding), KVS_OK);
  return test_wait_for(&decoding->ended);
}

/* A whole source: its table says what its bytes are, and was told so. */
static void check_decoded(const struct coded_chunk *coded, const struct kvi_source *source,
                          const uint8_t *raw, bool exact)
{
  struct kvi_chunk_table put;
  uint16_t quality = coded->source.table.quality;

  assert_non_null(source->decoded);
  assert_null(source->handle);
  assert_int_equal(source->tier, KVI_TIER_SSD);
  assert_int_equal(source->n_iov, 1);
  assert_int_equal(source->table.length, coded->chunk.length);
  assert_int_equal(source->iov[0].length, coded->chunk.length);
  assert_memory_equal(source->iov[0].base, raw, coded->chunk.length);
  assert_int_equal(source->table.quality,
                   kvi_quality(kvi_quality_loss(quality), kvi_quality_loss_max(quality), KVI_CODING_NONE));
  assert_int_equal(
      kvi_chunk_table_read(coded->chunk.table, kvi_chunk_table_size(coded->chunk.n_segments), &put), KVS_OK);
  assert_int_equal(source->table.n_segments, put.n_segments);
  for (uint32_t i = 0; i < put.n_segments; i++) {
    assert_int_equal(kvi_chunk_table_segment(&source->table, i).length,
                     kvi_chunk_table_segment(&put, i).length);
    if (exact)
      assert_int_equal(kvi_chunk_table_segment(&source->table, i).crc32c,
                       kvi_chunk_table_segment(&put, i).crc32c);
  }
  assert_true(kvi_medium_fits(&source->table, source->iov, source->n_iov));
}

/* In one piece, at an odd address, in several pieces. */
static void comes_out_from_anywhere(struct coded_chunk *coded, const uint8_t *raw, bool exact)
{
  static const struct {
    uint32_t pieces, shift;
  } ways[] = {{1, 0}, {1, 8}, {1, 3}, {2, 0}, {7, 5}, {PIECES_MAX, 0}};
  struct kvi_decoder *decoder = decoder_make(2, 0, CHUNK_MAX);
  struct decoding decoding;

  for (uint32_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
    coded_lay(coded, ways[i].pieces, ways[i].shift);
    assert_int_equal(decode(decoder, coded, &decoding), KVS_OK);
    check_decoded(coded, &decoding.decode.decoded, raw, exact);
    kvi_decoder_close(decoder, &decoding.decode.decoded);
    assert_null(decoding.decode.decoded.decoded);
    kvi_decoder_close(decoder, &decoding.decode.decoded); /* nothing any more */
    assert_int_equal(decoder_stats_of(decoder).chunks, i + 1);
  }
  assert_int_equal(decoder_stats_of(decoder).memory_bytes, 0);
  assert_int_equal(decoder_stats_of(decoder).raw_bytes,
                   sizeof(ways) / sizeof(ways[0]) * (uint64_t)coded->chunk.length);
  kvi_decoder_destroy(decoder);
}

static void without_loss_it_is_what_was_put(void **state)
{
  struct coded_chunk coded;

  (void)state;
  coded_make(&coded, 3, TENSORS, RAW, KVI_CODEC_RAW, 0);
  comes_out_from_anywhere(&coded, coded.chunk.bytes, true);
  coded_free(&coded);
  coded_make(&coded, 4, TEXT, 70001, KVI_CODEC_RAW, 0); /* zstd */
  comes_out_from_anywhere(&coded, coded.chunk.bytes, true);
  coded_free(&coded);
}

static void with_loss_it_is_what_is_left(void **state)
{
  (void)state;
  for (uint32_t planes = 0; planes <= KVI_CODEC_PLANES_MAX; planes++) {
    struct coded_chunk coded;
    struct kvi_coded opened;
    uint8_t *raw = malloc(RAW);
    uint32_t quality;

    coded_make(&coded, planes, TENSORS, RAW, KVI_CODEC_LADDER, planes);
    assert_int_equal(
        kvi_coded_open(coded.encoded.payload, coded.encoded.length, coded.encoded.length, &opened), KVS_OK);
    assert_int_equal(kvi_codec_decode(coded.encoded.payload + opened.object_at,
                                      coded.encoded.length - opened.object_at, planes, raw, RAW, &quality),
                     KVS_OK);
    assert_int_equal(kvi_quality_loss(coded.source.table.quality), kvi_coded_loss(KVI_CODEC_LADDER, planes));
    comes_out_from_anywhere(&coded, raw, false);
    free(raw);
    coded_free(&coded);
  }
}

/* Where a device may damage it, and where somebody may have put it so. */
static void what_is_no_such_chunk(void **state)
{
  struct kvi_decoder *decoder = decoder_make(1, 0, CHUNK_MAX);
  uint64_t corrupt = 0;
  struct decoding decoding;
  struct coded_chunk coded;

  (void)state;
  coded_make(&coded, 3, TENSORS, RAW, KVI_CODEC_RAW, 0);
  for (uint64_t at = 0; at < coded.encoded.length; at += 1 + coded.encoded.length / 97) {
    uint8_t *byte = (uint8_t *)coded.source.iov[0].base + at;

    *byte ^= 0x10;
    assert_int_equal(decode(decoder, &coded, &decoding), KVS_ERR_CORRUPT);
    *byte ^= 0x10;
    corrupt++;
  }
  /* Another chunk's object behind its table: all checksums fit, but for those of what was put. */
  {
    struct coded_chunk other;
    size_t table = kvi_chunk_table_size(SEGMENTS);

    coded_make(&other, 8, TENSORS, RAW, KVI_CODEC_RAW, 0);
    memcpy(other.encoded.payload, coded.encoded.payload, table);
    coded_seal(&other, kvi_quality(0, 0, KVI_CODING_KVC1));
    assert_true(kvi_medium_fits(&other.source.table, other.source.iov, 1));
    assert_int_equal(decode(decoder, &other, &decoding), KVS_ERR_CORRUPT);
    corrupt++;
    coded_free(&other);
  }
  assert_int_equal(decoder_stats_of(decoder).corrupt, corrupt);
  coded.source.table.quality = kvi_quality(0, 0, (enum kvi_chunk_coding)2);
  assert_int_equal(decode(decoder, &coded, &decoding), KVS_ERR_UNSUPPORTED);
  assert_int_equal(decoder_stats_of(decoder).failed, 1);
  coded_free(&coded);
  /* It has lost more than it says. */
  coded_make(&coded, 3, TENSORS, RAW, KVI_CODEC_LADDER, 1);
  coded_seal(&coded, kvi_quality(kvi_coded_loss(KVI_CODEC_LADDER, 2), KVI_LOSS_MAX, KVI_CODING_KVC1));
  assert_int_equal(decode(decoder, &coded, &decoding), KVS_ERR_CORRUPT);
  coded_free(&coded);
  /* A small one that would be a large one. */
  coded_make(&coded, 4, TEXT, CHUNK_MAX + 4096, KVI_CODEC_RAW, 0);
  assert_int_equal(decode(decoder, &coded, &decoding), KVS_ERR_TOO_LARGE);
  coded_free(&coded);
  assert_int_equal(decoder_stats_of(decoder).memory_bytes, 0);
  kvi_decoder_destroy(decoder);
}

static void bounds_of_what_waits(void **state)
{
  struct kvi_decoder *decoder = decoder_make(1, 2, CHUNK_MAX);
  struct decoding decodings[4];
  struct coded_chunk coded;

  (void)state;
  coded_make(&coded, 3, TENSORS, RAW, KVI_CODEC_RAW, 0);
  gate_set(&decode_gate, true);
  assert_int_equal(decoding_start(decoder, &coded, &decodings[0]), KVS_OK);
  gate_await(&decode_gate, 1);
  assert_int_equal(decoding_start(decoder, &coded, &decodings[1]), KVS_OK);
  assert_int_equal(decoding_start(decoder, &coded, &decodings[2]), KVS_OK);
  assert_int_equal(decoding_start(decoder, &coded, &decodings[3]), KVS_ERR_BUSY);
  assert_int_equal(decoder_stats_of(decoder).waiting, 2);
  assert_int_equal(decoder_stats_of(decoder).refused, 1);
  gate_set(&decode_gate, false);
  for (int i = 0; i < 3; i++) { /* many of one chunk, all open at a time */
    assert_int_equal(test_wait_for(&decodings[i].ended), KVS_OK);
    check_decoded(&coded, &decodings[i].decode.decoded, coded.chunk.bytes, true);
  }
  assert_int_equal(decoder_stats_of(decoder).memory_bytes, 3 * (uint64_t)RAW);
  assert_int_equal(decodings[3].ended.calls, 0);
  for (int i = 0; i < 3; i++)
    kvi_decoder_close(decoder, &decodings[i].decode.decoded);
  kvi_decoder_destroy(decoder);
  coded_free(&coded);
}

/* Two large ones have no room together, and a small one that came later does not overtake the second. */
static void bounds_of_memory(void **state)
{
  struct kvi_decoder *decoder = decoder_make(3, 0, CHUNK_MAX);
  struct coded_chunk large, small;
  struct decoding decodings[3];
  uint32_t calls;

  (void)state;
  coded_make(&large, 4, TEXT, CHUNK_MAX / 3 * 2, KVI_CODEC_RAW, 0);
  coded_make(&small, 3, TENSORS, RAW, KVI_CODEC_RAW, 0);
  assert_int_equal(decode(decoder, &large, &decodings[0]), KVS_OK);
  calls = gate_calls(&decode_gate);
  assert_int_equal(decoding_start(decoder, &large, &decodings[1]), KVS_OK);
  AWAIT(decoder_stats_of(decoder).turns == 2); /* it waits for memory */
  assert_int_equal(decoding_start(decoder, &small, &decodings[2]), KVS_OK);
  AWAIT(decoder_stats_of(decoder).turns == 3);
  assert_int_equal(gate_calls(&decode_gate), calls);
  assert_int_equal(decoder_stats_of(decoder).memory_bytes, large.chunk.length);
  kvi_decoder_close(decoder, &decodings[0].decode.decoded);
  assert_int_equal(test_wait_for(&decodings[1].ended), KVS_OK);
  assert_int_equal(test_wait_for(&decodings[2].ended), KVS_OK);
  check_decoded(&large, &decodings[1].decode.decoded, large.chunk.bytes, true);
  kvi_decoder_close(decoder, &decodings[1].decode.decoded);
  kvi_decoder_close(decoder, &decodings[2].decode.decoded);
  assert_int_equal(decoder_stats_of(decoder).memory_bytes, 0);
  kvi_decoder_destroy(decoder);
  coded_free(&large);
  coded_free(&small);
}

static void given_up(void **state)
{
  struct kvi_decoder *decoder = decoder_make(1, 0, CHUNK_MAX);
  struct decoding running, waiting;
  struct coded_chunk coded, large;

  (void)state;
  coded_make(&coded, 3, TENSORS, RAW, KVI_CODEC_RAW, 0);
  coded_make(&large, 4, TEXT, CHUNK_MAX - 1, KVI_CODEC_RAW, 0);
  /* in the queue, and being decoded */
  gate_set(&decode_gate, true);
  assert_int_equal(decoding_start(decoder, &coded, &running), KVS_OK);
  gate_await(&decode_gate, 1);
  assert_int_equal(decoding_start(decoder, &coded, &waiting), KVS_OK);
  assert_true(kvi_decoder_cancel(decoder, &waiting.decode));
  assert_false(kvi_decoder_cancel(decoder, &running.decode));
  gate_set(&decode_gate, false);
  assert_int_equal(test_wait_for(&running.ended), KVS_ERR_CANCELED);
  assert_int_equal(decoder_stats_of(decoder).memory_bytes, 0);
  assert_int_equal(decoder_stats_of(decoder).waiting, 0);
  /* waiting for memory */
  assert_int_equal(decode(decoder, &coded, &running), KVS_OK);
  assert_int_equal(decoding_start(decoder, &large, &waiting), KVS_OK);
  AWAIT(decoder_stats_of(decoder).turns == 3);
  assert_false(kvi_decoder_cancel(decoder, &waiting.decode));
  assert_int_equal(test_wait_for(&waiting.ended), KVS_ERR_CANCELED);
  kvi_decoder_close(decoder, &running.decode.decoded);
  assert_int_equal(decoder_stats_of(decoder).failed, 0);
  kvi_decoder_destroy(decoder);
  coded_free(&coded);
  coded_free(&large);
}

static void *destroy(void *decoder)
{
  kvi_decoder_destroy(decoder);
  return NULL;
}

/* What waits is told at once, though a thread is busy; and one that waits for memory that nobody gives back does not keep it. */
static void destroyed_with_work_queued(void **state)
{
  struct kvi_decoder *decoder = decoder_make(2, 0, CHUNK_MAX);
  struct decoding held, running, waiting, starved;
  struct coded_chunk coded, large;
  pthread_t thread;

  (void)state;
  coded_make(&coded, 3, TENSORS, RAW, KVI_CODEC_RAW, 0);
  coded_make(&large, 4, TEXT, CHUNK_MAX, KVI_CODEC_RAW, 0);
  gate_set(&decode_gate, true);
  assert_int_equal(decoding_start(decoder, &coded, &running), KVS_OK);
  gate_await(&decode_gate, 1);
  assert_int_equal(decoding_start(decoder, &large, &starved), KVS_OK);
  AWAIT(decoder_stats_of(decoder).turns == 2);
  assert_int_equal(decoding_start(decoder, &coded, &waiting), KVS_OK);
  assert_int_equal(decoder_stats_of(decoder).waiting, 1);
  assert_int_equal(pthread_create(&thread, NULL, destroy, decoder), 0);
  assert_int_equal(test_wait_for(&waiting.ended), KVS_ERR_CLOSED);
  assert_int_equal(test_wait_for(&starved.ended), KVS_ERR_CLOSED);
  assert_int_equal(decoding_start(decoder, &coded, &held), KVS_ERR_CLOSED);
  assert_false(kvi_decoder_cancel(decoder, &running.decode)); /* so that nothing is left to be closed */
  gate_set(&decode_gate, false);
  assert_int_equal(test_wait_for(&running.ended), KVS_ERR_CANCELED);
  assert_int_equal(pthread_join(thread, NULL), 0);
  coded_free(&coded);
  coded_free(&large);
}

static void configurations(void **state)
{
  struct kvi_decoder_config config = {.threads = 0, .chunk_bytes_max = 4096, .memory_bytes = 4096};
  struct kvi_decoder *decoder;

  (void)state;
  assert_int_equal(kvi_decoder_create(&config, &decoder), KVS_ERR_INVALID);
  config.threads = KVI_DECODER_THREADS_MAX + 1;
  assert_int_equal(kvi_decoder_create(&config, &decoder), KVS_ERR_INVALID);
  config.threads = KVI_DECODER_THREADS_MAX;
  config.memory_bytes--; /* the largest chunk would wait for good */
  assert_int_equal(kvi_decoder_create(&config, &decoder), KVS_ERR_INVALID);
  assert_null(decoder);
  config.memory_bytes++;
  assert_int_equal(kvi_decoder_create(&config, &decoder), KVS_OK);
  kvi_decoder_destroy(decoder);
  kvi_decoder_destroy(NULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_loss_it_is_what_was_put),
      cmocka_unit_test(with_loss_it_is_what_is_left),
      cmocka_unit_test(what_is_no_such_chunk),
      cmocka_unit_test(bounds_of_what_waits),
      cmocka_unit_test(bounds_of_memory),
      cmocka_unit_test(given_up),
      cmocka_unit_test(destroyed_with_work_queued),
      cmocka_unit_test(configurations),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
