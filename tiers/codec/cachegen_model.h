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

/* starts[class][symbol], and 2^16 behind the last one. A symbol's frequency may be 0: the number is an escape then. */
typedef uint32_t kvi_cachegen_starts[KVI_CACHEGEN_SYMBOLS + 1];

/* Computed by the first call of the process, the same on every machine. Any thread. */
const kvi_cachegen_starts *kvi_cachegen_classes(void);

/*
 * For the encoder: the class among first, first + stride, ... (count of them) that codes numbers of this histogram with the fewest bits.
 * histogram[i]: how many numbers have magnitude i, the last one how many are above 127. Returns which of the count.
 */
uint32_t kvi_cachegen_choose_class(const uint32_t histogram[KVI_CACHEGEN_MAGNITUDE], uint32_t first,
                                   uint32_t stride, uint32_t count);

#endif
