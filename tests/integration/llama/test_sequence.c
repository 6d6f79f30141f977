/*
 * Chunks cut from one context and appended to another, against the real libllama: the logits after the
 * restored prefix must be bit for bit those of a run that computed it all. Arguments: the folder with the
 * models of kvasir-mkmodel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connector/llamacpp/runtime.h"
#include "connector/llamacpp/sequence.h"

enum { CHUNK = 64, N_CHUNKS = 6, TAIL = 21, N_TOKENS = N_CHUNKS * CHUNK + TAIL };

typedef struct setting {
  const char *name, *model;
  enum ggml_type type;
  bool flash, unified;
  uint32_t n_seq, n_ubatch;
  kvi_llama_way way;
  uint32_t group; /* chunks appended at once */
} setting;

static const char *folder;

static struct llama_model *load(const char *name)
{
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s.gguf", folder, name);
  struct llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
  assert_non_null(model);
  return model;
}

static struct llama_context_params context_params(const setting *s)
{
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = 1024 * (s->unified ? 1 : s->n_seq);
  params.n_batch = 512;
  params.n_ubatch = s->n_ubatch;
  params.n_seq_max = s->n_seq;
  params.n_threads = params.n_threads_batch = 1;
  params.type_k = params.type_v = s->type;
  params.flash_attn_type = s->flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.kv_unified = s->unified;
  params.swa_full = false;
  return params;
}

typedef struct engine {
  struct llama_context *context;
  kvi_llama_sequence seq;
} engine;

static void start(engine *e, struct llama_model *model, const setting *s)
{
  struct llama_context_params params = context_params(s);
  char error[256] = "";
  e->context = llama_init_from_model(model, params);
  assert_non_null(e->context);
  kvs_status status = kvi_llama_sequence_open(e->context, &params, CHUNK, (llama_seq_id)s->n_seq - 1, error,
                                              sizeof(error), &e->seq);
  if (status != KVS_OK)
    fail_msg("%s: %s", s->name, error);
  assert_int_equal(e->seq.way, s->way);
}

static void stop(engine *e)
{
  kvi_llama_sequence_close(&e->seq);
  llama_free(e->context);
}

static llama_token token_at(int i)
{
  return (llama_token)((i * 7919 + i * i * 31 + 5) % 1000);
}

/* Tokens [from, to) as one batch; logits for the last. */
static void decode(engine *e, int from, int to)
{
  struct llama_batch batch = llama_batch_init(to - from, 0, 1);
  batch.n_tokens = to - from;
  for (int i = from; i < to; i++) {
    batch.token[i - from] = token_at(i);
    batch.pos[i - from] = i;
    batch.n_seq_id[i - from] = 1;
    batch.seq_id[i - from][0] = 0;
    batch.logits[i - from] = i == to - 1;
  }
  assert_int_equal(llama_decode(e->context, batch), 0);
  llama_batch_free(batch);
}

static void assert_same_logits(engine *a, engine *b, const struct llama_model *model, const char *name)
{
  const size_t n = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model));
  const float *x = llama_get_logits_ith(a->context, -1), *y = llama_get_logits_ith(b->context, -1);
  assert_non_null(x);
  assert_non_null(y);
  float worst = 0, span = 0;
  for (size_t i = 0; i < n; i++) {
    const float difference = x[i] > y[i] ? x[i] - y[i] : y[i] - x[i];
    worst = difference > worst ? difference : worst;
    span = x[i] - x[0] > span ? x[i] - x[0] : span;
  }
  print_message("%s: max abs difference %g (logits span %g)\n", name, (double)worst, (double)span);
  assert_true(span > 0.01f);
  assert_memory_equal(x, y, n * sizeof(float));
}

