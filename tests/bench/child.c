#include "tests/bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/bench/affinity.h"

#define STOP_MS 3000u

static void pause_ms(long ms)
{
  struct timespec duration = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

  nanosleep(&duration, NULL);
}

/* In the child, between fork and exec. Does not return. */
static void become(const struct bench_child_spec *spec, int output, pid_t parent)
{
  int null = open("/dev/null", O_RDWR);
  int log = spec->log_path != NULL ? open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(127); /* it died before the line above */
  dup2(null, STDIN_FILENO);
  dup2(output >= 0 ? output : null, STDOUT_FILENO);
  if (log >= 0)
    dup2(log, STDERR_FILENO);
  if (!bench_run_on(spec->core))
    _exit(127);
  for (size_t i = 0; spec->environ_ != NULL && spec->environ_[i] != NULL; i++)
    putenv((char *)(uintptr_t)spec->environ_[i]); /* putenv keeps the pointer and does not write */
  execvp(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
  fprintf(stderr, "kvasir-bench: cannot run %s: %s\n", spec->argv[0], strerror(errno));
  _exit(127);
}

bool bench_child_start(const struct bench_child_spec *spec, struct bench_child *child)
{
  int pipe_fds[2] = {-1, -1};
  pid_t self = getpid();

  child->pid = 0;
  child->output = -1;
  if (spec->want_output && pipe2(pipe_fds, O_CLOEXEC) != 0) {
    perror("kvasir-bench: pipe");
    return false;
  }
  child->pid = fork();
  if (child->pid == 0)
    become(spec, pipe_fds[1], self);
  if (pipe_fds[1] >= 0)
    close(pipe_fds[1]);
  if (child->pid < 0) {
    perror("kvasir-bench: fork");
    child->pid = 0;
    if (pipe_fds[0] >= 0)
      close(pipe_fds[0]);
    return false;
  }
  child->output = pipe_fds[0];
  return true;
}

bool bench_child_alive(struct bench_child *child)
{
  if (child->pid <= 0)
    return false;
  if (waitpid(child->pid, NULL, WNOHANG) == 0)
    return true;
  child->pid = 0;
  return false;
}

void bench_child_stop(struct bench_child *child)
{
  kvi_deadline deadline = kvi_deadline_from_ms(STOP_MS);

  if (child->pid > 0) {
    kill(child->pid, SIGTERM);
    while (bench_child_alive(child) && !kvi_deadline_expired(deadline))
      pause_ms(5);
  }
  if (child->pid > 0) {
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    child->pid = 0;
  }
  /* A child that never ran has output 0 from its zeroed struct: that descriptor is not ours. */
  if (child->output > STDERR_FILENO)
    close(child->output);
  child->output = -1;
}

bool bench_child_read_line(struct bench_child *child, char *line, size_t size, uint32_t timeout_ms)
{
  kvi_deadline deadline = kvi_deadline_from_ms(timeout_ms);
  size_t length = 0;

  for (;;) {
    struct pollfd readable = {.fd = child->output, .events = POLLIN};
    char byte;

    if (poll(&readable, 1, (int)kvi_deadline_remaining_ms(deadline)) <= 0 ||
        read(child->output, &byte, 1) != 1)
      return false;
    if (byte == '\n')
      break;
    if (length + 1 < size)
      line[length++] = byte;
  }
  line[length] = '\0';
  return true;
}

static int loopback_socket(uint16_t port, struct sockaddr_in *address)
{
  memset(address, 0, sizeof *address);
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address->sin_port = htons(port);
  return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

uint16_t bench_free_port(void)
{
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int fd = loopback_socket(0, &address);
  uint16_t port = 0;

  if (fd < 0)
    return 0;
  if (bind(fd, (struct sockaddr *)&address, length) == 0 &&
      getsockname(fd, (struct sockaddr *)&address, &length) == 0)
    port = ntohs(address.sin_port);
  close(fd);
  return port;
}

bool bench_wait_port(struct bench_child *child, uint16_t port, uint32_t timeout_ms)
{
  kvi_deadline deadline = kvi_deadline_from_ms(timeout_ms);

  while (bench_child_alive(child) && !kvi_deadline_expired(deadline)) {
    struct sockaddr_in address;
    int fd = loopback_socket(port, &address);
    int result = connect(fd, (struct sockaddr *)&address, sizeof address);

    close(fd);
    if (result == 0)
      return true;
    pause_ms(20);
  }
  return false;
}
