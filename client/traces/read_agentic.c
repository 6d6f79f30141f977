/*
 * client/traces/read_agentic.c: one run of an agent as one JSON object: block_size, and requests with t in s since its start, in, out, hash_ids (local to the
 * file), stop, api_time, think_time. A request of type "subagent" has requests of its own, their t counted from its t.
 */
#include <string.h>

#include "client/traces/read.h"
#include "client/traces/read_json.h"

#define NESTING_MAX 8u

struct reader {
  struct sim_trace *trace;
  uint32_t block_tokens;
  uint32_t agents; /* seen so far */
  struct sim_ids ids;
};

static enum sim_wait wait_of(const cJSON *request)
{
  const char *stop = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "stop"));

  if (stop == NULL)
    return SIM_WAIT_UNKNOWN;
  if (strcmp(stop, "tool_use") == 0)
    return SIM_WAIT_TOOL;
  return strcmp(stop, "end_turn") == 0 ? SIM_WAIT_HUMAN : SIM_WAIT_UNKNOWN;
}

static kvs_status take(struct reader *reader, const cJSON *object, double start, uint32_t agent,
                       struct sim_error *error)
{
  const double most_s = (double)SIM_TIME_MAX_US / 1e6;
  struct sim_request request = {.run = reader->trace->n_runs - 1, .agent = agent, .wait = wait_of(object)};
  uint64_t input, output;
  double at;
  kvs_status status = sim_json_number(object, "t", most_s, &at, error);

  if (status == KVS_OK)
    status = sim_json_whole(object, "in", SIM_TOKENS_MAX, &input, error);
  if (status == KVS_OK)
    status = sim_json_whole(object, "out", SIM_TOKENS_MAX, &output, error);
  if (status == KVS_OK)
    status = sim_json_optional(object, "api_time", most_s, -1, &request.api_s, error);
  if (status == KVS_OK)
    status = sim_json_optional(object, "think_time", most_s, -1, &request.think_s, error);
  if (status == KVS_OK)
    status = sim_json_ids(object, "hash_ids", &reader->ids, error);
  if (status != KVS_OK)
    return status;
  request.at_us = (uint64_t)((start + at) * 1e6);
  request.input_tokens = (uint32_t)input;
  request.output_tokens = (uint32_t)output;
  return sim_trace_add(reader->trace, &request, reader->block_tokens, reader->ids.ids, reader->ids.n, error);
}

/* The sentence gets the request's number: a run is one line, so its line says nothing. */
static kvs_status fail_in(size_t number, struct sim_error *error)
{
  struct sim_error plain = *error;

  return sim_fail(error, plain.status, "request %zu: %.160s", number, plain.text);
}

/* Calls itself, at most NESTING_MAX deep. NOLINTNEXTLINE(misc-no-recursion) */
static kvs_status take_all(struct reader *reader, const cJSON *requests, double start, uint32_t agent,
                           unsigned depth, struct sim_error *error)
{
  const cJSON *item;
  size_t number = 0;

  if (!cJSON_IsArray(requests) || depth > NESTING_MAX)
    return sim_fail(error, KVS_ERR_INVALID, "\"requests\" is not an array, or nested too deep");
  cJSON_ArrayForEach(item, requests)
  {
    const cJSON *own = cJSON_GetObjectItemCaseSensitive(item, "requests");
    kvs_status status;
    double at;

    number++;
    if (own == NULL) {
      status = take(reader, item, start, agent, error);
    } else {
      status = sim_json_number(item, "t", (double)SIM_TIME_MAX_US / 1e6, &at, error);
      if (status == KVS_OK)
        status = take_all(reader, own, start + at, ++reader->agents, depth + 1, error);
    }
    if (status != KVS_OK)
      return fail_in(number, error);
  }
  return KVS_OK;
}

kvs_status sim_read_agentic(struct sim_trace *trace, const char *name, const char *text, size_t length,
                            struct sim_error *error)
{
  const struct sim_place place = {.name = name, .line = 1};
  struct reader reader = {.trace = trace};
  cJSON *run = cJSON_ParseWithLength(text, length);
  uint64_t block_tokens = 0;
  kvs_status status;

  if (cJSON_IsObject(run))
    status = sim_json_whole(run, "block_size", 1u << 20, &block_tokens, error);
  else
    status = sim_fail(error, KVS_ERR_INVALID, "not a JSON object");
  if (status == KVS_OK)
    status = sim_trace_run(trace, error);
  if (status == KVS_OK)
    status = sim_trace_scope(trace, text, length, error);
  if (status == KVS_OK) {
    trace->spread = true;
    reader.block_tokens = (uint32_t)block_tokens;
    status = take_all(&reader, cJSON_GetObjectItemCaseSensitive(run, "requests"), 0, 0, 0, error);
  }
  if (status != KVS_OK)
    sim_fail_at(&place, error);
  sim_ids_free(&reader.ids);
  cJSON_Delete(run);
  return status;
}
