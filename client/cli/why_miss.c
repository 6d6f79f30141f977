/* client/cli/why_miss.c: kvasirctl why-miss: how much of a chain a node has, and why it has no more. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "client/cli/chain.h"

#define SENTENCES_MAX 4096u

static struct cli_chain_said said;
static uint64_t loss_max;

static const struct cli_option options[] = {
    CLI_SPACE_OPTIONS(said),
    {'l', "loss-max", "LOSS", "the most loss that the get takes (default 0: exact)", CLI_NUMBER, &loss_max},
    CLI_HASHING_OPTIONS(said),
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* ---- the answer in words ---- */

static const cJSON *member(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsObject(item) ? item : NULL;
}

static bool is_true(const cJSON *object, const char *name)
{
  return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* The node keeps such times to 67 ms. */
static const char *ms_text(const cJSON *object, const char *name, char text[CLI_SIZE_TEXT])
{
  double seconds = cli_json_number(object, name) / 1e3;

  return seconds >= 1 ? cli_time_text(seconds, text) : "less than 1 s";
}

/* How far back the node remembers, for who is told that it knows of nothing. */
static void say_memory(kvi_strbuf *out, const cJSON *answer)
{
  char text[CLI_SIZE_TEXT];

  if (is_true(answer, "since_start"))
    kvi_strbuf_addf(out, "The node remembers all that went since it was started, %s ago.",
                    ms_text(answer, "remembered_ms", text));
  else
    kvi_strbuf_addf(out, "What went more than %s ago it may have forgotten.",
                    ms_text(answer, "remembered_ms", text));
}

static const char *rule_text(const char *rule)
{
  static const char *const rules[][2] = {
      {"room", "to make room for other chunks"},
      {"index", "since the index had no entry left (store.max_chunks)"},
      {"asked", "since an operator asked for it (kvasirctl evict)"},
      {"quota", "since its tenant had more than it may have"},
      {"closed", "since its program has ended"},
  };

  for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
    if (strcmp(rules[i][0], rule) == 0)
      return rules[i][1];
  }
  return rule[0] != '\0' ? rule : "by the tier that held it";
}

static void say_declined(kvi_strbuf *out, const cJSON *departure)
{
  char age[CLI_SIZE_TEXT];

  kvi_strbuf_add(out, "It was put");
  if (departure != NULL)
    kvi_strbuf_addf(out, " %s ago", ms_text(departure, "age_ms", age));
  kvi_strbuf_add(
      out,
      ", and not stored: what would have had to go was worth more than its prompt, or the chunk before it "
      "was not stored either (store.admission).");
}

/* The time that it was to be kept for, if anybody had told one. */
static void say_time(kvi_strbuf *out, const cJSON *departure)
{
  const cJSON *over = cJSON_GetObjectItemCaseSensitive(departure, "over_ms");
  double seconds = cJSON_IsNumber(over) ? over->valuedouble / 1e3 : 0;
  char text[CLI_SIZE_TEXT];

  if (!cJSON_IsNumber(over))
    return;
  if (seconds < 0)
    kvi_strbuf_addf(out, " The time that it was kept for still had %s to run.",
                    -seconds >= 1 ? cli_time_text(-seconds, text) : "less than 1 s");
  else
    kvi_strbuf_addf(out, " The time that it was kept for had run out %s before.",
                    seconds >= 1 ? cli_time_text(seconds, text) : "less than 1 s");
}

static void say_evicted(kvi_strbuf *out, const cJSON *answer, const cJSON *departure)
{
  char age[CLI_SIZE_TEXT], idle[CLI_SIZE_TEXT], size[CLI_SIZE_TEXT];
  const cJSON *price = cJSON_GetObjectItemCaseSensitive(departure, "price");

  if (departure == NULL) {
    kvi_strbuf_add(out, "It was evicted; when and why is forgotten. ");
    say_memory(out, answer);
    return;
  }
  kvi_strbuf_addf(out, "It was evicted %s ago %s, %s after its last use; it had %s%s.",
                  ms_text(departure, "age_ms", age), rule_text(cli_json_text(departure, "rule")),
                  ms_text(departure, "idle_ms", idle),
                  cli_size_text(cli_json_number(departure, "length"), size),
                  is_true(departure, "below") ? " and a copy on SSD, which went too" : "");
  say_time(out, departure);
  if (cJSON_IsNumber(price))
    kvi_strbuf_addf(out, " Its price was %.3g (seconds saved for each second and GiB of keeping it)%s.",
                    price->valuedouble * 1024 * 1024 * 1024,
                    is_true(departure, "by_price") ? "" : ", but the policy went by last use just then");
}

