/*
 * A small volume whose log files are freed while coded chunks that may lose planes are in them: whatever is moved and cut, each chunk is as long, and decodes to what, the owner was
 * told, under readers and after restarts too.
 */
#define CHUNKS 251u
#include "medium_owner.h"

#include "ssd_fault_fixture.h"
#include "store_waiting.h"
#include "tests/unit/proto/coded_sample.h"
#include "tiers/ssd/format.h"

#define KINDS  3u
#define PLANES 3u
#define LAYERS 3u

/* What a chunk of this kind is, and decodes to with so many planes. */
struct kind {
  struct coded_sample sample;
  uint8_t *decoded[PLANES + 1];
};

static struct kind kinds[KINDS];

static int kinds_make(void **state)
{
  (void)state;
  for (uint32_t k = 0; k < KINDS; k++) {
    struct kind *kind = &kinds[k];
    uint64_t raw;

    coded_sample_make(&kind->sample, KVI_CODEC_LADDER, PLANES, LAYERS, 2, k + 1);
    raw = kind->sample.shape.raw_bytes;
    for (uint32_t planes = 0; planes <= PLANES; planes++) {
      size_t at = kvi_chunk_table_size(kind->sample.raw_table.n_segments);
      uint32_t quality;

      kind->decoded[planes] = malloc(raw);
      assert_non_null(kind->decoded[planes]);
      assert_int_equal(kvi_codec_decode(kind->sample.payload + at, kind->sample.length - at, planes,
                                        kind->decoded[planes], raw, &quality),
                       KVS_OK);
    }
  }
  return 0;
}

static int kinds_free(void **state)
{
  (void)state;
  for (uint32_t k = 0; k < KINDS; k++) {
    coded_sample_free(&kinds[k].sample);
    for (uint32_t planes = 0; planes <= PLANES; planes++)
      free(kinds[k].decoded[planes]);
  }
  return 0;
}

static const struct kind *kind_of(uint64_t number)
{
  return &kinds[number % KINDS];
}

/* 1 (all planes, nothing may be lost) to 4 (all planes may go). */
static uint32_t loss_max_of(uint64_t number)
{
  return 1 + (uint32_t)(number / KINDS % 4);
}

static void chunk_make(struct test_chunk *chunk, uint64_t number)
{
  const struct coded_sample *sample = &kind_of(number)->sample;

  test_chunk_make(chunk, number, (uint32_t)sample->length, sample->n_segments);
  memcpy(chunk->bytes, sample->payload, sample->length);
  kvi_chunk_table_write(chunk->table, sample->segments, sample->n_segments,
                        kvi_quality(1, loss_max_of(number), KVI_CODING_KVC1));
}

struct putting {
  struct test_wait wait; /* first */
  struct owner *owner;
  uint32_t number;
};

/* The owner knows where it is before the medium goes on, as the store does: it may be moved at once. */
static void put_done(struct kvi_medium_put *put, kvs_status status)
{
  struct putting *putting = put->user;
  struct owner *owner = putting->owner;

  pthread_mutex_lock(&owner->mutex);
  owner->handles[putting->number] = status == KVS_OK ? put->handle : 0;
  owner->lengths[putting->number] = (uint32_t)put->length;
  owner->losses[putting->number] = 1;
  pthread_mutex_unlock(&owner->mutex);
  test_wait_end(&putting->wait, status);
}

static kvs_status put(struct fixture *f, uint32_t number)
{
  struct putting putting = {.owner = &f->owner, .number = number};
  struct kvi_medium_put put;
  struct test_chunk chunk;
  kvs_status status;

  chunk_make(&chunk, number);
  test_wait_init(&putting.wait);
  test_put_fill(&put, &chunk, &putting.wait);
  put.done = put_done;
  put.user = &putting;
  status = f->owner.medium->ops->put(f->owner.medium, &put);
  if (status == KVS_OK)
    status = test_wait_for(&putting.wait);
  test_wait_released(&putting.wait);
  test_chunk_free(&chunk);
  return status;
}

/* ---- gets ---- */

struct told {
  kvi_medium_handle handle;
  uint32_t length, loss;
};

static struct told told_of(struct owner *owner, uint32_t number)
{
  struct told told;

  pthread_mutex_lock(&owner->mutex);
  told = (struct told){
      .handle = owner->handles[number], .length = owner->lengths[number], .loss = owner->losses[number]};
  pthread_mutex_unlock(&owner->mutex);
  return told;
}

struct got {
  struct test_wait wait; /* first */
  uint16_t quality;
};

static kvs_status got_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct got *got = get->user;

  got->quality = table->quality;
  return table->length == get->length ? test_land(get, table, iov_p, n_iov_p) : KVS_ERR_CORRUPT;
}

