/* client/cli/ls.c: kvasirctl ls. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

#define PAGE 1000u /* chunks of one question */

static bool whole;
static uint64_t limit = 1000;

static const struct cli_option options[] = {
    {'l', "long", NULL, "digests and keys at full length", CLI_FLAG, &whole},
    {'n', "limit", "N", "chunks: at most so many (default 1000, 0: all)", CLI_NUMBER, &limit},
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* The first digits are enough to tell things apart, and to name a space to the other commands. */
static const char *shorten(const char *hex, char text[17])
{
  if (whole)
    return hex;
  snprintf(text, 17, "%.16s", hex);
  return text;
}

static void add_space(struct cli_table *table, const cJSON *space)
{
  const cJSON *desc = cJSON_GetObjectItemCaseSensitive(space, "descriptor");
  char hex[17], chunks[24], size[CLI_SIZE_TEXT], tokens[16], rank[40];

  snprintf(chunks, sizeof(chunks), "%.0f", cli_json_number(space, "chunks"));
  snprintf(tokens, sizeof(tokens), "%.0f", cli_json_number(desc, "tokens_per_chunk"));
  snprintf(rank, sizeof(rank), "%.0f/%.0f", cli_json_number(desc, "tp_rank"),
           cli_json_number(desc, "tp_size"));
  cli_size_text(cli_json_number(space, "bytes"), size);
  cli_table_row(table, (const char *const[]){shorten(cli_json_text(space, "digest"), hex), chunks, size,
                                             cli_json_text(desc, "model"), cli_json_text(desc, "layout"),
                                             tokens, rank, cli_json_text(desc, "engine")});
}

static int list_spaces(struct cli *cli)
{
  const char *const headings[] = {"SPACE", "CHUNKS", "SIZE", "MODEL", "LAYOUT", "TOKENS", "TP", "ENGINE"};
  const bool to_the_right[] = {false, true, true, false, false, true, false, false};
  struct cli_table *table;
  const cJSON *space;
  cJSON *document;
  int code = cli_spaces(cli, &document);

  if (code != CLI_OK)
    return code;
  if (cli->json) {
    char *text = cJSON_PrintUnformatted(document);

    cli_print_json(text != NULL ? text : "{}");
    cJSON_free(text);
  } else {
    table = cli_table_new(8, headings, to_the_right);
    cJSON_ArrayForEach(space, cJSON_GetObjectItemCaseSensitive(document, "spaces")) add_space(table, space);
    cli_table_print(table, stdout);
  }
  cJSON_Delete(document);
  return CLI_OK;
}

/* What it has lost, in words. */
static const char *quality_text(const cJSON *chunk)
{
  static const char *const texts[] = {"exact", "3 planes", "2 planes", "1 plane", "base", "cachegen"};
  double loss = cli_json_number(chunk, "loss");

  return loss >= 0 && loss < 6 ? texts[(int)loss] : "coarse";
}

static void add_chunk(struct cli_table *table, const cJSON *chunk)
{
  char hex[17], place[16], size[CLI_SIZE_TEXT], segments[16], idle[CLI_SIZE_TEXT], children[16];

  snprintf(place, sizeof(place), "%.0f", cli_json_number(chunk, "place"));
  snprintf(segments, sizeof(segments), "%.0f", cli_json_number(chunk, "segments"));
  snprintf(children, sizeof(children), "%.0f", cli_json_number(chunk, "children"));
  cli_size_text(cli_json_number(chunk, "length"), size);
  cli_time_text(cli_json_number(chunk, "idle_ms") / 1e3, idle);
  cli_table_row(table,
                (const char *const[]){
                    shorten(cli_json_text(chunk, "key"), hex), place, size, segments,
                    cli_json_text(chunk, "tier"), quality_text(chunk),
                    cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(chunk, "coded")) ? "yes" : "", idle,
                    children, cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(chunk, "leased")) ? "yes" : ""});
}

/* Takes one page into the table, or prints it as JSON lines' array elements. Returns how many chunks it had. */
static uint64_t take_page(const struct cli *cli, const char *json, struct cli_table *table, bool first)
{
  cJSON *document = cJSON_Parse(json);
  uint64_t n = 0;
  const cJSON *chunk;

  cJSON_ArrayForEach(chunk, cJSON_GetObjectItemCaseSensitive(document, "chunks"))
  {
    if (cli->json) {
      char *text = cJSON_PrintUnformatted(chunk);

      printf("%s%s", first && n == 0 ? "" : ",", text != NULL ? text : "null");
      cJSON_free(text);
    } else {
      add_chunk(table, chunk);
    }
    n++;
  }
  cJSON_Delete(document);
  return n;
}

static int list_chunks(struct cli *cli, const char *name)
{
  const char *const headings[] = {"KEY",     "PLACE", "SIZE", "SEGMENTS", "TIER",
                                  "QUALITY", "CODED", "IDLE", "CHILDREN", "LEASED"};
  const bool to_the_right[] = {false, true, true, true, false, false, false, true, true, false};
  struct cli_table *table = NULL;
  uint8_t digest[KVS_DIGEST_SIZE];
  uint64_t cursor = 0, listed = 0;
  kvs_status status;
  int code = cli_find_space(cli, name, digest);

  if (code != CLI_OK)
    return code;
  if (cli->json)
    printf("{\"chunks\":[");
  else
    table = cli_table_new(10, headings, to_the_right);
  do {
    uint32_t ask = limit > 0 && limit - listed < PAGE ? (uint32_t)(limit - listed) : PAGE;
    char *json = NULL;

    status = kvsc_chunks_json(cli->client, digest, &cursor, ask, 0, &json);
    if (status != KVS_OK)
      break;
    listed += take_page(cli, json, table, listed == 0);
    free(json);
  } while (cursor != 0 && (limit == 0 || listed < limit));
  if (cli->json)
    printf("]}\n");
  cli_table_print(table, stdout);
  if (status != KVS_OK)
    return cli_fail(cli, "list of chunks", status);
  if (cursor != 0)
    fprintf(stderr, "there are more: --limit 0 lists them all\n");
  return CLI_OK;
}

static int run(struct cli *cli, int n, char **arguments)
{
  bool chunks = n > 0 && strcmp(arguments[0], "chunks") == 0;
  int code;

  if (n > 0 && !chunks && strcmp(arguments[0], "spaces") != 0)
    return cli_usage(&cli_ls, "it lists spaces or chunks, not '%s'", arguments[0]);
  if (chunks != (n == 2))
    return cli_usage(&cli_ls,
                     chunks ? "of which space? 'kvasirctl ls' shows them" : "spaces takes no argument");
  code = cli_connect(cli);
  if (code != CLI_OK)
    return code;
  return chunks ? list_chunks(cli, arguments[1]) : list_spaces(cli);
}

const struct cli_command cli_ls = {
    .name = "ls",
    .arguments = "[spaces | chunks SPACE]",
    .summary = "The spaces a node knows, or the chunks of one",
    .details = "SPACE is a digest or its first digits.",
    .words = "spaces chunks",
    .options = options,
    .max_arguments = 2,
    .run = run,
};
