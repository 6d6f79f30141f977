/* What the tests of proto share: cmocka, and expected bytes as hex text. */
#ifndef KVI_TESTS_UNIT_PROTO_TESTING_H
#define KVI_TESTS_UNIT_PROTO_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline size_t unhex(const char *hex, uint8_t *out, size_t capacity)
{
  size_t length = 0;

  assert_int_equal(kvi_hex_decode(hex, out, capacity, &length), KVS_OK);
  return length;
}

static inline void assert_hex(const uint8_t *bytes, size_t length, const char *expected)
{
  char hex[2048];

  assert_int_equal(kvi_hex_encode(bytes, length, hex, sizeof hex), KVS_OK);
  assert_string_equal(hex, expected);
}

#endif
