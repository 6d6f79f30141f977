#include "tests/bench/plan.h"

#include <regex.h>
#include <string.h>

#include "base/array.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

int bench_plan_find(const struct bench_plan *plan, const struct bench_case *what)
{
  for (size_t i = 0; i < plan->n; i++)
    if (bench_case_equal(&plan->cases[i], what))
      return (int)i;
  return -1;
}

static void add(struct bench_plan *plan, struct bench_case what)
{
  if (plan->n < BENCH_CASES_MAX)
    plan->cases[plan->n++] = what;
}

static void add_shape(struct bench_plan *plan, enum bench_way_id way, enum bench_op op, uint64_t size,
                      enum bench_shape shape)
{
  add(plan, (struct bench_case){.way = way, .op = op, .size = size, .shape = shape});
}

/* The two sizes that engines with small and large chunks use are measured in depth. */
static bool in_depth(uint64_t size)
{
  return size == 64 * KIB || size == 2 * MIB;
}

static void add_group(struct bench_plan *plan, enum bench_op op, uint64_t size)
{
  static const enum bench_way_id ways[] = {BENCH_RAW_TCP, BENCH_RAW_UNIX, BENCH_REDIS, BENCH_GRPC_TCP,
                                           BENCH_GRPC_UNIX};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(ways); i++) {
    enum bench_way_id way = ways[i];
    bool node = way == BENCH_GRPC_TCP || way == BENCH_GRPC_UNIX;
    struct bench_case plain = {.way = way, .op = op, .size = size, .defmalloc = true};

    add_shape(plan, way, op, size, BENCH_D1);
    if (in_depth(size) && way != BENCH_RAW_UNIX)
      add_shape(plan, way, op, size, BENCH_BATCH16);
    if (in_depth(size) && node)
      add_shape(plan, way, op, size, BENCH_CALL16);
    if (in_depth(size) && way == BENCH_GRPC_TCP) {
      add(plan, plain);
      plain.shape = BENCH_BATCH16;
      add(plan, plain);
    }
  }
}

static void add_long(struct bench_plan *plan, enum bench_op op)
{
  static const enum bench_way_id ways[] = {BENCH_RAW_TCP, BENCH_GRPC_TCP, BENCH_GRPC_UNIX};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(ways); i++)
    add_shape(plan, ways[i], op, 32 * MIB, BENCH_D1);
}

static void add_calls(struct bench_plan *plan)
{
  add(plan, (struct bench_case){.way = BENCH_RAW_TCP, .op = BENCH_EMPTY_CALL});
  add(plan, (struct bench_case){.way = BENCH_GRPC_TCP, .op = BENCH_EMPTY_CALL});
  add(plan, (struct bench_case){.way = BENCH_GRPC_TCP, .op = BENCH_LOOKUP, .keys = 16});
  add(plan, (struct bench_case){.way = BENCH_GRPC_TCP, .op = BENCH_LOOKUP, .keys = 512});
  add(plan, (struct bench_case){.way = BENCH_GRPC_TCP, .op = BENCH_READ_YOUR_WRITE});
  add(plan, (struct bench_case){.way = BENCH_STORE, .op = BENCH_LOOKUP, .keys = 512});
}

static void add_everything(struct bench_plan *plan)
{
  static const uint64_t sizes[] = {64 * KIB, 1 * MIB, 2 * MIB};

  plan->n = 0;
  add_calls(plan);
  for (size_t i = 0; i < KVI_ARRAY_SIZE(sizes); i++) {
    add_group(plan, BENCH_GET, sizes[i]);
    add_group(plan, BENCH_PUT, sizes[i]);
    add_shape(plan, BENCH_MEMCPY, BENCH_COPY, sizes[i], BENCH_D1);
    add_shape(plan, BENCH_EMBEDDED, BENCH_GET, sizes[i], BENCH_D1);
    add_shape(plan, BENCH_EMBEDDED, BENCH_PUT, sizes[i], BENCH_D1);
  }
  add_long(plan, BENCH_GET);
  add_long(plan, BENCH_PUT);
}

static void add_ssd(struct bench_plan *plan)
{
  static const struct {
    enum bench_op op;
    uint64_t size;
    enum bench_shape shape;
    bool settings; /* ssd.durability and ssd.discard matter */
  } cases[] = {
      {BENCH_WRITE, 2 * MIB, BENCH_D8, true},          {BENCH_WRITE, 2 * MIB, BENCH_D1, false},
      {BENCH_WRITE, 1 * MIB, BENCH_D8, false},         {BENCH_READ, 2 * MIB, BENCH_D8, false},
      {BENCH_READ, 2 * MIB, BENCH_D1, false},          {BENCH_READ, 1 * MIB, BENCH_D8, false},
      {BENCH_RANDOM_READ, 64 * KIB, BENCH_D16, false}, {BENCH_RANDOM_READ, 64 * KIB, BENCH_D1, false}};
  static const enum bench_way_id settings[] = {BENCH_SSD_NONE, BENCH_SSD_PUT, BENCH_SSD_DISCARD,
                                               BENCH_SSD_FULL};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(cases); i++) {
    add_shape(plan, BENCH_FIO, cases[i].op, cases[i].size, cases[i].shape);
    add_shape(plan, BENCH_SSD, cases[i].op, cases[i].size, cases[i].shape);
    for (size_t way = 0; cases[i].settings && way < KVI_ARRAY_SIZE(settings); way++)
      add_shape(plan, settings[way], cases[i].op, cases[i].size, cases[i].shape);
  }
}