static void say_space(kvi_strbuf *out, const cJSON *answer)
{
  const cJSON *other = member(answer, "other");

  kvi_strbuf_add(out,
                 "The node does not know this space: nothing was stored in it since the node was started.");
  if (other != NULL && cli_json_number(answer, "others") > 0)
    kvi_strbuf_addf(out, " But it has this key in space %.16s; they differ in %s.",
                    cli_json_text(other, "space"),
                    cli_json_number(other, "differences") > 0 ? cli_json_text(other, "fields")
                                                              : "what only --descriptor could tell");
  else if (other != NULL)
    kvi_strbuf_addf(out, " The nearest that it knows is %.16s; they differ in %s.",
                    cli_json_text(other, "space"), cli_json_text(other, "fields"));
}

static void say_elsewhere(kvi_strbuf *out, const cJSON *answer)
{
  const cJSON *other = member(answer, "other");
  const char *fields = cli_json_text(other, "fields");
  double n = cli_json_number(answer, "others");

  kvi_strbuf_addf(out, "%s space %.16s has this key%s%s", n > 1 ? "Another" : "But",
                  cli_json_text(other, "space"), fields[0] != '\0' ? "; they differ in " : "", fields);
  if (n > 1)
    kvi_strbuf_addf(out, "; so have %.0f more", n - 1);
  kvi_strbuf_add(out, ".");
}

static void say_corrupt(kvi_strbuf *out, const cJSON *answer, const cJSON *departure)
{
  const cJSON *damaged = member(answer, "damaged");
  char age[CLI_SIZE_TEXT];

  kvi_strbuf_add(out, "Its bytes did not fit their checksum, so it was dropped");
  if (departure != NULL)
    kvi_strbuf_addf(out, " %s ago", ms_text(departure, "age_ms", age));
  if (damaged != NULL)
    kvi_strbuf_addf(out, "; they lay in tier %s, and a %s found it", cli_json_text(damaged, "tier"),
                    cli_json_text(damaged, "found_by"));
  kvi_strbuf_add(out, ". That is broken hardware or a bug: 'kvasirctl tiers' lists the last ones.");
}

static void say_deleted(kvi_strbuf *out, const cJSON *departure)
{
  char age[CLI_SIZE_TEXT];

  kvi_strbuf_add(out, "It was deleted");
  if (departure != NULL)
    kvi_strbuf_addf(out, " %s ago", ms_text(departure, "age_ms", age));
  kvi_strbuf_add(out, ".");
}

/* Why this node has it no more; of one that it is not known to have had, nothing. */
static void say_went(kvi_strbuf *out, const cJSON *answer, const char *cause, const cJSON *departure)
{
  char age[CLI_SIZE_TEXT];

  if (strcmp(cause, "deleted") == 0)
    say_deleted(out, departure);
  else if (strcmp(cause, "corrupt") == 0)
    say_corrupt(out, answer, departure);
  else if (strcmp(cause, "declined") == 0)
    say_declined(out, departure);
  else if (strcmp(cause, "tier") == 0)
    kvi_strbuf_addf(out, "Its copy on SSD was lost %s ago: it could not be read, or its directory failed.",
                    ms_text(departure, "age_ms", age));
  else
    say_evicted(out, answer, departure); /* evicted, expired, quota, closed */
}

static void say_tier(kvi_strbuf *out, const cJSON *answer, const cJSON *departure)
{
  const char *went = cli_json_text(departure, "cause");
  /* else it is not known to have been lost here */
  bool redis = member(answer, "chunk") == NULL && departure != NULL && strcmp(went, "tier") != 0;
  size_t begin = out->length;
  const cJSON *tier;

  cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(answer, "tiers_out"))
  {
    redis = redis || strcmp(cli_json_text(tier, "tier"), "redis") == 0;
  }
  if (member(answer, "chunk") != NULL)
    kvi_strbuf_addf(out, "It is in tier %s, which is out.", cli_json_text(member(answer, "chunk"), "tier"));
  if (redis)
    kvi_strbuf_addf(out, "%sRedis may have it, but cannot be asked.", out->length > begin ? " " : "");
  if (member(answer, "chunk") == NULL && departure != NULL) {
    kvi_strbuf_add(out, out->length > begin ? " From this node: " : "");
    say_went(out, answer, went, departure);
  }
  if (out->length == begin)
    kvi_strbuf_add(
        out, "Redis, which may have it, did not answer; or its copy on SSD was lost, and when is forgotten.");
}

