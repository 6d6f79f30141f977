/* NumPy files, whole and broken: nothing is taken for a tensor that is not one. */
#include "client/cli/tensor_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zstd.h>

#define U2_SHAPE "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }"

static char folder[64];

static int set_up(void **state)
{
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/kvasir-tensor-XXXXXX");
  return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
  (void)state;
  return rmdir(folder);
}

/* The bytes of a NumPy file with this dictionary, padded as NumPy pads. */
static size_t make(uint8_t *bytes, int version, const char *dictionary, const void *data, size_t data_bytes)
{
  size_t prefix = version == 1 ? 10 : 12;
  size_t length = strlen(dictionary);
  size_t padded = (prefix + length + 1 + 63) / 64 * 64 - prefix;

  memcpy(bytes, "\x93NUMPY", 6);
  memset(bytes + 6, 0, 6);
  bytes[6] = (uint8_t)version;
  bytes[8] = (uint8_t)padded;
  bytes[9] = (uint8_t)(padded >> 8);
  memset(bytes + prefix, ' ', padded);
  memcpy(bytes + prefix, dictionary, length);
  bytes[prefix + padded - 1] = '\n';
  memcpy(bytes + prefix + padded, data, data_bytes);
  return prefix + padded + data_bytes;
}

static kvs_status open_bytes(const char *name, const uint8_t *bytes, size_t length, size_t max_bytes,
                             struct kvi_tensor_file *tensor)
{
  char why[KVI_TENSOR_WHY_SIZE];
  char path[128];
  kvs_status status;
  FILE *file;

  snprintf(path, sizeof path, "%s/%s", folder, name);
  file = fopen(path, "we");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
  status = kvi_tensor_file_open(path, max_bytes, tensor, why);
  assert_int_equal(unlink(path), 0);
  assert_true((status == KVS_OK) == (why[0] == '\0'));
  assert_true((status == KVS_OK) == (tensor->data != NULL));
  return status;
}

static kvs_status open_npy(int version, const char *dictionary, size_t data_bytes)
{
  uint8_t bytes[1024];
  uint8_t data[256] = {0};
  struct kvi_tensor_file tensor;
  size_t length = make(bytes, version, dictionary, data, data_bytes);
  kvs_status status = open_bytes("a.npy", bytes, length, 4096, &tensor);

  kvi_tensor_file_close(&tensor);
  return status;
}

static void reads_what_was_written(void **state)
{
  const uint16_t data[6] = {1, 2, 3, 0xFFFF, 5, 6};

  (void)state;
  for (int version = 1; version <= 2; version++) {
    struct kvi_tensor_file tensor;
    uint8_t bytes[1024];
    size_t length = make(bytes, version, U2_SHAPE, data, sizeof data);

    assert_int_equal(open_bytes("a.npy", bytes, length, sizeof data, &tensor), KVS_OK);
    assert_int_equal(tensor.kind, KVI_TENSOR_UNSIGNED);
    assert_int_equal(tensor.element_bits, 16);
    assert_int_equal(tensor.n_dims, 2);
    assert_int_equal(tensor.dims[0], 2);
    assert_int_equal(tensor.dims[1], 3);
    assert_int_equal(tensor.bytes, sizeof data);
    assert_memory_equal(tensor.data, data, sizeof data);
    kvi_tensor_file_close(&tensor);
    assert_null(tensor.data);
    kvi_tensor_file_close(&tensor);
  }
}

static void knows_each_dtype(void **state)
{
  static const struct {
    const char *name;
    enum kvi_tensor_kind kind;
    uint32_t bits;
  } known[] = {{"|u1", KVI_TENSOR_UNSIGNED, 8},
               {"|i1", KVI_TENSOR_SIGNED, 8},
               {"<u2", KVI_TENSOR_UNSIGNED, 16},
               {"<f2", KVI_TENSOR_FLOAT, 16},
               {"<f4", KVI_TENSOR_FLOAT, 32}};

  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    struct kvi_tensor_file tensor;
    char dictionary[128];
    uint8_t bytes[1024];
    uint8_t data[20] = {0};
    size_t length;

    /* One dimension, and the keys in another order. */
    snprintf(dictionary, sizeof dictionary, "{\"shape\": (5,), 'fortran_order': False, 'descr': '%s'}",
             known[i].name);
    length = make(bytes, 1, dictionary, data, 5 * known[i].bits / 8);
    assert_int_equal(open_bytes("a.npy", bytes, length, 64, &tensor), KVS_OK);
    assert_int_equal(tensor.kind, known[i].kind);
    assert_int_equal(tensor.element_bits, known[i].bits);
    assert_int_equal(tensor.dims[0], 5);
    kvi_tensor_file_close(&tensor);
  }
}

static void refuses_headers_that_lie(void **state)
{
  (void)state;
  assert_int_equal(open_npy(1, U2_SHAPE, 12), KVS_OK);
  assert_int_equal(open_npy(1, U2_SHAPE, 11), KVS_ERR_CORRUPT);
  assert_int_equal(open_npy(1, U2_SHAPE, 13), KVS_ERR_CORRUPT);
  assert_int_equal(open_npy(3, U2_SHAPE, 12), KVS_ERR_UNSUPPORTED);
  assert_int_equal(open_npy(1, "{'descr': '>u2', 'fortran_order': False, 'shape': (6,), }", 12),
                   KVS_ERR_UNSUPPORTED);
  assert_int_equal(open_npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", 48),
                   KVS_ERR_UNSUPPORTED);
  assert_int_equal(open_npy(1, "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (6,), }", 12),
                   KVS_ERR_UNSUPPORTED);
  assert_int_equal(open_npy(1, "{'descr': '<u2', 'fortran_order': True, 'shape': (2, 3), }", 12),
                   KVS_ERR_UNSUPPORTED);
  assert_int_equal(open_npy(1, "{'descr': '<u2', 'fortran_order': False, 'shape': (), }", 2),
                   KVS_ERR_UNSUPPORTED);
  assert_int_equal(
      open_npy(1, "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }", 2),
      KVS_ERR_UNSUPPORTED);
}

