/* Readers who want less than there is: chunks of a ladder come without their last planes, and stay whole in the store. */
#include "decoder_node.h"

#include "tiers/store_private.h"

#define N      40u /* chunks; memory has room for half of them */
#define PLANES 3u
#define OWNERS 1u /* the loss that the owner allows: no tier may leave out a plane */

static const struct decoding_config ladder = {.threads = 1, .lossy = KVI_CODEC_LADDER, .planes = PLANES};

/* A coded payload in one piece. */
struct whole {
  uint8_t *bytes;
  uint64_t length, cut[PLANES + 1]; /* length with so many planes */
};

static uint8_t *bytes_of(const struct kvi_source *source)
{
  uint8_t *bytes = malloc(source->table.length);
  uint64_t at = 0;

  assert_non_null(bytes);
  for (uint32_t i = 0; i < source->n_iov && at < source->table.length; i++) {
    uint64_t left = source->table.length - at;
    uint64_t run = source->iov[i].length < left ? source->iov[i].length : left;

    memcpy(bytes + at, source->iov[i].base, run);
    at += run;
  }
  assert_int_equal(at, source->table.length);
  return bytes;
}

static void get(struct decoding_node *node, uint64_t number, const struct kvi_get_terms *terms,
                struct getting *getting)
{
  assert_int_equal(node_get_end(node_get_start(node, node->space, number, terms, getting), getting), KVS_OK);
}

static struct whole whole_get(struct decoding_node *node, uint64_t number)
{
  struct kvi_get_terms all = {.codings = 1u << KVI_CODING_KVC1, .loss_max = KVI_LOSS_MAX};
  struct getting getting;
  struct kvi_coded coded;
  struct whole whole;

  get(node, number, &all, &getting);
  whole.bytes = bytes_of(&getting.wait.source);
  whole.length = getting.wait.source.table.length;
  assert_int_equal(getting.wait.source.table.quality, kvi_quality(1, OWNERS, KVI_CODING_KVC1));
  node_get_close(node, &getting);
  assert_int_equal(kvi_coded_open(whole.bytes, whole.length, whole.length, &coded), KVS_OK);
  assert_int_equal(coded.planes, PLANES);
  for (uint32_t i = 0; i <= PLANES; i++)
    whole.cut[i] = coded.object_at + coded.object.quality_end[i];
  assert_int_equal(whole.cut[PLANES], whole.length);
  return whole;
}

/* What decoding so many planes gives, of a payload that has more. Free it. */
static uint8_t *decoded_with(const struct whole *whole, uint32_t planes)
{
  uint8_t *raw = malloc(RAW), *at = raw;
  struct kvi_coded coded;

  assert_non_null(raw);
  assert_int_equal(kvi_coded_open(whole->bytes, whole->length, whole->length, &coded), KVS_OK);
  coded.planes = planes;
  for (uint32_t layer = 0; layer < LAYERS; layer++) {
    assert_int_equal(kvi_coded_layer(&coded, layer, whole->bytes, at), KVS_OK);
    at += kvi_codec_layer_bytes(&coded.object.shape, layer);
  }
  return raw;
}

/* A get of such terms is sent so many planes, whether its reader decodes or not. */
static void is_sent(struct decoding_node *node, uint64_t number, const struct whole *whole,
                    struct kvi_get_terms terms, uint32_t planes)
{
  uint16_t loss = (uint16_t)(1 + PLANES - planes);
  uint8_t *bytes, *decoded = decoded_with(whole, planes);
  struct getting getting;
  const struct kvi_source *source = &getting.wait.source;

  terms.codings = 1u << KVI_CODING_KVC1;
  get(node, number, &terms, &getting);
  assert_int_equal(source->table.quality, kvi_quality(loss, OWNERS, KVI_CODING_KVC1));
  assert_int_equal(source->table.length, whole->cut[planes]);
  assert_true(kvi_medium_fits(&source->table, source->iov, source->n_iov));
  bytes = bytes_of(source);
  assert_memory_equal(bytes, whole->bytes, whole->cut[planes]);
  assert_true(decodes_to(bytes, whole->cut[planes], decoded, RAW, NULL));
  free(bytes);
  node_get_close(node, &getting);
  terms.codings = 0;
  if (terms.bytes_enough > 0) { /* of what is decoded here no byte is saved */
    planes = terms.loss_enough <= 1 ? PLANES : 1 + PLANES - terms.loss_enough;
    free(decoded);
    decoded = decoded_with(whole, planes);
  }
  get(node, number, &terms, &getting);
  assert_int_equal(source->table.quality, kvi_quality(1 + PLANES - planes, OWNERS, KVI_CODING_NONE));
  assert_int_equal(source->table.length, RAW);
  assert_memory_equal(source->iov[0].base, decoded, RAW);
  node_get_close(node, &getting);
  free(decoded);
}

