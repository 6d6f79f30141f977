#include "tests/bench/medium.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tiers/ssd/ssd.h"

kvs_status bench_ssd_medium(enum bench_way_id way, const char *path, uint64_t bytes, uint64_t chunk_bytes_max,
                            struct kvi_medium **medium_p)
{
  struct kvi_ssd_config config = {.paths = &path,
                                  .n_paths = 1,
                                  .bytes = bytes,
                                  .file_bytes = bytes / BENCH_SSD_FILES,
                                  .chunk_bytes_max = chunk_bytes_max,
                                  .durability = KVI_SSD_DURABLE_SEAL,
                                  .ring = true,
                                  .discard = true,
                                  .discard_after_ms = KVI_SSD_DISCARD_AFTER_MS};

  if (way == BENCH_SSD_DISCARD)
    config.discard_after_ms = 0;
  if (way == BENCH_SSD_NONE)
    config.durability = KVI_SSD_DURABLE_NONE;
  if (way == BENCH_SSD_PUT)
    config.durability = KVI_SSD_DURABLE_PUT;
  return kvi_ssd_create(&config, medium_p);
}

#ifdef KVASIR_BENCH_REDIS

#include "tiers/redis/medium.h"

#define CONNECT_MS 5000

kvs_status bench_redis_medium(uint16_t port, uint32_t connections, struct kvi_medium **medium_p)
{
  char address[32], error[256];
  const char *addresses[] = {address};
  struct kvi_redis_medium_config config = {.redis = {.mode = KVI_REDIS_SINGLE,
                                                     .addresses = addresses,
                                                     .n_addresses = 1,
                                                     .connections = connections},
                                           .key_prefix = "kvasir"};
  kvs_status status;

  snprintf(address, sizeof address, "127.0.0.1:%u", port);
  status = kvi_redis_medium_create(&config, error, sizeof error, medium_p);
  if (status == KVS_ERR_CONFIG)
    fprintf(stderr, "kvasir-bench: %s\n", error);
  return status;
}

kvs_status bench_redis_wait(struct kvi_medium *medium)
{
  for (int waited = 0; waited < CONNECT_MS; waited += 10) {
    struct kvi_redis_stats stats;

    kvi_redis_stats(kvi_redis_of_medium(medium), &stats);
    if (stats.connections > 0 && kvi_redis_is_up(kvi_redis_of_medium(medium)))
      return KVS_OK;
    poll(NULL, 0, 10);
  }
  return KVS_ERR_UNREACHABLE;
}

kvs_status bench_redis_flush(uint16_t port)
{
  static const char command[] = "FLUSHALL SYNC\r\n";
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  char answer[64] = "";
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok;

  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ok = fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 &&
       send(fd, command, sizeof command - 1, MSG_NOSIGNAL) == (ssize_t)sizeof command - 1 &&
       recv(fd, answer, sizeof answer - 1, 0) > 0 && strncmp(answer, "+OK", 3) == 0;
  if (fd >= 0)
    close(fd);
  return ok ? KVS_OK : KVS_ERR_UNREACHABLE;
}

#else

kvs_status bench_redis_medium(uint16_t port, uint32_t connections, struct kvi_medium **medium_p)
{
  (void)port, (void)connections;
  *medium_p = NULL;
  return KVS_ERR_UNSUPPORTED;
}

kvs_status bench_redis_wait(struct kvi_medium *medium)
{
  (void)medium;
  return KVS_ERR_UNSUPPORTED;
}

kvs_status bench_redis_flush(uint16_t port)
{
  (void)port;
  return KVS_ERR_UNSUPPORTED;
}

#endif
