/*
 * tiers/service_lookup.c: a lookup: what the store has, and, if there is a tier that nodes share, which of the other keys are there. The
 * store's answer is made at once; the shared tier's comes later, on its thread.
 */
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "proto/limits.h"
#include "tiers/service_private.h"

#define CHUNK_US_UNKNOWN 2000u /* of a chunk in the shared tier, before any was fetched */

bool kvi_service_is_digest(const ProtobufCBinaryData *bytes)
{
  return bytes->len == KVS_DIGEST_SIZE;
}

kvs_status kvi_service_keys_check(const Kvasir__V1__Keys *keys, uint32_t *n_p)
{
  if (!keys || keys->keys.len == 0)
    return KVS_ERR_INVALID;
  if (keys->key_length < KVS_KEY_MIN || keys->key_length > KVS_KEY_MAX ||
      keys->keys.len % keys->key_length != 0)
    return KVS_ERR_KEY_LENGTH;
  if (keys->keys.len / keys->key_length > KVI_LOOKUP_KEYS_MAX)
    return KVS_ERR_TOO_LARGE;
  *n_p = (uint32_t)(keys->keys.len / keys->key_length);
  return KVS_OK;
}

static kvs_status arguments_check(const struct kvi_store_service *service,
                                  const Kvasir__V1__LookupRequest *ask, uint32_t *n_keys_p)
{
  if (atomic_load_explicit(&service->draining, memory_order_relaxed))
    return KVS_ERR_DRAINING;
  if (ask->n_spaces == 0)
    return KVS_ERR_INVALID;
  if (ask->n_spaces > KVI_LOOKUP_SPACES_MAX)
    return KVS_ERR_TOO_LARGE;
  for (size_t i = 0; i < ask->n_spaces; i++)
    if (!kvi_service_is_digest(&ask->spaces[i]))
      return KVS_ERR_INVALID;
  return kvi_service_keys_check(ask->keys, n_keys_p);
}

static bool reply_room(Kvasir__V1__LookupReply *answer, uint32_t n_keys, bool want_tiers)
{
  answer->present.data = calloc(1, (n_keys + 7) / 8);
  answer->tiers.data = want_tiers ? calloc(1, n_keys) : NULL;
  if (!answer->present.data || (want_tiers && !answer->tiers.data))
    return false;
  answer->present.len = (n_keys + 7) / 8;
  answer->tiers.len = want_tiers ? n_keys : 0;
  return true;
}

static void verdict_answer(const struct kvi_verdict *verdict, Kvasir__V1__LookupReply *answer)
{
  answer->compute_us = kvi_verdict_compute_us(verdict);
  answer->worth_us = kvi_verdict_worth_us(verdict);
  answer->worth = answer->compute_us > 0 ? verdict->worth : 0;
}

/* The store's answer. loads: NULL, or room for each key's. */
static void store_answer(struct kvi_store_service *service, const struct kvi_peer *peer,
                         const Kvasir__V1__LookupRequest *ask, const uint8_t *const *spaces, uint32_t n_keys,
                         Kvasir__V1__LookupReply *answer, struct kvi_verdict *verdict_p,
                         struct kvi_key_load *loads)
{
  struct kvi_store_lookup_result result = {
      .present = answer->present.data, .tiers = answer->tiers.data, .loads = loads};
  struct kvi_store_lookup query = {.tenant = peer->tenant,
                                   .owner = peer->id,
                                   .spaces = spaces,
                                   .n_spaces = (uint32_t)ask->n_spaces,
                                   .keys = ask->keys->keys.data,
                                   .key_length = ask->keys->key_length,
                                   .n_keys = n_keys,
                                   .first_place = ask->keys->first_place,
                                   .unchained = ask->keys->unchained,
                                   .loss_max = ask->loss_max,
                                   .lease_ms = ask->lease_ms};
  bool any = false;

  answer->status = kvi_store_lookup(service->config.store, &query, &result);
  *verdict_p = result.verdict;
  if (answer->status != KVS_OK) {
    memset(answer->present.data, 0, answer->present.len);
    if (answer->tiers.data)
      memset(answer->tiers.data, 0, answer->tiers.len);
    return;
  }
  for (size_t i = 0; i < answer->present.len; i++)
    any |= answer->present.data[i] != 0;
  answer->status = any ? KVS_OK : KVS_MISS;
  answer->prefix = result.prefix;
  answer->fetch_us = result.fetch_us;
  verdict_answer(&result.verdict, answer);
  answer->lease = result.lease;
  answer->lease_ms = result.lease_ms;
  answer->lease_status = result.lease_status;
}

/* ---- the shared tier's part ---- */

struct shared_part {
  struct kvi_call_wait *wait;
  Kvasir__V1__LookupReply *answer;
  struct kvi_verdict verdict;
  bool unchained;
  uint32_t first, n_keys;      /* of what was asked for, a multiple of 8; all keys */
  struct kvi_key_load loads[]; /* of what the store has */
};

