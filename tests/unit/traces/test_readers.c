/* What the readers take from each format, and what they say of what is none. */
#include "testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "client/traces/read.h"

static struct sim_trace *trace;
static struct sim_error error;

static int set_up(void **state)
{
  (void)state;
  error = (struct sim_error){0};
  return sim_trace_create(0, &trace) == KVS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  sim_trace_destroy(trace);
  return 0;
}

static kvs_status read_text(const char *text)
{
  return sim_read_text(trace, "some", SIM_AUTO, text, strlen(text), &error);
}

static void mooncake(void **state)
{
  (void)state;
  assert_int_equal(
      read_text(
          "{\"timestamp\": 0, \"input_length\": 1000, \"output_length\": 5, \"hash_ids\": [7, 8]}\n"
          "\n"
          "{\"timestamp\": 1500, \"input_length\": 1025, \"output_length\": 6, \"hash_ids\": [7, 9, 8]}\r\n"),
      KVS_OK);
  assert_int_equal(trace->n_requests, 2);
  assert_int_equal(trace->chunk_tokens, 512);
  assert_int_equal(trace->n_chunks, 4); /* 8 behind 9 is not 8 behind 7 */
  assert_int_equal(trace->requests[1].at_us, 1500000);
  assert_int_equal(trace->requests[1].output_tokens, 6);
  assert_int_equal(trace->refs[trace->requests[1].first], trace->refs[0]);
  assert_int_equal(sim_trace_tokens(trace, &trace->requests[0], 2), 1000);
  assert_false(trace->spread);
}

/* A chunk of 256 tokens is 16 of Bailian's blocks; what is left is in none. */
static void bailian(void **state)
{
  char text[2048], ids[512] = "";

  (void)state;
  for (int i = 0; i < 39; i++)
    snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s%d", i ? "," : "", i);
  snprintf(text, sizeof text,
           "{\"chat_id\":1,\"parent_chat_id\":-1,\"timestamp\":2.5,\"type\":\"text\",\"turn\":1,\"hash_ids\":"
           "[%s]}\n"
           "{\"chat_id\":2,\"parent_chat_id\":-1,\"timestamp\":3,\"turn\":1,\"input_length\":30,\"output_"
           "length\":4,\"hash_ids\":[1,2]}\n"
           "{\"chat_id\":3,\"parent_chat_id\":1,\"timestamp\":4,\"turn\":2,\"hash_ids\":[%s]}\n",
           ids, ids);
  assert_int_equal(read_text(text), KVS_OK);
  assert_int_equal(trace->n_requests, 3);
  assert_int_equal(trace->n_runs, 2);
  assert_int_equal(trace->requests[2].run, trace->requests[0].run);
  assert_int_equal(trace->requests[0].at_us, 2500000);
  assert_int_equal(trace->requests[0].n_chunks, 2);
  assert_int_equal(trace->requests[0].input_tokens, 39 * 16);
  assert_int_equal(trace->requests[1].n_chunks, 0);
  assert_int_equal(trace->n_chunks, 2);
}

static void agentic(void **state)
{
  static const char text[] = "{\"id\":\"a\",\"block_size\":256,\"requests\":["
                             "{\"t\":0.5,\"in\":512,\"out\":9,\"hash_ids\":[1,2],\"stop\":\"tool_use\",\"api_"
                             "time\":2.5,\"think_time\":null},"
                             "{\"t\":10,\"type\":\"subagent\",\"requests\":[{\"t\":1,\"in\":300,\"out\":1,"
                             "\"hash_ids\":[1],\"stop\":\"end_turn\"}]}]}";

  (void)state;
  assert_int_equal(read_text(text), KVS_OK);
  assert_int_equal(read_text(text), KVS_OK);
  assert_true(trace->spread);
  assert_int_equal(trace->n_runs, 2);
  assert_int_equal(trace->n_requests, 4);
  assert_int_equal(trace->n_chunks, 4); /* ids are of one file alone */
  assert_int_equal(trace->requests[0].wait, SIM_WAIT_TOOL);
  assert_true(trace->requests[0].api_s > 2.4 && trace->requests[0].think_s < 0);
  assert_int_equal(trace->requests[1].at_us, 11000000);
  assert_int_equal(trace->requests[1].agent, 1);
  assert_int_equal(trace->requests[1].wait, SIM_WAIT_HUMAN);
  assert_int_equal(trace->requests[3].run, 1);
}

/* Ids of chunks follow from their own file alone, not from what was read before it; one that comes twice has others the second time. */
static void ids_are_of_their_file(void **state)
{
  static const char
      one[] = "{\"timestamp\": 0, \"input_length\": 512, \"output_length\": 5, \"hash_ids\": [7]}\n",
      other[] = "{\"timestamp\": 1, \"input_length\": 512, \"output_length\": 5, \"hash_ids\": [7]}\n";
  uint64_t id;

  (void)state;
  assert_int_equal(read_text(one), KVS_OK);
  id = trace->id[0];
  sim_trace_destroy(trace);
  assert_int_equal(sim_trace_create(0, &trace), KVS_OK);
  assert_int_equal(read_text(other), KVS_OK);
  assert_int_equal(read_text(one), KVS_OK);
  assert_int_equal(read_text(one), KVS_OK);
  assert_int_equal(trace->n_chunks, 3);
  assert_true(trace->id[0] != id);
  assert_true(trace->id[1] == id);
  assert_true(trace->id[2] != id);
}

