/* Runs kvasir-bench for a moment and looks at the shape of what it prints. Usage: bench_smoke KVASIR-BENCH KVASIRD */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#define OUTPUT_MAX (4u << 20)

static const char *bench, *kvasird;

static const char *environment = ""; /* before the command */

/* Runs the bench with the arguments; its output (to be freed) and exit status. */
static char *run(const char *arguments, int *status_p)
{
  char command[8192];
  char *output = calloc(1, OUTPUT_MAX + 1);
  FILE *pipe;

  assert_non_null(output);
  snprintf(command, sizeof command, "%s'%s' %s", environment, bench, arguments);
  pipe = popen(command, "re"); /* NOLINT(cert-env33-c): a path and options of the build's own */
  assert_non_null(pipe);
  output[fread(output, 1, OUTPUT_MAX, pipe)] = '\0';
  *status_p = WEXITSTATUS(pclose(pipe));
  return output;
}

static double number(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  assert_true(cJSON_IsNumber(item));
  return item->valuedouble;
}

static const char *text(const cJSON *object, const char *name)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

  assert_true(cJSON_IsString(item));
  return item->valuestring;
}

static const cJSON *row_named(const cJSON *rows, const char *name)
{
  const cJSON *row;

  cJSON_ArrayForEach(row, rows)
  {
    if (strcmp(text(row, "name"), name) == 0)
      return row;
  }
  return NULL;
}

static void check_ratios(const cJSON *rows, const cJSON *row)
{
  const cJSON *ratios = cJSON_GetObjectItemCaseSensitive(row, "ratios");
  const cJSON *ratio;

  assert_true(cJSON_IsArray(ratios));
  cJSON_ArrayForEach(ratio, ratios)
  {
    assert_non_null(row_named(rows, text(ratio, "to"))); /* of this very document */
    assert_true(number(ratio, "min") <= number(ratio, "median"));
    assert_true(number(ratio, "median") <= number(ratio, "max"));
    assert_true(number(ratio, "min") > 0);
  }
}

static void check_row(const cJSON *rows, const cJSON *row)
{
  const cJSON *p50 = cJSON_GetObjectItemCaseSensitive(row, "p50_us");
  const cJSON *p99 = cJSON_GetObjectItemCaseSensitive(row, "p99_us");

  assert_true(strlen(text(row, "unit")) > 0);
  assert_true(number(row, "min") <= number(row, "median"));
  assert_true(number(row, "median") <= number(row, "max"));
  assert_true(number(row, "runs") >= 1);
  assert_true(cJSON_IsNumber(p50) || cJSON_IsNull(p50));
  assert_true(cJSON_IsNumber(p99) || cJSON_IsNull(p99));
  check_ratios(rows, row);
}

static void check_document(const cJSON *document, const char *const *expected, size_t n)
{
  const cJSON *machine = cJSON_GetObjectItemCaseSensitive(document, "machine");
  const cJSON *rows = cJSON_GetObjectItemCaseSensitive(document, "rows");
  const cJSON *row;

  assert_true(number(machine, "cores") >= 1);
  assert_true(number(machine, "rounds") == 1);
  assert_true(cJSON_IsArray(rows));
  cJSON_ArrayForEach(row, rows)
  {
    check_row(rows, row);
  }
  for (size_t i = 0; i < n; i++)
    if (row_named(rows, expected[i]) == NULL)
      fail_msg("no row %s", expected[i]);
}

