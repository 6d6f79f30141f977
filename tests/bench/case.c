#include "tests/bench/case.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define SEGMENT_BYTES (UINT64_C(2) << 20)

const char *bench_way_name(enum bench_way_id way)
{
  static const char *const names[BENCH_WAYS] = {
      "raw-tcp",      "raw-unix",        "memcpy",      "redis",    "grpc-tcp",
      "grpc-unix",    "embedded",        "store",       "fio",      "ssd-durable-none",
      "ssd",          "ssd-durable-put", "ssd-discard", "ssd-full", "redis-benchmark",
      "lmcache-resp", "redis-tier",      "memcpy",      "dram",     "ssd",
      "store"};

  return names[way];
}

static const char *kind_suffix(enum bench_kind kind)
{
  static const char *const suffixes[BENCH_KINDS] = {
      "", "-p50", "-p99", "-first-segment", "-cpu-client", "-cpu-server", "-cpu-both", "-read", "-index"};

  return suffixes[kind];
}

/* The part before the suffixes. What is asked of a node over its plain connection goes without the way's name. */
static void base_name(const struct bench_case *what, char *out, size_t size)
{
  static const char *const ops[] = {[BENCH_GET] = "get",   [BENCH_PUT] = "put",
                                    [BENCH_COPY] = "copy", [BENCH_WRITE] = "write",
                                    [BENCH_READ] = "read", [BENCH_RANDOM_READ] = "randread",
                                    [BENCH_OPEN] = "open", [BENCH_FRAGMENTATION] = "fragmentation"};
  static const char *const shapes[] = {"d1", "batch16", "call16", "d8", "d16", "t4", "c4", "c8", "c8q64"};
  const char *way = bench_way_name(what->way);
  bool bare = what->way == BENCH_GRPC_TCP;
  char bytes[KVI_FORMAT_MAX];

  switch (what->op) {
  case BENCH_EMPTY_CALL:
    snprintf(out, size, "%s%sempty-call", bare ? "" : way, bare ? "" : "-");
    break;
  case BENCH_LOOKUP:
    snprintf(out, size, "%s%slookup-%u", bare ? "" : way, bare ? "" : "-", what->keys);
    break;
  case BENCH_READ_YOUR_WRITE:
    snprintf(out, size, "%s%sread-your-write", bare ? "" : way, bare ? "" : "-");
    break;
  case BENCH_OPEN:
  case BENCH_FRAGMENTATION:
    snprintf(out, size, "%s-%s", way, ops[what->op]);
    break;
  default:
    snprintf(out, size, "%s-%s-%s-%s", way, ops[what->op],
             what->size > 0 ? kvi_format_size(what->size, bytes) : "mixed", shapes[what->shape]);
  }
}

void bench_row_name(const struct bench_row_id *id, char name[BENCH_NAME_MAX])
{
  char base[BENCH_NAME_MAX / 2];

  base_name(&id->what, base, sizeof base);
  snprintf(name, BENCH_NAME_MAX, "%s%s%s%s", base, id->pin ? "-pin" : "",
           id->what.defmalloc ? "-defmalloc" : "", kind_suffix(id->kind));
}

uint32_t bench_case_depth(const struct bench_case *what)
{
  static const uint32_t depths[] = {
      [BENCH_D1] = 1, [BENCH_BATCH16] = 16, [BENCH_CALL16] = 1, [BENCH_D8] = 8,    [BENCH_D16] = 16,
      [BENCH_T4] = 4, [BENCH_C4] = 4,       [BENCH_C8] = 8,     [BENCH_C8Q64] = 64};

  return depths[what->shape];
}

uint32_t bench_case_connections(const struct bench_case *what)
{
  return what->shape == BENCH_C8Q64 ? 8 : bench_case_depth(what);
}

uint32_t bench_case_chunks(const struct bench_case *what)
{
  return what->shape == BENCH_CALL16 ? 16 : 1;
}

