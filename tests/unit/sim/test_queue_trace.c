/* Runs of a trace on the engine of the queueing mode: what becomes of them, against what a hand computes; prompts that begin alike; holds in a tree. */
#include "base/array.h"
#include "made.h"
#include "tests/sim/queue_engine.h"
#include "tests/sim/queue_trace.h"

#define CHUNK TESTING_BLOCK
#define S     KVI_NS_PER_S

static const struct sim_queue_policy_ops *const policies[] = {
    &sim_queue_lru_fcfs,   &sim_queue_lru,       &sim_queue_lru_door,
    &sim_queue_fixed_ttl,  &sim_queue_continuum, &sim_queue_continuum_fcfs,
    &sim_queue_index_open, &sim_queue_index};

struct line {
  double at_s, api_s;
  uint32_t input, output;
  size_t n;
  uint64_t ids[8];
};

/* Requests of the last run. */
static void add(struct sim_trace *trace, const struct line *lines, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    struct sim_error error = {0};
    struct sim_request request = {.at_us = (uint64_t)(lines[i].at_s * 1e6),
                                  .input_tokens = lines[i].input,
                                  .output_tokens = lines[i].output,
                                  .run = trace->n_runs - 1,
                                  .wait = SIM_WAIT_TOOL,
                                  .api_s = lines[i].api_s,
                                  .think_s = -1};

    assert_int_equal(sim_trace_add(trace, &request, CHUNK, lines[i].ids, lines[i].n, &error), KVS_OK);
  }
}

/* Ends the trace. */
static struct sim_queue_work *work_of(struct sim_trace *trace, enum sim_hint_level hints)
{
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  struct sim_queue_work *work;
  struct sim_told *told;

  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  told = sim_hints_create(trace, schedule, hints, 1);
  assert_non_null(told);
  assert_int_equal(sim_queue_work_of_trace(trace, schedule, told, UINT32_MAX, UINT32_MAX, &work, &error),
                   KVS_OK);
  assert_int_equal(work->n_programs, trace->tells_runs ? trace->n_runs : trace->n_requests);
  free(told);
  sim_schedule_destroy(schedule);
  sim_trace_destroy(trace);
  return work;
}

/* A prompt's token takes 1 ms, attention nothing; a step takes 10 ms and 64 tokens of prompts; a token is 1000 bytes. */
static struct sim_queue_machine small_machine(uint32_t pool_chunks)
{
  return (struct sim_queue_machine){.cost = {1e-3, 0},
                                    .step_ns = 10 * KVI_NS_PER_MS,
                                    .step_tokens = 64,
                                    .pool_tokens = pool_chunks * CHUNK,
                                    .lower_tokens = 256 * CHUNK,
                                    .bytes_per_token = 1000};
}

/* Ends the work. */
static struct sim_queue_result run(struct sim_queue_work *work, uint32_t pool_chunks)
{
  struct sim_queue_machine machine = small_machine(pool_chunks);
  struct sim_queue_result result;

  assert_int_equal(sim_queue_run(work, &machine, &sim_queue_lru, &result), KVS_OK);
  sim_queue_work_destroy(work);
  return result;
}

/*
 * The second prompt goes on from the first, 40 tokens, and its answer, 30: of these 70 tokens 4 chunks are whole, 2 of the first prompt and 2 that the second has too. It comes 8 s after an answer that took 2. The third leaves
 * the chain behind its first chunk, and before the second is answered; what it and its answer have behind its 2 chunks nobody has.
 */
static const struct line first[] = {{0, 2, 40, 30, 2, {1, 2}},
                                    {10, 30, 80, 10, 5, {1, 2, 3, 4, 5}},
                                    {20, -1, 40, 20, 2, {1, 7}}},
                         second[] = {{5, -1, 40, 0, 2, {1, 2}}};

