/*
 * tiers/redis/redis_private.h: what the files of the tier share. All of it is the loop thread's, save where it says otherwise.
 *
 *   redis.c     life, submit, counters            loop.c      the thread: epoll, hand-over, clocks
 *   op.c        an operation's life               command.c   an operation as a Redis command, and its answer
 *   forget.c    an unlink beside a put of its key
 *   node.c      one server: its connections       conn.c      one connection: connect, close, its ring of commands
 *   out.c in.c  its two directions                greet.c     what is said first on a connection
 *   topology.c  which server has a key            sentinel.c cluster.c  how that is found out
 */
#ifndef KVASIR_TIERS_REDIS_REDIS_PRIVATE_H
#define KVASIR_TIERS_REDIS_REDIS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/queue.h"
#include "base/rand.h"
#include "base/thread.h"
#include "tiers/redis/address.h"
#include "tiers/redis/breaker.h"
#include "tiers/redis/redis.h"
#include "tiers/redis/reply.h"
#include "tiers/redis/resolve.h"

#define KVI_REDIS_NODES_MAX     256u
#define KVI_REDIS_IN_BYTES      (64u << 10)
#define KVI_REDIS_HEAD_MAX      (KVI_REDIS_KEY_MAX + 128u)
#define KVI_REDIS_TAIL_MAX      64u
#define KVI_REDIS_LINE_MAX      32u /* "$123456789\r\n" */
#define KVI_REDIS_REDIRECTS_MAX 5u
#define KVI_REDIS_ATTEMPTS_MAX  3u
#define KVI_REDIS_NEVER         UINT64_MAX

struct kvi_redis_conn;
struct kvi_redis_node;

/* ---- commands on a connection ---- */

/* A reply to a command of our own; NULL: the connection was lost before it came. Must not free it. */
typedef void kvi_redis_reply_fn(struct kvi_redis_conn *conn, const redisReply *reply);

enum kvi_redis_expect {
  KVI_REDIS_EXPECT_NOTHING, /* never sent: given up before its first byte */
  KVI_REDIS_EXPECT_REPLY,   /* to fn, to op, or to nobody */
  KVI_REDIS_EXPECT_CHUNK    /* a bulk string with a chunk, to op or to nobody */
};

struct kvi_redis_command {
  enum kvi_redis_expect expect;
  struct kvi_redis_op *op; /* NULL: nobody's (any more) */
  kvi_redis_reply_fn *fn;
  char *owned; /* formatted by hiredis, in place of head; or NULL */
  size_t head_length, body_length, tail_length;
  uint64_t expected_bytes; /* to choose between connections */
  char head[KVI_REDIS_HEAD_MAX];
  char tail[KVI_REDIS_TAIL_MAX];
};

/* ---- connections ---- */

enum kvi_redis_conn_state {
  KVI_REDIS_CONN_DOWN,
  KVI_REDIS_CONN_RESOLVING,
  KVI_REDIS_CONN_CONNECTING,
  KVI_REDIS_CONN_GREETING,
  KVI_REDIS_CONN_READY
};

enum kvi_redis_stage {
  KVI_REDIS_STAGE_REPLY,    /* between replies, or inside one that hiredis parses */
  KVI_REDIS_STAGE_LINE,     /* the "$length" of a chunk */
  KVI_REDIS_STAGE_HEADER,   /* its header */
  KVI_REDIS_STAGE_PROLOGUE, /* its segment table */
  KVI_REDIS_STAGE_PAYLOAD,
  KVI_REDIS_STAGE_DISCARD, /* bytes nobody wants */
};

/* What is being received. */
struct kvi_redis_incoming {
  enum kvi_redis_stage stage;
  char line[KVI_REDIS_LINE_MAX];
  size_t line_length;
  uint8_t *prologue; /* KVI_REDIS_PROLOGUE_MAX bytes, with the connection */
  size_t prologue_length;
  uint64_t bulk;  /* bytes of the bulk string */
  uint64_t taken; /* of them */
  uint64_t began_ns;
  size_t want; /* bytes of the prologue, as far as is known */
  const struct kvi_iov *iov;
  uint32_t n_iov, iov_at;
  size_t iov_offset;
  struct kvi_chunk_table table; /* in prologue */
  uint32_t segment, segment_left, crc;
};

