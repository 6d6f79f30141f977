#include "tests/bench/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/program.h"
#include "tests/bench/affinity.h"

#define WARM_SECONDS 0.02
#define ANSWER_MS    300000 /* to reserve and touch memory, fill a working set or a volume, run */
#define SECONDS_MAX  60.0

enum order_kind { ORDER_PREPARE = 1, ORDER_RUN = 2 };

struct order {
  enum order_kind kind;
  struct bench_case what;
  double seconds;
};

struct answer {
  kvs_status status;
  struct bench_sample sample;
};

static pid_t server_of(enum bench_way_id way, const struct bench_servers *servers)
{
  switch (way) {
  case BENCH_RAW_TCP:
  case BENCH_RAW_UNIX:
    return servers->raw_pid;
  case BENCH_REDIS:
  case BENCH_REDIS_BENCHMARK:
  case BENCH_LMCACHE_RESP:
  case BENCH_REDIS_TIER:
    return servers->redis_pid;
  case BENCH_GRPC_TCP:
  case BENCH_GRPC_UNIX:
    return servers->node_pid;
  default:
    return 0;
  }
}

struct client {
  const struct bench_way_ops *ops;
  void *way;
  struct bench_latencies latencies;
  pid_t server;
};

static kvs_status follow(struct client *client, const struct order *order, struct bench_sample *sample)
{
  const struct bench_way_ops *ops = client->ops;
  bool prepare = order->kind == ORDER_PREPARE;
  double seconds = prepare ? WARM_SECONDS : order->seconds;
  kvs_status status = prepare ? ops->prepare(client->way, &order->what) : KVS_OK;

  if (ops->run != NULL)
    return status != KVS_OK || prepare
               ? status
               : bench_run(ops, client->way, &order->what, seconds, client->server, sample);
  if (status == KVS_OK)
    status = bench_drive(ops, client->way, &order->what, seconds, client->server, &client->latencies, sample);
  if (status == KVS_OK)
    status = ops->verify(client->way, &order->what);
  return status;
}

/* The worker's process. Ends when the other end of its socket is closed. */
static int work(enum bench_way_id way, bool defmalloc, const struct bench_servers *servers, int core, int fd)
{
  struct bench_way_config config = {.way = way, .servers = servers};
  struct client client = {.ops = bench_way_get(way), .server = server_of(way, servers)};
  struct answer answer = {.status = KVS_ERR_UNSUPPORTED};
  struct order order;

  if (!bench_run_on(core))
    return EXIT_FAILURE;
  if (!defmalloc)
    kvi_program_tune_malloc();
  if (client.ops != NULL)
    answer.status = bench_latencies_open(&client.latencies);
  if (answer.status == KVS_OK)
    answer.status = client.ops->open(&config, &client.way);
  if (write(fd, &answer, sizeof answer) != sizeof answer || answer.status != KVS_OK)
    return EXIT_FAILURE;
  while (recv(fd, &order, sizeof order, MSG_WAITALL) == sizeof order) {
    answer.status = follow(&client, &order, &answer.sample);
    if (write(fd, &answer, sizeof answer) != sizeof answer)
      break;
  }
  client.ops->close(client.way);
  bench_latencies_close(&client.latencies);
  return EXIT_SUCCESS;
}

static kvs_status receive(struct bench_worker *worker, struct answer *answer)
{
  struct pollfd readable = {.fd = worker->fd, .events = POLLIN};

  if (poll(&readable, 1, ANSWER_MS) <= 0)
    return KVS_ERR_DEADLINE;
  if (recv(worker->fd, answer, sizeof *answer, MSG_WAITALL) != sizeof *answer)
    return KVS_ERR_UNREACHABLE;
  return answer->status;
}

bool bench_worker_start(enum bench_way_id way, bool defmalloc, const struct bench_servers *servers, int core,
                        struct bench_worker *worker)
{
  struct answer answer;
  pid_t parent = getpid();
  kvs_status status;
  int fds[2];

  *worker = (struct bench_worker){.way = way, .defmalloc = defmalloc, .fd = -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    perror("kvasir-bench: socketpair");
    return false;
  }
  fflush(NULL);
  worker->pid = fork();
  if (worker->pid == 0) {
    close(fds[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(getppid() == parent ? work(way, defmalloc, servers, core, fds[1]) : EXIT_FAILURE);
  }
  close(fds[1]);
  worker->fd = fds[0];
  status = worker->pid < 0 ? KVS_ERR_SYSTEM : receive(worker, &answer);
  if (status == KVS_OK)
    return true;
  fprintf(stderr, "kvasir-bench: %s: %s\n", bench_way_name(way), kvs_status_text(status));
  bench_worker_stop(worker);
  return false;
}

void bench_worker_stop(struct bench_worker *worker)
{
  if (worker->pid <= 0)
    return;
  shutdown(worker->fd, SHUT_RDWR); /* workers forked later hold copies of this end */
  close(worker->fd);
  for (int i = 0; i < 60 && worker->pid > 0; i++) { /* up to 3 s for an orderly end */
    if (waitpid(worker->pid, NULL, WNOHANG) == worker->pid)
      worker->pid = 0;
    else
      poll(NULL, 0, 50);
  }
  if (worker->pid > 0) {
    kill(worker->pid, SIGKILL);
    waitpid(worker->pid, NULL, 0);
  }
  worker->pid = 0;
}

static kvs_status ask(struct bench_worker *worker, const struct order *order, struct answer *answer)
{
  if (send(worker->fd, order, sizeof *order, MSG_NOSIGNAL) != sizeof *order)
    return KVS_ERR_UNREACHABLE;
  return receive(worker, answer);
}

kvs_status bench_worker_prepare(struct bench_worker *worker, const struct bench_case *what)
{
  struct order order = {.kind = ORDER_PREPARE, .what = *what};
  struct answer answer;

  return ask(worker, &order, &answer);
}

kvs_status bench_worker_run(struct bench_worker *worker, const struct bench_case *what, double seconds,
                            struct bench_sample *sample_p)
{
  struct order order = {
      .kind = ORDER_RUN, .what = *what, .seconds = seconds < SECONDS_MAX ? seconds : SECONDS_MAX};
  struct answer answer;
  kvs_status status = ask(worker, &order, &answer);

  if (status == KVS_OK)
    *sample_p = answer.sample;
  return status;
}
