/* The loops in plain C, for every machine, and the reference for the others. */
#include "tiers/codec/loops_body.h"

const struct kvi_codec_loops kvi_codec_loops_scalar = {
    .name = "scalar",
    .rans_pairs = kvi_rans_pairs_scalar,
    .rans_pairs_of_two = kvi_rans_pairs_of_two_scalar,
    .rans_encode = kvi_rans_encode_scalar,
    .finish_rows = finish_rows,
    .place_kept = place_kept,
    .add_predictions = add_predictions,
    .sum_products = sum_products,
    .take_predictions = take_predictions,
    .join_bf16 = join_bf16,
    .exponents_bf16 = exponents_bf16,
    .lows_bf16 = lows_bf16,
    .count_highs = count_highs,
    .cheapest_class = cheapest_class,
    .less_reference = less_reference,
    .add_sums = add_sums,
    .quantise = quantise,
    .split_digits = split_digits,
};
