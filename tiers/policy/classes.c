#include "tiers/policy/classes.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rand.h"

#define KINDS      (KVI_CLASS_REQUEST + 1u) /* classes that are no tool's */
#define CLASSES    (KINDS + KVI_CLASSES_TOOLS)
#define GROUPS     (1 + CLASSES + KVI_CLASSES_SOURCES + KVI_CLASSES_CLIENTS)
#define LEAN       20.0   /* observations that the curve of a larger group counts for */
#define REMEMBERED 4096.0 /* observations of a class; older ones fade */
#define DUE_LEAST  64u    /* ended waits between two builds, */
#define DUE_PART   16u    /* and this part of those that last */

/* Where nothing is known yet: half are back in 9 s, as of real agents' waits for tools, and a few never. */
#define FIRST_MEDIAN_S 9.0
#define FIRST_SIGMA    2.5
#define FIRST_RETURNS  0.97
/* And of an announcement: half are back by then, most within a factor of three. */
#define OVER_RETURNS 0.02 /* of those who say that they will not, until it is known better */
#define SAID_SIGMA   1.0
#define SAID_RETURNS 0.95

/* Of the logarithm of likelihoods: what one observation can say, how much the last of so many weigh, and what an unknown source begins with. */
#define SKILL_MOST   2.0
#define SKILL_OVER   64.0
#define SKILL_FIRST  0.1
#define LIKELY_LEAST 1e-12

/* Of clients' records: those that are observed most stay, and what is no more observed fades. */
#define CLIENT_BITS  KVI_CLASSES_CLIENT_BITS
#define FADE_AFTER   4096u /* observations of all of them */
#define RECENT_LEAST 1.0   /* below that nothing is known of a client that is worth its record */

struct group {
  struct kvi_waits ended, lasting;
  double n;           /* observations in ended */
  double skill;       /* of a source: above 0, it foretells better than classes */
  uint32_t n_lasting; /* observations in lasting */
  bool built;
  struct kvi_wait_curve curve;
};

struct client {
  struct group group;      /* skill: of what was observed of it, whatever its source's is */
  uint32_t mark;           /* a hash of its name */
  uint32_t source, life;   /* below KVI_CLASSES_SOURCES; how many have had the record, 0: nobody yet */
  double observed, recent; /* up to SKILL_OVER, for its skill; fading, for its place */
};
static_assert(KVI_CLASSES_CLIENTS < 1u << CLIENT_BITS, "a number has room for it");

struct kvi_classes {
  struct group all, classes[CLASSES], sources[KVI_CLASSES_SOURCES];
  struct client clients[KVI_CLASSES_CLIENTS];
  uint32_t client_observed; /* since clients have faded */
  struct kvi_wait_curve first, over, said;
  uint64_t tools[KVI_CLASSES_TOOLS]; /* hash with kind, of class KINDS + i; 0: free */
  enum kvi_wait_kind kinds[KVI_CLASSES_TOOLS];
  uint32_t ended;    /* since the last build */
  uint32_t building; /* the group that is next */
};

kvs_status kvi_classes_create(struct kvi_classes **classes_p)
{
  struct kvi_classes *classes = calloc(1, sizeof(*classes));

  *classes_p = classes;
  if (!classes)
    return KVS_ERR_NOMEM;
  kvi_wait_curve_lognormal(&classes->first, FIRST_MEDIAN_S, FIRST_SIGMA, FIRST_RETURNS);
  kvi_wait_curve_lognormal(&classes->over, FIRST_MEDIAN_S, FIRST_SIGMA, OVER_RETURNS);
  kvi_wait_curve_lognormal(&classes->said, 1, SAID_SIGMA, SAID_RETURNS);
  for (uint32_t i = 0; i < KVI_CLASSES_SOURCES; i++)
    classes->sources[i].skill = SKILL_FIRST;
  kvi_classes_rebuild(classes);
  return KVS_OK;
}

void kvi_classes_destroy(struct kvi_classes *classes)
{
  free(classes);
}

uint64_t kvi_classes_memory(void)
{
  return sizeof(struct kvi_classes);
}

uint32_t kvi_classes_of(struct kvi_classes *classes, enum kvi_wait_kind kind, uint64_t tool)
{
  if ((uint32_t)kind >= KVI_WAIT_KINDS)
    kind = KVI_WAIT_UNKNOWN;
  if (tool == 0)
    return kind;
  for (uint32_t i = 0; i < KVI_CLASSES_TOOLS; i++) {
    if (classes->tools[i] == 0) {
      classes->tools[i] = tool;
      classes->kinds[i] = kind;
      classes->classes[KINDS + i].curve = classes->classes[kind].curve; /* until the next build */
    }
    if (classes->tools[i] == tool && classes->kinds[i] == kind)
      return KINDS + i;
  }
  return kind;
}