struct kvi_redis_conn {
  struct kvi_redis *redis;
  struct kvi_redis_node *node;
  bool small; /* carries lookups; the others carry chunks */
  enum kvi_redis_conn_state state;
  int fd;
  uint32_t events;         /* as epoll knows them */
  uint64_t state_until_ns; /* resolving, connecting, greeting: given up then */
  uint64_t retry_ns;       /* down: not before */
  uint64_t progress_ns;    /* the last byte that moved */
  struct kvi_redis_resolve *resolve;

  /* Commands number `first` to `next` - 1 wait for their replies; from `writing` on they are not wholly written. Numbers wrap. */
  struct kvi_redis_command *ring; /* n_ring, a power of two; allocated on connect */
  uint32_t n_ring, first, writing, next;
  size_t written;               /* bytes of command `writing` */
  uint64_t out_bytes, in_bytes; /* to be written; expected */

  struct kvi_redis_reader reader;
  uint8_t *in; /* KVI_REDIS_IN_BYTES */
  size_t in_at, in_length;
  struct kvi_redis_incoming incoming;

  unsigned greetings;       /* replies still to come before it is ready */
  enum kvi_redis_cause why; /* it could not be greeted */
  char why_text[128];
  uint64_t probe_until_ns; /* a PING is under way for the breaker; 0: none */
};

static inline struct kvi_redis_command *kvi_redis_conn_command(struct kvi_redis_conn *conn, uint32_t number)
{
  return &conn->ring[number & (conn->n_ring - 1)];
}

/* conn.c */
void kvi_redis_conn_init(struct kvi_redis_conn *conn, struct kvi_redis_node *node, bool small);
void kvi_redis_conn_connect(struct kvi_redis_conn *conn, uint64_t now_ns);
void kvi_redis_conn_resolved(struct kvi_redis_conn *conn, struct kvi_redis_resolve *resolve);
/* Ends everything that is under way on it. counts: the breaker is told. */
void kvi_redis_conn_close(struct kvi_redis_conn *conn, bool counts, const char *reason);
void kvi_redis_conn_destroy(struct kvi_redis_conn *conn);
void kvi_redis_conn_event(struct kvi_redis_conn *conn, uint32_t events);
/* Its clocks: given up connecting, stalled. Returns when it wants to be looked at again. */
uint64_t kvi_redis_conn_tick(struct kvi_redis_conn *conn, uint64_t now_ns);
void kvi_redis_conn_want(struct kvi_redis_conn *conn, uint32_t events);
/* Commands that may still be added. */
static inline uint32_t kvi_redis_conn_room(const struct kvi_redis_conn *conn)
{
  return conn->n_ring - (conn->next - conn->first);
}
/* Adds one, zeroed but for its expect; there must be room. */
struct kvi_redis_command *kvi_redis_conn_add(struct kvi_redis_conn *conn, enum kvi_redis_expect expect);
/* Adds a command of our own; fn NULL: its reply is of no interest. KVS_ERR_NOMEM, KVS_ERR_BUSY. */
kvs_status kvi_redis_conn_ask(struct kvi_redis_conn *conn, kvi_redis_reply_fn *fn, int argc,
                              const char *const *argv, const size_t *lengths);
/* The oldest command has its reply. */
void kvi_redis_conn_pop(struct kvi_redis_conn *conn);
/* Pops those that were given up before they were sent. */
void kvi_redis_conn_skip(struct kvi_redis_conn *conn);

/* Some of the op's command was given to the kernel. */
static inline bool kvi_redis_conn_has_begun(const struct kvi_redis_conn *conn, const struct kvi_redis_op *op)
{
  int32_t ahead = (int32_t)(op->own.command - conn->writing);

  return ahead < 0 || (ahead == 0 && conn->written > 0);
}

/* out.c: false: the connection was closed. */
bool kvi_redis_conn_write(struct kvi_redis_conn *conn);
/* The op is over; its command stays for its reply. False: the connection had to be closed, because part of the caller's memory was sent. */
bool kvi_redis_conn_abandon(struct kvi_redis_conn *conn, struct kvi_redis_op *op);
size_t kvi_redis_command_bytes(const struct kvi_redis_command *command);

/* in.c: false: the connection was closed. */
bool kvi_redis_conn_read(struct kvi_redis_conn *conn);

/* land.c */
/* The reply to a get is about to come as a bulk string. */
void kvi_redis_incoming_begin(struct kvi_redis_conn *conn);
/* Takes bytes of it; returns how many were used, 0: not Redis' protocol. When it is over, its command is popped and the stage is REPLY. */
size_t kvi_redis_incoming_take(struct kvi_redis_conn *conn, const uint8_t *bytes, size_t length);
/* Places for the bytes that come next, up to n of them and most bytes in all; returns how many places. Only in stage PAYLOAD. */
size_t kvi_redis_incoming_places(const struct kvi_redis_conn *conn, struct iovec *places, size_t n,
                                 size_t most);
