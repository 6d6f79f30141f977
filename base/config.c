/* The config's life, its values and their checks. The feeds are in config_yaml.c and config_feed.c, the pages
 * in config_doc.c. */
#include "base/config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/config_private.h"
#include "base/log.h"
#include "base/text.h"
#include "base/utf8.h"

/* A value of any type on its way into the struct. */
typedef union config_value {
  bool flag;
  int64_t integer;
  uint64_t quantity;
  const char *string;
  int choice;
  kvi_config_list list;
} config_value;

static size_t value_size(kvi_config_type type)
{
  switch (type) {
  case KVI_CONFIG_BOOL:
    return sizeof(bool);
  case KVI_CONFIG_INT:
    return sizeof(int64_t);
  case KVI_CONFIG_SIZE:
  case KVI_CONFIG_DURATION:
    return sizeof(uint64_t);
  case KVI_CONFIG_STRING:
    return sizeof(const char *);
  case KVI_CONFIG_ENUM:
    return sizeof(int);
  case KVI_CONFIG_LIST:
    return sizeof(kvi_config_list);
  }
  return 0;
}

const char *kvi_config_type_name(kvi_config_type type)
{
  static const char *const names[] = {"true or false", "number", "size", "duration",
                                      "string",        "word",   "list"};

  return names[type];
}

void kvi_config_bounds(const kvi_config_row *row, int64_t *min_p, int64_t *max_p)
{
  *min_p = row->min;
  *max_p = row->max;
  if (row->min != 0 || row->max != 0)
    return;
  if (row->type == KVI_CONFIG_INT)
    *min_p = INT64_MIN;
  *max_p = row->type == KVI_CONFIG_STRING ? KVI_CONFIG_VALUE_MAX
           : row->type == KVI_CONFIG_LIST ? KVI_CONFIG_ITEMS_MAX
                                          : INT64_MAX;
}

/* --- messages --- */

static void format_error(kvi_config *config, const kvi_config_place *place, const char *name,
                         const char *format, va_list args)
{
  char reason[768];

  vsnprintf(reason, sizeof reason, format, args);
  if (name != NULL && name[0] == '\0')
    name = NULL;
  if (place->line > 0)
    snprintf(config->error, sizeof config->error, "%s:%zu: %s%s%s", place->label, place->line,
             name != NULL ? name : "", name != NULL ? ": " : "", reason);
  else
    snprintf(config->error, sizeof config->error, "%s: %s%s%s", place->label, name != NULL ? name : "",
             name != NULL ? ": " : "", reason);
}

kvs_status kvi_config_fail(kvi_config *config, const kvi_config_place *place, const char *name,
                           const char *format, ...)
{
  va_list args;

  va_start(args, format);
  format_error(config, place, name, format, args);
  va_end(args);
  return KVS_ERR_CONFIG;
}

kvs_status kvi_config_fail_unknown(kvi_config *config, const kvi_config_place *place, const char *name,
                                   const char *what)
{
  char near[KVI_CONFIG_NAME_MAX];

  if (kvi_config_suggest(config->table, name, near))
    return kvi_config_fail(config, place, name, "unknown %s (did you mean %s?)", what, near);
  return kvi_config_fail(config, place, name, "unknown %s", what);
}

kvs_status kvi_config_refuse(kvi_config *config, const char *name, const char *format, ...)
{
  static const kvi_config_place nowhere = {.label = "configuration"};
  size_t row = kvi_config_find(config->table, name);
  va_list args;

  va_start(args, format);
  format_error(config, row < config->table->row_count ? &config->places[row] : &nowhere, name, format, args);
  va_end(args);
  return KVS_ERR_CONFIG;
}

/* --- names --- */

size_t kvi_config_find(const kvi_config_table *table, const char *name)
{
  size_t row = 0;

  while (row < table->row_count && strcmp(table->rows[row].name, name) != 0)
    row++;
  return row;
}

