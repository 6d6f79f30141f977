/* Sockets with nothing above them: what the wire itself allows. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/raw.h"
#include "tests/bench/ring.h"
#include "tests/bench/way.h"

struct raw {
  int fd;
  struct bench_ring ring;
  /* In order of sending, which is the order of the replies. */
  struct {
    uint32_t slot;
    uint64_t sequence;
    uint8_t *at;
  } sent[BENCH_DEPTH_MAX];
  uint64_t out, in;
  uint64_t put_offset[BENCH_DEPTH_MAX]; /* by slot: where its last put went */
};

static int connect_tcp(uint16_t port)
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static int connect_unix(const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path) + 1;
  int fd;

  if (length > sizeof address.sun_path)
    return -1;
  memcpy(address.sun_path, path, length);
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static void raw_close(void *way)
{
  struct raw *raw = way;

  if (raw == NULL)
    return;
  if (raw->fd >= 0)
    close(raw->fd);
  bench_ring_close(&raw->ring);
  free(raw);
}

static kvs_status raw_open(const struct bench_way_config *config, void **way_p)
{
  struct raw *raw = calloc(1, sizeof *raw);

  *way_p = NULL;
  if (raw == NULL)
    return KVS_ERR_NOMEM;
  raw->fd = config->way == BENCH_RAW_TCP ? connect_tcp(config->servers->raw_port)
                                         : connect_unix(config->servers->raw_socket);
  if (raw->fd < 0) {
    free(raw);
    return KVS_ERR_UNREACHABLE;
  }
  bench_no_delay(raw->fd);
  if (!bench_ring_open(&raw->ring)) {
    raw_close(raw);
    return KVS_ERR_NOMEM;
  }
  *way_p = raw;
  return KVS_OK;
}

static bool exchange(struct raw *raw, uint64_t op, uint64_t offset, void *data, uint64_t length)
{
  struct bench_raw_request request = {.op = op, .offset = offset, .length = length};
  struct bench_raw_reply reply;

  if (!bench_send_all(raw->fd, &request, sizeof request))
    return false;
  if (op == BENCH_RAW_PUT && !bench_send_all(raw->fd, data, length))
    return false;
  if (!bench_receive_all(raw->fd, &reply, sizeof reply) || reply.length != length)
    return false;
  return op != BENCH_RAW_GET || bench_receive_all(raw->fd, data, length);
}

static kvs_status holds(struct raw *raw, uint64_t size, uint64_t index, bool *holds_p)
{
  uint8_t *scratch = raw->ring.scratch.base;

  if (!exchange(raw, BENCH_RAW_GET, index * size, scratch, size))
    return KVS_ERR_UNREACHABLE;
  *holds_p = bench_pattern_check(scratch, size, bench_seed(size, index));
  return KVS_OK;
}

static kvs_status fill(struct raw *raw, uint64_t size)
{
  uint8_t *scratch = raw->ring.scratch.base;

  for (uint64_t i = 0; i < BENCH_SERVER_BYTES / size; i++) {
    bench_pattern_fill(scratch, size, bench_seed(size, i));
    if (!exchange(raw, BENCH_RAW_PUT, i * size, scratch, size))
      return KVS_ERR_UNREACHABLE;
  }
  return KVS_OK;
}

/* The other raw way uses the same memory of the server, so both ends of the working set are looked at each time. */
static kvs_status prepare_get(struct raw *raw, uint64_t size)
{
  uint64_t n = BENCH_SERVER_BYTES / size;
  bool first = false, last = false, one = true;
  kvs_status status = holds(raw, size, 0, &first);

  if (status == KVS_OK)
    status = holds(raw, size, n - 1, &last);
  if (status != KVS_OK || (first && last))
    return status;
  status = fill(raw, size);
  for (uint64_t i = 0; i < n && status == KVS_OK && one; i++)
    status = holds(raw, size, i, &one);
  return status != KVS_OK ? status : one ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status raw_prepare(void *way, const struct bench_case *what)
{
  struct raw *raw = way;

  raw->out = 0;
  raw->in = 0;
  if (what->op == BENCH_EMPTY_CALL)
    return KVS_OK;
  bench_ring_cut(&raw->ring, what);
  return what->op == BENCH_GET ? prepare_get(raw, what->size) : KVS_OK;
}

static kvs_status raw_issue(void *way, const struct bench_case *what, uint32_t slot, uint64_t sequence)
{
  struct raw *raw = way;
  struct bench_raw_request request = {.sequence = sequence, .length = what->size};
  uint64_t place = raw->out % BENCH_DEPTH_MAX;
  uint64_t n = what->size > 0 ? BENCH_SERVER_BYTES / what->size : 1;
  bool sent;

  request.op = what->op == BENCH_PUT ? BENCH_RAW_PUT : what->op == BENCH_GET ? BENCH_RAW_GET : BENCH_RAW_CALL;
  request.offset = sequence % n * what->size;
  if (what->op == BENCH_PUT)
    request.offset += BENCH_SERVER_BYTES;
  raw->put_offset[slot] = request.offset;
  raw->sent[place].slot = slot;
  raw->sent[place].sequence = sequence;
  raw->sent[place].at = what->op == BENCH_EMPTY_CALL ? NULL : bench_ring_next(&raw->ring, slot);
  if (what->op == BENCH_PUT)
    sent = bench_send_both(raw->fd, &request, sizeof request, raw->sent[place].at, what->size);
  else
    sent = bench_send_all(raw->fd, &request, sizeof request);
  raw->out++;
  return sent ? KVS_OK : KVS_ERR_UNREACHABLE;
}

static kvs_status raw_reap(void *way, const struct bench_case *what, struct bench_done *done_p)
{
  struct raw *raw = way;
  uint64_t place = raw->in++ % BENCH_DEPTH_MAX;
  uint64_t sequence = raw->sent[place].sequence;
  uint8_t *at = raw->sent[place].at;
  struct bench_raw_reply reply;

  if (!bench_receive_all(raw->fd, &reply, sizeof reply))
    return KVS_ERR_UNREACHABLE;
  if (reply.sequence != sequence || reply.length != what->size)
    return KVS_ERR_PROTOCOL;
  done_p->slot = raw->sent[place].slot;
  done_p->bytes = what->size;
  if (what->op != BENCH_GET)
    return KVS_OK;
  if (!bench_receive_all(raw->fd, at, what->size))
    return KVS_ERR_UNREACHABLE;
  sequence %= BENCH_SERVER_BYTES / what->size;
  return bench_pattern_glance(at, what->size, bench_seed(what->size, sequence)) ? KVS_OK : KVS_ERR_CORRUPT;
}

static kvs_status raw_verify(void *way, const struct bench_case *what)
{
  struct raw *raw = way;
  uint8_t *scratch = raw->ring.scratch.base;

  if (what->op != BENCH_PUT)
    return KVS_OK;
  for (uint32_t slot = 0; slot < bench_case_depth(what); slot++) {
    if (raw->ring.last[slot] == NULL)
      continue;
    if (!exchange(raw, BENCH_RAW_GET, raw->put_offset[slot], scratch, what->size))
      return KVS_ERR_UNREACHABLE;
    if (memcmp(scratch, raw->ring.last[slot], what->size) != 0)
      return KVS_ERR_CORRUPT;
  }
  return KVS_OK;
}

const struct bench_way_ops bench_way_raw = {
    .open = raw_open,
    .prepare = raw_prepare,
    .issue = raw_issue,
    .reap = raw_reap,
    .verify = raw_verify,
    .close = raw_close,
};
