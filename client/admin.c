/* client/admin.c: what a person asks of a node: blocking calls whose answers become JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "client/client_internal.h"
#include "client/json.h"
#include "proto/limits.h"
#include "proto/space.h"

/* One blocking call; lies on its caller's stack until the wire's callback. */
struct question {
  kvsc_client *client;
  pthread_cond_t answered;
  bool done;
  kvs_status status;
  /* Takes what is wanted of the answer, on the wire's thread. */
  kvs_status (*take)(struct question *question, const ProtobufCMessage *reply);
  kvi_strbuf json;
  uint64_t cursor, chunks, bytes;
};

static void question_done(void *ctx, kvs_status status, const ProtobufCMessage *reply)
{
  struct question *question = ctx;
  kvsc_client *client = question->client;

  if (status == KVS_OK)
    status = question->take(question, reply);
  pthread_mutex_lock(&client->mutex);
  question->status = status;
  question->done = true;
  pthread_cond_signal(&question->answered); /* under the mutex: the question is gone right after */
  pthread_mutex_unlock(&client->mutex);
}

/* Asks and waits. The wire answers in any case, at the latest 250 ms after the deadline. */
static kvs_status ask(kvsc_client *client, enum kvi_method method, const ProtobufCMessage *request,
                      uint32_t timeout_ms, struct question *question)
{
  kvs_status status;

  if (client == NULL || timeout_ms > KVI_TIMEOUT_MS_MAX)
    return KVS_ERR_INVALID;
  status = kvi_client_block(client);
  if (status != KVS_OK)
    return status;
  pthread_mutex_unlock(&client->mutex);
  question->client = client;
  kvi_strbuf_init(&question->json, KVI_CLIENT_JSON_MAX);
  status = kvi_cond_init(&question->answered);
  if (status == KVS_OK) {
    uint64_t wait_ms = timeout_ms > 0 ? timeout_ms : client->timeout_ms;

    status = client->wire->ops->call(client->wire, method, request, kvi_now_ns() + wait_ms * KVI_NS_PER_MS,
                                     question_done, question);
    pthread_mutex_lock(&client->mutex);
    while (status == KVS_OK && !question->done)
      (void)kvi_cond_wait(&question->answered, &client->mutex, kvi_deadline_from_ms(wait_ms));
    pthread_mutex_unlock(&client->mutex);
    pthread_cond_destroy(&question->answered);
    if (status == KVS_OK)
      status = question->status;
  }
  pthread_mutex_lock(&client->mutex);
  kvi_client_unblock(client);
  return status;
}

/* Asks for a document. */
static kvs_status ask_json(kvsc_client *client, enum kvi_method method, const ProtobufCMessage *request,
                           uint32_t timeout_ms, struct question *question, char **json_p)
{
  kvs_status status = ask(client, method, request, timeout_ms, question);

  if (status == KVS_OK)
    status = question->json.status;
  if (status == KVS_OK) {
    *json_p = strdup(kvi_strbuf_text(&question->json)); /* the caller frees it with free() */
    if (*json_p == NULL)
      status = KVS_ERR_NOMEM;
  }
  if (client != NULL)
    kvi_strbuf_free(&question->json);
  return status;
}

static kvs_status take_stats(struct question *question, const ProtobufCMessage *reply)
{
  kvi_client_json_stats(&question->json, (const Kvasir__V1__StatsReply *)reply);
  return KVS_OK;
}

kvs_status kvsc_stats_json(kvsc_client *client, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__StatsRequest request = KVASIR__V1__STATS_REQUEST__INIT;
  struct question question = {.take = take_stats};

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  return ask_json(client, KVI_METHOD_STATS, &request.base, timeout_ms, &question, json_p);
}

static kvs_status take_config(struct question *question, const ProtobufCMessage *reply)
{
  kvi_strbuf_add(&question->json, ((const Kvasir__V1__ConfigReply *)reply)->json);
  return KVS_OK;
}

kvs_status kvsc_config_json(kvsc_client *client, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__Empty request = KVASIR__V1__EMPTY__INIT;
  struct question question = {.take = take_config};

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  return ask_json(client, KVI_METHOD_CONFIG, &request.base, timeout_ms, &question, json_p);
}

static kvs_status take_spaces(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__ListSpacesReply *spaces = (const Kvasir__V1__ListSpacesReply *)reply;

  if (spaces->cursor != 0 && spaces->cursor <= question->cursor)
    return KVS_ERR_PROTOCOL; /* it would never end */
  question->cursor = spaces->cursor;
  kvi_client_json_spaces(&question->json, spaces);
  return question->json.status;
}

static kvs_status take_tenants(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__TenantsReply *tenants = (const Kvasir__V1__TenantsReply *)reply;

  if (tenants->cursor != 0 && tenants->cursor <= question->cursor)
    return KVS_ERR_PROTOCOL; /* it would never end */
  question->cursor = tenants->cursor;
  kvi_client_json_tenants(&question->json, tenants);
  return question->json.status;
}

