/*
 * The adapter over a real store: what one context computed another loads, with the same logits, and whatever
 * the store lacks is computed. Arguments: the folder with the models of kvasir-mkmodel, and an endpoint
 * (default: embedded).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <kvasir/llama.h>

#include "connector/llamacpp/runtime.h"

enum { CHUNK = 64, N_CHUNKS = 5, N_TOKENS = N_CHUNKS * CHUNK + 13 };

static const char *folder, *endpoint = "embedded:";

typedef struct setting {
  const char *name, *model;
  enum ggml_type type;
  bool unified;
  uint32_t n_seq;
  kvs_layout layout;
} setting;

static const setting settings[] = {
    {"dense f16", "dense", GGML_TYPE_F16, true, 2, KVS_LAYOUT_TENSORS},
    {"dense bf16", "dense", GGML_TYPE_BF16, true, 2, KVS_LAYOUT_TENSORS},
    {"dense q8_0", "dense", GGML_TYPE_Q8_0, true, 2, KVS_LAYOUT_TENSORS},
    {"dense f16, one sequence", "dense", GGML_TYPE_F16, false, 1, KVS_LAYOUT_TENSORS},
    {"window f16", "window", GGML_TYPE_F16, true, 2, KVS_LAYOUT_OPAQUE},
    {"hybrid f16", "hybrid", GGML_TYPE_F16, true, 2, KVS_LAYOUT_OPAQUE},
    {"recurrent", "recurrent", GGML_TYPE_F16, true, 2, KVS_LAYOUT_OPAQUE},
};
static const setting *const dense = &settings[0], *const hybrid = &settings[5];

/* --- one engine --- */

typedef struct engine {
  struct llama_model *model;
  struct llama_context_params params;
  struct llama_context *context;
  kvs_connector *connector; /* not its own */
  kvs_llama *kvasir;
} engine;

static void start_context(engine *e, const setting *s)
{
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s.gguf", folder, s->model);
  e->model = llama_model_load_from_file(path, llama_model_default_params());
  assert_non_null(e->model);
  e->params = llama_context_default_params();
  e->params.n_ctx = 512;
  e->params.n_batch = e->params.n_ubatch = CHUNK;
  e->params.n_seq_max = s->n_seq;
  e->params.n_threads = e->params.n_threads_batch = 1;
  e->params.type_k = e->params.type_v = s->type;
  e->params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  e->params.kv_unified = s->unified;
  e->params.swa_full = false;
  e->context = llama_init_from_model(e->model, e->params);
  assert_non_null(e->context);
}

static void start(engine *e, kvs_connector *connector, const setting *s, const char *revision)
{
  start_context(e, s);
  char path[4096], error[256];
  snprintf(path, sizeof(path), "%s/%s.gguf", folder, s->model);
  const kvs_llama_options options = {.struct_size = sizeof(options),
                                     .model_path = path,
                                     .params = &e->params,
                                     .revision = revision,
                                     .tokens_per_chunk = CHUNK,
                                     .timeout_ms = 20000};
  e->connector = connector;
  const kvs_status status = kvs_llama_open(connector, e->context, &options, error, sizeof(error), &e->kvasir);
  if (status != KVS_OK)
    fail_msg("%s: %s", s->name, error);
}

static void stop(engine *e)
{
  kvs_llama_close(e->kvasir);
  llama_free(e->context);
  llama_model_free(e->model);
}

static kvs_connector *connect_to(const char *where)
{
  kvs_connector *connector = NULL;
  const kvs_options options = {.struct_size = sizeof(options),
                               .endpoint = where,
                               .embedded_dram_bytes = 64 << 20,
                               .timeout_ms = 20000,
                               .wait_connected_ms = 20000};
  assert_int_equal(kvs_open(&options, &connector), KVS_OK);
  return connector;
}

/* Each test has prompts of its own, so that a store they share cannot help one with another's chunks. */
static uint32_t prompts;

typedef struct text {
  llama_token tokens[N_TOKENS];
} text;

static text make_text(void)
{
  text t;
  prompts++;
  for (uint32_t i = 0; i < N_TOKENS; i++)
    t.tokens[i] = (llama_token)((i * 7919 + i * i * 31 + prompts * 101) % 1000);
  return t;
}

