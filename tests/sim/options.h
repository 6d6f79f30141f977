/* tests/sim/options.h: the command line of kvasir-sim. */
#ifndef KVASIR_SIM_OPTIONS_H
#define KVASIR_SIM_OPTIONS_H

#include "tests/sim/replay.h"
#include "tests/sim/source.h"

#define SIM_POLICIES_MAX   16u
#define SIM_CAPACITIES_MAX 32u
#define SIM_SEEDS_MAX      1000u

/* Of the two one is 0. */
struct sim_capacity {
  uint64_t tokens;
  double open; /* times the open working set */
};

struct sim_tier_size {
  double share;       /* of a capacity; 0: there is no such tier */
  double bytes_per_s; /* that come from there; 0 of memory */
};

struct sim_options {
  const struct sim_policy *policies[SIM_POLICIES_MAX];
  size_t n_policies;
  struct sim_capacity capacities[SIM_CAPACITIES_MAX];
  size_t n_capacities;
  struct sim_source source;
  uint64_t seed;
  double load, warm_up;
  struct sim_cost cost;
  double bytes_per_token;
  struct sim_tier_size tiers[SIM_TIERS];
  bool ahead; /* what is on SSD is brought before it is asked for too */
  bool json;
  const char *why;  /* an option's value was refused; NULL: there is no more to say than that */
  const char *plot; /* NULL: none */
};

/* 0: go on; else end with that status less one (1: help or version was printed; 3: the command line is wrong, and it says so). */
int sim_options_parse(int argc, char **argv, struct sim_options *options);

extern const char *const sim_tier_names[SIM_TIERS];

/* "3M", "0.5x", "250k", "1000000"; false: it is none, or not above 0. */
bool sim_capacity_parse(const char *text, struct sim_capacity *capacity_p);
/* "tune", "report"; false: neither. */
bool sim_half_named(const char *text, enum sim_half *half_p);
const char *sim_half_name(enum sim_half half); /* "whole" too */

#endif
