/*
 * runtime.h: starts libllama in a program of ours. An embedder has done so itself; the adapter does not call
 * this.
 */
#ifndef KVI_CONNECTOR_LLAMACPP_RUNTIME_H
#define KVI_CONNECTOR_LLAMACPP_RUNTIME_H

#include <stdbool.h>

/*
 * Loads the compute backends that lie beside libllama (a packaged one keeps one for each instruction set) and
 * starts it. chatty: libllama's own log goes to stderr; otherwise only its errors do. Once a process.
 */
void kvi_llama_runtime_start(bool chatty);

#endif