static void run(const setting *s)
{
  struct llama_model *model = load(s->model);
  engine cold, warm;
  uint8_t *chunks[N_CHUNKS];
  size_t lengths[N_CHUNKS];

  start(&cold, model, s);
  for (int i = 0; i < N_CHUNKS; i++) {
    decode(&cold, i * CHUNK, (i + 1) * CHUNK);
    chunks[i] = malloc(cold.seq.chunk_room);
    assert_non_null(chunks[i]);
    assert_int_equal(kvi_llama_sequence_begin(&cold.seq, 0), KVS_OK);
    assert_int_equal(kvi_llama_sequence_cut(&cold.seq, 0, (uint32_t)i, chunks[i], &lengths[i]), KVS_OK);
    kvi_llama_sequence_end(&cold.seq);
  }
  decode(&cold, N_CHUNKS * CHUNK, N_TOKENS);

  start(&warm, model, s);
  for (uint32_t i = 0; i < N_CHUNKS; i += s->group)
    assert_int_equal(
        kvi_llama_sequence_append(&warm.seq, 0, i, (const uint8_t *const *)chunks + i, lengths + i, s->group),
        KVS_OK);
  decode(&warm, N_CHUNKS * CHUNK, N_TOKENS);
  assert_same_logits(&cold, &warm, model, s->name);

  /* What a restored sequence gives out again are the same bytes, where any chunk may be cut at any time. */
  assert_int_equal(kvi_llama_sequence_begin(&warm.seq, 0), KVS_OK);
  for (uint32_t i = 0; s->way == KVI_LLAMA_ROWS && i < N_CHUNKS; i++) {
    uint8_t *again = malloc(warm.seq.chunk_room);
    size_t length;
    assert_int_equal(kvi_llama_sequence_cut(&warm.seq, 0, i, again, &length), KVS_OK);
    assert_memory_equal(again, chunks[i], length);
    free(again);
  }
  kvi_llama_sequence_end(&warm.seq);
  for (int i = 0; i < N_CHUNKS; i++)
    free(chunks[i]);
  stop(&warm);
  stop(&cold);
  llama_model_free(model);
}

static const setting settings[] = {
    {"dense f16 flash unified", "dense", GGML_TYPE_F16, true, true, 2, 64, KVI_LLAMA_ROWS, 2},
    {"dense bf16 flash unified", "dense", GGML_TYPE_BF16, true, true, 2, 64, KVI_LLAMA_ROWS, 3},
    {"dense q8_0 flash unified", "dense", GGML_TYPE_Q8_0, true, true, 2, 64, KVI_LLAMA_ROWS, 6},
    {"dense f16 flash one sequence", "dense", GGML_TYPE_F16, true, false, 1, 64, KVI_LLAMA_ROWS, 6},
    {"dense f16 flash separate", "dense", GGML_TYPE_F16, true, false, 3, 64, KVI_LLAMA_ROWS, 6},
    {"dense f16 no flash unified", "dense", GGML_TYPE_F16, false, true, 2, 64, KVI_LLAMA_ROWS, 2},
    {"dense f16 flash long ubatch", "dense", GGML_TYPE_F16, true, true, 2, 512, KVI_LLAMA_ROWS, 2},
    {"dense f16 flash short ubatch", "dense", GGML_TYPE_F16, true, true, 2, 16, KVI_LLAMA_ROWS, 2},
    {"window f16 flash", "window", GGML_TYPE_F16, true, true, 2, 64, KVI_LLAMA_STATES, 2},
    {"window f16 no flash", "window", GGML_TYPE_F16, false, true, 2, 64, KVI_LLAMA_STATES, 1},
    {"window q8_0 flash", "window", GGML_TYPE_Q8_0, true, true, 2, 64, KVI_LLAMA_STATES, 6},
    {"hybrid f16 flash", "hybrid", GGML_TYPE_F16, true, true, 2, 64, KVI_LLAMA_STATES, 2},
    {"hybrid bf16 no flash", "hybrid", GGML_TYPE_BF16, false, true, 2, 64, KVI_LLAMA_STATES, 2},
    {"recurrent", "recurrent", GGML_TYPE_F16, true, false, 2, 64, KVI_LLAMA_STATES, 2},
};

static void logits_are_the_same(void **state)
{
  run(*state);
}