static void a_document_with_every_way(void **state)
{
  static const char *const expected[] = {"raw-tcp-get-64KiB-d1",
                                         "raw-unix-put-64KiB-d1",
                                         "memcpy-copy-64KiB-d1",
                                         "grpc-tcp-get-64KiB-d1",
                                         "grpc-tcp-put-64KiB-d1",
                                         "grpc-tcp-get-64KiB-batch16",
                                         "grpc-unix-get-64KiB-d1",
                                         "embedded-get-64KiB-d1",
                                         "embedded-put-64KiB-d1",
                                         "lookup-16",
                                         "empty-call",
                                         "read-your-write",
                                         "store-lookup-512",
                                         "grpc-tcp-get-64KiB-d1-cpu-client",
                                         "grpc-tcp-get-64KiB-d1-p99",
                                         "grpc-tcp-get-64KiB-d1-cpu-server"};
  char arguments[4096];
  int status;
  char *output;
  cJSON *document;

  (void)state;
  snprintf(
      arguments, sizeof arguments,
      "net --json --no-pin --rounds 1 --seconds 0.05 --kvasird '%s' --only "
      "'^(raw-tcp|raw-unix|memcpy|grpc-tcp|grpc-unix|embedded)-(get|put|copy)-64KiB-(d1|batch16)$|lookup|"
      "read-your-write'",
      kvasird);
  output = run(arguments, &status);
  document = cJSON_Parse(output);
  assert_int_equal(status, 0);
  assert_non_null(document);
  check_document(document, expected, sizeof expected / sizeof expected[0]);
  /* A promise, not a speed. */
  assert_true(number(row_named(cJSON_GetObjectItem(document, "rows"), "read-your-write"), "min") == 100.0);
  cJSON_Delete(document);
  free(output);
}

static void tiers(void **state)
{
  static const char *const expected[] = {"ssd-write-2MiB-d8",
                                         "ssd-write-2MiB-d8-cpu-client",
                                         "ssd-durable-put-write-2MiB-d8",
                                         "ssd-read-2MiB-d8",
                                         "ssd-randread-64KiB-d16",
                                         "dram-get-mixed-t4",
                                         "dram-put-mixed-t4",
                                         "memcpy-copy-mixed-t4",
                                         "dram-fragmentation",
                                         "ssd-open",
                                         "ssd-open-read",
                                         "store-open",
                                         "store-open-index"};
  char arguments[1024];
  int status;
  char *output;
  cJSON *document;

  (void)state;
  /* A PATH without programs: what comes with other packages is left out, and said. */
  snprintf(arguments, sizeof arguments,
           "tier --json --no-pin --rounds 1 --seconds 0.05 --volume 64MiB --chunks 1000 --directory /tmp "
           "--only '^ssd-(durable-put-write|write|read)-2MiB-d8$|^ssd-randread-64KiB-d16$|^dram|open'");
  environment = "PATH=/nowhere ";
  output = run(arguments, &status);
  environment = "";
  document = cJSON_Parse(output);
  assert_int_equal(status, 0);
  assert_non_null(document);
  check_document(document, expected, sizeof expected / sizeof expected[0]);
  assert_null(row_named(cJSON_GetObjectItem(document, "rows"), "fio-write-2MiB-d8"));
  cJSON_Delete(document);
  free(output);
}

/* A NumPy file of bf16 patterns with sequence, layer, token, head and dimension. */
static void write_tensor(const char *folder, const char *name, int tokens)
{
  char path[256], header[128];
  FILE *file;

  snprintf(path, sizeof path, "%s/%s", folder, name);
  file = fopen(path, "we");
  assert_non_null(file);
  snprintf(header, sizeof header, "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 1, %d, 2, 32), }",
           tokens);
  fprintf(file, "%cNUMPY%c%c%c%c%-117s\n", 0x93, 1, 0, 118, 0, header);
  for (int i = 0; i < 2 * tokens * 2 * 32; i++) {
    uint16_t pattern = (uint16_t)(0x3F00 + i * 7919 % 256 + (i * 31 % 2 << 15));

    assert_int_equal(fwrite(&pattern, sizeof pattern, 1, file), 1);
  }
  assert_int_equal(fclose(file), 0);
}

static const cJSON *point_named(const cJSON *set, const char *name)
{
  const cJSON *point;

  cJSON_ArrayForEach(point, cJSON_GetObjectItemCaseSensitive(set, "points"))
  {
    if (strcmp(text(point, "method"), name) == 0)
      return point;
  }
  fail_msg("no method %s", name);
  return NULL;
}

