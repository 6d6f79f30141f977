/* client/json.c: a node's answers as JSON documents. */
#include "client/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#include "base/array.h"
#include "base/text.h"
#include "proto/chunk.h"
#include "proto/service.h"
#include "proto/space.h"

#define HEX_BYTES_MAX 64u /* keys and digests */

static void add_hex(kvi_strbuf *json, const ProtobufCBinaryData *bytes)
{
  char text[2 * HEX_BYTES_MAX + 1];

  if (bytes->len > HEX_BYTES_MAX || kvi_hex_encode(bytes->data, bytes->len, text, sizeof(text)) != KVS_OK)
    text[0] = '\0';
  kvi_strbuf_addf(json, "\"%s\"", text);
}

static void add_string(kvi_strbuf *json, const char *name, const char *value)
{
  kvi_strbuf_addf(json, "\"%s\":", name);
  kvi_strbuf_add_json(json, value);
}

static void add_stat(kvi_strbuf *json, const Kvasir__V1__Stat *stat)
{
  kvi_strbuf_add(json, "{");
  add_string(json, "name", stat->name);
  kvi_strbuf_addf(json, ",\"kind\":\"%s\",", stat->kind == 1 ? "counter" : "gauge");
  add_string(json, "labels", stat->labels);
  kvi_strbuf_add(json, ",");
  add_string(json, "help", stat->help);
  if (isfinite(stat->value))
    kvi_strbuf_addf(json, ",\"value\":%.17g}", stat->value);
  else
    kvi_strbuf_add(json, ",\"value\":null}"); /* JSON has no such number */
}

static const char *tier_name(uint32_t tier)
{
  static const char *const names[] = {"absent", "dram", "ssd", "redis", "gpu"};

  return tier < sizeof(names) / sizeof(names[0]) ? names[tier] : "unknown";
}

static void add_damaged(kvi_strbuf *json, const Kvasir__V1__DamagedChunk *chunk)
{
  kvi_strbuf_add(json, "{\"space\":");
  add_hex(json, &chunk->space);
  kvi_strbuf_add(json, ",\"key\":");
  add_hex(json, &chunk->key);
  kvi_strbuf_addf(json, ",\"tier\":\"%s\",", tier_name(chunk->tier));
  add_string(json, "found_by", chunk->found_by);
  kvi_strbuf_addf(json, ",\"age_ms\":%" PRIu64 "}", chunk->age_ms);
}

static void add_tenant(kvi_strbuf *json, const Kvasir__V1__TenantInfo *tenant)
{
  const struct {
    const char *name;
    uint64_t value;
  } numbers[] = {{"weight", tenant->weight},
                 {"dram_bytes", tenant->dram_bytes},
                 {"dram_quota", tenant->dram_max},
                 {"ssd_bytes", tenant->ssd_bytes},
                 {"ssd_quota", tenant->ssd_max},
                 {"redis_bytes", tenant->redis_bytes},
                 {"redis_quota", tenant->redis_max},
                 {"chunks", tenant->chunks},
                 {"spaces", tenant->spaces},
                 {"own_evictions", tenant->own_evictions},
                 {"own_demotions", tenant->own_demotions},
                 {"puts_refused", tenant->puts_refused},
                 {"writes_refused", tenant->writes_refused},
                 {"redis_refused", tenant->redis_refused},
                 {"rent_ns", tenant->rent_ns}};

  kvi_strbuf_add(json, "{");
  add_string(json, "name", tenant->name);
  for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
    kvi_strbuf_addf(json, ",\"%s\":%" PRIu64, numbers[i].name, numbers[i].value);
  kvi_strbuf_add(json, "}");
}

void kvi_client_json_tenants(kvi_strbuf *json, const Kvasir__V1__TenantsReply *reply)
{
  for (size_t i = 0; i < reply->n_tenants; i++) {
    kvi_strbuf_add(json, i > 0 ? "," : "");
    add_tenant(json, reply->tenants[i]);
  }
}

void kvi_client_json_stats(kvi_strbuf *json, const Kvasir__V1__StatsReply *reply)
{
  kvi_strbuf_add(json, "{");
  add_string(json, "software", reply->software);
  /* As text: 64 bits are more than a JSON reader's numbers hold. */
  kvi_strbuf_addf(json, ",\"incarnation\":\"%016" PRIx64 "\",\"uptime_ms\":%" PRIu64 ",\"stats\":[",
                  reply->incarnation, reply->uptime_ms);
  for (size_t i = 0; i < reply->n_stats; i++) {
    kvi_strbuf_add(json, i > 0 ? "," : "");
    add_stat(json, reply->stats[i]);
  }
  kvi_strbuf_add(json, "],\"damaged\":[");
  for (size_t i = 0; i < reply->n_damaged; i++) {
    kvi_strbuf_add(json, i > 0 ? "," : "");
    add_damaged(json, reply->damaged[i]);
  }
  kvi_strbuf_add(json, "]}");
}

