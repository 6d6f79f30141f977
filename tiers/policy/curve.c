/*
 * tiers/policy/curve.c: what a cache of another size would have had.
 *
 * By last use: one pass for all capacities (Mattson's stack distances). Each chunk lies at the place of its last use in an array of bytes with sums over it (Fenwick), so that what lies behind a place is what
 * was used later. By next use: a pass for each capacity. What is resident is the set of the samples that will use it next, as bits: the next use of all is the first bit, the farthest the last.
 */
#include "tiers/policy/curve.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NONE   UINT32_MAX
#define GROUPS 8u /* parts of the sample that are followed alone, to see how much they differ */

const double kvi_curve_factors[KVI_CURVE_POINTS] = {0.125, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 4};

/* A set of numbers below 2^18: bits, and two levels of bits that say which words below are not 0. */
struct set {
  uint64_t bits[KVI_CURVE_SAMPLES_MAX / 64], words[KVI_CURVE_SAMPLES_MAX / 4096], top;
};
static_assert(KVI_CURVE_SAMPLES_MAX <= 64 * 4096, "the top is one word");

/* What the passes work on. */
struct work {
  struct kvi_curve_sample *samples; /* of a group */
  uint32_t *table;                  /* by hash: a sample's chunk + 1; 0: free */
  uint32_t table_mask;
  uint32_t *chunk_of; /* by sample */
  uint32_t *next;     /* by sample: the next use of its chunk; NONE */
  uint32_t *place;    /* by chunk: of its last use; NONE: never stored so far */
  uint64_t *bytes;    /* by chunk */
  uint64_t *name;     /* by chunk */
  bool *
      stored; /* by chunk: it was put or found, so it can be kept. What is asked for and never stored takes no room */
  uint64_t *tree; /* Fenwick's */
  struct set set;
};

/* Tokens of the chunks of a group, in caches that all share. */
struct share {
  uint64_t asked, memory, lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
};

/* What one group of samples says. */
struct answer {
  uint64_t asked, hit, memory, before;
  uint64_t lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
  uint32_t requests, uses, chunks;
  uint64_t distinct_bytes;
  struct share shares[GROUPS];
};

/* ---- a set of numbers ---- */

static void set_add(struct set *set, uint32_t i)
{
  set->bits[i / 64] |= UINT64_C(1) << i % 64;
  set->words[i / 4096] |= UINT64_C(1) << i / 64 % 64;
  set->top |= UINT64_C(1) << i / 4096;
}

static bool set_has(const struct set *set, uint32_t i)
{
  return set->bits[i / 64] >> i % 64 & 1;
}

static void set_remove(struct set *set, uint32_t i)
{
  set->bits[i / 64] &= ~(UINT64_C(1) << i % 64);
  if (set->bits[i / 64] == 0)
    set->words[i / 4096] &= ~(UINT64_C(1) << i / 64 % 64);
  if (set->words[i / 4096] == 0)
    set->top &= ~(UINT64_C(1) << i / 4096);
}

static uint32_t last_bit(uint64_t word)
{
  return 63 - (uint32_t)__builtin_clzll(word); /* GNU: the standard has it from C23 on */
}

/* It is not empty. */
static uint32_t set_last(const struct set *set)
{
  uint32_t i = last_bit(set->top);

  i = i * 64 + last_bit(set->words[i]);
  return i * 64 + last_bit(set->bits[i]);
}

/* ---- who is who ---- */

static uint64_t mix(uint64_t hash)
{
  hash ^= hash >> 31;
  hash *= UINT64_C(0x9E3779B97F4A7C15);
  return hash ^ hash >> 29;
}

static uint32_t group_of(uint64_t chunk)
{
  return (uint32_t)(mix(~chunk) >> 40) % GROUPS;
}

static uint32_t chunk_find(struct work *work, uint64_t name, struct answer *answer)
{
  uint32_t slot = (uint32_t)(mix(name) >> 16) & work->table_mask;

  while (work->table[slot] != 0 && work->name[work->table[slot] - 1] != name)
    slot = (slot + 1) & work->table_mask;
  if (work->table[slot] == 0) {
    work->table[slot] = ++answer->chunks;
    work->name[answer->chunks - 1] = name;
    work->bytes[answer->chunks - 1] = 0;
    work->stored[answer->chunks - 1] = false;
    work->place[answer->chunks - 1] = NONE;
  }
  return work->table[slot] - 1;
}