uint32_t bench_case_segments(const struct bench_case *what)
{
  return what->size > SEGMENT_BYTES ? (uint32_t)(what->size / SEGMENT_BYTES) : 1;
}

bool bench_case_equal(const struct bench_case *a, const struct bench_case *b)
{
  return a->way == b->way && a->op == b->op && a->size == b->size && a->shape == b->shape &&
         a->keys == b->keys && a->defmalloc == b->defmalloc;
}

bool bench_way_has_server(enum bench_way_id way)
{
  if (bench_way_is_tier(way))
    return way == BENCH_REDIS_BENCHMARK || way == BENCH_LMCACHE_RESP || way == BENCH_REDIS_TIER;
  return way != BENCH_MEMCPY && way != BENCH_EMBEDDED && way != BENCH_STORE;
}

static bool over_grpc(enum bench_way_id way)
{
  return way == BENCH_GRPC_TCP || way == BENCH_GRPC_UNIX;
}

bool bench_case_has(const struct bench_case *what, enum bench_kind kind)
{
  bool moves_bytes = what->op == BENCH_GET || what->op == BENCH_PUT || what->op == BENCH_COPY ||
                     what->op == BENCH_WRITE || what->op == BENCH_READ || what->op == BENCH_RANDOM_READ;

  switch (kind) {
  case BENCH_VALUE:
    return true;
  case BENCH_P50:
    return moves_bytes && what->shape == BENCH_D1;
  case BENCH_P99:
    return what->op != BENCH_READ_YOUR_WRITE && what->way != BENCH_STORE && what->shape == BENCH_D1 &&
           (moves_bytes || !bench_way_is_tier(what->way));
  case BENCH_FIRST_SEGMENT:
    return over_grpc(what->way) && what->op == BENCH_GET && what->shape == BENCH_D1 &&
           bench_case_segments(what) > 1;
  case BENCH_CPU_CLIENT:
    return moves_bytes;
  case BENCH_READ_BYTES:
    return what->op == BENCH_OPEN;
  case BENCH_INDEX_BYTES:
    return what->way == BENCH_OPEN_STORE;
  default:
    return moves_bytes && bench_way_has_server(what->way);
  }
}

const char *bench_row_unit(const struct bench_row_id *id)
{
  if (id->kind == BENCH_P50 || id->kind == BENCH_P99 || id->kind == BENCH_FIRST_SEGMENT)
    return "us";
  if (id->kind == BENCH_READ_BYTES)
    return "MB/million";
  if (id->kind == BENCH_INDEX_BYTES)
    return "bytes/chunk";
  if (id->kind != BENCH_VALUE)
    return "s/GB";
  switch (id->what.op) {
  case BENCH_EMPTY_CALL:
    return "us";
  case BENCH_LOOKUP:
    return id->what.way == BENCH_STORE ? "keys/s" : "us";
  case BENCH_READ_YOUR_WRITE:
  case BENCH_FRAGMENTATION:
    return "%";
  case BENCH_OPEN:
    return "s/million";
  default:
    return "GB/s";
  }
}

/* A list of references under construction. */
struct references {
  struct bench_row_id *ids;
  size_t n, room;
};

static void add(struct references *list, struct bench_row_id id)
{
  if (list->n < list->room && bench_case_has(&id.what, id.kind))
    list->ids[list->n++] = id;
}

/* The same row of another way, in its plain form. */
static struct bench_row_id of_way(const struct bench_row_id *id, enum bench_way_id way,
                                  enum bench_shape shape)
{
  struct bench_row_id other = *id;

  other.what.way = way;
  other.what.shape = shape;
  other.what.defmalloc = false;
  if (way == BENCH_MEMCPY || way == BENCH_MEMCPY_THREADS)
    other.what.op = BENCH_COPY;
  return other;
}

