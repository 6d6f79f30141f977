#include "tests/bench/codec/rate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/codec/curve.h"
#include "tiers/codec/codec.h"

#define NAME_LENGTH 160u

/* Errors of attention's output between which curves are compared: finer than 8-bit groups nobody asks for, beyond the other nobody uses. */
#define ERROR_LEAST 0.004
#define ERROR_MOST  0.25

/* ---- one method ---- */

struct run {
  const struct codec_set *set;
  uint32_t index; /* of the set in the document */
  const struct codec_truth *truth;
  uint16_t *decoded;
  struct codec_document *document;
};

/* JSON has no infinity: an error beyond all bounds is this one. */
static double told(double error)
{
  return isfinite(error) ? error : 1e30;
}

static void bound_errors(struct codec_error *error)
{
  error->keys = told(error->keys);
  error->values = told(error->values);
  error->keys_worst = told(error->keys_worst);
  error->values_worst = told(error->values_worst);
  error->attention = told(error->attention);
  error->divergence = told(error->divergence);
}

static void set_row(const struct run *run, const struct codec_line *line, const char *what, const char *unit,
                    size_t round, double value)
{
  char name[CODEC_ROW_NAME_MAX];

  snprintf(name, sizeof name, "%s-%s-%s", run->set->name, line->method.name, what);
  codec_document_set(run->document, round, value, true, unit, name);
}

static void add_rows(const struct run *run, const struct codec_line *line)
{
  const struct codec_error *error = &line->error;

  set_row(run, line, "ratio", "times smaller", 0, 16.0 / line->bits);
  set_row(run, line, "keys", "relative L2", 0, error->keys);
  set_row(run, line, "values", "relative L2", 0, error->values);
  set_row(run, line, "attention", "relative L2", 0, error->attention);
  set_row(run, line, "divergence", "nats", 0, error->divergence);
  set_row(run, line, "top", "share", 0, error->top);
  set_row(run, line, "needles", "share", 0, error->needles);
}

/* Which methods must give back every bit. */
static bool has_to_be_exact(const struct codec_method *method)
{
  if (method->code == codec_zstd || method->code == codec_lz4)
    return true;
  return method->code == codec_ours &&
         (method->a == KVI_CODEC_RAW || method->a == KVI_CODEC_LOSSLESS || method->a == KVI_CODEC_ZSTD);
}

static kvs_status measure_chunks(const struct run *run, struct codec_tally *tally, struct codec_line *line)
{
  const struct codec_set *set = run->set;
  double elements = (double)codec_set_chunk(set);

  for (uint32_t chunk = 0; chunk < set->n_chunks; chunk++) {
    struct codec_size size = {0};
    kvs_status status;

    memset(run->decoded, 0xFF, codec_set_chunk(set) * sizeof *run->decoded); /* NaN where nothing comes */
    status = line->method.code(&line->method, set, chunk, run->decoded, &size);
    if (status != KVS_OK)
      return status;
    codec_tally_add(tally, chunk, run->decoded);
    line->bits += size.bits / elements / set->n_chunks;
    line->payload += size.payload / elements / set->n_chunks;
    if (line->method.listed)
      set_row(run, line, "bits", "bits/element", chunk, size.bits / elements);
  }
  return KVS_OK;
}

static kvs_status measure(const struct run *run, const struct codec_method *method)
{
  struct codec_line line = {.set = run->index, .method = *method};
  struct codec_tally *tally;
  kvs_status status = codec_tally_make(run->truth, &tally);

  if (status == KVS_OK)
    status = measure_chunks(run, tally, &line);
  if (status == KVS_OK) {
    codec_tally_result(tally, &line.error);
    bound_errors(&line.error);
    if (has_to_be_exact(method) && !line.error.exact)
      status = KVS_ERR_CORRUPT;
  }
  codec_tally_free(tally);
  if (status != KVS_OK)
    return status;
  codec_document_add(run->document, &line);
  if (method->listed)
    add_rows(run, &line);
  return KVS_OK;
}

/* ---- a set ---- */

static bool is_wanted(const struct codec_set *set, const struct codec_method *method, const regex_t *only)
{
  char name[NAME_LENGTH];

  snprintf(name, sizeof name, "%s-%s", set->name, method->name);
  return only == NULL || regexec(only, name, 0, NULL, 0) == 0;
}

static void tell(const struct run *run, const struct codec_method *method, kvs_status status)
{
  if (status == KVS_ERR_UNSUPPORTED) {
    if (method->listed && run->index == 0)
      fprintf(stderr, "kvasir-bench: %s is not in this build: it is left out\n", method->name);
  } else if (status != KVS_OK) {
    fprintf(stderr, "kvasir-bench: %s, %s: %s\n", run->set->name, method->name, kvs_status_text(status));
  }
}

static kvs_status measure_all(const struct run *run, const regex_t *only, bool progress)
{
  struct codec_method *methods = calloc(CODEC_METHODS_MAX, sizeof *methods);
  size_t n = methods != NULL ? codec_methods(methods, CODEC_METHODS_MAX) : 0;
  kvs_status status = methods != NULL ? KVS_OK : KVS_ERR_NOMEM;

  for (size_t i = 0; i < n; i++) {
    kvs_status one;

    if (!is_wanted(run->set, &methods[i], only))
      continue;
    if (progress)
      fprintf(stderr, "\r\033[K%s %s", run->set->name, methods[i].name);
    one = measure(run, &methods[i]);
    if (progress)
      fprintf(stderr, "\r\033[K");
    tell(run, &methods[i], one);
    if (one != KVS_OK && one != KVS_ERR_UNSUPPORTED)
      status = one;
  }
  free(methods);
  return status;
}

