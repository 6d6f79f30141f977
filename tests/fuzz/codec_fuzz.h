/* tests/fuzz/codec_fuzz.h: what the codec's fuzzers share: each path of the loops in turn, places with gaps between their rows. */
#ifndef KVI_TESTS_FUZZ_CODEC_FUZZ_H
#define KVI_TESTS_FUZZ_CODEC_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "tests/unit/codec/seal.h"
#include "tiers/codec/codec.h"

#define FUZZ_PATHS  5
#define FUZZ_CANARY 0xc3
#define FUZZ_GAP    7u /* bytes in front of a place and behind each row: rows begin at odd addresses */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool holds)
{
  if (!holds)
    abort();
}

/* False: this machine lacks it. */
static inline bool take_path(int i)
{
  static const char *const paths[FUZZ_PATHS] = {"scalar", "avx2", "avx2-no-gather", "avx512",
                                                "avx512-no-gather"};

  return kvi_codec_use_path(paths[i]) == KVS_OK;
}

/* Of exactly this length, so that a read behind it is seen. */
static inline uint8_t *fuzz_copy(const uint8_t *bytes, size_t length)
{
  uint8_t *copy = malloc(length + (length == 0));

  require(copy != NULL);
  if (length > 0)
    memcpy(copy, bytes, length);
  return copy;
}

/* A plane of rows with gaps; what is not a row has to stay as it was. */
struct fuzz_plane {
  uint8_t *memory;
  size_t rows, row_bytes, stride;
};

static inline struct fuzz_plane fuzz_plane_make(size_t rows, size_t row_bytes)
{
  struct fuzz_plane plane = {NULL, rows, row_bytes, row_bytes + FUZZ_GAP};

  plane.memory = malloc(FUZZ_GAP + rows * plane.stride);
  require(plane.memory != NULL);
  memset(plane.memory, FUZZ_CANARY, FUZZ_GAP + rows * plane.stride);
  return plane;
}

static inline uint8_t *fuzz_plane_start(const struct fuzz_plane *plane)
{
  return plane->memory + FUZZ_GAP;
}

static inline void fuzz_plane_check(const struct fuzz_plane *plane)
{
  for (size_t row = 0; row <= plane->rows; row++)
    for (size_t i = 0; i < FUZZ_GAP; i++)
      require(plane->memory[row * plane->stride + i] == FUZZ_CANARY);
}

static inline bool fuzz_planes_equal(const struct fuzz_plane *a, const struct fuzz_plane *b)
{
  return memcmp(a->memory, b->memory, FUZZ_GAP + a->rows * a->stride) == 0;
}

/* The checksums of an object made to fit. size is at least the header's length. */
static inline void fuzz_seal(uint8_t *bytes, size_t size, uint32_t header)
{
  seal_segments(bytes, size, header);
  seal_header(bytes, header);
}

#endif
