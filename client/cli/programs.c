/* client/cli/programs.c: kvasirctl programs, pins and price: who waits, what that is worth, and what memory costs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "client/cli/cli.h"

#define PAGE    1000u
#define KEY_WAY 12 /* digits of a key */

/* ---- the document ---- */

/* All pages as one, the programs of later ones moved to the first. CLI_OK or an exit code (told). */
static int programs_get(struct cli *cli, cJSON **document_p)
{
  cJSON *all = NULL, *page;
  uint64_t cursor = 0;

  *document_p = NULL;
  do {
    char *json = NULL;
    kvs_status status = kvsc_programs_json(cli->client, &cursor, PAGE, 0, &json);

    int code = cli_take_json(cli, "list of programs", status, json, &page);

    if (code != CLI_OK) {
      cJSON_Delete(all);
      return code;
    }
    if (all != NULL) {
      cJSON *program;

      while ((program = cJSON_DetachItemFromArray(cJSON_GetObjectItemCaseSensitive(page, "programs"), 0)) !=
             NULL)
        cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(all, "programs"), program);
      cJSON_Delete(page);
    } else {
      all = page;
    }
  } while (cursor != 0);
  cJSON_DeleteItemFromObjectCaseSensitive(all, "cursor");
  *document_p = all;
  return CLI_OK;
}

/* ---- cells ---- */

/* Its name, else the first digits of its last key. */
static const char *name_of(const cJSON *program, char text[KEY_WAY + 3])
{
  const char *name = cli_json_text(program, "program");

  if (name[0] != '\0')
    return name;
  snprintf(text, KEY_WAY + 3, "(%.*s)", KEY_WAY, cli_json_text(program, "key"));
  return text;
}

static const char *wait_of(const cJSON *program, char text[64])
{
  const char *tool = cli_json_text(program, "tool"), *kind = cli_json_text(program, "waits_for");

  if (tool[0] == '\0' || strcmp(kind, "tool") != 0)
    return kind;
  snprintf(text, 64, "tool %s", tool);
  return text;
}

static const char *stays_of(const cJSON *program, char text[CLI_SIZE_TEXT])
{
  const cJSON *stays = cJSON_GetObjectItemCaseSensitive(program, "stays_ms");

  if (cli_json_number(program, "chunks") == 0)
    return "gone";
  if (!cJSON_IsNumber(stays))
    return "for good";
  if (stays->valuedouble == 0)
    return "till room is needed";
  return cli_time_text(stays->valuedouble / 1e3, text);
}

static const char *expected_of(const cJSON *program, char text[CLI_SIZE_TEXT])
{
  double ms = cli_json_number(program, "announced_ms");

  return ms > 0 ? cli_time_text(ms / 1e3, text) : "";
}

static const char *chunks_of(const cJSON *program, char text[32])
{
  snprintf(text, 32, "%.0f/%.0f", cli_json_number(program, "chunks"),
           cli_json_number(program, "chunks_whole"));
  return text;
}

static const char *price_text(double price, char text[CLI_SIZE_TEXT])
{
  snprintf(text, CLI_SIZE_TEXT, "%.3g", price);
  return text;
}

/* ---- tables ---- */

static int by_price(const void *a, const void *b)
{
  double x = cli_json_number(*(const cJSON *const *)a, "price"),
         y = cli_json_number(*(const cJSON *const *)b, "price");

  return (x < y) - (x > y);
}

static int by_name(const void *a, const void *b)
{
  const cJSON *x = *(const cJSON *const *)a, *y = *(const cJSON *const *)b;
  int order = strcmp(cli_json_text(x, "program"), cli_json_text(y, "program"));

  return order != 0 ? order : strcmp(cli_json_text(x, "key"), cli_json_text(y, "key"));
}

static void add_program(struct cli_table *table, const cJSON *program)
{
  char name[KEY_WAY + 3], wait[64], since[CLI_SIZE_TEXT], expected[CLI_SIZE_TEXT], chunks[32], turn[24];

  snprintf(turn, sizeof(turn), "%.0f", cli_json_number(program, "turn"));
  cli_table_row(table, (const char *const[]){name_of(program, name), turn, wait_of(program, wait),
                                             cli_time_text(cli_json_number(program, "waits_ms") / 1e3, since),
                                             expected_of(program, expected), chunks_of(program, chunks),
                                             cli_json_text(program, "parent")});
}

