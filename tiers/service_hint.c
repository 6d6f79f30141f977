/* tiers/service_hint.c: the control method that takes what is said of a program, and says what became of it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tiers/compute.h"
#include "tiers/hint.h"
#include "tiers/service_private.h"

#define TEXT_MAX 256u

/* A hint on its way through. */
struct hinting {
  const Kvasir__V1__HintRequest *ask;
  struct kvi_program_hint told;
  struct kvi_hint_keys keys;
  char text[TEXT_MAX]; /* why it was not just accepted */
};

static bool is_measured(const Kvasir__V1__HintRequest *ask)
{
  return ask->prefill_tokens > 0 || ask->prefill_us > 0;
}

/* A hint that names keys is about chunks, and may name any part of their chain. */
static kvs_status keys_take(struct hinting *hint)
{
  const Kvasir__V1__HintRequest *ask = hint->ask;
  kvs_status status;

  if (!ask->keys && ask->space.len == 0)
    return is_measured(ask) ? KVS_ERR_INVALID : KVS_OK;
  if (!kvi_service_is_digest(&ask->space))
    return KVS_ERR_INVALID;
  if (!ask->keys && is_measured(ask))
    return KVS_OK;
  status = kvi_service_keys_check(ask->keys, &hint->keys.n_keys);
  if (status != KVS_OK)
    return status;
  hint->keys.space = ask->space.data;
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): keys_check refuses NULL */
  hint->keys.keys = ask->keys->keys.data;
  hint->keys.key_length = ask->keys->key_length;
  return KVS_OK;
}

/* ---- in words ---- */

static void say(struct hinting *hint, const char *text)
{
  size_t length = strlen(hint->text);

  snprintf(hint->text + length, sizeof(hint->text) - length, "%s%s", length > 0 ? "; " : "", text);
}

static void say_clipped(struct hinting *hint, const char *name, uint32_t ms)
{
  char text[96];

  if (ms <= KVI_HINT_MS_MOST)
    return;
  snprintf(text, sizeof(text), "%s: %" PRIu32 " to %u ms", name, ms, KVI_HINT_MS_MOST);
  say(hint, text);
}

/* Of what was said of the program. */
static void say_program(struct hinting *hint, enum kvi_hint_outcome outcome)
{
  if (outcome == KVI_HINT_CLIPPED) {
    say_clipped(hint, "return_p50_ms", hint->told.return_p50_ms);
    say_clipped(hint, "return_p90_ms", hint->told.return_p90_ms);
    say_clipped(hint, "ttl_ms", hint->told.ttl_ms);
  } else if (outcome == KVI_HINT_DEFERRED) {
    say(hint, "nothing of the program is known yet, so there is no wait to go by");
  } else if (outcome == KVI_HINT_MISSING) {
    say(hint, hint->told.close ? "no such program is known" : "none of the keys is here");
  } else if (outcome == KVI_HINT_REJECTED) {
    say(hint, kvi_programs_fault(&hint->told));
  }
}

/* Of a prefill. */
static void say_measured(struct hinting *hint, enum kvi_hint_outcome outcome)
{
  char text[96];

  if (outcome == KVI_HINT_CLIPPED) {
    snprintf(text, sizeof(text), "prefill_us: to what it is at %g to %g tokens a second",
             1 / KVI_COMPUTE_TOKEN_S_MOST, 1 / KVI_COMPUTE_TOKEN_S_LEAST);
    say(hint, text);
  } else if (outcome == KVI_HINT_DEFERRED) {
    snprintf(text, sizeof(text), "a prefill of fewer than %u tokens says little", KVI_COMPUTE_TOKENS_LEAST);
    say(hint, text);
  } else if (outcome == KVI_HINT_MISSING) {
    say(hint, "the space is not known");
  } else if (outcome == KVI_HINT_REJECTED) {
    say(hint, "a prefill takes both tokens and time, and not too many tokens");
  }
}

