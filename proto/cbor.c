/* CBOR items into a sink. */
#include "proto/cbor.h"

#include "base/utf8.h"

static void put_head(const struct kvi_cbor *cbor, enum kvi_cbor_major major, uint64_t value)
{
  uint8_t head[KVI_CBOR_HEAD_MAX];

  cbor->sink(cbor->ctx, head, kvi_cbor_head(head, major, value));
}

void kvi_cbor_put_uint(const struct kvi_cbor *cbor, uint64_t value)
{
  put_head(cbor, KVI_CBOR_UINT, value);
}

void kvi_cbor_put_bytes(const struct kvi_cbor *cbor, const void *bytes, size_t length)
{
  put_head(cbor, KVI_CBOR_BYTES, length);
  cbor->sink(cbor->ctx, bytes, length);
}

void kvi_cbor_put_text(const struct kvi_cbor *cbor, const char *text, size_t length)
{
  put_head(cbor, KVI_CBOR_TEXT, length);
  cbor->sink(cbor->ctx, text, length);
}

void kvi_cbor_put_array(const struct kvi_cbor *cbor, size_t n_items)
{
  put_head(cbor, KVI_CBOR_ARRAY, n_items);
}

bool kvi_cbor_is_text(const char *text, size_t length)
{
  while (length > 0) {
    size_t step = kvi_utf8_length(text, length);
    if (step == 0)
      return false;
    text += step;
    length -= step;
  }
  return true;
}
