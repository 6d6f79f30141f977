#include "tests/bench/codec/speed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "base/array.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "tests/bench/codec/shape.h"
#include "tests/bench/codec/synthetic.h"
#include "tests/bench/load.h"
#include "tests/bench/stats.h"

#define COPIES      2u /* of everything, taken in turn: 2 x 33.5 MB are more than a last level cache */
#define LAYERS_MADE 8u /* the others repeat them */
#define TOKENS      256u
#define SAMPLES_MAX 65536u
#define TRIES       3u

const char *const codec_speed_levels[] = {"raw",       "lossless", "ladder-p0", "ladder-p1", "ladder-p2",
                                          "ladder-p3", "cachegen", "zstd",      NULL};

#define LEVELS_MAX 8u

/* A level with its encoded chunks. */
struct level {
  const char *name;
  struct codec_room room;
  uint8_t *objects[COPIES];
  size_t length; /* of each */
  bool has_paths;
};

enum operation { ENCODE, DECODE, CHECKSUM, COPY };

struct speed_case {
  char name[CODEC_ROW_NAME_MAX];
  enum operation operation;
  const struct level *level; /* NULL: memcpy */
  const char *path;          /* NULL: the machine's */
};

#define CASES_MAX 120u

struct bench {
  const struct codec_speed_options *options;
  struct codec_document *document;
  struct codec_set set; /* of one chunk */
  uint16_t *raw[COPIES], *out[COPIES];
  uint8_t *object, *scratch; /* large enough for each level */
  size_t object_bytes, scratch_bytes;
  struct level levels[LEVELS_MAX];
  size_t n_levels;
  struct speed_case cases[CASES_MAX];
  size_t n_cases;
  uint32_t *samples; /* us */
};

/* ---- what is measured ---- */

static struct kvi_codec_options options_of(const char *name)
{
  struct kvi_codec_options options = {.level = KVI_CODEC_RAW};

  if (strncmp(name, "ladder-p", 8) == 0) {
    options.level = KVI_CODEC_LADDER;
    options.planes = (uint32_t)(name[8] - '0');
  } else if (strcmp(name, "lossless") == 0) {
    options.level = KVI_CODEC_LOSSLESS;
  } else if (strcmp(name, "cachegen") == 0) {
    options.level = KVI_CODEC_CACHEGEN;
  } else if (strcmp(name, "zstd") == 0) {
    options.level = KVI_CODEC_ZSTD;
  }
  return options;
}

/* A few layers are generated and repeated up to the size of a real chunk. */
static kvs_status make_chunk(struct bench *bench)
{
  struct codec_set few;
  uint32_t made = bench->options->n_layers < LAYERS_MADE ? bench->options->n_layers : LAYERS_MADE;
  kvs_status status = codec_synthetic_make("head128", made, TOKENS, 1, &few);
  size_t layer_bytes;

  if (status != KVS_OK)
    return status;
  bench->set = few;
  bench->set.kv = NULL;
  bench->set.queries = NULL;
  bench->set.n_layers = bench->options->n_layers;
  layer_bytes = 2 * codec_set_plane(&few) * sizeof *few.kv;
  for (uint32_t i = 0; i < COPIES && status == KVS_OK; i++) {
    size_t bytes = codec_set_chunk(&bench->set) * sizeof *few.kv;

    bench->raw[i] = codec_aligned(bytes);
    bench->out[i] = codec_aligned(bytes);
    if (bench->raw[i] == NULL || bench->out[i] == NULL) {
      status = KVS_ERR_NOMEM;
      break;
    }
    memset(bench->out[i], 1, bytes); /* touched before the clock starts */
    for (uint32_t layer = 0; layer < bench->set.n_layers; layer++)
      memcpy((uint8_t *)bench->raw[i] + layer * layer_bytes, (uint8_t *)few.kv + layer % made * layer_bytes,
             layer_bytes);
  }
  codec_set_free(&few);
  return status;
}

