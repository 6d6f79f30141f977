/*
 * The state blob: golden bytes written out by hand after the description in state_blob.h, round trips in
 * every orientation, and everything a damaged blob can do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connector/llamacpp/state_blob.h"

#define U32(x)                                                                                               \
  (uint8_t)(x), (uint8_t)((uint32_t)(x) >> 8), (uint8_t)((uint32_t)(x) >> 16), (uint8_t)((uint32_t)(x) >> 24)
#define U64(x)  U32(x), U32(0)
#define MAGIC   0xd8, 0x3c, 0x14, 0xaf
#define CELL(p) U32(p), U32(1), U32(7)

/* Two layers with rows of 4 (K) and 2 or 6 (V) bytes, three tokens at positions 5, 6, 7, flash attention. */
static const uint8_t golden_rows[] = {
    MAGIC, U32(7), U32(1), U32(3), CELL(5), CELL(6), CELL(7), U32(0), U32(2),
    /* K */
    U32(1), U64(4), 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, U32(1), U64(4),
    0x50, 0x51, 0x52, 0x53, 0x60, 0x61, 0x62, 0x63, 0x70, 0x71, 0x72, 0x73,
    /* V */
    U32(1), U64(2), 0x14, 0x15, 0x24, 0x25, 0x34, 0x35, U32(8), U64(6), 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79};

/* Its tokens 6 and 7 in canonical order. */
static const uint8_t golden_chunk[] = {0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x24, 0x25, 0x34,
                                       0x35, 0x60, 0x61, 0x62, 0x63, 0x70, 0x71, 0x72, 0x73, 0x64, 0x65,
                                       0x66, 0x67, 0x68, 0x69, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79};

/* One layer, V transposed with two f16 elements a token, three tokens whose cells are not in the order of
 * positions. */
static const uint8_t golden_transposed[] = {MAGIC,  U32(7), U32(1), U32(3), CELL(1), CELL(0), CELL(2), U32(1),
                                            U32(1), U32(1), U64(2), 0x11,   0x12,    0x01,    0x02,    0x21,
                                            0x22,   U32(1), U32(2), U32(2), 0x13,    0x14,    0x03,    0x04,
                                            0x23,   0x24,   0x15,   0x16,   0x05,    0x06,    0x25,    0x26};
static const uint8_t transposed_chunk[] = {0x01, 0x02, 0x11, 0x12, 0x21, 0x22, 0x03, 0x04, 0x05,
                                           0x06, 0x13, 0x14, 0x15, 0x16, 0x23, 0x24, 0x25, 0x26};

/* The second of three streams, latent attention: keys alone. */
static const uint8_t golden_latent[] = {MAGIC,  U32(7), U32(3), U32(0), U32(1), CELL(0), U32(0),
                                        U32(1), U32(1), U64(3), 0xaa,   0xbb,   0xcc,    U32(0)};

static kvi_llama_blob *must_read(const uint8_t *data, size_t size)
{
  kvi_llama_blob *blob = NULL;
  assert_int_equal(kvi_llama_blob_read(data, size, &blob), KVS_OK);
  assert_non_null(blob);
  return blob;
}

static void reads_golden_rows(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_rows, sizeof(golden_rows));
  assert_int_equal(blob->kind, KVI_LLAMA_BLOB_PLAIN);
  assert_int_equal(blob->n_cell, 3);
  assert_int_equal(blob->first_pos, 5);
  assert_null(blob->cell_of);
  assert_int_equal(blob->shape.n_layer, 2);
  assert_false(blob->shape.v_trans);
  assert_int_equal(blob->shape.token_bytes, 16);
  assert_int_equal(blob->shape.layers[1].v_type, 8);

  uint8_t chunk[sizeof(golden_chunk)];
  assert_int_equal(kvi_llama_blob_cut(blob, 6, 2, chunk, sizeof(chunk)), KVS_OK);
  assert_memory_equal(chunk, golden_chunk, sizeof(chunk));
  kvi_llama_blob_free(blob);
}

static void composes_golden_rows(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_rows, sizeof(golden_rows));
  uint8_t tokens[3][16];
  const uint8_t *chunks[3];
  for (int i = 0; i < 3; i++) {
    chunks[i] = tokens[i];
    assert_int_equal(kvi_llama_blob_cut(blob, 5 + i, 1, tokens[i], 16), KVS_OK);
  }
  uint8_t out[sizeof(golden_rows)];
  size_t size;
  assert_int_equal(kvi_llama_compose_size(&blob->shape, 3, &size), KVS_OK);
  assert_int_equal(size, sizeof(golden_rows));
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 7, 5, chunks, 3, 1, out, size), KVS_OK);
  assert_memory_equal(out, golden_rows, size);
  kvi_llama_blob_free(blob);
}

