/* base/array.h: the length of an array, and sizes that are added and multiplied without overflow. */
#ifndef KVI_BASE_ARRAY_H
#define KVI_BASE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of an array, not a pointer. */
#define KVI_ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* False, and *result_p untouched, if the result does not fit. (The builtins are GNU's: C17 has no checked
 * arithmetic.) */
static inline bool kvi_size_add(size_t a, size_t b, size_t *result_p)
{
  size_t sum;

  if (__builtin_add_overflow(a, b, &sum))
    return false;
  *result_p = sum;
  return true;
}

static inline bool kvi_size_mul(size_t a, size_t b, size_t *result_p)
{
  size_t product;

  if (__builtin_mul_overflow(a, b, &product))
    return false;
  *result_p = product;
  return true;
}

#endif