/* ---- observations ---- */

/* How a client's announcements are kept, or as long as it has none its source's. */
static const struct kvi_wait_curve *announced_curve(const struct group *source, const struct client *client)
{
  return client && client->group.built ? &client->group.curve : &source->curve;
}

static uint32_t kind_of(const struct kvi_classes *classes, uint32_t class)
{
  return class < KINDS ? class : (uint32_t)classes->kinds[class - KINDS];
}

enum kvi_wait_kind kvi_classes_kind(const struct kvi_classes *classes, uint32_t class)
{
  uint32_t kind = kind_of(classes, class);

  return kind < KVI_WAIT_KINDS ? (enum kvi_wait_kind)kind : KVI_WAIT_UNKNOWN;
}

uint64_t kvi_classes_tool(const struct kvi_classes *classes, uint32_t class)
{
  return class >= KINDS && class < CLASSES ? classes->tools[class - KINDS] : 0;
}

static struct group *source_of(struct kvi_classes *classes, const struct kvi_class_wait *wait)
{
  return &classes->sources[wait->source % KVI_CLASSES_SOURCES];
}

/* Of a number that says no record: who may have one, once a wait of its has ended. */
static uint32_t mark_of(uint64_t name)
{
  uint32_t mark = (uint32_t)(kvi_mix64(name) >> 32) >> CLIENT_BITS;

  return (mark != 0 ? mark : 1) << CLIENT_BITS;
}

/* NULL: it is not known, or not any more. */
static struct client *client_of(struct kvi_classes *classes, uint32_t number)
{
  uint32_t place = number & ((1u << CLIENT_BITS) - 1);
  struct client *client = place > 0 && place <= KVI_CLASSES_CLIENTS ? &classes->clients[place - 1] : NULL;

  return client && client->life == number >> CLIENT_BITS ? client : NULL;
}

/* Of the source that has the most, or of this one, if no other has more: the record that is observed least. */
static struct client *client_room(struct kvi_classes *classes, uint32_t source)
{
  uint32_t has[KVI_CLASSES_SOURCES] = {0}, most = source;
  struct client *least = NULL;

  for (uint32_t i = 0; i < KVI_CLASSES_CLIENTS; i++) {
    if (classes->clients[i].life == 0)
      return &classes->clients[i];
    has[classes->clients[i].source]++;
  }
  for (uint32_t i = 0; i < KVI_CLASSES_SOURCES; i++)
    most = has[i] > has[most] ? i : most;
  for (uint32_t i = 0; i < KVI_CLASSES_CLIENTS; i++) {
    struct client *client = &classes->clients[i];

    if (client->source == most && (!least || client->recent < least->recent))
      least = client;
  }
  return least;
}

/* Its record; NULL: it has none. */
static struct client *client_find(struct kvi_classes *classes, uint32_t source, uint32_t mark)
{
  for (uint32_t i = 0; i < KVI_CLASSES_CLIENTS; i++)
    if (classes->clients[i].life > 0 && classes->clients[i].mark == mark &&
        classes->clients[i].source == source % KVI_CLASSES_SOURCES)
      return &classes->clients[i];
  return NULL;
}

static uint32_t number_of(const struct kvi_classes *classes, const struct client *client)
{
  return client->life << CLIENT_BITS | (uint32_t)(client - classes->clients + 1);
}

uint32_t kvi_classes_client(struct kvi_classes *classes, uint32_t source, uint64_t name)
{
  uint32_t mark = mark_of(name);
  const struct client *client = client_find(classes, source, mark);

  return client ? number_of(classes, client) : mark;
}

/* A number's name; 0: it is not known, or not any more. */
static uint32_t mark_in(const struct kvi_classes *classes, uint32_t number)
{
  const struct client *client = client_of((struct kvi_classes *)(uintptr_t)classes, number);

  return client ? client->mark : kvi_classes_is_new_client(number) ? number : 0;
}

bool kvi_classes_is_same_client(const struct kvi_classes *classes, uint32_t one, uint32_t other)
{
  uint32_t mark = mark_in(classes, one);

  return one == other || (mark != 0 && mark == mark_in(classes, other));
}