/* How it went from the tier that nodes share, before how it went from here. */
static bool say_lapsed(kvi_strbuf *out, const cJSON *answer)
{
  char age[CLI_SIZE_TEXT];

  if (!cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(answer, "lapsed_ms")))
    return false;
  kvi_strbuf_addf(out,
                  "Its time in Redis was over %s ago, as this node reckons: it is kept there for redis.ttl "
                  "after its last use through Redis, or for less if its put said so.",
                  ms_text(answer, "lapsed_ms", age));
  return true;
}

static void say_missing(kvi_strbuf *out, const cJSON *answer)
{
  const char *cause = cli_json_text(answer, "cause");
  const cJSON *departure = member(answer, "departure");
  bool lapsed = say_lapsed(out, answer);

  bool all_said = lapsed && departure == NULL && strcmp(cause, "expired") == 0;

  if (all_said)
    kvi_strbuf_add(out, " Of what became of it here nothing is known.");
  else if (lapsed)
    kvi_strbuf_add(out, " From this node: ");
  if (all_said) {
    /* nothing more */
  } else if (strcmp(cause, "never") == 0) {
    kvi_strbuf_add(out, "Nothing is known of it: it was never stored in this space, or long ago. ");
    say_memory(out, answer);
  } else if (strcmp(cause, "other_space") == 0) {
    kvi_strbuf_add(out, "It was never stored in this space, as far as the node remembers. ");
  } else if (strcmp(cause, "space") == 0) {
    say_space(out, answer);
  } else if (strcmp(cause, "quality") == 0) {
    kvi_strbuf_addf(
        out, "It is there with loss %.0f, and a get that takes %" PRIu64 " at most does not want that.",
        cli_json_number(member(answer, "chunk"), "loss"), loss_max);
  } else if (strcmp(cause, "tier") == 0) {
    say_tier(out, answer, departure);
  } else {
    say_went(out, answer, cause, departure);
  }
  if (is_true(answer, "landing"))
    kvi_strbuf_add(out, " A put of it is under way just now.");
  if (cli_json_number(answer, "others") > 0 && strcmp(cause, "space") != 0) {
    kvi_strbuf_add(out, strcmp(cause, "other_space") == 0 ? "" : " ");
    say_elsewhere(out, answer);
  }
}

static void say_tiers_out(kvi_strbuf *out, const cJSON *answer)
{
  const cJSON *tier;

  cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(answer, "tiers_out"))
  {
    kvi_strbuf_addf(out, "%sTier %s: %.0f of %.0f are out.", out->length > 0 ? " " : "",
                    cli_json_text(tier, "tier"), cli_json_number(tier, "out"),
                    cli_json_number(tier, "parts"));
  }
}

static void say(kvi_strbuf *out, const struct cli_chain *chain, const cJSON *answer)
{
  if (!is_true(answer, "found"))
    say_missing(out, answer);
  else if (chain->n_keys > 1)
    kvi_strbuf_addf(out, "All %zu are there: a get finds them.", chain->n_keys);
  else
    kvi_strbuf_add(out, "It is there: a get finds it.");
  say_tiers_out(out, answer);
}

/* ---- the answer as it is printed ---- */

static void add_row(struct cli_table *table, const struct cli_chain *chain, size_t i, const char *tier)
{
  char key[2 * KVS_KEY_MAX + 1], number[16], tokens[48] = "";

  (void)kvi_hex_encode(chain->keys + i * chain->key_length, chain->key_length, key, sizeof(key));
  key[16] = '\0';
  snprintf(number, sizeof(number), "%zu", i);
  if (chain->prompt)
    snprintf(tokens, sizeof(tokens), "%zu-%zu", i * chain->desc.tokens_per_chunk,
             (i + 1) * chain->desc.tokens_per_chunk - 1);
  cli_table_row(table, (const char *const[]){number, key, tokens, tier});
}

