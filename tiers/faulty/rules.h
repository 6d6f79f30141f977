/*
 * tiers/faulty/rules.h: which operations of a tier go wrong, and how, as text of the configuration. docs/test-faults.md has the grammar for people.
 *
 *     error:read:0.1,delay:write:200ms,corrupt:read:every=50,seed=7
 *
 * One thread at a time.
 */
#ifndef KVASIR_TIERS_FAULTY_RULES_H
#define KVASIR_TIERS_FAULTY_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "base/rand.h"

#define KVI_FAULTY_RULES_MAX 16u
#define KVI_FAULTY_TEXT_MAX  1024u /* bytes, with the NUL */

enum kvi_faulty_op {
  KVI_FAULTY_READ = 1,
  KVI_FAULTY_WRITE = 2,
  KVI_FAULTY_LOOKUP = 4,
  KVI_FAULTY_SEAL = 8 /* the end of a write in place; has no word of its own */
};

enum kvi_faulty_kind { KVI_FAULTY_ERROR, KVI_FAULTY_DELAY, KVI_FAULTY_CORRUPT };
#define KVI_FAULTY_KINDS 3

enum kvi_faulty_when {
  KVI_FAULTY_ALWAYS,
  KVI_FAULTY_CHANCE, /* each with the same chance */
  KVI_FAULTY_EVERY,  /* the n-th, 2n-th, ... */
  KVI_FAULTY_AT,     /* the n-th alone */
  KVI_FAULTY_FIRST   /* the first n */
};

struct kvi_faulty_rule {
  enum kvi_faulty_kind kind;
  uint32_t ops; /* of enum kvi_faulty_op */
  enum kvi_faulty_when when;
  uint64_t n;        /* of when; a chance in millionths */
  uint64_t delay_ms; /* delay */
  kvs_status status; /* error */
  bool silent;       /* corrupt: the tier says that all is well */
  uint64_t seen;     /* operations that it was asked about */
};

struct kvi_faulty_rules {
  struct kvi_faulty_rule rules[KVI_FAULTY_RULES_MAX];
  uint32_t n;
  kvi_rand rand;
};

/* What happens to one operation: first the delay, then the error or the damage. */
struct kvi_faulty_fate {
  uint64_t delay_ms;
  kvs_status status; /* KVS_OK: none */
  bool corrupt, silent;
  uint64_t random; /* where the damage is */
};

/*
 * "" and "off": no rules. KVS_ERR_CONFIG with a sentence in `error` (which may be NULL); then *rules_p is not changed.
 */
kvs_status kvi_faulty_rules_parse(const char *text, struct kvi_faulty_rules *rules_p, char *error,
                                  size_t error_size);

/* True: something happens to it. Each rule counts the operations it is asked about; the first error that comes true counts. */
bool kvi_faulty_rules_decide(struct kvi_faulty_rules *rules, enum kvi_faulty_op op,
                             struct kvi_faulty_fate *fate_p);

#endif
