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
static void become(const struct bench_child_spec *spec, int input, int output, pid_t parent)
{
  int null = open("/dev/null", O_RDWR);
  int log = spec->log_path != NULL ? open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(127); /* it died before the line above */
  dup2(input >= 0 ? input : null, STDIN_FILENO);
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

static void close_pipe(int fds[2])
{
  for (int i = 0; i < 2; i++)
    if (fds[i] >= 0)
      close(fds[i]);
}

bool bench_child_start(const struct bench_child_spec *spec, struct bench_child *child)
{
  int output[2] = {-1, -1}, input[2] = {-1, -1};
  pid_t self = getpid();

  *child = (struct bench_child){.output = -1, .input = -1};
  if ((spec->want_output && pipe2(output, O_CLOEXEC) != 0) ||
      (spec->want_input && pipe2(input, O_CLOEXEC) != 0)) {
    perror("kvasir-bench: pipe");
    close_pipe(output);
    return false;
  }
  child->pid = fork();
  if (child->pid == 0)
    become(spec, input[0], output[1], self);
  if (child->pid < 0) {
    perror("kvasir-bench: fork");
    child->pid = 0;
    close_pipe(output);
    close_pipe(input);
    return false;
  }
  if (output[1] >= 0)
    close(output[1]);
  if (input[0] >= 0)
    close(input[0]);
  child->output = output[0];
  child->input = input[1];
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
  /* A child that never ran has descriptors 0 from its zeroed struct: they are not ours. */
  if (child->output > STDERR_FILENO)
    close(child->output);
  if (child->input > STDERR_FILENO)
    close(child->input);
  child->output = -1;
  child->input = -1;
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

static bool write_all(int fd, const char *data, size_t length)
{
  while (length > 0) {
    ssize_t n = write(fd, data, length);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    data += n;
    length -= (size_t)n;
  }
  return true;
}

bool bench_child_write_line(struct bench_child *child, const char *line)
{
  return write_all(child->input, line, strlen(line)) && write_all(child->input, "\n", 1);
}

void bench_child_show_log(const char *path)
{
  FILE *log = fopen(path, "re");
  char line[512];

  if (log == NULL)
    return;
  while (fgets(line, sizeof line, log) != NULL)
    fprintf(stderr, "  %s", line);
  fclose(log);
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
