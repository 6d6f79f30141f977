/* The DRAM tier alone: layout, rounding, reuse of runs, zombies, big tables and torn free lists. */
#include <stdbool.h>

#include "testing.h"

#include "proto/limits.h"
#include "tiers/dram/dram.h"

#define PAGE 4096u

static struct kvi_tier *make(uint32_t pages)
{
  struct kvi_dram_config config = {.bytes = (uint64_t)pages * PAGE + 100, .page_bytes = PAGE};
  struct kvi_tier *tier;

  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  return tier;
}

/* An object of n equal segments, filled and sealed. */
static kvs_status reserve(struct kvi_tier *tier, uint64_t length, uint32_t n, kvi_tier_object *object_p)
{
  uint32_t *lengths = calloc(n, sizeof(*lengths));
  struct kvi_tier_request request = {
      .length = length, .n_segments = n, .segment_lengths = lengths, .label = "label", .label_length = 5};
  kvs_status status;

  assert_non_null(lengths);
  for (uint32_t i = 0; i < n; i++)
    lengths[i] = (uint32_t)(length / n + (i == 0 ? length % n : 0));
  status = tier->ops->reserve(tier, &request, object_p);
  free(lengths);
  return status;
}

static void fill(struct kvi_tier *tier, kvi_tier_object object, uint32_t n, uint64_t seed)
{
  struct kvi_tier_places places;
  struct kvi_landing landing;

  assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
  landing = (struct kvi_landing){
      .iov = places.iov, .n_iov = places.n_iov, .segments = places.segments, .n_segments = n};
  testing_fill(&landing, seed);
  assert_int_equal(tier->ops->seal(tier, object, 0), KVS_OK);
}

static bool holds(struct kvi_tier *tier, kvi_tier_object object, uint64_t seed)
{
  struct kvi_tier_places places;
  struct kvi_source source = {0};

  assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
  assert_int_equal(tier->ops->table(tier, object, &source.table), KVS_OK);
  source.iov = places.iov;
  source.n_iov = places.n_iov;
  return testing_matches(&source, seed);
}

static uint64_t used(struct kvi_tier *tier)
{
  struct kvi_tier_usage usage;

  tier->ops->usage(tier, &usage);
  return usage.used_bytes;
}

static void objects_of_all_sizes(void **state)
{
  static const uint64_t lengths[] = {1, 64, 3800, 3904, 4000, 4096, 8192, 65536, 300000};
  struct kvi_tier *tier = make(256);

  (void)state;
  for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
    for (uint32_t n = 1; n <= 64 && n <= lengths[i]; n *= 4) {
      struct kvi_tier_places places;
      kvi_tier_object object;
      const void *label;
      uint32_t label_length;

      assert_int_equal(reserve(tier, lengths[i], n, &object), KVS_OK);
      assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
      assert_int_equal((uintptr_t)places.iov[0].base % 64, 0);
      fill(tier, object, n, i);
      assert_true(holds(tier, object, i));
      assert_int_equal(tier->ops->label(tier, object, &label, &label_length), KVS_OK);
      assert_int_equal(label_length, 5);
      assert_memory_equal(label, "label", 5);
      tier->ops->drop(tier, object);
      assert_int_equal(used(tier), 0);
    }
  tier->ops->destroy(tier);
}

static void full_and_reused(void **state)
{
  struct kvi_tier *tier = make(17);
  kvi_tier_object objects[4], again;
  struct kvi_tier_places before, after;
  const void *at;

  (void)state;
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(reserve(tier, 3 * PAGE, 1, &objects[i]), KVS_OK); /* four pages with the head */
  assert_int_equal(reserve(tier, 3 * PAGE, 1, &again), KVS_ERR_FULL);
  assert_int_equal(reserve(tier, PAGE / 2, 1, &again), KVS_OK);
  assert_int_equal(reserve(tier, 1, 1, &again), KVS_ERR_FULL);
  assert_int_equal(reserve(tier, 17 * PAGE, 1, &again), KVS_ERR_TOO_LARGE);
  assert_int_equal(tier->ops->places(tier, objects[1], &before), KVS_OK);
  assert_int_equal(before.n_iov, 1);
  at = before.iov[0].base;
  tier->ops->drop(tier, objects[1]);
  assert_int_equal(reserve(tier, 3 * PAGE, 1, &again), KVS_OK); /* the run it left, in one piece */
  assert_int_equal(tier->ops->places(tier, again, &after), KVS_OK);
  assert_int_equal(after.n_iov, 1);
  assert_ptr_equal(after.iov[0].base, at);
  tier->ops->destroy(tier);
}

