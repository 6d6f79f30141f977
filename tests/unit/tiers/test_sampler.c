/* The sample of what is looked up: what is kept, how it is bounded, what comes of it; and a store that takes it. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "store_testing.h"

#include "tiers/sampler.h"

#define S       UINT64_C(1000000000)
#define PAGES   512u
#define THREADS 4u

static struct kvi_sampler *make(uint32_t room, uint64_t chunks)
{
  struct kvi_sampler *sampler;

  assert_int_equal(kvi_sampler_create(room, chunks * PAGE, PAGE, S, &sampler), KVS_OK);
  return sampler;
}

static uint64_t name(uint64_t line, uint32_t chunk)
{
  uint64_t seed = line << 32 | chunk;

  return kvi_splitmix64(&seed);
}

/* A request for n chunks of a line, of which the first `had` are there. */
static void request(struct kvi_sampler *sampler, uint64_t line, uint32_t n, uint32_t had, uint64_t now_ns)
{
  struct kvi_sampler_batch batch;

  kvi_sampler_begin(sampler, &batch, name(line, n - 1), now_ns);
  for (uint32_t i = 0; i < n; i++) {
    kvi_sampler_flush(sampler, &batch, now_ns);
    kvi_sampler_add(sampler, &batch, name(line, i), CHUNK, 256,
                    i < had ? KVI_CURVE_HIT | KVI_CURVE_MEMORY : 0);
  }
  kvi_sampler_end(sampler, &batch, now_ns);
}

static struct kvi_sampler_report report_of(struct kvi_sampler *sampler, uint64_t now_ns)
{
  struct kvi_sampler_report report;

  assert_int_equal(kvi_sampler_estimate(sampler, 0, now_ns, &report), KVS_OK);
  return report;
}

static void test_counts(void **state)
{
  struct kvi_sampler *sampler = make(1024, 64); /* 64 * 16 uses: all fit */
  struct kvi_sampler_report report;

  (void)state;
  report = report_of(sampler, 2 * S);
  assert_true(isnan(report.curve.memory) && !report.enough && report.samples == 0);
  for (uint32_t i = 0; i < 10; i++) {
    request(sampler, i, 20, 0, 10 * S);
    for (uint32_t k = 0; k < 20; k++)
      kvi_sampler_put(sampler, name(i, k), CHUNK, 10 * S);
  }
  for (uint32_t i = 7; i < 10; i++)
    request(sampler, i, 21, 20, 100 * S);
  report = report_of(sampler, 110 * S);
  assert_int_equal(report.samples, 463);
  assert_true(report.rate == 1);
  assert_int_equal(report.capacity, 64 * PAGE);
  /* the half is among the puts of line 5, so what counts begins with line 6 */
  assert_int_equal(report.curve.requests, 4 + 3);
  assert_int_equal(report.curve.uses, 4 * 20 + 3 * 21);
  assert_int_equal(report.curve.asked, 256 * (4 * 20 + 3 * 21));
  assert_true(fabs(report.curve.memory - 60.0 / 143) < 1e-9);
  /* 64 chunks are the last three lines, and four of the one before; 48 two of them, and eight of the third; 32 one, and twelve */
  assert_true(fabs(report.curve.points[KVI_CURVE_OWN].lru - 60.0 / 143) < 1e-9);
  assert_true(fabs(report.curve.points[KVI_CURVE_OWN].belady - 60.0 / 143) < 1e-9);
  assert_true(report.curve.points[0].lru == 0);
  assert_true(fabs(report.window_s - 100) < 1 && fabs(report.counted_s - 100) < 1);
  kvi_sampler_destroy(sampler);
}

