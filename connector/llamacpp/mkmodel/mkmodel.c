/*
 * kvasir-mkmodel: writes a small model with random weights, for tests and the quick start.
 *
 * The text it produces is noise, but its arithmetic, its KV cache and its timing are those of a real model,
 * and the same seed gives the same file on every machine. Families: a dense transformer (llama), one with
 * sliding windows (gemma3), a hybrid of attention and state space (falcon-h1), a purely recurrent one
 * (mamba2). There is no tokenizer: prompts are token ids.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gguf.h>

typedef struct model {
  const char *arch;
  uint32_t n_layer, n_embd, n_head, n_head_kv, n_ff, n_vocab, n_window;
  uint32_t d_inner, d_state, d_conv, n_group, n_ssm_head;
  uint64_t random;
  struct ggml_context *tensors;
  struct gguf_context *file;
} model;

typedef struct family {
  const char *name, *what;
  model sizes;
  void (*layer)(model *m, uint32_t i);
} family;

/* --- numbers --- */

/* splitmix64: enough for weights, and the same everywhere. */
static uint64_t next_random(model *m)
{
  uint64_t z = m->random += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Uniform in [-1, 1). */
static float next_uniform(model *m)
{
  return (float)(next_random(m) >> 40) / (float)(1 << 23) - 1.0f;
}

/* --- metadata and tensors --- */

static char *format(char *text, size_t size, const char *pattern, va_list args)
{
  if (vsnprintf(text, size, pattern, args) >= (int)size) {
    fprintf(stderr, "kvasir-mkmodel: a name is too long\n");
    exit(1);
  }
  return text;
}

static void set_u32(model *m, const char *key, uint32_t value)
{
  char full[64];
  snprintf(full, sizeof(full), "%s.%s", m->arch, key);
  gguf_set_val_u32(m->file, full, value);
}

static void set_f32(model *m, const char *key, float value)
{
  char full[64];
  snprintf(full, sizeof(full), "%s.%s", m->arch, key);
  gguf_set_val_f32(m->file, full, value);
}

static struct ggml_tensor *add(model *m, enum ggml_type type, int64_t rows, int64_t columns,
                               const char *pattern, va_list args)
{
  char name[GGML_MAX_NAME];
  struct ggml_tensor *tensor = columns == 0 ? ggml_new_tensor_1d(m->tensors, type, rows)
                                            : ggml_new_tensor_2d(m->tensors, type, rows, columns);
  ggml_set_name(tensor, format(name, sizeof(name), pattern, args));
  return tensor;
}

/* A matrix that keeps the size of what goes through it: uniform values with variance 1 / rows, as f16. */
static void matrix(model *m, int64_t rows, int64_t columns, const char *pattern, ...)
{
  va_list args;
  va_start(args, pattern);
  struct ggml_tensor *tensor = add(m, GGML_TYPE_F16, rows, columns, pattern, args);
  va_end(args);
  ggml_fp16_t *data = tensor->data;
  const float scale = sqrtf(3.0f / (float)rows);
  for (int64_t i = 0; i < rows * columns; i++)
    data[i] = ggml_fp32_to_fp16(scale * next_uniform(m));
  gguf_add_tensor(m->file, tensor);
}

/* f32 values around `middle`; columns 0 makes a vector. */
static void values(model *m, float middle, float spread, int64_t rows, int64_t columns, const char *pattern,
                   ...)
{
  va_list args;
  va_start(args, pattern);
  struct ggml_tensor *tensor = add(m, GGML_TYPE_F32, rows, columns, pattern, args);
  va_end(args);
  float *data = tensor->data;
  for (int64_t i = 0; i < ggml_nelements(tensor); i++)
    data[i] = middle + spread * next_uniform(m);
  gguf_add_tensor(m->file, tensor);
}

static void norm(model *m, int64_t n, const char *pattern, uint32_t i)
{
  char name[GGML_MAX_NAME];
  snprintf(name, sizeof(name), "blk.%u.%s.weight", i, pattern);
  values(m, 1.0f, 0.1f, n, 0, "%s", name);
}

/* --- families --- */

static int64_t head_size(const model *m)
{
  return m->n_embd / m->n_head;
}

static void attention(model *m, uint32_t i)
{
  const int64_t kv = head_size(m) * m->n_head_kv;
  norm(m, m->n_embd, "attn_norm", i);
  matrix(m, m->n_embd, m->n_embd, "blk.%u.attn_q.weight", i);
  matrix(m, m->n_embd, kv, "blk.%u.attn_k.weight", i);
  matrix(m, m->n_embd, kv, "blk.%u.attn_v.weight", i);
  matrix(m, m->n_embd, m->n_embd, "blk.%u.attn_output.weight", i);
}

static void feed_forward(model *m, uint32_t i)
{
  matrix(m, m->n_embd, m->n_ff, "blk.%u.ffn_gate.weight", i);
  matrix(m, m->n_embd, m->n_ff, "blk.%u.ffn_up.weight", i);
  matrix(m, m->n_ff, m->n_embd, "blk.%u.ffn_down.weight", i);
}

static void dense_layer(model *m, uint32_t i)
{
  attention(m, i);
  norm(m, m->n_embd, "ffn_norm", i);
  feed_forward(m, i);
}

static void window_layer(model *m, uint32_t i)
{
  attention(m, i);
  norm(m, head_size(m), "attn_q_norm", i);
  norm(m, head_size(m), "attn_k_norm", i);
  norm(m, m->n_embd, "post_attention_norm", i);
  norm(m, m->n_embd, "ffn_norm", i);
  feed_forward(m, i);
  norm(m, m->n_embd, "post_ffw_norm", i);
}

static void state_space(model *m, uint32_t i)
{
  const int64_t conv = m->d_inner + 2 * m->n_group * m->d_state;
  matrix(m, m->n_embd, m->d_inner + conv + m->n_ssm_head, "blk.%u.ssm_in.weight", i);
  values(m, 0.0f, 0.5f, m->d_conv, conv, "blk.%u.ssm_conv1d.weight", i);
  values(m, 0.0f, 0.1f, conv, 0, "blk.%u.ssm_conv1d.bias", i);
  values(m, -2.0f, 1.0f, m->n_ssm_head, 0, "blk.%u.ssm_dt.bias", i);
  /* Negative: the state decays. */
  values(m, -1.0f, 0.5f, 1, m->n_ssm_head, "blk.%u.ssm_a", i);
  values(m, 1.0f, 0.1f, 1, m->n_ssm_head, "blk.%u.ssm_d", i);
  values(m, 1.0f, 0.1f, m->d_inner / m->n_group, m->n_group, "blk.%u.ssm_norm.weight", i);
  matrix(m, m->d_inner, m->n_embd, "blk.%u.ssm_out.weight", i);
}

static void hybrid_layer(model *m, uint32_t i)
{
  attention(m, i);
  state_space(m, i);
  values(m, 1.0f, 0.1f, m->n_embd, 0, "blk.%u.ffn_norm", i); /* this family's name has no ".weight" */
  feed_forward(m, i);
}

static void recurrent_layer(model *m, uint32_t i)
{
  norm(m, m->n_embd, "attn_norm", i);
  state_space(m, i);
}

static const family families[] = {
    {"dense",
     "transformer with grouped queries",
     {.arch = "llama",
      .n_layer = 8,
      .n_embd = 512,
      .n_head = 8,
      .n_head_kv = 2,
      .n_ff = 1536,
      .n_vocab = 4096},
     dense_layer},
    {"window",
     "transformer with sliding windows in five of six layers",
     {.arch = "gemma3",
      .n_layer = 6,
      .n_embd = 256,
      .n_head = 4,
      .n_head_kv = 2,
      .n_ff = 512,
      .n_vocab = 1024,
      .n_window = 96},
     window_layer},
    {"hybrid",
     "attention and state space side by side",
     {.arch = "falcon-h1",
      .n_layer = 3,
      .n_embd = 128,
      .n_head = 4,
      .n_head_kv = 2,
      .n_ff = 256,
      .n_vocab = 1024,
      .d_inner = 256,
      .d_state = 16,
      .d_conv = 4,
      .n_group = 1,
      .n_ssm_head = 8},
     hybrid_layer},
    {"recurrent",
     "state space only",
     {.arch = "mamba2",
      .n_layer = 3,
      .n_embd = 128,
      .n_vocab = 1024,
      .d_inner = 256,
      .d_state = 16,
      .d_conv = 4,
      .n_group = 1,
      .n_ssm_head = 8},
     recurrent_layer},
};
enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

static void metadata(model *m)
{
  gguf_set_val_str(m->file, "general.architecture", m->arch);
  gguf_set_val_str(m->file, "general.name", "kvasir random weights");
  gguf_set_val_str(m->file, "tokenizer.ggml.model", "no_vocab");
  set_u32(m, "vocab_size", m->n_vocab);
  set_u32(m, "context_length", 32768);
  set_u32(m, "embedding_length", m->n_embd);
  set_u32(m, "block_count", m->n_layer);
  set_u32(m, "feed_forward_length", m->n_ff);
  set_u32(m, "attention.head_count", m->n_head);
  set_u32(m, "attention.head_count_kv", m->n_head_kv);
  set_f32(m, "attention.layer_norm_rms_epsilon", 1e-5f);
  if (m->n_head != 0) {
    set_u32(m, "attention.key_length", (uint32_t)head_size(m));
    set_u32(m, "attention.value_length", (uint32_t)head_size(m));
  }
  if (m->n_window != 0)
    set_u32(m, "attention.sliding_window", m->n_window);
  if (m->d_inner != 0) {
    set_u32(m, "ssm.conv_kernel", m->d_conv);
    set_u32(m, "ssm.inner_size", m->d_inner);
    set_u32(m, "ssm.state_size", m->d_state);
    set_u32(m, "ssm.time_step_rank", m->n_ssm_head);
    set_u32(m, "ssm.group_count", m->n_group);
  }
}

/* An upper bound: every matrix as f32, doubled for headers and padding. */
static size_t tensor_memory(const model *m)
{
  const size_t layer = 4 * (size_t)m->n_embd * m->n_embd + 3 * (size_t)m->n_embd * m->n_ff +
                       8 * (size_t)m->n_embd * m->d_inner;
  return 4 * (m->n_layer * layer + 2 * (size_t)m->n_vocab * m->n_embd) + (16u << 20);
}

static int write_model(model *m, const family *f, const char *path)
{
  m->tensors = ggml_init((struct ggml_init_params){.mem_size = tensor_memory(m)});
  m->file = gguf_init_empty();
  if (m->tensors == NULL || m->file == NULL) {
    fprintf(stderr, "kvasir-mkmodel: out of memory\n");
    return 1;
  }
  metadata(m);
  matrix(m, m->n_embd, m->n_vocab, "token_embd.weight");
  values(m, 1.0f, 0.1f, m->n_embd, 0, "output_norm.weight");
  for (uint32_t i = 0; i < m->n_layer; i++)
    f->layer(m, i);
  const bool written = gguf_write_to_file(m->file, path, false);
  if (!written)
    fprintf(stderr, "kvasir-mkmodel: %s cannot be written: %s\n", path, strerror(errno));
  gguf_free(m->file);
  ggml_free(m->tensors);
  return written ? 0 : 1;
}

static int usage(FILE *out)
{
  fprintf(out, "usage: kvasir-mkmodel [--family NAME] [--layers N] [--seed N] FILE\n"
               "Writes a GGUF model with random weights, the same for the same arguments.\n\n"
               "  --family NAME  one of the list below (default: dense)\n"
               "  --layers N     number of layers, 1 to 256 (default: the family's)\n"
               "  --seed N       seed of the weights (default: 1)\n\nfamilies:\n");
  for (int i = 0; i < N_FAMILIES; i++)
    fprintf(out, "  %-10s %s (%s)\n", families[i].name, families[i].what, families[i].sizes.arch);
  return out == stdout ? 0 : 2;
}

static bool parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
  char *end;
  errno = 0;
  *value = strtoull(text, &end, 10);
  return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *value >= low && *value <= high;
}

int main(int argc, char **argv)
{
  static const struct option options[] = {{"family", required_argument, NULL, 'f'},
                                          {"layers", required_argument, NULL, 'l'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
  const family *chosen = &families[0];
  uint64_t layers = 0, seed = 1;
  for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
    bool good = option == 'h';
    if (option == 'h')
      return usage(stdout);
    if (option == 'l')
      good = parse_number(optarg, 1, 256, &layers);
    if (option == 's')
      good = parse_number(optarg, 0, UINT64_MAX, &seed);
    for (int i = 0; option == 'f' && i < N_FAMILIES; i++) {
      if (strcmp(optarg, families[i].name) == 0) {
        chosen = &families[i];
        good = true;
      }
    }
    if (!good)
      return usage(stderr);
  }
  if (optind != argc - 1)
    return usage(stderr);
  model m = chosen->sizes;
  m.random = seed;
  if (layers != 0)
    m.n_layer = (uint32_t)layers;
  return write_model(&m, chosen, argv[optind]);
}
