/* tiers/sampler.c: a sample of what is looked up and stored. */
#include "tiers/sampler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SHIFT_MOST 24u
#define USES_LEAST 16.0 /* samples for each chunk that memory has room for */
#define USES_MOST  64.0
#define NEW        8.0                 /* of those, chunks that are new, if there are so many */
#define ADJUST     256u                /* samples after which that is looked at */
#define SIZES_MOST (UINT64_C(1) << 16) /* lengths that count for the mean; then each for half */
#define REPEATS    1024u               /* requests that are remembered which had nothing */
#define REPEAT_NS  (5 * UINT64_C(1000000000))
#define TICK_SHIFT 26u  /* 67 ms, so that 32 bits are nine years */
#define PIECE      512u /* samples copied in one hold of the lock */
#define AGES                                                                                                 \
  4u /* times the ring's room: requests that began longer ago count as if they all had begun then */
#define REQUESTS_ENOUGH 100u
#define USES_ENOUGH     1000u
#define REQUESTS_WANTED 250.0 /* in the ring, of which half counts */

struct record {
  struct kvi_curve_sample sample;
  uint32_t at;                 /* ticks since the ring was made */
  uint32_t shift;              /* of the hashes 2^-shift were in the sample */
  uint64_t asked, hit, memory; /* tokens of all requests, when this one began */
};

struct repeat {
  uint64_t keys, at_ns;
};

struct kvi_sampler {
  uint32_t room, page_bytes;
  uint64_t capacity, begun_ns;
  _Atomic uint32_t shift; /* one chunk of 2^shift is in the sample */

  pthread_mutex_t lock; /* guards what follows */
  uint64_t n;           /* samples that have ever come; the next one's place follows from it */
  uint32_t next_request;
  uint64_t asked, hit, memory, left_out;
  uint64_t sizes, size_sum;
  uint32_t come, come_new, come_requests; /* samples of late, those of them that are puts, and look-ups */
  uint64_t adjusted_n;                    /* when more were sampled last */
  struct repeat repeats[REPEATS];
  struct kvi_sampler_report last; /* as of last_ns and last_n */
  uint64_t last_ns, last_n;
  bool has_last;

  pthread_mutex_t estimating; /* held by who makes a new one; before `lock` */
  struct record records[];
};

kvs_status kvi_sampler_create(uint32_t room, uint64_t capacity, uint32_t page_bytes, uint64_t now_ns,
                              struct kvi_sampler **sampler_p)
{
  struct kvi_sampler *sampler;

  *sampler_p = NULL;
  if (room < KVI_SAMPLER_ROOM || room > KVI_CURVE_SAMPLES_MAX || capacity == 0 || page_bytes == 0)
    return KVS_ERR_INVALID;
  sampler = calloc(1, sizeof(*sampler) + (size_t)room * sizeof(struct record));
  if (!sampler)
    return KVS_ERR_NOMEM;
  sampler->room = room;
  sampler->capacity = capacity;
  sampler->page_bytes = page_bytes;
  sampler->begun_ns = now_ns;
  sampler->next_request = 1;
  atomic_init(&sampler->shift, 0);
  pthread_mutex_init(&sampler->lock, NULL);
  pthread_mutex_init(&sampler->estimating, NULL);
  *sampler_p = sampler;
  return KVS_OK;
}

void kvi_sampler_destroy(struct kvi_sampler *sampler)
{
  if (!sampler)
    return;
  pthread_mutex_destroy(&sampler->estimating);
  pthread_mutex_destroy(&sampler->lock);
  free(sampler);
}

uint64_t kvi_sampler_memory(const struct kvi_sampler *sampler)
{
  return sampler ? sizeof(*sampler) + (uint64_t)sampler->room * sizeof(struct record) : 0;
}

/* ---- recording ---- */

/* The store's hash is keyed: nobody chooses keys that are in the sample. */
static bool takes(uint32_t shift, uint64_t chunk)
{
  return (chunk * UINT64_C(0xD6E8FEB86659FD93)) >> 32 < UINT64_C(1) << (32 - shift);
}