static void what_becomes_of_runs(void **state)
{
  static const uint32_t chains[3][5] = {{0, 1, 2, 3}, {0, 1, 2, 3, 4}, {0, 5}};
  static const uint32_t lengths[] = {4, 5, 3};
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_queue_work *work;
  const uint32_t *chain;

  (void)state;
  add(trace, first, KVI_ARRAY_SIZE(first));
  assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
  add(trace, second, KVI_ARRAY_SIZE(second));
  work = work_of(trace, SIM_HINTS_FULL);
  assert_int_equal(work->n_programs, 2);
  assert_int_equal(work->programs[0].n_turns, 3);
  assert_int_equal(work->programs[1].arrives_ns, 5 * S);
  assert_int_equal(work->turns[0].wait_ns, 8 * S);
  assert_int_equal(work->turns[1].wait_ns, 0);
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(sim_queue_work_chain(work, i, &chain), lengths[i]);
    assert_memory_equal(chain, chains[i], (i < 2 ? lengths[i] : 2) * sizeof *chain);
    assert_int_equal(work->turns[i].kind, KVI_WAIT_TOOL);
    assert_int_equal(work->turns[i].is_end_untold, i < 2);
  }
  assert_true(chain[2] > 5);
  assert_int_equal(work->parent[chain[2]], 5);
  assert_int_equal(work->turns[3].output, 1); /* a trace may say 0 */
  sim_queue_work_destroy(work);
}

/* What clients say gets to the turns: nothing; or who it is, and when it will be back, if it will. */
static void what_is_told(void **state)
{
  (void)state;
  for (int is_told = 0; is_told < 2; is_told++) {
    struct sim_trace *trace = testing_trace();
    struct sim_queue_work *work;

    add(trace, first, KVI_ARRAY_SIZE(first));
    work = work_of(trace, is_told ? SIM_HINTS_RANDOM : SIM_HINTS_NONE);
    for (uint32_t i = 0; i < 3; i++) {
      assert_int_equal(work->turns[i].is_unnamed, !is_told);
      assert_int_equal(work->turns[i].name, is_told);
      assert_int_equal(work->turns[i].announced_s > 0, is_told && i < 2);
    }
    sim_queue_work_destroy(work);
  }
}

/* The second prompt begins as the first, and is shorter than that with its answer: the third is what goes on from it. */
static void answers_that_do_not_fit_in(void **state)
{
  static const struct line lines[] = {
      {0, 2, 32, 30, 2, {1, 2}}, {10, 2, 48, 1, 3, {1, 2, 3}}, {20, -1, 64, 1, 4, {1, 2, 5, 6}}};
  struct sim_trace *trace = testing_trace();
  struct sim_queue_work *work;
  const uint32_t *chain;

  (void)state;
  add(trace, lines, KVI_ARRAY_SIZE(lines));
  work = work_of(trace, SIM_HINTS_NONE);
  assert_int_equal(sim_queue_work_chain(work, 0, &chain), 3);
  assert_int_equal(chain[2], 3); /* of the third prompt */
  assert_int_equal(sim_queue_work_chain(work, 2, &chain), 4);
  assert_int_equal(chain[2], 3);
  sim_queue_work_destroy(work);
}

/* One that asks each later request of the run, which of them goes on from that one. */
static const struct sim_request *goes_on(const struct sim_trace *trace, size_t from)
{
  const struct sim_request *request = &trace->requests[from];
  uint32_t whole = sim_trace_whole(trace, request);

  for (size_t i = from + 1; whole > 0 && i < trace->n_requests; i++) {
    const struct sim_request *later = &trace->requests[i];

    if (later->run == request->run && later->n_chunks >= whole &&
        later->input_tokens >= request->input_tokens + request->output_tokens &&
        trace->refs[later->first + whole - 1] == trace->refs[request->first + whole - 1])
      return later;
  }
  return NULL;
}