/* Of a chunk of which nothing says how long it is. */
static uint64_t mean_bytes(const struct work *work, uint32_t n_chunks)
{
  uint64_t sum = 0, n = 0;

  for (uint32_t i = 0; i < n_chunks; i++) {
    sum += work->bytes[i];
    n += work->bytes[i] > 0;
  }
  return n > 0 ? sum / n : 1;
}

static void chunks_collect(struct work *work, const struct kvi_curve_sample *samples, uint32_t n,
                           struct answer *answer)
{
  uint64_t mean;

  memset(work->table, 0, (work->table_mask + 1) * sizeof(*work->table));
  for (uint32_t i = 0; i < n; i++) {
    uint32_t chunk = chunk_find(work, samples[i].chunk, answer);

    work->chunk_of[i] = chunk;
    if (samples[i].bytes > 0)
      work->bytes[chunk] = samples[i].bytes;
    work->stored[chunk] |= (samples[i].flags & (KVI_CURVE_PUT | KVI_CURVE_HIT)) != 0;
  }
  mean = mean_bytes(work, answer->chunks);
  for (uint32_t i = 0; i < answer->chunks; i++) {
    if (work->bytes[i] == 0)
      work->bytes[i] = mean;
    answer->distinct_bytes += work->stored[i] ? work->bytes[i] : 0;
  }
  for (uint32_t i = n; i-- > 0;) {
    work->next[i] = work->place[work->chunk_of[i]];
    if (!(samples[i].flags & KVI_CURVE_PUT))
      work->place[work->chunk_of[i]] = i;
  }
  for (uint32_t i = 0; i < answer->chunks; i++)
    work->place[i] = NONE;
}

static uint32_t request_end(const struct kvi_curve_sample *samples, uint32_t n, uint32_t first)
{
  uint32_t end = first + 1;

  while (end < n && samples[end].request == samples[first].request)
    end++;
  return end;
}

/* ---- by last use ---- */

static void tree_add(uint64_t *tree, uint32_t n, uint32_t place, uint64_t bytes)
{
  for (uint32_t i = place + 1; i <= n; i += i & (0 - i))
    tree[i] += bytes; /* less is added as its complement */
}

/* Of places up to this one. */
static uint64_t tree_sum(const uint64_t *tree, uint32_t place)
{
  uint64_t sum = 0;

  for (uint32_t i = place + 1; i > 0; i -= i & (0 - i))
    sum += tree[i];
  return sum;
}

struct lru {
  struct work *work;
  const struct kvi_curve_sample *samples;
  uint32_t n;
  double rate, capacity;
  uint32_t first, end; /* the points that are followed */
  uint64_t most;       /* longer chunks are not kept */
  uint64_t all;        /* bytes in the tree */
};

/* So large a cache has it: what was used later, and itself. */
static double distance(const struct lru *lru, uint32_t chunk)
{
  const struct work *work = lru->work;

  if (work->place[chunk] == NONE)
    return INFINITY;
  return (double)(lru->all - tree_sum(work->tree, work->place[chunk])) / lru->rate +
         (double)work->bytes[chunk];
}

static void lru_place(struct lru *lru, uint32_t chunk, uint32_t place)
{
  struct work *work = lru->work;

  if (!work->stored[chunk] || work->bytes[chunk] > lru->most)
    return;
  if (work->place[chunk] != NONE)
    tree_add(work->tree, lru->n, work->place[chunk], 0 - work->bytes[chunk]);
  else
    lru->all += work->bytes[chunk];
  work->place[chunk] = place;
  tree_add(work->tree, lru->n, place, work->bytes[chunk]);
}

