#include "tests/bench/targets.h"

#include <stdio.h>
#include <string.h>

#include "base/array.h"

enum bound { AT_LEAST, AT_MOST };

/* Names are without "-pin", which goes between base and suffix. */
struct target {
  const char *row, *suffix;
  const char *to, *to_suffix; /* NULL: the row's own value */
  enum bound bound;
  double value;
  bool pinned_only;
};

#define LIMIT(op)                                                                                            \
  {"grpc-tcp-" op "-2MiB-d1", "", "raw-tcp-" op "-2MiB-d1", "", AT_LEAST, 0.90, false},                      \
      {"grpc-tcp-" op "-2MiB-d1", "", "raw-tcp-" op "-2MiB-d1", "", AT_LEAST, 0.85, true},                   \
      {"grpc-tcp-" op "-2MiB-d1", "-p50", "raw-tcp-" op "-2MiB-d1", "-p50", AT_MOST, 1.15, false},           \
  {                                                                                                          \
    "grpc-tcp-" op "-2MiB-d1", "-p99", "grpc-tcp-" op "-2MiB-d1", "-p50", AT_MOST, 1.60, false               \
  }

#define BATCH(op)                                                                                            \
  {"grpc-tcp-" op "-2MiB-batch16", "", "grpc-tcp-" op "-2MiB-d1", "", AT_LEAST, 1.00, false},                \
      {"grpc-tcp-" op "-2MiB-batch16", "", "redis-" op "-2MiB-d1", "", AT_LEAST, 1.20, false},               \
      {"grpc-tcp-" op "-32MiB-d1", "", "grpc-tcp-" op "-2MiB-batch16", "", AT_LEAST, 0.95, false},           \
  {                                                                                                          \
    "grpc-tcp-" op "-64KiB-batch16", "", "redis-" op "-64KiB-batch16", "", AT_LEAST, 0.80, false             \
  }

#define COST(op)                                                                                             \
  {"grpc-tcp-" op "-2MiB-d1", "-cpu-both", NULL, NULL, AT_MOST, 0.40, false},                                \
      {"grpc-tcp-" op "-2MiB-batch16", "-cpu-both", NULL, NULL, AT_MOST, 0.40, false},                       \
  {                                                                                                          \
    "grpc-tcp-" op "-64KiB-batch16", "-cpu-both", NULL, NULL, AT_MOST, 0.60, false                           \
  }

#define SSD(row)                                                                                             \
  {                                                                                                          \
    "ssd-" row, "", "fio-" row, "", AT_LEAST, 0.90, false                                                    \
  }

#define SHARED(op)                                                                                           \
  {"redis-tier-" op "-2MiB-c4", "", "redis-benchmark-" op "-2MiB-c4", "", AT_LEAST, 0.88, false},            \
      {"redis-tier-" op "-1MiB-c4", "", "redis-benchmark-" op "-1MiB-c4", "", AT_LEAST, 0.88, false},        \
      {"redis-tier-" op "-2MiB-c8", "", "lmcache-resp-" op "-2MiB-c8", "", AT_LEAST, 0.95, false},           \
      {"redis-tier-" op "-1MiB-c8", "", "lmcache-resp-" op "-1MiB-c8", "", AT_LEAST, 0.95, false},           \
      {"redis-tier-" op "-2MiB-c8q64", "", "lmcache-resp-" op "-2MiB-c8q64", "", AT_LEAST, 0.95, false},     \
  {                                                                                                          \
    "redis-tier-" op "-1MiB-c8q64", "", "lmcache-resp-" op "-1MiB-c8q64", "", AT_LEAST, 0.95, false          \
  }

static const struct target targets[] = {
    LIMIT("get"),
    LIMIT("put"),
    {"grpc-tcp-get-2MiB-batch16", "", "raw-tcp-get-2MiB-d1", "", AT_LEAST, 1.00, false},
    {"grpc-tcp-put-2MiB-batch16", "", "raw-tcp-put-2MiB-d1", "", AT_LEAST, 1.10, false},
    BATCH("get"),
    BATCH("put"),
    {"grpc-tcp-get-32MiB-d1", "-first-segment", "grpc-tcp-get-32MiB-d1", "-p50", AT_MOST, 0.125, false},
    {"grpc-tcp-get-64KiB-d1", "-p50", "raw-tcp-get-64KiB-d1", "-p50", AT_MOST, 2.0, false},
    {"grpc-tcp-put-64KiB-d1", "-p50", "raw-tcp-put-64KiB-d1", "-p50", AT_MOST, 2.2, false},
    COST("get"),
    COST("put"),
    {"lookup-16", "", "empty-call", "", AT_MOST, 1.3, false},
    {"lookup-512", "", "empty-call", "", AT_MOST, 3.0, false},
    {"store-lookup-512", "", NULL, NULL, AT_LEAST, 3e6, false},
    {"embedded-get-2MiB-d1", "", "memcpy-copy-2MiB-d1", "", AT_LEAST, 0.80, false},
    {"read-your-write", "", NULL, NULL, AT_LEAST, 100.0, false},

    SSD("write-2MiB-d8"),
    SSD("write-1MiB-d8"),
    SSD("read-2MiB-d8"),
    SSD("read-1MiB-d8"),
    SSD("randread-64KiB-d16"),
    {"ssd-write-2MiB-d8", "-cpu-client", NULL, NULL, AT_MOST, 0.10, false},
    {"ssd-read-2MiB-d8", "-cpu-client", NULL, NULL, AT_MOST, 0.10, false},
    {"ssd-randread-64KiB-d16", "-cpu-client", "fio-randread-64KiB-d16", "-cpu-client", AT_MOST, 1.5, false},
    SHARED("get"),
    SHARED("put"),
    {"dram-get-mixed-t4", "", "memcpy-copy-mixed-t4", "", AT_LEAST, 0.80, false},
    {"dram-put-mixed-t4", "", "memcpy-copy-mixed-t4", "", AT_LEAST, 0.80, false},
    {"dram-fragmentation", "", NULL, NULL, AT_MOST, 5.0, false},
    {"ssd-open", "", NULL, NULL, AT_MOST, 2.0, false},
    {"store-open", "", NULL, NULL, AT_MOST, 2.0, false},
    {"store-open", "-index", NULL, NULL, AT_MOST, 64.0, false},
};

