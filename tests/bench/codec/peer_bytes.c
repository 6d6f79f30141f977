/* General compressors on the chunk as it is. */
#include <stdlib.h>
#include <string.h>

#include <zstd.h>
#ifdef KVASIR_BENCH_LZ4
#include <lz4.h>
#endif

#include "tests/bench/codec/method.h"

/* A compressor of both directions; 0: it failed. */
typedef size_t (*code_function)(const void *from, size_t size, void *packed, size_t room, void *to,
                                int level);

static size_t code_zstd(const void *from, size_t size, void *packed, size_t room, void *to, int level)
{
  size_t length = ZSTD_compress(packed, room, from, size, level);

  return !ZSTD_isError(length) && ZSTD_decompress(to, size, packed, length) == size ? length : 0;
}

static kvs_status code(const struct codec_set *set, uint32_t chunk, code_function function, size_t room,
                       int level, uint16_t *decoded, struct codec_size *size_p)
{
  void *packed = malloc(room);
  size_t length;

  size_p->bits = 0;
  size_p->payload = 0;
  if (packed == NULL)
    return KVS_ERR_NOMEM;
  length = function(codec_set_raw(set, chunk), codec_set_chunk(set) * sizeof *decoded, packed, room, decoded,
                    level);
  free(packed);
  size_p->bits = 8.0 * (double)length;
  return length > 0 ? KVS_OK : KVS_ERR_INTERNAL;
}

kvs_status codec_zstd(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                      uint16_t *decoded, struct codec_size *size_p)
{
  return code(set, chunk, code_zstd, ZSTD_compressBound(codec_set_chunk(set) * sizeof *decoded),
              (int)method->a, decoded, size_p);
}

#ifdef KVASIR_BENCH_LZ4
static size_t code_lz4(const void *from, size_t size, void *packed, size_t room, void *to, int level)
{
  int length = LZ4_compress_default(from, packed, (int)size, (int)room);

  (void)level;
  return length > 0 && LZ4_decompress_safe(packed, to, length, (int)size) == (int)size ? (size_t)length : 0;
}

kvs_status codec_lz4(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                     uint16_t *decoded, struct codec_size *size_p)
{
  size_t size = codec_set_chunk(set) * sizeof *decoded;

  (void)method;
  if (size > LZ4_MAX_INPUT_SIZE)
    return KVS_ERR_UNSUPPORTED;
  return code(set, chunk, code_lz4, (size_t)LZ4_compressBound((int)size), 0, decoded, size_p);
}
#else
kvs_status codec_lz4(const struct codec_method *method, const struct codec_set *set, uint32_t chunk,
                     uint16_t *decoded, struct codec_size *size_p)
{
  (void)method;
  (void)set;
  (void)chunk;
  (void)decoded;
  (void)size_p;
  return KVS_ERR_UNSUPPORTED;
}
#endif
