/* encoders.c: the encoder on the way to a tier (ssd.codec, redis.codec). */
#include "server/node/node_private.h"
#include "server/node/settings.h"
#include "tiers/encoder/encoder.h"

static const enum kvi_codec_level lossy_levels[] = {[KVI_NODE_CODEC_NONE] = KVI_CODEC_RAW,
                                                    [KVI_NODE_CODEC_LOSSLESS] = KVI_CODEC_RAW,
                                                    [KVI_NODE_CODEC_LADDER] = KVI_CODEC_LADDER,
                                                    [KVI_NODE_CODEC_CACHEGEN] = KVI_CODEC_CACHEGEN};

kvs_status kvi_node_encoder_add(const struct kvi_node_settings *values, int codec, struct kvi_medium **medium)
{
  struct kvi_encoder_config config = {.tensors = true,
                                      .bytes = true,
                                      .lossy = lossy_levels[codec],
                                      .planes = (uint32_t)values->codec_planes,
                                      .threads = (uint32_t)values->codec_threads};

  return codec == KVI_NODE_CODEC_NONE ? KVS_OK : kvi_encoder_create(*medium, &config, medium);
}
