/*
 * Prints what the compiler makes of the public structs and enums, as JSON: {"structs": {NAME: {"size": N, "fields":
 * {FIELD: [OFFSET, SIZE]}}}, "enums": {NAME: {ENUMERATOR: VALUE}}, "constants": {NAME: VALUE}}. test_binding_abi.py holds
 * the Python binding against it.
 */
#include <stddef.h>
#include <stdio.h>

#include <kvasir/client.h>
#include <kvasir/connector.h>

static const char *separator; /* before the next member of the object at hand */

static void open_object(const char *name)
{
  printf("%s\"%s\": {", separator, name);
  separator = "";
}

static void close_object(void)
{
  printf("}");
  separator = ", ";
}

static void print_number(const char *name, long long value)
{
  printf("%s\"%s\": %lld", separator, name, value);
  separator = ", ";
}

static void open_struct(const char *name, size_t size)
{
  open_object(name);
  print_number("size", (long long)size);
  open_object("fields");
}

static void close_struct(void)
{
  close_object();
  close_object();
}

static void print_field(const char *name, size_t offset, size_t size)
{
  printf("%s\"%s\": [%zu, %zu]", separator, name, offset, size);
  separator = ", ";
}

#define STRUCT(type)       open_struct(#type, sizeof(type))
#define FIELD(type, field) print_field(#field, offsetof(type, field), sizeof(((type *)0)->field))
#define VALUE(name)        print_number(#name, (long long)(name))

static void print_options(void)
{
  STRUCT(kvs_options);
  FIELD(kvs_options, struct_size);
  FIELD(kvs_options, endpoint);
  FIELD(kvs_options, embedded_dram_bytes);
  FIELD(kvs_options, timeout_ms);
  FIELD(kvs_options, wait_connected_ms);
  FIELD(kvs_options, max_operations);
  FIELD(kvs_options, tls_ca_file);
  FIELD(kvs_options, tls_cert_file);
  FIELD(kvs_options, tls_key_file);
  FIELD(kvs_options, tls_server_name);
  FIELD(kvs_options, hand_over);
  FIELD(kvs_options, reserved);
  FIELD(kvs_options, encode);
  FIELD(kvs_options, encode_planes);
  FIELD(kvs_options, encode_threads);
  FIELD(kvs_options, encode_mib);
  FIELD(kvs_options, token_file);
  FIELD(kvs_options, plain_token);
  FIELD(kvs_options, reserved_more);
  close_struct();
}

static void print_space_desc(void)
{
  STRUCT(kvs_space_desc);
  FIELD(kvs_space_desc, struct_size);
  FIELD(kvs_space_desc, model);
  FIELD(kvs_space_desc, revision);
  FIELD(kvs_space_desc, weights);
  FIELD(kvs_space_desc, engine);
  FIELD(kvs_space_desc, isa);
  FIELD(kvs_space_desc, layout);
  FIELD(kvs_space_desc, key_dtype);
  FIELD(kvs_space_desc, value_dtype);
  FIELD(kvs_space_desc, layers);
  FIELD(kvs_space_desc, kv_heads);
  FIELD(kvs_space_desc, key_dim);
  FIELD(kvs_space_desc, value_dim);
  FIELD(kvs_space_desc, layout_detail);
  FIELD(kvs_space_desc, tokens_per_chunk);
  FIELD(kvs_space_desc, engine_block);
  FIELD(kvs_space_desc, kv_group);
  FIELD(kvs_space_desc, tp_rank);
  FIELD(kvs_space_desc, tp_size);
  FIELD(kvs_space_desc, pp_rank);
  FIELD(kvs_space_desc, pp_size);
  FIELD(kvs_space_desc, cp_rank);
  FIELD(kvs_space_desc, cp_size);
  FIELD(kvs_space_desc, hash);
  FIELD(kvs_space_desc, key_length);
  FIELD(kvs_space_desc, chunk_bytes);
  close_struct();
}