static kvs_status make_room(struct bench *bench)
{
  for (size_t i = 0; codec_speed_levels[i] != NULL; i++) {
    struct kvi_codec_options options = options_of(codec_speed_levels[i]);
    struct codec_room room = codec_room_of(&bench->set, &options);

    if (bench->object_bytes < room.object_bytes)
      bench->object_bytes = room.object_bytes;
    if (bench->scratch_bytes < room.scratch_bytes)
      bench->scratch_bytes = room.scratch_bytes;
  }
  bench->object = codec_aligned(bench->object_bytes);
  bench->scratch = codec_aligned(bench->scratch_bytes);
  bench->samples = calloc(SAMPLES_MAX, sizeof *bench->samples);
  return bench->object != NULL && bench->scratch != NULL && bench->samples != NULL ? KVS_OK : KVS_ERR_NOMEM;
}

/* ---- one operation ---- */

static kvs_status encode(struct bench *bench, const struct level *level, uint32_t copy, size_t *length_p)
{
  return kvi_codec_encode(&level->room.shape, &level->room.options, bench->raw[copy], bench->scratch,
                          bench->object, bench->object_bytes, length_p);
}

static kvs_status decode(struct bench *bench, const struct level *level, uint32_t copy)
{
  uint32_t quality;

  return kvi_codec_decode(level->objects[copy], level->length, KVI_CODEC_PLANES_MAX, bench->out[copy],
                          level->room.shape.raw_bytes, &quality);
}

static volatile uint32_t sink; /* so that a checksum that nobody looks at is computed */

static kvs_status operate(struct bench *bench, const struct speed_case *what, uint32_t copy)
{
  size_t length;

  switch (what->operation) {
  case ENCODE:
    return encode(bench, what->level, copy, &length);
  case DECODE:
    return decode(bench, what->level, copy);
  case CHECKSUM:
    sink = kvi_crc32c_update(0, what->level->objects[copy], what->level->length);
    return KVS_OK;
  default:
    memcpy(bench->out[copy], bench->raw[copy], codec_set_chunk(&bench->set) * sizeof *bench->raw[copy]);
    return KVS_OK;
  }
}

/* ---- levels and their paths ---- */

static const char *const paths[] = {"scalar", "avx2", "avx2-no-gather", "avx512", "avx512-no-gather"};

static bool is_wanted(const struct bench *bench, const char *name)
{
  return bench->options->only == NULL || regexec(bench->options->only, name, 0, NULL, 0) == 0;
}

/* Whether any of a level's rows is, so that the others need not be encoded. */
static bool level_is_wanted(const struct bench *bench, const char *level)
{
  static const char *const verbs[] = {"encode", "decode", "crc32c"};
  char name[CODEC_ROW_NAME_MAX];

  for (size_t verb = 0; verb < KVI_ARRAY_SIZE(verbs); verb++) {
    snprintf(name, sizeof name, "%s-%s", verbs[verb], level);
    if (is_wanted(bench, name))
      return true;
    for (size_t i = 0; i < KVI_ARRAY_SIZE(paths); i++) {
      snprintf(name, sizeof name, "%s-%s-%s", verbs[verb], level, paths[i]);
      if (is_wanted(bench, name))
        return true;
    }
  }
  return false;
}

/* Each path encodes the same bytes and decodes the same bits. */
static kvs_status check_path(struct bench *bench, const struct level *level, const char *path,
                             const uint16_t *expected)
{
  size_t bytes = codec_set_chunk(&bench->set) * sizeof *expected;
  size_t length = 0;
  kvs_status status = kvi_codec_use_path(path);

  if (status == KVS_OK)
    status = encode(bench, level, 0, &length);
  if (status == KVS_OK &&
      (length != level->length || memcmp(bench->object, level->objects[0], length) != 0)) {
    fprintf(stderr, "kvasir-bench: %s: %s encodes other bytes\n", level->name, path);
    status = KVS_ERR_CORRUPT;
  }
  if (status == KVS_OK)
    status = decode(bench, level, 1);
  if (status == KVS_OK && memcmp(bench->out[1], expected, bytes) != 0) {
    fprintf(stderr, "kvasir-bench: %s: %s decodes to other bits\n", level->name, path);
    status = KVS_ERR_CORRUPT;
  }
  kvi_codec_use_path(NULL);
  return status;
}

