#include "tests/bench/capture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

static _Noreturn void be_program(const char *const *argv, int output, int said, pid_t parent)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || dup2(output, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0)
    _exit(127);
  execvp(argv[0], (char *const *)argv);
  _exit(127);
}

/* Until the end of the output, or the time. False: the time. What does not fit is read and thrown away. */
static bool read_all(int fd, char *output, size_t size, uint32_t timeout_ms)
{
  uint64_t until = kvi_now_ns() + timeout_ms * (uint64_t)KVI_NS_PER_MS;
  size_t length = 0;
  char rest[4096];

  for (;;) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    uint64_t now = kvi_now_ns();
    ssize_t n;

    if (now >= until)
      return false;
    if (poll(&readable, 1, (int)((until - now) / KVI_NS_PER_MS + 1)) <= 0)
      continue;
    n = length < size - 1 ? read(fd, output + length, size - 1 - length) : read(fd, rest, sizeof rest);
    if (n <= 0)
      return true;
    length += length < size - 1 ? (size_t)n : 0;
    output[length] = '\0';
  }
}

static double seconds_of(const struct rusage *usage)
{
  return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
         (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

/* What it said is told only when it failed: some talk a lot. */
static void tell(const char *program, int said)
{
  char text[4096];
  off_t end = lseek(said, 0, SEEK_END),
        from = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
  ssize_t n = pread(said, text, sizeof text - 1, from);

  text[n > 0 ? n : 0] = '\0';
  fprintf(stderr, "kvasir-bench: %s failed\n%s", program, text);
}

static kvs_status wait_for_end(pid_t pid, const char *program, int said, double *cpu_p)
{
  struct rusage usage = {0};
  int status = 0;

  if (wait4(pid, &status, 0, &usage) != pid)
    return KVS_ERR_SYSTEM;
  *cpu_p += seconds_of(&usage);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return KVS_OK;
  tell(program, said);
  return KVS_ERR_SYSTEM;
}

kvs_status bench_capture(const char *const *argv, char *output, size_t size, uint32_t timeout_ms,
                         double *cpu_p)
{
  pid_t parent = getpid(), pid = -1;
  int fds[2], said = memfd_create("said", MFD_CLOEXEC);
  kvs_status status = KVS_ERR_SYSTEM;
  bool in_time;

  output[0] = '\0';
  if (said < 0 || pipe2(fds, O_CLOEXEC) != 0)
    goto no_pipe;
  fflush(NULL);
  pid = fork();
  if (pid == 0)
    be_program(argv, fds[1], said, parent);
  close(fds[1]);
  if (pid > 0) {
    in_time = read_all(fds[0], output, size, timeout_ms);
    if (!in_time)
      kill(pid, SIGKILL);
    status = wait_for_end(pid, argv[0], said, cpu_p);
    if (!in_time)
      status = KVS_ERR_DEADLINE;
  }
  close(fds[0]);
no_pipe:
  if (said >= 0)
    close(said);
  return status;
}

bool bench_program_there(const char *name)
{
  const char *path = getenv("PATH");
  char file[4096];

  if (strchr(name, '/') != NULL)
    return access(name, X_OK) == 0;
  while (path != NULL && *path != '\0') {
    size_t length = strcspn(path, ":");

    snprintf(file, sizeof file, "%.*s/%s", (int)length, path, name);
    if (access(file, X_OK) == 0)
      return true;
    path += length + (path[length] == ':');
  }
  return false;
}
