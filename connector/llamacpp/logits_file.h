/* connector/llamacpp/logits_file.h: logits kept in a file, so that two runs can be compared number by number. */
#ifndef KVASIR_CONNECTOR_LLAMACPP_LOGITS_FILE_H
#define KVASIR_CONNECTOR_LLAMACPP_LOGITS_FILE_H

#include <stddef.h>

/* float32, little-endian, nothing else. False: see errno. */
_Bool kvi_llama_logits_write(const char *path, const float *logits, size_t n);

/*
 * The largest absolute difference to the logits of that file; infinity if one is not a number. False when the file cannot be read
 * (see errno) or does not hold n logits (errno is EINVAL).
 */
_Bool kvi_llama_logits_compare(const char *path, const float *logits, size_t n, double *difference_p);

#endif