static void who_goes_on_from_whom(void **state)
{
  uint32_t n_on = 0, n_not = 0;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 17);
  for (uint32_t round = 0; round < 200; round++) {
    struct sim_error error = {0};
    struct model_trace model;
    struct sim_schedule *schedule;
    struct sim_queue_work *work;
    struct sim_trace *trace;
    struct sim_told *told;

    made_chains(&model, &rand);
    trace = made_trace(&model, &rand);
    for (size_t i = 0; i < trace->n_requests; i++)
      trace->requests[i].output_tokens = 1 + (uint32_t)kvi_rand_below(&rand, 60);
    assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
    told = sim_hints_create(trace, schedule, SIM_HINTS_NONE, 1);
    assert_int_equal(sim_queue_work_of_trace(trace, schedule, told, UINT32_MAX, UINT32_MAX, &work, &error),
                     KVS_OK);
    assert_int_equal(work->n_programs, 1);
    for (uint32_t turn = 0; turn < work->n_turns; turn++) {
      const struct sim_request *request = &trace->requests[schedule->events[turn].request];
      const struct sim_request *next = goes_on(trace, schedule->events[turn].request);
      uint32_t whole = sim_trace_whole(trace, request), n;
      const uint32_t *chain;

      n = sim_queue_work_chain(work, turn, &chain);
      n_on += n > whole && next;
      n_not += n > whole && !next;
      for (uint32_t i = whole; i < n; i++)
        if (next && i < sim_trace_whole(trace, next))
          assert_int_equal(chain[i], trace->refs[next->first + i]);
        else
          assert_true(chain[i] >= trace->n_chunks);
    }
    free(told);
    sim_queue_work_destroy(work);
    sim_schedule_destroy(schedule);
    sim_trace_destroy(trace);
  }
  assert_true(n_on > 100 && n_not > 100);
}

/* Of a trace so many programs, for a pool of so many tokens; words: of what refuses it, NULL: nothing does. */
static void asked_of(const struct sim_trace *trace, uint32_t programs, uint32_t pool_tokens,
                     const char *words)
{
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  struct sim_queue_work *work;
  struct sim_told *told;

  assert_int_equal(sim_schedule_create(trace, 1, 1, &schedule, &error), KVS_OK);
  told = sim_hints_create(trace, schedule, SIM_HINTS_NONE, 1);
  assert_int_equal(sim_queue_work_of_trace(trace, schedule, told, programs, pool_tokens, &work, &error),
                   words ? KVS_ERR_TOO_LARGE : KVS_OK);
  if (words)
    assert_non_null(strstr(error.text, words));
  else
    assert_int_equal(work->n_programs, programs);
  sim_queue_work_destroy(work);
  free(told);
  sim_schedule_destroy(schedule);
}

/* What no pool has room for, or no number counts, is refused before there is room for it; by the programs that are asked for alone. */
static void too_much(void **state)
{
  static const struct line small = {0, -1, 40, 2, 2, {1, 2}};
  struct sim_trace *trace = testing_trace();

  (void)state;
  trace->tells_runs = false;
  add(trace, &small, 1);
  for (uint32_t i = 0; i < 130; i++) {
    const struct line large = {1 + i, -1, 16, SIM_TOKENS_MAX, 1, {3}};

    add(trace, &large, 1);
  }
  asked_of(trace, 1, 48, NULL);
  asked_of(trace, 1, 47, "--pool 48 ");
  asked_of(trace, 2, 48, "--pool 268435472 ");
  asked_of(trace, 131, UINT32_MAX, "a larger --chunk");
  sim_trace_destroy(trace);
}

/* The first turn takes 50 ms, with a token, and 29 more; the second has 64 of 80 tokens there, 26 ms and 9 tokens; the third 16 of 40, at once: 34 ms and 19. */
static void a_run_that_leaves_its_chain(void **state)
{
  struct sim_trace *trace = testing_trace();
  struct sim_queue_result result;

  (void)state;
  add(trace, first, KVI_ARRAY_SIZE(first));
  result = run(work_of(trace, SIM_HINTS_NONE), 64);
  testing_near(result.jct_s[0], 0.050 + 0.290 + 8 + 0.026 + 0.090 + 0.034 + 0.190);
  assert_int_equal(result.hit_tokens, 64 + 16);
  assert_int_equal(result.asked_tokens, 160);
  testing_near(result.first_s, 0.040 + 0.010 + 0.024);
  sim_queue_result_free(&result);
}