static char loose(char c)
{
  return c == '.' || c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static bool equal_loosely(const char *a, const char *b, size_t length_b)
{
  size_t i = 0;

  while (i < length_b && a[i] != '\0' && loose(a[i]) == loose(b[i]))
    i++;
  return i == length_b && a[i] == '\0';
}

size_t kvi_config_find_loosely(const kvi_config_table *table, const char *name, size_t length)
{
  size_t row = 0;

  while (row < table->row_count && !equal_loosely(table->rows[row].name, name, length))
    row++;
  return row;
}

/* Levenshtein's distance of two names shorter than KVI_CONFIG_NAME_MAX, letters compared loosely. */
static size_t distance(const char *a, const char *b)
{
  size_t line[KVI_CONFIG_NAME_MAX];
  size_t length_b = strlen(b);

  for (size_t j = 0; j <= length_b; j++)
    line[j] = j;
  for (size_t i = 1; a[i - 1] != '\0'; i++) {
    size_t diagonal = line[0];

    line[0] = i;
    for (size_t j = 1; j <= length_b; j++) {
      size_t change = diagonal + (loose(a[i - 1]) != loose(b[j - 1]));

      diagonal = line[j];
      if (line[j] + 1 < change)
        change = line[j] + 1;
      if (line[j - 1] + 1 < change)
        change = line[j - 1] + 1;
      line[j] = change;
    }
  }
  return line[length_b];
}

static size_t count_dots(const char *name)
{
  size_t dots = 0;

  for (; *name != '\0'; name++)
    dots += *name == '.';
  return dots;
}

/* Copies the first "dots" + 1 words of a row's name; what is asked for may be a section. */
static void copy_words(const char *name, size_t dots, char *dst)
{
  size_t length = 0;

  while (name[length] != '\0' && (name[length] != '.' || dots-- > 0))
    length++;
  memcpy(dst, name, length);
  dst[length] = '\0';
}

static bool ends_in(const char *name, const char *tail)
{
  size_t length = strlen(name), tail_length = strlen(tail);

  return length > tail_length && name[length - tail_length - 1] == '.' &&
         strcmp(name + length - tail_length, tail) == 0;
}

/* Keeps the candidate in "near" if none was as near. */
static void consider(const char *name, const char *candidate, size_t *best_p, char *near)
{
  size_t d = distance(name, candidate);

  if (d >= *best_p)
    return;
  *best_p = d;
  memcpy(near, candidate, strlen(candidate) + 1);
}

bool kvi_config_suggest(const kvi_config_table *table, const char *name, char near[KVI_CONFIG_NAME_MAX])
{
  size_t length = strlen(name);
  size_t best = length / 3 + 2; /* further away it is a guess, not a slip of the finger */

  near[0] = '\0';
  if (length == 0 || length >= KVI_CONFIG_NAME_MAX)
    return false;
  for (size_t i = 0; i < table->row_count; i++) {
    char section[KVI_CONFIG_NAME_MAX];

    copy_words(table->rows[i].name, count_dots(name), section);
    consider(name, section, &best, near);
    consider(name, table->rows[i].name, &best, near); /* outside files the words have no dots between them */
  }
  for (size_t i = 0; i < table->row_count && near[0] == '\0'; i++)
    if (ends_in(table->rows[i].name, name))
      memcpy(near, table->rows[i].name, strlen(table->rows[i].name) + 1);
  return near[0] != '\0';
}

/* --- values --- */

void *kvi_config_keep(kvi_config *config, const void *bytes, size_t length)
{
  kvi_config_kept *kept;

  if (length > KVI_CONFIG_TEXT_MAX - config->kept_bytes)
    return NULL;
  kept = malloc(sizeof *kept + length + 1);
  if (kept == NULL)
    return NULL;
  if (length > 0)
    memcpy(kept->bytes, bytes, length);
  kept->bytes[length] = '\0';
  kept->next = config->kept;
  config->kept = kept;
  config->kept_bytes += length;
  return kept->bytes;
}

static bool parse_bool(const char *text, bool *flag_p)
{
  static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(words); i++) {
    if (strcasecmp(text, words[i]) == 0) {
      *flag_p = i % 2 == 1;
      return true;
    }
  }
  return false;
}

/*
 * Whether a dump of the text can be loaded again: UTF-8 without control characters (C0, DEL, C1), byte order
 * marks and the two noncharacters that YAML leaves out.
 */
static bool is_printable(const char *text)
{
  size_t left = strlen(text);

  while (left > 0) {
    const unsigned char *at = (const unsigned char *)text;
    size_t width = kvi_utf8_length(text, left);

    if (width == 0 || at[0] < 0x20 || at[0] == 0x7F || (at[0] == 0xC2 && at[1] < 0xA0) ||
        (at[0] == 0xEF && at[1] == 0xBB && at[2] == 0xBF) ||
        (at[0] == 0xEF && at[1] == 0xBF && at[2] >= 0xBE))
      return false;
    text += width;
    left -= width;
  }
  return true;
}

