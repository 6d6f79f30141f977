/* Descriptors: golden digests, what is refused, copies, the wire form, differences. */
#include "tests/unit/proto/testing.h"

#include <kvasir/keys.h>

#include "proto/space.h"
#include "tests/unit/proto/vectors.h"

static kvs_space_desc tensors(void)
{
  kvs_space_desc desc = {
      .struct_size = sizeof desc,
      .model = "llama-3-8b",
      .revision = "main",
      .layout = KVS_LAYOUT_TENSORS,
      .key_dtype = KVS_DTYPE_BF16,
      .value_dtype = KVS_DTYPE_BF16,
      .layers = 32,
      .kv_heads = 8,
      .key_dim = 128,
      .value_dim = 128,
      .tokens_per_chunk = 256,
      .hash = KVS_HASH_NATIVE,
      .key_length = 32,
      .chunk_bytes = 32 * 8 * (128 + 128) * 2 * 256,
  };

  for (size_t i = 0; i < sizeof desc.weights; i++)
    desc.weights[i] = (uint8_t)i;
  return desc;
}

static kvs_space_desc opaque(void)
{
  return (kvs_space_desc){
      .struct_size = sizeof(kvs_space_desc),
      .model = "mod\xC3\xA8le",
      .engine = "llama.cpp/0.5.0",
      .isa = "avx512",
      .layout = KVS_LAYOUT_OPAQUE,
      .layout_detail = "v_trans=0",
      .tokens_per_chunk = 256,
      .key_length = 8,
  };
}

static void assert_digest(const kvs_space_desc *desc, const char *expected)
{
  uint8_t digest[KVS_DIGEST_SIZE];

  assert_int_equal(kvs_space_digest(desc, digest), KVS_OK);
  assert_hex(digest, sizeof digest, expected);
}

static void golden_digests(void **state)
{
  kvs_space_desc desc = tensors();
  char longest[KVS_SPACE_STRING_MAX + 1] = {0};

  (void)state;
  assert_digest(&desc, vector_space_tensors);
  desc.engine_block = 256; /* said or not, it is the same */
  desc.tp_size = desc.pp_size = desc.cp_size = 1;
  desc.engine = desc.isa = desc.layout_detail = "";
  assert_digest(&desc, vector_space_tensors);

  desc.kv_heads = 4;
  desc.chunk_bytes /= 2;
  desc.engine_block = 16;
  desc.tp_rank = 1;
  desc.tp_size = 2;
  assert_digest(&desc, vector_space_tensors_rank);

  desc = tensors();
  desc.key_dtype = desc.value_dtype = KVS_DTYPE_GGML_Q8_0;
  desc.chunk_bytes = 32 * 256 * 2 * (8 * 128 / 32 * 34);
  assert_digest(&desc, vector_space_q8_0);

  desc = opaque();
  assert_digest(&desc, vector_space_opaque);

  memset(longest, 'm', KVS_SPACE_STRING_MAX);
  desc = (kvs_space_desc){.struct_size = sizeof desc,
                          .model = longest,
                          .engine = "vllm/0.32.0",
                          .isa = "avx512",
                          .layout = KVS_LAYOUT_OPAQUE,
                          .tokens_per_chunk = 256,
                          .engine_block = 32,
                          .kv_group = 3,
                          .pp_rank = 1,
                          .pp_size = 4,
                          .cp_rank = 7,
                          .cp_size = 8,
                          .hash = KVS_HASH_VLLM_SHA256_CBOR,
                          .key_length = 64,
                          .chunk_bytes = 1ull << 33};
  assert_digest(&desc, vector_space_vllm_pages);
}

