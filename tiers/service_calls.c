/*
 * tiers/service_calls.c: the control methods, but for those with a file of their own. Replies are freed by protobuf-c, so every string and array in
 * them is malloc'd.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/limits.h"
#include "tiers/service_private.h"

#define LIST_CHUNKS_DEFAULT 100u
#define LIST_CHUNKS_MAX     1000u
#define MESSAGE_OVERHEAD    64u /* field tags and lengths of a frame beside header and bulk */
#define SOFTWARE_SHOWN      64  /* characters of a client's name in a message */

/* ---- what replies are made of ---- */

kvs_status kvi_service_text_set(char **field, const char *text)
{
  *field = strdup(text);
  if (*field)
    return KVS_OK;
  *field = (char *)protobuf_c_empty_string; /* what the message began with, so that it can be freed */
  return KVS_ERR_NOMEM;
}

kvs_status kvi_service_bytes_set(ProtobufCBinaryData *field, const void *data, size_t length)
{
  field->data = malloc(length ? length : 1);
  if (!field->data)
    return KVS_ERR_NOMEM;
  if (length > 0)
    memcpy(field->data, data, length);
  field->len = length;
  return KVS_OK;
}

/* ---- connection ---- */

static kvs_status hello(struct kvi_store_service *service, const struct kvi_peer *peer, const void *request,
                        void *reply)
{
  const Kvasir__V1__HelloRequest *ask = request;
  Kvasir__V1__HelloReply *answer = reply;
  const struct kvi_service_limits *limits = &service->service.limits;
  char message[512];

  answer->protocol_min = KVI_PROTOCOL_MIN;
  answer->protocol_max = KVI_PROTOCOL_MAX;
  answer->features = 0;
  answer->incarnation = service->config.incarnation;
  answer->chunk_bytes_max = limits->chunk_bytes_max;
  answer->frame_bytes_max = limits->frame_bytes_max;
  answer->batch_chunks_max = limits->batch_chunks_max;
  answer->message_bytes_max = limits->frame_bytes_max + KVI_FRAME_HEADER_MAX + MESSAGE_OVERHEAD;
  if (kvi_service_text_set(&answer->software, service->software) != KVS_OK)
    return KVS_ERR_NOMEM;
  if (ask->protocol_min <= KVI_PROTOCOL_MAX && ask->protocol_max >= KVI_PROTOCOL_MIN &&
      ask->protocol_min <= ask->protocol_max)
    return KVS_OK;
  snprintf(message, sizeof(message),
           "no protocol version in common: this node (%.*s) speaks %u to %u, the client (%.*s) %u to %u",
           SOFTWARE_SHOWN, service->software, KVI_PROTOCOL_MIN, KVI_PROTOCOL_MAX, SOFTWARE_SHOWN,
           ask->software, ask->protocol_min, ask->protocol_max);
  kvi_log_limited(KVI_LOG_WARN, "peer %s refused: %s", peer->name, message);
  answer->status = KVS_ERR_VERSION;
  return kvi_service_text_set(&answer->message, message);
}

static kvs_status ping(struct kvi_store_service *service, const struct kvi_peer *peer, const void *request,
                       void *reply)
{
  (void)service, (void)peer, (void)request, (void)reply;
  return KVS_OK;
}

/* ---- leases ---- */

static kvs_status release(struct kvi_store_service *service, const struct kvi_peer *peer, const void *request,
                          void *reply)
{
  const Kvasir__V1__ReleaseRequest *ask = request;
  Kvasir__V1__ReleaseReply *answer = reply;

  for (size_t i = 0; i < ask->n_leases; i++)
    if (kvi_store_release(service->config.store, peer->id, ask->leases[i]) == KVS_OK)
      answer->released++;
  return KVS_OK;
}

/* ---- administration ---- */

static kvs_status list_chunks(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const void *request, void *reply)
{
  const Kvasir__V1__ListChunksRequest *ask = request;
  Kvasir__V1__ListChunksReply *answer = reply;
  uint32_t limit = ask->limit == 0                ? LIST_CHUNKS_DEFAULT
                   : ask->limit < LIST_CHUNKS_MAX ? ask->limit
                                                  : LIST_CHUNKS_MAX;
  struct kvi_chunk_info *infos = calloc(limit, sizeof(*infos));
  kvs_status status = KVS_ERR_NOMEM;
  uint64_t cursor = ask->cursor;
  size_t n;

  if (!kvi_service_is_digest(&ask->space)) {
    answer->status = KVS_ERR_INVALID;
    free(infos);
    return KVS_OK;
  }
  answer->chunks = calloc(limit, sizeof(*answer->chunks));
  if (!infos || !answer->chunks)
    goto out;
  n = kvi_store_chunks(service->config.store, peer->tenant, ask->space.data, &cursor, infos, limit);
  answer->cursor = cursor;
  for (size_t i = 0; i < n; i++) {
    Kvasir__V1__ChunkInfo *info = malloc(sizeof(*info));

    if (!info)
      goto out;
    kvasir__v1__chunk_info__init(info);
    answer->chunks[answer->n_chunks++] = info;
    info->place = infos[i].place;
    info->length = infos[i].length;
    info->tier = infos[i].tier;
    info->segments = infos[i].segments;
    info->idle_ms = infos[i].idle_ms;
    info->children = infos[i].children;
    info->leased = infos[i].leased;
    info->quality = infos[i].quality;
    if (kvi_service_bytes_set(&info->key, infos[i].key, infos[i].key_length) != KVS_OK)
      goto out;
  }
  status = KVS_OK;
out:
  free(infos);
  return status;
}

