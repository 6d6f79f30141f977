/* What is printed: effective values, and the pages made of the table. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/config_private.h"
#include "base/text.h"

#define HELP_WIDTH 80u

static const void *value_at(const kvi_config *config, const kvi_config_row *row)
{
  return (const char *)config->values + row->offset;
}

/* --- effective values --- */

static void add_list(kvi_strbuf *out, const kvi_config_list *list)
{
  kvi_strbuf_add(out, "[");
  for (size_t i = 0; i < list->count; i++) {
    kvi_strbuf_add(out, i > 0 ? ", " : "");
    kvi_strbuf_add_json(out, list->items[i]);
  }
  kvi_strbuf_add(out, "]");
}

/* In YAML with units, or in JSON with plain numbers. */
static void add_value(kvi_strbuf *out, const kvi_config *config, const kvi_config_row *row, bool json)
{
  const void *value = value_at(config, row);
  char text[KVI_FORMAT_MAX];

  switch (row->type) {
  case KVI_CONFIG_BOOL:
    kvi_strbuf_add(out, *(const bool *)value ? "true" : "false");
    break;
  case KVI_CONFIG_INT:
    kvi_strbuf_addf(out, "%" PRId64, *(const int64_t *)value);
    break;
  case KVI_CONFIG_SIZE:
  case KVI_CONFIG_DURATION:
    if (json)
      kvi_strbuf_addf(out, "%" PRIu64, *(const uint64_t *)value);
    else
      kvi_strbuf_add(out, row->type == KVI_CONFIG_SIZE ? kvi_format_size(*(const uint64_t *)value, text)
                                                       : kvi_format_duration(*(const uint64_t *)value, text));
    break;
  case KVI_CONFIG_STRING:
    kvi_strbuf_add_json(out, *(const char *const *)value);
    break;
  case KVI_CONFIG_ENUM:
    kvi_strbuf_add_json(out, row->choices[*(const int *)value]);
    break;
  case KVI_CONFIG_LIST:
    add_list(out, value);
    break;
  }
}

void kvi_config_dump_text(const kvi_config *config, kvi_strbuf *out)
{
  const kvi_config_row *row;

  for (size_t i = 0; (row = kvi_config_row_at(config->table, i)) != NULL; i++) {
    const kvi_config_place *place = &config->places[i];

    /* a hidden value must not be loaded again in place of the true one: its line is a comment */
    kvi_strbuf_addf(out, "%s%s: ", row->secret ? "# " : "", row->name);
    if (row->secret)
      kvi_strbuf_add(out, "(secret)");
    else
      add_value(out, config, row, false);
    if (place->line > 0)
      kvi_strbuf_addf(out, " # %s:%zu\n", place->label, place->line);
    else
      kvi_strbuf_addf(out, " # %s\n", place->label);
  }
}

void kvi_config_dump_json(const kvi_config *config, kvi_strbuf *out)
{
  const kvi_config_row *row;

  kvi_strbuf_add(out, "{");
  for (size_t i = 0; (row = kvi_config_row_at(config->table, i)) != NULL; i++) {
    const kvi_config_place *place = &config->places[i];

    kvi_strbuf_add(out, i > 0 ? ",\n" : "\n");
    kvi_strbuf_add_json(out, row->name);
    kvi_strbuf_add(out, ": {\"value\": ");
    if (row->secret)
      kvi_strbuf_add(out, "null, \"secret\": true");
    else
      add_value(out, config, row, true);
    kvi_strbuf_add(out, ", \"source\": ");
    kvi_strbuf_add_json(out, place->label);
    if (place->line > 0)
      kvi_strbuf_addf(out, ", \"line\": %zu", place->line);
    kvi_strbuf_add(out, "}");
  }
  kvi_strbuf_add(out, "\n}\n");
}

/* --- pages --- */

static void add_option(kvi_strbuf *out, const kvi_config_row *row)
{
  static const char *const operands[] = {"[=true|false]", "=N",    "=SIZE",   "=DURATION",
                                         "=TEXT",         "=WORD", "=A,B,..."};

  kvi_strbuf_add(out, "--");
  for (const char *at = row->name; *at != '\0'; at++)
    kvi_strbuf_addf(out, "%c", *at == '.' || *at == '_' ? '-' : *at);
  kvi_strbuf_add(out, operands[row->type]);
}

static void add_variable(kvi_strbuf *out, const kvi_config_row *row)
{
  kvi_strbuf_add(out, "KVASIR_");
  for (const char *at = row->name; *at != '\0'; at++)
    kvi_strbuf_addf(out, "%c", *at == '.' ? '_' : toupper((unsigned char)*at));
}

