/* What caches of other sizes would have had, against caches made of arrays; and how far a sample of that is off. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "testing.h"

#include "tiers/policy/curve.h"

#define CHUNKS 60u
#define N      700u
#define MIB    (1u << 20)

/* ---- caches made of arrays ---- */

/* By last use: chunks that are there, the one used last first. */
struct model {
  uint32_t order[CHUNKS], n;
  uint64_t room;
  bool known[CHUNKS]; /* has been there, or would have been */
};

static uint64_t sizes[CHUNKS];
static bool stored[CHUNKS];

static uint32_t model_find(const struct model *model, uint64_t chunk)
{
  uint32_t i = 0;

  while (i < model->n && model->order[i] != chunk)
    i++;
  return i;
}

static void model_use(struct model *model, uint32_t chunk)
{
  uint32_t at = model_find(model, chunk);

  if (!stored[chunk] || sizes[chunk] > model->room) /* nobody goes for one that does not fit */
    return;
  model->n += at == model->n;
  memmove(&model->order[1], &model->order[0], at * sizeof(model->order[0]));
  model->order[0] = chunk;
  model->known[chunk] = true;
}

static void model_shrink(struct model *model)
{
  uint64_t used = 0;

  for (uint32_t i = 0; i < model->n; i++)
    used += sizes[model->order[i]];
  while (used > model->room)
    used -= sizes[model->order[--model->n]];
}

static uint32_t end_of(const struct kvi_curve_input *input, uint32_t first)
{
  uint32_t end = first + 1;

  while (end < input->n && input->samples[end].request == input->samples[first].request)
    end++;
  return end;
}

static uint64_t lru_tokens(const struct kvi_curve_input *input, uint64_t room)
{
  struct model model = {.room = room};
  uint64_t tokens = 0;

  for (uint32_t first = 0, end; first < input->n; first = end) {
    const struct kvi_curve_sample *sample = &input->samples[first];
    bool broken = false;

    end = end_of(input, first);
    if (sample->flags & KVI_CURVE_PUT) {
      if (!model.known[sample->chunk])
        model_use(&model, (uint32_t)sample->chunk);
      model_shrink(&model);
      continue;
    }
    for (uint32_t i = first; i < end; i++) {
      bool has = model_find(&model, input->samples[i].chunk) < model.n;

      broken |= !has;
      if (i >= input->from && (input->samples[i].flags & KVI_CURVE_ALONE ? has : !broken))
        tokens += input->samples[i].tokens;
    }
    for (uint32_t i = end; i-- > first;)
      model_use(&model, (uint32_t)input->samples[i].chunk);
    model_shrink(&model);
  }
  return tokens;
}

static uint32_t next_of(const struct kvi_curve_input *input, uint64_t chunk, uint32_t after)
{
  for (uint32_t i = after + 1; i < input->n; i++)
    if (input->samples[i].chunk == chunk && !(input->samples[i].flags & KVI_CURVE_PUT))
      return i;
  return UINT32_MAX;
}

/* Whoever is needed last goes, looked for from end to end. */
static void forget_last(const struct kvi_curve_input *input, bool *has, uint32_t now, uint64_t room)
{
  for (;;) {
    uint32_t last = 0, worst = CHUNKS;
    uint64_t used = 0;

    for (uint32_t i = 0; i < CHUNKS; i++) {
      uint32_t next = has[i] ? next_of(input, i, now) : 0;

      used += has[i] ? sizes[i] : 0;
      if (has[i] && next >= last) {
        last = next;
        worst = i;
      }
    }
    if (used <= room || worst == CHUNKS)
      return;
    has[worst] = false;
  }
}

static uint64_t belady_tokens(const struct kvi_curve_input *input, uint64_t room)
{
  bool has[CHUNKS] = {false}, broken = false;
  uint64_t tokens = 0;

  for (uint32_t i = 0; i < input->n; i++) {
    const struct kvi_curve_sample *sample = &input->samples[i];

    if (i == 0 || input->samples[i - 1].request != sample->request)
      broken = false;
    if (!(sample->flags & KVI_CURVE_PUT)) {
      broken |= !has[sample->chunk];
      if (i >= input->from && (sample->flags & KVI_CURVE_ALONE ? has[sample->chunk] : !broken))
        tokens += sample->tokens;
    }
    /* who is not needed again does not stay */
    has[sample->chunk] = stored[sample->chunk] && sizes[sample->chunk] <= room &&
                         next_of(input, sample->chunk, i) != UINT32_MAX;
    forget_last(input, has, i, room);
  }
  return tokens;
}

/* ---- streams ---- */

