/*
 * tests/bench/codec/set.h: what is encoded: chunks of keys and values in bf16, as layout "tensors" of a space has them, and queries.
 * They come from files or from a generator.
 */
#ifndef KVASIR_BENCH_CODEC_SET_H
#define KVASIR_BENCH_CODEC_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define CODEC_NAME_MAX 64u

struct codec_set {
  char name[CODEC_NAME_MAX];
  uint32_t n_chunks, n_layers, n_tokens, n_heads, dim;
  uint32_t n_queries,
      query_heads;   /* of a chunk and layer; query_heads is a multiple of n_heads. May be 0: no attention */
  uint16_t *kv;      /* [chunk][layer][K or V][token][head][dim] */
  uint16_t *queries; /* [chunk][layer][query][query head][dim] */
};

/* Allocates zeroed arrays for the counts that are set. False: no memory, and *set has none. */
bool codec_set_allocate(struct codec_set *set);
void codec_set_free(struct codec_set *set); /* a zeroed one is fine */

/* Elements of one chunk, of a plane (the keys, or the values, of a layer), of a plane's row. */
static inline size_t codec_set_columns(const struct codec_set *set)
{
  return (size_t)set->n_heads * set->dim;
}
static inline size_t codec_set_plane(const struct codec_set *set)
{
  return set->n_tokens * codec_set_columns(set);
}
static inline size_t codec_set_chunk(const struct codec_set *set)
{
  return 2 * set->n_layers * codec_set_plane(set);
}
static inline const uint16_t *codec_set_raw(const struct codec_set *set, uint32_t chunk)
{
  return set->kv + chunk * codec_set_chunk(set);
}
static inline const uint16_t *codec_set_queries(const struct codec_set *set, uint32_t chunk, uint32_t layer)
{
  return set->queries +
         ((size_t)chunk * set->n_layers + layer) * set->n_queries * set->query_heads * set->dim;
}

/*
 * Reads NAME-k.npy, NAME-v.npy and NAME-q.npy of a folder, each with or without ".zst": bf16 as u2,
 * [sequence, layer, token, head, dim], where each sequence becomes a chunk. Told on stderr what is wrong.
 */
kvs_status codec_set_read(const char *folder, const char *name, struct codec_set *set_p);

/* The names of the sets in a folder, sorted. Returns how many, at most `room`; -1: the folder cannot be read (told). */
int codec_set_names(const char *folder, char (*names)[CODEC_NAME_MAX], int room);

#endif
