/*
 * tiers/policy/classes.h: what is known of waits (waits.h), by what is waited for, and by who has said when it will be over.
 *
 * A class is a kind of wait, or a tool of that kind. A class with few observations leans on its kind, a kind on all waits, all on a lognormal curve. Whoever announces
 * how long a wait will be is a source, with a curve of its own whose unit of time is what was announced: of a source that is right most waits end about 1, of one that says anything
 * they end anywhere, and then its curve says no more than that. A source is heeded as long as its curve has foretold the waits that ended better than their classes' curves did (by the mean logarithm of their likelihoods). So
 * what an announcement is worth is learned, and nothing has to be trusted.
 *
 * A source may have several clients, of whom one lies: as far as they can be told apart each has a record of its own, which leans on the source's as a class does on its kind. A client that has said little is taken for what its source is on the whole. There are records for a
 * fixed number of clients. Whose are all taken by others makes room among its source's own, if that has as many as any other, else among those of the source that has the most; of those the record goes that has the fewest observations, where older ones count less.
 *
 * Who announces and does not come is known for it as well: a wait that is given up at least as late as was announced, or one of which that is all that is known (kvi_classes_unkept), is judged by how likely it was to last so long. That can only
 * take from a skill: a wait can be given up whenever one likes, so nobody is taken to have foretold that. One that is given up before says nothing of who announced it.
 *
 * Curves are built from the waits that have ended and those that last, when enough have ended since. Observations count less the more came after them. Bounded: the tools first seen have classes, the
 * rest their kind's; sources share a curve if there are too many. Nothing is allocated after create; one thread at a time.
 */
#ifndef KVASIR_TIERS_POLICY_CLASSES_H
#define KVASIR_TIERS_POLICY_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

#include <kvasir/status.h>

#include "tiers/policy/policy.h"
#include "tiers/policy/waits.h"

#define KVI_CLASSES_TOOLS   58u /* with a class of their own */
#define KVI_CLASSES_SOURCES 64u
#define KVI_CLASSES_CLIENTS 64u
/* From a request of a program that says what it waits for to its next one: all that is known before it has said so. */
#define KVI_CLASS_REQUEST KVI_WAIT_KINDS

struct kvi_classes;

/* A wait, as classes see it. */
struct kvi_class_wait {
  uint32_t class, source; /* kvi_classes_of; any number */
  uint32_t client;        /* kvi_classes_client; 0: not known */
  float announced_s;      /* 0: nothing was said */
};

kvs_status kvi_classes_create(struct kvi_classes **classes_p); /* KVS_ERR_NOMEM */
void kvi_classes_destroy(struct kvi_classes *classes);         /* NULL is fine */
uint64_t kvi_classes_memory(void);

/* tool: a hash of its name; 0: none. An unknown kind is KVI_WAIT_UNKNOWN. */
uint32_t kvi_classes_of(struct kvi_classes *classes, enum kvi_wait_kind kind, uint64_t tool);

/* Which of the source's clients says it. It has a record once a wait of its is over. name: any number, the same each time. Of a record that another has got since, the number is as good as 0. O(KVI_CLASSES_CLIENTS). */
uint32_t kvi_classes_client(struct kvi_classes *classes, uint32_t source, uint64_t name);
#define KVI_CLASSES_CLIENT_BITS 8u /* of a number, that say which record it is; the rest says whose */
/* It had no record when it was asked for. */
static inline bool kvi_classes_is_new_client(uint32_t client)
{
  return client != 0 && client % (1u << KVI_CLASSES_CLIENT_BITS) == 0;
}
/* Are these numbers of one client, got at different times? Not if another has its record now. */
bool kvi_classes_is_same_client(const struct kvi_classes *classes, uint32_t one, uint32_t other);
/* Of a wait that lasts longer than was announced, by a new client: its number now. It has a record from now on if there is room for one, or one of which nothing has been observed yet. O(KVI_CLASSES_CLIENTS). */
uint32_t kvi_classes_overdue(struct kvi_classes *classes, const struct kvi_class_wait *wait);

/* Of the class; UNKNOWN of the one of requests. */
enum kvi_wait_kind kvi_classes_kind(const struct kvi_classes *classes, uint32_t class);

/* Of a tool's class; 0: it is no tool's. */
uint64_t kvi_classes_tool(const struct kvi_classes *classes, uint32_t class);

/* It came back after so many seconds / it never will. */
void kvi_classes_back(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds);
void kvi_classes_away(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds);
/* What was announced has not come true in so many seconds, no fewer than that; of the wait itself nothing is observed. */
void kvi_classes_unkept(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds);

/*
 * Has enough ended since for other curves? `waits` waits last now. Then the caller says `lasting` for each of them, and builds so many curves at a time, 5 us each, until all are (true): for
 * each 1/16 of the waits that has ended, 64 at least.
 */
bool kvi_classes_is_due(const struct kvi_classes *classes, uint32_t waits);
void kvi_classes_lasting(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds);
bool kvi_classes_build(struct kvi_classes *classes, uint32_t groups);

/* Returns a second that it is worth to wait for, of a wait that has lasted so long (kvi_wait_curve_rate). */
double kvi_classes_rate(const struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds);
/* kvi_wait_curve_gain, in seconds: what waiting on is worth, for at most `within` and at so much a second. */
double kvi_classes_gain(const struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds,
                        double price, double within);
/* From when on, counted from its beginning, that is below `rate` for good; INFINITY: it never is. */
double kvi_classes_worth_until(const struct kvi_classes *classes, const struct kvi_class_wait *wait,
                               double rate);

/* ---- what outlives the process ---- */

enum kvi_class_group { KVI_CLASS_ALL = 0, KVI_CLASS_KIND, KVI_CLASS_TOOL, KVI_CLASS_SOURCE };

/* What was counted of a group of waits that have ended. */
struct kvi_class_learned {
  enum kvi_class_group group;
  uint32_t number; /* of a kind, KVI_CLASS_REQUEST too, or a source; of a tool the kind of its waits */
  uint64_t tool;
  double skill; /* of a source */
  struct kvi_waits ended;
};
#define KVI_CLASSES_GROUPS (1 + KVI_CLASS_REQUEST + 1 + KVI_CLASSES_TOOLS + KVI_CLASSES_SOURCES)
/* Of the n'th group; false: nothing was counted. */
bool kvi_classes_learned(const struct kvi_classes *classes, uint32_t n, struct kvi_class_learned *learned_p);
/* Before anything else was counted. Curves are those of before until all are built. False: these are no counts, or there is no room for one more tool. */
bool kvi_classes_learn(struct kvi_classes *classes, const struct kvi_class_learned *learned);
/* Builds all curves now. */
void kvi_classes_rebuild(struct kvi_classes *classes);

#endif
