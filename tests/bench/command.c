#include "tests/bench/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/affinity.h"
#include "tests/bench/report.h"

#define TEXT_MAX (4u << 20)

/* With one side alone there is nothing to place. */
static bool has_row(enum bench_way_id way, bool pin)
{
  return !pin || !bench_way_is_tier(way) || bench_way_has_server(way);
}

/* The names of all rows, without and with "-pin" as asked for. */
static void list_rows(const struct bench_options *options, const struct bench_plan *plan)
{
  char name[BENCH_NAME_MAX];

  for (int pin = 1; pin >= 0; pin--) {
    for (size_t i = 0; i < plan->n; i++) {
      if (!(pin == 1 ? options->pinned : options->unpinned) || !has_row(plan->cases[i].way, pin == 1))
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

/* The cases of one placement. */
static void choose(struct bench_plan *to, const struct bench_plan *from, bool pin)
{
  to->n = 0;
  for (size_t i = 0; i < from->n; i++)
    if (has_row(from->cases[i].way, pin))
      to->cases[to->n++] = from->cases[i];
}

/* Both placements, one after the other. Returns the exit status. */
static int measure(const struct bench_options *options, const struct bench_plan *all,
                   struct bench_pass_options *pass, struct bench_document *document)
{
  static struct bench_plan plan;
  int status = EXIT_SUCCESS;

  pass->plan = &plan;
  pass->progress = isatty(STDERR_FILENO) == 1;
  pass->rounds = options->rounds;
  pass->seconds = options->seconds;
  for (int pin = 1; pin >= 0; pin--) {
    pass->pin = pin == 1;
    choose(&plan, all, pass->pin);
    if (plan.n == 0 || (pass->pin ? !options->pinned : !options->unpinned))
      continue;
    if (pass->pin && bench_cores() < 2) {
      fprintf(stderr, "kvasir-bench: one core only: no pinned rows\n");
      status = EXIT_FAILURE;
    } else if (bench_pass_run(pass, document) != 0) {
      status = EXIT_FAILURE;
    }
  }
  return status;
}

/* As JSON, or as tables. Returns the exit status. */
static int print(const struct bench_document *document, const struct bench_options *options)
{
  kvi_strbuf out;
  bool ok;

  kvi_strbuf_init(&out, TEXT_MAX);
  if (options->json)
    bench_document_json(document, &out);
  else
    bench_report(document, options->markdown, &out);
  ok = out.status == KVS_OK && fputs(kvi_strbuf_text(&out), stdout) >= 0 && fflush(stdout) == 0;
  kvi_strbuf_free(&out);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int bench_command_run(const struct bench_options *options, const struct bench_plan *plan,
                      struct bench_pass_options *pass)
{
  struct bench_document document = {0};
  int status;

  if (options->list) {
    list_rows(options, plan);
    return EXIT_SUCCESS;
  }
  document.machine.rounds = options->rounds;
  document.machine.seconds = options->seconds;
  status = measure(options, plan, pass, &document);
  bench_document_settle(&document);
  if (print(&document, options) != EXIT_SUCCESS)
    status = EXIT_FAILURE;
  bench_document_free(&document);
  return status;
}