static kvs_status check_level(struct bench *bench, const struct level *level)
{
  size_t bytes = codec_set_chunk(&bench->set) * sizeof *bench->raw[0];
  enum kvi_codec_level id = level->room.options.level;
  kvs_status status = decode(bench, level, 0);

  if (status == KVS_OK && id != KVI_CODEC_LADDER && id != KVI_CODEC_CACHEGEN &&
      memcmp(bench->raw[0], bench->out[0], bytes) != 0) {
    fprintf(stderr, "kvasir-bench: %s does not give back what was encoded\n", level->name);
    status = KVS_ERR_CORRUPT;
  }
  for (size_t i = 0; i < KVI_ARRAY_SIZE(paths) && status == KVS_OK && level->has_paths; i++) {
    status = check_path(bench, level, paths[i], bench->out[0]);
    if (status == KVS_ERR_UNSUPPORTED)
      status = KVS_OK;
  }
  return status;
}

static kvs_status make_level(struct bench *bench, const char *name)
{
  struct level *level = &bench->levels[bench->n_levels];
  struct kvi_codec_options options = options_of(name);
  kvs_status status;

  level->name = name;
  level->room = codec_room_of(&bench->set, &options);
  level->has_paths = options.level == KVI_CODEC_LOSSLESS || options.level == KVI_CODEC_LADDER;
  status = encode(bench, level, 0, &level->length);
  if (status != KVS_OK)
    return status == KVS_ERR_UNSUPPORTED ? KVS_OK : status;
  bench->n_levels++;
  for (uint32_t i = 0; i < COPIES; i++) {
    level->objects[i] = codec_aligned(level->length);
    if (level->objects[i] == NULL)
      return KVS_ERR_NOMEM;
    memcpy(level->objects[i], bench->object, level->length);
  }
  return check_level(bench, level);
}

/* ---- cases ---- */

static void add_case(struct bench *bench, enum operation operation, const struct level *level,
                     const char *path, const char *name)
{
  struct speed_case *what = &bench->cases[bench->n_cases];

  if (bench->n_cases == CASES_MAX || (operation != COPY && !is_wanted(bench, name)))
    return;
  snprintf(what->name, sizeof what->name, "%s", name);
  what->operation = operation;
  what->level = level;
  what->path = path;
  bench->n_cases++;
}

static void add_cases(struct bench *bench, const struct level *level)
{
  char name[CODEC_ROW_NAME_MAX];

  for (int operation = ENCODE; operation <= DECODE; operation++) {
    const char *verb = operation == ENCODE ? "encode" : "decode";

    snprintf(name, sizeof name, "%s-%s", verb, level->name);
    add_case(bench, (enum operation)operation, level, NULL, name);
    for (size_t i = 0; i < KVI_ARRAY_SIZE(paths) && level->has_paths; i++) {
      if (kvi_codec_use_path(paths[i]) != KVS_OK)
        continue;
      snprintf(name, sizeof name, "%s-%s-%s", verb, level->name, paths[i]);
      add_case(bench, (enum operation)operation, level, paths[i], name);
    }
    kvi_codec_use_path(NULL);
  }
  snprintf(name, sizeof name, "crc32c-%s", level->name);
  if (level->has_paths)
    add_case(bench, CHECKSUM, level, NULL, name);
}

/* Without a case there is nothing to measure. */
static kvs_status prepare(struct bench *bench)
{
  bool wanted = false;
  kvs_status status;

  for (size_t i = 0; codec_speed_levels[i] != NULL; i++)
    wanted = wanted || level_is_wanted(bench, codec_speed_levels[i]);
  if (!wanted && !is_wanted(bench, "memcpy"))
    return KVS_OK;
  status = make_chunk(bench);
  if (status == KVS_OK)
    status = make_room(bench);
  for (size_t i = 0; codec_speed_levels[i] != NULL && status == KVS_OK; i++)
    if (level_is_wanted(bench, codec_speed_levels[i]))
      status = make_level(bench, codec_speed_levels[i]);
  if (status != KVS_OK)
    return status;
  add_case(bench, COPY, NULL, NULL, "memcpy");
  for (size_t i = 0; i < bench->n_levels; i++)
    add_cases(bench, &bench->levels[i]);
  return KVS_OK;
}