static void add_limits(struct references *list, const struct bench_row_id *id)
{
  enum bench_way_id way = id->what.way;

  if (way == BENCH_EMBEDDED) {
    add(list, of_way(id, BENCH_MEMCPY, BENCH_D1));
    return;
  }
  if (!bench_way_has_server(way))
    return;
  if (way != BENCH_RAW_TCP || id->what.shape != BENCH_D1)
    add(list, of_way(id, BENCH_RAW_TCP, BENCH_D1));
  if (way == BENCH_GRPC_UNIX)
    add(list, of_way(id, BENCH_RAW_UNIX, BENCH_D1));
}

static void add_peers(struct references *list, const struct bench_row_id *id)
{
  if (!over_grpc(id->what.way))
    return;
  add(list, of_way(id, BENCH_REDIS, BENCH_D1));
  if (id->what.shape != BENCH_D1)
    add(list, of_way(id, BENCH_REDIS, BENCH_BATCH16));
}

/* A batch against the single, a long chunk against the batch, a default allocator against the tuned one. */
static void add_own(struct references *list, const struct bench_row_id *id)
{
  struct bench_row_id other = *id;

  if (id->what.shape != BENCH_D1) {
    other.what.shape = BENCH_D1;
    add(list, other);
  }
  if (over_grpc(id->what.way) && bench_case_segments(&id->what) > 1 && id->kind == BENCH_VALUE) {
    other = of_way(id, id->what.way, BENCH_BATCH16);
    other.what.size = SEGMENT_BYTES;
    add(list, other);
  }
  if (id->what.defmalloc)
    add(list, of_way(id, id->what.way, id->what.shape));
}

/* A tier against the program that measures what it stands on, then against its cheaper self. */
static void add_tier(struct references *list, const struct bench_row_id *id)
{
  switch (id->what.way) {
  case BENCH_SSD_NONE:
  case BENCH_SSD:
  case BENCH_SSD_PUT:
  case BENCH_SSD_DISCARD:
  case BENCH_SSD_FULL:
    add(list, of_way(id, BENCH_FIO, id->what.shape));
    if (id->what.way == BENCH_SSD_DISCARD || id->what.way == BENCH_SSD_FULL)
      add(list, of_way(id, BENCH_SSD, id->what.shape));
    else if (id->what.way != BENCH_SSD_NONE)
      add(list, of_way(id, BENCH_SSD_NONE, id->what.shape));
    break;
  case BENCH_REDIS_TIER:
    add(list, of_way(id, BENCH_REDIS_BENCHMARK, id->what.shape));
    add(list, of_way(id, BENCH_LMCACHE_RESP, id->what.shape));
    break;
  case BENCH_DRAM:
    if (id->what.op != BENCH_FRAGMENTATION)
      add(list, of_way(id, BENCH_MEMCPY_THREADS, id->what.shape));
    break;
  case BENCH_OPEN_STORE:
    if (id->kind == BENCH_VALUE)
      add(list, of_way(id, BENCH_OPEN_SSD, id->what.shape));
    break;
  default:
    break;
  }
}

size_t bench_row_references(const struct bench_row_id *id, struct bench_row_id *references, size_t room)
{
  struct references list = {.ids = references, .room = room};
  struct bench_row_id own = *id;

  if (id->kind == BENCH_P99 || id->kind == BENCH_FIRST_SEGMENT) {
    own.kind = bench_case_has(&id->what, BENCH_P50) ? BENCH_P50 : BENCH_VALUE;
    add(&list, own);
    return list.n;
  }
  if (bench_way_is_tier(id->what.way)) {
    add_tier(&list, id);
    return list.n;
  }
  if (id->what.op == BENCH_LOOKUP && id->what.way != BENCH_STORE) {
    own.what.op = BENCH_EMPTY_CALL;
    own.what.keys = 0;
    add(&list, own);
    return list.n;
  }
  if (id->what.op == BENCH_READ_YOUR_WRITE || id->what.way == BENCH_STORE)
    return 0;
  add_limits(&list, id);
  if (id->what.op == BENCH_EMPTY_CALL)
    return list.n;
  add_peers(&list, id);
  add_own(&list, id);
  return list.n;
}
