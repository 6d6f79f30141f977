/*
 * The encoder around a medium in plain memory, and around the SSD tier on real files: what is kept, what a get brings, what passes as it is, and that damage is found.
 */
#include "encoder_putting.h"

#include "tiers/faulty/faulty.h"

#define LONG (150u << 10) /* longer than what is tried of bytes */

/* ---- what is kept, on both media ---- */

static void put_and_check(struct kvi_medium *medium, uint64_t number, enum content content, uint32_t length,
                          bool coded)
{
  struct kvi_medium_stats before = stats_of(medium), after;
  struct putting putting;

  putting_make(&putting, number, content, length);
  assert_int_equal(medium->ops->put(medium, &putting.put), KVS_OK);
  assert_int_equal(putting_end(&putting), KVS_OK);
  check_kept(medium, &putting.chunk, putting.put.handle, putting.put.stored, coded);
  after = stats_of(medium);
  assert_int_equal(after.encoded_chunks - before.encoded_chunks, coded);
  assert_int_equal(after.encoded_raw_bytes - before.encoded_raw_bytes, coded ? length : 0);
  assert_int_equal(after.encoded_bytes - before.encoded_bytes, coded ? putting.put.stored : 0);
  assert_int_equal(after.unencoded_larger - before.unencoded_larger, !coded);
  assert_int_equal(after.unencoded_busy + after.unencoded_failed, 0);
  medium->ops->drop(medium, NULL, putting.put.handle, false);
  putting_free(&putting);
}

/* The numbers are odd and even: with memory that a device may read, and without. */
static void what_is_kept_in(struct kvi_medium *medium)
{
  for (uint64_t i = 0; i < 2; i++) {
    put_and_check(medium, 10 + i, TENSORS, RAW, true);
    put_and_check(medium, 12 + i, TENSOR_NOISE, RAW, false);
    put_and_check(medium, 14 + i, TEXT, 30000 + (uint32_t)i, true);
    put_and_check(medium, 16 + i, BYTE_NOISE, 30000 + (uint32_t)i, false);
    put_and_check(medium, 18 + i, TEXT, LONG + (uint32_t)i, true);
    put_and_check(medium, 20 + i, BYTE_NOISE, LONG + (uint32_t)i, false);
    put_and_check(medium, 22 + i, BYTE_NOISE, SEGMENTS, false); /* a byte each */
  }
  assert_true(stats_of(medium).encode_ns > 0); /* of all of them: a short one may take no tick of the clock */
}

static void kept_in_memory(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 2, 0);

  (void)state;
  what_is_kept_in(medium);
  medium->ops->destroy(medium);
}

static void kept_on_disk(void **state)
{
  struct fixture *f = *state;

  volume_open(f);
  what_is_kept_in(f->owner.medium);
}

/* What recovery tells is the length that put told, and coded chunks are read with it. */
static void coded_chunks_outlive_a_restart(void **state)
{
  struct fixture *f = *state;
  struct putting putting[6];
  uint64_t stored[6];

  volume_open(f);
  for (uint32_t i = 0; i < 6; i++) {
    putting_make(&putting[i], i, i < 3 ? TENSORS : i < 5 ? TEXT : BYTE_NOISE, i < 3 ? RAW : 20000 + i);
    assert_int_equal(f->owner.medium->ops->put(f->owner.medium, &putting[i].put), KVS_OK);
    assert_int_equal(putting_end(&putting[i]), KVS_OK);
    stored[i] = putting[i].put.stored;
    f->owner.handles[i] = putting[i].put.handle;
  }
  for (int round = 0; round < 2; round++) {
    fixture_close(f);
    if (round == 0)
      volume_open(f);
    else
      fixture_open(f); /* without an encoder: what is there is read all the same */
    assert_int_equal(f->owner.n_found, 6);
    for (uint32_t i = 0; i < 6; i++) {
      assert_int_equal(f->owner.lengths[i], stored[i]);
      check_kept(f->owner.medium, &putting[i].chunk, f->owner.handles[i], stored[i], i < 5);
    }
  }
  for (uint32_t i = 0; i < 6; i++)
    putting_free(&putting[i]);
}

/* ---- what is left as it is ---- */