static void add_pin(struct cli_table *table, const cJSON *program)
{
  char name[KEY_WAY + 3], wait[64], since[CLI_SIZE_TEXT], chunks[32], price[CLI_SIZE_TEXT],
      stays[CLI_SIZE_TEXT];

  if (cli_json_number(program, "chunks") == 0)
    return;
  cli_table_row(
      table, (const char *const[]){
                 name_of(program, name), wait_of(program, wait),
                 cli_time_text(cli_json_number(program, "waits_ms") / 1e3, since), chunks_of(program, chunks),
                 price_text(cli_json_number(program, "price"), price),
                 cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(program, "pinned")) ? "pinned" : "next to go",
                 stays_of(program, stays)});
}

/* Rows in an order. */
static void add_sorted(struct cli_table *table, const cJSON *document,
                       void (*add)(struct cli_table *table, const cJSON *program),
                       int (*compare)(const void *a, const void *b))
{
  const cJSON *programs = cJSON_GetObjectItemCaseSensitive(document, "programs"), *program;
  size_t n = 0, room = (size_t)cJSON_GetArraySize(programs);
  const cJSON **sorted = calloc(room + 1, sizeof(*sorted));

  if (sorted == NULL)
    return;
  cJSON_ArrayForEach(program, programs) sorted[n++] = program;
  qsort(sorted, n, sizeof(*sorted), compare);
  for (size_t i = 0; i < n; i++)
    add(table, sorted[i]);
  free(sorted);
}

static void print_programs(const cJSON *document)
{
  const char *const headings[] = {"PROGRAM", "TURN", "WAITS FOR", "SINCE", "EXPECTED", "CHUNKS", "PARENT"};
  const bool to_the_right[] = {false, true, false, true, true, true, false};
  struct cli_table *table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);

  add_sorted(table, document, add_program, by_name);
  cli_table_print(table, stdout);
}

static void print_price(const cJSON *document)
{
  double memory = cli_json_number(document, "memory_price"),
         medium = cli_json_number(document, "medium_price");
  bool by_last_use = !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(document, "by_price"));

  printf("policy %s, %s\n", cli_json_text(document, "policy"),
         by_last_use ? "which goes by the last use just now" : "which goes by price");
  if (memory > 0)
    printf("memory costs %.3g: what went of late would have saved so many seconds of computing in a second, "
           "for each GiB of it\n",
           memory);
  else
    printf("memory costs nothing: nothing had to go in the last minute, or it was worth nothing\n");
  if (medium > 0)
    printf("the tier below costs %.3g\n", medium);
}

static void print_pins(const cJSON *document)
{
  const char *const headings[] = {"PROGRAM", "WAITS FOR", "SINCE", "CHUNKS", "PRICE", "", "STAYS"};
  const bool to_the_right[] = {false, false, true, true, true, false, true};
  struct cli_table *table = cli_table_new(KVI_ARRAY_SIZE(headings), headings, to_the_right);

  print_price(document);
  putchar('\n');
  add_sorted(table, document, add_pin, by_price);
  cli_table_print(table, stdout);
}

static int run_programs(struct cli *cli, int n, char **arguments)
{
  (void)n, (void)arguments;
  return cli_show(cli, programs_get, print_programs);
}

static int run_pins(struct cli *cli, int n, char **arguments)
{
  (void)n, (void)arguments;
  return cli_show(cli, programs_get, print_pins);
}

static int run_price(struct cli *cli, int n, char **arguments)
{
  (void)n, (void)arguments;
  return cli_show(cli, programs_get, print_price);
}

const struct cli_command cli_programs = {
    .name = "programs",
    .arguments = "",
    .summary = "The programs (agents' runs, chats) that a node knows, and what they wait for",
    .details = "One line for each of their branches. What nobody has named is shown by its last key.",
    .options = cli_watch_options,
    .run = run_programs,
};

const struct cli_command cli_pins = {
    .name = "pins",
    .arguments = "",
    .summary = "What stays in memory, for how long, and why",
    .details =
        "The dearest first. PRICE: seconds of computing that each GiB of it saves in a second. What is above "
        "the price of memory is pinned until its own, which falls while nobody comes back, is below.",
    .options = cli_watch_options,
    .run = run_pins,
};

const struct cli_command cli_price = {
    .name = "price",
    .arguments = "",
    .summary = "What memory costs: the worth of what has to go for what comes",
    .options = cli_watch_options,
    .run = run_price,
};
