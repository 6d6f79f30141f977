/* The tier of test faults with many operations at a time, and closed under them: each ends once. */
#include "faulty_testing.h"

#include <stdatomic.h>

#define MANY (KVI_FAULTY_HELD_MAX + 100u)

struct many {
  struct test_chunk chunk; /* that all get */
  uint32_t accepted;
  _Atomic uint32_t ended[MANY];
  _Atomic uint32_t n, statuses[3]; /* OK, CLOSED, else */
};

struct one {
  struct kvi_medium_get get;
  struct many *many;
  uint8_t bytes[LENGTH];
  struct kvi_iov iov;
};

static kvs_status one_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                           const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct one *one = get->user;

  one->iov = (struct kvi_iov){.base = one->bytes, .length = table->length};
  *iov_p = &one->iov;
  *n_iov_p = 1;
  return KVS_OK;
}

static struct one *ones;

static void one_done(struct kvi_medium_get *get, kvs_status status)
{
  struct one *one = get->user;

  atomic_fetch_add(&one->many->ended[one - ones], 1);
  atomic_fetch_add(&one->many->statuses[status == KVS_OK ? 0 : status == KVS_ERR_CLOSED ? 1 : 2], 1);
  atomic_fetch_add(&one->many->n, 1);
}

static struct many *many_make(struct fixture *f)
{
  struct many *many = calloc(1, sizeof(*many));

  assert_int_equal(put_number(f, 1), KVS_OK);
  test_chunk_make(&many->chunk, 1, LENGTH, 3);
  ones = calloc(MANY, sizeof(*ones));
  return many;
}

/* Starts number i: a get of the chunk, within these seconds. */
static kvs_status one_start(struct fixture *f, struct many *many, uint32_t i, uint64_t seconds)
{
  kvs_status status;

  ones[i].many = many;
  ones[i].get = (struct kvi_medium_get){.identity = test_identity(&many->chunk),
                                        .handle = f->owner.handles[1],
                                        .deadline_ns = kvi_now_ns() + seconds * KVI_NS_PER_S,
                                        .land = one_land,
                                        .done = one_done,
                                        .user = &ones[i]};
  status = f->owner.medium->ops->get(f->owner.medium, &ones[i].get);
  many->accepted += status == KVS_OK;
  return status;
}

/* Closes the tier: then each that was accepted has ended. */
static void many_close(struct fixture *f, struct many *many)
{
  f->owner.medium->ops->destroy(f->owner.medium);
  f->owner.medium = NULL;
  assert_int_equal(atomic_load(&many->n), many->accepted);
}

static void many_free(struct many *many)
{
  test_chunk_free(&many->chunk);
  free(ones);
  free(many);
}

static void test_each_ends_once_and_the_bound_holds(void **state)
{
  struct fixture *f = *state;
  struct many *many = many_make(f);

  rules(f, "delay:read:1h:every=2,delay:read:10m,corrupt:read:0.1");
  for (uint32_t i = 0; i < MANY; i++)
    assert_int_equal(one_start(f, many, i, 3600), i < KVI_FAULTY_HELD_MAX ? KVS_OK : KVS_ERR_BUSY);
  assert_int_equal(many->accepted, KVI_FAULTY_HELD_MAX);
  assert_int_equal(counted(f).held, KVI_FAULTY_HELD_MAX);
  many_close(f, many);
  assert_int_equal(atomic_load(&many->statuses[1]), many->accepted);
  for (uint32_t i = 0; i < MANY; i++)
    assert_int_equal(atomic_load(&many->ended[i]), i < many->accepted);
  many_free(many);
}

/* Closed while operations are kept back, on their way to the inner medium, and in it. */
static void test_closed_in_the_middle(void **state)
{
  struct fixture *f = *state;
  struct many *many = many_make(f);

  rules(f, "delay:read:1ms:0.3,delay:read:3ms:0.3,corrupt:read:silent:0.1,error:read:0.1");
  for (uint32_t i = 0; i < 500; i++)
    (void)one_start(f, many, i, 60);
  many_close(f, many);
  for (uint32_t i = 0; i < 500; i++)
    assert_true(atomic_load(&many->ended[i]) <= 1);
  many_free(many);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_each_ends_once_and_the_bound_holds, setup, teardown),
      cmocka_unit_test_setup_teardown(test_closed_in_the_middle, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