/* Not by how many runs there are: one conversation is told, many files of requests tell nothing. */
static void who_tells_runs(void **state)
{
  static const char lone[] =
      "{\"timestamp\": 0, \"input_length\": 512, \"output_length\": 5, \"hash_ids\": [7]}\n",
                    chat[] = "{\"chat_id\":1,\"parent_chat_id\":-1,\"timestamp\":3,\"hash_ids\":[1]}\n";

  (void)state;
  assert_int_equal(sim_read_text(trace, "some", SIM_BAILIAN, chat, strlen(chat), &error), KVS_OK);
  assert_int_equal(trace->n_runs, 1);
  assert_true(trace->tells_runs);
  sim_trace_destroy(trace);
  assert_int_equal(sim_trace_create(0, &trace), KVS_OK);
  assert_int_equal(read_text(lone), KVS_OK);
  assert_int_equal(read_text(lone), KVS_OK);
  assert_int_equal(trace->n_runs, 2);
  assert_false(trace->tells_runs);
}

struct wrong {
  const char *text, *says;
};

static void what_is_wrong(void **state)
{
  static const struct wrong wrongs[] = {
      {"nothing", "some:1: not a JSON object"},
      {"[1]", "some:1: not a JSON object"},
      {"{\"block_size\":64}", "\"requests\" is not an array"},
      {"{\"requests\":[]}", "\"block_size\" is missing"},
      {"{\"block_size\":0,\"requests\":[{\"t\":1,\"in\":1,\"out\":1,\"hash_ids\":[]}]}",
       "blocks of 0 tokens"},
      {"{\"block_size\":64,\"requests\":[{}]}", "request 1: \"t\" is missing"},
      {"{\"block_size\":64,\"requests\":[{\"t\":-1}]}", "request 1: \"t\" is not a number from 0"},
      {"{\"block_size\":64,\"requests\":[{\"t\":1,\"in\":1.5}]}", "\"in\" is not a whole number"},
      {"{\"block_size\":64,\"requests\":[{\"t\":1,\"in\":64,\"out\":1,\"hash_ids\":[1,2]}]}",
       "2 blocks of 64 tokens, but an input of 64"},
      {"{\"block_size\":64,\"requests\":[{\"t\":1,\"in\":64,\"out\":1,\"hash_ids\":[\"x\"]}]}",
       "\"hash_ids\" has"},
      {"{\"timestamp\":1}", "some:1: \"input_length\" is missing"},
      {"{\"timestamp\":0,\"input_length\":1,\"output_length\":0,\"hash_ids\":[]}\n{\"timestamp\":1e300}",
       "some:2: \"timestamp\" is not a number from 0"},
      {"{\"timestamp\":0,\"input_length\":1,\"output_length\":0,\"hash_ids\":[1e17]}", "\"hash_ids\" has"},
      {"{\"timestamp\":0,\"input_length\":1,\"output_length\":0,\"hash_ids\":[1",
       "some:1: not a JSON object"},
      {"{\"chat_id\":-5,\"timestamp\":0,\"hash_ids\":[]}", "\"chat_id\" is not a number"},
      {"{\"chat_id\":1,\"timestamp\":0}", "\"hash_ids\" is not an array"}};

  (void)state;
  for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
    error = (struct sim_error){0};
    assert_int_equal(read_text(wrongs[i].text), KVS_ERR_INVALID);
    if (strstr(error.text, wrongs[i].says) == NULL)
      fail_msg("\"%s\" does not say \"%s\"", error.text, wrongs[i].says);
  }
}

static void deep_nesting_ends(void **state)
{
  char text[4096] = "{\"block_size\":64,\"requests\":[";

  (void)state;
  for (int i = 0; i < 40; i++)
    strcat(text, "{\"t\":1,\"requests\":[");
  for (int i = 0; i < 40; i++)
    strcat(text, "]}");
  strcat(text, "]}");
  assert_int_equal(read_text(text), KVS_ERR_INVALID);
  assert_non_null(strstr(error.text, "nested too deep"));
}

static void two_kinds_do_not_mix(void **state)
{
  (void)state;
  assert_int_equal(read_text("{\"timestamp\":0,\"input_length\":1,\"output_length\":0,\"hash_ids\":[1]}"),
                   KVS_OK);
  assert_int_equal(
      read_text("{\"block_size\":512,\"requests\":[{\"t\":1,\"in\":512,\"out\":1,\"hash_ids\":[1]}]}"),
      KVS_ERR_INVALID);
  assert_non_null(strstr(error.text, "do not go together"));
}

