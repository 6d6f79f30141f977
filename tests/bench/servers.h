/* tests/bench/servers.h: the servers of one pass: started on their core, ended with everything they left behind. */
#ifndef KVASIR_BENCH_SERVERS_H
#define KVASIR_BENCH_SERVERS_H

#include "tests/bench/child.h"
#include "tests/bench/way.h"

/* For the rows of tiers. */
struct bench_tier_options {
  const char *directory; /* a folder is made in it */
  uint64_t volume_bytes;
  uint32_t open_chunks;
  const char *lmcache; /* the Python that has it */
};

struct bench_server_options {
  const char *kvasird;  /* program */
  const char *endpoint; /* a node that runs already, "kvasir://..." or "unix:..."; NULL: start one */
  const struct bench_tier_options *tiers; /* NULL: no rows of tiers */
  bool wanted[BENCH_WAYS];                /* no server is started that no way needs */
  int core;
};

struct bench_server_set {
  struct bench_child raw, redis, node;
  struct bench_servers addresses;
  char directory[64]; /* for sockets and logs */
};

/* False, with the reason on stderr and nothing left running, when one of them does not start. */
bool bench_servers_start(const struct bench_server_options *options, struct bench_server_set *set);
void bench_servers_stop(struct bench_server_set *set);

/* Processor time of all of them so far, in seconds. */
double bench_servers_cpu(const struct bench_server_set *set);

/* kvasird beside this program, in its build tree, or in PATH. */
void bench_find_kvasird(char *path, size_t size);

#endif