/* ---- the clock ---- */

struct sample {
  double gigabytes, cycles; /* a second; an element */
  double p50_us, p99_us;
  double others;
};

static uint64_t ticks(void)
{
#ifdef __x86_64__
  return __rdtsc();
#else
  return 0;
#endif
}

/* What this thread had of a core: waiting for others is no part of a speed "of a core". */
static uint64_t thread_ns(void)
{
  struct timespec used;

  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return (uint64_t)used.tv_sec * KVI_NS_PER_S + (uint64_t)used.tv_nsec;
}

static kvs_status run_once(struct bench *bench, const struct speed_case *what, struct sample *sample_p)
{
  double bytes = (double)codec_set_chunk(&bench->set) * sizeof *bench->raw[0];
  uint64_t limit = (uint64_t)(bench->options->seconds * (double)KVI_NS_PER_S);
  uint64_t first_tick = ticks();
  uint64_t started = kvi_now_ns();
  uint64_t used = thread_ns();
  uint64_t now = started;
  size_t n = 0;

  while (n == 0 || (now - started < limit && n < SAMPLES_MAX)) {
    uint64_t before = now;
    kvs_status status = operate(bench, what, (uint32_t)(n % COPIES));

    if (status != KVS_OK)
      return status;
    now = kvi_now_ns();
    bench->samples[n++] = (uint32_t)((now - before) / KVI_NS_PER_US);
  }
  used = thread_ns() - used;
  sample_p->gigabytes = (double)n * bytes / (double)used;
  sample_p->cycles = (double)(ticks() - first_tick) * ((double)used / (double)(now - started)) /
                     ((double)n * bytes / sizeof *bench->raw[0]);
  bench_sort_u32(bench->samples, n);
  sample_p->p50_us = bench_percentile(bench->samples, n, 50);
  sample_p->p99_us = bench_percentile(bench->samples, n, 99);
  return KVS_OK;
}

/* Repeats a disturbed run, a bounded number of times; the least disturbed one counts. */
static kvs_status run(struct bench *bench, const struct speed_case *what, struct sample *best)
{
  best->others = INFINITY;
  for (uint32_t i = 0; i < TRIES && best->others > BENCH_DISTURBED; i++) {
    struct sample sample;
    struct bench_load from, to;
    bool known = bench_load_read(&from);
    double ours = bench_process_cpu(getpid());
    kvs_status status = run_once(bench, what, &sample);

    if (status != KVS_OK)
      return status;
    ours = bench_process_cpu(getpid()) - ours;
    known = bench_load_read(&to) && known;
    sample.others = known ? bench_load_of_others(&from, &to, ours) : 0;
    bench->document->machine.repeated += i > 0;
    if (sample.others < best->others)
      *best = sample;
  }
  return KVS_OK;
}

static void record(struct bench *bench, const struct speed_case *what, uint32_t round,
                   const struct sample *sample)
{
  bool clean = sample->others <= BENCH_DISTURBED;
  char name[CODEC_ROW_NAME_MAX];
  struct codec_row *row;

  row = codec_document_set(bench->document, round, sample->gigabytes, clean, "GB/s", what->name);
  if (row == NULL)
    return;
  bench_series_set(&row->p50, round, sample->p50_us, clean);
  bench_series_set(&row->p99, round, sample->p99_us, clean);
  if (what->operation != COPY)
    snprintf(row->to, sizeof row->to, "memcpy");
  if (sample->cycles > 0 && snprintf(name, sizeof name, "%s-cycles", what->name) < (int)sizeof name)
    codec_document_set(bench->document, round, sample->cycles, clean, "cycles/element", name);
}

static kvs_status one_case(struct bench *bench, const struct speed_case *what, uint32_t round,
                           double *others_p)
{
  struct sample sample = {0};
  kvs_status status = kvi_codec_use_path(what->path);

  if (bench->options->progress)
    fprintf(stderr, "\r\033[Kround %u of %u: %s", round + 1, bench->options->rounds, what->name);
  if (status == KVS_OK)
    status = run(bench, what, &sample);
  kvi_codec_use_path(NULL);
  if (status == KVS_OK) {
    record(bench, what, round, &sample);
    *others_p += sample.others / (double)bench->n_cases;
  }
  return status;
}