/* Whoever has said something that turned out has a record from then on; for a wait that lasts, only one that nobody else needs. NULL: it has none, or nobody is known to have said it. */
static struct client *client_told(struct kvi_classes *classes, const struct kvi_class_wait *wait, bool lasts)
{
  uint32_t source = wait->source % KVI_CLASSES_SOURCES, life;
  struct client *client = client_of(classes, wait->client);

  if (client || !kvi_classes_is_new_client(wait->client))
    return client;
  client = client_find(classes, source, wait->client);
  if (client)
    return client;
  client = client_room(classes, source);
  if (lasts && client->life > 0 && client->recent >= RECENT_LEAST)
    return NULL;
  life = client->life + 1 < UINT32_MAX >> CLIENT_BITS ? client->life + 1 : 1;
  *client = (struct client){.mark = wait->client, .source = source, .life = life};
  return client;
}

uint32_t kvi_classes_overdue(struct kvi_classes *classes, const struct kvi_class_wait *wait)
{
  const struct client *client = client_told(classes, wait, true);

  return client ? number_of(classes, client) : wait->client;
}

static void count(struct group *group, void (*add)(struct kvi_waits *waits, double wait), double wait)
{
  add(&group->ended, wait);
  if (++group->n < 2 * REMEMBERED)
    return;
  kvi_waits_fade(&group->ended, 0.5);
  group->n /= 2;
}

/* What was announced of it. */
static void ended_said(struct kvi_classes *classes, const struct kvi_class_wait *wait, struct client *client,
                       double seconds, void (*add)(struct kvi_waits *waits, double wait))
{
  double parts = seconds / (double)wait->announced_s;

  count(source_of(classes, wait), add, parts);
  if (client)
    count(&client->group, add, parts);
}

static void ended(struct kvi_classes *classes, const struct kvi_class_wait *wait, struct client *client,
                  double seconds, void (*add)(struct kvi_waits *waits, double wait))
{
  uint32_t kind = kind_of(classes, wait->class);

  classes->ended++;
  count(&classes->all, add, seconds);
  count(&classes->classes[kind], add, seconds);
  if (kind != wait->class)
    count(&classes->classes[wait->class], add, seconds);
  if (wait->announced_s > 0)
    ended_said(classes, wait, client, seconds, add);
}

/* By how much an announcement has foretold this wait better than its class, by this curve of how such are kept: of one that is over, and of one that was given up after so long. */
static double gain_of(double said, double unsaid)
{
  return fmax(-SKILL_MOST, fmin(log((said + LIKELY_LEAST) / (unsaid + LIKELY_LEAST)), SKILL_MOST));
}

static double back_gain(const struct kvi_classes *classes, const struct kvi_class_wait *wait,
                        const struct kvi_wait_curve *curve, double seconds)
{
  double announced_s = (double)wait->announced_s;

  return gain_of(kvi_wait_curve_density(curve, seconds / announced_s) / announced_s,
                 kvi_wait_curve_density(&classes->classes[wait->class].curve, seconds));
}

/* Never better: when a wait is given up is up to who has announced it. */
static double away_gain(const struct kvi_classes *classes, const struct kvi_class_wait *wait,
                        const struct kvi_wait_curve *curve, double seconds)
{
  double said = 1 - kvi_wait_curve_back_within(curve, 0, seconds / (double)wait->announced_s),
         unsaid = 1 - kvi_wait_curve_back_within(&classes->classes[wait->class].curve, 0, seconds);

  return fmin(gain_of(said, unsaid), 0);
}

/* Of what is no more observed less and less counts, so that its record is another's some day. */
static void clients_fade(struct kvi_classes *classes)
{
  if (++classes->client_observed < FADE_AFTER)
    return;
  classes->client_observed = 0;
  for (uint32_t i = 0; i < KVI_CLASSES_CLIENTS; i++)
    classes->clients[i].recent /= 2;
}

typedef double gain_fn(const struct kvi_classes *classes, const struct kvi_class_wait *wait,
                       const struct kvi_wait_curve *curve, double seconds);

/* Have the source and its client foretold it better than its class? */
static void judge(struct kvi_classes *classes, const struct kvi_class_wait *wait, struct client *client,
                  double seconds, gain_fn *gain_of_curve)
{
  struct group *source = source_of(classes, wait);

  if (client) {
    double gain = gain_of_curve(classes, wait, announced_curve(source, client), seconds);

    client->observed += client->observed < SKILL_OVER;
    client->recent += 1;
    client->group.skill += (gain - client->group.skill) / client->observed;
    clients_fade(classes);
  }
  source->skill += (gain_of_curve(classes, wait, &source->curve, seconds) - source->skill) / SKILL_OVER;
}

