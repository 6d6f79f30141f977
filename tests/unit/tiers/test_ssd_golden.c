/*
 * A log file as version 3 has written it is read for ever: golden_ssd_v3.h holds its bytes that are not zero. `test_tiers_ssd_golden print` writes one
 * anew and prints it, for the next version.
 */
#define CHUNKS 4u
#include "ssd_fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "base/text.h"
#include "golden_ssd_v3.h"

#define ROW    32u
#define ALIVE  1u
#define BURIED 2u

/* Nearly all zeros, so that the file is short to print. */
static void chunk_make(struct test_chunk *chunk, uint32_t number)
{
  struct kvi_segment segments[3] = {{.length = 5000}, {.length = 4096}, {.length = 7001}};
  uint32_t at = 0;

  test_chunk_make(chunk, number, 5000 + 4096 + 7001, 3);
  memset(chunk->bytes, 0, chunk->length);
  for (uint32_t i = 0; i < 3; i++) {
    snprintf((char *)chunk->bytes + at, ROW, "chunk %u segment %u", number, i);
    segments[i].crc32c = kvi_crc32c_update(0, chunk->bytes + at, segments[i].length);
    at += segments[i].length;
  }
  kvi_chunk_table_write(chunk->table, segments, 3, 2);
}

static void path_of(const struct fixture *f, uint32_t number, char path[128])
{
  snprintf(path, 128, "%s/log-%05u.kvl", f->folder, number);
}

/* ---- reading what was written once ---- */

static void golden_restore(const struct fixture *f)
{
  char path[128];
  uint8_t row[ROW];
  size_t length;
  int fd;

  path_of(f, GOLDEN_FILE, path);
  fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, MIB), 0);
  for (size_t i = 0; i < sizeof(golden_rows) / sizeof(golden_rows[0]); i++) {
    assert_int_equal(kvi_hex_decode(golden_rows[i].hex, row, sizeof(row), &length), KVS_OK);
    assert_int_equal(length, ROW);
    assert_int_equal(pwrite(fd, row, ROW, golden_rows[i].at), ROW);
  }
  close(fd);
}

static void test_golden_file(void **state)
{
  struct fixture *f = *state;
  struct test_chunk chunk;

  golden_restore(f);
  fixture_open(f);
  assert_int_equal(f->owner.n_found, 1); /* the other one was deleted */
  assert_int_equal(f->owner.handles[BURIED], 0);
  chunk_make(&chunk, ALIVE);
  assert_int_equal(test_get(f->owner.medium, &chunk, f->owner.handles[ALIVE]), KVS_OK);
  test_chunk_free(&chunk);
}

/* A directory of another version is not touched. */
static void test_another_version(void **state)
{
  struct fixture *f = *state;
  uint8_t head[512], after[512];
  char path[128];
  uint32_t crc;
  int fd;

  golden_restore(f);
  path_of(f, GOLDEN_FILE, path);
  fd = open(path, O_RDWR);
  assert_int_equal(pread(fd, head, sizeof(head), 0), sizeof(head));
  head[4] = 2;
  memset(head + 8, 0, 4);
  crc = kvi_crc32c_update(0, head, sizeof(head));
  memcpy(head + 8, &crc, 4);
  assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
  assert_int_equal(kvi_ssd_create(&f->config, &f->owner.medium), KVS_ERR_VERSION);
  assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(after));
  assert_memory_equal(head, after, sizeof(head));
  close(fd);
}

/* ---- writing it ---- */

static void file_print(const struct fixture *f, uint32_t number)
{
  static const uint8_t zeros[ROW];
  static uint8_t bytes[MIB];
  char path[128], hex[2 * ROW + 1];
  int fd;

  path_of(f, number, path);
  fd = open(path, O_RDONLY);
  assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
  close(fd);
  printf("#define GOLDEN_FILE %uu\n\nstatic const struct {\n  uint32_t at;\n  const char *hex;\n} "
         "golden_rows[] = {\n",
         number);
  for (uint32_t at = 0; at < MIB; at += ROW)
    if (memcmp(bytes + at, zeros, ROW) != 0 && kvi_hex_encode(bytes + at, ROW, hex, sizeof(hex)) == KVS_OK)
      printf("    {%u, \"%s\"},\n", at, hex);
  printf("};\n");
}

static void golden_print(void **state)
{
  struct fixture *f = *state;
  struct kvi_medium_identity identity;
  struct test_chunk chunk;
  kvi_medium_handle handle;

  fixture_open(f);
  for (uint32_t number = ALIVE; number <= BURIED; number++) {
    chunk_make(&chunk, number);
    assert_int_equal(test_put(f->owner.medium, &chunk, &handle), KVS_OK);
    identity = test_identity(&chunk);
    if (number == BURIED)
      f->owner.medium->ops->drop(f->owner.medium, &identity, handle, true);
    test_chunk_free(&chunk);
  }
  assert_int_equal(test_settle(f->owner.medium), KVS_OK);
  fixture_close(f);
  file_print(f, GOLDEN_FILE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {CASE(test_golden_file), CASE(test_another_version)};
  const struct CMUnitTest print[] = {CASE(golden_print)};

  if (argc > 1 && strcmp(argv[1], "print") == 0)
    return cmocka_run_group_tests(print, NULL, NULL);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
