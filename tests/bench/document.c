#include "tests/bench/document.h"

#include <stdlib.h>
#include <string.h>

void bench_document_free(struct bench_document *document)
{
  free(document->rows);
  document->rows = NULL;
  document->n_rows = 0;
  document->room = 0;
}

const struct bench_row *bench_document_find(const struct bench_document *document, const char *name)
{
  for (size_t i = 0; i < document->n_rows; i++)
    if (strcmp(document->rows[i].name, name) == 0)
      return &document->rows[i];
  return NULL;
}

static struct bench_row *row_for(struct bench_document *document, const struct bench_row_id *id)
{
  char name[BENCH_NAME_MAX];
  struct bench_row *row;

  bench_row_name(id, name);
  for (size_t i = 0; i < document->n_rows; i++)
    if (strcmp(document->rows[i].name, name) == 0)
      return &document->rows[i];
  if (document->n_rows == document->room) {
    size_t room = document->room > 0 ? 2 * document->room : 128;
    struct bench_row *rows = realloc(document->rows, room * sizeof *rows);

    if (rows == NULL)
      return NULL;
    document->rows = rows;
    document->room = room;
  }
  row = &document->rows[document->n_rows++];
  memset(row, 0, sizeof *row);
  row->id = *id;
  memcpy(row->name, name, sizeof row->name);
  return row;
}

/* Below 0: not known. */
static double value_of(const struct bench_sample *sample, enum bench_kind kind)
{
  switch (kind) {
  case BENCH_P50:
    return sample->p50_us;
  case BENCH_P99:
    return sample->p99_us;
  case BENCH_FIRST_SEGMENT:
    return sample->first_us;
  case BENCH_CPU_CLIENT:
    return sample->cpu_client;
  case BENCH_CPU_SERVER:
    return sample->cpu_server;
  case BENCH_CPU_BOTH:
    return sample->cpu_server < 0.0 ? -1.0 : sample->cpu_client + sample->cpu_server;
  case BENCH_READ_BYTES:
    return sample->read_bytes; /* bytes a chunk are MB a million */
  case BENCH_INDEX_BYTES:
    return sample->index_bytes;
  default:
    return sample->value;
  }
}

kvs_status bench_document_add(struct bench_document *document, const struct bench_case *what, bool pin,
                              size_t round, const struct bench_sample *sample, bool clean)
{
  for (int kind = 0; kind < BENCH_KINDS; kind++) {
    struct bench_row_id id = {.what = *what, .pin = pin, .kind = (enum bench_kind)kind};
    double value = value_of(sample, id.kind);
    struct bench_row *row;

    if (!bench_case_has(what, id.kind) || value < 0.0)
      continue;
    row = row_for(document, &id);
    if (row == NULL)
      return KVS_ERR_NOMEM;
    bench_series_set(&row->value, round, value, clean);
    if (id.kind != BENCH_VALUE)
      continue;
    bench_series_set(&row->p50, round, sample->p50_us, clean);
    bench_series_set(&row->p99, round, sample->p99_us, clean);
  }
  return KVS_OK;
}

struct bench_summary bench_document_ratio(const struct bench_document *document, const struct bench_row *row,
                                          const char *to)
{
  const struct bench_row *reference = bench_document_find(document, to);

  if (row == NULL || reference == NULL)
    return (struct bench_summary){0};
  return bench_series_ratio(&row->value, &reference->value);
}

void bench_document_settle(struct bench_document *document)
{
  struct bench_machine *machine = &document->machine;

  machine->dropped = 0;
  machine->disturbed = 0;
  for (size_t i = 0; i < document->n_rows; i++) {
    struct bench_row *row = &document->rows[i];
    bool main_row = row->id.kind == BENCH_VALUE; /* its latencies and costs come from the same runs */

    row->disturbed = !bench_series_settle(&row->value, main_row ? &machine->dropped : NULL);
    machine->disturbed += main_row && row->disturbed;
    bench_series_settle(&row->p50, NULL);
    bench_series_settle(&row->p99, NULL);
  }
}