/* Each of the 25 fields, changed alone, gives another digest, and the difference names it. */
static void every_field_counts(void **state)
{
/* clang-format off */
#define CHANGES                                                                                              \
  X(model, "other") X(revision, "v2") X(weights[31], 0) X(engine, "e") X(isa, "neon")                        \
  X(layout, KVS_LAYOUT_TENSORS) X(key_dtype, KVS_DTYPE_F16) X(value_dtype, KVS_DTYPE_F16)                     \
  X(layers, 0) X(kv_heads, 0) X(key_dim, 0) X(value_dim, 0) X(layout_detail, "v_trans=1")                    \
  X(tokens_per_chunk, 512) X(engine_block, 16) X(kv_group, 1)                                                \
  X(tp_rank, 1) X(tp_size, 3) X(pp_rank, 1) X(pp_size, 3) X(cp_rank, 1) X(cp_size, 3)                        \
  X(hash, KVS_HASH_SGLANG) X(key_length, 16) X(chunk_bytes, 0)
  /* clang-format on */
  kvs_space_desc base = tensors();
  uint8_t seen[26][KVS_DIGEST_SIZE];
  size_t n_seen = 0;

  (void)state;
  base.layout = KVS_LAYOUT_OPAQUE; /* whose dimensions may change alone */
  base.engine_block = 256;         /* else it would change with tokens_per_chunk */
  base.tp_size = base.pp_size = base.cp_size = 2;
  assert_int_equal(kvs_space_digest(&base, seen[n_seen++]), KVS_OK);
#define X(field, value)                                                                                      \
  {                                                                                                          \
    kvs_space_desc other = base;                                                                             \
    char text[256];                                                                                          \
    other.field = value;                                                                                     \
    assert_int_equal(kvi_space_diff(&base, &other, text, sizeof text), 1);                                   \
    assert_memory_equal(text, #field, strcspn(#field, "["));                                                 \
    assert_int_equal(kvs_space_digest(&other, seen[n_seen++]), KVS_OK);                                      \
  }
  CHANGES
#undef X
  assert_int_equal(n_seen, 26);
  for (size_t a = 0; a < n_seen; a++)
    for (size_t b = 0; b < a; b++)
      assert_memory_not_equal(seen[a], seen[b], KVS_DIGEST_SIZE);
}

static void assert_refused(const kvs_space_desc *desc, kvs_status expected)
{
  uint8_t digest[KVS_DIGEST_SIZE];
  kvs_space_desc *copy = (kvs_space_desc *)&digest;

  assert_int_equal(kvs_space_digest(desc, digest), expected);
  assert_int_equal(kvi_space_copy(desc, &copy), expected);
  assert_null(copy);
}

static void broken_descriptors_are_refused(void **state)
{
  char long_text[KVS_SPACE_STRING_MAX + 2] = {0};
  uint8_t digest[KVS_DIGEST_SIZE];
  kvs_space_desc good = tensors();

  (void)state;
  memset(long_text, 'a', sizeof long_text - 1);
  assert_int_equal(kvs_space_digest(NULL, digest), KVS_ERR_INVALID);
  assert_int_equal(kvs_space_digest(&good, NULL), KVS_ERR_INVALID);
#define REFUSED(status, ...)                                                                                 \
  {                                                                                                          \
    kvs_space_desc desc = good;                                                                              \
    __VA_ARGS__;                                                                                             \
    assert_refused(&desc, status);                                                                           \
  }
  REFUSED(KVS_ERR_INVALID, desc.struct_size = 0)
  REFUSED(KVS_ERR_INVALID, desc.struct_size--)
  REFUSED(KVS_ERR_INVALID, desc.struct_size = UINT32_MAX)
  REFUSED(KVS_ERR_INVALID, desc.model = long_text)
  REFUSED(KVS_ERR_INVALID, desc.layout_detail = "\xFF")
  REFUSED(KVS_ERR_INVALID, desc.revision = "\xE2\x82") /* cut short */
  REFUSED(KVS_ERR_INVALID, desc.layout = (kvs_layout)0)
  REFUSED(KVS_ERR_INVALID, desc.layout = (kvs_layout)3)
  REFUSED(KVS_ERR_INVALID, desc.key_dtype = (kvs_dtype)8)
  REFUSED(KVS_ERR_INVALID, desc.value_dtype = (kvs_dtype)-1)
  REFUSED(KVS_ERR_INVALID, desc.hash = (kvs_hash)4)
  REFUSED(KVS_ERR_INVALID, desc.tp_rank = 1)
  REFUSED(KVS_ERR_INVALID, desc.pp_rank = 2; desc.pp_size = 2)
  REFUSED(KVS_ERR_INVALID, desc.cp_rank = 1; desc.cp_size = 1)
  REFUSED(KVS_ERR_INVALID, desc.tokens_per_chunk = 0)
  REFUSED(KVS_ERR_INVALID, desc.engine_block = 48)
  REFUSED(KVS_ERR_INVALID, desc.chunk_bytes--)
  REFUSED(KVS_ERR_INVALID, desc.chunk_bytes = 0)
  REFUSED(KVS_ERR_INVALID, desc.layers = 0; desc.chunk_bytes = 0)
  REFUSED(KVS_ERR_INVALID, desc.value_dim = 0; desc.chunk_bytes /= 2)
  REFUSED(KVS_ERR_INVALID, desc.key_dtype = KVS_DTYPE_OPAQUE)
  /* products beyond 64 bits */
  REFUSED(KVS_ERR_INVALID,
          desc.layers = desc.kv_heads = desc.key_dim = desc.value_dim = desc.tokens_per_chunk = UINT32_MAX;
          desc.chunk_bytes = 0)
  REFUSED(KVS_ERR_INVALID, desc.kv_heads = desc.key_dim = desc.value_dim = 1; desc.layers = (1u << 31) + 1;
          desc.tokens_per_chunk = 1u << 31; desc.chunk_bytes = 1ull << 33) /* what it wraps to */
  REFUSED(KVS_ERR_INVALID, desc.key_dtype = KVS_DTYPE_GGML_Q8_0; desc.kv_heads = 1; desc.key_dim = 48)
  REFUSED(KVS_ERR_KEY_LENGTH, desc.key_length = KVS_KEY_MIN - 1)
  REFUSED(KVS_ERR_KEY_LENGTH, desc.key_length = KVS_KEY_MAX + 1)
#undef REFUSED
}

/* A newer program's descriptor is longer: fine while what we do not know is unset. */
static void longer_descriptors_must_be_zero_behind(void **state)
{
  struct {
    kvs_space_desc desc;
    uint8_t newer[16];
  } wide = {.desc = tensors()};

  (void)state;
  wide.desc.struct_size = sizeof wide;
  assert_digest(&wide.desc, vector_space_tensors);
  wide.newer[15] = 1;
  assert_refused(&wide.desc, KVS_ERR_INVALID);
}

static void copies_own_their_texts(void **state)
{
  char model[] = "a model";
  kvs_space_desc desc = opaque(), *copy;
  uint8_t before[KVS_DIGEST_SIZE], after[KVS_DIGEST_SIZE];

  (void)state;
  desc.model = model;
  assert_int_equal(kvs_space_digest(&desc, before), KVS_OK);
  assert_int_equal(kvi_space_copy(&desc, &copy), KVS_OK);
  memset(model, 'x', sizeof model - 1);
  assert_string_equal(copy->model, "a model");
  assert_string_equal(copy->revision, "");
  assert_int_equal(copy->tp_size, 1);
  assert_int_equal(copy->engine_block, 256);
  assert_int_equal(kvs_space_digest(copy, after), KVS_OK);
  assert_memory_equal(before, after, sizeof before);
  kvi_space_free(copy);
  kvi_space_free(NULL);
}

static void over_the_wire_and_back(void **state)
{
  kvs_space_desc descs[] = {tensors(), opaque()};

  (void)state;
  descs[0].tp_rank = 3;
  descs[0].tp_size = 4;
  descs[1].kv_group = 9;
  descs[1].chunk_bytes = 1ull << 40;
  for (size_t i = 0; i < COUNT(descs); i++) {
    Kvasir__V1__SpaceDescriptor message;
    uint8_t packed[1024], before[KVS_DIGEST_SIZE], after[KVS_DIGEST_SIZE];
    char text[256];
    kvs_space_desc *back;

    kvi_space_to_message(&descs[i], &message);
    size_t size = kvasir__v1__space_descriptor__pack(&message, packed);
    Kvasir__V1__SpaceDescriptor *unpacked = kvasir__v1__space_descriptor__unpack(NULL, size, packed);
    assert_non_null(unpacked);
    assert_int_equal(kvi_space_from_message(unpacked, &back), KVS_OK);
    kvasir__v1__space_descriptor__free_unpacked(unpacked, NULL);
    assert_int_equal(kvi_space_diff(&descs[i], back, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(kvs_space_digest(&descs[i], before), KVS_OK);
    assert_int_equal(kvs_space_digest(back, after), KVS_OK);
    assert_memory_equal(before, after, sizeof before);
    kvi_space_free(back);
  }
}

static void hostile_messages_are_refused(void **state)
{
  kvs_space_desc desc = tensors(), *copy = &desc;
  Kvasir__V1__SpaceDescriptor message;
  uint8_t byte = 0;

  (void)state;
  assert_int_equal(kvi_space_from_message(NULL, &copy), KVS_ERR_INVALID);
  assert_null(copy);
  kvasir__v1__space_descriptor__init(&message);
  assert_int_equal(kvi_space_from_message(&message, &copy), KVS_ERR_INVALID);
  kvi_space_to_message(&desc, &message);
  message.weights = (ProtobufCBinaryData){.len = 1, .data = &byte};
  assert_int_equal(kvi_space_from_message(&message, &copy), KVS_ERR_INVALID);
  message.weights = (ProtobufCBinaryData){.len = 0, .data = NULL}; /* not known */
  assert_int_equal(kvi_space_from_message(&message, &copy), KVS_OK);
  kvi_space_free(copy);
  message.layout = UINT32_MAX;
  assert_int_equal(kvi_space_from_message(&message, &copy), KVS_ERR_INVALID);
  message.layout = KVS_LAYOUT_TENSORS;
  message.key_length = 7;
  assert_int_equal(kvi_space_from_message(&message, &copy), KVS_ERR_KEY_LENGTH);
}

static void differences_read_well(void **state)
{
  kvs_space_desc a = tensors(), b = a;
  char text[256];

  (void)state;
  b.model = NULL;
  b.key_dtype = KVS_DTYPE_F16;
  b.weights[0] = 0xFE;
  b.tp_size = 4;
  assert_int_equal(kvi_space_diff(&a, &b, text, sizeof text), 4);
  assert_string_equal(text, "model 'llama-3-8b' / '', weights 00010203.. / fe010203.., key_dtype bf16 / f16, "
                            "tp_size 1 / 4");
}

static void differences_are_cut(void **state)
{
  kvs_space_desc a = tensors(), b = a;
  char whole[64];

  (void)state;
  b.model = "m";
  b.revision = "r";
  assert_int_equal(kvi_space_diff(&a, &b, whole, sizeof whole), 2);
  assert_string_equal(whole, "model 'llama-3-8b' / 'm', revision 'main' / 'r'");
  for (size_t size = 0; size <= strlen(whole); size++) {
    char *text = malloc(size ? size : 1);
    assert_int_equal(kvi_space_diff(&a, &b, text, size), 2);
    if (size >= 4) {
      assert_int_equal(strlen(text), size - 1);
      assert_string_equal(text + size - 4, "...");
      assert_memory_equal(text, whole, size - 4);
    } else if (size > 0) {
      assert_true(strlen(text) < size);
    }
    free(text);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_digests),
      cmocka_unit_test(every_field_counts),
      cmocka_unit_test(broken_descriptors_are_refused),
      cmocka_unit_test(longer_descriptors_must_be_zero_behind),
      cmocka_unit_test(copies_own_their_texts),
      cmocka_unit_test(over_the_wire_and_back),
      cmocka_unit_test(hostile_messages_are_refused),
      cmocka_unit_test(differences_read_well),
      cmocka_unit_test(differences_are_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
