/*
 * kvasir-llama: a prompt through llama.cpp, with its KV from Kvasir as far as it is there.
 *
 * The example of how an engine uses the adapter, and a measuring stick: says how many tokens were computed
 * and how many reused, the time to the first token, and a digest of the logits, by which two runs can be
 * compared bit for bit.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvasir/llama.h>

#include "base/clock.h"
#include "base/digest.h"
#include "connector/llamacpp/arguments.h"
#include "connector/llamacpp/logits_file.h"
#include "connector/llamacpp/prompt_file.h"
#include "connector/llamacpp/runtime.h"

typedef struct result {
  size_t prompt_tokens, reused;
  double load_ms, ttft_ms, total_ms;
  char digest[2 * KVI_SHA256_BYTES + 1];
  double logits_difference; /* with --logits-compare */
  llama_token *predicted;
  size_t n_predicted;
  kvs_llama_info info;
} result;

static int fail(const char *what, const char *why)
{
  fprintf(stderr, "kvasir-llama: %s%s%s\n", what, why[0] == '\0' ? "" : ": ", why);
  return 1;
}

/* --- the run --- */

typedef struct run {
  const kvi_llama_arguments *a;
  struct llama_model *model;
  struct llama_context_params params;
  struct llama_context *context;
  kvs_connector *connector;
  kvs_llama *kvasir;
  llama_token *tokens;
  size_t n_tokens;
} run;

static bool read_prompt(run *r)
{
  const struct llama_vocab *vocab = llama_model_get_vocab(r->model);
  return r->a->tokens != NULL
             ? kvi_prompt_read_ids(r->a->tokens, llama_vocab_n_tokens(vocab), &r->tokens, &r->n_tokens)
             : kvi_prompt_read_text(r->a->text, vocab, &r->tokens, &r->n_tokens);
}

static int open_context(run *r)
{
  const kvi_llama_arguments *a = r->a;
  const uint64_t need = a->context != 0 ? a->context : (r->n_tokens + a->n_predict + 255) / 256 * 256;
  if (need < r->n_tokens)
    return fail("the prompt does not fit the context", "");
  r->params = llama_context_default_params();
  r->params.n_ctx = (uint32_t)need;
  r->params.n_batch = r->params.n_ubatch = (uint32_t)a->chunk;
  r->params.n_seq_max = (uint32_t)a->sequences;
  r->params.kv_unified = true;
  r->params.swa_full = false;
  r->params.n_threads = r->params.n_threads_batch = (int32_t)a->threads;
  r->params.type_k = r->params.type_v = a->kv_type;
  r->params.flash_attn_type = a->flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  r->context = llama_init_from_model(r->model, r->params);
  return r->context == NULL ? fail("no context can be made of this model and these options", "") : 0;
}

static int open_kvasir(run *r)
{
  const kvi_llama_arguments *a = r->a;
  const kvs_options connect = {.struct_size = sizeof(connect),
                               .endpoint = a->endpoint,
                               .embedded_dram_bytes = a->dram_mib << 20,
                               .timeout_ms = (uint32_t)a->timeout_ms,
                               .wait_connected_ms = (uint32_t)a->wait_ms,
                               .tls_ca_file = a->tls_ca,
                               .tls_cert_file = a->tls_cert,
                               .tls_key_file = a->tls_key,
                               .tls_server_name = a->tls_name,
                               .encode = a->encode};
  kvs_status status = kvs_open(&connect, &r->connector);
  if (status != KVS_OK)
    return fail(a->endpoint, kvs_status_text(status));
  char text[256] = "";
  if (kvs_state(r->connector, text, sizeof(text)) != KVS_OK)
    fprintf(stderr, "kvasir-llama: %s; everything is computed\n", text);
  const kvs_llama_options open = {.struct_size = sizeof(open),
                                  .model_path = a->model,
                                  .params = &r->params,
                                  .tokens_per_chunk = (uint32_t)a->chunk,
                                  .timeout_ms = (uint32_t)a->timeout_ms,
                                  .loss_max = (uint32_t)a->loss_max,
                                  .loss_enough = (uint32_t)a->loss_enough,
                                  .hurry_ms = (uint32_t)a->hurry_ms};
  status = kvs_llama_open(r->connector, r->context, &open, text, sizeof(text), &r->kvasir);
  return status == KVS_OK ? 0 : fail(a->model, text[0] != '\0' ? text : kvs_status_text(status));
}

