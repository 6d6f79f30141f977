/* settings.c: kvasird's table of settings, loading, checks, reload. */
#include "server/node/settings.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "proto/limits.h"
#include "server/node/address.h"
#include "server/node/machine.h"

#define KIB             INT64_C(1024)
#define MIB             (KIB * 1024)
#define GIB             (MIB * 1024)
#define TIB             (GIB * 1024)
#define TEXT_MAX        (1u << 20)
#define SUN_PATH_MAX    107 /* of struct sockaddr_un */
#define PATH_LENGTH_MAX 4000

#define INDEX_BYTES_PER_CHUNK 96u /* at most; docs/store.md has the sum */

#define AT(TYPE, field) KVI_CONFIG_##TYPE##_AT(struct kvi_node_settings, field)

const char *const kvi_settings_policies[] = {"leaf-lru", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", "trace", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

static const kvi_config_row rows[] = {
    {.name = "listen",
     AT(LIST, listen),
     .standard = "127.0.0.1:7070",
     .min = 0,
     .max = 8,
     .doc = "TCP addresses that clients connect to, each as `host:port`; IPv6 as `[::1]:7070`. For all "
            "addresses of both kinds list `0.0.0.0` and `[::]`. Port 0 takes "
            "any free port "
            "and says which in the log. An address that is not loopback needs TLS or `insecure: true`."},
    {.name = "unix_socket",
     AT(STRING, unix_socket),
     .standard = "/run/kvasir/kvasird.sock",
     .min = 0,
     .max = SUN_PATH_MAX,
     .doc = "Path of the unix socket for clients on the same host; empty for none. Its directory is created "
            "if it is "
            "missing and its parent may be written. A stale socket is replaced, one that another process "
            "listens on is not."},
    {.name = "unix_mode",
     AT(STRING, unix_mode),
     .standard = "0660",
     .min = 3,
     .max = 4,
     .doc = "Permissions of the unix socket, as three or four octal digits. Whoever may write to it may use "
            "the node."},
    {.name = "insecure",
     AT(BOOL, insecure),
     .standard = "false",
     .doc = "Allow addresses that are not loopback without TLS. Everybody who reaches the port can then "
            "read, write and "
            "delete chunks: only for networks where every host is trusted."},
    {.name = "tls.cert_file",
     AT(STRING, tls_cert_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Certificate chain of this node, PEM. With `tls.key_file` it turns TLS on for every address of "
            "`listen`; the "
            "unix socket stays without."},
    {.name = "tls.key_file",
     AT(STRING, tls_key_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Private key that belongs to `tls.cert_file`, PEM."},
    {.name = "tls.client_ca_file",
     AT(STRING, tls_client_ca_file),
     .min = 0,
     .max = PATH_LENGTH_MAX,
     .doc = "Certificates, PEM, that clients' certificates must be signed by. Empty: clients are not asked "
            "for one."},

    {.name = "dram.size",
     AT(SIZE, dram_size),
     .standard = "1GiB",
     .min = 4 * MIB,
     .max = 64 * TIB,
     .doc = "Memory for chunks. All of it is reserved and touched before the node says it is ready, and kept "
            "until it "
            "ends. More than the machine or its control group has is refused."},
    {.name = "dram.page_size",
     AT(SIZE, dram_page_size),
     .standard = "16KiB",
     .min = 4 * KIB,
     .max = 2 * MIB,
     .doc = "Unit in which that memory is given to chunks, a power of two. A chunk wastes half a unit on "
            "average."},
    {.name = "dram.huge_pages",
     AT(BOOL, dram_huge_pages),
     .standard = "true",
     .doc = "Use huge pages of the kernel when they are to be had; the log says what was got."},
    {.name = "dram.lock",
     AT(BOOL, dram_lock),
     .standard = "false",
     .doc = "Lock that memory so that it is never swapped out. When the kernel refuses (see "
            "`RLIMIT_MEMLOCK`) the node "
            "warns and goes on."},

    {.name = "store.max_chunks",
     AT(INT, store_max_chunks),
     .standard = "0",
     .min = 0,
     .max = 1 << 30, /* the store's bound */
     .unit = "chunks",
     .doc = "Most chunks the index holds; beyond it the policy evicts. 0: one for each 64 KiB of "
            "`dram.size`, at least 1024."},
    {.name = "store.max_spaces",
     AT(INT, store_max_spaces),
     .standard = "1024",
     .min = 1,
     .max = UINT16_MAX, /* an index entry has 16 bits for its space */
     .unit = "spaces",
     .doc = "Most spaces (model, dtype, layout, ...) the node remembers; another one is refused."},
    {.name = "store.max_leases",
     AT(INT, store_max_leases),
     .standard = "65536",
     .min = 1,
     .max = 100000000,
     .unit = "leases",
     .doc = "Most leases at a time; beyond it a lookup is answered without one."},
    {.name = "store.max_landings",
     AT(INT, store_max_landings),
     .standard = "1024",
     .min = 1,
     .max = 1000000,
     .unit = "chunks",
     .doc = "Most chunks that are being put at a time; beyond it a put is refused as busy."},
    {.name = "store.policy",
     AT(ENUM, store_policy),
     .standard = "leaf-lru",
     .choices = kvi_settings_policies,
     .doc = "Which chunks go when memory is full. `leaf-lru`: those that no stored chunk continues, least "
            "recently used first."},

    {.name = "chunk.max_size",
     AT(SIZE, chunk_max_size),
     .standard = "128MiB",
     .min = 4 * KIB,
     .max = KVI_CHUNK_BYTES_MAX,
     .doc = "Largest payload of one chunk. Must fit `dram.size`."},
    {.name = "frame.max_size",
     AT(SIZE, frame_max_size),
     .standard = "2MiB",
     .min = 64 * KIB,
     .max = KVI_FRAME_BYTES_MAX,
     .doc = "Most payload in one message of a transfer. Clients are told and keep to it."},
    {.name = "batch.max_chunks",
     AT(INT, batch_max_chunks),
     .standard = "512",
     .min = 1,
     .max = KVI_BATCH_CHUNKS_MAX,
     .unit = "chunks",
     .doc = "Most chunks of one get or put. Clients are told and keep to it."},

    {.name = "grpc.pollers",
     AT(INT, grpc_pollers),
     .standard = "0",
     .min = 0,
     .max = 64,
     .unit = "threads",
     .doc = "Threads that serve connections. 0: a quarter of the cores, 1 to 4."},
    {.name = "grpc.memory_quota",
     AT(SIZE, grpc_memory_quota),
     .standard = "256MiB",
     .min = 16 * MIB,
     .max = 1 * TIB,
     .doc = "Most memory that gRPC uses for messages that are coming in and going out, beside `dram.size`. "
            "It is what "
            "bounds the harm of oversized messages."},
    {.name = "grpc.max_connections",
     AT(INT, grpc_max_connections),
     .standard = "4096",
     .min = 1,
     .max = 1000000,
     .unit = "connections",
     .doc = "Most client connections; further ones are closed at once. Lowered to what the limit on open "
            "files allows, "
            "two for each connection."},
    {.name = "grpc.max_streams",
     AT(INT, grpc_max_streams),
     .standard = "1024",
     .min = 1,
     .max = 65536,
     .unit = "calls",
     .doc = "Most calls in progress on one connection; a client waits before it starts more."},
    {.name = "grpc.stall_timeout",
     AT(DURATION, grpc_stall_timeout),
     .standard = "10s",
     .min = 100,
     .max = 3600000,
     .doc = "A connection whose peer has not taken any byte for this long, while there are some for it, is "
            "closed."},

    {.name = "admin.listen",
     AT(STRING, admin_listen),
     .standard = "127.0.0.1:7071",
     .min = 0,
     .max = 300,
     .doc = "Address of the HTTP port with `/metrics`, `/healthz` and `/readyz`; empty for none. It never "
            "has TLS, so an "
            "address that is not loopback needs `insecure: true`."},
    {.name = "admin.max_connections",
     AT(INT, admin_max_connections),
     .standard = "64",
     .min = 2,
     .max = 1000,
     .unit = "connections",
     .doc = "Most connections to the HTTP port; when the last place is taken, the oldest ends."},

    {.name = "log.level",
     AT(ENUM, log_level),
     .standard = "info",
     .choices = log_levels,
     .mutable = true,
     .doc = "How much is logged to standard error. `info` is a few lines a minute whatever the load."},
    {.name = "log.format",
     AT(ENUM, log_format),
     .standard = "text",
     .choices = log_formats,
     .mutable = true,
     .doc = "One line of text for each event, or one JSON object."},
    {.name = "drain_timeout",
     AT(DURATION, drain_timeout),
     .standard = "10s",
     .min = 0,
     .max = 600000,
     .mutable = true,
     .doc = "How long work in flight may go on after SIGTERM before it is cancelled. The process ends at the "
            "latest a second after."},
};

/* What libkvasir's programs read: a shell that has them set starts a node as well. */
static const char *const client_variables[] = {"KVASIR_ENDPOINT", "KVASIR_TLS_CA",   "KVASIR_TLS_CERT",
                                               "KVASIR_TLS_KEY",  "KVASIR_TLS_NAME", NULL};

const kvi_config_table kvi_settings_table = {
    .program = "kvasird",
    .version = KVASIR_VERSION,
    .summary = "cache node of Kvasir: keeps chunks of KV cache in memory and serves them over gRPC",
    .rows = rows,
    .row_count = KVI_ARRAY_SIZE(rows),
    .struct_size = sizeof(struct kvi_node_settings),
    .others = client_variables,
};

struct kvi_settings {
  kvi_config *config;
  int argc;
  char *const *argv;
  char *const *environment;
  pthread_mutex_t mutex; /* guards the mutable values of config against a reload */
};

/* ---- checks over several settings ---- */

static bool parse_mode(const char *text, uint32_t *mode_p)
{
  uint32_t mode = 0;

  for (const char *at = text; *at != '\0'; at++) {
    if (*at < '0' || *at > '7')
      return false;
    mode = mode * 8 + (uint32_t)(*at - '0');
  }
  if (mode > 0777)
    return false;
  *mode_p = mode;
  return true;
}

uint32_t kvi_settings_unix_mode(const struct kvi_node_settings *values)
{
  uint32_t mode = 0;

  parse_mode(values->unix_mode, &mode);
  return mode;
}

/* An address that strangers can reach needs TLS, or the word that it is meant so. */
static kvs_status check_address(kvi_config *config, const char *name, const char *address, bool protected)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  struct kvi_node_address parsed;
  char error[KVI_ADDRESS_ERROR_MAX];

  if (kvi_node_address_parse(address, &parsed, error, sizeof(error)) != KVS_OK)
    return kvi_config_refuse(config, name, "%s", error);
  bool loopback = parsed.loopback;
  kvi_node_address_clear(&parsed);
  if (loopback || protected || values->insecure)
    return KVS_OK;
  if (strcmp(name, "listen") == 0)
    return kvi_config_refuse(
        config, name,
        "%s is not a loopback address and there is no TLS: set tls.cert_file and tls.key_file, or "
        "insecure: true if every host that can reach it is trusted",
        address);
  return kvi_config_refuse(
      config, name,
      "%s is not a loopback address and this port has no TLS: set insecure: true if every host that "
      "can reach it is trusted",
      address);
}

static kvs_status check_readable(kvi_config *config, const char *name, const char *path)
{
  FILE *file;

  if (path[0] == '\0')
    return KVS_OK;
  file = fopen(path, "re");
  /* Opening a directory for reading succeeds; reading it does not. */
  if (file == NULL || (fgetc(file) == EOF && ferror(file))) {
    int error = errno;

    if (file != NULL)
      fclose(file);
    return kvi_config_refuse(config, name, "cannot read %s: %s", path, strerror(error));
  }
  fclose(file);
  return KVS_OK;
}

static kvs_status check_tls(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  bool cert = values->tls_cert_file[0] != '\0', key = values->tls_key_file[0] != '\0';
  kvs_status status;

  if (cert && !key)
    return kvi_config_refuse(config, "tls.cert_file", "is set, but tls.key_file is not");
  if (key && !cert)
    return kvi_config_refuse(config, "tls.key_file", "is set, but tls.cert_file is not");
  if (values->tls_client_ca_file[0] != '\0' && !cert)
    return kvi_config_refuse(config, "tls.client_ca_file",
                             "is set, but tls.cert_file and tls.key_file are not");
  status = check_readable(config, "tls.cert_file", values->tls_cert_file);
  if (status == KVS_OK)
    status = check_readable(config, "tls.key_file", values->tls_key_file);
  if (status == KVS_OK)
    status = check_readable(config, "tls.client_ca_file", values->tls_client_ca_file);
  return status;
}

static kvs_status check_listeners(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  bool tls = values->tls_cert_file[0] != '\0';
  uint32_t mode;
  kvs_status status;

  if (values->listen.count == 0 && values->unix_socket[0] == '\0')
    return kvi_config_refuse(config, "listen", "is empty and so is unix_socket: nobody could reach the node");
  for (size_t i = 0; i < values->listen.count; i++) {
    status = check_address(config, "listen", values->listen.items[i], tls);
    if (status != KVS_OK)
      return status;
  }
  if (values->unix_socket[0] != '\0' && values->unix_socket[0] != '/')
    return kvi_config_refuse(config, "unix_socket", "%s is not an absolute path", values->unix_socket);
  if (!parse_mode(values->unix_mode, &mode))
    return kvi_config_refuse(config, "unix_mode", "%s is not three or four octal digits up to 0777",
                             values->unix_mode);
  if (values->admin_listen[0] != '\0')
    return check_address(config, "admin.listen", values->admin_listen, false);
  return KVS_OK;
}

static kvs_status check_memory(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char size[KVI_FORMAT_MAX], bound[KVI_FORMAT_MAX];
  uint64_t memory = kvi_machine_memory_bytes();

  if ((values->dram_page_size & (values->dram_page_size - 1)) != 0)
    return kvi_config_refuse(config, "dram.page_size", "%s is not a power of two",
                             kvi_format_size(values->dram_page_size, size));
  if (memory != 0 && values->dram_size > memory)
    return kvi_config_refuse(config, "dram.size", "%s is more than the memory there is (%s)",
                             kvi_format_size(values->dram_size, size), kvi_format_size(memory, bound));
  if (memory != 0 &&
      (uint64_t)values->store_max_chunks > (memory - values->dram_size) / INDEX_BYTES_PER_CHUNK)
    return kvi_config_refuse(
        config, "store.max_chunks", "an index of %lld chunks takes %s, and beside dram.size there is %s",
        (long long)values->store_max_chunks,
        kvi_format_size((uint64_t)values->store_max_chunks * INDEX_BYTES_PER_CHUNK, size),
        kvi_format_size(memory - values->dram_size, bound));
  return KVS_OK;
}

/* The default of 128 MiB is for machines that have it; only a bound that somebody asked for is refused. */
static kvs_status check_chunk(kvi_config *config)
{
  const struct kvi_node_settings *values = kvi_config_values(config);
  char size[KVI_FORMAT_MAX], bound[KVI_FORMAT_MAX];

  if (values->chunk_max_size <= values->dram_size ||
      kvi_config_source_of(config, "chunk.max_size") == KVI_CONFIG_FROM_DEFAULT)
    return KVS_OK;
  return kvi_config_refuse(config, "chunk.max_size", "%s does not fit dram.size (%s)",
                           kvi_format_size(values->chunk_max_size, size),
                           kvi_format_size(values->dram_size, bound));
}

static kvs_status check_all(kvi_config *config)
{
  kvs_status status = check_tls(config);

  if (status == KVS_OK)
    status = check_listeners(config);
  if (status == KVS_OK)
    status = check_memory(config);
  if (status == KVS_OK)
    status = check_chunk(config);
  return status;
}

/* ---- life ---- */

kvs_status kvi_settings_load(int argc, char *const *argv, char *const *environment,
                             kvi_config_action *action_p, struct kvi_settings **settings_p)
{
  struct kvi_settings *settings;
  kvs_status status;

  *settings_p = NULL;
  *action_p = KVI_CONFIG_RUN;
  settings = calloc(1, sizeof(*settings));
  if (settings == NULL)
    return KVS_ERR_NOMEM;
  status = kvi_config_create(&kvi_settings_table, &settings->config);
  if (status != KVS_OK) {
    free(settings);
    return status;
  }
  pthread_mutex_init(&settings->mutex, NULL);
  settings->argc = argc;
  settings->argv = argv;
  settings->environment = environment;
  *settings_p = settings;

  status = kvi_config_load(settings->config, argc, argv, environment, action_p);
  if (status == KVS_OK && (*action_p == KVI_CONFIG_RUN || *action_p == KVI_CONFIG_CHECK))
    status = check_all(settings->config);
  return status;
}

void kvi_settings_free(struct kvi_settings *settings)
{
  if (settings == NULL)
    return;
  pthread_mutex_destroy(&settings->mutex);
  kvi_config_free(settings->config);
  free(settings);
}

const char *kvi_settings_error(const struct kvi_settings *settings)
{
  return kvi_config_error(settings->config);
}

const struct kvi_node_settings *kvi_settings_get(const struct kvi_settings *settings)
{
  return kvi_config_values(settings->config);
}

uint64_t kvi_settings_drain_timeout_ms(struct kvi_settings *settings)
{
  uint64_t timeout;

  pthread_mutex_lock(&settings->mutex);
  timeout = kvi_settings_get(settings)->drain_timeout;
  pthread_mutex_unlock(&settings->mutex);
  return timeout;
}

kvs_status kvi_settings_print(const struct kvi_settings *settings, kvi_config_action action)
{
  kvi_strbuf out;
  kvs_status status;

  kvi_strbuf_init(&out, TEXT_MAX);
  kvi_config_print(settings->config, action, &out);
  status = out.status;
  if (status == KVS_OK && (fputs(kvi_strbuf_text(&out), stdout) == EOF || fflush(stdout) != 0))
    status = KVS_ERR_SYSTEM;
  kvi_strbuf_free(&out);
  return status;
}

char *kvi_settings_json(struct kvi_settings *settings)
{
  kvi_strbuf out;
  char *json = NULL;

  kvi_strbuf_init(&out, TEXT_MAX);
  pthread_mutex_lock(&settings->mutex);
  kvi_config_dump_json(settings->config, &out);
  pthread_mutex_unlock(&settings->mutex);
  if (out.status == KVS_OK)
    json = strdup(kvi_strbuf_text(&out));
  kvi_strbuf_free(&out);
  return json;
}

/* ---- reload ---- */

static bool lists_equal(const kvi_config_list *a, const kvi_config_list *b)
{
  if (a->count != b->count)
    return false;
  for (size_t i = 0; i < a->count; i++)
    if (strcmp(a->items[i], b->items[i]) != 0)
      return false;
  return true;
}

static bool values_equal(const kvi_config_row *row, const void *a, const void *b)
{
  const char *left = (const char *)a + row->offset, *right = (const char *)b + row->offset;

  switch (row->type) {
  case KVI_CONFIG_BOOL:
    return *(const bool *)left == *(const bool *)right;
  case KVI_CONFIG_ENUM:
    return *(const int *)left == *(const int *)right;
  case KVI_CONFIG_INT:
  case KVI_CONFIG_SIZE:
  case KVI_CONFIG_DURATION:
    return memcmp(left, right, sizeof(uint64_t)) == 0;
  case KVI_CONFIG_STRING:
    return strcmp(*(const char *const *)left, *(const char *const *)right) == 0;
  case KVI_CONFIG_LIST:
    return lists_equal((const kvi_config_list *)left, (const kvi_config_list *)right);
  }
  return true;
}

/* The value as kvi_config_set takes it. Mutable rows are words and durations. */
static const char *value_text(const kvi_config_row *row, const void *values, char text[KVI_FORMAT_MAX])
{
  const char *field = (const char *)values + row->offset;

  if (row->type == KVI_CONFIG_ENUM)
    return row->choices[*(const int *)field];
  return kvi_format_duration(*(const uint64_t *)field, text);
}

static void take_over(struct kvi_settings *settings, const kvi_config *fresh)
{
  char text[KVI_FORMAT_MAX];

  for (size_t i = 0; i < KVI_ARRAY_SIZE(rows); i++) {
    const void *ours = kvi_config_values(settings->config), *theirs = kvi_config_values(fresh);

    if (values_equal(&rows[i], ours, theirs))
      continue;
    if (!rows[i].mutable) {
      kvi_log_warn("config: %s changed, which needs a restart", rows[i].name);
      continue;
    }
    const char *value = value_text(&rows[i], theirs, text);
    pthread_mutex_lock(&settings->mutex);
    kvs_status status = kvi_config_set(settings->config, rows[i].name, value);
    pthread_mutex_unlock(&settings->mutex);
    if (status == KVS_OK)
      kvi_log_info("config: %s is now %s", rows[i].name, value);
    else
      kvi_log_warn("config: %s stays: %s", rows[i].name, kvi_config_error(settings->config));
  }
}

void kvi_settings_reload(struct kvi_settings *settings)
{
  const struct kvi_node_settings *values;
  kvi_config *fresh = NULL;
  kvi_config_action action;

  if (kvi_config_create(&kvi_settings_table, &fresh) != KVS_OK) {
    kvi_log_warn("config: not read again: no memory");
    return;
  }
  if (kvi_config_load(fresh, settings->argc, settings->argv, settings->environment, &action) != KVS_OK ||
      check_all(fresh) != KVS_OK) {
    kvi_log_warn("config: not read again: %s", kvi_config_error(fresh));
  } else {
    take_over(settings, fresh);
    values = kvi_settings_get(settings);
    kvi_log_configure((kvi_log_level)values->log_level, (kvi_log_format)values->log_format);
    kvi_log_info("config: read again");
  }
  kvi_config_free(fresh);
}