/* Two that have nothing to do with each other but how they begin: the later one finds 48 tokens, and 16 are new. */
static void prompts_that_begin_alike(void **state)
{
  static const struct line lines[] = {{0, -1, 64, 1, 4, {1, 2, 3, 4}}, {1, -1, 64, 1, 4, {1, 2, 3, 9}}};
  struct sim_trace *trace = testing_trace();
  struct sim_queue_result result;

  (void)state;
  trace->tells_runs = false;
  add(trace, lines, 2);
  result = run(work_of(trace, SIM_HINTS_NONE), 64);
  assert_int_equal(result.programs, 2);
  testing_near(result.jct_s[0], 0.074);
  testing_near(result.jct_s[1], 0.026);
  assert_int_equal(result.hit_tokens, 48);
  testing_near(result.first_s, 0.080);
  sim_queue_result_free(&result);
}

/*
 * A stranger's longer prompt that has all of the first one's is not its answer's continuation: not where no runs are told, nor if it is another run's. Of its 64 tokens 32 are there, and not the 32 that would have been the answer. If the
 * same run goes on so they are.
 */
static void answers_of_strangers(void **state)
{
  static const struct line lines[] = {{0, -1, 32, 32, 2, {1, 2}}, {5, -1, 80, 1, 5, {1, 2, 3, 4, 5}}};

  (void)state;
  for (int told = 0; told < 3; told++) {
    struct sim_trace *trace = testing_trace();
    struct sim_error error = {0};
    struct sim_queue_result result;

    trace->tells_runs = told > 0;
    add(trace, lines, 1);
    if (told == 1)
      assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    add(trace, lines + 1, 1);
    result = run(work_of(trace, SIM_HINTS_NONE), 64);
    assert_int_equal(result.hit_tokens, told < 2 ? 32 : 64);
    sim_queue_result_free(&result);
  }
}

/*
 * Two with the same prompt of 64 tokens, the first with an answer of 100. The second comes when that is under way, and finds 48 tokens; it has to compute one, and what it does not find are whole chunks. Who comes when the first is let
 * in, and not computed, computes all: steps of 64 tokens, one after the other.
 */
static void found_while_the_answer_runs(void **state)
{
  (void)state;
  for (int late = 0; late < 2; late++) {
    const struct line lines[] = {{0, -1, 64, 100, 4, {1, 2, 3, 4}},
                                 {late ? 0.5 : 0, -1, 64, 1, 4, {1, 2, 3, 4}}};
    struct sim_trace *trace = testing_trace();
    struct sim_queue_result result;

    trace->tells_runs = false;
    add(trace, lines, 2);
    result = run(work_of(trace, SIM_HINTS_NONE), 64);
    assert_int_equal(result.hit_tokens, late ? 48 : 0);
    testing_near(result.jct_s[1], late ? 0.010 + 0.016 + 0.004 : 0.148);
    sim_queue_result_free(&result);
  }
}

/* The first one's 4 chunks of 16 kB go for the second a second after its answer. That was for nothing, if nobody has said that it had ended. */
static void ends_that_are_told_or_not(void **state)
{
  static const struct line lines[] = {{0, -1, 64, 1, 4, {1, 2, 3, 4}}, {1.074, -1, 64, 1, 4, {5, 6, 7, 8}}};

  (void)state;
  for (int told = 0; told < 2; told++) {
    struct sim_trace *trace = testing_trace();
    struct sim_error error = {0};
    struct sim_queue_result result;

    add(trace, lines, 1);
    assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    add(trace, lines + 1, 1);
    result = run(work_of(trace, told ? SIM_HINTS_FULL : SIM_HINTS_NONE), 5);
    testing_near(result.never_byte_s, told ? 0 : 4 * 16e3);
    testing_near(result.wasted_byte_s, 0);
    sim_queue_result_free(&result);
  }
}