static uint32_t shift_of(const struct kvi_sampler *sampler)
{
  return atomic_load_explicit(&sampler->shift, memory_order_relaxed);
}

/* What it takes of memory: whole pages, with a head. Lengths have 28 bits. */
static uint32_t room_of(const struct kvi_sampler *sampler, uint32_t bytes)
{
  return bytes > 0 ? (bytes / sampler->page_bytes + 1) * sampler->page_bytes : 0;
}

static uint32_t tick(const struct kvi_sampler *sampler, uint64_t now_ns)
{
  return now_ns > sampler->begun_ns ? (uint32_t)((now_ns - sampler->begun_ns) >> TICK_SHIFT) : 0;
}

static struct repeat *repeat_of(struct kvi_sampler *sampler, uint64_t keys)
{
  return &sampler->repeats[(keys >> 20) % REPEATS];
}

void kvi_sampler_begin(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t keys,
                       uint64_t now_ns)
{
  const struct repeat *repeat = repeat_of(sampler, keys);

  batch->n = batch->request = 0;
  batch->asked = batch->hit = batch->memory = 0;
  batch->had = false;
  batch->keys = keys;
  batch->now_ns = now_ns;
  batch->shift = shift_of(sampler);
  pthread_mutex_lock(&sampler->lock);
  batch->again = repeat->keys == keys && repeat->at_ns > 0 && now_ns < repeat->at_ns + REPEAT_NS;
  batch->asked_before = sampler->asked;
  batch->hit_before = sampler->hit;
  batch->memory_before = sampler->memory;
  pthread_mutex_unlock(&sampler->lock);
}

void kvi_sampler_add(const struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t chunk,
                     uint32_t bytes, uint32_t tokens, uint32_t flags)
{
  batch->asked += tokens;
  batch->hit += flags & KVI_CURVE_HIT ? tokens : 0;
  batch->memory += flags & KVI_CURVE_MEMORY ? tokens : 0;
  batch->had |= (flags & KVI_CURVE_HIT) != 0;
  if (takes(batch->shift, chunk))
    batch->samples[batch->n++] = (struct kvi_curve_sample){
        .chunk = chunk, .bytes = room_of(sampler, bytes), .tokens = tokens, .flags = flags};
}

/* So many samples the ring should reach back over, for each chunk in memory: the more, the fewer of them are of new chunks. */
static double uses_locked(const struct kvi_sampler *sampler)
{
  double uses = sampler->come_new > 0 ? NEW * sampler->come / sampler->come_new : USES_MOST;

  if (sampler->come < sampler->room / 2)
    return USES_LEAST;
  return uses < USES_LEAST ? USES_LEAST : uses > USES_MOST ? USES_MOST : uses;
}

/* The ring reaches back far enough with one chunk of 2^shift: over enough uses, and over enough requests, which have `shorter` as many samples then as they have now. */
static bool reaches_locked(const struct kvi_sampler *sampler, uint32_t shift, double shorter)
{
  double chunks = (double)sampler->capacity / ((double)sampler->size_sum / (double)sampler->sizes);
  double requests = (double)sampler->come_requests / shorter;

  if (chunks * uses_locked(sampler) / (double)(UINT64_C(1) << shift) > sampler->room)
    return false;
  return sampler->come < sampler->room / 2 || requests * sampler->room >= REQUESTS_WANTED * sampler->come ||
         requests * 4 > sampler->come; /* few samples each: with fewer chunks there are not more of them */
}

static void shift_set_locked(struct kvi_sampler *sampler, uint32_t shift)
{
  atomic_store_explicit(&sampler->shift, shift, memory_order_relaxed);
  sampler->adjusted_n = sampler->n;
}

