#include "connector/llamacpp/runtime.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include <llama.h>

static void log_errors(enum ggml_log_level level, const char *text, void *unused)
{
  (void)unused;
  if (level == GGML_LOG_LEVEL_ERROR)
    fputs(text, stderr);
}

static void load_backends(void)
{
  Dl_info info;
  char path[4096];
  /* POSIX gives dladdr a data pointer for a function; the bytes are the same. */
  const struct llama_model *(*function)(const struct llama_context *) = llama_get_model;
  void *address;
  memcpy(&address, &function, sizeof(address));
  if (dladdr(address, &info) != 0 && info.dli_fname != NULL && strlen(info.dli_fname) < sizeof(path)) {
    memcpy(path, info.dli_fname, strlen(info.dli_fname) + 1);
    ggml_backend_load_all_from_path(dirname(path));
  }
  if (ggml_backend_dev_count() == 0)
    ggml_backend_load_all();
}

void kvi_llama_runtime_start(bool chatty)
{
  if (!chatty) {
    llama_log_set(log_errors, NULL);
    ggml_log_set(log_errors, NULL);
  }
  load_backends();
  llama_backend_init();
}
