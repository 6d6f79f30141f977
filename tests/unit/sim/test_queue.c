/* The engine of the queueing mode against what a hand can compute; orders of link and queue; nothing is lost or twice; seeds. */
#include <math.h>

#include "tests/unit/traces/testing.h"

#include "tests/sim/queue_engine.h"

#define CHUNK   16u
#define MS      KVI_NS_PER_MS
#define STEP_MS 10

/* A prompt's token takes 1 ms, attention nothing; a step takes 10 ms and 64 tokens of prompts; a token is 1000 bytes. */
static struct sim_queue_machine small_machine(void)
{
  return (struct sim_queue_machine){.cost = {1e-3, 0},
                                    .step_ns = STEP_MS * MS,
                                    .step_tokens = 64,
                                    .pool_tokens = 64 * CHUNK,
                                    .lower_tokens = 256 * CHUNK,
                                    .bytes_per_token = 1000};
}

static struct sim_queue_work *no_work(void)
{
  struct sim_queue_work *work;

  assert_int_equal(sim_queue_work_create(CHUNK, &work), KVS_OK);
  return work;
}

static void add_program(struct sim_queue_work *work, uint64_t arrives_ms)
{
  assert_int_equal(sim_queue_work_program(work, arrives_ms * MS), KVS_OK);
}

static void add_turn(struct sim_queue_work *work, uint32_t input, uint32_t output, uint64_t wait_ms)
{
  struct sim_queue_turn turn = {
      .input = input, .output = output, .kind = KVI_WAIT_TOOL, .tool = 1, .wait_ns = wait_ms * MS};

  assert_int_equal(sim_queue_work_turn(work, &turn), KVS_OK);
}

/* Ends the work. */
static struct sim_queue_result run(struct sim_queue_work *work, const struct sim_queue_machine *machine,
                                   const struct sim_queue_policy_ops *policy)
{
  struct sim_queue_result result;

  assert_int_equal(sim_queue_work_done(work), KVS_OK);
  assert_int_equal(sim_queue_run(work, machine, policy, &result), KVS_OK);
  assert_int_equal(result.asked_tokens, result.hit_tokens + result.loaded_tokens + result.computed_tokens);
  sim_queue_work_destroy(work);
  return result;
}
static const struct sim_queue_policy_ops *const policies[] = {
    &sim_queue_lru_fcfs,   &sim_queue_lru,       &sim_queue_lru_door,
    &sim_queue_fixed_ttl,  &sim_queue_continuum, &sim_queue_continuum_fcfs,
    &sim_queue_index_open, &sim_queue_index};
#define POLICIES (sizeof policies / sizeof policies[0])

/*
 * One program, nobody else. First turn: 100 tokens in steps of 64 and 36, 10 + 64 and 10 + 36 ms, the first token of the answer in the second; 4 more tokens, 40 ms. The tool takes 500 ms. Second turn: of the
 * 105 tokens 6 whole chunks are there, 96 tokens; 150 - 96 = 54 in one step of 64 ms, with a token, and 1 more token.
 */
static void alone(void **state)
{
  (void)state;
  for (size_t i = 0; i < POLICIES; i++) {
    struct sim_queue_machine machine = small_machine();
    struct sim_queue_work *work = no_work();
    struct sim_queue_result result;

    add_program(work, 1000);
    add_turn(work, 100, 5, 500);
    add_turn(work, 150, 2, 0);
    result = run(work, &machine, policies[i]);
    testing_near(result.jct_s[0], (74 + 46 + 40 + 500 + 64 + 10) / 1e3);
    assert_int_equal(result.asked_tokens, 250);
    assert_int_equal(result.hit_tokens, 96);
    assert_int_equal(result.answered_tokens, 7);
    testing_near(result.computed_s, 0.154);
    testing_near(result.first_s, 0.145);
    testing_near(result.busy_s, 0.234);
    testing_near(result.wasted_byte_s, 0);
    sim_queue_result_free(&result);
  }
}

/* Attention is quadratic: n tokens take 1 ms each, and 1 us for each pair of them. In parts it is the same. */
static void attention(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_work *work = no_work();
  struct sim_queue_result result;

  (void)state;
  machine.cost.beta = 1e-6;
  add_program(work, 0);
  add_turn(work, 128, 1, 0);
  result = run(work, &machine, &sim_queue_lru);
  testing_near(result.jct_s[0], 2 * 0.010 + 0.128 + 128 * 128e-6);
  sim_queue_result_free(&result);
}

