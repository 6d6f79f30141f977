/*
 * fault_client: one get or put through libkvasir, and a signal to the node in the middle of it.
 *
 *     fault_client ENDPOINT NODE_PID store|get|put|get-put|check SIGNAL TIMEOUT_MS GRACE_MS
 *
 * store   puts a batch and ends; what get reads later
 * get     reads that batch; when its first segment is there the node gets SIGNAL (STOP, KILL, NONE)
 * put     puts another batch; when the node has taken some of it the node gets SIGNAL
 * get-put reads what put wrote: as far as it is there, its bytes are right
 * check   the node serves: puts, looks up and gets, bytes compared
 *
 * SIGNAL OTHERS: somebody else hurts the node, a proxy say, and nothing is sent from here.
 *
 * After the signal the operation must end within TIMEOUT_MS + GRACE_MS, its memory is freed at once, a
 * stopped node is continued, and the program lives on for a while so that a late touch of freed memory would
 * be seen. Prints one line, and the word "freed" when it did that; exit code 0: as it must be, 1: not, 2:
 * usage or set-up.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kvasir/client.h>

#include "base/clock.h"

#define CHUNKS           12u
#define SEGMENTS         4u
#define SEGMENT_BYTES    (1u << 20)
#define CHUNK_BYTES      (SEGMENTS * SEGMENT_BYTES)
#define KEY_LENGTH       32u
#define SETUP_MS         20000u
#define AFTERLIFE_MS     1500u /* a stopped node is continued and answers into the void */
#define MIDDLE_OF_PUT_MS 3u
#define OTHERS           (-1)

struct batch {
  uint8_t keys[CHUNKS * KEY_LENGTH];
  uint32_t segment_lengths[SEGMENTS];
  kvsc_iov iov[CHUNKS];
  kvsc_chunk chunks[CHUNKS];
  uint64_t *memory; /* WORDS of them */
};

/* ---- a batch whose bytes follow from its seed ---- */

#define WORDS ((size_t)CHUNKS * CHUNK_BYTES / sizeof(uint64_t))

static uint64_t word_at(uint8_t seed, size_t at)
{
  return (seed + at) * UINT64_C(0x9E3779B97F4A7C15);
}

static bool batch_init(struct batch *batch, uint8_t seed, bool filled)
{
  memset(batch, 0, sizeof(*batch));
  batch->memory = malloc(WORDS * sizeof(uint64_t));
  if (batch->memory == NULL)
    return false;
  for (size_t at = 0; at < WORDS; at++)
    batch->memory[at] = filled ? word_at(seed, at) : 0;
  for (uint32_t i = 0; i < SEGMENTS; i++)
    batch->segment_lengths[i] = SEGMENT_BYTES;
  for (uint32_t i = 0; i < CHUNKS; i++) {
    memset(batch->keys + i * KEY_LENGTH, seed, KEY_LENGTH);
    batch->keys[i * KEY_LENGTH] = (uint8_t)i;
    batch->iov[i] =
        (kvsc_iov){.base = (uint8_t *)batch->memory + (size_t)i * CHUNK_BYTES, .length = CHUNK_BYTES};
    batch->chunks[i] = (kvsc_chunk){.iov = &batch->iov[i], .n_iov = 1};
    if (filled) {
      batch->chunks[i].n_segments = SEGMENTS;
      batch->chunks[i].segment_lengths = batch->segment_lengths;
    }
  }
  return true;
}

static void batch_free(struct batch *batch)
{
  free(batch->memory);
  batch->memory = NULL;
}

/* The first `chunks` are whole. */
static bool batch_is_right(const struct batch *batch, uint8_t seed, uint32_t chunks)
{
  for (size_t at = 0; at < WORDS / CHUNKS * chunks; at++)
    if (batch->memory[at] != word_at(seed, at))
      return false;
  return true;
}

