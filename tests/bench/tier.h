/* tests/bench/tier.h: `kvasir-bench tier`. */
#ifndef KVASIR_BENCH_TIER_H
#define KVASIR_BENCH_TIER_H

/* argv[0] is "tier". Returns the exit status: 0 all measured, 1 something failed, 2 wrong usage. */
int bench_tier(int argc, char **argv);

#endif