static void orders_and_turns_values(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_transposed, sizeof(golden_transposed));
  assert_true(blob->shape.v_trans);
  assert_int_equal(blob->first_pos, 0);
  uint8_t chunk[18];
  assert_int_equal(kvi_llama_blob_cut(blob, 0, 3, chunk, sizeof(chunk)), KVS_OK);
  assert_memory_equal(chunk, transposed_chunk, sizeof(chunk));

  /* Composed, the cells come in order of position; cut again, the chunk is the same. */
  uint8_t out[sizeof(golden_transposed)];
  const uint8_t *chunks[] = {chunk};
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 7, 0, chunks, 1, 3, out, sizeof(out)), KVS_OK);
  kvi_llama_blob *again = must_read(out, sizeof(out));
  assert_null(again->cell_of);
  uint8_t second[18];
  assert_int_equal(kvi_llama_blob_cut(again, 0, 3, second, sizeof(second)), KVS_OK);
  assert_memory_equal(second, chunk, sizeof(chunk));
  kvi_llama_blob_free(again);
  kvi_llama_blob_free(blob);
}

static void composes_transposed_from_several_chunks(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_transposed, sizeof(golden_transposed));
  uint8_t whole[18], parts[3][6];
  const uint8_t *one[] = {whole}, *three[] = {parts[0], parts[1], parts[2]};
  assert_int_equal(kvi_llama_blob_cut(blob, 0, 3, whole, sizeof(whole)), KVS_OK);
  for (int i = 0; i < 3; i++)
    assert_int_equal(kvi_llama_blob_cut(blob, i, 1, parts[i], 6), KVS_OK);
  uint8_t a[sizeof(golden_transposed)], b[sizeof(golden_transposed)];
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 0, 0, one, 1, 3, a, sizeof(a)), KVS_OK);
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 0, 0, three, 3, 1, b, sizeof(b)), KVS_OK);
  assert_memory_equal(a, b, sizeof(a));
  kvi_llama_blob_free(blob);
}

static void reads_streams_and_latent_keys(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_latent, sizeof(golden_latent));
  assert_int_equal(blob->kind, KVI_LLAMA_BLOB_PLAIN);
  assert_int_equal(blob->stream, 1);
  assert_int_equal(blob->shape.n_stream, 3);
  assert_false(blob->shape.has_v);
  assert_int_equal(blob->shape.token_bytes, 3);
  uint8_t chunk[3], out[sizeof(golden_latent)];
  const uint8_t *chunks[] = {chunk};
  assert_int_equal(kvi_llama_blob_cut(blob, 0, 1, chunk, 3), KVS_OK);
  assert_int_equal(kvi_llama_compose(&blob->shape, 1, 7, 0, chunks, 1, 1, out, sizeof(out)), KVS_OK);
  assert_memory_equal(out, golden_latent, sizeof(out));
  assert_int_equal(kvi_llama_compose(&blob->shape, 3, 7, 0, chunks, 1, 1, out, sizeof(out)), KVS_ERR_INVALID);
  kvi_llama_blob_free(blob);
}

static void recognises_other_kinds(void **state)
{
  (void)state;
  static const uint8_t empty[] = {MAGIC, U32(0), U32(2), U32(0), U32(0)};
  kvi_llama_blob *blob = must_read(empty, sizeof(empty));
  assert_int_equal(blob->kind, KVI_LLAMA_BLOB_EMPTY);
  uint8_t byte;
  assert_int_equal(kvi_llama_blob_cut(blob, 0, 1, &byte, 1), KVS_ERR_UNSUPPORTED);
  kvi_llama_blob_free(blob);

#define ONE_LAYER U32(0), U32(1), U32(1), U64(2), 1, 2, U32(1), U64(2), 3, 4
  static const uint8_t iswa[] = {MAGIC,     U32(0), U32(1), U32(1),  CELL(0),
                                 ONE_LAYER, U32(1), U32(1), CELL(0), ONE_LAYER};
  blob = must_read(iswa, sizeof(iswa));
  assert_int_equal(blob->kind, KVI_LLAMA_BLOB_ISWA);
  kvi_llama_blob_free(blob);

  static const uint8_t mrope[] = {MAGIC,  U32(0), U32(1), U32(2), U32(0), U32(1), U32(9), U32(8), U32(7),
                                  U32(0), U32(1), U32(1), U32(9), U32(8), U32(7), U32(0), U32(0), U32(1),
                                  U32(1), U64(1), 1,      2,      U32(1), U64(1), 3,      4};
  blob = must_read(mrope, sizeof(mrope));
  assert_int_equal(blob->kind, KVI_LLAMA_BLOB_MROPE);
  kvi_llama_blob_free(blob);
}

