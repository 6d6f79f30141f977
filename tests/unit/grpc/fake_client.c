#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/grpc/fake_client.h"

#include <cmocka.h>

#include "base/clock.h"
#include "proto/grpc/grpc_private.h"
#include <grpc/grpc_security.h>

struct fake_client {
  grpc_channel *channel;
  grpc_completion_queue *cq;
  grpc_call *call;
  grpc_metadata_array initial, trailing;
  grpc_status_code status;
  grpc_slice details;
  bool begun, sent, over;
  struct kvi_grpc_tag tag_begin, tag_sent, tag_status;
};

static void on_begun(void *ctx, bool ok)
{
  (void)ok;
  ((struct fake_client *)ctx)->begun = true;
}

static void on_sent(void *ctx, bool ok)
{
  (void)ok;
  ((struct fake_client *)ctx)->sent = true;
}

static void on_status(void *ctx, bool ok)
{
  (void)ok;
  ((struct fake_client *)ctx)->over = true;
}

static void pump(struct fake_client *c, const bool *flag)
{
  kvi_deadline deadline = kvi_deadline_from_ms(20000);
  while (!*flag && !kvi_deadline_expired(deadline))
    (void)kvi_grpc_next(c->cq, deadline.at_ns);
  assert_true(*flag);
}

struct fake_client *fake_client_open(const char *endpoint, bool gzip)
{
  struct fake_client *c = calloc(1, sizeof *c);
  grpc_init();
  grpc_arg arg = {.type = GRPC_ARG_INTEGER,
                  .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
                  .value.integer = gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE};
  grpc_channel_args args = {1, &arg};
  grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
  c->channel = grpc_channel_create(endpoint + strlen("kvasir://"), insecure, &args);
  grpc_channel_credentials_release(insecure);
  c->cq = grpc_completion_queue_create_for_next(NULL);
  c->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->cq,
                                     grpc_slice_from_static_string("/kvasir.v1.Cache/Transfer"), NULL,
                                     gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
  grpc_metadata_array_init(&c->initial);
  grpc_metadata_array_init(&c->trailing);
  c->details = grpc_empty_slice();
  c->tag_begin = (struct kvi_grpc_tag){.handler = on_begun, .ctx = c};
  c->tag_sent = (struct kvi_grpc_tag){.handler = on_sent, .ctx = c};
  c->tag_status = (struct kvi_grpc_tag){.handler = on_status, .ctx = c};
  grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                    .data.recv_status_on_client = {.trailing_metadata = &c->trailing,
                                                   .status = &c->status,
                                                   .status_details = &c->details}};
  kvi_grpc_start_batch(c->call, &status, 1, &c->tag_status);
  grpc_op begin[2] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA},
      {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &c->initial}};
  kvi_grpc_start_batch(c->call, begin, 2, &c->tag_begin);
  pump(c, &c->begun);
  return c;
}

void fake_client_close(struct fake_client *c)
{
  grpc_call_cancel(c->call, NULL);
  pump(c, &c->over);
  grpc_call_unref(c->call);
  grpc_channel_destroy(c->channel);
  grpc_completion_queue_shutdown(c->cq);
  while (kvi_grpc_next(c->cq, kvi_now_ns() + KVI_NS_PER_S))
    ;
  grpc_completion_queue_destroy(c->cq);
  grpc_metadata_array_destroy(&c->initial);
  grpc_metadata_array_destroy(&c->trailing);
  grpc_slice_unref(c->details);
  free(c);
  grpc_shutdown_blocking();
}

void fake_client_send(struct fake_client *c, const Kvasir__V1__FrameHeader *header, const void *data,
                      size_t length)
{
  grpc_slice slices[2] = {grpc_slice_malloc(kvi_frame_prefix_size(header, length)),
                          grpc_slice_from_copied_buffer(data ? data : "", length)};
  (void)kvi_frame_write_prefix(header, length, GRPC_SLICE_START_PTR(slices[0]));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, 2);
  grpc_slice_unref(slices[0]);
  grpc_slice_unref(slices[1]);
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
  c->sent = false;
  kvi_grpc_start_batch(c->call, &op, 1, &c->tag_sent);
  pump(c, &c->sent);
  grpc_byte_buffer_destroy(buffer);
}

grpc_status_code fake_client_status(struct fake_client *c)
{
  pump(c, &c->over);
  return c->status;
}
