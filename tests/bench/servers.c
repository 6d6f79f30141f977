#include "tests/bench/servers.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/load.h"

#define READY_MS 60000u
#define DRAM_SIZE                                                                                            \
  "512MiB" /* twice what is read in turn, so that puts do not push it out while gets are measured */
#define PATH_BYTES 4096u

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
  (void)info;
  (void)kind;
  (void)where;
  return remove(path);
}

void bench_servers_stop(struct bench_server_set *set)
{
  bench_child_stop(&set->node);
  bench_child_stop(&set->redis);
  bench_child_stop(&set->raw);
  if (set->directory[0] != '\0')
    nftw(set->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  set->directory[0] = '\0';
  if (set->addresses.files[0] != '\0')
    nftw(set->addresses.files, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  set->addresses.files[0] = '\0';
}

double bench_servers_cpu(const struct bench_server_set *set)
{
  return bench_process_cpu(set->raw.pid) + bench_process_cpu(set->redis.pid) +
         bench_process_cpu(set->node.pid);
}

static bool start_raw(struct bench_server_set *set, int core)
{
  char line[64];
  /* This program, even if its file was replaced meanwhile. */
  const char *argv[] = {"/proc/self/exe", "serve-raw", set->addresses.raw_socket, NULL};
  struct bench_child_spec spec = {.argv = argv, .core = core, .want_output = true};

  snprintf(set->addresses.raw_socket, sizeof set->addresses.raw_socket, "%s/raw.sock", set->directory);
  if (!bench_child_start(&spec, &set->raw) ||
      !bench_child_read_line(&set->raw, line, sizeof line, READY_MS) || strncmp(line, "ready ", 6) != 0) {
    fprintf(stderr, "kvasir-bench: the raw server did not start\n");
    return false;
  }
  set->addresses.raw_port = (uint16_t)strtoul(line + 6, NULL, 10);
  set->addresses.raw_pid = set->raw.pid;
  return true;
}

static bool start_redis(struct bench_server_set *set, int core)
{
  uint16_t port = bench_free_port();
  char port_text[8];
  char log[128];
  const char *argv[] = {
      "redis-server", "--port", port_text, "--bind",       "127.0.0.1",   "--save", "",
      "--appendonly", "no",     "--dir",   set->directory, "--maxmemory", "1536mb", "--maxmemory-policy",
      "allkeys-lru",  NULL};
  /* Memory that Redis has touched stays with it, as ours does. */
  const char *environment[] = {"MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1", NULL};
  struct bench_child_spec spec = {.argv = argv, .environ_ = environment, .core = core, .log_path = log};

  snprintf(port_text, sizeof port_text, "%u", port);
  snprintf(log, sizeof log, "%s/redis.log", set->directory);
  if (!bench_child_start(&spec, &set->redis) || !bench_wait_port(&set->redis, port, READY_MS)) {
    fprintf(stderr, "kvasir-bench: redis-server did not start; is it installed?\n");
    bench_child_show_log(log);
    return false;
  }
  set->addresses.redis_port = port;
  set->addresses.redis_pid = set->redis.pid;
  return true;
}

static bool start_node(struct bench_server_set *set, const char *program, int core)
{
  uint16_t port = bench_free_port();
  char listen[64], socket[128], log[128];
  const char *argv[] = {
      program, listen, socket, ("--dram-size=" DRAM_SIZE), "--admin-listen=", "--log-level=warn", NULL};
  struct bench_child_spec spec = {.argv = argv, .core = core, .log_path = log};

  snprintf(listen, sizeof listen, "--listen=127.0.0.1:%u", port);
  snprintf(socket, sizeof socket, "--unix-socket=%s/kvasird.sock", set->directory);
  snprintf(log, sizeof log, "%s/kvasird.log", set->directory);
  if (!bench_child_start(&spec, &set->node) || !bench_wait_port(&set->node, port, READY_MS)) {
    fprintf(stderr, "kvasir-bench: %s did not start\n", program);
    bench_child_show_log(log);
    return false;
  }
  snprintf(set->addresses.node_tcp, sizeof set->addresses.node_tcp, "kvasir://127.0.0.1:%u", port);
  snprintf(set->addresses.node_unix, sizeof set->addresses.node_unix, "unix:%s/kvasird.sock", set->directory);
  set->addresses.node_pid = set->node.pid;
  return true;
}

static void use_endpoint(struct bench_server_set *set, const char *endpoint)
{
  bool is_unix = strncmp(endpoint, "unix:", 5) == 0;
  char *to = is_unix ? set->addresses.node_unix : set->addresses.node_tcp;

  snprintf(to, BENCH_ENDPOINT_MAX, "%s", endpoint);
}

/* The folder of tiers' files, on the device that is asked for. */
static bool make_files(const struct bench_tier_options *tiers, struct bench_server_set *set)
{
  struct bench_servers *to = &set->addresses;

  to->volume_bytes = tiers->volume_bytes;
  to->open_chunks = tiers->open_chunks;
  snprintf(to->lmcache, sizeof to->lmcache, "%s", tiers->lmcache != NULL ? tiers->lmcache : "");
  if ((size_t)snprintf(to->files, sizeof to->files, "%s/kvasir-bench-XXXXXX", tiers->directory) <
          sizeof to->files &&
      mkdtemp(to->files) != NULL)
    return true;
  fprintf(stderr, "kvasir-bench: %s: no folder can be made there: %m\n", tiers->directory);
  to->files[0] = '\0';
  return false;
}

static bool start_all(const struct bench_server_options *options, struct bench_server_set *set)
{
  const bool *wanted = options->wanted;

  if ((wanted[BENCH_RAW_TCP] || wanted[BENCH_RAW_UNIX]) && !start_raw(set, options->core))
    return false;
  if (options->tiers != NULL && !make_files(options->tiers, set))
    return false;
  if ((wanted[BENCH_REDIS] || wanted[BENCH_REDIS_BENCHMARK] || wanted[BENCH_LMCACHE_RESP] ||
       wanted[BENCH_REDIS_TIER]) &&
      !start_redis(set, options->core))
    return false;
  if (options->endpoint != NULL)
    use_endpoint(set, options->endpoint);
  else if ((wanted[BENCH_GRPC_TCP] || wanted[BENCH_GRPC_UNIX]) &&
           !start_node(set, options->kvasird, options->core))
    return false;
  return true;
}

bool bench_servers_start(const struct bench_server_options *options, struct bench_server_set *set)
{
  memset(set, 0, sizeof *set);
  snprintf(set->directory, sizeof set->directory, "/tmp/kvasir-bench-XXXXXX"); /* short: sockets lie in it */
  if (mkdtemp(set->directory) == NULL) {
    perror("kvasir-bench: mkdtemp");
    set->directory[0] = '\0';
    return false;
  }
  if (start_all(options, set))
    return true;
  bench_servers_stop(set);
  return false;
}

void bench_find_kvasird(char *path, size_t size)
{
  static const char *const places[] = {"/kvasird", "/../../server/kvasird", "/../sbin/kvasird"};
  char self[PATH_BYTES];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

  snprintf(path, size, "kvasird");
  if (length <= 0)
    return;
  self[length] = '\0';
  *strrchr(self, '/') = '\0';
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
    char candidate[PATH_BYTES + 32];

    snprintf(candidate, sizeof candidate, "%s%s", self, places[i]);
    if (access(candidate, X_OK) == 0 && strlen(candidate) < size) {
      snprintf(path, size, "%s", candidate);
      return;
    }
  }
}
