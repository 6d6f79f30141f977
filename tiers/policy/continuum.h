/*
 * tiers/policy/continuum.h: the time to live of Continuum (arXiv 2511.02230, later named CacheTTL), from its paper; its published code has 2 s instead.
 *
 *     ttl = argmax over t of  P(t, tool) * (T * eta + reload) - t
 *
 * P is the share of the tool's calls of late that took no longer than t; candidates are 0 and every duration that was seen. T is the mean wait for admission of those whose context was evicted: the last
 * 100 of them here, since the paper gives no window. eta is -1 times the correlation of the turns that a program has done with those that it has left, over programs that have ended. With 100 calls or fewer in all: durations are
 * exponential with mean 1 s, and eta is 1. With 100 or fewer of the tool: the calls of all tools.
 *
 * The paper keeps all calls; here the last ones count, so that memory (4.5 MB) and time have a bound. One thread at a time; nothing is allocated after create.
 */
#ifndef KVASIR_TIERS_POLICY_CONTINUUM_H
#define KVASIR_TIERS_POLICY_CONTINUUM_H

#include <stdint.h>

#include <kvasir/status.h>

#define KVI_CONTINUUM_TOOLS   64u /* with durations of their own; others have those of all */
#define KVI_CONTINUUM_COLD    100u
#define KVI_CONTINUUM_OF_TOOL 4096u /* calls that count */
#define KVI_CONTINUUM_OF_ALL  16384u

struct kvi_continuum;

kvs_status kvi_continuum_create(struct kvi_continuum **continuum_p); /* KVS_ERR_NOMEM */
void kvi_continuum_destroy(struct kvi_continuum *continuum);         /* NULL is fine */
uint64_t kvi_continuum_memory(void);

/* A call of a tool took so long. O(calls). */
void kvi_continuum_returned(struct kvi_continuum *continuum, uint32_t tool, double seconds);
/* Who had lost its context waited so long to be let in. */
void kvi_continuum_waited(struct kvi_continuum *continuum, double seconds);
/* A program has ended after so many turns. O(1). */
void kvi_continuum_ended(struct kvi_continuum *continuum, uint32_t turns);
/* In seconds; reload_s: what it costs to have the context again. O(calls). */
double kvi_continuum_ttl(const struct kvi_continuum *continuum, uint32_t tool, double reload_s);
/* 1 as long as nothing is known. */
double kvi_continuum_eta(const struct kvi_continuum *continuum);

#endif
