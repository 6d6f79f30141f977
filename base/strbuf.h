/*
 * base/strbuf.h: text that grows up to a bound, for pages, dumps and JSON. One thread at a time. A failure
 * sticks: append on, look at the status once at the end.
 */
#ifndef KVI_BASE_STRBUF_H
#define KVI_BASE_STRBUF_H

#include <stddef.h>

#include <kvasir/status.h>

typedef struct kvi_strbuf {
  char *text; /* NUL-terminated; NULL until something is appended */
  size_t length;
  size_t capacity;
  size_t limit;      /* most bytes it will hold, without the NUL */
  kvs_status status; /* KVS_OK, KVS_ERR_NOMEM, KVS_ERR_TOO_LARGE */
} kvi_strbuf;

/* Allocates nothing yet. */
void kvi_strbuf_init(kvi_strbuf *buf, size_t limit);
void kvi_strbuf_free(kvi_strbuf *buf);

void kvi_strbuf_add(kvi_strbuf *buf, const char *text);
void kvi_strbuf_add_bytes(kvi_strbuf *buf, const char *bytes, size_t length);
void kvi_strbuf_addf(kvi_strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds "text" as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void kvi_strbuf_add_json(kvi_strbuf *buf, const char *text);

/* The text so far, "" if none; valid until the next call. */
const char *kvi_strbuf_text(const kvi_strbuf *buf);

#endif