static kvs_llama_prompt prompt_of(const text *t, size_t n)
{
  return (kvs_llama_prompt){.struct_size = sizeof(kvs_llama_prompt), .tokens = t->tokens, .n_tokens = n};
}

/* Loads, decodes the rest, flushes. Returns the tokens reused; logits (vocab of them) are the caller's to
 * free. */
static size_t answer(engine *e, const kvs_llama_prompt *prompt, kvs_status flushed, float **logits_p)
{
  size_t n_past = 0;
  assert_int_equal(kvs_llama_load(e->kvasir, prompt, &n_past), KVS_OK);
  assert_int_equal(kvs_llama_decode(e->kvasir, prompt, n_past), KVS_OK);
  assert_int_equal(kvs_llama_flush(e->kvasir), flushed);
  const size_t size = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(e->model)) * sizeof(float);
  *logits_p = malloc(size);
  assert_non_null(*logits_p);
  memcpy(*logits_p, llama_get_logits_ith(e->context, -1), size);
  return n_past;
}

static void assert_same(const engine *e, float *a, float *b)
{
  const size_t n = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(e->model));
  assert_memory_equal(a, b, n * sizeof(float));
  free(a);
  free(b);
}

/* --- tests --- */

static void second_engine_loads_what_the_first_computed(void **state)
{
  const setting *s = *state;
  kvs_connector *connector = connect_to(endpoint);
  const text t = make_text();
  const kvs_llama_prompt prompt = prompt_of(&t, N_TOKENS);
  engine cold, warm;
  float *first, *second;

  start(&cold, connector, s, "");
  assert_int_equal(answer(&cold, &prompt, KVS_OK, &first), 0);
  kvs_llama_info info = {.struct_size = sizeof(info)};
  kvs_llama_get_info(cold.kvasir, &info);
  assert_int_equal(info.layout, s->layout);
  assert_int_equal(info.saved_chunks, N_CHUNKS);

  start(&warm, connector, s, "");
  assert_int_equal(answer(&warm, &prompt, KVS_OK, &second), N_CHUNKS * CHUNK);
  kvs_llama_get_info(warm.kvasir, &info);
  assert_int_equal(info.loaded_chunks, N_CHUNKS);
  assert_int_equal(info.saved_chunks, 0);
  assert_same(&warm, first, second);
  stop(&warm);
  stop(&cold);
  kvs_close(connector);
}

static void the_last_token_is_always_computed(void **state)
{
  (void)state;
  kvs_connector *connector = connect_to(endpoint);
  const text t = make_text();
  const kvs_llama_prompt prompt = prompt_of(&t, 2 * CHUNK);
  engine e;
  float *first, *second;
  start(&e, connector, dense, "");
  assert_int_equal(answer(&e, &prompt, KVS_OK, &first), 0);
  assert_int_equal(answer(&e, &prompt, KVS_OK, &second), CHUNK);
  assert_same(&e, first, second);
  stop(&e);
  kvs_close(connector);
}

static void spaces_and_salts_keep_apart(void **state)
{
  (void)state;
  kvs_connector *connector = connect_to(endpoint);
  const text t = make_text();
  kvs_llama_prompt prompt = prompt_of(&t, 2 * CHUNK + 1);
  engine e, other;
  float *logits;
  start(&e, connector, dense, "");
  assert_int_equal(answer(&e, &prompt, KVS_OK, &logits), 0);
  free(logits);
  start(&other, connector, dense, "other");
  size_t n_past;
  assert_int_equal(kvs_llama_load(other.kvasir, &prompt, &n_past), KVS_OK);
  assert_int_equal(n_past, 0);
  prompt.salt = "adapter 7";
  prompt.salt_size = 9;
  assert_int_equal(kvs_llama_load(e.kvasir, &prompt, &n_past), KVS_OK);
  assert_int_equal(n_past, 0);
  prompt.salt_size = 0;
  assert_int_equal(kvs_llama_load(e.kvasir, &prompt, &n_past), KVS_OK);
  assert_int_equal(n_past, 2 * CHUNK);
  stop(&other);
  stop(&e);
  kvs_close(connector);
}