static kvsc_keys batch_keys(const struct batch *batch)
{
  kvsc_keys keys = {.struct_size = sizeof(keys), .n = CHUNKS, .keys = batch->keys, .unchained = 1};

  return keys;
}

/* ---- operations ---- */

static kvs_status start(kvsc_space *space, const struct batch *batch, bool put, uint32_t timeout_ms,
                        kvsc_op *op_p)
{
  kvsc_call call = {.struct_size = sizeof(call), .timeout_ms = timeout_ms};
  kvsc_keys keys = batch_keys(batch);

  return put ? kvsc_put(space, &keys, batch->chunks, &call, op_p)
             : kvsc_get(space, &keys, batch->chunks, &call, op_p);
}

static int run_whole(kvsc_client *client, kvsc_space *space, struct batch *batch, bool put)
{
  kvsc_completion completion;
  kvsc_op op;
  kvs_status status = start(space, batch, put, SETUP_MS, &op);

  if (status == KVS_OK)
    status = kvsc_wait(client, op, SETUP_MS + 1000, &completion);
  if (status == KVS_OK)
    status = completion.status;
  if (status != KVS_OK || completion.n_ok != CHUNKS) {
    printf("%s did not do: %s\n", put ? "put" : "get", kvs_status_text(status));
    return 1;
  }
  return 0;
}

static int do_store(kvsc_client *client, kvsc_space *space, uint8_t seed)
{
  struct batch batch;
  int result;

  if (!batch_init(&batch, seed, true))
    return 2;
  result = run_whole(client, space, &batch, true);
  batch_free(&batch);
  return result;
}

static int do_check(kvsc_client *client, kvsc_space *space)
{
  struct batch batch;
  uint8_t seed = (uint8_t)(getpid() | 1);
  int result = do_store(client, space, seed);

  if (result != 0 || !batch_init(&batch, seed, false))
    return result != 0 ? result : 2;
  result = run_whole(client, space, &batch, false);
  if (result == 0 && !batch_is_right(&batch, seed, CHUNKS)) {
    printf("check: other bytes came back than were put\n");
    result = 1;
  }
  batch_free(&batch);
  return result;
}

/* Sees to it that the operation is under way: some of a get has come, or a put has had a moment to send. */
static void into_the_middle(kvsc_client *client, kvsc_op op, bool put)
{
  struct timespec moment = {.tv_nsec = MIDDLE_OF_PUT_MS * 1000000L};

  if (put)
    nanosleep(&moment, NULL);
  else
    kvsc_wait_progress(client, op, 0, 1, SETUP_MS);
}

struct fault {
  pid_t node;
  int signal; /* 0: none; OTHERS: not from here */
  uint32_t timeout_ms, grace_ms;
};

static int judge(const struct fault *fault, bool put, const kvsc_completion *completion, uint64_t elapsed_ms)
{
  printf("%s: %s, %u of %u chunks, after %" PRIu64 " ms of %u\n", put ? "put" : "get",
         kvs_status_name(completion->status), completion->n_ok, completion->n, elapsed_ms, fault->timeout_ms);
  if (elapsed_ms > fault->timeout_ms + fault->grace_ms) {
    printf("it ended too late\n");
    return 1;
  }
  /* A get never fails for a node's sake: what did not come is a miss. */
  if (!put && completion->status != KVS_OK && completion->status != KVS_PARTIAL &&
      completion->status != KVS_MISS && completion->status != KVS_ERR_DEADLINE) {
    printf("a get must be a miss\n");
    return 1;
  }
  return 0;
}