static kvs_status evict(struct kvi_store_service *service, const struct kvi_peer *peer, const void *request,
                        void *reply)
{
  const Kvasir__V1__EvictRequest *ask = request;
  Kvasir__V1__EvictReply *answer = reply;
  bool everywhere = ask->space.len == 0;

  if (!everywhere && !kvi_service_is_digest(&ask->space)) {
    answer->status = KVS_ERR_INVALID;
    return KVS_OK;
  }
  kvi_store_evict(service->config.store, peer->tenant, everywhere ? NULL : ask->space.data,
                  ask->all ? UINT64_MAX : ask->bytes, &answer->chunks, &answer->bytes);
  kvi_log_info("peer %s evicted %llu chunks, %llu bytes", peer->name, (unsigned long long)answer->chunks,
               (unsigned long long)answer->bytes);
  return KVS_OK;
}

static kvs_status config(struct kvi_store_service *service, const struct kvi_peer *peer, const void *request,
                         void *reply)
{
  Kvasir__V1__ConfigReply *answer = reply;
  char *json;

  (void)peer, (void)request;
  if (!service->config.config_json)
    return kvi_service_text_set(&answer->json, "{}");
  json = service->config.config_json(service->config.config_ctx);
  if (!json)
    return KVS_ERR_NOMEM;
  answer->json = json;
  return KVS_OK;
}

/* ---- dispatch ---- */

/* Stats, Lookup, Delete and WhyMiss make their own replies. */
static kvi_service_call_fn *const calls[KVI_METHOD_COUNT] = {
    [KVI_METHOD_HELLO] = hello,
    [KVI_METHOD_PING] = ping,
    [KVI_METHOD_OPEN_SPACE] = kvi_service_open_space,
    [KVI_METHOD_RELEASE] = release,
    [KVI_METHOD_HINT] = kvi_service_hint,
    [KVI_METHOD_LIST_SPACES] = kvi_service_list_spaces,
    [KVI_METHOD_LIST_CHUNKS] = list_chunks,
    [KVI_METHOD_EVICT] = evict,
    [KVI_METHOD_CONFIG] = config,
    [KVI_METHOD_LIST_PROGRAMS] = kvi_service_list_programs,
    [KVI_METHOD_TENANTS] = kvi_service_tenants,
    [KVI_METHOD_CURVE] = kvi_service_curve,
};

static kvs_status stats(struct kvi_store_service *service, const struct kvi_peer *peer,
                        ProtobufCMessage **reply_p)
{
  Kvasir__V1__StatsReply *reply = NULL;
  kvs_status status = peer->limited ? kvi_service_stats_of(service, peer->tenant, &reply)
                                    : kvi_store_service_stats(service, &reply);

  if (status == KVS_OK)
    *reply_p = &reply->base;
  return status;
}

kvs_status kvi_service_call(void *self, const struct kvi_peer *peer, enum kvi_method method,
                            const ProtobufCMessage *request, struct kvi_call_wait *wait,
                            ProtobufCMessage **reply_p)
{
  struct kvi_store_service *service = self;
  const struct kvi_method_info *info = kvi_method_info(method);
  ProtobufCMessage *reply;
  kvs_status status;

  *reply_p = NULL;
  if (!info || !request || request->descriptor != info->request)
    return KVS_ERR_UNSUPPORTED;
  if (peer->limited && method == KVI_METHOD_CONFIG)
    return KVS_ERR_DENIED; /* it tells where things are */
  if (peer->limited && method == KVI_METHOD_CURVE)
    return KVS_ERR_DENIED; /* it tells of all tenants together */
  if (method == KVI_METHOD_STATS)
    return stats(service, peer, reply_p);
  if (method == KVI_METHOD_LOOKUP)
    return kvi_service_lookup(service, peer, request, wait, reply_p);
  if (method == KVI_METHOD_DELETE)
    return kvi_service_delete(service, peer, request, wait, reply_p);
  if (method == KVI_METHOD_WHY_MISS)
    return kvi_service_why(service, peer, request, wait, reply_p);
  if (!calls[method])
    return KVS_ERR_UNSUPPORTED;
  reply = malloc(info->reply->sizeof_message);
  if (!reply)
    return KVS_ERR_NOMEM;
  info->reply->message_init(reply);
  status = calls[method](service, peer, request, reply);
  if (status != KVS_OK) {
    protobuf_c_message_free_unpacked(reply, NULL);
    return status;
  }
  *reply_p = reply;
  return KVS_OK;
}
