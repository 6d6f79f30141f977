/*
 * The encoder around a medium in plain memory, which can be held still and made to refuse, and around the SSD tier on real files: what is kept, what a get brings, and
 * what becomes of puts when their chunk is deleted, their time is up, or everything ends.
 */
#define CHUNKS 64u

#include "encoder_testing.h"
#include "memory_medium.h"
#include "ssd_fixture.h"

#include "tests/unit/tiers/store_waiting.h"
#include "tiers/faulty/faulty.h"

#define LONG (150u << 10) /* longer than what is tried of bytes */

static struct kvi_medium *encoder_around(struct kvi_medium *inner, uint32_t threads, uint32_t waiting_max)
{
  struct kvi_encoder_config config = {
      .tensors = true, .bytes = true, .threads = threads, .waiting_max = waiting_max};
  struct kvi_medium *medium;

  assert_int_equal(kvi_encoder_create(inner, &config, &medium), KVS_OK);
  return medium;
}

/* A put under way. */
struct putting {
  struct test_chunk chunk;
  struct kvi_medium_put put;
  struct test_wait wait;
  kvs_space_desc desc;
};

static void putting_make(struct putting *putting, uint64_t number, enum content content, uint32_t length)
{
  chunk_make(&putting->chunk, number, content, length);
  test_wait_init(&putting->wait);
  test_put_fill(&putting->put, &putting->chunk, &putting->wait);
  putting->desc = tensors_space();
  putting->put.desc = content == TENSORS || content == TENSOR_NOISE ? &putting->desc : NULL;
}

static void putting_start(struct putting *putting, struct kvi_medium *medium, uint64_t number)
{
  putting_make(putting, number, TENSORS, RAW);
  assert_int_equal(medium->ops->put(medium, &putting->put), KVS_OK);
}

static kvs_status putting_end(struct putting *putting)
{
  kvs_status status = test_wait_for(&putting->wait);

  test_wait_released(&putting->wait);
  return status;
}

static uint32_t putting_calls(struct putting *putting)
{
  uint32_t calls;

  pthread_mutex_lock(&putting->wait.mutex);
  calls = putting->wait.calls;
  pthread_mutex_unlock(&putting->wait.mutex);
  return calls;
}

static void putting_free(struct putting *putting)
{
  test_chunk_free(&putting->chunk);
}

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
  assert_true(after.encode_ns > before.encode_ns);
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
}

static void kept_in_memory(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 2, 0);

  (void)state;
  what_is_kept_in(medium);
  medium->ops->destroy(medium);
}

/* The fixture's tier with an encoder around it. */
static void volume_open(struct fixture *f)
{
  struct kvi_medium *ssd;

  memset(f->owner.handles, 0, sizeof(f->owner.handles));
  f->owner.n_found = 0;
  assert_int_equal(kvi_ssd_create(&f->config, &ssd), KVS_OK);
  f->owner.medium = encoder_around(ssd, 2, 0);
  assert_int_equal(owner_recover(&f->owner), KVS_OK);
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
    struct kvi_encoder_config config;
    enum content content;
    bool hurry;
    uint32_t busy;
  } cases[] = {
      {{.tensors = true, .threads = 1}, TEXT, false, 0},
      {{.bytes = true, .threads = 1}, TENSORS, false, 0},
      {{.threads = 1}, TEXT, false, 0},
      {{.tensors = true, .bytes = true, .threads = 1}, TENSORS, true, 1},
      {{.tensors = true, .bytes = true, .threads = 1}, TEXT, true, 1},
      {{.threads = 1}, TENSORS, true, 0},
  };

  (void)state;
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    struct memory_medium *memory = memory_medium_create(false);
    struct kvi_medium_stats stats;
    struct putting putting;
    struct kvi_medium *medium;

    assert_int_equal(kvi_encoder_create(&memory->medium, &cases[i].config, &medium), KVS_OK);
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
  calls = gate_calls();
  assert_int_equal(medium->ops->put(medium, &second.put), KVS_OK);
  assert_int_equal(putting_end(&second), KVS_OK);
  assert_int_equal(second.put.stored, first.put.stored);
  assert_int_equal(gate_calls(), calls);
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
  gate_set(true);
  putting_start(&putting[0], medium, 0);
  gate_await(1);
  for (uint32_t i = 1; i < 5; i++)
    putting_start(&putting[i], medium, i);
  for (uint32_t i = 3; i < 5; i++) {
    assert_int_equal(putting_end(&putting[i]), KVS_OK);
    check_kept(medium, &putting[i].chunk, putting[i].put.handle, putting[i].put.stored, false);
  }
  assert_int_equal(stats_of(medium).unencoded_busy, 2);
  assert_int_equal(stats_of(medium).queued, 3);
  gate_set(false);
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

