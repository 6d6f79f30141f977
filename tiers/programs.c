/* tiers/programs.c: a hash over records in a fixed array, and a list of them by when they were last heard of. */
#include "tiers/programs.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "tiers/store.h"

#define NONE           UINT32_MAX
#define CAPACITY_MAX   (1u << 24)
#define PRIORITY_MAX   100u
#define WAIT_KIND_LAST 5u

struct program {
  char tenant[KVI_TENANT_MAX];
  char name[KVI_PROGRAM_TEXT_MAX + 1];
  char parent[KVI_PROGRAM_TEXT_MAX + 1];
  char tool[KVI_PROGRAM_TEXT_MAX + 1];
  uint64_t hash;  /* 0: free */
  uint64_t heard; /* of programs.heard, when it was; 0: free */
  uint32_t turn, wait_kind, return_p50_ms, return_p90_ms, priority, ttl_ms, range_tokens;
  uint32_t next;         /* in its bucket, or in the free list */
  uint32_t hash_next;    /* in the bucket of its hash, if that is not 0 */
  uint32_t newer, older; /* by last hint */
};

struct kvi_programs {
  pthread_mutex_t lock;
  uint64_t told;
  uint32_t capacity, n_buckets; /* a power of two */
  uint32_t fresh, free_first;   /* records from fresh on were never used */
  uint32_t newest, oldest;
  uint32_t *buckets, *hash_buckets; /* n_buckets each */
  struct program *records;
  uint64_t heard; /* hints */
  struct kvi_programs_stats stats;
};

kvs_status kvi_programs_create(uint32_t capacity, struct kvi_programs **programs_p)
{
  struct kvi_programs *programs;

  *programs_p = NULL;
  if (capacity == 0 || capacity > CAPACITY_MAX)
    return KVS_ERR_INVALID;
  programs = calloc(1, sizeof(*programs));
  if (!programs)
    return KVS_ERR_NOMEM;
  pthread_mutex_init(&programs->lock, NULL);
  programs->capacity = capacity;
  programs->free_first = programs->newest = programs->oldest = NONE;
  programs->n_buckets = 16;
  while (programs->n_buckets < capacity)
    programs->n_buckets *= 2;
  programs->buckets = malloc(programs->n_buckets * sizeof(*programs->buckets));
  programs->hash_buckets = malloc(programs->n_buckets * sizeof(*programs->hash_buckets));
  programs->records = malloc(capacity * sizeof(*programs->records)); /* touched as programs come */
  if (!programs->buckets || !programs->hash_buckets || !programs->records) {
    kvi_programs_destroy(programs);
    return KVS_ERR_NOMEM;
  }
  memset(programs->buckets, 0xff, programs->n_buckets * sizeof(*programs->buckets)); /* NONE */
  memset(programs->hash_buckets, 0xff, programs->n_buckets * sizeof(*programs->hash_buckets));
  *programs_p = programs;
  return KVS_OK;
}

void kvi_programs_destroy(struct kvi_programs *programs)
{
  if (!programs)
    return;
  pthread_mutex_destroy(&programs->lock);
  free(programs->buckets);
  free(programs->hash_buckets);
  free(programs->records);
  free(programs);
}

static uint32_t *bucket_of(struct kvi_programs *programs, const char *tenant, const char *name)
{
  uint64_t hash = XXH3_64bits(name, strlen(name)) ^ (XXH3_64bits(tenant, strlen(tenant)) << 1);

  return &programs->buckets[hash & (programs->n_buckets - 1)];
}

static uint32_t find_locked(struct kvi_programs *programs, const char *tenant, const char *name)
{
  uint32_t number = *bucket_of(programs, tenant, name);

  while (number != NONE && (strcmp(programs->records[number].name, name) != 0 ||
                            strcmp(programs->records[number].tenant, tenant) != 0))
    number = programs->records[number].next;
  return number;
}

static uint32_t *hash_bucket_of(struct kvi_programs *programs, uint64_t hash)
{
  return &programs->hash_buckets[(hash ^ hash >> 32) & (programs->n_buckets - 1)];
}

