/* coded_get.h: what a get of a medium brought, and what that decodes to. */
#ifndef KVI_TESTS_UNIT_TIERS_CODED_GET_H
#define KVI_TESTS_UNIT_TIERS_CODED_GET_H

#include "medium_testing.h"

#include "proto/coded.h"

/* What a get brought. */
struct got {
  struct test_wait wait; /* first */
  uint16_t quality;
  uint32_t n_segments;
};

static inline kvs_status got_land(struct kvi_medium_get *get, const struct kvi_chunk_table *table,
                                  const struct kvi_iov **iov_p, uint32_t *n_iov_p)
{
  struct got *got = get->user;

  got->quality = table->quality;
  got->n_segments = table->n_segments;
  return test_land(get, table, iov_p, n_iov_p);
}

/* Whether a coded payload, which may be anywhere, decodes to just these bytes, cut as this table says. */
static inline bool decodes_to(const uint8_t *bytes, uint64_t length, const uint8_t *raw, uint64_t raw_length,
                              const uint8_t *raw_table)
{
  uint8_t *payload = malloc(length), *decoded = malloc(raw_length);
  struct kvi_coded coded;
  bool same;

  assert_non_null(payload);
  assert_non_null(decoded);
  memcpy(payload, bytes, length);
  same = kvi_coded_open(payload, length, length, &coded) == KVS_OK && coded.raw.length == raw_length &&
         (!raw_table || memcmp(payload + KVI_CHUNK_TABLE_HEAD, raw_table + KVI_CHUNK_TABLE_HEAD,
                               coded.raw.n_segments * sizeof(struct kvi_segment)) == 0);
  for (uint32_t layer = 0; same && layer < coded.object.shape.n_layers; layer++)
    same = kvi_coded_layer(&coded, layer, payload,
                           decoded + kvi_codec_layer_offset(&coded.object.shape, layer)) == KVS_OK;
  same = same && memcmp(decoded, raw, raw_length) == 0;
  free(payload);
  free(decoded);
  return same;
}

#endif