/* Engines ask until there is something: the same keys within seconds are one request while nothing is there, and no longer. */
static void test_repeats(void **state)
{
  struct kvi_sampler *sampler = make(1024, 64);
  struct kvi_sampler_report report;

  (void)state;
  request(sampler, 1, 5, 0, 10 * S);
  request(sampler, 1, 5, 0, 11 * S);
  request(sampler, 1, 5, 0, 14 * S);
  request(sampler, 2, 300, 0, 14 * S);
  request(sampler, 2, 300, 0, 14 * S); /* more than a batch holds */
  report = report_of(sampler, 14 * S);
  assert_int_equal(report.samples, 5 + 300);
  assert_int_equal(report.left_out, 3);
  request(sampler, 1, 5, 0, 16 * S); /* later */
  request(sampler, 1, 6, 0, 16 * S); /* one chunk more: another one */
  assert_int_equal(report_of(sampler, 16 * S).samples, 305 + 11);
  for (uint32_t i = 0; i < 20; i++) /* a prompt that everybody has */
    request(sampler, 1, 5, 5, 17 * S);
  report = report_of(sampler, 17 * S);
  assert_int_equal(report.samples, 316 + 100);
  assert_int_equal(report.left_out, 3);
  request(sampler, 1, 5, 0, 17 * S); /* it is gone: the last one had it */
  assert_int_equal(report_of(sampler, 18 * S).samples, 421);
  kvi_sampler_destroy(sampler);
}

/* Many more than there is room for, of memory with room for many more chunks than can be followed. */
static void test_bounds(void **state)
{
  struct kvi_sampler *sampler = make(1024, 1u << 12);
  uint64_t memory = kvi_sampler_memory(sampler), asked = 0;
  struct kvi_sampler_report report;

  (void)state;
  assert_true(memory <= 1024 * 56 + (64u << 10));
  for (uint32_t i = 0; i < 20000; i++) {
    request(sampler, i % 3000, 50 + i / 3000, i < 3000 ? 0 : 49 + i / 3000, (10 + i) * S);
    asked += 256 * (50 + i / 3000);
  }
  report = report_of(sampler, 30000 * S);
  assert_int_equal(kvi_sampler_memory(sampler), memory);
  assert_true(report.samples <= 1024 && report.samples > 900);
  assert_true(report.rate == 1.0 / 256); /* 2^12 chunks * 64 uses / 2^10: hardly any are new */
  assert_true(report.curve.asked > asked / 20 &&
              report.curve.asked < asked / 4); /* of the counted half, sampled or not */
  assert_true(report.curve.memory > 0.97 &&
              report.curve.memory < 0.99); /* all but the last chunk, in whole */
  assert_true(report.window_s < 20000);
  kvi_sampler_destroy(sampler);
}

/* Prompts of many more chunks than memory has: fewer chunks are sampled until there are enough requests. */
static void test_long(void **state)
{
  struct kvi_sampler *sampler = make(4096, 256);
  struct kvi_sampler_report report;

  (void)state;
  for (uint32_t i = 0; i < 1500; i++)
    request(sampler, i % 20, 512 + i / 20, i < 20 ? 0 : 511 + i / 20, (10 + i) * S);
  report = report_of(sampler, 2000 * S);
  assert_true(report.rate < 1.0 / 16);
  assert_true(report.enough);
  kvi_sampler_destroy(sampler);
}

/* Short chunks, of which few are sampled; and long ones again, of which there is too little with so few. */
static void test_more_again(void **state)
{
  struct kvi_sampler *sampler = make(4096, 1u << 14);
  double least, rate = 0;
  uint32_t i;

  (void)state;
  for (i = 0; i < 20000; i++)
    request(sampler, i % 3000, 50 + i / 3000, i < 3000 ? 0 : 49 + i / 3000, (10 + i) * S);
  least = report_of(sampler, 30000 * S).rate;
  for (i = 0; i < 120000; i++) {
    struct kvi_sampler_batch batch;

    kvi_sampler_begin(sampler, &batch, name(7, i), (30000 + i) * S);
    for (uint32_t k = 0; k < 40; k++)
      kvi_sampler_add(sampler, &batch, name(1u << 20 | i % 200, k), 800 * PAGE, 256, KVI_CURVE_HIT);
    kvi_sampler_end(sampler, &batch, (30000 + i) * S);
    if (i % 1000 == 0) {
      double now = report_of(sampler, (30000 + i) * S).rate;

      assert_true(now >= rate && now <= 2 * (rate > 0 ? rate : least)); /* not by leaps */
      rate = now;
    }
  }
  assert_true(rate >= 4 * least);
  assert_true(report_of(sampler, 160000 * S).curve.memory == 0);
  assert_true(report_of(sampler, 160000 * S).curve.hit == 1);
  kvi_sampler_destroy(sampler);
}