static void hash_set_locked(struct kvi_programs *programs, uint32_t number, uint64_t hash)
{
  struct program *program = &programs->records[number];
  uint32_t *link = hash_bucket_of(programs, program->hash);

  if (program->hash != 0) {
    while (*link != number)
      link = &programs->records[*link].hash_next;
    *link = program->hash_next;
  }
  program->hash = hash;
  if (hash == 0)
    return;
  link = hash_bucket_of(programs, hash);
  program->hash_next = *link;
  *link = number;
}

/* ---- the list by last hint ---- */

static void list_remove_locked(struct kvi_programs *programs, uint32_t number)
{
  struct program *program = &programs->records[number];

  *(program->newer != NONE ? &programs->records[program->newer].older : &programs->newest) = program->older;
  *(program->older != NONE ? &programs->records[program->older].newer : &programs->oldest) = program->newer;
}

static void list_add_locked(struct kvi_programs *programs, uint32_t number)
{
  struct program *program = &programs->records[number];

  program->newer = NONE;
  program->older = programs->newest;
  *(programs->newest != NONE ? &programs->records[programs->newest].newer : &programs->oldest) = number;
  programs->newest = number;
}

/* ---- records ---- */

static void forget_locked(struct kvi_programs *programs, uint32_t number)
{
  struct program *program = &programs->records[number];
  uint32_t *link = bucket_of(programs, program->tenant, program->name);

  while (*link != number)
    link = &programs->records[*link].next;
  *link = program->next;
  list_remove_locked(programs, number);
  program->next = programs->free_first;
  hash_set_locked(programs, number, 0);
  program->heard = 0;
  programs->free_first = number;
  programs->stats.programs--;
}

static uint32_t create_locked(struct kvi_programs *programs, const char *tenant, const char *name)
{
  uint32_t *bucket = bucket_of(programs, tenant, name);
  struct program *program;
  uint32_t number;

  if (programs->free_first == NONE && programs->fresh == programs->capacity) {
    forget_locked(programs, programs->oldest);
    programs->stats.forgotten++;
  }
  number = programs->free_first;
  if (number != NONE)
    programs->free_first = programs->records[number].next;
  else
    number = programs->fresh++;
  program = &programs->records[number];
  memset(program, 0, sizeof(*program));
  memcpy(program->tenant, tenant, strlen(tenant) + 1);
  memcpy(program->name, name, strlen(name) + 1);
  program->next = *bucket;
  *bucket = number;
  programs->stats.programs++;
  return number;
}

const char *kvi_programs_fault(const struct kvi_program_hint *hint)
{
  if (hint->program[0] == '\0')
    return "it names no program";
  if (strlen(hint->tenant) >= KVI_TENANT_MAX || strlen(hint->program) > KVI_PROGRAM_TEXT_MAX ||
      strlen(hint->parent) > KVI_PROGRAM_TEXT_MAX || strlen(hint->tool) > KVI_PROGRAM_TEXT_MAX)
    return "a name is longer than 255 bytes";
  if (hint->priority > PRIORITY_MAX)
    return "a priority is at most 100";
  if (hint->wait_kind > WAIT_KIND_LAST)
    return "the wait kind is none of those that there are";
  if (hint->return_p50_ms > 0 && hint->return_p90_ms > 0 && hint->return_p50_ms > hint->return_p90_ms)
    return "return_p50_ms is above return_p90_ms";
  return NULL;
}

enum kvi_hint_outcome kvi_programs_hint(struct kvi_programs *programs, const struct kvi_program_hint *hint)
{
  enum kvi_hint_outcome outcome = KVI_HINT_ACCEPTED;
  struct program *program;
  uint32_t number;