/* Chains of a forest in which chunk i follows chunk parent[i] < i, now and then a put, or a chunk that is looked up alone. */
static uint32_t stream_make(uint64_t seed, struct kvi_curve_sample *samples)
{
  uint32_t parent[CHUNKS], chain[CHUNKS], n = 0;
  kvi_rand rng;

  kvi_rand_seed(&rng, seed);
  memset(stored, 0, sizeof(stored));
  for (uint32_t i = 0; i < CHUNKS; i++) {
    parent[i] = i < 4 || kvi_rand_below(&rng, 6) == 0 ? CHUNKS : (uint32_t)kvi_rand_below(&rng, i);
    sizes[i] = (1 + kvi_rand_below(&rng, 3)) * 1000;
  }
  for (uint32_t request = 0; request < 200; request++) {
    uint32_t chunk = (uint32_t)kvi_rand_below(&rng, CHUNKS), length = 0,
             kind = (uint32_t)kvi_rand_below(&rng, 8);

    for (uint32_t at = chunk; at != CHUNKS; at = parent[at])
      chain[length++] = at;
    if (kind < 2)
      length = 1;
    for (uint32_t i = length; i-- > 0 && n < N;) {
      uint32_t flags = kind == 0                                ? KVI_CURVE_PUT
                       : kind == 1                              ? KVI_CURVE_ALONE
                       : kvi_rand_below(&rng, 5) > chain[i] % 3 ? KVI_CURVE_HIT | KVI_CURVE_MEMORY
                                                                : 0;

      samples[n++] = (struct kvi_curve_sample){.chunk = chain[kind < 2 ? 0 : i],
                                               .request = request,
                                               .bytes = (uint32_t)sizes[chain[kind < 2 ? 0 : i]],
                                               .tokens = 16 + chain[i] % 3,
                                               .flags = flags};
      stored[samples[n - 1].chunk] |= flags != 0 && flags != KVI_CURVE_ALONE;
    }
  }
  return n;
}

/* With all chunks in the sample, what is said is what such caches have, to the token. */
static void test_exact(void **state)
{
  static struct kvi_curve_sample samples[N];

  (void)state;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    struct kvi_curve_input input = {
        .samples = samples, .rate = 1, .capacity = 4000 + seed * 1500, .n = stream_make(seed, samples)};
    struct kvi_curve curve;
    uint64_t asked = 0;

    while (input.from < input.n / 2 ||
           (input.from > 0 && samples[input.from].request == samples[input.from - 1].request))
      input.from++;
    for (uint32_t i = input.from; i < input.n; i++)
      asked += samples[i].flags & KVI_CURVE_PUT ? 0 : samples[i].tokens;
    assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_OK);
    assert_int_equal(curve.asked, asked);
    for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
      uint64_t room = (uint64_t)((double)input.capacity * kvi_curve_factors[p]);

      assert_int_equal(llround(curve.points[p].lru * (double)asked), lru_tokens(&input, room));
      assert_int_equal(llround(curve.points[p].belady * (double)asked), belady_tokens(&input, room));
      assert_true(curve.points[p].belady >=
                  curve.points[p].lru - 0.1); /* chunks of several sizes: nearly always */
      assert_true(curve.points[p].lru_error == 0 && curve.points[p].belady_error == 0);
    }
  }
}

/* ---- a sample of a larger stream ---- */

#define LINES 500u
#define LONG  60000u
#define PIECE 16u /* chunks of a prompt that everybody has */

/* Conversations that grow, the popular ones more often; each begins with the same prompt. The cache there is keeps what was used in the last AGE requests. */
#define AGE 150u

static uint32_t long_make(uint64_t seed, struct kvi_curve_sample *samples)
{
  static uint32_t length[LINES], line_of[LINES], used[LINES];
  uint32_t n = 0, next = 0;
  kvi_rand rng;

  kvi_rand_seed(&rng, seed);
  for (uint32_t i = 0; i < LINES; i++) {
    length[i] = 1 + (uint32_t)kvi_rand_below(&rng, 8);
    line_of[i] = next++;
    used[i] = 0;
  }
  for (uint32_t request = AGE; n + PIECE + 64 < LONG; request++) {
    double draw = (double)kvi_rand_below(&rng, 1u << 20) / (1u << 20);
    uint32_t i = (uint32_t)(draw * draw * draw * LINES); /* skewed */
    bool warm = request - used[i] < AGE && used[i] > 0;
    uint32_t had = warm ? PIECE + length[i] : request > AGE ? PIECE : 0;

    if (length[i] > 40) { /* it ends, and another one begins in its place */
      length[i] = 1;
      line_of[i] = next++;
      had = PIECE;
    }
    length[i] += 1 + (uint32_t)kvi_rand_below(&rng, 3);
    for (uint32_t k = 0; k < PIECE + length[i]; k++) {
      uint64_t name = k < PIECE ? k : (uint64_t)(line_of[i] + 1) << 32 | k;
      uint64_t hash = kvi_splitmix64(&name);

      samples[n++] = (struct kvi_curve_sample){.chunk = hash,
                                               .request = request,
                                               .bytes = MIB,
                                               .tokens = 256,
                                               .flags = k < had ? KVI_CURVE_HIT | KVI_CURVE_MEMORY : 0};
    }
    used[i] = request;
  }
  return n;
}