/* The third chunk is deleted: two are loaded, three computed. */
static void a_missing_chunk_is_computed(void **state)
{
  const setting *s = *state;
  kvs_connector *connector = connect_to(endpoint);
  const text t = make_text();
  const kvs_llama_prompt prompt = prompt_of(&t, N_TOKENS);
  engine e;
  float *first, *second;
  start(&e, connector, s, "");
  assert_int_equal(answer(&e, &prompt, KVS_OK, &first), 0);

  kvs_llama_info info = {.struct_size = sizeof(info)};
  kvs_llama_get_info(e.kvasir, &info);
  uint8_t keys[N_CHUNKS][KVS_HASH_SIZE];
  size_t n = N_CHUNKS;
  assert_int_equal(kvs_keys_from_tokens(KVS_HASH_NATIVE, info.space, NULL, (const uint32_t *)t.tokens,
                                        N_TOKENS, CHUNK, 0, NULL, 0, keys[0], &n),
                   KVS_OK);
  const kvs_keys third = {.struct_size = sizeof(third),
                          .n = 1,
                          .keys = keys[2],
                          .first_place = 2,
                          .parent = keys[1],
                          .extent_first = keys[0]};
  kvs_op op;
  kvs_completion completion;
  assert_int_equal(kvs_delete(kvs_llama_get_space(e.kvasir), &third, NULL, &op), KVS_OK);
  assert_int_equal(kvs_wait(connector, op, 5000, &completion), KVS_OK);

  assert_int_equal(answer(&e, &prompt, KVS_OK, &second), 2 * CHUNK);
  assert_same(&e, first, second);
  stop(&e);
  kvs_close(connector);
}

static void a_dead_store_costs_only_the_computing(void **state)
{
  (void)state;
  kvs_connector *alive = connect_to(endpoint);
  kvs_connector *dead = NULL;
  const kvs_options options = {
      .struct_size = sizeof(options), .endpoint = "unix:/nonexistent/kvasir.sock", .timeout_ms = 500};
  assert_int_equal(kvs_open(&options, &dead), KVS_OK);
  const text t = make_text();
  const kvs_llama_prompt prompt = prompt_of(&t, N_TOKENS);
  engine e, lonely;
  float *first, *second;
  start(&e, alive, dense, "");
  assert_int_equal(answer(&e, &prompt, KVS_OK, &first), 0);
  start(&lonely, dead, dense, "");
  assert_int_equal(answer(&lonely, &prompt, KVS_PARTIAL, &second), 0);
  assert_same(&e, first, second);
  stop(&lonely);
  stop(&e);
  kvs_close(dead);
  kvs_close(alive);
}

/* An engine with a decode loop of its own, saving all at the end. */
static void own_loop_saves_afterwards(void **state)
{
  const setting *s = *state;
  kvs_connector *connector = connect_to(endpoint);
  text t = make_text();
  const kvs_llama_prompt prompt = prompt_of(&t, N_TOKENS);
  engine e;
  start(&e, connector, s, "");
  for (int32_t at = 0; at < N_TOKENS; at += CHUNK) {
    const int32_t n = N_TOKENS - at < CHUNK ? N_TOKENS - at : CHUNK;
    assert_int_equal(llama_decode(e.context, llama_batch_get_one(t.tokens + at, n)), 0);
  }
  assert_int_equal(kvs_llama_save(e.kvasir, &prompt, CHUNK), KVS_OK); /* all but the first */
  assert_int_equal(kvs_llama_flush(e.kvasir), KVS_OK);
  kvs_llama_info info = {.struct_size = sizeof(info)};
  kvs_llama_get_info(e.kvasir, &info);
  /* A state that has moved on cannot be cut any more; rows can. */
  assert_int_equal(info.saved_chunks, info.at_boundary ? 0 : N_CHUNKS - 1);
  assert_int_equal(kvs_llama_save(e.kvasir, &prompt, 0), KVS_OK);
  assert_int_equal(kvs_llama_flush(e.kvasir), KVS_OK);
  size_t n_past;
  assert_int_equal(kvs_llama_load(e.kvasir, &prompt, &n_past), KVS_OK);
  assert_int_equal(n_past, info.at_boundary ? 0 : N_CHUNKS * CHUNK);
  stop(&e);
  kvs_close(connector);
}