/* ---- what is deleted meanwhile ---- */

/* One with the worker, one that waits, and one of another name between them. The first two are deleted by `way`. */
static void deleted_on_the_way(struct kvi_medium *medium,
                               void (*way)(struct kvi_medium *medium, const struct test_chunk *chunk))
{
  struct putting putting[4];
  uint32_t calls;

  gate_set(true);
  putting_start(&putting[0], medium, 40);
  putting_start(&putting[1], medium, 50);
  gate_await(2);
  calls = gate_calls();
  putting_start(&putting[2], medium, 41);
  putting_start(&putting[3], medium, 51);
  way(medium, &putting[0].chunk);
  way(medium, &putting[2].chunk);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(putting_calls(&putting[i]), 0); /* nobody is called from a drop */
  gate_set(false);
  assert_int_equal(putting_end(&putting[0]), KVS_ERR_CANCELED);
  assert_int_equal(putting_end(&putting[1]), KVS_OK);
  assert_int_equal(putting_end(&putting[2]), KVS_ERR_CANCELED);
  assert_int_equal(putting_end(&putting[3]), KVS_OK);
  assert_int_equal(gate_calls(), calls + 1); /* what is not wanted is not encoded */
  check_kept(medium, &putting[1].chunk, putting[1].put.handle, putting[1].put.stored, true);
  check_kept(medium, &putting[3].chunk, putting[3].put.handle, putting[3].put.stored, true);
  for (uint32_t i = 0; i < 4; i++)
    putting_free(&putting[i]);
}

static void drop_for_good(struct kvi_medium *medium, const struct test_chunk *chunk)
{
  struct kvi_medium_identity identity = test_identity(chunk);

  medium->ops->drop(medium, &identity, 0, true);
}

static void removed(struct kvi_medium_remove *remove, kvs_status status)
{
  test_wait_end(remove->user, status);
}

static void remove_it(struct kvi_medium *medium, const struct test_chunk *chunk)
{
  struct test_wait wait;
  struct kvi_medium_remove remove = {.identity = test_identity(chunk),
                                     .deadline_ns = kvi_now_ns() + WAIT_SECONDS * KVI_NS_PER_S,
                                     .done = removed,
                                     .user = &wait};

  test_wait_init(&wait);
  assert_int_equal(medium->ops->remove(medium, &remove), KVS_OK);
  assert_int_equal(test_wait_for(&wait), KVS_MISS);
}

static void dropped_for_good_in_memory(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 2, 0);

  (void)state;
  deleted_on_the_way(medium, drop_for_good);
  assert_int_equal(memory_items(memory), 2);
  medium->ops->destroy(medium);
}

static void removed_from_a_shared_medium(void **state)
{
  struct memory_medium *memory = memory_medium_create(true);
  struct kvi_medium *medium = encoder_around(&memory->medium, 2, 0);

  (void)state;
  deleted_on_the_way(medium, remove_it);
  assert_int_equal(memory_items(memory), 2);
  medium->ops->destroy(medium);
}

static void deleted_chunks_do_not_come_back(void **state)
{
  struct fixture *f = *state;
  struct putting again;

  volume_open(f);
  deleted_on_the_way(f->owner.medium, drop_for_good);
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  fixture_close(f);
  volume_open(f);
  assert_int_equal(f->owner.n_found, 2);
  assert_true(f->owner.handles[40] == 0 && f->owner.handles[41] == 0);

  putting_start(&again, f->owner.medium, 40); /* put once more it is there */
  assert_int_equal(putting_end(&again), KVS_OK);
  f->owner.handles[40] = again.put.handle;
  fixture_close(f);
  volume_open(f);
  assert_int_equal(f->owner.n_found, 3);
  check_kept(f->owner.medium, &again.chunk, f->owner.handles[40], again.put.stored, true);
  putting_free(&again);
}