void kvi_classes_back(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds)
{
  struct client *client = wait->announced_s > 0 ? client_told(classes, wait, false) : NULL;

  if (wait->announced_s > 0)
    judge(classes, wait, client, seconds, back_gain);
  ended(classes, wait, client, seconds, kvi_waits_back);
}

void kvi_classes_away(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds)
{
  bool is_late = wait->announced_s > 0 && seconds >= (double)wait->announced_s;
  struct client *client = is_late ? client_told(classes, wait, false) : client_of(classes, wait->client);

  if (is_late)
    judge(classes, wait, client, seconds, away_gain);
  ended(classes, wait, client, seconds, kvi_waits_away);
}

void kvi_classes_unkept(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds)
{
  struct client *client = client_told(classes, wait, false);

  classes->ended++;
  judge(classes, wait, client, seconds, away_gain);
  ended_said(classes, wait, client, seconds, kvi_waits_away);
}

static void last(struct group *group, double wait)
{
  kvi_waits_away(&group->lasting, wait);
  group->n_lasting++;
}

void kvi_classes_lasting(struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds)
{
  uint32_t kind = kind_of(classes, wait->class);
  struct client *client = client_of(classes, wait->client);

  last(&classes->all, seconds);
  last(&classes->classes[kind], seconds);
  if (kind != wait->class)
    last(&classes->classes[wait->class], seconds);
  if (wait->announced_s > 0)
    last(source_of(classes, wait), seconds / (double)wait->announced_s);
  if (wait->announced_s > 0 && client)
    last(&client->group, seconds / (double)wait->announced_s);
}

/* ---- curves ---- */

bool kvi_classes_is_due(const struct kvi_classes *classes, uint32_t waits)
{
  return classes->ended >= DUE_LEAST && classes->ended >= waits / DUE_PART;
}

static void group_build(struct group *group, const struct kvi_wait_curve *larger)
{
  kvi_waits_add(&group->lasting, &group->ended);
  kvi_wait_curve_build(&group->curve, &group->lasting, larger, LEAN);
  memset(&group->lasting, 0, sizeof(group->lasting));
  group->n_lasting = 0;
  group->built = true;
}

/* Of all, classes, sources and clients, in this order: who leans on a curve is built after it. */
static struct group *group_at(struct kvi_classes *classes, uint32_t number,
                              const struct kvi_wait_curve **larger_p)
{
  uint32_t kind;

  *larger_p = number == 0 ? &classes->first : &classes->said;
  if (number == 0)
    return &classes->all;
  number--;
  if (number >= CLASSES + KVI_CLASSES_SOURCES) {
    struct client *client = &classes->clients[number - CLASSES - KVI_CLASSES_SOURCES];

    *larger_p = &classes->sources[client->source].curve;
    return &client->group;
  }
  if (number >= CLASSES)
    return &classes->sources[number - CLASSES];
  kind = number < KINDS || classes->tools[number - KINDS] != 0 ? kind_of(classes, number) : number;
  *larger_p = number == KVI_WAIT_END ? &classes->over
              : kind == number       ? &classes->all.curve
                                     : &classes->classes[kind].curve;
  return &classes->classes[number];
}

bool kvi_classes_build(struct kvi_classes *classes, uint32_t groups)
{
  const struct kvi_wait_curve *larger;

  for (; groups > 0 && classes->building < GROUPS; classes->building++) {
    struct group *group = group_at(classes, classes->building, &larger);
    bool is_kind = classes->building <= KINDS; /* these lean on all, which has changed */
    bool is_client = classes->building > CLASSES + KVI_CLASSES_SOURCES;

    if ((group->built || is_client) && group->n == 0 && group->n_lasting == 0 && !is_kind)
      continue;
    group_build(group, larger);
    groups--;
  }
  if (classes->building < GROUPS)
    return false;
  classes->building = 0;
  classes->ended = 0;
  return true;
}

