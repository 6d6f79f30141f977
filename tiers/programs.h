/*
 * tiers/programs.h: what hints have told of programs (agent runs, chats). Recorded now, for a policy to act on later.
 *
 * A bounded table: when it is full the program not heard of for longest is forgotten. Strings longer than KVI_PROGRAM_TEXT_MAX are refused.
 * Thread-safe, under a mutex of its own.
 */
#ifndef KVASIR_TIERS_PROGRAMS_H
#define KVASIR_TIERS_PROGRAMS_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_PROGRAM_TEXT_MAX 255u
#define KVI_PROGRAMS_DEFAULT 4096u

/* As told on the wire in HintReply.outcome. */
enum kvi_hint_outcome {
  KVI_HINT_ACCEPTED = 1,
  KVI_HINT_CLIPPED = 2,
  KVI_HINT_DEFERRED = 3,
  KVI_HINT_REJECTED = 4,
  KVI_HINT_MISSING = 5,
  KVI_HINT_OUTCOMES
};

struct kvi_program_hint {
  const char *tenant, *program, *parent, *tool; /* parent and tool may be "" */
  uint32_t turn, wait_kind, return_p50_ms, return_p90_ms, priority, ttl_ms;
  uint32_t
      range_tokens; /* so many of the chain, from the first on, are all that priority and ttl_ms are said of; 0: all */
  bool close, has_priority; /* has_priority: a priority of 0 is said too */
  uint64_t hash;            /* of tenant and program, as the policy knows it; 0: not known */
  uint64_t client;          /* who says it, of the tenant's: its session; 0: not known */
};

struct kvi_programs_stats {
  uint64_t programs;  /* now */
  uint64_t forgotten; /* to make room */
  uint64_t heard;     /* hints that changed anything */
};

struct kvi_programs;

kvs_status kvi_programs_create(uint32_t capacity,
                               struct kvi_programs **programs_p); /* KVS_ERR_NOMEM, KVS_ERR_INVALID */
void kvi_programs_destroy(struct kvi_programs *programs);         /* NULL is fine */

/*
 * Records a hint. ACCEPTED; REJECTED: no program's name, a text too long, priority above 100, an unknown wait kind, or p50 above p90 (both
 * given); MISSING: closes a program that is not known.
 */
enum kvi_hint_outcome kvi_programs_hint(struct kvi_programs *programs, const struct kvi_program_hint *hint);

/* What is wrong with it, in words; NULL: nothing, it is not REJECTED. */
const char *kvi_programs_fault(const struct kvi_program_hint *hint);

/* What the last hint of a program said, and of parent and turn what was said last; strings are valid until the next hint. False: not known. For tests and views. */
bool kvi_programs_find(struct kvi_programs *programs, const char *tenant, const char *program,
                       struct kvi_program_hint *hint_p);
/* The same, by the hash that the policy knows it by; strings are copied. O(programs). */
struct kvi_program_named {
  char name[KVI_PROGRAM_TEXT_MAX + 1], parent[KVI_PROGRAM_TEXT_MAX + 1], tool[KVI_PROGRAM_TEXT_MAX + 1];
  uint32_t turn;
};
bool kvi_programs_find_hash(struct kvi_programs *programs, const char *tenant, uint64_t hash,
                            struct kvi_program_named *named_p);

/* For who keeps them over a restart. */
struct kvi_program_record {
  char tenant[64]; /* KVI_TENANT_MAX */
  char name[KVI_PROGRAM_TEXT_MAX + 1], parent[KVI_PROGRAM_TEXT_MAX + 1], tool[KVI_PROGRAM_TEXT_MAX + 1];
  uint32_t turn, wait_kind, return_p50_ms, return_p90_ms, priority, ttl_ms, range_tokens;
  uint64_t heard; /* the greater, the later it was heard of */
};
/* From *cursor_p (0 at first) up to `room` programs, in no order; *cursor_p 0: the end. Who comes and goes meanwhile may be missed. */
uint32_t kvi_programs_records(struct kvi_programs *programs, uint32_t *cursor_p,
                              struct kvi_program_record *records, uint32_t room);
void kvi_programs_stats(struct kvi_programs *programs, struct kvi_programs_stats *stats_p);

#endif
