/* connector/connector.c: opening, closing, spaces, counters. */
#include "connector/connector_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "proto/limits.h"

uint32_t kvs_version(void)
{
  return (uint32_t)KVS_VERSION_MAJOR << 16 | (uint32_t)KVS_VERSION_MINOR << 8 | KVS_VERSION_PATCH;
}

/* ---- open and close ---- */

static kvs_status check_options(const kvs_options *options, kvs_options *checked)
{
  kvs_status status = kvi_connector_struct_copy(checked, sizeof(*checked), options);

  if (status != KVS_OK) {
    kvi_log_error("connector: options of %" PRIu32 " bytes, this library knows %zu", options->struct_size,
                  sizeof(*checked));
    return status;
  }
  if (checked->timeout_ms > KVI_TIMEOUT_MS_MAX || checked->max_operations > KVI_CONNECTOR_OPERATIONS_MAX) {
    kvi_log_error("connector: timeout of %" PRIu32 " ms (at most %u) or %" PRIu32 " operations (at most %u)",
                  checked->timeout_ms, KVI_TIMEOUT_MS_MAX, checked->max_operations,
                  KVI_CONNECTOR_OPERATIONS_MAX);
    return KVS_ERR_INVALID;
  }
  if (checked->timeout_ms == 0)
    checked->timeout_ms = KVI_CONNECTOR_TIMEOUT_MS;
  if (checked->max_operations == 0)
    checked->max_operations = KVI_CONNECTOR_OPERATIONS;
  return KVS_OK;
}

static kvs_status open_client(kvs_connector *connector, const kvs_options *options)
{
  kvsc_options client = {.struct_size = sizeof(client),
                         .endpoint = options->endpoint,
                         .timeout_ms = options->timeout_ms,
                         .max_operations = options->max_operations,
                         .wait_connected_ms = options->wait_connected_ms,
                         .tls_ca_file = options->tls_ca_file,
                         .tls_cert_file = options->tls_cert_file,
                         .tls_key_file = options->tls_key_file,
                         .tls_server_name = options->tls_server_name,
                         .hand_over = options->hand_over,
                         .encode = options->encode,
                         .encode_planes = options->encode_planes,
                         .encode_threads = options->encode_threads,
                         .encode_mib = options->encode_mib,
                         .token_file = options->token_file,
                         .plain_token = options->plain_token};
  enum kvi_connector_endpoint kind;
  uint64_t bytes;
  kvs_status status = kvi_connector_endpoint_parse(options->endpoint, &kind, &bytes);

  if (status != KVS_OK)
    return status;
  if (kind == KVI_CONNECTOR_NODE)
    return kvsc_open(&client, &connector->client);
  if (bytes == 0)
    bytes = options->embedded_dram_bytes != 0 ? options->embedded_dram_bytes : KVI_CONNECTOR_DRAM_BYTES;
  connector->embedded_bytes = bytes;
  if (client.encode <= KVSC_ENCODE_CACHEGEN)
    client.encode = KVSC_ENCODE_NONE; /* there is no link */
  return kvi_connector_embedded_open(bytes, &client, &connector->embedded, &connector->client);
}

kvs_status kvs_open(const kvs_options *options, kvs_connector **connector_p)
{
  kvs_options checked;
  kvs_connector *connector;
  kvs_status status;

  if (connector_p == NULL)
    return KVS_ERR_INVALID;
  *connector_p = NULL;
  status = check_options(options, &checked);
  if (status != KVS_OK)
    return status;
  connector = calloc(1, sizeof(*connector));
  if (connector == NULL)
    return KVS_ERR_NOMEM;
  connector->pid = getpid();
  kvi_list_init(&connector->memories);
  if (pthread_mutex_init(&connector->mutex, NULL) != 0) {
    status = KVS_ERR_SYSTEM;
    goto free_connector;
  }
  status = kvi_connector_op_table_create(checked.max_operations, &connector->table);
  if (status != KVS_OK)
    goto destroy_mutex;
  status = open_client(connector, &checked);
  if (status != KVS_OK)
    goto destroy_table;
  *connector_p = connector;
  return KVS_OK;

destroy_table:
  kvi_connector_op_table_destroy(&connector->table);
destroy_mutex:
  pthread_mutex_destroy(&connector->mutex);
free_connector:
  free(connector);
  return status;
}

void kvs_close(kvs_connector *connector)
{
  kvi_list_node *node;

  /* In a forked child the threads are gone and locks may be held for ever: all of it stays as the fork left it. */
  if (connector == NULL || kvi_forked(connector->pid))
    return;
  kvsc_close(connector->client); /* from here on nobody touches the engine's memory, nor the scatter lists */
  kvi_connector_embedded_close(connector->embedded);
  kvi_connector_op_table_destroy(&connector->table);
  while ((node = kvi_list_pop_front(&connector->memories)) != NULL)
    free(kvi_list_entry(node, kvs_memory, node));
  for (uint32_t i = 0; i < connector->n_spaces; i++)
    free(connector->spaces[i]);
  pthread_mutex_destroy(&connector->mutex);
  free(connector);
}