/* Two long requests whose samples come to the ring by turns are each one request, its beginning used last. */
static void test_interleaved(void **state)
{
  struct kvi_sampler *sampler = make(16384, 256);
  struct kvi_sampler_batch batches[2];
  struct kvi_sampler_report report;

  (void)state;
  for (uint32_t round = 0; round < 6; round++) {
    uint32_t n = 190 + round, had = round == 0 ? 0 : n - 1;

    for (uint32_t b = 0; b < 2; b++)
      kvi_sampler_begin(sampler, &batches[b], name(b, n - 1), (round + 1) * S);
    for (uint32_t i = 0; i < n; i++)
      for (uint32_t b = 0; b < 2; b++) {
        kvi_sampler_flush(sampler, &batches[b], S);
        kvi_sampler_add(sampler, &batches[b], name(b, i), CHUNK, 256, i < had ? KVI_CURVE_HIT : 0);
      }
    for (uint32_t b = 0; b < 2; b++)
      kvi_sampler_end(sampler, &batches[b], S);
  }
  report = report_of(sampler, 10 * S);
  assert_true(report.rate == 1);
  assert_int_equal(report.curve.requests, 5); /* the half, but for the rest of one */
  /*
   * 512 places hold both, but for what is new. 256 places: of the one used last all, of the other the beginning; in pieces that were taken for requests it would have been its end, which is of no use.
   */
  assert_true(report.curve.points[7].lru > 0.99);
  assert_true(report.curve.points[KVI_CURVE_OWN].lru > 0.3 && report.curve.points[KVI_CURVE_OWN].lru < 0.36);
  kvi_sampler_destroy(sampler);
}

/* An estimate is made anew when it is too old and something has come since. */
static void test_age(void **state)
{
  struct kvi_sampler *sampler = make(1024, 64);
  struct kvi_sampler_report report;

  (void)state;
  request(sampler, 1, 5, 0, S);
  assert_int_equal(kvi_sampler_estimate(sampler, S, 2 * S, &report), KVS_OK);
  assert_int_equal(report.samples, 5);
  request(sampler, 2, 5, 0, 2 * S);
  assert_int_equal(kvi_sampler_estimate(sampler, S, 2 * S + S / 2, &report), KVS_OK);
  assert_int_equal(report.samples, 5);
  assert_int_equal(kvi_sampler_estimate(sampler, S, 3 * S, &report), KVS_OK);
  assert_int_equal(report.samples, 10);
  assert_true(fabs(report.window_s - 2) < 0.2);
  report = report_of(sampler, 63 * S); /* nothing has come, and time goes on */
  assert_true(fabs(report.window_s - 62) < 0.2 && fabs(report.counted_s - 61) < 0.2);
  kvi_sampler_destroy(sampler);
}

static void test_arguments(void **state)
{
  struct kvi_sampler *sampler;

  (void)state;
  assert_int_equal(kvi_sampler_create(63, 1, PAGE, 0, &sampler), KVS_ERR_INVALID);
  assert_int_equal(kvi_sampler_create(KVI_CURVE_SAMPLES_MAX + 1, 1, PAGE, 0, &sampler), KVS_ERR_INVALID);
  assert_int_equal(kvi_sampler_create(64, 0, PAGE, 0, &sampler), KVS_ERR_INVALID);
  assert_int_equal(kvi_sampler_create(64, 1, 0, 0, &sampler), KVS_ERR_INVALID);
  kvi_sampler_destroy(NULL);
}

/* ---- many threads ---- */

struct worker {
  pthread_t thread;
  struct kvi_sampler *sampler;
  uint64_t number;
};

