/*
 * The thread that sends for callers whose own time is dear. They leave calls and transfers in lists and go; gRPC's work for a message, a
 * put's checksums and the socket's system call happen here. It costs a wake-up before the first byte goes out.
 *
 * A caller is inside the connection (kvi_gw_enter) until what it left has been started: the thread leaves in its place. So the
 * connection cannot be taken apart under something that waits here.
 */
#include "proto/grpc/client_private.h"

void kvi_gw_hand_over(struct wire *w, kvi_list_node *call, bool role, bool wake)
{
  if (call)
    kvi_list_push_back(&w->to_start, call);
  w->role_handed |= role;
  w->wake_handed |= wake;
  w->users_handed++;
  pthread_cond_signal(&w->handed);
}

/* Everything that waits, without the lock meanwhile. */
static void send_handed(struct wire *w)
{
  kvi_list_node *call;
  bool role = w->role_handed, wake = w->wake_handed;
  uint32_t users = w->users_handed;

  w->role_handed = w->wake_handed = false;
  w->users_handed = 0;
  while ((call = kvi_list_first(&w->to_start)) != NULL) {
    kvi_list_remove(&w->to_start, call);
    pthread_mutex_unlock(&w->lock);
    kvi_gw_start_handed(call);
    pthread_mutex_lock(&w->lock);
  }
  pthread_mutex_unlock(&w->lock);
  if (role)
    kvi_gw_send(w);
  if (wake)
    kvi_grpc_waker_wake(&w->waker);
  while (users-- > 0)
    kvi_gw_leave(w);
  pthread_mutex_lock(&w->lock);
}

static void run(void *ctx)
{
  struct wire *w = ctx;

  pthread_mutex_lock(&w->lock);
  while (!w->end_sender) {
    if (w->users_handed > 0)
      send_handed(w);
    else
      pthread_cond_wait(&w->handed, &w->lock);
  }
  pthread_mutex_unlock(&w->lock);
}

kvs_status kvi_gw_start_sender(struct wire *w)
{
  return kvi_thread_start(&w->sender, "kvasir-send", run, w);
}

void kvi_gw_stop_sender(struct wire *w)
{
  pthread_mutex_lock(&w->lock);
  w->end_sender = true;
  pthread_cond_signal(&w->handed);
  pthread_mutex_unlock(&w->lock);
  kvi_thread_join(&w->sender);
}
