/*
 * tests/bench/child.h: servers that a bench starts itself, and ends: when it is done, when it fails, and (by the
 * kernel) when it is killed.
 */
#ifndef KVASIR_BENCH_CHILD_H
#define KVASIR_BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bench_child {
  pid_t pid;  /* 0: not started */
  int output; /* its standard output, -1: not asked for */
  int input;  /* the other end of its standard input, -1: not asked for */
};

/* How to start it. */
struct bench_child_spec {
  const char *const *argv;     /* argv[0] is looked up in PATH; NULL at the end */
  const char *const *environ_; /* "NAME=value" to add; NULL: none */
  int core;                    /* BENCH_CORE_*, in force before exec */
  bool want_output;            /* its standard output comes to us; else it is thrown away */
  bool want_input;             /* its standard input comes from us; else it is empty */
  const char *log_path;        /* its standard error; NULL: ours */
};

/* False, with the reason on stderr, when it cannot be started. */
bool bench_child_start(const struct bench_child_spec *spec, struct bench_child *child);

/* SIGTERM, then after 3 s SIGKILL; waits for its end. A zeroed child is fine. */
void bench_child_stop(struct bench_child *child);

/* True while it runs. */
bool bench_child_alive(struct bench_child *child);

/* Reads one line of its output (without '\n') within timeout_ms. */
bool bench_child_read_line(struct bench_child *child, char *line, size_t size, uint32_t timeout_ms);

/* Writes a whole line and its '\n'. False: it has ended. SIGPIPE has to be ignored. */
bool bench_child_write_line(struct bench_child *child, const char *line);

/* What a child said before it failed, to stderr. */
void bench_child_show_log(const char *path);

/* A loopback port that was free a moment ago; 0: none. */
uint16_t bench_free_port(void);

/* Waits until something accepts on the loopback port, while the child lives. */
bool bench_wait_port(struct bench_child *child, uint16_t port, uint32_t timeout_ms);

#endif
