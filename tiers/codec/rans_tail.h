/* tiers/codec/rans_tail.h: words for vectors, which read on behind those that they need. */
#ifndef KVI_CODEC_RANS_TAIL_H
#define KVI_CODEC_RANS_TAIL_H

#include <stddef.h>
#include <string.h>

#include "tiers/codec/rans.h"

/* Before a pair is read: the last words move to where zeros follow them. False: more was read than there is. */
static inline bool kvi_rans_room_for_pair(struct kvi_rans_decoder *decoder)
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

#endif
