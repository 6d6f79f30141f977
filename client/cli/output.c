/* client/cli/output.c: tables, JSON and progress. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/cli/cli.h"

#define COLUMNS_MAX 16

struct cli_table {
  size_t n_columns, n_cells, room;
  bool to_the_right[COLUMNS_MAX];
  char **cells; /* rows one after the other, the headings first */
};

struct cli_table *cli_table_new(size_t n_columns, const char *const *headings, const bool *to_the_right)
{
  struct cli_table *table = calloc(1, sizeof(*table));

  if (table == NULL || n_columns > COLUMNS_MAX) {
    free(table);
    return NULL;
  }
  table->n_columns = n_columns;
  memcpy(table->to_the_right, to_the_right, n_columns * sizeof(*to_the_right));
  cli_table_row(table, headings);
  return table;
}

/* A copy without control characters (C0, DEL, and C1 as UTF-8): names are others' choice, the terminal is not theirs. */
char *cli_printable(const char *text)
{
  unsigned char *copy = (unsigned char *)strdup(text);

  for (unsigned char *at = copy; at != NULL && *at != '\0'; at++) {
    if (*at < 0x20 || *at == 0x7f)
      *at = '?';
    else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
      at[0] = at[1] = '?';
  }
  return (char *)copy;
}

void cli_table_row(struct cli_table *table, const char *const *cells)
{
  if (table == NULL)
    return;
  if (table->n_cells + table->n_columns > table->room) {
    size_t room = table->room == 0 ? 32 * table->n_columns : 2 * table->room;
    char **grown = realloc(table->cells, room * sizeof(*grown));

    if (grown == NULL)
      return;
    table->cells = grown;
    table->room = room;
  }
  for (size_t i = 0; i < table->n_columns; i++)
    table->cells[table->n_cells++] = cli_printable(cells[i]);
}

static const char *cell(const struct cli_table *table, size_t i)
{
  return table->cells[i] != NULL ? table->cells[i] : "";
}

/* One row, from its first cell on, without blanks at its end. */
static void print_row(const struct cli_table *table, size_t first, const size_t *widths, FILE *out)
{
  size_t blanks = 0;

  for (size_t column = 0; column < table->n_columns; column++) {
    const char *text = cell(table, first + column);
    size_t padding = widths[column] - strlen(text);

    if (table->to_the_right[column])
      blanks += padding;
    if (text[0] != '\0') {
      fprintf(out, "%*s%s", (int)blanks, "", text);
      blanks = 0;
    }
    blanks += (table->to_the_right[column] ? 0 : padding) + 2;
  }
  fputc('\n', out);
}

void cli_table_print(struct cli_table *table, FILE *out)
{
  size_t widths[COLUMNS_MAX] = {0};

  if (table == NULL)
    return;
  for (size_t i = 0; i < table->n_cells; i++) {
    size_t length = strlen(cell(table, i));

    if (length > widths[i % table->n_columns])
      widths[i % table->n_columns] = length;
  }
  for (size_t row = 0; row < table->n_cells; row += table->n_columns)
    print_row(table, row, widths, out);
  for (size_t i = 0; i < table->n_cells; i++)
    free(table->cells[i]);
  free(table->cells);
  free(table);
}

void cli_print_json(const char *json)
{
  cJSON *document = isatty(STDOUT_FILENO) ? cJSON_Parse(json) : NULL;
  char *indented = document != NULL ? cJSON_Print(document) : NULL;

  puts(indented != NULL ? indented : json);
  cJSON_free(indented);
  cJSON_Delete(document);
}

const char *cli_json_text(const cJSON *object, const char *name)
{
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

  return text != NULL ? text : "";
}

double cli_json_number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

char *cli_size_text(double bytes, char text[CLI_SIZE_TEXT])
{
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;

  while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
    bytes /= 1024;
    unit++;
  }
  snprintf(text, CLI_SIZE_TEXT, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

char *cli_time_text(double seconds, char text[CLI_SIZE_TEXT])
{
  if (seconds < 1e-3)
    snprintf(text, CLI_SIZE_TEXT, "%.1f us", seconds * 1e6);
  else if (seconds < 1)
    snprintf(text, CLI_SIZE_TEXT, "%.2f ms", seconds * 1e3);
  else if (seconds < 120)
    snprintf(text, CLI_SIZE_TEXT, "%.1f s", seconds);
  else if (seconds < 7200)
    snprintf(text, CLI_SIZE_TEXT, "%.0f min", seconds / 60);
  else
    snprintf(text, CLI_SIZE_TEXT, "%.1f h", seconds / 3600);
  return text;
}

void cli_progress_start(struct cli_progress *progress, const char *what, uint64_t total)
{
  *progress = (struct cli_progress){.what = what, .total = total, .started_ns = kvi_now_ns()};
}

void cli_progress_at(struct cli_progress *progress, uint64_t done)
{
  enum { WIDTH = 30 };
  uint64_t now = kvi_now_ns();
  char bar[WIDTH + 1], done_text[CLI_SIZE_TEXT], speed_text[CLI_SIZE_TEXT];
  double part;

  if (!isatty(STDERR_FILENO) || now - progress->started_ns < 300 * KVI_NS_PER_MS ||
      now - progress->shown_ns < 100 * KVI_NS_PER_MS)
    return;
  part = progress->total > 0 ? (double)done / (double)progress->total : 0;
  for (int i = 0; i < WIDTH; i++)
    bar[i] = (double)i < part * WIDTH ? '#' : '.';
  bar[WIDTH] = '\0';
  fprintf(stderr, "\r\033[K%s ", progress->what);
  if (progress->total > 0)
    fprintf(stderr, "[%s] %3.0f%% ", bar, part * 100);
  if (progress->unit != NULL)
    fprintf(stderr, "%" PRIu64 " %s, %.0f/s", done, progress->unit,
            (double)done * 1e9 / (double)(now - progress->started_ns));
  else
    fprintf(stderr, "%s, %s/s", cli_size_text((double)done, done_text),
            cli_size_text((double)done * 1e9 / (double)(now - progress->started_ns), speed_text));
  progress->shown = true;
  progress->shown_ns = now;
}

void cli_progress_end(struct cli_progress *progress)
{
  if (progress->shown)
    fputs("\r\033[K", stderr);
}