/* In runs of pages, and in single ones. */
static void cut_behind_a_segment(void **state)
{
  (void)state;
  for (int torn = 0; torn < 2; torn++) {
    struct kvi_tier *tier = make(64);
    kvi_tier_object objects[20], object;
    struct kvi_chunk_table table;
    struct kvi_tier_places places;
    struct kvi_tier_usage usage;
    uint64_t freed, before;

    for (uint32_t i = 0; torn && i < 20; i++)
      assert_int_equal(reserve(tier, 100, 1, &objects[i]), KVS_OK);
    for (uint32_t i = 0; torn && i < 20; i += 2)
      tier->ops->drop(tier, objects[i]);
    before = used(tier);
    assert_int_equal(reserve(tier, 10 * PAGE, 10, &object), KVS_OK); /* eleven pages with the head */
    fill(tier, object, 10, 7);
    assert_int_equal(tier->ops->open(tier, object), KVS_OK);
    assert_int_equal(tier->ops->cut(tier, object, 6 * PAGE, 6, 9, &freed), KVS_ERR_BUSY);
    assert_int_equal(tier->ops->cut(tier, object, 0, 0, 0, &freed), KVS_ERR_BUSY); /* is it read? */
    tier->ops->close(tier, object);
    assert_int_equal(tier->ops->cut(tier, object, 6 * PAGE, 5, 9, &freed), KVS_ERR_INVALID);
    assert_int_equal(tier->ops->cut(tier, object, 11 * PAGE, 11, 9, &freed), KVS_ERR_INVALID);
    assert_int_equal(tier->ops->cut(tier, object, 0, 0, 9, &freed), KVS_ERR_INVALID);
    assert_int_equal(tier->ops->cut(tier, object, 10 * PAGE, 10, 9, &freed), KVS_EXISTS);
    assert_int_equal(freed, 0);
    assert_int_equal(used(tier), before + 11 * PAGE);
    for (uint32_t n = 6; n > 0; n = n > 1 ? 1 : 0) {
      uint64_t was = used(tier);

      assert_int_equal(tier->ops->cut(tier, object, (uint64_t)n * PAGE, n, (uint16_t)n, &freed), KVS_OK);
      assert_int_equal(used(tier), was - freed);
      assert_int_equal(used(tier), before + (n + 1) * PAGE);
      assert_true(holds(tier, object, 7)); /* what is left of it */
      assert_int_equal(tier->ops->table(tier, object, &table), KVS_OK);
      assert_int_equal(table.n_segments, n);
      assert_int_equal(table.length, n * PAGE);
      assert_int_equal(table.quality, n);
      assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
      assert_true(places.n_iov <= n + 1);
    }
    tier->ops->usage(tier, &usage);
    assert_int_equal(usage.payload_bytes, PAGE + (torn ? 10 * 100 : 0));
    tier->ops->drop(tier, object);
    assert_int_equal(used(tier), before);
    for (uint32_t i = 1; torn && i < 20; i += 2)
      tier->ops->drop(tier, objects[i]);
    assert_int_equal(reserve(tier, 63 * PAGE, 1, &object), KVS_OK); /* no page is lost */
    tier->ops->destroy(tier);
  }
}

