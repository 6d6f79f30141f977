/*
 * tiers/admit.c: a put that would have something lost is declined if that is worth more, by the policy's prices (docs/policy.md).
 *
 * The policy weighs the end of the prompt, which would go first of it, and is its dearest chunk. So it has to be known how long the prompt is: puts say it, or are stored whatever they are worth.
 */
#include <math.h>

#include "tiers/store_private.h"

#define DECLINED_NS (60 * KVI_NS_PER_S) /* puts of one request come within that of each other */
#define RETRY_NS    KVI_NS_PER_S /* and the same one again within that is not back, but tried once more */

bool kvi_may_decline(const struct kvi_store *store, const struct kvi_put_request *request)
{
  return store->config.declines && store->policy_ops->admits && !store->below && request->chain_chunks > 0 &&
         !request->unchained && !request->fetched;
}

/* Chunks that go on from it are here: without it they are of no use, so it is worth what they are together. */
static bool has_behind_locked(const struct kvi_store *store, const struct kvi_admission *admission)
{
  const struct kvi_put_request *request = admission->request;
  uint32_t n = request->n_behind < KVI_BATCH_LOCKED ? request->n_behind : KVI_BATCH_LOCKED;
  struct kvi_key_tag tags[KVI_BATCH_LOCKED];
  uint32_t found[KVI_BATCH_LOCKED];

  if (n == 0)
    return false;
  for (uint32_t i = 0; i < n; i++)
    kvi_key_tag(store, request->behind + (size_t)i * request->key_length, request->key_length, &tags[i]);
  kvi_index_find_batch_locked(store, store->entries[admission->entry].space, tags, n, found);
  for (uint32_t i = 0; i < n; i++)
    if (found[i] != KVI_NONE)
      return true;
  return false;
}

bool kvi_admits_locked(struct kvi_store *store, const struct kvi_admission *admission, uint32_t victim)
{
  uint32_t account = store->spaces[store->entries[admission->entry].space].account;
  bool is_own = store->spaces[store->entries[victim].space].account == account;

  /* What goes is not lost if a tier below the store has it too, and what does not come is. */
  if (store->lower || (!is_own && kvi_account_is_short_locked(store, account)))
    return true;
  return kvi_chunk_admits_locked(store, admission->entry, admission->parent, admission->request->chain_chunks,
                                 victim) ||
         has_behind_locked(store, admission);
}

uint64_t kvi_follows_declined_locked(struct kvi_store *store, uint32_t space,
                                     const struct kvi_put_request *request)
{
  struct kvi_departure departure;
  struct kvi_key_tag tag;
  uint64_t since_ns, hash;

  if (!kvi_may_decline(store, request) || !request->parent || request->place == 0 ||
      store->stats.put_declined == 0 || store->lower || !store->policy_ops->goes_by_price(store->policy))
    return 0;
  kvi_key_tag(store, request->parent, request->key_length, &tag);
  hash = kvi_key_hash(space, &tag);
  if (kvi_index_find_locked(store, hash, space, &tag) != KVI_NONE ||
      !kvi_gone_find(store->gone, hash, space, &tag, &departure, &since_ns) ||
      departure.cause != KVI_MISS_DECLINED || kvi_now_ns() >= departure.at_ns + DECLINED_NS)
    return 0;
  return departure.at_ns;
}

/* ---- what was declined ---- */

static struct kvi_declined *set_of(const struct kvi_store *store, uint64_t hash)
{
  return &store->declined[(hash >> 32) % (KVI_DECLINED_MAX / KVI_DECLINED_WAYS) * KVI_DECLINED_WAYS];
}

float kvi_again_s_locked(const struct kvi_store *store, uint32_t entry)
{
  const struct kvi_entry *own = &store->entries[entry];
  uint64_t hash = kvi_key_hash(own->space, &own->tag), now_ns = kvi_policy_now(store);
  const struct kvi_declined *set = store->declined ? set_of(store, hash) : NULL;

  for (uint32_t i = 0; set && i < KVI_DECLINED_WAYS; i++)
    if (set[i].hash == hash && set[i].at_ns > 0 && now_ns >= set[i].at_ns + RETRY_NS)
      return (float)((double)(now_ns - set[i].at_ns) / (double)KVI_NS_PER_S);
  return 0;
}

/* It has come: how long it is until it comes again counts from here. */
static void declined_note_locked(struct kvi_store *store, uint64_t hash)
{
  uint64_t now_ns = kvi_policy_now(store);
  struct kvi_declined *set = set_of(store, hash), *place = set;

  for (uint32_t i = 0; i < KVI_DECLINED_WAYS; i++) {
    if (set[i].hash == hash && set[i].at_ns > 0) {
      place = &set[i];
      break;
    }
    if (set[i].at_ns < place->at_ns)
      place = &set[i];
  }
  if (place->hash != hash || place->at_ns == 0 || now_ns >= place->at_ns + RETRY_NS)
    *place = (struct kvi_declined){.hash = hash, .at_ns = now_ns};
}

void kvi_declined_locked(struct kvi_store *store, uint32_t space, const struct kvi_key_tag *tag,
                         uint64_t length, uint64_t followed_ns)
{
  uint64_t hash = kvi_key_hash(space, tag);
  const struct kvi_departure departure = {.cause = KVI_MISS_DECLINED,
                                          .rule = KVI_EVICT_RULES,
                                          .at_ns = followed_ns > 0 ? followed_ns : kvi_now_ns(),
                                          .length = length,
                                          .price = NAN};

  store->stats.put_declined++;
  store->stats.put_declined_bytes += length;
  kvi_gone_note(store->gone, hash, space, tag, &departure);
  if (followed_ns == 0)
    declined_note_locked(store, hash);
}
