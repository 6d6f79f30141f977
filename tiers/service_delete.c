/*
 * tiers/service_delete.c: a delete: from the store at once, then from the tier that nodes share, which answers later, and then the answer waits until the
 * tier below has noted it as safely as it keeps chunks: what is told is what became of the chunks everywhere, and stays so after a crash.
 */
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "tiers/service_private.h"

#define VERIFY_BYTES (64u << 20) /* about 4 ms; a chunk that begins below it is read whole */
#define SETTLE_NS    (2 * KVI_NS_PER_S)

/*
 * What a client asks after a get whose bytes did not fit: its memory or the way may be at fault, and then the chunk is sound. Reads at most
 * VERIFY_BYTES, since this is a poller's thread; of what is left over the client's next get asks again.
 */
static uint32_t delete_corrupt(struct kvi_store_service *service, const struct kvi_peer *peer,
                               const Kvasir__V1__DeleteRequest *ask, uint32_t n)
{
  uint32_t deleted = 0;
  uint64_t read = 0;

  for (uint32_t i = 0; i < n && read < VERIFY_BYTES; i++) {
    const uint8_t *key = ask->keys->keys.data + (size_t)i * ask->keys->key_length;
    uint64_t length;

    if (kvi_store_verify(service->config.store, peer->tenant, ask->space.data, key, ask->keys->key_length,
                         &length) == KVS_ERR_CORRUPT)
      deleted++;
    read += length;
  }
  return deleted;
}

/* What is deleted while it may still be in the shared tier, or come back from the one below. */
struct delete_part {
  struct kvi_store_service *service;
  struct kvi_call_wait *wait;
  Kvasir__V1__DeleteReply *answer;
  struct kvi_medium_settle settle;
  uint32_t n_keys, unconfirmed;
  uint8_t here[]; /* a bit a key: the store had it */
};

static void answer_fill(Kvasir__V1__DeleteReply *answer, const uint8_t *here, uint32_t n_keys,
                        uint32_t unconfirmed, kvs_status settled)
{
  for (uint32_t i = 0; i < n_keys; i++)
    answer->deleted += here[i / 8] >> i % 8 & 1;
  answer->unconfirmed = unconfirmed;
  if (unconfirmed > 0)
    answer->status = settled == KVS_ERR_BUSY ? KVS_ERR_BUSY : KVS_ERR_IO;
  else
    answer->status = answer->deleted > 0 ? KVS_OK : KVS_MISS;
}

/* The tier below has ended with it: KVS_OK, or chunks of it may come back, or KVS_ERR_BUSY: not all were deleted. The part is over. */
static void part_end(struct delete_part *part, kvs_status settled)
{
  answer_fill(part->answer, part->here, part->n_keys, settled == KVS_OK ? part->unconfirmed : part->n_keys,
              settled);
  free(part);
}

static void settle_done(struct kvi_medium_settle *settle, kvs_status status)
{
  struct delete_part *part = settle->user;
  struct kvi_call_wait *wait = part->wait;
  Kvasir__V1__DeleteReply *answer = part->answer;

  part_end(part, status);
  wait->done(wait, KVS_OK, &answer->base);
}

/* KVS_PENDING: settle_done will be called, or was; KVS_OK: the answer is complete, and the part is over. */
static kvs_status settle(struct delete_part *part)
{
  kvs_status status;

  part->settle =
      (struct kvi_medium_settle){.deadline_ns = kvi_now_ns() + SETTLE_NS, .done = settle_done, .user = part};
  status = kvi_store_settle(part->service->config.store, &part->settle);
  if (status == KVS_PENDING)
    return KVS_PENDING;
  part_end(part, status);
  return KVS_OK;
}

static void forgotten(void *ctx, const uint8_t *there, uint32_t unconfirmed)
{
  struct delete_part *part = ctx;
  struct kvi_call_wait *wait = part->wait;
  Kvasir__V1__DeleteReply *answer = part->answer;

  for (uint32_t i = 0; i < (part->n_keys + 7) / 8; i++)
    part->here[i] |= there[i];
  part->unconfirmed = unconfirmed;
  if (settle(part) == KVS_OK)
    wait->done(wait, KVS_OK, &answer->base);
}