/* Of a request's samples those that a cache of each size had when it came, as far as it had those before them. */
static void lru_count(const struct lru *lru, uint32_t first, uint32_t end, struct answer *answer)
{
  double farthest = 0;

  for (uint32_t i = first; i < end; i++) {
    const struct kvi_curve_sample *sample = &lru->samples[i];
    struct share *share = &answer->shares[group_of(sample->chunk)];
    double own = distance(lru, lru->work->chunk_of[i]);

    farthest = sample->flags & KVI_CURVE_ALONE ? own : fmax(farthest, own);
    for (uint32_t p = lru->first; p < lru->end; p++)
      if (farthest <= lru->capacity * kvi_curve_factors[p]) {
        answer->lru[p] += sample->tokens;
        share->lru[p] += sample->tokens;
      }
  }
}

static void some_by_last_use(struct lru *lru, uint32_t from, struct answer *answer)
{
  memset(lru->work->tree, 0, (lru->n + 1) * sizeof(*lru->work->tree));
  for (uint32_t i = 0; i < answer->chunks; i++)
    lru->work->place[i] = NONE;
  lru->all = 0;
  for (uint32_t first = 0, end; first < lru->n; first = end) {
    end = request_end(lru->samples, lru->n, first);
    if (lru->samples[first].flags & KVI_CURVE_PUT) { /* it comes; a use it is not */
      if (lru->work->place[lru->work->chunk_of[first]] == NONE)
        lru_place(lru, lru->work->chunk_of[first], first);
      end = first + 1;
      continue;
    }
    if (first >= from)
      lru_count(lru, first, end, answer);
    for (uint32_t i = first; i < end; i++) /* its beginning counts as used last */
      lru_place(lru, lru->work->chunk_of[i], first + (end - 1 - i));
  }
}

/* One pass for all sizes that hold each of the chunks, and one for each size that does not: a chunk that does not fit pushes nothing out. */
static void by_last_use(struct lru *lru, uint32_t from, struct answer *answer)
{
  uint64_t longest = 0;

  for (uint32_t i = 0; i < answer->chunks; i++)
    longest = lru->work->bytes[i] > longest ? lru->work->bytes[i] : longest;
  for (lru->first = 0; lru->first < KVI_CURVE_POINTS; lru->first = lru->end) {
    double room = lru->capacity * kvi_curve_factors[lru->first];

    lru->most = room < (double)longest ? (uint64_t)room : longest;
    lru->end = lru->most < longest ? lru->first + 1 : KVI_CURVE_POINTS;
    some_by_last_use(lru, from, answer);
  }
}

/* ---- by next use ---- */

struct belady {
  struct work *work;
  const struct kvi_curve_sample *samples;
  uint32_t n;
  uint64_t room, used;
};

/* It is kept until its next use, if it can be, and the farthest next uses go for it: perhaps its own. Nothing goes for one that does not fit into an empty cache. */
static void belady_keep(struct belady *belady, uint32_t i)
{
  struct work *work = belady->work;
  uint32_t chunk = work->chunk_of[i];

  if (!work->stored[chunk] || work->bytes[chunk] > belady->room || work->next[i] == NONE ||
      set_has(&work->set, work->next[i]))
    return;
  set_add(&work->set, work->next[i]);
  belady->used += work->bytes[chunk];
  while (belady->used > belady->room) {
    uint32_t last = set_last(&work->set);

    set_remove(&work->set, last);
    belady->used -= work->bytes[work->chunk_of[last]];
  }
}

static void by_next_use(struct belady *belady, uint32_t from, uint32_t p, struct answer *answer)
{
  struct work *work = belady->work;
  bool broken = false;

  memset(&work->set, 0, sizeof(work->set));
  for (uint32_t i = 0; i < belady->n; i++) {
    const struct kvi_curve_sample *sample = &belady->samples[i];
    bool has = set_has(&work->set, i);

    if (has) {
      set_remove(&work->set, i);
      belady->used -= work->bytes[work->chunk_of[i]];
    }
    broken = (i > 0 && sample[-1].request == sample->request && broken) || !has;
    if (i >= from && (sample->flags & KVI_CURVE_ALONE ? has : !broken)) {
      answer->belady[p] += sample->tokens;
      answer->shares[group_of(sample->chunk)].belady[p] += sample->tokens;
    }
    belady_keep(belady, i);
  }
}

/* ---- all together ---- */