static void two_sequences_share_one_context(void **state)
{
  (void)state;
  const setting three = {"dense, three sequences", "dense", GGML_TYPE_F16, true, 3, KVS_LAYOUT_TENSORS};
  kvs_connector *connector = connect_to(endpoint);
  const text t = make_text(), u = make_text();
  kvs_llama_prompt one = prompt_of(&t, N_TOKENS), two = prompt_of(&u, N_TOKENS - CHUNK);
  two.sequence = 1;
  engine e;
  size_t n_past;
  start(&e, connector, &three, "");
  assert_int_equal(kvs_llama_load(e.kvasir, &one, &n_past), KVS_OK);
  one.n_tokens = 3 * CHUNK - 1;
  assert_int_equal(kvs_llama_decode(e.kvasir, &one, 0), KVS_OK);
  two.n_tokens = 3 * CHUNK + 1;
  assert_int_equal(kvs_llama_decode(e.kvasir, &two, 0), KVS_OK);
  assert_int_equal(kvs_llama_flush(e.kvasir), KVS_OK);
  assert_int_equal(kvs_llama_load(e.kvasir, &one, &n_past), KVS_OK);
  assert_int_equal(n_past, 2 * CHUNK);
  assert_int_equal(kvs_llama_load(e.kvasir, &two, &n_past), KVS_OK);
  assert_int_equal(n_past, 3 * CHUNK);
  /* The other sequence is as it was, the spare one is empty. */
  llama_memory_t memory = llama_get_memory(e.context);
  assert_int_equal(llama_memory_seq_pos_max(memory, 0), 2 * CHUNK - 1);
  assert_int_equal(llama_memory_seq_pos_max(memory, 2), -1);
  stop(&e);
  kvs_close(connector);
}

static void wrong_arguments_are_refused(void **state)
{
  (void)state;
  kvs_connector *connector = connect_to("embedded:");
  engine e;
  start(&e, connector, dense, "");
  const text t = make_text();
  size_t n_past;
  kvs_llama_prompt prompt = prompt_of(&t, CHUNK + 1);
  prompt.sequence = 1; /* the spare one */
  assert_int_equal(kvs_llama_load(e.kvasir, &prompt, &n_past), KVS_ERR_INVALID);
  prompt.sequence = -1;
  assert_int_equal(kvs_llama_decode(e.kvasir, &prompt, 0), KVS_ERR_INVALID);
  prompt.sequence = 0;
  assert_int_equal(kvs_llama_decode(e.kvasir, &prompt, 5), KVS_ERR_INVALID); /* holds nothing yet */
  prompt.n_tokens = 0;
  assert_int_equal(kvs_llama_load(e.kvasir, &prompt, &n_past), KVS_ERR_INVALID);
  prompt = prompt_of(&t, 5);
  prompt.tokens = NULL;
  assert_int_equal(kvs_llama_save(e.kvasir, &prompt, 0), KVS_ERR_INVALID);

  char error[128];
  kvs_llama *handle = NULL;
  kvs_llama_options options = {.struct_size = sizeof(options), .params = &e.params};
  assert_int_equal(kvs_llama_open(connector, e.context, &options, error, sizeof(error), &handle),
                   KVS_ERR_INVALID);
  options.model_path = "/nonexistent.gguf";
  options.struct_size = 64; /* of an older caller, with a gap at its end */
  options.reserved = options.loss_max = 0xABABABAB;
  assert_int_equal(kvs_llama_open(connector, e.context, &options, error, sizeof(error), &handle), KVS_ERR_IO);
  options.struct_size = sizeof(options);
  options.reserved = options.loss_max = 0;
  assert_int_equal(kvs_llama_open(connector, e.context, &options, error, sizeof(error), &handle), KVS_ERR_IO);
  assert_non_null(strstr(error, "/nonexistent.gguf"));
  assert_null(handle);
  const uint8_t weights[KVS_DIGEST_SIZE] = {1};
  options.weights = weights;
  options.tokens_per_chunk = 1 << 20; /* 4 KiB a token */
  assert_int_equal(kvs_llama_open(connector, e.context, &options, error, sizeof(error), &handle),
                   KVS_ERR_TOO_LARGE);
  assert_int_equal(llama_decode(e.context, llama_batch_get_one((llama_token *)(uintptr_t)t.tokens, 3)), 0);
  assert_int_equal(kvs_llama_open(connector, e.context, &options, error, sizeof(error), &handle),
                   KVS_ERR_INVALID);
  stop(&e);
  kvs_llama_close(NULL);
  kvs_close(connector);
}