/* Half as many chunks make half as many samples of each request. More again only if it would do by far, and not before the ring is full of those there are. */
static void adjust_locked(struct kvi_sampler *sampler)
{
  uint32_t shift = shift_of(sampler);

  if (sampler->sizes == 0)
    return;
  while (shift < SHIFT_MOST && !reaches_locked(sampler, shift, 1)) {
    shift_set_locked(sampler, ++shift);
    sampler->come_requests =
        2 * sampler->come_requests < sampler->come ? 2 * sampler->come_requests : sampler->come;
  }
  if (shift > 1 && sampler->n - sampler->adjusted_n >= 2 * (uint64_t)sampler->room &&
      reaches_locked(sampler, shift - 2, 4)) {
    shift_set_locked(sampler, shift - 1);
    sampler->come_requests /= 2;
  }
}

static void come_count_locked(struct kvi_sampler *sampler, bool new)
{
  sampler->come++;
  sampler->come_new += new;
  if (sampler->come < 2 * sampler->room)
    return;
  sampler->come /= 2;
  sampler->come_new /= 2;
  sampler->come_requests /= 2;
}

static void size_count_locked(struct kvi_sampler *sampler, uint32_t bytes)
{
  sampler->size_sum += bytes;
  sampler->sizes += bytes > 0;
  if (sampler->sizes < SIZES_MOST)
    return;
  sampler->size_sum /= 2;
  sampler->sizes /= 2;
}

static void write_locked(struct kvi_sampler *sampler, const struct kvi_sampler_batch *batch, uint32_t i,
                         uint64_t now_ns)
{
  struct record *record = &sampler->records[sampler->n % sampler->room];

  *record = (struct record){.sample = batch->samples[i],
                            .at = tick(sampler, now_ns),
                            .shift = batch->shift,
                            .asked = batch->asked_before,
                            .hit = batch->hit_before,
                            .memory = batch->memory_before};
  record->sample.request = batch->request;
  size_count_locked(sampler, record->sample.bytes);
  come_count_locked(sampler, (record->sample.flags & KVI_CURVE_PUT) != 0);
  if (++sampler->n % ADJUST == 0)
    adjust_locked(sampler);
}

static uint32_t request_next_locked(struct kvi_sampler *sampler)
{
  uint32_t request = sampler->next_request++;

  if (sampler->next_request == 0)
    sampler->next_request = 1;
  return request;
}

static void batch_clear(struct kvi_sampler_batch *batch)
{
  batch->n = 0;
  batch->asked = batch->hit = batch->memory = 0;
}

static void batch_write_locked(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t now_ns)
{
  if (batch->request == 0 && batch->n > 0) {
    batch->request = request_next_locked(sampler);
    sampler->come_requests++;
  }
  for (uint32_t i = 0; i < batch->n; i++)
    write_locked(sampler, batch, i, now_ns);
  sampler->asked += batch->asked;
  sampler->hit += batch->hit;
  sampler->memory += batch->memory;
}

void kvi_sampler_end(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t now_ns)
{
  struct repeat *repeat = repeat_of(sampler, batch->keys);

  pthread_mutex_lock(&sampler->lock);
  if (batch->again && !batch->had)
    sampler->left_out++;
  else {
    batch_write_locked(sampler, batch, now_ns);
    if (!batch->had)
      *repeat = (struct repeat){.keys = batch->keys, .at_ns = batch->now_ns};
    else if (repeat->keys == batch->keys)
      repeat->at_ns = 0;
  }
  pthread_mutex_unlock(&sampler->lock);
  batch_clear(batch);
}

void kvi_sampler_flush(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t now_ns)
{
  if (batch->n <= KVI_SAMPLER_BATCH - KVI_SAMPLER_ROOM)
    return;
  if (!batch->again || batch->had) { /* else it is left out as far as this, whatever comes */
    pthread_mutex_lock(&sampler->lock);
    batch_write_locked(sampler, batch, now_ns);
    pthread_mutex_unlock(&sampler->lock);
  }
  batch_clear(batch);
}

