/* server.c: see server.h. */
#include "tests/unit/redis/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

void pause_ms(unsigned ms)
{
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

  nanosleep(&time, NULL);
}

/* Below the ports that the kernel gives to outgoing connections, so that a server which is killed can have its own
   again, and 64 to each process, so that tests at the same time do not choose the same. */
uint16_t free_port(void)
{
  enum { FIRST = 12000, SLOTS = 312, PORTS = 64 };
  static unsigned turn;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  unsigned port = 0;
  bool bound = false;

  for (int i = 0; i < PORTS && !bound; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    port = FIRST + (unsigned)getpid() % SLOTS * PORTS + turn++ % PORTS;
    at.sin_port = htons((uint16_t)port);
    bound = bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
  }
  assert_true(bound);
  return (uint16_t)port;
}

static redisContext *reach(const struct redis_server *server)
{
  struct timeval patience = {.tv_sec = 10};
  redisContext *context = redisConnectWithTimeout("127.0.0.1", server->port, patience);

  if (context && context->err) {
    redisFree(context);
    return NULL;
  }
  if (context)
    redisSetTimeout(context, patience);
  return context;
}

static bool spawn(struct redis_server *server)
{
  char *argv[48];
  int n = 0;
  pid_t pid;

  argv[n++] = (char *)(uintptr_t) "redis-server";
  for (int i = 0; i < server->n_arguments; i++)
    argv[n++] = server->arguments[i];
  argv[n] = NULL;
  pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no server */
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    execvp(argv[0], argv);
    _exit(127);
  }
  server->pid = pid;
  for (kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS); !kvi_deadline_expired(patience);
       pause_ms(10)) {
    redisContext *context = reach(server);

    if (context) {
      redisFree(context);
      return true;
    }
    if (waitpid(pid, NULL, WNOHANG) == pid) {
      server->pid = 0;
      return false; /* somebody took the port meanwhile, or there is no redis-server */
    }
  }
  return false;
}

static void argument(struct redis_server *server, const char *text)
{
  assert_true(server->n_arguments < 40);
  assert_true((size_t)snprintf(server->arguments[server->n_arguments++], sizeof(server->arguments[0]), "%s",
                               text) < sizeof(server->arguments[0]));
}

static void begin(struct redis_server *server)
{
  memset(server, 0, sizeof(*server));
  snprintf(server->folder, sizeof(server->folder), "/tmp/kvasir-test-redis-XXXXXX");
  assert_non_null(mkdtemp(server->folder));
}

static void take_port(struct redis_server *server)
{
  server->port = free_port();
  snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", (unsigned)server->port);
}

void server_start(struct redis_server *server, const char *const *arguments)
{
  char port[8], bus[8];

  begin(server);
  for (int attempt = 0; attempt < 5; attempt++) {
    server->n_arguments = 0;
    take_port(server);
    snprintf(port, sizeof(port), "%u", (unsigned)server->port);
    snprintf(bus, sizeof(bus), "%u", (unsigned)free_port());
    const char *const own[] = {"--port",       port,    "--cluster-port", bus,       "--bind",
                               "127.0.0.1",    "--dir", server->folder,   "--save",  "",
                               "--appendonly", "no",    "--loglevel",     "warning", NULL};
    for (int i = 0; own[i]; i++)
      argument(server, own[i]);
    for (int i = 0; arguments && arguments[i]; i++)
      argument(server, arguments[i]);
    if (spawn(server))
      return;
  }
  fail_msg("redis-server does not start: is it installed?");
}

void server_start_sentinel(struct redis_server *server, const char *configuration)
{
  char path[128];
  FILE *file;

  begin(server);
  for (int attempt = 0; attempt < 5; attempt++) {
    server->n_arguments = 0;
    take_port(server);
    snprintf(path, sizeof(path), "%s/sentinel.conf", server->folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "port %u\nbind 127.0.0.1\ndir %s\n%s", (unsigned)server->port, server->folder,
            configuration);
    fclose(file);
    argument(server, path);
    argument(server, "--sentinel");
    if (spawn(server))
      return;
  }
  fail_msg("the sentinel does not start");
}