/*
 * Program 0 has ended, and has said so. 2 has used the same 4 chunks since, and waits; 1 has used 2 others before that, and waits too. For program 3, which needs 5 of 10, one has to go: not of what 2 has, which finds all 4 when it is
 * back, but 1's last one, which it does not come back for.
 */
static void what_somebody_has_used_since(void **state)
{
  static const struct line lines[] = {
      {0, -1, 64, 1, 4, {1, 2, 3, 4}},     {0.5, -1, 32, 1, 2, {7, 8}},
      {20, -1, 48, 1, 3, {7, 30, 31}},     {1, -1, 64, 1, 4, {1, 2, 3, 4}},
      {10, -1, 80, 1, 5, {1, 2, 3, 4, 5}}, {3, -1, 64, 1, 4, {11, 12, 13, 14}}};
  static const size_t runs[] = {1, 2, 2, 1};
  struct sim_trace *trace = testing_trace();
  struct sim_error error = {0};
  struct sim_queue_result result;
  size_t at = 0;

  (void)state;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(runs); at += runs[i++]) {
    if (i > 0)
      assert_int_equal(sim_trace_run(trace, &error), KVS_OK);
    add(trace, lines + at, runs[i]);
  }
  result = run(work_of(trace, SIM_HINTS_FULL), 10);
  assert_int_equal(result.hit_tokens, 48 + 64 + 16);
  sim_queue_result_free(&result);
}

/* Chains that begin alike anyhow, each a request, or all requests of one run: every token is found, loaded or computed, nobody pays less than what is new to all, and it is the same twice. */
static void nothing_is_lost(void **state)
{
  uint64_t hits = 0, loaded = 0;
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 8);
  for (uint32_t round = 0; round < 400; round++) {
    struct model_trace model;
    struct sim_trace *trace;
    struct sim_queue_machine machine = small_machine(MODEL_LENGTH + 2 + (uint32_t)kvi_rand_below(&rand, 30));
    struct sim_queue_work *work;
    uint64_t asked = 0;

    made_chains(&model, &rand);
    trace = made_trace(&model, &rand);
    for (size_t i = 0; i < trace->n_requests; i++)
      trace->requests[i].output_tokens = (uint32_t)kvi_rand_below(&rand, 20);
    trace->tells_runs = round % 2 == 0;
    work = work_of(trace, round % 3 == 0 ? SIM_HINTS_CONTINUES : SIM_HINTS_NONE);
    machine.bandwidth = round % 4 < 2 ? 0 : 1e6;
    machine.lower_tokens = (1 + (uint32_t)kvi_rand_below(&rand, 60)) * CHUNK;
    for (uint32_t i = 0; i < work->n_turns; i++)
      asked += work->turns[i].input;
    for (size_t p = 0; p < KVI_ARRAY_SIZE(policies); p++) {
      struct sim_queue_result results[2];

      for (int k = 0; k < 2; k++)
        assert_int_equal(sim_queue_run(work, &machine, policies[p], &results[k]), KVS_OK);
      assert_int_equal(results[0].asked_tokens, asked);
      assert_int_equal(asked, results[0].hit_tokens + results[0].loaded_tokens + results[0].computed_tokens);
      assert_int_equal(results[0].turns, work->n_turns);
      assert_true(results[0].computed_s >= results[0].first_s - 1e-9);
      for (uint32_t i = 0; i < work->n_programs; i++)
        assert_true(results[0].jct_s[i] > 0 && results[0].jct_s[i] == results[1].jct_s[i]);
      hits += results[0].hit_tokens;
      loaded += results[0].loaded_tokens;
      sim_queue_result_free(&results[0]);
      sim_queue_result_free(&results[1]);
    }
    sim_queue_work_destroy(work);
  }
  assert_true(hits > 100000 && loaded > 10000);
}

/* ---- holds ---- */

struct hold {
  uint32_t program, held;
};