/* Sizes of 64 KiB to 2 MiB, as many of each, in and out until the tier was written ten times: payload has at least 95 % of it. */
static void mixed_sizes_leave_no_holes(void **state)
{
  enum { PAGES = 4096, OBJECTS = 1024 }; /* 64 MiB */
  struct kvi_dram_config config = {.bytes = (uint64_t)PAGES * KVI_DRAM_PAGE_BYTES_DEFAULT};
  static kvi_tier_object objects[OBJECTS];
  uint64_t written = 0, oldest = 0, next = 0, seed = 7;
  struct kvi_tier_usage usage;
  struct kvi_tier *tier;

  (void)state;
  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  while (written < 10 * config.bytes) {
    uint64_t most = UINT64_C(65536) << kvi_splitmix64(&seed) % 6;
    uint64_t length = most - kvi_splitmix64(&seed) % (most / 8);
    kvs_status status;

    while ((status = reserve(tier, length, 1, &objects[next % OBJECTS])) == KVS_ERR_FULL) {
      assert_true(oldest < next);
      tier->ops->drop(tier, objects[oldest++ % OBJECTS]);
    }
    assert_int_equal(status, KVS_OK);
    next++;
    written += length;
    assert_true(next - oldest < OBJECTS);
  }
  /* what is free can be had to the last page, however torn it is */
  tier->ops->usage(tier, &usage);
  for (uint64_t pages = usage.free_bytes / KVI_DRAM_PAGE_BYTES_DEFAULT; pages > 0; pages--)
    assert_int_equal(reserve(tier, KVI_DRAM_PAGE_BYTES_DEFAULT / 2, 1, &objects[0]), KVS_OK);
  assert_int_equal(reserve(tier, 1, 1, &objects[0]), KVS_ERR_FULL);
  assert_true(usage.used_bytes - usage.payload_bytes <= config.bytes / 20);
  tier->ops->destroy(tier);
}

static void readers_outlive_drop(void **state)
{
  struct kvi_tier *tier = make(8);
  struct kvi_tier_usage usage;
  kvi_tier_object object, other;

  (void)state;
  assert_int_equal(reserve(tier, 5000, 3, &object), KVS_OK);
  fill(tier, object, 3, 1);
  assert_int_equal(tier->ops->open(tier, object), KVS_OK);
  assert_int_equal(tier->ops->open(tier, object), KVS_OK);
  tier->ops->drop(tier, object);
  tier->ops->usage(tier, &usage);
  assert_int_equal(usage.zombie_bytes, 2 * PAGE);
  assert_int_equal(usage.used_bytes, 2 * PAGE);
  assert_int_equal(reserve(tier, 7 * PAGE, 1, &other), KVS_ERR_FULL);
  tier->ops->close(tier, object);
  assert_true(holds(tier, object, 1));
  tier->ops->close(tier, object);
  tier->ops->usage(tier, &usage);
  assert_int_equal(usage.zombie_bytes, 0);
  assert_int_equal(usage.used_bytes, 0);
  assert_int_equal(usage.objects, 0);
  tier->ops->destroy(tier);
}

/* 4096 segments make a table of eight pages, which lies outside; so do the places of an object on every other page. */
static void what_does_not_fit_in_a_page(void **state)
{
  struct kvi_tier *tier = make(1024);
  kvi_tier_object singles[1024], object;
  struct kvi_tier_places places;
  struct kvi_tier_usage before, usage;

  (void)state;
  tier->ops->usage(tier, &before);
  assert_int_equal(reserve(tier, 100000, KVI_SEGMENTS_MAX, &object), KVS_OK);
  fill(tier, object, KVI_SEGMENTS_MAX, 5);
  assert_true(holds(tier, object, 5));
  tier->ops->usage(tier, &usage);
  assert_true(usage.metadata_bytes >= before.metadata_bytes + KVI_SEGMENTS_MAX * 8);
  tier->ops->drop(tier, object);
  for (uint32_t i = 0; i < 1024; i++)
    assert_int_equal(reserve(tier, 1000, 1, &singles[i]), KVS_OK);
  for (uint32_t i = 0; i < 1024; i += 2)
    tier->ops->drop(tier, singles[i]);
  assert_int_equal(reserve(tier, 511 * PAGE + 3000, 2, &object), KVS_OK);
  assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
  assert_int_equal(places.n_iov, 512);
  fill(tier, object, 2, 6);
  assert_true(holds(tier, object, 6));
  tier->ops->drop(tier, object);
  tier->ops->usage(tier, &usage);
  for (uint32_t i = 1; i < 1024; i += 2)
    tier->ops->drop(tier, singles[i]);
  assert_int_equal(usage.metadata_bytes, before.metadata_bytes);
  assert_int_equal(used(tier), 0);
  tier->ops->destroy(tier);
}

