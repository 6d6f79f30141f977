/*
 * tests/sim/queue_made.c: programs that are made up, with the moments that others have published of theirs.
 *
 * light: Continuum's SWE-Bench runs: 10.9 +- 2.1 turns, 70,126 +- 19,732 tokens a program, tools of 0.90 +- 3.4 s. heavy: tools as TraceLab has seen them (median 0.3 s, p90
 * 15 s, p99 290 s; 4 % of the calls take more than a minute, and 81 % of the time); turns with a long tail; tokens as of Continuum's web searches, 93,000 +- 69,000, but those above
 * 200,000 are 200,000, which leaves 88,000 +- 51,000.
 */
#include "base/array.h"
#include "base/clock.h"
#include "client/traces/draw.h"
#include "tests/sim/queue_work.h"

#define TOOLS_MAX     4u
#define ANSWER_MEDIAN 300.0 /* tokens */
#define ANSWER_SIGMA  0.7
#define ANSWER_MOST   4000.0
#define FIRST_PART    0.2  /* of what is neither answers nor PROMPT_LEAST, in the first prompt */
#define PROMPT_LEAST  64.0 /* tokens that are new in a prompt */
#define TURNS_MOST    120u
#define SALT          UINT64_C(0x5851F42D4C957F2D)

struct tool {
  double share, median_s, sigma;
};

struct kind {
  double rate; /* programs a second at load 1 */
  bool turns_lognormal;
  double turns, turns_spread, turns_least, turns_most;
  bool tokens_lognormal;
  double tokens, tokens_spread, tokens_least, tokens_most;
  struct tool tools[TOOLS_MAX];
  double tool_most_s;
};

static const struct kind kinds[] = {
    {.rate = 0.10,
     .turns = 10.9,
     .turns_spread = 2.1,
     .turns_least = 2,
     .turns_most = 30,
     .tokens = 70126,
     .tokens_spread = 19732,
     .tokens_least = 8000,
     .tokens_most = 180000,
     .tools = {{0.50, 0.12, 0.6}, {0.25, 0.25, 0.8}, {0.20, 0.8, 1.3}, {0.05, 4.0, 1.1}},
     .tool_most_s = 300},
    {.rate = 0.06,
     .turns_lognormal = true,
     .turns = 18, /* medians, and spreads of the logarithm */
     .turns_spread = 0.7,
     .turns_least = 2,
     .turns_most = TURNS_MOST,
     .tokens_lognormal = true,
     .tokens = 75000,
     .tokens_spread = 0.66,
     .tokens_least = 8000,
     .tokens_most = 200000,
     .tools = {{0.22, 0.036, 1.0}, {0.10, 0.095, 1.0}, {0.60, 0.8, 2.2}, {0.08, 22.0, 2.0}},
     .tool_most_s = 7200}};

const char *const sim_queue_tails_names[] = {"light", "heavy"};

double sim_queue_rate(enum sim_queue_tails tails)
{
  return kinds[tails].rate;
}

static double within(double value, double least, double most)
{
  return value < least ? least : value > most ? most : value;
}

static double draw(uint64_t *random, bool lognormal, double middle, double spread, double least, double most)
{
  double drawn =
      lognormal ? sim_draw_lognormal(random, middle, spread) : middle + spread * sim_draw_normal(random);

  return within(drawn, least, most);
}

static uint32_t draw_tool(const struct kind *kind, uint64_t *random)
{
  double left = sim_draw_uniform(random);

  for (uint32_t i = 0; i + 1 < TOOLS_MAX; i++) {
    left -= kind->tools[i].share;
    if (left < 0)
      return i;
  }
  return TOOLS_MAX - 1;
}

struct parts {
  double answers[TURNS_MOST],
      shares[TURNS_MOST]; /* by turn: tokens of its answer; of what is new in the prompts after the first */
};

/* All answers and PROMPT_LEAST for each prompt fit into so many tokens. Returns what is left of these. */
static double draw_parts(uint64_t *random, uint32_t turns, double tokens, struct parts *parts)
{
  double room = tokens - turns * PROMPT_LEAST, answers = 0, shares = 0, most;

  for (uint32_t i = 0; i < turns; i++) {
    parts->answers[i] = within(sim_draw_lognormal(random, ANSWER_MEDIAN, ANSWER_SIGMA), 1, ANSWER_MOST);
    parts->shares[i] = i == 0 ? 0 : sim_draw_exponential(random, 1);
    answers += parts->answers[i];
    shares += parts->shares[i];
  }
  most = answers > room ? room / answers : 1;
  for (uint32_t i = 0; i < turns; i++) {
    parts->answers[i] = fmax(1, floor(most * parts->answers[i]));
    parts->shares[i] /= shares;
    room -= parts->answers[i];
  }
  return fmax(0, room);
}

/* Its last answer ends with as many tokens as were drawn for it. */
static kvs_status make_program(struct sim_queue_work *work, const struct kind *kind, uint64_t *random)
{
  uint32_t turns = (uint32_t)round(draw(random, kind->turns_lognormal, kind->turns, kind->turns_spread,
                                        kind->turns_least, kind->turns_most));
  double tokens = draw(random, kind->tokens_lognormal, kind->tokens, kind->tokens_spread, kind->tokens_least,
                       kind->tokens_most);
  struct parts parts;
  double more = draw_parts(random, turns, tokens, &parts), context = 0;
  kvs_status status = KVS_OK;

  for (uint32_t i = 0; i < turns && status == KVS_OK; i++) {
    double part = i == 0 ? FIRST_PART : (1 - FIRST_PART) * parts.shares[i];
    uint32_t tool = draw_tool(kind, random);
    double wait_s = within(sim_draw_lognormal(random, kind->tools[tool].median_s, kind->tools[tool].sigma), 0,
                           kind->tool_most_s);
    struct sim_queue_turn turn;

    context += PROMPT_LEAST + floor(part * more);
    turn = (struct sim_queue_turn){.input = (uint32_t)context,
                                   .output = (uint32_t)parts.answers[i],
                                   .kind = KVI_WAIT_TOOL,
                                   .tool = tool + 1,
                                   .wait_ns = (uint64_t)(wait_s * KVI_NS_PER_S)};
    context += parts.answers[i];
    status = sim_queue_work_turn(work, &turn);
  }
  return status;
}

kvs_status sim_queue_work_make(enum sim_queue_tails tails, double load, uint32_t n, uint64_t seed,
                               uint32_t chunk_tokens, struct sim_queue_work **work_p)
{
  const struct kind *kind = &kinds[tails];
  uint64_t arrivals = seed * SALT, random = ~(seed * SALT);
  double at_s = 0;
  kvs_status status = sim_queue_work_create(chunk_tokens, work_p);

  for (uint32_t i = 0; i < n && status == KVS_OK; i++) {
    at_s += sim_draw_exponential(&arrivals, 1 / (kind->rate * load));
    status = sim_queue_work_program(*work_p, (uint64_t)(at_s * KVI_NS_PER_S));
    if (status == KVS_OK)
      status = make_program(*work_p, kind, &random);
  }
  if (status == KVS_OK)
    status = sim_queue_work_done(*work_p);
  if (status != KVS_OK) {
    sim_queue_work_destroy(*work_p);
    *work_p = NULL;
  }
  return status;
}