static void fingerprints_tell_models_apart(void **state)
{
  (void)state;
  uint8_t a[KVS_DIGEST_SIZE], again[KVS_DIGEST_SIZE], b[KVS_DIGEST_SIZE];
  char path[4096];
  snprintf(path, sizeof(path), "%s/dense.gguf", folder);
  assert_int_equal(kvs_llama_fingerprint(path, a), KVS_OK);
  assert_int_equal(kvs_llama_fingerprint(path, again), KVS_OK);
  assert_memory_equal(a, again, sizeof(a));
  snprintf(path, sizeof(path), "%s/window.gguf", folder);
  assert_int_equal(kvs_llama_fingerprint(path, b), KVS_OK);
  assert_memory_not_equal(a, b, sizeof(a));
  assert_int_equal(kvs_llama_fingerprint("/nonexistent.gguf", a), KVS_ERR_IO);
  assert_int_equal(kvs_llama_fingerprint("/proc/self/exe", a), KVS_ERR_CORRUPT);
  assert_int_equal(kvs_llama_fingerprint(NULL, a), KVS_ERR_INVALID);
}

/* So that what a later version appends is no part of what an older caller passes. */
_Static_assert(sizeof(kvs_llama_options) == offsetof(kvs_llama_options, hurry_ms) + sizeof(uint32_t),
               "no gap");
_Static_assert(sizeof(kvs_llama_prompt) == offsetof(kvs_llama_prompt, reserved) + sizeof(uint32_t), "no gap");
_Static_assert(sizeof(kvs_llama_info) == offsetof(kvs_llama_info, failed_chunks) + sizeof(uint64_t),
               "no gap");

int main(int argc, char **argv)
{
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: %s FOLDER-WITH-MODELS [ENDPOINT]\n", argv[0]);
    return 2;
  }
  folder = argv[1];
  if (argc == 3)
    endpoint = argv[2];
  kvi_llama_runtime_start(false);
  void *const on_dense = (void *)(uintptr_t)dense, *const on_hybrid = (void *)(uintptr_t)hybrid;
  enum { N_SETTINGS = sizeof(settings) / sizeof(settings[0]), N_OTHERS = 11 };
  struct CMUnitTest tests[N_OTHERS + N_SETTINGS] = {
      cmocka_unit_test(the_last_token_is_always_computed),
      cmocka_unit_test(spaces_and_salts_keep_apart),
      {"a missing chunk is computed (rows)", a_missing_chunk_is_computed, NULL, NULL, on_dense},
      {"a missing chunk is computed (states)", a_missing_chunk_is_computed, NULL, NULL, on_hybrid},
      cmocka_unit_test(a_dead_store_costs_only_the_computing),
      {"own loop (rows)", own_loop_saves_afterwards, NULL, NULL, on_dense},
      {"own loop (rows, one sequence)", own_loop_saves_afterwards, NULL, NULL,
       (void *)(uintptr_t)&settings[3]},
      {"own loop (states)", own_loop_saves_afterwards, NULL, NULL, on_hybrid},
      cmocka_unit_test(two_sequences_share_one_context),
      cmocka_unit_test(wrong_arguments_are_refused),
      cmocka_unit_test(fingerprints_tell_models_apart),
  };
  for (size_t i = 0; i < N_SETTINGS; i++)
    tests[N_OTHERS + i] = (struct CMUnitTest){settings[i].name, second_engine_loads_what_the_first_computed,
                                              NULL, NULL, (void *)(uintptr_t)&settings[i]};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  llama_backend_free();
  return failed;
}
