#include "tests/bench/document.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "tests/bench/affinity.h"

static void read_cpu_name(char *name, size_t size)
{
  FILE *info = fopen("/proc/cpuinfo", "re");
  char line[256];

  snprintf(name, size, "unknown");
  if (info == NULL)
    return;
  while (fgets(line, sizeof line, info) != NULL) {
    const char *colon = strchr(line, ':');

    if (colon == NULL || strncmp(line, "model name", 10) != 0)
      continue;
    line[strcspn(line, "\n")] = '\0';
    snprintf(name, size, "%s", colon + 2);
    break;
  }
  fclose(info);
}

void bench_machine_json(const struct bench_machine *machine, kvi_strbuf *out)
{
  struct utsname system = {0};
  struct sysinfo memory = {0};
  char cpu[128];

  read_cpu_name(cpu, sizeof cpu);
  uname(&system);
  sysinfo(&memory);
  kvi_strbuf_add(out, "{\"cpu\":");
  kvi_strbuf_add_json(out, cpu);
  kvi_strbuf_addf(out, ",\"cores\":%d,\"memory_bytes\":%llu,\"kernel\":", bench_cores(),
                  (unsigned long long)memory.totalram * memory.mem_unit);
  kvi_strbuf_add_json(out, system.release);
  kvi_strbuf_addf(out, ",\"version\":\"%s\",\"rounds\":%u,\"seconds\":%g", KVASIR_VERSION, machine->rounds,
                  machine->seconds);
  kvi_strbuf_addf(out,
                  ",\"dropped_runs\":%u,\"repeated_runs\":%u,\"disturbed_cases\":%u,\"others_cores\":%.3f}",
                  machine->dropped, machine->repeated, machine->disturbed, machine->others_median);
}

static void add_ratios(const struct bench_document *document, const struct bench_row *row, kvi_strbuf *out)
{
  struct bench_row_id references[BENCH_RATIOS_MAX];
  size_t n = bench_row_references(&row->id, references, BENCH_RATIOS_MAX);
  char name[BENCH_NAME_MAX];
  bool first = true;

  for (size_t i = 0; i < n; i++) {
    struct bench_summary ratio;

    bench_row_name(&references[i], name);
    ratio = bench_document_ratio(document, row, name);
    if (ratio.n == 0)
      continue;
    kvi_strbuf_addf(out, "%s{\"to\":\"%s\",\"median\":%.4g,\"min\":%.4g,\"max\":%.4g}", first ? "" : ",",
                    name, ratio.median, ratio.min, ratio.max);
    first = false;
  }
}

/* null where a row has no latencies of its own: those of a cost, or of another row that is a latency itself. */
static void add_latency(const struct bench_series *series, const char *name, kvi_strbuf *out)
{
  struct bench_summary summary = bench_series_summary(series);

  if (summary.n == 0)
    kvi_strbuf_addf(out, ",\"%s\":null", name);
  else
    kvi_strbuf_addf(out, ",\"%s\":%.5g", name, summary.median);
}

static void add_row(const struct bench_document *document, const struct bench_row *row, kvi_strbuf *out)
{
  struct bench_summary value = bench_series_summary(&row->value);

  kvi_strbuf_addf(out, "{\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.6g,\"min\":%.6g,\"max\":%.6g",
                  row->name, bench_row_unit(&row->id), value.median, value.min, value.max);
  add_latency(&row->p50, "p50_us", out);
  add_latency(&row->p99, "p99_us", out);
  kvi_strbuf_addf(out, ",\"runs\":%zu,\"ratios\":[", value.n);
  add_ratios(document, row, out);
  kvi_strbuf_add(out, "]}");
}

void bench_document_json(const struct bench_document *document, kvi_strbuf *out)
{
  kvi_strbuf_add(out, "{\"machine\":");
  bench_machine_json(&document->machine, out);
  kvi_strbuf_add(out, ",\"rows\":[");
  for (size_t i = 0; i < document->n_rows; i++) {
    if (i > 0)
      kvi_strbuf_add(out, ",\n");
    add_row(document, &document->rows[i], out);
  }
  kvi_strbuf_add(out, "]}\n");
}
