/*
 * tests/sim/continuum.h: the time to live of Continuum (arXiv 2511.02230, later named CacheTTL), from its paper; its published code has 2 s instead.
 *
 *     ttl = argmax over t of  P(t, tool) * (T * eta + reload) - t
 *
 * P is the share of the tool's calls so far that took no longer than t; candidates are 0 and every duration that was seen. T is the mean wait for admission of those whose context was evicted: the last
 * 100 of them here, since the paper gives no window. eta is -1 times the correlation of the turns that a program has done with those that it has left, over programs that have ended. With 100 calls or fewer in all: durations are
 * exponential with mean 1 s, and eta is 1. With 100 or fewer of the tool: the calls of all tools.
 */
#ifndef KVASIR_SIM_CONTINUUM_H
#define KVASIR_SIM_CONTINUUM_H

#include <stdint.h>

#include <kvasir/status.h>

#define SIM_CONTINUUM_TOOLS 64u /* with durations of their own; others have those of all */
#define SIM_CONTINUUM_COLD  100u

struct sim_continuum;

kvs_status sim_continuum_create(struct sim_continuum **continuum_p); /* KVS_ERR_NOMEM */
void sim_continuum_destroy(struct sim_continuum *continuum);         /* NULL is fine */

/* A call of a tool took so long. Without memory for it, it is forgotten. O(calls). */
void sim_continuum_returned(struct sim_continuum *continuum, uint32_t tool, double seconds);
/* Who had lost its context waited so long to be let in. */
void sim_continuum_waited(struct sim_continuum *continuum, double seconds);
/* A program has ended after so many turns. O(1). */
void sim_continuum_ended(struct sim_continuum *continuum, uint32_t turns);
/* In seconds; reload_s: what it costs to have the context again. O(calls). */
double sim_continuum_ttl(const struct sim_continuum *continuum, uint32_t tool, double reload_s);
/* 1 as long as nothing is known. */
double sim_continuum_eta(const struct sim_continuum *continuum);

#endif
