/* client/traces/cost.h: what computing a prompt costs: linear in its tokens, and quadratic by attention. */
#ifndef KVASIR_CLIENT_TRACES_COST_H
#define KVASIR_CLIENT_TRACES_COST_H

/*
 * alpha: seconds a token. beta: seconds a token squared. The defaults are those of policy tables for a model like Llama 3 70B: 4.4e-5 s a token;
 * attention's 4 * layers * width = 2.6e6 operations for each pair of tokens beside 1.4e11 for each token, half of it since tokens see only those before them.
 */
struct sim_cost {
  double alpha, beta;
};
#define SIM_COST_DEFAULT                                                                                     \
  (struct sim_cost)                                                                                          \
  {                                                                                                          \
    4.4e-5, 4.1e-10                                                                                          \
  }

/* Seconds to compute the tokens from n0 on up to n1, those before n0 being there. n0 <= n1. */
static inline double sim_cost_of(const struct sim_cost *cost, double n0, double n1)
{
  return cost->alpha * (n1 - n0) + cost->beta * (n1 * n1 - n0 * n0);
}

#endif