const char *kvi_config_format_bound(const kvi_config_row *row, int64_t bound, char dst[KVI_FORMAT_MAX])
{
  if (row->type == KVI_CONFIG_SIZE)
    return kvi_format_size((uint64_t)bound, dst);
  if (row->type == KVI_CONFIG_DURATION)
    return kvi_format_duration((uint64_t)bound, dst);
  snprintf(dst, KVI_FORMAT_MAX, "%" PRId64, bound);
  return dst;
}

static kvs_status check_bounds(kvi_config *config, const kvi_config_row *row, int64_t value,
                               const char *of_what, const kvi_config_place *place)
{
  char bound[KVI_FORMAT_MAX];
  int64_t min, max;

  kvi_config_bounds(row, &min, &max);
  if (value < min)
    return kvi_config_fail(config, place, row->name, "%s below the least allowed, %s", of_what,
                           kvi_config_format_bound(row, min, bound));
  if (value > max)
    return kvi_config_fail(config, place, row->name, "%s above the most allowed, %s", of_what,
                           kvi_config_format_bound(row, max, bound));
  return KVS_OK;
}

static kvs_status fail_type(kvi_config *config, const kvi_config_row *row, const char *text,
                            const kvi_config_place *place)
{
  static const char *const wanted[] = {
      "true or false",
      "a whole number",
      "a size such as 64KiB or 2GiB",
      "a duration such as 250ms or 10s",
      "text",
      "a word",
      "a list",
  };

  if (row->secret)
    return kvi_config_fail(config, place, row->name, "expected %s", wanted[row->type]);
  return kvi_config_fail(config, place, row->name, "expected %s, found \"%.64s\"", wanted[row->type], text);
}

static kvs_status parse_enum(kvi_config *config, const kvi_config_row *row, const char *text,
                             const kvi_config_place *place, config_value *value)
{
  char words[256] = "";
  size_t length = 0;

  for (int i = 0; row->choices[i] != NULL; i++) {
    if (strcmp(row->choices[i], text) == 0) {
      value->choice = i;
      return KVS_OK;
    }
    if (length < sizeof words)
      length +=
          (size_t)snprintf(words + length, sizeof words - length, "%s%s", i > 0 ? ", " : "", row->choices[i]);
  }
  return kvi_config_fail(config, place, row->name, "expected one of %s, found \"%.64s\"", words, text);
}

static kvs_status parse_scalar(kvi_config *config, const kvi_config_row *row, const char *text,
                               const kvi_config_place *place, config_value *value)
{
  bool parsed = true;
  int64_t measure = 0;

  switch (row->type) {
  case KVI_CONFIG_BOOL:
    return parse_bool(text, &value->flag) ? KVS_OK : fail_type(config, row, text, place);
  case KVI_CONFIG_ENUM:
    return parse_enum(config, row, text, place, value);
  case KVI_CONFIG_STRING:
    value->string = text;
    return check_bounds(config, row, (int64_t)strlen(text), "its length is", place);
  case KVI_CONFIG_INT:
    parsed = kvi_parse_int(text, &value->integer) == KVS_OK;
    measure = value->integer;
    break;
  case KVI_CONFIG_SIZE:
    parsed = kvi_parse_size(text, &value->quantity) == KVS_OK;
    measure = (int64_t)value->quantity; /* the parsers give less than 2^63 */
    break;
  case KVI_CONFIG_DURATION:
    parsed = kvi_parse_duration(text, &value->quantity) == KVS_OK;
    measure = (int64_t)value->quantity;
    break;
  case KVI_CONFIG_LIST:
    break; /* lists do not come here */
  }
  if (!parsed)
    return fail_type(config, row, text, place);
  return check_bounds(config, row, measure, "is", place);
}

static kvs_status check_items(kvi_config *config, const kvi_config_row *row, const char *const *items,
                              size_t count, const kvi_config_place *place)
{
  for (size_t i = 0; i < count; i++) {
    if (strlen(items[i]) > KVI_CONFIG_VALUE_MAX)
      return kvi_config_fail(config, place, row->name, "longer than %u bytes", KVI_CONFIG_VALUE_MAX);
    if (!is_printable(items[i]))
      return kvi_config_fail(config, place, row->name, "holds a control character or is not UTF-8");
  }
  if (count > KVI_CONFIG_ITEMS_MAX)
    return kvi_config_fail(config, place, row->name, "more than %u items", KVI_CONFIG_ITEMS_MAX);
  return KVS_OK;
}