static void own_count(const struct work *work, const struct kvi_curve_sample *samples, uint32_t n,
                      uint32_t from, struct answer *answer)
{
  uint32_t request = NONE;

  memset(work->tree, 0, (answer->chunks + 1) * sizeof(*work->tree)); /* whether a chunk was there before */
  for (uint32_t i = 0; i < n; i++) {
    const struct kvi_curve_sample *sample = &samples[i];
    bool known = work->tree[work->chunk_of[i]]++ > 0;

    if (i < from || sample->flags & KVI_CURVE_PUT)
      continue;
    answer->requests += answer->uses == 0 || sample->request != request;
    request = sample->request;
    answer->uses++;
    answer->asked += sample->tokens;
    answer->shares[group_of(sample->chunk)].asked += sample->tokens;
    answer->shares[group_of(sample->chunk)].memory += sample->flags & KVI_CURVE_MEMORY ? sample->tokens : 0;
    answer->hit += sample->flags & KVI_CURVE_HIT ? sample->tokens : 0;
    answer->memory += sample->flags & KVI_CURVE_MEMORY ? sample->tokens : 0;
    answer->before += sample->flags & KVI_CURVE_HIT && !known ? sample->tokens : 0;
  }
}

static void follow(struct work *work, const struct kvi_curve_sample *samples, uint32_t n, uint32_t from,
                   double rate, uint64_t capacity, struct answer *answer)
{
  struct lru lru = {.work = work, .samples = samples, .n = n, .rate = rate, .capacity = (double)capacity};

  *answer = (struct answer){.asked = 0};
  chunks_collect(work, samples, n, answer);
  own_count(work, samples, n, from, answer);
  by_last_use(&lru, from, answer);
  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
    struct belady belady = {.work = work,
                            .samples = samples,
                            .n = n,
                            .room = (uint64_t)((double)capacity * kvi_curve_factors[p] * rate)};

    by_next_use(&belady, from, p, answer);
  }
}

static double part(uint64_t tokens, double asked)
{
  return (double)tokens / asked;
}

static double within(double value)
{
  return fmin(fmax(value, 0), 1);
}

/* What a sample says, before what all requests show is taken into account; parts of the tokens. */
struct said {
  double lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
  double off; /* what the cache there is really had, less what the sample says it had */
};

/*
 * The sample has the hot chunks or has them not, which is most of its error, and two things that all requests show tell how much. It asked for more, or fewer, tokens than its share: those are taken for uses of
 * hot chunks, which hit in any cache (SHARDS-adj). And with that the cache there is would have had more, or less, than it really had: `off`, of which corrected() makes what it is worth.
 */
static void said_take(const struct kvi_curve_input *input, const struct answer *answer, double rate,
                      struct said *said)
{
  bool whole = input->asked == 0 || rate >= 1;
  double asked = whole ? (double)answer->asked : (double)input->asked * rate;
  double more = whole ? 0 : (asked - (double)answer->asked) / asked;

  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
    said->lru[p] = part(answer->lru[p], asked) + more;
    said->belady[p] = part(answer->belady[p], asked) + more;
  }
  said->off = whole ? 0 : part(input->memory, (double)input->asked) - part(answer->memory, asked) - more;
}

static void own_rates(const struct kvi_curve_input *input, const struct answer *answer,
                      struct kvi_curve *curve)
{
  bool whole = input->asked == 0 || input->rate >= 1;
  double asked = whole ? (double)answer->asked : (double)input->asked;

  curve->hit = part(whole ? answer->hit : input->hit, asked);
  curve->memory = part(whole ? answer->memory : input->memory, asked);
  curve->before = part(answer->before, (double)answer->asked);
}

/* A value of each group, and how far what the group says of the node is off. */
struct spread {
  double values[GROUPS], offs[GROUPS];
  uint32_t n;
};

static void spread_add(struct spread *spread, double value, double off)
{
  spread->values[spread->n] = value;
  spread->offs[spread->n++] = off;
}

static double mean_of(const double *values, uint32_t n)
{
  double sum = 0;

  for (uint32_t i = 0; i < n; i++)
    sum += values[i];
  return n > 0 ? sum / n : 0;
}

