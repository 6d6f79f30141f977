/* What a replay moves at its tiers, against what a hand counts. */
#include "tests/unit/traces/testing.h"

#include "base/array.h"
#include "made.h"
#include "tests/sim/replay.h"

struct prompt {
  uint64_t at_s;
  size_t n;
  uint64_t ids[8];
};

/* One request each; a trace of which `what` is about. */
static void add_prompts(const struct prompt *prompts, size_t n, struct sim_trace *trace)
{
  for (size_t i = 0; i < n; i++)
    testing_add(trace, prompts[i].at_s * 1000000, prompts[i].ids, prompts[i].n);
}

/* Of `what` all is given but trace and schedule. Ends the trace. */
static struct sim_result replay(struct sim_trace *trace, struct sim_replay what, const char *policy)
{
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  struct sim_result result;

  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  what.trace = trace;
  what.schedule = schedule;
  what.cost = SIM_COST_DEFAULT;
  assert_int_equal(sim_replay_run(&what, sim_policy_find(policy), &result), KVS_OK);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
  return result;
}

static void moves(const struct sim_result *result, enum sim_tier tier, uint64_t found, uint64_t read,
                  uint64_t written)
{
  assert_int_equal(result->moved[tier].found, found);
  assert_int_equal(result->moved[tier].read, read);
  assert_int_equal(result->moved[tier].written, written);
}

/*
 * Room for 4, of which 2 are in memory; heads stay there longest. 1 2 3 is put, and 3 leaves memory; it is asked for again: 3 comes from below, and leaves memory once more. 4 5 is put, for which 3 goes for good, and 1 2 leave memory.
 * Both come back from below.
 */
static const struct prompt few[] = {{0, 3, {1, 2, 3}}, {10, 3, {1, 2, 3}}, {20, 2, {4, 5}}, {30, 2, {1, 2}}};

static void over_a_medium(void **state)
{
  struct sim_replay what = {.capacity = 4, .memory = 2, .load_s = 0.01};
  struct sim_trace *trace = testing_trace();
  struct sim_result result;

  (void)state;
  add_prompts(few, KVI_ARRAY_SIZE(few), trace);
  result = replay(trace, what, "lru");
  assert_int_equal(result.hits, 5);
  assert_int_equal(result.evicted, 1);
  moves(&result, SIM_MEMORY, 2, 2, 5 + 3);
  moves(&result, SIM_SSD, 3, 3, 5);

  what.warm_up = 1;
  trace = testing_trace();
  add_prompts(few, KVI_ARRAY_SIZE(few), trace);
  result = replay(trace, what, "lru");
  moves(&result, SIM_MEMORY, 2, 2, 2 + 3);
  moves(&result, SIM_SSD, 3, 3, 2);
}

/* In memory alone, and with a policy that knows the future, which no tier below is for. */
static void in_memory_alone(void **state)
{
  static const char *const names[] = {"lru", "lru-head", "belady"};

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(names); i++) {
    struct sim_replay what = {.capacity = 5, .memory = i == 0 ? 0 : 2, .load_s = 0.01};
    struct sim_trace *trace = testing_trace();
    struct sim_result result;

    add_prompts(few, KVI_ARRAY_SIZE(few), trace);
    result = replay(trace, what, names[i]);
    moves(&result, SIM_MEMORY, 5, 5, 5);
    moves(&result, SIM_SSD, 0, 0, 0);
  }
}

/*
 * Chunk 3 was used last at 10 s, goes at 20 s, and is needed at 40 s: ten seconds wasted. Never needed again: 5, from 20 s to 40 s, when it goes for 3, and 4, from 20 s to the end. With memory for 2 it is 1 and 2 that were used last at
 * 10 s, leave it at 20 s, and are needed at 30 s, and 4 and 5, which leave it then. What takes 4 s to be answered is kept from then on. What a
 * warm-up of 3 requests kept for nothing until it is over, at 30 s, does not count.
 */
static const struct prompt some[] = {
    {0, 3, {1, 2, 3}}, {10, 3, {1, 2, 3}}, {20, 2, {4, 5}}, {30, 2, {1, 2}}, {40, 3, {1, 2, 3}}};

static void kept_for_nothing(void **state)
{
  static const struct {
    uint32_t memory, warm_up;
    double answer_s, wasted_s, never_s;
  } cases[] = {{0, 0, 0, 10, 40}, {0, 0, 4, 6, 40},  {0, 2, 0, 0, 40},
               {0, 3, 0, 0, 20},  {2, 0, 0, 20, 20}, {2, 0, 4, 12, 20}};

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(cases); i++) {
    struct sim_replay what = {
        .capacity = 4, .memory = cases[i].memory, .load_s = 0.01, .warm_up = cases[i].warm_up};
    struct sim_trace *trace = testing_trace();
    struct sim_result result;

    add_prompts(some, KVI_ARRAY_SIZE(some), trace);
    trace->requests[1].api_s = cases[i].answer_s;
    result = replay(trace, what, "lru");
    testing_near(result.wasted_chunk_s, cases[i].wasted_s);
    testing_near(result.never_chunk_s, cases[i].never_s);
  }
}