/* Without a spare sequence a hybrid's state cannot be cut, and open says so instead of aborting later. */
static void refuses_what_it_cannot_split(void **state)
{
  (void)state;
  const setting s = {"hybrid alone", "hybrid", GGML_TYPE_F16, true, false, 1, 64, KVI_LLAMA_STATES, 1};
  struct llama_model *model = load(s.model);
  struct llama_context_params params = context_params(&s);
  struct llama_context *context = llama_init_from_model(model, params);
  assert_non_null(context);
  char error[256] = "";
  kvi_llama_sequence seq;
  assert_int_equal(kvi_llama_sequence_open(context, &params, CHUNK, 0, error, sizeof(error), &seq),
                   KVS_ERR_UNSUPPORTED);
  assert_non_null(strstr(error, "spare sequence"));
  assert_int_equal(llama_memory_seq_pos_max(llama_get_memory(context), 0), -1);
  llama_free(context);
  llama_model_free(model);
}

static void states_are_cut_at_their_boundary_only(void **state)
{
  (void)state;
  const setting s = {"hybrid late", "hybrid", GGML_TYPE_F16, true, true, 2, 64, KVI_LLAMA_STATES, 1};
  struct llama_model *model = load(s.model);
  engine e;
  start(&e, model, &s);
  uint8_t *chunk = malloc(e.seq.chunk_room);
  size_t length;
  decode(&e, 0, CHUNK - 1);
  assert_int_equal(kvi_llama_sequence_cut(&e.seq, 0, 0, chunk, &length), KVS_MISS);
  decode(&e, CHUNK - 1, CHUNK);
  assert_int_equal(kvi_llama_sequence_cut(&e.seq, 0, 0, chunk, &length), KVS_OK);
  assert_int_equal(kvi_llama_sequence_cut(&e.seq, 0, 1, chunk, &length), KVS_MISS);
  decode(&e, CHUNK, CHUNK + 1);
  assert_int_equal(kvi_llama_sequence_cut(&e.seq, 0, 0, chunk, &length), KVS_MISS);
  free(chunk);
  stop(&e);
  llama_model_free(model);
}

/* A restore that fails leaves an empty sequence that can be decoded into. */
static void failed_append_leaves_nothing(void **state)
{
  (void)state;
  const setting s = {"hybrid damaged", "hybrid", GGML_TYPE_F16, true, true, 2, 64, KVI_LLAMA_STATES, 1};
  struct llama_model *model = load(s.model);
  engine e;
  start(&e, model, &s);
  uint8_t *chunk = malloc(e.seq.chunk_room);
  size_t length;
  decode(&e, 0, CHUNK);
  assert_int_equal(kvi_llama_sequence_cut(&e.seq, 0, 0, chunk, &length), KVS_OK);
  const uint8_t *chunks[] = {chunk};
  const size_t short_length = length / 2;
  assert_int_equal(kvi_llama_sequence_append(&e.seq, 0, 0, chunks, &short_length, 1), KVS_ERR_INTERNAL);
  assert_int_equal(llama_memory_seq_pos_max(llama_get_memory(e.context), 0), -1);
  assert_int_equal(kvi_llama_sequence_append(&e.seq, 0, 3, chunks, &length, 1), KVS_ERR_INVALID);
  decode(&e, 0, CHUNK);
  free(chunk);
  stop(&e);
  llama_model_free(model);
}

int main(int argc, char **argv)
{
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER-WITH-MODELS\n", argv[0]);
    return 2;
  }
  folder = argv[1];
  kvi_llama_runtime_start(false);
  enum { N_SETTINGS = sizeof(settings) / sizeof(settings[0]) };
  struct CMUnitTest tests[N_SETTINGS + 3] = {
      cmocka_unit_test(refuses_what_it_cannot_split),
      cmocka_unit_test(states_are_cut_at_their_boundary_only),
      cmocka_unit_test(failed_append_leaves_nothing),
  };
  for (size_t i = 0; i < N_SETTINGS; i++)
    tests[3 + i] = (struct CMUnitTest){settings[i].name, logits_are_the_same, NULL, NULL,
                                       (void *)(uintptr_t)&settings[i]};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  llama_backend_free();
  return failed;
}