static void name_of(char name[BENCH_NAME_MAX], const char *row, bool pin, const char *suffix)
{
  snprintf(name, BENCH_NAME_MAX, "%s%s%s", row, pin ? "-pin" : "", suffix);
}

/* Measured median; n 0: not measured. Is a promise about every single case, so there the worst round counts. */
static struct bench_summary measured(const struct bench_document *document, const struct target *target,
                                     bool pin)
{
  char name[BENCH_NAME_MAX];
  char to[BENCH_NAME_MAX];
  const struct bench_row *row;

  name_of(name, target->row, pin, target->suffix);
  row = bench_document_find(document, name);
  if (row == NULL || (target->pinned_only && !pin))
    return (struct bench_summary){0};
  if (target->to == NULL)
    return bench_series_summary(&row->value);
  name_of(to, target->to, pin, target->to_suffix);
  return bench_document_ratio(document, row, to);
}

static enum bench_verdict judge(const struct target *target, const struct bench_summary *summary)
{
  if (summary->n == 0)
    return BENCH_UNKNOWN;
  /* "read-your-write" is a promise about every put, so its worst round counts. */
  if (target->value == 100.0)
    return summary->min >= target->value ? BENCH_PASS : BENCH_MISS;
  if (target->bound == AT_LEAST)
    return summary->median >= target->value ? BENCH_PASS : BENCH_MISS;
  return summary->median <= target->value ? BENCH_PASS : BENCH_MISS;
}

enum bench_verdict bench_targets_of(const struct bench_document *document, const char *row)
{
  enum bench_verdict verdict = BENCH_UNKNOWN;
  char name[BENCH_NAME_MAX];

  for (size_t i = 0; i < KVI_ARRAY_SIZE(targets); i++) {
    for (int pin = 0; pin < 2; pin++) {
      struct bench_summary summary;

      name_of(name, targets[i].row, pin == 1, ""); /* its latencies and costs are its own */
      if (strcmp(name, row) != 0)
        continue;
      summary = measured(document, &targets[i], pin == 1);
      if (judge(&targets[i], &summary) > verdict)
        verdict = judge(&targets[i], &summary);
    }
  }
  return verdict;
}

static void set_measured(struct bench_grid *grid, size_t column, const struct bench_summary *summary)
{
  if (summary->n > 0)
    bench_grid_set(grid, column, "%.3g", summary->median);
}

void bench_targets_print(const struct bench_document *document, bool markdown, kvi_strbuf *out)
{
  static const char *const titles[] = {"target", "against", "must reach", "pinned", "unpinned", "verdict"};
  static const char *const verdicts[] = {"", "pass", "MISS"};
  struct bench_grid grid;
  char name[BENCH_NAME_MAX];

  bench_grid_init(&grid, titles, KVI_ARRAY_SIZE(titles));
  for (size_t i = 0; i < KVI_ARRAY_SIZE(targets); i++) {
    const struct target *target = &targets[i];
    struct bench_summary pinned = measured(document, target, true);
    struct bench_summary plain = measured(document, target, false);

    if (pinned.n == 0 && plain.n == 0)
      continue;
    bench_grid_row(&grid);
    name_of(name, target->row, target->pinned_only, target->suffix);
    bench_grid_set(&grid, 0, "%s", name);
    if (target->to != NULL) {
      name_of(name, target->to, target->pinned_only, target->to_suffix);
      bench_grid_set(&grid, 1, "%s", name);
    }
    bench_grid_set(&grid, 2, "%s %g", target->bound == AT_LEAST ? ">=" : "<=", target->value);
    set_measured(&grid, 3, &pinned);
    set_measured(&grid, 4, &plain);
    bench_grid_set(&grid, 5, "%s", verdicts[judge(target, pinned.n > 0 ? &pinned : &plain)]);
  }
  if (grid.n > 1)
    bench_grid_print(&grid, markdown, out);
  bench_grid_free(&grid);
}
