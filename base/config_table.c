/* The table of a config: its rows by name, the name that was meant, and what can be wrong with a row. */
#include <ctype.h>
#include <string.h>

#include "base/array.h"
#include "base/config_private.h"
#include "base/log.h"

const kvi_config_row *kvi_config_row_at(const kvi_config_table *table, size_t index)
{
  for (size_t i = 0; i < KVI_CONFIG_PARTS_MAX && table->parts[i] != NULL; i++) {
    if (index < table->parts[i]->count)
      return &table->parts[i]->rows[index];
    index -= table->parts[i]->count;
  }
  return NULL;
}

size_t kvi_config_row_count(const kvi_config_table *table)
{
  size_t count = 0;

  for (size_t i = 0; i < KVI_CONFIG_PARTS_MAX && table->parts[i] != NULL; i++)
    count += table->parts[i]->count;
  return count;
}

size_t kvi_config_find(const kvi_config_table *table, const char *name)
{
  const kvi_config_row *row;
  size_t index = 0;

  while ((row = kvi_config_row_at(table, index)) != NULL && strcmp(row->name, name) != 0)
    index++;
  return index;
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
  const kvi_config_row *row;
  size_t index = 0;

  while ((row = kvi_config_row_at(table, index)) != NULL && !equal_loosely(row->name, name, length))
    index++;
  return index;
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
  const kvi_config_row *row;

  near[0] = '\0';
  if (length == 0 || length >= KVI_CONFIG_NAME_MAX)
    return false;
  for (size_t i = 0; (row = kvi_config_row_at(table, i)) != NULL; i++) {
    char section[KVI_CONFIG_NAME_MAX];

    copy_words(row->name, count_dots(name), section);
    consider(name, section, &best, near);
    consider(name, row->name, &best, near); /* outside files the words have no dots between them */
  }
  for (size_t i = 0; near[0] == '\0' && (row = kvi_config_row_at(table, i)) != NULL; i++)
    if (ends_in(row->name, name))
      memcpy(near, row->name, strlen(row->name) + 1);
  return near[0] != '\0';
}

/* --- checks --- */

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
  const kvi_config_row *row = kvi_config_row_at(table, index);

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
  if (row->offset > table->struct_size || kvi_config_value_size(row->type) > table->struct_size - row->offset)
    return "its field is outside the struct";
  return NULL;
}

kvs_status kvi_config_table_check(const kvi_config_table *table)
{
  size_t count = kvi_config_row_count(table);

  if (count == 0 || count > KVI_CONFIG_ROWS_MAX)
    return KVS_ERR_INVALID;
  for (size_t i = 0; i < count; i++) {
    const char *fault = find_fault(table, i);

    if (fault != NULL) {
      kvi_log_error("config table of %s, row %zu: %s", table->program, i, fault);
      return KVS_ERR_INVALID;
    }
  }
  return KVS_OK;
}