/* Both at once: 64 tokens a step are shared, first come first, and answers go on beside them. */
static void a_batch_shares_steps(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_work *work = no_work();
  struct sim_queue_result result;

  (void)state;
  add_program(work, 0);
  add_turn(work, 40, 3, 0);
  add_program(work, 0);
  add_turn(work, 60, 1, 0);
  result = run(work, &machine, &sim_queue_lru);
  /* 40 + 24; 36 of the second, with a token of the first; a token of the first */
  testing_near(result.jct_s[1], 0.074 + 0.046);
  testing_near(result.jct_s[0], 0.074 + 0.046 + 0.010);
  sim_queue_result_free(&result);
}

/* The pool has room for one of them; the second is let in when the first has ended. */
static void who_does_not_fit_waits(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_work *work = no_work();
  struct sim_queue_result result;

  (void)state;
  machine.pool_tokens = 8 * CHUNK;
  for (uint64_t i = 0; i < 2; i++) {
    add_program(work, i);
    add_turn(work, 64, 2, 0);
  }
  result = run(work, &machine, &sim_queue_lru);
  testing_near(result.jct_s[0], 0.084);
  testing_near(result.jct_s[1], 0.083 + 0.084);
  sim_queue_result_free(&result);
}

/* A transfer begins when those before it are over. */
static void a_link_is_first_in_first_out(void **state)
{
  struct sim_queue_link link = {.bytes_per_s = 1000};

  (void)state;
  testing_near(sim_queue_link_would_take_s(&link, 500, 100 * MS), 0.5);
  assert_int_equal(sim_queue_link_take(&link, 500, 100 * MS), 600 * MS);
  testing_near(sim_queue_link_would_take_s(&link, 100, 200 * MS), 0.5);
  assert_int_equal(sim_queue_link_take(&link, 100, 200 * MS), 700 * MS);
  assert_int_equal(sim_queue_link_take(&link, 100, 1000 * MS), 1100 * MS);
  assert_int_equal(link.busy_ns, 700 * MS);
}

/*
 * Programs 0 and 1 come back at the same time to a pool that program 2 has emptied of them, since it takes all of it until then. 64 tokens of each are below, 64 kB; the
 * link brings 640 kB/s. So the one has them after 100 ms, the other after 200.
 */
static struct sim_queue_work *two_on_a_link(void)
{
  struct sim_queue_work *work = no_work();

  for (uint64_t i = 0; i < 2; i++) {
    add_program(work, 0);
    add_turn(work, 64, 1, 0);
    add_turn(work, 80, 1, 0);
  }
  add_program(work, 100);
  add_turn(work, 191, 1, 0);
  work->turns[0].wait_ns = 1000 * MS;
  work->turns[2].wait_ns = 926 * MS; /* it is answered 74 ms later */
  return work;
}

static void two_on_one_link(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_result result;

  (void)state;
  machine.pool_tokens = 12 * CHUNK;
  machine.bandwidth = 640e3;
  result = run(two_on_a_link(), &machine, &sim_queue_lru);
  /* 1.074 s: both are back, 0.1 s on the link, 16 more tokens: 26 ms. */
  assert_int_equal(result.loaded_tokens, 128);
  testing_near(result.jct_s[0], 1.074 + 0.1 + 0.026);
  testing_near(result.jct_s[1], 1.074 + 0.2 + 0.026);
  testing_near(result.link_busy_s, 0.2);
  assert_int_equal(result.stored_tokens, 64 + 64 + 192 + 16 + 16);
  /* 8 chunks of 16 kB each; those of program 0 waited from 74 ms on, of program 1 from 148, until program 2 took them at 148 */
  testing_near(result.wasted_byte_s, 4 * 16e3 * 0.074);
  sim_queue_result_free(&result);
}

