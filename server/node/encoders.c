/* encoders.c: what a codec's setting means (dram.codec), and the encoder on the way to a tier (ssd.codec, redis.codec). */
#include "server/node/node_private.h"
#include "server/node/settings.h"
#include "tiers/encoder/encoder.h"

static const enum kvi_codec_level lossy_levels[] = {[KVI_NODE_CODEC_NONE] = KVI_CODEC_RAW,
                                                    [KVI_NODE_CODEC_LOSSLESS] = KVI_CODEC_RAW,
                                                    [KVI_NODE_CODEC_LADDER] = KVI_CODEC_LADDER,
                                                    [KVI_NODE_CODEC_CACHEGEN] = KVI_CODEC_CACHEGEN};

struct kvi_encode_rules kvi_node_encode_rules(const struct kvi_node_settings *values, int codec)
{
  return (struct kvi_encode_rules){.tensors = codec != KVI_NODE_CODEC_NONE,
                                   .bytes = codec != KVI_NODE_CODEC_NONE,
                                   .lossy = lossy_levels[codec],
                                   .planes = (uint32_t)values->codec_planes};
}

kvs_status kvi_node_encoder_add(const struct kvi_node_settings *values, int codec, struct kvi_medium **medium)
{
  struct kvi_encoder_config config = {.rules = kvi_node_encode_rules(values, codec),
                                      .threads = (uint32_t)values->codec_threads};

  return codec == KVI_NODE_CODEC_NONE ? KVS_OK : kvi_encoder_create(*medium, &config, medium);
}