/* Blocks outside the pages are bounded too: 1 MiB and 1/64, i.e. about 32 of these tables. */
static void spills_are_bounded(void **state)
{
  struct kvi_tier *tier = make(1024);
  kvi_tier_object objects[100];
  kvs_status status = KVS_OK;
  uint32_t n = 0;

  (void)state;
  while (n < 100 && status == KVS_OK) {
    status = reserve(tier, KVI_SEGMENTS_MAX, KVI_SEGMENTS_MAX, &objects[n]);
    n += status == KVS_OK;
  }
  assert_int_equal(status, KVS_ERR_FULL);
  assert_true(n >= 30 && n < 40);
  tier->ops->drop(tier, objects[0]);
  assert_int_equal(reserve(tier, KVI_SEGMENTS_MAX, KVI_SEGMENTS_MAX, &objects[0]), KVS_OK);
  for (uint32_t i = 0; i < n; i++)
    tier->ops->drop(tier, objects[i]);
  assert_int_equal(used(tier), 0);
  tier->ops->destroy(tier);
}

/* A store is closed with its chunks in it: what was allocated for them goes too, as a leak checker sees. */
static void spills_go_with_the_tier(void **state)
{
  struct kvi_tier *tier = make(1024);
  kvi_tier_object objects[8];

  (void)state;
  for (uint32_t i = 0; i < 8; i++)
    assert_int_equal(reserve(tier, KVI_SEGMENTS_MAX, KVI_SEGMENTS_MAX, &objects[i]), KVS_OK);
  for (uint32_t i = 0; i < 8; i += 3)
    tier->ops->drop(tier, objects[i]);
  fill(tier, objects[1], KVI_SEGMENTS_MAX, 1);
  tier->ops->destroy(tier);
}

static void random_objects(void **state)
{
  struct kvi_tier *tier = make(200);
  kvi_tier_object objects[40];
  uint32_t lengths[40] = {0};
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 3);
  for (uint64_t i = 0; i < 4000; i++) {
    uint32_t at = (uint32_t)kvi_rand_below(&rand, 40);

    if (lengths[at]) {
      assert_true(holds(tier, objects[at], at * 1000000u + lengths[at]));
      tier->ops->drop(tier, objects[at]);
      lengths[at] = 0;
    } else {
      uint32_t length = (uint32_t)kvi_rand_below(&rand, 30000) + 8;

      if (reserve(tier, length, 1 + length % 8, &objects[at]) != KVS_OK)
        continue;
      fill(tier, objects[at], 1 + length % 8, at * 1000000u + length);
      lengths[at] = length;
    }
  }
  for (uint32_t i = 0; i < 40; i++)
    if (lengths[i])
      tier->ops->drop(tier, objects[i]);
  assert_int_equal(used(tier), 0);
  tier->ops->destroy(tier);
}

