#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

#include "base/pool.h"

static void bounded_and_counted(void **state)
{
  kvi_pool *pool = NULL;
  kvi_pool_stats stats;
  char *objects[3];

  (void)state;
  assert_int_equal(kvi_pool_create("frames", 100, 64, 3, &pool), KVS_OK);
  for (size_t i = 0; i < 3; i++) {
    objects[i] = kvi_pool_get(pool);
    assert_non_null(objects[i]);
    assert_int_equal((uintptr_t)objects[i] % 64, 0);
    memset(objects[i], (int)i, 100);
  }
  assert_null(kvi_pool_get(pool));
  for (size_t i = 0; i < 3; i++)
    for (size_t j = 0; j < 100; j++)
      assert_int_equal(objects[i][j], (char)i);
  kvi_pool_put(pool, NULL);
  kvi_pool_put(pool, objects[1]);
  kvi_pool_get_stats(pool, &stats);
  assert_string_equal(stats.name, "frames");
  assert_int_equal(stats.object_size, 100);
  assert_int_equal(stats.capacity, 3);
  assert_int_equal(stats.in_use, 2);
  assert_int_equal(stats.peak, 3);
  assert_int_equal(stats.refused, 1);
  assert_ptr_equal(kvi_pool_get(pool), objects[1]); /* the warm one first */
  for (size_t i = 0; i < 3; i++)
    kvi_pool_put(pool, objects[i]);
  kvi_pool_destroy(pool);
  kvi_pool_destroy(NULL);
}

static void wrong_arguments(void **state)
{
  kvi_pool *pool = (kvi_pool *)state;

  assert_int_equal(kvi_pool_create(NULL, 1, 0, 1, &pool), KVS_ERR_INVALID);
  assert_null(pool);
  assert_int_equal(kvi_pool_create("x", 0, 0, 1, &pool), KVS_ERR_INVALID);
  assert_int_equal(kvi_pool_create("x", 1, 0, 0, &pool), KVS_ERR_INVALID);
  assert_int_equal(kvi_pool_create("x", 1, 24, 1, &pool), KVS_ERR_INVALID);
  assert_int_equal(kvi_pool_create("x", 1, 8192, 1, &pool), KVS_ERR_INVALID);
  assert_int_equal(kvi_pool_create("x", 1, 0, (size_t)KVI_POOL_OBJECTS_MAX + 1, &pool), KVS_ERR_INVALID);
  assert_int_equal(kvi_pool_create("a name of thirty-two characters.", 1, 0, 1, &pool), KVS_ERR_INVALID);
  assert_int_equal(kvi_pool_create("x", SIZE_MAX - 4, 16, 1, &pool), KVS_ERR_NOMEM);
  assert_int_equal(kvi_pool_create("x", SIZE_MAX / 2, 16, 3, &pool), KVS_ERR_NOMEM);
  assert_null(pool);
}

typedef struct visit {
  size_t count;
  char names[128];
} visit;

static void note(void *ctx, const kvi_pool_stats *stats)
{
  visit *seen = ctx;

  seen->count++;
  strcat(seen->names, stats->name);
}

static void registry_lists_all(void **state)
{
  kvi_pool *a = NULL, *b = NULL;
  visit seen = {0};

  (void)state;
  assert_int_equal(kvi_pool_create("a", 8, 0, 1, &a), KVS_OK);
  assert_int_equal(kvi_pool_create("b", 8, 0, 1, &b), KVS_OK);
  kvi_pool_visit(note, &seen);
  assert_int_equal(seen.count, 2);
  assert_string_equal(seen.names, "ab");
  kvi_pool_destroy(a);
  memset(&seen, 0, sizeof seen);
  kvi_pool_visit(note, &seen);
  assert_string_equal(seen.names, "b");
  kvi_pool_destroy(b);
}

typedef void (*misuse_fn)(kvi_pool *pool);

static void return_twice(kvi_pool *pool)
{
  void *object = kvi_pool_get(pool);

  kvi_pool_put(pool, object);
  kvi_pool_put(pool, object);
}

static void return_inside(kvi_pool *pool)
{
  kvi_pool_put(pool, (char *)kvi_pool_get(pool) + 1);
}

static void return_foreign(kvi_pool *pool)
{
  int mine = 0;

  kvi_pool_put(pool, &mine);
}

static void misuse_aborts(void **state)
{
  static const misuse_fn misuses[] = {return_twice, return_inside, return_foreign};
  const struct rlimit no_core = {0, 0};

  (void)state;
  for (size_t i = 0; i < 3; i++) {
    kvi_pool *pool = NULL;
    int status = 0;

    assert_int_equal(kvi_pool_create("victim", 32, 0, 4, &pool), KVS_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      setrlimit(RLIMIT_CORE, &no_core);
      signal(SIGABRT, SIG_DFL);
      close(STDERR_FILENO);
      misuses[i](pool);
      _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    kvi_pool_destroy(pool);
  }
}

#define THREADS 4
#define ROUNDS  5000

static void *take_and_return(void *arg)
{
  kvi_pool *pool = arg;

  for (int i = 0; i < ROUNDS; i++) {
    uint64_t *object = kvi_pool_get(pool);

    if (object == NULL)
      continue;
    *object = (uint64_t)(uintptr_t)&object; /* a race here is the sanitizer's to find */
    if (*object != (uint64_t)(uintptr_t)&object)
      return arg;
    kvi_pool_put(pool, object);
  }
  return NULL;
}

static void many_threads(void **state)
{
  pthread_t threads[THREADS];
  kvi_pool *pool = NULL;
  kvi_pool_stats stats;

  (void)state;
  assert_int_equal(kvi_pool_create("shared", 8, 0, THREADS - 1, &pool), KVS_OK);
  for (size_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, take_and_return, pool), 0);
  for (size_t i = 0; i < THREADS; i++) {
    void *fault = NULL;

    pthread_join(threads[i], &fault);
    assert_null(fault);
  }
  kvi_pool_get_stats(pool, &stats);
  assert_int_equal(stats.in_use, 0);
  assert_true(stats.peak <= THREADS - 1);
  kvi_pool_destroy(pool);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bounded_and_counted), cmocka_unit_test(wrong_arguments),
      cmocka_unit_test(registry_lists_all),  cmocka_unit_test(misuse_aborts),
      cmocka_unit_test(many_threads),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