static void fill(struct decoding_node *node)
{
  for (uint64_t i = 0; i < N; i++)
    node_put(node, i, kvi_quality(0, OWNERS, KVI_CODING_NONE));
  assert_true(store_stats_of(node->store).medium_only > 10);
}

static void no_more_than_is_enough(void **state)
{
  static const struct {
    uint32_t loss_max, loss_enough, planes;
  } cases[] = {
      {15, 0, 3},  {15, 1, 3}, {15, 2, 2}, {15, 3, 1}, {15, 4, 0},
      {15, 15, 0}, {1, 1, 3},  {2, 4, 2},  {3, 15, 1},
  };
  struct decoding_node node;
  struct whole whole;

  (void)state;
  decoding_node_open(&node, &ladder);
  fill(&node);
  whole = whole_get(&node, 0);
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    is_sent(&node, 0, &whole,
            (struct kvi_get_terms){.loss_max = cases[i].loss_max, .loss_enough = cases[i].loss_enough},
            cases[i].planes);
  is_sent(&node, 10, &whole, (struct kvi_get_terms){.loss_max = 4, .loss_enough = 3}, 1); /* of equal bytes */
  free(whole.bytes);
  whole = whole_get(&node, 10); /* checks that nothing is missing */
  free(whole.bytes);
  store_check(node.store, node.space);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

static void no_longer_than_is_enough(void **state)
{
  struct decoding_node node;
  struct whole whole;

  (void)state;
  decoding_node_open(&node, &ladder);
  fill(&node);
  whole = whole_get(&node, 0);
  for (uint32_t planes = 0; planes <= PLANES; planes++) {
    struct kvi_get_terms terms = {.loss_max = KVI_LOSS_MAX, .bytes_enough = whole.cut[planes]};

    is_sent(&node, 0, &whole, terms, planes);
    terms.bytes_enough--;
    is_sent(&node, 0, &whole, terms, planes > 0 ? planes - 1 : 0);
    terms.loss_max = 1 + PLANES - planes; /* whatever the bytes */
    terms.bytes_enough = 1;
    is_sent(&node, 0, &whole, terms, planes);
    terms =
        (struct kvi_get_terms){.loss_max = KVI_LOSS_MAX, .loss_enough = 2, .bytes_enough = whole.cut[planes]};
    is_sent(&node, 0, &whole, terms, planes < 2 ? planes : 2);
  }
  free(whole.bytes);
  whole = whole_get(&node, 0);
  free(whole.bytes);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* From below each time, also two at a time with different wishes; and memory and what is below keep all planes. */
static void from_below(void **state)
{
  struct kvi_get_terms some = {.codings = 1u << KVI_CODING_KVC1, .loss_max = 4, .loss_enough = 2};
  struct kvi_get_terms least = {.codings = 1u << KVI_CODING_KVC1, .loss_max = 4, .bytes_enough = 1};
  struct decoding_node node;
  struct whole whole;

  (void)state;
  decoding_node_open(&node, &ladder);
  fill(&node);
  for (uint64_t i = 0; i < 4; i++) {
    uint64_t fetches = store_stats_of(node.store).fetches;
    struct getting gettings[2];
    kvs_status statuses[2];

    statuses[0] = node_get_start(&node, node.space, i, &some, &gettings[0]);
    statuses[1] = node_get_start(&node, node.space, i, &least, &gettings[1]);
    for (uint32_t k = 0; k < 2; k++) {
      assert_int_equal(node_get_end(statuses[k], &gettings[k]), KVS_OK);
      assert_int_equal(kvi_quality_loss(gettings[k].wait.source.table.quality), k == 0 ? 2 : 4);
    }
    assert_int_equal(store_stats_of(node.store).fetches, fetches + 1);
    whole = whole_get(&node, i);
    assert_int_equal(gettings[0].wait.source.table.length, whole.cut[2]);
    assert_int_equal(gettings[1].wait.source.table.length, whole.cut[0]);
    free(whole.bytes);
    for (uint32_t k = 0; k < 2; k++)
      node_get_close(&node, &gettings[k]);
  }
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* What has no planes comes as it is: raw in memory, noise, and what is coded without loss. */
static void what_has_no_planes(void **state)
{
  static const struct decoding_config lossless = {.threads = 1};
  struct kvi_get_terms least = {.codings = 1u << KVI_CODING_KVC1, .loss_max = 15, .bytes_enough = 1};
  struct decoding_node node;
  bool coded = false, one = false;
  uint32_t cause;

  (void)state;
  least.loss_enough = 15;
  decoding_node_open(&node, &lossless);
  fill(&node);
  for (uint64_t i = 0; i < N; i++) {
    assert_int_equal(node_get(&node, i, &least, &coded, &cause), KVS_OK); /* and they are compared */
    one |= coded;
  }
  assert_true(one);
  assert_int_equal(metric(&node, "kvasir_get_left_out_planes_total", ""), 0);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

static void it_is_counted(void **state)
{
  struct kvi_get_terms least = {.codings = 1u << KVI_CODING_KVC1, .loss_max = 15, .loss_enough = 15};
  struct decoding_node node;
  struct getting getting;
  struct whole whole;
  uint64_t bytes;

  (void)state;
  decoding_node_open(&node, &ladder);
  fill(&node);
  whole = whole_get(&node, 0);
  bytes = metric(&node, "kvasir_get_bytes_total", "");
  get(&node, 0, &least, &getting);
  node_get_close(&node, &getting);
  get(&node, 1, &least, &getting); /* from below */
  bytes += whole.cut[0] + getting.wait.source.table.length;
  node_get_close(&node, &getting);
  assert_int_equal(metric(&node, "kvasir_get_left_out_planes_total", ""), 2 * PLANES);
  assert_in_range(metric(&node, "kvasir_get_left_out_bytes_total", ""), whole.length - whole.cut[0] + 1,
                  2 * RAW);
  assert_int_equal(metric(&node, "kvasir_get_bytes_total", ""), bytes);
  free(whole.bytes);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* A hit that comes to nothing has left out nothing. */
static void it_is_counted_back(void **state)
{
  struct kvi_get_terms least = {.codings = 1u << KVI_CODING_KVC1, .loss_max = 15, .loss_enough = 15};
  struct decoding_node node;
  struct kvi_store_stats before, after;
  struct kvi_source source;
  uint8_t key[KEY_BYTES];
  struct whole whole;
  uint32_t cause;

  (void)state;
  decoding_node_open(&node, &ladder);
  fill(&node);
  whole = whole_get(&node, 0);
  testing_key(0, key, KEY_BYTES);
  for (uint32_t i = 0; i < 2; i++) { /* of the second all is wanted */
    before = store_stats_of(node.store);
    assert_int_equal(
        kvi_store_get_here(node.store, TENANT, node.space, key, KEY_BYTES, &least, &source, &cause), KVS_OK);
    assert_int_equal(source.table.length, i == 0 ? whole.cut[0] : whole.length);
    assert_true((store_stats_of(node.store).left_out_bytes > before.left_out_bytes) == (i == 0));
    kvi_store_count_unread(node.store, &source, KVI_MISS_NONE);
    kvi_store_get_close(node.store, &source);
    after = store_stats_of(node.store);
    assert_int_equal(after.left_out_planes, before.left_out_planes);
    assert_int_equal(after.left_out_bytes, before.left_out_bytes);
    assert_int_equal(after.get_bytes, before.get_bytes);
    assert_int_equal(after.get_hits, before.get_hits);
    least.loss_enough = 0;
  }
  free(whole.bytes);
  nothing_left(&node, 0, N);
  decoding_node_close(&node);
}

/* Lossy already when it was put: it is as good with a plane less, to who takes more loss than it has. */
static void what_had_lost_more_before(void **state)
{
  struct kvi_get_terms terms = {.codings = 1u << KVI_CODING_KVC1, .loss_max = 2, .bytes_enough = 1};
  struct decoding_node node;
  struct coded_chunk coded;
  struct kvi_coded opened;
  uint64_t length;

  (void)state;
  decoding_node_open(&node, &ladder);
  coded_make(&coded, 1, TENSORS, RAW, KVI_CODEC_LADDER, PLANES);
  coded_seal(&coded, kvi_quality(2, OWNERS, KVI_CODING_KVC1));
  coded_lay(&coded, 1, 0);
  length = coded.source.table.length;
  assert_int_equal(kvi_coded_open(coded.encoded.payload, length, length, &opened), KVS_OK);
  kvi_source_lessen(node.store, &terms, &coded.source);
  assert_int_equal(coded.source.table.length, length); /* as good as it is, it is all that is taken */
  terms = (struct kvi_get_terms){.codings = terms.codings, .loss_max = 3, .bytes_enough = length - 1};
  kvi_source_lessen(node.store, &terms, &coded.source);
  assert_int_equal(coded.source.table.length, opened.object_at + opened.object.quality_end[2]);
  assert_int_equal(coded.source.table.quality, kvi_quality(2, OWNERS, KVI_CODING_KVC1));
  coded_lay(&coded, 1, 0);
  terms = (struct kvi_get_terms){.codings = terms.codings, .loss_max = 15, .loss_enough = 3};
  kvi_source_lessen(node.store, &terms, &coded.source);
  assert_int_equal(coded.source.table.length, opened.object_at + opened.object.quality_end[1]);
  assert_int_equal(coded.source.table.quality, kvi_quality(3, OWNERS, KVI_CODING_KVC1));
  assert_true(kvi_medium_fits(&coded.source.table, coded.source.iov, coded.source.n_iov));
  coded_free(&coded);
  decoding_node_close(&node);
}

/* Somebody has put it so. */
static void coded_one_segment(struct coded_chunk *coded)
{
  struct kvi_segment segment = {.length = (uint32_t)coded->encoded.length,
                                .crc32c =
                                    kvi_crc32c_update(0, coded->encoded.payload, coded->encoded.length)};

  kvi_chunk_table_write(coded->encoded.table_bytes, &segment, 1, coded->encoded.table.quality);
  assert_int_equal(
      kvi_chunk_table_read(coded->encoded.table_bytes, kvi_chunk_table_size(1), &coded->encoded.table),
      KVS_OK);
  coded_lay(coded, 1, 0);
}

/* However it lies in memory; and not if its segments are not the object's, or it is not what its table says. */
static void however_it_lies(void **state)
{
  const struct kvi_get_terms terms = {
      .codings = 1u << KVI_CODING_KVC1, .loss_max = 15, .loss_enough = 3, .bytes_enough = 0};
  struct decoding_node node;
  struct coded_chunk coded;
  uint64_t length;

  (void)state;
  decoding_node_open(&node, &ladder);
  coded_make(&coded, 1, TENSORS, RAW, KVI_CODEC_LADDER, PLANES);
  length = coded.source.table.length;
  for (uint32_t pieces = 1; pieces <= PIECES_MAX; pieces++)
    for (uint32_t shift = 0; shift < 8; shift += 4) {
      struct kvi_decode_room room = {0};
      struct kvi_decode_opened opened;
      struct kvi_decoded_chunk decoded;
      uint8_t *bytes;

      coded_lay(&coded, pieces, shift);
      kvi_source_lessen(node.store, NULL, &coded.source);
      assert_int_equal(coded.source.table.length, length);
      kvi_source_lessen(node.store, &terms, &coded.source);
      assert_true(coded.source.table.length < length);
      assert_int_equal(kvi_quality_loss(coded.source.table.quality), 3);
      assert_true(kvi_medium_fits(&coded.source.table, coded.source.iov, coded.source.n_iov));
      assert_int_equal(kvi_decode_open(&coded.source, &room, &opened),
                       KVS_OK); /* what is left out is not touched */
      assert_int_equal(opened.coded.planes, 1);
      assert_int_equal(kvi_decode_chunk(&opened, NULL, &decoded), KVS_OK);
      assert_true(decodes_to(coded.encoded.payload, coded.source.table.length, decoded.payload, RAW, NULL));
      kvi_decoded_chunk_free(&decoded);
      kvi_decode_room_free(&room);
      bytes = bytes_of(&coded.source);
      assert_memory_equal(bytes, coded.encoded.payload, coded.source.table.length);
      free(bytes);
    }
  coded_lay(&coded, 1, 0);
  coded.memory[kvi_chunk_table_size(SEGMENTS)] ^= 1; /* the object's magic */
  kvi_source_lessen(node.store, &terms, &coded.source);
  assert_int_equal(coded.source.table.length, length);
  coded_one_segment(&coded);
  kvi_source_lessen(node.store, &terms, &coded.source);
  assert_int_equal(coded.source.table.length, length);
  assert_int_equal(coded.source.table.n_segments, 1);
  coded_free(&coded);
  decoding_node_close(&node);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_more_than_is_enough),
      cmocka_unit_test(no_longer_than_is_enough),
      cmocka_unit_test(from_below),
      cmocka_unit_test(what_has_no_planes),
      cmocka_unit_test(it_is_counted),
      cmocka_unit_test(it_is_counted_back),
      cmocka_unit_test(what_had_lost_more_before),
      cmocka_unit_test(however_it_lies),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
