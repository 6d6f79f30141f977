/* The encoder around a medium that refuses, and its end with everything under way: each put ends once, with what the inner medium said or that all is closed. */
#include "encoder_putting.h"

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

/* Takes `takes` puts, then refuses. What it has taken is queued, as it says; hold the memory still. */
struct refusing {
  struct kvi_medium medium; /* first */
  struct memory_medium *memory;
  kvs_status says;
  atomic_uint takes, refused, taken;
  atomic_bool opens; /* the gate, when it is asked for its numbers */
  pthread_mutex_t mutex;
  pthread_cond_t came;
};

static void refusing_attr(const struct kvi_medium *medium, struct kvi_medium_attr *attr_p)
{
  struct memory_medium *memory = ((const struct refusing *)medium)->memory;

  memory->medium.ops->attr(&memory->medium, attr_p);
}

static void refusing_stats(struct kvi_medium *medium, struct kvi_medium_stats *stats_p)
{
  struct refusing *refusing = (struct refusing *)medium;
  uint32_t taken = refusing->taken;
  kvi_deadline deadline = kvi_deadline_from_ms(200);
  kvs_status status = KVS_OK;

  *stats_p = (struct kvi_medium_stats){.queued = taken};
  if (!refusing->opens)
    return;
  gate_set(&gate, false);
  pthread_mutex_lock(&refusing->mutex); /* if one can come now, it should */
  while (refusing->taken == taken && status == KVS_OK)
    status = kvi_cond_wait(&refusing->came, &refusing->mutex, deadline);
  pthread_mutex_unlock(&refusing->mutex);
}

static kvs_status refusing_put(struct kvi_medium *medium, struct kvi_medium_put *put)
{
  struct refusing *refusing = (struct refusing *)medium;
  unsigned takes = refusing->takes;

  while (takes > 0 && !atomic_compare_exchange_weak(&refusing->takes, &takes, takes - 1)) {
  }
  if (takes > 0) {
    pthread_mutex_lock(&refusing->mutex);
    refusing->taken++;
    pthread_cond_signal(&refusing->came);
    pthread_mutex_unlock(&refusing->mutex);
    return refusing->memory->medium.ops->put(&refusing->memory->medium, put);
  }
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
  struct refusing *refusing = (struct refusing *)medium;

  refusing->memory->medium.ops->destroy(&refusing->memory->medium);
  pthread_cond_destroy(&refusing->came);
  pthread_mutex_destroy(&refusing->mutex);
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
  refusing->refused = refusing->taken = 0;
  refusing->opens = false;
  pthread_mutex_init(&refusing->mutex, NULL);
  assert_int_equal(kvi_cond_init(&refusing->came), KVS_OK);
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
  assert_int_equal(stats_of(medium).queued, 1 + 4);
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

/* Even one that goes on to the inner medium while that says what it has. */
static void every_put_is_counted(void **state)
{
  struct refusing refusing;
  struct kvi_medium *medium = encoder_around(refusing_init(&refusing, KVS_ERR_BUSY, 1), 1, 0);
  struct putting putting;

  (void)state;
  memory_hold(refusing.memory, true);
  gate_set(&gate, true);
  putting_start(&putting, medium, 0);
  gate_await(&gate, 1);
  refusing.opens = true;
  assert_int_equal(stats_of(medium).queued, 1);
  refusing.opens = false;
  AWAIT(refusing.taken == 1);
  assert_int_equal(stats_of(medium).queued, 1);
  memory_hold(refusing.memory, false);
  assert_int_equal(putting_end(&putting), KVS_OK);
  putting_free(&putting);
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
  AWAIT(stats_of(medium).queued == 2 + 2);
  gate_set(&gate, true);
  putting_start(&inside, medium, 20);
  gate_await(&gate, 1);
  for (uint32_t i = 0; i < 3; i++)
    putting_start(&waiting[i], medium, 30 + i);
  assert_int_equal(kvi_thread_start(&thread, "test-destroy", destroying, medium), KVS_OK);
  for (uint32_t i = 0; i < 3; i++)
    assert_int_equal(putting_end(&waiting[i]), KVS_ERR_CLOSED);
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(putting_end(&refused[i]), KVS_ERR_CLOSED);
  assert_int_equal(putting_calls(&inside), 0);
  gate_set(&gate, false);
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
  struct kvi_encoder_config config = {.rules = {.tensors = true}};
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
      cmocka_unit_test(what_the_inner_medium_says_is_told),
      cmocka_unit_test(a_refusal_is_told),
      cmocka_unit_test(busy_media_are_asked_again),
      cmocka_unit_test(every_put_is_counted),
      cmocka_unit_test(destroy_with_everything_under_way),
      cmocka_unit_test(what_cannot_be_created),
      cmocka_unit_test(many_threads),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
