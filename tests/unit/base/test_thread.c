#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "testing.h"

#include "base/rand.h"
#include "base/thread.h"

typedef struct report {
  char name[KVI_THREAD_NAME_MAX];
  sigset_t mask;
  uint64_t id;
  kvi_owner *owner;
  bool owned;
} report;

static void look_around(void *arg)
{
  report *seen = arg;

  pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
  pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
  seen->id = kvi_thread_id();
  seen->owned = kvi_owner_is_self(seen->owner);
}

static void named_and_without_signals(void **state)
{
  kvi_owner owner = {0};
  report seen = {.owner = &owner};
  kvi_thread thread = {0};
  sigset_t before, after;

  (void)state;
  kvi_owner_bind(&owner);
  assert_true(kvi_owner_is_self(&owner));
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  assert_int_equal(kvi_thread_start(&thread, "a name longer than 15", look_around, &seen), KVS_OK);
  assert_int_equal(kvi_thread_start(&thread, "again", look_around, &seen), KVS_ERR_INVALID);
  assert_int_equal(kvi_thread_join_until(&thread, kvi_deadline_from_ms(WAIT_MS)), KVS_OK);
  kvi_thread_join(&thread);
  assert_false(thread.started);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  assert_string_equal(seen.name, "a name longer t");
  assert_int_equal(sigismember(&seen.mask, SIGTERM), 1);
  assert_int_equal(sigismember(&seen.mask, SIGUSR1), 1);
  assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
  assert_int_not_equal(seen.id, kvi_thread_id());
  assert_int_equal(kvi_thread_id(), kvi_thread_id());
  assert_false(seen.owned);
  kvi_owner_assert(&owner);
  kvi_owner_release(&owner);
  assert_false(kvi_owner_is_self(&owner));
}

static void wait_for_go(void *arg)
{
  pthread_mutex_t *go = arg;

  pthread_mutex_lock(go);
  pthread_mutex_unlock(go);
}

static void join_gives_up(void **state)
{
  pthread_mutex_t go = PTHREAD_MUTEX_INITIALIZER;
  kvi_thread thread = {0};

  (void)state;
  pthread_mutex_lock(&go);
  assert_int_equal(kvi_thread_start(&thread, "waits", wait_for_go, &go), KVS_OK);
  assert_int_equal(kvi_thread_join_until(&thread, kvi_deadline_from_ms(1)), KVS_ERR_DEADLINE);
  assert_true(thread.started);
  pthread_mutex_unlock(&go);
  kvi_thread_join(&thread);
  kvi_thread_join(&thread);
  assert_int_equal(kvi_thread_start(&thread, NULL, wait_for_go, &go), KVS_ERR_INVALID);
}

static void fork_is_seen(void **state)
{
  pid_t self = getpid();
  int status = 0;

  (void)state;
  assert_false(kvi_forked(self));
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
    _exit(kvi_forked(self) ? 42 : 1);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(WEXITSTATUS(status), 42);
}

static void random_numbers(void **state)
{
  uint64_t a = 0, b = 0;
  kvi_rand one, two;
  unsigned hits[5] = {0};

  (void)state;
  assert_int_equal(kvi_random_id(&a), KVS_OK);
  assert_int_equal(kvi_random_id(&b), KVS_OK);
  assert_true(a != 0 && b != 0 && a != b);
  kvi_rand_seed(&one, 0);
  kvi_rand_seed(&two, 0);
  assert_true(one.state[0] != 0 || one.state[1] != 0);
  for (int i = 0; i < 5000; i++) {
    assert_true(kvi_rand_next(&one) == kvi_rand_next(&two));
    uint64_t below = kvi_rand_below(&one, 5);
    assert_true(below < 5 && below == kvi_rand_below(&two, 5));
    hits[below]++;
  }
  for (size_t i = 0; i < 5; i++)
    assert_in_range(hits[i], 800, 1200);
  assert_int_equal(kvi_rand_below(&one, 0), 0);
  assert_int_equal(kvi_rand_below(&one, 1), 0);
  assert_true(kvi_rand_below(&one, UINT64_MAX) < UINT64_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(named_and_without_signals),
      cmocka_unit_test(join_gives_up),
      cmocka_unit_test(fork_is_seen),
      cmocka_unit_test(random_numbers),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
