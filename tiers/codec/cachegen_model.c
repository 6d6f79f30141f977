/* Classes of bell curves to frequencies, and what they cost. */
#include "tiers/codec/cachegen_model.h"

#include <pthread.h>

#define WIDER            5u /* a class's tails are those of the class so much farther on: 2.8 times wider */
#define TAIL_SHIFT       8u
#define ESCAPE_FREQUENCY 32u

/* exp(-1 / (2 s^2)) * 2^32, rounded, for s = 0.2 * 2^(0.3 i): part of the format. */
static const uint32_t ratios[KVI_CACHEGEN_CLASSES + WIDER] = {
    16006u,      1125553u,    18620408u,   118571584u,  402176917u,  900274053u,  1532006610u, 2175647483u,
    2742126313u, 3194420036u, 3532943729u, 3775699813u, 3944922218u, 4060699113u, 4138937623u, 4191379343u,
    4226341253u, 4249567033u, 4264960172u, 4275146373u, 4281880076u, 4286328469u, 4289265843u, 4291204890u,
    4292484664u, 4293329208u, 4293886491u, 4294254200u, 4294496815u, 4294656888u, 4294762501u, 4294832181u,
    4294878153u, 4294908483u, 4294928494u, 4294941696u, 4294950406u,
};

static struct kvi_cachegen_class classes[KVI_CACHEGEN_CLASSES];
static uint16_t costs[KVI_CACHEGEN_CLASSES][KVI_CACHEGEN_MAGNITUDE]; /* in 1/256 bit */

/* curve[k] = 2^31 * exp(-k^2 / (2 s^2)), each from the one before by the ratio between the two, which shrinks likewise. */
static void bell_curve(uint32_t ratio, uint32_t curve[KVI_CACHEGEN_LARGEST + 1])
{
  uint64_t square = (uint64_t)ratio * ratio >> 32, step = ratio, value = 1u << 31;

  for (int k = 0; k <= KVI_CACHEGEN_LARGEST; k++) {
    curve[k] = (uint32_t)value;
    value = value * step >> 32;
    step = step * square >> 32;
  }
}

/* frequency[k] of the numbers k and -k each; what is left after the escape is zero's. */
static void frequencies(uint32_t class_id, uint32_t frequency[KVI_CACHEGEN_LARGEST + 1])
{
  uint32_t narrow[KVI_CACHEGEN_LARGEST + 1], wide[KVI_CACHEGEN_LARGEST + 1],
      left = (1u << 16) - ESCAPE_FREQUENCY;
  uint64_t sum = 0;

  bell_curve(ratios[class_id], narrow);
  bell_curve(ratios[class_id + WIDER], wide);
  for (int k = 0; k <= KVI_CACHEGEN_LARGEST; k++) {
    narrow[k] += wide[k] >> TAIL_SHIFT;
    sum += (uint64_t)narrow[k] << (k > 0);
  }
  for (int k = KVI_CACHEGEN_LARGEST; k > 0; k--) {
    frequency[k] = (uint32_t)(narrow[k] * (uint64_t)((1u << 16) - ESCAPE_FREQUENCY) / sum);
    left -= 2 * frequency[k];
  }
  frequency[0] = left;
}

/* 256 * -log2(frequency / 2^16), by squaring: no libm, so that encoders choose alike everywhere. frequency >= 1 */
static uint32_t cost_of(uint32_t frequency)
{
  uint64_t x = (uint64_t)frequency << 15; /* 2^31 is one */
  uint32_t bits = 0;

  for (; x < 1u << 31; x <<= 1)
    bits += 256;
  for (uint32_t step = 128; step > 0; step >>= 1) {
    x = x * x >> 31;
    if (x >= 1ull << 32) {
      x >>= 1;
      bits -= step;
    }
  }
  return bits;
}

static void place_symbols(struct kvi_cachegen_class *class,
                          const uint32_t frequency[KVI_CACHEGEN_LARGEST + 1])
{
  uint32_t start = 0, symbol = 0;

  for (int number = -KVI_CACHEGEN_LARGEST; number <= KVI_CACHEGEN_LARGEST; number++) {
    class->starts[number + KVI_CACHEGEN_LARGEST] = start;
    start += frequency[number < 0 ? -number : number];
  }
  class->starts[KVI_CACHEGEN_ESCAPE] = start;
  class->starts[KVI_CACHEGEN_SYMBOLS] = 1u << 16;
  for (uint32_t slot = 0; slot < 1u << 16; slot += 256) {
    while (class->starts[symbol + 1] <= slot)
      symbol++;
    class->at[slot >> 8] = (uint8_t)symbol;
  }
}

static void make_classes(void)
{
  for (uint32_t class_id = 0; class_id < KVI_CACHEGEN_CLASSES; class_id++) {
    uint32_t frequency[KVI_CACHEGEN_LARGEST + 1], escape = cost_of(ESCAPE_FREQUENCY) + 16 * 256;

    frequencies(class_id, frequency);
    place_symbols(&classes[class_id], frequency);
    for (int k = 0; k <= KVI_CACHEGEN_LARGEST; k++)
      costs[class_id][k] = (uint16_t)(frequency[k] > 0 ? cost_of(frequency[k]) : escape);
    costs[class_id][KVI_CACHEGEN_LARGEST + 1] = (uint16_t)escape;
  }
}

const struct kvi_cachegen_class *kvi_cachegen_classes(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once(&once, make_classes);
  return classes;
}

uint32_t kvi_cachegen_choose_class(const uint32_t histogram[KVI_CACHEGEN_MAGNITUDE], uint32_t first,
                                   uint32_t stride, uint32_t count)
{
  uint64_t least = UINT64_MAX;
  uint32_t best = 0, magnitudes = KVI_CACHEGEN_MAGNITUDE;

  (void)kvi_cachegen_classes();
  while (magnitudes > 0 && histogram[magnitudes - 1] == 0)
    magnitudes--;
  for (uint32_t i = 0; i < count; i++) {
    const uint16_t *cost = costs[first + i * stride];
    uint64_t sum = 0;

    for (uint32_t k = 0; k < magnitudes; k++)
      sum += (uint64_t)histogram[k] * cost[k];
    if (sum < least) {
      least = sum;
      best = i;
    }
  }
  return best;
}