/*
 * Room for 4, of which 2 are in memory. 1 2 is put, and its client will be back in 30 s; 3 4, who is back in an hour, takes its place in memory. With a link that looks ahead 1 2 is read from the SSD before it is asked for, 3 4
 * leaves for it, and both are found in memory; without, they are found on the SSD.
 */
static const struct prompt apart[] = {{0, 2, {1, 2}}, {10, 2, {3, 4}}, {30, 2, {1, 2}}};
static const struct sim_told back[] = {
    {1, SIM_WAIT_TOOL, 30, false}, {2, SIM_WAIT_TOOL, 3600, false}, {1, SIM_WAIT_TOOL, 3600, false}};

static void ahead_of_its_use(void **state)
{
  (void)state;
  for (int ahead = 0; ahead < 2; ahead++) {
    struct sim_replay what = {.capacity = 4, .memory = 2, .load_s = 0.01, .ahead = ahead, .told = back};
    struct sim_trace *trace = testing_trace();
    struct sim_result result;

    add_prompts(apart, KVI_ARRAY_SIZE(apart), trace);
    result = replay(trace, what, "index");
    assert_int_equal(result.hits, 2);
    assert_int_equal(result.ahead, ahead ? 2 : 0);
    assert_int_equal(result.ahead_used, ahead ? 2 : 0);
    moves(&result, SIM_MEMORY, ahead ? 2 : 0, ahead ? 2 : 0, 4 + 2);
    moves(&result, SIM_SSD, ahead ? 0 : 2, 2, 4);
  }
}

/*
 * Room for 1, over Redis. 2 is put, whose client is away for hours, then 1, which is back each 2 s and found 4 times. 2 comes from Redis, into memory though 1 is worth more, and is found there twice; 1 comes from Redis
 * after that. What a warm-up put, and found, does not count.
 */
static const struct prompt both[] = {{0, 1, {2}},    {1000, 1, {1}}, {1002, 1, {1}}, {1004, 1, {1}},
                                     {1006, 1, {1}}, {1008, 1, {1}}, {1009, 1, {2}}, {1009, 1, {2}},
                                     {1009, 1, {2}}, {1010, 1, {1}}};
#define SOON                                                                                                 \
  {                                                                                                          \
    1, SIM_WAIT_TOOL, 2, false                                                                               \
  }
#define LATE                                                                                                 \
  {                                                                                                          \
    2, SIM_WAIT_HUMAN, 36000, false                                                                          \
  }
static const struct sim_told both_told[] = {LATE, SOON, SOON, SOON, SOON, SOON, LATE, LATE, LATE, SOON};

static void what_redis_has_is_not_weighed(void **state)
{
  static const struct {
    uint32_t warm_up;
    uint64_t in_memory, put, in_redis, to_redis;
  } cases[] = {{0, 6, 4, 2, 2}, {1, 6, 3, 2, 1}, {2, 6, 2, 2, 0}, {7, 2, 1, 1, 0}};

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(cases); i++) {
    struct sim_replay what = {.capacity = 1, .shared = 4, .warm_up = cases[i].warm_up, .told = both_told};
    struct sim_trace *trace = testing_trace();
    struct sim_result result;

    add_prompts(both, KVI_ARRAY_SIZE(both), trace);
    result = replay(trace, what, "index");
    assert_int_equal(result.hits, cases[i].in_memory + cases[i].in_redis);
    moves(&result, SIM_MEMORY, cases[i].in_memory, cases[i].in_memory, cases[i].put);
    moves(&result, SIM_REDIS, cases[i].in_redis, cases[i].in_redis, cases[i].to_redis);
  }
}

/* ---- three tiers, against a model ---- */

struct model_tiers {
  struct model_cache memory, ssd, redis;
  int in_memory, in_ssd, in_redis; /* rooms */
  uint64_t found[SIM_TIERS], came, put, to_redis;
};

/* To the end of the order. Was it there? */
static bool use(struct model_cache *cache, const char *block)
{
  int at = model_find(cache, block);

  if (at >= 0)
    model_remove(cache, at);
  model_append(cache, block, 0);
  return at >= 0;
}

/* The oldest that is not of this chain leaves the SSD, and memory. */
static bool make_room(struct model_tiers *tiers, const char *chain)
{
  for (int i = 0; i < tiers->ssd.n; i++)
    if (!model_is_prefix(tiers->ssd.block[i], chain)) {
      int at = model_find(&tiers->memory, tiers->ssd.block[i]);

      if (at >= 0)
        model_remove(&tiers->memory, at);
      model_remove(&tiers->ssd, i);
      return true;
    }
  return false;
}

