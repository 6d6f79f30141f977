/* client/traces/read_mooncake.c: a request a line: timestamp in ms, input_length, output_length, hash_ids of blocks of 512 tokens. */
#include "client/traces/read.h"
#include "client/traces/read_json.h"

#define BLOCK_TOKENS 512u

struct reader {
  struct sim_trace *trace;
  struct sim_ids ids;
};

static kvs_status take(void *own, const cJSON *object, struct sim_error *error)
{
  struct reader *reader = own;
  struct sim_request request = {.run = reader->trace->n_runs - 1, .api_s = -1, .think_s = -1};
  uint64_t input, output;
  double ms;
  kvs_status status = sim_json_number(object, "timestamp", (double)SIM_TIME_MAX_US / 1e3, &ms, error);

  if (status == KVS_OK)
    status = sim_json_whole(object, "input_length", SIM_TOKENS_MAX, &input, error);
  if (status == KVS_OK)
    status = sim_json_whole(object, "output_length", SIM_TOKENS_MAX, &output, error);
  if (status == KVS_OK)
    status = sim_json_ids(object, "hash_ids", &reader->ids, error);
  if (status != KVS_OK)
    return status;
  request.at_us = (uint64_t)(ms * 1e3);
  request.input_tokens = (uint32_t)input;
  request.output_tokens = (uint32_t)output;
  return sim_trace_add(reader->trace, &request, BLOCK_TOKENS, reader->ids.ids, reader->ids.n, error);
}

kvs_status sim_read_mooncake(struct sim_trace *trace, const char *name, const char *text, size_t length,
                             struct sim_error *error)
{
  struct reader reader = {.trace = trace};
  kvs_status status = sim_trace_scope(trace, text, length, error);

  if (status == KVS_OK)
    status = sim_trace_run(trace, error);
  trace->tells_runs = false; /* which requests are of one conversation is not said */
  if (status == KVS_OK)
    status = sim_json_lines(name, text, length, take, &reader, error);
  sim_ids_free(&reader.ids);
  return status;
}