/* The same: 64 ms to compute it are less than 100 on the link. */
static void what_is_cheaper_is_computed(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_result result;

  (void)state;
  machine.pool_tokens = 12 * CHUNK;
  machine.bandwidth = 640e3;
  machine.is_load_weighed = true;
  result = run(two_on_a_link(), &machine, &sim_queue_lru);
  assert_int_equal(result.loaded_tokens, 0);
  assert_int_equal(result.computed_tokens, 64 + 80 + 64 + 80 + 191);
  sim_queue_result_free(&result);
}

/*
 * Program 0 is away from 74 ms to 274, with 4 chunks; program 1 runs with 7; program 2 comes at 80 ms and needs 10.
 */
static struct sim_queue_work *one_away(void)
{
  struct sim_queue_work *work = no_work();

  add_program(work, 0);
  add_turn(work, 64, 1, 200);
  add_turn(work, 80, 1, 0);
  add_program(work, 0);
  add_turn(work, 4, 100, 0);
  add_program(work, 80);
  add_turn(work, 150, 10, 0);
  return work;
}

/* Of 18 chunks 7 are free: 2 takes 3 of program 0's, and all is taken when that is back, until 2 has ended at 358 ms; then 64 tokens of 80 are computed again. */
static void last_use_gives_what_is_asked_for(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_result result;

  (void)state;
  machine.pool_tokens = 18 * CHUNK;
  result = run(one_away(), &machine, &sim_queue_lru);
  assert_int_equal(result.hit_tokens, 16);
  testing_near(result.jct_s[2], 0.358 - 0.080);
  testing_near(result.jct_s[0], 0.358 + 0.074);
  testing_near(result.wasted_byte_s, 3 * 16e3 * (0.088 - 0.074));
  sim_queue_result_free(&result);
}

/* Program 2 is not let in before program 0 has ended, at 304 ms: it is back at 274, and the step until 278 and 16 tokens are between. */
static void pins_keep_others_out(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_result result;

  (void)state;
  machine.pool_tokens = 18 * CHUNK;
  result = run(one_away(), &machine, &sim_queue_fixed_ttl);
  assert_int_equal(result.hit_tokens, 64);
  testing_near(result.jct_s[0], 0.278 + 0.026);
  testing_near(result.jct_s[2], 0.304 + 0.074 + 0.074 + 0.032 + 0.090 - 0.080);
  testing_near(result.jct_s[1], 0.484 + 0.760);
  testing_near(result.wasted_byte_s, 0);
  sim_queue_result_free(&result);
}

/* As before, but program 0 stays away for 3 s, and its pin ends 2 s after 74 ms; program 1 answers until after that. The step is over at 2.078. */
static void pins_end(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_work *work = one_away();
  struct sim_queue_result result;

  (void)state;
  work->turns[0].wait_ns = 3000 * MS;
  work->turns[2].output = 300; /* 19 chunks with its prompt, in a pool of 30 */
  machine.pool_tokens = 30 * CHUNK;
  result = run(work, &machine, &sim_queue_fixed_ttl);
  assert_int_equal(result.hit_tokens, 16);
  testing_near(result.jct_s[2], 2.078 + 0.074 + 0.074 + 0.032 + 0.090 - 0.080);
  sim_queue_result_free(&result);
}

/* Nothing runs, and who is first does not fit beside what is pinned: the pin is broken. */
static void pins_are_broken_where_nothing_runs(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_work *work = no_work();
  struct sim_queue_result result;

  (void)state;
  machine.pool_tokens = 12 * CHUNK;
  add_program(work, 0);
  add_turn(work, 64, 1, 1000);
  add_turn(work, 80, 1, 0);
  add_program(work, 10);
  add_turn(work, 150, 10, 0);
  result = run(work, &machine, &sim_queue_fixed_ttl);
  assert_int_equal(result.hit_tokens, 32); /* 2 of its 4 chunks went */
  testing_near(result.jct_s[1], 0.074 + 0.074 + 0.074 + 0.032 + 0.090 - 0.010);
  sim_queue_result_free(&result);
}