/* A chunk that the store lets go of, and one of the same key in another space and of another tenant, are none of the puts' business. */
static void other_drops_cancel_nothing(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
  struct kvi_medium_identity identity;
  uint8_t space[KVS_DIGEST_SIZE] = {1};
  struct putting putting[2];

  (void)state;
  gate_set(true);
  putting_start(&putting[0], medium, 5);
  putting_start(&putting[1], medium, 6);
  gate_await(1);
  for (uint32_t i = 0; i < 2; i++) {
    identity = test_identity(&putting[i].chunk);
    medium->ops->drop(medium, &identity, 0, false);
    medium->ops->drop(medium, NULL, 7, false);
    identity.tenant = "other";
    medium->ops->drop(medium, &identity, 0, true);
    identity = test_identity(&putting[i].chunk);
    identity.space = space;
    medium->ops->drop(medium, &identity, 0, true);
    identity = test_identity(&putting[i].chunk);
    identity.key_length -= 8;
    medium->ops->drop(medium, &identity, 0, true);
  }
  gate_set(false);
  for (uint32_t i = 0; i < 2; i++) {
    assert_int_equal(putting_end(&putting[i]), KVS_OK);
    putting_free(&putting[i]);
  }
  medium->ops->destroy(medium);
}

/* ---- deadlines ---- */

static void late_puts_end(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);
  struct putting inside, waits, in_time;
  uint32_t calls;

  (void)state;
  gate_set(true);
  putting_make(&inside, 1, TENSORS, RAW);
  inside.put.deadline_ns = kvi_now_ns() + 60 * KVI_NS_PER_S;
  assert_int_equal(medium->ops->put(medium, &inside.put), KVS_OK);
  gate_await(1);
  calls = gate_calls();
  putting_make(&waits, 2, TENSORS, RAW);
  waits.put.deadline_ns = kvi_now_ns();
  assert_int_equal(medium->ops->put(medium, &waits.put), KVS_OK);
  putting_start(&in_time, medium, 3);
  gate_set(false);
  assert_int_equal(putting_end(&waits), KVS_ERR_DEADLINE);
  assert_int_equal(putting_end(&inside), KVS_OK);
  assert_int_equal(putting_end(&in_time), KVS_OK);
  assert_int_equal(gate_calls(), calls + 1);
  assert_int_equal(memory_items(memory), 2);
  putting_free(&inside);
  putting_free(&waits);
  putting_free(&in_time);
  medium->ops->destroy(medium);
}

/* ---- the inner medium refuses ---- */

static void what_the_inner_medium_says_is_told(void **state)
{
  static const kvs_status says[] = {KVS_ERR_FULL, KVS_ERR_IO, KVS_ERR_CANCELED};
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 1, 0);

  (void)state;
  for (uint32_t i = 0; i < 3; i++) {
    struct putting putting;

    memory_fail(memory, KVS_OK, says[i]);
    putting_start(&putting, medium, i);
    assert_int_equal(putting_end(&putting), says[i]);
    putting_free(&putting);
  }
  assert_int_equal(memory_items(memory), 0);
  medium->ops->destroy(medium);
}

/* Takes `takes` puts, then refuses. */
struct refusing {
  struct kvi_medium medium; /* first */
  struct memory_medium *memory;
  kvs_status says;
  atomic_uint takes, refused;
};

static void refusing_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  struct memory_medium *memory = ((const struct refusing *)medium)->memory;

  memory->medium.ops->attr(&memory->medium, attr_p);
}

static void refusing_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  (void)medium;
  memset(stats_p, 0, sizeof(*stats_p));
}

static kvs_status refusing_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  struct refusing *refusing = (struct refusing *)medium;
  unsigned takes = refusing->takes;

  while (takes > 0 && !atomic_compare_exchange_weak(&refusing->takes, &takes, takes - 1)) {
  }
  if (takes > 0)
    return refusing->memory->medium.ops->put(&refusing->memory->medium, put);
  refusing->refused++;
  return refusing->says;
}

static kvs_status refusing_get(struct kvi_medium *medium, struct kvi_medium_get *get)
{
  struct memory_medium *memory = ((struct refusing *)medium)->memory;

  return memory->medium.ops->get(&memory->medium, get);
}

static void refusing_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                          kvi_medium_handle handle, bool for_good)
{
  struct memory_medium *memory = ((struct refusing *)medium)->memory;

  memory->medium.ops->drop(&memory->medium, identity, handle, for_good);
}

static void refusing_destroy(struct kvi_medium *medium)
{
  struct memory_medium *memory = ((struct refusing *)medium)->memory;

  memory->medium.ops->destroy(&memory->medium);
}

static struct kvi_medium *refusing_init(struct refusing *refusing, kvs_status says, uint32_t takes)
{
  static struct kvi_medium_ops ops = {.attr = refusing_attr,
                                      .stats = refusing_stats,
                                      .put = refusing_put,
                                      .get = refusing_get,
                                      .drop = refusing_drop,
                                      .destroy = refusing_destroy};

  kvi_medium_ops_complete(&ops);
  refusing->medium.ops = &ops;
  refusing->memory = memory_medium_create(false);
  refusing->says = says;
  refusing->takes = takes;
  refusing->refused = 0;
  return &refusing->medium;
}

