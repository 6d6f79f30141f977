#include "base/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"

kvs_status kvi_hex_encode(const void *src, size_t length, char *dst, size_t capacity)
{
  static const char digits[] = "0123456789abcdef";
  const unsigned char *bytes = src;

  if (capacity == 0 || length > (capacity - 1) / 2)
    return KVS_ERR_BUFFER;
  for (size_t i = 0; i < length; i++) {
    dst[2 * i] = digits[bytes[i] >> 4];
    dst[2 * i + 1] = digits[bytes[i] & 15];
  }
  dst[2 * length] = '\0';
  return KVS_OK;
}

static int hex_value(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

kvs_status kvi_hex_decode(const char *text, void *dst, size_t capacity, size_t *length_p)
{
  size_t digits = strlen(text);
  unsigned char *bytes = dst;

  *length_p = 0;
  for (size_t i = 0; i < digits; i++)
    if (hex_value(text[i]) < 0)
      return KVS_ERR_INVALID;
  if (digits % 2 != 0)
    return KVS_ERR_INVALID;
  if (digits / 2 > capacity)
    return KVS_ERR_BUFFER;
  for (size_t i = 0; i < digits / 2; i++)
    bytes[i] = (unsigned char)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
  *length_p = digits / 2;
  return KVS_OK;
}

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* Reads digits at *text_p and moves it behind them. False: no digit, or not below 2^63. */
static bool read_digits(const char **text_p, uint64_t *value_p)
{
  const char *at = *text_p;
  uint64_t value = 0;

  if (!is_digit(*at))
    return false;
  for (; is_digit(*at); at++) {
    uint64_t digit = (uint64_t)(*at - '0');

    if (value > ((uint64_t)INT64_MAX - digit) / 10)
      return false;
    value = value * 10 + digit;
  }
  *text_p = at;
  *value_p = value;
  return true;
}

kvs_status kvi_parse_int(const char *text, int64_t *value_p)
{
  bool negative = *text == '-';
  uint64_t value;

  *value_p = 0;
  if (negative)
    text++;
  if (!read_digits(&text, &value) || *text != '\0')
    return KVS_ERR_INVALID;
  *value_p = negative ? -(int64_t)value : (int64_t)value;
  return KVS_OK;
}

typedef struct unit {
  const char *name;
  uint64_t factor;
} unit;

#define KI (UINT64_C(1) << 10)
#define MI (UINT64_C(1) << 20)
#define GI (UINT64_C(1) << 30)
#define TI (UINT64_C(1) << 40)

static const unit size_units[] = {
    {"", 1},    {"B", 1},   {"KiB", KI},  {"MiB", MI},     {"GiB", GI},        {"TiB", TI},
    {"Ki", KI}, {"Mi", MI}, {"Gi", GI},   {"Ti", TI},      {"K", KI},          {"M", MI},
    {"G", GI},  {"T", TI},  {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"TB", 1000000000000},
};

static const unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", 24 * 60 * 60 * 1000},
};

static uint64_t find_factor(const unit *units, size_t count, const char *name)
{
  for (size_t i = 0; i < count; i++)
    if (strcmp(units[i].name, name) == 0)
      return units[i].factor;
  return 0;
}

/*
 * The digits after the point, as value / scale. More than nine say nothing that any unit of ours can hold,
 * and nine times 2^40 still fits 64 bits with room: only what is kept is computed, exactly, with no floating
 * point.
 */
static bool read_fraction(const char **text_p, uint64_t *value_p, uint64_t *scale_p)
{
  const char *at = *text_p;

  *value_p = 0;
  *scale_p = 1;
  if (!is_digit(*at))
    return false;
  for (int digits = 0; is_digit(*at); at++, digits++) {
    if (digits < 9) {
      *value_p = *value_p * 10 + (uint64_t)(*at - '0');
      *scale_p *= 10;
    }
  }
  *text_p = at;
  return true;
}

/* value * factor / scale for value < scale <= 10^9 and factor <= 2^40, in two halves of the factor. */
static uint64_t scale_fraction(uint64_t value, uint64_t factor, uint64_t scale)
{
  uint64_t high = value * (factor >> 20); /* in units of 2^20 */
  uint64_t low = value * (factor & (MI - 1));

  return ((high / scale) << 20) + (((high % scale) << 20) + low) / scale;
}

static kvs_status parse_quantity(const char *text, const unit *units, size_t count, uint64_t *value_p)
{
  uint64_t whole, factor, fraction = 0, scale = 1;
  const char *at = text;

  *value_p = 0;
  if (!read_digits(&at, &whole))
    return KVS_ERR_INVALID;
  if (*at == '.') {
    at++;
    if (!read_fraction(&at, &fraction, &scale))
      return KVS_ERR_INVALID;
  }
  factor = find_factor(units, count, at);
  if (factor == 0 && strcmp(text, "0") != 0)
    return KVS_ERR_INVALID;
  uint64_t extra = scale_fraction(fraction, factor, scale);
  if (factor > 0 && whole > ((uint64_t)INT64_MAX - extra) / factor)
    return KVS_ERR_INVALID;
  *value_p = whole * factor + extra;
  return KVS_OK;
}

kvs_status kvi_parse_size(const char *text, uint64_t *bytes_p)
{
  return parse_quantity(text, size_units, KVI_ARRAY_SIZE(size_units), bytes_p);
}

kvs_status kvi_parse_duration(const char *text, uint64_t *ms_p)
{
  return parse_quantity(text, duration_units, KVI_ARRAY_SIZE(duration_units), ms_p);
}

/* units from small to large; the largest that divides the value */
static char *format_quantity(uint64_t value, const unit *units, size_t count, char *dst)
{
  const unit *best = &units[0];

  for (size_t i = 0; i < count && value != 0; i++)
    if (value % units[i].factor == 0)
      best = &units[i];
  snprintf(dst, KVI_FORMAT_MAX, "%" PRIu64 "%s", value / best->factor, best->name);
  return dst;
}

char *kvi_format_size(uint64_t bytes, char dst[KVI_FORMAT_MAX])
{
  static const unit units[] = {{"", 1}, {"KiB", KI}, {"MiB", MI}, {"GiB", GI}, {"TiB", TI}};

  return format_quantity(bytes, units, KVI_ARRAY_SIZE(units), dst);
}

char *kvi_format_duration(uint64_t ms, char dst[KVI_FORMAT_MAX])
{
  return format_quantity(ms, duration_units, KVI_ARRAY_SIZE(duration_units), dst);
}
