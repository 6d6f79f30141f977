/*
 * tiers/codec/rans_body.h: pairs of rows of one decoder or of two, by vectors. Included once by the file of an instruction set, behind its states, load_states,
 * store_states and step32, which decodes a pair of rows of one group.
 */
#ifndef KVI_CODEC_RANS_BODY_H
#define KVI_CODEC_RANS_BODY_H

#include <stddef.h>
#include <string.h>

/* Before a pair is read: the last words move to where zeros follow them. False: more was read than there is. */
static inline bool room_for_pair(struct kvi_rans_decoder *decoder)
{
  ptrdiff_t left = decoder->words_end - decoder->words;

  if (left >= (ptrdiff_t)KVI_RANS_PAIR_BYTES || decoder->in_tail)
    return left >= 0;
  memset(decoder->tail, 0, sizeof decoder->tail);
  memcpy(decoder->tail, decoder->words, (size_t)left);
  decoder->words = decoder->tail;
  decoder->words_end = decoder->tail + left;
  decoder->in_tail = true;
  return true;
}

INLINE bool pairs_of_one(struct kvi_rans_decoder *decoder, uint32_t pairs, bool gather)
{
  uint32_t n_groups = decoder->n_groups;
  states state;

  load_states(decoder, state);
  for (uint32_t pair = 0; pair < pairs; pair++) {
    const uint8_t *words;

    if (!room_for_pair(decoder))
      return false;
    words = decoder->words;
    for (uint32_t group = 0; group < n_groups; group++)
      step32(state, decoder, &words, pair, group, gather);
    decoder->words = words;
  }
  store_states(decoder, state);
  return decoder->words <= decoder->words_end;
}

/* While the states of one wait for their slots, those of the other advance. */
INLINE bool pairs_of_two(struct kvi_rans_decoder *a, struct kvi_rans_decoder *b, uint32_t pairs, bool gather)
{
  uint32_t n_groups = a->n_groups;
  states state_a, state_b;

  load_states(a, state_a);
  load_states(b, state_b);
  for (uint32_t pair = 0; pair < pairs; pair++) {
    const uint8_t *words_a, *words_b;

    if (!room_for_pair(a) || !room_for_pair(b))
      return false;
    words_a = a->words;
    words_b = b->words;
    for (uint32_t group = 0; group < n_groups; group++) {
      step32(state_a, a, &words_a, pair, group, gather);
      step32(state_b, b, &words_b, pair, group, gather);
    }
    a->words = words_a;
    b->words = words_b;
  }
  store_states(a, state_a);
  store_states(b, state_b);
  return a->words <= a->words_end && b->words <= b->words_end;
}

#endif