static const char *keys_fault(const struct hinting *hint, kvs_status status)
{
  if (status != KVS_ERR_INVALID)
    return kvs_status_text(status);
  return hint->ask->keys || !is_measured(hint->ask)
             ? "a space and the keys of chunks in it are wanted, or neither"
             : "a prefill is of a space";
}

/* ---- what it does ---- */

/* What ends is missing only if neither the table of programs nor the policy knew it: each forgets. */
static enum kvi_hint_outcome outcome_of(const struct kvi_program_hint *told, enum kvi_hint_outcome recorded,
                                        enum kvi_hint_outcome acted)
{
  return told->close && recorded == KVI_HINT_ACCEPTED ? KVI_HINT_ACCEPTED : acted;
}

static enum kvi_hint_outcome program_heed(struct kvi_store_service *service, struct hinting *hint)
{
  enum kvi_hint_outcome outcome = kvi_programs_hint(service->programs, &hint->told);

  if (outcome != KVI_HINT_REJECTED)
    outcome =
        outcome_of(&hint->told, outcome, kvi_store_hint(service->config.store, &hint->told, &hint->keys));
  say_program(hint, outcome);
  return outcome;
}

static enum kvi_hint_outcome measured_heed(struct kvi_store_service *service, struct hinting *hint)
{
  const Kvasir__V1__HintRequest *ask = hint->ask;
  const struct kvi_compute_measured told = {
      .tokens = ask->prefill_tokens, .from = ask->prefill_from, .us = ask->prefill_us};
  enum kvi_hint_outcome outcome =
      kvi_store_computed(service->config.store, hint->told.tenant, ask->space.data, &told);

  say_measured(hint, outcome);
  return outcome;
}

/* Of both the program and a prefill: what is wrong with one is wrong with all, else the first that was not just accepted. */
static enum kvi_hint_outcome heed(struct kvi_store_service *service, struct hinting *hint)
{
  enum kvi_hint_outcome outcome, learned;

  if (is_measured(hint->ask) && hint->told.program[0] == '\0')
    return measured_heed(service, hint);
  outcome = program_heed(service, hint);
  if (outcome == KVI_HINT_REJECTED || !is_measured(hint->ask))
    return outcome;
  learned = measured_heed(service, hint);
  return outcome == KVI_HINT_ACCEPTED || learned == KVI_HINT_REJECTED ? learned : outcome;
}

kvs_status kvi_service_hint(struct kvi_store_service *service, const struct kvi_peer *peer,
                            const void *request, void *reply)
{
  const Kvasir__V1__HintRequest *ask = request;
  Kvasir__V1__HintReply *answer = reply;
  struct hinting hint = {
      .ask = ask,
      .told = {.tenant = peer->tenant,
               .program = ask->program,
               .parent = ask->parent_program,
               .tool = ask->tool,
               .turn = ask->turn,
               .wait_kind = ask->wait_kind,
               .return_p50_ms = ask->return_p50_ms,
               .return_p90_ms = ask->return_p90_ms,
               .priority = ask->priority,
               .ttl_ms = ask->ttl_ms,
               .range_tokens = ask->range_tokens,
               .close = ask->close,
               .client = peer->id,
               .has_priority = ask->priority_said_case == KVASIR__V1__HINT_REQUEST__PRIORITY_SAID_PRIORITY,
               .hash = kvi_store_program_hash(service->config.store, peer->tenant, ask->program)}};

  answer->outcome = KVI_HINT_REJECTED;
  answer->status = keys_take(&hint);
  if (answer->status == KVS_OK)
    answer->outcome = heed(service, &hint);
  else
    say(&hint, keys_fault(&hint, answer->status));
  if (answer->outcome == KVI_HINT_REJECTED && answer->status == KVS_OK)
    answer->status = KVS_ERR_INVALID;
  atomic_fetch_add_explicit(&service->hints[answer->outcome], 1, memory_order_relaxed);
  return hint.text[0] != '\0' ? kvi_service_text_set(&answer->text, hint.text) : KVS_OK;
}