/* To compute the fourth chunk takes 16 ms and 256 * (16 - 9) us. From below four take 20 ms, and who came before 60: it has a fourth of these. */
static void what_losing_costs(void **state)
{
  uint32_t depth[] = {0, 1, 2, 3};
  struct sim_queue_chunk below[] = {
      {.is_there = true}, {.is_there = true}, {.is_there = true}, {.is_there = true}};
  struct sim_queue_work work = {.chunk_tokens = CHUNK, .depth = depth};
  struct sim_queue_pool pool = {.work = &work,
                                .cost = {1e-3, 1e-6},
                                .bytes_per_chunk = 16e3,
                                .link = {.bytes_per_s = 3200e3, .free_ns = 160 * MS},
                                .link_weight = 2};

  (void)state;
  pool.lower.chunks = below;
  testing_near(sim_queue_pool_loss_s(&pool, 3, 100 * MS), 0.016 + 256e-6 * (16 - 9));
  pool.lower.capacity = 10;
  pool.link_weight = 0.5;
  testing_near(sim_queue_pool_loss_s(&pool, 3, 100 * MS), 0.5 * (0.060 + 0.020) / 4);
  pool.link_weight = 2;
  testing_near(sim_queue_pool_loss_s(&pool, 3, 100 * MS), 0.016 + 256e-6 * (16 - 9)); /* 40 ms are more */
  testing_near(sim_queue_pool_loss_s(&pool, 3, 200 * MS), 2 * 0.020 / 4);
  below[3].is_there = false;
  testing_near(sim_queue_pool_loss_s(&pool, 3, 200 * MS), 0.016 + 256e-6 * (16 - 9));
}

/* As with the pins: 7 chunks are free, and 10 are asked for. What takes milliseconds to compute goes for whoever waits; what takes seconds stays until it is used, if there is a door. */
static void a_door_weighs_who_waits(void **state)
{
  static const struct sim_queue_policy_ops *const ops[] = {&sim_queue_index, &sim_queue_lru_door,
                                                           &sim_queue_index_open, &sim_queue_lru};

  (void)state;
  for (int i = 0; i < 8; i++) {
    const struct sim_queue_policy_ops *policy = ops[i / 2];
    bool is_dear = i % 2 == 1;
    struct sim_queue_machine machine = small_machine();
    struct sim_queue_work *work = no_work();
    struct sim_queue_result result;

    machine.cost.alpha = is_dear ? 0.5 : 1e-5;
    machine.step_tokens = 68; /* both prompts in one */
    machine.pool_tokens = (63 + 4 + 7) * CHUNK;
    add_program(work, 0);
    add_turn(work, 64, 1, 300);
    add_turn(work, 80, 1, 0);
    add_program(work, 0);
    add_turn(work, 4, 1000, 0);
    add_program(work, is_dear ? 34015 : 15);
    add_turn(work, 150, 10, 0);
    result = run(work, &machine, policy);
    assert_int_equal(result.hit_tokens, is_dear && policy->price ? 64 : 16);
    sim_queue_result_free(&result);
  }
}

/* Of 14 chunks 4 are left of program 0, which is away, and 4 of program 1, which was used later and has ended. Program 2 needs 4 of them. */
static void what_has_ended_goes_first(void **state)
{
  (void)state;
  for (size_t i = 0; i < POLICIES; i++) {
    struct sim_queue_machine machine = small_machine();
    struct sim_queue_work *work = no_work();
    struct sim_queue_result result;

    machine.pool_tokens = 14 * CHUNK;
    add_program(work, 0);
    add_turn(work, 64, 1, 1000);
    add_turn(work, 80, 1, 0);
    add_program(work, 100);
    add_turn(work, 64, 1, 0);
    add_program(work, 200);
    add_turn(work, 150, 10, 0);
    result = run(work, &machine, policies[i]);
    assert_int_equal(result.hit_tokens, policies[i]->by_request ? 0 : 64);
    sim_queue_result_free(&result);
  }
}

/*
 * Of 18 chunks 4 are program 0's, 4 program 1's, and 8 run, until after the others are back. Program 1 is back first, and is to have 12, for which all that may go is too little. Program 0 needs 6 more than it has: 2
 * are free, and 4 are those of program 1, which stay, unless whoever came first may take from who came later: at a door if a link brings them soon.
 */
