/*
 * tenants.c: see tenants.h. The file is a YAML stream of one document for each tenant, each read by the parser of the settings over a table of its own.
 */
#include "server/node/tenants.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/config.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/text.h"

#define TIB           (INT64_C(1) << 40)
#define TOKENS_MAX    8
#define NAMES_MAX     64
#define TOKEN_PREFIX  "sha256:"
#define CN_PREFIX     "cn:"
#define SPIFFE_PREFIX "spiffe://"
#define TOKEN_LENGTH  4096u /* a longer one is nobody's */

/* A document. */
struct row {
  const char *name;
  int64_t weight;
  uint64_t dram, ssd, redis;
  kvi_config_list tokens, certificates;
  bool anonymous, admin;
};

#define AT(TYPE, field) KVI_CONFIG_##TYPE##_AT(struct row, field)

static const kvi_config_row rows[] = {
    {.name = "name", AT(STRING, name), .min = 0, .max = KVI_TENANT_MAX - 1, .doc = "Its name."},
    {.name = "weight", AT(INT, weight), .standard = "1", .min = 1, .max = 1000, .doc = "Its weight."},
    {.name = "dram", AT(SIZE, dram), .standard = "0", .min = 0, .max = 64 * TIB, .doc = "Bound in memory."},
    {.name = "ssd", AT(SIZE, ssd), .standard = "0", .min = 0, .max = 64 * TIB, .doc = "Bound on SSD."},
    {.name = "redis",
     AT(SIZE, redis),
     .standard = "0",
     .min = 0,
     .max = 64 * TIB,
     .doc = "Bound of what this node has in Redis."},
    {.name = "tokens", AT(LIST, tokens), .min = 0, .max = TOKENS_MAX, .doc = "Digests of its tokens."},
    {.name = "certificates",
     AT(LIST, certificates),
     .min = 0,
     .max = NAMES_MAX,
     .doc = "Names in its certificates."},
    {.name = "anonymous", AT(BOOL, anonymous), .standard = "false", .doc = "Who shows nothing is this one."},
    {.name = "admin", AT(BOOL, admin), .standard = "false", .doc = "It sees all tenants."},
};

static const kvi_config_table table = {.program = "tenants",
                                       .version = "1",
                                       .summary = "tenants of a node",
                                       .parts = {KVI_CONFIG_ROWS(rows)},
                                       .struct_size = sizeof(struct row)};

struct token {
  uint8_t digest[KVI_SHA256_BYTES];
  uint32_t tenant;
};

struct certificate {
  char *name; /* with its prefix */
  uint32_t tenant;
};

#define NOBODY UINT32_MAX

/* What may change while the node runs. */
struct credentials {
  struct token *tokens;
  struct certificate *certificates;
  uint32_t n_tokens, n_certificates;
  uint32_t *
      token_places; /* n_places, a power of two: number + 1 in tokens, by the first bytes of the digest; 0: free */
  uint32_t n_places;
  bool *admin;        /* of each tenant */
  uint32_t anonymous; /* NOBODY: who shows nothing is refused */
};

struct kvi_node_tenants {
  struct kvi_tenant_config *configs;
  char (*names)[KVI_TENANT_MAX]; /* theirs; they stay */
  uint64_t *salts;               /* for ids of peers; below 2^63, as theirs are */
  uint32_t n;
  pthread_rwlock_t lock; /* guards what follows */
  struct credentials credentials;
};

/* ---- reading ---- */

struct reader {
  struct kvi_node_tenants *tenants;
  const char *label; /* the file */
  size_t line;       /* where the document begins */
  char *error;
  size_t error_size;
};

static kvs_status fail(struct reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));

static kvs_status fail(struct reader *reader, const char *format, ...)
{
  va_list arguments;
  int length = reader->line > 0 ? snprintf(reader->error, reader->error_size,
                                           "%s, from line %zu: ", reader->label, reader->line)
                                : snprintf(reader->error, reader->error_size, "%s: ", reader->label);

  va_start(arguments, format);
  if (length >= 0 && (size_t)length < reader->error_size)
    (void)vsnprintf(reader->error + length, reader->error_size - (size_t)length, format, arguments);
  va_end(arguments);
  return KVS_ERR_CONFIG;
}

