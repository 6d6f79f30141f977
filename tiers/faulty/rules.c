/* tiers/faulty/rules.c: see rules.h. */
#include "tiers/faulty/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

#define SEED_DEFAULT 1u
#define MILLION      1000000u
#define DELAY_MAX_MS (60u * 60u * 1000u)

static const struct word {
  const char *word;
  uint32_t value;
} kinds[] = {{"error", KVI_FAULTY_ERROR}, {"delay", KVI_FAULTY_DELAY}, {"corrupt", KVI_FAULTY_CORRUPT}},
  ops[] = {{"read", KVI_FAULTY_READ},
           {"write", KVI_FAULTY_WRITE},
           {"lookup", KVI_FAULTY_LOOKUP},
           {"all", KVI_FAULTY_READ | KVI_FAULTY_WRITE | KVI_FAULTY_LOOKUP}},
  whens[] = {{"every=", KVI_FAULTY_EVERY}, {"at=", KVI_FAULTY_AT}, {"first=", KVI_FAULTY_FIRST}};

static const struct {
  const char *word;
  kvs_status status;
  uint32_t ops; /* that can end so */
} errors[] = {{"io", KVS_ERR_IO, KVI_FAULTY_READ | KVI_FAULTY_WRITE | KVI_FAULTY_LOOKUP},
              {"busy", KVS_ERR_BUSY, KVI_FAULTY_READ | KVI_FAULTY_WRITE | KVI_FAULTY_LOOKUP},
              {"full", KVS_ERR_FULL, KVI_FAULTY_WRITE},
              {"miss", KVS_MISS, KVI_FAULTY_READ}};

static const struct word *word_find(const struct word *words, size_t n, const char *text)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp(words[i].word, text) == 0)
      return &words[i];
  return NULL;
}

/* every=N and its like, or a chance. False: it is none of them. */
static bool when_parse(const char *text, struct kvi_faulty_rule *rule)
{
  double chance;
  int64_t n;
  char *end;

  for (size_t i = 0; i < KVI_ARRAY_SIZE(whens); i++) {
    size_t length = strlen(whens[i].word);

    if (strncmp(text, whens[i].word, length) != 0)
      continue;
    if (kvi_parse_int(text + length, &n) != KVS_OK || n < 1)
      return false;
    rule->when = (enum kvi_faulty_when)whens[i].value;
    rule->n = (uint64_t)n;
    return true;
  }
  if (text[0] < '0' || text[0] > '9')
    return false;
  chance = strtod(text, &end);
  if (*end != '\0' || !(chance > 0 && chance <= 1))
    return false;
  rule->when = KVI_FAULTY_CHANCE;
  rule->n = (uint64_t)(chance * MILLION);
  return true;
}

/* What only this kind of rule says. False: it is not that. */
static bool value_parse(const char *text, struct kvi_faulty_rule *rule)
{
  if (rule->kind == KVI_FAULTY_DELAY)
    return rule->delay_ms == 0 && kvi_parse_duration(text, &rule->delay_ms) == KVS_OK && rule->delay_ms > 0 &&
           rule->delay_ms <= DELAY_MAX_MS;
  if (rule->kind == KVI_FAULTY_CORRUPT && strcmp(text, "silent") == 0 && rule->ops == KVI_FAULTY_READ) {
    rule->silent = true;
    return true;
  }
  for (size_t i = 0; rule->kind == KVI_FAULTY_ERROR && i < KVI_ARRAY_SIZE(errors); i++)
    if (strcmp(text, errors[i].word) == 0 && (rule->ops & ~errors[i].ops) == 0) {
      rule->status = errors[i].status;
      return true;
    }
  return false;
}

static kvs_status say(char *error, size_t error_size, const char *what, const char *why)
{
  if (error)
    snprintf(error, error_size, "%s: %s", what, why);
  return KVS_ERR_CONFIG;
}

