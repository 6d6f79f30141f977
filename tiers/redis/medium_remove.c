/* tiers/redis/medium_remove.c: chunks that were deleted leave Redis: with an answer, or without. */
#include <stdlib.h>

#include "base/clock.h"
#include "tiers/redis/medium_private.h"

#define FORGET_MS 10000u /* of a removal that nobody waits for */

struct removal {
  struct kvi_redis_op op;
  struct kvi_redis_medium *own;
  struct kvi_medium_remove *asked; /* NULL: nobody waits */
};

static void removed(struct kvi_redis_op *op)
{
  struct removal *removal = op->ctx;
  struct kvi_medium_remove *asked = removal->asked;
  kvs_status status = kvi_redis_medium_outcome(removal->own, op);

  free(removal);
  if (asked)
    asked->done(asked, status);
}

static kvs_status submit(struct kvi_redis_medium *own, const struct kvi_medium_identity *identity,
                         uint64_t deadline_ns, struct kvi_medium_remove *asked)
{
  struct removal *removal = calloc(1, sizeof(*removal));
  kvs_status status;

  if (!removal)
    return KVS_ERR_NOMEM;
  removal->own = own;
  removal->asked = asked;
  removal->op = (struct kvi_redis_op){
      .verb = KVI_REDIS_UNLINK, .deadline_ns = deadline_ns, .done = removed, .ctx = removal};
  status = kvi_redis_medium_key(own, identity, &removal->op.key);
  if (status == KVS_OK)
    status = kvi_redis_submit(own->redis, &removal->op);
  if (status != KVS_OK)
    free(removal);
  return status;
}

kvs_status kvi_redis_medium_remove(struct kvi_medium *medium, struct kvi_medium_remove *asked)
{
  return submit(kvi_redis_medium_of(medium), &asked->identity, asked->deadline_ns, asked);
}

void kvi_redis_medium_drop(struct kvi_medium *medium, const struct kvi_medium_identity *identity,
                           kvi_medium_handle handle, bool for_good)
{
  (void)handle;
  if (for_good) /* if it cannot be submitted it stays until its time to live is over */
    (void)submit(kvi_redis_medium_of(medium), identity, kvi_deadline_from_ms(FORGET_MS).at_ns, NULL);
}
