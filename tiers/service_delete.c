/*
 * tiers/service_delete.c: chunks are deleted at once, and the answer says so when the tier below has noted it as safely as it keeps chunks: what was
 * answered does not come back after a crash.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "tiers/service_private.h"

#define KVI_VERIFY_BYTES (64u << 20) /* about 4 ms; a chunk that begins below it is read whole */
#define SETTLE_NS        (2 * KVI_NS_PER_S)

/*
 * What a client asks after a get whose bytes did not fit: its memory or the way may be at fault, and then the chunk is sound. Reads at most
 * KVI_VERIFY_BYTES, since this is a poller's thread; of what is left over the client's next get asks again.
 */
static uint32_t delete_corrupt(struct kvi_store_service *service, const struct kvi_peer *peer,
                               const Kvasir__V1__DeleteRequest *ask, uint32_t n)
{
  uint32_t deleted = 0;
  uint64_t read = 0;

  for (uint32_t i = 0; i < n && read < KVI_VERIFY_BYTES; i++) {
    const uint8_t *key = ask->keys->keys.data + (size_t)i * ask->keys->key_length;
    uint64_t length;

    if (kvi_store_verify(service->config.store, peer->tenant, ask->space.data, key, ask->keys->key_length,
                         &length) == KVS_ERR_CORRUPT)
      deleted++;
    read += length;
  }
  return deleted;
}

static void chunks_delete(struct kvi_store_service *service, const struct kvi_peer *peer,
                          const Kvasir__V1__DeleteRequest *ask, uint32_t n, Kvasir__V1__DeleteReply *answer)
{
  /* From the last key on: of a chain, what is left at any moment is a whole prefix. */
  for (uint32_t i = n; i > 0; i--) {
    const uint8_t *key = ask->keys->keys.data + (size_t)(i - 1) * ask->keys->key_length;

    if (kvi_store_delete(service->config.store, peer->tenant, ask->space.data, key, ask->keys->key_length) ==
        KVS_OK)
      answer->deleted++;
    if (service->config.shared)
      kvi_shared_forget(service->config.shared, peer->tenant, ask->space.data, key, ask->keys->key_length);
  }
}

/* An answer that waits for the tier below. */
struct settling {
  struct kvi_medium_settle settle;
  struct kvi_call_wait *wait;
  Kvasir__V1__DeleteReply *answer;
};

/* What is not safe is said, whatever was deleted for now. */
static void status_set(Kvasir__V1__DeleteReply *answer, kvs_status settled)
{
  if (settled != KVS_OK)
    answer->status = settled;
  else if (answer->deleted == 0)
    answer->status = KVS_MISS;
}

static void settle_done(struct kvi_medium_settle *settle, kvs_status status)
{
  struct settling *settling = settle->user;

  status_set(settling->answer, status);
  settling->wait->done(settling->wait, KVS_OK, &settling->answer->base);
  free(settling);
}

/* KVS_PENDING: the answer is complete later. KVS_OK: it is. */
static kvs_status settle(struct kvi_store_service *service, struct kvi_call_wait *wait,
                         Kvasir__V1__DeleteReply *answer)
{
  struct settling *settling = wait ? malloc(sizeof(*settling)) : NULL;
  kvs_status status = wait ? KVS_ERR_NOMEM : KVS_OK;

  if (settling) {
    *settling = (struct settling){.wait = wait, .answer = answer};
    settling->settle = (struct kvi_medium_settle){
        .deadline_ns = kvi_now_ns() + SETTLE_NS, .done = settle_done, .user = settling};
    status = kvi_store_settle(service->config.store, &settling->settle);
    if (status == KVS_PENDING)
      return KVS_PENDING; /* answer and settling may be gone by now */
    free(settling);
  }
  status_set(answer, status);
  return KVS_OK;
}

kvs_status kvi_service_delete(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const ProtobufCMessage *request, struct kvi_call_wait *wait,
                              ProtobufCMessage **reply_p)
{
  const Kvasir__V1__DeleteRequest *ask = (const Kvasir__V1__DeleteRequest *)request;
  Kvasir__V1__DeleteReply *answer = malloc(sizeof(*answer));
  uint32_t n = 0;

  if (!answer)
    return KVS_ERR_NOMEM;
  kvasir__v1__delete_reply__init(answer);
  answer->status =
      kvi_service_is_digest(&ask->space) ? kvi_service_keys_check(ask->keys, &n) : KVS_ERR_INVALID;
  if (answer->status == KVS_OK && ask->only_corrupt) {
    answer->deleted = delete_corrupt(service, peer, ask, n);
    status_set(answer, KVS_OK);
  } else if (answer->status == KVS_OK) {
    chunks_delete(service, peer, ask, n, answer);
    if (settle(service, wait, answer) == KVS_PENDING)
      return KVS_PENDING;
  }
  *reply_p = &answer->base;
  return KVS_OK;
}
