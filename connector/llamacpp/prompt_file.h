/* prompt_file.h: a prompt from a file, for kvasir-llama. */
#ifndef KVI_CONNECTOR_LLAMACPP_PROMPT_FILE_H
#define KVI_CONNECTOR_LLAMACPP_PROMPT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <llama.h>

/*
 * Token ids, separated by white space or commas. *tokens_p is malloced. What is wrong with the file goes to
 * stderr: unreadable, empty, not a number, not below n_vocab.
 */
bool kvi_prompt_read_ids(const char *path, int n_vocab, llama_token **tokens_p, size_t *n_p);

/* Text, by the model's own tokenizer; the model must have one. */
bool kvi_prompt_read_text(const char *path, const struct llama_vocab *vocab, llama_token **tokens_p,
                          size_t *n_p);

#endif
