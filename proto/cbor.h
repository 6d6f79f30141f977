/*
 * proto/cbor.h: a writer of the few CBOR items that we hash, in the deterministic form of RFC 8949
 * section 4.2.1: shortest heads, definite lengths. Bytes go to a sink, so nothing is allocated. Thread-safe:
 * no state of its own.
 */
#ifndef KVASIR_PROTO_CBOR_H
#define KVASIR_PROTO_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVI_CBOR_HEAD_MAX 9u    /* bytes of the longest head */
#define KVI_CBOR_NULL     0xF6u /* the item null */

enum kvi_cbor_major { KVI_CBOR_UINT = 0, KVI_CBOR_BYTES = 2, KVI_CBOR_TEXT = 3, KVI_CBOR_ARRAY = 4 };

/* Writes an item's head to out (room for KVI_CBOR_HEAD_MAX); returns its length. A KVI_CBOR_UINT is its head
 * alone. */
static inline size_t kvi_cbor_head(uint8_t *out, enum kvi_cbor_major major, uint64_t value)
{
  uint8_t lead = (uint8_t)((unsigned)major << 5);
  unsigned width = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;

  if (value < 24) {
    out[0] = (uint8_t)(lead | value);
    return 1;
  }
  out[0] = (uint8_t)(lead | (width == 1 ? 24 : width == 2 ? 25 : width == 4 ? 26 : 27));
  for (unsigned i = 0; i < width; i++)
    out[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
  return 1 + width;
}

typedef void kvi_cbor_sink_fn(void *ctx, const void *bytes, size_t length);

struct kvi_cbor {
  kvi_cbor_sink_fn *sink;
  void *ctx;
};

void kvi_cbor_put_uint(const struct kvi_cbor *cbor, uint64_t value);
void kvi_cbor_put_bytes(const struct kvi_cbor *cbor, const void *bytes, size_t length);
/* text is UTF-8; see kvi_cbor_is_text. */
void kvi_cbor_put_text(const struct kvi_cbor *cbor, const char *text, size_t length);
/* The head of an array; its items follow. */
void kvi_cbor_put_array(const struct kvi_cbor *cbor, size_t n_items);

/* True if text[0..length) is well-formed UTF-8, which CBOR demands of text. */
bool kvi_cbor_is_text(const char *text, size_t length);

#endif