static void print_requests(void)
{
  STRUCT(kvs_region);
  FIELD(kvs_region, base);
  FIELD(kvs_region, size);
  FIELD(kvs_region, stride);
  FIELD(kvs_region, n_slots);
  FIELD(kvs_region, layer);
  close_struct();

  STRUCT(kvs_keys);
  FIELD(kvs_keys, struct_size);
  FIELD(kvs_keys, n);
  FIELD(kvs_keys, keys);
  FIELD(kvs_keys, first_place);
  FIELD(kvs_keys, unchained);
  FIELD(kvs_keys, parent);
  FIELD(kvs_keys, extent_first);
  close_struct();

  STRUCT(kvs_request);
  FIELD(kvs_request, struct_size);
  FIELD(kvs_request, timeout_ms);
  FIELD(kvs_request, user);
  FIELD(kvs_request, lease);
  FIELD(kvs_request, lease_ms);
  FIELD(kvs_request, statuses);
  FIELD(kvs_request, present);
  FIELD(kvs_request, by_layer);
  FIELD(kvs_request, reserved);
  FIELD(kvs_request, loss_max);
  FIELD(kvs_request, reserved_2);
  FIELD(kvs_request, loss_enough);
  FIELD(kvs_request, hurry_ms);
  FIELD(kvs_request, chain_chunks);
  FIELD(kvs_request, reserved_3);
  close_struct();

  STRUCT(kvs_buffer);
  FIELD(kvs_buffer, base);
  FIELD(kvs_buffer, length);
  FIELD(kvs_buffer, n_segments);
  FIELD(kvs_buffer, segment_lengths);
  close_struct();
}

static void print_completion(void)
{
  STRUCT(kvs_completion);
  FIELD(kvs_completion, op);
  FIELD(kvs_completion, user);
  FIELD(kvs_completion, status);
  FIELD(kvs_completion, n);
  FIELD(kvs_completion, n_ok);
  FIELD(kvs_completion, n_prefix);
  FIELD(kvs_completion, cause);
  FIELD(kvs_completion, bytes);
  FIELD(kvs_completion, elapsed_ns);
  FIELD(kvs_completion, lease);
  FIELD(kvs_completion, lease_ms);
  FIELD(kvs_completion, n_worth);
  FIELD(kvs_completion, fetch_us);
  FIELD(kvs_completion, compute_us);
  FIELD(kvs_completion, worth_us);
  close_struct();
}

static void print_hint(void)
{
  STRUCT(kvs_hint);
  FIELD(kvs_hint, struct_size);
  FIELD(kvs_hint, program);
  FIELD(kvs_hint, parent_program);
  FIELD(kvs_hint, turn);
  FIELD(kvs_hint, wait);
  FIELD(kvs_hint, tool);
  FIELD(kvs_hint, return_p50_ms);
  FIELD(kvs_hint, return_p90_ms);
  FIELD(kvs_hint, close);
  FIELD(kvs_hint, priority);
  FIELD(kvs_hint, ttl_ms);
  FIELD(kvs_hint, has_priority);
  FIELD(kvs_hint, prefill_tokens);
  FIELD(kvs_hint, prefill_from);
  FIELD(kvs_hint, prefill_us);
  FIELD(kvs_hint, range_tokens);
  FIELD(kvs_hint, reserved);
  close_struct();
}

static void print_counters(void)
{
  STRUCT(kvs_counters);
  FIELD(kvs_counters, struct_size);
  FIELD(kvs_counters, lookups);
  FIELD(kvs_counters, lookup_keys);
  FIELD(kvs_counters, lookup_hit_keys);
  FIELD(kvs_counters, get_chunks);
  FIELD(kvs_counters, get_hits);
  FIELD(kvs_counters, get_bytes);
  FIELD(kvs_counters, put_chunks);
  FIELD(kvs_counters, put_stored);
  FIELD(kvs_counters, put_bytes);
  FIELD(kvs_counters, misses);
  FIELD(kvs_counters, deadline_exceeded);
  FIELD(kvs_counters, canceled);
  FIELD(kvs_counters, checksum_errors);
  FIELD(kvs_counters, busy);
  FIELD(kvs_counters, reconnects);
  FIELD(kvs_counters, in_flight);
  FIELD(kvs_counters, hints);
  FIELD(kvs_counters, coded_chunks);
  FIELD(kvs_counters, coded_bytes);
  FIELD(kvs_counters, encoded_chunks);
  FIELD(kvs_counters, encoded_raw_bytes);
  FIELD(kvs_counters, encoded_bytes);
  close_struct();
}