static void add_descriptor(kvi_strbuf *json, const Kvasir__V1__SpaceDescriptor *desc)
{
  kvi_strbuf_add(json, "{");
  add_string(json, "model", desc->model);
  kvi_strbuf_add(json, ",");
  add_string(json, "revision", desc->revision);
  kvi_strbuf_add(json, ",\"weights\":");
  add_hex(json, &desc->weights);
  kvi_strbuf_add(json, ",");
  add_string(json, "engine", desc->engine);
  kvi_strbuf_add(json, ",");
  add_string(json, "isa", desc->isa);
  kvi_strbuf_add(json, ",");
  add_string(json, "layout_detail", desc->layout_detail);
  kvi_strbuf_addf(
      json,
      ",\"layout\":\"%s\",\"key_dtype\":%u,\"value_dtype\":%u,\"layers\":%u,\"kv_heads\":%u,\"key_dim\":%u,"
      "\"value_dim\":%u,\"tokens_per_chunk\":%u,\"engine_block\":%u,\"kv_group\":%u,",
      desc->layout == KVS_LAYOUT_TENSORS ? "tensors" : "opaque", desc->key_dtype, desc->value_dtype,
      desc->layers, desc->kv_heads, desc->key_dim, desc->value_dim, desc->tokens_per_chunk,
      desc->engine_block, desc->kv_group);
  kvi_strbuf_addf(json,
                  "\"tp_rank\":%u,\"tp_size\":%u,\"pp_rank\":%u,\"pp_size\":%u,\"cp_rank\":%u,\"cp_size\":%u,"
                  "\"hash\":%u,\"key_length\":%u,\"chunk_bytes\":%" PRIu64 "}",
                  desc->tp_rank, desc->tp_size, desc->pp_rank, desc->pp_size, desc->cp_rank, desc->cp_size,
                  desc->hash, desc->key_length, desc->chunk_bytes);
}

void kvi_client_json_spaces(kvi_strbuf *json, const Kvasir__V1__ListSpacesReply *reply)
{
  for (size_t i = 0; i < reply->n_spaces; i++) {
    const Kvasir__V1__SpaceInfo *space = reply->spaces[i];

    kvi_strbuf_add(json, i > 0 ? ",{\"digest\":" : "{\"digest\":");
    add_hex(json, &space->digest);
    kvi_strbuf_addf(json, ",\"chunks\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"descriptor\":", space->chunks,
                    space->bytes);
    if (space->descriptor != NULL)
      add_descriptor(json, space->descriptor);
    else
      kvi_strbuf_add(json, "null");
    kvi_strbuf_add(json, "}");
  }
}

static const char *wait_name(uint32_t kind)
{
  static const char *const names[] = {"unknown", "tool", "human", "subagent", "approval", "end"};

  return kind < KVI_ARRAY_SIZE(names) ? names[kind] : "unknown";
}

static void add_program(kvi_strbuf *json, const Kvasir__V1__ProgramInfo *program)
{
  kvi_strbuf_add(json, "{\"program\":");
  kvi_strbuf_add_json(json, program->program);
  kvi_strbuf_add(json, ",\"parent\":");
  kvi_strbuf_add_json(json, program->parent);
  kvi_strbuf_add(json, ",\"tool\":");
  kvi_strbuf_add_json(json, program->tool);
  kvi_strbuf_addf(json,
                  ",\"turn\":%u,\"waits_for\":\"%s\",\"answered\":%s,\"chunks\":%u,\"chunks_whole\":%u,"
                  "\"range_chunks\":%u,"
                  "\"waits_ms\":"
                  "%" PRIu64 ",\"announced_ms\":%" PRIu64
                  ",\"value_s\":%.9g,\"price\":%.9g,\"pinned\":%s,\"stays_ms\":",
                  program->turn, program->answered ? wait_name(program->wait_kind) : "answer",
                  program->answered ? "true" : "false", program->chunks, program->chunks_whole,
                  program->range_chunks, program->waits_ms, program->announced_ms, program->value_s,
                  program->price, program->pinned ? "true" : "false");
  if (program->stays_ms == UINT64_MAX)
    kvi_strbuf_add(json, "null");
  else
    kvi_strbuf_addf(json, "%" PRIu64, program->stays_ms);
  kvi_strbuf_add(json, ",\"space\":");
  add_hex(json, &program->space);
  kvi_strbuf_add(json, ",\"key\":");
  add_hex(json, &program->key);
  kvi_strbuf_add(json, "}");
}