/* NULL: there is no such tier, nobody to wait for it, or no memory. */
static struct shared_part *part_make(const struct kvi_store_service *service, struct kvi_call_wait *wait,
                                     uint32_t n_keys)
{
  struct shared_part *part;

  if (!service->config.shared || !wait)
    return NULL;
  part = malloc(sizeof(*part) + n_keys * sizeof(part->loads[0]));
  if (!part)
    return NULL;
  part->wait = wait;
  part->n_keys = n_keys;
  return part;
}

/* What this node has of the key, and a fetch for each space in which it has not. */
static double key_us(const struct kvi_key_load *load, uint64_t chunk_us)
{
  return (double)load->us + (double)load->n_missing * (double)(chunk_us ? chunk_us : CHUNK_US_UNKNOWN);
}

static bool bit(const uint8_t *bits, uint32_t i)
{
  return bits[i / 8] >> i % 8 & 1;
}

static void shared_answer(void *ctx, const uint8_t *present, bool failed, uint64_t chunk_us)
{
  struct shared_part *part = ctx;
  Kvasir__V1__LookupReply *answer = part->answer;
  double fetch_us = 0;

  (void)failed; /* what does not answer in time has nothing */
  for (uint32_t i = part->first; i < part->n_keys; i++) {
    bool is_new = !bit(answer->present.data, i) && bit(present, i - part->first);

    if (is_new) {
      answer->present.data[i / 8] |= (uint8_t)(1u << i % 8);
      answer->status = KVS_OK;
    }
    if (is_new && answer->tiers.data)
      answer->tiers.data[i] = KVI_TIER_REDIS;
    if (i == answer->prefix && bit(answer->present.data, i)) {
      double load_us = key_us(&part->loads[i], chunk_us);

      answer->prefix++;
      fetch_us += part->unchained && !is_new ? 0 : load_us; /* of single keys the store has counted its own */
      kvi_verdict_next(&part->verdict, load_us);
    }
  }
  answer->fetch_us += (uint64_t)fetch_us;
  verdict_answer(&part->verdict, answer);
  part->wait->done(part->wait, KVS_OK, &answer->base);
  free(part);
}

/* KVS_PENDING: the answer is complete later, and `part` no longer the caller's. Anything else: the store's is all there is. */
static kvs_status ask_shared(struct kvi_store_service *service, const struct kvi_peer *peer,
                             const Kvasir__V1__LookupRequest *ask, const uint8_t *const *spaces,
                             uint32_t n_keys, Kvasir__V1__LookupReply *answer, struct shared_part *part)
{
  struct kvi_shared_lookup lookup = {.tenant = peer->tenant,
                                     .spaces = spaces,
                                     .n_spaces = (uint32_t)ask->n_spaces,
                                     .key_length = ask->keys->key_length,
                                     .unchained = ask->keys->unchained,
                                     .loss_max = ask->loss_max,
                                     .done = shared_answer};
  uint32_t first = 0;

  if (!part || (answer->status != KVS_OK && answer->status != KVS_MISS))
    return KVS_OK;
  while (first < n_keys && bit(answer->present.data, first))
    first++;
  if (first == n_keys)
    return KVS_OK;
  first &= ~7u; /* so that the store's bits are those to skip */
  part->answer = answer;
  part->unchained = ask->keys->unchained;
  part->first = first;
  lookup.keys = ask->keys->keys.data + (size_t)first * ask->keys->key_length;
  lookup.n_keys = n_keys - first;
  lookup.skip = answer->present.data + first / 8;
  lookup.ctx = part;
  return kvi_shared_ask(service->config.shared, &lookup) == KVS_OK ? KVS_PENDING : KVS_OK;
}

kvs_status kvi_service_lookup(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const ProtobufCMessage *request, struct kvi_call_wait *wait,
                              ProtobufCMessage **reply_p)
{
  const Kvasir__V1__LookupRequest *ask = (const Kvasir__V1__LookupRequest *)request;
  Kvasir__V1__LookupReply *answer = malloc(sizeof(*answer));
  const uint8_t *spaces[KVI_LOOKUP_SPACES_MAX];
  struct shared_part *part;
  struct kvi_verdict verdict;
  uint32_t n_keys = 0;

  if (!answer)
    return KVS_ERR_NOMEM;
  kvasir__v1__lookup_reply__init(answer);
  answer->lease_status = KVS_MISS;
  answer->status = arguments_check(service, ask, &n_keys);
  if (answer->status == KVS_OK) {
    if (!reply_room(answer, n_keys, ask->want_tiers)) {
      protobuf_c_message_free_unpacked(&answer->base, NULL);
      return KVS_ERR_NOMEM;
    }
    for (size_t i = 0; i < ask->n_spaces; i++)
      spaces[i] = ask->spaces[i].data;
    part = part_make(service, wait, n_keys);
    store_answer(service, peer, ask, spaces, n_keys, answer, part ? &part->verdict : &verdict,
                 part ? part->loads : NULL);
    if (ask_shared(service, peer, ask, spaces, n_keys, answer, part) == KVS_PENDING)
      return KVS_PENDING; /* the answer may be gone by now */
    free(part);
  }
  *reply_p = &answer->base;
  return KVS_OK;
}
