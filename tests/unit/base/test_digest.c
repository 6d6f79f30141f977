#include <string.h>

#include "testing.h"

#include "base/digest.h"
#include "base/text.h"

static void expect(const void *buf, size_t length, const char *hex)
{
  uint8_t digest[KVI_SHA256_BYTES];
  char text[65];

  kvi_sha256(buf, length, digest);
  assert_int_equal(kvi_hex_encode(digest, sizeof digest, text, sizeof text), KVS_OK);
  assert_string_equal(text, hex);
}

/* FIPS 180-4's examples. */
static void known_vectors(void **state)
{
  (void)state;
  expect("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void pieces_and_forks(void **state)
{
  char text[1000];
  uint8_t whole[KVI_SHA256_BYTES], pieces[KVI_SHA256_BYTES];

  (void)state;
  memset(text, 'k', sizeof text);
  kvi_sha256(text, sizeof text, whole);
  for (size_t cut = 0; cut <= sizeof text; cut += 37) {
    kvi_sha256_ctx ctx, fork;

    kvi_sha256_init(&ctx);
    kvi_sha256_update(&ctx, text, cut);
    fork = ctx;
    kvi_sha256_update(&ctx, text + cut, sizeof text - cut);
    kvi_sha256_final(&ctx, pieces);
    assert_memory_equal(pieces, whole, sizeof whole);
    kvi_sha256_update(&fork, text + cut, sizeof text - cut);
    kvi_sha256_final(&fork, pieces);
    assert_memory_equal(pieces, whole, sizeof whole);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_vectors),
      cmocka_unit_test(pieces_and_forks),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
