/*
 * tiers/service_why.c: why a get of a chain ends where it ends: how far the store has it, if there is a tier that nodes share how far with that, and what is known of the first key that
 * is missing. The shared tier answers later, on its thread.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/keys.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "proto/space.h"
#include "tiers/service_private.h"
#include "tiers/why.h"

/* What the shared tier has said of the first key that is missing. */
enum said {
  SAID_NOTHING, /* it was not asked: a get would not ask it either */
  SAID_NO,
  SAID_FAILED /* it may have it, and did not answer, or could not be asked just then */
};

/* What is asked, and what of it is there; copied, since the shared tier answers after the call. */
struct asked {
  struct kvi_store_service *service;
  struct kvi_call_wait *wait;
  Kvasir__V1__WhyMissReply *answer;
  kvs_space_desc *desc; /* NULL: not told */
  char tenant[KVI_TENANT_MAX];
  uint8_t space[KVS_DIGEST_SIZE];
  uint32_t key_length, n_keys, loss_max;
  uint8_t *present, *tiers, *keys;
};

static void asked_free(struct asked *asked)
{
  if (!asked)
    return;
  kvi_space_free(asked->desc);
  free(asked);
}

/* One block of memory: the struct, bits, tiers, keys. */
static struct asked *asked_make(struct kvi_store_service *service, const struct kvi_peer *peer,
                                const Kvasir__V1__WhyMissRequest *ask, uint32_t n_keys)
{
  struct asked *asked = calloc(1, sizeof(*asked) + (n_keys + 7) / 8 + n_keys + ask->keys->keys.len);

  if (!asked)
    return NULL;
  asked->service = service;
  asked->key_length = ask->keys->key_length;
  asked->n_keys = n_keys;
  asked->loss_max = ask->loss_max;
  asked->present = (uint8_t *)(asked + 1);
  asked->tiers = asked->present + (n_keys + 7) / 8;
  asked->keys = asked->tiers + n_keys;
  memcpy(asked->tenant, peer->tenant, strlen(peer->tenant) + 1); /* its length was checked */
  memcpy(asked->space, ask->space.data, KVS_DIGEST_SIZE);
  memcpy(asked->keys, ask->keys->keys.data, ask->keys->keys.len);
  return asked;
}

static bool bit(const uint8_t *bits, uint32_t i)
{
  return bits[i / 8] >> i % 8 & 1;
}

static const uint8_t *key_of(const struct asked *asked, uint32_t i)
{
  return asked->keys + (size_t)i * asked->key_length;
}

/* ---- what is told of one key ---- */

static uint64_t age_ms(uint64_t now_ns, uint64_t at_ns)
{
  return now_ns > at_ns ? (now_ns - at_ns) / KVI_NS_PER_MS : 0;
}

static kvs_status tell_chunk(const struct kvi_chunk_info *chunk, Kvasir__V1__WhyMissReply *answer)
{
  Kvasir__V1__ChunkInfo *told = malloc(sizeof(*told));

  if (!told)
    return KVS_ERR_NOMEM;
  kvasir__v1__chunk_info__init(told);
  answer->chunk = told;
  told->place = chunk->place;
  told->length = chunk->length;
  told->tier = chunk->tier;
  told->segments = chunk->segments;
  told->idle_ms = chunk->idle_ms;
  told->children = chunk->children;
  told->leased = chunk->leased;
  told->quality = chunk->quality;
  return kvi_service_bytes_set(&told->key, chunk->key, chunk->key_length);
}

static kvs_status tell_departure(const struct kvi_departure *departure, uint64_t now_ns,
                                 Kvasir__V1__WhyMissReply *answer)
{
  Kvasir__V1__Departure *told = malloc(sizeof(*told));

  if (!told)
    return KVS_ERR_NOMEM;
  kvasir__v1__departure__init(told);
  answer->departure = told;
  told->cause = departure->cause;
  told->age_ms = age_ms(now_ns, departure->at_ns);
  told->idle_ms = departure->idle_ns / KVI_NS_PER_MS;
  told->length = departure->length;
  told->priced = !isnan(departure->price);
  told->price = told->priced ? departure->price : 0;
  told->by_price = departure->by_price;
  told->below = departure->below;
  told->timed = departure->timed;
  told->over_ms = departure->over_ns / (int64_t)KVI_NS_PER_MS;
  return kvi_service_text_set(&told->rule, kvi_evict_rule_name(departure->rule));
}