static void nobody_waits(void *ctx, const uint8_t *there, uint32_t unconfirmed)
{
  (void)ctx, (void)there, (void)unconfirmed;
}

/*
 * From the last key on: of a chain, what is left at any moment is a whole prefix. Keys that nobody knows take their room in the tier below too, until they are
 * written there: a client that deletes faster than that has to wait, KVS_ERR_BUSY, with a part of them deleted.
 */
static kvs_status delete_here(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const Kvasir__V1__DeleteRequest *ask, uint32_t n, uint8_t *here)
{
  for (uint32_t i = n; i > 0; i--) {
    const uint8_t *key = ask->keys->keys.data + (size_t)(i - 1) * ask->keys->key_length;

    if (kvi_store_deletes_waiting(service->config.store) > KVI_STORE_DELETES_MANY)
      return KVS_ERR_BUSY;
    if (kvi_store_delete(service->config.store, peer->tenant, ask->space.data, key, ask->keys->key_length) ==
        KVS_OK)
      here[(i - 1) / 8] |= (uint8_t)(1u << (i - 1) % 8);
  }
  return KVS_OK;
}

/* KVS_PENDING, KVS_OK: answered; KVS_ERR_NOMEM. */
static kvs_status delete_all(struct kvi_store_service *service, const struct kvi_peer *peer,
                             const Kvasir__V1__DeleteRequest *ask, uint32_t n, struct kvi_call_wait *wait,
                             Kvasir__V1__DeleteReply *answer)
{
  struct delete_part *part = calloc(1, sizeof(*part) + (n + 7) / 8);
  struct kvi_shared_forget forget = {.tenant = peer->tenant,
                                     .space = ask->space.data,
                                     .keys = ask->keys->keys.data,
                                     .key_length = ask->keys->key_length,
                                     .n_keys = n,
                                     .done = wait ? forgotten : nobody_waits,
                                     .ctx = part};
  bool asked = false;

  if (!part)
    return KVS_ERR_NOMEM;
  *part = (struct delete_part){.service = service, .wait = wait, .answer = answer, .n_keys = n};
  if (delete_here(service, peer, ask, n, part->here) != KVS_OK) {
    part_end(part, KVS_ERR_BUSY);
    return KVS_OK;
  }
  if (service->config.shared)
    asked = kvi_shared_forget(service->config.shared, &forget) == KVS_OK;
  if (asked && wait)
    return KVS_PENDING; /* all of it may be gone by now */
  part->unconfirmed = service->config.shared ? n : 0;
  if (wait)
    return settle(part);
  part_end(part, KVS_OK);
  return KVS_OK;
}

kvs_status kvi_service_delete(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const ProtobufCMessage *request, struct kvi_call_wait *wait,
                              ProtobufCMessage **reply_p)
{
  const Kvasir__V1__DeleteRequest *ask = (const Kvasir__V1__DeleteRequest *)request;
  Kvasir__V1__DeleteReply *answer = malloc(sizeof(*answer));
  kvs_status status = KVS_OK;
  uint32_t n = 0;

  if (!answer)
    return KVS_ERR_NOMEM;
  kvasir__v1__delete_reply__init(answer);
  answer->status =
      kvi_service_is_digest(&ask->space) ? kvi_service_keys_check(ask->keys, &n) : KVS_ERR_INVALID;
  if (answer->status == KVS_OK && ask->only_corrupt) {
    answer->deleted = delete_corrupt(service, peer, ask, n);
    answer->status = answer->deleted > 0 ? KVS_OK : KVS_MISS;
  } else if (answer->status == KVS_OK) {
    status = delete_all(service, peer, ask, n, wait, answer);
  }
  if (status == KVS_OK)
    *reply_p = &answer->base;
  else if (status != KVS_PENDING)
    protobuf_c_message_free_unpacked(&answer->base, NULL);
  return status;
}