static atomic_bool over;

static void *work(void *ctx)
{
  const struct worker *worker = ctx;

  for (uint32_t i = 0; i < 400; i++) {
    uint64_t line = worker->number << 16 | i % 20;

    request(worker->sampler, line, 40 + i / 20, i < 20 ? 0 : 39 + i / 20, (i + 1) * S);
    kvi_sampler_put(worker->sampler, name(line, 39 + i / 20), CHUNK, (i + 1) * S);
  }
  return NULL;
}

static void *look(void *ctx)
{
  struct kvi_sampler_report report;
  uint64_t now_ns = 500 * S;

  while (!atomic_load(&over)) {
    assert_int_equal(kvi_sampler_estimate(ctx, 0, now_ns, &report), KVS_OK);
    assert_true(report.samples <= 2048);
  }
  return NULL;
}

static void test_threads(void **state)
{
  struct kvi_sampler *sampler = make(2048, 512);
  struct worker workers[THREADS];
  pthread_t lookers[2];
  struct kvi_sampler_report report;

  (void)state;
  atomic_store(&over, false);
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&lookers[i], NULL, look, sampler), 0);
  for (uint32_t i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){.sampler = sampler, .number = i + 1};
    assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
  }
  for (uint32_t i = 0; i < THREADS; i++)
    pthread_join(workers[i].thread, NULL);
  atomic_store(&over, true);
  for (uint32_t i = 0; i < 2; i++)
    pthread_join(lookers[i], NULL);
  report = report_of(sampler, 500 * S);
  assert_true(report.rate == 1.0 / 16); /* 512 chunks * 64 uses / 2048 */
  assert_true(report.curve.memory > 0.9);
  kvi_sampler_destroy(sampler);
}

/* ---- in a store ---- */

static uint64_t clock_ns;

static uint64_t clock_now(void *ctx)
{
  (void)ctx;
  return clock_ns;
}

static void store_open(struct chain *chain, uint32_t samples)
{
  struct kvi_store_config config = {.dram_bytes = PAGES * PAGE,
                                    .dram_page_bytes = PAGE,
                                    .policy_clock = clock_now,
                                    .curve_samples = samples};
  kvs_space_desc desc = testing_space("chain", KEY_BYTES);

  clock_ns = S;
  assert_int_equal(kvi_store_open(&config, &chain->store), KVS_OK);
  testing_space_open(chain->store, TENANT, &desc, chain->space);
  for (uint32_t i = 0; i < 128; i++)
    testing_key(i, chain_key(chain, i), KEY_BYTES);
}

/* What the store has in memory at each look-up, and that it is looked up in steps, and ends where the chain ends, shows as it is. */
static void test_store(void **state)
{
  struct kvi_sampler_report report;
  struct chain chain;
  uint8_t present[16];

  (void)state;
  store_open(&chain, 0);
  assert_int_equal(kvi_store_curve(chain.store, 0, &report), KVS_ERR_UNSUPPORTED);
  kvi_store_close(chain.store);

  store_open(&chain, 16384);
  for (uint32_t n = 20; n <= 120; n += 10) { /* each time ten chunks more than there are */
    clock_ns += S;
    assert_int_equal(chain_lookup(&chain, n, 1, 0, n % 20 == 0 ? present : NULL).prefix,
                     n - 20 > 0 ? n - 10 : 0);
    for (uint32_t i = n == 20 ? 0 : n - 10; i < n; i++)
      assert_int_equal(chain_put(&chain, i), KVS_OK);
    assert_int_equal(kvi_store_curve(chain.store, 0, &report), KVS_OK);
  }
  assert_true(report.rate == 1);
  /* 20 + 30 + .. + 120 uses, and 120 puts: 445 is in the one of 90, so what counts begins with the puts behind that */
  assert_int_equal(report.samples, 770 + 120);
  assert_int_equal(report.curve.chunks, 120);
  assert_int_equal(report.curve.requests, 3);
  assert_int_equal(report.curve.uses, 100 + 110 + 120);
  assert_int_equal(report.curve.asked, 256 * 330);
  assert_true(fabs(report.curve.memory - 300.0 / 330) < 1e-9);
  assert_true(fabs(report.curve.hit - 300.0 / 330) < 1e-9);
  assert_true(fabs(report.curve.points[KVI_CURVE_OWN].lru - 300.0 / 330) < 1e-9);
  assert_true(fabs(report.curve.points[0].lru - 3 * 64.0 / 330) < 1e-9); /* 64 pages */
  assert_true(report.curve.points[0].belady >= report.curve.points[0].lru);
  kvi_store_close(chain.store);
}