static bool is_decoded(const uint8_t *bytes, uint64_t length, const struct kind *kind, uint32_t planes)
{
  uint8_t *payload = malloc(length), *decoded = malloc(kind->sample.shape.raw_bytes);
  struct kvi_coded coded;
  bool same;

  memcpy(payload, bytes, length);
  same = kvi_coded_open(payload, length, length, &coded) == KVS_OK && coded.planes == planes;
  for (uint32_t layer = 0; same && layer < LAYERS; layer++)
    same = kvi_coded_layer(&coded, layer, payload,
                           decoded + kvi_codec_layer_offset(&coded.object.shape, layer)) == KVS_OK;
  same = same && memcmp(decoded, kind->decoded[planes], kind->sample.shape.raw_bytes) == 0;
  free(payload);
  free(decoded);
  return same;
}

/* As told: KVS_OK; KVS_MISS: it is not there any more; anything else is wrong. Any thread. */
static kvs_status get_as(struct fixture *f, uint32_t number, const struct told *told)
{
  struct test_chunk chunk;
  struct kvi_medium_get get;
  struct got got = {.quality = 0};
  kvs_status status;

  chunk_make(&chunk, number);
  test_wait_init(&got.wait);
  get = test_get_of(&chunk, told->handle, &got.wait);
  get.length = told->length;
  get.land = got_land;
  status = f->owner.medium->ops->get(f->owner.medium, &get);
  if (status == KVS_OK)
    status = test_wait_for(&got.wait);
  test_wait_released(&got.wait);
  if (status == KVS_OK &&
      (got.quality != kvi_quality(told->loss, loss_max_of(number), KVI_CODING_KVC1) || told->loss < 1 ||
       told->loss > loss_max_of(number) || got.wait.length != told->length ||
       !is_decoded(got.wait.landed, told->length, kind_of(number), 4 - told->loss)))
    status = KVS_ERR_INTERNAL;
  free(got.wait.landed);
  test_chunk_free(&chunk);
  return status;
}

/* Once more when it was moved meanwhile, as the store does: with the length it has now. */
static kvs_status get(struct fixture *f, uint32_t number)
{
  struct told now = told_of(&f->owner, number), told;
  kvs_status status;

  do {
    told = now;
    if (told.handle == 0)
      return KVS_MISS;
    status = get_as(f, number, &told);
    now = told_of(&f->owner, number);
  } while (status == KVS_MISS && now.handle != told.handle);
  return status;
}

static void all_are_as_told(struct fixture *f)
{
  uint32_t there = 0;

  for (uint32_t i = 0; i < CHUNKS; i++) {
    kvs_status status = get(f, i);

    assert_true(status == KVS_OK || status == KVS_MISS);
    there += status == KVS_OK;
  }
  assert_true(there > CHUNKS / 20);
  assert_int_equal(f->owner.n_odd, 0);
  assert_int_equal(f->owner.n_corrupt, 0);
  assert_int_equal(f->owner.n_lost, 0);
}

/* What lies on it, by what the owner was told of it. */
static uint64_t bytes_told(struct owner *owner)
{
  uint64_t bytes = 0;

  pthread_mutex_lock(&owner->mutex);
  for (uint32_t i = 0; i < CHUNKS; i++)
    if (owner->handles[i] != 0)
      bytes += kvi_ssd_record_bytes(owner->lengths[i], 1 + LAYERS * (5u - owner->losses[i]));
  pthread_mutex_unlock(&owner->mutex);
  return bytes;
}

static struct kvi_medium_stats *stats_now(struct fixture *f)
{
  memset(&f->stats, 0, sizeof(f->stats));
  f->owner.medium->ops->stats(f->owner.medium, &f->stats);
  return &f->stats;
}

/* A file may be being freed still. */
static void bytes_add_up(struct fixture *f)
{
  AWAIT(stats_now(f)->live_bytes == bytes_told(&f->owner));
}

/* What was moved and cut is what the owner was told of. */
static bool moves_add_up(struct fixture *f)
{
  const struct kvi_medium_stats *stats = stats_now(f);
  bool same;

  pthread_mutex_lock(&f->owner.mutex);
  same = stats->copied_chunks == f->owner.n_moved && stats->cut_chunks == f->owner.n_cut;
  pthread_mutex_unlock(&f->owner.mutex);
  return same;
}

/* Reads all the time, whatever is moved. */
struct reader {
  struct fixture *f;
  atomic_bool stop;
  atomic_uint wrong, got;
};

static void reader_run(void *arg)
{
  struct reader *reader = arg;

  for (uint32_t i = 0; !reader->stop; i++) {
    kvs_status status = get(reader->f, i * 7 % CHUNKS);

    reader->wrong += status != KVS_OK && status != KVS_MISS;
    reader->got += status == KVS_OK;
  }
}