static void a_refusal_is_told(void **state)
{
  static const kvs_status says[] = {KVS_ERR_IO, KVS_ERR_TOO_LARGE, KVS_ERR_CLOSED, KVS_ERR_BUSY};

  (void)state;
  for (uint32_t i = 0; i < 4; i++) {
    struct refusing refusing;
    struct kvi_medium *medium = encoder_around(refusing_init(&refusing, says[i], 0), 1, 0);
    struct putting putting;

    putting_start(&putting, medium, i);
    assert_int_equal(putting_end(&putting), says[i]);
    putting.put.hurry = true; /* the same, said at once */
    assert_int_equal(medium->ops->put(medium, &putting.put), says[i]);
    putting_free(&putting);
    medium->ops->destroy(medium);
  }
}

/* Refused for want of room, what is encoded waits for one of ours to end there, counts as waiting, and can be canceled. */
static void busy_media_are_asked_again(void **state)
{
  struct refusing refusing;
  struct kvi_medium *medium = encoder_around(refusing_init(&refusing, KVS_ERR_BUSY, 1), 1, 4);
  struct putting putting[5];

  (void)state;
  memory_hold(refusing.memory, true);
  putting_start(&putting[0], medium, 0);
  AWAIT(refusing.takes == 0); /* it is not among those that wait */
  for (uint32_t i = 1; i < 5; i++)
    putting_start(&putting[i], medium, i);
  AWAIT(refusing.refused == 4);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(putting_calls(&putting[i]), 0);
  assert_int_equal(stats_of(medium).queued, 4);
  {
    struct putting more;

    putting_make(&more, 9, TENSORS, RAW);
    assert_int_equal(medium->ops->put(medium, &more.put), KVS_ERR_BUSY); /* as much waits as may */
    putting_free(&more);
  }
  drop_for_good(medium, &putting[2].chunk);
  refusing.takes = 2;
  memory_hold(refusing.memory, false);
  assert_int_equal(putting_end(&putting[0]), KVS_OK);
  assert_int_equal(putting_end(&putting[1]), KVS_OK);
  assert_int_equal(putting_end(&putting[2]), KVS_ERR_CANCELED);
  assert_int_equal(putting_end(&putting[3]), KVS_OK);
  assert_int_equal(putting_end(&putting[4]), KVS_ERR_BUSY); /* there is none of ours any more */
  for (uint32_t i = 0; i < 5; i++) {
    if (i != 2 && i != 4)
      check_kept(medium, &putting[i].chunk, putting[i].put.handle, putting[i].put.stored, true);
    putting_free(&putting[i]);
  }
  medium->ops->destroy(medium);
}

/* ---- the end ---- */

static void destroying(void *arg)
{
  struct kvi_medium *medium = arg;

  medium->ops->destroy(medium);
}