static int do_fault(kvsc_client *client, kvsc_space *space, bool put, uint8_t seed, const struct fault *fault)
{
  struct batch batch;
  kvsc_completion completion;
  kvsc_op op;
  int result;

  if (!batch_init(&batch, seed, put))
    return 2;
  uint64_t began = kvi_now_ns();
  kvs_status status = start(space, &batch, put, fault->timeout_ms, &op);
  if (status != KVS_OK) {
    printf("it did not start: %s\n", kvs_status_text(status));
    batch_free(&batch);
    return 2;
  }
  if (fault->signal != OTHERS)
    into_the_middle(client, op, put);
  if (fault->signal > 0 && kill(fault->node, fault->signal) != 0)
    perror("kill");

  status = kvsc_wait(client, op, fault->timeout_ms + fault->grace_ms + 30000, &completion);
  uint64_t elapsed_ms = (kvi_now_ns() - began) / KVI_NS_PER_MS;
  if (status != KVS_OK) {
    printf("it never ended: %s\n", kvs_status_text(status));
    return 1; /* its memory is still in use */
  }
  result = judge(fault, put, &completion, elapsed_ms);
  if (!put && !batch_is_right(&batch, seed, completion.n_prefix)) {
    printf("wrong bytes in a chunk that is said to be whole\n");
    result = 1;
  }
  batch_free(&batch);
  printf("freed\n");

  if (fault->signal == SIGSTOP)
    kill(fault->node, SIGCONT);
  struct timespec afterlife = {.tv_sec = AFTERLIFE_MS / 1000, .tv_nsec = (AFTERLIFE_MS % 1000) * 1000000L};
  nanosleep(&afterlife, NULL);
  return result;
}

/* ---- the command line ---- */

static bool parse_signal(const char *word, int *signal_p)
{
  static const struct {
    const char *word;
    int number;
  } signals[] = {{"NONE", 0}, {"STOP", SIGSTOP}, {"KILL", SIGKILL}, {"OTHERS", OTHERS}};

  for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
    if (strcmp(word, signals[i].word) == 0) {
      *signal_p = signals[i].number;
      return true;
    }
  }
  return false;
}

static int run(kvsc_client *client, const char *what, const struct fault *fault)
{
  kvs_space_desc desc = {.struct_size = sizeof(desc),
                         .model = "fault",
                         .engine = "fault_client",
                         .layout = KVS_LAYOUT_OPAQUE,
                         .tokens_per_chunk = 256,
                         .key_length = KEY_LENGTH,
                         .chunk_bytes = CHUNK_BYTES};
  kvsc_space *space;
  kvs_status status = kvsc_space_open(client, &desc, &space);

  if (status != KVS_OK) {
    printf("no space: %s\n", kvs_status_text(status));
    return 2;
  }
  if (strcmp(what, "store") == 0)
    return do_store(client, space, 7);
  if (strcmp(what, "check") == 0)
    return do_check(client, space);
  if (strcmp(what, "get") == 0)
    return do_fault(client, space, false, 7, fault);
  if (strcmp(what, "put") == 0)
    return do_fault(client, space, true, 9, fault);
  if (strcmp(what, "get-put") == 0)
    return do_fault(client, space, false, 9, fault);
  return 2;
}

int main(int argc, char **argv)
{
  kvsc_options options = {.struct_size = sizeof(options), .wait_connected_ms = SETUP_MS};
  struct fault fault;
  kvsc_client *client;
  int result;

  if (argc != 7 || !parse_signal(argv[4], &fault.signal)) {
    fprintf(stderr, "usage: fault_client ENDPOINT NODE_PID store|get|put|get-put|check STOP|KILL|NONE|OTHERS "
                    "TIMEOUT_MS GRACE_MS\n");
    return 2;
  }
  options.endpoint = argv[1];
  fault.node = (pid_t)strtol(argv[2], NULL, 10);
  fault.timeout_ms = (uint32_t)strtoul(argv[5], NULL, 10);
  fault.grace_ms = (uint32_t)strtoul(argv[6], NULL, 10);
  setvbuf(stdout, NULL, _IOLBF, 0);

  kvs_status status = kvsc_open(&options, &client);
  if (status != KVS_OK) {
    printf("no client: %s\n", kvs_status_text(status));
    return 2;
  }
  result = run(client, argv[3], &fault);
  kvsc_close(client);
  return result;
}