/* Takes `text` apart. */
static kvs_status rule_parse(char *text, struct kvi_faulty_rule *rule, char *error, size_t error_size)
{
  char *rest = text, *field = strsep(&rest, ":");
  const struct word *word = word_find(kinds, KVI_ARRAY_SIZE(kinds), field);

  memset(rule, 0, sizeof(*rule));
  if (!word)
    return say(error, error_size, field, "is not error, delay or corrupt");
  rule->kind = (enum kvi_faulty_kind)word->value;
  rule->status = KVS_ERR_IO;
  field = rest ? strsep(&rest, ":") : "";
  word = word_find(ops, KVI_ARRAY_SIZE(ops), field);
  if (!word)
    return say(error, error_size, field, "is not read, write, lookup or all");
  rule->ops = word->value;
  if (rule->kind == KVI_FAULTY_CORRUPT)
    rule->ops &= ~(uint32_t)KVI_FAULTY_LOOKUP; /* it carries no bytes */
  if (rule->ops == 0)
    return say(error, error_size, field, "cannot be corrupted");
  while ((field = strsep(&rest, ":")) != NULL)
    if (!when_parse(field, rule) && !value_parse(field, rule))
      return say(error, error_size, field, "means nothing here");
  if (rule->kind == KVI_FAULTY_DELAY && rule->delay_ms == 0)
    return say(error, error_size, "delay", "needs a duration, such as 200ms");
  return KVS_OK;
}

kvs_status kvi_faulty_rules_parse(const char *text, struct kvi_faulty_rules *rules_p, char *error,
                                  size_t error_size)
{
  struct kvi_faulty_rules rules = {.n = 0};
  char copy[KVI_FAULTY_TEXT_MAX], *rest = copy, *item;
  int64_t seed = SEED_DEFAULT;
  kvs_status status;

  if (strlen(text) >= sizeof(copy))
    return say(error, error_size, "the rules", "are longer than 1023 bytes");
  memcpy(copy, text, strlen(text) + 1);
  if (text[0] == '\0' || strcmp(text, "off") == 0)
    rest = NULL;
  while ((item = strsep(&rest, ",")) != NULL) {
    item += strspn(item, " ");
    if (strncmp(item, "seed=", 5) == 0) {
      if (kvi_parse_int(item + 5, &seed) != KVS_OK)
        return say(error, error_size, item, "is not a whole number");
      continue;
    }
    if (rules.n == KVI_FAULTY_RULES_MAX)
      return say(error, error_size, item, "there are 16 rules already");
    status = rule_parse(item, &rules.rules[rules.n], error, error_size);
    if (status != KVS_OK)
      return status;
    rules.n++;
  }
  kvi_rand_seed(&rules.rand, (uint64_t)seed);
  *rules_p = rules;
  return KVS_OK;
}

static bool comes_true(struct kvi_faulty_rules *rules, struct kvi_faulty_rule *rule)
{
  rule->seen++;
  switch (rule->when) {
  case KVI_FAULTY_ALWAYS:
    return true;
  case KVI_FAULTY_CHANCE:
    return kvi_rand_below(&rules->rand, MILLION) < rule->n;
  case KVI_FAULTY_EVERY:
    return rule->seen % rule->n == 0;
  case KVI_FAULTY_AT:
    return rule->seen == rule->n;
  case KVI_FAULTY_FIRST:
    return rule->seen <= rule->n;
  }
  return false;
}

bool kvi_faulty_rules_decide(struct kvi_faulty_rules *rules, enum kvi_faulty_op op,
                             struct kvi_faulty_fate *fate_p)
{
  bool any = false;

  *fate_p = (struct kvi_faulty_fate){.status = KVS_OK};
  for (uint32_t i = 0; i < rules->n; i++) {
    struct kvi_faulty_rule *rule = &rules->rules[i];

    if (!(rule->ops & op) || !comes_true(rules, rule))
      continue;
    any = true;
    if (rule->kind == KVI_FAULTY_DELAY) {
      fate_p->delay_ms += rule->delay_ms;
    } else if (rule->kind == KVI_FAULTY_ERROR) {
      if (fate_p->status == KVS_OK)
        fate_p->status = rule->status;
    } else {
      fate_p->corrupt = true;
      fate_p->silent = fate_p->silent || rule->silent;
      fate_p->random = kvi_rand_next(&rules->rand);
    }
  }
  return any;
}
