/* The values of a config: from text into the program's struct, and what may stand in them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/config_private.h"
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

size_t kvi_config_value_size(kvi_config_type type)
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
      items[i] = kvi_config_keep(config, value->list.items[i], strlen(value->list.items[i]));
      if (items[i] == NULL)
        return KVS_ERR_NOMEM;
    }
    value->list.items = items;
  }
  memcpy((char *)config->values + row->offset, value, kvi_config_value_size(row->type));
  return KVS_OK;
}

/* What was checked, unless it is overruled. */
static kvs_status take(kvi_config *config, size_t index, config_value *value, const kvi_config_place *place)
{
  const kvi_config_row *row = kvi_config_row_at(config->table, index);
  kvs_status status;

  if (place->source < config->places[index].source)
    return KVS_OK; /* checked all the same: a wrong value is wrong even where it is overruled */
  status = store(config, row, value);
  if (status == KVS_OK)
    config->places[index] = *place;
  else
    kvi_config_fail(config, place, row->name, "no memory to keep it");
  return status;
}

static kvs_status assign_list(kvi_config *config, size_t index, const char *const *items, size_t count,
                              const kvi_config_place *place)
{
  const kvi_config_row *row = kvi_config_row_at(config->table, index);
  config_value value = {.list = {items, count}};
  kvs_status status = check_items(config, row, items, count, place);

  if (status == KVS_OK)
    status = check_bounds(config, row, (int64_t)count, "its number of items is", place);
  return status == KVS_OK ? take(config, index, &value, place) : status;
}

kvs_status kvi_config_assign(kvi_config *config, size_t index, const char *const *items, size_t count,
                             const kvi_config_place *place)
{
  const kvi_config_row *row = kvi_config_row_at(config->table, index);
  config_value value = {0};
  kvs_status status;

  if (row->type == KVI_CONFIG_LIST)
    return assign_list(config, index, items, count, place);
  status = check_items(config, row, items, count, place);
  if (status == KVS_OK)
    status = parse_scalar(config, row, items[0], place, &value);
  return status == KVS_OK ? take(config, index, &value, place) : status;
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
  const kvi_config_row *row = kvi_config_row_at(config->table, index);
  kvs_status status = KVS_ERR_NOMEM;
  const char **items = NULL;
  char *copy = NULL;

  if (row->type != KVI_CONFIG_LIST)
    return kvi_config_assign(config, index, &text, 1, place);
  copy = strdup(text);
  items = malloc((KVI_CONFIG_ITEMS_MAX + 1) * sizeof *items);
  if (copy != NULL && items != NULL)
    status = assign_list(config, index, items, split_list(copy, items, KVI_CONFIG_ITEMS_MAX), place);
  free(items);
  free(copy);
  return status;
}