/*
 * How much of `off` a value wants (a control variate): with so much of it the groups differ least. All of it where the node goes by last use and its hits are in memory. None where what it had has nothing to do with what
 * an LRU has: its hits are on another tier, and taking it off would only add its error.
 */
static double spread_weight(const struct spread *spread)
{
  double value = mean_of(spread->values, spread->n), off = mean_of(spread->offs, spread->n), both = 0,
         square = 0;

  for (uint32_t i = 0; i < spread->n; i++) {
    both += (spread->values[i] - value) * (spread->offs[i] - off);
    square += (spread->offs[i] - off) * (spread->offs[i] - off);
  }
  return square > 0 ? within(-both / square) : 0;
}

/* Of the mean of the groups, with so much of `off`: a standard error. */
static double spread_error(const struct spread *spread, double weight)
{
  double mean = mean_of(spread->values, spread->n) + weight * mean_of(spread->offs, spread->n), sum = 0;

  for (uint32_t i = 0; i < spread->n; i++) {
    double value = spread->values[i] + weight * spread->offs[i] - mean;

    sum += value * value;
  }
  return spread->n > 1 ? sqrt(sum / spread->n / (spread->n - 1)) : NAN;
}

struct spreads {
  struct spread lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];
};

static void groups_follow(struct work *work, const struct kvi_curve_input *input, struct spreads *spreads)
{
  for (uint32_t g = 0; g < GROUPS; g++) {
    uint32_t n = 0, from = 0;
    struct answer answer;
    struct said said;

    for (uint32_t i = 0; i < input->n; i++) {
      if (group_of(input->samples[i].chunk) != g)
        continue;
      work->samples[n++] = input->samples[i];
      from += i < input->from;
    }
    follow(work, work->samples, n, from, input->rate / GROUPS, input->capacity, &answer);
    if (answer.asked == 0)
      continue;
    said_take(input, &answer, input->rate / GROUPS, &said);
    for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
      spread_add(&spreads->lru[p], said.lru[p], said.off);
      spread_add(&spreads->belady[p], said.belady[p], said.off);
    }
  }
}

/* Of the whole sample, by groups of its chunks. They share caches, unlike groups that are followed alone, whose caches hold few chunks: so they differ by what is in them. */
static void shares_spread(const struct kvi_curve_input *input, const struct answer *answer,
                          struct spreads *spreads)
{
  for (uint32_t g = 0; g < GROUPS; g++) {
    const struct share *share = &answer->shares[g];
    struct answer own = {.asked = share->asked, .memory = share->memory};
    struct said said;

    memcpy(own.lru, share->lru, sizeof(own.lru));
    memcpy(own.belady, share->belady, sizeof(own.belady));
    if (own.asked == 0)
      continue;
    said_take(input, &own, input->rate / GROUPS, &said);
    for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
      spread_add(&spreads->lru[p], said.lru[p], said.off);
      spread_add(&spreads->belady[p], said.belady[p], said.off);
    }
  }
}

/* Of one value less another one, each with its weight. */
static double difference_error(const struct spread *value, double value_weight, const struct spread *less,
                               double less_weight)
{
  struct spread spread = {.n = 0};

  for (uint32_t i = 0; i < value->n; i++)
    spread_add(
        &spread,
        value->values[i] + value_weight * value->offs[i] - less->values[i] - less_weight * less->offs[i], 0);
  return spread_error(&spread, 0);
}

/* Never more than twice what the sample may be off without it: if a hot chunk is missing that has its hits elsewhere, no group shows that it has nothing to do with an LRU, but `off` is large. */
static double weight(const struct spread *shares, double off)
{
  double most = 2 * spread_error(shares, 0), weight = spread_weight(shares);

  return weight * fabs(off) > most ? most / fabs(off) : weight;
}