/* A list that comes in pages. */
struct pages {
  enum kvi_method method;
  const ProtobufCMessage *request;
  uint64_t *cursor; /* the request's */
  const char *begin;
};

/* Asks for a page and appends it. */
static kvs_status ask_page(kvsc_client *client, kvi_deadline deadline, const struct pages *pages,
                           struct question *question, kvi_strbuf *all)
{
  uint64_t left_ms = kvi_deadline_remaining_ms(deadline);
  bool first = question->cursor == 0;
  kvs_status status;

  if (left_ms == 0)
    return KVS_ERR_DEADLINE;
  *pages->cursor = question->cursor;
  status = ask(client, pages->method, pages->request, (uint32_t)left_ms, question);
  if (status == KVS_OK && question->json.length > 0) {
    kvi_strbuf_add(all, first ? "" : ",");
    kvi_strbuf_add(all, kvi_strbuf_text(&question->json));
  }
  kvi_strbuf_free(&question->json);
  return status == KVS_OK ? all->status : status;
}

static kvs_status ask_pages(kvsc_client *client, uint32_t timeout_ms, const struct pages *pages,
                            struct question *question, char **json_p)
{
  kvi_deadline deadline;
  kvs_status status;
  kvi_strbuf all;

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  if (client == NULL)
    return KVS_ERR_INVALID;
  deadline = kvi_deadline_from_ms(timeout_ms > 0 ? timeout_ms : client->timeout_ms);
  kvi_strbuf_init(&all, KVI_CLIENT_JSON_MAX);
  kvi_strbuf_add(&all, pages->begin);
  do
    status = ask_page(client, deadline, pages, question, &all);
  while (status == KVS_OK && question->cursor != 0);
  kvi_strbuf_add(&all, "]}");
  if (status == KVS_OK)
    status = all.status;
  if (status == KVS_OK) {
    *json_p = strdup(kvi_strbuf_text(&all)); /* the caller frees it with free() */
    status = *json_p != NULL ? KVS_OK : KVS_ERR_NOMEM;
  }
  kvi_strbuf_free(&all);
  return status;
}

kvs_status kvsc_spaces_json(kvsc_client *client, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__ListSpacesRequest request = KVASIR__V1__LIST_SPACES_REQUEST__INIT;
  const struct pages pages = {.method = KVI_METHOD_LIST_SPACES,
                              .request = &request.base,
                              .cursor = &request.cursor,
                              .begin = "{\"spaces\":["};
  struct question question = {.take = take_spaces};

  return ask_pages(client, timeout_ms, &pages, &question, json_p);
}

kvs_status kvsc_tenants_json(kvsc_client *client, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__TenantsRequest request = KVASIR__V1__TENANTS_REQUEST__INIT;
  const struct pages pages = {.method = KVI_METHOD_TENANTS,
                              .request = &request.base,
                              .cursor = &request.cursor,
                              .begin = "{\"tenants\":["};
  struct question question = {.take = take_tenants};

  return ask_pages(client, timeout_ms, &pages, &question, json_p);
}

static kvs_status take_chunks(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__ListChunksReply *chunks = (const Kvasir__V1__ListChunksReply *)reply;

  if (chunks->status < 0)
    return (kvs_status)chunks->status;
  question->cursor = chunks->cursor;
  kvi_client_json_chunks(&question->json, chunks);
  return KVS_OK;
}

kvs_status kvsc_chunks_json(kvsc_client *client, const uint8_t digest[KVS_DIGEST_SIZE], uint64_t *cursor_p,
                            uint32_t limit, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__ListChunksRequest request = KVASIR__V1__LIST_CHUNKS_REQUEST__INIT;
  struct question question = {.take = take_chunks};
  kvs_status status;

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  if (digest == NULL || cursor_p == NULL)
    return KVS_ERR_INVALID;
  request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = (uint8_t *)digest};
  request.cursor = *cursor_p;
  request.limit = limit;
  status = ask_json(client, KVI_METHOD_LIST_CHUNKS, &request.base, timeout_ms, &question, json_p);
  if (status == KVS_OK)
    *cursor_p = question.cursor;
  return status;
}

static kvs_status take_programs(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__ListProgramsReply *programs = (const Kvasir__V1__ListProgramsReply *)reply;

  question->cursor = programs->cursor;
  kvi_client_json_programs(&question->json, programs);
  return KVS_OK;
}

kvs_status kvsc_programs_json(kvsc_client *client, uint64_t *cursor_p, uint32_t limit, uint32_t timeout_ms,
                              char **json_p)
{
  Kvasir__V1__ListProgramsRequest request = KVASIR__V1__LIST_PROGRAMS_REQUEST__INIT;
  struct question question = {.take = take_programs};
  kvs_status status;

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  if (cursor_p == NULL)
    return KVS_ERR_INVALID;
  request.cursor = *cursor_p;
  request.limit = limit;
  status = ask_json(client, KVI_METHOD_LIST_PROGRAMS, &request.base, timeout_ms, &question, json_p);
  if (status == KVS_OK)
    *cursor_p = question.cursor;
  return status;
}