/* All of it is stored: a put of each chunk that was not there would say so, and take a sample each. */
static void all_stored(struct kvi_curve_sample *samples, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    samples[i].flags |= samples[i].flags & KVI_CURVE_HIT ? 0 : KVI_CURVE_HIT;
}

static uint32_t sample_take(const struct kvi_curve_sample *all, const struct kvi_curve_input *whole,
                            uint64_t seed, double rate, struct kvi_curve_sample *samples, uint32_t *from_p)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < whole->n; i++) {
    uint64_t hash = all[i].chunk ^ seed;

    if (i == whole->from)
      *from_p = n;
    if ((double)(kvi_splitmix64(&hash) >> 11) * 0x1p-53 < rate)
      samples[n++] = all[i];
  }
  return n;
}

static void test_sampled(void **state)
{
  static struct kvi_curve_sample all[LONG], samples[LONG];
  const double rates[] = {0.25, 0.0625}, bounds[] = {0.03, 0.07};
  struct kvi_curve_input whole = {.samples = all, .rate = 1, .capacity = (uint64_t)1500 * MIB};
  struct kvi_curve exact;

  (void)state;
  whole.n = long_make(7, all);
  all_stored(all, whole.n);
  for (whole.from = whole.n / 2; all[whole.from].request == all[whole.from - 1].request;)
    whole.from++;
  assert_int_equal(kvi_curve_estimate(&whole, &exact), KVS_OK);
  assert_true(exact.points[0].lru < exact.points[KVI_CURVE_OWN].lru - 0.1); /* there is a curve */
  assert_true(exact.points[KVI_CURVE_OWN].belady > exact.points[KVI_CURVE_OWN].lru + 0.02);
  for (uint32_t r = 0; r < 2; r++)
    for (uint64_t seed = 1; seed <= 12; seed++) {
      struct kvi_curve_input part = {.samples = samples, .rate = rates[r], .capacity = whole.capacity};
      struct kvi_curve curve;

      part.n = sample_take(all, &whole, seed, rates[r], samples, &part.from);
      part.asked = exact.asked;
      part.hit = (uint64_t)llround(exact.hit * (double)exact.asked);
      part.memory = (uint64_t)llround(exact.memory * (double)exact.asked);
      assert_int_equal(kvi_curve_estimate(&part, &curve), KVS_OK);
      assert_true(fabs(curve.memory - exact.memory) < 1e-9);
      for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
        assert_true(fabs(curve.points[p].lru - exact.points[p].lru) < bounds[r]);
        assert_true(fabs(curve.points[p].belady - exact.points[p].belady) < bounds[r]);
        if (p >= KVI_CURVE_OWN) { /* near what the node shows, it is better */
          assert_true(fabs(curve.points[p].lru - exact.points[p].lru) < bounds[r] / 2);
          assert_true(fabs(curve.points[p].belady - exact.points[p].belady) < bounds[r] / 2);
        }
        /* what it says of its own error is of that order */
        assert_true(curve.points[p].lru_error >= 0 && curve.points[p].lru_error < bounds[r]);
        assert_true(fabs(curve.points[p].lru - exact.points[p].lru) < 6 * curve.points[p].lru_error + 0.002);
      }
    }
}

/* Hits that are not in memory: what the node had there says nothing of an LRU, and is not to make it worse. */
static void test_hits_elsewhere(void **state)
{
  static struct kvi_curve_sample all[LONG], samples[LONG];
  struct kvi_curve_input whole = {.samples = all, .rate = 1, .capacity = (uint64_t)1500 * MIB};
  struct kvi_curve exact;
  double lru = 0, belady = 0;

  (void)state;
  whole.n = long_make(7, all);
  all_stored(all, whole.n);
  for (uint32_t i = 0; i < whole.n; i++)
    all[i].flags &= ~(uint32_t)KVI_CURVE_MEMORY;
  for (whole.from = whole.n / 2; all[whole.from].request == all[whole.from - 1].request;)
    whole.from++;
  assert_int_equal(kvi_curve_estimate(&whole, &exact), KVS_OK);
  assert_true(exact.memory == 0);
  for (uint64_t seed = 1; seed <= 24; seed++) {
    struct kvi_curve_input part = {.samples = samples,
                                   .rate = 0.125,
                                   .capacity = whole.capacity,
                                   .asked = exact.asked,
                                   .hit = exact.asked};
    struct kvi_curve curve;

    part.n = sample_take(all, &whole, seed, part.rate, samples, &part.from);
    assert_int_equal(kvi_curve_estimate(&part, &curve), KVS_OK);
    lru += pow(curve.points[KVI_CURVE_OWN].lru - exact.points[KVI_CURVE_OWN].lru, 2) / 24;
    belady += pow(curve.points[KVI_CURVE_OWN].belady - exact.points[KVI_CURVE_OWN].belady, 2) / 24;
  }
  assert_true(sqrt(lru) < 0.03);
  assert_true(sqrt(belady) < 0.03);
}