static void refuses_damaged_headers(void **state)
{
  static const char *const damaged[] = {
      "",
      "descr",
      "{",
      "{}",
      "{'descr': '<u2', 'fortran_order': False, }",
      "{'descr': '<u2', 'shape': (6,), }",
      "{'fortran_order': False, 'shape': (6,), }",
      "{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (6,), }",
      "{'descr': '<u2', 'fortran_order': Maybe, 'shape': (6,), }",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (6,), 'more': 1}",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (6,), } and more",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (6",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (6 6), }",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (0,), }",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (-6,), }",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (18446744073709551622,), }",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (9223372036854775808, 2), }",
      "{'descr': '<u2', 'fortran_order': False, 'shape': (4294967296, 4294967296, 6), }",
      "{'averyveryverylongkeyindeed': 1}",
  };

  (void)state;
  for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++)
    assert_int_equal(open_npy(1, damaged[i], 12), KVS_ERR_CORRUPT);
}

static void refuses_every_cut(void **state)
{
  const uint16_t data[6] = {0};
  struct kvi_tensor_file tensor;
  uint8_t bytes[1024];
  size_t length = make(bytes, 2, U2_SHAPE, data, sizeof data);

  (void)state;
  for (size_t cut = 0; cut < length; cut++)
    assert_int_equal(open_bytes("a.npy", bytes, cut, 4096, &tensor), KVS_ERR_CORRUPT);
}

static void keeps_to_the_bound(void **state)
{
  static uint8_t bytes[256 << 10];
  static uint8_t packed[256 << 10];
  struct kvi_tensor_file tensor;
  size_t length;

  (void)state;
  length = make(bytes, 1, "{'descr': '|u1', 'fortran_order': False, 'shape': (200000,), }", packed, 200000);
  assert_int_equal(open_bytes("a.npy", bytes, length, 199999, &tensor), KVS_ERR_TOO_LARGE);
  assert_int_equal(open_bytes("a.npy", bytes, length, 1000, &tensor), KVS_ERR_TOO_LARGE);
  assert_int_equal(open_bytes("a.npy", bytes, length, 200000, &tensor), KVS_OK);
  kvi_tensor_file_close(&tensor);
  /* A small file that would grow large. */
  length = ZSTD_compress(packed, sizeof packed, bytes, length, 1);
  assert_false(ZSTD_isError(length));
  assert_int_equal(open_bytes("a.npy.zst", packed, length, 1000, &tensor), KVS_ERR_TOO_LARGE);
  assert_int_equal(open_bytes("a.npy.zst", packed, length, 200000, &tensor), KVS_OK);
  kvi_tensor_file_close(&tensor);
  assert_int_equal(open_bytes("a.npy", bytes, 100, SIZE_MAX, &tensor), KVS_ERR_TOO_LARGE);
}

static void reads_compressed_files(void **state)
{
  uint16_t data[6] = {6, 5, 4, 3, 2, 1};
  struct kvi_tensor_file tensor;
  uint8_t bytes[1024], packed[2048];
  size_t length = make(bytes, 1, U2_SHAPE, data, sizeof data);
  size_t half = ZSTD_compress(packed, sizeof packed, bytes, length / 2, 1);
  size_t all =
      half + ZSTD_compress(packed + half, sizeof packed - half, bytes + length / 2, length - length / 2, 1);

  (void)state;
  assert_int_equal(open_bytes("a.npy.zst", packed, all, 4096, &tensor), KVS_OK); /* two frames */
  assert_memory_equal(tensor.data, data, sizeof data);
  kvi_tensor_file_close(&tensor);
  for (size_t cut = 0; cut < all; cut++)
    assert_int_equal(open_bytes("a.npy.zst", packed, cut, 4096, &tensor), KVS_ERR_CORRUPT);
  packed[half] ^= 1;
  assert_int_equal(open_bytes("a.npy.zst", packed, all, 4096, &tensor), KVS_ERR_CORRUPT);
  assert_int_equal(open_bytes("a.npy.zst", bytes, length, 4096, &tensor), KVS_ERR_CORRUPT);
}

static void tells_that_there_is_no_file(void **state)
{
  struct kvi_tensor_file tensor;
  char why[KVI_TENSOR_WHY_SIZE];

  (void)state;
  assert_int_equal(kvi_tensor_file_open("/nonexistent/a.npy", 100, &tensor, why), KVS_ERR_IO);
  assert_non_null(strstr(why, "No such file"));
  assert_int_equal(kvi_tensor_file_open("/", 100, &tensor, why), KVS_ERR_IO);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_was_written),   cmocka_unit_test(knows_each_dtype),
      cmocka_unit_test(refuses_headers_that_lie), cmocka_unit_test(refuses_damaged_headers),
      cmocka_unit_test(refuses_every_cut),        cmocka_unit_test(keeps_to_the_bound),
      cmocka_unit_test(reads_compressed_files),   cmocka_unit_test(tells_that_there_is_no_file),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
