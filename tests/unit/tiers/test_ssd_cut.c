/*
 * A chunk's record with a plane less: what is left is a sound record of the same chunk, which decodes to the coarser quality; what cannot be cut, must not be, or is not what it
 * says, stays as it is to the last bit.
 */
#include "testing.h"

#include "base/bytes.h"
#include "tests/unit/proto/coded_sample.h"
#include "tiers/ssd/format.h"

static const struct kvi_ssd_use use = {.sequence = 7, .nonce = 99};
static uint8_t space[KVS_DIGEST_SIZE] = {1}, key[KEY_BYTES] = {2};

/* A record in memory of exactly its bytes. */
struct cutting {
  struct coded_sample sample;
  struct kvi_ssd_record record;
  uint8_t *bytes, *before;
  uint64_t size;
};

/* The sample's record under this quality, cut as these segments say. */
static void record_make(struct cutting *c, uint16_t quality, const struct kvi_segment *segments, uint32_t n)
{
  uint64_t payload_at = kvi_ssd_payload_at(n);

  c->record = (struct kvi_ssd_record){
      .kind = KVI_SSD_CHUNK,
      .use = use,
      .at = 4096,
      .bytes = kvi_ssd_record_bytes(c->sample.length, n),
      .generation = 5,
      .length = c->sample.length,
      .n_segments = n,
      .quality = quality,
      .coding = (uint16_t)kvi_quality_coding(quality),
      .identity = {.tenant = TENANT, .space = space, .key = key, .key_length = KEY_BYTES, .unchained = true}};
  c->size = c->record.bytes;
  c->bytes = aligned_alloc(KVI_SSD_BLOCK, c->size);
  c->before = malloc(c->size);
  assert_non_null(c->bytes);
  assert_non_null(c->before);
  memset(c->bytes, 0, c->size);
  kvi_chunk_table_write(c->bytes + KVI_SSD_HEAD, segments, n, quality);
  memcpy(c->bytes + payload_at, c->sample.payload, c->sample.length);
  c->record.table_crc = kvi_load_le32(c->bytes + KVI_SSD_HEAD + 12);
  kvi_ssd_record_write(c->bytes, &c->record);
  assert_int_equal(kvi_ssd_record_check(c->bytes, c->size, &c->record, true, NULL), KVS_OK);
  memcpy(c->before, c->bytes, c->size);
}

static uint16_t quality_of(uint32_t planes, uint32_t loss_max)
{
  return kvi_quality(kvi_coded_loss(KVI_CODEC_LADDER, planes), loss_max, KVI_CODING_KVC1);
}

static void ladder_make(struct cutting *c, uint32_t planes, uint32_t n_layers, uint32_t loss_max)
{
  coded_sample_make(&c->sample, KVI_CODEC_LADDER, planes, n_layers, 2, 1);
  record_make(c, quality_of(planes, loss_max), c->sample.segments, c->sample.n_segments);
}

static void unmake(struct cutting *c)
{
  coded_sample_free(&c->sample);
  free(c->bytes);
  free(c->before);
}

/* The record in the bytes, as a reader of the log file finds it. */
static struct kvi_ssd_record reread(struct cutting *c)
{
  struct kvi_ssd_record record;

  kvi_ssd_record_write(c->bytes, &c->record);
  assert_int_equal(kvi_ssd_record_read(c->bytes, &use, 4096, &record), KVS_OK);
  assert_int_equal(kvi_ssd_record_check(c->bytes, record.bytes, &record, true, NULL), KVS_OK);
  assert_memory_equal(record.identity.key, key, KEY_BYTES);
  assert_int_equal(record.generation, 5);
  return record;
}