static double ms_since(uint64_t start_ns)
{
  return (double)(kvi_now_ns() - start_ns) / 1e6;
}

static llama_token likeliest(const float *logits, int n)
{
  int best = 0;
  for (int i = 1; i < n; i++)
    best = logits[i] > logits[best] ? i : best;
  return best;
}

static int keep_logits(const run *r, const float *logits, int n, result *out)
{
  uint8_t digest[KVI_SHA256_BYTES];
  const size_t size = (size_t)n * sizeof(*logits);
  kvi_sha256(logits, size, digest);
  for (size_t i = 0; i < sizeof(digest); i++)
    snprintf(out->digest + 2 * i, 3, "%02x", digest[i]);
  const kvi_llama_arguments *a = r->a;
  if (a->logits_out != NULL && !kvi_llama_logits_write(a->logits_out, logits, (size_t)n))
    return fail(a->logits_out, strerror(errno));
  if (a->logits_compare != NULL &&
      !kvi_llama_logits_compare(a->logits_compare, logits, (size_t)n, &out->logits_difference))
    return fail(a->logits_compare, errno == EINVAL ? "not the logits of this model" : strerror(errno));
  return 0;
}

/* The prompt, up to the logits of its last token. */
static int prefill(run *r, result *out, uint64_t start_ns)
{
  const kvs_llama_prompt prompt = {
      .struct_size = sizeof(prompt), .tokens = r->tokens, .n_tokens = r->n_tokens, .load_only = !r->a->save};
  out->prompt_tokens = r->n_tokens;
  kvs_status status = KVS_OK;
  if (r->a->load)
    status = kvs_llama_load(r->kvasir, &prompt, &out->reused);
  out->load_ms = ms_since(start_ns);
  if (status != KVS_OK)
    return fail("the prompt cannot be loaded", kvs_status_text(status));
  status = kvs_llama_decode(r->kvasir, &prompt, out->reused);
  return status == KVS_OK ? 0 : fail("the prompt cannot be decoded", kvs_status_text(status));
}

static int generate(run *r, result *out)
{
  const uint64_t start_ns = kvi_now_ns();
  if (prefill(r, out, start_ns) != 0)
    return 1;
  const struct llama_vocab *vocab = llama_model_get_vocab(r->model);
  const int n_vocab = llama_vocab_n_tokens(vocab);
  const float *logits = llama_get_logits_ith(r->context, -1);
  llama_token token = likeliest(logits, n_vocab);
  out->ttft_ms = ms_since(start_ns);
  if (keep_logits(r, logits, n_vocab, out) != 0)
    return 1;
  out->predicted = malloc((r->a->n_predict + 1) * sizeof(*out->predicted));
  if (out->predicted == NULL)
    return fail("out of memory", "");
  while (out->n_predicted < r->a->n_predict) {
    out->predicted[out->n_predicted++] = token;
    if (out->n_predicted == r->a->n_predict || llama_vocab_is_eog(vocab, token))
      break;
    if (llama_decode(r->context, llama_batch_get_one(&token, 1)) != 0)
      return fail("a token cannot be decoded", "the context is full");
    token = likeliest(llama_get_logits_ith(r->context, -1), n_vocab);
  }
  out->total_ms = ms_since(start_ns);
  if (kvs_llama_flush(r->kvasir) != KVS_OK)
    fprintf(stderr, "kvasir-llama: not every chunk could be saved\n");
  out->info.struct_size = sizeof(out->info);
  kvs_llama_get_info(r->kvasir, &out->info);
  return 0;
}