/* What waits ends at once; what is with a worker when that is done; what the inner medium has, or refused, with it. Each once. */
static void destroy_with_everything_under_way(void **state)
{
  struct refusing refusing;
  struct kvi_medium *medium = encoder_around(refusing_init(&refusing, KVS_ERR_BUSY, 2), 1, 0);
  struct putting inner[2], refused[2], inside, waiting[3];
  kvi_thread thread = {0};

  (void)state;
  memory_hold(refusing.memory, true);
  for (uint32_t i = 0; i < 2; i++)
    putting_start(&inner[i], medium, i);
  for (uint32_t i = 0; i < 2; i++)
    putting_start(&refused[i], medium, 10 + i);
  AWAIT(refusing.refused == 2);
  AWAIT(stats_of(medium).queued == 2);
  gate_set(true);
  putting_start(&inside, medium, 20);
  gate_await(1);
  for (uint32_t i = 0; i < 3; i++)
    putting_start(&waiting[i], medium, 30 + i);
  assert_int_equal(kvi_thread_start(&thread, "test-destroy", destroying, medium), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(putting_end(&waiting[i]), KVS_ERR_CLOSED);
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(putting_end(&refused[i]), KVS_ERR_CLOSED);
  assert_int_equal(putting_calls(&inside), 0);
  gate_set(false);
  kvi_thread_join(&thread);
  assert_int_equal(putting_end(&inside), KVS_ERR_CLOSED);
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(putting_end(&inner[i]), KVS_ERR_CLOSED);
  for (uint32_t i = 0; i < 2; i++) {
    putting_free(&inner[i]);
    putting_free(&refused[i]);
  }
  for (uint32_t i = 0; i < 3; i++)
    putting_free(&waiting[i]);
  putting_free(&inside);
}

static void what_cannot_be_created(void **state)
{
  struct kvi_encoder_config config = {.tensors = true};
  struct kvi_medium *medium;

  (void)state;
  for (uint32_t threads = 0; threads <= KVI_ENCODER_THREADS_MAX + 1; threads += KVI_ENCODER_THREADS_MAX + 1) {
    medium = (struct kvi_medium *)&config;
    config.threads = threads;
    assert_int_equal(kvi_encoder_create(&memory_medium_create(false)->medium, &config, &medium),
                     KVS_ERR_INVALID);
    assert_null(medium);
  }
  config.threads = KVI_ENCODER_THREADS_MAX;
  assert_int_equal(kvi_encoder_create(&memory_medium_create(false)->medium, &config, &medium), KVS_OK);
  medium->ops->destroy(medium);
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

/* ---- many at once ---- */

#define THREADS 4u
#define EACH    24u

struct crowd {
  struct kvi_medium *medium;
  uint32_t first;
  atomic_uint *wrong;
  uint32_t kept[EACH];
  uint64_t stored[EACH];
  kvi_medium_handle handles[EACH];
  struct putting putting[EACH];
};

/* Every third is deleted while it is on its way. */
static void crowd_run(void *arg)
{
  struct crowd *crowd = arg;
  struct kvi_medium *medium = crowd->medium;

  for (uint32_t i = 0; i < EACH; i++) {
    struct putting *putting = &crowd->putting[i];

    if (medium->ops->put(medium, &putting->put) != KVS_OK)
      (*crowd->wrong)++;
    if (i % 3 == 0)
      drop_for_good(medium, &putting->chunk);
    (void)stats_of(medium);
  }
}

static void many_threads(void **state)
{
  struct memory_medium *memory = memory_medium_create(false);
  struct kvi_medium *medium = encoder_around(&memory->medium, 3, 8);
  struct crowd *crowds = calloc(THREADS, sizeof(*crowds));
  kvi_thread threads[THREADS] = {0};
  struct kvi_medium_stats stats;
  atomic_uint wrong = 0;
  uint32_t kept = 0, canceled = 0;

  (void)state;
  for (uint32_t t = 0; t < THREADS; t++) {
    crowds[t].medium = medium;
    crowds[t].wrong = &wrong;
    for (uint32_t i = 0; i < EACH; i++)
      putting_make(&crowds[t].putting[i], 100 + t * EACH + i, i % 4 ? TENSORS : TEXT, RAW);
  }
  for (uint32_t t = 0; t < THREADS; t++)
    assert_int_equal(kvi_thread_start(&threads[t], "test-crowd", crowd_run, &crowds[t]), KVS_OK);
  for (uint32_t t = 0; t < THREADS; t++)
    kvi_thread_join(&threads[t]);
  assert_int_equal(wrong, 0);
  for (uint32_t t = 0; t < THREADS; t++)
    for (uint32_t i = 0; i < EACH; i++) {
      struct putting *putting = &crowds[t].putting[i];
      kvs_status status = putting_end(putting);

      assert_true(status == KVS_OK || (status == KVS_ERR_CANCELED && i % 3 == 0));
      canceled += status == KVS_ERR_CANCELED;
      if (i % 3 != 0)
        check_kept(medium, &putting->chunk, putting->put.handle, putting->put.stored,
                   putting->put.stored < RAW);
      kept += status == KVS_OK;
    }
  stats = stats_of(medium);
  /* what was canceled may have been encoded all the same */
  assert_in_range(stats.encoded_chunks + stats.unencoded_busy, kept, kept + canceled);
  for (uint32_t t = 0; t < THREADS; t++)
    for (uint32_t i = 0; i < EACH; i++)
      putting_free(&crowds[t].putting[i]);
  free(crowds);
  medium->ops->destroy(medium);
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
      cmocka_unit_test(dropped_for_good_in_memory),
      cmocka_unit_test(removed_from_a_shared_medium),
      cmocka_unit_test_setup_teardown(deleted_chunks_do_not_come_back, setup, teardown),
      cmocka_unit_test(other_drops_cancel_nothing),
      cmocka_unit_test(late_puts_end),
      cmocka_unit_test(what_the_inner_medium_says_is_told),
      cmocka_unit_test(a_refusal_is_told),
      cmocka_unit_test(busy_media_are_asked_again),
      cmocka_unit_test(destroy_with_everything_under_way),
      cmocka_unit_test(what_cannot_be_created),
      cmocka_unit_test(wrappers_tell_the_length),
      cmocka_unit_test(many_threads),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