static kvs_status take_curve(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__CurveReply *curve = (const Kvasir__V1__CurveReply *)reply;

  if (curve->status < 0)
    return (kvs_status)curve->status;
  kvi_client_json_curve(&question->json, curve);
  return KVS_OK;
}

kvs_status kvsc_curve_json(kvsc_client *client, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__CurveRequest request = KVASIR__V1__CURVE_REQUEST__INIT;
  struct question question = {.take = take_curve};

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  return ask_json(client, KVI_METHOD_CURVE, &request.base, timeout_ms, &question, json_p);
}

static kvs_status take_evicted(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__EvictReply *evicted = (const Kvasir__V1__EvictReply *)reply;

  question->chunks = evicted->chunks;
  question->bytes = evicted->bytes;
  return (kvs_status)evicted->status;
}

kvs_status kvsc_evict(kvsc_client *client, const uint8_t *digest, uint64_t bytes, uint32_t timeout_ms,
                      uint64_t *chunks_p, uint64_t *bytes_p)
{
  Kvasir__V1__EvictRequest request = KVASIR__V1__EVICT_REQUEST__INIT;
  struct question question = {.take = take_evicted};
  kvs_status status;

  if (chunks_p == NULL || bytes_p == NULL)
    return KVS_ERR_INVALID;
  *chunks_p = *bytes_p = 0;
  if (digest != NULL)
    request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = (uint8_t *)digest};
  request.all = bytes == UINT64_MAX;
  request.bytes = request.all ? 0 : bytes;
  status = ask(client, KVI_METHOD_EVICT, &request.base, timeout_ms, &question);
  if (status == KVS_OK) {
    *chunks_p = question.chunks;
    *bytes_p = question.bytes;
  }
  return status;
}

static kvs_status take_hint(struct question *question, const ProtobufCMessage *reply)
{
  kvi_client_json_hint(&question->json, (const Kvasir__V1__HintReply *)reply);
  return KVS_OK;
}

kvs_status kvsc_hint_json(kvsc_client *client, const kvsc_hint *hint, const uint8_t *digest,
                          const uint8_t *keys, uint32_t key_length, uint32_t n_keys, uint32_t timeout_ms,
                          char **json_p)
{
  Kvasir__V1__HintRequest request = KVASIR__V1__HINT_REQUEST__INIT;
  Kvasir__V1__Keys message = KVASIR__V1__KEYS__INIT;
  struct question question = {.take = take_hint};
  kvs_status status;

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  if ((keys != NULL) != (n_keys > 0) || (keys != NULL && digest == NULL))
    return KVS_ERR_INVALID;
  if (n_keys > KVI_LOOKUP_KEYS_MAX)
    return KVS_ERR_TOO_LARGE;
  status = kvi_client_hint_take(hint, &request);
  if (status != KVS_OK)
    return status;
  if (digest != NULL)
    request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = (uint8_t *)digest};
  if (keys != NULL) {
    message.keys = (ProtobufCBinaryData){.len = (size_t)n_keys * key_length, .data = (uint8_t *)keys};
    message.key_length = key_length;
    request.keys = &message;
  }
  return ask_json(client, KVI_METHOD_HINT, &request.base, timeout_ms, &question, json_p);
}

static kvs_status take_why(struct question *question, const ProtobufCMessage *reply)
{
  const Kvasir__V1__WhyMissReply *why = (const Kvasir__V1__WhyMissReply *)reply;

  if (why->status < 0)
    return (kvs_status)why->status;
  kvi_client_json_why(&question->json, why);
  return KVS_OK;
}

kvs_status kvsc_why_miss_json(kvsc_client *client, const uint8_t digest[KVS_DIGEST_SIZE],
                              const kvs_space_desc *desc, const uint8_t *keys, uint32_t key_length,
                              uint32_t n_keys, uint32_t loss_max, uint32_t timeout_ms, char **json_p)
{
  Kvasir__V1__WhyMissRequest request = KVASIR__V1__WHY_MISS_REQUEST__INIT;
  Kvasir__V1__Keys message = KVASIR__V1__KEYS__INIT;
  struct question question = {.take = take_why};
  Kvasir__V1__SpaceDescriptor descriptor;

  if (json_p == NULL)
    return KVS_ERR_INVALID;
  *json_p = NULL;
  if (digest == NULL || keys == NULL || n_keys == 0)
    return KVS_ERR_INVALID;
  if (n_keys > KVI_LOOKUP_KEYS_MAX)
    return KVS_ERR_TOO_LARGE;
  message.keys = (ProtobufCBinaryData){.len = (size_t)n_keys * key_length, .data = (uint8_t *)keys};
  message.key_length = key_length;
  request.space = (ProtobufCBinaryData){.len = KVS_DIGEST_SIZE, .data = (uint8_t *)digest};
  request.keys = &message;
  request.loss_max = loss_max;
  if (desc != NULL) {
    kvi_space_to_message(desc, &descriptor);
    request.descriptor = &descriptor;
  }
  return ask_json(client, KVI_METHOD_WHY_MISS, &request.base, timeout_ms, &question, json_p);
}
