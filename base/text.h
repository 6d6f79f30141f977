/*
 * base/text.h: hex, and sizes and durations as people write them. Thread-safe; nothing allocates.
 */
#ifndef KVI_BASE_TEXT_H
#define KVI_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

/* Lower-case hex of src[0..length), with a NUL. KVS_ERR_BUFFER unless capacity is at least 2 * length + 1. */
kvs_status kvi_hex_encode(const void *src, size_t length, char *dst, size_t capacity);

/* Takes both cases. KVS_ERR_INVALID: not hex, or odd. KVS_ERR_BUFFER: more than "capacity" bytes. */
kvs_status kvi_hex_decode(const char *text, void *dst, size_t capacity, size_t *length_p);

/* A whole decimal number, with a '-' if negative; no spaces. KVS_ERR_INVALID: not one, or too big. */
kvs_status kvi_parse_int(const char *text, int64_t *value_p);

/*
 * Bytes: a decimal number, perhaps with a fraction, and a unit: none or B; KiB MiB GiB TiB (or K M G T, Ki Mi
 * Gi Ti), powers of 1024; kB MB GB TB, powers of 1000. KVS_ERR_INVALID: anything else, or not below 2^63. A
 * fraction of a byte is cut off.
 */
kvs_status kvi_parse_size(const char *text, uint64_t *bytes_p);

/* Milliseconds: a decimal number, perhaps with a fraction, and ms, s, m, h or d. The unit is required except
 * after 0. */
kvs_status kvi_parse_duration(const char *text, uint64_t *ms_p);

#define KVI_FORMAT_MAX 32u

/* The shortest exact form the parsers take back ("64KiB", "1500ms", "2h"); dst is returned. */
char *kvi_format_size(uint64_t bytes, char dst[KVI_FORMAT_MAX]);
char *kvi_format_duration(uint64_t ms, char dst[KVI_FORMAT_MAX]);

#endif