static void single_lookup(struct chain *chain, uint32_t n, uint32_t lease_ms)
{
  const uint8_t *space = chain->space;
  struct kvi_store_lookup lookup = {.tenant = TENANT,
                                    .spaces = &space,
                                    .n_spaces = 1,
                                    .keys = chain_key(chain, 0),
                                    .key_length = KEY_BYTES,
                                    .n_keys = n,
                                    .unchained = true,
                                    .lease_ms = lease_ms};
  struct kvi_store_lookup_result result = {.prefix = 0};

  assert_int_equal(kvi_store_lookup(chain->store, &lookup, &result), KVS_OK);
}

/* A look-up in several spaces asks for its tokens once. */
static void test_spaces(void **state)
{
  kvs_space_desc desc = testing_space("other", KEY_BYTES);
  struct kvi_store_lookup_result result = {.prefix = 0};
  struct kvi_sampler_report report;
  uint8_t other[KVS_DIGEST_SIZE];
  struct chain chain;
  const uint8_t *spaces[2] = {chain.space, other};
  struct kvi_store_lookup lookup = {
      .tenant = TENANT, .spaces = spaces, .n_spaces = 2, .key_length = KEY_BYTES, .n_keys = 4};

  (void)state;
  store_open(&chain, 16384);
  testing_space_open(chain.store, TENANT, &desc, other);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(chain_put(&chain, i), KVS_OK);
  lookup.keys = chain_key(&chain, 0);
  for (uint32_t i = 0; i < 4; i++) { /* each has them all in one of its spaces: nothing */
    clock_ns += 60 * S;
    assert_int_equal(kvi_store_lookup(chain.store, &lookup, &result), KVS_OK);
    assert_int_equal(result.prefix, 0);
  }
  assert_int_equal(kvi_store_curve(chain.store, 0, &report), KVS_OK);
  assert_int_equal(report.curve.asked, report.curve.requests * 4 * 256);
  assert_true(report.curve.memory == 0);
  kvi_store_close(chain.store);
}

/* Who tells that single chunks are in use asks for none; two that end with the same chunk are two. */
static void test_single(void **state)
{
  uint8_t other[KEY_BYTES];
  struct kvi_sampler_report report;
  struct chain chain;

  (void)state;
  store_open(&chain, 16384);
  single_lookup(&chain, 4, 0);
  assert_int_equal(kvi_store_curve(chain.store, 0, &report), KVS_OK);
  assert_int_equal(report.samples, 0);
  single_lookup(&chain, 4, 1000);
  assert_int_equal(kvi_store_curve(chain.store, 0, &report), KVS_OK);
  assert_int_equal(report.samples, 4);
  single_lookup(&chain, 4, 1000);
  testing_key(1000, other, KEY_BYTES);
  memcpy(chain_key(&chain, 1), other, KEY_BYTES);
  single_lookup(&chain, 4, 1000);
  assert_int_equal(kvi_store_curve(chain.store, 0, &report), KVS_OK);
  assert_int_equal(report.samples, 8);
  assert_int_equal(report.left_out, 1);
  kvi_store_close(chain.store);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_counts),      cmocka_unit_test(test_repeats), cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_interleaved), cmocka_unit_test(test_age),     cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_threads),     cmocka_unit_test(test_store),   cmocka_unit_test(test_single),
      cmocka_unit_test(test_spaces),      cmocka_unit_test(test_long),    cmocka_unit_test(test_more_again),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
