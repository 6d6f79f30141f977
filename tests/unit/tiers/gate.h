/* gate.h: threads of what is tested stand at a gate while it is shut, so that a test knows where they are. */
#ifndef KVI_TESTS_UNIT_TIERS_GATE_H
#define KVI_TESTS_UNIT_TIERS_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct gate {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool shut;
  uint32_t inside; /* threads that stand at it */
  uint32_t calls;  /* that came */
};

#define GATE_INITIALIZER                                                                                     \
  {                                                                                                          \
    .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                  \
  }

static inline void gate_pass(struct gate *gate)
{
  pthread_mutex_lock(&gate->mutex);
  gate->calls++;
  gate->inside++;
  pthread_cond_broadcast(&gate->changed);
  while (gate->shut)
    pthread_cond_wait(&gate->changed, &gate->mutex);
  gate->inside--;
  pthread_mutex_unlock(&gate->mutex);
}

static inline void gate_set(struct gate *gate, bool shut)
{
  pthread_mutex_lock(&gate->mutex);
  gate->shut = shut;
  pthread_cond_broadcast(&gate->changed);
  pthread_mutex_unlock(&gate->mutex);
}

/* Until so many threads stand at it. */
static inline void gate_await(struct gate *gate, uint32_t inside)
{
  pthread_mutex_lock(&gate->mutex);
  while (gate->inside < inside)
    pthread_cond_wait(&gate->changed, &gate->mutex);
  pthread_mutex_unlock(&gate->mutex);
}

static inline uint32_t gate_calls(struct gate *gate)
{
  uint32_t calls;

  pthread_mutex_lock(&gate->mutex);
  calls = gate->calls;
  pthread_mutex_unlock(&gate->mutex);
  return calls;
}

#endif