static kvs_status tell_other(const struct kvi_why_space *other, Kvasir__V1__WhyMissReply *answer)
{
  Kvasir__V1__OtherSpace *told = malloc(sizeof(*told));

  if (!told)
    return KVS_ERR_NOMEM;
  kvasir__v1__other_space__init(told);
  answer->other = told;
  told->differences = (uint32_t)other->n_differences;
  if (kvi_service_bytes_set(&told->space, other->digest, KVS_DIGEST_SIZE) != KVS_OK)
    return KVS_ERR_NOMEM;
  return kvi_service_text_set(&told->fields, other->differences);
}

static kvs_status tell_damage(const struct kvi_damage *damage, uint64_t now_ns,
                              Kvasir__V1__WhyMissReply *answer)
{
  Kvasir__V1__DamagedChunk *told = malloc(sizeof(*told));

  if (!told)
    return KVS_ERR_NOMEM;
  kvasir__v1__damaged_chunk__init(told);
  answer->damaged = told;
  told->tier = damage->tier;
  told->age_ms = age_ms(now_ns, damage->at_ns);
  if (kvi_service_bytes_set(&told->space, damage->space, KVS_DIGEST_SIZE) != KVS_OK ||
      kvi_service_bytes_set(&told->key, damage->key, damage->key_length) != KVS_OK)
    return KVS_ERR_NOMEM;
  return kvi_service_text_set(&told->found_by, kvi_damage_found_name(damage->found));
}

static kvs_status tell_why(const struct kvi_why *why, Kvasir__V1__WhyMissReply *answer)
{
  kvs_status status = KVS_OK;

  answer->landing = why->landing;
  answer->others = why->n_others;
  answer->since_start = why->since_open;
  answer->remembered_ms = age_ms(why->now_ns, why->since_ns);
  if (why->here)
    status = tell_chunk(&why->chunk, answer);
  if (status == KVS_OK && why->went)
    status = tell_departure(&why->departure, why->now_ns, answer);
  if (status == KVS_OK && why->n_others > 0)
    status = tell_other(&why->other, answer);
  if (status == KVS_OK && why->damaged)
    status = tell_damage(&why->damage, kvi_now_ns(), answer);
  return status;
}

static kvs_status tell_out(enum kvi_tier_kind tier, const struct kvi_medium_stats *stats,
                           Kvasir__V1__WhyMissReply *answer)
{
  Kvasir__V1__TierOut *told;

  if (stats->devices_failed == 0)
    return KVS_OK;
  told = malloc(sizeof(*told));
  if (!told)
    return KVS_ERR_NOMEM;
  kvasir__v1__tier_out__init(told);
  told->tier = tier;
  told->parts = stats->devices;
  told->out = stats->devices_failed;
  answer->tiers_out[answer->n_tiers_out++] = told;
  return KVS_OK;
}

/* Where a part of a tier is out. *shared_out_p: all of the tier that nodes share. */
static kvs_status tell_tiers(struct kvi_store_service *service, Kvasir__V1__WhyMissReply *answer,
                             bool *shared_out_p)
{
  struct kvi_store_stats store;
  struct kvi_shared_stats shared;
  struct kvi_medium_stats medium = {0};
  kvs_status status;

  *shared_out_p = false;
  answer->tiers_out = calloc(2, sizeof(*answer->tiers_out));
  if (!answer->tiers_out)
    return KVS_ERR_NOMEM;
  kvi_store_stats(service->config.store, &store);
  status = tell_out(KVI_TIER_SSD, &store.medium, answer);
  if (status != KVS_OK || !service->config.shared)
    return status;
  kvi_shared_stats(service->config.shared, &shared, &medium);
  *shared_out_p = medium.devices > 0 && medium.devices_failed >= medium.devices;
  return tell_out(KVI_TIER_REDIS, &medium, answer);
}

