/*
 * Many threads whose first calls of the library come at once: each encodes and decodes as if it were alone. One path a thread is a setting of
 * that thread.
 */
#include <pthread.h>

#include "codec_testing.h"

#define THREADS 6
#define ROUNDS  4

static pthread_barrier_t together;

/* What a thread has made; the main one compares them. */
struct work {
  pthread_t thread;
  int number;
  struct object_bytes objects[ROUNDS];
  uint8_t *raw[ROUNDS], *decoded[ROUNDS];
  bool ok;
};

static struct kvi_codec_shape shape_of(int round)
{
  struct kvi_codec_shape shape = {.dtype = round % 2 == 0 ? KVI_CODEC_BF16 : KVI_CODEC_E4M3,
                                  .n_layers = 2,
                                  .n_tokens = 40,
                                  .n_heads = 2,
                                  .key_dim = 64,
                                  .value_dim = 32};

  shape.raw_bytes = kvi_codec_raw_bytes(&shape);
  return shape;
}

static bool there_and_back(struct work *work, int round)
{
  struct kvi_codec_shape shape = shape_of(round);
  const struct kvi_codec_options options = {.level = round < 2 ? KVI_CODEC_LOSSLESS : KVI_CODEC_LADDER,
                                            .planes = 1};
  size_t room = (size_t)kvi_codec_bound(&shape, &options);
  uint8_t *scratch = aligned_alloc(64, (kvi_codec_encode_scratch(&shape, &options) + 63) / 64 * 64);
  struct object_bytes *object = &work->objects[round];
  uint32_t quality;
  bool ok;

  object->bytes = malloc(room);
  work->decoded[round] = malloc(shape.raw_bytes);
  ok = scratch != NULL && object->bytes != NULL && work->decoded[round] != NULL &&
       kvi_codec_encode(&shape, &options, work->raw[round], scratch, object->bytes, room, &object->length) ==
           KVS_OK &&
       kvi_codec_decode(object->bytes, object->length, 3, work->decoded[round], shape.raw_bytes, &quality) ==
           KVS_OK;
  free(scratch);
  return ok;
}

static void *run(void *argument)
{
  struct work *work = argument;

  pthread_barrier_wait(&together);
  /* The path first or the work first: either is a first call. */
  work->ok = work->number % 3 != 1 || kvi_codec_path() != NULL;
  work->ok = work->ok && (work->number % 3 != 2 || kvi_codec_use_path("scalar") == KVS_OK);
  for (int round = 0; round < ROUNDS; round++)
    work->ok = there_and_back(work, round) && work->ok;
  return NULL;
}

static void first_calls_at_once(void **state)
{
  static struct work works[THREADS];

  (void)state;
  assert_int_equal(pthread_barrier_init(&together, NULL, THREADS), 0);
  for (int i = 0; i < THREADS; i++) {
    works[i].number = i;
    for (int round = 0; round < ROUNDS; round++) {
      struct kvi_codec_shape shape = shape_of(round);

      works[i].raw[round] = sample_raw(&shape, SAMPLE_GAUSSIAN, (uint64_t)round);
    }
  }
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&works[i].thread, NULL, run, &works[i]), 0);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(works[i].thread, NULL), 0);
  for (int i = 0; i < THREADS; i++)
    for (int round = 0; round < ROUNDS; round++) {
      struct kvi_codec_shape shape = shape_of(round);

      assert_true(works[i].ok);
      assert_int_equal(works[i].objects[round].length, works[0].objects[round].length);
      assert_memory_equal(works[i].objects[round].bytes, works[0].objects[round].bytes,
                          works[0].objects[round].length);
      assert_memory_equal(works[i].decoded[round], works[0].decoded[round], shape.raw_bytes);
      if (round < 2)
        assert_memory_equal(works[i].decoded[round], works[i].raw[round], shape.raw_bytes);
    }
  for (int i = 0; i < THREADS; i++)
    for (int round = 0; round < ROUNDS; round++) {
      free(works[i].objects[round].bytes);
      free(works[i].decoded[round]);
      free(works[i].raw[round]);
    }
  pthread_barrier_destroy(&together);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(first_calls_at_once)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
