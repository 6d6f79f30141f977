/* service_testing.h: a service over a small store, asked as a wire asks it. */
#ifndef KVI_TESTS_UNIT_TIERS_SERVICE_TESTING_H
#define KVI_TESTS_UNIT_TIERS_SERVICE_TESTING_H

#include "testing.h"

#include "proto/space.h"
#include "tiers/service.h"

#define PAGE  4096u
#define CHUNK 3000u
#define KEYS  8u

static const struct kvi_peer peer = {.id = 5, .tenant = TENANT, .name = "test"};

struct fixture {
  struct kvi_store *store;
  struct kvi_store_service *owner;
  const struct kvi_service *service;
  uint8_t digest[KVS_DIGEST_SIZE];
  uint8_t keys[KEYS * KEY_BYTES];
};

static inline char *config_json(void *ctx)
{
  return strdup(ctx);
}

static inline void setup_over(struct fixture *f, struct kvi_medium *medium)
{
  struct kvi_store_config config = {.dram_bytes = 64 * PAGE, .dram_page_bytes = PAGE, .medium = medium};
  struct kvi_store_service_config service = {
      .software = "kvasir test", .incarnation = 77, .config_json = config_json, .config_ctx = "{\"a\":1}"};

  assert_int_equal(kvi_store_open(&config, &f->store), KVS_OK);
  service.store = f->store;
  assert_int_equal(kvi_store_service_create(&service, &f->owner), KVS_OK);
  f->service = kvi_store_service_get(f->owner);
  for (uint32_t i = 0; i < KEYS; i++)
    testing_key(i, f->keys + i * KEY_BYTES, KEY_BYTES);
}

static inline void setup(struct fixture *f)
{
  setup_over(f, NULL);
}

static inline void teardown(struct fixture *f)
{
  kvi_store_service_destroy(f->owner);
  kvi_store_close(f->store);
}

/* The reply, to be freed with done(). */
static inline void *ask(struct fixture *f, enum kvi_method method, const void *request)
{
  ProtobufCMessage *reply = NULL;

  assert_int_equal(f->service->ops->call(f->service->self, &peer, method, request, NULL, &reply), KVS_OK);
  assert_non_null(reply);
  assert_ptr_equal(reply->descriptor, kvi_method_info(method)->reply);
  return reply;
}

static inline void done(void *reply)
{
  protobuf_c_message_free_unpacked(reply, NULL);
}

static inline ProtobufCBinaryData bytes(const void *data, size_t length)
{
  return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = length};
}

static inline void open_space(struct fixture *f)
{
  kvs_space_desc desc = testing_space("m", KEY_BYTES);
  Kvasir__V1__OpenSpaceRequest request = KVASIR__V1__OPEN_SPACE_REQUEST__INIT;
  Kvasir__V1__SpaceDescriptor message;
  Kvasir__V1__OpenSpaceReply *reply;

  assert_int_equal(kvs_space_digest(&desc, f->digest), KVS_OK);
  kvi_space_to_message(&desc, &message);
  request.digest = bytes(f->digest, KVS_DIGEST_SIZE);
  request.descriptor = &message;
  reply = ask(f, KVI_METHOD_OPEN_SPACE, &request);
  assert_int_equal(reply->status, KVS_OK);
  done(reply);
}

static inline void put_chain(struct fixture *f)
{
  for (uint32_t i = 0; i < KEYS; i++)
    assert_int_equal(testing_put(f->store, TENANT, f->digest, f->keys + i * KEY_BYTES, KEY_BYTES,
                                 i ? f->keys + (i - 1) * KEY_BYTES : NULL, i, CHUNK, i),
                     KVS_OK);
}

#endif