static void print_chain(const struct cli_chain *chain, const cJSON *answer)
{
  struct cli_table *table = cli_table_new(4, (const char *const[]){"CHUNK", "KEY", "TOKENS", "TIER"},
                                          (const bool[]){true, false, true, false});
  const cJSON *tier;
  size_t i = 0;

  cJSON_ArrayForEach(tier, cJSON_GetObjectItemCaseSensitive(answer, "tiers"))
      add_row(table, chain, i++, cJSON_IsString(tier) ? tier->valuestring : "");
  if (!is_true(answer, "found") && i < chain->n_keys)
    add_row(table, chain, i, "missing");
  cli_table_print(table, stdout);
}

static void print_answer(const struct cli *cli, const struct cli_chain *chain, cJSON *answer)
{
  char key[2 * KVS_KEY_MAX + 1];
  char *text;
  size_t at = (size_t)cli_json_number(answer, "prefix");
  kvi_strbuf words;

  kvi_strbuf_init(&words, SENTENCES_MAX);
  say(&words, chain, answer);
  at = at < chain->n_keys ? at : chain->n_keys - 1;
  (void)kvi_hex_encode(chain->keys + at * chain->key_length, chain->key_length, key, sizeof(key));
  if (cli->json) {
    cJSON_AddNumberToObject(answer, "keys", (double)chain->n_keys);
    cJSON_AddStringToObject(answer, "key", key);
    cJSON_AddStringToObject(answer, "text", kvi_strbuf_text(&words));
    text = cJSON_PrintUnformatted(answer);
    cli_print_json(text != NULL ? text : "{}");
    cJSON_free(text);
  } else {
    print_chain(chain, answer);
    text = cli_printable(kvi_strbuf_text(&words)); /* fields of spaces are others' words */
    printf("\n%s\n", text != NULL ? text : "");
    free(text);
  }
  kvi_strbuf_free(&words);
}

static int ask(struct cli *cli, const struct cli_chain *chain)
{
  char *json = NULL;
  kvs_status status = kvsc_why_miss_json(cli->client, chain->digest, chain->has_desc ? &chain->desc : NULL,
                                         chain->keys, chain->key_length, (uint32_t)chain->n_keys,
                                         (uint32_t)(loss_max < UINT32_MAX ? loss_max : UINT32_MAX), 0, &json);
  cJSON *answer;
  int code;

  if (status == KVS_ERR_KEY_LENGTH) {
    fprintf(stderr,
            "kvasirctl: keys of this space have another length than %u bytes: 'kvasirctl ls chunks SPACE "
            "--long' shows some\n",
            chain->key_length);
    return CLI_USAGE;
  }
  if (status != KVS_OK)
    return cli_fail(cli, "why-miss", status);
  answer = cJSON_Parse(json);
  free(json);
  if (answer == NULL)
    return cli_fail(cli, "why-miss", KVS_ERR_NOMEM);
  print_answer(cli, chain, answer);
  code = is_true(answer, "found") ? CLI_OK : CLI_MISS;
  cJSON_Delete(answer);
  return code;
}

static int run(struct cli *cli, int n, char **arguments)
{
  struct cli_chain chain = {0};
  int code;

  (void)n;
  if ((said.space != NULL) == (said.descriptor != NULL))
    return cli_usage(
        &cli_why_miss,
        "of which space? Say either --space SPACE ('kvasirctl ls' shows them) or --descriptor FILE");
  code = cli_chain_find(cli, &cli_why_miss, &said, arguments[0], &chain);
  if (code == CLI_OK)
    code = ask(cli, &chain);
  cli_chain_free(&chain);
  return code;
}

const struct cli_command cli_why_miss = {
    .name = "why-miss",
    .arguments = "KEY|PROMPT",
    .summary = "Why a chunk, or a prompt's chain of them, is not there",
    .details = "KEY is a chunk's key, 16 to 128 hex digits. PROMPT is a file of token ids, numbers with "
               "blanks, commas or\n"
               "brackets between; - is standard input. Its chunks are shown up to the first that a get "
               "misses, and then\n"
               "what the node knows of that one. Ends with 1 if there is one.",
    .words = "@file",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