kvs_status kvs_state(kvs_connector *connector, char *text, size_t size)
{
  char bytes[KVI_FORMAT_MAX];

  if (connector == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid)) {
    if (text != NULL && size > 0)
      snprintf(text, size, "opened before fork: open a connector in the child");
    return KVS_ERR_FORKED;
  }
  if (connector->embedded == NULL)
    return kvsc_state(connector->client, text, size);
  if (text != NULL && size > 0)
    snprintf(text, size, "embedded store of %s", kvi_format_size(connector->embedded_bytes, bytes));
  return KVS_OK;
}

/* ---- spaces ---- */

static kvs_space *find_space(const kvs_connector *connector, const uint8_t digest[KVS_DIGEST_SIZE])
{
  for (uint32_t i = 0; i < connector->n_spaces; i++) {
    if (memcmp(connector->spaces[i]->digest, digest, KVS_DIGEST_SIZE) == 0)
      return connector->spaces[i];
  }
  return NULL;
}

/* With the mutex held. */
static kvs_status add_space(kvs_connector *connector, const kvs_space_desc *desc,
                            const uint8_t digest[KVS_DIGEST_SIZE], kvs_space **space_p)
{
  kvs_space *space;
  kvs_status status;

  if (connector->n_spaces == KVI_CONNECTOR_SPACES_MAX)
    return KVS_ERR_BUSY;
  space = calloc(1, sizeof(*space));
  if (space == NULL)
    return KVS_ERR_NOMEM;
  status = kvsc_space_open(connector->client, desc, &space->client);
  if (status != KVS_OK) {
    free(space);
    return status;
  }
  space->connector = connector;
  memcpy(space->digest, digest, KVS_DIGEST_SIZE);
  space->chunk_bytes = desc->chunk_bytes;
  space->key_length = desc->key_length;
  space->tokens_per_chunk = desc->tokens_per_chunk;
  space->hash = desc->hash;
  connector->spaces[connector->n_spaces++] = space;
  *space_p = space;
  return KVS_OK;
}

kvs_status kvs_space_open(kvs_connector *connector, const kvs_space_desc *desc, kvs_space **space_p)
{
  uint8_t digest[KVS_DIGEST_SIZE];
  kvs_status status;

  if (space_p == NULL)
    return KVS_ERR_INVALID;
  *space_p = NULL;
  if (connector == NULL)
    return KVS_ERR_INVALID;
  if (kvi_forked(connector->pid))
    return KVS_ERR_FORKED;
  status = kvs_space_digest(desc, digest);
  if (status != KVS_OK)
    return status;
  pthread_mutex_lock(&connector->mutex);
  *space_p = find_space(connector, digest);
  if (*space_p == NULL)
    status = add_space(connector, desc, digest, space_p);
  pthread_mutex_unlock(&connector->mutex);
  return status;
}

void kvs_space_get_digest(const kvs_space *space, uint8_t digest[KVS_DIGEST_SIZE])
{
  memcpy(digest, space->digest, KVS_DIGEST_SIZE);
}

/* ---- counters ---- */

void kvs_get_counters(kvs_connector *connector, kvs_counters *counters)
{
  kvsc_counters client = {.struct_size = sizeof(client)};
  kvs_counters full;
  uint32_t size;

  if (connector == NULL || counters == NULL || counters->struct_size < sizeof(uint32_t))
    return;
  size = counters->struct_size;
  if (!kvi_forked(connector->pid))
    kvsc_get_counters(connector->client, &client);
  full = (kvs_counters){.struct_size = size,
                        .lookups = client.lookups,
                        .lookup_keys = atomic_load_explicit(&connector->lookup_keys, memory_order_relaxed),
                        .lookup_hit_keys =
                            atomic_load_explicit(&connector->lookup_hit_keys, memory_order_relaxed),
                        .get_chunks = client.get_chunks,
                        .get_hits = client.get_hits,
                        .get_bytes = client.get_bytes,
                        .put_chunks = client.put_chunks,
                        .put_stored = atomic_load_explicit(&connector->put_stored, memory_order_relaxed),
                        .put_bytes = client.put_bytes,
                        .misses = client.misses,
                        .deadline_exceeded = client.deadline_exceeded,
                        .canceled = client.canceled,
                        .checksum_errors = client.checksum_errors,
                        .busy = client.busy + atomic_load_explicit(&connector->busy, memory_order_relaxed),
                        .reconnects = client.reconnects,
                        .in_flight = client.in_flight,
                        .hints = atomic_load_explicit(&connector->hints, memory_order_relaxed),
                        .coded_chunks = client.coded_chunks,
                        .coded_bytes = client.coded_bytes,
                        .encoded_chunks = client.encoded_chunks,
                        .encoded_raw_bytes = client.encoded_raw_bytes,
                        .encoded_bytes = client.encoded_bytes};
  memcpy(counters, &full, size < sizeof(full) ? size : sizeof(full));
}
