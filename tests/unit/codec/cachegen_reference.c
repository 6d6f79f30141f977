#include "cachegen_reference.h"

#include <math.h>
#include <string.h>

#include "tiers/codec/element.h"

/* exp(-1 / (2 s^2)), s = 0.2 * 2^(0.3 i): with exp and pow of the C library, which the format's table must agree with. */
static uint64_t ratio(unsigned i)
{
  double s = 0.2 * pow(2, 0.3 * i);

  return (uint64_t)llrint(exp(-1 / (2 * s * s)) * 0x1p32);
}

static void curve(unsigned i, uint64_t w[128])
{
  uint64_t r = ratio(i), q = r;

  w[0] = 1ull << 31;
  for (int k = 1; k < 128; k++) {
    w[k] = (w[k - 1] * q) >> 32;
    q = (q * ((r * r) >> 32)) >> 32;
  }
}

uint32_t cachegen_reference_frequency(unsigned class_id, int number)
{
  static uint32_t known[32][129];
  static bool is_known[32];

  if (!is_known[class_id]) {
    uint64_t narrow[128], wide[128], sum = 0, others = 0;

    curve(class_id, narrow);
    curve(class_id + 5, wide);
    for (int k = 0; k < 128; k++) {
      narrow[k] += wide[k] / 256;
      sum += k == 0 ? narrow[k] : 2 * narrow[k];
    }
    for (int k = 1; k < 128; k++) {
      known[class_id][k] = (uint32_t)(narrow[k] * 65504 / sum);
      others += 2 * known[class_id][k];
    }
    known[class_id][0] = (uint32_t)(65504 - others);
    known[class_id][128] = 32;
    is_known[class_id] = true;
  }
  return known[class_id][number < 0 ? -number : number];
}

struct reader {
  const uint8_t *bytes;
  size_t at, length;
  uint64_t code, range;
  bool bad;
};

static uint8_t byte(struct reader *reader)
{
  if (reader->at >= reader->length) {
    reader->bad = true;
    return 0;
  }
  return reader->bytes[reader->at++];
}

static void take(struct reader *reader, uint64_t start, uint64_t frequency)
{
  uint64_t unit = reader->range / 65536;

  reader->code -= start * unit;
  reader->range = frequency * unit;
  while (reader->range < 1u << 24) {
    reader->range *= 256;
    reader->code = reader->code * 256 + byte(reader);
  }
}

static int32_t number(struct reader *reader, unsigned class_id)
{
  uint64_t slot = reader->code / (reader->range / 65536), start = 0;

  if (slot > 65535) {
    reader->bad = true;
    return 0;
  }
  for (int n = -127; n <= 128; n++) {
    uint64_t frequency = cachegen_reference_frequency(class_id, n);

    if (slot < start + frequency) {
      take(reader, start, frequency);
      if (n < 128)
        return n;
      break;
    }
    start += frequency;
  }
  slot = reader->code / (reader->range / 65536);
  if (slot > 65535) {
    reader->bad = true;
    return 0;
  }
  take(reader, slot, 1);
  return (int32_t)slot - 32768;
}

static float step_at(const uint8_t *bytes, bool *bad)
{
  int e = bytes[1] < 128 ? bytes[1] : bytes[1] - 256;

  *bad = *bad || bytes[0] < 128 || e < -120 || e > 100;
  return ldexpf((float)bytes[0], e);
}

static bool coded(unsigned mode, enum kvi_codec_dtype dtype, uint32_t rows, uint32_t heads, uint32_t dim,
                  const uint8_t *bytes, size_t length, uint8_t *out)
{
  size_t columns = (size_t)heads * dim, size = kvi_codec_element_size(dtype), groups = (rows + 9) / 10;
  size_t vectors = mode == 1 ? heads : 1, model = 2 * (heads + groups * vectors), begin = model + 2 * columns;
  struct reader reader = {.bytes = bytes, .at = begin, .length = length, .range = 0xffffffff};

  if (length < begin)
    return false;
  for (size_t i = 0; i < heads + groups * vectors; i++)
    (void)step_at(bytes + 2 * i, &reader.bad);
  for (int i = 0; i < 4; i++)
    reader.code = reader.code * 256 + byte(&reader);
  for (size_t row = 0; row < rows && !reader.bad; row++)
    for (size_t c = 0; c < columns; c++) {
      unsigned m = bytes[model + 2 * c] | (unsigned)bytes[model + 2 * c + 1] << 8;
      bool anchor = row % 10 == 0;
      int n = number(&reader, anchor ? 1 + 2 * (m / 32 % 16) : m % 32), mean = (int)(m / 512);
      size_t head = c / dim, vector = mode == 1 ? head : 0;
      float step = step_at(bytes + 2 * (anchor ? heads + row / 10 * vectors + vector : head), &reader.bad);
      float base = 0;

      if (anchor)
        n += 2 * (mean >= 64 ? mean - 128 : mean);
      else
        base = kvi_codec_to_float(dtype, out + (row / 10 * 10 * columns + c) * size);
      kvi_codec_from_float(dtype, base + (float)n * step, out + (row * columns + c) * size);
    }
  return !reader.bad && reader.at == length && reader.code == 0;
}

static bool plane(enum kvi_codec_dtype dtype, uint32_t rows, uint32_t heads, uint32_t dim,
                  const uint8_t **segment, size_t *length, uint8_t *out)
{
  size_t raw = (size_t)rows * heads * dim * kvi_codec_element_size(dtype), size;
  const uint8_t *bytes = *segment;

  if (raw == 0)
    return true;
  if (*length < 8 || bytes[0] > 2 || bytes[1] != 0 || bytes[2] != 0 || bytes[3] != 0)
    return false;
  size = bytes[4] | (size_t)bytes[5] << 8 | (size_t)bytes[6] << 16 | (size_t)bytes[7] << 24;
  if (size < 8 || size > *length)
    return false;
  *segment += size;
  *length -= size;
  if (bytes[0] != 0)
    return coded(bytes[0], dtype, rows, heads, dim, bytes + 8, size - 8, out);
  if (size != raw + 8)
    return false;
  memcpy(out, bytes + 8, raw);
  return true;
}

bool cachegen_reference_decode(const struct kvi_codec_shape *shape, uint32_t layer, const uint8_t *segment,
                               size_t length, uint8_t *out)
{
  uint32_t rows = kvi_codec_layer_rows(shape, layer);

  return plane(shape->dtype, rows, shape->n_heads, shape->key_dim, &segment, &length, out) &&
         plane(shape->dtype, rows, shape->n_heads, shape->value_dim, &segment, &length,
               out + kvi_codec_layer_key_bytes(shape, layer)) &&
         length == 0;
}