static int model_use(struct model_tiers *tiers, const char *chain)
{
  int n = (int)strlen(chain), hits = 0, found, end = n;
  char block[MODEL_LENGTH + 1];

  while (hits < n && model_find(&tiers->ssd, model_prefix(chain, hits + 1, block)) >= 0)
    hits++;
  found = hits;
  while (found < n && model_find(&tiers->redis, model_prefix(chain, found + 1, block)) >= 0) {
    use(&tiers->redis, block);
    found++;
  }
  tiers->found[SIM_REDIS] += (uint64_t)(found - hits);
  while (end > hits && tiers->in_ssd - tiers->ssd.n < end - hits)
    if (!make_room(tiers, chain))
      end--;
  for (int i = end; i-- > 0;) {
    tiers->put += !use(&tiers->ssd, model_prefix(chain, i + 1, block));
    if (use(&tiers->memory, block))
      tiers->found[SIM_MEMORY]++;
    else {
      tiers->came++;
      tiers->found[SIM_SSD] += i < hits;
    }
  }
  while (tiers->memory.n > tiers->in_memory)
    model_remove(&tiers->memory, 0);
  for (int i = found; i < end; i++)
    if (!use(&tiers->redis, model_prefix(chain, i + 1, block))) {
      tiers->to_redis++;
      if (tiers->redis.n > tiers->in_redis)
        model_remove(&tiers->redis, 0);
    }
  return found;
}

/* What a warm-up moved does not count. */
static void forget(struct model_tiers *tiers)
{
  memset(tiers->found, 0, sizeof tiers->found);
  tiers->came = tiers->put = tiers->to_redis = 0;
}

static void three_tiers(void **state)
{
  uint64_t found[SIM_TIERS] = {0};
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 11);
  for (uint32_t round = 0; round < 1000; round++) {
    static struct model_tiers tiers;
    struct model_trace model;
    struct sim_trace *trace;
    struct sim_replay what = {.load_s = 0.01};
    struct sim_result result;
    uint64_t hits = 0;

    memset(&tiers, 0, sizeof tiers);
    tiers.in_ssd = 1 + (int)kvi_rand_below(&rand, 40);
    tiers.in_memory = 1 + (int)kvi_rand_below(&rand, (uint64_t)tiers.in_ssd);
    tiers.in_redis = 1 + (int)kvi_rand_below(&rand, 60);
    what.capacity = (uint32_t)tiers.in_ssd;
    what.memory = (uint32_t)tiers.in_memory;
    what.shared = (uint32_t)tiers.in_redis;
    made_chains(&model, &rand);
    trace = made_trace(&model, &rand);
    what.warm_up = round % 2 ? (uint32_t)kvi_rand_below(&rand, (uint64_t)model.n) : 0;
    for (int i = 0; i < model.n; i++) {
      uint64_t more;

      if (i == (int)what.warm_up)
        forget(&tiers);
      more = (uint64_t)model_use(&tiers, model.chain[i]);
      hits += i >= (int)what.warm_up ? more : 0;
    }
    result = replay(trace, what, "lru");
    assert_int_equal(result.hits, hits);
    assert_int_equal(result.inserted, tiers.put);
    moves(&result, SIM_MEMORY, tiers.found[SIM_MEMORY], tiers.found[SIM_MEMORY], tiers.came);
    moves(&result, SIM_SSD, tiers.found[SIM_SSD], tiers.found[SIM_SSD], tiers.put);
    moves(&result, SIM_REDIS, tiers.found[SIM_REDIS], tiers.found[SIM_REDIS], tiers.to_redis);
    for (size_t t = 0; t < SIM_TIERS; t++)
      found[t] += tiers.found[t];
  }
  for (size_t t = 0; t < SIM_TIERS; t++)
    assert_true(found[t] > 1000);
}

/*
 * Memory for 2, and Redis for 2 below it, which drops what was read or written there first: 1 2 is put, then 3 4, for which 1 2 go from both. 1 2 is put again; of 3 4 both are in Redis no more. With room for 4 all is found there.
 */
static const struct prompt turns[] = {{0, 2, {1, 2}}, {10, 2, {3, 4}}, {20, 2, {1, 2}}, {30, 2, {3, 4}}};

static void memory_over_redis(void **state)
{
  (void)state;
  for (uint32_t room = 2; room <= 4; room += 2) {
    struct sim_replay what = {.capacity = 2, .shared = room};
    struct sim_trace *trace = testing_trace();
    struct sim_result result;

    add_prompts(turns, KVI_ARRAY_SIZE(turns), trace);
    result = replay(trace, what, "lru");
    assert_int_equal(result.hits, room == 2 ? 0 : 4);
    moves(&result, SIM_MEMORY, 0, 0, 8);
    moves(&result, SIM_SSD, 0, 0, 0);
    moves(&result, SIM_REDIS, result.hits, result.hits, room == 2 ? 8 : 4);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(over_a_medium),
                                     cmocka_unit_test(in_memory_alone),
                                     cmocka_unit_test(kept_for_nothing),
                                     cmocka_unit_test(ahead_of_its_use),
                                     cmocka_unit_test(what_redis_has_is_not_weighed),
                                     cmocka_unit_test(three_tiers),
                                     cmocka_unit_test(memory_over_redis)};

  return cmocka_run_group_tests_name("sim/tiers", tests, NULL, NULL);
}