void server_kill(struct redis_server *server)
{
  if (server->pid == 0)
    return;
  kill(server->pid, SIGKILL);
  while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
    ;
  server->pid = 0;
}

void server_restart(struct redis_server *server)
{
  server_kill(server);
  assert_true(spawn(server));
}

void server_freeze(struct redis_server *server, bool frozen)
{
  assert_int_equal(kill(server->pid, frozen ? SIGSTOP : SIGCONT), 0);
}

void server_stop(struct redis_server *server)
{
  char command[128];

  server_kill(server);
  if (server->folder[0] == '\0')
    return;
  snprintf(command, sizeof(command), "rm -rf %s", server->folder);
  /* NOLINTNEXTLINE(cert-env33-c): a command of this file's own */
  assert_int_equal(system(command), 0);
  server->folder[0] = '\0';
}

/* ---- commands ---- */

static char answer[64 * 1024];

static void add(const redisReply *reply, size_t *length)
{
  if (reply->type == REDIS_REPLY_ARRAY)
    for (size_t i = 0; i < reply->elements; i++)
      add(reply->element[i], length);
  else if (reply->type == REDIS_REPLY_INTEGER)
    *length += (size_t)snprintf(answer + *length, sizeof(answer) - *length, "%lld ", reply->integer);
  else if (reply->str && *length + (size_t)reply->len + 2 < sizeof(answer)) {
    memcpy(answer + *length, reply->str, (size_t)reply->len);
    *length += (size_t)reply->len;
    answer[(*length)++] = ' ';
  }
}

static const char *answer_of(redisContext *context, redisReply *reply)
{
  size_t length = 0;

  if (!reply)
    fail_msg("redis does not answer: %s", context->errstr);
  add(reply, &length);
  if (length > 0)
    length--;
  answer[length] = '\0';
  freeReplyObject(reply);
  redisFree(context);
  return answer;
}

const char *server_do(const struct redis_server *server, const char *format, ...)
{
  redisContext *context = reach(server);
  redisReply *reply = NULL;

  /* Once more: a server that becomes a replica or a master closes its clients' connections. */
  for (int attempt = 0; attempt < 3; attempt++) {
    va_list arguments;

    if (!context)
      fail_msg("redis at %s cannot be reached", server->address);
    va_start(arguments, format);
    reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    if (reply || attempt == 2)
      break;
    redisFree(context);
    context = reach(server);
  }
  return answer_of(context, reply);
}

const char *server_do_argv(const struct redis_server *server, int argc, const char *const *argv,
                           const size_t *lengths)
{
  redisContext *context = reach(server);

  assert_non_null(context);
  return answer_of(context, redisCommandArgv(context, argc, (const char **)(uintptr_t)argv, lengths));
}

/* A server that becomes a replica or a master closes its clients' connections: that is no answer yet. */
static bool says(const struct redis_server *server, const char *wanted, const char *command)
{
  redisContext *context = reach(server);
  redisReply *reply = context ? redisCommand(context, command) : NULL; /* NOLINT: the test's own literals */

  if (!reply) {
    snprintf(answer, sizeof(answer), "(%s)", context ? context->errstr : "not reached");
    redisFree(context);
    return false;
  }
  return strstr(answer_of(context, reply), wanted) != NULL;
}

void server_await(const struct redis_server *server, const char *wanted, const char *command)
{
  kvi_deadline patience = kvi_deadline_from_ms(PATIENCE_MS);

  while (!says(server, wanted, command)) {
    if (kvi_deadline_expired(patience))
      fail_msg("%s never says %s: %s", command, wanted, answer);
    pause_ms(20);
  }
}