void kvi_sampler_put(struct kvi_sampler *sampler, uint64_t chunk, uint32_t bytes, uint64_t now_ns)
{
  struct kvi_sampler_batch batch;

  batch.shift = shift_of(sampler);
  if (!takes(batch.shift, chunk))
    return;
  batch.samples[0] =
      (struct kvi_curve_sample){.chunk = chunk, .bytes = room_of(sampler, bytes), .flags = KVI_CURVE_PUT};
  pthread_mutex_lock(&sampler->lock);
  batch.request = request_next_locked(sampler);
  batch.asked_before = sampler->asked;
  batch.hit_before = sampler->hit;
  batch.memory_before = sampler->memory;
  write_locked(sampler, &batch, 0, now_ns);
  pthread_mutex_unlock(&sampler->lock);
}

/* ---- the estimate ---- */

/* A copy of the ring: of its records those that are in the sample as it is now, by request. */
struct copy {
  struct record *records, *sorted;
  struct kvi_curve_sample *samples;
  uint32_t *counts; /* by age */
  uint32_t n, next_request;
  uint64_t n_all; /* of the sampler */
  uint64_t asked, hit, memory, left_out;
  uint32_t shift; /* the fewest that were sampled at any time since the oldest record */
};

/* In pieces, so that nobody waits for long. What has been overwritten meanwhile is left out. */
static void records_copy(struct kvi_sampler *sampler, struct copy *copy)
{
  uint64_t next;

  pthread_mutex_lock(&sampler->lock);
  copy->n_all = sampler->n;
  copy->next_request = sampler->next_request;
  copy->asked = sampler->asked;
  copy->hit = sampler->hit;
  copy->memory = sampler->memory;
  copy->left_out = sampler->left_out;
  pthread_mutex_unlock(&sampler->lock);
  next = copy->n_all > sampler->room ? copy->n_all - sampler->room : 0;
  while (next < copy->n_all) {
    uint64_t oldest;

    pthread_mutex_lock(&sampler->lock);
    oldest = sampler->n > sampler->room ? sampler->n - sampler->room : 0;
    next = next < oldest ? oldest : next;
    for (uint32_t i = 0; i < PIECE && next < copy->n_all; i++, next++)
      copy->records[copy->n++] = sampler->records[next % sampler->room];
    pthread_mutex_unlock(&sampler->lock);
  }
  copy->shift = shift_of(sampler);
  for (uint32_t i = 0; i < copy->n; i++)
    copy->shift = copy->shift < copy->records[i].shift ? copy->records[i].shift : copy->shift;
}

static void records_filter(struct copy *copy)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < copy->n; i++)
    if (takes(copy->shift, copy->records[i].sample.chunk))
      copy->records[n++] = copy->records[i];
  copy->n = n;
}

/* Samples of two requests that came at one time may lie between each other. */
static void records_sort(struct copy *copy, uint32_t ages)
{
  uint32_t sum = 0;

  memset(copy->counts, 0, (ages + 1) * sizeof(*copy->counts));
  for (uint32_t pass = 0; pass < 2; pass++) {
    for (uint32_t i = 0; i < copy->n; i++) {
      uint32_t age = copy->next_request - copy->records[i].sample.request;
      uint32_t *count = &copy->counts[ages - (age < ages ? age : ages)];

      if (pass == 1)
        copy->sorted[*count] = copy->records[i];
      ++*count;
    }
    for (uint32_t i = 0; pass == 0 && i <= ages; i++) { /* counts to first places */
      uint32_t own = copy->counts[i];

      copy->counts[i] = sum;
      sum += own;
    }
  }
}

static double seconds_since(const struct kvi_sampler *sampler, const struct record *record, uint64_t now_ns)
{
  uint64_t at = sampler->begun_ns + ((uint64_t)record->at << TICK_SHIFT);

  return now_ns > at ? (double)(now_ns - at) / 1e9 : 0;
}

/* The first half fills the caches. */
static uint32_t half(const struct copy *copy)
{
  uint32_t from = copy->n / 2;

  while (from > 0 && from < copy->n &&
         copy->sorted[from].sample.request == copy->sorted[from - 1].sample.request)
    from++;
  return from;
}

static kvs_status copy_estimate(struct kvi_sampler *sampler, struct copy *copy, uint64_t now_ns,
                                struct kvi_sampler_report *report)
{
  struct kvi_curve_input input = {.samples = copy->samples, .capacity = sampler->capacity};
  kvs_status status;

