/*
 * client/cli/tensor_file.h: reads a tensor from a NumPy file, plain (.npy) or compressed (.npy.zst), for kvasirctl codec and
 * kvasir-bench codec.
 *
 * Versions 1 and 2 of the format, in C order, little-endian, of u1, i1, u2, f2 and f4. NumPy has no bf16: such tensors lie in u2 as bit patterns.
 * A file is not trusted: what its header says is compared with what is there, and nothing is allocated beyond the caller's bound.
 */
#ifndef KVI_CLIENT_CLI_TENSOR_FILE_H
#define KVI_CLIENT_CLI_TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <kvasir/status.h>

#define KVI_TENSOR_DIMS_MAX 8u
#define KVI_TENSOR_WHY_SIZE 160u

enum kvi_tensor_kind { KVI_TENSOR_UNSIGNED, KVI_TENSOR_SIGNED, KVI_TENSOR_FLOAT };

struct kvi_tensor_file {
  enum kvi_tensor_kind kind;
  uint32_t element_bits;              /* 8, 16 or 32 */
  uint32_t n_dims;                    /* 1 to KVI_TENSOR_DIMS_MAX */
  uint64_t dims[KVI_TENSOR_DIMS_MAX]; /* each at least 1; the last one varies fastest */
  void *data;                         /* aligned as malloc aligns; until kvi_tensor_file_close */
  size_t bytes;                       /* of data: what kind and dims say */
};

/*
 * Reads the whole file; a name that ends in ".zst" is decompressed. max_bytes bounds the data, decompressed. On an error *file_p is
 * zeroed and why holds a sentence without the path and without a full stop. Blocks while it reads; any thread.
 * Errors: KVS_ERR_IO (cannot be read), KVS_ERR_CORRUPT (no such file format, damaged, sizes that do not fit), KVS_ERR_UNSUPPORTED
 * (another version, dtype or order), KVS_ERR_TOO_LARGE (above max_bytes), KVS_ERR_NOMEM.
 */
kvs_status kvi_tensor_file_open(const char *path, size_t max_bytes, struct kvi_tensor_file *file_p,
                                char why[KVI_TENSOR_WHY_SIZE]);

/* Takes a zeroed one. */
void kvi_tensor_file_close(struct kvi_tensor_file *file);

#endif