/* Chunks from which a held one goes on, themselves included; each once. */
static uint32_t count_held(const struct sim_queue_work *work, const struct hold *holds, uint32_t n)
{
  bool is_held[MODEL_BLOCKS * 4] = {0};
  uint32_t held = 0;

  for (uint32_t i = 0; i < n; i++)
    for (uint32_t chunk = holds[i].held; chunk != KVI_POLICY_NONE; chunk = work->parent[chunk])
      is_held[chunk] = true;
  for (size_t i = 0; i < KVI_ARRAY_SIZE(is_held); i++)
    held += is_held[i];
  return held;
}

/* Anything is used, held, let go and evicted: what is there is a beginning of each chain, and what is held does not go. */
static void holds_in_a_tree(void **state)
{
  kvi_rand rand;

  (void)state;
  kvi_rand_seed(&rand, 5);
  for (uint32_t round = 0; round < 50; round++) {
    struct model_trace model;
    struct sim_trace *trace;
    struct sim_queue_work *work;
    struct sim_queue_tier tier;
    struct hold holds[16];
    uint32_t turns[MODEL_REQUESTS], n_holds = 0;

    made_chains(&model, &rand);
    trace = made_trace(&model, &rand);
    trace->tells_runs = false;
    work = work_of(trace, SIM_HINTS_NONE);
    for (uint32_t i = 0; i < work->n_programs; i++)
      turns[i] = i;
    assert_int_equal(sim_queue_tier_create(work, turns, &kvi_policy_lru, MODEL_BLOCKS, &tier), KVS_OK);
    for (uint64_t step = 1; step < 500; step++) {
      uint32_t program = (uint32_t)kvi_rand_below(&rand, work->n_programs), victim;
      uint32_t there = sim_queue_tier_there(&tier, program), what = (uint32_t)kvi_rand_below(&rand, 4), n;
      const uint32_t *chain;

      n = sim_queue_work_chain(work, program, &chain);
      if (what == 0) {
        sim_queue_tier_use(&tier, program, n, step * S);
      } else if (what == 1 && there > 0 && n_holds < KVI_ARRAY_SIZE(holds)) {
        holds[n_holds++] = (struct hold){program, sim_queue_tier_hold(&tier, program, there)};
      } else if (what == 2 && n_holds > 0) {
        struct hold *one = &holds[kvi_rand_below(&rand, n_holds)];

        sim_queue_tier_let(&tier, one->program, one->held);
        *one = holds[--n_holds];
      } else {
        victim = sim_queue_tier_victim(&tier, step * S);
        assert_int_equal(victim == KVI_POLICY_NONE, tier.used == tier.held);
        if (victim != KVI_POLICY_NONE) {
          assert_true(sim_queue_tier_may_go(&tier, victim));
          sim_queue_tier_evict(&tier, victim);
        }
      }
      there = sim_queue_tier_there(&tier, program);
      for (uint32_t i = 0; i < n; i++)
        assert_int_equal(tier.chunks[chain[i]].is_there, i < there);
      assert_int_equal(tier.held, count_held(work, holds, n_holds));
    }
    sim_queue_tier_destroy(&tier);
    sim_queue_work_destroy(work);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_becomes_of_runs),
                                     cmocka_unit_test(what_is_told),
                                     cmocka_unit_test(answers_that_do_not_fit_in),
                                     cmocka_unit_test(who_goes_on_from_whom),
                                     cmocka_unit_test(too_much),
                                     cmocka_unit_test(a_run_that_leaves_its_chain),
                                     cmocka_unit_test(prompts_that_begin_alike),
                                     cmocka_unit_test(answers_of_strangers),
                                     cmocka_unit_test(found_while_the_answer_runs),
                                     cmocka_unit_test(ends_that_are_told_or_not),
                                     cmocka_unit_test(what_somebody_has_used_since),
                                     cmocka_unit_test(nothing_is_lost),
                                     cmocka_unit_test(holds_in_a_tree)};

  return cmocka_run_group_tests_name("sim/queue_trace", tests, NULL, NULL);
}