/* Strings of "value" are the caller's so far; they are copied here. */
static kvs_status store(kvi_config *config, const kvi_config_row *row, config_value *value)
{
  if (row->type == KVI_CONFIG_STRING) {
    value->string = kvi_config_keep(config, value->string, strlen(value->string));
    if (value->string == NULL)
      return KVS_ERR_NOMEM;
  } else if (row->type == KVI_CONFIG_LIST && value->list.count > 0) {
    const char **items =
        kvi_config_keep(config, value->list.items, value->list.count * sizeof *value->list.items);

    if (items == NULL)
      return KVS_ERR_NOMEM;
    for (size_t i = 0; i < value->list.count; i++) {
      items[i] = kvi_config_keep(config, items[i], strlen(items[i]));
      if (items[i] == NULL)
        return KVS_ERR_NOMEM;
    }
    value->list.items = items;
  }
  memcpy((char *)config->values + row->offset, value, value_size(row->type));
  return KVS_OK;
}

kvs_status kvi_config_assign(kvi_config *config, size_t index, const char *const *items, size_t count,
                             const kvi_config_place *place)
{
  const kvi_config_row *row = &config->table->rows[index];
  config_value value = {0};
  kvs_status status = check_items(config, row, items, count, place);

  if (status != KVS_OK)
    return status;
  if (row->type == KVI_CONFIG_LIST) {
    value.list = (kvi_config_list){items, count};
    status = check_bounds(config, row, (int64_t)count, "its number of items is", place);
  } else {
    status = parse_scalar(config, row, items[0], place, &value);
  }
  if (status != KVS_OK)
    return status;
  if (place->source < config->places[index].source)
    return KVS_OK; /* checked all the same: a wrong value is wrong even where it is overruled */
  status = store(config, row, &value);
  if (status == KVS_OK)
    config->places[index] = *place;
  else
    kvi_config_fail(config, place, row->name, "no memory to keep it");
  return status;
}

/* --- life --- */

static bool name_is_valid(const char *name)
{
  bool word = false;

  if (name == NULL || strlen(name) >= KVI_CONFIG_NAME_MAX)
    return false;
  for (; *name != '\0'; name++) {
    bool letter = (*name >= 'a' && *name <= 'z') || (*name >= '0' && *name <= '9') || *name == '_';

    if (!letter && (*name != '.' || !word))
      return false;
    word = letter;
  }
  return word;
}

/* The options every program has, which no row may shadow. */
static bool name_is_reserved(const char *name)
{
  static const char *const reserved[] = {"config",       "help",        "version",
                                         "check_config", "dump_config", "print_docs"};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(reserved); i++)
    if (equal_loosely(name, reserved[i], strlen(reserved[i])))
      return true;
  return strncmp(name, "no_", 3) == 0 || strncmp(name, "no.", 3) == 0;
}

static const char *find_fault(const kvi_config_table *table, size_t index)
{
  const kvi_config_row *row = &table->rows[index];

  if (!name_is_valid(row->name))
    return "its name is not of [a-z0-9_] words with dots between them";
  if (name_is_reserved(row->name))
    return "its name is reserved";
  if (kvi_config_find_loosely(table, row->name, strlen(row->name)) != index)
    return "its name is there twice";
  if (row->doc == NULL || row->doc[0] == '\0')
    return "it has no doc";
  if (row->type == KVI_CONFIG_ENUM && (row->choices == NULL || row->choices[0] == NULL))
    return "it has no choices";
  if (row->min > row->max || (row->min < 0 && row->type != KVI_CONFIG_INT))
    return "its bounds are wrong";
  if (row->offset > table->struct_size || value_size(row->type) > table->struct_size - row->offset)
    return "its field is outside the struct";
  return NULL;
}

