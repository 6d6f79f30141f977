/*
 * Any bytes as a trace, by what its first line says and as each format: what is accepted has its numbers within their bounds and chains that hang together, and can be
 * replayed; what is not says where.
 */
#include <stdlib.h>
#include <string.h>

#include "client/traces/read.h"
#include "tests/sim/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
  if (!holds)
    abort();
}

static void check_trace(const struct sim_trace *trace)
{
  for (size_t i = 0; i < trace->n_requests; i++) {
    const struct sim_request *request = &trace->requests[i];
    uint32_t before = SIM_NONE;

    require(request->run < trace->n_runs && request->at_us <= SIM_TIME_MAX_US);
    require(request->input_tokens <= SIM_TOKENS_MAX && request->first + request->n_chunks <= trace->n_refs);
    require(sim_trace_tokens(trace, request, request->n_chunks) <= request->input_tokens);
    for (uint32_t k = 0; k < request->n_chunks; k++) {
      uint32_t chunk = trace->refs[request->first + k];

      require(chunk < trace->n_chunks && trace->parent[chunk] == before && trace->depth[chunk] == k);
      before = chunk;
    }
  }
}

static void replay(const struct sim_trace *trace)
{
  struct sim_error error = {0};
  struct sim_schedule *schedule;
  struct sim_replay what = {.trace = trace, .cost = SIM_COST_DEFAULT, .capacity = 3};
  struct sim_result result;

  if (sim_schedule_create(trace, 1, 1, &schedule, &error) != KVS_OK)
    return;
  what.schedule = schedule;
  for (size_t i = 0; sim_policy_at(i) != NULL; i++) {
    require(sim_replay_run(&what, sim_policy_at(i), &result) == KVS_OK);
    require(result.hits <= result.chunks && result.requests == schedule->n);
  }
  sim_schedule_destroy(schedule);
}

static void try_bytes(const char *bytes, size_t size, enum sim_format format)
{
  struct sim_error error = {0};
  struct sim_trace *trace;
  kvs_status status;

  require(sim_trace_create(0, &trace) == KVS_OK);
  status = sim_read_text(trace, "some", format, bytes, size, &error);
  require(status == error.status);
  require(status == KVS_OK || strncmp(error.text, "some:", 5) == 0);
  check_trace(trace);
  if (status == KVS_OK)
    replay(trace);
  sim_trace_destroy(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *bytes = malloc(size + 1); /* of its own length, so that a read behind it is seen */

  require(bytes != NULL);
  memcpy(bytes, data, size);
  bytes = realloc(bytes, size > 0 ? size : 1);
  require(bytes != NULL);
  for (int format = SIM_AUTO; format <= SIM_BAILIAN; format++)
    try_bytes(bytes, size, (enum sim_format)format);
  free(bytes);
  return 0;
}
