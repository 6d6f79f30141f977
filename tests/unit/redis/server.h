/*
 * server.h: a real redis-server of a test: a process on loopback at a free port, with a temporary folder, killed and removed at the end.
 */
#ifndef KVI_TESTS_UNIT_REDIS_SERVER_H
#define KVI_TESTS_UNIT_REDIS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_server {
  pid_t pid; /* 0: not running */
  uint16_t port;
  char address[32]; /* "127.0.0.1:port" */
  char folder[64];
  char arguments[40][128]; /* to start it again */
  int n_arguments;
};

/* Starts it; `arguments` are options as for redis-server ("--maxmemory", "8mb"), ended by NULL. Fails the test when it does not answer. */
void server_start(struct redis_server *server, const char *const *arguments);
/* The same as a sentinel, with these lines of configuration. */
void server_start_sentinel(struct redis_server *server, const char *configuration);
/* Again, at the same port with the same options. */
void server_restart(struct redis_server *server);
void server_kill(struct redis_server *server);
void server_stop(struct redis_server *server); /* killed, its folder removed */
/* Freezes and thaws the process. */
void server_freeze(struct redis_server *server, bool frozen);
uint16_t free_port(void);
void pause_ms(unsigned ms);

/* A command by the words of a format of hiredis; the reply's text, integer as text, or "" (static, until the next call). Fails the test when it cannot be sent. */
const char *server_do(const struct redis_server *server, const char *format, ...);
/* Binary arguments. */
const char *server_do_argv(const struct redis_server *server, int argc, const char *const *argv,
                           const size_t *lengths);
/* Does it until it is answered and the reply contains `wanted`; fails the test when it never does. */
void server_await(const struct redis_server *server, const char *wanted, const char *command);

#endif
