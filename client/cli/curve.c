/* client/cli/curve.c: kvasirctl curve: what memory of another size would have had, and how far the node is from what is possible. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "client/cli/curve_plot.h"

#define SENTENCES_MAX 4096u
#define GAP_LEAST     0.005 /* of a gap that is smaller nobody has a part worth a word */

static const char *plot_path;

static const struct cli_option options[] = {
    {'p', "plot", "FILE.svg", "draws the curves", CLI_TEXT, &plot_path},
    CLI_WATCH_OPTION,
    {0, NULL, NULL, NULL, CLI_FLAG, NULL},
};

/* NAN: null, or none. */
static double ratio(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static void curve_take(const cJSON *document, struct cli_curve *curve)
{
  const cJSON *point;

  memset(curve, 0, sizeof(*curve));
  curve->capacity = cli_json_number(document, "capacity");
  curve->memory = ratio(document, "memory");
  curve->enough = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(document, "enough"));
  cJSON_ArrayForEach(point, cJSON_GetObjectItemCaseSensitive(document, "points"))
  {
    struct cli_curve_point *own = &curve->points[curve->n];

    if (curve->n == CLI_CURVE_POINTS_MAX)
      break;
    own->factor = ratio(point, "factor");
    own->bytes = cli_json_number(point, "bytes");
    own->lru = ratio(point, "lru");
    own->belady = ratio(point, "belady");
    own->lru_error = ratio(point, "lru_error");
    own->belady_error = ratio(point, "belady_error");
    curve->n += isfinite(own->lru) && isfinite(own->belady) && own->factor > 0 && own->bytes > 0;
  }
}

static const struct cli_curve_point *point_at(const struct cli_curve *curve, double factor)
{
  for (size_t i = 0; i < curve->n; i++)
    if (fabs(curve->points[i].factor - factor) < 1e-6)
      return &curve->points[i];
  return NULL;
}

/* Percents, and no "-0.0". */
static double percents(double part)
{
  return fabs(part) < 0.0005 ? 0 : part * 100;
}

/* "41.2 %", and how much it may be off: two standard errors. */
static const char *part_text(double part, double error, char text[CLI_SIZE_TEXT])
{
  if (error > 0)
    snprintf(text, CLI_SIZE_TEXT, "%.1f +-%.1f %%", percents(part), fmin(error * 200, 99.9));
  else
    snprintf(text, CLI_SIZE_TEXT, "%.1f %%", percents(part));
  return text;
}

/* The same of a share, in whole percents. */
static const char *share_text(double share, double error, char text[CLI_SIZE_TEXT])
{
  double percent = fmin(fmax(share * 100, -999), 999);

  if (error > 0)
    snprintf(text, CLI_SIZE_TEXT, "%.0f +-%.0f %%", percent, fmin(error * 200, 999));
  else
    snprintf(text, CLI_SIZE_TEXT, "%.0f %%", percent);
  return text;
}

static void print_points(const struct cli_curve *curve)
{
  struct cli_table *table = cli_table_new(4, (const char *const[]){"DRAM", "", "LRU", "BELADY"},
                                          (const bool[]){true, true, true, true});
  char size[CLI_SIZE_TEXT], lru[CLI_SIZE_TEXT], belady[CLI_SIZE_TEXT], factor[CLI_SIZE_TEXT];

  for (size_t i = 0; i < curve->n; i++) {
    const struct cli_curve_point *point = &curve->points[i];

    snprintf(factor, sizeof(factor), "%.4gx", point->factor);
    cli_table_row(table, (const char *const[]){cli_size_text(point->bytes, size), factor,
                                               part_text(point->lru, point->lru_error, lru),
                                               part_text(point->belady, point->belady_error, belady)});
  }
  cli_table_print(table, stdout);
}

static bool has_errors(const struct cli_curve *curve)
{
  for (size_t i = 0; i < curve->n; i++)
    if (curve->points[i].lru_error > 0 || curve->points[i].belady_error > 0)
      return true;
  return false;
}

static void say_own(kvi_strbuf *out, const cJSON *document, const struct cli_curve *curve)
{
  char window[CLI_SIZE_TEXT];
  double hit = ratio(document, "hit"), rate = ratio(document, "rate"),
         left_out = cli_json_number(document, "left_out");

  kvi_strbuf_addf(out, "This node had %.1f %% in memory", curve->memory * 100);
  if (hit > curve->memory)
    kvi_strbuf_addf(out, ", %.1f %% in all its tiers", hit * 100);
  kvi_strbuf_addf(out, ": of %.0f tokens that were looked up in %s.",
                  cli_json_number(document, "asked_tokens"),
                  cli_time_text(cli_json_number(document, "counted_s"), window));
  kvi_strbuf_addf(out, " Estimated from %.0f uses of chunks in %.0f requests",
                  cli_json_number(document, "uses"), cli_json_number(document, "requests"));
  if (rate > 0 && rate < 1)
    kvi_strbuf_addf(out, ", one chunk of %.0f%s.\n", 1 / rate,
                    has_errors(curve) ? "; +-: two standard errors" : "");
  else
    kvi_strbuf_add(out, ", all there were.\n");
  if (left_out > 0)
    kvi_strbuf_addf(out,
                    "%.0f look-ups since the node began only asked again for what was not there: left out.\n",
                    left_out);
}