static void what_is_not_ours_passes(void **state)
{
  static const struct {
    struct kvi_encode_rules rules;
    enum content content;
    bool hurry;
    uint32_t busy;
  } cases[] = {
      {{.tensors = true}, TEXT, false, 0},
      {{.bytes = true}, TENSORS, false, 0},
      {{0}, TEXT, false, 0},
      {{.tensors = true, .bytes = true}, TENSORS, true, 1},
      {{.tensors = true, .bytes = true}, TEXT, true, 1},
      {{0}, TENSORS, true, 0},
  };

  (void)state;
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    const struct kvi_encoder_config config = {.rules = cases[i].rules, .threads = 1};
    struct memory_medium *memory = memory_medium_create(false);
    struct kvi_medium_stats stats;
    struct putting putting;
    struct kvi_medium *medium;

    assert_int_equal(kvi_encoder_create(&memory->medium, &config, &medium), KVS_OK);
    putting_make(&putting, 1, cases[i].content, RAW);
    putting.put.hurry = cases[i].hurry;
    assert_int_equal(medium->ops->put(medium, &putting.put), KVS_OK);
    assert_int_equal(putting_end(&putting), KVS_OK);
    check_kept(medium, &putting.chunk, putting.put.handle, putting.put.stored, false);
    stats = stats_of(medium);
    assert_int_equal(stats.unencoded_busy, cases[i].busy);
    assert_int_equal(stats.encoded_chunks + stats.unencoded_failed + stats.unencoded_larger, 0);
    putting_free(&putting);
    medium->ops->destroy(medium);
  }
}

/* What its bytes had lost when they were put, and may lose, is told of the coded chunk too. */
static void loss_stays_told(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
  struct kvi_segment segments[SEGMENTS];
  struct putting putting;
  struct got got;

  (void)state;
  putting_make(&putting, 1, TENSORS, RAW);
  for (uint32_t i = 0; i < SEGMENTS; i++)
    segments[i] = kvi_chunk_table_segment(&putting.put.table, i);
  kvi_chunk_table_write(putting.chunk.table, segments, SEGMENTS, kvi_quality(2, 4, KVI_CODING_NONE));
  assert_int_equal(
      kvi_chunk_table_read(putting.chunk.table, kvi_chunk_table_size(SEGMENTS), &putting.put.table), KVS_OK);
  assert_int_equal(medium->ops->put(medium, &putting.put), KVS_OK);
  assert_int_equal(putting_end(&putting), KVS_OK);
  assert_int_equal(got_get(medium, &putting.chunk, putting.put.handle, putting.put.stored, &got), KVS_OK);
  assert_int_equal(got.quality, kvi_quality(2, 4, KVI_CODING_KVC1));
  assert_true(decodes_to(got.wait.landed, putting.put.stored, putting.chunk.bytes, RAW, putting.chunk.table));
  free(got.wait.landed);
  putting_free(&putting);
  medium->ops->destroy(medium);
}

/* As a node writes what it has fetched from another tier. */
static void coded_puts_pass(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
  struct putting first, second;
  uint32_t calls, n;
  struct kvi_segment segments[1 + LAYERS];
  uint8_t table[KVI_CHUNK_TABLE_HEAD + sizeof(segments)];
  struct kvi_coded coded;
  struct test_chunk kept; /* the first one's bytes under the second one's name */
  struct kvi_iov iov;
  struct got got;

  (void)state;
  putting_start(&first, medium, 2);
  assert_int_equal(putting_end(&first), KVS_OK);
  assert_int_equal(got_get(medium, &first.chunk, first.put.handle, first.put.stored, &got), KVS_OK);
  assert_int_equal(kvi_coded_open(got.wait.landed, got.wait.length, got.wait.length, &coded), KVS_OK);
  n = kvi_coded_segments(&coded, got.wait.landed, segments, 1 + LAYERS);
  assert_int_equal(n, 1 + LAYERS);
  kvi_chunk_table_write(table, segments, n, got.quality);

  putting_make(&second, 3, TENSORS, RAW);
  second.put.keep = NULL;
  iov = (struct kvi_iov){.base = got.wait.landed, .length = got.wait.length};
  second.put.iov = &iov;
  second.put.n_iov = 1;
  second.put.length = got.wait.length;
  assert_int_equal(kvi_chunk_table_read(table, kvi_chunk_table_size(n), &second.put.table), KVS_OK);
  calls = gate_calls(&gate);
  assert_int_equal(medium->ops->put(medium, &second.put), KVS_OK);
  assert_int_equal(putting_end(&second), KVS_OK);
  assert_int_equal(second.put.stored, first.put.stored);
  assert_int_equal(gate_calls(&gate), calls);
  kept = first.chunk;
  kept.number = second.chunk.number;
  memcpy(kept.key, second.chunk.key, KEY_BYTES);
  check_kept(medium, &kept, second.put.handle, second.put.stored, true);
  free(got.wait.landed);
  putting_free(&first);
  putting_free(&second);
  medium->ops->destroy(medium);
}

