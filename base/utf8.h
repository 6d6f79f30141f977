/* base/utf8.h: how many bytes at "text" are one well-formed UTF-8 character. */
#ifndef KVI_BASE_UTF8_H
#define KVI_BASE_UTF8_H

#include <stddef.h>

/* 1 to 4, or 0 if the bytes are no character (cut short, overlong, a surrogate, above U+10FFFF). length must
 * be above 0. */
static inline size_t kvi_utf8_length(const char *text, size_t length)
{
  const unsigned char *at = (const unsigned char *)text;
  unsigned char lead = at[0];
  unsigned char low = 0x80, high = 0xBF; /* bounds of the second byte */
  size_t want;

  if (lead < 0x80)
    return 1;
  if (lead >= 0xC2 && lead <= 0xDF)
    want = 2;
  else if (lead >= 0xE0 && lead <= 0xEF)
    want = 3;
  else if (lead >= 0xF0 && lead <= 0xF4)
    want = 4;
  else
    return 0;
  if (lead == 0xE0)
    low = 0xA0;
  else if (lead == 0xED)
    high = 0x9F;
  else if (lead == 0xF0)
    low = 0x90;
  else if (lead == 0xF4)
    high = 0x8F;
  if (length < want || at[1] < low || at[1] > high)
    return 0;
  for (size_t i = 2; i < want; i++)
    if ((at[i] & 0xC0) != 0x80)
      return 0;
  return want;
}

#endif