/* A payload lies as devices want it: at a block, in whole ones, and nothing of another chunk behind its end. */
static void as_devices_want_it(void **state)
{
  struct kvi_dram_config config = {.bytes = 64 * KVI_DRAM_PAGE_BYTES_DEFAULT};
  struct kvi_tier_places places;
  struct kvi_tier_attr attr;
  struct kvi_tier *tier;
  kvi_tier_object objects[20], torn;

  (void)state;
  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  tier->ops->attr(tier, &attr);
  assert_int_equal(attr.block_bytes, 4096);
  for (uint32_t i = 0; i < 20; i++) {
    assert_int_equal(reserve(tier, 40000, 1, &objects[i]), KVS_OK);
    assert_int_equal(tier->ops->places(tier, objects[i], &places), KVS_OK);
    for (uint32_t k = 0; k < places.n_iov; k++)
      memset(places.iov[k].base, 0xee, (places.iov[k].length + 4095) / 4096 * 4096);
  }
  for (uint32_t i = 0; i < 20; i += 2)
    tier->ops->drop(tier, objects[i]);
  assert_int_equal(reserve(tier, 200001, 7, &torn), KVS_OK);
  assert_int_equal(tier->ops->places(tier, torn, &places), KVS_OK);
  assert_true(places.n_iov > 1);
  for (uint32_t i = 0; i < places.n_iov; i++) {
    assert_int_equal((uintptr_t)places.iov[i].base % 4096, 0);
    assert_true(i + 1 == places.n_iov || places.iov[i].length % 4096 == 0);
  }
  fill(tier, torn, 7, 3);
  const struct kvi_iov *last = &places.iov[places.n_iov - 1];
  for (const uint8_t *at = (const uint8_t *)last->base + last->length; (uintptr_t)at % 4096 != 0; at++)
    assert_int_equal(*at, 0);
  assert_true(holds(tier, torn, 3));
  tier->ops->destroy(tier);
}

/* The bytes come first, what they are made of is known later. */
static void segments_told_later(void **state)
{
  static const uint32_t lengths[] = {3000, 1, 6999};
  struct kvi_dram_config config = {.bytes = 64 * KVI_DRAM_PAGE_BYTES_DEFAULT};
  struct kvi_tier_request request = {.length = 10000};
  struct kvi_tier_usage before, usage;
  struct kvi_tier_places places;
  struct kvi_chunk_table table;
  uint32_t many[1000];
  struct kvi_tier *tier;
  kvi_tier_object object;

  (void)state;
  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  tier->ops->usage(tier, &before);
  assert_int_equal(tier->ops->reserve(tier, &request, &object), KVS_OK);
  assert_int_equal(tier->ops->places(tier, object, &places), KVS_OK);
  assert_null(places.segments);
  assert_int_equal(tier->ops->seal(tier, object, 0), KVS_ERR_INVALID);
  assert_int_equal(tier->ops->segments(tier, object, 0, NULL), KVS_ERR_INVALID);
  assert_int_equal(tier->ops->segments(tier, object, KVI_SEGMENTS_MAX + 1, lengths), KVS_ERR_TOO_LARGE);
  assert_int_equal(tier->ops->segments(tier, object, 3, lengths), KVS_OK);
  assert_int_equal(tier->ops->segments(tier, object, 3, lengths), KVS_ERR_INVALID);
  assert_int_equal(tier->ops->seal(tier, object, 0), KVS_OK);
  assert_int_equal(tier->ops->open(tier, object), KVS_OK);
  assert_int_equal(tier->ops->table(tier, object, &table), KVS_OK);
  assert_int_equal(table.n_segments, 3);
  assert_int_equal(kvi_chunk_table_segment(&table, 2).length, 6999);
  tier->ops->close(tier, object);
  tier->ops->drop(tier, object);
  /* a table that was announced has its room in front of the payload */
  for (uint32_t i = 0; i < 1000; i++)
    many[i] = 10;
  request.table_bytes = (uint32_t)kvi_chunk_table_size(1000);
  assert_int_equal(tier->ops->reserve(tier, &request, &object), KVS_OK);
  assert_int_equal(tier->ops->segments(tier, object, 1000, many), KVS_OK);
  assert_int_equal(tier->ops->seal(tier, object, 0), KVS_OK);
  tier->ops->usage(tier, &usage);
  assert_int_equal(usage.metadata_bytes, before.metadata_bytes);
  tier->ops->drop(tier, object);
  request.table_bytes = 0;
  /* more than fit in front of the payload lie elsewhere, and go with it */
  assert_int_equal(tier->ops->reserve(tier, &request, &object), KVS_OK);
  assert_int_equal(tier->ops->segments(tier, object, 1000, many), KVS_OK);
  assert_int_equal(tier->ops->seal(tier, object, 0), KVS_OK);
  tier->ops->usage(tier, &usage);
  assert_true(usage.metadata_bytes > before.metadata_bytes);
  tier->ops->drop(tier, object);
  tier->ops->usage(tier, &usage);
  assert_int_equal(usage.metadata_bytes, before.metadata_bytes);
  tier->ops->destroy(tier);
}

