/*
 * tiers/sampler.h: a sample of what is looked up and stored, of the time past, for an estimate of what a cache of another size would have had (docs/curve.md).
 *
 * A ring of fixed size: a newer sample takes the place of the oldest. All chunks are sampled at first, and half as many whenever the ring does not reach back far enough with so many: over sixteen times as many samples as memory has room
 * for chunks, and more, up to 64 times, where few of them are of new chunks; and over some hundred requests. Twice as many again, when four times as many would do.
 *
 * Threads: any. A lock of its own, a leaf, is held for some steps, or while 28 KiB are copied. Nothing allocates but create and estimate.
 */
#ifndef KVASIR_TIERS_SAMPLER_H
#define KVASIR_TIERS_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "tiers/policy/curve.h"

#define KVI_SAMPLER_BATCH   128u
#define KVI_SAMPLER_ROOM    64u /* of that is left for what is added in one hold of the store's lock */
#define KVI_SAMPLES_DEFAULT 16384u
#define KVI_SAMPLES_LEAST   4096u /* with fewer there is hardly ever enough to say anything */

struct kvi_sampler;

/* Samples of one request on their way to the ring; its caller's. */
struct kvi_sampler_batch {
  uint32_t n;
  uint32_t request; /* its number; 0: it has none yet */
  uint32_t shift;   /* one chunk of 2^shift was sampled when it began */
  bool again; /* the same keys were asked for just before, and nothing was there; so far nothing is now */
  bool had;
  uint64_t keys, now_ns;
  uint64_t asked, hit, memory;
  uint64_t asked_before, hit_before, memory_before; /* of all requests, when this one began */
  struct kvi_curve_sample samples[KVI_SAMPLER_BATCH];
};

struct kvi_sampler_report {
  struct kvi_curve curve;
  uint64_t capacity; /* bytes */
  double rate;
  uint32_t samples;           /* in the ring */
  uint64_t left_out;          /* look-ups that only asked again, since the node began */
  double window_s, counted_s; /* since the first of them, since the first that counts */
  bool enough;                /* requests and uses that count, to say something */
};

/* room: samples, at least 64, at most KVI_CURVE_SAMPLES_MAX. capacity: bytes of memory, which is given out in pages of page_bytes. KVS_ERR_INVALID, KVS_ERR_NOMEM. */
kvs_status kvi_sampler_create(uint32_t room, uint64_t capacity, uint32_t page_bytes, uint64_t now_ns,
                              struct kvi_sampler **sampler_p);
void kvi_sampler_destroy(struct kvi_sampler *sampler); /* NULL is fine */
uint64_t kvi_sampler_memory(const struct kvi_sampler *sampler);

/*
 * A request has come for keys, all of which make this hash. If the same were asked for within the last seconds and nothing was there, as by an engine that asks until there is something, or until it has room, it is left out, unless
 * something is there now. now_ns does not go back.
 */
void kvi_sampler_begin(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t keys,
                       uint64_t now_ns);
/* A chunk of the chain, sampled or not: flags HIT, MEMORY, ALONE. Takes no lock. There is room in the batch. */
void kvi_sampler_add(const struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t chunk,
                     uint32_t bytes, uint32_t tokens, uint32_t flags);
/* To the ring, if less room than KVI_SAMPLER_ROOM is left in the batch; and at the end of the request, whatever is in it. */
void kvi_sampler_flush(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t now_ns);
void kvi_sampler_end(struct kvi_sampler *sampler, struct kvi_sampler_batch *batch, uint64_t now_ns);
/* A chunk was stored. */
void kvi_sampler_put(struct kvi_sampler *sampler, uint64_t chunk, uint32_t bytes, uint64_t now_ns);

/*
 * What there is to say, no older than max_age_ns, or as old as one that another thread is making anew. Takes some ms of this thread (kvi_curve_estimate). KVS_ERR_NOMEM.
 */
kvs_status kvi_sampler_estimate(struct kvi_sampler *sampler, uint64_t max_age_ns, uint64_t now_ns,
                                struct kvi_sampler_report *report_p);

#endif