static kvs_status check_table(const kvi_config_table *table)
{
  if (table->row_count == 0 || table->row_count > KVI_CONFIG_ROWS_MAX)
    return KVS_ERR_INVALID;
  for (size_t i = 0; i < table->row_count; i++) {
    const char *fault = find_fault(table, i);

    if (fault != NULL) {
      kvi_log_error("config table of %s, row %zu: %s", table->program, i, fault);
      return KVS_ERR_INVALID;
    }
  }
  return KVS_OK;
}

/* Splits at commas, blanks around items left out; "" has no items. "text" is changed. Returns the count, at
 * most "most" + 1. */
static size_t split_list(char *text, const char **items, size_t most)
{
  size_t count = 0;

  if (text[strspn(text, " ")] == '\0')
    return 0;
  for (char *at = text; at != NULL && count <= most;) {
    char *comma = strchr(at, ',');

    if (comma != NULL)
      *comma = '\0';
    at += strspn(at, " ");
    size_t length = strlen(at);
    while (length > 0 && at[length - 1] == ' ')
      at[--length] = '\0';
    items[count++] = at;
    at = comma != NULL ? comma + 1 : NULL;
  }
  return count;
}

kvs_status kvi_config_assign_text(kvi_config *config, size_t index, const char *text,
                                  const kvi_config_place *place)
{
  const kvi_config_row *row = &config->table->rows[index];
  kvs_status status = KVS_ERR_NOMEM;
  const char **items = NULL;
  char *copy = NULL;

  if (row->type != KVI_CONFIG_LIST)
    return kvi_config_assign(config, index, &text, 1, place);
  copy = strdup(text);
  items = malloc((KVI_CONFIG_ITEMS_MAX + 1) * sizeof *items);
  if (copy != NULL && items != NULL)
    status = kvi_config_assign(config, index, items, split_list(copy, items, KVI_CONFIG_ITEMS_MAX), place);
  free(items);
  free(copy);
  return status;
}

static kvs_status apply_defaults(kvi_config *config)
{
  const kvi_config_place place = {.source = KVI_CONFIG_FROM_DEFAULT, .label = "default"};

  for (size_t i = 0; i < config->table->row_count; i++) {
    const char *standard = config->table->rows[i].standard;
    kvs_status status = kvi_config_assign_text(config, i, standard != NULL ? standard : "", &place);

    if (status == KVS_ERR_CONFIG) {
      kvi_log_error("config table of %s: %s", config->table->program, config->error);
      return KVS_ERR_INVALID;
    }
    if (status != KVS_OK)
      return status;
  }
  return KVS_OK;
}

kvs_status kvi_config_create(const kvi_config_table *table, kvi_config **config_p)
{
  kvi_config *config;
  kvs_status status;

  *config_p = NULL;
  status = check_table(table);
  if (status != KVS_OK)
    return status;
  config = calloc(1, sizeof *config);
  if (config == NULL)
    return KVS_ERR_NOMEM;
  config->table = table;
  config->values = calloc(1, table->struct_size);
  config->places = calloc(table->row_count, sizeof *config->places);
  status = config->values != NULL && config->places != NULL ? apply_defaults(config) : KVS_ERR_NOMEM;
  if (status != KVS_OK) {
    kvi_config_free(config);
    return status;
  }
  *config_p = config;
  return KVS_OK;
}

void kvi_config_free(kvi_config *config)
{
  if (config == NULL)
    return;
  while (config->kept != NULL) {
    kvi_config_kept *next = config->kept->next;

    free(config->kept);
    config->kept = next;
  }
  free(config->places);
  free(config->values);
  free(config);
}

const void *kvi_config_values(const kvi_config *config)
{
  return config->values;
}

const char *kvi_config_error(const kvi_config *config)
{
  return config->error;
}

kvi_config_source kvi_config_source_of(const kvi_config *config, const char *name)
{
  size_t row = kvi_config_find(config->table, name);

  return row < config->table->row_count ? config->places[row].source : KVI_CONFIG_FROM_DEFAULT;
}

kvs_status kvi_config_set(kvi_config *config, const char *name, const char *text)
{
  const kvi_config_place place = {.source = KVI_CONFIG_FROM_RUNTIME, .label = "run time"};
  size_t row = kvi_config_find(config->table, name);

  if (row == config->table->row_count)
    return kvi_config_fail_unknown(config, &place, name, "setting");
  if (!config->table->rows[row].mutable)
    return kvi_config_fail(config, &place, name, "cannot be changed while the program runs");
  return kvi_config_assign_text(config, row, text, &place);
}