/* A B C, C B A, ...: what drifts, drifts for all. */
static kvs_status measure(struct bench *bench)
{
  double others[BENCH_ROUNDS_MAX] = {0};
  kvs_status status = KVS_OK;

  for (uint32_t round = 0; round < bench->options->rounds && status == KVS_OK; round++)
    for (size_t i = 0; i < bench->n_cases && status == KVS_OK; i++)
      status =
          one_case(bench, &bench->cases[round % 2 == 0 ? i : bench->n_cases - 1 - i], round, &others[round]);
  if (bench->options->progress)
    fprintf(stderr, "\r\033[K");
  bench->document->machine.others_median = bench_summarise(others, bench->options->rounds).median;
  for (size_t i = 0; i < bench->n_levels; i++) {
    char name[CODEC_ROW_NAME_MAX];

    snprintf(name, sizeof name, "ratio-%s", bench->levels[i].name);
    codec_document_set(bench->document, 0,
                       (double)bench->levels[i].room.shape.raw_bytes / (double)bench->levels[i].length, true,
                       "times smaller", name);
  }
  return status;
}

static void clean_up(struct bench *bench)
{
  for (size_t i = 0; i < bench->n_levels; i++)
    for (uint32_t copy = 0; copy < COPIES; copy++)
      free(bench->levels[i].objects[copy]);
  for (uint32_t i = 0; i < COPIES; i++) {
    free(bench->raw[i]);
    free(bench->out[i]);
  }
  free(bench->object);
  free(bench->scratch);
  free(bench->samples);
  free(bench);
}

kvs_status codec_speed_run(const struct codec_speed_options *options, struct codec_document *document)
{
  struct bench *bench = calloc(1, sizeof *bench);
  kvs_status status;

  if (bench == NULL)
    return KVS_ERR_NOMEM;
  bench->options = options;
  bench->document = document;
  status = prepare(bench);
  if (status == KVS_OK && bench->n_cases > 0)
    status = measure(bench);
  if (status != KVS_OK)
    fprintf(stderr, "kvasir-bench: speed: %s\n", kvs_status_text(status));
  clean_up(bench);
  return status;
}

/* ---- what follows ---- */

static void derive_cores(struct codec_document *document, const char *level, int gigabits)
{
  char name[CODEC_ROW_NAME_MAX];
  double speed, ratio;

  snprintf(name, sizeof name, "decode-%s", level);
  speed = codec_document_value(document, name);
  snprintf(name, sizeof name, "ratio-%s", level);
  ratio = codec_document_value(document, name);
  if (speed <= 0 || ratio <= 0)
    return;
  snprintf(name, sizeof name, "cores-%s-%dGbit", level, gigabits);
  codec_document_set(document, 0, gigabits / 8.0 * ratio / speed, true, "cores", name);
}

static void derive_difference(struct codec_document *document, const char *name, const char *more,
                              const char *less, double parts)
{
  double a = codec_document_value(document, more);
  double b = less != NULL ? codec_document_value(document, less) : 0;

  if (a > 0 && (less == NULL || b > 0))
    codec_document_set(document, 0, (a - b) / parts, true, "cycles/element", name);
}

void codec_speed_derive(struct codec_document *document)
{
  static const int links[] = {10, 25, 100};

  for (size_t i = 0; codec_speed_levels[i] != NULL; i++)
    for (size_t link = 0; link < KVI_ARRAY_SIZE(links); link++)
      derive_cores(document, codec_speed_levels[i], links[link]);
  derive_difference(document, "stage-decode-base-cycles", "decode-ladder-p0-cycles",
                    "crc32c-ladder-p0-cycles", 1);
  derive_difference(document, "stage-decode-plane-cycles", "decode-ladder-p3-cycles",
                    "decode-ladder-p0-cycles", 3);
  derive_difference(document, "stage-encode-base-cycles", "encode-ladder-p0-cycles", NULL, 1);
  derive_difference(document, "stage-encode-plane-cycles", "encode-ladder-p3-cycles",
                    "encode-ladder-p0-cycles", 3);
}
