/*
 * client/traces/read_bailian.c: a request a line: chat_id, parent_chat_id (-1: none), timestamp in s, type, turn, hash_ids of blocks of 16 tokens, and
 * input_length and output_length where they are there. A run is a chat with all that say they follow it.
 */
#include <stdlib.h>

#include "client/traces/read.h"
#include "client/traces/read_json.h"

#define BLOCK_TOKENS 16u
#define CHAT_MAX     (UINT64_C(1) << 53)

struct chat {
  uint64_t id;
  uint32_t run;
};

struct reader {
  struct sim_trace *trace;
  struct sim_ids ids;
  struct chat *chats; /* by id, open addressing; run SIM_NONE: free */
  size_t n, room;
};

static struct chat *chat_at(struct chat *chats, size_t room, uint64_t id)
{
  size_t at = (size_t)(id * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (room - 1);

  while (chats[at].run != SIM_NONE && chats[at].id != id)
    at = (at + 1) & (room - 1);
  return &chats[at];
}

static kvs_status chats_grow(struct reader *reader, struct sim_error *error)
{
  size_t room = reader->room ? 2 * reader->room : 1024;
  struct chat *chats;

  if (2 * (reader->n + 1) <= reader->room)
    return KVS_OK;
  chats = malloc(room * sizeof *chats);
  if (!chats)
    return sim_fail(error, KVS_ERR_NOMEM, "no memory for the chats");
  for (size_t i = 0; i < room; i++)
    chats[i].run = SIM_NONE;
  for (size_t i = 0; i < reader->room; i++)
    if (reader->chats[i].run != SIM_NONE)
      *chat_at(chats, room, reader->chats[i].id) = reader->chats[i];
  free(reader->chats);
  reader->chats = chats;
  reader->room = room;
  return KVS_OK;
}

/* The run of a chat: its parent's, if that came before; else a new one. */
static kvs_status run_of(struct reader *reader, const cJSON *object, uint32_t *run_p, struct sim_error *error)
{
  const cJSON *parent = cJSON_GetObjectItemCaseSensitive(object, "parent_chat_id");
  struct chat *chat, *before;
  uint64_t id;
  kvs_status status = sim_json_whole(object, "chat_id", CHAT_MAX, &id, error);

  if (status == KVS_OK)
    status = chats_grow(reader, error);
  if (status != KVS_OK)
    return status;
  before = NULL;
  if (cJSON_IsNumber(parent) && parent->valuedouble >= 0 && parent->valuedouble <= (double)CHAT_MAX)
    before = chat_at(reader->chats, reader->room, (uint64_t)parent->valuedouble);
  if (before != NULL && before->run != SIM_NONE) {
    *run_p = before->run;
  } else {
    status = sim_trace_run(reader->trace, error);
    if (status != KVS_OK)
      return status;
    *run_p = reader->trace->n_runs - 1;
  }
  chat = chat_at(reader->chats, reader->room, id);
  reader->n += chat->run == SIM_NONE;
  *chat = (struct chat){.id = id, .run = *run_p};
  return KVS_OK;
}

static kvs_status take(void *own, const cJSON *object, struct sim_error *error)
{
  struct reader *reader = own;
  struct sim_request request = {.api_s = -1, .think_s = -1};
  double seconds, input, output;
  kvs_status status = sim_json_number(object, "timestamp", (double)SIM_TIME_MAX_US / 1e6, &seconds, error);

  if (status == KVS_OK)
    status = sim_json_ids(object, "hash_ids", &reader->ids, error);
  if (status == KVS_OK)
    status = sim_json_optional(object, "input_length", SIM_TOKENS_MAX, (double)reader->ids.n * BLOCK_TOKENS,
                               &input, error);
  if (status == KVS_OK)
    status = sim_json_optional(object, "output_length", SIM_TOKENS_MAX, 0, &output, error);
  if (status == KVS_OK && input > SIM_TOKENS_MAX)
    status = sim_fail(error, KVS_ERR_INVALID, "%zu blocks are too many", reader->ids.n);
  if (status == KVS_OK)
    status = run_of(reader, object, &request.run, error);
  if (status != KVS_OK)
    return status;
  request.at_us = (uint64_t)(seconds * 1e6);
  request.input_tokens = (uint32_t)input;
  request.output_tokens = (uint32_t)output;
  return sim_trace_add(reader->trace, &request, BLOCK_TOKENS, reader->ids.ids, reader->ids.n, error);
}

kvs_status sim_read_bailian(struct sim_trace *trace, const char *name, const char *text, size_t length,
                            struct sim_error *error)
{
  struct reader reader = {.trace = trace};
  kvs_status status = sim_trace_scope(trace, text, length, error);

  if (status == KVS_OK)
    status = sim_json_lines(name, text, length, take, &reader, error);
  sim_ids_free(&reader.ids);
  free(reader.chats);
  return status;
}