/* One is with the worker, two wait: what comes then goes as it is, at once. */
static void a_full_queue_is_passed_by(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 2);
  struct putting putting[5];

  (void)state;
  gate_set(&gate, true);
  putting_start(&putting[0], medium, 0);
  gate_await(&gate, 1);
  for (uint32_t i = 1; i < 5; i++)
    putting_start(&putting[i], medium, i);
  for (uint32_t i = 3; i < 5; i++) {
    assert_int_equal(putting_end(&putting[i]), KVS_OK);
    check_kept(medium, &putting[i].chunk, putting[i].put.handle, putting[i].put.stored, false);
  }
  assert_int_equal(stats_of(medium).unencoded_busy, 2);
  assert_int_equal(stats_of(medium).queued, 3);
  gate_set(&gate, false);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(putting_end(&putting[i]), KVS_OK);
    check_kept(medium, &putting[i].chunk, putting[i].put.handle, putting[i].put.stored, true);
  }
  assert_int_equal(stats_of(medium).queued, 0);
  for (uint32_t i = 0; i < 5; i++)
    putting_free(&putting[i]);
  medium->ops->destroy(medium);
}

/* ---- damage ---- */

/* Changed since it was sealed: it is not encoded, and not kept, on a device that reads memory as it lies neither. */
static void damaged_bytes_are_refused_by(struct kvi_medium *medium)
{
  for (uint64_t number = 30; number < 34; number++) {
    uint64_t failed = stats_of(medium).unencoded_failed;
    struct putting putting;

    putting_make(&putting, number, number < 32 ? TENSORS : TEXT, RAW);
    putting.chunk.bytes[RAW / 2] ^= 4;
    assert_int_equal(medium->ops->put(medium, &putting.put), KVS_OK);
    assert_int_equal(putting_end(&putting), KVS_ERR_CORRUPT);
    assert_int_equal(putting.put.handle, 0);
    assert_int_equal(stats_of(medium).unencoded_failed, failed + 1);
    putting_free(&putting);
  }
}

static void damaged_bytes_in_memory(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);

  (void)state;
  damaged_bytes_are_refused_by(medium);
  assert_int_equal(memory_items(memory), 0);
  medium->ops->destroy(medium);
}

static void damaged_bytes_on_disk(void **state)
{
  struct fixture *f = *state;

  volume_open(f);
  damaged_bytes_are_refused_by(f->owner.medium);
  fixture_close(f);
  volume_open(f);
  assert_int_equal(f->owner.n_found, 0);
}

/* ---- around it, and under it ---- */

/* A medium that keeps puts back hands the length on as the one below it told it. */
static void wrappers_tell_the_length(void **state)
{
  static const char *const rules[] = {"delay:write:1ms:1", "delay:read:1ms:1"};

  (void)state;
  for (uint32_t i = 0; i < 2; i++) {
    struct memory_medium *memory = memory_medium_create(false);
    struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
    struct putting putting;

    assert_int_equal(kvi_faulty_create(medium, rules[i], &medium), KVS_OK);
    putting_start(&putting, medium, 4);
    assert_int_equal(putting_end(&putting), KVS_OK);
    check_kept(medium, &putting.chunk, putting.put.handle, putting.put.stored, true);
    putting_free(&putting);
    medium->ops->destroy(medium);

    memory = memory_medium_create(false);
    assert_int_equal(kvi_faulty_create(&memory->medium, rules[i], &medium), KVS_OK);
    medium = encoder_around(medium, 1, 0);
    putting_start(&putting, medium, 4);
    assert_int_equal(putting_end(&putting), KVS_OK);
    check_kept(medium, &putting.chunk, putting.put.handle, putting.put.stored, true);
    putting_free(&putting);
    medium->ops->destroy(medium);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kept_in_memory),
      cmocka_unit_test_setup_teardown(kept_on_disk, setup, teardown),
      cmocka_unit_test_setup_teardown(coded_chunks_outlive_a_restart, setup, teardown),
      cmocka_unit_test(what_is_not_ours_passes),
      cmocka_unit_test(loss_stays_told),
      cmocka_unit_test(coded_puts_pass),
      cmocka_unit_test(a_full_queue_is_passed_by),
      cmocka_unit_test(damaged_bytes_in_memory),
      cmocka_unit_test_setup_teardown(damaged_bytes_on_disk, setup, teardown),
      cmocka_unit_test(wrappers_tell_the_length),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
