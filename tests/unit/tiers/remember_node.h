/* remember_node.h: a store over an SSD tier with its file of waiters, which may be closed and opened again, and a disk that holds the flush of that file. Linked with -Wl,--wrap=fsync. */
#ifndef KVASIR_TESTS_UNIT_TIERS_REMEMBER_NODE_H
#define KVASIR_TESTS_UNIT_TIERS_REMEMBER_NODE_H

#define CHUNKS 8u
#include "remember_testing.h"
#include "ssd_fixture.h"
#include "store_waiting.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "tiers/hint.h"
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

#define SECOND     KVI_NS_PER_S
#define CHAIN_MOST 40u
#define BYTES      3000u
#define WEEK_S     (7.0 * 86400)
#define A_WHILE_S  600.0 /* more than any test takes, on any machine */

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
  struct kvi_store *store;
  struct kvi_programs *programs;
  uint8_t space[KVS_DIGEST_SIZE];
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
  assert_int_equal(kvi_store_open(&config, &node->store), KVS_OK);
  kvi_remember_restore(node->remember, node->store);
  assert_int_equal(kvi_programs_create(64, &node->programs), KVS_OK);
  assert_int_equal(kvi_remember_start(node->remember, node->programs), KVS_OK);
  testing_space_open(node->store, TENANT, &desc, node->space);
}

static inline void node_close(struct node *node)
{
  struct kvi_store_stats stats;

  AWAIT((kvi_store_stats(node->store, &stats), stats.writes_queued == 0 && stats.medium.queued == 0));
  kvi_remember_destroy(node->remember);
  kvi_programs_destroy(node->programs);
  kvi_store_close(node->store);
  node->remember = NULL;
  node->store = NULL;
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

  if (node->store)
    node_close(node);
  teardown(&f);
  free(node);
  return 0;
}

static inline void key_of(uint32_t chain, uint32_t place, uint8_t *key)
{
  testing_key(1000 * chain + place, key, KEY_BYTES);
}

/* As an engine does: n chunks of the chain are looked up, and what is missing is put. Returns the hits. */
static inline uint32_t prompt(struct node *node, uint32_t chain, uint32_t n)
{
  uint8_t keys[CHAIN_MOST * KEY_BYTES];
  const uint8_t *space = node->space;
  struct kvi_store_lookup query = {.tenant = TENANT,
                                   .owner = 1,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = keys,
                                   .key_length = KEY_BYTES,
                                   .n_keys = n};
  struct kvi_store_lookup_result result = {0};

  for (uint32_t i = 0; i < n; i++)
    key_of(chain, i, keys + (size_t)i * KEY_BYTES);
  assert_int_equal(kvi_store_lookup(node->store, &query, &result), KVS_OK);
  for (uint32_t i = result.prefix; i < n; i++)
    assert_int_equal(testing_put(node->store, TENANT, node->space, keys + (size_t)i * KEY_BYTES, KEY_BYTES,
                                 i > 0 ? keys + (size_t)(i - 1) * KEY_BYTES : NULL, i, BYTES, i),
                     KVS_OK);
  return result.prefix;
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
  uint8_t key[KEY_BYTES];
  struct kvi_hint_keys keys = {.space = node->space, .keys = key, .key_length = KEY_BYTES, .n_keys = 1};
  struct kvi_program_hint hint = {.tenant = TENANT,
                                  .program = name,
                                  .parent = "",
                                  .tool = tool,
                                  .wait_kind = KVI_WAIT_TOOL,
                                  .return_p50_ms = p50_ms,
                                  .priority = priority};

  name_of(chain, name);
  key_of(chain, n - 1, key);
  hint.hash = kvi_store_program_hash(node->store, TENANT, name);
  prompt(node, chain, n);
  assert_int_equal(kvi_programs_hint(node->programs, &hint), KVI_HINT_ACCEPTED);
  assert_int_equal(kvi_store_hint(node->store, &hint, &keys), KVI_HINT_ACCEPTED);
}

/* Who waits, by name: chain. False: nobody of this name. */
static inline bool waiter_of(struct node *node, uint32_t chain, struct kvi_policy_waiter *waiter_p)
{
  struct kvi_waiter_info infos[64];
  uint64_t cursor = 0;
  char name[32];
  size_t n = kvi_store_waiters(node->store, TENANT, &cursor, infos, 64);

  name_of(chain, name);
  for (size_t i = 0; i < n; i++)
    if (infos[i].waiter.program == kvi_store_program_hash(node->store, TENANT, name)) {
      *waiter_p = infos[i].waiter;
      return true;
    }
  return false;
}

/* However many. */
static inline size_t waiters_count(struct node *node)
{
  static struct kvi_waiter_info infos[1024];
  uint64_t cursor = 0;
  size_t n = 0;

  do
    n += kvi_store_waiters(node->store, TENANT, &cursor, infos, 1024);
  while (cursor != 0);
  return n;
}

static inline size_t n_waiters(struct node *node)
{
  struct kvi_waiter_info infos[64];
  uint64_t cursor = 0;

  return kvi_store_waiters(node->store, TENANT, &cursor, infos, 64);
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