static void assert_refused(const uint8_t *data, size_t size, kvs_status expected)
{
  kvi_llama_blob *blob = (kvi_llama_blob *)1;
  assert_int_equal(kvi_llama_blob_read(data, size, &blob), expected);
  assert_null(blob);
}

static void refuses_every_truncation(void **state)
{
  (void)state;
  const struct {
    const uint8_t *data;
    size_t size;
  } all[] = {{golden_rows, sizeof(golden_rows)},
             {golden_transposed, sizeof(golden_transposed)},
             {golden_latent, sizeof(golden_latent)}};
  for (size_t g = 0; g < 3; g++) {
    for (size_t size = 0; size < all[g].size; size++) {
      uint8_t *exact = malloc(size + 1); /* so that ASan sees a read behind the end */
      assert_non_null(exact);
      uint8_t *data = exact + 1;
      memcpy(data, all[g].data, size);
      kvi_llama_blob *blob;
      const kvs_status status = kvi_llama_blob_read(data, size, &blob);
      /* Without its values a blob is one of latent attention; nothing else may pass. */
      if (status == KVS_OK) {
        assert_true(blob->kind == KVI_LLAMA_BLOB_PLAIN && !blob->shape.has_v);
        kvi_llama_blob_free(blob);
      }
      free(exact);
    }
  }
  assert_refused(golden_rows, sizeof(golden_rows) - 1, KVS_ERR_CORRUPT);
}

static void refuses_hostile_numbers(void **state)
{
  (void)state;
  static const uint8_t wrong_magic[] = {1, 2, 3, 4, U32(0), U32(1), U32(0)};
  assert_refused(wrong_magic, sizeof(wrong_magic), KVS_ERR_UNSUPPORTED);
  static const uint8_t many_cells[] = {MAGIC, U32(0), U32(1), U32(0xffffffff), CELL(0)};
  assert_refused(many_cells, sizeof(many_cells), KVS_ERR_CORRUPT);
  static const uint8_t many_streams[] = {MAGIC, U32(0), U32(0xffffffff), U32(0)};
  assert_refused(many_streams, sizeof(many_streams), KVS_ERR_UNSUPPORTED);
  static const uint8_t many_layers[] = {MAGIC,  U32(0),    U32(1), U32(1), CELL(0),
                                        U32(0), U32(4096), U32(1), U64(1), 1};
  assert_refused(many_layers, sizeof(many_layers), KVS_ERR_CORRUPT);
  static const uint8_t huge_row[] = {MAGIC,  U32(0), U32(1), U32(2),          CELL(0),         CELL(1),
                                     U32(0), U32(1), U32(1), U32(0xffffffff), U32(0xffffffff), 1};
  assert_refused(huge_row, sizeof(huge_row), KVS_ERR_CORRUPT);
  static const uint8_t row_times_cells_is_zero[] = {MAGIC,  U32(0), U32(1), U32(2), CELL(0),        CELL(1),
                                                    U32(0), U32(1), U32(1), U32(0), U32(0x80000000)};
  assert_refused(row_times_cells_is_zero, sizeof(row_times_cells_is_zero), KVS_ERR_CORRUPT);
  static const uint8_t zero_row[] = {MAGIC, U32(0), U32(1), U32(1), CELL(0), U32(0), U32(1), U32(1), U64(0)};
  assert_refused(zero_row, sizeof(zero_row), KVS_ERR_UNSUPPORTED);
  static const uint8_t behind_the_end[] = {MAGIC,  U32(0), U32(1), U32(1), CELL(0), U32(0), U32(1),
                                           U32(1), U64(1), 0xaa,   U32(1), U64(1),  0xbb,   0xcc};
  assert_refused(behind_the_end, sizeof(behind_the_end), KVS_ERR_CORRUPT);
}