static void check_set(const cJSON *set)
{
  assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(point_named(set, "lossless"), "exact")));
  assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(point_named(set, "zstd-1"), "exact")));
  assert_true(number(point_named(set, "ladder-p0"), "bits") < number(point_named(set, "ladder-p2"), "bits"));
  assert_true(number(point_named(set, "ladder-p0"), "keys") > number(point_named(set, "ladder-p2"), "keys"));
}

/* Rates do not depend on the machine; speeds are there and not judged. The curves can be drawn. */
static void codec(void **state)
{
  static const char *const expected[] = {"synthetic-head64-lossless-bits",
                                         "synthetic-head64-ladder-p2-attention",
                                         "synthetic-head64-lmcache-32-16-keys",
                                         "files-lossless-bits",
                                         "memcpy",
                                         "decode-ladder-p2",
                                         "decode-ladder-p2-scalar",
                                         "decode-ladder-p2-cycles",
                                         "cores-ladder-p2-25Gbit"};
  char folder[] = "/tmp/kvasir-bench-data-XXXXXX", arguments[512];
  cJSON *document;
  char *output;
  FILE *file;
  int status;

  (void)state;
  assert_non_null(mkdtemp(folder));
  write_tensor(folder, "files-k.npy", 24);
  write_tensor(folder, "files-v.npy", 24);
  write_tensor(folder, "files-q.npy", 5);
  snprintf(arguments, sizeof arguments,
           "codec --json --data %s --synthetic head64 --layers 1 --rounds 1 --seconds 0.01 --only "
           "'-(lossless|zstd-1|ladder-p[02]|lmcache-32-16)$|^decode-ladder-p2'",
           folder);
  output = run(arguments, &status);
  document = cJSON_Parse(output);
  assert_int_equal(status, 0);
  assert_non_null(document);
  check_document(document, expected, sizeof expected / sizeof expected[0]);
  assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(document, "sets")), 2);
  check_set(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "sets"), 0));
  check_set(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "sets"), 1));
  cJSON_Delete(document);
  snprintf(arguments, sizeof arguments, "%s/files-q.npy", folder);
  file = fopen(arguments, "we"); /* no longer a tensor */
  assert_non_null(file);
  assert_int_equal(fwrite(output, 1, strlen(output), file), strlen(output));
  assert_int_equal(fclose(file), 0);
  free(output);
  snprintf(arguments, sizeof arguments, "plot %s/files-q.npy", folder);
  output = run(arguments, &status);
  assert_int_equal(status, 0);
  assert_non_null(strstr(output, "</svg>"));
  assert_non_null(strstr(output, "synthetic-head64"));
  free(output);
  snprintf(arguments, sizeof arguments, "codec --no-speed --synthetic none --data %s 2>&1", folder);
  output = run(arguments, &status);
  assert_int_equal(status, 1);
  assert_non_null(strstr(output, "not a NumPy file"));
  free(output);
  snprintf(arguments, sizeof arguments, "rm -r '%s'", folder);
  assert_int_equal(system(arguments), 0); /* NOLINT(cert-env33-c): a folder of our own */
}

static void usage_errors(void **state)
{
  static const char *const wrong[] = {"net --rounds 0 2>&1",
                                      "net --rounds 65 2>&1",
                                      "net --seconds -1 2>&1",
                                      "net --peer mooncake 2>&1",
                                      "net --endpoint nowhere 2>&1",
                                      "net --only '(' 2>&1",
                                      "net extra 2>&1",
                                      "net --pin --no-pin 2>&1",
                                      "nothing 2>&1",
                                      "tier --chunks 0 2>&1",
                                      "tier --volume 1MiB 2>&1",
                                      "tier --directory /nowhere 2>&1",
                                      "tier --lmcache /nowhere 2>&1",
                                      "tier --pin --no-pin 2>&1",
                                      "tier --only '(' 2>&1",
                                      "codec --synthetic head7 2>&1",
                                      "codec --synthetic head64,, 2>&1",
                                      "codec --data /nowhere 2>&1",
                                      "codec --layers 0 2>&1",
                                      "codec --rounds 0 2>&1",
                                      "codec --only '(' 2>&1",
                                      "codec extra 2>&1"};
  int status;

  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    char *output = run(wrong[i], &status);

    assert_int_equal(status, 2);
    assert_true(strlen(output) > 0);
    free(output);
  }
}