/* Bytes were received into those places. */
void kvi_redis_incoming_landed(struct kvi_redis_conn *conn, size_t length);
/* Nobody wants the rest. */
void kvi_redis_incoming_discard(struct kvi_redis_conn *conn);

/* greet.c */
kvs_status kvi_redis_greet(struct kvi_redis_conn *conn);

/* ---- servers ---- */

struct kvi_redis_node {
  struct kvi_redis *redis;
  struct kvi_redis_address address;
  bool is_sentinel;
  bool seen;    /* by the refresh of the topology that is under way */
  bool retired; /* not part of the topology any more: no new work, freed when empty */
  uint32_t n_conns;
  struct kvi_redis_conn *conns;
  struct kvi_redis_breaker breaker;
  enum kvi_redis_cause why; /* it is down */
  uint64_t heard_ns;        /* when it said something last, on any connection */
  uint64_t late_ns;         /* when an answer that did not come was held against it last */
  uint64_t warned_ns;       /* when the log said last that it is down; 0: never */
  bool was_up;              /* said in the log */
  kvi_list waiting[2];      /* ops that no connection has taken yet: chunks, small ones */
};

/* NULL: no memory, or KVI_REDIS_NODES_MAX are there. */
struct kvi_redis_node *kvi_redis_node_create(struct kvi_redis *redis, const struct kvi_redis_address *address,
                                             bool is_sentinel);
void kvi_redis_node_destroy(struct kvi_redis_node *node);
struct kvi_redis_node *kvi_redis_node_find(struct kvi_redis *redis, const struct kvi_redis_address *address);
bool kvi_redis_node_is_ready(const struct kvi_redis_node *node);
/* Takes the op, or ends it when the server is down. */
void kvi_redis_node_submit(struct kvi_redis_node *node, struct kvi_redis_op *op);
/* Gives waiting ops to connections that have room. */
void kvi_redis_node_feed(struct kvi_redis_node *node);
uint64_t kvi_redis_node_tick(struct kvi_redis_node *node, uint64_t now_ns);
/* What the breaker is told. */
void kvi_redis_node_failed(struct kvi_redis_node *node, bool trip, enum kvi_redis_cause why,
                           const char *text);
void kvi_redis_node_answered(struct kvi_redis_node *node);
/* The answer to a command of that time did not come by its deadline. */
void kvi_redis_node_late(struct kvi_redis_node *node, uint64_t sent_ns);
/* Its waiting ops end, or are routed anew. */
void kvi_redis_node_flush(struct kvi_redis_node *node, bool reroute);
/* A connection that may take a command of our own, or NULL. */
struct kvi_redis_conn *kvi_redis_node_idle(struct kvi_redis_node *node);

/* ---- where keys are ---- */

/* Makes the nodes to begin with. KVS_ERR_NOMEM. */
kvs_status kvi_redis_topology_open(struct kvi_redis *redis);
/* Keeps it sound: asks sentinels and cluster when it is time. */
uint64_t kvi_redis_topology_tick(struct kvi_redis *redis, uint64_t now_ns);
/* Nobody can say where keys are: all who know are down. */
bool kvi_redis_topology_is_lost(const struct kvi_redis *redis);
/* The server of this op's key; NULL: none is known. */
struct kvi_redis_node *kvi_redis_topology_route(struct kvi_redis *redis, const struct kvi_redis_op *op);
/* It seems to have changed: ask soon. */
void kvi_redis_topology_doubt(struct kvi_redis *redis);
/* Not part of it any more: its ops are routed anew, its connections closed. Freed by the next tick. */
void kvi_redis_node_retire(struct kvi_redis_node *node);
/* The question under way has its answer, or none. */
void kvi_redis_topology_asked(struct kvi_redis *redis, bool answered);
/* Ops that waited for it. */
void kvi_redis_topology_changed(struct kvi_redis *redis);

/* Who the master is; where slots are. The answer calls kvi_redis_topology_asked. */
void kvi_redis_sentinel_ask(struct kvi_redis_conn *conn);
void kvi_redis_cluster_ask(struct kvi_redis_conn *conn);
/* "MOVED 866 127.0.0.1:7002" and "ASK ...": the server, or NULL when it says no address or there is no room. */
struct kvi_redis_node *kvi_redis_cluster_redirect(struct kvi_redis *redis, struct kvi_redis_node *from,
                                                  const char *text, size_t length, bool *moved_p);