static void refusals(void **state)
{
  struct kvi_tier *tier = make(8);
  struct kvi_tier_request request = {0};
  struct kvi_tier_ops none = {0};
  struct kvi_tier empty = {.ops = &none};
  struct kvi_tier_attr attr;
  kvi_tier_object object;
  const uint32_t length = 1;

  (void)state;
  assert_int_equal(tier->ops->reserve(tier, &request, &object), KVS_ERR_INVALID);
  request.length = 1;
  request.n_segments = 1; /* of no length that is told */
  assert_int_equal(tier->ops->reserve(tier, &request, &object), KVS_ERR_INVALID);
  request.n_segments = KVI_SEGMENTS_MAX + 1;
  request.segment_lengths = &length;
  assert_int_equal(tier->ops->reserve(tier, &request, &object), KVS_ERR_TOO_LARGE);
  tier->ops->attr(tier, &attr);
  assert_int_equal(attr.capacity_bytes, 8 * PAGE);
  assert_int_equal(attr.kind, KVI_TIER_DRAM);
  assert_true(attr.in_place);
  assert_true(attr.read_bytes_per_s > 0);
  tier->ops->destroy(tier);
  kvi_tier_ops_complete(&(struct kvi_tier_ops){.name = "x"});
  kvi_tier_ops_complete(&none);
  assert_int_equal(none.reserve(&empty, &request, &object), KVS_ERR_UNSUPPORTED);
  assert_int_equal(none.open(&empty, 0), KVS_ERR_UNSUPPORTED);
  assert_int_equal(none.seal(&empty, 0, 0), KVS_ERR_UNSUPPORTED);
  none.drop(&empty, 0);
  none.close(&empty, 0);
  none.destroy(&empty);
}

static void count_call(void *ctx)
{
  ++*(uint32_t *)ctx;
}

static void a_crossed_mark_is_told_once(void **state)
{
  uint32_t calls = 0;
  struct kvi_dram_config config = {
      .bytes = 10 * PAGE, .page_bytes = PAGE, .low = count_call, .low_ctx = &calls, .low_percent = 30};
  kvi_tier_object objects[10];
  struct kvi_tier *tier;

  (void)state;
  assert_int_equal(kvi_dram_create(&config, &tier), KVS_OK);
  for (uint32_t i = 0; i < 10; i++) {
    assert_int_equal(reserve(tier, 100, 1, &objects[i]), KVS_OK);
    assert_int_equal(calls, i < 7 ? 0 : 1); /* three are free: not low */
  }
  assert_int_equal(reserve(tier, 100, 1, &objects[0]), KVS_ERR_FULL);
  assert_int_equal(calls, 1);
  tier->ops->drop(tier, objects[9]);
  assert_int_equal(reserve(tier, 100, 1, &objects[9]), KVS_OK); /* it was low before */
  assert_int_equal(calls, 1);
  for (uint32_t i = 0; i < 10; i++)
    tier->ops->drop(tier, objects[i]);
  assert_int_equal(reserve(tier, 9 * PAGE, 1, &objects[0]), KVS_OK); /* from all to none */
  assert_int_equal(calls, 2);
  tier->ops->drop(tier, objects[0]);
  tier->ops->destroy(tier);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_crossed_mark_is_told_once),
      cmocka_unit_test(objects_of_all_sizes),
      cmocka_unit_test(full_and_reused),
      cmocka_unit_test(cut_behind_a_segment),
      cmocka_unit_test(mixed_sizes_leave_no_holes),
      cmocka_unit_test(readers_outlive_drop),
      cmocka_unit_test(what_does_not_fit_in_a_page),
      cmocka_unit_test(spills_are_bounded),
      cmocka_unit_test(spills_go_with_the_tier),
      cmocka_unit_test(random_objects),
      cmocka_unit_test(as_devices_want_it),
      cmocka_unit_test(segments_told_later),
      cmocka_unit_test(refusals),
  };

  return cmocka_run_group_tests_name("tiers/dram", tests, NULL, NULL);
}
