/* Curve as a wire asks it, and its rows of the statistics. */
#include <math.h>

#include "service_testing.h"

#define PAGES 128u
#define LINES 16u

static void open_sampling(struct fixture *f)
{
  struct kvi_store_config config = {
      .dram_bytes = PAGES * PAGE, .dram_page_bytes = PAGE, .curve_samples = 16384};
  struct kvi_store_service_config service = {.software = "kvasir test", .incarnation = 77};

  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  service.store = f->store;
  assert_int_equal(kvi_store_service_create(&service, &f->owner), KVS_OK);
  f->service = kvi_store_service_get(f->owner);
  open_space(f);
}

/* Chunk i of a line; the lines are chains of their own. */
static void key_of(uint32_t line, uint32_t i, uint8_t *key)
{
  testing_key((uint64_t)line << 32 | i, key, KEY_BYTES);
}

/* A look-up of n chunks as the store is asked, and puts of those that are missing. */
static void turn(struct fixture *f, uint32_t line, uint32_t n)
{
  uint8_t keys[64 * KEY_BYTES];
  const uint8_t *space = f->digest;
  struct kvi_store_lookup query = {
      .tenant = TENANT, .spaces = &space, .n_spaces = 1, .keys = keys, .key_length = KEY_BYTES, .n_keys = n};
  struct kvi_store_lookup_result result = {.prefix = 0};

  for (uint32_t i = 0; i < n; i++)
    key_of(line, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(f->store, &query, &result), KVS_OK);
  for (uint32_t i = result.prefix; i < n; i++)
    assert_int_equal(testing_put(f->store, TENANT, f->digest, keys + (size_t)i * KEY_BYTES, KEY_BYTES,
                                 i ? keys + (size_t)(i - 1) * KEY_BYTES : NULL, i, CHUNK, i),
                     KVS_OK);
}

static double stat(struct fixture *f, const char *labels)
{
  Kvasir__V1__StatsReply *reply;
  double value = -1;

  assert_int_equal(kvi_store_service_stats(f->owner, &reply), KVS_OK);
  for (size_t i = 0; i < reply->n_stats; i++)
    if (strcmp(reply->stats[i]->name, "kvasir_estimated_hit_ratio") == 0 &&
        strcmp(reply->stats[i]->labels, labels) == 0)
      value = reply->stats[i]->value;
  done(&reply->base);
  return value;
}

static void test_answer(void **state)
{
  Kvasir__V1__CurveRequest request = KVASIR__V1__CURVE_REQUEST__INIT;
  Kvasir__V1__CurveReply *reply;
  struct fixture f;

  (void)state;
  open_sampling(&f);
  reply = ask(&f, KVI_METHOD_CURVE, &request);
  assert_int_equal(reply->status, KVS_OK);
  assert_false(reply->enough);
  assert_int_equal(reply->n_points, KVI_CURVE_POINTS);
  assert_true(isnan(reply->points[0]->lru) && isnan(reply->memory));
  done(&reply->base);
  assert_true(isnan(stat(&f, "of=\"node\"")));
  kvi_store_service_destroy(f.owner);
  kvi_store_close(f.store);

  open_sampling(&f);
  for (uint32_t n = 1; n <= 24; n++) /* lines of 8 chunks' room each */
    for (uint32_t line = 0; line < LINES; line++)
      turn(&f, line, n);
  reply = ask(&f, KVI_METHOD_CURVE, &request);
  assert_int_equal(reply->status, KVS_OK);
  assert_true(reply->enough);
  assert_true(reply->rate == 1);
  assert_int_equal(reply->capacity, PAGES * PAGE);
  assert_int_equal(reply->n_points, KVI_CURVE_POINTS);
  assert_int_equal(reply->points[KVI_CURVE_OWN]->bytes, PAGES * PAGE);
  assert_true(reply->points[KVI_CURVE_OWN]->factor == 1);
  /* a policy by last use, when all come by turns and half of them fit: nothing, what the model says too, and who knows the future does better */
  assert_true(reply->memory < 0.05);
  assert_true(fabs(reply->points[KVI_CURVE_OWN]->lru - reply->memory) < 0.01);
  assert_true(reply->points[KVI_CURVE_OWN]->belady > 0.2);
  assert_true(reply->points[8]->lru > 0.9); /* four times the room is enough for all */
  assert_true(reply->distinct_bytes == 24 * LINES * PAGE);
  assert_true(fabs(stat(&f, "of=\"lru\"") - reply->points[KVI_CURVE_OWN]->lru) < 1e-9);
  assert_true(fabs(stat(&f, "of=\"belady\"") - reply->points[KVI_CURVE_OWN]->belady) < 1e-9);
  assert_true(fabs(stat(&f, "of=\"node\"") - reply->memory) < 1e-9);
  assert_true(fabs(stat(&f, "of=\"lru_more\"") - reply->points[KVI_CURVE_MORE]->lru) < 1e-9);
  done(&reply->base);
  teardown(&f);
}

/* It is of all tenants together; and a node that takes no samples says so. */
static void test_refused(void **state)
{
  const struct kvi_peer limited = {.id = 6, .tenant = TENANT, .name = "test", .limited = true};
  Kvasir__V1__CurveRequest request = KVASIR__V1__CURVE_REQUEST__INIT;
  Kvasir__V1__CurveReply *answer;
  ProtobufCMessage *reply = NULL;
  struct fixture f;

  (void)state;
  open_sampling(&f);
  assert_int_equal(
      f.service->ops->call(f.service->self, &limited, KVI_METHOD_CURVE, &request.base, NULL, &reply),
      KVS_ERR_DENIED);
  assert_null(reply);
  teardown(&f);
  setup(&f);
  answer = ask(&f, KVI_METHOD_CURVE, &request);
  assert_int_equal(answer->status, KVS_ERR_UNSUPPORTED);
  done(&answer->base);
  assert_true(stat(&f, "of=\"node\"") == -1);
  teardown(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_answer),
      cmocka_unit_test(test_refused),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