static void describe(const struct codec_set *set, struct codec_document *document)
{
  struct codec_set_line *line = &document->sets[document->n_sets++];

  snprintf(line->name, sizeof line->name, "%s", set->name);
  line->n_chunks = set->n_chunks;
  line->n_layers = set->n_layers;
  line->n_tokens = set->n_tokens;
  line->n_heads = set->n_heads;
  line->dim = set->dim;
  codec_statistics_of(set, &line->statistics);
}

kvs_status codec_rate_run(const struct codec_set *set, const regex_t *only, bool progress,
                          struct codec_document *document)
{
  struct run run = {.set = set, .index = document->n_sets, .document = document};
  struct codec_truth *truth = NULL;
  kvs_status status;

  if (document->n_sets == CODEC_SETS_MAX)
    return KVS_ERR_BUSY;
  describe(set, document);
  run.decoded = malloc(codec_set_chunk(set) * sizeof *run.decoded);
  status = run.decoded != NULL ? codec_truth_make(set, &truth) : KVS_ERR_NOMEM;
  run.truth = truth;
  if (status == KVS_OK)
    status = measure_all(&run, only, progress);
  codec_truth_free(truth);
  free(run.decoded);
  return status;
}

/* ---- comparisons ---- */

typedef double (*error_of)(const struct codec_line *line);

static double attention_of(const struct codec_line *line)
{
  return line->error.attention;
}

static double divergence_of(const struct codec_line *line)
{
  return line->error.divergence;
}

/* All points of the curves whose name begins so; what attention's error is beyond bounds is left out if asked for. */
static void collect(const struct codec_document *document, uint32_t set, const char *name, error_of error,
                    bool bounded, struct codec_curve *curve)
{
  curve->n = 0;
  for (size_t i = 0; i < document->n_lines; i++) {
    const struct codec_line *line = &document->lines[i];

    if (line->set != set || line->method.curve == NULL ||
        strncmp(line->method.curve, name, strlen(name)) != 0)
      continue;
    if (!bounded || (line->error.attention >= ERROR_LEAST && line->error.attention <= ERROR_MOST))
      codec_curve_add(curve, error(line), line->bits);
  }
  codec_curve_settle(curve);
}

/* The peer's points, each against our curve at its error. */
static void compare_curves(struct codec_document *document, uint32_t set, const char *peer, const char *what,
                           error_of error)
{
  struct codec_curve ours, theirs;
  char name[CODEC_ROW_NAME_MAX];
  size_t round = 0;

  collect(document, set, "ladder", error, false, &ours);
  collect(document, set, peer, error, true, &theirs);
  snprintf(name, sizeof name, "%s-%s-curve-bits-at-equal-%s", document->sets[set].name, peer, what);
  for (size_t i = 0; i < theirs.n; i++) {
    double bits;

    if (codec_curve_at(&ours, theirs.points[i].error, &bits))
      codec_document_set(document, round++, theirs.points[i].bits / bits, true, "times the ladder's", name);
  }
}

/* One method with a line of its own against our curve. */
static void compare_method(struct codec_document *document, uint32_t set, const char *method)
{
  const struct codec_line *line = codec_document_line(document, set, method);
  struct codec_curve ours;
  char name[CODEC_ROW_NAME_MAX];
  double bits;

  collect(document, set, "ladder", attention_of, false, &ours);
  snprintf(name, sizeof name, "%s-%s-bits-at-equal-attention", document->sets[set].name, method);
  if (line != NULL && codec_curve_at(&ours, line->error.attention, &bits))
    codec_document_set(document, 0, line->bits / bits, true, "times the ladder's", name);
}

/* The same final step reached by planes and directly. */
static void compare_direct(struct codec_document *document, uint32_t set, const char *progressive,
                           const char *direct, const char *what)
{
  const struct codec_line *a = codec_document_line(document, set, progressive);
  const struct codec_line *b = codec_document_line(document, set, direct);
  char name[CODEC_ROW_NAME_MAX];

  if (a == NULL || b == NULL)
    return;
  snprintf(name, sizeof name, "%s-cost-of-%s", document->sets[set].name, what);
  codec_document_set(document, 0, a->bits - b->bits, true, "bits/element", name);
}

void codec_rate_compare(struct codec_document *document)
{
  static const char *const peers[] = {"lmcache", "cachegen", "groups", "ideal"};
  static const char *const methods[] = {"lmcache-32-16", "lmcache-16-16", "cachegen", "int4-g32", "q8_0"};

  for (uint32_t set = 0; set < document->n_sets; set++) {
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
      compare_curves(document, set, peers[i], "attention", attention_of);
      compare_curves(document, set, peers[i], "divergence", divergence_of);
    }
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
      compare_method(document, set, methods[i]);
    compare_direct(document, set, "step801-p1", "step267-p0", "1-plane");
    compare_direct(document, set, "step900-p2", "step100-p0", "2-planes");
  }
}