void kvi_client_json_programs(kvi_strbuf *json, const Kvasir__V1__ListProgramsReply *reply)
{
  kvi_strbuf_add(json, "{\"policy\":");
  kvi_strbuf_add_json(json, reply->policy);
  kvi_strbuf_addf(json, ",\"by_price\":%s,\"memory_price\":%.9g,\"medium_price\":%.9g,\"programs\":[",
                  reply->by_price ? "true" : "false", reply->memory_price, reply->medium_price);
  for (size_t i = 0; i < reply->n_programs; i++) {
    kvi_strbuf_add(json, i > 0 ? "," : "");
    add_program(json, reply->programs[i]);
  }
  kvi_strbuf_addf(json, "],\"cursor\":%" PRIu64 "}", reply->cursor);
}

static void add_chunk(kvi_strbuf *json, const Kvasir__V1__ChunkInfo *chunk)
{
  kvi_strbuf_add(json, "{\"key\":");
  add_hex(json, &chunk->key);
  kvi_strbuf_addf(json,
                  ",\"place\":%u,\"length\":%" PRIu64 ",\"tier\":\"%s\",\"segments\":%u,\"idle_ms\":%" PRIu64
                  ",\"children\":%u,\"leased\":%s"
                  ",\"loss\":%u,\"loss_max\":%u,\"coded\":%s}",
                  chunk->place, chunk->length, tier_name(chunk->tier), chunk->segments, chunk->idle_ms,
                  chunk->children, chunk->leased ? "true" : "false",
                  kvi_quality_loss((uint16_t)chunk->quality), kvi_quality_loss_max((uint16_t)chunk->quality),
                  kvi_quality_coding((uint16_t)chunk->quality) != KVI_CODING_NONE ? "true" : "false");
}

void kvi_client_json_chunks(kvi_strbuf *json, const Kvasir__V1__ListChunksReply *reply)
{
  kvi_strbuf_add(json, "{\"chunks\":[");
  for (size_t i = 0; i < reply->n_chunks; i++) {
    kvi_strbuf_add(json, i > 0 ? "," : "");
    add_chunk(json, reply->chunks[i]);
  }
  kvi_strbuf_add(json, "]}");
}

void kvi_client_json_hint(kvi_strbuf *json, const Kvasir__V1__HintReply *reply)
{
  static const char *const names[] = {"none", "accepted", "clipped", "deferred", "rejected", "missing"};

  kvi_strbuf_addf(json, "{\"outcome\":\"%s\",",
                  reply->outcome < sizeof(names) / sizeof(names[0]) ? names[reply->outcome] : "unknown");
  add_string(json, "text", reply->text);
  kvi_strbuf_add(json, "}");
}

/* As in the labels of kvasir_get_misses_total. */
static const char *cause_name(uint32_t cause)
{
  static const char *const names[] = {"none",    "never",   "evicted",  "deleted", "space",
                                      "corrupt", "quality", "node",     "tier",    "other_space",
                                      "closed",  "quota",   "declined", "expired"};

  static_assert(sizeof(names) / sizeof(names[0]) == KVI_MISS_COUNT, "each cause has a name");
  return cause < KVI_MISS_COUNT ? names[cause] : "unknown";
}

static void add_departure(kvi_strbuf *json, const Kvasir__V1__Departure *departure)
{
  kvi_strbuf_addf(json, "{\"cause\":\"%s\",", cause_name(departure->cause));
  add_string(json, "rule", departure->rule);
  kvi_strbuf_addf(json,
                  ",\"age_ms\":%" PRIu64 ",\"idle_ms\":%" PRIu64 ",\"length\":%" PRIu64
                  ",\"by_price\":%s,\"below\":%s",
                  departure->age_ms, departure->idle_ms, departure->length,
                  departure->by_price ? "true" : "false", departure->below ? "true" : "false");
  if (departure->priced && isfinite(departure->price))
    kvi_strbuf_addf(json, ",\"price\":%.9g", departure->price);
  else
    kvi_strbuf_add(json, ",\"price\":null");
  if (departure->timed)
    kvi_strbuf_addf(json, ",\"over_ms\":%" PRId64 "}", departure->over_ms);
  else
    kvi_strbuf_add(json, ",\"over_ms\":null}");
}

static void add_other(kvi_strbuf *json, const Kvasir__V1__OtherSpace *other)
{
  kvi_strbuf_add(json, "{\"space\":");
  add_hex(json, &other->space);
  kvi_strbuf_addf(json, ",\"differences\":%u,", other->differences);
  add_string(json, "fields", other->fields);
  kvi_strbuf_add(json, "}");
}