static void corrected(const struct spreads *shares, const struct spreads *groups, const struct said *said,
                      struct kvi_curve *curve)
{
  double lru[KVI_CURVE_POINTS], belady[KVI_CURVE_POINTS];

  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++) {
    lru[p] = weight(&shares->lru[p], said->off);
    belady[p] = weight(&shares->belady[p], said->off);
    curve->points[p].lru = within(said->lru[p] + lru[p] * said->off);
    curve->points[p].belady = within(said->belady[p] + belady[p] * said->off);
    curve->points[p].lru_error = spread_error(&groups->lru[p], lru[p]);
    curve->points[p].belady_error = spread_error(&groups->belady[p], belady[p]);
  }
  curve->gain_error = difference_error(&groups->lru[KVI_CURVE_MORE], lru[KVI_CURVE_MORE],
                                       &groups->lru[KVI_CURVE_OWN], lru[KVI_CURVE_OWN]);
  curve->gap_error = difference_error(&groups->belady[KVI_CURVE_OWN], belady[KVI_CURVE_OWN],
                                      &groups->lru[KVI_CURVE_OWN], lru[KVI_CURVE_OWN]);
}

static void as_said(const struct said *said, struct kvi_curve *curve)
{
  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++)
    curve->points[p] = (struct kvi_curve_point){within(said->lru[p]), within(said->belady[p]), 0, 0};
  curve->gain_error = curve->gap_error = 0;
}

static struct work *work_create(uint32_t n)
{
  struct work *work = calloc(1, sizeof(*work));
  uint32_t slots = 16;

  if (!work)
    return NULL;
  while (slots < 2 * n)
    slots *= 2;
  work->table_mask = slots - 1;
  work->table = calloc(slots, sizeof(*work->table));
  work->samples = calloc(n + 1, sizeof(*work->samples));
  work->chunk_of = calloc(n + 1, sizeof(*work->chunk_of));
  work->next = calloc(n + 1, sizeof(*work->next));
  work->place = calloc(n + 1, sizeof(*work->place));
  work->bytes = calloc(n + 1, sizeof(*work->bytes));
  work->name = calloc(n + 1, sizeof(*work->name));
  work->stored = calloc(n + 1, sizeof(*work->stored));
  work->tree = calloc(n + 1, sizeof(*work->tree));
  return work;
}

static bool work_is_whole(const struct work *work)
{
  return work && work->table && work->samples && work->chunk_of && work->next && work->place && work->bytes &&
         work->name && work->stored && work->tree;
}

static void work_destroy(struct work *work)
{
  if (!work)
    return;
  free(work->table);
  free(work->samples);
  free(work->chunk_of);
  free(work->next);
  free(work->place);
  free(work->bytes);
  free(work->name);
  free(work->stored);
  free(work->tree);
  free(work);
}

static void curve_clear(struct kvi_curve *curve)
{
  memset(curve, 0, sizeof(*curve));
  curve->hit = curve->memory = curve->before = curve->gain_error = curve->gap_error = NAN;
  for (uint32_t p = 0; p < KVI_CURVE_POINTS; p++)
    curve->points[p] = (struct kvi_curve_point){NAN, NAN, NAN, NAN};
}

kvs_status kvi_curve_estimate(const struct kvi_curve_input *input, struct kvi_curve *curve_p)
{
  struct answer answer;
  struct said said;
  struct work *work;

  curve_clear(curve_p);
  if (input->n > KVI_CURVE_SAMPLES_MAX || !(input->rate > 0 && input->rate <= 1) || input->from > input->n ||
      input->capacity == 0)
    return KVS_ERR_INVALID;
  work = work_create(input->n);
  if (!work_is_whole(work)) {
    work_destroy(work);
    return KVS_ERR_NOMEM;
  }
  follow(work, input->samples, input->n, input->from, input->rate, input->capacity, &answer);
  curve_p->requests = answer.requests;
  curve_p->uses = answer.uses;
  curve_p->chunks = answer.chunks;
  curve_p->distinct_bytes = (double)answer.distinct_bytes / input->rate;
  if (answer.asked > 0) {
    curve_p->asked = input->asked > 0 ? input->asked : answer.asked;
    own_rates(input, &answer, curve_p);
    said_take(input, &answer, input->rate, &said);
    if (input->rate < 1) {
      struct spreads shares = {.lru = {{.n = 0}}}, groups = shares;

      shares_spread(input, &answer, &shares);
      groups_follow(work, input, &groups);
      corrected(&shares, &groups, &said, curve_p);
    } else
      as_said(&said, curve_p);
  }
  work_destroy(work);
  return KVS_OK;
}