/* The curve to go by, and what is 1 on it, in seconds. A client's skill leans on its source's, until it has said enough: others there may lie more than it speaks. */
static const struct kvi_wait_curve *curve_of(const struct kvi_classes *classes,
                                             const struct kvi_class_wait *wait, double *unit_p)
{
  const struct group *source = &classes->sources[wait->source % KVI_CLASSES_SOURCES];
  const struct client *client =
      wait->announced_s > 0 ? client_of((struct kvi_classes *)(uintptr_t)classes, wait->client) : NULL;
  double lean = client ? LEAN * (1 - client->observed / SKILL_OVER) : LEAN;
  double skill = source->skill * lean + (client ? client->group.skill * client->observed : 0);
  bool heeded = wait->announced_s > 0 && skill > 0;

  *unit_p = heeded ? (double)wait->announced_s : 1;
  return heeded ? announced_curve(source, client) : &classes->classes[wait->class].curve;
}

double kvi_classes_rate(const struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds)
{
  double unit;
  const struct kvi_wait_curve *curve = curve_of(classes, wait, &unit);

  return kvi_wait_curve_rate(curve, seconds / unit) / unit;
}

double kvi_classes_gain(const struct kvi_classes *classes, const struct kvi_class_wait *wait, double seconds,
                        double price, double within)
{
  double unit;
  const struct kvi_wait_curve *curve = curve_of(classes, wait, &unit);

  return kvi_wait_curve_gain(curve, seconds / unit, price * unit, within / unit);
}

double kvi_classes_worth_until(const struct kvi_classes *classes, const struct kvi_class_wait *wait,
                               double rate)
{
  double unit;
  const struct kvi_wait_curve *curve = curve_of(classes, wait, &unit);

  return kvi_wait_curve_worth_until(curve, rate * unit) * unit;
}

/* ---- what outlives the process ---- */

bool kvi_classes_learned(const struct kvi_classes *classes, uint32_t n, struct kvi_class_learned *learned_p)
{
  const struct group *group = &classes->all;

  *learned_p = (struct kvi_class_learned){.group = KVI_CLASS_ALL};
  if (n > CLASSES) {
    learned_p->group = KVI_CLASS_SOURCE;
    learned_p->number = n - CLASSES - 1;
    if (learned_p->number >= KVI_CLASSES_SOURCES)
      return false;
    group = &classes->sources[learned_p->number];
  } else if (n > KINDS) {
    learned_p->group = KVI_CLASS_TOOL;
    learned_p->number = classes->kinds[n - KINDS - 1];
    learned_p->tool = classes->tools[n - KINDS - 1];
    group = &classes->classes[n - 1];
  } else if (n > 0) {
    learned_p->group = KVI_CLASS_KIND;
    learned_p->number = n - 1;
    group = &classes->classes[n - 1];
  }
  learned_p->skill = group->skill;
  learned_p->ended = group->ended;
  return group->n > 0;
}

/* Where it is counted; NULL: there is no such group. */
static struct group *group_learned(struct kvi_classes *classes, const struct kvi_class_learned *learned)
{
  uint32_t class;

  switch (learned->group) {
  case KVI_CLASS_ALL:
    return &classes->all;
  case KVI_CLASS_KIND:
    return learned->number < KINDS ? &classes->classes[learned->number] : NULL;
  case KVI_CLASS_TOOL:
    if (learned->number >= KVI_WAIT_KINDS || learned->tool == 0)
      return NULL;
    class = kvi_classes_of(classes, (enum kvi_wait_kind)learned->number, learned->tool);
    return class >= KINDS ? &classes->classes[class] : NULL;
  case KVI_CLASS_SOURCE:
    return learned->number < KVI_CLASSES_SOURCES ? &classes->sources[learned->number] : NULL;
  }
  return NULL;
}

bool kvi_classes_learn(struct kvi_classes *classes, const struct kvi_class_learned *learned)
{
  struct group *group;
  double n = 0;

  for (uint32_t i = 0; i < KVI_WAIT_BUCKETS; i++) {
    if (!(learned->ended.back[i] >= 0) || !(learned->ended.away[i] >= 0))
      return false;
    n += learned->ended.back[i] + learned->ended.away[i];
  }
  if (!(n <= 2 * REMEMBERED) || !(fabs(learned->skill) <= SKILL_MOST))
    return false;
  group = group_learned(classes, learned);
  if (!group)
    return false;
  group->ended = learned->ended;
  group->n = n;
  if (learned->group == KVI_CLASS_SOURCE)
    group->skill = learned->skill;
  return true;
}

void kvi_classes_rebuild(struct kvi_classes *classes)
{
  while (!kvi_classes_build(classes, GROUPS))
    ;
}
