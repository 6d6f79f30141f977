/* tiers/faulty/faulty_private.h: inside the medium that makes operations of another one late, wrong or failing. */
#ifndef KVASIR_TIERS_FAULTY_FAULTY_PRIVATE_H
#define KVASIR_TIERS_FAULTY_FAULTY_PRIVATE_H

#include <pthread.h>

#include "base/list.h"
#include "base/thread.h"
#include "tiers/faulty/faulty.h"
#include "tiers/faulty/plan.h"

struct kvi_faulty {
  struct kvi_medium medium; /* first */
  struct kvi_medium *inner;
  const char *name; /* the inner one's */
  kvi_thread thread;

  struct kvi_faulty_plan
      plan; /* only the inner medium's queues come after its lock, which guards what follows too */
  pthread_cond_t changed;
  kvi_list waiting; /* of struct kvi_faulty_held, the next one first */
  struct kvi_faulty_held
      *starting; /* a put that has left the list and is not in the inner medium yet; NULL: none */
  struct kvi_medium_stats ended; /* operations that ended here, as the inner medium would count them */
  uint64_t
      read_delay_us; /* of reads of late, a decaying average: a medium that is late measures that itself */
  bool closed;
};

struct kvi_faulty_held {
  kvi_list_node link;
  struct kvi_faulty *faulty;
  enum kvi_faulty_op op;
  struct kvi_faulty_fate fate;
  uint64_t due_ns;
  union {
    struct kvi_medium_put *put;
    struct kvi_medium_get *get;
    struct kvi_medium_lookup *lookup;
  } asked;
  union {
    struct kvi_medium_put put;
    struct kvi_medium_get get;
    struct kvi_medium_lookup lookup;
  } own;              /* what the inner medium is given */
  bool canceled;      /* a put whose chunk was dropped for good meanwhile; guarded by the lock */
  struct kvi_iov iov; /* a put's changed payload */
  const struct kvi_iov *landed;
  uint32_t n_landed;
};

/* ---- held.c ---- */

/* A held for an operation of this fate. NULL with a status: it is refused. */
struct kvi_faulty_held *kvi_faulty_held_make(struct kvi_faulty *faulty, enum kvi_faulty_op op,
                                             const struct kvi_faulty_fate *fate, kvs_status *status_p);
/* Takes one that has `op` and `asked`, also when it fails. */
kvs_status kvi_faulty_hold(struct kvi_faulty *faulty, struct kvi_faulty_held *held,
                           const struct kvi_faulty_fate *fate, uint64_t deadline_ns);
/* What is kept back of this chunk will not be written. */
void kvi_faulty_puts_cancel(struct kvi_faulty *faulty, const struct kvi_medium_identity *identity);
/* The thread: those whose time has come go on or end; until the medium is closed and none is left. */
void kvi_faulty_run(void *faulty);

#endif