static void print_statuses(void)
{
  open_object("kvs_status");
  VALUE(KVS_OK);
  VALUE(KVS_MISS);
  VALUE(KVS_PARTIAL);
  VALUE(KVS_EXISTS);
  VALUE(KVS_PENDING);
  VALUE(KVS_DECLINED);
  VALUE(KVS_ERR_INVALID);
  VALUE(KVS_ERR_DEADLINE);
  VALUE(KVS_ERR_CANCELED);
  VALUE(KVS_ERR_KEY_LENGTH);
  VALUE(KVS_ERR_TOO_LARGE);
  VALUE(KVS_ERR_SPACE_UNKNOWN);
  VALUE(KVS_ERR_SPACE_MISMATCH);
  VALUE(KVS_ERR_UNSUPPORTED);
  VALUE(KVS_ERR_BUSY);
  VALUE(KVS_ERR_QUOTA);
  VALUE(KVS_ERR_BUFFER);
  VALUE(KVS_ERR_CHECKSUM);
  VALUE(KVS_ERR_UNREACHABLE);
  VALUE(KVS_ERR_VERSION);
  VALUE(KVS_ERR_PROTOCOL);
  VALUE(KVS_ERR_DRAINING);
  VALUE(KVS_ERR_DENIED);
  VALUE(KVS_ERR_FULL);
  VALUE(KVS_ERR_CORRUPT);
  VALUE(KVS_ERR_IO);
  VALUE(KVS_ERR_NOMEM);
  VALUE(KVS_ERR_CONFIG);
  VALUE(KVS_ERR_SYSTEM);
  VALUE(KVS_ERR_FORKED);
  VALUE(KVS_ERR_CLOSED);
  VALUE(KVS_ERR_INTERNAL);
  close_object();
}

static void print_enums(void)
{
  print_statuses();
  open_object("kvs_layout");
  VALUE(KVS_LAYOUT_TENSORS);
  VALUE(KVS_LAYOUT_OPAQUE);
  close_object();
  open_object("kvs_dtype");
  VALUE(KVS_DTYPE_OPAQUE);
  VALUE(KVS_DTYPE_F32);
  VALUE(KVS_DTYPE_F16);
  VALUE(KVS_DTYPE_BF16);
  VALUE(KVS_DTYPE_F8_E4M3);
  VALUE(KVS_DTYPE_F8_E5M2);
  VALUE(KVS_DTYPE_I8);
  VALUE(KVS_DTYPE_GGML_Q8_0);
  close_object();
  open_object("kvs_hash");
  VALUE(KVS_HASH_OPAQUE);
  VALUE(KVS_HASH_NATIVE);
  VALUE(KVS_HASH_SGLANG);
  VALUE(KVS_HASH_VLLM_SHA256_CBOR);
  close_object();
  open_object("kvs_encode");
  VALUE(KVS_ENCODE_NONE);
  VALUE(KVS_ENCODE_LOSSLESS);
  VALUE(KVS_ENCODE_LADDER);
  VALUE(KVS_ENCODE_CACHEGEN);
  close_object();
  open_object("kvs_wait_kind");
  VALUE(KVS_WAIT_NONE);
  VALUE(KVS_WAIT_TOOL);
  VALUE(KVS_WAIT_HUMAN);
  VALUE(KVS_WAIT_SUBAGENT);
  VALUE(KVS_WAIT_APPROVAL);
  VALUE(KVS_WAIT_END);
  close_object();
  open_object("kvs_hint_outcome");
  VALUE(KVS_HINT_NONE);
  VALUE(KVS_HINT_ACCEPTED);
  VALUE(KVS_HINT_CLIPPED);
  VALUE(KVS_HINT_DEFERRED);
  VALUE(KVS_HINT_REJECTED);
  VALUE(KVS_HINT_MISSING);
  close_object();
  open_object("kvsc_cause");
  VALUE(KVSC_CAUSE_NONE);
  VALUE(KVSC_CAUSE_NEVER);
  VALUE(KVSC_CAUSE_EVICTED);
  VALUE(KVSC_CAUSE_DELETED);
  VALUE(KVSC_CAUSE_SPACE);
  VALUE(KVSC_CAUSE_CORRUPT);
  VALUE(KVSC_CAUSE_QUALITY);
  VALUE(KVSC_CAUSE_NODE);
  VALUE(KVSC_CAUSE_TIER);
  VALUE(KVSC_CAUSE_ELSEWHERE);
  VALUE(KVSC_CAUSE_CLOSED);
  VALUE(KVSC_CAUSE_QUOTA);
  VALUE(KVSC_CAUSE_DECLINED);
  VALUE(KVSC_CAUSE_EXPIRED);
  close_object();
}

int main(void)
{
  separator = "";
  printf("{");
  open_object("structs");
  print_options();
  print_space_desc();
  print_requests();
  print_completion();
  print_hint();
  print_counters();
  close_object();
  open_object("enums");
  print_enums();
  close_object();
  open_object("constants");
  VALUE(KVS_VERSION_MAJOR);
  VALUE(KVS_VERSION_MINOR);
  VALUE(KVS_VERSION_PATCH);
  VALUE(KVS_DIGEST_SIZE);
  VALUE(KVS_HASH_SIZE);
  close_object();
  printf("}\n");
  return 0;
}