void kvi_client_json_why(kvi_strbuf *json, const Kvasir__V1__WhyMissReply *reply)
{
  kvi_strbuf_addf(json, "{\"found\":%s,\"prefix\":%u,\"tiers\":[", reply->status == KVS_OK ? "true" : "false",
                  reply->prefix);
  for (size_t i = 0; i < reply->tiers.len; i++)
    kvi_strbuf_addf(json, "%s\"%s\"", i > 0 ? "," : "", tier_name(reply->tiers.data[i]));
  kvi_strbuf_addf(json,
                  "],\"cause\":\"%s\",\"landing\":%s,\"remembered_ms\":%" PRIu64
                  ",\"since_start\":%s,\"others\":%u,\"chunk\":",
                  cause_name(reply->cause), reply->landing ? "true" : "false", reply->remembered_ms,
                  reply->since_start ? "true" : "false", reply->others);
  if (reply->chunk != NULL)
    add_chunk(json, reply->chunk);
  else
    kvi_strbuf_add(json, "null");
  kvi_strbuf_add(json, ",\"departure\":");
  if (reply->departure != NULL)
    add_departure(json, reply->departure);
  else
    kvi_strbuf_add(json, "null");
  kvi_strbuf_add(json, ",\"other\":");
  if (reply->other != NULL)
    add_other(json, reply->other);
  else
    kvi_strbuf_add(json, "null");
  kvi_strbuf_add(json, ",\"damaged\":");
  if (reply->damaged != NULL)
    add_damaged(json, reply->damaged);
  else
    kvi_strbuf_add(json, "null");
  if (reply->lapsed)
    kvi_strbuf_addf(json, ",\"lapsed_ms\":%" PRIu64, reply->lapsed_ms);
  else
    kvi_strbuf_add(json, ",\"lapsed_ms\":null");
  kvi_strbuf_add(json, ",\"tiers_out\":[");
  for (size_t i = 0; i < reply->n_tiers_out; i++)
    kvi_strbuf_addf(json, "%s{\"tier\":\"%s\",\"parts\":%" PRIu64 ",\"out\":%" PRIu64 "}", i > 0 ? "," : "",
                    tier_name(reply->tiers_out[i]->tier), reply->tiers_out[i]->parts,
                    reply->tiers_out[i]->out);
  kvi_strbuf_add(json, "]}");
}

static void add_ratio(kvi_strbuf *json, const char *name, double value)
{
  if (isfinite(value))
    kvi_strbuf_addf(json, "\"%s\":%.9g,", name, value);
  else
    kvi_strbuf_addf(json, "\"%s\":null,", name);
}

static void add_point(kvi_strbuf *json, const Kvasir__V1__CurvePoint *point)
{
  kvi_strbuf_add(json, "{");
  add_ratio(json, "factor", point->factor);
  add_ratio(json, "lru", point->lru);
  add_ratio(json, "lru_error", point->lru_error);
  add_ratio(json, "belady", point->belady);
  add_ratio(json, "belady_error", point->belady_error);
  kvi_strbuf_addf(json, "\"bytes\":%" PRIu64 "}", point->bytes);
}

void kvi_client_json_curve(kvi_strbuf *json, const Kvasir__V1__CurveReply *reply)
{
  kvi_strbuf_addf(json, "{\"capacity\":%" PRIu64 ",\"enough\":%s,", reply->capacity,
                  reply->enough ? "true" : "false");
  add_ratio(json, "rate", reply->rate);
  add_ratio(json, "window_s", reply->window_s);
  add_ratio(json, "counted_s", reply->counted_s);
  add_ratio(json, "hit", reply->hit);
  add_ratio(json, "memory", reply->memory);
  add_ratio(json, "before", reply->before);
  add_ratio(json, "gain_error", reply->gain_error);
  add_ratio(json, "gap_error", reply->gap_error);
  add_ratio(json, "distinct_bytes", reply->distinct_bytes);
  kvi_strbuf_addf(json,
                  "\"samples\":%u,\"requests\":%u,\"uses\":%u,\"chunks\":%u,\"asked_tokens\":%" PRIu64
                  ",\"left_out\":%" PRIu64 ",\"points\":[",
                  reply->samples, reply->requests, reply->uses, reply->chunks, reply->asked_tokens,
                  reply->left_out);
  for (size_t i = 0; i < reply->n_points; i++) {
    kvi_strbuf_add(json, i > 0 ? "," : "");
    add_point(json, reply->points[i]);
  }
  kvi_strbuf_add(json, "]}");
}