/* It has these planes, no byte behind them, and decodes to what they are worth. */
static void check_planes(struct cutting *c, uint32_t planes, uint32_t loss_max)
{
  const struct kvi_codec_shape *shape = &c->sample.shape;
  struct kvi_ssd_record record = reread(c);
  const uint8_t *payload = c->bytes + kvi_ssd_payload_at(record.n_segments);
  const uint8_t *object = c->sample.payload + kvi_chunk_table_size(c->sample.raw_table.n_segments);
  uint8_t *expected = malloc(shape->raw_bytes), *decoded = malloc(shape->raw_bytes);
  struct kvi_chunk_table table;
  struct kvi_coded coded;
  uint32_t quality;

  assert_non_null(expected);
  assert_non_null(decoded);
  assert_int_equal(record.quality, quality_of(planes, loss_max));
  assert_int_equal(record.coding, KVI_CODING_KVC1);
  assert_int_equal(kvi_ssd_record_check(c->bytes, record.bytes, &record, true, &table), KVS_OK);
  assert_int_equal(table.quality, record.quality);
  for (const uint8_t *at = payload + record.length; at < c->bytes + record.bytes; at++)
    assert_int_equal(*at, 0);
  assert_int_equal(kvi_coded_open(payload, record.length, record.length, &coded), KVS_OK);
  assert_int_equal(coded.planes, planes);
  assert_int_equal(kvi_coded_segments(&coded, payload, NULL, 0), table.n_segments);
  assert_int_equal(kvi_codec_decode(object, c->sample.length - (size_t)(object - c->sample.payload), planes,
                                    expected, shape->raw_bytes, &quality),
                   KVS_OK);
  for (uint32_t layer = 0; layer < shape->n_layers; layer++)
    assert_int_equal(kvi_coded_layer(&coded, layer, payload, decoded + kvi_codec_layer_offset(shape, layer)),
                     KVS_OK);
  assert_memory_equal(decoded, expected, shape->raw_bytes);
  free(expected);
  free(decoded);
}

static void cut(struct cutting *c)
{
  struct kvi_coded_rest rest;

  if (kvi_ssd_record_may_cut(c->bytes, &c->record, &rest))
    kvi_ssd_record_cut(c->bytes, &c->record, &rest);
}

static void stays_as_it_is(struct cutting *c)
{
  struct kvi_ssd_record record = c->record;

  cut(c);
  assert_memory_equal(&c->record, &record, sizeof(record));
  assert_memory_equal(c->bytes, c->before, c->size);
}

static void a_plane_goes_at_a_time(void **state)
{
  struct cutting c;

  (void)state;
  ladder_make(&c, 3, 3, 4);
  check_planes(&c, 3, 4);
  for (uint32_t planes = 3; planes-- > 0;) {
    uint64_t length = c.record.length;

    cut(&c);
    assert_in_range(c.record.length, 1, length - 1);
    check_planes(&c, planes, 4);
  }
  memcpy(c.before, c.bytes, c.size);
  stays_as_it_is(&c); /* the base alone */
  unmake(&c);
}

static void no_more_than_its_owner_allows(void **state)
{
  struct cutting c;

  (void)state;
  for (uint32_t loss_max = 0; loss_max < 3; loss_max++) {
    ladder_make(&c, 2, 3, loss_max);
    stays_as_it_is(&c);
    unmake(&c);
  }
  ladder_make(&c, 2, 3, 3);
  cut(&c);
  check_planes(&c, 1, 3);
  memcpy(c.before, c.bytes, c.size);
  stays_as_it_is(&c);
  unmake(&c);
}

/* The table fills two blocks, and one without the plane: all of the payload moves. */
static void the_payload_changes_its_place(void **state)
{
  struct cutting c;

  (void)state;
  ladder_make(&c, 3, 120, 4);
  assert_int_equal(kvi_ssd_payload_at(c.record.n_segments), 2 * KVI_SSD_BLOCK);
  cut(&c);
  assert_int_equal(kvi_ssd_payload_at(c.record.n_segments), KVI_SSD_BLOCK);
  check_planes(&c, 2, 4);
  cut(&c);
  check_planes(&c, 1, 4);
  unmake(&c);
}

