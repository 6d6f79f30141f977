#include "tests/bench/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/report.h"

#define TEXT_MAX    (4u << 20)
#define SECONDS_MAX 60.0

bool bench_take_rounds(const char *text, uint32_t *rounds_p)
{
  char *end;
  unsigned long rounds = strtoul(text, &end, 10);

  *rounds_p = (uint32_t)rounds;
  return *end == '\0' && rounds >= 1 && rounds <= BENCH_ROUNDS_MAX;
}

bool bench_take_seconds(const char *text, double *seconds_p)
{
  char *end;

  *seconds_p = strtod(text, &end);
  return end != text && *end == '\0' && *seconds_p > 0.0 && *seconds_p <= SECONDS_MAX;
}

void bench_list_rows(const struct bench_plan *plan, bool pinned, bool unpinned)
{
  char name[BENCH_NAME_MAX];

  for (int pin = 1; pin >= 0; pin--) {
    for (size_t i = 0; i < plan->n; i++) {
      bool one_side = bench_way_is_tier(plan->cases[i].way) && !bench_way_has_server(plan->cases[i].way);

      if (!(pin == 1 ? pinned && !one_side : unpinned))
        continue;
      for (int kind = 0; kind < BENCH_KINDS; kind++) {
        struct bench_row_id id = {.what = plan->cases[i], .pin = pin == 1, .kind = (enum bench_kind)kind};

        bench_row_name(&id, name);
        if (bench_case_has(&id.what, id.kind))
          puts(name);
      }
    }
  }
}

int bench_print(const struct bench_document *document, bool json, bool markdown)
{
  kvi_strbuf out;
  bool ok;

  kvi_strbuf_init(&out, TEXT_MAX);
  if (json)
    bench_document_json(document, &out);
  else
    bench_report(document, markdown, &out);
  ok = out.status == KVS_OK && fputs(kvi_strbuf_text(&out), stdout) >= 0 && fflush(stdout) == 0;
  kvi_strbuf_free(&out);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