static void refuses_positions_out_of_line(void **state)
{
  (void)state;
  uint8_t blob[sizeof(golden_rows)];
  memcpy(blob, golden_rows, sizeof(blob));
  blob[16 + 12] = 9; /* 5, 9, 7: a hole */
  assert_refused(blob, sizeof(blob), KVS_ERR_UNSUPPORTED);
  blob[16 + 12] = 5; /* 5, 5, 7: twice */
  assert_refused(blob, sizeof(blob), KVS_ERR_UNSUPPORTED);
  blob[16 + 12 + 3] = 0x80; /* negative */
  assert_refused(blob, sizeof(blob), KVS_ERR_UNSUPPORTED);
}

static void cut_keeps_to_its_bounds(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_rows, sizeof(golden_rows));
  uint8_t chunk[64];
  assert_int_equal(kvi_llama_blob_cut(blob, 4, 1, chunk, 16), KVS_MISS);
  assert_int_equal(kvi_llama_blob_cut(blob, 7, 2, chunk, 32), KVS_MISS);
  assert_int_equal(kvi_llama_blob_cut(blob, INT32_MIN, 1, chunk, 16), KVS_MISS);
  assert_int_equal(kvi_llama_blob_cut(blob, INT32_MAX, UINT32_MAX, chunk, 16), KVS_MISS);
  assert_int_equal(kvi_llama_blob_cut(blob, 6, 2, chunk, 31), KVS_ERR_BUFFER);
  assert_int_equal(kvi_llama_blob_cut(blob, 6, 2, chunk, 33), KVS_ERR_BUFFER);
  kvi_llama_blob_free(blob);
}

static void compose_keeps_to_its_bounds(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_rows, sizeof(golden_rows));
  uint8_t out[256];
  const uint8_t *chunks[] = {golden_chunk};
  size_t size;
  assert_int_equal(kvi_llama_compose_size(&blob->shape, 0, &size), KVS_ERR_INVALID);
  assert_int_equal(kvi_llama_compose_size(&blob->shape, 2, &size), KVS_OK);
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 0, 0, chunks, 1, 2, out, size + 1), KVS_ERR_BUFFER);
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 0, -1, chunks, 1, 2, out, size), KVS_ERR_INVALID);
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 0, INT32_MAX - 1, chunks, 1, 2, out, size),
                   KVS_ERR_INVALID);
  assert_int_equal(kvi_llama_compose(&blob->shape, 0, 0, 0, chunks, 0, 2, out, size), KVS_ERR_INVALID);
  blob->shape.token_bytes = UINT64_MAX / 2;
  assert_int_equal(kvi_llama_compose_size(&blob->shape, UINT32_MAX, &size), KVS_ERR_TOO_LARGE);
  kvi_llama_blob_free(blob);
}

static void shapes_fit_only_their_like(void **state)
{
  (void)state;
  kvi_llama_blob *blob = must_read(golden_rows, sizeof(golden_rows));
  kvi_llama_shape *copy = NULL;
  assert_int_equal(kvi_llama_shape_copy(&blob->shape, &copy), KVS_OK);
  assert_true(kvi_llama_shape_fits(copy, &blob->shape));
  copy->n_stream = 4;
  assert_true(kvi_llama_shape_fits(copy, &blob->shape));
  copy->layers[1].v_type = 2;
  assert_false(kvi_llama_shape_fits(copy, &blob->shape));
  copy->layers[1].v_type = 8;
  copy->layers[0].k_row = 5;
  assert_false(kvi_llama_shape_fits(copy, &blob->shape));
  kvi_llama_shape_free(copy);
  kvi_llama_shape_free(NULL);
  kvi_llama_blob_free(blob);
  kvi_llama_blob_free(NULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_golden_rows),
      cmocka_unit_test(composes_golden_rows),
      cmocka_unit_test(orders_and_turns_values),
      cmocka_unit_test(composes_transposed_from_several_chunks),
      cmocka_unit_test(reads_streams_and_latent_keys),
      cmocka_unit_test(recognises_other_kinds),
      cmocka_unit_test(refuses_every_truncation),
      cmocka_unit_test(refuses_hostile_numbers),
      cmocka_unit_test(refuses_positions_out_of_line),
      cmocka_unit_test(cut_keeps_to_its_bounds),
      cmocka_unit_test(compose_keeps_to_its_bounds),
      cmocka_unit_test(shapes_fit_only_their_like),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
