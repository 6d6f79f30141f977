/*
 * ssd_fault_puts.h: several puts at once to the SSD tier over a disk with faults; what the tier says of each is noted, on its thread as the store does.
 */
#ifndef KVI_TESTS_UNIT_TIERS_SSD_FAULT_PUTS_H
#define KVI_TESTS_UNIT_TIERS_SSD_FAULT_PUTS_H

#include "ssd_fault_fixture.h"

#define AT_ONCE 6u

struct putting {
  struct fixture *f;
  uint32_t number;
  struct test_wait wait;
};

static inline void put_ended(struct kvi_medium_put *put, kvs_status status)
{
  struct putting *putting = put->user;
  struct owner *owner = &putting->f->owner;
  kvi_medium_handle old;

  pthread_mutex_lock(&owner->mutex);
  old = owner->handles[putting->number];
  owner->handles[putting->number] = status == KVS_OK ? put->handle : 0;
  owner->lengths[putting->number] = length_of(putting->number);
  pthread_mutex_unlock(&owner->mutex);
  if (old != 0)
    owner->medium->ops->drop(owner->medium, NULL, old, false);
  test_wait_end(&putting->wait, status);
}

static inline void put_keep(struct kvi_medium_put *put, struct kvi_medium_hold *hold_p)
{
  struct putting *putting = put->user;

  test_hold(&putting->wait, hold_p);
}

static inline void put_some(struct fixture *f, uint32_t first)
{
  struct test_chunk chunks[AT_ONCE];
  struct kvi_medium_put puts[AT_ONCE];
  struct putting putting[AT_ONCE];
  bool accepted[AT_ONCE];

  for (uint32_t i = 0; i < AT_ONCE; i++) {
    test_chunk_make(&chunks[i], first + i, length_of(first + i), 1 + (first + i) % 20);
    putting[i].f = f;
    putting[i].number = first + i;
    test_wait_init(&putting[i].wait);
    test_put_fill(&puts[i], &chunks[i], NULL);
    puts[i].done = put_ended;
    puts[i].keep = puts[i].keep ? put_keep : NULL;
    puts[i].user = &putting[i];
    accepted[i] = f->owner.medium->ops->put(f->owner.medium, &puts[i]) == KVS_OK;
  }
  for (uint32_t i = 0; i < AT_ONCE; i++) {
    if (accepted[i])
      (void)test_wait_for(&putting[i].wait);
    test_wait_released(&putting[i].wait);
    test_chunk_free(&chunks[i]);
  }
}

#endif