static void add_redis(struct bench_plan *plan)
{
  static const enum bench_op ops[] = {BENCH_GET, BENCH_PUT};
  static const enum bench_shape shapes[] = {BENCH_D1, BENCH_C4, BENCH_C8, BENCH_C8Q64};
  static const uint64_t sizes[] = {2 * MIB, 1 * MIB};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(ops) * KVI_ARRAY_SIZE(shapes) * KVI_ARRAY_SIZE(sizes); i++) {
    uint64_t size = sizes[i / (KVI_ARRAY_SIZE(ops) * KVI_ARRAY_SIZE(shapes))];
    enum bench_op op = ops[i / KVI_ARRAY_SIZE(shapes) % KVI_ARRAY_SIZE(ops)];
    enum bench_shape shape = shapes[i % KVI_ARRAY_SIZE(shapes)];

    if (shape != BENCH_C8Q64) /* it has one operation in flight on each */
      add_shape(plan, BENCH_REDIS_BENCHMARK, op, size, shape);
    add_shape(plan, BENCH_REDIS_TIER, op, size, shape);
    if (shape != BENCH_D1) /* several connections are what it is for: eight, if nobody says another number */
      add_shape(plan, BENCH_LMCACHE_RESP, op, size, shape);
  }
}

static void add_tiers(struct bench_plan *plan)
{
  plan->n = 0;
  add_ssd(plan);
  add_redis(plan);
  add_shape(plan, BENCH_MEMCPY_THREADS, BENCH_COPY, 0, BENCH_T4);
  add_shape(plan, BENCH_DRAM, BENCH_GET, 0, BENCH_T4);
  add_shape(plan, BENCH_DRAM, BENCH_PUT, 0, BENCH_T4);
  add_shape(plan, BENCH_DRAM, BENCH_FRAGMENTATION, 0, BENCH_D1);
  add_shape(plan, BENCH_OPEN_SSD, BENCH_OPEN, 0, BENCH_D1);
  add_shape(plan, BENCH_OPEN_STORE, BENCH_OPEN, 0, BENCH_D1);
}

static bool matches(const struct bench_case *what, const regex_t *only)
{
  char name[BENCH_NAME_MAX];

  for (int pin = 0; pin < 2; pin++) {
    for (int kind = 0; kind < BENCH_KINDS; kind++) {
      struct bench_row_id id = {.what = *what, .pin = pin == 1, .kind = (enum bench_kind)kind};

      bench_row_name(&id, name);
      if (bench_case_has(what, id.kind) && regexec(only, name, 0, NULL, 0) == 0)
        return true;
    }
  }
  return false;
}

static void want_references(const struct bench_plan *all, size_t place, bool wanted[BENCH_CASES_MAX])
{
  struct bench_row_id references[BENCH_RATIOS_MAX];

  for (int kind = 0; kind < BENCH_KINDS; kind++) {
    struct bench_row_id id = {.what = all->cases[place], .kind = (enum bench_kind)kind};
    size_t n =
        bench_case_has(&id.what, id.kind) ? bench_row_references(&id, references, BENCH_RATIOS_MAX) : 0;

    for (size_t i = 0; i < n; i++) {
      int at = bench_plan_find(all, &references[i].what);

      if (at >= 0)
        wanted[at] = true;
    }
  }
}

static bool select_cases(struct bench_plan *plan, const struct bench_plan *all,
                         const bool available[BENCH_WAYS], const char *only)
{
  bool matched[BENCH_CASES_MAX] = {false};
  bool wanted[BENCH_CASES_MAX] = {false};
  regex_t expression;

  plan->n = 0;
  if (only != NULL && regcomp(&expression, only, REG_EXTENDED | REG_NOSUB) != 0)
    return false;
  for (size_t i = 0; i < all->n; i++)
    matched[i] = only == NULL || matches(&all->cases[i], &expression);
  if (only != NULL)
    regfree(&expression);
  for (size_t i = 0; i < all->n; i++) {
    if (!matched[i])
      continue;
    wanted[i] = true;
    want_references(all, i, wanted);
  }
  for (size_t i = 0; i < all->n; i++)
    if (wanted[i] && available[all->cases[i].way])
      add(plan, all->cases[i]);
  return true;
}

bool bench_plan_make(struct bench_plan *plan, const bool available[BENCH_WAYS], const char *only)
{
  static struct bench_plan all; /* large; one thread makes plans */

  add_everything(&all);
  return select_cases(plan, &all, available, only);
}

bool bench_plan_make_tier(struct bench_plan *plan, const bool available[BENCH_WAYS], const char *only)
{
  static struct bench_plan all; /* large; one thread makes plans */

  add_tiers(&all);
  return select_cases(plan, &all, available, only);
}
