/* client/cli/codec_survey.h: all that can be told of an object, for kvasirctl codec inspect. */
#ifndef KVI_CLIENT_CLI_CODEC_SURVEY_H
#define KVI_CLIENT_CLI_CODEC_SURVEY_H

#include "client/cli/codec.h"
#include "tiers/codec/inspect.h"

#define CLI_CODEC_QUALITIES (KVI_CODEC_PLANES_MAX + 1u)

enum cli_codec_segment_state { CLI_SEGMENT_NONE, CLI_SEGMENT_CUT, CLI_SEGMENT_DAMAGED, CLI_SEGMENT_SOUND };

struct cli_codec_layer {
  uint32_t bytes[CLI_CODEC_QUALITIES]; /* of each segment, as the table says */
  enum cli_codec_segment_state state[CLI_CODEC_QUALITIES];
  uint32_t blocks[3]; /* by enum kvi_block_mode */
  uint32_t kept_fine, kept_raw;
  bool damaged; /* a checksum does not fit, or what is there does not decode */
};

/* Sums over all layers whose base is sound. */
struct cli_codec_survey {
  struct cli_codec_layer *layers;
  bool has_blocks;                    /* of the level */
  uint32_t n_sound, n_cut, n_damaged; /* segments */
  uint32_t n_damaged_layers;
  uint32_t n_untried; /* layers that this program cannot decode, such as those that need a profile */
  uint64_t head, kept, deep, states, words, escapes, verbatim; /* bytes of the bases' parts */
  uint64_t classes[2][2][KVI_CODEC_CLASSES_MAX];               /* columns: [lossless, ladder][keys, values] */
  uint64_t depths[KVI_CODEC_DEPTHS];                           /* columns of ladder blocks */
  uint64_t predicted;                                          /* of them predicted by the token before */
};

/* Compares every checksum and decodes every layer as far as it is there. False: no memory. */
bool cli_codec_survey(const struct cli_codec_object *object, struct cli_codec_survey *survey_p);
void cli_codec_survey_free(struct cli_codec_survey *survey);

#endif
