/* A store over an SSD tier is closed and opened again: who waited waits, as far as the chunks are there; and a policy is given what another one knew. */
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

static uint64_t clock_of(void *ctx)
{
  return kvi_now_ns() + ((struct node *)ctx)->ahead;
}

static void node_open(struct node *node)
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

static void node_close(struct node *node)
{
  struct kvi_store_stats stats;

  AWAIT((kvi_store_stats(node->store, &stats), stats.writes_queued == 0 && stats.medium.queued == 0));
  kvi_remember_destroy(node->remember);
  kvi_programs_destroy(node->programs);
  kvi_store_close(node->store);
  node->remember = NULL;
  node->store = NULL;
}

static int node_setup(void **state)
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

static int node_teardown(void **state)
{
  struct node *node = *state;
  void *f = node->f;

  if (node->store)
    node_close(node);
  teardown(&f);
  free(node);
  return 0;
}

static void key_of(uint32_t chain, uint32_t place, uint8_t *key)
{
  testing_key(1000 * chain + place, key, KEY_BYTES);
}

/* As an engine does: n chunks of the chain are looked up, and what is missing is put. Returns the hits. */
static uint32_t prompt(struct node *node, uint32_t chain, uint32_t n)
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

static void name_of(uint32_t chain, char name[32])
{
  snprintf(name, 32, "agent %u", chain);
}

