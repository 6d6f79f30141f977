#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/grpc/grpc_private.h"

void kvi_grpc_tag_arm(struct kvi_grpc_tag *tag)
{
  atomic_store_explicit(&tag->armed, 1, memory_order_release);
}

void kvi_grpc_start_batch(grpc_call *call, const grpc_op *ops, size_t n_ops, struct kvi_grpc_tag *tag)
{
  kvi_grpc_tag_arm(tag);
  grpc_call_error error = grpc_call_start_batch(call, ops, n_ops, tag, NULL);
  if (error != GRPC_CALL_OK) {
    kvi_log_error("grpc refused a batch: %s", grpc_call_error_to_string(error));
    abort();
  }
}

gpr_timespec kvi_grpc_time(uint64_t deadline_ns)
{
  uint64_t now = kvi_now_ns();
  int64_t left = deadline_ns > now ? (int64_t)(deadline_ns - now) : 0;
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left, GPR_TIMESPAN));
}

bool kvi_grpc_next(grpc_completion_queue *cq, uint64_t deadline_ns)
{
  grpc_event event = grpc_completion_queue_next(cq, kvi_grpc_time(deadline_ns), NULL);
  if (event.type == GRPC_QUEUE_SHUTDOWN)
    return false;
  if (event.type == GRPC_OP_COMPLETE) {
    struct kvi_grpc_tag *tag = event.tag;
    (void)atomic_load_explicit(&tag->armed, memory_order_acquire);
    tag->handler(tag->ctx, event.success != 0);
  }
  return true;
}

static void waker_fired(void *ctx, bool ok)
{
  struct kvi_grpc_waker *waker = ctx;
  (void)ok;
  grpc_call_unref(waker->call);
  grpc_metadata_array_destroy(&waker->trailing);
  grpc_slice_unref(waker->details);
  waker->call = NULL;
  /* Before the handler looks at its queues, so that a wake that comes meanwhile is not lost. */
  atomic_store(&waker->set, false);
  waker->handler(waker->ctx);
}

void kvi_grpc_waker_init(struct kvi_grpc_waker *waker, grpc_completion_queue *cq, void (*handler)(void *),
                         void *ctx)
{
  waker->cq = cq;
  waker->lame = grpc_lame_client_channel_create("kvasir-waker", GRPC_STATUS_CANCELLED, "wake");
  waker->call = NULL;
  waker->tag.handler = waker_fired;
  waker->tag.ctx = waker;
  atomic_init(&waker->set, false);
  waker->handler = handler;
  waker->ctx = ctx;
}

void kvi_grpc_waker_wake(struct kvi_grpc_waker *waker)
{
  if (atomic_exchange(&waker->set, true))
    return;
  waker->call = grpc_channel_create_call(waker->lame, NULL, GRPC_PROPAGATE_DEFAULTS, waker->cq,
                                         grpc_slice_from_static_string("/wake"), NULL,
                                         gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
  grpc_metadata_array_init(&waker->trailing);
  waker->details = grpc_empty_slice();
  grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                .data.recv_status_on_client = {.trailing_metadata = &waker->trailing,
                                               .status = &waker->status,
                                               .status_details = &waker->details}};
  kvi_grpc_start_batch(waker->call, &op, 1, &waker->tag);
}

void kvi_grpc_waker_destroy(struct kvi_grpc_waker *waker)
{
  if (waker->lame)
    grpc_channel_destroy(waker->lame);
  waker->lame = NULL;
}