static void add_bounds(kvi_strbuf *out, const kvi_config_row *row)
{
  char least[KVI_FORMAT_MAX], most[KVI_FORMAT_MAX];

  if (row->min == 0 && row->max == 0)
    return;
  kvi_config_format_bound(row, row->min, least);
  kvi_config_format_bound(row, row->max, most);
  if (row->type == KVI_CONFIG_STRING)
    kvi_strbuf_addf(out, ", %s to %s bytes long", least, most);
  else if (row->type == KVI_CONFIG_LIST)
    kvi_strbuf_addf(out, ", %s to %s items", least, most);
  else if (row->max == INT64_MAX)
    kvi_strbuf_addf(out, ", at least %s", least);
  else
    kvi_strbuf_addf(out, ", %s to %s", least, most);
}

/* "size, 1MiB to 4TiB; default 1GiB; may change while the program runs": one line, no full stop. */
static void add_facts(kvi_strbuf *out, const kvi_config_row *row)
{
  bool none = row->standard == NULL || row->standard[0] == '\0';

  kvi_strbuf_add(out, kvi_config_type_name(row->type));
  if (row->type == KVI_CONFIG_ENUM)
    for (size_t i = 0; row->choices[i] != NULL; i++)
      kvi_strbuf_addf(out, "%s%s", i == 0 ? ": " : ", ", row->choices[i]);
  if (row->type != KVI_CONFIG_BOOL && row->type != KVI_CONFIG_ENUM)
    add_bounds(out, row);
  if (row->unit != NULL)
    kvi_strbuf_addf(out, " (%s)", row->unit);
  kvi_strbuf_addf(out, "; default %s", none ? "empty" : row->standard);
  if (row->mutable)
    kvi_strbuf_add(out, "; may change while the program runs");
  if (row->secret)
    kvi_strbuf_add(out, "; never printed");
}

/* Words filled into lines of HELP_WIDTH behind an indent. */
static void add_wrapped(kvi_strbuf *out, const char *text, size_t indent)
{
  size_t column = 0;

  while (*text != '\0') {
    size_t word = strcspn(text, " \n");

    if (column > 0 && column + 1 + word > HELP_WIDTH) {
      kvi_strbuf_add(out, "\n");
      column = 0;
    }
    if (column == 0) {
      kvi_strbuf_addf(out, "%*s", (int)indent, "");
      column = indent;
    } else {
      kvi_strbuf_add(out, " ");
      column++;
    }
    kvi_strbuf_add_bytes(out, text, word);
    column += word;
    text += word;
    text += strspn(text, " \n");
  }
  kvi_strbuf_add(out, "\n");
}

static const char *const common_options[][2] = {
    {"--config=FILE", "Read settings from this YAML file (else from the one named by KVASIR_CONFIG)."},
    {"--check-config", "Load the settings, say whether they are accepted, and end."},
    {"--dump-config[=text|json]", "Print every setting in force and where it comes from, and end."},
    {"--print-docs=markdown|man", "Print the reference of all settings, and end."},
    {"--version", "Print the version, and end."},
    {"-h, --help", "Print this text, and end."},
};
#define COMMON_COUNT (sizeof common_options / sizeof common_options[0])

static const char *const precedence =
    "Every setting has one name in the file, the environment and on the command line. The command line wins "
    "over the "
    "environment, the environment over the file, the file over the default.";

void kvi_config_help(const kvi_config_table *table, kvi_strbuf *out)
{
  const kvi_config_row *row;

  kvi_strbuf_addf(out, "%s: %s\n\nusage: %s [--config=FILE] [--SETTING=VALUE ...]\n\n", table->program,
                  table->summary, table->program);
  for (size_t i = 0; i < COMMON_COUNT; i++) {
    kvi_strbuf_addf(out, "  %s\n", common_options[i][0]);
    add_wrapped(out, common_options[i][1], 6);
  }
  kvi_strbuf_add(out, "\n");
  add_wrapped(out, precedence, 0);
  for (size_t i = 0; (row = kvi_config_row_at(table, i)) != NULL; i++) {
    kvi_strbuf facts;

    kvi_strbuf_add(out, "\n  ");
    add_option(out, row);
    kvi_strbuf_add(out, "\n");
    add_wrapped(out, row->doc, 6);
    kvi_strbuf_init(&facts, out->limit);
    kvi_strbuf_add(&facts, "(");
    add_facts(&facts, row);
    kvi_strbuf_add(&facts, ")");
    add_wrapped(out, kvi_strbuf_text(&facts), 6);
    kvi_strbuf_free(&facts);
  }
}

