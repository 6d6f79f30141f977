/* remember_node.h: a store over an SSD tier with its file of waiters, which may be closed and opened again, and a disk that holds the flush of that file. Linked with -Wl,--wrap=fsync. */
#ifndef KVASIR_TESTS_UNIT_TIERS_REMEMBER_NODE_H
#define KVASIR_TESTS_UNIT_TIERS_REMEMBER_NODE_H

#define CHUNK  3000u
#define CHUNKS 8u
#include "chains_testing.h"
#include "remember_testing.h"
#include "ssd_fixture.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "tiers/remember.h"
#include "tiers/remember_file.h"
#include "tiers/remember_private.h"

/* A disk that holds the flush of a file of waiters until it is let go. */
static _Atomic bool held;
static _Atomic uint32_t flushes;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
  char link[64], path[256];
  ssize_t n;

  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  n = readlink(link, path, sizeof(path) - 1);
  path[n > 0 ? n : 0] = '\0';
  if (strstr(path, "/waiters.new")) {
    flushes++;
    AWAIT(!held);
  }
  return __real_fsync(fd);
}

#define WEEK_S    (7.0 * 86400)
#define A_WHILE_S 600.0 /* more than any test takes, on any machine */

/* A node, as far as this goes. It may be closed and opened again. */
struct node {
  struct fixture *f;
  char file[128];
  uint64_t interval_ms;
  const char *policy;
  uint32_t max_chunks;
  _Atomic uint64_t ahead; /* of the policy's clock */
  enum kvi_policy_admission write;
  struct kvi_remember *remember;
  struct kvi_programs *programs;
  struct world world; /* its store is NULL while the node is closed; the clock is the node's */
};

static inline uint64_t clock_of(void *ctx)
{
  return kvi_now_ns() + ((struct node *)ctx)->ahead;
}

static inline void node_open(struct node *node)
{
  struct kvi_store_config config = {.dram_bytes = 1 << 20,
                                    .dram_page_bytes = 4096,
                                    .chunk_bytes_max = CHUNK_MAX,
                                    .max_chunks = node->max_chunks,
                                    .policy = node->policy,
                                    .policy_clock = clock_of,
                                    .policy_clock_ctx = node,
                                    .write = node->write};
  kvs_space_desc desc = testing_space("remember", KEY_BYTES);

  assert_int_equal(kvi_remember_open(node->file, node->interval_ms, &node->remember), KVS_OK);
  kvi_remember_configure(node->remember, &config);
  assert_int_equal(kvi_ssd_create(&node->f->config, &config.medium), KVS_OK);
  assert_int_equal(kvi_store_open(&config, &node->world.store), KVS_OK);
  kvi_remember_restore(node->remember, node->world.store);
  assert_int_equal(kvi_programs_create(64, &node->programs), KVS_OK);
  assert_int_equal(kvi_remember_start(node->remember, node->programs), KVS_OK);
  testing_space_open(node->world.store, TENANT, &desc, node->world.space);
  node->world.tenant = TENANT;
}

static inline void node_close(struct node *node)
{
  struct kvi_store_stats stats;

  AWAIT((kvi_store_stats(node->world.store, &stats), stats.writes_queued == 0 && stats.medium.queued == 0));
  kvi_remember_destroy(node->remember);
  kvi_programs_destroy(node->programs);
  kvi_store_close(node->world.store);
  node->remember = NULL;
  node->world.store = NULL;
}

static inline int node_setup(void **state)
{
  struct node *node = calloc(1, sizeof(*node));
  void *f;

  assert_int_equal(setup(&f), 0);
  node->f = f;
  node->interval_ms = 3600000;
  node->policy = "index";
  node->max_chunks = 1024;
  snprintf(node->file, sizeof(node->file), "%s/waiters", node->f->folder);
  *state = node;
  return 0;
}

static inline int node_teardown(void **state)
{
  struct node *node = *state;
  void *f = node->f;

  if (node->world.store)
    node_close(node);
  teardown(&f);
  free(node);
  return 0;
}

static inline void name_of(uint32_t chain, char name[32])
{
  snprintf(name, 32, "agent %u", chain);
}

/* The program of that chain has used n chunks of it, and waits for this tool. */
static inline void waits(struct node *node, uint32_t chain, uint32_t n, const char *tool, uint32_t p50_ms,
                         uint32_t priority)
{
  char name[32];
  struct kvi_program_hint hint = {.tenant = TENANT,
                                  .program = name,
                                  .parent = "",
                                  .tool = tool,
                                  .wait_kind = KVI_WAIT_TOOL,
                                  .return_p50_ms = p50_ms,
                                  .priority = priority};

  name_of(chain, name);
  hint.hash = kvi_store_program_hash(node->world.store, TENANT, name);
  prompt(&node->world, chain, n);
  assert_int_equal(kvi_programs_hint(node->programs, &hint), KVI_HINT_ACCEPTED);
  say(&node->world, name, chain, n, &hint);
}

/* Who waits, by name: chain. False: nobody of this name. */
static inline bool waiter_of(struct node *node, uint32_t chain, struct kvi_policy_waiter *waiter_p)
{
  char name[32];

  name_of(chain, name);
  return find_waiter(&node->world, name, waiter_p);
}

/* However many. */
static inline size_t waiters_count(struct node *node)
{
  static struct kvi_waiter_info infos[1024];
  uint64_t cursor = 0;
  size_t n = 0;

  do
    n += kvi_store_waiters(node->world.store, TENANT, &cursor, infos, 1024);
  while (cursor != 0);
  return n;
}

static inline size_t n_waiters(struct node *node)
{
  struct kvi_waiter_info infos[64];
  uint64_t cursor = 0;

  return kvi_store_waiters(node->world.store, TENANT, &cursor, infos, 64);
}

static inline void three_wait(struct node *node)
{
  waits(node, 1, 5, "grep", 0, 0);
  node->ahead += 100 * SECOND;
  waits(node, 2, 6, "build", 90000, 80);
  node->ahead += 10 * SECOND;
  waits(node, 3, 7, "", 0, 0);
  node->ahead += SECOND;
}

static inline void assert_waits_as_before(const struct kvi_policy_waiter *before,
                                          const struct kvi_policy_waiter *after)
{
  assert_true(before->program == after->program);
  assert_int_equal(before->n_chunks, after->n_chunks);
  assert_int_equal(before->n_whole, after->n_whole);
  assert_int_equal(before->kind, after->kind);
  assert_true(before->answered && after->answered);
  assert_true(before->announced_s == after->announced_s && before->value_s == after->value_s);
  assert_true(after->waits_s >= before->waits_s && after->waits_s < before->waits_s + A_WHILE_S);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, node_setup, node_teardown)

#endif