/* What was in the tier that nodes share, which had been asked, and is not any more. */
static void tell_lapsed(const struct asked *asked, uint32_t i, const struct kvi_why *why,
                        Kvasir__V1__WhyMissReply *answer)
{
  struct kvi_shared *shared = asked->service->config.shared;
  uint64_t at_ns;

  if (!shared ||
      !kvi_shared_expired(shared, asked->tenant, asked->space, key_of(asked, i), asked->key_length, &at_ns))
    return;
  answer->lapsed = true;
  answer->lapsed_ms = age_ms(kvi_shared_now(shared), at_ns);
  answer->cause = kvi_shared_cause(answer->cause, why->went ? why->departure.at_ns : why->since_ns, at_ns);
}

/* ---- the whole ---- */

/* What the two tiers together have of the chain is known: the rest of the answer. */
static kvs_status answer_fill(const struct asked *asked, enum said said, Kvasir__V1__WhyMissReply *answer)
{
  struct kvi_store *store = asked->service->config.store;
  struct kvi_why_space nearest;
  struct kvi_why why;
  bool shared_out;
  kvs_status status;
  uint32_t i = 0;

  while (i < asked->n_keys && bit(asked->present, i))
    i++;
  answer->prefix = i;
  status = kvi_service_bytes_set(&answer->tiers, asked->tiers, i);
  if (status == KVS_OK)
    status = tell_tiers(asked->service, answer, &shared_out);
  if (status != KVS_OK)
    return status;
  answer->status =
      kvi_store_why(store, asked->tenant, asked->space, asked->desc,
                    key_of(asked, i < asked->n_keys ? i : i - 1), asked->key_length, asked->loss_max, &why);
  if (answer->status != KVS_OK)
    return KVS_OK;
  if (i < asked->n_keys) {
    answer->status = KVS_MISS;
    /* none: it has come meanwhile, or its SSD is out again: what can be told is that it was not there */
    answer->cause = why.cause == KVI_MISS_NONE ? KVI_MISS_NEVER : why.cause;
    if ((shared_out || said == SAID_FAILED) && !why.here && why.cause != KVI_MISS_SPACE)
      answer->cause = KVI_MISS_TIER;
    else if (said == SAID_NO && !why.here)
      tell_lapsed(asked, i, &why, answer);
  }
  status = tell_why(&why, answer);
  if (status == KVS_OK && answer->cause == KVI_MISS_SPACE && asked->desc && why.n_others == 0 &&
      kvi_store_space_nearest(store, asked->tenant, asked->desc, &nearest))
    status = tell_other(&nearest, answer);
  return status;
}

/* What the shared tier has of the keys that the store lacks. */
static void shared_answer(void *ctx, const uint8_t *present, bool failed, uint64_t chunk_us)
{
  struct asked *asked = ctx;
  struct kvi_call_wait *wait = asked->wait;
  Kvasir__V1__WhyMissReply *answer = asked->answer;
  kvs_status status;

  (void)chunk_us;
  for (uint32_t i = 0; i < asked->n_keys; i++) {
    if (bit(asked->present, i) || !bit(present, i))
      continue;
    asked->present[i / 8] |= (uint8_t)(1u << i % 8);
    asked->tiers[i] = KVI_TIER_REDIS;
  }
  status = answer_fill(asked, failed ? SAID_FAILED : SAID_NO, answer);
  asked_free(asked);
  if (status != KVS_OK) {
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    answer = NULL;
  }
  wait->done(wait, status, answer ? &answer->base : NULL);
}

/* A get of what is on an SSD tier that is out comes to nothing, though the store knows of it until it has tried. */
static void out_of_reach(struct asked *asked)
{
  if (!kvi_store_medium_is_out(asked->service->config.store))
    return;
  for (uint32_t i = 0; i < asked->n_keys; i++)
    if (asked->tiers[i] == KVI_TIER_SSD)
      asked->present[i / 8] &= (uint8_t) ~(1u << i % 8);
}

