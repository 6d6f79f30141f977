/* client/cli/codec_sensitivity.h: how much each head's errors matter to attention, and what profile follows from that. */
#ifndef KVI_CLIENT_CLI_CODEC_SENSITIVITY_H
#define KVI_CLIENT_CLI_CODEC_SENSITIVITY_H

#include "client/cli/codec_error.h"
#include "tiers/codec/profile.h"

/* Heads' keys and values of a shape: each has a step of its own. */
static inline size_t cli_codec_units(const struct kvi_codec_shape *shape)
{
  return (size_t)shape->n_layers * 2 * shape->n_heads;
}

/*
 * Measures one sample: with all heads' steps alike, the squared relative error of attention's output that each head's keys, and each head's values,
 * bring about by themselves. squares: [layer][keys, values][head], cli_codec_units of them. KVS_OK, KVS_ERR_NOMEM, or what encoding says.
 */
kvs_status cli_codec_measure(const struct cli_codec_chunk *chunk, const struct cli_codec_queries *queries,
                             double *squares);

/*
 * From the mean squares of n units, those above over all samples, to factors in 4096ths: coarser where errors matter less, so that all together
 * bring about the error they did.
 */
void cli_codec_factors(const double *squares, size_t n, uint16_t *factors);

#endif
