#include "connector/llamacpp/prompt_file.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT_BYTES_MAX = 64 << 20 };

/* The whole file, ended by a zero byte; "-" is standard input. */
static char *read_file(const char *path, size_t *size_p)
{
  FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "kvasir-llama: %s: %s\n", path, strerror(errno));
    return NULL;
  }
  size_t size = 0, room = 1 << 16;
  char *text = malloc(room);
  while (text != NULL) {
    size += fread(text + size, 1, room - 1 - size, file);
    if (size < room - 1)
      break;
    char *more = room >= PROMPT_BYTES_MAX ? NULL : realloc(text, room * 2);
    room *= 2;
    if (more == NULL)
      free(text);
    text = more;
  }
  if (text == NULL || ferror(file)) {
    fprintf(stderr, "kvasir-llama: %s: %s\n", path, text == NULL ? "too large" : "cannot be read");
    free(text);
    text = NULL;
  }
  if (file != stdin)
    fclose(file);
  if (text != NULL) {
    text[size] = '\0';
    *size_p = size;
  }
  return text;
}

static const char *skip_separators(const char *at)
{
  return at + strspn(at, " \t\r\n,");
}

bool kvi_prompt_read_ids(const char *path, int n_vocab, llama_token **tokens_p, size_t *n_p)
{
  *tokens_p = NULL;
  *n_p = 0;
  size_t size;
  char *text = read_file(path, &size);
  if (text == NULL)
    return false;
  /* Each id takes two bytes at least, its digit and a separator. */
  llama_token *tokens = malloc((size / 2 + 1) * sizeof(*tokens));
  size_t n = 0;
  bool good = tokens != NULL;
  for (const char *at = skip_separators(text); good && *at != '\0';) {
    char *end;
    errno = 0;
    const long id = strtol(at, &end, 10);
    good = end != at && errno == 0 && id >= 0 && id < n_vocab && strchr(" \t\r\n,", *end) != NULL;
    if (good)
      tokens[n++] = (llama_token)id;
    else
      fprintf(stderr, "kvasir-llama: %s: \"%.12s\" is not a token id below %d\n", path, at, n_vocab);
    at = skip_separators(end);
  }
  if (good && n == 0)
    fprintf(stderr, "kvasir-llama: %s: no tokens\n", path);
  free(text);
  if (!good || n == 0) {
    free(tokens);
    return false;
  }
  *tokens_p = tokens;
  *n_p = n;
  return true;
}

bool kvi_prompt_read_text(const char *path, const struct llama_vocab *vocab, llama_token **tokens_p,
                          size_t *n_p)
{
  *tokens_p = NULL;
  *n_p = 0;
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
    fprintf(stderr, "kvasir-llama: this model has no tokenizer: give token ids with --tokens\n");
    return false;
  }
  size_t size;
  char *text = read_file(path, &size);
  if (text == NULL)
    return false;
  llama_token *tokens = NULL;
  int32_t n = size > INT32_MAX ? 0 : -llama_tokenize(vocab, text, (int32_t)size, NULL, 0, true, true);
  if (n > 0)
    tokens = malloc((size_t)n * sizeof(*tokens));
  if (tokens != NULL)
    n = llama_tokenize(vocab, text, (int32_t)size, tokens, n, true, true);
  free(text);
  if (tokens == NULL || n <= 0) {
    fprintf(stderr, "kvasir-llama: %s: no tokens\n", path);
    free(tokens);
    return false;
  }
  *tokens_p = tokens;
  *n_p = (size_t)n;
  return true;
}