/* KVS_PENDING: shared_answer will be called, or was, and the rest is its. KVS_OK: it will not, and *said_p is all. */
static kvs_status ask_shared(struct asked *asked, enum said *said_p)
{
  const uint8_t *space = asked->space;
  struct kvi_shared_lookup lookup = {.tenant = asked->tenant,
                                     .spaces = &space,
                                     .n_spaces = 1,
                                     .keys = asked->keys,
                                     .key_length = asked->key_length,
                                     .n_keys = asked->n_keys,
                                     .loss_max = asked->loss_max,
                                     .skip = asked->present,
                                     .done = shared_answer,
                                     .ctx = asked};
  struct kvi_shared *shared = asked->service->config.shared;
  uint32_t i = 0;

  *said_p = SAID_NOTHING;
  while (i < asked->n_keys && bit(asked->present, i))
    i++;
  if (!shared || !asked->wait || i == asked->n_keys ||
      !kvi_store_knows_space(asked->service->config.store, asked->tenant, asked->space))
    return KVS_OK;
  if (kvi_shared_ask(shared, &lookup) == KVS_OK)
    return KVS_PENDING;
  *said_p = SAID_FAILED;
  return KVS_OK;
}

/* KVS_OK: the answer is complete; KVS_PENDING: it will be. Frees asked, unless it is pending. */
static kvs_status answer_make(struct asked *asked, uint64_t owner)
{
  const uint8_t *space = asked->space;
  struct kvi_store_lookup query = {.tenant = asked->tenant,
                                   .owner = owner,
                                   .spaces = &space,
                                   .n_spaces = 1,
                                   .keys = asked->keys,
                                   .key_length = asked->key_length,
                                   .n_keys = asked->n_keys,
                                   .unchained = true,
                                   .loss_max = asked->loss_max,
                                   .peek = true};
  struct kvi_store_lookup_result result = {.present = asked->present, .tiers = asked->tiers};
  enum said said;
  kvs_status status;

  asked->answer->status = kvi_store_lookup(asked->service->config.store, &query, &result);
  status = KVS_OK;
  if (asked->answer->status == KVS_OK) {
    out_of_reach(asked);
    status = ask_shared(asked, &said);
    if (status == KVS_PENDING)
      return status;
    status = answer_fill(asked, said, asked->answer);
  }
  asked_free(asked);
  return status;
}

static kvs_status request_check(const Kvasir__V1__WhyMissRequest *ask, uint32_t *n_p)
{
  kvs_status status = KVS_ERR_INVALID;

  if (kvi_service_is_digest(&ask->space))
    status = kvi_service_keys_check(ask->keys, n_p);
  if (status == KVS_OK && ask->keys->unchained && *n_p > 1)
    status = KVS_ERR_INVALID;
  return status;
}

kvs_status kvi_service_why(struct kvi_store_service *service, const struct kvi_peer *peer,
                           const ProtobufCMessage *request, struct kvi_call_wait *wait,
                           ProtobufCMessage **reply_p)
{
  const Kvasir__V1__WhyMissRequest *ask = (const Kvasir__V1__WhyMissRequest *)request;
  Kvasir__V1__WhyMissReply *answer = malloc(sizeof(*answer));
  kvs_status status = KVS_OK;
  struct asked *asked;
  uint32_t n_keys = 0;

  if (!answer)
    return KVS_ERR_NOMEM;
  kvasir__v1__why_miss_reply__init(answer);
  answer->status = strlen(peer->tenant) < KVI_TENANT_MAX ? request_check(ask, &n_keys) : KVS_ERR_INVALID;
  if (answer->status == KVS_OK) {
    asked = asked_make(service, peer, ask, n_keys);
    status = asked ? KVS_OK : KVS_ERR_NOMEM;
    if (asked && ask->descriptor &&
        kvi_space_from_message(ask->descriptor, &asked->desc) != KVS_OK) /* a help, no more */
      asked->desc = NULL;
    if (asked) {
      asked->wait = wait;
      asked->answer = answer;
      status = answer_make(asked, peer->id);
    }
  }
  if (status == KVS_OK)
    *reply_p = &answer->base;
  else if (status != KVS_PENDING)
    protobuf_c_message_free_unpacked(&answer->base, NULL);
  return status;
}
