/*
 * tiers/policy/curve_follow.c: samples through caches of other sizes.
 *
 * By last use: one pass for all capacities (Mattson's stack distances). Each chunk lies at the place of its last use in an array of bytes with sums over it (Fenwick), so that what lies behind a place is what
 * was used later. By next use: a pass for each capacity. What is resident is the set of the samples that will use it next, as bits: the next use of all is the first bit, the farthest the last.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"
#include "tiers/policy/curve_private.h"

#define NONE UINT32_MAX

/* ---- what the passes work on ---- */

void kvi_curve_work_destroy(struct kvi_curve_work *work)
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

static bool work_is_whole(const struct kvi_curve_work *work)
{
  return work->table && work->samples && work->chunk_of && work->next && work->place && work->bytes &&
         work->name && work->stored && work->tree;
}

struct kvi_curve_work *kvi_curve_work_create(uint32_t n)
{
  struct kvi_curve_work *work = calloc(1, sizeof(*work));
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
  if (work_is_whole(work))
    return work;
  kvi_curve_work_destroy(work);
  return NULL;
}

/* ---- a set of numbers ---- */

static void set_add(struct kvi_curve_set *set, uint32_t i)
{
  set->bits[i / 64] |= UINT64_C(1) << i % 64;
  set->words[i / 4096] |= UINT64_C(1) << i / 64 % 64;
  set->top |= UINT64_C(1) << i / 4096;
}

static bool set_has(const struct kvi_curve_set *set, uint32_t i)
{
  return set->bits[i / 64] >> i % 64 & 1;
}

static void set_remove(struct kvi_curve_set *set, uint32_t i)
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
static uint32_t set_last(const struct kvi_curve_set *set)
{
  uint32_t i = last_bit(set->top);

  i = i * 64 + last_bit(set->words[i]);
  return i * 64 + last_bit(set->bits[i]);
}

/* ---- who is who ---- */

uint32_t kvi_curve_group(uint64_t chunk)
{
  return (uint32_t)(kvi_mix64(~chunk) >> 40) % KVI_CURVE_GROUPS;
}

static uint32_t chunk_find(struct kvi_curve_work *work, uint64_t name, struct kvi_curve_answer *answer)
{
  uint32_t slot = (uint32_t)(kvi_mix64(name) >> 16) & work->table_mask;

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
static uint64_t mean_bytes(const struct kvi_curve_work *work, uint32_t n_chunks)
{
  uint64_t sum = 0, n = 0;

  for (uint32_t i = 0; i < n_chunks; i++) {
    sum += work->bytes[i];
    n += work->bytes[i] > 0;
  }
  return n > 0 ? sum / n : 1;
}

static void chunks_collect(struct kvi_curve_work *work, const struct kvi_curve_sample *samples, uint32_t n,
                           struct kvi_curve_answer *answer)
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
  struct kvi_curve_work *work;
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
  const struct kvi_curve_work *work = lru->work;

  if (work->place[chunk] == NONE)
    return INFINITY;
  return (double)(lru->all - tree_sum(work->tree, work->place[chunk])) / lru->rate +
         (double)work->bytes[chunk];
}

static void lru_place(struct lru *lru, uint32_t chunk, uint32_t place)
{
  struct kvi_curve_work *work = lru->work;

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
static void lru_count(const struct lru *lru, uint32_t first, uint32_t end, struct kvi_curve_answer *answer)
{
  double farthest = 0;

  for (uint32_t i = first; i < end; i++) {
    const struct kvi_curve_sample *sample = &lru->samples[i];
    struct kvi_curve_share *share = &answer->shares[kvi_curve_group(sample->chunk)];
    double own = distance(lru, lru->work->chunk_of[i]);

    farthest = sample->flags & KVI_CURVE_ALONE ? own : fmax(farthest, own);
    for (uint32_t p = lru->first; p < lru->end; p++)
      if (farthest <= lru->capacity * kvi_curve_factors[p]) {
        answer->lru[p] += sample->tokens;
        share->lru[p] += sample->tokens;
      }
  }
}

static void some_by_last_use(struct lru *lru, uint32_t from, struct kvi_curve_answer *answer)
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
static void by_last_use(struct lru *lru, uint32_t from, struct kvi_curve_answer *answer)
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
  struct kvi_curve_work *work;
  const struct kvi_curve_sample *samples;
  uint32_t n;
  uint64_t room, used;
};

/* It is kept until its next use, if it can be, and the farthest next uses go for it: perhaps its own. Nothing goes for one that does not fit into an empty cache. */
static void belady_keep(struct belady *belady, uint32_t i)
{
  struct kvi_curve_work *work = belady->work;
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

static void by_next_use(struct belady *belady, uint32_t from, uint32_t p, struct kvi_curve_answer *answer)
{
  struct kvi_curve_work *work = belady->work;
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
      answer->shares[kvi_curve_group(sample->chunk)].belady[p] += sample->tokens;
    }
    belady_keep(belady, i);
  }
}

/* ---- all together ---- */

static void own_count(const struct kvi_curve_work *work, const struct kvi_curve_sample *samples, uint32_t n,
                      uint32_t from, struct kvi_curve_answer *answer)
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
    answer->shares[kvi_curve_group(sample->chunk)].asked += sample->tokens;
    answer->shares[kvi_curve_group(sample->chunk)].memory +=
        sample->flags & KVI_CURVE_MEMORY ? sample->tokens : 0;
    answer->hit += sample->flags & KVI_CURVE_HIT ? sample->tokens : 0;
    answer->memory += sample->flags & KVI_CURVE_MEMORY ? sample->tokens : 0;
    answer->before += sample->flags & KVI_CURVE_HIT && !known ? sample->tokens : 0;
  }
}

void kvi_curve_follow(struct kvi_curve_work *work, const struct kvi_curve_sample *samples, uint32_t n,
                      uint32_t from, double rate, uint64_t capacity, struct kvi_curve_answer *answer)
{
  struct lru lru = {.work = work, .samples = samples, .n = n, .rate = rate, .capacity = (double)capacity};

  *answer = (struct kvi_curve_answer){.asked = 0};
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