static void chunks_are_whole_blocks(void **state)
{
  struct sim_trace *other;

  (void)state;
  assert_int_equal(sim_trace_create(100, &other), KVS_OK);
  sim_trace_destroy(trace);
  trace = other;
  assert_int_equal(read_text("{\"timestamp\":0,\"input_length\":1,\"output_length\":0,\"hash_ids\":[1]}"),
                   KVS_ERR_INVALID);
  assert_non_null(strstr(error.text, "not made of whole blocks"));
}

/* A file with these bytes, read by its path. */
static kvs_status read_bytes(const void *bytes, size_t length)
{
  char path[] = "/tmp/kvasir-sim-XXXXXX";
  int fd = mkstemp(path);
  kvs_status status;

  assert_true(fd >= 0);
  assert_int_equal(write(fd, bytes, length), length);
  close(fd);
  error = (struct sim_error){0};
  status = sim_read_path(trace, path, SIM_AUTO, &error);
  unlink(path);
  return status;
}

/* The header of a member of a tar archive. */
static void header(char *at, const char *name, const char *size)
{
  memset(at, 0, 512);
  strcpy(at, name);
  strcpy(at + 124, size);
  memcpy(at + 257, "ustar", 5);
  at[156] = '0';
}

static void archives(void **state)
{
  static const char run[] =
      "{\"block_size\":512,\"requests\":[{\"t\":1,\"in\":512,\"out\":1,\"hash_ids\":[1]}]}";
  static char tar[4096];
  char size[12];

  (void)state;
  snprintf(size, sizeof size, "%o", (unsigned)strlen(run));
  header(tar, "b.json", size);
  strcpy(tar + 512, run);
  header(tar + 1024, "readme", "1");
  header(tar + 2048, "a.json", size);
  strcpy(tar + 2560, run);
  assert_int_equal(read_bytes(tar, sizeof tar), KVS_OK);
  assert_int_equal(trace->n_runs, 2);
  header(tar, "b.json", "77777777777"); /* more than there is */
  assert_int_equal(read_bytes(tar, sizeof tar), KVS_ERR_INVALID);
  header(tar, "b.json", "12x");
  assert_int_equal(read_bytes(tar, sizeof tar), KVS_ERR_INVALID);
  header(tar, "b.txt", size);
  assert_int_equal(read_bytes(tar, 1024), KVS_ERR_INVALID);
  assert_non_null(strstr(error.text, "holds no *.json"));
}

static void packed_files(void **state)
{
  static const unsigned char cut[] = {0x28, 0xb5, 0x2f, 0xfd, 0x04},
                             bad[] = {0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

  (void)state;
  assert_int_equal(read_bytes(cut, sizeof cut), KVS_ERR_INVALID);
  assert_non_null(strstr(error.text, "cut short"));
  assert_int_equal(read_bytes(bad, sizeof bad), KVS_ERR_INVALID);
  error = (struct sim_error){0};
  assert_int_equal(sim_read_path(trace, "/nowhere/at\nall", SIM_AUTO, &error), KVS_ERR_SYSTEM);
  assert_null(strchr(error.text, '\n'));
}

/* The same text gives the same ids, and another file of it others where prompts begin. */
static void chunks_keep_their_ids(void **state)
{
  static const char text[] =
      "{\"timestamp\":0,\"input_length\":1024,\"output_length\":1,\"hash_ids\":[7,8]}\n";
  struct sim_trace *other;

  (void)state;
  assert_int_equal(sim_trace_create(0, &other), KVS_OK);
  assert_int_equal(sim_read_text(trace, "a", SIM_MOONCAKE, text, strlen(text), &error), KVS_OK);
  assert_int_equal(sim_read_text(other, "b", SIM_MOONCAKE, text, strlen(text), &error), KVS_OK);
  assert_int_equal(sim_read_text(other, "c", SIM_MOONCAKE, text, strlen(text), &error), KVS_OK);
  assert_int_equal(trace->n_chunks, 2);
  assert_int_equal(other->n_chunks, 4);
  assert_int_equal(trace->id[0], other->id[0]);
  assert_int_equal(trace->id[1], other->id[1]);
  assert_int_not_equal(other->id[0], other->id[2]);
  assert_int_equal(other->id[1], other->id[3]); /* what tells them apart is the chunk before */
  sim_trace_destroy(other);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
  const struct CMUnitTest tests[] = {TEST(mooncake),
                                     TEST(bailian),
                                     TEST(agentic),
                                     TEST(what_is_wrong),
                                     TEST(deep_nesting_ends),
                                     TEST(two_kinds_do_not_mix),
                                     TEST(chunks_are_whole_blocks),
                                     TEST(archives),
                                     TEST(packed_files),
                                     TEST(chunks_keep_their_ids),
                                     TEST(ids_are_of_their_file),
                                     TEST(who_tells_runs)};

  return cmocka_run_group_tests_name("traces/readers", tests, NULL, NULL);
}
