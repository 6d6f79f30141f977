#include "base/strbuf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void kvi_strbuf_init(kvi_strbuf *buf, size_t limit)
{
  memset(buf, 0, sizeof *buf);
  buf->limit = limit;
}

void kvi_strbuf_free(kvi_strbuf *buf)
{
  free(buf->text);
  buf->text = NULL;
  buf->length = buf->capacity = 0;
}

/* Room for "more" bytes and a NUL; false once and for all if there is none. */
static bool reserve(kvi_strbuf *buf, size_t more)
{
  if (buf->status != KVS_OK)
    return false;
  if (more > buf->limit - buf->length) {
    buf->status = KVS_ERR_TOO_LARGE;
    return false;
  }
  size_t need = buf->length + more + 1;
  if (need <= buf->capacity)
    return true;
  size_t capacity = buf->capacity < 128 ? 256 : buf->capacity * 2;
  if (capacity < need)
    capacity = need;
  char *text = realloc(buf->text, capacity);
  if (text == NULL) {
    buf->status = KVS_ERR_NOMEM;
    return false;
  }
  buf->text = text;
  buf->capacity = capacity;
  return true;
}

void kvi_strbuf_add_bytes(kvi_strbuf *buf, const char *bytes, size_t length)
{
  if (!reserve(buf, length))
    return;
  if (length > 0)
    memcpy(buf->text + buf->length, bytes, length);
  buf->length += length;
  buf->text[buf->length] = '\0';
}

void kvi_strbuf_add(kvi_strbuf *buf, const char *text)
{
  kvi_strbuf_add_bytes(buf, text, strlen(text));
}

void kvi_strbuf_addf(kvi_strbuf *buf, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (length < 0 || !reserve(buf, (size_t)length))
    return;
  va_start(args, format);
  vsnprintf(buf->text + buf->length, (size_t)length + 1, format, args);
  va_end(args);
  buf->length += (size_t)length;
}

void kvi_strbuf_add_json(kvi_strbuf *buf, const char *text)
{
  size_t left = strlen(text);

  kvi_strbuf_add(buf, "\"");
  while (left > 0) {
    size_t width = kvi_utf8_length(text, left);
    unsigned char byte = (unsigned char)*text;

    if (byte == '"' || byte == '\\')
      kvi_strbuf_addf(buf, "\\%c", byte);
    else if (width == 0)
      kvi_strbuf_add(buf, "\\ufffd");
    else if (byte < 0x20)
      kvi_strbuf_addf(buf, "\\u%04x", byte);
    else
      kvi_strbuf_add_bytes(buf, text, width);
    text += width > 0 ? width : 1;
    left -= width > 0 ? width : 1;
  }
  kvi_strbuf_add(buf, "\"");
}

const char *kvi_strbuf_text(const kvi_strbuf *buf)
{
  return buf->text != NULL ? buf->text : "";
}