/* Puts what is not there, round after round, beside others: files are freed, and what stays of them is moved and cut. */
#define WRITERS 4u

struct writer {
  struct fixture *f;
  uint32_t number, rounds;
  uint32_t wrong;
  kvi_thread thread;
};

static void writer_run(void *arg)
{
  struct writer *writer = arg;

  for (uint32_t round = 0; round < writer->rounds; round++)
    for (uint32_t i = writer->number; i < CHUNKS; i += WRITERS)
      if (told_of(&writer->f->owner, i).handle == 0)
        writer->wrong += put(writer->f, i) != KVS_OK;
}

static void turn_over(struct fixture *f, uint32_t rounds)
{
  struct writer writers[WRITERS] = {0};

  for (uint32_t i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){.f = f, .number = i, .rounds = rounds};
    assert_int_equal(kvi_thread_start(&writers[i].thread, "test-writer", writer_run, &writers[i]), KVS_OK);
  }
  for (uint32_t i = 0; i < WRITERS; i++)
    kvi_thread_join(&writers[i].thread);
  for (uint32_t i = 0; i < WRITERS; i++)
    assert_int_equal(writers[i].wrong, 0);
}

/* Chunks were cut, moved as they are, and not to be cut. */
static bool each_kind_of_move(struct owner *owner)
{
  bool each;

  pthread_mutex_lock(&owner->mutex);
  each = owner->n_cut > 0 && owner->n_moved > owner->n_cut && owner->n_refused > 0;
  pthread_mutex_unlock(&owner->mutex);
  return each;
}

static void chunks_are_as_told(struct fixture *f)
{
  struct reader reader = {.f = f};
  kvi_thread thread = {0};

  f->owner.stride = 97;
  assert_int_equal(fixture_open(f), KVS_OK);
  assert_int_equal(kvi_thread_start(&thread, "test-reader", reader_run, &reader), KVS_OK);
  turn_over(f, 8);
  for (uint32_t i = 0; i < 100 && !each_kind_of_move(&f->owner);
       i++) /* what is moved when is the device's thread's choice */
    turn_over(f, 1);
  AWAIT(reader.got > 0);
  reader.stop = true;
  kvi_thread_join(&thread);
  assert_int_equal(reader.wrong, 0);
  assert_true(each_kind_of_move(&f->owner));
  all_are_as_told(f);
  bytes_add_up(f);
  AWAIT(moves_add_up(f));
  assert_true(stats_now(f)->cut_bytes > 0);
}

/* What was told before a restart is there after it, or what it was cut from, if that has not gone yet. */
static void restarts(struct fixture *f, bool crash)
{
  struct told before[CHUNKS];

  for (uint32_t start = 0; start < 3; start++) {
    bool safe = !crash || f->config.durability == KVI_SSD_DURABLE_PUT;

    if (crash)
      f->image.dead = true;
    f->owner.gone = &f->image.dead;
    fixture_close(f);
    for (uint32_t i = 0; i < CHUNKS; i++) /* nothing is moved any more */
      before[i] = told_of(&f->owner, i);
    if (crash)
      fault_image_crash(&f->image);
    f->owner.n_lost = 0;
    assert_int_equal(fixture_open(f), KVS_OK);
    for (uint32_t i = 0; i < CHUNKS; i++) {
      struct told now = told_of(&f->owner, i);

      if (before[i].handle == 0)
        continue;
      assert_true(!safe || now.handle != 0);
      assert_true(now.handle == 0 || now.loss <= before[i].loss || start > 0);
      assert_true(now.handle == 0 || now.loss != before[i].loss || now.length == before[i].length);
    }
    all_are_as_told(f);
    turn_over(f, 1);
    all_are_as_told(f);
    bytes_add_up(f);
  }
}

static void what_is_moved_is_as_told(void **state)
{
  struct fixture *f = *state;

  chunks_are_as_told(f);
  restarts(f, false);
}

/* New files are slow to come, so that what is to be moved waits for a place: it is cut once all the same. */
static void what_waits_for_a_place_is_cut_once(void **state)
{
  struct fixture *f = *state;

  f->image.slow_headers = true;
  chunks_are_as_told(f);
}

static void what_was_told_survives_a_crash(void **state)
{
  struct fixture *f = *state;

  f->config.durability = KVI_SSD_DURABLE_PUT;
  chunks_are_as_told(f);
  restarts(f, true);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_moved_is_as_told, setup, teardown),
      cmocka_unit_test_setup_teardown(what_waits_for_a_place_is_cut_once, setup, teardown),
      cmocka_unit_test_setup_teardown(what_was_told_survives_a_crash, setup, teardown),
  };

  return cmocka_run_group_tests(tests, kinds_make, kinds_free);
}
