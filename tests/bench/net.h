/* tests/bench/net.h: kvasir-bench net: get, put and lookup over each way, beside what the machine itself can do. */
#ifndef KVASIR_BENCH_NET_H
#define KVASIR_BENCH_NET_H

/* argv[0] is "net". Returns the exit status: 0, 1 (something could not be measured), 2 (bad usage). */
int bench_net(int argc, char **argv);

#endif