/* --- the answer --- */

static void print_json(const run *r, const result *out)
{
  const kvs_llama_info *info = &out->info;
  printf("{\"prompt_tokens\":%zu,\"reused\":%zu,\"computed\":%zu,\"load_ms\":%.3f,\"ttft_ms\":%.3f,\"total_"
         "ms\":%.3f,"
         "\"layout\":\"%s\",\"chunk_bytes\":%llu,\"saved_chunks\":%llu,\"failed_chunks\":%llu,\"logits_"
         "sha256\":\"%s\","
         "\"endpoint\":\"",
         out->prompt_tokens, out->reused, out->prompt_tokens - out->reused, out->load_ms, out->ttft_ms,
         out->total_ms, info->layout == KVS_LAYOUT_TENSORS ? "tensors" : "opaque",
         (unsigned long long)info->chunk_bytes, (unsigned long long)info->saved_chunks,
         (unsigned long long)info->failed_chunks, out->digest);
  for (const char *at = r->a->endpoint; *at != '\0'; at++) {
    const unsigned char c = (unsigned char)*at;
    if (c == '"' || c == '\\' || c < 0x20)
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
  if (r->a->logits_compare != NULL)
    printf(",\"max_abs_logit_diff\":%g", out->logits_difference);
  printf(",\"predicted\":[");
  for (size_t i = 0; i < out->n_predicted; i++)
    printf("%s%d", i == 0 ? "" : ",", out->predicted[i]);
  printf("]}\n");
}

static void print_text(const run *r, const result *out)
{
  const kvs_llama_info *info = &out->info;
  printf("prompt tokens        %zu\n"
         "  reused             %zu\n"
         "  computed           %zu\n"
         "time to first token  %.1f ms (%.1f ms of it loading)\n"
         "layout               %s, chunks of %u tokens, %llu bytes\n"
         "chunks saved         %llu (%llu failed)\n"
         "logits               sha256 %s\n"
         "predicted           ",
         out->prompt_tokens, out->reused, out->prompt_tokens - out->reused, out->ttft_ms, out->load_ms,
         info->layout == KVS_LAYOUT_TENSORS ? "tensors" : "opaque", info->tokens_per_chunk,
         (unsigned long long)info->chunk_bytes, (unsigned long long)info->saved_chunks,
         (unsigned long long)info->failed_chunks, out->digest);
  for (size_t i = 0; i < out->n_predicted; i++)
    printf(" %d", out->predicted[i]);
  printf("\n");
  if (r->a->logits_compare != NULL)
    printf("largest difference   %g\n", out->logits_difference);
}

static int run_all(run *r)
{
  struct llama_model_params model_params = llama_model_default_params();
  r->model = llama_model_load_from_file(r->a->model, model_params);
  if (r->model == NULL)
    return fail(r->a->model, "llama.cpp cannot load it");
  result out = {0};
  int status = 1;
  if (read_prompt(r) && open_context(r) == 0 && open_kvasir(r) == 0)
    status = generate(r, &out);
  if (status == 0 && r->a->json)
    print_json(r, &out);
  else if (status == 0)
    print_text(r, &out);
  free(out.predicted);
  return status;
}

int main(int argc, char **argv)
{
  kvi_llama_arguments a;
  const int done = kvi_llama_arguments_parse(argc, argv, &a);
  if (done != 0)
    return done - 1;
  kvi_llama_runtime_start(a.verbose);
  run r = {.a = &a};
  const int status = run_all(&r);
  kvs_llama_close(r.kvasir);
  kvs_close(r.connector);
  llama_free(r.context);
  llama_model_free(r.model);
  llama_backend_free();
  free(r.tokens);
  return status;
}