/* Twelve short chunks that fit, and one that fits no memory up to the size as it is: nothing goes for it. */
static void test_too_long(void **state)
{
  static struct kvi_curve_sample samples[2600];
  struct kvi_curve_input input = {.samples = samples, .n = 2600, .rate = 1, .from = 1300, .capacity = 100};
  struct kvi_curve curve;

  (void)state;
  for (uint32_t i = 0; i < input.n; i++)
    samples[i] = (struct kvi_curve_sample){.chunk = 1 + i % 13,
                                           .request = i,
                                           .bytes = i % 13 == 12 ? 150 : 1,
                                           .tokens = 1,
                                           .flags = KVI_CURVE_HIT | KVI_CURVE_ALONE};
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_OK);
  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
    if (kvi_curve_factors[p] > 1.25) /* it fits, if it is alone */
      break;
    assert_true(fabs(curve.points[p].lru - 12.0 / 13) < 1e-9);
    assert_true(fabs(curve.points[p].belady - 12.0 / 13) < 1e-9);
  }
  assert_true(curve.points[7].lru == 1 && curve.points[7].belady == 1);
}

/* ---- the rest ---- */

static void test_sizes(void **state)
{
  /* The first use of chunk 1 does not know how long it is, its put does; nothing is known of 2 but that it is there; 3 is never stored. */
  const struct kvi_curve_sample samples[] = {{1, 0, 0, 10, 0},
                                             {1, 1, 500, 0, KVI_CURVE_PUT},
                                             {2, 2, 0, 10, KVI_CURVE_HIT},
                                             {3, 3, 0, 10, 0},
                                             {1, 4, 0, 10, KVI_CURVE_HIT | KVI_CURVE_MEMORY},
                                             {3, 5, 0, 10, 0},
                                             {2, 6, 0, 10, KVI_CURVE_HIT}};
  struct kvi_curve_input input = {.samples = samples, .n = 7, .rate = 1, .from = 4, .capacity = 1000};
  struct kvi_curve curve;

  (void)state;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_OK);
  assert_int_equal(curve.uses, 3);
  assert_int_equal(curve.requests, 3);
  assert_int_equal(curve.chunks, 3);
  assert_true(curve.distinct_bytes == 1000);
  assert_true(fabs(curve.hit - 2.0 / 3) < 1e-9);
  assert_true(fabs(curve.memory - 1.0 / 3) < 1e-9);
  assert_true(curve.before == 0); /* 2 was there before, but was seen in the first part */
  assert_true(fabs(curve.points[KVI_CURVE_OWN].lru - 2.0 / 3) < 1e-9);
  assert_true(curve.points[2].lru == 0); /* 500 bytes: the other one pushes it out */
  assert_true(fabs(curve.points[2].belady - 1.0 / 3) < 1e-9);
  input.from = 2;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_OK);
  assert_true(fabs(curve.before - 0.2) < 1e-9);
}

static void test_arguments(void **state)
{
  const struct kvi_curve_sample sample = {1, 1, 1, 1, 0};
  const struct kvi_curve_input good = {.samples = &sample, .n = 1, .rate = 1, .capacity = 1};
  struct kvi_curve_input input = good;
  struct kvi_curve curve;

  (void)state;
  input.n = 0;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_OK);
  assert_true(isnan(curve.points[0].lru) && isnan(curve.memory) && curve.uses == 0);
  input.n = KVI_CURVE_SAMPLES_MAX + 1;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_ERR_INVALID);
  input = good;
  input.rate = 0;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_ERR_INVALID);
  input.rate = NAN;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_ERR_INVALID);
  input.rate = 1.5;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_ERR_INVALID);
  input = good;
  input.from = 2;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_ERR_INVALID);
  input = good;
  input.capacity = 0;
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_ERR_INVALID);
  input = good;
  input.from = 1; /* nothing counts */
  assert_int_equal(kvi_curve_estimate(&input, &curve), KVS_OK);
  assert_true(isnan(curve.points[0].lru));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exact),    cmocka_unit_test(test_sampled), cmocka_unit_test(test_hits_elsewhere),
      cmocka_unit_test(test_too_long), cmocka_unit_test(test_sizes),   cmocka_unit_test(test_arguments),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
