/*
 * tiers/codec/cachegen_model.h: the distributions of level "cachegen": 32 classes of bell curves, by integers alone (docs/formats/kvc1.md).
 */
#ifndef KVI_CODEC_CACHEGEN_MODEL_H
#define KVI_CODEC_CACHEGEN_MODEL_H

#include <stdint.h>

#define KVI_CACHEGEN_CLASSES   32u
#define KVI_CACHEGEN_LARGEST   127  /* larger numbers are escapes */
#define KVI_CACHEGEN_ESCAPE    255u /* symbols are number + 127, and this one */
#define KVI_CACHEGEN_SYMBOLS   256u
#define KVI_CACHEGEN_MAGNITUDE 129u /* magnitudes of a histogram: 0 to 127, and all that is larger */

/*
 * One class. The slots of a symbol are starts[symbol] to starts[symbol + 1]; none if the number is an escape. 2^16 stands behind the last one.
 * A slot's symbol is at[slot >> 8] or a little behind it.
 */
struct kvi_cachegen_class {
  uint32_t starts[KVI_CACHEGEN_SYMBOLS + 1];
  uint8_t at[256];
};

/* KVI_CACHEGEN_CLASSES of them, computed by the first call of the process, the same on every machine. Any thread. */
const struct kvi_cachegen_class *kvi_cachegen_classes(void);

/*
 * For the encoder: the class among first, first + stride, ... (count of them) that codes numbers of this histogram with the fewest bits.
 * histogram[i]: how many numbers have magnitude i, the last one how many are above 127. Returns which of the count.
 */
uint32_t kvi_cachegen_choose_class(const uint32_t histogram[KVI_CACHEGEN_MAGNITUDE], uint32_t first,
                                   uint32_t stride, uint32_t count);

#endif