/* The section of a name: all before its first dot; empty if it has none. */
static size_t section_length(const char *name)
{
  size_t length = strcspn(name, ".");

  return name[length] == '.' ? length : 0;
}

static bool same_section(const kvi_config_row *a, const kvi_config_row *b)
{
  size_t length = section_length(a->name);

  return length == section_length(b->name) && strncmp(a->name, b->name, length) == 0;
}

void kvi_config_markdown(const kvi_config_table *table, kvi_strbuf *out)
{
  const kvi_config_row *row, *before = NULL;

  kvi_strbuf_addf(out, "# Settings of %s\n\n", table->program);
  add_wrapped(out, precedence, 0);
  kvi_strbuf_addf(out, "\nThis page is printed by `%s --print-docs=markdown`.\n", table->program);
  for (size_t i = 0; (row = kvi_config_row_at(table, i)) != NULL; i++, before = row) {
    if (before == NULL || !same_section(row, before)) {
      int length = (int)section_length(row->name);

      kvi_strbuf_addf(out, "\n## %.*s\n", length > 0 ? length : 7, length > 0 ? row->name : "general");
    }
    kvi_strbuf_addf(out, "\n### `%s`\n\n", row->name);
    add_wrapped(out, row->doc, 0);
    kvi_strbuf_add(out, "\n");
    add_facts(out, row);
    kvi_strbuf_add(out, "\n\nCommand line `");
    add_option(out, row);
    kvi_strbuf_add(out, "`, environment `");
    add_variable(out, row);
    kvi_strbuf_add(out, "`.\n");
  }
}

/* Text for man(7): backslashes and hyphens escaped, backquotes left out, nothing taken for a request. */
static void add_roff(kvi_strbuf *out, const char *text)
{
  kvi_strbuf_add(out, "\\&");
  for (; *text != '\0'; text++) {
    if (*text == '\\')
      kvi_strbuf_add(out, "\\e");
    else if (*text == '-')
      kvi_strbuf_add(out, "\\-");
    else if (*text == '\n')
      kvi_strbuf_add(out, " ");
    else if (*text != '`')
      kvi_strbuf_add_bytes(out, text, 1);
  }
}

void kvi_config_man(const kvi_config_table *table, kvi_strbuf *out)
{
  const kvi_config_row *row;

  kvi_strbuf_add(out, ".SH OPTIONS\n");
  add_roff(out, precedence);
  kvi_strbuf_add(out, "\n");
  for (size_t i = 0; i < COMMON_COUNT; i++) {
    kvi_strbuf_add(out, ".TP\n\\fB");
    add_roff(out, common_options[i][0]);
    kvi_strbuf_add(out, "\\fR\n");
    add_roff(out, common_options[i][1]);
    kvi_strbuf_add(out, "\n");
  }
  for (size_t i = 0; (row = kvi_config_row_at(table, i)) != NULL; i++) {
    kvi_strbuf line;

    kvi_strbuf_init(&line, out->limit);
    add_option(&line, row);
    kvi_strbuf_add(out, ".TP\n\\fB");
    add_roff(out, kvi_strbuf_text(&line));
    kvi_strbuf_add(out, "\\fR\n");
    add_roff(out, row->doc);
    kvi_strbuf_free(&line);

    kvi_strbuf_init(&line, out->limit);
    add_facts(&line, row);
    kvi_strbuf_add(out, "\n.br\n(");
    add_roff(out, kvi_strbuf_text(&line));
    kvi_strbuf_add(out, "; file: ");
    add_roff(out, row->name);
    kvi_strbuf_add(out, "; environment: ");
    add_variable(out, row);
    kvi_strbuf_add(out, ")\n");
    kvi_strbuf_free(&line);
  }
}

void kvi_config_print(const kvi_config *config, kvi_config_action action, kvi_strbuf *out)
{
  const kvi_config_table *table = config->table;

  switch (action) {
  case KVI_CONFIG_RUN:
  case KVI_CONFIG_CHECK:
    break;
  case KVI_CONFIG_HELP:
    kvi_config_help(table, out);
    break;
  case KVI_CONFIG_VERSION:
    kvi_strbuf_addf(out, "%s %s\n", table->program, table->version);
    break;
  case KVI_CONFIG_DUMP:
    kvi_config_dump_text(config, out);
    break;
  case KVI_CONFIG_DUMP_JSON:
    kvi_config_dump_json(config, out);
    break;
  case KVI_CONFIG_MARKDOWN:
    kvi_config_markdown(table, out);
    break;
  case KVI_CONFIG_MAN:
    kvi_config_man(table, out);
    break;
  }
}
