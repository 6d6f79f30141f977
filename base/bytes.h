/* base/bytes.h: little-endian numbers in byte arrays, at any alignment. */
#ifndef KVI_BASE_BYTES_H
#define KVI_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t kvi_load_le16(const uint8_t *p)
{
  return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t kvi_load_le32(const uint8_t *p)
{
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t kvi_load_le64(const uint8_t *p)
{
  return kvi_load_le32(p) | (uint64_t)kvi_load_le32(p + 4) << 32;
}

static inline void kvi_store_le16(uint8_t *p, uint16_t value)
{
  p[0] = (uint8_t)value;
  p[1] = (uint8_t)(value >> 8);
}

static inline void kvi_store_le32(uint8_t *p, uint32_t value)
{
  kvi_store_le16(p, (uint16_t)value);
  kvi_store_le16(p + 2, (uint16_t)(value >> 16));
}

static inline void kvi_store_le64(uint8_t *p, uint64_t value)
{
  kvi_store_le32(p, (uint32_t)value);
  kvi_store_le32(p + 4, (uint32_t)(value >> 32));
}

/* IEEE 754, as their bits. */
static inline float kvi_load_le_float(const uint8_t *p)
{
  uint32_t word = kvi_load_le32(p);
  float value;

  memcpy(&value, &word, sizeof(value));
  return value;
}

static inline double kvi_load_le_double(const uint8_t *p)
{
  uint64_t word = kvi_load_le64(p);
  double value;

  memcpy(&value, &word, sizeof(value));
  return value;
}

static inline void kvi_store_le_float(uint8_t *p, float value)
{
  uint32_t word;

  memcpy(&word, &value, sizeof(word));
  kvi_store_le32(p, word);
}

static inline void kvi_store_le_double(uint8_t *p, double value)
{
  uint64_t word;

  memcpy(&word, &value, sizeof(word));
  kvi_store_le64(p, word);
}

#endif
