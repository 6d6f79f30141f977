/* client/cli/hint.c: kvasirctl hint: tells a node of a program, as engines and agent frameworks do. */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "client/cli/chain.h"

#define US_PER_MS 1000u

static struct cli_chain_said said;
static const char *parent, *wait_text, *tool;
static bool close_it;
static uint64_t turn, return_p50, return_p90, ttl, range_tokens;
static uint64_t priority = UINT64_MAX; /* not said */
static uint64_t prefill_tokens, prefill_from, prefill_time;

static const struct cli_option options[] = {
    {'w', "wait", "KIND", "it is answered, and waits: tool, human, subagent, approval or end", CLI_TEXT,
     &wait_text},
    {0, "tool", "NAME", "the tool that it waits for", CLI_TEXT, &tool},
    {0, "return-p50", "DURATION", "when it will be back, from now: as likely sooner as later", CLI_DURATION,
     &return_p50},
    {0, "return-p90", "DURATION", "the same, with nine in ten sooner", CLI_DURATION, &return_p90},
    {'c', "close", NULL, "it has ended: what it alone has goes first", CLI_FLAG, &close_it},
    {'p', "priority", "N", "0 to 100: what it is worth, 50 as ever; if it is not said, as before", CLI_NUMBER,
     &priority},
    {0, "ttl", "DURATION", "so long it is worth what somebody is who comes back in that time", CLI_DURATION,
     &ttl},
    {0, "range-tokens", "N", "both are of the first so many tokens of its chain, not of all", CLI_NUMBER,
     &range_tokens},
    {0, "parent", "PROGRAM", "the program that it works for", CLI_TEXT, &parent},
    {0, "turn", "N", "which of its turns this is", CLI_NUMBER, &turn},
    {0, "prefill-tokens", "N", "an engine has computed so many tokens of --space", CLI_NUMBER,
     &prefill_tokens},
    {0, "prefill-from", "N", "behind so many others", CLI_NUMBER, &prefill_from},
    {0, "prefill-time", "DURATION", "in so long", CLI_DURATION, &prefill_time},
    CLI_SPACE_OPTIONS(said),
    CLI_HASHING_OPTIONS(said),
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* As on the wire; false: none. */
static bool wait_kind(const char *text, uint32_t *kind_p)
{
  static const char *const kinds[] = {"none", "tool", "human", "subagent", "approval", "end"};

  for (uint32_t i = 0; i < KVI_ARRAY_SIZE(kinds); i++) {
    if (strcmp(kinds[i], text) == 0) {
      *kind_p = i;
      return true;
    }
  }
  return false;
}

/* What is more than that is more than a node heeds. */
static uint32_t number_of(uint64_t value)
{
  return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static int hint_make(const char *program, kvsc_hint *hint)
{
  *hint = (kvsc_hint){.struct_size = sizeof(*hint),
                      .program = program,
                      .parent_program = parent,
                      .tool = tool,
                      .turn = number_of(turn),
                      .return_p50_ms = number_of(return_p50),
                      .return_p90_ms = number_of(return_p90),
                      .close = close_it,
                      .priority = priority < UINT64_MAX ? number_of(priority) : 0,
                      .has_priority = priority < UINT64_MAX,
                      .ttl_ms = number_of(ttl),
                      .range_tokens = number_of(range_tokens),
                      .prefill_tokens = number_of(prefill_tokens),
                      .prefill_from = number_of(prefill_from),
                      .prefill_us =
                          prefill_time < UINT64_MAX / US_PER_MS ? prefill_time * US_PER_MS : UINT64_MAX};
  if (wait_text != NULL && !wait_kind(wait_text, &hint->wait_kind))
    return cli_usage(&cli_hint, "'%s' is nothing to wait for: tool, human, subagent, approval or end",
                     wait_text);
  if (tool != NULL && wait_text == NULL)
    return cli_usage(&cli_hint, "--tool is of a wait: say --wait tool");
  if (range_tokens > 0 && priority == UINT64_MAX && ttl == 0)
    return cli_usage(&cli_hint, "--range-tokens is of --priority and --ttl: say one of them");
  if ((prefill_tokens > 0) != (prefill_time > 0))
    return cli_usage(&cli_hint, "a prefill takes both --prefill-tokens and --prefill-time");
  return CLI_OK;
}

/* The space that it is about, if there is one: keys are of one, and so is a prefill. */
static int chain_find(struct cli *cli, const char *what, struct cli_chain *chain)
{
  bool has_space = said.space != NULL || said.descriptor != NULL;

  if (said.space != NULL && said.descriptor != NULL)
    return cli_usage(&cli_hint, "say either --space or --descriptor");
  if (!has_space && (what != NULL || prefill_tokens > 0))
    return cli_usage(&cli_hint,
                     "of which space? Say --space SPACE ('kvasirctl ls' shows them) or --descriptor FILE");
  if (has_space && what == NULL && prefill_tokens == 0)
    return cli_usage(&cli_hint, "of a space without KEY or PROMPT it tells of a prefill alone");
  return has_space ? cli_chain_find(cli, &cli_hint, &said, what, chain) : cli_connect(cli);
}

static int answer_print(const struct cli *cli, const char *json)
{
  cJSON *answer = cJSON_Parse(json);
  const char *outcome = cli_json_text(answer, "outcome"), *text = cli_json_text(answer, "text");
  char *words = cli_printable(text);
  int code = CLI_ERROR; /* rejected */

  if (cli->json)
    cli_print_json(json);
  else
    printf("%s%s%s\n", outcome, text[0] != '\0' ? ": " : "", words != NULL ? words : "");
  if (strcmp(outcome, "accepted") == 0 || strcmp(outcome, "clipped") == 0)
    code = CLI_OK;
  else if (strcmp(outcome, "deferred") == 0 || strcmp(outcome, "missing") == 0)
    code = CLI_MISS;
  free(words);
  cJSON_Delete(answer);
  return code;
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct cli_chain chain = {0};
  char *json = NULL;
  kvs_status status;
  kvsc_hint hint;
  int code = hint_make(arguments[0], &hint);

  if (code == CLI_OK)
    code = chain_find(cli, n > 1 ? arguments[1] : NULL, &chain);
  if (code == CLI_OK) {
    status = kvsc_hint_json(cli->client, &hint,
                            said.space != NULL || said.descriptor != NULL ? chain.digest : NULL, chain.keys,
                            chain.key_length, (uint32_t)chain.n_keys, 0, &json);
    if (status == KVS_ERR_INVALID)
      code = cli_usage(&cli_hint, "names of programs and tools have at most 255 bytes");
    else
      code = status == KVS_OK ? answer_print(cli, json) : cli_fail(cli, "hint", status);
    free(json);
  }
  cli_chain_free(&chain);
  return code;
}

const struct cli_command cli_hint = {
    .name = "hint",
    .arguments = "PROGRAM [KEY|PROMPT]",
    .summary = "Tell the node what a program (an agent's run, a chat) waits for, or that it has ended",
    .details =
        "KEY is a chunk's key, 16 to 128 hex digits, PROMPT a file of token ids (- is standard input): the "
        "hint is of\n"
        "the chain that they are of. Without either it is of what the program used last. With them and no "
        "--wait the\n"
        "program uses them now. Prints what the node made of it. Ends with 1 if it could not make anything "
        "of it\n"
        "(deferred, missing), and with 4 if it was rejected.",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run,
};
