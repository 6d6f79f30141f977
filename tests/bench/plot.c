#include "tests/bench/plot.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tests/bench/codec/plot.h"

#define FILE_MAX  (8u << 20)
#define BAR_X     330
#define BAR_SCALE 200.0 /* pixels for a ratio of 1 */
#define BAR_MOST  2.5   /* longer ones are cut */
#define LINE      16

/* The whole file with a NUL, to be freed; NULL with the reason on stderr. */
static char *read_file(const char *path)
{
  FILE *file = fopen(path, "re");
  char *text = NULL;
  size_t length;

  if (file == NULL) {
    perror(path);
    return NULL;
  }
  text = malloc(FILE_MAX + 1);
  if (text != NULL) {
    length = fread(text, 1, FILE_MAX, file);
    text[length] = '\0';
  }
  fclose(file);
  return text;
}

/* The row's first ratio, if it is one of speed: those of latencies and costs go the other way. */
static const cJSON *ratio_of(const cJSON *row)
{
  const cJSON *unit = cJSON_GetObjectItemCaseSensitive(row, "unit");
  const cJSON *ratios = cJSON_GetObjectItemCaseSensitive(row, "ratios");

  if (!cJSON_IsString(unit) || strcmp(unit->valuestring, "GB/s") != 0)
    return NULL;
  return cJSON_GetArrayItem(ratios, 0);
}

static bool is_ours(const char *name)
{
  static const char *const ours[] = {"grpc", "embedded", "ssd", "redis-tier", "dram"};

  for (size_t i = 0; i < KVI_ARRAY_SIZE(ours); i++)
    if (strncmp(name, ours[i], strlen(ours[i])) == 0)
      return true;
  return false;
}

static bool draw(const cJSON *row, const cJSON *ratio, int y)
{
  const cJSON *name = cJSON_GetObjectItemCaseSensitive(row, "name");
  const cJSON *to = cJSON_GetObjectItemCaseSensitive(ratio, "to");
  const cJSON *median = cJSON_GetObjectItemCaseSensitive(ratio, "median");
  double length;

  /* Names are those of our own rows; anything else is not put into the picture. */
  if (!cJSON_IsString(name) || !cJSON_IsString(to) || !cJSON_IsNumber(median) ||
      strpbrk(name->valuestring, "<>&\"") != NULL || strpbrk(to->valuestring, "<>&\"") != NULL)
    return false;
  length = median->valuedouble < BAR_MOST ? median->valuedouble : BAR_MOST;
  printf("<text x='%d' y='%d' text-anchor='end'>%s</text>\n", BAR_X - 6, y + 11, name->valuestring);
  printf("<rect x='%d' y='%d' width='%.1f' height='%d' fill='%s'/>\n", BAR_X, y + 1, length * BAR_SCALE,
         LINE - 4, is_ours(name->valuestring) ? "#2b6cb0" : "#a0aec0");
  printf("<text x='%.1f' y='%d'>%.2f of %s</text>\n", BAR_X + length * BAR_SCALE + 4, y + 11,
         median->valuedouble, to->valuestring);
  return true;
}

static int count(const cJSON *rows)
{
  const cJSON *row;
  int n = 0;

  cJSON_ArrayForEach(row, rows) n += ratio_of(row) != NULL;
  return n;
}

static void draw_all(const cJSON *rows)
{
  const cJSON *row;
  int height = (count(rows) + 2) * LINE;
  int y = LINE;

  printf("<svg xmlns='http://www.w3.org/2000/svg' width='1080' height='%d' font-family='sans-serif' "
         "font-size='11'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
         height);
  cJSON_ArrayForEach(row, rows)
  {
    const cJSON *ratio = ratio_of(row);

    if (ratio != NULL && draw(row, ratio, y))
      y += LINE;
  }
  printf("<line x1='%g' x2='%g' y1='0' y2='%d' stroke='#c53030' stroke-dasharray='3'/>\n</svg>\n",
         BAR_X + BAR_SCALE, BAR_X + BAR_SCALE, height);
}

int bench_plot(const char *path)
{
  char *text = read_file(path);
  cJSON *document;
  const cJSON *rows, *sets;
  int status = EXIT_FAILURE;

  if (text == NULL)
    return EXIT_FAILURE;
  document = cJSON_Parse(text);
  rows = cJSON_GetObjectItemCaseSensitive(document, "rows");
  sets = cJSON_GetObjectItemCaseSensitive(document, "sets"); /* of kvasir-bench codec */
  if (cJSON_IsArray(rows)) {
    if (cJSON_GetArraySize(sets) > 0)
      codec_plot(sets);
    else
      draw_all(rows);
    status = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  } else {
    fprintf(stderr, "kvasir-bench: %s is not a document of kvasir-bench --json\n", path);
  }
  cJSON_Delete(document);
  free(text);
  return status;
}
