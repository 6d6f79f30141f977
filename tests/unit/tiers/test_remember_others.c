/* The file of waiters beside what it cannot have for itself: files of others, other processes and users, less room, pauses. */
#include "remember_node.h"

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
  prompt(&node->world, 1, 1);
  for (uint32_t i = 0; i < n; i++) {
    char name[32];

    snprintf(name, sizeof(name), "program %u", i);
    node->ahead += KVI_NS_PER_MS;
    say(&node->world, name, 1, 1, &(struct kvi_program_hint){0});
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
  assert_int_equal(kvi_remember_collect(node->world.store, &kept), KVS_OK);
  for (uint32_t i = 0; i < kept.n_waiters;
       i++) { /* those of its last hints, but for the prompt itself, which has no name */
    uint64_t hash = kept.waiters[i].kept.program;

    for (uint32_t old = 0; old < 400; old++) {
      char name[32];

      snprintf(name, sizeof(name), "program %u", old);
      assert_true(hash != kvi_store_program_hash(node->world.store, TENANT, name));
    }
  }
  kvi_state_clear(&kept);
  prompt(&node->world, 5, 1); /* so it is written; and one makes room for it */
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
  assert_int_equal(kvi_remember_collect(node->world.store, &kept), KVS_OK);
  assert_int_equal(kept.n_waiters, KVI_STATE_WAITERS_MAX);
  for (uint32_t i = 0; i < kept.n_waiters; i++) {
    assert_true(kept.waiters[i].kept.used_ns <= before);
    before = kept.waiters[i].kept.used_ns;
    if (i == 0) /* the first of them are left out, by name */
      assert_true(
          kept.waiters[i].kept.program == kvi_store_program_hash(node->world.store, TENANT, "program 1000") ||
          kept.waiters[i].kept.program == kvi_store_program_hash(node->world.store, TENANT, "program 999"));
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

int main(void)
{
  const struct CMUnitTest tests[] = {CASE(files_of_others),    CASE(less_room),      CASE(names_alone),
                                     cmocka_unit_test(pauses), CASE(read_by_others), CASE(one_at_a_time),
                                     CASE(more_than_fit)};

  kvi_log_configure(KVI_LOG_ERROR, KVI_LOG_TEXT);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