/* A node that is not there is an error with a reason, and nothing is left running or printed as a result. */
static void a_server_that_does_not_start(void **state)
{
  int status;
  char *output = run(
      "net --json --no-pin --rounds 1 --seconds 0.05 --only '^empty-call$' --kvasird /nowhere 2>&1", &status);

  (void)state;
  assert_int_equal(status, 1);
  assert_non_null(strstr(output, "/nowhere"));
  free(output);
}

/* A program in place of the Python with LMCache: it says that it is ready and gives each order the same answer. */
static void make_peer(char path[], const char *answer)
{
  int fd = mkstemp(path);
  FILE *program = fd >= 0 ? fdopen(fd, "w") : NULL;

  assert_non_null(program);
  fprintf(program, "#!/bin/sh\necho '{\"ok\":true}'\nwhile read -r order; do echo '%s'; done\n", answer);
  assert_int_equal(fchmod(fd, 0700), 0);
  assert_int_equal(fclose(program), 0);
}

static char *run_peer(const char *program, int *status_p)
{
  char arguments[512];

  snprintf(arguments, sizeof arguments,
           "tier --json --no-pin --rounds 1 --seconds 0.05 --directory /tmp --lmcache '%s' --only "
           "'^lmcache-resp-put-2MiB-c4' 2>&1",
           program);
  return run(arguments, status_p);
}

/* What the program behind LMCache's rows counts is what they say; what goes wrong there is told, and the row has no value. */
static void another_program_that_measures(void **state)
{
  char good[] = "/tmp/kvasir-bench-peer-XXXXXX", bad[] = "/tmp/kvasir-bench-peer-XXXXXX";
  cJSON *document;
  char *output;
  int status;

  (void)state;
  /* NOLINTNEXTLINE(cert-env33-c): a question about the machine */
  if (system("command -v redis-server > /dev/null") != 0)
    skip();
  make_peer(good,
            "{\"ok\":true,\"operations\":500,\"seconds\":2,\"p50_us\":7,\"p99_us\":9,\"cpu_seconds\":1}");
  output = run_peer(good, &status);
  assert_int_equal(status, 0);
  document = cJSON_Parse(strchr(output, '{'));
  /* 500 * 2 MiB in 2 s */
  assert_float_equal(
      number(row_named(cJSON_GetObjectItem(document, "rows"), "lmcache-resp-put-2MiB-c4"), "median"),
      0.524288, 1e-3);
  cJSON_Delete(document);
  free(output);
  make_peer(bad, "{\"ok\":false,\"why\":\"half of it is missing\"}");
  output = run_peer(bad, &status);
  assert_int_equal(status, 1);
  assert_non_null(strstr(output, "half of it is missing"));
  assert_null(strstr(output, "lmcache-resp-put-2MiB-c4\""));
  free(output);
  output = run_peer("/bin/false", &status);
  assert_int_equal(status, 1);
  assert_non_null(strstr(output, "no answer"));
  free(output);
  unlink(good);
  unlink(bad);
}

static void rows_can_be_listed(void **state)
{
  int status;
  char *output = run("net --list", &status);

  (void)state;
  assert_int_equal(status, 0);
  assert_non_null(strstr(output, "\ngrpc-tcp-get-2MiB-d1-pin\n"));
  assert_non_null(strstr(output, "\ngrpc-tcp-put-32MiB-d1\n"));
  free(output);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(usage_errors),
      cmocka_unit_test(rows_can_be_listed),
      cmocka_unit_test(a_server_that_does_not_start),
      cmocka_unit_test(a_document_with_every_way),
      cmocka_unit_test(tiers),
      cmocka_unit_test(codec),
      cmocka_unit_test(another_program_that_measures),
  };

  if (argc != 3)
    return 2;
  bench = argv[1];
  kvasird = argv[2];
  return cmocka_run_group_tests(tests, NULL, NULL);
}
