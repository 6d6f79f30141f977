/* tiers/service_programs.c: the control method that lists who waits at which chunk, and what that is worth. */
#include <stdlib.h>

#include "tiers/service_private.h"

#define LIST_DEFAULT 100u
#define LIST_MAX     1000u
#define GIB          1073741824.0

/* Infinity is all bits. */
static uint64_t ms_of(double seconds)
{
  return seconds < 1e15 ? (uint64_t)(seconds * 1e3) : UINT64_MAX;
}

static kvs_status program_fill(const struct kvi_waiter_info *info, const struct kvi_program_named *named,
                               Kvasir__V1__ProgramInfo *program)
{
  const struct kvi_policy_waiter *waiter = &info->waiter;
  kvs_status status = kvi_service_text_set(&program->program, named->name);

  if (status == KVS_OK)
    status = kvi_service_text_set(&program->parent, named->parent);
  if (status == KVS_OK)
    status = kvi_service_text_set(&program->tool, named->tool);
  if (status == KVS_OK && waiter->last != KVI_POLICY_NONE)
    status = kvi_service_bytes_set(&program->space, info->space, sizeof(info->space));
  if (status == KVS_OK && info->key_length > 0)
    status = kvi_service_bytes_set(&program->key, info->key, info->key_length);
  program->turn = named->turn;
  program->wait_kind = waiter->kind;
  program->answered = waiter->answered;
  program->chunks = waiter->n_chunks;
  program->chunks_whole = waiter->n_whole;
  program->range_chunks = waiter->n_ranged;
  program->waits_ms = ms_of(waiter->waits_s);
  program->announced_ms = ms_of(waiter->announced_s);
  program->value_s = waiter->value_s;
  program->price = waiter->price * GIB;
  program->pinned = waiter->n_chunks > 0 && waiter->price > waiter->tier_price;
  program->stays_ms = ms_of(waiter->ttl_s);
  return status;
}

/* KVS_MISS: nothing of it is here, and this tenant has told of no such program: it may be another's. */
static kvs_status program_add(struct kvi_store_service *service, const struct kvi_peer *peer,
                              const struct kvi_waiter_info *info, Kvasir__V1__ListProgramsReply *answer)
{
  struct kvi_program_named named = {.name = ""};
  bool known = kvi_programs_find_hash(service->programs, peer->tenant, info->waiter.program, &named);
  Kvasir__V1__ProgramInfo *program;

  if (!known && info->waiter.last == KVI_POLICY_NONE)
    return KVS_MISS;
  program = malloc(sizeof(*program));
  if (!program)
    return KVS_ERR_NOMEM;
  kvasir__v1__program_info__init(program);
  answer->programs[answer->n_programs++] = program;
  return program_fill(info, &named, program);
}

kvs_status kvi_service_list_programs(struct kvi_store_service *service, const struct kvi_peer *peer,
                                     const void *request, void *reply)
{
  const Kvasir__V1__ListProgramsRequest *ask = request;
  Kvasir__V1__ListProgramsReply *answer = reply;
  uint32_t limit = ask->limit == 0 ? LIST_DEFAULT : ask->limit < LIST_MAX ? ask->limit : LIST_MAX;
  struct kvi_waiter_info *infos = calloc(limit, sizeof(*infos));
  kvs_status status = KVS_ERR_NOMEM;
  struct kvi_price_info prices;
  uint64_t cursor = ask->cursor;
  size_t n;

  answer->programs = calloc(limit, sizeof(*answer->programs));
  if (!infos || !answer->programs)
    goto out;
  /* What all tenants together make of it is for administrators. */
  kvi_store_prices(service->config.store, peer->limited ? peer->tenant : NULL, &prices);
  answer->by_price = prices.by_price;
  answer->memory_price = prices.prices[KVI_POLICY_MEMORY] * GIB;
  answer->medium_price = prices.prices[KVI_POLICY_MEDIUM] * GIB;
  status = kvi_service_text_set(&answer->policy, prices.policy);
  n = kvi_store_waiters(service->config.store, peer->tenant, &cursor, infos, limit);
  answer->cursor = cursor;
  for (size_t i = 0; i < n && status >= 0; i++)
    status = program_add(service, peer, &infos[i], answer);
out:
  free(infos);
  return status < 0 ? status : KVS_OK;
}