  records_copy(sampler, copy);
  records_filter(copy);
  records_sort(copy, AGES * sampler->room);
  for (uint32_t i = 0; i < copy->n; i++)
    copy->samples[i] = copy->sorted[i].sample;
  input.n = copy->n;
  input.from = half(copy);
  input.rate = 1 / (double)(UINT64_C(1) << copy->shift);
  if (input.from < copy->n) {
    input.asked = copy->asked - copy->sorted[input.from].asked;
    input.hit = copy->hit - copy->sorted[input.from].hit;
    input.memory = copy->memory - copy->sorted[input.from].memory;
  }
  memset(report, 0, sizeof(*report));
  status = kvi_curve_estimate(&input, &report->curve);
  report->capacity = sampler->capacity;
  report->rate = input.rate;
  report->samples = copy->n;
  report->left_out = copy->left_out;
  if (copy->n > 0)
    report->window_s = seconds_since(sampler, &copy->sorted[0], now_ns);
  if (input.from < copy->n)
    report->counted_s = seconds_since(sampler, &copy->sorted[input.from], now_ns);
  report->enough = report->curve.requests >= REQUESTS_ENOUGH && report->curve.uses >= USES_ENOUGH;
  return status;
}

static kvs_status estimate(struct kvi_sampler *sampler, uint64_t now_ns, struct kvi_sampler_report *report)
{
  struct copy copy = {.records = calloc(sampler->room, sizeof(struct record)),
                      .sorted = calloc(sampler->room, sizeof(struct record)),
                      .samples = calloc(sampler->room, sizeof(struct kvi_curve_sample)),
                      .counts = calloc(AGES * (size_t)sampler->room + 1, sizeof(uint32_t))};
  kvs_status status = KVS_ERR_NOMEM;

  if (copy.records && copy.sorted && copy.samples && copy.counts)
    status = copy_estimate(sampler, &copy, now_ns, report);
  if (status == KVS_OK) {
    pthread_mutex_lock(&sampler->lock);
    sampler->last = *report;
    sampler->last_ns = now_ns;
    sampler->last_n = copy.n_all;
    sampler->has_last = true;
    pthread_mutex_unlock(&sampler->lock);
  }
  free(copy.records);
  free(copy.sorted);
  free(copy.samples);
  free(copy.counts);
  return status;
}

/* The last one, if it is young enough, or nothing has come since. any: whatever it is. */
static bool last_take(struct kvi_sampler *sampler, bool any, uint64_t max_age_ns, uint64_t now_ns,
                      struct kvi_sampler_report *report)
{
  bool good;

  pthread_mutex_lock(&sampler->lock);
  good =
      sampler->has_last && (any || sampler->last_n == sampler->n || now_ns - sampler->last_ns < max_age_ns);
  if (good) {
    double since = now_ns > sampler->last_ns ? (double)(now_ns - sampler->last_ns) / 1e9 : 0;

    *report = sampler->last;
    report->window_s += report->samples > 0 ? since : 0;
    report->counted_s += report->curve.requests > 0 ? since : 0;
  }
  pthread_mutex_unlock(&sampler->lock);
  return good;
}

kvs_status kvi_sampler_estimate(struct kvi_sampler *sampler, uint64_t max_age_ns, uint64_t now_ns,
                                struct kvi_sampler_report *report_p)
{
  kvs_status status = KVS_OK;

  if (last_take(sampler, false, max_age_ns, now_ns, report_p))
    return KVS_OK;
  if (pthread_mutex_trylock(&sampler->estimating) != 0) {
    if (last_take(sampler, true, 0, now_ns, report_p))
      return KVS_OK;
    pthread_mutex_lock(&sampler->estimating); /* the first of all is being made */
  }
  if (!last_take(sampler, false, max_age_ns, now_ns, report_p))
    status = estimate(sampler, now_ns, report_p);
  pthread_mutex_unlock(&sampler->estimating);
  return status;
}