static void who_waits_keeps_its_context(void **state)
{
  (void)state;
  for (size_t k = 0; k < 3 * POLICIES; k++) {
    static const double bandwidths[] = {0, 10e3, 1e9};
    const struct sim_queue_policy_ops *policy = policies[k % POLICIES];
    double bandwidth = bandwidths[k / POLICIES];
    bool gives_way = policy->breaks_later || (policy->price && bandwidth >= 1e9);
    struct sim_queue_machine machine = small_machine();
    struct sim_queue_work *work = no_work();
    struct sim_queue_result result;

    machine.pool_tokens = 18 * CHUNK;
    machine.bandwidth = bandwidth;
    machine.give_way_s = 1;
    add_program(work, 0);
    add_turn(work, 64, 1, 500);
    add_turn(work, 150, 10, 0);
    add_program(work, 100);
    add_turn(work, 64, 1, 300);
    add_turn(work, 190, 1, 0);
    add_program(work, 200);
    add_turn(work, 4, 120, 0);
    result = run(work, &machine, policy);
    if (!policy->by_request)
      assert_int_equal(result.hit_tokens, gives_way ? 64 : 128);
    assert_true(!gives_way || result.jct_s[0] < 1);
    sim_queue_result_free(&result);
  }
}

/*
 * All three are in one step. Then program 1 is away for 300 ms, with 4 chunks that take seconds to compute, program 2 answers, and program 0 is back after 15 ms and needs 10, of which 7 are free. It came first, and what it
 * takes is below: the link brings 10 chunks in 160 ms.
 */
static void a_door_gives_way_to_who_came_first(void **state)
{
  static const struct sim_queue_policy_ops *const ops[] = {&sim_queue_index, &sim_queue_lru_door};
  static const double give_way_s[] = {0, 0.155, 0.165};

  (void)state;
  for (size_t i = 0; i < 6; i++) {
    struct sim_queue_machine machine = small_machine();
    struct sim_queue_work *work = no_work();
    struct sim_queue_result result;

    machine.cost.alpha = 0.5;
    machine.step_tokens = 72;
    machine.bandwidth = 1e6;
    machine.link_weight = 1e6;
    machine.give_way_s = give_way_s[i / 2];
    machine.pool_tokens = (63 + 4 + 7) * CHUNK;
    add_program(work, 0);
    add_turn(work, 4, 1, 15);
    add_turn(work, 150, 10, 0);
    add_program(work, 0);
    add_turn(work, 64, 1, 300);
    add_turn(work, 80, 1, 0);
    add_program(work, 0);
    add_turn(work, 4, 1000, 0);
    result = run(work, &machine, ops[i % 2]);
    assert_int_equal(result.hit_tokens, i < 4 ? 64 : 16);
    assert_int_equal(result.loaded_tokens, i < 4 ? 0 : 48);
    sim_queue_result_free(&result);
  }
}
static void too_large(void **state)
{
  struct sim_queue_machine machine = small_machine();
  struct sim_queue_work *work = no_work();
  struct sim_queue_result result;

  (void)state;
  add_program(work, 0);
  add_turn(work, 64 * CHUNK, 1, 0);
  assert_int_equal(sim_queue_work_done(work), KVS_OK);
  assert_int_equal(sim_queue_run(work, &machine, &sim_queue_lru, &result), KVS_ERR_TOO_LARGE);
  assert_null(result.jct_s);
  sim_queue_work_destroy(work);
}
int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(alone),
                                     cmocka_unit_test(attention),
                                     cmocka_unit_test(a_batch_shares_steps),
                                     cmocka_unit_test(who_does_not_fit_waits),
                                     cmocka_unit_test(a_link_is_first_in_first_out),
                                     cmocka_unit_test(two_on_one_link),
                                     cmocka_unit_test(what_is_cheaper_is_computed),
                                     cmocka_unit_test(last_use_gives_what_is_asked_for),
                                     cmocka_unit_test(pins_keep_others_out),
                                     cmocka_unit_test(pins_end),
                                     cmocka_unit_test(pins_are_broken_where_nothing_runs),
                                     cmocka_unit_test(what_losing_costs),
                                     cmocka_unit_test(a_door_weighs_who_waits),
                                     cmocka_unit_test(what_has_ended_goes_first),
                                     cmocka_unit_test(who_waits_keeps_its_context),
                                     cmocka_unit_test(a_door_gives_way_to_who_came_first),
                                     cmocka_unit_test(too_large)};

  return cmocka_run_group_tests_name("sim/queue", tests, NULL, NULL);
}
