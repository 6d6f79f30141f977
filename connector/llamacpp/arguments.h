/* arguments.h: the command line of kvasir-llama. */
#ifndef KVI_CONNECTOR_LLAMACPP_ARGUMENTS_H
#define KVI_CONNECTOR_LLAMACPP_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include <llama.h>

/* Texts point into argv or the environment. Every number is within its bounds. */
typedef struct kvi_llama_arguments {
  const char *model, *tokens, *text, *endpoint, *logits_out, *logits_compare;
  const char *tls_ca, *tls_cert, *tls_key, *tls_name; /* NULL: none */
  enum ggml_type kv_type;
  bool flash, json, save, load, verbose;
  uint32_t encode; /* enum kvs_encode */
  uint64_t n_predict, threads, context, timeout_ms, loss_max, loss_enough, hurry_ms, wait_ms, chunk,
      sequences, dram_mib;
} kvi_llama_arguments;

/*
 * 0: go on. Else what was wrong was said on stderr (or the help on stdout), and the program ends with this value
 * less one: 0 after --help, 2 for a wrong command line.
 */
int kvi_llama_arguments_parse(int argc, char **argv, kvi_llama_arguments *a);

#endif