static void what_has_no_planes_stays(void **state)
{
  struct kvi_segment one;
  struct cutting c;

  (void)state;
  coded_sample_make(&c.sample, KVI_CODEC_LOSSLESS, 0, 3, 2, 1);
  record_make(&c, kvi_quality(0, 4, KVI_CODING_KVC1), c.sample.segments, c.sample.n_segments);
  stays_as_it_is(&c);
  unmake(&c);

  coded_sample_make_bytes(&c.sample, 20000, 3);
  record_make(&c, kvi_quality(0, 4, KVI_CODING_KVC1), c.sample.segments, c.sample.n_segments);
  stays_as_it_is(&c);
  unmake(&c);

  coded_sample_make(&c.sample, KVI_CODEC_LADDER, 2, 3, 2, 1); /* a chunk that happens to look like one */
  one = (struct kvi_segment){.length = (uint32_t)c.sample.length,
                             .crc32c = kvi_crc32c_update(0, c.sample.payload, c.sample.length)};
  record_make(&c, kvi_quality(0, 4, KVI_CODING_NONE), &one, 1);
  stays_as_it_is(&c);
  unmake(&c);
}

/* All of its blocks are coded without loss, so its planes are empty: nothing is to be had, and it is no worse than it was. */
static void empty_planes_stay(void **state)
{
  struct cutting c;

  (void)state;
  coded_sample_make(&c.sample, KVI_CODEC_LADDER, 2, 3, 2, 1);
  for (uint64_t at = 0; at < c.sample.shape.raw_bytes; at += 4096)
    kvi_store_le16(c.sample.raw + at, 0x7fc1); /* NaN */
  coded_sample_seal(&c.sample, 2);
  coded_sample_encode(&c.sample);
  assert_int_equal(c.sample.n_segments, 1 + 3);
  record_make(&c, quality_of(2, 4), c.sample.segments, c.sample.n_segments);
  stays_as_it_is(&c);
  unmake(&c);
}

/* Whoever put it says how it is cut, and need not be right: a cut that does not fall between two of its segments is none. */
static void segments_that_are_not_the_objects(void **state)
{
  struct kvi_segment *segments;
  struct cutting c;
  uint64_t at;

  (void)state;
  for (uint32_t n = 1; n <= 3; n++) { /* far fewer than are left */
    coded_sample_make(&c.sample, KVI_CODEC_LADDER, 3, 120, 2, 1);
    segments = calloc(n, sizeof(*segments));
    assert_non_null(segments);
    at = 0;
    for (uint32_t i = 0; i < n; i++) {
      segments[i].length = (uint32_t)(i + 1 < n ? c.sample.length / n : c.sample.length - at);
      segments[i].crc32c = kvi_crc32c_update(0, c.sample.payload + at, segments[i].length);
      at += segments[i].length;
    }
    record_make(&c, quality_of(3, 4), segments, n);
    stays_as_it_is(&c);
    free(segments);
    unmake(&c);
  }
  coded_sample_make(&c.sample, KVI_CODEC_LADDER, 2, 3, 2, 1);
  segments = c.sample.segments; /* as many, but the first two are another two */
  segments[0].length--;
  segments[1].length++;
  segments[c.sample.n_segments - 1].length--;
  segments[2].length++;
  at = 0;
  for (uint32_t i = 0; i < c.sample.n_segments; at += segments[i++].length)
    segments[i].crc32c = kvi_crc32c_update(0, c.sample.payload + at, segments[i].length);
  record_make(&c, quality_of(2, 4), segments, c.sample.n_segments);
  stays_as_it_is(&c);
  unmake(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_plane_goes_at_a_time),
      cmocka_unit_test(no_more_than_its_owner_allows),
      cmocka_unit_test(the_payload_changes_its_place),
      cmocka_unit_test(what_has_no_planes_stays),
      cmocka_unit_test(empty_planes_stay),
      cmocka_unit_test(segments_that_are_not_the_objects),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