  if (kvi_programs_fault(hint))
    return KVI_HINT_REJECTED;
  pthread_mutex_lock(&programs->lock);
  number = find_locked(programs, hint->tenant, hint->program);
  programs->told += !hint->close || number != NONE;
  if (hint->close) {
    if (number != NONE)
      forget_locked(programs, number);
    else
      outcome = KVI_HINT_MISSING;
  } else {
    if (number != NONE)
      list_remove_locked(programs, number);
    else
      number = create_locked(programs, hint->tenant, hint->program);
    list_add_locked(programs, number);
    program = &programs->records[number];
    if (hint->parent[0] != '\0') /* who names neither has not said that there is none */
      memcpy(program->parent, hint->parent, strlen(hint->parent) + 1);
    if (hint->turn != 0)
      program->turn = hint->turn;
    memcpy(program->tool, hint->tool, strlen(hint->tool) + 1);
    hash_set_locked(programs, number, hint->hash);
    program->heard = ++programs->heard;
    program->wait_kind = hint->wait_kind;
    program->return_p50_ms = hint->return_p50_ms;
    program->return_p90_ms = hint->return_p90_ms;
    program->priority = hint->priority;
    program->ttl_ms = hint->ttl_ms;
    program->range_tokens = hint->range_tokens;
  }
  pthread_mutex_unlock(&programs->lock);
  return outcome;
}

bool kvi_programs_find(struct kvi_programs *programs, const char *tenant, const char *program,
                       struct kvi_program_hint *hint_p)
{
  uint32_t number;

  pthread_mutex_lock(&programs->lock);
  number = find_locked(programs, tenant, program);
  if (number != NONE) {
    const struct program *record = &programs->records[number];

    *hint_p = (struct kvi_program_hint){.tenant = record->tenant,
                                        .program = record->name,
                                        .parent = record->parent,
                                        .tool = record->tool,
                                        .turn = record->turn,
                                        .wait_kind = record->wait_kind,
                                        .return_p50_ms = record->return_p50_ms,
                                        .return_p90_ms = record->return_p90_ms,
                                        .priority = record->priority,
                                        .ttl_ms = record->ttl_ms,
                                        .range_tokens = record->range_tokens};
  }
  pthread_mutex_unlock(&programs->lock);
  return number != NONE;
}

bool kvi_programs_find_hash(struct kvi_programs *programs, const char *tenant, uint64_t hash,
                            struct kvi_program_named *named_p)
{
  uint32_t number;

  if (hash == 0)
    return false;
  pthread_mutex_lock(&programs->lock);
  number = *hash_bucket_of(programs, hash);
  while (number != NONE &&
         (programs->records[number].hash != hash || strcmp(programs->records[number].tenant, tenant) != 0))
    number = programs->records[number].hash_next;
  if (number != NONE) {
    const struct program *record = &programs->records[number];

    named_p->turn = record->turn;
    memcpy(named_p->name, record->name, sizeof(named_p->name));
    memcpy(named_p->parent, record->parent, sizeof(named_p->parent));
    memcpy(named_p->tool, record->tool, sizeof(named_p->tool));
  }
  pthread_mutex_unlock(&programs->lock);
  return number != NONE;
}

uint32_t kvi_programs_records(struct kvi_programs *programs, uint32_t *cursor_p,
                              struct kvi_program_record *records, uint32_t room)
{
  uint32_t n = 0, number = *cursor_p;

  pthread_mutex_lock(&programs->lock);
  for (; number < programs->fresh && n < room; number++) {
    const struct program *program = &programs->records[number];
    struct kvi_program_record *record = &records[n];

    if (program->heard == 0)
      continue;
    static_assert(sizeof(record->tenant) == sizeof(program->tenant), "tenants' names are as long everywhere");
    memcpy(record->tenant, program->tenant, sizeof(record->tenant));
    memcpy(record->name, program->name, sizeof(record->name));
    memcpy(record->parent, program->parent, sizeof(record->parent));
    memcpy(record->tool, program->tool, sizeof(record->tool));
    record->turn = program->turn;
    record->wait_kind = program->wait_kind;
    record->return_p50_ms = program->return_p50_ms;
    record->return_p90_ms = program->return_p90_ms;
    record->priority = program->priority;
    record->ttl_ms = program->ttl_ms;
    record->range_tokens = program->range_tokens;
    record->heard = program->heard;
    n++;
  }
  *cursor_p = number < programs->fresh ? number : 0;
  pthread_mutex_unlock(&programs->lock);
  return n;
}

void kvi_programs_stats(struct kvi_programs *programs, struct kvi_programs_stats *stats_p)
{
  pthread_mutex_lock(&programs->lock);
  *stats_p = programs->stats;
  stats_p->heard = programs->told;
  pthread_mutex_unlock(&programs->lock);
}