/* ---- operations ---- */

/* Chooses a server and gives it the op, or ends it. */
void kvi_redis_op_route(struct kvi_redis *redis, struct kvi_redis_op *op);
void kvi_redis_op_end(struct kvi_redis *redis, struct kvi_redis_op *op, kvs_status status,
                      enum kvi_redis_cause cause);
/* Ends it with the status that the cause has for its verb. */
void kvi_redis_op_fail(struct kvi_redis *redis, struct kvi_redis_op *op, enum kvi_redis_cause cause);
/* Its connection was lost: once more elsewhere, or the end. */
void kvi_redis_op_lost(struct kvi_redis *redis, struct kvi_redis_op *op);
/* Waits in a list. */
void kvi_redis_op_wait(struct kvi_redis_op *op, kvi_list *queue);
struct kvi_redis_op *kvi_redis_op_unwait(kvi_list *queue); /* the first, or NULL */
/*
 * forget.c. An unlink meets this node's own puts of the same key: what was not written yet ends, and if a SET is on its way the unlink is sent
 * behind it on the same connection. True: it was sent, or ended.
 */
bool kvi_redis_forget(struct kvi_redis *redis, struct kvi_redis_op *unlink);
/* Ends those whose deadline has passed. Returns the next one. */
uint64_t kvi_redis_ops_tick(struct kvi_redis *redis, uint64_t now_ns);

/* command.c */
void kvi_redis_command_send(struct kvi_redis_conn *conn, struct kvi_redis_op *op);
/* After a chunk was found: Redis is to keep it for another renew_ms. */
void kvi_redis_command_renew(struct kvi_redis_conn *conn, const struct kvi_redis_op *op);
/* After a damaged one was found: it is removed. */
void kvi_redis_command_remove(struct kvi_redis_conn *conn, const struct kvi_redis_op *op);
void kvi_redis_command_answer(struct kvi_redis_conn *conn, struct kvi_redis_op *op, const redisReply *reply);
void kvi_redis_command_error(struct kvi_redis_conn *conn, struct kvi_redis_op *op, const char *text,
                             size_t length);
static inline bool kvi_redis_op_is_small(const struct kvi_redis_op *op)
{
  return op->verb == KVI_REDIS_LOOK || op->verb == KVI_REDIS_UNLINK ||
         (op->verb == KVI_REDIS_PUT && !op->own.write);
}

/* ---- the whole ---- */

struct kvi_redis {
  struct kvi_redis_config config; /* defaults filled in; strings are ours */
  struct kvi_redis_address *seeds;
  char *strings[5]; /* that config points to */

  kvi_queue *inbox; /* ops of any thread */
  _Atomic uint32_t n_ops;
  atomic_bool woken, closing, up;
  int wake_fd, epoll_fd;
  kvi_thread thread;
  struct kvi_redis_resolver *resolver;

  kvi_rand rand;
  uint64_t now_ns; /* of this turn of the loop */
  uint64_t tick_ns;
  kvi_list ops;    /* all that were taken from the inbox */
  uint32_t n_puts; /* of them */
  bool ending;
  struct kvi_redis_node *nodes[KVI_REDIS_NODES_MAX];
  uint32_t n_nodes;

  struct kvi_redis_node *master; /* single, sentinel; NULL: not known */
  bool had_master;
  struct kvi_redis_node **slots; /* cluster: KVI_REDIS_SLOTS; NULL: not known */
  uint32_t n_slots_known;
  uint64_t topology_ns;       /* ask again then */
  uint64_t topology_asked_ns; /* a question is under way since; 0: none */
  uint32_t topology_next;     /* whom to ask */
  kvi_list homeless;          /* ops whose server is not known yet */

  pthread_mutex_t stats_lock; /* a leaf */
  struct kvi_redis_stats stats;
};

static inline void kvi_redis_count(struct kvi_redis *redis, uint64_t *counter, uint64_t n)
{
  pthread_mutex_lock(&redis->stats_lock);
  *counter += n;
  pthread_mutex_unlock(&redis->stats_lock);
}

/* The loop looks at its clocks at this time at the latest. */
static inline void kvi_redis_tick_by(struct kvi_redis *redis, uint64_t at_ns)
{
  if (at_ns < redis->tick_ns)
    redis->tick_ns = at_ns;
}

void kvi_redis_wake(struct kvi_redis *redis);
void kvi_redis_loop(void *redis); /* the thread */

#endif