/* The program of that chain has used n chunks of it, and waits for this tool. */
static void waits(struct node *node, uint32_t chain, uint32_t n, const char *tool, uint32_t p50_ms,
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
static bool waiter_of(struct node *node, uint32_t chain, struct kvi_policy_waiter *waiter_p)
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
static size_t waiters_count(struct node *node)
{
  static struct kvi_waiter_info infos[1024];
  uint64_t cursor = 0;
  size_t n = 0;

  do
    n += kvi_store_waiters(node->store, TENANT, &cursor, infos, 1024);
  while (cursor != 0);
  return n;
}

static size_t n_waiters(struct node *node)
{
  struct kvi_waiter_info infos[64];
  uint64_t cursor = 0;

  return kvi_store_waiters(node->store, TENANT, &cursor, infos, 64);
}

static void three_wait(struct node *node)
{
  waits(node, 1, 5, "grep", 0, 0);
  node->ahead += 100 * SECOND;
  waits(node, 2, 6, "build", 90000, 80);
  node->ahead += 10 * SECOND;
  waits(node, 3, 7, "", 0, 0);
  node->ahead += SECOND;
}

static void assert_waits_as_before(const struct kvi_policy_waiter *before,
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

/* ---- a node ---- */

static void comes_back(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter before[3], after;
  struct kvi_program_named named;

  node_open(node);
  three_wait(node);
  for (uint32_t i = 0; i < 3; i++)
    assert_true(waiter_of(node, 1 + i, &before[i]));
  for (uint32_t round = 0; round < 3; round++) { /* also what was restored, and nobody has used since */
    node_close(node);
    node_open(node);
    assert_int_equal(n_waiters(node), 3);
    for (uint32_t i = 0; i < 3; i++) {
      assert_true(waiter_of(node, 1 + i, &after));
      assert_waits_as_before(&before[i], &after);
      assert_true(after.last != KVI_POLICY_NONE);
    }
    assert_true(kvi_programs_find_hash(node->programs, TENANT, before[1].program, &named));
    assert_string_equal(named.name, "agent 2");
    assert_string_equal(named.tool, "build");
  }
  assert_int_equal(prompt(node, 2, 6), 6); /* it is back, and it is the same one */
  assert_true(waiter_of(node, 2, &after));
  assert_false(after.answered);
  assert_true(after.waits_s < before[1].waits_s + A_WHILE_S);
  assert_int_equal(n_waiters(node), 3);
}

/* What waits were like is known, though nobody waits. */
static void what_was_learned(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter quick, slow;

  node_open(node);
  for (uint32_t i = 0; i < 200; i++) {
    waits(node, 1, 1, i % 2 ? "grep" : "build", 0, 0);
    node->ahead += (i % 2 ? 20 : 2000) * SECOND;
  }
  node_close(node);
  node_open(node);
  waits(node, 4, 5, "grep", 0, 0);
  waits(node, 5, 5, "build", 0, 0);
  assert_true(waiter_of(node, 4, &quick) && waiter_of(node, 5, &slow));
  assert_true(quick.price > 10 * slow.price);
}

/* The end of a chain was in memory only. */
static void less_is_there(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter waiter;

  node_open(node);
  waits(node, 1, 5, "grep", 0, 0);
  node_close(node);
  node->write = KVI_ADMIT_NONE;
  node_open(node);
  waits(node, 1, 7, "grep", 0, 0);
  waits(node, 2, 3, "grep", 0, 0); /* and of this one all is */
  node_close(node);
  node_open(node);
  assert_int_equal(n_waiters(node), 1);
  assert_true(waiter_of(node, 1, &waiter));
  assert_int_equal(waiter.n_chunks, 4); /* looked for 0, 1 and 3 before the end */
  assert_int_equal(waiter.n_whole, 7);
  assert_int_equal(prompt(node, 1, 7), 5);
  assert_int_equal(n_waiters(node), 1);
}

/* The file of another directory's chunks. */
static void nothing_is_there(void **state)
{
  struct node *node = *state;
  void *other;

  node_open(node);
  three_wait(node);
  node_close(node);
  assert_int_equal(setup(&other), 0);
  snprintf(node->file, sizeof(node->file), "%s/waiters", ((struct fixture *)other)->folder);
  {
    char from[128];

    snprintf(from, sizeof(from), "%s/waiters", node->f->folder);
    assert_int_equal(rename(from, node->file), 0);
  }
  {
    void *own = node->f;

    node->f = other;
    teardown(&own);
  }
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  assert_int_equal(prompt(node, 1, 5), 0);
}

/* The file as the next start finds it. */
static void file_change(const struct node *node, void (*change)(struct kvi_state *state))
{
  struct kvi_state state;
  uint8_t *bytes;
  size_t length;
  bool open;

  assert_int_equal(kvi_remember_file_read(node->file, 1 << 24, &bytes, &length, &open), KVS_OK);
  assert_int_equal(kvi_state_decode(bytes, length, &state), KVS_OK);
  free(bytes);
  change(&state);
  assert_int_equal(kvi_state_encode(&state, &bytes, &length), KVS_OK);
  assert_int_equal(kvi_remember_file_write(node->file, bytes, length), KVS_OK);
  kvi_state_clear(&state);
  free(bytes);
}

/* The same directory again after a start with another one, at which nothing was told; and after one at which somebody was. */
static void chunks_come_later(void **state)
{
  struct node *node = *state;
  void *own = node->f, *other;
  struct stat before, after;

  node_open(node);
  three_wait(node);
  node_close(node);
  assert_int_equal(stat(node->file, &before), 0);
  assert_int_equal(setup(&other), 0);
  for (uint32_t round = 0; round < 2; round++) {
    node->f = other;
    node_open(node);
    assert_int_equal(n_waiters(node), 0);
    if (round == 1) { /* agent 1 is there too, and waits for something else */
      waits(node, 1, 2, "other", 0, 0);
      waits(node, 4, 2, "grep", 0, 0);
    }
    node_close(node);
    assert_int_equal(stat(node->file, &after), 0);
    assert_int_equal(before.st_ino == after.st_ino, round == 0);
    node->f = own;
    if (round == 0) {
      node_open(node);
      assert_int_equal(n_waiters(node), 3);
      node_close(node);
    }
  }
  node_open(
      node); /* agents 2 and 3 were carried over; of 1 the later is known, and its second chunk is here too */
  assert_int_equal(n_waiters(node), 3);
  node_close(node);
  node->f = other;
  node_open(node); /* and so was agent 4 */
  assert_int_equal(n_waiters(node), 2);
  node_close(node);
  node->f = own;
  teardown(&other);
}

static void of_weeks_ago(struct kvi_state *state)
{
  state->waiters[0].kept.used_ns = KVI_STATE_CARRIED_MOST_NS;
}

/* Who did not come back for two weeks is not written again. */
static void carried_for_a_while(void **state)
{
  struct node *node = *state;
  void *own = node->f, *other;

  node_open(node);
  three_wait(node);
  node_close(node);
  file_change(node, of_weeks_ago);
  assert_int_equal(setup(&other), 0);
  node->f = other;
  node_open(node);
  waits(node, 4, 2, "grep", 0, 0);
  node_close(node);
  node->f = own;
  node_open(node);
  assert_int_equal(n_waiters(node), 2);
  node_close(node);
  teardown(&other);
}

static void clock_back(struct kvi_state *state)
{
  memset(state->clock.boot, 1, sizeof(state->clock.boot)); /* the machine was started anew */
  state->clock.wall_ms += UINT64_C(1000) * 86400 * 365;
}

static void clock_ahead(struct kvi_state *state)
{
  memset(state->clock.boot, 1, sizeof(state->clock.boot));
  state->clock.wall_ms = 0;
}

static void clocks_that_are_wrong(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter before, after;

  node_open(node);
  three_wait(node);
  assert_true(waiter_of(node, 1, &before));
  node_close(node);
  file_change(node, clock_back);
  node_open(node);
  assert_true(waiter_of(node, 1, &after));
  assert_waits_as_before(&before, &after);
  node_close(node);
  file_change(node, clock_ahead);
  node_open(node);
  assert_int_equal(n_waiters(node), 3);
  assert_true(waiter_of(node, 1, &after));
  assert_true(after.waits_s >= before.waits_s + WEEK_S &&
              after.waits_s < before.waits_s + WEEK_S + A_WHILE_S);
}

static void another_policy(struct kvi_state *state)
{
  snprintf(state->policy, sizeof(state->policy), "another");
}

static void bad_numbers(struct kvi_state *state)
{
  state->waiters[0].kept.weight = -1;
  state->waiters[1].kept.chunk_bytes = 0;
  state->waiters[1].kept.cost = 1e30f;
  state->waiters[2].kept.n_chunks = UINT32_MAX; /* no more than there are */
  state->waiters[2].kept.n_whole = UINT32_MAX;
  for (uint32_t i = 0; i < state->n_learned; i++)
    memset(state->learned[i].bytes + 8, 0xff, state->learned[i].length - 8); /* no numbers */
}

static void not_taken(void **state)
{
  struct node *node = *state;
  struct kvi_policy_waiter waiter;

  node_open(node);
  three_wait(node);
  node_close(node);
  file_change(node, bad_numbers);
  node_open(node);
  assert_int_equal(n_waiters(node), 1);
  assert_true(waiter_of(node, 3, &waiter));
  assert_int_equal(waiter.n_chunks, 7);
  assert_true(waiter.price >= 0);
  node_close(node);
  file_change(node, another_policy);
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
}

/* A policy that keeps nothing leaves the file to the next one that does. */
static void nothing_to_keep(void **state)
{
  struct node *node = *state;

  node_open(node);
  three_wait(node);
  node_close(node);
  node->policy = "lru";
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  waits(node, 4, 2, "grep", 0, 0);
  node_close(node);
  node->policy = "index";
  node_open(node);
  assert_int_equal(n_waiters(node), 3);
}

/* Written while the node runs, when something was told, by a thread. */
static void within_the_interval(void **state)
{
  struct node *node = *state;
  struct stat before, after;

  node->interval_ms = 1;
  node_open(node);
  three_wait(node);
  AWAIT(stat(node->file, &before) == 0);
  waits(node, 4, 2, "grep", 0, 0);
  AWAIT(stat(node->file, &after) == 0 && after.st_size > before.st_size);
}

/* Asked to, it is written while other things go on; what happens then is written too, and neither the store nor its programs wait for the disk, or are looked at after. */
static void beside_the_drain(void **state)
{
  struct node *node = *state;
  uint32_t before = flushes;

  node_open(node);
  three_wait(node);
  held = true;
  kvi_remember_save(node->remember);
  AWAIT(flushes == before + 1);
  waits(node, 4, 2, "grep", 0, 0);
  {
    struct kvi_store_stats stats;

    AWAIT((kvi_store_stats(node->store, &stats), stats.writes_queued == 0 && stats.medium.queued == 0));
  }
  kvi_remember_finish(node->remember);
  kvi_programs_destroy(node->programs);
  kvi_store_close(node->store);
  node->store = NULL;
  assert_int_equal(flushes, before + 1);
  held = false;
  kvi_remember_destroy(node->remember);
  assert_int_equal(flushes, before + 2);
  node_open(node);
  assert_int_equal(n_waiters(node), 4);
  kvi_remember_save(node->remember); /* nothing to write */
  node_close(node);
  assert_int_equal(flushes, before + 2);
}

static bool file_is(const char *path, const char *text)
{
  uint8_t *bytes = NULL;
  size_t length;
  bool open;
  bool same = kvi_remember_file_read(path, 4096, &bytes, &length, &open) == KVS_OK &&
              length == strlen(text) && memcmp(bytes, text, length) == 0;

  free(bytes);
  return same;
}

/* A file that cannot be used keeps no node from starting; what is another program's is not touched. */
static void files_of_others(void **state)
{
  static const char *const damaged[] = {"K", "KV", "KVW1\1\0"};
  struct node *node = *state;
  char aside[160];

  snprintf(aside, sizeof(aside), "%s.aside", node->file);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(kvi_remember_file_write(node->file, (const uint8_t *)damaged[i], strlen(damaged[i])),
                     KVS_OK);
    node_open(node);
    assert_true(file_is(aside, damaged[i]));
    three_wait(node);
    node_close(node);
    node_open(node);
    assert_int_equal(n_waiters(node), 3);
    node_close(node);
  }
  assert_int_equal(kvi_remember_file_write(node->file, (const uint8_t *)"KVW1\2\0\0\0", 8), KVS_OK);
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  assert_int_equal(access(aside, F_OK), 0);
  node_close(node);
  assert_int_equal(kvi_remember_file_write(node->file, (const uint8_t *)"notes", 5), KVS_OK);
  node_open(node);
  three_wait(node);
  node_close(node);
  assert_true(file_is(node->file, "notes"));
}

/* So many programs wait at one chunk, "program 0" for longest. */
static void many_wait(struct node *node, uint32_t n)
{
  prompt(node, 1, 1);
  for (uint32_t i = 0; i < n; i++) {
    uint8_t key[KEY_BYTES];
    char name[32];
    struct kvi_hint_keys keys = {.space = node->space, .keys = key, .key_length = KEY_BYTES, .n_keys = 1};
    struct kvi_program_hint hint = {.tenant = TENANT, .program = name, .parent = "", .tool = ""};

    snprintf(name, sizeof(name), "program %u", i);
    key_of(1, 0, key);
    node->ahead += KVI_NS_PER_MS;
    assert_int_equal(kvi_store_hint(node->store, &hint, &keys), KVI_HINT_ACCEPTED);
  }
}

/* A smaller table takes those that were used last; in the next larger one the others are back. */
static void less_room(void **state)
{
  struct node *node = *state;
  struct kvi_state kept;

  node->max_chunks = 16384; /* a branch for eight */
  node_open(node);
  many_wait(node, 1500);
  node_close(node);
  node->max_chunks = 8192;
  node_open(node);
  assert_int_equal(waiters_count(node), 1024);
  assert_int_equal(kvi_remember_collect(node->store, &kept), KVS_OK);
  for (uint32_t i = 0; i < kept.n_waiters;
       i++) { /* those of its last hints, but for the prompt itself, which has no name */
    uint64_t hash = kept.waiters[i].kept.program;

    for (uint32_t old = 0; old < 400; old++) {
      char name[32];

      snprintf(name, sizeof(name), "program %u", old);
      assert_true(hash != kvi_store_program_hash(node->store, TENANT, name));
    }
  }
  kvi_state_clear(&kept);
  prompt(node, 5, 1); /* so it is written; and one makes room for it */
  node_close(node);
  node->max_chunks = 16384;
  node_open(node);
  assert_in_range(waiters_count(node), 1499, 1502);
}

/* A hint whose keys are not here changes names, and those are written. */
static void names_alone(void **state)
{
  struct node *node = *state;
  struct kvi_program_hint hint = {.tenant = TENANT, .program = "named", .parent = "", .tool = "grep"};
  struct kvi_program_hint found;

  node_open(node);
  assert_int_equal(kvi_programs_hint(node->programs, &hint), KVI_HINT_ACCEPTED);
  node_close(node);
  node_open(node);
  assert_true(kvi_programs_find(node->programs, TENANT, "named", &found));
}

static void pauses(void **state)
{
  (void)state;
  assert_int_equal(kvi_remember_pause_ms(10000, 0), 10000);
  assert_int_equal(kvi_remember_pause_ms(10000, 14700000), 14700);
  assert_int_equal(kvi_remember_pause_ms(100, 1000000), 1000);
}

/* Others could read it: what was named by its secret goes, and the secret with it. */
static void read_by_others(void **state)
{
  struct node *node = *state;
  struct kvi_program_hint found;
  struct stat stat_now;

  node_open(node);
  three_wait(node);
  node_close(node);
  assert_int_equal(chmod(node->file, 0644), 0);
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  assert_true(kvi_programs_find(node->programs, TENANT, "agent 2", &found));
  node_close(node); /* written though nothing was told */
  assert_int_equal(stat(node->file, &stat_now), 0);
  assert_int_equal(stat_now.st_mode & 0777, 0600);
  node_open(node);
  waits(node, 1, 2, "grep", 0, 0);
  node_close(node);
  node_open(node);
  assert_int_equal(n_waiters(node), 1);
  node_close(node);
  if (geteuid() != 0)
    return;
  assert_int_equal(chown(node->file, 12345, 12345), 0);
  node_open(node);
  assert_int_equal(n_waiters(node), 0);
  waits(node, 1, 2, "build", 0, 0);
  node_close(node);
  assert_int_equal(stat(node->file, &stat_now), 0);
  assert_int_equal(stat_now.st_uid, 12345);
}

/* Two nodes with one file: the second reads and writes nothing; after the first it may. */
static void one_at_a_time(void **state)
{
  struct node *node = *state;
  struct node second = *node;
  struct stat before, after;
  void *other;

  assert_int_equal(setup(&other), 0);
  second.f = other;
  second.interval_ms = 1;
  node_open(node);
  three_wait(node);
  node_close(node);
  node_open(node);
  assert_int_equal(stat(node->file, &before), 0);
  node_open(&second);
  waits(&second, 4, 2, "grep", 0, 0);
  node_close(&second);
  assert_int_equal(stat(node->file, &after), 0);
  assert_int_equal(before.st_ino, after.st_ino);
  node_close(node);
  node_open(&second);
  waits(&second, 4, 2, "grep", 0, 0);
  node_close(&second);
  assert_int_equal(stat(node->file, &after), 0);
  assert_int_not_equal(before.st_ino, after.st_ino);
  teardown(&other);
}

/* Programs beyond what a file holds: those that were used last are kept, the longest unused of them first, and all fit into a file. */
static void more_than_fit(void **state)
{
  const uint32_t more = 1000, n = KVI_STATE_WAITERS_MAX + more;
  struct node *node = *state;
  struct kvi_state kept, again;
  uint64_t before = UINT64_MAX;
  uint8_t *bytes;
  size_t length;

  node->max_chunks = 9 * n; /* a branch for eight */
  node_open(node);
  many_wait(node, n);
  assert_int_equal(kvi_remember_collect(node->store, &kept), KVS_OK);
  assert_int_equal(kept.n_waiters, KVI_STATE_WAITERS_MAX);
  for (uint32_t i = 0; i < kept.n_waiters; i++) {
    assert_true(kept.waiters[i].kept.used_ns <= before);
    before = kept.waiters[i].kept.used_ns;
    if (i == 0) /* the first of them are left out, by name */
      assert_true(kept.waiters[i].kept.program ==
                      kvi_store_program_hash(node->store, TENANT, "program 1000") ||
                  kept.waiters[i].kept.program == kvi_store_program_hash(node->store, TENANT, "program 999"));
  }
  assert_int_equal(kvi_state_encode(&kept, &bytes, &length), KVS_OK);
  assert_int_equal(kvi_state_decode(bytes, length, &again), KVS_OK);
  assert_int_equal(again.n_waiters, KVI_STATE_WAITERS_MAX);
  kvi_state_clear(&again);
  kvi_state_clear(&kept);
  free(bytes);
  node_close(node);
  node_open(node);
  assert_true(waiters_count(node) > KVI_STATE_WAITERS_MAX / 2);
}

/* ---- a policy ---- */

static const struct kvi_policy_ops *const ops = &kvi_policy_index;

/* Three chains of 10: chunks 0 to 9, and so on. */
static struct kvi_policy *policy_make(uint64_t now)
{
  struct kvi_policy *policy;

  assert_int_equal(ops->create(1024, &policy), KVS_OK);
  for (uint32_t i = 0; i < 30; i++)
    ops->insert(policy, i, TESTING_CHUNK(i % 10 ? i - 1 : KVI_POLICY_NONE), now);
  return policy;
}

static void policy_use(struct kvi_policy *policy, uint32_t chain, enum kvi_wait_kind kind, uint64_t tool,
                       uint64_t now)
{
  const struct kvi_policy_use use = {
      .program = 1 + chain, .last = 10 * chain + 9, .n_chunks = 10, .n_whole = 10};
  const struct kvi_policy_wait wait = {
      .program = 1 + chain, .last = use.last, .n_chunks = 10, .kind = kind, .tool = tool};

  ops->arrive(policy, &use, now);
  assert_true(ops->wait(policy, &wait, now));
}

static void policy_copy(const struct kvi_policy *from, struct kvi_policy *to, uint64_t now)
{
  uint8_t bytes[KVI_POLICY_LEARNED_MAX];
  struct kvi_policy_kept kept;
  bool more = true;

  for (uint32_t part = 0; more; part++) {
    uint32_t length = ops->learned(from, part, bytes, &more);

    assert_true(length == 0 || ops->learn(to, bytes, length));
    assert_false(length > 0 && ops->learn(to, bytes, length - 1));
  }
  for (uint32_t i = 0; i < ops->waiters(from); i++)
    if (ops->keep(from, i, &kept))
      assert_true(ops->restore(to, &kept, now));
  ops->relearn(to, now);
}

/* Prices are the same to a hair, and so is who goes, to the last chunk. */
static void same_prices(void **state)
{
  static const enum kvi_wait_kind kinds[] = {KVI_WAIT_TOOL, KVI_WAIT_HUMAN, KVI_WAIT_TOOL};
  static const uint32_t seconds[] = {2, 600, 30};
  uint64_t now = 1000 * SECOND;
  struct kvi_policy *first = policy_make(now), *second = policy_make(now), *third = policy_make(now);
  struct kvi_policy_waiter one, other;

  (void)state;
  for (uint32_t i = 0; i < 600; i++) { /* each has come back from its own two hundred times */
    policy_use(first, i % 3, kinds[i % 3], i % 3, now);
    now += seconds[i % 3] * SECOND;
  }
  for (uint32_t chain = 0; chain < 3; chain++)
    policy_use(first, chain, kinds[chain], chain, now);
  now += SECOND;
  ops->relearn(first, now); /* else its curves are those of a while ago */
  policy_copy(first, second, now);
  policy_copy(second, third, now); /* nothing is lost on the way, however often */
  assert_int_equal(ops->waiters(second), 3);
  for (uint32_t i = 0; i < 3; i++) {
    assert_true(ops->waiter(first, i, &one, now) && ops->waiter(third, i, &other, now));
    assert_true(one.program == other.program && one.price > 0);
    assert_true(one.price > other.price * 0.9999 && one.price < other.price * 1.0001);
  }
  for (uint32_t i = 0; i < 30; i++) {
    uint32_t a = ops->victim(first, KVI_POLICY_MEMORY, now), b = ops->victim(third, KVI_POLICY_MEMORY, now);

    assert_int_equal(a / 10, b / 10);
    (void)ops->remove(first, a);
    (void)ops->remove(third, b);
  }
  ops->destroy(first);
  ops->destroy(second);
  ops->destroy(third);
}

/* Of more chains of one program than it may have the last ones are taken. */
static void a_program_of_many(void **state)
{
  uint64_t now = 1000 * SECOND;
  struct kvi_policy *policy = policy_make(now);
  struct kvi_policy_waiter waiter;
  bool newest = false;
  uint32_t n = 0;

  (void)state;
  for (uint32_t i = 0; i < 30; i++) {
    struct kvi_policy_kept kept = {.program = 7,
                                   .used_ns = i,
                                   .seen_ns = i,
                                   .begins_ns = i,
                                   .at = {i},
                                   .n_chunks = 1,
                                   .n_whole = 1,
                                   .weight = 1,
                                   .chunk_tokens = 1,
                                   .chunk_bytes = 1,
                                   .cost = 1};

    assert_true(ops->restore(policy, &kept, now));
  }
  for (uint32_t i = 0; i < ops->waiters(policy); i++)
    if (ops->waiter(policy, i, &waiter, now)) {
      n++;
      newest |= waiter.last == 29;
    }
  assert_true(n < 30 && n > 0 && newest);
  ops->destroy(policy);
}

/* No bytes and no numbers do harm. */
static void anything(void **state)
{
  uint64_t now = 1000 * SECOND, seed = 1;
  struct kvi_policy *policy = policy_make(now);
  struct kvi_policy_info info;

  (void)state;
  for (uint32_t i = 0; i < 20000; i++) {
    uint8_t bytes[KVI_POLICY_LEARNED_MAX];
    struct kvi_policy_kept kept;

    for (size_t at = 0; at < sizeof(bytes); at++)
      bytes[at] = (uint8_t)kvi_splitmix64(&seed);
    memcpy(&kept, bytes, sizeof(kept));
    kept.answered = bytes[0] & 1;
    kept.at[0] = bytes[1] % 40;
    if (i % 2) {
      kept.used_ns %= now;
      kept.seen_ns %= now;
      kept.begins_ns %= now;
      kept.n_whole = kept.n_chunks = 1 + kept.n_chunks % 16;
      kept.kind = (enum kvi_wait_kind)(bytes[2] % KVI_WAIT_KINDS);
      kept.weight = kept.chunk_tokens = kept.chunk_bytes = kept.cost = 1;
      kept.ttl_s = kept.announced_s = (float)(bytes[3] % 3);
      kept.program %= 8;
    }
    (void)ops->restore(policy, &kept, now);
    bytes[0] = 1 + bytes[0] % 2;
    bytes[1] %= 5;
    kvi_store_le16(bytes + 2, 80);
    (void)ops->learn(policy, bytes, bytes[0] == 1 ? 32 : 672);
  }
  ops->relearn(policy, now);
  for (uint32_t i = 0; i < 30; i++) {
    uint32_t victim = ops->victim(policy, KVI_POLICY_MEMORY, now);

    ops->info(policy, victim, &info);
    assert_true(info.price >= 0);
    (void)ops->remove(policy, victim);
  }
  ops->destroy(policy);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, node_setup, node_teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {CASE(comes_back),
                                     CASE(what_was_learned),
                                     CASE(less_is_there),
                                     CASE(nothing_is_there),
                                     CASE(chunks_come_later),
                                     CASE(carried_for_a_while),
                                     CASE(clocks_that_are_wrong),
                                     CASE(not_taken),
                                     CASE(nothing_to_keep),
                                     CASE(within_the_interval),
                                     CASE(files_of_others),
                                     CASE(less_room),
                                     CASE(names_alone),
                                     cmocka_unit_test(pauses),
                                     CASE(read_by_others),
                                     CASE(one_at_a_time),
                                     CASE(beside_the_drain),
                                     CASE(more_than_fit),
                                     cmocka_unit_test(same_prices),
                                     cmocka_unit_test(a_program_of_many),
                                     cmocka_unit_test(anything)};

  kvi_log_configure(KVI_LOG_ERROR, KVI_LOG_TEXT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
