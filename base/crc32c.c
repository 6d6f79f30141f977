/* CRC-32C over isa-l's crc32_iscsi (PCLMUL or SSE4.2, chosen at run time) and zlib's way to combine two
 * checksums. */
#include "base/crc32c.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include <isa-l/crc.h>

/*
 * isa-l starts from the seed as it is and does not invert the result, so both inversions are ours. Its length
 * is an int; larger buffers go in pieces.
 */
#define PIECE_MAX ((size_t)1 << 30)

static_assert(PIECE_MAX <= INT_MAX, "a piece fits isa-l's length");

uint32_t kvi_crc32c_update(uint32_t crc, const void *buf, size_t length)
{
  const unsigned char *at = buf;
  uint32_t state = ~crc;

  while (length > 0) {
    size_t piece = length < PIECE_MAX ? length : PIECE_MAX;

    /* isa-l's prototype is without const; it only reads */
    state = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)piece, state);
    at += piece;
    length -= piece;
  }
  return ~state;
}

/* a * b modulo the polynomial, bits reflected: bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
  const uint32_t polynomial = 0x82F63B78u;
  uint32_t product = 0;

  for (uint32_t bit = UINT32_C(1) << 31; bit != 0; bit >>= 1) {
    if (a & bit)
      product ^= b;
    b = (b & 1) ? (b >> 1) ^ polynomial : b >> 1;
  }
  return product;
}

uint32_t kvi_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b)
{
  uint32_t power = UINT32_C(1) << 23; /* x^8: one byte of zeros */
  uint32_t shift = UINT32_C(1) << 31; /* x^0 */

  /* shift = x^(8 * length_b) by squaring; A is moved over B's bytes, and the inversions of both cancel out */
  for (; length_b != 0; length_b >>= 1) {
    if (length_b & 1)
      shift = multiply(shift, power);
    power = multiply(power, power);
  }
  return multiply(shift, crc_a) ^ crc_b;
}