/* Names go into labels of metrics, keys of Redis and logs. */
static bool is_name(const char *name)
{
  for (const char *at = name; *at; at++)
    if (!(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z') && !(*at >= '0' && *at <= '9') &&
        (at == name || !strchr("-_.", *at)))
      return false;
  return true;
}

static bool digest_equal(const uint8_t *a, const uint8_t *b)
{
  unsigned differs = 0;

  for (uint32_t i = 0; i < KVI_SHA256_BYTES; i++)
    differs |= (unsigned)(a[i] ^ b[i]);
  return differs == 0;
}

static kvs_status token_add(struct reader *reader, struct credentials *all, const char *text, uint32_t tenant)
{
  struct token *token = &all->tokens[all->n_tokens];
  size_t length = 0;

  if (strncmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0 ||
      kvi_hex_decode(text + strlen(TOKEN_PREFIX), token->digest, KVI_SHA256_BYTES, &length) != KVS_OK ||
      length != KVI_SHA256_BYTES)
    return fail(reader,
                "tokens: an entry is not \"sha256:\" and 64 hex digits; `kvasirctl token` makes both");
  for (uint32_t i = 0; i < all->n_tokens; i++)
    if (digest_equal(all->tokens[i].digest, token->digest))
      return fail(reader, "tokens: one is there already");
  token->tenant = tenant;
  all->n_tokens++;
  return KVS_OK;
}

static kvs_status certificate_add(struct reader *reader, struct credentials *all, const char *text,
                                  uint32_t tenant)
{
  bool known = (strncmp(text, CN_PREFIX, strlen(CN_PREFIX)) == 0 && text[strlen(CN_PREFIX)]) ||
               (strncmp(text, SPIFFE_PREFIX, strlen(SPIFFE_PREFIX)) == 0 && text[strlen(SPIFFE_PREFIX)]);

  if (!known)
    return fail(reader, "certificates: \"%.80s\" is neither cn:NAME nor spiffe://DOMAIN/PATH", text);
  for (uint32_t i = 0; i < all->n_certificates; i++)
    if (strcmp(all->certificates[i].name, text) == 0)
      return fail(reader, "certificates: \"%.80s\" is there already", text);
  all->certificates[all->n_certificates] = (struct certificate){.name = strdup(text), .tenant = tenant};
  return all->certificates[all->n_certificates++].name ? KVS_OK : KVS_ERR_NOMEM;
}

static kvs_status lists_add(struct reader *reader, const struct row *row, uint32_t tenant)
{
  struct credentials *all = &reader->tenants->credentials;
  struct token *tokens = realloc(all->tokens, (all->n_tokens + row->tokens.count + 1) * sizeof(*tokens));
  struct certificate *certificates;
  kvs_status status = KVS_OK;

  if (!tokens)
    return KVS_ERR_NOMEM;
  all->tokens = tokens;
  certificates =
      realloc(all->certificates, (all->n_certificates + row->certificates.count + 1) * sizeof(*certificates));
  if (!certificates)
    return KVS_ERR_NOMEM;
  all->certificates = certificates;
  for (size_t i = 0; i < row->tokens.count && status == KVS_OK; i++)
    status = token_add(reader, all, row->tokens.items[i], tenant);
  for (size_t i = 0; i < row->certificates.count && status == KVS_OK; i++)
    status = certificate_add(reader, all, row->certificates.items[i], tenant);
  return status;
}

static kvs_status row_add(struct reader *reader, const struct row *row)
{
  struct kvi_node_tenants *tenants = reader->tenants;
  uint32_t number = tenants->n;

  if (!row->name[0])
    return fail(reader, "name is missing");
  if (!is_name(row->name))
    return fail(reader, "name: \"%s\" has others than letters, digits, '-', '_' and '.', or begins with such",
                row->name);
  for (uint32_t i = 0; i < number; i++)
    if (strcmp(tenants->names[i], row->name) == 0)
      return fail(reader, "name: \"%s\" is there already", row->name);
  if (number == KVI_TENANTS_MAX)
    return fail(reader, "more than %u tenants", KVI_TENANTS_MAX);
  if (row->anonymous && tenants->credentials.anonymous != NOBODY)
    return fail(reader, "anonymous: another tenant is that already");
  if (row->anonymous && row->admin)
    return fail(reader, "admin: not for who shows no credential");
  memcpy(tenants->names[number], row->name, strlen(row->name) + 1); /* the table bounds it */
  tenants->configs[number] = (struct kvi_tenant_config){.name = tenants->names[number],
                                                        .weight = (uint32_t)row->weight,
                                                        .dram_bytes = row->dram,
                                                        .medium_bytes = row->ssd,
                                                        .shared_bytes = row->redis};
  tenants->n++;
  if (row->anonymous)
    tenants->credentials.anonymous = number;
  tenants->credentials.admin[number] = row->admin;
  if (kvi_random_id(&tenants->salts[number]) != KVS_OK)
    return KVS_ERR_SYSTEM;
  tenants->salts[number] &= INT64_MAX;
  return lists_add(reader, row, number);
}

static kvs_status document_read(struct reader *reader, const char *text, size_t length)
{
  kvi_config *config;
  kvs_status status = kvi_config_create(&table, &config);

  if (status != KVS_OK)
    return status;
  status = kvi_config_load_yaml(config, "line", text, length);
  if (status == KVS_ERR_CONFIG) /* which says the line, counted in the document */
    status = fail(reader, "%s", kvi_config_error(config));
  if (status == KVS_OK)
    status = row_add(reader, kvi_config_values(config));
  kvi_config_free(config);
  return status;
}

static bool is_mark(const char *line, size_t length)
{
  if (length < 3 || memcmp(line, "---", 3) != 0)
    return false;
  for (size_t i = 3; i < length; i++)
    if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
      return false;
  return true;
}

static bool is_empty(const char *line, size_t length)
{
  size_t at = 0;

  while (at < length && (line[at] == ' ' || line[at] == '\t' || line[at] == '\r'))
    at++;
  return at == length || line[at] == '#';
}

/* A document goes on to the next line of three dashes; one of comments alone is none. */
static kvs_status documents_read(struct reader *reader, const char *text, size_t length)
{
  size_t begin = 0, line = 1;
  bool empty = true;
  kvs_status status = KVS_OK;

  reader->line = 1;
  for (size_t at = 0; at <= length && status == KVS_OK; line++) {
    const char *end = at < length ? memchr(text + at, '\n', length - at) : NULL;
    size_t next = end ? (size_t)(end - text) : length;
    bool over = at == length, mark = !over && is_mark(text + at, next - at);

    if (!over && !mark)
      empty = empty && is_empty(text + at, next - at);
    if ((mark || next == length) && !empty)
      status = document_read(reader, text + begin, (mark ? at : length) - begin);
    if (mark) {
      begin = next < length ? next + 1 : length;
      reader->line = line + 1;
      empty = true;
    }
    if (next == length)
      break;
    at = next + 1;
  }
  reader->line = 0;
  return status;
}

static kvs_status places_make(struct credentials *all)
{
  all->n_places = 16;
  while (all->n_places < 2 * all->n_tokens)
    all->n_places *= 2;
  all->token_places = calloc(all->n_places, sizeof(*all->token_places));
  if (!all->token_places)
    return KVS_ERR_NOMEM;
  for (uint32_t i = 0; i < all->n_tokens; i++) {
    uint32_t place;

    memcpy(&place, all->tokens[i].digest, sizeof(place));
    while (all->token_places[place & (all->n_places - 1)] != 0)
      place++;
    all->token_places[place & (all->n_places - 1)] = i + 1;
  }
  return KVS_OK;
}

kvs_status kvi_node_tenants_parse(const char *name, const char *text, size_t length,
                                  struct kvi_node_tenants **tenants_p, char *error, size_t error_size)
{
  struct kvi_node_tenants *tenants = calloc(1, sizeof(*tenants));
  struct reader reader = {.tenants = tenants, .label = name, .error = error, .error_size = error_size};
  kvs_status status = KVS_ERR_NOMEM;

  *tenants_p = NULL;
  if (!tenants)
    return KVS_ERR_NOMEM;
  pthread_rwlock_init(&tenants->lock, NULL);
  tenants->credentials.anonymous = NOBODY;
  tenants->configs = calloc(KVI_TENANTS_MAX, sizeof(*tenants->configs));
  tenants->salts = calloc(KVI_TENANTS_MAX, sizeof(*tenants->salts));
  tenants->credentials.admin = calloc(KVI_TENANTS_MAX, sizeof(*tenants->credentials.admin));
  tenants->names = calloc(KVI_TENANTS_MAX, sizeof(*tenants->names));
  if (tenants->configs && tenants->names && tenants->salts && tenants->credentials.admin)
    status = documents_read(&reader, text, length);
  if (status == KVS_OK && tenants->n == 0)
    status = fail(&reader, "names no tenant");
  if (status == KVS_OK)
    status = places_make(&tenants->credentials);
  if (status != KVS_OK) {
    kvi_node_tenants_free(tenants);
    return status;
  }
  *tenants_p = tenants;
  return KVS_OK;
}

/* Whoever may write it lets himself in. */
static kvs_status file_check(struct reader *reader, FILE *file)
{
  struct stat info;

  if (fstat(fileno(file), &info) != 0)
    return fail(reader, "%s", strerror(errno));
  if (!S_ISREG(info.st_mode))
    return fail(reader, "is no file");
  if (info.st_uid != 0 && info.st_uid != geteuid())
    return fail(reader, "belongs to another user (%u), who may change it: chown", (unsigned)info.st_uid);
  if (info.st_mode & (S_IWGRP | S_IRWXO))
    return fail(reader, "others may change or read it (mode %04o): chmod 0640 or stricter",
                (unsigned)(info.st_mode & 07777));
  return KVS_OK;
}

/* A node knows what it has written, and that it is gone by its time alone: without one all that a tenant may have there would be used up for good. */
static kvs_status redis_check(struct reader *reader)
{
  const struct kvi_node_tenants *tenants = reader->tenants;

  for (uint32_t i = 0; i < tenants->n; i++)
    if (tenants->configs[i].shared_bytes > 0)
      return fail(reader, "redis: the bound of %s needs a redis.ttl that is not 0", tenants->names[i]);
  return KVS_OK;
}

kvs_status kvi_node_tenants_load(const char *path, bool redis_for_ever, struct kvi_node_tenants **tenants_p,
                                 char *error, size_t error_size)
{
  struct reader reader = {.label = path, .error = error, .error_size = error_size};
  char *text = malloc(KVI_NODE_TENANTS_FILE_MAX + 1);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe would wait for its writer */
  FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
  size_t length = 0;
  kvs_status status;

  *tenants_p = NULL;
  if (!file)
    status = fail(&reader, "cannot be read: %s", strerror(errno));
  else if (!text)
    status = KVS_ERR_NOMEM;
  else
    status = file_check(&reader, file);
  if (status == KVS_OK) {
    length = fread(text, 1, KVI_NODE_TENANTS_FILE_MAX + 1, file);
    if (ferror(file))
      status = fail(&reader, "cannot be read: %s", strerror(errno));
    else if (length > KVI_NODE_TENANTS_FILE_MAX)
      status = fail(&reader, "is larger than %u bytes", KVI_NODE_TENANTS_FILE_MAX);
  }
  if (status == KVS_OK)
    status = kvi_node_tenants_parse(path, text, length, tenants_p, error, error_size);
  reader.tenants = *tenants_p;
  if (status == KVS_OK && redis_for_ever)
    status = redis_check(&reader);
  if (status != KVS_OK) {
    kvi_node_tenants_free(*tenants_p);
    *tenants_p = NULL;
  }
  if (file)
    fclose(file);
  else if (fd >= 0)
    close(fd);
  free(text);
  return status;
}

static void credentials_free(struct credentials *all)
{
  for (uint32_t i = 0; i < all->n_certificates; i++)
    free(all->certificates[i].name);
  free(all->certificates);
  free(all->tokens);
  free(all->token_places);
  free(all->admin);
}

void kvi_node_tenants_free(struct kvi_node_tenants *tenants)
{
  if (!tenants)
    return;
  credentials_free(&tenants->credentials);
  free(tenants->names);
  free(tenants->configs);
  free(tenants->salts);
  pthread_rwlock_destroy(&tenants->lock);
  free(tenants);
}

const struct kvi_tenant_config *kvi_node_tenants_configs(const struct kvi_node_tenants *tenants,
                                                         uint32_t *n_p)
{
  *n_p = tenants->n;
  return tenants->configs;
}

uint64_t kvi_node_tenants_room(uint64_t dram_bytes, bool ssd, uint32_t high_mark)
{
  if (!ssd || high_mark == 0 || high_mark >= 100)
    return dram_bytes;
  return dram_bytes / 100 * high_mark + dram_bytes % 100 * high_mark / 100;
}

/* ---- who is that ---- */

/* By the digest: how long it takes says nothing of the token that one would not have to know to make it. */
static uint32_t token_find(const struct credentials *all, const char *token, size_t length)
{
  uint8_t digest[KVI_SHA256_BYTES];
  uint32_t place, number;

  if (length == 0 || length > TOKEN_LENGTH)
    return NOBODY;
  kvi_sha256(token, length, digest);
  memcpy(&place, digest, sizeof(place));
  for (; (number = all->token_places[place & (all->n_places - 1)]) != 0; place++)
    if (digest_equal(all->tokens[number - 1].digest, digest))
      return all->tokens[number - 1].tenant;
  return NOBODY;
}

static uint32_t certificate_find(const struct credentials *all, const char *prefix, const char *name)
{
  size_t length = strlen(prefix);

  for (uint32_t i = 0; name && i < all->n_certificates; i++)
    if (strncmp(all->certificates[i].name, prefix, length) == 0 &&
        strcmp(all->certificates[i].name + length, name) == 0)
      return all->certificates[i].tenant;
  return NOBODY;
}

/* What is behind the scheme; NULL: it is none. */
static const char *spiffe_path(const char *id)
{
  return id && strncmp(id, SPIFFE_PREFIX, strlen(SPIFFE_PREFIX)) == 0 ? id + strlen(SPIFFE_PREFIX) : NULL;
}

/* A token that is shown has to be right, whatever else is shown. */
static uint32_t tenant_find(const struct credentials *all, const struct kvi_grpc_credential *credential)
{
  uint32_t tenant;

  if (credential->token)
    return token_find(all, credential->token, credential->token_length);
  tenant = certificate_find(all, SPIFFE_PREFIX, spiffe_path(credential->spiffe_id));
  if (tenant == NOBODY)
    tenant = certificate_find(all, CN_PREFIX, credential->common_name);
  return tenant == NOBODY ? all->anonymous : tenant;
}

kvs_status kvi_node_tenants_identify(void *ctx, const struct kvi_grpc_credential *credential,
                                     struct kvi_peer *peer)
{
  struct kvi_node_tenants *tenants = ctx;
  uint32_t number;

  pthread_rwlock_rdlock(&tenants->lock);
  number = tenant_find(&tenants->credentials, credential);
  if (number != NOBODY)
    peer->limited = !tenants->credentials.admin[number];
  pthread_rwlock_unlock(&tenants->lock);
  if (number == NOBODY)
    return KVS_ERR_DENIED;
  peer->tenant = tenants->names[number];
  peer->id ^= tenants->salts[number]; /* clients choose their sessions' ids: no tenant's is another's */
  if (peer->id == 0)
    peer->id = 1;
  return KVS_OK;
}

/* ---- again ---- */

static uint32_t number_of(const struct kvi_node_tenants *tenants, const char *name)
{
  for (uint32_t i = 0; i < tenants->n; i++)
    if (strcmp(tenants->names[i], name) == 0)
      return i;
  return NOBODY;
}

/* Their tenants' numbers become ours; credentials of those that are new go. */
static void renumber(struct credentials *all, const uint32_t *numbers)
{
  uint32_t n = 0;

  for (uint32_t i = 0; i < all->n_tokens; i++) {
    all->tokens[i].tenant = numbers[all->tokens[i].tenant];
    if (all->tokens[i].tenant != NOBODY)
      all->tokens[n++] = all->tokens[i];
  }
  all->n_tokens = n;
  n = 0;
  for (uint32_t i = 0; i < all->n_certificates; i++) {
    all->certificates[i].tenant = numbers[all->certificates[i].tenant];
    if (all->certificates[i].tenant != NOBODY)
      all->certificates[n++] = all->certificates[i];
    else
      free(all->certificates[i].name);
  }
  all->n_certificates = n;
  if (all->anonymous != NOBODY)
    all->anonymous = numbers[all->anonymous];
}

void kvi_node_tenants_take_over(struct kvi_node_tenants *tenants, struct kvi_node_tenants *fresh,
                                struct kvi_store *store)
{
  struct credentials *theirs = &fresh->credentials, ours;
  uint32_t *numbers = calloc(KVI_TENANTS_MAX, sizeof(*numbers));
  bool *admin = calloc(KVI_TENANTS_MAX, sizeof(*admin));

  if (!numbers || !admin) {
    kvi_log_warn("tenants: not read again: no memory");
    goto out;
  }
  for (uint32_t i = 0; i < fresh->n; i++) {
    numbers[i] = number_of(tenants, fresh->configs[i].name);
    if (numbers[i] == NOBODY) {
      kvi_log_warn("tenants: %s is new, which needs a restart", fresh->configs[i].name);
      continue;
    }
    admin[numbers[i]] = theirs->admin[i];
    kvi_store_tenant_set(store, &fresh->configs[i]);
  }
  for (uint32_t i = 0; i < tenants->n; i++)
    if (number_of(fresh, tenants->configs[i].name) == NOBODY)
      kvi_store_tenant_remove(store, tenants->configs[i].name);
  renumber(theirs, numbers);
  free(theirs->token_places);
  theirs->token_places = NULL;
  if (places_make(theirs) != KVS_OK) {
    kvi_log_warn("tenants: not read again: no memory");
    goto out;
  }
  memcpy(theirs->admin, admin, KVI_TENANTS_MAX * sizeof(*admin));
  pthread_rwlock_wrlock(&tenants->lock);
  ours = tenants->credentials;
  tenants->credentials = *theirs;
  pthread_rwlock_unlock(&tenants->lock);
  *theirs = ours;
  kvi_log_info("tenants: read again");
out:
  free(numbers);
  free(admin);
  kvi_node_tenants_free(fresh);
}