static void say_more(kvi_strbuf *out, const cJSON *document, const struct cli_curve *curve)
{
  const struct cli_curve_point *own = point_at(curve, 1), *more = point_at(curve, 1.25);
  double error = ratio(document, "gain_error"), gain;

  if (own == NULL || more == NULL)
    return;
  gain = more->lru - own->lru;
  kvi_strbuf_addf(out, "25 %% more DRAM: %.1f %% -> %.1f %%", curve->memory * 100,
                  percents(fmin(fmax(curve->memory + gain, 0), 1)));
  if (error > 0)
    kvi_strbuf_addf(out, " (%+.1f +-%.1f)", percents(gain), fmin(error * 200, 99.9));
  kvi_strbuf_add(out, ", as much as LRU would gain.\n");
}

static void say_gap(kvi_strbuf *out, const cJSON *document, const struct cli_curve *curve)
{
  const struct cli_curve_point *own = point_at(curve, 1);
  double error = ratio(document, "gap_error"), gap;
  char text[CLI_SIZE_TEXT];

  if (own == NULL)
    return;
  gap = own->belady - own->lru;
  if (gap < GAP_LEAST || gap < 2 * error)
    kvi_strbuf_addf(out,
                    "LRU and Belady differ by %.1f %% at this size: a policy has nothing to gain here.\n",
                    percents(fmax(gap, 0)));
  else
    kvi_strbuf_addf(out, "Of the gap between LRU and Belady, %.1f %%, the node has %s.\n", gap * 100,
                    share_text((curve->memory - own->lru) / gap, own->lru_error / gap, text));
}

static void say_doubts(kvi_strbuf *out, const cJSON *document, const struct cli_curve *curve)
{
  double before = ratio(document, "before");

  if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(document, "enough")))
    kvi_strbuf_add(out, "TOO LITTLE to go by these numbers: too few requests, or uses of chunks, are in the "
                        "sample so far.\n");
  if (before > 0.02)
    kvi_strbuf_addf(
        out,
        "%.1f %% were hits of chunks last used before the first sample: LRU and Belady count them as "
        "misses, and are better than they look here.\n",
        before * 100);
  if (cli_json_number(document, "distinct_bytes") > 0 &&
      cli_json_number(document, "distinct_bytes") <= curve->capacity)
    kvi_strbuf_add(
        out, "All that was stored since the first sample fits in memory: more of it gains nothing yet.\n");
}

static void print_curve(const cJSON *document)
{
  struct cli_curve curve;
  kvi_strbuf text;

  curve_take(document, &curve);
  if (curve.n == 0 || isnan(curve.memory)) {
    fputs("nothing was looked up so far of which there could be a curve\n", stdout);
    return;
  }
  print_points(&curve);
  kvi_strbuf_init(&text, SENTENCES_MAX);
  say_own(&text, document, &curve);
  say_more(&text, document, &curve);
  say_gap(&text, document, &curve);
  say_doubts(&text, document, &curve);
  printf("\n%s", kvi_strbuf_text(&text));
  kvi_strbuf_free(&text);
}

/* Drawn as soon as it is here, each time. */
static int curve_get(struct cli *cli, cJSON **document_p)
{
  struct cli_curve curve;
  char *json = NULL;
  kvs_status status = kvsc_curve_json(cli->client, 0, &json);
  int code;

  if (status == KVS_ERR_UNSUPPORTED) {
    fputs("kvasirctl: the node takes no samples (store.curve_samples is 0), or is older than this command\n",
          stderr);
    return CLI_ERROR;
  }
  code = cli_take_json(cli, "curve", status, json, document_p);
  if (code != CLI_OK || plot_path == NULL)
    return code;
  curve_take(*document_p, &curve);
  code = cli_curve_plot(plot_path, &curve);
  if (code != CLI_OK)
    cJSON_Delete(*document_p);
  return code;
}

static int run(struct cli *cli, int n, char **arguments)
{
  (void)n;
  (void)arguments;
  if (plot_path != NULL && !cli_curve_can_plot(plot_path))
    return cli_usage(&cli_curve, "--plot takes a name that ends in .svg");
  return cli_show(cli, curve_get, print_curve);
}

const struct cli_command cli_curve = {
    .name = "curve",
    .arguments = "",
    .summary = "What more memory would bring, and how far the node is from what is possible",
    .details = "Parts of the tokens that were looked up of late, which memory of each size would have had: "
               "with what was\n"
               "used last (LRU), and with what is needed next, which nobody can know (Belady). Estimated "
               "from samples.",
    .options = options,
    .run = run,
};
