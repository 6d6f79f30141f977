/* client/cli/codec_error.h: how far what was decoded is from what was encoded. */
#ifndef KVI_CLIENT_CLI_CODEC_ERROR_H
#define KVI_CLIENT_CLI_CODEC_ERROR_H

#include "client/cli/codec.h"

struct cli_codec_error {
  /*
   * Relative L2 around each channel's mean, root mean square over layers and heads: softmax does not see a constant key, so that what
   * a large mean hides is told. 0 where there are none; infinity where a number became one that is not.
   */
  double keys, values;
  double
      attention; /* relative L2 of attention's output, root mean square over layers and query heads; 0 without queries */
  bool exact; /* every bit is as it was */
};

/* What attention over a chunk gives for the queries: [layer][query head][query][dimension of a value], to be freed; NULL: no memory. */
float *cli_codec_attend(const struct kvi_codec_shape *shape, const uint8_t *raw,
                        const struct cli_codec_queries *queries);

/* How far outputs are from what they were: the squared relative error of each [layer][query head]. */
void cli_codec_attention_errors(const struct kvi_codec_shape *shape, const struct cli_codec_queries *queries,
                                const float *was, const float *is, double *squares);

/*
 * Compares. truth is what cli_codec_attend gives of was, or NULL: then attention is not compared. KVS_ERR_NOMEM. The shape has no sliding windows.
 */
kvs_status cli_codec_compare_raw(const struct kvi_codec_shape *shape, const uint8_t *was, const uint8_t *is,
                                 const struct cli_codec_queries *queries, const float *truth,
                                 struct cli_codec_error *error_p);

#endif
